"""The nested block model: its length against its definition, and what it finds that one level cannot."""

from __future__ import annotations

import itertools
from math import comb, lgamma, log

import numpy as np
import pytest

from neurotools.numerics import blockmodel, blocknested, blocksearch
from neurotools.numerics.partitions import normalised_mutual_information


def compact(labels):
    return np.unique(labels, return_inverse=True)[1]


def random_graph(rng, n_units):
    weights = np.triu((rng.random((n_units, n_units)) < 0.5) * rng.exponential(size=(n_units, n_units)), 1)
    return weights + weights.T


def ring_of_cliques(rng, n_cliques, size):
    """Every clique is joined to the next by few edges; weights are alike everywhere."""
    labels = np.repeat(np.arange(n_cliques), size)
    edges = labels[:, None] == labels
    for clique in range(n_cliques):
        edges[clique * size, (clique + 1) % n_cliques * size + 1] = True
    weights = np.triu(np.where(edges | edges.T, rng.exponential(size=edges.shape), 0.0), 1)
    return weights + weights.T, labels


# ---- oracle: the definition ---------------------------------------------------------------------------
def by_hand(edges, hierarchy):
    """Nats of edges and hierarchy, level by level, with whole numbers."""
    labels, n_units = hierarchy[0], len(edges)
    n_blocks = labels.max() + 1
    counts = np.zeros((n_blocks, n_blocks), dtype=int)
    nats = log(n_units * (n_units - 1) // 2 + 1)
    for i, j in itertools.combinations(range(n_units), 2):
        r, s = sorted((labels[i], labels[j]))
        counts[r, s] += int(edges[i, j])
    sizes = np.bincount(labels)
    for r in range(n_blocks):
        for s in range(r, n_blocks):
            n = sizes[r] * (sizes[r] - 1) // 2 if r == s else sizes[r] * sizes[s]
            nats += log(comb(int(n), int(counts[r, s])))
    for groups in hierarchy[1:]:
        n, n_groups = len(groups), groups.max() + 1
        sizes = np.bincount(groups)
        nats += (
            log(n) + log(comb(n - 1, int(n_groups) - 1)) + lgamma(n + 1) - sum(lgamma(k + 1) for k in sizes)
        )
        above = np.zeros((n_groups, n_groups), dtype=int)
        for r in range(n):
            for s in range(r, n):
                above[tuple(sorted((groups[r], groups[s])))] += counts[r, s]
        for r in range(n_groups):
            for s in range(r, n_groups):
                cells = int(sizes[r] * (sizes[r] + 1) // 2 if r == s else sizes[r] * sizes[s])
                nats += log(comb(cells + int(above[r, s]) - 1, int(above[r, s])))
        counts = above
    return nats


@pytest.mark.parametrize("seed", range(4))
def test_length_equals_counting_by_hand(seed):
    rng = np.random.default_rng(seed)
    weights = random_graph(rng, 14)
    hierarchy = (compact(rng.integers(0, 6, 14)),)
    hierarchy += (compact(rng.integers(0, 3, hierarchy[0].max() + 1)),)
    hierarchy += (np.zeros(hierarchy[1].max() + 1, dtype=int),)
    parts = blocknested.nested_parts(weights, hierarchy)
    assert parts["edges"] + parts["hierarchy"] == pytest.approx(by_hand(weights > 0, hierarchy), abs=1e-8)
    flat = blockmodel.description_parts(weights, hierarchy[0])
    assert parts["weights"] == flat["weights"]
    assert parts["partition"] == flat["partition"]


def test_edges_of_all_graphs_with_so_many_sum_to_one(rng):
    """Given levels and the number of edges: over all graphs of five units of one block."""
    levels = rng.integers(0, 5, (2, 5))
    rows, columns = np.triu_indices(5, 1)
    for n_edges in (0, 1, 4, 10):
        total = 0.0
        for chosen in itertools.combinations(range(10), n_edges):
            weights = np.zeros((5, 5))
            weights[rows[list(chosen)], columns[list(chosen)]] = 1.0
            parts = blocknested.nested_parts(weights + weights.T, (np.zeros(5, dtype=int),), levels)
            total += np.exp(-parts["edges"])
        assert total == pytest.approx(1.0, abs=1e-10)


def test_neutral_levels_change_nothing_but_their_own_price(rng):
    weights, hierarchy = random_graph(rng, 12), (np.arange(12) % 3, np.zeros(3, dtype=int))
    plain = blocknested.nested_parts(weights, hierarchy)
    corrected = blocknested.nested_parts(weights, hierarchy, blockmodel.neutral_levels(12))
    for name in ("edges", "weights", "hierarchy", "partition"):
        assert corrected[name] == pytest.approx(plain[name], abs=1e-8)


def test_one_block_costs_what_it_does_in_the_flat_model(rng):
    weights, alone = random_graph(rng, 12), np.zeros(12, dtype=int)
    assert blocknested.nested_length(weights, (alone,)) == pytest.approx(
        blockmodel.description_length(weights, alone), abs=1e-9
    )


def test_numbers_of_edges_given_the_top_sum_to_one():
    """Over all counts of four edges between three blocks that have one group."""
    total = 0.0
    for counts in itertools.product(range(5), repeat=6):
        if sum(counts) == 4:
            matrix = np.zeros((3, 3))
            matrix[np.triu_indices(3)] = counts
            matrix += np.triu(matrix, 1).T
            total += np.exp(-blocknested.repeated_nats(matrix[None], np.zeros(3, dtype=int)))
    assert total == pytest.approx(1.0, abs=1e-12)


# ---- search -------------------------------------------------------------------------------------------
def test_small_blocks_below_the_limit_of_one_level_are_found(rng):
    """Twenty-four cliques of five: one level cannot tell much more than sqrt(120) = 11 apart."""
    weights, labels = ring_of_cliques(rng, 24, 5)
    flat = blocksearch.find_partition(weights, corrected=False, seed=0)
    nested = blocknested.find_nested(weights, corrected=False, seed=0)
    assert flat.labels.max() + 1 <= 12
    assert flat.description_length < blockmodel.description_length(weights, labels) - 100
    assert normalised_mutual_information(nested.hierarchy[0], labels) >= 0.98
    assert len(nested.hierarchy) >= 3
    assert nested.description_length < flat.description_length - 100
    levels = [groups.max() + 1 for groups in nested.hierarchy]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] == 1


def test_reported_length_is_that_of_the_definition(rng):
    weights, _ = ring_of_cliques(rng, 8, 5)
    for corrected in (False, True):
        found = blocknested.find_nested(weights, corrected=corrected, seed=1)
        levels = found.levels if corrected else None
        again = blocknested.nested_length(weights, found.hierarchy, levels)
        assert found.description_length == pytest.approx(again, abs=1e-9)


def test_no_blocks_where_there_are_none(rng):
    for _ in range(3):
        weights = np.triu((rng.random((60, 60)) < 0.3) * rng.exponential(size=(60, 60)), 1)
        found = blocknested.find_nested(weights + weights.T, corrected=False, seed=0)
        assert len(found.hierarchy) == 1
        assert not found.hierarchy[0].any()


def test_search_finds_the_best_of_all_hierarchies_of_few_blocks(rng):
    """Of the levels above five blocks: every chain of partitions up to one."""
    for _ in range(6):
        counts = rng.poisson(rng.gamma(0.5, 6.0, (5, 5)))
        counts = (np.triu(counts) + np.triu(counts, 1).T).astype(float)[None]
        found = blocknested.tower_nats(counts, blocknested.climb(counts, rng))
        best = min(blocknested.tower_nats(counts, tower) for tower in all_towers(5))
        assert found <= best + 1.0


def all_towers(n):
    """Every hierarchy above n blocks whose levels shrink."""
    if n == 1:
        yield ()
        return
    grown = [[0]]
    for _ in range(n - 1):
        grown = [[*labels, k] for labels in grown for k in range(max(labels) + 2)]
    for labels in grown:
        if max(labels) + 1 < n:
            for rest in all_towers(max(labels) + 1):
                yield (np.array(labels), *rest)
