"""SwitchingGLM finds what was put in, scores as a sum over all paths does, and names what it cannot use."""

import dataclasses
import itertools
import warnings

import numpy as np
import pytest
import xarray as xr
from models.switching_cases import drawn
from scipy import stats

import neurotools as nt
from neurotools.errors import NeurotoolsWarning, SchemaError, SettingsError

MODEL = nt.SwitchingGLM(n_states=3, link="sigmoid", n_restarts=3, seed=0)


@pytest.fixture(scope="module")
def small():
    """A short recording and a fit to it."""
    counts, design, truth = drawn(0, n_time=900, n_unit=3, n_state=2)
    model = dataclasses.replace(MODEL, n_states=2)
    return model, counts, design, truth, model.fit(counts, design)


# ---- recovery -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(4))
def test_states_and_couplings_are_found(seed):
    counts, design, truth = drawn(seed, n_time=4000, n_unit=6)
    fit = nt.match_states(MODEL.fit(counts, design), truth)
    hits = fit["state_prob"].argmax("state").to_numpy() == truth["path"].to_numpy()
    assert hits.mean() > 0.85
    found, wanted = fit["weight"].to_numpy(), truth["weight"].to_numpy()
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.85
    assert ((found - wanted) ** 2).mean() < 0.25 * (wanted**2).mean()
    assert np.abs(np.diag(fit["transition"]) - 0.98).max() < 0.03


def test_a_sender_is_a_row_and_a_receiver_a_column(rng):
    spikes = rng.poisson(0.5, size=(2000, 2))
    spikes[1:, 1] = rng.poisson(0.2 + 2.0 * spikes[:-1, 0])
    counts = xr.DataArray(
        spikes, dims=("time", "unit"), coords={"unit": ["from", "to"]}, attrs={"units": "count"}
    )
    design = nt.glm_design(counts, nt.ExponentialHistory(n_lags=1))
    fit = nt.SwitchingGLM(1, link="softplus").fit(counts, design)
    weight = fit["weight"].isel(state=0, basis=0)
    assert float(weight.sel(unit="from", unit_to="to")) > 1
    assert abs(float(weight.sel(unit="to", unit_to="from"))) < 0.3


def test_one_state_is_the_penalised_glm(rng):
    """Against a general optimiser on the penalised log likelihood."""
    from scipy.optimize import minimize

    counts, design, _ = drawn(1, n_time=500, n_unit=2, n_state=1)
    fit = nt.SwitchingGLM(1, link="log", prior=nt.RidgePrior(2.0), tol=1e-13).fit(counts, design)
    x, y = design.to_numpy(), counts.to_numpy()[:, 0]

    def loss(w):
        drive = w[0] + x @ w[1:]
        return -(y * drive - np.exp(drive)).sum() + (w[1:] ** 2).sum() + 0.5e-4 * w[0] ** 2

    best = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-8}).x
    ours = [float(fit["bias"][0, 0]), *fit["weight"].to_numpy()[0, :, 0, 0]]
    np.testing.assert_allclose(ours, best, atol=2e-5)


# ---- what must not matter -------------------------------------------------------------------------------
def test_the_objective_never_falls_within_a_round(small):
    *_, fit = small
    for _, part in fit["objective"].groupby(fit["round"]):
        values = part.to_numpy()
        assert (np.diff(values) >= -1e-9 * np.abs(values[1:])).all()
    assert int(fit["round"].max()) > 0
    occupancy = fit["occupancy"].to_numpy()
    assert (np.diff(occupancy) <= 0).all()
    np.testing.assert_allclose(fit["state_prob"].sum("state"), 1)


def test_order_of_units_and_of_regressors_does_not_matter(small):
    model, counts, design, _, fit = small
    order = [2, 0, 1]
    turned = fit.isel(unit=order, unit_to=order)
    again = model.predict(turned, counts.isel(unit=order), design[:, ::-1]).sel(unit=counts["unit"])
    xr.testing.assert_allclose(again, model.predict(fit, counts, design), rtol=1e-9)


def test_numbering_of_states_does_not_matter(small):
    model, counts, design, _, fit = small
    swapped = fit.isel(state=[1, 0], state_to=[1, 0]).assign_coords(state=[0, 1], state_to=[0, 1])
    for kind in ("causal", "cosmoothing"):
        assert model.score(swapped, counts, design, kind=kind) == pytest.approx(
            model.score(fit, counts, design, kind=kind), rel=1e-10
        )
    back = nt.match_states(swapped, fit)
    xr.testing.assert_allclose(back.drop_vars("state_distance"), fit)


def test_nothing_crosses_the_edge_of_a_session(small):
    model, counts, design, _, fit = small
    whole = model.predict(fit, counts, design)
    for session in (0, 1, 2):
        where = counts["session"] == session
        alone = model.predict(fit, counts[where], design[where])
        xr.testing.assert_allclose(alone, whole.sel(time=alone["time"]), rtol=1e-9)


def test_the_first_starts_are_the_same_whatever_their_number(small):
    model, counts, design, *_ = small
    more = dataclasses.replace(model, n_restarts=4).fit(counts, design)["restart_objective"]
    few = model.fit(counts, design)["restart_objective"]
    np.testing.assert_array_equal(more[:3], few)


def test_devices_agree(small, device):
    model, counts, design, _, fit = small
    there = dataclasses.replace(model, device=device).fit(counts, design)
    for name in ("weight", "state_prob", "transition"):
        np.testing.assert_allclose(there[name], fit[name], atol=1e-8)


# ---- scores ---------------------------------------------------------------------------------------------
def by_hand(fit, counts, design):
    """Joint log probability of data and of every path, and the log probability of each unit and state."""
    drive = fit["bias"].to_numpy()[None] + np.einsum(
        "tu,kuv->tkv", design.to_numpy(), fit["weight"].to_numpy()[..., 0]
    )
    log_prob = stats.poisson.logpmf(counts.to_numpy()[:, None], 1 / (1 + np.exp(-drive)))
    paths = list(itertools.product(range(2), repeat=len(counts)))
    start, move = np.log(fit["initial_prob"].to_numpy()), np.log(fit["transition"].to_numpy())
    prior = np.array([start[p[0]] + sum(move[a, b] for a, b in itertools.pairwise(p)) for p in paths])
    return np.array(paths), prior, log_prob


def test_scores_and_states_equal_sums_over_all_paths(small):
    model, counts, design, _, fit = small
    counts, design = counts[:7], design[:7]
    paths, prior, log_prob = by_hand(fit, counts, design)
    t = np.arange(7)

    def of(units):
        return prior + log_prob[t, paths][..., units].sum(axis=(1, 2))

    null = stats.poisson.logpmf(counts.to_numpy(), counts.to_numpy().mean(axis=0)).sum()
    bits = counts.to_numpy().sum() * np.log(2)
    causal = (np.logaddexp.reduce(of([0, 1, 2])) - null) / bits
    assert model.score(fit, counts, design) == pytest.approx(causal, rel=1e-10)
    total = 0.0
    for unit in range(3):
        others = of([n for n in range(3) if n != unit])
        weight = np.exp(others - np.logaddexp.reduce(others))
        state_prob = np.stack([((paths == k) * weight[:, None]).sum(axis=0) for k in range(2)], axis=1)
        total += np.log((state_prob * np.exp(log_prob[:, :, unit])).sum(axis=1)).sum()
    assert model.score(fit, counts, design, kind="cosmoothing") == pytest.approx(
        (total - null) / bits, rel=1e-10
    )
    predicted = model.predict(fit, counts, design)
    joint = of([0, 1, 2])
    np.testing.assert_array_equal(predicted["viterbi"], paths[np.argmax(joint)])
    assert float(predicted["log_likelihood"].sum()) == pytest.approx(np.logaddexp.reduce(joint), rel=1e-12)


def test_switching_foretells_new_data_better_than_one_state():
    counts, design, _ = drawn(5, n_time=4000)
    learn, test = counts["session"] < 2, counts["session"] == 2
    scores = []
    for k in (1, 3):
        model = dataclasses.replace(MODEL, n_states=k)
        fit = model.fit(counts[learn], design[learn])
        scores.append(
            [model.score(fit, counts[test], design[test], kind=s) for s in ("causal", "cosmoothing")]
        )
    assert (np.array(scores[1]) > np.array(scores[0]) + 0.01).all()


# ---- priors ---------------------------------------------------------------------------------------------
def test_a_learned_width_is_the_width_that_weights_were_drawn_with():
    found = []
    for seed in range(3):
        counts, design, _ = drawn(10 + seed, n_time=6000, n_unit=6, n_state=2)
        fit = dataclasses.replace(MODEL, n_states=2).fit(counts, design)
        width = fit["prior_width"].sel(kind="history").to_numpy()
        found.append(np.hypot(*width))
        assert found[-1] > 0
    # Weights of each state are independent draws of deviation 0.9: around plus shared variance make it up.
    assert np.mean(found) == pytest.approx(0.9, rel=0.2)


def test_a_connectome_is_what_couplings_fall_back_on(small):
    _, counts, design, truth, _ = small
    units = counts["unit"].to_numpy()
    wiring = xr.DataArray(
        truth["weight"].mean("state").to_numpy()[..., 0] + 0.0, dims=("unit", "unit_to"),
        coords={"unit": units, "unit_to": units},
    )  # fmt: skip
    prior = nt.GaussianPrior(width=1e-3, shared_width=1e-3, learn=False)
    model = nt.SwitchingGLM(2, link="sigmoid", prior=prior, n_restarts=1)
    few = slice(0, 60)
    fit = model.fit(counts[few], design[few], connectome=wiring.isel(unit=[1, 2, 0]).T)
    np.testing.assert_allclose(fit["weight"].isel(basis=0), np.stack([wiring] * 2), atol=0.01)
    with pytest.raises(SchemaError, match="other labels along 'unit'"):
        model.fit(counts, design, connectome=wiring.assign_coords(unit=["x", "y", "z"]))
    stimulus = nt.glm_design(counts, stimulus=counts.isel(unit=0).astype(float).drop_vars("unit"))
    with pytest.raises(SchemaError, match="there are none"):
        model.fit(counts, stimulus, connectome=wiring)


# ---- choices --------------------------------------------------------------------------------------------
def choices(rng, n=3000):
    state = (np.arange(n) // 100) % 2
    contrast = rng.normal(size=n)
    drive = np.where(state == 0, 3 * contrast, 0.3 * contrast + 1)
    choice = (rng.random(n) < 1 / (1 + np.exp(-drive))).astype(int)
    table = xr.Dataset(
        {"choice": ("trial", choice), "design": (("trial", "feature"), contrast[:, None])},
        coords={
            "trial": np.arange(n), "session": ("trial", np.arange(n) // 500), "feature": ["contrast"],
            "subject": ("trial", np.repeat(["a", "b"], n // 2)),
        },
    )  # fmt: skip
    return xr.DataTree.from_dict({"/behaviour": table}), state


def test_choices_have_no_units_and_are_scored_per_trial(rng):
    recording, state = choices(rng)
    design, choice = nt.choice_design(recording, n_back=1), recording["behaviour/choice"]
    model = nt.SwitchingGLM(2, family="bernoulli", n_restarts=2)
    fit = model.fit(choice, design)
    assert fit["feature_weight"].dims == ("state", "feature")
    assert fit["bias"].dims == ("state",)
    engaged = int(fit["feature_weight"].sel(feature="contrast").to_numpy().argmax())
    assert float(fit["feature_weight"].sel(feature="contrast", state=engaged)) == pytest.approx(3, abs=0.6)
    assert ((fit["state_prob"].sel(state=engaged) > 0.5) == (state == 0)).mean() > 0.9
    p = choice.to_numpy().mean()
    null = len(state) * (p * np.log(p) + (1 - p) * np.log(1 - p))
    wanted = (float(model.predict(fit, choice, design)["log_likelihood"].sum()) - null) / len(state)
    assert model.score(fit, choice, design) == pytest.approx(wanted / np.log(2), rel=1e-10)
    with pytest.raises(SettingsError, match="other units"):
        model.score(fit, choice, design, kind="cosmoothing")


def test_a_fit_of_choices_is_saved_and_opened(rng, tmp_path):
    recording, _ = choices(rng, 600)
    model = nt.SwitchingGLM(2, family="bernoulli", n_restarts=1, prior=nt.RidgePrior(0.5), max_iter=50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeurotoolsWarning)
        fit = model.fit(recording["behaviour/choice"], nt.choice_design(recording))
    opened = nt.open_fit(nt.save(fit, tmp_path / "fit.nc"))
    xr.testing.assert_identical(opened, fit)
    assert nt.model_of(opened) == model


# ---- what cannot be used --------------------------------------------------------------------------------
def test_data_that_do_not_fit_are_named(small):
    model, counts, design, _, fit = small
    keep = counts.attrs
    with pytest.raises(SchemaError, match="whole numbers"):
        model.fit((counts + 0.5).assign_attrs(keep), design)
    with pytest.raises(SchemaError, match="whole numbers"):
        model.fit((counts - 9).assign_attrs(keep), design)
    with pytest.raises(SchemaError, match="differ in samples"):
        model.fit(counts[:-1], design)
    with pytest.raises(SchemaError, match="differ in labels of 'time'"):
        model.fit(counts[1:], design[:-1])
    with pytest.raises(SchemaError, match="differ in sessions"):
        model.fit(counts.drop_vars("session"), design)
    with pytest.raises(SchemaError, match=r"history of other units.*\n.*lacks none; not observed: u2"):
        model.fit(counts.isel(unit=[0, 1]), design)
    with pytest.raises(SchemaError, match="two samples for each state"):
        dataclasses.replace(model, n_states=9).fit(counts[:10], design[:10])
    with pytest.raises(SchemaError, match="0 or 1"):
        nt.SwitchingGLM(2, family="bernoulli").fit(counts, design)
    other = counts.assign_coords(unit=["x", "y", "z"])
    with pytest.raises(SchemaError, match="other units than the data"):
        model.predict(fit, other, nt.glm_design(other, nt.ExponentialHistory()))
    with pytest.raises(SchemaError, match="other functions of the lag"):
        model.predict(fit, counts, nt.glm_design(counts, nt.RaisedCosine(2, 0.1)))
    with pytest.raises(SchemaError, match="no spikes to score"):
        model.score(fit, (counts * 0).assign_attrs(keep), design)


def test_units_that_never_fire_and_dependent_regressors_are_told(small):
    model, counts, _, *_ = small
    silent = counts.copy(data=counts.to_numpy() * np.array([1, 0, 1]))
    with (
        pytest.warns(NeurotoolsWarning, match=r"1 units never fire \(u1\)"),
        pytest.warns(NeurotoolsWarning, match="1 columns that others"),  # its own history never varies
    ):
        fit = model.fit(silent, nt.glm_design(silent, nt.ExponentialHistory()))
    assert np.isfinite(fit["weight"]).all()
    twice = xr.Dataset({"a": counts[:, 0].drop_vars("unit"), "b": 2 * counts[:, 0].drop_vars("unit")})
    with pytest.warns(NeurotoolsWarning, match="1 columns that others"):
        model.fit(counts, nt.glm_design(counts, stimulus=twice))


def test_more_states_than_the_data_bear_are_told(small):
    _, counts, design, *_ = small
    with pytest.warns(NeurotoolsWarning, match="hold fewer samples than each unit has weights"):
        nt.SwitchingGLM(8, link="sigmoid", n_restarts=1, max_iter=20).fit(counts[:24], design[:24])


def test_a_fit_that_has_not_converged_says_so(small):
    model, counts, design, *_ = small
    with pytest.warns(NeurotoolsWarning, match="not converged"):
        dataclasses.replace(model, max_iter=2, prior=nt.RidgePrior()).fit(counts, design)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"n_states": 0}, "n_states"), ({"n_states": 2, "family": "poison"}, "'poisson'"),
        ({"n_states": 2, "family": "bernoulli", "link": "log"}, "link of the family bernoulli"),
        ({"n_states": 2, "tol": -1.0}, "tol"), ({"n_states": 2, "dtype": "int8"}, "dtype"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_named(settings, match):
    with pytest.raises(SettingsError, match=match):
        nt.SwitchingGLM(**settings)


def test_priors_that_cannot_be_are_named():
    with pytest.raises(SettingsError, match="strength"):
        nt.RidgePrior(0.0)
    with pytest.raises(SettingsError, match="shared_width"):
        nt.GaussianPrior(shared_width=-1.0)
