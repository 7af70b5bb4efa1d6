"""Opposed, lagged and fMRI kernels, and layouts of ordered pairs and of motifs with parts, by definition."""

import numpy as np
import pytest

from neurotools.arrays import to_device, to_numpy
from neurotools.numerics import affinity, lowrank, ntf, ordered, pairs, tensor, units

N, T, W = 9, 14, 3


def signed(rng, n_subjects=W, n_time=T, n_units=N):
    """Slopes (subject, time, unit) that rest a third of the time."""
    g = rng.normal(size=(n_subjects, n_time, n_units))
    return np.where(rng.random(g.shape) < 0.3, 0.0, g)


def shown(rng):
    while True:
        observed = rng.random((W, N)) > 0.25
        if (observed.T.astype(int) @ observed.astype(int) > 0).all():
            return observed


def parts(g):
    return np.maximum(g, 0), np.maximum(-g, 0)


def anti_of(g):
    """X[w, t, i, j] where one rises and the other falls, entry by entry."""
    a, b = g[..., :, None], g[..., None, :]
    return np.where(a * b < 0, np.sqrt(np.abs(a * b)), 0.0) * (1 - np.eye(g.shape[-1]))


def lagged_of(g, lag):
    """X[w, t, i, j] where i moved ``lag`` samples earlier as j does now."""
    early = np.zeros_like(g)
    early[:, lag:] = g[:, :-lag]
    a, b = early[..., :, None], g[..., None, :]
    return np.where(a * b > 0, np.sqrt(np.abs(a * b)), 0.0) * (1 - np.eye(g.shape[-1]))


def drives(g, device="cpu", dtype="float64", lag=0):
    up, down = (to_device(part, device, dtype) for part in parts(g))
    sent = None
    if lag:
        sent = tuple(
            affinity.lagged_by(part.mT, lag, (0, g.shape[1])).mT
            for part in (to_device(p, device, dtype) for p in parts(g))
        )
    return affinity.stacked(up, down, sent=sent)


def furthest(found, expected):
    return np.abs(to_numpy(found) - expected).max() / np.abs(expected).max()


BOUNDS = [("float64", 1e-12), ("float32", 5e-6)]


# ---- products --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("dtype", "bound"), BOUNDS)
def test_anti_in_slices_and_in_short_form_is_its_definition(rng, device, dtype, bound):
    g = signed(rng)
    x = anti_of(g).reshape(-1, N, N)
    given = drives(g, device, dtype)
    first, second = affinity.pair_index(N)
    assert furthest(affinity.slices_of("anti", given)(0, W * T), x[:, first, second]) <= bound
    products = units.SHORT_FORMS["anti"](given)
    loading, weight = rng.random((4, N)), rng.random((4, W * T))
    a, w = (to_device(v, device, dtype) for v in (loading, weight))
    lifted = products.lift(a)
    assert furthest(products.apply(lifted, a, w), np.einsum("tij,kj,kt->ki", x, loading, weight)) <= bound
    assert furthest(products.form(lifted, a), np.einsum("tij,ki,kj->kt", x, loading, loading)) <= bound
    assert products.norm2 == pytest.approx((x**2).sum(), rel=bound)


@pytest.mark.parametrize(("dtype", "bound"), BOUNDS)
def test_lagged_pairs_are_ordered_and_implicit_products_equal_dense_ones(rng, device, dtype, bound):
    g = signed(rng)
    x = lagged_of(g, 2).reshape(-1, N, N)
    given = drives(g, device, dtype, lag=2)
    first, second = affinity.pair_index(N, ordered=True)
    data = pairs.made("lagged", given, stored_bytes=0)
    assert data.ordered
    assert furthest(data.slices(0, W * T), x[:, first, second]) <= bound
    assert furthest(data.slices(3, 8, 2, 5), x[3:8, first, second][:, data.place(2, 5)]) <= bound
    assert pairs.squared_norm(data) == pytest.approx((x**2).sum(), rel=bound)
    a, b, w = rng.random((4, N)), rng.random((4, N)), rng.random((4, W * T))
    da, db, dw = (to_device(v, device, dtype) for v in (a, b, w))
    for products in (units.DIRECTED["lagged"](given), units.DirectedPairs(data)):
        assert products.norm2 == pytest.approx((x**2).sum(), rel=bound)
        assert furthest(products.apply(db, dw, 0), np.einsum("tij,kj,kt->ki", x, b, w)) <= bound
        assert furthest(products.apply(da, dw, 1), np.einsum("tij,ki,kt->kj", x, a, w)) <= bound
        assert furthest(products.form(da, db), np.einsum("tij,ki,kj->kt", x, a, b)) <= bound


def test_ordered_packing_and_blocks(rng, device):
    full = rng.random((2, 5, 5)) * (1 - np.eye(5))
    packed = affinity.pack(to_device(full, device), ordered=True)
    np.testing.assert_array_equal(to_numpy(affinity.unpack(packed, 5, ordered=True)), full)
    values = rng.random((6, 20))
    whole = pairs.stored(values, 5, ordered=True)
    cut = pairs.PairTensor(whole.slices, 6, 5, 4, (0, 2, 5), ordered=True)
    pattern = rng.random((3, 20))
    np.testing.assert_allclose(pairs.project(cut, pattern), pattern @ values.T, rtol=1e-13)
    np.testing.assert_allclose(pairs.contract(cut, pattern[:, :6]), pattern[:, :6] @ values, rtol=1e-13)


def test_a_lag_never_reaches_over_an_edge():
    x = np.arange(1.0, 9.0)
    np.testing.assert_array_equal(affinity.lagged_by(x, 2, (0, 3, 8)), [0, 0, 1, 0, 0, 4, 5, 6])
    np.testing.assert_array_equal(affinity.lagged_by(x, 5, (0, 3, 8)), np.zeros(8))


# ---- measures of fMRI ------------------------------------------------------------------------------------
def test_products_of_derivatives_are_averaged_over_the_window_before_they_are_cut(rng, device):
    z = rng.normal(size=(1, 20, 4))
    up, down = (to_device(part, device) for part in parts(z))
    given = affinity.stacked(up, down, window=5, edges=(0, 12, 20))
    found = to_numpy(affinity.unpack(affinity.slices_of("mtd", given)(0, 20), 4))
    for t in range(20):
        low, high = (max(t - 2, 0), min(t + 3, 12)) if t < 12 else (max(t - 2, 12), min(t + 3, 20))
        piece = z[0, low:high]
        expected = np.maximum(piece.T @ piece / len(piece), 0) * (1 - np.eye(4))
        np.testing.assert_allclose(found[t], expected, atol=1e-14)


def test_edge_time_series_are_products_of_standard_scores(rng):
    z = rng.normal(size=(1, 20, 4))
    found = affinity.unpack(affinity.slices_of("edge", drives(z))(0, 20), 4)
    expected = np.maximum(z[0, :, :, None] * z[0, :, None, :], 0) * (1 - np.eye(4))
    np.testing.assert_allclose(found, expected, rtol=1e-13)


# ---- layouts ---------------------------------------------------------------------------------------------
def mask_of(observed):
    return (observed[:, :, None] & observed[:, None, :] & ~np.eye(N, dtype=bool)).astype(float)[:, None]


def ordered_case(rng, device="cpu"):
    observed = shown(rng)
    g = signed(rng) * observed[:, None]
    products = units.DIRECTED["lagged"](drives(g, device, lag=1))
    return ordered.OrderedLayout(products, observed, T), lagged_of(g, 1), observed


def parts_case(rng, device="cpu"):
    observed = shown(rng)
    g = signed(rng) * observed[:, None]
    layout = ntf.UnitLayout(units.SHORT_FORMS["anti"](drives(g, device)), observed, T)
    return lowrank.LowRankLayout(layout, 3), anti_of(g), observed


def motifs(layout, space):
    space = to_numpy(space)
    if isinstance(layout, ordered.OrderedLayout):
        return np.einsum("qri,qrj->qrij", space[..., :N], space[..., N:])
    loading = space.reshape(*space.shape[:2], layout.n_parts, N)
    return np.einsum("qrli,qrlj->qrij", loading, loading)


@pytest.mark.parametrize("case", [ordered_case, parts_case])
def test_error_is_that_of_the_model_with_units_missing_and_never_rises(rng, device, case):
    layout, x, observed = case(rng, device)
    factors = ntf.start(layout, 2, [(0, 0), (0, 1)])
    both = 1.0 if case is ordered_case else 0.5
    assert layout.norm2 == pytest.approx(both * ((x * mask_of(observed)) ** 2).sum(), rel=1e-12)
    last = np.full(2, np.inf)
    for _ in range(15):
        factors, error = ntf.sweep(layout, factors)
        model = np.einsum("qrij,qrw,qrt->qwtij", motifs(layout, factors.space), to_numpy(factors.subject),
                          to_numpy(factors.time))  # fmt: skip
        left = (model - x) * mask_of(observed)
        expected = np.sqrt((left**2).sum(axis=(1, 2, 3, 4)) / ((x * mask_of(observed)) ** 2).sum())
        np.testing.assert_allclose(to_numpy(error), expected, rtol=1e-9)
        assert (to_numpy(error) <= last + 1e-12).all()
        last = to_numpy(error)


def test_gradients_of_both_sides_equal_brute_force_least_squares(rng, device):
    layout, x, observed = ordered_case(rng, device)
    factors = ntf.start(layout, 3, [(1, 0), (1, 1)])
    space, subject, time = (to_numpy(f) for f in (factors.space, factors.subject, factors.time))
    left = np.einsum("qrij,qrw,qrt->qwtij", motifs(layout, space), subject, time) - x
    over_rows = np.einsum("qwtij,qrw,qrt->qrij", left * mask_of(observed), subject, time)
    for side, contraction in ((0, "qrij,qrj->qri"), (1, "qrij,qri->qrj")):
        product, coupling = layout.side_terms(factors, side)
        own = layout.sides(factors.space)[side]
        found = np.stack([to_numpy(coupling.explained(own, r) - product[:, r, :]) for r in range(3)], axis=1)
        expected = np.einsum(contraction, over_rows, layout.sides(space)[1 - side])
        np.testing.assert_allclose(found, expected, atol=1e-10 * np.abs(x).sum())


def test_one_part_is_the_layout_of_one_loading(rng):
    layout, _, _ = parts_case(rng)
    one = lowrank.LowRankLayout(layout.units, 1)
    a, b = (ntf.start(each, 2, [(0, 0)]) for each in (one, layout.units))
    for _ in range(4):
        (a, left), (b, right) = ntf.sweep(one, a), ntf.sweep(layout.units, b)
    np.testing.assert_allclose(left, right, rtol=1e-12)


def test_planted_leaders_and_followers_are_found():
    rng = np.random.default_rng(3)
    lead, follow = (rng.uniform(0.3, 1, (3, N)) * (rng.random((3, N)) < 0.5) for _ in range(2))
    time, subject = rng.random((3, 40)) ** 4, rng.uniform(0.3, 1, (3, W))
    x = np.einsum("ri,rj,rw,rt->wtij", lead, follow, subject, time) * (1 - np.eye(N))
    values = affinity.pack(x, ordered=True).reshape(-1, N * (N - 1))
    products = units.DirectedPairs(pairs.stored(values, N, ordered=True))
    layout = ordered.OrderedLayout(products, np.ones((W, N), dtype=bool), 40)
    begin = ntf.start(layout, 3, [(0, k) for k in range(5)])
    found = ntf.solve(layout, begin, ntf.sweep, max_iter=500, tol=1e-9)
    best = int(np.argmin([e[-1] for e in found.errors]))
    modes = [mode[0] for mode in layout.modes(found.factors[best])]
    _, score = tensor.match(tensor.congruence(modes, [lead, follow, subject, time]))
    assert score > 0.99


def test_planted_motifs_of_two_parts_are_found():
    rng = np.random.default_rng(5)
    n = 16
    loading = rng.uniform(0.4, 1, (2, 2, n))
    loading *= (np.arange(n) // 4)[None, None] == np.array([[0, 1], [2, 3]])[..., None]
    motif = np.einsum("rli,rlj->rij", loading, loading) * (1 - np.eye(n))
    time, subject = rng.random((2, 50)) ** 3, rng.uniform(0.3, 1, (2, W))
    x = np.einsum("rij,rw,rt->wtij", motif, subject, time)
    data = pairs.stored(affinity.pack(x).reshape(-1, n * (n - 1) // 2), n)
    base = ntf.UnitLayout(units.OfPairs(data), np.ones((W, n), dtype=bool), 50)
    layout = lowrank.LowRankLayout(base, 2)
    begin = ntf.start(layout, 2, [(0, k) for k in range(8)])
    found = ntf.solve(layout, begin, ntf.sweep, max_iter=1000, tol=1e-10)
    best = int(np.argmin([e[-1] for e in found.errors]))
    modes = [mode[0] for mode in layout.modes(found.factors[best])]
    _, score = tensor.match(tensor.congruence(modes, [affinity.pack(motif), subject, time]))
    assert score > 0.98
