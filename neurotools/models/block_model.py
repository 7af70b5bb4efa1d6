"""Communities of a weighted graph by a stochastic block model, chosen by description length.

Units of one community connect alike: the probability of an edge and the distribution of its weight depend
on the communities of its two ends. Any such pattern counts, be it dense inside, dense between, or a core
with a periphery. The number of communities follows from the data; where one community describes the graph
most shortly, there are none. Priors, likelihoods and their sources: ``neurotools.numerics.blockmodel``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from neurotools.errors import NeurotoolsWarning, SchemaError, SettingsError, check_numbers, lookup
from neurotools.numerics import blockmodel
from neurotools.numerics.blockmodel import MAX_UNITS, Evidence, effects_of, levels_of
from neurotools.numerics.blocksearch import Draws, Found, find_partition, sample_partitions
from neurotools.numerics.partitions import coassignment
from neurotools.progress import working
from neurotools.provenance import stamp
from neurotools.schema import Schema

MOTIF = Schema(
    "a motif", dims=("component?", "unit|region|channel", "unit_to|region_to|channel_to"), allow_empty=True
)
WEIGHTS = {"exponential": "positive weights, an edge wherever a weight is not zero"}
VARIANTS = {True: ("degree_corrected",), False: ("plain",), "auto": ("plain", "degree_corrected")}
ASYMMETRY = 1e-6  # of the largest weight: enough for float32, far below any real asymmetry


# ---- settings and verbs -------------------------------------------------------------------------------
@dataclass(frozen=True)
class BlockModel:
    """Weighted stochastic block model of a motif, or of each motif of a factorisation.

    Parameters
    ----------
    weights : {"exponential"}
        Distribution of the weights of edges; the rate of each pair of communities is integrated out.
    degree_corrected : {"auto", True, False}
        Whether units of one community may differ in how many edges they have and how strong these are.
        ``"auto"`` fits both variants and keeps the shorter description.
    nested : bool
        Communities of communities. Not available yet: only False.
    seed : int
        Of the random starts; the same seed finds the same communities.
    n_draws : int
        How many partitions to draw from the posterior, starting from the one that was found, for
        ``coassignment``; none by default.
    """

    weights: str = "exponential"
    degree_corrected: str | bool = "auto"
    nested: bool = False
    seed: int = 0
    n_draws: int = 0

    def __post_init__(self) -> None:
        lookup("distribution of weights", self.weights, WEIGHTS)
        if not (isinstance(self.degree_corrected, bool) or self.degree_corrected == "auto"):
            raise SettingsError(
                "degree_corrected is 'auto', True or False", found=repr(self.degree_corrected)
            )
        check_numbers(self, n_draws=0)
        if self.nested is not False:
            raise SettingsError(
                "nested communities are not available yet", found=f"nested={self.nested!r}",
                fix="nested=False finds one level of communities",
            )  # fmt: skip

    def fit(self, motif: xr.DataArray) -> xr.Dataset:
        """Find the communities of a motif.

        Parameters
        ----------
        motif : xarray.DataArray
            (component?, unit, unit_to), or with ``region`` or ``channel`` in place of ``unit``: symmetric,
            not negative, zero on the diagonal. Every pair with a weight above 1e-9 of the largest of its
            motif is an edge; smaller ones are rounding and count as zero. Components are fitted one by one,
            each as if it were alone.

        Returns
        -------
        xarray.Dataset
            ``label`` (component?, unit), 0 for the largest community; ``n_blocks`` (component?);
            ``description_length`` (component?, variant) and ``null_description_length`` (component?; one
            community), in nats; ``chosen`` (component?), the variant that ``label`` is of.
            ``degree_effect`` and ``strength_effect`` (component?, unit): log odds of an edge and log mean
            weight that a unit adds, zero in the plain variant. ``edge_count`` and ``weight_sum``
            (component?, block, block_to): the posterior rests on them; zero beyond ``n_blocks``.
            With ``n_draws``: ``coassignment`` (component?, unit, unit_to), the share of draws in which two
            units are of one community, ``n_blocks_draw`` and ``description_length_draw`` (component?, draw).
            Draws move one unit at a time: they say how firmly a unit belongs where it is, not whether quite
            another partition would do as well.
            ``isolated`` (component?, unit): without any edge. Such units stay in the model, where they are
            all alike and so share a community, often the largest.

        Raises
        ------
        SchemaError
            The motif is not symmetric, has negative or missing weights or a diagonal, or has more than
            1,000 units.
        """
        motif = as_motif(motif)
        fits = []
        with working("communities") as show:
            for weights in each_graph(motif):
                fits.append(self._fit_one(weights))
                show(len(fits) / motif.sizes.get("component", 1))
        return stamp(as_dataset(fits, motif), "block_model", self)

    def predict(self, fit: xr.Dataset, motif: xr.DataArray) -> xr.DataArray:
        """Weight expected of each pair: probability of an edge times mean weight, as ``motif`` is laid out.

        Only the labels of ``motif`` are used; its weights may be anything.
        """
        motif = as_motif(motif)
        values = [blockmodel.expected_weight(known) for known in evidence(fit, motif)]
        named = motif.copy(data=np.reshape(values, motif.shape))
        return named.rename("expected_weight")

    def score(self, fit: xr.Dataset, motif: xr.DataArray) -> xr.DataArray:
        """Log probability per pair, in nats, of another motif on the same units; over ``component``.

        It is conditional on the motif that was fitted. As a density of weights it shifts with their unit:
        compare models on one motif, not motifs.
        """
        motif = as_motif(motif)
        known = evidence(fit, motif)
        pairs = motif.shape[-1] * (motif.shape[-1] - 1) / 2
        values = [
            blockmodel.predictive_log_prob(one, weights) / pairs
            for one, weights in zip(known, each_graph(motif), strict=True)
        ]
        dims, coords = batch_of(motif)
        data = np.reshape(values, [motif.sizes[dim] for dim in dims])
        return xr.DataArray(data, dims=dims, coords=coords, name="score", attrs={"units": "nat per pair"})

    def _fit_one(self, weights: np.ndarray) -> OneFit:
        found: dict[str, Found] = {}
        for variant in VARIANTS[self.degree_corrected]:  # type: ignore[index]
            corrected = variant == "degree_corrected"
            start = found["plain"].labels if "plain" in found else None
            found[variant] = find_partition(weights, corrected=corrected, seed=self.seed, start=start)
        chosen = min(found, key=lambda variant: found[variant].description_length)
        draws = None
        if self.n_draws:
            corrected = chosen == "degree_corrected"
            draws = sample_partitions(
                weights, found[chosen], corrected=corrected, n_draws=self.n_draws, seed=self.seed
            )
        return OneFit(weights, found, chosen, draws)


@dataclass(frozen=True)
class OneFit:
    """What was found in one motif, by variant, and which of them describes it most shortly."""

    weights: np.ndarray
    found: dict[str, Found]
    chosen: str
    draws: Draws | None = None

    @property
    def best(self) -> Found:
        """The shortest description."""
        return self.found[self.chosen]

    @property
    def evidence(self) -> Evidence:
        """What the posterior of the best partition rests on."""
        levels = self.best.levels if self.chosen == "degree_corrected" else None
        return blockmodel.evidence_of(self.weights, self.best.labels, levels)


# ---- what comes in --------------------------------------------------------------------------------------
def as_motif(motif: xr.DataArray) -> xr.DataArray:
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
    _check_graph(motif.to_numpy(), dim)
    return motif


def _same_labels(motif: xr.DataArray, dim: str) -> bool:
    to = f"{dim}_to"
    if dim not in motif.coords or to not in motif.coords:
        return True
    return bool(np.array_equal(motif[dim].to_numpy(), motif[to].to_numpy()))


def _check_graph(values: np.ndarray, dim: str) -> None:
    if values.min() < 0:
        raise SchemaError(
            "a motif has no negative weights",
            found=f"{int((values < 0).sum())} values, the lowest {values.min():g}",
            fix="split it into its positive and its negative part and fit each",
        )  # fmt: skip
    diagonal = np.abs(np.diagonal(values, axis1=-2, axis2=-1))
    if diagonal.any():
        raise SchemaError(
            "a motif is zero on the diagonal", found=f"{np.count_nonzero(diagonal)} other values there",
            fix=f"a {dim} is not its own neighbour: motif * (1 - np.eye(len(motif.{dim})))",
        )  # fmt: skip
    gap = np.abs(values - np.swapaxes(values, -1, -2)).max()
    if gap > ASYMMETRY * values.max():
        raise SchemaError(
            "a motif is symmetric", found=f"a pair differs by {gap:g} between its two directions",
            fix=f"average both: (motif + motif.transpose(..., '{dim}_to', '{dim}').values) / 2",
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
        yield blockmodel.without_specks((weights + weights.T) / 2)


def batch_of(motif: xr.DataArray) -> tuple[list[str], dict[str, xr.DataArray]]:
    """The dimension ``component``, where there is one, and what is labelled along nothing else."""
    dims = [str(dim) for dim in motif.dims[:-2]]
    return dims, {str(n): c for n, c in motif.coords.items() if set(map(str, c.dims)) <= set(dims)}


def evidence(fit: xr.Dataset, motif: xr.DataArray) -> list[Evidence]:
    """What the fit knows of each component, when its units and components are those of ``motif``."""
    dim = str(motif.dims[-2])
    if "label" not in fit or "edge_count" not in fit:
        raise SchemaError("this is not a fit of a block model", found=sorted(map(str, fit.data_vars)))
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
        return [_evidence_of(fit.isel(component=k)) for k in range(fit.sizes["component"])]
    return [_evidence_of(fit)]


def _evidence_of(fit: xr.Dataset) -> Evidence:
    n = int(fit["n_blocks"])
    levels = None
    if str(fit["chosen"].item()) == "degree_corrected":
        effects = np.stack([fit["degree_effect"].to_numpy(), fit["strength_effect"].to_numpy()])
        levels = levels_of(effects)
    n_edges, weight_sum = (
        fit[name].transpose("block", "block_to").to_numpy()[:n, :n].astype(float)
        for name in ("edge_count", "weight_sum")
    )
    labels = fit["label"].to_numpy().astype(np.int64)
    return Evidence(labels, levels, n_edges, weight_sum, float(fit["weight_scale"]))


# ---- back to names --------------------------------------------------------------------------------------
def as_dataset(fits: list[OneFit], motif: xr.DataArray) -> xr.Dataset:
    """Name what was found in each component."""
    dims, coords = batch_of(motif)
    dim = str(motif.dims[-2])
    shape = [motif.sizes[name] for name in dims]
    known = [one.evidence for one in fits]
    n_blocks = [int(one.best.labels.max()) + 1 for one in fits]
    effects = np.stack([effects_of(one.best.levels) for one in fits])
    variants = list(fits[0].found)

    def named(values: object, *rest: str, **attrs: str) -> xr.Variable:
        data = np.asarray(values)
        return xr.Variable((*dims, *rest), data.reshape((*shape, *data.shape[1:])), attrs)

    variables = {
        "label": named([one.best.labels for one in fits], dim),
        "n_blocks": named(n_blocks),
        "description_length": named(
            [[one.found[v].description_length for v in variants] for one in fits], "variant", units="nat"
        ),
        "null_description_length": named(
            [blockmodel.null_description_length(one.weights) for one in fits], units="nat"
        ),
        "chosen": named([one.chosen for one in fits]),
        "isolated": named([~one.weights.any(axis=1) for one in fits], dim),
        "degree_effect": named(effects[:, 0], dim, units="log odds"),
        "strength_effect": named(effects[:, 1], dim, units="log weight"),
        "edge_count": named(_padded([one.n_edges for one in known]).astype(int), "block", "block_to"),
        "weight_sum": named(_padded([one.weight_sum for one in known]), "block", "block_to"),
        "weight_scale": named([one.scale for one in known]),
    }
    coords |= {str(n): c for n, c in motif.coords.items() if c.dims == (dim,)}
    draws = [one.draws for one in fits if one.draws is not None]
    if draws:
        variables["coassignment"] = named([coassignment(one.labels) for one in draws], dim, f"{dim}_to")
        variables["n_blocks_draw"] = named([one.labels.max(axis=1) + 1 for one in draws], "draw")
        variables["description_length_draw"] = named(
            [one.description_length for one in draws], "draw", units="nat"
        )
        coords |= {str(n): c for n, c in motif.coords.items() if c.dims == (f"{dim}_to",)}
    blocks = np.arange(max(n_blocks))
    coords |= {"variant": variants, "block": blocks, "block_to": blocks}  # type: ignore[dict-item]
    return xr.Dataset(variables, coords=coords)


def _padded(matrices: list[np.ndarray]) -> np.ndarray:
    """Square matrices of different size in one array, zeros beyond each."""
    size = max(len(matrix) for matrix in matrices)
    return np.stack([np.pad(matrix, (0, size - len(matrix))) for matrix in matrices])
