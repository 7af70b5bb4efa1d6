"""Seconds and agreement of the block model beside Louvain's method: ``python -m benchmarks.block_model``.

Louvain (networkx) answers another question, dense inside and thin between, and is much quicker; the table
shows on which graphs that question is enough. CPU time of one thread.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import planted, timing
from benchmarks.checks.communities import fitted, louvain, nmi
from benchmarks.record import ROOT, Row

SIZES = (75, 125)
GRAPHS = {
    "dense inside": planted.assortative,
    "weights by pair of blocks": planted.weights_only,
    "no blocks": planted.no_blocks,
}
N_GRAPHS = 3


def rows() -> list[Row]:
    """Seconds per graph of ours and of the peer, and what both found."""
    with timing.one_thread():
        fitted(planted.assortative(np.random.default_rng(0), 30))  # loads what was compiled
        table = [row for words in GRAPHS for n_units in SIZES for row in graph_rows(words, n_units)]
    return [*table, *first_call()]


def graph_rows(words: str, n_units: int) -> list[Row]:
    """Mean over a few graphs of one kind."""
    truth = planted.five_blocks(n_units)
    ours, peer, found = [], [], []
    for seed in range(N_GRAPHS):
        weights = GRAPHS[words](np.random.default_rng(seed), n_units)
        start = time.process_time()
        fit = fitted(weights)
        middle = time.process_time()
        labels = louvain(weights)
        ours.append(middle - start)
        peer.append(time.process_time() - middle)
        score = nmi(fit["label"].to_numpy(), truth)
        edges = nmi(louvain((weights > 0).astype(float)), truth)
        found.append((int(fit["n_blocks"]), score, labels.max() + 1, nmi(labels, truth), edges))
    n_blocks, score, their_blocks, their_score, by_edges = np.mean(found, axis=0)
    known = words != "no blocks"
    note = f"{n_blocks:.1f} blocks" + (f", NMI {score:.2f}" if known else "")
    their_note = f"{their_blocks:.1f} communities"
    their_note += f", NMI {their_score:.2f}; on edges alone {by_edges:.2f}" if known else ""
    compared = f"one motif of {n_units} units, {words}"
    return [
        Row(compared, float(np.mean(ours)), unit="s", note=f"both variants; {note}"),
        Row("the same, Louvain (networkx)", float(np.mean(peer)), unit="s", note=their_note),
        Row("ours over Louvain", float(np.mean(ours) / np.mean(peer))),
    ]


FIRST = """
import time
import numpy as np
from benchmarks.checks.communities import fitted
weights = np.triu(np.random.default_rng(0).random((20, 20)), 1)
weights = weights + weights.T
times = []
for _ in range(2):
    start = time.process_time()
    fitted(weights)
    times.append(time.process_time() - start)
print(times[0] - times[1])
"""


def first_call() -> list[Row]:
    """CPU seconds that the first fit of a process takes beyond the second, with nothing compiled before."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {**os.environ, "NUMBA_CACHE_DIR": folder, "OMP_NUM_THREADS": "1"}
        seconds = [
            float(
                subprocess.run(
                    [sys.executable, "-c", FIRST],
                    cwd=ROOT, env=settings, capture_output=True, text=True, check=True,
                ).stdout
            )
            for _ in range(2)
        ]  # fmt: skip
    return [
        Row("first fit, nothing compiled", seconds[0], "<= 10", unit="s", note="once per installation"),
        Row("first fit of a process, compiled before", seconds[1], unit="s"),
    ]


if __name__ == "__main__":
    from benchmarks.validate import run_here

    with timing.one_thread():
        status = run_here("block_model_speed")
    sys.exit(status)
