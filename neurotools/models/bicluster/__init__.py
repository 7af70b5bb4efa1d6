"""Bi-clustering of spike counts: which units share a latent, and when the rules of its dynamics change.

    y_it ~ NB(r_i, mean mu_it),   log mu_it = d_i + m_t + c_i . x_t,   m and x of the cluster of unit i
    [m_t x_t] = b + A [m_{t-1} x_{t-1}] + normal(0, Q),   A, b, Q of the state s_t that all clusters share

Clusters follow a mixture of finitely many components or a Dirichlet process, states a sticky hierarchical
Dirichlet process. Draws of the posterior come from a Markov chain that leaves it exactly as it is.
Wei (2024), ICLR, arXiv 2309.02213, for the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, check_numbers, expect, lookup
from neurotools.models.bicluster.chains import Job, run_all
from neurotools.models.bicluster.tree import as_tree, intervals, whole_draws
from neurotools.numerics import mixtures
from neurotools.numerics.bicluster_law import Counts, Prior
from neurotools.numerics.stickyhdp import ChainPrior
from neurotools.provenance import stamp
from neurotools.schema import SPIKE_COUNTS, Schema

FAMILIES = ("nb", "poisson")
DYNAMICS = ("block", "full")
MASS_SHAPE = 2.0  # of the gamma priors of concentrations: their sd is 0.7 of their mean
SHARE_COUNTS = 4.0  # of the beta prior of the share of staying
HELD_OUT = Schema("counts to hold out", dims=("time", "unit"))


# ---- priors -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class FiniteMixture:
    """Clusters are finitely many, their number geometric: P(k) = rho (1 - rho)^(k - 1).

    Parameters
    ----------
    rho : float
        Between 0 and 1; the mean number of components is 1 / rho.
    gamma : float
        Of the symmetric Dirichlet law of their weights.
    """

    rho: float = 0.2
    gamma: float = 1.0

    def __post_init__(self) -> None:
        check_numbers(self, positive=["rho", "gamma"])
        if not self.rho < 1:
            raise SettingsError("rho must lie between 0 and 1", found=self.rho)

    def law(self, n_units: int) -> tuple[np.ndarray, float]:
        """Log coefficients of partitions, and the weight of blocks."""
        return mixtures.finite_mixture_coefficients(n_units, self.rho, self.gamma), self.gamma


@dataclass(frozen=True)
class DirichletProcess:
    """Clusters are as many as it takes: the number of clusters of n units grows like alpha log n.

    Parameters
    ----------
    alpha : float
        Concentration.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_numbers(self, positive=["alpha"])

    def law(self, n_units: int) -> tuple[np.ndarray, float]:
        """Log coefficients of partitions, and 0."""
        return mixtures.dirichlet_process_coefficients(n_units, self.alpha), 0.0


@dataclass(frozen=True)
class StickyHDP:
    """States follow each other by rows that share their favourites, and like to stay.

    Parameters
    ----------
    max_states : int
        At most so many states; take more than are expected.
    concentration, stickiness, top_concentration : float
        Pseudo-counts alpha of leaving, kappa of staying, and gamma of how even the favourites are; where they
        are learned, the means of their priors.
    learn : bool
        Learn the three.
    """

    max_states: int = 20
    concentration: float = 5.0
    stickiness: float = 10.0
    top_concentration: float = 5.0
    learn: bool = True

    def __post_init__(self) -> None:
        check_numbers(self, positive=["concentration", "stickiness", "top_concentration"], max_states=1)

    def law(self) -> ChainPrior:
        """The prior of the chain of states."""
        mass = self.concentration + self.stickiness
        share = self.stickiness / mass
        return ChainPrior(
            mass_shape=MASS_SHAPE, mass_rate=MASS_SHAPE / mass,
            share_stay=SHARE_COUNTS * share, share_leave=SHARE_COUNTS * (1 - share),
            top_shape=MASS_SHAPE, top_rate=MASS_SHAPE / self.top_concentration, learn=self.learn,
        )  # fmt: skip


# ---- settings and verbs -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class BiCluster:
    """Clusters of units that share latents, and states of time in which these move by other rules.

    Parameters
    ----------
    latent_dim : int
        Latents of a cluster, beside the level that all its units share.
    family : {"nb", "poisson"}
        Negative binomial counts of variance mean + mean^2 / r, or Poisson counts.
    dynamics : {"block", "full"}
        Whether latents of different clusters move by themselves, or may drive each other.
    unit_prior : nt.FiniteMixture or nt.DirichletProcess
        Of the partition of units.
    state_prior : nt.StickyHDP
        Of the chain of states.
    baseline_sd, loading_sd : float
        Of normal priors of d and c, in log rates.
    dispersion_shape, dispersion_rate : float
        Of the gamma prior of r.
    initial_sd : float
        Of latents in the first bin of a session.
    noise_scale : float
        Q of each state is inverse Wishart around this times the identity.
    noise_freedom : float
        Degrees of freedom of that law beyond the number of latents, more than 1; the more, the less Q varies.
        The mean of Q is ``noise_scale`` / (``noise_freedom`` - 1).
    dynamics_precision : float
        How near A is to the identity, and b to 0: prior precision per unit of noise precision.
    n_auxiliary, n_splits : int
        New clusters offered to each unit, and splits or merges proposed, in each sweep. They change how fast
        draws forget, not what is drawn from.
    seed : int
        Chain k is drawn from (seed, k).

    Notes
    -----
    States are of dynamics, not of rates: two stretches of different rates may be one state. Latents are
    defined up to a rotation and a shift of level against baselines; rates and labels are not affected.
    """

    latent_dim: int = 2
    family: str = "nb"
    dynamics: str = "block"
    unit_prior: FiniteMixture | DirichletProcess = FiniteMixture()
    state_prior: StickyHDP = StickyHDP()
    baseline_sd: float = 1.0
    loading_sd: float = 1.0
    dispersion_shape: float = 1.0
    dispersion_rate: float = 1.0
    initial_sd: float = 1.0
    noise_scale: float = 0.01
    noise_freedom: float = 2.0
    dynamics_precision: float = 1.0
    n_auxiliary: int = 3
    n_splits: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        lookup("family", self.family, dict.fromkeys(FAMILIES))
        lookup("kind of dynamics", self.dynamics, dict.fromkeys(DYNAMICS))
        positive = (
            "baseline_sd", "loading_sd", "dispersion_shape", "dispersion_rate", "initial_sd", "noise_scale",
            "dynamics_precision", "noise_freedom",
        )  # fmt: skip
        check_numbers(self, positive=positive, latent_dim=1, n_auxiliary=1, n_splits=0)
        if not self.noise_freedom > 1:
            raise SettingsError("noise_freedom must be greater than 1", found=self.noise_freedom)

    def sample(
        self,
        counts: xr.DataArray,
        draws: int = 1000,
        tune: int = 1000,
        chains: int = 4,
        *,
        held_out: xr.DataArray | None = None,
        keep: int = 50,
        cores: int | None = None,
        checkpoint: str | Path | None = None,
        checkpoint_s: float = 60.0,
    ) -> xr.DataTree:
        """Draw from the posterior, chains side by side.

        Parameters
        ----------
        counts : xarray.DataArray
            Spike counts (time, unit). ``session`` on time says where latents and states begin anew.
        draws, tune, chains : int
            Draws of each chain, sweeps before them that are thrown away, and chains.
        held_out : xarray.DataArray, optional
            (time, unit), True where the sampler must not look; ``moments`` says how well these counts were
            foretold.
        keep : int
            Draws of each chain whose latents, dynamics and replicated counts are kept, evenly spaced; fewer
            where they would take more than 256 MB.
        cores : int, optional
            Chains that run at once, each in a process of its own; 1 runs all of them here. Draws do not
            depend on it.
        checkpoint : path, optional
            A folder in which chains are kept every ``checkpoint_s`` seconds. The same call goes on from what
            is found there and gives the draws of a run that was never stopped.

        Returns
        -------
        xarray.DataTree
            Groups ``posterior``, ``sample_stats``, ``thinned``, ``moments``, ``posterior_predictive``,
            ``observed_data``, ``constant_data``. ``nt.to_arviz`` gives what the installed ArviZ wants.

        Raises
        ------
        SchemaError
            Counts are not whole or negative, all are 0, or the mask is of other counts.
        ResultError
            The checkpoint folder holds chains of other counts or settings.
        """
        data, array, mask = asked(counts, held_out)
        check_amounts(draws, tune, chains, keep, checkpoint_s)
        prior, interval = self.prior(data.y.shape[0]), intervals(data.y.shape[1])
        n_units, n_time = data.y.shape
        kept = whole_draws(draws, keep, chains, n_units, n_time, self.latent_dim)
        folder = None if checkpoint is None else Path(checkpoint)
        jobs = [
            Job(data, prior, interval, tune, draws, kept, self.seed, chain, folder, checkpoint_s)
            for chain in range(chains)
        ]
        tree = as_tree(run_all(jobs, cores), array, mask, self.latent_dim)
        tree.attrs |= stamp(xr.Dataset(), "bicluster", self).attrs
        tree.attrs |= {"draws": draws, "tune": tune, "chains": chains}
        return tree

    def predict(self, fit: xr.DataTree, counts: xr.DataArray) -> xr.Dataset:
        """Expected counts of every bin, and how probable the counts given are, over all draws.

        Returns
        -------
        xarray.Dataset
            ``rate`` (time, unit) in counts per bin; ``log_rate`` with ``log_rate_sd``; ``log_prob``, of each
            count, in nats.

        Raises
        ------
        SchemaError
            The counts are not those that were sampled: latents belong to their bins.
        """
        check_same_counts(fit, counts)
        moments = fit["moments"].to_dataset()
        mean = moments["log_rate_mean"].mean("chain")
        between = moments["log_rate_mean"].var("chain")
        return xr.Dataset(
            {
                "rate": moments["rate_mean"].mean("chain"),
                "log_rate": mean,
                "log_rate_sd": np.sqrt((moments["log_rate_sd"] ** 2).mean("chain") + between),
                "log_prob": log_mean(moments["log_prob"]),
            }
        )

    def score(self, fit: xr.DataTree, counts: xr.DataArray) -> float:
        """How much better counts are foretold than by each unit's mean (a Poisson law), in bits per spike.

        Of the counts that were held out; where none were, of all, which says how well they are described
        and nothing about new ones.
        """
        array = check_same_counts(fit, counts)
        y = array.to_numpy().T.astype("float64")
        hidden = fit["constant_data/held_out"].transpose("unit", "time").to_numpy()
        judged = hidden if hidden.any() else np.ones_like(hidden)
        seen = ~hidden if hidden.any() else judged
        mean = (y * seen).sum(1, keepdims=True) / np.maximum(seen.sum(1, keepdims=True), 1)
        log_prob = log_mean(fit["moments"].to_dataset()["log_prob"]).transpose("unit", "time").to_numpy()
        if not y[judged].sum() > 0:
            raise SchemaError("there are no spikes to score", code="NT-DATA-010", found="counts are all zero")
        gain = (log_prob - log_poisson(y, np.broadcast_to(np.maximum(mean, 1e-3), y.shape)))[judged].sum()
        return float(gain / (y[judged].sum() * np.log(2)))

    def prior(self, n_units: int) -> Prior:
        """The prior as plain numbers, for a number of units."""
        log_v, gamma = self.unit_prior.law(n_units)
        return Prior(
            n_latent=self.latent_dim, poisson=self.family == "poisson", full=self.dynamics == "full",
            n_states=self.state_prior.max_states, chain=self.state_prior.law(), log_v=log_v, gamma=gamma,
            n_auxiliary=self.n_auxiliary, n_splits=self.n_splits, baseline_sd=self.baseline_sd,
            loading_sd=self.loading_sd, dispersion_shape=self.dispersion_shape,
            dispersion_rate=self.dispersion_rate, initial_sd=self.initial_sd, noise_scale=self.noise_scale,
            noise_freedom=self.noise_freedom, column_precision=self.dynamics_precision,
        )  # fmt: skip


# ---- the data, asked --------------------------------------------------------------------------------------
def asked(counts: Any, held_out: Any) -> tuple[Counts, xr.DataArray, np.ndarray]:
    """Counts (unit, time) as the sampler takes them, the labelled array, and the mask (time, unit)."""
    array = SPIKE_COUNTS.require(counts)
    y = np.ascontiguousarray(array.to_numpy().T.astype("int64"))
    if y.shape[1] < 2:
        raise SchemaError("bi-clustering needs at least two bins", code="NT-DATA-010", found=y.shape[1])
    mask = np.zeros(array.shape, dtype=bool) if held_out is None else mask_of(held_out, array)
    seen = np.ascontiguousarray(~mask.T)
    if not (y * seen).any():
        raise SchemaError(
            "there are no spikes to cluster by", code="NT-DATA-010", found="counts are all zero"
        )
    start = np.zeros(y.shape[1], dtype=bool)
    start[0] = True
    if "session" in array.coords and array["session"].dims == ("time",):
        labels = array["session"].to_numpy()
        start[1:] = labels[1:] != labels[:-1]
    return Counts(y, seen, start), array, mask


def mask_of(held_out: Any, array: xr.DataArray) -> np.ndarray:
    """The mask in the order of the counts, matched by label where there are labels."""
    mask = HELD_OUT.require(held_out)
    if mask.dtype != bool:
        raise SchemaError("counts to hold out are marked by True and False", found=f"dtype {mask.dtype}")
    for dim in ("time", "unit"):
        given = mask[dim].to_numpy() if dim in mask.coords else None
        known = array[dim].to_numpy() if dim in array.coords else None
        differ = given is not None and known is not None and not np.array_equal(given, known)
        if mask.sizes[dim] != array.sizes[dim] or differ:
            raise SchemaError(
                f"counts and the mask of what is held out differ along {dim!r}", code="NT-DATA-005",
                found=f"{mask.sizes[dim]} {dim}s", expected=f"the {array.sizes[dim]} {dim}s of the counts",
                fix="make the mask from the counts: xr.zeros_like(counts, dtype=bool)",
            )  # fmt: skip
    return mask.to_numpy()


def check_amounts(draws: int, tune: int, chains: int, keep: int, checkpoint_s: float) -> None:
    """Raise unless the amounts of work make sense."""
    for name, value, least in (
        ("draws", draws, 1), ("tune", tune, 0), ("chains", chains, 1), ("keep", keep, 1),
        ("checkpoint_s", checkpoint_s, 0),
    ):  # fmt: skip
        if value < least:
            raise SettingsError(f"{name} must be at least {least}", found=value)


def check_same_counts(post: Any, counts: Any) -> xr.DataArray:
    """The counts, after a check that they are those that were sampled."""
    expect(post, "the posterior of a bi-clustering", xr.DataTree, fix="post = model.sample(counts)")
    if "observed_data" not in post.children or "moments" not in post.children:
        raise SchemaError(
            "this is not the posterior of a bi-clustering", found=sorted(post.children),
            expected="the groups observed_data and moments",
        )  # fmt: skip
    array = SPIKE_COUNTS.require(counts)
    observed = post["observed_data/counts"]
    if array.shape != observed.shape or not np.array_equal(array.to_numpy(), observed.to_numpy()):
        raise SchemaError(
            "these are other counts than those that were sampled: latents belong to their bins",
            code="NT-DATA-005", found=dict(array.sizes), expected=f"the counts of {dict(observed.sizes)}",
            fix="hold counts out with model.sample(counts, held_out=mask), then score",
        )  # fmt: skip
    return array


def log_mean(log_prob: xr.DataArray) -> xr.DataArray:
    """Log of the mean over chains of what is given by its logarithm."""
    top = log_prob.max("chain")
    share: xr.DataArray = xr.apply_ufunc(np.exp, log_prob - top)
    return xr.apply_ufunc(np.log, share.mean("chain")) + top


def log_poisson(y: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Log probability of counts under a Poisson law."""
    from scipy.special import gammaln

    return y * np.log(mean) - mean - gammaln(y + 1)
