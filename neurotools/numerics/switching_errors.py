"""How well the parameters of a switching GLM are determined: the observed information and what follows.

    information  =  E[complete-data information]  -  Cov[complete-data score]  +  prior

given the observations (Louis 1982, Journal of the Royal Statistical Society B 44, 226-233, eq. 3.2): exactly
the negative curvature of the marginal log posterior, states summed out. Parameters are weights, their shared
centre integrated out, and log odds of transitions and first states. Probabilities are judged on the scale of
log odds, at the maximum of the posterior density on that scale, since on their own scale the maximum may lie
at zero. Dispersions, gains and widths of priors are taken as known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from neurotools.arrays import Array, like, namespace, to_numpy
from neurotools.numerics import glm, hmm
from neurotools.numerics.missing_information import Chain, missing_information, others
from neurotools.numerics.switching import posterior
from neurotools.numerics.switching_chain import FIRST, host_chain, input_precisions, pair_prob
from neurotools.numerics.switching_terms import (
    Params,
    Problem,
    Terms,
    chunks,
    derivatives,
    log_likelihood,
    of_unit,
    terms,
)
from neurotools.numerics.typed_spread import Spread

LEVEL = 0.9  # of intervals on transitions
FULL = 400  # parameters up to which those of all units are judged together
ROUNDS = 20  # to the maximum on the scale of log odds


@dataclass(frozen=True)
class Errors:
    """Standard errors of weights and intervals of transitions; NaN where the curvature is no maximum's."""

    weights: Float[np.ndarray, "state column unit"]
    transition_low: Float[np.ndarray, "state state_to"]
    transition_high: Float[np.ndarray, "state state_to"]
    how: str  # "full" or "unit"


# ---- what is asked ----------------------------------------------------------------------------------------
def together(params: Params, problem: Problem, spread: Spread | None = None) -> Errors:
    """All parameters at once: exact.

    ``spread`` stands in place of the normal prior where weights have types that are summed out.
    """
    params, found = on_log_odds(params, problem)
    covariance = covariance_of(params, found, problem, spread)
    shape = params.weights.shape
    n_weight = int(np.prod(shape))
    weights = np.sqrt(np.diag(covariance)[:n_weight]).reshape(shape[2], shape[0], shape[1]).transpose(1, 2, 0)
    low, high = transition_interval(params, problem, covariance[n_weight:, n_weight:])
    return Errors(weights, low, high, "full")


def unit_by_unit(params: Params, problem: Problem, spread: Spread | None = None) -> Errors:
    """Weights of each unit with the transitions, as if the weights of other units were known.

    Transitions as if all weights were. For populations of which the whole matrix would be too large; errors
    come out too small by what the uncertainty of other units adds.
    """
    if problem.family in glm.JOINT:  # alternatives of one choice cannot be taken one by one
        return replace(together(params, problem, spread), how="full")
    params, found = on_log_odds(params, problem)
    shape = params.weights.shape
    weights = np.empty(shape)
    for unit in range(shape[2]):
        one, own = of_unit(params, problem, unit)
        covariance = covariance_of(one, found, own, None if spread is None else spread.of_unit(unit))
        size = shape[0] * shape[1]
        weights[:, :, unit] = np.sqrt(np.diag(covariance)[:size]).reshape(shape[:2])
    chain = inverse(chain_information(params, found, problem))
    low, high = transition_interval(params, problem, chain)
    return Errors(weights, low, high, "unit")


def whichever(params: Params, problem: Problem, spread: Spread | None = None) -> Errors:
    """All together where there are few parameters, else unit by unit."""
    k, n_column, n_unit = params.weights.shape
    n_input = 1 if problem.inputs is None else problem.inputs.shape[1]
    n = n_unit * k * n_column + k * (k - 1) * n_input + k - 1
    return together(params, problem, spread) if n <= FULL else unit_by_unit(params, problem, spread)


UNCERTAINTY = {"auto": whichever, "full": together, "unit": unit_by_unit}


# ---- information ------------------------------------------------------------------------------------------
def on_log_odds(params: Params, problem: Problem) -> tuple[Params, hmm.Smoothed]:
    """Initial probabilities and transitions where the posterior density of their log odds is highest.

    A density of probabilities times their product is that of the log odds: one more pseudo-count for each.
    The log odds of driven transitions have a prior of their own.
    """
    known = log_likelihood(params, problem)
    found = posterior(params, problem, known)
    rows = np.flatnonzero(problem.start)
    for _ in range(ROUNDS if params.weights.shape[0] > 1 else 0):
        first = to_numpy(found.state_prob)[rows].sum(axis=0) + FIRST + 1
        changed = {"log_initial": like(np.log(first / first.sum()), params.log_initial)}
        if params.drive is None:
            counts = to_numpy(found.pair_sum) + problem.stickiness * np.eye(len(first)) + 1
            move = np.log(counts / counts.sum(axis=1, keepdims=True))
            changed["log_transition"] = like(move, params.log_transition)
        params = replace(params, **changed)
        found = posterior(params, problem, known)
    return params, found


def observed_information(
    params: Params, found: hmm.Smoothed, problem: Problem
) -> Float[np.ndarray, "parameter parameter"]:
    """Negative curvature of the marginal log posterior, exact; ``found`` is the posterior at ``params``."""
    total = data_information(params, found, problem)
    size = int(np.prod(params.weights.shape))
    total[:size, :size] += weights_prior(params, problem)
    return total


def data_information(
    params: Params, found: hmm.Smoothed, problem: Problem
) -> Float[np.ndarray, "parameter parameter"]:
    """The same without the prior on weights."""
    size = int(np.prod(params.weights.shape))
    total = -missing_information(chain_of(params, found, problem))
    total[:size, :size] += weights_information(params, found, problem)
    total[size:, size:] += complete_chain(params, found, problem)
    return total


def covariance_of(
    params: Params, found: hmm.Smoothed, problem: Problem, spread: Spread | None
) -> Float[np.ndarray, "parameter parameter"]:
    """Inverse of the curvature, under normal priors or under types of connections.

    The curvature that types add, V^-1 - h, is infinite where a connection is surely absent. With weights
    written as root u, root root' = V, it is finite.
    """
    if spread is None:
        return inverse(observed_information(params, found, problem))
    information = data_information(params, found, problem)
    size = spread.information.size
    information[:size, :size] -= np.diag(spread.informations)
    roots = [spread.root(unit) for unit in range(params.weights.shape[2])]
    turn = _block_diagonal([*roots, np.eye(len(information) - size)])
    turned = turn.T @ information @ turn
    turned[:size, :size] += np.eye(size)
    return turn @ inverse(turned) @ turn.T


def chain_information(
    params: Params, found: hmm.Smoothed, problem: Problem
) -> Float[np.ndarray, "parameter parameter"]:
    """The same of initial probabilities and transitions alone, weights being known."""
    chain = chain_of(params, found, problem)
    bare = replace(chain, slope=chain.slope[:, :, :0])
    return complete_chain(params, found, problem) - missing_information(bare)


def chain_of(params: Params, found: hmm.Smoothed, problem: Problem) -> Chain:
    """The posterior chain, and how each sample's log probability rises with each predictor; on the host."""
    initial, transition = host_chain(params, problem)
    family = glm.FAMILIES[problem.family]
    slopes = []
    for begin, stop in chunks(problem.x):
        part = terms(params, problem, begin, stop)
        pull = part.slope * (part.y - part.mean) / family.variance(part.mean, part.scale)
        slopes.append(to_numpy(part.observed(pull)))
    return Chain(
        filtered=to_numpy(found.filtered_prob), smoothed=to_numpy(found.state_prob),
        transition=np.exp(transition).reshape(-1, *transition.shape[-2:]), initial=np.exp(initial),
        start=problem.start, x=to_numpy(problem.x), slope=np.concatenate(slopes),
        inputs=transition_inputs(params, problem),
    )  # fmt: skip


def transition_inputs(params: Params, problem: Problem) -> Float[np.ndarray, "time input"]:
    """What drives transitions; ones alone where nothing does."""
    if params.drive is None or problem.inputs is None:
        return np.ones((problem.x.shape[0], 1))
    return to_numpy(problem.inputs)


def weights_information(
    params: Params, found: hmm.Smoothed, problem: Problem
) -> Float[np.ndarray, "weight weight"]:
    """Expected complete-data information of weights, in the order (unit, state, column)."""
    k, n_column, n_unit = params.weights.shape
    full = np.zeros((n_unit, k, n_column, n_unit, k, n_column))
    if problem.family in glm.JOINT:
        blocks = to_numpy(derivatives(params, found.state_prob, problem)[1])[:, 0]
        blocks = blocks.reshape(k, n_column, n_unit, n_column, n_unit)
        for state in range(k):
            full[:, state, :, :, state] = blocks[state].transpose(1, 0, 3, 2)
    else:
        blocks = observed_grams(params, found.state_prob, problem)
        for state in range(k):
            for unit in range(n_unit):
                full[unit, state, :, unit, state] = blocks[state, unit]
    return full.reshape(n_unit * k * n_column, -1)


def observed_grams(
    params: Params, state_prob: Array, problem: Problem
) -> Float[np.ndarray, "state unit column column"]:
    """Information of each state and unit: observed, which is not Fisher's unless the link is canonical."""
    xp = namespace(problem.x)
    k, n_column, n_unit = params.weights.shape
    packed = glm.packed_zeros(problem.x, k * n_unit)
    room = glm.pair_room(problem.x)
    for begin, stop in chunks(problem.x):
        part = terms(params, problem, begin, stop)
        weight = part.observed(state_prob[begin:stop, :, None] * observed_weight(part, problem))
        weight = xp.reshape(weight, (stop - begin, k * n_unit))
        packed = glm.add_product(packed, glm.packed_outer(part.x, room), weight)
    return to_numpy(glm.unpacked(packed, n_column)).reshape(k, n_unit, n_column, n_column)


def observed_weight(part: Terms, problem: Problem) -> Float[Array, "time state unit"]:
    """Negative second derivative of the log probability by the predictor."""
    family, link = glm.FAMILIES[problem.family], glm.LINKS[problem.link]
    variance = family.variance(part.mean, part.scale)
    fisher = part.slope**2 / variance
    bend = link.bend(part.predictor) * part.height
    turned = bend / variance - fisher * family.variance_slope(part.mean, part.scale) / variance
    return fisher - (part.y - part.mean) * turned


def weights_prior(params: Params, problem: Problem) -> Float[np.ndarray, "weight weight"]:
    """Precision of the normal prior on weights, their centre integrated out; order (unit, state, column).

    Around a centre of precision C, K states of precision P have precision P (1 - P / (K P + C)) in common.
    """
    k, n_column, n_unit = params.weights.shape
    own, shared = to_numpy(problem.precision), to_numpy(problem.centre_precision)
    pull = np.divide(own**2, k * own + shared, out=np.zeros_like(own), where=own > 0)
    full = np.zeros((n_unit, k, n_column, n_unit, k, n_column))
    unit, column = np.arange(n_unit)[:, None], np.arange(n_column)[None, :]
    for a in range(k):
        for b in range(k):
            full[unit, a, column, unit, b, column] = (own if a == b else 0.0) - pull
    return full.reshape(n_unit * k * n_column, -1)


def complete_chain(
    params: Params, found: hmm.Smoothed, problem: Problem
) -> Float[np.ndarray, "parameter parameter"]:
    """Expected complete-data information of log odds of transitions and first states, and their priors."""
    initial, transition = host_chain(params, problem)
    k = initial.size
    driven = params.drive is not None
    inputs = transition_inputs(params, problem)
    moves = np.exp(np.broadcast_to(transition, (len(inputs), k, k)) if transition.ndim == 2 else transition)
    pairs = pair_prob(found, like(transition, found.state_prob), problem.start)
    left = to_numpy(pairs).sum(axis=2)
    rows = [_row_information(state, left[:, state], moves[:, state], inputs) for state in range(k)]
    mean = np.exp(to_numpy(params.log_transition))
    n_input = inputs.shape[1]
    for state, row in enumerate(rows):
        extra = problem.stickiness + (0 if driven else k)
        spread = _spread(mean[state], others(k, state))
        row.reshape(k - 1, n_input, k - 1, n_input)[:, 0, :, 0] += extra * spread
        if driven:
            row += np.diag(np.tile(input_precisions(n_input, problem), k - 1))
    n_first = int(problem.start.sum()) + k * (FIRST + 1)
    first = n_first * _spread(np.exp(initial), np.arange(1, k))
    return _block_diagonal([*rows, first])


def _row_information(state: int, weight: np.ndarray, moves: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    to = others(moves.shape[1], state)
    prob = moves[:, to]
    spread = weight[:, None, None] * prob[:, :, None] * (np.eye(to.size) - prob[:, None, :])
    outer = inputs[:, :, None] * inputs[:, None, :]
    n_input = inputs.shape[1]
    square = spread.reshape(len(inputs), to.size**2).T @ outer.reshape(len(inputs), n_input**2)
    square = square.reshape(to.size, to.size, n_input, n_input).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(square).reshape(to.size * n_input, to.size * n_input)


def _spread(prob: np.ndarray, which: np.ndarray) -> np.ndarray:
    return np.diag(prob[which]) - np.outer(prob[which], prob[which])


def _block_diagonal(blocks: Sequence[np.ndarray]) -> np.ndarray:
    full = np.zeros((sum(len(b) for b in blocks),) * 2)
    begin = 0
    for block in blocks:
        full[begin : begin + len(block), begin : begin + len(block)] = block
        begin += len(block)
    return full


# ---- what follows -----------------------------------------------------------------------------------------
def inverse(information: np.ndarray) -> Float[np.ndarray, "parameter parameter"]:
    """Covariance of the normal approximation; NaN where the information is not positive definite."""
    symmetric = (information + information.T) / 2
    try:
        half = np.linalg.cholesky(symmetric)
    except np.linalg.LinAlgError:
        return np.full_like(information, np.nan)
    root = np.linalg.solve(half, np.eye(len(half)))
    return root.T @ root


def transition_interval(
    params: Params, problem: Problem, covariance: np.ndarray, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of each transition probability, at the mean input.

    Those of the beta law whose log odds have the mode and the curvature found, which is the posterior itself
    where states are known. A normal law of log odds would miss the long tail of a transition that is seen a
    few times.
    """
    from scipy.special import betaincinv

    move = np.exp(to_numpy(params.log_transition))
    k = len(move)
    if k == 1:
        return np.ones((1, 1)), np.ones((1, 1))
    n_input = transition_inputs(params, problem).shape[1]
    variance = np.empty((k, k))  # of log odds of each transition against all others
    for i in range(k):
        to = others(k, i)
        place = (i * (k - 1) + np.arange(k - 1)) * n_input
        own = covariance[np.ix_(place, place)]
        for j in range(k):
            slope = np.where(to == j, 1.0, -move[i, to] / (1 - move[i, j]))
            variance[i, j] = slope @ own @ slope
    hits, misses = 1 / (variance * (1 - move)), 1 / (variance * move)
    tail = (1 - level) / 2
    return betaincinv(hits, misses, tail), betaincinv(hits, misses, 1 - tail)
