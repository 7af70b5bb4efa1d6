"""Pictures of connectivity: what is drawn, in which order, and what is refused."""

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError


@pytest.fixture(scope="module")
def story():
    return nt.load("alice-story")


def test_a_matrix_is_drawn_with_likes_side_by_side(rng):
    group = np.tile([0, 1], 5)
    values = np.where(group[:, None] == group, 0.8, 0.1) + 0.01 * rng.normal(size=(10, 10))
    names = [f"r{i}" for i in range(10)]
    matrix = xr.DataArray(
        (values + values.T) / 2, dims=("region", "region_to"), coords={"region": names, "region_to": names}
    )
    ax = nt.plot.plot_connectivity(matrix)
    shown = ax.images[0].get_array()
    assert np.isnan(np.ma.getdata(np.ma.filled(shown, np.nan)).diagonal()).all()
    order = [int(label.get_text()[1:]) for label in ax.get_yticklabels()]
    assert set(order[:5]) in ({0, 2, 4, 6, 8}, {1, 3, 5, 7, 9})
    given = nt.plot.plot_connectivity(matrix, order="given")
    assert [label.get_text() for label in given.get_yticklabels()] == names


def test_signs_have_colours_only_where_there_are_any(story):
    matrix = nt.connectivity(story)
    low, high = nt.plot.plot_connectivity(matrix).images[0].get_clim()
    assert low == 0 < high
    low, high = nt.plot.plot_connectivity(matrix - 0.4).images[0].get_clim()
    assert low == -high


def test_every_figure_of_a_result_is_drawn_and_says_of_how_many(story):
    windows = nt.window_summary(nt.dynamic_connectivity(story, window_s=60))
    figures = nt.plot.connectivity_figures({"correlation": nt.connectivity(story)}, windows)
    assert list(figures) == ["correlation", "window_sd", "windows"]
    assert "mean of 16 subjects" in figures["correlation"].axes[0].get_title(loc="left")
    assert figures["windows"].axes[0].get_xlabel() == "middle of the window (s)"


def test_what_is_no_matrix_is_told(story):
    with pytest.raises(SchemaError, match="region_to"):
        nt.plot.plot_connectivity(nt.signal(story))
    with pytest.raises(SettingsError, match="order of regions"):
        nt.plot.plot_connectivity(nt.connectivity(story), order="alphabet")
