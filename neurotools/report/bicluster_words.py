"""What the page of a bi-clustering says: the finding, its limits, captions, methods and references."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurotools.report.methods import COMPUTES, Methods, model_settings, own_references

LITERATURE = {
    "wei": (
        "Wei G (2024). Bayesian bi-clustering of neural spiking activity with latent structures. "
        "International Conference on Learning Representations (ICLR).",
        "10.48550/arXiv.2309.02213",
    ),
    "polson": (
        "Polson NG, Scott JG, Windle J (2013). Bayesian inference for logistic models using Pólya-Gamma "
        "latent variables. Journal of the American Statistical Association 108, 1339-1349.",
        "10.1080/01621459.2013.829001",
    ),
    "miller": (
        "Miller JW, Harrison MT (2018). Mixture models with a prior on the number of components. Journal of "
        "the American Statistical Association 113, 340-356.",
        "10.1080/01621459.2016.1255636",
    ),
    "fox": (
        "Fox EB, Sudderth EB, Jordan MI, Willsky AS (2011). A sticky HDP-HMM with application to speaker "
        "diarization. Annals of Applied Statistics 5, 1020-1056.",
        "10.1214/10-AOAS395",
    ),
    "neal": (
        "Neal RM (2000). Markov chain sampling methods for Dirichlet process mixture models. Journal of "
        "Computational and Graphical Statistics 9, 249-265.",
        "10.1080/10618600.2000.10474879",
    ),
    "wade": (
        "Wade S, Ghahramani Z (2018). Bayesian cluster analysis: point estimation and credible balls. "
        "Bayesian Analysis 13, 559-626.",
        "10.1214/17-BA1073",
    ),
    "vehtari": (
        "Vehtari A, Gelman A, Simpson D, Carpenter B, Bürkner P-C (2021). Rank-normalization, folding, and "
        "localization: an improved R-hat for assessing convergence of MCMC. Bayesian Analysis 16, 667-718.",
        "10.1214/20-BA1221",
    ),
    "czado": (
        "Czado C, Gneiting T, Held L (2009). Predictive model assessment for count data. Biometrics 65, "
        "1254-1261.",
        "10.1111/j.1541-0420.2009.01191.x",
    ),
}
LOSSES = {
    "vi": "the variation of information",
    "binder": "Binder's loss",
    "pear": "one minus the adjusted Rand index",
}
FAMILIES = {"nb": "negative binomial", "poisson": "Poisson"}
UNSURE = 0.7  # of the confidence of a unit, below which it is named


@dataclass(frozen=True)
class Found:
    """The results that a page is about."""

    post: xr.DataTree
    partition: xr.Dataset
    convergence: xr.Dataset | None
    check: xr.Dataset | None

    @property
    def sizes(self) -> np.ndarray:
        """Units in each cluster."""
        return np.bincount(self.partition["unit_label"].to_numpy())

    @property
    def occupancy(self) -> np.ndarray:
        """Share of time in each state."""
        return np.bincount(self.partition["state_label"].to_numpy()) / self.partition.sizes["time"]

    def interval(self, name: str) -> tuple[int, int]:
        """The 5 % and 95 % quantile of a number over all draws."""
        low, high = np.quantile(self.post["posterior"][name].to_numpy(), (0.05, 0.95))
        return int(np.floor(low)), int(np.ceil(high))


def _span(pair: tuple[int, int]) -> str:
    return f"{pair[0]}" if pair[0] == pair[1] else f"{pair[0]} to {pair[1]}"


def sentence(found: Found) -> str:
    """The result in one paragraph."""
    n_units, n_time = found.partition.sizes["unit"], found.partition.sizes["time"]
    clusters, states = int(found.partition["n_clusters"]), int(found.partition["n_states"])
    groups = ", ".join(map(str, found.sizes))
    held = ", ".join(f"{100 * share:.0f} %" for share in found.occupancy)
    return (
        f"The partition of {n_units} units that lies nearest to all draws has {clusters} "
        f"cluster{'s' * (clusters != 1)} ({groups} units); 90 % of the draws have "
        f"{_span(found.interval('n_clusters'))}. Over {n_time:,} bins it has {states} "
        f"state{'s' * (states != 1)} ({held} of the time); 90 % of the draws visit "
        f"{_span(found.interval('n_states'))}."
    )


def cards(found: Found, facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Key numbers: (what it is, value, unit)."""
    width = float(found.post.attrs.get("bin_width", float("nan")))
    made = [
        ("units", f"{found.partition.sizes['unit']:,}", ""),
        ("analysed", f"{found.partition.sizes['time'] * width:.4g}", "s"),
        ("bins of", f"{width:g}", "s"),
        ("clusters", f"{int(found.partition['n_clusters'])}", ""),
        ("states", f"{int(found.partition['n_states'])}", ""),
        ("mean confidence of units", f"{float(found.partition['unit_confidence'].mean()):.2f}", "of 1"),
    ]
    if found.convergence is not None:
        made.append(("largest R-hat", f"{found.convergence.attrs['worst_rhat']:.3f}", ""))
        made.append(("least effective draws", f"{found.convergence.attrs['least_ess']:.0f}", ""))
    if "wall_time_s" in facts:
        made.append(("to compute", f"{float(facts['wall_time_s']):.3g}", "s"))
    return made


# ---- what a reader must know ------------------------------------------------------------------------------
def urgent(found: Found) -> list[str]:
    """What must be read before any number: chains that do not agree, counts that are not foretold."""
    points = []
    if found.convergence is not None and not int(found.convergence.attrs["converged"]):
        told = found.convergence.attrs
        points.append(
            f"The chains have not converged: the largest R-hat is {told['worst_rhat']:.3f} "
            f"({told['worst']}; at most {told['max_rhat']:g} is asked for), the least number of effective "
            f"draws {told['least_ess']:.0f} ({told['least']}; at least {told['min_ess']:g}). Take more "
            "draws and a longer tune before using these partitions."
        )
    if found.post["posterior"].sizes["chain"] < 2:
        points.append("There is one chain: whether another would find the same partitions is not known.")
    if found.check is not None:
        inside = float(found.check["coverage"].isel(seen=-1).sel(level=0.9, method="nearest"))
        if abs(inside - 0.9) > 0.03:
            points.append(
                f"{100 * inside:.1f} % of the counts lie in their 90 % predictive interval: the model does "
                "not describe how counts vary."
            )
    return points


def limits(found: Found) -> list[str]:
    """Everything that a reader should know before citing the numbers."""
    sure = found.partition["unit_confidence"].to_numpy()
    weak = found.partition["unit"].to_numpy()[sure < UNSURE]
    points = [
        "A cluster is a set of units that share a latent, not a region or a type of cell.",
        "A state is a rule by which latents move, not a level of activity: stretches of equal rates may "
        "be two states, and stretches of different rates one.",
        "Each unit is in one cluster. Units that work with two groups end up in one of them, or alone.",
        "Clusters can be traded for latents: compare held-out scores of other latent_dim before reading "
        "meaning into their number.",
        "The prior on the noise of latents is informative; nt.sensitivity shows how much depends on it.",
    ]
    left_out = str(found.post.attrs.get("units_left_out", ""))
    if left_out:
        points.insert(0, f"Units that fire too rarely were left out: {left_out}.")
    if weak.size:
        names = ", ".join(map(str, weak[:12])) + (" ..." if weak.size > 12 else "")
        points.insert(
            0, f"{weak.size} units share their cluster with a mean probability below {UNSURE:g}: {names}."
        )
    return points


# ---- captions ------------------------------------------------------------------------------------------
Told = tuple[str, str, str]  # title, caption, alternative text


def caption(name: str, found: Found) -> Told:
    """Title, caption and alternative text of a figure by its name; a plain one for names not known."""
    if name in CAPTIONS:
        return CAPTIONS[name](found)
    words = name.replace("_", " ").capitalize()
    return words + ".", "", f"Figure of this analysis: {words}."


def _states(found: Found) -> Told:
    held = ", ".join(f"state {k} {100 * share:.0f} %" for k, share in enumerate(found.occupancy))
    return (
        "When each state holds.",
        "Stacked: share of the draws in each state. Below: the partition nearest to all draws. Events, "
        "stimulus and behaviour, where the recording has them, stand above.",
        f"Stacked bands over time. Share of time: {held}.",
    )


def _latents(found: Found) -> Told:
    return (
        "What the units of each cluster share.",
        "Dark: the level that all units of a cluster share; in colour the latents that each weighs in its "
        "own way, along principal axes. Bands hold 90 % of the posterior; shading is the state.",
        f"{found.sizes.size} rows of traces over time, one for each cluster.",
    )


def _units(found: Found) -> Told:
    return (
        "Which units share a cluster.",
        "Posterior probability of every pair, sorted by the clusters of the estimate, framed and numbered; "
        "those that are surest come first.",
        f"A square matrix with {found.sizes.size} framed blocks of {', '.join(map(str, found.sizes))} units.",
    )


def _moments(found: Found) -> Told:
    return (
        "Which moments share a state.",
        "Posterior probability of pairs of bins (at most 300 of them), sorted by state and time.",
        f"A square matrix with {found.occupancy.size} framed blocks.",
    )


def _flow(found: Found) -> Told:
    return (
        "The rules of each state.",
        "Where the latents of a cluster (rows) go in one bin from any place, in each state (columns). "
        "Lengths are relative within a panel; the longest is written above it.",
        "Panels of arrows, one for each cluster and state.",
    )


def _numbers(found: Found) -> Told:
    clusters, states = _span(found.interval("n_clusters")), _span(found.interval("n_states"))
    return (
        "How many there are.",
        "Share of draws for each number of clusters and of states; dots are chains.",
        f"Two bar charts. 90 % of the draws: {clusters} clusters, {states} states.",
    )


def _rates(found: Found) -> Told:
    return (
        "Rates over counts.",
        "The most active unit of each of the largest clusters: counts in grey, the rate and a band that "
        "holds 90 % of the posterior.",
        "Counts of a few units over time with their estimated rates.",
    )


def _chains(found: Found) -> Told:
    told = "" if found.convergence is None else f" Largest: {found.convergence.attrs['worst_rhat']:.3f}."
    return (
        "Do the chains agree?",
        "R-hat of everything that does not depend on how clusters are numbered; 1 is agreement.",
        f"Dots in rows, one row for each kind of quantity.{told}",
    )


def _calibration(found: Found) -> Told:
    return (
        "Are counts foretold as they fall?",
        "Randomised probability integral transform: level when the predictive distribution is right. Counts "
        "that the model was fitted to flatter it.",
        "A histogram of twenty bins against a level line.",
    )


CAPTIONS: dict[str, Callable[[Found], Told]] = {
    "states": _states, "latents": _latents, "units": _units, "state_similarity": _moments, "flow": _flow,
    "numbers": _numbers, "rates": _rates, "convergence": _chains, "calibration": _calibration,
}  # fmt: skip


# ---- methods ------------------------------------------------------------------------------------------
def methods(
    found: Found, recording: xr.DataTree | xr.DataArray | None, versions: Mapping[str, str] | None
) -> Methods:
    """What was done, in paragraphs, with references: written from the settings that the result carries."""
    told, chosen = found.post.attrs, _settings(found.post)
    n_units, n_time = found.partition.sizes["unit"], found.partition.sizes["time"]
    family = FAMILIES.get(str(chosen.get("family")), str(chosen.get("family")))
    paragraphs = [
        f"Counts of {n_units} units in {n_time:,} bins of {float(told.get('bin_width', 0)):g} s were "
        f"clustered by a Bayesian bi-clustering model (Wei, 2024): {family} counts, "
        f"{chosen.get('latent_dim')} latents for each cluster beside a shared level, "
        f"{chosen.get('dynamics')} linear dynamics that switch with one hidden state.{_priors(chosen)}",
        f"The posterior was sampled by Markov chain Monte Carlo with Pólya-Gamma augmentation (Polson et "
        f"al., 2013), joint draws of all latents along time, and loadings integrated out where units change "
        f"clusters (Neal, 2000): {told.get('chains')} chains of {told.get('draws')} draws after "
        f"{told.get('tune')} that were discarded, seed {told.get('seed')}. Convergence was judged on "
        "quantities that do not depend on labels (Vehtari et al., 2021).",
        f"The partitions reported minimise the mean of {LOSSES.get(found.partition.attrs['loss'])} over "
        f"{found.partition.attrs['n_draws']} draws (Wade and Ghahramani, 2018). Counts were compared with "
        "their predictive distribution by randomised probability integral transforms (Czado et al., 2009).",
        _software(told, versions),
    ]
    return Methods(tuple(paragraphs), (*own_references(recording), *LITERATURE.values()))


def _settings(post: xr.DataTree) -> dict[str, Any]:
    return model_settings(xr.Dataset(attrs=post.attrs))


def _priors(chosen: Mapping[str, Any]) -> str:
    said = []
    for name, what, work in (
        ("unit_prior", "clusters", "Miller and Harrison, 2018"), ("state_prior", "states", "Fox et al., 2011")
    ):  # fmt: skip
        prior = dict(chosen.get(name) or {})
        kind = prior.pop("type", None)
        if kind:
            numbers = ", ".join(f"{key} {value}" for key, value in prior.items() if value is not None)
            said.append(f" Prior of {what}: {kind} ({numbers}; {work}).")
    return "".join(said)


def _software(told: Mapping[Any, Any], versions: Mapping[str, str] | None) -> str:
    packages = dict(versions or {})
    own = packages.pop("neurotools", told.get("neurotools_version", "of unknown version"))
    rest = ", ".join(f"{name} {packages[name]}" for name in COMPUTES if name in packages)
    return f"Software: neurotools {own}" + (f" with {rest}." if rest else ".")
