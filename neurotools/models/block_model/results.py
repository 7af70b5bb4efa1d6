"""What the block model found, with names; and back from names to what the posterior rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.models.block_model.graphs import batch_of
from neurotools.numerics import blockmodel, blockpredict
from neurotools.numerics.blockmodel import Labels, Levels
from neurotools.numerics.blocknested import Hierarchy
from neurotools.numerics.blockpredict import Evidence
from neurotools.numerics.blocksampling import Draws
from neurotools.numerics.blockweights import FAMILIES, strength_step
from neurotools.numerics.partitions import coassignment


@dataclass(frozen=True)
class OneFit:
    """What was found in one motif: blocks of its units, groups of blocks, and so on; and what each costs.

    ``lengths`` has the nats of every variant, ``chosen`` the one that the rest is of.
    """

    weights: np.ndarray
    hierarchy: Hierarchy
    levels: Levels
    lengths: Mapping[str, float]
    chosen: str
    family: str
    draws: Draws | None = None

    @property
    def evidence(self) -> Evidence:
        """What the posterior of the partition rests on."""
        levels = self.levels if self.chosen == "degree_corrected" else None
        return blockpredict.evidence_of(self.weights, self.hierarchy[0], levels, self.family)

    def labels_at(self, level: int) -> Labels:
        """Label of every unit at one level: of its block, of the group of its block, and so on."""
        labels = self.hierarchy[0]
        for groups in self.hierarchy[1 : level + 1]:
            labels = groups[labels]
        return labels if level < len(self.hierarchy) else np.zeros_like(labels)


# ---- to names -------------------------------------------------------------------------------------------
def as_dataset(fits: list[OneFit], motif: xr.DataArray, *, nested: bool) -> xr.Dataset:
    """Name what was found in each component."""
    named = _namer(motif)
    dim = str(motif.dims[-2])
    variables = _partitions(fits, named, dim, nested) | _numbers(fits, named, dim)
    coords = batch_of(motif)[1]
    coords |= {str(n): c for n, c in motif.coords.items() if c.dims == (dim,)}
    draws = [one.draws for one in fits if one.draws is not None]
    if draws:
        variables["coassignment"] = named([coassignment(one.labels) for one in draws], dim, f"{dim}_to")
        variables["label_draw"] = named([one.labels for one in draws], "draw", dim)
        variables["n_blocks_draw"] = named([one.labels.max(axis=1) + 1 for one in draws], "draw")
        variables["description_length_draw"] = named(
            [one.description_length for one in draws], "draw", units="nat"
        )
        variables["merge_split_acceptance"] = named([one.acceptance for one in draws])
        coords |= {str(n): c for n, c in motif.coords.items() if c.dims == (f"{dim}_to",)}
    blocks = np.arange(variables["edge_count"].shape[-1])
    names = {"variant": list(fits[0].lengths), "block": blocks, "block_to": blocks}
    if nested:
        names["level"] = np.arange(variables["label"].sizes["level"])
    return xr.Dataset(variables, coords=coords | names)  # type: ignore[operator]


def _namer(motif: xr.DataArray):  # type: ignore[no-untyped-def]
    dims = batch_of(motif)[0]
    shape = [motif.sizes[name] for name in dims]

    def named(values: object, *rest: str, **attrs: str) -> xr.Variable:
        data = np.asarray(values)
        return xr.Variable((*dims, *rest), data.reshape((*shape, *data.shape[1:])), attrs)

    return named


def _partitions(fits: list[OneFit], named, dim: str, nested: bool) -> dict[str, xr.Variable]:  # type: ignore[no-untyped-def]
    """Labels and numbers of blocks, at every level where there are several."""
    if not nested:
        labels = named([one.hierarchy[0] for one in fits], dim)
        return {"label": labels, "n_blocks": named([int(one.hierarchy[0].max()) + 1 for one in fits])}
    depth = max(len(one.hierarchy) for one in fits)
    labels = np.array([[one.labels_at(level) for level in range(depth)] for one in fits])
    return {
        "label": named(labels, "level", dim),
        "n_blocks": named(labels[:, 0].max(axis=-1) + 1),
        "n_blocks_level": named(labels.max(axis=-1) + 1, "level"),
    }


def _numbers(fits: list[OneFit], named, dim: str) -> dict[str, xr.Variable]:  # type: ignore[no-untyped-def]
    """Description lengths, effects of units and the sums that the posterior rests on."""
    known = [one.evidence for one in fits]
    family = fits[0].family
    effects = np.stack(
        [
            blockmodel.effects_of(one.levels, strength_step(family, of.unit))
            for one, of in zip(fits, known, strict=True)
        ]
    )
    null = [blockmodel.null_description_length(one.weights, family) for one in fits]
    return {
        "description_length": named([list(one.lengths.values()) for one in fits], "variant", units="nat"),
        "null_description_length": named(null, units="nat"),
        "chosen": named([one.chosen for one in fits]),
        "isolated": named([~one.weights.any(axis=1) for one in fits], dim),
        "degree_effect": named(effects[:, 0], dim, units="log odds"),
        "strength_effect": named(
            effects[:, 1], dim, units="weight" if family == "normal" else "log weight"
        ),
        "edge_count": named(_padded([one.n_edges for one in known]).astype(int), "block", "block_to"),
        "weight_sum": named(_padded([one.value * _unit(one) for one in known]), "block", "block_to"),
        "weight_second": named(_padded([one.second for one in known]), "block", "block_to"),
        "weight_scale": named([one.scale for one in known]),
        "weight_centre": named([one.centre for one in known]),
        "weight_unit": named([one.unit for one in known]),
    }  # fmt: skip


def _unit(known: Evidence) -> float:
    """What one unit of the family's values is, where their sum is a sum of weights."""
    return known.unit if FAMILIES[known.family].kind == "scaled" else 1.0


def _padded(matrices: list[np.ndarray]) -> np.ndarray:
    """Square matrices of different size in one array, zeros beyond each."""
    size = max(len(matrix) for matrix in matrices)
    return np.stack([np.pad(matrix, (0, size - len(matrix))) for matrix in matrices])


# ---- from names -----------------------------------------------------------------------------------------
NEEDED = ("label", "edge_count", "weight_sum", "weight_second", "weight_unit")


def evidence(fit: xr.Dataset, motif: xr.DataArray, family: str) -> list[Evidence]:
    """What the fit knows of each component, when its units and components are those of ``motif``."""
    dim = str(motif.dims[-2])
    if not all(name in fit for name in NEEDED):
        raise SchemaError("this is not a fit of a block model", found=sorted(map(str, fit.data_vars)))
    fit = fit.isel(level=0) if "level" in fit.dims else fit
    label = fit["label"]
    same = label.sizes == {name: motif.sizes[name] for name in motif.dims[:-1]}
    for name in map(str, label.dims):
        if same and name in fit.coords and name in motif.coords:
            same = bool(np.array_equal(fit[name].to_numpy(), motif[name].to_numpy()))
    if not same:
        raise SchemaError(
            f"the motif has other {dim}s or components than the fit", code="NT-DATA-005",
            found=dict(motif.sizes), expected=dict(label.sizes),
        )  # fmt: skip
    if "component" in label.dims:
        return [_evidence_of(fit.isel(component=k), family) for k in range(fit.sizes["component"])]
    return [_evidence_of(fit, family)]


def _evidence_of(fit: xr.Dataset, family: str) -> Evidence:
    n, unit = int(fit["label"].max()) + 1, float(fit["weight_unit"])
    levels = None
    if str(fit["chosen"].item()) == "degree_corrected":
        effects = np.stack([fit["degree_effect"].to_numpy(), fit["strength_effect"].to_numpy()])
        levels = blockmodel.levels_of(effects, strength_step(family, unit))
    n_edges, value, second = (
        fit[name].transpose("block", "block_to").to_numpy()[:n, :n].astype(float)
        for name in ("edge_count", "weight_sum", "weight_second")
    )
    labels = fit["label"].to_numpy().astype(np.int64)
    scale, centre = float(fit["weight_scale"]), float(fit["weight_centre"])
    known = Evidence(labels, levels, n_edges, value, second, scale, centre, unit, family)
    return Evidence(labels, levels, n_edges, value / _unit(known), second, scale, centre, unit, family)
