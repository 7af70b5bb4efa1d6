"""What was going on: stimulus, behaviour and events as strips above a picture over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.plot import style
from neurotools.plot.style import Axes

LINE_IN, IMAGE_IN, LANE_IN, GAP_IN = 0.42, 0.75, 0.15, 0.09
MAX_CRISP = 1800  # dots across a wide picture at twice the resolution of a screen
MAX_POINTS = 20_000  # a line of more points is drawn as its envelope
MAX_LINES = 60  # beyond so many events, lines through the traces would hide them


def seconds_axis(ax: Axes, time: np.ndarray) -> tuple[float, float]:
    """Label the time axis in seconds and end it half a sample beyond the first and the last."""
    half = float(np.median(np.diff(time))) / 2 if time.size > 1 else 0.5
    ends = (float(time[0]) - half, float(time[-1]) + half)
    ax.set_xlim(*ends)
    ax.set_xlabel("time (s)")
    return ends


def tracks(stimulus: Any) -> list[xr.DataArray]:
    """Arrays over time to draw as strips, from whatever holds them."""
    if stimulus is None:
        return []
    if isinstance(stimulus, xr.DataTree):
        found = [array for node in stimulus.subtree for array in node.to_dataset(inherit=False).values()]
    elif isinstance(stimulus, xr.Dataset):
        found = list(stimulus.values())
    elif isinstance(stimulus, xr.DataArray):
        found = [stimulus]
    else:
        raise SchemaError("stimulus needs labelled arrays over 'time'", found=type(stimulus).__name__)
    found = [a for a in found if "time" in a.dims and a.ndim <= 2 and a.dtype.kind in "biuf" and a.size]
    if not found:
        raise SchemaError("stimulus holds no numbers over the dimension 'time'", found=str(stimulus.dims))
    return found


def event_spans(events: xr.Dataset | None) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Starts and durations of each kind of event, from an events or a trials table."""
    if events is None:
        return []
    if "onset" in events:
        start, kind = events["onset"].to_numpy(), events.get("trial_type")
        length = events["duration"].to_numpy() if "duration" in events else np.zeros(start.size)
        kinds = np.full(start.size, "event") if kind is None else kind.to_numpy().astype(str)
    elif {"start", "stop"} <= set(events.data_vars):
        start = events["start"].to_numpy()
        length, kinds = events["stop"].to_numpy() - start, np.full(start.size, "trial")
    else:
        raise SchemaError(
            "events need 'onset' (with 'duration' and 'trial_type'), or 'start' and 'stop'",
            found=", ".join(map(str, events.data_vars)),
        )
    order = list(dict.fromkeys(kinds))
    return [(name, start[kinds == name], length[kinds == name]) for name in order]


def strips_height(events: xr.Dataset | None, stimulus: Any) -> float:
    """Inches that the strips take above a picture."""
    lanes = len(event_spans(events))
    height = lanes * LANE_IN + (GAP_IN if lanes else 0)
    return height + sum((IMAGE_IN if array.ndim == 2 else LINE_IN) + GAP_IN for array in tracks(stimulus))


def mark_events(ax: Axes, events: xr.Dataset | None) -> None:
    """Draw a thin line through the picture at the start of each event, where they are few."""
    spans = event_spans(events)
    if sum(start.size for _, start, _ in spans) > MAX_LINES:
        return
    for place, (_, start, _) in enumerate(spans):
        for at in start:
            ax.axvline(at, color=style.colour(place), linewidth=0.7, alpha=0.6, zorder=0.5)


def mark_sessions(ax: Axes, array: xr.DataArray) -> None:
    """Draw a dashed line where one session ends and the next begins, with their names."""
    if "session" not in array.coords or array["session"].dims != ("time",):
        return
    session, time = array["session"].to_numpy().astype(str), array["time"].to_numpy()
    starts = np.concatenate([[0], np.flatnonzero(session[1:] != session[:-1]) + 1])
    for at in starts:
        if at:
            ax.axvline((time[at - 1] + time[at]) / 2, color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        ax.annotate(f" {session[at]}", (time[at], 1), (0, 1), xycoords=ax.get_xaxis_transform(), fontsize=7,
                    textcoords="offset points", color=style.MUTED, va="bottom",
                    annotation_clip=True)  # fmt: skip


def add_strips(ax: Axes, events: xr.Dataset | None, stimulus: Any, *, above_in: float = 0.0) -> None:
    """Put lanes of events, then lines, then images above ``ax``, from ``above_in`` inches over it."""
    spans = event_spans(events)
    floor = above_in + GAP_IN
    if spans:
        _draw_events(strip_above(ax, floor, len(spans) * LANE_IN), spans)
        floor += len(spans) * LANE_IN + GAP_IN
    for array in sorted(tracks(stimulus), key=lambda array: array.ndim):
        size = IMAGE_IN if array.ndim == 2 else LINE_IN
        strip = strip_above(ax, floor, size)
        _draw_image(strip, array) if array.ndim == 2 else _draw_line(strip, array)
        floor += size + GAP_IN


def strip_above(ax: Axes, floor_in: float, height_in: float) -> Axes:
    """Make Axes as wide as ``ax`` and on its time, ``floor_in`` inches over it, whatever the layout does."""
    from matplotlib.transforms import Bbox

    def locate(strip: Any, renderer: Any) -> Any:
        box, inch = ax.get_position(), 1 / style.root_of(ax).get_figheight()
        return Bbox.from_bounds(box.x0, box.y1 + floor_in * inch, box.width, height_in * inch)

    strip = style.dressed(ax.inset_axes((0, 1, 1, 0.1), sharex=ax))
    strip.set_axes_locator(locate)
    strip.tick_params(axis="x", bottom=False, labelbottom=False)
    return strip


def _draw_events(lane: Axes, spans: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
    for row, (_, start, length) in enumerate(spans):
        tint = style.colour(row)
        long = length > 0
        bars = list(zip(start[long], length[long], strict=True))
        lane.broken_barh(bars, (row - 0.36, 0.72), facecolors=tint, alpha=0.85, linewidth=0)
        lane.vlines(start[~long], row - 0.4, row + 0.4, colors=tint, linewidth=1.1)
    lane.set_yticks(range(len(spans)), [name for name, _, _ in spans], fontsize=7)
    lane.set_ylim(len(spans) - 0.4, -0.6)
    lane.tick_params(axis="both", length=0, labelbottom=False)
    style.plain_spines(lane)


def _name(array: xr.DataArray) -> str:
    return str(array.attrs.get("long_name", array.name or "stimulus")).replace("_", " ")


def _draw_line(strip: Axes, array: xr.DataArray) -> None:
    time, values = array["time"].to_numpy(), array.to_numpy().astype(float)
    if time.size <= MAX_POINTS:
        strip.plot(time, values, color=style.INK, linewidth=0.8)
    else:
        strip.fill_between(*_envelope(time, values), color=style.INK, linewidth=0.4)
    strip.set_ylabel(style.with_unit(_name(array), array.attrs.get("units")), rotation=0, ha="right",
                     va="center", fontsize=7.5)  # fmt: skip
    strip.tick_params(axis="y", labelsize=6.5)
    strip.locator_params(axis="y", nbins=2)
    style.plain_spines(strip, "left")


def _envelope(time: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Smallest and largest value in each of ``MAX_CRISP`` stretches: what a dense line looks like."""
    starts = np.linspace(0, time.size, MAX_CRISP, endpoint=False).astype(int)
    return time[starts], np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)


def _draw_image(strip: Axes, array: xr.DataArray) -> None:
    other = next(str(dim) for dim in array.dims if dim != "time")
    image_over_time(strip, array.transpose(other, "time"))
    unit = array[other].attrs.get("units") if other in array.coords else None
    label = f"{_name(array)}\n{style.with_unit(other, unit or 'bin')}"
    strip.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=7.5)
    strip.tick_params(axis="y", labelsize=6.5)
    strip.locator_params(axis="y", nbins=3)
    style.plain_spines(strip)


def image_over_time(ax: Axes, array: xr.DataArray, **options: Any) -> Any:
    """Draw an array (other, time) as an image on its true axes; the other axis grows upwards if numeric."""
    other = str(array.dims[0])
    values, time = array.to_numpy().astype(float), array["time"].to_numpy()
    low, high = _edges(array, other)
    finite = values[np.isfinite(values)]
    top = float(np.quantile(finite, 0.995)) if finite.size else 1.0
    settings = {"cmap": style.sequential(), "vmax": top or None, **options}
    step = np.diff(time)
    if step.size and np.ptp(step) > 0.01 * np.median(step):
        rows = np.linspace(low, high, len(values) + 1)
        return ax.pcolormesh(_bounds(time), rows, values, rasterized=True, **settings)
    half = float(np.median(step)) / 2 if step.size else 0.5
    return ax.imshow(values, extent=(time[0] - half, time[-1] + half, low, high), origin="lower",
                     aspect="auto", interpolation=smoothing(time.size), **settings)  # fmt: skip


def _bounds(time: np.ndarray) -> np.ndarray:
    """Edges of cells around samples of an irregular clock, half-way between neighbours."""
    middle = (time[:-1] + time[1:]) / 2
    return np.concatenate([[2 * time[0] - middle[0]], middle, [2 * time[-1] - middle[-1]]])


def smoothing(n_time: int) -> str:
    """Interpolation of an image over time: crisp while each sample has a dot, else an average of neighbours.

    Taking the nearest of many samples would hide short intervals.
    """
    return "nearest" if n_time <= MAX_CRISP else "antialiased"


def _edges(array: xr.DataArray, dim: str) -> tuple[float, float]:
    n = array.sizes[dim]
    if dim in array.coords and array[dim].dtype.kind in "iuf" and n > 1:
        place = array[dim].to_numpy().astype(float)
        half = (place[-1] - place[0]) / (n - 1) / 2
        return float(place[0] - half), float(place[-1] + half)
    return -0.5, n - 0.5
