"""Windows of spike counts, and what a Neuroformer is asked through them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import neurotools as nt
from neurotools import schema
from neurotools.errors import NeurotoolsWarning, SchemaError, SettingsError
from neurotools.models.encoders import folder as folders

SIZES = {
    "width": 16, "heads": 2, "history_layers": 1, "current_bins": 2, "current_tokens": 30,
    "history_tokens": 60, "dropout": 0.0, "steps": 8, "batch": 16, "check_every": 4, "patience": 0,
}  # fmt: skip
BIN = 0.01


@pytest.fixture(scope="module")
def counts():
    """Four units for 4 s; a spike of unit 0 is followed by one of unit 1 in the next bin."""
    rng = np.random.default_rng(0)
    values = rng.poisson(0.15, (400, 4))
    values[1:, 1] = values[:-1, 0]
    return schema.counts_array(values, bin_width=BIN, unit=["a", "b", "c", "d"])


@pytest.fixture(scope="module")
def speed():
    """A behaviour on a clock of its own, 40 samples a second."""
    time = np.arange(165) / 40
    return xr.DataArray(np.sin(time), dims="time", coords={"time": time})


@pytest.fixture(scope="module")
def windows(counts, speed):
    return nt.encoders.spike_windows(
        counts, window_s=0.02, history_s=0.05, targets={"speed": speed, "early": speed < 0.5}
    )


@pytest.fixture(scope="module")
def fitted(windows, tmp_path_factory):
    torch.set_num_threads(1)
    model = nt.encoders.create("neuroformer-nano", seed=0, **SIZES)
    return model, model.fit(windows, out=tmp_path_factory.mktemp("spikes") / "fit")


# ---- windows ----------------------------------------------------------------------------------------------
def test_windows_are_the_counts(counts, windows):
    assert windows.dims == ("window", "unit", "time")
    assert windows.sizes == {"window": 197, "unit": 4, "time": 7}
    assert (windows.attrs["window_bins"], windows.attrs["history_bins"], windows.attrs["sfreq"]) == (
        2,
        5,
        100,
    )
    np.testing.assert_array_equal(windows.values[3], counts.values[6:13].T)
    np.testing.assert_allclose(windows["told_s"], windows["window"] + 0.05)
    overlapping = nt.encoders.spike_windows(counts, window_s=0.02, history_s=0.05, hop_s=BIN)
    assert overlapping.sizes["window"] == 394
    assert overlapping.values.base is not None  # a view, whatever the overlap


def test_no_window_crosses_a_session(counts):
    two = counts.assign_coords(session=("time", np.repeat([0, 1], 200)))
    found = nt.encoders.spike_windows(two, window_s=0.02, history_s=0.05)
    assert found.sizes["window"] == 2 * 97
    first = np.round(found["window"].values / BIN).astype(int)
    assert (first[found["session"] == 0] + 7 <= 200).all()
    assert (first[found["session"] == 1] >= 200).all()


def test_behaviour_and_stimulus_lie_beside_the_units(counts, speed):
    film = xr.DataArray(
        np.arange(41 * 6.0).reshape(41, 2, 3), dims=("time", "y", "x"), coords={"time": np.arange(41) / 10}
    )
    fast = xr.DataArray(np.arange(4000.0), dims="time", coords={"time": np.arange(4000) / 1000})
    found = nt.encoders.spike_windows(
        counts, window_s=0.02, history_s=0.05, behaviour={"speed": speed, "fast": fast}, stimulus=film
    )
    rows = ["a", "b", "c", "d", "behaviour/fast", "behaviour/speed", *(f"stimulus/{k}" for k in range(6))]
    assert found["unit"].values.tolist() == rows
    assert found["source"].values.tolist() == ["spikes"] * 4 + ["behaviour"] * 2 + ["stimulus"] * 6
    whole = found.isel(window=20)
    start = np.round(float(whole["window"]) / BIN) + np.arange(7)
    np.testing.assert_allclose(whole.sel(unit="behaviour/fast"), start * 10 + 4.5)  # the mean of ten samples
    between = np.sin(start * BIN + BIN / 2)
    np.testing.assert_allclose(
        whole.sel(unit="behaviour/speed"), between, atol=6e-3
    )  # or the one sample that it holds
    shown = np.floor((start + 1 - 1e-6) * BIN * 10) * 6 + 4
    np.testing.assert_array_equal(whole.sel(unit="stimulus/4"), shown)


def test_targets_are_means_over_the_told_stretch(windows, speed):
    middle = windows["told_s"] + 0.01
    np.testing.assert_allclose(windows["speed"], np.sin(middle), atol=6e-3)


def test_wrong_windows_are_refused(counts, speed):
    cut = nt.encoders.spike_windows
    for wrong, error, said in (
        ({"window_s": 0.015}, SettingsError, "whole number of bins"),
        ({"window_s": 0.0}, SettingsError, "whole number of bins"),
        ({"history_s": 5.0}, SchemaError, "no session is as long"),
        ({"behaviour": {"speed": speed[:40]}}, SchemaError, "does not cover the counts"),
        ({"behaviour": {"speed": speed.where(speed > 0)}}, SchemaError, "missing values"),
        ({"behaviour": {"speed": speed.drop_vars("time")}}, SchemaError, "needs a clock"),
        ({"behaviour": {"speed": speed[::-1]}}, SchemaError, "does not increase"),
        ({"targets": {"speed": speed.expand_dims(x=2)}}, SchemaError, "one value at a time"),
    ):
        with pytest.raises(error, match=said):
            cut(counts, **{"window_s": 0.02, "history_s": 0.05, **wrong})
    with pytest.raises(SchemaError):
        cut(counts + 0.5, window_s=0.02, history_s=0.05)


# ---- the frame --------------------------------------------------------------------------------------------
def test_the_folder_holds_the_tokenizer(fitted):
    fit = fitted[1]
    held = folders.opened(fit)
    said = (held.folder / "tokenizer.json").read_text()
    for part in ('"n_units": 4', '"current_bins": 2', '"history_bins": 5', "SOS, EOS, PAD"):
        assert part in said
    assert held.network.settings.n_units == 4
    assert {"unit_loss", "bin_loss", "held_out_unit_accuracy"} <= set(fit.data_vars)


def test_a_repeated_window_is_no_copy_and_a_known_one_is_told(fitted, windows):
    model, fit = fitted
    assert len(np.unique(fit["digest"])) < fit.sizes["window"]
    held = windows.isel(window=np.flatnonzero(fit["split"] == "held_out"))
    assert np.isfinite(model.score(fit, held))
    with pytest.warns(NeurotoolsWarning, match="were trained on"):
        model.score(fit, windows)


def test_a_head_tells_behaviour(fitted, windows, tmp_path):
    fit = fitted[1]
    for target, variable in (("speed", "value"), ("early", "label")):
        data = windows.assign_coords(early=("window", np.where(windows["early"] > 0.5, "yes", "no")))
        head = nt.encoders.create("neuroformer-nano", **SIZES, head={"steps": 4, "check_every": 2})
        group = np.arange(197) // 20
        done = head.finetune(
            fit, data.isel(window=slice(None, None, 4)), target=target, out=tmp_path / target,
            groups=group[::4],
        )  # fmt: skip
        assert variable in head.predict(done, data)


def test_behaviours_are_seen_told_and_aligned(counts, speed, tmp_path):
    film = xr.DataArray(np.random.default_rng(0).normal(size=(60, 3)), dims=("time", "bar"))
    film = film.assign_coords(time=np.arange(60) / 10)
    data = nt.encoders.spike_windows(
        counts, window_s=0.02, history_s=0.05, behaviour={"speed": speed, "turn": speed**2}, stimulus=film
    )
    model = nt.encoders.create(
        "neuroformer-nano", predicted=("speed",), contrast=("stimulus", "turn"), stimulus=(7, 1, 3), **SIZES
    )
    fit = model.fit(data, out=tmp_path / "fit")
    assert {"contrast_loss", "speed_loss", "held_out_speed_loss"} <= set(fit.data_vars)
    network = folders.opened(fit).network
    assert network.settings.behaviour == ("turn",)
    assert float(network.predicted_norm[0].width) > 0.1
    told = nt.encoders.decode(model, fit, data)
    assert np.abs(told["speed"] - speed.mean()).max() < 5
    loud = data.copy(
        data=np.where(data["unit"] == "behaviour/speed", 9.0, data.transpose(..., "unit")).swapaxes(1, 2)
    )
    xr.testing.assert_identical(nt.encoders.decode(model, fit, loud), told)
    other = data.assign_coords(unit=data["unit"].values[::-1])
    with pytest.raises(SchemaError, match="rows that are no units"):
        model.fit(other, out=tmp_path / "other")


def test_a_value_of_behaviour_is_seen_unless_as_published(counts, speed):
    from neurotools.models.encoders import checkpoint, spike_tokens

    data = nt.encoders.spike_windows(counts, window_s=0.02, history_s=0.05, behaviour={"speed": speed})
    x = torch.from_numpy(data.values[:4].copy())
    louder = x.clone()
    louder[:, 4] += 3
    for norm, equal in (("standard", False), ("layer", True)):
        settings = nt.encoders.create(
            "neuroformer-nano", n_units=4, history_bins=5, behaviour=("speed",), behaviour_norm=norm,
            **{k: SIZES[k] for k in ("width", "heads", "current_bins")},
        ).network  # fmt: skip
        network = checkpoint.build("neuroformer", settings).eval()
        one, two = (network(spike_tokens.read(part, settings)[0]).unit for part in (x, louder))
        assert torch.equal(one, two) == equal


def test_wrong_data_is_refused_by_the_encoder(fitted, windows, tmp_path):
    model, fit = fitted
    with pytest.raises(SchemaError, match="hold counts"):
        model.transform(fit, windows + 0.25)
    with pytest.raises(SchemaError, match="sampling rate"):
        model.transform(fit, windows.assign_attrs(sfreq=50.0))
    with pytest.raises(SchemaError, match="channels are not those"):
        model.transform(fit, windows.isel(unit=slice(0, 3)))
    with pytest.raises(SchemaError, match="another length"):
        model.transform(fit, windows.isel(time=slice(0, 6)))
    with pytest.raises(SchemaError, match="history before the bins"):
        nt.encoders.create("neuroformer-nano", **{**SIZES, "current_bins": 7}).fit(
            windows, out=tmp_path / "x"
        )


# ---- writing ----------------------------------------------------------------------------------------------
def test_written_spikes_repeat_by_seed_and_know_only_history(fitted, windows):
    model, fit = fitted
    with pytest.raises(SettingsError, match="tells no behaviour"):
        nt.encoders.decode(model, fit, windows)
    some = windows.isel(window=slice(0, 20))
    first, again = (nt.encoders.generate(model, fit, some, seed=3) for _ in range(2))
    xr.testing.assert_identical(first, again)
    assert first.dims == ("window", "unit", "time")
    assert first.sizes == {"window": 20, "unit": 4, "time": 2}
    blind = some.copy(data=np.concatenate([some.values[..., :5], 0 * some.values[..., 5:]], -1))
    np.testing.assert_array_equal(first, nt.encoders.generate(model, fit, blind, seed=3))
    own = nt.encoders.generate(model, fit, some, history="own", temperature=0.5, keep=0.9)
    assert own.attrs["history"] == "own"
    with pytest.raises(SchemaError, match="follow one another"):
        nt.encoders.generate(model, fit, some.isel(window=slice(None, None, 2)), history="own")
    with pytest.raises(SettingsError, match="temperature"):
        nt.encoders.generate(model, fit, some, temperature=-1.0)


def test_own_history_is_what_was_written(fitted, windows):
    model, fit = fitted
    some = windows.isel(window=slice(0, 3))
    own = nt.encoders.generate(model, fit, some, history="own", temperature=0.0)
    values = some.values.copy()
    values[1, :, 3:5] = own.values[0]
    values[2, :, 1:3], values[2, :, 3:5] = own.values[0], own.values[1]
    alone = nt.encoders.generate(model, fit, some.copy(data=values), temperature=0.0)
    np.testing.assert_array_equal(own, alone)


# ---- connectivity -----------------------------------------------------------------------------------------
def test_a_planted_connection_is_found_with_its_direction(tmp_path):
    rng = np.random.default_rng(2)
    values = rng.poisson(0.15, (2500, 4))
    values[1:, 1] += rng.binomial(values[:-1, 0], 0.8)
    counts = schema.counts_array(values, bin_width=BIN)
    data = nt.encoders.spike_windows(counts, window_s=BIN, history_s=0.03)
    sizes = {
        "current_bins": 1,
        "state_layers": 0,
        "steps": 220,
        "batch": 32,
        "rate": 0.01,
        "check_every": 220,
    }
    model = nt.encoders.create(
        "neuroformer-nano", seed=0, **{**SIZES, **sizes, "held_out": 0.05, "at_once": 400}
    )
    fit = model.fit(data, out=tmp_path / "fit")
    some = data.isel(window=slice(0, 1200))
    found = nt.encoders.attention_connectivity(model, fit, some, n_null=5)
    assert found["attention"].dims == ("unit", "unit_to")
    strength = found["attention"].values
    assert np.unravel_index(strength.argmax(), strength.shape) == (0, 1)
    assert found["attention_z"][0, 1] > 3
    assert found["influence"][0, 1] > 10 * abs(found["influence"][1, 0])
    again = nt.encoders.attention_connectivity(model, fit, some, n_null=5)
    xr.testing.assert_identical(found, again)


def test_connectivity_says_what_it_needs(fitted, windows):
    model, fit = fitted
    with pytest.raises(SchemaError, match="too short"):
        nt.encoders.attention_connectivity(model, fit, windows, min_shift_s=3.0)
    with pytest.raises(SettingsError, match="at least 2"):
        nt.encoders.attention_connectivity(model, fit, windows, n_null=1)


def test_pairs_are_sums_over_tokens(fitted, windows):
    from neurotools.models.encoders import attention, spike_tokens

    network = folders.opened(fitted[1]).network
    x = torch.from_numpy(windows.values[40:44].copy()).float()
    inputs, following, _ = spike_tokens.read(x, network.settings)
    kept: list[torch.Tensor] = []
    with torch.no_grad():
        network(inputs, kept)
    slow = np.zeros((2, 4, 4))
    for b in range(4):
        for t, receiver in enumerate(following.unit[b].tolist()):
            for s, sender in enumerate(inputs.history.unit[b].tolist()):
                if receiver < 4 and sender < 4:
                    slow[0, sender, receiver] += float(torch.stack(kept)[:, b, :, t, s].mean())
                    slow[1, sender, receiver] += 1
    found = attention.pairs(network, x).numpy()
    np.testing.assert_allclose(found[[0, 2]], slow, rtol=1e-5, atol=1e-6)
