"""Communities of motifs that have more units than a block model holds: among those that take part most."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SettingsError
from neurotools.evaluate.motifs import check_motifs, motif, undirected
from neurotools.progress import working
from neurotools.schema import space_dim

TOLD = ("pairs", "edges")  # attrs of a motif that say what its edges are
KEPT = ("n_blocks", "description_length", "null_description_length", "chosen")


def motif_communities(model: Any, fit: xr.Dataset, *, max_units: int = 1000) -> xr.Dataset:
    """Communities of every motif of a fit, among its strongest units where there are many.

    The matrix of all pairs of a motif is made only for units that are compared, so a fit of unit loadings
    may have any number of them. Where pairs are ordered (kernel ``lagged``), the graph of a motif is the mean
    of both directions: its communities are of units that lead and follow one another, either way.

    Parameters
    ----------
    model : nt.BlockModel
    fit : xarray.Dataset
        Of ``nt.NTF``.
    max_units : int
        Most units of a motif that are compared: those of the largest loading, or the largest sum of the
        motif's row.

    Returns
    -------
    xarray.Dataset
        As ``nt.BlockModel(...).fit(nt.motif(fit))`` where the fit has no more units than that. Else ``label``
        and ``isolated`` (component, unit), with the label -1 for units that were not compared; ``n_blocks``,
        ``description_length``, ``null_description_length`` and ``chosen``; attrs ``max_units``. attrs
        ``pairs``, where directions were averaged, and ``edges``, where they come from ``nt.motif_edges``.
    """
    if max_units < 2:
        raise SettingsError("at least two units are compared", found=max_units)
    check_motifs(fit)
    values = fit["unit_loading"] if "unit_loading" in fit else fit["motif"]
    dim = space_dim(values)
    if fit.sizes[dim] <= max_units:
        return _of_graph(model, motif(fit))
    fits = []
    with working("communities") as show:
        for place in range(fit.sizes["component"]):
            fits.append(_among_strongest(model, fit.isel(component=place), dim, max_units))
            show((place + 1) / fit.sizes["component"])
    made = xr.concat(fits, dim=fit["component"], combine_attrs="override")
    return made.assign_attrs(max_units=int(max_units))


def _of_graph(model: Any, matrices: xr.DataArray) -> xr.Dataset:
    """Fit a block model to motifs, and say what was done to their edges before."""
    graph = undirected(matrices)
    return model.fit(graph).assign_attrs({k: graph.attrs[k] for k in TOLD if k in graph.attrs})


def _among_strongest(model: Any, fit: xr.Dataset, dim: str, max_units: int) -> xr.Dataset:
    part = _part(fit, dim)
    strongest = np.sort(np.argsort(-part, kind="stable")[:max_units])
    place = {name: strongest for name in (dim, f"{dim}_to") if name in fit.dims}
    found = _of_graph(model, motif(fit.isel(place)).astype("float64"))
    label, isolated = np.full(part.size, -1), np.zeros(part.size, dtype=bool)
    label[strongest], isolated[strongest] = found["label"], found["isolated"]
    variables = {"label": (dim, label), "isolated": (dim, isolated)}
    kept = found[[name for name in KEPT if name in found]]
    coords = {dim: fit[dim]} if dim in fit.coords else {}
    return kept.drop_vars("component", errors="ignore").assign(variables).assign_coords(coords)


def _part(fit: xr.Dataset, dim: str) -> np.ndarray:
    """How much every unit takes part in a motif."""
    if "motif" in fit:
        return undirected(fit["motif"]).sum(f"{dim}_to").to_numpy()
    loading = fit["unit_loading"]
    part = (loading.max("part") if "part" in loading.dims else loading).to_numpy()
    return np.maximum(part, fit["unit_to_loading"].to_numpy()) if "unit_to_loading" in fit else part
