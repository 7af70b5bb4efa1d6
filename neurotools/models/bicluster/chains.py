"""Chains of a bi-clustering: run side by side in processes, stopped at any moment, gone on with exactly.

What a chain is and has drawn lies in one file, replaced as a whole from time to time. A chain that is found
there goes on from the sweep it was saved after and gives the draws that it would have given.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurotools.errors import NeurotoolsError, ResultError
from neurotools.models.bicluster.record import Record
from neurotools.models.bicluster.start import first_draw
from neurotools.numerics import bicluster
from neurotools.numerics.bicluster_law import Counts, Draw, Prior
from neurotools.numerics.stickyhdp import Chain
from neurotools.progress import working
from neurotools.provenance import atomic

POLL_S = 0.2
SMALL_WORK = 3e7  # counts times sweeps below which a process of its own would cost more than it brings
STATUS = 4  # sweeps done, clusters, states, seconds per sweep


@dataclass(frozen=True)
class Job:
    """One chain: everything it is a function of, and where it is kept."""

    counts: Counts
    prior: Prior
    interval: np.ndarray
    n_tune: int
    n_draws: int
    kept: np.ndarray  # numbers of the draws that are kept whole
    seed: int
    chain: int
    folder: Path | None
    every_s: float

    @property
    def file(self) -> Path | None:
        """Where the chain is kept."""
        return None if self.folder is None else self.folder / f"chain-{self.chain}.npz"

    def fingerprint(self) -> str:
        """A hash of everything that the draws are a function of."""
        digest = hashlib.sha256()
        for array in (
            self.counts.y, self.counts.seen, self.counts.start, self.prior.log_v, self.interval, self.kept
        ):  # fmt: skip
            digest.update(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        plain = {name: value for name, value in asdict(self.prior).items() if name != "log_v"}
        numbers = (self.n_tune, self.n_draws, self.seed, self.chain)
        digest.update(json.dumps([plain, numbers], sort_keys=True).encode())
        return digest.hexdigest()


Tell = Callable[[int, int, int, float], None]


def run_chain(job: Job, tell: Tell = lambda done, clusters, states, seconds: None) -> Record:
    """Run one chain to its end, from where it was left if it was begun before."""
    rng = np.random.default_rng((job.seed, job.chain))
    record = Record.empty(job.counts, job.prior, job.interval, job.n_draws, job.kept)
    mark = job.fingerprint()
    sweep, draw = 0, None
    if job.file is not None and job.file.exists():
        sweep, draw = restored(job.file, mark, rng, record)
    if draw is None:
        draw = first_draw(rng, job.counts, job.prior)
    saved = begun = time.monotonic()
    first = sweep
    for sweep in range(first, job.n_tune + job.n_draws):
        one_sweep(rng, draw, job, sweep, record)
        now = time.monotonic()
        tell(sweep + 1, draw.n_clusters, int(np.unique(draw.state).size), (now - begun) / (sweep + 1 - first))
        if job.file is not None and now - saved >= job.every_s:
            kept(job.file, mark, rng, sweep + 1, draw, record)
            saved = now
    if job.file is not None:
        kept(job.file, mark, rng, job.n_tune + job.n_draws, draw, record)
    return record


def one_sweep(rng: np.random.Generator, draw: Draw, job: Job, sweep: int, record: Record) -> None:
    """One sweep, and what is noted of it."""
    stats = bicluster.sweep(rng, draw, job.counts, job.prior)
    if sweep < job.n_tune:
        draw.window = bicluster.tuned_window(draw.window, stats["latent_accept"], draw.state.size)
    else:
        record.note(rng, sweep - job.n_tune, draw, stats)


# ---- on disk -----------------------------------------------------------------------------------------------
def kept(  # noqa: PLR0917
    file: Path, mark: str, rng: np.random.Generator, sweep: int, draw: Draw, record: Record
) -> None:  # fmt: skip
    """Write a chain, whole or not at all."""
    plain = {f"draw.{name}": np.asarray(value) for name, value in vars(draw).items() if name != "chain"}
    plain |= {f"chain.{name}": np.asarray(value) for name, value in vars(draw.chain).items()}
    plain |= {f"record.{name}": array for name, array in record.arrays(sweep).items()}
    text = {"mark": mark, "rng": json.dumps(rng.bit_generator.state)}
    with atomic(file) as staged, staged.open("wb") as stream:
        np.savez(stream, allow_pickle=False, sweep=np.int64(sweep), **text, **plain)


def restored(file: Path, mark: str, rng: np.random.Generator, record: Record) -> tuple[int, Draw]:
    """A chain as it was written: its sweep and where it is; generator and record become what they were."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ResultError(
            "the chain that was kept cannot be read", path=file, found=error,
            fix="delete the file; the chain then begins anew",
        ) from error  # fmt: skip
    if str(found.get("mark")) != mark:
        raise ResultError(
            "the folder holds a chain of other counts, settings, draws or seed", code="NT-OUT-002", path=file,
            fix="give each run a checkpoint folder of its own, or delete this one",
        )  # fmt: skip
    rng.bit_generator.state = json.loads(str(found["rng"]))
    pick = {
        kind: {name.partition(".")[2]: value for name, value in found.items() if name.startswith(kind)}
        for kind in ("draw.", "chain.", "record.")
    }
    chain = {name: value if value.ndim else value.item() for name, value in pick["chain."].items()}
    window = int(pick["draw."].pop("window"))
    record.take(pick["record."])
    return int(found["sweep"]), Draw(**pick["draw."], chain=Chain(**chain), window=window)


# ---- side by side ------------------------------------------------------------------------------------------
def run_all(jobs: Sequence[Job], cores: int | None) -> list[Record]:
    """All chains, in processes of their own where that is worth it; the same draws either way."""
    import os

    total = jobs[0].n_tune + jobs[0].n_draws
    small = jobs[0].counts.y.size * total * len(jobs) < SMALL_WORK
    n_cores = cores or (1 if small else min(len(jobs), os.cpu_count() or 1))
    with working("bi-clustering") as show:
        if n_cores == 1:
            return [_here(job, k, len(jobs), total, show) for k, job in enumerate(jobs)]
        return _in_processes(jobs, n_cores, total, show)


def _here(job: Job, k: int, n: int, total: int, show: Any) -> Record:
    def tell(done: int, clusters: int, states: int, seconds: float) -> None:
        show((k + done / total) / n, status([(done, clusters, states, seconds)]))

    return run_chain(job, tell)


def status(chains: Sequence[Sequence[float]]) -> str:
    """How chains stand, in a few words."""
    alive = [row for row in chains if row[0] > 0]
    if not alive:
        return "starting"
    clusters = "/".join(f"{int(row[1])}" for row in alive)
    states = "/".join(f"{int(row[2])}" for row in alive)
    seconds = max(row[3] for row in alive)
    return f"{clusters} clusters, {states} states, {1000 * seconds:.0f} ms a sweep"


def _in_processes(jobs: Sequence[Job], n_cores: int, total: int, show: Any) -> list[Record]:
    with tempfile.TemporaryDirectory(prefix="neurotools-chains-") as name:
        board = np.lib.format.open_memmap(
            Path(name) / "status.npy", mode="w+", dtype="float64", shape=(len(jobs), STATUS)
        )
        placed = [job if job.folder else replace(job, folder=Path(name)) for job in jobs]
        ended = threading.Event()
        watcher = threading.Thread(target=_watch, args=(board, total, show, ended), daemon=True)
        watcher.start()
        try:
            _pool(placed, n_cores, Path(name) / "status.npy")
        finally:
            ended.set()
            watcher.join()
            del board
        # each chain is complete on disk, so this only reads
        return [run_chain(job) for job in placed]


def _watch(board: np.ndarray, total: int, show: Any, ended: threading.Event) -> None:
    while not ended.wait(POLL_S):
        show(float(board[:, 0].sum()) / (total * board.shape[0]), status(board.tolist()))


def _pool(jobs: Sequence[Job], n_cores: int, board: Path) -> None:
    from concurrent.futures import as_completed
    from concurrent.futures.process import BrokenProcessPool

    from joblib.externals.loky import ProcessPoolExecutor

    environment = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    pool = ProcessPoolExecutor(max_workers=min(n_cores, len(jobs)), env=environment)
    try:
        for future in as_completed([pool.submit(_work, job, board) for job in jobs]):
            future.result()
    except BrokenProcessPool as error:
        raise NeurotoolsError(
            "the process of a chain was killed, perhaps for want of memory", code="NT-RUN-001",
            fix="call again with the same checkpoint folder, which goes on from there; or with cores=1",
        ) from error  # fmt: skip
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _work(job: Job, board: Path) -> None:
    row = np.lib.format.open_memmap(board, mode="r+")[job.chain]

    def tell(*values: float) -> None:
        row[:] = values

    run_chain(job, tell)
