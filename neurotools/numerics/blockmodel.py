r"""The weighted stochastic block model: what a partition of a weighted graph costs, in nats.

Units i with blocks b_i; only pairs i < j count, each once. An edge is present where the weight is not zero.

    p(edge ij)      = logistic(w_rs + a_i + a_j),     r = b_i, s = b_j,   w_rs standard logistic
    p(weight | edge) = of a family (``blockweights``), with parameters of the pair r, s and strengths c_i, c_j

w and the parameters are integrated out for each pair of blocks, so nothing is fitted but the partition and,
in the degree-corrected variant, the levels a and c of the units. Plain: a = c = 0, and the edges cost

    -log B(m + 1, n - m + 1)      n pairs, m edges between r and s

since a standard logistic w means an edge probability uniform on (0, 1). Corrected: the edge integral has no
closed form and is done on a grid to about 1e-12. Levels are whole steps of log 4 (a) and log 2 (c), five of
each, and are paid for like labels. Both variants are thus the joint probability of the graph and everything
latent; both sum to one over all graphs; so their difference in nats compares like with like, and with equal
levels it is the constant price of saying so. (The usual correction for degrees, of Karrer and Newman, is a
Poisson limit that puts mass on double edges; motifs are simple and dense, where the logistic form is exact.)

Several graphs on the same units (layers) may share one partition and one set of levels; every layer has its
own edges and weights between every two blocks, and costs are summed.

Partition (Peixoto 2017, Physical Review E 95, 012317, eqs. 5-7): log N for the number of blocks, uniform
compositions of N into B sizes, uniform partitions with these sizes. Logistic degrees: the beta model of
Chatterjee, Diaconis and Sly (2011), Annals of Applied Probability 21, eq. 1.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln

from neurotools.numerics import blockweights
from neurotools.numerics.blockweights import FAMILIES, Values

N_LEVELS = 5
NEUTRAL = N_LEVELS // 2
DEGREE_STEP = float(np.log(4.0))  # of the log odds of an edge
# Weights below this fraction of the largest are the rounding of a factorisation, not edges.
EDGE_FLOOR = 1e-9
MAX_UNITS = 1000

Matrix = Float[np.ndarray, "unit unit"]
Layers = Float[np.ndarray, "*layer unit unit"]
Labels = Int[np.ndarray, "unit"]
Levels = Int[np.ndarray, "2 unit"]


def without_specks(weights: Matrix) -> Matrix:
    """Set weights below ``EDGE_FLOOR`` of the largest to zero."""
    size = np.abs(weights)
    return np.where(size > EDGE_FLOOR * size.max(initial=0.0), weights, 0.0)


def neutral_levels(n_units: int) -> Levels:
    """Levels that correct nothing."""
    return np.full((2, n_units), NEUTRAL, dtype=np.int64)


def effects_of(levels: Levels, strength_step: float) -> Float[np.ndarray, "2 unit"]:
    """Log odds of an edge (a) and strength (c) that the levels of a unit add."""
    return (levels - NEUTRAL) * np.array([[DEGREE_STEP], [strength_step]])


def levels_of(effects: Float[np.ndarray, "2 unit"], strength_step: float) -> Levels:
    """Levels that have the given effects."""
    steps = np.array([[DEGREE_STEP], [strength_step]])
    return np.rint(effects / steps).astype(np.int64) + NEUTRAL


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


def level_prices(levels: Levels, every_pair: bool) -> float:
    """Nats to say which unit has which levels; degree levels mean nothing where every pair counts."""
    return level_nats(levels[1]) + (0.0 if every_pair else level_nats(levels[0]))


def block_sums_of(
    values: Values, labels: Labels, levels: Levels | None, family: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges, values and second statistic between every two blocks, strengths taken out."""
    value, second = values.value, values.second
    if levels is not None:
        step = blockweights.step_in_units(family, values)
        value, second = blockweights.without_strength(FAMILIES[family], values, levels[1] - NEUTRAL, step)
    return tuple(block_sums(one, labels) for one in (values.edges, value, second))  # type: ignore[return-value]


def edge_parts(edges: Matrix, labels: Labels, levels: Levels | None) -> Float[np.ndarray, " pair"]:
    """Nats of the edges between every two blocks, each pair of blocks once, without what levels do alone."""
    n_edges = block_sums(edges, labels)
    upper = np.triu_indices(n_edges.shape[0])
    if levels is None:
        return edge_nats(pair_counts(labels), n_edges)[upper]
    return corrected_edge_nats(level_pair_counts(labels, levels[0])[upper], n_edges[upper])


def description_parts(
    weights: Layers, labels: Labels, levels: Levels | None = None, family: str = "exponential"
) -> dict[str, float]:
    """Nats of edges, weights, partition and levels; with ``levels`` the degree-corrected variant.

    ``weights`` is (unit, unit) or (layer, unit, unit); ``labels`` are 0 .. B - 1, all in use.
    """
    of = FAMILIES[family]
    layers = [of.standardise(one) for one in weights.reshape(-1, *weights.shape[-2:])]
    parts = {"partition": grouping_nats(np.bincount(labels), labels.size), "edges": 0.0, "weights": 0.0}
    if levels is not None:
        parts["levels"] = level_prices(levels, of.every_pair)
    upper = np.triu_indices(int(labels.max()) + 1)
    for values in layers:
        sums = [one[upper] for one in block_sums_of(values, labels, levels, family)]
        scale = blockweights.best_scale(of, *sums)  # type: ignore[arg-type]
        parts["weights"] += values.free + float(of.nats(*sums, scale).sum())  # type: ignore[call-arg, arg-type]
        if levels is not None:
            parts["weights"] += float((levels[1] - NEUTRAL) @ blockweights.strength_price(of, values))
        if not of.every_pair:
            parts["edges"] += float(edge_parts(values.edges, labels, levels).sum())
            if levels is not None:
                parts["edges"] -= DEGREE_STEP * float(values.edges.sum(1) @ (levels[0] - NEUTRAL))
    return parts


def description_length(
    weights: Layers, labels: Labels, levels: Levels | None = None, family: str = "exponential"
) -> float:
    """Minus log of the joint probability of graph, partition and levels, in nats."""
    return sum(description_parts(weights, labels, levels, family).values())


def null_description_length(weights: Layers, family: str = "exponential") -> float:
    """Description length with all units in one block."""
    return description_length(weights, np.zeros(weights.shape[-1], dtype=np.int64), None, family)


def by_size(labels: Labels) -> Labels:
    """Number blocks largest first; of equal ones, that of the lowest unit first."""
    values, first, inverse, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.empty(values.size, dtype=np.int64)
    rank[np.lexsort((first, -sizes))] = np.arange(values.size)
    return rank[inverse]
