"""The validation page: rendered from results alone, and true about their age."""

from __future__ import annotations

import json

import pytest

from benchmarks import page, record
from benchmarks.page import render
from benchmarks.record import Check, Row, write


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder of results; returns a function that writes one."""
    monkeypatch.setattr(record, "ROOT", tmp_path)
    (tmp_path / "code.py").write_text("X = 1\n")
    folder = tmp_path / "results"

    def add(name, rows, kind="correctness", state=None, **facts):
        check = Check(name=name, title=f"About {name}", run=lambda: rows, code=("code.py",), kind=kind)
        write(check, rows, 2.0, state or record.state_of(rows), folder=folder, **facts)
        return folder

    return add


def section(text, title):
    return text.split(f"### {title}")[1].split("\n### ")[0].split("\n## ")[0]


def test_rows_with_their_bounds_intervals_and_notes(results):
    folder = results(
        "toy",
        [
            Row("ratio", 2.5, ">= 1.9", interval=(2.25, 2.75), unit="times", note="one thread"),
            Row("gap", 3e-3, "<= 1e-12"),
            Row("size", 12.0),
        ],
    )
    lines = section(render(folder), "About toy").splitlines()
    assert "| ratio (one thread) | 2.5 times | 2.25 to 2.75 | >= 1.9 | passed |" in lines
    assert "| gap | 0.003 |  | <= 1e-12 | **missed** |" in lines
    assert "| size | 12 |  |  | reported |" in lines
    assert "2.0 s; python" in lines[-1]
    assert "code: code.py" in lines[-1]


def test_a_bar_in_a_name_does_not_break_the_table(results):
    folder = results("toy", [Row("a|b", 1.0, note="c|d")])
    assert r"| a\|b (c\|d) | 1 |  |  | reported |" in render(folder)


def test_results_stand_by_kind(results):
    results("fast", [Row("a", 1.0)], kind="speed")
    results("birds", [Row("a", 1.0)], kind="science")
    folder = results("right", [Row("a", 1.0)])
    text = render(folder)
    places = [
        text.index(title)
        for title in (
            "## Correctness", "### About right", "## What the data says", "### About birds",
            "## Speed and memory", "### About fast", "## On a GPU",
        )
    ]  # fmt: skip
    assert places == sorted(places)


def test_a_result_is_stale_once_its_code_has_changed(results, tmp_path):
    folder = results("toy", [Row("a", 1.0)])
    assert "stale)" not in render(folder)
    (tmp_path / "code.py").write_text("X = 2\n")
    assert "### About toy *(stale)*" in render(folder)
    (tmp_path / "code.py").write_text("X = 1\n")
    assert "stale)" not in render(folder)
    (tmp_path / "code.py").unlink()
    assert "### About toy *(stale)*" in render(folder)


def test_the_summary_names_what_missed_and_what_is_stale(results, tmp_path):
    results("good", [Row("a", 1.0, "<= 1")])
    results("told", [Row("a", 1.0)])
    folder = results("bad", [Row("a", 2.0, "<= 1")])
    line = "3 checks: 1 passed, 1 only state numbers, 1 with a missed row (`bad`)"
    assert line + ".\n" in render(folder)
    (tmp_path / "code.py").write_text("X = 2\n")
    results("good", [Row("a", 1.0, "<= 1")])
    assert line + ", 2 stale (`bad`, `told`).\n" in render(folder)


def test_absent_data_is_told_and_no_table_is_shown(results):
    folder = results("toy", [], state="data absent")
    shown = section(render(folder), "About toy")
    assert "data absent: the recording is not part of the repository" in shown
    assert "|---|" not in shown


def test_the_page_says_when_no_gpu_was_tried(results):
    folder = results("toy", [Row("a", 1.0)])
    assert "Not yet run on a GPU" in render(folder)
    results("gpu", [Row("sweep", 0.2, unit="ms")], device="NVIDIA X")
    text = render(folder)
    assert "Not yet run on a GPU" not in text
    assert "device NVIDIA X" in text.split("## On a GPU")[1]
    assert text.count("About gpu") == 1


def test_what_is_in_the_repository_renders():
    text = render()
    for file in record.RESULTS.glob("*.json"):
        result = json.loads(file.read_text(encoding="utf-8"))
        assert f"### {result['title']}" in text
        assert result["name"] == file.stem
        for row in result["rows"]:
            kept = {name: row[name] for name in ("compared", "number", "bound")}
            assert Row(**kept).verdict == row["verdict"]
    assert page.INTRO in text
