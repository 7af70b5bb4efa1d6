"""The one partition that lies nearest to many draws of a posterior, and how far these lie from it.

Three losses between partitions c and z of N items, with n_c, n_z, n_cz the sizes of blocks and overlaps:

    variation of information   (sum h(n_c) + sum h(n_z) - 2 sum h(n_cz)) / N,          h(n) = n log n
    Binder's                   the same with h(n) = n (n - 1) / 2, over N (N - 1) / 2: pairs that differ
    1 - adjusted Rand index    (Hubert and Arabie 1985, eq. 5)

The estimate minimises the mean loss over draws. Sequential allocation of items in random order, sweeps, and
blocks taken apart and allocated again: Dahl, Johnson and Müller (2022), J. Comput. Graph. Stat. 31,
1189-1201; the draws themselves are candidates too. Wade and Ghahramani (2018), Bayesian Analysis 13, 559-626,
for the loss and the credible ball; Fritsch and Ickstadt (2009), Bayesian Analysis 4, 367-392, for the index.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import xlogy

from neurotools.errors import lookup

Labels = Int[np.ndarray, "item"]
OfItem = Float[np.ndarray, "item"]
OfDraw = Float[np.ndarray, "draw"]
Draws = Int[np.ndarray, "item draw"]  # one row per item, so that a sweep reads memory in order

CANDIDATE_WORK = 5e8  # items times draws times candidates that are looked at before the search
MOST_CANDIDATES = 200
KEPT_CANDIDATES = 3
MOST_SWEEPS = 100


def compact(draws: Int[np.ndarray, "draw item"]) -> Draws:
    """Name the blocks of every draw 0, 1, ... and lay draws along the second axis."""
    small = np.empty(draws.shape[::-1], dtype=np.int32)
    for m, labels in enumerate(draws):
        small[:, m] = np.unique(labels, return_inverse=True)[1]
    return small


def by_size(labels: Labels) -> Labels:
    """Number blocks from 0, the largest first; of equal ones the one whose first item comes first."""
    _, first, inverse, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    names = np.empty(sizes.size, dtype=np.int64)
    names[np.lexsort((first, -sizes))] = np.arange(sizes.size)
    return names[inverse]


# ---- losses ---------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Loss:
    """A loss between partitions: its h, its distance from sums of h, and how it is swept."""

    h: Callable[[np.ndarray], np.ndarray]  # of block sizes 0, 1, ..., N
    distance: Callable[..., np.ndarray]  # (sum h(n_c), sum h(n_z), sum h(n_cz), N)
    additive: bool = True


def _pairs(n: np.ndarray) -> np.ndarray:
    return n * (n - 1) / 2


def _information(here: float, there: np.ndarray, both: np.ndarray, n: int) -> np.ndarray:
    return np.maximum(here + there - 2 * both, 0.0) / n


def _differing(here: float, there: np.ndarray, both: np.ndarray, n: int) -> np.ndarray:
    return (here + there - 2 * both) / max(n * (n - 1) / 2, 1)


def _not_rand(here: float, there: np.ndarray, both: np.ndarray, n: int) -> np.ndarray:
    chance = here * there / max(n * (n - 1) / 2, 1)
    room = (here + there) / 2 - chance
    return 1 - np.divide(both - chance, room, out=np.ones_like(room), where=room != 0)


LOSSES = {
    "vi": Loss(lambda n: xlogy(n, n), _information),
    "binder": Loss(_pairs, _differing),
    "pear": Loss(_pairs, _not_rand, additive=False),
}


def distances(labels: Labels, draws: Draws, loss: str) -> OfDraw:
    """Loss between a partition and every draw."""
    from neurotools.numerics.kernels import numba_partitions as fast

    chosen = lookup("loss", loss, LOSSES)
    n = labels.size
    h = chosen.h(np.arange(n + 1, dtype="float64"))
    inverse = np.unique(labels, return_inverse=True)[1]
    sizes = np.bincount(inverse)
    both = fast.overlaps(inverse, draws, sizes.size, int(draws.max()) + 1, h)
    return chosen.distance(float(h[sizes].sum()), _sums_of_draws(draws, h), both, n)


def _sums_of_draws(draws: Draws, h: np.ndarray) -> np.ndarray:
    """Sum of h over the blocks of every draw."""
    most = int(draws.max()) + 1
    sizes = np.stack([np.bincount(column, minlength=most) for column in draws.T])
    return h[sizes].sum(axis=1)


# ---- the search -----------------------------------------------------------------------------------------
def minimise(draws: Draws, loss: str, *, n_starts: int = 8, seed: int = 0) -> tuple[Labels, OfDraw]:
    """Find the partition of least mean loss, blocks numbered by size; and its loss to every draw.

    A search: exact on small problems (tested against all partitions), not provably on large ones. It never
    ends above the best draw that it looked at.
    """
    lookup("loss", loss, LOSSES)
    rng = np.random.default_rng(seed)
    search = _Search(draws, loss, rng)
    ends = [search.swept(start) for start in [*search.best_draws(), *search.allocated(n_starts)]]
    best = min(ends, key=search.mean_loss)
    best = by_size(search.taken_apart(best))
    return best, distances(best, draws, loss)


class _Search:
    """Sweeps over one set of draws."""

    def __init__(self, draws: Draws, loss: str, rng: np.random.Generator) -> None:
        self.draws, self.loss, self.rng = draws, loss, rng
        self.n_items = draws.shape[0]
        self.n_there = int(draws.max()) + 1
        # More blocks than twice those of any draw never pay; small problems may have as many as items.
        self.most = min(self.n_items, 2 * self.n_there + 8)
        h = LOSSES[loss].h(np.arange(self.n_items + 1, dtype="float64"))
        self.gain = np.diff(h)
        self.pairs_of_draw = _sums_of_draws(draws, _pairs(np.arange(self.n_items + 1, dtype="float64")))

    def mean_loss(self, labels: Labels) -> float:
        return float(distances(labels, self.draws, self.loss).mean())

    def best_draws(self) -> list[Labels]:
        """The draws with the least mean loss, of as many different ones as time allows to compare."""
        different = np.unique(self.draws, axis=1).T
        affordable = int(CANDIDATE_WORK / max(self.draws.size, 1))
        n = min(len(different), MOST_CANDIDATES, max(affordable, KEPT_CANDIDATES))
        chosen = different[np.unique(np.linspace(0, len(different) - 1, n).round().astype(int))]
        return sorted(chosen.astype(np.int64), key=self.mean_loss)[:KEPT_CANDIDATES]

    def allocated(self, n: int) -> list[Labels]:
        """Partitions made by giving items, in random order, the block that is best for those given so far."""
        return [self._allocate(np.full(self.n_items, -1, dtype=np.int64)) for _ in range(n)]

    def swept(self, labels: Labels) -> Labels:
        """Move items one by one, until a sweep over all of them moves none."""
        from neurotools.numerics.kernels import numba_partitions as fast

        labels, table, sizes, room = self._begin(labels)
        for _ in range(MOST_SWEEPS):
            order = self.rng.permutation(self.n_items)
            if LOSSES[self.loss].additive:
                moved = fast.sweep_additive(labels, order, self.draws, table, sizes, self.gain, room)
            else:
                moved = fast.sweep_rand(labels, order, self.draws, table, sizes, self.pairs_of_draw, room)
            if not moved:
                break
        return labels

    def taken_apart(self, labels: Labels) -> Labels:
        """Take one block after the other apart and allocate its items again; keep what lowers the loss."""
        best, least = labels, self.mean_loss(labels)
        for block in np.unique(labels):
            trial = best.copy()
            trial[trial == block] = -1
            trial = self.swept(self._allocate(trial))
            loss = self.mean_loss(trial)
            if loss < least - 1e-12:
                best, least = trial, loss
        return best

    def _allocate(self, labels: Labels) -> Labels:
        from neurotools.numerics.kernels import numba_partitions as fast

        order = self.rng.permutation(np.flatnonzero(labels < 0))
        labels, table, sizes, room = self._begin(labels)
        fast.sweep_additive(labels, order, self.draws, table, sizes, self.gain, room)
        return labels

    def _begin(self, labels: Labels) -> tuple[np.ndarray, ...]:
        from neurotools.numerics.kernels import numba_partitions as fast

        labels = labels.astype(np.int64)
        given = labels >= 0
        labels[given] = np.minimum(by_size(labels[given]), self.most - 1)
        sizes = np.bincount(labels[labels >= 0], minlength=self.most).astype(np.int64)
        table = fast.tables(labels, self.draws, self.most, self.n_there)
        return labels, table, sizes, np.zeros(self.most)


# ---- how sure it is -------------------------------------------------------------------------------------
def confidence(labels: Labels, draws: Draws) -> OfItem:
    """Mean posterior probability of sharing a block with the other items of one's own block.

    Of an item that is alone: the share of draws in which it is alone. From tables of shared counts, so that
    no matrix of pairs is made.
    """
    n_items, n_draws = draws.shape
    labels = np.unique(labels, return_inverse=True)[1]
    sizes = np.bincount(labels)
    together = np.zeros(n_items)
    alone = np.zeros(n_items)
    for column in draws.T:
        table = np.zeros((int(column.max()) + 1, sizes.size))
        np.add.at(table, (column, labels), 1.0)
        together += table[column, labels] - 1
        alone += table.sum(axis=1)[column] == 1
    mates = sizes[labels] - 1
    return np.where(mates > 0, together / np.maximum(mates, 1), alone) / n_draws


@dataclass(frozen=True)
class Ball:
    """The draws nearest to the estimate that hold a given share of the posterior, and its extreme members."""

    radius: float
    fewest: Labels  # of the draws in it with fewest blocks the furthest (upper vertical bound)
    most: Labels  # of those with most blocks the furthest (lower vertical bound)
    furthest: Labels  # the furthest of all (horizontal bound)


def credible_ball(draws: Draws, distance: OfDraw, coverage: float = 0.95) -> Ball:
    """The smallest ball around the estimate with ``coverage`` of the draws (Wade and Ghahramani 2018).

    ``distance`` is the loss of the estimate to every draw.
    """
    radius = float(np.sort(distance)[max(int(np.ceil(coverage * distance.size)) - 1, 0)])
    inside = np.flatnonzero(distance <= radius)
    blocks = draws.max(axis=0)[inside]
    ends = [inside[blocks == blocks.min()], inside[blocks == blocks.max()], inside]
    chosen = [by_size(draws[:, end[distance[end].argmax()]]) for end in ends]
    return Ball(radius, *chosen)
