"""How the fit of a switching GLM is named, from plain arrays."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import NeurotoolsWarning, SchemaError
from neurotools.schema.regression import DESIGN, Regression, named_weights, same_samples


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
    gain: np.ndarray | None = None  # (unit), where the link has one
    drive: np.ndarray | None = None  # (state, state_to, input), ones first, where inputs drive transitions
    inputs: Inputs | None = None
    errors: dict[str, np.ndarray] = field(default_factory=dict)  # of the weights; bounds of transitions
    uncertainty: str = "none"  # how the errors were found
    learned: dict[str, tuple[tuple[str, ...], np.ndarray]] = field(default_factory=dict)  # by the prior
    coords: dict[str, Any] = field(default_factory=dict)  # of dimensions that ``learned`` brings


@dataclass(frozen=True)
class Inputs:
    """What drives transitions: ones and centred inputs, their names, and what was taken from them."""

    values: np.ndarray  # (sample, 1 + input)
    feature: np.ndarray  # (input)
    mean: np.ndarray  # (input)


def transition_inputs(design: Any, data: Regression, mean: xr.DataArray | None = None) -> Inputs:
    """Inputs of the transitions into each sample, less their mean: that of a fit, or of these data.

    Raises
    ------
    SchemaError
        The design has other samples than the data, or other columns than the fit.
    """
    table = DESIGN.require(design)
    same_samples(table, data.dim, len(data.y), data.coords)
    feature = table["feature"].to_numpy().astype(str)
    values = table.to_numpy().astype("float64")
    if mean is None:
        known = values.mean(axis=0)
        if (np.ptp(values, axis=0) == 0).any():
            raise SchemaError(
                "an input of transitions never varies", code="NT-DATA-010",
                found=feature[np.ptp(values, axis=0) == 0][0], fix="leave it out: transitions have a base",
            )  # fmt: skip
    else:
        names = mean["transition_feature"].to_numpy().astype(str).tolist()
        if sorted(names) != sorted(feature.tolist()):
            raise SchemaError(
                "the fit has other inputs of transitions than the design", code="NT-DATA-005",
                found=", ".join(feature[:5]), expected=", ".join(names[:5]),
            )  # fmt: skip
        place = [feature.tolist().index(name) for name in names]
        feature, values, known = feature[place], values[:, place], mean.to_numpy()
    return Inputs(np.column_stack([np.ones(len(values)), values - known]), feature, known)


def known_inputs(fit: xr.Dataset, data: Regression, design: Any) -> Inputs | None:
    """Inputs of new data less the mean of those fitted; None where the fit has none.

    Raises
    ------
    SchemaError
        The fit has inputs and none came, or the other way round.
    """
    if fit.sizes["state"] == 1:
        return None
    drives = "transition_weight" in fit
    if drives != (design is not None):
        raise SchemaError(
            "the fit has inputs that drive transitions, and none came" if drives
            else "inputs that drive transitions came, and the fit has none",
            code="NT-DATA-005", fix="give predict and score the transition_design that fit was given",
        )  # fmt: skip
    return transition_inputs(design, data, fit["transition_feature_mean"]) if drives else None


def named_fit(found: FitArrays, data: Regression) -> xr.Dataset:
    """Name what was found; states are numbered by occupancy, largest first."""
    occupancy = found.state_prob.mean(axis=0)
    order = occupancy_order(found.state_prob)
    variables = (
        _weights(found, data, order)
        | _drive(found, order)
        | _errors(found, data, order)
        | {
            "transition": (("state", "state_to"), found.transition[order][:, order]),
            "initial_prob": ("state", found.initial_prob[order]),
            "state_prob": ((data.dim, "state"), found.state_prob[:, order], {"units": "1"}),
            "occupancy": ("state", occupancy[order]),
            "objective": ("iteration", np.array(found.objective), {"units": "nat"}),
            "restart_objective": ("restart", np.array(found.restarts), {"units": "nat"}),
            "prior_width": (("kind", "level"), [list(pair) for pair in found.widths.values()]),
        }
    )
    for name, (dims, values) in found.learned.items():
        variables[name] = (dims, values[order] if dims[:1] == ("state",) else values)
    attrs = {
        "converged": int(found.converged),
        "n_iter": len(found.objective),
        "log_likelihood": found.log_likelihood,
        "uncertainty": found.uncertainty,
    }
    return xr.Dataset(variables, coords=_coords(found, data), attrs=attrs)


def tell_shortcomings(fit: xr.Dataset, data: Regression) -> None:
    """Warn of states that hold too little, and of a best start that did not come to rest."""
    held = fit["occupancy"].to_numpy() * data.y.shape[0]
    few = np.flatnonzero(held < data.x.shape[1])
    if few.size:
        warnings.warn(
            f"{few.size} of {held.size} states hold fewer samples than each unit has weights (state "
            f"{few[0]}: {held[few[0]]:.1f} of {data.y.shape[0]}): the prior stands for the data there; take "
            "fewer states",
            NeurotoolsWarning, stacklevel=3,
        )  # fmt: skip
    if not fit.attrs["converged"]:
        warnings.warn(
            "the best start had not converged; take a larger max_iter", NeurotoolsWarning, stacklevel=3
        )


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
    for name, scale in (("dispersion", found.dispersion), ("gain", found.gain)):
        if scale is not None:
            variables[name] = ((), scale[0]) if data.units is None else (("unit_to",), scale)
    return variables


def _drive(found: FitArrays, order: np.ndarray) -> dict[str, Any]:
    """Log odds of moving rather than staying, by the inputs of transitions."""
    if found.inputs is None or found.drive is None:
        return {}
    weight = found.drive[order][:, order, 1:]
    return {
        "transition_weight": (("state", "state_to", "transition_feature"), weight),
        "transition_feature_mean": ("transition_feature", found.inputs.mean),
    }


def _errors(found: FitArrays, data: Regression, order: np.ndarray) -> dict[str, Any]:
    """Standard errors of weights, and bounds of transitions."""
    variables: dict[str, Any] = {}
    if "weights" in found.errors:
        for name, (dims, values) in named_weights(found.errors["weights"][order], data).items():
            variables[f"{name}_se"] = (("state", *dims), values)
    for name in ("transition_low", "transition_high"):
        if name in found.errors:
            variables[name] = (("state", "state_to"), found.errors[name][order][:, order])
    return variables


def _coords(found: FitArrays, data: Regression) -> dict[str, Any]:
    states = np.arange(found.weights.shape[0])
    coords: dict[str, Any] = {
        **data.coords, **found.coords, "state": states, "state_to": states,
        "round": ("iteration", found.rounds),
        "iteration": np.arange(1, len(found.objective) + 1), "restart": np.arange(len(found.restarts)),
        "kind": list(found.widths), "level": ["state", "shared"],
    }  # fmt: skip
    coords |= {} if data.units is None else {"unit_to": data.units}
    coords |= {} if data.alternatives is None else {"alternative": data.alternatives}
    coords |= {} if found.inputs is None else {"transition_feature": found.inputs.feature}
    coords |= {"unit": data.units, "basis": np.arange(data.n_basis)} if data.history.any() else {}
    coords |= {"feature": data.feature[~data.history]} if not data.history.all() else {}
    return coords
