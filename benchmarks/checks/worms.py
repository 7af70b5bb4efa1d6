"""Four freely moving worms, fitted one by one: whether motifs follow behaviour."""

from __future__ import annotations

import numpy as np
import xarray as xr

import neurotools as nt
from benchmarks.record import Row, shared
from neurotools.evaluate.nulls import fisher_combined

FOLDER = "data/calcium_celegans_wholebrain_h5"
BEHAVIOURS = ("velocity", "reversal_vec")
SMOOTH_S = 1.2  # two frames, as for the songbird
N_SHIFTS = 1000
MIN_SHIFT_S = 20.0


def behaviour() -> list[Row]:
    """Largest absolute rank correlation over motifs and {velocity, reversal}, against shifted behaviour.

    Rank 8 and a smoothing of two frames were fixed beforehand. The files name no neurons, so units cannot be
    matched across worms and each is fitted alone.
    """
    rows = []
    for file in sorted(shared(FOLDER).glob("*.h5")):
        found = association(nt.load(file))
        low, high = np.quantile(found["null"], [0.025, 0.975])
        note = f"statistic {float(found['statistic']):.3f}, null {low:.3f} to {high:.3f}"
        rows.append(Row(f"p, worm {file.stem}", float(found["p_value"]), note=note))
    combined = fisher_combined(np.array([row.number for row in rows]))
    return [*rows, Row("Fisher's combined p over four worms", combined, "<= 0.01")]


def association(recording: xr.DataTree) -> xr.Dataset:
    """The test on one worm, traces and behaviour both put on the regular clock of the median step."""
    activity = recording["calcium/activity"]
    sfreq = 1.0 / float(np.median(np.diff(activity["time"])))
    affinity = nt.differential_affinity(nt.resample(activity, sfreq=sfreq), smooth_s=SMOOTH_S)
    fit = nt.NTF(rank=8, n_restarts=10, seed=0).fit(affinity)
    moves = recording["behaviour"].to_dataset()[list(BEHAVIOURS)].astype("float64")
    regular = moves.interp(time=fit["time"]).drop_vars("time")
    return nt.association_test(
        fit["time_loading"], regular, n_shifts=N_SHIFTS, min_shift_s=MIN_SHIFT_S, seed=0
    )
