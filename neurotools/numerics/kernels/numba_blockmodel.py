"""Compiled search and sampling for the block model: sums kept up to date where the definition recounts.

``numerics.blockmodel.description_length`` is the plain definition and the oracle of everything here; terms
and symbols are explained there. A state is a partition with its sums over pairs of blocks. Moving one unit
changes one row of them, so that a move costs O(B) terms where the definition costs O(N^2).

The integral over edges that the degree-corrected variant needs takes half a microsecond. Where to move a
unit is therefore judged from the Gaussian that each integrand nearly is, and only the place that is chosen
is computed in full: searching takes it if it gains, sampling by the rule of Metropolis and Hastings.

One file, because Numba does not notice that a function compiled elsewhere has changed. Plain loops and few
arrays, because slices, tuples of arrays and shuffles take seconds each to compile.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit
from scipy.special import gammaln

from neurotools.numerics.blockmodel import DEGREE_STEP, N_LEVELS, NEUTRAL, STRENGTH_STEP

N_SUMS = 2 * N_LEVELS - 1
GRID_PER_STEP = 512
GRID = DEGREE_STEP / GRID_PER_STEP  # fine enough for the trapezoid rule up to 1,000 units
GRID_REACH = 14_800  # log odds up to 40 on either side
TABLE_REACH = GRID_REACH + (N_LEVELS - 1) * GRID_PER_STEP
TAIL = 32.0  # terms below e^-32 of the largest are left out of a sum
TINY_GAIN = 1e-9
MOST = 2 * N_LEVELS
POWERS = 2.0 ** np.arange(-MOST, MOST + 1)  # a table: raising to a power takes as long as a whole pair
MARGIN = 10.0  # nats by which a place may fall behind before other levels are tried there
# Of a pair of blocks: edges, sum of weights, nats, where its integrand is largest and how much it bends.
EDGE, WEIGHT, COST, MODE, BEND = 0, 1, 2, 3, 4
OFFER, KEPT = 2, 5  # shifts of the last three: as they would be, as they were

# What Python calls; what compiled code calls (a door for Python into each would double the time to compile);
# and what one function alone calls, which is compiled as part of it.
compiled = njit(cache=True, error_model="numpy")
inner = njit(  # type: ignore[call-overload]
    cache=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
)
once = njit(cache=True, error_model="numpy", inline="always")


class Graph(NamedTuple):
    """A weighted graph: what is given, and tables that depend only on its size."""

    edges: np.ndarray  # (unit, unit) 0. or 1.
    weights: np.ndarray  # (unit, unit)
    degree: np.ndarray  # (unit,)
    scale: float  # of the prior of the rates
    corrected: bool  # with levels of degree and strength
    heat: float  # 0 takes the best; else places are drawn with probability prop. to exp(-nats / heat)
    log_factorial: np.ndarray
    curves: np.ndarray  # (2, grid) log(1 + e^x) and 1 / (1 + e^-x)


class State(NamedTuple):
    """A partition, the levels of the units, and the sums they imply."""

    labels: np.ndarray  # (unit,)
    levels: np.ndarray  # (2, unit): of degree and of strength, 0 .. N_LEVELS - 1
    level_sizes: np.ndarray  # (2, N_LEVELS)
    sizes: np.ndarray  # (block + 1,); the last entry is the number of blocks
    counts: np.ndarray  # (block, N_LEVELS): units of each degree level
    sums: np.ndarray  # (5, block, block): see EDGE .. BEND
    rows: np.ndarray  # (8, block): of the unit in hand, and the row of its block as it would be and was
    bids: np.ndarray  # (block, 1 + 2 N_LEVELS): nats of each place, and of each level of both kinds there
    allowed: np.ndarray  # (2,): the only blocks to choose from, or -1 and whether new ones may be founded


@once
@no_type_check
def shuffled(n, rng):
    """Return 0 .. n - 1 in random order."""
    order = np.arange(n)
    for k in range(n - 1, 0, -1):
        other = int(rng.random() * (k + 1))
        order[k], order[other] = order[other], order[k]
    return order


@inner
@no_type_check
def log_choose(graph, n, k):
    """Log of the binomial coefficient."""
    return graph.log_factorial[n] - graph.log_factorial[k] - graph.log_factorial[n - k]


# ---- what each part costs ---------------------------------------------------------------------------
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
def pair_cost(state, graph, r, s, n_edges, weight_sum):  # noqa: PLR0917
    """Nats that the edges and weights between blocks r and s cost; mode and bend of their integrand."""
    same = r == s
    n_pairs = state.sizes[r] * (state.sizes[s] - same) // (1 + same)
    if n_pairs == 0:
        return 0.0, 0.0, 0.5
    table = graph.log_factorial
    m = int(n_edges)
    cost = (m + 1.0) * np.log1p(max(weight_sum, 0.0) / graph.scale) + m * np.log(graph.scale) - table[m]
    if not graph.corrected:
        return cost + table[n_pairs + 1] - table[m] - table[n_pairs - m], 0.0, 0.5
    pairs = np.zeros(N_SUMS)
    for low in range(N_LEVELS):
        if state.counts[r, low] > 0:
            for high in range(N_LEVELS):
                both = state.counts[r, low] * (state.counts[s, high] - (same and low == high))
                pairs[low + high] += both / (1.0 + same)
    edge_cost, mode, bend = corrected_edge_cost(pairs, float(n_pairs), n_edges, graph.curves)
    return cost + edge_cost, mode, bend


@inner
@no_type_check
def grouping_cost(graph, sizes, first, last, n_choices):
    """Nats to say which unit is in which of at most ``n_choices`` groups, given ``sizes[first:last]``."""
    total, filled, cost = 0, 0, 0.0
    for k in range(first, last):
        total += sizes[k]
        filled += sizes[k] > 0
        cost -= graph.log_factorial[sizes[k]]
    cost += np.log(n_choices) + log_choose(graph, total - 1, filled - 1) + graph.log_factorial[total]
    return cost, filled


@inner
@no_type_check
def level_cost(state, graph, kind):
    """Nats to say which unit has which level of one kind, some levels being unused."""
    n = state.level_sizes.shape[1]
    cost, used = grouping_cost(graph, state.level_sizes.ravel(), kind * n, (kind + 1) * n, n)
    return cost + log_choose(graph, n, used)


@inner
@no_type_check
def own_cost(state, graph, i):
    """Nats that the levels of unit i add to its edges, whatever the partition."""
    a, c = state.levels[0, i] - NEUTRAL, state.levels[1, i] - NEUTRAL
    return graph.degree[i] * (STRENGTH_STEP * c - DEGREE_STEP * a)


@once
@no_type_check
def total_cost(state, graph):
    """Description length in nats of graph, partition and levels."""
    n_units, n_blocks = state.labels.size, state.sizes[-1]
    cost, _ = grouping_cost(graph, state.sizes, n_units - n_units, n_blocks, n_units)
    if graph.corrected:
        for kind in range(2):
            cost += level_cost(state, graph, kind)
        for i in range(n_units):
            cost += own_cost(state, graph, i)
    for r in range(n_blocks):
        for s in range(r + 1):
            cost += state.sums[COST, r, s]
    return cost


@once
@no_type_check
def refresh(state, graph):
    """Recompute every sum of the state from its labels and levels."""
    n_units, n_blocks = state.labels.size, 0
    for i in range(n_units):
        n_blocks = max(n_blocks, state.labels[i] + 1)
    state.sizes[-1] = n_blocks
    for r in range(n_blocks + 1):
        clear_block(state, r)
    for k in range(2 * N_LEVELS):
        state.level_sizes[k // N_LEVELS, k % N_LEVELS] = 0
    for i in range(n_units):
        r = state.labels[i]
        state.sizes[r] += 1
        state.counts[r, state.levels[0, i]] += 1
        state.level_sizes[0, state.levels[0, i]] += 1
        state.level_sizes[1, state.levels[1, i]] += 1
        for j in range(n_units):
            s = state.labels[j]
            half = 0.5 if s == r else 1.0
            shift = POWERS[MOST + 2 * NEUTRAL - state.levels[1, i] - state.levels[1, j]]
            state.sums[EDGE, r, s] += half * graph.edges[i, j]
            state.sums[WEIGHT, r, s] += half * graph.weights[i, j] * shift
    for r in range(n_blocks):
        offer_row(state, graph, r, 0.0)
        write_row(state, r, 0.0)


# ---- moving one unit --------------------------------------------------------------------------------
@inner
@no_type_check
def clear_block(state, r):
    """Empty the row and column of block r, at most the one after the last."""
    state.sizes[r] = 0
    for level in range(N_LEVELS):
        state.counts[r, level] = 0
    for s in range(state.sizes[-1] + 1):
        for kind in range(5):
            value = 0.5 if kind == BEND else 0.0
            state.sums[kind, r, s] = value
            state.sums[kind, s, r] = value
    state.rows[EDGE, r] = 0.0
    state.rows[WEIGHT, r] = 0.0


@inner
@no_type_check
def offer_row(state, graph, r, sign):
    """Nats of the row of block r with the edges in hand added (1) or taken away (-1); return the change."""
    change = 0.0
    for s in range(max(state.sizes[-1], r + 1)):
        edges = state.sums[EDGE, r, s] + sign * state.rows[EDGE, s]
        weights = state.sums[WEIGHT, r, s] + sign * state.rows[WEIGHT, s]
        cost, mode, bend = pair_cost(state, graph, r, s, edges, weights)
        state.rows[OFFER + 0, s] = cost
        state.rows[OFFER + 1, s] = mode
        state.rows[OFFER + 2, s] = bend
        change += cost - state.sums[COST, r, s]
    return change


@inner
@no_type_check
def write_row(state, r, sign):
    """Put the offered row in force and add the edges in hand to its sums (or take them away)."""
    for s in range(state.sizes[-1]):
        for kind in range(5):
            value = state.rows[kind, s]
            if kind < COST:
                value = state.sums[kind, r, s] + sign * value
            state.sums[kind, r, s] = value
            state.sums[kind, s, r] = value


@inner
@no_type_check
def count_in(state, i, r, sign):
    """Count unit i, with the levels it has, into block r or out of it."""
    state.sizes[r] += sign
    state.counts[r, state.levels[0, i]] += sign
    state.level_sizes[0, state.levels[0, i]] += sign
    state.level_sizes[1, state.levels[1, i]] += sign


@inner
@no_type_check
def place_cost(state, graph, i, r):
    """Change in nats of partition and levels, and of what the levels do, once unit i is counted into r."""
    n, n_blocks = state.labels.size, state.sizes[-1]
    cost = -np.log(state.sizes[r])
    if r == n_blocks:
        cost += log_choose(graph, n - 1, n_blocks)
        if n_blocks > 0:
            cost -= log_choose(graph, n - 1, n_blocks - 1)
        if graph.heat > 0:
            cost -= np.log(n_blocks + 1.0)
    if graph.corrected:
        cost += own_cost(state, graph, i)
        for kind in range(2):
            cost += level_cost(state, graph, kind)
    return cost


@inner
@no_type_check
def take_out(state, graph, i):
    """Take unit i in hand; return where it was, and the nats that it cost there.

    A block that empties leaves: the unit was then in what is now the first unused one.
    """
    r, old = state.labels[i], state.levels[1, i]
    for s in range(state.sizes[-1]):
        state.rows[EDGE, s] = 0.0
        state.rows[WEIGHT, s] = 0.0
    for j in range(state.labels.size):
        state.rows[EDGE, state.labels[j]] += graph.edges[i, j]
        state.rows[WEIGHT, state.labels[j]] += (
            graph.weights[i, j] * POWERS[MOST + NEUTRAL - state.levels[1, j]]
        )
    scale_hand(state, NEUTRAL - old)
    for s in range(state.sizes[-1]):
        for kind in range(3):
            state.rows[KEPT + kind, s] = state.sums[COST + kind, r, s]
    count_in(state, i, r, -1)
    change = offer_row(state, graph, r, -1.0)
    write_row(state, r, -1.0)
    if state.sizes[r] == 0:
        state.labels[i] = -1
        drop_block(state, r)
        r = state.sizes[-1]
    clear_block(state, state.sizes[-1])
    count_in(state, i, r, 1)
    cost = place_cost(state, graph, i, r) - change
    count_in(state, i, r, -1)
    return r, cost


@inner
@no_type_check
def scale_hand(state, shift):
    """Multiply the weights in hand by a power of two."""
    for s in range(state.sizes[-1]):
        state.rows[WEIGHT, s] *= POWERS[MOST + shift]


@inner
@no_type_check
def drop_block(state, r):
    """Remove the empty block r; the last block takes its number."""
    last = state.sizes[-1] - 1
    state.sizes[-1] = last
    if r == last:
        return
    for j in range(state.labels.size):
        if state.labels[j] == last:
            state.labels[j] = r
    state.sizes[r] = state.sizes[last]
    for level in range(N_LEVELS):
        state.counts[r, level] = state.counts[last, level]
    for kind in range(5):
        if kind < COST:
            state.rows[kind, r] = state.rows[kind, last]
        for s in range(last):
            value = state.sums[kind, last, s if s != r else last]
            state.sums[kind, r, s] = value
            state.sums[kind, s, r] = value


@inner
@no_type_check
def judge_edges(state, graph, r, level):
    """Nats that the edges in hand would cost in block r, at one degree level.

    Plain: exact. Corrected: each integrand is taken for a Gaussian with its mode and bend, and the factor
    that the unit brings is expanded to second order around the mode of both.
    """
    table = graph.log_factorial
    change = 0.0
    for s in range(state.sizes[-1]):
        d = state.rows[EDGE, s]
        if graph.corrected:
            mode, bend = state.sums[MODE, r, s], state.sums[BEND, r, s]
            change -= log_factor(state.counts[s], level, d, mode, bend, graph.curves)
            continue
        n = state.sizes[r] * (state.sizes[s] - (r == s)) // (1 + (r == s))
        m, more, further = int(state.sums[EDGE, r, s]), int(d), n + state.sizes[s]
        change += table[further + 1] - table[m + more] - table[further - m - more]
        if n > 0:
            change -= table[n + 1] - table[m] - table[n - m]
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
def judge_weights(state, graph, r, level):
    """Nats that the weights in hand would cost in block r, at one strength level."""
    table, factor = graph.log_factorial, POWERS[MOST + NEUTRAL - level] / graph.scale
    change = 0.0
    for s in range(state.sizes[-1]):
        m, more = int(state.sums[EDGE, r, s]), int(state.rows[EDGE, s])
        if more > 0:
            x = max(state.sums[WEIGHT, r, s], 0.0) / graph.scale
            change += (m + more + 1.0) * np.log1p(x + state.rows[WEIGHT, s] * factor)
            change += table[m] - table[m + more] - (m + 1.0) * np.log1p(x)
    return change


@inner
@no_type_check
def judge_place(state, graph, i, r, old):
    """Add to the bids of block r what the edges and weights in hand would cost there.

    At the levels the unit has (``old``), or at all others; bids at levels not judged stay infinite.
    """
    for level in range(N_LEVELS):
        if (level == state.levels[0, i]) == old:
            state.bids[r, 1 + level] += judge_edges(state, graph, r, level)
        if (level == state.levels[1, i]) == old:
            state.bids[r, 1 + N_LEVELS + level] += judge_weights(state, graph, r, level)


@inner
@no_type_check
def place_bid(state, graph):
    """Nats of block r itself for the unit in hand, for every r."""
    n, n_blocks = state.labels.size, state.sizes[-1]
    for r in range(n_blocks + 1):
        state.bids[r, 0] = -np.log(state.sizes[r] + 1.0)
    if n_blocks > 0:
        change = log_choose(graph, n - 1, n_blocks) - log_choose(graph, n - 1, n_blocks - 1)
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
    for r in range(n_blocks + 1):
        free = r < n_blocks or allowed[1] == 1 or home == n_blocks
        if (free and allowed[0] < 0) or r == allowed[0] or r == allowed[1]:
            judge_place(state, graph, i, r, True)
            totals[r] = state.bids[r, 0] + state.bids[r, a] + state.bids[r, c]
            least = min(least, totals[r])
    for r in range(n_blocks + 1):
        if graph.corrected and totals[r] < np.inf and (graph.heat > 0 or totals[r] < least + MARGIN):
            judge_place(state, graph, i, r, False)
            totals[r] = state.bids[r, 0]
            for kind in range(2):
                first = 1 + kind * N_LEVELS
                totals[r] += pick(graph, state.bids[r], first, first + N_LEVELS, rng)[1]


@inner
@no_type_check
def judge_levels(state, graph, i):
    """Start the bids of all places with what each level of unit i costs by itself."""
    for kind in range(2):
        step = STRENGTH_STEP if kind == 1 else -DEGREE_STEP
        for level in range(N_LEVELS):
            value = 0.0 if level == NEUTRAL else np.inf
            if graph.corrected:
                state.level_sizes[kind, level] += 1
                value = level_cost(state, graph, kind) + step * graph.degree[i] * (level - NEUTRAL)
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


@once
@no_type_check
def visit(state, graph, i, rng):
    """Offer unit i every allowed place with every level; return whether it moved.

    When drawing, each unlabelled partition stands for n_blocks! labelled ones.
    """
    home, old_cost = take_out(state, graph, i)
    n_blocks = state.sizes[-1]
    a, c = state.levels[0, i], state.levels[1, i]
    scale_hand(state, c - NEUTRAL)
    judge_levels(state, graph, i)
    totals = np.full(n_blocks + 1, np.inf)
    judge_places(state, graph, i, home, totals, rng)
    to, _ = pick(graph, totals, home - home, n_blocks + 1, rng)
    judged = state.bids[to, 0] - state.bids[home, 0]
    for kind in range(2):
        first = 1 + kind * N_LEVELS
        column, _ = pick(graph, state.bids[to], first, first + N_LEVELS, rng)
        judged += state.bids[to, column] - state.bids[home, first + state.levels[kind, i]]
        state.levels[kind, i] = column - first
    leaves = to != home or state.levels[0, i] != a or state.levels[1, i] != c
    if leaves and try_place(state, graph, i, to, judged, old_cost, rng):
        return True
    state.levels[0, i], state.levels[1, i] = a, c
    put_back(state, graph, i, home)
    return False


@once
@no_type_check
def put_back(state, graph, i, home):
    """Put unit i where it was, with the nats that were kept (or computed again if its block had left)."""
    scale_hand(state, NEUTRAL - state.levels[1, i])
    count_in(state, i, home, 1)
    state.labels[i] = home
    n_blocks = state.sizes[-1]
    if home == n_blocks:
        offer_row(state, graph, home, 1.0)
        state.sizes[-1] += 1
    else:
        for s in range(n_blocks):
            for kind in range(3):
                state.rows[OFFER + kind, s] = state.rows[KEPT + kind, s]
    write_row(state, home, 1.0)


@once
@no_type_check
def try_place(state, graph, i, r, judged, old_cost, rng):  # noqa: PLR0917
    """Compute in full what unit i costs in block r; put it there if that is taken."""
    shift = NEUTRAL - state.levels[1, i]
    scale_hand(state, shift)
    count_in(state, i, r, 1)
    change = offer_row(state, graph, r, 1.0) + place_cost(state, graph, i, r) - old_cost
    if graph.heat == 0:
        taken = change < -TINY_GAIN
    else:
        # The places were drawn by their judged nats, which do not depend on where the unit was.
        taken = np.log(rng.random()) * graph.heat < judged - change
    if taken:
        state.sizes[-1] += r == state.sizes[-1]
        state.labels[i] = r
        write_row(state, r, 1.0)
    else:
        count_in(state, i, r, -1)
        scale_hand(state, -shift)
    return taken


@once
@no_type_check
def sweep(state, graph, rng):
    """Visit all units in random order, or those of the two allowed blocks; return how many moved."""
    moved, allowed = 0, state.allowed
    for i in shuffled(state.labels.size, rng):
        r = state.labels[i]
        if allowed[0] < 0 or ((r == allowed[0] or r == allowed[1]) and state.sizes[r] > 1):
            moved += visit(state, graph, i, rng)
    return moved


# ---- moving blocks ----------------------------------------------------------------------------------
@once
@no_type_check
def merge_change(state, graph, r, s):
    """Change in nats if blocks r and s became one."""
    n_units, n_blocks = state.labels.size, state.sizes[-1]
    n, m = state.sizes[r], state.sizes[s]
    change = -log_choose(graph, n + m, n)
    change += log_choose(graph, n_units - 1, n_blocks - 2) - log_choose(graph, n_units - 1, n_blocks - 1)
    state.sizes[r] += m
    for level in range(N_LEVELS):
        state.counts[r, level] += state.counts[s, level]
    for t in range(n_blocks):
        change -= state.sums[COST, r, t] + state.sums[COST, s, t]
        if t != s:
            edges = state.sums[EDGE, r, t] + state.sums[EDGE, s, t]
            weights = state.sums[WEIGHT, r, t] + state.sums[WEIGHT, s, t]
            if t == r:
                edges += state.sums[EDGE, s, s]
                weights += state.sums[WEIGHT, s, s]
            change += pair_cost(state, graph, r, t, edges, weights)[0]
    state.sizes[r] -= m
    for level in range(N_LEVELS):
        state.counts[r, level] -= state.counts[s, level]
    return change + state.sums[COST, r, s]


@compiled
@no_type_check
def cheapest_merge(state, graph):
    """Return the two blocks that would cost least to make one, in a state that has settled."""
    n_blocks = state.sizes[-1]
    best, left, right = np.inf, n_blocks - 2, n_blocks - 1
    for s in range(n_blocks):
        for r in range(s):
            change = merge_change(state, graph, r, s)
            if change < best:
                best, left, right = change, r, s
    return left, right


@compiled
@no_type_check
def settle(state, graph, n_turns, rng):
    """Sweep until nothing moves, at most ``n_turns`` times; return the description length in nats."""
    for half in range(2):  # one call of each function, which is compiled where it is called
        refresh(state, graph)
        if half == 0:
            for _ in range(n_turns):
                if sweep(state, graph, rng) == 0:
                    break
    return total_cost(state, graph)


# ---- the door ---------------------------------------------------------------------------------------
def graph_of(weights, corrected, scale):
    """Lay a graph out for the compiled functions, with the tables they look logarithms up in."""
    n_units = weights.shape[0]
    edges = (weights > 0).astype(float)
    x = (np.arange(2 * TABLE_REACH + 1) - TABLE_REACH) * GRID
    curves = np.stack([np.logaddexp(0.0, x), 0.5 + 0.5 * np.tanh(0.5 * x)])
    log_factorial = gammaln(np.arange(n_units * (n_units + 1) // 2 + 3) + 1.0)
    weights = np.ascontiguousarray(weights, dtype=float)
    return Graph(edges, weights, edges.sum(1), scale, corrected, 0.0, log_factorial, curves)


def state_of(labels, levels):
    """Lay a partition out for the compiled functions; its sums are empty until refreshed."""
    n = labels.size
    return State(
        labels=labels.astype(np.int64),
        levels=levels.astype(np.int64),
        level_sizes=np.zeros((2, N_LEVELS), np.int64),
        sizes=np.zeros(n + 2, np.int64),
        counts=np.zeros((n + 1, N_LEVELS), np.int64),
        sums=np.zeros((5, n + 1, n + 1)),
        rows=np.zeros((8, n + 1)),
        bids=np.zeros((n + 1, 1 + 2 * N_LEVELS)),
        allowed=np.array([-1, 1]),
    )
