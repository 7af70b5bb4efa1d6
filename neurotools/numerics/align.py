"""Lay draws of a posterior over one another: clusters by their members, latents by turning them.

A mixture does not number its clusters, and a latent can be turned when its loadings are turned the other way.
What differs between draws in these ways alone is no uncertainty, and is taken out after sampling.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

Labels = Int[np.ndarray, "unit"]
Blocks = Int[np.ndarray, "block"]


def rotation_onto(
    x: Float[np.ndarray, "*batch latent time"], reference: Float[np.ndarray, "*#batch latent time"]
) -> Float[np.ndarray, "*batch latent latent"]:
    """Orthogonal matrices R for which R x lies nearest to the reference in least squares.

    Schönemann (1966), Psychometrika 31, 1-10. Turns and reflections, no change of size.
    """
    left, _, right = np.linalg.svd(reference @ np.swapaxes(x, -1, -2))
    return left @ right


def principal_axes(x: Float[np.ndarray, "latent time"]) -> Float[np.ndarray, "latent latent"]:
    """Orthogonal matrix that turns latents to their principal axes, the widest first, each leaning up.

    The largest deviation of each turned latent is positive, so that the sign is settled.
    """
    left, _, _ = np.linalg.svd(x, full_matrices=False)
    turned = left.T @ x
    extreme = turned[np.arange(len(turned)), np.abs(turned).argmax(axis=1)]
    return np.where(extreme < 0, -1.0, 1.0)[:, None] * left.T


def mean_shape(
    x: Float[np.ndarray, "draw latent time"], *, n_rounds: int = 10
) -> tuple[Float[np.ndarray, "latent time"], Float[np.ndarray, "draw latent latent"]]:
    """Mean of latents after each is turned onto it, and the turns (generalised Procrustes analysis).

    Gower (1975), Psychometrika 40, 33-51, without change of size; the mean lies along its principal axes.
    """
    mean = principal_axes(x[0]) @ x[0]
    for _ in range(n_rounds):
        turns = rotation_onto(x, mean[None])
        mean = (turns @ x).mean(axis=0)
    upright = principal_axes(mean)
    return upright @ mean, upright @ turns


def match_clusters(labels: Labels, reference: Labels) -> Blocks:
    """Which block of ``labels`` stands for each block of the reference; -1 where none is left for it.

    The pairing in which most units are in blocks that stand for one another (Kuhn 1955); a pair has at least
    one unit in common.
    """
    table = np.zeros((reference.max() + 1, labels.max() + 1))
    np.add.at(table, (reference, labels), 1.0)
    rows, columns = linear_sum_assignment(table, maximize=True)
    found = np.full(table.shape[0], -1, dtype=np.int64)
    found[rows] = np.where(table[rows, columns] > 0, columns, -1)
    return found
