"""A posterior made by hand around planted bi-clusters, in the groups that ``nt.BiCluster.sample`` returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.stats import nbinom, ortho_group

from neurotools import simulate


@dataclass(frozen=True)
class Made:
    """The posterior, and what is known."""

    post: xr.DataTree
    recording: xr.DataTree
    truth: xr.Dataset


def numbered(labels: np.ndarray) -> np.ndarray:
    """Labels from 0, largest block first, ties by who comes first."""
    _, first, inverse, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    names = np.empty(sizes.size, dtype=int)
    names[np.lexsort((first, -sizes))] = np.arange(sizes.size)
    return names[inverse]


def strayed(rng: np.random.Generator, labels: np.ndarray, share: float) -> np.ndarray:
    """Labels with a share of the items somewhere else."""
    moved = rng.random(labels.size) < share
    return numbered(np.where(moved, rng.integers(0, labels.max() + 2, labels.size), labels))


def made(
    *,
    chains: int = 2,
    draws: int = 40,
    keep: int = 8,
    stray: float = 0.05,
    held_out: float = 0.0,
    seed: int = 0,
) -> Made:
    """Draws around the truth: some items stray, latents are turned and shifted, every rate has noise."""
    recording, truth = simulate.biclusters(n_units=18, n_time=150, seed=seed)
    counts = recording["counts/counts"]
    rng = np.random.default_rng([seed, 1])
    held = xr.DataArray(rng.random(counts.shape) < held_out, coords=counts.coords, dims=counts.dims)
    units, states = truth["unit_label"].to_numpy(), truth["state_label"].to_numpy()
    shape = (chains, draws)
    clusters = np.stack([strayed(rng, units, stray) for _ in range(chains * draws)]).reshape(*shape, -1)
    path = np.stack([strayed(rng, states, stray) for _ in range(chains * draws)]).reshape(*shape, -1)
    thin = np.arange(keep) * (draws // keep)
    groups = {
        "/posterior": _posterior(rng, truth, clusters, path),
        "/sample_stats": xr.Dataset(
            {name: (("chain", "draw"), rng.normal(-3000, 5, shape)) for name in ("lp", "log_likelihood")}
        ),
        "/thinned": _thinned(rng, truth, clusters[:, thin], path[:, thin]),
        "/moments": _moments(rng, truth, counts, chains),
        "/posterior_predictive": xr.Dataset(
            {"counts": (("chain", "draw", "time", "unit"), _replicates(rng, truth, (chains, keep)))}
        ),
        "/observed_data": counts.to_dataset(name="counts"),
        "/constant_data": held.to_dataset(name="held_out"),
    }
    # loadings and latents of one draw have to fit one another
    turn_loadings(groups, truth, thin)
    for name in ("/posterior", "/sample_stats"):
        groups[name] = groups[name].assign_coords(chain=np.arange(chains), draw=np.arange(draws))
    for name in ("/thinned", "/posterior_predictive"):
        groups[name] = groups[name].assign_coords(chain=np.arange(chains), draw=thin)
    groups["/moments"] = groups["/moments"].assign_coords(chain=np.arange(chains))
    for name, group in groups.items():
        along = {dim: truth[dim] for dim in ("unit", "time") if dim in group.dims}
        groups[name] = group.assign_coords(along).drop_vars("turn", errors="ignore")
    post = xr.DataTree.from_dict(groups)
    post.attrs = {
        "model": "bicluster", "settings": "{}", "seed": seed, "draws": draws, "tune": 10, "chains": chains,
        "bin_width": float(counts.attrs["bin_width"]),
    }  # fmt: skip
    return Made(post, recording, truth)


def _posterior(rng, truth, clusters, path) -> xr.Dataset:
    chains, draws, n_units = clusters.shape
    log_rate = truth["log_rate"].to_numpy()
    n_states = path.max(axis=2) + 1
    most = int(n_states.max())
    stretch = np.arange(log_rate.shape[0]) * 8 // log_rate.shape[0]
    rate = np.stack([np.exp(log_rate)[stretch == k].mean(axis=0) for k in range(8)], axis=1)
    own = (chains, draws, n_units)
    loading = truth["loading"].to_numpy()[:, 1:]  # of the level it is 1 and not stored
    moves = np.full((chains, draws, most, most), np.nan)
    for c, d in np.ndindex(chains, draws):
        n = n_states[c, d]
        moves[c, d, :n, :n] = 0.02 / n + 0.9 * np.eye(n)
    each = ("chain", "draw")
    return xr.Dataset(
        {
            "unit_cluster": ((*each, "unit"), clusters.astype("int16")),
            "n_clusters": (each, (clusters.max(axis=2) + 1).astype("int16")),
            "time_state": ((*each, "time"), path.astype("int16")),
            "n_states": (each, n_states.astype("int16")),
            "transition": ((*each, "state", "state_to"), moves),
            "dispersion": ((*each, "unit"), rng.gamma(100, 0.1, own)),
            "baseline": ((*each, "unit"), truth["baseline"].to_numpy() + 0.1 * rng.normal(size=own)),
            "loading": ((*each, "unit", "component"), np.stack([[loading] * draws] * chains)),
            "log_rate_mean": ((*each, "unit"), log_rate.mean(axis=0) + 0.05 * rng.normal(size=own)),
            "log_rate_sd": ((*each, "unit"), log_rate.std(axis=0) + 0.05 * rng.normal(size=own)),
            "interval_rate": (
                (*each, "unit", "interval"), rate + 0.05 * rng.normal(size=(chains, draws, *rate.shape))
            ),
        }
    )  # fmt: skip


def _thinned(rng, truth, clusters, path) -> xr.Dataset:
    """Latents of the truth, turned and shifted differently in every draw, with noise; rules turned alike."""
    chains, keep, _ = clusters.shape
    latent = truth["latent"].to_numpy()
    rules = np.swapaxes(truth["dynamics_matrix"].to_numpy(), 2, 3)  # to, from
    n_clusters, n_components, n_time = latent.shape
    most, most_states = int(clusters.max()) + 1, int(path.max()) + 1
    out = np.full((chains, keep, most, n_components, n_time), np.nan)
    matrix = np.full((chains, keep, most_states, most, n_components, n_components), np.nan)
    offset = np.full(matrix.shape[:-1], np.nan)
    turns = np.zeros((chains, keep, n_clusters, n_components, n_components))
    for c, d in np.ndindex(chains, keep):
        blocks = clusters[c, d].max() + 1
        out[c, d, :blocks] = 0.3 * rng.normal(size=(blocks, n_components, n_time))
        for cluster in range(n_clusters):
            turn = np.eye(n_components)
            turn[1:, 1:] = ortho_group.rvs(n_components - 1, random_state=rng)
            turns[c, d, cluster] = turn
            shift = np.r_[rng.normal(), np.zeros(n_components - 1)]
            block = _same(clusters[c, d], truth["unit_label"].to_numpy(), cluster)
            noisy = latent[cluster] + 0.05 * rng.normal(size=latent[cluster].shape)
            out[c, d, block] = turn @ noisy + shift[:, None]
            for state in range(rules.shape[0]):
                at = _same(path[c, d], truth["state_label"].to_numpy(), state)
                rule = turn @ rules[state, cluster] @ turn.T
                matrix[c, d, at, block] = rule.T  # from, to
                offset[c, d, at, block] = shift - rule @ shift
    each = ("chain", "draw")
    found = xr.Dataset(
        {
            "latent": ((*each, "cluster", "component", "time"), out.astype("float32")),
            "dynamics_matrix": (
                (*each, "state", "cluster", "component", "component_to"), matrix.astype("float32")
            ),
            "dynamics_offset": ((*each, "state", "cluster", "component"), offset.astype("float32")),
        }
    )  # fmt: skip
    return found.assign_coords(turn=((*each, "truth", "a", "b"), turns))


def turn_loadings(groups, truth, thin) -> None:
    loading = groups["/posterior"]["loading"].to_numpy()
    turns = groups["/thinned"]["turn"].to_numpy()
    own = turns[:, :, truth["unit_label"].to_numpy()]  # chain, draw, unit, a, b
    planted = truth["loading"].to_numpy()
    loading[:, thin] = np.einsum("cduab,ub->cdua", own, planted)[..., 1:]


def _same(labels: np.ndarray, reference: np.ndarray, block: int) -> int:
    """The block of ``labels`` that most items of a block of the reference are in."""
    return int(np.bincount(labels[reference == block]).argmax())


def _moments(rng, truth, counts, chains) -> xr.Dataset:
    y = counts.transpose("time", "unit").to_numpy()
    log_rate, r = truth["log_rate"].to_numpy(), truth["dispersion"].to_numpy()
    law = nbinom(r, r / (r + np.exp(log_rate)))
    each = {
        "log_rate_mean": log_rate, "log_rate_sd": np.full(y.shape, 0.1), "rate_mean": np.exp(log_rate),
        "log_prob": law.logpmf(y), "cdf_below": law.cdf(y - 1), "cdf_at": law.cdf(y),
    }  # fmt: skip
    dims = ("chain", "time", "unit")
    return xr.Dataset(
        {name: (dims, np.repeat(values[None], chains, axis=0)) for name, values in each.items()}
    )


def _replicates(rng, truth, shape) -> np.ndarray:
    mean, r = np.exp(truth["log_rate"].to_numpy()), truth["dispersion"].to_numpy()
    return rng.poisson(rng.gamma(r, mean / r, (*shape, *mean.shape))).astype("int32")
