"""Intervals, thresholds and members of a dynamic connectome against walks through the samples."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from neurotools.errors import SchemaError, SettingsError
from neurotools.evaluate.dynamic import connectome_table, dynamic_connectome
from neurotools.numerics.affinity import gaussian_derivative
from neurotools.numerics.intervals import otsu_threshold, overhang


def a_fit(loading, dim="unit", **coords):
    """A factorisation with the given time loadings; units 0, 1 and 2, 3 belong together in every motif."""
    loading = np.atleast_2d(np.asarray(loading, dtype=float))
    n_components, n_time = loading.shape
    motif = np.zeros((n_components, 4, 4))
    motif[:, 0, 1] = motif[:, 1, 0] = 2.0
    motif[:, 2, 3] = motif[:, 3, 2] = 1.0
    names = [f"u{k}" for k in range(4)]
    return xr.Dataset(
        {
            "time_loading": (("component", "time"), loading),
            "weight": ("component", np.ones(n_components)),
            "motif": (("component", dim, f"{dim}_to"), motif),
        },
        coords={
            "component": np.arange(n_components),
            "time": 0.1 * np.arange(n_time),
            dim: names,
            f"{dim}_to": names,
            **coords,
        },
    )


def some_communities(fit, dim="unit"):
    labels = np.tile([0, 0, 1, 1], (fit.sizes["component"], 1))
    return xr.Dataset(
        {
            "label": (("component", dim), labels),
            "isolated": (("component", dim), np.zeros_like(labels, dtype=bool)),
        },
        coords={"component": fit["component"], dim: fit[dim]},
    )


def connectome(loading, threshold=None, **options):
    fit = a_fit(loading, **options)
    return dynamic_connectome(fit, some_communities(fit), threshold=threshold)


def spans(dataset):
    """(component, start, stop) of every interval."""
    columns = (dataset[f"interval_{name}"].to_numpy() for name in ("component", "start", "stop"))
    return [(int(k), round(float(a), 9), round(float(b), 9)) for k, a, b in zip(*columns, strict=True)]


# ---- intervals ------------------------------------------------------------------------------------------
def test_intervals_are_the_runs_of_active_samples():
    dataset = connectome([[0, 0, 5, 6, 0, 0, 7, 0], [9, 8, 0, 0, 0, 0, 0, 7]])
    assert dataset["active"].to_numpy().astype(int).tolist() == [
        [0, 0, 1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 0, 0, 0, 1],
    ]
    # An interval stops one step after its last active sample.
    assert spans(dataset) == [(0, 0.2, 0.4), (0, 0.6, 0.7), (1, 0.0, 0.2), (1, 0.7, 0.8)]
    assert dataset["interval_loading"].to_numpy().tolist() == [5.5, 7.0, 8.5, 7.0]
    assert dataset["interval_start"].attrs["units"] == "s"


@pytest.mark.parametrize("seed", range(5))
def test_intervals_equal_a_walk_through_the_samples(seed):
    rng = np.random.default_rng(seed)
    loading = rng.exponential(size=(3, 60)) * (rng.random((3, 60)) < 0.6)
    session = np.repeat(["a", "b", "c"], 20)
    dataset = connectome(loading, session=("time", session))
    expected = []
    for k, row in enumerate(dataset["active"].to_numpy()):
        begun = None
        for t in range(60):
            if begun is not None and (not row[t] or session[t] != session[t - 1]):
                expected.append((k, round(0.1 * begun, 9), round(0.1 * t, 9)))
                begun = None
            if row[t] and begun is None:
                begun = t
        if begun is not None:
            expected.append((k, round(0.1 * begun, 9), 6.0))
    assert spans(dataset) == expected


def test_sessions_may_differ_in_step():
    time = np.r_[0, 0.1, 0.2, 5.0, 6.0, 7.0]
    dataset = connectome([[0, 5, 5, 0, 5, 5]], time=time, session=("time", list("aaabbb")))
    assert spans(dataset) == [(0, 0.1, 0.3), (0, 6.0, 8.0)]


def test_no_interval_at_all_is_an_empty_table():
    dataset = connectome(np.zeros((2, 5)))
    assert dataset.sizes["interval"] == 0
    table = connectome_table(dataset)
    assert len(table) == 0
    assert {"start_s", "stop_s", "community", "members"} <= set(table.columns)


# ---- thresholds -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(8))
def test_default_threshold_equals_a_search_over_all_divisions(seed):
    rng = np.random.default_rng(seed)
    values = (
        rng.exponential(size=40) * (rng.random(40) < rng.uniform(0.2, 1.0)) * 10.0 ** rng.integers(-12, 3)
    )
    best, cut = -1.0, None
    for candidate in np.unique(values)[:-1]:
        low, high = values[values <= candidate], values[values > candidate]
        between = low.size * high.size * (low.mean() / values.max() - high.mean() / values.max()) ** 2
        if between > best * (1 + 1e-12):
            best, cut = between, (candidate + values[values > candidate].min()) / 2
    assert otsu_threshold(values) == pytest.approx(cut, rel=1e-9)


def test_a_bump_between_both_thresholds_is_no_interval_and_a_weak_flank_of_a_peak_is():
    row = np.full(60, 0.01)
    row[10:20], row[12:16] = 2.0, 9.0  # a peak and its flanks
    row[40:44] = 2.0
    found = connectome([row])
    assert found["threshold"].item() < 2.0 < otsu_threshold(row)
    assert np.flatnonzero(found["active"].values[0]).tolist() == list(range(10, 20))


def test_default_threshold_is_that_of_square_roots():
    row = np.random.default_rng(0).gamma(2.0, size=50)
    assert connectome([row])["threshold"].item() == pytest.approx(otsu_threshold(np.sqrt(row)) ** 2)


# ---- where intervals end --------------------------------------------------------------------------------
def sizes_of_slopes(engaged, width, rng, n_draws=1500):
    """Root mean square over many draws of the smoothed slopes of noise that lasts while ``engaged``."""
    slopes = gaussian_derivative(rng.normal(size=(n_draws, engaged.size)) * engaged, width)
    return np.sqrt((slopes**2).mean(axis=0))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_overhang_is_how_far_smoothed_slopes_reach(rng, share):
    width, engaged = 20.0, np.arange(1200) >= 600
    size = sizes_of_slopes(engaged, width, rng)
    inside = size[750:1050].mean()
    first = np.flatnonzero(size > share * inside)[0]
    assert (600 - first) / width == pytest.approx(overhang(share), abs=0.1)
    assert overhang(0.8) == 0.0
    assert overhang(1 / np.sqrt(2)) == pytest.approx(0.0, abs=1e-4)  # half of the square: the edge itself


@pytest.mark.parametrize(("kernel", "degree"), [("geomean", 1), ("product", 2)])
@pytest.mark.parametrize("threshold", [0.15, 0.3])
def test_ends_of_intervals_do_not_hang_on_smoothing(rng, kernel, degree, threshold):
    engaged = np.zeros(1500, dtype=bool)
    engaged[300:600] = engaged[900:1300] = True
    loading = sizes_of_slopes(engaged, 10.0, rng) ** degree
    fit = a_fit([loading]).assign_attrs(kernel=kernel, smooth_s=1.0)  # ten samples
    dataset = dynamic_connectome(fit, some_communities(fit), threshold=threshold)
    assert dataset.sizes["interval"] == 2
    for name, edges in (("start", [30.0, 90.0]), ("stop", [60.0, 130.0])):
        np.testing.assert_allclose(dataset[f"interval_{name}"], edges, atol=0.2)  # of a width
    crossed = dynamic_connectome(fit, some_communities(fit), threshold=threshold, smooth_s=0.0)
    assert (crossed["interval_start"] < dataset["interval_start"]).all()
    assert crossed["overhang"].item() == 0.0
    assert dataset["overhang"].item() > 0.5


def test_brief_activity_is_not_cut_away_nor_are_breaks_of_the_clock():
    time = np.arange(60)
    bump = np.exp(-((time - 30) ** 2) / (2 * 3.0**2))
    fit = a_fit([bump]).assign_attrs(kernel="geomean", smooth_s=0.3)
    kept = dynamic_connectome(fit, some_communities(fit), threshold=0.2)["active"].to_numpy()[0]
    np.testing.assert_array_equal(kept, bump >= 1 / np.sqrt(2))
    flat = a_fit([np.r_[np.ones(40), np.zeros(20)]], session=("time", np.repeat(["a", "b", "c"], 20)))
    flat = flat.assign_attrs(kernel="geomean", smooth_s=0.3)
    dataset = dynamic_connectome(flat, some_communities(flat), threshold=0.2)
    assert dataset["active"].to_numpy()[0, :40].all()


@pytest.mark.parametrize("kernel", ["corr_window", "mtd", "edge", "ratio"])
def test_kernels_without_sizes_of_slopes_keep_their_ends(kernel):
    fit = a_fit([[0, 0, 0.4, 1, 1, 1, 0.4, 0, 0]]).assign_attrs(kernel=kernel, smooth_s=0.3)
    assert spans(dynamic_connectome(fit, some_communities(fit), threshold=0.3)) == [(0, 0.2, 0.7)]


def test_width_of_smoothing_is_not_negative():
    fit = a_fit([[0, 1, 0]])
    with pytest.raises(SettingsError, match="width in seconds, at least 0"):
        dynamic_connectome(fit, some_communities(fit), smooth_s=-1.0)


def test_constant_loading_is_always_active_and_zero_never():
    dataset = connectome([[3.0] * 4, [0.0] * 4])
    assert dataset["active"].to_numpy().tolist() == [[True] * 4, [False] * 4]
    assert dataset["threshold"].to_numpy().tolist() == [0.0, 0.0]
    assert not any(
        np.isnan(dataset[name]).any() for name in dataset.data_vars if dataset[name].dtype == float
    )


def test_threshold_is_a_fraction_of_the_largest_loading():
    dataset = connectome([[1, 2, 3, 4], [10, 20, 30, 40]], threshold=0.5)
    assert dataset["threshold"].to_numpy().tolist() == [2.0, 20.0]
    assert dataset["active"].to_numpy().tolist() == [[False, False, True, True]] * 2
    for impossible in (-0.1, 1.0, np.nan):
        with pytest.raises(SettingsError, match="fraction of the largest loading"):
            connectome([[1, 2]], threshold=impossible)


# ---- members and subjects -------------------------------------------------------------------------------
@pytest.mark.parametrize("dim", ["unit", "region"])
def test_communities_travel_with_the_intervals(dim):
    fit = a_fit([[0, 1, 0], [1, 0, 0]], dim=dim)
    communities = some_communities(fit, dim)
    dataset = dynamic_connectome(fit, communities)
    xr.testing.assert_equal(dataset["label"], communities["label"])
    assert dataset["within_weight"].to_numpy().tolist() == [[2.0, 1.0], [2.0, 1.0]]
    assert connectome_table(dataset)["members"].tolist() == ["u0, u1", "u2, u3"] * 2


def test_communities_of_unequal_number_are_padded():
    fit = a_fit([[0, 1, 0], [1, 0, 0]])
    communities = some_communities(fit)
    communities["label"][1] = 0
    dataset = dynamic_connectome(fit, communities)
    assert dataset["n_members"].to_numpy().tolist() == [[2, 2], [4, 0]]
    assert connectome_table(dataset)["community"].tolist() == [0, 0, 1]


def test_table_has_one_row_per_interval_and_community():
    table = connectome_table(connectome([[0, 4, 4, 0, 4, 0]]))
    assert table.columns.tolist() == [
        "interval", "component", "start_s", "stop_s", "duration_s", "mean_loading",
        "community", "n_members", "within_weight", "members",
    ]  # fmt: skip
    assert table["duration_s"].tolist() == pytest.approx([0.2, 0.2, 0.1, 0.1])
    assert table["community"].tolist() == [0, 1, 0, 1]


def test_subjects_that_take_part_are_named():
    fit = a_fit([[0, 1, 0]])
    loading = xr.DataArray(
        [[1.0, 0.6, 0.4]],
        dims=("component", "subject"),
        coords={"component": [0], "subject": ["a", "b", "c"]},
    )
    dataset = dynamic_connectome(fit.assign(subject_loading=loading), some_communities(fit))
    assert dataset["takes_part"].to_numpy().tolist() == [[True, True, False]]
    assert connectome_table(dataset)["subjects"].tolist() == ["a, b", "a, b"]


def test_unit_loadings_stand_for_motifs():
    fit = a_fit([[0, 1, 0]])
    loading = xr.DataArray([[2.0, 1.0, 0.0, 0.0]], dims=("component", "unit"), coords={"unit": fit["unit"]})
    symmetric = fit.drop_vars(["motif", "unit_to"]).assign(unit_loading=loading)
    dataset = dynamic_connectome(symmetric, some_communities(fit))
    assert dataset["within_weight"].to_numpy().tolist() == [[2.0, 0.0]]


def test_one_motif_without_a_component_dimension():
    fit = a_fit([[0, 1, 0]])
    communities = some_communities(fit).isel(component=0, drop=True)
    assert dynamic_connectome(fit, communities)["label"].dims == ("component", "unit")


def test_levels_begin_at_the_finest():
    fit = a_fit([[0, 1, 0]])
    label = some_communities(fit)["label"]
    dataset = dynamic_connectome(fit, xr.Dataset({"label": xr.concat([label, 0 * label], dim="level")}))
    assert dataset["label"].to_numpy().tolist() == [[0, 0, 1, 1]]


# ---- what does not fit together -------------------------------------------------------------------------
def test_communities_of_other_units_or_of_none_are_refused():
    fit = a_fit([[0, 1, 0], [1, 0, 0]])
    with pytest.raises(SchemaError, match="other units"):
        dynamic_connectome(fit, some_communities(fit).isel(unit=[0, 1]))
    with pytest.raises(SchemaError, match="'label' are needed"):
        dynamic_connectome(fit, fit)


def test_time_is_needed_and_must_increase():
    fit = a_fit([[0, 1, 0]])
    with pytest.raises(SchemaError, match="coordinate 'time'"):
        dynamic_connectome(fit.drop_vars("time"), some_communities(fit))
    with pytest.raises(SchemaError, match="increases at every sample"):
        dynamic_connectome(fit.assign_coords(time=[0.0, 0.2, 0.1]), some_communities(fit))
    fit["time_loading"][0, 1] = np.nan
    with pytest.raises(SchemaError, match="not finite"):
        dynamic_connectome(fit, some_communities(fit))
