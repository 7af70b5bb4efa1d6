"""Killed at any moment, a run leaves nothing or a complete result, and the same command finishes it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest
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


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)])
def test_an_interrupt_ends_with_130_and_resumes(folder, tmp_path, steps_done, number, workers):
    # Started in the background by a shell, this test run ignores interrupts, and so would its children.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{listen}; from neurotools.pipelines.command_line import main; main()"
    options = ["--set", "wait_s=1.5", "--workers", str(workers)]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", TOY, folder, tmp_path / "out", *options],
        stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not (tmp_path / "steps.log").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "same command resumes" in said
    assert "Traceback" not in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".work"}
    assert set(steps_done()) == {"mean"}
    outcome = run(TOY, folder, tmp_path / "out", overrides=["wait_s=0"])
    assert [record.status for record in outcome.records] == ["done", "failed", "done"]
