"""Factorisation of pairs of which single entries are hidden: least squares over what is left.

X[pair, subject, time] with a mask of its own for every entry, as a held-out set needs it. Units that a
subject lacks make product sets and need no such mask (``ntf``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurotools.arrays import Array, like, namespace
from neurotools.numerics import cp, ntf
from neurotools.numerics.ntf import INNER_PASSES, Factors


class HiddenLayout:
    """Motifs with a free value for every pair, from entries of which some are hidden."""

    def __init__(self, values: Array, mask: Array) -> None:
        xp = namespace(values)
        self.n_space, self.n_subjects, self.n_time = values.shape
        self.data = cp.Seen(values, mask)
        self.norm2 = self.data.norm2
        self.ever = xp.astype(xp.any(xp.reshape(mask, (self.n_space, -1)) > 0, axis=-1), values.dtype)
        self.sets = self.ever[None, :]

    def modes(self, factors: Factors) -> list[Array]:
        """Factors whose outer product is the model; zero for pairs that are hidden throughout."""
        return [factors.space * self.ever, factors.subject, factors.time]


def sweep(layout: HiddenLayout, factors: Factors) -> tuple[Factors, Array]:
    """Update every mode once; return the factors and the relative error of each restart."""
    fixed = () if layout.n_subjects > 1 else (1,)
    parts = [factors.space, factors.subject, factors.time]
    parts, error = cp.seen_sweep(layout.data, parts, INNER_PASSES, fixed=fixed)
    return Factors(*parts), error


def start(layout: HiddenLayout, rank: int, seeds: Sequence[Sequence[int]]) -> Factors:
    """Uniform random factors, one model per seed, scaled so that each model fits the data best."""
    xp = namespace(layout.ever)
    factors = ntf.drawn(layout, rank, seeds)
    product, grams = layout.data.terms([factors.space, factors.subject, factors.time], 2)
    time = factors.time
    inner = xp.sum(product * time, axis=(-2, -1))
    model2 = xp.sum(grams * time[:, :, None, :] * time[:, None, :, :], axis=(-3, -2, -1))
    return Factors(factors.space, factors.subject, time * (inner / model2)[:, None, None])


def hidden_layout(rows: Array, n_subjects: int, mask: np.ndarray) -> HiddenLayout:
    """From rows (subject * time, pair) and a mask (subject, time, pair)."""
    xp = namespace(rows)
    n_pairs = rows.shape[-1]
    values = xp.permute_dims(xp.reshape(rows, (n_subjects, -1, n_pairs)), (2, 0, 1))
    seen = like(np.moveaxis(mask, -1, 0).astype("float64"), rows)
    return HiddenLayout(xp.asarray(values, copy=True), seen)
