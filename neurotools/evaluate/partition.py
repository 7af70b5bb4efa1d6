"""One partition of units and one of time from many draws, and how sure they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, expect, lookup
from neurotools.numerics import partitions
from neurotools.numerics import point_partition as search
from neurotools.schema.posterior import posterior_group, stacked, thinned_to

BOUNDS = ("coarsest", "finest", "furthest")
NEEDED = (
    "unit_label",
    "unit_confidence",
    "state_label",
    "state_prob",
)  # of a partition that a table is made of
WHAT = "a point partition"


def point_partition(
    post: xr.DataTree,
    loss: str = "vi",
    *,
    coverage: float = 0.95,
    max_draws: int = 2000,
    n_starts: int = 8,
    seed: int = 0,
) -> xr.Dataset:
    """Find the partition of units, and that of time, which lie nearest to all draws of a posterior.

    Parameters
    ----------
    post : xarray.DataTree
        From ``nt.BiCluster(...).sample``.
    loss : {"vi", "binder", "pear"}
        Whose mean over draws is least: variation of information, in nats; Binder's loss, the share of pairs
        on which two partitions differ; or one minus the adjusted Rand index (whose mean is then highest).
    coverage : float
        Share of the draws in the credible ball around the estimate.
    max_draws : int
        Every k-th draw is used, with the smallest k that leaves no more than this; attrs ``n_draws`` says how
        many they are.
    n_starts : int
        Random starts of the search, beside the best draws.
    seed : int
        Of the search.

    Returns
    -------
    xarray.Dataset
        In the order of the counts that were given, blocks numbered by size, largest first:

        - ``unit_label`` (unit), ``unit_similarity`` (unit, unit_to), the probability of sharing a cluster;
          ``unit_confidence`` (unit), its mean over the unit's own cluster (of a unit that is alone: the
          probability of being alone);
        - ``state_label`` (time), ``state_confidence`` (time), ``state_prob`` (time, state), the share of
          draws whose state at that time is mostly inside that state of the estimate;
        - ``n_clusters``, ``n_states`` of the estimate;
        - ``unit_loss``, ``state_loss``: the mean loss; ``unit_radius``, ``state_radius``: that of the
          credible ball; ``unit_bound`` (bound, unit), ``state_bound`` (bound, time): the coarsest, the
          finest and the furthest partition still inside.

        No array over pairs of times is made.

    Raises
    ------
    SchemaError
        The posterior does not hold ``unit_cluster`` and ``time_state``.
    SettingsError
        The loss is unknown, or the coverage is no share.

    References
    ----------
    Wade and Ghahramani (2018), Bayesian Analysis 13, 559-626. Dahl, Johnson and Müller (2022), J. Comput.
    Graph. Stat. 31, 1189-1201.
    """
    lookup("loss", loss, search.LOSSES)
    if not 0 < coverage <= 1:
        raise SettingsError("coverage is a share, above 0 and up to 1", found=coverage)
    group = posterior_group(post, "posterior", "unit_cluster", "time_state", what=WHAT)
    chosen = thinned_to(group.sizes["chain"] * group.sizes["draw"], max_draws)
    units, states = (stacked(group[name]).isel(draw=chosen) for name in ("unit_cluster", "time_state"))
    found = xr.merge(
        [
            _one(units, "unit", loss, coverage, n_starts=n_starts, seed=seed),
            _one(states, "state", loss, coverage, n_starts=n_starts, seed=seed),
            _similarity(units),
        ],
        combine_attrs="override",
        join="exact",
    )
    found["n_clusters"] = int(found["unit_label"].max()) + 1
    found["n_states"] = int(found["state_label"].max()) + 1
    found["state_prob"] = _state_prob(states, found["state_label"].to_numpy())
    return found.assign_attrs(loss=loss, coverage=coverage, n_draws=units.sizes["draw"], seed=seed)


def _one(draws: xr.DataArray, prefix: str, loss: str, coverage: float, **options: int) -> xr.Dataset:
    """Estimate, confidence and credible ball of the partitions of units or of time."""
    dim = str(draws.dims[1])
    labels = search.compact(draws.to_numpy())
    best, distance = search.minimise(labels, loss, **options)
    ball = search.credible_ball(labels, distance, coverage)
    ends = np.stack([ball.fewest, ball.most, ball.furthest])
    units = {"units": "nat"} if loss == "vi" else {"units": "1"}
    return xr.Dataset(
        {
            f"{prefix}_label": (dim, best),
            f"{prefix}_confidence": (dim, search.confidence(best, labels)),
            f"{prefix}_bound": (("bound", dim), ends),
            f"{prefix}_loss": ((), float(distance.mean()), units),
            f"{prefix}_radius": ((), ball.radius, units),
        },
        coords={**_along(draws, dim), "bound": list(BOUNDS)},
    )


def _along(draws: xr.DataArray, dim: str) -> dict[str, Any]:
    return {str(name): coord for name, coord in draws.coords.items() if coord.dims == (dim,)}


def _similarity(units: xr.DataArray) -> xr.Dataset:
    labels = units["unit"].to_numpy()
    together = partitions.coassignment(units.to_numpy())
    return xr.Dataset(
        {"unit_similarity": (("unit", "unit_to"), together, {"units": "1"})},
        coords={"unit": labels, "unit_to": labels},
    )


def _state_prob(states: xr.DataArray, best: np.ndarray) -> xr.DataArray:
    """Share of draws whose state at a time lies mostly in each state of the estimate."""
    n_states = int(best.max()) + 1
    share = np.zeros((best.size, n_states))
    rows = np.arange(best.size)
    draws = states.to_numpy()
    for labels in draws:
        share[rows, partitions.contingency(labels, best).argmax(axis=1)[labels]] += 1
    return xr.DataArray(
        share / len(draws), dims=("time", "state"),
        coords={**_along(states, "time"), "state": np.arange(n_states)}, attrs={"units": "1"},
    )  # fmt: skip


def state_similarity(post: xr.DataTree, *, n_bins: int = 300, max_draws: int = 2000) -> xr.DataArray:
    """How probable it is that two moments are in one state, at no more than ``n_bins`` moments.

    A picture of all pairs of a long recording would not fit in memory and could not be looked at, so every
    k-th bin is taken, with the smallest k that leaves at most ``n_bins``.

    Returns
    -------
    xarray.DataArray
        (time, time_to), 1 on the diagonal.
    """
    group = posterior_group(post, "posterior", "time_state", what="similarity of states")
    states = stacked(group["time_state"])
    states = states.isel(draw=thinned_to(states.sizes["draw"], max_draws))
    states = states.isel(time=thinned_to(states.sizes["time"], n_bins))
    together = partitions.coassignment(states.to_numpy())
    coords = {**_along(states, "time"), "time_to": states["time"].to_numpy()}
    return xr.DataArray(
        together, dims=("time", "time_to"), coords=coords, name="state_similarity", attrs={"units": "1"}
    )


def _check_partition(partition: Any) -> None:
    expect(partition, "a point partition", xr.Dataset, fix="nt.point_partition(post)")
    missing = [name for name in NEEDED if name not in partition]
    if missing:
        raise SchemaError(
            f"a point partition has {', '.join(map(repr, NEEDED))}", found=f"it lacks {', '.join(missing)}",
            fix="nt.point_partition(post)",
        )  # fmt: skip


# ---- tables -----------------------------------------------------------------------------------------------
def cluster_table(partition: xr.Dataset) -> pd.DataFrame:
    """One row per unit: its cluster, how sure that is, and what else is known of the unit.

    Parameters
    ----------
    partition : xarray.Dataset
        From ``nt.point_partition``.

    Returns
    -------
    pandas.DataFrame
        ``unit``, ``cluster``, ``confidence``, and every coordinate along ``unit`` (its region, its depth),
        sorted by cluster and confidence.
    """
    _check_partition(partition)
    known = {
        str(name): coord.to_numpy() for name, coord in partition.coords.items()
        if coord.dims == ("unit",) and name != "unit"
    }  # fmt: skip
    table = pd.DataFrame(
        {
            "unit": partition["unit"].to_numpy(),
            "cluster": partition["unit_label"].to_numpy(),
            "confidence": partition["unit_confidence"].to_numpy(),
            **known,
        }
    )
    return table.sort_values(
        ["cluster", "confidence"], ascending=[True, False], kind="stable", ignore_index=True
    )


def state_table(partition: xr.Dataset) -> pd.DataFrame:
    """One row per visit to a state: when it begins and ends, and how sure it is.

    A visit ends where the state changes, or a session does.

    Parameters
    ----------
    partition : xarray.Dataset
        From ``nt.point_partition``.

    Returns
    -------
    pandas.DataFrame
        ``start`` and ``stop`` (s), ``state``, ``probability``, the mean of ``state_prob`` over the visit, and
        ``session`` where there are several.
    """
    _check_partition(partition)
    labels, time = partition["state_label"].to_numpy(), partition["time"].to_numpy()
    session = partition["session"].to_numpy() if "session" in partition.coords else np.zeros(labels.size, int)
    first = np.flatnonzero(np.r_[True, (labels[1:] != labels[:-1]) | (session[1:] != session[:-1])])
    last = np.append(first[1:], labels.size) - 1
    width = float(np.median(np.diff(time))) if time.size > 1 else 1.0
    own = partition["state_prob"].transpose("time", "state").to_numpy()[np.arange(labels.size), labels]
    table = pd.DataFrame(
        {
            "start": time[first],
            "stop": time[last] + width,
            "state": labels[first],
            "probability": np.add.reduceat(own, first) / (last - first + 1),
        }
    )
    return table.assign(session=session[first]) if "session" in partition.coords else table
