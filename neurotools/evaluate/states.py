"""How many states, which state of one fit is which of another, and how long each lasts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurotools.errors import NotConvergedError, SchemaError, SettingsError, expect, lookup

N_FOLDS = 5
STATE_DIMS = ("state", "state_to")


# ---- how many -------------------------------------------------------------------------------------------
def select_states(
    model: Any,
    counts: xr.DataArray,
    design: xr.DataArray,
    n_states: Sequence[int] = range(1, 8),
    cv: str = "session",
    *,
    transition_design: xr.DataArray | None = None,
) -> xr.Dataset:
    """Score of data that a switching model has not seen, for several numbers of states.

    Parameters
    ----------
    model : nt.SwitchingGLM
        Its ``n_states`` is replaced; everything else is kept.
    counts, design, transition_design : xarray.DataArray
        As for ``model.fit``; a design is made once, from all data.
    n_states : sequence of int
    cv : {"session", "time"}
        What is held out: whole sessions, in five folds (or as many as there are sessions), dealt in turn to
        the folds, subject by subject where ``subject`` rides on the samples; or, in a single session, five
        stretches of time, whose edges the chain of states does not cross.

    Returns
    -------
    xarray.Dataset
        ``heldout_score`` (n_states, fold), causal, in bits per spike (per trial for choices), and its mean
        ``score`` and standard error ``score_error`` (n_states). attrs ``selected_n_states``: the smallest
        number of states whose score is below the best by no more than one standard error of their difference
        over folds.

    Raises
    ------
    SchemaError
        There is nothing to hold out.
    NotConvergedError
        A score is no finite number.
    """
    for part in (counts, design):
        expect(
            part, "counts, and their design,", xr.DataArray, fix="nt.glm_design(counts, ...) makes a design"
        )
    candidates = [int(k) for k in n_states]
    if not candidates or len(set(candidates)) < len(candidates) or min(candidates) < 1:
        raise SettingsError("numbers of states are needed, each once and at least 1", found=candidates)
    dim = str(next(d for d in ("time", "trial") if d in design.dims))
    fold, session = lookup("cross-validation", cv, CV)(counts, dim)
    n_fold = int(fold.max()) + 1
    values = np.empty((len(candidates), n_fold))
    given = {"counts": counts, "design": design}
    given |= {} if transition_design is None else {"transition_design": transition_design}
    parts = {name: part.assign_coords(session=(dim, session)) for name, part in given.items()}
    for column in range(n_fold):
        train, test = (
            {name: part.isel({dim: where}) for name, part in parts.items()}
            for where in (fold != column, fold == column)
        )
        for row, k in enumerate(candidates):
            candidate = dataclasses.replace(model, n_states=k, uncertainty="none")
            values[row, column] = candidate.score(candidate.fit(**train), **test)
    scan = xr.Dataset(
        {
            "heldout_score": (("n_states", "fold"), values, {"units": "bit"}),
            "score": ("n_states", values.mean(axis=1), {"units": "bit"}),
            "score_error": ("n_states", values.std(axis=1, ddof=1) / np.sqrt(n_fold), {"units": "bit"}),
        },
        coords={"n_states": candidates, "fold": np.arange(n_fold)},
    )
    per = "spike" if counts.ndim == 2 and model.family != "gaussian" else dim.replace("time", "sample")
    return scan.assign_attrs(
        cv=cv, per=per, seed=int(model.seed), selected_n_states=smallest(values, candidates)
    )


def smallest(values: np.ndarray, candidates: Sequence[int]) -> int:
    """Smallest candidate within one standard error of the best; scores are paired by fold."""
    if not np.isfinite(values).all():
        raise NotConvergedError(
            "a held-out score is no finite number, so numbers of states cannot be compared",
            found=f"{int((~np.isfinite(values)).sum())} of {values.size} scores",
            fix="look for folds with other counts than the rest, or take a stronger prior",
        )  # fmt: skip
    best = values[np.argmax(values.mean(axis=1))]
    short = best - values
    error = short.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
    return min(k for k, gap, e in zip(candidates, short.mean(axis=1), error, strict=True) if gap <= e)


Folds = Callable[[xr.DataArray, str], tuple[np.ndarray, np.ndarray]]  # fold and session of each sample


def by_session(counts: xr.DataArray, dim: str) -> tuple[np.ndarray, np.ndarray]:
    """Whole sessions, those of one subject spread evenly over the folds."""
    session = _sessions(counts, dim)
    n = int(session[-1]) + 1
    if n < 2:
        raise SchemaError(
            "there is one session, so none can be held out", code="NT-DATA-010", fix='cv="time"'
        )
    first = np.searchsorted(session, np.arange(n))
    subject = counts["subject"].to_numpy()[first] if "subject" in counts.coords else np.zeros(n, int)
    turn = np.argsort(subject, kind="stable")  # dealing goes on from one subject to the next
    fold = np.empty(n, dtype=int)
    fold[turn] = np.arange(n) % min(N_FOLDS, n)
    return fold[session], session


def by_time(counts: xr.DataArray, dim: str) -> tuple[np.ndarray, np.ndarray]:
    """Stretches of time; where one is cut out, the chain of states begins anew."""
    n = counts.sizes[dim]
    if n < 2 * N_FOLDS:
        raise SchemaError(
            "there is too little time to hold any out", code="NT-DATA-010", found=f"{n} samples"
        )
    fold = np.arange(n) * N_FOLDS // n
    return fold, _sessions(counts, dim) * N_FOLDS + fold


def _sessions(counts: xr.DataArray, dim: str) -> np.ndarray:
    """Number of the session of each sample, from 0."""
    if "session" not in counts.coords:
        return np.zeros(counts.sizes[dim], dtype=int)
    labels = counts["session"].to_numpy()
    return np.concatenate([[0], np.cumsum(labels[1:] != labels[:-1])])


CV: dict[str, Folds] = {"session": by_session, "time": by_time}


# ---- which is which -------------------------------------------------------------------------------------
def match_states(fit: xr.Dataset, reference: xr.Dataset) -> xr.Dataset:
    """Renumber the states of a fit so that they are those of another, by their weights.

    The pairing has the least sum of squared differences over biases and weights (Hungarian method; Kuhn
    1955), so the two fits need the same units and regressors and not the same samples. States beyond those of
    the reference come last, in the order they had.

    Returns
    -------
    xarray.Dataset
        ``fit`` with its states in another order, and ``state_distance`` (state): the root mean squared
        difference of each pair; NaN where there is none.
    """
    from scipy.optimize import linear_sum_assignment

    for one in (fit, reference):
        expect(one, "a fit of nt.SwitchingGLM", xr.Dataset)
    names = [name for name in ("bias", "weight", "feature_weight") if name in reference]
    if not names or any(name not in fit or _shape(fit, name) != _shape(reference, name) for name in names):
        raise SchemaError(
            "the two fits have other units or regressors, so their states cannot be paired",
            code="NT-DATA-005",
            found={name: _shape(fit, name) if name in fit else None for name in names},
            expected={name: _shape(reference, name) for name in names},
        )  # fmt: skip
    flat = [
        np.concatenate(
            [
                part[name].transpose("state", ...).to_numpy().reshape(part.sizes["state"], -1)
                for name in names
            ],
            axis=1,
        )
        for part in (fit, reference)
    ]
    cost = ((flat[0][:, None] - flat[1]) ** 2).mean(axis=2)
    mine, theirs = linear_sum_assignment(cost)
    paired = mine[np.argsort(theirs)]
    order = np.concatenate([paired, np.setdiff1d(np.arange(len(cost)), paired)]).astype(int)
    distance = np.full(order.size, np.nan)
    distance[: paired.size] = np.sqrt(cost[mine, theirs])[np.argsort(theirs)]
    moved = fit.isel({dim: order for dim in STATE_DIMS if dim in fit.dims})
    moved = moved.assign_coords({dim: np.arange(order.size) for dim in STATE_DIMS if dim in fit.dims})
    return moved.assign(state_distance=("state", distance))


def _shape(fit: xr.Dataset, name: str) -> dict[str, int]:
    return {str(dim): size for dim, size in fit[name].sizes.items() if dim != "state"}


# ---- how long -------------------------------------------------------------------------------------------
def dwell_times(path: xr.DataArray) -> pd.DataFrame:
    """Every visit to a state: where it begins and how long it lasts.

    Parameters
    ----------
    path : xarray.DataArray
        States (time) or (trial), such as ``viterbi`` of a prediction; a visit ends where a session ends.

    Returns
    -------
    pandas.DataFrame
        Columns ``state``, ``start`` (label of the first sample), ``n_samples``, ``duration_s`` where samples
        are times at even steps, and ``cut`` (whether a session's edge began or ended the visit, so that it
        may have been longer).
    """
    expect(path, "a path of states", xr.DataArray, fix="model.predict(fit, counts, design)['viterbi']")
    if path.ndim != 1 or path.dims[0] not in ("time", "trial"):
        raise SchemaError("a path of states needs the dimensions ('time',) or ('trial',)", found=path.dims)
    dim = str(path.dims[0])
    states, session = path.to_numpy(), _sessions(path, dim)
    edge = session[1:] != session[:-1]
    new = np.flatnonzero(np.concatenate([[True], edge | (states[1:] != states[:-1])]))
    stop = np.append(new[1:], states.size)
    at_edge = np.concatenate([[True], edge, [True]])
    labels = path[dim].to_numpy() if dim in path.coords else np.arange(states.size)
    table = pd.DataFrame({"state": states[new], "start": labels[new], "n_samples": stop - new})
    if dim == "time" and dim in path.coords and states.size > 1:
        table["duration_s"] = table["n_samples"] * float(np.median(np.diff(labels)))
    return table.assign(cut=at_edge[new] | at_edge[stop])
