"""Time ours and the peer in one process, alternating, on pinned threads; and the machine's own peak."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np


def best_of(call: Callable[[], object], repeats: int = 5) -> float:
    """Least CPU seconds of several calls; the first, which compiles and warms, is not counted."""
    call()
    return min(_cpu_seconds(call) for _ in range(repeats))


def alternate(
    ours: Callable[[], object], peer: Callable[[], object], repeats: int = 5
) -> tuple[float, float]:
    """Best CPU seconds of both, called in turn, so that a busy neighbour hits both alike."""
    ours()
    peer()
    pairs = [(_cpu_seconds(ours), _cpu_seconds(peer)) for _ in range(repeats)]
    return min(a for a, _ in pairs), min(b for _, b in pairs)


def _cpu_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def gemm_peak(dtype: str = "float64", size: int = 1024) -> float:
    """Floating-point operations per second of a square matrix product in this process."""
    a = np.random.default_rng(0).random((size, size)).astype(dtype)
    return 2 * size**3 / best_of(lambda: a @ a, repeats=5)
