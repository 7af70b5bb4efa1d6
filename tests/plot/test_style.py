from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from neurotools.plot import style

# Full deuteranopia and protanopia in linear RGB: Machado, Oliveira and Fernandes (2009), table 1, severity 1.
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)
VISION = {"full": np.eye(3), "deuteranopia": DEUTERANOPIA, "protanopia": PROTANOPIA}


def cielab(rgb: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of sRGB colours as seen with the given linear transform of vision."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ seen.T, 0, 1)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("vision", VISION)
def test_darker_is_always_more_for_every_reader(vision):
    lightness = cielab(style.sequential()(np.linspace(0, 1, 64))[:, :3], VISION[vision])[:, 0]
    assert (np.diff(lightness) < 0).all()
    assert lightness[0] > 98
    assert lightness[-1] < 20


def test_steps_of_the_colour_map_are_even():
    step = np.diff(cielab(style.sequential()(np.linspace(0, 1, 32))[:, :3], np.eye(3))[:, 0])
    assert np.abs(step).max() < 2 * np.median(np.abs(step))


def test_two_sided_map_is_as_light_on_both_sides():
    lightness = cielab(style.diverging()(np.linspace(0, 1, 65))[:, :3], np.eye(3))[:, 0]
    assert np.abs(lightness - lightness[::-1]).max() < 4
    assert lightness.argmax() == 32


@pytest.mark.parametrize("vision", VISION)
def test_first_eight_communities_are_told_apart(vision):
    colours = np.array([to_rgb(style.colour(k)) for k in range(8)])
    lab = cielab(colours, VISION[vision])
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert apart[np.triu_indices(8, 1)].min() > 16  # a difference of 2 is just seen side by side


def test_twenty_four_communities_have_their_own_colours():
    assert len({style.colour(k) for k in range(24)}) == 24
    assert style.colour(-1) == style.UNASSIGNED
    assert style.colour(100).startswith("#")


def test_text_is_read_on_its_background():
    assert style.text_on("#101010") == "white"
    assert style.text_on("#ffffff") == style.INK


def test_context_leaves_settings_as_they_were():
    before = dict(mpl.rcParams)
    with style.context():
        assert mpl.rcParams["axes.spines.top"] is False
    assert dict(mpl.rcParams) == before


def test_units_are_written():
    assert style.with_unit("signal", "V") == "signal (V)"
    assert style.with_unit("activity", "1") == "activity (dimensionless)"
    assert style.with_unit("signal", None) == "signal (unit not stated)"


@pytest.mark.parametrize("n", [4, 30, 75, 400])
def test_names_of_entries_do_not_overlap(n):
    figure = Figure(figsize=(5, 5))
    ax = style.panel(figure, (5, 5))
    ax.imshow(np.zeros((n, n)))
    style.name_entries(ax, "y", [f"Frontal_Sup_{i}_L" for i in range(n)], 4.0)
    style.name_entries(ax, "x", [f"Frontal_Sup_{i}_L" for i in range(n)], 4.0)
    figure.draw_without_rendering()
    for axis, edge in ((ax.yaxis, "y"), (ax.xaxis, "x")):
        boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
        low = np.array([getattr(box, f"{edge}0") for box in boxes])
        high = np.array([getattr(box, f"{edge}1") for box in boxes])
        order = np.argsort(low)
        assert (low[order][1:] - high[order][:-1] > -1.5).all()
        assert len(boxes) >= min(n, 4)


def test_colour_bar_shows_what_is_cut_off():
    figure = Figure()
    ax = figure.add_subplot()
    image = ax.imshow(np.array([[0.0, 2.0]]), vmin=0, vmax=1)
    bar = style.colour_bar(image, ax, "strength (a.u.)")
    assert bar.extend == "max"
    assert bar.ax.get_ylabel() == "strength (a.u.)"
