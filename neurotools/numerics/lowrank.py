"""Motifs of a few parts: between one loading per unit and a free value per pair.

    X[i, j, w, t] ~ sum_r (sum_l H_rl[i] H_rl[j]) D_r[w] C_r[t],        i < j, all factors >= 0

A block-term model whose blocks have rank L in the pair and one in subject and time: De Lathauwer (2008), SIAM
Journal on Matrix Analysis and Applications 30(3), section 4, here non-negative and symmetric. Each part is a
component of the layout of units whose subject and time loadings are those of its motif, so the same descent
serves, and the error never rises.
"""

from __future__ import annotations

from neurotools.arrays import Array, namespace
from neurotools.numerics import affinity
from neurotools.numerics.ntf import Factors, UnitLayout


class LowRankLayout:
    """Every component has ``n_parts`` loadings per unit; its motif is the sum of their outer products.

    ``Factors.space`` holds the parts of a component end to end.
    """

    def __init__(self, units: UnitLayout, n_parts: int) -> None:
        xp = namespace(units.ever)
        self.units, self.n_parts = units, n_parts
        self.n_units, self.n_subjects, self.n_time = units.n_space, units.n_subjects, units.n_time
        self.n_space = n_parts * units.n_space
        self.norm2, self.sets = units.norm2, units.sets
        self.ever = xp.concat([units.ever] * n_parts, axis=0)

    def spread(self, space: Array) -> Array:
        """Parts as components of their own: (restart, component * part, unit)."""
        xp = namespace(space)
        return xp.reshape(space, (space.shape[0], -1, self.n_units))

    def _repeated(self, factor: Array) -> Array:
        xp = namespace(factor)
        q, r, n = factor.shape
        shape = (q, r, self.n_parts, n)
        return xp.reshape(xp.broadcast_to(factor[:, :, None, :], shape), (q, r * self.n_parts, n))

    def _gathered(self, seen: Array) -> Array:
        xp = namespace(seen)
        shape = (seen.shape[0], -1, self.n_parts, *seen.shape[2:])
        return xp.sum(xp.reshape(seen, shape), axis=2)

    def improve(self, factors: Factors) -> tuple[Array, Array]:
        """One descent step of all parts of a restart, of exact length."""
        xp = namespace(factors.space)
        inner = Factors(
            self.spread(factors.space), self._repeated(factors.subject), self._repeated(factors.time)
        )
        space, seen = self.units.improve(inner)
        return xp.reshape(space, factors.space.shape), self._gathered(seen)

    def project(self, space: Array) -> Array:
        """See ``Layout.project``."""
        return self._gathered(self.units.project(self.spread(space)))

    def grams(self, space: Array) -> Array:
        """See ``Layout.grams``."""
        xp = namespace(space)
        inner = self.units.grams(self.spread(space))
        q, w, both, _ = inner.shape
        r = both // self.n_parts
        return xp.sum(xp.reshape(inner, (q, w, r, self.n_parts, r, self.n_parts)), axis=(3, 5))

    def motifs(self, space: Array) -> Array:
        """Motifs over pairs: (restart, component, pair)."""
        parts = self.spread(space * self.ever)
        packed = affinity.pack(parts[..., :, None] * parts[..., None, :])
        return self._gathered(packed)

    def modes(self, factors: Factors) -> list[Array]:
        """See ``Layout.modes``."""
        return [self.motifs(factors.space), factors.subject, factors.time]
