"""Communities of a weighted graph by a stochastic block model, chosen by description length.

Units of one community connect alike: the probability of an edge and the distribution of its weight depend
on the communities of its two ends. Any such pattern counts, be it dense inside, dense between, or a core
with a periphery. The number of communities follows from the data; where one community describes the graph
most shortly, there are none. Communities may have communities themselves (``nested``), and several motifs
may share one partition (``shared``). Priors, likelihoods and their sources:
``neurotools.numerics.blockmodel``, ``blockweights`` and ``blocknested``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, check_numbers, lookup
from neurotools.models.block_model.graphs import as_motif, batch_of, each_graph
from neurotools.models.block_model.results import OneFit, as_dataset, evidence
from neurotools.numerics import blockmodel, blocknested, blockpredict
from neurotools.numerics.blocknested import FoundNested, find_nested
from neurotools.numerics.blocksampling import sample_partitions
from neurotools.numerics.blocksearch import Found, find_partition
from neurotools.numerics.blockweights import FAMILIES
from neurotools.progress import working
from neurotools.provenance import stamp

VARIANTS = {True: ("degree_corrected",), False: ("plain",), "auto": ("plain", "degree_corrected")}
SHARED = {False: ("separate",), True: ("shared",), "auto": ("separate", "shared")}


# ---- settings and verbs -------------------------------------------------------------------------------
@dataclass(frozen=True)
class BlockModel:
    """Weighted stochastic block model of a motif, or of each motif of a factorisation.

    Parameters
    ----------
    weights : {"exponential", "lognormal", "normal", "poisson", "zero-inflated"}
        Distribution of the weights between two communities, its parameters integrated out. A weight of zero
        is no edge, except in ``"poisson"``, where every pair has a count. ``"normal"`` takes weights of both
        signs; ``"poisson"`` and ``"zero-inflated"`` (zeros beside counts that are one plus a Poisson number)
        take whole numbers.
    degree_corrected : {"auto", True, False}
        Whether units of one community may differ in how many edges they have and how strong these are.
        ``"auto"`` fits both variants and keeps the shorter description.
    nested : bool
        Communities of communities: the numbers of edges between communities are a graph that has
        communities, too, up to a single one. Finds smaller communities than one level can.
    seed : int
        Of the random starts; the same seed finds the same communities.
    n_draws : int
        How many partitions to draw from the posterior, starting from the one that was found, for
        ``coassignment`` and ``n_blocks_draw``; none by default. Of one level.
    shared : {False, True, "auto"}
        Whether all components have one partition (and one set of levels), each with its own edges and
        weights between communities. ``"auto"`` keeps the shorter description.
    """

    weights: str = "exponential"
    degree_corrected: str | bool = "auto"
    nested: bool = False
    seed: int = 0
    n_draws: int = 0
    shared: str | bool = False

    def __post_init__(self) -> None:
        lookup("distribution of weights", self.weights, FAMILIES)
        for name in ("degree_corrected", "shared"):
            value = getattr(self, name)
            if not (isinstance(value, bool) or value == "auto"):
                raise SettingsError(f"{name} is 'auto', True or False", found=repr(value))
        check_numbers(self, n_draws=0)
        if self.nested and self.n_draws:
            raise SettingsError(
                "partitions are drawn for one level", code="NT-SET-003",
                found=f"nested=True and n_draws={self.n_draws}", fix="nested=False with n_draws",
            )  # fmt: skip
        if self.nested and FAMILIES[self.weights].every_pair:
            raise SettingsError(
                "nested communities are those of a graph's edges, and here every pair counts alike",
                code="NT-SET-003", found=f"nested=True and weights={self.weights!r}",
                fix="weights='zero-inflated' takes counts and has edges",
            )  # fmt: skip

    def fit(self, motif: xr.DataArray) -> xr.Dataset:
        """Find the communities of a motif.

        Parameters
        ----------
        motif : xarray.DataArray
            (component?, unit, unit_to), or with ``region`` or ``channel`` in place of ``unit``: symmetric,
            zero on the diagonal, not negative unless weights are normal. Every pair with a weight above 1e-9
            of the largest of its motif is an edge; smaller ones are rounding and count as zero. Components
            are fitted one by one, each as if it were alone, unless ``shared``.

        Returns
        -------
        xarray.Dataset
            ``label`` (component?, level?, unit), 0 for the largest community; ``n_blocks`` (component?);
            ``description_length`` (component?, variant) and ``null_description_length`` (component?; one
            community), in nats; ``chosen`` (component?), the variant that ``label`` is of.
            Nested: ``level`` 0 holds the communities of units, level 1 the groups of these, and so on;
            ``n_blocks_level`` (component?, level).
            ``degree_effect`` and ``strength_effect`` (component?, unit): log odds of an edge, and log mean
            weight (normal: mean weight), that a unit adds; zero in the plain variant. ``edge_count``,
            ``weight_sum`` and ``weight_second`` (component?, block, block_to): the posterior rests on them;
            zero beyond ``n_blocks``. They sum what the family looks at: weights, logarithms from
            ``weight_centre`` in units of ``weight_unit``, counts.
            With ``n_draws``: ``coassignment`` (component?, unit, unit_to), the share of draws in which two
            units are of one community, ``label_draw`` (component?, draw, unit), ``n_blocks_draw`` and
            ``description_length_draw`` (component?, draw). Draws merge and split communities and move units;
            ``merge_split_acceptance`` near zero says that they hardly left where they began.
            With ``shared``: ``chosen_arrangement``, ``arrangement_description_length`` (arrangement), of all
            components together; where the partition is shared, its own nats are divided among components.
            ``isolated`` (component?, unit): without any edge. Such units stay in the model, where they are
            all alike and so share a community, often the largest.

        Raises
        ------
        SchemaError
            The motif is not symmetric, has missing values or a diagonal, weights that the family does not
            take, more than 1,000 units, or, with ``shared``, no several components.
        """
        motif = as_motif(motif, self.weights)
        graphs = np.stack(list(each_graph(motif)))
        if self.shared and motif.sizes.get("component", 1) < 2:
            raise SchemaError(
                "a partition is shared by several components", found=dict(motif.sizes), fix="shared=False"
            )
        arranged = {name: ARRANGEMENTS[name](self, graphs) for name in SHARED[self.shared]}
        total = {name: sum(one.lengths[one.chosen] for one in fits) for name, fits in arranged.items()}
        best = min(total, key=lambda name: total[name])
        named = as_dataset(arranged[best], motif, nested=self.nested)
        if self.shared:
            named["arrangement_description_length"] = ("arrangement", list(total.values()), {"units": "nat"})
            named = named.assign(chosen_arrangement=((), best)).assign_coords(arrangement=list(total))
        return stamp(named, "block_model", self)

    def predict(self, fit: xr.Dataset, motif: xr.DataArray) -> xr.DataArray:
        """Weight expected of each pair: probability of an edge times mean weight, as ``motif`` is laid out.

        Only the labels of ``motif`` are used; its weights may be anything. Of a hierarchy, the first level.
        """
        motif = as_motif(motif, self.weights)
        values = [blockpredict.expected_weight(known) for known in evidence(fit, motif, self.weights)]
        named = motif.copy(data=np.reshape(values, motif.shape))
        return named.rename("expected_weight")

    def score(self, fit: xr.Dataset, motif: xr.DataArray) -> xr.DataArray:
        """Log probability per pair, in nats, of another motif on the same units; over ``component``.

        It is conditional on the motif that was fitted. As a density of weights it shifts with their unit:
        compare models on one motif, not motifs. Of a hierarchy, the first level is scored.
        """
        motif = as_motif(motif, self.weights)
        known = evidence(fit, motif, self.weights)
        pairs = motif.shape[-1] * (motif.shape[-1] - 1) / 2
        values = [
            blockpredict.predictive_log_prob(one, weights) / pairs
            for one, weights in zip(known, each_graph(motif), strict=True)
        ]
        dims, coords = batch_of(motif)
        data = np.reshape(values, [motif.sizes[dim] for dim in dims])
        return xr.DataArray(data, dims=dims, coords=coords, name="score", attrs={"units": "nat per pair"})


# ---- one motif, or several that share a partition -------------------------------------------------------
def separate(model: BlockModel, graphs: np.ndarray) -> list[OneFit]:
    """Fit every component as if it were alone."""
    fits = []
    with working("communities") as show:
        for weights in graphs:
            fits += shared(model, weights[None])
            show(len(fits) / len(graphs))
    return fits


def shared(model: BlockModel, graphs: np.ndarray) -> list[OneFit]:
    """Fit one partition to all components."""
    found: dict[str, FoundNested] = {}
    for variant in VARIANTS[model.degree_corrected]:  # type: ignore[index]
        start = found["plain"].hierarchy[0] if "plain" in found else None
        found[variant] = search(model, graphs, variant, start)
    chosen = min(found, key=lambda variant: found[variant].description_length)
    best, draws = found[chosen], None
    if model.n_draws:
        begin = Found(best.hierarchy[0], best.levels, best.description_length)
        draws = sample_partitions(
            graphs, begin, corrected=chosen == "degree_corrected", n_draws=model.n_draws, seed=model.seed,
            family=model.weights,
        )  # fmt: skip
    lengths = each_length(model, graphs, found)
    return [
        OneFit(weights, best.hierarchy, best.levels, of, chosen, model.weights, draws)
        for weights, of in zip(graphs, lengths, strict=True)
    ]


ARRANGEMENTS = {"separate": separate, "shared": shared}


def search(model: BlockModel, graphs: np.ndarray, variant: str, start: np.ndarray | None) -> FoundNested:
    """Find the communities of one variant, of one level or of several."""
    corrected = variant == "degree_corrected"
    finder = find_nested if model.nested else find_partition
    found = finder(graphs, corrected=corrected, seed=model.seed, start=start, family=model.weights)
    if isinstance(found, Found):
        return FoundNested((found.labels,), found.levels, found.description_length)
    return found


def each_length(
    model: BlockModel, graphs: np.ndarray, found: Mapping[str, FoundNested]
) -> list[dict[str, float]]:
    """Nats of every component in every variant: what is shared is divided among them."""
    if len(graphs) == 1:
        return [{variant: one.description_length for variant, one in found.items()}]
    lengths: list[dict[str, float]] = [{} for _ in graphs]
    for variant, one in found.items():
        levels = one.levels if variant == "degree_corrected" else None
        if model.nested:
            alone = [blocknested.nested_length(g, one.hierarchy, levels, model.weights) for g in graphs]
        else:
            alone = [
                blockmodel.description_length(g, one.hierarchy[0], levels, model.weights) for g in graphs
            ]
        twice = (sum(alone) - one.description_length) / len(graphs)
        for of, nats in zip(lengths, alone, strict=True):
            of[variant] = nats - twice
    return lengths
