"""Stimulated communities: what is said to be planted is in the traces, and the seed decides all of it."""

from __future__ import annotations

import numpy as np
import pytest

import neurotools as nt


@pytest.fixture(scope="module")
def planted():
    return nt.simulate.stimulated_communities(duration_s=80.0, missing=0.2, seed=3)


def test_the_seed_decides_everything_and_the_recording_is_in_order(planted):
    recording, truth = planted
    again, same = nt.simulate.stimulated_communities(duration_s=80.0, missing=0.2, seed=3)
    assert recording.identical(again)
    assert truth.identical(same)
    assert {finding.level for finding in nt.validate(recording)} <= {"note"}
    missing = recording["calcium/activity"].isnull()
    np.testing.assert_array_equal(missing.all("time"), ~truth["observed"])
    np.testing.assert_array_equal(missing.any("time"), ~truth["observed"])
    seen = truth["observed"].values.astype(int)
    assert ((seen.T @ seen) > 0).all()


def test_intervals_and_stimuli_say_when(planted):
    recording, truth = planted
    time, engaged = truth["time"].values, np.zeros(truth["engaged"].shape, dtype=bool)
    for k in range(truth.sizes["interval"]):
        start, stop, owner = (truth[f"interval_{name}"].values[k] for name in ("start", "stop", "component"))
        engaged[owner] |= (time >= start) & (time < stop)
    np.testing.assert_array_equal(engaged, truth["engaged"])
    assert engaged.sum(axis=0).max() == 1
    events = recording["events"]
    evoked = truth["interval_component"].values < 2
    np.testing.assert_allclose(events["onset"], truth["interval_start"][evoked])
    assert truth["stimulus"].values.tolist() == [0, 1, -1]
    wanted = [f"stimulus {k}" for k in truth["interval_component"].values[evoked]]
    assert events["trial_type"].values.tolist() == wanted


def test_units_follow_their_community_and_animals_their_share():
    recording, truth = nt.simulate.stimulated_communities(noise=0.0, missing=0.0, duration_s=120.0, seed=1)
    clean = recording["calcium/activity"].values
    np.testing.assert_array_equal(clean, truth["calcium"])
    for k in range(3):
        when, label = truth["engaged"].values[k], truth["label"].values[k]
        for animal in range(2):
            one, two = np.split(np.argsort(label, kind="stable")[(label == 0).sum() :], 2)
            r = np.corrcoef(clean[animal][np.r_[one, two]][:, when])
            assert r[: one.size, : one.size].min() > 0.8
            assert r[: one.size, one.size :].max() < -0.8
        assert (
            np.abs(np.diff(clean[:, label == 0][..., when])).mean()
            < 0.1 * np.abs(np.diff(clean[..., when])).mean()
        )
        steps = np.sqrt((np.diff(clean[:, label > 0], axis=-1)[..., when[1:]] ** 2).mean(axis=(1, 2)))
        assert np.corrcoef(steps, truth["subject_loading"].values[k])[0, 1] > 0.99


def test_a_group_of_animals_shows_less_of_the_last_motif():
    usual = nt.simulate.stimulated_communities(seed=2, duration_s=30.0)[1]["subject_loading"]
    less = nt.simulate.stimulated_communities(seed=2, duration_s=30.0, group_effect=0.5)[1]["subject_loading"]
    np.testing.assert_allclose(less[2, 4:], 0.5 * usual[2, 4:])
    np.testing.assert_array_equal(less[2, :4], usual[2, :4])
    np.testing.assert_array_equal(less[:2], usual[:2])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_units": 4}, "at least 8 units"),
        ({"n_stimuli": 4}, "no more stimuli than motifs"),
        ({"missing": 0.9}, "from 0 to 0.6"),
        ({"n_subjects": 2, "missing": 0.1}, "three subjects or more"),
        ({"decay_s": 0.0}, "decay_s must be positive"),
        ({"noise": -1.0}, "noise is at least 0"),
        ({"n_subjects": 3, "missing": 0.6, "n_units": 80}, "never be seen together"),
    ],
)
def test_numbers_out_of_range_are_refused(wrong, message):
    with pytest.raises(nt.errors.SettingsError, match=message):
        nt.simulate.stimulated_communities(**{"duration_s": 30.0, **wrong})
