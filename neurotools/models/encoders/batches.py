"""Windows as a network takes them: checked, their channels found by name, standardised, read part by part.

Windows may lie on disk. One pass reads them in parts and keeps two moments and a fingerprint of each window;
training and ``transform`` then read what they need, so memory is bounded by a batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, lookup
from neurotools.schema import Schema
from neurotools.schema.ask import signal

WINDOWS = Schema("windows", dims=("window|trial", "channel|region|unit", "time"))
PART_BYTES = 1 << 24


def asked(windows: Any) -> xr.DataArray:
    """(window, channel, time) in that order and under these names; samples on disk stay there.

    Raises
    ------
    SchemaError
        It is no labelled array of windows, or it lacks its sampling rate.
    """
    array = signal(windows) if isinstance(windows, xr.DataTree) else windows
    if not isinstance(array, xr.DataArray):
        WINDOWS.require(array)
    # windows of several recordings start at the same times, so these are no index
    first = next((dim for dim in ("window", "trial") if dim in array.dims), None)
    if first in array.indexes:
        array = array.drop_indexes(first)
    order = WINDOWS.require(array.isel({first: slice(0, 1)}) if first else array).dims
    array = array.transpose(*order)
    if first == "trial":
        array = placed(array)
    order = tuple(map(str, array.dims))
    names = dict(zip(order, ("window", "channel", "time"), strict=True))
    array = array.rename({old: new for old, new in names.items() if old != new})
    if "sfreq" not in array.attrs:
        raise SchemaError(
            "windows lack their sampling rate", code="NT-DATA-004", found="no attrs['sfreq']",
            fix="cut them with nt.windows or nt.epochs, which write it down",
        )  # fmt: skip
    if "channel" not in array.coords:
        array = array.assign_coords(channel=np.arange(array.sizes["channel"]))
    return array


def placed(trials: xr.DataArray) -> xr.DataArray:
    """Trials with the time at which each begins as ``window``, so that overlaps are seen."""
    length = trials.sizes["time"] / float(trials.attrs.get("sfreq", 1.0))
    label = trials["trial"].to_numpy() if "trial" in trials.coords else np.arange(trials.sizes["trial"])
    start = np.arange(trials.sizes["trial"]) * length
    if "onset" in trials.coords:
        start = trials["onset"].to_numpy() + float(trials.attrs.get("t0", 0.0))
    plain = trials.drop_vars("trial", errors="ignore").rename(trial="window")
    return plain.assign_coords(window=("window", start), trial=("window", label)).drop_indexes("window")


@dataclass(frozen=True)
class Moments:
    """Mean and variance of each channel in each window, and a fingerprint of each window."""

    mean: np.ndarray  # (window, channel)
    variance: np.ndarray  # (window, channel)
    digest: np.ndarray  # (window,) bytes

    @property
    def sha256(self) -> str:
        """One hash of all windows in their order."""
        return hashlib.sha256(self.digest.tobytes()).hexdigest()


def moments_of(array: xr.DataArray, pick: np.ndarray | None = None) -> Moments:
    """Read all windows once, in parts.

    Raises
    ------
    SchemaError
        There is no window, or a value is missing or infinite.
    """
    n = array.sizes["window"]
    if n == 0:
        raise SchemaError("there are no windows", code="NT-DATA-010")
    means, variances, digests = [], [], []
    for which in parts(n, array.nbytes):
        values = read(array, which, pick)
        check_finite(values, which, array)
        means.append(values.mean(-1, dtype="float64"))
        variances.append(values.var(-1, dtype="float64"))
        digests += [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in values]
    return Moments(np.concatenate(means), np.concatenate(variances), np.array(digests, dtype="S16"))


def parts(n: int, n_bytes: int) -> Iterator[np.ndarray]:
    """Numbers of windows, a bounded part at a time."""
    at_once = max(1, int(PART_BYTES * n / max(n_bytes, 1)))
    for first in range(0, n, at_once):
        yield np.arange(first, min(first + at_once, n))


def read(array: xr.DataArray, which: np.ndarray, pick: np.ndarray | None = None) -> np.ndarray:
    """Values of some windows, (window, channel, time), channels as ``channels.route`` says."""
    stored = array.variable
    ordered = np.unique(which)  # a file is read forwards
    values = np.asarray(stored.isel(window=ordered).to_numpy())
    values = values[np.searchsorted(ordered, which)]
    if pick is None:
        return np.ascontiguousarray(values)
    # numbers of channels, or weights of all of them
    return np.ascontiguousarray(values[:, pick] if pick.ndim == 1 else pick @ values.astype("float64"))


def check_finite(values: np.ndarray, which: np.ndarray, array: xr.DataArray) -> None:
    """Raise where a value is missing or infinite."""
    bad = ~np.isfinite(values).all(-1)
    if bad.any():
        row, channel = np.argwhere(bad)[0]
        raise SchemaError(
            "windows hold values that are missing or infinite", code="NT-DATA-003",
            where=f"window {which[row]}, channel {array['channel'].to_numpy()[channel]}",
            found=f"{int(bad.any(1).sum())} of {len(bad)} windows looked at",
            fix="leave those windows out: nt.windows refuses them, too",
        )  # fmt: skip


# ---- scales -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Scale:
    """What is subtracted from each channel of each window, and what it is divided by."""

    shift: np.ndarray  # (window, channel)
    width: np.ndarray  # (window, channel)

    def apply(self, values: np.ndarray, which: np.ndarray, clip: float) -> np.ndarray:
        """Standardised windows, (window, channel, time) in float32; ``clip`` is in deviations, 0 is none."""
        scaled = (values - self.shift[which][..., None]) / self.width[which][..., None]
        return (np.clip(scaled, -clip, clip) if clip else scaled).astype("float32")


def pooled(moments: Moments, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each channel over some windows together."""
    mean = moments.mean[chosen].mean(0)
    variance = (moments.variance[chosen] + (moments.mean[chosen] - mean) ** 2).mean(0)
    return mean, np.sqrt(variance)


def by_fit(moments: Moments, recording: np.ndarray, stored: tuple[np.ndarray, np.ndarray] | None) -> Scale:
    """By the windows that were trained on."""
    assert stored is not None
    shape = moments.mean.shape
    return Scale(np.broadcast_to(stored[0], shape), np.broadcast_to(stored[1], shape))


def by_recording(
    moments: Moments, recording: np.ndarray, stored: tuple[np.ndarray, np.ndarray] | None
) -> Scale:
    """Each recording by itself, over all of its windows that were given."""
    shift, width = np.empty_like(moments.mean), np.empty_like(moments.mean)
    for name in np.unique(recording):
        mine = recording == name
        shift[mine], width[mine] = pooled(moments, mine)
    return Scale(shift, width)


def by_window(moments: Moments, recording: np.ndarray, stored: tuple[np.ndarray, np.ndarray] | None) -> Scale:
    """Each window by itself."""
    return Scale(moments.mean, np.sqrt(moments.variance))


def as_given(moments: Moments, recording: np.ndarray, stored: tuple[np.ndarray, np.ndarray] | None) -> Scale:
    """As they are: spikes and other inputs whose size has a meaning."""
    return Scale(np.zeros_like(moments.mean), np.ones_like(moments.mean))


SCALES = {"none": as_given, "fit": by_fit, "recording": by_recording, "window": by_window}


def scale_of(
    kind: str,
    moments: Moments,
    recording: np.ndarray,
    names: np.ndarray,
    stored: tuple[np.ndarray, np.ndarray] | None = None,
) -> Scale:
    """Shift and width of every window.

    Raises
    ------
    SchemaError
        A channel does not vary where it has to.
    """
    scale = lookup("scale", kind, SCALES)(moments, recording, stored)
    flat = ~(scale.width > 0)
    if flat.any():
        window, channel = np.argwhere(flat)[0]
        raise SchemaError(
            "a channel is flat, so it cannot be standardised", code="NT-DATA-010",
            where=f"channel {names[channel]}, window {window}", fix="leave the channel or its windows out",
        )  # fmt: skip
    return scale
