"""Switching GLMs: the objective never falls, the joint step is Newton's, and an outside draw is recovered."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.special import gammaln

from neurotools.arrays import to_device, to_numpy
from neurotools.errors import NotConvergedError
from neurotools.numerics import (
    glm,
    hmm,
    switching,
    switching_chain,
    switching_fit,
    switching_restarts,
    switching_scales,
)
from neurotools.numerics.switching_scales import dispersion_slopes, gain_slopes, log_gain_centre


def problem(rng, family="poisson", link="softplus"):
    n_time, n_unit, n_column = 400, 4, 3
    x = np.concatenate([np.ones((n_time, 1)), rng.normal(size=(n_time, n_column - 1))], axis=1)
    state = (np.arange(n_time) // 50) % 2
    weights = rng.normal(scale=0.7, size=(2, n_column, n_unit))
    predictor = np.einsum("tc,tcu->tu", x, weights[state])
    rate, chance = np.logaddexp(0, predictor + 1), 1 / (1 + np.exp(-predictor))
    trials = rng.integers(1, 9, size=rate.shape).astype("float64")
    y = {
        "poisson": lambda: rng.poisson(rate),
        "negative_binomial": lambda: rng.negative_binomial(3.0, 3.0 / (3.0 + rate)),
        "bernoulli": lambda: rng.random(rate.shape) < chance,
        "binomial": lambda: rng.binomial(trials.astype(int), chance),
        "categorical": lambda: chosen(rng, predictor),
        "gaussian": lambda: predictor + 0.5 * rng.normal(size=rate.shape),
    }[family]().astype("float64")
    start = np.zeros(n_time, dtype=bool)
    start[[0, 200]] = True
    return switching.Problem(
        x=x, y=y, start=start, family=family, link=link,
        precision=np.array([0.5, 2.0, 2.0]), centre_mean=np.zeros((n_column, n_unit)),
        centre_precision=np.full(n_column, 0.1), stickiness=1.0,
        trials=trials if family == "binomial" else None,
        log_gain_centre=log_gain_centre(y) if link in glm.GAINED else None,
    )  # fmt: skip


def chosen(rng, predictor):
    """Ones at the alternative chosen, the first alternative left out."""
    odds = np.concatenate([np.zeros((len(predictor), 1)), predictor], axis=1)
    code = (odds + rng.gumbel(size=odds.shape)).argmax(axis=1)
    return code[:, None] == np.arange(1, odds.shape[1])


PAIRS = [
    ("poisson", "log"), ("poisson", "softplus"), ("poisson", "sigmoid"), ("poisson", "sigmoid_gain"),
    ("negative_binomial", "log"), ("negative_binomial", "softplus"), ("negative_binomial", "sigmoid_gain"),
    ("bernoulli", "sigmoid"), ("binomial", "sigmoid"), ("categorical", "softmax"), ("gaussian", "identity"),
    ("gaussian", "softplus"),
]  # fmt: skip


@pytest.mark.parametrize("drives", [False, True])
@pytest.mark.parametrize(("family", "link"), PAIRS)
def test_the_objective_never_falls(family, link, drives, rng):
    given = problem(rng, family, link)
    seen = (rng.random(given.y.shape) < 0.9).astype("float64")
    given = replace(given, seen=seen[:, :1] * np.ones_like(seen) if family == "categorical" else seen)
    if drives:
        given = replace(given, inputs=np.column_stack([np.ones(400), rng.normal(size=(400, 2))]))
    start = switching.random_start(switching.one_state(given, max_iter=3), 3, 0.3, (0,))
    *_, trace, _ = switching.expectation_maximisation(start, given, 25, 0.0)
    assert (np.diff(trace) >= -1e-9 * np.abs(trace[1:])).all()
    assert trace[-1] > trace[0]


# ---- what was not observed --------------------------------------------------------------------------------
def test_a_missing_bin_is_as_good_as_any_value(rng):
    given = problem(rng)
    params = switching.random_start(switching.one_state(given), 2, 0.3, (0,))
    seen = (rng.random(given.y.shape) < 0.8).astype("float64")
    other = np.where(seen > 0, given.y, rng.poisson(9, given.y.shape))
    results = [
        switching.expectation_maximisation(params, replace(given, y=y, seen=seen), 10, 0.0)
        for y in (given.y, other)
    ]
    np.testing.assert_allclose(results[0][0].weights, results[1][0].weights, rtol=1e-12)
    np.testing.assert_allclose(results[0][2], results[1][2], rtol=1e-12)


def test_the_evidence_of_missing_bins_is_a_sum_over_their_values(rng):
    """Binary data with one bin missing: its two values together."""
    given = problem(rng, "bernoulli", "sigmoid")
    given = replace(given, x=given.x[:30], y=given.y[:30], start=given.start[:30])
    params = switching.random_start(switching.one_state(given), 2, 0.5, (0,))
    seen, filled = np.ones_like(given.y), []
    seen[12, 1] = 0
    for value in (0.0, 1.0):
        y = given.y.copy()
        y[12, 1] = value
        filled.append(float(switching.posterior(params, replace(given, y=y)).log_evidence))
    missing = float(switching.posterior(params, replace(given, seen=seen)).log_evidence)
    assert missing == pytest.approx(np.logaddexp(*filled), rel=1e-12)


def test_padding_at_the_end_of_a_session_changes_nothing_before_it(rng):
    given = problem(rng)
    params = switching.random_start(switching.one_state(given), 3, 0.5, (0,))
    pad = np.zeros((17, 1))
    long = replace(
        given, x=np.concatenate([given.x, pad + given.x[:1]]),
        y=np.concatenate([given.y, pad + 0 * given.y[:1]]),
        start=np.append(given.start, np.zeros(17, bool)),
        seen=np.concatenate([np.ones_like(given.y), pad + 0 * given.y[:1]]),
    )  # fmt: skip
    whole, padded = switching.posterior(params, given), switching.posterior(params, long)
    assert float(padded.log_evidence) == pytest.approx(float(whole.log_evidence), rel=1e-12)
    np.testing.assert_allclose(padded.state_prob[:400], whole.state_prob, atol=1e-12)
    prob = [found.state_prob for found in (whole, padded)]
    slopes = [switching.derivatives(params, p, g) for p, g in zip(prob, (given, long), strict=True)]
    for left, right in zip(*slopes, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-10)


def test_sessions_of_any_length_in_any_order_give_the_same_step(rng):
    given = problem(rng)
    start = np.zeros(400, dtype=bool)
    edges = [0, 37, 120, 121, 400]
    start[edges[:-1]] = True
    params = switching.random_start(switching.one_state(given), 2, 0.5, (0,))
    order = np.concatenate([np.arange(edges[k], edges[k + 1]) for k in (2, 0, 3, 1)])
    moved = []
    for index in (np.arange(400), order):
        turned = replace(given, x=given.x[index], y=given.y[index], start=start[index])
        moved.append(switching.maximise(params, switching.posterior(params, turned), turned)[0])
    np.testing.assert_allclose(moved[0].weights, moved[1].weights, rtol=1e-9)
    np.testing.assert_allclose(moved[0].log_transition, moved[1].log_transition, rtol=1e-9)
    np.testing.assert_allclose(moved[0].log_initial, moved[1].log_initial, rtol=1e-9)


# ---- steps ------------------------------------------------------------------------------------------------
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


@pytest.mark.parametrize(
    ("family", "link"),
    [("negative_binomial", "softplus"), ("categorical", "softmax"), ("poisson", "sigmoid_gain")],
)
def test_the_gradient_is_the_slope_of_the_expected_log_likelihood(family, link, rng):
    given = problem(rng, family, link)
    params = switching.random_start(switching.one_state(given), 2, 0.3, (0,))
    prob = rng.dirichlet(np.ones(2), size=400)
    gradient, *_ = switching.derivatives(params, prob, given)
    for k, c, u in [(0, 0, 0), (1, 2, 3)]:
        values = []
        for sign in (1, -1):
            weights = params.weights.copy()
            weights[k, c, u] += sign * 1e-5
            each = switching.likelihoods(replace(params, weights=weights), prob, given)[1]
            values.append(each.sum())
        assert gradient[k, c, u] == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6)


def test_the_information_of_a_choice_is_its_curvature(rng):
    given = problem(rng, "categorical", "softmax")
    params = switching.random_start(switching.one_state(given), 2, 0.3, (0,))
    prob = rng.dirichlet(np.ones(2), size=400)
    information = switching.derivatives(params, prob, given)[1]
    assert information.shape == (2, 1, 12, 12)
    for column, unit in [(0, 1), (2, 3)]:
        weights = params.weights.copy()
        weights[1, column, unit] += 1e-5
        above = switching.derivatives(replace(params, weights=weights), prob, given)[0]
        weights[1, column, unit] -= 2e-5
        below = switching.derivatives(replace(params, weights=weights), prob, given)[0]
        slope = (above - below)[1].ravel() / 2e-5
        np.testing.assert_allclose(-slope, information[1, 0, :, column * 4 + unit], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("family", "link", "name"),
    [
        ("negative_binomial", "softplus", "dispersion"), ("gaussian", "identity", "dispersion"),
        ("poisson", "sigmoid_gain", "gain"),
    ],
)  # fmt: skip
def test_dispersion_and_gain_climb_to_where_a_search_finds_them(family, link, name, rng):
    from scipy.optimize import minimize_scalar

    given = problem(rng, family, link)
    params = switching.one_state(given)
    prob = np.ones((400, 1))
    slope = {"dispersion": dispersion_slopes, "gain": gain_slopes}[name](params, prob, given)[0]

    def loss(log_value, unit):
        moved = getattr(params, name).copy()
        moved[unit] = np.exp(log_value)
        moved = replace(params, **{name: moved})
        normaliser = switching.log_normaliser(moved, given)
        prior = switching.log_prior(moved, given)
        return -(float(switching.posterior(moved, given).log_evidence) + normaliser + prior)

    for unit in (0, 3):
        at = np.log(getattr(params, name)[unit])
        best = minimize_scalar(loss, bracket=(at - 0.5, at + 0.5), args=(unit,), tol=1e-10).x
        assert at == pytest.approx(best, abs=0.01)  # an alternation that stops by its own rule
        numeric = -(loss(at + 1e-4, unit) - loss(at - 1e-4, unit)) / 2e-4
        assert slope[unit] == pytest.approx(numeric, abs=1e-3)


@pytest.mark.parametrize("name", ["uniform", "integer_counts", "posterior_state0", "gamma", "mostly_zero"])
def test_weighted_fits_and_their_errors_are_those_of_another_package(shared, name):
    with np.load(shared("reference/hmm/weighted_glm.npz")) as frozen:
        known = dict(frozen)
    cases = [
        ("poisson", "log", known["y"], "no_offset"),
        ("bernoulli", "sigmoid", known["y_binary"], "logistic"),
    ]
    for family, link, y, wanted in cases:
        found, information = weighted(family, link, known["X"], y, known[f"{name}/weights"])
        np.testing.assert_allclose(found, known[f"{name}/{wanted}/params"], atol=1e-8)
        if wanted == "no_offset":
            np.testing.assert_allclose(np.linalg.inv(information), known[f"{name}/{wanted}/cov"], rtol=1e-7)
    if name == "gamma":
        found, _ = weighted("negative_binomial", "log", known["X"], known["y"], known["gamma/weights"])
        np.testing.assert_allclose(found, known["negative_binomial_alpha0p5_gamma/params"], atol=1e-7)


def weighted(family, link, x, y, weights):
    """Fisher steps of one state without a prior; the dispersion held at 2."""
    n_column = x.shape[1]
    given = switching.Problem(
        x=x, y=y[:, None].astype("float64"), start=np.arange(len(x)) == 0, family=family, link=link,
        precision=np.zeros(n_column), centre_precision=np.zeros(n_column),
        centre_mean=np.zeros((n_column, 1)),
    )  # fmt: skip
    one = np.zeros((1, 1))
    params = switching.Params(
        np.zeros((1, n_column, 1)), one[0] + np.zeros((n_column, 1)), one[0], one, one[0] + 2
    )
    for _ in range(40):
        params, _ = switching.weights_step(params, weights[:, None], given)
    return params.weights[0, :, 0], switching.derivatives(params, weights[:, None], given)[1][0, 0]


def there(part, device):
    """Parameters or a problem with all its arrays on a device but the flags of starts."""
    arrays = {n: v for n, v in vars(part).items() if isinstance(v, np.ndarray) and n != "start"}
    return replace(part, **{name: to_device(values, device) for name, values in arrays.items()})


@pytest.mark.parametrize(
    ("family", "link"),
    [
        ("poisson", "sigmoid_gain"), ("negative_binomial", "softplus"), ("binomial", "sigmoid"),
        ("categorical", "softmax"),
    ],
)  # fmt: skip
def test_devices_agree_on_every_family(family, link, device, rng):
    given = problem(rng, family, link)
    given = replace(
        given, x=given.x[:90], y=given.y[:90], start=given.start[:90], seen=np.ones((90, 4)),
        trials=None if given.trials is None else given.trials[:90],
        inputs=np.column_stack([np.ones(90), rng.normal(size=90)]),
    )  # fmt: skip
    given.seen[20:25] = 0
    begin = switching.random_start(switching.one_state(given, max_iter=2), 2, 0.3, (0,))
    wanted = switching.expectation_maximisation(begin, given, 4, 0.0)

    found = switching.expectation_maximisation(there(begin, device), there(given, device), 4, 0.0)
    np.testing.assert_allclose(found[2], wanted[2], rtol=1e-10)
    np.testing.assert_allclose(to_numpy(found[0].weights), wanted[0].weights, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(to_numpy(found[0].drive), wanted[0].drive, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("family", "link"),
    [("poisson", "softplus"), ("poisson", "sigmoid_gain"), ("negative_binomial", "softplus"),
     ("binomial", "sigmoid")],
)  # fmt: skip
def test_starts_that_run_together_are_those_that_run_in_turn(family, link, device, rng):
    """Each leaves when it has converged, after as many iterations as it takes alone."""
    given = problem(rng, family, link)
    given = replace(given, seen=(rng.random(given.y.shape) < 0.9).astype("float64"))
    base = switching.one_state(given)
    begins = [switching.random_start(base, 2, 0.3 + 0.3 * k, (k,)) for k in range(4)]
    wanted = switching_fit.climb(begins, given, 12, 1e-4, lambda share: None)
    shares = []
    found = switching_restarts.climb(
        [there(begin, device) for begin in begins], there(given, device), 12, 1e-4, shares.append
    )
    assert len({len(run[2]) for run in wanted}) > 1
    for one, run in zip(found, wanted, strict=True):
        assert one[3] == run[3]
        np.testing.assert_allclose(one[2], run[2], rtol=1e-11)
        for name in ("weights", "centre", "dispersion", "log_transition", "log_initial"):
            np.testing.assert_allclose(
                to_numpy(getattr(one[0], name)), getattr(run[0], name), rtol=1e-8, atol=1e-9
            )
        np.testing.assert_allclose(to_numpy(one[1].state_prob), run[1].state_prob, atol=1e-9)
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1


@pytest.mark.parametrize("drives", [False, True])
def test_an_iteration_moves_nothing_along_time_off_its_device(drives, rng, monkeypatch):
    given = problem(rng, "negative_binomial", "softplus")
    inputs = np.column_stack([np.ones(400), rng.normal(size=400)]) if drives else None
    given = there(replace(given, inputs=inputs), "strict")
    params = switching.random_start(switching.one_state(given, max_iter=2), 2, 0.3, (0,))
    moved = []

    def noted(values):
        moved.append(values.shape)
        return to_numpy(values)

    for module in (switching, switching_chain, switching_scales):
        monkeypatch.setattr(module, "to_numpy", noted)
    switching.expectation_maximisation(params, given, 3, 0.0)
    assert all(400 not in shape for shape in moved)


# ---- transitions that inputs drive ------------------------------------------------------------------------
def test_pairs_of_states_are_those_of_the_recursion(rng):
    transition = np.log(rng.dirichlet(np.ones(3), size=(50, 3)))
    start = np.isin(np.arange(50), [0, 20])
    found = hmm.smooth(np.log(np.full(3, 1 / 3)), transition, rng.normal(size=(50, 3)), start)
    pairs = switching_chain.pair_prob(found, transition, start)
    np.testing.assert_allclose(pairs.sum(axis=0), found.pair_sum, atol=1e-12)
    np.testing.assert_allclose(pairs[~start].sum(axis=1), found.state_prob[~start], atol=1e-12)
    assert not pairs[start].any()


def test_a_row_of_transitions_is_a_multinomial_regression(rng):
    """Its slopes against finite differences; constant inputs give the closed form."""
    given = replace(problem(rng), inputs=np.column_stack([np.ones(400), rng.normal(size=400)]))
    drive = rng.normal(size=(3, 3, 2))
    drive[np.arange(3), np.arange(3)] = 0
    pairs = rng.dirichlet(np.ones(3), size=400)
    gradient, curvature = switching_chain.row_slopes(drive[1], 1, pairs, given)
    numeric = []
    for to in (0, 2):
        for column in range(2):
            moved = [drive[1].copy(), drive[1].copy()]
            moved[0][to, column] += 1e-5
            moved[1][to, column] -= 1e-5
            values = [switching_chain._row_objective(row, 1, pairs, given) for row in moved]
            above, below = (switching_chain.row_slopes(row, 1, pairs, given)[0] for row in moved)
            numeric.append((values[0] - values[1]) / 2e-5)
            place = (0 if to == 0 else 2) + column
            np.testing.assert_allclose(-(above - below).ravel() / 2e-5, curvature[:, place], rtol=1e-5)
    np.testing.assert_allclose(gradient.ravel(), numeric, rtol=1e-5)


def test_inputs_that_drive_transitions_are_found(rng):
    """Two states with different rates; one input makes leaving state 0 likely, another leaving state 1."""
    n_time = 6000
    inputs = rng.normal(size=(n_time, 2))
    drive = np.zeros((2, 2, 3))
    drive[0, 1], drive[1, 0] = [-3.0, 1.5, 0.0], [-3.0, 0.0, -1.5]
    full = np.column_stack([np.ones(n_time), inputs])
    moves = np.exp(switching_chain.driven(drive, full))
    state = np.zeros(n_time, int)
    for t in range(1, n_time):
        state[t] = rng.random() < moves[t, state[t - 1], 1]
    rate = np.array([[0.3, 2.0, 1.0], [2.0, 0.3, 1.0]])[state]
    given = switching.Problem(
        x=np.ones((n_time, 1)), y=rng.poisson(rate).astype("float64"), start=np.arange(n_time) == 0,
        family="poisson", link="log", precision=np.array([0.1]), centre_mean=np.zeros((1, 3)),
        centre_precision=np.array([0.01]), stickiness=1.0, inputs=full,
    )  # fmt: skip
    begin = switching.random_start(switching.one_state(given), 2, 1.0, (0,))
    params, _, trace, _ = switching.expectation_maximisation(begin, given, 100, 1e-8)
    first = int(params.weights[0, 0, 0] > params.weights[1, 0, 0])  # the state in which unit 0 is quiet
    order = [first, 1 - first]
    found = params.drive[order][:, order]
    np.testing.assert_allclose(found[0, 1], drive[0, 1], atol=0.35)
    np.testing.assert_allclose(found[1, 0], drive[1, 0], atol=0.35)
    still = replace(given, inputs=None)
    bare = switching.random_start(switching.one_state(still), 2, 1.0, (0,))
    assert trace[-1] > switching.expectation_maximisation(bare, still, 100, 1e-8)[2][-1] + 50


# ---- recovery ---------------------------------------------------------------------------------------------
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


# ---- the chain ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("stickiness", [0.0, 25.0])
def test_the_sticky_prior_counts_as_so_many_stays(stickiness, rng):
    given = replace(problem(rng), stickiness=stickiness)
    found = switching.posterior(switching.random_start(switching.one_state(given), 2, 0.5, (0,)), given)
    moves = np.exp(switching_chain.transition_step(found, given))
    counts = found.pair_sum + stickiness * np.eye(2)
    np.testing.assert_allclose(moves, counts / counts.sum(axis=1, keepdims=True), rtol=1e-9)


# ---- starts that go wrong -------------------------------------------------------------------------------
def test_an_objective_that_is_no_number_is_no_candidate():
    assert switching_fit.highest([float("nan"), -3.0, -2.0, float("inf")]) == 2
    with pytest.raises(NotConvergedError, match="no finite number"):
        switching_fit.highest([float("nan"), -float("inf")])
