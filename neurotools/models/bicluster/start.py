"""Where a chain begins: near the counts, and apart from other chains.

Units are grouped by correlation into a random number of clusters and regrouped by the paths of these;
stretches of time are given states at random.
"""

from __future__ import annotations

import numpy as np

from neurotools.numerics import bicluster, stickyhdp
from neurotools.numerics.bicluster import Counts, Draw, Prior

SMOOTH_BINS = 5  # of counts before their correlations
STRETCHES = 24  # of time that are given a state
SHORTEST = 6  # bins of such a stretch
FIRST_DISPERSION = 5.0
REGROUPINGS = 3
FIRST_STATES = 4


def first_draw(rng: np.random.Generator, data: Counts, prior: Prior) -> Draw:
    """Clusters by correlation, paths by the counts, states at random."""
    n, n_time = data.y.shape
    m = prior.n_latent + 1
    n_clusters = int(rng.integers(2, max(3, round(n**0.5)) + 1))
    cluster = by_correlation(rng, data, min(n_clusters, n))
    chain = stickyhdp.draw_prior(rng, prior.n_states, prior.chain)
    draw = Draw(
        cluster=cluster,
        theta=np.zeros((n, m)),
        dispersion=np.full(n, np.inf if prior.poisson else FIRST_DISPERSION),
        latent=np.zeros((int(cluster.max()) + 1, n_time, m)),
        state=np.zeros(n_time, dtype="int64"),
        chain=chain,
    )
    place_paths(draw, data, prior)
    for _ in range(REGROUPINGS):
        regroup(draw, data, prior)
    draw.state = random_segments(rng, n_time, min(prior.n_states, FIRST_STATES))
    bicluster.draw_chain(rng, draw, data, prior)
    return draw


# ---- clusters -------------------------------------------------------------------------------------------
def by_correlation(rng: np.random.Generator, data: Counts, n_clusters: int) -> np.ndarray:
    """Spectral clusters of units whose smoothed counts rise or fall together, as labels from 0."""
    from scipy.ndimage import uniform_filter1d
    from sklearn.cluster import SpectralClustering

    n = data.y.shape[0]
    if n_clusters >= n or n_clusters == 1:
        return np.arange(n, dtype="int64") % n_clusters
    root = np.sqrt(np.where(data.seen, data.y, 0) + 0.375)
    mean = (root * data.seen).sum(1, keepdims=True) / np.maximum(data.seen.sum(1, keepdims=True), 1)
    smooth = uniform_filter1d(np.where(data.seen, root, mean), SMOOTH_BINS, axis=1)
    smooth = smooth - smooth.mean(axis=1, keepdims=True)
    smooth += 0.1 * max(smooth.std(), 1e-6) * rng.standard_normal(smooth.shape)
    near = np.abs(np.corrcoef(smooth)) + 1e-3
    spectral = SpectralClustering(
        n_clusters, affinity="precomputed", assign_labels="cluster_qr", random_state=int(rng.integers(2**31))
    )
    return np.unique(spectral.fit_predict(near), return_inverse=True)[1].astype("int64")


def launched(draw: Draw, data: Counts, prior: Prior, units: np.ndarray) -> np.ndarray:
    """A path of one cluster of some units, by their counts; their parameters go to the mode."""
    from neurotools.numerics.kernels.numba_bilatents import launch
    from neurotools.numerics.kernels.numba_biunits import fit_unit

    path, ok = launch(
        data.y, data.seen, draw.dispersion, units, draw.state, data.start, prior.n_states,
        prior.unit_precision, prior.initial_sd, prior.column_precision, prior.noise_scale,
    )  # fmt: skip
    path = path if ok else np.zeros_like(path)
    scratch = np.empty((path.shape[1], path.shape[1]))
    for i in units:
        fit_unit(
            data.y[i], data.seen[i], draw.dispersion[i], path, prior.unit_precision, draw.theta[i], scratch
        )
    return path


def place_paths(draw: Draw, data: Counts, prior: Prior) -> None:
    """Paths and units' parameters as the counts of each cluster have them."""
    _, draw.cluster = np.unique(draw.cluster, return_inverse=True)
    n_clusters = int(draw.cluster.max()) + 1
    paths = [launched(draw, data, prior, np.flatnonzero(draw.cluster == c)) for c in range(n_clusters)]
    draw.latent = np.stack(paths)


def regroup(draw: Draw, data: Counts, prior: Prior) -> None:
    """Each unit to the cluster on whose path its counts are most probable."""
    from neurotools.numerics.kernels.numba_biunits import fit_unit

    m = prior.n_latent + 1
    centre, low = np.empty(m), np.empty((m, m))
    for i in range(draw.cluster.size):
        given = (data.y[i], data.seen[i], draw.dispersion[i])
        evidence = [fit_unit(*given, path, prior.unit_precision, centre, low) for path in draw.latent]
        draw.cluster[i] = int(np.argmax(evidence))
    place_paths(draw, data, prior)


# ---- states -----------------------------------------------------------------------------------------------
def random_segments(rng: np.random.Generator, n_time: int, n_states: int) -> np.ndarray:
    """A sequence of states that each hold for a while."""
    n = max(1, min(STRETCHES, n_time // SHORTEST))
    edges = np.sort(rng.choice(np.arange(1, n_time), size=n - 1, replace=False))
    stretch = np.searchsorted(edges, np.arange(n_time), side="right")
    return rng.integers(n_states, size=n)[stretch].astype("int64")
