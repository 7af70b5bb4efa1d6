"""One small case for every registered model: the model, and the data arguments of its fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

import neurotools as nt
from neurotools import schema


def traces(n_unit: int = 6, n_time: int = 80) -> xr.DataArray:
    """Traces of two groups of units that move together."""
    rng = np.random.default_rng(0)
    groups = np.cumsum(rng.normal(size=(2, n_time)), axis=1)
    values = groups[np.arange(n_unit) % 2] + 0.3 * rng.normal(size=(n_unit, n_time))
    return schema.continuous(values, dim="unit", sfreq=10.0, units="1", labels=list("abcdefgh")[:n_unit])


def affinity() -> tuple[Any, ...]:
    return (nt.differential_affinity(traces()),)


def motifs() -> tuple[Any, ...]:
    rng = np.random.default_rng(1)
    label = np.arange(10) % 2
    means = np.where(label[:, None] == label, 2.0, 0.3)
    weights = np.triu(rng.exponential(means) * (rng.random((10, 10)) < 0.8), 1)
    motif = xr.DataArray(weights + weights.T, dims=("unit", "unit_to"), coords={"unit": np.arange(10)})
    return (xr.concat([motif, motif * 2], dim="component").assign_coords(component=[0, 1]),)


def spikes() -> tuple[Any, ...]:
    """Counts of two sessions in which two states take turns, and their design."""
    rng = np.random.default_rng(2)
    rate = np.where((np.arange(240) // 40 % 2)[:, None] == np.arange(4) % 2, 2.0, 0.4)
    counts = schema.counts_array(rng.poisson(rate), bin_width=0.02, unit=list("abcd"))
    counts = counts.assign_coords(session=("time", np.repeat([0, 1], 120)))
    return counts, nt.glm_design(counts, nt.ExponentialHistory(n_lags=3))


def few_counts() -> tuple[Any, ...]:
    """Counts of two pairs of units that rise and fall in turn."""
    rng = np.random.default_rng(3)
    wave = np.sin(np.arange(48) / 6)[:, None] * np.array([1, 1, -1, -1])
    return (schema.counts_array(rng.poisson(np.exp(0.7 + wave)), bin_width=0.1, unit=list("abcd")),)


def tensor() -> tuple[Any, ...]:
    """Three modes, two components, a little noise."""
    rng = np.random.default_rng(3)
    factors = [rng.random((2, n)) for n in (4, 5, 6)]
    values = np.einsum("ri,rj,rk->ijk", *factors) + 0.01 * rng.random((4, 5, 6))
    return (xr.DataArray(values, dims=("subject", "condition", "channel")),)


CASES = {
    "tensor_model": (lambda: nt.TensorModel(kind="cp", rank=2, n_restarts=2, max_iter=50, seed=1), tensor),
    "bicluster": (
        lambda: nt.BiCluster(latent_dim=1, state_prior=nt.StickyHDP(max_states=3), seed=1),
        few_counts,
    ),
    "ntf": (lambda: nt.NTF(rank=2, n_restarts=2, max_iter=20, seed=1), affinity),
    "switching_glm": (lambda: nt.SwitchingGLM(n_states=2, n_restarts=2, seed=1), spikes),
    "block_model": (lambda: nt.BlockModel(seed=1), motifs),
}


def small(name: str) -> tuple[Any, tuple[Any, ...]]:
    """The model registered as ``name`` and small data for it; a new model needs one line in ``CASES``."""
    model, data = CASES[name]
    return model(), data()
