"""How well counts are foretold that a sampler did not see: entries here and there, or stretches of units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, lookup
from neurotools.numerics import predictive as maths
from neurotools.schema import SPIKE_COUNTS
from neurotools.schema.posterior import posterior_group

STRETCHES = 10  # that a held-out unit's recording is cut into; every other one is hidden
LEAST_RATE = 1e-12  # of a unit that never fired where it was seen


def heldout(
    model: Any,
    counts: xr.DataArray,
    *,
    kind: str = "speckled",
    n_folds: int = 5,
    draws: int = 500,
    tune: int = 500,
    chains: int = 2,
    seed: int = 0,
) -> xr.Dataset:
    """Score a model on counts that it has not seen, fold by fold.

    Parameters
    ----------
    model : nt.BiCluster
    counts : xarray.DataArray
        Spike counts (time, unit).
    kind : {"speckled", "unit"}
        What is hidden: single entries, anywhere, each in one fold; or, of the units of a fold, every other of
        ten stretches of time, which are foretold from its other stretches and from all other units.
    n_folds : int
        Entries, or units, are dealt to the folds at random.
    draws, tune, chains : int
        For ``model.sample``.
    seed : int
        Of the folds.

    Returns
    -------
    xarray.Dataset
        As ``nt.heldout_score`` of every fold, along ``fold``.

    Raises
    ------
    SettingsError
        The kind is unknown, or there are fewer units or entries than folds.
    """
    counts = SPIKE_COUNTS.require(counts)
    masks = lookup("kind of held-out counts", kind, KINDS)
    if not 2 <= n_folds <= (counts.sizes["unit"] if kind == "unit" else counts.size):
        raise SettingsError("n_folds is at least 2, and no more than there is to deal out", found=n_folds)
    rows = []
    for mask in masks((counts.sizes["time"], counts.sizes["unit"]), n_folds, np.random.default_rng(seed)):
        held_out = xr.DataArray(mask, dims=counts.dims, coords=counts.coords, name="held_out")
        post = model.sample(counts, draws=draws, tune=tune, chains=chains, held_out=held_out)
        rows.append(heldout_score(post, seed=seed))
    found = xr.concat(rows, dim=xr.DataArray(np.arange(n_folds), dims="fold", name="fold"))
    return found.assign_attrs(kind=kind, seed=seed)


def heldout_score(post: xr.DataTree, *, level: float = 0.9, seed: int = 0) -> xr.Dataset:
    """Score the counts that were held out when a posterior was sampled.

    Returns
    -------
    xarray.Dataset
        - ``log_prob``: mean log probability of a held-out count, in nats, under the model's own law, averaged
          over draws before the logarithm. Compares families, latent dimensions and priors.
        - ``bits_per_spike``: what the posterior mean of the rate explains beyond each unit's mean over the
          counts that were seen, both under a Poisson law whatever the family, so that it compares with any
          method that foretells rates.
        - ``coverage``: share of held-out counts inside the central predictive interval of ``level``, by
          randomised probability integral transform; ``pit_distance``, its largest distance from uniform.
        - ``n_counts``, ``n_spikes``: what was held out.

    Raises
    ------
    SchemaError
        Nothing was held out, or a unit was not seen at all.
    """
    what = "a held-out score"
    hidden = _plain(posterior_group(post, "constant_data", "held_out", what=what)["held_out"]).astype(bool)
    counts = _plain(posterior_group(post, "observed_data", "counts", what=what)["counts"]).astype("float64")
    moments = posterior_group(post, "moments", "log_prob", "rate_mean", "cdf_below", "cdf_at", what=what)
    _check(hidden)
    rate, below, at = (
        _plain(moments[name].astype("float64").mean("chain"))[hidden]
        for name in ("rate_mean", "cdf_below", "cdf_at")
    )
    y = counts[hidden]
    baseline = maths.poisson_log_prob(y, _seen_means(counts, hidden))
    gain = float((maths.poisson_log_prob(y, rate) - baseline).sum())
    pit = maths.randomised_pit(below, at, np.random.default_rng(seed))
    return xr.Dataset(
        {
            "log_prob": ((), float(_log_mean(moments["log_prob"])[hidden].mean()), {"units": "nat"}),
            "bits_per_spike": ((), gain / (max(y.sum(), 1.0) * np.log(2)), {"units": "bit"}),
            "coverage": ((), maths.interval_coverage(pit, level), {"level": level}),
            "pit_distance": ((), maths.distance_from_uniform(pit)),
            "n_counts": ((), int(hidden.sum())),
            "n_spikes": ((), int(y.sum())),
        }
    )


def _plain(array: xr.DataArray) -> np.ndarray:
    return array.transpose("time", "unit").to_numpy()


def _seen_means(counts: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Mean of each unit over the counts that were seen, at every hidden entry."""
    means = np.where(hidden, 0.0, counts).sum(axis=0) / (~hidden).sum(axis=0)
    return np.maximum(np.broadcast_to(means, counts.shape)[hidden], LEAST_RATE)


def _log_mean(log_prob: xr.DataArray) -> np.ndarray:
    """Log of the mean over chains, each of which holds the log of a mean over its draws."""
    values = log_prob.transpose("chain", "time", "unit").to_numpy().astype("float64")
    return np.logaddexp.reduce(values, axis=0) - np.log(len(values))


def _check(hidden: np.ndarray) -> None:
    if not hidden.any():
        raise SchemaError(
            "no counts were held out of this posterior", code="NT-DATA-010",
            fix="model.sample(counts, held_out=mask), or nt.heldout(model, counts)",
        )  # fmt: skip
    if hidden.all(axis=0).any():
        raise SchemaError(
            "a unit was held out altogether, so its rate has no baseline", code="NT-DATA-010",
            found=f"{int(hidden.all(axis=0).sum())} units",
        )  # fmt: skip


# ---- what is hidden -------------------------------------------------------------------------------------
def speckled(shape: tuple[int, int], n_folds: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Masks that hide every entry in exactly one fold, at random."""
    fold = rng.permutation(np.arange(shape[0] * shape[1]) % n_folds).reshape(shape)
    return [fold == k for k in range(n_folds)]


def unit_stretches(shape: tuple[int, int], n_folds: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Masks that hide every other stretch of the units of a fold; which half is drawn unit by unit."""
    n_time, n_units = shape
    fold = rng.permutation(np.arange(n_units) % n_folds)
    stretch = np.arange(n_time) * STRETCHES // n_time % 2
    half = rng.integers(0, 2, n_units)
    hidden = stretch[:, None] == half
    return [hidden & (fold == k) for k in range(n_folds)]


Masks = Callable[[tuple[int, int], int, np.random.Generator], list[np.ndarray]]
KINDS: dict[str, Masks] = {"speckled": speckled, "unit": unit_stretches}
