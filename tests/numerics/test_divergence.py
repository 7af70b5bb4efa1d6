"""Likelihoods on the support: the divergence by definition, steps that never raise it, known answers."""

import numpy as np
import pytest

from neurotools.arrays import to_device, to_numpy
from neurotools.numerics import divergence, pairs, tensor
from neurotools.numerics.divergence import DIVERGENCES

N, T, W = 7, 20, 3
KINDS = sorted(DIVERGENCES)


def sparse(rng, n_subjects=W, n_time=T):
    """Rows (subject * time, pair) of which four in five are zero, and which units each subject shows."""
    n_pairs = N * (N - 1) // 2
    rows = rng.gamma(1.0, size=(n_subjects * n_time, n_pairs)) * (
        rng.random((n_subjects * n_time, n_pairs)) < 0.2
    )
    observed = np.ones((n_subjects, N), dtype=bool)
    if n_subjects > 1:
        observed[0, :2] = observed[1, 4] = False
    first, second = np.triu_indices(N, 1)
    shown = observed[:, first] & observed[:, second]
    return rows * np.repeat(shown, n_time, axis=0), observed, shown


def layout_of(rows, observed, device="cpu", dtype="float64"):
    return divergence.SupportLayout(pairs.stored(to_device(rows, device, dtype), N), observed)


def by_definition(kind, x, m, seen):
    if kind == "kl":
        terms = np.where(x > 0, x * np.log(np.where(x > 0, x, 1) / m) - x + m, m)
        return (terms * seen).sum()
    share = np.where(x > 0, x, 1) / m
    return ((share - np.log(share) - 1) * (x > 0)).sum()


def dense_model(factors, n_time):
    parts = (to_numpy(f) for f in (factors.space, factors.subject, factors.time))
    model = np.einsum("qrp,qrw,qrt->qwtp", *parts)
    return model.reshape(model.shape[0], -1, model.shape[-1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_subjects", [1, W])
def test_divergence_is_its_definition_and_no_sweep_raises_it(rng, device, kind, n_subjects):
    rows, observed, shown = sparse(rng, n_subjects)
    layout = layout_of(rows, observed, device)
    seen = np.repeat(shown, T, axis=0)
    factors = divergence.start(layout, 3, [(0, 0), (0, 1)])
    x = rows / layout.scale
    mean = x.sum() / (seen.sum() if kind == "kl" else (x > 0).sum())
    constant = by_definition(kind, x, np.full_like(x, mean), seen)
    last = np.full(2, np.inf)
    for _ in range(10):
        for step in (divergence.improve_space, divergence.improve_subject, divergence.improve_time):
            factors = step(layout, factors, DIVERGENCES[kind])
            found = to_numpy(divergence.divergence(layout, factors, DIVERGENCES[kind]))
            expected = [by_definition(kind, x, m + 1e-15, seen) / constant for m in dense_model(factors, T)]
            np.testing.assert_allclose(found, expected, rtol=1e-9)
            assert (found <= last + 1e-12).all()
            last = found


def test_a_perfect_model_leaves_nothing(rng):
    space, time = rng.random((2, N * (N - 1) // 2)) * np.array([[1.0], [3.0]]), rng.random((2, T))
    rows = np.einsum("rp,rt->tp", space, time)
    layout = layout_of(rows, np.ones((1, N), dtype=bool))
    for kind in KINDS:
        factors = divergence.start(layout, 2, [(0, k) for k in range(3)])
        for _ in range(500):
            factors, left = divergence.sweep(layout, factors, DIVERGENCES[kind])
        assert left.min() < 5e-3, kind


def test_poisson_factors_are_found_where_least_squares_follows_the_largest(rng):
    """Counts of two motifs, one a hundred times stronger: both are found."""
    members = np.arange(N * (N - 1) // 2) < 10
    space = np.stack([500.0 * members, 5.0 * ~members])
    time = rng.random((2, 100)) * (rng.random((2, 100)) < 0.4)
    rows = rng.poisson(np.einsum("rp,rt->tp", space, time)).astype(float)
    layout = layout_of(rows, np.ones((1, N), dtype=bool))
    factors = divergence.start(layout, 2, [(0, k) for k in range(4)])
    for _ in range(200):
        factors, left = divergence.sweep(layout, factors, DIVERGENCES["kl"])
    best = int(np.argmin(left))
    found = [factors.space[best], factors.time[best]]
    _, score = tensor.match(tensor.congruence(found, [space, time]))
    assert score > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_times_of_known_patterns(rng, kind):
    rows, observed, _ = sparse(rng)
    layout = layout_of(rows, observed)
    factors = divergence.start(layout, 2, [(0, 0)])
    for _ in range(150):
        factors, left = divergence.sweep(layout, factors, DIVERGENCES[kind])
    space = factors.space * layout.scale
    _, error = divergence.times_of(layout, space, factors.subject, DIVERGENCES[kind])
    assert error == pytest.approx(float(left[0]), abs=2e-3)
    assert error <= float(left[0]) + 1e-6


def test_precisions_and_libraries_agree(rng, device):
    rows, observed, _ = sparse(rng)
    for kind in KINDS:
        errors = []
        for where, dtype in (("cpu", "float64"), (device, "float64"), (device, "float32")):
            layout = layout_of(rows, observed, where, dtype)
            factors = divergence.start(layout, 2, [(0, 0)])
            for _ in range(10):
                factors, left = divergence.sweep(layout, factors, DIVERGENCES[kind])
            errors.append(float(left[0]))
        assert errors[1] == pytest.approx(errors[0], rel=1e-8)
        assert errors[2] == pytest.approx(errors[0], rel=1e-3)
