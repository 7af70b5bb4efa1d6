"""Compiled moves of the block model: a unit is taken in hand, judged in every place, and put somewhere.

Moving one unit changes one row of the sums over pairs of blocks, so that a move costs O(B) terms where the
definition costs O(N^2). The integral over edges that the degree-corrected variant needs takes half a
microsecond: where to move a unit is therefore judged from the Gaussian that each integrand nearly is, and
only the place that is chosen is computed in full. Plain loops and few arrays, because slices, tuples of
arrays and shuffles take seconds each to compile.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from neurotools.numerics.blockmodel import N_LEVELS, NEUTRAL
from neurotools.numerics.kernels.numba_blockjudge import judge_levels, judge_places, pick
from neurotools.numerics.kernels.numba_blockterms import (
    ABSENT,
    BEND,
    COST,
    EDGE,
    KEPT,
    OFFER,
    SECOND,
    VALUE,
    inner,
    level_cost,
    once,
    pair_cost,
    shifted,
)

TINY_GAIN = 1e-9


@once
@no_type_check
def shuffle(order, rng):
    """Put 0 .. n - 1 into ``order``, at random."""
    for k in range(order.size):
        order[k] = k
    for k in range(order.size - 1, 0, -1):
        other = int(rng.random() * (k + 1))
        order[k], order[other] = order[other], order[k]


# ---- all sums ----------------------------------------------------------------------------------------
@once
@no_type_check
def total_cost(state, graph):
    """Description length in nats of graph, partition and levels."""
    n_units, n_blocks = state.labels.size, state.sizes[-1]
    cost = graph.by_blocks[n_blocks] + graph.constant + graph.tables[0, n_units]
    for r in range(n_blocks):
        cost -= graph.tables[0, state.sizes[r]]
    if graph.corrected:
        for kind in range(int(graph.prior == ABSENT), 2):
            cost += level_cost(state, graph, kind)
            for i in range(n_units):
                cost += graph.own[kind, i] * (state.levels[kind, i] - NEUTRAL)
    for layer in range(state.hand.size):
        for r in range(n_blocks):
            for s in range(r + 1):
                cost += state.sums[COST, layer, r, s]
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
        if r < 0:
            continue
        count_in(state, i, r, 1.0)
        for layer in range(state.hand.size):
            state.hand[layer] = 0.0
            state.sums[EDGE, layer, r, r] += graph.loops[layer, i]
            for j in range(n_units):
                s = state.labels[j]
                if s < 0:
                    continue
                half = 0.5 if s == r else 1.0
                edge = graph.pairs[EDGE, layer, i, j]
                shift = state.levels[1, i] + state.levels[1, j] - 2 * NEUTRAL
                value, second = shifted(
                    graph,
                    layer,
                    edge,
                    graph.pairs[VALUE, layer, i, j],
                    graph.pairs[SECOND, layer, i, j],
                    shift,
                )
                state.sums[EDGE, layer, r, s] += half * edge
                state.sums[VALUE, layer, r, s] += half * value
                state.sums[SECOND, layer, r, s] += half * second
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
    for layer in range(state.hand.size):
        for kind in range(6):
            value = 0.5 if kind == BEND else 0.0
            for s in range(state.sizes[-1] + 1):
                state.sums[kind, layer, r, s] = value
                state.sums[kind, layer, s, r] = value
            if kind < COST:
                state.rows[kind, layer, r] = 0.0


@inner
@no_type_check
def offer_row(state, graph, r, sign):
    """Nats of the row of block r with the edges in hand added (1) or taken away (-1); return the change."""
    change = 0.0
    for layer in range(state.hand.size):
        for s in range(max(state.sizes[-1], r + 1)):
            edges = state.sums[EDGE, layer, r, s] + sign * state.rows[EDGE, layer, s]
            if s == r:
                edges += sign * state.hand[layer]
            value = state.sums[VALUE, layer, r, s] + sign * state.rows[VALUE, layer, s]
            second = state.sums[SECOND, layer, r, s] + sign * state.rows[SECOND, layer, s]
            cost, mode, bend = pair_cost(state, graph, layer, r, s, edges, value, second)
            state.rows[OFFER + 0, layer, s] = cost
            state.rows[OFFER + 1, layer, s] = mode
            state.rows[OFFER + 2, layer, s] = bend
            change += cost - state.sums[COST, layer, r, s]
    return change


@inner
@no_type_check
def write_row(state, r, sign):
    """Put the offered row in force and add the edges in hand to its sums (or take them away)."""
    for layer in range(state.hand.size):
        state.sums[EDGE, layer, r, r] += sign * state.hand[layer]
        for s in range(state.sizes[-1]):
            for kind in range(6):
                value = state.rows[kind, layer, s]
                if kind < COST:
                    value = state.sums[kind, layer, r, s] + sign * value
                state.sums[kind, layer, r, s] = value
                state.sums[kind, layer, s, r] = value


@inner
@no_type_check
def count_in(state, i, r, sign):
    """Count unit i, with the levels it has, into block r or out of it."""
    by = int(sign)
    state.sizes[r] += by
    state.counts[r, state.levels[0, i]] += by
    state.level_sizes[0, state.levels[0, i]] += by
    state.level_sizes[1, state.levels[1, i]] += by


@inner
@no_type_check
def place_cost(state, graph, i, r):
    """Change in nats of partition and levels, and of what the levels do, once unit i is counted into r."""
    n_blocks = state.sizes[-1]
    cost = -np.log(state.sizes[r])
    if r == n_blocks:
        cost += graph.by_blocks[n_blocks + 1] - graph.by_blocks[n_blocks]
        if graph.heat > 0:
            cost -= np.log(n_blocks + 1.0)
    if graph.corrected:
        for kind in range(int(graph.prior == ABSENT), 2):
            cost += level_cost(state, graph, kind) + graph.own[kind, i] * (state.levels[kind, i] - NEUTRAL)
    return cost


@inner
@no_type_check
def gather_row(state, graph, i):
    """Sum the edges of unit i, and their values with what its own strength does to them, over each block.

    Units that are in no block (-1) do not count.
    """
    for layer in range(state.hand.size):
        state.hand[layer] = graph.loops[layer, i]
        for s in range(state.sizes[-1]):
            for kind in range(3):
                state.rows[kind, layer, s] = 0.0
        for j in range(state.labels.size):
            edge = graph.pairs[EDGE, layer, i, j]
            if edge > 0 and state.labels[j] >= 0:
                value, second = shifted(
                    graph, layer, edge, graph.pairs[VALUE, layer, i, j], graph.pairs[SECOND, layer, i, j],
                    state.levels[1, j] - NEUTRAL,
                )  # fmt: skip
                state.rows[EDGE, layer, state.labels[j]] += edge
                state.rows[VALUE, layer, state.labels[j]] += value
                state.rows[SECOND, layer, state.labels[j]] += second
    shift_hand(state, graph, state.levels[1, i] - NEUTRAL)


@once
@no_type_check
def take_out(state, graph, i):
    """Take unit i in hand; return where it was, and the nats that it cost there.

    A block that empties leaves: the unit was then in what is now the first unused one.
    """
    r = state.labels[i]
    gather_row(state, graph, i)
    for layer in range(state.hand.size):
        for s in range(state.sizes[-1]):
            for kind in range(3):
                state.rows[KEPT + kind, layer, s] = state.sums[COST + kind, layer, r, s]
    count_in(state, i, r, -1.0)
    change = offer_row(state, graph, r, -1.0)
    write_row(state, r, -1.0)
    group = state.groups[r]
    state.labels[i] = -1
    if state.sizes[r] == 0:
        drop_block(state, r)
        r = state.sizes[-1]
    clear_block(state, state.sizes[-1])
    state.groups[state.sizes[-1]] = group  # a new block would be founded where the unit comes from
    count_in(state, i, r, 1.0)
    cost = place_cost(state, graph, i, r) - change
    count_in(state, i, r, -1.0)
    return r, cost


@inner
@no_type_check
def shift_hand(state, graph, shift):
    """Take a strength of ``shift`` steps out of the values in hand."""
    for layer in range(state.hand.size):
        for s in range(state.sizes[-1]):
            value, second = state.rows[VALUE, layer, s], state.rows[SECOND, layer, s]
            value, second = shifted(graph, layer, state.rows[EDGE, layer, s], value, second, shift)
            state.rows[VALUE, layer, s] = value
            state.rows[SECOND, layer, s] = second


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
    state.groups[r] = state.groups[last]
    for level in range(N_LEVELS):
        state.counts[r, level] = state.counts[last, level]
    for layer in range(state.hand.size):
        for kind in range(6):
            if kind < COST:
                state.rows[kind, layer, r] = state.rows[kind, layer, last]
            for s in range(last):
                value = state.sums[kind, layer, last, s if s != r else last]
                state.sums[kind, layer, r, s] = value
                state.sums[kind, layer, s, r] = value


# ---- visiting -----------------------------------------------------------------------------------------
@once
@no_type_check
def visit(state, graph, i, rng):
    """Offer unit i every allowed place with every level; return whether it moved.

    When drawing, each unlabelled partition stands for n_blocks! labelled ones.
    """
    home, old_cost = take_out(state, graph, i)
    n_blocks = state.sizes[-1]
    a, c = state.levels[0, i], state.levels[1, i]
    shift_hand(state, graph, NEUTRAL - c)
    judge_levels(state, graph, i)
    totals = state.places
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
    shift_hand(state, graph, state.levels[1, i] - NEUTRAL)
    count_in(state, i, home, 1.0)
    state.labels[i] = home
    n_blocks = state.sizes[-1]
    if home == n_blocks:
        offer_row(state, graph, home, 1.0)
        state.sizes[-1] += 1
    else:
        for layer in range(state.hand.size):
            for s in range(n_blocks):
                for kind in range(3):
                    state.rows[OFFER + kind, layer, s] = state.rows[KEPT + kind, layer, s]
    write_row(state, home, 1.0)


@once
@no_type_check
def try_place(state, graph, i, r, judged, old_cost, rng):  # noqa: PLR0917
    """Compute in full what unit i costs in block r; put it there if that is taken."""
    shift = state.levels[1, i] - NEUTRAL
    shift_hand(state, graph, shift)
    count_in(state, i, r, 1.0)
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
        count_in(state, i, r, -1.0)
        shift_hand(state, graph, -shift)
    return taken


@once
@no_type_check
def sweep(state, graph, rng):
    """Visit all units in random order, or those of the two allowed blocks; return how many moved."""
    moved, allowed = 0, state.allowed
    shuffle(state.order, rng)
    for k in range(state.order.size):
        i = state.order[k]
        r = state.labels[i]
        if allowed[0] < 0 or ((r == allowed[0] or r == allowed[1]) and state.sizes[r] > 1):
            moved += visit(state, graph, i, rng)
    return moved
