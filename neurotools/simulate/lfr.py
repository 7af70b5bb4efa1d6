"""Weighted graphs with planted communities of unequal size, by the recipe that benchmarks use."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurotools.errors import SettingsError

ATTEMPTS = 300  # at degrees, each with TRIES at communities
TRIES = 20
SURPLUS = 1.05  # of the edges of one community to others, over what these have for it
SWAPS = 200  # per edge that is missing, to mend what random matching leaves over
ROUNDS = 400  # of scaling weights to strengths


def weighted_lfr(
    *,
    n_units: int = 125,
    mean_degree: float = 25.0,
    max_degree: int = 100,
    edge_mixing: float = 0.5,
    weight_mixing: float = 0.5,
    strength_exponent: float = 2.0,
    seed: int = 0,
) -> tuple[xr.DataArray, xr.Dataset]:
    """A weighted graph whose degrees and community sizes have heavy tails.

    Degrees have p(k) proportional to k^-2, sizes of communities p(n) proportional to 1/n between the least
    and the largest degree. A share ``edge_mixing`` of the edges of every unit leads to other communities,
    and a share ``weight_mixing`` of its strength, which is its degree to the power ``strength_exponent``.
    Lancichinetti and Fortunato (2009), Physical Review E 80, 016118, sections III and V.

    Degrees and communities are drawn again where one community has more edges to others than these can
    take. Edges that no simple graph can hold are left out: one in ten with the numbers below, up to one
    between communities in five at an ``edge_mixing`` of a quarter; the truth says what came out. Weights
    that have the wanted strengths are found by scaling u_i u_j (the paper adds corrections, which may make
    weights negative).

    Parameters
    ----------
    n_units : int
    mean_degree, max_degree : float, int
        Edges per unit.
    edge_mixing, weight_mixing : float
        From 0 (no edges between communities) to 1 (none inside).
    strength_exponent : float
        At 1 strengths are degrees, and the weights of edges all near 1 when both mixings are equal.
    seed : int
        The same seed gives the same graph.

    Returns
    -------
    motif : xarray.DataArray
        (unit, unit_to), symmetric, zero on the diagonal.
    truth : xarray.Dataset
        ``label`` (unit), 0 for the largest community, which may be the only one; ``degree`` (unit);
        ``edge_mixing`` and ``weight_mixing``, as they came out.

    Raises
    ------
    SettingsError
        A number is out of range, or no communities were found that can hold these degrees.
    """
    if not 2 <= mean_degree < max_degree < n_units:
        raise SettingsError(
            "degrees lie between 2 and the number of units",
            found=f"mean {mean_degree}, largest {max_degree}, {n_units} units",
        )
    if not (0 <= edge_mixing < 1 and 0 <= weight_mixing < 1):
        raise SettingsError("mixing lies from 0 to below 1", found=f"{edge_mixing} and {weight_mixing}")
    rng = np.random.default_rng(seed)
    degree, inside, labels = _planted(rng, n_units, (mean_degree, max_degree), edge_mixing)
    same = labels[:, None] == labels
    edges = _random_graph(rng, inside, same, labels)
    edges += _random_graph(rng, degree - inside, ~same, np.zeros_like(labels))
    strength = edges.sum(1) ** strength_exponent
    weights = _scaled(edges * same, (1 - weight_mixing) * strength)
    weights += _scaled(edges * ~same, weight_mixing * strength)
    return _named(weights, labels)


def _named(weights: np.ndarray, labels: np.ndarray) -> tuple[xr.DataArray, xr.Dataset]:
    units = np.arange(len(labels))
    between = labels[:, None] != labels
    edges = weights > 0
    motif = xr.DataArray(weights, dims=("unit", "unit_to"), coords={"unit": units, "unit_to": units})
    truth = xr.Dataset(
        {
            "label": ("unit", labels),
            "degree": ("unit", edges.sum(1)),
            "edge_mixing": float(edges[between].sum() / max(edges.sum(), 1)),
            "weight_mixing": float(weights[between].sum() / max(weights.sum(), 1e-300)),
        },
        coords={"unit": units},
    )
    return motif, truth


# ---- degrees and sizes ---------------------------------------------------------------------------------
def _degrees(rng: np.random.Generator, n: int, mean: float, most: int) -> np.ndarray:
    """Draw from p(k) ~ k^-2 between a least degree and ``most``; the least is set by the mean."""
    means = np.array([_power_law_mean(low, most, 2.0) for low in range(1, most)])
    low = int(np.searchsorted(means, mean, side="right"))
    low = min(max(low, 1), most - 2)
    # Between two whole numbers, a mixture of both has the mean that is wanted.
    share = (mean - means[low - 1]) / (means[low] - means[low - 1])
    least = low + (rng.random(n) < share)
    u = rng.random(n)
    return np.array(
        [_power_law(int(k), most, 2.0).searchsorted(v) + k for k, v in zip(least, u, strict=True)]
    )


def _power_law(low: int, high: int, exponent: float) -> np.ndarray:
    """Cumulated probabilities of low .. high."""
    p = np.arange(low, high + 1.0) ** -exponent
    return np.cumsum(p / p.sum())


def _power_law_mean(low: int, high: int, exponent: float) -> float:
    k = np.arange(low, high + 1.0)
    return float((k ** (1 - exponent)).sum() / (k**-exponent).sum())


def _planted(
    rng: np.random.Generator, n: int, degrees: tuple[float, int], mixing: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw degrees, edges inside and communities until they go together."""
    for _ in range(ATTEMPTS):
        degree = _degrees(rng, n, *degrees)
        inside = np.floor((1 - mixing) * degree + rng.random(n)).astype(int)
        labels = _communities(rng, degree, inside)
        if labels is not None:
            return degree, inside, labels
    raise SettingsError(
        "no communities were found that can hold these degrees",
        found=f"mean {degrees[0]}, largest {degrees[1]}, edge_mixing {mixing}",
        fix="a larger edge_mixing, or a smaller max_degree",
    )


def _communities(rng: np.random.Generator, degree: np.ndarray, inside: np.ndarray) -> np.ndarray | None:
    """Draw sizes and give every unit to a community that is larger than its number of edges inside."""
    chances = _power_law(int(degree.min()), int(degree.max()), 1.0)
    for _ in range(TRIES):
        sizes: list[int] = []
        while sum(sizes) < degree.size:
            size = int(chances.searchsorted(rng.random())) + int(degree.min())
            sizes.append(min(size, degree.size - sum(sizes)))
        labels = _seated(rng, np.sort(sizes)[::-1], inside)
        if labels is not None and _joinable(labels, degree - inside):
            return labels
    return None


def _joinable(labels: np.ndarray, outside: np.ndarray) -> bool:
    """Whether no community has many more edges to give away than all others together can take."""
    ends = np.bincount(labels, outside)
    return bool(2 * ends.max() <= SURPLUS * ends.sum()) or ends.size == 1


def _seated(rng: np.random.Generator, sizes: np.ndarray, inside: np.ndarray) -> np.ndarray | None:
    """Seat units of many edges first, at random where they fit; None where they do not."""
    labels, free = np.full(inside.size, -1), sizes.copy()
    for unit in np.argsort(-inside, kind="stable"):
        fits = np.flatnonzero((sizes > inside[unit]) & (free > 0))
        if fits.size == 0:
            return None
        labels[unit] = rng.choice(fits, p=free[fits] / free[fits].sum())
        free[labels[unit]] -= 1
    return labels


# ---- edges and weights ---------------------------------------------------------------------------------
def _random_graph(
    rng: np.random.Generator, degree: np.ndarray, allowed: np.ndarray, group: np.ndarray
) -> np.ndarray:
    """A simple graph with (nearly) these degrees among the allowed pairs.

    Ends are joined at random within a group; pairs that are not allowed or repeat are mended by exchanging
    an end with another edge.
    """
    ends = rng.permutation(np.repeat(np.arange(degree.size), degree))
    ends = ends[np.argsort(group[ends], kind="stable")]
    edges = np.zeros(allowed.shape)
    left: list[tuple[int, int]] = []
    for i, j in zip(ends[::2], ends[1::2], strict=False):
        if i != j and allowed[i, j] and edges[i, j] == 0:
            edges[i, j] = edges[j, i] = 1.0
        else:
            left.append((int(i), int(j)))
    for i, j in left:
        _mend(rng, edges, allowed, i, j)
    return edges


def _mend(rng: np.random.Generator, edges: np.ndarray, allowed: np.ndarray, i: int, j: int) -> None:
    """Replace an edge a-b by i-a and j-b, so that i and j get the ends they lack; give up after a while."""
    rows, columns = np.nonzero(edges)
    if rows.size == 0:
        return
    for pick in rng.integers(0, rows.size, SWAPS):
        a, b = rows[pick], columns[pick]
        fits = len({i, a}) == 2 and len({j, b}) == 2 and allowed[i, a] and allowed[j, b]
        if fits and edges[a, b] and not edges[i, a] and not edges[j, b] and {i, a} != {j, b}:
            edges[a, b] = edges[b, a] = 0.0
            edges[i, a] = edges[a, i] = edges[j, b] = edges[b, j] = 1.0
            return


def _scaled(edges: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Weights u_i u_j on the edges, whose sums over each unit are the strengths (where it has any edge)."""
    u = np.ones(strength.size)
    for _ in range(ROUNDS):
        now = u * (edges @ u)
        u = u * np.sqrt(np.where(now > 0, strength / np.where(now > 0, now, 1.0), 0.0))
    return edges * u[:, None] * u
