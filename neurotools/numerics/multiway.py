"""Factorisations of one dense tensor: canonical polyadic with many starts, Tucker and PARAFAC2 by tensorly.

Kolda and Bader (2009), SIAM Review 51(3), for all three; Kiers, ten Berge and Bro (1999), Journal of
Chemometrics 13, for PARAFAC2.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurotools.arrays import Array, device_of, library_of, like, namespace, to_numpy
from neurotools.errors import DeviceError
from neurotools.numerics import cp, tensor

BACKENDS = {"cpu": "numpy", "torch": "pytorch", "cupy": "cupy"}


@dataclass(frozen=True)
class Found:
    """One start: factors (component, entry) per mode, weights or a core, the error after each sweep."""

    factors: list[np.ndarray]
    scale: np.ndarray
    errors: np.ndarray
    converged: bool


@dataclass(frozen=True)
class Wanted:
    """What is asked of a factorisation."""

    rank: tuple[int, ...]
    bounded: frozenset[int] = field(default_factory=frozenset)  # modes that are not negative
    n_restarts: int = 1
    max_iter: int = 500
    tol: float = 1e-7
    seed: int = 0


# ---- canonical polyadic ---------------------------------------------------------------------------------
def polyadic(x: Array, mask: Array | None, wanted: Wanted) -> list[Found]:
    """Every start of a canonical polyadic factorisation, all updated together."""
    free = [mode for mode in range(x.ndim) if mode not in wanted.bounded]
    data = None if mask is None else cp.Seen(x, mask)
    norm2 = float(namespace(x).sum(x * x)) if data is None else data.norm2
    factors = _drawn(x, wanted, free)
    running = list(range(wanted.n_restarts))
    done: dict[int, tuple[list[np.ndarray], bool]] = {}
    errors: list[list[float]] = [[] for _ in running]

    def leave(places: Collection[int], converged: bool) -> None:
        for k, place in enumerate(running):
            if k in places:
                done[place] = ([to_numpy(f[k, ...]) for f in factors], converged)

    for _ in range(wanted.max_iter):
        if data is None:
            factors, error = cp.sweep(x, factors, norm2=norm2, free=free)
        else:
            factors, error = cp.seen_sweep(data, factors, free=free)
        factors = _balanced(factors)
        for place, value in zip(running, to_numpy(error).tolist(), strict=True):
            errors[place].append(value)
        still = [k for k, p in enumerate(running) if not _settled(errors[p], wanted.tol)]
        if len(still) < len(running):
            leave(set(range(len(running))) - set(still), converged=True)
            running = [running[k] for k in still]
            if not still:
                break
            factors = [namespace(f).take(f, _index(still, f), axis=0) for f in factors]
    leave(range(len(running)), converged=False)
    return [_scaled(done[k][0], np.asarray(errors[k]), done[k][1]) for k in range(wanted.n_restarts)]


def _index(places: Sequence[int], x: Array) -> Array:
    xp = namespace(x)
    return xp.asarray(np.asarray(places, dtype="int64"), device=device_of(x))


def _settled(errors: Sequence[float], tol: float) -> bool:
    return tol > 0 and len(errors) > 1 and errors[-2] - errors[-1] < tol


def _drawn(x: Array, wanted: Wanted, free: Collection[int]) -> list[Array]:
    """Uniform starts of bounded modes, normal ones of free modes."""
    draws: list[list[np.ndarray]] = [[] for _ in x.shape]
    for k in range(wanted.n_restarts):
        rng = np.random.default_rng([wanted.seed, k])
        for mode, n in enumerate(x.shape):
            shape = (wanted.rank[0], n)
            draws[mode].append(rng.normal(size=shape) if mode in free else rng.uniform(size=shape))
    return [like(np.stack(draw), x) for draw in draws]


def _balanced(factors: Sequence[Array]) -> list[Array]:
    """Every component's scale spread evenly over its modes."""
    scaled, weight = tensor.normalise(factors)
    share = (weight ** (1.0 / len(factors)))[..., None]
    return [factor * share for factor in scaled]


def _scaled(factors: Sequence[np.ndarray], errors: np.ndarray, converged: bool) -> Found:
    """Components of length one, largest first; signs so that the last mode's largest entry is positive."""
    scaled, weight = tensor.normalise(list(factors))
    for mode in range(len(scaled) - 1):
        at = np.abs(scaled[mode]).argmax(axis=1)
        sign = np.where(scaled[mode][np.arange(len(at)), at] < 0, -1.0, 1.0)[:, None]
        scaled[mode], scaled[-1] = scaled[mode] * sign, scaled[-1] * sign
    order = np.argsort(-weight, kind="stable")
    return Found([factor[order] for factor in scaled], weight[order], errors, converged)


# ---- by tensorly ----------------------------------------------------------------------------------------
@contextlib.contextmanager
def backend_of(x: Array) -> Iterator[Any]:
    """Open tensorly with the library of ``x`` behind it, in this thread alone."""
    import tensorly as tl

    library = library_of(x)
    if library not in BACKENDS:
        raise DeviceError(
            "tensorly has no backend for this library",
            found=library,
            expected=", ".join(BACKENDS),
        )
    with tl.backend_context(BACKENDS[library], local_threadsafe=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its advice on convergence is told by our own attrs
        yield tl


def tucker(x: Array, mask: Array | None, wanted: Wanted) -> list[Found]:
    """Orthogonal factors and a core; where every mode is bounded, multiplicative updates of both.

    The first start is that of the singular vectors, the others are random.
    """
    found = []
    with backend_of(x) as tl:
        for k in range(wanted.n_restarts):
            options = {"rank": list(wanted.rank), "n_iter_max": wanted.max_iter, "tol": wanted.tol or None,
                       "init": "svd" if k == 0 else "random", "return_errors": True}  # fmt: skip
            options["random_state"] = wanted.seed + k
            made = tl.decomposition.non_negative_tucker if wanted.bounded else tl.decomposition.tucker
            (core, factors), errors = made(x, **options)
            trace = np.array([float(error) for error in errors])
            found.append(_tucker_found([to_numpy(f).T for f in factors], to_numpy(core), trace, wanted))
    return found


def _tucker_found(factors: list[np.ndarray], core: np.ndarray, errors: np.ndarray, wanted: Wanted) -> Found:
    return Found(factors, core, errors, bool(errors.size < wanted.max_iter))


def tucker_tensor(found: Found) -> np.ndarray:
    """The tensor that a core and its factors stand for."""
    total = found.scale
    for factor in found.factors:
        total = np.tensordot(total, factor, axes=(0, 0))  # the mode goes last: modes rotate
    return total


def parafac2(x: Array, mask: Array | None, wanted: Wanted) -> list[Found]:
    """Slices along the first mode share all but the second mode, which may change from slice to slice.

    The second factor is (component, slice, entry).
    """
    found = []
    with backend_of(x) as tl:
        for k in range(wanted.n_restarts):
            result, errors = tl.decomposition.parafac2(
                [x[i, ...] for i in range(x.shape[0])], wanted.rank[0], n_iter_max=wanted.max_iter,
                init="svd" if k == 0 else "random", random_state=wanted.seed + k, tol=wanted.tol,
                nn_modes=sorted(wanted.bounded) or None, return_errors=True, normalize_factors=False,
            )  # fmt: skip
            weights, (a, b, c), projections = result
            parts = [to_numpy(part) for part in (a, b, c)]
            evolving = np.stack([to_numpy(p) @ parts[1] for p in projections])  # (slice, entry, component)
            scale = np.ones(wanted.rank[0]) if weights is None else to_numpy(weights)
            trace = np.array([float(error) for error in errors])
            factors = [parts[0].T, np.moveaxis(evolving, -1, 0), parts[2].T]
            found.append(_evolving(factors, scale, trace, wanted))
    return found


def _evolving(factors: list[np.ndarray], scale: np.ndarray, errors: np.ndarray, wanted: Wanted) -> Found:
    """Components of length one, largest first; the evolving mode has length one on average over slices."""
    weight = scale.copy()
    for mode, factor in enumerate(factors):
        axes = tuple(range(1, factor.ndim))
        length = np.sqrt((factor**2).sum(axis=axes))
        length = length / np.sqrt(factor.shape[1]) if mode == 1 else length
        factors[mode] = factor / np.where(length > 0, length, 1.0).reshape(-1, *(1,) * (factor.ndim - 1))
        weight = weight * length
    order = np.argsort(-np.abs(weight), kind="stable")
    return Found([f[order] for f in factors], weight[order], errors, bool(errors.size < wanted.max_iter))


KINDS: dict[str, Callable[[Array, Array | None, Wanted], list[Found]]] = {
    "cp": polyadic,
    "tucker": tucker,
    "parafac2": parafac2,
}
