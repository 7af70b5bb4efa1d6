from fractions import Fraction
from math import lgamma

import numpy as np
import pytest
from scipy.special import logsumexp

from neurotools.numerics import mixtures


def exact(n, t, rho):
    """log V_n(t) for gamma = 1 from rational numbers, until terms no longer count."""
    total, weight, k = Fraction(0), Fraction(1, 1), t
    rho = Fraction(rho).limit_denominator(1000)
    falling = Fraction(1)
    for j in range(t):
        falling *= t - j
    rising = Fraction(1)
    for j in range(n):
        rising *= t + j
    weight = (1 - rho) ** (t - 1) * rho
    while True:
        term = falling / rising * weight
        total += term
        if term < total / 10**14 and k > t + 20:
            break
        falling *= Fraction(k + 1, k + 1 - t)
        rising *= Fraction(k + n, k)
        weight *= 1 - rho
        k += 1
    numerator, denominator = total.numerator, total.denominator
    shift = denominator.bit_length() - numerator.bit_length() + 60
    return float(np.log(float((numerator << shift) // denominator)) - shift * np.log(2.0))


@pytest.mark.parametrize(("n", "t"), [(30, 1), (30, 7), (171, 1), (171, 3), (171, 40), (1000, 1), (1000, 5)])
def test_coefficients_of_finite_mixtures_are_exact(n, t):
    found = mixtures.finite_mixture_coefficients(n, 0.2)[t]
    assert found == pytest.approx(exact(n, t, 0.2), rel=1e-11)


def partitions(n):
    """All partitions of n things, as labels in order of first appearance."""
    labels = [[0]]
    for _ in range(n - 1):
        labels = [[*row, k] for row in labels for k in range(max(row) + 2)]
    return [np.array(row) for row in labels]


LAWS = [
    (mixtures.finite_mixture_coefficients(5, 0.3), 1.0),
    (mixtures.finite_mixture_coefficients(5, 0.3, 0.5), 0.5),
    (mixtures.dirichlet_process_coefficients(5, 1.7), 0.0),
]


@pytest.mark.parametrize(("log_v", "gamma"), LAWS)
def test_probabilities_of_all_partitions_sum_to_one(log_v, gamma):
    log_prob = [mixtures.log_partition_prob(np.bincount(row), log_v, gamma) for row in partitions(5)]
    assert logsumexp(log_prob) == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize(("log_v", "gamma"), LAWS)
def test_draws_follow_the_law(rng, log_v, gamma):
    every = {tuple(row): k for k, row in enumerate(partitions(5))}
    prob = np.exp([mixtures.log_partition_prob(np.bincount(row), log_v, gamma) for row in map(list, every)])
    n = 4000
    found = np.zeros(len(every))
    for _ in range(n):
        found[every[tuple(mixtures.draw_partition(rng, 5, log_v, gamma))]] += 1
    chi = ((found - n * prob) ** 2 / (n * prob)).sum()
    assert chi < len(every) + 4.5 * np.sqrt(2 * len(every))


def test_large_numbers_of_units_stay_finite():
    log_v = mixtures.finite_mixture_coefficients(400, 0.2)
    assert np.isfinite(log_v[1:]).all()
    assert mixtures.dirichlet_process_coefficients(400, 1.0)[1] == pytest.approx(-lgamma(401))
