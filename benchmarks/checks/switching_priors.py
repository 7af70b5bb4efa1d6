"""Priors on the couplings of switching GLMs: types that are known, little data, how many states."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace

import numpy as np
import xarray as xr

import neurotools as nt
from benchmarks.checks.switching import REFERENCE, _counts, _right, _truth
from benchmarks.record import Row, shared
from benchmarks.timing import one_thread
from neurotools import schema
from neurotools.errors import NeurotoolsWarning

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
OFF = ~np.eye(20, dtype=bool)


# ---- a circuit drawn by other hands ----------------------------------------------------------------------
def couplings_with_types() -> list[Row]:
    """Five states, 20 units: types of connections found beside weights, against the normal prior."""
    known = _known()
    train, test = _sessions(known, np.arange(10)), _sessions(known, np.arange(10, 16))
    truth = _truth(known, test[0])
    rows, likelihood = [], {}
    for name, prior in (("normal", nt.GaussianPrior()), ("typed", nt.OneHotPrior(across="state"))):
        model = nt.SwitchingGLM(n_states=5, link="sigmoid", prior=prior, n_restarts=4)
        with one_thread():
            fit = nt.match_states(model.fit(*train), truth)
        found = model.predict(fit, *test)
        likelihood[name] = float(found["log_likelihood"].sum()) / test[0].size
        if name == "typed":
            rows += [
                Row(
                    "samples given their true state, whole session",
                    _right(found["state_prob"], known),
                    ">= 0.975",
                ),
                Row("the same, from past and present alone", _right(found["filtered_prob"], known)),
            ]
        rows.append(
            Row(f"mean squared error of couplings, {name} prior", _error(fit, truth), note="between units")
        )
    prob, types, clear = _told(fit, truth)
    away = np.abs(fit["weight"].to_numpy() - truth["weight"].to_numpy())[..., 0][clear]
    held = away <= 1.645 * fit["weight_se"].to_numpy()[..., 0][clear]
    sure = prob[np.arange(types.size), types] > 0.99
    gain = likelihood["typed"] - likelihood["normal"]
    return [
        *rows,
        Row("log likelihood of new sessions, less that of the normal prior", gain, ">= -0.0005",
            unit="nat per bin and unit"),
        Row("connections whose type was found, mean of three types", _balanced(prob, types), ">= 0.75"),
        Row("expected calibration error of P(type), ten bins", _calibration(prob, types), "<= 0.05",
            note="of the probability of the most probable type"),
        Row("connections inside 1.645 standard errors, of those that are there and were surely found",
            float(held[sure & (types != 1)].mean()), note="widths of sizes taken as known"),
        Row("the same, of all that are there", float(held[types != 1].mean()),
            note="one that is taken to be absent has no error"),
        Row("the same, of those that are absent", float(held[types == 1].mean())),
        Row("concentration of types over states", float(fit["type_concentration"]), note="drawn with 2"),
    ]  # fmt: skip


def little_data() -> list[Row]:
    """Two sessions to learn from, five times: types against ridge, its strength chosen on the same two."""
    known, errors = _known(), []
    for first in range(0, 10, 2):
        pair = [_sessions(known, np.array([k])) for k in (first, first + 1)]
        both = _sessions(known, np.array([first, first + 1]))
        truth = _truth(known, both[0])
        ridge = nt.SwitchingGLM(n_states=5, link="sigmoid", prior=nt.RidgePrior(), n_restarts=4)
        strength = _best_strength(ridge, pair)
        priors = (nt.RidgePrior(strength), nt.GaussianPrior(), nt.OneHotPrior(across="state"))
        with one_thread():
            errors.append([_error(replace(ridge, prior=p).fit(*both), truth) for p in priors])
    table = np.array(errors)
    names = ("ridge", "normal prior, widths learned", "types")
    return [
        Row("pairs of five in which types beat ridge", int((table[:, 2] < table[:, 0]).sum()), ">= 4"),
        Row("pairs of five in which types beat the normal prior", int((table[:, 2] < table[:, 1]).sum())),
        *(
            Row(f"mean squared error of couplings, {name}", float(table[:, k].mean()),
                interval=(float(table[:, k].min()), float(table[:, k].max())))
            for k, name in enumerate(names)
        ),
    ]  # fmt: skip


def _best_strength(model: nt.SwitchingGLM, pair: list[tuple[xr.DataArray, xr.DataArray]]) -> float:
    """The strength that foretells each of two sessions best from the other."""
    scores = []
    for strength in STRENGTHS:
        tried = replace(model, prior=nt.RidgePrior(strength))
        scores.append(
            sum(tried.score(tried.fit(*learn), *test) for learn, test in itertools.permutations(pair))
        )
    return STRENGTHS[int(np.argmax(scores))]


def _known() -> dict[str, np.ndarray]:
    warnings.simplefilter("ignore", NeurotoolsWarning)
    with np.load(shared(REFERENCE) / "hmmglm_synthetic_S5_N20.npz") as file:
        return {name: file[name] for name in file.files}


def _sessions(known: dict[str, np.ndarray], which: np.ndarray) -> tuple[xr.DataArray, xr.DataArray]:
    counts = _counts(known["spikes"], which)
    return counts, nt.glm_design(counts, nt.ExponentialHistory())


def _error(fit: xr.Dataset, truth: xr.Dataset) -> float:
    weight = nt.match_states(fit, truth)["weight"].to_numpy()[..., 0]
    return float(((weight - truth["weight"].to_numpy()[..., 0])[:, OFF] ** 2).mean())


def _told(fit: xr.Dataset, truth: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P(type) and types of connections that are absent or larger than a half; and where these are."""
    weight = truth["weight"].to_numpy()[..., 0]
    clear = (weight == 0) | (np.abs(weight) > 0.5)
    clear &= ~np.eye(weight.shape[1], dtype=bool)
    prob = fit["type_prob"]
    if "state" not in prob.dims:
        prob = prob.expand_dims(state=weight.shape[0])
    return prob.to_numpy()[clear], (np.sign(weight[clear]) + 1).astype(int), clear


def _balanced(prob: np.ndarray, types: np.ndarray) -> float:
    return float(np.mean([(prob.argmax(axis=1)[types == c] == c).mean() for c in np.unique(types)]))


def _calibration(prob: np.ndarray, types: np.ndarray) -> float:
    """Mean distance of confidence from the share that is right, over ten bins of confidence."""
    sure, right = prob.max(axis=1), prob.argmax(axis=1) == types
    place = np.minimum((sure * 10).astype(int), 9)
    return float(
        sum(np.abs(right[place == b].sum() - sure[place == b].sum()) for b in range(10)) / types.size
    )


# ---- our own generator -----------------------------------------------------------------------------------
def drawn(
    seed: int,
    *,
    n_state: int = 5,
    n_unit: int = 20,
    n_session: int = 10,
    across: str = "state",
    n_time: int = 400,
) -> tuple[tuple[xr.DataArray, xr.DataArray], xr.Dataset]:
    """Sessions of a circuit with typed connections, Poisson counts and a sigmoid link."""
    rng = np.random.default_rng(seed)
    share = rng.dirichlet([0.2, 1.6, 0.2], size=(n_unit, n_unit))
    sign = np.stack([_types(rng, share) for _ in range(1 if across == "shared" else n_state)])
    size = np.log1p(3 * rng.random((n_state, n_unit, n_unit)))
    weight = np.broadcast_to(sign, size.shape) * size
    bias = rng.uniform(-0.05, 0.05, size=(n_state, n_unit))
    lags = nt.ExponentialHistory().weights(None)[0]
    state = rng.integers(n_state, size=n_session)
    spikes, path = np.zeros((n_session, n_time, n_unit), int), np.zeros((n_session, n_time), int)
    for t in range(n_time):
        move = rng.random(n_session) < 0.02
        state = np.where(move, (state + rng.integers(1, n_state, size=n_session)) % n_state, state)
        path[:, t] = state
        past = sum(lags[k - 1] * spikes[:, t - k] for k in range(1, len(lags) + 1) if t >= k)
        drive = bias[state] + (np.einsum("su,suv->sv", past, weight[state]) if t else 0.0)
        spikes[:, t] = rng.poisson(1 / (1 + np.exp(-drive)))
    counts = schema.counts_array(spikes.reshape(-1, n_unit), bin_width=0.02, unit=np.arange(n_unit))
    counts = counts.assign_coords(session=("time", np.repeat(np.arange(n_session), n_time)))
    truth = xr.Dataset(
        {
            "weight": (("state", "unit", "unit_to", "basis"), weight[..., None]),
            "bias": (("state", "unit_to"), bias), "path": ("time", path.ravel()),
        }
    )  # fmt: skip
    return (counts, nt.glm_design(counts, nt.ExponentialHistory())), truth


def _types(rng: np.random.Generator, share: np.ndarray) -> np.ndarray:
    level = rng.random(share.shape[:2])[..., None]
    return (level > np.cumsum(share, axis=-1)).sum(axis=-1) - 1


def number_of_states() -> list[Row]:
    """How many states held-out likelihood chooses for ten circuits of five."""
    warnings.simplefilter("ignore", NeurotoolsWarning)
    chosen = []
    for seed in range(10):
        data, _ = drawn(seed)
        prior = nt.GaussianPrior(learn=False)
        model = nt.SwitchingGLM(5, link="sigmoid", prior=prior, n_restarts=2, seed=seed)
        model = replace(model, uncertainty="none", tol=1e-5)
        with one_thread():
            scan = nt.select_states(model, *data, n_states=range(3, 8))
        chosen.append(int(scan.attrs["selected_n_states"]))
    found = np.array(chosen)
    return [
        Row("seeds of ten with 4 to 6 states chosen", int(((found >= 4) & (found <= 6)).sum()), ">= 9",
            note="chosen: " + " ".join(map(str, chosen))),
        Row("seeds of ten with exactly 5 chosen", int((found == 5).sum()), ">= 6"),
    ]  # fmt: skip


def types_that_states_share() -> list[Row]:
    """Circuits whose connections keep their type in every state, five seeds, 2,500 samples each."""
    warnings.simplefilter("ignore", NeurotoolsWarning)
    scores = {"shared": [], "state": []}
    for seed, across in itertools.product(range(5), scores):
        data, truth = drawn(100 + seed, n_state=3, n_unit=12, n_session=5, across="shared")
        model = nt.SwitchingGLM(3, link="sigmoid", prior=nt.OneHotPrior(across=across), n_restarts=3)
        with one_thread():
            fit = nt.match_states(model.fit(*data), truth)
        prob, types, _ = _told(fit, truth)
        scores[across].append(_balanced(prob, types))
    table = {name: np.array(values) for name, values in scores.items()}
    return [
        Row("types found, mean of three, one type for all states", float(table["shared"].mean()),
            interval=(float(table["shared"].min()), float(table["shared"].max()))),
        Row("types found, mean of three, a type for each state", float(table["state"].mean()),
            interval=(float(table["state"].min()), float(table["state"].max()))),
        Row("gain of one type for all states", float((table["shared"] - table["state"]).mean()), ">= 0.01"),
    ]  # fmt: skip
