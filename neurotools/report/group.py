"""The pages of a collection: an index of its recordings, and what was found of all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr

from neurotools.report.endings import Pictures, provenance_section
from neurotools.report.page import Block, Code, Note, Section, Table, Text, build_report

MAX_NAMED = 20  # failures that stand above the table, too


def index_report(pipeline: str, table: pd.DataFrame, facts: Mapping[str, Any], group_page: str = "") -> str:
    """The recordings of a run, with a link to the page of each, and why some failed.

    Parameters
    ----------
    pipeline : str
    table : pandas.DataFrame
        One row per recording: ``recording``, ``status``, ``seconds``, ``folder``, ``problem``, ``where``,
        ``fix``.
    facts : mapping
        As the runner records it.
    group_page : str
        Name of the page of the group, where there is one.

    Returns
    -------
    str
        HTML text.
    """
    failed = table[table["status"] == "failed"]
    blocks: list[Block] = []
    if len(failed):
        named = [f"{row['recording']}: {_why(row)}" for row in failed.head(MAX_NAMED).to_dict("records")]
        more = len(failed) - len(named)
        blocks.append(Note([*named, *([f"and {more} more"] if more else [])], warn=True))
    rows = table.to_dict("records")
    shown = pd.DataFrame(
        {
            "recording": table["recording"],
            "status": table["status"],
            "time (s)": table["seconds"],
            "why": [_why(row) if row["status"] == "failed" else "" for row in rows],
        }
    )
    links = [None if row["status"] == "failed" else f"{row['folder']}/report.html" for row in rows]
    if group_page:
        blocks.append(Text("What was found of all recordings together:"))
        blocks.append(Table(pd.DataFrame({"page": ["the group"]}), "Together", links=[group_page]))
    blocks.append(Table(shown, "Recordings", more="recordings.tsv holds all.", links=links, folded=False))
    cards = [("recordings", f"{len(table):,}", ""), ("done", f"{len(table) - len(failed):,}", "")]
    cards += [("failed", f"{len(failed):,}", "")] if len(failed) else []
    again = Code(f"neurotools run {pipeline} SOURCE OUT --settings settings.yaml", "The same command resumes")
    ends = [provenance_section(facts), Section("Do it again", [again], short="Again")]
    return build_report(
        f"{pipeline}: {len(table):,} recordings",
        [Section("Recordings", blocks), *ends],
        subtitle="A page for each" + (", and why some failed." if len(failed) else "."),
        eyebrow=f"neurotools · {pipeline}",
        cards=cards,
    )  # fmt: skip


def _why(row: Mapping[Any, Any]) -> str:
    return " · ".join(str(row[key]) for key in ("problem", "where", "fix") if row.get(key))


def group_report(
    pipeline: str,
    group: xr.Dataset | xr.DataTree,
    facts: Mapping[str, Any],
    figures: Mapping[str, Any] | None = None,
) -> str:
    """What was found of several recordings together.

    Parameters
    ----------
    pipeline : str
    group : xarray.Dataset or xarray.DataTree
        As the pipeline's ``summarise`` gives it.
    facts : mapping
        As the runner records it.
    figures : mapping of str to matplotlib.figure.Figure, optional
        By name.

    Returns
    -------
    str
        HTML text.
    """
    blocks: list[Block] = list(Pictures(figures or {}, _caption).rest())
    held = group.to_dataset() if isinstance(group, xr.DataTree) else group
    rows = [name for name, array in held.data_vars.items() if array.dims == ("recording",)]
    if rows:
        frame = held[rows].to_dataframe().reset_index()[["recording", *map(str, rows)]]
        blocks.append(Table(frame, "Recordings side by side", folded=False))
    others = {name: array for name, array in held.data_vars.items() if name not in rows}
    if others:
        listed = pd.DataFrame(
            {
                "name": list(map(str, others)),
                "along": [" × ".join(map(str, array.dims)) or "one number" for array in others.values()],
                "size": [" × ".join(map(str, array.shape)) or "1" for array in others.values()],
            }
        )
        blocks.append(Table(listed, "Also in group.nc"))
    said = [
        Text(f"{name}: {value}") for name, value in held.attrs.items() if str(value) and name != "history"
    ]
    n = held.sizes.get("recording", len(group.children) if isinstance(group, xr.DataTree) else 0)
    return build_report(
        f"{pipeline}: the group",
        [Section("Together", [*blocks, *said]), provenance_section(facts)],
        subtitle=f"{n:,} recordings. Every number is in group.nc (nt.open_fit).",
        eyebrow=f"neurotools · {pipeline}",
    )


def _caption(name: str) -> tuple[str, str, str]:
    words = name.replace("_", " ")
    return (words.capitalize(), "Over all recordings of the run.", f"{words}, over all recordings.")
