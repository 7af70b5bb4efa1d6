"""Switching GLMs on recordings: choices of mice, and whether states foretell spikes that were held out."""

from __future__ import annotations

import numpy as np
import xarray as xr

import neurotools as nt
from benchmarks.peers import run_peer
from benchmarks.record import Row, shared
from benchmarks.recordings import CHOICES

MOUSE = "data/behaviour_mouse_2afc_glmhmm"
N_FOLDS = 5


# ---- choices of mice ------------------------------------------------------------------------------------
def mouse_data() -> tuple[xr.DataArray, xr.DataArray]:
    """49,177 choices of 13 mice with their design."""
    recording = nt.load(shared(MOUSE), labels=CHOICES)
    return recording["behaviour/choice"], nt.choice_design(recording, n_back=0)


def mouse_choices() -> list[Row]:
    """Five folds of whole sessions, balanced over mice; one to three states; the laser in each state."""
    choice, design = mouse_data()
    model = nt.SwitchingGLM(n_states=3, family="bernoulli", n_restarts=4)
    scan = nt.select_states(model, choice, design, n_states=(1, 2, 3))
    score = scan["heldout_score"]
    gain = (score.sel(n_states=3) - score.sel(n_states=1)).to_numpy()
    two = (score.sel(n_states=2) - score.sel(n_states=1)).to_numpy()
    fit = model.fit(choice, design)
    laser = np.sort(np.abs(fit["feature_weight"].sel(feature="laser").to_numpy()))
    stay = np.diag(fit["transition"].to_numpy())
    per = "bit per trial"
    return [
        Row("gain of three states over one, mean of five folds", float(gain.mean()), ">= 0.015",
            interval=(float(gain.min()), float(gain.max())), unit=per,
            note="another implementation, one split: .019"),
        *(Row(f"the same, fold {k}", float(value), ">= 0", unit=per) for k, value in enumerate(gain)),
        Row("gain of two states over one, mean of five folds", float(two.mean()), unit=per),
        Row("gain of three states over two, mean of five folds", float((gain - two).mean()), unit=per,
            interval=(float((gain - two).min()), float((gain - two).max()))),
        Row("laser weight of one state over the next largest", float(laser[-1] / laser[-2]), ">= 3",
            note=f"{', '.join(f'{w:.2f}' for w in laser)}; one state carries the laser, as published"),
        Row("least probability of staying", float(stay.min()), note="published .987 to .997"),
    ]  # fmt: skip


def mouse_peer() -> list[Row]:
    """Our log likelihood and optimum beside dynamax's logistic HMM, same data, same priors."""
    choice, design = mouse_data()
    # A peer's learning takes sessions of one length only: the first hundred trials of those that have them.
    session = choice["session"].to_numpy()
    place = np.arange(session.size) - np.searchsorted(session, session)
    long = np.isin(session, np.flatnonzero(np.bincount(session) >= TRIALS)) & (place < TRIALS)
    part, columns = choice.isel(trial=long), design.isel(trial=long)
    prior = nt.RidgePrior(strength=1e-4)
    model = nt.SwitchingGLM(
        n_states=3, family="bernoulli", prior=prior, n_restarts=1, tol=1e-12, max_iter=2000
    )
    fit = model.fit(part, columns)
    whole = model.predict(fit, choice, design)
    given = parameters(fit)
    lengths = np.bincount(session)
    found = run_peer(
        "dynamax_choices", **given, x=design.to_numpy(), y=choice.to_numpy(), lengths=lengths,
        x_equal=columns.to_numpy().reshape(-1, TRIALS, columns.shape[1]),
        y_equal=part.to_numpy().reshape(-1, TRIALS),
    )  # fmt: skip
    ours = float(whole["log_likelihood"].sum())
    theirs = float(found["log_likelihood"])
    after = {name: found[f"after_{name}"] for name in given}
    rise = objective(model, with_parameters(fit, after), part, columns) - objective(model, fit, part, columns)
    return [
        Row("log likelihood of all 49,177 choices at our parameters", ours, unit="nat"),
        Row("relative difference of dynamax's at the same parameters", abs(theirs / ours - 1), "<= 1e-8"),
        Row("what dynamax's learning adds to our optimum", rise, "<= 1e-6", unit="nat",
            note=f"{int(found['n_iter'])} of its iterations from our optimum; {long.sum():,} choices, same "
            f"priors, {TRIALS} trials of each session; below 0: it ends lower"),
    ]  # fmt: skip


TRIALS = 100


def parameters(fit: xr.Dataset) -> dict[str, np.ndarray]:
    """Parameters of a fit to choices as plain arrays."""
    return {
        "initial": fit["initial_prob"].to_numpy(), "transition": fit["transition"].to_numpy(),
        "weights": fit["feature_weight"].transpose("state", "feature").to_numpy(),
        "biases": fit["bias"].to_numpy(),
    }  # fmt: skip


def with_parameters(fit: xr.Dataset, values: dict[str, np.ndarray]) -> xr.Dataset:
    """A fit with other parameters."""
    return fit.assign(
        initial_prob=("state", values["initial"]), transition=(("state", "state_to"), values["transition"]),
        feature_weight=(("state", "feature"), values["weights"]), bias=("state", values["biases"]),
    )  # fmt: skip


def objective(model: nt.SwitchingGLM, fit: xr.Dataset, choice: xr.DataArray, design: xr.DataArray) -> float:
    """Log posterior up to a constant: evidence, sticky prior, start of sessions, ridge on the weights."""
    total = float(model.predict(fit, choice, design)["log_likelihood"].sum())
    total += model.stickiness * float(np.log(np.diag(fit["transition"])).sum())
    total += float(np.log(fit["initial_prob"]).sum())
    ridge = model.prior.strength * float((fit["feature_weight"] ** 2).sum())
    return total - 0.5 * (ridge + float((fit["bias"] ** 2).sum()) / 100.0**2)


# ---- spikes that were held out --------------------------------------------------------------------------
# Switching GLM, one-state GLM, hidden Markov model of rates, smoothed PSTH, and negative binomial counts.
def motor_cortex() -> list[Row]:
    """Reaching macaque: the fifteen units with most spikes, 300 s in bins of 50 ms."""
    recording = nt.load("m1-reaching")
    counts = most_active(recording["counts/counts"].isel(time=slice(0, 6000)), 15)
    velocity = recording["behaviour/hand_velocity"].isel(time=slice(0, 6000))
    speed = np.hypot(velocity.sel(axis="x"), velocity.sel(axis="y")).to_numpy()
    phase = since(onsets(speed > 0.1, 10), counts.sizes["time"], lead=6, last=40)
    return held_out("M1, 15 units", counts, phase, (1, 2, 3))


def hippocampus() -> list[Row]:
    """Rat on a linear track: all units, the first 600 s, bins of 100 ms; runs in two directions."""
    known = {
        "spikes": {"time": "spike_time_s", "unit": "spike_unit", "units": "s", "t_start": 4396.9975,
                   "t_stop": 6365.2707},
        "behaviour/x": {"name": "x_px", "dims": "time", "time": "pos_time_s", "repeats": "first",
                        "units": "px"},
    }  # fmt: skip
    recording = nt.load(shared("data/spikes_hpc_linear_track/linear_track_tidy.npz"), arrays=known)
    counts = nt.bin_spikes(recording, width_s=0.1).isel(time=slice(0, 6000))
    track = recording["behaviour/x"]
    x = np.interp(counts["time"].to_numpy() + 0.05, track["time"].to_numpy(), track.to_numpy())
    speed = np.gradient(np.convolve(x, np.ones(5) / 5, mode="same"), 0.1)
    right = since(onsets(speed > 20, 20), x.size, lead=0, last=80)
    left = since(onsets(speed < -20, 20), x.size, lead=0, last=80)
    return held_out("hippocampus, 31 units", counts, np.where(left < right, 81 + left, right), (1, 2, 3))


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
    return held_out("CA1, LP and VISp, 63 units", recording["counts/counts"], phase, (1, 2, 3))


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


def held_out(name: str, counts: xr.DataArray, phase: np.ndarray, numbers: tuple[int, ...]) -> list[Row]:
    """Scores of stretches of time, five folds, causal, in bits per spike."""
    design = nt.glm_design(counts, nt.ExponentialHistory(decay=0.5))
    base = nt.SwitchingGLM(n_states=1, n_restarts=1, max_iter=50, tol=1e-6)
    rates = nt.GaussianPrior(width=1e-3, shared_width=1e-3, learn=False)  # couplings held at nothing
    models = {
        "switching GLM": base,
        "hidden Markov model of rates": replaced(base, prior=rates),
        "negative binomial switching GLM": replaced(base, family="negative_binomial"),
    }
    rows, scores = [], {}
    for label, model in models.items():
        some = numbers if label != "negative binomial switching GLM" else numbers[:2]
        scan = nt.select_states(model, counts, design, n_states=some, cv="time")
        for k in some:
            scores[label, k] = scan["heldout_score"].sel(n_states=k).to_numpy()
            rows.append(score_row(f"{name}: {told(label, k)}", scores[label, k]))
    scores["smoothed PSTH", 1] = psth_scores(counts.to_numpy(), phase)
    rows.append(score_row(f"{name}: smoothed PSTH", scores["smoothed PSTH", 1]))
    best = max(numbers[1:], key=lambda k: scores["switching GLM", k].mean())
    ours = scores["switching GLM", best]
    rivals = {
        "the GLM of one state": scores["switching GLM", 1],
        "the hidden Markov model of rates, its best": max(
            (scores["hidden Markov model of rates", k] for k in numbers), key=np.mean
        ),
        "the smoothed PSTH": scores["smoothed PSTH", 1],
    }
    for rival, theirs in rivals.items():
        rows.append(
            score_row(f"{name}: gain of the switching GLM of {best} states over {rival}", ours - theirs)
        )
    fano = float(np.nanmedian(counts.var("time", ddof=1) / counts.mean("time")))  # NaN: a silent unit
    for k in numbers[:2]:
        gain = scores["negative binomial switching GLM", k] - scores["switching GLM", k]
        what = f"{name}: gain of negative binomial over Poisson, {k} state{'s' * (k > 1)}"
        rows.append(score_row(what, gain, f"median variance over mean {fano:.2f}"))
    return rows


def replaced(model: nt.SwitchingGLM, **settings: object) -> nt.SwitchingGLM:
    """The model with other settings."""
    import dataclasses

    return dataclasses.replace(model, **settings)


def told(label: str, k: int) -> str:
    """A model and its number of states in words."""
    if k > 1:
        return f"{label}, {k} states"
    return {
        "switching GLM": "GLM of one state",
        "hidden Markov model of rates": "mean rate of other stretches",
    }.get(label, "negative binomial GLM of one state")


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


# ---- another package's GLM ------------------------------------------------------------------------------
def one_state_oracle() -> list[Row]:
    """Couplings of one state beside those of nemos: same basis, same penalty, its own convolution."""
    counts, kernel, strength = oracle_case()
    found = run_peer("nemos_glm", counts=counts, kernel=kernel, strength=np.array(strength))
    ours = oracle_fit(counts, strength)
    away = {name: float(np.abs(ours[name] - found[name]).max()) for name in ours}
    return [
        Row("couplings, largest difference", away["weights"], "<= 1e-5"),
        Row("biases, largest difference", away["biases"], "<= 1e-5"),
        Row("largest coupling", float(np.abs(ours["weights"]).max())),
    ]  # fmt: skip


def oracle_case() -> tuple[np.ndarray, np.ndarray, float]:
    """Counts (time, unit) of a simulated population, functions of the lag (lag, basis), and a penalty."""
    recording, _ = nt.simulate.switching_population(
        n_units=4, n_states=1, n_sessions=1, duration_s=60, seed=3
    )
    return recording["counts/counts"].to_numpy(), oracle_basis().weights(0.02).T, 2.0


def oracle_basis() -> nt.RaisedCosine:
    """Three raised cosines over 0.2 s."""
    return nt.RaisedCosine(n=3, last_s=0.2)


def oracle_fit(counts: np.ndarray, strength: float) -> dict[str, np.ndarray]:
    """Our couplings (sends, basis, receives) and biases, from the first sample with a whole history on."""
    from neurotools import schema

    array = schema.counts_array(counts, bin_width=0.02)
    design = nt.glm_design(array, oracle_basis()).isel(time=slice(10, None))
    model = nt.SwitchingGLM(n_states=1, prior=nt.RidgePrior(strength=strength), tol=0.0)
    fit = model.fit(array.isel(time=slice(10, None)), design)
    return {
        "weights": fit["weight"][0].transpose("unit", "basis", "unit_to").to_numpy(),
        "biases": fit["bias"][0].to_numpy(),
    }
