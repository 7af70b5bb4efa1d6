"""Killed at any moment, a run leaves nothing or a complete result, and the same command finishes it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

from neurotools.pipelines import outputs
from neurotools.pipelines.runner import run

import neurotools as nt

from .conftest import TOY

CODE = (
    "import sys; from neurotools.pipelines.runner import run; print('ready', flush=True); "
    "run(*sys.argv[1:4], overrides=['wait_s=0.15'])"
)
FINAL = {"fit.nc", "report.html", "provenance.json", "settings.yaml", "manifest.json", "tables", "figures"}


def start(recording, out) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, TOY, str(recording), str(out)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    return process


def test_kill_and_run_again(recording, tmp_path, steps_done):
    wanted = run(TOY, recording, tmp_path / "whole", overrides=["wait_s=0.15"]).records[0].content_hash
    times = random.Random(20261121)
    for turn in range(5):
        out = tmp_path / f"out{turn}"
        steps_done()
        process = start(recording, out)
        time.sleep(times.uniform(0.0, 1.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        seen = {path.name for path in out.iterdir()} if out.exists() else set()
        assert seen <= FINAL | {".work"}
        if outputs.published(out) is not None:
            nt.open_fit(out / "fit.nc")
        kept = (
            {path.name.split("-")[0] for path in (out / ".work").rglob("steps/*.nc")}
            if out.exists()
            else set()
        )
        done_before = steps_done()
        outcome = run(TOY, recording, out, overrides=["wait_s=0.15"])
        assert outcome.records[0].content_hash == wanted
        assert outputs.published(out)["content_hash"] == wanted
        assert not set(steps_done()) & kept, "a finished step was done again"
        assert kept <= set(done_before)
        assert not list(out.rglob("*.part"))
        assert not list(out.rglob("staging-*"))


def test_an_interrupt_ends_with_130_and_resumes(recording, tmp_path, steps_done):
    code = "from neurotools.pipelines.command_line import main; main()"
    words = [
        sys.executable,
        "-c",
        code,
        "run",
        TOY,
        str(recording),
        str(tmp_path / "out"),
        "--set",
        "wait_s=1.5",
    ]
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=os.environ)
        deadline = time.monotonic() + 30
        while not (tmp_path / "steps.log").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "same command resumes" in said
        assert not (tmp_path / "out" / "fit.nc").exists()
        assert steps_done() == ["mean"]
