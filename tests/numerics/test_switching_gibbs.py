"""The Gibbs sampler draws what it says, and the maximum a posteriori fit and its errors agree with it."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from neurotools.errors import SettingsError
from neurotools.numerics import switching, switching_errors, switching_gibbs


def two_states(rng, family, link, n_time=500):
    """Three units whose drive turns round with the state."""
    x = np.column_stack([np.ones(n_time), rng.normal(size=n_time)])
    state = (np.arange(n_time) // 50) % 2
    weights = np.array([[[1.0, -1.0, 0.5], [1.0, 0.5, -1.0]], [[-1.0, 1.0, -0.5], [-0.5, 1.0, 1.0]]])
    drive = np.einsum("tc,tcu->tu", x, weights[state])
    y = {
        "bernoulli": lambda: rng.random(drive.shape) < 1 / (1 + np.exp(-drive)),
        "negative_binomial": lambda: rng.negative_binomial(3.0, 3.0 / (3.0 + np.exp(drive))),
    }[family]().astype("float64")
    seen = np.ones_like(y)
    seen[7:20, 1] = 0
    return switching.Problem(
        x=x, y=y, start=np.arange(n_time) % 250 == 0, family=family, link=link, precision=np.ones(2),
        centre_mean=np.zeros((2, 3)), centre_precision=np.ones(2), stickiness=2.0, seen=seen,
    )  # fmt: skip


@pytest.mark.parametrize(("family", "link"), [("bernoulli", "sigmoid"), ("negative_binomial", "log")])
def test_fit_and_errors_are_mean_and_deviation_of_the_draws(rng, family, link):
    given = two_states(rng, family, link)
    begin = switching.random_start(switching.one_state(given), 2, 0.8, (1,))
    params = switching.expectation_maximisation(begin, given, 200, 1e-10)[0]
    errors = switching_errors.together(params, given)
    draws = switching_gibbs.sample(params, given, n_draws=300, n_tune=60, seed=0)
    mean, deviation = draws.weights.mean(axis=0), draws.weights.std(axis=0)
    assert np.abs((mean - params.weights) / deviation).max() < 0.5
    ratio = errors.weights / deviation
    assert ratio.min() > 0.75
    assert ratio.max() < 1.3
    held = (errors.transition_low < draws.transition) & (draws.transition < errors.transition_high)
    assert held.mean() == pytest.approx(0.9, abs=0.08)


def test_paths_are_drawn_from_their_posterior(rng):
    initial, move = np.array([0.3, 0.7]), np.array([[0.8, 0.2], [0.4, 0.6]])
    log_prob, start = rng.normal(size=(5, 2)), np.array([True, False, False, True, False])
    paths = np.array(list(product(range(2), repeat=5)))
    joint = log_prob[np.arange(5), paths].sum(axis=1)
    for t in range(5):
        joint += np.log(initial[paths[:, t]] if start[t] else move[paths[:, t - 1], paths[:, t]])
    wanted = np.exp(joint - np.logaddexp.reduce(joint))
    draws = [switching_gibbs.draw_path(rng, initial, move, log_prob, start) for _ in range(2000)]
    share = np.bincount(np.array(draws) @ 2 ** np.arange(4, -1, -1), minlength=32) / 2000
    assert np.abs(share - wanted).max() < 4 * np.sqrt(0.25 / 2000)
    chi = 2000 * ((share - wanted) ** 2 / wanted).sum()
    assert chi < 31 + 4 * np.sqrt(62)


def test_one_state_of_binomial_tries_against_a_grid(rng):
    """A single weight, so that the posterior can be summed."""
    tries = np.full((30, 1), 6.0)
    y = rng.binomial(6, 0.7, size=(30, 1)).astype("float64")
    given = switching.Problem(
        x=np.ones((30, 1)), y=y, start=np.arange(30) == 0, family="binomial", link="sigmoid",
        precision=np.array([1.0]), centre_mean=np.zeros((1, 1)), centre_precision=np.array([1e12]),
        trials=tries,
    )  # fmt: skip
    draws = switching_gibbs.sample(switching.one_state(given), given, 1000, 20, seed=1).weights.ravel()
    grid = np.linspace(-2, 3, 4001)
    log_prob = y.sum() * grid - tries.sum() * np.logaddexp(0, grid) - grid**2 / 2
    prob = np.exp(log_prob - log_prob.max())
    prob /= prob.sum()
    mean = prob @ grid
    deviation = np.sqrt(prob @ (grid - mean) ** 2)
    assert draws.mean() == pytest.approx(mean, abs=5 * deviation / np.sqrt(500))
    assert draws.std() == pytest.approx(deviation, rel=0.15)


def test_what_has_no_polya_gamma_form_is_named(rng):
    given = two_states(rng, "bernoulli", "sigmoid", 20)
    params = switching.one_state(given)
    with pytest.raises(SettingsError, match="no family and link of a Gibbs sampler named 'poisson log'"):
        switching_gibbs.sample(params, replace(given, family="poisson", link="log"), 1, 0, 0)
