"""Spikes to brain states: how the units drive one another in each state, and when each state holds.

The couplings of a population, its generalised linear model, switch with one hidden state that all units
share; held-out spikes say whether they do. Escola et al. (2011), Neural Computation 23, 1071-1132.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xarray as xr

import neurotools as nt
from neurotools.errors import SettingsError
from neurotools.models.switching_glm import SwitchingGLM
from neurotools.signals.design import ExponentialHistory, RaisedCosine

from . import states
from .states import HeldOut, summarise
from .steps import Step, directly

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["GIVES", "TAKES", "Settings", "analyse", "figures", "page", "summarise", "tables"]

TAKES = "a recording with spikes, or with counts of spikes (counts/counts)"
GIVES = {
    "fit.nc": "groups fit, states and scan (nt.open_fit reads them)",
    "tables/states.tsv": "one row per bin: the best path, and the probability of each state",
    "tables/couplings.tsv": "one row per state, sender, receiver and function of the lag",
    "tables/dwell_times.tsv": "one row per visit to a state",
    "tables/transitions.tsv": "one row per pair of states",
    "tables/heldout.tsv": "one row per number of states and fold",
    "figures/": "every picture as png and svg",
    "report.html": "one self-contained page",
    "settings.yaml": "the settings, to run again",
    "provenance.json": "seeds, versions, input hashes, threads, time, memory, warnings",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Choices on the way from spikes to brain states.

    Parameters
    ----------
    bin_width_s : float or None, in s
        Width of the bins in which spikes are counted; needed for spikes, and none for counts.
    units : tuple of str or None
        Units to analyse, by label; none for all.
    history : ExponentialHistory or RaisedCosine
        Functions of the lag through which recent spikes drive later ones.
    compare : tuple of ints or None
        Numbers of states to compare by the score of held-out data; the smallest within one standard error of
        the best is fitted. None fits as many as the model says, and compares it with one state.
    cv : {"session", "time"} or None
        What is held out; none for sessions where there are several.
    model : SwitchingGLM
        The model of spikes.
    """

    bin_width_s: float | None = None
    units: tuple[str, ...] | None = None
    history: ExponentialHistory | RaisedCosine = ExponentialHistory()
    compare: tuple[int, ...] | None = None
    cv: HeldOut | None = None
    model: SwitchingGLM = SwitchingGLM(n_states=3, n_restarts=4)

    def __post_init__(self) -> None:
        if self.bin_width_s is not None and not 0 < self.bin_width_s < float("inf"):
            raise SettingsError("bin_width_s is a time, in seconds, above 0", found=self.bin_width_s)
        states.check_compared(self.compare)


def analyse(recording: xr.DataTree, settings: Settings, step: Step = directly) -> xr.DataTree:
    """One recording of spikes to the states of the population and their couplings.

    Parameters
    ----------
    recording : xarray.DataTree
    settings : Settings
    step : callable, optional
        ``step(name, function, *data, **options)`` calls the function; the runner's keeps the result.

    Returns
    -------
    xarray.DataTree
        Groups ``fit``, ``states`` and ``scan``.
    """
    counts = counts_of(recording, settings)
    design = nt.glm_design(counts, settings.history)
    return xr.DataTree.from_dict(
        states.fitted(settings.model, (counts, design), settings.compare, settings.cv, step)
    )


def counts_of(recording: xr.DataTree, settings: Settings) -> xr.DataArray:
    """Counts of the units that were asked for, as stored or of spikes put into bins."""
    if settings.bin_width_s is not None:
        counts = nt.bin_spikes(recording, width_s=settings.bin_width_s)
    elif "counts" in recording.children:
        counts = recording["counts"].to_dataset()["counts"]
    else:
        raise SettingsError(
            "spikes are counted in bins, whose width has to be said", fix="--set bin_width_s=0.02"
        )
    if settings.units is None:
        return counts
    labels = {str(label): label for label in counts["unit"].to_index()}
    strange = [name for name in settings.units if name not in labels]
    if strange:
        raise SettingsError(
            f"the recording has no unit {strange[0]!r}", code="NT-SET-001",
            expected="one of " + ", ".join(labels),
        )  # fmt: skip
    return counts.sel(unit=[labels[name] for name in settings.units])


def tables(result: xr.DataTree) -> dict[str, pd.DataFrame]:
    """Couplings, states of every bin, visits, moves, and scores of held-out data."""
    couplings = result["fit/weight"].to_dataframe("weight").reset_index()
    return {
        **states.tables(result),
        "couplings": couplings[["state", "unit", "unit_to", "basis", "weight"]],
    }


def figures(result: xr.DataTree, recording: xr.DataTree | None, settings: Settings) -> dict[str, Figure]:
    """Every picture that the result allows."""
    held = states.parts(result)
    return nt.plot.brain_state_figures(held["fit"], held["states"], held["visits"], held["scan"], recording)


def page(
    recording: xr.DataTree | None,
    result: xr.DataTree,
    figures: Mapping[str, Figure],
    settings: Settings,
    provenance: Mapping[str, Any],
) -> str:
    """The report, as the text of one self-contained page."""
    return nt.report.states_report(
        recording, **states.parts(result), settings=settings, provenance=provenance, figures=figures
    )
