"""The page of a dynamic connectome: what was analysed, what was found, how far it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from neurotools.plot import connectome_figures
from neurotools.report import connectome_words as words
from neurotools.report import limits, summary, tables
from neurotools.report.captions import caption
from neurotools.report.connectome_words import methods_of_tests
from neurotools.report.endings import Pictures, again_section, provenance_section, recording_section
from neurotools.report.methods import methods, model_settings, unit_word
from neurotools.report.page import (
    Block,
    Note,
    References,
    Section,
    Table,
    Text,
    build_report,
)

TSV = "The whole table stands in the folder 'tables' beside this page."


def connectome_report(
    recording: xr.DataTree | xr.DataArray | None,
    fit: xr.Dataset,
    communities: xr.Dataset | None = None,
    connectome: xr.Dataset | None = None,
    *,
    settings: Any = None,
    provenance: Mapping[str, Any] | None = None,
    figures: Mapping[str, Any] | None = None,
    rank_scan: xr.Dataset | None = None,
    null: xr.Dataset | None = None,
    uncertainty: xr.Dataset | None = None,
    conditions: xr.Dataset | None = None,
    title: str | None = None,
) -> str:
    """Make the self-contained HTML page of a dynamic connectome.

    Parameters
    ----------
    recording : xarray.DataTree, xarray.DataArray or None
        What was analysed.
    fit, communities, connectome : xarray.Dataset
        Results of ``nt.NTF``, ``nt.BlockModel`` and ``nt.dynamic_connectome``.
    settings : dataclass or mapping, optional
        Settings of the pipeline, for what the fit does not carry.
    provenance : mapping, optional
        Seeds, versions, hashes, threads, time and memory, as the runner records them.
    figures : mapping of str to Figure, optional
        Drawn already; otherwise ``nt.plot.connectome_figures`` draws them.
    rank_scan : xarray.Dataset, optional
    null, conditions : xarray.Dataset, optional
        Results of ``nt.motif_null`` and ``nt.compare_conditions``.
    uncertainty : xarray.Dataset, optional
        Results of ``nt.interval_uncertainty`` and ``nt.community_uncertainty``, merged, or one of them.
    title : str, optional

    Returns
    -------
    str
        HTML text.
    """
    facts = dict(provenance or {})
    recording = summary.described(recording, facts)
    if figures is None:
        figures = connectome_figures(
            fit, communities, connectome, recording, rank_scan,
            null=null, uncertainty=uncertainty, conditions=conditions,
        )  # fmt: skip
    results = summary.Results(recording, fit, communities, connectome, null, uncertainty, conditions)
    pictures = Pictures(figures, lambda name: caption(name, results))
    written = methods(
        fit, communities, connectome, recording=recording, settings=settings, versions=facts.get("versions")
    )
    written = methods_of_tests(written, results)
    sections = [
        Section(
            "At a glance", [Text(summary.sentence(results)), *_warnings(results), *pictures("time_loadings")]
        ),
        _motifs(results, pictures),
        _over_time(results, pictures),
        _membership(results, pictures),
        _between(results, pictures),
        _trust(results, pictures),
        recording_section(recording, pictures("traces", "quality")),
        Section("More figures", pictures.rest()),
        Section("What these numbers are not", [Note(limits.limits(results), warn=True)], short="Limits"),
        Section("Methods", [*map(Text, written.paragraphs), References(written.references)]),
        provenance_section(facts, fit.attrs, _chosen(results)),
        again_section(facts, summary.python_lines(results, settings, facts)),
    ]
    name = title or summary.title_of(recording, facts, "Dynamic connectome")
    return build_report(
        name,
        [section for section in sections if section.blocks],
        subtitle=summary.subtitle(results),
        eyebrow="neurotools · dynamic connectome",
        cards=summary.cards(results, facts),
    )


# ---- sections -----------------------------------------------------------------------------------------
def _chosen(results: summary.Results) -> dict[str, Any]:
    made = {"fit": results.fit, "communities": results.communities}
    return {name: model_settings(result) for name, result in made.items() if result is not None}


def _warnings(results: summary.Results) -> list[Block]:
    urgent = limits.urgent(results)
    return [Note(urgent, warn=True)] if urgent else []


def _motifs(results: summary.Results, pictures: Pictures) -> Section:
    blocks = [*pictures("motifs"), Table(tables.motif_table(results), "Motifs"), *pictures("circuits")]
    unit = unit_word(results.fit)
    lead = f"A motif is a pattern of affinity between {unit}s that recurs; the largest has number 0."
    return Section("Motifs", blocks, lead)


def _over_time(results: summary.Results, pictures: Pictures) -> Section:
    blocks = pictures("communities_over_time")
    if results.connectome is not None:
        blocks.append(Table(tables.interval_table(results.connectome), "Intervals of activity", more=TSV))
    return Section("Communities over time", blocks, "Who belongs together, and when.", "Over time")


def _membership(results: summary.Results, pictures: Pictures) -> Section:
    blocks = pictures("unit_loadings", "subject_loadings")
    if results.communities is not None:
        note = "Strength is the share of the motif's summed affinity that the members carry."
        blocks.append(Table(tables.community_table(results), "Communities and their members", note, TSV))
    return Section("Who takes part", blocks)


def _between(results: summary.Results, pictures: Pictures) -> Section:
    blocks = pictures("conditions")
    if results.conditions is not None:
        note = "Loadings are divided by their mean over all; p-values are corrected for the number of motifs."
        blocks.append(
            Table(tables.condition_table(results.conditions), "Motifs between conditions", note, TSV)
        )
    return Section("Between conditions", blocks, words.between(results), short="Conditions")


def _trust(results: summary.Results, pictures: Pictures) -> Section:
    blocks = pictures("motif_null", "active_prob", "coassignment")
    if results.null is not None:
        blocks.insert(0, Text(words.against_chance(results)))
    if results.uncertainty is not None:
        blocks.append(Table(tables.uncertainty_table(results), "Over resampled data"))
    blocks += pictures("restart_similarity", "error", "rank_scan", "description_length")
    if "subject_loading" not in results.fit and model_settings(results.fit).get("layout", "pair") == "pair":
        blocks.insert(0, Text(limits.NOT_UNIQUE))
    return Section("How far to trust it", blocks, short="Trust")
