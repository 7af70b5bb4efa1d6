"""Bi-clustering: the clock, memory, and kills."""

from __future__ import annotations

import time

import numpy as np

import neurotools as nt
from benchmarks.checks.kills import forked
from benchmarks.record import Row, shared
from neurotools.numerics import bicluster
from neurotools.numerics.bicluster_law import Counts
from neurotools.schema import counts_array

SEED = 20261121


# ---- the clock -------------------------------------------------------------------------------------------
def sweep_speed() -> list[Row]:
    """Seconds of processor time of a sweep on 63 units and 720 bins, and how it grows."""
    path = shared("data/glm_reference/allen_719161530_counts_500ms.csv")
    y = np.ascontiguousarray(np.loadtxt(path, delimiter=",").astype("int64").reshape(63, 720))
    rows = []
    for family in ("nb", "poisson"):
        seconds, n = seconds_of_sweep(y, family)
        rows.append(Row(f"63 x 720, {family}, {n} clusters", seconds, "<= 0.2", unit="s a sweep"))
    twice = np.ascontiguousarray(np.concatenate([y, y], axis=1))
    more = np.ascontiguousarray(np.concatenate([y, y[:, ::-1]], axis=0))
    for what, values in (("63 x 1440", twice), ("126 x 720", more)):
        seconds, n = seconds_of_sweep(values, "nb")
        rows.append(Row(f"{what}, nb, {n} clusters", seconds, unit="s a sweep"))
    return rows


def seconds_of_sweep(y: np.ndarray, family: str, n: int = 20) -> tuple[float, int]:
    """Processor seconds of a sweep, after a few; and the number of clusters."""
    from neurotools.models.bicluster.start import first_draw

    prior = nt.BiCluster(family=family).prior(y.shape[0])
    data = Counts(y, np.ones(y.shape, bool), np.arange(y.shape[1]) == 0)
    rng = np.random.default_rng(SEED)
    draw = first_draw(rng, data, prior)
    for _ in range(5):
        bicluster.sweep(rng, draw, data, prior)
    begun = time.process_time()
    for _ in range(n):
        bicluster.sweep(rng, draw, data, prior)
    return (time.process_time() - begun) / n, draw.n_clusters


# ---- kills -----------------------------------------------------------------------------------------------
def twenty_kills() -> list[Row]:
    """Kill a chain at random moments until it is done; its draws against one never killed."""
    import tempfile

    rng = np.random.default_rng(SEED)
    counts = counts_array(rng.poisson(2.0, size=(80, 6)), bin_width=0.1)
    model, plain = nt.BiCluster(latent_dim=1, seed=1), {"draws": 1500, "tune": 100, "chains": 1}
    begun = time.perf_counter()
    wanted = nt.content_hash(model.sample(counts, **plain))
    lasts = time.perf_counter() - begun
    killed = 0
    with tempfile.TemporaryDirectory() as folder:
        while killed < 20:
            run = forked(lambda: model.sample(counts, **plain, checkpoint=folder, checkpoint_s=0.02))
            if not run.kill_after(rng.uniform(0, lasts / 10)):
                break
            killed += 1
        found = nt.content_hash(model.sample(counts, **plain, checkpoint=folder))
    note = f"{killed} kills of one chain that takes {lasts:.1f} s"
    return [
        Row(
            "draws that differ from those of a chain never killed", float(found != wanted), "<= 0", note=note
        ),
        Row("kills while the chain was running", killed, ">= 20"),
    ]
