"""Which motifs change between conditions: a permutation test over epochs, or over subjects."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, expect
from neurotools.evaluate.dynamic import loading_of, sessions_of
from neurotools.numerics.nulls import family_wise, standardised, tail
from neurotools.schema.affinity import session_edges

MIN_EACH = 3  # epochs or subjects of a condition, for a permutation to mean anything
NONE = ("", "n/a", "nan", "None")  # labels that are no condition


def compare_conditions(
    fit: xr.Dataset,
    conditions: xr.Dataset | xr.DataArray,
    *,
    among: Any = None,
    column: str = "trial_type",
    window_s: float | None = None,
    n_permutations: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Test which motifs are engaged more in some conditions than in others.

    Every epoch (or subject) has one number per motif: its mean time loading (or its subject loading). The
    statistic is the variance between the means of conditions over that within them (F); the null is the same
    after the labels are permuted among epochs of one session, or among subjects.

    Parameters
    ----------
    fit : xarray.Dataset
        Of ``nt.NTF``.
    conditions : xarray.Dataset or xarray.DataArray
        Events with ``onset``, ``duration`` and ``trial_type``, or trials with ``start``, ``stop`` and the
        ``column`` that says of which condition, in s: every event is an epoch. Or labels along ``time``:
        every unbroken run is an epoch. Or labels along ``subject``, for the loadings of subjects. Empty
        labels count as none.
    among : sequence of labels, optional
        The conditions to compare; all of them when omitted.
    column : str
        Of a table of events or trials: what tells the conditions.
    window_s : float, optional
        Length of an epoch from its onset; its duration when omitted.
    n_permutations : int
    seed : int

    Returns
    -------
    xarray.Dataset
        ``mean`` and ``spread`` (component, condition), mean and standard deviation over epochs of the
        loading, divided by its mean over all; ``statistic`` (component), F; ``p_value`` (component), and
        ``p_corrected`` (component) against the largest standardised statistic of any motif (Westfall and
        Young 1993); ``n_epochs`` (condition). attrs ``over``, ``n_permutations``, ``n_outside`` (epochs that
        lie outside the recording and are not used).

    Raises
    ------
    SchemaError
        Fewer than two conditions, fewer than three epochs or subjects of one, or nothing that tells them.
    """
    if n_permutations < 1:
        raise SettingsError("at least one permutation is needed", found=n_permutations)
    values, labels, strata, told = _epochs(fit, conditions, column, window_s)
    chosen = _chosen(labels, among)
    kept = np.isin(labels, chosen)
    values, strata = values[kept], strata[kept]
    code = np.searchsorted(chosen, labels[kept])
    count = np.bincount(code, minlength=chosen.size)
    if chosen.size < 2 or count.min() < MIN_EACH:
        raise SchemaError(
            f"a comparison needs two conditions with {MIN_EACH} {told['over']}s each", code="NT-DATA-010",
            found=", ".join(f"{name}: {n}" for name, n in zip(chosen, count, strict=True)) or "none",
        )  # fmt: skip
    rng = np.random.default_rng(seed)
    own = variance_ratio(values, code, chosen.size)
    null = np.stack(
        [variance_ratio(values, permuted(rng, code, strata), chosen.size) for _ in range(n_permutations)]
    )
    means, spreads = _by_condition(values, code, chosen.size)
    usual = values.mean(axis=0)
    scale = np.where(usual > 0, usual, 1.0)[:, None]
    return xr.Dataset(
        {
            "mean": (("component", "condition"), means / scale),
            "spread": (("component", "condition"), spreads / scale),
            "statistic": ("component", own),
            "p_value": ("component", tail(own, null)),
            "p_corrected": ("component", family_wise(*standardised(own, null))),
            "n_epochs": ("condition", count),
        },
        coords={"component": fit["component"], "condition": chosen},
        attrs={**told, "n_permutations": int(n_permutations), "seed": int(seed)},
    )


def variance_ratio(values: np.ndarray, code: np.ndarray, n: int) -> np.ndarray:
    """F of every column: variance between the means of ``n`` groups over variance within."""
    belongs = np.eye(n)[code]
    count = belongs.sum(axis=0)
    means = belongs.T @ values / count[:, None]
    between = count @ (means - values.mean(axis=0)) ** 2 / (n - 1)
    within = ((values - means[code]) ** 2).sum(axis=0) / max(len(values) - n, 1)
    return between / np.where(within > 0, within, np.inf)


def permuted(rng: np.random.Generator, code: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Labels in random order within every stratum."""
    made = code.copy()
    for stratum in np.unique(strata):
        place = np.flatnonzero(strata == stratum)
        made[place] = code[rng.permutation(place)]
    return made


def _by_condition(values: np.ndarray, code: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    groups = [values[code == k] for k in range(n)]
    return (
        np.stack([g.mean(axis=0) for g in groups], axis=1),
        np.stack([g.std(axis=0, ddof=1) for g in groups], axis=1),
    )


def _chosen(labels: np.ndarray, among: Any) -> np.ndarray:
    known = np.unique(labels[~np.isin(labels, NONE)])
    if among is None:
        return known
    wanted = np.unique(np.asarray(list(among)).astype(str))
    lacking = sorted(set(wanted.tolist()) - set(known.tolist()))
    if lacking:
        raise SettingsError(
            "some conditions never occur", code="NT-SET-001", found=", ".join(lacking),
            expected=", ".join(known),
        )  # fmt: skip
    return wanted


# ---- epochs ---------------------------------------------------------------------------------------------
def _epochs(
    fit: xr.Dataset, conditions: Any, column: str, window_s: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Loadings (epoch, component), the label and the stratum of every epoch, and what was done."""
    expect(fit, "a fit", xr.Dataset)
    expect(conditions, "labels of conditions", xr.Dataset, xr.DataArray)
    if isinstance(conditions, xr.DataArray) and conditions.dims == ("subject",):
        return _of_subjects(fit, conditions)
    loading = loading_of(fit)
    if isinstance(conditions, xr.DataArray):
        start, stop, labels = _runs(conditions, loading)
    else:
        start, stop, labels = _table(conditions, column, window_s)
    time, values, session = loading["time"].to_numpy(), loading.to_numpy(), sessions_of(loading)
    first, last = np.searchsorted(time, start - 1e-9), np.searchsorted(time, stop - 1e-9)
    inside = (last > first) & (start >= time[0] - 1e-9)
    means = [values[:, a:b].mean(axis=1) for a, b in zip(first[inside], last[inside], strict=True)]
    made = np.stack(means) if means else np.empty((0, values.shape[0]))
    strata = np.unique(session, return_inverse=True)[1][first[inside]] if means else np.empty(0, int)
    return made, labels[inside], strata, {"over": "epoch", "n_outside": int((~inside).sum())}


def _of_subjects(
    fit: xr.Dataset, conditions: xr.DataArray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    if "subject_loading" not in fit:
        raise SchemaError("the fit has one subject, and the conditions are of subjects")
    loading = fit["subject_loading"].transpose("subject", "component")
    if "subject" in conditions.coords and "subject" in loading.coords:
        conditions = conditions.sel(subject=loading["subject"].to_numpy())
    labels = conditions.to_numpy().astype(str)
    if labels.size != loading.sizes["subject"]:
        raise SchemaError("fit and conditions have other subjects", code="NT-DATA-005", found=labels.size)
    nothing = {"over": "subject", "n_outside": 0}
    return loading.to_numpy(), labels, np.zeros(labels.size, dtype=int), nothing


def _runs(conditions: xr.DataArray, loading: xr.DataArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unbroken runs of one label along time."""
    if conditions.dims != ("time",) or conditions.sizes["time"] != loading.sizes["time"]:
        raise SchemaError(
            "conditions are labels along the fit's 'time', or along 'subject', or a table of events",
            found=dict(conditions.sizes), expected=f"{loading.sizes['time']} samples of time",
        )  # fmt: skip
    labels = conditions.to_numpy().astype(str)
    inner = np.asarray(session_edges(loading)[1:-1], dtype=int) - 1
    changes = labels[1:] != labels[:-1]
    changes[inner] = True
    first = np.r_[0, np.flatnonzero(changes) + 1]
    last = np.r_[first[1:], labels.size] - 1
    time = loading["time"].to_numpy()
    step = float(np.median(np.diff(time)))
    return time[first], time[last] + step, labels[first]


def _table(
    events: xr.Dataset, column: str, window_s: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start, stop and label of every event or trial."""
    onset = next((name for name in ("onset", "start") if name in events), None)
    if onset is None or column not in events:
        raise SchemaError(
            f"a table of events with 'onset' and {column!r} is needed",
            found=sorted(map(str, events.variables)),
        )
    start = events[onset].to_numpy().astype(float)
    if window_s is not None:
        stop = start + window_s
    elif "stop" in events:
        stop = events["stop"].to_numpy().astype(float)
    elif "duration" in events:
        stop = start + events["duration"].to_numpy().astype(float)
    else:
        raise SchemaError("the events have no duration", fix="say how long an epoch is: window_s=1.0")
    if not (stop > start).all():
        raise SchemaError(
            "some events last no time", found=f"{int((~(stop > start)).sum())} of {start.size}",
            fix="say how long an epoch is: window_s=1.0",
        )  # fmt: skip
    return start, stop, events[column].to_numpy().astype(str)
