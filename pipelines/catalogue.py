"""What there is by name: pipelines, samples, models, formats; and a pipeline described on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from neurotools import registry, samples
from neurotools.loaders.recognise import FORMATS
from neurotools.models.encoders.presets import PRESETS

from . import terminal
from .contract import first_sentence


def everything() -> dict[str, dict[str, str]]:
    """Name to one sentence, for each kind of thing; nothing is imported for it."""
    readers: dict[str, list[str]] = {}
    for name, _ in FORMATS:
        readers.setdefault(registry.LOADERS[name], []).append(name)
    return {
        "pipelines": {name: first_sentence(target) for name, target in registry.PIPELINES.items()},
        "samples": {name: _about(samples.describe(name)) for name in samples.names()},
        "encoders": {name: preset.about for name, preset in PRESETS.items()},
        "models": {name: first_sentence(target) for name, target in registry.MODELS.items()},
        "formats": {", ".join(names): first_sentence(target) for target, names in readers.items()},
    }


def _about(sample: samples.Sample) -> str:
    return f"{sample.what} ({sample.licence})"


def show(facts: Mapping[str, Any]) -> None:
    """Print what a pipeline takes, gives and can be set to."""
    terminal.heading(str(facts["pipeline"]))
    terminal.out.print(f"  {facts['about']}\n")
    if facts["takes"]:
        terminal.heading("takes")
        terminal.out.print(f"  {facts['takes']}\n")
    if facts["gives"]:
        terminal.heading("gives")
        terminal.rows(facts["gives"].items())
        terminal.out.print()
    if "expected" in facts:
        _show_expected(facts["expected"])
    terminal.heading("settings")
    rows = [
        (
            entry["name"],
            Text(_default(entry["default"]), style=terminal.QUIET),
            entry["unit"],
            entry["meaning"],
        )
        for entry in facts["settings"]
    ]
    terminal.rows(rows, ("name", "default", "unit", "meaning"))
    terminal.out.print(
        "\nSet one with --set name=value, or several in a file: neurotools describe "
        f"{facts['pipeline']} --yaml > settings.yaml"
    )


def _show_expected(facts: Mapping[str, Any]) -> None:
    """What a run on a source would take."""
    terminal.heading(f"expected for {facts['source']}")
    cost = facts["estimate"]
    if cost is None:
        terminal.out.print("  no estimate: the pipeline has none, or does not take this recording\n")
        return
    shape = cost["shape"]
    size = f"{shape['rows']:,} rows × {shape['samples']:,} samples"
    size += f" × {shape['subjects']} subjects" if shape["subjects"] > 1 else ""
    parts = [(f"  {name}", terminal.seconds(value)) for name, value in cost["parts"].items()]
    rows = [(facts["largest"], size), *parts, ("memory", f"{cost['memory_mb']:,} MB for each worker")]
    n, workers = facts["recordings"], min(facts["workers"], facts["recordings"])
    several = f"{n} recordings, {workers} at a time" if n > 1 else "all, from start to page"
    rows.append((several, f"{terminal.seconds(facts['all_seconds'])}, {facts['all_memory_mb']:,} MB"))
    terminal.rows(rows)
    terminal.out.print(
        Text(f"  on one thread each; true within a factor of {cost['within_factor']:g}\n", terminal.QUIET)
    )


def _default(value: Any) -> str:
    return "none" if value is None else str(value)
