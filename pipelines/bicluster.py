"""Spike counts to bi-clusters: units that share a latent, states in which latents follow other rules.

Spikes are counted in bins (or counts are taken as they are); a Markov chain draws clusters of units, states
of time, latents and rates from their posterior; the partitions nearest to all draws are reported with how
sure they are, and so is whether the chains agree. The model is that of Wei (2024), ICLR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr

import neurotools as nt
from neurotools.errors import SettingsError
from neurotools.models.bicluster import BiCluster

from .steps import Step, directly

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TAKES = "a recording with spikes, or with spike counts"
GIVES = {
    "fit.nc": "groups of the posterior, partition, latents, similarity, convergence, check (nt.open_fit)",
    "tables/units.tsv": "one row per unit: its cluster and how sure that is",
    "tables/states.tsv": "one row per visit to a state: when it begins and ends, and how sure it is",
    "figures/": "every picture as png and svg",
    "report.html": "one self-contained page",
    "settings.yaml": "the settings, to run again",
    "provenance.json": "seeds, versions, input hashes, threads, time, memory, warnings",
}

Loss = Literal["vi", "binder", "pear"]
Gate = Literal["flag", "refuse"]
ADDED = ("partition", "latents", "similarity", "convergence", "check")  # beside the groups of the posterior


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Choices on the way from spikes to bi-clusters.

    Parameters
    ----------
    bin_width_s : float or None, in s
        Width of the bins in which spikes are counted; needed for spikes. Counts are merged to it.
    start_s : float or None, in s
        Analyse from here on; from the beginning when none.
    stop_s : float or None, in s
        Analyse up to here; up to the end when none.
    min_rate_hz : float, in Hz
        Leave out units that fire less, on average; the page names them.
    model : BiCluster
        The model and its priors.
    draws : int
        Sweeps of each chain that are kept.
    tune : int
        Sweeps of each chain before those, which are not.
    chains : int
        Independent chains, each in its own process.
    loss : {"vi", "binder", "pear"}
        Whose mean over draws the reported partitions minimise.
    gate : {"flag", "refuse"}
        What to do when the chains have not converged: say so on the first line of the report, or fail.
    max_rhat : float
        Largest R-hat with which chains count as converged.
    min_ess : float
        Least effective number of draws with which they do.
    """

    bin_width_s: float | None = None
    start_s: float | None = None
    stop_s: float | None = None
    min_rate_hz: float = 0.0
    model: BiCluster = BiCluster()
    draws: int = 2000
    tune: int = 1000
    chains: int = 4
    loss: Loss = "vi"
    gate: Gate = "flag"
    max_rhat: float = 1.05
    min_ess: float = 100.0

    def __post_init__(self) -> None:
        if self.bin_width_s is not None and not 0 < self.bin_width_s < float("inf"):
            raise SettingsError("bin_width_s is a time, in seconds, above 0", found=self.bin_width_s)
        if not self.min_rate_hz >= 0:
            raise SettingsError("min_rate_hz is at least 0", found=self.min_rate_hz)
        for name, least in (("draws", 8), ("tune", 0), ("chains", 1)):
            if getattr(self, name) < least:
                raise SettingsError(f"{name} is at least {least}", found=getattr(self, name))
        if not self.max_rhat > 1 or not self.min_ess >= 0:
            raise SettingsError(
                "max_rhat is above 1 and min_ess at least 0", found=(self.max_rhat, self.min_ess)
            )


def analyse(recording: xr.DataTree, settings: Settings, step: Step = directly) -> xr.DataTree:
    """One recording to its clusters of units, its states, and how sure both are.

    Parameters
    ----------
    recording : xarray.DataTree
    settings : Settings
    step : callable, optional
        ``step(name, function, *data, **options)`` calls the function; the runner's keeps the result.

    Returns
    -------
    xarray.DataTree
        The groups of the posterior, and ``partition``, ``latents``, ``similarity``, ``convergence``,
        ``check``.
    """
    counts = counts_of(recording, settings)
    post = step(
        "posterior", settings.model.sample, counts,
        draws=settings.draws, tune=settings.tune, chains=settings.chains,
    )  # fmt: skip
    judge = nt.require_converged if settings.gate == "refuse" else nt.convergence
    convergence = step("convergence", judge, post, max_rhat=settings.max_rhat, min_ess=settings.min_ess)
    partition = step("partition", nt.point_partition, post, settings.loss)
    partition = labelled(partition, counts)
    result = post.copy()
    result.attrs["units_left_out"] = str(counts.attrs.get("units_left_out", ""))
    found = {
        "partition": partition,
        "latents": step("latents", nt.cluster_latents, post, partition),
        "similarity": nt.state_similarity(post).to_dataset(),
        "convergence": convergence,
        "check": step("check", nt.posterior_check, post),
    }
    for name, dataset in found.items():
        result[name] = xr.DataTree(dataset)
    return result


def counts_of(recording: xr.DataTree, settings: Settings) -> xr.DataArray:
    """The counts to analyse: spikes in bins, or counts (merged), of the time and units chosen."""
    width = settings.bin_width_s
    if "counts" in recording.children:
        counts = nt.signal(recording) if width is None else nt.merge_bins(recording, width)
    elif width is None and "spikes" in recording.children:
        raise SettingsError(
            "spikes are counted in bins, whose width has to be said", fix="--set bin_width_s=0.05"
        )
    else:
        counts = nt.signal(recording) if width is None else nt.bin_spikes(recording, width_s=width)
    if settings.start_s is not None or settings.stop_s is not None:
        counts = counts.sel(time=slice(settings.start_s, settings.stop_s))
    return nt.active_units(counts, settings.min_rate_hz) if settings.min_rate_hz > 0 else counts


def labelled(partition: xr.Dataset, counts: xr.DataArray) -> xr.Dataset:
    """The partition with what the recording says of each unit (its region, its depth)."""
    return partition.assign_coords(
        {name: coord for name, coord in counts.coords.items() if coord.dims == ("unit",)}
    )


def tables(result: xr.DataTree) -> dict[str, pd.DataFrame]:
    """The cluster of each unit, and the visits to each state."""
    partition = result["partition"].to_dataset()
    return {"units": nt.cluster_table(partition), "states": nt.state_table(partition)}


def figures(result: xr.DataTree, recording: xr.DataTree | None, settings: Settings) -> dict[str, Figure]:
    """Every picture that the result allows."""
    return nt.plot.bicluster_figures(result, **parts(result), recording=recording)


def page(
    recording: xr.DataTree | None,
    result: xr.DataTree,
    figures: Mapping[str, Figure],
    settings: Settings,
    provenance: Mapping[str, Any],
) -> str:
    """The report, as the text of one self-contained page."""
    return nt.report.bicluster_report(
        recording, result, **parts(result), settings=settings, provenance=provenance, figures=figures
    )


def parts(result: xr.DataTree) -> dict[str, Any]:
    """What was found, by the names that plots and reports give it."""
    found: dict[str, Any] = {name: result[name].to_dataset() for name in ADDED if name in result.children}
    if "similarity" in found:
        found["similarity"] = found["similarity"]["state_similarity"]
    return found


def summarise(results: Mapping[str, xr.DataTree], settings: Settings) -> xr.Dataset:
    """Numbers of clusters and states of each recording, and whether its chains agree."""
    rows = [
        result["partition"].to_dataset()[["n_clusters", "n_states"]].assign(
            {name: result["convergence"].attrs[name] for name in ("converged", "worst_rhat", "least_ess")}
        )
        for result in results.values()
    ]  # fmt: skip
    return xr.concat(rows, dim=xr.DataArray(list(results), dims="recording", name="recording"))
