"""Runs of many recordings: the same on every engine; what the runner takes; plans; a large image."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import neurotools as nt
from benchmarks.checks.kills import SETTINGS
from benchmarks.checks.memory import _header
from benchmarks.record import Row
from neurotools import schema

SIZES = (1, 4, 16, 64)
N_PLANNED = 10_000
IMAGE_BYTES = 20 * 10**9
VOLUME = (200, 200, 100)
N_REGIONS = 100
BUSY = 40  # volumes of the image that hold numbers; the others are holes in the file
# A pipeline that does next to nothing and draws nothing: what it takes is what the runner takes.
NOTHING = '''
"""Nothing but a mean."""
from dataclasses import dataclass
import neurotools as nt

@dataclass(frozen=True, kw_only=True)
class Settings:
    """None."""

def analyse(recording, settings, step):
    return nt.signal(recording).mean("time").to_dataset(name="mean")
'''


# ---- the same content everywhere ------------------------------------------------------------------------
def engines() -> list[Row]:
    """One run here, in two processes, on a scheduler with two workers, and with one of them killed."""
    from neurotools.pipelines.executor import Execution
    from neurotools.pipelines.runner import Watcher, run

    class Killer(Watcher):
        """Kills a process when the first recording is done."""

        def __init__(self, victim: subprocess.Popen[bytes]) -> None:
            self.victim = victim

        def ended(self, record: object) -> None:
            if self.victim.poll() is None:
                self.victim.send_signal(signal.SIGKILL)
                self.victim.wait()

    rows = []
    with tempfile.TemporaryDirectory() as scratch, cluster(Path(scratch)) as (address, workers):
        home = Path(scratch)
        folder = pieces(home / "recordings", 4)

        def hashes(out: str, **how: object) -> dict[str, str | None]:
            outcome = run("dynamic-connectome", folder, home / out, overrides=list(SETTINGS), seed=3, **how)
            return {record.name: record.content_hash for record in outcome.records}

        dask = Execution(engine="dask", address=address)
        wanted = hashes("serial", threads=1)
        killer = Killer(workers[0])
        for what, found in (
            ("two processes", hashes("processes", workers=2)),
            ("a Dask scheduler with two workers", hashes("dask", execution=dask)),
            ("one of two workers killed half-way", hashes("hurt", execution=dask, watcher=killer)),
        ):
            differing = sum(found.get(name) != content for name, content in wanted.items())
            note = f"{len(wanted)} recordings through the pipeline dynamic-connectome, one thread"
            rows.append(Row(f"{what}: results that differ from a serial run", differing, "<= 0", note=note))
        rows.append(Row("workers that were killed in that run", killer.victim.poll() is not None, ">= 1"))
        rows.append(Row("serial results that failed", sum(c is None for c in wanted.values()), "<= 0"))
    return rows


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler in a process of its own on this machine, with two workers in theirs."""
    file = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    here = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    started = [subprocess.Popen([*dask, "scheduler", *here], **quiet)]  # type: ignore[call-overload]
    how = ["--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    for _ in range(2):
        started.append(subprocess.Popen([*dask, "worker", *how], env=environment, **quiet))  # type: ignore[call-overload]
    try:
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield json.loads(file.read_text())["address"], started[1:]
    finally:
        for process in started:
            process.kill()
            process.wait()


def pieces(folder: Path, n: int) -> Path:
    """Stretches of some units of the bundled songbird recording, each in a file of its own."""
    folder.mkdir()
    activity = nt.load("songbird-hvc")["calcium/activity"].isel(unit=slice(15))
    length = activity.sizes["time"] // n
    for k in range(n):
        part = activity.isel(time=slice(k * length, (k + 1) * length))
        nt.save(schema.recording_tree({"calcium/activity": part}), folder / f"piece-{k}.nc")
    return folder


# ---- what the runner itself takes -----------------------------------------------------------------------
def scaling() -> list[Row]:
    """Runs of 1 to 64 recordings with one and two workers; and the same with nothing to compute."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        nothing = home / "nothing.py"
        nothing.write_text(NOTHING)
        for workers in (1, 2):
            walls = {n: _cost("quality", home, n, workers, seconds=600) for n in (*SIZES[:1], *SIZES)}
            for n, (wall, _) in walls.items():
                rows.append(Row(f"quality of {n} recordings, workers: {workers}", wall, unit="s"))
            _cost(str(nothing), home, 1, workers, seconds=5)  # first import
            each = [_each(str(nothing), home, workers) for _ in range(3)]
            wall, taken = (min(values) for values in zip(*each, strict=True))
            bare, bare_taken = _without_runner(home)
            words = f"the runner itself, each recording, workers: {workers}"
            note = f"a run less reading and analysis, no page; {taken - bare_taken:.0f} ms of processor time"
            rows.append(Row(words, wall - bare / workers, "<= 50", unit="ms", note=note))
    return rows


def _without_runner(home: Path) -> tuple[float, float]:
    """Milliseconds that reading and analysing a recording takes, on the clock and of the processor."""
    files = sorted((home / f"recordings-{SIZES[-1]}-5").glob("*.nc"))
    start, before = time.perf_counter(), _processors()
    for file in files:
        nt.signal(nt.load(file)).mean("time").to_dataset(name="mean").load()
    wall, taken = time.perf_counter() - start, _processors() - before
    return 1e3 * wall / len(files), 1e3 * taken / len(files)


def _each(pipeline: str, home: Path, workers: int) -> tuple[float, float]:
    """Milliseconds that one more recording takes, on the clock and of processors; starting is left out."""
    few, many = (_cost(pipeline, home, n, workers, seconds=5) for n in SIZES[-2:])
    more = SIZES[-1] - SIZES[-2]
    return 1e3 * (many[0] - few[0]) / more, 1e3 * (many[1] - few[1]) / more


def _cost(pipeline: str, home: Path, n: int, workers: int, seconds: int) -> tuple[float, float]:
    """Wall and processor seconds of one run of ``n`` recordings."""
    from neurotools.pipelines.runner import run

    folder = home / f"recordings-{n}-{seconds}"
    if not folder.exists():
        folder.mkdir()
        for k in range(n):
            values = np.random.default_rng(k).normal(size=(16, 100 * seconds))
            signal = schema.continuous(values, dim="channel", sfreq=100.0, units="V")
            nt.save(schema.recording_tree({"eeg/signal": signal}), folder / f"recording-{k:02d}.nc")
    out = home / "out"
    start, before = time.perf_counter(), _processors()
    outcome = run(pipeline, folder, out, workers=workers, threads=1)
    wall, taken = time.perf_counter() - start, _processors() - before
    if outcome.exit_status:
        raise RuntimeError(f"the run failed: {outcome.records[0].error}")
    shutil.rmtree(out)
    return wall, taken


def _processors() -> float:
    """Seconds of this process and of those that it waited for."""
    return sum(os.times()[:4])


# ---- plans ------------------------------------------------------------------------------------------------
PLAN = """
import re, sys, time
start = time.perf_counter()
from neurotools.pipelines.runner import make_plan
plan = make_plan("quality", sys.argv[1], sys.argv[2]).as_dict()
wall = time.perf_counter() - start
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024 / 1e6
print(len(plan["recordings"]), wall, peak)
"""


def plan() -> list[Row]:
    """What a dry run of ten thousand recordings takes; no content is read for it, only size and date."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        values = np.zeros((4, 50))
        signal = schema.continuous(values, dim="channel", sfreq=100.0, units="V")
        one = nt.save(schema.recording_tree({"eeg/signal": signal}), home / "one.nc")
        for k in range(N_PLANNED):
            name = f"sub-{k // 100:03d}"
            (home / "recordings" / name).mkdir(parents=True, exist_ok=True)
            os.link(one, home / "recordings" / name / f"{name}_run-{k % 100:02d}.nc")
        done = subprocess.run(
            [sys.executable, "-c", PLAN, str(home / "recordings"), str(home / "out")],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    found, wall, peak = map(float, done.stdout.split())
    return [
        Row("recordings that are planned", found, f">= {N_PLANNED}"),
        Row("wall time of the plan, import included", wall, "<= 30", unit="s"),
        Row("peak memory of the process", peak, "<= 1000", unit="MB"),
    ]


# ---- an image larger than memory --------------------------------------------------------------------------
def large_image() -> list[Row]:
    """``quality`` of a 20 GB image, most of which is a hole in the file, in a worker of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        (home / "large").mkdir()
        path = write_image(home / "large" / "bold.nii")
        labels = (np.arange(np.prod(VOLUME)) * N_REGIONS // np.prod(VOLUME) + 1).astype("<i2")
        atlas = home / "large" / "atlas.nii"
        atlas.write_bytes(_header(VOLUME, "int16").binaryblock + b"\0\0\0\0" + labels.tobytes())
        (home / "large" / "recording.yaml").write_text("file: bold.nii\nlabels: atlas.nii\n")
        size = path.stat().st_size
        words = ["run", "quality", str(home / "large"), str(home / "out")]
        code = "from neurotools.pipelines.command_line import main; main()"
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
        )
        wall = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(done.stderr + done.stdout)
        facts = json.loads((home / "out" / "provenance.json").read_text())
        regions = nt.open_fit(home / "out" / "fit.nc")["fmri"].sizes["region"]
    return [
        Row("bytes of the image", size / 1e9, ">= 20", unit="GB", note=f"{BUSY} volumes hold numbers"),
        Row("regions that are judged", regions, f">= {N_REGIONS}"),
        Row("peak memory of the process", facts["peak_memory_mb"], "<= 2000", unit="MB"),
        Row("wall time, the hash of the input included", wall, unit="s"),
    ]


def write_image(path: Path) -> Path:
    """Volumes of which a few hold noise; the others take no disk."""
    volume_bytes = 2 * int(np.prod(VOLUME))
    n_volumes = -(-IMAGE_BYTES // volume_bytes)
    rng = np.random.default_rng(20261121)
    with path.open("wb") as stream:
        stream.write(_header((*VOLUME, n_volumes), "int16").binaryblock + b"\0\0\0\0")
        stream.truncate(352 + volume_bytes * n_volumes)
        for at in np.linspace(0, n_volumes - 1, BUSY).astype(int):
            stream.seek(352 + volume_bytes * int(at))
            stream.write(rng.integers(500, 1500, size=VOLUME, dtype="int16").tobytes())
    return path
