"""One run on every engine: the same content, also when a worker dies; SLURM is given the stored script."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from neurotools.pipelines.executor import Execution, gathered, slurm_cluster
from neurotools.pipelines.runner import Watcher, make_plan, run

from neurotools.errors import ResultError, SettingsError

from .conftest import TOY, write_recording


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Address of a scheduler of its own process, with two worker processes; and these, by their number."""
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    dask = [sys.executable, "-m", "dask"]
    scheduler = subprocess.Popen(
        [
            *dask,
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            file,
        ],
        **quiet,
    )
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    workers = [
        subprocess.Popen(
            [*dask, "worker", "--scheduler-file", file, "--nthreads", "1", "--no-nanny", "--no-dashboard",
             "--death-timeout", "60"],
            env=environment, **quiet,
        )
        for _ in range(2)
    ]  # fmt: skip
    deadline = time.monotonic() + 60
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    yield json.loads(file.read_text())["address"], workers
    for process in [*workers, scheduler]:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    folder = tmp_path_factory.mktemp("four")
    for number, name in enumerate(["anna", "bodo", "carla", "dora"]):
        write_recording(folder / f"{name}.nc", n_units=3 + number)
    return folder


def hashes(outcome):
    assert outcome.exit_status == 0, outcome.as_dict()
    return {record.name: record.content_hash for record in outcome.records}


def test_every_engine_gives_the_same_content(four, cluster, tmp_path):
    address, workers = cluster
    serial = run(TOY, four, tmp_path / "serial", threads=1, seed=3)
    processes = run(TOY, four, tmp_path / "processes", workers=2, seed=3)
    on_dask = Execution(engine="dask", address=address)
    dask = run(TOY, four, tmp_path / "dask", execution=on_dask, seed=3)
    assert hashes(serial) == hashes(processes) == hashes(dask)

    # Half-way through the next run one of the two workers is killed.
    watcher = _Killer(workers[0])
    hurt = run(
        TOY, four, tmp_path / "hurt", execution=on_dask, seed=3, overrides=["wait_s=0.5"], watcher=watcher
    )
    assert watcher.victim.poll() is not None
    assert set(hashes(hurt)) == set(hashes(serial))
    whole = run(TOY, four, tmp_path / "whole", threads=1, seed=3, overrides=["wait_s=0.5"])
    assert hashes(hurt) == hashes(whole)
    again = run(TOY, four, tmp_path / "dask", execution=on_dask, seed=3)
    assert {record.status for record in again.records} == {"skipped"}


class _Killer(Watcher):
    """Kills a process when the first recording is done."""

    def __init__(self, victim):
        self.victim = victim

    def ended(self, record):
        if self.victim.poll() is None:
            os.kill(self.victim.pid, signal.SIGKILL)
            self.victim.wait()


def test_slurm_is_given_the_stored_script(tmp_path):
    file = tmp_path / "cluster.yaml"
    file.write_text(
        "engine: slurm\nworkers: 8\ncores: 4\nmemory: 16 GB\nwalltime: '02:00:00'\nqueue: long\n"
        "account: lab\nlines: [module load python]\n"
    )
    execution = gathered(file, None, None)
    assert (execution.engine, execution.workers, execution.each_threads) == ("slurm", 8, 1)
    with slurm_cluster(execution) as made:
        script = made.job_script()
    script = re.sub(r"tcp://\S+", "ADDRESS", script).replace(sys.executable, "PYTHON")
    stored = Path(__file__).with_name("slurm_script.txt")
    assert script == stored.read_text()


def test_words_beside_the_file_win(tmp_path):
    file = tmp_path / "here.yaml"
    file.write_text("workers: 2\nthreads: 2\n")
    assert gathered(file, 3, None) == Execution(workers=3, threads=2)
    assert Execution(workers=3).chosen == "processes"
    assert Execution().each_threads is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("enigne: dask\n", r"Did you mean 'engine'"),
        ("engine: dask\n", "needs the address"),
        ("address: tcp://here:1\n", "no other engine takes one"),
        ("workers: 0\n", "at least 1"),
        ("workers: two\n", "workers"),
    ],
)
def test_wrong_descriptions_are_told_before_any_work(four, tmp_path, text, message):
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=message):
        make_plan(TOY, four, tmp_path / "out", execution=file)
    assert not (tmp_path / "out").exists()


def test_a_scheduler_that_is_not_there_is_told(four, tmp_path, monkeypatch):
    monkeypatch.setattr("neurotools.pipelines.executor.WORKERS_WAIT_S", 0.5)
    nowhere = Execution(engine="dask", address="tcp://127.0.0.1:9")
    with pytest.raises(ResultError, match="no scheduler answers"):
        run(TOY, four, tmp_path / "out", execution=nowhere)
