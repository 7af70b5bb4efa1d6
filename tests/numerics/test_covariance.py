"""Covariance measures against their definitions, scikit-learn's shrinkage, and on every array library."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from neurotools.arrays import dispatch, to_device, to_numpy
from neurotools.numerics import covariance as maths


@pytest.fixture
def series(rng):
    shared = rng.normal(size=(3, 60, 4)) @ rng.normal(size=(3, 4, 12))
    return (shared + rng.normal(size=(3, 60, 12))) * rng.uniform(0.1, 10, size=12) + 5


def test_empirical_is_the_mean_of_products(series):
    assert_allclose(maths.empirical(series)[1], np.cov(series[1].T, ddof=0), rtol=1e-12)


@pytest.mark.parametrize("n", [4, 12, 60])
def test_shrinkage_is_scikit_learns(series, n):
    from sklearn.covariance import ledoit_wolf

    for x in series[:, :n]:
        assert_allclose(maths.ledoit_wolf(x), ledoit_wolf(x)[0], rtol=1e-11, atol=1e-13)


def test_partial_correlation_is_that_of_residuals(series):
    x = maths.centred(series[0])
    others = x[:, 2:]
    residual = x[:, :2] - others @ np.linalg.lstsq(others, x[:, :2], rcond=None)[0]
    found = maths.partial_correlation(maths.empirical(x))
    assert_allclose(found[0, 1], np.corrcoef(residual.T)[0, 1], rtol=1e-10)
    assert_allclose(np.diag(found), 1, rtol=0)


def test_scale_changes_shrunk_partial_correlation_only_before_standardising(series):
    scaled = series * np.logspace(-2, 2, 12)
    plain = [maths.partial_correlation(maths.ledoit_wolf(x)) for x in (series, scaled)]
    standard = [maths.partial_correlation(maths.correlation_of_series(x, True)) for x in (series, scaled)]
    assert abs(plain[0] - plain[1]).max() > 0.05
    assert_allclose(standard[0], standard[1], atol=1e-10)


def test_geometric_mean_is_invariant_to_a_change_of_basis(series, rng):
    c = maths.empirical(series)
    basis = rng.normal(size=(12, 12))
    mean, converged = maths.geometric_mean(c, 500, 1e-12)
    moved, _ = maths.geometric_mean(basis @ c @ basis.T, 500, 1e-12)
    assert converged
    assert_allclose(moved, basis @ mean @ basis.T, rtol=1e-6, atol=1e-7 * abs(moved).max())


def test_displacements_from_the_geometric_mean_sum_to_zero(series):
    c = maths.empirical(series)
    mean, _ = maths.geometric_mean(c, 500, 1e-13)
    _, whitening = maths.square_roots(mean)
    assert_allclose(maths.tangent(c, whitening).mean(axis=0), 0, atol=1e-9)


def test_commuting_matrices_have_the_geometric_mean_of_their_eigenvalues(rng):
    basis = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    values = rng.uniform(0.5, 5, size=(4, 5))
    mean, _ = maths.geometric_mean((basis * values[:, None, :]) @ basis.T, tol=1e-13)
    assert_allclose(mean, (basis * np.exp(np.log(values).mean(axis=0))) @ basis.T, atol=1e-10)


@pytest.mark.parametrize("shrink", [True, False])
def test_devices_and_kernels_agree(series, device, shrink):
    x = to_device(series, device)
    found = maths.correlation_of_series(x, shrink)
    plain = maths._correlation_of_series(series, shrink)
    assert_allclose(to_numpy(found), plain, atol=1e-12)
    assert_allclose(to_numpy(maths.partial_correlation(found)), maths._partial_correlation(plain), atol=1e-10)
    assert_allclose(to_numpy(maths.precision(found)), maths.spd_inverse(plain), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("shape", [(2, 30, 7), (2, 1300, 94), (40, 302)])
@pytest.mark.parametrize("shrink", [True, False])
def test_tiles_and_blas_give_the_plain_correlation(rng, shape, shrink):
    x = 5.0 + 1e3 * rng.normal(size=shape)
    fast = maths.correlation_of_series(x, shrink)
    assert_allclose(fast, maths._correlation_of_series(x, shrink), rtol=0, atol=1e-13)
    assert (fast == np.swapaxes(fast, -1, -2)).all()


def test_what_has_no_inverse_is_told_by_the_kernel():
    singular = np.ones((1, 3, 3))
    kernel = dispatch("spd_inverse", singular, maths.spd_inverse)
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        kernel(singular)
