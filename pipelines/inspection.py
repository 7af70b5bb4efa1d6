"""What a recording holds: nodes, shapes, units, rates, events, and every finding of the validator."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr
from rich.text import Text

from neurotools.errors import NeurotoolsError, SchemaError
from neurotools.schema import MAIN_ARRAYS, SPACE_DIMS, sampling_rate, validate

from . import terminal
from .sources import Source, find

SHOWN_LABELS = 8


def of_source(source: str) -> dict[str, Any]:
    """Facts of the one recording of a source, or of each recording of a collection.

    Raises
    ------
    FileError
        There is nothing to read. In a collection, a recording that cannot be read has its ``error`` in place
        of facts.
    """
    found = find(source)
    if len(found.recordings) == 1:
        facts = of_recording(found.recordings[0].load(), found.recordings[0])
        return {**facts, "left_out": list(found.left_out)} if found.left_out else facts
    return {
        "source": str(Path(source)),
        "recordings": [_facts_or_error(entry) for entry in found.recordings],
        "left_out": list(found.left_out),
    }


def _facts_or_error(entry: Source) -> dict[str, Any]:
    try:
        return of_recording(entry.load(), entry)
    except NeurotoolsError as error:
        return {"name": entry.name, "source": entry.path, "error": error.as_dict()}


def of_recording(recording: xr.DataTree, entry: Source) -> dict[str, Any]:
    """Facts of a recording as plain data."""
    nodes = {name: node.to_dataset(inherit=False) for name, node in recording.children.items()}
    return {
        "name": entry.name,
        "source": entry.path,
        "attributes": {str(key): _plain(value) for key, value in recording.attrs.items()},
        "modalities": [path.split("/")[0] for path in MAIN_ARRAYS if _held(nodes, path)]
        + (["spikes"] if "spikes" in nodes else []),
        "nodes": {name: _node(dataset) for name, dataset in nodes.items()},
        "findings": [dataclasses.asdict(finding) for finding in validate(recording)],
    }


def _held(nodes: Mapping[str, xr.Dataset], path: str) -> bool:
    node, _, name = path.partition("/")
    return node in nodes and name in nodes[node]


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _node(dataset: xr.Dataset) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "arrays": {
            str(name): {
                "shape": {str(dim): int(size) for dim, size in array.sizes.items()},
                "units": array.attrs.get("units"),
                "dtype": str(array.dtype),
            }
            for name, array in dataset.data_vars.items()
        }
    }
    facts |= _clock(dataset)
    for dim in SPACE_DIMS:
        if dim in dataset.indexes:
            facts["labels"] = {"dim": dim, "values": [_plain(value) for value in dataset[dim].to_numpy()]}
    if "trial_type" in dataset:
        facts["events"] = dict(Counter(map(str, dataset["trial_type"].to_numpy())).most_common())
    if "spike_time" in dataset:
        facts["duration_s"] = float(dataset.attrs["t_stop"]) - float(dataset.attrs["t_start"])
        if facts["duration_s"] > 0 and dataset.sizes.get("unit"):
            rate = dataset.sizes["spike"] / dataset.sizes["unit"] / facts["duration_s"]
            facts["mean_rate_hz"] = round(rate, 3)
    return facts


def _clock(dataset: xr.Dataset) -> dict[str, Any]:
    if "time" not in dataset.coords or dataset.sizes.get("time", 0) < 2:
        return {}
    arrays = [array for array in dataset.data_vars.values() if "time" in array.dims]
    time = dataset["time"]
    span = float(time[-1]) - float(time[0])
    try:
        rate = sampling_rate(arrays[0] if arrays else time)
    except SchemaError:
        return {"duration_s": span, "rate_hz": None}
    return {"duration_s": span + 1 / rate, "rate_hz": rate}


# ---- on the terminal --------------------------------------------------------------------------------------
def show(facts: Mapping[str, Any]) -> None:
    """Print what ``of_source`` found."""
    if "recordings" in facts:
        _show_collection(facts)
        return
    terminal.heading(facts["name"])
    head = [(key, _short(value)) for key, value in facts["attributes"].items() if value not in ("", None)]
    terminal.rows([("modality", ", ".join(facts["modalities"]) or "none"), *head])
    for name, node in facts["nodes"].items():
        terminal.out.print()
        terminal.heading(name)
        terminal.rows(_node_rows(node))
    terminal.out.print()
    _show_findings(facts["findings"])
    _show_left_out(facts)


def _short(value: Any, limit: int = 200) -> str:
    text = str(value)
    return text if len(text) <= limit else text[:limit] + " ..."


def _node_rows(node: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name, array in node["arrays"].items():
        shape = " × ".join(f"{size:,} {dim}" for dim, size in array["shape"].items()) or "one value"
        rows.append((name, f"{shape}   {array['units'] or ''}".rstrip()))
    if node.get("rate_hz"):
        rows.append(("rate", f"{node['rate_hz']:.6g} Hz"))
    elif "rate_hz" in node:
        rows.append(("rate", "irregular"))
    if "duration_s" in node:
        rows.append(("duration", terminal.seconds(node["duration_s"])))
    if "mean_rate_hz" in node:
        rows.append(("mean rate", f"{node['mean_rate_hz']:g} Hz per unit"))
    if "labels" in node:
        values = list(map(str, node["labels"]["values"]))
        more = f" ... {values[-1]}" if len(values) > SHOWN_LABELS else ""
        rows.append((f"{len(values)} {node['labels']['dim']}s", " ".join(values[:SHOWN_LABELS]) + more))
    for kind, count in node.get("events", {}).items():
        rows.append((f"{count:,} ×", kind))
    return rows


def _show_findings(findings: list[dict[str, Any]]) -> None:
    if not findings:
        terminal.out.print(Text.assemble(("✓ ", terminal.GOOD), "the validator finds nothing wrong"))
        return
    for finding in findings:
        colour = terminal.BAD if finding["level"] == "error" else terminal.NOTE
        text = Text.assemble(
            (f"{finding['level']:6}", colour), f"{finding['where']}: {finding['problem']}",
            (f"  {finding['code']}", terminal.QUIET),
        )  # fmt: skip
        terminal.out.print(text)
        for key in ("found", "fix"):
            if finding[key]:
                terminal.out.print(Text.assemble((f"      {key:6}", terminal.QUIET), finding[key]))


def _show_collection(facts: Mapping[str, Any]) -> None:
    rows = []
    for entry in facts["recordings"]:
        if "error" in entry:
            rows.append((Text("✗", terminal.BAD), entry["name"], str(entry["error"]["problem"])))
            continue
        main = [
            f"{name}/{array}: " + " × ".join(f"{n:,} {d}" for d, n in held["shape"].items())
            for name, node in entry["nodes"].items()
            for array, held in node["arrays"].items()
            if f"{name}/{array}" in (*MAIN_ARRAYS, "spikes/spike_time")
        ]
        bad = sum(finding["level"] == "error" for finding in entry["findings"])
        sign = Text("✗", terminal.BAD) if bad else Text("✓", terminal.GOOD)
        rows.append((sign, entry["name"], "; ".join(main)))
    terminal.rows(rows)
    _show_left_out(facts)


def _show_left_out(facts: Mapping[str, Any]) -> None:
    if left := facts.get("left_out"):
        terminal.out.print(
            Text(f"{len(left)} files are no recordings: {', '.join(left[:6])}", terminal.QUIET)
        )
