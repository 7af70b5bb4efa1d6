"""Bi-clustering: the clock, memory, and kills."""

from __future__ import annotations

import time

import numpy as np

import neurotools as nt
from benchmarks.checks.kills import forked
from benchmarks.record import Row, shared
from benchmarks.timing import alternate, one_thread
from neurotools.models.bicluster.start import Search, first_draw, placed
from neurotools.numerics import bicluster
from neurotools.numerics.bicluster_law import Counts, Draw, Prior
from neurotools.schema import counts_array

SEED = 20261121


# ---- the clock -------------------------------------------------------------------------------------------
def sweep_speed() -> list[Row]:
    """Seconds of processor time of a sweep on 63 neurons and 720 bins, and of a path beside its rival."""
    path = shared("data/glm_reference/allen_719161530_counts_500ms.csv")
    y = np.ascontiguousarray(np.loadtxt(path, delimiter=",").astype("int64").reshape(63, 720))
    with one_thread():
        rows = []
        for family in ("nb", "poisson"):
            prior, data = setting(y, family)
            draw = first_draw(np.random.default_rng(SEED), data, prior)
            seconds = seconds_of_sweep(draw, data, prior)
            note = f"{draw.n_clusters} clusters where the chain begins"
            rows.append(
                Row(f"63 neurons x 720 bins, {family}", seconds, "<= 0.2", unit="s a sweep", note=note)
            )
        return [*rows, *latent_draw(), *growth()]


def setting(y: np.ndarray, family: str = "nb") -> tuple[Prior, Counts]:
    """What a chain is given."""
    start = np.arange(y.shape[1]) == 0
    return nt.BiCluster(family=family).prior(y.shape[0]), Counts(y, np.ones(y.shape, bool), start)


def seconds_of_sweep(draw: Draw, data: Counts, prior: Prior, n: int = 60) -> float:
    """Processor seconds of a sweep, after a few."""
    rng = np.random.default_rng(SEED)
    for _ in range(5):
        bicluster.sweep(rng, draw, data, prior)
    begun = time.process_time()
    for _ in range(n):
        bicluster.sweep(rng, draw, data, prior)
    return (time.process_time() - begun) / n


def growth() -> list[Row]:
    """Seconds of a sweep that begins at the truth, four times as many units, bins or clusters."""
    base = {"n_units": 60, "n_time": 500, "n_clusters": 3}
    least = planted_sweep(**base)
    rows = [Row("60 units, 500 bins, 3 clusters", least, unit="s a sweep")]
    for (name, size), label in zip(base.items(), ("units", "bins", "clusters"), strict=True):
        seconds = planted_sweep(**{**base, name: 4 * size})
        power = f"grows with the power {np.log(seconds / least) / np.log(4):.2f}"
        rows.append(Row(f"the same with four times the {label}", seconds, unit="s a sweep", note=power))
    return rows


def planted_sweep(n_units: int, n_time: int, n_clusters: int) -> float:
    """Seconds of a sweep on planted bi-clusters."""
    sizes = {"n_units": n_units, "n_time": n_time, "n_clusters": n_clusters}
    recording, truth = nt.simulate.biclusters(**sizes, seed=SEED)
    y = np.ascontiguousarray(recording["counts/counts"].to_numpy().T.astype("int64"))
    prior, data = setting(y)
    label, state = (truth[f"{name}_label"].to_numpy().astype("int64") for name in ("unit", "state"))
    search = Search(data, prior, np.full(n_units, 10.0), state)
    blocks = [search.block(np.flatnonzero(label == c), 5) for c in range(n_clusters)]
    return seconds_of_sweep(placed(np.random.default_rng(SEED), search, blocks), data, prior, 10)


# ---- a path beside the covariance form -------------------------------------------------------------------
def latent_draw(n_units: int = 63, n_time: int = 720, n_clusters: int = 3) -> list[Row]:
    """A draw of the paths of three clusters that share dynamics, nine numbers a bin, given variates."""
    from neurotools.numerics.kernels.numba_biparticles import draw_path_given

    rng, m = np.random.default_rng(SEED), 3
    q = n_clusters * m
    prior, start = nt.BiCluster(dynamics="full").prior(n_units), np.arange(n_time) == 0
    a, b, noise = 0.95 * np.eye(q), 0.01 * rng.standard_normal(q), 0.01 * np.eye(q)
    loading = np.zeros((n_units, q))
    for i in range(n_units):
        loading[i, i % n_clusters * m : i % n_clusters * m + m] = [1.0, *rng.standard_normal(m - 1)]
    weight, seen = rng.gamma(4.0, size=(n_time, n_units)), rng.standard_normal((n_time, n_units))
    precision = np.einsum("tn,ni,nj->tij", weight, loading, loading)
    pull = np.einsum("tn,tn,ni->ti", weight, seen, loading)
    coef, root = np.concatenate([a, b[:, None]], axis=1)[None], np.linalg.inv(np.linalg.cholesky(noise))[None]
    path, state = np.zeros((n_time, q)), np.zeros(n_time, "int64")
    law = (coef, root, state, start, prior.initial_sd**-2.0, precision, pull)
    model = (a, b, noise, prior.initial_sd)
    both = np.array([_mean_of_path(law), covariance_form(None, *model, loading, weight, seen)])
    ours, theirs = alternate(
        lambda: draw_path_given(rng, path, *law),
        lambda: covariance_form(rng, *model, loading, weight, seen),
        repeats=3,
    )
    return [
        Row("mean of a path, less that of the covariance form", float(np.ptp(both, axis=0).max()), "<= 1e-8"),
        Row("a draw of nine numbers in 720 bins", 1e3 * ours, unit="ms"),
        Row("the same, covariance form with 63 x 63 inverses", 1e3 * theirs, unit="ms"),
        Row("ratio", theirs / ours, ">= 100"),
    ]


def _mean_of_path(law: tuple) -> np.ndarray:
    from neurotools.numerics.kernels.numba_statespace import factorise, prior_precision, solve_path

    *dynamics, precision, pull = law
    diag, off, lin = prior_precision(*dynamics)
    diag += precision
    factorise(diag, off)
    return solve_path(diag, off, lin + pull, np.zeros(lin.shape))


def covariance_form(  # noqa: PLR0917
    rng: np.random.Generator | None, a: np.ndarray, b: np.ndarray, noise: np.ndarray, initial_sd: float,
    loading: np.ndarray, weight: np.ndarray, seen: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """A path by filtering forwards and sampling backwards, or its mean; an inverse over units in each bin."""
    n_time, q = weight.shape[0], a.shape[0]
    mean, cov = np.empty((n_time, q)), np.empty((n_time, q, q))
    ahead, spread = np.zeros(q), initial_sd**2 * np.eye(q)
    for t in range(n_time):
        if t > 0:
            ahead, spread = b + a @ mean[t - 1], a @ cov[t - 1] @ a.T + noise
        gain = spread @ loading.T @ np.linalg.inv(loading @ spread @ loading.T + np.diag(1 / weight[t]))
        mean[t] = ahead + gain @ (seen[t] - loading @ ahead)
        cov[t] = spread - gain @ loading @ spread
    x = np.empty((n_time, q))
    for t in range(n_time - 1, -1, -1):
        here, around = mean[t], cov[t]
        if t + 1 < n_time:
            back = around @ a.T @ np.linalg.inv(a @ around @ a.T + noise)
            here, around = here + back @ (x[t + 1] - b - a @ here), around - back @ a @ around
        x[t] = here
        if rng is not None:
            x[t] += np.linalg.cholesky(0.5 * (around + around.T)) @ rng.standard_normal(q)
    return x


# ---- memory ----------------------------------------------------------------------------------------------
def large(n_units: int = 1000, n_time: int = 10_000) -> list[Row]:
    """Two sweeps on a thousand units and ten thousand bins, in a process of their own."""
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        peak, begun, seconds, n = pool.apply(_large, (n_units, n_time))
    size = f"{n_units:,} units x {n_time:,} bins"
    return [
        Row(f"{size}: peak memory of the process", peak, "<= 16", unit="GB"),
        Row("until the first sweep", begun, unit="s", note=f"{n} clusters"),
        Row("a sweep", seconds, unit="s"),
    ]


def _large(n_units: int, n_time: int) -> tuple[float, float, float, int]:
    import resource

    recording, _ = nt.simulate.biclusters(n_units=n_units, n_time=n_time, n_clusters=10, seed=SEED)
    prior, data = setting(np.ascontiguousarray(recording["counts/counts"].to_numpy().T.astype("int64")))
    rng, begun = np.random.default_rng(SEED), time.perf_counter()
    draw = first_draw(rng, data, prior)
    searched = time.perf_counter()
    for _ in range(2):
        bicluster.sweep(rng, draw, data, prior)
    sweep = (time.perf_counter() - searched) / 2
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # kB on Linux
    return peak, searched - begun, sweep, draw.n_clusters


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
