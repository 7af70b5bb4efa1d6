"""Recordings of several animals as one array, units matched by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, expect
from neurotools.schema import SIGNAL, sampling_rate, space_dim

SAME_CLOCK = 0.1  # of a sample, by which clocks may differ


def join_subjects(recordings: Mapping[str, Any], *, cut: bool = False) -> xr.DataArray:
    """Put recordings of several animals on one clock side by side, with a row of NaN for what one lacks.

    Parameters
    ----------
    recordings : mapping of str to xarray.DataArray or xarray.DataTree
        Name of the subject to its traces (unit | channel | region, time), or to a recording that has one such
        array. Units are matched by their labels, which have to mean the same in every animal; the union of
        them is kept, in order of first appearance. Time has to be that of an experiment that all went
        through: samples with the same number are compared.
    cut : bool
        Whether longer recordings may be cut to the length of the shortest.

    Returns
    -------
    xarray.DataArray
        (subject, unit, time), with ``observed`` (subject, unit) as a coordinate.

    Raises
    ------
    SchemaError
        Labels lack or repeat, rates or lengths differ, or no two animals have a unit in common.
    """
    expect(recordings, "recordings by name of the subject", Mapping)
    if len(recordings) < 2:
        raise SettingsError("at least two subjects are needed", found=len(recordings))
    traces = {str(name): SIGNAL.require(one) for name, one in recordings.items()}
    dims = {space_dim(one) for one in traces.values()}
    if len(dims) > 1:
        raise SchemaError("subjects have different kinds of rows", found=", ".join(sorted(dims)))
    dim = dims.pop()
    labels = {name: _labels(one, dim, name) for name, one in traces.items()}
    time = _clock(traces, cut)
    union = pd.Index(np.concatenate(list(labels.values()))).unique()
    values = np.full((len(traces), union.size, time.size), np.nan)
    for row, (name, one) in enumerate(traces.items()):
        values[row, union.get_indexer(pd.Index(labels[name]))] = one.to_numpy()[:, : time.size]
    observed = ~np.isnan(values).all(axis=-1)
    if (observed.sum(axis=0) < 2).all():
        raise SchemaError(f"no {dim} has the same label in two subjects", code="NT-DATA-005")
    units = {one.attrs.get("units", "1") for one in traces.values()}
    if len(units) > 1:
        raise SchemaError("subjects are in different units", found=", ".join(map(str, sorted(units))))
    return xr.DataArray(
        values,
        dims=("subject", dim, "time"),
        coords={
            "subject": list(traces), dim: union.to_numpy(), "time": time.reset_coords(drop=True),
            "observed": (("subject", dim), observed),
        },
        attrs={"units": units.pop()},
        name="activity",
    )  # fmt: skip


def _labels(array: xr.DataArray, dim: str, name: str) -> np.ndarray:
    if dim not in array.coords:
        raise SchemaError(
            f"{dim}s need labels to be matched across subjects", where=name,
            fix=f"array.assign_coords({dim}=names)",
        )  # fmt: skip
    return array[dim].to_numpy()


def _clock(traces: Mapping[str, xr.DataArray], cut: bool) -> xr.DataArray:
    """The clock of the shortest, when all agree with it."""
    rates = {name: sampling_rate(one, "joining subjects") for name, one in traces.items()}
    lengths = {name: one.sizes["time"] for name, one in traces.items()}
    shortest = min(lengths, key=lambda name: lengths[name])
    time = traces[shortest]["time"]
    if len(set(lengths.values())) > 1 and not cut:
        raise SchemaError(
            "recordings of the subjects differ in length", code="NT-DATA-005",
            found=", ".join(f"{name}: {n}" for name, n in lengths.items()),
            fix="cut=True cuts all to the shortest; or select the same stretch of each",
        )  # fmt: skip
    step = 1.0 / rates[shortest]
    for name, one in traces.items():
        gap = np.abs(one["time"].to_numpy()[: time.size] - time.to_numpy()).max()
        if gap > SAME_CLOCK * step:
            raise SchemaError(
                "the subjects' clocks differ", code="NT-DATA-004", where=name,
                found=f"by up to {gap:.4g} s, {rates[name]:.6g} and {rates[shortest]:.6g} Hz",
                fix="nt.resample brings them to one rate; count time from the onset of the experiment",
            )  # fmt: skip
    return time
