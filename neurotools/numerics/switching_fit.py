"""Fitting a switching GLM: starts, the best of them, and what its prior does with it.

Plain arrays in, plain arrays out. A prior is an object with two methods: ``widths``, the normal prior under
which every start runs, and ``refine``, what is learned from the best start on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from neurotools.arrays import dispatch, to_device
from neurotools.errors import NotConvergedError
from neurotools.numerics import hmm, switching, switching_starts
from neurotools.numerics.glm import GAINED
from neurotools.numerics.switching_scales import log_gain_centre
from neurotools.progress import working

FIXED = 1e12  # precision of a centre that is not learned
START_SPREAD = 0.3  # of the predictor, by which states differ at a random start


@dataclass(frozen=True)
class Widths:
    """Standard deviations of the prior of one kind of regressor."""

    around: float  # of a state's weight around what all states share
    shared: float  # of what they share around its mean; 0 where that is not learned


@dataclass(frozen=True)
class Given:
    """Data on the host, and what is fixed about the model; column 0 is the bias."""

    x: Float[np.ndarray, "time column"]
    y: Float[np.ndarray, "time unit"]
    start: Bool[np.ndarray, " time"]
    kinds: Shaped[np.ndarray, " column"]
    prior_mean: Float[np.ndarray, "column unit"]
    family: str
    link: str
    stickiness: float
    device: str
    dtype: str
    place: Int[np.ndarray, "sender basis"]  # columns of each unit's history; empty where there are none
    type_prior: Float[np.ndarray, "sender receiver type"] | None = None  # given by anatomy
    seen: Float[np.ndarray, "time unit"] | None = None  # 1 where observed
    trials: Float[np.ndarray, "time unit"] | None = None  # of binomial observations
    inputs: Float[np.ndarray, "time input"] | None = None  # that drive transitions, ones first
    input_precision: float = 1.0

    @property
    def kind_names(self) -> list[str]:
        """Each kind of column once."""
        return list(dict.fromkeys(self.kinds.tolist()))

    @property
    def any_widths(self) -> dict[str, Widths]:
        """Widths for a problem of which the prior is not asked."""
        return dict.fromkeys(self.kind_names, Widths(1.0, 1.0))

    def problem(self, widths: dict[str, Widths]) -> switching.Problem:
        """Everything given, on the device, under normal priors of these widths."""

        def there(values: Any) -> Any:
            return to_device(np.asarray(values), self.device, self.dtype)

        shared = [widths[kind].shared for kind in self.kinds]
        return switching.Problem(
            x=there(self.x), y=there(self.y), start=self.start, family=self.family, link=self.link,
            precision=there([widths[kind].around ** -2 for kind in self.kinds]),
            centre_mean=there(self.prior_mean),
            centre_precision=there([width**-2 if width else FIXED for width in shared]),
            stickiness=self.stickiness,
            seen=None if self.seen is None else there(self.seen),
            trials=None if self.trials is None else there(self.trials),
            log_gain_centre=there(log_gain_centre(self.y)) if self.link in GAINED else None,
            inputs=None if self.inputs is None else there(self.inputs), input_precision=self.input_precision,
        )  # fmt: skip


@dataclass(frozen=True)
class Search:
    """How long and how often to look."""

    n_states: int
    n_restarts: int
    max_iter: int
    tol: float
    seed: int


@dataclass(frozen=True)
class Found:
    """The best start: what it learned, and under which prior."""

    params: switching.Params
    posterior: hmm.Smoothed
    trace: list[float]
    rounds: list[int]
    converged: bool
    widths: dict[str, Widths]
    restarts: list[float]
    extra: dict[str, Any] = field(default_factory=dict)  # what a prior learned beside weights


@runtime_checkable
class Prior(Protocol):
    """What a switching GLM asks of the prior on its weights."""

    def widths(self, kinds: list[str], n_states: int) -> dict[str, Widths]:
        """Normal prior of every kind of column, under which the starts run."""
        ...

    def refine(self, found: Found, given: Given, search: Search) -> Found:
        """What follows the best start: hyper-parameters learned, or another prior taken."""
        ...


def best_of(given: Given, prior: Prior, search: Search) -> Found:
    """All restarts under the normal prior, and the best one under the prior itself."""
    widths = prior.widths(given.kind_names, search.n_states)
    problem = given.problem(widths)
    base = switching.one_state(problem)
    spread = start_spread(given.x, [widths[kind].around for kind in given.kinds])
    begins = [
        switching_starts.start(base, problem, search.n_states, spread, (search.seed, k))
        for k in range(search.n_restarts if search.n_states > 1 else 1)
    ]
    with working(f"switching GLM, {search.n_states} states") as show:
        runs = dispatch("climb", problem.x, climb)(begins, problem, search.max_iter, search.tol, show)
    restarts = [run[2][-1] for run in runs]
    params, posterior, trace, converged = runs[highest(restarts)]
    found = Found(params, posterior, trace, [0] * len(trace), converged, widths, restarts)
    found = prior.refine(found, given, search)
    highest([found.trace[-1]])
    return found


def climb(
    begins: list[switching.Params],
    problem: switching.Problem,
    max_iter: int,
    tol: float,
    show: Callable[[float], None],
) -> list[switching.Run]:
    """Expectation-maximisation from every start, one after another."""
    n = len(begins)

    def share(k: int) -> Callable[[int, float], None]:
        return lambda i, _: show((k + i / max_iter) / n)

    return [
        switching.expectation_maximisation(begin, problem, max_iter, tol, watch=share(k))
        for k, begin in enumerate(begins)
    ]


def highest(objectives: list[float]) -> int:
    """Place of the highest objective; one that is not a finite number is no candidate.

    Raises
    ------
    NotConvergedError
        None is finite.
    """
    values = np.array(objectives)
    finite = np.isfinite(values)
    if not finite.any():
        raise NotConvergedError(
            "the objective is no finite number, from whatever start",
            found=f"{values[0]}", fix="look for huge regressors or counts, or take another link",
        )  # fmt: skip
    return int(np.argmax(np.where(finite, values, -np.inf)))


def start_spread(x: Float[np.ndarray, "time column"], widths: list[float]) -> Float[np.ndarray, "column 1"]:
    """How far apart states begin: alike in the predictor, and never beyond the prior."""
    deviation = x.std(axis=0)
    size = np.divide(START_SPREAD / 2, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    size[0] = START_SPREAD
    return np.minimum(size, widths)[:, None]


def onward(found: Found, given: Given, search: Search, max_iter: int) -> Found:
    """Expectation-maximisation from where it stands, under its present widths: one more round."""
    problem = given.problem(found.widths)
    params, posterior, trace, converged = switching.expectation_maximisation(
        found.params, problem, min(max_iter, search.max_iter), search.tol
    )
    return next_round(found, params, posterior, trace, converged)


def next_round(
    found: Found, params: switching.Params, posterior: hmm.Smoothed, trace: list[float], converged: bool
) -> Found:
    """The result of one more round, its trace appended."""
    number = found.rounds[-1] + 1
    return replace(
        found, params=params, posterior=posterior, trace=found.trace + trace, converged=converged,
        rounds=found.rounds + [number] * len(trace),
    )  # fmt: skip
