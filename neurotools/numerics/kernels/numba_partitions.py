"""Compiled search for the partition that lies nearest to many: item by item, from tables of shared counts.

``numerics.point_partition`` defines what is minimised and drives the search. For every draw m a table holds
how many items lie in block k of the draw and block c of the candidate, so that moving an item costs one look
per draw and block, whatever the number of items; a matrix of pairs of items is never made.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

TIE = 1e-12  # costs that differ by less are equal, and an item stays


@njit(cache=True, fastmath=False)
@no_type_check
def tables(labels, draws, n_blocks, n_blocks_to):
    """Count items (draw, block of the draw, block of the candidate); items labelled -1 are left out."""
    n_items, n_draws = draws.shape
    table = np.zeros((n_draws, n_blocks_to, n_blocks), dtype=np.int32)
    for i in range(n_items):
        if labels[i] >= 0:
            for m in range(n_draws):
                table[m, draws[i, m], labels[i]] += 1
    return table


@njit(cache=True, fastmath=False)
@no_type_check
def sweep_additive(labels, order, draws, table, sizes, gain, out):  # noqa: PLR0917
    """Give every item of ``order`` the block of least cost; return how many moved.

    ``gain[n]`` is h(n + 1) - h(n) of a loss that is a sum of h over blocks. ``out`` is room for costs.
    """
    n_draws = draws.shape[1]
    moved = 0
    for i in order:
        old = labels[i]
        if old >= 0:
            sizes[old] -= 1
            for m in range(n_draws):
                table[m, draws[i, m], old] -= 1
        n_open = _open_blocks(sizes)
        out[:n_open] = 0.0
        for m in range(n_draws):
            row = table[m, draws[i, m]]
            for c in range(n_open):
                out[c] += gain[row[c]]
        for c in range(n_open):
            out[c] = gain[sizes[c]] - 2.0 * out[c] / n_draws
        new = _least(out, sizes, n_open, old)
        moved += new != old
        labels[i] = new
        sizes[new] += 1
        for m in range(n_draws):
            table[m, draws[i, m], new] += 1
    return moved


@njit(cache=True, fastmath=False)
@no_type_check
def sweep_rand(labels, order, draws, table, sizes, pairs_of_draw, out):  # noqa: PLR0917
    """The same for the expected adjusted Rand index, which is no sum over blocks; every item has a block."""
    n_items, n_draws = draws.shape
    n_pairs = max(n_items * (n_items - 1) / 2.0, 1.0)
    both = _pairs_in_common(table)
    here = 0.0
    for c in range(sizes.size):
        here += sizes[c] * (sizes[c] - 1) / 2.0
    moved = 0
    for i in order:
        old = labels[i]
        sizes[old] -= 1
        here -= sizes[old]
        for m in range(n_draws):
            table[m, draws[i, m], old] -= 1
            both[m] -= table[m, draws[i, m], old]
        n_open = _open_blocks(sizes)
        out[:n_open] = 0.0
        for m in range(n_draws):
            row = table[m, draws[i, m]]
            there = pairs_of_draw[m]
            for c in range(n_open):
                pairs = here + sizes[c]
                chance = pairs * there / n_pairs
                room = (pairs + there) / 2.0 - chance
                out[c] -= (both[m] + row[c] - chance) / room if room != 0.0 else 1.0
        for c in range(n_open):
            out[c] /= n_draws
        new = _least(out, sizes, n_open, old)
        moved += new != old
        labels[i] = new
        here += sizes[new]
        sizes[new] += 1
        for m in range(n_draws):
            both[m] += table[m, draws[i, m], new]
            table[m, draws[i, m], new] += 1
    return moved


@njit(cache=True, fastmath=False)
@no_type_check
def _pairs_in_common(table):
    both = np.zeros(table.shape[0])
    for m in range(table.shape[0]):
        for k in range(table.shape[1]):
            for c in range(table.shape[2]):
                both[m] += table[m, k, c] * (table[m, k, c] - 1) / 2.0
    return both


@njit(cache=True, fastmath=False)
@no_type_check
def _open_blocks(sizes):
    """Blocks to look at: all up to the last that is used, and one empty one after it if there is room."""
    last = -1
    for c in range(sizes.size):
        if sizes[c] > 0:
            last = c
    return min(last + 2, sizes.size)


@njit(cache=True, fastmath=False)
@no_type_check
def _least(cost, sizes, n_open, old):
    best = 0
    for c in range(1, n_open):
        if cost[c] < cost[best] - TIE:
            best = c
    # Among blocks that cost the same an item stays where it was, or the search would never end.
    if 0 <= old < n_open and cost[old] <= cost[best] + TIE:
        return old
    return best


@njit(cache=True, fastmath=False)
@no_type_check
def overlaps(labels, draws, n_blocks, n_blocks_to, h):
    """Sum of h over the table of shared counts, of every draw by itself: no table of all draws is made."""
    n_items, n_draws = draws.shape
    total = np.zeros(n_draws)
    table = np.zeros((n_blocks_to, n_blocks), dtype=np.int64)
    for m in range(n_draws):
        table[:] = 0
        for i in range(n_items):
            table[draws[i, m], labels[i]] += 1
        for k in range(n_blocks_to):
            for c in range(n_blocks):
                total[m] += h[table[k, c]]
    return total
