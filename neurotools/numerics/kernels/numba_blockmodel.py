"""Compiled search and sampling for the block model: what Python calls.

``numerics.blockmodel.description_length`` is the plain definition and the oracle of everything here; terms
stand in ``numba_blockterms``, moves of units in ``numba_blockmoves``. Numba does not notice that a function
compiled elsewhere has changed; so what is cached closes over a stamp of all these files, which is part of
the key that it is found by.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, no_type_check

import numpy as np
from numba import njit
from scipy.special import gammaln

from neurotools.numerics.blockmodel import N_LEVELS
from neurotools.numerics.kernels.numba_blockmoves import refresh, sweep, total_cost
from neurotools.numerics.kernels.numba_blockterms import (
    COST,
    EDGE,
    FLAT,
    GRID,
    NORMAL_SHAPE,
    SECOND,
    TABLE_REACH,
    VALUE,
    VALUELESS,
    Graph,
    State,
    log_choose,
    once,
    pair_cost,
)

FILES = sorted(Path(__file__).parent.glob("numba_block*.py"))
STAMP = zlib.crc32(b"".join(file.read_bytes() for file in FILES))


# ---- moving blocks ----------------------------------------------------------------------------------
@once
@no_type_check
def merge_change(state, graph, r, s):
    """Change in nats if blocks r and s became one."""
    n_blocks = state.sizes[-1]
    n, m = state.sizes[r], state.sizes[s]
    change = graph.by_blocks[n_blocks - 1] - graph.by_blocks[n_blocks] - log_choose(graph, n + m, n)
    state.sizes[r] += m
    for level in range(N_LEVELS):
        state.counts[r, level] += state.counts[s, level]
    for layer in range(state.hand.size):
        change += state.sums[COST, layer, r, s]
        for t in range(n_blocks):
            change -= state.sums[COST, layer, r, t] + state.sums[COST, layer, s, t]
            if t != s:
                edges = state.sums[EDGE, layer, r, t] + state.sums[EDGE, layer, s, t]
                value = state.sums[VALUE, layer, r, t] + state.sums[VALUE, layer, s, t]
                second = state.sums[SECOND, layer, r, t] + state.sums[SECOND, layer, s, t]
                if t == r:
                    edges += state.sums[EDGE, layer, s, s]
                    value += state.sums[VALUE, layer, s, s]
                    second += state.sums[SECOND, layer, s, s]
                change += pair_cost(state, graph, layer, r, t, edges, value, second)[0]
    state.sizes[r] -= m
    for level in range(N_LEVELS):
        state.counts[r, level] -= state.counts[s, level]
    return change


def compile_search(stamp: int) -> tuple[Any, Any]:
    """Make what is cached; ``stamp`` tells versions of the compiled files apart."""

    @njit(cache=True, error_model="numpy", _nrt=False)
    @no_type_check
    def cheapest_merge(state, graph):
        """Return the two blocks that would cost least to make one, in a state that has settled."""
        n_blocks = state.sizes[-1]
        best, left, right = np.inf, n_blocks - 2, n_blocks - 1
        for s in range(n_blocks if stamp >= 0 else 0):
            for r in range(s):
                change = merge_change(state, graph, r, s)
                if change < best:
                    best, left, right = change, r, s
        return left, right

    @njit(cache=True, error_model="numpy", _nrt=False)
    @no_type_check
    def settle(state, graph, n_turns, rng):
        """Sweep until nothing moves, at most ``n_turns`` times; return the description length in nats."""
        for half in range(2 if stamp >= 0 else 0):  # one call of each function, compiled where it is called
            refresh(state, graph)
            if half == 0:
                for _ in range(n_turns):
                    if sweep(state, graph, rng) == 0:
                        break
        return total_cost(state, graph)

    return cheapest_merge, settle


cheapest_merge, settle = compile_search(STAMP)


# ---- the door ---------------------------------------------------------------------------------------
def graph_of(
    pairs: np.ndarray,
    *,
    by_blocks: np.ndarray,
    loops: np.ndarray | None = None,
    own: np.ndarray | None = None,
    family: int = VALUELESS,
    prior: int = FLAT,
    step: np.ndarray | None = None,
    constant: float = 0.0,
    corrected: bool = False,
) -> Graph:
    """Lay a graph out for the compiled functions, with the tables they look logarithms up in.

    ``pairs`` is (3, layer, unit, unit): edges, values and their second statistic; ``loops`` (layer, unit).
    """
    n_layers, n_units = pairs.shape[1:3]
    loops = np.zeros((n_layers, n_units)) if loops is None else loops
    most = n_units * (n_units + 1) // 2 + 3
    if loops.any():
        most += int(pairs[EDGE].sum() / 2 + loops.sum())
    k = np.arange(most)
    x = (np.arange(2 * TABLE_REACH + 1) - TABLE_REACH) * GRID
    return Graph(
        pairs=np.ascontiguousarray(pairs, dtype=float),
        loops=np.ascontiguousarray(loops, dtype=float),
        own=np.zeros((2, n_units)) if own is None else np.ascontiguousarray(own, dtype=float),
        by_blocks=np.ascontiguousarray(by_blocks, dtype=float),
        expected=np.zeros((2, n_layers, 1, 1)),
        tables=np.stack([gammaln(k + 1.0), gammaln(NORMAL_SHAPE + 0.5 * k)]),
        scale=np.ones(n_layers),
        step=np.zeros(n_layers) if step is None else step,
        curves=np.stack([np.logaddexp(0.0, x), 0.5 + 0.5 * np.tanh(0.5 * x)]),
        constant=float(constant), family=family, prior=prior, corrected=corrected, heat=0.0,
    )  # fmt: skip


def state_of(labels: np.ndarray, levels: np.ndarray, n_layers: int = 1) -> State:
    """Lay a partition out for the compiled functions; its sums are empty until refreshed."""
    n = labels.size
    return State(
        labels=labels.astype(np.int64),
        levels=levels.astype(np.int64),
        level_sizes=np.zeros((2, N_LEVELS), np.int64),
        sizes=np.zeros(n + 2, np.int64),
        groups=np.zeros(n + 1, np.int64),
        counts=np.zeros((n + 1, N_LEVELS), np.int64),
        sums=np.zeros((6, n_layers, n + 1, n + 1)),
        rows=np.zeros((9, n_layers, n + 1)),
        hand=np.zeros(n_layers),
        bids=np.zeros((n + 1, 1 + 2 * N_LEVELS)),
        places=np.zeros(n + 1),
        order=np.zeros(n, np.int64),
        totals=np.zeros(2 * N_LEVELS - 1),
        allowed=np.array([-1, 1]),
    )
