"""Data that functions cannot work with, and what they answer: printed as JSON, without the type checker."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import xarray as xr

import neurotools as nt
from neurotools.errors import NeurotoolsError
from neurotools.schema import events_table

N = 400
TIME = np.arange(N) / 20


def traces(**coords) -> xr.DataArray:
    values = np.random.default_rng(0).normal(size=(5, N))
    return xr.DataArray(values, {"time": TIME, **coords}, ("unit", "time"), "x", {"units": "1"})


GOOD = traces()
FEATURE = GOOD.isel(unit=0, drop=True)
MODEL = nt.NTF(rank=2, max_iter=3, n_restarts=1)
# What can be done with traces.
STEPS = {
    "filter": lambda x: nt.filter(x, low=1, high=5),
    "resample": lambda x: nt.resample(x, 10),
    "rereference": nt.rereference,
    "epochs": lambda x: nt.epochs(x, events_table([2.0, 3.0]), tmin=-0.1, tmax=0.2),
    "windows": lambda x: nt.windows(x, length_s=1.0),
    "band_power": lambda x: nt.band_power(x, {"a": (1, 5)}),
    "clean": nt.clean,
    "dff": lambda x: nt.dff(x, window_s=2.0),
    "psth": lambda x: nt.psth(x, [2.0, 3.0]),
    "tuning_curve": lambda x: nt.tuning_curve(x, FEATURE),
    "differential_affinity": nt.differential_affinity,
    "stream_affinity": lambda x: nt.stream_affinity(x, Path(tempfile.mkdtemp()) / "never.zarr"),
    "circular_shift": nt.circular_shift,
    "phase_randomise": nt.phase_randomise,
    "sequence_test": lambda x: nt.sequence_test(x, [1.0, 2.0, 3.0]),
    "association_test": lambda x: nt.association_test(x, FEATURE.to_dataset()),
    "to_mne": nt.to_mne,
}
# What needs something else altogether.
OTHERS = {
    "load": nt.load,
    "save": lambda x: nt.save(x, "never.nc"), "open_fit": nt.open_fit, "model_of": nt.model_of,
    "signal": nt.signal, "validate": nt.validate, "content_hash": nt.content_hash, "motif": nt.motif,
    "bin_spikes": lambda x: nt.bin_spikes(x, width_s=0.1), "dense_affinity": nt.dense_affinity,
    "TensorModel": nt.TensorModel("cp", 2).fit, "bootstrap_motifs": lambda x: nt.bootstrap_motifs(MODEL, x),
    "core_consistency": lambda x: nt.core_consistency(x, x), "NTF": MODEL.fit,
    "BlockModel": nt.BlockModel().fit, "connectome_table": nt.connectome_table,
    "dynamic_connectome": lambda x: nt.dynamic_connectome(x, x), "to_pynapple": nt.to_pynapple,
    "from_mne": nt.from_mne, "from_pynapple": nt.from_pynapple, "from_nwb": nt.from_nwb,
    "confounds": lambda x: nt.confounds(x, nt.ConfoundStrategy()), "loud_syllables": nt.loud_syllables,
    "plot_motifs": lambda x: nt.plot.plot_motifs(x, x), "plot_traces": nt.plot.plot_traces,
    "plot_unit_loadings": nt.plot.plot_unit_loadings, "plot_error": nt.plot.plot_error,
    "plot_time_loadings": nt.plot.plot_time_loadings, "plot_quality": nt.plot.plot_quality,
    "plot_communities_over_time": nt.plot.plot_communities_over_time,
    "plot_restart_similarity": nt.plot.plot_restart_similarity,
    "point_partition": nt.point_partition, "convergence": nt.convergence,
    "posterior_check": nt.posterior_check,
    "require_converged": nt.require_converged, "heldout_score": nt.heldout_score,
    "state_similarity": nt.state_similarity, "cluster_table": nt.cluster_table, "state_table": nt.state_table,
    "cluster_latents": lambda x: nt.cluster_latents(x, x), "heldout": lambda x: nt.heldout(MODEL, x),
    "sensitivity": lambda x: nt.sensitivity(MODEL, x, {}), "plot_flow": nt.plot.plot_flow,
    "plot_unit_similarity": nt.plot.plot_unit_similarity, "plot_rate": nt.plot.plot_rate,
    "plot_state_similarity": nt.plot.plot_state_similarity, "plot_number": nt.plot.plot_number,
    "plot_state_sequence": nt.plot.plot_state_sequence, "plot_convergence": nt.plot.plot_convergence,
    "plot_cluster_latents": nt.plot.plot_cluster_latents, "plot_calibration": nt.plot.plot_calibration,
    "psychometric": lambda x: nt.psychometric(x, x, x), "to_arviz": nt.to_arviz,
    "type_calibration": lambda x: nt.type_calibration(x, x), "plot_couplings": nt.plot.plot_couplings,
    "plot_all_couplings": nt.plot.plot_all_couplings, "plot_state_prob": nt.plot.plot_state_prob,
    "plot_transition_diagram": nt.plot.plot_transition_diagram, "plot_state_scan": nt.plot.plot_state_scan,
    "plot_dwell_times": nt.plot.plot_dwell_times, "plot_state_weights": nt.plot.plot_state_weights,
    "plot_psychometric": nt.plot.plot_psychometric,
    "plot_type_calibration": nt.plot.plot_type_calibration,
    "time_rescaling": lambda x: nt.time_rescaling(x, x),
    "state_triggered_average": lambda x: nt.state_triggered_average(x, x),
    "SwitchingGLM": lambda x: nt.SwitchingGLM(2).fit(x, x),
}  # fmt: skip
NO_DATA = {"nothing": None, "a list": [1, 2], "an array without labels": GOOD.to_numpy(), "a number": 3}
BAD_TRACES = {
    "NaN": GOOD.where(GOOD["time"] != TIME[3]),
    "infinite": GOOD.where(GOOD["time"] != TIME[3], np.inf),
    "labels twice": traces(unit=[0, 0, 1, 2, 3]),
    "other dimensions": GOOD.rename(unit="foo", time="bar"),
    "no units": GOOD.isel(unit=[]),
    "no samples": GOOD.isel(time=[]),
    "text": xr.DataArray(np.full((5, N), "a"), dims=("unit", "time"), coords={"time": TIME}),
    "complex": GOOD.astype(complex),
    "objects": GOOD.astype(object),
    "time backwards": GOOD.isel(time=slice(None, None, -1)),
    "time with NaN": GOOD.assign_coords(time=np.r_[np.nan, TIME[1:]]),
    "dates": GOOD.assign_coords(time=np.datetime64("2020-01-01") + np.arange(N) * np.timedelta64(50, "ms")),
    "a dataset": GOOD.to_dataset(),
    "an empty recording": xr.DataTree(),
    **NO_DATA,
}


def wrong_answers(functions, table) -> dict[str, str]:
    """What is not answered with a named error, and what came in its place."""
    found = {}
    for name, function in functions.items():
        for what, data in table.items():
            try:
                function(data)
            except NeurotoolsError:
                continue
            except Exception as error:
                found[f"{name}: {what}"] = repr(error)[:200]
            else:
                found[f"{name}: {what}"] = "accepted"
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(wrong_answers(STEPS, BAD_TRACES) | wrong_answers(OTHERS, NO_DATA)))
