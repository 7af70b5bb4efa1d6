"""A point partition of a posterior made by hand around what was planted."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from bicluster_cases import made

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError
from neurotools.numerics import partitions


@pytest.fixture(scope="module")
def case():
    return made(stray=0.08)


@pytest.mark.parametrize("loss", ["vi", "binder", "pear"])
def test_what_was_planted_is_found_in_the_order_of_the_counts(case, loss):
    found = nt.point_partition(case.post, loss=loss)
    for name, dim in (("unit_label", "unit"), ("state_label", "time")):
        planted = case.truth[name]
        assert partitions.adjusted_rand_index(found[name].to_numpy(), planted.to_numpy()) == pytest.approx(1)
        np.testing.assert_array_equal(found[name][dim], planted[dim])
        assert (np.diff(np.bincount(found[name].to_numpy())) <= 0).all()
    assert (int(found["n_clusters"]), int(found["n_states"])) == (3, 2)
    assert found["unit_loss"].attrs["units"] == ("nat" if loss == "vi" else "1")
    assert found.attrs["loss"] == loss


def test_similarity_and_confidence_are_shares_of_draws(case):
    found = nt.point_partition(case.post)
    labels = case.post["posterior/unit_cluster"].to_numpy().reshape(-1, 18)
    together = (labels[:, 3] == labels[:, 7]).mean()
    assert float(found["unit_similarity"].sel(unit=3, unit_to=7)) == pytest.approx(together)
    own = found["unit_label"].to_numpy() == int(found["unit_label"][3])
    own[3] = False
    mean = found["unit_similarity"].sel(unit=3).to_numpy()[own].mean()
    assert float(found["unit_confidence"][3]) == pytest.approx(mean)
    np.testing.assert_allclose(found["state_prob"].sum("state"), 1.0)
    sure = found["state_prob"].isel(time=slice(5, 30)).to_numpy().max(axis=1)
    assert sure.mean() == pytest.approx(0.94, abs=0.04)  # 8 % strayed, some of them back to where they were


def test_the_credible_ball_widens_as_draws_stray():
    radius = [float(nt.point_partition(made(stray=s).post)["unit_radius"]) for s in (0.0, 0.05, 0.3)]
    assert radius[0] == pytest.approx(0, abs=1e-12)
    assert radius[0] < radius[1] < radius[2]
    found = nt.point_partition(made(stray=0.3).post)
    number = found["unit_bound"].max("unit") + 1
    assert int(number.sel(bound="coarsest")) <= int(found["n_clusters"]) <= int(number.sel(bound="finest"))


def test_long_runs_are_thinned_and_say_so(case):
    assert nt.point_partition(case.post).attrs["n_draws"] == 80
    assert nt.point_partition(case.post, max_draws=30).attrs["n_draws"] == 27
    xr.testing.assert_identical(nt.point_partition(case.post, seed=3), nt.point_partition(case.post, seed=3))


def test_similarity_of_states_looks_at_some_bins_only(case):
    found = nt.state_similarity(case.post, n_bins=40)
    assert found.dims == ("time", "time_to")
    assert found.sizes["time"] <= 40
    np.testing.assert_array_equal(np.diag(found), 1.0)
    truth = case.truth["state_label"].sel(time=found["time"]).to_numpy()
    same = truth[:, None] == truth
    assert found.to_numpy()[same].mean() > 0.8
    assert found.to_numpy()[~same].mean() < 0.3


def test_wrong_input_is_named(case):
    with pytest.raises(SettingsError, match="no loss named 'VI'"):
        nt.point_partition(case.post, loss="VI")
    with pytest.raises(SettingsError, match="coverage is a share"):
        nt.point_partition(case.post, coverage=1.2)
    with pytest.raises(SchemaError, match="the group 'posterior'"):
        nt.point_partition(xr.DataTree())
    lacking = case.post.copy()
    lacking["posterior"] = lacking["posterior"].to_dataset().drop_vars("unit_cluster")
    with pytest.raises(SchemaError, match="'unit_cluster' in the group 'posterior'"):
        nt.point_partition(lacking)


# ---- latents ---------------------------------------------------------------------------------------------
def test_latents_are_those_planted_once_turned_onto_them(case):
    partition = nt.point_partition(case.post)
    found = nt.cluster_latents(case.post, partition)
    assert float(found["draw_share"].min()) > 0.9
    for cluster in range(3):
        members = partition["unit_label"].to_numpy() == cluster
        planted = int(case.truth["unit_label"].to_numpy()[members][0])
        truth = case.truth["latent"].sel(cluster=planted).to_numpy()
        truth = truth - truth.mean(axis=1, keepdims=True)
        latent = found["latent"].sel(cluster=cluster).to_numpy()
        np.testing.assert_allclose(latent[0], truth[0], atol=0.08)
        # What each unit makes of the latents does not depend on how they are turned.
        loading = found["loading"].to_numpy()[members]
        planted_loading = case.truth["loading"].to_numpy()[members]
        np.testing.assert_allclose(loading @ latent, planted_loading @ truth, atol=0.25)
        low, high = found["latent_low"].sel(cluster=cluster), found["latent_high"].sel(cluster=cluster)
        assert bool((low <= high).all())
        assert float((high - low).mean()) == pytest.approx(2 * 1.645 * 0.05, rel=0.35)


def test_rules_are_those_planted_in_the_turned_frame(case):
    partition = nt.point_partition(case.post)
    found = nt.cluster_latents(case.post, partition)
    for state in range(2):
        planted_state = int(
            case.truth["state_label"].to_numpy()[partition["state_label"].to_numpy() == state][0]
        )
        for cluster in range(3):
            members = partition["unit_label"].to_numpy() == cluster
            planted = int(case.truth["unit_label"].to_numpy()[members][0])
            rule = found["dynamics_matrix"].sel(state=state, cluster=cluster).to_numpy()
            truth = case.truth["dynamics_matrix"].sel(state=planted_state, cluster=planted).to_numpy()
            # Turning changes neither eigenvalues nor size.
            assert np.trace(rule) == pytest.approx(np.trace(truth), abs=0.02)
            assert np.linalg.norm(rule) == pytest.approx(np.linalg.norm(truth), rel=0.05)
            assert rule[0, 0] == pytest.approx(truth[0, 0], abs=0.02)


def test_a_cluster_that_no_draw_has_is_missing_and_not_made_up(case):
    partition = nt.point_partition(case.post)
    other = partition.assign(unit_label=("unit", np.arange(18) % 2 + 2 * (np.arange(18) > 13)))
    found = nt.cluster_latents(case.post, other)
    lost = found["draw_share"].to_numpy() == 0
    assert lost.any()
    assert found["latent"].to_numpy()[lost].size
    assert np.isnan(found["latent"].to_numpy()[lost]).all()
