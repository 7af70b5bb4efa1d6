"""How the fit of a switching GLM is named, from plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurotools.schema.regression import Regression, named_weights


@dataclass(frozen=True)
class FitArrays:
    """What a fit holds, on the host, states in the order they were found."""

    weights: np.ndarray  # (state, column, unit)
    centre: np.ndarray | None  # (column, unit), where the prior has one
    dispersion: np.ndarray | None  # (unit), where the family has one
    transition: np.ndarray  # (state, state_to)
    initial_prob: np.ndarray  # (state)
    state_prob: np.ndarray  # (sample, state)
    objective: list[float]
    rounds: list[int]
    restarts: list[float]
    widths: dict[str, tuple[float, float]]  # kind -> around what states share, and of what they share
    converged: bool
    log_likelihood: float


def named_fit(found: FitArrays, data: Regression) -> xr.Dataset:
    """Name what was found; states are numbered by occupancy, largest first."""
    occupancy = found.state_prob.mean(axis=0)
    order = occupancy_order(found.state_prob)
    variables = _weights(found, data, order) | {
        "transition": (("state", "state_to"), found.transition[order][:, order]),
        "initial_prob": ("state", found.initial_prob[order]),
        "state_prob": ((data.dim, "state"), found.state_prob[:, order], {"units": "1"}),
        "occupancy": ("state", occupancy[order]),
        "objective": ("iteration", np.array(found.objective), {"units": "nat"}),
        "restart_objective": ("restart", np.array(found.restarts), {"units": "nat"}),
        "prior_width": (("kind", "level"), [list(pair) for pair in found.widths.values()]),
    }
    attrs = {
        "converged": int(found.converged),
        "n_iter": len(found.objective),
        "log_likelihood": found.log_likelihood,
    }
    return xr.Dataset(variables, coords=_coords(found, data), attrs=attrs)


def occupancy_order(state_prob: np.ndarray) -> np.ndarray:
    """Old numbers of the states in their new order, the most occupied first."""
    return np.argsort(-state_prob.mean(axis=0), kind="stable")


def _weights(found: FitArrays, data: Regression, order: np.ndarray) -> dict[str, Any]:
    variables: dict[str, Any] = {}
    for name, (dims, values) in named_weights(found.weights[order], data).items():
        variables[name] = (("state", *dims), values)
    if found.centre is not None:
        for name, (dims, values) in named_weights(found.centre, data).items():
            variables[f"shared_{name}"] = (dims, values)
    if found.dispersion is not None:
        one = data.units is None
        variables["dispersion"] = ((), found.dispersion[0]) if one else (("unit_to",), found.dispersion)
    return variables


def _coords(found: FitArrays, data: Regression) -> dict[str, Any]:
    states = np.arange(found.weights.shape[0])
    coords: dict[str, Any] = {
        **data.coords, "state": states, "state_to": states, "round": ("iteration", found.rounds),
        "iteration": np.arange(1, len(found.objective) + 1), "restart": np.arange(len(found.restarts)),
        "kind": list(found.widths), "level": ["state", "shared"],
    }  # fmt: skip
    coords |= {} if data.units is None else {"unit_to": data.units}
    coords |= {"unit": data.units, "basis": np.arange(data.n_basis)} if data.history.any() else {}
    coords |= {"feature": data.feature[~data.history]} if not data.history.all() else {}
    return coords
