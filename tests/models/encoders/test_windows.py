"""Windows on their way into a network: channels, rate, scale, NaN, and files larger than memory."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from encoder_frame_cases import SMALL, encoder, suited, windows

import neurotools as nt
from neurotools.errors import SchemaError
from neurotools.models.encoders import Head, Training, batches, channels, data, splits


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    model = encoder("elm")
    return model, model.fit(windows(), out=tmp_path_factory.mktemp("elm") / "fit", groups="recording")


def again(fit, **settings):
    """The same model with another setting of how it reads."""
    import dataclasses

    return dataclasses.replace(nt.model_of(fit), **settings)


# ---- what is refused --------------------------------------------------------------------------------------
def broken(given, value):
    values = given.to_numpy().copy()
    values[5, 1, 7] = value
    return given.copy(data=values)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.assign_attrs(sfreq=128.0), r"another sampling rate.*found: 128 Hz"),
        (lambda w: w.isel(time=slice(0, 90)), r"another length.*found: 90 samples"),
        (lambda w: w.assign_attrs(units="uV"), r"another unit.*found: 'uV'"),
        (lambda w: w.isel(channel=[0, 1]), r"missing: C4"),
        (lambda w: windows(n_channels=4), r"not wanted: PZ"),
        (lambda w: w.assign_coords(channel=["A1", "A2", "C4"]), r"missing: C3, CZ; not wanted: A1, A2"),
        (lambda w: w.assign_coords(channel=["C3", "c3.", "C4"]), r"more than once.*C3"),
        (lambda w: broken(w, np.nan), r"missing or infinite.*window 5, channel CZ"),
        (lambda w: broken(w, np.inf), r"missing or infinite"),
        (lambda w: w.isel(window=slice(0, 0)), r"no windows|empty"),
        (lambda w: w.isel(channel=0), r"needs dimensions"),
        (lambda w: w.drop_attrs(), r"lack their sampling rate"),
    ],
)  # fmt: skip
def test_windows_that_do_not_fit_are_named(fitted, change, said):
    model, fit = fitted
    with pytest.raises(SchemaError, match=f"(?s){said}"):
        model.transform(fit, change(windows()))


def test_plain_arrays_are_no_windows():
    with pytest.raises(SchemaError, match="labelled array"):
        batches.asked(np.zeros((4, 3, 100)))


def test_a_recording_that_is_too_short_for_a_sequence_is_named(tmp_path):
    with pytest.raises(SchemaError, match=r"(?s)long enough for one sample.*12 windows in a row"):
        encoder(sequence=12).fit(windows(), out=tmp_path / "fit", groups="recording")
    with pytest.raises(SchemaError, match="whole number of chunks"):
        encoder(chunk_samples=40).fit(windows(), out=tmp_path / "fit", groups="recording")


def test_a_flat_channel_is_named(tmp_path):
    given = windows()
    flat = given.where(given["channel"] != "CZ", 0.0)
    with pytest.raises(SchemaError, match=r"(?s)flat.*channel CZ"):
        encoder("elm").fit(flat, out=tmp_path / "fit")


# ---- channels ---------------------------------------------------------------------------------------------
def test_subset_leaves_out_and_fills_nothing(fitted):
    model, fit = fitted
    wide, alike = windows(n_channels=5), again(fit, on_mismatch="subset")
    found = alike.transform(fit, wide)
    np.testing.assert_array_equal(found, model.transform(fit, wide.isel(channel=[0, 1, 2])))
    with pytest.raises(SchemaError, match="missing: C3"):
        alike.transform(fit, wide.isel(channel=[1, 2, 3]))


def test_interpolate_estimates_what_is_missing_from_the_rest(fitted):
    model, fit = fitted
    alike = again(fit, on_mismatch="interpolate")
    whole = windows(n_channels=5)
    route = channels.route(whole.isel(channel=[0, 2, 3, 4]), ("C3", "CZ", "C4"), "interpolate")
    np.testing.assert_array_equal(route[0], [1, 0, 0, 0])  # those that are there are taken as they are
    np.testing.assert_array_equal(route[2], [0, 1, 0, 0])
    assert route[1].sum() == pytest.approx(1.0)
    assert route[1, 0] == pytest.approx(route[1, 1], abs=0.05)  # left and right of the middle alike
    assert np.isfinite(alike.transform(fit, whole.isel(channel=[0, 2, 3, 4]))).all()
    np.testing.assert_array_equal(
        alike.transform(fit, whole), model.transform(fit, whole.isel(channel=[0, 1, 2]))
    )
    with pytest.raises(SchemaError, match="no standard position"):
        alike.transform(fit, whole.isel(channel=[0, 2]).assign_coords(channel=["C3", "probe7"]))


def test_splines_go_through_what_is_known_and_equal_mne():
    from mne.channels.interpolation import _make_interpolation_matrix

    known = channels.standard_positions()
    names = ["FP1", "F3", "CZ", "P4", "O2", "T3", "F8", "PZ"]
    here = np.array([known[name] for name in names])
    np.testing.assert_allclose(channels.spherical_spline(here, here), np.eye(8), atol=1e-9)
    there = np.array([known["C3"], known["FZ"]])
    weights = channels.spherical_spline(here, there)
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-9)
    theirs = _make_interpolation_matrix(here, there, alpha=0.0)
    np.testing.assert_allclose(weights, theirs, atol=1e-6)


def test_a_mixing_of_channels_is_learned_by_finetuning(fitted, tmp_path):
    _, fit = fitted
    alike = again(fit, on_mismatch="learn", head=Head(training=Training(steps=3)))
    other = windows(n_channels=5)
    with pytest.raises(SchemaError, match="learned by fine-tuning"):
        alike.transform(fit, other)
    head = alike.finetune(fit, other, target="condition", out=tmp_path / "head", groups="recording")
    assert alike.predict(head, other)["label"].sizes == {"window": 24}
    assert alike.transform(head, other).sizes["window"] == 24
    with pytest.raises(SchemaError, match="missing: PZ, OZ"):
        again(fit, on_mismatch="error").predict(head, windows())


# ---- scale ------------------------------------------------------------------------------------------------
def scaled(given, kind, chosen):
    moments = batches.moments_of(given)
    recording = splits.places_of(given, None).recording
    stored = batches.pooled(moments, chosen)
    names = given["channel"].to_numpy()
    return batches.scale_of(kind, moments, recording, names, stored).apply(
        given.to_numpy(), np.arange(24), 0.0
    )


def test_scales_by_their_definition():
    given = windows().astype("float64") * xr.DataArray([1.0, 3.0, 9.0], dims="channel")
    given = given.assign_attrs(sfreq=100.0) + 1e-6
    given = given.assign_attrs(sfreq=100.0, units="V")
    values, first = given.to_numpy(), np.arange(24) < 10
    by_fit = (values - values[first].mean((0, 2))[:, None]) / values[first].std((0, 2))[:, None]
    np.testing.assert_allclose(scaled(given, "fit", first), by_fit, rtol=1e-5, atol=1e-6)
    by_window = (values - values.mean(-1, keepdims=True)) / values.std(-1, keepdims=True)
    np.testing.assert_allclose(scaled(given, "window", first), by_window, rtol=1e-5, atol=1e-6)
    parts = [(p - p.mean((0, 2))[:, None]) / p.std((0, 2))[:, None] for p in np.split(values, 3)]
    np.testing.assert_allclose(scaled(given, "recording", first), np.concatenate(parts), rtol=1e-5, atol=1e-6)


def test_the_scale_never_sees_what_is_held_out(tmp_path):
    given = windows()
    model = encoder("elm")
    fit = model.fit(given, out=tmp_path / "a", groups="recording")
    out = fit["split"].to_numpy() == "held_out"
    louder = given.copy(data=np.where(out[:, None, None], 100 * given.to_numpy(), given.to_numpy()))
    other = model.fit(louder, out=tmp_path / "b", groups="recording")
    assert out.any()
    texts = [(tmp_path / name / "preprocessing.json").read_text() for name in "ab"]
    assert texts[0] == texts[1]
    assert other["held_out_loss"].values[-1] > fit["held_out_loss"].values[-1]


def test_clip_is_in_deviations():
    given = windows()
    found = data.for_fit(encoder("elm", clip=1.5), given, None)
    stored = batches.pooled(found.moments, np.ones(24, bool))
    scale = batches.scale_of("fit", found.moments, found.places.recording, np.array(found.names), stored)
    assert float(found.tensor(np.arange(24), scale, 1.5).abs().max()) == 1.5
    assert float(found.tensor(np.arange(24), scale, 0.0).abs().max()) > 1.5


# ---- files larger than memory -----------------------------------------------------------------------------
def test_windows_on_disk_are_read_part_by_part_and_give_the_same_numbers(tmp_path, monkeypatch):
    given = windows(3, 16)
    flat = given.drop_vars("window").rename("signal").to_dataset()
    flat.to_zarr(tmp_path / "w.zarr", encoding={"signal": {"chunks": (4, 3, 100)}}, consolidated=False)
    model = encoder(batch=4)
    labels = {"window": given["window"].to_numpy()}
    inside = model.fit(given, out=tmp_path / "inside", groups="recording")
    largest, read = [0], batches.read

    def watched(array, which, pick=None):
        values = read(array, which, pick)
        largest[0] = max(largest[0], len(np.unique(which)))
        return values

    monkeypatch.setattr(batches, "read", watched)
    monkeypatch.setattr(batches, "PART_BYTES", 6 * 3 * 100 * 4)  # six windows
    with xr.open_zarr(tmp_path / "w.zarr", chunks=None, consolidated=False) as opened:
        lazy = opened["signal"].assign_coords(labels)
        assert not lazy.variable._in_memory
        on_disk = model.fit(lazy, out=tmp_path / "disk", groups="recording")
        features = model.transform(on_disk, lazy)
        assert not lazy.variable._in_memory
    assert largest[0] <= 48
    assert on_disk.attrs["weights_sha256"] == inside.attrs["weights_sha256"]
    np.testing.assert_array_equal(features, model.transform(inside, given))


def test_recordings_on_disk_are_cut_joined_and_trained_on_without_being_read_whole(tmp_path, monkeypatch):
    rng, parts, lazy = np.random.default_rng(0), {}, {}
    for name in ("a", "b"):
        array = xr.DataArray(
            rng.normal(size=(3, 1600)).astype("float32"), dims=("channel", "time"), name="signal",
            coords={"channel": ["C3", "CZ", "C4"], "time": np.arange(1600) / 100},
            attrs={"sfreq": 100.0, "units": "V"},
        )  # fmt: skip
        array.to_dataset().to_zarr(
            tmp_path / name, encoding={"signal": {"chunks": (3, 100)}}, consolidated=False
        )
        parts[name] = nt.windows(array, length_s=1.0)
        stored = xr.open_zarr(tmp_path / name, chunks=None, consolidated=False)["signal"]
        lazy[name] = nt.windows(stored, length_s=1.0)
    inside, outside = nt.encoders.join(parts), nt.encoders.join(lazy)
    assert not outside.variable._in_memory
    order = np.random.default_rng(1).permutation(32)
    np.testing.assert_array_equal(outside.isel(window=order), inside.isel(window=order))
    some = {"window": slice(14, 19), "channel": [2, 0], "time": slice(5, 9)}
    np.testing.assert_array_equal(outside.isel(some), inside.isel(some))
    np.testing.assert_array_equal(outside[3], inside[3])
    monkeypatch.setattr(batches, "PART_BYTES", 6 * 3 * 100 * 4)  # six windows
    model = encoder("elm")
    fits = [model.fit(w, out=tmp_path / f"fit{k}") for k, w in enumerate((inside, outside))]
    assert fits[0].attrs["weights_sha256"] == fits[1].attrs["weights_sha256"]
    assert not outside.variable._in_memory
    xr.testing.assert_identical(outside.compute(), inside)


@pytest.mark.parametrize("architecture", SMALL)
def test_subjects_that_are_new_are_refused_only_where_they_need_weights(architecture, tmp_path):
    given = suited(architecture, windows(3, 8))
    given = given.assign_coords(subject=("window", given["recording"].to_numpy()))
    model = encoder(architecture, steps=1, held_out=0.0)
    known = given["recording"].isin(["r0", "r1"]).to_numpy()
    fit = model.fit(given.isel(window=known), out=tmp_path / "fit")
    if architecture == "duin":
        with pytest.raises(SchemaError, match=r"(?s)never met.*found: r2"):
            model.transform(fit, given.isel(window=~known))
    else:
        assert model.transform(fit, given.isel(window=~known)).sizes["window"] == 8
