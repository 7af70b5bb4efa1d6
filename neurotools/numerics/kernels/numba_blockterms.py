"""Compiled terms of the block model: what edges, weights and levels of a pair of blocks cost, in nats.

``numerics.blockmodel`` and ``numerics.blockweights`` define every term and are the oracle of this file; the
moves that use it stand in ``numba_blockmodel``. Nothing here is cached by itself: what Python calls is, and
contains it.
"""

from __future__ import annotations

import math
from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.blockmodel import DEGREE_STEP, N_LEVELS

N_SUMS = 2 * N_LEVELS - 1
GRID_PER_STEP = 512
GRID = DEGREE_STEP / GRID_PER_STEP  # fine enough for the trapezoid rule up to 1,000 units
GRID_REACH = 14_800  # log odds up to 40 on either side
TABLE_REACH = GRID_REACH + (N_LEVELS - 1) * GRID_PER_STEP
TAIL = 32.0  # terms below e^-32 of the largest are left out of a sum
MOST = 2 * N_LEVELS
POWERS = 2.0 ** np.arange(-MOST, MOST + 1)  # a table: raising to a power takes as long as a whole pair

# Of a pair of blocks: edges, first and second sum of their values, nats, where its integrand is largest and
# how much it bends. Of the unit in hand: the same of its row, as it would be (OFFER) and was (KEPT).
EDGE, VALUE, SECOND, COST, MODE, BEND = 0, 1, 2, 3, 4, 5
OFFER, KEPT = 3, 6
# Families of values; normal serves lognormal (of logarithms), counts serve both Poisson variants.
EXPONENTIAL, NORMAL, COUNTS, VALUELESS = 0, 1, 2, 3
# What the numbers of edges cost: by themselves; given what a pair of groups of blocks expects; as a graph
# that may repeat edges; nothing.
FLAT, EXPECTED, REPEATED, ABSENT = 0, 1, 2, 3
NORMAL_SHAPE = 1.5  # of the prior of a variance

# What compiled code calls (a door for Python into each would double the time to compile; nothing here makes
# arrays, and without counting references it compiles and runs a third quicker), and what one function alone
# calls, which is compiled as part of it.
inner = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)  # type: ignore[call-overload]
once = njit(error_model="numpy", inline="always")


class Graph(NamedTuple):
    """A weighted graph in one or several layers: what is given, and tables that depend only on its size."""

    pairs: np.ndarray  # (3, layer, unit, unit): EDGE, VALUE, SECOND of each pair, zero on the diagonal
    loops: np.ndarray  # (layer, unit): edges from a unit to itself, where edges may repeat
    own: np.ndarray  # (2, unit): nats per step of either level of a unit, whatever the partition
    by_blocks: np.ndarray  # (unit + 2,): nats that depend on the number of blocks alone
    expected: np.ndarray  # (2, layer, group, group): log(1 + mean) and log(mean) of the edges of two blocks
    tables: np.ndarray  # (2, number): log(k!) and log Gamma(NORMAL_SHAPE + k / 2)
    scale: np.ndarray  # (layer,): of the prior of the values
    step: np.ndarray  # (layer,): of the strength levels, where they shift values
    curves: np.ndarray  # (2, grid): log(1 + e^x) and 1 / (1 + e^-x)
    constant: float  # nats that no partition changes
    family: int
    prior: int
    corrected: bool  # with levels of degree and strength
    heat: float  # 0 takes the best; else places are drawn with probability prop. to exp(-nats / heat)


class State(NamedTuple):
    """A partition, the levels of the units, and the sums they imply."""

    labels: np.ndarray  # (unit,)
    levels: np.ndarray  # (2, unit): of degree and of strength, 0 .. N_LEVELS - 1
    level_sizes: np.ndarray  # (2, N_LEVELS)
    sizes: np.ndarray  # (block + 1,); the last entry is the number of blocks
    groups: np.ndarray  # (block,): group of each block, one level up
    counts: np.ndarray  # (block, N_LEVELS): units of each degree level
    sums: np.ndarray  # (6, layer, block, block): see EDGE .. BEND
    rows: np.ndarray  # (9, layer, block): of the unit in hand; row of its block as it would be and was
    hand: np.ndarray  # (layer,): edges of the unit in hand to itself
    bids: np.ndarray  # (block, 1 + 2 N_LEVELS): nats of each place, and of each level of both kinds there
    totals: np.ndarray  # (N_SUMS,): of two blocks, pairs of units by the sum of their degree levels
    places: np.ndarray  # (block,): nats of each place for the unit in hand
    order: np.ndarray  # (unit,): in which units are visited
    allowed: np.ndarray  # (2,): the only blocks to choose from, or -1 and whether new ones may be founded


@inner
@no_type_check
def log_choose(graph, n, k):
    """Log of the binomial coefficient."""
    return graph.tables[0, n] - graph.tables[0, k] - graph.tables[0, n - k]


# ---- edges -------------------------------------------------------------------------------------------
@inner
@no_type_check
def integrand_mode(pairs, at, n_edges, curves):
    """Log odds w at which the integrand below is largest, and its bend there, by Newton steps."""
    bend = 0.5
    for _ in range(50):
        here = TABLE_REACH + int(np.floor(at / GRID))
        chance = curves[1, here]
        slope, bend = n_edges + 1.0 - 2.0 * chance, 2.0 * chance * (1.0 - chance)
        for total in range(N_SUMS):
            chance = curves[1, here + (total - N_LEVELS + 1) * GRID_PER_STEP]
            slope -= pairs[total] * chance
            bend += pairs[total] * chance * (1.0 - chance)
        step = min(max(slope / bend, -3.0), 3.0)
        at = min(max(at + step, -30.0), 30.0)
        if abs(step) < 2 * GRID:
            break
    return at, bend


@inner
@no_type_check
def corrected_edge_cost(pairs, n_pairs, n_edges, curves):
    """Minus log of the probability of the edges between two blocks, log odds ``w + a_i + a_j``.

    The integral over w, which has the standard logistic density, is a trapezoid sum on a grid of step at
    most 0.75 standard deviations: exact to about 1e-12, since the integrand is analytic and bell-shaped.
    """
    share = (n_edges + 1.0) / (n_pairs + 2.0)
    width = 0.75 / np.sqrt((n_pairs + 2.0) * share * (1.0 - share))
    stride = max(int(min(width, 0.25) / GRID), 1)
    first, last = 0, N_SUMS - 1
    while pairs[first] == 0:
        first += 1
    while pairs[last] == 0:
        last -= 1
    origin = TABLE_REACH - (N_LEVELS - 1) * GRID_PER_STEP
    at, bend = integrand_mode(pairs, np.log(share / (1.0 - share)), n_edges, curves)
    middle = int(np.floor(at / (GRID * stride))) * stride
    top, mass, index, direction = 0.0, 0.0, middle, stride
    while True:
        value = (n_edges + 1.0) * index * GRID - 2.0 * curves[0, TABLE_REACH + index]
        for total in range(first, last + 1):
            value -= pairs[total] * curves[0, origin + index + total * GRID_PER_STEP]
        if index == middle:
            top = value
        mass += np.exp(value - top)
        index += direction
        if value - top < -TAIL or abs(index) > GRID_REACH:
            if direction < 0:
                break
            index, direction = middle - stride, -stride
    return -(top + np.log(mass * stride * GRID)), at, bend


@inner
@no_type_check
def count_cost(state, graph, layer, n_pairs, m, r, s):  # noqa: PLR0917
    """Nats to say where m edges between blocks r and s lie, and how many they are."""
    if graph.prior == REPEATED:
        return log_choose(graph, n_pairs + m - 1, m) if n_pairs > 0 else 0.0
    if graph.prior == FLAT:
        return log_choose(graph, n_pairs, m) + np.log(n_pairs + 1.0)
    return log_choose(graph, n_pairs, m) + expected_cost(state, graph, layer, float(m), r, s)


@inner
@no_type_check
def expected_cost(state, graph, layer, m, r, s):  # noqa: PLR0917
    """Nats to say that m edges lie between blocks of two groups: geometric, of the mean of the groups."""
    at, to = state.groups[r], state.groups[s]
    return (m + 1.0) * graph.expected[0, layer, at, to] - m * graph.expected[1, layer, at, to]


@inner
@no_type_check
def n_cells(graph, n_left, n_right, same):
    """Pairs of units between two blocks, or inside one; with themselves where edges may repeat."""
    if not same:
        return n_left * n_right
    return n_left * (n_left + 1 if graph.prior == REPEATED else n_left - 1) // 2


# ---- values ------------------------------------------------------------------------------------------
@inner
@no_type_check
def shifted(graph, layer, m, value, second, shift):  # noqa: PLR0917
    """Sums of m values as they are once a strength of ``shift`` steps is taken out of them."""
    if graph.family == NORMAL:
        by = shift * graph.step[layer]
        return value - by * m, second + by * (by * m - 2.0 * value)
    if graph.family == COUNTS:
        return value, second * POWERS[MOST + shift]
    return value * POWERS[MOST - shift], second


@inner
@no_type_check
def value_cost(graph, layer, m, value, second):
    """Nats of the values of m edges, their parameters integrated out."""
    k, scale = int(m), graph.scale[layer]
    if graph.family == EXPONENTIAL:
        return (m + 1.0) * np.log1p(max(value, 0.0) / scale) + m * np.log(scale) - graph.tables[0, k]
    if graph.family == COUNTS:
        return (value + 1.0) * np.log1p(second / scale) + value * np.log(scale) - math.lgamma(value + 1.0)
    if graph.family == VALUELESS or k == 0:
        return 0.0
    half = max(second - value * value / (m + scale), 0.0) / (2.0 * NORMAL_SHAPE * scale)
    cost = (NORMAL_SHAPE + 0.5 * m) * np.log1p(half) + 0.5 * m * np.log(2.0 * np.pi * NORMAL_SHAPE * scale)
    return cost + 0.5 * np.log1p(m / scale) + graph.tables[1, 0] - graph.tables[1, k]


# ---- both --------------------------------------------------------------------------------------------
@inner
@no_type_check
def pair_cost(state, graph, layer, r, s, n_edges, value, second):  # noqa: PLR0917
    """Nats that the edges and values between blocks r and s cost; mode and bend of their integrand."""
    same = r == s
    n_pairs = n_cells(graph, state.sizes[r], state.sizes[s], same)
    if n_pairs == 0:
        return 0.0, 0.0, 0.5
    cost = value_cost(graph, layer, n_edges, value, second)
    if graph.prior == ABSENT:
        return cost, 0.0, 0.5
    if not graph.corrected:
        return cost + count_cost(state, graph, layer, n_pairs, int(n_edges), r, s), 0.0, 0.5
    pairs = state.totals
    for total in range(N_SUMS):
        pairs[total] = 0.0
    for low in range(N_LEVELS):
        if state.counts[r, low] > 0:
            for high in range(N_LEVELS):
                both = state.counts[r, low] * (state.counts[s, high] - (same and low == high))
                pairs[low + high] += both / (1.0 + same)
    edge_cost, mode, bend = corrected_edge_cost(pairs, float(n_pairs), n_edges, graph.curves)
    if graph.prior == EXPECTED:
        # In place of the price of any number of edges (nearly how dense w is there; 1 / (n + 1) where levels
        # are equal), that of what the groups expect.
        chance = graph.curves[1, TABLE_REACH + int(np.floor(mode / GRID))]
        dense = chance * (1.0 - chance)
        edge_cost += expected_cost(state, graph, layer, n_edges, r, s) - np.log(bend / dense - 1.0)
    return cost + edge_cost, mode, bend


@inner
@no_type_check
def level_cost(state, graph, kind):
    """Nats to say which unit has which level of one kind, some levels being unused."""
    total, used, cost = 0, 0, np.log(N_LEVELS)
    for level in range(N_LEVELS):
        size = state.level_sizes[kind, level]
        total += size
        used += size > 0
        cost -= graph.tables[0, size]
    cost += graph.tables[0, total] + log_choose(graph, total - 1, used - 1)
    return cost + graph.tables[0, N_LEVELS] - graph.tables[0, used] - graph.tables[0, N_LEVELS - used]
