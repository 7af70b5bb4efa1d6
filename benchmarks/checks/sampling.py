"""Hidden chains inside PyMC: the gradient of a long recording, and draws beside an exact grid."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.record import Row
from neurotools.numerics import convergence, hmm

STEP = 1e-5


# ---- the gradient ---------------------------------------------------------------------------------------
def chain_gradient() -> list[Row]:
    """50,000 samples, five states, compiled: every input's slope beside finite differences."""
    import pytensor
    import pytensor.tensor as pt

    from neurotools.adapters.pymc import hmm_log_likelihood

    rng = np.random.default_rng(0)
    n_time, n_state = 50_000, 5
    state = np.arange(n_time) // 200 % n_state
    # A population of fifty units: far below what the exponential of a double can hold, at every sample.
    log_prob = (
        -60.0 + rng.normal(scale=3.0, size=(n_time, n_state)) + 4.0 * (state[:, None] == np.arange(n_state))
    )
    move = np.full((n_state, n_state), 0.005) + 0.975 * np.eye(n_state)
    given = [np.log(np.full(n_state, 0.2)), np.log(move), log_prob]
    inputs = [pt.dvector(), pt.dmatrix(), pt.dmatrix()]
    value = hmm_log_likelihood(inputs[2], inputs[1], inputs[0])
    function = pytensor.function(inputs, [value, *pt.grad(value, inputs)])
    found, *gradient = function(*given)
    begin = time.perf_counter()
    function(*given)
    seconds = time.perf_counter() - begin
    return [
        Row("log likelihood", float(found), unit="nat"),
        Row("entries of the gradient that are not finite",
            float(sum((~np.isfinite(part)).sum() for part in gradient)), "<= 0"),
        Row("largest difference from finite differences, transitions and start",
            max(_away(given, which, gradient[which], range(gradient[which].size)) for which in (0, 1)),
            "<= 1e-6", note="relative where a slope exceeds 1; four-point differences"),
        Row("the same, 200 log probabilities of samples",
            _away(given, 2, gradient[2], rng.integers(gradient[2].size, size=200).tolist()), "<= 1e-6"),
        Row("value and gradient", 1e3 * seconds, unit="ms"),
    ]  # fmt: skip


def _away(given: list[np.ndarray], which: int, exact: np.ndarray, places: object) -> float:
    """Largest difference between slopes and four-point differences of a plain evaluation, sample by sample.

    Evidence of 50,000 samples is some -3e6, whose rounding would drown a difference of two such numbers; so
    the change of the evidence is summed from its changes at every sample, which are small.
    """
    worst = 0.0
    for place in places:  # type: ignore[attr-defined]
        slopes = []
        for step in (STEP, 2 * STEP):
            ends = []
            for sign in (1, -1):
                moved = [part.copy() for part in given]
                moved[which].flat[place] += sign * step
                ends.append(hmm.smooth(*moved).log_predictive)
            slopes.append(float((ends[0] - ends[1]).sum()) / (2 * step))
        slope = (4 * slopes[0] - slopes[1]) / 3
        size = max(1.0, abs(exact.flat[place]))
        worst = float(np.maximum(worst, abs(slope - exact.flat[place]) / size))  # what is no number stays
    return worst


# ---- draws ----------------------------------------------------------------------------------------------
def draws_equal_grid() -> list[Row]:
    """Two states, 200 samples: posterior means by NUTS beside those summed over a grid."""
    import pymc as pm
    import pytensor.tensor as pt

    from neurotools.adapters.pymc import hmm_log_likelihood, sample_checked

    rng = np.random.default_rng(1)
    state = np.cumsum(rng.random(200) < 0.06) % 2
    y = rng.poisson(np.where(state, 4.0, 1.5))
    with pm.Model() as model:
        low = pm.Gamma("low", 2.0, 1.0)  # rate of state 0
        more = pm.Gamma("more", 2.0, 0.5)  # by which the rate of state 1 exceeds it
        leave = pm.Beta("leave", 1.0, 9.0)
        rate = pt.stack([low, low + more])
        log_prob = y[:, None] * pt.log(rate) - rate
        stay = pt.log1p(-leave)
        move = pt.stack([pt.stack([stay, pt.log(leave)]), pt.stack([pt.log(leave), stay])])
        pm.Potential("spikes", hmm_log_likelihood(log_prob, move))
    post = sample_checked(model, sampler="pymc", draws=2500, tune=1000, chains=4, seed=0)
    exact = _grid(y)
    rows = [
        Row("largest R-hat", post.attrs["worst_rhat"], "<= 1.01"),
        Row("least effective draws", post.attrs["least_ess"], ">= 400"),
    ]
    for name, (mean, sd) in exact.items():
        values = post[f"posterior/{name}"].to_numpy()
        error = convergence.standard_error(values)
        away = abs(float(values.mean()) - mean) / error
        told = f"grid {mean:.4f}, draws {values.mean():.4f}"
        rows.append(Row(f"posterior mean of {name!r}, distance from the grid", away, "<= 3",
                        unit="Monte Carlo errors", note=told))  # fmt: skip
        rows.append(Row(f"standard deviation of {name!r} over the grid's", float(values.std()) / sd))
    return rows


def _grid(y: np.ndarray) -> dict[str, tuple[float, float]]:
    """Posterior means and standard deviations by summing over a grid of all three parameters."""
    low, more, leave = (np.linspace(*ends, 61) for ends in ((0.5, 3.0), (0.3, 6.5), (0.001, 0.35)))
    a, b = (part.ravel() for part in np.meshgrid(low, more, indexing="ij"))
    rate = np.stack([a, a + b], axis=-1)[:, None, :]
    log_prob = y[:, None] * np.log(rate) - rate  # (pair of rates, time, state)
    start = np.log([0.5, 0.5])
    log_post = np.stack(
        [
            np.asarray(hmm.smooth(start, np.log([[1 - p, p], [p, 1 - p]]), log_prob).log_evidence)
            + np.log(a) - a + np.log(b) - 0.5 * b + 8 * np.log1p(-p)
            for p in leave
        ],
        axis=-1,
    ).ravel()  # fmt: skip
    parts = np.stack([np.repeat(a, leave.size), np.repeat(b, leave.size), np.tile(leave, a.size)], axis=-1)
    weight = np.exp(log_post - log_post.max())
    weight /= weight.sum()
    mean = weight @ parts
    sd = np.sqrt(weight @ (parts - mean) ** 2)
    return {name: (float(m), float(s)) for name, m, s in zip(("low", "more", "leave"), mean, sd, strict=True)}
