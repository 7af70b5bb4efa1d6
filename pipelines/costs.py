"""What a run is expected to take: time and memory of a recording, from its shape and the settings.

Every pipeline has a sum of terms, each the work of one part (products, sweeps, draws) times what a unit of it
took on the machine on which the numbers below were measured. Times hold for one thread; a check on real
recordings holds them and the memory to a factor of ``WITHIN``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import xarray as xr

import neurotools as nt
from neurotools.errors import NeurotoolsError

from . import measure
from .contract import Pipeline
from .dynamic_connectome import JOINED, RANKS

WITHIN = 3.0  # the factor that estimates are held to
BASE_MB = 330.0  # of a process with what every pipeline imports, figures drawn
REPORT_S = 3.0  # figures, pages, hashes
FIRST_S = 6.0  # imports and compiled functions of a fresh process, paid once

Terms = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Shape:
    """How much there is of a recording: rows, samples after binning or resampling, and how many wholes."""

    rows: int
    samples: int
    subjects: int
    rate: float

    @property
    def values(self) -> int:
        """Numbers in the array."""
        return self.rows * self.samples * self.subjects


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds of each part of the work, and the memory of the process at its peak."""

    shape: Shape
    terms: Mapping[str, float]
    memory_mb: float

    @property
    def seconds(self) -> float:
        """All parts together."""
        return sum(self.terms.values())

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        terms = {name: round(value, 2) for name, value in self.terms.items()}
        return {
            "shape": dataclasses.asdict(self.shape), "seconds": round(self.seconds, 1), "parts": terms,
            "memory_mb": round(self.memory_mb), "within_factor": WITHIN,
        }  # fmt: skip


def estimate(chain: Pipeline, recording: xr.DataTree, settings: Any) -> Cost | None:
    """What one recording would take; None where the pipeline has no estimate or does not take the recording.

    A pipeline of one's own may offer ``estimate(recording, settings)``, which returns seconds by part, and
    bytes.
    """
    shape = shape_of(recording, settings)
    if shape is None:
        return None
    if chain.part("estimate") is not None:
        found = chain.part("estimate")(recording, settings)
    else:
        found = COSTS[chain.name](shape, settings) if chain.name in COSTS else None
    if found is None:
        return None
    terms, size = found
    return Cost(shape, {**terms, "report": REPORT_S}, BASE_MB + size / 1e6)


# ---- how much there is ----------------------------------------------------------------------------------
def shape_of(recording: xr.DataTree, settings: Any) -> Shape | None:
    """Rows and samples of what a pipeline with these settings would analyse."""
    width = getattr(settings, "bin_width_s", None)
    start, stop = getattr(settings, "start_s", None), getattr(settings, "stop_s", None)
    if "spikes" in recording.children and (width is not None or len(recording.children) == 1):
        spikes = recording["spikes"]
        lasts = _part(float(spikes.attrs["t_stop"]) - float(spikes.attrs["t_start"]), start, stop)
        rate = 1 / width if width else 1.0
        return Shape(spikes.sizes["unit"], max(1, round(lasts * rate)), 1, rate)
    array = _array(recording, getattr(settings, "signal", None))
    if array is None:
        return None
    along = "time" if "time" in array.dims else "trial"
    if along not in array.dims:
        return None
    n = array.sizes[along]
    rate = _rate(array)
    lasts = _part(n / rate, start, stop)
    rate = getattr(settings, "sfreq", None) or (1 / width if width else rate)
    subjects = array.sizes.get("subject", 1)
    rows = array.size // (n * subjects)
    return Shape(rows, max(1, round(lasts * rate)), subjects, rate)


def _array(recording: xr.DataTree, path: str | None) -> xr.DataArray | None:
    for name in (path, f"{JOINED}/traces", "counts/counts", "behaviour/choice"):
        node, _, held = (name or "").partition("/")
        if node in recording.children and held in recording[node].data_vars:
            return recording[node].to_dataset()[held]
    try:
        found = nt.signal(recording)
    except NeurotoolsError:
        return None
    return found if isinstance(found, xr.DataArray) else None


def _rate(array: xr.DataArray) -> float:
    if "time" not in array.dims:
        return 1.0
    for name, turned in (("sfreq", False), ("bin_width", True)):
        if name in array.attrs:
            value = float(array.attrs[name])
            return 1 / value if turned else value
    time = array["time"]
    return (array.sizes["time"] - 1) / (float(time[-1]) - float(time[0])) if time.size > 1 else 1.0


def _part(lasts: float, start: float | None, stop: float | None) -> float:
    return max(0.0, min(lasts, lasts if stop is None else stop) - (start or 0.0))


# ---- what each part takes ---------------------------------------------------------------------------------
# Seconds for a unit of work, measured on one core of the machine of the validation page.
SWEEPS = 25  # of a factorisation that converges, typically
PER_ENTRY = 6e-10  # pair, sample, component and sweep
PER_VALUE = 1e-7  # sample of a recording, looked at once
ITERATIONS = 100  # of a switching model, typically


def quality(shape: Shape, settings: Any) -> tuple[Terms, float]:
    """Every sample is looked at once, part by part."""
    return {"statistics": 0.4 + PER_VALUE * shape.values}, 100e6 + 1.2 * min(8.0 * shape.values, 300e6)


def fmri_connectivity(shape: Shape, settings: Any) -> tuple[Terms, float]:
    """Products of all pairs of regions, over the recording and in windows."""
    pairs = shape.rows**2 * shape.subjects
    terms = {"matrices": 0.1 + 4e-9 * pairs * shape.samples}
    if settings.window_s is not None:
        length = settings.window_s * shape.rate
        step = max(1.0, (settings.step_s or settings.window_s / 10) * shape.rate)
        windows = max(0.0, (shape.samples - length) / step)
        terms["windows"] = 8e-10 * pairs * length * windows
    return terms, 24.0 * shape.values + 60.0 * pairs


def dynamic_connectome(shape: Shape, settings: Any) -> tuple[Terms, float]:
    """Sweeps over pairs, samples and components, from several starts; then a block model of each motif."""
    model, n = settings.model, shape.rows
    pairs = n * (n - 1) / 2
    sweeps = min(SWEEPS, model.max_iter)
    entries = pairs * shape.samples * shape.subjects
    one = PER_ENTRY * entries * model.rank * sweeps
    terms = {"affinity": 0.1 + 2e-7 * shape.values, "factorisation": 0.1 + one * model.n_restarts}
    ranks = settings.rank_scan or (RANKS if settings.auto_rank else ())
    if ranks:
        per_rank = one / model.rank * model.n_restarts
        terms["rank scan"] = 2.0 * per_rank * sum(ranks)
        if settings.auto_rank:  # at the rank that will be chosen, which may be any of them
            terms["rank against chance"] = settings.rank_nulls * per_rank * sum(ranks) / len(ranks)
    terms["communities"] = model.rank * (0.35 + 3.5e-4 * min(n, 1000) ** 2)
    terms["edges against chance"] = settings.edge_nulls * (0.02 + one / 3)
    terms["against chance"] = settings.nulls * (0.02 + one / 3)
    terms["replicates"] = settings.replicates * (one + terms["communities"])
    terms["pictures"] = 2.0 + 0.5 * model.rank
    return {
        name: value for name, value in terms.items() if value
    }, 24.0 * shape.values + 16.0 * pairs * model.rank


def _switching(shape: Shape, features: float, settings: Any, candidates: tuple[int, ...]) -> Terms:
    """Folds of every number of states, and the fit: expectation-maximisation from several starts."""

    def fit(states: int) -> float:
        starts = 1 if states == 1 else settings.model.n_restarts
        each = (
            shape.samples * states * (PER_STATE + PER_WEIGHT * shape.rows * features + PER_GRAM * features**2)
        )
        return starts * min(ITERATIONS, settings.model.max_iter) * each

    folds = 3  # five, on less data
    return {
        "held-out data": 0.5 + folds * sum(fit(k) for k in candidates),
        "fit": 0.3 + fit(max(candidates)),
    }


PER_STATE = 4.4e-7  # bin and state
PER_WEIGHT = 1.1e-9  # bin, state and weight
PER_GRAM = 1e-10  # bin, state and pair of features


def brain_states(shape: Shape, settings: Any) -> tuple[Terms, float]:
    """A population: every unit is a sender to every other, through each function of the lag."""
    if settings.units is not None:
        shape = dataclasses.replace(shape, rows=len(settings.units))
    features = shape.rows * getattr(settings.history, "n", 1) + 1
    candidates = settings.compare or tuple(sorted({1, settings.model.n_states}))
    return _switching(shape, features, settings, candidates), 60.0 * shape.samples * features


def choice_states(shape: Shape, settings: Any) -> tuple[Terms, float]:
    """One animal: a handful of regressors."""
    candidates = settings.compare or tuple(sorted({1, settings.model.n_states}))
    return _switching(shape, 4.0 + settings.n_back, settings, candidates), 400.0 * shape.samples


def bicluster(shape: Shape, settings: Any) -> tuple[Terms, float]:
    """Sweeps over units and bins; chains run side by side, as far as there are processors."""
    sweeps = settings.draws + settings.tune
    each = 2e-3 + 3.5e-6 * shape.rows * shape.samples + 3.5e-5 * shape.samples
    kept = 8.0 * settings.chains * settings.draws * (shape.rows + shape.samples) * 2
    in_turn = -(-settings.chains // min(settings.chains, measure.available_cpus()))
    return {"draws": 1.0 + in_turn * sweeps * each, "partitions": 2.0 + 1e-8 * kept}, 4 * kept


# Encoder -> seconds of a step, for each window of it, each value in it, and each sample in a row.
STEPS = {"neurogpt-nano": (0.2, 3.5e-7, 0.0, 8), "elm-nano": (0.01, 0.0, 4e-4, 1)}


def encoder_pretrain(shape: Shape, settings: Any) -> tuple[Terms, float] | None:
    """Steps of training; only encoders whose steps were measured have an estimate."""
    if settings.encoder not in STEPS:
        return None
    base, per_value, per_sample, sequence = STEPS[settings.encoder]
    length = settings.length_s * shape.rate
    values = settings.batch * sequence * shape.rows * length
    step = base + per_value * values + per_sample * length
    return {"training": 2.0 + 1.2 * settings.steps * step}, 300e6 + 40.0 * values + 24.0 * shape.values


COSTS: dict[str, Callable[[Shape, Any], tuple[Terms, float] | None]] = {
    "quality": quality,
    "fmri-connectivity": fmri_connectivity,
    "dynamic-connectome": dynamic_connectome,
    "brain-states": brain_states,
    "choice-states": choice_states,
    "bicluster": bicluster,
    "encoder-pretrain": encoder_pretrain,
}
