"""Differential affinity of labelled traces: names, missing units, sessions, and what is refused."""

import numpy as np
import pytest
import scipy.io
import xarray as xr

import neurotools as nt
from neurotools import schema
from neurotools.errors import SchemaError, SettingsError

RATE = 10.0


def traces(values, dim="unit", **options):
    return schema.continuous(np.asarray(values), dim=dim, sfreq=RATE, units="1", **options)


def animals(rng, n_time=60):
    """Three animals with four units; the second lacks a unit, the third lacks two."""
    values = np.cumsum(rng.normal(size=(3, 4, n_time)), axis=-1)
    values[1, 2] = values[2, 0] = values[2, 3] = np.nan
    return xr.DataArray(
        values,
        dims=("subject", "unit", "time"),
        coords={"subject": ["a", "b", "c"], "unit": list("wxyz"), "time": np.arange(n_time) / RATE},
    )


# ---- a real recording -----------------------------------------------------------------------------------
def songbird(shared):
    content = scipy.io.loadmat(shared("data/calcium_songbird_hvc") / "MackeviciusData.mat")
    return schema.continuous(content["NEURAL"], dim="unit", sfreq=30.0, units="1")


def test_songbird_affinity_has_the_known_norm_and_one_silent_unit(shared):
    affinity = nt.differential_affinity(songbird(shared), smooth_s=2 / 30)
    dense = nt.dense_affinity(affinity).to_numpy()
    first, second = np.triu_indices(75, 1)
    pairs = dense[first, second]
    assert pairs.shape == (2775, 666)
    assert np.linalg.norm(pairs) == pytest.approx(73.28755, abs=5e-6)
    assert int(affinity["silent"].sum()) == 1
    silent = affinity["silent"].to_numpy()
    assert not affinity["drive_up"].to_numpy()[silent].any()
    assert np.isfinite(dense).all()


# ---- labels ---------------------------------------------------------------------------------------------
def test_result_is_labelled_and_says_how_it_was_made(rng):
    x = traces(rng.normal(size=(3, 50)), labels=["a", "b", "c"])
    affinity = nt.differential_affinity(x, kernel="min", smooth_s=0.2, normalise="percentile99", floor=0.05)
    assert affinity["drive_up"].dims == affinity["drive_down"].dims == ("unit", "time")
    assert affinity["observed"].dims == affinity["silent"].dims == ("unit",)
    assert affinity["observed"].all()
    assert affinity.attrs == {"kernel": "min", "smooth_s": 0.2, "normalise": "percentile99", "floor": 0.05}
    xr.testing.assert_identical(affinity["unit"], x["unit"].drop_attrs())
    assert "smooth_s" not in nt.differential_affinity(x).attrs


@pytest.mark.parametrize("dim", ["region", "channel"])
def test_regions_and_channels_keep_their_name(rng, dim):
    affinity = nt.differential_affinity(traces(rng.normal(size=(3, 30)), dim=dim))
    assert nt.dense_affinity(affinity).dims == (dim, f"{dim}_to", "time")


def test_any_order_of_dimensions_a_recording_and_counts_are_accepted(rng):
    x = traces(rng.normal(size=(3, 30)))
    expected = nt.differential_affinity(x)
    xr.testing.assert_identical(nt.differential_affinity(x.transpose()), expected)
    recording = schema.recording_tree({"calcium/activity": x})
    xr.testing.assert_identical(nt.differential_affinity(recording), expected)
    counts = schema.counts_array(rng.poisson(2.0, size=(40, 3)), bin_width=0.05)
    assert nt.differential_affinity(counts, smooth_s=0.1)["drive_up"].sizes == {"unit": 3, "time": 40}


def test_saved_and_opened_it_is_identical(rng, tmp_path):
    affinity = nt.differential_affinity(animals(rng), smooth_s=0.3)
    for suffix in ("nc", "zarr"):
        opened = nt.open_fit(nt.save(affinity, tmp_path / f"affinity.{suffix}"))
        xr.testing.assert_identical(opened, affinity)


# ---- what affinity means ---------------------------------------------------------------------------------
def test_common_motion_counts_and_opposite_motion_does_not():
    t = np.arange(100) / RATE
    x = traces([np.sin(t), 3 * np.sin(t) + 7, -np.sin(t), np.full(t.size, 2.0)])
    dense = nt.dense_affinity(nt.differential_affinity(x, smooth_s=0.2))
    slope = np.abs(np.gradient(np.sin(t)))
    inside = slice(8, -8)  # the filter flattens the slope at the two ends
    expected = (slope / slope.max())[inside]
    np.testing.assert_allclose(dense[0, 1, inside], expected, atol=1e-3)
    assert (dense.isel(unit=0, unit_to=2) == 0).all()
    assert (dense.isel(unit=3) == 0).all()
    xr.testing.assert_equal(dense, dense.rename(unit="unit_to", unit_to="unit").transpose(*dense.dims))
    for k in range(4):
        assert (dense.isel(unit=k, unit_to=k) == 0).all()


@pytest.mark.parametrize("kernel", ["geomean", "product", "min", "ratio"])
def test_scale_and_offset_of_a_unit_do_not_matter(rng, kernel):
    x = traces(np.cumsum(rng.normal(size=(4, 80)), axis=1))
    scale, offset = (xr.DataArray(rng.uniform(1, 9, 4), dims="unit") for _ in range(2))
    a, b = (nt.differential_affinity(v, kernel=kernel, smooth_s=0.2) for v in (x, x * scale + offset))
    np.testing.assert_allclose(nt.dense_affinity(b), nt.dense_affinity(a), atol=1e-9)


def test_normalisation_none_keeps_slopes_per_second():
    x = traces([0.5 * np.arange(30), np.arange(30.0) ** 2])
    affinity = nt.differential_affinity(x, normalise="none")
    np.testing.assert_allclose(affinity["drive_up"].isel(unit=0), 0.5 * RATE, rtol=1e-12)


def test_small_slopes_are_rest_below_the_floor(rng):
    x = traces(np.cumsum(rng.normal(size=(3, 80)), axis=1))
    free, cut = (nt.differential_affinity(x, floor=floor)["drive_up"] for floor in (0.0, 0.2))
    xr.testing.assert_identical(cut, free.where(free >= 0.2, 0.0))


def test_window_correlation_needs_and_uses_its_width(rng):
    x = traces(rng.normal(size=(3, 40)))
    affinity = nt.differential_affinity(x, kernel="corr_window", smooth_s=1.1)
    assert affinity.attrs["window_samples"] == 11
    dense = nt.dense_affinity(affinity).to_numpy()
    expected = np.corrcoef(x.to_numpy()[:, 15:26])
    np.testing.assert_allclose(dense[0, 1, 20], max(expected[0, 1], 0), atol=1e-12)
    with pytest.raises(SettingsError, match="needs the width of its window"):
        nt.differential_affinity(x, kernel="corr_window")
    with pytest.raises(SettingsError, match="at least 3 samples"):
        nt.differential_affinity(x, kernel="corr_window", smooth_s=0.1)
    with pytest.raises(SettingsError, match="floor acts on slopes"):
        nt.differential_affinity(x, kernel="corr_window", smooth_s=1.0, floor=0.1)


# ---- sessions and clocks ----------------------------------------------------------------------------------
@pytest.mark.parametrize(("kernel", "width"), [("geomean", 0.2), ("geomean", None), ("corr_window", 0.5)])
def test_nothing_crosses_the_edge_of_a_session(rng, kernel, width):
    first, second = (np.cumsum(rng.normal(size=(3, n)), axis=1) for n in (40, 50))
    time = np.concatenate([np.arange(40), 1000 + np.arange(50)]) / RATE
    joined = xr.DataArray(
        np.concatenate([first, second], axis=1),
        dims=("unit", "time"),
        coords={"time": time, "session": ("time", ["one"] * 40 + ["two"] * 50)},
    )
    changed = joined.copy()
    changed[:, 40:] += 100 * rng.normal(size=(3, 50))
    a, b = (
        nt.dense_affinity(nt.differential_affinity(x, kernel=kernel, smooth_s=width, normalise="none"))
        for x in (joined, changed)
    )
    # The drives of corr_window share the mean and deviation of the whole trace, so they differ by rounding.
    np.testing.assert_allclose(a[..., :40], b[..., :40], rtol=0, atol=1e-9 if kernel == "corr_window" else 0)
    assert not np.allclose(a[..., 40:], b[..., 40:])


def test_smoothing_needs_a_regular_clock_and_differences_do_not(rng):
    time = np.cumsum(rng.uniform(0.05, 0.2, 30))
    x = xr.DataArray(np.stack([2 * time, -time]), dims=("unit", "time"), coords={"time": time})
    with pytest.raises(SchemaError, match="regular clock"):
        nt.differential_affinity(x, smooth_s=0.2)
    slopes = nt.differential_affinity(x, normalise="none")
    np.testing.assert_allclose(slopes["drive_up"].isel(unit=0), 2.0)
    np.testing.assert_allclose(slopes["drive_down"].isel(unit=1), 1.0)


def test_sessions_of_different_rate_are_refused(rng):
    time = np.concatenate([np.arange(30) / 10, 100 + np.arange(30) / 20])
    x = xr.DataArray(
        rng.normal(size=(2, 60)), dims=("unit", "time"),
        coords={"time": time, "session": ("time", [0] * 30 + [1] * 30)},
    )  # fmt: skip
    with pytest.raises(SchemaError, match="different sampling rates"):
        nt.differential_affinity(x, smooth_s=0.2)


# ---- units that an animal lacks ----------------------------------------------------------------------------
def test_units_that_an_animal_lacks_are_masked(rng):
    x = animals(rng)
    affinity = nt.differential_affinity(x, smooth_s=0.3)
    expected = [[True, True, True, True], [True, True, False, True], [False, True, True, False]]
    np.testing.assert_array_equal(affinity["observed"], expected)
    assert not affinity["silent"].any()
    assert (affinity["drive_up"].to_numpy()[~np.array(expected)] == 0).all()
    dense = nt.dense_affinity(affinity)
    assert dense.dims == ("subject", "unit", "unit_to", "time")
    together = np.array(expected)[:, :, None] & np.array(expected)[:, None, :]
    np.testing.assert_array_equal(np.isnan(dense.isel(time=3)), ~together)
    alone = nt.differential_affinity(x.sel(subject="a", drop=True), smooth_s=0.3)
    np.testing.assert_array_equal(affinity["drive_up"].sel(subject="a"), alone["drive_up"])


def test_a_coordinate_may_say_what_was_observed(rng):
    x = animals(rng).fillna(0.0)
    observed = np.ones((3, 4), dtype=bool)
    observed[1, 2] = False
    affinity = nt.differential_affinity(x.assign_coords(observed=(("subject", "unit"), observed)))
    np.testing.assert_array_equal(affinity["observed"], observed)
    assert affinity["silent"].to_numpy().sum() == 2  # the rows of zeros that were observed


# ---- what is refused ------------------------------------------------------------------------------------
def test_missing_values_are_never_filled(rng):
    x = traces(rng.normal(size=(3, 30)))
    x[1, 4] = np.nan
    with pytest.raises(SchemaError, match=r"unit=1, time=0\.4"):
        nt.differential_affinity(x)
    x[1] = np.nan
    with pytest.raises(SchemaError, match="dimension 'subject'"):
        nt.differential_affinity(x)
    several = animals(rng)
    several[0, 0, 5] = np.inf
    with pytest.raises(SchemaError, match=r"subject=a, unit=w, time=0\.5"):
        nt.differential_affinity(several)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "geomaen"}, "Did you mean 'geomean'"),
        ({"normalise": "maximum"}, "max, percentile99, none"),
        ({"smooth_s": 0.0}, "above 0"),
        ({"floor": -0.1}, "at least 0"),
    ],
)
def test_impossible_settings_are_named(rng, options, message):
    with pytest.raises(SettingsError, match=message):
        nt.differential_affinity(traces(rng.normal(size=(2, 20))), **options)


def test_other_dimensions_are_refused(rng):
    with pytest.raises(SchemaError, match="needs dimensions"):
        nt.differential_affinity(xr.DataArray(rng.normal(size=(3, 20)), dims=("voxel", "time")))


def test_too_large_a_dense_affinity_is_refused_with_what_to_do():
    drive = xr.DataArray(np.zeros((2000, 200)), dims=("unit", "time"))
    affinity = nt.differential_affinity(drive)
    with pytest.raises(SchemaError, match=r"6\.0 GiB") as caught:
        nt.dense_affinity(affinity)
    assert "select less time" in str(caught.value)
    assert nt.dense_affinity(affinity.isel(time=[0])).sizes["time"] == 1


def test_dense_affinity_wants_the_factored_form(rng):
    with pytest.raises(SchemaError, match=r"nt\.differential_affinity"):
        nt.dense_affinity(traces(rng.normal(size=(2, 20))).to_dataset(name="x"))


def test_one_sample_has_no_slope():
    one = schema.continuous(np.ones((3, 1)), dim="unit", sfreq=1.0, units="1")
    with pytest.raises(SchemaError, match="at least two samples"):
        nt.differential_affinity(one)
