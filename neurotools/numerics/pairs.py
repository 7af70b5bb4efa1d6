"""A tensor of pairs, X[row, pair], by the two products that a factorisation needs of it.

A row is one moment of one subject. ``contract`` sums over rows with weights, ``project`` takes inner products
of every row with patterns over pairs; both are wide matrix products, block by block. A block is stored, or
made from the drives when it is needed: the sums are the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from neurotools.arrays import Array, device_of, namespace, to_numpy
from neurotools.numerics import affinity
from neurotools.numerics.affinity import Slices, pairs_before

BLOCK_BYTES = 8 * 1024**2  # of pairs made at a time
BLOCK_ROWS = 512  # rows that are made together, where units can be made apart


@dataclass(frozen=True)
class PairTensor:
    """X[row, pair] as a function that returns part of it: ``block_rows`` rows and the pairs of some units.

    ``unit_edges`` are the first units at which blocks of pairs begin, and the number of units.
    """

    slices: Slices
    n_rows: int
    n_units: int
    block_rows: int
    unit_edges: tuple[int, ...] = ()
    ordered: bool = False  # pairs (i, j) and (j, i) are two
    row_edges: tuple[int, ...] = ()  # where blocks of rows begin, if not at every ``block_rows``
    sparse: Any = None  # scipy's compressed rows (row, pair), where few entries are above zero

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return pairs_before(self.n_units, self.n_units, self.ordered)

    def place(self, first: int, last: int) -> slice:
        """Where the pairs lie whose first unit is ``first <= i < last``."""
        return slice(*(pairs_before(unit, self.n_units, self.ordered) for unit in (first, last)))

    def blocks(self) -> Iterator[tuple[slice, slice, Array]]:
        """Rows, pairs and values (row, pair) of every block."""
        rows = self.row_edges or (*range(0, self.n_rows, self.block_rows), self.n_rows)
        for start, stop in itertools.pairwise(rows):
            for first, last in itertools.pairwise(self.unit_edges or (0, self.n_units)):
                yield slice(start, stop), self.place(first, last), self.slices(start, stop, first, last)

    @property
    def whole(self) -> bool:
        """Whether there is but one block."""
        return self.n_rows <= self.block_rows and len(self.unit_edges) <= 2


def stored(values: Float[Array, "row pair"], n_units: int, ordered: bool = False) -> PairTensor:
    """Pair tensor that lies in memory."""

    def slices(start: int, stop: int, first: int = 0, last: int | None = None) -> Array:
        return values[start:stop, tensor.place(first, n_units if last is None else last)]

    tensor = PairTensor(slices, values.shape[0], n_units, max(values.shape[0], 1), ordered=ordered)
    return tensor


def listed(
    value: np.ndarray, row: np.ndarray, pair: np.ndarray, n_rows: int, n_units: int, *, ordered: bool = False
) -> PairTensor:
    """Pair tensor of which only the entries that are listed are above zero; on the host alone."""
    from scipy.sparse import csr_array

    n_pairs = pairs_before(n_units, n_units, ordered)
    sparse = csr_array((value, (row, pair)), shape=(n_rows, n_pairs))

    def slices(start: int, stop: int, first: int = 0, last: int | None = None) -> Array:
        place = tensor.place(first, n_units if last is None else last)
        return sparse[start:stop, place].toarray()

    rows = max(1, BLOCK_BYTES // 8 // max(1, n_pairs))
    tensor = PairTensor(slices, n_rows, n_units, min(rows, max(1, n_rows)), ordered=ordered, sparse=sparse)
    return tensor


def gathered(tensor: PairTensor) -> PairTensor:
    """The same tensor with all its pairs made once and kept."""
    example = tensor.slices(0, 1, 0, 1)
    shape = (tensor.n_pairs, tensor.n_rows)
    values = namespace(example).empty(shape, dtype=example.dtype, device=device_of(example))
    for rows, place, block in tensor.blocks():
        values[place, rows] = block.mT
    return stored(values.mT, tensor.n_units, tensor.ordered)


def made(kernel: str, drives: affinity.Drives, stored_bytes: float) -> PairTensor:
    """Pairs of a kernel, kept if they take no more than ``stored_bytes``, else made in blocks."""
    n_rows, n_units = drives.up.shape
    ordered = kernel in affinity.ORDERED
    n_pairs = max(1, pairs_before(n_units, n_units, ordered))
    room = max(1, BLOCK_BYTES // np.dtype(str(drives.up.dtype).rsplit(".", maxsplit=1)[-1]).itemsize)
    block_rows = min(n_rows, BLOCK_ROWS)
    edges = unit_edges(n_units, room // block_rows, ordered)
    if kernel in affinity.WINDOWED:  # a window serves all units at once
        block_rows, edges = max(1, room // n_pairs), (0, n_units)
    tensor = PairTensor(affinity.slices_of(kernel, drives), n_rows, n_units, block_rows, edges, ordered)
    return gathered(tensor) if n_rows * n_pairs * (BLOCK_BYTES // room) <= stored_bytes else tensor


def unit_edges(n_units: int, n_pairs: int, ordered: bool = False) -> tuple[int, ...]:
    """Where to cut the units so that the pairs of a piece number about ``n_pairs``, at least one unit's."""
    edges = [0]
    for unit in range(1, n_units):
        begin, end = (pairs_before(i, n_units, ordered) for i in (edges[-1], unit + 1))
        if end - begin > n_pairs:
            edges.append(unit)
    return (*edges, n_units)


def contract(tensor: PairTensor, weight: Float[Array, "k row"]) -> Float[Array, "k pair"]:
    """Sum of rows under each of ``k`` weightings: sum_t weight[k, t] X[t, pair]."""
    xp = namespace(weight)
    if tensor.sparse is not None:
        return np.ascontiguousarray((tensor.sparse.T @ weight.T).T)
    if tensor.whole:
        return weight @ tensor.slices(0, tensor.n_rows)
    shape = (weight.shape[0], tensor.n_pairs)
    total = xp.zeros(shape, dtype=weight.dtype, device=device_of(weight))
    for rows, place, block in tensor.blocks():
        total[:, place] = total[:, place] + weight[:, rows] @ block
    return total


def project(tensor: PairTensor, pattern: Float[Array, "k pair"]) -> Float[Array, "k row"]:
    """Inner product of every row with each of ``k`` patterns: sum_pair pattern[k, pair] X[t, pair]."""
    xp = namespace(pattern)
    if tensor.sparse is not None:
        return np.ascontiguousarray((tensor.sparse @ pattern.T).T)
    if tensor.whole:
        return pattern @ tensor.slices(0, tensor.n_rows).mT
    total = xp.zeros((pattern.shape[0], tensor.n_rows), dtype=pattern.dtype, device=device_of(pattern))
    for rows, place, block in tensor.blocks():
        total[:, rows] = total[:, rows] + pattern[:, place] @ block.mT
    return total


def squared_norm(tensor: PairTensor, chosen: Float[Array, pair] | None = None) -> float:
    """Sum of squares of all entries, or of the pairs where ``chosen`` is one and not zero."""
    total = 0.0
    if tensor.sparse is not None:
        kept = tensor.sparse if chosen is None else tensor.sparse.multiply(chosen[None, :])
        return float(kept.power(2).sum())
    for _, place, block in tensor.blocks():
        block = block if chosen is None else block * chosen[place]
        total += float(namespace(block).sum(block * block))
    return total


def support(tensor: PairTensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values above zero, and the pair and row of each, on the host."""
    if tensor.sparse is not None:
        held = tensor.sparse.tocoo()
        return held.data, held.col.astype("int64"), held.row.astype("int64")
    values, places, rows = [], [], []
    for row, place, block in tensor.blocks():
        held = to_numpy(block)
        at_row, at_pair = np.nonzero(held)
        values.append(held[at_row, at_pair])
        places.append(at_pair + (place.start or 0))
        rows.append(at_row + (row.start or 0))
    return np.concatenate(values), np.concatenate(places), np.concatenate(rows)
