"""Connectivity against nilearn, live and as recorded; windows computed on demand; bad input."""

import tracemalloc

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError

KINDS = {"correlation": "correlation", "partial": "partial correlation", "precision": "precision"}
TOLERANCE = {"empirical": 1e-13, "ledoit_wolf": 1e-11}


def regions(values, sfreq=0.5, dim="region", **attrs):
    names = [f"r{i}" for i in range(values.shape[-1])]
    array = xr.DataArray(
        values,
        dims=("subject", "time", dim)[-values.ndim :],
        coords={dim: names},
        attrs={"units": "1", **attrs},
    )
    n = array.sizes["time"]
    array = array.assign_coords(time=("time", np.arange(n) / sfreq, {"units": "s"}))
    array.attrs |= {"sfreq": sfreq, "t0": 0.0}
    return array


@pytest.fixture
def several(rng):
    mixed = rng.normal(size=(4, 90, 3)) @ rng.normal(size=(4, 3, 10)) + rng.normal(size=(4, 90, 10))
    return regions(mixed * rng.uniform(0.5, 4, 10)).assign_coords(subject=list("abcd"))


@pytest.mark.parametrize("estimator", TOLERANCE)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("standardize", [True, False])
def test_it_is_what_nilearn_gives(several, kind, estimator, standardize):
    from nilearn.connectome import ConnectivityMeasure
    from sklearn.covariance import EmpiricalCovariance, LedoitWolf

    inner = {"empirical": EmpiricalCovariance, "ledoit_wolf": LedoitWolf}[estimator](store_precision=False)
    x = several.to_numpy()
    if standardize:  # nilearn does so for correlation only, whatever it is told
        x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    peer = ConnectivityMeasure(cov_estimator=inner, kind=KINDS[kind], standardize=False)
    found = nt.connectivity(several, kind=kind, estimator=estimator, standardize=standardize)
    assert found.dims == ("subject", "region", "region_to")
    expected = peer.fit_transform(list(x))
    assert_allclose(found, expected, atol=10 * TOLERANCE[estimator] * abs(expected).max())


@pytest.mark.parametrize("file", ["connectivity_T120_R30.npz", "connectivity_T20_R30.npz"])
def test_it_is_what_nilearn_gave(shared, file):
    with np.load(shared("reference/nilearn") / file, allow_pickle=False) as stored:
        expected = dict(stored)
    array = regions(expected["X"])
    words = {"empirical": "empirical", "ledoit_wolf": "ledoitwolf"}
    checked = 0
    for estimator, word in words.items():
        for kind, theirs in KINDS.items():
            name = f"{word}/raw/{theirs.replace(' ', '_')}"
            if name in expected:
                found = nt.connectivity(array, kind=kind, estimator=estimator, standardize=False)
                scale = abs(expected[name]).max()
                assert_allclose(found, expected[name], atol=10 * TOLERANCE[estimator] * scale)
                checked += 1
    spread = nt.connectivity(array, kind="covariance", standardize=False).rename(subject="recording")
    space = nt.tangent_space(spread)
    assert_allclose(space["reference"], expected["ledoitwolf/raw/tangent_mean"], rtol=1e-9, atol=1e-12)
    assert_allclose(space["displacement"], expected["ledoitwolf/raw/tangent"], atol=1e-9)
    new = nt.connectivity(regions(expected["X_new"]), kind="covariance")
    shifted = nt.tangent_space(new, space["reference"])
    assert shifted["displacement"].sizes["subject"] == 2
    assert checked >= 3


def test_tangent_is_one_call(several):
    found = nt.connectivity(several, kind="tangent")
    by_hand = nt.tangent_space(nt.connectivity(several, kind="covariance"))
    xr.testing.assert_identical(found, by_hand["displacement"])
    assert by_hand.attrs["converged"] == 1


def test_order_of_dimensions_is_free_and_labels_stay(several):
    found = nt.connectivity(several.transpose("region", "time", "subject"))
    xr.testing.assert_identical(found, nt.connectivity(several))
    assert list(found["region_to"].to_numpy()) == list(several["region"].to_numpy())
    assert found.attrs["units"] == "1"
    assert found.attrs["n_samples"] == 90


def test_units_follow_what_was_asked(several):
    volts = several.assign_attrs(units="V")
    assert nt.connectivity(volts, kind="covariance", standardize=False).attrs["units"] == "V^2"
    assert nt.connectivity(volts, kind="precision", standardize=False).attrs["units"] == "V^-2"
    assert nt.connectivity(volts, kind="partial", standardize=False).attrs["units"] == "1"


def test_scale_changes_shrunk_partial_correlation_unless_it_is_taken_out(several):
    scaled = several * xr.DataArray(np.geomspace(0.1, 100, 10), dims="region")
    scaled.attrs = several.attrs
    raw, taken_out = (
        [nt.connectivity(x, kind="partial", standardize=s) for x in (several, scaled)] for s in (False, True)
    )
    assert abs(raw[0] - raw[1]).max() > 0.05  # as the page on connectivity says
    assert_allclose(taken_out[0], taken_out[1], atol=1e-12)


def test_a_step_between_sessions_is_no_connectivity(rng):
    values = rng.normal(size=(200, 3))
    values[100:] += 50
    split = regions(values).assign_coords(session=("time", np.repeat(["a", "b"], 100)))
    assert abs(nt.connectivity(split, estimator="empirical")[0, 1]) < 0.3
    assert nt.connectivity(regions(values), estimator="empirical")[0, 1] > 0.9


def test_windows_are_those_of_the_whole_call_and_cross_no_session(several):
    one = several.isel(subject=0, drop=True)
    found = nt.dynamic_connectivity(one, window_s=40, step_s=10, kind="correlation")
    assert found.sizes["window"] == 15
    for place in (0, 7, 14):
        part = one.isel(time=slice(5 * place, 5 * place + 20))
        assert_allclose(found[place], nt.connectivity(part, estimator="empirical"), atol=1e-13)
        assert float(found["window"][place]) == pytest.approx(float(part["time"].mean()))
    split = one.assign_coords(session=("time", np.repeat(["a", "b"], 45)))
    apart = nt.dynamic_connectivity(split, window_s=40, step_s=10)
    assert apart.sizes["window"] == 12
    assert not ((apart["window"] > 70) & (apart["window"] < 109)).any()


def test_several_subjects_have_windows_too(several):
    found = nt.dynamic_connectivity(several, window_s=60, kind="partial", estimator="ledoit_wolf")
    assert found.dims == ("subject", "window", "region", "region_to")
    alone = nt.dynamic_connectivity(
        several.sel(subject="c", drop=True), window_s=60, kind="partial", estimator="ledoit_wolf"
    )
    assert_allclose(found.sel(subject="c")[3], alone[3], rtol=1e-12)


def test_windows_take_no_memory_until_they_are_used(rng, tmp_path):
    array = regions(rng.normal(size=(600, 200)))
    tracemalloc.start()
    found = nt.dynamic_connectivity(array, window_s=100, step_s=2)
    total = sum(float(found[i : i + 10].sum()) for i in range(0, found.sizes["window"], 10))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.nbytes > 170e6
    assert peak < 30e6
    assert np.isfinite(total)


def test_windows_are_saved_and_read_back(several, tmp_path):
    found = nt.dynamic_connectivity(several, window_s=60)
    path = nt.save(found, tmp_path / "windows.nc")
    with xr.open_dataset(path) as stored:
        assert_allclose(stored["connectivity"], found)


def test_the_story_is_compared():
    recording = nt.load("alice-story")
    found = nt.connectivity(recording, kind="partial")
    assert found.sizes == {"subject": 16, "region": 6, "region_to": 6}
    assert_allclose(np.diagonal(found, axis1=1, axis2=2), 1)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda x: x.where(x["time"] > 0), {}, "not finite"),
        (lambda x: x * (x["region"] != "r3"), {}, "never changes"),
        (lambda x: x[:, :1], {}, "at least two samples"),
        (lambda x: x[:, :8], {"kind": "partial", "estimator": "empirical"}, "has no inverse"),
        (lambda x: x[:1], {"kind": "tangent"}, "at least two subjects"),
    ],
)
def test_what_cannot_be_compared_is_told(several, change, options, message):
    with pytest.raises(SchemaError, match=message):
        nt.connectivity(change(several), **options)


def test_settings_that_do_not_exist_are_told(several):
    with pytest.raises(SettingsError, match="Did you mean 'partial'"):
        nt.connectivity(several, kind="partail")
    with pytest.raises(SettingsError, match="at least two samples and fits"):
        nt.dynamic_connectivity(several, window_s=1e4)


def test_a_matrix_outside_the_curved_space_is_told(several):
    wrong = nt.connectivity(several).copy()
    wrong[2] = -wrong[2]
    with pytest.raises(SchemaError, match=r"(?s)not positive definite.*subject c"):
        nt.tangent_space(wrong)
    right = nt.connectivity(several)
    reference = nt.tangent_space(right)["reference"]
    with pytest.raises(SchemaError, match="other regions"):
        nt.tangent_space(right.isel(region=slice(5), region_to=slice(5)), reference)
