"""R-hat and effective sizes against ArviZ, against chains of known autocorrelation, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest

from neurotools.numerics import convergence


def autoregressive(rng, n_chains, n, rho):
    from scipy.signal import lfilter

    noise = rng.normal(size=(n_chains, n + 500))
    return lfilter([1.0], [1.0, -rho], noise, axis=1)[:, 500:]


@pytest.fixture(params=[(4, 300, 0.0), (4, 301, 0.7), (2, 500, 0.95), (1, 400, -0.4), (3, 37, 0.3)])
def chains(request, rng):
    return autoregressive(rng, *request.param)


def test_all_numbers_equal_arviz(chains):
    import arviz

    pairs = (
        (convergence.rhat, lambda x: arviz.rhat(x, method="rank")),
        (convergence.ess_bulk, lambda x: arviz.ess(x, method="bulk")),
        (convergence.ess_tail, lambda x: arviz.ess(x, method="tail")),
        (convergence.ess_mean, lambda x: arviz.ess(x, method="mean")),
    )
    for ours, theirs in pairs[len(chains) == 1 :]:  # of one chain ArviZ gives no R-hat
        for x in (chains, np.round(chains), np.exp(2 * chains)):
            assert ours(x) == pytest.approx(float(theirs(x)), rel=1e-9)


def test_effective_size_of_an_autoregressive_chain(rng):
    x = autoregressive(rng, 4, 20_000, 0.8)
    assert convergence.ess_mean(x) == pytest.approx(80_000 * (1 - 0.8) / (1 + 0.8), rel=0.1)
    assert convergence.standard_error(x) == pytest.approx(
        np.sqrt(1 / (1 - 0.8**2) / (80_000 * 0.2 / 1.8)), rel=0.1
    )


def test_chains_that_lie_apart_or_differ_in_spread_are_seen(rng):
    x = rng.normal(size=(4, 500))
    assert convergence.rhat(x) < 1.01
    assert convergence.rhat(x + np.array([0, 0, 0, 2])[:, None]) > 1.2
    assert convergence.rhat(x * np.array([1, 1, 1, 6])[:, None]) > 1.2
    drifting = x + np.linspace(0, 3, 500)
    assert convergence.rhat(drifting[:1]) > 1.2


def test_quantities_that_do_not_change():
    same = np.full((3, 40), 2)
    assert convergence.rhat(same) == 1.0
    assert convergence.ess_bulk(same) == 120
    assert convergence.rhat(np.repeat([[1.0], [2.0]], 40, axis=1)) == np.inf
    assert convergence.rhat(np.repeat([[8.0], [9.0]], 250, axis=1)) == np.inf  # not variance 0
