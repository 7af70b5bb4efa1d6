"""Priors of a switching GLM: every family and link climbs under each, types are found, anatomy is heard."""

import dataclasses
import itertools
import warnings

import numpy as np
import pytest
import xarray as xr
from models.switching_cases import drawn

import neurotools as nt
from neurotools import schema
from neurotools.errors import NeurotoolsWarning, SchemaError, SettingsError
from neurotools.models.switching_glm import FITTING_LINKS
from neurotools.numerics import switching_prior, switching_types

PRIORS = {
    "ridge": nt.RidgePrior(),
    "gaussian": nt.GaussianPrior(),
    "shared": nt.OneHotPrior(),
    "state": nt.OneHotPrior(across="state"),
    "dale": nt.OneHotPrior(dale=True),
    "dale_state": nt.OneHotPrior(across="state", dale=True),
    "lasso": nt.GroupLasso(strength=3.0),
    "lasso_state": nt.GroupLasso(strength=3.0, over="state"),
}
UNCOUPLED = ("categorical",)  # families of a single series, which has no couplings
CASES = [
    (family, link, prior)
    for family, links in FITTING_LINKS.items()
    for link, prior in itertools.product(links, PRIORS)
    if family not in UNCOUPLED or prior in ("ridge", "gaussian")
]


@pytest.fixture
def few_rounds(monkeypatch):
    """One round of learning: rounds are alike, and two objectives in a row say it all."""
    for module in (switching_prior, switching_types):
        monkeypatch.setattr(module, "ROUNDS", 1)


def observed(family, seed, n_time=80, n_unit=3):
    """Observations of some family in which two states take turns, with histories of two lags."""
    rng = np.random.default_rng(seed)
    turn = (np.arange(n_time) // 20 % 2)[:, None]
    drive = np.where(turn == np.arange(n_unit) % 2, 0.6, -0.8)
    values = {
        "poisson": lambda: rng.poisson(np.exp(drive)),
        "negative_binomial": lambda: rng.negative_binomial(2.0, 2.0 / (2.0 + np.exp(drive))),
        "bernoulli": lambda: rng.random(drive.shape) < 1 / (1 + np.exp(-2 * drive)),
        "binomial": lambda: rng.binomial(5, 1 / (1 + np.exp(-drive))),
        "categorical": lambda: (rng.random((n_time, 1)) < 0.6) * rng.integers(1, 3, (n_time, 1)),
        "gaussian": lambda: drive + 0.5 * rng.normal(size=drive.shape),
    }[family]()
    if family == "categorical":
        stimulus = xr.DataArray(
            rng.normal(size=(n_time, 1)), dims=("trial", "feature"), coords={"feature": ["x"]}
        )
        return xr.DataArray(values[:, 0].astype(int), dims="trial"), stimulus
    values = values.astype("float64" if family == "gaussian" else int)
    counts = schema.counts_array(np.abs(values).astype(int), bin_width=0.02, unit=list("abc"))
    counts = counts.assign_coords(session=("time", np.arange(n_time) * 2 // n_time))
    design = nt.glm_design(counts, nt.RaisedCosine(n=2, last_s=0.1))
    if family == "binomial":
        counts = counts.assign_coords(n_trials=(("time", "unit"), np.full(values.shape, 5)))
    return (counts if family != "gaussian" else counts.copy(data=values)), design


def falls(fit):
    """Largest fall of the objective within a round, relative."""
    worst = 0.0
    for _, part in fit["objective"].groupby(fit["round"]):
        values = part.to_numpy()
        if values.size > 1:
            worst = max(worst, float((-np.diff(values) / np.abs(values[1:])).max()))
    return worst


@pytest.mark.parametrize(("family", "link", "prior"), CASES)
def test_the_objective_never_falls_whatever_family_link_and_prior(family, link, prior, few_rounds):
    counts, design = observed(family, 0)
    model = nt.SwitchingGLM(
        2, family=family, link=link, prior=PRIORS[prior], n_restarts=1, uncertainty="none"
    )
    model = dataclasses.replace(model, max_iter=5, tol=0.0, uncertainty="none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeurotoolsWarning)
        fit = model.fit(counts, design)
    assert falls(fit) <= 1e-9
    assert np.isfinite(fit["objective"]).all()
    assert fit["objective"].size > 2


# ---- types ----------------------------------------------------------------------------------------------
def typed_counts(seed, across, n_time=6000, n_unit=6, dale=False):
    """Spikes of units whose connections have types: a third of them there, of either sign."""
    rng = np.random.default_rng(seed)
    shape = (1 if across == "shared" else 2, n_unit, n_unit)
    sign = rng.choice([-1, 0, 1], p=[0.2, 0.6, 0.2], size=shape)
    if dale:
        sign = np.abs(sign) * rng.choice([-1, 1], size=n_unit)[None, :, None]
    sign = np.broadcast_to(sign, (2, n_unit, n_unit)).copy()
    weight = sign * rng.uniform(0.6, 1.4, size=sign.shape)
    counts, design, truth = drawn(seed, n_time=n_time, n_unit=n_unit, n_state=2, weight=weight)
    return counts, design, truth, sign


def balanced(fit, sign):
    """Mean over types of the share of connections whose most probable type is right."""
    prob = fit["type_prob"].to_numpy()
    prob = np.broadcast_to(prob, (2, *prob.shape[-3:]))
    off = np.broadcast_to(~np.eye(sign.shape[1], dtype=bool), sign.shape)
    guess, right = prob[off].argmax(axis=-1) - 1, sign[off]
    return np.mean([(guess[right == s] == s).mean() for s in np.unique(right)])


@pytest.fixture(scope="module")
def shared_types():
    return typed_counts(0, "shared")


def test_types_that_states_share_are_found_better_when_shared(shared_types):
    counts, design, truth, sign = shared_types
    few = slice(0, 2000)
    scores = {}
    for across in ("shared", "state"):
        model = nt.SwitchingGLM(2, link="sigmoid", prior=nt.OneHotPrior(across=across), n_restarts=1)
        fit = nt.match_states(model.fit(counts[few], design[few]), truth)
        scores[across] = balanced(fit, sign)
    assert scores["shared"] >= scores["state"]
    assert scores["shared"] > 0.75


def test_types_of_each_state_are_found_and_probabilities_sum_to_one():
    counts, design, truth, sign = typed_counts(1, "state", n_time=4000)
    model = nt.SwitchingGLM(2, link="sigmoid", prior=nt.OneHotPrior(across="state"), n_restarts=1)
    fit = nt.match_states(model.fit(counts, design), truth)
    assert balanced(fit, sign) > 0.8
    prob = fit["type_prob"]
    assert prob.dims == ("state", "unit", "unit_to", "type")
    off = ~np.eye(6, dtype=bool)
    np.testing.assert_allclose(prob.sum("type").to_numpy()[:, off], 1)
    assert np.isnan(prob.to_numpy()[:, ~off]).all()
    assert fit["size_mode"].sel(type="none").isnull()
    assert fit.attrs["uncertainty"] == "full"
    assert (fit["weight_se"] >= 0).all()
    assert (fit["transition_low"] < fit["transition_high"]).all()
    error = float(((fit["weight"] - truth["weight"]) ** 2).mean())
    assert error < 0.15 * float((truth["weight"] ** 2).mean())


def test_the_sign_of_every_sender_is_found_under_dales_law():
    counts, design, _, sign = typed_counts(2, "shared", dale=True)
    model = nt.SwitchingGLM(2, link="sigmoid", prior=nt.OneHotPrior(dale=True), n_restarts=1)
    fit = model.fit(counts, design)
    off = ~np.eye(6, dtype=bool)
    wanted = np.sign((sign[0] * off).sum(axis=1))
    found = fit["sender_type_prob"].sel(type="excitatory") - fit["sender_type_prob"].sel(type="inhibitory")
    assert (np.sign(found.to_numpy())[wanted != 0] == wanted[wanted != 0]).all()
    weight = fit["weight"].to_numpy()[..., 0] * off
    for unit in np.flatnonzero(np.abs(found.to_numpy()) > 0.999):
        assert (weight[:, unit] * np.sign(found.to_numpy()[unit]) >= -1e-9).all()


# ---- anatomy --------------------------------------------------------------------------------------------
def wiring(units, prob):
    """P(type) alike for all connections."""
    names = ["inhibitory", "none", "excitatory"]
    return xr.DataArray(
        np.broadcast_to(np.asarray(prob, dtype=float), (len(units), len(units), 3)),
        dims=("unit", "unit_to", "type"), coords={"unit": units, "unit_to": units, "type": names},
    )  # fmt: skip


def test_a_connectome_of_types_rules_out_what_it_says_cannot_be(shared_types):
    counts, design, *_ = shared_types
    counts, design = counts[:600], design[:600]
    units = counts["unit"].to_numpy()
    known = wiring(units, [0.0, 0.4, 0.6]).copy()
    known.loc[{"unit": "u1", "unit_to": "u3"}] = [0.0, 1.0, 0.0]
    model = nt.SwitchingGLM(1, link="sigmoid", prior=nt.OneHotPrior())
    turned = known.isel(unit=[3, 1, 0, 2, 5, 4], type=[2, 0, 1]).transpose("type", "unit_to", "unit")
    fit = model.fit(counts, design, connectome=turned)
    assert (fit["type_prob"].sel(type="inhibitory").fillna(0) == 0).all()
    assert float(fit["weight"].sel(unit="u1", unit_to="u3").max()) == 0
    assert float(fit["weight_se"].sel(unit="u1", unit_to="u3").max()) < 1e-9
    off = ~np.eye(6, dtype=bool)
    assert (fit["weight"].to_numpy()[0, ..., 0][off] >= 0).all()
    assert "type_share" not in fit


def test_with_no_data_to_speak_of_p_type_is_that_of_the_connectome():
    rng = np.random.default_rng(0)
    counts = schema.counts_array(rng.poisson(0.02, size=(60, 3)), bin_width=0.02, unit=list("abc"))
    design = nt.glm_design(counts, nt.ExponentialHistory())
    model = nt.SwitchingGLM(1, prior=nt.OneHotPrior(learn=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeurotoolsWarning)
        fit = model.fit(counts, design, connectome=wiring(list("abc"), [0.3, 0.5, 0.2]))
    off = ~np.eye(3, dtype=bool)
    wanted = np.tile([0.3, 0.5, 0.2], (6, 1))
    np.testing.assert_allclose(fit["type_prob"].to_numpy()[off], wanted, atol=0.1)


def test_what_is_no_connectome_of_types_is_named(shared_types):
    counts, design, *_ = shared_types
    counts, design = counts[:300], design[:300]
    units = counts["unit"].to_numpy()
    model = nt.SwitchingGLM(1, link="sigmoid", prior=nt.OneHotPrior())
    good = wiring(units, [0.2, 0.6, 0.2])
    with pytest.raises(SchemaError, match="type"):
        model.fit(counts, design, connectome=good.isel(type=0))
    with pytest.raises(SchemaError, match="sum to one"):
        model.fit(counts, design, connectome=good * 1.1)
    with pytest.raises(SchemaError, match="not those of connections"):
        model.fit(counts, design, connectome=good.assign_coords(type=["a", "b", "c"]))
    with pytest.raises(SchemaError, match="other labels along 'unit'"):
        model.fit(counts, design, connectome=good.assign_coords(unit=[f"x{i}" for i in range(6)]))
    with pytest.raises(SchemaError, match="unit"):
        dataclasses.replace(model, prior=nt.GaussianPrior()).fit(counts, design, connectome=good)
    with pytest.raises(SettingsError, match="no place for a connectome"):
        dataclasses.replace(model, prior=nt.GroupLasso()).fit(counts, design, connectome=good.isel(type=0))


def test_settings_and_data_that_cannot_be_are_named(shared_types):
    with pytest.raises(SettingsError, match="across"):
        nt.OneHotPrior(across="states")
    with pytest.raises(SettingsError, match="size must be positive"):
        nt.OneHotPrior(size=0.0)
    with pytest.raises(SettingsError, match="strength must be positive"):
        nt.GroupLasso(strength=-1.0)
    with pytest.raises(SettingsError, match="over"):
        nt.GroupLasso(over="lag")
    for how in ("full", "unit"):
        with pytest.raises(SettingsError, match=r"no standard errors under GroupLasso.*\n.*uncertainty"):
            nt.SwitchingGLM(2, prior=nt.GroupLasso(), uncertainty=how)
    choice, design = observed("categorical", 0)
    for prior in (nt.OneHotPrior(), nt.GroupLasso()):
        with pytest.raises(SchemaError, match="there are none"):
            nt.SwitchingGLM(1, family="categorical", prior=prior).fit(choice, design)


# ---- the lasso ------------------------------------------------------------------------------------------
def test_the_lasso_reaches_the_optimum_of_its_convex_problem(shared_types):
    """One state, Poisson with a log link: conditions of Karush, Kuhn and Tucker for every group."""
    counts, design, *_ = shared_types
    counts, design = counts[:600], design[:600]
    model = nt.SwitchingGLM(1, link="log", prior=nt.GroupLasso(strength=8.0), tol=1e-14, max_iter=200)
    fit = model.fit(counts, design)
    x, y = design.to_numpy(), counts.to_numpy()
    weight = fit["weight"].to_numpy()[0, ..., 0]
    mean = np.exp(fit["bias"].to_numpy()[0] + x @ weight)
    slope = x.T @ (y - mean)
    zero = weight == 0
    assert 0 < zero.sum() < zero.size
    assert (np.abs(slope[zero]) <= 8.0 + 1e-4).all()
    np.testing.assert_allclose(slope[~zero], 8.0 * np.sign(weight[~zero]), atol=1e-3)


def test_a_stronger_lasso_leaves_fewer_connections_and_none_in_part(shared_types):
    counts, design, *_ = shared_types
    counts, design = counts[:700], design[:700]
    left = []
    for strength in (3.0, 10.0, 30.0):
        model = nt.SwitchingGLM(2, link="sigmoid", prior=nt.GroupLasso(strength=strength), n_restarts=1)
        fit = model.fit(counts, design)
        assert fit.attrs["uncertainty"] == "none"
        assert "weight_se" not in fit
        there = fit["weight"].to_numpy()[..., 0] != 0
        assert (there.all(axis=0) == there.any(axis=0)).all()
        left.append(int(there[0].sum()))
    assert left[0] > left[1] > left[2]


# ---- elsewhere ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("prior", ["state", "dale", "lasso"])
def test_devices_agree_under_every_prior(prior, device, shared_types, few_rounds):
    counts, design, *_ = shared_types
    counts, design = counts[:200, :3], nt.glm_design(counts[:200, :3], nt.ExponentialHistory())
    model = nt.SwitchingGLM(2, link="sigmoid", prior=PRIORS[prior], n_restarts=1, max_iter=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeurotoolsWarning)
        here = model.fit(counts, design)
        there = dataclasses.replace(model, device=device).fit(counts, design)
    for name in ("weight", "state_prob", *(["type_prob"] if "type_prob" in here else [])):
        np.testing.assert_allclose(there[name], here[name], atol=1e-8)


def test_a_fit_with_types_is_saved_and_opened(shared_types, tmp_path, few_rounds):
    counts, design, *_ = shared_types
    prior = nt.OneHotPrior(across="state", dale=True)
    model = nt.SwitchingGLM(2, link="sigmoid", prior=prior, n_restarts=1, max_iter=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeurotoolsWarning)
        fit = model.fit(counts[:300], design[:300])
    opened = nt.open_fit(nt.save(fit, tmp_path / "fit.nc"))
    xr.testing.assert_identical(opened, fit)
    assert nt.model_of(opened) == model


def test_numbering_of_states_carries_types_along(shared_types, few_rounds):
    counts, design, *_ = shared_types
    model = nt.SwitchingGLM(2, link="sigmoid", prior=nt.OneHotPrior(across="state"), n_restarts=1, max_iter=6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeurotoolsWarning)
        fit = model.fit(counts[:600], design[:600])
    off = ~np.eye(6, dtype=bool)
    weight, prob = fit["weight"].to_numpy()[..., 0][:, off], fit["type_prob"].to_numpy()[:, off]
    sure = prob.max(axis=-1) > 0.9
    np.testing.assert_array_equal(
        np.sign(np.where(np.abs(weight) > 0.05, weight, 0))[sure], (prob.argmax(axis=-1) - 1)[sure]
    )
