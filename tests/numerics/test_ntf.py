"""Factorisation of pairs over subjects and time: least squares over what was observed, both layouts."""

import numpy as np
import pytest

from neurotools.arrays import to_device, to_numpy
from neurotools.numerics import affinity, ntf, pairs, tensor, units


# ---- data whose truth is known ------------------------------------------------------------------------
def planted(rng, *, n_units=14, n_subjects=4, n_time=40, rank=3, hidden=0.3, outer=False):
    """X[w, t, i, j] from known factors, and which units each subject shows."""
    if outer:
        part = rng.permuted(np.arange(n_units) % 2 == 0, axis=0)[None].repeat(rank, axis=0)
        loading = rng.uniform(0.3, 1, (rank, n_units)) * rng.permuted(part, axis=1)
        space = loading[:, :, None] * loading[:, None, :]
    else:
        space = rng.gamma(1.0, size=(rank, n_units, n_units)) * (rng.random((rank, n_units, n_units)) < 0.3)
        space = space + space.swapaxes(1, 2)
    space = space * (1 - np.eye(n_units))
    subject = rng.uniform(0.2, 1, (rank, n_subjects))
    peaks = rng.uniform(0, n_time, (rank, 2, 1))
    time = np.exp(-0.5 * ((np.arange(n_time) - peaks) / (0.06 * n_time)) ** 2).sum(axis=1)
    x = np.einsum("rij,rw,rt->wtij", space, subject, time)
    observed = np.ones((n_subjects, n_units), dtype=bool)
    while hidden:
        observed = rng.random((n_subjects, n_units)) >= hidden
        together = (observed.T.astype(int) @ observed.astype(int)) > 0
        if together.all():
            break
    return x, observed, (space, subject, time)


def mask_of(observed):
    n = observed.shape[1]
    return (observed[:, :, None] & observed[:, None, :] & ~np.eye(n, dtype=bool)).astype(float)[:, None]


def packed_rows(x, observed):
    first, second = affinity.pair_index(x.shape[-1])
    values = (x * mask_of(observed))[..., first, second]
    return values.reshape(-1, first.size)


def pair_layout(x, observed, device="cpu"):
    data = pairs.stored(to_device(packed_rows(x, observed), device), x.shape[-1])
    return ntf.PairLayout(data, observed)


def unit_layout(x, observed, device="cpu"):
    data = pairs.stored(to_device(packed_rows(x, observed), device), x.shape[-1])
    return ntf.UnitLayout(units.OfPairs(data), observed, x.shape[1])


def full_space(layout, space):
    """Motif matrices of either layout: (restart, r, unit, unit)."""
    space = to_numpy(space)
    if isinstance(layout, ntf.PairLayout):
        return affinity.unpack(space, layout.data.n_units)
    return space[..., :, None] * space[..., None, :] * (1 - np.eye(space.shape[-1]))


def residual(layout, factors, x, observed):
    """Masked residual, model minus data, entry by entry: (restart, w, t, i, j)."""
    model = np.einsum("qrij,qrw,qrt->qwtij", full_space(layout, factors.space), to_numpy(factors.subject),
                      to_numpy(factors.time))  # fmt: skip
    return (model - x) * mask_of(observed)


LAYOUTS = [pair_layout, unit_layout]


# ---- gradients over observed entries ------------------------------------------------------------------
def gradient(coupling, factor, product):
    rows = [to_numpy(coupling.explained(factor, r) - product[:, r, :]) for r in range(factor.shape[1])]
    return np.stack(rows, axis=1)


@pytest.mark.parametrize("hidden", [0.0, 0.3])
@pytest.mark.parametrize("make", LAYOUTS)
def test_gradients_equal_brute_force_least_squares(rng, device, make, hidden):
    x, observed, _ = planted(rng, hidden=hidden)
    layout = make(x, observed, device)
    factors = ntf.start(layout, 3, [(1, 0), (1, 1)])
    left = residual(layout, factors, x, observed)
    space, subject, time = (to_numpy(f) for f in (factors.space, factors.subject, factors.time))
    motifs = full_space(layout, factors.space)
    scale = np.abs(x).sum()

    product, coupling = layout.terms(factors)
    found = gradient(coupling, factors.space, product)
    over_rows = np.einsum("qwtij,qrw,qrt->qrij", left, subject, time)
    if make is pair_layout:
        expected = affinity.pack(over_rows)
    else:  # one side of every pair, the other fixed
        expected = np.einsum("qrij,qrj->qri", over_rows, space)
    np.testing.assert_allclose(found, expected, atol=1e-10 * scale)

    seen, grams = layout.project(factors.space), layout.grams(factors.space)
    product, coupling = ntf.subject_terms(seen, grams, factors.time)
    found = gradient(coupling, factors.subject, product)
    expected = 0.5 * np.einsum("qwtij,qrij,qrt->qrw", left, motifs, time)
    np.testing.assert_allclose(found, expected, atol=1e-10 * scale)

    product, matrix = ntf.time_terms(seen, grams, factors.subject)
    found = to_numpy(matrix @ factors.time - product)
    expected = 0.5 * np.einsum("qwtij,qrij,qrw->qrt", left, motifs, subject)
    np.testing.assert_allclose(found, expected, atol=1e-10 * scale)


@pytest.mark.parametrize("make", LAYOUTS)
def test_error_is_that_of_the_model_and_never_rises(rng, device, make):
    x, observed, _ = planted(rng)
    layout = make(x, observed, device)
    factors = ntf.start(layout, 4, [(0, 0), (0, 1), (0, 2)])
    norm = np.linalg.norm(x * mask_of(observed))
    last = np.full(3, np.inf)
    for _ in range(12):
        factors, error = ntf.sweep(layout, factors)
        left = residual(layout, factors, x, observed)
        direct = np.sqrt((left**2).sum(axis=(1, 2, 3, 4))) / norm
        np.testing.assert_allclose(to_numpy(error), direct, rtol=1e-8)
        assert (to_numpy(error) <= last + 1e-12).all()
        last = to_numpy(error)


def test_norm_counts_every_observed_pair_once(rng):
    x, observed, _ = planted(rng)
    expected = 0.5 * ((x * mask_of(observed)) ** 2).sum()
    for make in LAYOUTS:
        assert make(x, observed).norm2 == pytest.approx(expected, rel=1e-12)


def test_hidden_values_do_not_matter(rng):
    x, observed, _ = planted(rng)
    changed = np.where(mask_of(observed) > 0, x, 1e3)
    for make in LAYOUTS:
        a, b = (ntf.start(make(v, observed), 3, [(0, 0)]) for v in (x, changed))
        for _ in range(3):
            a, _ = ntf.sweep(make(x, observed), a)
            b, _ = ntf.sweep(make(changed, observed), b)
        np.testing.assert_array_equal(a.time, b.time)


# ---- recovery -----------------------------------------------------------------------------------------
def noisy(rng, x, share=0.1):
    """Symmetric noise of ``share`` of the norm, cut at zero as an affinity would be."""
    noise = np.triu(rng.normal(size=x.shape), 1)
    noise = noise + noise.swapaxes(2, 3)
    return np.maximum(x + share * np.linalg.norm(x) / np.linalg.norm(noise) * noise, 0)


def best_congruence(layout, truth, rank, n_restarts, seed):
    begin = ntf.start(layout, rank, [(seed, k) for k in range(n_restarts)])
    solution = ntf.solve(layout, begin, ntf.sweep, max_iter=300, tol=1e-6)
    best = int(np.argmin([e[-1] for e in solution.errors]))
    modes = [m[0] for m in layout.modes(solution.factors[best])][-3:]
    if isinstance(layout, ntf.UnitLayout):
        modes[0] = affinity.pack(full_space(layout, modes[0][None])[0])
    space, subject, time = truth
    cosines = tensor.congruence(modes, [affinity.pack(space), subject, time])
    order, _ = tensor.match(cosines)
    return cosines[np.arange(rank), order].min()


@pytest.mark.parametrize("outer", [False, True])
def test_planted_components_are_found_with_a_third_hidden(outer):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x, observed, truth = planted(rng, n_units=20, n_subjects=6, n_time=50, rank=5, outer=outer)
        layout = (unit_layout if outer else pair_layout)(noisy(rng, x), observed)
        assert best_congruence(layout, truth, 5, 3, seed) >= 0.95, seed


def test_one_loading_per_unit_ends_where_no_change_helps(rng):
    """At the end the slope is zero where a loading is positive, and not negative where it is zero."""
    x, observed, _ = planted(rng, outer=True)
    layout = unit_layout(noisy(rng, x), observed)
    solution = ntf.solve(layout, ntf.start(layout, 3, [(0, 0)]), ntf.sweep, max_iter=400, tol=1e-15)
    factors = solution.factors[0]
    product, coupling = layout.terms(factors)
    slope = gradient(coupling, factors.space, product) / np.abs(product).max()
    loading = factors.space / factors.space.max()
    assert np.abs(np.minimum(slope, loading)).max() < 1e-6


def test_best_step_is_the_lowest_point_of_the_quartic(rng, device):
    data = [rng.normal(size=50), rng.normal(size=50)]
    model = [rng.normal(size=50) for _ in range(4)] + [rng.random(50)]
    found = to_numpy(
        ntf.best_step([to_device(d, device) for d in data], [to_device(m, device) for m in model])
    )
    steps = np.linspace(0, 1, 20001)
    curve = [0.5 * m[:, None] * steps**k for k, m in enumerate(model)]
    height = sum(curve) - data[0][:, None] * steps - data[1][:, None] * steps**2
    reached = sum(0.5 * m * found**k for k, m in enumerate(model)) - data[0] * found - data[1] * found**2
    assert (reached <= height.min(axis=1) + 1e-9).all()


# ---- many starts --------------------------------------------------------------------------------------
@pytest.mark.parametrize("make", LAYOUTS)
def test_starts_in_one_batch_equal_starts_alone(rng, make):
    x, observed, _ = planted(rng)
    layout, seeds = make(x, observed), [(3, k) for k in range(4)]
    together = ntf.solve(layout, ntf.start(layout, 3, seeds), ntf.sweep, max_iter=40, tol=1e-4)
    assert len({len(e) for e in together.errors}) > 1  # they leave the batch one by one
    for k, seed in enumerate(seeds):
        alone = ntf.solve(layout, ntf.start(layout, 3, [seed]), ntf.sweep, max_iter=40, tol=1e-4)
        np.testing.assert_allclose(together.errors[k], alone.errors[0], rtol=1e-9)
        np.testing.assert_allclose(together.factors[k].time, alone.factors[0].time, rtol=1e-6, atol=1e-9)
        assert together.converged[k] == alone.converged[0]


def test_zero_tolerance_makes_every_sweep(rng):
    x, observed, _ = planted(rng, n_subjects=1, hidden=0.0)
    layout, told = pair_layout(x, observed), []
    solution = ntf.solve(
        layout, ntf.start(layout, 2, [(0, 0), (0, 1)]), ntf.sweep, max_iter=17, tol=0, on_sweep=told.append
    )
    assert [len(e) for e in solution.errors] == [17, 17]
    assert solution.converged == [False, False]
    np.testing.assert_allclose(told, np.arange(1, 18) / 17)


@pytest.mark.parametrize("make", LAYOUTS)
def test_devices_agree(rng, device, make):
    x, observed, _ = planted(rng)
    errors = []
    for where in ("cpu", device):
        layout = make(x, observed, where)
        solution = ntf.solve(layout, ntf.start(layout, 3, [(0, 0), (0, 1)]), ntf.sweep, max_iter=20, tol=1e-5)
        errors.append(solution.errors)
    for a, b in zip(*errors, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8)


def test_single_subject_has_no_subject_mode(rng):
    x, observed, _ = planted(rng, n_subjects=1, hidden=0.0)
    for make in LAYOUTS:
        layout = make(x, observed)
        factors, _ = ntf.sweep(layout, ntf.start(layout, 2, [(0, 0)]))
        np.testing.assert_array_equal(factors.subject, 1.0)
