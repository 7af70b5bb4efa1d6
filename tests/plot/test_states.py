from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from neurotools.errors import SchemaError, SettingsError
from neurotools.plot import plot_couplings, plot_state_prob, plot_transition


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def fit(rng):
    return xr.Dataset(
        {
            "state_prob": (("time", "state"), rng.dirichlet(np.ones(3), size=40)),
            "weight": (("state", "unit", "unit_to", "basis"), rng.normal(size=(3, 4, 4, 2))),
            "transition": (("state", "state_to"), np.full((3, 3), 0.05) + 0.85 * np.eye(3)),
            "occupancy": ("state", [0.5, 0.3, 0.2]),
        },
        coords={
            "state": np.arange(3), "state_to": np.arange(3), "basis": [0, 1], "time": np.arange(40) * 0.1,
            "unit": list("abcd"), "unit_to": list("abcd"),
        },
    )  # fmt: skip


def area(collection):
    """Area under a band of steps."""
    x, y = collection.get_paths()[0].vertices.T
    return 0.5 * abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))


def test_bands_have_the_probability_of_their_state_as_area(fit):
    ax = plot_state_prob(fit)
    areas = [area(band) for band in ax.collections[:3]]
    np.testing.assert_allclose(areas, fit["state_prob"].sum("time") * 0.1, rtol=1e-6)
    assert ax.get_xlabel() == "time (s)"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["state 0", "state 1", "state 2"]


def test_long_recordings_are_averaged_and_nothing_is_lost(rng):
    prob = rng.dirichlet(np.ones(2), size=9000)
    ax = plot_state_prob(xr.Dataset({"state_prob": (("trial", "state"), prob)}))
    assert area(ax.collections[0]) == pytest.approx(prob[:, 0].sum(), rel=2e-3)
    assert ax.get_xlabel() == "trial"


def test_couplings_are_the_sum_over_lags_with_senders_along_x(fit):
    ax = plot_couplings(fit, state=1)
    np.testing.assert_allclose(ax.images[0].get_array(), fit["weight"].sel(state=1).sum("basis").T)
    top = float(np.abs(fit["weight"].sum("basis")).max())
    assert ax.images[0].get_clim() == (-top, top)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("unit that sends", "unit that receives")
    assert "held 30 %" in ax.get_title(loc="left")
    one = plot_couplings(fit, state=0, basis=1)
    np.testing.assert_allclose(one.images[0].get_array(), fit["weight"].sel(state=0, basis=1).T)
    with pytest.raises(SettingsError, match="no state 7"):
        plot_couplings(fit, state=7)
    with pytest.raises(SchemaError, match="'weight'"):
        plot_couplings(fit.drop_vars("weight"))


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
