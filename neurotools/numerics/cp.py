"""Non-negative canonical polyadic factorisation of a dense tensor of any order, many starts at once.

    X[i, j, k, ...] ~ sum_r A_r[i] B_r[j] C_r[k] ...,      all factors >= 0

Products with the data are shared between modes by a tree: the second half of the modes is contracted out once
for the whole first half, and the other way round, so a sweep reads the tensor twice whatever its order.
Phan, Tichavsky and Cichocki (2013), IEEE Transactions on Signal Processing 61(19), for the tree; Cichocki and
Phan (2009), IEICE Transactions E92-A(3), for the updates.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from jaxtyping import Float

from neurotools.arrays import Array, namespace
from neurotools.numerics import tensor

Factors = list[Array]  # one (restart, component, entry) per mode


def sweep(
    x: Float[Array, ...], factors: Sequence[Array], n_passes: int = 3, norm2: float | None = None
) -> tuple[Factors, Float[Array, restart]]:
    """Update every mode once, first to last; return the factors and each restart's relative error.

    ``norm2`` is the squared norm of ``x``, for callers who sweep often.
    """
    xp = namespace(x)
    factors = list(factors)
    grams = [tensor.gram(factor) for factor in factors]
    n_modes, rank = len(factors), factors[0].shape[-2]
    last: list[Array] = []

    def update(mode: int, product: Array) -> None:
        others = [gram for m, gram in enumerate(grams) if m != mode]
        matrix = functools.reduce(lambda a, b: a * b, others)
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


def joint(factors: Sequence[Array], modes: range) -> Array:
    """Khatri-Rao product of the factors of some modes: (restart, r, entries)."""
    return functools.reduce(tensor.khatri_rao, [factors[m] for m in modes])
