"""Is a sampler right? Its draws with the counts drawn anew after each sweep must be draws from the prior.

Geweke (2004), JASA 99, 799-804. Functionals are named beforehand, none has labels of clusters or states in
it, and those of heavy tails are taken through a bounded or logarithmic function. Variances of the chain come
from means of batches. Mutants are defects of published code, made again: a test that lets them pass is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from neurotools.numerics import bicluster, bicluster_law, mixtures, polyagamma
from neurotools.numerics.bicluster import MOVES, Move, Stats
from neurotools.numerics.bicluster_law import Counts, Draw, Prior
from neurotools.numerics.stickyhdp import ChainPrior

N_UNITS, N_TIME, N_STATES = 4, 12, 3
BATCHES = 64
PLACED = 1 + MOVES.index(bicluster.draw_assignments)  # moves after which units have just been placed
NAMES = (
    "baseline", "baseline squared", "loading", "loading squared", "log r", "log r squared", "tanh r",
    "clusters", "clusters squared", "units 1 and 2 together", "units 3 and 4 together",
    "states visited", "bins 1 and 2 alike", "bins 6 and 7 alike", "switches",
    "log mass", "share of staying", "log top", "largest base", "self transition",
    "first level squared", "middle level", "last level", "first latent", "last latent", "steps",
    "mean log count", "mean log count squared", "zeros", "variance of counts",
    "rate", "rate squared", "rate from bin to bin", "rates of units 1 and 2", "loading times latent",
    "log det Q", "A of level on level", "offset", "baseline times rate", "log r times counts",
    "squared residual", "residual times log rate", "residuals of units 1 and 2", "residual from bin to bin",
    # each move by itself keeps the joint law: these are looked at when units have just been placed in
    # clusters, before anything is drawn that depends on the loadings they have there
    "squared residual of units just placed", "residual times log rate of units just placed",
    "residuals of units 1 and 2 just placed", "rate squared of units just placed",
)  # fmt: skip


def small_prior(*, poisson: bool = False, process: bool = False, full: bool = False) -> Prior:
    """Priors tame enough that counts stay small, on a problem small enough that all of it moves."""
    log_v = (
        mixtures.dirichlet_process_coefficients(N_UNITS, 1.0)
        if process
        else mixtures.finite_mixture_coefficients(N_UNITS, 0.4)
    )
    chain = ChainPrior(
        mass_shape=4.0, mass_rate=1.0, share_stay=2.0, share_leave=2.0, top_shape=4.0, top_rate=2.0
    )
    # Poisson counts tell more of rates, and a chain goes less far when they are large
    noise_scale, column_precision = (0.5, 4.0) if poisson else (1.0, 2.0)
    return Prior(
        n_latent=1, poisson=poisson, full=full, n_states=N_STATES, chain=chain, log_v=log_v,
        gamma=0.0 if process else 1.0, n_splits=3, baseline_sd=0.5, loading_sd=0.5, initial_sd=0.5,
        noise_scale=noise_scale, noise_freedom=12.0, column_precision=column_precision, dispersion_shape=2.0,
        dispersion_rate=2.0,
    )  # fmt: skip


def loud_prior() -> Prior:
    """Priors under which loadings and paths matter more than in ``small_prior``, and rates stay drawable."""
    return replace(
        small_prior(), loading_sd=1.0, initial_sd=0.6, column_precision=3.0, noise_scale=1.65,
        dispersion_shape=3.0, dispersion_rate=1.0, baseline_sd=1.0,
    )  # fmt: skip


def of_placement(draw: Draw, y: np.ndarray) -> np.ndarray:
    """Those of the functionals that say how counts meet the rates of units where they are."""
    eta, r = bicluster_law.log_rates(draw), draw.dispersion[:, None]
    bounded, mean = np.tanh(0.5 * eta), np.exp(eta)
    residual = np.tanh(0.5 * (y - mean) / np.sqrt(mean * (1 + mean / r)))
    both = (residual[0] * residual[1]).mean()
    return np.array([(residual**2).mean(), (residual * bounded).mean(), both, (bounded**2).mean()])


def functionals(draw: Draw, y: np.ndarray, placed: np.ndarray | None = None) -> np.ndarray:
    """The numbers that ``NAMES`` names; ``placed`` are the last of them where they were looked at before."""
    eta, r, path = bicluster_law.log_rates(draw), draw.dispersion, draw.latent[draw.cluster]
    bounded, log_r = np.tanh(0.5 * eta), np.log(np.where(np.isfinite(r), r, 1.0))
    log_y, state, chain = np.log1p(y), draw.state, draw.chain
    moved = np.log1p(10 * np.diff(path, axis=1) ** 2)
    q = draw.coef.shape[2]
    group = 0 if draw.coef.shape[0] == 1 else draw.cluster[0]
    place = 0 if draw.coef.shape[0] > 1 else draw.cluster[0] * path.shape[2] % q
    coef, root = draw.coef[group, state[5]], draw.root[group, state[5]]
    squares = np.log1p(path**2)
    mean = np.exp(eta)
    residual = np.tanh(0.5 * (y - mean) / np.sqrt(mean * (1 + mean / r[:, None])))
    theta = draw.theta
    return np.array([
        theta[:, 0].mean(), (theta[:, 0] ** 2).mean(), theta[:, 1].mean(), (theta[:, 1] ** 2).mean(),
        log_r.mean(), (log_r**2).mean(), np.tanh(np.where(np.isfinite(r), r, 1.0)).mean(),
        draw.n_clusters, draw.n_clusters**2, draw.cluster[0] == draw.cluster[1],
        draw.cluster[2] == draw.cluster[3],
        np.unique(state).size, state[0] == state[1], state[5] == state[6], (state[1:] != state[:-1]).sum(),
        math.log(chain.mass), chain.share, math.log(chain.top), chain.base.max(),
        np.diag(chain.transition).mean(),
        squares[:, 0, 0].mean(), np.tanh(path[:, 6, 0]).mean(), squares[:, -1, 0].mean(),
        squares[:, 0, 1].mean(), squares[:, -1, 1].mean(), moved.mean(),
        log_y.mean(), (log_y**2).mean(), (y == 0).mean(), math.log1p(y.var()),
        bounded.mean(), (bounded**2).mean(), (bounded[:, 1:] * bounded[:, :-1]).mean(),
        (bounded[0] * bounded[1]).mean(), np.tanh(theta[:, 1:] * path[..., 1]).mean(),
        -2 * np.log(np.diag(root)).sum() / q, np.tanh(coef[place, place]), np.tanh(3 * coef[place, -1]),
        (theta[:, :1] * bounded).mean(), (log_r[:, None] * log_y).mean(),
        (residual**2).mean(), (residual * bounded).mean(), (residual[0] * residual[1]).mean(),
        (residual[:, 1:] * residual[:, :-1]).mean(),
        *(of_placement(draw, y) if placed is None else placed),
    ], dtype="float64")  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """The z of each functional, and effective draws of the chain."""

    z: np.ndarray
    effective: np.ndarray

    @property
    def worst(self) -> float:
        """Largest |z|."""
        return float(np.abs(self.z).max())


def sessions() -> np.ndarray:
    """Where sessions of the small problem begin."""
    start = np.zeros(N_TIME, dtype=bool)
    start[[0, 3, 6, 9]] = True
    return start


def prior_values(prior: Prior, n: int, seed: object) -> np.ndarray:
    """Functionals of independent draws of parameters and counts."""
    rng, found = np.random.default_rng(seed), np.empty((n, len(NAMES)))
    for k in range(n):
        draw = bicluster_law.draw_prior(rng, N_UNITS, sessions(), prior)
        found[k] = functionals(draw, bicluster_law.draw_counts(rng, draw))
    return found


def chain_values(
    prior: Prior, n: int, seed: object, moves: tuple[Move, ...] = MOVES
) -> np.ndarray:  # fmt: skip
    """Functionals along a chain in which counts are drawn anew before each sweep; it begins in the prior.

    In every other sweep they are drawn anew before each move too: so the chain goes farther, and sweeps as
    they are used are still half of it.
    """
    rng, found = np.random.default_rng(seed), np.empty((n, len(NAMES)))
    draw = bicluster_law.draw_prior(rng, N_UNITS, sessions(), prior)
    draw.window = 5
    seen = np.ones((N_UNITS, N_TIME), dtype=bool)
    for k in range(n):
        y = bicluster_law.draw_counts(rng, draw)
        data = Counts(y, seen, sessions())
        bicluster.sweep(rng, draw, data, prior, moves[:PLACED])
        placed = of_placement(draw, y)
        for move in moves[PLACED:]:
            if k % 2:
                data = Counts(bicluster_law.draw_counts(rng, draw), seen, sessions())
            move(rng, draw, data, prior)
        found[k] = functionals(draw, data.y, placed)
    return found


def joint(prior: Prior, n_sweeps: int, n_prior: int, seed: int, moves: tuple[Move, ...] = MOVES) -> Outcome:
    """Compare means of functionals over the chain with those over independent draws from the prior."""
    return compare(prior_values(prior, n_prior, (seed, 0)), chain_values(prior, n_sweeps, (seed, 1), moves))


def compare(wanted: np.ndarray, found: np.ndarray) -> Outcome:
    """The z from independent draws and from a chain; 0 where neither varies."""
    size = found.shape[0] // BATCHES
    batch = found[-size * BATCHES :].reshape(BATCHES, size, -1).mean(axis=1)
    error = batch.var(axis=0, ddof=1) / BATCHES
    total = error + wanted.var(axis=0, ddof=1) / wanted.shape[0]
    gap = found[-size * BATCHES :].mean(axis=0) - wanted.mean(axis=0)
    z = np.divide(gap, np.sqrt(total), out=np.zeros_like(gap), where=total > 1e-20)
    spread = found.var(axis=0, ddof=1)
    effective = np.divide(spread, error, out=np.full_like(gap, np.inf), where=error > 1e-20)
    return Outcome(z, effective)


# ---- defects, made again ----------------------------------------------------------------------------------
def backward_by_the_wrong_state(rng: np.random.Generator, draw: Draw, data: Counts, prior: Prior) -> Stats:
    """The step from t to t + 1 takes state t + 1 forwards in time and state t backwards."""
    for c in range(draw.n_clusters):
        units = np.flatnonzero(draw.cluster == c)
        eta = bicluster_law.log_rates(draw)[units]
        r = draw.dispersion[units, None]
        omega = polyagamma.draw(rng, data.y[units] + r, eta - np.log(r))
        loading = np.concatenate([np.ones((units.size, 1)), draw.theta[units, 1:]], axis=1)
        pull = 0.5 * (data.y[units] - r) + omega * (np.log(r) - draw.theta[units, :1])
        mean, cov = _filtered(draw, c, data, prior, omega, pull, loading)
        x = np.empty_like(mean)
        for t in range(mean.shape[0] - 1, -1, -1):
            here, spread = mean[t], cov[t]
            if t + 1 < mean.shape[0] and not data.start[t + 1]:
                a, b, noise = _dynamics(draw, c, draw.state[t])  # state t + 1 would be right
                gain = spread @ a.T @ np.linalg.inv(a @ spread @ a.T + noise)
                here = here + gain @ (x[t + 1] - b - a @ here)
                spread = spread - gain @ a @ spread
            x[t] = here + np.linalg.cholesky(spread + 1e-12 * np.eye(here.size)) @ rng.standard_normal(
                here.size
            )
        draw.latent[c] = x
    return {}


def _dynamics(draw: Draw, c: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    inverse = np.linalg.inv(draw.root[c, k])
    return draw.coef[c, k, :, :-1], draw.coef[c, k, :, -1], inverse @ inverse.T


def _filtered(  # noqa: PLR0917
    draw: Draw, c: int, data: Counts, prior: Prior, omega: np.ndarray, pull: np.ndarray, loading: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    m = loading.shape[1]
    mean, cov = np.zeros((data.start.size, m)), np.zeros((data.start.size, m, m))
    for t in range(data.start.size):
        before, spread = np.zeros(m), prior.initial_sd**2 * np.eye(m)
        if not data.start[t]:
            a, b, noise = _dynamics(draw, c, draw.state[t])
            before, spread = b + a @ mean[t - 1], a @ cov[t - 1] @ a.T + noise
        precision = np.linalg.inv(spread)
        cov[t] = np.linalg.inv(precision + (loading * omega[:, t, None]).T @ loading)
        mean[t] = cov[t] @ (precision @ before + loading.T @ pull[:, t])
    return mean, cov


def dispersion_with_probability_held(
    rng: np.random.Generator, draw: Draw, data: Counts, prior: Prior
) -> Stats:
    """A gamma draw that is right where the probabilities, not the means, are held."""
    rate = np.exp(bicluster_law.log_rates(draw))
    for i, r in enumerate(draw.dispersion):
        share = rate[i] / (rate[i] + r)
        tables = sum(int((rng.random(n) * (r + np.arange(n)) < r).sum()) for n in data.y[i])
        shape = prior.dispersion_shape + tables
        draw.dispersion[i] = rng.gamma(shape) / (prior.dispersion_rate - np.log1p(-share).sum())
    return {}


def assignments_with_stale_loadings(
    rng: np.random.Generator, draw: Draw, data: Counts, prior: Prior
) -> Stats:
    """Clusters drawn with loadings integrated out, and the old loadings kept for the paths."""
    theta = draw.theta.copy()
    stats = bicluster.draw_assignments(rng, draw, data, prior)
    draw.theta = theta
    return stats


MUTANTS: dict[str, tuple[Move, Move]] = {
    "backward pass by the wrong state": (bicluster.draw_paths, backward_by_the_wrong_state),
    "dispersion with probability held": (bicluster.draw_dispersion, dispersion_with_probability_held),
    "paths drawn with stale loadings": (bicluster.draw_assignments, assignments_with_stale_loadings),
}


# Priors under which each of them shows, and sweeps that show it among the tests.
MUTANT_PRIORS: dict[str, Callable[[], Prior]] = {
    "backward pass by the wrong state": small_prior,
    "dispersion with probability held": small_prior,
    "paths drawn with stale loadings": loud_prior,
}
FAST = {
    "backward pass by the wrong state": 5000,
    "dispersion with probability held": 3000,
    "paths drawn with stale loadings": 6000,
}


def mutated(name: str) -> tuple[Move, ...]:
    """The moves of a sweep, one of them replaced by a defect."""
    right, wrong = MUTANTS[name]
    return tuple(wrong if move is right else move for move in MOVES)
