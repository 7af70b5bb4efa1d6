"""Sticky hierarchical Dirichlet process of states, in its weak limit of at most L states.

    beta ~ Dirichlet(gamma / L),   pi_j ~ Dirichlet(alpha beta + kappa e_j)

Fox, Sudderth, Jordan & Willsky (2011), Annals of Applied Statistics 5, 1020-1056, section 3 and appendix. The
concentration of beta is updated for L states, not for infinitely many, so the law is left exactly as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from neurotools.arrays import Array

TINY = 1e-300  # a probability of 0 would stay 0 for ever


@dataclass(frozen=True)
class Chain:
    """Transitions of the states and what they are drawn from."""

    base: Float[Array, " state"]  # beta
    transition: Float[Array, "state state"]  # pi
    mass: float  # alpha + kappa
    share: float  # rho = kappa / (alpha + kappa): pseudo-counts that go to staying
    top: float  # gamma


@dataclass(frozen=True)
class ChainPrior:
    """mass ~ gamma(mass_shape, mass_rate), share ~ beta(share_stay, share_leave), top ~ gamma(...)."""

    mass_shape: float
    mass_rate: float
    share_stay: float
    share_leave: float
    top_shape: float
    top_rate: float
    learn: bool = True


def count_transitions(
    state: Int[Array, " time"], start: Bool[Array, " time"], n_states: int
) -> Int[np.ndarray, "state state"]:
    """How often each state follows each other, not across the edges of sessions."""
    flat = (state[:-1] * n_states + state[1:])[~start[1:]]
    return np.bincount(flat, minlength=n_states * n_states).reshape(n_states, n_states)


def draw_prior(rng: np.random.Generator, n_states: int, prior: ChainPrior) -> Chain:
    """A chain drawn from its prior; where nothing is learned, concentrations are the means of theirs."""
    mass, share, top = (
        (
            rng.gamma(prior.mass_shape) / prior.mass_rate,
            rng.beta(prior.share_stay, prior.share_leave),
            rng.gamma(prior.top_shape) / prior.top_rate,
        )
        if prior.learn
        else fixed(prior)
    )
    base = _dirichlet(rng, np.full(n_states, top / n_states))
    transition = _dirichlet(rng, concentration(base, mass, share))
    return Chain(base, transition, mass, share, top)


def fixed(prior: ChainPrior) -> tuple[float, float, float]:
    """Means of the priors of mass, share and top."""
    return (
        prior.mass_shape / prior.mass_rate,
        prior.share_stay / (prior.share_stay + prior.share_leave),
        prior.top_shape / prior.top_rate,
    )


def concentration(
    base: Float[Array, " state"], mass: float, share: float
) -> Float[np.ndarray, "state state"]:
    """Parameters alpha beta + kappa e_j of each row of the transitions."""
    return mass * (1 - share) * base[None] + mass * share * np.eye(base.size)


def update(
    rng: np.random.Generator, chain: Chain, moves: Int[Array, "state state"], prior: ChainPrior
) -> Chain:
    """One exact Gibbs update of everything given how often each state followed each other.

    Transitions are integrated out until they are drawn at the end, and beta where its concentration is drawn.
    """
    n_states = chain.base.size
    tables = draw_tables(rng, moves, concentration(chain.base, chain.mass, chain.share))
    stay = np.diag(tables)
    kept = chain.share / (chain.share + chain.base * (1 - chain.share))
    override = rng.binomial(stay, np.clip(kept, 0.0, 1.0))
    dishes = tables.sum(axis=0) - override
    if prior.learn:
        mass = _draw_mass(
            rng, float(tables.sum()), chain.mass, moves.sum(axis=1), prior.mass_shape, prior.mass_rate
        )
        share = rng.beta(prior.share_stay + override.sum(), prior.share_leave + tables.sum() - override.sum())
        courses = draw_tables(rng, dishes[None], np.full((1, n_states), chain.top / n_states))
        top = _draw_mass(
            rng, float(courses.sum()), chain.top, dishes.sum(keepdims=True), prior.top_shape, prior.top_rate
        )
        chain = replace(chain, mass=mass, share=float(np.clip(share, 1e-12, 1 - 1e-12)), top=top)
    base = _dirichlet(rng, chain.top / n_states + dishes)
    transition = _dirichlet(rng, concentration(base, chain.mass, chain.share) + moves)
    return replace(chain, base=base, transition=transition)


def draw_tables(
    rng: np.random.Generator, customers: Int[Array, "row dish"], weight: Float[Array, "row dish"]
) -> Int[np.ndarray, "row dish"]:
    """Number of tables at which customers sit: sum_i Bernoulli(w / (w + i)), i = 0, ..., customers - 1."""
    customers, weight = np.asarray(customers, dtype="int64"), np.asarray(weight, dtype="float64")
    flat = customers.ravel()
    before = np.arange(flat.sum()) - np.repeat(np.cumsum(flat) - flat, flat)
    each = np.repeat(np.maximum(weight.ravel(), TINY), flat)
    new = rng.random(each.size) * (each + before) < each
    owner = np.repeat(np.arange(flat.size), flat)
    return np.bincount(owner, weights=new, minlength=flat.size).astype("int64").reshape(customers.shape)


def _draw_mass(  # noqa: PLR0917
    rng: np.random.Generator, tables: float, mass: float, customers: Array, shape: float, rate: float
) -> float:
    """A concentration given tables and customers of its restaurants (Escobar & West 1995)."""
    present = customers[customers > 0]
    log_eta = np.log(np.maximum(rng.beta(mass, present), TINY)) if present.size else np.zeros(1)
    return float(max(rng.gamma(shape + tables) / (rate - log_eta.sum()), TINY))


def _dirichlet(rng: np.random.Generator, weight: Float[Array, "*batch state"]) -> np.ndarray:
    """Dirichlet draws of each row, in logarithms where gammas of small shape would all be 0."""
    # gamma(a) = gamma(a + 1) u^(1/a)
    log_draw = np.log(rng.standard_gamma(weight + 1)) + np.log(rng.random(weight.shape)) / np.maximum(
        weight, TINY
    )
    draw = np.exp(np.maximum(log_draw - log_draw.max(axis=-1, keepdims=True), -690.0))
    return draw / draw.sum(axis=-1, keepdims=True)
