"""NTF of labelled affinities: known numbers, names, new data, several animals, and what is refused."""

import tracemalloc

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools import schema
from neurotools.errors import SchemaError, SettingsError
from neurotools.models import ntf as module
from neurotools.models.ntf import layouts as laying
from neurotools.numerics import affinity as kernels

LAYOUTS = ("pair", "symcp")


# ---- data ---------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def songbird():
    x = nt.load("songbird-hvc")["calcium/activity"]
    return nt.differential_affinity(x, smooth_s=2 / 30)


def bursts(rng, n_unit=12, n_time=150, n_subject=None):
    """Traces of three groups of units, each with its own moments of activity."""
    t = np.arange(n_time)
    moments = rng.uniform(5, n_time - 5, (3, 4, 1))
    courses = np.exp(-0.5 * ((t - moments) / 3) ** 2).sum(axis=1)
    shape = (n_unit,) if n_subject is None else (n_subject, n_unit)
    values = courses[np.arange(n_unit) % 3] * rng.uniform(0.5, 2, shape)[..., None]
    return values + 0.02 * rng.normal(size=values.shape)


def traces(rng, **options):
    return schema.continuous(bursts(rng, **options), dim="unit", sfreq=10.0, units="1")


def animals(rng, n_subject=4, n_unit=12):
    """Four animals; each lacks some units."""
    values = bursts(rng, n_subject=n_subject, n_unit=n_unit)
    for animal in range(n_subject):
        values[animal, [animal, animal + 4]] = np.nan
    coords = {"subject": list("abcd"), "unit": np.arange(n_unit), "time": np.arange(150) / 10}
    return xr.DataArray(values, dims=("subject", "unit", "time"), coords=coords)


def model_slice(fit, parts=("weight", "time_loading", "subject_loading")):
    """The sum over components that a fit stands for."""
    total = nt.motif(fit)
    for name in parts:
        total = total * fit[name] if name in fit else total
    return total.sum("component")


# ---- known numbers ------------------------------------------------------------------------------------
@pytest.mark.parametrize(("rank", "bound"), [(2, 0.8792), (4, 0.8368), (8, 0.7859)])
def test_songbird_errors(songbird, rank, bound):
    fit = nt.NTF(rank=rank, n_restarts=10, seed=0).fit(songbird)
    assert fit.attrs["relative_error"] <= bound
    assert fit.attrs["converged"] == 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_error_is_that_of_the_labelled_model(songbird, layout):
    fit = nt.NTF(rank=3, layout=layout, n_restarts=2).fit(songbird)
    data = nt.dense_affinity(songbird)
    left = (data - model_slice(fit)).transpose("unit", "unit_to", "time").to_numpy()
    assert np.linalg.norm(left) / np.linalg.norm(data) == pytest.approx(
        fit.attrs["relative_error"], abs=1e-10
    )


# ---- what a fit holds ---------------------------------------------------------------------------------
@pytest.mark.parametrize("layout", LAYOUTS)
def test_fit_has_the_names_that_were_promised(rng, layout):
    x = traces(rng)
    fit = nt.NTF(rank=3, layout=layout, n_restarts=4, seed=2).fit(nt.differential_affinity(x))
    assert fit["time_loading"].dims == ("component", "time")
    assert fit["weight"].dims == ("component",)
    assert fit["error"].dims == ("iteration",)
    assert fit["restart_error"].sizes == {"restart": 4}
    assert fit["restart_similarity"].dims == ("restart", "restart_to")
    assert "subject_loading" not in fit
    assert ("motif" in fit) == (layout == "pair")
    assert ("unit_loading" in fit) == (layout == "symcp")
    assert fit["iteration"].to_numpy().tolist() == list(range(1, fit.attrs["n_iter"] + 1))
    assert fit.attrs["relative_error"] == float(fit["restart_error"].min()) == float(fit["error"][-1])
    xr.testing.assert_identical(fit["time"], x["time"])
    weight = fit["weight"].to_numpy()
    assert (np.diff(weight) <= 0).all()
    np.testing.assert_allclose(np.linalg.norm(fit["time_loading"], axis=1), 1.0)
    np.testing.assert_allclose(np.diag(fit["restart_similarity"]), 1.0)
    assert (np.diff(fit["error"]) <= 1e-12).all()
    for name in ("time_loading", "weight", "motif", "unit_loading"):
        assert name not in fit or float(fit[name].min()) >= 0


def test_motif_gives_a_symmetric_matrix_for_every_layout(rng):
    affinity = nt.differential_affinity(traces(rng))
    for layout in LAYOUTS:
        fit = nt.NTF(rank=2, layout=layout, n_restarts=1).fit(affinity)
        motif = nt.motif(fit)
        assert motif.dims == ("component", "unit", "unit_to")
        values = motif.to_numpy()
        np.testing.assert_array_equal(values, values.swapaxes(1, 2))
        assert (np.diagonal(values, axis1=1, axis2=2) == 0).all()
        np.testing.assert_array_equal(nt.motif(fit, component=1), values[1])
        with pytest.raises(SchemaError, match="no component 2"):
            nt.motif(fit, component=2)
    with pytest.raises(SchemaError, match="factorisation is needed"):
        nt.motif(affinity)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_same_seed_same_bits_and_start_k_is_start_k(rng, layout):
    affinity = nt.differential_affinity(traces(rng))
    model = nt.NTF(rank=3, layout=layout, n_restarts=3, max_iter=25, seed=5)
    fit = model.fit(affinity)
    xr.testing.assert_identical(fit, model.fit(affinity))
    xr.testing.assert_identical(fit, model.fit(affinity.transpose(..., "unit")))
    fewer = nt.NTF(rank=3, layout=layout, n_restarts=2, max_iter=25, seed=5).fit(affinity)
    np.testing.assert_allclose(fewer["restart_error"], fit["restart_error"][:2], rtol=1e-9)
    other = nt.NTF(rank=3, layout=layout, n_restarts=3, max_iter=25, seed=6).fit(affinity)
    assert not np.allclose(other["restart_error"], fit["restart_error"], rtol=1e-12)


def test_zero_tolerance_makes_every_sweep(rng):
    fit = nt.NTF(rank=2, n_restarts=2, max_iter=7, tol=0).fit(nt.differential_affinity(traces(rng)))
    assert fit.attrs["n_iter"] == fit.sizes["iteration"] == 7
    assert fit.attrs["converged"] == 0


def test_regions_keep_their_name(rng):
    x = traces(rng).rename(unit="region")
    fit = nt.NTF(rank=2, n_restarts=1).fit(nt.differential_affinity(x))
    assert fit["motif"].dims == ("component", "region", "region_to")


def every_kernel(x, kernel):
    options = {} if kernel == "edge" else {"smooth_s": 0.5}
    if kernel == "lagged":
        options["lag_s"] = 0.2
    return nt.differential_affinity(x, kernel=kernel, **options)


@pytest.mark.parametrize("kernel", kernels.KERNELS)
@pytest.mark.parametrize("layout", ["pair", "symcp", "ll1"])
def test_every_kernel_factored_or_dense_gives_the_same(rng, layout, kernel):
    affinity = every_kernel(traces(rng), kernel)
    if kernel == "lagged" and layout != "pair":
        with pytest.raises(SettingsError, match='layout="cp"'):
            nt.NTF(rank=1, layout=layout).fit(affinity)
        layout = "cp"
    model = nt.NTF(rank=3, layout=layout, n_restarts=2, max_iter=15, tol=0)
    factored, dense = model.fit(affinity), model.fit(nt.dense_affinity(affinity))
    np.testing.assert_allclose(dense["restart_error"], factored["restart_error"], rtol=1e-9)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_devices_and_precisions_agree(rng, device, layout):
    affinity = nt.differential_affinity(traces(rng))
    reference = nt.NTF(rank=3, layout=layout, n_restarts=2, max_iter=15, tol=0).fit(affinity)
    for dtype, tolerance in (("float64", 1e-8), ("float32", 1e-3)):
        model = nt.NTF(rank=3, layout=layout, n_restarts=2, max_iter=15, tol=0, device=device, dtype=dtype)
        fit = model.fit(affinity)
        np.testing.assert_allclose(fit["restart_error"], reference["restart_error"], rtol=tolerance)


# ---- memory -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kernel", ["geomean", "product"])
def test_one_loading_per_unit_never_meets_a_pair(rng, monkeypatch, kernel):
    n_unit, n_time = 400, 300

    def refuse(*_):
        raise AssertionError("a pair was made")

    affinity = nt.differential_affinity(traces(rng, n_unit=n_unit, n_time=n_time), kernel=kernel)
    for name in ("pair_index", "pack", "unpack", "slices_of"):
        monkeypatch.setattr(kernels, name, refuse)
    tracemalloc.start()
    fit = nt.NTF(rank=3, layout="symcp", n_restarts=2, max_iter=5, tol=0).fit(affinity)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert fit.sizes == {**fit.sizes, "unit": n_unit, "component": 3}
    dense = 8 * n_time * n_unit**2
    assert peak < 20 * affinity.nbytes / 2 < dense / 5


def test_pairs_in_blocks_give_the_same_as_pairs_in_memory(rng, monkeypatch):
    affinity = nt.differential_affinity(animals(rng))
    model = nt.NTF(rank=2, n_restarts=2, max_iter=10, tol=0)
    stored = model.fit(affinity)
    monkeypatch.setattr(laying, "STORED_BYTES", 0)
    monkeypatch.setattr(laying.pairs, "BLOCK_BYTES", 66 * 8 * 37)
    np.testing.assert_allclose(model.fit(affinity)["motif"], stored["motif"], rtol=1e-9, atol=1e-12)


def test_restarts_in_small_batches_give_the_same(rng, monkeypatch):
    affinity = nt.differential_affinity(traces(rng))
    model = nt.NTF(rank=2, n_restarts=3, max_iter=10, tol=0)
    together = model.fit(affinity)
    monkeypatch.setattr(module, "BATCH_BYTES", 1)
    np.testing.assert_allclose(model.fit(affinity)["restart_error"], together["restart_error"], rtol=1e-12)


# ---- several animals ----------------------------------------------------------------------------------
@pytest.mark.parametrize("layout", LAYOUTS)
def test_animals_with_missing_units(rng, layout):
    affinity = nt.differential_affinity(animals(rng), smooth_s=0.2)
    fit = nt.NTF(rank=3, layout=layout, n_restarts=3).fit(affinity)
    assert fit["subject_loading"].dims == ("component", "subject")
    assert fit["subject"].to_numpy().tolist() == list("abcd")
    np.testing.assert_allclose(np.linalg.norm(fit["subject_loading"], axis=1), 1.0)
    data = nt.dense_affinity(affinity)
    left = (data - model_slice(fit)).transpose(*data.dims)  # NaN where not observed
    error = float(np.sqrt((left**2).sum() / (data**2).sum()))
    assert error == pytest.approx(fit.attrs["relative_error"], abs=1e-9)
    dense = nt.NTF(rank=3, layout=layout, n_restarts=3).fit(data)
    assert dense.attrs["relative_error"] == pytest.approx(fit.attrs["relative_error"], abs=1e-6)


def test_a_pair_that_no_animal_shows_is_zero_and_said(rng):
    x = animals(rng)
    x[:2, 7], x[2:, 8] = np.nan, np.nan  # unit 7 is left in one animal alone
    with pytest.warns(nt.errors.NeurotoolsWarning, match="3 pairs of units were never observed together"):
        fit = nt.NTF(rank=2, n_restarts=1).fit(nt.differential_affinity(x))
    assert (fit["motif"].sel(unit=7, unit_to=8) == 0).all()


# ---- new data -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("make", [traces, animals])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_known_motifs_in_the_same_data_give_the_same_times(rng, layout, make):
    affinity = nt.differential_affinity(make(rng), smooth_s=0.2)
    model = nt.NTF(rank=3, layout=layout, n_restarts=2, tol=1e-10, max_iter=300)
    fit = model.fit(affinity)
    times = model.transform(fit, affinity)
    assert times.dims == ("component", "time")
    np.testing.assert_allclose(times, fit["time_loading"], atol=1e-3)
    assert model.score(fit, affinity) == pytest.approx(1 - fit.attrs["relative_error"] ** 2, abs=1e-6)
    assert model.score(fit, affinity) >= 1 - fit.attrs["relative_error"] ** 2 - 1e-12
    piece = affinity.isel(time=slice(20, 30))
    np.testing.assert_allclose(model.transform(fit, piece), times[:, 20:30], atol=1e-9)
    predicted, shown = model.predict(fit, piece), nt.dense_affinity(piece)
    assert predicted.dims == shown.dims
    expected = model_slice(fit.assign(time_loading=times)).transpose(*shown.dims)
    np.testing.assert_allclose(predicted, expected.isel(time=slice(20, 30)), atol=1e-9)


def test_data_that_do_not_belong_to_the_fit_are_refused(rng):
    x = traces(rng)
    affinity, model = nt.differential_affinity(x), nt.NTF(rank=2, n_restarts=1)
    fit = model.fit(affinity)
    with pytest.raises(SchemaError, match="other units than the fit"):
        model.transform(fit, affinity.isel(unit=slice(None, None, -1)))
    with pytest.raises(SchemaError, match="another kernel"):
        model.score(fit, nt.differential_affinity(x, kernel="min"))
    with pytest.raises(SchemaError, match="only one of fit and affinity has subjects"):
        model.transform(fit, nt.differential_affinity(animals(rng).assign_coords(unit=x["unit"])))
    several = nt.differential_affinity(animals(rng))
    with pytest.raises(SchemaError, match="no loading for some subjects"):
        model.transform(model.fit(several), several.assign_coords(subject=list("abcx")))


def test_one_animal_of_several_is_transformed_with_its_own_loading(rng):
    affinity, model = nt.differential_affinity(animals(rng)), nt.NTF(rank=2, n_restarts=1)
    fit = model.fit(affinity)
    times = model.transform(fit, affinity.sel(subject=["c"]))
    assert times.sizes == {"component": 2, "time": 150}


# ---- what is refused ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "pairs"}, "Did you mean 'pair'"),
        ({"loss": "huber"}, "no loss named 'huber'"),
        ({"n_parts": 0}, "n_parts must be at least 1"),
        ({"dtype": "float16"}, "float64, float32"),
        ({"rank": 0}, "rank must be at least 1"),
        ({"n_restarts": 0}, "n_restarts must be at least 1"),
        ({"tol": -1.0}, "tol must be at least 0"),
    ],
)
def test_impossible_settings_are_named(options, message):
    with pytest.raises(SettingsError, match=message):
        nt.NTF(**{"rank": 2, **options})


def test_data_that_are_no_affinity_are_refused(rng):
    model = nt.NTF(rank=2, n_restarts=1)
    with pytest.raises(SchemaError, match=r"nt\.differential_affinity"):
        model.fit(traces(rng).to_dataset(name="activity"))
    with pytest.raises(SchemaError, match="dense affinity needs dimensions"):
        model.fit(traces(rng))
    still = schema.continuous(np.ones((3, 20)), dim="unit", sfreq=10.0, units="1")
    with pytest.raises(SchemaError, match="nothing moves together"):
        model.fit(nt.differential_affinity(still))
    dense = nt.dense_affinity(nt.differential_affinity(traces(rng)))
    with pytest.raises(SchemaError, match="must not be negative"):
        model.fit(-dense)
    with pytest.raises(SchemaError, match="must be symmetric"):
        model.fit(dense.where(dense["unit"] < 6, 0.0))
    with pytest.raises(SchemaError, match="not finite"):
        model.fit(dense.where(dense["time"] > 1))
    several = nt.dense_affinity(nt.differential_affinity(animals(rng)))
    several[0, 5, 6, 7] = np.nan
    with pytest.raises(SchemaError, match="NaN at all times"):
        model.fit(several)


def test_a_subject_or_recording_without_pairs_is_refused(rng):
    x, model = animals(rng), nt.NTF(rank=2, n_restarts=1)
    x[1, 1:] = np.nan
    with pytest.raises(SchemaError, match=r"two units are needed in every subject[\s\S]*subject b: 1"):
        model.fit(nt.differential_affinity(x))
    with pytest.raises(SchemaError, match="at least two units are needed"):
        model.fit(nt.differential_affinity(traces(rng, n_unit=1)))


# ---- degenerate data --------------------------------------------------------------------------------------
@pytest.mark.parametrize("layout", LAYOUTS)
def test_more_components_than_there_are_give_numbers_not_nan(layout):
    course = np.sin(np.arange(60) / 5) ** 2
    x = schema.continuous(np.stack([course, course, 0 * course]), dim="unit", sfreq=10.0, units="1")
    fit = nt.NTF(rank=4, layout=layout, n_restarts=3).fit(nt.differential_affinity(x))
    assert fit.attrs["relative_error"] < 1e-3
    for name, variable in fit.data_vars.items():
        assert np.isfinite(variable).all(), name


def test_a_fit_says_how_its_affinity_was_made():
    traces = schema.continuous(np.random.default_rng(0).random((4, 60)), dim="unit", sfreq=10.0, units="1")
    affinity = nt.differential_affinity(traces, kernel="min", smooth_s=0.3, floor=0.05)
    fit = nt.NTF(rank=1, n_restarts=1, max_iter=2).fit(affinity)
    told = {name: fit.attrs[name] for name in ("kernel", "smooth_s", "normalise", "floor")}
    assert told == {"kernel": "min", "smooth_s": 0.3, "normalise": "max", "floor": 0.05}


# ---- losses, masks, layouts, and tensors from outside ---------------------------------------------------
def listed(dense):
    """The entries above zero of a dense affinity, every pair once."""
    values = dense.transpose(..., "unit", "unit_to", "time")
    ordered = bool(dense.attrs.get("ordered", 0))
    place = np.nonzero(values.to_numpy())
    keep = (place[-3] != place[-2]) if ordered else (place[-3] < place[-2])
    place = [p[keep] for p in place]
    names = values.dims
    coords = {n: ("entry", values[n].to_numpy()[p]) for n, p in zip(names, place, strict=True)}
    return xr.DataArray(values.to_numpy()[tuple(place)], coords, ("entry",), attrs=dense.attrs)


@pytest.mark.parametrize("layout", ["pair", "symcp", "ll1"])
def test_a_list_of_entries_gives_what_the_dense_tensor_gives(rng, layout):
    dense = nt.dense_affinity(nt.differential_affinity(traces(rng), floor=0.2))
    dense = dense.isel(time=np.flatnonzero((dense > 0).any(("unit", "unit_to"))))
    model = nt.NTF(rank=2, layout=layout, n_restarts=2, max_iter=8, tol=0)
    fit, whole = model.fit(listed(dense)), model.fit(dense)
    np.testing.assert_allclose(fit["restart_error"], whole["restart_error"], rtol=1e-9)
    np.testing.assert_allclose(nt.motif(fit), nt.motif(whole), atol=1e-9)
    twice = xr.concat([listed(dense), listed(dense).isel(entry=[0])], dim="entry")
    with pytest.raises(SchemaError, match="more than once"):
        model.fit(twice)
    with pytest.raises(SchemaError, match="no stretches to hold out"):
        nt.rank_scan(model, listed(dense), [1])


def test_direction_matters_where_it_is_said_to(rng):
    affinity = nt.differential_affinity(traces(rng), kernel="lagged", lag_s=0.3)
    moving = np.flatnonzero((nt.dense_affinity(affinity) > 0).any(("unit", "unit_to")))
    affinity = affinity.isel(time=moving)
    dense = nt.dense_affinity(affinity)
    assert dense.attrs["ordered"] == 1
    for layout in ("pair", "cp"):
        model = nt.NTF(rank=2, layout=layout, n_restarts=2, max_iter=8, tol=0)
        fits = [model.fit(data) for data in (affinity, dense, listed(dense))]
        for fit in fits[1:]:
            np.testing.assert_allclose(fit["restart_error"], fits[0]["restart_error"], rtol=1e-9)
        motif = nt.motif(fits[0])
        assert not np.allclose(motif, motif.transpose("component", "unit_to", "unit"))
        left = (dense - model_slice(fits[0])).to_numpy()
        assert np.linalg.norm(left) / np.linalg.norm(dense) == pytest.approx(fits[0].attrs["relative_error"])
    assert fits[0]["unit_to_loading"].dims == ("component", "unit_to")
    assert fits[0].attrs["lag_s"] == 0.3
    with pytest.raises(SettingsError, match='layout="symcp"'):
        nt.NTF(rank=1, layout="cp").fit(nt.differential_affinity(traces(rng)))


def test_motifs_of_parts_are_sums_of_outer_products(rng):
    affinity = nt.differential_affinity(animals(rng), smooth_s=0.2)
    model = nt.NTF(rank=2, layout="ll1", n_parts=3, n_restarts=2)
    fit = model.fit(affinity)
    assert fit["unit_loading"].dims == ("component", "part", "unit")
    loading = fit["unit_loading"].to_numpy()
    expected = np.einsum("rli,rlj->rij", loading, loading) * (1 - np.eye(12))
    np.testing.assert_allclose(nt.motif(fit), expected, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(kernels.pack(expected), axis=1), 1.0)
    data = nt.dense_affinity(affinity)
    left = (data - model_slice(fit)).transpose(*data.dims)
    error = float(np.sqrt((left**2).sum() / (data**2).sum()))
    assert error == pytest.approx(fit.attrs["relative_error"], abs=1e-9)
    assert model.score(fit, affinity) >= 1 - fit.attrs["relative_error"] ** 2 - 1e-9


@pytest.mark.parametrize("loss", ["kl", "gamma"])
@pytest.mark.parametrize("make", [traces, animals])
def test_likelihoods_fit_and_know_their_motifs_in_new_data(rng, loss, make):
    affinity = nt.differential_affinity(make(rng), smooth_s=0.2, floor=0.05)
    model = nt.NTF(rank=2, loss=loss, n_restarts=2, max_iter=30)
    fit = model.fit(affinity)
    assert (np.diff(fit["error"]) <= 1e-9).all()
    assert 0 < fit.attrs["relative_error"] < 0.9
    assert float(fit["motif"].min()) >= 0
    times = model.transform(fit, affinity)
    assert model.score(fit, affinity) >= 1 - fit.attrs["relative_error"] - 1e-6
    assert times.dims == ("component", "time")
    assert nt.model_of(fit) == model


def test_hidden_entries_change_nothing_and_are_foretold(rng):
    dense = nt.dense_affinity(nt.differential_affinity(traces(rng), smooth_s=0.2))
    hide = np.triu(np.random.default_rng(1).random((150, 12, 12)) < 0.1, 1)
    mask = xr.DataArray(~(hide | hide.swapaxes(1, 2)), dims=("time", "unit", "unit_to"))
    model = nt.NTF(rank=3, n_restarts=2, max_iter=40)
    fit = model.fit(dense, mask=mask)
    other = model.fit(dense.where(mask, 5.0).transpose(*dense.dims), mask=mask)
    np.testing.assert_array_equal(fit["restart_error"], other["restart_error"])
    left = (dense - model_slice(fit)).where(~mask)
    assert float((left**2).sum() / (dense.where(~mask) ** 2).sum()) < 0.5
    whole = nt.NTF(rank=3, n_restarts=2, max_iter=40).fit(dense)
    again = model.fit(dense, mask=xr.ones_like(mask))
    np.testing.assert_allclose(again["restart_error"], whole["restart_error"], atol=1e-2)


def test_what_masks_and_likelihoods_cannot_do_is_said(rng):
    affinity = nt.differential_affinity(traces(rng))
    mask = xr.DataArray(np.ones((150, 12, 12), dtype=bool), dims=("time", "unit", "unit_to"))
    with pytest.raises(SettingsError, match='needs layout="pair"'):
        nt.NTF(rank=1, layout="symcp").fit(affinity, mask=mask)
    with pytest.raises(SettingsError, match='needs layout="pair"'):
        nt.NTF(rank=1, layout="symcp", loss="kl").fit(affinity)
    with pytest.raises(SettingsError, match="needs least squares"):
        nt.NTF(rank=1, loss="kl").fit(affinity, mask=mask)
    with pytest.raises(SchemaError, match="differ in size"):
        nt.NTF(rank=1).fit(affinity, mask=mask.isel(time=slice(9)))
    with pytest.raises(SchemaError, match="other dimensions"):
        nt.NTF(rank=1).fit(affinity, mask=mask.isel(time=0))
    uneven = mask.copy(data=np.triu(mask.to_numpy()))
    with pytest.raises(SchemaError, match="same both ways"):
        nt.NTF(rank=1).fit(affinity, mask=uneven)


# ---- kernels of the labelled function ---------------------------------------------------------------------
def test_settings_that_contradict_the_kernel_are_named(rng):
    x = traces(rng)
    for options, message in (
        ({"kernel": "lagged"}, "go together"),
        ({"lag_s": 0.1}, "go together"),
        ({"kernel": "lagged", "lag_s": -1.0}, "above 0"),
        ({"kernel": "lagged", "lag_s": 0.01}, "at least one sample"),
        ({"kernel": "edge", "smooth_s": 1.0}, "no slopes to smooth"),
        ({"kernel": "mtd"}, "width of its window"),
        ({"kernel": "mtd", "smooth_s": 1.0, "floor": 0.1}, "floor acts on slopes"),
    ):
        with pytest.raises(SettingsError, match=message):
            nt.differential_affinity(x, **options)
