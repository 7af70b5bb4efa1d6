"""How far weights with types may lie from their means: sums over types, and the answer to a push."""

import dataclasses
import itertools

import numpy as np
import pytest
from numerics.test_typed_weights import SIZES, parabola, prior_of, settled, wiring

from neurotools.numerics import connection_types as types
from neurotools.numerics import typed_spread, typed_weights


def by_enumeration(now, given):
    """Covariances over states of every connection's weight, summed over the types of all states."""
    tilt = types.tilted(now.linear, now.information, SIZES)
    n_state, n = now.linear.shape[0], given.n_unit
    found = {}
    for sender, to in itertools.permutations(range(n), 2):
        at = (slice(None), sender + 1, to)
        joint = {
            chosen: prior_of(chosen, now.hyper.base, given.across)
            * np.exp(sum(tilt.log_total[at][k, c] for k, c in enumerate(chosen)))
            for chosen in itertools.product(range(3), repeat=n_state)
        }
        total, mean, second = sum(joint.values()), np.zeros(n_state), np.zeros((n_state, n_state))
        for chosen, weight in joint.items():
            m = tilt.mean[at][np.arange(n_state), chosen]
            product = np.outer(m, m)
            np.fill_diagonal(product, tilt.square[at][np.arange(n_state), chosen])
            mean, second = mean + weight / total * m, second + weight / total * product
        found[sender, to] = second - np.outer(mean, mean)
    return found


@pytest.mark.parametrize("across", ["shared", "state"])
def test_covariances_are_those_of_a_sum_over_all_types(across, rng):
    given = wiring(across)
    now, _ = settled(parabola(rng, 3), given)
    roots = [typed_spread.spread(now, given).root(unit) for unit in range(2)]
    full = np.stack([root @ root.T for root in roots]).reshape(2, 3, 3, 3, 3)
    for (sender, to), known in by_enumeration(now, given).items():
        np.testing.assert_allclose(full[to, :, sender + 1, :, sender + 1], known, rtol=1e-5, atol=1e-9)
    for unit in range(2):  # a unit's own past and its bias are normal, and have nothing in common
        own = full[unit][:, [0, unit + 1]][:, :, :, [0, unit + 1]].reshape(6, 6)
        width = np.array([2.0, 0.7] * 3)
        information = now.information[:, [0, unit + 1], unit].ravel()
        np.testing.assert_allclose(own, np.diag(1 / (information + width**-2)), rtol=1e-10)


@pytest.mark.parametrize("across", ["shared", "state"])
def test_the_inverse_curvature_is_what_means_answer_to_a_push(across, rng):
    given, step = wiring(across), 1e-4
    gradient, curvature = parabola(rng, 2, tied=0.4)
    now, _ = settled((gradient, curvature), given)
    spread = typed_spread.spread(now, given)
    for unit, places in ((0, (1, 2, 5)), (1, (1, 4))):
        information = np.zeros((2, 3, 2, 3))
        for k in range(2):
            information[k, :, k] = curvature[k, unit]
        rest = information.reshape(6, 6) - np.diag(spread.of_unit(unit).informations)
        root = spread.root(unit)
        found = root @ np.linalg.inv(np.eye(6) + root.T @ rest @ root) @ root.T
        for place in places:
            ends = []
            for sign in (1, -1):
                pushed = gradient.copy()
                pushed[place // 3, place % 3, unit] += sign * step
                there, _ = settled((pushed, curvature), given)
                ends.append(typed_weights.moments(there, given).mean[:, :, unit].ravel())
            np.testing.assert_allclose(
                found[:, place], (ends[0] - ends[1]) / (2 * step), rtol=2e-3, atol=1e-6
            )


def test_a_connection_that_cannot_be_is_known(rng):
    given = wiring("shared")
    now, _ = settled(parabola(rng, 2), given)
    base = np.broadcast_to(now.hyper.base, (2, 2, 3)).copy()
    base[0, 1] = [0.0, 1.0, 0.0]
    now = dataclasses.replace(now, hyper=dataclasses.replace(now.hyper, base=base))
    spread = typed_spread.spread(now, given)
    root = spread.of_unit(1).root(0)
    np.testing.assert_array_equal(root, spread.root(1))
    assert np.abs((root @ root.T)[[1, 4]]).max() < 1e-20
    assert np.isfinite(root).all()
