"""The law of spike counts in bi-clusters: what is known beforehand, what is drawn, and draws from the prior.

    y_it ~ NB(r_i, mean mu_it),  log mu_it = d_i + m_t + c_i . x_t   (m, x of the cluster of unit i)
    [m_t x_t] = b + A [m_{t-1} x_{t-1}] + noise(Q),   A, b, Q of the state s_t

After Wei (2024), ICLR.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from neurotools.arrays import Array
from neurotools.numerics import mixtures, stickyhdp
from neurotools.numerics.stickyhdp import Chain, ChainPrior

LARGEST_LOG_RATE = 13.0  # of counts that are drawn: 400 thousand in a bin
FIRST_WINDOW = 32  # bins of a path that are proposed at once, until their number is tuned


@dataclass(frozen=True)
class Prior:
    """Everything that is not learned; ``gamma`` is 0 for a Dirichlet process."""

    n_latent: int
    poisson: bool
    full: bool
    n_states: int
    chain: ChainPrior
    log_v: Float[Array, " blocks"]
    gamma: float
    n_auxiliary: int = 3
    n_splits: int = 1
    baseline_sd: float = 1.0
    loading_sd: float = 1.0
    dispersion_shape: float = 1.0
    dispersion_rate: float = 1.0
    initial_sd: float = 1.0
    noise_scale: float = 0.01
    noise_freedom: float = 2.0
    column_precision: float = 1.0

    @property
    def noise(self) -> tuple[float, float]:
        """Scale of the inverse Wishart law of noise, and its degrees of freedom beyond the latents."""
        return float(self.noise_scale), float(self.noise_freedom)

    @property
    def unit_precision(self) -> Float[np.ndarray, " parameter"]:
        """Prior precision of a unit's baseline and loadings."""
        return np.array([self.baseline_sd**-2.0, *[self.loading_sd**-2.0] * self.n_latent])


@dataclass(frozen=True)
class Counts:
    """Counts, which of them are seen, and where sessions begin."""

    y: Int[Array, "unit time"]
    seen: Bool[Array, "unit time"]
    start: Bool[Array, " time"]


@dataclass
class Draw:
    """Where the chain is. Moves change it in place."""

    cluster: Int[Array, " unit"]
    theta: Float[Array, "unit parameter"]  # baseline, then loadings
    dispersion: Float[Array, " unit"]  # infinite where counts are Poisson
    latent: Float[Array, "cluster time parameter"]
    state: Int[Array, " time"]
    chain: Chain
    coef: Float[Array, "group state q q1"] = field(default_factory=lambda: np.zeros((0, 0, 0, 0)))
    root: Float[Array, "group state q q"] = field(default_factory=lambda: np.zeros((0, 0, 0, 0)))
    window: int = FIRST_WINDOW

    @property
    def n_clusters(self) -> int:
        """Clusters that hold units: all of them."""
        return self.latent.shape[0]


def log_rates(draw: Draw) -> Float[np.ndarray, "unit time"]:
    """Log of the expected count of every unit and bin."""
    path = draw.latent[draw.cluster]
    return draw.theta[:, :1] + path[..., 0] + np.einsum("ntk,nk->nt", path[..., 1:], draw.theta[:, 1:])


def draw_counts(rng: np.random.Generator, draw: Draw) -> Int[np.ndarray, "unit time"]:
    """Counts of every unit and bin given all else."""
    rate = np.exp(np.minimum(log_rates(draw), LARGEST_LOG_RATE))
    finite = np.isfinite(draw.dispersion)[:, None]
    r = np.where(finite, draw.dispersion[:, None], 1.0)
    return rng.poisson(np.where(finite, rng.standard_gamma(np.broadcast_to(r, rate.shape)) / r * rate, rate))


def draw_prior(rng: np.random.Generator, n_units: int, start: Bool[Array, " time"], prior: Prior) -> Draw:
    """Everything but the counts, drawn from its prior."""
    from neurotools.numerics.kernels.numba_statespace import draw_all_dynamics, simulate_path

    chain = stickyhdp.draw_prior(rng, prior.n_states, prior.chain)
    state = np.zeros(start.size, dtype="int64")
    for t in range(start.size):
        weights = np.full(prior.n_states, 1 / prior.n_states) if start[t] else chain.transition[state[t - 1]]
        state[t] = rng.choice(prior.n_states, p=weights / weights.sum())
    cluster = mixtures.draw_partition(rng, n_units, prior.log_v, prior.gamma)
    m, n_clusters = prior.n_latent + 1, int(cluster.max()) + 1
    groups, q = (1, n_clusters * m) if prior.full else (n_clusters, m)
    hyper = (prior.n_states, prior.column_precision, prior.noise)
    laws = [draw_all_dynamics(rng, np.zeros((1, q)), state[:1], start[:1], *hyper) for _ in range(groups)]
    drawn = np.stack([simulate_path(rng, *law, state, start, prior.initial_sd) for law in laws])
    if prior.full:
        drawn = np.ascontiguousarray(np.moveaxis(drawn[0].reshape(-1, n_clusters, m), 1, 0))
    dispersion = rng.gamma(prior.dispersion_shape, size=n_units) / prior.dispersion_rate
    return Draw(
        cluster=cluster,
        theta=rng.standard_normal((n_units, m)) / np.sqrt(prior.unit_precision),
        dispersion=np.full(n_units, np.inf) if prior.poisson else np.maximum(dispersion, 1e-12),
        latent=drawn, state=state, chain=chain,
        coef=np.stack([law[0] for law in laws]), root=np.stack([law[1] for law in laws]),
    )  # fmt: skip
