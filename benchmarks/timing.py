"""Time ours and the peer in one process, alternating, on pinned threads; and the machine's own peak."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import numpy as np

Clock = Callable[[], float]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Hold BLAS and OpenMP to one thread within this block."""
    import threadpoolctl

    with threadpoolctl.threadpool_limits(1):
        yield


def best_of(call: Callable[[], object], repeats: int = 5, clock: Clock = time.process_time) -> float:
    """Least seconds of several calls; the first, which compiles and warms, is not counted."""
    call()
    return min(_seconds(call, clock) for _ in range(repeats))


def alternate(
    ours: Callable[[], object], peer: Callable[[], object], repeats: int = 5
) -> tuple[float, float]:
    """Best CPU seconds of both, called in turn, so that a busy neighbour hits both alike."""
    ours()
    peer()
    pairs = [(_seconds(ours), _seconds(peer)) for _ in range(repeats)]
    return min(a for a, _ in pairs), min(b for _, b in pairs)


def _seconds(call: Callable[[], object], clock: Clock = time.process_time) -> float:
    start = clock()
    call()
    return clock() - start


def gemm_peak(dtype: str = "float64", size: int = 1024) -> float:
    """Floating-point operations per second of a square matrix product in this process."""
    a = np.random.default_rng(0).random((size, size)).astype(dtype)
    return 2 * size**3 / best_of(lambda: a @ a, repeats=5)
