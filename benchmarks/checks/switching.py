"""Switching GLMs: the chain against stored results, known couplings found again, strategies of mice."""

from __future__ import annotations

import time

import numpy as np
import xarray as xr

import neurotools as nt
from benchmarks.record import Row, shared
from benchmarks.timing import one_thread
from neurotools import schema
from neurotools.numerics import hmm

REFERENCE = "data/glm_reference"


# ---- the chain ------------------------------------------------------------------------------------------
def stored_chain() -> list[Row]:
    """Posteriors, evidence and best path of 5,000 samples and five states, as stored from another program."""
    with np.load(shared(REFERENCE) / "hmm_parity_ssm_K5.npz") as file:
        known = {name: file[name] for name in file.files}
    chain = (np.log(known["pi"]), np.log(known["P"]), known["log_lik"])
    found = hmm.smooth(*chain)
    path, _ = hmm.viterbi(*chain)
    evidence = float(known["log_norm"])
    pairs = np.abs(found.pair_sum - known["xi_sum"]).max()
    return [
        Row("log evidence, relative difference", abs(float(found.log_evidence) / evidence - 1), "<= 1e-12"),
        Row("state probabilities", float(np.abs(found.state_prob - known["gamma"]).max()), "<= 1e-8"),
        Row("summed pair statistics", float(pairs), "<= 1e-6"),
        Row("samples where the best paths differ", int((path != known["viterbi"]).sum()), "<= 0"),
    ]


# ---- couplings that are known -----------------------------------------------------------------------------
def known_couplings() -> list[Row]:
    """Five states, 20 units, ten sessions to learn from and six to foretell, drawn by other hands."""
    with np.load(shared(REFERENCE) / "hmmglm_synthetic_S5_N20.npz") as file:
        known = {name: file[name] for name in file.files}
    train, test = (_counts(known["spikes"], part) for part in (np.arange(10), np.arange(10, 16)))
    design, design_test = (nt.glm_design(part, nt.ExponentialHistory()) for part in (train, test))
    model = nt.SwitchingGLM(n_states=5, link="sigmoid", n_restarts=8, seed=0)
    with one_thread():
        begin = time.process_time()
        fit = model.fit(train, design)
        seconds = time.process_time() - begin
    truth = _truth(known, test)
    fit = nt.match_states(fit, truth)
    found = model.predict(fit, test, design_test)
    ideal = model.predict(truth, test, design_test)
    off = ~np.eye(20, dtype=bool)
    error = ((fit["weight"] - truth["weight"]).to_numpy()[..., 0][:, off] ** 2).mean()
    size = test.size
    return [
        Row("samples given their true state, whole session", _right(found["state_prob"], known), ">= 0.975"),
        Row("the same with the true parameters", _right(ideal["state_prob"], known)),
        Row("the same, from past and present alone", _right(found["filtered_prob"], known)),
        Row("the same with the true parameters", _right(ideal["filtered_prob"], known)),
        Row("log likelihood per bin and unit, new sessions, given the past",
            float(found["log_likelihood"].sum()) / size, ">= -0.8455", unit="nat"),
        Row("the same with the true parameters", float(ideal["log_likelihood"].sum()) / size, unit="nat"),
        Row("mean squared error of couplings between units", float(error), "<= 0.035"),
        Row("eight restarts", seconds, "<= 15", unit="s CPU", note="first compilation included"),
    ]  # fmt: skip


def _counts(spikes: np.ndarray, which: np.ndarray) -> xr.DataArray:
    counts = schema.counts_array(
        spikes[which].reshape(-1, 20).astype(int), bin_width=0.02, unit=np.arange(20)
    )
    return counts.assign_coords(session=("time", np.repeat(which, 1000)))


def _truth(known: dict[str, np.ndarray], test: xr.DataArray) -> xr.Dataset:
    """The true parameters in the form of a fit; the chain that was drawn stays with probability .98."""
    moves = np.full((5, 5), 0.02 / 4)
    np.fill_diagonal(moves, 0.98)
    return xr.Dataset(
        {
            "weight": (("state", "unit", "unit_to", "basis"), known["weight"].transpose(0, 2, 1)[..., None]),
            "bias": (("state", "unit_to"), known["bias"]),
            "transition": (("state", "state_to"), moves),
            "initial_prob": ("state", np.full(5, 0.2)),
        },
        coords={
            "unit": test["unit"].to_numpy(), "unit_to": test["unit"].to_numpy(), "state": np.arange(5),
            "basis": [0],
        },
    )  # fmt: skip


def _right(prob: xr.DataArray, known: dict[str, np.ndarray]) -> float:
    return float((prob.to_numpy().argmax(axis=1) == known["state"][10:].ravel()).mean())
