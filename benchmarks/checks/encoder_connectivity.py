"""Masked dynamic connectivity judged on recordings it never saw, beside what needs no training.

Windows that are compared share no sample. Edges are the largest 30 % of the correlations of a window; the
area under the curve says how well a method orders the pairs that were hidden from the network.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

import neurotools as nt
from benchmarks.checks.encoder_runs import fitted, interval
from benchmarks.record import Row, shared

TR = 0.72  # s
N_TIMES, LENGTH = 1200, 50
N_MASKS = 4  # draws of hidden regions for each window
TRAINING: dict[str, Any] = {
    "width": 64, "decoder_layers": 2, "sequence": 7, "steps": 2000, "batch": 16, "rate": 2e-3,
    "check_every": 100, "patience": 0,
}  # fmt: skip
BASELINES = ("window before", "mean of all other windows", "mean of window before and after")

# ---- recordings -----------------------------------------------------------------------------------------
N_REGIONS, N_STATES, N_SHARED, N_OWN = 30, 4, 3, 4


def switching(n_subjects: int, seed: int) -> dict[str, xr.DataArray]:
    """Series whose covariance switches between four states; the coordinate ``state`` says which.

    Factors that all states share and factors of each state weigh the same; every sample stays in its state
    with probability 1 - 1/150. Covariances are drawn once (seed 20261121), series by ``seed``.
    """
    world = np.random.default_rng(20261121)
    common = world.normal(size=(N_REGIONS, N_SHARED))
    own = world.normal(size=(N_STATES, N_REGIONS, N_OWN)) * (N_SHARED / N_OWN) ** 0.5
    found = {}
    for subject in range(n_subjects):
        rng = np.random.default_rng((2, seed, subject))
        moves = (rng.random(N_TIMES) < 1 / 150).cumsum()
        state = (rng.integers(0, N_STATES) + np.cumsum(rng.integers(1, N_STATES, N_TIMES))[moves]) % N_STATES
        values = common @ rng.normal(size=(N_SHARED, N_TIMES))
        values += np.einsum("trk,kt->rt", own[state], rng.normal(size=(N_OWN, N_TIMES)))
        values += rng.normal(size=values.shape)
        found[f"s{subject:02d}"] = series(values, [f"r{k:02d}" for k in range(N_REGIONS)]).assign_coords(
            state=("time", state)
        )
    return found


def series(values: np.ndarray, names: list[str]) -> xr.DataArray:
    """Labelled series of regions."""
    return xr.DataArray(
        values.astype("float32"), dims=("region", "time"),
        coords={"region": names, "time": np.arange(values.shape[1]) * TR},
        attrs={"units": "1", "sfreq": 1 / TR},
    )  # fmt: skip


def resting() -> dict[str, xr.DataArray]:
    """Sixteen people at rest, 94 regions, 14 minutes each; slower than 1 / 36 s is filtered out."""
    folder = shared("data/fmri_hcp_aal2_timeseries")
    names = np.loadtxt(folder / "aal2_regions.tsv", dtype=str, delimiter="\t", skiprows=1, usecols=1).tolist()
    with np.load(folder / "hcp_rest1lr_aal2_16subjects.npz", allow_pickle=False) as file:
        bold, people = file["bold"], file["subject"].astype(str)
    return {
        person: nt.filter(series(one - one.mean(-1, keepdims=True), names), low=1 / (LENGTH * TR))
        for person, one in zip(people, bold, strict=True)
    }


def cut(recordings: Mapping[str, xr.DataArray], overlap: float = 0.0) -> xr.DataArray:
    """Windows of all, each with its subject; of windows with states, the state that most samples are in."""
    parts = {}
    for name, one in recordings.items():
        windows = nt.windows(one.drop_vars("state", errors="ignore"), length_s=LENGTH * TR, overlap=overlap)
        if "state" in one.coords:
            first = np.round(windows["window"].to_numpy() / TR).astype(int)
            inside = one["state"].to_numpy()[first[:, None] + np.arange(LENGTH)]
            most = [np.bincount(row, minlength=N_STATES).argmax() for row in inside]
            windows = windows.assign_coords(state=("window", np.array(most)))
        parts[name] = windows
    return nt.encoders.join(parts, "subject")


# ---- the network, and what it is compared with ------------------------------------------------------------
@dataclass(frozen=True)
class Trained:
    """A fit and its network."""

    model: Any
    fit: xr.Dataset
    network: Any

    def features(self, windows: xr.DataArray, pool: str) -> np.ndarray:
        """Of each window."""
        return self.model.transform(self.fit, windows, pool=pool).to_numpy()


def trained(recordings: Mapping[str, xr.DataArray], seed: int, place: str, **settings: Any) -> Trained:
    """Of windows that overlap by half; a fifth of the subjects is watched."""
    from neurotools.models.encoders import folder

    model = nt.encoders.create("stmae-nano", seed=seed, **{**TRAINING, **settings})
    fit = fitted(model, cut(recordings, 0.5), place, "subject")
    return Trained(model, fit, folder.opened(fit).network)


def areas(of: Trained, recording: xr.DataArray, seed: int) -> dict[str, np.ndarray]:
    """Area under the curve of each window but the first and last, by method, for both tasks."""
    import torch

    from neurotools.models.encoders import reading, stmae, stmae_recipe

    windows = cut({"one": recording})
    _, found, scale = reading.laid_out(of.model, of.fit, windows)
    x = found.tensor(np.arange(found.n), scale, 0.0)
    settings, network = of.network.settings, of.network
    matrix = stmae.correlation(x)
    graph = stmae.edges(matrix, settings.edge_share)[1:-1]
    rest = (matrix.sum(0, keepdim=True) - matrix)[1:-1] / (len(matrix) - 1)
    plain = dict(zip(BASELINES, (matrix[:-2], rest, 0.5 * (matrix[:-2] + matrix[2:])), strict=True))
    every = stmae.between_regions(settings.n_regions, x.device).expand_as(graph)
    result: dict[str, list[np.ndarray]] = {}

    def note(task: str, method: str, score: Any, pairs: Any) -> None:
        rows = [
            float(stmae_recipe.area_under_curve(s[p], g[p]))
            for s, g, p in zip(score, graph, pairs, strict=True)
        ]
        result.setdefault(f"{task}: {method}", []).append(np.array(rows))

    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        half = torch.full((len(graph),), 0.5)
        note("window", "network", network.window_between(x[:-2], x[2:], half).edge_logit, every)
        for method, score in plain.items():
            note("window", method, score, every)
        for _ in range(N_MASKS):
            order = torch.rand(len(graph), settings.n_regions, generator=generator).argsort(-1)
            seen = order[:, : settings.n_visible].sort(-1).values
            pairs = stmae_recipe.hidden_pairs(settings, seen)
            note("regions", "network", network.hidden_regions(x[1:-1], seen).edge_logit, pairs)
            for method, score in plain.items():
                note("regions", method, score, pairs)
    return {name: np.mean(rows, axis=0) for name, rows in result.items()}


def area_rows(where: str, by_subject: list[dict[str, np.ndarray]]) -> list[Row]:
    """Areas of all methods, and the network's less each baseline's, with intervals over subjects."""
    mean = {name: np.array([one[name].mean() for one in by_subject]) for name in by_subject[0]}
    n = len(by_subject)
    rows = []
    for task, words in (("regions", "edges of hidden regions"), ("window", "edges of a window left out")):
        for method in ("network", *BASELINES):
            values = mean[f"{task}: {method}"]
            rows.append(Row(f"{where}, {words}: {method}", float(values.mean()), interval=interval(values),
                            note=f"area under the curve, {n} held-out recordings"))  # fmt: skip
        bounds = {"mean of all other windows": ">= 0.05", "mean of window before and after": ">= 0"}
        for method in BASELINES:
            gain = mean[f"{task}: network"] - mean[f"{task}: {method}"]
            rows.append(Row(f"{where}, {words}: network less {method}", float(gain.mean()),
                            bounds.get(method, "report"), interval=interval(gain)))  # fmt: skip
    return rows


def known_states(train: xr.DataArray, test: xr.DataArray) -> list[Row]:
    """What could be reached: the true state of each held-out window, and the mean graph of that state."""
    import torch

    from neurotools.models.encoders import stmae, stmae_recipe

    known, state = torch.from_numpy(upper(train)), train["state"].to_numpy()
    means = torch.stack([known[state == k].mean(0) for k in range(N_STATES)])
    matrix = stmae.correlation(torch.from_numpy(test.to_numpy()))
    graph = stmae.edges(matrix, stmae.STMAESettings().edge_share)
    pairs = stmae.between_regions(matrix.shape[1], matrix.device)
    found = [
        float(stmae_recipe.area_under_curve(means[k], g[pairs]))
        for k, g in zip(test["state"].to_numpy(), graph, strict=True)
    ]
    note = "area under the curve, all edges; without the state's name nothing can be much better"
    return [Row("simulated states: mean graph of the true state", float(np.mean(found)), note=note)]


def upper(windows: xr.DataArray) -> np.ndarray:
    """Correlations of each window, every pair once."""
    import torch

    from neurotools.models.encoders import stmae

    matrix = stmae.correlation(torch.from_numpy(windows.to_numpy())).numpy()
    return matrix[(slice(None), *np.triu_indices(matrix.shape[1], 1))]


def kinds_of_features(of: Trained, train: xr.DataArray, test: xr.DataArray) -> dict[str, tuple[Any, Any]]:
    """(of training, of held-out windows): the encoder's, and principal components of correlations."""
    from sklearn.decomposition import PCA

    known, new = upper(train), upper(test)
    width = of.network.settings.width
    parts = PCA(width, random_state=0).fit(known)
    features: dict[str, Callable[[xr.DataArray], np.ndarray]] = {
        f"encoder, mean over regions ({width})": lambda w: of.features(w, "mean"),
        "encoder, all regions": lambda w: of.features(w, "flat"),
    }
    found = {name: (act(train), act(test)) for name, act in features.items()}
    return {
        **found, f"principal components ({width})": (parts.transform(known), parts.transform(new)),
        "correlations": (known, new),
    }  # fmt: skip


# ---- the checks -------------------------------------------------------------------------------------------
def states() -> list[Row]:
    """Four states known by construction; 24 recordings to train on, 12 held out; windows of 50 samples."""
    recordings = switching(36, 0)
    names = list(recordings)
    train, test = ({k: recordings[k] for k in part} for part in (names[:24], names[24:]))
    with tempfile.TemporaryDirectory() as place:
        of = trained(train, 0, place)
        found = [areas(of, one, k) for k, one in enumerate(test.values())]
        rows = area_rows("simulated states", found)
        known, new = cut(train), cut(test)
        right = {name: told(*pair, known, new) for name, pair in kinds_of_features(of, known, new).items()}
    return [*rows, *known_states(known, new), *state_rows(right, new["subject"].to_numpy())]


def told(train: np.ndarray, test: np.ndarray, known: xr.DataArray, new: xr.DataArray) -> np.ndarray:
    """Whether the state of each held-out window is told right by logistic regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        {"logisticregression__C": [1e-3, 1e-1, 10.0]}, cv=GroupKFold(4),
    )  # fmt: skip
    search.fit(train, known["state"].to_numpy(), groups=known["subject"].to_numpy())
    return (search.predict(test) == new["state"].to_numpy()).astype(float)


def state_rows(right: Mapping[str, np.ndarray], subject: np.ndarray) -> list[Row]:
    """Shares told right, with intervals over held-out recordings."""
    share = {
        name: np.array([v[subject == one].mean() for one in np.unique(subject)]) for name, v in right.items()
    }
    return share_rows("state of a window told right", share, "linear probe, chance about 0.25")


def share_rows(what: str, share: Mapping[str, np.ndarray], note: str) -> list[Row]:
    """Shares told right by each kind of features, and what the encoder's first gains over components."""
    rows = [
        Row(f"{what}: {name}", float(v.mean()), interval=interval(v), note=note) for name, v in share.items()
    ]
    first, pca = next(iter(share)), next(name for name in share if name.startswith("principal"))
    gain = share[first] - share[pca]
    words = "the same: encoder, mean over regions, less principal components"
    return [*rows, Row(words, float(gain.mean()), ">= 0", interval=interval(gain))]


def rest() -> list[Row]:
    """Sixteen people at rest; eight train, the other eight are judged, and the other way round."""
    recordings = resting()
    names = np.random.default_rng(0).permutation(list(recordings)).tolist()
    halves = [names[:8], names[8:]]
    found: list[dict[str, np.ndarray]] = []
    right: dict[str, list[float]] = {}
    for seed, held in enumerate(halves):
        train = {k: v for k, v in recordings.items() if k not in held}
        test = {k: recordings[k] for k in held}
        with tempfile.TemporaryDirectory() as place:
            of = trained(train, seed, place, steps=600)
            found += [areas(of, one, k) for k, one in enumerate(test.values())]
            known, new = cut(train), cut(test)
            for name, (_, features) in kinds_of_features(of, known, new).items():
                right.setdefault(name, []).extend(identified(features, new))
    return area_rows("people at rest", found) + identity_rows(right)


def identified(features: np.ndarray, windows: xr.DataArray) -> list[float]:
    """For each person: share of windows of the second half that are nearest to the own first half's mean."""
    people, person = np.unique(windows["subject"].to_numpy(), return_inverse=True)
    early = windows["window"].to_numpy() < 0.5 * N_TIMES * TR - 1e-6
    z = features - features[early].mean(0)
    means = np.stack([z[early & (person == k)].mean(0) for k in range(len(people))])
    norm = np.linalg.norm(z[~early], axis=1)[:, None] * np.linalg.norm(means, axis=1)
    nearest = (z[~early] @ means.T / norm).argmax(1)
    return [float((nearest[person[~early] == k] == k).mean()) for k in range(len(people))]


def identity_rows(right: Mapping[str, list[float]]) -> list[Row]:
    """Shares of windows whose person is told right."""
    share = {name: np.array(v) for name, v in right.items()}
    note = "nearest mean of the first half by angle; chance 0.125"
    return share_rows("person of a window told right, of eight", share, note)
