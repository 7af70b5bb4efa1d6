from __future__ import annotations

import subprocess
import sys

import connectome_cases as cases
import matplotlib.pyplot as plt
import pytest

import neurotools as nt
from neurotools.plot import connectome_figures
from neurotools.plot.figures import marks_of


def test_importing_plots_imports_no_matplotlib():
    code = (
        "import sys, neurotools as nt; names = dir(nt.plot); assert 'plot_motifs' in names, names;"
        "nt.plot.plot_motifs; assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_name_of_the_table_is_there():
    assert all(callable(getattr(nt.plot, name)) or name == "style" for name in nt.plot.__all__)


@pytest.fixture(scope="module")
def drawn():
    fit, communities, connectome = cases.results(subjects=3)
    return connectome_figures(fit, communities, connectome, cases.recording())


def test_all_pictures_are_made_and_no_window_is_open(drawn):
    assert list(drawn) == [
        "time_loadings", "motifs", "circuits", "communities_over_time", "unit_loadings", "subject_loadings",
        "restart_similarity", "error", "description_length", "traces", "quality",
    ]  # fmt: skip
    assert not plt.get_fignums()


def test_every_panel_says_what_its_axes_are(drawn):
    for name, figure in drawn.items():
        if name == "circuits":
            continue
        figure.draw_without_rendering()
        labels = [(ax.get_xlabel(), ax.get_ylabel()) for ax in figure.axes]
        assert any(x for x, _ in labels), name
        assert any(y for _, y in labels), name
        for ax in figure.axes:
            if hasattr(ax, "_colorbar"):
                assert "(" in ax.get_ylabel(), name  # a unit
            if "time" in ax.get_xlabel():
                assert ax.get_xlabel() == "time (s)", name


def test_nothing_is_drawn_outside_the_picture(drawn):
    for name, figure in drawn.items():
        figure.draw_without_rendering()
        width, height = figure.get_size_inches()
        box = figure.get_tightbbox()
        assert box.x0 > -0.03, name
        assert box.y0 > -0.03, name
        assert box.x1 < width + 0.03, name
        assert box.y1 < height + 0.03, name


def test_a_fit_alone_is_enough():
    fit, _, _ = cases.results(layout="symcp", dim="region")
    bare = fit[["time_loading", "weight", "unit_loading"]]
    names = connectome_figures(bare)
    assert list(names) == ["time_loadings", "motifs", "circuits", "unit_loadings"]


def test_marks_are_found_in_a_recording():
    events, stimulus = marks_of(cases.recording())
    assert events is not None
    assert stimulus is not None
    assert events["onset"].size == 3
    assert list(stimulus.data_vars) == ["song"]
    assert marks_of(None) == (None, None)
