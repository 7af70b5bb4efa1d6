"""Differential affinity of traces: how strongly two units move together at each moment."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, lookup
from neurotools.numerics import affinity as maths
from neurotools.schema import Schema, plain_attrs, sampling_rate, space_dim
from neurotools.schema.affinity import affinity_parts, session_edges
from neurotools.schema.ask import TIME_TOLERANCE

TRACES = Schema("traces", dims=("subject?", "unit|channel|region", "time"), allow_nan=True)
DENSE_LIMIT = 4 * 1024**3  # bytes that a dense affinity may take before it is refused


def differential_affinity(
    x: xr.DataArray | xr.DataTree,
    *,
    kernel: str = "geomean",
    smooth_s: float | None = None,
    normalise: str = "max",
    floor: float = 0.0,
    lag_s: float | None = None,
) -> xr.Dataset:
    """How strongly every two units move together at each moment, in factored form.

    The traces' slopes g are scaled per unit and split into a rising part (``drive_up``) and a falling part
    (``drive_down``). The affinity of units i and j at a moment follows from their drives: both rising or both
    falling count, opposite motion does not. For ``geomean`` it is sqrt(up_i up_j) + sqrt(down_i down_j).

    Parameters
    ----------
    x : xarray.DataArray or xarray.DataTree
        Traces (subject?, unit | channel | region, time) in any order, or a recording that has one such array.
        With several subjects, a unit that was not seen in one is a row of NaN there (or False in a coordinate
        ``observed`` over (subject, unit)); NaN in part of a row is an error. The slope never crosses the edge
        of a session (coordinate ``session`` on ``time``).
    kernel : {"geomean", "product", "min", "ratio", "anti", "lagged", "corr_window", "mtd", "edge"}
        How two drives make an affinity, with a, b the sizes of two slopes of equal sign: sqrt(ab), ab,
        min(a, b), min/max. ``anti`` is sqrt(ab) for slopes of opposite sign; ``lagged`` is sqrt(ab) where a
        is the slope of the first unit ``lag_s`` earlier, so that pairs are ordered. Three measures of fMRI
        belong to the family, each where it is positive: ``corr_window``, the Pearson correlation of the
        traces in a sliding window of width ``smooth_s``; ``mtd``, the mean over such a window of the product
        of two temporal derivatives in units of their standard deviation (multiplication of temporal
        derivatives); ``edge``, the product of the standardised traces (edge time series).
    smooth_s : float, optional
        Standard deviation in s of the Gaussian whose derivative filters the traces; the clock has to be
        regular. Without it slopes are finite differences. For ``corr_window`` and ``mtd`` the width of the
        window in s. Not for ``edge``.
    normalise : {"max", "percentile99", "none"}
        What the slopes of a unit are divided by: their largest size, the 99th percentile of the sizes that
        are not zero, or nothing. ``corr_window``, ``mtd`` and ``edge`` have their own scale, and ignore it.
    floor : float
        Scaled slopes smaller than this count as no motion. Not for ``corr_window`` and ``mtd``.
    lag_s : float, optional
        For ``lagged``: how much earlier the first unit of a pair moves, in s, rounded to samples.

    Returns
    -------
    xarray.Dataset
        ``drive_up``, ``drive_down`` (subject?, unit, time), ``observed`` and ``silent`` (subject?, unit);
        for ``lagged`` also ``sent_up`` and ``sent_down``, the drives ``lag_s`` earlier.
        A silent unit never moves: its drives are zero. attrs ``kernel``, ``normalise``, ``floor``, and where
        given ``smooth_s`` and ``lag_s``. For ``corr_window`` and ``edge`` the drives are the positive and
        negative part of the standardised traces; ``window_samples`` is the width of a window.

    Raises
    ------
    SchemaError
        Wrong dimensions, irregular clock with ``smooth_s``, values that are missing in part of a row.
    SettingsError
        An unknown kernel or normalisation, a negative width or floor, a window without a width, a lag
        without the kernel ``lagged`` or the other way round.

    Notes
    -----
    The idea is that of Dyballa et al. (2024), ICLR, "Learning dynamic representations of the functional
    connectome in neurobiological networks"; which kernel the published work used is not confirmed, so it is
    a setting here.
    """
    _check_settings(kernel, smooth_s, normalise, floor)
    _check_lag(kernel, lag_s)
    traces = TRACES.require(x)
    if traces.sizes["time"] < 2:
        raise SchemaError("slopes need at least two samples", code="NT-DATA-010", found=dict(traces.sizes))
    dim = space_dim(traces)
    values, observed = _observed(traces, dim)
    edges = session_edges(traces)
    attrs: dict[str, Any] = {"kernel": kernel, "normalise": normalise, "floor": float(floor)}
    if smooth_s is not None:
        attrs["smooth_s"] = float(smooth_s)
    if kernel in maths.WINDOWED and smooth_s is not None:
        attrs["window_samples"] = _window_samples(smooth_s, _rate(traces, edges))
    g, scale = _scaled(traces, values, edges, kernel=kernel, smooth_s=smooth_s, normalise=normalise)
    up, down = maths.rectified(g, scale, float(floor))
    silent = observed & ~((up > 0) | (down > 0)).any(axis=-1)
    space = tuple(str(d) for d in traces.dims if d != "time")
    drives = {"drive_up": up, "drive_down": down}
    if lag_s is not None:
        attrs["lag_samples"] = _lag_samples(lag_s, _rate(traces, edges))
        attrs["lag_s"] = float(lag_s)
        drives["sent_up"], drives["sent_down"] = (
            maths.lagged_by(part, attrs["lag_samples"], edges) for part in (up, down)
        )
    return xr.Dataset(
        {
            **{name: (traces.dims, part, {"units": "1"}) for name, part in drives.items()},
            "observed": (space, observed),
            "silent": (space, silent),
        },
        coords={n: c for n, c in traces.coords.items() if n != "observed" and c.dims},
        attrs=plain_attrs(attrs),
    )


def dense_affinity(affinity: xr.Dataset) -> xr.DataArray:
    """All affinities as one labelled array, to look at: (subject?, unit, unit_to, time), diagonal zero.

    Parameters
    ----------
    affinity : xarray.Dataset
        From ``differential_affinity``. Select a stretch of ``time`` first when there is much of it.

    Raises
    ------
    SchemaError
        The array would take more than 4 GiB.

    Notes
    -----
    Pairs that were not observed together in a subject are NaN there. For the kernel ``lagged`` the first
    dimension leads and the second follows; ``attrs["ordered"]`` says so.
    """
    parts = affinity_parts(affinity)
    if parts.up is None or parts.down is None:
        raise SchemaError("the affinity is dense already", fix="use it as it is")
    n_subjects, n_time, n_units = parts.up.shape
    size = 8 * n_subjects * n_time * n_units**2
    if size > DENSE_LIMIT:
        raise SchemaError(
            "the dense affinity is too large to be made",
            code="NT-DATA-010",
            found=f"{size / 1024**3:.1f} GiB",
            expected=f"at most {DENSE_LIMIT / 1024**3:.0f} GiB",
            fix="select less time: nt.dense_affinity(affinity.isel(time=slice(0, 100))); "
            "nt.NTF takes the factored form and never needs the dense one",
        )
    drives = maths.stacked(parts.up, parts.down, parts.window, parts.edges, parts.sent)
    slices = maths.slices_of(parts.kernel, drives)
    full = maths.unpack(slices(0, n_subjects * n_time), n_units, parts.ordered)
    full = full.reshape(n_subjects, n_time, n_units, n_units)
    together = parts.observed[:, :, None] & parts.observed[:, None, :]
    full = np.moveaxis(np.where(together[:, None], full, np.nan), 1, -1)
    dims: tuple[str, ...] = ("subject", parts.dim, f"{parts.dim}_to", "time")
    if not parts.several:
        full, dims = full[0], dims[1:]
    return xr.DataArray(
        full,
        dims=dims,
        coords={**parts.coords, **parts.to_coord},
        name="affinity",
        attrs={"units": "1", "kernel": parts.kernel} | ({"ordered": 1} if parts.ordered else {}),
    )


# ---- settings and what was observed -------------------------------------------------------------------
def _check_settings(kernel: str, smooth_s: float | None, normalise: str, floor: float) -> None:
    lookup("kernel", kernel, maths.KERNELS)
    lookup("normalisation", normalise, maths.NORMALISERS)
    if smooth_s is not None and not smooth_s > 0:
        raise SettingsError(
            "smooth_s is a width in seconds, above 0", found=smooth_s, fix="leave it out for none"
        )
    if not floor >= 0:
        raise SettingsError("floor is a size, at least 0", found=floor)
    if kernel in maths.WINDOWED and smooth_s is None:
        raise SettingsError(
            f"the kernel {kernel!r} needs the width of its window in seconds",
            code="NT-SET-003",
            fix=f'nt.differential_affinity(x, kernel="{kernel}", smooth_s=30.0)',
        )
    if kernel in maths.WINDOWED and floor:
        raise SettingsError(
            f"floor acts on slopes of a moment, and the kernel {kernel!r} has none",
            code="NT-SET-003",
            fix="leave floor at 0",
        )
    if kernel == "edge" and smooth_s is not None:
        raise SettingsError(
            "edge time series have no slopes to smooth", code="NT-SET-003", fix="leave out smooth_s"
        )


def _check_lag(kernel: str, lag_s: float | None) -> None:
    if (kernel in maths.ORDERED) != (lag_s is not None):
        raise SettingsError(
            "the kernel 'lagged' and lag_s go together",
            code="NT-SET-003",
            found=f"kernel {kernel!r}, lag_s {lag_s}",
            fix='nt.differential_affinity(x, kernel="lagged", lag_s=0.1)',
        )
    if lag_s is not None and not lag_s > 0:
        raise SettingsError("lag_s is a time in seconds, above 0", found=lag_s)


def _observed(traces: xr.DataArray, dim: str) -> tuple[np.ndarray, np.ndarray]:
    """Values with rows that were not observed set to zero, and which rows were observed."""
    values = traces.to_numpy()
    values = values if values.dtype.kind == "f" else values.astype("float64")
    missing = np.isnan(values)
    observed = ~missing.all(axis=-1)
    if "observed" in traces.coords:
        given = traces["observed"].broadcast_like(traces.isel(time=0, drop=True)).transpose(*traces.dims[:-1])
        observed &= given.to_numpy().astype(bool)
    bad = (~np.isfinite(values)) & observed[..., None]
    alone = "subject" not in traces.dims and not observed.all()
    if bad.any() or alone:
        place = np.argwhere(bad if bad.any() else missing)[0]
        raise SchemaError(
            "traces have values that are not finite",
            code="NT-DATA-003",
            where=", ".join(
                f"{d}={traces[d].to_numpy()[k] if d in traces.coords else k}"
                for d, k in zip(traces.dims, place, strict=True)
            ),
            found=f"{int((~np.isfinite(values)).sum())} of {values.size}",
            fix=f"interpolate or cut them out; only with a dimension 'subject' may a {dim} lack, all NaN",
        )
    return np.where(observed[..., None], values, values.dtype.type(0)), observed


# ---- slopes -------------------------------------------------------------------------------------------
def _slopes(
    traces: xr.DataArray, values: np.ndarray, edges: Sequence[int], smooth_s: float | None
) -> np.ndarray:
    """Slope of every trace, per second where there is a clock, never across the edge of a session."""
    if smooth_s is not None:
        rate = _rate(traces, edges)
        return rate * maths.between_edges(
            values, edges, lambda x: maths.gaussian_derivative(x, smooth_s * rate)
        )
    if "time" not in traces.coords:
        return maths.between_edges(values, edges, maths.finite_difference)
    time = traces["time"].to_numpy().astype("float64")
    pieces = [
        maths.finite_difference(values[..., start:stop], time[start:stop])
        for start, stop in itertools.pairwise(edges)
    ]
    return np.concatenate(pieces, axis=-1).astype(values.dtype, copy=False)  # the clock is in float64


def _scaled(
    traces: xr.DataArray,
    values: np.ndarray,
    edges: Sequence[int],
    *,
    kernel: str,
    smooth_s: float | None,
    normalise: str,
) -> tuple[np.ndarray, np.ndarray]:
    """What is split into drives, and what every unit's is divided by."""
    if kernel in maths.LEVELS:
        return _standardised(values)
    if kernel == "mtd":
        steps = maths.between_edges(values, edges, maths.backward_difference)
        return steps, steps.std(axis=-1, keepdims=True)
    g = _slopes(traces, values, edges, smooth_s)
    return g, maths.NORMALISERS[normalise](g)


def _rate(traces: xr.DataArray, edges: Sequence[int]) -> float:
    """Samples per second, the same in every session."""
    what = "smoothing"
    pieces = [traces.isel(time=slice(start, stop)) for start, stop in itertools.pairwise(edges)]
    rates = [sampling_rate(piece, what) for piece in pieces if piece.sizes["time"] > 1]
    if not rates:
        raise SchemaError(f"{what} needs at least two samples in a row", code="NT-DATA-010")
    if max(rates) > min(rates) * (1 + TIME_TOLERANCE):
        raise SchemaError(
            "sessions have different sampling rates",
            code="NT-DATA-004",
            found=f"{min(rates):g} to {max(rates):g} Hz",
            fix="bring them to one rate with nt.resample before joining them",
        )
    return rates[0]


def _standardised(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Traces minus their mean, and their standard deviation; a constant trace has scale zero."""
    centred = values - values.mean(axis=-1, keepdims=True)
    constant = values.max(axis=-1, keepdims=True) == values.min(axis=-1, keepdims=True)
    return centred, np.where(constant, 0.0, values.std(axis=-1, keepdims=True))


def _lag_samples(lag_s: float, rate: float) -> int:
    """Whole samples nearest to the lag."""
    samples = round(lag_s * rate)
    if samples < 1:
        raise SettingsError(
            "a lag is at least one sample", found=f"{lag_s:g} s at {rate:g} Hz", fix="give a larger lag_s"
        )
    return samples


def _window_samples(width_s: float, rate: float) -> int:
    """Odd number of samples nearest to the width, so that a window has a middle."""
    samples = 2 * round((width_s * rate - 1) / 2) + 1
    if samples < 3:
        raise SettingsError(
            "a window needs at least 3 samples",
            found=f"{width_s:g} s at {rate:g} Hz",
            fix="give a larger smooth_s",
        )
    return samples
