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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float

from neurotools.arrays import Array, device_of, like, namespace, to_numpy
from neurotools.numerics import pairs, tensor
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


class Layout(Protocol):
    """What a model of space has to offer the alternating updates."""

    n_space: int
    n_subjects: int
    n_time: int
    norm2: float

    def improve(self, factors: Factors) -> Array:
        """Return a better ``space`` with subjects and time held fixed."""

    def project(self, space: Array) -> Array:
        """Inner products of the data with every component's pattern: (restart, component, subject, time)."""

    def grams(self, space: Array) -> Array:
        """Gram matrices of the patterns over what each subject shows: (restart, subject or 1, r, r)."""


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
    xp = namespace(factors.time)
    space = layout.improve(factors)
    seen, grams = layout.project(space), layout.grams(space)
    subject, time = factors.subject, factors.time
    if layout.n_subjects > 1:
        product = (seen @ time[..., None])[..., 0]
        group = xp.arange(layout.n_subjects, device=device_of(time))
        matrices = grams * tensor.gram(time)[:, None, :, :] * xp.ones_like(subject).mT[..., None]
        coupling = tensor.grouped_gram(matrices, group)
        subject = tensor.nonnegative_update(subject, product, coupling, INNER_PASSES)
    product, matrix = time_terms(seen, grams, subject)
    time = tensor.nonnegative_update(time, product, tensor.shared_gram(matrix), INNER_PASSES)
    error = tensor.relative_error(layout.norm2, product, time, matrix * tensor.gram(time))
    return Factors(space, subject, time), error


def time_terms(seen: Array, grams: Array, subject: Array) -> tuple[Array, Array]:
    """Product and Gram matrix that least squares over time needs, (restart, r, time) and (restart, r, r)."""
    xp = namespace(seen)
    product = xp.sum(seen * subject[..., None], axis=-2)
    everyone = xp.ones_like(subject[0, :1, :])
    return product, weighted_grams(subject, grams, everyone)[:, 0, :, :]


def start(layout: Layout, rank: int, seeds: Sequence[Sequence[int]], example: Array) -> Factors:
    """Uniform random factors, one model per seed, scaled so that each model fits the data best.

    ``example`` is an array of the library, device and dtype to work in.
    """
    xp = namespace(example)
    sizes = (layout.n_space, layout.n_subjects, layout.n_time)
    draws: list[list[np.ndarray]] = []
    for seed in seeds:
        rng = np.random.default_rng(list(seed))
        draws.append([rng.uniform(size=(rank, size)) for size in sizes])
    space, subject, time = (like(np.stack(mode), example) for mode in zip(*draws, strict=True))
    subject = subject if layout.n_subjects > 1 else xp.ones_like(subject)
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


def solve(
    layout: Layout,
    begin: Factors,
    max_iter: int,
    tol: float,
    on_sweep: Callable[[int, int], None] | None = None,
) -> Solution:
    """Sweep until the relative error falls by less than ``tol``, each restart by itself.

    A restart that has converged leaves the batch. With ``tol`` zero exactly ``max_iter`` sweeps are made.
    ``on_sweep(sweep, still_running)`` is called after every sweep.
    """
    n = begin.time.shape[0]
    running, factors = list(range(n)), begin
    done: dict[int, Factors] = {}
    errors: list[list[float]] = [[] for _ in range(n)]
    converged = [False] * n
    for count in range(1, max_iter + 1):
        factors, error = sweep(layout, factors)
        for place, value in zip(running, to_numpy(error).tolist(), strict=True):
            errors[place].append(value)
            converged[place] = tol > 0 and len(errors[place]) > 1 and errors[place][-2] - value < tol
        if on_sweep is not None:
            on_sweep(count, len(running))
        stay = [k for k, place in enumerate(running) if not converged[place]]
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

    def __init__(self, data: pairs.PairTensor, observed: np.ndarray, example: Array) -> None:
        first, second = pair_index(data.n_units)
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
        self.group = namespace(example).asarray(group, device=device_of(example))

    def improve(self, factors: Factors) -> Array:
        """Least squares for the pairs; a pair that no subject shows keeps its value."""
        xp = namespace(factors.time)
        product = xp.reshape(pairs.contract(self.data, moments(factors)), factors.space.shape)
        over_time = tensor.gram(factors.time)[:, None, :, :]
        matrices = weighted_grams(factors.subject, over_time, self.sets)
        coupling = (
            tensor.shared_gram(matrices[:, 0, :, :])
            if self.sets.shape[0] == 1
            else tensor.grouped_gram(matrices, self.group)
        )
        return tensor.nonnegative_update(factors.space, product, coupling, INNER_PASSES)

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
