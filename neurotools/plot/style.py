"""How neurotools pictures look: ink, colours that colour-blind readers tell apart, labels with units.

The look is a context (``with style.context():``) and never a change of matplotlib's global settings, so a
lab's own style stays as it was. Colours of communities are those of Okabe and Ito (2008), "Color Universal
Design"; the colour map of matrices runs at an even pace from white to ink in the Oklab space (Ottosson 2020).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
else:  # matplotlib is imported where it draws; at run time the names below stand in annotations only
    Axes = Figure = Any

INK = "#1b2330"
MUTED = "#5d6878"
RULE = "#c9d0d9"
ACCENT = "#0072B2"
FLAG = "#D55E00"
# Okabe and Ito's colours, but for yellow, which is pale on white, and black, which is text: a violet and a
# brown in their place keep every two of the eight as far apart for colour-blind readers as the others are.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6A3FD0", "#6B3410")
UNASSIGNED = "#c3c9d1"

FONTS = ("Helvetica Neue", "Helvetica", "Arial", "Liberation Sans", "DejaVu Sans")
UNIT_WORDS = {"1": "dimensionless", "nat": "nats", "degC": "°C"}


# ---- the look ---------------------------------------------------------------------------------------
@contextmanager
def context() -> Iterator[None]:
    """Draw in the style of neurotools inside ``with``; matplotlib's settings come back at its end."""
    import matplotlib as mpl

    with mpl.rc_context(cast("Any", _settings())):
        yield


def _settings() -> dict[str, Any]:
    return {
        "font.family": list(_fonts()), "font.size": 9, "axes.titlesize": 10, "axes.labelsize": 9,
        "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8, "axes.titleweight": "bold",
        "axes.titlelocation": "left", "axes.titlepad": 7, "axes.labelpad": 4,
        "text.color": INK, "axes.labelcolor": INK, "axes.titlecolor": INK, "axes.edgecolor": MUTED,
        "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
        "axes.linewidth": 0.8, "xtick.major.width": 0.8, "ytick.major.width": 0.8,
        "xtick.major.size": 3, "ytick.major.size": 3, "lines.linewidth": 1.4,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False,
        "axes.facecolor": "white", "figure.facecolor": "white", "savefig.facecolor": "white",
        "legend.frameon": False, "figure.dpi": 120, "savefig.dpi": 200, "svg.fonttype": "path",
        "image.interpolation": "nearest", "image.aspect": "auto",
    }  # fmt: skip


@functools.cache
def _fonts() -> tuple[str, ...]:
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return tuple(font for font in FONTS if font in installed) or ("sans-serif",)


def panel(ax: Axes | Figure | None, size: tuple[float, float]) -> Axes:
    """Return ``ax``; or new Axes that fill the Figure given; or those of a new figure of ``size`` inches.

    A Figure made without pyplot (``matplotlib.figure.Figure``) opens no window and stays in no list, which
    is what a report or a worker process wants.
    """
    if ax is None or hasattr(ax, "add_subplot"):
        return dressed(blank_figure(cast("Figure | None", ax), size).add_subplot())
    return dressed(cast("Axes", ax))


def dressed(ax: Axes) -> Axes:
    """Give ticks, spines and axis labels the look of ``context`` for good.

    Matplotlib makes ticks when it first draws, which is after the context has ended, and Axes that a caller
    made have their own look.
    """
    fonts = list(_fonts())
    ax.tick_params(size=3, width=0.8, color=MUTED, labelcolor=INK, labelsize=8, labelfontfamily=fonts)  # type: ignore[arg-type]
    for spine in ax.spines.values():
        spine.set(edgecolor=MUTED, linewidth=0.8)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set(color=INK, fontsize=9, fontfamily=fonts)
        axis.offsetText.set(color=INK, fontsize=8, fontfamily=fonts)
    return ax


def blank_figure(figure: Figure | None, size: tuple[float, float]) -> Figure:
    """Return a figure of ``size`` inches with constrained layout: the one given, or a new one."""
    if figure is None:
        import matplotlib.pyplot as plt

        return plt.figure(figsize=size, layout="constrained")
    if hasattr(figure, "set_size_inches"):  # a SubFigure has the size its parent gives it
        figure.set_size_inches(*size)
        figure.set_layout_engine("constrained")
    return figure


# ---- colours ----------------------------------------------------------------------------------------
def colour(label: int) -> str:
    """Colour of a community or another category, by its number; below 0 means it has none.

    The next eight are darker, the next lighter. Pictures always write the number as well.
    """
    if label < 0:
        return UNASSIGNED
    base = np.array(_rgb(OKABE_ITO[label % len(OKABE_ITO)]))
    shade = (label // len(OKABE_ITO)) % 3
    mixed = {0: base, 1: 0.55 * base, 2: 0.5 * base + 0.5}[shade]
    return "#" + "".join(f"{round(255 * part):02x}" for part in mixed)


def _rgb(hexadecimal: str) -> tuple[float, ...]:
    return tuple(int(hexadecimal[i : i + 2], 16) / 255 for i in (1, 3, 5))


def text_on(background: str) -> str:
    """White or ink, whichever is read better on ``background`` (relative luminance of WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _rgb(background)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.064 else INK


@functools.cache
def sequential() -> Any:
    """Colour map from white to ink in even steps of perceived difference, for values from 0 up."""
    stops = _stops(
        lightness=[1.0, 0.93, 0.80, 0.66, 0.51, 0.37, 0.23],
        chroma=[0.0, 0.035, 0.075, 0.10, 0.115, 0.115, 0.07],
        hue=[170, 172, 190, 222, 252, 278, 290],
    )
    return _colour_map("neurotools_ink", _even_path(stops, 256))


@functools.cache
def diverging() -> Any:
    """Colour map from blue over white (0) to vermilion, equally light at equal distance from 0."""
    lightness, chroma = [0.99, 0.82, 0.64, 0.46, 0.30], [0.0, 0.07, 0.135, 0.135, 0.09]
    blue = _even_path(_stops(lightness, chroma, [245, 245, 250, 258, 265]), 128)
    red = _even_path(_stops(lightness, chroma, [60, 58, 50, 42, 35]), 128)
    return _colour_map("neurotools_two_sided", np.concatenate([blue[::-1], red]))


def _stops(lightness: Sequence[float], chroma: Sequence[float], hue: Sequence[float]) -> np.ndarray:
    angle = np.deg2rad(np.asarray(hue, dtype="float64"))
    return np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=1)


def _even_path(stops: np.ndarray, n: int) -> np.ndarray:
    """``n`` colours along straight lines between ``stops`` in Oklab, at equal distances."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(stops, axis=0), axis=1))])
    place = np.linspace(0, length[-1], n)
    return np.stack([np.interp(place, length, column) for column in stops.T], axis=1)


def _colour_map(name: str, path: np.ndarray) -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap(_oklab_to_srgb(path), name=name).with_extremes(bad="#e3e6ea")


def _oklab_to_srgb(lab: np.ndarray) -> np.ndarray:
    """Oklab to sRGB in 0..1, by the matrices that define Oklab (Ottosson 2020)."""
    to_cone = np.array([[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728],
                        [1, -0.0894841775, -1.2914855480]])  # fmt: skip
    to_linear = np.array([[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011,
                          -0.3413193965], [-0.0041960863, -0.7034186147, 1.7076147010]])  # fmt: skip
    linear = np.clip((lab @ to_cone.T) ** 3 @ to_linear.T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


# ---- labels -----------------------------------------------------------------------------------------
def with_unit(name: str, unit: object) -> str:
    """Write ``name (unit)``; a unit of ``"1"`` reads dimensionless, a missing one says so."""
    text = "unit not stated" if unit in (None, "") else UNIT_WORDS.get(str(unit), str(unit))
    return f"{name} ({text})"


def name_entries(
    ax: Axes, axis: Literal["x", "y"], labels: Sequence[Any] | np.ndarray, size_in: float
) -> None:
    """Write as many of the ``labels`` of a matrix's rows ("y") or columns ("x") as ``size_in`` inches hold.

    All when each has 5 points of room, else every second, fifth, tenth, ... one, so that none overlap.
    """
    room = 72 * size_in / max(len(labels), 1)
    step = next(step for step in _STEPS if step * room >= (5.0 if step == 1 else 8.0))
    at = np.arange(0, len(labels), step)
    text = [str(labels[int(i)]) for i in at]
    size = float(np.clip(room * step * 0.9, 4.5, 8))
    if axis == "y":
        ax.set_yticks(at, text, fontsize=size)
    else:
        turned = max(map(len, text), default=0) * 0.62 * size > step * room
        ax.set_xticks(at, text, fontsize=size, rotation=90 if turned else 0)
    ax.tick_params(axis=axis, length=0 if step == 1 else 2)


_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000, 10_000_000)


def axes_size(ax: Axes) -> tuple[float, float]:
    """Width and height of ``ax`` in inches."""
    box, figure = ax.get_position(), root_of(ax)
    return box.width * figure.get_figwidth(), box.height * figure.get_figheight()


def root_of(ax: Axes) -> Figure:
    """The figure that ``ax`` stands in, at the end of any nesting."""
    return cast("Figure", ax.get_figure(root=True))


def colour_bar(image: Any, ax: Any, label: str, **options: Any) -> Any:
    """Add a slim colour bar with ``label``; an arrow shows where values are cut off."""
    values = np.ma.masked_invalid(image.get_array())
    low, high = image.get_clim()
    above = bool(values.size and values.max() > high * (1 + 1e-9))
    below = bool(values.size and values.min() < low - 1e-9 * abs(low))
    extend = {(False, False): "neither", (False, True): "max", (True, False): "min"}.get(
        (below, above), "both"
    )
    settings = {"fraction": 0.046, "pad": 0.025, "aspect": 24, "extend": extend, **options}
    bar = image.axes.get_figure().colorbar(image, ax=ax, **settings)
    dressed(bar.ax)
    bar.set_label(label)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2)
    return bar


def plain_spines(ax: Axes, *keep: str) -> None:
    """Show only the spines named in ``keep``, whatever style the Axes were made in."""
    for name, spine in ax.spines.items():
        spine.set_visible(name in keep)
