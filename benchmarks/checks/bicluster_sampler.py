"""Bi-clustering: the sampler against its own model, and exact numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs

from benchmarks import geweke
from benchmarks.record import Row, code_hash
from neurotools.numerics import bicluster, bicluster_law, mixtures
from neurotools.numerics.bicluster_law import Counts, Prior

SEED = 20261121
KERNELS = (
    "neurotools/numerics/bicluster.py",
    "neurotools/numerics/bicluster_law.py",
    "neurotools/numerics/mixtures.py",
    "neurotools/numerics/stickyhdp.py",
    *(
        f"neurotools/numerics/kernels/numba_{name}.py"
        for name in (
            "biframes", "bijoint", "bilatents", "bilaws", "biparticles", "biplaces", "bisplits",
            "bistates", "biunits", "polyagamma", "statespace",
        )
    ),
)  # fmt: skip
JOINT = (*KERNELS, "benchmarks/geweke.py")
SEGMENT = 10_000  # sweeps of the joint test whose means are kept on disk
FEWEST_SEGMENTS, MOST_SEGMENTS = 6, 200
N_SEGMENTS_MUTANT = 3
EFFECTIVE, EFFECTIVE_DEFAULT = 1e4, 1e5  # draws of the slowest functional; of the default combination
N_PRIOR = 50_000
BLOCK = 20  # draws from the prior whose ranks are kept together
THIN = 10  # sweeps from one draw of a posterior to the next
COMBINATIONS = {
    f"{family}, {law}, {dynamics}": {
        "poisson": family == "Poisson", "process": law == "Dirichlet process", "full": dynamics == "full"
    }
    for family in ("negative binomial", "Poisson")
    for law in ("finite mixture", "Dirichlet process")
    for dynamics in ("block", "full")
}  # fmt: skip
DEFAULT = "negative binomial, finite mixture, block"


# ---- joint test ------------------------------------------------------------------------------------------
def joint_default() -> list[Row]:
    """The default combination, longest."""
    return _joint(DEFAULT, EFFECTIVE_DEFAULT)


def joint_others(family: str) -> list[Row]:
    """All other combinations of a family of counts."""
    names = [name for name in COMBINATIONS if name.startswith(family) and name != DEFAULT]
    return [row for name in names for row in _joint(name, EFFECTIVE)]


def mutants() -> list[Row]:
    """Defects made again, which the joint test must catch."""
    rows = []
    for name in geweke.MUTANTS:
        prior = geweke.MUTANT_PRIORS[name]()
        outcome = _segments(prior, name, N_SEGMENTS_MUTANT, geweke.mutated(name))
        note = f"{N_SEGMENTS_MUTANT * SEGMENT} sweeps; {_largest(outcome)}"
        rows.append(Row(f"{name}: largest |z|", outcome.worst, ">= 6", note=note))
    return rows


def _joint(name: str, least: float) -> list[Row]:
    """One combination, in segments that are kept: a run that was stopped goes on."""
    outcome, n = _until(geweke.small_prior(**COMBINATIONS[name]), name, least)
    fewest, most = outcome.effective.min(), outcome.effective.max()
    note = f"{n} sweeps, {fewest:.0f} to {most:.0f} effective draws; {_largest(outcome)}"
    return [
        Row(f"{name}: largest |z| of {len(geweke.NAMES)}", outcome.worst, "<= 3.5", note=note),
        Row(f"{name}: fewest effective draws", float(fewest), f">= {least:.0e}"),
    ]


def _largest(outcome: geweke.Outcome) -> str:
    return f"largest at {geweke.NAMES[int(np.abs(outcome.z).argmax())]}"


def _until(prior: Prior, name: str, least: float) -> tuple[geweke.Outcome, int]:
    """The joint test with as many segments as the slowest functional needs; and sweeps. No z is looked at."""
    for n in range(FEWEST_SEGMENTS, MOST_SEGMENTS + 1, 2):
        outcome = _segments(prior, name, n)
        if outcome.effective.min() >= least:
            break
    return outcome, n * SEGMENT


def _segments(prior: Prior, name: str, n: int, moves: tuple = geweke.MOVES) -> geweke.Outcome:
    """The joint test in independent segments, each of its own seed, each kept once it is done."""
    folder = _folder("joint-test")
    mark = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
    wanted = _kept(folder / f"{mark}-prior.npy", lambda: geweke.prior_values(prior, N_PRIOR, (SEED, mark)))
    found = [
        _kept(
            folder / f"{mark}-{k}.npy",
            lambda k=k: geweke.chain_values(prior, SEGMENT, (SEED, mark, k), moves),
        )
        for k in range(n)
    ]
    return geweke.compare(wanted, np.concatenate(found))


def _folder(name: str) -> Path:
    """Where pieces of a long run are kept, anew for other code."""
    folder = Path(platformdirs.user_cache_dir("neurotools")) / name / code_hash(JOINT)[:12]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _kept(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    from neurotools.provenance import atomic

    if not path.exists():
        with atomic(path) as staged, staged.open("wb") as stream:
            np.save(stream, make(), allow_pickle=False)
    return np.load(path, allow_pickle=False)


# ---- simulation-based calibration ------------------------------------------------------------------------
def calibration(n_blocks: int = 25, n_draws: int = 100) -> list[Row]:
    """Ranks of functionals of draws from the prior among those of the posterior of their own counts.

    Talts et al. (2018), arXiv 1804.06788. In blocks that are kept: a run that was stopped goes on.
    """
    from scipy.stats import chisquare

    folder = _folder("calibration")
    ranks = np.concatenate(
        [_kept(folder / f"{k}.npy", lambda k=k: _ranks(BLOCK, n_draws, (SEED, k))) for k in range(n_blocks)]
    )
    given = {
        i for i, name in enumerate(geweke.NAMES)
        if "count" in name or name == "zeros" or name.endswith("placed")
    }  # fmt: skip
    counted = [i for i in range(len(geweke.NAMES)) if i not in given]
    p = [chisquare(np.histogram(ranks[:, i], bins=10, range=(0, n_draws + 1))[0]).pvalue for i in counted]
    worst = int(np.argmin(p))
    note = f"{len(ranks)} draws from the prior, {n_draws} of each posterior; {geweke.NAMES[counted[worst]]}"
    compared = f"smallest p of {len(p)} functionals, times their number"
    return [Row(compared, min(p) * len(p), ">= 0.01", note=note)]


def _ranks(n: int, n_draws: int, seed: object) -> np.ndarray:
    """Ranks (draw from the prior, functional); ties are broken by chance."""
    prior, start, rng = geweke.small_prior(), geweke.sessions(), np.random.default_rng(seed)
    ranks = np.empty((n, len(geweke.NAMES)))
    for k in range(n):
        truth = bicluster_law.draw_prior(rng, geweke.N_UNITS, start, prior)
        y = bicluster_law.draw_counts(rng, truth)
        wanted, data = geweke.functionals(truth, y), Counts(y, np.ones(y.shape, bool), start)
        # the chain begins at the truth, itself a draw from the posterior, so none need be thrown away
        below, ties = np.zeros(wanted.size), np.zeros(wanted.size)
        for _ in range(n_draws):
            for _ in range(THIN):
                bicluster.sweep(rng, truth, data, prior)
            value = geweke.functionals(truth, y)
            below += value < wanted
            ties += value == wanted
        ranks[k] = below + np.floor(rng.random(wanted.size) * (ties + 1))
    return ranks


# ---- moves against slow computations ---------------------------------------------------------------------
def exact_numbers() -> list[Row]:
    """Coefficients of mixtures, the dispersion on a grid."""
    rows = []
    gap = np.abs(mixtures.finite_mixture_coefficients(171, 0.2)[1:3] - [-713.31, -717.97]).max()
    rows.append(Row("log V of 171 units, 1 and 2 clusters, less -713.31 and -717.97", float(gap), "<= 0.01"))
    for r in (1.0, 10.0, 100.0):
        mean, spread = dispersion_error(r)
        rows.append(Row(f"dispersion {r:g}: posterior mean, relative to the grid's", mean, "<= 0.01"))
        rows.append(Row(f"dispersion {r:g}: posterior sd, relative to the grid's", spread, "<= 0.03"))
    return rows


def dispersion_error(r: float, n_draws: int = 20_000) -> tuple[float, float]:
    """Relative errors of mean and standard deviation, 720 counts of known mean 4."""
    from scipy.special import gammaln, logsumexp

    rng = np.random.default_rng((SEED, int(r)))
    y = rng.poisson(rng.gamma(r, 4 / r, size=(1, 720)))
    shape = 1.0 if r < 50 else 100.0
    grid = np.linspace(np.log(r) - 3, np.log(r) + 2, 4001)
    e = np.exp(grid)[:, None]
    log_prob = (gammaln(y + e) - gammaln(e) - e * np.log1p(4 / e) - y * np.log(4 + e)).sum(1)
    log_prob += shape * grid - e[:, 0]
    weight = np.exp(log_prob - logsumexp(log_prob))
    mean = weight @ e[:, 0]
    sd = np.sqrt(weight @ e[:, 0] ** 2 - mean**2)
    prior = Prior(**{**vars(geweke.small_prior()), "dispersion_shape": shape, "dispersion_rate": 1.0})
    start = np.arange(720) == 0
    draw = bicluster_law.draw_prior(rng, 1, start, prior)
    draw.theta[:], draw.latent[:], draw.dispersion[:] = 0.0, 0.0, r
    draw.latent[0, :, 0] = np.log(4)
    data, found = Counts(y, np.ones(y.shape, bool), start), np.empty(n_draws)
    for k in range(n_draws):
        bicluster.draw_dispersion(rng, draw, data, prior)
        found[k] = draw.dispersion[0]
    return abs(found.mean() / mean - 1), abs(found.std() / sd - 1)
