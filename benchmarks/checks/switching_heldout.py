"""Spikes of three recordings that were held out, and whether hidden states foretell them."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import xarray as xr

import neurotools as nt
from benchmarks.record import Row, shared
from neurotools.errors import NeurotoolsWarning
from neurotools.evaluate.states import N_FOLDS, by_time


# ---- recordings -----------------------------------------------------------------------------------------
def motor_cortex() -> list[Row]:
    """Reaching macaque: the forty units with most spikes, all 777 s in bins of 50 ms."""
    recording = nt.load("m1-reaching")
    counts = most_active(recording["counts/counts"], 40)
    velocity = recording["behaviour/hand_velocity"]
    speed = np.hypot(velocity.sel(axis="x"), velocity.sel(axis="y")).to_numpy()
    phase = since(onsets(speed > 0.1, 10), counts.sizes["time"], lead=6, last=40)
    return held_out("M1", counts, phase, {"poisson": (1, 2, 3), "negative_binomial": (1,)})


def hippocampus() -> list[Row]:
    """Rat on a linear track: all units, all 1,968 s, bins of 100 ms; runs in two directions."""
    known = {
        "spikes": {"time": "spike_time_s", "unit": "spike_unit", "units": "s", "t_start": 4396.9975,
                   "t_stop": 6365.2707},
        "behaviour/x": {"name": "x_px", "dims": "time", "time": "pos_time_s", "repeats": "first",
                        "units": "px"},
    }  # fmt: skip
    recording = nt.load(shared("data/spikes_hpc_linear_track/linear_track_tidy.npz"), arrays=known)
    counts = nt.bin_spikes(recording, width_s=0.1)
    track = recording["behaviour/x"]
    x = np.interp(counts["time"].to_numpy() + 0.05, track["time"].to_numpy(), track.to_numpy())
    speed = np.gradient(np.convolve(x, np.ones(5) / 5, mode="same"), 0.1)
    right = since(onsets(speed > 20, 20), x.size, lead=0, last=80)
    left = since(onsets(speed < -20, 20), x.size, lead=0, last=80)
    phase = np.where(left < right, 81 + left, right)
    return held_out("hippocampus", counts, phase, {"poisson": (1, 2, 3), "negative_binomial": (1,)})


def visual_system() -> list[Row]:
    """CA1, LP and VISp of a mouse: 63 units, bins of 0.5 s, ten showings of a film of 30 s between rests."""
    folder = shared("data/glm_reference")
    known = {
        "counts/counts": {"dims": ("unit", "time"), "bin_width": 0.5},
        "counts/epoch": {"file": "allen_719161530_epoch_label.csv", "dims": "time", "bin_width": 0.5},
    }
    recording = nt.load(folder / "allen_719161530_counts_500ms.csv", arrays=known)
    film = recording["counts/epoch"].to_numpy() > 0
    phase = np.where(film, (np.arange(film.size) - 60) % 60, 60)
    counts = recording["counts/counts"].transpose("time", "unit")
    some = {"poisson": (1, 2, 3), "negative_binomial": (1, 2)}
    return held_out("CA1, LP and VISp", counts, phase, some)


def most_active(counts: xr.DataArray, n: int) -> xr.DataArray:
    """The ``n`` units with most spikes."""
    total = counts.sum("time").to_numpy()
    return counts.isel(unit=np.sort(np.argsort(total, kind="stable")[-n:]))


def onsets(on: np.ndarray, quiet: int) -> np.ndarray:
    """First samples of stretches that are on, none within ``quiet`` samples after another."""
    first = np.flatnonzero(on[1:] & ~on[:-1]) + 1
    kept: list[int] = []
    for at in first.tolist():
        if not kept or at - kept[-1] > quiet:
            kept.append(at)
    return np.array(kept)


def since(onset: np.ndarray, n: int, lead: int, last: int) -> np.ndarray:
    """Samples since ``lead`` before the latest onset, ``last`` where none is so near."""
    begun = np.searchsorted(onset - lead, np.arange(n), side="right") - 1
    away = np.where(begun >= 0, np.arange(n) - (onset - lead)[np.maximum(begun, 0)], last)
    return np.minimum(away, last)


# ---- scores ---------------------------------------------------------------------------------------------
RATES = nt.GaussianPrior(width=1e-3, shared_width=1e-3, learn=False)  # all weights held at nothing
WORDS = {"poisson": "Poisson", "negative_binomial": "negative binomial"}
Scores = dict[tuple[str, int], np.ndarray]  # (model, states) -> (causal or co-smoothing, fold)


def held_out(
    name: str, counts: xr.DataArray, phase: np.ndarray, numbers: dict[str, tuple[int, ...]]
) -> list[Row]:
    """Scores of five stretches of time that were held out in turn, in bits per spike."""
    warnings.simplefilter("ignore", NeurotoolsWarning)  # a fold may leave a unit without a spike
    base = nt.SwitchingGLM(n_states=1, n_restarts=2, max_iter=50, tol=1e-5, uncertainty="none")
    design = nt.glm_design(counts, nt.ExponentialHistory(decay=0.5))
    # A design of one column, whose weight is held at nothing, leaves each state its rates.
    bare = xr.DataArray(design.to_numpy()[:, :1], dims=("time", "feature"), coords={"feature": ["nothing"]})
    bare = bare.assign_coords(time=design["time"])
    scores: Scores = {}
    for family, some in numbers.items():
        for k in some:
            model = replace(base, family=family, n_states=k)
            scores[f"{WORDS[family]} GLM", k] = fold_scores(model, counts, design)
    for k in (2, 4, 8):
        scores["HMM of rates", k] = fold_scores(replace(base, prior=RATES, n_states=k), counts, bare)
    psth = psth_scores(counts.to_numpy(), phase)
    size = f"{counts.sizes['unit']} units, {counts.sizes['time']:,} bins"
    fano = float(np.nanmedian(counts.var("time", ddof=1) / counts.mean("time")))  # NaN: a silent unit
    return [
        Row(f"{name}, {size}: median variance over mean of counts", fano),
        *(score_row(f"{model}, {states(k)}", both[0]) for (model, k), both in scores.items()),
        score_row("smoothed PSTH", psth),
        *(
            score_row(f"co-smoothing: {model}, {states(k)}", both[1])
            for (model, k), both in scores.items()
        ),
        *compared(scores, psth),
    ]  # fmt: skip


def compared(scores: Scores, psth: np.ndarray) -> list[Row]:
    """What the switching Poisson GLM adds to each rival, paired by fold, and who does better."""
    best = best_of(scores, "Poisson GLM", least=2)
    ours = scores["Poisson GLM", best]
    rates = best_of(scores, "HMM of rates", least=2)
    rivals = {
        "the GLM of one state": scores["Poisson GLM", 1][0],
        f"the HMM of rates of {rates} states": scores["HMM of rates", rates][0],
        "the smoothed PSTH": psth,
    }
    gains = {rival: ours[0] - theirs for rival, theirs in rivals.items()}
    better = [rival for rival, gain in gains.items() if not gain.mean() > 0]
    rows = [
        score_row(f"gain of the Poisson GLM of {best} states over {r}", gain) for r, gain in gains.items()
    ]
    rows.append(
        Row("rivals that foretell no worse than it", len(better), note="; ".join(better) or
            "numbers of states are those with the best held-out score")
    )  # fmt: skip
    for (model, k), both in scores.items():
        if model == "negative binomial GLM":
            gain = both[0] - scores["Poisson GLM", k][0]
            rows.append(score_row(f"gain of negative binomial over Poisson, {states(k)}", gain))
    return rows


def best_of(scores: Scores, model: str, least: int) -> int:
    """Number of states, at least ``least``, with the best causal score."""
    some = [k for name, k in scores if name == model and k >= least]
    return max(some, key=lambda k: float(scores[model, k][0].mean()))


def states(k: int) -> str:
    """A number of states in words."""
    return "one state" if k == 1 else f"{k} states"


def fold_scores(model: nt.SwitchingGLM, counts: xr.DataArray, design: xr.DataArray) -> np.ndarray:
    """Causal score and co-smoothing (kind, fold) of stretches of time that the model has not seen."""
    fold, session = by_time(counts, "time")
    parts = [part.assign_coords(session=("time", session)) for part in (counts, design)]
    found = np.empty((2, N_FOLDS))
    for k in range(N_FOLDS):
        train, test = ([part.isel(time=where) for part in parts] for where in (fold != k, fold == k))
        fit = model.fit(*train)
        found[:, k] = [model.score(fit, *test, kind=kind) for kind in ("causal", "cosmoothing")]
    return found


def score_row(name: str, values: np.ndarray, note: str = "") -> Row:
    """Mean over folds with the range of folds."""
    return Row(name, float(values.mean()), interval=(float(values.min()), float(values.max())),
               unit="bit per spike", note=note)  # fmt: skip


def psth_scores(counts: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Held-out bits per spike of mean counts by phase, smoothed over two bins, on the same folds."""
    from scipy.ndimage import gaussian_filter1d

    fold = np.arange(len(counts)) * N_FOLDS // len(counts)
    found = np.empty(N_FOLDS)
    for k in range(N_FOLDS):
        train, test = fold != k, fold == k
        overall = counts[train].mean(axis=0)
        total = np.zeros((phase.max() + 1, counts.shape[1]))
        np.add.at(total, phase[train], counts[train])
        n = np.bincount(phase[train], minlength=len(total)).astype(float)
        # One sample at the mean rate in every phase, so that none has the rate zero.
        rate = gaussian_filter1d(total + overall, 2.0, axis=0) / gaussian_filter1d(n + 1, 2.0)[:, None]
        found[k] = bits(counts[test], rate[phase[test]])
    return found


def bits(counts: np.ndarray, rate: np.ndarray) -> float:
    """Poisson log likelihood above that of each unit's mean, in bits per spike."""
    mean = np.maximum(counts.mean(axis=0), 1e-12)
    rate = np.maximum(rate, 1e-12)
    gain = (counts * np.log(rate / mean) - (rate - mean)).sum()
    return float(gain / (counts.sum() * np.log(2)))
