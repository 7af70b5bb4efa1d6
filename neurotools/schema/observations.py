"""What each family of a switching GLM observes: schema, layout, limits, and what a score is per."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from neurotools.errors import NeurotoolsWarning, SchemaError
from neurotools.schema.ask import Schema
from neurotools.schema.regression import Regression, regression, with_alternatives

COUNTS = Schema("spike counts", dims=("time|trial", "unit"), units="count", whole=True)
BINARY = Schema("choices or spikes", dims=("time|trial", "unit|channel|region?"), whole=True)
CHOICES = Schema("choices among several", dims=("time|trial",), whole=True)
ACTIVITY = Schema("activity", dims=("time|trial", "unit|channel|region?"))
OBSERVED = {
    "poisson": COUNTS, "negative_binomial": COUNTS, "bernoulli": BINARY, "binomial": BINARY,
    "categorical": CHOICES, "gaussian": ACTIVITY,
}  # fmt: skip
SPIKING = ("poisson", "negative_binomial", "bernoulli")  # scored per spike where there are units


def observations(counts: Any, design: Any, family: str, fit: xr.Dataset | None = None) -> Regression:
    """Observations and design as plain arrays, checked; the alternatives of a choice are those of the fit."""
    return LAID_OUT[family](regression(counts, design, OBSERVED[family]), fit)


def plain(data: Regression, fit: xr.Dataset | None) -> Regression:
    """Observations that need nothing beside them."""
    return replace(data, trials=None)


def of_zero_and_one(data: Regression, fit: xr.Dataset | None) -> Regression:
    """Choices between two, or spikes in narrow bins."""
    if data.y.max() > 1:
        raise SchemaError(
            "choices (or spikes in a bin) are 0 or 1 here", code="NT-DATA-008",
            found=f"up to {data.y.max():g}",
            fix='family="poisson" takes counts, "categorical" several alternatives',
        )  # fmt: skip
    return plain(data, fit)


def of_tries(data: Regression, fit: xr.Dataset | None) -> Regression:
    """Successes beside the number of tries."""
    if data.trials is None:
        raise SchemaError(
            "successes need the number of tries", code="NT-DATA-010", expected="the coordinate 'n_trials'",
            fix="counts.assign_coords(n_trials=('trial', n))",
        )  # fmt: skip
    seen = np.ones(data.y.shape, bool) if data.seen is None else data.seen > 0
    whole = np.isfinite(data.trials) & (data.trials == np.floor(data.trials))
    wrong = ~(whole & (data.trials >= 1) & (data.y <= data.trials))
    if (wrong & seen).any():
        raise SchemaError(
            "tries are whole numbers, at least 1 and no fewer than the successes", code="NT-DATA-008",
            found=f"{int((wrong & seen).sum())} other samples",
        )  # fmt: skip
    return replace(data, trials=np.where(seen, data.trials, 1.0))


def of_alternatives(data: Regression, fit: xr.Dataset | None) -> Regression:
    """Choices among several, the first alternative being what others are held against."""
    highest = int(data.y.max())
    known = highest if fit is None else fit.sizes.get("alternative", 0)
    if known < 1 or highest > known:
        raise SchemaError(
            "choices need at least two alternatives, and no other than were fitted", code="NT-DATA-008",
            found=f"codes up to {highest}", expected=f"codes up to {max(known, 1)}",
        )  # fmt: skip
    return with_alternatives(plain(data, fit), known + 1)


LAID_OUT = {
    "poisson": plain, "negative_binomial": plain, "gaussian": plain, "bernoulli": of_zero_and_one,
    "binomial": of_tries, "categorical": of_alternatives,
}  # fmt: skip


# ---- limits -----------------------------------------------------------------------------------------------
def tell_limits(data: Regression, family: str, n_states: int) -> None:
    """Refuse states that cannot be told apart; warn of what in the data limits a fit.

    Raises
    ------
    SchemaError
        There are fewer than two samples for each state.
    """
    n_seen = data.y.shape[0] if data.seen is None else int(data.seen.any(axis=1).sum())
    if n_seen < 2 * n_states:
        raise SchemaError(
            "there are fewer than two samples for each state", code="NT-DATA-010",
            found=f"{n_seen} samples, {n_states} states", fix="take a smaller n_states",
        )  # fmt: skip
    silent = np.flatnonzero(~data.y.any(axis=0)) if family != "gaussian" else np.array([], int)
    if silent.size and data.units is not None:
        names = ", ".join(map(str, data.units[silent][:5])) + (" ..." if silent.size > 5 else "")
        warnings.warn(
            f"{silent.size} units never fire ({names}): their weights are those of the prior",
            NeurotoolsWarning, stacklevel=3,
        )  # fmt: skip
    dependent = dependent_columns(data.x)
    if dependent:
        warnings.warn(
            f"the design has {dependent} columns that others (or the bias) make up: only the prior divides "
            "their weight among them",
            NeurotoolsWarning, stacklevel=3,
        )  # fmt: skip


def dependent_columns(x: Float[np.ndarray, "sample column"]) -> int:
    """How many columns are, to rounding, sums of others."""
    scaled = x / np.maximum(np.sqrt((x**2).sum(axis=0)), 1e-300)
    return int((np.linalg.eigvalsh(scaled.T @ scaled) < 1e-10).sum())


# ---- scores -----------------------------------------------------------------------------------------------
def scored_amount(data: Regression, family: str) -> float:
    """What a score is divided by: spikes, tries, choices, or samples of all units."""
    seen = np.ones_like(data.y) if data.seen is None else data.seen
    if data.trials is not None:
        return float((seen * data.trials).sum())
    if data.alternatives is not None:
        return float(seen[:, 0].sum())
    spikes = family in SPIKING and data.units is not None
    return float((seen * data.y).sum() if spikes else seen.sum())
