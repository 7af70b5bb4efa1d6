"""Spike counts of clusters of units whose shared latents change their rules from state to state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from neurotools.errors import SettingsError, lookup
from neurotools.schema import counts_array, recording_tree

QUIET = 0.01  # of the latent stays from bin to bin in state 0
GROWTH = {1: 1.01, 0: 0.98}  # per bin in odd and even states, which turn the latent round
ANGLE = np.pi / 20  # per bin in state 1; in state k it is k times that
NOISE_VARIANCE = 0.01  # of the latent, per bin
SPREAD = 0.5  # standard deviation of baselines and loadings


@dataclass(frozen=True)
class Planted:
    """What there is to find."""

    unit_label: np.ndarray  # (unit)
    state_label: np.ndarray  # (time)
    dynamics: np.ndarray  # (state, cluster, component_to, component)
    latent: np.ndarray  # (cluster, component, time), the first row the mean that all units of a cluster share
    loading: np.ndarray  # (unit, component), the first column 1
    baseline: np.ndarray  # (unit)

    @property
    def log_rate(self) -> np.ndarray:
        """Logarithm of the expected count (time, unit)."""
        own = self.latent[self.unit_label]
        return np.einsum("ul,ult->tu", self.loading, own) + self.baseline


def biclusters(
    *,
    n_units: int = 30,
    n_time: int = 500,
    n_clusters: int = 3,
    n_states: int = 2,
    latent_dim: int = 2,
    family: str = "nb",
    dispersion: float = 10.0,
    rate: float = 1.0,
    visit: float = 50.0,
    bin_width: float = 0.1,
    seed: int = 0,
) -> tuple[xr.DataTree, xr.Dataset]:
    """Counts of units in clusters, each with a latent of its own, whose dynamics all switch at once.

    In state 0 latents are noise around zero. In state k they turn round in a random plane by k pi / 20 per
    bin, each cluster in its own plane, and grow by one per cent (k odd) or shrink by two (k even). The log
    of a unit's expected count is its baseline, plus the mean of its cluster, plus its loadings times the
    latents of its cluster. Units of a cluster stand anywhere among the units.

    Parameters
    ----------
    n_units, n_clusters : int
        Units are spread evenly over the clusters.
    n_time : int
        Bins.
    n_states : int
        States; at the end of a visit any other one follows, with equal chances.
    latent_dim : int
        Latents of a cluster beside its mean.
    family : {"nb", "poisson"}
        Of the counts. With ``"nb"`` the variance is mean + mean^2 / dispersion.
    dispersion : float
    rate : float
        Median over units of the expected count per bin where latents are zero. The more counts there are, the
        better latents and states can be told.
    visit : float
        Mean length of a visit to a state, in bins; lengths are Poisson, at least 1.
    bin_width : float
        In s; counts are per bin, so it sets the clock alone.
    seed : int
        The same seed gives the same recording.

    Returns
    -------
    recording : xarray.DataTree
        ``counts/counts`` (time, unit).
    truth : xarray.Dataset
        ``unit_label`` (unit), ``state_label`` (time), ``log_rate`` (time, unit) of expected counts per bin,
        ``latent`` (cluster, component, time) whose component 0 is the mean, ``loading`` (unit, component),
        ``baseline`` (unit), ``dynamics_matrix`` (state, cluster, component, component_to), and
        ``dispersion`` with family ``"nb"``.

    Raises
    ------
    SettingsError
        A number is out of range, or the family unknown.
    """
    draw = lookup("family", family, FAMILIES)
    positive = {"n_time": n_time, "n_states": n_states, "latent_dim": latent_dim}
    _check(n_units, n_clusters, {**positive, "dispersion": dispersion, "rate": rate, "visit": visit})
    rng = np.random.default_rng(seed)
    planted = _planted(rng, (n_units, n_time, n_clusters, n_states, latent_dim + 1), visit, rate)
    values = draw(rng, np.exp(planted.log_rate), dispersion)
    counts = counts_array(values, bin_width=bin_width)
    recording = recording_tree({"counts/counts": counts}, kind="counts", simulated=1)
    return recording, _truth(planted, counts, dispersion if family == "nb" else None)


def _check(n_units: int, n_clusters: int, sizes: Mapping[str, float]) -> None:
    for name, value in sizes.items():
        if not 0 < value < np.inf:
            raise SettingsError(f"{name} must be positive and finite", found=value)
    if not 1 <= n_clusters <= n_units:
        raise SettingsError(
            "every cluster needs a unit", code="NT-SET-003", found=f"{n_units} units, {n_clusters} clusters"
        )


# ---- what is planted ------------------------------------------------------------------------------------
def _planted(
    rng: np.random.Generator, sizes: tuple[int, int, int, int, int], visit: float, rate: float
) -> Planted:
    n_units, n_time, n_clusters, n_states, n_latents = sizes
    unit_label = rng.permutation(np.arange(n_units) % n_clusters)
    state_label = _visits(rng, n_time, n_states, visit)
    dynamics = np.stack(
        [np.stack([_rule(rng, state, n_latents) for _ in range(n_clusters)]) for state in range(n_states)]
    )
    latent = np.empty((n_clusters, n_latents, n_time))
    noise = np.sqrt(NOISE_VARIANCE) * rng.normal(size=latent.shape)
    latent[..., 0] = noise[..., 0]
    for t in range(1, n_time):
        rule = dynamics[state_label[t]]
        latent[..., t] = np.einsum("cij,cj->ci", rule, latent[..., t - 1]) + noise[..., t]
    loading = SPREAD * rng.normal(size=(n_units, n_latents))
    loading[:, 0] = 1.0
    baseline = np.log(rate) + SPREAD * rng.normal(size=n_units)
    return Planted(unit_label, state_label, dynamics, latent, loading, baseline)


def _visits(rng: np.random.Generator, n_time: int, n_states: int, visit: float) -> np.ndarray:
    labels: list[int] = []
    state = int(rng.integers(n_states))
    while len(labels) < n_time:
        labels += [state] * max(int(rng.poisson(visit)), 1)
        if n_states > 1:
            state = int((state + rng.integers(1, n_states)) % n_states)
    return np.array(labels[:n_time])


def _rule(rng: np.random.Generator, state: int, n: int) -> np.ndarray:
    """The matrix that takes the latents of one bin to those of the next."""
    if state == 0:
        return QUIET * np.eye(n)
    turn = np.eye(n)
    c, s = np.cos(state * ANGLE), np.sin(state * ANGLE)
    turn[:2, :2] = [[c, -s], [s, c]]
    frame, _ = np.linalg.qr(rng.normal(size=(n, n)))
    return GROWTH[state % 2] * frame @ turn @ frame.T


# ---- what is measured -----------------------------------------------------------------------------------
def _negative_binomial(rng: np.random.Generator, mean: np.ndarray, dispersion: float) -> np.ndarray:
    return rng.poisson(rng.gamma(dispersion, mean / dispersion))


def _poisson(rng: np.random.Generator, mean: np.ndarray, dispersion: float) -> np.ndarray:
    return rng.poisson(mean)


FAMILIES = {"nb": _negative_binomial, "poisson": _poisson}


def _truth(planted: Planted, counts: xr.DataArray, dispersion: float | None) -> xr.Dataset:
    truth = xr.Dataset(
        {
            "unit_label": ("unit", planted.unit_label),
            "state_label": ("time", planted.state_label),
            "log_rate": (("time", "unit"), planted.log_rate, {"units": "1"}),
            "latent": (("cluster", "component", "time"), planted.latent, {"units": "1"}),
            "loading": (("unit", "component"), planted.loading),
            "baseline": ("unit", planted.baseline),
            "dynamics_matrix": (
                ("state", "cluster", "component", "component_to"),
                planted.dynamics.swapaxes(2, 3),
            ),
        },
        coords={
            "unit": counts["unit"],
            "time": counts["time"],
            "cluster": np.arange(planted.latent.shape[0]),
            "state": np.arange(planted.dynamics.shape[0]),
            "component": np.arange(planted.latent.shape[1]),
            "component_to": np.arange(planted.latent.shape[1]),
        },
    )
    if dispersion is not None:
        truth["dispersion"] = ("unit", np.full(counts.sizes["unit"], dispersion))
    return truth
