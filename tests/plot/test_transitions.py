from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError
from neurotools.plot import plot_dwell_times, plot_transition, plot_transition_diagram, style


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def fit():
    return xr.Dataset(
        {
            "transition": (("state", "state_to"), np.full((3, 3), 0.05) + 0.85 * np.eye(3)),
            "occupancy": ("state", [0.5, 0.3, 0.2]),
        },
        coords={"state": np.arange(3), "state_to": np.arange(3), "time": np.arange(40) * 0.1},
    )


def test_moves_are_coloured_and_staying_is_written(fit):
    ax = plot_transition(fit)
    drawn = ax.images[0].get_array()
    assert np.ma.getmaskarray(np.ma.masked_invalid(drawn)).diagonal().all()
    texts = [text.get_text() for text in ax.texts]
    assert texts.count("0.900") == 3
    assert texts.count("0.050") == 6
    assert texts.count("10") == 3  # samples, 1 / (1 - 0.9)
    alone = fit.isel(state=[0], state_to=[0]).assign(transition=(("state", "state_to"), [[1.0]]))
    assert "∞" in [text.get_text() for text in plot_transition(alone).texts]


def test_the_diagram_has_a_disc_per_state_and_an_arrow_per_move(fit):
    from matplotlib.patches import Circle, FancyArrowPatch

    fit["transition"].values[0] = [0.98, 0.02, 0.0]
    ax = plot_transition_diagram(fit)
    discs = [patch for patch in ax.patches if isinstance(patch, Circle)]
    radius = np.array([disc.radius for disc in discs]) - 0.13
    np.testing.assert_allclose((radius / radius[0]) ** 2, fit["occupancy"] / 0.5, rtol=1e-9)
    assert [style.colour(k) for k in range(3)] == [_hex(disc.get_facecolor()) for disc in discs]
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == 5  # the move of probability zero has none
    texts = [text.get_text() for text in ax.texts]
    assert texts.count("0.05") == 4
    assert "visit 5 s" in texts  # 50 samples of 0.1 s
    assert {"50 %", "30 %", "20 %"} <= set(texts)


def _hex(rgba):
    from matplotlib.colors import to_hex

    return to_hex(rgba)


def test_visits_are_told_in_trials_where_there_is_no_clock(fit):
    fit = fit.drop_vars("time").assign_coords(trial=np.arange(40))
    assert "visit 10 trials" in [text.get_text() for text in plot_transition_diagram(fit).texts]
    alone = fit.isel(state=[0], state_to=[0]).assign(transition=(("state", "state_to"), [[1.0]]))
    assert "visit ∞" in [text.get_text() for text in plot_transition_diagram(alone).texts]


def test_every_visit_is_a_dot_and_cut_ones_count_as_at_least_so_long():
    path = xr.DataArray(
        np.repeat([0, 1, 0, 1, 0], [5, 2, 6, 4, 9]), dims="time", coords={"time": 0.5 * np.arange(26)}
    )
    ax = plot_dwell_times(nt.dwell_times(path))
    assert sum(len(dots.get_offsets()) for dots in ax.collections) == 5
    assert [text.get_text() for text in ax.texts] == ["3", "1.5"]  # s: 6 samples; 2 and 4 samples
    assert ax.get_xlabel() == "length of a visit (s)"
    with pytest.raises(SchemaError, match="dwell_times"):
        plot_dwell_times(pd.DataFrame({"state": [0]}))
