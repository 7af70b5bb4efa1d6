"""Switching GLMs: the objective never falls, the joint step is Newton's, and an outside draw is recovered."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.special import gammaln

from neurotools.numerics import switching


def problem(rng, family="poisson", link="softplus"):
    n_time, n_unit, n_column = 400, 4, 3
    x = np.concatenate([np.ones((n_time, 1)), rng.normal(size=(n_time, n_column - 1))], axis=1)
    state = (np.arange(n_time) // 50) % 2
    weights = rng.normal(scale=0.7, size=(2, n_column, n_unit))
    predictor = np.einsum("tc,tcu->tu", x, weights[state])
    rate = np.logaddexp(0, predictor + 1)
    y = {
        "poisson": lambda: rng.poisson(rate),
        "negative_binomial": lambda: rng.negative_binomial(3.0, 3.0 / (3.0 + rate)),
        "bernoulli": lambda: rng.random(rate.shape) < 1 / (1 + np.exp(-predictor)),
        "gaussian": lambda: predictor + 0.5 * rng.normal(size=rate.shape),
    }[family]().astype("float64")
    start = np.zeros(n_time, dtype=bool)
    start[[0, 200]] = True
    return switching.Problem(
        x=x, y=y, start=start, family=family, link=link,
        precision=np.array([0.5, 2.0, 2.0]), centre_mean=np.zeros((n_column, n_unit)),
        centre_precision=np.full(n_column, 0.1), stickiness=1.0,
    )  # fmt: skip


PAIRS = [
    ("poisson", "log"), ("poisson", "softplus"), ("poisson", "sigmoid"), ("negative_binomial", "log"),
    ("negative_binomial", "softplus"), ("bernoulli", "sigmoid"), ("gaussian", "identity"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "link"), PAIRS)
def test_the_objective_never_falls(family, link, rng):
    for seed in range(3):
        given = problem(rng, family, link)
        start = switching.random_start(switching.one_state(given), 3, 0.3, (seed,))
        *_, trace, _ = switching.expectation_maximisation(start, given, 40, 0.0)
        assert (np.diff(trace) >= -1e-9 * np.abs(trace[1:])).all()


def test_the_arrowhead_step_is_newtons_on_all_weights_of_a_unit(rng):
    given = problem(rng)
    params = switching.random_start(switching.one_state(given), 2, 0.3, (0,))
    prob = rng.dirichlet(np.ones(2), size=400)
    gradient, information, _ = switching.derivatives(params, prob, given)
    step, centre_step = switching.arrowhead(params, gradient, information, given)
    P, C, unit = np.diag(given.precision), np.diag(given.centre_precision), 1
    zero = np.zeros((3, 3))
    matrix = np.block(
        [
            [information[0, unit] + P, zero, -P],
            [zero, information[1, unit] + P, -P],
            [-P, -P, 2 * P + C],
        ]
    )
    pull = [P @ (params.centre[:, unit] - params.weights[k, :, unit]) for k in range(2)]
    right = np.concatenate(
        [
            gradient[0, :, unit] + pull[0],
            gradient[1, :, unit] + pull[1],
            C @ (given.centre_mean[:, unit] - params.centre[:, unit]) - pull[0] - pull[1],
        ]
    )
    wanted = np.linalg.solve(matrix, right)
    np.testing.assert_allclose(np.concatenate([step[0, :, unit], step[1, :, unit]]), wanted[:6], rtol=1e-5)
    np.testing.assert_allclose(centre_step[:, unit], wanted[6:], rtol=1e-5)


def test_the_gradient_is_the_slope_of_the_expected_log_likelihood(rng):
    given = problem(rng, "negative_binomial", "softplus")
    params = switching.random_start(switching.one_state(given), 2, 0.3, (0,))
    prob = rng.dirichlet(np.ones(2), size=400)
    gradient, *_ = switching.derivatives(params, prob, given)
    for k, c, u in [(0, 0, 0), (1, 2, 3)]:
        values = []
        for sign in (1, -1):
            weights = params.weights.copy()
            weights[k, c, u] += sign * 1e-5
            moved = replace(params, weights=weights)
            values.append(switching.likelihoods(moved, prob, given)[1][u])
        assert gradient[k, c, u] == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6)


def test_an_outside_draw_is_recovered_to_the_published_bounds(shared):
    with np.load(shared("data/glm_reference/hmmglm_synthetic_S5_N20.npz")) as stored:
        given = {name: stored[name].astype("float64") for name in stored.files}
    history = np.zeros_like(given["spikes"])
    for lag, weight in enumerate(given["basis"], start=1):
        history[:, lag:] += weight * given["spikes"][:, :-lag]

    def sessions(which):
        x = np.concatenate([np.ones((len(which) * 1000, 1)), history[which].reshape(-1, 20)], axis=1)
        start = np.zeros(len(x), dtype=bool)
        start[::1000] = True
        precision = np.array([1.0, *[9.0] * 20])
        return switching.Problem(
            x, given["spikes"][which].reshape(-1, 20), start, "poisson", "sigmoid", precision,
            np.zeros((21, 20)), np.full(21, 0.01), 1.0,
        )  # fmt: skip

    train, test = sessions(np.arange(10)), sessions(np.arange(10, 16))
    start = switching.random_start(switching.one_state(train), 5, 0.3, (0, 1))
    params, *_ = switching.expectation_maximisation(start, train, 100, 1e-7)
    found = switching.posterior(params, test)
    joint = np.zeros((5, 5))
    np.add.at(joint, (found.state_prob.argmax(axis=1), given["state"][10:].ravel().astype(int)), 1)
    rows, columns = linear_sum_assignment(-joint)
    assert joint[rows, columns].sum() / joint.sum() >= 0.975
    weights = params.weights[np.argsort(columns), 1:]
    off = ~np.eye(20, dtype=bool)
    error = (weights - given["weight"].transpose(0, 2, 1))[:, off]
    assert (error**2).mean() <= 0.035
    causal = (found.log_evidence - gammaln(test.y + 1).sum()) / test.y.size
    assert causal >= -0.8455
