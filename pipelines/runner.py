"""Run a named pipeline on every recording of a source: checked first, resumable, each on its own.

    outcome = run("dynamic-connectome", "recordings/", "results/", overrides=["rank=6"], workers=4)

One recording is written directly into the output folder; the recordings of a collection each into a folder
of their own, beside an index. What is done and unchanged is skipped. A recording that fails is reported and
does not stop the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurotools.errors import NeurotoolsError, ResultError, SettingsError
from neurotools.provenance import settings_dict

from . import bids, executor, outputs, settings
from .contract import Pipeline, pipeline
from .executor import Execution
from .group import write_group
from .job import Job, Record, do, finished, result_key
from .sources import Found, as_one, find, unchanged

LEVELS = ("participant", "group")
EVERYTHING = bids.Filter()
# Faults of what the user gave; for a single recording they mean "bad settings or input".
BAD_INPUT = {"FileError", "SchemaError", "SettingsError", "DeviceError", "MissingExtraError"}


@dataclass(frozen=True)
class Plan:
    """What a run will do, checked and written nowhere yet."""

    pipeline: str
    chosen: Any
    found: Found
    out: Path
    jobs: tuple[Job, ...]
    execution: Execution = Execution()
    level: str | None = None

    def state(self, job: Job) -> str:
        """``new``, ``changed`` or ``done``, told by size and date without reading any data."""
        manifest = outputs.published(Path(job.folder), by_size=True)
        if manifest is None:
            return "new"
        inputs = manifest.get("inputs", {})
        same = unchanged(job.source, inputs) and manifest.get("key") == result_key(job, inputs)
        return "done" if same else "changed"

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data, for JSON."""
        return {
            "pipeline": self.pipeline,
            "out": str(self.out),
            "settings": settings_dict(self.chosen),
            "recordings": [
                {
                    "name": job.source.name,
                    "source": job.source.path,
                    "folder": job.folder,
                    "state": self.state(job),
                }
                for job in self.jobs
            ],
            "left_out": list(self.found.left_out),
        }  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of every recording, and the page to look at."""

    pipeline: str
    out: Path
    records: tuple[Record, ...]
    several: bool

    @property
    def exit_status(self) -> int:
        """0 fine, 1 some recordings failed, 2 the only recording cannot be what was needed."""
        failed = [record for record in self.records if record.status == "failed"]
        if not failed:
            return 0
        lone = failed[0].error if not self.several else None
        return 2 if lone is not None and lone["error"] in BAD_INPUT else 1

    @property
    def page(self) -> Path | None:
        """The report of the one recording, or the index of several."""
        file = self.out / ("index.html" if self.several else "report.html")
        return file if file.exists() else None

    def as_dict(self) -> dict[str, Any]:
        """The outcome as plain data, for JSON."""
        return {
            "pipeline": self.pipeline,
            "out": str(self.out),
            "exit_status": self.exit_status,
            "page": None if self.page is None else str(self.page),
            "recordings": [record.as_dict() for record in self.records],
        }


class Watcher:
    """Told what happens during a run; this one says nothing, and the terminal has another."""

    def begin(self, plan: Plan) -> None:
        """The run starts."""

    def step(self, name: str, step: str, state: str) -> None:
        """A step of a recording in this process is ``begun``, ``done`` or ``reused``."""

    def ended(self, record: Record) -> None:
        """A recording is done, skipped or failed."""

    def end(self) -> None:
        """The run is over, in whatever way."""


# ---- before any work ------------------------------------------------------------------------------------
def make_plan(
    name: str,
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    settings_file: str | Path | None = None,
    overrides: Sequence[str] = (),
    chosen: Any = None,
    level: str | None = None,
    only: bids.Filter = EVERYTHING,
    execution: Execution | str | Path | None = None,
    workers: int | None = None,
    threads: int | None = None,
    seed: int | None = None,
) -> Plan:
    """Check everything that can be checked before any work, and write nothing; see ``run``."""
    chain = pipeline(name)
    where = executor.gathered(execution, workers, threads)
    if level is not None and level not in LEVELS:
        raise SettingsError("the level is participant or group", found=level)
    if chosen is None:
        chosen = settings.gather(chain.settings, settings_file, overrides, seed)
    out = Path(out).expanduser().resolve()
    found = together(bids.chosen(find(source, out=out), only), chain, chosen)
    outputs.check(out, chain.name)
    plain = settings_dict(chosen)
    jobs = tuple(
        Job(
            pipeline=_portable(name),
            settings=plain,
            source=entry,
            folder=str(out / entry.name if found.several else out),
            work=str(out / outputs.WORK / entry.name),
            seed=seed,
            threads=where.each_threads,
        )
        for entry in found.recordings
    )
    return Plan(chain.name, chosen, found, out, jobs, where, level)


def together(found: Found, chain: Pipeline, chosen: Any) -> Found:
    """The recordings as they are analysed: each by itself, or all as one where the settings ask for it."""
    if not getattr(chosen, "join_subjects", False):
        return found
    if chain.part("join") is None:
        raise SettingsError(
            "the pipeline cannot join recordings", found=chain.name, fix="join_subjects=false"
        )
    return as_one(found, "subjects")


def _portable(name: str) -> str:
    return str(Path(name).resolve()) if name.endswith(".py") else name


# ---- the run --------------------------------------------------------------------------------------------
def run(
    name: str,
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    watcher: Watcher | None = None,
    **how: Any,
) -> Outcome:
    """Run a pipeline on every recording of a source; run again, it resumes.

    Parameters
    ----------
    name : str
        A registered pipeline (``"dynamic-connectome"``), or the path of a Python file that is one.
    source : path, str, or sequence of them
        A sample name, a file, a folder, ``@list.txt``, or a list of these.
    out : path
        New, empty, or an earlier output of the same pipeline.
    watcher : Watcher, optional
        Told about progress.
    **how
        ``settings_file``, ``overrides``, ``chosen`` (a ready Settings object), ``level``, ``only`` (a
        filter of BIDS labels), ``execution`` (an ``Execution``, or a YAML file that describes one),
        ``workers``, ``threads`` (of BLAS in each process), ``seed`` (root of the seeds of all recordings).

    Returns
    -------
    Outcome

    Raises
    ------
    NeurotoolsError
        Settings, source or output folder cannot be used; nothing was computed.
    """
    return carry_out(make_plan(name, source, out, **how), watcher)


def carry_out(plan: Plan, watcher: Watcher | None = None) -> Outcome:
    """Do what a plan says."""
    watcher = watcher or Watcher()
    records: dict[str, Record] = {}
    with outputs.claimed(plan.out, plan.pipeline):
        watcher.begin(plan)
        try:
            if plan.level == "group":
                records = {job.source.name: _standing(job) for job in plan.jobs}
            else:
                for record in _records(plan, watcher):
                    records[record.name] = record
                    watcher.ended(record)
            ordered = tuple(records[job.source.name] for job in plan.jobs)
            if plan.found.several:
                write_group(plan.jobs, ordered, plan.chosen, plan.out, plan.level != "participant")
        finally:
            watcher.end()
    return Outcome(plan.pipeline, plan.out, ordered, plan.found.several)


def _standing(job: Job) -> Record:
    """What the folder of a recording holds, whatever its settings were."""
    manifest = outputs.published(Path(job.folder))
    if manifest is None:
        error = ResultError(
            "there is no complete result", path=job.folder, fix="run the participant level first"
        )
        return Record(job.source.name, "failed", job.folder, error=error.as_dict())
    return Record(job.source.name, "skipped", job.folder, content_hash=manifest["content_hash"])


def _records(plan: Plan, watcher: Watcher) -> Iterator[Record]:
    alone = plan.execution.chosen == "processes" and len(plan.jobs) == 1
    if alone or plan.execution.chosen == "serial":
        for job in plan.jobs:
            yield do(job, watcher.step)
        return
    waiting = []
    for job in plan.jobs:  # starting workers takes a second, which a run with nothing to do should not pay
        manifest = _quickly_finished(job)
        if manifest is None:
            waiting.append(job)
        else:
            yield Record(job.source.name, "skipped", job.folder, content_hash=manifest["content_hash"])
    yield from executor.records(waiting, plan.execution)


def _quickly_finished(job: Job) -> dict[str, Any] | None:
    try:
        return finished(job)
    except (NeurotoolsError, OSError):
        return None  # the worker meets the same fault and reports it
