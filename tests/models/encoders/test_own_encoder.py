"""The pages on encoders run as they stand."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SettingsError

DOCS = Path(__file__).resolve().parents[3] / "docs"


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(), re.M | re.S)


def test_the_page_on_ones_own_encoder_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    own, use = blocks("how-to/your-own-encoder.md")
    Path("bottleneck.py").write_text(own)
    names: dict = {}
    exec(compile(use, "your-own-encoder.md", "exec"), names)
    assert names["features"].sizes == {"window": 125, "feature": 4}
    monkeypatch.setitem(nt.registry.SETTINGS, "BottleneckSettings", "bottleneck:BottleneckSettings")
    assert nt.model_of(names["fit"]) == names["model"]
    xr.testing.assert_identical(
        nt.model_of(names["fit"]).transform(names["fit"], names["windows"]), names["features"]
    )
    sys.modules.pop("bottleneck")


def test_the_page_on_encoders_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks("encoders.md"):
        exec(compile(block, "encoders.md", "exec"), names)
    assert names["z"].dims == ("window", "feature")
    assert "window" in capsys.readouterr().out


def test_what_is_no_recipe_is_named():
    with pytest.raises(SettingsError, match="cannot be imported"):
        nt.encoders.create("no_such_module_here:RECIPE")
    with pytest.raises(SettingsError, match="no recipe"):
        nt.encoders.create("pathlib:Path")
