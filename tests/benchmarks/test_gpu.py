"""The command for a GPU: runs with next to nothing installed, and leaves nothing behind without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchmarks.record import ROOT

# What a bare machine lacks; None in sys.modules makes an import fail as if it were not installed.
LACKING = (
    "array_api_compat",
    "jaxtyping",
    "lazy_loader",
    "threadpoolctl",
    "numba",
    "cupy",
    "sklearn",
    "tensorly",
)
BARE = """
import runpy, sys
sys.modules.update(dict.fromkeys({lacking!r}))
sys.argv = ["gpu.py", *{words!r}]
runpy.run_path({script!r}, run_name="__main__")
"""


def bare(tmp_path, *words):
    code = BARE.format(lacking=LACKING, words=words, script=str(ROOT / "benchmarks" / "gpu.py"))
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_all_but_the_gpu_runs_on_a_bare_machine(tmp_path):
    done = bare(tmp_path, "--library", "numpy", "--no-speed", "--folder", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "stand-ins for: array_api_compat, jaxtyping, lazy_loader, numba" in done.stdout
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert (result["name"], result["state"], result["threads"]) == ("gpu", "passed", 1)
    assert len(result["rows"]) > 30


@pytest.mark.parametrize("words", [(), ("--folder", "here")])
def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path, words):
    done = bare(tmp_path, *words)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("There is no GPU to run on, so nothing was run or written: CuPy")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
