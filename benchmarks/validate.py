"""Run the checks behind the validation page: ``python -m benchmarks.validate quick`` or ``long``.

Each check runs in a process of its own with BLAS pinned to one thread, so that numbers do not depend on
what ran before. ``long`` is resumable: a check whose code has not changed since its result is skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

from benchmarks.checks import CHECKS
from benchmarks.record import RESULTS, ROOT, DataAbsentError, code_hash, state_of, write

PINNED = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def run_here(name: str) -> int:
    """Run one check in this process and write its result."""
    check = CHECKS[name]
    start = time.perf_counter()
    try:
        rows = list(check.run())
        state = state_of(rows)
    except DataAbsentError as absent:
        rows, state = [], "data absent"
        print(f"    data absent: {absent}")
    wall = time.perf_counter() - start
    if state == "data absent" and (RESULTS / f"{name}.json").exists():
        return 0  # an earlier result, made where the data is, stands
    write(check, rows, wall, state)
    for row in rows:
        print(f"    {row.verdict:9s} {row.compared}: {row.number:.6g} {row.unit} ({row.bound}) {row.note}")
    print(f"    {state} in {wall:.1f} s (budget {check.budget_s:.0f} s)")
    return int(state == "missed" and check.kind == "correctness")


def fresh_state(name: str) -> str | None:
    """State of the result that was made by the code as it is now; None where there is none."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    same = result["code_hash"] == code_hash(CHECKS[name].code)
    return result["state"] if same and result["state"] != "data absent" else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("group", choices=["quick", "long", "one"])
    parser.add_argument("--only", metavar="NAME", choices=sorted(CHECKS))
    arguments = parser.parse_args()
    if arguments.group == "one":
        return run_here(arguments.only)
    names = [n for n, c in CHECKS.items() if c.group == arguments.group and arguments.only in (None, n)]
    failed: list[str] = []
    for name in names:
        print(f"{name}: {CHECKS[name].title}", flush=True)
        state = fresh_state(name) if arguments.group == "long" and arguments.only is None else None
        if state is not None:
            print(f"    {state}, and its code has not changed: skipped")
            failed += [name] if state == "missed" and CHECKS[name].kind == "correctness" else []
            continue
        command = [sys.executable, "-m", "benchmarks.validate", "one", "--only", name]
        if subprocess.run(command, cwd=ROOT, env={**os.environ, **PINNED}, check=False).returncode:
            failed.append(name)
    print(
        f"\n{len(names) - len(failed)} of {len(names)} checks in order"
        + (f"; FAILED: {failed}" if failed else "")
    )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
