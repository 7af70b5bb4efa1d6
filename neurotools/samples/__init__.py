"""Small real recordings under open licences that ship with the package.

Each is a folder with the unchanged data, ``LICENSE``, ``CITATION.txt``, ``recording.yaml`` (so that it is
loaded as a user's own file would be) and ``sample.yaml`` (what it is and what is known of it).
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from neurotools.errors import SettingsError, did_you_mean

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Sample:
    """What a bundled recording is, and what is known of it; printed, it is a page of text."""

    name: str
    what: str
    shapes: str
    rate: str
    units: str
    licence: str
    known: str
    origin: str
    citation: str
    n_bytes: int

    def __repr__(self) -> str:
        width = max(len(entry.name) for entry in fields(self))
        pad = " " * (width + 2)
        rows = []
        for entry in fields(self):
            lines = str(getattr(self, entry.name)).splitlines()
            wrapped = [textwrap.fill(line, 100 - len(pad)) for line in lines if line]
            rows.append(f"{entry.name:<{width}}  " + textwrap.indent("\n".join(wrapped), pad).lstrip())
        return "\n".join(rows)


def names() -> tuple[str, ...]:
    """Names that ``nt.load`` accepts: one per folder beside this file that describes a recording."""
    return tuple(sorted(file.parent.name.replace("_", "-") for file in HERE.glob("*/sample.yaml")))


def path(name: str) -> Path:
    """Folder of a sample, with its data, licence, citation and ``recording.yaml``."""
    if name not in names():
        raise SettingsError(
            f"there is no sample named {name!r}.{did_you_mean(name, names())}",
            code="NT-SET-001",
            expected="one of " + ", ".join(names()),
        )
    return HERE / name.replace("-", "_")


def describe(name: str) -> Sample:
    """What a sample is: shapes, rate, units, licence, citation, and what is known of it.

    Parameters
    ----------
    name : str
        One of ``names()``.
    """
    folder = path(name)
    said = yaml.safe_load((folder / "sample.yaml").read_text(encoding="utf-8"))
    return Sample(
        name=name,
        citation=(folder / "CITATION.txt").read_text(encoding="utf-8").strip(),
        n_bytes=sum(file.stat().st_size for file in folder.iterdir()),
        **said,
    )
