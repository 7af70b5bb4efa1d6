"""Recordings that neurotools itself saved, as netCDF or Zarr."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools import provenance
from neurotools.errors import FileError, SchemaError
from neurotools.loaders.answers import Answers
from neurotools.loaders.described.arrays import check_inside
from neurotools.loaders.reading.guard import reading
from neurotools.loaders.reading.limits import array_bytes, check_size, readable
from neurotools.loaders.reading.sniff import hdf5_root
from neurotools.provenance import MANIFEST, open_saved
from neurotools.schema import validate

NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"


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


# ---- sizes that a store claims ------------------------------------------------------------------------
@dataclass(frozen=True)
class Claim:
    """What a store says of one array, and whether its values are all there."""

    name: str
    n_bytes: int
    read_at_once: bool  # the rest stays on disk until it is asked for, part by part
    whole: bool


def _check_sizes(path: Path) -> None:
    """Hold what will be read at once against memory, and what stays on disk against what is stored there."""
    claims = list(_zarr_claims(path) if path.is_dir() else _hdf5_claims(path))
    large = sorted((claim for claim in claims if claim.read_at_once), key=lambda claim: -claim.n_bytes)
    if large:
        rest = f" and {len(large) - 1} smaller ones" if len(large) > 1 else ""
        check_size(sum(claim.n_bytes for claim in large), path, f"array {large[0].name!r}{rest}")
    for claim in claims:
        if not claim.read_at_once and not claim.whole:
            raise FileError(
                "an array of the store claims more values than are stored", code="NT-FILE-003", path=path,
                where=f"array {claim.name!r}", expected=readable(claim.n_bytes),
                fix="copy or download it again",
            )  # fmt: skip


def _hdf5_claims(path: Path) -> Iterator[Claim]:
    import h5py

    found: list[Claim] = []

    def visit(name: str | bytes, node: Any) -> None:
        # A dimension without labels is stored as a dataset without values.
        if not isinstance(node, h5py.Dataset) or node.attrs.get("NAME", b"").startswith(NO_VARIABLE):
            return
        text = h5py.check_string_dtype(node.dtype) is not None or node.dtype.kind not in "biufc"
        n_bytes = array_bytes(node.shape or (), 8 if text else node.dtype.itemsize)
        index = node.attrs.get("CLASS") == b"DIMENSION_SCALE"
        found.append(
            Claim(str(name), n_bytes, text or index or n_bytes <= provenance.LAZY_BYTES, _is_whole(node))
        )

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    yield from found


def _is_whole(dataset: Any) -> bool:
    """Whether an HDF5 dataset has every byte, or every chunk, that its shape needs."""
    check_inside(dataset, Path(dataset.file.filename))
    if dataset.shape is None:
        return True
    if dataset.chunks is None:
        return bool(dataset.id.get_storage_size() >= array_bytes(dataset.shape, dataset.dtype.itemsize))
    return bool(dataset.id.get_num_chunks() >= _n_chunks(dataset.shape, dataset.chunks))


def _n_chunks(shape: Sequence[int], chunks: Sequence[int]) -> int:
    return math.prod(-(-int(n) // int(each)) for n, each in zip(shape, chunks, strict=True))


def _zarr_claims(path: Path) -> Iterator[Claim]:
    for file in sorted(path.rglob("zarr.json")):
        facts = json.loads(file.read_text(encoding="utf-8"))
        if facts.get("node_type") != "array":
            continue
        name, shape = file.parent.name, tuple(facts["shape"])
        kind = facts["data_type"]
        text = not isinstance(kind, str) or kind == "string"
        n_bytes = array_bytes(shape, 8 if text else np.dtype(kind).itemsize)
        at_once = text or facts.get("dimension_names") == [name] or n_bytes <= provenance.LAZY_BYTES
        wanted = _n_chunks(shape, facts["chunk_grid"]["configuration"]["chunk_shape"])
        yield Claim(name, n_bytes, at_once, at_once or _n_files(file.parent) >= wanted)


def _n_files(folder: Path) -> int:
    return sum(file.is_file() for file in folder.rglob("*")) - 1  # all but zarr.json


def is_saved(path: Path) -> bool:
    """Whether ``nt.save`` wrote this (a recording or a fit)."""
    if path.is_dir():
        return (path / MANIFEST).is_file() or (path / "zarr.json").is_file()
    attributes, _ = hdf5_root(path)
    return attributes.get("schema", "").startswith("neurotools/") or "neurotools_version" in attributes


FORMATS = {"saved": is_saved}
