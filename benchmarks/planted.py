"""Data whose truth is known: tensors from known factors, graphs with known blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


# ---- tensors ------------------------------------------------------------------------------------------
def symmetric_tensor(
    n_units: int = 200, n_time: int = 300, rank: int = 10, noise: float = 0.1, seed: int = 20261121
) -> tuple[np.ndarray, list[np.ndarray]]:
    """X[i, j, t] ~ sum_r a_r[i] a_r[j] c_r[t] with noise cut at zero, and the factors (component, entry).

    A third of the units takes part in each component; time courses are a few bumps. ``noise`` is the norm
    of the noise over that of the signal, before the cut.
    """
    rng = np.random.default_rng(seed)
    loading = rng.gamma(2.0, size=(rank, n_units)) * (rng.random((rank, n_units)) < 0.35)
    time = bumps(rng, rank, n_time)
    x = np.einsum("rij,rt->ijt", loading[:, :, None] * loading[:, None, :], time, optimize=True)
    error = rng.normal(size=x.shape)
    error += error.swapaxes(0, 1)
    x = np.maximum(x + noise * np.linalg.norm(x) / np.linalg.norm(error) * error, 0.0)
    return x, [loading, loading, time]


def bumps(rng: np.random.Generator, rank: int, n_time: int) -> np.ndarray:
    """Time courses (component, time) of three bumps each."""
    peaks = rng.uniform(0, n_time, (rank, 3, 1))
    return np.exp(-0.5 * ((np.arange(n_time) - peaks) / (0.04 * n_time)) ** 2).sum(axis=1)


def pair_tensor(
    seed: int,
    *,
    outer: bool,
    hidden: float,
    n_units: int = 20,
    n_subjects: int = 6,
    n_time: int = 50,
    rank: int = 5,
    noise: float = 0.1,
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Affinities (subject, unit, unit_to, time), which units were seen, and the factors.

    ``outer`` makes every motif an outer product; else motifs are sparse symmetric matrices of any rank.
    ``hidden`` is the share of (subject, unit) rows that are missing: NaN.
    """
    rng = np.random.default_rng(seed)
    if outer:
        loading = rng.uniform(0.3, 1, (rank, n_units)) * (rng.random((rank, n_units)) < 0.5)
        motif = loading[:, :, None] * loading[:, None, :]
    else:
        shape = (rank, n_units, n_units)
        motif = np.triu(rng.gamma(1.0, size=shape) * (rng.random(shape) < 0.4), 1)
        motif = motif + motif.swapaxes(1, 2)
    motif = motif * (1 - np.eye(n_units))
    subject, time = rng.uniform(0.2, 1, (rank, n_subjects)), bumps(rng, rank, n_time)
    x = np.einsum("rij,rw,rt->wijt", motif, subject, time)
    error = rng.normal(size=x.shape)
    error = (error + error.swapaxes(1, 2)) * (1 - np.eye(n_units))[:, :, None]
    x = np.maximum(x + noise * np.linalg.norm(x) / np.linalg.norm(error) * error, 0.0)
    seen = _seen(rng, n_subjects, n_units, hidden)
    both = seen[:, :, None] & seen[:, None, :]
    return np.where(both[..., None], x, np.nan), seen, [motif.reshape(rank, -1), subject, time]


def _seen(rng: np.random.Generator, n_subjects: int, n_units: int, hidden: float) -> np.ndarray:
    """Which subject shows which unit; drawn again until every two units are seen together somewhere."""
    while True:
        seen = rng.random((n_subjects, n_units)) >= hidden
        if (seen.T.astype(int) @ seen.astype(int) > 0).all():
            return seen


def congruences(found: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> np.ndarray:
    """Cosine of every true component (component, entry per mode) with the found one that is matched to it."""
    from scipy.optimize import linear_sum_assignment

    total = np.ones((len(truth[0]), len(found[0])))
    for there, here in zip(truth, found, strict=True):
        lengths = np.linalg.norm(there, axis=1)[:, None] * np.linalg.norm(here, axis=1)
        total = total * (there @ here.T) / np.where(lengths > 0, lengths, 1.0)
    rows, columns = linear_sum_assignment(total, maximize=True)
    return total[rows, columns]


# ---- graphs -------------------------------------------------------------------------------------------
def block_graph(
    rng: np.random.Generator, labels: np.ndarray, edge_probability: np.ndarray, mean_weight: np.ndarray
) -> np.ndarray:
    """Symmetric weights: an edge with the probability, an exponential weight with the mean, of its blocks."""
    pair = np.ix_(labels, labels)
    present = rng.random(edge_probability[pair].shape) < edge_probability[pair]
    weights = np.triu(np.where(present, rng.exponential(size=present.shape) * mean_weight[pair], 0.0), 1)
    return weights + weights.T


def five_blocks(n_units: int = 125) -> np.ndarray:
    """Labels of five blocks of equal size."""
    return np.arange(n_units) * 5 // n_units


def assortative(rng: np.random.Generator, n_units: int = 125) -> np.ndarray:
    """Edge probability .5 inside five blocks and .1 between, weights of mean 1 everywhere."""
    inside = np.eye(5)
    return block_graph(rng, five_blocks(n_units), 0.1 + 0.4 * inside, np.ones((5, 5)))


# Drawn once, default_rng(20261121).choice([.25, .5, 1, 2, 4], 15), and laid above the diagonal row by row.
MEANS = np.array(
    [
        [0.5, 2.0, 4.0, 4.0, 4.0],
        [2.0, 2.0, 4.0, 4.0, 2.0],
        [4.0, 4.0, 1.0, 0.25, 0.25],
        [4.0, 4.0, 0.25, 0.5, 1.0],
        [4.0, 2.0, 0.25, 1.0, 2.0],
    ]
)


def weights_only(rng: np.random.Generator, n_units: int = 125) -> np.ndarray:
    """Edge probability .3 everywhere; only the mean weight, ``MEANS``, depends on the two blocks."""
    return block_graph(rng, five_blocks(n_units), np.full((5, 5), 0.3), MEANS)


def no_blocks(rng: np.random.Generator, n_units: int = 125, edge_probability: float = 0.3) -> np.ndarray:
    """Erdos-Renyi graph with exponential weights of mean 1."""
    alone = np.zeros(n_units, dtype=int)
    return block_graph(rng, alone, np.full((1, 1), edge_probability), np.ones((1, 1)))
