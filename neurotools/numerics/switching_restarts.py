"""All starts of a switching GLM at once, for devices: their units side by side, their chains as one batch.

Units depend on one another through the states alone, so the units of eight starts are a problem of eight
times as many units, in which each start has its own posterior over states. Every product over samples is then
as wide as all starts together. A start that has converged leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

from neurotools.arrays import Array, device_of, namespace, to_numpy
from neurotools.numerics import glm, hmm, switching
from neurotools.numerics.switching_chain import undriven_log_prior
from neurotools.numerics.switching_fit import climb as one_by_one
from neurotools.numerics.switching_scales import unit_gain_prior
from neurotools.numerics.switching_terms import Params, Problem, over_units, own_terms

OF_UNITS = ("weights", "centre", "dispersion", "gain")
OF_CHAINS = ("log_initial", "log_transition")
GIVEN_OF_UNITS = ("y", "centre_mean", "seen", "trials", "log_gain_centre")


def climb(
    begins: list[Params], problem: Problem, max_iter: int, tol: float, show: Callable[[float], None]
) -> list[switching.Run]:
    """Expectation-maximisation from every start; see ``numerics.switching_fit.climb``.

    One by one where units do not stand apart given the states (alternatives of one choice), or where inputs
    drive transitions.
    """
    if len(begins) == 1 or problem.family in glm.JOINT or problem.inputs is not None:
        return one_by_one(begins, problem, max_iter, tol, show)
    params = side_by_side([switching.begun(begin, problem) for begin in begins])
    wide, running = repeated(problem, len(begins)), list(range(len(begins)))
    traces: list[list[float]] = [[] for _ in begins]
    runs: dict[int, switching.Run] = {}
    found = switching.posterior(params, wide)
    for iteration in range(max_iter):
        show(iteration / max_iter)
        for k, objective in zip(running, objectives(params, found, wide), strict=True):
            traces[k].append(objective)
        still = [place for place, k in enumerate(running) if not arrived(traces[k], tol)]
        for place in set(range(len(running))) - set(still):
            k = running[place]
            runs[k] = (*alone(params, found, place), traces[k], True)
        if len(still) < len(running):
            running = [running[place] for place in still]
            if not running:
                break
            params, found = picked(params, found, still)
            wide = repeated(problem, len(running))
        params, known = switching.maximise(params, found, wide)
        found = switching.posterior(params, wide, known)
    for place, k in enumerate(running):
        runs[k] = (*alone(params, found, place), traces[k], False)
    return [runs[k] for k in range(len(begins))]


def arrived(trace: list[float], tol: float) -> bool:
    """Whether the last iteration raised the objective by less than asked for."""
    return len(trace) > 1 and trace[-1] - trace[-2] < tol * abs(trace[-1])


def objectives(params: Params, found: hmm.Smoothed, problem: Problem) -> list[float]:
    """Log posterior of every start."""
    units = namespace(problem.y).sum(own_terms(params, problem), axis=0)
    units = units + switching.unit_log_prior(params, problem) + unit_gain_prior(params, problem)
    total = found.log_evidence + over_units(units, params) + undriven_log_prior(params, problem)
    return to_numpy(total).tolist()


def side_by_side(begins: list[Params]) -> Params:
    """Starts as one: units of the first, then those of the second, and a chain of each."""
    xp = namespace(begins[0].weights)

    def joined(name: str, join: Callable[..., Array]) -> Array | None:
        parts = [getattr(begin, name) for begin in begins]
        return None if parts[0] is None else join(parts)

    units = {name: joined(name, lambda parts: xp.concat(parts, axis=-1)) for name in OF_UNITS}
    return replace(begins[0], **units, **{name: joined(name, xp.stack) for name in OF_CHAINS})


def repeated(problem: Problem, n: int) -> Problem:
    """The problem with all its units n times."""
    xp = namespace(problem.y)
    given = {name: getattr(problem, name) for name in GIVEN_OF_UNITS}
    return replace(
        problem, **{name: xp.concat([part] * n, axis=-1) for name, part in given.items() if part is not None}
    )


def picked(params: Params, found: hmm.Smoothed, places: list[int]) -> tuple[Params, hmm.Smoothed]:
    """Some of the starts."""
    xp, device = namespace(params.weights), device_of(params.weights)
    n_unit = params.centre.shape[1] // params.log_initial.shape[0]
    chains = xp.asarray(places, device=device)
    columns = xp.asarray([place * n_unit + unit for place in places for unit in range(n_unit)], device=device)

    def taken(name: str, index: Array, axis: int) -> Array | None:
        values = getattr(params, name)
        return None if values is None else xp.take(values, index, axis=axis)

    some = replace(
        params,
        **{name: taken(name, columns, -1) for name in OF_UNITS},
        **{name: taken(name, chains, 0) for name in OF_CHAINS},
    )
    its = {part.name: xp.take(getattr(found, part.name), chains, axis=0) for part in fields(found)}
    return some, hmm.Smoothed(**its)


def alone(params: Params, found: hmm.Smoothed, place: int) -> tuple[Params, hmm.Smoothed]:
    """One of the starts, by itself."""
    one, its = picked(params, found, [place])
    chain = {name: getattr(one, name)[0, ...] for name in OF_CHAINS}
    return replace(one, **chain), hmm.Smoothed(**{f.name: getattr(its, f.name)[0, ...] for f in fields(its)})
