"""Motifs against chance, over resampled data and between conditions: oracles, planted truth, refusals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import nnls

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError
from neurotools.evaluate.edges import pair_weights
from neurotools.numerics import affinity as kernels
from neurotools.numerics import nulls
from neurotools.schema import events_table
from neurotools.schema.affinity import affinity_parts

T = 400
MODEL = nt.NTF(2, n_restarts=2, max_iter=60, tol=1e-4)


def traces(coupled: bool, seed: int = 0) -> xr.DataArray:
    """Eight units in two groups that burst together, or each alone."""
    rng = np.random.default_rng(seed)
    bursts = (rng.random((8, T)) < 0.05) * rng.uniform(2, 6, (8, T))
    courses = np.apply_along_axis(lambda row: np.convolve(row, np.exp(-np.arange(20) / 4))[:T], 1, bursts)
    values = courses[np.arange(8) // 4] if coupled else courses
    values = values + 0.02 * rng.normal(size=(8, T))
    return xr.DataArray(values, dims=("unit", "time"), coords={"time": np.arange(T) / 10})


@pytest.fixture(scope="module")
def coupled() -> tuple[xr.Dataset, xr.Dataset]:
    affinity = nt.differential_affinity(traces(coupled=True), smooth_s=0.2)
    return affinity, MODEL.fit(affinity)


# ---- p-values -------------------------------------------------------------------------------------------
def test_p_values_equal_counting():
    rng = np.random.default_rng(0)
    values, null = rng.normal(size=3) + 1, rng.normal(size=(50, 3))
    null[3, 1] = np.nan  # counts against the data
    expected = [(1 + sum(not draw < v for draw in null[:, k])) / 51 for k, v in enumerate(values)]
    np.testing.assert_allclose(nulls.tail(values, null), expected)
    null[3, 1] = 0.0
    z, null_z = nulls.standardised(values, null)
    largest = null_z.max(axis=1)
    expected = [(1 + (largest >= one).sum()) / 51 for one in z]
    np.testing.assert_allclose(nulls.family_wise(z, null_z), expected)
    assert (nulls.family_wise(z, null_z) >= nulls.tail(values, null) - 1e-12).all()


def test_family_wise_false_alarms_are_as_rare_as_said():
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(400):
        draws = rng.normal(size=(40, 5)) * [1, 2, 5, 10, 0.1]
        alarms += bool((nulls.family_wise(*nulls.standardised(draws[0], draws[1:])) <= 0.05).any())
    assert 6 <= alarms <= 34  # 20 expected of 400; four standard errors


def test_motifs_of_surrogates_are_learned_anew(coupled):
    affinity, fit = coupled
    found = nt.motif_null(MODEL, affinity, fit, n_null=19, learn="anew", seed=1)
    np.testing.assert_allclose(found["p_corrected"], 0.05)
    assert (np.diff(found["null_strength"]) <= 0).all()
    # The second surrogate, by hand: a recording like any other.
    surrogate = nt.circular_shift(affinity, min_shift_s=found.attrs["min_shift_s"], seed=2)
    own = nt.motif_null(MODEL, surrogate, n_null=1)["strength"].to_numpy()
    np.testing.assert_allclose(np.sort(own)[::-1], found["null_strength"][1])
    largest = found["null_strength"].to_numpy()[:, 0]
    np.testing.assert_allclose(found["ratio"], found["strength"] / largest.mean())


# ---- edges against chance -------------------------------------------------------------------------------
def test_edges_within_groups_are_kept_and_those_between_are_not():
    affinity = nt.differential_affinity(traces(coupled=True, seed=1), smooth_s=0.2)
    fit = MODEL.fit(affinity)
    edges = nt.motif_edges(affinity, fit, seed=3)
    alike = np.arange(8)[:, None] // 4 == np.arange(8) // 4
    for kept, given in zip(edges["motif"].to_numpy(), nt.motif(fit).to_numpy(), strict=True):
        assert not kept[~alike].any()
        np.testing.assert_array_equal(kept[kept > 0], given[kept > 0])
        assert (kept > 0).sum() == 12  # both ways, of one group: every motif is one
    np.testing.assert_array_equal(edges["n_edges"], [6, 6])
    assert edges["p_corrected"].min() == pytest.approx(0.05)
    assert (edges["p_corrected"].to_numpy()[:, np.eye(8, dtype=bool)] == 1).all()
    xr.testing.assert_identical(edges, nt.motif_edges(affinity, fit, seed=3))


def test_edges_of_units_alone_are_seldom_kept():
    kept = 0
    for seed in range(8):
        affinity = nt.differential_affinity(traces(coupled=False, seed=seed), smooth_s=0.2)
        # Time courses of another recording: those of this one would have been chosen to suit it.
        other = nt.differential_affinity(traces(coupled=True, seed=100 + seed), smooth_s=0.2)
        kept += int(nt.motif_edges(affinity, MODEL.fit(other))["n_edges"].sum() > 0)
    assert kept <= 3  # of 8, each with two motifs at .05


def test_weights_equal_least_squares_of_each_pair(rng):
    values = rng.normal(size=(3, 6, 80))
    values[0, :2] = values[2, 4] = np.nan
    traced = xr.DataArray(values, dims=("subject", "unit", "time"), coords={"time": np.arange(80) / 10})
    affinity = nt.differential_affinity(traced, smooth_s=0.2)
    fit = MODEL.fit(affinity)
    dense = nt.dense_affinity(affinity).transpose("unit", "unit_to", "subject", "time").to_numpy()
    found = kernels.unpack(pair_weights(fit, affinity_parts(affinity)), 6)
    course = np.einsum("kw,kt->wtk", fit["subject_loading"], fit["time_loading"])
    for i, j in ((0, 1), (0, 4), (2, 3), (4, 5)):
        seen = ~np.isnan(dense[i, j]).any(axis=1)
        expected, _ = nnls(course[seen].reshape(-1, 2), dense[i, j][seen].ravel())
        np.testing.assert_allclose(found[:, i, j], expected, atol=1e-9)


def test_edges_refuse_what_has_none(coupled):
    affinity, fit = coupled
    with pytest.raises(SettingsError, match="too few surrogates"):
        nt.motif_edges(affinity, fit, n_null=10)
    with pytest.raises(SettingsError, match="above 0 and below 1"):
        nt.motif_edges(affinity, fit, level=1.5)
    with pytest.raises(SchemaError, match="factored form"):
        nt.motif_edges(nt.dense_affinity(affinity), fit)
    with pytest.raises(SchemaError, match="one by one"):
        nt.motif_edges(affinity, nt.NTF(1, layout="symcp", n_restarts=1, max_iter=2).fit(affinity))


# ---- chance ---------------------------------------------------------------------------------------------
def test_motifs_that_recur_stand_above_chance(coupled):
    affinity, fit = coupled
    found = nt.motif_null(MODEL, affinity, fit, n_null=19, seed=1)
    assert (found["p_corrected"] == 0.05).all()
    assert (found["ratio"] > 1.5).all()
    assert (found["similarity"] > 0.9).all()
    xr.testing.assert_identical(found, nt.motif_null(MODEL, affinity, fit, n_null=19, seed=1))
    np.testing.assert_allclose(
        found["ratio"], found["strength"] / found["null_strength"].mean("surrogate"), rtol=1e-12
    )


def test_units_that_go_their_own_ways_do_not():
    alone = [nt.differential_affinity(traces(coupled=False, seed=s), smooth_s=0.2) for s in range(4)]
    p = [float(nt.motif_null(MODEL, one, n_null=19)["p_corrected"].min()) for one in alone]
    assert sum(value <= 0.05 for value in p) <= 1, p


def test_random_phases_are_a_null_too_and_what_cannot_be_tested_is_refused(coupled):
    affinity, fit = coupled
    found = nt.motif_null(MODEL, affinity, fit, surrogate="phase_randomise", n_null=5)
    assert found.attrs["surrogate"] == "phase_randomise"
    with pytest.raises(SchemaError, match="factored form"):
        nt.motif_null(MODEL, nt.dense_affinity(affinity))
    with pytest.raises(SchemaError, match="too little time"):
        nt.motif_null(MODEL, affinity.isel(time=slice(0, 40)), fit)
    with pytest.raises(SettingsError, match="at least one surrogate"):
        nt.motif_null(MODEL, affinity, fit, n_null=0)


# ---- resampled data -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ByRow:
    """Stands in for a block model: a unit's community is whether its row sums to more than one."""

    def fit(self, motif: xr.DataArray) -> xr.Dataset:
        return (motif.sum("unit_to") > 1).astype(int).to_dataset(name="label")


def test_shares_of_communities_equal_counting():
    rng = np.random.default_rng(0)
    one_way = rng.random((6, 2, 4, 4)) < 0.2
    values = one_way | np.swapaxes(one_way, -1, -2)
    replicates = xr.Dataset({"motif": (("replicate", "component", "unit", "unit_to"), values.astype(float))})
    found = nt.community_uncertainty(ByRow(), replicates)
    labels = (values.sum(axis=-1) > 1).astype(int)
    for k in range(2):
        expected = np.mean([row[:, None] == row for row in labels[:, k]], axis=0)
        np.testing.assert_allclose(found["coassignment"][k], expected)
    np.testing.assert_array_equal(found["n_blocks"], labels.max(axis=-1) + 1)
    with pytest.raises(SchemaError, match="replicates with 'motif'"):
        nt.community_uncertainty(ByRow(), xr.Dataset())


def test_intervals_over_replicates():
    time = np.arange(40) / 10
    loading = np.zeros((1, 40))
    loading[0, 10:20] = 1.0
    fit = xr.Dataset(
        {"time_loading": (("component", "time"), loading)}, coords={"component": [0], "time": time}
    )
    label = xr.Dataset({"label": (("component", "unit"), np.zeros((1, 3), int))}, coords={"component": [0]})
    connectome = nt.dynamic_connectome(fit, label)
    later = np.roll(loading, 2, axis=1)
    nowhere = np.roll(loading, 15, axis=1)
    replicates = xr.Dataset(
        {"time_loading": (("replicate", "component", "time"), np.stack([loading, later, nowhere, loading]))}
    )
    found = nt.interval_uncertainty(connectome, replicates)
    np.testing.assert_allclose(
        found["active_prob"][0, [5, 10, 12, 19, 21, 26]], [0, 0.5, 0.75, 0.75, 0.25, 0.25]
    )
    np.testing.assert_allclose(found["interval_support"], [0.75])
    np.testing.assert_allclose(found["interval_start_range"][0], np.quantile([1.0, 1.2, 1.0], [0.05, 0.95]))
    np.testing.assert_allclose(found["interval_stop_range"][0], np.quantile([2.0, 2.2, 2.0], [0.05, 0.95]))
    with pytest.raises(SchemaError, match="another fit"):
        nt.interval_uncertainty(connectome, replicates.isel(time=slice(1, None)))


def test_replicates_say_when_their_motifs_are_engaged(coupled):
    affinity, fit = coupled
    replicates = nt.bootstrap_motifs(MODEL, affinity, fit, n_replicates=2, block_s=4.0)
    assert replicates["time_loading"].dims == ("replicate", "component", "time")
    for k in range(2):
        r = [
            np.corrcoef(one, fit["time_loading"][k])[0, 1] for one in replicates["time_loading"][:, k].values
        ]
        assert min(r) > 0.95


# ---- pauses, weights inside, many units -----------------------------------------------------------------
def test_short_pauses_do_not_end_an_interval_but_edges_of_sessions_do():
    active = np.array([[1, 1, 0, 1, 1, 0, 0, 0, 1, 0]], dtype=float)
    time = np.arange(10) / 10
    fit = xr.Dataset(
        {"time_loading": (("component", "time"), active)}, coords={"component": [0], "time": time}
    )
    label = xr.Dataset({"label": (("component", "unit"), np.zeros((1, 3), int))}, coords={"component": [0]})
    found = {pause: nt.dynamic_connectome(fit, label, min_pause_s=pause) for pause in (0.0, 0.2, 0.35)}
    assert [one.sizes["interval"] for one in found.values()] == [3, 2, 1]
    np.testing.assert_allclose(found[0.35]["interval_stop"], [0.9])
    assert not found[0.35]["active"][0, 9]  # what nothing follows is no pause
    apart = fit.assign_coords(session=("time", [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]))
    assert nt.dynamic_connectome(apart, label, min_pause_s=0.2).sizes["interval"] == 3
    with pytest.raises(SettingsError, match="min_pause_s"):
        nt.dynamic_connectome(fit, label, min_pause_s=-1.0)


@pytest.mark.parametrize("layout", ["symcp", "ll1", "cp"])
def test_weight_inside_communities_needs_no_matrix(coupled, layout):
    x = traces(coupled=True)
    ordered = {"kernel": "lagged", "lag_s": 0.2} if layout == "cp" else {}
    fit = nt.NTF(2, layout=layout, n_restarts=1, max_iter=5).fit(nt.differential_affinity(x, **ordered))
    label = np.array([[0, 0, 0, 1, 1, 2, -1, -1], [0, 1, 0, 1, 0, 1, 0, 1]])
    communities = xr.Dataset({"label": (("component", "unit"), label)})
    found = nt.dynamic_connectome(fit, communities)
    for k, row in enumerate(nt.motif(fit).values):
        for c in range(3):
            inside = np.flatnonzero(label[k] == c)
            n = inside.size * (inside.size - 1)
            expected = row[np.ix_(inside, inside)].sum() / max(n, 1)
            assert found["within_weight"].values[k, c] == pytest.approx(expected, abs=1e-12)
            assert found["n_members"].values[k, c] == inside.size


def test_communities_among_the_strongest_units():
    rng = np.random.default_rng(0)
    loading = rng.random((2, 12))
    fit = xr.Dataset(
        {"unit_loading": (("component", "unit"), loading)},
        coords={"component": [0, 1], "unit": np.arange(12) + 5},
    )
    model = nt.BlockModel(degree_corrected=False)
    xr.testing.assert_identical(nt.motif_communities(model, fit), model.fit(nt.motif(fit)))
    few = nt.motif_communities(model, fit, max_units=6)
    for k in range(2):
        strongest = np.sort(np.argsort(-loading[k])[:6])
        np.testing.assert_array_equal(np.flatnonzero(few["label"][k] >= 0), strongest)
        alone = model.fit(nt.motif(fit.isel(unit=strongest), k))
        np.testing.assert_array_equal(few["label"][k, strongest], alone["label"])
    assert few.attrs["max_units"] == 6
    with pytest.raises(SettingsError, match="at least two units"):
        nt.motif_communities(model, fit, max_units=1)


# ---- conditions -----------------------------------------------------------------------------------------
def changing(n: int = 40) -> tuple[xr.Dataset, xr.Dataset]:
    """Two motifs and epochs of two kinds; only the first motif knows them."""
    rng = np.random.default_rng(0)
    kind = rng.permutation(np.repeat(["a", "b"], n // 2))
    loading = rng.random((2, 10 * n))
    loading[0] += np.repeat(kind == "b", 10)
    time = np.arange(10 * n) / 10
    fit = xr.Dataset(
        {"time_loading": (("component", "time"), loading)}, coords={"component": [0, 1], "time": time}
    )
    return fit, events_table(np.arange(n) * 1.0, 1.0, kind)


def test_the_motif_that_changes_is_found_and_the_statistic_is_that_of_an_analysis_of_variance():
    from scipy.stats import f_oneway

    fit, events = changing()
    found = nt.compare_conditions(fit, events, n_permutations=199)
    assert found["p_corrected"][0] == pytest.approx(1 / 200)
    assert found["p_corrected"][1] > 0.05
    means = fit["time_loading"].values.reshape(2, 40, 10).mean(axis=2)
    groups = [means[:, events["trial_type"].values == name] for name in ("a", "b")]
    np.testing.assert_allclose(found["statistic"], f_oneway(*groups, axis=1).statistic, rtol=1e-10)
    np.testing.assert_allclose(found["mean"][:, 0], groups[0].mean(axis=1) / means.mean(axis=1), rtol=1e-12)
    assert found["n_epochs"].values.tolist() == [20, 20]
    labels = xr.DataArray(np.repeat(events["trial_type"].values, 10), dims="time")
    runs = nt.compare_conditions(fit, labels, n_permutations=19)
    assert runs["p_corrected"][0] == 0.05
    assert runs["n_epochs"].sum() < 40  # neighbours of one kind are one run
    xr.testing.assert_identical(found, nt.compare_conditions(fit, events, n_permutations=199))


def test_labels_are_permuted_within_sessions_and_epochs_outside_are_counted():
    fit, events = changing()
    kind = np.repeat(["a", "b"], 20)
    events = events.assign(trial_type=("event", kind))
    # Each session has one kind alone, so no permutation can change anything.
    apart = fit.assign_coords(session=("time", np.repeat([0, 1], 200)))
    assert nt.compare_conditions(apart, events, n_permutations=19)["p_value"].values.tolist() == [1.0, 1.0]
    late = events.assign(onset=events["onset"] + 1.0)
    assert nt.compare_conditions(fit, late, n_permutations=9).attrs["n_outside"] == 1


def test_subjects_and_what_cannot_be_compared():
    rng = np.random.default_rng(0)
    loading = rng.random((2, 12)) * 0.1 + 1
    loading[1, 6:] *= 0.3
    fit = xr.Dataset({"subject_loading": (("component", "subject"), loading)}, coords={"component": [0, 1]})
    group = xr.DataArray(["x"] * 6 + ["y"] * 6, dims="subject")
    found = nt.compare_conditions(fit, group, n_permutations=199)
    assert found["p_corrected"].values[1] <= 0.01
    assert found["p_corrected"].values[0] > 0.05
    assert found.attrs["over"] == "subject"
    with pytest.raises(SchemaError, match="two conditions with 3 subjects each"):
        nt.compare_conditions(fit, xr.DataArray(["x"] * 10 + ["y"] * 2, dims="subject"))
    with pytest.raises(SettingsError, match="never occur"):
        nt.compare_conditions(fit, group, among=["x", "z"])
    whole, events = changing()
    with pytest.raises(SchemaError, match="last no time"):
        nt.compare_conditions(whole, events.assign(duration=events["duration"] * 0))
    with pytest.raises(SchemaError, match="'onset' and 'kind'"):
        nt.compare_conditions(whole, events, column="kind")
