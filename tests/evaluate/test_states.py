"""How many states there are, which is which, and how long they last."""

import dataclasses

import numpy as np
import pytest
import xarray as xr
from models.switching_cases import drawn

import neurotools as nt
from neurotools.errors import NotConvergedError, SchemaError, SettingsError
from neurotools.evaluate import states

MODEL = nt.SwitchingGLM(n_states=1, link="sigmoid", n_restarts=2, tol=1e-6)


def test_the_number_of_states_that_data_were_drawn_with_is_selected():
    counts, design, _ = drawn(3, n_time=4000, n_unit=6, n_state=3, n_session=10)
    scan = nt.select_states(MODEL, counts, design, n_states=(1, 2, 3, 4))
    assert scan.attrs["selected_n_states"] == 3
    assert scan["heldout_score"].dims == ("n_states", "fold")
    assert scan.sizes["fold"] == 5
    np.testing.assert_allclose(scan["score"], scan["heldout_score"].mean("fold"))


def test_one_state_is_selected_where_nothing_switches():
    counts, design, _ = drawn(4, n_time=2000, n_unit=4, n_state=1, n_session=1)
    scan = nt.select_states(MODEL, counts, design, n_states=(1, 2), cv="time")
    assert scan.attrs["selected_n_states"] == 1


def test_a_held_out_score_is_that_of_a_fit_without_the_fold():
    counts, design, _ = drawn(5, n_time=600, n_unit=3, n_state=2, n_session=3)
    scan = nt.select_states(MODEL, counts, design, n_states=(2,))
    out = counts["session"] == 1
    model = dataclasses.replace(MODEL, n_states=2)
    score = model.score(model.fit(counts[~out], design[~out]), counts[out], design[out])
    assert float(scan["heldout_score"][0, 1]) == pytest.approx(score, rel=1e-9)


def test_sessions_of_each_subject_are_spread_over_folds():
    session = np.repeat(np.arange(20), 3)
    data = xr.DataArray(
        np.zeros(60), dims="trial",
        coords={"session": ("trial", session), "subject": ("trial", np.repeat(["b", "a"], 30))},
    )  # fmt: skip
    fold, found = states.by_session(data, "trial")
    np.testing.assert_array_equal(found, session)
    for subject in "ab":
        mine = fold[data["subject"].to_numpy() == subject]
        assert np.bincount(mine).tolist() == [6] * 5
    assert all(np.unique(fold[session == k]).size == 1 for k in range(20))


def test_the_smallest_within_a_standard_error_is_taken():
    scores = np.array([[0.1, 0.2, 0.3], [0.29, 0.40, 0.49], [0.30, 0.39, 0.50], [0.2, 0.3, 0.4]])
    assert states.smallest(scores, [1, 2, 3, 4]) == 2
    assert states.smallest(scores[::-1], [4, 3, 2, 1]) == 2


def test_scores_that_are_no_numbers_select_nothing():
    with pytest.raises(NotConvergedError, match=r"no finite number.*\n.*1 of 4"):
        states.smallest(np.array([[0.1, 0.2], [np.nan, 0.3]]), [1, 2])


def test_what_cannot_be_held_out_is_named():
    counts, design, _ = drawn(0, n_time=60, n_unit=2, n_state=1, n_session=1)
    with pytest.raises(SchemaError, match="one session"):
        nt.select_states(MODEL, counts, design, n_states=(1,))
    with pytest.raises(SettingsError, match="numbers of states"):
        nt.select_states(MODEL, counts, design, n_states=(2, 2))
    with pytest.raises(SettingsError, match="cross-validation"):
        nt.select_states(MODEL, counts, design, n_states=(1,), cv="unit")


def test_states_are_matched_to_those_of_another_fit(rng):
    reference = xr.Dataset(
        {
            "bias": (("state", "unit_to"), rng.normal(size=(3, 4))),
            "transition": (("state", "state_to"), rng.dirichlet(np.ones(3), size=3)),
        }
    )
    order = [2, 0, 1]
    other = reference.isel(state=order, state_to=order) + 0.001
    matched = nt.match_states(other, reference)
    np.testing.assert_allclose(matched["bias"], reference["bias"] + 0.001)
    np.testing.assert_allclose(matched["transition"], reference["transition"] + 0.001)
    np.testing.assert_allclose(matched["state_distance"], 0.001)
    fewer = nt.match_states(other, reference.isel(state=[1], state_to=[1]))
    np.testing.assert_allclose(fewer["bias"][0], reference["bias"][1] + 0.001)
    assert np.isnan(fewer["state_distance"].to_numpy()).tolist() == [False, True, True]
    with pytest.raises(SchemaError, match="other units or regressors"):
        nt.match_states(other.isel(unit_to=[0]), reference)


def test_visits_end_with_their_state_or_session():
    path = xr.DataArray(
        [0, 0, 1, 1, 1, 0, 0], dims="time",
        coords={"time": np.arange(7) * 0.5, "session": ("time", [0, 0, 0, 0, 1, 1, 1])},
    )  # fmt: skip
    table = nt.dwell_times(path)
    assert table["state"].tolist() == [0, 1, 1, 0]
    assert table["n_samples"].tolist() == [2, 2, 1, 2]
    assert table["start"].tolist() == [0.0, 1.0, 2.0, 2.5]
    assert table["duration_s"].tolist() == [1.0, 1.0, 0.5, 1.0]
    assert table["cut"].tolist() == [True, True, True, True]
    assert nt.dwell_times(path[:4].drop_vars("session"))["cut"].tolist() == [True, True]
    with pytest.raises(SchemaError, match="path of states"):
        nt.dwell_times(path.rename(time="unit"))
