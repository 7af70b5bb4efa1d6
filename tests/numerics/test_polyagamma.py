import numpy as np
import pytest
from scipy import stats

from neurotools.numerics import polyagamma

CASES = [
    (0.05, 0.3), (0.3, 2.5), (0.7, 0.0), (0.99, 1.0), (1.0, 0.0), (1.0, 4.0), (1.4, 1.0), (1.9, 0.0),
    (2.0, 3.0), (3.3, 0.7), (4.0, 0.0), (4.0, 8.0), (5.0, 1.0), (9.7, 2.0), (40.0, 5.0),
]  # fmt: skip


@pytest.mark.parametrize(("h", "z"), CASES)
def test_mean_and_variance(rng, h, z):
    n = 40_000
    x = polyagamma.draw(rng, np.full(n, h), np.full(n, z))
    mean, variance = polyagamma.mean(h, z), polyagamma.variance(h, z)
    assert abs(x.mean() - mean) < 4.5 * np.sqrt(variance / n)
    spread = np.sqrt(np.mean((x - x.mean()) ** 4) - x.var() ** 2) / np.sqrt(n)
    assert abs(x.var() - variance) < 4.5 * spread
    assert (x > 0).all()


@pytest.mark.parametrize(("h", "z"), [(0.3, 1.0), (0.7, 0.0), (1.5, 2.0), (4.0, 0.0), (6.2, 1.0)])
def test_law_is_that_of_the_series(rng, h, z):
    x = polyagamma.draw(rng, np.full(8000, h), np.full(8000, z))
    assert stats.ks_2samp(x, polyagamma.draw_series(rng, h, z, 8000)).pvalue > 1e-3


@pytest.mark.parametrize(("h", "z"), [(0.5, 30.0), (3.0, 80.0), (7.5, 300.0), (2.2, -6.0)])
def test_large_and_negative_tilts(rng, h, z):
    x = polyagamma.draw(rng, np.full(20_000, h), np.full(20_000, z))
    assert x.mean() == pytest.approx(polyagamma.mean(h, abs(z)), rel=0.02)


def test_no_shape_no_draw_and_the_same_seed_the_same_draws():
    h, z = np.array([[0.0, 1.5], [4.0, 0.2]]), np.array([[1.0, -2.0], [0.0, 3.0]])
    first = polyagamma.draw(np.random.default_rng(1), h, z)
    assert first.shape == (2, 2)
    assert first[0, 0] == 0
    np.testing.assert_array_equal(first, polyagamma.draw(np.random.default_rng(1), h, z))


def test_negative_binomial_likelihood_is_gaussian_given_the_variates(rng):
    """The identity that the variates are for: an average of Gaussian kernels is the likelihood."""
    h, a = 3.7, 2.0
    omega = polyagamma.draw(rng, np.full(200_000, h), np.zeros(200_000))
    for psi in (-1.5, 0.4, 2.0):
        kernel = np.exp(-omega * psi**2 / 2)
        found = 2**-h * np.exp((a - h / 2) * psi) * kernel.mean()
        wanted = np.exp(a * psi) / (1 + np.exp(psi)) ** h
        assert found == pytest.approx(wanted, rel=5 * kernel.std() / kernel.mean() / np.sqrt(omega.size))
