"""What stands beside the recordings of a collection: a table, an index page, and the group's own result."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from neurotools.provenance import content_hash, open_saved, save

from . import bids, measure, outputs
from .contract import pipeline
from .job import Job, Record, write_result_text
from .steps import code_version

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 3rem auto; padding: 0 1rem;
color: #1b1f24 }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .45rem .8rem .45rem 0;
border-bottom: 1px solid #d8dee4; vertical-align: top } .failed { color: #b3261e } .small { color: #57606a }
"""


def write_group(jobs: Sequence[Job], records: Sequence[Record], chosen: Any, out: Path, whole: bool) -> None:
    """Write ``recordings.tsv``, ``index.html`` and, if ``whole`` and the pipeline has one, ``group.nc``."""
    chain = pipeline(jobs[0].pipeline)
    table = recordings_table(records, out)
    summed = chain.part("summarise") if whole else None
    done = {record.name: record for record in records if record.status != "failed"}
    key = outputs.text_hash(
        [chain.version, code_version(everything=True), table.drop(columns="seconds").to_dict("list"), whole]
    )
    standing = outputs.published(out)
    if standing is not None and standing.get("key") == key:
        return
    facts: dict[str, Any] = {"pipeline": chain.name, "key": key}
    with outputs.staged(out / outputs.WORK / ".group", out, facts) as folder:
        table.to_csv(folder / "recordings.tsv", sep="\t", index=False, lineterminator="\n", na_rep="n/a")
        if summed is not None and done:
            results = {name: open_saved(Path(record.folder) / "fit.nc") for name, record in done.items()}
            group = summed(results, chosen)
            save(group, folder / "group.nc")
            facts["content_hash"] = content_hash(open_saved(folder / "group.nc"))
        (folder / bids.DESCRIPTION).write_text(
            json.dumps(bids.description(chain.name, [job.source for job in jobs]), indent=2), encoding="utf-8"
        )
        (folder / ".bidsignore").write_text(bids.IGNORED, encoding="utf-8")
        (folder / "index.html").write_text(index_page(chain.name, table), encoding="utf-8")
        write_result_text(folder, chosen, _provenance(chain.name, jobs, records))


def recordings_table(records: Sequence[Record], out: Path) -> pd.DataFrame:
    """One row per recording: what became of it, and why it failed where it did."""
    rows = []
    for record in records:
        error = record.error or {}
        rows.append(
            {
                "recording": record.name,
                "status": "failed" if record.status == "failed" else "done",
                "seconds": record.seconds,
                "content_hash": record.content_hash,
                "code": error.get("code"),
                "problem": error.get("problem"),
                "path": error.get("path"),
                "where": error.get("where"),
                "fix": error.get("fix"),
                "folder": os.path.relpath(record.folder, out),
            }
        )
    return pd.DataFrame(rows)


def _provenance(name: str, jobs: Sequence[Job], records: Sequence[Record]) -> dict[str, Any]:
    return {
        "pipeline": name,
        "created": measure.now(),
        **measure.machine(),
        "recordings": [
            {"name": job.source.name, "source": job.source.path, "content_hash": record.content_hash}
            for job, record in zip(jobs, records, strict=True)
        ],
    }  # fmt: skip


def index_page(name: str, table: pd.DataFrame) -> str:
    """The list of recordings as a page, with a link to each report."""
    failed = int((table["status"] == "failed").sum())
    rows = []
    for row in table.to_dict("records"):
        label = html.escape(str(row["recording"]))
        if row["status"] == "failed":
            said = html.escape(" · ".join(str(row[k]) for k in ("problem", "where", "fix") if row[k]))
            rows.append(f'<tr><td>{label}</td><td class="failed">failed</td><td>{said}</td></tr>')
        else:
            page = html.escape(f"{row['folder']}/report.html")
            rows.append(f'<tr><td><a href="{page}">{label}</a></td><td>done</td><td></td></tr>')
    summary = f"{len(table)} recordings" + (f", {failed} failed" if failed else "")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(name)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        f'<body><h1>{html.escape(name)}</h1><p class="small">{summary}</p><table><thead><tr>'
        f"<th>recording</th><th>status</th><th>why</th></tr></thead><tbody>{''.join(rows)}</tbody></table></body></html>\n"
    )
