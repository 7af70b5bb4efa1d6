"""Killed at random moments: what stands on disk is old, new or nothing, and the same call completes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

import neurotools as nt
from benchmarks.record import Row
from neurotools.errors import NeurotoolsError
from neurotools.provenance import file_hash
from neurotools.schema import recording_tree

SEED = 20261121
PIPELINE = "dynamic-connectome"
SETTINGS = (
    "smooth_s=0.0667",
    "model.rank=2",
    "model.n_restarts=4",
    "communities.degree_corrected=false",
    "nulls=0",
)
PATIENCE_S = 60.0
STEPS_ALONE = """
'''The steps of the dynamic connectome, without pictures and page.'''
from neurotools.pipelines.dynamic_connectome import Settings, analyse, tables
"""
N_UNITS = 12  # of the songbird recording, so that a run takes seconds


def ten_kills() -> list[Row]:
    """Ten kills of a running pipeline and of each kind of saving, in forks of this process."""
    return [*saving(10), *running(10, in_fork)]


def fifty_kills() -> list[Row]:
    """Fifty kills of the steps of the pipeline, without its pictures, started from the command line."""
    return running(50, from_command_line, STEPS_ALONE)


def fifty_saves() -> list[Row]:
    """Fifty kills of each kind of saving."""
    return saving(50)


# ---- killing ------------------------------------------------------------------------------------------
class Killable:
    """Something under way in another process."""

    def __init__(self, pid: int, wait: Callable[[], int]) -> None:
        self.pid, self.wait = pid, wait

    def kill_after(self, seconds: float, begun: Path | None = None) -> bool:
        """Kill it after a while, counted from when ``begun`` is there; whether it was still at work."""
        deadline = time.monotonic() + PATIENCE_S
        while begun is not None and not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(seconds)
        os.kill(self.pid, signal.SIGKILL)  # until it is waited for, the number stays its own
        return self.wait() == -signal.SIGKILL


def forked(act: Callable[[], object]) -> Killable:
    """Do one thing, silently, in a copy of this process, which has everything imported."""
    pid = os.fork()
    if pid == 0:
        try:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            act()
        finally:
            os._exit(0)
    return Killable(pid, lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


# ---- nt.save --------------------------------------------------------------------------------------------
def saving(n_kills: int) -> list[Row]:
    """Kill ``nt.save`` while it writes over an older result; half of the time there is none."""
    old, new = (
        xr.Dataset({"x": (("row", "column"), np.full((4000, 500), value))}, attrs={"version": int(value)})
        for value in (1.0, 2.0)
    )
    rng, rows = np.random.default_rng(SEED), []
    for suffix in (".nc", ".zarr"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"result{suffix}"
            lasts = timed(lambda path=path: nt.save(new, path))
            path = Path(folder) / f"target{suffix}"
            found: Counter[str] = Counter()
            for turn in range(n_kills):
                remove(path)
                if turn % 2:
                    nt.save(old, path)
                run = forked(lambda path=path: nt.save(new, path))
                in_time = run.kill_after(rng.uniform(0, 1.2 * lasts))
                found[what_stands(path, old, new)] += 1
                found["killed in time"] += in_time
        note = ", ".join(f"{count} {what}" for what, count in sorted(found.items()))
        compared = f"kills of nt.save to {suffix} that left a damaged result, of {n_kills}"
        rows.append(Row(compared, found["damaged"], "<= 0", note=note))
    return rows


def timed(act: Callable[[], object]) -> float:
    """Wall seconds of the second of two calls."""
    act()
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def remove(path: Path) -> None:
    """Take away what earlier turns left."""
    for rest in [path, *path.parent.glob(f".{path.name}*")]:
        if rest.is_dir():
            shutil.rmtree(rest)
        else:
            rest.unlink(missing_ok=True)


def what_stands(path: Path, old: xr.Dataset, new: xr.Dataset) -> str:
    """``absent``, ``old``, ``new`` or ``damaged``."""
    if not path.exists():
        return "absent"
    try:
        found = nt.open_fit(path)
    except NeurotoolsError:
        return "damaged"
    for what, whole in (("old", old), ("new", new)):
        if nt.content_hash(found) == nt.content_hash(whole):
            return what
    return "damaged"


# ---- a running pipeline -----------------------------------------------------------------------------------
def running(n_kills: int, begin: Callable[[str, Path, Path], Killable], own: str | None = None) -> list[Row]:
    """Kill a run of the main pipeline, or of one that ``own`` is the text of, and give the command again."""
    from neurotools.pipelines import outputs

    rng, found = np.random.default_rng(SEED), Counter()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        name = PIPELINE if own is None else str(home / "steps_alone.py")
        if own is not None:
            Path(name).write_text(own)
        recording = small_recording(home / "small.nc")
        run_here(name, recording, home / "first")
        start = time.perf_counter()
        wanted = run_here(name, recording, home / "second")
        lasts = time.perf_counter() - start
        for turn in range(n_kills):
            out = home / f"out{turn}"
            begun = out / outputs.WORK
            found["killed in time"] += begin(name, recording, out).kill_after(
                rng.uniform(0, 1.1 * lasts), begun
            )
            manifest = outputs.published(out) if out.exists() else None
            found["complete when killed"] += manifest is not None
            found["other content"] += manifest is not None and manifest["content_hash"] != wanted
            found["unreadable"] += not can_be_opened(out / "fit.nc")
            found["partial"] += partial_files(out)
            kept = kept_steps(out)
            found["differing"] += run_here(name, recording, out) != wanted
            found["steps found finished"] += len(kept)
            found["redone"] += len(kept - reused_steps(out))
            found["rubbish"] += bool([*out.rglob("*.part"), *out.rglob("staging-*")])
            shutil.rmtree(out)
    note = f"{found['killed in time']} killed at work, {found['steps found finished']} finished steps kept, "
    note += f"{found['complete when killed']} results were already complete; {lasts:.1f} s a run"
    return [
        Row(
            f"reruns whose content differs from a run never killed, of {n_kills}",
            found["differing"], "<= 0", note=note,
        ),
        Row("complete results with other content than a run never killed", found["other content"], "<= 0"),
        Row("kills that left a result that cannot be opened", found["unreadable"], "<= 0"),
        Row("files under their final names that were not whole", found["partial"], "<= 0"),
        Row("finished steps that were done again", found["redone"], "<= 0"),
        Row("reruns that left temporary files behind", found["rubbish"], "<= 0"),
    ]  # fmt: skip


def partial_files(out: Path) -> int:
    """Files under their final names that are not those of a finished result."""
    from neurotools.pipelines import outputs

    shown = [f for f in out.rglob("*") if f.is_file() and outputs.WORK not in f.relative_to(out).parts]
    manifests = [out / outputs.MANIFEST, *out.glob(f"{outputs.WORK}/*/ready/{outputs.MANIFEST}")]
    stated = {}
    for file in manifests:
        if file.exists():
            stated |= json.loads(file.read_text())["files"]
    names = {file: file.relative_to(out).as_posix() for file in shown}
    return sum(
        name != outputs.MANIFEST and stated.get(name, {}).get("sha256") != file_hash(file)
        for file, name in names.items()
    )


def kept_steps(out: Path) -> set[str]:
    """Names of the steps that a run killed before its result was ready had finished."""
    if (out / "manifest.json").exists() or [*out.glob(".work/*/ready/manifest.json")]:
        return set()
    return {path.name.rsplit("-", 1)[0] for path in (out / ".work").rglob("steps/*.nc")}


def reused_steps(out: Path) -> set[str]:
    """Names of the steps that the finished run took from before."""
    steps = json.loads((out / "provenance.json").read_text())["steps"]
    return {name for name, facts in steps.items() if facts["reused"]}


def small_recording(path: Path) -> Path:
    """Some units of the bundled songbird recording, in a file of their own."""
    activity = nt.load("songbird-hvc")["calcium/activity"].isel(unit=slice(N_UNITS))
    return nt.save(recording_tree({"calcium/activity": activity}), path)


def run_here(name: str, recording: Path, out: Path) -> str:
    """Run a pipeline in this process; the hash of its content."""
    from neurotools.pipelines.runner import run

    record = run(name, recording, out, overrides=list(SETTINGS)).records[0]
    if record.content_hash is None:
        raise RuntimeError(f"the run failed: {record.error}")
    return record.content_hash


def can_be_opened(path: Path) -> bool:
    """Whether a result is whole, or not there."""
    if not path.exists():
        return True
    try:
        nt.open_fit(path)
    except NeurotoolsError:
        return False
    return True


def in_fork(name: str, recording: Path, out: Path) -> Killable:
    """A run in a copy of this process."""
    return forked(lambda: run_here(name, recording, out))


def from_command_line(name: str, recording: Path, out: Path) -> Killable:
    """``neurotools run`` in a process of its own."""
    words = [sys.executable, "-c", "from neurotools.pipelines.command_line import main; main()", "run"]
    words += [name, str(recording), str(out)]
    words += [word for setting in SETTINGS for word in ("--set", setting)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return Killable(process.pid, process.wait)
