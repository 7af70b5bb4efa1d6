"""Four freely moving worms, fitted one by one: whether motifs follow behaviour, and foretell it."""

from __future__ import annotations

import numpy as np
import xarray as xr

import neurotools as nt
from benchmarks.record import Row, shared
from neurotools.evaluate.nulls import fisher_combined

FOLDER = "data/calcium_celegans_wholebrain_h5"
BEHAVIOURS = ("velocity", "reversal_vec")
SMOOTH_S = 1.2  # two frames, as for the songbird
N_SHIFTS = 1000
MIN_SHIFT_S = 20.0


def behaviour() -> list[Row]:
    """Largest absolute rank correlation over motifs and {velocity, reversal}, against shifted behaviour.

    Rank 8 and a smoothing of two frames were fixed beforehand. The files name no neurons, so units cannot be
    matched across worms and each is fitted alone.
    """
    rows = []
    for file in sorted(shared(FOLDER).glob("*.h5")):
        found = association(nt.load(file))
        low, high = np.quantile(found["null"], [0.025, 0.975])
        note = f"statistic {float(found['statistic']):.3f}, null {low:.3f} to {high:.3f}"
        rows.append(Row(f"p, worm {file.stem}", float(found["p_value"]), note=note))
    combined = fisher_combined(np.array([row.number for row in rows]))
    return [*rows, Row("Fisher's combined p over four worms", combined, "<= 0.01")]


def association(recording: xr.DataTree) -> xr.Dataset:
    """The test on one worm, traces and behaviour both put on the regular clock of the median step."""
    activity = recording["calcium/activity"]
    sfreq = 1.0 / float(np.median(np.diff(activity["time"])))
    affinity = nt.differential_affinity(nt.resample(activity, sfreq=sfreq), smooth_s=SMOOTH_S)
    fit = nt.NTF(rank=8, n_restarts=10, seed=0).fit(affinity)
    moves = recording["behaviour"].to_dataset()[list(BEHAVIOURS)].astype("float64")
    regular = moves.interp(time=fit["time"]).drop_vars("time")
    return nt.association_test(
        fit["time_loading"], regular, n_shifts=N_SHIFTS, min_shift_s=MIN_SHIFT_S, seed=0
    )


# ---- the last third foretold from the first ---------------------------------------------------------------
TRAIN, GAP_S, RANK = 0.7, 20.0, 8
PENALTIES = np.logspace(-2, 4, 13)  # of the ridge, times the number of samples over 1,000
N_FOLDS = 5


def foretold() -> list[Row]:
    """Velocity and reversals of the last 30 % of time, by ridge from what was learned on the first 70 %.

    Fixed beforehand: rank 8, ten starts, smoothing of two frames, a gap of 20 s; slopes in units of the
    training traces' standard deviation. Beside it the same ridge on the first 8 principal components of the
    training traces. The penalty is chosen by five stretches within the training time. The score is the
    correlation of prediction and behaviour; its null shifts behaviour circularly within the last 30 %, by at
    least 20 s, 1,000 times.
    """
    rows = []
    p: dict[str, list[float]] = {}
    for file in sorted(shared(FOLDER).glob("*.h5")):
        activity, moves = regular(nt.load(file))
        n = activity.sizes["time"]
        gap = round(GAP_S / float(activity["time"].diff("time").median()))
        known, asked = np.arange(int(TRAIN * n) - gap), np.arange(int(TRAIN * n), n)
        for name, features in features_of(activity, known).items():
            for behaviour, y in moves.items():
                r, value, low, high = foretell(features, y.to_numpy(), known, asked, gap)
                p.setdefault(name, []).append(value)
                rows.append(Row(f"{file.stem}, {behaviour}: correlation from {name}", r,
                                note=f"p {value:.3f}, null {low:.2f} to {high:.2f}"))  # fmt: skip
    for name, values in p.items():
        low = sum(value <= 0.05 for value in values)
        rows.append(Row(f"of {len(values)}, foretold with p at most .05 from {name}", float(low),
                        note=f"Fisher's combined p {fisher_combined(np.array(values)):.2g}, as if the two "
                        "behaviours of a worm were independent"))  # fmt: skip
    return rows


def regular(recording: xr.DataTree) -> tuple[xr.DataArray, dict[str, xr.DataArray]]:
    """Traces and behaviours on the regular clock of the median step."""
    activity = recording["calcium/activity"]
    sfreq = 1.0 / float(np.median(np.diff(activity["time"])))
    activity = nt.resample(activity, sfreq=sfreq).transpose("unit", "time")
    moves = (
        recording["behaviour"].to_dataset()[list(BEHAVIOURS)].astype("float64").interp(time=activity["time"])
    )
    kept = np.isfinite(np.stack([moves[name] for name in BEHAVIOURS])).all(axis=0)
    inside = slice(int(kept.argmax()), int(kept.size - kept[::-1].argmax()))
    return activity.isel(time=inside), {name: moves[name].isel(time=inside) for name in BEHAVIOURS}


def features_of(activity: xr.DataArray, known: np.ndarray) -> dict[str, np.ndarray]:
    """Time courses (time, feature) of motifs and of principal components, learned from known time."""
    train = activity.isel(time=known)
    scaled = (activity - train.mean("time")) / train.std("time")
    affinity = nt.differential_affinity(scaled, smooth_s=SMOOTH_S, normalise="none")
    model = nt.NTF(RANK, n_restarts=10, seed=0)
    fit = model.fit(affinity.isel(time=known))
    motifs = model.transform(fit, affinity).transpose("time", "component").to_numpy()
    values = scaled.to_numpy()
    patterns = np.linalg.svd(values[:, known], full_matrices=False)[0][:, :RANK]
    return {"motifs": motifs, "principal components": values.T @ patterns}


def foretell(
    features: np.ndarray, y: np.ndarray, known: np.ndarray, asked: np.ndarray, least: int
) -> tuple[float, float, float, float]:
    """Correlation on the asked time, its p-value, and 95 % of its null (shifts of at least ``least``)."""
    from neurotools.evaluate.nulls import p_value

    x = (features - features[known].mean(axis=0)) / features[known].std(axis=0)
    stretches = np.array_split(known, N_FOLDS)
    losses = []
    for penalty in PENALTIES:
        left = 0.0
        for held in stretches:
            rest = np.setdiff1d(known, held)
            left += float(((y[held] - ridge(x[rest], y[rest], penalty, x[held])) ** 2).sum())
        losses.append(left)
    guess = ridge(x[known], y[known], PENALTIES[int(np.argmin(losses))], x[asked])
    truth = y[asked]
    rng = np.random.default_rng(0)
    shifts = rng.integers(least, truth.size - least + 1, N_SHIFTS)
    null = np.array([correlation(guess, np.roll(truth, shift)) for shift in shifts])
    r = correlation(guess, truth)
    return r, p_value(r, null), *np.quantile(null, [0.025, 0.975]).tolist()


def ridge(x: np.ndarray, y: np.ndarray, penalty: float, there: np.ndarray) -> np.ndarray:
    """Prediction of ridge regression with a free mean."""
    centre, mean = x.mean(axis=0), y.mean()
    gram = (x - centre).T @ (x - centre) + penalty * len(x) / 1000 * np.eye(x.shape[1])
    return mean + (there - centre) @ np.linalg.solve(gram, (x - centre).T @ (y - mean))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's, zero where one is constant."""
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else 0.0


# ---- one recording as several animals -------------------------------------------------------------------
def hidden_units(n_animals: int = 5, hidden: float = 0.3, rank: int = 4) -> list[Row]:
    """Every worm as five animals on one clock, each without a random 30 % of the units.

    Motifs of the five together beside those of the whole recording; both from ten starts, at rank 4. No
    animal has every unit, and all pairs were seen by someone.
    """
    rows = []
    model = nt.NTF(rank, n_restarts=10, seed=0)
    for file in sorted(shared(FOLDER).glob("*.h5")):
        activity, _ = regular(nt.load(file))
        several = xr.concat([activity] * n_animals, dim=xr.DataArray(np.arange(n_animals), dims="subject"))
        seen = np.random.default_rng(0).random((n_animals, activity.sizes["unit"])) >= hidden
        several = several.where(xr.DataArray(seen, dims=("subject", "unit")))
        whole, parts = (
            model.fit(nt.differential_affinity(x, smooth_s=SMOOTH_S))
            for x in (activity, several.transpose("subject", "unit", "time"))
        )
        together = (seen.T.astype(int) @ seen.astype(int)) > 0
        cosine = matched_cosines(whole, parts, together)
        similar = whole["restart_similarity"].to_numpy()[np.triu_indices(10, 1)].mean()
        note = f"each {np.round(cosine, 3).tolist()}; starts of the whole agree to {similar:.2f}"
        note += f"; {100 * together.mean():.1f} % of pairs seen"
        rows.append(
            Row(f"{file.stem}: mean cosine of motif and time course", float(cosine.mean()), note=note)
        )
    return rows


def matched_cosines(whole: xr.Dataset, parts: xr.Dataset, together: np.ndarray) -> np.ndarray:
    """Cosine of matched components over motif (pairs that were seen together) and time."""
    from benchmarks.planted import congruences

    modes = []
    for fit in (whole, parts):
        motif = nt.motif(fit).transpose("component", "unit", "unit_to").to_numpy() * together
        time = fit["time_loading"].transpose("component", "time").to_numpy()
        modes.append([motif.reshape(len(motif), -1), time])
    return congruences(modes[1], modes[0])
