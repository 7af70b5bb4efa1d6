"""Error of a factorisation on data that it has not seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from neurotools.evaluate.motifs import motif
from neurotools.numerics import affinity as kernels
from neurotools.numerics import divergence, ntf, pairs, tensor
from neurotools.numerics.divergence import DIVERGENCES
from neurotools.numerics.ntf import Factors
from neurotools.schema.affinity import AffinityParts, affinity_parts

STORED_BYTES = 2 * 1024**3
MIXED = 0.01  # of a prediction is the mean of all, so that no likelihood is zero
Data = xr.Dataset | xr.DataArray


# ---- data and patterns ----------------------------------------------------------------------------------
def laid_out(
    fit: xr.Dataset | None, parts: AffinityParts, layout: ntf.PairLayout | None = None
) -> tuple[ntf.PairLayout, np.ndarray]:
    """Held-out data by pairs (``layout`` if they are laid out), and the fit's motifs times weights."""
    layout = pairs_laid_out(parts) if layout is None else layout
    if fit is None:
        return layout, np.empty((0, layout.n_space))
    matrices = motif(fit).transpose("component", parts.dim, f"{parts.dim}_to").to_numpy()
    return layout, kernels.pack(matrices, parts.ordered) * fit["weight"].to_numpy()[:, None]


def pairs_laid_out(parts: AffinityParts) -> ntf.PairLayout:
    """Data by pairs, for any form of an affinity."""
    if parts.up is not None and parts.down is not None:
        drives = kernels.stacked(parts.up, parts.down, parts.window, parts.edges, parts.sent)
        data = pairs.made(parts.kernel, drives, STORED_BYTES)
    elif parts.listed is not None:
        n_subjects, n_units = parts.observed.shape
        data = pairs.listed(*parts.listed, n_subjects * parts.n_time, n_units, ordered=parts.ordered)
    else:
        values = kernels.pack(parts.dense, parts.ordered)
        data = pairs.stored(values.reshape(-1, values.shape[-1]), parts.observed.shape[1], parts.ordered)
    return ntf.PairLayout(data, parts.observed)


def static_fit(train: Data, n_time: int, seen: np.ndarray | None = None, n_sweeps: int = 20) -> xr.Dataset:
    """One motif that never changes: every pair's mean over time, scaled for each subject.

    ``seen`` (subject, time, pair) says which entries may be used.
    """
    parts = affinity_parts(train)
    layout, _ = laid_out(None, parts)
    if seen is None:
        own = np.repeat(np.eye(layout.n_subjects), layout.n_time, axis=1)
        total, count = pairs.contract(layout.data, own), layout.shown * layout.n_time
    else:
        rows = layout.data.slices(0, layout.data.n_rows).reshape(seen.shape)
        used = layout.shown[:, None] * seen
        total, count = (rows * used).sum(axis=1), used.sum(axis=1)
    subject = np.ones(layout.n_subjects)
    for _ in range(n_sweeps if layout.n_subjects > 1 else 1):
        space = (subject @ total) / np.maximum((subject**2) @ count, np.finfo(float).tiny)
        subject = (total @ space) / np.maximum(count @ space**2, np.finfo(float).tiny)
    dims = ("component", parts.dim, f"{parts.dim}_to")
    matrices = kernels.unpack(space[None], parts.observed.shape[1], parts.ordered)
    fit = xr.Dataset(
        {"motif": (dims, matrices), "weight": ("component", np.ones(1)),
         "time_loading": (("component", "time"), np.ones((1, n_time)))},
    )  # fmt: skip
    return fit.assign(subject_loading=(("component", "subject"), subject[None])) if parts.several else fit


def subject_of(fit: xr.Dataset, parts: AffinityParts) -> np.ndarray:
    """Subject loadings (1, component, subject); ones where there is one subject."""
    if not parts.several:
        return np.ones((1, fit.sizes["component"], 1))
    return fit["subject_loading"].transpose("component", "subject").to_numpy()[None]


# ---- stretches of time, subjects ------------------------------------------------------------------------
Terms = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # chosen pairs -> product, Gram matrix


def predict_time(
    fit: xr.Dataset, parts: AffinityParts, half: np.ndarray, loss: str = "l2", known: bool = False
) -> float:
    """Relative error where time courses come from one half of the pairs, and the other is predicted.

    With ``known`` the time courses are those of the fit.
    """
    layout, patterns = laid_out(fit, parts)
    subject = subject_of(fit, parts)
    times = fit["time_loading"].transpose("component", "time").to_numpy()[None] if known else None
    if loss in DIVERGENCES:
        return crossed_divergence(layout, patterns[None], subject, half, loss=loss, given=times)

    def terms(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        space = patterns[None] * chosen
        return ntf.time_terms(layout.project(space), layout.grams(space), subject)

    return crossed(layout, terms, half, times)


def predict_subject(fit: xr.Dataset, parts: AffinityParts, half: np.ndarray, loss: str = "l2") -> float:
    """Relative error where a new subject's loadings come from one half of its pairs, by least squares."""
    layout, patterns = laid_out(fit, parts)
    times = fit["time_loading"].transpose("component", "time").to_numpy()[None]

    def terms(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        space = patterns[None] * chosen
        product = (layout.project(space) @ times[..., None])[..., 0]
        return product, layout.grams(space)[:, 0] * tensor.gram(times)

    return crossed(layout, terms, half)


def crossed(layout: ntf.PairLayout, terms: Terms, half: np.ndarray, given: np.ndarray | None = None) -> float:
    """Fit on one half of the pairs, predict the other, both ways."""
    left = total = 0.0
    for known, wanted in ((half, ~half), (~half, half)):
        loading = tensor.nonnegative_solve(*terms(known.astype("float64"))) if given is None else given
        product, matrix = terms(wanted.astype("float64"))
        norm2 = pairs.squared_norm(layout.data, wanted.astype("float64"))
        left += norm2 - 2.0 * np.sum(product * loading) + np.sum(matrix * tensor.gram(loading))
        total += norm2
    return float(np.sqrt(max(left, 0.0) / total)) if total > 0 else float("nan")


def crossed_divergence(
    layout: ntf.PairLayout,
    patterns: np.ndarray,
    subject: np.ndarray,
    half: np.ndarray,
    *,
    loss: str,
    given: np.ndarray | None = None,
) -> float:
    """The same in the divergence of a loss, over that of a constant.

    A hundredth of every prediction is the mean of all entries: where a model says never, a single affinity
    would otherwise outweigh everything.
    """
    kind, left, total = DIVERGENCES[loss], 0.0, 0.0
    for known, wanted in ((half, ~half), (~half, half)):
        there, here = (chosen_support(layout, part) for part in (known, wanted))
        times = given
        if times is None:
            times = divergence.times_of(there, patterns * known, subject, kind, max_iter=200, tol=1e-7)[
                0
            ].time
        constant = divergence.of_constant(here, kind)
        left += constant * mixed_divergence(here, Factors(patterns * wanted, subject, times), kind)
        total += constant
    return left / total


def deviance(fit: xr.Dataset, parts: AffinityParts, half: np.ndarray, times_by: str = "kl") -> float:
    """Poisson deviance of what a fit has not seen, over that of a constant; time courses by either loss."""
    layout, patterns = laid_out(fit, parts)
    subject, left, total = subject_of(fit, parts), 0.0, 0.0
    kind = DIVERGENCES["kl"]
    for known, wanted in ((half, ~half), (~half, half)):
        here = chosen_support(layout, wanted)
        if times_by == "kl":
            there = chosen_support(layout, known)
            times = divergence.times_of(there, patterns[None] * known, subject, kind, max_iter=200, tol=1e-7)[
                0
            ].time
        else:
            space = patterns[None] * known
            times = tensor.nonnegative_solve(
                *ntf.time_terms(layout.project(space), layout.grams(space), subject)
            )
        constant = divergence.of_constant(here, kind)
        left += constant * mixed_divergence(here, Factors(patterns[None] * wanted, subject, times), kind)
        total += constant
    return left / total


def chosen_support(layout: ntf.PairLayout, chosen: np.ndarray) -> divergence.SupportLayout:
    """The entries above zero of some pairs; the others count as not observed."""
    support = divergence.SupportLayout(
        layout.data, np.ones((layout.n_subjects, layout.data.n_units), dtype=bool)
    )
    return divergence.restricted(support, layout.shown * chosen)


def mixed_divergence(
    layout: divergence.SupportLayout, factors: Factors, kind: divergence.Divergence
) -> float:
    """Relative divergence of a model of which ``MIXED`` is the mean of all observed entries."""
    n_rows = layout.n_subjects * layout.n_time
    level = layout.total / max(layout.n_observed, 1)
    flat = Factors(
        np.concatenate(
            [factors.space * (1 - MIXED) / layout.scale, np.full((1, 1, layout.n_space), MIXED * level)], 1
        ),
        np.concatenate([factors.subject, np.ones((1, 1, layout.n_subjects))], axis=1),
        np.concatenate([factors.time, np.ones((1, 1, n_rows // layout.n_subjects))], axis=1),
    )
    return float(divergence.divergence(layout, flat, kind)[0])


# ---- single entries -------------------------------------------------------------------------------------
def entry_error(fit: xr.Dataset, parts: AffinityParts, scored: np.ndarray) -> float:
    """Relative error of the fit itself at some entries, (subject, pair, time)."""
    layout, patterns = laid_out(fit, parts)
    times = fit["time_loading"].transpose("component", "time").to_numpy()
    rows = layout.data.slices(0, layout.data.n_rows).reshape(layout.n_subjects, layout.n_time, -1)
    left = total = 0.0
    for w, loading in enumerate(subject_of(fit, parts)[0].T):
        model = (patterns * loading[:, None]).T @ times
        chosen = scored[w] & (layout.shown[w] > 0)[:, None]
        values = rows[w].T[chosen]
        left += float(((values - model[chosen]) ** 2).sum())
        total += float((values**2).sum())
    return float(np.sqrt(left / total)) if total > 0 else float("nan")
