"""One recording through one pipeline: what a worker process is given, does, and hands back.

Paths travel to the worker and a small record travels back; the result goes to disk where it was made.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from neurotools.errors import NeurotoolsError, ResultError
from neurotools.provenance import content_hash, open_saved, save, settings_dict, versions, write_text

from . import measure, outputs, settings
from .contract import Pipeline, pipeline
from .sources import Source, fingerprint
from .steps import PACKAGES, StepStore, code_version

Told = Callable[[str, str, str], None]


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to be done, in plain values, so that it can travel to another process."""

    pipeline: str
    settings: dict[str, Any]
    source: Source
    folder: str
    work: str
    seed: int | None = None
    threads: int | None = None

    def chosen(self) -> tuple[Any, dict[str, int]]:
        """The settings of this recording, and its seeds."""
        made = settings.build(pipeline(self.pipeline).settings, self.settings)
        return settings.seeded(made, self.seed, self.source.name)


@dataclasses.dataclass(frozen=True)
class Made:
    """A result with all that its page tells of it."""

    recording: xr.DataTree | None
    result: Any
    settings: Any
    provenance: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Record:
    """What became of one recording: ``done``, ``skipped`` or ``failed``."""

    name: str
    status: str
    folder: str
    seconds: float = 0.0
    content_hash: str | None = None
    error: dict[str, str | None] | None = None
    traceback: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The record as plain data, for JSON."""
        return dataclasses.asdict(self)


# ---- is it done? ----------------------------------------------------------------------------------------
def result_key(job: Job, inputs: Mapping[str, Mapping[str, Any]]) -> str:
    """Hash of all that decides a result: pipeline, settings, seeds, content of the input, code."""
    chosen, _ = job.chosen()
    return outputs.text_hash(
        {
            "pipeline": pipeline(job.pipeline).version,
            "settings": settings_dict(chosen),
            "inputs": {name: facts["sha256"] for name, facts in inputs.items()},
            "code": code_version(everything=True),
        }
    )


def finished(job: Job) -> dict[str, Any] | None:
    """The manifest of this job's result when it is complete and nothing it depends on has changed."""
    manifest = outputs.published(Path(job.folder))
    if manifest is None:
        return None
    inputs = fingerprint(job.source, manifest.get("inputs"))
    return manifest if manifest.get("key") == result_key(job, inputs) else None


def read(source: Source, chain: Pipeline, chosen: Any) -> xr.DataTree:
    """A recording, or several as the pipeline joins them."""
    if not source.parts:
        return source.load()
    return chain.module.join({part.name: part.load() for part in source.parts}, chosen)


# ---- doing it -------------------------------------------------------------------------------------------
def do(job: Job, told: Told = lambda name, step, state: None) -> Record:
    """Analyse one recording, or find that it is done; whatever fails is recorded and not raised."""
    failure = Path(job.work) / "failure.json"
    with measure.measured(job.threads) as cost:
        try:
            status, content = _do(job, cost, told)
        # Whatever one recording meets must not stop the others; it is reported with its traceback.
        except Exception as error:
            record = Record(
                job.source.name, "failed", job.folder, cost.seconds(),
                error=_as_dict(error), traceback=traceback.format_exc(),
            )  # fmt: skip
            write_text(failure, json.dumps(record.as_dict(), indent=2))
            return record
    failure.unlink(missing_ok=True)
    return Record(job.source.name, status, job.folder, cost.seconds(), content)


def _as_dict(error: Exception) -> dict[str, str | None]:
    if isinstance(error, NeurotoolsError):
        return error.as_dict()
    return {"error": type(error).__name__, "code": None, "problem": str(error) or repr(error)}


def _do(job: Job, cost: measure.Cost, told: Told) -> tuple[str, str]:
    outputs.move_in(Path(job.work), Path(job.folder))
    manifest = finished(job)
    if manifest is not None:
        return "skipped", manifest["content_hash"]
    chain = pipeline(job.pipeline)
    chosen, _ = job.chosen()
    name = job.source.name
    inputs = fingerprint(job.source)
    told(name, "read", "begun")
    recording = read(job.source, chain, chosen)
    told(name, "read", "done")
    store = StepStore(Path(job.work) / "steps", lambda step, state: told(name, step, state))
    result = chain.module.analyse(recording, chosen, store)
    facts = {"pipeline": chain.name, "key": result_key(job, inputs), "inputs": inputs}
    told(name, "report", "begun")
    with outputs.staged(Path(job.work), Path(job.folder), facts) as folder:
        _write_result(chain, result, folder, facts)
        provenance = _provenance(job, facts, store, cost)
        write_result_text(folder, chosen, provenance)
        write_pages(chain, Made(recording, result, chosen, provenance), folder)
    store.forget_others()
    told(name, "report", "done")
    return "done", str(facts["content_hash"])


def _write_result(chain: Pipeline, result: Any, folder: Path, facts: dict[str, Any]) -> None:
    tables = chain.module.tables(result) if chain.part("tables") else {}
    save(result, folder / "fit.nc")
    written = open_saved(folder / "fit.nc")
    if content_hash(written) != content_hash(result):
        raise ResultError("what stands on disk is not what was computed", path=folder / "fit.nc")
    for name, table in tables.items():
        path = folder / "tables" / f"{name}.tsv"
        path.parent.mkdir(exist_ok=True)
        table.to_csv(path, sep="\t", index=False, lineterminator="\n", na_rep="n/a")
    for name, content in (chain.module.files(result) if chain.part("files") else {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    facts["content_hash"] = content_hash(written, *(tables[name] for name in sorted(tables)))


def write_result_text(folder: Path, chosen: Any, provenance: Mapping[str, Any]) -> None:
    """Write the settings, as a file that can be run again, and the provenance."""
    (folder / "settings.yaml").write_text(settings.to_yaml(chosen), encoding="utf-8")
    (folder / "provenance.json").write_text(json.dumps(provenance, indent=2), encoding="utf-8")


def _provenance(job: Job, facts: Mapping[str, Any], store: StepStore, cost: measure.Cost) -> dict[str, Any]:
    chosen, seeds = job.chosen()
    return {
        "pipeline": facts["pipeline"],
        "pipeline_file": job.pipeline if job.pipeline.endswith(".py") else None,
        "recording": job.source.name,
        "source": job.source.path,
        "parts": [[part.name, part.path] for part in job.source.parts],
        "created": measure.now(),
        **measure.machine(),
        "content_hash": facts["content_hash"],
        "settings": settings_dict(chosen),
        "seeds": {"root": job.seed, **seeds},
        "inputs": facts["inputs"],
        "versions": versions(*PACKAGES),
        "code": code_version(everything=True),
        "threads": {"asked": job.threads, **measure.thread_facts()},
        "steps": store.record,
        "wall_time_s": cost.seconds(),
        "peak_memory_mb": measure.peak_memory_mb(),
        "warnings": cost.warnings(),
    }


def write_pages(chain: Pipeline, made: Made, folder: Path) -> None:
    """Draw the figures of a result, as png and svg, and write its page."""
    shown = (made.result, made.recording, made.settings)
    figures = chain.module.figures(*shown) if chain.part("figures") else {}
    if figures:
        (folder / "figures").mkdir(exist_ok=True)
    for name, figure in figures.items():
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            figure.savefig(folder / "figures" / f"{name}.{kind}", dpi=150, metadata=metadata)
    if chain.part("page"):
        page = chain.module.page(made.recording, made.result, figures, made.settings, made.provenance)
        (folder / "report.html").write_text(page, encoding="utf-8")
    if figures:
        import matplotlib.pyplot as plt

        for figure in figures.values():
            plt.close(figure)


def rebuild(job: Job) -> None:
    """Draw the figures and write the page of a finished result again, computing nothing."""
    folder = Path(job.folder)
    manifest = outputs.published(folder)
    if manifest is None:
        raise ResultError("there is no complete result in the folder", path=folder)
    chosen, _ = job.chosen()
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    try:
        recording = read(job.source, pipeline(job.pipeline), chosen)
    except NeurotoolsError:  # the data may be elsewhere by now; the result stands on its own
        recording = None
    facts = {key: manifest[key] for key in ("pipeline", "key", "inputs", "content_hash")}
    with outputs.staged(Path(job.work), folder, facts) as staging:
        for name in manifest["files"]:
            if not name.startswith("figures/") and name != "report.html":
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(folder / name, staging / name)
        result = open_saved(staging / "fit.nc")
        write_pages(pipeline(job.pipeline), Made(recording, result, chosen, provenance), staging)
