"""Sweeps of the factorisation beside tensorly's, in one process on one thread: ``python -m benchmarks.ntf``.

tensorly starts from the same factors on the same dense tensor. Its seconds per sweep are those of eleven
sweeps less those of one, over ten, so that its preparation is left out. CPU time, the best of several.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from benchmarks import planted, sweeps, timing
from benchmarks.record import Row

N_UNITS, N_TIME, RANK = 200, 300, 10
SWEEPS = 10


def tensorly_hals(
    x: np.ndarray, start: Sequence[np.ndarray], n_sweeps: int
) -> tuple[list[np.ndarray], list[float]]:
    """Factors (component, entry) and the error after each sweep of tensorly's non-negative CP by HALS."""
    from tensorly.cp_tensor import CPTensor
    from tensorly.decomposition import non_negative_parafac_hals

    begin = CPTensor((None, [factor.T.copy() for factor in start]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # tol so small that it makes every sweep, but not zero, which would leave out the error
        found, errors = non_negative_parafac_hals(
            x, rank=len(start[0]), n_iter_max=n_sweeps, init=begin, tol=1e-300, return_errors=True
        )
    return [np.asarray(factor).T for factor in found.factors], [float(e) for e in errors]


def random_start(x: np.ndarray, rank: int, seed: int = 1) -> list[np.ndarray]:
    """Uniform factors (component, entry)."""
    rng = np.random.default_rng(seed)
    return [rng.random((rank, size)) for size in x.shape]


def rows() -> list[Row]:
    """Milliseconds per sweep of ours and of tensorly, and their ratios."""
    with timing.one_thread():
        x, _ = planted.symmetric_tensor(N_UNITS, N_TIME, RANK)
        start = random_start(x, RANK)
        peak = timing.gemm_peak()
        dense, peer = dense_times(x, start)
        return [
            Row("matrix product of 1,024, same process", peak / 1e9, unit="GFlop/s"),
            *dense_rows(dense, peer, peak),
            *single_precision_rows(x, start),
            *implicit_rows(peer),
            *time_to_error_rows(x, start, dense, peer),
        ]


def dense_times(x: np.ndarray, start: Sequence[np.ndarray]) -> tuple[float, float]:
    """Seconds of one of our sweeps and of one of tensorly's, called in turn."""
    call = sweeps.dense_sweep(x, list(start))
    ours, eleven = timing.alternate(call, lambda: tensorly_hals(x, start, SWEEPS + 1), repeats=3)
    one = timing.best_of(lambda: tensorly_hals(x, start, 1), repeats=3)
    return min(ours, timing.best_of(call, repeats=10)), (eleven - one) / SWEEPS


def dense_rows(ours: float, peer: float, peak: float) -> list[Row]:
    """Sweeps over the dense tensor."""
    flops = sweeps.dense_flops(N_UNITS, N_TIME, RANK)
    size = f"{N_UNITS} x {N_UNITS} x {N_TIME}, rank {RANK}"
    return [
        Row(f"dense sweep, {size}", ours * 1e3, unit="ms", note="float64"),
        Row("the same, tensorly HALS", peer * 1e3, unit="ms", note="float64"),
        Row("tensorly over ours, dense", peer / ours, ">= 1.9"),
        Row(
            "three products of ours, of the peak", 100 * flops / ours / peak, ">= 40", unit="%",
            note="as if none were shared between modes; two are made",
        ),
        Row("three products of tensorly, of the peak", 100 * flops / peer / peak, unit="%"),
    ]  # fmt: skip


def single_precision_rows(x: np.ndarray, start: Sequence[np.ndarray]) -> list[Row]:
    """The dense sweep in float32."""
    peak = timing.gemm_peak("float32")
    seconds = timing.best_of(sweeps.dense_sweep(x, list(start), dtype="float32"), repeats=10)
    share = 100 * sweeps.dense_flops(N_UNITS, N_TIME, RANK) / seconds / peak
    return [Row("dense sweep, float32", seconds * 1e3, unit="ms", note=f"{share:.0f} % of the float32 peak")]


def implicit_rows(peer: float) -> list[Row]:
    """Sweeps that never make a pair, at the size of the dense ones and at one that has no dense tensor."""
    layout = sweeps.implicit_layout(N_UNITS, N_TIME)
    one = timing.best_of(sweeps.layout_sweep(layout, RANK), repeats=30)
    ten = timing.best_of(sweeps.layout_sweep(layout, RANK, 10), repeats=20) / 10
    large = timing.best_of(sweeps.layout_sweep(sweeps.implicit_layout(2000, 3000), RANK), repeats=3)
    pairs = timing.best_of(sweeps.layout_sweep(sweeps.pair_layout(N_UNITS, N_TIME), RANK), repeats=5)
    return [
        Row("implicit symcp sweep, same size", one * 1e3, unit="ms"),
        Row("tensorly over ours, symcp", peer / one, ">= 50", note="tensorly on the dense tensor"),
        Row("implicit symcp sweep, ten restarts at once, each", ten * 1e3, unit="ms"),
        Row("tensorly over ours, symcp, ten restarts at once", peer / ten),
        Row("implicit symcp sweep, 2,000 units x 3,000 times", large, "<= 0.2", unit="s", note="CPU time"),
        Row("pair sweep, same size", pairs * 1e3, unit="ms", note="a free value for each pair"),
    ]


def time_to_error_rows(
    x: np.ndarray, start: Sequence[np.ndarray], dense: float, peer: float, n_sweeps: int = 20
) -> list[Row]:
    """CPU seconds, preparation left out, until the error is within half a percent of the best reached."""
    from neurotools.numerics import cp

    norm2, factors, ours = float((x * x).sum()), [f[None] for f in start], []
    for _ in range(n_sweeps):
        factors, error = cp.sweep(x, factors, sweeps.PASSES, norm2)
        ours.append(float(error[0]))
    theirs = tensorly_hals(x, start, n_sweeps)[1]
    goal = 1.005 * min(*ours, *theirs)
    counts = [next((k + 1 for k, e in enumerate(errors) if e <= goal), None) for errors in (ours, theirs)]
    if None in counts:
        return [Row("sweeps to the common error", float("nan"), note=f"ours, tensorly: {counts}")]
    return [
        Row("time to an error of " + f"{goal:.4f}", counts[0] * dense, unit="s", note=f"{counts[0]} sweeps"),
        Row("the same, tensorly HALS", counts[1] * peer, unit="s", note=f"{counts[1]} sweeps"),
    ]


if __name__ == "__main__":
    import sys

    from benchmarks.validate import run_here

    with timing.one_thread():
        status = run_here("ntf_speed")
    sys.exit(status)
