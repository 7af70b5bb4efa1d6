"""Filter, resample and re-reference labelled signals, with MNE and SciPy."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, did_you_mean, lookup, need
from neurotools.schema import Schema, check_time, time_axis
from neurotools.signals.steps import along, asked, rate_of, recorded, sessions

ELECTRIC = Schema("an electric signal", dims=("trial|window?", "channel", "time"), units="V")
BUTTERWORTH_ORDER = 4  # of one pass; the filter runs both ways


# ---- filter -----------------------------------------------------------------------------------------
def filter(
    data: xr.DataArray | xr.DataTree,
    *,
    low: float | None = None,
    high: float | None = None,
    notch: float | Sequence[float] | None = None,
    method: str = "fir",
) -> xr.DataArray:
    """Keep the frequencies between ``low`` and ``high``, with no shift in time.

    Parameters
    ----------
    data : xarray.DataArray or xarray.DataTree
        (channel | unit | region, time) on a regular clock, without NaN; or a recording with one main array.
        Every session (coordinate ``session`` on ``time``) is filtered by itself.
    low, high : float, optional
        Edges of the band that is kept, in Hz; leave one out to keep everything on that side.
    notch : float or sequence of float, optional
        Lines to take out first, in Hz, for example 50 or (50, 100, 150).
    method : {"fir", "butterworth"}
        ``"fir"`` is ``mne.filter.filter_data`` with its defaults: a windowed zero-phase FIR filter
        (Widmann, Schroeger and Maess 2015, Journal of Neuroscience Methods 250, 34-46). ``"butterworth"`` is
        ``scipy.signal.sosfiltfilt`` of order 4 in each direction.

    Returns
    -------
    xarray.DataArray
        Same dimensions, labels, units and number of samples, float64. attrs ``highpass`` and ``lowpass`` are
        narrowed, and ``history`` says what was done.

    Raises
    ------
    SchemaError
        NaN, an irregular clock, or a session shorter than the filter.
    SettingsError
        A band or line that does not fit the sampling rate.
    """
    array = asked(data)
    sfreq = rate_of(array, "filtering")
    lines = [] if notch is None else [float(f) for f in np.atleast_1d(notch)]
    _check_band(low, high, lines, sfreq)
    keep = lookup("filter", method, FILTERS)
    values = array.to_numpy().astype("float64")
    out = np.empty_like(values)
    for part in sessions(array):
        piece = np.ascontiguousarray(values[..., part])
        piece = _without_lines(piece, sfreq, lines) if lines else piece
        out[..., part] = keep(piece, sfreq, low, high) if low or high else piece
    result = array.copy(data=out)
    if low:
        result.attrs["highpass"] = max(float(low), float(array.attrs.get("highpass", 0.0)))
    if high:
        result.attrs["lowpass"] = min(float(high), float(array.attrs.get("lowpass", np.inf)))
    return recorded(
        result, array, "filter", ("mne",) if lines or method == "fir" else ("scipy",), low=low, high=high,
        notch=lines, method=method,
    )  # fmt: skip


def _check_band(low: float | None, high: float | None, lines: Sequence[float], sfreq: float) -> None:
    bottom, top = 0.0 if low is None else low, sfreq / 2 if high is None else high
    fits = 0 <= bottom < top <= sfreq / 2 and low != 0 and high != sfreq / 2
    if not fits or any(not 0 < line < sfreq / 2 for line in lines):
        raise SettingsError(
            "the band does not fit the sampling rate",
            found=f"low={low}, high={high}, notch={list(lines)} Hz",
            expected=f"0 < low < high < {sfreq / 2:g} Hz (half of {sfreq:g} Hz)",
        )
    if low is None and high is None and not lines:
        raise SettingsError("a filter needs low, high or notch", code="NT-SET-003")


def _too_short(sfreq: float, n: int, why: object) -> SchemaError:
    return SchemaError(
        "the signal is shorter than the filter", code="NT-DATA-010",
        found=f"{n} samples ({n / sfreq:g} s): {why}",
        fix="use longer sessions, a higher low edge, or method='butterworth'",
    )  # fmt: skip


def _mne_filter(name: str, values: np.ndarray, sfreq: float, *args: Any) -> np.ndarray:
    mne_filter = need("mne.filter", extra="eeg", to="filter with method='fir'")
    with warnings.catch_warnings():
        # MNE filters on and warns that the result is distorted.
        warnings.filterwarnings("error", message="filter_length")
        try:
            return getattr(mne_filter, name)(values, sfreq, *args, verbose="WARNING")
        except (RuntimeWarning, ValueError) as error:
            raise _too_short(sfreq, values.shape[-1], error) from error


def _fir(values: np.ndarray, sfreq: float, low: float | None, high: float | None) -> np.ndarray:
    return _mne_filter("filter_data", values, sfreq, low, high)


def _without_lines(values: np.ndarray, sfreq: float, lines: Sequence[float]) -> np.ndarray:
    return _mne_filter("notch_filter", values, sfreq, np.array(lines))


def _butterworth(values: np.ndarray, sfreq: float, low: float | None, high: float | None) -> np.ndarray:
    from scipy.signal import butter, sosfiltfilt

    edges = [f for f in (low, high) if f]
    kind = "bandpass" if low and high else "highpass" if low else "lowpass"
    sos = butter(BUTTERWORTH_ORDER, edges if len(edges) == 2 else edges[0], kind, fs=sfreq, output="sos")
    try:
        return sosfiltfilt(sos, values, axis=-1)
    except ValueError as error:
        raise _too_short(sfreq, values.shape[-1], error) from error


FILTERS: dict[str, Callable[[np.ndarray, float, float | None, float | None], np.ndarray]] = {
    "fir": _fir,
    "butterworth": _butterworth,
}


# ---- resample ---------------------------------------------------------------------------------------
def resample(data: xr.DataArray | xr.DataTree, sfreq: float, *, method: str | None = None) -> xr.DataArray:
    """Put a signal on a regular clock of ``sfreq`` samples per second.

    Parameters
    ----------
    data : xarray.DataArray or xarray.DataTree
        (channel | unit | region, time) without NaN; or a recording with one main array. Sessions stay apart.
    sfreq : float
        New rate in Hz.
    method : {"fft", "polyphase", "linear", "cubic", "previous"}, optional
        ``"fft"`` is ``mne.filter.resample``, ``"polyphase"`` is ``scipy.signal.resample_poly``; both remove
        what the new rate cannot hold and need a regular clock. The others interpolate between the samples at
        their own times (``scipy.interpolate.interp1d``), whatever the clock, and remove nothing: filter first
        when going down. Left out: ``"fft"`` on a regular clock, ``"linear"`` on any other.

    Returns
    -------
    xarray.DataArray
        Same first dimensions; ``time`` is ``start + arange(n) / sfreq`` in each session, and nothing lies
        outside the old times. Other coordinates on ``time`` than ``session`` are left out. float64.

    Raises
    ------
    SchemaError
        NaN, counts, or a method that needs a regular clock without one.
    """
    array = asked(data)
    if array.attrs.get("units") == "count":
        raise SchemaError(
            "counts cannot be resampled: between two bins there is no count", code="NT-DATA-008",
            fix="bin the spikes again: nt.bin_spikes(recording, width_s=...)",
        )  # fmt: skip
    if not (np.isfinite(sfreq) and sfreq > 0):
        raise SettingsError("the new rate is a positive number in Hz", found=sfreq)
    method = method or ("fft" if _is_regular(array) else "linear")
    convert = lookup("method of resampling", method, RESAMPLERS)
    parts, clocks, labels = [], [], []
    for part in sessions(array):
        piece = array.isel(time=part)
        old = piece["time"].to_numpy().astype("float64")
        values = convert(piece, old, float(sfreq))
        parts.append(values)
        clocks.append(time_axis(values.shape[-1], float(sfreq), float(old[0])))
        if "session" in array.coords and array["session"].dims == ("time",):
            labels.append(np.repeat(piece["session"].to_numpy()[:1], values.shape[-1]))
    coords = {"time": ("time", np.concatenate(clocks), {"units": "s"})}
    if labels:
        coords["session"] = ("time", np.concatenate(labels))  # type: ignore[assignment]
    result = _on_new_clock(array, np.concatenate(parts, axis=-1), coords, float(sfreq))
    by = ("mne",) if method == "fft" else ("scipy",)
    return recorded(result, array, "resample", by, sfreq=float(sfreq), method=method)


def _on_new_clock(
    array: xr.DataArray, values: np.ndarray, clock: dict[str, Any], sfreq: float
) -> xr.DataArray:
    check_time(clock["time"][1], "the resampled signal")
    coords = {**along(array, tuple(map(str, array.dims[:-1]))), **clock}
    result = xr.DataArray(values, dims=array.dims, coords=coords, attrs=dict(array.attrs), name=array.name)
    result.attrs.update(sfreq=sfreq, t0=float(clock["time"][1][0]))
    if "lowpass" in result.attrs:
        result.attrs["lowpass"] = min(float(result.attrs["lowpass"]), sfreq / 2)
    return result


def _is_regular(array: xr.DataArray) -> bool:
    try:
        rate_of(array, "resampling")
    except SchemaError as error:
        if error.code != "NT-DATA-004":
            raise
        return False
    return True


def _fft(piece: xr.DataArray, old: np.ndarray, sfreq: float) -> np.ndarray:
    mne_filter = need("mne.filter", extra="eeg", to="resample with method='fft'")
    values = np.ascontiguousarray(piece.to_numpy(), dtype="float64")
    return mne_filter.resample(values, up=sfreq, down=rate_of(piece, "resampling"), verbose="WARNING")


def _polyphase(piece: xr.DataArray, old: np.ndarray, sfreq: float) -> np.ndarray:
    from fractions import Fraction

    from scipy.signal import resample_poly

    rate = rate_of(piece, "resampling")
    ratio = Fraction(sfreq / rate).limit_denominator(10_000)
    if abs(float(ratio) * rate / sfreq - 1) > 1e-9:
        raise SettingsError(
            "polyphase resampling needs rates in a ratio of whole numbers",
            found=f"{rate:g} Hz to {sfreq:g} Hz",
            fix='method="fft"',
        )  # fmt: skip
    return resample_poly(piece.to_numpy().astype("float64"), ratio.numerator, ratio.denominator, axis=-1)


def _interpolated(kind: str) -> Callable[[xr.DataArray, np.ndarray, float], np.ndarray]:
    def between(piece: xr.DataArray, old: np.ndarray, sfreq: float) -> np.ndarray:
        from scipy.interpolate import interp1d

        # The last new sample may fall on the last old one, but for rounding of the division.
        n = int(np.floor((old[-1] - old[0]) * sfreq * (1 + 1e-12) + 1e-9)) + 1
        new = np.minimum(time_axis(n, sfreq, float(old[0])), old[-1])
        return interp1d(old, piece.to_numpy().astype("float64"), kind=kind, axis=-1, assume_sorted=True)(new)

    return between


RESAMPLERS: dict[str, Callable[[xr.DataArray, np.ndarray, float], np.ndarray]] = {
    "fft": _fft,
    "polyphase": _polyphase,
    "linear": _interpolated("linear"),
    "cubic": _interpolated("cubic"),
    "previous": _interpolated("previous"),
}


# ---- rereference ------------------------------------------------------------------------------------
def rereference(data: xr.DataArray | xr.DataTree, to: str | Sequence[str] = "average") -> xr.DataArray:
    """Measure every channel against the mean of others, as ``mne.set_eeg_reference`` does.

    Bad channels never enter the average; they are measured against it like the rest (MNE leaves them as they
    were), so that the whole array has one reference.

    Parameters
    ----------
    data : xarray.DataArray or xarray.DataTree
        (channel, time) in V, without NaN; or a recording with one main array.
    to : str or sequence of str
        ``"average"`` of all channels that are not bad (coordinate ``bad``), or the names of one or more
        channels, which stay in the result.

    Returns
    -------
    xarray.DataArray
        Same dimensions, labels, units and number of samples, float64; attrs ``reference`` says to what.

    Raises
    ------
    SchemaError
        NaN, another unit, or no good channel.
    SettingsError
        A channel that is not there.
    """
    array = asked(data, ELECTRIC)
    names = [str(name) for name in array["channel"].to_numpy()]
    if isinstance(to, str) and to == "average":
        bad = array["bad"].to_numpy() if "bad" in array.coords else np.zeros(len(names), dtype=bool)
        picks, label = np.flatnonzero(~bad), "average"
    else:
        wanted = [to] if isinstance(to, str) else list(to)
        for name in wanted:
            if name not in names:
                raise SettingsError(
                    f"there is no channel named {name!r}.{did_you_mean(name, names)}", code="NT-SET-001",
                    expected='"average" or among ' + ", ".join(names[:12]),
                )  # fmt: skip
        picks, label = np.array([names.index(name) for name in wanted], dtype=int), ", ".join(wanted)
    if picks.size == 0:
        raise SchemaError("no channel is left to refer to", code="NT-DATA-010", found="all channels are bad")
    values = array.to_numpy().astype("float64")
    result = array.copy(data=values - values[..., picks, :].mean(axis=-2, keepdims=True))
    result.attrs["reference"] = label
    return recorded(result, array, "rereference", (), to=label, n_channels=int(picks.size))
