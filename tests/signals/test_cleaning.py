"""nt.clean equals nilearn, keeps units and counts true, and lets nothing leak from volumes left out."""

import itertools
import json

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError
from neurotools.schema import continuous, recording_tree

N, TR = 150, 2.0


@pytest.fixture
def bold(rng):
    values = 1000 + np.cumsum(rng.normal(size=(5, N)), axis=1) * 4
    return continuous(values, dim="region", labels=list("abcde"), sfreq=1 / TR, units="arbitrary",
                      coords={"n_voxels": np.arange(5)}, attrs={"tr": TR})  # fmt: skip


@pytest.fixture
def table(rng, bold):
    values = np.cumsum(rng.normal(size=(N, 4)), axis=0)
    return xr.DataArray(
        values, dims=("time", "feature"), coords={"time": bold["time"], "feature": ["w", "x", "y", "z"]}
    )


def theirs(bold, table=None, **settings):
    from nilearn import signal

    confounds = None if table is None else table.to_numpy()
    defaults = {"t_r": TR, "standardize": None}
    return signal.clean(bold.to_numpy().T, confounds=confounds, **{**defaults, **settings}).T


# ---- equal to nilearn -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("detrend", "standardize", "band"),
    list(
        itertools.product(
            [True, False], [None, "zscore", "psc"], [(None, None), (0.01, 0.1), (None, 0.08), (0.02, None)]
        )
    ),
)
def test_every_setting_equals_nilearn(bold, table, detrend, standardize, band):
    low, high = band
    word = {"zscore": "zscore_sample"}.get(standardize, standardize)
    for confounds in (None, table):
        ours = nt.clean(bold, confounds, detrend=detrend, standardize=standardize, low=low, high=high)
        expected = theirs(bold, confounds, detrend=detrend, standardize=word, low_pass=high, high_pass=low)
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
        assert ours.attrs["units"] == {None: "arbitrary", "zscore": "1", "psc": "percent"}[standardize]


@pytest.mark.parametrize("out", [[40, 41], [0], [0, 1, 2, 60, 61], [149], []])
@pytest.mark.parametrize("band", [(None, None), (0.01, 0.1)])
@pytest.mark.parametrize("standardize", [None, "zscore", "psc"])
def test_scrubbing_equals_nilearn_where_nilearn_bridges_every_gap(bold, table, out, band, standardize):
    """No volume left out has its mirror image (counted from the other end) left out too."""
    scrub = np.zeros(N, dtype=bool)
    scrub[out] = True
    low, high = band
    ours = nt.clean(bold, table, low=low, high=high, standardize=standardize, scrub=scrub)
    word = {"zscore": "zscore_sample"}.get(standardize, standardize)
    mask = np.flatnonzero(~scrub) if out else None
    expected = theirs(bold, table, low_pass=high, high_pass=low, sample_mask=mask, standardize=word)
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("out", [[30, 119], [0, 149], [0, 1, 70, 79, 148, 149], [5, 6, 7, 90]])
def test_values_left_out_cannot_reach_the_others(bold, table, out):
    """Whatever stands in a volume that is left out, signal or confound, the result is the same to the bit."""
    scrub = np.zeros(N, dtype=bool)
    scrub[out] = True
    spoiled, spoiled_table = bold.copy(deep=True), table.copy(deep=True)
    spoiled[:, out] = 1e6
    spoiled_table[out] = -1e5
    settings = {"low": 0.01, "high": 0.1, "scrub": scrub}
    np.testing.assert_array_equal(
        nt.clean(bold, table, **settings), nt.clean(spoiled, spoiled_table, **settings)
    )


@pytest.mark.parametrize("out", [[30, 119], [0, 149], [0, 1, 70, 79, 148, 149]])
def test_gaps_are_bridged_by_a_cubic_spline_before_the_filter(bold, out):
    """Slow computation of the recipe of Lindquist et al. (2019), signal by signal."""
    from scipy.interpolate import CubicSpline
    from scipy.signal import butter, detrend, sosfiltfilt

    kept = np.setdiff1d(np.arange(N), out)
    scrub = np.isin(np.arange(N), out)
    ours = nt.clean(bold, low=0.01, high=0.1, scrub=scrub)
    sos = butter(5, [0.01, 0.1], btype="band", fs=1 / TR, output="sos")
    for row, cleaned in zip(bold.to_numpy(), ours.to_numpy(), strict=True):
        bridged = row.copy()
        bridged[out] = CubicSpline(kept, row[kept])(out)
        inner = bridged[kept[0] : kept[-1] + 1]
        expected = sosfiltfilt(sos, detrend(inner))[kept - kept[0]]
        np.testing.assert_allclose(cleaned, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


# ---- what must hold -------------------------------------------------------------------------------------
def test_confounds_are_gone_and_the_band_is_kept(rng):
    n = 4000  # three confounds take 3 parts of what they share by chance: little of a long recording
    time = np.arange(n) * TR
    fast, slow = np.sin(2 * np.pi * 0.05 * time), np.sin(2 * np.pi * 0.002 * time)
    motion = rng.normal(size=(n, 3))
    mixed = continuous(
        (fast + 3 * slow + motion @ [2.0, -1.0, 0.5])[None], dim="region", sfreq=1 / TR, units="arbitrary"
    )
    table = xr.DataArray(motion, dims=("time", "feature"), coords={"feature": list("abc")})
    cleaned = nt.clean(mixed, table, low=0.02, high=0.1)[0].to_numpy()
    inner = slice(50, -50)  # a filter rings at the ends
    assert np.corrcoef(mixed[0, inner], fast[inner])[0, 1] < 0.5
    assert np.corrcoef(cleaned[inner], fast[inner])[0, 1] > 0.99
    assert np.abs(np.corrcoef(cleaned[inner], slow[inner])[0, 1]) < 0.02


def test_order_of_dimensions_is_free_and_labels_stay(bold, table):
    one = nt.clean(bold, table, low=0.01)
    other = nt.clean(bold.transpose("time", "region"), table.transpose("feature", "time"), low=0.01)
    xr.testing.assert_identical(one, other)
    assert one.dims == ("region", "time")
    assert one["region"].to_numpy().tolist() == list("abcde")
    assert one["n_voxels"].to_numpy().tolist() == [0, 1, 2, 3, 4]


def test_a_recording_may_stand_for_its_array_and_is_not_changed(bold):
    recording = recording_tree({"fmri/bold": bold})
    before = bold.copy(deep=True)
    xr.testing.assert_identical(nt.clean(recording, high=0.1), nt.clean(bold, high=0.1).rename("bold"))
    xr.testing.assert_identical(recording["fmri/bold"].rename(None), before)


def test_units_channels_and_subjects_are_cleaned_too(bold):
    units = bold.rename(region="unit")
    np.testing.assert_array_equal(nt.clean(units), nt.clean(bold))
    group = xr.concat([bold, 2 * bold + 5], "subject", combine_attrs="override").assign_coords(
        subject=["s1", "s2"]
    )
    together = nt.clean(group, low=0.01, standardize="zscore")
    assert together.dims == ("subject", "region", "time")
    np.testing.assert_allclose(together[0], nt.clean(bold, low=0.01, standardize="zscore"), atol=1e-10)
    np.testing.assert_allclose(together[1], together[0], atol=1e-8)


def test_every_session_is_cleaned_by_itself(bold, table):
    joined = xr.concat([bold, bold + 300], "time", combine_attrs="override")
    time = np.arange(2 * N) * TR
    joined = joined.assign_coords(time=time, session=("time", np.repeat(["one", "two"], N)))
    both = xr.concat([table, table], "time").assign_coords(time=time)
    scrub = np.zeros(2 * N, dtype=bool)
    scrub[[3, N - 1, N, N + 7]] = True
    cleaned = nt.clean(joined, both, low=0.01, high=0.1, scrub=scrub)
    first = nt.clean(bold, table, low=0.01, high=0.1, scrub=scrub[:N])
    second = nt.clean(bold + 300, table, low=0.01, high=0.1, scrub=scrub[N:])
    np.testing.assert_allclose(cleaned[:, : first.sizes["time"]], first, atol=1e-9)
    np.testing.assert_allclose(cleaned[:, first.sizes["time"] :], second, atol=1e-9)
    assert cleaned["session"].to_numpy().tolist() == ["one"] * (N - 2) + ["two"] * (N - 2)


def test_what_was_done_is_recorded_and_nothing_drops_in_silence(bold, table, tmp_path):
    scrub = xr.DataArray(np.isin(np.arange(N), [10, 11]), dims="time", coords={"time": bold["time"]})
    cleaned = nt.clean(bold, table, low=0.01, standardize="psc", scrub=scrub)
    assert cleaned.sizes["time"] == N - 2
    np.testing.assert_array_equal(cleaned["time"], np.delete(bold["time"].to_numpy(), [10, 11]))
    np.testing.assert_array_equal(cleaned.attrs["kept"], np.delete(np.arange(N), [10, 11]))
    [done] = json.loads(cleaned.attrs["history"])
    assert done["step"] == "clean"
    assert (done["samples"], done["units"], done["n_left_out"]) == ([N, N - 2], ["arbitrary", "percent"], 2)
    assert done["confounds"] == ["w", "x", "y", "z"]
    assert (done["low"], done["high"], done["detrend"], done["standardize"]) == (0.01, None, True, "psc")
    assert done["library"]["nilearn"]
    assert cleaned.attrs["highpass"] == 0.01
    assert "lowpass" not in cleaned.attrs
    assert "kept" not in nt.clean(bold).attrs
    with pytest.raises(SchemaError, match="regular clock"):  # a gap is a gap: it cannot be filtered again
        nt.clean(cleaned)
    for name in ("cleaned.nc", "cleaned.zarr"):
        nt.save(recording_tree({"fmri/bold": cleaned}), tmp_path / name)
        xr.testing.assert_identical(nt.load(tmp_path / name)["fmri/bold"], cleaned.rename("bold"))


def test_kept_of_nt_confounds_is_followed(bold, table):
    kept = ~np.isin(np.arange(N), [0, 1, 80])
    chosen = table.to_dataset(name="confounds").assign(kept=("time", kept))
    xr.testing.assert_identical(
        nt.clean(bold, chosen, low=0.01), nt.clean(bold, table, low=0.01, scrub=~kept)
    )
    everything = nt.clean(bold, chosen, low=0.01, scrub=np.zeros(N, dtype=bool))
    assert everything.sizes["time"] == N


# ---- what is refused --------------------------------------------------------------------------------------
def test_nan_is_refused_in_signal_and_confounds(bold, table):
    holed = bold.copy(deep=True)
    holed[2, 7] = np.nan
    with pytest.raises(SchemaError, match="not finite") as caught:
        nt.clean(holed)
    assert caught.value.found == "1 of 750, the first at region=2, time=7"
    holed = table.copy(deep=True)
    holed[0, 1] = np.nan
    with pytest.raises(SchemaError, match="confounds has values that are not finite"):
        nt.clean(bold, holed)


@pytest.mark.parametrize(
    "band", [(0.1, 0.01), (0.0, 0.1), (0.01, 0.25), (0.01, 0.3), (-0.1, None), (0.25, None)]
)
def test_bands_that_do_not_fit_are_refused(bold, band):
    with pytest.raises(SettingsError, match="does not fit the sampling rate") as caught:
        nt.clean(bold, low=band[0], high=band[1])
    assert "0.25 Hz (half of 0.5 Hz)" in caught.value.expected


def test_lengths_and_clocks_must_be_the_same(bold, table):
    with pytest.raises(SchemaError, match="differ in length") as caught:
        nt.clean(bold, table[10:])
    assert (caught.value.found, caught.value.expected) == ("140 rows", "150 samples")
    with pytest.raises(SchemaError, match="different times"):
        nt.clean(bold, table.assign_coords(time=bold["time"] + 20))
    with pytest.raises(SchemaError, match="one True or False per sample"):
        nt.clean(bold, scrub=np.zeros(N))
    with pytest.raises(SchemaError, match="one True or False per sample"):
        nt.clean(bold, scrub=np.zeros(10, dtype=bool))
    uneven = bold.assign_coords(time=np.cumsum(np.where(np.arange(N) == 40, 5.0, 2.0)))
    with pytest.raises(SchemaError, match="regular clock"):
        nt.clean(uneven)


def test_nothing_to_clean_is_an_error_and_not_a_row_of_zeros(bold, table, rng):
    scrub = np.ones(N, dtype=bool)
    with pytest.raises(SchemaError, match="too few samples stay"):
        nt.clean(bold, scrub=scrub)
    scrub[:5] = False
    with pytest.raises(SchemaError, match="5 samples, 4 confounds"):
        nt.clean(bold, table, scrub=scrub)
    with pytest.raises(SchemaError, match="cannot be filtered"):
        nt.clean(bold[:, :12], low=0.05, high=0.1)
    centred = bold - bold.mean("time")
    centred.attrs = bold.attrs
    with pytest.raises(SchemaError, match="percent of the mean needs a mean"):
        nt.clean(centred, standardize="psc")
    with pytest.raises(SettingsError, match="standardisation"):
        nt.clean(bold, standardize="z")
    group = xr.concat([bold, bold], "subject", combine_attrs="override")
    with pytest.raises(SchemaError, match="belong to one subject"):
        nt.clean(group, table)


# ---- the whole way ----------------------------------------------------------------------------------------
def test_haxby_cleaned_of_its_motion(shared):
    root = shared("data/fmri_haxby2001_mini")
    recording = nt.load(root, array="bold_25mm", labels="masks/25mm/gray.nii.gz")
    motion = recording["confounds/confounds"]
    cleaned = nt.clean(recording, motion, low=0.008, standardize="zscore")
    assert cleaned.shape == (28, 968)
    for session in range(8):
        part = cleaned[:, session * 121 : (session + 1) * 121].to_numpy()
        np.testing.assert_allclose(part.mean(axis=1), 0, atol=1e-10)
        np.testing.assert_allclose(part.std(axis=1, ddof=1), 1, rtol=1e-10)
