"""What a check found and how it is written: verdicts, hashes of code, data that is absent."""

from __future__ import annotations

import json

import pytest

from benchmarks import record
from benchmarks.checks import CHECKS
from benchmarks.record import Check, DataAbsentError, Row, code_hash, state_of, write


@pytest.mark.parametrize(
    ("number", "bound", "verdict"),
    [
        (1e-13, "<= 1e-12", "passed"),
        (1e-12, "<= 1e-12", "passed"),
        (2e-12, "<= 1e-12", "missed"),
        (0.98, ">= 0.98", "passed"),
        (0.97, ">= 0.98", "missed"),
        (float("nan"), "<= 1", "missed"),
        (float("nan"), ">= 1", "missed"),
        (float("inf"), "<= 1", "missed"),
        (123.0, "report", "reported"),
        (float("nan"), "report", "reported"),
    ],
)
def test_verdicts(number, bound, verdict):
    assert Row("a number", number, bound).verdict == verdict


def test_the_worst_verdict_is_that_of_the_check():
    passed, missed, told = Row("a", 0, "<= 1"), Row("b", 2, "<= 1"), Row("c", 3)
    assert state_of([passed, missed, told]) == "missed"
    assert state_of([passed, told]) == "passed"
    assert state_of([told]) == "reported"


# ---- hashes of code -----------------------------------------------------------------------------------
@pytest.fixture
def code(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "ROOT", tmp_path)
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "a.py").write_text("A = 1\n")
    (tmp_path / "room" / "b.py").write_text("B = 1\n")
    (tmp_path / "one.py").write_text("X = 1\n")
    return tmp_path


def test_a_hash_follows_the_files_that_are_named(code):
    before = code_hash(("one.py",))
    (code / "room" / "a.py").write_text("A = 2\n")
    assert code_hash(("one.py",)) == before
    (code / "one.py").write_text("X = 2\n")
    assert code_hash(("one.py",)) != before


def test_a_folder_stands_for_all_its_python_files(code):
    before = code_hash(("room",))
    (code / "room" / "notes.txt").write_text("not code")
    assert code_hash(("room",)) == before
    (code / "room" / "c.py").write_text("")
    assert code_hash(("room",)) != before
    (code / "room" / "c.py").unlink()
    assert code_hash(("room",)) == before
    (code / "room" / "b.py").rename(code / "room" / "d.py")
    assert code_hash(("room",)) != before


def test_a_file_that_is_gone_counts_as_changed(code):
    before = code_hash(("one.py",))
    (code / "one.py").unlink()
    assert code_hash(("one.py",)) != before


def test_every_check_names_files_that_exist():
    for check in CHECKS.values():
        for entry in check.code:
            assert (record.ROOT / entry).exists(), (check.name, entry)
        assert any(entry.startswith("benchmarks/") for entry in check.code), check.name


def test_every_check_says_what_it_is():
    for name, check in CHECKS.items():
        assert check.name == name
        assert check.title
        assert check.run.__doc__, name
        assert check.kind in {"correctness", "science", "speed"}
        assert check.group in {"quick", "long"}
        assert check.group == "long" or check.budget_s <= 120


# ---- writing --------------------------------------------------------------------------------------------
def test_a_result_tells_all_that_is_needed_to_judge_it(tmp_path):
    check = Check(name="toy", title="A toy", run=lambda: [], code=("benchmarks/record.py",), kind="speed")
    rows = [Row("a", 0.5, "<= 1", interval=(0.4, 0.6), unit="s", note="small"), Row("b", 2.0)]
    written = write(check, rows, 1.234, "passed", folder=tmp_path, device="a GPU")
    assert json.loads((tmp_path / "toy.json").read_text()) == json.loads(json.dumps(written))
    assert written["rows"][0] == {
        "compared": "a", "number": 0.5, "bound": "<= 1", "interval": (0.4, 0.6), "unit": "s", "note": "small",
        "verdict": "passed",
    }  # fmt: skip
    assert written["state"] == "passed"
    assert written["code_hash"] == code_hash(check.code)
    assert written["wall_s"] == 1.23
    assert written["threads"] >= 1
    assert {"python", "numpy", "neurotools", "device"} <= set(written["versions"])
    assert [path.name for path in tmp_path.iterdir()] == ["toy.json"]


def test_data_that_is_kept_elsewhere_may_be_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "SHARED", tmp_path)
    with pytest.raises(DataAbsentError, match="data/none"):
        record.shared("data/none")
    (tmp_path / "data").mkdir()
    assert record.shared("data") == tmp_path / "data"
