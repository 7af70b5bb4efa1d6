"""Types of connections: integrals against quadrature, sums against all 3^K types, and what is learned."""

import itertools

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import gammaln

from neurotools.numerics import connection_types as types

SIZES = types.Sizes(np.array([0.3, 0.8]), np.array([0.5, 0.4]))


# ---- weights given a type -------------------------------------------------------------------------------
@pytest.mark.parametrize(("linear", "information"), [(0.0, 0.0), (3.0, 5.0), (-8.0, 12.0), (40.0, 60.0)])
def test_integrals_over_a_weight_equal_quadrature(linear, information):
    found = types.tilted(np.array([linear]), np.array([information]), SIZES)

    def density(w, power, sign, mode, width):
        prior = stats.norm.pdf(w, mode, width) / stats.norm.cdf(mode / width)
        return w**power * prior * np.exp(sign * linear * w - 0.5 * information * w * w)

    for sign, mode, width, type_ in [(-1, 0.3, 0.5, 0), (1, 0.8, 0.4, 2)]:
        moments = [
            integrate.quad(density, 0, 6, args=(p, sign, mode, width), epsabs=0, epsrel=1e-11)[0]
            for p in range(3)
        ]
        assert found.log_total[0, type_] == pytest.approx(np.log(moments[0]), abs=1e-9)
        assert found.mean[0, type_] == pytest.approx(sign * moments[1] / moments[0], rel=1e-8)
        assert found.square[0, type_] == pytest.approx(moments[2] / moments[0], rel=1e-8)
    assert found.log_total[0, 1] == found.mean[0, 1] == found.square[0, 1] == 0


def test_moments_far_below_zero_are_those_of_an_exponential():
    for ratio in (-49.0, -51.0, -1e4, -1e8):
        mean, square = types._moments_above_zero(np.array([ratio]))
        assert mean[0] * -ratio == pytest.approx(1, abs=3 / ratio**2 + 1e-9)
        assert square[0] * ratio**2 == pytest.approx(2, abs=20 / ratio**2 + 1e-6)


def test_the_mean_is_the_slope_of_the_log_integral(rng):
    linear, information = rng.normal(scale=6, size=50), rng.gamma(2.0, 4.0, size=50)
    step = 1e-6
    up = types.tilted(linear + step, information, SIZES).log_total
    down = types.tilted(linear - step, information, SIZES).log_total
    found = types.tilted(linear, information, SIZES)
    np.testing.assert_allclose((up - down) / (2 * step), found.mean, atol=1e-7)


# ---- sums over types ------------------------------------------------------------------------------------
def by_enumeration(log_total, base, concentration):
    """Log of the sum over all types of all states, P(type) of each, and of how many are of each."""
    n = len(log_total)
    alpha, log_prob, all_types = concentration * base, [], list(itertools.product(range(3), repeat=n))
    for chosen in all_types:
        counts = np.bincount(chosen, minlength=3)
        if ((alpha == 0) & (counts > 0)).any():
            log_prob.append(-np.inf)
            continue
        some = alpha > 0
        prior = (gammaln(alpha[some] + counts[some]) - gammaln(alpha[some])).sum()
        prior += gammaln(concentration) - gammaln(concentration + n)
        log_prob.append(prior + log_total[np.arange(n), chosen].sum())
    total = np.logaddexp.reduce(log_prob)
    weight = np.exp(np.array(log_prob) - total)
    prob, counts = np.zeros((n, 3)), np.zeros((n + 1, n + 1))
    for chosen, w in zip(all_types, weight, strict=True):
        prob[np.arange(n), chosen] += w
        counts[chosen.count(0), chosen.count(2)] += w
    return total, prob, counts


@pytest.mark.parametrize("n_state", [1, 2, 5])
@pytest.mark.parametrize("concentration", [0.05, 2.0, 300.0])
def test_a_type_for_each_state_equals_the_sum_over_all_types(n_state, concentration, rng):
    log_total = rng.normal(scale=4, size=(3, 2, n_state, 3))
    base = np.array([0.15, 0.6, 0.25])
    found = types.type_per_state(log_total, base, concentration)
    for place in np.ndindex(3, 2):
        total, prob, counts = by_enumeration(log_total[place], base, concentration)
        assert found.log_total[place] == pytest.approx(total, abs=1e-11)
        np.testing.assert_allclose(found.prob[place], prob, atol=1e-11)
        np.testing.assert_allclose(found.counts[place], counts, atol=1e-11)


def test_a_type_that_cannot_be_takes_no_part(rng):
    log_total = rng.normal(scale=4, size=(4, 3))
    log_total[:, 0] += 2000  # however well it would do
    base = np.array([[0.0, 0.7, 0.3]])
    found = types.type_per_state(log_total[None], base, 1.5)
    total, prob, _ = by_enumeration(log_total, base[0], 1.5)
    assert found.log_total[0] == pytest.approx(total, abs=1e-11)
    np.testing.assert_allclose(found.prob[0], prob, atol=1e-12)
    shared = types.one_type(log_total[None], base)
    assert (shared.prob[..., 0] == 0).all()


def test_one_type_is_the_limit_of_types_that_states_have_in_common(rng):
    log_total, base = rng.normal(size=(6, 3, 3)), np.array([0.2, 0.5, 0.3])
    shared = types.one_type(log_total, base)
    limit = types.type_per_state(log_total, base, 1e-9)
    np.testing.assert_allclose(limit.log_total, shared.log_total, atol=1e-7)
    np.testing.assert_allclose(limit.prob, shared.prob, atol=1e-7)


def test_p_type_is_the_slope_of_the_log_sum(rng):
    log_total, base = rng.normal(size=(1, 4, 3)), np.array([0.2, 0.5, 0.3])
    found = types.type_per_state(log_total, base, 1.2)
    for k, c in [(0, 0), (2, 1), (3, 2)]:
        moved = []
        for sign in (1, -1):
            other = log_total.copy()
            other[0, k, c] += sign * 1e-6
            moved.append(types.type_per_state(other, base, 1.2).log_total[0])
        assert (moved[0] - moved[1]) / 2e-6 == pytest.approx(found.prob[0, k, c], abs=1e-8)


# ---- what is learned ------------------------------------------------------------------------------------
@pytest.mark.parametrize(("mode", "width"), [(0.0, 0.7), (0.4, 0.5), (1.0, 0.2)])
def test_sizes_are_found_from_their_moments(mode, width, rng):
    drawn = stats.truncnorm.rvs(-mode / width, np.inf, mode, width, size=200_000, random_state=rng)
    found = types.fitted_size((0.1, 1.0), drawn.size, drawn.mean(), (drawn**2).mean())
    assert found == pytest.approx((mode, width), abs=0.03)


def test_a_handful_of_nothing_changes_no_size():
    assert types.fitted_size((0.2, 0.3), 0.5, 1.0, 1.1) == (0.2, 0.3)


def test_shares_and_concentration_are_found_from_types(rng):
    base, concentration, n = np.array([0.1, 0.75, 0.15]), 2.0, 6
    counts = np.zeros((1000, n + 1, n + 1))
    for row, share in zip(counts, rng.dirichlet(concentration * base, size=1000), strict=True):
        down, _, up = rng.multinomial(n, share)
        row[down, up] = 1
    found, amount = np.full(3, 1 / 3), 10.0
    for _ in range(150):
        found, amount = types.fitted_shares_and_concentration(counts, found, amount, True)
    np.testing.assert_allclose(found, base, atol=0.025)
    assert amount == pytest.approx(concentration, rel=0.2)
    alone = 10.0
    for _ in range(150):
        _, alone = types.fitted_shares_and_concentration(counts, base, alone, False)
    assert alone == pytest.approx(concentration, rel=0.2)
