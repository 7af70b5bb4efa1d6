"""Recordings that neurotools itself saved, as netCDF or Zarr."""

from __future__ import annotations

import json
from pathlib import Path

import xarray as xr

from neurotools.errors import FileError, SchemaError
from neurotools.loaders.answers import Answers
from neurotools.loaders.arrays import hdf5_contents
from neurotools.loaders.guard import reading
from neurotools.loaders.limits import array_bytes, check_size
from neurotools.loaders.sniff import hdf5_root
from neurotools.provenance import MANIFEST, open_saved
from neurotools.schema import validate


def load_saved(path: Path, answers: Answers) -> xr.DataTree:
    """Open a recording that ``nt.save`` wrote; it comes back identical, large arrays left on disk."""
    with reading(path, "the saved recording"):
        _check_sizes(path)
        found = open_saved(path, in_memory=False)
    if not isinstance(found, xr.DataTree) or "schema" not in found.attrs:
        raise FileError(
            "this is a saved fit or a foreign netCDF file, not a recording",
            code="NT-FILE-002",
            path=path,
            fix="open a fit with nt.open_fit",
        )
    faults = [finding for finding in validate(found) if finding.level == "error"]
    if faults:
        first = faults[0]
        raise SchemaError(
            f"the saved recording is no longer valid: {first.problem}",
            code=first.code, path=path, where=first.where, found=first.found,
        )  # fmt: skip
    return found


def _check_sizes(path: Path) -> None:
    """Hold the sizes that a store claims for its arrays against memory, before any is read."""
    if not path.is_dir():
        for name, stored in hdf5_contents(path).arrays.items():
            check_size(array_bytes(stored.shape, 8), path, f"array {name!r}")
        return
    for file in path.rglob("zarr.json"):
        shape = json.loads(file.read_text(encoding="utf-8")).get("shape", [])
        check_size(array_bytes(tuple(shape), 8), path, f"array {file.parent.name!r}")


def is_saved(path: Path) -> bool:
    """Whether ``nt.save`` wrote this (a recording or a fit)."""
    if path.is_dir():
        return (path / MANIFEST).is_file() or (path / "zarr.json").is_file()
    attributes, _ = hdf5_root(path)
    return attributes.get("schema", "").startswith("neurotools/") or "neurotools_version" in attributes


FORMATS = {"saved": is_saved}
