"""Where a fit of a switching GLM begins: windows of the data that want the same weights, or chance.

The one-state model is wrong in another direction in each state. So each short window is described by the
slopes of its log likelihood at the one-state weights, in standard deviations, and windows are grouped by
k-means on the leading components of these. Every fourth start is drawn at random, for states that come and go
faster than a window shows.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from neurotools.arrays import like, namespace, to_numpy
from neurotools.numerics import glm, switching
from neurotools.numerics.switching_terms import chunks, terms

WIDTHS = (40, 20, 80)  # samples of a window, in turn
MOST_WINDOWS = 1500
N_COMPONENTS = 10
SURE = 0.8  # probability of the state that a window was put into
KMEANS_STEPS = 50
KMEANS_STARTS = 5
FIRST_STEPS = 2  # of the weights, from the one-state model


def start(
    base: switching.Params,
    problem: switching.Problem,
    n_state: int,
    spread: Float[np.ndarray, "column 1"],
    seed: tuple[int, int],
) -> switching.Params:
    """Start number ``seed[1]``, the same whatever the number of starts."""
    turn = seed[1] % (len(WIDTHS) + 1)
    edges = [] if turn == len(WIDTHS) else windows(problem.start, WIDTHS[turn])
    chance = switching.random_start(base, n_state, spread, seed)
    if n_state == 1 or len(edges) < 2 * n_state:
        return chance
    rng = np.random.default_rng(seed)
    label = grouped(components(window_slopes(base, problem, edges)), n_state, rng)
    state_prob = np.full((problem.start.size, n_state), (1 - SURE) / (n_state - 1))
    for (begin, stop), k in zip(edges, label, strict=True):
        state_prob[begin:stop, k] = SURE
    xp = namespace(base.weights)
    shape = (n_state, *base.centre.shape)
    params = replace(chance, weights=xp.broadcast_to(base.weights, shape) + 0.0)
    for _ in range(FIRST_STEPS):
        params, _ = switching.weights_step(params, like(state_prob, base.weights), problem)
    return params


def windows(start_: Bool[np.ndarray, " time"], width: int) -> list[tuple[int, int]]:
    """Ranges of samples of about one width; none crosses the edge of a session."""
    width = max(width, start_.size // MOST_WINDOWS)
    edges = [*np.flatnonzero(start_).tolist(), start_.size]
    found = []
    for begin, stop in itertools.pairwise(edges):
        cuts = np.linspace(begin, stop, max(1, round((stop - begin) / width)) + 1).astype(int)
        found += list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))
    return found


def window_slopes(
    base: switching.Params, problem: switching.Problem, edges: list[tuple[int, int]]
) -> Float[np.ndarray, "window slope"]:
    """Slopes of the log likelihood of each window by every weight, over their standard deviations."""
    family = glm.FAMILIES[problem.family]
    slopes, information = [], []
    for begin, stop in chunks(problem.x):
        part = terms(base, problem, begin, stop)
        weight = part.observed(part.slope / family.variance(part.mean, part.scale))
        slopes.append(to_numpy(weight * (part.y - part.mean))[:, 0])
        information.append(to_numpy(weight * part.slope)[:, 0])
    x, slope, info = to_numpy(problem.x), np.concatenate(slopes), np.concatenate(information)
    return np.stack(
        [
            ((x[a:b].T @ slope[a:b]) / np.sqrt((x[a:b] ** 2).T @ info[a:b] + 1.0)).ravel()
            for a, b in edges
        ]
    )  # fmt: skip


def components(rows: Float[np.ndarray, "window slope"]) -> Float[np.ndarray, "window component"]:
    """Coordinates of the rows along their leading principal components."""
    centred = rows - rows.mean(axis=0)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    n = min(N_COMPONENTS, rows.shape[1])
    return vectors[:, -n:] * np.sqrt(np.maximum(values[-n:], 0.0))


def grouped(
    rows: Float[np.ndarray, "row component"], n_group: int, rng: np.random.Generator
) -> Int[np.ndarray, " row"]:
    """Group of each row by k-means, the best of a few draws of far-apart centres.

    Lloyd (1982), IEEE Transactions on Information Theory 28, 129-137; starts as in Arthur and Vassilvitskii
    (2007), SODA, 1027-1035.
    """
    runs = [_lloyd(rows, _far_apart(rows, n_group, rng)) for _ in range(KMEANS_STARTS)]
    return min(runs, key=lambda run: run[1])[0]


def _far_apart(rows: np.ndarray, n_group: int, rng: np.random.Generator) -> np.ndarray:
    centres = [rows[rng.integers(len(rows))]]
    for _ in range(n_group - 1):
        far = np.min([((rows - centre) ** 2).sum(axis=1) for centre in centres], axis=0)
        even = np.full(len(rows), 1 / len(rows))
        centres.append(rows[rng.choice(len(rows), p=far / far.sum() if far.sum() > 0 else even)])
    return np.array(centres)


def _lloyd(rows: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, float]:
    label = np.full(len(rows), -1)
    for _ in range(KMEANS_STEPS):
        distance = ((rows[:, None] - centres) ** 2).sum(axis=2)
        new = distance.argmin(axis=1)
        if (new == label).all():
            break
        label = new
        for k in np.unique(label):
            centres[k] = rows[label == k].mean(axis=0)
    return label, float(distance.min(axis=1).sum())
