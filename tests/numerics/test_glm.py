"""Families, links and Gram matrices against SciPy, finite differences and plain loops."""

import numpy as np
import pytest
from scipy import special, stats

from neurotools.arrays import digamma, log_gamma, to_device, to_numpy, trigamma
from neurotools.numerics import glm


def test_links_equal_scipy_and_do_not_overflow(device):
    x = np.linspace(-700, 700, 57)
    moved = to_device(x, device)
    np.testing.assert_allclose(to_numpy(glm.softplus(moved)), np.logaddexp(0, x), rtol=1e-12)
    np.testing.assert_allclose(to_numpy(glm.sigmoid(moved)), special.expit(x), rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in glm.LINKS if name != "softmax"])
def test_slope_and_bend_of_a_link_are_its_derivatives(name, device, rng):
    x, step = rng.normal(size=50), 1e-6
    link = glm.LINKS[name]

    def at(function, values):
        return to_numpy(function(to_device(values, device)))

    numeric = (at(link.mean, x + step) - at(link.mean, x - step)) / (2 * step)
    np.testing.assert_allclose(at(link.slope, x), numeric, rtol=1e-7, atol=1e-9)
    numeric = (at(link.slope, x + step) - at(link.slope, x - step)) / (2 * step)
    np.testing.assert_allclose(at(link.bend, x), numeric, rtol=1e-7, atol=1e-9)


def test_softmax_has_its_first_alternative_at_zero(device, rng):
    x = rng.normal(size=(20, 3)) * np.array([1, 30, 800])
    found = to_numpy(glm.softmax(to_device(x, device)))
    wanted = special.softmax(np.concatenate([np.zeros((20, 1)), x], axis=1), axis=1)[:, 1:]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_log_gamma_and_its_slopes_equal_scipy(device):
    x = np.concatenate([np.linspace(0.01, 3, 100), np.geomspace(3, 1e6, 100)])
    moved = to_device(x, device)
    np.testing.assert_allclose(to_numpy(log_gamma(moved)), special.gammaln(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(to_numpy(digamma(moved)), special.digamma(x), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(to_numpy(trigamma(moved)), special.polygamma(1, x), rtol=1e-10)


PEERS = {
    "poisson": lambda y, m, d: stats.poisson.logpmf(y, m),
    "negative_binomial": lambda y, m, d: stats.nbinom.logpmf(y, d, d / (d + m)),
    "bernoulli": lambda y, m, d: stats.bernoulli.logpmf(y, m),
    "gaussian": lambda y, m, d: stats.norm.logpdf(y, m, np.sqrt(d)),
}


@pytest.mark.parametrize("name", PEERS)
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


def test_tries_and_choices_equal_scipy(device, rng):
    trials = rng.integers(1, 30, 200).astype("float64")
    chance, family = rng.uniform(0.02, 0.98, 200), glm.FAMILIES["binomial"]
    y = rng.binomial(trials.astype(int), chance).astype("float64")
    moved = [to_device(part, device) for part in (y, trials * chance, trials)]
    found = family.log_prob(*moved) + family.log_normaliser(moved[0], moved[2])
    np.testing.assert_allclose(to_numpy(found), stats.binom.logpmf(y, trials, chance), rtol=1e-10, atol=1e-10)
    wanted = stats.binom.var(trials, chance)
    np.testing.assert_allclose(to_numpy(family.variance(*moved[1:])), wanted, rtol=1e-12)

    prob = rng.dirichlet(np.ones(4), size=200)
    code = rng.integers(0, 4, 200)
    one = (code[:, None] == np.arange(1, 4)).astype("float64")
    arrays = [to_device(part, device) for part in (one, prob[:, 1:], np.ones(3))]
    found = to_numpy(glm.FAMILIES["categorical"].log_prob(*arrays)).sum(axis=1)
    np.testing.assert_allclose(found, np.log(prob[np.arange(200), code]), rtol=1e-10)


@pytest.mark.parametrize("name", ["poisson", "negative_binomial", "bernoulli", "binomial", "gaussian"])
def test_variances_have_the_slope_they_say(name, rng):
    mean, scale = rng.uniform(0.1, 0.9, 50), rng.uniform(1.5, 8.0, 50)
    family, step = glm.FAMILIES[name], 1e-6
    numeric = (family.variance(mean + step, scale) - family.variance(mean - step, scale)) / (2 * step)
    np.testing.assert_allclose(family.variance_slope(mean, scale), numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", glm.DISPERSION_SLOPES)
def test_slopes_by_the_dispersion_are_derivatives(name, device, rng):
    mean, log_scale = rng.uniform(0.5, 9, 50), rng.uniform(-1, 3, 50)
    y, family, step = rng.poisson(mean).astype("float64"), glm.FAMILIES[name], 1e-4

    def at(log_value):
        arrays = [to_device(part, device) for part in (y, mean, np.exp(log_value))]
        return to_numpy(family.log_prob(*arrays) + family.log_normaliser(arrays[0], arrays[2]))

    slope, bend = (
        to_numpy(part)
        for part in glm.DISPERSION_SLOPES[name](
            *(to_device(part, device) for part in (y, mean, np.exp(log_scale)))
        )
    )
    low, here, high = (at(log_scale + move) for move in (-step, 0.0, step))
    np.testing.assert_allclose(slope, (high - low) / (2 * step), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(bend, (high - 2 * here + low) / step**2, rtol=1e-3, atol=1e-5)


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
