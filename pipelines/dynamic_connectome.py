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
from neurotools.errors import NeurotoolsWarning, SettingsError, did_you_mean
from neurotools.models.block_model import BlockModel
from neurotools.models.ntf import NTF

from .steps import Step, directly

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

RANKS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12)  # that are compared where nobody says which
TAKES = "a recording with one continuous signal (calcium traces, region series, EEG), spike counts, or spikes"
GIVES = {
    "fit.nc": "groups fit, communities, connectome, and rank_scan if asked for (nt.open_fit reads them)",
    "tables/intervals.tsv": "one row per stretch of time in which a motif is active",
    "tables/communities.tsv": "one row per motif and unit: its community",
    "figures/": "every picture as png and svg",
    "report.html": "one self-contained page",
    "settings.yaml": "the settings, to run again",
    "provenance.json": "seeds, versions, input hashes, threads, time, memory, warnings",
}


Kernel = Literal["geomean", "product", "min", "ratio", "anti", "lagged", "corr_window", "mtd", "edge"]
Normalise = Literal["max", "percentile99", "none"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Choices on the way from traces to a dynamic connectome.

    Parameters
    ----------
    signal : str or None
        Path of the array to analyse ("calcium/activity") where a recording has several.
    bin_width_s : float or None, in s
        Width of the bins in which spikes are counted; needed for spikes.
    band : tuple of two floats or None, in Hz
        Analyse the power in this frequency band instead of the signal itself.
    band_window_s : float, in s
        Length of the windows in which the power of a band is measured; they overlap by half.
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
        between its low and its high values (Otsu 1979).
    rank_scan : tuple of ints or None
        Ranks to compare by held-out error and agreement of restarts, shown in the report.
    auto_rank : bool
        Choose the rank among those of rank_scan (1 to 12 where it lists none) in place of the model's.
    rank_nulls : int
        Circularly shifted surrogates that the chosen rank has to beat; 0 for none.
    """

    signal: str | None = None
    bin_width_s: float | None = None
    band: tuple[float, float] | None = None
    band_window_s: float = 1.0
    sfreq: float | None = None
    kernel: Kernel = "geomean"
    smooth_s: float | None = None
    normalise: Normalise = "max"
    floor: float = 0.0
    lag_s: float | None = None
    model: NTF = NTF(rank=8)
    communities: BlockModel = BlockModel()
    threshold: float | None = None
    rank_scan: tuple[int, ...] | None = None
    auto_rank: bool = False
    rank_nulls: int = 19

    def __post_init__(self) -> None:
        for name in ("bin_width_s", "band_window_s", "smooth_s", "lag_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise SettingsError(f"{name} is a time, in seconds, above 0", found=value)
        if self.sfreq is not None and not 0 < self.sfreq < float("inf"):
            raise SettingsError("sfreq is a rate, in Hz, above 0", found=self.sfreq)
        if self.band is not None and not 0 <= self.band[0] < self.band[1]:
            raise SettingsError("band is two frequencies in Hz, the lower first", found=self.band)
        if self.threshold is not None and not 0 <= self.threshold < 1:
            raise SettingsError("threshold is a share, from 0 to below 1", found=self.threshold)
        if self.rank_scan is not None and (not self.rank_scan or min(self.rank_scan) < 1):
            raise SettingsError("rank_scan lists ranks of at least 1", found=self.rank_scan)
        if self.rank_nulls < 0:
            raise SettingsError("rank_nulls is a number of surrogates, at least 0", found=self.rank_nulls)


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
        Groups ``fit``, ``communities``, ``connectome``, and ``rank_scan`` where it was asked for.
    """
    traces = traces_of(recording, settings, step)
    affinity = step(
        "affinity", nt.differential_affinity, traces, kernel=settings.kernel, smooth_s=settings.smooth_s,
        normalise=settings.normalise, floor=settings.floor, lag_s=settings.lag_s,
    )  # fmt: skip
    scan = scanned(affinity, settings, step)
    fit = step("factorisation", chosen_model(settings, scan).fit, affinity)
    communities = step("communities", settings.communities.fit, nt.motif(fit))
    connectome = step("connectome", nt.dynamic_connectome, fit, communities, threshold=settings.threshold)
    groups = {"/fit": fit, "/communities": communities, "/connectome": connectome}
    if scan is not None:
        groups["/rank_scan"] = scan
    return xr.DataTree.from_dict(groups)


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


def traces_of(recording: xr.DataTree, settings: Settings, step: Step = directly) -> xr.DataArray:
    """The array to analyse: the one that was named, the only one, counted spikes, or power in a band."""
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
    """When each motif is active, and which unit belongs to which community of it."""
    connectome = result["connectome"].to_dataset()
    labels = connectome["label"].to_dataframe().reset_index()
    return {"intervals": nt.connectome_table(connectome), "communities": labels}


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
    names = ("fit", "communities", "connectome", "rank_scan")
    return {name: result[name].to_dataset() for name in names if name in result.children}


def summarise(results: Mapping[str, xr.DataTree], settings: Settings) -> xr.Dataset:
    """How well each recording was fitted, side by side along ``recording``."""
    rows = [
        xr.Dataset({name: result["fit"].attrs[name] for name in ("relative_error", "converged", "n_iter")})
        for result in results.values()
    ]
    return xr.concat(rows, dim=xr.DataArray(list(results), dims="recording", name="recording"))
