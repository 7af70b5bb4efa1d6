from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SettingsError


def test_choices_follow_the_weights_of_their_state():
    recording, truth = nt.simulate.switching_choices(n_sessions=40, seed=0)
    choice, design = recording["behaviour/choice"].to_numpy(), nt.choice_design(recording)
    weight = truth["weight"].to_numpy()[0]
    x = np.column_stack([np.ones(choice.size), design.sel(feature=list(truth["regressor"].to_numpy()[1:]))])
    for k in range(3):
        here = truth["path"].to_numpy() == k
        chance = 1 / (1 + np.exp(-x[here] @ weight[k]))
        score = (choice[here] - chance) @ x[here] / np.sqrt((chance * (1 - chance)) @ x[here] ** 2)
        assert np.abs(score).max() < 4  # the gradient at the truth, in standard errors
        stays = here[:-1] & (np.arange(choice.size - 1) % 300 != 299)
        share = (truth["path"].to_numpy()[1:][stays] == k).mean()
        assert share == pytest.approx(float(truth["transition"][k, k]), abs=0.01)


def test_subjects_differ_and_seeds_repeat():
    recording, truth = nt.simulate.switching_choices(n_subjects=3, n_sessions=2, n_trials=50, seed=4)
    again, _ = nt.simulate.switching_choices(n_subjects=3, n_sessions=2, n_trials=50, seed=4)
    xr.testing.assert_identical(recording["behaviour"].to_dataset(), again["behaviour"].to_dataset())
    assert truth["weight"].dims == ("subject", "state", "regressor")
    assert float(truth["weight"].std("subject").min()) > 0
    choice = recording["behaviour/choice"]
    assert np.unique(choice["subject"]).size == 3
    assert np.unique(choice["session"]).size == 6
    assert not nt.validate(recording)
    with pytest.raises(SettingsError, match="n_trials"):
        nt.simulate.switching_choices(n_trials=0)
