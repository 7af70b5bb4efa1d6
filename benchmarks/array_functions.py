"""Every function that follows its arrays' library, on small inputs, to be compared between libraries.

One case calls a few functions that belong together. Nothing but NumPy, SciPy and the numerics is imported
here, so that the cases also run on a machine that has no more.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from benchmarks import switching_steps
from neurotools import arrays
from neurotools.arrays import Array, to_device, to_numpy
from neurotools.numerics import (
    affinity,
    cp,
    glm,
    hmm,
    hmm_scan,
    ntf,
    pairs,
    switching,
    switching_chain,
    switching_restarts,
    switching_scales,
    switching_terms,
    tensor,
    units,
)

MODULES = (
    arrays, affinity, pairs, units, tensor, cp, ntf, hmm, hmm_scan, glm, switching, switching_chain,
    switching_restarts, switching_scales, switching_terms,
)  # fmt: skip
TOLERANCE = {"float64": 1e-8, "float32": 1e-3}
N_UNITS, N_SUBJECTS, N_TIME, RANK, RESTARTS = 12, 3, 20, 3, 2
Rng = np.random.Generator


@dataclass(frozen=True)
class Case:
    """Functions of one module: ``inputs`` are made on the host, ``call`` gets them on the device."""

    name: str
    inputs: Callable[[Rng], Sequence[np.ndarray]]
    call: Callable[..., Sequence[Any]]


# ---- inputs -------------------------------------------------------------------------------------------
def slopes(rng: Rng) -> np.ndarray:
    """Slopes (row, unit) with rests, of subjects that lack some units."""
    g = rng.normal(size=(N_SUBJECTS, N_TIME, N_UNITS)) * (rng.random((N_SUBJECTS, N_TIME, N_UNITS)) < 0.7)
    return np.where(observed()[:, None, :], g, 0.0)


def observed() -> np.ndarray:
    """Which subject shows which unit: each lacks some, no two units are never seen together."""
    shown = np.ones((N_SUBJECTS, N_UNITS), dtype=bool)
    shown[1, :3] = shown[2, -4:] = False
    return shown


def drives(rng: Rng) -> list[np.ndarray]:
    """Rising and falling parts (subject, time, unit)."""
    g = slopes(rng)
    return [np.maximum(g, 0.0), np.maximum(-g, 0.0)]


def chain(rng: Rng) -> list[np.ndarray]:
    """Log initial, log transition and log likelihood (batch, time, state) of a hidden chain."""
    initial = rng.dirichlet(np.ones(4))
    transition = rng.dirichlet(np.ones(4) + 9 * np.eye(4)[0], size=4)
    return [np.log(initial), np.log(transition), rng.normal(size=(2, 40, 4)) * 2]


STARTS = np.isin(np.arange(40), (0, 17))


def factors(rng: Rng, *sizes: int) -> list[np.ndarray]:
    """Positive factors (restart, component, entry)."""
    return [rng.random((RESTARTS, RANK, size)) for size in sizes]


# ---- what is called -----------------------------------------------------------------------------------
def slope_functions(x: Array, time: Array) -> list[Array]:
    """Slopes of traces, their scales, and their rising and falling parts."""
    g = affinity.between_edges(x, (0, 50, 120), lambda part: affinity.gaussian_derivative(part, 2.0))
    steep = affinity.finite_difference(x, time)
    scales = [scale(g) for scale in affinity.NORMALISERS.values()]
    steps = [affinity.finite_difference(x), affinity.backward_difference(x)]
    return [g, steep, *steps, *scales, *affinity.rectified(g, scales[0], 0.05)]


def kernel_slices(kernel: str) -> Callable[[Array, Array], list[Array]]:
    """Affinities of all pairs by one kernel."""

    def call(up: Array, down: Array) -> list[Array]:
        joined = _joined(up, down)
        ordered = kernel in affinity.ORDERED
        packed = affinity.slices_of(kernel, joined)(0, N_SUBJECTS * N_TIME)
        full = affinity.unpack(packed, N_UNITS, ordered)
        return [packed, full, affinity.pack(full, ordered)]

    return call


def _joined(up: Array, down: Array) -> affinity.Drives:
    """Drives in two stretches, with those of three samples earlier for kernels that have a direction."""
    edges = (0, 8, N_TIME)
    earlier = [affinity.lagged_by(part.mT, 3, edges).mT for part in (up, down)]
    return affinity.stacked(up, down, window=5, edges=edges, sent=(earlier[0], earlier[1]))


def directed_products(up: Array, down: Array, loading: Array, weight: Array) -> list[Any]:
    """Products with ordered pairs, in their short form and through slices."""
    joined, out = _joined(up, down), []
    assert joined.sent is not None
    kept = pairs.made("lagged", joined, 1e9)
    for data in (units.Directed(joined.sent, (joined.up, joined.down)), units.DirectedPairs(kept)):
        sides = [data.apply(loading, weight, side) for side in (0, 1)]
        out += [*sides, data.form(loading, loading), data.norm2]
    return out


def pair_products(up: Array, down: Array, weight: Array, pattern: Array) -> list[Any]:
    """Products with pairs that are kept, and with pairs that are made in blocks."""
    joined, out = affinity.stacked(up, down), []
    for data in (
        pairs.made("geomean", joined, 1e9),
        pairs.PairTensor(affinity.slices_of("geomean", joined), N_SUBJECTS * N_TIME, N_UNITS, 7),
    ):
        out += [pairs.contract(data, weight), pairs.project(data, pattern), pairs.squared_norm(data)]
    return out


def unit_products(kernel: str) -> Callable[..., list[Any]]:
    """Products with loadings over units, in the short form of a kernel and through its pairs."""

    def call(up: Array, down: Array, loading: Array, weight: Array) -> list[Any]:
        joined, out = affinity.stacked(up, down), []
        for data in (units.SHORT_FORMS[kernel](joined), units.OfPairs(pairs.made(kernel, joined, 1e9))):
            lifted = data.lift(loading)
            out += [data.apply(lifted, loading, weight), data.form(lifted, loading), data.norm2]
        return out

    return call


def tensor_functions(x: Array, a: Array, b: Array) -> list[Array]:
    """Unfolding, products of factors, their lengths and likeness."""
    scaled, weight = tensor.normalise([a, b])
    cosines = tensor.congruence([a, b], [b, a])
    unfolded = [tensor.unfold(x, axis) for axis in range(3)]
    best = tensor.match(cosines[0, ...])[1]
    return [
        *unfolded,
        tensor.khatri_rao(a, b),
        tensor.gram(a),
        tensor.norms(b),
        *scaled,
        weight,
        cosines,
        best,
    ]


def least_squares(factor: Array, product: Array, square: Array, several: Array) -> list[Array]:
    """Non-negative updates, with one Gram matrix for all entries and with one per group of entries."""
    xp = arrays.namespace(factor)
    group = xp.asarray(np.arange(N_UNITS) % 2, device=arrays.device_of(factor))
    shared = tensor.shared_gram(tensor.gram(square))
    once = tensor.nonnegative_update(factor, product, shared, 3)
    split = tensor.nonnegative_update(factor, product, tensor.grouped_gram(tensor.gram(several), group), 3)
    solved = tensor.nonnegative_solve(product, tensor.gram(square), tol=1e-9)
    error = tensor.relative_error(1e3, product, once, tensor.gram(square))
    return [once, split, solved, error]


def dense_sweeps(x: Array, *start: Array) -> list[Array]:
    """Ten sweeps over a dense tensor of order four."""
    found, errors = list(start), []
    for _ in range(10):
        found, error = cp.sweep(x, found)
        errors.append(error)
    return [*errors, *found]


def sweeps_over_seen(x: Array, mask: Array, *start: Array) -> list[Array]:
    """Five sweeps over the entries that are seen, the last mode free of sign."""
    data, found, errors = cp.Seen(x, mask), list(start), []
    for _ in range(5):
        found, error = cp.seen_sweep(data, found, free=(len(start) - 1,))
        errors.append(error)
    return [*errors, *found]


def solved(layout_of: Callable[[Array, Array], ntf.Layout]) -> Callable[[Array, Array], list[Any]]:
    """Fifteen sweeps from two starts, one of which may leave earlier, with units missing."""

    def call(up: Array, down: Array) -> list[Any]:
        layout = layout_of(up, down)
        begin = ntf.start(layout, RANK, [(0, k) for k in range(RESTARTS)])
        found = ntf.solve(layout, begin, ntf.sweep, max_iter=15, tol=1e-4)
        return [*found.errors, *(mode for one in found.factors for mode in layout.modes(one))]

    return call


def pair_layout(up: Array, down: Array) -> ntf.Layout:
    """Motifs of any shape."""
    return ntf.PairLayout(pairs.made("geomean", affinity.stacked(up, down), 1e9), observed())


def unit_layout(up: Array, down: Array) -> ntf.Layout:
    """Motifs of one loading per unit."""
    return ntf.UnitLayout(units.geomean(affinity.stacked(up, down)), observed(), N_TIME)


def chain_functions(initial: Array, transition: Array, likelihood: Array) -> list[Any]:
    """Forward-backward in both forms, the best path, and the sum that they stand on."""
    both = [smooth(initial, transition, likelihood, STARTS) for smooth in (hmm.smooth_plain, hmm_scan.smooth)]
    path, height = hmm.viterbi_plain(initial, transition, likelihood[0, ...], STARTS)
    total = arrays.logsumexp(likelihood, axis=-1)
    parts = [getattr(found, part.name) for found in both for part in fields(found)]
    return [*parts, path, height, total]


def gamma_functions(x: Array) -> list[Array]:
    """Log of the gamma function and its slopes."""
    return [arrays.log_gamma(x), arrays.digamma(x), arrays.trigamma(x)]


def gram_functions(x: Array, weights: Array) -> list[Array]:
    """Weighted Gram matrices, and the products that they are made of."""
    return [glm.weighted_grams(x, weights), glm.packed_outer_plain(x, glm.pair_room(x))]


def regression_functions(family: str, link: str) -> Callable[..., list[Array]]:
    """Likelihoods, slopes and scales of a switching GLM with some samples not observed."""

    def call(*given: Array) -> list[Array]:
        x, y, prob, weights, seen, trials = given
        none = 0 * weights[0, ...]
        gained, ones = link in glm.GAINED, none[0, :] + 1
        params = switching_terms.Params(weights, none, none[0, :], none[:2, :], 2 * ones)
        problem = switching_terms.Problem(
            x, y, np.arange(60) == 0, family, link, none[:, 0], none, none[:, 0], seen=seen,
            trials=trials if family == "binomial" else None, log_gain_centre=ones if gained else None,
        )  # fmt: skip
        params = replace(params, gain=2 * ones) if gained else params
        bends = glm.LINKS[link].bend(x @ weights[0, ...])
        found = [*switching_terms.likelihoods(params, prob, problem), bends]
        found += [*switching_terms.derivatives(params, prob, problem)]
        moved, known = switching_scales.scale_steps(params, prob, problem)
        found += [] if known is None else [known, moved.dispersion]
        own = 1 + switching_terms.own_terms(params, problem)  # log 1! is zero but for rounding
        return [*found, own, switching_scales.log_gain_centre(y)]

    return call


def starts_together(*given: Array) -> list[Array]:
    """Starts side by side, of which one after another leaves, on every library."""
    return switching_steps.iterations_of("poisson", "softplus", climb=switching_restarts.climb, tol=1e-3)(
        *given
    )


def total_functions(*given: Array) -> list[Array]:
    """Sums that are plain numbers."""
    x, y, _, weights, *_ = given
    none = 0 * weights[0, ...]
    params = switching_terms.Params(weights, none, none[0, :], none[:2, :], none[0, :] + 2)
    problem = switching_terms.Problem(
        x, y, np.arange(60) == 0, "poisson", "softplus", none[:, 0], none, none[:, 0]
    )
    xp = arrays.namespace(x)
    return [xp.asarray(1 + switching_terms.log_normaliser(params, problem), dtype=x.dtype)]


def steps(a: Array, b: Array, *model: Array) -> list[Array]:
    """Lowest points of quartics."""
    return [ntf.best_step([a, b], model)]


def travel(x: Array) -> list[Array]:
    """To the library of another array, and back."""
    return [arrays.like(np.ones(3), x) + x]


# ---- the table ----------------------------------------------------------------------------------------
def _seen_inputs(rng: Rng) -> list[np.ndarray]:
    """A tensor, what is seen of it, and two starts."""
    mask = (rng.random((5, 6, 4)) < 0.8).astype("float64")
    return [rng.random((5, 6, 4)), mask, *factors(rng, 5, 6, 4)]


def _unit_inputs(rng: Rng) -> list[np.ndarray]:
    rows = N_SUBJECTS * N_TIME
    return [*drives(rng), rng.random((RANK, N_UNITS)), rng.random((RANK, rows))]


def _pair_inputs(rng: Rng) -> list[np.ndarray]:
    n_pairs = N_UNITS * (N_UNITS - 1) // 2
    return [*drives(rng), rng.random((RANK, N_SUBJECTS * N_TIME)), rng.random((RANK, n_pairs))]


def _least_squares_inputs(rng: Rng) -> list[np.ndarray]:
    factor, product = factors(rng, N_UNITS, N_UNITS)
    return [factor, 5 * product, rng.random((RESTARTS, RANK, 9)), rng.random((RESTARTS, 2, RANK, 9))]


def _regression_inputs(rng: Rng) -> list[np.ndarray]:
    x = np.concatenate([np.ones((60, 1)), rng.normal(size=(60, 2))], axis=1)
    y, prob = rng.integers(0, 2, size=(60, 2)), rng.dirichlet(np.ones(2), size=60)
    y[:, 1] *= 1 - y[:, 0]  # of several alternatives one is chosen
    return [x, y, prob, rng.normal(size=(2, 3, 2)), rng.random((60, 2)) < 0.8, rng.integers(1, 5, (60, 2))]


LAWS = (
    ("poisson", "softplus"), ("poisson", "sigmoid_gain"), ("negative_binomial", "log"),
    ("bernoulli", "sigmoid"), ("binomial", "sigmoid"), ("categorical", "softmax"), ("gaussian", "identity"),
)  # fmt: skip
CASES = (
    Case("arrays: like", lambda rng: [rng.random(3)], travel),
    Case("arrays: log gamma and its slopes", lambda rng: [rng.uniform(0.1, 30, 50)], gamma_functions),
    Case("glm: Gram matrices", lambda rng: [rng.random((70, 5)), rng.random((70, 3))], gram_functions),
    *(Case(f"glm: {f}, {link}", _regression_inputs, regression_functions(f, link)) for f, link in LAWS),
    *(
        Case(f"switching: {family}, {link}", _regression_inputs, switching_steps.iterations_of(family, link))
        for family, link in LAWS
    ),
    Case(
        "switching: inputs drive transitions",
        _regression_inputs,
        switching_steps.iterations_of("poisson", "softplus", driven=True),
    ),
    Case("switching: starts together", _regression_inputs, starts_together),
    Case("glm: sums", _regression_inputs, total_functions),
    Case(
        "affinity: slopes and scales",
        lambda rng: [rng.normal(size=(4, 120)), np.cumsum(rng.uniform(0.5, 2, 120))],
        slope_functions,
    ),
    *(Case(f"affinity: {kernel}", drives, kernel_slices(kernel)) for kernel in affinity.KERNELS),
    Case("pairs: products", _pair_inputs, pair_products),
    *(Case(f"units: {kernel}", _unit_inputs, unit_products(kernel)) for kernel in units.SHORT_FORMS),
    Case("units: ordered pairs", _unit_inputs, directed_products),
    Case("tensor: products", lambda rng: [rng.random((3, 4, 5)), *factors(rng, 6, 6)], tensor_functions),
    Case("tensor: non-negative updates", _least_squares_inputs, least_squares),
    Case(
        "cp: sweeps",
        lambda rng: [rng.random((5, 6, 4, 3)), *factors(rng, 5, 6, 4, 3)],
        dense_sweeps,
    ),
    Case("cp: sweeps over what is seen", _seen_inputs, sweeps_over_seen),
    Case("ntf: pair layout, missing units", drives, solved(pair_layout)),
    Case("ntf: symcp layout, missing units", drives, solved(unit_layout)),
    Case("ntf: length of a step", lambda rng: [*rng.normal(size=(6, 30)), rng.random(30)], steps),
    Case("hmm: posteriors and path", chain, chain_functions),
)


def results(case: Case, device: str, dtype: str) -> list[np.ndarray]:
    """What a case gives on a device, copied to host memory."""
    inputs = [to_device(x, device, dtype) for x in case.inputs(np.random.default_rng(20261121))]
    return [to_numpy(value) for value in case.call(*inputs)]


def difference(case: Case, device: str, dtype: str) -> float:
    """Largest difference from NumPy's result over the largest value, over all results of a case."""
    worst = 0.0
    for there, here in zip(results(case, device, dtype), results(case, "cpu", dtype), strict=True):
        if there.shape != here.shape:
            return float("inf")
        scale = float(np.abs(here).max(initial=0.0)) or 1.0
        worst = float(np.maximum(worst, np.abs(there - here).max(initial=0.0) / scale))  # NaN stays
    return worst


# ---- is any function left out? ------------------------------------------------------------------------
def array_functions() -> dict[str, CodeType]:
    """Functions and methods that ask an array for its library: they promise to run on all."""
    return {
        f"{module.__name__.rpartition('.')[2]}.{name}": code
        for module in MODULES
        for name, code in _codes(module)
        if "namespace" in code.co_names and name not in {"namespace"}
    }


def _codes(module: ModuleType) -> Iterator[tuple[str, CodeType]]:
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value):
            yield name, inspect.unwrap(value).__code__
        elif inspect.isclass(value):
            for inner, method in vars(value).items():
                if inspect.isfunction(method):
                    yield f"{name}.{inner}", inspect.unwrap(method).__code__


def never_called() -> list[str]:
    """Array functions that no case reaches."""
    called: set[CodeType] = set()

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            called.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        for case in CASES:
            results(case, "cpu", "float64")
    finally:
        sys.setprofile(before)
    return sorted(name for name, code in array_functions().items() if code not in called)
