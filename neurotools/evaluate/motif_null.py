"""Which motifs come back more than chance: motifs learned in one half of the time, looked for in the other.

A motif that was learned from the very data it is tested in fits them better than it fits surrogates, whether
or not it is real. So motifs are learned from alternate stretches of time and their strength is measured in
the stretches between, in the recording and in surrogates in which units keep all but their alignment.

That restarts agree is no evidence: of one set of data, be it a surrogate, most starts find the same optimum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, lookup
from neurotools.evaluate.bootstrap import matched_to
from neurotools.evaluate.folds import smoothing_reach
from neurotools.evaluate.heldout import laid_out, subject_of
from neurotools.evaluate.motifs import motif
from neurotools.evaluate.surrogates import circular_shift, phase_randomise
from neurotools.numerics import ntf, tensor
from neurotools.numerics.nulls import family_wise, standardised, tail
from neurotools.progress import working
from neurotools.schema.affinity import affinity_parts, session_edges

N_STRETCHES = 10
MOST = 2**31  # affinities; each surrogate is measured at all of them
TOL, MAX_ROUNDS = 1e-4, 20  # of the time courses whose lengths are compared
Surrogate = Callable[[xr.Dataset, int, float], Any]  # affinity, seed, least shift in s


def motif_null(
    model: Any,
    data: Any,
    fit: xr.Dataset | None = None,
    *,
    surrogate: str = "circular_shift",
    n_null: int = 99,
    min_shift_s: float | None = None,
    learn: str = "once",
    seed: int = 0,
) -> xr.Dataset:
    """Test whether each motif is there in time it was not learned from, more than in surrogates.

    Time is cut into ten stretches (fewer where smoothing reaches far). Motifs are learned from every other
    one, matched with those of the fit, and their strength, the length of their time course by non-negative
    least squares of all motifs together, is measured in the others; then the other way round. A half in which
    a motif was not found again counts little: squared strengths are weighted by the squared cosine with the
    fit's motif. The same motifs are measured in surrogates at the same moments.

    Parameters
    ----------
    model : nt.NTF
    data : xarray.Dataset
        Factored affinity, from ``nt.differential_affinity``.
    fit : xarray.Dataset, optional
        Whose motifs are tested; fitted to all data when omitted.
    surrogate : {"circular_shift", "phase_randomise", "common_phases"}
        Shifting every unit by its own amount keeps all about a unit but its alignment. Random phases keep
        its spectrum and make its values Gaussian, so they are no null for signals that rest most of the time.
        Both ask whether units are coupled at all. ``common_phases`` keeps the correlations between units and
        asks whether a motif comes and goes more than constant correlations would let it.
    n_null : int
        Surrogates.
    min_shift_s : float, optional
        Least circular shift in s; what smoothing joins, when omitted.
    learn : {"once", "anew"}
        ``"once"`` looks for the recording's motifs in the surrogates. A chance alignment of units whose
        activity recurs in a rhythm lasts through the recording, so its motif is found in both halves, and in
        no surrogate. ``"anew"`` learns motifs from every surrogate as from the recording, each with chance
        alignments of its own: the recording is then one draw among the surrogates where there is no coupling,
        and ``p_corrected`` holds whatever the rhythm. It takes three factorisations for every surrogate.
    seed : int

    Returns
    -------
    xarray.Dataset
        ``strength`` (component) and ``null_strength`` (surrogate, component), both halves together;
        ``ratio`` (component), the strength over the mean of surrogates (of the
        strongest of each, where they are learned anew); ``p_value`` (component), one-sided,
        (1 + surrogates as strong) / (1 + surrogates); ``p_corrected`` (component), the same for the largest
        standardised strength of any motif (Westfall and Young 1993, section 2.5). With ``learn="anew"`` the
        motifs of a surrogate, strongest first, are none of the recording's: ``p_value`` compares with all of
        them, ``p_corrected`` with the strongest of each surrogate. ``similarity`` (component,
        half), the cosine of the motif with that learned from each half alone. attrs ``surrogate``,
        ``n_null``, ``seed``, ``n_stretches``.

    Raises
    ------
    SchemaError
        The affinity has no drives, or there is too little time to learn from one half of it.
    """
    make = lookup("surrogate", surrogate, SURROGATES)
    if n_null < 1:
        raise SettingsError("at least one surrogate is needed", found=n_null)
    parts = affinity_parts(data)
    if parts.up is None:
        raise SchemaError(
            "surrogates need the factored form of an affinity",
            fix="pass the result of nt.differential_affinity",
        )
    n_units = parts.observed.shape[1]
    if n_units * (n_units - 1) // 2 * parts.observed.shape[0] * parts.n_time > MOST:
        raise SchemaError(
            "the affinities are too many to be measured in surrogates", code="NT-DATA-010",
            found=f"{n_units} {parts.dim}s, {parts.n_time} moments", fix=f"select {parts.dim}s or time",
        )  # fmt: skip
    way = lookup("way to learn", learn, LEARN)
    fit = model.fit(data) if fit is None else fit
    learned = list(learned_apart(model, data, fit))
    shift = min_shift_s if min_shift_s is not None else reach_s(data)
    with working("motifs against chance") as show:
        own = strengths(learned, data)
        drawn = np.empty((n_null, own.size))
        for k in range(n_null):
            again = make(data, seed + k, shift)
            drawn[k] = way.measure(model, learned, again)
            show((k + 1) / n_null)
    p_value, p_corrected = way.chances(own, drawn)
    usual = way.usual(drawn)
    return xr.Dataset(
        {
            "strength": ("component", own),
            "null_strength": (("surrogate", "component"), drawn),
            "ratio": ("component", own / np.where(usual > 0, usual, np.nan)),
            "p_value": ("component", p_value),
            "p_corrected": ("component", p_corrected),
            "similarity": (("component", "half"), np.stack([one.similarity for one in learned], axis=1)),
        },
        coords={"component": fit["component"], "surrogate": np.arange(n_null)},
        attrs={
            "surrogate": surrogate, "n_null": int(n_null), "seed": int(seed), "min_shift_s": float(shift),
            "n_stretches": n_stretches(data), "learn": learn,
        },
    )  # fmt: skip


# ---- two halves -----------------------------------------------------------------------------------------
class Learned:
    """Motifs of one half of the time in the order of a fit's, and the moments of the other half."""

    def __init__(self, half: xr.Dataset, fit: xr.Dataset, dim: str, test: np.ndarray) -> None:
        dims = ("component", dim, f"{dim}_to")
        ours, theirs = (motif(one).transpose(*dims).to_numpy() for one in (fit, half))
        order, self.similarity = matched_to(ours, theirs)[1:]
        self.fit, self.test = half.isel(component=order), test


def learned_apart(model: Any, data: xr.Dataset, fit: xr.Dataset) -> Iterator[Learned]:
    """Motifs of the even and of the odd stretches."""
    dim = affinity_parts(data).dim
    for train, test in halves(data):
        yield Learned(model.fit(train), fit, dim, test)


def halves(data: xr.Dataset) -> Iterator[tuple[xr.Dataset, np.ndarray]]:
    """What to learn from, and where to test: alternate stretches, apart by what smoothing joins."""
    n, reach = data.sizes["time"], smoothing_reach(data)
    stretch = np.arange(n) * n_stretches(data) // n
    edges = session_edges(data["drive_up"])
    session = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    for parity in (0, 1):
        test = stretch % 2 == parity
        near = np.convolve(test, np.ones(2 * reach + 1), mode="full")[reach : reach + n] > 0.5
        train = np.flatnonzero(~near)
        if train.size < max(2, n // 8):
            raise SchemaError(
                "there is too little time to learn motifs from one half of it", code="NT-DATA-010",
                found=f"{n} samples, of which smoothing joins {reach} on either side",
            )  # fmt: skip
        piece = stretch[train] + N_STRETCHES * session[train]
        yield data.isel(time=train).assign_coords(session=("time", piece)), np.flatnonzero(test)


def n_stretches(data: xr.Dataset) -> int:
    """As many as leave at least two thirds of a stretch to learn from, at most ten."""
    return int(np.clip(data.sizes["time"] // (6 * smoothing_reach(data)), 2, N_STRETCHES))


def reach_s(data: xr.Dataset) -> float:
    """Seconds over which neighbouring affinities share traces."""
    return smoothing_reach(data) * float(np.median(np.diff(data["time"].to_numpy())))


# ---- strength -------------------------------------------------------------------------------------------
def strengths(learned: list[Learned], data: xr.Dataset) -> np.ndarray:
    """Length of every motif's part of the affinities at the moments that it was not learned from.

    Every half counts by the square of the cosine between its motif and the fit's.
    """
    parts = affinity_parts(data)
    squared = np.zeros(learned[0].fit.sizes["component"])
    layout = None
    for one in learned:
        layout, patterns = laid_out(one.fit, parts, layout)
        space, subject = patterns[None], subject_of(one.fit, parts)
        product, matrix = ntf.time_terms(layout.project(space), layout.grams(space), subject)
        times = tensor.nonnegative_solve(product[..., one.test], matrix, TOL, MAX_ROUNDS)
        squared += one.similarity**2 * np.diagonal(matrix[0]) * (times[0] ** 2).sum(axis=-1)
    return np.sqrt(squared)


def strengths_of_same(model: Any, learned: list[Learned], data: xr.Dataset) -> np.ndarray:
    """Strengths of the motifs that were learned before."""
    return strengths(learned, data)


def strengths_anew(model: Any, learned: list[Learned], data: xr.Dataset) -> np.ndarray:
    """Strengths, largest first, of the motifs that are learned from these data."""
    return np.sort(strengths(list(learned_apart(model, data, model.fit(data))), data))[::-1]


def same_motifs(own: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p-values of motifs against the same motifs in surrogates, alone and as a family."""
    return tail(own, drawn), family_wise(*standardised(own, drawn))


def other_motifs(own: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p-values against all motifs of surrogates, and against the strongest of each."""
    everything = np.broadcast_to(drawn.reshape(-1, 1), (drawn.size, own.size))
    return tail(own, everything), family_wise(own, drawn)


@dataclass(frozen=True)
class Way:
    """How motifs of surrogates are found, what they make of the recording's, and what is usual of them."""

    measure: Callable[[Any, list[Learned], xr.Dataset], np.ndarray]
    chances: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    usual: Callable[[np.ndarray], np.ndarray]


LEARN = {
    "once": Way(strengths_of_same, same_motifs, lambda drawn: drawn.mean(axis=0)),
    "anew": Way(strengths_anew, other_motifs, lambda drawn: np.full(drawn.shape[1], drawn[:, 0].mean())),
}


def _shifted(data: xr.Dataset, seed: int, least_s: float) -> Any:
    return circular_shift(data, min_shift_s=least_s, seed=seed)


def _randomised(data: xr.Dataset, seed: int, least_s: float) -> Any:
    return phase_randomise(data, seed=seed)


def _together(data: xr.Dataset, seed: int, least_s: float) -> Any:
    return phase_randomise(data, together=True, seed=seed)


SURROGATES: dict[str, Surrogate] = {
    "circular_shift": _shifted,
    "phase_randomise": _randomised,
    "common_phases": _together,
}
