"""The page on the quality of a recording: what stands out, row by row, and what the validator says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr

from neurotools.report import endings, summary
from neurotools.report.page import Block, Figure, Note, Section, Table, Text, build_report

DRAWN = {
    "level": (
        "How loud each row is in each stretch of time. Rows that stand out are named with the reason.",
        "Heat map of loudness, one line per row, over time.",
    ),
    "power": (
        "Power over frequency: median and middle half of all rows; rows that stand out as thin lines.",
        "Power spectra on a logarithmic scale.",
    ),
}


def quality_report(
    recording: xr.DataTree | None,
    judged: xr.DataTree,
    *,
    provenance: Mapping[str, Any] | None = None,
    figures: Mapping[str, Any] | None = None,
    title: str | None = None,
) -> str:
    """Make the self-contained HTML page on the quality of a recording.

    Parameters
    ----------
    recording : xarray.DataTree or None
        What was judged.
    judged : xarray.DataTree
        Result of ``nt.quality``.
    provenance : mapping, optional
        As the runner records it.
    figures : mapping of str to Figure, optional
        From ``nt.plot.quality_figures``.
    title : str, optional

    Returns
    -------
    str
        HTML text.
    """
    facts, pictures = dict(provenance or {}), dict(figures or {})
    told = summary.described(recording, facts)
    nodes = {str(name): node.to_dataset() for name, node in judged.children.items() if name != "findings"}
    sections = [
        Section("At a glance", _glance(judged, nodes)),
        *(_modality(name, group, pictures) for name, group in nodes.items()),
        endings.recording_section(told),
        Section("Methods", [Text(_methods(nodes, facts))]),
        endings.provenance_section(facts),
        endings.again_section(facts, _python(facts, nodes)),
    ]
    cards = []
    for name, group in nodes.items():
        cards.append((f"{name}: {group['flag'].dims[-1]}s", f"{group.attrs['n_rows']:,}", ""))
        cards.append(("of them flagged", f"{group.attrs['n_flagged']:,}", ""))
        if "duration_s" in group.attrs:
            cards.append(("long", f"{group.attrs['duration_s']:.4g}", "s"))
    cards.append(("findings of the validator", f"{judged['findings'].sizes['finding']}", ""))
    return build_report(
        title or summary.title_of(told, facts, "Quality"),
        [section for section in sections if section.blocks],
        subtitle="What stands out in this recording, before anything is analysed.",
        eyebrow="neurotools · quality", cards=cards,
    )  # fmt: skip


def flag_table(group: xr.Dataset) -> pd.DataFrame:
    """One row per row of the recording: its numbers and its flag."""
    kept = [name for name, array in group.data_vars.items() if array.dims == group["flag"].dims]
    rows = group[kept]
    extra = [name for name in rows.coords if name not in rows.dims]
    return rows.drop_vars(extra).to_dataframe().reset_index()


def _glance(judged: xr.DataTree, nodes: Mapping[str, xr.Dataset]) -> list[Block]:
    said = []
    for name, group in nodes.items():
        counts = pd.Series(group["flag"].to_numpy().ravel()).replace("", pd.NA).dropna().value_counts()
        said += [f"{name}: {number} of {group['flag'].size} — {flag}." for flag, number in counts.items()]
    found = judged["findings"].to_dataset()
    for place in range(found.sizes["finding"]):
        one = {key: str(found[key].to_numpy()[place]) for key in ("where", "problem", "found")}
        said.append(f"{one['where']}: {one['problem']}" + (f" ({one['found']})." if one["found"] else "."))
    if not said:
        return [Text("Nothing stands out.")]
    return [Note(said, warn=True)]


def _modality(name: str, group: xr.Dataset, pictures: Mapping[str, Any]) -> Section:
    blocks: list[Block] = [
        Figure(pictures[f"{name}_{kind}"], caption, alt, "")
        for kind, (caption, alt) in DRAWN.items()
        if f"{name}_{kind}" in pictures
    ]
    table = flag_table(group)
    flagged = table[table["flag"] != ""]
    if len(flagged):
        blocks.append(Table(flagged, "Rows that stand out"))
    blocks.append(Table(table, "All rows", more="tables"))
    return Section(name, blocks)


def _methods(nodes: Mapping[str, xr.Dataset], facts: Mapping[str, Any]) -> str:
    text = (
        "Numbers were taken over all samples of each row; missing samples are counted and left out of them. "
    )
    if any("power" in group for group in nodes.values()):
        text += (
            "Spectra are averages of Hann-windowed pieces of four seconds or 64 samples (Welch 1967). A row "
            "is flagged as loud or quiet when the logarithm of its standard deviation lies five robust "
            "standard deviations from the median of all rows. "
        )
    if "spikes" in nodes:
        text += (
            "A unit is flagged when more than one in a hundred intervals between its spikes is below 1.5 ms, "
            "or when it is silent in more than half of 200 equal stretches of the recording. "
        )
    return text + endings.software(facts.get("versions"), "numpy", "scipy", "xarray")


def _python(facts: Mapping[str, Any], nodes: Mapping[str, xr.Dataset]) -> str:
    source = str(facts.get("source") or facts.get("recording") or "SOURCE")
    return "\n".join(
        [
            "import neurotools as nt",
            "",
            f"judged = nt.quality(nt.load({source!r}))",
            f"nt.plot.plot_level(judged, {next(iter(nodes))!r})",
        ]
    )
