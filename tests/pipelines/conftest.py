"""A toy pipeline, given by its path, and toy recordings to run it on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import neurotools as nt
from neurotools import schema

TOY = str(Path(__file__).parent / "toy_pipeline.py")


def write_recording(path: Path, *, n_units: int = 4, seed: int = 0, scale: float = 1.0) -> Path:
    values = np.random.default_rng(seed).normal(size=(n_units, 50)) * scale
    activity = schema.continuous(values, dim="unit", sfreq=10.0, units="1")
    return nt.save(schema.recording_tree({"calcium/activity": activity}), path)


@pytest.fixture
def recording(tmp_path) -> Path:
    return write_recording(tmp_path / "one.nc")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three recordings; the second breaks the toy."""
    home = tmp_path / "recordings"
    home.mkdir()
    for i, name in enumerate(("anna", "berta", "carla")):
        write_recording(home / f"{name}.nc", seed=i, scale=1e9 if name == "berta" else 1.0)
    return home


@pytest.fixture
def steps_done(tmp_path, monkeypatch):
    """Function that returns the steps really computed since it was last called."""
    log = tmp_path / "steps.log"
    monkeypatch.setenv("TOY_LOG", str(log))

    def read() -> list[str]:
        words = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return words

    return read


def command(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``neurotools`` in a process of its own."""
    code = "from neurotools.pipelines.command_line import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True, text=True, env={**os.environ, **environment}, timeout=120, check=False,
    )  # fmt: skip
