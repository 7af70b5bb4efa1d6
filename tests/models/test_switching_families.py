"""SwitchingGLM on tries, choices among several, missing bins, and transitions that inputs drive."""

import dataclasses

import numpy as np
import pytest
import xarray as xr
from models.switching_cases import drawn

import neurotools as nt
from neurotools import schema
from neurotools.errors import SchemaError, SettingsError

RIDGE = nt.RidgePrior(0.5)


def inputs_of(counts, values, names):
    return xr.DataArray(
        values, dims=("time", "feature"),
        coords={"time": counts["time"], "session": counts["session"], "feature": names},
    )  # fmt: skip


def two_strategies(rng, n=2400):
    state = (np.arange(n) // 100) % 2
    x = rng.normal(size=n)
    table = xr.DataArray(x[:, None], dims=("trial", "feature"), coords={"feature": ["contrast"]})
    return state, x, table.assign_coords(session=("trial", np.arange(n) // 600))


def test_tries_are_as_good_as_their_parts(rng):
    """Successes of two tries each tell what the same choices tell one by one, one state."""
    _, x, design = two_strategies(rng, 300)
    both = rng.random((300, 2)) < (1 / (1 + np.exp(-0.5 - x)))[:, None]
    session = design["session"]
    tries = xr.DataArray(both.sum(axis=1), dims="trial", coords={"n_trials": ("trial", np.full(300, 2))})
    tries = tries.assign_coords(session=session)
    model = nt.SwitchingGLM(1, family="binomial", prior=RIDGE, tol=1e-12)
    fit = model.fit(tries, design)
    one_by_one = xr.DataArray(both.ravel().astype(int), dims="trial")
    apart = dataclasses.replace(model, family="bernoulli").fit(
        one_by_one, design.drop_vars("session")[np.repeat(np.arange(300), 2)]
    )
    for name in ("bias", "feature_weight", "bias_se", "feature_weight_se"):
        np.testing.assert_allclose(fit[name], apart[name], rtol=1e-5)
    assert model.score(fit, tries, design) == pytest.approx(
        dataclasses.replace(model, family="bernoulli").score(
            apart, one_by_one, design.drop_vars("session")[np.repeat(np.arange(300), 2)]
        ), abs=1e-4,
    )  # fmt: skip
    with pytest.raises(SchemaError, match="number of tries"):
        model.fit(tries.drop_vars("n_trials"), design)
    with pytest.raises(SchemaError, match="no fewer than the successes"):
        model.fit(tries.assign_coords(n_trials=("trial", np.ones(300, int))), design)
    for wrong in (np.nan, np.inf, 2.5):
        with pytest.raises(SchemaError, match="tries are whole"):
            model.fit(tries.assign_coords(n_trials=("trial", np.r_[np.full(299, 2.0), wrong])), design)


def test_choices_among_several_are_found_and_two_are_the_binary_model(rng):
    state, x, design = two_strategies(rng)
    weight = np.array([[2.0, -2.0], [-2.0, 2.0]])
    odds = np.concatenate([np.zeros((len(x), 1)), x[:, None] * weight[state]], axis=1)
    code = (odds + rng.gumbel(size=odds.shape)).argmax(axis=1)
    choice = xr.DataArray(code, dims="trial", coords={"session": design["session"]})
    model = nt.SwitchingGLM(2, family="categorical", prior=RIDGE, n_restarts=2)
    fit = model.fit(choice, design)
    assert fit["feature_weight"].dims == ("state", "feature", "alternative")
    found = fit["feature_weight"].to_numpy()[:, 0]
    found = found[np.argsort(-found[:, 0])]
    np.testing.assert_allclose(found, weight, atol=0.45)
    assert (fit["state_prob"].argmax("state") == state).mean() in (
        pytest.approx(1, abs=0.1),
        pytest.approx(0, abs=0.1),
    )
    assert model.predict(fit, choice, design)["viterbi"].sizes == {"trial": 2400}
    two = xr.DataArray((code > 0).astype(int), dims="trial", coords={"session": design["session"]})
    settings = {"n_states": 2, "prior": RIDGE, "n_restarts": 1, "max_iter": 30}
    several, binary = (
        nt.SwitchingGLM(family=f, **settings).fit(two, design) for f in ("categorical", "bernoulli")
    )
    for name in ("bias", "feature_weight", "feature_weight_se"):
        np.testing.assert_allclose(several[name].isel(alternative=0), binary[name], rtol=1e-4, atol=1e-6)
    with pytest.raises(SchemaError, match="no other than were fitted"):
        model.score(fit, choice + 1, design)
    with pytest.raises(SettingsError, match="other units"):
        model.score(fit, choice, design, kind="cosmoothing")


def test_missing_bins_are_nan_or_not_observed_and_change_nothing_else():
    counts, _, _ = drawn(0, n_time=600, n_unit=3, n_state=2)
    seen = np.ones(counts.shape, bool)
    seen[100:130] = False
    seen[400, 1] = False
    model = nt.SwitchingGLM(2, link="sigmoid", n_restarts=1, max_iter=20, prior=nt.GaussianPrior(learn=False))
    results = []
    holes = counts.where(seen).assign_attrs(counts.attrs)
    garbage = counts.copy(data=np.where(seen, counts, 77)).assign_coords(observed=(("time", "unit"), seen))
    for data in (holes, garbage):
        design = nt.glm_design(data, nt.ExponentialHistory(n_lags=3))
        np.testing.assert_array_equal(np.flatnonzero(~design["observed"]), [*range(101, 133), 401, 402, 403])
        fit = model.fit(data, design)
        results.append(
            (fit, model.score(fit, data, design), model.score(fit, data, design, kind="cosmoothing"))
        )
    first, second = (fit.drop_vars("observed", errors="ignore") for fit, *_ in results)
    xr.testing.assert_allclose(first, second)
    assert results[0][1:] == pytest.approx(results[1][1:], rel=1e-10)
    with pytest.raises(SchemaError, match="no sample of the data was observed"):
        model.fit(counts.assign_coords(observed=("time", np.zeros(600, bool))), design)
    with pytest.raises(SchemaError, match="'observed' holds True or False"):
        model.fit(counts.assign_coords(observed=("time", np.zeros(600))), design)


def test_inputs_drive_transitions_and_are_asked_for_again(rng):
    counts, design, _ = drawn(1, n_time=600, n_unit=3, n_state=2)
    drive = inputs_of(counts, rng.normal(size=(600, 2)) + 3, ["light", "sound"])
    model = nt.SwitchingGLM(2, link="sigmoid", n_restarts=1, max_iter=30, prior=RIDGE)
    fit = model.fit(counts, design, transition_design=drive)
    assert fit["transition_weight"].dims == ("state", "state_to", "transition_feature")
    assert (np.diagonal(fit["transition_weight"].to_numpy()) == 0).all()
    np.testing.assert_allclose(fit["transition_feature_mean"], drive.mean("time"))
    assert (np.diff(fit["objective"]) >= -1e-9 * np.abs(fit["objective"][1:])).all()
    score = model.score(fit, counts, design, transition_design=drive)
    turned = model.score(fit, counts, design, transition_design=drive[:, ::-1])
    assert score == pytest.approx(turned, rel=1e-12)
    assert model.predict(fit, counts, design, drive)["silent_prob"].shape == counts.shape
    with pytest.raises(SchemaError, match="none came"):
        model.score(fit, counts, design)
    with pytest.raises(SchemaError, match="the fit has none"):
        model.score(fit.drop_vars("transition_weight"), counts, design, transition_design=drive)
    with pytest.raises(SchemaError, match="never varies"):
        model.fit(counts, design, transition_design=drive * 0)
    with pytest.raises(SchemaError, match="other inputs of transitions"):
        model.predict(fit, counts, design, drive.assign_coords(feature=["light", "smell"]))
    scan = nt.select_states(
        dataclasses.replace(model, max_iter=5), counts, design, (1, 2), transition_design=drive
    )
    assert np.isfinite(scan["heldout_score"]).all()


def test_a_gain_is_found(rng):
    x = rng.normal(size=3000)
    spikes = rng.poisson(np.array([2.0, 4.0, 6.0]) / (1 + np.exp(-2.5 * x[:, None])))
    counts = schema.counts_array(spikes, bin_width=0.02, unit=list("abc"))
    design = nt.glm_design(counts, stimulus=xr.DataArray(x, dims="time", name="x"))
    fit = nt.SwitchingGLM(1, link="sigmoid_gain", prior=RIDGE).fit(counts, design)
    np.testing.assert_allclose(fit["gain"], [2, 4, 6], rtol=0.06)
    np.testing.assert_allclose(fit["feature_weight"].to_numpy().ravel(), 2.5, atol=0.3)


def test_uncertainty_is_said_and_asked_for(rng):
    counts, design, _ = drawn(0, n_time=600, n_unit=3, n_state=2)
    model = nt.SwitchingGLM(2, link="sigmoid", n_restarts=1, prior=nt.GaussianPrior(learn=False))
    whole, apart, none = (
        dataclasses.replace(model, uncertainty=how).fit(counts, design) for how in ("auto", "unit", "none")
    )
    assert [fit.attrs["uncertainty"] for fit in (whole, apart, none)] == ["full", "unit", "none"]
    assert whole["weight_se"].dims == whole["weight"].dims
    assert (apart["weight_se"] <= whole["weight_se"] * (1 + 1e-9)).all()
    assert "weight_se" not in none
    assert (whole["transition_low"] < whole["transition_high"]).all()
    with pytest.raises(SettingsError, match="no uncertainty named"):
        dataclasses.replace(model, uncertainty="bayes")
