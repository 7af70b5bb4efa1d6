"""Compiled merges and splits of blocks, drawn so that partitions come out with their posterior probability.

Two units are drawn. Of one block, it is proposed to split it: each of the two founds a block, and the other
members join either, one after the other in random order, with the probability that their edges and values
give (which also says how likely the proposal was). Of two blocks, it is proposed to merge them, and the
chance of splitting them back is found by letting their members join as they did. Jain and Neal (2004),
Journal of Computational and Graphical Statistics 13, 158, with the sequential split of Dahl (2005).
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.blockmodel import NEUTRAL
from neurotools.numerics.kernels.numba_blockjudge import judge_edges, judge_values
from neurotools.numerics.kernels.numba_blockmodel import STAMP
from neurotools.numerics.kernels.numba_blockmoves import (
    clear_block,
    count_in,
    gather_row,
    offer_row,
    refresh,
    shuffle,
    total_cost,
    write_row,
)
from neurotools.numerics.kernels.numba_blockterms import inner, once


@inner
@no_type_check
def join(state, graph, k, r):
    """Put unit k, which is in hand, into block r, the first unused one included."""
    count_in(state, k, r, 1.0)
    state.labels[k] = r
    offer_row(state, graph, r, 1.0)
    state.sizes[-1] += r == state.sizes[-1]
    write_row(state, r, 1.0)


@inner
@no_type_check
def bid(state, graph, k, r):
    """Nats of unit k, which is in hand, in block r, with the levels it has."""
    nats = -np.log(state.sizes[r] + 1.0)
    for layer in range(state.hand.size):
        nats += judge_edges(state, graph, layer, r, state.levels[0, k])
        nats += judge_values(state, graph, layer, r, NEUTRAL)
    return nats


@once
@no_type_check
def empty_blocks(state, graph, r, s):
    """Take all units of blocks r and s out (label -1) and number the other blocks without a gap."""
    for k in range(state.labels.size):
        at = state.labels[k]
        gone = at == r or at == s  # noqa: PLR1714 - a set would need memory
        state.labels[k] = -1 if gone else at - (at > r) - (s != r and at > s)
    refresh(state, graph)


@once
@no_type_check
def allocate(state, graph, i, j, before, same, rng):  # noqa: PLR0917
    """Let i and j found a block each and the other units join one; return the log of their probability.

    Units of two blocks (``same`` is False) join as they were ``before``; else by chance.
    """
    log_chance, first = 0.0, state.sizes[-1]
    shuffle(state.order, rng)
    for turn in range(-2, state.order.size):
        k = i if turn == -2 else (j if turn == -1 else state.order[max(turn, 0)])
        if state.labels[k] >= 0:
            continue
        if turn < 0:
            clear_block(state, state.sizes[-1])
        gather_row(state, graph, k)
        to = first + turn + 2
        if turn >= 0:
            odds = bid(state, graph, k, first) - bid(state, graph, k, first + 1)
            second = rng.random() * (1.0 + np.exp(min(odds, 700.0))) > 1.0 if same else before[k] == before[j]
            log_chance -= np.log1p(np.exp(min(-odds if second else odds, 700.0)))
            to = first + 1 if second else first
        join(state, graph, k, to)
    return log_chance


def compile_splits(stamp: int) -> Any:
    """Make what is cached; ``stamp`` tells versions of the compiled files apart."""

    @njit(cache=True, error_model="numpy", _nrt=False)
    @no_type_check
    def merge_split(state, graph, before, cost, n_turns, rng):  # noqa: PLR0917
        """Propose merges and splits in a state of ``cost`` nats; return its nats then.

        And how many were taken. ``before`` is room for one more set of labels.
        """
        taken, n = 0, state.labels.size
        for _ in range(n_turns if stamp >= 0 else 0):
            n_blocks, i = state.sizes[-1], int(rng.random() * n)
            j = (i + 1 + int(rng.random() * (n - 1))) % n
            for k in range(n):
                before[k] = state.labels[k]
            same = before[i] == before[j]
            empty_blocks(state, graph, before[i], before[j])
            log_chance = allocate(state, graph, i, j, before, same, rng)
            log_ratio = np.log(n_blocks + 1.0) - log_chance
            if not same:
                log_ratio = log_chance - np.log(n_blocks + 0.0)
                for k in range(n):
                    if state.labels[k] == n_blocks - 1:
                        state.labels[k] = n_blocks - 2
            for half in range(2):  # as proposed; and as it was, if that is not taken
                refresh(state, graph)
                after = total_cost(state, graph)
                if half == 1 or np.log(rng.random()) < cost - after + log_ratio:
                    taken, cost = taken + 1 - half, after
                    break
                for k in range(n):
                    state.labels[k] = before[k]
        return cost, taken

    return merge_split


merge_split = compile_splits(STAMP)
