"""Data that functions cannot work with, and what they answer: printed as JSON, without the type checker."""

from __future__ import annotations

import dataclasses
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
    "connectivity": nt.connectivity,
    "dynamic_connectivity": lambda x: nt.dynamic_connectivity(x, window_s=4.0),
}
# What needs something else altogether.
OTHERS = {
    "load": nt.load,
    "save": lambda x: nt.save(x, "never.nc"), "open_fit": nt.open_fit, "model_of": nt.model_of,
    "signal": nt.signal, "validate": nt.validate, "content_hash": nt.content_hash, "motif": nt.motif,
    "undirected": nt.undirected,
    "bin_spikes": lambda x: nt.bin_spikes(x, width_s=0.1), "dense_affinity": nt.dense_affinity,
    "TensorModel": nt.TensorModel("cp", 2).fit, "bootstrap_motifs": lambda x: nt.bootstrap_motifs(MODEL, x),
    "join_subjects": lambda x: nt.join_subjects({"a": x, "b": x}),
    "motif_null": lambda x: nt.motif_null(MODEL, x),
    "motif_edges": lambda x: nt.motif_edges(x, MODEL.fit(x)),
    "match_communities": nt.match_communities,
    "plot_drawn_communities": nt.plot.plot_drawn_communities,
    "motif_communities": lambda x: nt.motif_communities(nt.BlockModel(), x),
    "compare_conditions": lambda x: nt.compare_conditions(x, x),
    "community_uncertainty": lambda x: nt.community_uncertainty(nt.BlockModel(), x),
    "interval_uncertainty": lambda x: nt.interval_uncertainty(x, x),
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
    "active_units": lambda x: nt.active_units(x, 1.0), "merge_bins": lambda x: nt.merge_bins(x, 0.2),
    "choice_design": nt.choice_design, "glm_design": nt.glm_design, "dwell_times": nt.dwell_times,
    "group_connectivity": lambda x: nt.group_connectivity({"a": x}), "tangent_space": nt.tangent_space,
    "window_summary": nt.window_summary, "quality": nt.quality,
    "with_confounds": lambda x: nt.with_confounds(x, "a.tsv"),
    "match_states": lambda x: nt.match_states(x, x),
    "probe": lambda x: nt.probe(x, "condition", "recording"),
    "rank_scan": lambda x: nt.rank_scan(MODEL, x, [1, 2]),
    "select_states": lambda x: nt.select_states(nt.SwitchingGLM(2), x, x),
    "plot_motif_null": nt.plot.plot_motif_null, "plot_active_prob": nt.plot.plot_active_prob,
    "plot_coassignment": lambda x: nt.plot.plot_coassignment(x, 0),
    "plot_conditions": nt.plot.plot_conditions,
    "plot_circuit": lambda x: nt.plot.plot_circuit(x, 0), "plot_connectivity": nt.plot.plot_connectivity,
    "plot_description_length": nt.plot.plot_description_length,
    "plot_level": lambda x: nt.plot.plot_level(x, "eeg"),
    "plot_power": lambda x: nt.plot.plot_power(x, "eeg"),
    "plot_motif": lambda x: nt.plot.plot_motif(x, 0), "plot_probe": lambda x: nt.plot.plot_probe({"a": x}),
    "plot_rank_scan": nt.plot.plot_rank_scan, "plot_spectrogram": nt.plot.plot_spectrogram,
    "plot_subject_loadings": nt.plot.plot_subject_loadings, "plot_training": nt.plot.plot_training,
    "plot_transition": nt.plot.plot_transition, "plot_window_strength": nt.plot.plot_window_strength,
}  # fmt: skip
# What takes no data.
WITHOUT_DATA = {"ConfoundStrategy", "build"}
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


# Settings that hold numbers, with the fields that they cannot do without.
SETTINGS = {
    nt.NTF: {"rank": 2}, nt.TensorModel: {"kind": "cp", "rank": 2}, nt.SwitchingGLM: {"n_states": 2},
    nt.BlockModel: {}, nt.BiCluster: {}, nt.FiniteMixture: {}, nt.DirichletProcess: {}, nt.StickyHDP: {},
    nt.RidgePrior: {}, nt.GaussianPrior: {}, nt.OneHotPrior: {}, nt.GroupLasso: {}, nt.ExponentialHistory: {},
    nt.RaisedCosine: {"n": 3, "last_s": 0.2},
}  # fmt: skip


def untested() -> dict[str, str]:
    """Public functions that stand in no table here."""
    public = [(name, getattr(nt, name)) for name in nt.__all__]
    public += [(name, getattr(nt.plot, name)) for name in dir(nt.plot) if name.startswith("plot_")]
    known = {*STEPS, *OTHERS, *WITHOUT_DATA, *(kind.__name__ for kind in SETTINGS)}
    return {name: "stands in no table" for name, thing in public if callable(thing) and name not in known}


def wrong_settings() -> dict[str, str]:
    """Fields of settings that take what they cannot use, or refuse a number of NumPy that they can."""
    found = {}
    for kind, needed in SETTINGS.items():
        default = kind(**needed)
        for field in dataclasses.fields(kind):
            if field.type not in {"int", "float"}:
                continue
            name = f"{kind.__name__}.{field.name}"

            def made_with(value, kind=kind, needed=needed, field=field):
                return kind(**needed | {field.name: value})

            bad = ["2", None, True, np.nan, -np.inf] + [2.5] * (field.type == "int")
            found |= wrong_answers({name: made_with}, {repr(value): value for value in bad})
            value = getattr(default, field.name)
            same = made_with(np.asarray(value)[()])
            if same != default or type(getattr(same, field.name)) is not type(value):
                found[name] = "a number of NumPy is not taken as a plain one"
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found = wrong_answers(STEPS, BAD_TRACES) | wrong_answers(OTHERS, NO_DATA) | wrong_settings() | untested()
    print(json.dumps(found))
