"""Products of an affinity whose drives are read chunk by chunk, for recordings longer than memory.

Every product is a sum or a concatenation over rows, so chunks give what the whole would, up to the order of
additions. A sweep reads the drives two to four times.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from neurotools.arrays import Array, namespace
from neurotools.numerics import pairs, units
from neurotools.numerics.affinity import Drives, slices_of

Read = Callable[[int, int], Drives]  # rows start <= t < stop


@dataclass(frozen=True)
class Rows:
    """Drives that can be read row by row; ``edges`` are the rows at which chunks begin, and their number."""

    read: Read
    edges: tuple[int, ...]
    n_units: int

    def chunks(self) -> Iterator[tuple[slice, Drives]]:
        """Rows and drives of every chunk."""
        for start, stop in itertools.pairwise(self.edges):
            yield slice(start, stop), self.read(start, stop)


def chunk_edges(n_subjects: int, n_time: int, chunk: int) -> tuple[int, ...]:
    """Rows at which chunks of at most ``chunk`` moments begin; none holds two subjects."""
    starts = [w * n_time + t for w in range(n_subjects) for t in range(0, n_time, chunk)]
    return (*starts, n_subjects * n_time)


class StreamedUnits:
    """Products with loadings over units (``units.UnitProducts``), chunk by chunk."""

    def __init__(self, rows: Rows, make: Callable[[Drives], units.UnitProducts]) -> None:
        self.rows, self.make = rows, make
        self.norm2 = 0.0
        for _, drives in rows.chunks():
            part = make(drives)
            self.norm2 += part.norm2
            self.example = part.example[:1, ...]

    def lift(self, loading: Array) -> Array:
        """Nothing is kept between chunks, so nothing can be done beforehand."""
        return loading

    def apply(self, lifted: Array, loading: Array, weight: Array) -> Array:
        """See ``UnitProducts.apply``."""
        total = namespace(loading).zeros_like(loading)
        for place, drives in self.rows.chunks():
            part = self.make(drives)
            total = total + part.apply(part.lift(loading), loading, weight[:, place])
        return total

    def form(self, lifted: Array, loading: Array) -> Array:
        """See ``UnitProducts.form``; of what was lifted, since that is the loading itself."""
        parts = []
        for _, drives in self.rows.chunks():
            part = self.make(drives)
            parts.append(part.form(part.lift(loading), loading))
        return namespace(loading).concat(parts, axis=-1)


class StreamedDirected:
    """Products of ordered pairs (``units.Directed``), chunk by chunk."""

    def __init__(self, rows: Rows, make: Callable[[Drives], units.Directed]) -> None:
        self.rows, self.make = rows, make
        self.norm2 = 0.0
        for _, drives in rows.chunks():
            part = make(drives)
            self.norm2 += part.norm2
            self.example = part.example[:1, ...]

    def apply(self, other: Array, weight: Array, side: int) -> Array:
        """See ``Directed.apply``."""
        total = namespace(other).zeros_like(other)
        for place, drives in self.rows.chunks():
            total = total + self.make(drives).apply(other, weight[:, place], side)
        return total

    def form(self, leads: Array, follows: Array) -> Array:
        """See ``Directed.form``."""
        parts = [self.make(drives).form(leads, follows) for _, drives in self.rows.chunks()]
        return namespace(leads).concat(parts, axis=-1)


def streamed_pairs(rows: Rows, kernel: str, ordered: bool) -> pairs.PairTensor:
    """Pairs of a kernel, made from one chunk at a time and for some units at a time."""
    last: list[tuple[tuple[int, int], Callable[..., Array]]] = []

    def slices(start: int, stop: int, first: int = 0, end: int | None = None) -> Array:
        if not last or last[0][0] != (start, stop):
            last[:] = [((start, stop), slices_of(kernel, rows.read(start, stop)))]
        return last[0][1](0, stop - start, first, end)

    widest = int(np.diff(rows.edges).max())
    cut = pairs.unit_edges(rows.n_units, max(1, pairs.BLOCK_BYTES // 8 // widest), ordered)
    return pairs.PairTensor(slices, rows.edges[-1], rows.n_units, widest, cut, ordered, rows.edges)
