"""One sweep of a Markov chain over bi-clusterings of spike counts, move by move.

Each move leaves the posterior of the law in ``bicluster_law`` as it is. Dynamics (A, b, Q) are integrated out
while clusters come and go, and drawn before anything conditions on them; a unit's baseline and loadings are
drawn together with its cluster. The moves are those of the modules in ``kernels``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from neurotools.arrays import Array
from neurotools.numerics import stickyhdp
from neurotools.numerics.bicluster_law import Counts, Draw, Prior

SPARE = 8  # slots for clusters that come within one sweep
WINDOW_GOAL = (0.6, 0.85)  # share of windows of a path to be accepted; outside of it their length changes
FEWEST_STRETCHES = 4  # of time whose state is proposed to change, in each sweep
BINS_A_STRETCH = 8  # so many more of them
BINS_A_REROUTE = 16  # likewise, where paths are integrated out
FRAMES_A_CLUSTER = 20  # changes of frame that are tried in a sweep
FEWEST_RELOCATED = 4  # units whose cluster is drawn with all paths integrated out, where it is tried
UNITS_A_RELOCATION = 8  # so many units for each of them
SHARE_REROUTED = 0.5  # of sweeps in which states are drawn together with paths
PARTICLES = 8  # sequences of states side by side
MOST_OPEN = 4  # states among which they choose in one sweep


Stats = dict[str, float]
Move = Callable[[np.random.Generator, Draw, Counts, Prior], Stats]


# ---- clusters ----------------------------------------------------------------------------------------------
def draw_assignments(rng: np.random.Generator, draw: Draw, data: Counts, prior: Prior) -> Stats:
    """Cluster, baseline and loadings of units, also new clusters where dynamics are block.

    A part of the units, by chance, in each sweep: loadings are drawn for all later on, and where counts are
    negative binomial units also move with paths integrated out.
    Full dynamics tie the law of a path to all others, so there clusters come and go by splits alone.
    """
    from neurotools.numerics.kernels.numba_biunits import assign

    n_auxiliary = 0 if prior.full else prior.n_auxiliary
    n, order = draw.cluster.size, rng.permutation(draw.cluster.size)
    begun = max(0, n - max(2, n // (2 if prior.poisson else 4)))
    n_cluster, first, accepted = draw.n_clusters, begun, 0
    while first < n:
        latent, size = with_spare(draw.latent[:n_cluster], draw.cluster, SPARE + n_auxiliary)
        n_cluster, first, more = assign(
            rng, data.y, data.seen, draw.dispersion, draw.cluster, draw.theta, latent, size, n_cluster,
            order, first, prior.log_v, prior.gamma, n_auxiliary, draw.state, data.start, prior.n_states,
            prior.unit_precision, prior.initial_sd, prior.column_precision, prior.noise,
        )  # fmt: skip
        accepted += more
        draw.latent = latent[:n_cluster].copy()
    return {"assign_accept": accepted / (n - begun)}


def with_spare(latent: Array, cluster: Array, spare: int) -> tuple[np.ndarray, np.ndarray]:
    """Paths and sizes of clusters with empty slots behind them."""
    room = np.zeros((latent.shape[0] + spare, *latent.shape[1:]))
    room[: latent.shape[0]] = latent
    return room, np.bincount(cluster, minlength=room.shape[0])


def split_and_merge(rng: np.random.Generator, draw: Draw, data: Counts, prior: Prior) -> Stats:
    """Propose to split a cluster, or to merge two, for random pairs of units."""
    from neurotools.numerics.kernels.numba_bisplits import split_or_merge

    stats = dict.fromkeys(("split_tried", "split_accept", "merge_tried", "merge_accept"), 0.0)
    for _ in range(prior.n_splits if draw.cluster.size > 1 else 0):
        i, other = rng.choice(draw.cluster.size, 2, replace=False)
        kind = "split" if draw.cluster[i] == draw.cluster[other] else "merge"
        latent, size = with_spare(draw.latent, draw.cluster, 1)
        n_cluster, accepted = split_or_merge(
            rng, data.y, data.seen, draw.dispersion, draw.cluster, draw.theta, latent, size,
            draw.n_clusters, i, other, prior.log_v, prior.gamma, draw.state, data.start, prior.n_states,
            prior.unit_precision, prior.initial_sd, prior.column_precision, prior.noise, prior.full,
        )  # fmt: skip
        draw.latent = latent[:n_cluster].copy()
        stats[f"{kind}_tried"] += 1
        stats[f"{kind}_accept"] += accepted
    return stats


# ---- states and dynamics -----------------------------------------------------------------------------------
def paths(draw: Draw, full: bool) -> Float[np.ndarray, "group time q"]:
    """Paths of groups of clusters that share dynamics: a group for each, or one for all."""
    if not full:
        return draw.latent
    joined = np.moveaxis(draw.latent, 0, 1).reshape(draw.latent.shape[1], -1)
    return np.ascontiguousarray(joined)[None]


def change_frames(rng: np.random.Generator, draw: Draw, data: Counts, prior: Prior) -> Stats:
    """Paths of each cluster in another frame, loadings and baselines with them, all rates as they are."""
    from neurotools.numerics.kernels.numba_biframes import reframe

    stacked, m = paths(draw, prior.full), draw.theta.shape[1]
    for c in range(draw.n_clusters):
        reframe(
            rng, stacked[0 if prior.full else c], c * m if prior.full else 0, draw.theta,
            np.flatnonzero(draw.cluster == c), draw.state, data.start, prior.n_states, prior.unit_precision,
            prior.initial_sd, prior.column_precision, prior.noise, FRAMES_A_CLUSTER,
        )  # fmt: skip
    unstack(draw, stacked, prior.full)
    return {}


def draw_dynamics(rng: np.random.Generator, draw: Draw, data: Counts, prior: Prior) -> Stats:
    """Dynamics of every state given paths; of states without bins from the prior."""
    from neurotools.numerics.kernels.numba_statespace import draw_all_dynamics

    hyper = (prior.n_states, prior.column_precision, prior.noise)
    drawn = [draw_all_dynamics(rng, path, draw.state, data.start, *hyper) for path in paths(draw, prior.full)]
    draw.coef, draw.root = (np.stack(part) for part in zip(*drawn, strict=True))
    return {}


def draw_states(rng: np.random.Generator, draw: Draw, data: Counts, prior: Prior) -> Stats:
    """The whole chain of states given paths and dynamics."""
    from neurotools.numerics.kernels import numba_bilatents as kernels

    log_likelihood = np.zeros((draw.state.size, prior.n_states))
    for path, coef, root in zip(paths(draw, prior.full), draw.coef, draw.root, strict=True):
        kernels.add_state_log_likelihood(path, coef, root, data.start, log_likelihood)
    kernels.draw_states(rng, log_likelihood, draw.chain.transition, data.start, draw.state)
    return {}


def relabel_stretches(rng: np.random.Generator, draw: Draw, data: Counts, prior: Prior) -> Stats:
    """Other states for stretches of time, dynamics and transitions integrated out."""
    from neurotools.numerics.kernels.numba_bistates import relabel

    chain, n_time = draw.chain, draw.state.size
    moves = stickyhdp.count_transitions(draw.state, data.start, prior.n_states)
    weight = np.maximum(stickyhdp.concentration(chain.base, chain.mass, chain.share), stickyhdp.TINY)
    tries = max(FEWEST_STRETCHES, n_time // BINS_A_STRETCH)
    accepted = relabel(
        rng, paths(draw, prior.full), draw.state, data.start, weight, moves, tries,
        prior.column_precision, prior.noise,
    )  # fmt: skip
    return {"state_accept": accepted / tries}


def draw_chain(rng: np.random.Generator, draw: Draw, data: Counts, prior: Prior) -> Stats:
    """Transitions and concentrations given the states."""
    moves = stickyhdp.count_transitions(draw.state, data.start, prior.n_states)
    draw.chain = stickyhdp.update(rng, draw.chain, moves, prior.chain)
    return {}


# ---- paths -------------------------------------------------------------------------------------------------
def draw_paths(rng: np.random.Generator, draw: Draw, data: Counts, prior: Prior) -> Stats:
    """Paths of all clusters: at once given Polya-Gamma variates, or by windows where counts are Poisson.

    In half of the sweeps, by chance, states are drawn with them where there are such variates.
    """
    from neurotools.numerics.kernels import numba_bilatents as kernels

    if not prior.poisson and rng.random() < SHARE_REROUTED:
        reroute_states(rng, draw, data, prior)
        return {"latent_accept": 1.0}
    stacked, column = paths(draw, prior.full), columns(draw, prior.full)
    accepted = tried = 0
    for group, path in enumerate(stacked):
        given = (
            path, draw.coef[group], draw.root[group], draw.state, data.start, prior.initial_sd**-2.0,
            data.y, data.seen, draw.dispersion, units_of(draw, group, prior.full), column, draw.theta,
        )  # fmt: skip
        if prior.poisson:
            passed, n = kernels.draw_path_windows(rng, *given, draw.window)
            accepted, tried = accepted + passed, tried + n
        else:
            kernels.draw_path_augmented(rng, *given)
    unstack(draw, stacked, prior.full)
    return {"latent_accept": accepted / tried if tried else 1.0}


def reroute_states(rng: np.random.Generator, draw: Draw, data: Counts, prior: Prior) -> None:
    """States of all bins with all paths, then those of stretches and edges, paths around integrated out."""
    from neurotools.numerics.kernels.numba_bijoint import augment, reroute

    stacked, column = paths(draw, prior.full), columns(draw, prior.full)
    n_group, n_time, q = stacked.shape
    weight, pull = np.zeros((n_group, n_time, q, q)), np.zeros((n_group, n_time, q))
    omega = np.zeros(data.y.shape)
    for group, path in enumerate(stacked):
        units = units_of(draw, group, prior.full)
        counts = (data.y, data.seen, draw.dispersion, units, column, draw.theta)
        augment(rng, path, *counts, omega, weight[group], pull[group])
    if n_group > 1:
        relocate_units(rng, draw, data, prior, omega, weight, pull)
    draw_states_and_paths(rng, draw, data, prior, (stacked, weight, pull))
    tries = max(FEWEST_STRETCHES, n_time // BINS_A_REROUTE)
    reroute(
        rng, stacked, draw.coef, draw.root, draw.state, data.start, draw.chain.transition,
        prior.initial_sd**-2.0, weight, pull, tries, 2 * tries,
    )  # fmt: skip
    unstack(draw, stacked, prior.full)


def relocate_units(  # noqa: PLR0917
    rng: np.random.Generator, draw: Draw, data: Counts, prior: Prior, omega: Array, weight: Array, pull: Array
) -> None:
    """Clusters of some units with all paths integrated out, then these paths; as before where they cannot."""
    from neurotools.numerics.kernels.numba_biparticles import draw_path_given
    from neurotools.numerics.kernels.numba_biplaces import relocate

    before = [part.copy() for part in (draw.cluster, draw.theta, weight, pull, draw.latent)]
    tries = max(FEWEST_RELOCATED, draw.cluster.size // UNITS_A_RELOCATION)
    laws, times, precise = (draw.coef, draw.root), (draw.state, data.start), prior.initial_sd**-2.0
    relocate(
        rng, data.y, data.seen, draw.dispersion, draw.cluster, draw.theta, np.bincount(draw.cluster), *laws,
        *times, precise, omega, weight, pull, prior.gamma, prior.unit_precision, tries, tries,
    )  # fmt: skip
    for g, path in enumerate(draw.latent):
        if not draw_path_given(rng, path, *(law[g] for law in laws), *times, precise, weight[g], pull[g]):
            for part, old in zip((draw.cluster, draw.theta, weight, pull, draw.latent), before, strict=True):
                part[:] = old
            return


def draw_states_and_paths(
    rng: np.random.Generator, draw: Draw, data: Counts, prior: Prior, given: tuple[np.ndarray, ...]
) -> None:
    """States of all bins among a few states by particles, then paths, given what counts say of paths.

    ``given`` are paths, and precisions and linear terms of the counts, of each group.
    """
    from neurotools.numerics.kernels.numba_biparticles import draw_by_particles, draw_path_given

    stacked, weight, pull = given
    laws, times = (draw.coef, draw.root), (draw.state, data.start)
    before = draw.state.copy()
    if prior.n_states > 1:
        open_state = favourites(rng, draw.chain.base)
        draw_by_particles(
            rng, stacked, *laws, *times, draw.chain.transition, prior.initial_sd, weight, pull, open_state,
            PARTICLES,
        )  # fmt: skip
    new = stacked.copy()
    drawn = [
        draw_path_given(
            rng, new[g], *(law[g] for law in laws), *times, prior.initial_sd**-2.0, weight[g], pull[g]
        )
        for g in range(new.shape[0])
    ]
    if all(drawn):
        stacked[:] = new
    else:  # states whose paths are beyond numbers are not entered
        draw.state[:] = before


def favourites(rng: np.random.Generator, base: Float[Array, " state"]) -> Int[np.ndarray, " open"]:
    """A few states, those that the chain likes the rather; which state any bin is in does not enter."""
    n = int(rng.integers(2, min(MOST_OPEN, base.size) + 1))
    score = np.log(np.maximum(base, stickyhdp.TINY)) + rng.gumbel(size=base.size)
    return np.sort(np.argsort(-score)[:n]).astype("int64")


def columns(draw: Draw, full: bool) -> Int[np.ndarray, " unit"]:
    """At which column of its group's path each unit's cluster begins."""
    return draw.cluster * draw.theta.shape[1] if full else np.zeros_like(draw.cluster)


def units_of(draw: Draw, group: int, full: bool) -> Int[np.ndarray, " member"]:
    """Units whose clusters are in a group."""
    return np.arange(draw.cluster.size) if full else np.flatnonzero(draw.cluster == group)


def unstack(draw: Draw, stacked: Float[Array, "group time q"], full: bool) -> None:
    """Put paths of groups back where they belong; those of single clusters are there already."""
    if full:
        parts = stacked[0].reshape(stacked.shape[1], draw.n_clusters, -1)
        draw.latent = np.ascontiguousarray(np.moveaxis(parts, 1, 0))


# ---- units -------------------------------------------------------------------------------------------------
def draw_units(rng: np.random.Generator, draw: Draw, data: Counts, prior: Prior) -> Stats:
    """Baseline and loadings of every unit, its cluster held."""
    from neurotools.numerics.kernels.numba_biunits import draw_unit_parameters

    draw_unit_parameters(
        rng, data.y, data.seen, draw.dispersion, draw.cluster, draw.theta, draw.latent, prior.unit_precision
    )
    return {}


def draw_dispersion(rng: np.random.Generator, draw: Draw, data: Counts, prior: Prior) -> Stats:
    """Dispersion of every unit given its means, from the exact likelihood."""
    from neurotools.numerics.kernels import numba_biunits as kernels

    if not prior.poisson:
        kernels.draw_dispersion(
            rng, data.y, data.seen, draw.dispersion, draw.cluster, draw.theta, draw.latent,
            prior.dispersion_shape, prior.dispersion_rate,
        )  # fmt: skip
    return {}


MOVES: tuple[Move, ...] = (
    draw_assignments,
    split_and_merge,
    change_frames,
    relabel_stretches,
    draw_chain,
    draw_dynamics,
    draw_states,
    draw_paths,
    draw_units,
    draw_dispersion,
)


def sweep(
    rng: np.random.Generator, draw: Draw, data: Counts, prior: Prior, moves: tuple[Move, ...] = MOVES
) -> Stats:
    """All moves once, in their order; what they say of themselves."""
    stats: Stats = {}
    for move in moves:
        stats |= move(rng, draw, data, prior)
    return stats


def tuned_window(window: int, accepted: float, n_time: int) -> int:
    """Length of windows of a path after a sweep of tuning."""
    low, high = WINDOW_GOAL
    if accepted < low:
        return max(2, int(window * 0.8))
    return min(n_time, math.ceil(window * 1.25)) if accepted > high else window
