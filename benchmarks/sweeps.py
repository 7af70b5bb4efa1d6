"""One sweep of each factorisation, on any device: what the speed rows time.

Nothing but NumPy, SciPy and the numerics is imported here, so that the same sweeps are timed on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from neurotools.arrays import to_device
from neurotools.numerics import affinity, cp, ntf, pairs, units

Call = Callable[[], Any]
PASSES = 5  # rounds over the components in one update, as many as tensorly makes


def dense_flops(n_units: int, n_time: int, rank: int) -> float:
    """Operations of the three products with a dense tensor that a sweep without sharing needs."""
    return 6.0 * n_units**2 * n_time * rank


def dense_sweep(x: np.ndarray, start: list[np.ndarray], device: str = "cpu", dtype: str = "float64") -> Call:
    """A sweep over a dense tensor from given factors (component, entry)."""
    values = to_device(x, device, dtype)
    norm2 = float(np.sum(x.astype("float64") ** 2))
    factors = [to_device(np.ascontiguousarray(f[None]), device, dtype) for f in start]
    return lambda: cp.sweep(values, factors, PASSES, norm2)


def slopes(n_units: int, n_time: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rising and falling parts (subject, time, unit) of traces that rest two thirds of the time."""
    rng = np.random.default_rng(seed)
    g = rng.normal(size=(1, n_time, n_units)) * (rng.random((1, n_time, n_units)) < 0.36)
    return np.maximum(g, 0.0), np.maximum(-g, 0.0)


def implicit_layout(
    n_units: int, n_time: int, device: str = "cpu", dtype: str = "float64", kernel: str = "geomean"
) -> ntf.Layout:
    """One loading per unit, from drives alone: no pair is ever made."""
    up, down = (to_device(part, device, dtype) for part in slopes(n_units, n_time))
    products = units.SHORT_FORMS[kernel](affinity.stacked(up, down))
    return ntf.UnitLayout(products, np.ones((1, n_units), dtype=bool), n_time)


def pair_layout(
    n_units: int, n_time: int, device: str = "cpu", dtype: str = "float64", kernel: str = "geomean"
) -> ntf.Layout:
    """A free value for every pair; the pairs are kept in memory."""
    up, down = (to_device(part, device, dtype) for part in slopes(n_units, n_time))
    data = pairs.made(kernel, affinity.stacked(up, down), 1e12)
    return ntf.PairLayout(data, np.ones((1, n_units), dtype=bool))


def layout_sweep(layout: ntf.Layout, rank: int, n_restarts: int = 1) -> Call:
    """A sweep of all restarts at once."""
    begin = ntf.start(layout, rank, [(0, k) for k in range(n_restarts)])
    return lambda: ntf.sweep(layout, begin)
