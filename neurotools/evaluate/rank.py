"""How many components: the error of data that a factorisation has not seen, rank by rank."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, lookup
from neurotools.evaluate.motifs import motif
from neurotools.numerics import affinity as kernels
from neurotools.numerics import ntf, pairs, tensor
from neurotools.schema.affinity import AffinityParts, affinity_parts, session_edges

N_FOLDS = 5
AGREE = 0.9  # mean cosine of matched components above which restarts found the same
STORED_BYTES = 2 * 1024**3
Data = xr.Dataset | xr.DataArray


def rank_scan(model: Any, data: Any, ranks: Sequence[int], cv: str = "blocked-time") -> xr.Dataset:
    """Error of fitted and of held-out data for several ranks, and how alike the restarts are.

    A fold holds out a stretch of time (or a subject) **and** half of the pairs: motifs are learned without
    the stretch, their time courses in it are estimated from a random half of the pairs, and the other half
    is predicted; then the other way round. More components than there are predict worse, which they would
    not do if time courses were estimated from the very data that are scored. Owen and Perry (2009), Annals of
    Applied Statistics 3(2), for cross-validation of rows and columns together.

    Parameters
    ----------
    model : nt.NTF
        Its ``rank`` is replaced; everything else is kept.
    data : xarray.Dataset or xarray.DataArray
        From ``nt.differential_affinity``, or a dense affinity.
    ranks : sequence of int
    cv : {"blocked-time", "leave-subject-out"}
        What is held out: five stretches of time, at a distance that smoothing does not bridge; or each
        subject in turn, whose clock has to be that of the others (its own loadings are then estimated).

    Returns
    -------
    xarray.Dataset
        ``heldout_error`` (rank, fold), ``relative_error`` (rank) of the fit to all data, and
        ``restart_similarity`` (rank), the mean over pairs of restarts. attrs ``selected_rank``: of the ranks
        whose restarts agree (similarity at least 0.9; of all where none does), the smallest that predicts
        held-out data as well as the best of them, up to a standard error over folds; 0 when none predicts
        better than an affinity of zero.

    Raises
    ------
    SchemaError
        Too little time, or too few subjects, to hold any out.
    """
    folds = lookup("cross-validation", cv, CV)
    ranks = [int(rank) for rank in ranks]
    if not ranks or len(set(ranks)) < len(ranks):
        raise SettingsError("ranks are needed, each once", found=ranks)
    n_units = affinity_parts(data).observed.shape[1]
    splits = list(folds(data))
    halves = pair_halves(n_units, len(splits), model.seed)
    heldout = np.empty((len(ranks), len(splits)))
    whole, alike = np.empty(len(ranks)), np.empty(len(ranks))
    for row, rank in enumerate(ranks):
        candidate = dataclasses.replace(model, rank=rank)
        fit = candidate.fit(data)
        whole[row] = fit.attrs["relative_error"]
        similarity = fit["restart_similarity"].to_numpy()
        others = similarity[np.triu_indices(len(similarity), 1)]
        alike[row] = others.mean() if others.size else np.nan
        for column, ((train, test, predict), half) in enumerate(zip(splits, halves, strict=True)):
            heldout[row, column] = predict(candidate.fit(train), affinity_parts(test), half)
    scan = xr.Dataset(
        {
            "heldout_error": (("rank", "fold"), heldout),
            "relative_error": ("rank", whole),
            "restart_similarity": ("rank", alike),
        },
        coords={"rank": ranks, "fold": np.arange(len(splits))},
    )
    return scan.assign_attrs(cv=cv, selected_rank=select(heldout, alike, ranks), seed=int(model.seed))


def select(heldout: np.ndarray, alike: np.ndarray, ranks: Sequence[int]) -> int:
    """Smallest rank that is as good as the best where restarts agree; see ``rank_scan``.

    An affinity of zero has the relative error one.
    """
    stable = alike >= AGREE
    candidates = np.flatnonzero(stable) if stable.any() else np.arange(len(ranks))
    best = heldout[candidates[np.argmin(heldout[candidates].mean(axis=1))]]
    if not clearly_below(best, np.ones_like(best)):
        return 0
    return min(ranks[int(k)] for k in candidates if not clearly_below(best, heldout[k]))


def clearly_below(low: np.ndarray, high: np.ndarray) -> bool:
    """Whether folds agree that ``low`` is lower: mean difference above its standard error."""
    difference = high - low
    error = difference.std(ddof=1) / np.sqrt(difference.size) if difference.size > 1 else 0.0
    return bool(difference.mean() > error)


# ---- folds --------------------------------------------------------------------------------------------
Predict = Callable[[xr.Dataset, AffinityParts, np.ndarray], float]
Split = tuple[Data, Data, Predict]  # to learn from, to predict, and how


def blocked_time(data: Data) -> Iterator[Split]:
    """Five stretches of time in turn; what smoothing mixes with them is left out of both."""
    n, reach = data.sizes["time"], smoothing_reach(data)
    bounds = np.linspace(0, n, N_FOLDS + 1).astype(int)
    for start, stop in itertools.pairwise(bounds.tolist()):
        before, after = np.arange(0, max(0, start - reach)), np.arange(min(n, stop + reach), n)
        if stop - start < 1 or before.size + after.size < 1:
            raise SchemaError(
                "there is too little time to hold any out", code="NT-DATA-010",
                found=f"{n} samples, of which smoothing joins {reach} on either side",
            )  # fmt: skip
        # The cut is an edge that windows must not cross.
        piece = np.repeat([0, 1], [before.size, after.size]) + 2 * _sessions(data)[np.r_[before, after]]
        train = data.isel(time=np.r_[before, after]).assign_coords(session=("time", piece))
        yield train, data.isel(time=slice(start, stop)), predict_time


def leave_subject_out(data: Data) -> Iterator[Split]:
    """Every subject in turn."""
    n = data.sizes.get("subject", 1)
    if n < 2:
        raise SchemaError("there are too few subjects to hold one out", code="NT-DATA-010", found=n)
    for place in range(n):
        rest = [k for k in range(n) if k != place]
        yield data.isel(subject=rest), data.isel(subject=[place]), predict_subject


CV: dict[str, Callable[[Data], Iterator[Split]]] = {
    "blocked-time": blocked_time,
    "leave-subject-out": leave_subject_out,
}


def smoothing_reach(data: Data) -> int:
    """Samples over which neighbouring affinities share traces."""
    if "window_samples" in data.attrs:
        return int(data.attrs["window_samples"])
    if "smooth_s" not in data.attrs:
        return 2
    step = float(np.median(np.diff(data["time"].to_numpy())))
    return 2 * int(np.ceil(kernels.TRUNCATE * float(data.attrs["smooth_s"]) / step)) + 1


def _sessions(data: Data) -> np.ndarray:
    array = data["drive_up"] if isinstance(data, xr.Dataset) else data
    edges = session_edges(array)
    return np.repeat(np.arange(len(edges) - 1), np.diff(edges))


def pair_halves(n_units: int, n_folds: int, seed: int) -> list[np.ndarray]:
    """For every fold, a random half of the pairs, as True and False."""
    n_pairs = n_units * (n_units - 1) // 2
    if n_pairs < 2:
        raise SchemaError("at least three units are needed", code="NT-DATA-010", found=n_units)
    rng = np.random.default_rng(seed)
    return [rng.permutation(n_pairs) < n_pairs // 2 for _ in range(n_folds)]


# ---- prediction ---------------------------------------------------------------------------------------
Terms = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # chosen pairs -> product, Gram matrix


def predict_time(fit: xr.Dataset, parts: AffinityParts, half: np.ndarray) -> float:
    """Relative error where time courses come from one half of the pairs, and the other is predicted."""
    layout, patterns = laid_out(fit, parts)
    subject = np.ones((1, patterns.shape[0], 1))
    if parts.several:
        subject = fit["subject_loading"].transpose("component", "subject").to_numpy()[None]

    def terms(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        space = patterns[None] * chosen
        return ntf.time_terms(layout.project(space), layout.grams(space), subject)

    return crossed(layout, terms, half)


def predict_subject(fit: xr.Dataset, parts: AffinityParts, half: np.ndarray) -> float:
    """Relative error where a new subject's loadings come from one half of its pairs."""
    layout, patterns = laid_out(fit, parts)
    times = fit["time_loading"].transpose("component", "time").to_numpy()[None]

    def terms(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        space = patterns[None] * chosen
        product = (layout.project(space) @ times[..., None])[..., 0]
        return product, layout.grams(space)[:, 0] * tensor.gram(times)

    return crossed(layout, terms, half)


def laid_out(fit: xr.Dataset, parts: AffinityParts) -> tuple[ntf.PairLayout, np.ndarray]:
    """Held-out data by pairs, and the fit's motifs times weights, (component, pair)."""
    matrices = motif(fit).transpose("component", parts.dim, f"{parts.dim}_to").to_numpy()
    patterns = kernels.pack(matrices) * fit["weight"].to_numpy()[:, None]
    if parts.up is not None and parts.down is not None:
        drives = kernels.stacked(parts.up, parts.down, parts.window, parts.edges)
        data = pairs.made(parts.kernel, drives, STORED_BYTES)
    else:
        values = kernels.pack(parts.dense)
        data = pairs.stored(values.reshape(-1, values.shape[-1]), parts.observed.shape[1])
    return ntf.PairLayout(data, parts.observed), patterns


def crossed(layout: ntf.PairLayout, terms: Terms, half: np.ndarray) -> float:
    """Fit on one half of the pairs, predict the other, both ways."""
    left = total = 0.0
    for known, wanted in ((half, ~half), (~half, half)):
        loading = tensor.nonnegative_solve(*terms(known.astype("float64")))
        product, matrix = terms(wanted.astype("float64"))
        norm2 = pairs.squared_norm(layout.data, wanted.astype("float64"))
        left += norm2 - 2.0 * np.sum(product * loading) + np.sum(matrix * tensor.gram(loading))
        total += norm2
    return float(np.sqrt(max(left, 0.0) / total)) if total > 0 else float("nan")
