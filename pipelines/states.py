"""What pipelines of switching models share: how many states, their fit, and the tables they give."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd
import xarray as xr

import neurotools as nt
from neurotools.errors import SettingsError
from neurotools.models.switching_glm import SwitchingGLM

from .steps import Step

HeldOut = Literal["session", "time"]


def check_compared(compare: tuple[int, ...] | None) -> None:
    """Raise unless ``compare`` lists numbers of states."""
    if compare is not None and (not compare or min(compare) < 1 or len(set(compare)) < len(compare)):
        raise SettingsError("compare lists numbers of states, each once and at least 1", found=compare)


def held_out(data: xr.DataArray, cv: HeldOut | None) -> HeldOut:
    """What is held out where it was not said: sessions if there are several, else stretches of time."""
    if cv is not None:
        return cv
    several = "session" in data.coords and data["session"].to_index().nunique() > 1
    return "session" if several else "time"


def fitted(
    model: SwitchingGLM,
    data: tuple[xr.DataArray, xr.DataArray],
    compare: tuple[int, ...] | None,
    cv: HeldOut | None,
    step: Step,
) -> dict[str, xr.Dataset]:
    """Scores of held-out data, the fit, and the states of every sample.

    Without numbers to compare the model is held against one state, and stays as it is set.
    """
    candidates = compare or tuple(sorted({1, model.n_states}))
    scan = step("scan", nt.select_states, model, *data, n_states=candidates, cv=held_out(data[0], cv))
    if compare is not None:
        model = dataclasses.replace(model, n_states=int(scan.attrs["selected_n_states"]))
    fit = step("fit", model.fit, *data)
    states = step("states", model.predict, fit, *data)
    return {"/fit": fit, "/states": states, "/scan": scan}


def tables(result: xr.DataTree) -> dict[str, pd.DataFrame]:
    """States of every sample, visits, moves between states, and scores of held-out data."""
    fit, states, scan = (result[name].to_dataset() for name in ("fit", "states", "scan"))
    score = scan["heldout_score"].to_dataframe().reset_index()
    moves = fit["transition"].to_dataframe("probability").reset_index()
    return {
        "states": state_table(states),
        "dwell_times": nt.dwell_times(states["viterbi"]),
        "transitions": moves[["state", "state_to", "probability"]],
        "heldout": score[["n_states", "fold", "heldout_score"]],
    }


def state_table(states: xr.Dataset) -> pd.DataFrame:
    """One row per sample: its labels, the best path, and the probability of each state."""
    table = states["viterbi"].to_dataframe("state").reset_index()
    labels = states["state"].to_numpy()
    named = {f"probability_{k}": states["state_prob"].sel(state=k).to_numpy() for k in labels}
    return table.assign(**named)


def parts(result: xr.DataTree) -> dict[str, Any]:
    """The groups of a result as Datasets, by name, and the visits to states."""
    groups = {str(name): node.to_dataset() for name, node in result.children.items()}
    return {**groups, "visits": nt.dwell_times(groups["states"]["viterbi"])}


def summarise(results: Mapping[str, xr.DataTree], settings: Any) -> xr.Dataset:
    """How many states each recording has and how well it is foretold, along ``recording``."""
    rows = [
        xr.Dataset(
            {
                "n_states": result["fit"].sizes["state"],
                "log_likelihood": result["fit"].attrs["log_likelihood"],
                "heldout_score": result["scan/score"].sel(n_states=result["fit"].sizes["state"], drop=True),
            }
        )
        for result in results.values()
    ]
    return xr.concat(rows, dim=xr.DataArray(list(results), dims="recording", name="recording"))
