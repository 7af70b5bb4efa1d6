"""Normal priors on the weights of a switching GLM, with widths given or learned by the evidence.

MacKay (1992), Neural Computation 4, 415-447: a width is the root of the squares of the weights over the
number of weights that the data determine (eqs. 4.6 and 4.8).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from neurotools.arrays import Array, device_of, namespace, to_numpy
from neurotools.errors import check_numbers
from neurotools.numerics import switching
from neurotools.numerics.switching_fit import Found, Given, Search, Widths, onward

LEAST, MOST = 1e-3, 100.0  # widths stay between these
LEAP = 3.0  # most that a width changes in one step, so that a poor start cannot end it at zero
UNDETERMINED = 1e-3  # share of weights that always count as determined
BIAS_REACH = 10.0  # width of the prior of what biases of all states share
LOOSE = 100.0  # width of a bias that is not penalised
ROUNDS = 20  # of learning the width of the prior
ROUND_STEPS = 10  # of expectation-maximisation in each but the last
ROUNDS_TOL = 0.01  # relative change of every width below which it is learned


# ---- settings -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class RidgePrior:
    """Every weight of every state is normal around zero (or the connectome) by itself.

    Parameters
    ----------
    strength : float
        Precision: the penalty is strength / 2 times the sum of squares. Biases go free.
    """

    strength: float = 1.0
    connectome: ClassVar[str] = "mean"
    curved: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_numbers(self, positive=["strength"])

    def widths(self, kinds: list[str], n_states: int) -> dict[str, Widths]:
        """Width for each kind of regressor."""
        return {kind: Widths(LOOSE if kind == "bias" else self.strength**-0.5, 0.0) for kind in kinds}

    def refine(self, found: Found, given: Given, search: Search) -> Found:
        """Nothing is learned of this prior."""
        return found


@dataclass(frozen=True)
class GaussianPrior:
    """Weights of the states are normal around a weight that all share, itself normal around zero.

    Parameters
    ----------
    width : float
        Standard deviation of a state's weight around the shared one.
    shared_width : float
        Standard deviation of the shared weight around zero, or around the anatomical connectome.
    bias_width : float
        Standard deviation of a state's bias around the shared one; never learned. A single state's bias is
        free.
    learn : bool
        Learn the other two widths, for each kind of regressor by itself, by the evidence in Laplace's
        approximation (MacKay 1992, Neural Computation 4, 415-447, eqs. 4.6 and 4.8), in rounds of a few
        iterations under fixed widths; the last round goes on until it converges. The values above are where
        it begins.
    """

    width: float = 1 / 3
    shared_width: float = 1.0
    bias_width: float = 1.0
    learn: bool = True
    connectome: ClassVar[str] = "mean"
    curved: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_numbers(self, positive=["width", "shared_width", "bias_width"])

    def widths(self, kinds: list[str], n_states: int) -> dict[str, Widths]:
        """Width for each kind of regressor; with a single state the shared part is that state's."""
        pairs = {
            kind: (self.bias_width, BIAS_REACH) if kind == "bias" else (self.width, self.shared_width)
            for kind in kinds
        }
        if n_states == 1:
            alone = {kind: Widths(float(np.hypot(*pair)), 0.0) for kind, pair in pairs.items()}
            return {**alone, "bias": Widths(LOOSE, 0.0)}
        return {kind: Widths(*pair) for kind, pair in pairs.items()}

    def refine(self, found: Found, given: Given, search: Search) -> Found:
        """Widths by the evidence and a few steps under them, in turn; at last the fit under those learned."""
        if search.n_states > 1:
            found = replace(found, extra={**found.extra, "centre": True})
        if not self.learn:
            return found
        for _ in range(ROUNDS):
            problem = given.problem(found.widths)
            widths = learned(found.params, found.posterior.state_prob, problem, given.kinds, found.widths)
            if change(found.widths, widths) < ROUNDS_TOL:
                break
            found = onward(replace(found, widths=widths), given, search, ROUND_STEPS)
        return onward(found, given, search, search.max_iter)


# ---- widths by the evidence -----------------------------------------------------------------------------
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
            per_regressor(xp.sum(xp.linalg.diagonal(inverse) + tied, axis=(0, 1)), off),
            n_state * n_unit,
        ),
        Spread(
            xp.sum(off**2, axis=1),
            per_regressor(xp.sum(xp.linalg.diagonal(centre), axis=0), off),
            n_unit,
        ),
    )


def per_regressor(
    values: Float[Array, " place"], like: Float[Array, "column unit"]
) -> Float[Array, " column"]:
    """Sums over the alternatives of a choice, which lie side by side in its curvature."""
    xp = namespace(values)
    n_column = like.shape[0]
    if values.shape[0] == n_column:
        return values
    return xp.sum(xp.reshape(values, (n_column, -1)), axis=1)


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
