"""Render the validation page from what the checks wrote; nothing on it is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, code_hash

MARKS = {
    "passed": "passed",
    "missed": "**missed**",
    "reported": "reported",
    "data absent": "data absent",
}
INTRO = """# Validation

Every number below was written by a check, with the code, versions and threads that made it. *Stale* means
that the code it names has changed since. A *speed* row records what one machine did; a *science* row states
what the data says, for or against the method. `make validate` runs the quick checks again, and
`make validate-long` the rest.
"""
KINDS = {"correctness": "Correctness", "science": "What the data says", "speed": "Speed and memory"}

# checks whose names begin alike and whose rows say "set: method", shown once more in one table
TOGETHER = {"encoder_probes": "Linear probes side by side: balanced accuracy on held-out runs"}


def render(folder: Path = RESULTS) -> str:
    """The page as Markdown, from every result in ``folder``."""
    results = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]
    parts = [INTRO, _summary(results)]
    for kind, title in KINDS.items():
        chosen = [r for r in results if r["kind"] == kind and r["name"] != "gpu"]
        if chosen:
            parts.append(f"## {title}\n")
            parts += [_section(result) for result in chosen]
            parts += filter(None, (_beside(name, words, chosen) for name, words in TOGETHER.items()))
    gpu = [r for r in results if r["name"] == "gpu"]
    parts.append("## On a GPU\n")
    parts.append(
        _section(gpu[0]) if gpu else "Not yet run on a GPU: `python benchmarks/gpu.py` writes this section.\n"
    )
    return "\n".join(parts)


def _summary(results: list[dict[str, Any]]) -> str:
    """How many checks passed, and the names of those that missed a row or are stale."""
    named = {
        "with a missed row": [r["name"] for r in results if r["state"] == "missed"],
        "without their data": [r["name"] for r in results if r["state"] == "data absent"],
        "stale": [r["name"] for r in results if _is_stale(r)],
    }
    passed = sum(r["state"] == "passed" for r in results)
    told = sum(r["state"] == "reported" for r in results)
    rest = [f"{len(names)} {what} (`{'`, `'.join(names)}`)" for what, names in named.items() if names]
    lines = [f"{len(results)} checks: {passed} passed", f"{told} only state numbers", *rest]
    return ", ".join(lines) + ".\n"


def _is_stale(result: dict[str, Any]) -> bool:
    return result["code_hash"] != code_hash(result["code"])


def _beside(name: str, title: str, results: list[dict[str, Any]]) -> str:
    """One row for each set, one column for each method, of all checks whose names begin with ``name``."""
    rows = [row for result in results if result["name"].startswith(name) for row in result["rows"]]
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        where, _, method = row["compared"].rpartition(": ")
        interval = row["interval"] and " ({:.3f} to {:.3f})".format(*row["interval"])
        cells.setdefault(where, {})[method] = f"{row['number']:.3f}{interval or ''}"
    if not cells:
        return ""
    methods = list(dict.fromkeys(method for row in cells.values() for method in row))
    lines = [f"### {title}\n", f"| | {' | '.join(methods)} |", "|---" * (len(methods) + 1) + "|"]
    lines += [f"| {where} | {' | '.join(row.get(m, '') for m in methods)} |" for where, row in cells.items()]
    return "\n".join(lines) + "\n"


def _section(result: dict[str, Any]) -> str:
    stale = " *(stale)*" if _is_stale(result) else ""
    lines = [f"### {result['title']}{stale}\n"]
    if result["rows"]:
        lines += ["| compared | number | interval | bound | verdict |", "|---|---|---|---|---|"]
        lines += [_line(row) for row in result["rows"]]
    else:
        lines.append(f"{MARKS[result['state']]}: the recording is not part of the repository.")
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines.append(
        f"\n<small>`{result['name']}`, commit {result['commit']}, {result['date']}, {result['threads']} BLAS "
        f"thread(s), {result['wall_s']} s; {versions}; code: {', '.join(result['code'])}</small>\n"
    )
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    interval = "" if row["interval"] is None else "{:.4g} to {:.4g}".format(*row["interval"])
    bound = "" if row["bound"] == "report" else row["bound"]
    note = f" ({row['note']})" if row["note"] else ""
    number = f"{row['number']:.5g} {row['unit']}".strip()
    cells = (row["compared"] + note, number, interval, bound, MARKS[row["verdict"]])
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
