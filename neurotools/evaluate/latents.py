"""Latents of the clusters of a point partition, with bands, and the rules they follow in each state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, expect
from neurotools.numerics import align
from neurotools.schema.posterior import posterior_group, stacked

BAND = (0.05, 0.95)
SAME = 0.5  # of the union of two clusters they share, above which one stands for the other
WHAT = "latents of clusters"


def cluster_latents(post: xr.DataTree, partition: xr.Dataset) -> xr.Dataset:
    """Lay the latents of all draws over one another, cluster by cluster, and say how sure they are.

    In each draw the cluster is taken that shares most members with that of the point partition, if they share
    at least half of all their members. Latents are centred over time, and turned onto their mean (no change
    of size), which lies along its principal axes; what a turn cannot change, the data alone determine.

    Parameters
    ----------
    post : xarray.DataTree
        From ``nt.BiCluster(...).sample``; its ``thinned`` draws are used.
    partition : xarray.Dataset
        From ``nt.point_partition(post)``.

    Returns
    -------
    xarray.Dataset
        ``latent`` (cluster, component, time), the mean over draws, and its 5 % and 95 % quantiles
        ``latent_low`` and ``latent_high``: component 0 is what all units of the cluster share, in log counts
        per bin; the others are weighed by the ``loading`` (unit, component) of each unit.
        ``dynamics_matrix`` (state, cluster, component, component_to), from one bin to the next, and
        ``dynamics_offset`` (state, cluster, component), of states of the point partition, NaN where no draw
        has such a state. ``draw_share`` (cluster): share of draws that have the cluster. NaN where none has.

    Raises
    ------
    SchemaError
        The posterior has no thinned draws.
    """
    thinned = posterior_group(post, "thinned", "latent", what=WHAT)
    group = posterior_group(post, "posterior", "unit_cluster", "time_state", "loading", what=WHAT)
    if not thinned.sizes.get("draw"):
        raise SchemaError(f"{WHAT} need thinned draws, and none were kept", code="NT-DATA-010", fix="keep=50")
    group = group.sel(draw=thinned["draw"])
    expect(partition, "a point partition", xr.Dataset, fix="nt.point_partition(post)")
    labels = partition["unit_label"].to_numpy()
    drawn = _Drawn(
        stacked(group["unit_cluster"]).to_numpy(),
        stacked(thinned["latent"]).transpose("draw", "cluster", "component", "time").to_numpy(),
        stacked(group["loading"]).transpose("draw", "unit", "component").to_numpy(),
    )
    clusters = [_one(drawn, labels, cluster) for cluster in range(int(labels.max()) + 1)]
    found = _as_dataset(clusters, partition, labels, len(drawn.labels))
    if "dynamics_matrix" in thinned and "cluster_to" not in thinned["dynamics_matrix"].dims:
        rules = _rules(
            thinned, stacked(group["time_state"]).to_numpy(), clusters, partition["state_label"].to_numpy()
        )
        found = found.assign(rules)
    return found


@dataclass(frozen=True)
class _Drawn:
    labels: np.ndarray  # (draw, unit)
    latent: np.ndarray  # (draw, cluster, component, time)
    loading: np.ndarray  # (draw, unit, component after the first)


@dataclass(frozen=True)
class _Cluster:
    """One cluster of the estimate, in the draws that have it."""

    draws: np.ndarray  # which
    blocks: np.ndarray  # number of the cluster in each
    latent: np.ndarray  # (draw, component, time), turned and centred
    turn: np.ndarray  # (draw, component, component)
    centre: np.ndarray  # (draw, component)
    loading: np.ndarray  # (unit, component), mean, NaN outside


def _one(drawn: _Drawn, reference: np.ndarray, cluster: int) -> _Cluster:
    pairs = [
        (m, block) for m, labels in enumerate(drawn.labels)
        if (block := _stand_in(labels, reference, cluster)) >= 0
    ]  # fmt: skip
    draws, blocks = (np.array(column, dtype=int) for column in zip(*pairs, strict=True)) if pairs else (
        np.empty(0, int), np.empty(0, int)
    )  # fmt: skip
    latent = drawn.latent[draws, blocks].astype("float64")
    n_components = drawn.latent.shape[2]
    turn = np.broadcast_to(np.eye(n_components), (draws.size, n_components, n_components)).copy()
    centre = latent.mean(axis=2)
    latent = latent - centre[..., None]
    if draws.size and n_components > 1:
        _, turn[:, 1:, 1:] = align.mean_shape(latent[:, 1:])
        latent = turn @ latent
    members = reference == cluster
    loading = np.full((members.size, n_components), np.nan)
    if draws.size:
        loading[members, 0] = 1.0
        turned = drawn.loading[draws][:, members] @ np.swapaxes(turn[:, 1:, 1:], 1, 2)
        loading[members, 1:] = turned.mean(axis=0)
    return _Cluster(draws, blocks, latent, turn, centre, loading)


def _stand_in(labels: np.ndarray, reference: np.ndarray, cluster: int) -> int:
    """The block of a draw that stands for a cluster of the reference; -1 where none is like it."""
    block = int(align.match_clusters(labels, reference)[cluster])
    if block < 0:
        return -1
    here, there = labels == block, reference == cluster
    return block if (here & there).sum() >= SAME * (here | there).sum() else -1


def _as_dataset(
    clusters: list[_Cluster], partition: xr.Dataset, labels: np.ndarray, n_draws: int
) -> xr.Dataset:
    shape = next((one.latent.shape[1:] for one in clusters), (0, 0))

    def over_draws(statistic) -> np.ndarray:
        empty = np.full(shape, np.nan)
        return np.stack([statistic(one.latent) if one.draws.size else empty for one in clusters])

    dims = ("cluster", "component", "time")
    loading = np.full((labels.size, shape[0]), np.nan)
    for cluster, one in enumerate(clusters):
        loading[labels == cluster] = one.loading[labels == cluster]
    return xr.Dataset(
        {
            "latent": (dims, over_draws(lambda x: x.mean(axis=0)), {"units": "1"}),
            "latent_low": (dims, over_draws(lambda x: np.quantile(x, BAND[0], axis=0)), {"units": "1"}),
            "latent_high": (dims, over_draws(lambda x: np.quantile(x, BAND[1], axis=0)), {"units": "1"}),
            "loading": (("unit", "component"), loading),
            "draw_share": ("cluster", [one.draws.size / n_draws for one in clusters]),
        },
        coords={
            "cluster": np.arange(len(clusters)), "component": np.arange(shape[0]),
            "time": partition["time"], "unit": partition["unit"],
        },
    )  # fmt: skip


# ---- the rules --------------------------------------------------------------------------------------------
def _rules(
    thinned: xr.Dataset, states: np.ndarray, clusters: list[_Cluster], reference: np.ndarray
) -> dict[str, tuple]:
    """Mean of A and b over draws, in the turned and centred frame, state by state of the estimate."""
    matrix = stacked(thinned["dynamics_matrix"]).transpose(
        "draw", "state", "cluster", "component_to", "component"
    ).to_numpy().astype("float64")  # fmt: skip
    offset = stacked(thinned["dynamics_offset"]).transpose(
        "draw", "state", "cluster", "component"
    ).to_numpy().astype("float64")  # fmt: skip
    pairing = np.stack([align.match_clusters(labels, reference) for labels in states])
    n_states, n_components = pairing.shape[1], matrix.shape[-1]
    A = np.full((n_states, len(clusters), n_components, n_components), np.nan)
    b = np.full(A.shape[:3], np.nan)
    for c, one in enumerate(clusters):
        for k in range(n_states):
            own_A = matrix[one.draws, pairing[one.draws, k], one.blocks]
            own_b = offset[one.draws, pairing[one.draws, k], one.blocks]
            held = (pairing[one.draws, k] >= 0) & np.isfinite(own_A).all(axis=(1, 2))
            if not held.any():
                continue
            own_A, turn, centre = own_A[held], one.turn[held], one.centre[held][..., None]
            A[k, c] = (turn @ own_A @ np.swapaxes(turn, 1, 2)).mean(axis=0)
            shifted = own_b[held][..., None] + own_A @ centre - centre
            b[k, c] = (turn @ shifted)[..., 0].mean(axis=0)
    return {
        "dynamics_matrix": (("state", "cluster", "component", "component_to"), np.swapaxes(A, 2, 3)),
        "dynamics_offset": (("state", "cluster", "component"), b),
    }
