"""Weights with types under a likelihood that is a parabola: exact where weights are apart, else a bound."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from neurotools.numerics import connection_types as types
from neurotools.numerics import typed_weights as typed

SIZES = types.Sizes(np.array([0.2, 0.5]), np.array([0.6, 0.4]))
BASE = np.array([0.2, 0.5, 0.3])
WIDTHS = {"bias": 2.0, "own": 0.7}


def wiring(across="shared", dale=False, n=2):
    """A bias and one function of the lag for each of ``n`` units."""
    place = 1 + np.arange(n)[:, None]
    return typed.Wiring(place, np.array(["bias", *["own"] * n]), None, across, dale, n, True)


def start(likelihood, given):
    gradient, curvature = likelihood
    hyper = typed.Hyper(SIZES, BASE, 1.5, WIDTHS)
    information = np.moveaxis(np.diagonal(curvature, axis1=2, axis2=3), 1, 2).copy()
    sender = np.full((given.n_unit, 2), 0.5) if given.dale else None
    return typed.Typed(gradient.copy(), information, hyper, sender)


def log_likelihood(mean, likelihood):
    """Of all weights, less that of weights zero."""
    gradient, curvature = likelihood
    return float((gradient * mean).sum() - 0.5 * np.einsum("kcu,kucd,kdu->", mean, curvature, mean))


def settled(likelihood, given, n_sweep=60):
    """Sweeps until nothing moves; objectives on the way."""
    gradient, curvature = likelihood
    now, trace = start(likelihood, given), []
    for _ in range(n_sweep):
        found = typed.moments(now, given)
        trace.append(log_likelihood(found.mean, likelihood) + found.gain.sum() + found.sender_gain)
        slope = gradient - np.einsum("kucd,kdu->kcu", curvature, found.mean)
        now, _, _ = typed.swept(now, found.mean, (slope, curvature), given)
        if given.dale:
            now = replace(now, sender_prob=typed.signs_of_senders(typed.moments(now, given).block, given))
    return now, np.array(trace)


def parabola(rng, n_state, n=2, tied=0.0):
    gradient = rng.normal(scale=4, size=(n_state, n + 1, n))
    curvature = np.zeros((n_state, n, n + 1, n + 1))
    for k, u in np.ndindex(n_state, n):
        curvature[k, u] = np.diag(rng.gamma(3.0, 4.0, size=n + 1))
        root = np.sqrt(np.diag(curvature[k, u]))
        curvature[k, u] += tied * (np.outer(root, root) - np.diag(root**2))
    return gradient, curvature


# ---- one weight, by quadrature --------------------------------------------------------------------------
def integral(linear, information, type_):
    """Of prior times likelihood over a weight of one type."""
    if type_ == 1:
        return 1.0
    sign, side = (-1, 0) if type_ == 0 else (1, 1)
    mode, width = SIZES.mode[side], SIZES.width[side]

    def density(w):
        prior = stats.norm.pdf(w, mode, width) / stats.norm.cdf(mode / width)
        return prior * np.exp(sign * linear * w - 0.5 * information * w * w)

    return integrate.quad(density, 0, 5, epsrel=1e-10)[0]


def normal_integral(linear, information, width):
    variance = 1 / (information + width**-2)
    return np.sqrt(variance) / width * np.exp(0.5 * variance * linear**2)


def exact(likelihood, across, dale):
    """Log evidence of two unconnected-by-curvature units, and P(type), over all types and signs."""
    gradient, curvature = likelihood
    n_state, n_column, n = gradient.shape
    total = 0.0
    for k, c, u in np.ndindex(n_state, n_column, n):
        if c in (0, u + 1):
            width = WIDTHS["bias" if c == 0 else "own"]
            total += np.log(normal_integral(gradient[k, c, u], curvature[k, u, c, c], width))
    prob = np.full((n, n, n_state, 3), np.nan)
    for sender, to in [(0, 1), (1, 0)]:
        column = sender + 1
        each = np.array(
            [
                [integral(gradient[k, column, to], curvature[k, to, column, column], c) for c in range(3)]
                for k in range(n_state)
            ]
        )
        joint = {}
        for signs in (0, 1) if dale else (None,):
            base = BASE if signs is None else typed.one_sign(BASE, signs)
            for chosen in itertools.product(range(3), repeat=n_state):
                weight = prior_of(chosen, base, across) * (0.5 if dale else 1.0)
                joint[chosen] = joint.get(chosen, 0.0) + weight * np.prod(each[np.arange(n_state), chosen])
        evidence = sum(joint.values())
        total += np.log(evidence)
        for k, c in np.ndindex(n_state, 3):
            prob[sender, to, k, c] = sum(w for chosen, w in joint.items() if chosen[k] == c) / evidence
    return total, prob


def prior_of(chosen, base, across):
    """Probability of the types of one connection in all states: a Polya urn."""
    if across == "shared":
        return base[chosen[0]] if len(set(chosen)) == 1 else 0.0
    seen, prob = np.zeros(3), 1.0
    for c in chosen:
        prob *= (1.5 * base[c] + seen[c]) / (1.5 + seen.sum())
        seen[c] += 1
    return prob


@pytest.mark.parametrize("across", ["shared", "state"])
@pytest.mark.parametrize("dale", [False, True])
@pytest.mark.parametrize("n_state", [1, 3])
def test_where_regressors_are_apart_evidence_and_p_type_are_exact(across, dale, n_state, rng):
    likelihood, given = parabola(rng, n_state), wiring(across, dale)
    now, trace = settled(likelihood, given)
    total, prob = exact(likelihood, across, dale)
    assert trace[-1] == pytest.approx(total, abs=1e-8)
    found = typed.moments(now, given).block.prob
    for sender, to in [(0, 1), (1, 0)]:
        np.testing.assert_allclose(found[sender, to], prob[sender, to], atol=1e-7)


# ---- weights that the data tie together -----------------------------------------------------------------
def test_where_regressors_are_tied_the_objective_rises_and_stays_below_the_evidence(rng):
    """Three weights of a unit: its bias, its own past, and a connection; the evidence on a grid."""
    for _ in range(3):
        likelihood = parabola(rng, 1, tied=0.5)
        _, trace = settled(likelihood, wiring())
        assert (np.diff(trace) >= -1e-9).all()
        gradient, curvature = likelihood
        total = 0.0
        for unit in (0, 1):
            connection = 2 - unit
            at = [0, unit + 1, connection]
            g, h = gradient[0, at, unit], curvature[0, unit][np.ix_(at, at)]
            total += np.log(evidence_of_three(g, h))
        assert trace[-1] < total
        assert trace[-1] > total - 2.0


def evidence_of_three(g, h):
    """Two normal weights in closed form, the third summed over its types and a grid of sizes."""
    precision = h[:2, :2] + np.diag([WIDTHS["bias"] ** -2, WIDTHS["own"] ** -2])
    cover = np.linalg.inv(precision)
    scale = np.sqrt(np.linalg.det(cover)) / (WIDTHS["bias"] * WIDTHS["own"])

    def rest(w):
        pull = g[:2] - h[:2, 2] * w
        return scale * np.exp(0.5 * pull @ cover @ pull + g[2] * w - 0.5 * h[2, 2] * w * w)

    total = BASE[1] * rest(0.0)
    for share, sign, side in [(BASE[0], -1, 0), (BASE[2], 1, 1)]:
        mode, width = SIZES.mode[side], SIZES.width[side]

        def density(w, sign=sign, mode=mode, width=width):
            return stats.norm.pdf(w, mode, width) / stats.norm.cdf(mode / width) * rest(sign * w)

        total += share * integrate.quad(density, 0, 5, epsrel=1e-9)[0]
    return total


def test_the_natural_gradient_is_uphill(rng):
    """The residual of the linear term is a direction in which the objective rises, from anywhere."""
    likelihood, given = parabola(rng, 2, tied=0.6), wiring("state")
    gradient, curvature = likelihood
    for _ in range(5):
        now = start(likelihood, given)
        now = replace(now, linear=now.linear + rng.normal(scale=5, size=now.linear.shape))
        found = typed.moments(now, given)
        slope = gradient - np.einsum("kucd,kdu->kcu", curvature, found.mean)
        toward = slope + now.information * found.mean - now.linear
        values = []
        for step in (0.0, 1e-4):
            moved = typed.moments(replace(now, linear=now.linear + step * toward), given)
            values.append(log_likelihood(moved.mean, likelihood) + moved.gain.sum())
        assert values[1] > values[0]


def test_what_weights_and_types_add_is_never_positive(rng):
    likelihood, given = parabola(rng, 2), wiring("state")
    for scale in (0.0, 1.0, 30.0):
        now = start(likelihood, given)
        now = replace(now, linear=rng.normal(scale=scale, size=now.linear.shape))
        assert (typed.moments(now, given).gain <= 1e-9).all()


def test_learning_the_prior_raises_the_objective_at_fixed_weights(rng):
    """The expected log prior under the posterior rises, so do sweeps under the new prior."""
    likelihood, given = parabola(rng, 3, n=6), wiring("state", n=6)
    now, trace = settled(likelihood, given, 5)
    last = trace[-1]
    for _ in range(8):
        now = typed.learned(now, typed.moments(now, given), given)
        gradient, curvature = likelihood
        for _ in range(5):
            found = typed.moments(now, given)
            slope = gradient - np.einsum("kucd,kdu->kcu", curvature, found.mean)
            now, _, _ = typed.swept(now, found.mean, (slope, curvature), given)
        found = typed.moments(now, given)
        value = log_likelihood(found.mean, likelihood) + found.gain.sum()
        assert value >= last - 1e-8
        last = value
    assert last > trace[-1] + 0.5
