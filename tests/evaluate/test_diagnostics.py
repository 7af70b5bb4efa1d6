"""The gate of convergence, and checks of what is foretold, on posteriors whose faults are known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from bicluster_cases import made
from scipy.stats import kstest, nbinom

import neurotools as nt
from neurotools.errors import NotConvergedError, SchemaError, SettingsError


@pytest.fixture(scope="module")
def long():
    return made(chains=4, draws=150, keep=50)


def test_independent_draws_pass_and_all_that_is_free_of_labels_is_looked_at(long):
    found = nt.convergence(long.post)
    assert found.attrs["converged"] == 1
    assert found.attrs["worst_rhat"] < 1.05
    kinds = set(found["variable"].to_numpy().tolist())
    assert kinds == {
        "n_clusters", "n_states", "log_rate_mean", "log_rate_sd", "interval_rate", "dispersion",
        "log_likelihood",
    }  # fmt: skip
    assert "log_rate_mean[3]" in found["quantity"]
    assert "interval_rate[3, 0]" in found["quantity"]
    assert nt.require_converged(long.post).attrs["worst_rhat"] == found.attrs["worst_rhat"]


def test_a_chain_that_stays_apart_is_refused(long):
    post = long.post.copy(deep=True)
    post["posterior/log_rate_mean"][3, :, 5] += 0.5
    found = nt.convergence(post)
    assert found.attrs["converged"] == 0
    assert found.attrs["worst"] == "log_rate_mean[5]"
    with pytest.raises(NotConvergedError, match=r"largest R-hat: log_rate_mean\[5\]") as caught:
        nt.require_converged(post)
    assert caught.value.code == "NT-FIT-001"
    assert nt.require_converged(post, max_rhat=10, min_ess=1).attrs["converged"] == 1


def test_names_of_clusters_do_not_enter(long):
    post = long.post.copy(deep=True)
    labels = post["posterior/unit_cluster"]
    labels[:] = labels.max() - labels
    xr.testing.assert_identical(nt.convergence(post), nt.convergence(long.post))


def test_too_few_draws_are_refused():
    with pytest.raises(SchemaError, match="too few draws"):
        nt.convergence(made(draws=4, keep=2).post)


# ---- what is foretold -------------------------------------------------------------------------------------
def test_transforms_under_the_true_law_are_uniform_and_under_others_not(long):
    found = nt.posterior_check(long.post)
    assert kstest(found["pit"].to_numpy().ravel(), "uniform").pvalue > 0.01
    assert float(found["coverage"].sel(seen="fitted", level=0.9)) == pytest.approx(0.9, abs=0.02)
    assert float(found["pit_distance"][0]) == pytest.approx(
        kstest(found["pit"].to_numpy().ravel(), "uniform").statistic
    )
    np.testing.assert_allclose(found["pit_share"].sum("pit_bin"), 1)
    # a law with too little variance: Poisson-like, where counts are negative binomial with dispersion 10
    narrow = long.post.copy(deep=True)
    y, mean = narrow["observed_data/counts"].to_numpy(), np.exp(long.truth["log_rate"].to_numpy())
    law = nbinom(1000, 1000 / (1000 + mean))
    narrow["moments/cdf_below"][:], narrow["moments/cdf_at"][:] = law.cdf(y - 1), law.cdf(y)
    worse = nt.posterior_check(narrow)
    assert float(worse["coverage"].sel(level=0.9)[0]) < float(found["coverage"].sel(level=0.9)[0])


def test_replicates_of_the_true_law_have_its_statistics_and_shifted_counts_do_not(long):
    found = nt.posterior_check(long.post)
    p = found["p_value"].sel(statistic=["mean", "Fano factor", "empty bins"]).to_numpy()
    assert 0.35 < p.mean() < 0.65
    assert (p < 0.005).mean() < 0.05
    y = long.post["observed_data/counts"].to_numpy()
    np.testing.assert_allclose(found["observed"].sel(statistic="mean"), y.mean(axis=0))
    np.testing.assert_allclose(found["observed"].sel(statistic="empty bins"), (y == 0).mean(axis=0))
    drawn = long.post["posterior_predictive/counts"].to_numpy().reshape(-1, *y.shape)
    lagged = [np.corrcoef(x[1:, 2], x[:-1, 2])[0, 1] for x in drawn]
    ours = float(found["replicated"].sel(statistic="neighbour correlation", unit=2))
    assert ours == pytest.approx(np.mean(lagged), abs=0.02)
    more = long.post.copy(deep=True)
    more["observed_data/counts"][:] = y + 3
    assert float(nt.posterior_check(more)["p_value"].sel(statistic="mean").max()) == 0


def test_held_out_counts_are_told_apart_and_scored():
    case = made(held_out=0.3)
    found = nt.posterior_check(case.post)
    assert found["seen"].to_numpy().tolist() == ["fitted", "held out"]
    hidden = case.post["constant_data/held_out"].to_numpy()
    assert found["n_counts"].to_numpy().tolist() == [int((~hidden).sum()), int(hidden.sum())]
    score = nt.heldout_score(case.post)
    log_prob = case.post["moments/log_prob"].isel(chain=0).to_numpy()
    assert float(score["log_prob"]) == pytest.approx(log_prob[hidden].mean())
    assert float(score["coverage"]) == pytest.approx(0.9, abs=0.04)
    assert int(score["n_counts"]) == hidden.sum()
    # the true rates explain more than each unit's mean; by definition, in bits per spike
    y, rate = case.post["observed_data/counts"].to_numpy(), np.exp(case.truth["log_rate"].to_numpy())
    mean = np.broadcast_to(np.where(hidden, 0, y).sum(0) / (~hidden).sum(0), y.shape)
    gain = (y * np.log(rate / mean) - rate + mean)[hidden].sum() / np.log(2) / y[hidden].sum()
    assert float(score["bits_per_spike"]) == pytest.approx(gain)
    assert gain > 0.1


def test_chains_are_averaged_before_the_logarithm():
    case = made(held_out=0.3)
    hidden = case.post["constant_data/held_out"].to_numpy()
    case.post["moments/log_prob"][1] -= 3.0
    log_prob = case.post["moments/log_prob"].to_numpy()
    expected = np.log(np.exp(log_prob).mean(axis=0))[hidden].mean()
    assert float(nt.heldout_score(case.post)["log_prob"]) == pytest.approx(expected)


def test_a_posterior_that_saw_everything_has_no_held_out_score(long):
    with pytest.raises(SchemaError, match="no counts were held out"):
        nt.heldout_score(long.post)
    with pytest.raises(SettingsError, match="levels are shares"):
        nt.posterior_check(long.post, levels=(1.5,))
