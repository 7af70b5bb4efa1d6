"""Planted communities: what is said to be planted is in the traces, and the seed decides all of it."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import neurotools as nt


@pytest.fixture(scope="module")
def planted() -> tuple[xr.DataTree, xr.Dataset]:
    return nt.simulate.dynamic_communities(seed=3)


def test_the_seed_decides_everything():
    settings = {"n_subjects": 3, "missing": 0.3}
    recording, truth = nt.simulate.dynamic_communities(seed=1, **settings)
    again, same = nt.simulate.dynamic_communities(seed=1, **settings)
    other, _ = nt.simulate.dynamic_communities(seed=2, **settings)
    assert recording.identical(again)
    assert truth.identical(same)
    assert not recording.equals(other)


def test_shapes_and_clock(planted):
    recording, truth = planted
    activity = recording["calcium/activity"]
    assert activity.sizes == {"unit": 40, "time": 3 * 6 * 80}
    np.testing.assert_array_equal(activity["time"], truth["time"])
    assert {finding.level for finding in nt.validate(recording)} <= {"note"}
    assert truth["label"].sizes == {"component": 3, "unit": 40}
    sizes = [np.bincount(row).tolist() for row in truth["label"].values]
    assert sizes == [[12, 12, 16]] * 3
    assert not (truth["label"][0] == truth["label"][1]).all()  # each motif has its own communities


def test_one_motif_at_a_time_and_its_intervals_say_when(planted):
    _, truth = planted
    assert (truth["active"].sum("component") == 1).all()
    np.testing.assert_array_equal(truth["active"].sum("time"), 6 * 80)
    from_intervals = np.zeros(truth["active"].shape, dtype=bool)
    for start, stop, k in zip(
        truth["interval_start"].values, truth["interval_stop"].values,
        truth["interval_component"].values, strict=True,
    ):  # fmt: skip
        from_intervals[k] |= (truth["time"].values >= start) & (truth["time"].values < stop)
    np.testing.assert_array_equal(from_intervals, truth["active"])
    assert (truth["interval_component"].diff("interval") != 0).all()
    assert (truth["source"].where(~truth["active"], 0.0) == 0).all()


def test_units_follow_oppose_or_ignore_the_source_while_their_motif_is_active(planted):
    recording, truth = planted
    traces = recording["calcium/activity"].values
    for k in range(3):
        when = truth["active"].values[k]
        # a transient lasts, so the source is put through the same decay before it is compared
        decay = np.exp(-np.arange(30) / 5.0)
        wanted = np.convolve(truth["source"].values[k], decay)[: when.size][when]
        r = np.array([np.corrcoef(row[when], wanted)[0, 1] for row in traces])
        label = truth["label"].values[k]
        assert r[label == 0].min() > 0.4
        assert r[label == 1].max() < -0.2
        assert abs(r[label == 2].mean()) < 0.1


def test_affinity_is_within_communities_and_not_between(planted):
    recording, truth = planted
    affinity = nt.differential_affinity(recording, smooth_s=0.2)
    dense = nt.dense_affinity(affinity)
    for k in range(3):
        mean = dense.isel(time=truth["active"].values[k]).mean("time").values
        label = truth["label"].values[k]
        follows, opposes = label == 0, label == 1
        within = (mean[np.ix_(follows, follows)].sum() + mean[np.ix_(opposes, opposes)].sum()) / (2 * 12 * 11)
        assert within > 3 * mean[np.ix_(follows, opposes)].mean()


def test_the_main_job_recovers_motifs_communities_and_times(planted):
    from sklearn.metrics import normalized_mutual_info_score

    recording, truth = planted
    fit = nt.NTF(rank=3, n_restarts=3, seed=0).fit(nt.differential_affinity(recording, smooth_s=0.2))
    communities = nt.BlockModel(seed=0).fit(nt.motif(fit))
    loading = fit["time_loading"]
    share = (loading / loading.sum("time")).values @ truth["active"].values.T
    found = share.argmax(axis=0)
    assert sorted(found) == [0, 1, 2]
    assert share.max(axis=0).min() > 0.6  # of a motif's time course lies where it was planted
    alike = [
        normalized_mutual_info_score(truth["label"][k], communities["label"].sel(component=component))
        for k, component in enumerate(found)
    ]
    assert np.mean(alike) > 0.9
    assert min(alike) > 0.8


def test_several_subjects_share_motifs_and_lack_units():
    recording, truth = nt.simulate.dynamic_communities(n_subjects=4, missing=0.4, seed=0)
    activity = recording["calcium/activity"]
    assert activity.sizes == {"subject": 4, "unit": 40, "time": 1440}
    missing = activity.isnull()
    np.testing.assert_array_equal(missing.all("time"), ~truth["observed"])
    np.testing.assert_array_equal(missing.any("time"), ~truth["observed"])
    assert truth["observed"].any("subject").all()
    assert 0.5 < float(truth["observed"].mean()) < 0.8
    assert truth["subject_loading"].sizes == {"component": 3, "subject": 4}
    affinity = nt.differential_affinity(recording, smooth_s=0.2)
    np.testing.assert_array_equal(affinity["observed"], truth["observed"])


def test_noise_is_a_share_of_the_trace():
    clean = nt.simulate.dynamic_communities(noise=0.0, seed=5)[0]["calcium/activity"]
    noisy = nt.simulate.dynamic_communities(noise=0.5, seed=5)[0]["calcium/activity"]
    share = (noisy - clean).std("time") / clean.std("time")
    np.testing.assert_allclose(share, 0.5, rtol=0.1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_units": 3}, "at least 6 units, 1 motif and 1 subject"),
        ({"n_motifs": 0}, "at least 6 units, 1 motif and 1 subject"),
        ({"n_subjects": 2, "missing": 1.0}, "from 0 to below 1"),
        ({"noise": -1.0}, "noise at least 0"),
        ({"missing": 0.2}, "only among several subjects"),
    ],
)
def test_numbers_out_of_range_are_refused(wrong, message):
    with pytest.raises(nt.errors.SettingsError, match=message):
        nt.simulate.dynamic_communities(**wrong)
