"""What every page has: its figures handed out once, the recording, where it comes from, how to repeat it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xarray as xr

from neurotools._version import __version__
from neurotools.report import summary, tables
from neurotools.report.page import Block, Code, Facts, Figure, Section, Table, Text

Told = tuple[str, str, str]  # title, caption, and words for those who cannot see the picture


class Pictures:
    """Hands out figures by name as blocks of the page, each once, and at last those that nobody asked for."""

    def __init__(self, figures: Mapping[str, Any], caption: Callable[[str], Told]) -> None:
        self.left, self.caption = dict(figures), caption

    def __call__(self, *names: str) -> list[Block]:
        """Figures of these names, as far as they are there."""
        return [self._block(name) for name in names if name in self.left]

    def rest(self) -> list[Block]:
        """Figures that were not handed out yet."""
        return [self._block(name) for name in list(self.left)]

    def _block(self, name: str) -> Block:
        title, text, alt = self.caption(name)
        return Figure(self.left.pop(name), text, alt, title)


def recording_section(
    recording: xr.DataTree | xr.DataArray | None, pictures: Sequence[Block] = ()
) -> Section:
    """Where the recording comes from, what it holds, and what the validator says of it."""
    blocks: list[Block] = []
    if recording is not None:
        blocks.append(Facts(summary.recording_facts(recording)))
    if isinstance(recording, xr.DataTree):
        found = tables.finding_table(recording)
        blocks += [
            Table(tables.node_table(recording), "What the recording holds"),
            Table(found, "What the validator found")
            if len(found)
            else Text("The validator found nothing wrong with the recording."),
        ]
    return Section("Recording", [*blocks, *pictures])


def provenance_section(
    facts: Mapping[str, Any], attrs: Mapping[Any, Any] | None = None, chosen: Mapping[str, Any] | None = None
) -> Section:
    """Seeds, versions, hashes, threads, time and memory, as the runner recorded them.

    ``attrs`` are those of a fit, for what was not recorded; ``chosen`` the settings of its models.
    """
    shown = summary.recorded_facts(facts)
    if attrs is not None:
        shown.setdefault("Seeds", f"fit {attrs.get('seed', '?')}")
        shown.setdefault("Versions", f"neurotools {attrs.get('neurotools_version', '?')}")
    blocks: list[Block] = [Facts(shown)] if shown else []
    if chosen is not None:
        blocks.append(Code(json.dumps(chosen, indent=2), "Settings of the model", folded=True))
    if facts:
        text = json.dumps(facts, indent=2, default=str)
        blocks.append(Code(text, "Everything recorded, as in provenance.json", folded=True))
    return Section("Provenance", blocks)


def again_section(facts: Mapping[str, Any], python: str) -> Section:
    """The command and the lines of Python that make the same result."""
    said = "The same seed and settings give the same numbers for the same number of threads"
    hashed = "; the content hash above says so" if "content_hash" in facts else ""
    blocks: list[Block] = [
        Code(summary.command(facts), "From the command line"),
        Code(python, "From Python"),
        Text(f"{said}{hashed}. settings.yaml lies beside this page."),
    ]
    return Section("Do it again", blocks, short="Again")


def software(versions: Mapping[str, str] | None, *names: str) -> str:
    """Sentence that names the programs and their versions."""
    known = {name: (versions or {}).get(name) for name in names}
    listed = "".join(f", {name} {version}" for name, version in known.items() if version)
    return f"Computed with neurotools {__version__}{listed}."
