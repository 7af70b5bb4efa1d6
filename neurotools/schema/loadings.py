"""What a fit with loadings over labelled dimensions stands for."""

from __future__ import annotations

import xarray as xr

from neurotools.errors import SchemaError, expect


def rebuilt_tensor(fit: xr.Dataset) -> xr.DataArray:
    """The tensor that a fit of ``nt.TensorModel`` predicts, in the order of dimensions of its data."""
    expect(fit, "a fit of nt.TensorModel", xr.Dataset)
    dims = str(fit.attrs.get("dims", "")).split()
    if not dims or any(f"{dim}_loading" not in fit for dim in dims):
        raise SchemaError("a fit of nt.TensorModel is needed", found=sorted(map(str, fit.data_vars)))
    loadings = [fit[f"{dim}_loading"] for dim in dims]
    if "core" in fit:
        total = xr.dot(fit["core"], *loadings, dim=[str(d) for d in fit["core"].dims])
    else:
        total = xr.dot(fit["weight"], *loadings, dim="component")
    return total.transpose(*dims).rename("rebuilt")
