"""Where a result came from, and how it reaches the disk whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
import uuid
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurotools._version import __version__
from neurotools.errors import FileError, ResultError, SettingsError, expect

MANIFEST = "neurotools-manifest.json"
PART_BYTES = 1 << 24  # what is left on disk is written in parts of this size, and memory is bounded by them
HASH_BYTES = 1 << 25  # what is left on disk is hashed in parts of this size
LAZY_BYTES = 1 << 26  # arrays of a recording of more than 64 MiB stay on disk
# Attributes that say where and when something was computed, not what; a hash of content leaves them out.
PROVENANCE_ATTRS = {"created", "wall_time_s", "peak_memory_mb", "host", "source", "threads", "checksum"}


# ---- settings travel with a fit -------------------------------------------------------------------
def settings_dict(settings: Any) -> dict[str, Any]:
    """Turn a frozen dataclass into plain JSON values; nested ones become ``{"type": name, ...}``."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {"type": type(value).__name__, **settings_dict(value)}
        if isinstance(value, (tuple, list)):
            return [plain(entry) for entry in value]
        return value

    return {field.name: plain(getattr(settings, field.name)) for field in dataclasses.fields(settings)}


def stamp(fit: xr.Dataset, model: str, settings: Any) -> xr.Dataset:
    """Write the model's registered name, its settings, version and seed into a fit."""
    return fit.assign_attrs(
        model=model,
        settings=json.dumps(settings_dict(settings), sort_keys=True),
        seed=int(getattr(settings, "seed", 0)),
        neurotools_version=__version__,
    )


def versions(*packages: str) -> dict[str, str]:
    """Installed versions of the named distributions, without importing them."""
    wanted = packages or ("numpy", "scipy", "xarray", "pandas", "numba", "tensorly", "matplotlib")
    found = {name: _installed(name) for name in wanted}
    return {"neurotools": __version__, **{name: version for name, version in found.items() if version}}


@functools.cache
def _installed(package: str) -> str | None:
    """Version of a distribution; found once, since looking takes milliseconds."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


# ---- one hash for what a result says ----------------------------------------------------------------
def content_hash(*results: xr.Dataset | xr.DataArray | xr.DataTree | pd.DataFrame) -> str:
    """SHA-256 over sorted names, dims, dtypes, values and attributes of results, and cells of tables.

    Times, host facts and pictures are provenance and outside it. Of an array that was left on disk, a part
    of ``HASH_BYTES`` at a time is in memory. Parts follow the order of the array's bytes, so a format that
    stores all channels sample by sample is walked through once for every such part.
    """
    digest = hashlib.sha256()
    for result in results:
        expect(result, "a result or a table", xr.Dataset, xr.DataTree, xr.DataArray, pd.DataFrame)
        _feed(digest, result)
    return digest.hexdigest()


def _feed(digest: Any, result: Any) -> None:
    if isinstance(result, pd.DataFrame):
        digest.update(result.to_csv(index=False, float_format="%.17g", lineterminator="\n").encode())
        return
    if isinstance(result, xr.DataArray):
        result = result.to_dataset(name=result.name or "value")
    if isinstance(result, xr.DataTree):
        for node in sorted(result.subtree, key=lambda node: node.path):
            digest.update(node.path.encode())
            _feed(digest, node.to_dataset(inherit=False))
        return
    _feed_attrs(digest, result.attrs)
    for name in sorted(map(str, result.variables)):
        variable = result.variables[name]
        dtype = np.asarray(variable.to_numpy()).dtype if variable._in_memory else variable.dtype
        text = dtype.kind in "OUST"
        digest.update(f"{name}|{variable.dims}|{'text' if text else dtype.str}".encode())
        _feed_attrs(digest, variable.attrs)
        if text:
            digest.update(json.dumps([str(entry) for entry in variable.to_numpy().ravel()]).encode())
        else:
            for place in _c_order(variable):
                values = np.ascontiguousarray(variable[place].to_numpy())
                digest.update(values.reshape(-1).view("uint8").data)


def _c_order(variable: xr.Variable) -> Iterator[tuple[Any, ...]]:
    """Places that cover an array in the order of its bytes; one, unless it is large and lies on disk."""
    if variable._in_memory or variable.nbytes <= HASH_BYTES:
        yield ()
        return
    axis, inner = variable.ndim - 1, variable.dtype.itemsize
    while axis > 0 and inner * variable.shape[axis] <= HASH_BYTES:
        inner *= variable.shape[axis]
        axis -= 1
    step = max(HASH_BYTES // inner, 1)
    for lead in np.ndindex(*variable.shape[:axis]):
        for start in range(0, variable.shape[axis], step):
            yield (*lead, slice(start, start + step))


def _feed_attrs(digest: Any, attrs: Mapping[Any, Any]) -> None:
    for name in sorted(map(str, attrs)):
        if name not in PROVENANCE_ATTRS:
            value = attrs[name]
            value = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
            digest.update(f"{name}={json.dumps(value, default=str)}".encode())


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, or of all files in a folder with their names."""
    path = Path(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


# ---- writing whole or not at all --------------------------------------------------------------------
@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling to write to; on success it takes the place of ``path`` in one rename.

    Works for a file and for a folder. Whatever happens before the end, ``path`` is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.part"
    try:
        yield staged
        _flush(staged)
        if path.is_dir():
            old = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.old"
            os.replace(path, old)
            os.replace(staged, path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(staged, path)
    finally:
        if staged.is_dir():
            shutil.rmtree(staged, ignore_errors=True)
        else:
            staged.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())


def write_text(path: str | Path, text: str) -> Path:
    """Write text atomically, in UTF-8 with plain newlines."""
    with atomic(path) as staged:
        staged.write_text(text, encoding="utf-8", newline="\n")
    return Path(path)


def save(result: xr.Dataset | xr.DataTree | xr.DataArray, path: str | Path) -> Path:
    """Save a fit or a recording to ``.nc`` (one file) or ``.zarr`` (a folder), whole or not at all.

    Parameters
    ----------
    result : xarray.Dataset, xarray.DataTree or xarray.DataArray
        Large arrays that were left on disk are written in parts of ``PART_BYTES``; peak memory is at most
        four such parts.
    path : path
        Ends in ``.nc`` or ``.zarr``. An existing result there is replaced only once the new one is
        complete on disk.

    Returns
    -------
    pathlib.Path
        The path written.
    """
    path = Path(path)
    expect(result, "a fit, a recording or an array", xr.Dataset, xr.DataTree, xr.DataArray)
    if isinstance(result, xr.DataArray):
        result = result.to_dataset(name=result.name or "value")
    if path.suffix not in {".nc", ".zarr"}:
        raise SettingsError(
            "results are saved as netCDF or Zarr",
            found=path.name, expected="a path that ends in .nc or .zarr",
        )  # fmt: skip
    result, large = _apart(result)
    with atomic(path) as staged:
        if path.suffix == ".nc":
            result.to_netcdf(staged, engine="h5netcdf", encoding=_for_each(result, "iufbc", fletcher32=True))
            _add_to_netcdf(staged, large)
        else:
            result = _variable_text(result)
            result.to_zarr(
                staged, mode="w", consolidated=False, write_empty_chunks=True,
                encoding=_for_each(result, "iufbcT", compressors=_summed()),
            )  # fmt: skip
            _add_to_zarr(staged, large)
            sizes = {
                p.relative_to(staged).as_posix(): p.stat().st_size
                for p in sorted(staged.rglob("*"))
                if p.is_file()
            }
            (staged / MANIFEST).write_text(json.dumps({"files": sizes, "neurotools": __version__}))
    return path


def _for_each(result: Any, kinds: str, **options: Any) -> dict[Any, Any]:
    """The same encoding for each array with entries: checksums, so that a byte that rots is noticed."""
    if isinstance(result, xr.DataTree):
        nodes = {node.path: node.to_dataset(inherit=False) for node in result.subtree}
        return {path: found for path, node in nodes.items() if (found := _for_each(node, kinds, **options))}
    variables = result.variables.items()
    return {name: options for name, v in variables if v.ndim and v.size and v.dtype.kind in kinds}


def _summed() -> tuple[Any, ...]:
    from zarr.codecs import ZstdCodec

    return (ZstdCodec(level=0, checksum=True),)


# ---- arrays that were left on disk are written part by part -------------------------------------------
def _apart(result: Any) -> tuple[Any, dict[tuple[str, str], xr.Variable]]:
    """``result`` without its large arrays that are not in memory, and these by node and name."""
    if isinstance(result, xr.Dataset):
        large = {
            str(name): array.variable
            for name, array in result.data_vars.items()
            if not array.variable._in_memory and array.dtype.kind in "iuf" and array.nbytes > PART_BYTES
        }
        return result.drop_vars(large), {("/", name): variable for name, variable in large.items()}
    collected: dict[tuple[str, str], xr.Variable] = {}
    result = result.copy()
    for node in result.subtree:
        rest, found = _apart(node.to_dataset(inherit=False))
        if found:
            node.dataset = rest
            collected |= {(node.path, name): variable for (_, name), variable in found.items()}
    return result, collected


def _parts(variable: xr.Variable) -> Iterator[tuple[slice, ...]]:
    """Places that cover an array, each of about ``PART_BYTES``: stretches of time where there is time."""
    axis = variable.dims.index("time") if "time" in variable.dims else variable.ndim - 1
    n = max(PART_BYTES * variable.shape[axis] // variable.nbytes, 1)
    for start in range(0, variable.shape[axis], n):
        stop = min(start + n, variable.shape[axis])
        yield tuple(slice(start, stop) if i == axis else slice(0, k) for i, k in enumerate(variable.shape))


def _add_to_netcdf(path: Path, large: Mapping[tuple[str, str], xr.Variable]) -> None:
    if not large:
        return
    import h5netcdf

    with h5netcdf.File(path, "a") as file:
        for (node, name), variable in large.items():
            group = file if node == "/" else file[node]
            for dim, size in variable.sizes.items():
                if dim not in group.dimensions:
                    group.dimensions[dim] = size
            target = group.create_variable(name, variable.dims, variable.dtype, fletcher32=True)
            target.attrs.update(variable.attrs)
            for place in _parts(variable):
                target[place] = variable[place].to_numpy()


def _add_to_zarr(path: Path, large: Mapping[tuple[str, str], xr.Variable]) -> None:
    if not large:
        return
    import zarr

    for (node, name), variable in large.items():
        target = zarr.open_group(path / node.strip("/"), mode="a").create_array(
            name, shape=variable.shape, dtype=variable.dtype,
            dimension_names=[str(dim) for dim in variable.dims],
            chunks=tuple(place.stop for place in next(_parts(variable))), compressors=_summed(),
            fill_value=np.nan if variable.dtype.kind == "f" else 0, config={"write_empty_chunks": True},
            attributes={k: v.tolist() if hasattr(v, "tolist") else v for k, v in variable.attrs.items()},
        )  # fmt: skip
        for place in _parts(variable):
            target[place] = variable[place].to_numpy()


def _variable_text(result: Any) -> Any:
    """Text of fixed width has no Zarr 3 specification; text of variable width has, also an empty one."""

    def convert(dataset: xr.Dataset) -> xr.Dataset:
        variables = dataset.variables.items()
        return _replaced(
            dataset, {n: v.astype(np.dtypes.StringDType()) for n, v in variables if v.dtype.kind == "U"}
        )

    return result.map_over_datasets(convert) if isinstance(result, xr.DataTree) else convert(result)


def _replaced(dataset: xr.Dataset, variables: Mapping[Any, xr.Variable]) -> xr.Dataset:
    coords = {name: variable for name, variable in variables.items() if name in dataset.coords}
    return dataset.assign_coords(coords).assign({n: v for n, v in variables.items() if n not in coords})


def open_saved(path: str | Path, *, in_memory: bool = True) -> xr.Dataset | xr.DataTree:
    """Open what ``save`` wrote; refuse a store that is incomplete or whose bytes changed.

    Returns a DataTree when the file has groups, else a Dataset; in memory, unless ``in_memory`` is False:
    then arrays of more than ``LAZY_BYTES`` stay on disk and the store stays open.
    """
    path = Path(path)
    if not path.exists():
        raise FileError("there is no saved result", code="NT-FILE-001", path=path)
    if path.is_dir():
        _check_manifest(path)
        tree = _open_zarr(path)
    else:
        try:
            tree = xr.open_datatree(path, engine="h5netcdf", cache=False)
        except (OSError, KeyError, ValueError) as error:
            raise ResultError(
                "the saved result cannot be opened; it was cut short or is of another format", path=path
            ) from error
    arrays = [array for node in tree.subtree for array in node.data_vars.values()]
    try:
        if in_memory or all(array.nbytes <= LAZY_BYTES for array in arrays):
            with tree:
                tree = tree.load()
        tree = tree.map_over_datasets(_native)
    except (OSError, RuntimeError, ValueError) as error:
        raise ResultError(
            "the bytes of the saved result do not match their checksums", path=path, found=str(error),
            fix="copy it again from where it came, or compute it again",
        ) from error  # fmt: skip
    return tree if tree.children else tree.to_dataset()


def _open_zarr(path: Path) -> xr.DataTree:
    with warnings.catch_warnings():
        # The manifest is no part of the Zarr hierarchy, and zarr says so.
        warnings.filterwarnings("ignore", message=f".*{MANIFEST}")
        return xr.open_datatree(path, engine="zarr", consolidated=False, cache=False)


def _native(dataset: xr.Dataset) -> xr.Dataset:
    """Forget how the file was encoded, so that the object equals the one that was saved."""
    variables = dataset.variables.items()
    # NumPy turns text of variable width into text of fixed width only by way of objects
    text = {n: v.astype(object).astype(str) for n, v in variables if v.dtype.kind == "T"}
    small = {n: v.load() for n, v in variables if n not in text and v.nbytes <= LAZY_BYTES}
    return _replaced(dataset, small | text).drop_encoding()


def _check_manifest(path: Path) -> None:
    manifest = path / MANIFEST
    if not manifest.exists():
        raise ResultError(
            "the store has no manifest, so it may be only partly written",
            path=path,
            fix="write it again with nt.save; a missing chunk would read as zeros",
        )
    for name, size in json.loads(manifest.read_text())["files"].items():
        file = path / name
        if not file.exists() or file.stat().st_size != size:
            raise ResultError(
                "a part of the store is missing or was changed",
                path=path,
                where=name,
                found=f"{file.stat().st_size} bytes" if file.exists() else "no such file",
                expected=f"{size} bytes",
            )
