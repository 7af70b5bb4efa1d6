r"""The weighted stochastic block model: what a partition of a weighted graph costs, in nats.

Units i with blocks b_i; only pairs i < j count, each once. An edge is present where the weight is not zero.

    p(edge ij)      = logistic(w_rs + a_i + a_j),     r = b_i, s = b_j,   w_rs standard logistic
    p(weight | edge) = exponential, mean = exp(c_i + c_j) / rate_rs,      rate_rs ~ Gamma(1, scale)

w and the rate are integrated out for each pair of blocks, so nothing is fitted but the partition and, in
the degree-corrected variant, the levels a and c of the units. Plain: a = c = 0, and the two integrals are

    edges    B(m + 1, n - m + 1)                         n pairs, m edges between r and s
    weights  Gamma(1 + m) scale / (scale + x)^(1 + m)    x = sum of their weights

since a standard logistic w means an edge probability uniform on (0, 1). Corrected: the edge integral has no
closed form and is done on a grid to about 1e-12; x sums weight / exp(c_i + c_j). Levels are whole steps of
log 4 (a) and log 2 (c), five of each, and are paid for like labels. Both variants are thus the joint
probability of the graph and everything latent; both sum to one over all graphs; so their difference in nats
compares like with like, and with equal levels it is the constant price of saying so. (The usual correction
for degrees, of Karrer and Newman, is a Poisson limit that puts mass on double edges; motifs are simple and
dense, where the logistic form is exact.)

``scale`` is empirical: the mean weight of all edges, which maximises the evidence of a single block, or
that over 4, 16, ... where this describes the weights of several blocks more shortly. A rate prior that sits
at the mean makes weak blocks expensive, and motifs have weights over orders of magnitude.

Partition (Peixoto 2017, Physical Review E 95, 012317, eqs. 5-7): log N for the number of blocks, uniform
compositions of N into B sizes, uniform partitions with these sizes. Exponential weights with a conjugate
prior: Peixoto (2018), Physical Review E 97, 012306, section III.A. Logistic degrees: the beta model of
Chatterjee, Diaconis and Sly (2011), Annals of Applied Probability 21, eq. 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln

N_LEVELS = 5
NEUTRAL = N_LEVELS // 2
DEGREE_STEP = float(np.log(4.0))  # of the log odds of an edge
STRENGTH_STEP = float(np.log(2.0))  # of the log of a mean weight
STEPS = np.array([[DEGREE_STEP], [STRENGTH_STEP]])
# Weights below this fraction of the largest are the rounding of a factorisation, not edges.
EDGE_FLOOR = 1e-9
SCALES = 4.0 ** -np.arange(6)  # of the mean weight, that the prior of the rates may have
MAX_UNITS = 1000

Matrix = Float[np.ndarray, "unit unit"]
Labels = Int[np.ndarray, "unit"]
Levels = Int[np.ndarray, "2 unit"]


def without_specks(weights: Matrix) -> Matrix:
    """Set weights below ``EDGE_FLOOR`` of the largest to zero."""
    return np.where(weights > EDGE_FLOOR * weights.max(initial=0.0), weights, 0.0)


def mean_edge_weight(weights: Matrix) -> float:
    """Mean of the weights that are not zero, 1 where there is none."""
    n_edges = np.count_nonzero(weights)
    return float(weights.sum() / n_edges) if n_edges else 1.0


def neutral_levels(n_units: int) -> Levels:
    """Levels that correct nothing."""
    return np.full((2, n_units), NEUTRAL, dtype=np.int64)


def effects_of(levels: Levels) -> Float[np.ndarray, "2 unit"]:
    """Log odds of an edge (a) and log mean weight (c) that the levels of a unit add."""
    return (levels - NEUTRAL) * STEPS


def levels_of(effects: Float[np.ndarray, "2 unit"]) -> Levels:
    """Levels that have the given effects."""
    return np.rint(effects / STEPS).astype(np.int64) + NEUTRAL


# ---- sums over pairs of blocks ----------------------------------------------------------------------
def membership(labels: Labels, n_blocks: int | None = None) -> Float[np.ndarray, "unit block"]:
    """One column per block, one where a unit belongs to it."""
    return np.eye(int(labels.max()) + 1 if n_blocks is None else n_blocks)[labels]


def block_sums(values: Matrix, labels: Labels) -> Float[np.ndarray, "block block"]:
    """Sum of ``values`` over the pairs of units between two blocks, each pair once."""
    blocks = membership(labels)
    sums = blocks.T @ values @ blocks
    return sums - np.diag(np.diag(sums)) / 2


def pair_counts(labels: Labels) -> Float[np.ndarray, "block block"]:
    """Number of pairs of units between two blocks."""
    sizes = np.bincount(labels).astype(float)
    return np.outer(sizes, sizes) - np.diag(sizes * (sizes + 1) / 2)


def level_pair_counts(labels: Labels, levels: Labels) -> Float[np.ndarray, "block block total"]:
    """Number of pairs of units between two blocks by the sum of their levels."""
    both = membership(labels)[:, :, None] * np.eye(N_LEVELS)[levels][:, None, :]
    counts = both.sum(0)
    pairs = np.zeros((counts.shape[0], counts.shape[0], 2 * N_LEVELS - 1))
    for low in range(N_LEVELS):
        for high in range(N_LEVELS):
            pairs[:, :, low + high] += np.outer(counts[:, low], counts[:, high])
    for block, sizes in enumerate(counts):
        pairs[block, block, ::2] -= sizes
        pairs[block, block] /= 2
    return pairs


# ---- what each part costs ---------------------------------------------------------------------------
def edge_nats(n_pairs: np.ndarray, n_edges: np.ndarray) -> np.ndarray:
    """Edges of pairs of blocks whose edge probability is uniform a priori: -log Beta(m + 1, n - m + 1)."""
    return gammaln(n_pairs + 2) - gammaln(n_edges + 1) - gammaln(n_pairs - n_edges + 1)


def corrected_edge_nats(pairs: Float[np.ndarray, "*batch total"], n_edges: np.ndarray) -> np.ndarray:
    """Edges of pairs of blocks whose units differ in degree level, without the levels' own factor.

    Minus log of the integral of logistic'(w) exp(m w) / prod_ij (1 + exp(w + a_i + a_j)). The trapezoid
    rule converges geometrically on this analytic, bell-shaped integrand; ``pairs[..., t]`` counts pairs
    whose levels sum to t.
    """
    n_most = float(pairs.sum(-1).max(initial=1.0))
    step = min(0.1, 1.0 / np.sqrt(n_most + 2))
    grid = np.arange(-40.0, 40.0 + step, step)
    shift = (np.arange(2 * N_LEVELS - 1) - 2 * NEUTRAL) * DEGREE_STEP
    softplus = np.logaddexp(0.0, grid + shift[:, None])
    log_density = grid - 2 * np.logaddexp(0.0, grid)
    exponent = n_edges[..., None] * grid - pairs @ softplus + log_density
    top = exponent.max(-1)
    return -(top + np.log(np.exp(exponent - top[..., None]).sum(-1) * step))


def weight_nats(n_edges: np.ndarray, weight_sum: np.ndarray, scale: float) -> np.ndarray:
    """Exponential weights of m edges with rate ~ Gamma(1, scale) integrated out."""
    return (n_edges + 1) * np.log1p(weight_sum / scale) + n_edges * np.log(scale) - gammaln(n_edges + 1)


def best_scale(n_edges: np.ndarray, weight_sum: np.ndarray, mean_weight: float) -> float:
    """Scale of the rates' prior that describes the weights most shortly; sums over pairs of blocks, once."""
    nats = [weight_nats(n_edges, weight_sum, mean_weight * scale).sum() for scale in SCALES]
    return float(mean_weight * SCALES[int(np.argmin(nats))])


def grouping_nats(sizes: np.ndarray, n_choices: int) -> float:
    """Nats to say which unit is in which group: the number of groups, their sizes, their members."""
    n_units, n_groups = sizes.sum(), sizes.size
    ways = gammaln(n_units) - gammaln(n_groups) - gammaln(n_units - n_groups + 1)
    return float(np.log(n_choices) + ways + gammaln(n_units + 1) - gammaln(sizes + 1).sum())


def level_nats(levels: Labels) -> float:
    """Nats to say which unit has which level: as for groups, and which of the levels are in use."""
    sizes = np.bincount(levels)
    sizes = sizes[sizes > 0]
    n_used = sizes.size
    which = gammaln(N_LEVELS + 1) - gammaln(n_used + 1) - gammaln(N_LEVELS - n_used + 1)
    return grouping_nats(sizes, N_LEVELS) + float(which)


def description_parts(weights: Matrix, labels: Labels, levels: Levels | None = None) -> dict[str, float]:
    """Nats of edges, weights, partition and levels; with ``levels`` the degree-corrected variant.

    ``labels`` are 0 .. B - 1, all in use; entries of ``weights`` that are not zero are edges.
    """
    edges = (weights > 0).astype(float)
    n_edges = block_sums(edges, labels)
    upper = np.triu_indices(n_edges.shape[0])
    parts = {"partition": grouping_nats(np.bincount(labels), labels.size)}
    if levels is None:
        scaled, free = weights, 0.0
        parts["edges"] = float(edge_nats(pair_counts(labels), n_edges)[upper].sum())
    else:
        degree_level, strength_level = effects_of(levels)
        degree = edges.sum(1)
        scaled = weights * np.exp(-strength_level[:, None] - strength_level)
        pairs = level_pair_counts(labels, levels[0])
        nats = corrected_edge_nats(pairs[upper], n_edges[upper])
        parts["edges"] = float(nats.sum() - degree @ degree_level)
        parts["levels"] = level_nats(levels[0]) + level_nats(levels[1])
        free = float(degree @ strength_level)
    sums = n_edges[upper], block_sums(scaled, labels)[upper]
    parts["weights"] = float(weight_nats(*sums, best_scale(*sums, mean_edge_weight(weights))).sum()) + free
    return parts


def description_length(weights: Matrix, labels: Labels, levels: Levels | None = None) -> float:
    """Minus log of the joint probability of graph, partition and levels, in nats."""
    return sum(description_parts(weights, labels, levels).values())


def null_description_length(weights: Matrix) -> float:
    """Description length with all units in one block."""
    return description_length(weights, np.zeros(weights.shape[0], dtype=np.int64))


def by_size(labels: Labels) -> Labels:
    """Number blocks largest first; of equal ones, that of the lowest unit first."""
    values, first, inverse, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.empty(values.size, dtype=np.int64)
    rank[np.lexsort((first, -sizes))] = np.arange(values.size)
    return rank[inverse]


# ---- what a fitted partition says of a graph ----------------------------------------------------------
@dataclass(frozen=True)
class Evidence:
    """What the posterior of a fitted partition rests on: sums over pairs of blocks.

    ``levels`` is None for the plain variant.
    """

    labels: Labels
    levels: Levels | None
    n_edges: Float[np.ndarray, "block block"]
    weight_sum: Float[np.ndarray, "block block"]
    scale: float


def evidence_of(weights: Matrix, labels: Labels, levels: Levels | None = None) -> Evidence:
    """Sums of a graph over the pairs of blocks of a partition; weights are divided by units' strengths."""
    n_edges = block_sums((weights > 0).astype(float), labels)
    sums = block_sums(weights / np.exp(pair_effects(labels.size, levels)[1]), labels)
    upper = np.triu_indices(len(sums))
    scale = best_scale(n_edges[upper], sums[upper], mean_edge_weight(weights))
    return Evidence(labels, levels, n_edges, sums, scale)


def pair_effects(n_units: int, levels: Levels | None) -> Float[np.ndarray, "2 unit unit"]:
    """Log odds of an edge (0) and log mean weight (1) that the levels of both units add."""
    effects = effects_of(neutral_levels(n_units) if levels is None else levels)
    return effects[:, :, None] + effects[:, None, :]


def predictive_log_prob(known: Evidence, weights: Matrix) -> float:
    """Log probability, in nats, of a new graph given the one that was fitted.

    Ratio of collapsed likelihoods: of both graphs together over that of the first.
    """
    new = evidence_of(weights, known.labels, known.levels)
    upper = np.triu_indices(known.n_edges.shape[0])
    old_m, old_x = known.n_edges[upper], known.weight_sum[upper]
    m, x = old_m + new.n_edges[upper], old_x + new.weight_sum[upper]
    nats = weight_nats(m, x, known.scale) - weight_nats(old_m, old_x, known.scale)
    if known.levels is None:
        n = pair_counts(known.labels)[upper]
        nats = nats + edge_nats(2 * n, m) - edge_nats(n, old_m)
    else:
        pairs = level_pair_counts(known.labels, known.levels[0])[upper]
        nats = nats + corrected_edge_nats(2 * pairs, m) - corrected_edge_nats(pairs, old_m)
    degree, strength = np.where(weights > 0, pair_effects(known.labels.size, known.levels), 0.0)
    return float(-nats.sum() + np.triu(degree - strength, 1).sum())


def expected_weight(known: Evidence) -> Matrix:
    """Weight expected of each pair: probability of an edge times its mean weight, zero on the diagonal.

    The probability is the posterior mean; the mean weight is that at the posterior mean of the rate,
    (scale + x) / (1 + m), since the mean over the posterior is infinite for a pair of blocks without edges.
    """
    rows = known.labels[:, None], known.labels[None, :]
    mean = ((known.scale + known.weight_sum) / (1 + known.n_edges))[rows]
    strength = np.exp(pair_effects(known.labels.size, known.levels)[1])
    chance = edge_probability(known)
    return chance * mean * strength * (1 - np.eye(known.labels.size))


def edge_probability(known: Evidence) -> Matrix:
    """Posterior mean probability of an edge for each pair of units."""
    rows = known.labels[:, None], known.labels[None, :]
    if known.levels is None:
        return ((known.n_edges + 1) / (pair_counts(known.labels) + 2))[rows]
    pairs = level_pair_counts(known.labels, known.levels[0])
    before = corrected_edge_nats(pairs, known.n_edges)
    totals = np.arange(2 * N_LEVELS - 1)
    one_more = pairs[:, :, None, :] + np.eye(totals.size)
    after = corrected_edge_nats(one_more, np.repeat(known.n_edges[:, :, None] + 1, totals.size, axis=2))
    chance = np.exp(before[:, :, None] - after + (totals - 2 * NEUTRAL) * DEGREE_STEP)
    return chance[(*rows, known.levels[0][:, None] + known.levels[0][None, :])]
