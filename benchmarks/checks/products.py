"""Products of an affinity that is never made, against the dense tensor written out in full."""

from __future__ import annotations

import numpy as np

import neurotools as nt
from benchmarks.record import Row
from neurotools.numerics import affinity, ntf, pairs, units

DEFINITIONS = {
    "geomean": lambda a, b: np.sqrt(a * b),
    "product": lambda a, b: a * b,
    "min": np.minimum,
    "ratio": lambda a, b: np.minimum(a, b) / np.where((a > 0) | (b > 0), np.maximum(a, b), 1.0),
}
BOUNDS = {"float64": "<= 1e-12", "float32": "<= 5e-6"}
HIDDEN = 0.3
RANK, RESTARTS = 4, 2


def implicit_equals_dense() -> list[Row]:
    """Products of both layouts for all four kernels, with a third of the (subject, unit) rows missing.

    The bundled songbird recording, cut into three stretches that stand for three subjects. Float32 drives
    are compared with the dense tensor of these very drives in float64.
    """
    up, down, observed = songbird_with_missing_rows()
    return [
        Row(
            f"{kernel}, {layout}, {dtype}: largest difference over largest product",
            largest_difference(layout, kernel, [part.astype(dtype) for part in (up, down)], observed),
            BOUNDS[dtype],
        )
        for kernel in DEFINITIONS
        for layout in ("pair", "symcp")
        for dtype in BOUNDS
    ]


def songbird_with_missing_rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drives (subject, time, unit), zero where a unit is hidden, and which units each subject shows."""
    activity = nt.load("songbird-hvc")["calcium/activity"]
    made = nt.differential_affinity(activity, smooth_s=2 / 30)
    observed = np.random.default_rng(20261121).random((3, activity.sizes["unit"])) >= HIDDEN
    up, down = (
        made[name].transpose("time", "unit").to_numpy().reshape(3, -1, observed.shape[1]) * observed[:, None]
        for name in ("drive_up", "drive_down")
    )
    return up, down, observed


def dense(kernel: str, up: np.ndarray, down: np.ndarray) -> np.ndarray:
    """X[subject, time, unit, unit] by the definition of a kernel, diagonal zero."""
    define = DEFINITIONS[kernel]
    parts = [part.astype("float64") for part in (up, down)]
    both = sum(define(part[..., :, None], part[..., None, :]) for part in parts)
    return both * (1 - np.eye(up.shape[-1]))


def largest_difference(layout: str, kernel: str, drives: list[np.ndarray], observed: np.ndarray) -> float:
    """Over the products for space and for time and the norm, from random factors."""
    x = dense(kernel, *drives)
    stacked = affinity.stacked(*drives)
    n_subjects, n_time, n_units = drives[0].shape
    data: ntf.Layout
    if layout == "pair":
        blocks = pairs.PairTensor(affinity.slices_of(kernel, stacked), n_subjects * n_time, n_units, 100)
        data = ntf.PairLayout(blocks, observed)
    else:
        data = ntf.UnitLayout(units.SHORT_FORMS[kernel](stacked), observed, n_time)
    start = ntf.start(data, RANK, [(0, k) for k in range(RESTARTS)])
    space, subject, time = (factor.astype("float64") for factor in (start.space, start.subject, start.time))
    product, _ = data.terms(start)
    weighted = np.einsum("wtij,qrw,qrt->qrij", x, subject, time, optimize=True)
    if layout == "pair":
        expected = affinity.pack(weighted)
    else:
        expected = np.einsum("qrij,qrj->qri", weighted, space)
    seen = 0.5 * np.einsum("wtij,qrij->qrwt", x, motifs(layout, space, n_units), optimize=True)
    norm2 = 0.5 * float((x**2).sum())
    found = ((product, expected), (data.project(start.space), seen), (np.array(data.norm2), np.array(norm2)))
    return max(gap(there, here) for there, here in found)


def motifs(layout: str, space: np.ndarray, n_units: int) -> np.ndarray:
    """Matrices (restart, component, unit, unit) of either layout."""
    if layout == "pair":
        return affinity.unpack(space, n_units)
    return space[..., :, None] * space[..., None, :] * (1 - np.eye(n_units))


def gap(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference over largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def gradients() -> list[Row]:
    """Gradients of least squares over observed entries, against residuals summed entry by entry."""
    up, down, observed = songbird_with_missing_rows()
    rows = []
    for layout in ("pair", "symcp"):
        worst = max(gradient_gaps(layout, up, down, observed))
        rows.append(Row(f"{layout}: gradient over observed entries", worst, "<= 1e-10"))
    return rows


def gradient_gaps(layout: str, up: np.ndarray, down: np.ndarray, observed: np.ndarray) -> list[float]:
    """Largest difference over largest gradient for space, subjects and time."""
    x = dense("geomean", up, down)
    stacked = affinity.stacked(up, down)
    data: ntf.Layout
    if layout == "pair":
        data = ntf.PairLayout(pairs.made("geomean", stacked, 1e9), observed)
    else:
        data = ntf.UnitLayout(units.geomean(stacked), observed, up.shape[1])
    start = ntf.start(data, RANK, [(0, k) for k in range(RESTARTS)])
    space, subject, time = start.space, start.subject, start.time
    motif = motifs(layout, space, x.shape[-1])
    shown = (observed[:, None, :, None] & observed[:, None, None, :]).astype(float)
    left = np.einsum("qrij,qrw,qrt->qwtij", motif, subject, time, optimize=True) - x
    left *= shown * (1 - np.eye(x.shape[-1]))
    over_rows = np.einsum("qwtij,qrw,qrt->qrij", left, subject, time, optimize=True)
    wanted = affinity.pack(over_rows) if layout == "pair" else np.einsum("qrij,qrj->qri", over_rows, space)
    seen, grams = data.project(space), data.grams(space)
    product, matrix = ntf.time_terms(seen, grams, subject)
    found_and_right = [
        (_gradient(*data.terms(start), space), wanted),
        (
            _gradient(*ntf.subject_terms(seen, grams, time), subject),
            0.5 * np.einsum("qwtij,qrij,qrt->qrw", left, motif, time, optimize=True),
        ),
        (
            matrix @ time - product,
            0.5 * np.einsum("qwtij,qrij,qrw->qrt", left, motif, subject, optimize=True),
        ),
    ]
    return [gap(found, right) for found, right in found_and_right]


def _gradient(product, coupling, factor) -> np.ndarray:
    rows = [coupling.explained(factor, r) - product[:, r] for r in range(factor.shape[1])]
    return np.stack(rows, axis=1)
