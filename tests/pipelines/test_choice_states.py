"""Choices to strategies, as a pipeline and as a script; and what its page says."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pandas as pd
import pytest
from neurotools.pipelines.choice_states import Settings, analyse
from neurotools.pipelines.runner import run

import neurotools as nt
from neurotools.errors import SettingsError

QUICK = ["n_restarts=1", "max_iter=15"]


@pytest.fixture(scope="module")
def mouse(tmp_path_factory):
    recording, _ = nt.simulate.switching_choices(n_sessions=4, n_trials=100, seed=5)
    return nt.save(recording, tmp_path_factory.mktemp("mouse") / "mouse.nc")


@pytest.fixture(scope="module")
def done(mouse, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    outcome = run("choice-states", mouse, out, overrides=QUICK)
    assert outcome.exit_status == 0, outcome.records[0].traceback
    return out


def test_the_command_says_what_the_script_says(mouse, done):
    recording = nt.load(mouse)
    choice, design = recording["behaviour/choice"], nt.choice_design(recording)
    model = nt.SwitchingGLM(n_states=3, family="bernoulli", n_restarts=1, max_iter=15)
    fit = model.fit(choice, design)
    states = model.predict(fit, choice, design)
    result = nt.open_fit(done / "fit.nc")
    made = {"fit": fit, "states": states, "psychometric": nt.psychometric(fit, choice, design)}
    for name, entry in made.items():
        assert nt.content_hash(result[name].to_dataset()) == nt.content_hash(entry), name
    assert list(result["scan/n_states"].to_numpy()) == [1, 3]
    assert nt.model_of(result["fit"].to_dataset()) == model


def test_tables_and_pictures_are_complete(done):
    tables = {path.stem: pd.read_csv(path, sep="\t") for path in (done / "tables").iterdir()}
    assert set(tables) == {"states", "weights", "psychometric", "dwell_times", "transitions", "heldout"}
    assert len(tables["states"]) == 400
    assert {"trial", "session", "state", "probability_0", "probability_2"} <= set(tables["states"])
    assert set(tables["weights"]["feature"]) == {"bias", "stimulus", "choice_back_1"}
    assert len(tables["weights"]) == 9
    assert tables["transitions"].groupby("state")["probability"].sum().to_numpy() == pytest.approx(1)
    assert {"low", "high", "p_choice", "stimulus"} <= set(tables["psychometric"])
    names = {path.stem for path in (done / "figures").iterdir()}
    assert names == {"weights", "psychometric", "state_prob", "transitions", "dwell_times", "heldout"}


class Page(HTMLParser):
    """Tags that do not match, and the text of pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.alts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.alts.append(dict(attrs)["alt"])
        if tag not in {"meta", "link", "img", "br", "hr"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_says_what_was_found_and_how_far_it_goes(done):
    text = (done / "report.html").read_text()
    page = Page(text)
    assert not page.open
    assert len(page.alts) == 6
    for words in (
        "400 choices in 4 sessions are described by 3 states", "than by one state (standard error", "Ashwood",
        "It is not by itself attention", "bits per trial", "nt.choice_design(recording, n_back=1)",
    ):  # fmt: skip
        assert words in text, words
    seed = json.loads((done / "provenance.json").read_text())["seeds"]["model.seed"]
    assert f"(seed {seed})" in text


def test_it_is_not_done_twice_and_the_group_is_compared(mouse, done):
    assert run("choice-states", mouse, done, overrides=QUICK).records[0].status == "skipped"


def test_the_number_of_states_is_chosen_when_several_are_compared(mouse):
    recording = nt.load(mouse)
    model = nt.SwitchingGLM(n_states=3, family="bernoulli", n_restarts=1, max_iter=5)
    result = analyse(recording, Settings(compare=(1, 2), model=model, regressors=("stimulus",)))
    chosen = result["scan"].attrs["selected_n_states"]
    assert result["fit"].sizes["state"] == chosen
    assert list(result["fit/feature"].to_numpy()) == ["stimulus"]


def test_impossible_settings_are_refused(mouse):
    for wrong, match in (
        ({"n_back": -1}, "n_back"), ({"compare": ()}, "compare"), ({"compare": (0, 2)}, "compare"),
        ({"model": nt.SwitchingGLM(n_states=2)}, "bernoulli"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=match):
            Settings(**wrong)
    with pytest.raises(SettingsError, match=r"(?s)no regressor 'stimulos'.*Did you mean 'stimulus'"):
        analyse(nt.load(mouse), Settings(regressors=("stimulos",)))
