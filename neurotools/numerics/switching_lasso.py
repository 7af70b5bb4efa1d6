"""Prior of a switching GLM that puts whole connections to zero: the group lasso.

Yuan and Lin (2006), J. R. Stat. Soc. B 68, 49-67, eq. 2.1. Each M-step is one damped proximal Newton step
(Lee, Sun and Saunders 2014, SIAM J. Optim. 24, 1420-1443): groups are swept over in turn on the likelihood's
parabola, each moved to the minimum of a rounder parabola above it and shrunk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from neurotools.arrays import Array, like, to_numpy
from neurotools.errors import SchemaError, check_numbers, lookup
from neurotools.numerics import switching
from neurotools.numerics.switching_fit import Found, Given, Search, Widths, next_round

OVER = {"connection": "all states and lags", "state": "all lags of one state"}
LOOSE = 100.0  # width of a bias
SWEEPS = 5
HALVINGS = 12


@dataclass(frozen=True)
class GroupLasso:
    """Whole connections are zero, or free with a penalty on their length.

    The penalty is strength x sqrt(size of the group) x length of its weights, summed over connections; all
    other weights but biases are ridge penalised. For links and families with a concave log likelihood each
    M-step is a convex problem; states make the whole fit no more convex than any other.

    Parameters
    ----------
    strength : float
        Of the penalty, in nats per unit of weight. Choose it by held-out likelihood.
    over : {"connection", "state"}
        What one group is: a connection in all states and lags, which is then in none of them or in any; or
        a connection in one state.
    ridge : float
        Precision of the normal prior on weights that are no couplings; biases go free.
    """

    strength: float = 10.0
    over: str = "connection"
    ridge: float = 1.0
    connectome: ClassVar[str] = "none"
    curved: ClassVar[bool] = False  # a kink at zero, where weights come to lie: no standard errors

    def __post_init__(self) -> None:
        lookup("value of over", self.over, OVER)
        check_numbers(self, positive=["strength", "ridge"])

    def widths(self, kinds: list[str], n_states: int) -> dict[str, Widths]:
        """Normal prior under which the starts run, before connections are put to zero."""
        return {kind: Widths(LOOSE if kind == "bias" else self.ridge**-0.5, 0.0) for kind in kinds}

    def refine(self, found: Found, given: Given, search: Search) -> Found:
        """The same model under the penalty, from the best start on."""
        if not given.place.size:
            raise SchemaError(
                "groups are connections between units, and there are none", code="NT-DATA-005",
                fix="give the design a history, or take nt.RidgePrior",
            )  # fmt: skip
        problem = given.problem(found.widths)
        penalty = Penalty.of(given, self)
        rule = switching.Rule(
            lambda params, state_prob, problem: step(params, state_prob, problem, penalty),
            lambda params, _: float(penalty.log_density(to_numpy(params.weights)).sum()),
        )
        ran = switching.expectation_maximisation(
            found.params, problem, search.max_iter, search.tol, rule=rule
        )
        widths = {**found.widths, "history": Widths(float("inf"), 0.0)}
        return replace(next_round(found, *ran), widths=widths)


@dataclass(frozen=True)
class Penalty:
    """Groups of columns, and the precision of columns of no group."""

    place: Int[np.ndarray, "sender basis"]
    precision: Float[np.ndarray, " column"]  # zero in groups
    strength: float
    over: str

    @classmethod
    def of(cls, given: Given, prior: GroupLasso) -> Penalty:
        """Histories in groups; all else under ridge."""
        precision = np.where(given.kinds == "bias", LOOSE**-2, prior.ridge)
        precision[given.place.ravel()] = 0.0
        return cls(given.place, precision, prior.strength, prior.over)

    def lengths(self, coupled: np.ndarray, basis_axis: int) -> np.ndarray:
        """Length of every group, with axes of size one where it was summed."""
        axes = (0, basis_axis) if self.over == "connection" else (basis_axis,)
        return np.sqrt((coupled**2).sum(axis=axes, keepdims=True))

    def scale(self, n_state: int) -> float:
        """Price of one unit of a group's length."""
        n = self.place.shape[1] * (n_state if self.over == "connection" else 1)
        return self.strength * float(np.sqrt(n))

    def log_density(self, weights: Float[np.ndarray, "state column unit"]) -> Float[np.ndarray, " unit"]:
        """Less the penalty of each receiving unit's weights."""
        length = self.lengths(weights[:, self.place, :], 2).sum(axis=(0, 1, 2))
        ridge = 0.5 * (self.precision[None, :, None] * weights**2).sum(axis=(0, 1))
        return -self.scale(weights.shape[0]) * length - ridge


def step(
    params: switching.Params, state_prob: Array, problem: switching.Problem, penalty: Penalty
) -> tuple[switching.Params, Array]:
    """Raise the penalised expected log likelihood of each unit, or leave its weights."""
    slopes = switching.derivatives(params, state_prob, problem)
    gradient, curvature, expected = (to_numpy(part).astype("float64") for part in slopes)
    old = to_numpy(params.weights).astype("float64")
    toward = proposal(old, gradient, curvature, penalty) - old
    before = expected + penalty.log_density(old)
    size = np.ones(before.size)
    for attempt in range(HALVINGS + 1):
        new = old + size * toward
        moved = replace(params, weights=like(new, params.weights))
        known, after = switching.likelihoods(moved, state_prob, problem)
        # Written so that what is not a number counts as worse.
        worse = ~(to_numpy(after) + penalty.log_density(new) >= before - switching.SLACK * np.abs(before))
        if not worse.any():
            break
        size = np.where(worse, size / 2 if attempt < HALVINGS - 1 else 0.0, size)
    return moved, known


def proposal(
    weights: Float[np.ndarray, "state column unit"],
    slope: Float[np.ndarray, "state column unit"],
    curvature: Float[np.ndarray, "state unit column column"],
    penalty: Penalty,
) -> Float[np.ndarray, "state column unit"]:
    """Weights after sweeps over all groups on the likelihood's parabola, which never rise above it."""
    weights, slope = weights.copy(), slope.copy()
    alone = np.setdiff1d(np.arange(weights.shape[1]), penalty.place)
    steep = steepness(curvature, penalty)
    for _ in range(SWEEPS):
        for column in alone:
            at = np.array([column])
            precision = penalty.precision[column]
            new = curvature[:, :, column, column] * weights[:, column] + slope[:, column]
            new = new / (curvature[:, :, column, column] + precision + 1e-12)
            _move(weights, slope, curvature, (at, new[:, None, :]))
        for sender, at in enumerate(penalty.place):
            free = weights[:, at, :] + slope[:, at, :] / steep[sender]
            price = penalty.scale(weights.shape[0]) / steep[sender]
            length = np.maximum(penalty.lengths(free, 1), price)
            _move(weights, slope, curvature, (at, free * (1 - price / length)))
    return weights


def steepness(curvature: np.ndarray, penalty: Penalty) -> Float[np.ndarray, "sender state one unit"]:
    """Largest curvature within each group, so that a round parabola lies above the likelihood's."""
    found = []
    for at in penalty.place:
        block = curvature[:, :, at[:, None], at[None, :]]
        largest = np.linalg.eigvalsh(block)[..., -1]  # (state, unit)
        if penalty.over == "connection":
            largest = np.broadcast_to(largest.max(axis=0), largest.shape)
        found.append(np.maximum(largest, 1e-9)[:, None, :])
    return np.stack(found)


def _move(weights: np.ndarray, slope: np.ndarray, curvature: np.ndarray, new: tuple[Any, Any]) -> None:
    """Put columns to new values, and the slope to what it then is."""
    at, values = new
    change = np.moveaxis(values - weights[:, at, :], 1, 2)[..., None]
    slope -= np.moveaxis((curvature[:, :, :, at] @ change)[..., 0], 2, 1)
    weights[:, at, :] = values
