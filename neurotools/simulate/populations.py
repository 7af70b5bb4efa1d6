"""A population of spiking units whose couplings switch with the state of the brain."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurotools.errors import SettingsError
from neurotools.schema import counts_array, events_table, recording_tree

BIN_S = 0.02
VISIT_S = 3.0  # mean length of a visit to a state
LAGS = 5  # bins of history, weights proportional to exp(-lag)
LINKED = 0.2  # share of the pairs of units that are coupled
STRENGTH = (0.6, 1.6)  # of a coupling, predictor per spike, before excitation is bounded
MOST = 0.9  # excitation that a unit receives, summed over all others
CHANGED = 0.75  # share of the couplings that belong to one state alone
RATE = (-1.6, -0.6)  # bias of a unit: softplus of it is spikes per bin
LOUDER = 0.5  # bias gained in every second state


def switching_population(
    *,
    n_units: int = 16,
    n_states: int = 2,
    n_sessions: int = 6,
    duration_s: float = 60.0,
    changes: bool = True,
    seed: int = 0,
) -> tuple[xr.DataTree, xr.Dataset]:
    """Spike counts of a population in which one hidden state sets rates and couplings of all units.

    Counts in bins of 20 ms are Poisson with mean softplus(bias + couplings x recent spikes), where recent
    spikes are weighted by exp(-lag) over five bins. A fifth of the pairs are coupled; a unit excites, or
    (one in four) inhibits, all its targets. A quarter of the couplings are there in every state, the others
    in one state only. Every second state is louder, and marked by events as an outside measure of arousal
    would mark it. Visits last 3 s on average.

    Parameters
    ----------
    n_units, n_states, n_sessions : int
    duration_s : float
        Of a session, in seconds.
    changes : bool
        Whether couplings change; without, states differ in rates alone: what a test of changing couplings
        has to tell apart.
    seed : int
        The same seed gives the same spikes.

    Returns
    -------
    recording : xarray.DataTree
        ``counts/counts`` (time, unit) with ``session`` on ``time``, and ``events``, the stretches of arousal.
    truth : xarray.Dataset
        ``path`` (time), the state of each bin, ``weight`` (state, unit, unit_to, basis), where ``unit``
        sends, ``bias`` (state, unit_to), ``transition`` (state, state_to).

    Raises
    ------
    SettingsError
        There are fewer than 2 units, 1 state or session, or a session of less than a second.
    """
    if n_units < 2 or n_states < 1 or n_sessions < 1 or not duration_s >= 1:
        raise SettingsError(
            "at least 2 units, 1 state, 1 session and 1 s are needed",
            found=f"{n_units} units, {n_states} states, {n_sessions} sessions of {duration_s} s",
        )
    rng = np.random.default_rng(seed)
    weight = _couplings(rng, n_units, n_states, changes)
    bias = rng.uniform(*RATE, n_units) + LOUDER * (np.arange(n_states) % 2)[:, None]
    move = _moves(n_states)
    n_bins = round(duration_s / BIN_S)
    runs = [_session(rng, weight, bias, move, n_bins) for _ in range(n_sessions)]
    state, spikes = (np.concatenate(part) for part in zip(*runs, strict=True))
    units = [f"u{k:02d}" for k in range(n_units)]
    counts = counts_array(spikes, bin_width=BIN_S, unit=units)
    session = np.repeat(np.arange(n_sessions), n_bins)
    counts = counts.assign_coords(session=("time", session))
    recording = recording_tree(
        {"counts/counts": counts, "events": _arousal(state, session)}, kind="counts", simulated=1
    )
    truth = xr.Dataset(
        {
            "path": ("time", state),
            "weight": (("state", "unit", "unit_to", "basis"), weight[..., None]),
            "bias": (("state", "unit_to"), bias),
            "transition": (("state", "state_to"), move),
        },
        coords={
            "time": counts["time"],
            "state": np.arange(n_states),
            "unit": units,
            "unit_to": units,
            "basis": [0],
        },
    )
    return recording, truth


def _couplings(rng: np.random.Generator, n: int, n_states: int, changes: bool) -> np.ndarray:
    """Weights (state, sends, receives) with sign by sender; nothing drives itself."""
    sign = np.where(rng.random(n) < 0.25, -1.0, 1.0)
    size = rng.uniform(*STRENGTH, (n, n)) * sign[:, None]
    linked = (rng.random((n, n)) < LINKED) & ~np.eye(n, dtype=bool)
    owner = np.where(rng.random((n, n)) < CHANGED, rng.integers(n_states, size=(n, n)), -1)
    there = (owner == -1) | (owner == np.arange(n_states)[:, None, None]) | (not changes)
    weight = np.where(linked & there, size, 0.0)
    # A unit that received more than one spike for a spike could run away, as a softplus rises with slope one.
    total = np.maximum(weight, 0).sum(axis=1, keepdims=True)
    return np.where(weight > 0, weight * np.minimum(1.0, MOST / np.maximum(total, 1e-9)), weight)


def _moves(n_states: int) -> np.ndarray:
    leave = BIN_S / VISIT_S
    move = np.full((n_states, n_states), leave / max(n_states - 1, 1))
    np.fill_diagonal(move, 1 - leave if n_states > 1 else 1.0)
    return move


def _session(
    rng: np.random.Generator, weight: np.ndarray, bias: np.ndarray, move: np.ndarray, n_bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """States and counts of one session."""
    n_states, n = bias.shape
    state, spikes = np.empty(n_bins, dtype="int64"), np.zeros((n_bins, n), dtype="int64")
    share = np.exp(-np.arange(LAGS))
    share = (share / share.sum())[::-1]
    now = int(rng.integers(n_states))
    for t in range(n_bins):
        if t and rng.random() > move[now, now]:
            now = int((now + rng.integers(1, n_states)) % n_states) if n_states > 1 else now
        past = spikes[max(0, t - LAGS) : t]
        recent = share[LAGS - len(past) :] @ past if t else np.zeros(n)
        state[t], spikes[t] = now, rng.poisson(np.logaddexp(0, bias[now] + recent @ weight[now]))
    return state, spikes


def _arousal(state: np.ndarray, session: np.ndarray) -> xr.Dataset:
    """Stretches in which the state is odd, as events."""
    odd = state % 2 == 1
    new = np.r_[True, (odd[1:] != odd[:-1]) | (session[1:] != session[:-1])]
    first = np.flatnonzero(new)
    stop = np.append(first[1:], odd.size)
    first, stop = first[odd[first]], stop[odd[first]]
    return events_table(first * BIN_S, (stop - first) * BIN_S, "aroused")
