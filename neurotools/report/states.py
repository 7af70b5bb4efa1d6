"""The page of a switching model: which states there are, when they hold, and whether they are needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurotools.numerics.survival import median_duration
from neurotools.report import summary
from neurotools.report.endings import Pictures, again_section, provenance_section, recording_section
from neurotools.report.methods import model_settings, own_references
from neurotools.report.page import (
    Block,
    Note,
    References,
    Section,
    Table,
    Text,
    build_report,
)
from neurotools.report.states_words import States, caption, limits, methods, sentence, urgent


def states_report(
    recording: xr.DataTree | None,
    fit: xr.Dataset,
    states: xr.Dataset,
    scan: xr.Dataset | None = None,
    visits: pd.DataFrame | None = None,
    *,
    psychometric: xr.Dataset | None = None,
    settings: Any = None,
    provenance: Mapping[str, Any] | None = None,
    figures: Mapping[str, Any] | None = None,
    title: str | None = None,
) -> str:
    """Make the self-contained HTML page of a switching model of spikes or of choices.

    Parameters
    ----------
    recording : xarray.DataTree or None
        What was analysed.
    fit, states : xarray.Dataset
        Fit of ``nt.SwitchingGLM``, and its prediction of the same data.
    scan : xarray.Dataset, optional
        Result of ``nt.select_states``.
    visits : pandas.DataFrame, optional
        Result of ``nt.dwell_times``.
    psychometric : xarray.Dataset, optional
        Result of ``nt.psychometric``.
    settings : dataclass or mapping, optional
        Settings of the pipeline, for what the fit does not carry.
    provenance : mapping, optional
        Seeds, versions, hashes, threads, time and memory, as the runner records them.
    figures : mapping of str to Figure, optional
        From ``nt.plot.choice_state_figures`` or ``nt.plot.brain_state_figures``.
    title : str, optional

    Returns
    -------
    str
        HTML text.
    """
    facts = dict(provenance or {})
    described = summary.described(recording, facts)
    held = States(fit, states, scan, visits, psychometric)
    pictures = Pictures(figures or {}, lambda name: caption(name, held))
    sections = [
        Section("At a glance", _glance(held, pictures)),
        Section("The states", _states(held, pictures)),
        Section("When each state holds", pictures("state_prob"), short="Over time"),
        Section("How states follow one another", _moves(held, pictures), short="Moves"),
        Section("How many states?", _number(held, pictures), short="How many"),
        Section("More figures", pictures.rest()),
        Section("What these numbers are not", [Note(limits(held), warn=True)], short="Limits"),
        recording_section(described),
        Section("Methods", _methods(held, described, settings, facts)),
        provenance_section(facts, fit.attrs, model_settings(fit)),
        again_section(facts, _python(held, settings, facts)),
    ]
    return build_report(
        title or summary.title_of(described, facts, "Hidden states"),
        [section for section in sections if section.blocks],
        subtitle=held.subtitle,
        eyebrow=f"neurotools · {'strategies' if held.choices else 'brain states'}",
        cards=_cards(held, facts),
    )


# ---- sections -----------------------------------------------------------------------------------------
def _glance(held: States, pictures: Pictures) -> list[Block]:
    blocks: list[Block] = [Text(sentence(held))]
    warned = urgent(held)
    if warned:
        blocks.append(Note(warned, warn=True))
    return [*blocks, *pictures("weights", "psychometric")]


def _states(held: States, pictures: Pictures) -> list[Block]:
    shown = pictures("couplings", "coupling_graphs", "coupling_changes")
    return [*shown, Table(_state_table(held), "States", caption=_visits_note(held))]


def _visits_note(held: States) -> str:
    """How visits that were cut short count."""
    if held.visits is None or not len(held.visits):
        return ""
    cut = int(held.visits["cut"].sum())
    return (
        f"{cut} of {len(held.visits)} visits were cut short by the edge of a session; the median takes them "
        "as at least so long, and it is left out where less than half are known to have ended."
    )


def _state_table(held: States) -> pd.DataFrame:
    fit = held.fit
    table = pd.DataFrame({"state": fit["state"].to_numpy(), "share of the data (%)": 100 * held.occupancy})
    if held.visits is not None:
        column = "duration_s" if "duration_s" in held.visits else "n_samples"
        unit = "s" if column == "duration_s" else f"{held.sample}s"
        mine = [held.visits[held.visits["state"] == k] for k in table["state"]]
        table["visits"] = [len(visits) for visits in mine]
        table[f"median visit ({unit})"] = [
            median_duration(visits[column].to_numpy(), visits["cut"].to_numpy().astype(bool))
            for visits in mine
        ]
    if held.choices:
        wide = fit["feature_weight"].transpose("state", "feature")
        table["weight: bias"] = fit["bias"].to_numpy()
        for place, name in enumerate(wide["feature"].to_numpy()):
            table[f"weight: {name}"] = wide.to_numpy()[:, place]
    elif "weight" in fit:
        sums = fit["weight"].sum("basis").transpose("state", "unit", "unit_to").to_numpy()
        apart = sums[:, ~np.eye(sums.shape[1], dtype=bool)]
        table["couplings, root mean square"] = np.sqrt((apart**2).mean(axis=1))
        table["excitatory couplings (%)"] = 100 * (apart > 0).mean(axis=1)
    return table


def _moves(held: States, pictures: Pictures) -> list[Block]:
    blocks: list[Block] = list(pictures("transitions", "dwell_times"))
    if held.n_states > 1:
        found = held.fit["transition"].transpose("state", "state_to")
        columns = {f"to state {k}": found.sel(state_to=k).to_numpy() for k in found["state_to"].to_numpy()}
        matrix = pd.DataFrame({"state": found["state"].to_numpy(), **columns})
        blocks.append(Table(matrix, f"Probability of the next {held.sample}'s state"))
    return blocks


def _number(held: States, pictures: Pictures) -> list[Block]:
    if held.scan is None:
        return []
    scan = held.scan
    score = scan["heldout_score"].transpose("n_states", "fold").to_numpy()
    gain = score - score[int(np.argmin(scan["n_states"].to_numpy()))]
    table = pd.DataFrame(
        {
            "states": scan["n_states"].to_numpy(),
            f"score ({held.per})": score.mean(axis=1),
            f"gain over the fewest ({held.per})": gain.mean(axis=1),
            "least gain of a fold": gain.min(axis=1),
            "standard error of the gain": gain.std(axis=1, ddof=1) / np.sqrt(gain.shape[1]),
        }
    )
    what = "whole sessions" if scan.attrs.get("cv") == "session" else "stretches of time"
    note = f"Held out: {what}, in {gain.shape[1]} folds."
    return [*pictures("heldout"), Table(table, "Score of data that the model has not seen", note)]


def _methods(
    held: States, recording: xr.DataTree | xr.DataArray | None, settings: Any, facts: Mapping[str, Any]
) -> list[Block]:
    paragraphs, cited = methods(held, settings, facts.get("versions"))
    return [*map(Text, paragraphs), References([*own_references(recording), *cited])]


def _cards(held: States, facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    made = [(f"{held.sample}s", f"{held.n_samples:,}", ""), ("states", f"{held.n_states}", "")]
    if held.n_units:
        made.insert(0, ("units", f"{held.n_units}", ""))
    if held.n_sessions > 1:
        made.insert(1, ("sessions", f"{held.n_sessions}", ""))
    if held.gain is not None:
        made.append(("held-out gain over one state", f"{held.gain[0]:+.3g}", held.per))
    if held.mean_visit:
        made.append(("mean visit to a state", *held.mean_visit))
    if "wall_time_s" in facts:
        made.append(("to compute", f"{float(facts['wall_time_s']):.3g}", "s"))
    return made


def _python(held: States, settings: Any, facts: Mapping[str, Any]) -> str:
    told = dataclasses.asdict(settings) if dataclasses.is_dataclass(settings) else dict(settings or {})  # type: ignore[arg-type]
    source = str(facts.get("source") or facts.get("recording") or "SOURCE")
    lines = ["import neurotools as nt", "", f"recording = nt.load({source!r})"]
    if held.choices:
        lines += [
            'data = recording["behaviour/choice"]',
            f"design = nt.choice_design(recording, n_back={told.get('n_back', 1)})",
        ]
        if told.get("regressors"):
            lines.append(f"design = design.sel(feature={list(told['regressors'])!r})")
    else:
        width = told.get("bin_width_s")
        lines.append(
            f"data = nt.bin_spikes(recording, width_s={width!r})"
            if width
            else 'data = recording["counts/counts"]'
        )
        lines.append(
            f"design = nt.glm_design(data, nt.{getattr(settings, 'history', 'ExponentialHistory()')})"
        )
    chosen = model_settings(held.fit)
    prior = chosen.pop("prior", {})
    inner = ", ".join(f"{key}={value!r}" for key, value in prior.items() if key != "type")
    given = ", ".join(f"{key}={value!r}" for key, value in chosen.items())
    lines += [
        f"model = nt.SwitchingGLM({given}, prior=nt.{prior.get('type')}({inner}))",
        "fit = model.fit(data, design)",
        "states = model.predict(fit, data, design)",
        "nt.plot.plot_state_prob(states)",
    ]
    return "\n".join(lines)
