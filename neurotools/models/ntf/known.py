"""Known motifs in new data: their time courses, what they predict, and whether the data belong to them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from neurotools.arrays import like, to_numpy
from neurotools.errors import SchemaError
from neurotools.models.ntf.methods import LOSSES
from neurotools.numerics import affinity as kernels
from neurotools.numerics import divergence, ntf, tensor
from neurotools.numerics.divergence import DIVERGENCES
from neurotools.schema.affinity import AffinityParts

if TYPE_CHECKING:
    from neurotools.models.ntf import NTF

DENSE_BYTES = 4 * 1024**3  # a prediction that takes more is refused


def held_fixed(fit: xr.Dataset, parts: AffinityParts, settings: NTF) -> tuple[xr.DataArray, float]:
    """Time courses of a fit's motifs in an affinity, and the relative error that they leave."""
    check_belongs(fit, parts)
    space, layout_name = space_of(fit, parts)
    layout = LOSSES[settings.loss](parts, settings_of(settings, fit, layout_name), None).layout
    subject = subject_loading(fit, parts).to_numpy()
    times, error = times_and_error(layout, space[None], subject[None], settings)
    coords = {n: c for n, c in parts.coords.items() if c.dims == ("time",)} | {"component": fit["component"]}
    named = xr.DataArray(times[0], dims=("component", "time"), coords=coords, name="time_loading")
    return named, error


def times_and_error(
    layout: Any, space: np.ndarray, subject: np.ndarray, settings: NTF
) -> tuple[np.ndarray, float]:
    """Best time courses (restart, component, time) of given patterns under a loss, and the error left."""
    space, subject = (like(factor, layout.sets) for factor in (space, subject))
    if settings.loss in DIVERGENCES:
        factors, left = divergence.times_of(layout, space, subject, DIVERGENCES[settings.loss])
        return to_numpy(factors.time), left
    product, matrix = ntf.time_terms(layout.project(space), layout.grams(space), subject)
    times = tensor.nonnegative_solve(product, matrix)
    error = tensor.relative_error(layout.norm2, product, times, matrix * tensor.gram(times))
    return to_numpy(times), float(error[0])


def settings_of(settings: NTF, fit: xr.Dataset, layout: str) -> NTF:
    """The settings, with the layout that the fit has."""
    return replace(settings, layout=layout, n_parts=fit.sizes.get("part", settings.n_parts))


def space_of(fit: xr.Dataset, parts: AffinityParts) -> tuple[np.ndarray, str]:
    """What a fit says of space, times its weights, (component, entry), and the layout it is of."""
    weight, dim = fit["weight"].to_numpy()[:, None], parts.dim
    if "motif" in fit:
        matrices = fit["motif"].transpose("component", dim, f"{dim}_to").to_numpy()
        return kernels.pack(matrices, parts.ordered) * weight, "pair"
    if "unit_to_loading" in fit:
        leads = fit["unit_loading"].transpose("component", dim).to_numpy() * weight
        follows = fit["unit_to_loading"].transpose("component", f"{dim}_to").to_numpy()
        return np.concatenate([leads, follows], axis=1), "cp"
    if "part" in fit["unit_loading"].dims:
        loading = fit["unit_loading"].transpose("component", "part", dim).to_numpy()
        return loading.reshape(len(loading), -1) * np.sqrt(weight), "ll1"
    return fit["unit_loading"].transpose("component", dim).to_numpy() * np.sqrt(weight), "symcp"


def subject_loading(fit: xr.Dataset, parts: AffinityParts) -> xr.DataArray:
    """Loadings of the subjects that the data have, in their order; ones where the fit knows no subjects."""
    if "subject_loading" not in fit:
        return xr.DataArray(np.ones((fit.sizes["component"], 1)), dims=("component", "subject"))
    loading = fit["subject_loading"].transpose("component", "subject")
    if "subject" not in parts.coords or "subject" not in fit.coords:
        return loading
    wanted = parts.coords["subject"].to_numpy()
    unknown = sorted(set(wanted.tolist()) - set(fit["subject"].to_numpy().tolist()))
    if unknown:
        raise SchemaError(
            "the fit has no loading for some subjects", code="NT-DATA-005", found=", ".join(map(str, unknown))
        )
    return loading.sel(subject=wanted).drop_vars("subject")


def check_belongs(fit: xr.Dataset, parts: AffinityParts) -> None:
    """Raise unless units, subjects and kernel of the data are those of the fit."""
    if "weight" not in fit or not {"motif", "unit_loading"} & set(fit.data_vars):
        raise SchemaError("this is not a factorisation", found=sorted(map(str, fit.data_vars)))
    if fit.attrs.get("kernel") != parts.kernel:
        raise SchemaError(
            "the affinity has another kernel than the fit",
            code="NT-DATA-005", found=parts.kernel, expected=fit.attrs.get("kernel"),
        )  # fmt: skip
    labels = [data[parts.dim].to_numpy() for data in (fit.coords, parts.coords) if parts.dim in data]
    same = fit.sizes.get(parts.dim) == parts.observed.shape[1]
    if not same or (len(labels) == 2 and not np.array_equal(labels[0], labels[1])):
        raise SchemaError(
            f"the affinity has other {parts.dim}s than the fit, or another order", code="NT-DATA-005",
            fix=f"select them by name: affinity.sel({parts.dim}=fit[{parts.dim!r}])",
        )  # fmt: skip
    if ("subject_loading" in fit) != parts.several:
        raise SchemaError(
            "only one of fit and affinity has subjects", code="NT-DATA-005",
            found=f"subject_loading in the fit: {'subject_loading' in fit}; in the data: {parts.several}",
        )  # fmt: skip


def rebuilt(fit: xr.Dataset, loading: xr.DataArray, parts: AffinityParts) -> xr.DataArray:
    """Affinities that a fit predicts with the given time courses."""
    n_subjects, n_units = parts.observed.shape
    size = 8 * n_subjects * parts.n_time * n_units**2
    if size > DENSE_BYTES:
        raise SchemaError(
            "the dense prediction is too large to be made", code="NT-DATA-010",
            found=f"{size / 1024**3:.1f} GiB", expected=f"at most {DENSE_BYTES / 1024**3:.0f} GiB",
            fix="select less time: affinity.isel(time=slice(0, 100))",
        )  # fmt: skip
    scaled = loading * fit["weight"] * subject_loading(fit, parts)
    moving = scaled.transpose("subject", "time", "component").to_numpy()
    matrices = motifs_of(fit, parts)
    values = np.moveaxis(np.tensordot(moving, matrices, axes=1), 1, -1)
    dims = ("subject", parts.dim, f"{parts.dim}_to", "time")
    named = xr.DataArray(values, dims=dims, name="affinity", attrs={"units": "1"})
    named = named if parts.several else named.isel(subject=0)
    return named.assign_coords({**parts.coords, **parts.to_coord})


def motifs_of(fit: xr.Dataset, parts: AffinityParts) -> np.ndarray:
    """Motif matrices (component, unit, unit_to) of length one, diagonal zero."""
    dim = parts.dim
    if "motif" in fit:
        return fit["motif"].transpose("component", dim, f"{dim}_to").to_numpy()
    leads = fit["unit_loading"].transpose("component", ..., dim).to_numpy()
    leads = leads.reshape(len(leads), -1, leads.shape[-1])
    follows = leads
    if "unit_to_loading" in fit:
        follows = fit["unit_to_loading"].transpose("component", f"{dim}_to").to_numpy()[:, None]
    return (leads.swapaxes(1, 2) @ follows) * ~np.eye(leads.shape[-1], dtype=bool)
