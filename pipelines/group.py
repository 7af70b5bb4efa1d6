"""What stands beside the recordings of a collection: a table, an index, and the group's result and page."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import neurotools as nt
from neurotools.provenance import content_hash, open_saved, save

from . import bids, measure, outputs
from .contract import Pipeline, pipeline
from .job import Job, Record, write_result_text
from .steps import code_version


def write_group(jobs: Sequence[Job], records: Sequence[Record], chosen: Any, out: Path, whole: bool) -> None:
    """Write ``recordings.tsv``, ``index.html`` and, if ``whole`` and the pipeline has them, ``group.*``."""
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
        provenance = _provenance(chain.name, jobs, records)
        if summed is not None and done:
            results = {name: open_saved(Path(record.folder) / "fit.nc") for name, record in done.items()}
            group = summed(results, chosen)
            save(group, folder / "group.nc")
            facts["content_hash"] = content_hash(open_saved(folder / "group.nc"))
            _write_group_page(chain, group, chosen, {**provenance, **facts}, folder)
        (folder / bids.DESCRIPTION).write_text(
            json.dumps(bids.description(chain.name, [job.source for job in jobs]), indent=2), encoding="utf-8"
        )
        (folder / ".bidsignore").write_text(bids.IGNORED, encoding="utf-8")
        page = nt.report.index_report(chain.name, table, provenance, "group.html" if summed and done else "")
        (folder / "index.html").write_text(page, encoding="utf-8")
        write_result_text(folder, chosen, provenance)


def _write_group_page(chain: Pipeline, group: Any, chosen: Any, facts: dict[str, Any], folder: Path) -> None:
    figures = chain.module.group_figures(group, chosen) if chain.part("group_figures") else {}
    page = nt.report.group_report(chain.name, group, facts, figures)
    (folder / "group.html").write_text(page, encoding="utf-8")
    if figures:
        import matplotlib.pyplot as plt

        for figure in figures.values():
            plt.close(figure)


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
