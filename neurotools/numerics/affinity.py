"""Differential affinity: how strongly two traces move together at each moment.

With g the normalised derivative of a trace, ``up`` is its rising part max(g, 0) and ``down`` its falling part
max(-g, 0). Two units have an affinity when both rise or both fall; opposite motion has none. Everything is
laid out as (row, unit): a row is one moment of one subject. The affinities of a row, for pairs i < j, follow
from the two drives, so the tensor itself need never be stored.

Dyballa et al. (2024), ICLR, "Learning dynamic representations of the functional connectome in neurobiological
networks", for the idea; the family of kernels is stated in ``KERNELS``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from neurotools.arrays import Array, device_of, namespace
from neurotools.errors import lookup

TRUNCATE = 4.0  # widths at which the Gaussian filter is cut, as in scipy.ndimage


# ---- from traces to drives --------------------------------------------------------------------------
def gaussian_derivative(x: Float[Array, "*batch time"], sigma: float) -> Float[Array, "*batch time"]:
    """Slope of ``x`` per sample after smoothing by a Gaussian of ``sigma`` samples; edge values extend.

    The filter is the derivative of a sampled, normalised Gaussian cut at four widths.
    """
    xp = namespace(x)
    radius = int(TRUNCATE * sigma + 0.5)
    if radius == 0:
        return finite_difference(x)
    offset = np.arange(-radius, radius + 1)
    bell = np.exp(-0.5 * (offset / sigma) ** 2)
    weight = (offset / sigma**2 * bell / bell.sum())[radius + 1 :]
    n = x.shape[-1]
    repeat = xp.ones((*x.shape[:-1], radius), dtype=x.dtype, device=device_of(x))
    padded = xp.concat([x[..., :1] * repeat, x, x[..., -1:] * repeat], axis=-1)
    slope = xp.zeros_like(x)
    for k in range(1, radius + 1):  # the filter is odd: ahead minus behind
        ahead = padded[..., radius + k : radius + k + n]
        behind = padded[..., radius - k : radius - k + n]
        slope = slope + float(weight[k - 1]) * (ahead - behind)
    return slope


def finite_difference(
    x: Float[Array, "*batch time"], time: Array | None = None
) -> Float[Array, "*batch time"]:
    """Central difference, one-sided at the two ends; per sample, or per unit of ``time`` when it is given."""
    xp = namespace(x)
    if x.shape[-1] < 2:
        return xp.zeros_like(x)

    def change(y: Array) -> Array:
        return xp.concat(
            [y[..., 1:2] - y[..., :1], y[..., 2:] - y[..., :-2], y[..., -1:] - y[..., -2:-1]], axis=-1
        )

    steps = xp.arange(x.shape[-1], dtype=x.dtype, device=device_of(x)) if time is None else time
    return change(x) / change(steps)


def between_edges(
    x: Float[Array, "*batch time"], edges: Sequence[int], change: Callable[[Array], Array]
) -> Float[Array, "*batch time"]:
    """Apply ``change`` to every stretch of time between two ``edges`` on its own."""
    xp = namespace(x)
    pieces = [change(x[..., start:stop]) for start, stop in itertools.pairwise(edges)]
    return pieces[0] if len(pieces) == 1 else xp.concat(pieces, axis=-1)


def largest(g: Float[Array, "*batch time"]) -> Float[Array, "*batch 1"]:
    """Largest absolute value along time."""
    xp = namespace(g)
    return xp.max(xp.abs(g), axis=-1, keepdims=True)


def percentile99(g: Float[Array, "*batch time"]) -> Float[Array, "*batch 1"]:
    """99th percentile of the absolute values that are not zero: a few artefacts cannot set the scale."""
    xp = namespace(g)
    size = xp.sort(xp.abs(g), axis=-1)
    n = size.shape[-1]
    zeros = xp.sum(xp.astype(size == 0, size.dtype), axis=-1, keepdims=True)
    place = zeros + 0.99 * xp.maximum(n - 1 - zeros, xp.zeros_like(zeros))
    place = xp.minimum(place, xp.full_like(place, float(n - 1)))
    below = xp.floor(place)
    index = xp.astype(below, xp.int64)
    low = xp.take_along_axis(size, index, axis=-1)
    high = xp.take_along_axis(size, xp.clip(index + 1, max=n - 1), axis=-1)
    return low + (place - below) * (high - low)


def unscaled(g: Float[Array, "*batch time"]) -> Float[Array, "*batch 1"]:
    """One for every unit: derivatives keep their own scale."""
    return namespace(g).ones_like(g[..., :1])


NORMALISERS = {"max": largest, "percentile99": percentile99, "none": unscaled}


def rectified(
    g: Float[Array, "*batch time"], scale: Float[Array, "*batch 1"], floor: float
) -> tuple[Array, Array]:
    """Rising and falling part of ``g / scale``; values smaller than ``floor`` count as no motion.

    A scale of zero (a silent unit) gives zeros.
    """
    xp = namespace(g)
    zero = xp.zeros_like(g)
    g = xp.where(scale > 0, g / xp.where(scale > 0, scale, xp.ones_like(scale)), zero)
    g = xp.where(xp.abs(g) >= floor, g, zero)
    return xp.maximum(g, zero), xp.maximum(-g, zero)


# ---- pairs ------------------------------------------------------------------------------------------
def pair_index(n_units: int) -> tuple[np.ndarray, np.ndarray]:
    """First and second unit of every pair i < j, in the order in which pairs are packed."""
    first, second = np.triu_indices(n_units, 1)
    return first, second


def pack(full: Float[Array, "*batch unit unit"]) -> Float[Array, "*batch pair"]:
    """Entries above the diagonal of symmetric matrices."""
    xp = namespace(full)
    n = full.shape[-1]
    first, second = pair_index(n)
    place = xp.asarray(first * n + second, device=device_of(full))
    return xp.take(xp.reshape(full, (*full.shape[:-2], n * n)), place, axis=-1)


def unpack(packed: Float[Array, "*batch pair"], n_units: int) -> Float[Array, "*batch unit unit"]:
    """Symmetric matrices with a zero diagonal from their entries above it."""
    xp = namespace(packed)
    first, second = pair_index(n_units)
    place = np.full((n_units, n_units), len(first))  # the diagonal points at an added zero
    place[first, second] = place[second, first] = np.arange(len(first))
    padded = xp.concat([packed, xp.zeros_like(packed[..., :1])], axis=-1) if len(first) else packed
    flat = xp.take(padded, xp.asarray(place.ravel(), device=device_of(packed)), axis=-1)
    return xp.reshape(flat, (*packed.shape[:-1], n_units, n_units))


# ---- the family of kernels ----------------------------------------------------------------------------
@dataclass(frozen=True)
class Drives:
    """What an affinity is made of: drives (row, unit); for ``corr_window`` its width and the edges of rows.

    ``edges`` are the rows where a stretch begins (a session or a subject), and the number of rows.
    """

    up: Array
    down: Array
    window: int = 0
    edges: tuple[int, ...] = field(default=())


def stacked(up: Array, down: Array, window: int = 0, edges: Sequence[int] = ()) -> Drives:
    """Lay (subject, time, unit) drives end to end along rows; ``edges`` are those of one subject's time."""
    xp = namespace(up, down)
    n_subjects, n_time, n_units = up.shape
    rows = (n_subjects * n_time, n_units)
    inner = tuple(edges) or (0, n_time)
    begins = [subject * n_time + edge for subject in range(n_subjects) for edge in inner[:-1]]
    return Drives(xp.reshape(up, rows), xp.reshape(down, rows), window, (*begins, rows[0]))


# (start, stop, first=0, last=n_units) -> affinities (row, pair) at rows start <= t < stop, for pairs whose
# first unit is first <= i < last.
Slices = Callable[..., Array]


def pairs_before(unit: int, n_units: int) -> int:
    """Number of pairs whose first unit comes before ``unit``."""
    return unit * n_units - unit * (unit + 1) // 2


def _joined(up: Array, down: Array, join: Callable[[Array, Array], Array]) -> Slices:
    """Slices of a kernel that treats rising and falling alike and adds them.

    Every unit meets all later units at once, over a stretch of rows that lies together in memory: picking
    pairs out by their indices takes ten times longer.
    """
    xp = namespace(up)
    n_rows, n_units = up.shape
    parts = [xp.reshape(xp.reshape(part.mT, (-1,)), (n_units, n_rows)) for part in (up, down)]

    def slices(start: int, stop: int, first: int = 0, last: int | None = None) -> Array:
        last = n_units if last is None else last
        rise, fall = (part[:, start:stop] for part in parts)
        offset = pairs_before(first, n_units)
        shape = (pairs_before(last, n_units) - offset, stop - start)
        values = xp.empty(shape, dtype=up.dtype, device=device_of(up))
        for i in range(first, min(last, n_units - 1)):
            place = slice(pairs_before(i, n_units) - offset, pairs_before(i + 1, n_units) - offset)
            one, later = slice(i, i + 1), slice(i + 1, None)
            values[place, :] = join(rise[one, :], rise[later, :]) + join(fall[one, :], fall[later, :])
        return values.mT

    return slices


def geomean(drives: Drives) -> Slices:
    """Geometric mean of the two drives: sqrt(|g_i| |g_j|) where both move the same way."""
    xp = namespace(drives.up)
    return _joined(xp.sqrt(drives.up), xp.sqrt(drives.down), lambda a, b: a * b)


def product(drives: Drives) -> Slices:
    """Product of the two drives, |g_i| |g_j|: multiplication of temporal derivatives, rectified."""
    return _joined(drives.up, drives.down, lambda a, b: a * b)


def minimum(drives: Drives) -> Slices:
    """Smaller of the two drives."""
    return _joined(drives.up, drives.down, namespace(drives.up).minimum)


def ratio(drives: Drives) -> Slices:
    """Smaller over larger drive, exp(-|log|g_i| - log|g_j||): likeness of speed, whatever the speed."""
    xp = namespace(drives.up)

    def join(a: Array, b: Array) -> Array:
        top = xp.maximum(a, b)
        return xp.minimum(a, b) / xp.where(top > 0, top, xp.ones_like(top))

    return _joined(drives.up, drives.down, join)


def window_bounds(row: int, drives: Drives) -> tuple[int, int]:
    """Rows of the window centred on ``row``, cut at the edges of its stretch."""
    edges = np.asarray(drives.edges or (0, drives.up.shape[0]))
    piece = int(np.searchsorted(edges, row, side="right")) - 1
    half = drives.window // 2
    return max(row - half, int(edges[piece])), min(row + half + 1, int(edges[piece + 1]))


def corr_window(drives: Drives) -> Slices:
    """Pearson correlation of the traces in a window centred on each row, where it is positive.

    Traces are standardised and kept as their positive part minus their negative part. Every slice is made
    when it is asked for, from its own window. A trace that is constant in a window correlates with nothing.
    """
    xp = namespace(drives.up)

    n_units = drives.up.shape[1]

    def one(row: int, first: int, last: int) -> Array:
        start, stop = window_bounds(row, drives)
        z = drives.up[start:stop, :] - drives.down[start:stop, :]
        centred = z - xp.mean(z, axis=0, keepdims=True)
        length = xp.sqrt(xp.sum(centred * centred, axis=0, keepdims=True))
        # Rounding of the mean leaves a trace of constant parts, of the size of the values' own rounding.
        moves = length > 1e-12 * xp.sqrt(xp.sum(z * z, axis=0, keepdims=True))
        centred = xp.where(moves, centred / xp.where(moves, length, 1.0), 0.0)
        return centred[:, first:last].mT @ centred

    def slices(start: int, stop: int, first: int = 0, last: int | None = None) -> Array:
        last = n_units if last is None else last
        ahead, behind = pair_index(n_units)
        part = slice(pairs_before(first, n_units), pairs_before(last, n_units))
        place = xp.asarray((ahead[part] - first) * n_units + behind[part], device=device_of(drives.up))
        rows = [xp.take(xp.reshape(one(t, first, last), (-1,)), place) for t in range(start, stop)]
        return xp.clip(xp.stack(rows), min=0.0, max=1.0)

    return slices


KERNELS: dict[str, Callable[[Drives], Slices]] = {
    "geomean": geomean,
    "product": product,
    "min": minimum,
    "ratio": ratio,
    "corr_window": corr_window,
}
WINDOWED = frozenset({"corr_window"})  # kernels that need the width of a window


def slices_of(kernel: str, drives: Drives) -> Slices:
    """Affinities of any rows, by the name of a kernel."""
    return lookup("kernel", kernel, KERNELS)(drives)
