"""The factorisation against other software from the same start, and against planted truth."""

from __future__ import annotations

import numpy as np
import xarray as xr

import neurotools as nt
from benchmarks import planted, sweeps
from benchmarks.ntf import random_start, tensorly_hals
from benchmarks.record import Row, shared
from neurotools.numerics import cp

SEEDS = range(10)


# ---- the same start as tensorly -------------------------------------------------------------------------
def equals_tensorly() -> list[Row]:
    """Sweeps over dense tensors, from tensorly's starts and with as many rounds in one update."""
    return [*live_rows(), *frozen_rows()]


def live_rows() -> list[Row]:
    """200 x 200 x 300, rank 10, ten per cent noise, three starts: both run here."""
    x, truth = planted.symmetric_tensor()
    gaps, ours, theirs, factor_gaps = [], [], [], []
    for start in (random_start(x, len(truth[0]), seed) for seed in (1, 2, 3)):
        factors, errors = ours_from(x, start, 20)
        their_factors, their_errors = tensorly_hals(x, start, 20)
        gaps.append(abs(errors[-1] - their_errors[-1]))
        ours.append((errors[-1], worst(factors, truth)))
        theirs.append((their_errors[-1], worst(their_factors, truth)))
        factor_gaps.append(largest_gap(ours_from(x, start, 5)[0], tensorly_hals(x, start, 5)[0]))
    note = "errors " + ", ".join(f"{error:.4f}" for error, _ in ours)
    signal = np.einsum("rij,rt->ijt", truth[0][:, :, None] * truth[1][:, None, :], truth[2], optimize=True)
    note += f"; the planted truth {np.linalg.norm(x - signal) / np.linalg.norm(x):.4f}"
    size = "200 x 200 x 300, rank 10, three starts"
    return [
        Row(f"error after 20 sweeps less tensorly's, {size}", max(gaps), "<= 1e-4", note=note),
        Row(f"largest difference of factors after 5 sweeps, {size}", max(factor_gaps), "<= 1e-10"),
        Row("least congruence of planted components, best start", min(ours)[1], ">= 0.999"),
        Row("the same, tensorly", min(theirs)[1]),
    ]


def frozen_rows() -> list[Row]:
    """60 x 60 x 80, rank 5: tensorly's and tensortools' stored results from a stored start."""
    with np.load(shared("reference/ntf") / "planted.npz", allow_pickle=False) as file:
        stored = {name: file[name] for name in file.files}
    x = stored["X"].astype("float64")
    start = [stored[f"init_{mode}"].T for mode in range(3)]
    rows = []
    for n_sweeps in (1, 5):
        found, _ = ours_from(x, start, n_sweeps)
        kept = [stored[f"tensorly_hals_{n_sweeps}_factor{mode}"].T for mode in range(3)]
        compared = f"largest difference of factors after {n_sweeps} sweep(s), stored"
        rows.append(Row(compared, largest_gap(found, kept), "<= 1e-10"))
    found, errors = ours_from(x, start, 20)
    for peer in ("tensorly", "tensortools"):
        kept_error = float(stored[f"{peer}_hals_20_relerr"])
        rows.append(
            Row(f"error after 20 sweeps less that of {peer}, stored", abs(errors[-1] - kept_error), "<= 1e-4")
        )
    truth = [stored[f"planted_{mode}"].T for mode in range(3)]
    return [*rows, Row("least congruence of planted components, stored", worst(found, truth), ">= 0.999")]


def ours_from(x: np.ndarray, start: list[np.ndarray], n_sweeps: int) -> tuple[list[np.ndarray], list[float]]:
    """Factors and errors of our sweeps from a start (component, entry)."""
    factors, errors = [np.ascontiguousarray(f[None]) for f in start], []
    for _ in range(n_sweeps):
        factors, error = cp.sweep(x, factors, sweeps.PASSES)
        errors.append(float(error[0]))
    return [factor[0] for factor in factors], errors


def largest_gap(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Largest difference over the largest entry of each factor."""
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(found, expected, strict=True))


def worst(found: list[np.ndarray], truth: list[np.ndarray]) -> float:
    """Least cosine of a planted component with the one that is matched to it."""
    return float(planted.congruences(found, truth).min())


# ---- planted truth --------------------------------------------------------------------------------------
def recovers_planted() -> list[Row]:
    """Five components in six animals, 20 units, ten per cent noise, over ten seeds.

    Fixed beforehand: three restarts, at most 300 sweeps, the one with the lowest error; congruence over
    motif, subject and time together, the least of the five components.
    """
    rows = []
    for layout in ("pair", "symcp"):
        for hidden in (0.0, 0.3):
            found = np.array([least_congruence(seed, layout, hidden) for seed in SEEDS])
            rows.append(
                Row(
                    f"least congruence of ten seeds, {layout}, {100 * hidden:.0f} % of rows hidden",
                    float(found.min()), ">= 0.95", interval=(float(found.min()), float(found.max())),
                    note=f"mean {found.mean():.4f}",
                )
            )  # fmt: skip
    return rows


def least_congruence(seed: int, layout: str, hidden: float) -> float:
    """Fit planted affinities by the public face and match what was found."""
    values, seen, truth = planted.pair_tensor(seed, outer=layout == "symcp", hidden=hidden)
    data = xr.DataArray(
        values, dims=("subject", "unit", "unit_to", "time"), coords={"unit": np.arange(seen.shape[1])}
    )
    fit = nt.NTF(rank=len(truth[0]), layout=layout, n_restarts=3, max_iter=300, seed=seed).fit(data)
    motif = nt.motif(fit).transpose("component", "unit", "unit_to").to_numpy()
    motif = motif * (1 - np.eye(motif.shape[-1]))
    found = [
        motif.reshape(len(motif), -1),
        fit["subject_loading"].transpose("component", "subject").to_numpy(),
        fit["time_loading"].transpose("component", "time").to_numpy(),
    ]
    return float(planted.congruences(found, truth).min())
