"""Unfolding, Khatri-Rao products, non-negative updates and congruence, against obvious computations."""

import itertools

import numpy as np
import pytest
import scipy.optimize

from neurotools.arrays import to_device, to_numpy
from neurotools.numerics import cp, tensor


# ---- algebra ----------------------------------------------------------------------------------------
def test_unfold_lays_fibres_along_columns(rng, device):
    x = rng.normal(size=(3, 4, 5))
    for axis in range(3):
        expected = np.reshape(np.moveaxis(x, axis, 0), (x.shape[axis], -1))
        np.testing.assert_array_equal(to_numpy(tensor.unfold(to_device(x, device), axis)), expected)


def test_khatri_rao_is_the_kronecker_product_of_each_component(rng, device):
    a, b = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 5))
    found = to_numpy(tensor.khatri_rao(to_device(a, device), to_device(b, device)))
    for q, r in itertools.product(range(2), range(3)):
        np.testing.assert_allclose(found[q, r], np.kron(a[q, r], b[q, r]), rtol=1e-14)


def test_gram_holds_inner_products(rng, device):
    f = rng.normal(size=(2, 3, 7))
    found = to_numpy(tensor.gram(to_device(f, device)))
    np.testing.assert_allclose(found, np.einsum("qrn,qsn->qrs", f, f), rtol=1e-13)


def test_normalise_takes_out_the_scale_and_keeps_zero(rng):
    a, b = rng.random((3, 4)), rng.random((3, 5))
    b[1] = 0
    (unit_a, unit_b), weight = tensor.normalise([a, b])
    np.testing.assert_allclose(weight[:, None, None] * unit_a[:, :, None] * unit_b[:, None, :],
                               a[:, :, None] * b[:, None, :], rtol=1e-14)  # fmt: skip
    np.testing.assert_allclose(tensor.norms(unit_b), [1, 0, 1])
    assert weight[1] == 0


# ---- non-negative least squares -----------------------------------------------------------------------
def test_one_component_takes_its_exact_minimum(rng, device):
    f, g, s = rng.random((1, 6)), rng.normal(size=(1, 6)), np.array([[2.5]])
    coupling = tensor.shared_gram(to_device(s, device))
    found = tensor.nonnegative_update(to_device(f, device), to_device(g, device), coupling, 1)
    np.testing.assert_allclose(to_numpy(found), np.maximum(g / 2.5, 0), atol=1e-15)


def test_an_entry_without_data_keeps_its_value(rng):
    f = rng.random((2, 4))
    grams = np.stack([np.eye(2), np.zeros((2, 2))])
    coupling = tensor.grouped_gram(grams, np.array([0, 1, 0, 1]))
    found = tensor.nonnegative_update(f, np.ones((2, 4)), coupling, 2)
    np.testing.assert_array_equal(found[:, [1, 3]], f[:, [1, 3]])
    np.testing.assert_allclose(found[:, [0, 2]], 1.0)


def test_grouped_gram_is_one_gram_matrix_per_entry(rng, device):
    roots = rng.random((3, 2, 4, 6))  # restarts, groups
    grams = roots @ roots.swapaxes(-1, -2)
    group = np.array([0, 1, 1, 0, 1])
    f, g = rng.random((3, 4, 5)), rng.random((3, 4, 5))
    coupling = tensor.grouped_gram(to_device(grams, device), to_device(group, device))
    found = to_numpy(tensor.nonnegative_update(to_device(f, device), to_device(g, device), coupling, 3))
    for n, k in enumerate(group):
        alone = tensor.nonnegative_update(f[:, :, n : n + 1], g[:, :, n : n + 1],
                                          tensor.shared_gram(grams[:, k]), 3)  # fmt: skip
        np.testing.assert_allclose(found[:, :, n : n + 1], alone, rtol=1e-12, atol=1e-14)


def test_nonnegative_solve_is_scipys_nnls(rng, device):
    a, b = rng.normal(size=(30, 5)), rng.normal(size=(30, 8))
    found = tensor.nonnegative_solve(to_device(a.T @ b, device), to_device(a.T @ a, device))
    expected = np.stack([scipy.optimize.nnls(a, column)[0] for column in b.T], axis=1)
    np.testing.assert_allclose(to_numpy(found), expected, atol=1e-9)


def test_relative_error_without_forming_the_model(rng):
    x, a, b = rng.random((6, 7)), rng.random((3, 6)), rng.random((3, 7))
    found = tensor.relative_error((x**2).sum(), a @ x, b, tensor.gram(a) * tensor.gram(b))
    assert found == pytest.approx(np.linalg.norm(x - a.T @ b) / np.linalg.norm(x), abs=1e-14)


# ---- congruence ---------------------------------------------------------------------------------------
def test_congruence_is_the_cosine_of_rank_one_tensors(rng):
    left, right = [rng.random((3, n)) for n in (4, 5, 6)], [rng.random((3, n)) for n in (4, 5, 6)]
    full = [np.einsum("ri,rj,rk->rijk", *factors).reshape(3, -1) for factors in (left, right)]
    unit = [f / np.linalg.norm(f, axis=1, keepdims=True) for f in full]
    np.testing.assert_allclose(tensor.congruence(left, right), unit[0] @ unit[1].T, rtol=1e-13)


def test_matching_undoes_order_and_scale(rng):
    factors = [rng.random((5, n)) ** 4 for n in (20, 30)]
    order = rng.permutation(5)
    other = [rng.uniform(0.5, 2, (5, 1)) * f[order] for f in factors]
    found, score = tensor.match(tensor.congruence(factors, other))
    np.testing.assert_array_equal(order[found], np.arange(5))
    assert score == pytest.approx(1.0, abs=1e-12)


# ---- dense factorisation ------------------------------------------------------------------------------
def load_planted(shared):
    reference = np.load(shared("reference/ntf/planted.npz"), allow_pickle=False)
    return reference, reference["X"].astype("float64"), [reference[f"init_{k}"].T[None] for k in range(3)]


@pytest.mark.parametrize(("peer", "passes"), [("tensorly", 5), ("tensortools", 3)])
def test_sweeps_equal_other_software(shared, peer, passes):
    reference, x, factors = load_planted(shared)
    for count in range(1, 21):
        factors, error = cp.sweep(x, factors, passes)
        if count in (1, 5):
            for mode, factor in enumerate(factors):
                expected = reference[f"{peer}_hals_{count}_factor{mode}"]
                np.testing.assert_allclose(factor[0].T, expected, rtol=1e-10, atol=1e-10)
    assert error[0] == pytest.approx(float(reference[f"{peer}_hals_20_relerr"]), abs=1e-6)


def test_planted_factors_are_found(shared):
    reference, x, factors = load_planted(shared)
    for _ in range(60):
        factors, _ = cp.sweep(x, factors)
    planted = [reference[f"planted_{k}"].T for k in range(3)]
    _, score = tensor.match(tensor.congruence([f[0] for f in factors], planted))
    assert score >= 0.999


def random_problem(rng, shape, rank, n_restarts):
    return rng.random(shape), [rng.random((n_restarts, rank, n)) for n in shape]


@pytest.mark.parametrize("shape", [(6, 7), (5, 6, 7), (4, 5, 3, 6), (3, 4, 2, 3, 4)])
def test_the_tree_equals_one_mode_after_the_other(rng, shape):
    x, factors = random_problem(rng, shape, 3, 2)
    found, error = cp.sweep(x, factors)
    expected = [f.copy() for f in factors]
    for mode in range(len(shape)):
        others = [f for m, f in enumerate(expected) if m != mode]
        for q in range(2):
            weights = others[0][q]
            matrix = tensor.gram(others[0][q])
            for other in others[1:]:
                weights, matrix = tensor.khatri_rao(weights, other[q]), matrix * tensor.gram(other[q])
            product = weights @ tensor.unfold(x, mode).T
            expected[mode][q] = tensor.nonnegative_update(
                expected[mode][q], product, tensor.shared_gram(matrix), 3
            )
    for mode in range(len(shape)):
        np.testing.assert_allclose(found[mode], expected[mode], rtol=1e-9, atol=1e-12)
    letters = "ijklm"[: len(shape)]
    model = np.einsum(",".join(f"qr{c}" for c in letters) + "->q" + letters, *found)
    direct = [np.linalg.norm(x - m) / np.linalg.norm(x) for m in model]
    np.testing.assert_allclose(error, direct, rtol=1e-10)


def test_error_never_rises_and_devices_agree(rng, device):
    x, factors = random_problem(rng, (8, 9, 10), 4, 3)
    here, there = factors, [to_device(f, device) for f in factors]
    y, last = to_device(x, device), np.full(3, np.inf)
    for _ in range(15):
        here, error = cp.sweep(x, here)
        there, other = cp.sweep(y, there)
        np.testing.assert_allclose(to_numpy(other), error, rtol=1e-8)
        assert (error <= last + 1e-14).all()
        last = error
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(to_numpy(b), a, rtol=1e-8, atol=1e-10)


def test_float32_stays_float32_and_close(rng):
    x, factors = random_problem(rng, (8, 9, 10), 3, 2)
    small, exact = [f.astype("float32") for f in factors], factors
    for _ in range(5):
        small, error = cp.sweep(x.astype("float32"), small)
        exact, expected = cp.sweep(x, exact)
    assert {f.dtype for f in small} == {np.dtype("float32")}
    np.testing.assert_allclose(error, expected, rtol=1e-3)
