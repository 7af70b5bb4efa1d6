"""Canonical polyadic factorisation of a dense tensor of any order, many starts at once.

    X[i, j, k, ...] ~ sum_r A_r[i] B_r[j] C_r[k] ...

Every factor is non-negative, unless its mode is ``free``. Products with the data are shared between modes by
a tree: the second half of the modes is contracted out once for the whole first half, and the other way round,
so a sweep reads the tensor twice whatever its order. Where entries are hidden, every row of a factor has a
Gram matrix of its own, over the entries that are seen: least squares over these alone, nothing is imputed.
Phan, Tichavsky and Cichocki (2013), IEEE Transactions on Signal Processing 61(19), for the tree; Cichocki and
Phan (2009), IEICE Transactions E92-A(3), for the updates.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Float

from neurotools.arrays import Array, like, namespace
from neurotools.numerics import tensor

Factors = list[Array]  # one (restart, component, entry) per mode
RIDGE = 1e-12  # of the mean curvature, added where a free factor is solved for


def sweep(
    x: Float[Array, ...],
    factors: Sequence[Array],
    n_passes: int = 3,
    norm2: float | None = None,
    free: Collection[int] = (),
) -> tuple[Factors, Float[Array, restart]]:
    """Update every mode once, first to last; return the factors and each restart's relative error.

    ``norm2`` is the squared norm of ``x``, for callers who sweep often; ``free`` are modes of any sign.
    """
    xp = namespace(x)
    factors = list(factors)
    grams = [tensor.gram(factor) for factor in factors]
    n_modes, rank = len(factors), factors[0].shape[-2]
    last: list[Array] = []

    def update(mode: int, product: Array) -> None:
        others = [gram for m, gram in enumerate(grams) if m != mode]
        matrix = functools.reduce(lambda a, b: a * b, others)
        if mode in free:
            factors[mode] = solved(matrix, product)
        else:
            coupling = tensor.shared_gram(matrix)
            factors[mode] = tensor.nonnegative_update(factors[mode], product, coupling, n_passes)
        grams[mode] = tensor.gram(factors[mode])
        last[:] = [product, factors[mode], matrix * grams[mode]]

    def descend(partial: Array, modes: range) -> None:
        """Update ``modes``, given the data with all other modes contracted out: (restart, r, entries)."""
        if len(modes) == 1:
            update(modes[0], partial)
            return
        halves = modes[: len(modes) // 2], modes[len(modes) // 2 :]
        sizes = [functools.reduce(lambda n, m: n * x.shape[m], half, 1) for half in halves]
        block = xp.reshape(partial, (*partial.shape[:2], *sizes))
        descend((block @ joint(factors, halves[1])[..., None])[..., 0], halves[0])
        descend((joint(factors, halves[0])[..., None, :] @ block)[..., 0, :], halves[1])

    first, second = range(n_modes // 2 + n_modes % 2), range(n_modes // 2 + n_modes % 2, n_modes)
    n_first = functools.reduce(lambda n, m: n * x.shape[m], first, 1)
    matrix = xp.reshape(x, (n_first, -1))
    for modes, others, data in ((first, second, matrix.mT), (second, first, matrix)):
        # Components of all restarts are the rows of one product with the data.
        weights = joint(factors, others)
        product = xp.reshape(weights, (-1, weights.shape[-1])) @ data
        descend(xp.reshape(product, (-1, rank, data.shape[-1])), modes)
    total = float(xp.sum(x * x)) if norm2 is None else norm2
    return factors, tensor.relative_error(total, *last)


def joint(factors: Sequence[Array], modes: Sequence[int]) -> Array:
    """Khatri-Rao product of the factors of some modes: (restart, r, entries)."""
    return functools.reduce(tensor.khatri_rao, [factors[m] for m in modes])


def solved(matrix: Float[Array, "*batch r r"], product: Float[Array, "*batch r entry"]) -> Array:
    """Least squares without a sign: the factor whose normal equations are ``matrix @ factor = product``."""
    xp = namespace(matrix)
    mean = xp.linalg.trace(matrix)[..., None, None] / matrix.shape[-1]
    eye = like(np.eye(matrix.shape[-1]), matrix)
    ridge = xp.where(mean > 0, RIDGE * mean, xp.ones_like(mean))
    return xp.linalg.solve(matrix + ridge * eye, product)


# ---- hidden entries -----------------------------------------------------------------------------------
class Seen:
    """A tensor of which some entries are hidden (``mask`` zero), unfolded along every mode."""

    def __init__(self, x: Float[Array, ...], mask: Float[Array, ...]) -> None:
        xp = namespace(x, mask)
        x = xp.where(mask > 0, x, xp.zeros_like(x))
        self.shape = x.shape
        self.norm2 = float(xp.sum(x * x))
        self.values = [tensor.unfold(x, mode) for mode in range(x.ndim)]
        self.masks = [tensor.unfold(mask, mode) for mode in range(x.ndim)]

    def terms(self, factors: Sequence[Array], mode: int) -> tuple[Array, Array]:
        """Product (restart, r, entry) and Gram matrices (restart, r, r, entry) of one mode."""
        xp = namespace(*factors)
        others = joint(factors, [m for m in range(len(factors)) if m != mode])
        q, rank, n = others.shape
        product = xp.reshape(xp.reshape(others, (-1, n)) @ self.values[mode].mT, (q, rank, -1))
        first, second = np.triu_indices(rank)
        both = [others[:, a, :] * others[:, b, :] for a, b in zip(first, second, strict=True)]
        squares = xp.stack(both, axis=1)
        packed = xp.reshape(xp.reshape(squares, (-1, n)) @ self.masks[mode].mT, (q, first.size, -1))
        place = np.zeros((rank, rank), dtype="int64")
        place[first, second] = place[second, first] = np.arange(first.size)
        rows = [xp.stack([packed[:, int(place[a, b]), :] for b in range(rank)], axis=1) for a in range(rank)]
        return product, xp.stack(rows, axis=1)

    def update(
        self, factors: Sequence[Array], mode: int, n_passes: int = 3, free: bool = False
    ) -> list[Array]:
        """The factor of one mode improved, and the terms that it came from."""
        xp = namespace(*factors)
        product, grams = self.terms(factors, mode)
        if free:
            by_entry = xp.moveaxis(grams, -1, 1)
            factor = solved(by_entry, xp.moveaxis(product, -1, 1)[..., None])[..., 0].mT
        else:
            diagonal = xp.stack([grams[:, r, r, :] for r in range(grams.shape[1])], axis=1)
            coupling = tensor.Coupling(lambda f, r: xp.sum(grams[:, r, :, :] * f, axis=1), diagonal)
            factor = tensor.nonnegative_update(factors[mode], product, coupling, n_passes)
        return [factor, product, grams]

    def error(self, factor: Array, product: Array, grams: Array) -> Float[Array, restart]:
        """Relative error over the entries that are seen, from the last update."""
        xp = namespace(factor)
        model2 = xp.sum(grams * factor[:, :, None, :] * factor[:, None, :, :], axis=(-3, -2, -1))
        left = self.norm2 - 2.0 * xp.sum(product * factor, axis=(-2, -1)) + model2
        return xp.sqrt(xp.maximum(left, xp.zeros_like(left)) / self.norm2)


def seen_sweep(
    data: Seen,
    factors: Sequence[Array],
    n_passes: int = 3,
    free: Collection[int] = (),
    fixed: Collection[int] = (),
) -> tuple[Factors, Float[Array, restart]]:
    """Update every mode that is not ``fixed`` once, over the entries that are seen."""
    factors = list(factors)
    last: list[Array] = []
    for mode in range(len(factors)):
        if mode not in fixed:
            last = data.update(factors, mode, n_passes, free=mode in free)
            factors[mode] = last[0]
    return factors, data.error(*last)


def core_consistency(x: np.ndarray, factors: Sequence[np.ndarray]) -> float:
    """How nearly the least squares core of factors (component, entry) is superdiagonal, in per cent.

    Bro and Kiers (2003), Journal of Chemometrics 17, eq. 8. A value near or below zero says that the model
    has more components than the tensor has trilinear structure.
    """
    core = x
    for factor in factors:
        core = np.tensordot(core, np.linalg.pinv(factor), axes=(0, 0))  # the mode goes last: modes rotate
    return consistency(core)


def consistency(core: np.ndarray) -> float:
    """Core consistency of a core array."""
    rank = core.shape[0]
    ideal = np.zeros_like(core)
    ideal[(np.arange(rank),) * core.ndim] = 1.0
    return float(100.0 * (1.0 - ((core - ideal) ** 2).sum() / rank))
