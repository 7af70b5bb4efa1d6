"""Promises that every registered model keeps."""

import dataclasses
import functools
import inspect
import json

import pytest
import xarray as xr
from contracts import cases

import neurotools as nt
from neurotools.registry import MODELS

VERBS = ("predict", "transform", "score")


def transposed(data):
    return tuple(entry.transpose(*reversed(list(entry.dims))) for entry in data)


def run(model, data):
    return model.fit(*data) if hasattr(model, "fit") else model.sample(*data, draws=12, tune=8, chains=2)


@functools.cache
def fitted(name):
    """Model, data and fit; made once for all tests that only read them."""
    model, data = cases.small(name)
    return model, data, run(model, data)


@pytest.mark.parametrize("name", MODELS)
def test_same_seed_same_fit_and_order_of_dimensions_is_free(name):
    model, data, fit = fitted(name)
    xr.testing.assert_identical(fit, run(model, data))
    xr.testing.assert_identical(fit, run(model, transposed(data)))


@pytest.mark.parametrize("name", MODELS)
def test_a_fit_knows_its_maker_and_comes_back_from_disk(name, tmp_path):
    model, _, fit = fitted(name)
    assert nt.model_of(fit) == model
    assert fit.attrs["seed"] == model.seed
    assert fit.attrs["neurotools_version"] == nt.__version__
    for suffix in ("nc", "zarr"):
        opened = nt.open_fit(nt.save(fit, tmp_path / f"fit.{suffix}"))
        xr.testing.assert_identical(opened, fit)
        assert nt.model_of(opened) == model


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_frozen_plain_settings(name):
    model, _ = cases.small(name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.seed = 5
    json.dumps(dataclasses.asdict(model))
    assert dataclasses.replace(model, seed=5).seed == 5


@pytest.mark.parametrize("name", MODELS)
def test_fitting_changes_neither_the_model_nor_the_data(name):
    model, data = cases.small(name)
    before, copies = dataclasses.replace(model), tuple(entry.copy(deep=True) for entry in data)
    run(model, data)
    assert model == before
    assert vars(model) == vars(before)
    for entry, copy in zip(data, copies, strict=True):
        xr.testing.assert_identical(entry, copy)


@pytest.mark.parametrize("name", MODELS)
def test_verbs_take_the_fit_and_then_the_data_of_fit(name):
    model, data, fit = fitted(name)
    parameters = inspect.signature(model.fit if hasattr(model, "fit") else model.sample).parameters
    # What has a default (a connectome as prior) is needed to fit and not afterwards.
    names = [name for name, entry in parameters.items() if entry.default is entry.empty]
    assert hasattr(model, "score")
    assert hasattr(model, "predict") or hasattr(model, "transform")
    for verb in filter(lambda verb: hasattr(model, verb), VERBS):
        assert list(inspect.signature(getattr(model, verb)).parameters)[: 1 + len(names)] == ["fit", *names]
        getattr(model, verb)(fit, *data)


@pytest.mark.parametrize("name", MODELS)
def test_latents_are_numbered_and_values_carry_no_stray_attributes(name):
    _, _, fit = fitted(name)
    for dim in ("component", "state", "cluster"):
        if dim in fit.dims:
            assert fit[dim].to_numpy().tolist() == list(range(fit.sizes[dim]))
    for value in fit.attrs.values():
        assert isinstance(value, (str, int, float))
