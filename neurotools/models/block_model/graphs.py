"""What comes into the block model: motifs that are weighted graphs, as the family of weights needs them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import xarray as xr

from neurotools.errors import NeurotoolsWarning, SchemaError
from neurotools.numerics.blockmodel import MAX_UNITS, without_specks
from neurotools.numerics.blockweights import FAMILIES
from neurotools.schema import Schema

MOTIF = Schema(
    "a motif", dims=("component?", "unit|region|channel", "unit_to|region_to|channel_to"), allow_empty=True
)
ASYMMETRY = 1e-6  # of the largest weight: enough for float32, far below any real asymmetry
LARGEST_COUNT = 1e9  # above, a sum of counts would no longer be whole


def as_motif(motif: xr.DataArray, family: str = "exponential") -> xr.DataArray:
    """Check that a motif is a weighted graph, or several, and put its dimensions in order."""
    motif = MOTIF.require(motif)
    dim, dim_to = map(str, motif.dims[-2:])
    if dim_to != f"{dim}_to":
        raise SchemaError("both ends of a motif's pairs are of one kind", found=f"{dim!r} and {dim_to!r}")
    n_units, n_to = motif.shape[-2:]
    if n_units != n_to or not _same_labels(motif, dim):
        raise SchemaError(
            f"a motif has the same {dim}s on both sides, in the same order",
            code="NT-DATA-005", found=f"{n_units} and {n_to}" if n_units != n_to else "other labels",
        )  # fmt: skip
    if motif.size == 0 or n_units < 2:
        raise SchemaError(
            f"a motif needs at least two {dim}s", code="NT-DATA-010", found=f"sizes {dict(motif.sizes)}"
        )
    if n_units > MAX_UNITS:
        raise SchemaError(
            f"the block model holds every pair in memory, for at most {MAX_UNITS} {dim}s",
            code="NT-DATA-010", found=f"{n_units}",
            fix=f"select those that take part most: motif.isel({dim}=best, {dim_to}=best) with "
            f"best = np.sort(np.argsort(-motif.sum('{dim_to}').values)[:{MAX_UNITS}])",
        )  # fmt: skip
    _check_symmetry(motif.to_numpy(), dim)
    _check_weights(motif.to_numpy(), family)
    return motif


def _same_labels(motif: xr.DataArray, dim: str) -> bool:
    to = f"{dim}_to"
    if dim not in motif.coords or to not in motif.coords:
        return True
    return bool(np.array_equal(motif[dim].to_numpy(), motif[to].to_numpy()))


def _check_symmetry(values: np.ndarray, dim: str) -> None:
    diagonal = np.abs(np.diagonal(values, axis1=-2, axis2=-1))
    if diagonal.any():
        raise SchemaError(
            "a motif is zero on the diagonal", found=f"{np.count_nonzero(diagonal)} other values there",
            fix=f"a {dim} is not its own neighbour: motif * (1 - np.eye(len(motif.{dim})))",
        )  # fmt: skip
    gap = np.abs(values - np.swapaxes(values, -1, -2)).max()
    if gap > ASYMMETRY * np.abs(values).max():
        raise SchemaError(
            "a motif is symmetric", found=f"a pair differs by {gap:g} between its two directions",
            fix=f"average both: (motif + motif.transpose(..., '{dim}_to', '{dim}').values) / 2",
        )  # fmt: skip


def _check_weights(values: np.ndarray, name: str) -> None:
    family = FAMILIES[name]
    if not family.signed and values.min() < 0:
        raise SchemaError(
            "a motif has no negative weights",
            found=f"{int((values < 0).sum())} values, the lowest {values.min():g}",
            fix="weights='normal' takes both signs; or split it into its positive and its negative part and "
            "fit each",
        )  # fmt: skip
    if family.kind != "counted":
        return
    other = int((values != np.rint(values)).sum())
    if other or values.max() > LARGEST_COUNT:
        raise SchemaError(
            f"weights={name!r} needs counts: whole numbers up to {LARGEST_COUNT:g}", code="NT-DATA-008",
            found=f"{other} other values" if other else f"{values.max():g}",
            fix="weights='exponential' or 'lognormal' for weights that are measured",
        )  # fmt: skip


def each_graph(motif: xr.DataArray) -> Iterator[np.ndarray]:
    """Weights of each component: exactly symmetric, rounding taken for zero."""
    values = motif.to_numpy().astype(float)
    for number, weights in enumerate(values.reshape(-1, *values.shape[-2:])):
        if not weights.any():
            warnings.warn(
                f"component {number} has no edges: all units are isolated and form one community",
                NeurotoolsWarning, stacklevel=3,
            )  # fmt: skip
        yield without_specks((weights + weights.T) / 2)


def batch_of(motif: xr.DataArray) -> tuple[list[str], dict[str, xr.DataArray]]:
    """The dimension ``component``, where there is one, and what is labelled along nothing else."""
    dims = [str(dim) for dim in motif.dims[:-2]]
    return dims, {str(n): c for n, c in motif.coords.items() if set(map(str, c.dims)) <= set(dims)}
