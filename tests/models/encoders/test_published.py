"""paper_compat keeps each paper's protocol, does what its quirks do, and says so in the card."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from encoder_frame_cases import SMALL, encoder, suited, windows

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError
from neurotools.models.encoders import folder, published, splits
from neurotools.models.encoders.heads import class_loss
from neurotools.models.encoders.recipe import Batch

KEPT = sorted(published.PUBLISHED)


@pytest.mark.parametrize("architecture", KEPT)
def test_the_card_lists_the_quirks_that_are_kept_and_what_is_not(architecture, tmp_path):
    fit = encoder(architecture, paper_compat=True, steps=1).fit(
        suited(architecture, windows(2, 6)), out=tmp_path / "fit"
    )
    card = (tmp_path / "fit" / "card.md").read_text()
    plan = published.PUBLISHED[architecture]
    assert plan.quirks
    assert all(words in card for words in (*plan.quirks, *plan.left_out))
    assert ("neither overlap in time nor are copies" in card) == plan.apart
    model = nt.model_of(fit)
    assert model.paper_compat
    parts = (model, model.network, model.training)
    for name, value in plan.settings.items():
        if name not in ("head", *SMALL[architecture][1], "patience"):  # those the small case gives itself
            assert value in [getattr(part, name, None) for part in parts], name


def test_without_it_the_card_names_no_quirk(tmp_path):
    fit = encoder("elm", steps=1).fit(windows(2, 6), out=tmp_path / "fit")
    card = (tmp_path / "fit" / "card.md").read_text()
    assert "neither overlap in time nor are copies" in card
    assert "Protocol" not in card
    assert not nt.model_of(fit).paper_compat


def test_ones_own_settings_win_over_those_of_the_paper():
    model = nt.encoders.create("neurogpt-nano", paper_compat=True, betas=(0.8, 0.9))
    assert model.training.betas == (0.8, 0.9)
    assert model.network.feature_norm == "none"
    head = nt.encoders.create("duin-nano", paper_compat=True, head={"steps": 3}).head
    assert (head.output, head.training.steps) == ("sigmoid", 3)


def test_where_nothing_was_published_it_is_refused():
    with pytest.raises(SettingsError, match="no protocol was published for elm"):
        nt.encoders.create("elm-nano", paper_compat=True)
    with pytest.raises(SettingsError, match="no output of a head named 'tanh'"):
        nt.encoders.create("duin-nano", head={"output": "tanh"})


# ---- what the quirks do ---------------------------------------------------------------------------------
def placed(n, length=1.0, step=0.5):
    return splits.Places(np.zeros(n, int), np.full(n, "recording"), "recording", step * np.arange(n), length)


def test_windows_at_random_overlap_across_the_sides():
    side = published.windows_at_random(placed(100), 0.2, 0, None)
    assert (side == splits.HELD_OUT).sum() == 20
    with pytest.raises(SchemaError, match="overlap in time"):
        splits.check_apart(placed(100), side == splits.TRAIN, side == splits.HELD_OUT)
    assert (side != published.windows_at_random(placed(100), 0.2, 1, None)).any()


def test_the_last_of_each_class_are_held_out():
    label = np.array(["a", "b"] * 10 + ["a"] * 5)
    side = published.last_of_each_class(placed(25), 0.2, 0, label)
    assert np.flatnonzero(side == splits.HELD_OUT).tolist() == [17, 19, 22, 23, 24]
    np.testing.assert_array_equal(
        published.last_of_each_class(placed(25), 0.2, 0, None), splits.split(placed(25), 0.2, 0)
    )


def test_a_sigmoid_before_the_cross_entropy_bounds_the_loss(tmp_path):
    data = windows()
    model = encoder("duin", paper_compat=True, steps=1, head={"steps": 2})
    fit = model.fit(data, out=tmp_path / "fit")
    head = model.finetune(fit, data, target="condition", out=tmp_path / "head")
    network = folder.opened(head).network
    with torch.no_grad():
        network.head[-1].weight.zero_()
        network.head[-1].bias.copy_(torch.tensor([1e4, -1e4]))  # as sure as can be
        x = torch.zeros(4, 1, 3, 100)
        batch = Batch(x, torch.zeros(4, dtype=torch.int64), torch.zeros(4, dtype=torch.int64))
        assert float(class_loss(network, batch)["loss"]) == pytest.approx(math.log(1 + 1 / math.e), abs=1e-5)
    assert math.log(1 + 60 / math.e) == pytest.approx(3.14, abs=0.005)  # of 61 words, as recorded


def test_what_the_paper_calls_test_is_told_beside_what_was_held_out(tmp_path):
    data = windows(4, 12)
    model = encoder(paper_compat=True, head={"steps": 30, "rate": 0.02, "batch": 16, "dropout": 0.0})
    fit = model.fit(data, out=tmp_path / "fit", groups="recording")
    head = model.finetune(fit, data, target="condition", out=tmp_path / "head", groups="recording")
    seen = head["split"].to_numpy() == splits.TRAIN
    right = model.predict(head, data)["label"].to_numpy() == data["condition"].to_numpy()
    kinds = data["condition"].to_numpy()
    for name, mine in (("published_test_score", seen), ("held_out_score", ~seen)):
        wanted = np.mean([right[mine & (kinds == one)].mean() for one in np.unique(kinds)])
        assert head.attrs[name] == pytest.approx(wanted)
    assert "code calls test" in (tmp_path / "head" / "card.md").read_text()
    # trials are standardised one by one, recordings whole
    said = folder.opened(head).preparation
    assert (said["scale"], folder.opened(fit).preparation["scale"]) == ("window", "recording")


def test_windows_that_overlap_may_tell_of_one_another(tmp_path):
    array = windows(1, 30)
    near = array.assign_coords(window=array["window"] / 2)
    sizes = {"sequence": 5, "steps": 1}
    apart = {
        kept: folder.opened(
            encoder("stmae", paper_compat=kept, **sizes).fit(near, out=tmp_path / str(kept))
        ).network.settings.apart
        for kept in (True, False)
    }
    assert apart == {True: 1, False: 2}
