"""The block model's description length against its definition, and the search against all partitions."""

from __future__ import annotations

import itertools
from math import lgamma, log

import numba
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit

from neurotools.numerics import blockmodel, blockpredict, blocksearch
from neurotools.numerics.blockweights import SCALES, exponential_nats
from neurotools.numerics.kernels import numba_blockmodel as kernel
from neurotools.numerics.kernels import numba_blockmoves as moves
from neurotools.numerics.kernels import numba_blockterms as terms


def random_graph(rng, n_units, density=0.5, labels=None):
    """Symmetric exponential weights; with labels, edges inside are denser and stronger."""
    same = 0 if labels is None else labels[:, None] == labels
    edges = rng.random((n_units, n_units)) < density * (1 + same) / (2 if labels is not None else 1)
    weights = np.triu(edges * rng.exponential(1 + 3 * same, (n_units, n_units)), 1)
    return weights + weights.T


def compact(labels):
    return np.unique(labels, return_inverse=True)[1]


def all_partitions(n_units):
    """Every partition once, as labels that begin in order."""
    grown = [[0]]
    for _ in range(n_units - 1):
        grown = [[*labels, k] for labels in grown for k in range(max(labels) + 2)]
    return [np.array(labels) for labels in grown]


def log_choose(n, k):
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def grouping_by_hand(labels, n_choices):
    sizes = [int((labels == k).sum()) for k in np.unique(labels)]
    n = len(labels)
    nats = log(n_choices) + log_choose(n - 1, len(sizes) - 1) + lgamma(n + 1)
    return nats - sum(lgamma(size + 1) for size in sizes)


def by_hand(weights, labels, levels=None):
    """Description length from the definition: loops over pairs, one integral per pair of blocks."""
    n_units, n_blocks = len(labels), labels.max() + 1
    present = [weights[i, j] for i in range(n_units) for j in range(i) if weights[i, j] > 0]
    mean = sum(present) / len(present) if present else 1.0
    a = np.zeros(n_units) if levels is None else (levels[0] - 2) * log(4)
    c = np.zeros(n_units) if levels is None else (levels[1] - 2) * log(2)
    nats = grouping_by_hand(labels, n_units)
    if levels is not None:
        for kind in range(2):
            nats += grouping_by_hand(levels[kind], 5) + log_choose(5, len(np.unique(levels[kind])))
    by_scale = np.zeros(6)
    for r in range(n_blocks):
        for s in range(r + 1):
            pairs = [
                (i, j)
                for i in range(n_units)
                for j in range(i)
                if {labels[i], labels[j]} == {r, s} and (r == s or labels[i] != labels[j])
            ]
            nats += edges_by_hand(weights, pairs, a)
            for q in range(6):
                by_scale[q] += weights_by_hand(weights, pairs, c, mean / 4**q)
    return nats + by_scale.min()


def edges_by_hand(weights, pairs, a):
    def likelihood(p):
        odds = p / (1 - p)
        value = 1.0
        for i, j in pairs:
            chance = odds * np.exp(a[i] + a[j]) / (1 + odds * np.exp(a[i] + a[j]))
            value *= chance if weights[i, j] > 0 else 1 - chance
        return value

    return -log(quad(likelihood, 0, 1, epsabs=0, epsrel=1e-11, limit=500)[0]) if pairs else 0.0


def weights_by_hand(weights, pairs, c, scale):
    present = [(weights[i, j], c[i] + c[j]) for i, j in pairs if weights[i, j] > 0]
    m = len(present)
    x = sum(weight / np.exp(effect) for weight, effect in present)
    return -(lgamma(1 + m) + log(scale) - (1 + m) * log(scale + x)) + sum(effect for _, effect in present)


# ---- oracle: the definition -------------------------------------------------------------------------
@pytest.mark.parametrize("n_blocks", [1, 2, 3, 5])
def test_description_length_equals_loops_over_pairs(rng, n_blocks):
    weights = random_graph(rng, 9)
    labels = compact(np.r_[np.arange(n_blocks), rng.integers(0, n_blocks, 9 - n_blocks)])
    assert blockmodel.description_length(weights, labels) == pytest.approx(by_hand(weights, labels), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_corrected_description_length_equals_loops_over_pairs(seed):
    rng = np.random.default_rng(seed)
    weights = random_graph(rng, 7)
    labels, levels = compact(rng.integers(0, 3, 7)), rng.integers(0, 5, (2, 7))
    found = blockmodel.description_length(weights, labels, levels)
    assert found == pytest.approx(by_hand(weights, labels, levels), abs=1e-7)


def test_scale_below_the_mean_is_taken_where_blocks_differ_a_lot(rng):
    labels = np.repeat([0, 1], 6)
    weights = random_graph(rng, 12, density=1.0) * np.where(labels[:, None] + labels == 0, 1.0, 1e-3)
    assert blockpredict.evidence_of(weights, labels).scale < 1.0
    assert blockmodel.description_length(weights, labels) == pytest.approx(by_hand(weights, labels), abs=1e-9)


def test_one_block_keeps_the_mean_as_scale(rng):
    weights = random_graph(rng, 20)
    assert blockpredict.evidence_of(weights, np.zeros(20, dtype=int)).scale == 1.0


# ---- property: probabilities sum to one ---------------------------------------------------------------
@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 1, 2]])
def test_edges_of_all_graphs_sum_to_one(rng, labels, corrected):
    labels = np.array(labels)
    levels = rng.integers(0, 5, (2, 4)) if corrected else None
    rows, columns = np.triu_indices(4, 1)
    total = 0.0
    for present in itertools.product([0.0, 1.0], repeat=rows.size):
        weights = np.zeros((4, 4))
        weights[rows, columns] = present
        parts = blockmodel.description_parts(weights + weights.T, labels, levels)
        total += np.exp(-parts["edges"])
    assert total == pytest.approx(1.0, abs=1e-10)


def test_partitions_and_levels_sum_to_one():
    def total(n_units, n_choices, nats):
        labels = itertools.product(range(n_choices), repeat=n_units)
        return sum(np.exp(-nats(np.array(one))) for one in labels)

    def partition_nats(labels):
        # Labels in use are 0 .. B - 1: others are not partitions.
        if set(labels) != set(range(labels.max() + 1)):
            return np.inf
        return blockmodel.grouping_nats(np.bincount(labels), labels.size)

    assert total(5, 5, partition_nats) == pytest.approx(1.0, abs=1e-12)
    assert total(6, 5, blockmodel.level_nats) == pytest.approx(1.0, abs=1e-12)


# ---- property: what must not matter -------------------------------------------------------------------
@pytest.mark.parametrize("corrected", [False, True])
def test_names_of_blocks_and_order_of_units_do_not_matter(rng, corrected):
    weights, labels = random_graph(rng, 12), compact(rng.integers(0, 4, 12))
    levels = rng.integers(0, 5, (2, 12)) if corrected else None
    length = blockmodel.description_length(weights, labels, levels)
    renamed = rng.permutation(labels.max() + 1)[labels]
    assert blockmodel.description_length(weights, renamed, levels) == pytest.approx(length, abs=1e-10)
    order = rng.permutation(12)
    moved = None if levels is None else levels[:, order]
    shuffled = blockmodel.description_length(weights[np.ix_(order, order)], labels[order], moved)
    assert shuffled == pytest.approx(length, abs=1e-10)


def test_unit_of_weights_shifts_all_partitions_alike(rng):
    weights = random_graph(rng, 10)
    n_edges = np.count_nonzero(weights) / 2
    for labels in (np.zeros(10, dtype=int), compact(rng.integers(0, 3, 10))):
        shift = blockmodel.description_length(1000 * weights, labels) - blockmodel.description_length(
            weights, labels
        )
        assert shift == pytest.approx(n_edges * log(1000), abs=1e-9)


def test_equal_levels_cost_a_constant(rng):
    weights = random_graph(rng, 12)
    neutral = blockmodel.neutral_levels(12)
    for labels in (np.zeros(12, dtype=int), compact(rng.integers(0, 3, 12))):
        price = blockmodel.description_length(weights, labels, neutral) - blockmodel.description_length(
            weights, labels
        )
        assert price == pytest.approx(4 * log(5), abs=1e-9)


# ---- oracle: the compiled functions -------------------------------------------------------------------
def test_compiled_integral_equals_the_plain_one(rng):
    graph = blocksearch.graph_of(random_graph(rng, 6), True, "exponential")
    integral = numba.njit(lambda *a: terms.corrected_edge_cost(*a)[0])
    for _ in range(300):
        n = int(10 ** rng.uniform(0, 4.5))
        pairs = rng.multinomial(n, rng.dirichlet(np.full(9, rng.choice([0.1, 1, 10])))).astype(float)
        m = float(rng.integers(0, n + 1) if rng.random() < 0.5 else min(n, rng.integers(0, 6)))
        plain = blockmodel.corrected_edge_nats(pairs[None], np.array([m]))[0]
        assert integral(pairs, float(n), m, graph.curves) == pytest.approx(plain, abs=1e-9)


@pytest.mark.parametrize("family", ["exponential", "normal", "zero-inflated"])
@pytest.mark.parametrize("corrected", [False, True])
def test_increments_equal_differences(rng, corrected, family):
    weights = np.ceil(np.stack([random_graph(rng, 14), random_graph(rng, 14)]))
    graph = blocksearch.graph_of(weights, corrected, family)
    state = kernel.state_of(np.zeros(14, dtype=int), blockmodel.neutral_levels(14), 2)
    for _ in range(20):
        state.labels[:] = compact(rng.integers(0, rng.integers(1, 6), 14))
        if corrected:
            state.levels[:] = rng.integers(0, 5, (2, 14))
        drift, total, again = MOVES(state, graph, rng)
        assert drift == pytest.approx(0, abs=1e-9)
        assert total == pytest.approx(again, abs=1e-9)
        levels = state.levels if corrected else None
        assert again == pytest.approx(
            blockmodel.description_length(weights, compact(state.labels), levels, family)
            if np.array_equal(best_scales(weights, state.labels, levels, family), graph.scale)
            else again,
            abs=1e-7,
        )


def best_scales(weights, labels, levels, family):
    known = [blockpredict.evidence_of(one, compact(labels), levels, family) for one in weights]
    return np.array([one.scale for one in known])


def _random_moves(state, graph, rng):
    """Take units out and put them elsewhere; total, total by increments, and total computed again."""
    moves.refresh(state, graph)
    total = moves.total_cost(state, graph)
    for _ in range(40):
        i = int(rng.random() * state.labels.size)
        _, cost = moves.take_out(state, graph, i)
        to = int(rng.random() * (state.sizes[-1] + 1))
        if graph.corrected:
            moves.shift_hand(state, graph, 2 - state.levels[1, i])
            for kind in range(2):
                state.levels[kind, i] = int(rng.random() * 5)
            moves.shift_hand(state, graph, state.levels[1, i] - 2)
        moves.count_in(state, i, to, 1)
        total += moves.offer_row(state, graph, to, 1.0) + moves.place_cost(state, graph, i, to) - cost
        state.sizes[-1] += to == state.sizes[-1]
        state.labels[i] = to
        moves.write_row(state, to, 1.0)
    kept = moves.total_cost(state, graph)
    moves.refresh(state, graph)
    return total - kept, kept, moves.total_cost(state, graph)


MOVES = numba.njit(_random_moves, error_model="numpy")


@pytest.mark.parametrize("corrected", [False, True])
def test_reported_length_is_that_of_the_definition(rng, corrected):
    labels = np.repeat(np.arange(3), 10)
    weights = random_graph(rng, 30, labels=labels)
    found = blocksearch.find_partition(weights, corrected=corrected, seed=3)
    levels = found.levels if corrected else None
    again = blockmodel.description_length(weights, found.labels, levels)
    assert found.description_length == pytest.approx(again, abs=1e-8)


# ---- oracle: all partitions ---------------------------------------------------------------------------
def test_search_finds_the_best_of_all_partitions(rng):
    sizes = [5, 6, 6] * 5 + [7, 7]
    for number, n_units in enumerate(sizes):
        labels = np.arange(n_units) % (1 + number % 3)
        weights = random_graph(rng, n_units, density=rng.uniform(0.2, 1.0), labels=labels)
        best = min(blockmodel.description_length(weights, one) for one in all_partitions(n_units))
        found = blocksearch.find_partition(weights, corrected=False, seed=number)
        assert found.description_length == pytest.approx(best, abs=1e-9)


def best_of_all_levels(weights):
    """Lowest cost over all partitions and levels, by the compiled total, which equals the definition.

    Given a partition, degree levels change what edges cost and strength levels what weights cost, so the
    two are minimised apart.
    """
    n_units, graph = len(weights), blocksearch.graph_of(weights, True, "exponential")
    choices = np.array(list(itertools.product(range(5), repeat=n_units)))
    state = kernel.state_of(np.zeros(n_units, dtype=int), blockmodel.neutral_levels(n_units))
    best, chance = np.inf, np.random.default_rng(0)
    for labels in all_partitions(n_units):
        by_scale = []
        for scale in SCALES:
            graph = graph._replace(scale=np.array([scale]))
            lowest = np.full(2, np.inf)
            for kind in range(2):
                for one in choices if kind == 1 or not by_scale else choices[:1]:
                    state.labels[:], state.levels[:] = labels, 2
                    state.levels[kind] = one
                    lowest[kind] = min(lowest[kind], kernel.settle(state, graph, 0, chance))
            state.labels[:], state.levels[:] = labels, 2
            neutral = kernel.settle(state, graph, 0, chance)
            by_scale.append((lowest[1], lowest[0] - neutral))
        best = min(best, min(weight for weight, _ in by_scale) + by_scale[0][1])
    return best


def test_corrected_search_finds_the_best_of_all_partitions_and_levels():
    missed = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        weights = random_graph(rng, 4, 0.6) * np.outer(scale := np.array([9.0, 3, 1, 1]), scale)
        found = blocksearch.find_partition(weights, corrected=True, seed=0)
        missed.append(found.description_length - best_of_all_levels(weights))
    assert min(missed) > -1e-9
    assert sum(gap < 1e-9 for gap in missed) >= 2
    assert max(missed) < 0.5


def test_same_seed_finds_the_same(rng):
    weights = random_graph(rng, 40)
    one, two = (blocksearch.find_partition(weights, corrected=True, seed=5) for _ in range(2))
    assert np.array_equal(one.labels, two.labels)
    assert np.array_equal(one.levels, two.levels)
    assert one.description_length == two.description_length


def test_blocks_are_numbered_largest_first():
    assert blockmodel.by_size(np.array([5, 1, 1, 7, 7, 5, 1])).tolist() == [1, 0, 0, 2, 2, 1, 0]


# ---- after the fit ------------------------------------------------------------------------------------
@pytest.mark.parametrize("corrected", [False, True])
def test_predictive_is_the_ratio_of_joint_probabilities(rng, corrected):
    """Probability of an edge: that of the graph with it over that of the graph with it or without it."""
    weights, labels = (random_graph(rng, 8) > 0).astype(float), compact(rng.integers(0, 2, 8))
    levels = rng.integers(0, 5, (2, 8)) if corrected else None
    known = blockpredict.evidence_of(weights, labels, levels)
    chance = blockpredict.edge_probability(known)
    assert np.allclose(chance, chance.T)
    if not corrected:
        n, m = blockmodel.pair_counts(labels), known.n_edges
        assert np.allclose(chance, ((m + 1) / (n + 2))[labels][:, labels])
        return
    rows, columns = np.nonzero(np.triu(labels[:, None] == labels, 1))
    i, j = rows[0], columns[0]
    effect = (levels[0, i] + levels[0, j] - 4) * log(4)
    inside = [(k, o) for k, o in zip(rows, columns, strict=True) if labels[k] == labels[i]]

    def integrand(w, extra):
        value = expit(w) * (1 - expit(w))
        for k, o in inside:
            odds = expit(w + (levels[0, k] + levels[0, o] - 4) * log(4))
            value *= odds if weights[k, o] > 0 else 1 - odds
        return value * (expit(w + effect) if extra else 1.0)

    ratio = quad(integrand, -30, 30, args=(True,))[0] / quad(integrand, -30, 30, args=(False,))[0]
    assert chance[i, j] == pytest.approx(ratio, rel=1e-6)


@pytest.mark.parametrize("corrected", [False, True])
def test_predictive_of_edges_sums_to_one(rng, corrected):
    labels = np.array([0, 0, 1, 1])
    levels = rng.integers(0, 5, (2, 4)) if corrected else None
    known = blockpredict.evidence_of((random_graph(rng, 4) > 0).astype(float), labels, levels)
    rows, columns = np.triu_indices(4, 1)
    total = 0.0
    for present in itertools.product([0, 1], repeat=6):
        graph = np.zeros((4, 4))
        graph[rows, columns] = present
        graph += graph.T
        new = blockpredict.evidence_of(graph, labels, levels)
        upper = np.triu_indices(2)
        m, q = known.n_edges[upper], np.zeros(3)
        more, value = m + new.n_edges[upper], known.value[upper] + new.value[upper] * new.unit / known.unit
        nats = exponential_nats(more, value, q, known.scale)
        nats = nats - exponential_nats(m, known.value[upper], q, known.scale)
        strength = np.where(graph > 0, log(2) * blockpredict.strength(known) + log(known.unit), 0.0)
        log_prob = blockpredict.predictive_log_prob(known, graph)
        total += np.exp(log_prob + nats.sum() + np.triu(strength, 1).sum())
    assert total == pytest.approx(1.0, abs=1e-9)
