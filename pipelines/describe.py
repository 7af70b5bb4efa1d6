"""What there is and what it means: settings with meaning, unit and default, read from docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from typing import Any

from . import costs
from . import settings as reading
from .contract import Pipeline
from .job import read
from .runner import together
from .sources import files_of, find


@dataclasses.dataclass(frozen=True)
class Meaning:
    """One setting: its full name, type, unit, default and what it does."""

    name: str
    type: str
    unit: str | None
    default: Any
    meaning: str


def settings_of(chain: Pipeline) -> list[Meaning]:
    """Every setting of a pipeline, those of its models too, in order."""
    return _meanings(chain.settings(), "")


def _meanings(held: Any, prefix: str) -> list[Meaning]:
    notes = parameters(type(held))
    found = []
    for entry in dataclasses.fields(held):
        kind, unit, text = notes.get(entry.name, (str(entry.type), None, ""))
        inner = getattr(held, entry.name)
        if dataclasses.is_dataclass(inner):
            name = type(inner).__name__
            found.append(Meaning(prefix + entry.name, name, None, f"{name}(...)", text or first_line(inner)))
            found += _meanings(inner, f"{prefix}{entry.name}.")
        else:
            found.append(Meaning(prefix + entry.name, kind, unit or _unit(entry.name), inner, text))
    return found


def _unit(name: str) -> str | None:
    """The unit that stands in a name: ``smooth_s`` is in seconds."""
    units = {"s": "s", "hz": "Hz", "mb": "MB"}
    return units.get(name.rsplit("_", 1)[-1]) if "_" in name else None


def first_line(thing: Any) -> str:
    """First sentence of a docstring."""
    return (inspect.getdoc(thing) or "").strip().split("\n")[0]


def parameters(cls: type) -> dict[str, tuple[str, str | None, str]]:
    """Type, unit and meaning of each parameter that a class's docstring lists.

    The entries are numpydoc's, with the unit, if any, at the end of the type: ``smooth_s : float, in s``.
    """
    text = inspect.getdoc(cls) or ""
    found: dict[str, tuple[str, str | None, str]] = {}
    section = re.search(r"^(?:Parameters|Attributes)\n-+\n(.*?)(?=^\w[^\n]*\n-{3,}\n|\Z)", text, re.M | re.S)
    if section is None:
        return found
    for names, kind, body in re.findall(r"^(\w[\w, ]*) : (.*)\n((?:(?: .*)?\n?)*)", section[1] + "\n", re.M):
        kind, _, unit = kind.partition(", in ")
        meaning = " ".join(body.replace("``", "").split())
        if kind.startswith("{"):
            meaning = f"{meaning} One of {kind.partition('}')[0].strip('{')}.".strip()
        for name in names.split(","):
            found[name.strip()] = (kind.replace(", optional", ""), unit or None, meaning)
    return found


def expected(chain: Pipeline, source: str, chosen: Any, workers: int = 1) -> dict[str, Any]:
    """What a source is expected to take: its largest recording in full, and all by their size on disk.

    Only that one recording is opened; samples that can stay on disk do.
    """
    found = together(find(source), chain, chosen)
    sizes = {entry: sum(file.stat().st_size for file in files_of(entry)) for entry in found.recordings}
    largest = max(sizes, key=lambda entry: sizes[entry])
    cost = costs.estimate(chain, read(largest, chain, chosen), chosen)
    if cost is None:
        return {"source": source, "recordings": len(sizes), "largest": largest.name, "estimate": None}
    whole = cost.seconds * sum(sizes.values()) / max(1, sizes[largest])
    return {
        "source": source,
        "recordings": len(sizes),
        "largest": largest.name,
        "estimate": cost.as_dict(),
        "workers": workers,
        "all_seconds": round(costs.FIRST_S + max(cost.seconds, whole / workers), 1),
        "all_memory_mb": round(cost.memory_mb * min(workers, len(sizes))),
    }


def as_dict(chain: Pipeline) -> dict[str, Any]:
    """A pipeline as plain data, for JSON."""
    return {
        "pipeline": chain.name,
        "about": first_line(chain.module),
        "takes": chain.part("TAKES"),
        "gives": chain.part("GIVES") or {},
        "settings": [dataclasses.asdict(entry) for entry in settings_of(chain)],
        "schema": json_schema(chain),
    }


def json_schema(chain: Pipeline) -> dict[str, Any]:
    """JSON schema of the settings file, with the meaning and unit of every setting, for editors."""
    schema = reading.json_schema(chain.settings)
    told = {entry.name: entry for entry in settings_of(chain)}
    _tell(schema, schema, told, "")
    return {**schema, "title": f"Settings of {chain.name}"}


def _tell(node: dict[str, Any], root: dict[str, Any], told: dict[str, Meaning], prefix: str) -> None:
    """Write meanings beside the settings of ``node``, and of the one kind of model that each may hold."""
    for name, entry in node.get("properties", {}).items():
        found = told.get(prefix + name)
        if found is not None and found.meaning:
            entry["description"] = found.meaning + (f" [{found.unit}]" if found.unit else "")
        if "$ref" in entry:
            _tell(root["$defs"][entry["$ref"].rsplit("/", 1)[-1]], root, told, f"{prefix}{name}.")


def template(chain: Pipeline) -> str:
    """A settings file with every default, and what each setting means beside it."""
    meanings = {entry.name: entry for entry in settings_of(chain)}
    lines = [f"# Settings of {chain.name}. Lines left out keep these defaults."]
    path: list[str] = []
    for line in reading.to_yaml(chain.settings()).splitlines():
        found = re.match(r"^( *)(\w+):", line)
        if found:
            depth = len(found[1]) // 2
            path = [*path[:depth], found[2]]
            entry = meanings.get(".".join(path))
            if entry is not None and entry.meaning:
                unit = f" [{entry.unit}]" if entry.unit else ""
                lines += textwrap.wrap(
                    entry.meaning + unit,
                    100,
                    initial_indent=f"{found[1]}# ",
                    subsequent_indent=f"{found[1]}# ",
                )
        lines.append(line)
    return "\n".join(lines) + "\n"
