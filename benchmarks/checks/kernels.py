"""Opposed, lagged and windowed affinities that are never made whole, against dense ones by definition."""

from __future__ import annotations

import numpy as np

from benchmarks.checks.products import BOUNDS, RANK, RESTARTS, gap, songbird_with_missing_rows
from benchmarks.record import Row
from neurotools.numerics import affinity, ntf, pairs, units
from neurotools.numerics.ordered import OrderedLayout

LAG = 2


def further_kernels() -> list[Row]:
    """Products of ``anti`` in both layouts, of ``lagged`` over ordered pairs and with untied loadings.

    The bundled songbird recording in three stretches that stand for three subjects, a third of the
    (subject, unit) rows missing, as for the other kernels.
    """
    up, down, observed = songbird_with_missing_rows()
    rows = []
    for dtype, bound in BOUNDS.items():
        drives = [part.astype(dtype) for part in (up, down)]
        for name, value in {**anti(drives, observed), **lagged(drives, observed)}.items():
            rows.append(Row(f"{name}, {dtype}: largest difference over largest product", value, bound))
    return [*rows, *windowed(up - down)]


def anti(drives: list[np.ndarray], observed: np.ndarray) -> dict[str, float]:
    """What rises in one unit and falls in the other."""
    a, b = (np.sqrt(part.astype("float64")) for part in drives)
    x = a[..., :, None] * b[..., None, :] + b[..., :, None] * a[..., None, :]
    x *= 1 - np.eye(x.shape[-1])
    stacked = affinity.stacked(*drives)
    blocks = pairs.PairTensor(affinity.slices_of("anti", stacked), stacked.up.shape[0], x.shape[-1], 100)
    return {
        "anti, pair": of_pairs(ntf.PairLayout(blocks, observed), x, ordered=False),
        "anti, symcp": of_units(
            ntf.UnitLayout(units.SHORT_FORMS["anti"](stacked), observed, x.shape[1]), x
        ),
    }  # fmt: skip


def lagged(drives: list[np.ndarray], observed: np.ndarray) -> dict[str, float]:
    """One unit ``LAG`` samples earlier, the other now."""
    edges = (0, drives[0].shape[1])
    sent = tuple(
        affinity.lagged_by(np.ascontiguousarray(part.swapaxes(1, 2)), LAG, edges).swapaxes(1, 2)
        for part in drives
    )
    led, follows = ([np.sqrt(part.astype("float64")) for part in group] for group in (sent, drives))
    x = sum(a[..., :, None] * b[..., None, :] for a, b in zip(led, follows, strict=True))
    x = x * (1 - np.eye(x.shape[-1]))
    stacked = affinity.stacked(*drives, sent=(sent[0], sent[1]))
    made = pairs.made("lagged", stacked, stored_bytes=0)
    return {
        "lagged, ordered pairs": of_pairs(ntf.PairLayout(made, observed), x, ordered=True),
        "lagged, untied loadings": of_sides(
            OrderedLayout(units.DIRECTED["lagged"](stacked), observed, x.shape[1]), x
        ),
    }  # fmt: skip


def drawn(layout: ntf.Layout) -> tuple[ntf.Factors, list[np.ndarray]]:
    """Random factors in the precision of the data, and in float64."""
    factors = ntf.start(layout, RANK, [(0, k) for k in range(RESTARTS)])
    return factors, [part.astype("float64") for part in (factors.space, factors.subject, factors.time)]


def of_pairs(layout: ntf.PairLayout, x: np.ndarray, *, ordered: bool) -> float:
    """Over the products for pairs and for time, and the norm."""
    factors, (space, subject, time) = drawn(layout)
    product, _ = layout.terms(factors)
    packed = affinity.pack(x, ordered)
    expected = np.einsum("wtp,qrw,qrt->qrp", packed, subject, time, optimize=True)
    seen = np.einsum("wtp,qrp->qrwt", packed, space, optimize=True)
    norm2 = np.array(float((packed**2).sum()))
    return max(
        gap(product, expected), gap(layout.project(factors.space), seen), gap(np.array(layout.norm2), norm2)
    )


def of_units(layout: ntf.UnitLayout, x: np.ndarray) -> float:
    """Over the products for loadings and for time, and the norm."""
    factors, (space, subject, time) = drawn(layout)
    product, _ = layout.terms(factors)
    over_rows = np.einsum("wtij,qrw,qrt->qrij", x, subject, time, optimize=True)
    expected = np.einsum("qrij,qrj->qri", over_rows, space)
    seen = 0.5 * np.einsum("wtij,qri,qrj->qrwt", x, space, space, optimize=True)
    norm2 = np.array(0.5 * float((x**2).sum()))
    return max(
        gap(product, expected), gap(layout.project(factors.space), seen), gap(np.array(layout.norm2), norm2)
    )


def of_sides(layout: OrderedLayout, x: np.ndarray) -> float:
    """Over the products for either side and for time, and the norm."""
    factors, (space, subject, time) = drawn(layout)
    first, second = layout.sides(space)
    over_rows = np.einsum("wtij,qrw,qrt->qrij", x, subject, time, optimize=True)
    expected = (np.einsum("qrij,qrj->qri", over_rows, second), np.einsum("qrij,qri->qrj", over_rows, first))
    seen = np.einsum("wtij,qri,qrj->qrwt", x, first, second, optimize=True)
    worst = max(gap(layout.side_terms(factors, side)[0], expected[side]) for side in (0, 1))
    norm2 = np.array(float((x**2).sum()))
    return max(worst, gap(layout.project(factors.space), seen), gap(np.array(layout.norm2), norm2))


def windowed(g: np.ndarray) -> list[Row]:
    """Slices of the kernels of a window, each made when it is asked for, against sums written out."""
    z = g[0, :60]
    drives = affinity.stacked(np.maximum(z, 0)[None], np.maximum(-z, 0)[None], window=11)
    rows = []
    for kernel in ("corr_window", "mtd"):
        found = affinity.unpack(affinity.slices_of(kernel, drives)(0, len(z)), z.shape[1])
        expected = np.stack([by_window(z, t, kernel) for t in range(len(z))])
        rows.append(Row(f"{kernel}, by slices: largest difference over largest value", gap(found, expected),
                        "<= 1e-12"))  # fmt: skip
    return rows


def by_window(z: np.ndarray, t: int, kernel: str) -> np.ndarray:
    """One slice from the samples of its window."""
    piece = z[max(t - 5, 0) : t + 6]
    if kernel == "mtd":
        matrix = np.mean(piece[:, :, None] * piece[:, None, :], axis=0)
    else:
        moves = np.ptp(piece, axis=0) > 0
        matrix = np.zeros((z.shape[1], z.shape[1]))
        matrix[np.ix_(moves, moves)] = np.corrcoef(piece[:, moves].T)
    return np.maximum(matrix, 0) * (1 - np.eye(z.shape[1]))
