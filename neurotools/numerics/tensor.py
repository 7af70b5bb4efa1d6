"""Tensors and their factors: unfolding, Khatri-Rao products, non-negative updates, congruence.

A factor is laid out as (..., component, entry): batch axes such as restarts lead, and every component is one
contiguous row. Components of all restarts are then the rows of one wide matrix product.

Kolda and Bader (2009), SIAM Review 51(3), section 3; Cichocki and Phan (2009), IEICE Transactions E92-A(3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from neurotools.arrays import Array, namespace, to_numpy


def unfold(x: Shaped[Array, ...], axis: int) -> Shaped[Array, "row col"]:
    """Lay ``axis`` along rows and all other axes, in order, along columns."""
    xp = namespace(x)
    return xp.reshape(xp.moveaxis(x, axis, 0), (x.shape[axis], -1))


def khatri_rao(
    left: Float[Array, "*batch component row"], right: Float[Array, "*batch component col"]
) -> Float[Array, "*batch component row*col"]:
    """Outer product of each component of ``left`` with the same component of ``right``, laid flat."""
    xp = namespace(left, right)
    outer = left[..., :, None] * right[..., None, :]
    return xp.reshape(outer, (*outer.shape[:-2], outer.shape[-2] * outer.shape[-1]))


def gram(factor: Float[Array, "*batch component entry"]) -> Float[Array, "*batch component component"]:
    """Inner products between the components of a factor."""
    return factor @ factor.mT


def norms(factor: Float[Array, "*batch component entry"]) -> Float[Array, "*batch component"]:
    """Euclidean length of every component."""
    xp = namespace(factor)
    return xp.sqrt(xp.sum(factor * factor, axis=-1))


def normalise(factors: Sequence[Array]) -> tuple[list[Array], Array]:
    """Scale every component of every factor to length one; return the factors and the weights taken out.

    A component that is zero stays zero and has weight zero.
    """
    xp = namespace(*factors)
    weight = xp.ones_like(factors[0][..., 0])
    scaled = []
    for factor in factors:
        length = norms(factor)
        weight = weight * length
        scaled.append(factor / xp.where(length > 0, length, xp.ones_like(length))[..., None])
    return scaled, weight


# ---- non-negative updates ---------------------------------------------------------------------------
@dataclass(frozen=True)
class Coupling:
    """How the components of one factor share the data, in least squares for that factor.

    ``explained(factor, r)`` is what the whole model explains of component r's product with the data;
    ``curvature`` (..., component, entry or 1) is the second derivative, zero where the data say nothing.
    """

    explained: Callable[[Array, int], Array]
    curvature: Array


def shared_gram(matrix: Float[Array, "*batch component component"]) -> Coupling:
    """Coupling when every entry sees the same Gram matrix, because nothing is missing."""
    xp = namespace(matrix)
    return Coupling(
        lambda factor, r: (matrix[..., r : r + 1, :] @ factor)[..., 0, :],
        xp.linalg.diagonal(matrix)[..., None],
    )


def grouped_gram(matrices: Float[Array, "*batch group component component"], group: Array) -> Coupling:
    """Coupling when entry ``n`` sees the Gram matrix of its group ``group[n]``.

    Entries that were observed in the same subjects share a Gram matrix, so there are as many as there are
    sets of subjects, not as many as entries.
    """
    if matrices.shape[-3] == 1:
        return shared_gram(matrices[..., 0, :, :])
    xp = namespace(matrices)

    def explained(factor: Array, r: int) -> Array:
        rows = xp.take(matrices[..., r, :].mT, group, axis=-1)  # (..., component, entry)
        return xp.sum(rows * factor, axis=-2)

    return Coupling(explained, xp.take(xp.linalg.diagonal(matrices).mT, group, axis=-1))


def nonnegative_update(
    factor: Float[Array, "*batch component entry"],
    product: Float[Array, "*batch component entry"],
    coupling: Coupling,
    n_passes: int,
) -> Float[Array, "*batch component entry"]:
    """Improve one factor with all others fixed: hierarchical alternating least squares.

    Each component in turn takes its exact non-negative minimum; ``n_passes`` rounds reuse the one expensive
    ``product`` (the matricised tensor times the Khatri-Rao product of the other factors). An entry that the
    data say nothing about keeps its value. Cichocki and Phan (2009).
    """
    xp = namespace(factor)
    factor = xp.asarray(factor, copy=True)
    zero = xp.zeros_like(factor[..., 0, :])
    known = coupling.curvature > 0
    gain = xp.where(known, 1.0 / xp.where(known, coupling.curvature, 1.0), 0.0)
    for _ in range(n_passes):
        for r in range(factor.shape[-2]):
            step = (product[..., r, :] - coupling.explained(factor, r)) * gain[..., r, :]
            factor[..., r, :] = xp.maximum(factor[..., r, :] + step, zero)
    return factor


def nonnegative_solve(
    product: Float[Array, "*batch component entry"],
    matrix: Float[Array, "*batch component component"],
    tol: float = 1e-12,
    max_rounds: int = 500,
) -> Float[Array, "*batch component entry"]:
    """Non-negative least squares to convergence: smallest x' M x / 2 - x' p, x >= 0, for every entry.

    Rounds of ten passes of the same updates, from zero, until one moves no entry by more than ``tol`` of the
    largest.
    """
    xp = namespace(product)
    x, coupling = xp.zeros_like(product), shared_gram(matrix)
    for _ in range(max_rounds):
        before = x
        x = nonnegative_update(x, product, coupling, n_passes=10)
        if float(xp.max(xp.abs(x - before))) <= tol * float(xp.max(x)):
            break
    return x


def relative_error(
    norm2: float | Array, product: Array, factor: Array, matrix: Float[Array, "*batch component component"]
) -> Array:
    """Relative error of a model from the last product and Gram matrix, without forming the model.

    ``norm2`` is the squared norm of the data, ``product`` the last matricised tensor times Khatri-Rao
    product, ``factor`` the factor updated from it and ``matrix`` the Gram matrix of the whole model.
    """
    xp = namespace(product, factor)
    inner = xp.sum(product * factor, axis=(-2, -1))
    left = norm2 - 2.0 * inner + xp.sum(matrix, axis=(-2, -1))
    return xp.sqrt(xp.maximum(left, xp.zeros_like(left)) / norm2)


# ---- the same components found twice ----------------------------------------------------------------
def congruence(
    left: Sequence[Float[Array, "*batch component _"]],
    right: Sequence[Float[Array, "*batch component _"]],
) -> Float[Array, "*batch component component"]:
    """Cosine between every rank-one tensor of one model and every one of another: product over modes."""
    (scaled_left, _), (scaled_right, _) = normalise(left), normalise(right)
    cosines = [a @ b.mT for a, b in zip(scaled_left, scaled_right, strict=True)]
    total = cosines[0]
    for cosine in cosines[1:]:
        total = total * cosine
    return total


def match(similarity: Float[Array, "component component"]) -> tuple[np.ndarray, float]:
    """Pair the components of two models so that the total similarity is largest.

    Returns
    -------
    order : numpy.ndarray
        ``order[r]`` is the component of the right model that belongs to component ``r`` of the left.
    score : float
        Mean similarity of the pairs.
    """
    from scipy.optimize import linear_sum_assignment

    matrix = to_numpy(similarity)
    rows, order = linear_sum_assignment(matrix, maximize=True)
    return order, float(matrix[rows, order].mean())
