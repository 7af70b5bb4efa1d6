"""Traces to a dynamic connectome: motifs of co-activation, when they are active, and their communities.

The recording's slopes give an affinity of every two units at every moment; a non-negative factorisation
finds the motifs that recur; a weighted stochastic block model finds the communities of each motif.
Dyballa et al. (2024), ICLR.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr

import neurotools as nt
from neurotools.errors import NeurotoolsWarning, SchemaError, SettingsError, check_numbers, did_you_mean
from neurotools.models.block_model import BlockModel
from neurotools.models.ntf import NTF

from .steps import Step, directly

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

RANKS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12)  # that are compared where nobody says which
JOINED = "joined"  # node of what several recordings were joined to
TAKES = "a recording with one continuous signal (calcium traces, region series, EEG), spike counts, or spikes"
GIVES = {
    "fit.nc": "groups fit, communities, connectome, null, and where they were asked for edges, rank_scan, "
    "uncertainty and conditions (nt.open_fit reads them)",
    "tables/motifs.tsv": "one row per motif: weight, and its test against chance",
    "tables/conditions.tsv": "one row per motif and condition, where conditions are compared",
    "tables/intervals.tsv": "one row per stretch of time in which a motif is active",
    "tables/communities.tsv": "one row per motif and unit: its community",
    "figures/": "every picture as png and svg",
    "report.html": "one self-contained page",
    "settings.yaml": "the settings, to run again",
    "provenance.json": "seeds, versions, input hashes, threads, time, memory, warnings",
}


Kernel = Literal["geomean", "product", "min", "ratio", "anti", "lagged", "corr_window", "mtd", "edge"]
Normalise = Literal["max", "percentile99", "none"]
Surrogate = Literal["circular_shift", "phase_randomise", "common_phases"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Choices on the way from traces to a dynamic connectome.

    Parameters
    ----------
    join_subjects : bool
        The recordings of a folder or a list are animals of one experiment: they share their motifs, and units
        are matched by name, of which an animal may lack some.
    cut : bool
        Whether longer recordings of animals that are joined may be cut to the length of the shortest.
    signal : str or None
        Path of the array to analyse ("calcium/activity") where a recording has several.
    bin_width_s : float or None, in s
        Width of the bins in which spikes are counted; needed for spikes.
    band : tuple of two floats or None, in Hz
        Analyse the power in this frequency band instead of the signal itself.
    band_window_s : float, in s
        Length of the windows in which the power of a band is measured; they overlap by half.
    low : float or None, in Hz
        Remove what is slower first (fMRI: 0.01), with the straight line.
    high : float or None, in Hz
        Remove what is faster first.
    sfreq : float or None, in Hz
        Put the signal on a regular clock of this rate first; smoothing needs one.
    kernel : {"geomean", "product", "min", "ratio", "anti", "lagged", "corr_window", "mtd", "edge"}
        How the slopes of two units make their affinity.
    smooth_s : float or None, in s
        Standard deviation of the Gaussian whose derivative gives the slopes; none for plain differences.
        For corr_window and mtd the width of the window.
    normalise : {"max", "percentile99", "none"}
        What the slopes of a unit are divided by.
    floor : float
        Scaled slopes smaller than this count as no motion.
    lag_s : float or None, in s
        For the kernel lagged: how much earlier the first unit of a pair moves.
    model : NTF
        The factorisation.
    communities : BlockModel
        The block model of each motif.
    threshold : float or None
        A motif is active where its time course exceeds this share of its maximum; none finds a threshold
        between its low and its high values (Otsu 1979, of their square roots).
    min_pause_s : float, in s
        Shorter pauses of a motif do not end an interval.
    edge_nulls : int
        Surrogates (of null_kind) whose strongest pairs an edge of a motif has to exceed, at a corrected p of
        .05, before communities are sought; 0 takes every edge. At least 19; for the layout pair.
    max_units : int
        Where there are more units, the communities of a motif are found among so many of the strongest.
    nulls : int
        Surrogates that every motif is compared with, in time it was not learned from; 0 for none.
    null_kind : {"circular_shift", "phase_randomise", "common_phases"}
        Surrogates shift every unit by its own amount, give it random phases, or give all units the same ones,
        which keeps correlations and leaves out that they change.
    replicates : int
        Resampled data sets from which motifs, intervals and communities are found again; 0 for none.
        Communities take most of the time.
    resample : {"time", "subject"}
        What is drawn with replacement: stretches of time, or subjects.
    block_s : float or None, in s
        Length of a stretch; none for four times what smoothing joins.
    conditions : str or None
        What tells conditions: a column of events or trials ("events/trial_type"), or a coordinate along time
        or subject of the array that is analysed ("group"). Motifs are then compared between them.
    among : tuple of str or None
        The conditions to compare; none for all.
    epoch_s : float or None, in s
        Length of an epoch from the onset of its event; none for the event's duration.
    permutations : int
        Of the conditions.
    rank_scan : tuple of ints or None
        Ranks to compare by held-out error and agreement of restarts, shown in the report.
    auto_rank : bool
        Choose the rank among those of rank_scan (1 to 12 where it lists none) in place of the model's.
    rank_nulls : int
        Circularly shifted surrogates that the chosen rank has to beat; 0 for none.
    """

    join_subjects: bool = False
    cut: bool = False
    signal: str | None = None
    bin_width_s: float | None = None
    band: tuple[float, float] | None = None
    band_window_s: float = 1.0
    low: float | None = None
    high: float | None = None
    sfreq: float | None = None
    kernel: Kernel = "geomean"
    smooth_s: float | None = None
    normalise: Normalise = "max"
    floor: float = 0.0
    lag_s: float | None = None
    model: NTF = NTF(rank=8)
    communities: BlockModel = BlockModel()
    threshold: float | None = None
    min_pause_s: float = 0.0
    edge_nulls: int = 0
    max_units: int = 1000
    nulls: int = 39
    null_kind: Surrogate = "circular_shift"
    replicates: int = 0
    resample: Literal["time", "subject"] = "time"
    block_s: float | None = None
    conditions: str | None = None
    among: tuple[str, ...] | None = None
    epoch_s: float | None = None
    permutations: int = 1000
    rank_scan: tuple[int, ...] | None = None
    auto_rank: bool = False
    rank_nulls: int = 19

    def __post_init__(self) -> None:
        for name in ("bin_width_s", "band_window_s", "smooth_s", "lag_s", "block_s", "epoch_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise SettingsError(f"{name} is a time, in seconds, above 0", found=value)
        for name in ("low", "high", "sfreq"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise SettingsError(f"{name} is a rate, in Hz, above 0", found=value)
        check_numbers(
            self,
            nulls=0,
            edge_nulls=0,
            replicates=0,
            rank_nulls=0,
            permutations=1,
            max_units=2,
            min_pause_s=0,
            floor=0,
        )
        if self.replicates == 1:
            raise SettingsError("a spread needs at least two replicates", found=1, fix="replicates=20")
        self._check_shares()
        self._check_pairs()

    def _check_pairs(self) -> None:
        ordered, layout = self.kernel == "lagged", self.model.layout
        if ordered != (self.lag_s is not None):
            raise SettingsError(
                "the kernel lagged and lag_s go together", code="NT-SET-003",
                found=f"kernel {self.kernel}, lag_s {self.lag_s}", fix="--set kernel=lagged --set lag_s=0.1",
            )  # fmt: skip
        if layout not in (("pair", "cp") if ordered else ("pair", "symcp", "ll1")):
            raise SettingsError(
                f"the layout {layout} is not for the {'ordered ' if ordered else ''}pairs of the kernel "
                f"{self.kernel}", code="NT-SET-003",
                fix="--set layout=pair",
            )  # fmt: skip
        if 0 < self.edge_nulls < 19:
            raise SettingsError(
                "edges are compared with at least 19 surrogates, or with none", found=self.edge_nulls
            )
        if self.edge_nulls and layout != "pair":
            raise SettingsError(
                "edges are compared with chance one by one, for which every pair needs a weight of its own",
                code="NT-SET-003", found=f"layout {layout}", fix="--set layout=pair",
            )  # fmt: skip

    def _check_shares(self) -> None:
        if self.band is not None and not 0 <= self.band[0] < self.band[1]:
            raise SettingsError("band is two frequencies in Hz, the lower first", found=self.band)
        if self.threshold is not None and not 0 <= self.threshold < 1:
            raise SettingsError("threshold is a share, from 0 to below 1", found=self.threshold)
        if self.rank_scan is not None and (not self.rank_scan or min(self.rank_scan) < 1):
            raise SettingsError("rank_scan lists ranks of at least 1", found=self.rank_scan)


def analyse(recording: xr.DataTree, settings: Settings, step: Step = directly) -> xr.DataTree:
    """One recording to its motifs, their communities and their times.

    Parameters
    ----------
    recording : xarray.DataTree
    settings : Settings
    step : callable, optional
        ``step(name, function, *data, **options)`` calls the function; the runner's keeps the result.

    Returns
    -------
    xarray.DataTree
        Groups ``fit``, ``communities``, ``connectome``, and ``edges``, ``rank_scan``, ``null``,
        ``uncertainty`` and ``conditions`` where they were asked for.
    """
    traces = traces_of(recording, settings, step)
    affinity = step(
        "affinity", nt.differential_affinity, traces, kernel=settings.kernel, smooth_s=settings.smooth_s,
        normalise=settings.normalise, floor=settings.floor, lag_s=settings.lag_s,
    )  # fmt: skip
    scan = scanned(affinity, settings, step)
    settings = replace(settings, model=chosen_model(settings, scan))
    fit = step("factorisation", settings.model.fit, affinity)
    edges = edges_above_chance(affinity, fit, settings, step)
    graphs = fit if edges is None else fit.assign(motif=edges["motif"])
    communities = step(
        "communities", nt.motif_communities, settings.communities, graphs, max_units=settings.max_units
    )
    connectome = step(
        "connectome", nt.dynamic_connectome, fit, communities, threshold=settings.threshold,
        min_pause_s=settings.min_pause_s,
    )  # fmt: skip
    found = {
        "/fit": fit, "/communities": communities, "/connectome": connectome, "/rank_scan": scan,
        "/edges": edges,
        "/null": against_chance(affinity, fit, settings, step),
        "/uncertainty": resampled(affinity, fit, connectome, settings, step),
        "/conditions": compared(recording, traces, fit, settings, step),
    }  # fmt: skip
    return xr.DataTree.from_dict({name: group for name, group in found.items() if group is not None})


def edges_above_chance(
    affinity: xr.Dataset, fit: xr.Dataset, settings: Settings, step: Step
) -> xr.Dataset | None:
    """Edges of every motif that exceed chance, where that was asked for."""
    if not settings.edge_nulls:
        return None
    return step(
        "edges", nt.motif_edges, affinity, fit, surrogate=settings.null_kind, n_null=settings.edge_nulls,
        seed=settings.model.seed,
    )  # fmt: skip


def against_chance(
    affinity: xr.Dataset, fit: xr.Dataset, settings: Settings, step: Step
) -> xr.Dataset | None:
    """Every motif against surrogates; without it, and a warning, where there is too little time."""
    if not settings.nulls:
        return None
    try:
        return step(
            "null", nt.motif_null, settings.model, affinity, fit, surrogate=settings.null_kind,
            n_null=settings.nulls, seed=settings.model.seed,
        )  # fmt: skip
    except SchemaError as error:
        warnings.warn(
            f"motifs are not compared with chance: {error.problem}", NeurotoolsWarning, stacklevel=2
        )
        return None


def resampled(
    affinity: xr.Dataset, fit: xr.Dataset, connectome: xr.Dataset, settings: Settings, step: Step
) -> xr.Dataset | None:
    """What resampled data say of edges, intervals and communities."""
    if not settings.replicates:
        return None
    replicates = step(
        "replicates", nt.bootstrap_motifs, settings.model, affinity, fit, over=settings.resample,
        n_replicates=settings.replicates, block_s=settings.block_s, seed=settings.model.seed,
    )  # fmt: skip
    intervals = step(
        "interval_uncertainty", nt.interval_uncertainty, connectome, replicates,
        threshold=settings.threshold, min_pause_s=settings.min_pause_s,
    )  # fmt: skip
    communities = step("community_uncertainty", nt.community_uncertainty, settings.communities, replicates)
    edges = replicates[["edge_mean", "edge_sd", "similarity"]]
    return xr.merge([edges, intervals, communities], join="exact", combine_attrs="override").assign_attrs(
        replicates.attrs
    )


def compared(
    recording: xr.DataTree, traces: xr.DataArray, fit: xr.Dataset, settings: Settings, step: Step
) -> xr.Dataset | None:
    """Motifs between conditions."""
    if settings.conditions is None:
        return None
    conditions, column = conditions_of(recording, traces, settings.conditions)
    return step(
        "conditions", nt.compare_conditions, fit, conditions, among=settings.among, column=column,
        window_s=settings.epoch_s, n_permutations=settings.permutations, seed=settings.model.seed,
    )  # fmt: skip


def conditions_of(
    recording: xr.DataTree, traces: xr.DataArray, name: str
) -> tuple[xr.Dataset | xr.DataArray, str]:
    """What tells the conditions, and the column that does, where it is a table."""
    if name in traces.coords:
        return traces[name].reset_coords(drop=True), name
    node, _, column = name.rpartition("/")
    if node in recording.children and column in recording[node].data_vars:
        return recording[node].to_dataset(), column
    known = [
        str(n) for n, c in traces.coords.items() if c.dims in {("subject",), ("time",)} and n not in c.dims
    ]
    known += [
        f"{table}/{n}" for table in ("events", "trials") if table in recording.children
        for n in recording[table].data_vars
    ]  # fmt: skip
    raise SettingsError(
        f"nothing in the recording is called {name!r}.{did_you_mean(name, known)}",
        expected=", ".join(known) or "a recording with events, or labels of subjects",
    )


def scanned(affinity: xr.Dataset, settings: Settings, step: Step) -> xr.Dataset | None:
    """Ranks side by side, where they were asked for."""
    if settings.rank_scan is None and not settings.auto_rank:
        return None
    return step(
        "rank_scan", nt.rank_scan, settings.model, affinity, settings.rank_scan or RANKS,
        n_null=settings.rank_nulls if settings.auto_rank else 0,
    )  # fmt: skip


def chosen_model(settings: Settings, scan: xr.Dataset | None) -> NTF:
    """The model, with the rank that the scan chose where it may; one motif where it chose none."""
    if not settings.auto_rank or scan is None:
        return settings.model
    rank = int(scan.attrs["selected_rank"])
    if rank == 0:
        warnings.warn(
            f"no number of motifs is supported: {scan.attrs['reason']}; the one motif that is shown need not "
            "mean anything",
            NeurotoolsWarning,
            stacklevel=2,
        )
    return replace(settings.model, rank=rank or 1)


def join(recordings: Mapping[str, xr.DataTree], settings: Settings) -> xr.DataTree:
    """Recordings of several animals as one: the traces to analyse side by side, and the events all share."""
    ready = {name: traces_of(one, settings) for name, one in recordings.items()}
    nodes = {f"/{JOINED}": nt.join_subjects(ready, cut=settings.cut).to_dataset(name="traces")}
    first, *others = recordings.values()
    for name in ("events", "trials"):
        tables = [one[name].to_dataset() for one in (first, *others) if name in one.children]
        if len(tables) == len(recordings) and all(table.identical(tables[0]) for table in tables):
            nodes[f"/{name}"] = tables[0]
    return xr.DataTree.from_dict(nodes)


def traces_of(recording: xr.DataTree, settings: Settings, step: Step = directly) -> xr.DataArray:
    """The array to analyse: the one that was named, the only one, counted spikes, or power in a band."""
    if JOINED in recording.children:  # of which each was made ready before
        return recording[JOINED].to_dataset()["traces"]
    if settings.signal is not None:
        traces = named_array(recording, settings.signal)
    elif settings.bin_width_s is not None:
        traces = nt.bin_spikes(recording, width_s=settings.bin_width_s)
    elif "spikes" in recording.children and len(recording.children) == 1:
        raise SettingsError(
            "spikes are counted in bins, whose width has to be said", fix="--set bin_width_s=0.05"
        )
    else:
        traces = nt.signal(recording)
    if settings.low is not None or settings.high is not None:
        traces = nt.clean(traces, low=settings.low, high=settings.high)
    if settings.sfreq is not None:
        traces = nt.resample(traces, sfreq=settings.sfreq)
    if settings.band is not None:
        traces = nt.band_power(traces, settings.band, window_s=settings.band_window_s)
    return traces


def named_array(recording: xr.DataTree, path: str) -> xr.DataArray:
    """The array at a path of a recording (``"calcium/activity"``)."""
    held = {
        f"{node.path.strip('/')}/{name}": array
        for node in recording.subtree
        for name, array in node.data_vars.items()
    }
    if path not in held:
        raise SettingsError(
            f"the recording has no array {path!r}.{did_you_mean(path, held)}", expected=", ".join(held)
        )
    return held[path]


def tables(result: xr.DataTree) -> dict[str, pd.DataFrame]:
    """When each motif is active, which unit belongs to which community of it, and what tests say."""
    connectome = result["connectome"].to_dataset()
    labels = connectome["label"].to_dataframe().reset_index()
    motifs = result["fit"].to_dataset()[["weight"]]
    made = {"intervals": nt.connectome_table(connectome), "communities": labels}
    if "null" in result.children:
        tested = ["strength", "ratio", "p_value", "p_corrected"]
        motifs = motifs.merge(result["null"].to_dataset()[tested], join="exact")
    if "conditions" in result.children:
        table = result["conditions"].to_dataset()[["mean", "spread", "p_value", "p_corrected", "n_epochs"]]
        made["conditions"] = table.to_dataframe().reset_index()
    return {**made, "motifs": motifs.to_dataframe().reset_index()}


def figures(result: xr.DataTree, recording: xr.DataTree | None, settings: Settings) -> dict[str, Figure]:
    """Every picture that the result allows."""
    return nt.plot.connectome_figures(**parts(result), recording=recording)


def page(
    recording: xr.DataTree | None,
    result: xr.DataTree,
    figures: Mapping[str, Figure],
    settings: Settings,
    provenance: Mapping[str, Any],
) -> str:
    """The report, as the text of one self-contained page."""
    return nt.report.connectome_report(
        recording, **parts(result), settings=settings, provenance=provenance, figures=figures
    )


def parts(result: xr.DataTree) -> dict[str, Any]:
    """The groups of a result as Datasets, by the names that plots and reports give them."""
    names = ("fit", "communities", "connectome", "rank_scan", "null", "uncertainty", "conditions")
    return {name: result[name].to_dataset() for name in names if name in result.children}


def summarise(results: Mapping[str, xr.DataTree], settings: Settings) -> xr.Dataset:
    """How well each recording was fitted, side by side along ``recording``."""
    rows = [
        xr.Dataset({name: result["fit"].attrs[name] for name in ("relative_error", "converged", "n_iter")})
        for result in results.values()
    ]
    return xr.concat(rows, dim=xr.DataArray(list(results), dims="recording", name="recording"))
