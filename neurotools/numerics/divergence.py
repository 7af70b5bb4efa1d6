"""Non-negative factorisation by likelihoods that suit sparse, skewed affinities, on their support.

    kl      sum over observed entries of  x log(x / m) - x + m        Poisson
    gamma   sum over entries above zero of  x / m - log(x / m) - 1    gamma; Itakura-Saito

The model m[w, t, pair] = sum_r F_r[pair] D_r[w] C_r[t] is made at the entries above zero alone. Where x is
zero ``kl`` needs only the sum of the model, which follows from sums of the factors; ``gamma`` asks how large
an affinity is where there is one, and nothing of the zeros.

Multiplicative updates that minimise a majorant, so the divergence never rises: Fevotte and Idier (2011),
Neural Computation 23(9), section 4.1, with the exponent 1 for ``kl`` and 1/2 for ``gamma``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from neurotools.arrays import Array, device_of, library_of, like, namespace
from neurotools.numerics import ntf, pairs, tensor
from neurotools.numerics.ntf import Factors

LEAST = 1e-15  # of the model, so that a ratio is never infinite; scaled data are of the order of one


# ---- entries above zero -------------------------------------------------------------------------------
@dataclass(frozen=True)
class Entries:
    """Values above zero in one order: where each lies, and where the runs of one ``key`` begin.

    ``starts`` has one more entry than there are keys.
    """

    value: Array
    pair: Array
    row: Array
    starts: np.ndarray

    def sums(self, values: Float[Array, "restart entry"]) -> Float[Array, "restart key"]:
        """Sum of the values of every key."""
        xp = namespace(values)
        if library_of(values) == "cpu":
            if values.shape[-1] == 0:
                return np.zeros((values.shape[0], self.starts.size - 1), dtype=values.dtype)
            begins = np.minimum(self.starts[:-1], values.shape[-1] - 1)
            total = np.add.reduceat(values, begins, axis=-1)
            return np.where(self.starts[1:] > self.starts[:-1], total, 0)  # an empty run sums to nothing
        running = xp.cumulative_sum(values, axis=-1, include_initial=True)
        at = xp.take(running, xp.asarray(self.starts, device=device_of(values)), axis=-1)
        return at[:, 1:] - at[:, :-1]


def sorted_entries(
    value: np.ndarray, places: tuple[np.ndarray, np.ndarray], key: int, n_keys: int, x: Array
) -> Entries:
    """Sort entries by their pair (``key`` 0) or their row (1) and move them to where ``x`` lies."""
    xp = namespace(x)
    by = places[key]
    order = np.argsort(by, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(by, minlength=n_keys))])
    moved = [xp.asarray(part[order], device=device_of(x)) for part in places]
    return Entries(like(value[order], x), moved[0], moved[1], starts)


class SupportLayout:
    """A tensor of pairs by its entries above zero, in the order of pairs and in that of rows."""

    def __init__(self, data: pairs.PairTensor, observed: np.ndarray) -> None:
        example = data.slices(0, 1, 0, 1)
        first, second = pairs.affinity.pair_index(data.n_units, data.ordered)
        shown = observed[:, first] & observed[:, second]
        value, pair, row = pairs.support(data)
        self.n_subjects, self.n_space = shown.shape
        self.n_time = data.n_rows // self.n_subjects
        self.scale = float(value.mean()) if value.size else 1.0
        value = value / self.scale
        self.by_pair = sorted_entries(value, (pair, row), 0, self.n_space, example)
        self.by_row = sorted_entries(value, (pair, row), 1, data.n_rows, example)
        self.total = float(value.sum())
        self.norm2 = float((value**2).sum()) * self.scale**2
        self.shown = like(shown.astype("float64"), example)
        self.n_observed = int(shown.sum()) * self.n_time
        self.sets = self.shown
        self.ever = like(shown.any(axis=0).astype("float64"), example)
        self.value = value  # on the host, for the divergence of a constant

    def weights(self, factors: Factors, r: int) -> Float[Array, "restart row"]:
        """Weight of component ``r`` in every row."""
        xp = namespace(factors.time)
        outer = factors.subject[:, r, :, None] * factors.time[:, r, None, :]
        return xp.reshape(outer, (outer.shape[0], -1))

    def model(self, factors: Factors, entries: Entries) -> Float[Array, "restart entry"]:
        """The model at every entry."""
        xp = namespace(factors.space)
        total = xp.full((factors.space.shape[0], entries.value.shape[0]), LEAST, dtype=factors.space.dtype,
                        device=device_of(factors.space))  # fmt: skip
        for r in range(factors.space.shape[1]):
            space = xp.take(factors.space[:, r, :], entries.pair, axis=-1)
            total = total + space * xp.take(self.weights(factors, r), entries.row, axis=-1)
        return total

    def model_sum(self, factors: Factors) -> Float[Array, restart]:
        """Sum of the model over every observed pair, subject and moment."""
        xp = namespace(factors.space)
        per_subject = (factors.space @ self.shown.mT) * factors.subject
        return xp.sum(xp.sum(per_subject, axis=-1) * xp.sum(factors.time, axis=-1), axis=-1)

    def modes(self, factors: Factors) -> list[Array]:
        """Factors whose outer product is the model; zero where nothing was observed."""
        return [factors.space * self.ever * self.scale, factors.subject, factors.time]


def restricted(layout: SupportLayout, shown: Float[np.ndarray, "subject pair"]) -> SupportLayout:
    """The same data with only some (subject, pair) rows observed, on the host."""
    entries, chosen = layout.by_row, copy.copy(layout)
    keep = shown[entries.row // layout.n_time, entries.pair] > 0
    value, places = entries.value[keep], (entries.pair[keep], entries.row[keep])
    n_rows = layout.n_subjects * layout.n_time
    chosen.by_pair = sorted_entries(value, places, 0, layout.n_space, value)
    chosen.by_row = sorted_entries(value, places, 1, n_rows, value)
    chosen.value, chosen.total = value, float(value.sum())
    chosen.shown, chosen.n_observed = shown, int((shown > 0).sum()) * layout.n_time
    return chosen


# ---- the two divergences ------------------------------------------------------------------------------
@dataclass(frozen=True)
class Divergence:
    """What one divergence asks at entries above zero, and the exponent under which it cannot rise.

    ``pull`` and ``push`` multiply weights on either side of an update; where ``push`` is None the sum of the
    weights over all observed entries takes its place. ``at`` is the divergence at an entry, less ``rest``.
    """

    pull: Callable[[Array, Array], Array]
    push: Callable[[Array, Array], Array] | None
    at: Callable[[Array, Array, object], Array]
    exponent: float


def _kl_at(x: Array, m: Array, xp: object) -> Array:
    return x * xp.log(x / m) - x  # type: ignore[attr-defined]


def _gamma_at(x: Array, m: Array, xp: object) -> Array:
    return x / m - xp.log(x / m) - 1.0  # type: ignore[attr-defined]


DIVERGENCES = {
    "kl": Divergence(lambda x, m: x / m, None, _kl_at, 1.0),
    "gamma": Divergence(lambda x, m: x / (m * m), lambda x, m: 1.0 / m, _gamma_at, 0.5),
}


def divergence(layout: SupportLayout, factors: Factors, kind: Divergence) -> Float[Array, restart]:
    """Divergence of every restart over that of a constant: 0 is a perfect model, 1 no model at all."""
    xp = namespace(factors.space)
    at = kind.at(layout.by_row.value, layout.model(factors, layout.by_row), xp)
    total = xp.sum(at, axis=-1)
    if kind.push is None:
        total = total + layout.model_sum(factors)
    return total / of_constant(layout, kind)


def of_constant(layout: SupportLayout, kind: Divergence) -> float:
    """Divergence of the mean of all observed entries (``gamma``: of those above zero)."""
    n = layout.n_observed if kind.push is None else layout.value.size
    mean = layout.total / max(n, 1)
    total = float(kind.at(layout.value, np.full_like(layout.value, mean), np).sum())
    return max(total + (n * mean if kind.push is None else 0.0), np.finfo(float).tiny)


# ---- updates ------------------------------------------------------------------------------------------
def stepped(factor: Array, up: Array, down: Array, exponent: float) -> Array:
    """Multiplicative step; an entry that nothing pulls becomes zero."""
    xp = namespace(factor)
    known = down > 0
    share = xp.where(known, up / xp.where(known, down, xp.ones_like(down)), xp.zeros_like(up))
    return factor * (share if exponent == 1.0 else share**exponent)


def improve_space(layout: SupportLayout, factors: Factors, kind: Divergence) -> Factors:
    """One step of all pairs."""
    xp, entries = namespace(factors.space), layout.by_pair
    model = layout.model(factors, entries)
    pull = kind.pull(entries.value, model)
    push = None if kind.push is None else kind.push(entries.value, model)
    ups, downs = [], []
    for r in range(factors.space.shape[1]):
        weight = xp.take(layout.weights(factors, r), entries.row, axis=-1)
        ups.append(entries.sums(pull * weight))
        if push is not None:
            downs.append(entries.sums(push * weight))
    if push is None:
        down = (factors.subject * xp.sum(factors.time, axis=-1)[..., None]) @ layout.shown
    else:
        down = xp.stack(downs, axis=1)
    space = stepped(factors.space, xp.stack(ups, axis=1), down, kind.exponent)
    return Factors(space, factors.subject, factors.time)


def row_sums(
    layout: SupportLayout, factors: Factors, values: Array
) -> Float[Array, "restart r subject time"]:
    """Sum over the pairs of a row of ``values`` times each component's pattern."""
    xp, entries = namespace(factors.space), layout.by_row
    sums = [
        entries.sums(values * xp.take(factors.space[:, r, :], entries.pair, axis=-1))
        for r in range(factors.space.shape[1])
    ]
    shape = (factors.space.shape[0], len(sums), layout.n_subjects, layout.n_time)
    return xp.reshape(xp.stack(sums, axis=1), shape)


def improve_time(layout: SupportLayout, factors: Factors, kind: Divergence) -> Factors:
    """One step of all moments."""
    xp = namespace(factors.time)
    pull, push = _along_rows(layout, factors, kind)
    up = xp.sum(pull * factors.subject[..., None], axis=-2)
    if push is None:
        per_subject = (factors.space @ layout.shown.mT) * factors.subject
        down = xp.sum(per_subject, axis=-1)[..., None] + xp.zeros_like(up)
    else:
        down = xp.sum(push * factors.subject[..., None], axis=-2)
    return Factors(factors.space, factors.subject, stepped(factors.time, up, down, kind.exponent))


def improve_subject(layout: SupportLayout, factors: Factors, kind: Divergence) -> Factors:
    """One step of all subjects."""
    xp = namespace(factors.time)
    pull, push = _along_rows(layout, factors, kind)
    up = (pull @ factors.time[..., None])[..., 0]
    if push is None:
        down = (factors.space @ layout.shown.mT) * xp.sum(factors.time, axis=-1)[..., None]
    else:
        down = (push @ factors.time[..., None])[..., 0]
    return Factors(factors.space, stepped(factors.subject, up, down, kind.exponent), factors.time)


def _along_rows(layout: SupportLayout, factors: Factors, kind: Divergence) -> tuple[Array, Array | None]:
    entries = layout.by_row
    model = layout.model(factors, entries)
    pull = row_sums(layout, factors, kind.pull(entries.value, model))
    return pull, None if kind.push is None else row_sums(layout, factors, kind.push(entries.value, model))


def sweep(layout: SupportLayout, factors: Factors, kind: Divergence) -> tuple[Factors, Array]:
    """Update every mode once; return the factors and the relative divergence of each restart."""
    factors = improve_space(layout, factors, kind)
    if layout.n_subjects > 1:
        factors = improve_subject(layout, factors, kind)
    factors = balanced(improve_time(layout, factors, kind))
    return factors, divergence(layout, factors, kind)


def balanced(factors: Factors) -> Factors:
    """The same model with space and subjects of length one, so that no factor runs away."""
    xp = namespace(factors.time)
    space, subject, time = factors.space, factors.subject, factors.time
    for factor in (space, subject):
        time = time * tensor.norms(factor)[..., None]
    lengths = [tensor.norms(factor)[..., None] for factor in (space, subject)]
    one = xp.ones_like(lengths[0])
    space, subject = (
        factor / xp.where(length > 0, length, one)
        for factor, length in zip((space, subject), lengths, strict=True)
    )
    return Factors(space, subject, time)


def start(layout: SupportLayout, rank: int, seeds: Sequence[Sequence[int]]) -> Factors:
    """Uniform random factors, one model per seed, whose sum is that of the data."""
    factors = ntf.drawn(layout, rank, seeds)
    scale = layout.total / layout.model_sum(factors)
    return Factors(factors.space, factors.subject, factors.time * scale[:, None, None])


def times_of(
    layout: SupportLayout,
    space: Array,
    subject: Array,
    kind: Divergence,
    *,
    tol: float = 1e-8,
    max_iter: int = 1000,
) -> tuple[Factors, float]:
    """Time courses of given patterns, and the relative divergence that they leave; a convex problem."""
    xp = namespace(space)
    begin = xp.ones((*space.shape[:2], layout.n_time), dtype=space.dtype, device=device_of(space))
    factors = Factors(space / layout.scale, subject, begin)
    last = float("inf")
    for _ in range(max_iter):
        factors = improve_time(layout, factors, kind)
        now = float(divergence(layout, factors, kind)[0])
        if last - now < tol:
            break
        last = now
    return Factors(space, subject, factors.time), now
