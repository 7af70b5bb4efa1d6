"""Search for the partition of a weighted graph that describes it most shortly.

Units move one by one until none gains (compiled); blocks are merged and split, which no unit can do alone.
What a partition costs is defined in ``blockmodel`` and ``blockweights``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammaln

from neurotools.numerics import blockweights
from neurotools.numerics.blockmodel import (
    DEGREE_STEP,
    N_LEVELS,
    Labels,
    Layers,
    Levels,
    by_size,
    neutral_levels,
)
from neurotools.numerics.blockweights import FAMILIES, SCALES

TINY_GAIN = 1e-9  # nats; less is rounding
# Blocks of the random partitions to start from, and disturbances in a row that may gain nothing.
STARTS = {False: (1, 4, 8, 16, 24), True: (8, 24, 8)}
PATIENCE = {False: 20, True: 16}
CODES = {"scaled": 0, "shifted": 1, "counted": 2}  # of kinds of families, in the compiled functions


@dataclass(frozen=True)
class Found:
    """A partition, the levels of degree and strength (neutral when not corrected), and what they cost."""

    labels: Labels
    levels: Levels
    description_length: float


def find_partition(
    weights: Layers, *, corrected: bool, seed: int, start: Labels | None = None, family: str = "exponential"
) -> Found:
    """Search for the partition (and levels) of the shortest description; the same seed finds the same.

    ``weights`` is (unit, unit), or (layer, unit, unit) for one partition of several graphs.
    """
    search = Search(graph_of(weights, corrected, family), np.random.default_rng(seed), FAMILIES[family])
    return search.from_starts(start)


def length(one: Found) -> float:
    """Description length, to sort by."""
    return one.description_length


def graph_of(weights: Layers, corrected: bool, family: str) -> Any:
    """Lay a weighted graph out for the compiled functions, as its family sees it."""
    from neurotools.numerics.kernels import numba_blockmodel, numba_blockterms

    of = FAMILIES[family]
    layers = [of.standardise(one) for one in weights.reshape(-1, *weights.shape[-2:])]
    degree_price = -DEGREE_STEP * sum(one.edges.sum(1) for one in layers)
    strength_price = sum(blockweights.strength_price(of, one) for one in layers)
    n_units = weights.shape[-1]
    return numba_blockmodel.graph_of(
        np.stack([[one.edges, one.value, one.second] for one in layers], axis=1),
        by_blocks=np.log(n_units) + log_compositions(n_units),
        own=np.stack([degree_price, strength_price]),
        family=CODES[of.kind],
        prior=numba_blockterms.ABSENT if of.every_pair else numba_blockterms.FLAT,
        step=np.array([blockweights.step_in_units(family, one) for one in layers]),
        constant=sum(one.free for one in layers),
        corrected=corrected,
    )


def log_compositions(n: int) -> np.ndarray:
    """Log of the number of ways to cut n units into B non-empty sizes in order, for B = 0 .. n + 1."""
    b = np.arange(1, n + 1)
    ways = gammaln(n) - gammaln(b) - gammaln(n - b + 1)
    return np.concatenate([[0.0], ways, [np.inf]])


class Search:
    """A graph laid out for the compiled moves, and the chance that drives them."""

    def __init__(
        self, graph: Any, rng: np.random.Generator, family: blockweights.Family | None = None
    ) -> None:
        from neurotools.numerics.kernels import numba_blockmodel

        self.kernel: Any = numba_blockmodel
        self.graph, self.rng, self.family = graph, rng, family
        self.n_layers, self.n_units = graph.pairs.shape[1:3]

    def state_of(self, labels: Labels, levels: Levels | None = None) -> Any:
        """A partition laid out for the compiled moves; levels are neutral when omitted."""
        levels = neutral_levels(self.n_units) if levels is None else levels
        return self.kernel.state_of(labels, levels, self.n_layers)

    def from_starts(self, start: Labels | None = None) -> Found:
        """Search from several random partitions, and from ``start``; keep the shortest description."""
        n_units, corrected = self.n_units, bool(self.graph.corrected)
        neutral = neutral_levels(n_units)
        starts = [(self.rng.integers(0, min(n, n_units), n_units), neutral) for n in STARTS[corrected]]
        if corrected:
            # Where the plain variant ended is a good place to begin, and one start has levels by chance.
            starts[-1] = starts[-1][0], self._chance_levels()
            starts += [] if start is None else [(start, neutral)]
        best = min((self.run(by_size(labels), levels) for labels, levels in starts), key=length)
        return Found(by_size(best.labels), best.levels, best.description_length)

    def _chance_levels(self) -> Levels:
        levels = self.rng.integers(0, N_LEVELS, (2, self.n_units))
        if self.family is not None and self.family.every_pair:
            levels[0] = neutral_levels(1)[0]
        return levels

    def run(self, labels: Labels, levels: Levels) -> Found:
        """From one start: merge down to one block, then split and merge from the best on the way."""
        state = self.state_of(labels, levels)
        return self.improve(self.merge_down(state))

    def improve(self, best: Found, groups: Labels | None = None) -> Found:
        """Split and merge blocks until nothing has been gained for long.

        ``groups`` are those of the blocks, one level up, where the graph's prices ask for them.
        """
        state = self.state_of(best.labels, best.levels)
        groups = state.groups.copy() if groups is None else groups
        failed = 0
        while failed < PATIENCE[bool(self.graph.corrected)]:
            state.labels[:], state.levels[:], state.groups[:] = best.labels, best.levels, groups
            self.disturb(state)
            cost = self.settle(state)
            failed += 1
            if cost < best.description_length - TINY_GAIN:
                best, groups, failed = found(state, cost), state.groups.copy(), 0
        return best

    def settle(self, state: Any, allowed: tuple[int, int] = (-1, 1), n_turns: int = 100) -> float:
        """Let units move among the allowed blocks (-1, whether new ones may be founded: among all)."""
        state.allowed[:] = allowed
        for _ in SCALES:
            cost = self.kernel.settle(state, self.graph, n_turns, self.rng)
            scale = self.graph.scale if self.family is None else best_scale(self, state)
            if np.array_equal(scale, self.graph.scale):
                break
            self.graph = self.graph._replace(scale=scale)
        return float(cost)

    def merge_down(self, state: Any) -> Found:
        """Merge the two blocks whose union costs least, until one is left; return the best on the way."""
        best = found(state, self.settle(state, (-1, 0)))
        while state.labels.max() > 0:
            merge(state, *self.kernel.cheapest_merge(state, self.graph))
            cost = self.settle(state, (-1, 0), n_turns=4)
            if cost < best.description_length - TINY_GAIN:
                best = found(state, cost)
        return best

    def disturb(self, state: Any) -> None:
        """Split a block, merge two, merge two and split the result anew, or shift the levels of a block."""
        labels, n_blocks = state.labels, int(state.labels.max()) + 1
        chosen = int(labels[self.rng.integers(labels.size)])
        kind = self.rng.integers(4 if self.graph.corrected else 3)
        if kind == 3:
            either = 1 if self.family is not None and self.family.every_pair else self.rng.integers(2)
            which = np.ix_(np.array([either]), np.flatnonzero(labels == chosen))
            state.levels[which] = (state.levels[which] + self.rng.choice([-1, 1])).clip(0, N_LEVELS - 1)
            return
        if kind > 0 and n_blocks > 1:
            other = (chosen + int(self.rng.integers(1, n_blocks))) % n_blocks
            chosen, n_blocks = merge(state, chosen, other), n_blocks - 1
        members = np.flatnonzero(labels == chosen)
        if kind != 1 and members.size > 1:
            labels[members[self.rng.permutation(members.size) < members.size // 2]] = n_blocks
            state.groups[n_blocks] = state.groups[chosen]
            self.settle(state, (chosen, n_blocks), n_turns=10)


def found(state: Any, cost: float) -> Found:
    """Copy what the compiled functions hold."""
    return Found(state.labels.copy(), state.levels.copy(), float(cost))


def merge(state: Any, r: int, s: int) -> int:
    """Give the units of two blocks one number, and the last block the number that is free."""
    labels = state.labels
    keep, gone, last = min(r, s), max(r, s), int(labels.max())
    labels[labels == gone] = keep
    if gone != last:
        labels[labels == last] = gone
        state.groups[gone] = state.groups[last]
    return keep


def best_scale(search: Search, state: Any) -> np.ndarray:
    """Scale of the prior of the values that describes those of each layer most shortly, in a state."""
    upper = np.triu_indices(state.sizes[-1])
    sums = ([state.sums[kind, layer][upper] for kind in range(3)] for layer in range(search.n_layers))
    return np.array([blockweights.best_scale(search.family, *one) for one in sums])
