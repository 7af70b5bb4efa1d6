"""From simulated animals to intervals: what was planted is found, and shifting units leaves nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

import neurotools as nt
from benchmarks.planted import congruences
from benchmarks.record import Row

SEEDS = range(100, 105)
SMOOTH_S = 0.6
PAUSE_S = 3 * SMOOTH_S
MODEL = nt.NTF(3, n_restarts=5, tol=1e-5)


def end_to_end() -> list[Row]:
    """Eight animals, three motifs, two stimuli, a fifth of the rows missing, calcium and noise; five seeds.

    Fixed beforehand: the simulator's defaults but 400 s; slopes at 0.6 s in the traces' own unit; rank 3,
    five starts; pauses of a motif shorter than three widths do not end an interval. Edges are compared with
    those of the planted interval that shares most time, and calcium takes 0.2 s to decay.
    """
    found = [one_seed(seed) for seed in SEEDS]
    edges = np.concatenate([one["edges"] for one in found]) / SMOOTH_S
    nmi, rho = (np.concatenate([one[name] for one in found]) for name in ("nmi", "rho"))
    stable = np.array([one["null_stability"] for one in found])
    own = np.array([one["stability"] for one in found])
    tested, null = (np.array([one[name] for one in found]) for name in ("above", "null_above"))
    n = f"{nmi.size} motifs of {len(found)} seeds"
    return [
        Row(f"communities: least mutual information of {n}", float(nmi.min()), ">= 0.9",
            note=f"mean {nmi.mean():.3f}"),
        Row(f"animals: least correlation of loadings, {n}", float(rho.min()), ">= 0.95",
            note=f"mean {rho.mean():.3f}"),
        Row("edges of intervals: largest error, in smoothing widths", float(np.abs(edges).max()), "<= 2",
            note=f"{edges.size} edges, {100 * np.mean(np.abs(edges) <= 2):.1f} % within 2, "
            f"begins {edges[::2].mean():+.2f}, ends {edges[1::2].mean():+.2f}"),
        Row("intervals that overlap no planted one", float(sum(one["spurious"] for one in found)),
            note=f"of {sum(one['n_intervals'] for one in found)}"),
        Row("least stability of a motif over starts", float(own.min())),
        Row("the same, units shifted: most stable component of any seed", float(stable.max()), "<= 0.5",
            note="cosine over motif, animal and time with the matched component of the other starts, mean; "
            f"by seed {np.round(stable, 2).tolist()}"),
        Row("motifs above chance, of 15", float(tested.sum()), ">= 15"),
        Row("the same, units shifted", float(null.sum()), "<= 1"),
    ]  # fmt: skip


def one_seed(seed: int) -> dict[str, np.ndarray | float]:
    """Everything that is compared, for one simulated set of animals."""
    recording, truth = nt.simulate.stimulated_communities(duration_s=400.0, seed=seed)
    affinity = nt.differential_affinity(recording["calcium/activity"], smooth_s=SMOOTH_S, normalise="none")
    fit = MODEL.fit(affinity)
    match = matched(truth["motif"], nt.motif(fit))
    communities = nt.BlockModel().fit(nt.motif(fit))
    connectome = nt.dynamic_connectome(fit, communities, min_pause_s=PAUSE_S)
    edges, spurious = edge_errors(truth, connectome, match)
    shifted = nt.circular_shift(affinity, min_shift_s=10.0, seed=seed)
    above, null_above = (
        int((nt.motif_null(replace(MODEL, n_restarts=2), data, n_null=19)["p_corrected"] <= 0.05).sum())
        for data in (affinity, shifted)
    )
    return {
        "nmi": np.array([shared_label(truth, communities, k, match[k]) for k in range(3)]),
        "rho": np.array([
            np.corrcoef(truth["subject_loading"][k], fit["subject_loading"][match[k]])[0, 1] for k in range(3)
        ]),
        "edges": edges, "spurious": spurious, "n_intervals": connectome.sizes["interval"],
        "stability": stability(affinity).min(), "null_stability": stability(shifted).max(),
        "above": above, "null_above": null_above,
    }  # fmt: skip


def matched(truth: xr.DataArray, found: xr.DataArray) -> np.ndarray:
    """Component of the fit that resembles each planted motif most, each once."""
    from scipy.optimize import linear_sum_assignment

    left, right = (one.to_numpy().reshape(one.sizes["component"], -1) for one in (truth, found))
    cosine = (left @ right.T) / np.linalg.norm(left, axis=1)[:, None] / np.linalg.norm(right, axis=1)
    return linear_sum_assignment(cosine, maximize=True)[1]


def shared_label(truth: xr.Dataset, communities: xr.Dataset, planted: int, found: int) -> float:
    """Normalised mutual information of planted and found communities."""
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(truth["label"][planted], communities["label"][found]))


def edge_errors(truth: xr.Dataset, connectome: xr.Dataset, match: np.ndarray) -> tuple[np.ndarray, int]:
    """Error in s of every begin and end in turn (infinite where there is none), and intervals too many."""
    errors: list[float] = []
    spurious = 0
    for planted, found in enumerate(match):
        ours = connectome["interval_component"].to_numpy() == found
        theirs = truth["interval_component"].to_numpy() == planted
        start, stop = (connectome[f"interval_{side}"].to_numpy()[ours] for side in ("start", "stop"))
        first, last = (truth[f"interval_{side}"].to_numpy()[theirs] for side in ("start", "stop"))
        shared = np.minimum(last[:, None], stop) - np.maximum(first[:, None], start)
        spurious += int((shared.max(axis=0, initial=0) <= 0).sum())
        for k, row in enumerate(shared):
            best = int(row.argmax()) if row.size else 0
            seen = row.size and row[best] > 0
            errors += [start[best] - first[k], stop[best] - last[k]] if seen else [np.inf, np.inf]
    return np.array(errors), spurious


def stability(affinity: xr.Dataset) -> np.ndarray:
    """Mean cosine of each component with its match in other starts, over motif, animal and time."""
    fits = [replace(MODEL, n_restarts=1, seed=50 + k).fit(affinity) for k in range(MODEL.n_restarts)]
    modes = [modes_of(fit) for fit in fits]
    best = int(np.argmin([fit.attrs["relative_error"] for fit in fits]))
    others = [mode for k, mode in enumerate(modes) if k != best]
    return np.mean([congruences(other, modes[best]) for other in others], axis=0)


def modes_of(fit: xr.Dataset) -> list[np.ndarray]:
    """Motifs, animals and time courses, (component, entry)."""
    motif = nt.motif(fit).to_numpy().reshape(fit.sizes["component"], -1)
    return [motif, *(fit[name].transpose("component", ...).to_numpy() for name in
                     ("subject_loading", "time_loading"))]  # fmt: skip
