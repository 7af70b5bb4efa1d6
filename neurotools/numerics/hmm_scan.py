"""Forward-backward as a scan over time, for devices that do many small sums at once.

A sample is a matrix: entry i, j is the probability of moving from i to j, times the likelihood of j. The
product of all matrices up to a sample, or from one on, is what the recursions of ``hmm`` carry along;
products of neighbours first, then of neighbouring pairs, and so on, give all of them in 2 log2(T) levels
instead of T steps (Blelloch 1990, Carnegie Mellon report CS-90-190, section 1.3; Hassan, Sarkka &
Garcia-Fernandez 2021, IEEE Transactions on Signal Processing 69, 4888-4900). The matrix of a session's first
sample has the same row throughout, so nothing passes from one session to the next and all are scanned
together. Products are held as logarithms, each less its largest entry: no state is too improbable to come
back.
"""

from __future__ import annotations

from functools import reduce

from jaxtyping import Bool, Float

from neurotools.arrays import Array, device_of, logsumexp, namespace
from neurotools.numerics.hmm import Smoothed

IMPOSSIBLE = -1e30  # in place of log 0, of which sums and differences stay numbers

Moves = Float[Array, "*batch time state state"]


def smooth(log_initial, log_transition, log_likelihood, start) -> Smoothed:
    """Forward-backward of every entry of the leading axes; see ``numerics.hmm.smooth``."""
    xp = namespace(log_likelihood)
    first = xp.asarray(start, device=device_of(log_likelihood))
    into = xp.where(first[:, None, None], log_initial[..., None, None, :], log_transition)
    step = into + log_likelihood[..., None, :]
    up_to, since = products_both_ways(step)
    filtered = _normalised(up_to[..., 0, :])  # all rows are alike
    ahead = logsumexp(since[..., 1:, :, :])
    backward = xp.concat([ahead, xp.zeros_like(filtered[..., :1, :])], axis=-2)
    # Before the first sample any state will do: its matrix has the same row throughout.
    earlier = xp.concat([_normalised(xp.zeros_like(filtered[..., :1, :])), filtered[..., :-1, :]], axis=-2)
    joint = earlier[..., :, None] + step
    log_predictive = logsumexp(logsumexp(joint, axis=-2))
    return Smoothed(
        state_prob=xp.exp(_normalised(filtered + backward)),
        filtered_prob=xp.exp(filtered),
        pair_sum=pair_sum(joint + backward[..., None, :], first),
        log_evidence=xp.sum(log_predictive, axis=-1),
        log_predictive=log_predictive,
    )


def products_both_ways(step: Moves) -> tuple[Moves, Moves]:
    """Log products of the matrices up to each sample, and from each sample on, from one scan."""
    xp = namespace(step)
    # Turned round in time and transposed, the end is a beginning.
    both = xp.stack([step, xp.flip(xp.matrix_transpose(step), axis=-3)])
    found = products(xp.maximum(both, xp.full_like(both, IMPOSSIBLE)))
    return found[0, ...], xp.flip(xp.matrix_transpose(found[1, ...]), axis=-3)


def products(x: Moves) -> Moves:
    """Log products of all beginnings: entry t is the product of the matrices up to t."""
    xp, n = namespace(x), x.shape[-3]
    if n == 1:
        return x
    odd = products(joined(x[..., 0 : n - 1 : 2, :, :], x[..., 1::2, :, :]))
    even = x[..., :1, :, :]
    if n > 2:
        even = xp.concat([even, joined(odd[..., : (n - 1) // 2, :, :], x[..., 2::2, :, :])], axis=-3)
    if n % 2:
        odd = xp.concat([odd, odd[..., -1:, :, :]], axis=-3)
    woven = xp.stack([even, odd], axis=-3)
    return xp.reshape(woven, (*x.shape[:-3], -1, *x.shape[-2:]))[..., :n, :, :]


def joined(left: Moves, right: Moves) -> Moves:
    """Log of the product of two matrices less its largest entry, state by state to spare memory."""
    xp = namespace(left)
    paths = (left[..., :, k, None] + right[..., k, None, :] for k in range(left.shape[-1]))
    both = reduce(xp.logaddexp, paths)
    return both - xp.max(both, axis=(-2, -1), keepdims=True)


def pair_sum(joint: Moves, first: Bool[Array, " time"]) -> Float[Array, "*batch state state"]:
    """Expected number of transitions, from log weights of every pair; into a first sample there is none."""
    xp = namespace(joint)
    pairs = xp.exp(joint - logsumexp(logsumexp(joint))[..., None, None])
    return xp.sum(xp.where(first[:, None, None], xp.zeros_like(pairs), pairs), axis=-3)


def _normalised(log_weight: Array) -> Array:
    return log_weight - logsumexp(log_weight, keepdims=True)
