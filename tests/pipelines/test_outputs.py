"""Output folders: never anyone else's, never half a result under its final name."""

from __future__ import annotations

import json
import shutil

import pytest
from neurotools.pipelines import outputs

from neurotools.errors import ResultError

FACTS = {"pipeline": "toy"}


def put(out, text="first", names=("fit.nc", "figures/a.png")):
    with (
        outputs.claimed(out, "toy") as work,
        outputs.staged(work / "one", out, {"pipeline": "toy"}) as folder,
    ):
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(f"{text} {name}")


def visible(out):
    files = (path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    return sorted(name for name in files if not name.startswith("."))


def test_a_result_appears_with_its_manifest_last(tmp_path):
    put(tmp_path / "out")
    assert visible(tmp_path / "out") == ["figures/a.png", "fit.nc", "manifest.json"]
    manifest = outputs.published(tmp_path / "out")
    assert set(manifest["files"]) == {"fit.nc", "figures/a.png"}


def test_a_failure_while_writing_leaves_what_was_there(tmp_path):
    out = tmp_path / "out"
    put(out)
    before = outputs.published(out)

    def fill_the_disk():
        with outputs.claimed(out, "toy") as work, outputs.staged(work / "one", out, FACTS) as folder:
            (folder / "fit.nc").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fill_the_disk()
    assert outputs.published(out) == before
    assert not list((out / ".work").rglob("staging-*"))


def test_a_new_result_replaces_the_old_and_its_leftovers_alone(tmp_path):
    out = tmp_path / "out"
    put(out, names=("fit.nc", "tables/old.tsv"))
    (out / "my notes.txt").write_text("mine")
    put(out, text="second", names=("fit.nc",))
    assert visible(out) == ["fit.nc", "manifest.json", "my notes.txt"]
    assert (out / "fit.nc").read_text() == "second fit.nc"
    assert (out / "my notes.txt").read_text() == "mine"


def test_a_file_that_someone_else_put_there_is_never_replaced(tmp_path):
    out = tmp_path / "out"
    put(out, names=("fit.nc",))
    (out / "report.html").write_text("mine")
    with pytest.raises(ResultError, match=r"(?s)a file of that name.*report\.html"):
        put(out, text="second", names=("fit.nc", "report.html"))
    assert (out / "report.html").read_text() == "mine"
    assert outputs.published(out) is not None  # the earlier result still stands
    (out / "report.html").unlink()
    with outputs.claimed(out, "toy") as work:
        outputs.move_in(work / "one", out)
    assert (out / "report.html").read_text() == "second report.html"


@pytest.mark.parametrize("stop", range(1, 6))
def test_a_move_killed_at_any_file_is_completed_by_the_next_run(tmp_path, monkeypatch, stop):
    out = tmp_path / "out"
    put(out, names=("a", "b", "old"))
    real, calls = outputs.os.replace, []

    def replace(source, target):
        if "ready" in f"{source} {target}" or str(target).endswith(outputs.LAST):
            calls.append(target)
            if len(calls) > stop:
                raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(outputs.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        put(out, text="second", names=("a", "b", "c"))
    monkeypatch.setattr(outputs.os, "replace", real)
    with outputs.claimed(out, "toy") as work:
        outputs.move_in(work / "one", out)
    assert visible(out) == ["a", "b", "c", "manifest.json"]
    assert outputs.published(out) is not None
    assert {(out / name).read_text() for name in "abc"} == {"second a", "second b", "second c"}


@pytest.mark.parametrize("harm", ["change", "remove", "shorten"])
def test_a_result_that_was_touched_counts_as_none(tmp_path, harm):
    out = tmp_path / "out"
    put(out)
    fit = out / "fit.nc"
    if harm == "change":
        fit.write_text(fit.read_text().replace("first", "FIRST"))
    elif harm == "remove":
        fit.unlink()
    else:
        fit.write_text("")
    assert outputs.published(out) is None


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ResultError, match="files that neurotools did not write") as caught:
        outputs.check(tmp_path, "toy")
    assert caught.value.code == "NT-OUT-002"
    assert "thesis.tex" in caught.value.found


def test_a_folder_of_another_pipeline_is_refused(tmp_path):
    put(tmp_path / "out")
    with pytest.raises(ResultError, match="another pipeline"):
        outputs.check(tmp_path / "out", "other")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(ResultError, match="a file of that name"):
        outputs.check(tmp_path / "out", "toy")


def test_a_folder_claimed_by_a_run_killed_at_once_is_still_free(tmp_path):
    (tmp_path / "out" / ".work").mkdir(parents=True)
    (tmp_path / "out" / ".work" / ".owner.json.ab12.part").write_text("{")
    put(tmp_path / "out")
    assert outputs.published(tmp_path / "out") is not None


def test_two_runs_do_not_share_a_folder(tmp_path):
    out = tmp_path / "out"
    with outputs.claimed(out, "toy"), pytest.raises(ResultError, match="another run"):
        outputs.claimed(out, "toy").__enter__()
    put(out)


def test_a_manifest_of_something_else_makes_no_owner(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"files": {}}))
    with pytest.raises(ResultError, match="did not write"):
        outputs.check(tmp_path, "toy")
    shutil.rmtree(tmp_path)
