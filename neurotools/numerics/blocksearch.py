"""Search for the partition of a weighted graph that describes it most shortly.

Units move one by one until none gains (compiled); blocks are merged and split, which no unit can do alone.
What a partition costs is defined in ``blockmodel``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from neurotools.numerics.blockmodel import (
    N_LEVELS,
    SCALES,
    Labels,
    Levels,
    Matrix,
    best_scale,
    by_size,
    evidence_of,
    mean_edge_weight,
    neutral_levels,
)

TINY_GAIN = 1e-9  # nats; less is rounding
# Blocks of the random partitions to start from, and disturbances in a row that may gain nothing.
STARTS = {False: (1, 4, 8, 16, 24), True: (8, 24, 8)}
PATIENCE = {False: 20, True: 16}


@dataclass(frozen=True)
class Found:
    """A partition, the levels of degree and strength (neutral when not corrected), and what they cost."""

    labels: Labels
    levels: Levels
    description_length: float


def find_partition(weights: Matrix, *, corrected: bool, seed: int, start: Labels | None = None) -> Found:
    """Search for the partition (and levels) of the shortest description; the same seed finds the same."""
    n_units = weights.shape[0]
    search = Search(weights, corrected, np.random.default_rng(seed))
    neutral = neutral_levels(n_units)
    starts = [(search.rng.integers(0, min(n, n_units), n_units), neutral) for n in STARTS[corrected]]
    if corrected:
        # Where the plain variant ended is a good place to begin, and one start has levels by chance.
        starts[-1] = starts[-1][0], search.rng.integers(0, N_LEVELS, (2, n_units))
        starts += [] if start is None else [(start, neutral)]
    best = min((search.run(by_size(labels), levels) for labels, levels in starts), key=length)
    return Found(by_size(best.labels), best.levels, best.description_length)


def length(one: Found) -> float:
    """Description length, to sort by."""
    return one.description_length


class Search:
    """A graph laid out for the compiled moves, and the chance that drives them."""

    def __init__(self, weights: Matrix, corrected: bool, rng: np.random.Generator) -> None:
        from neurotools.numerics.kernels import numba_blockmodel

        self.kernel: Any = numba_blockmodel
        self.mean_weight = mean_edge_weight(weights)
        self.graph = numba_blockmodel.graph_of(weights, corrected, self.mean_weight)
        self.rng = rng

    def run(self, labels: Labels, levels: Levels) -> Found:
        """From one start: merge down to one block, then split and merge from the best on the way."""
        state = self.kernel.state_of(labels, levels)
        return self.improve(self.merge_down(state))

    def improve(self, best: Found) -> Found:
        """Split and merge blocks until nothing has been gained for long."""
        state = self.kernel.state_of(best.labels, best.levels)
        failed = 0
        while failed < PATIENCE[self.graph.corrected]:
            state.labels[:], state.levels[:] = best.labels, best.levels
            self.disturb(state)
            cost = self.settle(state)
            failed += 1
            if cost < best.description_length - TINY_GAIN:
                best, failed = found(state, cost), 0
        return best

    def settle(self, state: Any, allowed: tuple[int, int] = (-1, 1), n_turns: int = 100) -> float:
        """Let units move among the allowed blocks (-1, whether new ones may be founded: among all)."""
        state.allowed[:] = allowed
        for _ in SCALES:
            cost = self.kernel.settle(state, self.graph, n_turns, self.rng)
            upper = np.triu_indices(state.sizes[-1])
            n_edges, weight_sum = (state.sums[kind][upper] for kind in (self.kernel.EDGE, self.kernel.WEIGHT))
            scale = best_scale(n_edges, weight_sum, self.mean_weight)
            if scale == self.graph.scale:
                break
            self.graph = self.graph._replace(scale=scale)
        return cost

    def merge_down(self, state: Any) -> Found:
        """Merge the two blocks whose union costs least, until one is left; return the best on the way."""
        best = found(state, self.settle(state, (-1, 0)))
        while state.labels.max() > 0:
            merge(state.labels, *self.kernel.cheapest_merge(state, self.graph))
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
            which = np.ix_([self.rng.integers(2)], np.flatnonzero(labels == chosen))
            state.levels[which] = (state.levels[which] + self.rng.choice([-1, 1])).clip(0, N_LEVELS - 1)
            return
        if kind > 0 and n_blocks > 1:
            other = (chosen + int(self.rng.integers(1, n_blocks))) % n_blocks
            chosen, n_blocks = merge(labels, chosen, other), n_blocks - 1
        members = np.flatnonzero(labels == chosen)
        if kind != 1 and members.size > 1:
            labels[members[self.rng.permutation(members.size) < members.size // 2]] = n_blocks
            self.settle(state, (chosen, n_blocks), n_turns=10)


def found(state: Any, cost: float) -> Found:
    """Copy what the compiled functions hold."""
    return Found(state.labels.copy(), state.levels.copy(), float(cost))


def merge(labels: Labels, r: int, s: int) -> int:
    """Give the units of two blocks one number, and the last block the number that is free."""
    keep, gone, last = min(r, s), max(r, s), int(labels.max())
    labels[labels == gone] = keep
    if gone != last:
        labels[labels == last] = gone
    return keep


# ---- sampling -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Draws:
    """Partitions drawn from the posterior: labels (numbered largest first) and what each costs."""

    labels: Int[np.ndarray, "draw unit"]
    description_length: Float[np.ndarray, " draw"]


def sample_partitions(
    weights: Matrix, begin: Found, *, corrected: bool, n_draws: int, seed: int, n_skipped: int | None = None
) -> Draws:
    """Draw partitions (and levels) with probability exp(-description length) times the number of their names.

    One sweep over all units per draw, after ``n_skipped`` sweeps (a quarter of the draws). Units move one
    at a time, so that draws stay among partitions that can be reached this way from ``begin``: they say how
    firmly each unit belongs to its community, not whether quite other partitions would do as well.
    """
    search = Search(weights, corrected, np.random.default_rng(seed))
    graph = search.graph._replace(heat=1.0, scale=evidence_of(weights, begin.labels, begin.levels).scale)
    state = search.kernel.state_of(begin.labels, begin.levels)
    labels, lengths = [], []
    skip = n_draws // 4 if n_skipped is None else n_skipped
    for turn in range(skip + n_draws):
        cost = search.kernel.settle(state, graph, 1, search.rng)
        if turn >= skip:
            labels.append(by_size(state.labels))
            lengths.append(cost)
    return Draws(np.array(labels), np.array(lengths))
