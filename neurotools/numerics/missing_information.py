"""What not knowing the states costs: the covariance of the complete-data score given the observations.

Along the posterior chain of states the score is a sum over samples, f_t(z_{t-1}, z_t). Told the states from
the last to the first, its conditional expectation moves in uncorrelated steps; the covariance is the sum of
their squares,

    m_t(j)      = sum_i P(z_{t-1} = i | z_t = j, y_1..t) (m_{t-1}(i) + f_t(i, j))
    step_t(i,j) = m_{t-1}(i) + f_t(i, j) - m_t(j),           weighted by P(z_{t-1} = i, z_t = j | y)

and, at the last sample of a session, m_T(j) less its mean. One pass, exact for every pair of parameters and
lag. This is the second term of Louis (1982), Journal of the Royal Statistical Society B 44, 226-233, eq. 3.2.

Parameters lie in this order: weights (unit, state, column), log odds of transitions (state, other state,
input), log odds of the first state against state 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from neurotools.arrays import dispatch

ROWS = 4096  # steps whose outer products are summed by one matrix product
CERTAIN = 1e-12  # pairs of states less probable than this are left out


@dataclass(frozen=True)
class Chain:
    """A posterior chain of states, and the slopes of each sample's log probability."""

    filtered: Float[np.ndarray, "time state"]
    smoothed: Float[np.ndarray, "time state"]
    transition: Float[np.ndarray, "steps state state"]  # one matrix, or one into each sample
    initial: Float[np.ndarray, " state"]
    start: Bool[np.ndarray, " time"]
    x: Float[np.ndarray, "time column"]
    slope: Float[np.ndarray, "time state unit"]  # of the log probability by the predictor
    inputs: Float[np.ndarray, "time input"]  # of transitions; ones where nothing drives them

    @property
    def n_state(self) -> int:
        """How many states."""
        return self.smoothed.shape[1]

    @property
    def n_weight(self) -> int:
        """How many weights."""
        return self.slope.shape[2] * self.n_state * self.x.shape[1]

    @property
    def n_parameter(self) -> int:
        """How many parameters."""
        k = self.n_state
        return self.n_weight + k * (k - 1) * self.inputs.shape[1] + k - 1


def missing_information(chain: Chain) -> Float[np.ndarray, "parameter parameter"]:
    """Covariance of the complete-data score under the posterior over paths of states."""
    return dispatch("missing_information", chain.x, missing_information_plain)(chain)


def missing_information_plain(chain: Chain) -> Float[np.ndarray, "parameter parameter"]:
    """The readable form, and the oracle of the kernel."""
    total = np.zeros((chain.n_parameter, chain.n_parameter))
    ahead = np.zeros((chain.n_state, chain.n_parameter))
    for t in range(len(chain.x)):
        if chain.start[t]:
            if t:
                total += _terminal(ahead, chain.smoothed[t - 1])
            ahead = _weights_score(chain, t) + _first_score(chain)
            continue
        joint = chain.filtered[t - 1][:, None] * _into(chain, t)
        predicted = np.maximum(joint.sum(axis=0), 1e-300)
        moved = ahead[:, None, :] + _weights_score(chain, t)[None] + _transition_score(chain, t)
        before, ahead = moved, ((joint / predicted)[..., None] * moved).sum(axis=0)
        pair = joint * chain.smoothed[t] / predicted
        steps = (np.sqrt(pair)[..., None] * (before - ahead[None])).reshape(-1, chain.n_parameter)
        total += steps.T @ steps
    return total + _terminal(ahead, chain.smoothed[-1])


def _terminal(ahead: np.ndarray, prob: np.ndarray) -> np.ndarray:
    away = ahead - prob @ ahead
    return (prob[:, None] * away).T @ away


def _into(chain: Chain, t: int) -> np.ndarray:
    return chain.transition[t if len(chain.transition) > 1 else 0]


def _weights_score(chain: Chain, t: int) -> Float[np.ndarray, "state parameter"]:
    k, d, n_unit = chain.n_state, chain.x.shape[1], chain.slope.shape[2]
    score = np.zeros((k, chain.n_parameter))
    blocks = score[:, : chain.n_weight].reshape(k, n_unit, k, d)
    for j in range(k):
        blocks[j, :, j] = chain.slope[t, j][:, None] * chain.x[t]
    return score


def _transition_score(chain: Chain, t: int) -> Float[np.ndarray, "state state_to parameter"]:
    k, n_input, move = chain.n_state, chain.inputs.shape[1], _into(chain, t)
    score = np.zeros((k, k, chain.n_parameter))
    for i in range(k):
        for a, to in enumerate(others(k, i)):
            begin = chain.n_weight + (i * (k - 1) + a) * n_input
            score[i, :, begin : begin + n_input] = (
                (np.arange(k) == to)[:, None] - move[i, to]
            ) * chain.inputs[t]
    return score


def _first_score(chain: Chain) -> Float[np.ndarray, "state parameter"]:
    k = chain.n_state
    score = np.zeros((k, chain.n_parameter))
    score[:, chain.n_parameter - (k - 1) :] = np.eye(k)[:, 1:] - chain.initial[1:]
    return score


def others(n_state: int, state: int) -> np.ndarray:
    """All states but one."""
    return np.flatnonzero(np.arange(n_state) != state)
