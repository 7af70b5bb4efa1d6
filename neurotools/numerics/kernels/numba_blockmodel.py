"""Compiled search and sampling for the block model: sums kept up to date where the definition recounts.

``numerics.blockmodel.description_length`` is the plain definition and the oracle of everything here; terms
and symbols are explained there. A state is a partition with its sums over pairs of blocks. Moving one unit
changes one row of them, so that a move costs O(B) terms where the definition costs O(N^2).

One file, because Numba does not notice that a function compiled elsewhere has changed. Plain loops and few
arrays, because slices, tuples of arrays and shuffles take seconds each to compile.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit
from scipy.special import gammaln

from neurotools.numerics.blockmodel import LEVEL_STEP, N_LEVELS, mean_edge_weight

N_SUMS = 2 * N_LEVELS - 1
GRID_PER_STEP = 256
GRID = LEVEL_STEP / GRID_PER_STEP  # fine enough for the trapezoid rule up to 1,000 units
GRID_REACH = 14_800  # log odds up to 40 on either side
TABLE_REACH = GRID_REACH + (N_LEVELS - 1) * GRID_PER_STEP
TAIL = 36.0  # terms below e^-36 of the largest do not change a float64 sum
TINY_GAIN = 1e-9
EDGE, WEIGHT, COST, OFFER = 0, 1, 2, 3

compiled = njit(cache=True, error_model="numpy")
# Called from compiled code only: a door for Python into each would double the time to compile.
inner = njit(  # type: ignore[call-overload]
    cache=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
)


class Graph(NamedTuple):
    """A weighted graph: what is given, and tables that depend only on its size."""

    edges: np.ndarray  # (unit, unit) 0. or 1.
    weights: np.ndarray  # (unit, unit)
    degree: np.ndarray  # (unit,)
    scale: float  # mean weight of an edge: the prior's scale of the rate
    corrected: bool  # with levels of degree and strength
    cold: bool  # take the best (searching) or draw (sampling)
    log_factorial: np.ndarray
    curves: np.ndarray  # (2, grid) log(1 + e^x) and 1 / (1 + e^-x)


class State(NamedTuple):
    """A partition, the levels of the units, and the sums they imply."""

    labels: np.ndarray  # (unit,)
    levels: np.ndarray  # (2, unit): of degree and of strength, 0 .. N_LEVELS - 1
    level_sizes: np.ndarray  # (2, N_LEVELS)
    sizes: np.ndarray  # (block + 1,); the last entry is the number of blocks
    counts: np.ndarray  # (block, N_LEVELS): units of each degree level
    scaled: np.ndarray  # (unit, unit): weights over the product of both units' strengths
    sums: np.ndarray  # (4, block, block): edges, weights, nats, and nats as they would be
    hand: np.ndarray  # (2, block): edges and weights of the unit in hand to each block
    bids: np.ndarray  # (block,): change in nats for each place of the unit in hand


@inner
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
    """Log odds w at which the integrand below is largest, by Newton steps from ``at``."""
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
    return at


@inner
@no_type_check
def corrected_edge_cost(pairs, n_pairs, n_edges, curves):
    """Minus log of the probability of the edges between two blocks, log odds ``w + a_i + a_j``.

    The integral over w, which has the standard logistic density, is a trapezoid sum on a grid of step at
    most 0.8 standard deviations: exact to about 1e-12, since the integrand is analytic and bell-shaped.
    """
    share = (n_edges + 1.0) / (n_pairs + 2.0)
    width = 0.8 / np.sqrt((n_pairs + 2.0) * share * (1.0 - share))
    stride = 1
    while 2 * stride * GRID <= width and stride < GRID_PER_STEP // 2:
        stride *= 2
    first, last = 0, N_SUMS - 1
    while pairs[first] == 0:
        first += 1
    while pairs[last] == 0:
        last -= 1
    origin = TABLE_REACH - (N_LEVELS - 1) * GRID_PER_STEP
    at = integrand_mode(pairs, np.log(share / (1.0 - share)), n_edges, curves)
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
    return -(top + np.log(mass * stride * GRID))


@inner
@no_type_check
def pair_cost(state, graph, r, s, n_edges, weight_sum):  # noqa: PLR0917
    """Nats that the edges and weights between blocks r and s cost."""
    same = r == s
    n_pairs = state.sizes[r] * (state.sizes[s] - same) // (1 + same)
    if n_pairs == 0:
        return 0.0
    table = graph.log_factorial
    m = int(n_edges)
    cost = (m + 1.0) * np.log1p(max(weight_sum, 0.0) / graph.scale) + m * np.log(graph.scale) - table[m]
    if not graph.corrected:
        return cost + table[n_pairs + 1] - table[m] - table[n_pairs - m]
    pairs = np.zeros(N_SUMS)
    for low in range(N_LEVELS):
        for high in range(N_LEVELS):
            both = state.counts[r, low] * (state.counts[s, high] - (same and low == high))
            pairs[low + high] += both / (1.0 + same)
    return cost + corrected_edge_cost(pairs, float(n_pairs), n_edges, graph.curves)


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
    sizes = state.level_sizes.ravel()
    n = state.level_sizes.shape[1]
    cost, used = grouping_cost(graph, sizes, kind * n, (kind + 1) * n, n)
    return cost + log_choose(graph, n, used)


@inner
@no_type_check
def total_cost(state, graph):
    """Description length in nats of graph, partition and levels."""
    n_units, n_blocks = state.labels.size, state.sizes[-1]
    cost, _ = grouping_cost(graph, state.sizes, n_units - n_units, n_blocks, n_units)
    if graph.corrected:
        for kind in range(2):
            cost += level_cost(state, graph, kind)
        for i in range(n_units):
            cost += graph.degree[i] * LEVEL_STEP * (state.levels[1, i] - state.levels[0, i])
    for r in range(n_blocks):
        for s in range(r + 1):
            cost += state.sums[COST, r, s]
    return cost


@inner
@no_type_check
def refresh(state, graph):
    """Recompute every sum of the state from its labels and levels."""
    n_units, n_blocks = state.labels.size, 0
    for i in range(n_units):
        n_blocks = max(n_blocks, state.labels[i] + 1)
    for r in range(n_blocks):
        clear_block(state, r)
    state.sizes[-1] = n_blocks
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
            shift = 2 * (N_LEVELS // 2) - state.levels[1, i] - state.levels[1, j]
            state.scaled[i, j] = graph.weights[i, j] * 2.0**shift
            half = 0.5 if s == r else 1.0
            state.sums[EDGE, r, s] += half * graph.edges[i, j]
            state.sums[WEIGHT, r, s] += half * state.scaled[i, j]
    for r in range(n_blocks):
        for s in range(r + 1):
            cost = pair_cost(state, graph, r, s, state.sums[EDGE, r, s], state.sums[WEIGHT, r, s])
            state.sums[COST, r, s] = cost
            state.sums[COST, s, r] = cost


# ---- moving one unit --------------------------------------------------------------------------------
@inner
@no_type_check
def clear_block(state, r):
    """Empty the row and column of block r."""
    state.sizes[r] = 0
    for level in range(N_LEVELS):
        state.counts[r, level] = 0
    for s in range(state.sizes.size - 1):
        for kind in range(4):
            state.sums[kind, r, s] = 0.0
            state.sums[kind, s, r] = 0.0
    state.hand[EDGE, r] = 0.0
    state.hand[WEIGHT, r] = 0.0


@inner
@no_type_check
def set_row(state, r, sign):
    """Add the unit in hand to block r (or take it away) and put the offered nats in force."""
    for s in range(state.sizes[-1]):
        for kind in range(2):
            value = state.sums[kind, r, s] + sign * state.hand[kind, s]
            state.sums[kind, r, s] = value
            state.sums[kind, s, r] = value
        state.sums[COST, r, s] = state.sums[OFFER, r, s]
        state.sums[COST, s, r] = state.sums[OFFER, r, s]


@inner
@no_type_check
def take_out(state, graph, i):
    """Take unit i in hand; return where it was (a block that empties leaves, and is a new one then)."""
    r = state.labels[i]
    for s in range(state.sizes[-1]):
        state.hand[EDGE, s] = 0.0
        state.hand[WEIGHT, s] = 0.0
    for j in range(state.labels.size):
        state.hand[EDGE, state.labels[j]] += graph.edges[i, j]
        state.hand[WEIGHT, state.labels[j]] += state.scaled[i, j]
    state.sizes[r] -= 1
    state.counts[r, state.levels[0, i]] -= 1
    if state.sizes[r] == 0:
        state.labels[i] = -1
        drop_block(state, r)
        r = state.sizes[-1]
    else:
        for s in range(state.sizes[-1]):
            edges = state.sums[EDGE, r, s] - state.hand[EDGE, s]
            weights = state.sums[WEIGHT, r, s] - state.hand[WEIGHT, s]
            state.sums[OFFER, r, s] = pair_cost(state, graph, r, s, edges, weights)
        set_row(state, r, -1.0)
    clear_block(state, state.sizes[-1])
    return r


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
    for kind in range(3):
        if kind < COST:
            state.hand[kind, r] = state.hand[kind, last]
        for s in range(last):
            value = state.sums[kind, last, s if s != r else last]
            state.sums[kind, r, s] = value
            state.sums[kind, s, r] = value


@inner
@no_type_check
def offer(state, graph, i, r):
    """Change in nats if the unit in hand joined block r; the block after the last is a new one."""
    n_blocks = state.sizes[-1]
    found = r == n_blocks
    state.sizes[r] += 1
    state.counts[r, state.levels[0, i]] += 1
    change = -np.log(state.sizes[r])
    for s in range(n_blocks + found):
        edges = state.sums[EDGE, r, s] + state.hand[EDGE, s]
        weights = state.sums[WEIGHT, r, s] + state.hand[WEIGHT, s]
        cost = pair_cost(state, graph, r, s, edges, weights)
        state.sums[OFFER, r, s] = cost
        change += cost - state.sums[COST, r, s]
    if found:
        change += log_choose(graph, state.labels.size - 1, n_blocks)
        if n_blocks > 0:
            change -= log_choose(graph, state.labels.size - 1, n_blocks - 1)
    state.sizes[r] -= 1
    state.counts[r, state.levels[0, i]] -= 1
    return change


@inner
@no_type_check
def put_in(state, graph, i, r):
    """Put the unit in hand into block r; return the change in nats."""
    change = offer(state, graph, i, r)
    state.sizes[-1] += r == state.sizes[-1]
    state.labels[i] = r
    state.sizes[r] += 1
    state.counts[r, state.levels[0, i]] += 1
    set_row(state, r, 1.0)
    return change


@inner
@no_type_check
def choose(graph, bids, n, home, rng):
    """The lowest bid, home unless another gains; or one drawn with probability prop. to exp(-bid)."""
    best = 0
    for k in range(n):
        if bids[k] < bids[best]:
            best = k
    if graph.cold:
        return best if bids[best] < bids[home] - TINY_GAIN else home
    mass = 0.0
    for k in range(n):
        mass += np.exp(bids[best] - bids[k])
    left = rng.random() * mass
    for k in range(n):
        left -= np.exp(bids[best] - bids[k])
        if left < 0:
            return k
    return best


@inner
@no_type_check
def sweep(state, graph, grow, rng):
    """Offer every unit every block, in random order; return how many units moved.

    Cold takes the lowest description length; otherwise the draw is a Gibbs step on unlabelled partitions,
    each of which stands for n_blocks! equally probable labelled ones.
    """
    moved = 0
    for i in shuffled(state.labels.size, rng):
        home = take_out(state, graph, i)
        n_blocks = state.sizes[-1]
        n_places = n_blocks + (grow or home == n_blocks)
        for r in range(n_places):
            state.bids[r] = offer(state, graph, i, r)
        if not graph.cold:
            state.bids[n_blocks] -= np.log(n_blocks + 1.0)
        to = choose(graph, state.bids, n_places, home, rng)
        moved += to != home
        put_in(state, graph, i, to)
    return moved


@inner
@no_type_check
def set_level(state, i, kind, level):
    """Give the unit in hand another level and scale its weights to match."""
    old = state.levels[kind, i]
    state.level_sizes[kind, old] -= 1
    state.level_sizes[kind, level] += 1
    state.levels[kind, i] = level
    if kind == 1 and level != old:
        factor = 2.0 ** (old - level)
        for s in range(state.sizes[-1]):
            state.hand[WEIGHT, s] *= factor
        for j in range(state.labels.size):
            state.scaled[i, j] *= factor
            state.scaled[j, i] *= factor


@inner
@no_type_check
def sweep_levels(state, graph, kind, rng):
    """Offer every unit every level of one kind (0 degree, 1 strength); return how many changed."""
    changed = 0
    sign = 2.0 * kind - 1.0
    for i in shuffled(state.labels.size, rng):
        old = state.levels[kind, i]
        home = take_out(state, graph, i)
        n_levels = state.level_sizes.shape[1]
        for level in range(n_levels):
            set_level(state, i, kind, level)
            state.bids[level] = offer(state, graph, i, home) + level_cost(state, graph, kind)
            state.bids[level] += sign * graph.degree[i] * LEVEL_STEP * level
        to = choose(graph, state.bids, n_levels, old, rng)
        changed += to != old
        set_level(state, i, kind, to)
        put_in(state, graph, i, home)
    return changed


# ---- moving blocks ----------------------------------------------------------------------------------
@inner
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
            change += pair_cost(state, graph, r, t, edges, weights)
    state.sizes[r] -= m
    for level in range(N_LEVELS):
        state.counts[r, level] -= state.counts[s, level]
    return change + state.sums[COST, r, s]


@inner
@no_type_check
def merge(state, graph, r, s):
    """Make blocks r and s one."""
    keep, gone, last = min(r, s), max(r, s), state.sizes[-1] - 1
    for i in range(state.labels.size):
        if state.labels[i] == gone:
            state.labels[i] = keep
        elif state.labels[i] == last:
            state.labels[i] = gone
    refresh(state, graph)
    return keep


@inner
@no_type_check
def split(state, graph, r, rng):
    """Divide block r at random into itself and a new block; let its units choose between the two."""
    new, n_units = state.sizes[-1], state.labels.size
    inside = np.zeros(n_units, np.bool_)
    for i in shuffled(n_units, rng):
        if state.labels[i] == r:
            inside[i] = True
            if state.sizes[r] > 1 and (state.sizes[new] == 0 or rng.random() < 0.5):
                state.labels[i] = new
                state.sizes[r] -= 1
                state.sizes[new] += 1
    refresh(state, graph)
    for _ in range(10):
        moved = 0
        for i in shuffled(n_units, rng):
            if not inside[i] or state.sizes[state.labels[i]] == 1:
                continue
            home = take_out(state, graph, i)
            other = r + new - home
            change = offer(state, graph, i, other) - offer(state, graph, i, home)
            away = change < -TINY_GAIN
            moved += away
            put_in(state, graph, i, other if away else home)
        if moved == 0:
            break


# ---- searching --------------------------------------------------------------------------------------
@inner
@no_type_check
def remember(state, saved):
    """Write labels and levels into ``saved`` (3, unit)."""
    for i in range(state.labels.size):
        saved[0, i] = state.labels[i]
        saved[1, i] = state.levels[0, i]
        saved[2, i] = state.levels[1, i]


@inner
@no_type_check
def recall(state, graph, saved):
    """Return to the labels and levels that were saved."""
    for i in range(state.labels.size):
        state.labels[i] = saved[0, i]
        state.levels[0, i] = saved[1, i]
        state.levels[1, i] = saved[2, i]
    refresh(state, graph)


@inner
@no_type_check
def settle(state, graph, grow, n_turns, rng):
    """Move units (and levels) downhill until none moves; return the description length."""
    for _ in range(n_turns):
        moved = sweep(state, graph, grow, rng)
        if graph.corrected:
            for kind in range(2):
                moved += sweep_levels(state, graph, kind, rng)
        if moved == 0:
            break
    refresh(state, graph)
    return total_cost(state, graph)


@inner
@no_type_check
def disturb(state, graph, rng):
    """Split a block, merge two, or merge two and split the result anew: a step no single unit can make."""
    n_blocks = state.sizes[-1]
    r = state.labels[int(rng.random() * state.labels.size)]
    kind = int(rng.random() * 3)
    if kind > 0 and n_blocks > 1:
        r = merge(state, graph, r, (r + 1 + int(rng.random() * (n_blocks - 1))) % n_blocks)
    if kind != 1 and state.sizes[r] > 1:
        split(state, graph, r, rng)


@inner
@no_type_check
def merge_best(state, graph):
    """Merge the pair of blocks that adds least."""
    n_blocks = state.sizes[-1]
    best, left, right = np.inf, n_blocks - 2, n_blocks - 1
    for s in range(n_blocks):
        for r in range(s):
            change = merge_change(state, graph, r, s)
            if change < best:
                best, left, right = change, r, s
    merge(state, graph, left, right)


@compiled
@no_type_check
def search(state, graph, patience, saved, rng):
    """Leave the state at the best that was found: merge down to one block, then disturb and settle.

    Ends when ``patience`` disturbances in a row gained nothing; returns the description length.
    """
    refresh(state, graph)
    best = np.inf
    failed = -1  # negative while merging down
    while failed < patience:
        grow = failed >= 0
        cost = settle(state, graph, grow, 100 if grow else 4, rng)
        if cost < best - TINY_GAIN:
            best = cost
            remember(state, saved)
            failed = min(failed, 0)
        elif grow:
            failed += 1
        if not grow and state.sizes[-1] > 1:
            merge_best(state, graph)
            continue
        failed = max(failed, 0)
        recall(state, graph, saved)
        if failed < patience:
            disturb(state, graph, rng)
    return best


# ---- the door ---------------------------------------------------------------------------------------
def graph_of(weights, corrected, cold):
    """Lay a graph out for the compiled functions, with the tables they look logarithms up in."""
    n_units = weights.shape[0]
    edges = (weights > 0).astype(float)
    x = (np.arange(2 * TABLE_REACH + 1) - TABLE_REACH) * GRID
    curves = np.stack([np.logaddexp(0.0, x), 0.5 + 0.5 * np.tanh(0.5 * x)])
    log_factorial = gammaln(np.arange(n_units * (n_units + 1) // 2 + 3) + 1.0)
    weights = np.ascontiguousarray(weights, dtype=float)
    scale = mean_edge_weight(weights)
    return Graph(edges, weights, edges.sum(1), scale, corrected, cold, log_factorial, curves)


def state_of(labels, levels):
    """Lay a partition out for the compiled functions; its sums are empty until refreshed."""
    n = labels.size
    return State(
        labels=labels.astype(np.int64),
        levels=levels.astype(np.int64),
        level_sizes=np.zeros((2, N_LEVELS), np.int64),
        sizes=np.zeros(n + 2, np.int64),
        counts=np.zeros((n + 1, N_LEVELS), np.int64),
        scaled=np.zeros((n, n)),
        sums=np.zeros((4, n + 1, n + 1)),
        hand=np.zeros((2, n + 1)),
        bids=np.zeros(max(n + 1, N_LEVELS)),
    )


def run_search(graph, labels, levels, patience, rng):
    """Search from one start; return labels, levels and the description length in nats."""
    state = state_of(labels, levels)
    saved = np.zeros((3, labels.size), np.int64)
    cost = search(state, graph, patience, saved, rng)
    return state.labels, state.levels, cost
