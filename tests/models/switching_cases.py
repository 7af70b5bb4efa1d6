"""Spikes of units whose couplings switch with a state, drawn from the model itself."""

from __future__ import annotations

import numpy as np
import xarray as xr

import neurotools as nt
from neurotools import schema


def drawn(seed, n_time=3000, n_unit=5, n_state=3, *, n_session=3, weight=None):
    """Counts, design, and the truth: weights (state, unit, unit_to), biases and states."""
    rng = np.random.default_rng(seed)
    if weight is None:
        weight = rng.normal(scale=0.9, size=(n_state, n_unit, n_unit))
    bias = rng.normal(scale=0.5, size=(n_state, n_unit)) - 0.3
    move = np.full((n_state, n_state), 0.02 / max(n_state - 1, 1))
    np.fill_diagonal(move, 0.98 if n_state > 1 else 1.0)
    session = np.arange(n_time) * n_session // n_time
    state, spikes = np.zeros(n_time, int), np.zeros((n_time, n_unit), int)
    lags = nt.ExponentialHistory().weights(None)[0]
    for t in range(n_time):
        new = t == 0 or session[t] != session[t - 1]
        state[t] = rng.choice(n_state, p=None if new else move[state[t - 1]])
        past = np.zeros(n_unit)
        for lag, share in enumerate(lags, start=1):
            if t - lag >= 0 and session[t - lag] == session[t]:
                past += share * spikes[t - lag]
        drive = bias[state[t]] + past @ weight[state[t]]
        spikes[t] = rng.poisson(1 / (1 + np.exp(-drive)))
    names = [f"u{k}" for k in range(n_unit)]
    counts = schema.counts_array(spikes, bin_width=0.02, unit=names)
    counts = counts.assign_coords(session=("time", session))
    truth = xr.Dataset(
        {
            "weight": (("state", "unit", "unit_to", "basis"), weight[..., None]),
            "bias": (("state", "unit_to"), bias),
            "path": ("time", state),
        }
    )
    return counts, nt.glm_design(counts, nt.ExponentialHistory()), truth
