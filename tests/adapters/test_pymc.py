"""The chain's likelihood inside PyTensor: its value, its gradient, and draws that are refused."""

from __future__ import annotations

import arviz as az
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr

import neurotools as nt
from neurotools.adapters import pymc as adapter
from neurotools.errors import NotConvergedError, SchemaError, SettingsError
from neurotools.numerics import hmm

FAST = "FAST_COMPILE"  # no compiler is called: the work is in our own kernel


def chain(rng, n_time: int, n_state: int):
    move = rng.dirichlet(np.ones(n_state) + 5 * np.eye(n_state)[0], size=n_state)
    return (
        np.log(rng.dirichlet(np.ones(n_state))), np.log(move), rng.normal(scale=3.0, size=(n_time, n_state))
    )  # fmt: skip


def compiled(start=None):
    """Value and gradient as a function of the three inputs."""
    inputs = pt.dvector("initial"), pt.dmatrix("transition"), pt.dmatrix("likelihood")
    value = adapter.hmm_log_likelihood(inputs[2], inputs[1], inputs[0], start)
    return pytensor.function(inputs, [value, *pt.grad(value, inputs)], mode=FAST)


def test_gradient_equals_finite_differences(rng):
    start = np.zeros(30, dtype=bool)
    start[[0, 11, 20]] = True
    given = chain(rng, 30, 3)
    function = compiled(start)
    value, *gradient = function(*given)
    assert float(value) == pytest.approx(float(hmm.smooth(*given, start).log_evidence), rel=1e-14)
    step = 1e-5
    for which, exact in enumerate(gradient):
        for place in np.ndindex(*exact.shape):
            moved = [[part.copy() for part in given] for _ in range(2)]
            moved[0][which][place] += step
            moved[1][which][place] -= step
            up, down = (float(function(*parts)[0]) for parts in moved)
            assert (up - down) / (2 * step) == pytest.approx(exact[place], abs=1e-6)


def test_gradient_is_finite_where_a_scan_overflows(rng):
    given = chain(rng, 50_000, 3)
    given[2][:, :] -= 1000.0  # each sample lies far below the smallest number that exp can hold
    value, initial, moves, states = compiled()(*given)
    assert np.isfinite(value)
    assert value < -4e7
    np.testing.assert_allclose(states.sum(axis=1), 1, rtol=1e-9)
    assert moves.sum() == pytest.approx(49_999, rel=1e-9)
    assert initial.sum() == pytest.approx(1, rel=1e-9)


def test_uniform_start_second_derivatives_and_wrong_shapes(rng):
    given = chain(rng, 20, 2)
    likelihood = pt.dmatrix("likelihood")
    value = adapter.hmm_log_likelihood(likelihood, given[1])
    expected = hmm.smooth(np.log([0.5, 0.5]), *given[1:]).log_evidence
    assert float(value.eval({likelihood: given[2]}, mode=FAST)) == pytest.approx(float(expected), rel=1e-14)
    with pytest.raises(NotImplementedError, match="second derivative"):
        pt.grad(pt.grad(value, likelihood).sum(), likelihood)
    with pytest.raises(SchemaError, match=r"\[1, 2, 1\] dimensions"):
        adapter.hmm_log_likelihood(pt.dvector("x"), given[1])


@pytest.fixture(scope="module")
def mice():
    recording, _ = nt.simulate.switching_choices(n_subjects=3, n_sessions=2, n_trials=40, seed=1)
    return recording["behaviour/choice"], nt.choice_design(recording)


def test_the_hierarchy_has_the_likelihood_of_the_model(mice):
    choice, design = mice
    model = adapter.hierarchical_choices(choice, design)
    rng = np.random.default_rng(0)
    weight, move = rng.normal(size=(3, 2, 3)), np.array([[0.9, 0.1], [0.2, 0.8]])
    names = {name: model[name] for name in ("weight", "transition")}
    potential = pytensor.function(list(names.values()), model["choices"], mode=FAST, on_unused_input="raise")
    total = 0.0
    drive = weight[..., 0][np.repeat(np.arange(3), 80)] + 0.0
    for k, feature in enumerate(design["feature"].to_numpy(), start=1):
        drive += weight[np.repeat(np.arange(3), 80), :, k] * design.sel(feature=feature).to_numpy()[:, None]
    log_prob = -np.log1p(np.exp(-(2.0 * choice.to_numpy() - 1)[:, None] * drive))
    for session in range(6):  # every session by itself
        rows = slice(40 * session, 40 * session + 40)
        total += float(hmm.smooth(np.log([0.5, 0.5]), np.log(move), log_prob[rows]).log_evidence)
    assert float(potential(weight, move)) == pytest.approx(total, rel=1e-12)


def test_states_are_numbered_by_a_common_weight(mice):
    model = adapter.hierarchical_choices(*mice, n_states=3, ordered_by="stimulus")
    values = {model["falling"]: np.array([-1.0, 0.5, 2.0]), model["others"]: np.zeros((3, 2))}
    falling = model["centre"].eval(values, mode=FAST)
    np.testing.assert_array_equal(falling[:, 1], [2.0, 0.5, -1.0])
    with pytest.raises(SettingsError, match="no regressor 'stimulis'"):
        adapter.hierarchical_choices(*mice, ordered_by="stimulis")
    with pytest.raises(SchemaError, match="whose a trial is"):
        adapter.hierarchical_choices(mice[0].drop_vars("subject"), mice[1])


# ---- draws ----------------------------------------------------------------------------------------------
def drawn(rng, **changes):
    """What PyMC would return: draws that pass, or that do not."""
    mean = changes.get("apart", 0.0) * np.arange(4)[:, None]
    x = mean + rng.normal(size=(4, changes.get("draws", 500)))
    diverging = np.zeros_like(x, dtype=bool)
    diverging[0, : changes.get("diverging", 0)] = True
    return az.from_dict(posterior={"x": x}, sample_stats={"diverging": diverging})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"apart": 1.0}, r"R-hat \d\.\d+ of x is above 1\.01"),
        ({"draws": 60}, r"effective draws of x are below 400"),
        ({"diverging": 3}, r"3 divergent transitions, of at most 0"),
    ],
)
def test_draws_that_fail_a_check_are_refused(rng, monkeypatch, changes, match):
    monkeypatch.setattr(pm, "sample", lambda **options: drawn(rng, **changes))
    with pytest.raises(NotConvergedError, match=match):
        adapter.sample_checked(None, sampler="pymc")
    kept = adapter.sample_checked(
        None, sampler="pymc", max_rhat=np.inf, min_ess=0, max_divergences=10**6, seed=3
    )
    assert kept["posterior/x"].dims == ("chain", "draw")


def test_a_check_that_cannot_be_made_is_not_passed(rng, monkeypatch):
    untold = az.from_dict(posterior={"x": rng.normal(size=(4, 500))})
    monkeypatch.setattr(pm, "sample", lambda **options: untold)
    with pytest.raises(NotConvergedError, match="nan divergent transitions"):
        adapter.sample_checked(None, sampler="pymc")
    holed = rng.normal(size=(4, 500, 2))
    holed[0, 7, 1] = np.nan
    monkeypatch.setattr(adapter, "from_arviz", lambda drawn: drawn)
    post = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"x": (("chain", "draw", "k"), holed)}),
            "sample_stats": xr.Dataset({"diverging": (("chain", "draw"), np.zeros((4, 500), bool))}),
        }
    )
    monkeypatch.setattr(pm, "sample", lambda **options: post)
    with pytest.raises(NotConvergedError, match=r"x\[1\]"):
        adapter.sample_checked(None, sampler="pymc")


def test_the_sampler_is_named_and_recorded(rng, monkeypatch):
    given = {}
    monkeypatch.setattr(pm, "sample", lambda **options: given.update(options) or drawn(rng))
    post = adapter.sample_checked(None, sampler="pymc", seed=7)
    assert given["nuts_sampler"] == "pymc"
    assert post.attrs["sampler"] == "pymc NUTS"
    assert post.attrs["seed"] == 7
    assert post.attrs["n_divergent"] == 0
    assert "pymc_version" in post.attrs
    with pytest.raises(SettingsError, match="no sampler 'stan'"):
        adapter.sample_checked(None, sampler="stan")
    with pytest.raises(TypeError):
        adapter.sample_checked(None)
