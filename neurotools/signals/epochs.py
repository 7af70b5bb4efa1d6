"""Cut a continuous signal: around events, or into windows of one length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from neurotools.errors import SchemaError, SettingsError, lookup
from neurotools.schema import Schema, time_axis
from neurotools.signals.steps import along, asked_in_parts, rate_of, recorded, sessions

CONTINUOUS = Schema("a continuous signal", dims=("unit|channel|region", "time"))
PARTS = Schema("the stretch that was cut out", dims=("trial|window", "unit|channel|region", "time"))
LISTED = 10


def epochs(
    data: xr.DataArray | xr.DataTree,
    events: xr.Dataset | xr.DataTree | None = None,
    *,
    tmin: float,
    tmax: float,
    baseline: tuple[float | None, float | None] | None = None,
    edge: str = "error",
) -> xr.DataArray:
    """Cut the signal around each event, as ``mne.Epochs`` does.

    The event falls on the sample nearest to its onset; both ends, ``tmin`` and ``tmax``, belong to the trial.

    Parameters
    ----------
    data : xarray.DataArray or xarray.DataTree
        (channel | unit | region, time) on a regular clock; or a recording with one main array. Of a lazy one,
        only the stretches around events are read.
    events : xarray.Dataset, optional
        ``onset(event)`` in seconds and ``trial_type(event)``; the ``events`` of the recording when left out.
        Choose among them first: ``events.isel(event=events["trial_type"] == "target")``.
    tmin, tmax : float
        Ends of a trial in seconds from the event.
    baseline : (float or None, float or None), optional
        Ends of the stretch whose mean is subtracted from each trial; None stands for an end of the trial.
    edge : {"error", "drop"}
        What to do with trials that reach beyond the recording or a session: say which, or leave them out and
        count them in ``attrs["n_dropped"]``.

    Returns
    -------
    xarray.DataArray
        (trial, channel, time) in the unit of the signal, ``time`` 0 at the event, with ``trial_type``,
        ``onset`` and every other column of the events along ``trial``.

    Raises
    ------
    SchemaError
        No events, events too near an edge, NaN in a trial, or an irregular clock.
    """
    if events is None:
        if not isinstance(data, xr.DataTree) or "events" not in data.children:
            raise SchemaError("epochs need events", code="NT-DATA-010", found="an array and no events",
                              fix="nt.epochs(signal, recording['events'], tmin=..., tmax=...)")  # fmt: skip
        events = data["events"].to_dataset()
    events = events.to_dataset() if isinstance(events, xr.DataTree) else events
    array = asked_in_parts(data, CONTINUOUS)
    sfreq = rate_of(array, "cutting epochs")
    first, last = int(np.round(tmin * sfreq)), int(np.round(tmax * sfreq))
    if not last > first:
        raise SettingsError("a trial ends after it starts", found=f"tmin={tmin:g} s, tmax={tmax:g} s")
    centre, inside = _places(array, events["onset"].to_numpy(), sfreq, first, last)
    lookup("treatment of edges", edge, EDGES)(array, events, inside, (tmin, tmax))
    if not inside.any():
        raise SchemaError(
            "no trial lies inside the recording", code="NT-DATA-010", found=f"{inside.size} events"
        )
    starts = centre[inside] + first
    values = np.stack([array.isel(time=slice(a, a + last - first + 1)).to_numpy() for a in starts])
    clock = time_axis(last - first + 1, sfreq, first / sfreq)
    result = PARTS.require(_trials(array, events.isel(event=np.flatnonzero(inside)), values, clock))
    result.attrs.update(sfreq=sfreq, t0=float(clock[0]))
    if baseline is not None:
        result = _less_baseline(result, baseline)
    result.attrs["n_dropped"] = int((~inside).sum())
    return recorded(
        result, array, "epochs", (), tmin=tmin, tmax=tmax, edge=edge, n_trials=len(starts),
        n_dropped=int((~inside).sum()), baseline=None if baseline is None else list(baseline),
    )  # fmt: skip


def _places(
    array: xr.DataArray, onset: np.ndarray, sfreq: float, first: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sample of each event, and whether its trial lies inside one session."""
    time = array["time"].to_numpy()
    centre, inside = np.zeros(onset.size, dtype=int), np.zeros(onset.size, dtype=bool)
    for part in sessions(array):
        begin = float(time[part.start])
        sample = np.round((onset - begin) * sfreq).astype(int)
        n = part.stop - part.start
        here = (sample >= 0) & (sample < n)
        centre[here] = part.start + sample[here]
        inside |= here & (sample + first >= 0) & (sample + last < n)
    return centre, inside


def _refuse_edges(
    array: xr.DataArray, events: xr.Dataset, inside: np.ndarray, span: tuple[float, float]
) -> None:
    if inside.all():
        return
    late = np.flatnonzero(~inside)
    kinds = events["trial_type"].to_numpy() if "trial_type" in events else np.full(inside.size, "event")
    shown = ", ".join(f"{kinds[i]!s} at {float(events['onset'][i]):g} s" for i in late[:LISTED])
    time = array["time"].to_numpy()
    raise SchemaError(
        f"{late.size} of {inside.size} trials reach beyond the recording or an edge between sessions",
        code="NT-DATA-007", found=shown + (" ..." if late.size > LISTED else ""),
        expected=f"{span[0]:g} to {span[1]:g} s around the onset, inside {time[0]:g} to {time[-1]:g} s",
        fix='edge="drop" leaves them out and counts them',
    )  # fmt: skip


EDGES: dict[str, Callable[..., None]] = {"error": _refuse_edges, "drop": lambda *_: None}


def _trials(array: xr.DataArray, events: xr.Dataset, values: np.ndarray, clock: np.ndarray) -> xr.DataArray:
    space = str(array.dims[0])
    taken = {"trial", space, "time", *map(str, array.coords)}
    columns = {
        f"event_{name}" if name in taken else str(name): ("trial", column.to_numpy(), column.attrs)
        for name, column in events.data_vars.items()
        if column.dims == ("event",)
    }
    return xr.DataArray(
        values, dims=("trial", space, "time"), name=array.name, attrs=dict(array.attrs),
        coords={"trial": np.arange(len(values)), **along(array, (space,)), **columns,
                "time": ("time", clock, {"units": "s", "time_reference": "event"})},
    )  # fmt: skip


def _less_baseline(trials: xr.DataArray, ends: tuple[float | None, float | None]) -> xr.DataArray:
    time = trials["time"].to_numpy()
    low, high = (time[0] if ends[0] is None else ends[0]), (time[-1] if ends[1] is None else ends[1])
    half = 0.5 / float(trials.attrs["sfreq"])
    within = (time >= low - half * 1e-6) & (time <= high + half * 1e-6)
    if low < time[0] - half or high > time[-1] + half or not within.any():
        raise SettingsError(
            "the baseline lies outside the trials", found=f"{low:g} to {high:g} s",
            expected=f"inside {time[0]:g} to {time[-1]:g} s",
        )  # fmt: skip
    values = trials.to_numpy().astype("float64")
    result = trials.copy(data=values - values[..., within].mean(axis=-1, keepdims=True))
    result.attrs["baseline"] = np.array([low, high], dtype="float64")
    return result


def windows(data: xr.DataArray | xr.DataTree, *, length_s: float, overlap: float = 0.0) -> xr.DataArray:
    """Cut the signal into windows of one length, none of which crosses an edge between sessions.

    Parameters
    ----------
    data : xarray.DataArray or xarray.DataTree
        (channel | unit | region, time) on a regular clock, without NaN; or a recording with one main array.
        What lies on disk stays there: each window is read, and looked at for NaN, when it is asked for.
    length_s : float
        Length in seconds, rounded to whole samples.
    overlap : float
        Share of a window that the next one covers again, from 0 to below 1.

    Returns
    -------
    xarray.DataArray
        (window, channel, time): ``window`` is the start in seconds, ``time`` counts from it; ``session``
        rides on ``window``. ``attrs["n_samples_left_out"]`` counts what is left at the ends of sessions.

    Raises
    ------
    SchemaError
        No session is as long as a window, NaN, or an irregular clock.
    """
    array = asked_in_parts(data, CONTINUOUS)
    sfreq = rate_of(array, "cutting windows")
    length = int(np.round(length_s * sfreq))
    step = int(np.round(length * (1 - overlap)))
    if length < 1 or not 0 <= overlap < 1 or step < 1:
        raise SettingsError(
            "windows need a length of at least one sample and an overlap from 0 to below 1",
            found=f"length_s={length_s:g} ({length} samples), overlap={overlap:g}",
        )
    parts = sessions(array)
    starts = [part.start + np.arange(0, part.stop - part.start - length + 1, step) for part in parts]
    if sum(map(len, starts)) == 0:
        longest = max(part.stop - part.start for part in parts) / sfreq
        raise SchemaError("no session is as long as one window", code="NT-DATA-010",
                          found=f"the longest lasts {longest:g} s", expected=f"{length_s:g} s")  # fmt: skip
    covered = sum(int(first[-1] - first[0]) + length for first in starts if len(first))
    begin = np.concatenate(starts)
    result = _windows(array, begin, length, sfreq)
    result.attrs["n_samples_left_out"] = array.sizes["time"] - covered
    return recorded(
        result, array, "windows", (), length_s=length_s, overlap=overlap, n_windows=len(begin),
        n_samples_left_out=array.sizes["time"] - covered,
    )  # fmt: skip


def _windows(array: xr.DataArray, begin: np.ndarray, length: int, sfreq: float) -> xr.DataArray:
    space = str(array.dims[0])
    coords: dict[str, Any] = {
        "window": ("window", array["time"].to_numpy()[begin], {"units": "s"}),
        **along(array, (space,)),
        "time": ("time", time_axis(length, sfreq), {"units": "s", "time_reference": "start of window"}),
    }
    if "session" in array.coords and array["session"].dims == ("time",):
        coords["session"] = ("window", array["session"].to_numpy()[begin])
    cut = Cut(array, begin, length)
    inside = isinstance(array.variable._data, np.ndarray)
    values = cut.read(np.arange(begin.size)) if inside else indexing.LazilyIndexedArray(cut)
    variable = xr.Variable(("window", space, "time"), values, {**array.attrs, "sfreq": sfreq, "t0": 0.0})
    return xr.DataArray(variable, coords=coords, name=array.name)


class Cut(BackendArray):
    """Windows (window, channel, time) of a signal, each read from it when it is asked for."""

    def __init__(self, array: xr.DataArray, begin: np.ndarray, length: int) -> None:
        self.array, self.begin, self.length = array, begin, length
        self.shape = (begin.size, array.shape[0], length)
        self.dtype = array.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._compute
        )

    def _compute(self, key: tuple[Any, ...]) -> np.ndarray:
        windows, space, time = key
        chosen = np.atleast_1d(np.arange(self.begin.size)[windows])
        found = self.read(chosen)[:, space][..., time]
        return found[0] if np.ndim(windows) == 0 and not isinstance(windows, slice) else found

    def read(self, chosen: np.ndarray) -> np.ndarray:
        """Some windows, in the order in which they are asked for."""
        found = np.empty((chosen.size, *self.shape[1:]), self.dtype)
        order = np.argsort(self.begin[chosen], kind="stable")
        first = self.begin[chosen][order]
        # windows that touch are read in one piece
        for piece in np.split(np.arange(chosen.size), np.flatnonzero(np.diff(first) > self.length) + 1):
            if piece.size:
                start, stop = first[piece[0]], first[piece[-1]] + self.length
                values = self.array.isel(time=slice(int(start), int(stop))).to_numpy()
                for place in piece:
                    at = first[place] - start
                    found[order[place]] = values[:, at : at + self.length]
        self._check(found, chosen)
        return found

    def _check(self, found: np.ndarray, chosen: np.ndarray) -> None:
        bad = ~np.isfinite(found).all(-1) if found.dtype.kind == "f" else np.zeros(found.shape[:2], bool)
        if bad.any():
            row, place = np.argwhere(bad)[0]
            dim = str(self.array.dims[0])
            name = self.array[dim].to_numpy()[place] if dim in self.array.coords else place
            start = float(self.array["time"].to_numpy()[self.begin[chosen[row]]])
            raise SchemaError(
                "windows have values that are not finite", code="NT-DATA-003",
                where=f"the window from {start:g} s, {dim} {name}",
                found=f"{int(bad.any(1).sum())} of {len(bad)} windows that were read",
                fix="interpolate, mask or cut them out first; they are never filled in silently",
            )  # fmt: skip
