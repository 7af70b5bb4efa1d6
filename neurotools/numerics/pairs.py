"""A tensor of pairs, X[row, pair], by the two products that a factorisation needs of it.

A row is one moment of one subject. ``contract`` sums over rows with weights, ``project`` takes inner
products of every row with patterns over pairs; both are one wide matrix product per block of rows. The block
is stored, or made from the drives when it is needed: the sums are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from neurotools.arrays import Array, namespace
from neurotools.numerics import affinity
from neurotools.numerics.affinity import Slices

BLOCK_BYTES = 16 * 1024**2  # of pairs made at a time


@dataclass(frozen=True)
class PairTensor:
    """X[row, pair] as a function that returns some of its rows, ``block_rows`` at a time."""

    slices: Slices
    n_rows: int
    n_units: int
    block_rows: int

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """First row and last row + 1 of every block."""
        return [
            (start, min(start + self.block_rows, self.n_rows))
            for start in range(0, self.n_rows, self.block_rows)
        ]


def stored(values: Float[Array, "row pair"], n_units: int) -> PairTensor:
    """Pair tensor that lies in memory."""
    return PairTensor(
        lambda start, stop: values[start:stop, :], values.shape[0], n_units, max(values.shape[0], 1)
    )


def gathered(tensor: PairTensor) -> PairTensor:
    """The same tensor with all its slices made once and kept."""
    return stored(tensor.slices(0, tensor.n_rows), tensor.n_units)


def made(kernel: str, drives: affinity.Drives, stored_bytes: float) -> PairTensor:
    """Pairs of a kernel, kept if they take no more than ``stored_bytes``, else made in blocks."""
    n_rows, n_units = drives.up.shape
    row_bytes = max(1, n_units * (n_units - 1) // 2) * np.dtype(str(drives.up.dtype).split(".")[-1]).itemsize
    block = max(1, BLOCK_BYTES // row_bytes)
    tensor = PairTensor(affinity.slices_of(kernel, drives), n_rows, n_units, block)
    return gathered(tensor) if n_rows * row_bytes <= stored_bytes else tensor


def contract(tensor: PairTensor, weight: Float[Array, "k row"]) -> Float[Array, "k pair"]:
    """Sum of rows under each of ``k`` weightings: sum_t weight[k, t] X[t, pair]."""
    total = None
    for start, stop in tensor.bounds:
        term = weight[:, start:stop] @ tensor.slices(start, stop)
        total = term if total is None else total + term
    return total


def project(tensor: PairTensor, pattern: Float[Array, "k pair"]) -> Float[Array, "k row"]:
    """Inner product of every row with each of ``k`` patterns: sum_pair pattern[k, pair] X[t, pair]."""
    xp = namespace(pattern)
    parts = [pattern @ tensor.slices(start, stop).mT for start, stop in tensor.bounds]
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=-1)


def squared_norm(tensor: PairTensor, chosen: Float[Array, pair] | None = None) -> float:
    """Sum of squares of all entries, or of the pairs where ``chosen`` is one and not zero."""
    total = 0.0
    for start, stop in tensor.bounds:
        block = tensor.slices(start, stop)
        block = block if chosen is None else block * chosen
        total += float(namespace(block).sum(block * block))
    return total
