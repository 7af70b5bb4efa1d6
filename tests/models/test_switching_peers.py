"""Switching GLMs beside numbers frozen from other software; tests/reference says how they were made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools import schema

REFERENCE = Path(__file__).resolve().parents[1] / "reference"


def test_one_state_equals_nemos():
    with np.load(REFERENCE / "nemos_glm.npz") as file:
        known = {name: file[name] for name in file.files}
    basis = nt.RaisedCosine(n=3, last_s=0.2)
    np.testing.assert_allclose(basis.weights(0.02).T, known["kernel"], rtol=1e-14)
    counts = schema.counts_array(known["counts"].astype(int), bin_width=0.02)
    whole = {"time": slice(10, None)}  # from the first sample that has a whole history
    design = nt.glm_design(counts, basis).isel(whole)
    prior = nt.RidgePrior(strength=float(known["strength"]))
    fit = nt.SwitchingGLM(n_states=1, prior=prior, tol=0.0).fit(counts.isel(whole), design)
    assert design.sizes["time"] == int(known["n"])
    found = fit["weight"][0].transpose("unit", "basis", "unit_to")
    np.testing.assert_allclose(found, known["weights"], atol=1e-5)
    np.testing.assert_allclose(fit["bias"][0], known["biases"], atol=1e-5)


def test_likelihood_of_choices_equals_dynamax():
    with np.load(REFERENCE / "dynamax_choices.npz") as file:
        known = {name: file[name] for name in file.files}
    session = ("trial", np.repeat(np.arange(known["lengths"].size), known["lengths"]))
    coords = {"trial": np.arange(known["y"].size), "session": session}
    choice = xr.DataArray(known["y"], dims="trial", coords=coords, attrs={"units": "1"})
    names = ["stimulus", "choice_back_1"]
    design = xr.DataArray(known["x"], dims=("trial", "feature"), coords={**coords, "feature": names})
    fit = xr.Dataset(
        {
            "feature_weight": (("state", "feature"), known["weights"]),
            "bias": ("state", known["biases"]),
            "transition": (("state", "state_to"), known["transition"]),
            "initial_prob": ("state", known["initial"]),
        },
        coords={"state": np.arange(3), "feature": names},
    )
    model = nt.SwitchingGLM(n_states=3, family="bernoulli")
    found = float(model.predict(fit, choice, design)["log_likelihood"].sum())
    assert found == pytest.approx(float(known["log_likelihood"]), rel=1e-8)
