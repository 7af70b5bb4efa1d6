"""How far the factorisation reaches: seconds and memory of large recordings, and those beyond memory."""

from __future__ import annotations

import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

import neurotools as nt
from benchmarks import sweeps, timing
from benchmarks.record import Row
from neurotools.numerics import ntf

GB = 1e9


# ---- one sweep --------------------------------------------------------------------------------------
def large_sweeps() -> list[Row]:
    """Sweeps with one loading per unit, from drives alone; random slopes that rest two thirds of the time.

    CPU seconds of one sweep, best of three, one thread; memory as NumPy allocates it, beyond the drives.
    """
    with timing.one_thread():
        layout = sweeps.implicit_layout(2000, 3000)
        call = sweeps.layout_sweep(layout, 10)
        seconds, extra = timing.best_of(call, repeats=3), peak_of(call)
        rows = [
            Row("2,000 units x 3,000 times, rank 10: one sweep", seconds, "<= 0.2", unit="s"),
            Row("the same: memory beyond the data", extra / GB, "<= 1", unit="GB"),
            *wide(),
        ]
        for name, sizes in growth().items():
            rows += [
                Row(f"one sweep, {name} {size}", value, unit="s", note="CPU time")
                for size, value in sizes.items()
            ]
    return rows


def wide() -> list[Row]:
    """29,010 units at 12 moments: what a dense tensor of 81 GB would hold, from traces."""
    tracemalloc.start()
    layout = sweeps.implicit_layout(29_010, 12)
    factors = ntf.start(layout, 10, [(0, 0)])
    start = time.process_time()
    for _ in range(10):
        factors, _ = ntf.sweep(layout, factors)
    seconds = (time.process_time() - start) / 10
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return [
        Row("29,010 units x 12 times, rank 10: peak memory, data included", peak / GB, "<= 2", unit="GB",
            note="for tensors that come from traces"),
        Row("the same: one sweep", seconds, unit="s"),
    ]  # fmt: skip


def growth() -> dict[str, dict[int, float]]:
    """Seconds of a sweep against units, moments and components, the others held at 1,000, 1,000 and 10."""

    def seconds(n_units: int, n_time: int, rank: int) -> float:
        return timing.best_of(sweeps.layout_sweep(sweeps.implicit_layout(n_units, n_time), rank), repeats=3)

    return {
        "units": {n: seconds(n, 1000, 10) for n in (500, 1000, 2000, 4000)},
        "moments": {n: seconds(1000, n, 10) for n in (500, 1000, 2000, 4000)},
        "components": {r: seconds(1000, 1000, r) for r in (5, 10, 20, 40)},
    }


def peak_of(call: Callable[[], object]) -> float:
    """Bytes that a call allocates at most beyond what there was."""
    call()
    tracemalloc.start()
    call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return float(peak)


# ---- from traces to intervals -----------------------------------------------------------------------
def traces_to_intervals(
    n_units: int = 10_000, n_time: int = 10_000, rank: int = 20, n_members: int = 1000
) -> list[Row]:
    """10,000 units, 10,000 moments, 20 planted groups: traces to motifs, communities and intervals, float32.

    Communities of every motif are found among the 1,000 units of largest loading in it.
    """
    traces, truth = planted_traces(n_units, n_time, rank)
    marks = [time.perf_counter()]
    affinity = nt.differential_affinity(traces)
    del traces
    marks.append(time.perf_counter())
    fit = nt.NTF(rank, layout="symcp", n_restarts=1, max_iter=60, tol=1e-5, dtype="float32").fit(affinity)
    marks.append(time.perf_counter())
    communities = nt.motif_communities(nt.BlockModel(degree_corrected=False), fit, max_units=n_members)
    marks.append(time.perf_counter())
    connectome = nt.dynamic_connectome(fit, communities)
    marks.append(time.perf_counter())
    seconds = np.diff(marks)
    loading = fit["unit_loading"].to_numpy()
    cosine = np.abs(loading @ (truth / np.linalg.norm(truth, axis=1, keepdims=True)).T)
    blocks = communities["n_blocks"].to_numpy().tolist()
    return [
        Row("traces to intervals, all together", float(seconds.sum()), "<= 900", unit="s", note="wall time"),
        Row("traces to affinity", seconds[0], unit="s"),
        Row("factorisation, one start", seconds[1], unit="s", note=f"{fit.attrs['n_iter']} sweeps"),
        Row(f"communities among {n_members} units, {rank} motifs", seconds[2], unit="s",
            note=f"communities found: {blocks}"),
        Row("intervals", seconds[3], unit="s", note=f"{connectome.sizes['interval']} intervals"),
        Row("planted groups found (cosine above .85)", float((cosine.max(axis=0) > 0.85).sum()),
            note=f"of {rank}, from one start; least but one {np.sort(cosine.max(axis=0))[1]:.2f}"),
        Row("peak memory of the process", peak_resident() / GB, "<= 8", unit="GB"),
    ]  # fmt: skip


def planted_traces(n_units: int, n_time: int, rank: int) -> tuple[xr.DataArray, np.ndarray]:
    """Traces in groups that burst together, with noise, and who belongs to which group."""
    rng = np.random.default_rng(0)
    member = (rng.random((rank, n_units)) < 1.5 / rank).astype("float32")
    bursts = (rng.random((rank, n_time)) < 0.005).astype("float32")
    course = np.cumsum(bursts * rng.choice([-1.0, 1.0], bursts.shape), axis=1).astype("float32")
    values = member.T @ course
    for first in range(0, n_units, 1000):
        values[first : first + 1000] += 0.02 * rng.standard_normal(
            (min(1000, n_units - first), n_time), "float32"
        )
    return xr.DataArray(values, dims=("unit", "time"), coords={"time": np.arange(n_time) / 10}), member


def peak_resident() -> float:
    """Largest resident memory of this process since it began, in bytes, as the system counts it."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


# ---- longer than memory -----------------------------------------------------------------------------
def streamed(n_units: int = 200, n_time: int = 40_000, chunk: int = 800) -> list[Row]:
    """A recording on disk, in chunks of a fiftieth, beside the same in memory from the same start.

    Memory as NumPy allocates it: a dozen arrays of a chunk's size, and the factors, which stay in memory.
    """
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.standard_normal((3, n_time)), axis=1)
    values = walk[np.arange(n_units) % 3] + rng.standard_normal((n_units, n_time))
    coords = {"time": np.arange(n_time) / 30}
    model = {"rank": 3, "layout": "symcp", "n_restarts": 1, "max_iter": 4, "tol": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "traces.zarr"
        xr.Dataset({"x": (("unit", "time"), values)}, coords=coords).to_zarr(
            store, encoding={"x": {"chunks": (n_units, chunk)}}, consolidated=False
        )
        del values, walk
        tracemalloc.start()
        lazily = xr.open_zarr(store, chunks=None, consolidated=False)["x"]
        drives = nt.stream_affinity(lazily, Path(folder) / "drives.zarr", smooth_s=0.1, chunk=chunk)
        fit = nt.NTF(**model, chunk=chunk).fit(drives)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        tracemalloc.start()
        whole = nt.NTF(**model).fit(nt.differential_affinity(lazily.load(), smooth_s=0.1))
        _, usual = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    data = 8.0 * n_units * n_time
    difference = np.abs(fit["error"].to_numpy() - whole["error"].to_numpy()).max()
    motifs = np.abs(nt.motif(fit) - nt.motif(whole)).max() / nt.motif(whole).max()
    return [
        Row("largest difference of errors, sweep by sweep", float(difference), "<= 1e-9"),
        Row("largest difference of motifs over the largest entry", float(motifs), "<= 1e-6"),
        Row("peak memory over the size of the traces, from disk", peak / data, "<= 0.6",
            note=f"traces of {data / 1e6:.0f} MB, chunks of {100 * chunk / n_time:.0f} %"),
        Row("the same, in memory", usual / data),
    ]  # fmt: skip
