"""How activity varies with what the animal did or saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError
from neurotools.schema import Schema, check_time, space_dim, spike_trains
from neurotools.schema.ask import signal
from neurotools.signals.spikes import spikes_of

Bins = int | Sequence[Any] | np.ndarray
ACTIVITY = Schema("activity", dims=("unit|channel|region", "time"))


def tuning_curve(
    data: xr.DataTree | xr.Dataset | xr.DataArray,
    feature: xr.DataArray | Mapping[str, xr.DataArray],
    *,
    bins: Bins = 20,
    limits: tuple[float, float] | Sequence[tuple[float, float]] | None = None,
) -> xr.Dataset:
    """Mean activity in bins of one or several features (a place field, a direction tuning curve).

    Every spike is given the value that the feature has at the nearest sample; the count in a bin of the
    feature is divided by the time spent in it. Counts and continuous signals are averaged over the samples
    whose feature lies in the bin.

    Parameters
    ----------
    data : xarray.DataTree, xarray.Dataset or xarray.DataArray
        Spikes; or counts (time, unit) or a signal (unit | channel | region, time) on the feature's clock.
    feature : xarray.DataArray or mapping
        (time) in the recording's clock, or several by name; all on one clock, without NaN.
    bins : int or sequence
        Number of bins, their edges, or one of these per feature.
    limits : tuple of float, optional
        Lowest and highest edge where ``bins`` are numbers (one pair per feature where there are several);
        the range of the feature when omitted. Samples outside are left out.

    Returns
    -------
    xarray.Dataset
        ``rate`` (unit, feature, ...) in Hz, or ``mean`` in the signal's unit; NaN in bins that were never
        visited. ``occupancy`` (feature, ...) in seconds. Coordinates are the middles of bins; the edges are
        ``attrs["edges_<feature>"]``, and ``attrs["n_unmatched"]`` counts the spikes that are more than one
        sample away from the feature and were left out.

    Raises
    ------
    SchemaError
        NaN in a feature, clocks that differ, or a feature without time.
    SettingsError
        Bins or limits that do not fit the features.
    """
    features = _features(feature)
    time = next(iter(features.values()))["time"].to_numpy()
    values = np.stack([array.to_numpy().astype("float64") for array in features.values()], axis=1)
    edges = _edges(values, _per_feature(bins, len(features), "bins"), limits)
    step_s = _step(time)
    visits = np.histogramdd(values, bins=edges)[0]
    spikes = spikes_of(data)
    if spikes is not None:
        sums, unmatched = _spike_sums(spikes, time, values, edges)
        name, units, dim, per = "rate", "Hz", "unit", visits * step_s
    else:
        array = signal(data) if not isinstance(data, xr.DataArray) else data
        sums, dim = _sample_sums(array, time, values, edges)
        is_counts, unmatched = array.attrs.get("units") == "count", 0
        name, units = ("rate", "Hz") if is_counts else ("mean", str(array.attrs.get("units", "1")))
        per = visits * (float(array.attrs["bin_width"]) if is_counts else 1.0)
    source = spikes if spikes is not None else array
    with np.errstate(invalid="ignore", divide="ignore"):
        curve = np.where(visits > 0, sums / per, np.nan)
    coords = {str(key): c for key, c in source.coords.items() if c.dims == (dim,)}
    for (key, array), edge in zip(features.items(), edges, strict=True):
        coords[key] = xr.Variable(key, (edge[:-1] + edge[1:]) / 2, {"units": array.attrs.get("units", "1")})
    attrs = {f"edges_{key}": edge for key, edge in zip(features, edges, strict=True)}
    return xr.Dataset(
        {
            name: ((dim, *features), curve, {"units": units}),
            "occupancy": (tuple(features), visits * step_s, {"units": "s"}),
        },
        coords=coords,
        attrs={**attrs, "n_unmatched": unmatched},
    )


# ---- features -----------------------------------------------------------------------------------------
def _features(feature: xr.DataArray | Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """Features by name, all (time), finite and on one clock."""
    if isinstance(feature, xr.DataArray):
        feature = {str(feature.name or "feature"): feature}
    elif not isinstance(feature, Mapping) or not feature:
        raise SchemaError("a feature is a labelled array over time", found=type(feature).__name__)
    first: np.ndarray | None = None
    for name, array in feature.items():
        if not isinstance(array, xr.DataArray) or array.dims != ("time",) or "time" not in array.coords:
            raise SchemaError(
                f"feature {name!r} needs the one dimension 'time', with its coordinate",
                found=getattr(array, "dims", type(array).__name__),
                fix="pass the columns one by one: {'x': data.sel(axis='x'), ...}",
            )  # fmt: skip
        time, values = array["time"].to_numpy(), array.to_numpy()
        check_time(time, f"feature {name!r}")
        bad = int((~np.isfinite(values)).sum()) if values.dtype.kind == "f" else 0
        if bad or time.size < 2:
            raise SchemaError(
                f"feature {name!r} needs finite values at two times or more",
                code="NT-DATA-003", found=f"{bad} of {values.size} not finite",
                fix="feature.dropna('time'): spikes in the gaps are then left out, and counted",
            )  # fmt: skip
        if first is not None and not np.array_equal(first, time):
            raise SchemaError("features do not share their clock", code="NT-DATA-005", where=name)
        first = time
    return {str(name): array for name, array in feature.items()}


def _step(time: np.ndarray) -> float:
    """Mean time from sample to sample; steps across gaps are no time that was spent anywhere."""
    step = np.diff(time)
    return float(step[step <= 1.5 * np.median(step)].mean())


def _per_feature(bins: Bins, n: int, what: str) -> list[Any]:
    if isinstance(bins, (int, np.integer)):
        return [int(bins)] * n
    entries = list(bins)
    if n == 1 and np.ndim(entries[0] if entries else 0) == 0:
        return [entries[0]] if len(entries) == 1 else [np.asarray(entries, dtype="float64")]
    if len(entries) != n:
        raise SettingsError(f"{what} needs one entry per feature", found=len(entries), expected=n)
    return entries


def _edges(values: np.ndarray, bins: list[Any], limits: Any) -> list[np.ndarray]:
    """Edges of the bins of each feature; the last bin includes its right edge, as in numpy.histogram."""
    pairs: list[Any] = [None] * len(bins)
    if limits is not None:
        pairs = [limits] if np.ndim(limits) == 1 else list(limits)
    if len(pairs) != len(bins):
        raise SettingsError("limits need one pair per feature", found=len(pairs), expected=len(bins))
    found = []
    for column, entry, pair in zip(values.T, bins, pairs, strict=True):
        if np.ndim(entry) == 1:
            edges = np.asarray(entry, dtype="float64")
        else:
            if int(entry) < 1:
                raise SettingsError("a feature needs at least one bin", found=entry)
            edges = np.histogram_bin_edges(column, bins=int(entry), range=pair)
        if edges.size < 2 or not (np.diff(edges) > 0).all():
            raise SettingsError("edges of bins must increase", found=edges.tolist())
        found.append(edges)
    return found


# ---- sums in bins -------------------------------------------------------------------------------------
def _spike_sums(
    spikes: xr.Dataset, time: np.ndarray, values: np.ndarray, edges: list[np.ndarray]
) -> tuple[np.ndarray, int]:
    """Spikes of each unit in each bin of the features, and how many spikes met no sample."""
    reach = float(np.median(np.diff(time)))
    sums, unmatched = [], 0
    for train in spike_trains(spikes):
        # The later sample is taken where both are equally near, as pynapple does.
        after = np.clip(np.searchsorted(time, train), 1, time.size - 1)
        nearest = np.where(time[after] - train <= train - time[after - 1], after, after - 1)
        met = np.abs(time[nearest] - train) <= reach
        met &= (train >= time[0]) & (train <= time[-1])
        unmatched += int((~met).sum())
        sums.append(np.histogramdd(values[nearest[met]], bins=edges)[0])
    shape = tuple(edge.size - 1 for edge in edges)
    return np.stack(sums) if sums else np.empty((0, *shape)), unmatched


def _sample_sums(
    array: xr.DataArray, time: np.ndarray, values: np.ndarray, edges: list[np.ndarray]
) -> tuple[np.ndarray, str]:
    """Sum of the samples of each row in each bin of the features."""
    array = ACTIVITY.require(array)
    dim = space_dim(array)
    if "time" not in array.coords or not np.array_equal(array["time"].to_numpy(), time):
        raise SchemaError(
            "activity and feature do not share their clock", code="NT-DATA-005",
            found=f"{array.sizes['time']} and {time.size} samples",
            fix="feature.interp(time=activity['time']), or pass the spikes themselves",
        )  # fmt: skip
    rows = array.to_numpy().astype("float64")
    return np.stack([np.histogramdd(values, bins=edges, weights=row)[0] for row in rows]), dim
