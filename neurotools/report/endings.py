"""What every page ends with: the recording, where the result comes from, and how to repeat it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import xarray as xr

from neurotools._version import __version__
from neurotools.report import summary, tables
from neurotools.report.page import Block, Code, Facts, Section, Table, Text


def recording_section(recording: xr.DataTree | xr.DataArray | None) -> Section:
    """Where the recording comes from, what it holds, and what the validator says of it."""
    if not isinstance(recording, xr.DataTree):
        return Section("Recording")
    found = tables.finding_table(recording)
    blocks: list[Block] = [
        Facts(summary.recording_facts(recording)),
        Table(tables.node_table(recording), "What the recording holds"),
        Table(found, "What the validator found")
        if len(found)
        else Text("The validator found nothing wrong with the recording."),
    ]
    return Section("Recording", blocks)


def provenance_section(facts: Mapping[str, Any]) -> Section:
    """Seeds, versions, hashes, threads, time and memory, as the runner recorded them."""
    if not facts:
        return Section("Provenance")
    text = json.dumps(facts, indent=2, default=str)
    blocks: list[Block] = [
        Facts(summary.recorded_facts(facts)),
        Code(text, "Everything recorded, as in provenance.json", folded=True),
    ]
    return Section("Provenance", blocks)


def again_section(facts: Mapping[str, Any], python: str) -> Section:
    """The command and the lines of Python that make the same result."""
    said = "The same seed and settings give the same numbers for the same number of threads."
    blocks: list[Block] = [
        Code(summary.command(facts), "From the command line"),
        Code(python, "From Python"),
        Text(f"{said} settings.yaml lies beside this page."),
    ]
    return Section("Do it again", blocks, short="Again")


def software(versions: Mapping[str, str] | None, *names: str) -> str:
    """Sentence that names the programs and their versions."""
    known = {name: (versions or {}).get(name) for name in names}
    listed = "".join(f", {name} {version}" for name, version in known.items() if version)
    return f"Computed with neurotools {__version__}{listed}."
