"""What a function cannot work with ends in a named error, never in one from inside a library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_data_that_cannot_be_used_is_refused_by_name():
    """In a process of its own: here the type checker would refuse first, which users do not have."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("wrong_input_cases.py")],
        check=False, capture_output=True, text=True, env={**os.environ, "MPLBACKEND": "Agg"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {}
