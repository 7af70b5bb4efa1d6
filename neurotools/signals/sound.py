"""Events in a sound, from its spectrogram."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError
from neurotools.schema import Schema, events_table, sampling_rate

SPECTROGRAM = Schema("a spectrogram", dims=("frequency", "time"))


def loud_syllables(
    spectrogram: xr.DataArray, *, level: float = 0.5, min_s: float = 0.06, merge_s: float = 0.05
) -> xr.Dataset:
    """Find stretches of sound whose summed power exceeds a fraction of its maximum.

    Parameters
    ----------
    spectrogram : DataArray (frequency, time)
        Magnitude, not negative.
    level : float
        Fraction of the largest summed power, between 0 and 1.
    min_s : float
        Shorter stretches are not counted, in seconds.
    merge_s : float
        Stretches nearer than this are one, in seconds.

    Returns
    -------
    Dataset (event)
        ``onset`` and ``duration`` in seconds; ``trial_type`` is ``"syllable"``.
    """
    if not 0 < level < 1:
        raise SettingsError("level is a fraction between 0 and 1", found=level)
    spectrogram = SPECTROGRAM.require(spectrogram)
    sfreq = sampling_rate(spectrogram, "finding syllables")
    power = spectrogram.to_numpy().sum(axis=0)
    edges = np.diff(np.concatenate([[0], (power > level * power.max()).astype("int8"), [0]]))
    start, stop = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    apart = np.flatnonzero(start[1:] - stop[:-1] > merge_s * sfreq)
    start, stop = start[np.concatenate([[0], apart + 1])], stop[np.concatenate([apart, [stop.size - 1]])]
    long = stop - start >= min_s * sfreq
    if not long.any():
        raise SchemaError(
            "no sound exceeds the level for long enough", code="NT-DATA-010", found=f"level {level}"
        )
    time = spectrogram["time"].to_numpy()
    return events_table(time[start[long]], (stop - start)[long] / sfreq, "syllable")
