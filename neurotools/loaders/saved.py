"""Recordings that neurotools itself saved, as netCDF or Zarr."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from neurotools.errors import FileError
from neurotools.loaders.answers import Answers
from neurotools.provenance import open_saved


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
