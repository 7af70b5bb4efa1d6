"""How long a user waits before anything happens."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.record import Row


def start_up() -> list[Row]:
    """Least wall seconds of five fresh interpreters."""
    return [
        Row(
            "import neurotools",
            _seconds("import neurotools"),
            "<= 0.5",
            unit="s",
            note="interpreter included",
        ),
        Row("neurotools --help", _seconds(_HELP), "<= 1.0", unit="s", note="interpreter included"),
    ]


_HELP = (
    "import sys; sys.argv = ['neurotools', '--help'];"
    "from neurotools.pipelines.command_line import main; main()"
)


def _seconds(code: str) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)
