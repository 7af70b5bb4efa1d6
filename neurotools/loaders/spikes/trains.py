"""Spike trains as files hold them, judged before they become a recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurotools.errors import SchemaError

SHOWN = 8  # units that an error lists


def judged_trains(
    trains: Sequence[np.ndarray],
    labels: Sequence[Any] | np.ndarray,
    *,
    path: Path | None,
    sort: bool = False,
    negative: bool = False,
) -> tuple[list[np.ndarray], dict[str, int]]:
    """Refuse trains with times that cannot be, with counts for every unit; sort only when told to.

    Parameters
    ----------
    trains : sequence of numpy.ndarray
        Spike times of each unit, in seconds. Empty trains are legal.
    labels : sequence
        One label per unit.
    path : pathlib.Path or None
        For messages.
    sort : bool
        Put trains that are out of order into order, and say in the second result how many. Otherwise they
        are an error.
    negative : bool
        Whether times before zero are legal (a clock that starts before the session does).

    Returns
    -------
    trains : list of numpy.ndarray
        float64, ascending.
    notes : dict
        ``n_units_sorted`` where ``sort`` changed something; for the attributes.
    """
    trains = [np.asarray(train, dtype="float64").ravel() for train in trains]
    _refuse_twice(labels, path)
    _refuse_times(trains, labels, path, negative)
    disordered = [int((np.diff(train) < 0).sum()) for train in trains]
    if not any(disordered):
        return trains, {}
    if not sort:
        worst = [f"unit {name}: {n} steps back" for name, n in zip(labels, disordered, strict=True) if n]
        raise SchemaError(
            "spike times are not in order",
            code="NT-DATA-004",
            path=path,
            where=_listed(worst),
            found=f"{len(worst)} of {len(trains)} units",
            expected="times that never step back inside a unit",
            fix="nt.load(path, sort=True) puts them in order and says so in attrs",
        )
    return [np.sort(train, kind="stable") for train in trains], {"n_units_sorted": sum(map(bool, disordered))}


def _refuse_times(
    trains: list[np.ndarray], labels: Sequence[Any] | np.ndarray, path: Path | None, negative: bool
) -> None:
    faults, infinite, below, total = [], 0, 0, 0
    for name, train in zip(labels, trains, strict=True):
        n_infinite = int((~np.isfinite(train)).sum())
        n_below = 0 if negative else int((train < 0).sum())
        if n_infinite or n_below:
            faults.append(f"unit {name}: {n_infinite} not finite, {n_below} negative")
        infinite, below, total = infinite + n_infinite, below + n_below, total + train.size
    if faults:
        raise SchemaError(
            "spike times cannot be: " + " and ".join(
                [f"{infinite} are not finite"] * bool(infinite) + [f"{below} are negative"] * bool(below)
            ),
            code="NT-DATA-003" if infinite else "NT-DATA-007",
            path=path,
            where=_listed(faults),
            found=f"{infinite + below} of {total} spikes, in {len(faults)} of {len(trains)} units",
            expected="finite seconds from the start of the recording",
            fix="correct the file: the times were written wrongly; they are never dropped in silence",
        )  # fmt: skip


def _refuse_twice(labels: Sequence[Any] | np.ndarray, path: Path | None) -> None:
    twice = [str(name) for name, n in Counter(np.asarray(labels).tolist()).items() if n > 1]
    if twice:
        raise SchemaError(
            "unit ids occur more than once",
            code="NT-DATA-006", path=path, found=", ".join(twice[:SHOWN]), expected="one id per unit",
        )  # fmt: skip


def _listed(entries: list[str]) -> str:
    more = f"; and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
    return "; ".join(entries[:SHOWN]) + more
