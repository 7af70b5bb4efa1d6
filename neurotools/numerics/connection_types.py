"""Weights whose sign and existence are a discrete type: sums over types and moments given the data.

A connection is inhibitory, absent or excitatory. Given its type a weight is exactly zero, or its size is
normal, cut to sizes above zero. Seen through a likelihood exp(linear w - information w^2 / 2) every sum over
types and every integral over weights has a closed form. Types are the last axis, in the order of ``TYPES``.

Mitchell and Beauchamp (1988), JASA 83, 1023-1032, for weights with an atom at zero; Carbonetto and Stephens
(2012), Bayesian Analysis 7, 73-108, for sums over each by itself; Minka (2000), Estimating a Dirichlet
distribution, eq. 55, for the concentration.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from jaxtyping import Float
from scipy.special import digamma, gammaln, log_ndtr

TYPES = ("inhibitory", "none", "excitatory")
SIGNS = np.array([-1.0, 0.0, 1.0])
FAR = 50.0  # standard deviations below zero from where moments are taken from their series
FURTHEST = 1e40  # beyond which a power would overflow, and every moment is zero
SHARPEST = 20.0  # most that the mode of a size is of its width
LEAST_WIDTH = 1e-3
LEAST_SHARE = 1e-4  # of a type, so that none is lost for good
CONCENTRATIONS = (0.02, 500.0)  # a type nearly common to all states; nearly none in common
ONE_MORE = ((1, 0), (0, 0), (0, 1))  # inhibitory and excitatory counts after one more of each type


@dataclass(frozen=True)
class Sizes:
    """Mode and width of the size of inhibitory and of excitatory weights."""

    mode: Float[np.ndarray, " sign"]
    width: Float[np.ndarray, " sign"]


@dataclass(frozen=True)
class Tilted:
    """Prior of a weight of each type, times its likelihood."""

    log_total: Float[np.ndarray, "*shape 3"]
    mean: Float[np.ndarray, "*shape 3"]
    square: Float[np.ndarray, "*shape 3"]  # second moment


def tilted(
    linear: Float[np.ndarray, "*shape"], information: Float[np.ndarray, "*shape"], sizes: Sizes
) -> Tilted:
    """Integrals of prior times exp(linear w - information w^2 / 2) over the weight, given each type."""
    down = _cut_normal(-linear, information, float(sizes.mode[0]), float(sizes.width[0]))
    up = _cut_normal(linear, information, float(sizes.mode[1]), float(sizes.width[1]))
    nothing = np.zeros_like(linear)
    return Tilted(
        np.stack([down[0], nothing, up[0]], axis=-1),
        np.stack([-down[1], nothing, up[1]], axis=-1),
        np.stack([down[2], nothing, up[2]], axis=-1),
    )


def _cut_normal(
    linear: np.ndarray, information: np.ndarray, mode: float, width: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log integral, mean and second moment of a normal size above zero, times its likelihood."""
    spread = 1 / np.sqrt(1 / width**2 + information)
    middle = spread**2 * (mode / width**2 + linear)
    ratio = middle / spread
    log_total = (
        log_ndtr(ratio) - log_ndtr(mode / width) + np.log(spread / width)
        + 0.5 * ratio**2 - 0.5 * (mode / width) ** 2
    )  # fmt: skip
    mean, square = _moments_above_zero(ratio)
    return log_total, spread * mean, spread**2 * square


def _moments_above_zero(ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and second moment of a normal of mean ``ratio`` and variance 1, given that it is above zero."""
    near = np.maximum(ratio, -FAR)
    mean = near + np.exp(-0.5 * near**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(near))
    # Far below zero the two terms cancel; there the inverse powers are exact to rounding.
    far = ratio < -FAR
    u = np.clip(-ratio, FAR, FURTHEST)
    square = np.where(far, 2 / u**2 - 10 / u**4 + 74 / u**6, 1 + near * mean)
    return np.where(far, 1 / u - 2 / u**3 + 10 / u**5, mean), square


# ---- sums over types ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class TypeSums:
    """Sum over the types of connections, and probabilities of each."""

    log_total: Float[np.ndarray, "*group"]
    prob: Float[np.ndarray, "*group state 3"]
    counts: Float[np.ndarray, "*group down up"] | None = None  # probability of how many states have each


def one_type(
    log_total: Float[np.ndarray, "*group state 3"], base: Float[np.ndarray, "*#group 3"]
) -> TypeSums:
    """All states share one type, drawn from ``base``."""
    with np.errstate(divide="ignore"):  # a type of probability zero is known to be absent
        together = log_total.sum(axis=-2) + np.log(base)
    top = together.max(axis=-1, keepdims=True)
    weight = np.exp(together - top)
    total = weight.sum(axis=-1, keepdims=True)
    prob = (weight / total)[..., None, :]
    return TypeSums((top + np.log(total))[..., 0], np.broadcast_to(prob, log_total.shape))


def type_per_state(
    log_total: Float[np.ndarray, "*group state 3"],
    base: Float[np.ndarray, "*#group 3"],
    concentration: float,
) -> TypeSums:
    """Each state has its own type, drawn from shares that a connection has over all its states.

    The shares are Dirichlet(concentration x base) and integrated out, so types are exchangeable over states:
    the sum over all 3^K of them needs only how many are inhibitory and how many excitatory.
    """
    n_state = log_total.shape[-2]
    counts, more, fewer = _steps(n_state)
    known = np.where(base[..., None, :] > 0, log_total, -np.inf)
    top = known.max(axis=-1, keepdims=True)
    each = np.exp(known - top)[..., None]  # (..., state, 3, 1)
    weight, height = _count_weights(base, concentration, counts)
    # Weight of all ways on, by the counts so far; a last column of zeros stands for counts out of reach.
    ahead = [np.broadcast_to(weight, (*log_total.shape[:-2], weight.shape[-1]))]
    for k in range(n_state - 1, -1, -1):
        ahead.append((each[..., k, :, :] * ahead[-1][..., more]).sum(axis=-2))
    ahead.reverse()
    behind = np.zeros_like(ahead[0])
    behind[..., 0] = 1.0
    total = ahead[0][..., 0]
    prob = np.empty_like(log_total)
    for k in range(n_state):
        ways = (behind[..., None, :] * ahead[k + 1][..., more]).sum(axis=-1)
        prob[..., k, :] = each[..., k, :, 0] * ways / total[..., None]
        behind = (each[..., k, :, :] * behind[..., fewer]).sum(axis=-2)
    table = np.zeros((*log_total.shape[:-2], n_state + 1, n_state + 1))
    table[..., counts[:, 0], counts[:, 2]] = (behind * weight / total[..., None])[..., :-1]
    return TypeSums(np.log(total) + height[..., 0] + top.sum(axis=(-2, -1)), prob, table)


@cache
def _steps(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All counts (inhibitory, absent, excitatory) of n states by their first and last; one more, one fewer.

    Counts before the last state sum to less than n, but the two that matter say all: absent states are the
    rest. The places of counts after one more of each type, and before it, point past the end where there
    are none.
    """
    pairs = [(down, up) for down in range(n + 1) for up in range(n + 1 - down)]
    place = {pair: i for i, pair in enumerate(pairs)}
    away = len(pairs)
    counts = np.array([(down, n - down - up, up) for down, up in pairs])
    moved = [
        [[place.get((d + s * down, u + s * up), away) for d, u in pairs] + [away] for down, up in ONE_MORE]
        for s in (1, -1)
    ]
    return counts, np.array(moved[0]), np.array(moved[1])


def _count_weights(
    base: np.ndarray, concentration: float, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Probability of one order of types by how many are of each, and a zero; log of its scale."""
    alpha = concentration * base[..., None, :]
    possible = ((alpha > 0) | (counts == 0)).all(axis=-1)
    safe = np.where(alpha > 0, alpha, 1.0)
    log_weight = np.where(alpha > 0, gammaln(safe + counts) - gammaln(safe), 0.0).sum(axis=-1)
    log_weight += gammaln(concentration) - gammaln(concentration + counts[0].sum())
    log_weight = np.where(possible, log_weight, -np.inf)
    height = log_weight.max(axis=-1, keepdims=True)
    weight = np.exp(log_weight - height)
    return np.concatenate([weight, np.zeros_like(weight[..., :1])], axis=-1), height


# ---- what is learned of types -----------------------------------------------------------------------------
def fitted_size(old: tuple[float, float], amount: float, mean: float, square: float) -> tuple[float, float]:
    """Most likely mode, not below zero, and width of a size from its expected moments; or the old ones."""
    from scipy.optimize import brentq

    if amount < 1.0 or not mean > 0:  # less than one connection says nothing of their size
        return old

    def lack(ratio: float) -> float:
        first, second = _moments_above_zero(np.asarray(ratio))
        return float(second / first**2) - square / mean**2

    ratio = 0.0
    if lack(0.0) > 0:
        ratio = SHARPEST if lack(SHARPEST) > 0 else float(brentq(lack, 0.0, SHARPEST))
    width = max(mean / float(_moments_above_zero(np.asarray(ratio))[0]), LEAST_WIDTH)
    new = (ratio * width, width)
    return new if _size_score(new, mean, square) > _size_score(old, mean, square) else old


def _size_score(size: tuple[float, float], mean: float, square: float) -> float:
    mode, width = size
    off = square - 2 * mode * mean + mode**2
    return float(-np.log(width) - 0.5 * off / width**2 - log_ndtr(mode / width))


def fitted_share(prob: Float[np.ndarray, "group 3"]) -> Float[np.ndarray, " type"]:
    """Most likely shares of types that are drawn once for each connection."""
    share = np.maximum(prob.mean(axis=0), LEAST_SHARE)
    return share / share.sum()


def fitted_shares_and_concentration(
    counts: Float[np.ndarray, "group down up"], base: Float[np.ndarray, "*#group 3"], concentration: float,
    learn_base: bool,
) -> tuple[Float[np.ndarray, "*#group 3"], float]:  # fmt: skip
    """One step of Minka's fixed point, which never lowers the expected log probability of the types."""
    n = counts.shape[-1] - 1
    alpha = concentration * base
    gained = np.broadcast_to(_expected_gain(counts, alpha), (counts.shape[0], 3))
    whole = counts.shape[0] * (digamma(concentration + n) - digamma(concentration))
    if learn_base:
        alpha = np.maximum(alpha * gained.sum(axis=0) / whole, LEAST_SHARE * concentration)
        total = float(np.clip(alpha.sum(), *CONCENTRATIONS))
        return alpha / alpha.sum(), total
    total = concentration * float((base * gained).sum() / whole)
    return base, float(np.clip(total, *CONCENTRATIONS))


def _expected_gain(counts: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Expectation of digamma(alpha + count) - digamma(alpha) for every type, (group, 3)."""
    n = counts.shape[-1] - 1
    down, up = counts.sum(axis=-1), counts.sum(axis=-2)
    none = np.stack([sum(counts[..., a, n - v - a] for a in range(n - v + 1)) for v in range(n + 1)], axis=-1)
    often = np.stack([down, none, up], axis=-2)  # (group, 3, how many states)
    safe = np.where(alpha > 0, alpha, 1.0)[..., None]
    gain = (often * (digamma(safe + np.arange(n + 1)) - digamma(safe))).sum(axis=-1)
    return np.where(alpha > 0, gain, 0.0)


def with_sizes(sizes: Sizes, sign: int, size: tuple[float, float]) -> Sizes:
    """Sizes with those of one sign (0 inhibitory, 1 excitatory) replaced."""
    mode, width = sizes.mode.copy(), sizes.width.copy()
    mode[sign], width[sign] = size
    return replace(sizes, mode=mode, width=width)
