"""Recording to design: what may drive spikes or choices at each sample, one named column per regressor.

A design is a DataArray (time, feature) or (trial, feature). ``feature`` is text; ``kind`` says what a column
is (``history`` of a unit, ``stimulus``, earlier ``choice``), ``source`` whose it is, ``basis`` which function
of the lag. There is no column of ones: a model has a bias of its own.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import NeurotoolsWarning, SchemaError, SettingsError, check_numbers
from neurotools.provenance import settings_dict
from neurotools.schema import SPIKE_COUNTS, check_counts, signal
from neurotools.schema.regression import without_missing
from neurotools.signals.steps import asked, sessions


# ---- functions of the lag -------------------------------------------------------------------------------
@dataclass(frozen=True)
class ExponentialHistory:
    """One function of the lag, proportional to exp(-decay l) for l = 1 .. n_lags bins, with sum one.

    Parameters
    ----------
    decay : float
        Per bin.
    n_lags : int
        In bins.
    """

    decay: float = 1.0
    n_lags: int = 5

    def __post_init__(self) -> None:
        check_numbers(self, n_lags=1)

    def weights(self, bin_width: float | None) -> np.ndarray:
        """One row; the width of a bin does not matter."""
        falling = np.exp(-self.decay * np.arange(self.n_lags))
        return (falling / falling.sum())[None, :]


@dataclass(frozen=True)
class RaisedCosine:
    """Bumps that widen with the lag: raised cosines, equally spaced in its logarithm, each of sum one.

    The first peaks one bin ago; the last has fallen to zero one bin after ``last_s``. Neighbours lie a
    quarter of a period apart. Pillow et al. (2008), Nature 454, 995-999, Methods.

    Parameters
    ----------
    n : int
        Number of bumps.
    last_s : float
        How far back they reach, in seconds.
    """

    n: int
    last_s: float

    def __post_init__(self) -> None:
        check_numbers(self, positive=["last_s"], n=1)

    def weights(self, bin_width: float | None) -> np.ndarray:
        """One row for each bump."""
        if bin_width is None:
            raise SchemaError(
                "the width of a bin is not known, so seconds cannot be turned into bins",
                code="NT-DATA-002", expected="counts.attrs['bin_width'] in seconds",
                fix="make counts with nt.bin_spikes, or set the attribute",
            )  # fmt: skip
        n_lags = round(self.last_s / bin_width)
        if n_lags < self.n:
            raise SettingsError(
                "there are more bumps than lags", code="NT-SET-003",
                found=f"{self.n} bumps over {n_lags} bins of {bin_width:g} s",
                fix="take a longer last_s, narrower bins or a smaller n",
            )  # fmt: skip
        place = np.log(np.arange(1, n_lags + 1))
        spacing = np.log(n_lags + 1) / (self.n + 1)
        away = (place - spacing * np.arange(self.n)[:, None]) / (2 * spacing)
        bumps = 0.5 * (1 + np.cos(np.pi * np.clip(away, -1, 1)))
        return bumps / bumps.sum(axis=1, keepdims=True)


Basis = ExponentialHistory | RaisedCosine


# ---- spikes ---------------------------------------------------------------------------------------------
def glm_design(
    counts: xr.DataArray | xr.DataTree,
    history: Basis | None = None,
    stimulus: xr.DataArray | xr.Dataset | None = None,
) -> xr.DataArray:
    """Regressors of a spiking population: each unit's recent spikes, and what was shown.

    Parameters
    ----------
    counts : xarray.DataArray
        Spike counts (time, unit); ``session`` on ``time`` where there are several. Bins that were not
        observed are NaN, or False in the boolean coordinate ``observed`` (time) or (time, unit).
    history : nt.ExponentialHistory or nt.RaisedCosine, optional
        Functions of the lag; each gives one column per unit, the count ``l`` bins ago weighted and summed
        over lags ``l >= 1``. Nothing crosses the edge of a session: its first bins sum over the bins there
        are, as if none had spiked before.
    stimulus : xarray.DataArray or xarray.Dataset, optional
        Further regressors, (time), (time, feature), or a Dataset of (time), at the very times of ``counts``;
        taken as they are.

    Returns
    -------
    xarray.DataArray
        (time, feature), with ``source``, ``kind`` and ``basis`` on ``feature`` and ``session`` on ``time``.
        Where bins were not observed, ``observed`` (time) is False at every bin whose history reaches into
        one: these samples take no part in a fit, for any unit, and nothing is filled in.

    Raises
    ------
    SchemaError
        Not counts, a stimulus on another clock, or nothing to put into the design.

    Warns
    -----
    NeurotoolsWarning
        A session is shorter than the history.
    """
    counts, seen = without_missing(signal(counts) if isinstance(counts, xr.DataTree) else counts)
    counts = asked(counts, SPIKE_COUNTS)
    columns = [*_histories(counts, history), *_stimuli(counts, stimulus)]
    if seen is not None:
        counts = counts.drop_vars("observed", errors="ignore")
        counts = counts.assign_coords(observed=("time", _history_observed(counts, seen, history)))
    attrs: dict[str, Any] = {}
    if "bin_width" in counts.attrs:
        attrs["bin_width"] = float(counts.attrs["bin_width"])
    if history is not None:
        attrs["history"] = json.dumps({"type": type(history).__name__, **settings_dict(history)})
    return _design(columns, "time", counts, attrs)


Column = tuple[str, str, str, int, np.ndarray]  # feature, source, kind, basis, values


def _histories(counts: xr.DataArray, history: Basis | None) -> list[Column]:
    if history is None:
        return []
    weights = history.weights(counts.attrs.get("bin_width"))
    parts = sessions(counts)
    short = [part for part in parts if part.stop - part.start < weights.shape[1]]
    if short:
        warnings.warn(
            f"{len(short)} of {len(parts)} sessions are shorter than the history of {weights.shape[1]} bins; "
            "their regressors sum over the bins there are",
            NeurotoolsWarning,
            stacklevel=4,
        )
    summed = np.concatenate([_past(counts.to_numpy()[part].astype("float64"), weights) for part in parts])
    units = [str(unit) for unit in counts["unit"].to_numpy()]
    return [
        (f"history:{unit}:{b}", unit, "history", b, summed[:, b, n])
        for n, unit in enumerate(units)
        for b in range(len(weights))
    ]


def _history_observed(counts: xr.DataArray, seen: np.ndarray, history: Basis | None) -> np.ndarray:
    """Whether every bin that the history of a sample reaches into was observed, in all units."""
    known = np.ones(len(seen), dtype=bool)
    if history is None:
        return known
    n_lags = history.weights(counts.attrs.get("bin_width")).shape[1]
    whole = np.asarray(seen.all(axis=1))
    for part in sessions(counts):
        inside = known[part]
        for lag in range(1, min(n_lags, inside.size - 1) + 1):
            inside[lag:] &= whole[part][:-lag]
    return known


def _past(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sums (time, basis, unit) over the samples before each one, in a stretch (time, unit)."""
    n_time, n_unit = values.shape
    summed = np.zeros((n_time, len(weights), n_unit))
    for lag in range(1, min(weights.shape[1], n_time - 1) + 1):
        summed[lag:] += weights[:, lag - 1, None] * values[:-lag, None, :]
    return summed


def _stimuli(counts: xr.DataArray, stimulus: xr.DataArray | xr.Dataset | None) -> list[Column]:
    if stimulus is None:
        return []
    if isinstance(stimulus, xr.Dataset):
        named = {str(name): array for name, array in stimulus.data_vars.items()}
    elif isinstance(stimulus, xr.DataArray) and "feature" in stimulus.dims:
        named = {str(name): stimulus.sel(feature=name) for name in stimulus["feature"].to_numpy()}
    elif isinstance(stimulus, xr.DataArray):
        named = {str(stimulus.name or "stimulus"): stimulus}
    else:
        raise SchemaError("a stimulus is a DataArray or a Dataset", found=type(stimulus).__name__)
    return [(name, name, "stimulus", 0, _beside(counts, array, name)) for name, array in named.items()]


def _beside(counts: xr.DataArray, array: xr.DataArray, name: str) -> np.ndarray:
    """Values of a regressor at the times of the counts; another clock is an error, never resampled."""
    if array.dims != ("time",):
        raise SchemaError(f"the stimulus {name!r} needs the dimensions ('time',)", found=array.dims)
    same = array.sizes["time"] == counts.sizes["time"]
    if same and "time" in array.coords and "time" in counts.coords:
        same = np.allclose(array["time"].to_numpy(), counts["time"].to_numpy(), rtol=0, atol=1e-6)
    if not same:
        raise SchemaError(
            f"the stimulus {name!r} is on another clock than the counts", code="NT-DATA-005",
            found=f"{array.sizes['time']} samples",
            expected=f"the {counts.sizes['time']} times of the counts",
            fix="stimulus.interp(time=counts['time']), or nt.resample both",
        )  # fmt: skip
    values = np.asarray(array.to_numpy(), dtype="float64")
    if not np.isfinite(values).all():
        raise SchemaError(
            f"the stimulus {name!r} has values that are not finite", code="NT-DATA-003",
            found=f"{int((~np.isfinite(values)).sum())} of {values.size}",
        )  # fmt: skip
    return values


# ---- choices --------------------------------------------------------------------------------------------
def choice_design(recording: xr.DataTree | xr.Dataset, n_back: int = 1) -> xr.DataArray:
    """Regressors of an animal's choices: what was stored with them, and its own earlier choices.

    Parameters
    ----------
    recording : xarray.DataTree or xarray.Dataset
        With the node ``behaviour``, or that node: ``choice(trial)`` 0 or 1, and ``design(trial, feature)``
        where there is one. Columns of the design that never vary are left out, as the model has its own bias;
        ``attrs["left_out"]`` names them.
    n_back : int
        Earlier choices, coded -1 and 1, as columns ``choice_back_1`` ...; 0 where the session has no trial so
        far back. Take 0 where the stored design holds them already.

    Returns
    -------
    xarray.DataArray
        (trial, feature), with ``source``, ``kind`` and ``basis`` on ``feature``, and ``session`` and
        ``subject`` on ``trial``.

    Raises
    ------
    SchemaError
        There are no choices, more than two alternatives, an earlier choice is in the stored design already,
        or nothing is left to put into the design.
    """
    node = _behaviour(recording)
    choice = node["choice"]
    check_counts(choice.to_numpy(), "choices")
    if choice.to_numpy().max(initial=0) > 1:
        raise SchemaError(
            "choices between more than two alternatives have no single column", code="NT-DATA-008",
            found=f"codes up to {int(choice.max())}", expected="0 and 1",
        )  # fmt: skip
    if n_back < 0:
        raise SettingsError("n_back must be at least 0", found=n_back)
    stored, left_out = _stored(node)
    back = _earlier_choices(choice, n_back)
    for name, *_, values in back:
        twin = next((other for other, *_, known in stored if _same_line(values, known)), None)
        if twin is not None:
            raise SchemaError(
                f"the stored design already holds {name} as {twin!r}", code="NT-DATA-006",
                fix="choice_design(recording, n_back=0)",
            )  # fmt: skip
    return _design([*stored, *back], "trial", choice, {"left_out": json.dumps(left_out), "n_back": n_back})


def _behaviour(recording: xr.DataTree | xr.Dataset) -> xr.Dataset:
    if isinstance(recording, xr.DataTree):
        recording = recording.children.get("behaviour", recording).to_dataset()
    if not isinstance(recording, xr.Dataset) or "choice" not in recording:
        raise SchemaError(
            "the recording has no choices", code="NT-DATA-010", expected="behaviour/choice, along 'trial'"
        )
    if recording["choice"].dims != ("trial",):
        raise SchemaError("choices need the dimensions ('trial',)", found=recording["choice"].dims)
    return recording


def _stored(node: xr.Dataset) -> tuple[list[Column], list[str]]:
    """Columns of the design that came with the choices, and the names of those that never vary."""
    if "design" not in node:
        return [], []
    table = node["design"].transpose("trial", "feature")
    values = np.asarray(table.to_numpy(), dtype="float64")
    varies = values.min(axis=0) < values.max(axis=0)
    names = [str(name) for name in table["feature"].to_numpy()]
    columns: list[Column] = [
        (names[k], names[k], "stimulus", 0, values[:, k]) for k in np.flatnonzero(varies).tolist()
    ]
    return columns, [names[k] for k in np.flatnonzero(~varies).tolist()]


def _earlier_choices(choice: xr.DataArray, n_back: int) -> list[Column]:
    signed = 2.0 * choice.to_numpy() - 1.0
    session = choice["session"].to_numpy() if "session" in choice.coords else np.zeros(signed.size, int)
    columns: list[Column] = []
    for lag in range(1, n_back + 1):
        values = np.zeros(signed.size)
        same = session[lag:] == session[:-lag]
        values[lag:][same] = signed[:-lag][same]
        columns.append((f"choice_back_{lag}", "choice", "choice", lag, values))
    return columns


def _same_line(values: np.ndarray, known: np.ndarray) -> bool:
    """Whether one column is, but for scale, shift and the first trials of sessions, another."""
    there = values != 0
    if there.sum() < 2 or np.ptp(known[there]) == 0 or np.ptp(values[there]) == 0:
        return False
    return bool(abs(np.corrcoef(values[there], known[there])[0, 1]) > 1 - 1e-9)


# ---- back to names --------------------------------------------------------------------------------------
def _design(columns: list[Column], dim: str, data: xr.DataArray, attrs: dict[str, Any]) -> xr.DataArray:
    if not columns:
        raise SchemaError(
            "there is nothing to put into the design", code="NT-DATA-010",
            fix="give a history, a stimulus or earlier choices",
        )  # fmt: skip
    names, sources, kinds, bases, values = zip(*columns, strict=True)
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise SchemaError(
            "regressors have names that occur more than once", code="NT-DATA-006", found=", ".join(twice[:5])
        )
    riding = {str(n): c.variable for n, c in data.coords.items() if c.dims == (dim,)}
    coords = {
        **riding,
        "feature": np.array(names, dtype=str),
        "source": ("feature", np.array(sources, dtype=str)),
        "kind": ("feature", np.array(kinds, dtype=str)),
        "basis": ("feature", np.array(bases, dtype="int64")),
    }
    stacked = np.stack(values, axis=1)
    return xr.DataArray(
        stacked, dims=(dim, "feature"), coords=coords, name="design", attrs={"units": "1", **attrs}
    )
