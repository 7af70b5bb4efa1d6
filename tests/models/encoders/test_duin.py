"""Du-IN's three stages against recorded outputs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from encoder_cases import DUIN, arrays, loaded, worst, worst_gradient
from safetensors.torch import load_file
from torch.nn import functional

from neurotools.errors import SchemaError, SettingsError
from neurotools.models.encoders import checkpoint, duin

FORWARD, LOSS, GRADIENT = 1e-5, 1e-6, 1e-4


@pytest.fixture(scope="module")
def folder(shared):
    return shared("reference/duin")


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


def case(folder, stage, name, dtype):
    network = loaded(f"duin-{name}", DUIN, load_file(folder / f"{stage}.safetensors"), dtype)
    wanted = arrays(folder / f"{stage}.npz")
    return network, wanted, wanted["x"].to(dtype), wanted["subj_onehot"].argmax(1)


def recorded_gradients(wanted):
    return {key.removeprefix("grad/"): value for key, value in wanted.items() if key.startswith("grad/")}


@torch.no_grad()
def test_every_part_of_stage_1_equals_the_recorded_one(folder, dtype):
    network, wanted, x, subject = case(folder, "vqvae", "vqvae", dtype)
    mixed = network.front.mix(x, subject)
    tokens = network.front(x, subject)
    inside = network.encoder(tokens)
    coded = network.codebook(inside)
    decoded = network.decoder(coded.tokens)
    rebuilt = network(x, subject, wanted["channel_mask"])
    found = {
        "x_h": mixed,
        "tokens": tokens,
        "enc_block0": network.encoder.blocks[0](tokens + network.encoder.time_code),
        "enc_out": inside,
        "z_preproj": network.codebook.inward(inside),
        "vq_out": coded.tokens,
        "dec_out": decoded,
        "rgs_out": network.rebuild(decoded),
        "x_reconstr": rebuilt.signal,
    }
    for key, value in found.items():
        assert worst(f"vqvae {key}", value, wanted[key]) < FORWARD
    assert torch.equal(rebuilt.code, wanted["code_idx"])
    assert torch.equal(network.name(x, subject), wanted["code_idx"])
    assert worst("vqvae signal loss", rebuilt.signal_loss, wanted["loss_rgs"]) < LOSS
    assert worst("vqvae code loss", rebuilt.code_loss, wanted["loss_vq"]) < LOSS
    assert worst("vqvae loss", rebuilt.loss, wanted["loss_total"]) < LOSS


def test_gradients_of_stage_1_equal_the_recorded_ones(folder, dtype):
    network, wanted, x, subject = case(folder, "vqvae", "vqvae", dtype)
    network(x, subject, wanted["channel_mask"]).loss.backward()
    theirs = recorded_gradients(wanted)
    assert len(theirs) == 6
    assert worst_gradient(network, "duin-vqvae", theirs) < GRADIENT


@torch.no_grad()
def test_the_codebook_follows_as_recorded(folder, dtype):
    network, wanted, _, _ = case(folder, "vqvae", "vqvae", dtype)
    book = network.codebook.train()
    assert torch.equal(book.counts.float(), wanted["counts_before"])
    before = book.codes.clone()
    coded = book(wanted["vqtrain_in"].to(dtype))
    assert worst("codebook out", coded.tokens, wanted["vqtrain_out"]) < FORWARD
    assert worst("codebook loss", coded.loss, wanted["vqtrain_loss"]) < LOSS
    assert torch.equal(coded.code, wanted["vqtrain_idx"])
    assert torch.equal(book.codes, before)
    book.follow(wanted["vqtrain_in"].to(dtype))
    assert worst("codebook counts", book.counts, wanted["vqtrain_counts_after"]) < LOSS
    assert worst("codebook codes", book.codes, wanted["vqtrain_codebook_after"]) < LOSS
    unused = torch.bincount(coded.code.flatten(), minlength=len(before)) == 0
    assert unused.any()
    assert torch.equal(book.codes[unused], before[unused])


@torch.no_grad()
def test_counts_of_a_forward_pass_equal_the_recorded_ones(folder, dtype):
    network, wanted, x, subject = case(folder, "vqvae", "vqvae", dtype)
    network.codebook.follow(network.encoder(network.front(x, subject)))
    assert worst("counts", network.codebook.counts, wanted["counts_after_eval_forward"]) < LOSS


@torch.no_grad()
def test_every_part_of_stage_2_equals_the_recorded_one(folder, dtype):
    network, wanted, x, subject = case(folder, "mae", "mae", dtype)
    hidden = duin.hidden_by(wanted["mask_noise"], float(wanted["mask_ratio"]))
    assert torch.equal(hidden, wanted["mask"])
    tokens = network.front(x, subject)
    first, second = network.hide(tokens, hidden), network.hide(tokens, ~hidden)
    logits = network(x, subject, hidden)
    found = {
        "tokens": tokens,
        "enc_in_masked": first,
        "enc_in_complement": second,
        "enc_out_masked": network.encoder(first),
        "enc_out_complement": network.encoder(second),
        "logits": logits,
    }
    for key, value in found.items():
        assert worst(f"mae {key}", value, wanted[key]) < FORWARD
    loss = functional.cross_entropy(logits.flatten(0, 1), wanted["code_true"].flatten())
    assert worst("mae loss", loss, wanted["loss_total"]) < LOSS
    assert worst("mae class loss", loss, wanted["loss_cls"]) < LOSS


def test_gradients_of_stage_2_equal_the_recorded_ones(folder, dtype):
    network, wanted, x, subject = case(folder, "mae", "mae", dtype)
    logits = network(x, subject, wanted["mask"])
    functional.cross_entropy(logits.flatten(0, 1), wanted["code_true"].flatten()).backward()
    theirs = recorded_gradients(wanted)
    assert len(theirs) == 3
    assert worst_gradient(network, "duin-mae", theirs) < GRADIENT


@torch.no_grad()
def test_a_hidden_token_does_not_change_its_own_logits(rng):
    network = checkpoint.build("duin-mae", DUIN).double().eval()
    x = torch.from_numpy(rng.normal(size=(1, 600, 6)))
    subject = torch.tensor([1])
    hidden = duin.hidden_by(torch.from_numpy(rng.uniform(size=(1, 6))), 0.5)
    assert int(hidden.sum()) == 3
    place = int(hidden[0].nonzero()[0, 0])
    changed = x.clone()
    changed[:, place * 100 : (place + 1) * 100] += 5.0
    before, after = network(x, subject, hidden), network(changed, subject, hidden)
    assert torch.equal(before[hidden], after[hidden])
    assert not torch.allclose(before[~hidden], after[~hidden])


def test_stage_3_equals_the_recorded_one(folder, dtype):
    network, wanted, x, subject = case(folder, "cls", "classifier", dtype)
    tokens = network.encoder(network.front(x, subject))
    logits = network(x, subject)
    assert worst("classifier tokens", tokens, wanted["enc_out"]) < FORWARD
    assert (
        worst("classifier hidden", functional.relu(network.hidden(tokens.flatten(1))), wanted["hidden"])
        < FORWARD
    )
    assert worst("classifier logits", logits, wanted["pre_sigmoid"]) < FORWARD
    # the published loss: cross-entropy behind a sigmoid
    published = logits.sigmoid()
    assert worst("classifier sigmoid", published, wanted["y_pred"]) < FORWARD
    loss = functional.cross_entropy(published, wanted["y_onehot"].to(dtype))
    assert worst("classifier loss", loss, wanted["loss_total"]) < LOSS
    assert worst("classifier class loss", loss, wanted["loss_cls"]) < LOSS
    loss.backward()
    theirs = recorded_gradients(wanted)
    assert len(theirs) == 3
    assert worst_gradient(network, "duin-classifier", theirs) < GRADIENT


# The authors count as parameters what no gradient reaches, and their classifier carries parts it never uses.
CODES, TIME = 2048 * 64 + 2048 + 1, 40 * 160
UNUSED = CODES + (160 + 1) * 160 + (160 + 1) * 64 + (64 + 1) * 160 + 2 * 64 + 2 * (160 + 1) * 32 + 1


@pytest.mark.parametrize(
    ("architecture", "count", "beside"),
    [
        ("duin-vqvae", 5_946_013, CODES + TIME + 12),
        ("duin-mae", 3_899_256, TIME + 8),
        ("duin-classifier", 4_586_583, UNUSED + TIME + 8),
    ],
)
def test_the_published_sizes_are_reached(architecture, count, beside):
    settings = duin.DuINSettings(n_subjects=10, n_channels=16, n_samples=4000)
    network = checkpoint.blank(architecture, settings)
    assert sum(p.numel() for p in network.parameters()) == count - beside


@torch.no_grad()
def test_time_code_is_the_stored_one(folder):
    stored = load_file(folder / "vqvae.safetensors")["emb_time.time_encodings"]
    assert worst("time code", duin.sinusoids(6, 80), stored) < 1e-6


def test_the_nearest_code_is_the_one_with_the_smallest_distance(rng):
    book = duin.Codebook(DUIN).double()
    z = functional.normalize(torch.from_numpy(rng.normal(size=(3, 6, 16))), dim=-1)
    slow = (z[..., None, :] - book.codes).square().sum(-1).argmin(-1)
    assert torch.equal(book.nearest(z), slow)


def test_what_does_not_fit_is_refused():
    network = checkpoint.build("duin-vqvae", DUIN)
    with pytest.raises(SchemaError, match="600 samples, 5 channels"):
        network(torch.zeros(1, 600, 5), torch.tensor([0]))
    with pytest.raises(SettingsError, match="whole number of segments"):
        replace(DUIN, n_samples=650)
    with pytest.raises(SettingsError, match="one entry for each layer"):
        replace(DUIN, kernels=(19, 3))
