"""What is kept of a chain: labels and numbers of every draw, running sums over time, few draws whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurotools.numerics import bicluster, bicluster_law, mixtures
from neurotools.numerics.bicluster import Stats
from neurotools.numerics.bicluster_law import Counts, Draw, Prior

SUMS = ("log_rate", "log_rate_square", "rate", "prob", "below")
COUNTED = ("split_tried", "split_accept", "merge_tried", "merge_accept")


@dataclass
class Record:
    """Arrays with the draw first, sums (unit, time), and draws kept whole."""

    counts: Counts
    prior: Prior
    interval: np.ndarray
    kept: np.ndarray
    each: dict[str, np.ndarray]
    sums: dict[str, np.ndarray]
    whole: dict[str, np.ndarray]
    n_tune: int = 0

    @classmethod
    def empty(
        cls, counts: Counts, prior: Prior, interval: np.ndarray, n_draws: int, kept: np.ndarray
    ) -> Record:  # fmt: skip
        """Room for everything."""
        n, n_time = counts.y.shape
        L, p, n_interval = prior.n_states, prior.n_latent, int(interval.max()) + 1
        real = {
            "baseline": (n,), "loading": (n, p), "log_rate_mean": (n,), "log_rate_sd": (n,),
            "interval_rate": (n, n_interval), "transition": (L, L),
            "concentration": (), "stickiness": (), "top_concentration": (),
            "assign_accept": (), "latent_accept": (), "state_accept": (),
        } | ({} if prior.poisson else {"dispersion": (n,)})  # fmt: skip
        each = {name: np.full((n_draws, *shape), np.nan, dtype="float32") for name, shape in real.items()}
        each |= {name: np.zeros(n_draws, dtype="float64") for name in ("lp", "log_likelihood")}
        each |= {name: np.zeros(n_draws, dtype="int16") for name in ("n_clusters", "n_states", *COUNTED)}
        each["unit_cluster"] = np.zeros((n_draws, n), dtype="int16")
        each["time_state"] = np.zeros((n_draws, n_time), dtype="int16")
        each["occupancy"] = np.zeros((n_draws, L), dtype="int32")
        return cls(
            counts, prior, interval, kept, each,
            {name: np.zeros((n, n_time)) for name in SUMS}, {},
        )  # fmt: skip

    # ---- to and from a file --------------------------------------------------------------------------------
    def arrays(self, sweep: int) -> dict[str, np.ndarray]:
        """Everything that has been noted, by name."""
        return (
            {f"each.{name}": array for name, array in self.each.items()}
            | {f"sums.{name}": array for name, array in self.sums.items()}
            | {f"whole.{name}": array for name, array in self.whole.items()}
        )

    def take(self, arrays: dict[str, np.ndarray]) -> None:
        """The inverse of ``arrays``."""
        for name, array in arrays.items():
            kind, _, rest = name.partition(".")
            {"each": self.each, "sums": self.sums, "whole": self.whole}[kind][rest] = array

    # ---- one draw ------------------------------------------------------------------------------------------
    def note(self, rng: np.random.Generator, k: int, draw: Draw, stats: Stats) -> None:
        """Note draw k; labels are numbered by size."""
        from neurotools.numerics.kernels.numba_birecord import accumulate

        cluster, cluster_order = by_size(draw.cluster)
        state, state_order = by_size(draw.state)
        each, n_states = self.each, state_order.size
        each["unit_cluster"][k], each["n_clusters"][k] = cluster, cluster_order.size
        each["time_state"][k], each["n_states"][k] = state, n_states
        each["occupancy"][k, :n_states] = np.bincount(state)
        each["transition"][k, :n_states, :n_states] = draw.chain.transition[np.ix_(state_order, state_order)]
        each["baseline"][k], each["loading"][k] = draw.theta[:, 0], draw.theta[:, 1:]
        if not self.prior.poisson:
            each["dispersion"][k] = draw.dispersion
        each["concentration"][k] = draw.chain.mass * (1 - draw.chain.share)
        each["stickiness"][k] = draw.chain.mass * draw.chain.share
        each["top_concentration"][k] = draw.chain.top
        for name, value in stats.items():
            each[name][k] = value
        each["log_likelihood"][k] = self._describe(k, draw)
        each["lp"][k] = each["log_likelihood"][k] + log_prior(draw, self.counts, self.prior)
        given = (self.counts.y, draw.dispersion, draw.cluster, draw.theta, draw.latent)
        accumulate(*given, *(self.sums[name] for name in SUMS))
        if k in self.kept:
            place = int(np.searchsorted(self.kept, k))
            self._keep(rng, place, draw, cluster_order, state_order)

    def _describe(self, k: int, draw: Draw) -> float:
        from neurotools.numerics.kernels.numba_birecord import describe

        n = draw.cluster.size
        mean, sd = np.empty(n), np.empty(n)
        rate = np.empty((n, self.each["interval_rate"].shape[-1]))
        total = describe(
            self.counts.y, self.counts.seen, draw.dispersion, draw.cluster, draw.theta, draw.latent,
            self.interval, mean, sd, rate,
        )  # fmt: skip
        self.each["log_rate_mean"][k], self.each["log_rate_sd"][k] = mean, sd
        self.each["interval_rate"][k] = rate
        return float(total)

    def _keep(
        self, rng: np.random.Generator, place: int, draw: Draw, clusters: np.ndarray, states: np.ndarray
    ) -> None:
        """Latents, dynamics of visited states and replicated counts of one draw."""
        kept = dynamics_of(draw, clusters, states, self.prior.full)
        kept |= {"latent": draw.latent[clusters], "counts": bicluster_law.draw_counts(rng, draw)}
        for name, array in kept.items():
            dtype = "int32" if name == "counts" else "float32"
            self.whole[f"{name}.{place}"] = array.astype(dtype)


def dynamics_of(draw: Draw, clusters: np.ndarray, states: np.ndarray, full: bool) -> dict[str, np.ndarray]:
    """Matrix, offset and noise of given states and clusters; what sends before what receives."""
    J, m = clusters.size, draw.theta.shape[1]
    coef = draw.coef[:, states]
    noise = np.linalg.inv(np.swapaxes(draw.root, -1, -2) @ draw.root)[:, states]
    if not full:
        coef, noise = coef[clusters], noise[clusters]
        matrix = np.transpose(coef[..., :-1], (1, 0, 3, 2))
        offset, noise = np.moveaxis(coef[..., -1], 0, 1), np.moveaxis(noise, 0, 1)
        return {"matrix": matrix, "offset": offset, "noise": noise}
    order = (clusters[:, None] * m + np.arange(m)).ravel()
    square = (states.size, J, m, J, m)
    matrix = coef[0][:, order][..., order].reshape(square)
    offset = coef[0][:, order, -1].reshape(states.size, J, m)
    noise = noise[0][:, order][..., order].reshape(square)
    return {
        "matrix": np.transpose(matrix, (0, 3, 1, 4, 2)),
        "offset": offset,
        "noise": np.transpose(noise, (0, 1, 3, 2, 4)),
    }


def by_size(label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels renumbered by how many there are, ties by who comes first; and which label each was."""
    values, first, inverse, count = np.unique(
        label, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -count))
    return np.argsort(order)[inverse], values[order]


def log_prior(draw: Draw, data: Counts, prior: Prior) -> float:
    """Log density of everything but the counts, dynamics and concentrations integrated out or left out."""
    from scipy.special import gammaln

    from neurotools.numerics.kernels.numba_statespace import path_log_prior

    hyper = (prior.n_states, prior.initial_sd, prior.column_precision, prior.noise)
    total = sum(
        path_log_prior(path, draw.state, data.start, *hyper) for path in bicluster.paths(draw, prior.full)
    )
    precision = prior.unit_precision
    total += 0.5 * (np.log(precision / (2 * np.pi)) - precision * draw.theta**2).sum()
    total += mixtures.log_partition_prob(np.bincount(draw.cluster), prior.log_v, prior.gamma)
    follows = ~data.start[1:]
    moves = draw.chain.transition[draw.state[:-1][follows], draw.state[1:][follows]]
    total += np.log(np.maximum(moves, 1e-300)).sum() - data.start.sum() * np.log(prior.n_states)
    if not prior.poisson:
        shape, rate, r = prior.dispersion_shape, prior.dispersion_rate, draw.dispersion
        total += (shape * np.log(rate) - gammaln(shape) + (shape - 1) * np.log(r) - rate * r).sum()
    return float(total)
