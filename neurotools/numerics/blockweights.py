r"""Families of weights for the block model: what the weights between two blocks cost, in nats.

Every family is conjugate, so that its parameters are integrated out exactly, for every pair of blocks by
itself. Weights are first brought to a common unit, which no partition changes and which ``free`` pays for.
With m edges between two blocks, x = sum of their values v and q their second statistic:

    exponential     v = w / mean             rate ~ Gamma(1, s)
                    (m + 1) log(1 + x / s) + m log s - log Gamma(m + 1)
    lognormal       v = (log w - centre) / sd
    normal          v = (w - centre) / sd    variance ~ InvGamma(3/2, 3 s / 2), mean ~ N(0, variance / s)
                    (3/2 + m/2) log(1 + r / (3 s)) + m/2 log(3 pi s) + 1/2 log(1 + m / s)
                    + log Gamma(3/2) - log Gamma(3/2 + m/2),      q = sum v^2,  r = q - x^2 / (m + s)
    poisson         v = w, every pair counts, also zeros
    zero-inflated   v = w - 1 where w > 0    rate ~ Gamma(1, s) in units of the mean
                    (x + 1) log(1 + q / s) + x log s - log Gamma(x + 1),     q = mean of v times m

The first is that of Peixoto (2018), Physical Review E 97, 012306, section III.A; the second and third his
section III.B (normal-inverse-chi-squared with three degrees of freedom, one observation at the centre); the
counts are his III.C with a Poisson distribution. A zero is no edge, but in ``poisson``, where it is a count;
``zero-inflated`` has as many zeros as it has absent edges, and one plus a Poisson number elsewhere.

``s`` is empirical: the power of 1/4 in ``SCALES`` that makes the description shortest. At 1 the prior sits at
the mean and spread of all weights, which is best for one block; less lets blocks differ by orders of
magnitude.

Strengths (degree-corrected variant) take c_i + c_j steps of log 2 out of the mean of an exponential, of a
Poisson rate or of a logarithm; of half a standard deviation out of a normal weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln

Matrix = Float[np.ndarray, "unit unit"]
SCALES = 4.0 ** -np.arange(6)
SHAPE = 1.5  # of the prior of a variance
STRENGTH_STEP = float(np.log(2.0))
NORMAL_STEP = 0.5  # standard deviations


@dataclass(frozen=True)
class Values:
    """The weights of one graph as a family sees them."""

    edges: Matrix  # 0. or 1.
    value: Matrix
    second: Matrix
    free: float  # nats that no partition changes
    centre: float
    unit: float


@dataclass(frozen=True)
class Family:
    """How a family of weights is brought to a common unit, and what its values cost.

    ``nats(m, x, q, s)`` is elementwise; ``step`` is one level of strength in units of ``Values.unit`` (or of
    its logarithm); ``own`` gives, from edges and values of a unit, the nats that one step of its strength
    costs whatever the partition.
    """

    standardise: Callable[[Matrix], Values]
    nats: Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]
    kind: str
    words: str
    signed: bool = False
    every_pair: bool = False


# ---- a common unit -----------------------------------------------------------------------------------
def _upper(values: Matrix, edges: Matrix) -> np.ndarray:
    return values[np.triu(edges, 1) > 0]


def _scaled(weights: Matrix) -> Values:
    edges = (weights > 0).astype(float)
    present = _upper(weights, edges)
    mean = float(present.mean()) if present.size else 1.0
    free = present.size * np.log(mean)
    return Values(edges, weights / mean, np.zeros_like(weights), float(free), 0.0, mean)


def _centred(values: Matrix, edges: Matrix, jacobian: float) -> Values:
    present = _upper(values, edges)
    centre = float(present.mean()) if present.size else 0.0
    unit = float(present.std()) if present.size else 1.0
    # Equal weights have no spread of their own; rounding is none either.
    unit = unit if unit > 1e-12 * max(abs(centre), 1e-300) else 1.0
    v = np.where(edges > 0, (values - centre) / unit, 0.0)
    return Values(edges, v, v**2, jacobian + present.size * float(np.log(unit)), centre, unit)


def _plain(weights: Matrix) -> Values:
    return _centred(weights, (weights != 0).astype(float), 0.0)


def _logarithms(weights: Matrix) -> Values:
    edges = (weights > 0).astype(float)
    values = np.log(np.where(edges > 0, weights, 1.0))
    return _centred(values, edges, float(_upper(values, edges).sum()))


def _counted(edges: Matrix, counts: Matrix) -> Values:
    present = _upper(counts, edges)
    mean = float(present.mean()) if present.any() else 1.0
    free = gammaln(present + 1).sum() - present.sum() * np.log(mean)
    return Values(edges, edges * counts, edges * mean, float(free), 0.0, mean)


def _all_counts(weights: Matrix) -> Values:
    return _counted(1.0 - np.eye(len(weights)), weights)


def _counts_above_one(weights: Matrix) -> Values:
    edges = (weights > 0).astype(float)
    return _counted(edges, edges * (weights - 1))


# ---- what values cost --------------------------------------------------------------------------------
def exponential_nats(m: np.ndarray, x: np.ndarray, q: np.ndarray, scale: float) -> np.ndarray:
    """Exponential values of m edges with rate ~ Gamma(1, scale) integrated out; ``q`` is not used."""
    return (m + 1) * np.log1p(x / scale) + m * np.log(scale) - gammaln(m + 1)


def normal_nats(m: np.ndarray, x: np.ndarray, q: np.ndarray, scale: float) -> np.ndarray:
    """Normal values of m edges with mean and variance integrated out."""
    rest = np.maximum(q - x**2 / (m + scale), 0.0)
    nats = (SHAPE + m / 2) * np.log1p(rest / (2 * SHAPE * scale)) + m / 2 * np.log(2 * np.pi * SHAPE * scale)
    return nats + np.log1p(m / scale) / 2 + gammaln(SHAPE) - gammaln(SHAPE + m / 2)


def count_nats(m: np.ndarray, x: np.ndarray, q: np.ndarray, scale: float) -> np.ndarray:
    """Poisson values with exposure q and rate ~ Gamma(1, scale) integrated out; ``m`` is not used."""
    return (x + 1) * np.log1p(q / scale) + x * np.log(scale) - gammaln(x + 1)


FAMILIES = {
    "exponential": Family(_scaled, exponential_nats, "scaled", "positive, an edge wherever not zero"),
    "lognormal": Family(_logarithms, normal_nats, "shifted", "positive, an edge wherever not zero"),
    "normal": Family(_plain, normal_nats, "shifted", "of either sign, an edge where not zero", signed=True),
    "poisson": Family(
        _all_counts, count_nats, "counted", "whole numbers, every pair counts", every_pair=True
    ),
    "zero-inflated": Family(
        _counts_above_one, count_nats, "counted", "whole numbers, an edge wherever not zero"
    ),
}


# ---- strengths ---------------------------------------------------------------------------------------
def strength_step(name: str, unit: float) -> float:
    """What one level of strength adds: to the log of the mean weight, or to the mean of a normal weight."""
    return NORMAL_STEP * unit if name == "normal" else STRENGTH_STEP


def without_strength(
    family: Family, values: Values, steps: Int[np.ndarray, " unit"], step: float
) -> tuple[Matrix, Matrix]:
    """Values and second statistic of every pair once the strengths of both units are taken out."""
    both = steps[:, None] + steps
    if family.kind == "scaled":
        return values.value * np.exp(-step * both), values.second
    if family.kind == "counted":
        return values.value, values.second * np.exp(step * both)
    shifted = np.where(values.edges > 0, values.value - step * both, 0.0)
    return shifted, shifted**2


def strength_price(family: Family, values: Values) -> Float[np.ndarray, " unit"]:
    """Nats that one step of log 2 of a unit's strength costs by itself."""
    if family.kind == "scaled":
        return STRENGTH_STEP * values.edges.sum(1)
    if family.kind == "counted":
        return -STRENGTH_STEP * values.value.sum(1)
    return np.zeros(len(values.edges))


def step_in_units(name: str, values: Values) -> float:
    """One level of strength as ``without_strength`` wants it: in the unit of the values."""
    if name == "normal":
        return NORMAL_STEP
    return STRENGTH_STEP / values.unit if name == "lognormal" else STRENGTH_STEP


def best_scale(family: Family | None, m: np.ndarray, x: np.ndarray, q: np.ndarray) -> float:
    """Scale of the prior that describes the values most shortly; sums over pairs of blocks, each once."""
    if family is None:
        return 1.0
    nats = [float(family.nats(m, x, q, scale).sum()) for scale in SCALES]
    return float(SCALES[int(np.argmin(nats))])
