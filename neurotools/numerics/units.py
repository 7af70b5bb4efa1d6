"""Products of an affinity with loadings over units, without its pairs.

Cost and memory grow with the number of units, not of pairs.

A_t is the matrix of affinities at row t, its diagonal removed. Three verbs serve a factorisation: ``lift``
does what is linear in the loadings once, ``apply`` gives sum_t w_t A_t a, and ``form`` a' A_t a for every t.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from jaxtyping import Float

from neurotools.arrays import Array, namespace
from neurotools.numerics import affinity, pairs
from neurotools.numerics.affinity import Drives

SORTED_BLOCK = 2_000_000  # numbers per temporary array of the sorted kernels


def before(x: Float[Array, "*batch entry"]) -> Float[Array, "*batch entry"]:
    """Sum of all entries before each one along the last axis."""
    return namespace(x).cumulative_sum(x, axis=-1, include_initial=True)[..., :-1]


@runtime_checkable
class UnitProducts(Protocol):
    """Products of A_t, the affinities of row t without their diagonal, with loadings (k, unit)."""

    norm2: float  # sum of squares over rows and ordered pairs
    example: Array  # an array of the library, device and dtype that is computed in

    def lift(self, loading: Array) -> Array:
        """What ``apply`` and ``form`` need of a loading; linear in it."""

    def apply(self, lifted: Array, loading: Array, weight: Array) -> Array:
        """Sum over rows of weight[k, t] A_t loading[k]: (k, unit)."""

    def form(self, lifted: Array, loading: Array) -> Array:
        """Quadratic form loading[k]' A_t loading[k]: (k, row)."""


class RankTwo:
    """A_t = p p' + m m' without its diagonal, where p and m are parts of the drives with separate supports.

    The rows of all p, then all m, stack to one matrix U, and U a serves every row at once.
    """

    def __init__(self, up: Float[Array, "row unit"], down: Float[Array, "row unit"]) -> None:
        xp = namespace(up)
        self.stack = self.example = xp.concat([up, down], axis=0)
        self.diagonal = up * up + down * down
        lengths = xp.sum(self.stack * self.stack, axis=-1)
        self.norm2 = float(xp.sum(lengths * lengths) - xp.sum(self.diagonal * self.diagonal))

    def lift(self, loading: Float[Array, "k unit"]) -> Float[Array, "k row2"]:
        """Inner products of the loadings with every p and every m."""
        return loading @ self.stack.mT

    def apply(self, lifted: Array, loading: Array, weight: Array) -> Array:
        """See ``UnitProducts.apply``."""
        xp = namespace(loading)
        twice = xp.concat([weight, weight], axis=-1)
        return (lifted * twice) @ self.stack - (weight @ self.diagonal) * loading

    def form(self, lifted: Array, loading: Array) -> Array:
        """See ``UnitProducts.form``."""
        n_rows = self.diagonal.shape[0]
        square = lifted * lifted
        return square[:, :n_rows] + square[:, n_rows:] - (loading * loading) @ self.diagonal.mT


class Crossed:
    """A_t = p m' + m p' without its diagonal: what rises in one unit and falls in the other."""

    def __init__(self, up: Float[Array, "row unit"], down: Float[Array, "row unit"]) -> None:
        xp = namespace(up)
        self.stack = self.example = xp.concat([up, down], axis=0)
        self.n_rows = up.shape[0]
        self.diagonal = 2.0 * up * down  # zero, unless a unit rises and falls at once
        both = xp.sum(up * down, axis=-1)
        lengths = xp.sum(up * up, axis=-1) * xp.sum(down * down, axis=-1)
        self.norm2 = float(2.0 * xp.sum(lengths + both * both) - xp.sum(self.diagonal * self.diagonal))

    def lift(self, loading: Float[Array, "k unit"]) -> Float[Array, "k row2"]:
        """Inner products of the loadings with every p and every m."""
        return loading @ self.stack.mT

    def apply(self, lifted: Array, loading: Array, weight: Array) -> Array:
        """See ``UnitProducts.apply``."""
        xp = namespace(loading)
        swapped = xp.concat([lifted[:, self.n_rows :] * weight, lifted[:, : self.n_rows] * weight], axis=-1)
        return swapped @ self.stack - (weight @ self.diagonal) * loading

    def form(self, lifted: Array, loading: Array) -> Array:
        """See ``UnitProducts.form``."""
        product = lifted[:, : self.n_rows] * lifted[:, self.n_rows :]
        return 2.0 * product - (loading * loading) @ self.diagonal.mT


class Directed:
    """A_t = p s' + m n' without its diagonal: ordered pairs, what leads first and what follows second.

    The two sides of a pair have loadings of their own. ``side`` 0 is the one that leads.
    """

    def __init__(self, led: tuple[Array, Array], follows: tuple[Array, Array]) -> None:
        xp = namespace(*led)
        self.stacks = [xp.concat(list(parts), axis=0) for parts in (led, follows)]
        self.example = self.stacks[0]
        self.n_rows = led[0].shape[0]
        self.diagonal = led[0] * follows[0] + led[1] * follows[1]
        lengths = [xp.sum(stack * stack, axis=-1) for stack in self.stacks]
        crossed = [xp.sum(rise * fall, axis=-1) for rise, fall in (led, follows)]
        total = xp.sum(lengths[0] * lengths[1]) + 2.0 * xp.sum(crossed[0] * crossed[1])
        self.norm2 = float(total - xp.sum(self.diagonal * self.diagonal))

    def apply(self, other: Array, weight: Array, side: int) -> Array:
        """Sum over rows of weight[k, t] A_t other[k] (``side`` 0) or its transpose: (k, unit)."""
        xp = namespace(other)
        lifted = (other @ self.stacks[1 - side].mT) * xp.concat([weight, weight], axis=-1)
        return lifted @ self.stacks[side] - (weight @ self.diagonal) * other

    def form(self, leads: Array, follows: Array) -> Array:
        """leads[k]' A_t follows[k]: (k, row)."""
        product = (leads @ self.stacks[0].mT) * (follows @ self.stacks[1].mT)
        both = product[:, : self.n_rows] + product[:, self.n_rows :]
        return both - (leads * follows) @ self.diagonal.mT


class DirectedPairs:
    """The same products from slices of ordered pairs."""

    def __init__(self, data: pairs.PairTensor) -> None:
        self.data = data
        self.example = data.slices(0, 1, 0, 1)
        self.norm2 = pairs.squared_norm(data)

    def apply(self, other: Array, weight: Array, side: int) -> Array:
        """See ``Directed.apply``."""
        matrices = affinity.unpack(pairs.contract(self.data, weight), self.data.n_units, ordered=True)
        return ((matrices if side == 0 else matrices.mT) @ other[..., None])[..., 0]

    def form(self, leads: Array, follows: Array) -> Array:
        """See ``Directed.form``."""
        patterns = leads[..., :, None] * follows[..., None, :]
        return pairs.project(self.data, affinity.pack(patterns, ordered=True))


class Semiseparable:
    """A_t[i, j] = p(u_i) q(u_j) for u_j <= u_i, symmetric: after sorting, a product costs two running sums.

    ``generators`` gives p and q of the sorted drives: for ``min`` 1 and u, for ``ratio`` 1/u and u.
    """

    def __init__(
        self,
        up: Float[Array, "row unit"],
        down: Float[Array, "row unit"],
        generators: Callable[[Array], tuple[Array, Array]],
    ) -> None:
        xp = namespace(up)
        parts = xp.concat([up, down], axis=0)
        self.n_rows = up.shape[0]
        self.order = xp.argsort(parts, axis=-1)
        self.place = xp.argsort(self.order, axis=-1)
        self.p, self.q = generators(xp.take_along_axis(parts, self.order, axis=-1))
        self.example = self.q
        p2, q2 = self.p * self.p, self.q * self.q
        self.norm2 = 2.0 * float(xp.sum(p2 * before(q2)))

    def lift(self, loading: Array) -> Array:
        """Nothing can be done beforehand."""
        return loading

    def _blocks(self, k: int) -> list[slice]:
        n, units = self.order.shape
        size = max(1, SORTED_BLOCK // max(1, k * units))
        return [slice(begin, min(begin + size, n)) for begin in range(0, n, size)]

    def _times(self, loading: Array, block: slice) -> tuple[Array, Array]:
        """Loadings in the order of the drives, and their product with the kernel off the diagonal."""
        xp = namespace(loading)
        p, q, order = self.p[block, :], self.q[block, :], self.order[block, :]
        x = xp.take(loading, xp.reshape(order, (-1,)), axis=-1)
        x = xp.reshape(x, (loading.shape[0], *order.shape))
        # The larger units are summed from the far end: a difference of sums would lose what is small.
        larger = xp.flip(before(xp.flip(p * x, axis=-1)), axis=-1)
        return x, p * before(q * x) + q * larger

    def apply(self, lifted: Array, loading: Array, weight: Array) -> Array:
        """See ``UnitProducts.apply``."""
        xp = namespace(loading)
        weight = xp.concat([weight, weight], axis=-1)
        total = xp.zeros_like(loading)
        for block in self._blocks(loading.shape[0]):
            _, y = self._times(loading, block)
            y = xp.take_along_axis(y, xp.broadcast_to(self.place[block, :], y.shape), axis=-1)
            total = total + xp.sum(y * weight[:, block, None], axis=1)
        return total

    def form(self, lifted: Array, loading: Array) -> Array:
        """See ``UnitProducts.form``."""
        xp = namespace(loading)
        parts = []
        for block in self._blocks(loading.shape[0]):
            x, y = self._times(loading, block)
            parts.append(xp.sum(x * y, axis=-1))
        values = xp.concat(parts, axis=-1)
        return values[:, : self.n_rows] + values[:, self.n_rows :]


class OfPairs:
    """The same products from slices of pairs, for affinities that have no shorter form."""

    def __init__(self, data: pairs.PairTensor) -> None:
        self.data = data
        self.example = data.slices(0, 1, 0, 1)
        self.norm2 = 2.0 * pairs.squared_norm(data)

    def lift(self, loading: Array) -> Array:
        """Nothing can be done beforehand."""
        return loading

    def apply(self, lifted: Array, loading: Array, weight: Array) -> Array:
        """See ``UnitProducts.apply``."""
        matrices = affinity.unpack(pairs.contract(self.data, weight), self.data.n_units)
        return (matrices @ loading[..., None])[..., 0]

    def form(self, lifted: Array, loading: Array) -> Array:
        """See ``UnitProducts.form``."""
        return 2.0 * pairs.project(self.data, affinity.pack(loading[..., :, None] * loading[..., None, :]))


# ---- which kernel has which form ------------------------------------------------------------------------
def geomean(drives: Drives) -> UnitProducts:
    """Rank two in the square roots of the drives."""
    return RankTwo(*(rooted for rooted, _ in affinity.alike(drives, root=True)))


def product(drives: Drives) -> UnitProducts:
    """Rank two in the drives."""
    return RankTwo(drives.up, drives.down)


def anti(drives: Drives) -> UnitProducts:
    """Rank two in the square roots of the drives, rising parts against falling ones."""
    return Crossed(*affinity.opposed(drives)[0])


def lagged(drives: Drives) -> Directed:
    """Rank two in the square roots of the drives now and a lag earlier."""
    (led_up, up), (led_down, down) = affinity.sent_first(drives)
    return Directed((led_up, led_down), (up, down))


def minimum(drives: Drives) -> UnitProducts:
    """Semiseparable: min(u_i, u_j) is the smaller one, so p = 1 and q = u."""

    def generators(u: Array) -> tuple[Array, Array]:
        return namespace(u).ones_like(u), u

    return Semiseparable(drives.up, drives.down, generators)


def ratio(drives: Drives) -> UnitProducts:
    """Semiseparable: u_j / u_i for the smaller u_j, so p = 1 / u and q = u; units at rest have neither."""

    def generators(u: Array) -> tuple[Array, Array]:
        xp = namespace(u)
        inverse = xp.where(u > 0, 1.0 / xp.where(u > 0, u, xp.ones_like(u)), xp.zeros_like(u))
        return inverse, u

    return Semiseparable(drives.up, drives.down, generators)


RANK_TWO: dict[str, Callable[[Drives], UnitProducts]] = {
    "geomean": geomean,
    "product": product,
    "edge": product,
    "anti": anti,
}
SORTED: dict[str, Callable[[Drives], UnitProducts]] = {"min": minimum, "ratio": ratio}
SHORT_FORMS = RANK_TWO | SORTED
DIRECTED: dict[str, Callable[[Drives], Directed]] = {"lagged": lagged}
