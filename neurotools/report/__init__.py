"""Fits and figures to one self-contained HTML page, with methods, citations and provenance.

``build_report`` makes a page from sections; ``connectome_report`` makes the page of a dynamic connectome;
``methods_text`` writes what was done, from the settings with which it was done.
"""

from neurotools.report.connectome import connectome_report
from neurotools.report.methods import methods_text
from neurotools.report.page import (
    Cards,
    Code,
    Facts,
    Figure,
    Note,
    References,
    Section,
    Table,
    Text,
    build_report,
)

__all__ = [
    "Cards",
    "Code",
    "Facts",
    "Figure",
    "Note",
    "References",
    "Section",
    "Table",
    "Text",
    "build_report",
    "connectome_report",
    "methods_text",
]
