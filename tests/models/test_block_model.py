"""The block model on planted, known and empty graphs, and its promises as a model."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from neurotools import provenance
from neurotools.errors import NeurotoolsWarning, SchemaError, SettingsError
from neurotools.models.block_model import BlockModel
from neurotools.numerics import blockmodel, blockpredict
from neurotools.numerics.partitions import coassignment, normalised_mutual_information
from neurotools.registry import model_of

PLAIN = BlockModel(degree_corrected=False)


def draw(rng, labels, chance, mean, strength=None):
    """Edges by pair of blocks, exponential weights of mean by pair of blocks times both strengths."""
    n = labels.size
    chance, mean = (np.broadcast_to(m, (labels.max() + 1,) * 2)[labels][:, labels] for m in (chance, mean))
    strength = np.ones(n) if strength is None else strength
    weights = (rng.random((n, n)) < chance) * rng.exponential(mean * np.outer(strength, strength))
    weights = np.triu(weights, 1)
    return weights + weights.T


def as_motif(weights, dim="unit", names=True):
    weights = np.asarray(weights)
    dims = ("component", dim, f"{dim}_to")[-weights.ndim :]
    coords = {d: [f"n{k}" for k in range(weights.shape[-1])] for d in dims[-2:]} if names else {}
    return xr.DataArray(weights, dims=dims, coords=coords)


@pytest.fixture
def three_blocks(rng):
    labels = np.repeat([0, 1, 2], [14, 10, 6])
    return as_motif(draw(rng, labels, 0.15 + 0.6 * np.eye(3), 1 + 2 * np.eye(3))), labels


def likeness(fit, labels):
    return normalised_mutual_information(fit["label"].to_numpy(), np.asarray(labels, dtype=int))


# ---- recovery -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(3))
def test_five_planted_blocks_are_found(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, 125)
    fit = BlockModel().fit(as_motif(draw(rng, labels, 0.1 + 0.4 * np.eye(5), 1.0)))
    assert likeness(fit, labels) >= 0.98
    assert fit["chosen"].item() == "plain"
    assert fit["description_length"].min() < fit["null_description_length"]


def test_blocks_that_are_not_assortative_are_found():
    """Every pair of blocks has edge probability .3 and a mean weight of its own; density says nothing."""
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 5, 125)
        mean = np.triu(rng.choice([0.25, 0.5, 1.0, 2.0, 4.0], (5, 5)))
        found.append(likeness(PLAIN.fit(as_motif(draw(rng, labels, 0.3, mean + np.triu(mean, 1).T))), labels))
    assert np.mean(found) >= 0.85


def test_random_graphs_have_no_communities():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        weights = draw(rng, np.zeros(125, dtype=int), rng.uniform(0.1, 0.5), 1.0)
        fit = (BlockModel() if seed < 3 else PLAIN).fit(as_motif(weights))
        assert fit["n_blocks"].item() == 1
        assert fit["description_length"].min() == pytest.approx(fit["null_description_length"].item())


def test_units_of_different_strength_in_one_community_are_told_from_communities():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 25)
    strength = np.exp(rng.normal(0, 0.7, 100))
    motif = as_motif(draw(rng, labels, 0.4, 0.5 + 3 * np.eye(4), strength))
    fit = BlockModel().fit(motif)
    assert fit["chosen"].item() == "degree_corrected"
    assert likeness(fit, labels) > 0.95 > likeness(PLAIN.fit(motif), labels)
    assert np.corrcoef(fit["strength_effect"], np.log(strength))[0, 1] > 0.9


def test_hubs_in_one_community_are_told_from_communities():
    rng = np.random.default_rng(1)
    labels, hubs = np.repeat(np.arange(3), 30), np.tile(np.arange(30) < 6, 3)
    odds = np.exp(
        1.7 * (hubs[:, None] + hubs.astype(float)) + np.where(labels[:, None] == labels, -0.5, -3.0)
    )
    edges = np.triu(rng.random((90, 90)) < odds / (1 + odds), 1)
    fit = BlockModel().fit(as_motif(1.0 * (edges + edges.T)))
    assert fit["chosen"].item() == "degree_corrected"
    assert likeness(fit, labels) > 0.9
    assert fit["degree_effect"].to_numpy()[hubs].mean() > fit["degree_effect"].to_numpy()[~hubs].mean() + 1


# ---- other weights ------------------------------------------------------------------------------------
def other_weights(name, rng, labels):
    """Every pair of blocks is joined alike; only the weights inside a block differ from those between."""
    same = labels[:, None] == labels
    weights = {
        "lognormal": np.exp(rng.normal(1.5 * same, 0.8)),
        "normal": rng.normal(1.5 * same - 0.3, 0.8),
        "poisson": rng.poisson(0.4 + 1.2 * same).astype(float),
        "zero-inflated": 1.0 + rng.poisson(0.5 + 1.5 * same),
    }[name]
    edges = rng.random(same.shape) < (1.0 if name == "poisson" else 0.5)
    weights = np.triu(weights * edges, 1)
    return weights + weights.T


@pytest.mark.parametrize("name", ["lognormal", "normal", "poisson", "zero-inflated"])
def test_communities_that_differ_in_their_weights_alone_are_found(name, tmp_path):
    rng = np.random.default_rng(5)
    labels = np.repeat([0, 1, 2], 20)
    motif, model = as_motif(other_weights(name, rng, labels)), BlockModel(weights=name)
    fit = model.fit(motif)
    assert likeness(fit, labels) >= 0.9
    assert model_of(fit) == model
    again = as_motif(other_weights(name, rng, labels))
    alone = model.fit(motif * 0 + np.rint(again.to_numpy().mean()) * (1 - np.eye(60)))
    assert model.score(fit, again) > model.score(alone, again)
    same = (labels[:, None] == labels) & ~np.eye(60, dtype=bool)
    expected = model.predict(fit, motif).to_numpy()
    assert expected[same].mean() == pytest.approx(motif.to_numpy()[same].mean(), rel=0.1)
    xr.testing.assert_identical(provenance.open_saved(provenance.save(fit, tmp_path / "fit.nc")), fit)


@pytest.mark.parametrize("name", ["lognormal", "normal", "poisson", "zero-inflated"])
def test_no_communities_in_other_weights(name):
    for seed in range(2):
        rng = np.random.default_rng(seed)
        motif = as_motif(other_weights(name, rng, np.zeros(60, dtype=int)))
        assert BlockModel(weights=name).fit(motif)["n_blocks"] == 1


def test_the_family_that_made_the_weights_describes_them_most_shortly():
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], 25)
    for name, drawn in (
        ("exponential", draw(rng, labels, 0.5, 1 + 2 * np.eye(2))),
        ("lognormal", other_weights("lognormal", rng, labels)),
    ):
        lengths = {
            family: float(
                BlockModel(weights=family, degree_corrected=False)
                .fit(as_motif(drawn))["description_length"]
                .min()
            )
            for family in ("exponential", "lognormal", "normal")
        }
        assert min(lengths, key=lengths.get) == name


def test_negative_weights_are_taken_by_the_normal_family_alone(rng):
    labels = np.repeat([0, 1], 10)
    weights = other_weights("normal", rng, labels)
    assert BlockModel(weights="normal").fit(as_motif(weights))["weight_unit"] > 0
    with pytest.raises(SchemaError, match=r"(?s)negative.*weights='normal'"):
        BlockModel(weights="lognormal").fit(as_motif(weights))


@pytest.mark.parametrize("name", ["poisson", "zero-inflated"])
def test_counts_must_be_whole(name, three_blocks):
    with pytest.raises(SchemaError, match="needs counts"):
        BlockModel(weights=name).fit(three_blocks[0])


# ---- hierarchies --------------------------------------------------------------------------------------
def test_nested_levels_have_names(rng):
    groups, labels = np.repeat(np.arange(2), 48), np.repeat(np.arange(8), 12)
    near = 0.02 + 0.18 * (groups[:, None] == groups) + 0.75 * (labels[:, None] == labels)
    weights = np.triu((rng.random((96, 96)) < near) * rng.exponential(size=(96, 96)), 1)
    model = BlockModel(nested=True, degree_corrected=False)
    motif = as_motif(weights + weights.T)
    fit = model.fit(motif)
    assert fit["label"].dims == ("level", "unit")
    assert list(fit["level"].to_numpy()) == list(range(fit.sizes["level"]))
    assert fit["n_blocks"] == fit["n_blocks_level"][0] == 8
    assert fit["n_blocks_level"][-1] == 1
    assert likeness(fit.isel(level=0), labels) >= 0.95
    # The two groups come from which blocks are joined alone.
    assert likeness(fit.isel(level=1), groups) == pytest.approx(1.0)
    for level in range(fit.sizes["level"] - 1):
        lower, upper = fit["label"].to_numpy()[level : level + 2]
        assert len(set(zip(lower, upper, strict=True))) == lower.max() + 1
    assert (
        fit["description_length"].min() < PLAIN.fit(as_motif(weights + weights.T))["description_length"].min()
    )
    predicted = model.predict(fit, motif)
    assert predicted.shape == (96, 96)
    assert np.isfinite(model.score(fit, motif))


def test_nested_fit_of_components_pads_levels_and_finds_nothing_in_nothing(rng):
    none = draw(rng, np.zeros(40, dtype=int), 0.3, 1.0)
    some = draw(rng, np.repeat(np.arange(4), 10), 0.05 + 0.8 * np.eye(4), 1.0)
    fit = BlockModel(nested=True, degree_corrected=False).fit(as_motif(np.stack([none, some])))
    assert fit["label"].dims == ("component", "level", "unit")
    assert not fit["label"][0].any()
    assert fit["n_blocks"].to_numpy().tolist() == [1, 4]


# ---- a partition that motifs share --------------------------------------------------------------------
def layers(rng, labels):
    """One motif per row of labels: blocks dense inside, each motif with its own strength."""
    return as_motif(
        np.stack([draw(rng, one, 0.1 + 0.5 * np.eye(one.max() + 1), 1.0 + k) for k, one in enumerate(labels)])
    )


def test_motifs_that_share_communities_share_a_partition(rng):
    labels = np.repeat([0, 1, 2], 10)
    motif = layers(rng, np.stack([labels] * 4))
    fit = BlockModel(shared="auto", degree_corrected=False).fit(motif)
    assert fit["chosen_arrangement"] == "shared"
    assert list(fit["arrangement"].to_numpy()) == ["separate", "shared"]
    lengths = fit["arrangement_description_length"]
    assert lengths.sel(arrangement="shared") < lengths.sel(arrangement="separate") - 10
    assert fit["label"].dims == ("component", "unit")
    assert (fit["label"] == fit["label"][0]).all()
    assert likeness(fit.isel(component=0), labels) >= 0.9
    # Nats of the components add up to the whole, and the partition is paid for once.
    total = fit["description_length"].sum()
    assert total == pytest.approx(lengths.sel(arrangement="shared").item(), abs=1e-8)
    whole = blockmodel.description_length(motif.to_numpy(), fit["label"][0].to_numpy())
    assert total == pytest.approx(whole, abs=1e-8)


def test_motifs_with_their_own_communities_keep_their_own_partitions(rng):
    labels = np.stack([np.arange(40) * 2 // 40, np.arange(40) % 2])
    fit = BlockModel(shared="auto", degree_corrected=False).fit(layers(rng, labels))
    assert fit["chosen_arrangement"] == "separate"
    for k in range(2):
        assert likeness(fit.isel(component=k), labels[k]) >= 0.9


def test_sharing_needs_several_motifs(three_blocks):
    with pytest.raises(SchemaError, match="several components"):
        BlockModel(shared=True).fit(three_blocks[0])


# ---- reference graphs ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("planted_assortative_strong", 1.0),
        ("planted_assortative_weights_only", 0.95),
        ("planted_disassortative", 0.93),
        ("planted_core_periphery", 1.0),
        ("planted_blockwise_random", 0.9),
    ],
)
def test_planted_reference_graphs(shared, name, least):
    """To what the data allow: nothing describes the graph more shortly, the planted labels included."""
    stored = np.load(shared(f"reference/community/{name}.npz"), allow_pickle=False)
    fit = BlockModel().fit(as_motif(stored["W"]))
    labels = stored["labels"].astype(int)
    assert likeness(fit, labels) >= least
    planted = blockmodel.description_length(stored["W"], labels)
    assert fit["description_length"].min() <= planted + 1e-9
    others = max(float(stored[key]) for key in stored if key.endswith("/nmi_planted"))
    assert likeness(fit, labels) > others


@pytest.mark.parametrize("name", ["karate", "les_miserables", "cliques_isolated", "null_exponential"])
def test_known_graphs_are_described_more_shortly_than_by_any_stored_partition(shared, name):
    stored = np.load(shared(f"reference/community/{name}.npz"), allow_pickle=False)
    fit = BlockModel().fit(as_motif(stored["W"]))
    for key in stored:
        if key.endswith("/membership"):
            length = blockmodel.description_length(
                stored["W"], np.unique(stored[key], return_inverse=True)[1]
            )
            assert fit["description_length"].min() <= length + 1e-9, key


def test_cliques_and_a_lone_unit(shared):
    stored = np.load(shared("reference/community/cliques_isolated.npz"), allow_pickle=False)
    fit = BlockModel().fit(as_motif(stored["W"]))
    lone = ~stored["W"].any(axis=1)
    assert np.array_equal(fit["isolated"], lone)
    assert fit["n_blocks"] == 3
    assert (fit["label"] == fit["label"].to_numpy()[lone][0]).sum() == lone.sum()


def test_null_reference_has_no_communities(shared):
    stored = np.load(shared("reference/community/null_exponential.npz"), allow_pickle=False)
    assert BlockModel().fit(as_motif(stored["W"]))["n_blocks"] == 1


# ---- promises of the result ---------------------------------------------------------------------------
def test_result_is_labelled_and_numbered_largest_first(three_blocks):
    motif, labels = three_blocks
    fit = BlockModel(seed=4).fit(motif)
    assert likeness(fit, labels) == pytest.approx(1)
    assert np.array_equal(fit["label"], labels)
    assert fit["label"].dims == ("unit",)
    assert list(fit["unit"].to_numpy()[:2]) == ["n0", "n1"]
    assert list(fit["variant"].to_numpy()) == ["plain", "degree_corrected"]
    assert fit["description_length"].attrs["units"] == "nat"
    assert fit.attrs["model"] == "block_model"
    assert model_of(fit) == BlockModel(seed=4)
    plain = blockmodel.description_length(motif.to_numpy(), labels)
    assert fit["description_length"].sel(variant="plain").item() == pytest.approx(plain, abs=1e-8)
    assert fit["null_description_length"].item() == pytest.approx(
        blockmodel.description_length(motif.to_numpy(), np.zeros(30, dtype=int))
    )


def test_components_are_fitted_each_as_if_alone(rng):
    labels = [np.repeat([0, 1], 12), np.repeat([0, 1, 2], 8), np.zeros(24, dtype=int)]
    stacked = np.stack([draw(rng, one, 0.1 + 0.7 * np.eye(one.max() + 1), 1.0) for one in labels])
    motif = as_motif(stacked).assign_coords(component=[3, 5, 8])
    fit = BlockModel().fit(motif)
    assert fit["n_blocks"].to_numpy().tolist() == [2, 3, 1]
    for k in range(3):
        alone, part = BlockModel().fit(motif.isel(component=k)), fit.isel(component=k)
        for name in ("label", "n_blocks", "description_length", "chosen", "degree_effect"):
            xr.testing.assert_identical(alone[name], part[name])
        n = int(alone["n_blocks"])
        assert np.array_equal(part["edge_count"][:n, :n], alone["edge_count"])
        assert not part["edge_count"][n:].any()


@pytest.mark.parametrize("dim", ["unit", "region", "channel"])
def test_dimensions_keep_their_name_and_may_come_in_any_order(three_blocks, dim):
    motif = three_blocks[0].rename(unit=dim, unit_to=f"{dim}_to").expand_dims(component=[0])
    fit = PLAIN.fit(motif)
    assert fit["label"].dims == ("component", dim)
    xr.testing.assert_identical(fit, PLAIN.fit(motif.transpose(f"{dim}_to", "component", dim)))


def test_order_of_units_and_scale_of_weights_do_not_matter(three_blocks, rng):
    motif, _ = three_blocks
    order = rng.permutation(30)
    fit, moved = BlockModel().fit(motif), BlockModel().fit(1e-3 * motif.isel(unit=order, unit_to=order))
    assert np.array_equal(
        coassignment(fit["label"].to_numpy()[None])[np.ix_(order, order)],
        coassignment(moved["label"].to_numpy()[None]),
    )


def test_same_seed_same_fit(three_blocks):
    motif, _ = three_blocks
    xr.testing.assert_identical(BlockModel(seed=7).fit(motif), BlockModel(seed=7).fit(motif))


def test_saved_fit_comes_back(three_blocks, tmp_path):
    fit = BlockModel().fit(three_blocks[0])
    for name in ("fit.nc", "fit.zarr"):
        xr.testing.assert_identical(provenance.open_saved(provenance.save(fit, tmp_path / name)), fit)


def test_settings_choose_the_variants(three_blocks):
    motif, _ = three_blocks
    assert list(PLAIN.fit(motif)["variant"].to_numpy()) == ["plain"]
    corrected = BlockModel(degree_corrected=True).fit(motif)
    assert list(corrected["variant"].to_numpy()) == ["degree_corrected"]
    assert corrected["chosen"].item() == "degree_corrected"


def test_draws_say_how_firmly_units_belong_together(three_blocks):
    motif, labels = three_blocks
    model = BlockModel(n_draws=200)
    fit = model.fit(motif)
    together = fit["coassignment"]
    assert together.dims == ("unit", "unit_to")
    same = labels[:, None] == labels
    assert together.to_numpy()[same].mean() > 0.9
    assert together.to_numpy()[~same].mean() < 0.1
    assert np.array_equal(np.diag(together), np.ones(30))
    assert fit["n_blocks_draw"].dims == ("draw",)
    assert np.median(fit["n_blocks_draw"]) == 3
    assert fit["description_length_draw"].min() >= fit["description_length"].min() - 1e-9
    xr.testing.assert_identical(fit, model.fit(motif))
    xr.testing.assert_identical(fit["label"], BlockModel().fit(motif)["label"])


# ---- the other verbs ----------------------------------------------------------------------------------
@pytest.mark.parametrize("corrected", [True, False])
def test_predicted_weights_are_those_of_the_blocks(corrected):
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], [60, 40])
    chance, mean = np.array([[0.6, 0.2], [0.2, 0.4]]), np.array([[3.0, 1.0], [1.0, 2.0]])
    model = BlockModel(degree_corrected=corrected)
    motif = as_motif(draw(rng, labels, chance, mean))
    predicted = model.predict(model.fit(motif), motif)
    assert predicted.dims == motif.dims
    assert np.allclose(predicted, predicted.T)
    assert not np.diag(predicted).any()
    truth = (chance * mean)[labels][:, labels]
    assert np.allclose(
        predicted.to_numpy()[~np.eye(100, dtype=bool)], truth[~np.eye(100, dtype=bool)], rtol=0.2
    )


def test_score_prefers_the_communities_that_made_the_data():
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], 20)
    chance, mean = 0.1 + 0.5 * np.eye(3), 1 + 3 * np.eye(3)
    first, second = (as_motif(draw(rng, labels, chance, mean)) for _ in range(2))
    fit = PLAIN.fit(first)
    shuffled = fit.assign(label=("unit", rng.permutation(fit["label"].to_numpy())))
    shuffled = shuffled.assign(_sums(first, shuffled["label"].to_numpy()))
    assert PLAIN.score(fit, second) > PLAIN.score(shuffled, second) + 0.1
    assert PLAIN.score(fit, second).attrs["units"] == "nat per pair"


def _sums(motif, labels):
    known = blockpredict.evidence_of(motif.to_numpy(), labels)
    dims = ("block", "block_to")
    return {
        "edge_count": (dims, known.n_edges.astype(int)),
        "weight_sum": (dims, known.value * known.unit),
        "weight_scale": known.scale,
    }


def test_score_of_components_is_that_of_each(rng):
    weights = np.stack([draw(rng, np.repeat([0, 1], 10), 0.2 + 0.6 * np.eye(2), 1.0) for _ in range(2)])
    motif = as_motif(weights)
    model = BlockModel()
    fit = model.fit(motif)
    scores = model.score(fit, motif)
    assert scores.dims == ("component",)
    for k in range(2):
        part = motif.isel(component=k)
        assert model.score(fit.isel(component=k), part).item() == pytest.approx(scores[k].item())
        assert np.allclose(model.predict(fit.isel(component=k), part), model.predict(fit, motif)[k])


def test_other_units_are_refused(three_blocks):
    motif, _ = three_blocks
    fit = PLAIN.fit(motif)
    for other in (motif.isel(unit=slice(20), unit_to=slice(20)), motif.expand_dims(component=[0])):
        with pytest.raises(SchemaError, match="other units or components"):
            PLAIN.score(fit, other)
    names = [f"m{k}" for k in range(30)]
    with pytest.raises(SchemaError, match="other units or components"):
        PLAIN.predict(fit, motif.assign_coords(unit=names, unit_to=names))
    with pytest.raises(SchemaError, match="not a fit of a block model"):
        PLAIN.predict(xr.Dataset(), motif)


# ---- edges of what can come in ------------------------------------------------------------------------
def test_motif_without_edges_is_one_community_and_says_so():
    motif = as_motif(np.zeros((2, 6, 6)))
    with pytest.warns(NeurotoolsWarning, match="no edges"):
        fit = BlockModel().fit(motif)
    assert fit["n_blocks"].to_numpy().tolist() == [1, 1]
    assert fit["isolated"].all()
    assert np.isfinite(fit["description_length"]).all()


def test_isolated_units_share_a_community(rng):
    weights = np.zeros((40, 40))
    weights[:20, :20] = draw(rng, np.zeros(20, dtype=int), 0.8, 1.0)
    fit = BlockModel().fit(as_motif(weights))
    assert fit["isolated"].sum() == 20
    assert np.unique(fit["label"][20:]).size == 1
    assert not np.isin(fit["label"][:20], fit["label"][20:]).any()


def test_rounding_is_no_edge(rng):
    weights = draw(rng, np.repeat([0, 1], 15), np.eye(2) * 0.9, 1.0)
    specks = weights + 1e-13 * (1 - np.eye(30))
    fit, clean = BlockModel().fit(as_motif(specks)), BlockModel().fit(as_motif(weights))
    assert np.array_equal(fit["label"], clean["label"])
    assert np.array_equal(fit["edge_count"], clean["edge_count"])


def test_two_units_are_enough():
    assert BlockModel().fit(as_motif([[0.0, 1.0], [1.0, 0.0]]))["n_blocks"] == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w + np.triu(np.ones_like(w), 1), "symmetric"),
        (lambda w: w - 5 * (1 - np.eye(len(w))), "negative"),
        (lambda w: w + np.eye(len(w)), "diagonal"),
        (lambda w: np.where(np.eye(len(w)), np.nan, w), "not finite"),
        (lambda w: w[:1, :1], "at least two"),
        (lambda w: w[:0, :0], "at least two"),
    ],
)
def test_what_is_no_graph_is_refused(three_blocks, change, says):
    with pytest.raises(SchemaError, match=says):
        BlockModel().fit(as_motif(change(three_blocks[0].to_numpy())))


def test_sides_must_agree(three_blocks):
    motif, _ = three_blocks
    with pytest.raises(SchemaError, match="same units on both sides"):
        BlockModel().fit(motif.isel(unit=slice(10)))
    with pytest.raises(SchemaError, match="same units on both sides"):
        BlockModel().fit(motif.assign_coords(unit_to=motif["unit"].to_numpy()[::-1]))
    with pytest.raises(SchemaError, match="one kind"):
        BlockModel().fit(motif.rename(unit_to="region_to"))
    with pytest.raises(SchemaError, match="needs dimensions"):
        BlockModel().fit(motif.rename(unit="neuron"))


def test_too_many_units_are_refused_with_what_to_do():
    n = blockmodel.MAX_UNITS + 1
    with pytest.raises(SchemaError, match=r"(?s)at most.*take part most"):
        BlockModel().fit(as_motif(np.zeros((n, n)), names=False))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"weights": "exponentiel"}, "Did you mean 'exponential'"),
        ({"degree_corrected": "yes"}, "'auto', True or False"),
        ({"shared": "no"}, "shared is 'auto', True or False"),
        ({"nested": True, "n_draws": 3}, "drawn for one level"),
        ({"nested": True, "weights": "poisson"}, "every pair counts alike"),
        ({"n_draws": -1}, "n_draws must be at least 0"),
    ],
)
def test_impossible_settings_are_refused(settings, says):
    with pytest.raises(SettingsError, match=says):
        BlockModel(**settings)
