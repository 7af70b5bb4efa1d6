"""Neuro-GPT against recorded outputs, and its one-pass objective against the copies it replaces."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from encoder_cases import NEUROGPT, arrays, gradients, loaded, worst
from safetensors.torch import load_file
from torch.nn import functional

from neurotools.errors import SchemaError, SettingsError
from neurotools.models.encoders import checkpoint
from neurotools.models.encoders.neurogpt import NeuroGPTSettings

FORWARD, LOSS, GRADIENT = 1e-5, 1e-6, 1e-4
PRECISIONS = [torch.float32, torch.float64]


@pytest.fixture(scope="module")
def folder(shared):
    return shared("reference/neurogpt")


@pytest.fixture(scope="module")
def recorded(folder):
    return arrays(folder / "pretrain.npz")


@pytest.fixture(scope="module")
def signal(folder):
    return arrays(folder / "encoder.npz")


@pytest.fixture(scope="module", params=PRECISIONS, ids=["float32", "float64"])
def network(folder, request):
    return loaded("neurogpt", NEUROGPT, load_file(folder / "pretrain.safetensors"), request.param)


def dtype_of(network):
    return next(network.parameters()).dtype


def replicated(network, features, present):
    """The published objective as it is defined: one copy of a recording for each chunk that is hidden."""
    mixed, hidden, targets, seen = [], [], [], []
    for row, there in zip(features, present, strict=True):
        for place in range(1, int(there.sum())):
            copy = torch.zeros_like(row)
            copy[:place] = row[:place]
            copy[place] = network.mask_feature
            mixed.append(copy)
            hidden.append(place)
            targets.append(row[place].detach())
            seen.append(torch.arange(len(row)) <= place)
    return torch.stack(mixed), torch.tensor(hidden), torch.stack(targets), torch.stack(seen)


def replicated_loss(network, features, present):
    copies, hidden, targets, seen = replicated(network, features, present)
    mixed = network.contextual(network.embed(copies), seen)
    found = network.unembedding(mixed[torch.arange(len(hidden)), hidden])
    return (found - targets).square().mean()


@torch.no_grad()
def test_encoder_equals_the_recorded_one(network, signal):
    encoder = network.encoder
    chunks = signal["x"].to(dtype_of(network)).flatten(0, 1)
    pooled = encoder.pooled(chunks)
    assert worst("shallownet", pooled[:2, :, None], signal["enc_shallownet_first2"]) < FORWARD
    patches = encoder.project(pooled).transpose(1, 2)
    assert worst("patches", patches, signal["enc_patch"]) < FORWARD
    for number, block in enumerate(encoder.blocks):
        patches = block(patches)
        assert worst(f"block {number}", patches[:4], signal[f"enc_block{number}_first4"]) < FORWARD
    assert worst("features", encoder(chunks), signal["enc_features"]) < FORWARD


@torch.no_grad()
def test_gpt_without_hiding_equals_the_recorded_one(network, signal, recorded):
    features = network.features(signal["x"][:, :4].to(dtype_of(network)))
    tokens = network.embed(features)
    mixed = network.contextual(tokens)
    assert worst("plain features", features, recorded["plain_features"]) < FORWARD
    assert worst("plain embed", tokens, recorded["plain_embed"]) < FORWARD
    assert worst("plain gpt", mixed, recorded["plain_gpt"]) < FORWARD
    assert worst("plain recon", network.unembedding(mixed), recorded["plain_recon"]) < FORWARD
    assert torch.equal(network(signal["x"][:, :4].to(dtype_of(network))), mixed)


@pytest.mark.parametrize("n_chunks", [2, 4])
@torch.no_grad()
def test_copies_equal_the_recorded_ones_at_every_place(network, signal, recorded, n_chunks):
    key = f"S{n_chunks}"
    present = recorded[f"{key}_attention_mask_in"].bool()
    features = network.features(signal["x"][:, :n_chunks].to(dtype_of(network)))
    copies, hidden, targets, seen = replicated(network, features, present)
    assert torch.equal(hidden, recorded[f"{key}_mask_pos"])
    assert torch.equal(seen, recorded[f"{key}_copy_attention_mask"].bool())
    assert worst(f"{key} target", targets, recorded[f"{key}_target"]) < FORWARD
    x = network.embed(copies)
    assert worst(f"{key} gpt in", x, recorded[f"{key}_gpt_in"]) < FORWARD
    outputs = []
    hooks = [b.register_forward_hook(lambda m, i, out: outputs.append(out)) for b in network.gpt.blocks]
    mixed = network.contextual(x, seen)
    for hook in hooks:
        hook.remove()
    assert len(outputs) == 2
    for number, out in enumerate(outputs):
        assert worst(f"{key} gpt block {number}", out, recorded[f"{key}_gpt_block{number}"]) < FORWARD
    assert worst(f"{key} gpt out", mixed, recorded[f"{key}_gpt_out"]) < FORWARD


@pytest.mark.parametrize("key", ["S2", "S4", "S8", "ragged"])
@torch.no_grad()
def test_one_pass_equals_the_recorded_predictions_and_loss(network, signal, recorded, key):
    present = recorded[f"{key}_attention_mask_in"].bool()
    chunks = signal["x"][:, : present.shape[1]].to(dtype_of(network))
    features = network.features(chunks, present)
    found = network.predict_hidden(features, present)[present[:, 1:]]
    assert worst(f"{key} recon", found, recorded[f"{key}_recon_at_mask"]) < FORWARD
    assert worst(f"{key} target", features[:, 1:][present[:, 1:]], recorded[f"{key}_target"]) < FORWARD
    assert worst(f"{key} loss", network.loss(chunks, present), recorded[f"{key}_loss"]) < LOSS


@pytest.mark.parametrize("n_chunks", [2, 4, 8])
def test_gradients_of_one_pass_equal_the_recorded_ones(network, signal, recorded, n_chunks):
    start = f"S{n_chunks}_grad/"
    network.zero_grad()
    network.loss(signal["x"][:, :n_chunks].to(dtype_of(network))).backward()
    theirs = {key.removeprefix(start): value for key, value in recorded.items() if key.startswith(start)}
    assert len(theirs) == 8
    for ours, (gradient, how) in gradients("neurogpt", NEUROGPT, theirs).items():
        found = network.get_parameter(ours).grad
        if ours == "gpt.position.weight":
            assert not found[n_chunks:].any()
            found = found[:n_chunks]
        wanted = checkpoint.CHANGES[how](gradient, found)
        assert worst(f"S{n_chunks} grad {ours}", found, wanted, relative=True) < GRADIENT


@pytest.mark.parametrize("n_chunks", [4, 8, 32])
def test_one_pass_equals_the_copies(n_chunks, rng):
    settings = replace(NEUROGPT, n_channels=4, chunk_samples=150, encoder_layers=1)
    network = checkpoint.build("neurogpt", settings, seed=1).double().eval()
    chunks = torch.from_numpy(rng.normal(size=(2, n_chunks, 4, 150)))
    present = torch.ones(2, n_chunks, dtype=torch.bool)
    present[1, n_chunks - n_chunks // 3 :] = False
    losses, slopes = [], []
    for loss in (
        network.loss(chunks, present),
        replicated_loss(network, network.features(chunks, present), present),
    ):
        network.zero_grad()
        loss.backward()
        losses.append(loss.item())
        slopes.append({name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None})
    assert abs(losses[0] - losses[1]) < 1e-12
    assert slopes[0].keys() == slopes[1].keys()
    for name, slope in slopes[0].items():
        torch.testing.assert_close(slope, slopes[1][name], rtol=0, atol=1e-12, msg=name)


@torch.no_grad()
def test_encoder_classifier_equals_the_recorded_one(folder):
    wanted = arrays(folder / "classifier.npz")
    for dtype in PRECISIONS:
        weights = load_file(folder / "classifier_encoder_only.safetensors")
        network = loaded("neurogpt-conformer-classifier", NEUROGPT, weights, dtype)
        chunks = wanted["x"].to(dtype)
        logits = network(chunks)
        hidden = network.head[:-1](network.encoder(chunks.flatten(0, 1)).reshape(2, -1))
        # these reach 15, so the tolerance for activations of order one holds relative to that
        assert worst("encoder only hidden", hidden, wanted["enc_only_hidden32"], relative=True) < FORWARD
        assert worst("encoder only logits", logits, wanted["enc_only_presoftmax"]) < FORWARD
        assert worst("encoder only logprob", logits.log_softmax(-1), wanted["enc_only_logprob"]) < FORWARD
        loss = functional.cross_entropy(logits, wanted["labels"])
        # the loss is 6.4, and its last float32 digit depends on the number of threads
        assert worst("encoder only loss", loss, wanted["enc_only_loss"], relative=True) < LOSS


@torch.no_grad()
def test_gpt_classifier_equals_the_recorded_one(folder):
    wanted = arrays(folder / "classifier.npz")
    weights = load_file(folder / "pretrain.safetensors") | load_file(
        folder / "classifier_gpt_head.safetensors"
    )
    for dtype in PRECISIONS:
        network = loaded("neurogpt-classifier", NEUROGPT, weights, dtype)
        body, chunks = network.body, wanted["x"].to(dtype)
        tokens = body.embed(body.with_class(body.features(chunks)))
        assert wanted["gpt_cls_attention_mask"].all()
        assert worst("gpt classifier tokens", tokens, wanted["gpt_cls_inputs_embeds"]) < FORWARD
        assert worst("gpt classifier mixed", body.contextual(tokens), wanted["gpt_cls_hidden"]) < FORWARD
        assert worst("gpt classifier pooled", body.pooled(chunks), wanted["gpt_cls_pooler"]) < FORWARD
        assert worst("gpt classifier logits", network(chunks), wanted["gpt_cls_logits"]) < FORWARD
        loss = functional.cross_entropy(network(chunks), wanted["labels"])
        assert worst("gpt classifier loss", loss, wanted["gpt_cls_loss"]) < LOSS


def test_the_published_size_is_reached():
    network = checkpoint.blank("neurogpt", NeuroGPTSettings())
    count = sum(p.numel() for p in network.parameters())
    # the authors' network also holds a vocabulary of one word
    assert count == 79_528_776 - 1024
    assert sum(p.numel() for p in network.encoder.parameters()) == 156_320


@torch.no_grad()
def test_fused_filters_equal_two_convolutions(rng):
    encoder = checkpoint.build("neurogpt", NEUROGPT).encoder.double()
    chunks = torch.from_numpy(rng.normal(size=(3, 22, 500)))
    kernel, bias = encoder.fused_filters()
    twice = encoder.spatial(encoder.temporal(chunks[:, None]))[:, :, 0]
    torch.testing.assert_close(functional.conv1d(chunks, kernel, bias), twice, rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_hidden_chunk_and_later_ones_do_not_change_its_prediction(rng):
    network = checkpoint.build("neurogpt", NEUROGPT).double().eval()
    features = torch.from_numpy(rng.normal(size=(1, 5, NEUROGPT.n_features)))
    changed = features.clone()
    changed[:, 3:] += 1.0
    before, after = network.predict_hidden(features), network.predict_hidden(changed)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3], after[:, 3])


@torch.no_grad()
def test_padding_changes_nothing(rng):
    network = checkpoint.build("neurogpt", NEUROGPT).double().eval()
    chunks = torch.from_numpy(rng.normal(size=(1, 3, 22, 500)))
    padded = torch.cat([chunks, torch.full((1, 2, 22, 500), torch.nan, dtype=torch.float64)], 1)
    present = torch.tensor([[True, True, True, False, False]])
    torch.testing.assert_close(network.loss(padded, present), network.loss(chunks), rtol=1e-12, atol=0)


def test_what_does_not_fit_is_refused(rng):
    network = checkpoint.build("neurogpt", NEUROGPT)
    with pytest.raises(SchemaError, match="21 channels, 500 samples"):
        network(torch.zeros(1, 2, 21, 500))
    with pytest.raises(SchemaError, match="padding only at the end"):
        network.loss(torch.zeros(1, 3, 22, 500), torch.tensor([[True, False, True]]))
    with pytest.raises(SchemaError, match="no recording has a second chunk"):
        network.loss(torch.zeros(2, 1, 22, 500))
    with pytest.raises(SchemaError, match="no recording has a second chunk"):
        network.loss(torch.zeros(1, 3, 22, 500), torch.tensor([[True, False, False]]))
    with pytest.raises(SettingsError, match="multiple of heads"):
        replace(NEUROGPT, heads=5)
    with pytest.raises(SettingsError, match="at least 99 samples"):
        replace(NEUROGPT, chunk_samples=98)
    short = checkpoint.build("neurogpt", replace(NEUROGPT, max_chunks=2))
    with pytest.raises(SchemaError, match="at most 2"):
        short.contextual(torch.zeros(1, 3, 64))
