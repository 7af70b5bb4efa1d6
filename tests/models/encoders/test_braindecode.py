"""Models of braindecode by name, with a stand-in for the package where it is not installed."""

from __future__ import annotations

import importlib.machinery
import sys
import types

import pytest
import torch
from encoder_frame_cases import windows
from torch import nn

import neurotools as nt
from neurotools.errors import MissingExtraError, SettingsError


class Small(nn.Module):
    """As braindecode's are: these keywords, and a part called ``final_layer``."""

    def __init__(self, n_outputs, n_chans, n_times, sfreq):
        super().__init__()
        assert sfreq == 100.0 or n_times == 1
        self.mix = nn.Conv1d(n_chans, 4, 5)
        self.norm = nn.BatchNorm1d(4)
        self.final_layer = nn.Linear(4, n_outputs)

    def forward(self, x):
        return self.final_layer(torch.log1p(self.norm(self.mix(x)).square()).mean(-1))


class Headless(nn.Module):
    def __init__(self, n_outputs, n_chans, n_times, sfreq):
        super().__init__()


@pytest.fixture
def package(monkeypatch):
    found = {name: types.ModuleType(name) for name in ("braindecode", "braindecode.models")}
    for name, module in found.items():
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    found["braindecode.models"].Small = Small
    found["braindecode.models"].Headless = Headless


def test_a_model_is_listed_made_and_tuned(package, tmp_path):
    assert "bd:Small" in nt.encoders.list(modality="eeg").index
    model = nt.encoders.create(
        "bd:Small", head={"steps": 30, "rate": 0.05, "batch": 16, "check_every": 10}, steps=2
    )
    given = windows(4, 16)
    fit = model.fit(given, out=tmp_path / "fit", groups="recording")
    assert model.transform(fit, given).shape == (64, 4)
    head = model.finetune(fit, given, target="condition", out=tmp_path / "head", groups="recording")
    assert head.attrs["held_out_score"] > 0.7
    assert "braindecode" in (tmp_path / "fit/card.md").read_text()


def test_what_is_not_there_is_named(package, tmp_path):
    with pytest.raises(SettingsError, match="Did you mean 'Small'"):
        nt.encoders.create("bd:Smal")
    with pytest.raises(SettingsError, match="no part 'final_layer'"):
        nt.encoders.create("bd:Headless").fit(windows(), out=tmp_path / "fit")


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "braindecode.models", None)
    with pytest.raises(MissingExtraError, match="pip install braindecode"):
        nt.encoders.create("bd:Small")
