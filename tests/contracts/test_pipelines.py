"""Promises that every registered pipeline keeps."""

import dataclasses
import inspect
import json

import pytest
from neurotools.pipelines import describe
from neurotools.pipelines import settings as reading
from neurotools.pipelines.contract import pipeline

from neurotools.registry import PIPELINES


@pytest.mark.parametrize("name", PIPELINES)
def test_settings_are_frozen_complete_and_plain(name):
    cls = pipeline(name).settings
    settings = cls()
    field = dataclasses.fields(cls)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(settings, field, None)
    assert hash(settings) == hash(cls())
    assert reading.build(cls, {}) == settings
    json.dumps(reading.json_schema(cls))


@pytest.mark.parametrize("name", PIPELINES)
def test_every_setting_has_a_meaning(name):
    for entry in describe.settings_of(pipeline(name)):
        assert entry.meaning or "." in entry.name, entry.name


@pytest.mark.parametrize("name", PIPELINES)
def test_the_template_is_the_default(name, tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text(describe.template(pipeline(name)))
    assert reading.gather(pipeline(name).settings, file) == pipeline(name).settings()


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_says_what_it_takes_and_gives(name):
    chain = pipeline(name)
    assert describe.first_line(chain.module).endswith(".")
    assert chain.part("TAKES")
    assert {"fit.nc", "report.html"} <= set(chain.part("GIVES"))
    assert list(inspect.signature(chain.module.analyse).parameters)[:2] == ["recording", "settings"]
