"""Published weights become folders: all names accounted for, or nothing is written."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
import xarray as xr
from encoder_cases import ELM_FIELDS, arrays, elm_settings
from neurotools.pipelines.command_line import app
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import neurotools as nt
from neurotools.errors import FileError, ResultError, SettingsError
from neurotools.models.encoders import checkpoint, conversion

CLI = CliRunner()
NEUROGPT = ["--set", "width=64", "--set", "layers=2", "--set", "heads=4"]
DUIN = {
    "n_subjects": 3, "n_channels": 6, "n_samples": 600, "n_mixed": 8, "filters": [24, 24, 8], "layers": 3,
    "decoder_layers": 2, "heads": 4, "head_width": 16, "n_codes": 48, "code_width": 16,
    "rebuild_filters": [20, 20, 20, 20, 8],
}  # fmt: skip


def call(*words):
    return CLI.invoke(app, [str(word) for word in words])


def windows_of(x, sfreq):
    """(window, time, channel) numbers as labelled windows."""
    return xr.DataArray(
        x, dims=("window", "time", "channel"), coords={"channel": [str(k) for k in range(x.shape[2])]},
        attrs={"sfreq": sfreq, "units": ""},
    )  # fmt: skip


def test_the_command_converts_and_tells_every_name(shared, tmp_path):
    file = shared("reference/neurogpt/pretrain.safetensors")
    done = call("convert", "neurogpt-base", file, tmp_path / "ng", *NEUROGPT, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert sorted(row[0] for row in said["coverage"]) == sorted(load_file(file))
    fit = nt.encoders.open(tmp_path / "ng")
    assert fit.attrs["kind"] == "converted"
    model = nt.model_of(fit)
    assert model.network.width == 64
    chunks = arrays(shared("reference/neurogpt/encoder.npz"))["x"][0].numpy()
    given = xr.DataArray(
        chunks, dims=("window", "channel", "time"), coords={"channel": list(model.channels)},
        attrs={"sfreq": 250.0, "units": "V"},
    )  # fmt: skip
    features = model.transform(fit, given, pool="flat")
    assert features.shape == (len(chunks), 1080)
    card = " ".join((tmp_path / "ng/card.md").read_text().split())
    assert "whether it does with these very weights has not been checked" in card
    shown = call("convert", "neurogpt-base", file, tmp_path / "again", *NEUROGPT).output
    assert "1 known and not needed; none missing" in shown
    assert "decoder.transformer.wte.weight" in shown


def test_features_of_converted_weights_are_those_of_the_network(shared, tmp_path):
    file = shared("reference/duin/mae.safetensors")
    conversion.convert("duin-base", file, tmp_path / "duin", DUIN)
    fit = nt.encoders.open(tmp_path / "duin")
    model = nt.model_of(fit)
    assert model.architecture == "duin-mae"
    x = np.random.default_rng(0).normal(size=(4, 600, 6)).astype("float32")
    given = windows_of(x, 1000.0)
    features = model.transform(fit, given, pool="flat")
    network = checkpoint.blank("duin-mae", model.network)
    network.load_state_dict(
        checkpoint.convert("duin-mae", model.network, load_file(file)).weights, assign=True
    )
    scaled = torch.from_numpy((x - x.mean((0, 1))) / x.std((0, 1)))
    with torch.inference_mode():
        network.eval()
        tokens = network.encoder(network.front(scaled, torch.zeros(4, dtype=torch.int64)))
    np.testing.assert_allclose(features, tokens.flatten(1), atol=2e-4)
    with pytest.raises(SettingsError, match="no objective without targets"):
        model.fit(given, out=tmp_path / "x")


def test_the_published_neurons_open_as_encoders(shared, tmp_path):
    """All of the authors' files: features are the memory, and outputs are those of the network."""
    paths = sorted(shared("reference/elm").rglob("*.safetensors"))
    published = [path for path in paths if "tiny" not in path.parts]
    assert len(published) == 15
    for path in published[::7]:
        sizes = elm_settings(path.with_suffix(".json"))
        given = {name: getattr(sizes, name) for name in (*ELM_FIELDS.values(), "routing", "version")}
        conversion.convert("elm-neuron", path, tmp_path / path.stem, given)
        fit = nt.encoders.open(tmp_path / path.stem)
        model = nt.model_of(fit)
        spikes = (np.random.default_rng(1).random((2, 50, 1278)) < 0.02).astype("float32")
        memory = model.transform(fit, windows_of(spikes, 1000.0), pool="none")
        assert memory.shape == (2, 50, sizes.n_memory)
        network = checkpoint.blank("elm", sizes)
        weights = checkpoint.convert("elm", sizes, load_file(path)).weights
        network.load_state_dict(weights, assign=True)
        with torch.inference_mode():
            np.testing.assert_allclose(memory, network.eval().run(torch.from_numpy(spikes)).memory, atol=1e-6)


def test_single_networks_and_settings_by_name(shared, tmp_path):
    file = shared("reference/neurogpt/classifier_encoder_only.safetensors")
    done = call("convert", "neurogpt-conformer-classifier", file, tmp_path / "net")
    assert done.exit_code == 0, done.output
    network = checkpoint.open_checkpoint(tmp_path / "net")
    assert type(network).__name__ == "ConformerClassifier"
    with pytest.raises(FileError, match="no fit"):
        nt.encoders.open(tmp_path / "net")
    for words, said in (
        (("--set", "widht=3"), "Did you mean 'width'"), (("--set", "width"), "KEY=VALUE"),
    ):  # fmt: skip
        done = call("convert", "neurogpt-base", file, tmp_path / "x", *words)
        assert done.exit_code == 2
        assert said in done.output
    done = call("convert", "neurogpt-bass", file, tmp_path / "x")
    assert "Did you mean 'neurogpt-base'" in done.output
    assert not (tmp_path / "x").exists()


def test_what_does_not_make_up_the_network_writes_nothing(shared, tmp_path):
    tensors = load_file(shared("reference/neurogpt/pretrain.safetensors"))
    less = {name: value for name, value in tensors.items() if name != "embedder.msk_embed"}
    save_file(less, tmp_path / "less.safetensors")
    done = call("convert", "neurogpt-base", tmp_path / "less.safetensors", tmp_path / "x", *NEUROGPT)
    assert done.exit_code == 2
    assert "mask_feature: missing" in done.output
    assert not (tmp_path / "x").exists()
    (tmp_path / "x").mkdir()
    done = call("convert", "neurogpt-base", tmp_path / "less.safetensors", tmp_path / "x", *NEUROGPT)
    assert done.exit_code == 2
    assert "already" in done.output
    with pytest.raises(ResultError, match="exists already"):
        conversion.convert("neurogpt-base", tmp_path / "less.safetensors", tmp_path / "x")


class Trap:
    def __reduce__(self):
        return (print, ("this must never be printed",))


def test_archives_of_torch_are_read_without_running_anything(shared, tmp_path, capsys):
    tensors = load_file(shared("reference/neurogpt/pretrain.safetensors"))
    torch.save({"model": {f"module.{k}": v for k, v in tensors.items()}}, tmp_path / "weights.bin")
    found = conversion.read_foreign(tmp_path / "weights.bin")
    assert {name.removeprefix("module.") for name in found} == set(tensors)
    words = ("convert", "neurogpt-base", tmp_path / "weights.bin", tmp_path / "ng", *NEUROGPT)
    assert call(*words).exit_code == 2
    assert call(*words, "--prefix", "module.").exit_code == 0
    torch.save({"model": tensors, "trap": Trap()}, tmp_path / "trap.bin")
    (tmp_path / "trap.pt").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "trap.safetensors").write_bytes((tmp_path / "weights.bin").read_bytes())
    for name in ("trap.bin", "trap.pt", "trap.safetensors"):
        with pytest.raises(FileError) as caught:
            conversion.read_foreign(tmp_path / name)
        assert caught.value.code == "NT-FILE-007", name
    assert "never be printed" not in capsys.readouterr().out
    torch.save({"epoch": 3}, tmp_path / "no.pt")
    with pytest.raises(FileError, match="no mapping of names to tensors"):
        conversion.read_foreign(tmp_path / "no.pt")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00")
    with pytest.raises(FileError, match="cut short"):
        conversion.read_foreign(tmp_path / "cut.safetensors")
    with pytest.raises(FileError, match="no such file"):
        conversion.read_foreign(tmp_path / "none.pt")
