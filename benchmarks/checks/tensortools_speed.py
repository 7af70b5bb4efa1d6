"""Sweeps of the factorisation beside tensortools, which runs in a Python of its own; restarts together."""

from __future__ import annotations

import numpy as np

from benchmarks import planted, sweeps, timing
from benchmarks.ntf import N_TIME, N_UNITS, RANK, random_start
from benchmarks.record import Row
from neurotools.numerics import cp


def beside_tensortools() -> list[Row]:
    """A dense sweep of ours, alone and of ten restarts at once, beside a warm one of tensortools.

    tensortools runs in a Python of its own, one after the other with ours, on one thread too; the matrix
    product of each process says how alike the two are.
    """
    from benchmarks.peers import run_peer

    with timing.one_thread():
        x, _ = planted.symmetric_tensor(N_UNITS, N_TIME, RANK)
        start = random_start(x, RANK)
        found = run_peer("tensortools_sweeps", x=x, **{f"start_{k}": mode for k, mode in enumerate(start)})
        ours = timing.best_of(sweeps.dense_sweep(x, list(start)), repeats=10)
        peak = timing.gemm_peak()
        ten = timing.best_of(dense_sweep_of(x, [random_start(x, RANK, k) for k in range(10)]), repeats=4)
    theirs = float(found["sweep"])
    return [
        Row("dense sweep, tensortools, warm", theirs * 1e3, unit="ms",
            note=f"error {float(found['error']):.4f} after 20 sweeps"),
        Row("dense sweep, ours", ours * 1e3, unit="ms"),
        Row("tensortools over ours", theirs / ours, ">= 1.5"),
        Row("matrix product of its process over that of ours", float(found["product"]) * peak / (2 * 1024**3),
            note="seconds; one where both run alike"),
        Row("dense sweep, ours, ten restarts at once, each", ten / 10 * 1e3, unit="ms"),
        Row("one restart over one of ten", ours / (ten / 10)),
    ]  # fmt: skip


def dense_sweep_of(x: np.ndarray, starts: list[list[np.ndarray]]) -> sweeps.Call:
    """A sweep over a dense tensor of several restarts at once."""
    norm2 = float(np.sum(x.astype("float64") ** 2))
    factors = [np.ascontiguousarray(np.stack(mode)) for mode in zip(*starts, strict=True)]
    return lambda: cp.sweep(x, factors, sweeps.PASSES, norm2)
