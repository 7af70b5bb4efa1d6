"""The frame: a folder is the checkpoint, resuming changes nothing, features depend on their window alone."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
import xarray as xr
from encoder_frame_cases import SMALL, encoder, suited, windows

import neurotools as nt
from neurotools.errors import FileError, NeurotoolsWarning, ResultError, SchemaError, SettingsError
from neurotools.models.encoders import folder as folders
from neurotools.models.encoders import training
from neurotools.models.encoders.heads import Head
from neurotools.models.encoders.recipe import recipe_of

FILES = {
    "model.safetensors", "config.json", "preprocessing.json", "tokenizer.json", "fit.nc", "metrics.json",
    "card.md", "LICENSE", "SHA256SUMS",
}  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return windows()


@pytest.fixture(scope="module", params=SMALL)
def case(request, data, tmp_path_factory):
    """Each architecture with a fit that tests only read."""
    model = encoder(request.param)
    out = tmp_path_factory.mktemp(request.param) / "fit"
    return model, model.fit(suited(request.param, data), out=out, groups="recording"), out


@pytest.fixture(scope="module")
def fitted(data, tmp_path_factory):
    model = encoder()
    return model, model.fit(data, out=tmp_path_factory.mktemp("one") / "fit", groups="recording")


def without_folder(fit):
    return fit.drop_attrs(deep=False).assign_attrs({k: v for k, v in fit.attrs.items() if k != "folder"})


# ---- the folder -----------------------------------------------------------------------------------------
def test_the_folder_is_the_checkpoint_and_knows_its_maker(case):
    model, fit, out = case
    assert {file.name for file in out.iterdir()} == FILES
    assert not out.with_name("fit.training").exists()
    assert fit.attrs["weights"] == "model.safetensors"
    assert nt.model_of(fit) == model
    xr.testing.assert_identical(nt.encoders.open(out), fit)
    card = (out / "card.md").read_text()
    assert "Tiny demonstration weights" in card
    assert "by recording" in card
    assert "Not for diagnosis" in card
    said = json.loads((out / "metrics.json").read_text())
    assert said["samples_per_s"] > 0
    assert said["flops_per_sample"] > 0
    assert np.isfinite(said["best_watched"]).all()


def test_a_fit_comes_back_from_disk(fitted, tmp_path):
    _, fit = fitted
    xr.testing.assert_identical(nt.open_fit(nt.save(fit, tmp_path / "fit.nc")), fit)


def test_a_moved_folder_opens_and_the_old_fit_says_where_to_look(fitted, data, tmp_path):
    model, fit = fitted
    here = shutil.copytree(fit.attrs["folder"], tmp_path / "here")
    old = nt.encoders.open(here)
    moved = nt.encoders.open(shutil.move(here, tmp_path / "there"))
    xr.testing.assert_identical(without_folder(moved), without_folder(fit))
    xr.testing.assert_equal(model.transform(moved, data), model.transform(fit, data))
    with pytest.raises(ResultError, match="not where it was"):
        model.transform(old, data)


def spoilt(fit, tmp_path, name, content):
    copy = shutil.copytree(fit.attrs["folder"], tmp_path / "copy")
    (copy / name).write_bytes(content((copy / name).read_bytes()))
    return copy


@pytest.mark.parametrize("name", sorted(FILES - {"SHA256SUMS"}))
def test_a_changed_file_is_refused(fitted, tmp_path, name):
    copy = spoilt(fitted[1], tmp_path, name, lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ResultError, match="missing or was changed"):
        nt.encoders.open(copy)


def test_truncated_and_pickled_weights_are_named(fitted, tmp_path):
    copy = spoilt(fitted[1], tmp_path, "model.safetensors", lambda data: data[:100])
    with pytest.raises(ResultError, match="missing or was changed"):
        nt.encoders.open(copy)
    with_torch = tmp_path / "weights.pt"
    torch.save({"w": torch.zeros(2)}, with_torch)
    for disguise in (pickle.dumps({"w": 1}), with_torch.read_bytes()):
        (copy / "model.safetensors").write_bytes(disguise)
        with pytest.raises(FileError, match="a pickle can run code") as caught:
            nt.encoders.open(copy)
        assert caught.value.code == "NT-FILE-007"
        sums = (copy / "SHA256SUMS").read_text().splitlines()
        sums = [
            f"{folders.checkpoint.sha256(disguise)}  model.safetensors" if "model" in s else s for s in sums
        ]
        (copy / "SHA256SUMS").write_text("\n".join(sums) + "\n")
        with pytest.raises(FileError, match="a pickle can run code"):
            nt.encoders.open(copy)


def test_other_weights_in_the_same_folder_are_refused(fitted, data, tmp_path):
    model, fit = fitted
    other = encoder(seed=5).fit(data, out=tmp_path / "other", groups="recording")
    with pytest.raises(ResultError, match="other weights than this fit"):
        model.transform(fit.assign_attrs(folder=other.attrs["folder"]), data)
    with pytest.raises(SchemaError, match="no fit of an encoder"):
        model.transform(xr.Dataset(), data)
    with pytest.raises(FileError, match="no checkpoint"):
        nt.encoders.open(tmp_path)


def model_stages(architecture):
    return recipe_of(architecture).stages


# ---- training --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("architecture", SMALL)
def test_killed_at_any_step_it_ends_with_the_same_numbers(architecture, data, tmp_path, monkeypatch):
    model, data = encoder(architecture, keep_every=1), suited(architecture, data)
    whole = model.fit(data, out=tmp_path / "whole", groups="recording")
    advance, made = training.Loop.advance, []

    def dies(self):
        advance(self)
        made.append(self.state.step)
        if len(made) % 2 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(training.Loop, "advance", dies)
    broken = None
    for _ in range(20):
        try:
            broken = model.fit(data, out=tmp_path / "broken", groups="recording")
            break
        except KeyboardInterrupt:
            assert not (tmp_path / "broken").exists()
    assert broken is not None
    assert made == [*range(1, 7)] * len(
        model_stages(architecture)
    )  # killed every other step, none made twice
    xr.testing.assert_identical(without_folder(broken), without_folder(whole))
    assert broken.attrs["weights_sha256"] == whole.attrs["weights_sha256"]


def test_states_need_not_fall_on_looks(data, tmp_path, monkeypatch):
    model = encoder(keep_every=3, check_every=2, steps=7)
    whole = model.fit(data, out=tmp_path / "whole")
    advance = training.Loop.advance

    def dies(self):
        advance(self)
        if self.state.step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(training.Loop, "advance", dies)
    with pytest.raises(KeyboardInterrupt):
        model.fit(data, out=tmp_path / "broken")
    monkeypatch.undo()
    broken = model.fit(data, out=tmp_path / "broken")
    xr.testing.assert_identical(without_folder(broken), without_folder(whole))


def test_a_done_fit_is_opened_and_another_one_is_not_overwritten(fitted, data, tmp_path):
    model, fit = fitted
    out = shutil.copytree(fit.attrs["folder"], tmp_path / "fit")
    before = (out / "fit.nc").stat().st_mtime_ns
    xr.testing.assert_identical(
        without_folder(model.fit(data, out=out, groups="recording")), without_folder(fit)
    )
    assert (out / "fit.nc").stat().st_mtime_ns == before
    for other, given in ((encoder(seed=3), data), (model, data.isel(window=slice(0, 16)))):
        with pytest.raises(ResultError, match="other windows or settings"):
            other.fit(given, out=out, groups="recording")
    (tmp_path / "mine").mkdir()
    with pytest.raises(ResultError, match="something else"):
        model.fit(data, out=tmp_path / "mine", groups="recording")


def test_an_unfinished_training_of_other_settings_is_refused(data, tmp_path, monkeypatch):
    def dies(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(training.Loop, "finish", dies)
    with pytest.raises(KeyboardInterrupt):
        encoder().fit(data, out=tmp_path / "fit")
    monkeypatch.undo()
    with pytest.raises(ResultError, match="unfinished training"):
        encoder(rate=0.1).fit(data, out=tmp_path / "fit")
    log = (tmp_path / "fit.training/1-hidden_chunks/log.jsonl").read_text().splitlines()
    assert {"loss", "rate", "held_out_loss", "samples_per_s"} <= set(json.loads(log[0]))


def test_parts_of_a_batch_make_the_same_step(data, tmp_path):
    # without normalisation over a batch and without dropout, parts add up
    fits = [encoder("elm", accumulate=k).fit(data, out=tmp_path / str(k), groups="recording") for k in (1, 4)]
    np.testing.assert_allclose(fits[0]["loss"], fits[1]["loss"], rtol=1e-6)


def test_training_stops_where_the_held_out_loss_rises_and_keeps_the_best(data, tmp_path):
    model = encoder("elm", rate=30.0, steps=30, check_every=1, patience=2, warmup=0.0, clip=0.0)
    fit = model.fit(data, out=tmp_path / "fit", groups="recording")
    losses = fit["held_out_loss"].to_numpy()
    assert len(losses) < 30
    assert fit.attrs["best_iteration"] == 1 + losses.argmin()
    held = data.isel(window=np.flatnonzero(fit["split"].to_numpy() == "held_out"))
    assert -model.score(fit, held) == pytest.approx(losses.min(), rel=1e-5)


def test_a_loss_that_is_not_finite_is_named(data, tmp_path):
    with pytest.raises(SettingsError, match="not finite any more"):
        encoder("elm", rate=1e30, clip=0.0, warmup=0.0, held_out=0.0).fit(data, out=tmp_path / "fit")


def test_bfloat16_trains_and_stays_near(data, tmp_path):
    fits = [
        encoder(precision=p, encoder_dropout=0.0, dropout=0.0).fit(data, out=tmp_path / p)
        for p in ("float32", "bfloat16")
    ]
    np.testing.assert_allclose(fits[0]["loss"], fits[1]["loss"], rtol=0.05)
    assert not np.array_equal(fits[0]["loss"], fits[1]["loss"])


@pytest.mark.parametrize("schedule", sorted(training.SCHEDULES))
def test_rates_rise_and_fall_as_they_should(schedule):
    how = training.Training(steps=100, warmup=0.1, rate=1.0, final_rate=0.2, schedule=schedule)
    rates = [how.rate_at(k) for k in range(101)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert rates[10] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(1.0 if schedule == "constant" else 0.2)
    assert (np.diff(rates[10:]) <= 1e-12).all()
    if schedule != "constant":
        assert rates[55] == pytest.approx(0.6)


def test_every_sample_is_seen_once_in_an_epoch():
    seen = np.concatenate([training.samples_at(k, 10, 4, seed=1) for k in range(5)])
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()


# ---- features ---------------------------------------------------------------------------------------------
def test_features_depend_on_their_window_alone(case, data):
    model, fit, _ = case
    data = suited(model.architecture, data)
    features = model.transform(fit, data)
    assert features.dims == ("window", "feature")
    assert features.dtype == np.float32
    for name in ("condition", "recording", "window"):
        np.testing.assert_array_equal(features[name].values, data[name].values)
    some = np.array([7, 2, 20])
    alone = model.transform(fit, data.isel(window=some))
    np.testing.assert_allclose(alone, features[some], atol=1e-5)
    few = nt.model_of(
        fit.assign_attrs(settings=fit.attrs["settings"].replace('"at_once": 64', '"at_once": 5'))
    )
    assert few.at_once == 5
    np.testing.assert_allclose(few.transform(fit, data), features, atol=1e-5)


def test_layers_and_pools(case, data):
    model, fit, _ = case
    data = suited(model.architecture, data)
    tokens = model.transform(fit, data, pool="none")
    assert tokens.dims == ("window", "token", "feature")
    np.testing.assert_allclose(model.transform(fit, data), tokens.mean("token"), atol=1e-6)
    np.testing.assert_array_equal(model.transform(fit, data, pool="max"), tokens.max("token"))
    flat = model.transform(fit, data, pool="flat")
    np.testing.assert_array_equal(flat, tokens.stack(f=("token", "feature")).values)
    assert not np.allclose(
        model.transform(fit, data, layer=0).values[0, 0], tokens.mean("token").values[0, 0]
    )
    with pytest.raises(SettingsError, match="no such layer"):
        model.transform(fit, data, layer=7)
    with pytest.raises(SettingsError, match="no pool named 'sum'"):
        model.transform(fit, data, pool="sum")


def test_order_of_dimensions_and_channels_is_free(fitted, data):
    model, fit = fitted
    features = model.transform(fit, data)
    np.testing.assert_array_equal(model.transform(fit, data.transpose("time", "window", "channel")), features)
    np.testing.assert_array_equal(model.transform(fit, data.isel(channel=[2, 0, 1])), features)
    old = data.assign_coords(channel=["c3..", "Cz", "C4"])  # other spellings of the same electrodes
    np.testing.assert_array_equal(model.transform(fit, old), features)


def test_trials_are_windows_too(fitted, data):
    model, fit = fitted
    trials = data.isel(window=slice(0, 8)).drop_vars("window").rename(window="trial")
    trials = trials.assign_coords(trial=np.arange(8), onset=("trial", np.arange(8) * 1.5))
    found = model.transform(fit, trials)
    np.testing.assert_array_equal(found, model.transform(fit, data.isel(window=slice(0, 8))))
    assert found["trial"].values.tolist() == list(range(8))


# ---- heads ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("architecture", ["neurogpt", "duin"])
def test_a_head_tells_conditions_of_recordings_it_never_saw(architecture, tmp_path):
    many = windows(5, 24, seed=3)
    training_ = {"steps": 45, "rate": 0.01, "batch": 24, "check_every": 15, "patience": 0}
    sizes = {"head": {**training_, "pool": "flat"}}
    model = encoder(architecture, **sizes)
    fit = model.fit(many, out=tmp_path / "fit", groups="recording")
    head = model.finetune(fit, many, target="condition", out=tmp_path / "head", groups="recording")
    assert head.attrs["held_out_score"] > 0.85
    new = windows(1, 24, seed=99)
    found = model.predict(head, new)
    assert found["probability"].dims == ("window", "class")
    np.testing.assert_allclose(found["probability"].sum("class"), 1.0)
    assert model.score(head, new) > 0.8
    xr.testing.assert_identical(nt.encoders.open(tmp_path / "head"), head)
    with pytest.warns(NeurotoolsWarning, match="were trained on"):
        model.score(head, many)


def test_a_frozen_encoder_is_not_touched_and_a_value_is_told(fitted, data, tmp_path):
    model, fit = fitted
    frozen = encoder(head={"freeze": True, "steps": 10, "rate": 0.02, "hidden": (8,)})
    head = frozen.finetune(fit, data, target="amount", out=tmp_path / "head", groups="recording")
    before = folders.opened(fit).network.state_dict()
    after = folders.opened(head).network.body.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    found = frozen.predict(head, data)
    assert set(found.data_vars) == {"value"}
    assert found["value"].dtype == np.float64
    assert head.attrs["target"] == "amount"
    np.testing.assert_array_equal(model.transform(head, data), model.transform(fit, data))
    with pytest.raises(SettingsError, match="no head"):
        model.predict(fit, data)


def test_what_a_head_cannot_learn_is_said(fitted, data, tmp_path):
    model, fit = fitted
    with pytest.raises(SchemaError, match="no coordinate 'state' to tell"):
        model.finetune(fit, data, target="state", out=tmp_path / "x")
    one = data.assign_coords(same=("window", np.full(24, "a")))
    with pytest.raises(SchemaError, match="do not show every class"):
        model.finetune(fit, one, target="same", out=tmp_path / "x", groups="recording")
    with pytest.raises(SchemaError, match="missing values"):
        model.finetune(
            fit,
            data.assign_coords(amount=("window", np.full(24, np.nan))),
            target="amount",
            out=tmp_path / "x",
        )


# ---- settings ---------------------------------------------------------------------------------------------
def test_every_preset_is_made_and_listed():
    table = nt.encoders.list()
    for name in table.index:
        model = nt.encoders.create(name, seed=3)
        assert model.seed == 3
        assert hash(model) is not None
        assert table.loc[name, "architecture"] == model.architecture
    assert set(nt.encoders.list(modality="seeg").index) >= {"duin-nano", "duin-base"}
    assert "neurogpt-base" not in nt.encoders.list(modality="seeg").index
    with pytest.raises(SettingsError, match="no modality named 'eggs'"):
        nt.encoders.list(modality="eggs")


def test_settings_go_where_they_belong_and_unknown_ones_are_named():
    model = nt.encoders.create(
        "neurogpt-nano", width=128, steps=7, sequence=4, head={"hidden": [5], "steps": 9}
    )
    assert (model.network.width, model.training.steps, model.sequence) == (128, 7, 4)
    assert model.head == Head(hidden=(5,), training=training.Training(steps=9, check_every=20, patience=5))
    for wrong, said in (
        ({"widht": 3}, "Did you mean 'width'"), ({"head": {"hiden": (3,)}}, "Did you mean 'hidden'"),
        ({"network": 3}, "one by one"), ({"on_mismatch": "zeros"}, "no choice for channels"),
        ({"scale": "all"}, "no scale"), ({"batch": 9, "accumulate": 2}, "whole number of parts"),
        ({"held_out": 1.0}, "below 1"), ({"schedule": "step"}, "no schedule"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=said):
            nt.encoders.create("neurogpt-nano", **wrong)
    with pytest.raises(SettingsError, match="Did you mean 'neurogpt-nano'"):
        nt.encoders.create("neurogtp-nano")
    with pytest.raises(SettingsError, match="one window at a time"):
        nt.encoders.create("elm-nano", sequence=3)
