"""Partitions drawn from the posterior of the block model, by merges and splits of blocks and moves of units.

What a partition costs is defined in ``blockmodel``; an unlabelled partition of B blocks stands for B!
labelled ones, so that its probability is proportional to B! exp(-description length).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from neurotools.numerics.blockmodel import Layers, by_size
from neurotools.numerics.blocksearch import Found, Search, graph_of
from neurotools.numerics.blockweights import FAMILIES

N_PROPOSALS = 10  # merges and splits before each sweep over the units


@dataclass(frozen=True)
class Draws:
    """Partitions drawn from the posterior: labels (numbered largest first) and what each costs.

    ``acceptance`` is the share of proposed merges and splits that were taken.
    """

    labels: Int[np.ndarray, "draw unit"]
    description_length: Float[np.ndarray, " draw"]
    acceptance: float


def sample_partitions(
    weights: Layers,
    begin: Found,
    *,
    corrected: bool,
    n_draws: int,
    seed: int,
    n_skipped: int | None = None,
    family: str = "exponential",
) -> Draws:
    """Draw partitions (and levels) with probability exp(-description length) times the number of their names.

    Before each draw come ``N_PROPOSALS`` merges or splits and one sweep over all units; ``n_skipped`` draws
    at the start are left out (a quarter of ``n_draws``). The scale of the weights' prior stays that of
    ``begin``.
    """
    from neurotools.numerics.kernels import numba_blocksplits

    search = Search(graph_of(weights, corrected, family), np.random.default_rng(seed), FAMILIES[family])
    state = search.state_of(begin.labels, begin.levels)
    cost = search.settle(state, n_turns=0)
    graph = search.graph._replace(heat=1.0)
    skip = n_draws // 4 if n_skipped is None else n_skipped
    labels, lengths, taken, before = [], [], 0, np.zeros_like(state.labels)
    for turn in range(skip + n_draws):
        cost, n_taken = numba_blocksplits.merge_split(state, graph, before, cost, N_PROPOSALS, search.rng)
        cost = search.kernel.settle(state, graph, 1, search.rng)
        taken += n_taken
        if turn >= skip:
            labels.append(by_size(state.labels))
            lengths.append(cost)
    share = taken / max((skip + n_draws) * N_PROPOSALS, 1)
    return Draws(np.array(labels), np.array(lengths), share)
