"""Tests against circular shifts: the agreement that is left when clocks are shifted against one another.

A circular shift keeps everything about a series but its alignment, so autocorrelation, which makes slow
signals agree by chance, is in the null as it is in the data.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, expect
from neurotools.numerics.sequences import concordance, peak_times
from neurotools.schema import SIGNAL, Schema, sampling_rate, space_dim

LOADING = Schema("loadings", dims=("component", "time"))


def sequence_test(
    x: xr.DataArray,
    onset: Any,
    *,
    units: Any = None,
    window_s: float = 0.5,
    n_shifts: int = 1000,
    min_shift_s: float = 1.0,
    seed: int = 0,
) -> xr.Dataset:
    """Test whether units peak in the same order at each repeat of an event.

    Parameters
    ----------
    x : DataArray (unit, time)
        Activity, not negative; a unit is silent in a window where it never exceeds zero.
    onset : array (event)
        Start of each repeat, in seconds on the clock of ``x``. Windows that leave the recording are
        counted in ``attrs["n_outside"]`` and not used.
    units : sequence of labels, optional
        Units to compare, fixed beforehand; all of them when omitted.
    window_s : float
        Length of the window after each onset, in seconds.
    n_shifts : int
        Number of null draws; in each, every unit is shifted by its own random amount.
    min_shift_s : float
        Least shift in either direction, in seconds.
    seed : int

    Returns
    -------
    Dataset
        ``statistic`` (pooled Goodman-Kruskal gamma of peak order between repeats, -1 to 1), ``p_value``
        (one-sided, (1 + exceedances) / (1 + shifts)), ``null(shift)``, ``peak_time(event, unit)`` in
        seconds after the onset.
    """
    x = SIGNAL.require(x)
    dim = space_dim(x)
    sfreq = sampling_rate(x, "a sequence test")
    chosen = x if units is None else x.sel({dim: np.asarray(units)})
    start = np.round((np.asarray(onset, dtype="float64") - float(x["time"][0])) * sfreq).astype("int64")
    width = round(window_s * sfreq)
    inside = (start >= 0) & (start + width <= x.sizes["time"])
    if inside.sum() < 2:
        raise SchemaError(
            "a sequence test needs at least two repeats inside the recording",
            code="NT-DATA-007", found=f"{int(inside.sum())} of {inside.size}",
        )  # fmt: skip
    values = chosen.to_numpy().astype("float64")
    peaks = peak_times(values, start[inside], width)
    rng = np.random.default_rng(seed)
    shifts = draw_shifts(rng, (n_shifts, len(values)), values.shape[1], round(min_shift_s * sfreq))
    null = np.array([concordance(peak_times(roll_rows(values, row), start[inside], width)) for row in shifts])
    statistic = concordance(peaks)
    return xr.Dataset(
        {
            "statistic": ((), statistic, {"units": "1"}),
            "p_value": ((), p_value(statistic, null), {"units": "1"}),
            "null": ("shift", null, {"units": "1"}),
            "peak_time": (("event", dim), peaks / sfreq, {"units": "s"}),
        },
        coords={dim: chosen[dim], "event": np.flatnonzero(inside)},
        attrs={
            "test": "order of peak times against circular shifts of each unit",
            "window_s": window_s, "min_shift_s": min_shift_s, "seed": seed,
            "n_outside": int((~inside).sum()),
        },
    )  # fmt: skip


def association_test(
    loading: xr.DataArray,
    behaviour: xr.Dataset,
    *,
    n_shifts: int = 1000,
    min_shift_s: float = 20.0,
    seed: int = 0,
) -> xr.Dataset:
    """Test whether any component follows any behaviour more than after circular shifts of behaviour.

    The statistic is the largest absolute Spearman correlation over all components and behaviours, and the
    null is the same maximum after shifting all behaviours together, so that looking at many pairs costs
    nothing.

    Parameters
    ----------
    loading : DataArray (component, time)
    behaviour : Dataset
        One variable (time) per behaviour, on the clock of ``loading``.
    n_shifts : int
    min_shift_s : float
        Least shift in either direction, in seconds.
    seed : int

    Returns
    -------
    Dataset
        ``statistic``, ``p_value``, ``null(shift)`` and ``correlation(behaviour, component)``.
    """
    expect(behaviour, "a Dataset with one variable (time) per behaviour", xr.Dataset)
    loading = LOADING.require(loading)
    if not behaviour.data_vars or any(array.dims != ("time",) for array in behaviour.data_vars.values()):
        raise SchemaError(
            "every behaviour needs the one dimension 'time'",
            found={str(name): array.dims for name, array in behaviour.data_vars.items()},
        )
    names = list(behaviour.data_vars)
    other = np.stack([behaviour[name].to_numpy().astype("float64") for name in names])
    if other.shape[1] != loading.sizes["time"] or not np.isfinite(other).all():
        raise SchemaError(
            "behaviour and loadings need the same samples and no missing values",
            code="NT-DATA-005",
            found=f"{other.shape[1]} samples, {int((~np.isfinite(other)).sum())} not finite",
            expected=f"{loading.sizes['time']} samples",
        )
    if "time" in behaviour.coords and not np.array_equal(behaviour["time"], loading["time"]):
        raise SchemaError(
            "behaviour and loadings do not share their clock", code="NT-DATA-005",
            fix="behaviour.interp(time=loading['time'])",
        )  # fmt: skip
    step = float(np.median(np.diff(loading["time"].to_numpy())))
    a, b = standard_ranks(loading.to_numpy()), standard_ranks(other)
    correlation = b @ a.T
    rng = np.random.default_rng(seed)
    shifts = draw_shifts(rng, (n_shifts,), other.shape[1], round(min_shift_s / step))
    null = np.array([np.abs(np.roll(b, shift, axis=1) @ a.T).max() for shift in shifts])
    statistic = float(np.abs(correlation).max())
    return xr.Dataset(
        {
            "statistic": ((), statistic, {"units": "1"}),
            "p_value": ((), p_value(statistic, null), {"units": "1"}),
            "null": ("shift", null, {"units": "1"}),
            "correlation": (("behaviour", "component"), correlation, {"units": "1"}),
        },
        coords={"behaviour": names, "component": loading["component"]},
        attrs={
            "test": "largest absolute Spearman correlation against circular shifts of behaviour",
            "min_shift_s": min_shift_s, "seed": seed,
        },
    )  # fmt: skip


def fisher_combined(p_values: np.ndarray) -> float:
    """One p-value for independent tests of one hypothesis (Fisher 1925, section 21.1)."""
    from scipy.stats import combine_pvalues

    return float(combine_pvalues(np.asarray(p_values, dtype="float64"), method="fisher").pvalue)


def p_value(statistic: float, null: np.ndarray) -> float:
    """One-sided p-value that counts the data as one draw of the null, so that it is never zero.

    A null draw without a value (nothing could be compared) counts against the data.
    """
    return float((1 + np.sum(~(null < statistic))) / (1 + null.size))


def draw_shifts(rng: np.random.Generator, shape: tuple[int, ...], n_time: int, least: int) -> np.ndarray:
    """Random circular shifts of at least ``least`` samples in either direction."""
    if 2 * least >= n_time:
        raise SettingsError(
            "the recording is too short for circular shifts of this size",
            found=f"{n_time} samples",
            expected=f"more than {2 * least} samples",
            fix="choose a smaller min_shift_s",
        )
    return rng.integers(max(least, 1), n_time - max(least, 1) + 1, size=shape)


def roll_rows(x: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Shift each row of ``x`` circularly by its own number of samples."""
    index = (np.arange(x.shape[1]) - shifts[:, None]) % x.shape[1]
    return np.take_along_axis(x, index, axis=1)


def standard_ranks(x: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, centred and of norm one, so that a product is Spearman's correlation.

    A row that never changes becomes zero.
    """
    from scipy.stats import rankdata

    ranks = rankdata(x, axis=-1)
    ranks -= ranks.mean(axis=-1, keepdims=True)
    norm = np.linalg.norm(ranks, axis=-1, keepdims=True)
    return ranks / np.where(norm > 0, norm, 1.0)
