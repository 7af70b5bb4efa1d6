"""Spikes into bins, around events, and against what the animal did.

Bins are closed on the left: bin i holds ``edge[i] <= t < edge[i + 1]``, and the last one also the end of the
recording, so that no spike is lost. A spike less than a nanosecond below an edge counts as on it: clocks that
are multiples of one another would otherwise fall to either side by rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError
from neurotools.schema import SPIKE_COUNTS, counts_array, spike_trains, time_axis

EDGE_S = 1e-9
MOST_VALUES = 2_000_000_000  # counts in one array: 16 GB


# ---- bins -------------------------------------------------------------------------------------------
def bin_spikes(
    recording: xr.DataTree | xr.Dataset,
    *,
    width_s: float,
    t_start: float | None = None,
    t_stop: float | None = None,
) -> xr.DataArray:
    """Count spikes in bins of ``width_s`` seconds.

    Parameters
    ----------
    recording : xarray.DataTree or xarray.Dataset
        A recording with the node ``spikes``, or that node.
    width_s : float
        Width of a bin, in seconds. Bins begin at ``t_start`` and are closed on the left.
    t_start, t_stop : float, optional
        Count only from here, to here (both included), in seconds of the recording's clock.

    Returns
    -------
    xarray.DataArray
        Whole numbers (time, unit); ``time`` is the left edge of each bin. ``attrs``: ``bin_width``,
        ``n_outside`` (spikes that lie in no bin) and ``last_bin_s`` (how much of the last bin lies inside the
        recording). Where the spikes have a time support of several intervals, each is binned by itself, and
        the coordinate ``session`` on ``time`` says which; no bin crosses from one to the next.

    Raises
    ------
    SchemaError
        The recording has no spikes, or no time between ``t_start`` and ``t_stop``.
    SettingsError
        The width is not a positive number, or so small that the counts would not fit into memory.
    """
    spikes = spikes_of(recording)
    if spikes is None:
        raise SchemaError(
            "the recording has no spikes to count", code="NT-DATA-010", found=_holds(recording),
            expected="a node 'spikes' with spike_time and row_size",
            fix="nt.merge_bins(recording, width_s=...) widens bins" if _counted(recording) else None,
        )  # fmt: skip
    _refuse_width(width_s)
    spans = _spans(spikes, t_start, t_stop)
    lefts = _left_edges(spans, width_s, spikes.sizes["unit"])
    blocks = [_counts(spikes, span, left) for span, left in zip(spans, lefts, strict=True)]
    values = (blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)).T
    found = counts_array(
        values, bin_width=width_s, unit=spikes["unit"].to_numpy(), t0=spans[0][0],
        coords={str(n): c for n, c in spikes.coords.items() if c.dims == ("unit",) and n != "unit"},
        attrs={
            "t0": spans[0][0],
            "n_outside": int(spikes.sizes["spike"] - values.sum()),
            "last_bin_s": spans[-1][1] - float(lefts[-1][-1]),
        },
    )  # fmt: skip
    if len(spans) == 1:
        return found
    session = np.repeat(np.arange(len(spans)), [left.size for left in lefts])
    return found.assign_coords(
        time=("time", np.concatenate(lefts), {"units": "s"}), session=("time", session)
    )


def _counts(spikes: xr.Dataset, span: tuple[float, float], edges: np.ndarray) -> np.ndarray:
    """Counts (unit, bin) of the spikes in the closed interval ``span``; ``edges`` are the left ones."""
    # One row per unit: its spikes are in order, so that memory is filled from left to right.
    counts = np.empty((spikes.sizes["unit"], edges.size), dtype="int64")
    lowered = edges - EDGE_S
    for row, train in zip(counts, spike_trains(spikes), strict=True):
        first, stop = np.searchsorted(train, (span[0] - EDGE_S, np.nextafter(span[1] + EDGE_S, np.inf)))
        # What lies beyond the last left edge is in the last bin, up to and with the end of the recording.
        slot = np.searchsorted(lowered, train[first:stop], side="right") - 1
        row[:] = np.bincount(np.maximum(slot, 0), minlength=edges.size)
    return counts


def _left_edges(spans: list[tuple[float, float]], width_s: float, n_unit: int) -> list[np.ndarray]:
    """Left edges of the bins that cover each span; a last bin that rounding alone asks for is not made."""
    sizes = [max(1, math.ceil((stop - start - EDGE_S) / width_s)) for start, stop in spans]
    if sum(sizes) * max(n_unit, 1) > MOST_VALUES:
        raise SettingsError(
            f"bins of {width_s:g} s would make too many counts",
            found=f"{sum(sizes)} bins of {n_unit} units", expected=f"at most {MOST_VALUES} counts",
            fix="wider bins, or a part: t_start=, t_stop=",
        )  # fmt: skip
    return [time_axis(n, 1.0 / width_s, start) for (start, _), n in zip(spans, sizes, strict=True)]


def _refuse_width(width_s: float) -> None:
    if not isinstance(width_s, (int, float)) or not math.isfinite(width_s) or width_s <= EDGE_S:
        raise SettingsError("the width of a bin must be a positive number of seconds", found=width_s)


def _spans(spikes: xr.Dataset, t_start: float | None, t_stop: float | None) -> list[tuple[float, float]]:
    """Intervals to count in: the recording or its time support, cut to what was asked for."""
    first, last = float(spikes.attrs["t_start"]), float(spikes.attrs["t_stop"])
    starts, stops = [first], [last]
    if "support_start" in spikes:
        starts, stops = (
            spikes["support_start"].to_numpy().tolist(),
            spikes["support_stop"].to_numpy().tolist(),
        )
    low = first if t_start is None else float(t_start)
    high = last if t_stop is None else float(t_stop)
    pairs = zip(starts, stops, strict=True)
    cut = [(max(a, low), min(b, high)) for a, b in pairs if min(b, high) > max(a, low) or a == b]
    if not cut:
        raise SchemaError(
            "there is no time to count spikes in", code="NT-DATA-010",
            found=f"{low:g} to {high:g} s asked for", expected=f"a part of {first:g} to {last:g} s",
        )  # fmt: skip
    return cut


def spikes_of(data: Any) -> xr.Dataset | None:
    """The ragged spikes of a recording or node, or None where it has none."""
    if isinstance(data, xr.DataTree):
        own = data.to_dataset(inherit=False)
        data = data.children["spikes"].to_dataset(inherit=False) if "spikes" in data.children else own
    return (
        data if isinstance(data, xr.Dataset) and {"spike_time", "row_size"} <= set(data.data_vars) else None
    )


def _counted(recording: object) -> bool:
    return isinstance(recording, xr.DataTree) and "counts" in recording.children


def _holds(data: Any) -> str:
    if isinstance(data, xr.DataTree):
        return ", ".join(data.children) or "an empty recording"
    return f"{type(data).__name__} with dimensions {getattr(data, 'dims', None)}"


# ---- around events ----------------------------------------------------------------------------------
def psth(
    data: xr.DataTree | xr.Dataset | xr.DataArray,
    events: str | Sequence[float] | np.ndarray | xr.DataArray | xr.Dataset | xr.DataTree,
    *,
    window: tuple[float, float] = (-0.5, 1.0),
    width_s: float | None = None,
    outside: str = "error",
) -> xr.Dataset:
    """Mean firing rate around events (peri-event time histogram).

    Parameters
    ----------
    data : xarray.DataTree, xarray.Dataset or xarray.DataArray
        Spikes, counted in bins that begin at the event; or counts (time, unit), whose bins are kept: the bin
        that holds the event is bin 0.
    events : str, sequence of float, xarray.DataArray or xarray.Dataset
        Times in seconds; a table of events (``onset``) or trials (``start``); or the ``trial_type`` of
        events of this recording.
    window : tuple of float
        Seconds before (negative) and after the event; a whole number of bins.
    width_s : float, optional
        Width of the bins for spikes, 0.01 s when omitted; for counts it is theirs.
    outside : {"error", "drop"}
        What to do with events whose window reaches out of the recording; ``"drop"`` leaves them out and says
        how many in ``attrs["n_left_out"]``.

    Returns
    -------
    xarray.Dataset
        ``rate`` and ``sem`` (its standard error over events), both (time, unit) in Hz; ``time`` is the left
        edge of a bin, relative to the event. ``attrs``: ``n_events``, ``bin_width``.

    Raises
    ------
    SchemaError
        No events, events that are not finite, or whose window reaches out of the recording.
    """
    onset = _onsets(data, events)
    spikes = spikes_of(data)
    counts = None if spikes is not None else SPIKE_COUNTS.require(data)
    width = _bin_width(counts, width_s)
    first, n = _window_bins(window, width)
    source = spikes if spikes is not None else counts
    kept, left_out = _inside(source, onset, window, outside)
    if spikes is not None:
        mean, sem = _around_spikes(spike_trains(spikes), kept, first * width, n, width)
    else:
        assert counts is not None
        mean, sem = _around_counts(counts, kept, first, n)
    assert source is not None
    coords = {str(name): c for name, c in source.coords.items() if c.dims == ("unit",)}
    time = np.arange(first, first + n) / (1.0 / width)
    attrs = {"n_events": int(kept.size), "n_left_out": left_out, "bin_width": width, "closed": "left"}
    unit = {"units": "Hz"}
    return xr.Dataset(
        {"rate": (("time", "unit"), mean / width, unit), "sem": (("time", "unit"), sem / width, unit)},
        coords={"time": ("time", time, {"units": "s"}), **coords},
        attrs=attrs,
    )


def _around_spikes(
    trains: list[np.ndarray], onset: np.ndarray, first_s: float, n: int, width: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error over events of the count in each bin, (bin, unit)."""
    edges = onset[:, None] + first_s + np.arange(n + 1) * width - EDGE_S
    mean, sem = np.empty((n, len(trains))), np.empty((n, len(trains)))
    for unit, train in enumerate(trains):
        each = np.diff(np.searchsorted(train, edges, side="left"), axis=1)
        mean[:, unit], sem[:, unit] = _mean_and_error(each)
    return mean, sem


def _around_counts(
    counts: xr.DataArray, onset: np.ndarray, first: int, n: int
) -> tuple[np.ndarray, np.ndarray]:
    time, values = counts["time"].to_numpy(), counts.to_numpy()
    at = np.searchsorted(time - EDGE_S, onset, side="right") - 1
    rows = at[:, None] + np.arange(first, first + n)
    pairs = [_mean_and_error(values[rows, unit]) for unit in range(values.shape[1])]
    return np.stack([mean for mean, _ in pairs], axis=1), np.stack([sem for _, sem in pairs], axis=1)


def _mean_and_error(each: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over events, and its standard error: NaN for a single event, which has none."""
    n = each.shape[0]
    mean = each.mean(axis=0)
    if n == 1:
        return mean, np.full(mean.shape, np.nan)
    return mean, each.std(axis=0, ddof=1) / math.sqrt(n)


def _bin_width(counts: xr.DataArray | None, width_s: float | None) -> float:
    if counts is None:
        width = 0.01 if width_s is None else width_s
        _refuse_width(width)
        return float(width)
    if "bin_width" not in counts.attrs or "time" not in counts.coords:
        raise SchemaError(
            "counts need the coordinate 'time' and attrs['bin_width'] in seconds",
            code="NT-DATA-004", fix="nt.bin_spikes makes both",
        )  # fmt: skip
    width = float(counts.attrs["bin_width"])
    if width_s is not None and not math.isclose(width_s, width):
        raise SettingsError(
            "counts keep the width of their bins", code="NT-SET-003", found=f"width_s={width_s:g}",
            expected=f"{width:g} or nothing", fix="pass the spikes instead of counts",
        )  # fmt: skip
    return width


def _window_bins(window: tuple[float, float], width: float) -> tuple[int, int]:
    """First bin and number of bins of a window, which must be whole."""
    before, after = float(window[0]), float(window[1])
    first, last = round(before / width), round(after / width)
    whole = abs(first * width - before) < EDGE_S * 10 and abs(last * width - after) < EDGE_S * 10
    if not whole or last <= first:
        raise SettingsError(
            f"the window must be a whole number of bins of {width:g} s, and end after it begins",
            found=f"{before:g} to {after:g} s",
            expected=f"such as {first * width:g} to {max(last, first + 1) * width:g} s",
        )  # fmt: skip
    return first, last - first


def _onsets(data: Any, events: Any) -> np.ndarray:
    """Times of the events, in seconds."""
    if isinstance(events, str):
        table = data["events"] if isinstance(data, xr.DataTree) and "events" in data.children else None
        if table is None:
            raise SchemaError("events were named, but the recording has no node 'events'", code="NT-DATA-010")
        kinds = table["trial_type"].to_numpy()
        if events not in kinds:
            raise SettingsError(
                f"the recording has no events of type {events!r}",
                code="NT-SET-001", expected="one of " + ", ".join(map(str, dict.fromkeys(kinds.tolist()))),
            )  # fmt: skip
        events = table["onset"].to_numpy()[kinds == events]
    if isinstance(events, (xr.Dataset, xr.DataTree)):
        name = next((name for name in ("onset", "start") if name in events.data_vars), None)
        if name is None:
            raise SchemaError(
                "a table of events needs 'onset', one of trials 'start'", found=list(events.data_vars)
            )
        events = events[name].to_numpy()
    if np.ndim(events) == 0:
        raise SchemaError(
            "events are a list of times, a table, or the name of a type", found=repr(events),
            fix=f"[{events}] for one event at that time, {str(events)!r} for events of that type",
        )  # fmt: skip
    onset = np.asarray(events, dtype="float64")
    if onset.ndim != 1 or onset.size == 0 or not np.isfinite(onset).all():
        bad = int((~np.isfinite(onset)).sum())
        raise SchemaError(
            "events must be a list of finite times in seconds",
            code="NT-DATA-003" if bad else "NT-DATA-010",
            found=f"{bad} of {onset.size} not finite" if bad else f"shape {onset.shape}",
        )  # fmt: skip
    return onset


def _inside(
    source: xr.Dataset | xr.DataArray | None, onset: np.ndarray, window: tuple[float, float], outside: str
) -> tuple[np.ndarray, int]:
    """Events whose window lies in one interval of the recording, and how many were left out."""
    if outside not in {"error", "drop"}:
        raise SettingsError("outside is 'error' or 'drop'", found=outside, code="NT-SET-001")
    assert source is not None
    spans = _spans(source, None, None) if isinstance(source, xr.Dataset) else _count_spans(source)
    low, high = onset + window[0], onset + window[1]
    fits = np.zeros(onset.size, bool)
    for start, stop in spans:
        fits |= (low >= start - EDGE_S / 2) & (high <= stop + EDGE_S / 2)
    n_out = int((~fits).sum())
    if n_out == onset.size or (n_out and outside == "error"):
        shown = ", ".join(f"{t:g}" for t in onset[~fits][:8]) + (" ..." if n_out > 8 else "")
        raise SchemaError(
            "the windows of events reach out of the recording",
            code="NT-DATA-007", where=f"events at {shown} s", found=f"{n_out} of {onset.size} events",
            expected="windows inside " + ", ".join(f"{a:g} to {b:g} s" for a, b in spans[:4]),
            fix='outside="drop" leaves them out and says how many, or take a shorter window',
        )  # fmt: skip
    return onset[fits], n_out


def _count_spans(counts: xr.DataArray) -> list[tuple[float, float]]:
    time, width = counts["time"].to_numpy(), float(counts.attrs["bin_width"])
    session = counts["session"].to_numpy() if "session" in counts.coords else np.zeros(time.size, int)
    new = np.flatnonzero((session[1:] != session[:-1]) | (np.diff(time) > 1.5 * width)) + 1
    return [(part[0], part[-1] + width) for part in np.split(time, new)]
