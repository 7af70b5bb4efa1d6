"""Differential affinity of a recording that is longer than memory: drives made and kept in chunks on disk."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, expect
from neurotools.numerics import affinity as maths
from neurotools.provenance import atomic
from neurotools.schema import SPACE_DIMS, Schema, check_time, plain_attrs
from neurotools.schema.affinity import session_edges
from neurotools.signals.affinity import _check_settings, _rate

TRACES = Schema("traces", dims=("unit|channel|region", "time"), allow_nan=True)
STREAMED = ("geomean", "product", "min", "ratio", "anti")


def stream_affinity(
    x: xr.DataArray,
    path: str | Path,
    *,
    kernel: str = "geomean",
    smooth_s: float | None = None,
    normalise: str = "max",
    floor: float = 0.0,
    chunk: int = 20_000,
) -> xr.Dataset:
    """Write the drives of a long recording to disk, a chunk of time at a time, and open them unread.

    What ``nt.differential_affinity`` gives, without the traces or the drives ever being in memory whole.
    ``nt.NTF(chunk=...)`` factorises it from there.

    Parameters
    ----------
    x : xarray.DataArray
        Traces (unit | channel | region, time) of one recording, left on disk (``nt.load`` of a saved one
        leaves them there). They are read twice.
    path : str or Path
        Zarr store to write; it must not exist.
    kernel : {"geomean", "product", "min", "ratio", "anti"}
    smooth_s, floor : float
        As in ``nt.differential_affinity``.
    normalise : {"max", "none"}
        What slopes are divided by; a percentile would need all of them at once.
    chunk : int
        Samples that are worked on at a time.

    Returns
    -------
    xarray.Dataset
        As of ``nt.differential_affinity``, its drives on disk.

    Raises
    ------
    SettingsError
        A kernel or normalisation that needs more than a chunk at once; something is at ``path``.
    """
    expect(x, "traces", xr.DataArray)
    path = Path(path)
    _check_settings(kernel, smooth_s, normalise, floor)
    _check_streamed(kernel, normalise, chunk, path)
    TRACES.require(x.isel(time=slice(0, 2)) if "time" in x.dims else x)
    dim = _space(x)
    attrs = {"kernel": kernel, "normalise": normalise, "floor": float(floor)}
    if smooth_s is not None:
        attrs["smooth_s"] = float(smooth_s)
    scale, space = _scales(x, dim, smooth_s, chunk, normalise=normalise, floor=floor)
    with atomic(path) as store:
        for place, g in slopes_in_chunks(x, dim, smooth_s, chunk):
            up, down = maths.rectified(g, scale.astype(g.dtype), float(floor))
            piece = xr.Dataset(
                {
                    name: ((dim, "time"), part, {"units": "1"})
                    for name, part in (("drive_up", up), ("drive_down", down))
                },
                coords={str(n): c.variable for n, c in x.isel(time=place).coords.items() if c.dims},
                attrs=plain_attrs(attrs),
            )
            _append(piece, store, space, (x.sizes[dim], min(chunk, x.sizes["time"])))
    return xr.open_zarr(path, chunks=None, consolidated=False)


def _scales(
    x: xr.DataArray, dim: str, smooth_s: float | None, chunk: int, *, normalise: str, floor: float
) -> tuple[np.ndarray, dict[str, tuple[str, np.ndarray]]]:
    """What every unit's slopes are divided by, and which units were observed and never move."""
    largest = np.zeros(x.sizes[dim])
    for _, g in slopes_in_chunks(x, dim, smooth_s, chunk):
        largest = np.maximum(largest, np.abs(g).max(axis=-1))
    scale = (largest if normalise == "max" else np.ones_like(largest))[:, None]
    top = largest / np.where(scale[:, 0] > 0, scale[:, 0], 1.0)
    space = {"observed": (dim, np.ones(top.size, dtype=bool)), "silent": (dim, (top <= 0) | (top < floor))}
    return scale, space


def _append(
    piece: xr.Dataset, store: Path, space: dict[str, tuple[str, np.ndarray]], chunks: tuple[int, int]
) -> None:
    """Begin the store with a piece, or lay the piece behind what is there."""
    if store.exists():
        fixed = [name for name in piece.coords if "time" not in piece[name].dims]
        piece.drop_vars(fixed).to_zarr(store, append_dim="time", consolidated=False)
    else:
        encoding = {str(name): {"chunks": chunks} for name in piece.data_vars}
        piece.assign(space).to_zarr(store, mode="w", encoding=encoding, consolidated=False)


def slopes_in_chunks(
    x: xr.DataArray, dim: str, smooth_s: float | None, chunk: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Slopes (unit, time) of every chunk, as the whole recording would give them."""
    n, edges = x.sizes["time"], session_edges(x)
    rate = _rate(x, edges) if "time" in x.coords else 1.0
    sigma = None if smooth_s is None else smooth_s * rate
    reach = 1 if sigma is None else int(maths.TRUNCATE * sigma + 0.5) + 1
    for start in range(0, n, chunk):
        stop = min(start + chunk, n)
        low, high = max(0, start - reach), min(n, stop + reach)
        values = x.isel(time=slice(low, high)).transpose(dim, "time").to_numpy()
        values = values if values.dtype.kind == "f" else values.astype("float64")
        if not np.isfinite(values).all():
            raise SchemaError(
                "traces have values that are not finite", code="NT-DATA-003", where=f"samples {low} to {high}"
            )
        inside = [max(low, edge) - low for edge in edges if edge < high]
        local = sorted({*[max(0, e) for e in inside], high - low})
        yield slice(start, stop), (rate * _slopes(values, local, sigma))[:, start - low : stop - low]


def _slopes(values: np.ndarray, edges: Sequence[int], sigma: float | None) -> np.ndarray:
    if sigma is None:
        pieces = [maths.finite_difference(values[:, a:b]) for a, b in itertools.pairwise(edges)]
        return np.concatenate(pieces, axis=-1)
    return maths.between_edges(values, edges, lambda part: maths.gaussian_derivative(part, sigma))


def _space(x: xr.DataArray) -> str:
    names = [name for name in SPACE_DIMS if name in x.dims]
    if len(names) != 1 or set(x.dims) != {names[0], "time"}:
        raise SchemaError(
            "a recording that is streamed needs dimensions (unit | channel | region, time)", found=x.dims
        )
    if names[0] in x.coords and len(set(x[names[0]].to_numpy().tolist())) < x.sizes[names[0]]:
        raise SchemaError(f"labels of {names[0]} are not unique", code="NT-DATA-006")
    if "time" in x.coords:
        check_time(x["time"].to_numpy(), "traces")
    return names[0]


def _check_streamed(kernel: str, normalise: str, chunk: int, path: Path) -> None:
    if kernel not in STREAMED or normalise == "percentile99":
        what: Any = f"kernel {kernel!r}" if kernel not in STREAMED else f"normalise {normalise!r}"
        raise SettingsError(
            "this needs more of a recording at once than a chunk", code="NT-SET-003", found=what,
            expected="one of " + ", ".join(STREAMED) + '; normalise "max" or "none"',
        )  # fmt: skip
    if chunk < 2:
        raise SettingsError("a chunk has at least two samples", found=chunk)
    if path.exists():
        raise SettingsError("there is something at this path already", found=path, fix="choose another path")
