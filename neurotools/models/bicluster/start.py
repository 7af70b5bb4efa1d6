"""Where a chain begins: far apart for different chains, yet near enough to the counts to go on from there."""

from __future__ import annotations

import numpy as np

from neurotools.numerics import bicluster, stickyhdp
from neurotools.numerics.bicluster import Counts, Draw, Prior

SMOOTH_BINS = 5  # of counts before their correlations
FIRST_STATES = 6
SEGMENTS = 24  # of time, each given a state at random
FIRST_DISPERSION = 5.0


def first_draw(rng: np.random.Generator, data: Counts, prior: Prior) -> Draw:
    """Clusters by correlation, paths by the launch law of each, states in segments at random."""
    n, n_time = data.y.shape
    m = prior.n_latent + 1
    state = random_segments(rng, n_time, min(prior.n_states, FIRST_STATES))
    few = max(1, round(n**0.5))
    n_clusters = int(rng.integers(few, 2 * few + 1))
    cluster = by_correlation(rng, data, min(n_clusters, n))
    dispersion = np.full(n, np.inf if prior.poisson else FIRST_DISPERSION)
    chain = stickyhdp.draw_prior(rng, prior.n_states, prior.chain)
    moves = stickyhdp.count_transitions(state, data.start, prior.n_states)
    draw = Draw(
        cluster=cluster,
        theta=np.zeros((n, m)),
        dispersion=dispersion,
        latent=np.zeros((int(cluster.max()) + 1, n_time, m)),
        state=state,
        chain=stickyhdp.update(rng, chain, moves, prior.chain),
    )
    launch_paths(draw, data, prior)
    bicluster.draw_units(rng, draw, data, prior)
    return draw


def launch_paths(draw: Draw, data: Counts, prior: Prior) -> None:
    """Paths at the mean of their launch laws, units at the mode given them."""
    from neurotools.numerics.kernels.numba_bilatents import launch
    from neurotools.numerics.kernels.numba_biunits import fit_unit

    m = draw.theta.shape[1]
    low = np.empty((m, m))
    for c in range(draw.n_clusters):
        units = np.flatnonzero(draw.cluster == c)
        mean, ok = launch(
            data.y, data.seen, draw.dispersion, units, draw.state, data.start, prior.n_states,
            prior.unit_precision, prior.initial_sd, prior.column_precision, prior.noise_scale,
        )  # fmt: skip
        if ok:
            draw.latent[c] = mean
        for i in units:
            fit_unit(
                data.y[i], data.seen[i], draw.dispersion[i], draw.latent[c], prior.unit_precision,
                draw.theta[i], low,
            )  # fmt: skip


def random_segments(rng: np.random.Generator, n_time: int, n_states: int) -> np.ndarray:
    """A sequence of states that each hold for a while."""
    n = max(1, min(SEGMENTS, n_time // 4))
    edges = np.sort(rng.choice(np.arange(1, max(n_time, 2)), size=min(n, n_time - 1), replace=False))
    segment = np.searchsorted(edges, np.arange(n_time), side="right")
    return rng.integers(n_states, size=edges.size + 1)[segment].astype("int64")


def by_correlation(rng: np.random.Generator, data: Counts, n_clusters: int) -> np.ndarray:
    """Clusters of units whose smoothed counts rise or fall together, as labels in order of first appearance."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.ndimage import uniform_filter1d

    n = data.y.shape[0]
    if n == 1 or n_clusters == 1:
        return np.zeros(n, dtype="int64")
    root = np.sqrt(np.where(data.seen, data.y, 0) + 0.375)
    root = np.where(
        data.seen,
        root,
        (root * data.seen).sum(1, keepdims=True) / np.maximum(data.seen.sum(1, keepdims=True), 1),
    )
    smooth = uniform_filter1d(root, SMOOTH_BINS, axis=1)
    smooth = smooth - smooth.mean(axis=1, keepdims=True) + 1e-6 * rng.standard_normal(smooth.shape)
    correlation = np.corrcoef(smooth)
    distance = 1 - np.abs(correlation[np.triu_indices(n, 1)])
    label = fcluster(linkage(distance, "average"), n_clusters, criterion="maxclust")
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype("int64")
