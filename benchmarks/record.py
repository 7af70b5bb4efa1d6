"""What one check found, and how it is written down so that a page can be rendered from it."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neurotools.provenance import versions, write_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "validation"
SHARED = Path(os.environ.get("NEUROTOOLS_SHARED", ROOT.parent / "shared"))


class DataAbsentError(Exception):
    """A recording that the check needs is kept outside the repository and is not there."""


@dataclass(frozen=True)
class Row:
    """One number and the bound it is held to.

    ``bound`` is ``"<= 1e-12"``, ``">= 0.95"`` or ``"report"`` for a number that is stated, not judged.
    """

    compared: str
    number: float
    bound: str = "report"
    interval: tuple[float, float] | None = None
    unit: str = ""
    note: str = ""

    @property
    def verdict(self) -> str:
        """``passed``, ``missed`` or ``reported``."""
        relation, _, limit = self.bound.partition(" ")
        if relation == "report":
            return "reported"
        held = self.number <= float(limit) if relation == "<=" else self.number >= float(limit)
        return "passed" if held and not math.isnan(self.number) else "missed"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One function that compares something and returns rows.

    ``code`` names the files whose change makes its rows stale. A ``speed`` check records and never fails a
    build; a missed row of a ``correctness`` check does; a ``science`` check states what the data says.
    """

    name: str
    title: str
    run: Callable[[], Sequence[Row]]
    code: tuple[str, ...]
    kind: str = "correctness"
    group: str = "quick"
    budget_s: float = 120.0


def shared(name: str) -> Path:
    """Path of a recording kept outside the repository; raises ``DataAbsentError`` when it is not there."""
    path = SHARED / name
    if not path.exists():
        raise DataAbsentError(name)
    return path


def code_hash(code: Sequence[str]) -> str:
    """One hash of the files that a check names; a folder stands for its Python files.

    A file that is gone counts as changed, so that an old result can still be shown, as stale.
    """
    digest = hashlib.sha256()
    for entry in code:
        path = ROOT / entry
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(ROOT).as_posix().encode())
            digest.update(file.read_bytes() if file.exists() else b"gone")
    return digest.hexdigest()


def commit() -> str:
    """The commit of the checkout, or ``unknown`` outside a repository or without git."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def threads() -> int:
    """The number of threads that BLAS is held to in this process, or that it takes."""
    try:
        import threadpoolctl
    except ImportError:  # on a machine that has little more than NumPy
        return int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    pools = threadpoolctl.threadpool_info()
    return max((pool["num_threads"] for pool in pools), default=1)


def write(
    check: Check, rows: Sequence[Row], wall_s: float, state: str, *, folder: Path | None = None, **facts: str
) -> dict[str, Any]:
    """Write ``NAME.json`` into ``folder``, whole or not at all, and return what was written.

    ``folder`` is ``docs/validation`` when omitted; ``facts`` are versions or devices to be told beside those
    that every result has.
    """
    result = {
        "name": check.name,
        "title": check.title,
        "kind": check.kind,
        "group": check.group,
        "state": state,
        "rows": [{**asdict(row), "verdict": row.verdict} for row in rows],
        "code": list(check.code),
        "code_hash": code_hash(check.code),
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
        "versions": {"python": platform.python_version(), **versions(), **facts},
        "threads": threads(),
        "wall_s": round(wall_s, 2),
    }
    write_text(
        (folder or RESULTS) / f"{check.name}.json", json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    )
    return result


def state_of(rows: Sequence[Row]) -> str:
    """The worst verdict of a check's rows."""
    verdicts = {row.verdict for row in rows}
    if "missed" in verdicts:
        return "missed"
    return "passed" if "passed" in verdicts else "reported"
