"""Pipelines of encoders on the bundled EEG: a checkpoint that opens, and scores beside band power."""

from __future__ import annotations

import html
import re

import pandas as pd
import pytest
from neurotools.pipelines import encoder_pretrain, encoder_probe
from neurotools.pipelines.runner import run

import neurotools as nt
from neurotools.errors import SettingsError

SMALL = ["steps=3", "batch=4", "length_s=1.0", "encoder=elm-nano"]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    out = tmp_path_factory.mktemp("pretrain") / "out"
    return run("encoder-pretrain", "eegmmidb", out, overrides=SMALL), out


def test_a_recording_becomes_a_checkpoint(pretrained):
    outcome, out = pretrained
    assert outcome.exit_status == 0
    fit = nt.encoders.open(out / "checkpoint")
    result = nt.open_fit(out / "fit.nc")
    assert result["fit"].attrs["weights_sha256"] == fit.attrs["weights_sha256"]
    assert "folder" not in result["fit"].attrs
    assert result["features"]["features"].dims == ("window", "feature")
    table = pd.read_csv(out / "tables/training.tsv", sep="\t")
    assert {"iteration", "loss", "rate", "held_out_loss"} <= set(table)
    assert "Tiny demonstration weights" in (out / "report.html").read_text()
    assert not list(out.parent.rglob("encoder/model.safetensors"))


def test_probes_stand_beside_band_power(pretrained, tmp_path):
    _, checkpoint = pretrained
    words = [f"checkpoint={checkpoint / 'checkpoint'}", "conditions=[T1,T2]", "length_s=1.0", "stretches=3"]
    outcome = run("encoder-probe", "eegmmidb", tmp_path / "out", overrides=words)
    assert outcome.exit_status == 0
    table = pd.read_csv(tmp_path / "out/tables/scores.tsv", sep="\t")
    assert table["features"].tolist() == ["encoder", "band_power"]
    assert (table["score_low"] <= table["score"]).all()
    assert (table["score"] <= table["score_high"]).all()

    for page, cited in ((checkpoint / "report.html", "Spieler"), (tmp_path / "out/report.html", "Schalk")):
        text = page.read_text()
        for part in ("methods", "provenance", "do-it-again", "what-this-does-not-show", "recording"):
            assert f'<section id="{part}">' in text, part
        assert cited in text
        [code] = re.findall(r"<h3>From Python</h3><pre><code>(.*?)</code></pre>", text, re.DOTALL)
        compile(html.unescape(code), page.name, "exec")


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(SettingsError, match="above 0"):
        encoder_pretrain.Settings(length_s=0.0)
    with pytest.raises(SettingsError, match="below 1"):
        encoder_pretrain.Settings(overlap=1.0)
    with pytest.raises(SettingsError, match="has to be given"):
        encoder_probe.analyse(nt.load("eegmmidb"), encoder_probe.Settings())
