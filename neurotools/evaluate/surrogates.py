"""Surrogates of a recording: what is left of units when their timing has nothing to do with one another."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError
from neurotools.numerics import affinity as maths
from neurotools.schema import Schema, sampling_rate, space_dim
from neurotools.schema.affinity import affinity_parts, session_edges

TRACES = Schema("traces", dims=("subject?", "unit|channel|region", "time"), allow_nan=True)
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # (row, time) of one session


def circular_shift(
    data: xr.DataArray | xr.Dataset, *, min_shift_s: float | None = None, seed: int = 0
) -> xr.DataArray | xr.Dataset:
    """Shift every unit circularly by its own random amount, so that units agree by chance alone.

    Everything about a unit but its alignment is kept: its values, its autocorrelation, how often it moves.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Traces (subject?, unit, time), or a factored affinity: its drives are shifted as its traces would be.
    min_shift_s : float, optional
        Least shift in either direction, in seconds; one sample when omitted. Shifts stay within a session.
    seed : int

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        Like ``data``; attrs ``surrogate`` and ``surrogate_seed`` say what it is.

    Raises
    ------
    SettingsError
        A session is too short for shifts of this size.
    """
    least = 1
    if min_shift_s is not None:
        array = affinity_parts(data).coords["time"] if isinstance(data, xr.Dataset) else data
        least = max(1, round(min_shift_s * sampling_rate(array, "a shift in seconds")))

    def shifted(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        n = values.shape[1]
        if 2 * least >= n:
            raise SettingsError(
                "the recording is too short for circular shifts of this size",
                found=f"{n} samples in a session", expected=f"more than {2 * least} samples",
                fix="choose a smaller min_shift_s",
            )  # fmt: skip
        shifts = rng.integers(least, n - least + 1, size=len(values))
        place = (np.arange(n) - shifts[:, None]) % n
        return np.take_along_axis(values, place, axis=1)

    return _surrogate(data, shifted, "circular shift", seed)


def phase_randomise(
    data: xr.DataArray | xr.Dataset, *, together: bool = False, seed: int = 0
) -> xr.DataArray | xr.Dataset:
    """Give every unit random phases of its own: same spectrum, Gaussian values, no common timing.

    Theiler et al. (1992), Physica D 58, section 2.4; together, Prichard and Theiler (1994), Physical Review
    Letters 73, eq. 3.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Traces (subject?, unit, time), or a factored affinity: its slopes are changed and scaled anew.
    together : bool
        Add the same random phases to all units: correlations between units, at all lags, are kept, and only
        how they change in time is not. The null for changes, where correlation itself is no question.
    seed : int

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        Like ``data``; attrs ``surrogate`` and ``surrogate_seed`` say what it is.
    """
    if together:
        return _surrogate(data, randomised_together, "phase randomised together", seed)
    return _surrogate(data, randomised, "phase randomised", seed)


def randomised_together(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows that all got the same random phases in addition to their own."""
    return randomised(values, rng, n_phases=1)


def randomised(values: np.ndarray, rng: np.random.Generator, n_phases: int | None = None) -> np.ndarray:
    """Rows with the amplitudes of their spectrum and random phases; mean and Nyquist term are kept."""
    n = values.shape[1]
    spectrum = np.fft.rfft(values, axis=1)
    phase = rng.uniform(0, 2 * np.pi, (n_phases or len(spectrum), spectrum.shape[1]))
    phase[:, 0] = 0.0
    if n % 2 == 0:
        phase[:, -1] = 0.0
    return np.fft.irfft(spectrum * np.exp(1j * phase), n=n, axis=1)


# ---- traces and affinities ------------------------------------------------------------------------------
def _surrogate(data: xr.DataArray | xr.Dataset, change: Change, name: str, seed: int):
    rng = np.random.default_rng(seed)
    told = {"surrogate": name, "surrogate_seed": int(seed)}
    if isinstance(data, xr.Dataset):
        return _of_affinity(data, change, rng).assign_attrs(told)
    traces = TRACES.require(data)
    values = traces.to_numpy().astype("float64")
    bad = ~np.isfinite(values)
    lacking = np.isnan(values).all(axis=-1, keepdims=True) & ("subject" in traces.dims)
    if (bad & ~lacking).any():
        raise SchemaError(
            "traces have values that are not finite", code="NT-DATA-003",
            found=f"{int((bad & ~lacking).sum())} of {values.size}",
            fix="only with a dimension 'subject' may a unit lack, all NaN",
        )  # fmt: skip
    values = _changed(traces, values, change, rng)
    return traces.copy(data=values).transpose(*data.dims).assign_attrs(told)


def _changed(like: xr.DataArray, values: np.ndarray, change: Change, rng: np.random.Generator) -> np.ndarray:
    """Change every row of (..., time) within each session; rows that were not observed stay NaN."""
    rows = values.reshape(-1, values.shape[-1])
    pieces = [change(rows[:, start:stop], rng) for start, stop in itertools.pairwise(session_edges(like))]
    return np.concatenate(pieces, axis=1).reshape(values.shape)


def _of_affinity(data: xr.Dataset, change: Change, rng: np.random.Generator) -> xr.Dataset:
    parts = affinity_parts(data)
    if parts.up is None or parts.down is None:
        raise SchemaError("a surrogate needs the factored form of an affinity")
    drives = data["drive_up"].transpose(..., space_dim(data["drive_up"]), "time")
    g = (data["drive_up"] - data["drive_down"]).transpose(*drives.dims).to_numpy()
    changed = _changed(drives, g, change, rng)
    scaled = parts.kernel not in maths.LEVELS | maths.WINDOWED
    normalise = str(data.attrs.get("normalise", "none")) if scaled else "none"
    up, down = maths.rectified(
        changed, maths.NORMALISERS[normalise](changed), float(data.attrs.get("floor", 0))
    )
    made = {"drive_up": up, "drive_down": down}
    if "sent_up" in data:
        lag, edges = int(data.attrs["lag_samples"]), session_edges(drives)
        made |= {"sent_up": maths.lagged_by(up, lag, edges), "sent_down": maths.lagged_by(down, lag, edges)}
    return data.assign({name: (drives.dims, part, {"units": "1"}) for name, part in made.items()})
