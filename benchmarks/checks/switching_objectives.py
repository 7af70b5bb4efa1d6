"""Switching GLMs: objectives that never fall, whatever family, link and prior."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from benchmarks.record import Row
from neurotools.numerics.switching_fit import Found, Given, Search, Widths
from neurotools.numerics.switching_fit import best_of as best_fit
from neurotools.numerics.switching_lasso import GroupLasso
from neurotools.numerics.switching_prior import GaussianPrior, RidgePrior
from neurotools.numerics.switching_types import OneHotPrior

FITTED = (
    ("poisson", "log"), ("poisson", "softplus"), ("poisson", "sigmoid"), ("poisson", "sigmoid_gain"),
    ("negative_binomial", "log"), ("negative_binomial", "softplus"), ("negative_binomial", "sigmoid"),
    ("negative_binomial", "sigmoid_gain"), ("bernoulli", "sigmoid"), ("binomial", "sigmoid"),
    ("categorical", "softmax"), ("gaussian", "identity"), ("gaussian", "softplus"), ("gaussian", "log"),
    ("gaussian", "sigmoid"),
)  # fmt: skip
SMOOTH = {
    "ridge": RidgePrior(0.5),
    "normal around a centre, widths given": GaussianPrior(learn=False),
    "normal around a centre, widths learned": GaussianPrior(),
    "group lasso": GroupLasso(strength=3.0),
}
SHARED_TYPES = {
    "types shared by states": OneHotPrior(across="shared"),
    "types shared by states, Dale's law": OneHotPrior(across="shared", dale=True),
}
STATE_TYPES = {"types of each state": OneHotPrior(across="state")}
PROBLEMS, ITERATIONS = 20, 200


def objectives() -> list[Row]:
    """The worst relative fall of the objective within a round, under normal priors and the lasso."""
    return falls(SMOOTH)


def objectives_of_shared_types() -> list[Row]:
    """The same where states share the types of connections."""
    return falls(SHARED_TYPES)


def objectives_of_state_types() -> list[Row]:
    """The same where each state has its own types."""
    return falls(STATE_TYPES)


def falls(priors: dict[str, Any]) -> list[Row]:
    """Of 20 random problems of each family and link, 200 iterations in a round."""
    rows = []
    for name, prior in priors.items():
        worst, steps = [], 0
        for (family, link), seed in product(FITTED, range(PROBLEMS)):
            if family == "categorical" and isinstance(prior, OneHotPrior | GroupLasso):
                continue  # these are of connections between units
            given = random_given(family, link, seed)
            found = climbed(given, prior, seed)
            trace, rounds = np.array(found.trace), np.array(found.rounds)
            gain = (np.diff(trace) / np.abs(trace[1:]))[rounds[1:] == rounds[:-1]]
            worst.append(-float(gain.min(initial=0.0)) if np.isfinite(trace).all() else np.inf)
            steps += gain.size
        rows.append(
            Row(f"{name}: worst relative fall", max(worst), "<= 1e-9",
                note=f"{len(worst)} fits, {len(worst) // PROBLEMS} pairs of family and link, {steps} steps")
        )  # fmt: skip
    return rows


@dataclass(frozen=True)
class Unrefined:
    """The normal prior under which a prior's starts run, and no more."""

    prior: Any

    def widths(self, kinds: list[str], n_states: int) -> dict[str, Widths]:
        """As the prior says."""
        return self.prior.widths(kinds, n_states)

    def refine(self, found: Found, given: Given, search: Search) -> Found:
        """Nothing follows the start."""
        return found


def climbed(given: Given, prior: Any, seed: int) -> Found:
    """A fit of 200 iterations in its longest round; under types a start of ten under a normal prior."""
    search = Search(2, 1, ITERATIONS, 0.0, seed)
    if not isinstance(prior, OneHotPrior):
        return best_fit(given, prior, search)
    start = best_fit(given, Unrefined(prior), replace(search, max_iter=10))
    return prior.refine(start, given, search)


def random_given(family: str, link: str, seed: int) -> Given:
    """120 samples of two units in two states, driven by each other's past; a tenth of bins not observed."""
    rng = np.random.default_rng((seed, len(family), len(link)))
    n_time, n_unit = 120, 2
    x = np.concatenate([np.ones((n_time, 1)), rng.gamma(1.0, 0.5, size=(n_time, n_unit))], axis=1)
    state = (np.arange(n_time) // 20) % 2
    drive = np.einsum("tc,tcu->tu", x, rng.normal(scale=0.8, size=(2, n_unit + 1, n_unit))[state])
    chance, rate = 1 / (1 + np.exp(-drive)), np.exp(np.clip(drive, -3, 3))
    trials = rng.integers(1, 9, size=drive.shape)
    y = {
        "poisson": lambda: rng.poisson(rate),
        "negative_binomial": lambda: rng.negative_binomial(2.0, 2.0 / (2.0 + rate)),
        "bernoulli": lambda: rng.random(drive.shape) < chance,
        "binomial": lambda: rng.binomial(trials, chance),
        "categorical": lambda: np.eye(3)[rng.integers(0, 3, n_time)][:, 1:],
        "gaussian": lambda: drive + 0.5 * rng.normal(size=drive.shape),
    }[family]()
    seen = (rng.random((n_time, 1 if family == "categorical" else n_unit)) < 0.9) * np.ones((1, n_unit))
    return Given(
        x=x, y=y.astype("float64"), start=np.isin(np.arange(n_time), [0, 70]),
        kinds=np.array(["bias", "history", "history"]), prior_mean=np.zeros((3, n_unit)), family=family,
        link=link, stickiness=1.0, device="cpu", dtype="float64", place=np.array([[1], [2]]), seen=seen,
        trials=trials.astype("float64") if family == "binomial" else None,
    )  # fmt: skip
