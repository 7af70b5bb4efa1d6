"""Fits and figures to one self-contained HTML page, with methods, citations and provenance.

``build_report`` makes a page from sections; ``connectome_report``, ``states_report``, ``bicluster_report``,
``connectivity_report`` and ``quality_report`` make the pages of the analyses of those names,
``training_report`` and ``probe_report`` those of encoders, ``index_report`` and ``group_report`` those of a
collection; ``methods_text`` writes what was done, from the settings with which it was done.
"""

from neurotools.report.bicluster import bicluster_report
from neurotools.report.connectivity import connectivity_report, pair_table
from neurotools.report.connectome import connectome_report
from neurotools.report.encoders import probe_report, training_report
from neurotools.report.group import group_report, index_report
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
from neurotools.report.quality import flag_table, quality_report
from neurotools.report.states import states_report

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
    "bicluster_report",
    "build_report",
    "connectivity_report",
    "connectome_report",
    "flag_table",
    "group_report",
    "index_report",
    "methods_text",
    "pair_table",
    "probe_report",
    "quality_report",
    "states_report",
    "training_report",
]
