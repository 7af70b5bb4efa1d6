"""What a rank scan holds out, how it is predicted, and what a model without motifs would predict.

A fold learns from a part of the data and predicts another. ``static`` is the relative error of the prediction
that every pair keeps its mean of the training data: no motif comes or goes. A rank that does not beat it says
nothing about time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.evaluate.heldout import entry_error, laid_out, predict_subject, predict_time, static_fit
from neurotools.numerics import affinity as kernels
from neurotools.schema.affinity import affinity_parts, session_edges

N_FOLDS = 5
HIDDEN = 0.1  # share of entries that a speckled fold hides
Data = xr.Dataset | xr.DataArray


@dataclass(frozen=True)
class Fold:
    """``learn(model)`` fits what may be seen, ``error(fit)`` is that of what may not."""

    learn: Callable[[Any], xr.Dataset]
    error: Callable[[xr.Dataset], float]
    static: float


# ---- stretches of time, subjects ------------------------------------------------------------------------
def blocked_time(data: Data, loss: str, seed: int) -> Iterator[Fold]:
    """Five stretches of time in turn; what smoothing mixes with them is left out of both."""
    halves = pair_halves(data, N_FOLDS, seed)
    for (train, test), half in zip(time_splits(data), halves, strict=True):
        parts = affinity_parts(test)
        error = partial(predict_time, parts=parts, half=half, loss=loss)
        static = error(static_fit(train, test.sizes["time"]), known=True)
        yield Fold(partial(_learn, train=train), error, static)


def time_splits(data: Data) -> Iterator[tuple[Data, Data]]:
    """What to learn from and what to predict, for every stretch."""
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
        yield train, data.isel(time=slice(start, stop))


def leave_subject_out(data: Data, loss: str, seed: int) -> Iterator[Fold]:
    """Every subject in turn, on the clock of the others."""
    n = data.sizes.get("subject", 1)
    if n < 2:
        raise SchemaError("there are too few subjects to hold one out", code="NT-DATA-010", found=n)
    halves = pair_halves(data, n, seed)
    for place, half in zip(range(n), halves, strict=True):
        train = data.isel(subject=[k for k in range(n) if k != place])
        parts = affinity_parts(data.isel(subject=[place]))
        error = partial(predict_subject, parts=parts, half=half, loss=loss)
        yield Fold(partial(_learn, train=train), error, error(static_fit(train, data.sizes["time"])))


def _learn(model: Any, train: Data, **options: Any) -> xr.Dataset:
    return model.fit(train, **options)


# ---- single entries ---------------------------------------------------------------------------------------
def speckled(data: Data, loss: str, seed: int) -> Iterator[Fold]:
    """A tenth of the entries at random, five times.

    Smoothing makes neighbours in time alike, so entries are hidden in runs and only their middle is scored.
    """
    parts = affinity_parts(data)
    layout, _ = laid_out(None, parts)
    shape = (*layout.shown.shape, layout.n_time)
    reach = smoothing_reach(data) if _smoothed(data) else 0
    rng = np.random.default_rng([seed, 1])
    for _ in range(N_FOLDS):
        hidden, scored = hidden_runs(rng, shape, reach)
        mask = _as_mask(~hidden, parts)
        error = partial(entry_error, parts=parts, scored=scored)
        static = error(static_fit(data, layout.n_time, np.moveaxis(~hidden, -1, 1)))
        yield Fold(partial(_learn, train=data, mask=mask), error, static)


def hidden_runs(
    rng: np.random.Generator, shape: tuple[int, int, int], reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """Entries (subject, pair, time) that are hidden, and those of them that are scored."""
    width = 2 * reach + 1
    scored = rng.random(shape) < HIDDEN / width
    hidden = scored.copy()
    for lag in range(1, reach + 1):
        hidden[..., lag:] |= scored[..., :-lag]
        hidden[..., :-lag] |= scored[..., lag:]
    return hidden, scored


def _as_mask(seen: np.ndarray, parts: Any) -> xr.DataArray:
    full = kernels.unpack(np.moveaxis(seen, -1, 1).astype("float64"), parts.observed.shape[1], parts.ordered)
    dims = ("subject", "time", parts.dim, f"{parts.dim}_to")
    mask = xr.DataArray(full > 0, dims=dims)
    return mask if parts.several else mask.isel(subject=0)


CV: dict[str, Callable[[Data, str, int], Iterator[Fold]]] = {
    "blocked-time": blocked_time,
    "leave-subject-out": leave_subject_out,
    "speckled": speckled,
}


# ---- what belongs together --------------------------------------------------------------------------------
def _smoothed(data: Data) -> bool:
    return bool({"smooth_s", "window_samples"} & set(data.attrs)) or isinstance(data, xr.Dataset)


def smoothing_reach(data: Data) -> int:
    """Samples over which neighbouring affinities share traces."""
    lag = int(data.attrs.get("lag_samples", 0))
    if "window_samples" in data.attrs:
        return int(data.attrs["window_samples"]) + lag
    if "smooth_s" not in data.attrs:
        return 2 + lag
    step = float(np.median(np.diff(data["time"].to_numpy())))
    return 2 * int(np.ceil(kernels.TRUNCATE * float(data.attrs["smooth_s"]) / step)) + 1 + lag


def _sessions(data: Data) -> np.ndarray:
    array = data["drive_up"] if isinstance(data, xr.Dataset) else data
    edges = session_edges(array)
    return np.repeat(np.arange(len(edges) - 1), np.diff(edges))


def pair_halves(data: Data, n_folds: int, seed: int) -> list[np.ndarray]:
    """For every fold, a random half of the pairs, as True and False."""
    parts = affinity_parts(data)
    n_units = parts.observed.shape[1]
    n_pairs = kernels.pairs_before(n_units, n_units, parts.ordered)
    if n_pairs < 2:
        raise SchemaError("at least three units are needed", code="NT-DATA-010", found=n_units)
    rng = np.random.default_rng(seed)
    return [rng.permutation(n_pairs) < n_pairs // 2 for _ in range(n_folds)]
