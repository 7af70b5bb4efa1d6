"""Non-negative factorisation of a tensor of pairs over subjects and moments, many starts at once.

    X[i, j, w, t] ~ sum_r F_r[i, j] D_r[w] C_r[t],        i < j, all factors >= 0

Factors are (restart, component, entry), so the components of all restarts are the rows of one wide matrix
product with the data. A layout says what F is: free over pairs, or the outer product of a loading per unit
with itself.

Missing units make what was observed of a subject a product set that does not change in time. Least squares
over observed entries alone then needs one Gram matrix per set of subjects, and nothing is imputed.
Cichocki and Phan (2009), IEICE Transactions E92-A(3), for the updates.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from neurotools.arrays import Array, device_of, like, namespace, to_numpy
from neurotools.numerics import pairs, tensor, units
from neurotools.numerics.affinity import pair_index

INNER_PASSES = 3  # rounds over the components that share one product with the data


@dataclass(frozen=True)
class Factors:
    """One model per restart: ``space`` (pairs or units), ``subject``, ``time``; restart, component, entry."""

    space: Array
    subject: Array
    time: Array

    def take(self, index: Sequence[int]) -> Factors:
        """Keep some of the restarts."""
        xp = namespace(self.time)
        place = xp.asarray(np.asarray(index, dtype="int64"), device=device_of(self.time))
        return Factors(*(xp.take(f, place, axis=0) for f in (self.space, self.subject, self.time)))


@runtime_checkable
class Sized(Protocol):
    """What any arrangement of the data has to say of itself."""

    n_space: int
    n_subjects: int
    n_time: int
    norm2: float  # squared norm of what was observed
    sets: Array  # distinct sets of subjects in which entries of space were observed
    ever: Array  # one for entries of space that some subject shows, else zero

    def modes(self, factors: Factors) -> list[Array]:
        """Factors whose outer product is the model: ..., space, subject, time.

        They are zero where nothing was observed.
        """


@runtime_checkable
class Layout(Sized, Protocol):
    """What a model of space has to offer the alternating updates."""

    def improve(self, factors: Factors) -> tuple[Array, Array]:
        """A better ``space`` with subjects and time held fixed, and what ``project`` gives for it."""

    def project(self, space: Array) -> Array:
        """Inner products of the data with every component's pattern: (restart, component, subject, time)."""

    def grams(self, space: Array) -> Array:
        """Gram matrices of the patterns over what each subject shows: (restart, subject or 1, r, r)."""


Sweep = Callable[[Any, Factors], tuple[Factors, Array]]


# ---- what was observed ------------------------------------------------------------------------------
def observation_sets(observed: Bool[np.ndarray, "subject entry"]) -> tuple[np.ndarray, np.ndarray]:
    """Distinct sets of subjects in which entries were observed, (set, subject), and the set of each entry."""
    sets, group = np.unique(observed.T, axis=0, return_inverse=True)
    return sets, group.reshape(-1)


def weighted_grams(subject: Array, grams: Array, sets: Array) -> Array:
    """Gram matrix seen by each set of subjects: sum over its subjects of (d_w d_w') o grams_w.

    ``grams`` is (restart, subject or 1, r, r); the result (restart, set, r, r).
    """
    xp = namespace(subject)
    by_subject = subject.mT  # (restart, subject, r)
    per_subject = by_subject[..., :, None] * by_subject[..., None, :] * grams
    q, w, r, _ = per_subject.shape
    flat = sets @ xp.reshape(per_subject, (q, w, r * r))
    return xp.reshape(flat, (q, sets.shape[0], r, r))


def moments(factors: Factors) -> Float[Array, "k row"]:
    """Weight of every row (subject, moment) in every component of every restart."""
    xp = namespace(factors.time)
    return xp.reshape(
        tensor.khatri_rao(factors.subject, factors.time),
        (-1, factors.subject.shape[-1] * factors.time.shape[-1]),
    )


# ---- one sweep --------------------------------------------------------------------------------------
def sweep(layout: Layout, factors: Factors) -> tuple[Factors, Array]:
    """Update every mode once; return the factors and the relative error of each restart."""
    space, seen = layout.improve(factors)
    grams = layout.grams(space)
    subject, time = factors.subject, factors.time
    if layout.n_subjects > 1:
        subject = tensor.nonnegative_update(subject, *subject_terms(seen, grams, time), INNER_PASSES)
    product, matrix = time_terms(seen, grams, subject)
    time = tensor.nonnegative_update(time, product, tensor.shared_gram(matrix), INNER_PASSES)
    error = tensor.relative_error(layout.norm2, product, time, matrix * tensor.gram(time))
    return Factors(space, subject, time), error


def subject_terms(seen: Array, grams: Array, time: Array) -> tuple[Array, tensor.Coupling]:
    """Product and coupling that least squares over subjects needs; every subject has its own Gram matrix."""
    xp = namespace(seen)
    n_subjects = seen.shape[-2]
    matrices = grams * tensor.gram(time)[:, None, :, :]
    own = xp.arange(n_subjects, device=device_of(time)) if grams.shape[1] == n_subjects else None
    coupling = tensor.shared_gram(matrices[:, 0, :, :]) if own is None else tensor.grouped_gram(matrices, own)
    return (seen @ time[..., None])[..., 0], coupling


def time_terms(seen: Array, grams: Array, subject: Array) -> tuple[Array, Array]:
    """Product and Gram matrix that least squares over time needs, (restart, r, time) and (restart, r, r)."""
    xp = namespace(seen)
    product = xp.sum(seen * subject[..., None], axis=-2)
    everyone = xp.ones_like(subject[0, :1, :])
    return product, weighted_grams(subject, grams, everyone)[:, 0, :, :]


def drawn(layout: Sized, rank: int, seeds: Sequence[Sequence[int]]) -> Factors:
    """Uniform random factors, one model per seed; ones for a single subject."""
    xp = namespace(layout.sets)
    sizes = (layout.n_space, layout.n_subjects, layout.n_time)
    draws: list[list[np.ndarray]] = []
    for seed in seeds:
        rng = np.random.default_rng(list(seed))
        draws.append([rng.uniform(size=(rank, size)) for size in sizes])
    space, subject, time = (like(np.stack(mode), layout.sets) for mode in zip(*draws, strict=True))
    return Factors(space, subject if layout.n_subjects > 1 else xp.ones_like(subject), time)


def start(layout: Layout, rank: int, seeds: Sequence[Sequence[int]]) -> Factors:
    """Uniform random factors, one model per seed, scaled so that each model fits the data best."""
    xp = namespace(layout.sets)
    factors = drawn(layout, rank, seeds)
    space, subject, time = factors.space, factors.subject, factors.time
    product, matrix = time_terms(layout.project(space), layout.grams(space), subject)
    inner = xp.sum(product * time, axis=(-2, -1))
    scale = inner / xp.sum(matrix * tensor.gram(time), axis=(-2, -1))
    return Factors(space, subject, time * scale[:, None, None])


@dataclass(frozen=True)
class Solution:
    """Factors of every restart, its error after each sweep, and whether it stopped by itself."""

    factors: list[Factors]
    errors: list[np.ndarray]
    converged: list[bool]

    def __add__(self, other: Solution) -> Solution:
        return Solution(
            self.factors + other.factors, self.errors + other.errors, self.converged + other.converged
        )


def solve(
    layout: Sized,
    begin: Factors,
    step: Sweep,
    *,
    max_iter: int,
    tol: float,
    on_sweep: Callable[[float], None] = lambda share: None,
) -> Solution:
    """Sweep until the relative error falls by less than ``tol``, each restart by itself.

    A restart that has converged leaves the batch. With ``tol`` zero exactly ``max_iter`` sweeps are made.
    ``on_sweep`` is told the share of all possible sweeps that is made or no longer needed.
    """
    n = begin.time.shape[0]
    running, factors = list(range(n)), begin
    done: dict[int, Factors] = {}
    errors: list[list[float]] = [[] for _ in range(n)]
    converged = [False] * n
    for count in range(1, max_iter + 1):
        factors, error = step(layout, factors)
        for place, value in zip(running, to_numpy(error).tolist(), strict=True):
            errors[place].append(value)
            converged[place] = tol > 0 and len(errors[place]) > 1 and errors[place][-2] - value < tol
        stay = [k for k, place in enumerate(running) if not converged[place]]
        on_sweep(1.0 - len(stay) / n * (1.0 - count / max_iter))
        if len(stay) < len(running):
            done |= {place: factors.take([k]) for k, place in enumerate(running) if converged[place]}
            if not stay:
                running = []
                break
            factors, running = factors.take(stay), [running[k] for k in stay]
    done |= {place: factors.take([k]) for k, place in enumerate(running)}
    return Solution([done[k] for k in range(n)], [np.asarray(e) for e in errors], converged)


# ---- layouts ----------------------------------------------------------------------------------------
class PairLayout:
    """Every component has a free value for every pair: its motif can have any rank."""

    def __init__(self, data: pairs.PairTensor, observed: np.ndarray) -> None:
        example = data.slices(0, 1, 0, 1)
        first, second = pair_index(data.n_units, data.ordered)
        self.data = data
        self.n_space = len(first)
        self.n_subjects = observed.shape[0]
        self.n_time = data.n_rows // self.n_subjects
        self.norm2 = pairs.squared_norm(data)
        self.complete = bool(observed.all())
        shown = observed[:, first] & observed[:, second]
        sets, group = observation_sets(shown)
        self.shown = like(shown.astype("float64"), example)
        self.sets = like(sets.astype("float64"), example)
        self.ever = like(shown.any(axis=0).astype("float64"), example)
        self.group = namespace(example).asarray(group, device=device_of(example))

    def terms(self, factors: Factors) -> tuple[Array, tensor.Coupling]:
        """Product with the data and coupling that least squares for the pairs needs."""
        xp = namespace(factors.time)
        product = xp.reshape(pairs.contract(self.data, moments(factors)), factors.space.shape)
        over_time = tensor.gram(factors.time)[:, None, :, :]
        matrices = weighted_grams(factors.subject, over_time, self.sets)
        return product, tensor.grouped_gram(matrices, self.group)

    def improve(self, factors: Factors) -> tuple[Array, Array]:
        """Least squares for the pairs; a pair that no subject shows keeps its value."""
        space = tensor.nonnegative_update(factors.space, *self.terms(factors), INNER_PASSES)
        return space, self.project(space)

    def project(self, space: Array) -> Array:
        """See ``Layout.project``."""
        xp = namespace(space)
        seen = pairs.project(self.data, xp.reshape(space, (-1, space.shape[-1])))
        return xp.reshape(seen, (*space.shape[:2], self.n_subjects, self.n_time))

    def grams(self, space: Array) -> Array:
        """See ``Layout.grams``."""
        if self.complete:
            return tensor.gram(space)[:, None, :, :]
        xp = namespace(space)
        return xp.stack([(space * self.shown[w, :]) @ space.mT for w in range(self.n_subjects)], axis=1)

    def modes(self, factors: Factors) -> list[Array]:
        """See ``Layout.modes``."""
        return [factors.space * self.ever, factors.subject, factors.time]


class OfUnits:
    """What layouts of loadings over units share: who shows which unit, and least squares for one side."""

    def __init__(self, example: Array, observed: np.ndarray, n_time: int) -> None:
        xp = namespace(example)
        self.n_subjects, self.n_units = observed.shape
        self.n_time = n_time
        sets, group = observation_sets(observed)
        rows, member = np.unique(observed, axis=0, return_inverse=True)
        self.sets = like(sets.astype("float64"), example)
        self.ever = like(observed.any(axis=0).astype("float64"), example)
        self.group = xp.asarray(group, device=device_of(example))
        self.kinds = like(rows.astype("float64"), example)  # distinct rows of ``observed``
        self.member = xp.asarray(member.reshape(-1), device=device_of(example))  # kind of each subject

    def _coupling(self, other: Array, factors: Factors) -> tensor.Coupling:
        """Coupling for one side of every pair, with the ``other`` side fixed."""
        over_time = tensor.gram(factors.time)[:, None, :, :]
        both = weighted_grams(factors.subject, over_time * self._by_subject(self._masked(other)), self.sets)
        own = weighted_grams(factors.subject, over_time, self.sets)
        everyone = tensor.grouped_gram(both, self.group)
        itself = tensor.grouped_gram(own, self.group)
        return tensor.Coupling(  # a unit is no partner of its own
            lambda f, r: everyone.explained(f, r) - other[:, r, :] * itself.explained(f * other, r),
            everyone.curvature - other * other * itself.curvature,
        )

    def _masked(self, factor: Array) -> Array:
        """Gram matrix over the units that each kind of subject shows: (restart, kind, r, r)."""
        kinds = range(self.kinds.shape[0])
        return namespace(factor).stack([(factor * self.kinds[k, :]) @ factor.mT for k in kinds], axis=1)

    def _by_subject(self, kinds: Array) -> Array:
        return kinds if kinds.shape[1] == 1 else namespace(kinds).take(kinds, self.member, axis=1)


class UnitLayout(OfUnits):
    """Every component has one loading per unit; its motif is their outer product, off the diagonal.

    Because both sides of a pair share the loading, least squares is quartic in it. The alternating update
    for one side, the other fixed, gives a direction in which the error falls; how far to go along it is
    solved exactly, so the error never rises.
    """

    def __init__(self, data: units.UnitProducts, observed: np.ndarray, n_time: int) -> None:
        super().__init__(data.example, observed, n_time)
        self.data = data
        self.n_space = self.n_units
        self.norm2 = 0.5 * data.norm2

    def terms(self, factors: Factors) -> tuple[Array, tensor.Coupling]:
        """Product and coupling for one side of every pair, the other side fixed at the same loading."""
        return self._terms(factors, self.data.lift(self._flat(factors.space)))

    def _flat(self, loading: Array) -> Array:
        return namespace(loading).reshape(loading, (-1, self.n_space))

    def _terms(self, factors: Factors, lifted: Array) -> tuple[Array, tensor.Coupling]:
        xp, loading = namespace(factors.time), factors.space
        product = self.data.apply(lifted, self._flat(loading), moments(factors))
        product = xp.reshape(product, loading.shape)
        return product, self._coupling(loading, factors)

    def improve(self, factors: Factors) -> tuple[Array, Array]:
        """One descent step of all loadings of a restart, of exact length."""
        xp, loading = namespace(factors.time), factors.space
        lifted = self.data.lift(self._flat(loading))
        product, coupling = self._terms(factors, lifted)
        change = tensor.nonnegative_update(loading, product, coupling, INNER_PASSES) - loading
        drift, ahead = self.data.lift(self._flat(change)), self._flat(change)
        curve = xp.reshape(
            xp.sum(self.data.form(drift, ahead) * moments(factors), axis=-1), loading.shape[:2]
        )
        rise = [2.0 * xp.sum(product * change, axis=(-2, -1)), xp.sum(curve, axis=-1)]
        length = best_step(rise, self._quartic(loading, change, factors))[:, None, None]
        space = loading + length * change
        # What is linear in the loadings need not be made again.
        lifted = lifted + xp.reshape(length * xp.ones_like(loading[..., :1]), (-1, 1)) * drift
        return space, self._seen(lifted, space)

    def _seen(self, lifted: Array, space: Array) -> Array:
        seen = 0.5 * self.data.form(lifted, self._flat(space))
        return namespace(seen).reshape(seen, (*space.shape[:2], self.n_subjects, self.n_time))

    def _quartic(self, loading: Array, change: Array, factors: Factors) -> list[Array]:
        """Coefficients of the model's squared norm along ``loading + step * change``, powers 0 to 4."""
        xp, r = namespace(loading), loading.shape[1]

        def block(gram: Array, i: int, j: int) -> Array:
            return gram[:, :, i * r : (i + 1) * r, j * r : (j + 1) * r]

        inner = self._masked(xp.concat([loading, change], axis=1))
        bases = [block(inner, 0, 0), block(inner, 0, 1) + block(inner, 1, 0), block(inner, 1, 1)]
        squares = [loading * loading, 2.0 * loading * change, change * change]
        own = self._masked(xp.concat(squares, axis=1))
        d, over_time = factors.subject.mT, tensor.gram(factors.time)
        weight = d[..., :, None] * d[..., None, :] * over_time[:, None, :, :]
        powers = [xp.zeros_like(loading[:, 0, 0]) for _ in range(5)]
        for i, j in itertools.product(range(3), repeat=2):
            value = self._by_subject(bases[i] * bases[j] - block(own, i, j))
            powers[i + j] = powers[i + j] + xp.sum(value * weight, axis=(-3, -2, -1))
        return powers

    def project(self, space: Array) -> Array:
        """See ``Layout.project``."""
        return self._seen(self.data.lift(self._flat(space)), space)

    def grams(self, space: Array) -> Array:
        """See ``Layout.grams``."""
        inner, square = self._masked(space), space * space
        return self._by_subject(0.5 * (inner * inner - self._masked(square)))

    def modes(self, factors: Factors) -> list[Array]:
        """See ``Layout.modes``; the loading counts twice, once for either side of a pair."""
        space = factors.space * self.ever
        return [space, space, factors.subject, factors.time]


def best_step(data: Sequence[Array], model: Sequence[Array]) -> Array:
    """Length in [0, 1] of the step that lowers the squared error most, for every restart.

    Along the step the data's inner product with the model changes by ``data[0] s + data[1] s^2`` and the
    model's squared norm is the quartic ``model``. A grid finds the valley and Newton's method its floor.
    """
    xp = namespace(data[0])
    rise = [0.5 * model[1] - data[0], 0.5 * model[2] - data[1], 0.5 * model[3], 0.5 * model[4]]

    def height(s: Array) -> Array:
        return s * (rise[0][:, None] + s * (rise[1][:, None] + s * (rise[2][:, None] + s * rise[3][:, None])))

    grid = like(np.linspace(0.0, 1.0, 33), data[0])
    best = xp.take(grid, xp.argmin(height(grid[None, :]), axis=-1))
    step = best
    for _ in range(6):
        slope = rise[0] + step * (2 * rise[1] + step * (3 * rise[2] + step * 4 * rise[3]))
        bend = 2 * rise[1] + step * (6 * rise[2] + step * 12 * rise[3])
        step = step - xp.where(bend > 0, slope / xp.where(bend > 0, bend, 1.0), 0.0)
        step = xp.clip(step, min=0.0, max=1.0)
    heights = height(xp.stack([best, step], axis=-1))
    return xp.where(heights[:, 1] < heights[:, 0], step, best)
