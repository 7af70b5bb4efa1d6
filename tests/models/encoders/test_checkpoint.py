"""Weights: every foreign name accounted for both ways, folders verified, pickles refused."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil

import pytest
import torch
from encoder_cases import DUIN, NEUROFORMER, NEUROGPT, elm_settings
from safetensors.torch import load_file, save_file

from neurotools.errors import FileError, ResultError, SettingsError
from neurotools.models.encoders import checkpoint
from neurotools.models.encoders.elm import ELMSettings

ELM = ELMSettings(n_inputs=12, n_memory=5, n_branches=4, synapses_per_branch=6)
CASES = {
    "neurogpt": (NEUROGPT, ("neurogpt/pretrain",)),
    "neurogpt-classifier": (NEUROGPT, ("neurogpt/pretrain", "neurogpt/classifier_gpt_head")),
    "neurogpt-conformer-classifier": (NEUROGPT, ("neurogpt/classifier_encoder_only",)),
    "elm": (None, ("elm/tiny/v1_0",)),
    "neuroformer": (NEUROFORMER["novideo"], ("neuroformer/novideo",)),
    "duin-vqvae": (DUIN, ("duin/vqvae",)),
    "duin-mae": (DUIN, ("duin/mae",)),
    "duin-classifier": (DUIN, ("duin/cls",)),
}
# what no part of ours needs, by name
UNUSED = {
    "neurogpt": {"decoder.transformer.wte.weight"},
    "neurogpt-classifier": {"decoder.transformer.wte.weight"},
    "neuroformer": {"feature_encoder", "neural_visual_transformer", "frame_3d_emb"},
    "duin-classifier": {"vq_block", "contra_block"},
}


def test_every_architecture_has_a_case():
    assert CASES.keys() == checkpoint.ARCHITECTURES.keys()


@pytest.fixture(params=CASES)
def case(request, shared):
    settings, files = CASES[request.param]
    paths = [shared("reference") / f"{file}.safetensors" for file in files]
    settings = settings or elm_settings(paths[0].with_suffix(".json"))
    return request.param, settings, {name: t for path in paths for name, t in load_file(path).items()}


def test_every_name_is_accounted_for_both_ways(case):
    architecture, settings, theirs = case
    done = checkpoint.convert(architecture, settings, theirs)
    assert [foreign for foreign, _, _ in done.coverage] == sorted(theirs)
    ours = [one for _, name, _ in done.coverage for one in name.split()]
    assert sorted(ours) == sorted(checkpoint.build(architecture, settings).state_dict())
    assert len(set(ours)) == len(ours)
    unused = {foreign for foreign, name, _ in done.coverage if not name}
    allowed = UNUSED.get(architecture, set())
    assert {name if name in allowed else name.split(".")[0] for name in unused} == allowed


def test_a_file_with_any_key_removed_added_or_misshapen_fails(case):
    architecture, settings, theirs = case
    coverage = checkpoint.convert(architecture, settings, theirs).coverage
    for foreign, name, _ in coverage[:: max(1, len(coverage) // 5)]:
        if name:
            less = {key: value for key, value in theirs.items() if key != foreign}
            with pytest.raises(FileError, match=f"{name.split()[0]}: missing"):
                checkpoint.convert(architecture, settings, less)
            wrong = torch.zeros(2, 3, dtype=theirs[foreign].dtype)
            with pytest.raises(FileError, match=f"{foreign}: shape"):
                checkpoint.convert(architecture, settings, theirs | {foreign: wrong})
    with pytest.raises(FileError, match=r"extra\.weight: no such name is known"):
        checkpoint.convert(architecture, settings, theirs | {"extra.weight": torch.zeros(1)})


def test_a_prefix_is_said_and_not_guessed(case):
    architecture, settings, theirs = case
    longer = {f"module.{name}": value for name, value in theirs.items()}
    done = checkpoint.convert(architecture, settings, longer, prefix="module.")
    plain = checkpoint.convert(architecture, settings, theirs)
    assert all(torch.equal(done.weights[name], value) for name, value in plain.weights.items())
    with pytest.raises(FileError, match="no such name is known"):
        checkpoint.convert(architecture, settings, longer)


def test_types_and_flags_must_fit(shared):
    path = shared("reference/elm/tiny/v1_0.safetensors")
    settings, theirs = elm_settings(path.with_suffix(".json")), load_file(path)
    indices = theirs["input_to_synapse_indices"]
    with pytest.raises(FileError, match=r"type torch.float32 in place of torch.int64"):
        checkpoint.convert("elm", settings, theirs | {"input_to_synapse_indices": indices.float()})
    with pytest.raises(FileError, match="other than 0 and 1"):
        checkpoint.convert("elm", settings, theirs | {"valid_indices_mask": indices})
    path = shared("reference/elm/tiny/v1_1.safetensors")
    settings, theirs = elm_settings(path.with_suffix(".json")), load_file(path)
    with pytest.raises(FileError, match="24 values where none belong"):
        checkpoint.convert("elm", settings, theirs | {"input_to_synapse_indices": indices})


# ---- folders ----------------------------------------------------------------------------------------------
@pytest.fixture
def saved(tmp_path):
    network = checkpoint.build("elm", ELM, seed=3)
    return network, checkpoint.save_checkpoint(tmp_path / "run", "elm", network)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("architecture", CASES)
def test_a_checkpoint_opens_bit_for_bit_wherever_it_lies(architecture, dtype, tmp_path):
    settings = CASES[architecture][0] or ELM
    network = checkpoint.build(architecture, settings, seed=3).to(dtype)
    folder = checkpoint.save_checkpoint(tmp_path / "run", architecture, network)
    moved = shutil.move(folder, tmp_path / "elsewhere")
    opened = checkpoint.open_checkpoint(moved)
    assert type(opened) is type(network)
    assert opened.settings == settings
    assert not opened.training
    for (name, ours), (other, theirs) in zip(
        network.state_dict().items(), opened.state_dict().items(), strict=True
    ):
        assert name == other
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs), name
    learned = [{name for name, p in net.named_parameters() if p.requires_grad} for net in (network, opened)]
    assert learned[0] == learned[1] != set()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere"]


def test_sums_are_those_of_ordinary_tools(saved):
    _, folder = saved
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert lines == [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}"
        for name in ("config.json", "model.safetensors")
    ]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_changed_cut_or_lost_file_is_refused(saved, name):
    _, folder = saved
    whole = (folder / name).read_bytes()
    flipped = bytearray(whole)
    flipped[-2] ^= 1
    for content in (bytes(flipped), whole[:-1], whole + b" ", b""):
        (folder / name).write_bytes(content)
        with pytest.raises(ResultError, match="missing or was changed"):
            checkpoint.open_checkpoint(folder)
    (folder / name).unlink()
    with pytest.raises(ResultError, match="no such file"):
        checkpoint.open_checkpoint(folder)


def resealed(folder, **changes):
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    names = ("config.json", "model.safetensors")
    sums = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (folder / "SHA256SUMS").write_text("".join(sums))


def test_a_checkpoint_of_a_later_version_is_refused(saved):
    _, folder = saved
    settings = json.loads((folder / "config.json").read_text())["settings"]
    resealed(folder, settings=settings | {"n_dreams": 2})
    with pytest.raises(ResultError, match="n_dreams"):
        checkpoint.open_checkpoint(folder)
    resealed(folder, settings=settings, architecture="elms")
    with pytest.raises(SettingsError, match="Did you mean 'elm'"):
        checkpoint.open_checkpoint(folder)
    resealed(folder, format=2)
    with pytest.raises(ResultError, match="another format"):
        checkpoint.open_checkpoint(folder)
    (folder / "SHA256SUMS").write_text("")
    with pytest.raises(ResultError, match="list of hashes is incomplete"):
        checkpoint.open_checkpoint(folder)


def test_saving_replaces_a_checkpoint_and_nothing_else(saved, tmp_path):
    _, folder = saved
    other = checkpoint.build("elm", ELM, seed=4)
    checkpoint.save_checkpoint(folder, "elm", other)
    assert torch.equal(checkpoint.open_checkpoint(folder).readout.weight, other.readout.weight)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("1")
    with pytest.raises(ResultError, match="no checkpoint, so it is left as it is"):
        checkpoint.save_checkpoint(tmp_path / "thesis", "elm", other)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "1"
    with pytest.raises(FileError, match="no checkpoint in this folder"):
        checkpoint.open_checkpoint(tmp_path / "thesis")


def test_a_failed_save_leaves_the_old_checkpoint(saved, monkeypatch):
    _, folder = saved
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    monkeypatch.setattr(checkpoint.json, "dumps", lambda *a, **k: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save_checkpoint(folder, "elm", checkpoint.build("elm", ELM, seed=9))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


class Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("protocol", [2, 4, 5, "torch", "torch old"])
def test_a_pickle_disguised_as_weights_is_never_opened(tmp_path, protocol):
    trap, path = tmp_path / "sprung", tmp_path / "model.safetensors"
    if isinstance(protocol, int):
        path.write_bytes(pickle.dumps(Trap(trap), protocol=protocol))
    else:
        torch.save(Trap(trap), path, _use_new_zipfile_serialization=protocol == "torch")
    with pytest.raises(FileError, match="a pickle can run code") as raised:
        checkpoint.read_weights(path)
    assert raised.value.code == "NT-FILE-007"
    assert not trap.exists()


def test_a_file_that_is_missing_or_cut_is_told(tmp_path):
    with pytest.raises(FileError, match="no such file of weights"):
        checkpoint.read_weights(tmp_path / "nothing.safetensors")
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.arange(10.0)}, path)
    assert torch.equal(checkpoint.read_weights(path)["a"], torch.arange(10.0))
    for n in (0, 4, 30, path.stat().st_size - 1):
        cut = tmp_path / f"{n}.safetensors"
        cut.write_bytes(path.read_bytes()[:n])
        with pytest.raises(FileError, match="cut short"):
            checkpoint.read_weights(cut)


# ---- networks ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("architecture", CASES)
def test_one_seed_gives_one_network_and_disturbs_no_other_draw(architecture):
    settings = CASES[architecture][0] or ELM
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first = checkpoint.build(architecture, settings, seed=5).state_dict()
    assert torch.equal(torch.rand(3), expected)
    again = checkpoint.build(architecture, settings, seed=5).state_dict()
    other = checkpoint.build(architecture, settings, seed=6).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_settings_of_another_network_are_refused():
    with pytest.raises(SettingsError, match="made from other settings"):
        checkpoint.build("elm", NEUROGPT)
    with pytest.raises(SettingsError, match=r"named 'neurogtp'\. Did you mean 'neurogpt'"):
        checkpoint.build("neurogtp", NEUROGPT)
