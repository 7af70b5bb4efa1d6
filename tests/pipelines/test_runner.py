"""The runner: resumes, isolates failures, and gives the same content however it is run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest
import xarray as xr
from neurotools.pipelines import executor, outputs, runner
from neurotools.pipelines.contract import pipeline
from neurotools.pipelines.executor import Execution
from neurotools.pipelines.job import Job
from neurotools.pipelines.runner import run

import neurotools as nt
from neurotools.errors import FileError, ResultError, SettingsError

from .conftest import TOY, write_recording


def hashes(outcome):
    return {record.name: record.content_hash for record in outcome.records}


def test_one_recording_lies_directly_in_the_folder(recording, tmp_path):
    out = tmp_path / "out"
    outcome = run(TOY, recording, out)
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {name for name in files if not name.startswith(".work")} == {
        "fit.nc", "tables/means.tsv", "figures/means.png", "figures/means.svg", "report.html",
        "settings.yaml", "provenance.json", "manifest.json",
    }  # fmt: skip
    assert outcome.exit_status == 0
    assert outcome.page == out / "report.html"
    fit = nt.open_fit(out / "fit.nc")
    table = pd.read_csv(out / "tables" / "means.tsv", sep="\t")
    assert nt.content_hash(fit, table) == outcome.records[0].content_hash
    means = nt.signal(nt.load(recording)).mean("time")
    xr.testing.assert_allclose(fit["means/mean"], means, rtol=1e-15)


def test_provenance_says_what_was_done(recording, tmp_path):
    outcome = run(TOY, recording, tmp_path / "out", overrides=["rank=2"], threads=1, seed=5)
    said = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert said["settings"]["model"] == {"type": "Model", "rank": 2, "seed": said["seeds"]["model.seed"]}
    assert said["seeds"]["root"] == 5
    assert said["content_hash"] == outcome.records[0].content_hash
    assert said["inputs"]["one.nc"]["sha256"] == nt.provenance.file_hash(recording)
    assert set(said["threads"]["pools"].values()) <= {1}
    assert said["peak_memory_mb"] > 10
    assert said["wall_time_s"] > 0
    assert said["versions"]["neurotools"] == nt.__version__
    again = run(TOY, recording, tmp_path / "again", settings_file=tmp_path / "out" / "settings.yaml")
    assert hashes(again) == hashes(outcome)


def test_a_second_run_does_nothing(recording, tmp_path, steps_done):
    first = run(TOY, recording, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*") if path.is_file()}
    assert steps_done() == ["mean", "spread", "draw"]
    second = run(TOY, recording, tmp_path / "out")
    assert [record.status for record in second.records] == ["skipped"]
    assert hashes(second) == hashes(first)
    assert steps_done() == []
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    ("override", "redone"),
    [("rank=5", ["draw"]), ("scale=2", ["mean", "draw"]), ("wait_s=0.001", ["mean", "spread"])],
)
def test_a_changed_setting_redoes_only_what_depends_on_it(recording, tmp_path, steps_done, override, redone):
    run(TOY, recording, tmp_path / "out")
    steps_done()
    outcome = run(TOY, recording, tmp_path / "out", overrides=[override])
    assert steps_done() == redone
    fresh = run(TOY, recording, tmp_path / "fresh", overrides=[override])
    assert hashes(outcome) == hashes(fresh)


def test_a_changed_recording_is_analysed_again(recording, tmp_path, steps_done):
    first = run(TOY, recording, tmp_path / "out")
    recording.unlink()
    write_recording(recording, seed=9)
    steps_done()
    second = run(TOY, recording, tmp_path / "out")
    assert steps_done() == ["mean", "spread", "draw"]
    assert hashes(second) != hashes(first)


def test_a_result_that_was_damaged_is_made_again(recording, tmp_path, steps_done):
    first = run(TOY, recording, tmp_path / "out")
    (tmp_path / "out" / "fit.nc").write_bytes(b"")
    steps_done()
    second = run(TOY, recording, tmp_path / "out")
    assert hashes(second) == hashes(first)
    assert steps_done() == []  # the steps were whole
    assert nt.open_fit(tmp_path / "out" / "fit.nc") is not None


def test_a_damaged_step_is_computed_again(recording, tmp_path, steps_done):
    first = run(TOY, recording, tmp_path / "out")
    steps_done()
    (tmp_path / "out" / "manifest.json").unlink()
    for file in (tmp_path / "out" / ".work").rglob("spread-*.nc"):
        file.write_bytes(file.read_bytes()[:100])
    assert hashes(run(TOY, recording, tmp_path / "out")) == hashes(first)
    assert steps_done() == ["spread"]


def test_a_failure_is_reported_and_stops_no_other(folder, tmp_path):
    out = tmp_path / "out"
    outcome = run(TOY, folder, out)
    assert [record.status for record in outcome.records] == ["done", "failed", "done"]
    assert outcome.exit_status == 1
    table = pd.read_csv(out / "recordings.tsv", sep="\t").set_index("recording")
    assert list(table["status"]) == ["done", "failed", "done"]
    assert "too large for the toy" in table.loc["berta", "problem"]
    assert table.loc["berta", "where"].startswith("unit")
    page = (out / "index.html").read_text()
    assert 'href="anna/report.html"' in page
    assert 'href="berta/report.html"' not in page
    assert "too large for the toy" in page
    assert 'href="group.html"' in page
    assert "2 recordings" in (out / "group.html").read_text()
    assert not (out / "berta").exists()
    group = nt.open_fit(out / "group.nc")
    assert set(group.children) == {"anna", "carla"}
    assert "too_large" not in outcome.records[1].traceback
    assert "SchemaError" in outcome.records[1].traceback


def test_after_the_cause_is_mended_only_the_failed_one_is_done(folder, tmp_path, steps_done):
    run(TOY, folder, tmp_path / "out")
    (folder / "berta.nc").unlink()
    write_recording(folder / "berta.nc", seed=1)
    steps_done()
    outcome = run(TOY, folder, tmp_path / "out")
    assert [record.status for record in outcome.records] == ["skipped", "done", "skipped"]
    assert outcome.exit_status == 0
    assert steps_done() == ["mean", "spread", "draw"]
    assert len(nt.open_fit(tmp_path / "out" / "group.nc").children) == 3


def test_a_lone_recording_that_cannot_be_read_is_bad_input(tmp_path):
    broken = tmp_path / "broken.edf"
    broken.write_bytes(b"nothing like a header" * 9)
    outcome = run(TOY, broken, tmp_path / "out")
    assert outcome.exit_status == 2
    assert not [path for path in (tmp_path / "out").iterdir() if path.name != ".work"]


def test_workers_change_nothing_but_the_time(folder, tmp_path):
    alone = run(TOY, folder, tmp_path / "one", workers=1, threads=1, seed=3)
    together = run(TOY, folder, tmp_path / "two", workers=2, threads=1, seed=3)
    assert hashes(alone) == hashes(together)
    assert [r.status for r in together.records] == ["done", "failed", "done"]
    assert together.records[1].error == alone.records[1].error
    assert nt.content_hash(nt.open_fit(tmp_path / "one" / "group.nc")) == nt.content_hash(
        nt.open_fit(tmp_path / "two" / "group.nc")
    )


def test_a_worker_that_is_killed_costs_its_recording_alone(folder, tmp_path, monkeypatch):
    write_recording(folder / "dora.nc", n_units=5)
    monkeypatch.setenv("TOY_DIES", "1")
    monkeypatch.setattr(executor, "POOL_RESTARTS", 1)
    outcome = run(TOY, folder, tmp_path / "out", workers=2)
    # A recording that was just finished when the worker died is found to be so by the next one.
    status = {record.name: record.status.replace("skipped", "done") for record in outcome.records}
    assert status == {"anna": "done", "berta": "failed", "carla": "done", "dora": "failed"}
    assert outcome.records[3].error["code"] == "NT-RUN-001"
    monkeypatch.delenv("TOY_DIES")
    assert run(TOY, folder, tmp_path / "out").records[3].status == "done"


def test_no_jobs_start_no_workers():
    assert list(executor.records([], Execution(workers=2))) == []


def test_seeds_do_not_depend_on_the_company(folder, tmp_path):
    together = run(TOY, folder, tmp_path / "all", seed=1)
    alone = run(TOY, [folder / "carla.nc"], tmp_path / "one", seed=1)
    assert hashes(together)["carla"] == hashes(alone)["carla"]
    other = run(TOY, [folder / "carla.nc"], tmp_path / "other", seed=2)
    assert hashes(other)["carla"] != hashes(alone)["carla"]


def test_group_level_uses_what_stands(folder, tmp_path, steps_done):
    run(TOY, folder, tmp_path / "out", level="participant")
    assert not (tmp_path / "out" / "group.nc").exists()
    steps_done()
    outcome = run(TOY, folder, tmp_path / "out", level="group")
    assert steps_done() == []
    assert set(nt.open_fit(tmp_path / "out" / "group.nc").children) == {"anna", "carla"}
    assert outcome.records[1].error["problem"] == "there is no complete result"


def test_a_folder_of_one_keeps_its_layout(tmp_path):
    (tmp_path / "in").mkdir()
    write_recording(tmp_path / "in" / "anna.nc")
    run(TOY, tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / "anna" / "fit.nc").exists()


def test_everything_is_checked_before_any_work(recording, tmp_path, steps_done):
    out = tmp_path / "out"
    wrong = [
        (SettingsError, (TOY, recording, out), {"overrides": ["rnk=3"]}),
        (SettingsError, ("dynamic-conectome", recording, out), {}),
        (SettingsError, (TOY, recording, out), {"workers": 0}),
        (SettingsError, (TOY, recording, out), {"seed": -1}),
        (SettingsError, (TOY, recording, out), {"level": "everyone"}),
        (FileError, (TOY, tmp_path / "absent", out), {}),
        (ResultError, (TOY, recording, tmp_path), {}),
    ]
    for kind, arguments, how in wrong:
        with pytest.raises(kind):
            run(*arguments, **how)
    assert steps_done() == []
    assert not out.exists()


def test_a_ready_settings_object_may_be_given(recording, tmp_path):
    settings = pipeline(TOY).settings(scale=3.0)
    first = run(TOY, recording, tmp_path / "a", chosen=settings)
    second = run(TOY, recording, tmp_path / "b", overrides=["scale=3"])
    assert hashes(first) == hashes(second)


@pytest.mark.parametrize("text", ["x = 1\n", "raise RuntimeError('no')\n", "Settings = 3\nanalyse = 4\n"])
def test_a_file_that_is_no_pipeline_is_refused(tmp_path, text):
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"not a pipeline|cannot be imported"):
        pipeline(str(file))


def test_a_changed_pipeline_is_run_again_with_all_its_steps(recording, tmp_path, steps_done):
    mine = tmp_path / "mine.py"
    shutil.copy(TOY, mine)
    plan = runner.make_plan(str(mine), recording, tmp_path / "out")
    first = runner.carry_out(plan)
    assert plan.state(plan.jobs[0]) == "done"
    steps_done()
    mine.write_text(mine.read_text().replace('x.mean("time")', 'x.median("time")'))
    pipeline.cache_clear()
    assert plan.state(plan.jobs[0]) == "changed"
    assert hashes(runner.carry_out(plan)) != hashes(first)
    assert steps_done() == ["mean", "spread", "draw"]


def test_pages_are_made_again_without_computing(folder, recording, tmp_path, steps_done):
    from neurotools.pipelines.again import rebuild_pages

    run(TOY, recording, tmp_path / "one")
    run(TOY, folder, tmp_path / "many")
    steps_done()
    page = tmp_path / "one" / "report.html"
    page.unlink()
    with pytest.raises(ResultError, match="no complete result"):
        rebuild_pages(tmp_path / "one")
    run(TOY, recording, tmp_path / "one")
    assert rebuild_pages(tmp_path / "one") == [page]
    assert [path.parent.name for path in rebuild_pages(tmp_path / "many")] == ["anna", "carla"]
    assert rebuild_pages(tmp_path / "many" / "carla")[0].exists()
    assert steps_done() == []
    assert outputs.published(tmp_path / "many" / "carla") is not None


def test_a_job_travels_and_gives_the_same_seeds(recording, tmp_path):
    plan = runner.make_plan(TOY, recording, tmp_path / "out", seed=3)
    job = plan.jobs[0]
    assert isinstance(job, Job)
    assert replace(job).chosen() == job.chosen()
