"""Single hidden entries: least squares over the others alone, whatever the hidden ones say."""

import numpy as np
import pytest
import tensorly as tl

from neurotools.arrays import to_device, to_numpy
from neurotools.numerics import cp, hidden, ntf, tensor


def planted(rng, shape=(12, 9, 10), rank=3, noise=0.0):
    factors = [rng.random((rank, n)) * (rng.random((rank, n)) < 0.6) for n in shape]
    x = tl.cp_to_tensor((None, [factor.T for factor in factors]))
    return x + noise * rng.random(shape) * x.std(), factors


def uniform(rng, shape, rank, n_restarts=2):
    return [rng.random((n_restarts, rank, n)) for n in shape]


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_gradients_equal_brute_force_weighted_least_squares(rng, device, mode):
    x, _ = planted(rng, noise=0.2)
    mask = (rng.random(x.shape) < 0.7).astype(float)
    factors = uniform(rng, x.shape, 4)
    product, grams = cp.Seen(*(to_device(v, device) for v in (x, mask))).terms(
        [to_device(f, device) for f in factors], mode
    )
    found = np.einsum("qrsn,qsn->qrn", to_numpy(grams), factors[mode]) - to_numpy(product)
    left = np.einsum("qri,qrj,qrk->qijk", *factors) - x
    others = [f for m, f in enumerate(factors) if m != mode]
    names = "ijk"
    rest = [names[m] for m in range(3) if m != mode]
    expected = np.einsum(f"qijk,qr{rest[0]},qr{rest[1]}->qr{names[mode]}", left * mask, *others)
    np.testing.assert_allclose(found, expected, atol=1e-10 * np.abs(x).sum())


def test_error_is_that_of_the_seen_entries_and_never_rises(rng, device):
    x, _ = planted(rng, noise=0.3)
    mask = (rng.random(x.shape) < 0.6).astype(float)
    data = cp.Seen(*(to_device(v, device) for v in (x, mask)))
    for free in ((), (1,), (0, 1, 2)):
        factors = [to_device(f, device) for f in uniform(rng, x.shape, 3)]
        last = np.full(2, np.inf)
        for _ in range(8):
            factors, error = cp.seen_sweep(data, factors, free=free)
            model = np.einsum("qri,qrj,qrk->qijk", *map(to_numpy, factors))
            expected = np.linalg.norm((model - x) * mask, axis=(1, 2)).reshape(2, -1)
            expected = np.sqrt((((model - x) * mask) ** 2).sum(axis=(1, 2, 3)) / ((x * mask) ** 2).sum())
            np.testing.assert_allclose(to_numpy(error), expected, rtol=1e-7)
            assert (to_numpy(error) <= last + 1e-10).all()
            last = to_numpy(error)


def test_nothing_hidden_is_the_plain_sweep_with_one_product_per_mode(rng):
    x, _ = planted(rng, noise=0.2)
    begin = uniform(rng, x.shape, 3)
    data = cp.Seen(x, np.ones_like(x))
    a = b = begin
    for _ in range(3):
        (a, left), (b, right) = cp.seen_sweep(data, a), cp.sweep(x, b)
        np.testing.assert_allclose(left, right, rtol=1e-10)


@pytest.mark.parametrize("free", [(), (0, 2)])
def test_a_third_hidden_is_predicted(rng, free):
    x, _ = planted(rng)
    mask = (rng.random(x.shape) < 0.67).astype(float)
    data = cp.Seen(np.where(mask > 0, x, 1e6), mask)
    factors = uniform(rng, x.shape, 3, n_restarts=6)
    for _ in range(400):
        factors, error = cp.seen_sweep(data, factors, free=free)
    best = int(np.argmin(error))
    found = [f[best] for f in factors]
    np.testing.assert_allclose(np.einsum("ri,rj,rk->ijk", *found), x, atol=0.02 * x.max())


def test_free_modes_without_a_mask_reach_tensorlys_least_squares(rng):
    x = rng.normal(size=(8, 7, 6))
    factors = [rng.normal(size=(8, 2, n)) for n in x.shape]
    last = np.full(8, np.inf)
    for _ in range(200):
        factors, error = cp.sweep(x, factors, free=(0, 1, 2))
        assert (error <= last + 1e-10).all()
        last = error
    theirs = min(
        tl.norm(
            x - tl.cp_to_tensor(tl.decomposition.parafac(x, 2, init="random", random_state=k, n_iter_max=500))
        )
        for k in range(6)
    )
    assert error.min() * np.linalg.norm(x) <= theirs * (1 + 1e-3)


def test_pairs_of_which_entries_are_hidden(rng, device):
    """Several subjects and a single one; what is hidden does not matter."""
    for n_subjects in (1, 3):
        rows = rng.random((n_subjects * 8, 10))
        mask = rng.random((n_subjects, 8, 10)) < 0.8
        changed = np.where(mask.reshape(-1, 10), rows, 99.0)
        results = []
        for values in (rows, changed):
            layout = hidden.hidden_layout(to_device(values, device), n_subjects, mask)
            factors = hidden.start(layout, 2, [(0, 0), (0, 1)])
            for _ in range(4):
                factors, error = hidden.sweep(layout, factors)
            results.append(to_numpy(error))
        np.testing.assert_array_equal(*results)
        model = np.einsum("qrp,qrw,qrt->qwtp", *map(to_numpy, (factors.space, factors.subject, factors.time)))
        left = (model - rows.reshape(n_subjects, 8, 10)) * mask
        expected = np.sqrt((left**2).sum(axis=(1, 2, 3)) / ((rows.reshape(mask.shape) * mask) ** 2).sum())
        np.testing.assert_allclose(results[0], expected, rtol=1e-8)


def test_il2_responses_are_fitted_as_well_as_by_imputation(shared):
    with np.load(shared("reference/ntf") / "il2_masked.npz", allow_pickle=False) as file:
        x, mask = file["tensor"], file["mask"].astype(float)
    x = np.nan_to_num(x)
    rng = np.random.default_rng(0)
    data, factors = cp.Seen(x, mask), [rng.random((4, 3, n)) for n in x.shape]
    for _ in range(150):
        factors, error = cp.seen_sweep(data, factors)
    assert error.min() <= 0.250


def test_core_consistency_of_the_right_and_of_too_many_components(rng):
    x, truth = planted(rng, rank=2, noise=0.05)
    factors = uniform(rng, x.shape, 2, n_restarts=4)
    for _ in range(200):
        factors, error = cp.sweep(x, factors)
    right = [f[int(np.argmin(error))] for f in factors]
    assert cp.core_consistency(x, right) > 95
    factors = uniform(rng, x.shape, 5, n_restarts=4)
    for _ in range(200):
        factors, error = cp.sweep(x, factors)
    assert cp.core_consistency(x, [f[int(np.argmin(error))] for f in factors]) < 50
    assert cp.core_consistency(np.einsum("ri,rj,rk->ijk", *truth), truth) == pytest.approx(100)


def test_solved_factors_are_least_squares(rng, device):
    matrix, product = rng.random((3, 4, 4)), rng.random((3, 4, 7))
    matrix = matrix @ matrix.swapaxes(1, 2) + np.eye(4)
    found = to_numpy(cp.solved(to_device(matrix, device), to_device(product, device)))
    np.testing.assert_allclose(found, np.linalg.solve(matrix, product), rtol=1e-8)
    assert np.isfinite(
        to_numpy(cp.solved(to_device(0 * matrix, device), to_device(0 * product, device)))
    ).all()
    assert ntf.INNER_PASSES == 3
    assert tensor.norms(np.ones((1, 4))) == 2.0
