"""Families, links and Gram matrices against SciPy, finite differences and plain loops."""

import numpy as np
import pytest
from scipy import special, stats

from neurotools.arrays import to_device, to_numpy
from neurotools.numerics import glm


def test_links_equal_scipy_and_do_not_overflow(device):
    x = np.linspace(-700, 700, 57)
    moved = to_device(x, device)
    np.testing.assert_allclose(to_numpy(glm.softplus(moved)), np.logaddexp(0, x), rtol=1e-12)
    np.testing.assert_allclose(to_numpy(glm.sigmoid(moved)), special.expit(x), rtol=1e-12)


@pytest.mark.parametrize("name", glm.LINKS)
def test_the_slope_of_a_link_is_its_derivative(name, rng):
    x, step = rng.normal(size=50), 1e-6
    link = glm.LINKS[name]
    numeric = (link.mean(x + step) - link.mean(x - step)) / (2 * step)
    np.testing.assert_allclose(link.slope(x), numeric, rtol=1e-7, atol=1e-9)


def test_log_gamma_equals_scipy(device):
    x = np.concatenate([np.linspace(0.01, 3, 100), np.geomspace(3, 1e6, 100)])
    found = to_numpy(glm.log_gamma(to_device(x, device)))
    np.testing.assert_allclose(found, special.gammaln(x), rtol=1e-12, atol=1e-12)


PEERS = {
    "poisson": lambda y, m, d: stats.poisson.logpmf(y, m),
    "negative_binomial": lambda y, m, d: stats.nbinom.logpmf(y, d, d / (d + m)),
    "bernoulli": lambda y, m, d: stats.bernoulli.logpmf(y, m),
    "gaussian": lambda y, m, d: stats.norm.logpdf(y, m, np.sqrt(d)),
}


@pytest.mark.parametrize("name", glm.FAMILIES)
def test_log_probabilities_and_variances_equal_scipy(name, device, rng):
    mean = rng.uniform(0.05, 0.95, 200)
    y = rng.integers(0, 2, 200).astype("float64")
    dispersion = rng.uniform(0.5, 20, 200)
    family = glm.FAMILIES[name]
    arrays = [to_device(x, device) for x in (y, mean, dispersion)]
    found = family.log_prob(*arrays) + family.log_normaliser(arrays[0], arrays[2])
    np.testing.assert_allclose(to_numpy(found), PEERS[name](y, mean, dispersion), rtol=1e-11, atol=1e-11)
    variance = {
        "poisson": mean,
        "negative_binomial": stats.nbinom.var(dispersion, dispersion / (dispersion + mean)),
        "bernoulli": mean * (1 - mean),
        "gaussian": dispersion,
    }[name]
    np.testing.assert_allclose(to_numpy(family.variance(arrays[1], arrays[2])), variance, rtol=1e-12)


def test_all_gram_matrices_at_once_equal_a_loop(device, rng):
    x, weights = rng.normal(size=(1300, 7)), rng.random((1300, 5))
    found = to_numpy(glm.weighted_grams(to_device(x, device), to_device(weights, device)))
    wanted = np.stack([x.T @ (w[:, None] * x) for w in weights.T])
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-10)


def test_a_bounded_mean_has_a_logarithm():
    far = np.array([-1e4, 1e4])
    assert np.isfinite(np.log(glm.bounded_mean("poisson", glm.LINKS["softplus"], far))).all()
    probability = glm.bounded_mean("bernoulli", glm.LINKS["sigmoid"], far)
    assert np.isfinite(glm.bernoulli_log_prob(np.array([1.0, 0.0]), probability, probability)).all()
