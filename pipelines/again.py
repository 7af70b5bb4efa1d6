"""Pages of a finished run made again, without computing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neurotools.errors import NeurotoolsError, ResultError

from . import outputs
from .contract import pipeline
from .job import Job, rebuild
from .sources import Source


def rebuild_pages(folder: Path) -> list[Path]:
    """Draw the figures and write the page of every complete result in an output folder again.

    Parameters
    ----------
    folder : pathlib.Path
        What a run wrote: the folder of one recording, or the one that holds those of several.

    Returns
    -------
    list of pathlib.Path
        The pages.

    Raises
    ------
    ResultError
        There is no complete result in the folder.
    """
    folder = folder.resolve()
    results = [folder] if (folder / "fit.nc").exists() else sorted(p.parent for p in folder.glob("*/fit.nc"))
    results = [path for path in results if outputs.published(path) is not None]
    if not results:
        raise ResultError(
            "there is no complete result in the folder", path=folder, fix="run the pipeline first"
        )
    name = _facts(results[0])["pipeline"]
    # A recording inside a collection may be given too; the lock is that of its run.
    root = folder.parent if (folder.parent / outputs.WORK).exists() and not _has_work(folder) else folder
    with outputs.claimed(root, name) as work:
        for path in results:
            rebuild(_job(path, work))
    return [path / "report.html" for path in results]


def _has_work(folder: Path) -> bool:
    return (folder / outputs.WORK / outputs.OWNER).exists()


def _facts(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "provenance.json").read_text(encoding="utf-8"))


def _job(folder: Path, work: Path) -> Job:
    facts = _facts(folder)
    name = facts["pipeline_file"] or facts["pipeline"]
    try:
        pipeline(name)
    except NeurotoolsError as error:
        raise ResultError(
            "the pipeline that made this result is not here", path=folder, found=name
        ) from error
    parts = tuple(Source(*part) for part in facts.get("parts", ()))
    source = Source(facts["recording"], facts["source"], parts)
    # The settings in the provenance already hold this recording's seeds.
    return Job(name, facts["settings"], source, str(folder), str(work / source.name))
