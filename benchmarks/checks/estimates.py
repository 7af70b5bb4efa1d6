"""What ``describe`` expects of runs on real recordings, beside the time and memory that they take."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.checks import datasets
from benchmarks.record import Row, shared

COMMAND = "from neurotools.pipelines.command_line import main; main()"
UNITS = "[" + ", ".join(f'"{k}"' for k in range(12)) + "]"
# Pipeline -> real recordings (bundled ones by name), and settings that keep a run short.
CASES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("quality", "data/ieeg_mne_sample/sample_ecog.edf", ()),
    ("fmri-connectivity", "data/fmri_hcp_aal2_timeseries/101309_rsfMRI_REST1_LR_tc.mat", ("window_s=60",)),
    ("encoder-pretrain", "eegmmidb", ("encoder=elm-nano", "length_s=1", "steps=40")),
    ("bicluster", "m1-reaching", ("bin_width_s=0.2", "stop_s=30", "draws=30", "tune=20", "chains=1")),
    ("brain-states", "m1-reaching", (f"units={UNITS}", "n_states=2", "n_restarts=2")),
    ("dynamic-connectome", "songbird-hvc", ("rank=4", "smooth_s=0.0667")),
)


def expected_and_taken() -> list[Row]:
    """For each run the larger of taken over expected and its inverse."""
    from neurotools.pipelines.costs import WITHIN

    rows = []
    for pipeline, source, settings in CASES:
        words = [word for one in settings for word in ("--set", one)]
        with tempfile.TemporaryDirectory() as folder:
            path = _described(source, Path(folder))
            said = json.loads(_neurotools("describe", pipeline, path, "--json", *words))["expected"]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            _neurotools("run", pipeline, path, str(Path(folder) / "out"), "--threads", "1", *words)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            facts = json.loads((Path(folder) / "out" / "provenance.json").read_text())
        taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        memory = facts["peak_memory_mb"] / said["estimate"]["memory_mb"]
        name = f"{pipeline}, {Path(source).name}"
        note = f"expected {said['all_seconds']:.0f} s, took {taken:.0f} s of processor time"
        rows.append(Row(f"{name}: time", _off(taken / said["all_seconds"]), f"<= {WITHIN:g}", note=note))
        note = f"expected {said['estimate']['memory_mb']} MB, took {facts['peak_memory_mb']:.0f} MB"
        rows.append(Row(f"{name}: memory", _off(memory), f"<= {WITHIN:g}", note=note))
    return rows


def _described(source: str, folder: Path) -> str:
    """A sample by its name, a folder as it is, a file in a folder with what ``nt.load`` has to be told."""
    if not source.startswith("data/"):
        return source
    path = shared(source)
    if path.is_dir():
        return str(path)
    home = folder / "in" / datasets._put(path, folder / "in")
    return str(home if (home / "recording.yaml").exists() else home / path.name)


def _off(ratio: float) -> float:
    return max(ratio, 1 / ratio)


def _neurotools(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"neurotools {' '.join(words)}: {done.stderr}")
    return done.stdout
