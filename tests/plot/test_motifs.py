from __future__ import annotations

import connectome_cases as cases
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from neurotools.errors import SchemaError, SettingsError
from neurotools.plot import (
    plot_circuit,
    plot_motif,
    plot_motifs,
    plot_subject_loadings,
    plot_unit_loadings,
    style,
)
from neurotools.plot.reading import blocks, community_order, labels_of, motif_matrix


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def drawn(ax) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


# ---- order ----------------------------------------------------------------------------------------------
def test_order_is_strongest_community_then_strongest_unit(rng):
    matrix = rng.gamma(1.0, size=(20, 20))
    labels = rng.permutation(np.arange(20) % 5 - 1)
    order = community_order(matrix, labels)
    assert sorted(order) == list(range(20))
    runs = blocks(labels[order])
    assert len(runs) == len(np.unique(labels))  # each community in one piece
    strengths = [matrix.sum(axis=1)[labels == label].mean() for label, _, _ in runs if label >= 0]
    assert strengths == sorted(strengths, reverse=True)
    assert runs[-1][0] == -1
    for _, start, stop in runs:
        inside = matrix.sum(axis=1)[order[start:stop]]
        assert (np.diff(inside) <= 0).all()


# ---- matrices -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("layout", ["pair", "symcp"])
@pytest.mark.parametrize("dim", ["unit", "region", "channel"])
def test_matrix_is_the_motif_permuted_by_community(dim, layout):
    fit, communities, _ = cases.results(dim=dim, layout=layout)
    ax = plot_motif(fit, 1, communities)
    if layout == "pair":
        matrix = fit["motif"].sel(component=1).to_numpy()
    else:
        matrix = np.outer(fit["unit_loading"][1], fit["unit_loading"][1]) * ~np.eye(12, dtype=bool)
    labels = communities["label"].sel(component=1).to_numpy()
    order = community_order(matrix, labels)
    np.testing.assert_array_equal(drawn(ax), matrix[np.ix_(order, order)])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [str(fit[dim].to_numpy()[k]) for k in order]
    # "region11" is long, so names stand once, along the rows.
    assert ax.get_xlabel() == (dim if dim == "unit" else f"{dim}, in the same order")
    assert ax.get_ylabel() == f"{dim}, sorted by community"
    assert ax.images[0].colorbar.ax.get_ylabel() == "motif strength (a.u.)"


def test_without_communities_units_keep_their_order():
    fit, _, _ = cases.results()
    np.testing.assert_array_equal(drawn(plot_motif(fit, 0)), fit["motif"][0])


def test_frames_stand_around_the_communities_in_their_colours():
    fit, communities, _ = cases.results()
    ax = plot_motif(fit, 0, communities)
    labels = communities["label"][0].to_numpy()
    order = community_order(fit["motif"][0].to_numpy(), labels)
    frames = {
        (p.get_x(), p.get_width(), to_hex(p.get_edgecolor())) for p in ax.patches if isinstance(p, Rectangle)
    }
    wanted = {(a - 0.5, b - a, style.colour(k).lower()) for k, a, b in blocks(labels[order])}
    assert frames == wanted
    assert {text.get_text() for text in ax.texts} == {str(k) for k in np.unique(labels)}


def test_communities_are_matched_by_name_not_by_place():
    fit, communities, _ = cases.results()
    turned = communities.isel(unit=slice(None, None, -1))
    np.testing.assert_array_equal(drawn(plot_motif(fit, 2, turned)), drawn(plot_motif(fit, 2, communities)))


def test_many_communities_and_none_are_drawn():
    fit, communities, _ = cases.results(n=40, n_blocks=20)
    communities["label"][0, :5] = -1
    ax = plot_motif(fit, 0, communities)
    assert "–" in {text.get_text() for text in ax.texts}


def test_levels_take_the_finest():
    fit, communities, _ = cases.results()
    nested = communities.assign(label=communities["label"].expand_dims(level=[0, 1]).copy())
    nested["label"][1] = 0
    np.testing.assert_array_equal(drawn(plot_motif(fit, 0, nested)), drawn(plot_motif(fit, 0, communities)))


def test_a_silent_motif_is_drawn_and_inputs_are_untouched():
    fit, communities, _ = cases.results()
    fit["motif"][0] = 0.0
    before = fit.copy(deep=True)
    ax = plot_motif(fit, 0, communities)
    assert drawn(ax).max() == 0
    xr.testing.assert_identical(fit, before)


def test_unknown_component_is_an_error_with_the_known_ones():
    fit, communities, _ = cases.results()
    with pytest.raises(SettingsError, match=r"no component 9[\s\S]*one of 0, 1, 2"):
        plot_motif(fit, 9, communities)


def test_communities_of_other_units_are_an_error():
    fit, _, _ = cases.results()
    _, others, _ = cases.results(names=[f"x{i}" for i in range(12)])
    with pytest.raises(SchemaError, match="do not name every unit"):
        plot_motif(fit, 0, others)


def test_a_dataset_that_is_no_fit_is_an_error():
    with pytest.raises(SchemaError, match="'component' is needed"):
        plot_motifs(xr.Dataset({"x": ("time", [1.0])}))
    fit, _, _ = cases.results()
    with pytest.raises(SchemaError, match="needs the variable 'unit_loading'"):
        plot_motif(fit.drop_vars("motif"), 0)


def test_grid_has_one_panel_per_motif_on_one_scale():
    fit, communities, _ = cases.results(rank=5)
    axes = plot_motifs(fit, communities, columns=2)
    assert len(axes) == 5
    assert len({ax.images[0].get_clim() for ax in axes}) == 1
    assert [ax.get_title(loc="left").split(" · ")[0] for ax in axes] == [f"motif {k}" for k in range(5)]
    for component, ax in enumerate(axes):
        matrix = motif_matrix(fit, component).to_numpy()
        order = community_order(matrix, labels_of(communities, component, fit["unit"].to_numpy()))
        np.testing.assert_array_equal(drawn(ax), matrix[np.ix_(order, order)])


def test_grid_says_how_many_motifs_it_leaves_out():
    fit, _, _ = cases.results(rank=5)
    figure = Figure()
    assert len(plot_motifs(fit, max_components=3, figure=figure)) == 3
    assert figure.get_suptitle() == "the 3 largest of 5 motifs"
    with pytest.raises(SettingsError, match="at least 1"):
        plot_motifs(fit, max_components=0)


def test_given_axes_are_drawn_on():
    fit, _, _ = cases.results()
    _, ax = plt.subplots()
    assert plot_motif(fit, 0, ax=ax) is ax
    figure = Figure()
    assert plot_motif(fit, 0, ax=figure).figure is figure


# ---- circuits -------------------------------------------------------------------------------------------
def test_circuit_draws_the_strongest_links_and_tells_their_share():
    fit, communities, _ = cases.results()
    ax = plot_circuit(fit, 0, communities, n_links=9)
    links = next(c for c in ax.collections if isinstance(c, PathCollection) and len(c.get_paths()) == 9)
    upper = np.sort(fit["motif"][0].to_numpy()[np.triu_indices(12, 1)])[::-1]
    share = 100 * upper[:9].sum() / upper.sum()
    assert f"9 strongest links, {share:.0f} % of all strength" in ax.get_title(loc="left")
    np.testing.assert_allclose(np.sort(links.get_linewidths())[::-1], 0.4 + 2.0 * upper[:9] / upper[0])


def test_circuit_of_an_empty_motif_is_empty():
    fit, communities, _ = cases.results()
    fit["motif"][0] = 0.0
    assert "0 strongest links, 0 %" in plot_circuit(fit, 0, communities).get_title(loc="left")


# ---- loadings -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("layout", ["pair", "symcp"])
def test_unit_loadings_are_scaled_rows(layout):
    fit, _, _ = cases.results(layout=layout)
    ax = plot_unit_loadings(fit, sort=False)
    part = (fit["motif"].sum("unit_to") if layout == "pair" else fit["unit_loading"]).to_numpy()
    np.testing.assert_allclose(drawn(ax), part / part.max(axis=1, keepdims=True))
    assert ax.get_xlabel() == "unit"
    np.testing.assert_allclose(np.sort(drawn(plot_unit_loadings(fit)), axis=1), np.sort(drawn(ax), axis=1))


def test_subject_loadings_are_the_fit():
    fit, _, _ = cases.results(subjects=4)
    ax = plot_subject_loadings(fit)
    np.testing.assert_array_equal(drawn(ax), fit["subject_loading"])
    assert {f"{value:.2f}" for value in fit["subject_loading"].to_numpy().ravel()} == {
        t.get_text() for t in ax.texts
    }
    with pytest.raises(SchemaError, match="'subject_loading'"):
        plot_subject_loadings(cases.results()[0])
