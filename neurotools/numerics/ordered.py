"""One loading per unit and side of an ordered pair: who leads, and who follows.

    X[i, j, w, t] ~ sum_r A_r[i] B_r[j] D_r[w] C_r[t],        i != j, all factors >= 0

The two sides are not tied, so least squares for one of them, the other held fixed, is exact and the error
never rises. ``Factors.space`` holds both: the leading loadings, then the following ones.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from neurotools.arrays import Array, namespace
from neurotools.numerics import ntf, tensor
from neurotools.numerics.ntf import INNER_PASSES, Factors, OfUnits


@runtime_checkable
class DirectedProducts(Protocol):
    """Products of A_t, the affinities of ordered pairs at row t, with loadings (k, unit)."""

    norm2: float  # sum of squares over rows and ordered pairs
    example: Array

    def apply(self, other: Array, weight: Array, side: int) -> Array:
        """Sum over rows of weight[k, t] A_t other[k] (``side`` 0) or its transpose: (k, unit)."""

    def form(self, leads: Array, follows: Array) -> Array:
        """leads[k]' A_t follows[k]: (k, row)."""


class OrderedLayout(OfUnits):
    """Every component has two loadings per unit; its motif is their outer product, off the diagonal."""

    def __init__(self, data: DirectedProducts, observed: np.ndarray, n_time: int) -> None:
        super().__init__(data.example, observed, n_time)
        self.directed = data
        self.n_space = 2 * self.n_units
        self.norm2 = data.norm2
        self.ever = namespace(self.ever).concat([self.ever, self.ever], axis=0)

    def sides(self, space: Array) -> tuple[Array, Array]:
        """Loadings of who leads and of who follows, each (restart, component, unit)."""
        return space[..., : self.n_units], space[..., self.n_units :]

    def side_terms(self, factors: Factors, side: int) -> tuple[Array, tensor.Coupling]:
        """Product with the data and coupling that least squares for one side needs."""
        xp = namespace(factors.space)
        other = self.sides(factors.space)[1 - side]
        flat = xp.reshape(other, (-1, self.n_units))
        product = xp.reshape(self.directed.apply(flat, ntf.moments(factors), side), other.shape)
        return product, self._coupling(other, factors)

    def improve(self, factors: Factors) -> tuple[Array, Array]:
        """Least squares for the leading loadings, and with these for the following ones."""
        xp = namespace(factors.space)
        for side in (0, 1):
            parts = list(self.sides(factors.space))
            terms = self.side_terms(factors, side)
            parts[side] = tensor.nonnegative_update(parts[side], *terms, INNER_PASSES)
            factors = Factors(xp.concat(parts, axis=-1), factors.subject, factors.time)
        return factors.space, self.project(factors.space)

    def project(self, space: Array) -> Array:
        """See ``Layout.project``."""
        xp = namespace(space)
        leads, follows = (xp.reshape(part, (-1, self.n_units)) for part in self.sides(space))
        seen = self.directed.form(leads, follows)
        return xp.reshape(seen, (*space.shape[:2], self.n_subjects, self.n_time))

    def grams(self, space: Array) -> Array:
        """See ``Layout.grams``."""
        leads, follows = self.sides(space)
        inner = self._masked(leads) * self._masked(follows) - self._masked(leads * follows)
        return self._by_subject(inner)

    def modes(self, factors: Factors) -> list[Array]:
        """See ``Layout.modes``."""
        leads, follows = self.sides(factors.space * self.ever)
        return [leads, follows, factors.subject, factors.time]
