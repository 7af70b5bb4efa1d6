"""Pictures of bi-clusters show the numbers that they are given."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from bicluster_cases import made

import neurotools as nt
from neurotools import plot, schema
from neurotools.errors import SchemaError, SettingsError


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def case():
    return made(stray=0.1, draws=20, keep=5)


@pytest.fixture(scope="module")
def partition(case):
    found = nt.point_partition(case.post, n_starts=2)
    return found.assign_coords(region=("unit", np.array(["CA1", "LP"])[np.arange(18) % 2]))


@pytest.fixture(scope="module")
def latents(case, partition):
    return nt.cluster_latents(case.post, partition)


def test_units_stand_by_cluster_and_confidence(partition):
    ax = plot.plot_unit_similarity(partition, group="region")
    order = np.lexsort((-partition["unit_confidence"], partition["unit_label"]))
    expected = partition["unit_similarity"].to_numpy()[np.ix_(order, order)]
    np.testing.assert_array_equal(ax.images[0].get_array(), expected)
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["CA1", "LP"]
    with pytest.raises(SchemaError, match="no coordinate 'depth' along 'unit'"):
        plot.plot_unit_similarity(partition, group="depth")


def test_moments_stand_by_state_or_by_time(case, partition):
    similarity = nt.state_similarity(case.post, n_bins=50)
    by_time = plot.plot_state_similarity(similarity)
    np.testing.assert_array_equal(by_time.images[0].get_array(), similarity)
    assert by_time.get_xlabel() == "time (s)"
    by_state = plot.plot_state_similarity(similarity, partition)
    labels = partition["state_label"].sel(time=similarity["time"]).to_numpy()
    order = np.argsort(labels, kind="stable")
    np.testing.assert_array_equal(by_state.images[0].get_array(), similarity.to_numpy()[np.ix_(order, order)])


def test_states_over_time_carry_the_share_of_draws_and_what_went_on(case, partition):
    events = schema.events_table([0.0, 5.0], [5.0, 10.0], ["rest", "movie"])
    speed = xr.DataArray(np.arange(150.0), dims="time", coords={"time": partition["time"]}, name="speed")
    ax = plot.plot_state_sequence(partition, events, speed)
    x, y = ax.collections[0].get_paths()[0].vertices.T
    area = 0.5 * abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))
    assert area == pytest.approx(float(partition["state_prob"].sel(state=0).sum()) * 0.1, rel=1e-6)
    assert len(ax.child_axes) == 2
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["state 0", "state 1"]


def test_numbers_are_shares_of_draws(case):
    ax = plot.plot_number(case.post, "clusters")
    drawn = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in ax.patches}
    counted = case.post["posterior/n_clusters"].to_numpy().ravel()
    for n, share in drawn.items():
        assert share == pytest.approx((counted == n).mean())
    assert sum(drawn.values()) == pytest.approx(1)
    with pytest.raises(SettingsError, match="no number named 'motifs'"):
        plot.plot_number(case.post, "motifs")


def test_latents_are_drawn_in_rows_on_one_scale(latents, partition):
    ax = plot.plot_cluster_latents(latents, partition)
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert labels == ["cluster 2\n6 units", "cluster 1\n6 units", "cluster 0\n6 units"]
    bands = np.abs(np.stack([latents["latent_low"], latents["latent_high"]]))
    top = max(float(np.abs(latents["latent"]).max()), np.quantile(bands, 0.99))
    shared = next(line for line in ax.lines if line.get_label() == "shared level")
    expected = 2 + 0.46 * latents["latent"].isel(cluster=0, component=0) / top
    np.testing.assert_allclose(shared.get_ydata(), expected)


def test_arrows_are_the_rule_of_the_state(latents):
    ax = plot.plot_flow(latents, cluster=1, state=0)
    arrows = next(c for c in ax.collections if hasattr(c, "U"))
    rule = latents["dynamics_matrix"].isel(cluster=1, state=0).to_numpy().T[1:, 1:]
    shift = latents["dynamics_offset"].isel(cluster=1, state=0).to_numpy()[1:]
    moved = (rule - np.eye(2)) @ arrows.get_offsets().T + shift[:, None]
    np.testing.assert_allclose(np.stack([arrows.U, arrows.V]), moved, atol=1e-9)
    with pytest.raises(SettingsError, match="there is no cluster 9"):
        plot.plot_flow(latents, cluster=9)


def test_rates_are_in_hz_over_the_counts(case):
    ax = plot.plot_rate(case.post, unit=4)
    counts = case.post["observed_data/counts"].sel(unit=4).to_numpy()
    np.testing.assert_allclose(ax.patches[0].get_data().values, counts / 0.1)
    rate = ax.lines[0].get_ydata()
    np.testing.assert_allclose(rate, np.exp(case.truth["log_rate"].sel(unit=4)) / 0.1, rtol=1e-5)
    window = plot.plot_rate(case.post, unit=4, window_s=(2.0, 4.0))
    assert window.lines[0].get_xdata().min() >= 2.0
    with pytest.raises(SettingsError, match="there is no unit 99"):
        plot.plot_rate(case.post, unit=99)


def test_chains_that_fail_are_flagged(case):
    found = nt.convergence(case.post)
    ax = plot.plot_convergence(found)
    drawn = np.concatenate([c.get_offsets()[:, 0] for c in ax.collections])
    np.testing.assert_allclose(np.sort(drawn), np.sort(found["rhat"]))
    assert "not passed" in ax.get_title(loc="left")


def test_calibration_is_relative_to_level(case):
    check = nt.posterior_check(case.post)
    ax = plot.plot_calibration(check)
    steps = [patch for patch in ax.patches if hasattr(patch, "get_data")]
    np.testing.assert_allclose(steps[0].get_data().values, 20 * check["pit_share"].sel(seen="fitted"))
    assert "90 % interval" in ax.get_legend().get_texts()[0].get_text()


def test_all_figures_come_by_name_and_in_order(case, partition, latents):
    drawn = plot.bicluster_figures(
        case.post, partition, latents=latents, similarity=nt.state_similarity(case.post),
        convergence=nt.convergence(case.post), check=nt.posterior_check(case.post), recording=case.recording,
    )  # fmt: skip
    assert list(drawn) == [
        "states", "latents", "units", "state_similarity", "flow", "numbers", "rates", "convergence",
        "calibration",
    ]  # fmt: skip
    assert not plt.get_fignums()
    assert list(plot.bicluster_figures(case.post, partition)) == ["states", "units", "numbers", "rates"]
