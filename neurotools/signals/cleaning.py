"""Take trends, slow and fast fluctuations and confounds out of signals, with nilearn."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, lookup, need
from neurotools.schema import Schema
from neurotools.signals.steps import asked, rate_of, recorded, sessions

SIGNALS = Schema("a signal to clean", dims=("subject?", "unit|channel|region", "time"))
CONFOUNDS = Schema("confounds", dims=("time", "feature"))
# Our word -> nilearn's, and the unit that the values then have.
STANDARDS: dict[str, tuple[str, str]] = {"zscore": ("zscore_sample", "1"), "psc": ("psc", "percent")}


def clean(
    data: xr.DataArray | xr.DataTree,
    confounds: xr.DataArray | xr.Dataset | None = None,
    *,
    detrend: bool = True,
    standardize: str | None = None,
    low: float | None = None,
    high: float | None = None,
    scrub: xr.DataArray | np.ndarray | None = None,
) -> xr.DataArray:
    """Remove trends, frequencies outside a band, and confounds, and leave out volumes.

    A thin face of ``nilearn.signal.clean``: detrend, Butterworth filter of order 5 run both ways, regression
    of the confounds after they went through the same steps (Lindquist et al. 2019, Human Brain Mapping
    40:2358), standardisation. Every session (coordinate ``session`` on ``time``) is cleaned by itself. Where
    volumes are left out and a filter is asked for, they are bridged by a cubic spline before filtering and
    dropped after it, so that their values cannot leak into others.

    Parameters
    ----------
    data : xarray.DataArray or xarray.DataTree
        (subject?, region | unit | channel, time) on a regular clock, without NaN; or a recording with one.
    confounds : xarray.DataArray or xarray.Dataset, optional
        (time, feature) on the same clock, without NaN; or what ``nt.confounds`` returns, whose ``kept`` then
        says which volumes stay.
    detrend : bool
        Remove the straight line, mean included.
    standardize : {"zscore", "psc"}, optional
        Zero mean and unit variance (divisor n - 1), or percent of the mean before cleaning.
    low, high : float, optional
        Edges of the band that is kept, in Hz: slower than ``low`` and faster than ``high`` is removed.
    scrub : array of bool (time), optional
        True for volumes to leave out; takes the place of ``kept``.

    Returns
    -------
    xarray.DataArray
        Same dimensions and labels; only the volumes that stay, at their own times. attrs: ``units``,
        ``highpass`` and ``lowpass`` as they now are, ``history`` (settings, confounds, samples before and
        after, as JSON), and, when volumes were left out, ``kept``: the places of those that stayed.

    Raises
    ------
    SchemaError
        NaN, lengths or clocks that differ, an irregular clock, or as many confounds as volumes.
    SettingsError
        A band that does not fit the sampling rate.
    """
    array = asked(data, SIGNALS)
    sfreq = rate_of(array, "cleaning")
    _check_band(low, high, sfreq)
    names, columns = _columns(array, confounds)
    kept = _kept(array, confounds, scrub)
    word = None if standardize is None else lookup("standardisation", standardize, STANDARDS)[0]
    rows = array.to_numpy().reshape(-1, array.sizes["time"]).T.astype("float64")
    steps = {"detrend": detrend, "standardize": word, "high_pass": low, "low_pass": high, "t_r": 1 / sfreq}
    parts = []
    for part in sessions(array):
        place = f"samples {part.start} to {part.stop - 1}"
        _check_room(kept[part], columns, place)
        own = None if columns is None else columns[part]
        parts.append(_clean_one(rows[part], own, kept[part], steps, place))
    result = array.isel(time=np.flatnonzero(kept))
    result = result.copy(data=np.concatenate(parts).T.reshape(result.shape))
    _describe(result, kept, low, high, standardize)
    return recorded(
        result, array, "clean", ("nilearn",), detrend=detrend, standardize=standardize, low=low, high=high,
        confounds=names, n_left_out=int((~kept).sum()),
    )  # fmt: skip


# ---- what is asked ----------------------------------------------------------------------------------
def _check_band(low: float | None, high: float | None, sfreq: float) -> None:
    bottom, top = 0.0 if low is None else low, sfreq / 2 if high is None else high
    if not 0 <= bottom < top <= sfreq / 2 or low == 0 or high == sfreq / 2:
        raise SettingsError(
            "the band to keep does not fit the sampling rate",
            found=f"low={low}, high={high} Hz",
            expected=f"0 < low < high < {sfreq / 2:g} Hz (half of {sfreq:g} Hz)",
        )


def _columns(
    array: xr.DataArray, confounds: xr.DataArray | xr.Dataset | None
) -> tuple[list[str], np.ndarray | None]:
    if confounds is None:
        return [], None
    table = confounds["confounds"] if isinstance(confounds, xr.Dataset) else confounds
    if table.sizes.get("feature") == 0:
        return [], None
    table = CONFOUNDS.require(table)
    if "subject" in array.dims:
        raise SchemaError(
            "confounds belong to one subject, and the signal has several",
            code="NT-DATA-005", fix="clean them one by one: nt.clean(data.sel(subject=...), confounds)",
        )  # fmt: skip
    _same_clock(array, table, "confounds")
    return [str(name) for name in table["feature"].to_numpy()], table.to_numpy().astype("float64")


def _same_clock(array: xr.DataArray, other: xr.DataArray, what: str) -> None:
    if other.sizes["time"] != array.sizes["time"]:
        raise SchemaError(
            f"{what} and signal differ in length",
            code="NT-DATA-005",
            found=f"{other.sizes['time']} rows", expected=f"{array.sizes['time']} samples",
            fix="nothing is cut or shifted to fit: choose the rows that belong to these samples",
        )  # fmt: skip
    if "time" in other.coords and not np.array_equal(other["time"].to_numpy(), array["time"].to_numpy()):
        raise SchemaError(
            f"{what} and signal are at different times",
            code="NT-DATA-004", found=f"from {float(other['time'][0]):g} s",
            expected=f"from {float(array['time'][0]):g} s, in the same steps",
        )  # fmt: skip


def _kept(
    array: xr.DataArray, confounds: xr.DataArray | xr.Dataset | None, scrub: xr.DataArray | np.ndarray | None
) -> np.ndarray:
    """Which samples stay."""
    n = array.sizes["time"]
    if scrub is None:
        if isinstance(confounds, xr.Dataset) and "kept" in confounds:
            _same_clock(array, confounds["kept"], "the volumes to keep")
            return confounds["kept"].to_numpy().astype(bool)
        return np.ones(n, dtype=bool)
    if isinstance(scrub, xr.DataArray):
        _same_clock(array, scrub, "the volumes to leave out")
    out = np.asarray(scrub)
    if out.dtype != bool or out.shape != (n,):
        raise SchemaError(
            "scrub is one True or False per sample, True for those to leave out",
            code="NT-DATA-005", found=f"{out.dtype} of shape {out.shape}", expected=f"bool of shape ({n},)",
        )  # fmt: skip
    return ~out


def _check_room(kept: np.ndarray, columns: np.ndarray | None, place: str) -> None:
    n_columns = 0 if columns is None else columns.shape[1]
    if kept.sum() <= n_columns + 1 or kept.sum() < 3:
        raise SchemaError(
            "too few samples stay: nothing would be left of the signal",
            code="NT-DATA-010", where=place, found=f"{int(kept.sum())} samples, {n_columns} confounds",
            expected=f"at least {max(3, n_columns + 2)} samples",
            fix="fewer confounds, or laxer limits of scrubbing",
        )  # fmt: skip


# ---- what is done -----------------------------------------------------------------------------------
def _clean_one(
    rows: np.ndarray, columns: np.ndarray | None, kept: np.ndarray, steps: dict[str, Any], place: str
) -> np.ndarray:
    """Clean one session, (time, row); the rows that stay."""
    if steps["standardize"] == "psc":
        _refuse_no_mean(rows, place)
    filtering = steps["low_pass"] is not None or steps["high_pass"] is not None
    try:
        if kept.all() or not filtering:
            # An index where all stay would send nilearn through its interpolation for nothing.
            mask = None if kept.all() else np.flatnonzero(kept)
            return _nilearn(rows, columns, sample_mask=mask, **steps)
        return _bridged(rows, columns, kept, steps)
    except ValueError as error:
        raise SchemaError(
            f"the signal cannot be filtered: {error}",
            code="NT-DATA-010",
            where=place,
            fix="use longer sessions",
        ) from error


def _nilearn(rows: np.ndarray, columns: np.ndarray | None, **steps: Any) -> np.ndarray:
    library = need("nilearn.signal", extra="fmri", to="clean signals")
    return library.clean(rows, confounds=columns, **steps)


def _bridged(
    rows: np.ndarray, columns: np.ndarray | None, kept: np.ndarray, steps: dict[str, Any]
) -> np.ndarray:
    """Filter across samples that are left out.

    nilearn (0.14) bridges a sample only if the one at the same distance from the other end stays, and shifts
    the rest by one where both ends are left out; so the bridge is built here and each step asked for alone.
    """
    inner = slice(int(np.flatnonzero(kept)[0]), int(np.flatnonzero(kept)[-1]) + 1)
    band = {**steps, "standardize": None}
    bridged = _spline(rows, kept)[inner]
    filtered = _nilearn(bridged, None, **band)[kept[inner]]
    if columns is not None:
        columns = _nilearn(_spline(columns, kept)[inner], None, **band)[kept[inner]]
    if steps["standardize"] == "psc":
        filtered = filtered + bridged.mean(axis=0)
    return _nilearn(filtered, columns, detrend=False, standardize=steps["standardize"], filter=False)


def _spline(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Values with those that are left out replaced by a cubic spline through the others."""
    from scipy.interpolate import CubicSpline

    place = np.arange(len(values))
    result = values.copy()
    result[~kept] = CubicSpline(place[kept], values[kept])(place[~kept])
    return result


def _refuse_no_mean(rows: np.ndarray, place: str) -> None:
    mean, spread = np.abs(rows.mean(axis=0)), rows.std(axis=0)
    flat = mean <= 1e-6 * spread
    if flat.any():
        raise SchemaError(
            "percent of the mean needs a mean, and some rows have none",
            code="NT-DATA-002", where=place, found=f"{int(flat.sum())} of {flat.size} rows with mean 0",
            fix='use standardize="zscore", or percent before anything else is removed',
        )  # fmt: skip


def _describe(
    result: xr.DataArray, kept: np.ndarray, low: float | None, high: float | None, standardize: str | None
) -> None:
    """Write into the attributes what the values now are."""
    if low:
        result.attrs["highpass"] = max(float(low), float(result.attrs.get("highpass", 0.0)))
    if high:
        result.attrs["lowpass"] = min(float(high), float(result.attrs.get("lowpass", np.inf)))
    if not kept.all():
        result.attrs["kept"] = np.flatnonzero(kept)
    if standardize is not None:
        result.attrs["units"] = STANDARDS[standardize][1]
