"""What a run took and ran on: wall time, peak memory, threads, warnings. Provenance, never content."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Cost:
    """A running clock, and the warnings raised so far."""

    start: float = field(default_factory=time.perf_counter)
    caught: list[warnings.WarningMessage] = field(default_factory=list)

    def seconds(self) -> float:
        """Wall time since the start."""
        return round(time.perf_counter() - self.start, 3)

    def warnings(self) -> list[str]:
        """Each warning once, in the order they came."""
        return list(dict.fromkeys(f"{entry.category.__name__}: {entry.message}" for entry in self.caught))


@contextlib.contextmanager
def measured(threads: int | None = None) -> Iterator[Cost]:
    """Collect warnings and time, with BLAS held to ``threads`` threads (None leaves it alone)."""
    import threadpoolctl

    _reset_peak()
    with threadpoolctl.threadpool_limits(threads), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        yield Cost(caught=caught)


def _reset_peak() -> None:
    """Start the kernel's record of peak memory anew, so that it is this recording's and not the worker's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> float:
    """Highest resident memory of this process, in MB of 10^6 bytes."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
        if found:
            return round(int(found[1]) * 1024 / 1e6, 1)
    import psutil

    memory = psutil.Process().memory_info()
    return round(getattr(memory, "peak_wset", memory.rss) / 1e6, 1)


def thread_facts() -> dict[str, Any]:
    """Threads of the BLAS and OpenMP libraries that are loaded."""
    import threadpoolctl

    pools = threadpoolctl.threadpool_info()
    return {
        "cpus": available_cpus(),
        "pools": {
            f"{pool.get('internal_api') or pool.get('user_api')} {pool.get('version') or ''}".strip(): pool[
                "num_threads"
            ]
            for pool in pools
        },
    }


def available_cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, str]:
    """The computer and the Python that ran."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "command": " ".join(Path(word).name if i == 0 else word for i, word in enumerate(sys.argv)),
    }


def now() -> str:
    """The time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
