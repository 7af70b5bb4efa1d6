"""Standard errors are those of the marginal log posterior: against its numerical curvature."""

from dataclasses import replace

import numpy as np
import pytest
from numerics.test_switching import problem
from scipy import stats

from neurotools.numerics import missing_information as missing
from neurotools.numerics import switching, switching_errors
from neurotools.numerics.switching_chain import driven


def small(rng, family, link, n_state=2):
    """Forty samples, two units, three columns: a posterior over states that is far from certain."""
    given = problem(rng, family, link)
    start = np.zeros(40, dtype=bool)
    start[[0, 25]] = True
    seen = np.ones((40, 2))
    if family == "categorical":
        seen[7] = 0
    else:
        seen[[3, 30], [0, 1]] = 0
    given = replace(
        given, x=given.x[:40], y=given.y[:40, :2], start=start, seen=seen,
        centre_mean=given.centre_mean[:, :2],
        trials=None if given.trials is None else given.trials[:40, :2],
        log_gain_centre=None if given.log_gain_centre is None else given.log_gain_centre[:2],
    )  # fmt: skip
    begin = switching.random_start(switching.one_state(given), n_state, 0.3, (0,))
    return given, switching.expectation_maximisation(begin, given, 15, 0.0)[0]


def flat(params, given):
    """Parameters in the order of the information: weights (unit, state, column), then log odds."""
    k = params.weights.shape[0]
    chain = []
    if params.drive is None:
        log = params.log_transition
        chain = [(log[i, missing.others(k, i)] - log[i, i]).ravel() for i in range(k)]
    else:
        chain = [params.drive[i, missing.others(k, i)].ravel() for i in range(k)]
    first = params.log_initial[1:] - params.log_initial[0]
    return np.concatenate([params.weights.transpose(2, 0, 1).ravel(), *chain, first])


def unflat(values, like, given):
    k, d, n = like.weights.shape
    weights = values[: k * d * n].reshape(n, k, d).transpose(1, 2, 0)
    rest = values[k * d * n :]
    size = 1 if like.drive is None else like.drive.shape[2]
    drive = np.zeros((k, k, size))
    for i in range(k):
        drive[i, missing.others(k, i)] = rest[: (k - 1) * size].reshape(k - 1, size)
        rest = rest[(k - 1) * size :]
    first = np.concatenate([[0.0], rest])
    moves = driven(drive[..., :1], np.ones((1, 1)))[0]
    return replace(
        like, weights=weights, log_transition=moves, drive=None if like.drive is None else drive,
        log_initial=first - np.logaddexp.reduce(first),
    )  # fmt: skip


def log_posterior(params, given):
    """Of weights, centres summed out, and log odds: evidence and prior, written down anew."""
    total = float(switching.posterior(params, given).log_evidence)
    k, d, _ = params.weights.shape
    for c in range(d):
        inverse = np.linalg.inv(np.eye(k) / given.precision[c] + 1 / given.centre_precision[c])
        around = params.weights[:, c] - given.centre_mean[c]
        total -= 0.5 * (around * (inverse @ around)).sum()
    stay = np.diag(params.log_transition).sum()
    total += given.stickiness * stay + 2 * params.log_initial.sum()
    if params.drive is None:
        return total + params.log_transition.sum()
    base = np.log(0.05 / ((k - 1) * 0.95))
    for i in range(k):
        odds = params.drive[i, missing.others(k, i)]
        total -= 0.5 * ((odds[:, 0] - base) ** 2).sum() / 25
        total -= 0.5 * given.input_precision * (odds[:, 1:] ** 2).sum()
    return total


def numerical_curvature(function, at, step=1e-4):
    n = at.size
    eye = np.eye(n) * step
    found = np.empty((n, n))
    for i in range(n):
        for j in range(i, n):
            corners = [
                sign_i * sign_j * function(at + sign_i * eye[i] + sign_j * eye[j])
                for sign_i in (1, -1)
                for sign_j in (1, -1)
            ]
            found[i, j] = found[j, i] = sum(corners) / (4 * step**2)
    return found


CASES = [
    ("poisson", "softplus", 2, False), ("negative_binomial", "sigmoid_gain", 2, False),
    ("bernoulli", "sigmoid", 3, False), ("categorical", "softmax", 2, False),
    ("binomial", "sigmoid", 2, True),
]  # fmt: skip


@pytest.mark.parametrize(("family", "link", "n_state", "drives"), CASES)
def test_information_is_the_curvature_of_the_marginal_log_posterior(rng, family, link, n_state, drives):
    given, params = small(rng, family, link, n_state)
    if drives:
        given = replace(given, inputs=np.column_stack([np.ones(40), rng.normal(size=40)]))
        params = switching.expectation_maximisation(params, given, 3, 0.0)[0]
    found = switching.posterior(params, given)
    information = switching_errors.observed_information(params, found, given)
    at = flat(params, given)
    np.testing.assert_allclose(flat(unflat(at, params, given), given), at, rtol=1e-12)
    numeric = numerical_curvature(lambda v: log_posterior(unflat(v, params, given), given), at)
    np.testing.assert_allclose(information, -numeric, atol=2e-5 * np.abs(numeric).max())


def test_the_kernel_is_the_plain_sum(rng):
    for n_state, drives in ((2, False), (3, True)):
        given, params = small(rng, "poisson", "log", n_state)
        if drives:
            given = replace(given, inputs=np.column_stack([np.ones(40), rng.normal(size=40)]))
            params = switching.expectation_maximisation(params, given, 2, 0.0)[0]
        chain = switching_errors.chain_of(params, switching.posterior(params, given), given)
        plain = missing.missing_information_plain(chain)
        np.testing.assert_allclose(missing.missing_information(chain), plain, atol=1e-9 * np.abs(plain).max())


def test_one_unit_alone_is_as_sure_as_all_together(rng):
    """With a single unit both ways are one; with more, what others leave open adds to the error."""
    given, params = small(rng, "poisson", "log")
    one = switching_errors.of_unit(params, given, 0)
    whole, alone = switching_errors.together(*one), switching_errors.unit_by_unit(*one)
    np.testing.assert_allclose(whole.weights, alone.weights, rtol=1e-8)
    both, apart = switching_errors.together(params, given), switching_errors.unit_by_unit(params, given)
    assert (apart.weights <= both.weights * (1 + 1e-9)).all()
    assert both.how == "full"
    assert apart.how == "unit"


def test_intervals_hold_the_estimate_and_lie_between_zero_and_one(rng):
    given, params = small(rng, "poisson", "softplus", 3)
    errors = switching_errors.whichever(params, given)
    low, high = errors.transition_low, errors.transition_high
    assert ((low > 0) & (high < 1) & (low < high)).all()
    move = np.exp(switching_errors.on_log_odds(params, given)[0].log_transition)
    assert ((low < move) & (move < high)).all()


def test_a_curvature_that_is_no_maximums_gives_no_errors():
    assert np.isnan(switching_errors.inverse(np.diag([1.0, -1.0]))).all()


def test_intervals_of_known_states_are_those_of_the_dirichlet_posterior(rng):
    """Three states that spikes tell apart without doubt."""
    state = np.repeat(rng.integers(0, 3, 60), rng.integers(1, 15, 60))
    y = np.eye(3)[state] * 60.0
    given = switching.Problem(
        x=np.ones((len(y), 1)), y=y, start=np.arange(len(y)) == 0, family="poisson", link="log",
        precision=np.array([1e-4]), centre_mean=np.zeros((1, 3)), centre_precision=np.array([1.0]),
        stickiness=2.0,
    )  # fmt: skip
    weights = np.log(np.where(np.eye(3) > 0, 60.0, 1e-2))[:, None, :]
    chain = np.log(np.full((3, 3), 1 / 3))
    params = switching.Params(weights, weights.mean(axis=0), chain[0], chain, np.ones(3))
    errors = switching_errors.together(params, given)
    counts = np.zeros((3, 3))
    np.add.at(counts, (state[:-1], state[1:]), 1)
    alpha = counts + 1 + 2 * np.eye(3)
    law = stats.beta(alpha, alpha.sum(axis=1, keepdims=True) - alpha)
    np.testing.assert_allclose(errors.transition_low, law.ppf(0.05), rtol=1e-6)
    np.testing.assert_allclose(errors.transition_high, law.ppf(0.95), rtol=1e-6)
