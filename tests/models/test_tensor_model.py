"""Any labelled tensor: planted components, names, masks, refusals, and a brain potential that is known."""

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError
from neurotools.numerics import tensor

DIMS = ("subject", "condition", "channel")


def planted(signed=False, noise=0.01, shape=(6, 5, 8)):
    rng = np.random.default_rng(0)
    factors = [rng.normal(size=(3, n)) if signed else rng.random((3, n)) for n in shape]
    values = np.einsum("ri,rj,rk->ijk", *factors) + noise * rng.normal(size=shape)
    return xr.DataArray(values, dims=DIMS, coords={"subject": list("abcdef")}), factors


def congruence(fit, factors):
    found = [fit[f"{dim}_loading"].transpose("component", dim).to_numpy() for dim in DIMS]
    return tensor.match(np.abs(tensor.congruence(found, factors)))[1]


# ---- what is found ----------------------------------------------------------------------------------
@pytest.mark.parametrize("nonnegative", [(), ("channel",), DIMS])
def test_planted_components_are_found_with_the_names_of_the_dimensions(nonnegative):
    x, factors = planted(signed=nonnegative == ())
    model = nt.TensorModel("cp", 3, nonnegative=nonnegative, n_restarts=3, max_iter=300, tol=1e-6, seed=2)
    fit = model.fit(x)
    assert congruence(fit, factors) > 0.98
    assert fit["subject_loading"].dims == ("component", "subject")
    assert fit["subject"].to_numpy().tolist() == list("abcdef")
    assert (np.diff(fit["weight"]) <= 0).all()
    for dim in DIMS:
        loading = fit[f"{dim}_loading"].transpose("component", dim)
        np.testing.assert_allclose(np.linalg.norm(loading, axis=1), 1.0)
        assert dim not in nonnegative or float(loading.min()) >= 0
    assert fit.attrs["converged"] == 1
    assert model.score(fit, x) == pytest.approx(1 - fit.attrs["relative_error"] ** 2, abs=1e-9)
    xr.testing.assert_allclose(model.predict(fit, x), model.predict(fit, x.transpose()).transpose(*DIMS))


def test_hidden_entries_are_predicted():
    x, factors = planted()
    seen = xr.DataArray(np.random.default_rng(1).random(x.shape) < 0.8, dims=DIMS)
    model = nt.TensorModel("cp", 3, nonnegative=DIMS, n_restarts=3, max_iter=200)
    fit = model.fit(x.where(seen), mask=seen)
    assert congruence(fit, factors) > 0.97
    left = (model.predict(fit, x) - x).where(~seen)
    assert float(np.sqrt((left**2).sum() / (x.where(~seen) ** 2).sum())) < 0.1


def test_a_core_joins_components_of_every_dimension():
    x, _ = planted(signed=True)
    model = nt.TensorModel("tucker", (3, 2, 3), n_restarts=2)
    fit = model.fit(x.transpose("subject", "condition", "channel"))
    # ranks belong to the dimensions in alphabetical order: channel, condition, subject
    assert fit["core"].dims == ("channel_component", "condition_component", "subject_component")
    assert fit["core"].shape == (3, 2, 3)
    left = np.linalg.norm(x - model.predict(fit, x)) / np.linalg.norm(x)
    assert left == pytest.approx(fit.attrs["relative_error"], rel=1e-6)
    bounded = nt.TensorModel("tucker", 3, nonnegative=DIMS, n_restarts=1, max_iter=100).fit(planted()[0])
    assert min(float(bounded[name].min()) for name in ("core", "subject_loading")) >= 0


def test_a_dimension_may_evolve_along_the_first():
    rng = np.random.default_rng(4)
    shared, loadings, channel = (
        rng.normal(size=(5, 2)),
        rng.uniform(0.5, 1.5, (4, 2)),
        rng.normal(size=(6, 2)),
    )
    slices = []
    for k in range(4):
        basis, _ = np.linalg.qr(rng.normal(size=(7, 5)))
        slices.append(basis @ shared * loadings[k] @ channel.T)
    x = xr.DataArray(np.stack(slices), dims=("session", "trial", "channel"))
    model = nt.TensorModel("parafac2", 2, n_restarts=1, max_iter=300)
    fit = model.fit(x)
    assert fit["trial_loading"].dims == ("component", "session", "trial")
    assert model.score(fit, x) > 0.999


def test_ranks_are_scanned_by_hidden_entries():
    x, _ = planted()
    model = nt.TensorModel("cp", 1, nonnegative=DIMS, n_restarts=2, max_iter=60)
    scan = nt.rank_scan(model, x, [1, 3], cv="speckled")
    assert scan.attrs["selected_rank"] == 3
    assert float(scan["core_consistency"].sel(rank=3)) > 90
    with pytest.raises(SettingsError, match="speckled"):
        nt.rank_scan(model, x, [1], cv="leave-subject-out")


# ---- what is refused --------------------------------------------------------------------------------
def test_what_cannot_be_done_is_said():
    x, _ = planted()
    for options, message in (
        ({"kind": "cpd", "rank": 2}, "no kind of factorisation named 'cpd'"),
        ({"kind": "cp", "rank": 0}, "rank must be at least 1"),
        ({"kind": "cp", "rank": (2, 2, 2)}, "a rank for every dimension"),
        ({"kind": "cp", "rank": 2, "n_restarts": 0}, "n_restarts must be at least 1"),
        ({"kind": "cp", "rank": 2, "tol": -1.0}, "tol must be at least 0"),
    ):
        with pytest.raises(SettingsError, match=message):
            nt.TensorModel(**options)
    with pytest.raises(SettingsError, match="dimensions that the data lack"):
        nt.TensorModel("cp", 2, nonnegative=("time",)).fit(x)
    with pytest.raises(SettingsError, match="in all dimensions or in none"):
        nt.TensorModel("tucker", 2, nonnegative=("channel",)).fit(x)
    with pytest.raises(SettingsError, match="one rank per dimension"):
        nt.TensorModel("tucker", (2, 2)).fit(x)
    with pytest.raises(SettingsError, match="only kind='cp' takes a mask"):
        nt.TensorModel("tucker", 2).fit(x, mask=x > 0)
    with pytest.raises(SchemaError, match="needs three dimensions"):
        nt.TensorModel("parafac2", 2).fit(x.isel(subject=0))
    with pytest.raises(SchemaError, match=r"mask=data\.notnull"):
        nt.TensorModel("cp", 2).fit(x.where(x > 0.1))
    with pytest.raises(SchemaError, match="differ in size"):
        nt.TensorModel("cp", 2).fit(x, mask=(x > 0).isel(channel=slice(3)))
    with pytest.raises(SchemaError, match="zero everywhere"):
        nt.TensorModel("cp", 2).fit(0 * x)
    fit = nt.TensorModel("cp", 1, n_restarts=1, max_iter=5).fit(x)
    with pytest.raises(SchemaError, match="not of the fit's dimensions"):
        nt.TensorModel("cp", 1).predict(fit, x.isel(channel=slice(3)))


def test_libraries_agree(device):
    x, _ = planted()
    errors = [
        nt.TensorModel("cp", 2, nonnegative=("channel",), n_restarts=2, max_iter=20, tol=0.0, device=where)
        .fit(x)["restart_error"]
        .to_numpy()
        for where in ("cpu", device)
    ]
    np.testing.assert_allclose(*errors, rtol=1e-8)


# ---- real recordings --------------------------------------------------------------------------------
def evoked(shared):
    """Evoked potentials (subject, condition, channel, time) in microvolts."""
    import mne

    folder = shared("data/eeg_erpcore_p3_evoked")
    subjects = []
    for path in sorted(folder.glob("*_ave.fif")):
        pieces = mne.read_evokeds(path, verbose="error")[:2]
        subjects.append(np.stack([piece.copy().pick("eeg").data for piece in pieces]))
    names = pieces[0].copy().pick("eeg").ch_names
    coords = {"condition": [piece.comment for piece in pieces], "channel": names, "time": pieces[0].times}
    values = 1e6 * np.stack(subjects)
    return xr.DataArray(values, dims=("subject", "condition", "channel", "time"), coords=coords)


def test_a_parietal_component_loads_on_the_target(shared):
    """The P3: late and parietal, larger where the rare letter was the target."""
    x = evoked(shared)
    model = nt.TensorModel(
        "cp", 3, nonnegative=("subject", "condition"), n_restarts=3, max_iter=200, tol=1e-5
    )
    fit = model.fit(x)
    late = fit["time_loading"].sel(time=slice(0.3, 0.6))
    parietal = ["P3", "Pz", "P4", "CPz"]
    found = []
    for r in fit["component"].to_numpy():
        times = late.sel(component=r)
        sign = np.sign(float(times.mean()))
        share = float((times**2).sum())
        topography = sign * fit["channel_loading"].sel(component=r)
        target, other = fit["condition_loading"].sel(component=r).to_numpy()
        strongest = topography["channel"].to_numpy()[np.argsort(-topography.to_numpy())][:8]
        found.append((share > 0.5, len(set(parietal) & set(strongest)) >= 2, target > other))
    assert (True, True, True) in found, found
