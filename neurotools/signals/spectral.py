"""Power in frequency bands over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, lookup
from neurotools.schema import time_axis
from neurotools.signals.steps import TRACES, along, asked, rate_of, recorded, sessions

Band = tuple[float, float]


def band_power(
    data: xr.DataArray | xr.DataTree,
    bands: Mapping[str, Band] | Band,
    *,
    window_s: float = 1.0,
    overlap: float = 0.5,
    method: str = "hann",
) -> xr.DataArray:
    """Power of each channel in one or more frequency bands, over time.

    The power of a band is the part of the variance that lies in it: over all frequencies it sums to the
    variance of the signal inside the window.

    Parameters
    ----------
    data : xarray.DataArray or xarray.DataTree
        (channel | unit | region, time) on a regular clock, without NaN; or a recording with one main array.
        No window crosses an edge between sessions.
    bands : mapping of name to (low, high), or one (low, high)
        Edges in Hz; both belong to the band.
    window_s : float
        Length of a window in seconds. A band is resolved no finer than ``1 / window_s`` Hz.
    overlap : float
        Share of a window that the next one covers again, from 0 to below 1.
    method : {"hann", "hilbert"}
        ``"hann"`` integrates the periodogram of Hann-tapered windows (``scipy.signal.spectrogram``; Welch
        1967, IEEE Transactions on Audio and Electroacoustics 15, 70-73, without averaging). ``"hilbert"``
        takes half the squared envelope of the signal filtered to the band (Butterworth of order 4 both ways,
        ``scipy.signal.hilbert``), averaged inside each window.

    Returns
    -------
    xarray.DataArray
        (channel, time) for one band, (channel, frequency, time) for several, where ``frequency`` is the
        middle of the band in Hz and ``band`` its name. ``time`` is the middle of each window; the unit is
        squared (V becomes V^2). attrs ``sfreq`` (windows per second), ``window_s``, ``history``.

    Raises
    ------
    SchemaError
        NaN, an irregular clock, or sessions shorter than a window.
    SettingsError
        A band beyond half the sampling rate, or too narrow for the window.
    """
    array = asked(data, TRACES)
    sfreq = rate_of(array, "band power")
    length = int(np.round(window_s * sfreq))
    step = int(np.round(length * (1 - overlap)))
    if length < 2 or not 0 <= overlap < 1 or step < 1:
        raise SettingsError(
            "windows need at least two samples and an overlap from 0 to below 1",
            found=f"window_s={window_s:g} ({length} samples), overlap={overlap:g}",
        )
    named: dict[str, Band] = dict(bands) if isinstance(bands, Mapping) else {"band": (bands[0], bands[1])}
    _check_bands(named, length, sfreq)
    power = lookup("method for band power", method, METHODS)
    parts = [part for part in sessions(array) if part.stop - part.start >= length]
    if not parts:
        raise SchemaError(
            "no session is as long as one window", code="NT-DATA-010",
            found=f"{array.sizes['time'] / sfreq:g} s in all", expected=f"{window_s:g} s",
        )  # fmt: skip
    values = array.to_numpy().astype("float64")
    pieces = [power(values[..., part], sfreq, list(named.values()), (length, step)) for part in parts]
    begin = np.concatenate(
        [part.start + step * np.arange(p.shape[-1]) for part, p in zip(parts, pieces, strict=True)]
    )
    result = _labelled(array, np.concatenate(pieces, axis=-1), begin, named, (length, step, sfreq))
    return recorded(
        result, array, "band_power", ("scipy",), bands={k: list(v) for k, v in named.items()},
        window_s=window_s, overlap=overlap, method=method,
    )  # fmt: skip


def _check_bands(bands: Mapping[str, Any], length: int, sfreq: float) -> None:
    frequency = np.fft.rfftfreq(length, 1 / sfreq)
    for name, edges in bands.items():
        ok = len(edges) == 2 and 0 <= edges[0] < edges[1] <= sfreq / 2
        if not ok or not ((frequency >= edges[0]) & (frequency <= edges[1])).any():
            raise SettingsError(
                f"the band {name!r} does not fit the sampling rate and the window", found=f"{edges} Hz",
                expected=f"low < high, up to {sfreq / 2:g} Hz, and at least {sfreq / length:g} Hz wide",
                fix="a longer window_s resolves narrower bands",
            )  # fmt: skip


def _hann(values: np.ndarray, sfreq: float, bands: list[Band], window: tuple[int, int]) -> np.ndarray:
    from scipy.signal import spectrogram

    length, step = window
    frequency, _, density = spectrogram(
        values, sfreq, window="hann", nperseg=length, noverlap=length - step, detrend="constant",
        scaling="density", mode="psd", axis=-1,
    )  # fmt: skip
    width = sfreq / length
    return np.stack(
        [density[..., (frequency >= a) & (frequency <= b), :].sum(axis=-2) * width for a, b in bands], axis=-2
    )


def _hilbert(values: np.ndarray, sfreq: float, bands: list[Band], window: tuple[int, int]) -> np.ndarray:
    from scipy.signal import butter, hilbert, sosfiltfilt

    length, step = window
    rows = []
    for low, high in bands:
        if not 0 < low < high < sfreq / 2:
            raise SettingsError(
                "method='hilbert' needs a band inside 0 to half the sampling rate",
                found=f"{low:g} to {high:g} Hz",
            )
        sos = butter(4, (low, high), "bandpass", fs=sfreq, output="sos")
        envelope = np.abs(hilbert(sosfiltfilt(sos, values, axis=-1), axis=-1)) ** 2 / 2
        cut = np.lib.stride_tricks.sliding_window_view(envelope, length, axis=-1)[..., ::step, :]
        rows.append(cut.mean(axis=-1))
    return np.stack(rows, axis=-2)


METHODS: dict[str, Callable[[np.ndarray, float, list[Band], tuple[int, int]], np.ndarray]] = {
    "hann": _hann,
    "hilbert": _hilbert,
}


def _labelled(
    array: xr.DataArray, values: np.ndarray, begin: np.ndarray, bands: Mapping[str, Any],
    window: tuple[int, int, float],
) -> xr.DataArray:  # fmt: skip
    length, step, sfreq = window
    lead = tuple(map(str, array.dims[:-1]))
    middle = array["time"].to_numpy()[begin] + 0.5 * length / sfreq
    if len(sessions(array)) == 1:
        middle = time_axis(begin.size, sfreq / step, float(middle[0]))
    coords: dict[str, Any] = {**along(array, lead), "time": ("time", middle, {"units": "s"})}
    if "session" in array.coords and array["session"].dims == ("time",):
        coords["session"] = ("time", array["session"].to_numpy()[begin])
    edges = np.array([tuple(map(float, band)) for band in bands.values()])
    along_bands = {
        "frequency": ("frequency", edges.mean(axis=1), {"units": "Hz"}),
        "band": ("frequency", np.array(list(bands))),
        "low": ("frequency", edges[:, 0], {"units": "Hz"}),
        "high": ("frequency", edges[:, 1], {"units": "Hz"}),
    }
    result = xr.DataArray(
        values, dims=(*lead, "frequency", "time"), coords={**coords, **along_bands}, name="power",
        attrs={
            **{k: v for k, v in array.attrs.items() if k not in ("highpass", "lowpass")},
            "units": _squared(array.attrs.get("units")), "sfreq": sfreq / step, "t0": float(middle[0]),
            "window_s": length / sfreq,
        },
    )  # fmt: skip
    return result.isel(frequency=0) if len(bands) == 1 else result


def _squared(units: Any) -> str:
    return "1" if units == "1" else f"{units or 'arbitrary'}^2"
