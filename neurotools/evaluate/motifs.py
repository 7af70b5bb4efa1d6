"""The matrix of a motif, for every layout of a factorisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.schema import space_dim


def motif(fit: xr.Dataset, component: int | None = None) -> xr.DataArray:
    """Motif matrices of a factorisation, (component, unit, unit_to), diagonal zero.

    Symmetric, unless pairs are ordered: then the first unit leads and the second follows.

    Parameters
    ----------
    fit : xarray.Dataset
        Result of ``nt.NTF``. For the layouts of unit loadings the motif is the sum of their outer products.
    component : int, optional
        One motif alone, (unit, unit_to).

    Returns
    -------
    xarray.DataArray
        ``weight x motif x time_loading`` (times ``subject_loading`` where there are several) summed over
        components is the affinity that the model predicts.

    Raises
    ------
    SchemaError
        The Dataset is no factorisation, or has no such component.
    """
    check_motifs(fit)
    if component is not None:
        labels = fit["component"].to_numpy()
        if component not in labels:
            raise SchemaError(
                f"there is no component {component!r}",
                code="NT-SET-001",
                expected=f"one of {labels.tolist()}",
            )
        fit = fit.sel(component=component)
    if "motif" in fit:
        return fit["motif"]
    loading = fit["unit_loading"]
    dim = space_dim(loading)
    follows = fit.get("unit_to_loading", loading.rename({dim: f"{dim}_to"}))
    off = xr.DataArray(~np.eye(loading.sizes[dim], dtype=bool), dims=(dim, f"{dim}_to"))
    with xr.set_options(arithmetic_join="exact"):
        values = loading * follows
        values = ((values.sum("part") if "part" in values.dims else values) * off).rename("motif")
    return values.transpose(*[d for d in ("component", dim, f"{dim}_to") if d in values.dims])


def undirected(matrix: xr.DataArray) -> xr.DataArray:
    """Mean of both directions of every pair, for what takes pairs without one: block models, layouts.

    Parameters
    ----------
    matrix : xarray.DataArray
        (..., unit, unit_to), of ordered pairs (kernel ``lagged``); one that is symmetric stays as it is.

    Returns
    -------
    xarray.DataArray
        Symmetric; who leads is no longer told from who follows. ``attrs["pairs"]`` says so where anything
        changed.

    Raises
    ------
    SchemaError
        The matrix has no two ends of pairs.
    """
    dim = space_dim(matrix) if isinstance(matrix, xr.DataArray) else "unit"
    sizes = dict(matrix.sizes) if isinstance(matrix, xr.DataArray) else {}
    if sizes.get(f"{dim}_to", -1) != sizes.get(dim):
        raise SchemaError(
            "a matrix with both ends of every pair is needed", found=sizes or type(matrix).__name__,
            expected=f"dimensions {dim!r} and '{dim}_to' of one length", fix="matrix = nt.motif(fit)",
        )  # fmt: skip
    matrix = matrix.transpose(..., dim, f"{dim}_to")
    values = matrix.to_numpy()
    turned = np.swapaxes(values, -1, -2)
    if np.array_equal(values, turned):
        return matrix
    return matrix.copy(data=(values + turned) / 2).assign_attrs(pairs="mean of both directions")


def check_motifs(fit: Any) -> None:
    """Raise unless this is a factorisation, which has motifs in one form or another."""
    if isinstance(fit, xr.Dataset) and {"motif", "unit_loading"} & set(fit.data_vars):
        return
    raise SchemaError(
        "a factorisation is needed: a Dataset with 'motif' or 'unit_loading'",
        found=sorted(map(str, fit.data_vars)) if isinstance(fit, xr.Dataset) else type(fit).__name__,
        fix="fit = nt.NTF(rank=8).fit(affinity)",
    )
