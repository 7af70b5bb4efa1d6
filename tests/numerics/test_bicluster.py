"""A sampler is right when it samples what it says: joint test, and each move against a slow computation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import gammaln, logsumexp

from benchmarks import geweke
from neurotools.numerics import bicluster, bicluster_law, stickyhdp
from neurotools.numerics.kernels.numba_biunits import assign

PRIOR = geweke.small_prior()


def nb_log_prob(y, r, mean):
    return (
        gammaln(y + r)
        - gammaln(r)
        - gammaln(y + 1)
        + r * np.log(r / (r + mean))
        + y * np.log(mean / (r + mean))
    )


def draw_and_data(rng, n_time=12, n_units=4, prior=PRIOR, n_clusters=None):
    start = np.zeros(n_time, bool)
    start[0] = True
    draw = bicluster_law.draw_prior(rng, n_units, start, prior)
    while n_clusters is not None and draw.n_clusters != n_clusters:
        draw = bicluster_law.draw_prior(rng, n_units, start, prior)
    y = bicluster_law.draw_counts(rng, draw)
    return draw, bicluster_law.Counts(y, np.ones(y.shape, bool), start)


@pytest.mark.timeout(900)
def test_sweeps_leave_the_joint_law_of_parameters_and_counts_as_it_is():
    outcome = geweke.joint(PRIOR, n_sweeps=6000, n_prior=4000, seed=20261121)
    assert len(geweke.NAMES) >= 30
    assert np.median(outcome.effective) > 500
    assert outcome.worst < 3.5, dict(zip(geweke.NAMES, outcome.z.round(2), strict=True))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", geweke.FAST)
def test_a_sampler_broken_on_purpose_is_caught(name):
    prior, moves = geweke.MUTANT_PRIORS[name](), geweke.mutated(name)
    outcome = geweke.joint(prior, n_sweeps=geweke.FAST[name], n_prior=6000, seed=1, moves=moves)
    assert outcome.worst > 4


@pytest.mark.parametrize("r", [1.0, 10.0, 100.0])
def test_dispersion_is_drawn_from_its_posterior_on_a_grid(rng, r):
    prior = geweke.small_prior()
    n_time, mean = 720, 4.0
    y = rng.poisson(rng.gamma(r, mean / r, size=(1, n_time)))
    shape, rate = (1.0, 1.0) if r < 50 else (100.0, 1.0)
    grid = np.linspace(np.log(r) - 3, np.log(r) + 2, 4001)
    log_prob = np.array([nb_log_prob(y, np.exp(g), mean).sum() + shape * g - rate * np.exp(g) for g in grid])
    weight = np.exp(log_prob - logsumexp(log_prob))
    wanted = weight @ np.exp(grid)
    spread = np.sqrt(weight @ np.exp(2 * grid) - wanted**2)
    draw, _ = draw_and_data(rng, n_time, 1)
    draw.theta[:], draw.latent[:], draw.dispersion[:] = 0.0, 0.0, r
    draw.latent[0, :, 0] = np.log(mean)
    data = bicluster_law.Counts(y, np.ones(y.shape, bool), np.arange(n_time) == 0)
    prior = bicluster_law.Prior(**{**vars(prior), "dispersion_shape": shape, "dispersion_rate": rate})
    found = np.empty(8000)
    for k in range(found.size):
        bicluster.draw_dispersion(rng, draw, data, prior)
        found[k] = draw.dispersion[0]
    assert found.mean() == pytest.approx(wanted, rel=0.01)
    assert found.std() == pytest.approx(spread, rel=0.03)


def test_clusters_are_drawn_by_their_marginal_likelihood(rng):
    """One unit among two clusters, its two parameters integrated out on a fine grid."""
    prior = geweke.small_prior(full=True)  # no new clusters are offered
    draw, data = draw_and_data(rng, prior=prior, n_clusters=2)
    draw.cluster[:] = [0, 0, 1, 1]
    draw.latent[:] = rng.normal(size=draw.latent.shape) * 0.5
    y = rng.poisson(2.0, size=(4, 12))
    data = bicluster_law.Counts(y, data.seen, data.start)
    side = np.linspace(-4, 4, 161)
    d, c = np.meshgrid(side, side, indexing="ij")
    log_prob = np.empty(2)
    for k in range(2):
        eta = draw.latent[k, :, 0] + d[..., None] + c[..., None] * draw.latent[k, :, 1]
        inside = nb_log_prob(y[0], draw.dispersion[0], np.exp(eta)).sum(-1)
        inside += -0.5 * (d**2 * prior.unit_precision[0] + c**2 * prior.unit_precision[1])
        log_prob[k] = logsumexp(inside) + np.log(k + 1 + prior.gamma)
    wanted = np.exp(log_prob[0] - logsumexp(log_prob))
    order = np.array([1, 2, 3, 0])
    found = np.empty(6000)
    for k in range(found.size):  # the last in the order alone
        latent, size = bicluster.with_spare(draw.latent, draw.cluster, 1)
        assign(
            rng, y, data.seen, draw.dispersion, draw.cluster, draw.theta, latent, size, 2, order, 3,
            prior.log_v, prior.gamma, 0, draw.state, data.start, prior.n_states, prior.unit_precision,
            prior.initial_sd, prior.column_precision, prior.noise,
        )  # fmt: skip
        found[k] = draw.cluster[0]
    error = np.sqrt(wanted * (1 - wanted) / (found.size / 4))
    assert abs((found == 0).mean() - wanted) < 4 * error
    assert 0.02 < wanted < 0.98


@pytest.mark.parametrize("poisson", [False, True])
@pytest.mark.parametrize("full", [False, True])
def test_moves_keep_what_they_must(rng, poisson, full):
    prior = geweke.small_prior(poisson=poisson, full=full)
    draw, data = draw_and_data(rng, prior=prior)
    for _ in range(20):
        bicluster.sweep(rng, draw, data, prior)
        assert sorted(np.unique(draw.cluster)) == list(range(draw.n_clusters))
        assert np.isfinite(draw.latent).all()
        assert draw.state.min() >= 0
        assert draw.state.max() < prior.n_states
        np.testing.assert_allclose(draw.chain.transition.sum(1), 1.0)


def test_counts_that_are_not_seen_change_nothing(rng):
    """Sweeps with the same seed give the same draws whatever the hidden counts are."""
    ends = []
    for hidden in (0, 9):
        own = np.random.default_rng(5)
        draw, data = draw_and_data(own)
        seen = np.ones(data.y.shape, bool)
        seen[1, 4:8] = seen[2, 0] = False
        data = bicluster_law.Counts(np.where(seen, data.y, hidden), seen, data.start)
        for _ in range(10):
            bicluster.sweep(own, draw, data, PRIOR)
        ends.append(draw)
    np.testing.assert_array_equal(ends[0].latent, ends[1].latent)
    np.testing.assert_array_equal(ends[0].theta, ends[1].theta)


def test_number_of_tables_has_its_mean(rng):
    weight, n = 1.7, 9
    tables = stickyhdp.draw_tables(rng, np.full((20_000, 1), n), np.full((20_000, 1), weight))
    wanted = (weight / (weight + np.arange(n))).sum()
    assert tables.mean() == pytest.approx(wanted, abs=4.5 * tables.std() / np.sqrt(tables.size))
    assert stickyhdp.draw_tables(rng, np.zeros((1, 2), int), np.ones((1, 2))).sum() == 0


def test_transitions_do_not_cross_sessions():
    state, start = np.array([0, 1, 1, 0, 0]), np.array([True, False, False, True, False])
    np.testing.assert_array_equal(stickyhdp.count_transitions(state, start, 2), [[1, 1], [0, 1]])


def log_states(states, laws, said, chain):
    """Log probability of a sequence of states, paths of all groups integrated out by dense matrices."""
    (coef, root), (weight, pull), (transition, start, sd) = laws, said, chain
    q = coef.shape[2]
    total = sum(
        -np.log(len(transition)) if first else np.log(transition[states[t - 1], states[t]])
        for t, first in enumerate(start)
    )
    for g in range(coef.shape[0]):
        J, h = np.zeros((start.size * q,) * 2), np.zeros(start.size * q)
        for t, k in enumerate(states):
            here, before = slice(t * q, t * q + q), slice(t * q - q, t * q)
            if start[t]:
                J[here, here] += np.eye(q) / sd**2
            else:
                A, b, P = coef[g, k, :, :q], coef[g, k, :, q], root[g, k].T @ root[g, k]
                J[here, here] += P
                J[before, before] += A.T @ P @ A
                J[here, before] -= P @ A
                J[before, here] -= A.T @ P
                h[here] += P @ b
                h[before] -= A.T @ P @ b
                total += 0.5 * np.linalg.slogdet(P)[1] - 0.5 * b @ P @ b
            J[here, here] += weight[g, t]
            h[here] += pull[g, t]
        total += 0.5 * h @ np.linalg.solve(J, h) - 0.5 * np.linalg.slogdet(J)[1]
    return total


def test_states_by_particles_have_their_law_with_paths_integrated_out(rng):
    """Against a sum over all sequences of states; there are fewer particles than ways to go on."""
    from neurotools.numerics.kernels.numba_biparticles import draw_by_particles

    n_time, L, q = 5, 3, 2
    start = np.array([True, False, False, True, False])
    coef, root = rng.normal(size=(2, L, q, q + 1)) * 0.6, np.zeros((2, L, q, q))
    root[:] = np.eye(q) * rng.uniform(0.9, 1.2, size=(2, L, 1, 1))
    half = rng.normal(size=(2, n_time, q, q))
    weight, pull = half @ half.swapaxes(-1, -2), 2 * rng.normal(size=(2, n_time, q))
    transition = rng.dirichlet(np.ones(L), size=L)
    given = ((coef, root), (weight, pull), (transition, start, 0.7))
    every = np.array(list(np.ndindex(*(L,) * n_time)))
    log_prob = np.array([log_states(states, *given) for states in every])
    prob = np.exp(log_prob - logsumexp(log_prob))
    wanted = np.array([[prob[every[:, t] == k].sum() for k in range(L)] for t in range(n_time)])
    state, paths = np.zeros(n_time, "int64"), np.zeros((2, n_time, q))
    found = np.empty((12_800, n_time), "int64")
    for row in found:
        some = np.sort(rng.permutation(L)[: rng.integers(2, L + 1)]).astype("int64")
        draw_by_particles(
            rng, paths, coef, root, state, start, transition, 0.7, weight, pull, some, 3
        )  # fmt: skip
        row[:] = state
    batch = (found[:, :, None] == np.arange(L)).reshape(64, -1, n_time, L).mean(axis=1)
    error = np.maximum(batch.std(axis=0, ddof=1) / 8, 1e-3)
    assert (np.abs(batch.mean(axis=0) - wanted) < 4 * error).all()
    assert ((wanted > 0.05) & (wanted < 0.95)).sum() > 6
    assert np.abs(batch.mean(axis=0) - wanted).max() < 0.03


def test_units_are_placed_by_their_law_with_paths_integrated_out(rng):
    """Against sums over draws of paths, loadings and baselines from the prior, for every assignment."""
    prior = replace(geweke.small_prior(), n_states=1)
    draw, data = draw_and_data(rng, n_time=3, prior=prior, n_clusters=2)
    data = replace(data, y=np.array([[1, 7, 2], [0, 5, 3], [4, 0, 1], [3, 1, 0]]))
    sd, n = 1 / np.sqrt(prior.unit_precision), 60_000
    path = np.empty((2, n, 3, 2))
    for j in range(2):
        path[j, :, 0] = prior.initial_sd * rng.normal(size=(n, 2))
        for t in (1, 2):
            law, root = draw.coef[j, 0], draw.root[j, 0]
            noise = np.linalg.solve(root, rng.normal(size=(2, n))).T
            path[j, :, t] = path[j, :, t - 1] @ law[:, :2].T + law[:, 2] + noise
    theta, r = sd * rng.normal(size=(n, 4, 2)), draw.dispersion[:, None]
    own = np.empty((2, 4, n))  # log probability of a unit's counts in each cluster
    for j in range(2):
        eta = theta[..., :1] + path[j, :, None, :, 0] + theta[..., 1:] * path[j, :, None, :, 1]
        own[j] = nb_log_prob(data.y, r, np.exp(eta)).sum(axis=2).T
    every = [z for z in np.ndindex(2, 2, 2, 2) if 0 < sum(z) < 4]
    log_prob = np.array([logsumexp(sum(own[z[i], i] for i in range(4))) for z in every])
    log_prob += gammaln(1 + np.sum(every, axis=1)) + gammaln(5 - np.sum(every, axis=1))
    wanted = np.exp(log_prob - logsumexp(log_prob))
    found = np.empty((12_800, len(every)))
    for row in found:
        bicluster.reroute_states(rng, draw, data, prior)
        row[:] = [tuple(draw.cluster) == z for z in every]
    batch = found.reshape(64, -1, len(every)).mean(axis=1)
    error = np.hypot(batch.std(axis=0, ddof=1) / 8, 0.004)
    assert wanted.max() > 2 * wanted.min()
    assert (np.abs(batch.mean(axis=0) - wanted) < 4 * error).all()


@pytest.mark.parametrize("full", [False, True])
def test_changes_of_frame_leave_rates_as_they_are(rng, full):
    prior = geweke.small_prior(full=full)
    prior = bicluster_law.Prior(**{**vars(prior), "n_latent": 3})
    draw, data = draw_and_data(rng, prior=prior, n_clusters=2)
    rates, theta, latent = bicluster_law.log_rates(draw), draw.theta.copy(), draw.latent.copy()
    for _ in range(10):
        bicluster.change_frames(rng, draw, data, prior)
    assert np.abs(draw.theta - theta).max() > 0.05
    assert np.abs(draw.latent - latent).max() > 0.05
    np.testing.assert_allclose(bicluster_law.log_rates(draw), rates, atol=1e-10)


def test_what_is_not_a_number_is_never_picked(rng):
    """A path that explodes has no evidence; the others must be picked as if it were not there."""
    from neurotools.numerics.kernels.numba_biunits import _pick

    weight = np.array([0.0, np.nan, np.log(3), np.inf, -np.inf, -1e5])
    found = np.bincount([_pick(rng, weight, 6) for _ in range(4000)], minlength=6) / 4000
    np.testing.assert_allclose(found, [0.25, 0, 0.75, 0, 0, 0], atol=0.03)
    assert _pick(rng, np.array([np.nan, -np.inf]), 2) == -1


def test_a_unit_does_not_go_to_a_path_that_explodes(rng):
    prior, order = geweke.small_prior(), np.arange(4)
    draw, data = draw_and_data(rng, n_time=40, prior=prior, n_clusters=1)
    draw.latent = np.concatenate(
        [draw.latent, np.exp(np.arange(40.0) * 9)[None, :, None] * np.ones((1, 1, 2))]
    )
    for _ in range(20):
        latent, size = bicluster.with_spare(draw.latent, draw.cluster, 1)
        assign(
            rng, data.y, data.seen, draw.dispersion, draw.cluster, draw.theta, latent, size, 2, order, 0,
            prior.log_v, prior.gamma, 0, draw.state, data.start, prior.n_states, prior.unit_precision,
            prior.initial_sd, prior.column_precision, prior.noise,
        )  # fmt: skip
    assert (draw.cluster == 0).all()
