"""What a regression takes: observations beside a design, the same samples in both, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.schema.ask import Schema

DESIGN = Schema("a design", dims=("time|trial", "feature"))


@dataclass(frozen=True)
class Regression:
    """Observations and regressors as plain arrays, and the names they had."""

    y: np.ndarray  # (sample, unit), one column where there are no units
    x: np.ndarray  # (sample, column), ones first
    start: np.ndarray  # (sample), True where a session begins
    dim: str  # "time" or "trial"
    units: np.ndarray | None  # labels, None for a single series such as choices
    feature: np.ndarray  # names of the columns after the first
    kind: np.ndarray
    source: np.ndarray
    basis: np.ndarray
    coords: dict[str, Any]  # what rides on the samples
    seen: np.ndarray | None = None  # (sample, unit), 1 where observed; None where everything was
    trials: np.ndarray | None = None  # (sample, unit), tries of which ``y`` are successes
    alternatives: np.ndarray | None = None  # names of the alternatives of a choice, the first not in ``y``

    @property
    def history(self) -> np.ndarray:
        """Which features are a unit's own past."""
        return self.kind == "history"

    @property
    def to(self) -> tuple[str, ...]:
        """The dimension that outputs lie along: units, alternatives of a choice, or none."""
        if self.alternatives is not None:
            return ("alternative",)
        return () if self.units is None else ("unit_to",)

    @property
    def n_basis(self) -> int:
        """How many functions of the lag there are."""
        return int(self.basis[self.history].max(initial=-1)) + 1


def regression(data: Any, design: Any, schema: Schema) -> Regression:
    """Observations and design, checked to belong together.

    Raises
    ------
    SchemaError
        Dimensions, samples, sessions or units of the two differ, or nothing at all was observed.
    """
    data, seen = without_missing(data)
    data, design = schema.require(data), DESIGN.require(design)
    dim = str(data.dims[0])
    same_samples(design, dim, data.shape[0], data.coords)
    seen = _both_seen(seen, data, design, dim)
    units = None
    if data.ndim == 2:
        units = data[data.dims[1]].to_numpy() if data.dims[1] in data.coords else np.arange(data.shape[1])
    names = {name: _riding(design, name) for name in ("kind", "source", "basis")}
    found = Regression(
        # Products round alike only if the data lie alike, whatever order the dimensions came in.
        y=np.ascontiguousarray(data.to_numpy().reshape(data.shape[0], -1), dtype="float64"),
        x=np.ascontiguousarray(np.column_stack([np.ones(design.shape[0]), design.to_numpy()])),
        start=_starts(data, dim), dim=dim, units=units, feature=design["feature"].to_numpy().astype(str),
        coords={str(n): c.variable for n, c in data.coords.items() if c.dims == (dim,)},
        seen=seen, trials=_riding_values(data, "n_trials"), **names,
    )  # fmt: skip
    _same_units(found)
    return found


# ---- what was not observed --------------------------------------------------------------------------------
def without_missing(data: Any) -> tuple[Any, np.ndarray | None]:
    """``data`` with zeros where nothing was observed, and (sample, unit) 1 where something was.

    A bin is missing where the coordinate ``observed``, on samples or on samples and units, is False, or where
    a floating-point value is NaN. None where everything was observed.
    """
    if not isinstance(data, xr.DataArray):
        return data, None
    seen = xr.ones_like(data, dtype=bool).drop_vars(list(data.coords))
    if "observed" in data.coords:
        mask = data.coords["observed"]
        if mask.dtype != bool or not set(mask.dims) <= set(data.dims):
            raise SchemaError(
                "the coordinate 'observed' holds True or False along dimensions of the data",
                found=f"{mask.dtype} along {mask.dims}",
            )
        seen = seen & mask.variable.to_base_variable().set_dims(data.sizes)
    if data.dtype.kind == "f":
        seen = seen & ~np.isnan(data.variable)
    if bool(seen.all()):
        return data, None
    if not bool(seen.any()):
        raise SchemaError("no sample of the data was observed", code="NT-DATA-010")
    first = next((dim for dim in ("time", "trial") if dim in data.dims), data.dims[0])
    values = seen.transpose(first, ...).to_numpy().astype("float64")
    return data.where(seen.variable, 0).astype(data.dtype), values.reshape(values.shape[0], -1)


def _both_seen(
    seen: np.ndarray | None, data: xr.DataArray, design: xr.DataArray, dim: str
) -> np.ndarray | None:
    """Where both the observation and its regressors are known."""
    if "observed" not in design.coords or design["observed"].dims != (dim,):
        return seen
    known = design["observed"].to_numpy().astype("float64")[:, None]
    if known.all():
        return seen
    wide = np.broadcast_to(known, (data.shape[0], int(np.prod(data.shape[1:]))))
    return wide.copy() if seen is None else seen * wide


def _riding_values(data: xr.DataArray, name: str) -> np.ndarray | None:
    """A numeric coordinate on the samples, or on samples and units, laid out as the observations are."""
    if name not in data.coords:
        return None
    wide = data.coords[name].variable.to_base_variable().set_dims(data.sizes).transpose(*data.dims)
    values = wide.to_numpy().astype("float64")
    return np.ascontiguousarray(values.reshape(data.shape[0], -1))


def _riding(design: xr.DataArray, name: str) -> np.ndarray:
    """A coordinate of the features; a design of one's own may lack it, and is then all stimulus."""
    if name in design.coords and design[name].dims == ("feature",):
        return design[name].to_numpy()
    default = {"kind": "stimulus", "source": design["feature"].to_numpy().astype(str), "basis": 0}[name]
    return np.broadcast_to(np.asarray(default), (design.sizes["feature"],))


def same_samples(design: xr.DataArray, dim: str, n: int, coords: Any) -> None:
    """Raise unless a design has these samples: as many, with the labels and sessions in ``coords``."""
    if "feature" not in design.coords:
        raise SchemaError(
            "the columns of the design have no names", code="NT-DATA-006",
            fix="nt.glm_design or nt.choice_design make one; or assign the coordinate 'feature'",
        )  # fmt: skip
    what, found, expected = "", "", ""
    if design.dims[0] != dim or design.shape[0] != n:
        what, found, expected = "samples", f"{design.shape[0]} {design.dims[0]}s", f"{n} {dim}s"
    else:
        for name in (dim, "session"):
            if name in coords and name in design.coords:
                left, right = np.asarray(coords[name]), design[name].to_numpy()
                if not np.array_equal(left, right):
                    first = int(np.flatnonzero(left != right)[0])
                    what = f"labels of {name!r}"
                    found, expected = f"{right[first]} at position {first}", f"{left[first]}"
                    break
        else:
            if ("session" in coords) != ("session" in design.coords):
                what = "sessions"
                found, expected = (
                    "present" if "session" in part else "absent" for part in (design.coords, coords)
                )
    if what:
        raise SchemaError(
            f"observations and design differ in {what}", code="NT-DATA-005",
            found=f"design: {found}", expected=f"as in the observations: {expected}",
            fix="make the design from the very array that is fitted, then select from both alike",
        )  # fmt: skip


def with_alternatives(data: Regression, n: int) -> Regression:
    """Codes of a choice as ones at the alternative chosen: a column for each alternative but the first."""
    names = np.arange(1, n)
    chosen = (data.y[:, :1] == names).astype("float64")
    seen = None if data.seen is None else np.ascontiguousarray(np.broadcast_to(data.seen, chosen.shape))
    return replace(data, y=chosen, seen=seen, alternatives=names)


def _same_units(found: Regression) -> None:
    """Raise unless the units whose history is in the design are the units observed."""
    if not found.history.any():
        return
    units = [] if found.units is None else [str(unit) for unit in found.units]
    sources = found.source[found.history].astype(str)
    whole = len(units) * found.n_basis == sources.size and set(units) == set(sources.tolist())
    if not whole:
        lacking, strange = sorted(set(units) - set(sources)), sorted(set(sources) - set(units))
        raise SchemaError(
            "the design holds the history of other units than were observed", code="NT-DATA-005",
            found="lacks " + (", ".join(lacking[:5]) or "none") + "; not observed: "
            + (", ".join(strange[:5]) or "none"),
            fix="design = nt.glm_design(counts, history=...) with these counts",
        )  # fmt: skip


def _starts(data: xr.DataArray, dim: str) -> np.ndarray:
    start = np.zeros(data.shape[0], dtype=bool)
    start[0] = True
    if "session" in data.coords and data["session"].dims == (dim,):
        labels = data["session"].to_numpy()
        start[1:] = labels[1:] != labels[:-1]
    return start


# ---- couplings --------------------------------------------------------------------------------------------
TYPES = ("inhibitory", "none", "excitatory")


def anatomical(connectome: Any, data: Regression) -> np.ndarray:
    """Prior means (history feature, unit) from anatomical weights (unit, unit_to), matched by label."""
    units = _coupled(data)
    matrix = _of_units(Schema("a connectome", dims=("unit", "unit_to")).require(connectome), units)
    row = [units.index(source) for source in data.source[data.history].astype(str)]
    return matrix.to_numpy()[row].astype("float64") / data.n_basis


def anatomical_types(connectome: Any, data: Regression) -> np.ndarray:
    """Prior probabilities (sender, receiver, type), types in the order of ``TYPES``, matched by label."""
    units = _coupled(data)
    prob = Schema("a connectome of types", dims=("unit", "unit_to", "type")).require(connectome)
    labels = [str(label) for label in prob["type"].to_numpy()] if "type" in prob.coords else []
    if sorted(labels) != sorted(TYPES):
        raise SchemaError(
            "the types of the connectome are not those of connections", code="NT-DATA-005",
            found=", ".join(labels) or "no labels along 'type'", expected=", ".join(TYPES),
        )  # fmt: skip
    values = _of_units(prob, units).isel(type=[labels.index(name) for name in TYPES]).to_numpy()
    off = np.abs(values.sum(axis=-1) - 1)
    if not (values >= 0).all() or off.max() > 1e-6:
        raise SchemaError(
            "probabilities of the types of a connection are not below zero and sum to one",
            code="NT-SET-002",
            found=f"least {values.min():g}; sums differ from one by up to {off.max():g}",
        )  # fmt: skip
    return values.astype("float64")


def _coupled(data: Regression) -> list[str]:
    """Units as text; an error where they have no couplings."""
    if data.units is None or not data.history.any():
        raise SchemaError(
            "a connectome is a prior on the couplings of units, and there are none", code="NT-DATA-005",
            fix="give the design a history",
        )  # fmt: skip
    return [str(unit) for unit in data.units]


def _of_units(matrix: xr.DataArray, units: list[str]) -> xr.DataArray:
    """A connectome with its units in the order of the counts."""
    for dim in ("unit", "unit_to"):
        labels = [str(label) for label in matrix[dim].to_numpy()] if dim in matrix.coords else None
        if labels is None or sorted(labels) != sorted(units):
            raise SchemaError(
                f"the connectome has other labels along {dim!r} than the counts", code="NT-DATA-005",
                found="no labels" if labels is None else ", ".join(labels[:8]), expected=", ".join(units[:8]),
            )  # fmt: skip
        matrix = matrix.isel({dim: [labels.index(unit) for unit in units]})
    return matrix


def named_weights(flat: np.ndarray, data: Regression) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Weights (..., column, unit), the bias first, as variables over the last axes that their names have.

    ``bias`` (unit_to), ``weight`` (unit, unit_to, basis) of histories, ``feature_weight`` (feature, unit_to)
    of all else; without ``unit_to`` where there are no units, and with ``alternative`` in its place for
    choices among several. The caller names the leading axes.
    """
    to = data.to
    values = flat if to else flat[..., 0]
    column = 1 + np.arange(data.feature.size)
    found: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    found["bias"] = (to, values[..., 0, :] if to else values[..., 0])
    if data.history.any():
        assert data.units is not None
        place = coupling_places(data)
        found["weight"] = (("unit", "unit_to", "basis"), np.moveaxis(flat[..., place, :], -1, -2))
    others = column[~data.history]
    if others.size:
        found["feature_weight"] = (("feature", *to), values[..., others, :] if to else values[..., others])
    return found


def flat_weights(fit: xr.Dataset, data: Regression, names: tuple[str, str, str]) -> np.ndarray:
    """The inverse of ``named_weights`` for data whose features may come in another order."""
    lead = [d for d in fit[names[0]].dims if d not in ("unit_to", "alternative")]
    shape = [fit.sizes[d] for d in lead]
    flat = np.zeros((*shape, 1 + data.feature.size, data.y.shape[1]))
    tail = data.to
    flat[..., 0, :] = fit[names[0]].transpose(*lead, *tail).to_numpy().reshape(*shape, -1)
    if data.history.any():
        weight = fit[names[1]].transpose(*lead, "unit", "basis", "unit_to").to_numpy()
        flat[..., coupling_places(data), :] = weight
    others = data.feature[~data.history]
    if others.size:
        weight = fit[names[2]].sel(feature=others).transpose(*lead, "feature", *tail).to_numpy()
        flat[..., 1 + np.flatnonzero(~data.history), :] = weight.reshape(*shape, others.size, -1)
    return flat


def coupling_places(data: Regression) -> np.ndarray:
    """Column (unit, basis) of each unit's history, the bias being column 0."""
    assert data.units is not None
    units = [str(unit) for unit in data.units]
    place = np.zeros((len(units), data.n_basis), dtype=int)
    for column in np.flatnonzero(data.history):
        place[units.index(str(data.source[column])), data.basis[column]] = column + 1
    return place


def check_same_columns(fit: xr.Dataset, data: Regression) -> None:
    """Raise unless units and regressors of the data are those that a fit has weights for."""
    pairs = {
        "units": (fit["unit_to"].to_numpy() if "unit_to" in fit.dims else None, data.units),
        "regressors": (
            np.sort(fit["feature"].to_numpy()) if "feature_weight" in fit else None,
            np.sort(data.feature[~data.history]) if (~data.history).any() else None,
        ),
        "functions of the lag": (fit.sizes.get("basis", 0), data.n_basis),
        "alternatives": (
            fit["alternative"].to_numpy() if "alternative" in fit.dims else None,
            data.alternatives,
        ),
    }
    for what, (known, given) in pairs.items():
        if (known is None) != (given is None) or not np.array_equal(known, given):  # type: ignore[arg-type]
            raise SchemaError(
                f"the fit has other {what} than the data, or another order", code="NT-DATA-005",
                found=given, expected=known,
            )  # fmt: skip
