"""Folds and core consistency of factorisations of any labelled tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import expect
from neurotools.evaluate.folds import HIDDEN, N_FOLDS, Fold
from neurotools.numerics import cp
from neurotools.schema.loadings import rebuilt_tensor


def speckled_entries(data: xr.DataArray, loss: str, seed: int) -> Iterator[Fold]:
    """A tenth of the entries at random, five times; the static prediction is the mean of the others."""
    expect(data, "a labelled tensor", xr.DataArray)
    rng = np.random.default_rng([seed, 1])
    known = np.isfinite(data.to_numpy())
    for _ in range(N_FOLDS):
        hidden = known & (rng.random(data.shape) < HIDDEN)
        mask = data.copy(data=known & ~hidden)
        values = data.to_numpy()
        static = relative(np.full(data.shape, values[known & ~hidden].mean()), values, hidden)
        error = partial(_error, data=data, hidden=hidden)
        yield Fold(partial(_learn, data=data, mask=mask), error, static)


def _learn(model: Any, data: xr.DataArray, mask: xr.DataArray) -> xr.Dataset:
    return model.fit(data, mask=mask)


def _error(fit: xr.Dataset, data: xr.DataArray, hidden: np.ndarray) -> float:
    model = rebuilt_tensor(fit).transpose(*data.dims).to_numpy()
    return relative(model, data.to_numpy(), hidden)


def relative(model: np.ndarray, values: np.ndarray, chosen: np.ndarray) -> float:
    """Relative error at the chosen entries."""
    return float(np.linalg.norm((model - values)[chosen]) / np.linalg.norm(values[chosen]))


def tensor_consistency(fit: xr.Dataset, data: xr.DataArray) -> float:
    """Core consistency in per cent of a canonical polyadic fit with three modes or more; else NaN."""
    dims = [str(dim) for dim in data.dims]
    if "weight" not in fit or len(dims) < 3 or any(f"{dim}_loading" not in fit for dim in dims):
        return float("nan")
    factors = [fit[f"{dim}_loading"].transpose("component", dim).to_numpy() for dim in dims]
    factors[0] = factors[0] * fit["weight"].to_numpy()[:, None]
    values = data.to_numpy()
    values = np.where(np.isfinite(values), values, rebuilt_tensor(fit).transpose(*dims).to_numpy())
    return cp.core_consistency(values, factors)


TENSOR_CV: dict[str, Callable[[xr.DataArray, str, int], Iterator[Fold]]] = {"speckled": speckled_entries}
