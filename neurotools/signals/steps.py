"""What every small labelled step does: ask for its input, keep sessions apart, write down what was done."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.provenance import versions
from neurotools.schema import Schema, sampling_rate, signal
from neurotools.schema.affinity import session_edges
from neurotools.schema.ask import TIME_TOLERANCE

TRACES = Schema("a continuous signal", dims=("subject|trial|window?", "unit|channel|region", "time"))


def asked(data: Any, schema: Schema = TRACES) -> xr.DataArray:
    """The array that a step was given, in memory, in canonical order and free of NaN."""
    array = signal(data) if isinstance(data, xr.DataTree) else data
    return schema.require(array.compute() if isinstance(array, xr.DataArray) else array)


def asked_in_parts(data: Any, schema: Schema) -> xr.DataArray:
    """Like ``asked``, but samples that lie on disk stay there: only dimensions and labels are checked.

    The caller reads parts and checks them.
    """
    array = signal(data) if isinstance(data, xr.DataTree) else data
    if not isinstance(array, xr.DataArray) or isinstance(array.variable._data, np.ndarray):
        return schema.require(array)
    order = schema.require(array.isel(time=slice(0, 2))).dims
    return array.transpose(*order)


def sessions(array: xr.DataArray) -> list[slice]:
    """The stretches of ``time`` that no step may cross: one for each session."""
    return [slice(a, b) for a, b in itertools.pairwise(session_edges(array))]


def rate_of(array: xr.DataArray, what: str) -> float:
    """Samples per second, regular inside each session and the same in all."""
    rates = [sampling_rate(array.isel(time=part), what) for part in sessions(array)]
    if max(rates) > min(rates) * (1 + TIME_TOLERANCE):
        raise SchemaError(
            "sessions have different sampling rates", code="NT-DATA-004",
            found=f"{min(rates):g} to {max(rates):g} Hz",
            fix="bring them to one rate with nt.resample before joining them",
        )  # fmt: skip
    return rates[0]


def recorded(
    result: xr.DataArray, before: xr.DataArray, step: str, by: tuple[str, ...] = (), **settings: Any
) -> xr.DataArray:
    """Append to ``attrs["history"]``, a JSON list: settings, library, samples and units before and after."""
    history = json.loads(before.attrs.get("history", "[]"))
    entry = {
        "step": step,
        **settings,
        "samples": [before.sizes["time"], result.sizes["time"]],
        "units": [before.attrs.get("units"), result.attrs.get("units")],
        **({"library": versions(*by)} if by else {}),
    }
    result.attrs["history"] = json.dumps([*history, entry])
    return result


def along(array: xr.DataArray, dims: tuple[str, ...]) -> dict[str, Any]:
    """Coordinates of ``array`` that lie on these dimensions alone, for a result that keeps them."""
    return {
        str(name): coord.variable
        for name, coord in array.coords.items()
        if coord.dims and set(coord.dims) <= set(dims)
    }
