"""Recordings that neurotools itself saved, as netCDF or Zarr."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from neurotools.errors import FileError
from neurotools.loaders.answers import Answers
from neurotools.loaders.sniff import hdf5_root
from neurotools.provenance import MANIFEST, open_saved


def load_saved(path: Path, answers: Answers) -> xr.DataTree:
    """Open a recording that ``nt.save`` wrote; it comes back identical."""
    found = open_saved(path)
    if not isinstance(found, xr.DataTree) or "schema" not in found.attrs:
        raise FileError(
            "this is a saved fit or a foreign netCDF file, not a recording",
            code="NT-FILE-002",
            path=path,
            fix="open a fit with nt.open_fit",
        )
    return found


def is_saved(path: Path) -> bool:
    """Whether ``nt.save`` wrote this (a recording or a fit)."""
    if path.is_dir():
        return (path / MANIFEST).is_file() or (path / "zarr.json").is_file()
    attributes, _ = hdf5_root(path)
    return attributes.get("schema", "").startswith("neurotools/") or "neurotools_version" in attributes


FORMATS = {"saved": is_saved}
