"""Which communities of one motif are those of another."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.optimize import linear_sum_assignment

from neurotools.errors import SchemaError, SettingsError
from neurotools.numerics.partitions import contingency, normalised_mutual_information


def match_communities(communities: xr.Dataset, *, least: float = 1 / 3) -> xr.Dataset:
    """Give communities of different motifs the same name where they hold mostly the same units.

    Motifs are taken in order. The communities of each are assigned, one to one, to those named before, so
    that the sum of overlaps is largest; overlap is the number of units in both over the number in either,
    where a community named before stands as it was in the motif that has it last. A pair that overlaps by
    less than ``least`` is no match, and the community gets a name of its own.

    Parameters
    ----------
    communities : xarray.Dataset
        Of ``nt.BlockModel`` on several motifs: ``label`` (component, unit), or with ``level``: then the
        first level.
    least : float
        Smallest overlap of a match, above 0 and up to 1.

    Returns
    -------
    xarray.Dataset
        ``label`` (component, unit) with names that hold across components, 0 for the community that has the
        most units over all motifs; ``size`` (component, community), 0 where a motif has it not;
        ``overlap`` (component, community) with the match before, NaN where there is none;
        ``similarity`` (component, component_to): normalised mutual information of both partitions.

    Raises
    ------
    SchemaError
        There is no ``label`` over ``component``.
    SettingsError
        ``least`` is out of range.
    """
    if not 0 < least <= 1:
        raise SettingsError("least lies above 0 and up to 1", found=least)
    if not isinstance(communities, xr.Dataset) or "component" not in getattr(
        communities.get("label"), "dims", ()
    ):
        raise SchemaError(
            "communities of several motifs are needed: 'label' over 'component'",
            found=sorted(map(str, communities)) if isinstance(communities, xr.Dataset) else type(communities),
            fix="nt.BlockModel().fit(nt.motif(fit)) of a fit with several components",
        )
    label = communities["label"]
    label = label.isel(level=0, drop=True) if "level" in label.dims else label
    dim = next(str(name) for name in label.dims if name != "component")
    label = label.transpose("component", dim)
    values = label.to_numpy().astype(np.int64)
    named, overlap = _named(values, least)
    rows, size = _by_size(named)
    similarity = [[normalised_mutual_information(a, b) for b in values] for a in values]
    return xr.Dataset(
        {
            "label": (("component", dim), rows[named]),
            "size": (("component", "community"), size),
            "overlap": (("component", "community"), overlap[:, np.argsort(rows)]),
            "similarity": (("component", "component_to"), similarity),
        },
        coords={**label.coords, "community": np.arange(rows.size)},
    )


def _named(values: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Names across motifs, in order of appearance, and how much each overlaps with its match."""
    named, members, overlaps = np.empty_like(values), [], []  # type: ignore[var-annotated]
    for row, labels in enumerate(values):
        own = [np.flatnonzero(labels == k) for k in range(int(labels.max()) + 1)]
        shares = np.array([[_jaccard(units, known) for known in members] for units in own])
        matched = _matches(shares.reshape(len(own), len(members)), least)
        found = {}
        for k, units in enumerate(own):
            name = matched.get(k, len(members))
            found[name] = shares[k, name] if k in matched else np.nan
            members[name : name + 1] = [units]
            named[row, units] = name
        overlaps.append(found)
    table = np.full((len(values), len(members)), np.nan)
    for row, found in enumerate(overlaps):
        table[row, list(found)] = list(found.values())
    return named, table


def _jaccard(left: np.ndarray, right: np.ndarray) -> float:
    return np.intersect1d(left, right).size / max(np.union1d(left, right).size, 1)


def _matches(shares: np.ndarray, least: float) -> dict[int, int]:
    """Pairs of one-to-one matches that overlap enough."""
    rows, columns = linear_sum_assignment(np.where(shares >= least, shares, 0.0), maximize=True)
    return {int(k): int(name) for k, name in zip(rows, columns, strict=True) if shares[k, name] >= least}


def _by_size(named: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """New name of every name, the largest over all motifs first; and sizes by motif and new name."""
    size = contingency(np.repeat(np.arange(len(named)), named.shape[1]), named.ravel()).astype(int)
    order = np.argsort(-size.sum(0), kind="stable")
    rows = np.empty(order.size, dtype=np.int64)
    rows[order] = np.arange(order.size)
    return rows, size[:, order]
