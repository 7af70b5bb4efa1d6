"""Bi-clustering beside PyMC, on a problem so small that all labels can be summed out there.

Two neurons have two partitions, and the chain of two states is summed out by forward-backward; what is left
(latents, dynamics, transitions, baselines, loadings, dispersions) is continuous and drawn by NUTS. The priors
are written down a second time here, from the model's description.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import neurotools as nt
from benchmarks.record import Row
from benchmarks.timing import one_thread
from neurotools.numerics import convergence

N_TIME = 24
ALPHA = 1.0  # of the Dirichlet process: both partitions of two neurons have probability one half
STATES = nt.StickyHDP(max_states=2, learn=False)
MODEL = nt.BiCluster(latent_dim=1, unit_prior=nt.DirichletProcess(alpha=ALPHA), state_prior=STATES, seed=3)
OURS = {"draws": 6000, "tune": 500, "chains": 2}
THEIRS = {"draws": 500, "tune": 500, "chains": 2}
UNIT_STEP = 0.1  # steps of a latent are drawn in this unit, so that all that NUTS moves is of one size


def posterior_means() -> list[Row]:
    """Posterior means of what does not depend on labels, by our sampler and by NUTS."""
    recording, _ = nt.simulate.biclusters(n_units=2, n_time=N_TIME, n_clusters=1, latent_dim=1, seed=5)
    counts = recording["counts/counts"]
    with one_thread():
        post = MODEL.sample(counts, cores=1, **OURS)
        ours = _ours(post)
        theirs = _theirs(counts.to_numpy())
    rows, worst = [], 0.0
    for name, own in ours.items():
        other = theirs[name]
        error = np.hypot(convergence.standard_error(own), convergence.standard_error(other))
        z = (own.mean() - other.mean()) / error
        worst = max(worst, abs(float(z)))
        rows.append(
            Row(f"{name}: difference over its Monte Carlo error", float(z),
                note=f"{own.mean():.3f} and {other.mean():.3f}")
        )  # fmt: skip
    rhat = max(convergence.rhat(draws) for draws in theirs.values())
    return [
        Row(f"largest of {len(rows)} differences over their Monte Carlo errors", worst, "<= 3"),
        *rows,
        Row("largest R-hat of NUTS", float(rhat)),
        Row("least effective draws of NUTS", float(min(map(convergence.ess_mean, theirs.values())))),
        Row("the same of ours", float(min(map(convergence.ess_mean, ours.values())))),
    ]


def _ours(post: Any) -> dict[str, np.ndarray]:
    group = post["posterior"]
    found = {"clusters": group["n_clusters"].to_numpy().astype("float64")}
    for unit in range(2):
        for name in ("baseline", "dispersion", "log_rate_mean", "log_rate_sd"):
            found[f"{name} of neuron {unit}"] = group[name].isel(unit=unit).to_numpy().astype("float64")
    return found


# ---- the same model, in PyMC ------------------------------------------------------------------------------
def _theirs(y: np.ndarray) -> dict[str, np.ndarray]:
    import pymc as pm

    with _model(y):
        trace = pm.sample(
            **THEIRS, cores=1, random_seed=11, progressbar=False, target_accept=0.9,
            compute_convergence_checks=False,
        )  # fmt: skip
    drawn = {name: trace.posterior[name].to_numpy() for name in trace.posterior}
    found = {"clusters": 2 - drawn["together"]}
    for unit in range(2):
        found |= {
            f"{name} of neuron {unit}": drawn[name][..., unit]
            for name in ("baseline", "dispersion", "log_rate_mean", "log_rate_sd")
        }
    return found


def _model(y: np.ndarray) -> Any:
    """Two neurons, two clusters of which the second may be empty, two states."""
    import pymc as pm
    import pytensor.tensor as pt

    with pm.Model() as model:
        base = pm.Dirichlet("base", np.full(2, STATES.top_concentration / 2))
        rows = [
            pm.Dirichlet(f"row{k}", STATES.concentration * base + STATES.stickiness * np.eye(2)[k])
            for k in range(2)
        ]
        steps = pm.Flat("steps", shape=(2, N_TIME, 2), initval=np.zeros((2, N_TIME, 2)))
        paths = pt.cumsum(UNIT_STEP * steps, axis=1)
        pm.Potential("paths", _paths_log_prob(paths, pt.stack(rows)))
        baseline = pm.Normal("baseline", 0.0, MODEL.baseline_sd, shape=2)
        loading = pm.Normal("loading", 0.0, MODEL.loading_sd, shape=2)
        dispersion = pm.Gamma("dispersion", MODEL.dispersion_shape, MODEL.dispersion_rate, shape=2)
        _partitions(y, paths, baseline, loading, dispersion)
    return model


def _paths_log_prob(paths: Any, transition: Any) -> Any:
    """Log density of the paths of both clusters, the states of all bins summed out."""
    import pytensor.tensor as pt

    from neurotools.adapters.pymc import hmm_log_likelihood

    each = [[_steps_log_prob(paths[j], f"{j}{k}") for k in range(2)] for j in range(2)]
    moves = pt.stack([each[0][k] + each[1][k] for k in range(2)], axis=1)  # (time - 1, state)
    emission = pt.concatenate([pt.zeros((1, 2)), moves], axis=0)
    first = -0.5 * pt.sum(paths[:, 0] ** 2) / MODEL.initial_sd**2
    return first + hmm_log_likelihood(emission, pt.log(transition))


def _steps_log_prob(path: Any, name: str) -> Any:
    """Log density of every step of one path in one state, whose dynamics are drawn here from their prior.

    Q^-1 = B B' / scale with B the Bartlett factor of a Wishart law of q + 2 degrees of freedom; given Q,
    [A b] is normal around [I 0] with row covariance Q.
    """
    import pymc as pm
    import pytensor.tensor as pt

    q = 2
    square = pm.ChiSquared(f"square{name}", nu=np.array([q + 2.0, q + 1.0]), shape=2)
    below = pm.Normal(f"below{name}", 0.0, 1.0)
    white = pm.Normal(f"white{name}", 0.0, 1.0, shape=(q, q + 1))
    one, two = pt.sqrt(square[0]), pt.sqrt(square[1])
    factor = pt.stacklists([[one, pt.zeros(())], [below, two]])
    inverse = pt.stacklists([[1 / one, pt.zeros(())], [-below / (one * two), 1 / two]])
    scale = MODEL.noise_scale
    spread = np.sqrt(scale) * inverse.T
    coef = pt.concatenate([pt.eye(q), pt.zeros((q, 1))], axis=1)
    coef = coef + spread @ white / np.sqrt(MODEL.dynamics_precision)
    left = path[1:] - path[:-1] @ coef[:, :q].T - coef[:, q]
    return (
        -0.5 * pt.sum((left @ factor) ** 2, axis=1) / scale
        + pt.log(one * two)
        - 0.5 * q * np.log(2 * np.pi * scale)
    )


def _partitions(y: np.ndarray, paths: Any, baseline: Any, loading: Any, dispersion: Any) -> None:
    """Counts of both neurons, summed over whether they share a cluster, and what is compared."""
    import pymc as pm
    import pytensor.tensor as pt

    def log_rate(unit: int, cluster: int) -> Any:
        return baseline[unit] + paths[cluster, :, 0] + loading[unit] * paths[cluster, :, 1]

    def log_prob(unit: int, rate: Any) -> Any:
        law = pm.NegativeBinomial.dist(mu=pt.exp(rate), alpha=dispersion[unit])
        return pm.logp(law, y[:, unit]).sum()

    first, shared, alone = log_rate(0, 0), log_rate(1, 0), log_rate(1, 1)
    both = log_prob(1, shared) + np.log(1 / (1 + ALPHA))
    apart = log_prob(1, alone) + np.log(ALPHA / (1 + ALPHA))
    pm.Potential("counts", log_prob(0, first) + pt.logaddexp(both, apart))
    together = pm.Deterministic("together", pm.math.sigmoid(both - apart))
    for name, statistic in (("log_rate_mean", pt.mean), ("log_rate_sd", pt.std)):
        second = together * statistic(shared) + (1 - together) * statistic(alone)
        pm.Deterministic(name, pt.stack([statistic(first), second]))
