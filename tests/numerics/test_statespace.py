import numpy as np
import pytest

from neurotools.numerics import statespace


def blocks(rng, n=7, q=3):
    """A random positive definite block-tridiagonal precision."""
    left = rng.normal(size=(n, q, q)) * 0.4
    low = np.tril(rng.normal(size=(n, q, q)) * 0.3) + np.eye(q)
    diag = low @ np.swapaxes(low, 1, 2)
    off = np.zeros((n, q, q))
    for t in range(1, n):
        off[t] = left[t] @ low[t - 1].T
        diag[t] += left[t] @ left[t].T
    return diag, off, rng.normal(size=(n, q))


def test_path_law_equals_the_dense_gaussian(rng):
    diag, off, lin = blocks(rng)
    dense = statespace.dense_precision(diag, off)
    law = statespace.path_law(diag, off, lin)
    np.testing.assert_allclose(law.mean.ravel(), np.linalg.solve(dense, lin.ravel()), rtol=1e-10)
    path = rng.normal(size=lin.shape)
    gap = (path - law.mean).ravel()
    wanted = 0.5 * np.linalg.slogdet(dense)[1] - 0.5 * gap @ dense @ gap - 0.5 * gap.size * np.log(2 * np.pi)
    assert law.log_density(path) == pytest.approx(wanted, rel=1e-12)


def test_draws_have_the_dense_mean_and_covariance(rng):
    diag, off, lin = blocks(rng, n=4, q=2)
    covariance = np.linalg.inv(statespace.dense_precision(diag, off))
    law = statespace.path_law(diag, off, lin)
    draws = np.stack([law.draw(rng).ravel() for _ in range(20_000)])
    error = np.sqrt(np.diag(covariance) / draws.shape[0])
    assert np.abs((draws.mean(0) - law.mean.ravel()) / error).max() < 4.5
    spread = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2)
    z = (np.cov(draws.T) - covariance) / spread * np.sqrt(draws.shape[0])
    assert np.abs(z).max() < 4.5


def test_covariances_of_bins_and_neighbours_are_those_of_the_dense_gaussian(rng):
    from neurotools.numerics.kernels.numba_bisearch import covariances

    diag, off, lin = blocks(rng, n=6, q=2)
    dense = np.linalg.inv(statespace.dense_precision(diag, off)).reshape(6, 2, 6, 2)
    law = statespace.path_law(diag, off, lin)
    own, lag = covariances(law.low, law.left)
    for t in range(6):
        np.testing.assert_allclose(own[t], dense[t, :, t], atol=1e-12)
        if t:
            np.testing.assert_allclose(lag[t], dense[t, :, t - 1], atol=1e-12)


def test_a_precision_that_is_none_is_refused():
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        statespace.path_law(-np.ones((2, 1, 1)), np.zeros((2, 1, 1)), np.zeros((2, 1)))


def example(rng, n=40, q=2):
    path = np.cumsum(rng.normal(size=(n, q)), axis=0)
    start = np.zeros(n, bool)
    start[[0, 17]] = True
    return path, rng.integers(3, size=n), start


def test_evidence_of_a_path_equals_matrix_t_densities(rng):
    given = example(rng)
    wanted = statespace.path_log_evidence_dense(*given, 4, column_precision=1.7, scale=0.2, freedom=3.5)
    found = statespace.path_log_evidence(*given, 4, column_precision=1.7, scale=0.2, freedom=3.5)
    assert found == pytest.approx(wanted, rel=1e-11)


def test_draws_of_dynamics_have_posterior_means(rng):
    path, state, start = example(rng, n=60)
    draws = [statespace.draw_dynamics(rng, path, state, start, 2 + 2, scale=0.5) for _ in range(4000)]
    coef, noise = (np.stack(part) for part in zip(*draws, strict=True))
    bins = np.flatnonzero((state == 1) & ~start)
    x = np.column_stack([path[bins - 1], np.ones(bins.size)])
    step = path[bins] - path[bins - 1]
    gram = x.T @ x + np.eye(3)
    mean = np.linalg.solve(gram, x.T @ step).T
    inside = 0.5 * np.eye(2) + step.T @ step - mean @ gram @ mean.T
    mean[:, :2] += np.eye(2)
    wanted = inside / (bins.size + 1)
    z = (coef[:, 1].mean(0) - mean) / (coef[:, 1].std(0) / np.sqrt(len(draws)))
    assert np.abs(z).max() < 4.5
    z = (noise[:, 1].mean(0) - wanted) / (noise[:, 1].std(0) / np.sqrt(len(draws)))
    assert np.abs(z).max() < 4.5
    # a state without bins is drawn from the prior
    assert np.median(coef[:, 3, 0, 0]) == pytest.approx(1.0, abs=0.1)
    assert np.median(coef[:, 3, 0, 2]) == pytest.approx(0.0, abs=0.1)


def test_states_with_paths_integrated_out_follow_the_exact_law(rng):
    """Stretches rerouted again and again, against the sum over all sequences of states."""
    from itertools import product

    from neurotools.numerics.kernels.numba_bijoint import reroute

    n, q, n_states = 6, 2, 3
    start = np.array([True, False, False, False, True, False])
    coef, root = rng.normal(size=(1, n_states, q, q + 1)) * 0.5, np.zeros((1, n_states, q, q))
    for k in range(n_states):
        root[0, k] = np.tril(rng.normal(size=(q, q)) * 0.3) + np.eye(q) * (1.5, 0.8, 1.1)[k]
    transition = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.2, 0.6]])
    half = rng.normal(size=(1, n, q, q))
    weight, pull = half @ np.swapaxes(half, -1, -2) / 2, rng.normal(size=(1, n, q))
    sequences = list(product(range(n_states), repeat=n))
    log_prob = np.zeros(len(sequences))
    for i, sequence in enumerate(sequences):
        diag, off, lin = weight[0].copy(), np.zeros((n, q, q)), pull[0].copy()
        for t, k in enumerate(sequence):
            if start[t]:
                diag[t] += np.eye(q)
                continue
            noise, a, b = root[0, k].T @ root[0, k], coef[0, k, :, :q], coef[0, k, :, q]
            diag[t] += noise
            diag[t - 1] += a.T @ noise @ a
            off[t] = -noise @ a
            lin[t] += noise @ b
            lin[t - 1] -= a.T @ noise @ b
            log_prob[i] += np.log(np.diag(root[0, k])).sum() - 0.5 * b @ noise @ b
            log_prob[i] += np.log(transition[sequence[t - 1], k])
        dense = statespace.dense_precision(diag, off)
        log_prob[i] += 0.5 * lin.ravel() @ np.linalg.solve(dense, lin.ravel())
        log_prob[i] -= 0.5 * np.linalg.slogdet(dense)[1]
    wanted = np.exp(log_prob - log_prob.max())
    wanted /= wanted.sum()
    path, state, found = np.zeros((1, n, q)), np.zeros(n, dtype="int64"), np.zeros(len(sequences))
    for _ in range(9000):
        reroute(rng, path, coef, root, state, start, transition, 1.0, weight, pull, 2, 2)
        found[sequences.index(tuple(state.tolist()))] += 1
    error = np.sqrt(wanted * (1 - wanted) / (9000 / 4))
    assert np.abs(found / 9000 - wanted).max() < 0.02
    assert (np.abs(found / 9000 - wanted) / np.maximum(error, 2e-3)).max() < 4.5
