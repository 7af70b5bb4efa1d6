"""Spikes to brain states, as a pipeline and as a script."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from neurotools.pipelines.brain_states import Settings, analyse
from neurotools.pipelines.runner import run

import neurotools as nt
from neurotools import schema
from neurotools.errors import SettingsError

QUICK = ["n_states=2", "n_restarts=1", "max_iter=10"]


@pytest.fixture(scope="module")
def population():
    recording, truth = nt.simulate.switching_population(n_units=4, n_sessions=3, duration_s=12, seed=0)
    return recording, truth


@pytest.fixture(scope="module")
def done(population, tmp_path_factory):
    folder = tmp_path_factory.mktemp("population")
    path = nt.save(population[0], folder / "population.nc")
    outcome = run("brain-states", path, folder / "out", overrides=QUICK)
    assert outcome.exit_status == 0, outcome.records[0].traceback
    return folder / "out"


def test_the_command_says_what_the_script_says(population, done):
    counts = population[0]["counts/counts"]
    model = nt.SwitchingGLM(n_states=2, n_restarts=1, max_iter=10)
    fit = model.fit(counts, nt.glm_design(counts, nt.ExponentialHistory()))
    result = nt.open_fit(done / "fit.nc")
    assert nt.content_hash(result["fit"].to_dataset()) == nt.content_hash(fit)
    assert result["scan"].attrs["cv"] == "session"


def test_tables_pictures_and_page_are_complete(done):
    tables = {path.stem: pd.read_csv(path, sep="\t") for path in (done / "tables").iterdir()}
    assert set(tables) == {"states", "couplings", "dwell_times", "transitions", "heldout"}
    assert len(tables["couplings"]) == 2 * 4 * 4
    assert len(tables["states"]) == 1800
    assert set(tables["heldout"]["n_states"]) == {1, 2}
    names = {path.stem for path in (done / "figures").iterdir()}
    assert names == {
        "state_prob", "couplings", "coupling_graphs", "coupling_changes", "transitions", "dwell_times",
        "heldout",
    }  # fmt: skip
    text = (done / "report.html").read_text()
    for words in (
        "Spikes of 4 units in 1,800 bins in 3 sessions", "neither a synapse nor a cause", "Escola",
        "one exponential of decay 1", "nt.glm_design(data, nt.ExponentialHistory(decay=1.0, n_lags=5))",
        "bits per spike",
    ):  # fmt: skip
        assert words in text, words


def test_spikes_are_counted_in_bins_and_units_are_chosen(rng):
    trains = [np.sort(rng.uniform(0, 20, 60)) for _ in range(4)]
    recording = schema.recording_tree({"spikes": schema.spike_table(trains, t_start=0.0, t_stop=20.0)})
    with pytest.raises(SettingsError, match=r"(?s)width has to be said.*--set bin_width_s"):
        analyse(recording, Settings())
    model = nt.SwitchingGLM(n_states=1, max_iter=5)
    settings = Settings(
        bin_width_s=0.1, units=("0", "2"), history=nt.RaisedCosine(n=2, last_s=0.5), model=model
    )
    result = analyse(recording, settings)
    assert result["fit/weight"].shape == (1, 2, 2, 2)
    assert list(result["fit/unit"].to_numpy()) == [0, 2]
    assert result["scan"].attrs["cv"] == "time"
    with pytest.raises(SettingsError, match="no unit '9'"):
        analyse(recording, Settings(bin_width_s=0.1, units=("9",), model=model))


def test_impossible_settings_are_refused():
    with pytest.raises(SettingsError, match="bin_width_s"):
        Settings(bin_width_s=0.0)
    with pytest.raises(SettingsError, match="compare"):
        Settings(compare=(2, 2))
