"""Which windows train and which are held out, so that nothing held out was ever seen.

Whole groups (recordings, subjects, sessions, runs) are held out where there are several; else the last
stretch of the one recording, and windows that reach into it belong to neither side. Whatever the groups,
windows that overlap in time or are copies of one another are never on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, did_you_mean

IDENTITY = ("subject", "session", "run", "recording")  # together they say which recording a window is from
TRAIN, HELD_OUT, GAP = "train", "held_out", "gap"
SLACK = 1e-6  # of a window: windows that touch do not overlap


@dataclass(frozen=True)
class Places:
    """Where each window lies: which recording, which group, from when to when."""

    recording: np.ndarray  # (window,) int
    group: np.ndarray  # (window,) str
    unit: str  # what a group is, for the card
    start: np.ndarray  # (window,) s
    length: float  # s


def places_of(windows: xr.DataArray, groups: str | xr.DataArray | np.ndarray | None) -> Places:
    """Read recordings, groups and times from the coordinates of windows.

    Parameters
    ----------
    windows : xarray.DataArray
        (window, channel, time).
    groups : str, array or None
        A coordinate along ``window``, or a label for each. None: the first of ``recording``, ``session``,
        ``run``, ``subject`` that there is.
    """
    n, sfreq = windows.sizes["window"], float(windows.attrs["sfreq"])
    identity = [name for name in IDENTITY if name in windows.coords and windows[name].dims == ("window",)]
    labels = [windows[name].to_numpy().astype(str) for name in identity]
    together = [" ".join(row) for row in zip(*labels, strict=True)]
    recording = np.unique(together, return_inverse=True)[1] if identity else np.zeros(n, dtype=int)
    length = windows.sizes["time"] / sfreq
    known = "window" in windows.coords and windows["window"].dtype.kind in "fiu"
    start = windows["window"].to_numpy().astype("float64") if known else np.arange(n) * length
    label, unit = group_of(windows, groups, identity)
    return Places(recording, label, unit, start, length)


def group_of(
    windows: xr.DataArray, groups: str | xr.DataArray | np.ndarray | None, identity: list[str]
) -> tuple[np.ndarray, str]:
    """A label for each window, and what the labels are."""
    n = windows.sizes["window"]
    if groups is None:
        if not identity:
            return np.full(n, "recording"), "recording"
        groups = next(name for name in reversed(IDENTITY) if name in identity)
    if isinstance(groups, str):
        along = [str(name) for name, c in windows.coords.items() if c.dims == ("window",)]
        if groups not in along:
            if groups == "recording":  # one recording needs no label
                return np.full(n, "recording"), "recording"
            raise SettingsError(
                f"windows have no coordinate {groups!r}.{did_you_mean(groups, along)}",
                expected="one of " + ", ".join(along),
                fix="nt.encoders.join labels the windows of several recordings",
            )
        return windows[groups].to_numpy().astype(str), groups
    label = np.asarray(groups).astype(str)
    if label.shape != (n,):
        raise SchemaError(
            "groups must say one label for each window", code="NT-DATA-005",
            found=f"shape {label.shape}", expected=f"({n},)",
        )  # fmt: skip
    return label, str(getattr(groups, "name", None) or "group")


def split(places: Places, share: float, seed: int) -> np.ndarray:
    """``"train"``, ``"held_out"`` or ``"gap"`` for each window.

    Parameters
    ----------
    places : Places
    share : float
        Of groups (at least one), or of the one recording's time, that is held out; 0 holds out nothing.
    seed : int
        Draws the groups.
    """
    side = np.full(len(places.group), TRAIN, dtype="<U8")
    if share == 0:
        return side
    names = np.unique(places.group)
    if len(names) > 1:
        n_out = min(max(1, round(share * len(names))), len(names) - 1)
        out = np.random.default_rng(seed).permutation(names)[:n_out]
        side[np.isin(places.group, out)] = HELD_OUT
    else:
        hold_out_the_end(side, places, share)
    check_apart(places, side == TRAIN, side == HELD_OUT)
    return side


def hold_out_the_end(side: np.ndarray, places: Places, share: float) -> None:
    """Mark the last stretch of each recording, and the windows that reach into it."""
    for name in np.unique(places.recording):
        mine = np.flatnonzero(places.recording == name)
        start = places.start[mine]
        edge = np.quantile(start, 1 - share)
        late = start >= edge
        first = start[late].min()
        side[mine[late]] = HELD_OUT
        side[mine[~late & (start + places.length > first + SLACK * places.length)]] = GAP
    if not (side == TRAIN).any():
        raise SchemaError(
            "the recording is too short to hold a part of it out", code="NT-DATA-010",
            found=f"{len(side)} windows", fix="held_out=0 trains on everything and watches nothing",
        )  # fmt: skip


def check_apart(places: Places, one: np.ndarray, other: np.ndarray) -> None:
    """Raise where a window of one side overlaps a window of the other in the same recording."""
    for name in np.unique(places.recording):
        mine = places.recording == name
        first, second = np.flatnonzero(mine & one), np.flatnonzero(mine & other)
        if not first.size or not second.size:
            continue
        order = second[np.argsort(places.start[second])]
        starts = places.start[order]
        near = np.searchsorted(starts, places.start[first])
        for step in (-1, 0):
            k = np.clip(near + step, 0, len(order) - 1)
            close = np.abs(starts[k] - places.start[first]) < (1 - SLACK) * places.length
            if close.any():
                a, b = first[close][0], order[k[close][0]]
                raise SchemaError(
                    "windows that overlap in time would stand on both sides of the split",
                    code="NT-DATA-005",
                    found=f"windows {a} ({places.start[a]:g} s, {places.unit} {places.group[a]}) and {b} "
                    f"({places.start[b]:g} s, {places.unit} {places.group[b]}); {close.sum()} in all",
                    expected="groups that keep overlapping windows together",
                    fix="group by recording; where windows are of several recordings, join them with "
                    "nt.encoders.join, which says which is which",
                )


def check_no_copies(digest: np.ndarray, one: np.ndarray, other: np.ndarray) -> None:
    """Raise where a window of one side holds the very numbers of a window of the other."""
    both = np.intersect1d(digest[one], digest[other])
    if both.size:
        a = np.flatnonzero((digest == both[0]) & one)[0]
        b = np.flatnonzero((digest == both[0]) & other)[0]
        raise SchemaError(
            "the same windows would stand on both sides of the split", code="NT-DATA-005",
            found=f"windows {a} and {b} hold the same numbers; {both.size} such",
            fix="leave the copies out, or give them one group",
        )  # fmt: skip


def step_of(places: Places) -> float:
    """Seconds from the start of one window to that of the next in its recording (the usual ones)."""
    parts = [np.diff(np.sort(places.start[places.recording == name])) for name in np.unique(places.recording)]
    steps = np.concatenate(parts)
    return float(np.median(steps)) if steps.size else places.length


def sequences(places: Places, chosen: np.ndarray, length: int, hop: int) -> np.ndarray:
    """Numbers of windows that follow one another without a break, (sequence, length).

    Parameters
    ----------
    places : Places
    chosen : numpy.ndarray
        Windows of one side, True or False.
    length, hop : int
        Windows of a sequence, and from the first of one to the first of the next.
    """
    found = []
    for name in np.unique(places.recording):
        mine = np.flatnonzero((places.recording == name) & chosen)
        mine = mine[np.argsort(places.start[mine], kind="stable")]
        step = np.diff(places.start[mine])
        broken = step > 1.5 * places.length if len(step) == 0 else step > 1.5 * np.median(step)
        broken |= places.group[mine][1:] != places.group[mine][:-1]
        for run in np.split(mine, np.flatnonzero(broken) + 1):
            found += [run[k : k + length] for k in range(0, len(run) - length + 1, hop)]
    return np.array(found, dtype=int).reshape(-1, length)
