"""Hidden Markov chains against a sum over all paths and other software; what must not matter does not."""

from itertools import product

import numpy as np
import pytest

from neurotools.arrays import to_device, to_numpy
from neurotools.numerics import hmm, hmm_scan


def problem(rng, n_time=8, n_state=3, batch=()):
    initial = np.log(rng.dirichlet(np.ones(n_state)))
    transition = np.log(rng.dirichlet(np.ones(n_state), size=n_state))
    return initial, transition, rng.normal(size=(*batch, n_time, n_state)) * 2


def enumerate_paths(initial, transition, likelihood, start):
    """Every quantity by brute force: sum over all paths of states."""
    n_time, n_state = likelihood.shape
    evidence, gamma, pairs, best = (
        0.0,
        np.zeros((n_time, n_state)),
        np.zeros((n_state, n_state)),
        (-np.inf, None),
    )
    for path in product(range(n_state), repeat=n_time):
        steps = [likelihood[t, s] for t, s in enumerate(path)]
        for t, s in enumerate(path):
            move = transition if transition.ndim == 2 else transition[t]
            steps.append(initial[s] if start[t] else move[path[t - 1], s])
        log_joint = sum(steps)
        weight = np.exp(log_joint)
        evidence += weight
        gamma[np.arange(n_time), list(path)] += weight
        for t in range(1, n_time):
            if not start[t]:
                pairs[path[t - 1], path[t]] += weight
        best = max(best, (log_joint, path))
    return np.log(evidence), gamma / evidence, pairs / evidence, best


@pytest.mark.parametrize("sessions", [[0], [0, 3], [0, 1, 7]])
@pytest.mark.parametrize("driven", [False, True])
def test_smooth_and_viterbi_equal_the_sum_over_all_paths(rng, device, sessions, driven):
    initial, transition, likelihood = problem(rng)
    if driven:
        transition = np.log(rng.dirichlet(np.ones(3), size=(8, 3)))
    start = np.isin(np.arange(8), sessions)
    log_evidence, gamma, pairs, (best, path) = enumerate_paths(initial, transition, likelihood, start)
    arrays = [to_device(x, device) for x in (initial, transition, likelihood)]
    for function in (hmm.smooth, hmm.smooth_plain):
        found = function(*arrays, start)
        np.testing.assert_allclose(to_numpy(found.log_evidence), log_evidence, rtol=1e-12)
        np.testing.assert_allclose(to_numpy(found.state_prob), gamma, atol=1e-12)
        np.testing.assert_allclose(to_numpy(found.pair_sum), pairs, atol=1e-12)
        np.testing.assert_allclose(to_numpy(found.log_predictive).sum(), log_evidence, rtol=1e-12)
    for decode in (hmm.viterbi, hmm.viterbi_plain):
        states, score = decode(*arrays, start)
        assert tuple(states) == path
        assert score == pytest.approx(best, abs=1e-12)


def test_filtered_is_smoothed_with_the_future_cut_off(rng):
    initial, transition, likelihood = problem(rng, n_time=20)
    whole = hmm.smooth(initial, transition, likelihood)
    for t in (1, 7, 20):
        np.testing.assert_allclose(
            whole.filtered_prob[t - 1],
            hmm.smooth(initial, transition, likelihood[:t]).state_prob[-1],
            atol=1e-12,
        )


def test_a_batch_is_its_entries(rng, device):
    initial, transition, likelihood = problem(rng, n_time=30, batch=(2, 3))
    arrays = [to_device(x, device) for x in (initial, transition, likelihood)]
    found = hmm.smooth(*arrays)
    for i, j in product(range(2), range(3)):
        one = hmm.smooth(initial, transition, likelihood[i, j])
        np.testing.assert_allclose(to_numpy(found.state_prob)[i, j], one.state_prob, atol=1e-12)
        np.testing.assert_allclose(to_numpy(found.pair_sum)[i, j], one.pair_sum, atol=1e-11)
        np.testing.assert_allclose(to_numpy(found.log_evidence)[i, j], one.log_evidence, rtol=1e-12)


def test_a_constant_added_to_all_log_likelihoods_moves_only_the_evidence(rng):
    initial, transition, likelihood = problem(rng, n_time=50)
    base, moved = (hmm.smooth(initial, transition, likelihood + c) for c in (0.0, -1000.0))
    np.testing.assert_allclose(moved.state_prob, base.state_prob, atol=1e-12)
    assert moved.log_evidence == pytest.approx(base.log_evidence - 50_000, rel=1e-12)


def test_renaming_states_renames_the_answer(rng):
    initial, transition, likelihood = problem(rng, n_time=50)
    order = np.array([2, 0, 1])
    base = hmm.smooth(initial, transition, likelihood)
    renamed = hmm.smooth(initial[order], transition[np.ix_(order, order)], likelihood[:, order])
    np.testing.assert_allclose(renamed.state_prob, base.state_prob[:, order], atol=1e-12)


def test_likelihoods_far_below_the_range_of_exp(rng):
    initial, transition, likelihood = problem(rng, n_time=40)
    likelihood[:, 1] -= 800.0
    found = hmm.smooth(initial, transition, likelihood)
    assert np.isfinite(found.state_prob).all()
    np.testing.assert_allclose(found.state_prob.sum(axis=-1), 1, atol=1e-12)
    np.testing.assert_allclose(
        found.log_evidence,
        hmm.smooth_plain(initial, transition, likelihood, hmm.session_starts(40, None)).log_evidence,
    )


def test_posteriors_of_another_package(shared):
    with np.load(shared("data/glm_reference/hmm_parity_ssm_K5.npz")) as frozen:
        values = dict(frozen)
    found = hmm.smooth(np.log(values["pi"]), np.log(values["P"]), values["log_lik"])
    assert found.log_evidence == pytest.approx(float(values["log_norm"]), rel=1e-12)
    np.testing.assert_allclose(found.state_prob, values["gamma"], atol=1e-8)
    np.testing.assert_allclose(found.pair_sum, values["xi_sum"], atol=1e-6)
    states, _ = hmm.viterbi(np.log(values["pi"]), np.log(values["P"]), values["log_lik"])
    np.testing.assert_array_equal(states, values["viterbi"])


def test_sequences_of_a_third_package(shared):
    with np.load(shared("reference/hmm/hmmlearn_poisson.npz")) as frozen:
        values = dict(frozen)
    starts = np.zeros(300, dtype=bool)
    starts[np.cumsum(values["lengths"])[:-1]] = True
    arguments = np.log(values["startprob"]), np.log(values["transmat"]), values["emission_loglik"]
    one, several = hmm.smooth(*arguments), hmm.smooth(*arguments, starts)
    assert one.log_evidence == pytest.approx(float(values["log/loglik"]), rel=1e-9)
    np.testing.assert_allclose(one.state_prob, values["log/posterior"], atol=1e-10)
    assert several.log_evidence == pytest.approx(float(values["log/loglik_sequences"]), rel=1e-9)
    np.testing.assert_allclose(several.state_prob, values["log/posterior_sequences"], atol=1e-10)
    states, score = hmm.viterbi(*arguments, starts)
    np.testing.assert_array_equal(states, values["viterbi_states_sequences"])
    assert score == pytest.approx(float(values["viterbi_logprob_sequences"]), rel=1e-12)


def test_choices_under_given_weights_of_a_fourth_package(shared):
    with np.load(shared("reference/hmm/dynamax_logistic.npz")) as frozen:
        known = dict(frozen)
    found = hmm.smooth(
        np.log(known["initial_probs"]), np.log(known["transition_matrix"]), known["emission_loglik"]
    )
    assert found.log_evidence == pytest.approx(float(known["loglik"]), rel=1e-9)
    np.testing.assert_allclose(found.state_prob, known["smoothed_probs"], atol=1e-10)
    np.testing.assert_allclose(found.filtered_prob, known["filtered_probs"], atol=1e-10)
    np.testing.assert_allclose(found.pair_sum, known["trans_probs_sum"], atol=1e-9)


def test_a_path_that_only_improbable_states_allow(rng):
    """Transitions of probability zero lead into states whose likelihood is below the range of exp."""
    with np.errstate(divide="ignore"):
        initial, transition = np.log([1.0, 0.0]), np.log(np.eye(2))
    likelihood = np.stack([np.full(30, -900.0), np.zeros(30)], axis=1)
    found = hmm.smooth(initial, transition, likelihood)
    assert found.log_evidence == pytest.approx(-27_000, rel=1e-12)
    np.testing.assert_allclose(found.state_prob[:, 0], 1)


# ---- the scan of devices ----------------------------------------------------------------------------------
def assert_same(found, wanted, rtol=1e-10):
    for name in ("state_prob", "filtered_prob", "pair_sum"):
        np.testing.assert_allclose(
            to_numpy(getattr(found, name)), getattr(wanted, name), rtol=rtol, atol=1e-14, err_msg=name
        )
    np.testing.assert_allclose(to_numpy(found.log_predictive), wanted.log_predictive, rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(to_numpy(found.log_evidence), wanted.log_evidence, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("n_time", [1, 2, 3, 7, 64, 129, 1000])
@pytest.mark.parametrize("driven", [False, True])
def test_the_scan_is_the_recursion_whatever_the_length(rng, n_time, driven):
    """Sessions of any length, one of a single sample; missing bins; transitions that change or do not."""
    initial, transition, likelihood = problem(rng, n_time=n_time, n_state=4)
    if driven:
        transition = np.log(rng.dirichlet(np.ones(4), size=(n_time, 4)))
    likelihood[rng.random(n_time) < 0.2] = 0.0
    start = hmm.session_starts(n_time, rng.random(n_time) < 0.02)
    start[-1] = True
    assert_same(
        hmm_scan.smooth(initial, transition, likelihood, start),
        hmm.smooth(initial, transition, likelihood, start),
    )


def test_the_scan_of_a_batch_in_which_every_chain_has_its_own_transitions(rng, device):
    initial, transition = (np.log(rng.dirichlet(np.ones(3), size=size)) for size in (5, (5, 3)))
    likelihood, start = rng.normal(size=(5, 77, 3)), hmm.session_starts(77, np.arange(77) % 30 == 0)
    arrays = [to_device(part, device) for part in (initial, transition[:, None], likelihood)]
    found = hmm.smooth(*arrays, start)
    plain = hmm.smooth_plain(initial, transition[:, None], likelihood, start)
    assert_same(found, plain, rtol=1e-9)
    for k in range(5):
        one = hmm.smooth(initial[k], transition[k], likelihood[k], start)
        np.testing.assert_allclose(to_numpy(found.state_prob)[k], one.state_prob, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(to_numpy(found.pair_sum)[k], one.pair_sum, rtol=1e-10)


@pytest.mark.parametrize("zeros", [False, True])
def test_the_scan_loses_no_state_however_improbable(rng, device, zeros):
    """Samples that speak against what went before by thousands of nats, also where moves are impossible."""
    initial, transition, likelihood = problem(rng, n_time=300)
    likelihood[50:60, 1] -= 900.0
    likelihood[100:200, 0] += 50.0
    likelihood[200:, 2] += 40.0
    if zeros:  # from left to right, and one state that is never left
        moves = np.array([[0.9, 0.1, 0.0], [0.0, 0.99, 0.01], [0.0, 0.0, 1.0]])
        with np.errstate(divide="ignore"):
            transition, initial = np.log(moves), np.log([1.0, 0.0, 0.0])
    start = hmm.session_starts(300, None)
    arrays = [to_device(x, device) for x in (initial, transition, likelihood)]
    with np.errstate(invalid="ignore"):
        plain = hmm.smooth_plain(initial, transition, likelihood, start)
    found = hmm.smooth(*arrays, start)
    assert np.isfinite(plain.state_prob).all()
    assert_same(found, plain)
