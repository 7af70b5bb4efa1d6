"""Pictures of tests of motifs show the numbers of the tests."""

from __future__ import annotations

import connectome_cases as cases
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.plot import (
    connectome_figures,
    plot_active_prob,
    plot_coassignment,
    plot_conditions,
    plot_motif,
    plot_motif_null,
)
from neurotools.report import connectome_report


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def null() -> xr.Dataset:
    rng = np.random.default_rng(0)
    drawn = rng.uniform(0.8, 1.2, (19, 3)) * [1.0, 2.0, 3.0]
    strength = np.array([3.0, 2.0, 9.0])
    return xr.Dataset(
        {
            "strength": ("component", strength), "null_strength": (("surrogate", "component"), drawn),
            "ratio": ("component", strength / drawn.mean(axis=0)),
            "p_value": ("component", [0.05, 0.6, 0.05]), "p_corrected": ("component", [0.05, 0.9, 0.05]),
        },
        coords={"component": [0, 1, 2]},
        attrs={"surrogate": "circular_shift", "n_null": 19, "n_stretches": 10},
    )  # fmt: skip


def uncertainty(fit: xr.Dataset, connectome: xr.Dataset) -> xr.Dataset:
    rng = np.random.default_rng(1)
    n, rank = fit.sizes["unit"], fit.sizes["component"]
    intervals = connectome.sizes["interval"]
    ends = {
        f"interval_{side}_range": (
            ("interval", "bound"),
            connectome[f"interval_{side}"].values[:, None] + [-0.1, 0.1],
        )
        for side in ("start", "stop")
    }
    return xr.Dataset(
        {
            "coassignment": (("component", "unit", "unit_to"), rng.random((rank, n, n))),
            "n_blocks": (("replicate", "component"), rng.integers(1, 4, (5, rank))),
            "active_prob": (("component", "time"), rng.random((rank, 40))),
            "interval_support": ("interval", rng.random(intervals)),
            "similarity": (("replicate", "component"), rng.random((5, rank))),
            **ends,
        },
        coords={name: fit[name] for name in ("component", "unit", "time")} | {"bound": [0.05, 0.95]},
        attrs={"over": "time"},
    )


def conditions() -> xr.Dataset:
    return xr.Dataset(
        {
            "mean": (("component", "condition"), [[1.0, 1.5], [1.0, 1.0], [0.9, 1.1]]),
            "spread": (("component", "condition"), np.full((3, 2), 0.4)),
            "statistic": ("component", [9.0, 0.1, 1.0]), "p_value": ("component", [0.01, 0.9, 0.3]),
            "p_corrected": ("component", [0.02, 1.0, 0.5]), "n_epochs": ("condition", [16, 25]),
        },
        coords={"component": [0, 1, 2], "condition": ["rest", "task"]},
        attrs={"over": "epoch", "n_permutations": 99},
    )  # fmt: skip


def test_strengths_are_over_the_mean_of_surrogates_and_filled_above_chance():
    table = null()
    ax = plot_motif_null(table)
    points = [np.asarray(c.get_offsets()) for c in ax.collections if len(c.get_offsets())]
    above, below = points[-2:]
    np.testing.assert_allclose(above[:, 0], table["ratio"].values[[0, 2]])
    np.testing.assert_allclose(below, [[table["ratio"].values[1], 1]])
    assert [text.get_text() for text in ax.texts] == ["p = 0.05", "p = 0.9", "p = 0.05"]


def test_shares_are_sorted_by_community():
    fit, communities, connectome = cases.results()
    made = uncertainty(fit, connectome)
    ax = plot_coassignment(made, 1, communities)
    shown = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(np.sort(shown.ravel()), np.sort(made["coassignment"].values[1].ravel()))
    np.testing.assert_array_equal(plot_coassignment(made, 1).images[0].get_array(), made["coassignment"][1])
    with pytest.raises(SchemaError, match="'coassignment'"):
        plot_coassignment(fit, 0)


def test_intervals_and_their_spread_stand_above_the_probability():
    fit, _, connectome = cases.results()
    made = uncertainty(fit, connectome)
    ax = plot_active_prob(made, connectome)
    bars = [line for line in ax.lines if line.get_linewidth() == 2.6]
    np.testing.assert_allclose([bar.get_xdata()[0] for bar in bars], connectome["interval_start"])
    whiskers = [line.get_xdata() for line in ax.lines if line.get_linewidth() == 0.8]
    np.testing.assert_allclose(whiskers[0], made["interval_start_range"][0])
    with pytest.raises(SchemaError, match="another connectome"):
        plot_active_prob(made.isel(interval=slice(1)), connectome)


def test_conditions_have_a_standard_error_and_a_star():
    table = conditions()
    ax = plot_conditions(table)
    drawn = ax.containers[1]
    np.testing.assert_allclose(drawn[0].get_ydata(), [1.5, 1.0, 1.1])
    length = drawn[2][0].get_segments()[0][:, 1]
    np.testing.assert_allclose(length, [1.5 - 0.4 / 5, 1.5 + 0.4 / 5])
    assert [text.get_text() for text in ax.texts] == ["* p = 0.02", "p = 1", "p = 0.5"]
    assert "rest (16 epochs)" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_page_tells_the_tests():
    fit, communities, connectome = cases.results()
    tests = {"null": null(), "uncertainty": uncertainty(fit, connectome), "conditions": conditions()}
    figures = connectome_figures(fit, communities, connectome, **tests)
    assert {"motif_null", "active_prob", "coassignment", "conditions"} <= set(figures)
    html = connectome_report(None, fit, communities, connectome, figures=figures, **tests)
    for words in (
        "2 of 3 motifs are stronger", "Not told from chance: motif 1.", "2 of the 3 stand above chance",
        "Motif 0 changes between rest (16 epochs), task (25 epochs).", "99 permutations of the labels",
        "5 data sets of stretches of time drawn with replacement", "Westfall PH, Young SS (1993)",
        "Motif 1 is not told from what 19 surrogates show",
    ):  # fmt: skip
        assert words in html, words


@pytest.mark.parametrize("layout", ["ll1", "cp"])
def test_motifs_of_every_layout_are_drawn_as_they_are(layout):
    from neurotools.evaluate.motifs import motif

    fit, _, _ = cases.results(layout="symcp")
    rng = np.random.default_rng(0)
    if layout == "ll1":
        fit["unit_loading"] = (("component", "part", "unit"), rng.random((3, 2, 12)))
    else:
        fit["unit_to_loading"] = (("component", "unit_to"), rng.random((3, 12)))
    np.testing.assert_allclose(plot_motif(fit, 1).images[0].get_array(), motif(fit, 1), rtol=1e-12)
