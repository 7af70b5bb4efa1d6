from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.plot import plot_psychometric, plot_state_weights


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def fit(rng):
    return xr.Dataset(
        {
            "feature_weight": (("state", "feature"), rng.normal(size=(2, 3))),
            "bias": ("state", [0.5, -1.0]),
            "occupancy": ("state", [0.7, 0.3]),
        },
        coords={"state": [0, 1], "feature": ["stimulus", "choice_back_1", "reward"]},
    )


def test_weights_stand_at_their_names_with_the_bias_first(fit):
    ax = plot_state_weights(fit)
    assert [text.get_text() for text in ax.get_xticklabels()] == [
        "bias",
        "stimulus",
        "choice back 1",
        "reward",
    ]
    heights = [box.lines[0].get_ydata() for box in ax.containers]
    np.testing.assert_allclose(heights, np.column_stack([fit["bias"], fit["feature_weight"]]))
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["state 0 (70 %)", "state 1 (30 %)"]
    with pytest.raises(SchemaError, match="'feature_weight'"):
        plot_state_weights(fit.drop_vars("feature_weight"))


def test_bars_are_ninety_per_cent_where_errors_are_known(fit):
    errors = {"feature_weight_se": 0.1 + 0 * fit["feature_weight"], "bias_se": 0.2 + 0 * fit["bias"]}
    ax = plot_state_weights(fit.assign(errors))
    low, high = ax.containers[0].lines[2][0].get_segments()[1][:, 1]
    assert high - low == pytest.approx(2 * 1.645 * 0.1)
    assert "90 %" in ax.get_title(loc="left")


def test_psychometric_curves_have_dots_bars_and_the_fit():
    curves = xr.Dataset(
        {
            "p_choice": (("state", "bin"), [[0.1, 0.9], [0.5, np.nan]]),
            "p_choice_interval": (
                ("state", "bin", "bound"),
                [[[0.05, 0.2], [0.8, 0.95]], [[0.4, 0.6], [np.nan, np.nan]]],
            ),
            "stimulus": ("bin", [-1.0, 1.0]),
            "curve": (("state", "level"), [[0.1, 0.5, 0.9], [0.5, 0.5, 0.5]]),
        },
        coords={"state": [0, 1], "bin": [0, 1], "level": [-1.0, 0.0, 1.0], "bound": ["low", "high"]},
        attrs={"stimulus": "signed_contrast"},
    )
    ax = plot_psychometric(curves)
    assert ax.get_xlabel().startswith("signed contrast")
    assert ax.get_ylabel() == "probability of choice 1"
    np.testing.assert_allclose(ax.containers[0].lines[2][0].get_segments()[0][:, 1], [0.05, 0.2])
    with pytest.raises(SchemaError, match="'p_choice'"):
        plot_psychometric(curves.drop_vars("p_choice"))
