"""Weights of connections whose type is summed out, beside weights that are normal: one variational step.

Weights w and types are given an approximate posterior q, in which connections are independent of each other
and a connection's weights are independent given its type. With m the mean of w under q, h the Fisher
information of each weight, and states of the chain summed out exactly, the objective is

    log p(y | m)  -  1/2 sum_e h_e Var_q(w_e)  -  KL(q(w, type) || p(w, type))

which is the variational bound on the evidence, its expected log likelihood taken to second order around m.
As a function of m alone the best q is the prior tilted by exp(l w - h w^2 / 2), with l found such that the
mean is m. So q is held by l ("linear"), and the last two terms are h m^2 / 2 - l m + log of the tilted
prior's integral. At the optimum l is the slope of log p(y | m) plus h m: what the data say of one weight
beside all others. The last two terms are never positive, so the log likelihood bounds the objective.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from neurotools.numerics import connection_types as types

LEAST_WIDTH, MOST_WIDTH = 1e-3, 100.0
MOST_NATS = 1e10  # that a weight can be worth


@dataclass(frozen=True)
class Wiring:
    """Which column is whose, and what is given about types."""

    place: Int[np.ndarray, "sender basis"]  # column of each unit's history
    kinds: Shaped[np.ndarray, " column"]  # of columns, which of the normal widths is theirs
    base: Float[np.ndarray, "sender receiver 3"] | None  # probability of types by anatomy
    across: str  # "shared" or "state": what one type is of
    dale: bool
    n_unit: int
    learn: bool

    @property
    def own(self) -> Bool[np.ndarray, "sender receiver"]:
        """Where a unit meets itself: refractoriness and bursts are no connection, and have no type."""
        return np.eye(self.place.shape[0], self.n_unit, dtype=bool)


@dataclass(frozen=True)
class Hyper:
    """What is learned of the prior."""

    sizes: types.Sizes
    base: Float[np.ndarray, "*pair 3"]
    concentration: float
    widths: dict[str, float]  # of normal weights, by kind


@dataclass(frozen=True)
class Typed:
    """The approximate posterior: ``linear`` and, under Dale's law, of what sign each sender is."""

    linear: Float[np.ndarray, "state column receiver"]
    information: Float[np.ndarray, "state column receiver"]
    hyper: Hyper
    sender_prob: Float[np.ndarray, "sender sign"] | None


@dataclass(frozen=True)
class Block:
    """Moments of some senders' weights, (state, sender, basis, receiver), and sums over their types."""

    mean: Float[np.ndarray, "state sender basis receiver"]
    square: Float[np.ndarray, "state sender basis receiver"]
    log_total: Float[np.ndarray, "sender receiver"]
    prob: Float[np.ndarray, "sender receiver state 3"]
    tilted: types.Tilted | None
    counts: Float[np.ndarray, "sender receiver down up"] | None
    by_sign: Float[np.ndarray, "sender receiver sign"] | None  # log totals given the sender's sign


@dataclass(frozen=True)
class Moments:
    """Everything that follows from the approximate posterior."""

    mean: Float[np.ndarray, "state column receiver"]
    square: Float[np.ndarray, "state column receiver"]
    gain: Float[np.ndarray, " receiver"]  # - h Var / 2 - KL, summed over each unit's weights
    sender_gain: float  # the part that belongs to senders
    block: Block


# ---- moments --------------------------------------------------------------------------------------------
def moments(typed: Typed, wiring: Wiring) -> Moments:
    """Means, second moments and the price of all weights."""
    linear, information = typed.linear, typed.information
    mean, square, log_total = normal_moments(linear, information, width_of(typed.hyper, wiring))
    total = log_total.sum(axis=(0, 1))
    senders = np.arange(wiring.place.shape[0])
    block = couplings(typed, wiring, senders)
    own = np.broadcast_to(wiring.own[None, :, None, :], block.mean.shape)
    at = wiring.place
    total -= np.where(own, 0.0, log_total[:, at, :]).sum(axis=(0, 1, 2))
    total += np.where(wiring.own, 0.0, block.log_total).sum(axis=0)
    mean[:, at, :] = np.where(own, mean[:, at, :], block.mean)
    square[:, at, :] = np.where(own, square[:, at, :], block.square)
    pull = linear * mean
    gain = total + (0.5 * information * mean**2 - pull).sum(axis=(0, 1))
    # Terms this large cancel in rounding; no data hold so many nats, so such weights are as good as infinite.
    gain = np.where(np.abs(pull).max(axis=(0, 1)) < MOST_NATS, gain, -np.inf)
    return Moments(mean, square, gain, sender_gain(typed.sender_prob), block)


def width_of(hyper: Hyper, wiring: Wiring) -> Float[np.ndarray, "column receiver"]:
    """Width of the normal prior of every weight, were it no connection."""
    return np.array([[hyper.widths[kind]] for kind in wiring.kinds.tolist()]) * np.ones((1, wiring.n_unit))


def normal_moments(
    linear: np.ndarray, information: np.ndarray, width: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, second moment and log integral of a normal prior around zero, tilted."""
    variance = 1 / (information + width**-2)
    mean = variance * linear
    return mean, mean**2 + variance, 0.5 * linear * mean + 0.5 * np.log(variance / width**2)


def couplings(typed: Typed, wiring: Wiring, senders: Int[np.ndarray, " sender"]) -> Block:
    """Moments of the weights of some senders, their types summed out."""
    at = wiring.place[senders]
    tilt = types.tilted(typed.linear[:, at, :], typed.information[:, at, :], typed.hyper.sizes)
    log_total = np.moveaxis(tilt.log_total.sum(axis=2), 0, 2)  # (sender, receiver, state, 3): lags agree
    base = typed.hyper.base if typed.hyper.base.ndim == 1 else typed.hyper.base[senders]
    if wiring.dale:
        assert typed.sender_prob is not None
        return _signed(tilt, log_total, base, typed.sender_prob[senders], (typed.hyper, wiring))
    sums = _sums(log_total, base, typed.hyper, wiring)
    return _block(tilt, sums.prob, sums.log_total, sums.counts, None)


def _sums(log_total: np.ndarray, base: np.ndarray, hyper: Hyper, wiring: Wiring) -> types.TypeSums:
    if wiring.across == "shared":
        return types.one_type(log_total, base)
    return types.type_per_state(log_total, base, hyper.concentration)


def _signed(
    tilt: types.Tilted, log_total: np.ndarray, base: np.ndarray, sender_prob: np.ndarray,
    rest: tuple[Hyper, Wiring],
) -> Block:  # fmt: skip
    """Given its sender's sign a connection is of that sign or absent."""
    sums = [_sums(log_total, one_sign(base, sign), *rest) for sign in (0, 1)]
    share = sender_prob[:, None, :]  # (sender, 1, sign)
    by_sign = np.stack([part.log_total for part in sums], axis=-1)
    prob = sum(share[..., sign, None, None] * sums[sign].prob for sign in (0, 1))
    counts = None
    if sums[0].counts is not None and sums[1].counts is not None:
        counts = sum(share[..., sign, None, None] * sums[sign].counts for sign in (0, 1))
    return _block(tilt, prob, (share * by_sign).sum(axis=-1), counts, by_sign)


def one_sign(base: Float[np.ndarray, "*pair 3"], sign: int) -> Float[np.ndarray, "*pair 3"]:
    """Probability of the types that a sender of one sign allows."""
    allowed = base * np.array([1.0 - sign, 1.0, float(sign)])
    return allowed / allowed.sum(axis=-1, keepdims=True)


def _block(
    tilt: types.Tilted, prob: np.ndarray, log_total: np.ndarray, counts: np.ndarray | None,
    by_sign: np.ndarray | None,
) -> Block:  # fmt: skip
    weight = np.moveaxis(prob, 2, 0)[:, :, None, :, :]  # (state, sender, 1, receiver, 3)
    mean, square = (weight * tilt.mean).sum(axis=-1), (weight * tilt.square).sum(axis=-1)
    return Block(mean, square, log_total, prob, tilt, counts, by_sign)


# ---- Dale's law -----------------------------------------------------------------------------------------
def sender_gain(sender_prob: Float[np.ndarray, "sender sign"] | None) -> float:
    """Entropy of the signs of senders less their prior, both signs being as likely."""
    if sender_prob is None:
        return 0.0
    safe = np.maximum(sender_prob, 1e-300)
    return float((sender_prob * (np.log(0.5) - np.log(safe))).sum())


def signs_of_senders(block: Block, wiring: Wiring) -> Float[np.ndarray, "sender sign"]:
    """Probability of each sender's sign, from all its connections."""
    assert block.by_sign is not None
    total = np.where(wiring.own[..., None], 0.0, block.by_sign).sum(axis=1)
    weight = np.exp(total - total.max(axis=1, keepdims=True))
    return weight / weight.sum(axis=1, keepdims=True)


# ---- a proposal -----------------------------------------------------------------------------------------
def swept(
    typed: Typed, mean: np.ndarray, slopes: tuple[np.ndarray, np.ndarray], wiring: Wiring
) -> tuple[Typed, np.ndarray, np.ndarray]:
    """One pass over all columns: each weight takes what the data say of it beside all others.

    ``slopes``, a gradient (state, column, receiver) and a curvature (state, receiver, column, column),
    describe the log likelihood around ``mean``; the gradient is carried along as weights move. Also the new
    mean and gradient.
    """
    slope, curvature = slopes[0].copy(), slopes[1]
    linear, mean = typed.linear.copy(), mean.copy()
    typed = replace(typed, linear=linear)  # the copy is written to below
    width = width_of(typed.hyper, wiring)
    sender_of = {int(c): j for j, row in enumerate(wiring.place) for c in row}
    for column in range(linear.shape[1]):
        linear[:, column] = slope[:, column] + typed.information[:, column] * mean[:, column]
        at, new = _met(typed, mean, column, sender_of.get(column), (width, wiring))
        change = np.moveaxis(new - mean[:, at], 1, 2)[..., None]  # (state, receiver, column, 1)
        slope -= (curvature[:, :, :, at] @ change)[..., 0].transpose(0, 2, 1)
        mean[:, at] = new
    return typed, mean, slope


def _met(
    typed: Typed, mean: np.ndarray, column: int, sender: int | None, rest: tuple[np.ndarray, Wiring]
) -> tuple[np.ndarray, np.ndarray]:
    """Columns whose means change with the linear term of one, and their new means."""
    width, wiring = rest
    new, _, _ = normal_moments(typed.linear[:, column], typed.information[:, column], width[column])
    if sender is None:
        return np.array([column]), new[:, None, :]
    at = wiring.place[sender]
    moved = couplings(typed, wiring, np.array([sender])).mean[:, 0]  # all lags share the type
    alone = np.where((at == column)[None, :, None], new[:, None, :], mean[:, at])
    return at, np.where(wiring.own[sender], alone, moved)


def learned(typed: Typed, found: Moments, wiring: Wiring) -> Typed:
    """Hyper-parameters, and signs of senders, most likely under the approximate posterior."""
    if wiring.dale:
        typed = replace(typed, sender_prob=signs_of_senders(found.block, wiring))
    if not wiring.learn:
        return typed
    hyper = replace(
        typed.hyper,
        sizes=_learned_sizes(typed.hyper.sizes, found.block, wiring),
        widths=_learned_widths(typed.hyper.widths, found, wiring),
    )
    return replace(typed, hyper=_learned_shares(hyper, found.block, wiring))


def _learned_sizes(sizes: types.Sizes, block: Block, wiring: Wiring) -> types.Sizes:
    assert block.tilted is not None
    share = np.moveaxis(block.prob, 2, 0)[:, :, None, :, :] * ~wiring.own[None, :, None, :, None]
    share = np.broadcast_to(share, block.tilted.mean.shape)
    for sign, type_ in enumerate((0, 2)):
        weight = share[..., type_]
        amount = float(weight.sum())
        if amount > 0:
            mean = float(np.abs((weight * block.tilted.mean[..., type_]).sum())) / amount
            square = float((weight * block.tilted.square[..., type_]).sum()) / amount
            old = (float(sizes.mode[sign]), float(sizes.width[sign]))
            sizes = types.with_sizes(sizes, sign, types.fitted_size(old, amount, mean, square))
    return sizes


def _learned_widths(widths: dict[str, float], found: Moments, wiring: Wiring) -> dict[str, float]:
    new = dict(widths)
    for kind in set(widths) - {"bias"}:
        mine = np.broadcast_to((wiring.kinds == kind)[:, None], found.mean.shape[1:]).copy()
        for sender, row in enumerate(wiring.place):
            mine[row] &= wiring.own[sender]
        if mine.any():
            square = float(found.square[:, mine].mean())
            new[kind] = float(np.clip(np.sqrt(square), LEAST_WIDTH, MOST_WIDTH))
    return new


def _learned_shares(hyper: Hyper, block: Block, wiring: Wiring) -> Hyper:
    pairs = ~wiring.own
    given = hyper.base.ndim > 1
    if not pairs.any() or (given and (wiring.across == "shared" or wiring.dale)):
        return hyper
    if wiring.dale:
        return _learned_shares_of_signs(hyper, block, wiring)
    if wiring.across == "shared":
        return replace(hyper, base=types.fitted_share(block.prob[pairs][:, 0]))
    assert block.counts is not None
    base = hyper.base[pairs] if given else hyper.base
    new, concentration = types.fitted_shares_and_concentration(
        block.counts[pairs], base, hyper.concentration, not given
    )
    return replace(hyper, base=hyper.base if given else new, concentration=concentration)


def _learned_shares_of_signs(hyper: Hyper, block: Block, wiring: Wiring) -> Hyper:
    """Under Dale's law the share of absent connections, alike for senders of both signs."""
    pairs, concentration = ~wiring.own, hyper.concentration
    none = float(block.prob[pairs][..., 1].mean())
    if block.counts is not None:
        signed = _signed_counts(block.counts[pairs])
        before = float(hyper.base[1] / (hyper.base[1] + hyper.base[0]))
        new, concentration = types.fitted_shares_and_concentration(
            signed, np.array([1 - before, before, 0.0]), concentration, True
        )
        none = float(new[1])
    none = float(np.clip(none, types.LEAST_SHARE, 1 - types.LEAST_SHARE))
    # The sign that a sender has not takes no part: none / (none + share) is the share of absent ones.
    share = 1 - none
    return replace(
        hyper, base=np.array([share, none, share]) / (2 * share + none), concentration=concentration
    )


def _signed_counts(counts: Float[np.ndarray, "group down up"]) -> Float[np.ndarray, "group down up"]:
    """How many states have a connection of whatever sign, laid out as if all were inhibitory."""
    n = counts.shape[-1]
    signed = np.zeros_like(counts)
    for down in range(n):
        for up in range(n - down):
            signed[:, down + up, 0] += counts[:, down, up]
    return signed
