"""Files to open formats; a table of what can be converted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from neurotools.errors import FileError, SettingsError, lookup
from neurotools.provenance import save

from .sources import find


def recording(file: str, out: Path) -> Path:
    """Any readable recording to netCDF or Zarr, labelled and checked."""
    found = find(file)
    if found.several:
        raise SettingsError(
            "the source holds several recordings, and one is converted at a time",
            found=", ".join(entry.name for entry in found.recordings[:6]),
        )
    return save(found.recordings[0].load(), out)


CONVERTERS: dict[str, Callable[[str, Path], Path]] = {"recording": recording}


def convert(name: str, file: str, out: Path) -> Path:
    """Convert ``file`` to ``out`` with the converter ``name``; an existing file is not replaced."""
    act = lookup("converter", name, CONVERTERS)
    if out.exists():
        raise FileError(
            "there is a file of that name already", code="NT-OUT-002", path=out, fix="give another name"
        )
    return act(file, out)
