import dataclasses
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools import schema
from neurotools.errors import ResultError, SchemaError, SettingsError
from neurotools.models.bicluster import start
from neurotools.models.bicluster.tree import intervals, whole_draws
from neurotools.numerics.bicluster_law import Counts

MODEL = nt.BiCluster(latent_dim=1, state_prior=nt.StickyHDP(max_states=4), seed=3)


def waves(n_time=60, seed=0):
    """Counts of two groups of units, one up while the other is down."""
    rng = np.random.default_rng(seed)
    wave = np.sin(np.arange(n_time) / 7)[:, None] * np.where(np.arange(8) < 4, 1.2, 0)
    other = np.cos(np.arange(n_time) / 11)[:, None] * np.where(np.arange(8) < 4, 0, 1.2)
    return schema.counts_array(rng.poisson(np.exp(1.0 + wave + other)), bin_width=0.5, unit=list("abcdefgh"))


def planted():
    """Counts of two clusters of eight units, each with a level and a latent; and who is in which."""
    settings = {"n_units": 16, "n_time": 300, "n_clusters": 2, "latent_dim": 1, "rate": 3.0}
    recording, truth = nt.simulate.biclusters(**settings, seed=1)
    return recording["counts/counts"], truth["unit_label"].to_numpy()


@pytest.mark.parametrize("seed", range(3))
def test_where_a_chain_begins_every_unit_stands_in_one_cluster(seed):
    rng = np.random.default_rng(seed)
    y = rng.poisson(rng.gamma(2.0, 1.0, size=(50, 1)), size=(50, 60))
    data = Counts(y, np.ones(y.shape, bool), np.arange(60) == 0)
    search = start.Search(data, MODEL.prior(50), np.full(50, 10.0), np.zeros(60, dtype="int64"))
    for blocks in (start.grouped(rng, search)[1], start.exchanged(search, start.grouped(rng, search)[1])):
        units = np.concatenate([block.units for block in blocks])
        np.testing.assert_array_equal(np.sort(units), np.arange(50))


def test_groups_of_units_are_found_and_rates_follow_the_counts():
    counts, label = planted()
    post = MODEL.sample(counts, draws=60, tune=40, chains=2)
    together = post["posterior/unit_cluster"]
    alike = (together == together.rename(unit="unit_to")).mean(("chain", "draw")).to_numpy()
    same = label[:, None] == label
    assert alike[same].mean() > 0.8
    assert alike[~same].mean() < 0.2
    assert MODEL.score(post, counts) > 0.05
    rate = MODEL.predict(post, counts)["rate"]
    assert np.corrcoef(rate.to_numpy().ravel(), counts.to_numpy().ravel())[0, 1] > 0.6


def test_labels_are_numbered_by_size_and_absent_things_are_nan():
    post = MODEL.sample(waves(), draws=30, tune=10, chains=1)
    draws = post["posterior"].isel(chain=0)
    for k in range(30):
        sizes = np.bincount(draws["unit_cluster"][k].to_numpy())
        assert (np.diff(sizes) <= 0).all()
        assert sizes.size == draws["n_clusters"][k]
        occupied = np.bincount(draws["time_state"][k].to_numpy(), minlength=4)
        np.testing.assert_array_equal(occupied, draws["occupancy"][k])
        n = int(draws["n_states"][k])
        assert np.isfinite(draws["transition"][k, :n, :n]).all()
        assert np.isnan(draws["transition"][k, n:]).all()
    thinned = post["thinned"].isel(chain=0)
    for draw in thinned["draw"].to_numpy():
        n = int(draws["n_clusters"].sel(draw=draw))
        assert np.isfinite(thinned["latent"].sel(draw=draw, cluster=slice(0, n - 1))).all()
        assert np.isnan(thinned["latent"].sel(draw=draw, cluster=slice(n, None))).all()


def test_held_out_counts_are_judged_and_not_seen():
    counts = waves()
    mask = xr.zeros_like(counts, dtype=bool)
    mask[5:15, 2] = True
    other = counts.copy()
    other[5:15, 2] = 40
    first = MODEL.sample(counts, draws=20, tune=10, chains=1, held_out=mask)
    second = MODEL.sample(other, draws=20, tune=10, chains=1, held_out=mask)
    xr.testing.assert_identical(first["posterior"].to_dataset(), second["posterior"].to_dataset())
    hidden = [post["moments/log_prob"].isel(chain=0).to_numpy()[5:15, 2] for post in (first, second)]
    assert hidden[0].mean() > hidden[1].mean()
    assert np.isfinite(MODEL.score(first, counts))
    moments = first["moments"]
    assert (moments["cdf_below"] <= moments["cdf_at"]).all()


def test_predictive_probabilities_are_those_of_the_counts():
    """From the draws kept whole, when all are kept."""
    counts = waves(24)
    post = MODEL.sample(counts, draws=10, tune=5, chains=1, keep=10)
    draws, latent = post["posterior"].isel(chain=0), post["thinned/latent"].isel(chain=0)
    from scipy.stats import nbinom

    prob, below = np.zeros(counts.shape), np.zeros(counts.shape)
    for k in range(10):
        own = latent[k].to_numpy()[draws["unit_cluster"][k].to_numpy()]
        eta = draws["baseline"][k].to_numpy()[:, None] + own[:, 0]
        eta = eta + (draws["loading"][k].to_numpy()[:, :, None] * own[:, 1:]).sum(1)
        r = draws["dispersion"][k].to_numpy()[:, None]
        law = nbinom(r, r / (r + np.exp(eta)))
        prob += law.pmf(counts.to_numpy().T).T / 10
        below += law.cdf(counts.to_numpy().T - 1).T / 10
    moments = post["moments"].isel(chain=0)
    np.testing.assert_allclose(np.exp(moments["log_prob"]), prob, rtol=1e-3)
    np.testing.assert_allclose(moments["cdf_below"], below, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("settings", [{"family": "poisson"}, {"dynamics": "full"}])
def test_other_families_and_dynamics_have_the_same_groups(settings):
    model = dataclasses.replace(MODEL, unit_prior=nt.DirichletProcess(), **settings)
    post = model.sample(waves(40), draws=10, tune=5, chains=1)
    assert ("dispersion" in post["posterior"]) == (model.family == "nb")
    dims = post["thinned/dynamics_matrix"].dims
    assert ("cluster_to" in dims) == (model.dynamics == "full")
    assert nt.model_of(post) == model


# ---- going on --------------------------------------------------------------------------------------------
def test_a_chain_that_was_stopped_gives_the_draws_of_one_that_was_not(tmp_path, monkeypatch):
    from neurotools.models.bicluster import chains

    plain = {"draws": 20, "tune": 10, "chains": 1}
    wanted = MODEL.sample(waves(), **plain)
    done = 0

    def stopping(*args):
        nonlocal done
        done += 1
        if done in (7, 19):
            raise KeyboardInterrupt
        return real(*args)

    real = chains.one_sweep
    monkeypatch.setattr(chains, "one_sweep", stopping)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            MODEL.sample(waves(), **plain, checkpoint=tmp_path / "chains", checkpoint_s=0)
    found = MODEL.sample(waves(), **plain, checkpoint=tmp_path / "chains", checkpoint_s=0)
    assert done > 19
    xr.testing.assert_identical(found, wanted)
    xr.testing.assert_identical(MODEL.sample(waves(), **plain, checkpoint=tmp_path / "chains"), wanted)


def test_processes_and_kills_change_nothing(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_bicluster import MODEL, waves; "
        "MODEL.sample(waves(), draws=400, tune=10, chains=1, checkpoint=sys.argv[2], checkpoint_s=0.05)"
    )
    folder = tmp_path / "chains"
    process = subprocess.Popen([sys.executable, "-c", code, os.path.dirname(__file__), str(folder)])
    for _ in range(1200):
        if (folder / "chain-0.npz").exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (folder / "chain-0.npz").exists()
    plain = {"draws": 400, "tune": 10, "chains": 1}
    found = MODEL.sample(waves(), **plain, checkpoint=folder)
    xr.testing.assert_identical(found, MODEL.sample(waves(), **plain))


def test_chains_in_processes_of_their_own_are_those_run_here():
    plain = {"draws": 10, "tune": 5, "chains": 2}
    xr.testing.assert_identical(
        MODEL.sample(waves(), **plain, cores=2), MODEL.sample(waves(), **plain, cores=1)
    )


def test_a_checkpoint_of_other_counts_or_a_broken_one_is_refused(tmp_path):
    plain = {"draws": 4, "tune": 2, "chains": 1}
    MODEL.sample(waves(), **plain, checkpoint=tmp_path)
    with pytest.raises(ResultError, match="other counts, settings, draws or seed"):
        MODEL.sample(waves(seed=1), **plain, checkpoint=tmp_path)
    (tmp_path / "chain-0.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(ResultError, match="cannot be read"):
        MODEL.sample(waves(), **plain, checkpoint=tmp_path)


# ---- sessions, and bad input -----------------------------------------------------------------------------
def test_nothing_crosses_the_edge_of_sessions():
    counts = waves(40)
    joined = counts.assign_coords(session=("time", np.repeat(["a", "b"], 20)))
    first = MODEL.sample(joined, draws=5, tune=3, chains=1)
    assert first["posterior/time_state"].coords["session"].dims == ("time",)
    assert not first["posterior"].equals(MODEL.sample(counts, draws=5, tune=3, chains=1)["posterior"])


def test_bad_counts_are_named():
    counts = waves(20)
    cases = [
        (counts - 5, "not negative", "NT-DATA-008"),
        (counts * 0.5, "whole numbers", "NT-DATA-008"),
        (xr.zeros_like(counts), "no spikes", "NT-DATA-010"),
        (counts.isel(time=[0]), "two bins", "NT-DATA-010"),
        (counts.rename(unit="channel"), "needs dimensions", "NT-DATA-001"),
    ]
    for bad, match, code in cases:
        with pytest.raises(SchemaError, match=match) as caught:
            MODEL.sample(bad.assign_attrs(counts.attrs), draws=2, tune=1, chains=1)
        assert caught.value.code == code
    mask = xr.zeros_like(counts, dtype=bool)
    with pytest.raises(SchemaError, match="differ along 'unit'"):
        MODEL.sample(counts, draws=2, held_out=mask.isel(unit=slice(3)))
    with pytest.raises(SchemaError, match="True and False"):
        MODEL.sample(counts, draws=2, held_out=mask.astype(int))
    post = MODEL.sample(counts, draws=2, tune=1, chains=1)
    with pytest.raises(SchemaError, match="other counts"):
        MODEL.score(post, waves(21))
    with pytest.raises(SchemaError, match="not the posterior"):
        MODEL.predict(xr.DataTree(), counts)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"family": "gauss"}, "there is no family"),
        ({"dynamics": "ful"}, "Did you mean 'full'"),
        ({"latent_dim": 0}, "latent_dim must be at least 1"),
        ({"noise_scale": 0.0}, "noise_scale must be positive"),
        ({"n_splits": -1}, "n_splits must be at least 0"),
    ],
)
def test_bad_settings_are_named(settings, match):
    with pytest.raises(SettingsError, match=match):
        nt.BiCluster(**settings)


def test_bad_priors_and_amounts_are_named():
    for make, match in (
        (lambda: nt.FiniteMixture(rho=1.0), "rho must lie"),
        (lambda: nt.DirichletProcess(alpha=0), "alpha must be positive"),
        (lambda: nt.StickyHDP(max_states=0), "max_states must be"),
        (lambda: nt.StickyHDP(stickiness=-1), "stickiness must be positive"),
        (lambda: MODEL.sample(waves(20), draws=0), "draws must be at least 1"),
    ):
        with pytest.raises(SettingsError, match=match):
            make()


def test_few_draws_are_kept_whole_where_they_are_large():
    assert whole_draws(1000, 50, 4, 63, 720, 2).size == 50
    assert whole_draws(1000, 50, 4, 1000, 10_000, 2).size == 1
    assert whole_draws(1000, 50, 4, 63, 720, 2)[-1] == 999
    assert set(np.bincount(intervals(83)).tolist()) == {10, 11}


def test_a_chain_begins_in_more_than_one_state():
    """From one state a second is found only slowly, while one too many is given up soon."""
    from neurotools.models.bicluster import asked
    from neurotools.models.bicluster.start import first_draw

    recording, _ = nt.simulate.biclusters(n_units=8, n_time=160, n_clusters=2, seed=3)
    data, _, _ = asked(recording["counts/counts"], None)
    draw = first_draw(np.random.default_rng(0), data, nt.BiCluster().prior(8))
    assert np.unique(draw.state).size > 1
