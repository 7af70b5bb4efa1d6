"""Prior of a switching GLM under which every connection is inhibitory, absent or excitatory.

Li et al. (2024), ICLR, give a connection's type a Gumbel-softmax density, which is unbounded at the corners
of the simplex, so that their objective has no maximum. Here the type is discrete and summed out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from neurotools.arrays import Array, like, to_numpy
from neurotools.errors import SchemaError, check_numbers, lookup
from neurotools.numerics import connection_types as types
from neurotools.numerics import switching, typed_spread, typed_weights
from neurotools.numerics.switching_fit import Found, Given, Search, Widths, next_round
from neurotools.numerics.typed_weights import Wiring, moments

ACROSS = {"shared": "one type for all states", "state": "one type for each state"}
SWEEPS = 3  # over all weights in one step
HALVINGS = 10  # of a step towards the proposal, then of the natural gradient
FAR_OFF = -1e100  # expected log likelihood of a unit that no step could lead back from
ROUNDS = 8  # of refreshing the information of weights
ROUND_STEPS = 6
ROUNDS_TOL = 0.01  # relative change of the information below which it is settled
BIAS_REACH = 10.0  # width of the prior of a bias
START_SHARES = (0.2, 0.6, 0.2)
START_CONCENTRATION = 3.0


# ---- settings -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class OneHotPrior:
    """Every connection is inhibitory, absent or excitatory, and its type is summed out.

    An absent connection has weight zero. The size of any other is normal, cut to sizes above zero, with a
    mode (not below zero) and a width for each sign. All lags of a connection share its type. What a unit's
    own past does to it has no type and is normal around zero, as are stimuli and biases.

    What is maximised: with m the means of the weights, h their Fisher information, and q the approximate
    posterior of weights and types in which connections are independent of each other,
    log p(counts | m) - 1/2 sum h Var_q(weight) - KL(q || prior), states of the chain summed out exactly. It
    is the variational bound on the evidence with its expected log likelihood to second order around m; h is
    held within a round and refreshed between. Types are summed exactly, and so are weights given types;
    that connections are independent under q is the approximation, and where regressors are strongly
    correlated P(type) is then too sure. Modes, widths and shares of types are learned on the same objective,
    which never falls within a round, and the log likelihood bounds it.

    Parameters
    ----------
    across : {"shared", "state"}
        One type of a connection for all states, of which each state has its own size; or a type for each
        state, from shares that a connection has over all its states: Dirichlet with a concentration that is
        learned, from types that states have nearly in common to types that have nothing in common.
    dale : bool
        All connections of one sending unit are of one sign or absent (Dale's law); its sign is summed out.
    size : float
        Width of sizes, and of normal weights, where learning begins.
    learn : bool
        Learn modes and widths of sizes, shares of types, and widths of normal weights.
    """

    across: str = "shared"
    dale: bool = False
    size: float = 1.0
    learn: bool = True
    connectome: ClassVar[str] = "types"
    curved: ClassVar[bool] = True

    def __post_init__(self) -> None:
        lookup("value of across", self.across, ACROSS)
        check_numbers(self, positive=["size"])

    def widths(self, kinds: list[str], n_states: int) -> dict[str, Widths]:
        """Normal prior under which the starts run, before types come in."""
        if n_states == 1:
            return {kind: Widths(BIAS_REACH if kind == "bias" else self.size / 2, 0.0) for kind in kinds}
        return {
            kind: Widths(1.0, BIAS_REACH) if kind == "bias" else Widths(self.size / 3, self.size)
            for kind in kinds
        }

    def refine(self, found: Found, given: Given, search: Search) -> Found:
        """Types of connections, and all weights under them, from the best start on."""
        if not given.place.size:
            raise SchemaError(
                "types are those of connections between units, and there are none", code="NT-DATA-005",
                fix="give the design a history, or take nt.GaussianPrior",
            )  # fmt: skip
        wiring = wiring_of(given, self)
        problem = given.problem(found.widths)
        rule = switching.Rule(
            lambda params, state_prob, problem: step(params, state_prob, problem, wiring),
            lambda params, _: price(params, wiring),
        )
        params, _ = refreshed(typed_start(found, self, wiring), found.posterior.state_prob, problem, wiring)
        for _ in range(ROUNDS):
            found = onward(found, params, rule, problem, replace(search, max_iter=ROUND_STEPS))
            params, change = refreshed(found.params, found.posterior.state_prob, problem, wiring)
            if change < ROUNDS_TOL:
                break
        found = onward(found, params, rule, problem, search)
        return named(found, wiring)


# ---- rounds -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class TypedParams(switching.Params):
    """What is learned: ``weights`` are means under ``typed``."""

    typed: typed_weights.Typed | None = None  # always there; only that fields before it have defaults


def typed_of(params: switching.Params) -> typed_weights.Typed:
    """The approximate posterior that parameters carry."""
    assert isinstance(params, TypedParams)
    assert params.typed is not None
    return params.typed


def wiring_of(given: Given, prior: OneHotPrior) -> Wiring:
    """Which column is whose; a unit's own past is a kind of its own."""
    kinds = np.where(given.kinds == "history", "own", given.kinds)
    return Wiring(
        given.place, kinds, given.type_prior, prior.across, prior.dale, given.y.shape[1], prior.learn
    )


def typed_start(found: Found, prior: OneHotPrior, wiring: Wiring) -> TypedParams:
    """Weights of the best start, and types of which nothing is known yet."""
    weights = to_numpy(found.params.weights)
    kinds = list(dict.fromkeys(wiring.kinds.tolist()))
    hyper = typed_weights.Hyper(
        sizes=types.Sizes(np.zeros(2), np.full(2, prior.size)),
        base=np.array(START_SHARES) if wiring.base is None else wiring.base,
        concentration=START_CONCENTRATION,
        widths={kind: BIAS_REACH if kind == "bias" else prior.size for kind in kinds},
    )
    sender = np.full((wiring.place.shape[0], 2), 0.5) if prior.dale else None
    typed = typed_weights.Typed(np.zeros(weights.shape), np.zeros(weights.shape), hyper, sender)
    inherited = {part.name: getattr(found.params, part.name) for part in fields(found.params)}
    return TypedParams(**inherited, typed=typed)


def refreshed(
    params: switching.Params, state_prob: Array, problem: switching.Problem, wiring: Wiring
) -> tuple[TypedParams, float]:
    """The information of weights where they now are, and by how much it changed, relative."""
    gradient, curvature, _ = _slopes(params, state_prob, problem)
    information = np.moveaxis(np.diagonal(curvature, axis1=2, axis2=3), 1, 2)
    linear = gradient + information * to_numpy(params.weights)
    old = typed_of(params).information
    typed = replace(typed_of(params), linear=linear, information=information)
    if wiring.dale and not old.any():
        typed = replace(
            typed, sender_prob=typed_weights.signs_of_senders(moments(typed, wiring).block, wiring)
        )
    change = float(np.abs(information - old).sum() / information.sum())
    for attempt in range(2 * HALVINGS):
        found = moments(typed, wiring)
        moved = _moved(params, typed, found)
        _, expected = switching.likelihoods(moved, state_prob, problem)
        if bool((to_numpy(expected) + found.gain > FAR_OFF).all()):
            break
        # A slope that holds close by can lead far away: a shorter one stays nearer to the prior.
        typed = replace(typed, linear=typed.linear * (1 / 8 if attempt < 2 * HALVINGS - 2 else 0.0))
    return moved, change


def onward(
    found: Found, params: TypedParams, rule: switching.Rule, problem: switching.Problem, search: Search
) -> Found:
    """Expectation-maximisation on the objective of one round."""
    ran = switching.expectation_maximisation(params, problem, search.max_iter, search.tol, rule=rule)
    return next_round(found, *ran)


def price(params: switching.Params, wiring: Wiring) -> float:
    """What the weights and types add to the log likelihood: - 1/2 sum h Var - KL."""
    found = moments(typed_of(params), wiring)
    return float(found.gain.sum()) + found.sender_gain


# ---- one step ---------------------------------------------------------------------------------------------
def step(
    params: switching.Params, state_prob: Array, problem: switching.Problem, wiring: Wiring
) -> tuple[TypedParams, Array]:
    """Raise the objective at fixed probabilities of states: all at once, or else unit by unit."""
    gradient, curvature, expected = _slopes(params, state_prob, problem)
    typed = typed_of(params)
    now = moments(typed, wiring)
    before = expected + now.gain
    bold = proposal(typed, now, (gradient, curvature), wiring)
    new = moments(bold, wiring)
    moved = _moved(params, bold, new)
    known, after = switching.likelihoods(moved, state_prob, problem)
    wanted = float(before.sum()) + now.sender_gain
    if float((to_numpy(after) + new.gain).sum()) + new.sender_gain >= wanted - switching.SLACK * abs(wanted):
        return moved, known
    return careful(params, (gradient, curvature), before, (state_prob, problem, wiring))


def proposal(
    typed: typed_weights.Typed,
    now: typed_weights.Moments,
    slopes: tuple[np.ndarray, np.ndarray],
    wiring: Wiring,
) -> typed_weights.Typed:
    """Weights swept over in turn, and what is learned of the prior between, on the likelihood's parabola."""
    mean, (slope, curvature) = now.mean, slopes
    for sweep in range(SWEEPS):
        typed, mean, slope = typed_weights.swept(typed, mean, (slope, curvature), wiring)
        if sweep < SWEEPS - 1:
            typed = typed_weights.learned(typed, moments(typed, wiring), wiring)
            new = moments(typed, wiring).mean
            change = np.moveaxis(new - mean, 1, 2)[..., None]
            slope = slope - np.moveaxis((curvature @ change)[..., 0], 2, 1)
            mean = new
    return typed


def careful(
    params: switching.Params, slopes: tuple[np.ndarray, np.ndarray], before: np.ndarray, rest: tuple[Any, ...]
) -> tuple[TypedParams, Array]:
    """Move the weights of each unit as far as its objective does not fall, the prior as it is.

    First towards one sweep; where that fails, along the natural gradient, on which the objective rises.
    """
    state_prob, problem, wiring = rest
    typed, now = typed_of(params), moments(typed_of(params), wiring)
    goal = typed_weights.swept(typed, now.mean, slopes, wiring)[0].linear.copy()
    natural = slopes[0] + typed.information * now.mean
    size = np.ones(before.size)
    for attempt in range(2 * HALVINGS + 1):
        new = replace(typed, linear=typed.linear + size * (goal - typed.linear))
        found = moments(new, wiring)
        moved = _moved(params, new, found)
        known, after = switching.likelihoods(moved, state_prob, problem)
        # Written so that what is not a number counts as worse.
        worse = ~(to_numpy(after) + found.gain >= before - switching.SLACK * np.abs(before))
        if not worse.any():
            break
        size = np.where(worse, size / 2, size)
        if attempt == HALVINGS:
            goal, size = np.where(worse, natural, goal), np.where(worse, 1.0, size)
        if attempt == 2 * HALVINGS - 1:
            size = np.where(worse, 0.0, size)
    return moved, known


def _slopes(
    params: switching.Params, state_prob: Array, problem: switching.Problem
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradient, curvature and the expected log likelihood of each unit, on the host."""
    gradient, curvature, expected = switching.derivatives(params, state_prob, problem)
    return tuple(to_numpy(part).astype("float64") for part in (gradient, curvature, expected))  # type: ignore[return-value]


def _moved(params: switching.Params, typed: typed_weights.Typed, found: typed_weights.Moments) -> TypedParams:
    assert isinstance(params, TypedParams)
    return replace(params, typed=typed, weights=like(found.mean, params.weights))


def sharpest(found: Found) -> bool:
    """Whether a learned width lies at its least: connections of one type are all but equally strong."""
    if not isinstance(found.params, TypedParams):
        return False
    sizes = typed_of(found.params).hyper.sizes
    return bool((sizes.mode > 0.99 * types.SHARPEST * sizes.width).any())


# ---- what is told of it -----------------------------------------------------------------------------------
def named(found: Found, wiring: Wiring) -> Found:
    """P(type) of every connection, and what was learned of sizes and shares, under their names."""
    typed = typed_of(found.params)
    block = moments(typed, wiring).block
    hyper = typed.hyper
    prob = np.where(wiring.own[..., None, None], np.nan, block.prob)
    gap = np.array([np.nan])
    learned: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "type_prob": (
            (("unit", "unit_to", "type"), prob[:, :, 0])
            if wiring.across == "shared"
            else (("state", "unit", "unit_to", "type"), np.moveaxis(prob, 2, 0))
        ),
        "size_mode": (("type",), np.concatenate([hyper.sizes.mode[:1], gap, hyper.sizes.mode[1:]])),
        "size_width": (("type",), np.concatenate([hyper.sizes.width[:1], gap, hyper.sizes.width[1:]])),
    }
    if hyper.base.ndim == 1:
        learned["type_share"] = (("type",), hyper.base)
    if wiring.across == "state":
        learned["type_concentration"] = ((), np.asarray(hyper.concentration))
    if typed.sender_prob is not None:
        sign = np.insert(typed.sender_prob, 1, 0.0, axis=1)
        learned["sender_type_prob"] = (("unit", "type"), sign)
    widths = {kind: Widths(width, 0.0) for kind, width in hyper.widths.items()}
    extra = {
        **found.extra, "learned": learned, "coords": {"type": list(types.TYPES)},
        "spread": typed_spread.spread(typed, wiring),
    }  # fmt: skip
    return replace(found, widths=widths, extra=extra)
