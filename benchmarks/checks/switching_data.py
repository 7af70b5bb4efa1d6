"""Switching GLMs beside others on the same data: choices of mice, and couplings of a population."""

from __future__ import annotations

import numpy as np
import xarray as xr

import neurotools as nt
from benchmarks.peers import run_peer
from benchmarks.record import Row, shared
from benchmarks.recordings import CHOICES

MOUSE = "data/behaviour_mouse_2afc_glmhmm"


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
