"""How alike two partitions are, and how often two units share a block.

Labels are whole numbers from 0; their names never matter. A number of labels that is not used is allowed.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.special import xlogy

Labels = Int[np.ndarray, "unit"]


def contingency(left: Labels, right: Labels) -> Float[np.ndarray, "left right"]:
    """Number of units in each pair of blocks, one of either partition."""
    table = np.zeros((left.max(initial=-1) + 1, right.max(initial=-1) + 1))
    np.add.at(table, (left, right), 1.0)
    return table


def entropies(left: Labels, right: Labels) -> tuple[float, float, float]:
    """Entropy in nats of either partition, and of both together."""
    joint = contingency(left, right) / max(left.size, 1)
    return tuple(  # type: ignore[return-value]
        float(-xlogy(share, share).sum()) for share in (joint.sum(1), joint.sum(0), joint)
    )


def normalised_mutual_information(left: Labels, right: Labels) -> float:
    """Mutual information over the mean of both entropies: 1 for equal partitions, 0 for independent ones.

    Two partitions into a single block are equal: 1.
    """
    of_left, of_right, of_both = entropies(left, right)
    mean = (of_left + of_right) / 2
    return 1.0 if mean == 0 else max(0.0, of_left + of_right - of_both) / mean


def variation_of_information(left: Labels, right: Labels) -> float:
    """Entropy of either partition given the other, summed, in nats: a metric (Meila 2007, eq. 16)."""
    of_left, of_right, of_both = entropies(left, right)
    return max(0.0, 2 * of_both - of_left - of_right)


def adjusted_rand_index(left: Labels, right: Labels) -> float:
    """Share of pairs of units on which the partitions agree, 0 by chance and 1 at best.

    Hubert and Arabie (1985), Journal of Classification 2, eq. 5.
    """
    table = contingency(left, right)
    both, of_left, of_right = (
        (counts * (counts - 1) / 2).sum() for counts in (table, table.sum(1), table.sum(0))
    )
    chance = of_left * of_right / max(left.size * (left.size - 1) / 2, 1)
    most = (of_left + of_right) / 2
    return 1.0 if most == chance else float((both - chance) / (most - chance))


def match_labels(reference: Labels, labels: Labels) -> Labels:
    """Rename ``labels`` so that as many units as possible carry the label that they have in ``reference``.

    Each name is given once; blocks beyond those of the reference get the numbers after them.
    """
    table = contingency(labels, reference)
    size = max(table.shape)
    square = np.zeros((size, size))
    square[: table.shape[0], : table.shape[1]] = table
    rows, columns = linear_sum_assignment(square, maximize=True)
    names = np.empty(size, dtype=np.int64)
    names[rows] = columns
    return names[labels]


def coassignment(draws: Int[np.ndarray, "draw unit"]) -> Float[np.ndarray, "unit unit"]:
    """Share of the partitions in which two units are in one block; 1 on the diagonal."""
    together = np.zeros((draws.shape[1], draws.shape[1]))
    for labels in draws:
        together += labels[:, None] == labels
    return together / max(draws.shape[0], 1)
