"""Choices of an animal to hidden strategies: what guides it in each state, when, and for how long.

The weights of a logistic regression of choices switch with a hidden state (GLM-HMM); the number of states is
the one that foretells held-out sessions. Ashwood et al. (2022), Nature Neuroscience 25, 201-212.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xarray as xr

import neurotools as nt
from neurotools.errors import SettingsError, did_you_mean
from neurotools.models.switching_glm import SwitchingGLM

from . import states
from .states import HeldOut, summarise
from .steps import Step, directly

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["GIVES", "TAKES", "Settings", "analyse", "figures", "page", "summarise", "tables"]

TAKES = "a recording of choices between two alternatives, trial by trial (behaviour/choice), with sessions"
GIVES = {
    "fit.nc": "groups fit, states, psychometric and scan (nt.open_fit reads them)",
    "tables/states.tsv": "one row per trial: the best path, and the probability of each state",
    "tables/weights.tsv": "one row per state and regressor, the bias among them",
    "tables/psychometric.tsv": "one row per state and level of the stimulus",
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
    """Choices on the way from trials to strategies.

    Parameters
    ----------
    n_back : int, in trials
        Earlier choices of the animal in the design; 0 where the stored design holds them already.
    regressors : tuple of str or None
        Columns of the design to use, by name; none for all.
    stimulus : str or None
        Regressor along which psychometric curves are drawn; none takes the first that is no earlier choice
        and has more than five levels.
    compare : tuple of ints or None
        Numbers of states to compare by the score of held-out data; the smallest within one standard error of
        the best is fitted. None fits as many as the model says, and compares it with one state.
    cv : {"session", "time"} or None
        What is held out; none for sessions where there are several.
    model : SwitchingGLM
        The model of choices.
    """

    n_back: int = 1
    regressors: tuple[str, ...] | None = None
    stimulus: str | None = None
    compare: tuple[int, ...] | None = None
    cv: HeldOut | None = None
    model: SwitchingGLM = SwitchingGLM(n_states=3, family="bernoulli", n_restarts=4)

    def __post_init__(self) -> None:
        if self.n_back < 0:
            raise SettingsError("n_back must be at least 0", found=self.n_back)
        if self.model.family != "bernoulli":
            raise SettingsError(
                "choices are of the family bernoulli", found=self.model.family, fix="--set family=bernoulli"
            )
        states.check_compared(self.compare)


def analyse(recording: xr.DataTree, settings: Settings, step: Step = directly) -> xr.DataTree:
    """One recording of choices to the states of the animal, their weights and psychometric curves.

    Parameters
    ----------
    recording : xarray.DataTree
    settings : Settings
    step : callable, optional
        ``step(name, function, *data, **options)`` calls the function; the runner's keeps the result.

    Returns
    -------
    xarray.DataTree
        Groups ``fit``, ``states``, ``scan`` and ``psychometric``.
    """
    design = design_of(recording, settings)
    choice = recording["behaviour"].to_dataset()["choice"]
    groups = states.fitted(settings.model, (choice, design), settings.compare, settings.cv, step)
    curves = step("psychometric", nt.psychometric, groups["/fit"], choice, design, stimulus=settings.stimulus)
    return xr.DataTree.from_dict({**groups, "/psychometric": curves})


def design_of(recording: xr.DataTree, settings: Settings) -> xr.DataArray:
    """The design of the choices, with the columns that were asked for."""
    design = nt.choice_design(recording, n_back=settings.n_back)
    if settings.regressors is None:
        return design
    known = design["feature"].to_index()
    for name in settings.regressors:
        if name not in known:
            raise SettingsError(
                f"the design has no regressor {name!r}.{did_you_mean(name, known)}", code="NT-SET-001",
                expected="one of " + ", ".join(known),
            )  # fmt: skip
    return design.sel(feature=list(settings.regressors))


def tables(result: xr.DataTree) -> dict[str, pd.DataFrame]:
    """Weights, psychometric curves, states of every trial, visits, moves, and scores of held-out data."""
    curves, fit = result["psychometric"].to_dataset(), result["fit"].to_dataset()
    weights = fit["feature_weight"].to_dataframe("weight").reset_index()[["state", "feature", "weight"]]
    bias = fit["bias"].to_dataframe("weight").reset_index().assign(feature="bias")
    bounds = curves["p_choice_interval"].to_dataset("bound")
    return {
        **states.tables(result),
        "weights": bias[["state", "feature", "weight"]].merge(weights, how="outer"),
        "psychometric": curves[["stimulus", "p_choice", "n_trials"]]
        .merge(bounds)
        .to_dataframe()
        .reset_index(),
    }


def figures(result: xr.DataTree, recording: xr.DataTree | None, settings: Settings) -> dict[str, Figure]:
    """Every picture that the result allows."""
    held = states.parts(result)
    return nt.plot.choice_state_figures(
        held["fit"], held["states"], held["psychometric"], held["visits"], held["scan"]
    )


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
