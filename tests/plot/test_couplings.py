from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.patches import FancyArrowPatch

from neurotools.errors import SchemaError, SettingsError
from neurotools.plot import plot_all_couplings, plot_couplings


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def fit(rng):
    return xr.Dataset(
        {
            "weight": (("state", "unit", "unit_to", "basis"), rng.normal(size=(3, 4, 4, 2))),
            "occupancy": ("state", [0.5, 0.3, 0.2]),
        },
        coords={"state": np.arange(3), "basis": [0, 1], "unit": list("abcd"), "unit_to": list("abcd")},
    )


OFF = ~np.eye(4, dtype=bool)


def test_couplings_are_the_sum_over_lags_with_senders_along_x(fit):
    ax = plot_couplings(fit, state=1)
    total = fit["weight"].sum("basis")
    np.testing.assert_allclose(ax.images[0].get_array(), total.sel(state=1).T)
    top = float(np.abs(total.to_numpy()[:, OFF]).max())  # one scale for all states, set by pairs of units
    assert ax.images[0].get_clim() == (-top, top)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("unit that sends", "unit that receives")
    assert ax.get_title(loc="left") == "state 1 · 30 % of time"
    one = plot_couplings(fit, state=0, basis=1)
    np.testing.assert_allclose(one.images[0].get_array(), fit["weight"].sel(state=0, basis=1).T)
    with pytest.raises(SettingsError, match="no state 7"):
        plot_couplings(fit, state=7)
    with pytest.raises(SchemaError, match="'weight'"):
        plot_couplings(fit.drop_vars("weight"))
    with pytest.raises(SettingsError, match="no kind of picture"):
        plot_couplings(fit, kind="grahp")


def test_a_graph_has_the_strongest_links_of_all_states(fit):
    fit = fit.isel(basis=[0])
    size = np.abs(fit["weight"].to_numpy()[..., 0][:, OFF])
    least = np.sort(size.ravel())[-6]  # two links for each of three states
    drawn = 0
    for state in range(3):
        ax = plot_couplings(fit, state=state, kind="graph", n_links=2)
        links = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
        assert len(links) == int((size[state] >= least).sum())
        drawn += len(links)
    assert drawn == 6
    assert {"excites", "inhibits", "a", "d"} <= {text.get_text() for text in ax.texts}


def test_arrows_excite_and_bars_inhibit():
    weight = np.zeros((1, 3, 3, 1))
    weight[0, 0, 1], weight[0, 2, 1] = 1.0, -0.5
    fit = xr.Dataset({"weight": (("state", "unit", "unit_to", "basis"), weight)},
                     coords={"state": [0], "unit": [1, 2, 3], "unit_to": [1, 2, 3],
                             "basis": [0]})  # fmt: skip
    links = plot_couplings(fit, kind="graph").patches
    heads = {type(link.get_arrowstyle()).__name__ for link in links}
    assert heads == {"CurveFilledB", "BracketB"}
    assert len({link.get_edgecolor()[:3] for link in links}) == 2


def test_all_states_stand_side_by_side_on_one_scale(fit):
    axes = plot_all_couplings(fit)
    assert len(axes) == 3
    assert len({ax.images[0].get_clim() for ax in axes}) == 1
    changes = plot_all_couplings(fit, relative=True)
    total = fit["weight"].sum("basis")
    shown = np.stack([ax.images[0].get_array() for ax in changes])
    np.testing.assert_allclose(shown, (total - total.mean("state")).transpose("state", "unit_to", "unit"))
    np.testing.assert_allclose(shown.sum(axis=0), 0, atol=1e-12)
    assert len(plot_all_couplings(fit, kind="graph")) == 3
