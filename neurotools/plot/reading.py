"""What a plot reads from a fit: a variable, a motif as a matrix, labels of communities, an order of units."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, expect
from neurotools.schema import SPACE_DIMS


def variable(dataset: xr.Dataset, name: str, what: str) -> xr.DataArray:
    """Return a variable that a plot of ``what`` needs, or say what the dataset has instead."""
    if not isinstance(dataset, xr.Dataset):
        raise SchemaError(f"{what} needs a Dataset", found=type(dataset).__name__, expected=f"with {name!r}")
    if name not in dataset:
        raise SchemaError(
            f"{what} needs the variable {name!r}",
            found=", ".join(map(str, dataset.data_vars)) or "an empty Dataset",
        )
    return dataset[name]


def needs_dims(array: xr.DataArray, dims: tuple[str, ...], what: str) -> xr.DataArray:
    """Return ``array`` in the order ``dims``, or say which dimensions are wrong."""
    if set(array.dims) != set(dims):
        raise SchemaError(f"{what} needs the dimensions {dims}", found=tuple(map(str, array.dims)))
    return array.transpose(*dims)


def space_of(dataset: xr.Dataset | xr.DataArray, what: str) -> str:
    """``unit``, ``region`` or ``channel``: whichever the data is about."""
    expect(dataset, f"labelled data for {what}", xr.Dataset, xr.DataArray)
    for dim in SPACE_DIMS:
        if dim in dataset.dims:
            return dim
    raise SchemaError(f"{what} needs one of the dimensions {SPACE_DIMS}", found=tuple(map(str, dataset.dims)))


def components(fit: xr.Dataset) -> np.ndarray:
    """Labels of the components of a fit."""
    expect(fit, "a fit", xr.Dataset)
    if "component" not in fit.dims:
        raise SchemaError(
            "a fit with the dimension 'component' is needed", found=tuple(map(str, fit.dims)),
            fix="fit = nt.NTF(rank=...).fit(affinity)",
        )  # fmt: skip
    return fit["component"].to_numpy()


def check_component(fit: xr.Dataset, component: Any) -> None:
    """Raise unless ``component`` is one of the fit's."""
    known = components(fit)
    if component not in known:
        raise SettingsError(
            f"there is no component {component!r} in this fit",
            code="NT-SET-001",
            expected="one of " + ", ".join(map(str, known)),
        )


def motif_matrix(fit: xr.Dataset, component: Any) -> xr.DataArray:
    """One motif as a square matrix, for every layout: stored, or the outer product of unit loadings.

    The diagonal is 0, as a unit has no affinity with itself.
    """
    check_component(fit, component)
    dim = space_of(fit, "a motif")
    if "motif" in fit:
        return fit["motif"].sel(component=component).transpose(dim, f"{dim}_to")
    loading = variable(fit, "unit_loading", "a motif").sel(component=component)
    leads = loading.transpose(..., dim).to_numpy().reshape(-1, loading.sizes[dim])  # a row for each part
    follows = leads
    if "unit_to_loading" in fit:
        follows = fit["unit_to_loading"].sel(component=component).to_numpy()[None]
    values = leads.T @ follows
    np.fill_diagonal(values, 0.0)
    labels = fit[dim].to_numpy()
    return xr.DataArray(values, dims=(dim, f"{dim}_to"), coords={dim: labels, f"{dim}_to": labels})


def strength(fit: xr.Dataset) -> xr.DataArray:
    """How much each unit takes part in each motif: its loading, or its row of the motif summed."""
    dim = space_of(fit, "unit loadings")
    if "unit_loading" in fit:
        loading = fit["unit_loading"]
        loading = loading.sum("part") if "part" in loading.dims else loading
        return loading.transpose("component", dim)
    return variable(fit, "motif", "unit loadings").sum(f"{dim}_to").transpose("component", dim)


def labels_of(communities: xr.Dataset, component: Any, units: np.ndarray, level: int = 0) -> np.ndarray:
    """Community of each of ``units`` in one motif, matched by name; -1 where a unit has none."""
    label = variable(communities, "label", "communities")
    if "component" in label.dims:
        check_component(communities, component)
        label = label.sel(component=component)
    if "level" in label.dims:
        label = label.isel(level=level)
    dim = space_of(label, "communities")
    known = label[dim].to_index()
    missing = [str(unit) for unit in units if unit not in known]
    if missing:
        raise SchemaError(
            f"the communities do not name every {dim} of the fit",
            code="NT-DATA-005",
            found=f"{len(missing)} missing, for example {', '.join(missing[:3])}",
            fix="pass the communities that were found in this fit",
        )
    return label.sel({dim: units}).to_numpy().astype(int)


def community_order(matrix: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Order of units for drawing: strongest community first, in it the strongest unit first.

    The strength of a unit is the sum of its row, that of a community the mean over its units; units
    without a community (label below 0) come last.
    """
    row = np.nan_to_num(np.asarray(matrix, dtype="float64")).sum(axis=1)
    names = np.unique(labels)
    mean = {name: row[labels == name].mean() if name >= 0 else -np.inf for name in names}
    return np.lexsort((np.arange(row.size), -row, labels, np.array([-mean[label] for label in labels])))


def blocks(labels: np.ndarray) -> list[tuple[int, int, int]]:
    """Runs of equal labels as (label, start, stop)."""
    edges = np.flatnonzero(np.diff(labels)) + 1
    starts, stops = np.concatenate([[0], edges]), np.concatenate([edges, [len(labels)]])
    return [(int(labels[a]), int(a), int(b)) for a, b in zip(starts, stops, strict=True) if b > a]
