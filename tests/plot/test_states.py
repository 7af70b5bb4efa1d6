from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from neurotools.plot import plot_state_prob


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def fit(rng):
    return xr.Dataset(
        {
            "state_prob": (("time", "state"), rng.dirichlet(np.ones(3), size=40)),
        },
        coords={
            "state": np.arange(3), "time": np.arange(40) * 0.1,
        },
    )  # fmt: skip


def area(collection):
    """Area under a band of steps."""
    x, y = collection.get_paths()[0].vertices.T
    return 0.5 * abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))


def test_stretches_without_samples_stay_blank(rng):
    prob = rng.dirichlet([1.0, 1.0], size=60)
    trial = np.r_[np.arange(30), 1000 + np.arange(30)]
    fit = xr.Dataset({"state_prob": (("trial", "state"), prob)}, coords={"trial": trial})
    ax = plot_state_prob(fit)
    for filled in ax.collections:
        inside = np.concatenate([path.vertices[:, 0] for path in filled.get_paths()])
        assert len(filled.get_paths()) == 2
        assert not ((inside > 30.5) & (inside < 999.5)).any()


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


def test_sessions_and_subjects_are_marked_above(rng):
    prob = xr.Dataset(
        {"state_prob": (("trial", "state"), rng.dirichlet(np.ones(2), size=60))},
        coords={
            "trial": np.arange(60),
            "session": ("trial", np.arange(60) // 10),
            "subject": ("trial", np.repeat(["ada", "bea"], 30)),
        },
    )
    ax = plot_state_prob(prob)
    lanes = [lane.get_ylabel() for lane in ax.child_axes]
    assert lanes == ["6 sessions", "2 subjects"]
    assert [text.get_text() for text in ax.child_axes[1].texts] == ["ada", "bea"]
    many = prob.assign_coords(session=("trial", np.arange(60)))
    assert not plot_state_prob(many).child_axes[0].texts  # ticks where names have no room


def test_events_stand_above_the_sessions(fit):
    events = xr.Dataset({"onset": ("event", [0.5, 2.0]), "duration": ("event", [0.5, 0.0])})
    fit = fit.assign_coords(session=("time", np.repeat([0, 1], 20)))
    ax = plot_state_prob(fit, events=events)
    assert [text.get_text() for text in ax.child_axes[1].get_yticklabels()] == ["event"]
    ax.figure.canvas.draw()
    assert ax.child_axes[1].get_position().y0 >= ax.child_axes[0].get_position().y1 - 1e-9
