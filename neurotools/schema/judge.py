"""Judge a whole recording against the schema: everything found, not only the first fault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, expect
from neurotools.schema.ask import CANONICAL_UNITS, MAIN_ARRAYS, SCHEMA_VERSION, TIME_TOLERANCE, check_time
from neurotools.schema.build import check_train, plain_attrs, spike_trains

ELECTRIC = ("V", "T", "T/m")
FLAT_RUN = 32  # equal values in a row, in the order they were sampled


@dataclass(frozen=True)
class Finding:
    """One thing that a recording has wrong (``error``) or that its user should know (``note``)."""

    level: str
    code: str
    where: str
    problem: str
    found: str | None = None
    fix: str | None = None


def validate(recording: xr.DataTree) -> list[Finding]:
    """Check a recording against the schema and return everything found, not only the first fault."""
    expect(recording, "a recording", xr.DataTree, fix="load it with nt.load")
    findings: list[Finding] = []
    if recording.dims:
        findings.append(
            Finding(
                "error",
                "NT-DATA-001",
                "/",
                "the root of a recording holds attributes only",
                str(dict(recording.sizes)),
            )
        )
    if recording.attrs.get("reader_notes"):
        findings.append(Finding("note", "NT-FILE-004", "/", str(recording.attrs["reader_notes"])))
    for node in recording.subtree:
        dataset = node.to_dataset(inherit=False)
        for name, array in dataset.data_vars.items():
            findings += _array_findings(f"{node.path.strip('/')}/{name}", array)
        if "time" in dataset.coords:
            findings += _time_findings(f"{node.path.strip('/')}/time", dataset["time"].to_numpy())
        if {"spike_time", "row_size"} <= set(dataset.data_vars):
            findings += _spike_findings(node.path.strip("/"), dataset)
    return findings


def _time_findings(where: str, time: np.ndarray) -> list[Finding]:
    try:
        check_time(time, "the recording")
    except SchemaError as error:
        return [Finding("error", error.code, where, error.problem, error.found, error.fix)]
    step = np.diff(time)
    if step.size and np.abs(step - np.median(step)).max() > TIME_TOLERANCE * np.median(step) + 1e-9:
        found = f"steps from {step.min():.6g} to {step.max():.6g} s, median {np.median(step):.6g} s"
        return [
            Finding(
                "note",
                "NT-DATA-004",
                where,
                "the clock is not regular",
                found,
                "nt.resample(data, sfreq=...)",
            )
        ]
    return []


def _array_findings(where: str, array: xr.DataArray) -> list[Finding]:
    findings = []
    if len(set(array.dims)) != len(array.dims):
        findings.append(Finding("error", "NT-DATA-001", where, "a dimension occurs twice", str(array.dims)))
    for dim in array.dims:
        if dim in array.indexes and not array.indexes[dim].is_unique:
            findings.append(Finding("error", "NT-DATA-006", where, f"labels along {dim!r} are not unique"))
    wanted = CANONICAL_UNITS.get(where)
    if where in MAIN_ARRAYS and "units" not in array.attrs:
        findings.append(Finding("error", "NT-DATA-002", where, "the array has no attrs['units']"))
    elif wanted and array.attrs.get("units") != wanted:
        found = str(array.attrs.get("units"))
        findings.append(Finding("error", "NT-DATA-002", where, f"the unit must be {wanted!r}", found))
    if where in MAIN_ARRAYS and isinstance(array.variable._data, np.ndarray):
        findings += _value_findings(where, array)
    return findings


def _value_findings(where: str, array: xr.DataArray) -> list[Finding]:
    values = array.to_numpy()
    findings = []
    if values.dtype.kind == "f":
        bad = int((~np.isfinite(values)).sum())
        if bad:
            findings.append(
                Finding("note", "NT-DATA-003", where, "values are not finite", f"{bad} of {values.size}",
                        "interpolate, mask or cut them out before analysis")
            )  # fmt: skip
    axis = array.get_axis_num("time") if "time" in array.dims else None
    if axis is not None and values.shape[axis] > 1:
        # fmax and fmin pass over NaN, and are silent where a row holds nothing else.
        flat = np.fmax.reduce(values, axis=axis) == np.fmin.reduce(values, axis=axis)
        if np.any(flat):
            findings.append(
                Finding(
                    "note", "NT-DATA-010", where, "rows never change", f"{int(np.sum(flat))} of {flat.size}"
                )
            )
        if array.attrs.get("units") in ELECTRIC and values.ndim == 2:
            findings += _flat_run(where, array, values.T[:, ~flat] if axis == 1 else values[:, ~flat])
    return findings


def _flat_run(where: str, array: xr.DataArray, moving: np.ndarray) -> list[Finding]:
    """Note the longest stretch of one and the same value, channel after channel, sample after sample.

    Amplifiers are never that quiet, so it marks a block that was lost or zeroed in the file. ``moving`` is
    (time, channel) without channels that never change.
    """
    stored = np.ascontiguousarray(moving).ravel()
    edges = np.flatnonzero(np.concatenate([[True], stored[1:] != stored[:-1], [True]]))
    lengths = np.diff(edges)
    if lengths.size == 0 or lengths.max() < FLAT_RUN:
        return []
    start, length = int(edges[lengths.argmax()]), int(lengths.max())
    n = moving.shape[1]
    first, last = (float(array["time"][k]) for k in (start // n, (start + length - 1) // n))
    found = (
        f"{length} values of {stored[start]:g} in a row from {first:g} to {last:g} s "
        f"({int((lengths >= FLAT_RUN).sum())} such stretches)"
    )
    return [
        Finding(
            "note", "NT-DATA-003", where, "a stretch of the signal is one and the same value", found,
            "compare the file with its checksum; cut the stretch out before analysis",
        )
    ]  # fmt: skip


def _spike_findings(where: str, spikes: xr.Dataset) -> list[Finding]:
    if int(spikes["row_size"].sum()) != spikes.sizes["spike"]:
        return [Finding("error", "NT-DATA-005", where, "row_size does not sum to the number of spikes")]
    findings = []
    for label, train in zip(spikes["unit"].to_numpy(), spike_trains(spikes), strict=True):
        try:
            check_train(train, label, spikes.attrs["t_start"], spikes.attrs["t_stop"])
        except SchemaError as error:
            findings.append(
                Finding("error", error.code, f"{where} {error.where}", error.problem, error.found)
            )
    return findings


def recording_tree(nodes: Mapping[str, xr.Dataset | xr.DataArray], **attrs: Any) -> xr.DataTree:
    """Assemble nodes into a valid recording; a named DataArray becomes the variable of that name.

    Keys are node paths (``"events"``) for Datasets and ``"node/variable"`` for arrays
    (``"calcium/activity"``). Several arrays of one node must share its clock.
    """
    children: dict[str, xr.Dataset] = {}
    for path, data in nodes.items():
        node, _, name = path.partition("/")
        if isinstance(data, xr.DataArray):
            data = data.to_dataset(name=name or "signal")
        before = children.get(f"/{node}")
        children[f"/{node}"] = data if before is None else _together(node, before, data)
    tree = xr.DataTree.from_dict({"/": xr.Dataset(), **children})
    tree.attrs = {"schema": SCHEMA_VERSION, **plain_attrs(attrs)}
    findings = [f for f in validate(tree) if f.level == "error"]
    if findings:
        first = findings[0]
        raise SchemaError(first.problem, code=first.code, where=first.where, found=first.found, fix=first.fix)
    return tree


def _together(node: str, before: xr.Dataset, data: xr.Dataset) -> xr.Dataset:
    try:
        return xr.merge([before, data], join="exact", compat="no_conflicts", combine_attrs="override")
    except ValueError as error:
        raise SchemaError(
            "arrays of one node do not share their clock or their labels", code="NT-DATA-005",
            where=node, found=error, fix="give each clock a node of its own",
        ) from error  # fmt: skip
