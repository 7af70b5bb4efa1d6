"""The words of a page about a switching model: what was found, what was done, and what it does not say."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurotools.report.literature import LITERATURE
from neurotools.report.methods import COMPUTES, Cited, model_settings

FAMILIES = {
    "poisson": "Poisson",
    "negative_binomial": "negative binomial",
    "bernoulli": "Bernoulli",
    "gaussian": "normal",
}
NEAR = 1e-5  # relative to the objective, by which two starts count as having reached the same


@dataclass(frozen=True)
class States:
    """What a page is about, and the numbers that more than one part of it needs."""

    fit: xr.Dataset
    states: xr.Dataset
    scan: xr.Dataset | None
    visits: pd.DataFrame | None
    psychometric: xr.Dataset | None

    @property
    def choices(self) -> bool:
        """Whether the model is one of choices, not of a population."""
        return "unit_to" not in self.fit.dims

    @property
    def dim(self) -> str:
        """``time`` or ``trial``."""
        return "trial" if "trial" in self.states.dims else "time"

    @property
    def sample(self) -> str:
        """What one sample is called."""
        return "trial" if self.dim == "trial" else "bin"

    @property
    def per(self) -> str:
        """Unit of scores."""
        per = "trial" if self.choices else "spike"
        return f"bits per {per if self.scan is None else self.scan.attrs.get('per', per)}"

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return int(self.states.sizes[self.dim])

    @property
    def n_states(self) -> int:
        """Number of states."""
        return int(self.fit.sizes["state"])

    @property
    def n_units(self) -> int:
        """Number of units; 0 for choices."""
        return int(self.fit.sizes.get("unit_to", 0))

    @property
    def n_sessions(self) -> int:
        """Number of sessions, 1 where none are told apart."""
        return self._several("session")

    @property
    def n_subjects(self) -> int:
        """Number of subjects, 1 where none are told apart."""
        return self._several("subject")

    def _several(self, name: str) -> int:
        return int(np.unique(self.states[name].to_numpy()).size) if name in self.states.coords else 1

    @property
    def occupancy(self) -> np.ndarray:
        """Share of each state."""
        return np.asarray(self.fit["occupancy"].to_numpy())

    @property
    def step_s(self) -> float | None:
        """Seconds per sample, or None for trials."""
        if self.dim != "time" or self.n_samples < 2:
            return None
        return float(np.median(np.diff(self.states["time"].to_numpy())))

    @functools.cached_property
    def gain(self) -> tuple[float, float] | None:
        """Held-out gain over one state, paired by fold, and its standard error; None where not known."""
        if self.scan is None or self.n_states < 2:
            return None
        score = self.scan["heldout_score"]
        known = score["n_states"].to_numpy()
        if not {1, self.n_states} <= set(known.tolist()):
            return None
        each = (score.sel(n_states=self.n_states) - score.sel(n_states=1)).to_numpy()
        return float(each.mean()), float(each.std(ddof=1) / np.sqrt(each.size))

    @property
    def mean_visit(self) -> tuple[str, str] | None:
        """Mean length of a visit, with its unit."""
        if self.visits is None or self.n_states < 2 or not len(self.visits):
            return None
        if "duration_s" in self.visits:
            return f"{self.visits['duration_s'].mean():.3g}", "s"
        return f"{self.visits['n_samples'].mean():.3g}", f"{self.sample}s"

    @property
    def subtitle(self) -> str:
        """One sentence under the title."""
        if self.choices:
            return "What guides the choices, how that switches between hidden states, and when."
        return (
            f"How {self.n_units} units drive one another, how that switches between hidden states, and when."
        )


# ---- what was found ---------------------------------------------------------------------------------------
def sentence(held: States) -> str:
    """The result in one paragraph."""
    share = ", ".join(f"{100 * part:.0f}\u00a0%" for part in held.occupancy)
    what = (
        f"{held.n_samples:,} choices"
        if held.choices
        else f"Spikes of {held.n_units} units in {held.n_samples:,} bins"
    )
    where = f" of {held.n_subjects} subjects" if held.n_subjects > 1 else ""
    where += f" in {held.n_sessions} sessions" if held.n_sessions > 1 else ""
    text = f"{what}{where} are described by {held.n_states} state{'s' if held.n_states > 1 else ''}"
    if held.n_states > 1:
        text += f", which hold {share} of the {held.sample}s"
    text += "."
    if held.gain is not None:
        gain, error = held.gain
        text += (
            f" Data that the model has not seen are foretold {abs(gain):.3g} {held.per} "
            f"{'better' if gain > 0 else 'WORSE'} than by one state "
            f"(standard error {error:.2g})."
        )
    if held.mean_visit is not None:
        text += f" A visit to a state lasts {held.mean_visit[0]} {held.mean_visit[1]} on average."
    return text


def urgent(held: States) -> list[str]:
    """What must be read before any number."""
    points = []
    if held.gain is not None and held.gain[0] <= held.gain[1]:
        points.append(
            f"Several states do NOT foretell unseen data better than one by more than the standard error "
            f"({held.gain[0]:+.3g} ± {held.gain[1]:.2g} {held.per}). Do not read the states below as facts."
        )
    if not int(held.fit.attrs.get("converged", 0)):
        points.append(
            "The fit had not converged when it was stopped. Raise max_iter before using its numbers."
        )
    reached = same_optimum(held.fit)
    if reached is not None and reached[0] == 1:
        points.append(
            f"Only one of {reached[1]} starts reached the best objective; others ended at other "
            "descriptions. Raise n_restarts and see whether the states stay."
        )
    return points


def same_optimum(fit: xr.Dataset) -> tuple[int, int] | None:
    """How many starts reached the best objective, of how many; None for a single one."""
    values = fit["restart_objective"].to_numpy() if "restart_objective" in fit else np.empty(0)
    if values.size < 2:
        return None
    return int((values >= values.max() - NEAR * abs(values.max())).sum()), int(values.size)


def limits(held: States) -> list[str]:
    """Everything that a reader should know before citing the numbers."""
    points = [
        "A state is a set of weights that recurs, found from the data alone. It is not by itself attention, "
        "arousal or engagement: what it goes along with has to be shown by other measurements.",
        "Probabilities of states are given whole sessions, future included. Held-out scores are not: each "
        f"{held.sample} is foretold from the past of its session alone.",
    ]
    if held.choices:
        points.append(
            "Psychometric curves count each trial by the probability of its state, which was itself inferred "
            "from the choice: the curves of different states are further apart than the choices alone show."
        )
    else:
        points.append(
            "A coupling says that spikes of one unit foretell those of another, given all other recorded "
            "units. It is neither a synapse nor a cause, and an unrecorded common input can make it."
        )
    reached = same_optimum(held.fit)
    if reached is not None:
        points.append(f"{reached[0]} of {reached[1]} starts reached the best objective.")
    if held.scan is None:
        points.append("No data was held out, so the number of states is an assumption.")
    elif held.scan.attrs.get("cv") == "time":
        points.append(
            "Held-out data are stretches of one session: they share its slow drifts with the data that was "
            "fitted, and say nothing about other sessions."
        )
    if held.n_subjects > 1:
        points.append(
            f"The weights are shared by all {held.n_subjects} subjects; a state may be one subject's habit. "
            "The picture over time shows whether subjects share them."
        )
    return points


# ---- what was done ----------------------------------------------------------------------------------------
def methods(
    held: States, settings: Any, versions: Mapping[str, str] | None
) -> tuple[list[str], list[tuple[str, str]]]:
    """Paragraphs of a methods section, written from the settings that the fit carries, and references."""
    cite = Cited()
    told = dataclasses.asdict(settings) if dataclasses.is_dataclass(settings) else dict(settings or {})  # type: ignore[arg-type]
    paragraphs = [
        _data(held, told, settings, cite),
        _model(held, cite),
        _fitting(held, cite),
        _scores(held, cite),
        _software(held, versions),
    ]
    return [text for text in paragraphs if text], [LITERATURE[key][1:] for key in cite.keys]


def _data(held: States, told: Mapping[str, Any], settings: Any, cite: Cited) -> str:
    if held.choices:
        names = ", ".join(str(name) for name in held.fit["feature"].to_numpy())
        return f"{held.n_samples:,} choices between two alternatives were regressed on {names}, and a bias."
    width = f" in bins of {held.step_s:.4g} s" if held.step_s else ""
    history = getattr(settings, "history", None)
    text = f"Spikes of {held.n_units} units were counted{width}; {held.n_samples:,} bins were analysed."
    if type(history).__name__ == "RaisedCosine":
        text += (
            f" Each unit's past spikes entered through {told['history']['n']} raised cosines that reach "
            f"{told['history']['last_s']:g} s back {cite('pillow')}."
        )
    elif type(history).__name__ == "ExponentialHistory":
        text += (
            f" Each unit's past spikes entered through one exponential of decay {told['history']['decay']:g} "
            "per "
            f"bin over {told['history']['n_lags']} bins."
        )
    return text


def _model(held: States, cite: Cited) -> str:
    chosen = model_settings(held.fit)
    family = FAMILIES.get(str(chosen.get("family")), str(chosen.get("family")))
    link = chosen.get("link", "auto")
    link = (
        {"bernoulli": "sigmoid", "gaussian": "identity"}.get(str(chosen.get("family")), "softplus")
        if link == "auto"
        else link
    )
    whose = "the animal" if held.choices else "all units"
    source = cite("ashwood", "escola") if held.choices else cite("escola")
    return (
        f"A generalised linear model ({family}, link {link}) had weights that switch with one hidden state "
        "of "
        f"{whose}, a Markov chain of {held.n_states} state{'s' if held.n_states > 1 else ''} that begins "
        "anew with "
        f"each session {source}. {_prior(chosen.get('prior', {}), cite)} Transitions had "
        f"{chosen.get('stickiness'):g} pseudo-counts of staying in each state."
    )


def _prior(prior: Mapping[str, Any], cite: Cited) -> str:
    if prior.get("type") == "RidgePrior":
        return f"Weights had a normal prior around zero of precision {prior['strength']:g}."
    if prior.get("type") == "GaussianPrior":
        how = (
            f"whose widths were learned by the evidence {cite('mackay')}"
            if prior.get("learn")
            else f"of width {prior['width']:.3g} (the shared part {prior['shared_width']:.3g})"
        )
        return f"Weights of the states had a normal prior around a part that all states share, {how}."
    rest = ", ".join(f"{key} {value}" for key, value in prior.items() if key != "type")
    return f"The prior on weights was {prior.get('type', 'not recorded')}" + (f" ({rest})." if rest else ".")


def _fitting(held: States, cite: Cited) -> str:
    chosen, fit = model_settings(held.fit), held.fit
    ended = (
        "it converged" if int(fit.attrs.get("converged", 0)) else "it had NOT converged when it was stopped"
    )
    return (
        f"It was fitted by expectation-maximisation {cite('dempster')} to a maximum a posteriori estimate, "
        f"with exact posteriors over states {cite('rabiner')} and damped Fisher scoring of the weights, from "
        f"{chosen.get('n_restarts')} starts (seed {chosen.get('seed')}), three of every four from windows of "
        "the data grouped by k-means, of which the one with the highest "
        f"objective was kept; {ended} after {fit.attrs.get('n_iter', '?')} iterations at a log likelihood of "
        f"{float(fit.attrs.get('log_likelihood', float('nan'))):.6g} nats. Computed in {chosen.get('dtype')} "
        "on "
        f"{chosen.get('device')}."
    )


def _scores(held: States, cite: Cited) -> str:
    if held.scan is None:
        return ""
    scan = held.scan
    folds = scan.sizes["fold"]
    what = "whole sessions" if scan.attrs.get("cv") == "session" else "stretches of time"
    numbers = ", ".join(str(k) for k in scan["n_states"].to_numpy())
    return (
        f"Models of {numbers} states were compared by {what} held out in {folds} folds: the log likelihood "
        "of each "
        f"{held.sample} given the past of its session, in {held.per} above the mean rate of the held-out "
        "data. "
        f"The smallest number of states within one standard error of the best, over paired folds, is "
        f"{scan.attrs.get('selected_n_states')}."
    )


def _software(held: States, versions: Mapping[str, str] | None) -> str:
    found = dict(versions or {})
    own = found.pop("neurotools", held.fit.attrs.get("neurotools_version", "of unknown version"))
    rest = ", ".join(f"{name} {found[name]}" for name in COMPUTES if name in found)
    return f"Software: neurotools {own}" + (f" with {rest}." if rest else ".")


# ---- captions -------------------------------------------------------------------------------------------
Told = tuple[str, str, str]  # title, caption, alternative text


def caption(name: str, held: States) -> Told:
    """Title, caption and alternative text of a figure by its name; a plain one for names not known."""
    if name in CAPTIONS:
        return CAPTIONS[name](held)
    words = name.replace("_", " ")
    return words.capitalize() + ".", "", f"Figure of this analysis: {words}."


def _weights(held: States) -> Told:
    wide = held.fit["feature_weight"].transpose("state", "feature")
    tops = [str(wide["feature"].to_numpy()[np.argmax(np.abs(row))]) for row in wide.to_numpy()]
    told = ", ".join(f"state {k} most by {top}" for k, top in enumerate(tops))
    return (
        "What guides a choice in each state.",
        "Log odds of choice 1 per unit of each regressor; zero has no influence.",
        f"Dots of weights, one colour per state: {told}.",
    )


def _psychometric(held: States) -> Told:
    return (
        "How the stimulus decides in each state.",
        "Dots: share of choices of 1, each trial counted by the probability of its state, with 90 % "
        "intervals; lines: "
        "what the weights say, the other regressors being as they were.",
        f"Curves from 0 to 1 against the stimulus, one for each of {held.n_states} states.",
    )


def _state_prob(held: States) -> Told:
    marks = (
        " Brackets above: sessions" + (" and subjects." if held.n_subjects > 1 else ".")
        if held.n_sessions > 1
        else ""
    )
    return (
        "When each state holds.",
        f"Probability of each state given whole sessions; the colours fill the height.{marks}",
        f"Stacked bands of {held.n_states} states over {held.n_samples:,} {held.sample}s; they hold "
        + ", ".join(f"{100 * part:.0f} %" for part in held.occupancy) + ".",
    )  # fmt: skip


def _couplings(held: States) -> Told:
    return (
        "Couplings in each state.",
        "Each row is driven by the units along the columns: brown excites, blue inhibits. One scale for all "
        "states, set by "
        "the largest coupling between different units.",
        f"{held.n_states} matrices of {held.n_units} by {held.n_units} units.",
    )


def _graphs(held: States) -> Told:
    return (
        "The same as graphs.",
        "The strongest links over all states: arrows excite, bars inhibit. The fill of a dot is what a unit "
        "does to itself.",
        f"{held.n_states} circles of {held.n_units} units joined by arrows and bars.",
    )


def _changes(held: States) -> Told:
    return (
        "What changes with the state.",
        "Couplings of each state less their mean over the states; white does not change.",
        f"{held.n_states} matrices of differences.",
    )


def _transitions(held: States) -> Told:
    stay = np.diag(held.fit["transition"].to_numpy())
    return (
        "Moves between states.",
        "Area of a disc: how often the state holds; width of an arrow: how probable its move is from one "
        f"{held.sample} "
        "to the next.",
        "Discs joined by arrows; probabilities of staying: "
        + ", ".join(f"{value:.3f}" for value in stay)
        + ".",
    )


def _dwell(held: States) -> Told:
    return (
        "How long states last.",
        "Every visit of the most probable path; hollow: cut short by the edge of a session; line: median, in "
        "which these count as at least so long.",
        "Rows of dots on a logarithmic axis, one row per state.",
    )


def _heldout(held: States) -> Told:
    gain = "" if held.gain is None else f" The fitted number gains {held.gain[0]:+.3g} {held.per} over one."
    return (
        "Are several states needed?",
        "What more states gain on unseen data; bars: one standard error over folds; grey: each fold.",
        f"Line of held-out gains against the number of states.{gain}",
    )


CAPTIONS: dict[str, Callable[[States], Told]] = {
    "weights": _weights, "psychometric": _psychometric, "state_prob": _state_prob, "couplings": _couplings,
    "coupling_graphs": _graphs, "coupling_changes": _changes, "transitions": _transitions,
    "dwell_times": _dwell, "heldout": _heldout,
}  # fmt: skip
