from __future__ import annotations

import connectome_cases as cases
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb

from neurotools.errors import SchemaError
from neurotools.plot import plot_communities_over_time, plot_time_loadings, style


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def spans(collection) -> list[tuple[float, float]]:
    """First and last place of each bar along time."""
    return [(p.vertices[:, 0].min(), p.vertices[:, 0].max()) for p in collection.get_paths()]


def test_traces_are_the_loadings_each_scaled_to_its_largest():
    fit, _, _ = cases.results()
    ax = plot_time_loadings(fit)
    loading = fit["time_loading"].to_numpy()
    for row, line in enumerate(ax.lines):
        base = len(loading) - 1 - row
        np.testing.assert_allclose(line.get_xdata(), fit["time"])
        np.testing.assert_allclose(line.get_ydata(), base + 0.86 * loading[row] / loading[row].max())
    assert ax.get_xlabel() == "time (s)"
    assert "a.u." in ax.get_ylabel()
    assert [t.get_text() for t in ax.get_yticklabels()] == ["2", "1", "0"]


def test_active_stretches_are_shaded_sample_by_sample():
    fit, _, connectome = cases.results()
    ax = plot_time_loadings(fit, active=connectome)
    shades = [c for c in ax.collections if c.get_zorder() == 0]
    assert len(shades) == 3
    time = fit["time"].to_numpy()
    for component, shade in enumerate(shades):
        inside = np.zeros(40, bool)
        for start, stop in spans(shade):
            inside |= (time > start) & (time < stop)
        np.testing.assert_array_equal(inside, connectome["active"][component])


def test_events_and_stimulus_stand_above_on_the_same_time():
    fit, _, _ = cases.results()
    recording = cases.recording()
    ax = plot_time_loadings(fit, recording["events"].to_dataset(), recording["stimulus"])
    lanes, image = ax.child_axes
    assert [t.get_text() for t in lanes.get_yticklabels()] == ["song", "tone"]
    assert [span for c in lanes.collections[:1] for span in spans(c)] == [(0.5, 0.9)]
    np.testing.assert_array_equal(image.images[0].get_array(), recording["stimulus/song"])
    assert "frequency (Hz)" in image.get_ylabel()
    assert lanes.get_xlim() == image.get_xlim() == ax.get_xlim()
    marked = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 2]
    assert marked == [0.5, 2.0, 3.0]
    ax.figure.draw_without_rendering()
    assert ax.get_position().y1 < lanes.get_position().y0 < lanes.get_position().y1 < image.get_position().y0
    assert image.get_position().y1 <= 1.0


def test_trials_and_lines_of_behaviour_are_marked():
    fit, _, _ = cases.results()
    trials = xr.Dataset({"start": ("trial", [0.0, 2.0]), "stop": ("trial", [1.0, 3.0])})
    speed = xr.DataArray(
        np.arange(40.0), dims="time", coords={"time": fit["time"]}, name="speed", attrs={"units": "m/s"}
    )
    lanes, line = plot_time_loadings(fit, trials, speed).child_axes
    assert spans(lanes.collections[0]) == [(0.0, 1.0), (2.0, 3.0)]
    np.testing.assert_array_equal(line.lines[0].get_ydata(), speed)
    assert line.get_ylabel() == "speed (m/s)"


def test_a_dense_line_keeps_its_extremes():
    fit, _, _ = cases.results()
    time = np.linspace(0, 3.9, 50_000)
    values = np.zeros(50_000)
    values[12_345] = 7.0
    dense = xr.DataArray(values, dims="time", coords={"time": time}, attrs={"units": "V"})
    strip = plot_time_loadings(fit, stimulus=dense).child_axes[0]
    assert strip.collections[0].get_paths()[0].vertices[:, 1].max() == 7.0


def test_sessions_are_parted():
    fit, _, _ = cases.results(sessions=True)
    ax = plot_time_loadings(fit)
    edge = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 2]
    np.testing.assert_allclose(edge, [1.95])
    assert {text.get_text().strip() for text in ax.texts} == {"day1", "day2"}


@pytest.mark.parametrize("with_fit", [True, False])
def test_raster_has_the_community_of_the_strongest_active_motif(with_fit):
    fit, _, connectome = cases.results()
    ax = plot_communities_over_time(connectome, fit if with_fit else None)
    picture = np.asarray(ax.images[0].get_array())
    names = {
        text.get_text(): float(place)
        for text, place in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)
    }
    active, labels = connectome["active"].to_numpy(), connectome["label"].to_numpy()
    carries = (fit["weight"] * fit["time_loading"]).to_numpy()
    for place, unit in enumerate(fit["unit"].to_numpy()):
        row = int(names[str(unit)])
        for t in range(40):
            on = np.flatnonzero(active[:, t])
            if on.size == 0:
                assert picture[row, t, 3] == 0
                continue
            motif = on[carries[on, t].argmax()] if with_fit else on[0]
            np.testing.assert_allclose(picture[row, t, :3], to_rgb(style.colour(int(labels[motif, place]))))
            assert picture[row, t, 3] > 0


def test_lanes_say_which_motif_is_drawn():
    fit, _, connectome = cases.results()
    ax = plot_communities_over_time(connectome, fit)
    lanes = ax.child_axes[0]
    assert len(lanes.collections) == 6  # active, and drawn, for each of three motifs
    time = fit["time"].to_numpy()
    carries = np.where(connectome["active"], fit["weight"] * fit["time_loading"], -np.inf)
    shown = np.where(connectome["active"].any("component"), carries.argmax(axis=0), -1)
    for component in range(3):
        inside = np.zeros(40, bool)
        for start, stop in spans(lanes.collections[2 * component + 1]):
            inside |= (time > start) & (time < stop)
        np.testing.assert_array_equal(inside, shown == component)
    assert ax.get_legend().get_title().get_text().startswith("community")


def test_axes_say_seconds_and_units():
    _, _, connectome = cases.results(dim="region")
    ax = plot_communities_over_time(connectome)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (s)", "region")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda fit, con: plot_time_loadings(fit.drop_vars("time_loading")), "'time_loading'"),
        (lambda fit, con: plot_time_loadings(fit, stimulus=np.zeros(3)), "labelled arrays over 'time'"),
        (lambda fit, con: plot_time_loadings(fit, stimulus=fit["weight"]), "no numbers over"),
        (lambda fit, con: plot_time_loadings(fit, fit[["weight"]]), "events need 'onset'"),
        (lambda fit, con: plot_time_loadings(fit, active=con.isel(component=[0])), "not those of the fit"),
        (lambda fit, con: plot_communities_over_time(con, fit.isel(time=slice(9))), "not made from this fit"),
        (lambda fit, con: plot_communities_over_time(fit), "'active'"),
    ],
)  # fmt: skip
def test_bad_input_is_a_named_error(change, said):
    fit, _, connectome = cases.results()
    with pytest.raises(SchemaError, match=said):
        change(fit, connectome)
