"""How sure intervals and communities are: what motifs of resampled data make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.evaluate.dynamic import dynamic_connectome
from neurotools.evaluate.motifs import undirected
from neurotools.numerics.partitions import coassignment
from neurotools.progress import working
from neurotools.schema import space_dim

BOUNDS = (0.05, 0.95)  # of the replicates


def community_uncertainty(model: Any, replicates: xr.Dataset) -> xr.Dataset:
    """How often two units share a community: a block model of every replicate of every motif.

    The spread of the edges over replicates reaches the communities this way, which one block model of one
    motif, however well sampled, does not know of.

    Parameters
    ----------
    model : nt.BlockModel
    replicates : xarray.Dataset
        Of ``nt.bootstrap_motifs``.

    Returns
    -------
    xarray.Dataset
        ``coassignment`` (component, unit, unit_to), the share of replicates in which two units are of one
        community; ``n_blocks`` (replicate, component).
    """
    values = _needs(replicates, "motif")
    dim = space_dim(values)
    values = values.transpose("replicate", "component", dim, f"{dim}_to")
    labels = []
    with working("communities of resampled data") as show:
        for k in range(values.sizes["replicate"]):
            fitted = model.fit(undirected(values.isel(replicate=k, drop=True)))
            labels.append(fitted["label"].transpose("component", dim).to_numpy())
            show((k + 1) / values.sizes["replicate"])
    found = np.stack(labels)
    together = np.stack([coassignment(found[:, k]) for k in range(found.shape[1])])
    kept = ("component", dim, f"{dim}_to", "replicate")
    return xr.Dataset(
        {
            "coassignment": (kept[:3], together),
            "n_blocks": (("replicate", "component"), found.max(axis=-1) + 1),
        },
        coords={name: replicates[name] for name in kept if name in replicates.coords},
    )


def interval_uncertainty(
    connectome: xr.Dataset,
    replicates: xr.Dataset,
    *,
    threshold: float | None = None,
    min_pause_s: float = 0.0,
) -> xr.Dataset:
    """How sure it is that a motif is active, and when its intervals begin and end.

    The time courses of every replicate are cut by the same rule as those of the fit. An interval of a
    replicate belongs to the fit's interval of the same motif that it shares most time with.

    Parameters
    ----------
    connectome : xarray.Dataset
        Of ``nt.dynamic_connectome``.
    replicates : xarray.Dataset
        Of ``nt.bootstrap_motifs`` for the same fit.
    threshold : float, optional
    min_pause_s : float, in s
        Both as for ``nt.dynamic_connectome``.

    Returns
    -------
    xarray.Dataset
        ``active_prob`` (component, time), the share of replicates in which the motif is active;
        ``interval_support`` (interval), the share of replicates that have the interval at all;
        ``interval_start_range`` and ``interval_stop_range`` (interval, bound), in s: 5 % and 95 % of them,
        NaN where no replicate has it.
    """
    loading = _needs(replicates, "time_loading").transpose("replicate", "component", "time")
    active = connectome["active"].transpose("component", "time")
    if loading.shape[1:] != active.shape:
        raise SchemaError(
            "the replicates are of another fit than the connectome", code="NT-DATA-005",
            found=dict(loading.sizes), expected=dict(active.sizes),
        )  # fmt: skip
    again = [_cut(connectome, values, threshold, min_pause_s) for values in loading.to_numpy()]
    edges = [_edges_of(connectome, one) for one in again]
    started, stopped = (np.stack(side) for side in zip(*edges, strict=True))
    known = np.isfinite(started)
    ranges = [_range(side, known) for side in (started, stopped)]
    return xr.Dataset(
        {
            "active_prob": (("component", "time"), np.mean([one["active"] for one in again], axis=0)),
            "interval_support": ("interval", known.mean(axis=0)),
            "interval_start_range": (("interval", "bound"), ranges[0], {"units": "s"}),
            "interval_stop_range": (("interval", "bound"), ranges[1], {"units": "s"}),
        },
        coords={**active.coords, "interval": connectome["interval"], "bound": list(BOUNDS)},
    )


def _needs(replicates: xr.Dataset, name: str) -> xr.DataArray:
    if not isinstance(replicates, xr.Dataset) or name not in replicates or "replicate" not in replicates.dims:
        raise SchemaError(
            f"replicates with {name!r} are needed",
            fix="replicates = nt.bootstrap_motifs(model, affinity, fit)",
        )
    return replicates[name]


def _cut(
    connectome: xr.Dataset, values: np.ndarray, threshold: float | None, min_pause_s: float
) -> xr.Dataset:
    """Intervals of a replicate's time courses (component, time), found as those of the fit were."""
    active = connectome["active"].transpose("component", "time")
    fit = active.copy(data=values).to_dataset(name="time_loading").assign_attrs(connectome.attrs)
    nobody = xr.Dataset({"label": (("component", "unit"), np.zeros((len(values), 2), int))})
    nobody = nobody.assign_coords(component=fit["component"])
    return dynamic_connectome(fit, nobody, threshold=threshold, min_pause_s=min_pause_s)


def _edges_of(connectome: xr.Dataset, found: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Start and stop of the interval in ``found`` that shares most time with each of the connectome's."""
    start, stop = (connectome[f"interval_{side}"].to_numpy() for side in ("start", "stop"))
    owner = connectome["interval_component"].to_numpy()
    begins, ends = np.full(start.size, np.nan), np.full(start.size, np.nan)
    for k in range(start.size):
        own = found["interval_component"].to_numpy() == owner[k]
        first, last = (found[f"interval_{side}"].to_numpy()[own] for side in ("start", "stop"))
        shared = np.minimum(last, stop[k]) - np.maximum(first, start[k])
        if shared.size and shared.max() > 0:
            best = int(shared.argmax())
            begins[k], ends[k] = first[best], last[best]
    return begins, ends


def _range(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Quantiles over replicates, (interval, bound)."""
    some = known.any(axis=0)
    made = np.full((values.shape[1], len(BOUNDS)), np.nan)
    if some.any():
        made[some] = np.nanquantile(values[:, some], BOUNDS, axis=0).T
    return made
