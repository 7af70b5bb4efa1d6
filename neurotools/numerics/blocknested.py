"""Communities of communities: the nested block model.

How many edges lie between every two blocks is itself a graph, whose nodes are the blocks and whose edges
repeat. Its blocks have blocks, too, and so on up to a single one. At each level above the units

    p(counts | counts one level up, groups) = prod_RS 1 / multichoose(cells_RS, edges_RS)

with cells_RS = n_R n_S pairs of blocks between two groups, n_R (n_R + 1) / 2 inside one, and the partition
of the blocks costs as that of units does (Peixoto 2014, Physical Review X 4, 011047, eqs. 5-7; Peixoto 2017,
Physical Review E 95, 012317, section III). At the units, given m edges between two blocks, every graph with
m edges is as likely as any other, 1 / C(n, m); degree levels weigh each graph by its units' odds. The number
of all edges is uniform. A flat model pays log(n + 1) for every pair of blocks and so cannot tell more than
about sqrt(N) blocks apart; the nested one pays far less for pairs of blocks without edges.

Weights cost between every two blocks what they do in the flat model, so both are compared in nats.

The search follows the levels: the units' partition is searched under a geometric price for the number of
edges between two blocks, whose mean is that of their groups (which is what multichoose is nearly), the
levels above are found by the same search, and both in turn until the exact length no longer falls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import gammaln

from neurotools.numerics.blockmodel import (
    DEGREE_STEP,
    NEUTRAL,
    Labels,
    Layers,
    Levels,
    block_sums,
    by_size,
    description_parts,
    grouping_nats,
    level_pair_counts,
    pair_counts,
)
from neurotools.numerics.blocksearch import (
    TINY_GAIN,
    Found,
    Search,
    find_partition,
    graph_of,
    log_compositions,
)
from neurotools.numerics.blockweights import FAMILIES

Counts = Float[np.ndarray, "layer block block"]
Hierarchy = tuple[np.ndarray, ...]  # labels of units, of their blocks, of groups of these: each shorter
TURNS = 8  # of units and upper levels


@dataclass(frozen=True)
class FoundNested:
    """A hierarchy: blocks of units, groups of these blocks, and so on up to one; levels and cost."""

    hierarchy: Hierarchy
    levels: np.ndarray
    description_length: float


# ---- what it costs -----------------------------------------------------------------------------------
def log_choose(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Log of the binomial coefficient."""
    return gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)


def edge_counts(weights: Layers, labels: Labels, family: str) -> np.ndarray:
    """Edges between every two blocks of each layer; inside a block each once."""
    layers = weights.reshape(-1, *weights.shape[-2:])
    return np.stack([block_sums(FAMILIES[family].standardise(one).edges, labels) for one in layers])


def summed(counts: Counts, groups: Labels) -> np.ndarray:
    """Counts between groups of blocks."""
    member = np.eye(int(groups.max()) + 1)[groups]
    sums = member.T @ counts @ member
    inside = np.einsum("lrr,rg->lg", counts, member)
    step = np.arange(sums.shape[-1])
    sums[:, step, step] = (sums[:, step, step] + inside) / 2
    return sums


def cells(groups: Labels) -> np.ndarray:
    """Pairs of blocks between two groups, or inside one: there with themselves."""
    sizes = np.bincount(groups).astype(float)
    return np.outer(sizes, sizes) - np.diag(sizes * (sizes - 1) / 2)


def repeated_nats(counts: Counts, groups: Labels) -> float:
    """Nats to say how the edges between groups fall on pairs of blocks, any way as likely as any other."""
    edges, n = summed(counts, groups), cells(groups)
    upper = np.triu_indices(n.shape[0])
    return float(sum(log_choose(n[upper] + one[upper] - 1, one[upper]).sum() for one in edges))


def tower_nats(counts: Counts, tower: Hierarchy) -> float:
    """Nats of the numbers of edges between blocks, by the levels above; the last has one group."""
    nats = 0.0
    for groups in tower:
        nats += grouping_nats(np.bincount(groups), groups.size) + repeated_nats(counts, groups)
        counts = summed(counts, groups)
    return nats


def log_weighed_graphs(pairs: Float[np.ndarray, " total"], n_edges: float) -> float:
    """Log of the sum, over all graphs with so many edges, of the odds that levels give to each.

    ``pairs`` counts pairs of units by the sum of their levels. The elementary symmetric polynomial of the
    pairs' odds, by the Fourier sum of a Poisson binomial whose mean is the number of edges (so that nothing
    is small): exact to rounding. Fernandez and Williams (2010), IEEE Transactions on Aerospace and
    Electronic Systems 46, 803, eq. 6.
    """
    shift = (np.arange(pairs.size) - 2 * NEUTRAL) * DEGREE_STEP
    n, m = int(pairs.sum()), int(n_edges)
    if m in (0, n):
        return float(pairs @ shift) if m else 0.0
    at = _balanced(pairs, shift, m)
    chance = 1 / (1 + np.exp(-at - shift))
    angle = 2 * np.pi * np.arange(n + 1) / (n + 1)
    turns = np.exp(-1j * m * angle)
    for total in np.flatnonzero(pairs):
        turns *= (1 - chance[total] + chance[total] * np.exp(1j * angle)) ** pairs[total]
    return float(np.log(turns.real.sum() / (n + 1)) + pairs @ np.logaddexp(0.0, at + shift) - m * at)


def _balanced(pairs: np.ndarray, shift: np.ndarray, m: int) -> float:
    """Log odds at which m edges are expected, by bisection."""
    low, high = -60.0, 60.0
    for _ in range(80):
        middle = (low + high) / 2
        if pairs @ (1 / (1 + np.exp(-middle - shift))) < m:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def placing_nats(counts: Counts, labels: Labels, levels: Levels | None) -> float:
    """Nats to say which pairs of units have the edges, once their numbers are known; levels' share apart."""
    upper = np.triu_indices(int(labels.max()) + 1)
    if levels is None:
        n = pair_counts(labels)[upper]
        return float(sum(log_choose(n, one[upper]).sum() for one in counts))
    pairs = level_pair_counts(labels, levels[0])[upper]
    return sum(log_weighed_graphs(row, m) for one in counts for row, m in zip(pairs, one[upper], strict=True))


def nested_parts(
    weights: Layers, hierarchy: Hierarchy, levels: Levels | None = None, family: str = "exponential"
) -> dict[str, float]:
    """Nats of edges, weights, partition, levels, and of the hierarchy above; see ``description_parts``."""
    labels, tower = hierarchy[0], hierarchy[1:]
    parts = description_parts(weights, labels, levels, family)
    counts = edge_counts(weights, labels, family)
    parts["edges"] = placing_nats(counts, labels, levels)
    if levels is not None:
        edges = edge_counts(weights, np.arange(labels.size), family)
        parts["edges"] -= DEGREE_STEP * float(edges.sum(0).sum(0) @ (levels[0] - NEUTRAL))
    n_pairs = labels.size * (labels.size - 1) / 2
    parts["hierarchy"] = tower_nats(counts, tower) + len(counts) * float(np.log(n_pairs + 1))
    return parts


def nested_length(
    weights: Layers, hierarchy: Hierarchy, levels: Levels | None = None, family: str = "exponential"
) -> float:
    """Description length of a hierarchy in nats; with one block that of the flat model."""
    return sum(nested_parts(weights, hierarchy, levels, family).values())


# ---- the levels above --------------------------------------------------------------------------------
def climb(counts: Counts, rng: np.random.Generator) -> Hierarchy:
    """Find groups of blocks, groups of groups, and so on up to one."""
    tower: list[np.ndarray] = []
    while counts.shape[-1] > 1:
        groups = by_size(_groups_of(counts, rng).labels)
        if groups.max() + 1 == groups.size:
            groups = np.zeros(groups.size, dtype=np.int64)
        tower.append(groups)
        counts = summed(counts, groups)
    return tuple(tower)


def _groups_of(counts: Counts, rng: np.random.Generator) -> Found:
    """Search for the groups of a graph whose edges repeat, as if one more level above were the last."""
    from neurotools.numerics.kernels import numba_blockmodel, numba_blockterms

    n = counts.shape[-1]
    step = np.arange(n)
    loops = counts[:, step, step]
    pairs = np.zeros((3, *counts.shape))
    pairs[0] = counts
    pairs[0][:, step, step] = 0.0
    by_blocks = np.log(n) + log_compositions(n) + last_level(counts.sum((1, 2)) / 2 + loops.sum(1) / 2, n)
    graph = numba_blockmodel.graph_of(
        pairs, by_blocks=by_blocks, loops=loops, prior=numba_blockterms.REPEATED
    )
    search = Search(graph, rng)
    few = np.asarray(np.arange(n) if n <= 40 else rng.integers(0, 40, n))
    return search.run(by_size(few), search.state_of(few).levels)


def last_level(n_edges: np.ndarray, n: int) -> np.ndarray:
    """Nats of one last level above B blocks, for B = 0 .. n + 1: their numbers of edges, B named once."""
    b = np.arange(1.0, n + 2)
    nats = log_choose(b[:, None] * (b[:, None] + 1) / 2 + n_edges - 1, n_edges).sum(1)
    nats += np.where(b > 1, np.log(b), 0.0)
    nats[0] = 0.0
    return np.concatenate([[0.0], nats])


# ---- both in turn ------------------------------------------------------------------------------------
def find_nested(
    weights: Layers, *, corrected: bool, seed: int, start: Labels | None = None, family: str = "exponential"
) -> FoundNested:
    """Search for the hierarchy (and levels) of the shortest description; the same seed finds the same."""
    from neurotools.numerics.kernels import numba_blockterms

    rng = np.random.default_rng(seed)
    graph = graph_of(weights, corrected, family)._replace(prior=numba_blockterms.EXPECTED)
    n_units = weights.shape[-1]
    n_edges = graph.pairs[0].sum((1, 2)) / 2
    flat = graph.by_blocks + 0.0
    search = Search(graph._replace(by_blocks=flat + last_level(n_edges, n_units)), rng, FAMILIES[family])
    best = _measured(weights, search.from_starts(start), corrected, family, rng)
    if corrected:
        # With levels the price above is an approximation; one level, which is exact, may lead further.
        flat_found = find_partition(weights, corrected=True, seed=seed, start=start, family=family)
        best = min(best, _measured(weights, flat_found, corrected, family, rng), key=_length)
    for _ in range(TURNS):
        tried = _measured(weights, _under(search, best, flat), corrected, family, rng)
        if tried.description_length > best.description_length - TINY_GAIN:
            break
        best = tried
    return best


def _length(one: FoundNested) -> float:
    return one.description_length


def _measured(
    weights: Layers, found: Found, corrected: bool, family: str, rng: np.random.Generator
) -> FoundNested:
    """Build the levels above a partition of the units, and measure the whole exactly."""
    labels = by_size(found.labels)
    hierarchy = (labels, *climb(edge_counts(weights, labels, family), rng))
    cost = nested_length(weights, hierarchy, found.levels if corrected else None, family)
    return FoundNested(hierarchy, found.levels, cost)


def _under(search: Search, best: FoundNested, flat: np.ndarray) -> Found:
    """Search the units' partition anew, given what the groups of the blocks expect."""
    labels, groups = best.hierarchy[0], np.zeros(1, dtype=np.int64)
    if len(best.hierarchy) > 1:
        groups = best.hierarchy[1]
    state = search.state_of(labels, best.levels)
    state.groups[: groups.size] = groups
    search.graph = search.graph._replace(
        expected=_expected(search, labels, groups),
        by_blocks=flat + _price_of_a_block(groups) * np.arange(flat.size),
    )
    return search.improve(Found(labels, best.levels, search.settle(state)), state.groups.copy())


def _expected(search: Search, labels: Labels, groups: np.ndarray) -> np.ndarray:
    """Log(1 + mean) and log(mean) of the edges of a pair of blocks, by pair of groups."""
    counts = np.stack([block_sums(one, labels) for one in search.graph.pairs[0]])
    mean = (summed(counts, groups) + 0.5) / (cells(groups) + 0.5)
    return np.stack([np.log1p(mean), np.log(mean)])


def _price_of_a_block(groups: Labels) -> float:
    """Nats that one more block adds to the partition one level up, if it joins the largest group."""
    sizes = np.bincount(groups)
    more = sizes.copy()
    more[sizes.argmax()] += 1
    return grouping_nats(more, groups.size + 1) - grouping_nats(sizes, groups.size)
