"""Steps of a switching GLM on any device: parity cases, and what the speed rows time.

Nothing but NumPy, SciPy and the numerics is imported here, so that the same steps run on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from neurotools.arrays import Array, dispatch, like, namespace, to_device
from neurotools.numerics import glm, hmm, switching
from neurotools.numerics.switching_fit import climb as one_by_one
from neurotools.numerics.switching_restarts import repeated, side_by_side

N_STARTS = 3
Call = Callable[[], Any]


# ---- parity -----------------------------------------------------------------------------------------------
def iterations_of(
    family: str, link: str, *, driven: bool = False, climb: Callable[..., Any] | None = None, tol: float = 0.0
) -> Callable[..., list[Array]]:
    """Iterations from three starts, the way that the library takes: together or one by one."""

    def call(*given: Array) -> list[Array]:
        x, y, _, weights, seen, trials = given
        none = 0 * weights[0, ...]
        y = 6 * y if family == "negative_binomial" else y  # so that there is a dispersion to find
        problem = switching.Problem(
            x, y, np.isin(np.arange(60), (0, 25)), family, link, none[:, 0] + 2, none, none[:, 0] + 1, 1.0,
            seen=seen[:, :1] + 0 * y if family in glm.JOINT else seen,
            trials=trials if family == "binomial" else None,
            log_gain_centre=none[0, :] + 1 if link in glm.GAINED else None,
            inputs=x[:, :2] if driven else None,
        )  # fmt: skip
        base = switching.one_state(problem, max_iter=2)
        begins = [switching.random_start(base, 2, 0.3, (k,)) for k in range(N_STARTS)]
        way = climb or dispatch("climb", x, one_by_one)
        runs = way(begins, problem, 12 if tol else 3, tol, lambda share: None)
        found = [part for run in runs for part in run_arrays(run, x)]
        return [*found, like(np.array(switching.log_prior(runs[0][0], problem)), x)]

    return call


def run_arrays(run: switching.Run, x: Array) -> list[Array]:
    """What a run found, as arrays."""
    params, posterior, trace, _ = run
    parts = [params.weights, params.centre, params.dispersion, namespace(x).exp(params.log_transition)]
    drive = [] if params.drive is None else [params.drive]
    return [*parts, *drive, posterior.state_prob, posterior.pair_sum, like(np.array(trace), x)]


# ---- speed ------------------------------------------------------------------------------------------------
def recursion(size: tuple[int, int, int], device: str, dtype: str) -> Call:
    """Forward-backward with summed pairs of (chain, time, state)."""
    n_state = size[2]
    rng = np.random.default_rng(0)
    move = np.full((n_state, n_state), 0.1 / n_state) + 0.9 * np.eye(n_state)
    chain = (np.log(np.full(n_state, 1 / n_state)), np.log(move), rng.normal(scale=3.0, size=size))
    arrays = [to_device(part, device, dtype) for part in chain]
    return lambda: hmm.smooth(*arrays)


def iteration(size: tuple[int, int, int], n_starts: int, device: str, dtype: str) -> Call:
    """One iteration from several starts of (time, unit, state): together on a device, in turn on the host."""
    n_time, n_unit, n_state = size
    given = poisson_problem(n_time, n_unit, device, dtype)
    base = switching.one_state(given, max_iter=2)
    begins = [switching.random_start(base, n_state, 0.1, (k,)) for k in range(n_starts)]
    if device != "cpu" and n_starts > 1:
        begins, given = [side_by_side(begins)], repeated(given, n_starts)
    posteriors = [switching.posterior(begin, given) for begin in begins]

    def once() -> None:
        for begin, found in zip(begins, posteriors, strict=True):
            params, known = switching.maximise(begin, found, given)
            switching.posterior(params, given, known)

    return once


def poisson_problem(n_time: int, n_unit: int, device: str, dtype: str) -> switching.Problem:
    """Counts and regressors of as many units, weights around a centre, softplus."""
    rng, n_column = np.random.default_rng(0), n_unit + 1
    x = np.concatenate([np.ones((n_time, 1)), rng.poisson(0.3, size=(n_time, n_unit)) * 0.5], axis=1)
    host = {
        "x": x, "y": rng.poisson(0.4, size=(n_time, n_unit)).astype("float64"),
        "precision": np.array([1.0, *[4.0] * n_unit]), "centre_mean": np.zeros((n_column, n_unit)),
        "centre_precision": np.array([0.01, *[1.0] * n_unit]),
    }  # fmt: skip
    there = {name: to_device(values, device, dtype) for name, values in host.items()}
    return switching.Problem(
        start=np.arange(n_time) == 0, family="poisson", link="softplus", stickiness=1.0, **there
    )
