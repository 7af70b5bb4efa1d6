"""Widths of the prior of a switching GLM, learned by the evidence in Laplace's approximation.

MacKay (1992), Neural Computation 4, 415-447: a width is the root of the squares of the weights over the
number of weights that the data determine (eqs. 4.6 and 4.8).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from neurotools.arrays import Array, device_of, namespace, to_numpy
from neurotools.numerics import switching

LEAST, MOST = 1e-3, 100.0  # widths stay between these
LEAP = 3.0  # most that a width changes in one step, so that a poor start cannot end it at zero
UNDETERMINED = 1e-3  # share of weights that always count as determined


@dataclass(frozen=True)
class Widths:
    """Standard deviations of the prior of one kind of regressor."""

    around: float  # of a state's weight around what all states share
    shared: float  # of what they share around its mean; 0 where that is not learned


@dataclass(frozen=True)
class Spread:
    """How far weights lie from their centre, and centres from their mean; summed over states and units.

    ``squares`` at the optimum, ``variance`` of its Laplace approximation, and how many terms were summed.
    """

    squares: Float[Array, " column"]
    variance: Float[Array, " column"]
    n: int


def spreads(params: switching.Params, state_prob: Array, problem: switching.Problem) -> tuple[Spread, Spread]:
    """What the width of the prior is learned from: weights around centres, and centres around their mean.

    The curvature is that of the expected log posterior, so uncertainty about states is not in it.
    """
    xp = namespace(params.weights)
    _, information, _ = switching.derivatives(params, state_prob, problem)
    inverse, reach, schur = switching.arrow_blocks(information, problem)
    centre = xp.linalg.inv(schur)  # (unit, column, column)
    lag = reach - xp.eye(reach.shape[-1], dtype=reach.dtype, device=device_of(reach))
    tied = xp.sum((lag @ centre[None, ...]) * lag, axis=-1)
    around = params.weights - params.centre[None, :, :]
    off = params.centre - problem.centre_mean
    n_state, _, n_unit = params.weights.shape
    return (
        Spread(
            xp.sum(around**2, axis=(0, 2)),
            xp.sum(xp.linalg.diagonal(inverse) + tied, axis=(0, 1)),
            n_state * n_unit,
        ),
        Spread(xp.sum(off**2, axis=1), xp.sum(xp.linalg.diagonal(centre), axis=0), n_unit),
    )


def learned(
    params: switching.Params,
    state_prob: Array,
    problem: switching.Problem,
    kinds: np.ndarray,
    widths: dict[str, Widths],
) -> dict[str, Widths]:
    """One step of all widths, each from the columns of its kind.

    Biases keep theirs: one per state and unit is too few to learn a width from, and it would go to zero.
    """
    around, centre = spreads(params, state_prob, problem)
    found = dict(widths)
    for kind in set(widths) - {"bias"}:
        mine, old = kinds == kind, widths[kind]
        shared = step(centre, mine, old.shared) if old.shared else 0.0
        found[kind] = Widths(step(around, mine, old.around), shared)
    return found


def step(spread: Spread, mine: np.ndarray, width: float) -> float:
    """Next width of some columns."""
    n = spread.n * int(mine.sum())
    squares, variance = (float(to_numpy(part)[mine].sum()) for part in (spread.squares, spread.variance))
    determined = max(n - variance / width**2, UNDETERMINED * n)
    return float(np.clip(np.sqrt(squares / determined), max(width / LEAP, LEAST), min(width * LEAP, MOST)))


def change(old: dict[str, Widths], new: dict[str, Widths]) -> float:
    """Largest change of any width, in natural logarithm."""
    pairs = [
        (before, after)
        for kind in old
        for before, after in (
            (old[kind].around, new[kind].around), (old[kind].shared, new[kind].shared)
        )
        if before > 0
    ]  # fmt: skip
    return max((abs(float(np.log(after / before))) for before, after in pairs), default=0.0)
