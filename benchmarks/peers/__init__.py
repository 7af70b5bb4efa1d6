"""Programs that run in a Python of their own, where another package is installed; arrays in, arrays out.

Name that Python in ``NEUROTOOLS_PEERS``; it needs dynamax, nemos, scikit-network and tensortools, which are
no part of this project and would bring JAX into it: ``python -m venv peers && peers/bin/pip install dynamax
nemos scikit-network tensortools tqdm numba matplotlib munkres``. Where it is not given, what needs it is left
as it was found last.
``python -m benchmarks.peers`` makes the frozen numbers under ``tests/reference`` anew.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.record import DataAbsentError

HERE = Path(__file__).resolve().parent


def run_peer(program: str, *, python: str | None = None, **arrays: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays that ``program``.py of this folder makes of the arrays given, in this Python or the peers'."""
    python = python or os.environ.get("NEUROTOOLS_PEERS")
    if not python or not Path(python).exists():
        raise DataAbsentError(f"a Python with the peers of {program}, named in NEUROTOOLS_PEERS")
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
        np.savez(given, **arrays)
        done = subprocess.run(
            [python, HERE / f"{program}.py", given, found], check=False, stderr=subprocess.PIPE, text=True
        )
        if done.returncode and "ModuleNotFoundError" in done.stderr:
            raise DataAbsentError(f"a package in {python}: {done.stderr.splitlines()[-1]}")
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr}")
        with np.load(found) as file:
            return {name: file[name] for name in file.files}
