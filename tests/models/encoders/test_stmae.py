"""Masked dynamic connectivity: graphs and layers equal recorded ones, and nothing that is hidden is seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import load_file

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError
from neurotools.models.encoders import stmae, stmae_recipe
from neurotools.models.encoders.recipe import Batch, Given, build

SETTINGS = stmae.STMAESettings(
    n_regions=9, width=16, layers=2, decoder_layers=1, heads=2, hidden_share=0.34, apart=2
)
MODELS = ("sero", "garo", "mean")


@pytest.fixture(scope="module")
def network():
    return build(stmae_recipe.STMAE_RECIPE, SETTINGS, seed=0).eval()


@pytest.fixture(scope="module")
def series():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(4, 9, 40)).astype("float32"))


# ---- recorded outputs of the published graph encoder ----------------------------------------------------
@pytest.fixture(scope="module")
def recorded(shared):
    with np.load(shared("reference/stagin") / "stagin.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def windows_of(recorded):
    starts, length = recorded["sampling_points"], int(recorded["window_size"])
    values = recorded["timeseries"]  # subject time region
    cut = np.stack([values[:, a : a + length] for a in starts], 1)
    return torch.from_numpy(cut).transpose(-1, -2)  # subject window region time


def test_graphs_equal_recorded_ones(recorded):
    found = stmae.correlation(windows_of(recorded))
    np.testing.assert_allclose(found, recorded["fc"], atol=1e-5)
    for percent in (10, 30, 50):
        theirs = recorded[f"adjacency_s{percent}"]
        np.testing.assert_array_equal(stmae.edges(torch.from_numpy(recorded["fc"]), percent / 100), theirs)
        # where the limit falls on an edge, rounding gave them one of its two directions; ours has neither
        two_sided = theirs & theirs.swapaxes(-1, -2)
        np.testing.assert_array_equal(stmae.edges(found, percent / 100), two_sided)
        assert (theirs != two_sided).sum() <= 2


@pytest.fixture(scope="module", params=MODELS)
def published(request, recorded, shared):
    """Our encoder with recorded weights, and what came out of the authors' one."""
    weights = load_file(shared("reference/stagin") / f"model_{request.param}.safetensors")
    width, n = recorded[f"{request.param}/time_encoding"].shape[-1], recorded["fc"].shape[-1]
    encoder = stmae.GraphEncoder(stmae.STMAESettings(n_regions=n, width=width, layers=2, heads=2))
    named = {f"clock.{k.rpartition('.')[2]}": v for k, v in weights.items() if ".rnn." in k}
    first = weights["initial_linear.weight"]
    named |= {"identity": first[:, :n].T, "from_clock.weight": first[:, n:]}
    named["from_clock.bias"] = weights["initial_linear.bias"]
    parts = {"mlp.0": "first", "mlp.1": "first_norm", "mlp.3": "second", "mlp.4": "second_norm"}
    for k in range(2):
        named[f"layers.{k}.own"] = weights[f"gnn_layers.{k}.epsilon"][0, 0]
        for name, value in weights.items():
            head, _, tail = name.removeprefix(f"gnn_layers.{k}.").rpartition(".")
            if name.startswith(f"gnn_layers.{k}.") and head in parts:
                named[f"layers.{k}.{parts[head]}.{tail}"] = value
    encoder.load_state_dict(named, strict=True)
    prefix = f"{request.param}/"
    said = {k.removeprefix(prefix): v for k, v in recorded.items() if k.startswith(prefix)}
    return encoder.eval(), said


@torch.no_grad()
def test_the_graph_encoder_equals_the_published_one(published, recorded):
    encoder, said = published
    values, ends = torch.from_numpy(recorded["timeseries"]), recorded["sampling_endpoints"]
    # they read one run over the whole scan; ours begins anew in each window, so that none sees another
    codes = torch.stack([encoder.time_code(values[:, :end].transpose(1, 2)) for end in ends])
    np.testing.assert_allclose(codes, said["time_encoding"], atol=1e-5)
    first = encoder.identity + encoder.from_clock(codes.transpose(0, 1))[:, :, None]
    np.testing.assert_allclose(first, said["initial_linear"], atol=1e-5)
    graphs = torch.from_numpy(recorded["adjacency_s30"]).float()
    one = encoder.layers[0](first.flatten(0, 1), graphs.flatten(0, 1)).unflatten(0, graphs.shape[:2])
    np.testing.assert_allclose(one, said["gin0"], atol=1e-5)
    encoder.layers[0].train()
    again = encoder.layers[0](first.flatten(0, 1), graphs.flatten(0, 1)).unflatten(0, graphs.shape[:2])
    np.testing.assert_allclose(again, said["gin0_train_mode"], atol=1e-4)
    np.testing.assert_allclose(
        encoder.layers[0].first_norm.running_mean, said["gin0_bn1_running_mean_after"], atol=1e-5
    )
    encoder.eval()


# ---- graphs -------------------------------------------------------------------------------------------
def test_a_window_is_the_graph_of_dynamic_connectivity(shared):
    folder = shared("data/fmri_hcp_aal2_timeseries")
    bold = nt.load(next(folder.glob("*.mat")), kind="fmri", sfreq=1 / 0.72, dims=("region", "time"))
    bold = nt.signal(bold).isel(region=slice(0, 20), time=slice(0, 300))
    matrices = nt.dynamic_connectivity(bold, window_s=36.0, step_s=36.0)
    windows = nt.windows(bold, length_s=36.0)
    found = stmae.correlation(torch.from_numpy(windows.to_numpy()))
    np.testing.assert_allclose(found, matrices.to_numpy(), atol=2e-5)


def test_edges_are_those_above_numpys_percentile():
    matrix = np.random.default_rng(1).normal(size=(6, 7, 7)).astype("float32")
    for share in (0.1, 0.25, 0.5):
        limit = np.percentile(matrix, 100 * (1 - share), axis=(1, 2), keepdims=True)
        np.testing.assert_array_equal(stmae.edges(torch.from_numpy(matrix), share), matrix > limit)


# ---- nothing hidden is seen -----------------------------------------------------------------------------
@torch.no_grad()
def test_hidden_regions_change_nothing(network, series):
    seen = torch.tensor([[0, 2, 3, 5, 6, 8]]).expand(4, -1)
    other = series.clone()
    other[:, [1, 4, 7]] = 1e3 * torch.randn(4, 3, 40)
    for one, two in zip(*(network.hidden_regions(x, seen) for x in (series, other)), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
    moved = network.hidden_regions(series.flip(0), seen)
    assert not torch.allclose(moved.edge_logit, network.hidden_regions(series, seen).edge_logit)


@torch.no_grad()
def test_with_all_regions_seen_the_encoder_is_the_whole_one(network, series):
    every = torch.arange(9).expand(4, -1)
    torch.testing.assert_close(network.encoder(series, every), network.encoder(series))


def test_hidden_pairs_are_all_pairs_with_a_hidden_region():
    seen = torch.tensor([[0, 2, 3, 5, 6, 8]])
    pairs = stmae_recipe.hidden_pairs(SETTINGS, seen)[0]
    wanted = {(i, j) for i in range(9) for j in range(i + 1, 9) if {i, j} & {1, 4, 7}}
    assert {tuple(pair) for pair in pairs.nonzero().tolist()} == wanted


@pytest.mark.parametrize("length", [5, 9])
def test_windows_that_tell_of_one_another_are_apart_and_every_choice_occurs(length):
    torch.manual_seed(0)
    batch = Batch(torch.zeros(3000, length, 9, 4), torch.zeros(3000, dtype=torch.int64))
    draw = stmae_recipe.drawn(SETTINGS, batch)
    assert (draw.between - draw.before).min() == 2
    assert (draw.after - draw.between).min() == 2
    assert draw.before.min() == 0
    assert draw.after.max() == length - 1
    assert set(draw.between.tolist()) == set(range(2, length - 2))
    assert ((draw.place > 0) & (draw.place < 1)).all()
    assert (draw.seen.diff() > 0).all()
    assert len(draw.seen.unique(dim=0)) == 84  # 9 over 3


def test_overlap_of_windows_is_read_from_the_data(tmp_path):
    rng = np.random.default_rng(0)
    bold = xr.DataArray(
        rng.normal(size=(6, 400)), dims=("region", "time"),
        coords={"region": [f"r{k}" for k in range(6)], "time": np.arange(400) * 0.5},
        attrs={"units": "1", "sfreq": 2.0},
    )  # fmt: skip
    windows = nt.windows(bold, length_s=10.0, overlap=0.5)
    small = {"width": 8, "layers": 1, "heads": 2, "steps": 2, "batch": 4}
    fit = nt.encoders.create("stmae-nano", sequence=5, **small).fit(windows, out=tmp_path / "fit")
    from neurotools.models.encoders import folder

    assert folder.opened(fit).network.settings.apart == 2
    with pytest.raises(SettingsError, match=r"(?s)window between two others.*sequence=5 or more"):
        nt.encoders.create("stmae-nano", sequence=4, **small).fit(windows, out=tmp_path / "x")
    alone = nt.encoders.create("stmae-nano", sequence=1, temporal=0.0, **small)
    told = alone.fit(windows, out=tmp_path / "alone")
    assert "regions_auroc" in told
    assert "window_auroc" not in told


# ---- numbers that are told ----------------------------------------------------------------------------
def test_area_under_the_curve_equals_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(2)
    truth, score = rng.random(500) < 0.3, np.round(rng.normal(size=500), 1).astype("float32")
    found = stmae_recipe.area_under_curve(torch.from_numpy(score), torch.from_numpy(truth))
    assert float(found) == pytest.approx(roc_auc_score(truth, score), abs=1e-6)


def test_it_learns_states_that_switch(tmp_path):
    """Two patterns of correlation in turn: the seen regions tell which, and so the edges of the hidden."""
    rng = np.random.default_rng(3)
    mixes = rng.normal(size=(2, 12, 3))
    state = np.repeat(rng.integers(0, 2, 200), 40)
    values = np.einsum("trk,tk->rt", mixes[state], rng.normal(size=(8000, 3)))
    values += 0.5 * rng.normal(size=(12, 8000))
    bold = xr.DataArray(
        values, dims=("region", "time"),
        coords={"region": [f"r{k}" for k in range(12)], "time": np.arange(8000.0)},
        attrs={"units": "1", "sfreq": 1.0},
    )  # fmt: skip
    model = nt.encoders.create(
        "stmae-nano", steps=150, batch=16, sequence=1, temporal=0.0, rate=3e-3, check_every=75,
        head={"steps": 30, "rate": 0.02, "check_every": 30, "pool": "mean", "freeze": True},
    )  # fmt: skip
    windows = nt.windows(bold, length_s=40.0).assign_coords(state=("window", state[::40]))
    fit = model.fit(windows, out=tmp_path / "fit")
    # the mean graph reaches 0.86, the mean graphs of the true states 0.99
    assert float(fit["held_out_regions_auroc"][-1]) > 0.9
    assert float(fit["held_out_regions_correlations"][-1]) < 0.25
    head = model.finetune(fit, windows, target="state", out=tmp_path / "head")
    assert head.attrs["held_out_score"] > 0.9
    said = model.predict(head, windows.isel(window=slice(160, None)))["label"].to_numpy()
    assert np.mean(said == state[::40][160:].astype(str)) > 0.9


# ---- what is refused ------------------------------------------------------------------------------------
def test_what_cannot_be_is_named(network, series):
    for wrong, said in (
        ({"hidden_share": 0.0}, "between 0 and 1"), ({"edge_share": 1.0}, "between 0 and 1"),
        ({"width": 10, "heads": 4}, "multiple of heads"), ({"n_regions": 2}, "too few regions"),
        ({"layers": 0}, "layers must be at least 1"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=said):
            stmae.STMAESettings(**wrong)
    with pytest.raises(SchemaError, match=r"(?s)do not fit this network.*8 regions"):
        network.encoder(series[:, :8])
    given = Given(3, 20, 1.0, 1, 3, step=20)
    assert stmae_recipe.fitted(stmae.STMAESettings(), given).n_regions == 3
