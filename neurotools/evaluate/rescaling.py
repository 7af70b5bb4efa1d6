"""Whether a model foretells when spikes come, and what happens around changes of state."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, expect
from neurotools.schema import sampling_rate
from neurotools.schema.regression import without_missing

LEAST_INTERVALS = 5  # per unit, below which nothing is tested
EDGES = ("enter", "leave")


# ---- time rescaling ---------------------------------------------------------------------------------------
def time_rescaling(counts: xr.DataArray, predicted: xr.Dataset, seed: int = 0) -> xr.Dataset:
    """Test whether spikes come when a model says they do, by rescaled intervals between them.

    A bin in which a unit fires at all is an event; the model's probability of none, given the past, is
    ``silent_prob``. Between events -log of these probabilities adds up; within the bin of an event a random
    part of it is taken, which makes the intervals of discrete time exactly exponential if the model is true
    (Haslinger, Pipa & Brown 2010, Neural Computation 22, 2477-2506). 1 - exp(-interval)
    is then uniform, which a Kolmogorov-Smirnov test judges for each unit. How many spikes a bin holds, beyond
    the first, is not judged. Intervals go on from one session to the next, since the exponential law has no
    memory; bins that were not observed are passed over; the last, unfinished interval is left out.

    Parameters
    ----------
    counts : xarray.DataArray
        Spike counts (time, unit), or 0 and 1.
    predicted : xarray.Dataset
        ``model.predict`` of these counts, for its ``silent_prob`` (time, unit).
    seed : int
        Of the random parts.

    Returns
    -------
    xarray.Dataset
        ``rescaled`` (interval), uniform on (0, 1) if the model is true, with ``unit`` along ``interval``;
        ``ks_statistic`` (unit), ``p_value`` (unit), ``n_intervals`` (unit). NaN where a unit has fewer than
        five intervals.

    Raises
    ------
    SchemaError
        The prediction has no ``silent_prob``, or other samples or units.
    """
    from scipy.stats import kstest

    values, seen, silent = _aligned(counts, predicted)
    rng = np.random.default_rng(seed)
    units = silent["unit"].to_numpy()
    hazard = -np.log(np.clip(silent.to_numpy(), 1e-300, 1.0))
    found = [
        rescaled_intervals(values[keep, k] > 0, hazard[keep, k], rng) for k, keep in enumerate(seen.T > 0)
    ]
    tests = [kstest(u, "uniform") if u.size >= LEAST_INTERVALS else None for u in found]
    sizes = np.array([u.size for u in found])
    return xr.Dataset(
        {
            "rescaled": ("interval", np.concatenate(found)),
            "ks_statistic": ("unit", [np.nan if t is None else float(t.statistic) for t in tests]),
            "p_value": ("unit", [np.nan if t is None else float(t.pvalue) for t in tests]),
            "n_intervals": ("unit", sizes),
        },
        coords={"unit": units, "interval_unit": ("interval", np.repeat(units, sizes))},
        attrs={"seed": seed},
    )


def rescaled_intervals(fired: np.ndarray, hazard: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Uniform variates, one for each event, from whether each bin had one and -log P(none)."""
    at = np.flatnonzero(fired)
    before = np.concatenate([[0.0], np.cumsum(hazard)])
    # The part of an event's own bin: an exponential variate cut to the length of the bin.
    part = -np.log1p(-rng.random(at.size) * -np.expm1(-hazard[at]))
    gap = before[at] - np.concatenate([[0.0], before[at[:-1] + 1]]) if at.size else np.empty(0)
    return -np.expm1(-(gap + part))


def _aligned(counts: xr.DataArray, predicted: xr.Dataset) -> tuple[np.ndarray, np.ndarray, xr.DataArray]:
    """Counts and where they were observed, beside the prediction; (sample, unit)."""
    expect(counts, "an array of spike counts", xr.DataArray)
    expect(predicted, "a prediction", xr.Dataset, fix="model.predict(fit, counts, design)")
    if "silent_prob" not in predicted:
        raise SchemaError(
            "the prediction has no probability of silence", code="NT-DATA-010",
            expected="silent_prob (time, unit), from model.predict of counts or 0 and 1 of several units",
        )  # fmt: skip
    silent = predicted["silent_prob"]
    space = next((d for d in ("unit", "channel", "region") if d in counts.dims), "unit")
    data, seen = without_missing(counts)
    same = set(counts.dims) == {silent.dims[0], space} and counts.sizes[silent.dims[0]] == silent.shape[0]
    same = same and counts.sizes.get(space) == silent.shape[1]
    if same and space in counts.coords:
        same = list(map(str, counts[space].to_numpy())) == list(map(str, silent["unit"].to_numpy()))
    if not same:
        raise SchemaError(
            "the counts are not those that were predicted", code="NT-DATA-005",
            found=dict(counts.sizes), expected=dict(silent.sizes),
        )  # fmt: skip
    values = data.transpose(silent.dims[0], space).to_numpy()
    return values, np.ones(values.shape) if seen is None else seen, silent


# ---- around changes of state ------------------------------------------------------------------------------
def state_triggered_average(
    signal: xr.DataArray, path: xr.DataArray, window_s: tuple[float, float] = (-1.0, 1.0), edge: str = "enter"
) -> xr.Dataset:
    """Average of a signal around the moments when states begin or end.

    Parameters
    ----------
    signal : xarray.DataArray
        (time, ...) or (..., time): rates, pupil, running speed; at the very times of ``path``.
    path : xarray.DataArray
        States (time), such as ``viterbi`` of a prediction, with ``session`` where there are several.
    window_s : tuple of float
        From and to, around the change, in seconds.
    edge : {"enter", "leave"}
        Whether a state's first sample or the one after its last is lag 0. The first visit of a session has no
        beginning, its last no end: neither counts, and no window crosses a session's edge: what would lie
        beyond it is left out of the average.

    Returns
    -------
    xarray.Dataset
        ``average`` (state, lag, ...), ``standard_error``, both over visits, and ``n`` (state, lag), how many
        visits reach that lag; ``lag`` in seconds. Averages of none are NaN, errors of fewer than two.

    Raises
    ------
    SchemaError
        Signal and path differ in time.
    """
    expect(signal, "a signal", xr.DataArray)
    expect(path, "a path of states", xr.DataArray)
    if edge not in EDGES:
        raise SettingsError(f"edge is one of {EDGES}", found=edge, code="NT-SET-001")
    if path.dims != ("time",) or "time" not in signal.dims or signal.sizes["time"] != path.sizes["time"]:
        raise SchemaError(
            "the signal and the path of states need the same times", code="NT-DATA-005",
            found=dict(signal.sizes), expected=dict(path.sizes),
        )  # fmt: skip
    lags = _lags(path, window_s)
    values = signal.transpose("time", ...)
    states, session = path.to_numpy(), _session(path)
    change = 1 + np.flatnonzero((states[1:] != states[:-1]) & (session[1:] == session[:-1]))
    whose = states[change] if edge == "enter" else states[change - 1]
    names = np.unique(states)
    shape = (names.size, lags.size, *values.shape[1:])
    average, error, n = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape[:2], int)
    for k, name in enumerate(names):
        average[k], error[k], n[k] = _around(values.to_numpy(), change[whose == name], lags, session)
    rest = values.dims[1:]
    rate = sampling_rate(path, "a state-triggered average")
    return xr.Dataset(
        {
            "average": (("state", "lag", *rest), average),
            "standard_error": (("state", "lag", *rest), error),
            "n": (("state", "lag"), n),
        },
        coords={
            "state": names, "lag": ("lag", lags / rate, {"units": "s"}),
            **{str(c): v.variable for c, v in values.coords.items() if v.dims and set(v.dims) <= set(rest)},
        },
        attrs={"edge": edge},
    )  # fmt: skip


def _lags(path: xr.DataArray, window_s: tuple[float, float]) -> np.ndarray:
    rate = sampling_rate(path, "a state-triggered average")
    first, last = (round(bound * rate) for bound in window_s)
    if last < first:
        raise SettingsError("the window ends before it begins", found=window_s)
    return np.arange(first, last + 1)


def _session(path: xr.DataArray) -> np.ndarray:
    if "session" not in path.coords:
        return np.zeros(path.size, dtype=int)
    labels = path["session"].to_numpy()
    return np.concatenate([[0], np.cumsum(labels[1:] != labels[:-1])])


def _around(
    values: np.ndarray, at: np.ndarray, lags: np.ndarray, session: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard error and number of samples at each lag around given ones, inside their sessions."""
    place = at[:, None] + lags
    inside = (place >= 0) & (place < len(values))
    place = np.where(inside, place, 0)
    inside &= session[place] == session[at][:, None] if at.size else inside
    there = inside.reshape(*inside.shape, *[1] * (values.ndim - 1))
    taken = np.where(there, values[place], 0.0)
    n = inside.sum(axis=0)
    size = n.reshape(-1, *[1] * (values.ndim - 1)).astype("float64")
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = taken.sum(axis=0) / size
        spread = (np.where(there, taken - mean, 0.0) ** 2).sum(axis=0) / (size - 1)
        error = np.where(size > 1, np.sqrt(spread / size), np.nan)
    return mean, error, n
