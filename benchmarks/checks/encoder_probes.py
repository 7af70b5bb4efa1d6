"""Linear probes on held-out runs: a trained encoder, the same untrained, band power, the signal itself.

Each set has one subject, so what is held out are runs (for open and closed eyes, stretches of the only two):
nothing is said about people who were not recorded.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import neurotools as nt
from benchmarks.checks.encoder_runs import fitted
from benchmarks.record import Row, shared

BANDS = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 40.0),
}
N_BOOTSTRAP = 2000
STEPS = 60
STEPS_UNTRAINED = 10  # of normalisation
N_UNTRAINED = 3  # seeds
TASKS = {"n170": "houses or faces", "p300": "target or not"}


@dataclass(frozen=True)
class Fold:
    """What an encoder may train on, and labelled windows with the part that is held out."""

    unlabelled: xr.DataArray
    windows: xr.DataArray  # with the coordinates ``condition`` and ``part``
    held_out: np.ndarray  # (window,)
    seed: int


# ---- recordings -----------------------------------------------------------------------------------------
def clean(path: Path) -> tuple[xr.DataArray, xr.Dataset | None]:
    """Signal from 1 to 40 Hz, without zeros at its end, and events."""
    recording = nt.load(path)
    signal = recording["eeg/signal"]
    alive = np.flatnonzero((signal.to_numpy() != 0).any(0))
    signal = nt.filter(signal.isel(time=slice(0, int(alive[-1]) + 1)), low=1.0, high=40.0)
    events = recording["events"].to_dataset() if "events" in recording.children else None
    return signal, events


def trials_of(
    signal: xr.DataArray, events: xr.Dataset, kinds: tuple[str, str], first_s: float, length_s: float
) -> xr.DataArray:
    """Trials of two kinds as windows, from ``first_s`` after the event."""
    kept = events.isel(event=np.isin(events["trial_type"].to_numpy().astype(str), kinds))
    last_s = first_s + length_s - 1 / float(signal.attrs["sfreq"])
    found = nt.epochs(signal, kept, tmin=first_s, tmax=last_s, edge="drop")
    plain = found.drop_vars("trial").rename(trial="window")
    keep = {
        "window": ("window", found["onset"].to_numpy() + first_s),
        "condition": ("window", found["trial_type"].to_numpy().astype(str)),
    }
    names = [name for name in plain.coords if plain[name].dims == ("window",)]
    return plain.drop_vars(names).assign_coords(keep).drop_indexes("window")  # fmt: skip


def muse_folds(task: str) -> list[Fold]:
    """Six runs, two of them held out in each of three folds; trials of 1 s from the event."""
    paths = sorted(next(shared("data/eeg_muse_erp").glob(f"{task}*")).rglob("*.csv"))
    unlabelled, labelled = {}, {}
    for k, path in enumerate(paths):
        signal, events = clean(path)
        assert events is not None
        unlabelled[str(k)] = nt.windows(signal, length_s=1.0)
        labelled[str(k)] = trials_of(signal, events, ("1", "2"), 0.0, 1.0)
    return folds_of(unlabelled, labelled, [(str(2 * k), str(2 * k + 1)) for k in range(3)])


def imagery_folds() -> list[Fold]:
    """Imagined left or right fist, three runs, one held out in each fold; 0.5 to 2.5 s after the cue."""
    unlabelled, labelled = {}, {}
    for run in ("R03", "R04", "R08", "R12"):
        signal, events = clean(shared("data/eeg_eegmmidb_s001") / f"S001{run}.edf")
        assert events is not None
        unlabelled[run] = nt.windows(signal, length_s=2.0, overlap=0.5)
        if run != "R03":
            labelled[run] = trials_of(signal, events, ("T1", "T2"), 0.5, 2.0)
    return folds_of(unlabelled, labelled, [("R04",), ("R08",), ("R12",)])


def eyes_folds() -> list[Fold]:
    """Eyes open or closed, one minute each; one of three stretches is held out, two windows apart.

    The encoder trains on the four other runs alone.
    """
    folder = shared("data/eeg_eegmmidb_s001")
    unlabelled = {
        run: nt.windows(clean(folder / f"S001{run}.edf")[0], length_s=2.0, overlap=0.5)
        for run in ("R03", "R04", "R08", "R12")
    }
    parts = {}
    for run, kind in (("R01", "open"), ("R02", "closed")):
        found = nt.windows(clean(folder / f"S001{run}.edf")[0], length_s=2.0)
        parts[run] = found.assign_coords(
            condition=("window", np.full(found.sizes["window"], kind)),
            part=("window", np.arange(found.sizes["window"]) * 3 // found.sizes["window"]),
        )
    windows = nt.encoders.join(parts)
    return [Fold(nt.encoders.join(unlabelled), windows, windows["part"].to_numpy() == k, k) for k in range(3)]


def folds_of(
    unlabelled: Mapping[str, xr.DataArray], labelled: Mapping[str, xr.DataArray], out: list[tuple[str, ...]]
) -> list[Fold]:
    """Whole runs held out from the encoder's training as well as from the probe's."""
    windows = nt.encoders.join(labelled)
    windows = windows.assign_coords(part=("window", windows["recording"].to_numpy()))
    return [
        Fold(
            nt.encoders.join({k: v for k, v in unlabelled.items() if k not in runs}), windows,
            np.isin(windows["recording"].to_numpy(), runs), seed,
        )
        for seed, runs in enumerate(out)
    ]  # fmt: skip


# ---- features -------------------------------------------------------------------------------------------
def encoded(fold: Fold, rate: float, seed: int) -> np.ndarray:
    """Features of all labelled windows; a rate of zero lets normalisation alone follow the data."""
    model = nt.encoders.create(
        "neurogpt-nano",
        seed=seed,
        steps=STEPS if rate else STEPS_UNTRAINED,
        rate=rate,
        batch=16,
        check_every=20,
        patience=0,
    )
    with tempfile.TemporaryDirectory() as place:
        fit = fitted(model, fold.unlabelled, place, "recording")
        return model.transform(fit, fold.windows, pool="flat").to_numpy()


def band_power(fold: Fold) -> np.ndarray:
    """Logarithm of the power of each channel in five bands."""
    windows = fold.windows
    length_s = windows.sizes["time"] / float(windows.attrs["sfreq"])
    plain = windows.drop_vars([name for name in windows.coords if windows[name].dims == ("window",)])
    power = nt.band_power(plain, BANDS, window_s=length_s, overlap=0.0)
    return np.log(power.transpose("window", ...).to_numpy().reshape(windows.sizes["window"], -1))


def signal_itself(fold: Fold) -> np.ndarray:
    """Means of 32 stretches of each window and channel."""
    values = fold.windows.to_numpy()
    n = values.shape[2] // 32 * 32
    return values[..., :n].reshape(*values.shape[:2], 32, -1).mean(-1).reshape(len(values), -1)


# several features of one kind: their scores are averaged
FEATURES: dict[str, Callable[[Fold], list[np.ndarray]]] = {
    "trained": lambda fold: [encoded(fold, 1e-3, fold.seed)],
    "untrained": lambda fold: [encoded(fold, 0.0, 10 * k + fold.seed) for k in range(N_UNTRAINED)],
    "band power": lambda fold: [band_power(fold)],
    "signal": lambda fold: [signal_itself(fold)],
}


# ---- probes -----------------------------------------------------------------------------------------------
def probe(features: np.ndarray, fold: Fold) -> np.ndarray:
    """Whether each held-out window is told right, by logistic regression chosen inside the other parts."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    y, part = fold.windows["condition"].to_numpy(), fold.windows["part"].to_numpy()
    train = ~fold.held_out
    steps = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
    search = GridSearchCV(
        steps, {"logisticregression__C": [1e-4, 1e-2, 1.0]},
        cv=GroupKFold(len(np.unique(part[train]))), scoring="balanced_accuracy",
    )  # fmt: skip
    search.fit(features[train], y[train], groups=part[train])
    return (search.predict(features[fold.held_out]) == y[fold.held_out]).astype(float)


def balanced(right: np.ndarray, kind: np.ndarray) -> float:
    """Mean over classes of the share told right."""
    return float(np.mean([right[kind == one].mean() for one in np.unique(kind)]))


def rows_of(name: str, folds: list[Fold]) -> list[Row]:
    """Balanced accuracy of every kind of feature, with intervals over held-out windows."""
    kind = np.concatenate([fold.windows["condition"].to_numpy()[fold.held_out] for fold in folds])
    each: dict[str, np.ndarray] = {
        method: np.concatenate([np.array([probe(z, fold) for z in of(fold)]) for fold in folds], axis=1)
        for method, of in FEATURES.items()
    }
    right: dict[str, Any] = {method: values.mean(0) for method, values in each.items()}
    rng = np.random.default_rng(0)
    draws = [
        np.concatenate(
            [rng.choice(np.flatnonzero(kind == one), (kind == one).sum()) for one in np.unique(kind)]
        )
        for _ in range(N_BOOTSTRAP)
    ]
    rows = []
    for method, values in right.items():
        scores = [balanced(values[d], kind[d]) for d in draws]
        low, high = np.quantile(scores, [0.025, 0.975])
        note = f"{len(kind)} held-out windows"
        if len(each[method]) > 1:
            seeds = ", ".join(f"{balanced(one, kind):.3f}" for one in each[method])
            note = f"{note}; mean of {len(each[method])} seeds: {seeds}"
        rows.append(
            Row(f"{name}: {method}", balanced(values, kind), interval=(float(low), float(high)), note=note)
        )
    gain = right["trained"] - right["untrained"]
    low, high = np.quantile([balanced(gain[d], kind[d]) for d in draws], [0.025, 0.975])
    best = max(right, key=lambda method: balanced(right[method], kind))
    last = Row(
        f"{name}: trained less untrained", balanced(gain, kind), interval=(float(low), float(high)),
        note=f"highest: {best}",
    )  # fmt: skip
    return [*rows, last]


def eyes() -> list[Row]:
    """Balanced accuracy (chance 0.5); neurogpt-nano, 60 steps on four other runs; three stretches, seeds."""
    return rows_of("eyes open or closed", eyes_folds())


def imagery() -> list[Row]:
    """Balanced accuracy, chance 0.5; neurogpt-nano, 60 steps on the other runs, three runs and seeds."""
    return rows_of("imagined left or right fist", imagery_folds())


def muse() -> list[Row]:
    """Balanced accuracy (chance 0.5); neurogpt-nano, 60 steps on the other runs; three pairs of runs."""
    return [row for task, words in TASKS.items() for row in rows_of(f"Muse, {words}", muse_folds(task))]
