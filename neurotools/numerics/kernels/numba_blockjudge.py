"""Compiled judgement of the block model: what the unit in hand would cost in each place, at each level.

Plain: exact. Corrected: from the Gaussian that each integrand over log odds nearly is.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from neurotools.numerics.blockmodel import N_LEVELS, NEUTRAL
from neurotools.numerics.kernels.numba_blockterms import (
    ABSENT,
    BEND,
    EDGE,
    EXPECTED,
    GRID,
    GRID_PER_STEP,
    MODE,
    SECOND,
    TABLE_REACH,
    VALUE,
    count_cost,
    expected_cost,
    inner,
    level_cost,
    n_cells,
    once,
    shifted,
    value_cost,
)

MARGIN = 10.0  # nats by which a place may fall behind before other levels are tried there


@inner
@no_type_check
def judge_edges(state, graph, layer, r, level):
    """Nats that the edges in hand would cost in block r, at one degree level.

    Plain: exact. Corrected: each integrand is taken for a Gaussian with its mode and bend, and the factor
    that the unit brings is expanded to second order around the mode of both.
    """
    change = 0.0
    if graph.prior == ABSENT:
        return change
    for s in range(state.sizes[-1] + (r == state.sizes[-1] and state.hand[layer] > 0)):
        same = r == s
        d = state.rows[EDGE, layer, s] + (state.hand[layer] if same else 0.0)
        m = state.sums[EDGE, layer, r, s]
        n = n_cells(graph, state.sizes[r], state.sizes[s], same)
        further = n_cells(graph, state.sizes[r] + 1, state.sizes[s] + same, same)
        if not graph.corrected:
            change += count_cost(state, graph, layer, further, int(m + d), r, s)
            change -= count_cost(state, graph, layer, n, int(m), r, s)
            continue
        mode, bend = state.sums[MODE, layer, r, s], state.sums[BEND, layer, r, s]
        change -= log_factor(state.counts[s], level, d, mode, bend, graph.curves)
        if graph.prior == EXPECTED:
            change += expected_cost(state, graph, layer, m + d, r, s) - np.log((further + 1.0) / (n + 1.0))
            if n > 0:
                change -= expected_cost(state, graph, layer, m, r, s)
    return change


@inner
@no_type_check
def log_factor(counts, level, n_edges, mode, bend, curves):  # noqa: PLR0917
    """Log of the mean, over a Gaussian of w, of the likelihood of a unit's edges to one block (Laplace)."""
    at = mode
    for _ in range(12):
        here = TABLE_REACH + int(np.floor(at / GRID)) + (level - N_LEVELS + 1) * GRID_PER_STEP
        value = n_edges * at - 0.5 * bend * (at - mode) ** 2
        slope, more = n_edges - bend * (at - mode), bend
        for other in range(N_LEVELS):
            if counts[other] > 0:
                chance = curves[1, here + other * GRID_PER_STEP]
                value -= counts[other] * curves[0, here + other * GRID_PER_STEP]
                slope -= counts[other] * chance
                more += counts[other] * chance * (1.0 - chance)
        step = slope / more
        if abs(step) < 0.3:
            break
        at = min(max(at + min(max(step, -2.0), 2.0), -30.0), 30.0)
    return value + 0.5 * slope * step - 0.5 * np.log(more / bend)


@inner
@no_type_check
def judge_values(state, graph, layer, r, level):
    """Nats that the values in hand would cost in block r, at one strength level."""
    change = 0.0
    for s in range(state.sizes[-1]):
        more = state.rows[EDGE, layer, s]
        if more > 0:
            m, x, q = (
                state.sums[EDGE, layer, r, s], state.sums[VALUE, layer, r, s], state.sums[SECOND, layer, r, s]
            )  # fmt: skip
            value, second = shifted(
                graph, layer, more, state.rows[VALUE, layer, s], state.rows[SECOND, layer, s], level - NEUTRAL
            )
            change += value_cost(graph, layer, m + more, x + value, q + second)
            change -= value_cost(graph, layer, m, x, q)
    return change


@inner
@no_type_check
def judge_place(state, graph, i, r, old):
    """Add to the bids of block r what the edges and values in hand would cost there.

    At the levels the unit has (``old``), or at all others; bids at levels not judged stay infinite.
    """
    for layer in range(state.hand.size):
        for level in range(N_LEVELS):
            if (level == state.levels[0, i]) == old and state.bids[r, 1 + level] < np.inf:
                state.bids[r, 1 + level] += judge_edges(state, graph, layer, r, level)
            if (level == state.levels[1, i]) == old and state.bids[r, 1 + N_LEVELS + level] < np.inf:
                state.bids[r, 1 + N_LEVELS + level] += judge_values(state, graph, layer, r, level)


@inner
@no_type_check
def place_bid(state, graph):
    """Nats of block r itself for the unit in hand, for every r."""
    n_blocks = state.sizes[-1]
    for r in range(n_blocks + 1):
        state.bids[r, 0] = -np.log(state.sizes[r] + 1.0)
    change = graph.by_blocks[n_blocks + 1] - graph.by_blocks[n_blocks]
    state.bids[n_blocks, 0] += change - (np.log(n_blocks + 1.0) if graph.heat > 0 else 0.0)


@once
@no_type_check
def judge_places(state, graph, i, home, totals, rng):  # noqa: PLR0917
    """Fill ``totals`` with the nats of every allowed place, and ``bids`` with those of every level there.

    Searching, all levels are tried only where the unit would cost little more than the least at its own.
    """
    n_blocks, allowed = state.sizes[-1], state.allowed
    a, c = 1 + state.levels[0, i], 1 + N_LEVELS + state.levels[1, i]
    place_bid(state, graph)
    least = np.inf
    for half in range(2 if graph.corrected else 1):  # one call of each function, compiled where it is called
        for r in range(n_blocks + 1):
            free = r < n_blocks or allowed[1] == 1 or home == n_blocks
            judged = (free and allowed[0] < 0) or r == allowed[0] or r == allowed[1]
            if half == 0:
                totals[r] = np.inf
            elif judged:
                judged = graph.heat > 0 or totals[r] < least + MARGIN
            if judged:
                judge_place(state, graph, i, r, half == 0)
                totals[r] = state.bids[r, 0]
                if half == 0:
                    totals[r] += state.bids[r, a] + state.bids[r, c]
                    least = min(least, totals[r])
                else:
                    for kind in range(2):
                        first = 1 + kind * N_LEVELS
                        totals[r] += pick(graph, state.bids[r], first, first + N_LEVELS, rng)[1]


@inner
@no_type_check
def judge_levels(state, graph, i):
    """Start the bids of all places with what each level of unit i costs by itself."""
    for kind in range(2):
        for level in range(N_LEVELS):
            value = 0.0 if level == NEUTRAL else np.inf
            if graph.corrected and (kind == 1 or graph.prior != ABSENT):
                state.level_sizes[kind, level] += 1
                value = level_cost(state, graph, kind) + graph.own[kind, i] * (level - NEUTRAL)
                state.level_sizes[kind, level] -= 1
            for r in range(state.sizes[-1] + 1):
                state.bids[r, 1 + kind * N_LEVELS + level] = value


@inner
@no_type_check
def pick(graph, bids, first, last, rng):
    """Index of the lowest of ``bids[first:last]``, or drawn with probability prop. to exp(-bid / heat).

    Returns it with what stands for all of them: the lowest, or -heat log of the sum of exp(-bid / heat).
    """
    best = first
    for k in range(first, last):
        if bids[k] < bids[best]:
            best = k
    if graph.heat == 0:
        return best, bids[best]
    mass = 0.0
    for k in range(first, last):
        mass += np.exp((bids[best] - bids[k]) / graph.heat)
    left, found = rng.random() * mass, best
    for k in range(first, last):
        left -= np.exp((bids[best] - bids[k]) / graph.heat)
        if left < 0:
            found = k
            break
    return found, bids[best] - graph.heat * np.log(mass)
