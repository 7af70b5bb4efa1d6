"""Families of weights of the block model against numerical integrals of their definitions."""

from __future__ import annotations

from math import lgamma, log, pi

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gammaln

from neurotools.numerics import blockmodel, blockpredict, blocksearch
from neurotools.numerics.blockweights import FAMILIES, SCALES


def graph_of(name, rng, n_units=9, density=0.7):
    """A random graph with weights that the family takes."""
    shape = (n_units, n_units)
    weights = {
        "exponential": rng.exponential(2.0, shape),
        "lognormal": np.exp(rng.normal(1.0, 0.8, shape)),
        "normal": rng.normal(1.0, 2.0, shape),
        "poisson": rng.poisson(1.5, shape).astype(float),
        "zero-inflated": 1.0 + rng.poisson(2.0, shape),
    }[name]
    weights = np.triu(weights * (rng.random(shape) < (1.0 if name == "poisson" else density)), 1)
    return weights + weights.T


# ---- oracle: integrals over the parameters, in the unit of the weights ---------------------------------
def log_quad(log_f, low, high):
    """Log of an integral, by the trapezoid rule on a fine grid around the largest value."""
    grid = np.linspace(low, high, 20_001)
    values = log_f(grid)
    top = values.max()
    return float(top + np.log(np.exp(values - top).sum() * (grid[1] - grid[0])))


def rates(scale):
    """Log density of log(rate), for a rate that is Gamma(1, scale)."""
    return lambda log_rate: log(scale) - scale * np.exp(log_rate) + log_rate


def by_integral(name, weights, steps, unit, scale):
    """Minus log of the probability of weights (with strengths) between two blocks."""
    if name == "exponential":
        mean = unit[1] * 2.0**steps

        def log_f(log_rate):
            rate = np.exp(log_rate)[:, None] / mean
            return rates(scale)(log_rate) + (np.log(rate) - rate * weights).sum(1)

        return -log_quad(log_f, -60, 30)
    if name in {"poisson", "zero-inflated"}:
        counts = weights - (name == "zero-inflated")

        def log_f(log_rate):
            rate = np.exp(log_rate)[:, None] * unit[1] * 2.0**steps
            return rates(scale)(log_rate) + (counts * np.log(rate) - rate - gammaln(counts + 1)).sum(1)

        return -log_quad(log_f, -60, 30)
    return -log_normal(name, weights, steps, unit, scale)


def log_normal(name, weights, steps, unit, scale):
    """The same for normal weights and logarithms: over the mean by hand, over the log variance on a grid."""
    centre, sd = unit
    values = (weights - 0.5 * sd * steps) if name == "normal" else np.log(weights) - log(2) * steps
    jacobian = 0.0 if name == "normal" else np.log(weights).sum()

    def log_f(log_variance):
        variance = np.exp(log_variance)  # in units of sd^2
        prior = 1.5 * log(1.5 * scale) - lgamma(1.5) - 1.5 * log_variance - 1.5 * scale / variance
        total = np.empty_like(variance)
        spread = np.sqrt(variance / (values.size + scale))
        z = np.linspace(-9, 9, 181)
        middle = (values - centre).sum() / sd / (values.size + scale)
        for k, v in enumerate(variance):
            mean = middle + spread[k] * z
            log_density = -0.5 * np.log(2 * pi * v / scale) - 0.5 * scale * mean**2 / v
            off = values - centre - sd * mean[:, None]
            log_density += (-0.5 * np.log(2 * pi * v * sd**2) - 0.5 * off**2 / (v * sd**2)).sum(1)
            total[k] = np.logaddexp.reduce(log_density) + np.log(spread[k] * (z[1] - z[0]))
        return prior + total

    grid = np.linspace(-14, 14, 1401)
    values_on_grid = log_f(grid)
    top = values_on_grid.max()
    return top + np.log(np.exp(values_on_grid - top).sum() * (grid[1] - grid[0])) - jacobian


def of_pairs(weights, labels, every_pair):
    """The pairs of units of every two blocks that have a weight: rows and columns."""
    rows, columns = np.triu_indices(len(weights), 1)
    for r in range(labels.max() + 1):
        for s in range(r + 1):
            inside = sorted((r, s)) == np.sort([labels[rows], labels[columns]], axis=0).T
            chosen = inside.all(axis=1) & ((weights[rows, columns] != 0) | every_pair)
            if chosen.any():
                yield rows[chosen], columns[chosen]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("corrected", [False, True])
def test_weights_cost_what_the_integral_over_their_parameters_says(name, corrected, rng):
    weights, labels = graph_of(name, rng), np.arange(9) % 2
    levels = rng.integers(0, 5, (2, 9)) if corrected else None
    steps = np.zeros(9) if levels is None else levels[1] - 2.0
    known = blockpredict.evidence_of(weights, labels, levels, name)
    expected = sum(
        by_integral(name, weights[i, j], steps[i] + steps[j], (known.centre, known.unit), known.scale)
        for i, j in of_pairs(weights, labels, FAMILIES[name].every_pair)
    )
    parts = blockmodel.description_parts(weights, labels, levels, name)
    assert parts["weights"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["exponential", "normal", "poisson"])
def test_one_value_has_a_density_of_integral_one(name):
    nats = FAMILIES[name].nats
    for scale in SCALES[[0, 3]]:

        def density(v, scale=scale):
            second = v**2 if name == "normal" else 1.0
            return float(np.exp(-nats(np.array([1.0]), np.array([v]), np.array([second]), scale))[0])

        if name == "poisson":
            v = np.arange(4000.0)
            total = np.exp(-nats(v * 0 + 1, v, v * 0 + 1, scale) - gammaln(v + 1)).sum()
        else:
            low = -np.inf if name == "normal" else 0
            total = quad(density, low, np.inf, limit=300)[0]
        assert total == pytest.approx(1.0, abs=1e-3 if name == "poisson" else 1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_edges_cost_nothing(name):
    nothing = np.zeros(1)
    assert FAMILIES[name].nats(nothing, nothing, nothing, 0.25)[0] == pytest.approx(0.0, abs=1e-12)


# ---- oracle: the compiled functions -------------------------------------------------------------------
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("corrected", [False, True])
def test_compiled_length_is_that_of_the_definition(name, corrected, rng):
    weights = np.stack([graph_of(name, rng, 12), graph_of(name, rng, 12)])
    found = blocksearch.find_partition(weights, corrected=corrected, seed=1, family=name)
    levels = found.levels if corrected else None
    again = blockmodel.description_length(weights, found.labels, levels, name)
    assert found.description_length == pytest.approx(again, abs=1e-7)
    one_block = np.zeros(12, dtype=int)
    assert (
        found.description_length
        <= blockmodel.description_length(
            weights, one_block, blockmodel.neutral_levels(12) if corrected else None, name
        )
        + 1e-9
    )


# ---- property -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", FAMILIES)
def test_predictive_is_the_joint_over_the_first(name, rng):
    """Two layers on one partition: p(second | first) is p(both) / p(first) when the unit is the same."""
    first, second, labels = graph_of(name, rng), graph_of(name, rng), np.arange(9) % 2
    known = blockpredict.evidence_of(first, labels, None, name)
    of = FAMILIES[name]
    log_prob = blockpredict.predictive_log_prob(known, second)
    # Of the same graph again, with the sums doubled by hand.
    twice = blockpredict.predictive_log_prob(known, first)
    values = of.standardise(first)
    upper = np.triu_indices(2)
    sums = [blockmodel.block_sums(one, labels)[upper] for one in (values.edges, values.value, values.second)]
    nats = of.nats(*(2 * one for one in sums), known.scale) - of.nats(*sums, known.scale)
    expected = -nats.sum() - values.free
    if not of.every_pair:
        n = blockmodel.pair_counts(labels)[upper]
        expected -= (blockmodel.edge_nats(2 * n, 2 * sums[0]) - blockmodel.edge_nats(n, sums[0])).sum()
    assert twice == pytest.approx(expected, abs=1e-9)
    assert np.isfinite(log_prob)
    # A graph on another scale is brought to the unit of the first.
    if name == "exponential":
        shifted = blockpredict.predictive_log_prob(known, 3 * first)
        more = of.nats(sums[0] * 2, sums[1] * 4, sums[2], known.scale) - of.nats(*sums, known.scale)
        change = more.sum() - nats.sum()
        assert shifted == pytest.approx(twice - change, abs=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("corrected", [False, True])
def test_expected_weights_are_near_the_mean_of_their_pairs(name, corrected, rng):
    weights, labels = graph_of(name, rng, 60), np.arange(60) % 2
    levels = blockmodel.neutral_levels(60) if corrected else None
    expected = blockpredict.expected_weight(blockpredict.evidence_of(weights, labels, levels, name))
    same = (labels[:, None] == labels) & ~np.eye(60, dtype=bool)
    assert expected[same].mean() == pytest.approx(weights[same].mean(), rel=0.08)
    assert not np.diag(expected).any()
