"""Promises that every encoder keeps: those of models, with a folder in place of a fit."""

from __future__ import annotations

import dataclasses
import inspect
import json

import pytest
import xarray as xr
from encoder_frame_cases import SMALL, encoder, suited, windows

import neurotools as nt
from neurotools.models.encoders.presets import PRESETS
from neurotools.models.encoders.recipe import RECIPES, recipe_of
from neurotools.registry import ENCODERS, SETTINGS, resolve

REQUIRES = {"fixed_names", "positions", "any", "learned_units"}


def plain(fit):
    return fit.drop_attrs(deep=False).assign_attrs({k: v for k, v in fit.attrs.items() if k != "folder"})


def test_every_architecture_that_trains_has_a_small_case():
    trains = {name for name in RECIPES if recipe_of(name).stages}
    assert trains - {"braindecode"} == SMALL.keys()  # that one has tests of its own, with a stand-in


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_where_it_is_from_and_its_settings_have_a_name(name):
    recipe = recipe_of(name)
    assert len(recipe.summary) > 40
    assert any(word in recipe.summary for word in ("licence", "GPL"))
    assert resolve(SETTINGS[recipe.settings.__name__]) is recipe.settings


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_declares_what_it_needs(name):
    preset, model = PRESETS[name], nt.encoders.create(name)
    assert preset.requires in REQUIRES
    assert (preset.requires == "fixed_names") == bool(model.channels)
    assert preset.architecture in RECIPES
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.seed = 5
    json.dumps(dataclasses.asdict(model))
    assert hash(model) == hash(nt.encoders.create(name))


@pytest.mark.parametrize("name", SMALL)
def test_same_seed_same_fit_and_order_of_dimensions_is_free(name, tmp_path):
    model, data = encoder(name, steps=2), suited(name, windows(2, 6))
    before = data.copy(deep=True)
    fit = plain(model.fit(data, out=tmp_path / "a"))
    xr.testing.assert_identical(fit, plain(model.fit(data, out=tmp_path / "b")))
    xr.testing.assert_identical(
        fit, plain(model.fit(data.transpose("time", "channel", "window"), out=tmp_path / "c"))
    )
    other = dataclasses.replace(model, seed=1).fit(data, out=tmp_path / "d")
    assert other.attrs["weights_sha256"] != fit.attrs["weights_sha256"]
    xr.testing.assert_identical(data, before)


def test_verbs_take_the_fit_and_then_the_windows():
    model = resolve(ENCODERS["encoder"])
    for verb in ("finetune", "transform", "predict", "score"):
        assert [*inspect.signature(getattr(model, verb)).parameters][1:3] == ["fit", "windows"]
    assert inspect.signature(model.fit).parameters["out"].default is inspect.Parameter.empty


def test_packed_files_are_the_folder(tmp_path):
    fit = encoder("elm", steps=1).fit(windows(2, 6), out=tmp_path / "fit")
    packed = nt.encoders.packed(fit)
    found = nt.encoders.unpacked(packed["checkpoint"].to_dataset())
    assert found == {file.name: file.read_bytes() for file in (tmp_path / "fit").iterdir()}
    (tmp_path / "again").mkdir()
    for name, content in found.items():
        (tmp_path / "again" / name).write_bytes(content)
    xr.testing.assert_identical(plain(nt.encoders.open(tmp_path / "again")), packed["fit"].to_dataset())
