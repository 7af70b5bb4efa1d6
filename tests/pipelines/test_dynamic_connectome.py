"""The main job end to end, on every kind of recording, as a pipeline and as a script."""

from __future__ import annotations

import typing
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from neurotools.pipelines import dynamic_connectome
from neurotools.pipelines.again import rebuild_pages
from neurotools.pipelines.dynamic_connectome import Settings, analyse
from neurotools.pipelines.runner import run

import neurotools as nt
from neurotools import schema
from neurotools.errors import NeurotoolsWarning, SchemaError, SettingsError
from neurotools.numerics import affinity as maths

SMALL = nt.NTF(rank=2, n_restarts=2, max_iter=50, seed=0)
QUICK = ["rank=2", "n_restarts=2", "max_iter=50", "degree_corrected=false", "nulls=2"]


def two_groups(rng, n_time: int = 240) -> np.ndarray:
    """Six rows: the first three follow one course, the others another."""
    courses = np.cumsum(rng.normal(size=(2, n_time)), axis=1)
    return courses[[0, 0, 0, 1, 1, 1]] + 0.1 * rng.normal(size=(6, n_time))


def calcium(rng):
    return {"calcium/activity": schema.continuous(two_groups(rng), dim="unit", sfreq=20.0, units="1")}


def regions(rng):
    names = ["a", "b", "c", "d", "e", "f"]
    bold = schema.continuous(two_groups(rng), dim="region", labels=names, sfreq=0.5, units="arbitrary")
    return {"fmri/bold": bold}


def eeg(rng):
    time = np.arange(3000) / 100
    power = np.repeat(np.exp(0.3 * two_groups(rng, 30)), 100, axis=1)
    values = power * np.sin(2 * np.pi * 10 * time) * 1e-6
    names = [f"C{i}" for i in range(6)]
    return {"eeg/signal": schema.continuous(values, dim="channel", labels=names, sfreq=100.0, units="V")}


def spikes(rng):
    rate = np.exp(two_groups(rng, 60) / 3 + 1)
    trains = [np.sort(np.repeat(np.arange(60), rng.poisson(row)) + rng.uniform(size=1)) for row in rate]
    table = schema.spike_table([np.unique(train) for train in trains], t_start=0.0, t_stop=61.0)
    return {"spikes": table}


@pytest.mark.parametrize(
    ("make", "dim", "options"),
    [
        (calcium, "unit", {"smooth_s": 0.1}),
        (regions, "region", {}),
        (eeg, "channel", {"band": (8.0, 12.0)}),
        (spikes, "unit", {"bin_width_s": 1.0}),
    ],
)
def test_the_same_pipeline_works_on_every_kind_of_recording(rng, make, dim, options):
    recording = schema.recording_tree(make(rng))
    result = analyse(recording, Settings(model=SMALL, nulls=2, **options))
    assert set(result.children) == {"fit", "communities", "connectome", "null"}
    assert result["fit/motif"].dims == ("component", dim, f"{dim}_to")
    assert result["connectome/label"].dims == ("component", dim)
    assert float(result["fit"].attrs["relative_error"]) < 0.9
    tables = dynamic_connectome.tables(result)
    assert set(tables["communities"]) >= {"component", dim, "label"}
    assert len(tables["intervals"]) > 0


def test_a_clock_that_is_not_regular_is_mended_only_when_asked(rng):
    time = np.arange(240) / 20 + 0.01 * rng.uniform(size=240)
    activity = schema.continuous(two_groups(rng), dim="unit", time=time, units="1")
    recording = schema.recording_tree({"calcium/activity": activity})
    with pytest.raises(SchemaError, match="regular clock"):
        analyse(recording, Settings(model=SMALL, smooth_s=0.1))
    result = analyse(recording, Settings(model=SMALL, smooth_s=0.1, sfreq=20.0, nulls=0))
    np.testing.assert_allclose(np.diff(result["fit/time"]), 0.05, rtol=1e-9)
    with pytest.raises(SettingsError, match="rate, in Hz"):
        Settings(sfreq=-1.0)


@pytest.fixture(scope="module")
def two_animals(tmp_path_factory):
    """Folder of ``in/anna.nc``, ``in/berta.nc``, and of what one run of both wrote to ``out``."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "in").mkdir()
    rng = np.random.default_rng(20261121)
    for name in ("anna", "berta"):
        nt.save(schema.recording_tree(calcium(rng)), folder / "in" / f"{name}.nc")
    outcome = run("dynamic-connectome", folder / "in", folder / "out", overrides=["smooth_s=0.1", *QUICK])
    assert outcome.exit_status == 0, outcome.records[0].traceback
    return folder


def test_the_command_says_what_the_script_says(two_animals):
    """The lines of a script and the pipeline give one content."""
    path, out = two_animals / "in" / "anna.nc", two_animals / "out" / "anna"
    affinity = nt.differential_affinity(nt.load(path)["calcium/activity"], smooth_s=0.1)
    fit = SMALL.fit(affinity)
    communities = nt.BlockModel(degree_corrected=False).fit(nt.motif(fit))
    connectome = nt.dynamic_connectome(fit, communities)
    result = nt.open_fit(out / "fit.nc")
    for name, made in {"fit": fit, "communities": communities, "connectome": connectome}.items():
        assert nt.content_hash(result[name].to_dataset()) == nt.content_hash(made), name
    assert nt.model_of(result["fit"].to_dataset()) == SMALL
    intervals = pd.read_csv(out / "tables" / "intervals.tsv", sep="\t")
    assert len(intervals) == len(nt.connectome_table(connectome))


def test_the_songbird_gets_a_page_and_is_not_done_twice(tmp_path):
    how = {"overrides": ["smooth_s=0.0666", *QUICK, "rank=1"]}
    outcome = run("dynamic-connectome", "songbird-hvc", tmp_path, **how)
    assert outcome.exit_status == 0, outcome.records[0].traceback
    page = (tmp_path / "report.html").read_text()
    assert "zebra finch" in page
    assert "<script src" not in page
    pictures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"motifs.png", "motifs.svg", "time_loadings.png", "communities_over_time.svg"} <= pictures
    assert run("dynamic-connectome", "songbird-hvc", tmp_path, **how).records[0].status == "skipped"


def test_several_recordings_are_compared_side_by_side(two_animals):
    out = two_animals / "out"
    group = nt.open_fit(out / "group.nc")
    assert list(group["recording"].to_numpy()) == ["anna", "berta"]
    one = nt.open_fit(out / "anna" / "fit.nc")["fit"].attrs
    assert float(group["relative_error"].sel(recording="anna")) == one["relative_error"]


def test_several_subjects_in_one_recording_share_their_motifs(rng):
    import xarray as xr

    both = [regions(rng)["fmri/bold"] for _ in range(2)]
    bold = xr.concat(both, dim=xr.DataArray(["s1", "s2"], dims="subject", name="subject"))
    bold.attrs = both[0].attrs
    result = analyse(schema.recording_tree({"fmri/bold": bold}), Settings(model=SMALL, nulls=0))
    assert result["fit/subject_loading"].dims == ("component", "subject")


def test_recordings_of_a_folder_may_be_animals_that_share_their_motifs(rng, tmp_path):
    rows = two_groups(rng)
    kept = {"first": [0, 1, 2, 3, 4], "second": [5, 4, 3, 1, 0], "third": [0, 1, 2, 3, 4, 5]}  # units of each
    (tmp_path / "animals").mkdir()
    traces = {}
    for name, units in kept.items():
        values = rows[units] + 0.1 * rng.normal(size=(len(units), rows.shape[1]))
        labels = [f"u{k}" for k in units]
        traces[name] = schema.continuous(values, dim="unit", labels=labels, sfreq=20.0, units="1")
        nt.save(
            schema.recording_tree({"calcium/activity": traces[name]}), tmp_path / "animals" / f"{name}.nc"
        )
    overrides = ["join_subjects=true", "smooth_s=0.1", *QUICK]
    outcome = run("dynamic-connectome", tmp_path / "animals", tmp_path / "out", overrides=overrides)
    assert outcome.exit_status == 0, outcome.records[0].traceback
    fit = nt.open_fit(tmp_path / "out" / "fit.nc")["fit"].to_dataset()
    by_hand = nt.differential_affinity(nt.join_subjects(traces), smooth_s=0.1)
    np.testing.assert_allclose(fit["motif"], SMALL.fit(by_hand)["motif"])
    assert fit["subject"].to_numpy().tolist() == list(kept)
    assert fit["unit"].to_numpy().tolist() == ["u0", "u1", "u2", "u3", "u4", "u5"]
    again = run("dynamic-connectome", tmp_path / "animals", tmp_path / "out", overrides=overrides)
    assert [record.status for record in again.records] == ["skipped"]
    assert rebuild_pages(tmp_path / "out") == [tmp_path / "out" / "report.html"]
    with pytest.raises(SettingsError, match="several recordings are joined"):
        run("dynamic-connectome", tmp_path / "animals" / "first.nc", tmp_path / "no", overrides=overrides)


def test_a_layout_without_motifs_gets_communities_too(rng):
    settings = Settings(model=nt.NTF(rank=2, layout="symcp", n_restarts=2, max_iter=50), nulls=0)
    result = analyse(schema.recording_tree(calcium(rng)), settings)
    assert "unit_loading" in result["fit"].data_vars
    assert result["connectome/label"].dims == ("component", "unit")


def test_ranks_are_compared_when_asked_for(rng, tmp_path):
    nt.save(schema.recording_tree(calcium(rng)), tmp_path / "a.nc")
    out = tmp_path / "out"
    outcome = run("dynamic-connectome", tmp_path / "a.nc", out, overrides=[*QUICK, "rank_scan=[1,2]"])
    assert outcome.exit_status == 0, outcome.records[0].traceback
    scan = nt.open_fit(out / "fit.nc")["rank_scan"].to_dataset()
    assert list(scan["rank"].to_numpy()) == [1, 2]
    assert (out / "figures" / "rank_scan.png").exists()


@pytest.mark.parametrize("layout", ["pair", "cp"])
def test_ordered_pairs_go_through_to_communities_of_both_directions(rng, layout):
    recording = schema.recording_tree(calcium(rng))
    settings = Settings(
        kernel="lagged", lag_s=0.1, smooth_s=0.1, model=replace(SMALL, layout=layout), nulls=2, replicates=2
    )
    result = analyse(recording, settings)
    assert result["communities"].attrs["pairs"] == "mean of both directions"
    matrix = nt.motif(result["fit"].to_dataset())
    again = settings.communities.fit(nt.undirected(matrix))
    xr.testing.assert_equal(result["communities"]["label"], again["label"])
    page = dynamic_connectome.page(recording, result, {}, settings, {})
    assert "the weight of a pair was the mean of both directions" in page


def test_communities_may_be_of_edges_above_chance(rng):
    recording = schema.recording_tree(calcium(rng))
    settings = Settings(smooth_s=0.1, model=SMALL, nulls=0, edge_nulls=19)
    result = analyse(recording, settings)
    kept = result["edges/motif"]
    assert 0 < int((kept > 0).sum()) <= int((result["fit/motif"] > 0).sum())
    again = settings.communities.fit(kept)
    xr.testing.assert_equal(result["communities"]["label"], again["label"])
    assert "above the strongest of 19 surrogates" in result["communities"].attrs["edges"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kernel": "lagged"}, "go together"),
        ({"lag_s": 0.1}, "go together"),
        ({"kernel": "lagged", "lag_s": 0.1, "model": nt.NTF(2, layout="symcp")}, "not for the ordered pairs"),
        ({"model": nt.NTF(2, layout="cp")}, "not for the pairs"),
        ({"edge_nulls": 5}, "at least 19"),
        ({"edge_nulls": 19, "model": nt.NTF(2, layout="symcp")}, "weight of its own"),
    ],
)
def test_settings_of_pairs_are_checked_before_any_work(wrong, said):
    with pytest.raises(SettingsError, match=said):
        Settings(**wrong)


def test_spikes_need_a_bin_width_and_say_so(rng):
    recording = schema.recording_tree(spikes(rng))
    with pytest.raises(SettingsError, match=r"(?s)width has to be said.*--set bin_width_s"):
        analyse(recording, Settings(model=SMALL))


def test_of_several_arrays_one_is_named(rng):
    recording = schema.recording_tree({**calcium(rng), **regions(rng)})
    with pytest.raises(SchemaError, match="several arrays"):
        analyse(recording, Settings(model=SMALL))
    result = analyse(recording, Settings(model=SMALL, signal="fmri/bold", nulls=0))
    assert "region" in result["fit"].dims
    with pytest.raises(SettingsError, match=r"(?s)no array 'fmri/bolt'.*Did you mean 'fmri/bold'"):
        analyse(recording, Settings(model=SMALL, signal="fmri/bolt"))


@pytest.mark.parametrize(
    "wrong",
    [{"smooth_s": -1.0}, {"band": (12.0, 8.0)}, {"bin_width_s": 0.0}, {"threshold": 1.0}, {"rank_scan": ()}],
)
def test_impossible_settings_are_refused_before_any_work(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Settings(**wrong)


def test_the_kernels_that_may_be_set_are_those_there_are():
    assert set(typing.get_args(dynamic_connectome.Kernel)) == set(maths.KERNELS)
    assert set(typing.get_args(dynamic_connectome.Normalise)) == set(maths.NORMALISERS)


def test_tests_of_motifs_stand_in_the_result_the_tables_and_the_page(tmp_path):
    source, _ = nt.simulate.stimulated_communities(
        n_units=10, n_motifs=2, n_subjects=4, missing=0.1, duration_s=110.0, sfreq=5.0, seed=0
    )
    nt.save(source, tmp_path / "animals.nc")
    quick = [*QUICK[:-1], "smooth_s=0.4", "normalise=none", "nulls=19", "replicates=2", "min_pause_s=1.0"]
    told = ["conditions=events/trial_type", "permutations=99"]
    outcome = run("dynamic-connectome", tmp_path / "animals.nc", tmp_path / "out", overrides=[*quick, *told])
    assert outcome.exit_status == 0, outcome.records
    result = nt.open_fit(tmp_path / "out" / "fit.nc")
    assert result["fit"]["subject_loading"].sizes == {"component": 2, "subject": 4}
    assert (result["null"]["ratio"] > 1).all()
    again = nt.compare_conditions(
        result["fit"].to_dataset(), source["events"].to_dataset(), n_permutations=99
    )
    xr.testing.assert_equal(result["conditions"].to_dataset(), again)
    assert {"coassignment", "active_prob", "edge_sd", "interval_support"} <= set(
        result["uncertainty"].data_vars
    )
    motifs = pd.read_csv(tmp_path / "out/tables/motifs.tsv", sep="\t")
    np.testing.assert_allclose(motifs["p_corrected"], result["null"]["p_corrected"])
    assert pd.read_csv(tmp_path / "out/tables/conditions.tsv", sep="\t").shape[0] == 4
    drawn = {path.stem for path in (tmp_path / "out/figures").glob("*.png")}
    assert {"motif_null", "active_prob", "coassignment", "conditions", "subject_loadings"} <= drawn
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "Which motifs change between conditions?" in page


def test_what_tells_conditions_is_looked_for_by_name(rng):
    recording = schema.recording_tree(calcium(rng), kind="calcium")
    recording["events"] = schema.events_table([1.0, 3.0], 1.0, ["a", "b"])
    traces = recording["calcium/activity"]
    table, column = dynamic_connectome.conditions_of(recording, traces, "events/trial_type")
    assert (column, table["onset"].values.tolist()) == ("trial_type", [1.0, 3.0])
    labelled = traces.assign_coords(phase=("time", np.repeat(["x", "y"], 120)))
    found, _ = dynamic_connectome.conditions_of(recording, labelled, "phase")
    assert found.dims == ("time",)
    assert "phase" not in found.coords  # else it has no content hash
    nt.content_hash(found)
    with pytest.raises(SettingsError, match=r"'events/trial_typ'.*events/trial_type"):
        dynamic_connectome.conditions_of(recording, traces, "events/trial_typ")
    for wrong in ({"nulls": -1}, {"replicates": 1}, {"min_pause_s": -1.0}, {"max_units": 1}, {"low": 0.0}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            Settings(**wrong)


def test_too_little_time_for_a_null_is_said_and_the_rest_goes_on(rng):
    recording = schema.recording_tree(
        {"calcium/activity": schema.continuous(two_groups(rng, 40), dim="unit", sfreq=20.0, units="1")},
        kind="calcium",
    )
    with pytest.warns(NeurotoolsWarning, match="not compared with chance: there is too little time"):
        result = analyse(recording, Settings(model=SMALL, smooth_s=0.1))
    assert "null" not in result.children
