"""A tensor of pairs, X[row, pair], by the two products that a factorisation needs of it.

A row is one moment of one subject. ``contract`` sums over rows with weights, ``project`` takes inner products
of every row with patterns over pairs; both are wide matrix products, block by block. A block is stored, or
made from the drives when it is needed: the sums are the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from neurotools.arrays import Array, device_of, namespace
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

    def blocks(self) -> Iterator[tuple[slice, slice, Array]]:
        """Rows, pairs and values (row, pair) of every block."""
        rows = [*range(0, self.n_rows, self.block_rows), self.n_rows]
        for start, stop in itertools.pairwise(rows):
            for first, last in itertools.pairwise(self.unit_edges or (0, self.n_units)):
                place = slice(pairs_before(first, self.n_units), pairs_before(last, self.n_units))
                yield slice(start, stop), place, self.slices(start, stop, first, last)

    @property
    def whole(self) -> bool:
        """Whether there is but one block."""
        return self.n_rows <= self.block_rows and len(self.unit_edges) <= 2


def stored(values: Float[Array, "row pair"], n_units: int) -> PairTensor:
    """Pair tensor that lies in memory."""

    def slices(start: int, stop: int, first: int = 0, last: int | None = None) -> Array:
        last = n_units if last is None else last
        return values[start:stop, pairs_before(first, n_units) : pairs_before(last, n_units)]

    return PairTensor(slices, values.shape[0], n_units, max(values.shape[0], 1))


def gathered(tensor: PairTensor) -> PairTensor:
    """The same tensor with all its pairs made once and kept."""
    example = tensor.slices(0, 1, 0, 1)
    shape = (pairs_before(tensor.n_units, tensor.n_units), tensor.n_rows)
    values = namespace(example).empty(shape, dtype=example.dtype, device=device_of(example))
    for rows, place, block in tensor.blocks():
        values[place, rows] = block.mT
    return stored(values.mT, tensor.n_units)


def made(kernel: str, drives: affinity.Drives, stored_bytes: float) -> PairTensor:
    """Pairs of a kernel, kept if they take no more than ``stored_bytes``, else made in blocks."""
    n_rows, n_units = drives.up.shape
    n_pairs = max(1, pairs_before(n_units, n_units))
    room = max(1, BLOCK_BYTES // np.dtype(str(drives.up.dtype).rsplit(".", maxsplit=1)[-1]).itemsize)
    block_rows = min(n_rows, BLOCK_ROWS)
    edges = unit_edges(n_units, room // block_rows)
    if kernel in affinity.WINDOWED:  # a window serves all units at once
        block_rows, edges = max(1, room // n_pairs), (0, n_units)
    tensor = PairTensor(affinity.slices_of(kernel, drives), n_rows, n_units, block_rows, edges)
    return gathered(tensor) if n_rows * n_pairs * (BLOCK_BYTES // room) <= stored_bytes else tensor


def unit_edges(n_units: int, n_pairs: int) -> tuple[int, ...]:
    """Where to cut the units so that the pairs of a piece number about ``n_pairs``, at least one unit's."""
    edges = [0]
    for unit in range(1, n_units):
        if pairs_before(unit + 1, n_units) - pairs_before(edges[-1], n_units) > n_pairs:
            edges.append(unit)
    return (*edges, n_units)


def contract(tensor: PairTensor, weight: Float[Array, "k row"]) -> Float[Array, "k pair"]:
    """Sum of rows under each of ``k`` weightings: sum_t weight[k, t] X[t, pair]."""
    xp = namespace(weight)
    if tensor.whole:
        return weight @ tensor.slices(0, tensor.n_rows)
    shape = (weight.shape[0], pairs_before(tensor.n_units, tensor.n_units))
    total = xp.zeros(shape, dtype=weight.dtype, device=device_of(weight))
    for rows, place, block in tensor.blocks():
        total[:, place] = total[:, place] + weight[:, rows] @ block
    return total


def project(tensor: PairTensor, pattern: Float[Array, "k pair"]) -> Float[Array, "k row"]:
    """Inner product of every row with each of ``k`` patterns: sum_pair pattern[k, pair] X[t, pair]."""
    xp = namespace(pattern)
    if tensor.whole:
        return pattern @ tensor.slices(0, tensor.n_rows).mT
    total = xp.zeros((pattern.shape[0], tensor.n_rows), dtype=pattern.dtype, device=device_of(pattern))
    for rows, place, block in tensor.blocks():
        total[:, rows] = total[:, rows] + pattern[:, place] @ block.mT
    return total


def squared_norm(tensor: PairTensor, chosen: Float[Array, pair] | None = None) -> float:
    """Sum of squares of all entries, or of the pairs where ``chosen`` is one and not zero."""
    total = 0.0
    for _, place, block in tensor.blocks():
        block = block if chosen is None else block * chosen[place]
        total += float(namespace(block).sum(block * block))
    return total
