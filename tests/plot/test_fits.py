from __future__ import annotations

import connectome_cases as cases
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.plot import plot_description_length, plot_error, plot_rank_scan, plot_restart_similarity


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_error_curve_and_ranked_restarts_are_the_fit():
    fit, _, _ = cases.results()
    ax = plot_error(fit)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), fit["error"])
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), np.arange(1, 21))
    np.testing.assert_array_equal(ax.child_axes[0].lines[0].get_ydata(), np.sort(fit["restart_error"]))
    assert "relative error" in ax.get_ylabel()
    assert "sweeps" in ax.get_xlabel()
    assert not plot_error(fit.drop_vars("restart_error")).child_axes


def test_similarity_is_ordered_by_error_and_tells_its_median():
    fit, _, _ = cases.results()
    ax = plot_restart_similarity(fit)
    order = np.argsort(fit["restart_error"].to_numpy())
    values = fit["restart_similarity"].to_numpy()
    np.testing.assert_array_equal(ax.images[0].get_array(), values[np.ix_(order, order)])
    assert f"median {np.median(values[np.triu_indices(4, 1)]):.2f}" in ax.get_title(loc="left")
    assert [t.get_text() for t in ax.get_yticklabels()] == [str(k) for k in order]
    with pytest.raises(SchemaError, match="'restart_similarity'"):
        plot_restart_similarity(fit.drop_vars("restart_similarity"))


def test_rank_scan_draws_means_over_folds_and_the_choice(rng):
    rank = np.array([2, 4, 8])
    folds = rng.uniform(0.5, 0.9, size=(3, 5))
    scan = xr.Dataset(
        {
            "heldout_error": (("rank", "fold"), folds),
            "relative_error": ("rank", [0.8, 0.7, 0.6]),
            "restart_similarity": ("rank", [1.0, 0.9, 0.5]),
        },
        coords={"rank": rank},
        attrs={"selected_rank": 4},
    )
    ax = plot_rank_scan(scan)
    held = next(line for line in ax.lines if line.get_label() == "held-out data")
    np.testing.assert_allclose(held.get_ydata(), folds.mean(axis=1))
    np.testing.assert_array_equal(ax.child_axes[0].lines[0].get_ydata(), [1.0, 0.9, 0.5])
    assert "chosen: 4" in [text.get_text() for text in ax.texts]
    assert ax.get_xlabel() == "rank (number of motifs)"
    assert "no rank predicts" in plot_rank_scan(scan.assign_attrs(selected_rank=0)).get_title(loc="left")


def test_rank_scan_without_what_it_needs_is_an_error():
    with pytest.raises(SchemaError, match="dimension 'rank'"):
        plot_rank_scan(xr.Dataset({"relative_error": ("k", [1.0])}))
    with pytest.raises(SchemaError, match="one of the variables"):
        plot_rank_scan(xr.Dataset({"other": ("rank", [1.0])}))


def test_saving_is_null_less_description_length():
    _, communities, _ = cases.results()
    ax = plot_description_length(communities)
    saving = (communities["null_description_length"] - communities["description_length"]).to_numpy()
    for place, dots in enumerate([c for c in ax.collections if len(c.get_offsets()) == 3][-2:]):
        np.testing.assert_allclose(dots.get_offsets()[:, 0], saving[:, place])
    assert ax.get_xlabel() == "saved over one block (nats)"
    assert {t.get_text() for t in ax.get_legend().get_texts()} == {"plain", "degree corrected"}


def test_saving_of_a_single_graph_is_drawn():
    _, communities, _ = cases.results()
    alone = communities.isel(component=0, drop=True)
    assert [t.get_text() for t in plot_description_length(alone).get_yticklabels()] == ["–"]
