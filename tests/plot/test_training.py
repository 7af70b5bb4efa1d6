"""Pictures of a training and of probes show the numbers they are given."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError


def test_losses_over_steps_of_all_stages():
    fit = xr.Dataset(
        {"loss": ("iteration", [3.0, 2.0, 5.0]), "held_out_loss": ("iteration", [4.0, 3.0, 6.0])},
        coords={"iteration": [10, 20, 30], "stage": ("iteration", ["codes", "codes", "masked"])},
    )
    ax = nt.plot.plot_training(fit)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [3.0, 2.0, 5.0])
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), [4.0, 3.0, 6.0])
    assert ax.lines[2].get_xdata()[0] == 20
    assert ax.get_title() == "Training: codes, then masked"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["trained on", "held out"]
    with pytest.raises(SchemaError, match="tells no 'top1'"):
        nt.plot.plot_training(fit, name="top1")


def test_bars_beside_chance():
    def scored(score):
        return xr.Dataset(
            {"score": score, "score_low": score - 0.1, "score_high": score + 0.05},
            attrs={"chance": 0.5, "target": "trial_type"},
        )

    ax = nt.plot.plot_probe({"encoder": scored(0.6), "band power": scored(0.7)})
    assert [bar.get_width() for bar in ax.patches] == [0.7, 0.6]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["band power", "encoder"]
    assert any(0.5 in line.get_xdata() for line in ax.lines)
    assert ax.get_title() == "Telling trial type"
