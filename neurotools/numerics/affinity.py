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
from jaxtyping import Float, Shaped

from neurotools.arrays import Array, device_of, namespace
from neurotools.errors import SettingsError, lookup

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


def backward_difference(x: Float[Array, "*batch time"]) -> Float[Array, "*batch time"]:
    """Change since the sample before; zero at the first."""
    xp = namespace(x)
    return xp.concat([xp.zeros_like(x[..., :1]), x[..., 1:] - x[..., :-1]], axis=-1)


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
def pair_index(n_units: int, ordered: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """First and second unit of every pair i < j (``ordered``: i != j), in the order pairs are packed in."""
    if ordered:
        first, second = np.divmod(np.flatnonzero(~np.eye(n_units, dtype=bool)), n_units)
    else:
        first, second = np.triu_indices(n_units, 1)
    return first, second


def pairs_before(unit: int, n_units: int, ordered: bool = False) -> int:
    """Number of pairs whose first unit comes before ``unit``."""
    return unit * (n_units - 1) if ordered else unit * n_units - unit * (unit + 1) // 2


def pack(full: Shaped[Array, "*batch unit unit"], ordered: bool = False) -> Shaped[Array, "*batch pair"]:
    """Entries above the diagonal of symmetric matrices; ``ordered``, all entries off the diagonal."""
    xp = namespace(full)
    n = full.shape[-1]
    first, second = pair_index(n, ordered)
    place = xp.asarray(first * n + second, device=device_of(full))
    return xp.take(xp.reshape(full, (*full.shape[:-2], n * n)), place, axis=-1)


def unpack(
    packed: Float[Array, "*batch pair"], n_units: int, ordered: bool = False
) -> Float[Array, "*batch unit unit"]:
    """Matrices with a zero diagonal from their packed entries; symmetric unless ``ordered``."""
    xp = namespace(packed)
    first, second = pair_index(n_units, ordered)
    place = np.full((n_units, n_units), len(first))  # the diagonal points at an added zero
    place[first, second] = np.arange(len(first))
    if not ordered:
        place[second, first] = np.arange(len(first))
    padded = xp.concat([packed, xp.zeros_like(packed[..., :1])], axis=-1) if len(first) else packed
    flat = xp.take(padded, xp.asarray(place.ravel(), device=device_of(packed)), axis=-1)
    return xp.reshape(flat, (*packed.shape[:-1], n_units, n_units))


# ---- the family of kernels ----------------------------------------------------------------------------
@dataclass(frozen=True)
class Drives:
    """What an affinity is made of: drives (row, unit); for windowed kernels their width and edges of rows.

    ``edges`` are the rows where a stretch begins (a session or a subject), and the number of rows. ``sent``
    are the drives a lag earlier, for kernels of ordered pairs: those of the unit that leads.
    """

    up: Array
    down: Array
    window: int = 0
    edges: tuple[int, ...] = field(default=())
    sent: tuple[Array, Array] | None = None


def stacked(
    up: Array,
    down: Array,
    window: int = 0,
    edges: Sequence[int] = (),
    sent: tuple[Array, Array] | None = None,
) -> Drives:
    """Lay (subject, time, unit) drives end to end along rows; ``edges`` are those of one subject's time."""
    xp = namespace(up, down)
    n_subjects, n_time, n_units = up.shape
    inner = tuple(edges) or (0, n_time)
    begins = [subject * n_time + edge for subject in range(n_subjects) for edge in inner[:-1]]

    def laid(part: Array) -> Array:
        return xp.reshape(part, (n_subjects * n_time, n_units))

    before = None if sent is None else (laid(sent[0]), laid(sent[1]))
    return Drives(laid(up), laid(down), window, (*begins, n_subjects * n_time), before)


def lagged_by(g: Float[Array, "*batch time"], lag: int, edges: Sequence[int]) -> Float[Array, "*batch time"]:
    """Values ``lag`` samples earlier; zero where a stretch between ``edges`` has none yet."""

    def shift(x: Array) -> Array:
        xp = namespace(x)
        late = min(lag, x.shape[-1])
        return xp.concat([xp.zeros_like(x[..., :late]), x[..., : x.shape[-1] - late]], axis=-1)

    return between_edges(g, edges, shift)


# (start, stop, first=0, last=n_units) -> affinities (row, pair) at rows start <= t < stop, for pairs whose
# first unit is first <= i < last.
Slices = Callable[..., Array]


def _joined(
    terms: Sequence[tuple[Array, Array]], join: Callable[[Array, Array], Array], ordered: bool = False
) -> Slices:
    """Slices of a kernel that sums ``join(a_i, b_j)`` over the ``terms`` (a, b), each (row, unit).

    Every unit meets all later units (``ordered``: all others) at once, over a stretch of rows that lies
    together in memory: picking pairs out by their indices takes ten times longer.
    """
    xp = namespace(terms[0][0])
    n_rows, n_units = terms[0][0].shape
    distinct = {id(part): part for term in terms for part in term}
    by_unit = {key: xp.reshape(xp.reshape(p.mT, (-1,)), (n_units, n_rows)) for key, p in distinct.items()}
    laid = [(by_unit[id(a)], by_unit[id(b)]) for a, b in terms]

    def others(i: int) -> list[slice]:
        return [slice(0, i), slice(i + 1, n_units)] if ordered else [slice(i + 1, n_units)]

    def slices(start: int, stop: int, first: int = 0, last: int | None = None) -> Array:
        last = n_units if last is None else last
        parts = [(a[:, start:stop], b[:, start:stop]) for a, b in laid]
        n_pairs = pairs_before(last, n_units, ordered) - pairs_before(first, n_units, ordered)
        shape = (n_pairs, stop - start)
        values, place = xp.empty(shape, dtype=terms[0][0].dtype, device=device_of(terms[0][0])), 0
        for i in range(first, last):
            for other in others(i):
                size = other.stop - other.start
                if size:
                    met = [join(a[i : i + 1, :], b[other, :]) for a, b in parts]
                    values[place : place + size, :] = sum(met[1:], met[0])
                place += size
        return values.mT

    return slices


def alike(drives: Drives, root: bool = False) -> list[tuple[Array, Array]]:
    """Terms of a kernel that treats rising and falling alike, after a square root if ``root``."""
    up, down = _rooted((drives.up, drives.down)) if root else (drives.up, drives.down)
    return [(up, up), (down, down)]


def opposed(drives: Drives) -> list[tuple[Array, Array]]:
    """Terms of ``anti``: what rises in one unit and falls in the other."""
    up, down = _rooted((drives.up, drives.down))
    return [(up, down), (down, up)]


def sent_first(drives: Drives) -> list[tuple[Array, Array]]:
    """Terms of ``lagged``: the first unit of a pair a lag earlier, the second now."""
    if drives.sent is None:
        raise SettingsError("a lagged kernel needs drives a lag earlier", code="NT-SET-003")
    return list(zip(_rooted(drives.sent), _rooted((drives.up, drives.down)), strict=True))


def _rooted(parts: tuple[Array, Array]) -> tuple[Array, Array]:
    xp = namespace(*parts)
    return xp.sqrt(parts[0]), xp.sqrt(parts[1])


def geomean(drives: Drives) -> Slices:
    """Geometric mean of the two drives: sqrt(|g_i| |g_j|) where both move the same way."""
    return _joined(alike(drives, root=True), lambda a, b: a * b)


def product(drives: Drives) -> Slices:
    """Product of the two drives, |g_i| |g_j|: multiplication of temporal derivatives, rectified."""
    return _joined(alike(drives), lambda a, b: a * b)


def minimum(drives: Drives) -> Slices:
    """Smaller of the two drives."""
    return _joined(alike(drives), namespace(drives.up).minimum)


def ratio(drives: Drives) -> Slices:
    """Smaller over larger drive, exp(-|log|g_i| - log|g_j||): likeness of speed, whatever the speed."""
    xp = namespace(drives.up)

    def join(a: Array, b: Array) -> Array:
        top = xp.maximum(a, b)
        return xp.minimum(a, b) / xp.where(top > 0, top, xp.ones_like(top))

    return _joined(alike(drives), join)


def anti(drives: Drives) -> Slices:
    """Geometric mean of the two drives where one rises and the other falls."""
    return _joined(opposed(drives), lambda a, b: a * b)


def lagged(drives: Drives) -> Slices:
    """Geometric mean of one unit's drive a lag earlier and the other's now: ordered pairs, i leads j."""
    return _joined(sent_first(drives), lambda a, b: a * b, ordered=True)


# ---- kernels of a window --------------------------------------------------------------------------------
def window_bounds(row: int, drives: Drives) -> tuple[int, int]:
    """Rows of the window centred on ``row``, cut at the edges of its stretch."""
    edges = np.asarray(drives.edges or (0, drives.up.shape[0]))
    piece = int(np.searchsorted(edges, row, side="right")) - 1
    half = drives.window // 2
    return max(row - half, int(edges[piece])), min(row + half + 1, int(edges[piece + 1]))


def _windowed(drives: Drives, prepared: Callable[[Array], Array]) -> Slices:
    """Positive part of the Gram matrix of what ``prepared`` makes of a window (row, unit).

    Every slice is made when it is asked for, from its own window.
    """
    xp = namespace(drives.up)
    n_units = drives.up.shape[1]

    def one(row: int, first: int, last: int) -> Array:
        start, stop = window_bounds(row, drives)
        z = prepared(drives.up[start:stop, :] - drives.down[start:stop, :])
        return z[:, first:last].mT @ z

    def slices(start: int, stop: int, first: int = 0, last: int | None = None) -> Array:
        last = n_units if last is None else last
        ahead, behind = pair_index(n_units)
        part = slice(pairs_before(first, n_units), pairs_before(last, n_units))
        place = xp.asarray((ahead[part] - first) * n_units + behind[part], device=device_of(drives.up))
        rows = [xp.take(xp.reshape(one(t, first, last), (-1,)), place) for t in range(start, stop)]
        values = xp.stack(rows)
        return xp.maximum(values, xp.zeros_like(values))

    return slices


def corr_window(drives: Drives) -> Slices:
    """Pearson correlation of the traces in a window centred on each row, where it is positive.

    Traces are standardised and kept as their positive part minus their negative part. A trace that is
    constant in a window correlates with nothing.
    """
    xp = namespace(drives.up)

    def prepared(z: Array) -> Array:
        centred = z - xp.mean(z, axis=0, keepdims=True)
        length = xp.sqrt(xp.sum(centred * centred, axis=0, keepdims=True))
        # Rounding of the mean leaves a trace of constant parts, of the size of the values' own rounding.
        moves = length > 1e-12 * xp.sqrt(xp.sum(z * z, axis=0, keepdims=True))
        return xp.where(moves, centred / xp.where(moves, length, 1.0), 0.0)

    slices = _windowed(drives, prepared)
    return lambda *part: xp.clip(slices(*part), max=1.0)  # rounding must not make more than one of it


def mtd(drives: Drives) -> Slices:
    """Mean over a window of the product of two temporal derivatives, where it is positive.

    Derivatives are in units of their standard deviation. Shine et al. (2015), NeuroImage 122, 399-407.
    """
    return _windowed(drives, lambda z: z * float(z.shape[0]) ** -0.5)


def edge(drives: Drives) -> Slices:
    """Product of two standardised traces, where it is positive: edge time series.

    Faskowitz et al. (2020), Nature Neuroscience 23, 1644-1654. Drives are the positive and negative parts.
    """
    return product(drives)


KERNELS: dict[str, Callable[[Drives], Slices]] = {
    "geomean": geomean,
    "product": product,
    "min": minimum,
    "ratio": ratio,
    "anti": anti,
    "lagged": lagged,
    "corr_window": corr_window,
    "mtd": mtd,
    "edge": edge,
}
WINDOWED = frozenset({"corr_window", "mtd"})  # kernels that need the width of a window
LEVELS = frozenset({"corr_window", "edge"})  # kernels of standardised traces, not of slopes
ORDERED = frozenset({"lagged"})  # kernels in which i leading j is another pair than j leading i


def slices_of(kernel: str, drives: Drives) -> Slices:
    """Affinities of any rows, by the name of a kernel."""
    return lookup("kernel", kernel, KERNELS)(drives)
