"""Sphinx configuration; the site builds offline, with warnings as errors."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))  # for ``benchmarks``, which renders the validation page
os.environ.setdefault("MPLBACKEND", "Agg")

from docutils import nodes  # noqa: E402
from docutils.utils.math.latex2mathml import tex2mathml  # noqa: E402
from sphinx.errors import ExtensionError  # noqa: E402

import neurotools  # noqa: E402
from benchmarks.page import render  # noqa: E402
from neurotools.errors import CODES  # noqa: E402

project = "neurotools"
author = "the neurotools developers"
copyright = "2026, the neurotools developers"
release = version = neurotools.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
]
myst_enable_extensions = ["colon_fence", "dollarmath"]
html_math_renderer = "mathml"  # browsers set it themselves: no script, and nothing from the network
myst_heading_anchors = 3
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["_build", "gallery/GALLERY_HEADER.rst", "sg_execution_times.rst"]
html_theme = "pydata_sphinx_theme"
html_title = "neurotools"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}
html_show_sphinx = False
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "navbar_align": "left",
    "header_links_before_dropdown": 5,
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"*": [], "gallery/**": [], "decisions/**": [], "api/**": ["sidebar-nav-bs"]}
templates_path = ["_templates"]
autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": [str(ROOT / "examples")],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "capture_repr": (),
    "backreferences_dir": "api/generated/backreferences",
    "doc_module": ("neurotools",),
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,  # its page fetches scripts from elsewhere
    "reference_url": {"neurotools": None},
}


# Room of the toolkit -> heading of its names in the reference, in the order of a day's work.
ROOMS = {
    "registry": "Load, build, open",
    "provenance": "Save",
    "loaders": "Objects in memory",
    "schema": "Look and check",
    "signals": "Steps",
    "models": "Models",
    "numerics": "Priors",
    "encoders": "Encoders",
    "evaluate": "What fits say",
    "plot": "Plots",
    "simulate": "Simulations",
    "samples": "Samples",
    "report": "Reports",
    "adapters": "Other libraries",
}


def _public() -> dict[str, list[str]]:
    """Public functions and classes by the room they stand in; a new room is a KeyError, to be named above."""
    found: dict[str, list[str]] = {room: [] for room in ROOMS}
    for name in dir(neurotools):
        thing = getattr(neurotools, name)
        if callable(thing) and not name.startswith("_"):
            found[thing.__module__.split(".")[1]].append(f"neurotools.{name}")
    for room in ("plot", "simulate", "samples", "report", "encoders"):
        module = getattr(neurotools, room)
        for name in getattr(module, "__all__", ("describe", "names", "path")):
            if callable(getattr(module, name)):
                found[room].append(f"{module.__name__}.{name}")
    return found


def write_generated(app: object) -> None:
    """Write the pages that are rendered from code and results, so that none of them can go stale."""
    (HERE / "validation.md").write_text(render(), encoding="utf-8")
    rows = "\n".join(f"| `{code}` | {meaning} |" for code, meaning in CODES.items())
    (HERE / "errors.md").write_text(
        "# Error codes\n\nEvery error names what was wanted, what came and what to do. The code is stable.\n"
        "\n"
        f"| code | meaning |\n|---|---|\n{rows}\n",
        encoding="utf-8",
    )
    api = HERE / "api"
    api.mkdir(exist_ok=True)
    lines = ["# Reference", ""]
    for room, names in _public().items():
        lines += [f"## {ROOMS[room]}", "", "```{eval-rst}", ".. autosummary::", "   :toctree: generated"]
        lines += ["   :nosignatures:", "", *(f"   ~{name}" for name in sorted(names)), "```", ""]
    (api / "index.md").write_text("\n".join(lines), encoding="utf-8")


def check_alternative_texts(app: object, env: object, docnames: object) -> None:
    """Refuse a picture without a title: those who cannot see it would be read the name of its file."""
    for page in sorted((HERE / "gallery").rglob("plot_*.rst")):
        if f":alt: {page.stem.replace('_', ' ')}" in page.read_text(encoding="utf-8"):
            raise ExtensionError(f"a picture of examples/{page.stem}.py has no title")


# ---- formulas as MathML, by docutils ----------------------------------------------------------------
def inline_formula(translator, node):
    """Write a formula in a line of text."""
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def block_formula(translator, node):
    """Write a formula on lines of its own, which scroll where the page is narrow."""
    translator.body.append(f'<div class="formula">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def titles() -> dict[str, str]:
    """File name of every example -> its title."""
    found = {}
    for path in (ROOT / "examples").rglob("plot_*.py"):
        lines = path.read_text(encoding="utf-8").strip('"\n').splitlines()
        found[path.stem] = next(line for line in lines if line.strip())
    return found


def name_thumbnails(app: object, doctree: nodes.document) -> None:
    """Give the small pictures of the gallery a text for those who cannot see them."""
    named = titles()
    for image in doctree.findall(nodes.image):
        example = re.search(r"sphx_glr_(\w+)_thumb", image["uri"])
        if example is not None and not image.get("alt"):
            image["alt"] = f"Picture of the example: {named[example[1]]}"


def setup(app):
    app.add_html_math_renderer("mathml", (inline_formula, None), (block_formula, None))
    app.connect("doctree-read", name_thumbnails)
    app.connect("env-before-read-docs", check_alternative_texts)
    app.connect("config-inited", lambda app, config: write_generated(app))
