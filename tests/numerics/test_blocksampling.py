"""Draws of the block model against the exact posterior over all partitions of a few units."""

from __future__ import annotations

import itertools
from math import lgamma

import numpy as np
import pytest

from neurotools.numerics import blockmodel, blocksearch
from neurotools.numerics.blocksampling import sample_partitions
from neurotools.numerics.blockweights import FAMILIES
from neurotools.numerics.kernels import numba_blockmodel as kernel


def all_partitions(n_units):
    """Every partition once, as labels that begin in order."""
    grown = [[0]]
    for _ in range(n_units - 1):
        grown = [[*labels, k] for labels in grown for k in range(max(labels) + 2)]
    return [np.array(labels) for labels in grown]


def graph_of(name, rng, n_units):
    """Two groups, dense and strong inside, with weights that the family takes."""
    same = np.arange(n_units)[:, None] % 2 == np.arange(n_units) % 2
    edges = rng.random(same.shape) < 0.3 + 0.5 * same
    weights = {
        "exponential": lambda: rng.exponential(1 + 2 * same),
        "lognormal": lambda: np.exp(rng.normal(1.0 * same, 0.7)),
        "normal": lambda: rng.normal(1.5 * same, 0.7),
        "poisson": lambda: 1.0 * rng.poisson(0.5 + 1.5 * same),
        "zero-inflated": lambda: 1.0 + rng.poisson(0.5 + 2 * same),
    }[name]()
    weights = np.triu(weights if name == "poisson" else weights * edges, 1)
    return weights + weights.T


def posterior(weights, begin, level_choices, family="exponential", names=True):
    """Probability of every partition and its levels, a partition standing for all names of its blocks."""
    search = blocksearch.Search(
        blocksearch.graph_of(weights, len(level_choices) > 1, family),
        np.random.default_rng(0),
        FAMILIES[family],
    )
    state = search.state_of(begin.labels, begin.levels)
    search.settle(state, n_turns=0)
    log_prob = {}
    for labels in all_partitions(weights.shape[-1]):
        for levels in level_choices:
            state.labels[:], state.levels[:] = labels, levels
            cost = kernel.settle(state, search.graph, 0, search.rng)
            log_prob[(*labels, *levels.ravel())] = -cost + (lgamma(labels.max() + 2) if names else 0.0)
    values = np.array(list(log_prob.values()))
    return dict(
        zip(log_prob, np.exp(values - values.max()) / np.exp(values - values.max()).sum(), strict=True)
    )


def in_order(labels):
    seen = {}
    return tuple(seen.setdefault(label, len(seen)) for label in labels)


def frequencies(draws):
    """Share of the draws by partition."""
    counts = {}
    for labels in draws:
        counts[in_order(labels)] = counts.get(in_order(labels), 0) + 1 / len(draws)
    return counts


def distance(draws, expected):
    """Total variation between the frequencies of partitions and their probabilities."""
    n_units, wanted, counts = draws.shape[1], {}, frequencies(draws)
    for key, prob in expected.items():
        wanted[key[:n_units]] = wanted.get(key[:n_units], 0.0) + prob
    return 0.5 * sum(abs(counts.get(key, 0.0) - prob) for key, prob in wanted.items())


@pytest.mark.parametrize("name", FAMILIES)
def test_draws_follow_the_posterior_of_all_partitions(name, rng):
    """Of six units, 203 partitions: each within five standard errors, doubled for draws that depend."""
    weights = graph_of(name, rng, 6)
    begin = blocksearch.find_partition(weights, corrected=False, seed=0, family=name)
    n_draws = 3_000
    draws = sample_partitions(weights, begin, corrected=False, n_draws=n_draws, seed=1, family=name)
    neutral = [blockmodel.neutral_levels(6)]
    expected, counts = posterior(weights, begin, neutral, name), frequencies(draws.labels)
    for key, prob in expected.items():
        error = np.sqrt(prob * (1 - prob) / n_draws) + 1 / n_draws
        assert abs(counts.get(key[:6], 0.0) - prob) < 2 * 5 * error
    by_chance = sum(np.sqrt(prob * (1 - prob) / n_draws) for prob in expected.values()) / np.sqrt(2 * np.pi)
    assert distance(draws.labels, expected) < 1.5 * by_chance
    # A sampler that forgot how many names a partition has would be told apart.
    assert distance(draws.labels, posterior(weights, begin, neutral, name, names=False)) > 0.1
    assert draws.acceptance > 0.01


def test_merges_and_splits_alone_follow_the_posterior(rng, monkeypatch):
    """Without moves of single units; so that an error of either kind of move cannot hide behind the other."""
    weights = graph_of("exponential", rng, 5)
    begin = blocksearch.find_partition(weights, corrected=False, seed=0)
    settle = kernel.settle
    monkeypatch.setattr(kernel, "settle", lambda state, graph, n_turns, rng: settle(state, graph, 0, rng))
    draws = sample_partitions(weights, begin, corrected=False, n_draws=6_000, seed=1)
    monkeypatch.undo()
    assert distance(draws.labels, posterior(weights, begin, [blockmodel.neutral_levels(5)])) < 0.05


def test_draws_follow_the_posterior_of_all_partitions_and_levels():
    weights = np.array([[0, 5.0, 0.2], [5.0, 0, 0], [0.2, 0, 0]])
    begin = blocksearch.find_partition(weights, corrected=True, seed=0)
    draws = sample_partitions(weights, begin, corrected=True, n_draws=8_000, seed=1)
    choices = [np.array(one).reshape(2, 3) for one in itertools.product(range(5), repeat=6)]
    assert distance(draws.labels, posterior(weights, begin, choices)) < 0.03


def test_draws_of_a_partition_that_graphs_share_follow_its_posterior(rng):
    weights = np.stack([graph_of("lognormal", rng, 5), graph_of("lognormal", rng, 5)])
    begin = blocksearch.find_partition(weights, corrected=False, seed=0, family="lognormal")
    draws = sample_partitions(weights, begin, corrected=False, n_draws=6_000, seed=1, family="lognormal")
    expected = posterior(weights, begin, [blockmodel.neutral_levels(5)], "lognormal")
    assert distance(draws.labels, expected) < 0.05


def test_same_seed_draws_the_same(rng):
    weights = graph_of("exponential", rng, 12)
    begin = blocksearch.find_partition(weights, corrected=False, seed=0)
    one, two = (sample_partitions(weights, begin, corrected=False, n_draws=30, seed=4) for _ in range(2))
    assert np.array_equal(one.labels, two.labels)
    assert np.array_equal(one.description_length, two.description_length)
