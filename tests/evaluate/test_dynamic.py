"""When motifs are active, whom they bring together, and the table that says so."""

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError
from neurotools.evaluate.dynamic import otsu_threshold


def fit_and_communities(time=None, session=None):
    """Two motifs over four units: the first active in two stretches, the second in one."""
    loading = np.zeros((2, 20))
    loading[0, 2:5] = [1.0, 3.0, 2.0]
    loading[0, 10:12] = 2.0
    loading[1, 18:] = 5.0
    motif = np.zeros((2, 4, 4))
    motif[0, :2, :2], motif[1, 1:, 1:] = 1 - np.eye(2), 0.5 * (1 - np.eye(3))
    units = ["a", "b", "c", "d"]
    time = np.arange(20) / 10 if time is None else time
    fit = xr.Dataset(
        {
            "time_loading": (("component", "time"), loading),
            "motif": (("component", "unit", "unit_to"), motif),
            "weight": ("component", [2.0, 1.0]),
        },
        coords={"component": [0, 1], "time": time, "unit": units, "unit_to": units},
    )
    if session is not None:
        fit = fit.assign_coords(session=("time", session))
    label = xr.DataArray(
        [[0, 0, 1, 1], [1, 0, 0, 0]], dims=("component", "unit"), coords={"component": [0, 1], "unit": units}
    )
    return fit, xr.Dataset({"label": label})


def spans(connectome):
    names = ("interval_component", "interval_start", "interval_stop")
    return list(zip(*(connectome[name].to_numpy().round(9).tolist() for name in names), strict=True))


def test_intervals_run_from_the_first_active_sample_to_one_step_past_the_last():
    connectome = nt.dynamic_connectome(*fit_and_communities(), threshold=0.1)
    assert spans(connectome) == [(0, 0.2, 0.5), (0, 1.0, 1.2), (1, 1.8, 2.0)]
    np.testing.assert_allclose(connectome["interval_loading"], [2.0, 2.0, 5.0])
    np.testing.assert_allclose(connectome["interval_peak"], [3.0, 2.0, 5.0])
    assert connectome["active"].sum().item() == 7


def test_no_interval_crosses_a_session_or_a_pause():
    session = np.repeat([0, 1], [11, 9])
    assert spans(nt.dynamic_connectome(*fit_and_communities(session=session), threshold=0.1))[1:3] == [
        (0, 1.0, 1.1),
        (0, 1.1, 1.2),
    ]
    time = np.arange(20) / 10
    time[11:] += 5.0
    paused = spans(nt.dynamic_connectome(*fit_and_communities(time=time), threshold=0.1))
    assert paused[1:3] == [(0, 1.0, 1.1), (0, 6.1, 6.2)]


def test_intervals_and_activity_agree(rng):
    fit, communities = fit_and_communities()
    fit["time_loading"] = fit["time_loading"].copy(data=rng.random((2, 20)))
    connectome = nt.dynamic_connectome(fit, communities)
    rebuilt = np.zeros((2, 20), dtype=bool)
    time = fit["time"].to_numpy()
    for component, start, stop in spans(connectome):
        rebuilt[component] |= (time >= start - 1e-9) & (time < stop - 1e-9)
    np.testing.assert_array_equal(rebuilt, connectome["active"])


def test_the_threshold_divides_as_otsu_does(rng):
    values = np.concatenate([rng.normal(0.1, 0.02, 200), rng.normal(2.0, 0.3, 40)])
    best, cut = -1.0, None
    for candidate in np.sort(values)[:-1]:
        low, high = values[values <= candidate], values[values > candidate]
        between = low.size * high.size * (low.mean() - high.mean()) ** 2
        if between > best:
            best, cut = between, (low.max() + high.min()) / 2
    assert otsu_threshold(values) == pytest.approx(cut, rel=1e-12)
    assert otsu_threshold(np.ones(5)) == 0.0
    assert otsu_threshold(1e-200 * values) == pytest.approx(1e-200 * cut, rel=1e-9)


def test_a_constant_motif_is_active_throughout_and_a_zero_one_never():
    fit, communities = fit_and_communities()
    fit["time_loading"] = fit["time_loading"].copy(data=np.repeat([[2.0], [0.0]], 20, axis=1))
    connectome = nt.dynamic_connectome(fit, communities)
    assert spans(connectome) == [(0, 0.0, 2.0)]


def test_members_and_their_weight_among_one_another():
    connectome = nt.dynamic_connectome(*fit_and_communities(), threshold=0.1)
    np.testing.assert_array_equal(connectome["n_members"], [[2, 2], [3, 1]])
    np.testing.assert_allclose(connectome["within_weight"], [[1.0, 0.0], [0.5, 0.0]])


def test_the_table_has_a_row_for_each_interval_and_community_in_order_of_time():
    table = nt.connectome_table(nt.dynamic_connectome(*fit_and_communities(), threshold=0.1))
    assert len(table) == 6
    assert table["start_s"].is_monotonic_increasing
    first = table[(table["interval"] == 0) & (table["community"] == 0)].iloc[0]
    assert first["members"].replace(" ", "") == "a,b"
    assert first["duration_s"] == pytest.approx(0.3)


def test_it_comes_back_from_disk(tmp_path):
    connectome = nt.dynamic_connectome(*fit_and_communities())
    xr.testing.assert_identical(nt.open_fit(nt.save(connectome, tmp_path / "c.nc")), connectome)


def test_what_does_not_belong_together_is_refused():
    fit, communities = fit_and_communities()
    with pytest.raises(SchemaError, match="other components"):
        nt.dynamic_connectome(fit, communities.isel(component=[0]))
    with pytest.raises(SchemaError, match="other units"):
        nt.dynamic_connectome(fit, communities.assign_coords(unit=list("wxyz")))
    with pytest.raises(SchemaError, match="'time_loading' is needed"):
        nt.dynamic_connectome(communities, communities)
    with pytest.raises(SettingsError, match="fraction of the largest"):
        nt.dynamic_connectome(fit, communities, threshold=1.5)
    with pytest.raises(SchemaError, match="dynamic connectome is needed"):
        nt.connectome_table(fit)
