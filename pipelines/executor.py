"""Where recordings are analysed: in this process, in others, on a Dask cluster, or on SLURM.

Paths travel to a worker and a small record travels back, whatever the engine. A worker that dies costs time:
its recording is done again elsewhere, and only one that kills its workers again and again is reported.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from neurotools.errors import NeurotoolsError, ResultError, SettingsError, lookup, need

from . import settings
from .job import Job, Record, do

Act = Callable[[Job], Record]
Records = Iterator[Record]

POOL_RESTARTS = 2
WORKERS_WAIT_S = 60.0  # for the first worker of a cluster that is said to run


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Where and how wide a run goes.

    Parameters
    ----------
    engine : {"auto", "serial", "processes", "dask", "slurm"}
        "auto" takes this process for one worker, and processes of this machine for more.
    workers : int
        Recordings at a time. On SLURM: jobs.
    threads : int or None
        Threads of linear algebra in each worker; none means all in a serial run, one in others. Results are
        the same bit for bit at the same number.
    address : str or None
        Of the scheduler (engine dask): tcp://host:8786.
    cores : int
        Processors that SLURM is asked for, for each worker.
    memory : str
        Memory that SLURM is asked for, for each worker.
    walltime : str
        How long SLURM may run a worker, as hours:minutes:seconds.
    queue : str or None
        Partition of SLURM.
    account : str or None
        Account that SLURM charges.
    lines : tuple of str
        Lines of the SLURM script before the worker starts ("module load ...").
    """

    engine: Literal["auto", "serial", "processes", "dask", "slurm"] = "auto"
    workers: int = 1
    threads: int | None = None
    address: str | None = None
    cores: int = 1
    memory: str = "4 GB"
    walltime: str = "01:00:00"
    queue: str | None = None
    account: str | None = None
    lines: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, number in (("workers", self.workers), ("threads", self.threads), ("cores", self.cores)):
            if number is not None and number < 1:
                raise SettingsError(f"the number of {what} must be at least 1", found=number)
        if (self.engine == "dask") != (self.address is not None):
            raise SettingsError(
                "the engine dask needs the address of a scheduler, and no other engine takes one",
                found=f"engine {self.engine}, address {self.address}",
                fix="engine: dask and address: tcp://host:8786",
            )

    @property
    def chosen(self) -> str:
        """The engine, with "auto" decided."""
        if self.engine != "auto":
            return self.engine
        return "serial" if self.workers == 1 else "processes"

    @property
    def each_threads(self) -> int | None:
        """Threads of each worker: workers that all take every processor would slow one another down."""
        return self.threads if self.threads is not None or self.chosen == "serial" else 1


def gathered(file: str | Path | Execution | None, workers: int | None, threads: int | None) -> Execution:
    """What a file says of where to run, with what was said beside it."""
    base = file if isinstance(file, Execution) else settings.gather(Execution, file)
    said = {"workers": workers, "threads": threads}
    return replace(base, **{name: value for name, value in said.items() if value is not None})


def records(jobs: Sequence[Job], execution: Execution, act: Act = do) -> Records:
    """Do jobs outside of this process, where ``execution`` says, and yield their records as they come."""
    if not jobs:
        return
    yield from lookup("engine", execution.chosen, ENGINES)(jobs, execution, act)


# ---- worker processes -----------------------------------------------------------------------------------
def in_processes(jobs: Sequence[Job], execution: Execution, act: Act = do) -> Records:
    """In processes of this machine.

    When a worker dies, what was unfinished is done again; a job that is alone when its worker dies is the
    one that failed.
    """
    waiting = list(jobs)
    for _ in range(POOL_RESTARTS):
        if not waiting:
            return
        done: set[str] = set()
        for job, record in _one_pool(waiting, execution.workers, act):
            if record is not None:
                done.add(job.source.name)
                yield record
        waiting = [job for job in waiting if job.source.name not in done]
    for job in waiting:
        for _, record in _one_pool([job], 1, act):
            yield record or _died(job)


def _one_pool(jobs: Sequence[Job], workers: int, act: Act) -> Iterator[tuple[Job, Record | None]]:
    from joblib.externals.loky import ProcessPoolExecutor

    threads = str(jobs[0].threads or 1)
    environment = {f"{name}_NUM_THREADS": threads for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
    environment["MPLBACKEND"] = "Agg"
    pool = ProcessPoolExecutor(max_workers=min(workers, len(jobs)), env=environment)
    try:
        with _deaf_to_interrupts():
            futures: dict[Future[Record], Job] = {pool.submit(act, job): job for job in jobs}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except BrokenProcessPool:  # also loky's TerminatedWorkerError
                yield futures[future], None
    finally:
        # Also on Ctrl-C: a worker holds nothing that a rerun does not find again.
        pool.shutdown(wait=True, kill_workers=True)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C: this one hears it for all of them, and ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _died(job: Job) -> Record:
    error = NeurotoolsError(
        "the worker process was killed while it did this recording, perhaps for want of memory",
        code="NT-RUN-001", path=job.source.path, fix="run it alone with --workers 1, or on a larger machine",
    )  # fmt: skip
    return Record(job.source.name, "failed", job.folder, error=error.as_dict())


# ---- clusters -------------------------------------------------------------------------------------------
def on_dask(jobs: Sequence[Job], execution: Execution, act: Act = do) -> Records:
    """On the workers of a Dask scheduler that runs already; they must see the same files."""
    distributed = need("distributed", extra="dist", to="running on Dask")
    try:
        client = distributed.Client(execution.address, timeout=WORKERS_WAIT_S)
    except OSError as error:
        raise ResultError(
            "no scheduler answers at the address", code="NT-RUN-002", path=execution.address,
            found=str(error), fix="start one: dask scheduler, and dask worker ADDRESS",
        ) from error  # fmt: skip
    with client:
        _check_workers(client, str(execution.address))
        yield from _through(client, jobs, act)


def _check_workers(client: Any, address: str) -> None:
    """Raise unless there are workers that do one recording at a time, as measures of time and memory need."""
    try:
        client.wait_for_workers(1, timeout=WORKERS_WAIT_S)
    except TimeoutError as error:
        raise ResultError(
            "the scheduler has no workers", code="NT-RUN-002", path=address,
            fix=f"start some: dask worker {address} --nthreads 1",
        ) from error  # fmt: skip
    wide = [name for name, threads in client.nthreads().items() if threads > 1]
    if wide:
        raise ResultError(
            "a worker would do several recordings at once in one process", code="NT-RUN-002", path=address,
            found=f"{len(wide)} workers with more than one thread",
            fix=f"dask worker {address} --nthreads 1 (--nworkers N for more of them)",
        )  # fmt: skip


def on_slurm(jobs: Sequence[Job], execution: Execution, act: Act = do) -> Records:
    """On workers that SLURM starts, as many as there are jobs to do and at most ``workers``."""
    with slurm_cluster(execution) as cluster:
        cluster.scale(jobs=min(execution.workers, len(jobs)))
        with cluster.get_client() as client:
            yield from _through(client, jobs, act)


def slurm_cluster(execution: Execution) -> Any:
    """The cluster of dask-jobqueue that ``execution`` describes, no worker started yet."""
    jobqueue = need("dask_jobqueue", extra="dist", to="running on SLURM")
    return jobqueue.SLURMCluster(
        # One recording at a time in each worker, whatever processors its linear algebra may use.
        cores=1, processes=1, job_cpu=execution.cores,
        memory=execution.memory, walltime=execution.walltime,
        queue=execution.queue, account=execution.account, job_name="neurotools",
        job_script_prologue=[
            *(f"export {name}_NUM_THREADS={execution.each_threads}" for name in ("OMP", "OPENBLAS", "MKL")),
            "export MPLBACKEND=Agg",
            *execution.lines,
        ],
    )  # fmt: skip


def _through(client: Any, jobs: Sequence[Job], act: Act) -> Records:
    from distributed import KilledWorker
    from distributed import as_completed as as_they_come

    futures = {
        client.submit(act, job, key=f"{job.source.name}-{uuid.uuid4().hex}", pure=False): job for job in jobs
    }
    try:
        for future in as_they_come(futures):
            try:
                yield future.result()
            except KilledWorker:
                yield _died(futures[future])
    finally:
        client.cancel(list(futures))


ENGINES: dict[str, Callable[[Sequence[Job], Execution, Act], Records]] = {
    "processes": in_processes,
    "dask": on_dask,
    "slurm": on_slurm,
}
