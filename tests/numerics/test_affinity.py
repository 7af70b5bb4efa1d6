"""Drives, kernels and their products, against the definitions written out pair by pair."""

import math

import numpy as np
import pytest
import scipy.ndimage

from neurotools.arrays import to_device, to_numpy
from neurotools.errors import SettingsError
from neurotools.numerics import affinity, pairs, units


# ---- slopes -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0, 3.7])
def test_gaussian_derivative_is_scipys(rng, device, sigma):
    x = rng.normal(size=(3, 40))
    expected = scipy.ndimage.gaussian_filter1d(x, sigma, axis=-1, order=1, mode="nearest")
    found = to_numpy(affinity.gaussian_derivative(to_device(x, device), sigma))
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_gaussian_derivative_of_a_trace_shorter_than_the_filter(rng):
    x = rng.normal(size=(2, 5))
    expected = scipy.ndimage.gaussian_filter1d(x, 4.0, axis=-1, order=1, mode="nearest")
    np.testing.assert_allclose(affinity.gaussian_derivative(x, 4.0), expected, atol=1e-14)


def test_slope_of_a_line_and_of_a_constant():
    line = 0.25 * np.arange(50.0)
    np.testing.assert_allclose(affinity.finite_difference(line), 0.25)
    # Cutting the bell at four widths loses a thousandth of the slope.
    np.testing.assert_allclose(affinity.gaussian_derivative(line, 2.0)[8:-8], 0.25, rtol=2e-3)
    assert (affinity.gaussian_derivative(np.full(50, 3.0), 2.0) == 0).all()


def test_finite_difference_in_irregular_time(rng, device):
    x, time = rng.normal(size=(2, 12)), np.cumsum(rng.uniform(0.5, 2, 12))
    found = to_numpy(affinity.finite_difference(to_device(x, device), to_device(time, device)))
    for t in range(12):
        a, b = max(t - 1, 0), min(t + 1, 11)
        np.testing.assert_allclose(found[:, t], (x[:, b] - x[:, a]) / (time[b] - time[a]), rtol=1e-13)


def test_nothing_crosses_an_edge(rng):
    x = rng.normal(size=(2, 30))

    def slope(y):
        return affinity.gaussian_derivative(y, 2.0)

    found = affinity.between_edges(x, (0, 12, 30), slope)
    np.testing.assert_array_equal(found, np.concatenate([slope(x[:, :12]), slope(x[:, 12:])], axis=1))


# ---- scales -----------------------------------------------------------------------------------------
def test_percentile99_ignores_zeros(rng, device):
    g = rng.normal(size=(4, 300)) * (rng.random((4, 300)) < 0.3)
    g[3] = 0
    found = to_numpy(affinity.percentile99(to_device(g, device)))[:, 0]
    expected = [np.percentile(np.abs(row[row != 0]), 99) for row in g[:3]]
    np.testing.assert_allclose(found[:3], expected, rtol=1e-12)
    assert found[3] == 0


def test_silent_units_become_zero_and_opposite_parts_never_overlap(rng, device):
    g = rng.normal(size=(3, 20))
    g[1] = 0
    x = to_device(g, device)
    up, down = (to_numpy(part) for part in affinity.rectified(x, affinity.largest(x), 0.1))
    assert (up[1] == 0).all()
    assert (down[1] == 0).all()
    assert not ((up > 0) & (down > 0)).any()
    scaled = g[[0, 2]] / np.abs(g[[0, 2]]).max(axis=1, keepdims=True)
    np.testing.assert_allclose((up - down)[[0, 2]], np.where(np.abs(scaled) >= 0.1, scaled, 0), rtol=1e-15)


# ---- kernels ----------------------------------------------------------------------------------------
def by_definition(kernel, a, b):
    """Affinity of two slopes, as the table of kernels states it."""
    if a * b <= 0:
        return 0.0
    a, b = abs(a), abs(b)
    return {
        "geomean": math.sqrt(a * b),
        "product": a * b,
        "min": min(a, b),
        "ratio": math.exp(-abs(math.log(a) - math.log(b))),
    }[kernel]


def slopes(rng, n_rows, n_units):
    """Slopes with rests and ties."""
    g = np.round(rng.normal(size=(n_rows, n_units)), 1)
    return np.where(rng.random(g.shape) < 0.3, 0.0, g)


def drives_of(g, device="cpu", dtype="float64"):
    up, down = (to_device(part[None], device, dtype) for part in (np.maximum(g, 0), np.maximum(-g, 0)))
    return affinity.stacked(up, down)


@pytest.mark.parametrize("kernel", ["geomean", "product", "min", "ratio"])
def test_kernels_equal_their_definition(rng, device, kernel):
    g = slopes(rng, 9, 6)
    couples = list(zip(*affinity.pair_index(6), strict=True))
    expected = [[by_definition(kernel, row[i], row[j]) for i, j in couples] for row in g]
    found = affinity.slices_of(kernel, drives_of(g, device))(0, 9)
    np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-13)


def test_correlation_in_a_window_is_pearsons(rng, device):
    z = rng.normal(size=(20, 4))
    z[:, 2] = np.repeat(z[::10, 2], 10)  # constant in most windows
    z[:, 3] = 1e6 + 1e-3 * z[:, 3]
    drives = drives_of(z, device)
    drives = affinity.Drives(drives.up, drives.down, window=5, edges=(0, 12, 20))
    found = to_numpy(affinity.unpack(affinity.slices_of("corr_window", drives)(0, 20), 4))
    for t in range(20):
        piece = z[max(t - 2, 0) : min(t + 3, 12)] if t < 12 else z[max(t - 2, 12) : min(t + 3, 20)]
        for i in range(4):
            for j in range(4):
                constant = np.ptp(piece[:, i]) == 0 or np.ptp(piece[:, j]) == 0
                r = 0.0 if i == j or constant else np.corrcoef(piece[:, i], piece[:, j])[0, 1]
                assert found[t, i, j] == pytest.approx(max(r, 0.0), abs=1e-7)


def test_windows_end_with_their_subject(rng):
    up, down = rng.random((2, 6, 3)), np.zeros((2, 6, 3))
    drives = affinity.stacked(up, down, window=3, edges=(0, 4, 6))
    assert drives.edges == (0, 4, 6, 10, 12)
    assert affinity.window_bounds(6, drives) == (6, 8)
    assert affinity.window_bounds(9, drives) == (8, 10)


def test_unknown_kernel_is_named(rng):
    with pytest.raises(SettingsError, match="Did you mean 'geomean'"):
        affinity.slices_of("geomaen", drives_of(slopes(rng, 3, 3)))


def test_packing_and_unpacking(rng, device):
    full = rng.random((2, 5, 5))
    full = (full + full.swapaxes(1, 2)) * (1 - np.eye(5))
    packed = affinity.pack(to_device(full, device))
    first, second = affinity.pair_index(5)
    np.testing.assert_array_equal(to_numpy(packed), full[:, first, second])
    np.testing.assert_array_equal(to_numpy(affinity.unpack(packed, 5)), full)


# ---- products without the dense tensor -----------------------------------------------------------------
def with_missing_rows(rng, n_units=30, n_rows=40):
    """Slopes of two subjects end to end; each lacks some units, whose drives are zero."""
    g = slopes(rng, n_rows, n_units) + 0.01 * rng.normal(size=(n_rows, n_units))
    g[: n_rows // 2, :7] = 0
    g[n_rows // 2 :, -9:] = 0
    return g


def dense(kernel, g):
    """X[t, i, j], diagonal zero, entry by entry."""
    n = g.shape[1]
    values = [[[by_definition(kernel, row[i], row[j]) if i != j else 0.0 for j in range(n)] for i in range(n)]
              for row in g]  # fmt: skip
    return np.array(values)


def furthest(found, expected):
    return np.abs(to_numpy(found) - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 5e-6)])
@pytest.mark.parametrize("kernel", ["geomean", "product", "min", "ratio"])
def test_implicit_products_equal_dense_ones(rng, device, kernel, dtype, tolerance):
    g = with_missing_rows(rng)
    x = dense(kernel, g)
    n_rows, n = g.shape
    drives = drives_of(g, device, dtype)
    loading, weight = rng.random((5, n)), rng.random((5, n_rows))
    a, w = (to_device(value, device, dtype) for value in (loading, weight))

    products = units.SHORT_FORMS[kernel](drives)
    lifted = products.lift(a)
    assert furthest(products.apply(lifted, a, w), np.einsum("tij,kj,kt->ki", x, loading, weight)) <= tolerance
    assert furthest(products.form(lifted, a), np.einsum("tij,ki,kj->kt", x, loading, loading)) <= tolerance
    assert products.norm2 == pytest.approx((x**2).sum(), rel=tolerance)

    first, second = affinity.pair_index(n)
    pattern = rng.random((5, first.size))
    z = to_device(pattern, device, dtype)
    packed = x[:, first, second]
    blocks = pairs.PairTensor(affinity.slices_of(kernel, drives), n_rows, n, block_rows=7)
    for data in (blocks, pairs.gathered(blocks)):
        assert furthest(pairs.contract(data, w), weight @ packed) <= tolerance
        assert furthest(pairs.project(data, z), pattern @ packed.T) <= tolerance
        assert pairs.squared_norm(data) == pytest.approx((packed**2).sum(), rel=tolerance)


@pytest.mark.parametrize("kernel", ["geomean", "corr_window"])
def test_products_through_pairs_equal_dense_ones(rng, device, kernel):
    drives = drives_of(with_missing_rows(rng), device)
    drives = affinity.Drives(drives.up, drives.down, window=5, edges=(0, 20, 40))
    data = pairs.made(kernel, drives, stored_bytes=0)
    x = to_numpy(affinity.unpack(data.slices(0, 40), 30))
    loading, weight = rng.random((4, 30)), rng.random((4, 40))
    a, products = to_device(loading, device), units.OfPairs(data)
    found = products.apply(products.lift(a), a, to_device(weight, device))
    assert furthest(found, np.einsum("tij,kj,kt->ki", x, loading, weight)) <= 1e-12
    assert furthest(products.form(a, a), np.einsum("tij,ki,kj->kt", x, loading, loading)) <= 1e-12
    assert products.norm2 == pytest.approx((x**2).sum(), rel=1e-12)


def test_sorted_products_keep_small_values_beside_large_ones(rng):
    up = 10.0 ** rng.uniform(-9, 0, size=(3, 12))
    drives = affinity.Drives(up, np.zeros_like(up))
    a = 10.0 ** rng.uniform(-9, 0, size=(1, 12))
    for kernel in ("min", "ratio"):
        x = dense(kernel, up)
        found = units.SHORT_FORMS[kernel](drives).apply(a, a, np.ones((1, 3)))
        np.testing.assert_allclose(found, np.einsum("tij,kj->ki", x, a), rtol=1e-12)


def test_pairs_are_kept_only_within_the_budget(rng):
    drives = drives_of(slopes(rng, 10, 8))
    whole = 10 * 28 * 8
    for budget, kept in ((whole, True), (whole - 1, False)):
        data = pairs.made("geomean", drives, budget)
        assert np.shares_memory(data.slices(0, 3), data.slices(0, 3)) == kept
