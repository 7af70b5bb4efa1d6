"""Running the checks: what fails a build, what is skipped, and what stands when data is absent."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks import record, validate
from benchmarks.record import Check, DataAbsentError, Row

PASSED = (Row("a", 0.0, "<= 1"),)
MISSED = (*PASSED, Row("b", 2.0, "<= 1"))


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """A table of toy checks, their results in a folder of their own; returns a function that adds one."""
    table: dict[str, Check] = {}
    monkeypatch.setattr(record, "ROOT", tmp_path)
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(validate, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(validate, "CHECKS", table)
    (tmp_path / "code.py").write_text("X = 1\n")

    def add(name="toy", rows=PASSED, kind="correctness", group="quick", code=("code.py",)):
        def run():
            if isinstance(rows, Exception):
                raise rows
            return rows

        table[name] = Check(name=name, title=name, run=run, code=code, kind=kind, group=group)

    return add


def result(tmp_path, name="toy"):
    return json.loads((tmp_path / "results" / f"{name}.json").read_text())


@pytest.mark.parametrize(("kind", "status"), [("correctness", 1), ("science", 0), ("speed", 0)])
def test_only_a_missed_correctness_row_fails(toys, tmp_path, kind, status, capsys):
    toys(rows=MISSED, kind=kind)
    assert validate.run_here("toy") == status
    assert result(tmp_path)["state"] == "missed"
    assert [row["verdict"] for row in result(tmp_path)["rows"]] == ["passed", "missed"]
    assert "missed    b: 2" in capsys.readouterr().out


def test_a_check_whose_data_is_absent_says_so_and_fails_nothing(toys, tmp_path, capsys):
    toys(rows=DataAbsentError("data/elsewhere"))
    assert validate.run_here("toy") == 0
    assert (result(tmp_path)["state"], result(tmp_path)["rows"]) == ("data absent", [])
    assert "data absent: data/elsewhere" in capsys.readouterr().out
    assert validate.fresh_state("toy") is None


def test_an_earlier_result_stands_where_the_data_is_absent(toys, tmp_path):
    toys()
    validate.run_here("toy")
    before = (tmp_path / "results" / "toy.json").read_bytes()
    toys(rows=DataAbsentError("data/elsewhere"))
    assert validate.run_here("toy") == 0
    assert (tmp_path / "results" / "toy.json").read_bytes() == before


# ---- a whole group --------------------------------------------------------------------------------------
@pytest.fixture
def started(monkeypatch):
    """Names of the checks that a run starts, each done here and not in a process of its own."""
    names: list[str] = []

    def run(command, **options):
        assert options["env"]["OMP_NUM_THREADS"] == "1"
        names.append(command[-1])
        return subprocess.CompletedProcess(command, validate.run_here(command[-1]))

    monkeypatch.setattr(validate.subprocess, "run", run)
    monkeypatch.setattr(record, "commit", lambda: "abc")
    return names


def main(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["validate", *words])
    return validate.main()


def test_a_group_goes_on_after_a_failure_and_says_what_failed(toys, started, monkeypatch, capsys):
    toys("first", rows=MISSED)
    toys("second")
    toys("other", group="long")
    assert main(monkeypatch, "quick") == 1
    assert started == ["first", "second"]
    assert "1 of 2 checks in order; FAILED: ['first']" in capsys.readouterr().out


def test_long_checks_resume_where_they_were_stopped(toys, started, tmp_path, monkeypatch, capsys):
    for name in ("first", "second"):
        toys(name, group="long")
    validate.run_here("first")
    assert main(monkeypatch, "long") == 0
    assert started == ["second"]
    assert "has not changed: skipped" in capsys.readouterr().out
    started.clear()
    assert main(monkeypatch, "long") == 0
    assert started == []
    (tmp_path / "code.py").write_text("X = 2\n")
    assert main(monkeypatch, "long") == 0
    assert started == ["first", "second"]


def test_one_long_check_runs_when_it_is_asked_for(toys, started, monkeypatch):
    for name in ("first", "second"):
        toys(name, group="long")
        validate.run_here(name)
    assert main(monkeypatch, "long", "--only", "second") == 0
    assert started == ["second"]


def test_a_long_check_that_missed_is_not_called_fresh_and_passed(toys, started, monkeypatch):
    toys("first", group="long", rows=MISSED)
    assert main(monkeypatch, "long") == 1
    assert main(monkeypatch, "long") == 1
    assert started == ["first"]  # a miss is known without running it again


def test_quick_checks_run_every_time(toys, started, monkeypatch):
    toys()
    for _ in range(2):
        assert main(monkeypatch, "quick") == 0
    assert started == ["toy", "toy"]
