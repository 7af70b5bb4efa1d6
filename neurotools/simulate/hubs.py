"""Spiking neurons among which a few drive many others, so that it is known who drives whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SettingsError, lookup
from neurotools.schema import recording_tree, spike_table

STEP_S = 0.0005
TAU_S = 0.020  # membrane
REFRACTORY_S = 0.003
DELAY_S = 0.002  # of a spike on its way
NOISE = 0.35  # thresholds per square root of tau
DRIVE = (0.75, 0.95)  # constant input of each unit, in thresholds
N_TARGETS = 12  # of each hub, its own
HUB_WEIGHT, WEIGHT = 0.25, 0.08  # jump of the membrane, in thresholds
DENSITY = 0.02  # of the other connections
INHIBITORY = 0.2  # share of units that inhibit; hubs excite
SHARED = 0.5  # share of the noise's variance that all units have in common, where the drive is shared
WARM_UP_S = 1.0
CHUNK = 4000  # steps whose noise is drawn at once


def hub_circuit(
    *,
    n_units: int = 60,
    n_hubs: int = 3,
    duration_s: float = 1200.0,
    drive: str = "independent",
    seed: int = 0,
) -> tuple[xr.DataTree, xr.Dataset]:
    """Spikes of leaky integrate-and-fire neurons; hubs drive twelve others each.

        tau dV_i = (mu_i - V_i + sum_j W_ji s_j(t - d)) dt + sigma sqrt(tau) dB_i

    with tau 20 ms, threshold 1, reset 0, refractory for 3 ms, delay d 2 ms, steps of 0.5 ms, sigma 0.35 and
    mu from 0.75 to 0.95. A hub's spike lifts its targets by 0.25; any two other units are connected with
    probability 0.02, by 0.08; of the units that are no hubs, 20 % inhibit. Hubs are units drawn at random.

    Parameters
    ----------
    n_units, n_hubs : int
        A hub has 12 targets that no other hub has, so ``n_units`` is at least 13 ``n_hubs``.
    duration_s : float
        In s.
    drive : {"independent", "shared"}
        ``"shared"``: no unit drives another, and half of the variance of every unit's noise is one and the
        same: what looks like a connection there is none.
    seed : int
        Of connections, drive and noise; both kinds of drive have the same connections in ``truth``.

    Returns
    -------
    recording : xarray.DataTree
        ``spikes/spike_time``, at about 18 Hz, or 14 Hz where the drive is shared.
    truth : xarray.Dataset
        ``weight`` (unit, unit_to), sender first, in thresholds; of a shared drive the weights that are *not*
        there, for whoever asks what a method makes of them. ``hub`` (unit), ``drive`` (unit). attrs
        ``connected``: 1, or 0 of a shared drive.

    Raises
    ------
    SettingsError
        A number is out of range.
    """
    if n_hubs < 0 or n_units < max(2, (N_TARGETS + 1) * n_hubs) or not duration_s > 0:
        raise SettingsError(
            "each hub needs 12 targets of its own, and a recording lasts for a time",
            found=f"{n_units} units, {n_hubs} hubs, {duration_s:g} s",
            expected=f"at least {max(2, (N_TARGETS + 1) * n_hubs)} units",
        )
    common = lookup("drive", drive, DRIVES)
    rng = np.random.default_rng(seed)
    weight, hub = connections(rng, n_units, n_hubs)
    constant = rng.uniform(*DRIVE, n_units)
    wiring = Wiring(np.zeros_like(weight) if common else weight, constant, common)
    trains = spikes_of(wiring, duration_s, rng)
    table = spike_table(trains, t_start=0.0, t_stop=duration_s)
    truth = xr.Dataset(
        {"weight": (("unit", "unit_to"), weight, {"units": "1"}), "hub": ("unit", hub),
         "drive": ("unit", constant, {"units": "1"})},
        coords={"unit": np.arange(n_units), "unit_to": np.arange(n_units)},
        attrs={"connected": int(not common)},
    )  # fmt: skip
    return recording_tree({"spikes": table}, kind="spikes", simulated=1), truth


DRIVES = {"independent": 0.0, "shared": SHARED}


def connections(rng: np.random.Generator, n_units: int, n_hubs: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights, sender first, and which units are hubs."""
    order = rng.permutation(n_units)
    hubs, rest = order[:n_hubs], order[n_hubs:]
    inhibitory = np.zeros(n_units, dtype=bool)
    inhibitory[rng.choice(rest, round(INHIBITORY * len(rest)), replace=False)] = True
    weight = np.where(rng.random((n_units, n_units)) < DENSITY, WEIGHT, 0.0)
    weight[inhibitory] *= -1
    weight[hubs] = 0.0
    for k, hub in enumerate(hubs):
        weight[hub, rest[k * N_TARGETS : (k + 1) * N_TARGETS]] = HUB_WEIGHT
    np.fill_diagonal(weight, 0.0)
    return weight, np.isin(np.arange(n_units), hubs)


@dataclass(frozen=True)
class Wiring:
    """Who drives whom, and what drives each."""

    weight: np.ndarray  # (unit, unit_to)
    constant: np.ndarray  # (unit,)
    common: float  # share of the noise's variance


def spikes_of(wiring: Wiring, duration_s: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Times of spikes of each unit, by steps of Euler and Maruyama."""
    n_units = len(wiring.constant)
    warm, n_steps = round(WARM_UP_S / STEP_S), round((WARM_UP_S + duration_s) / STEP_S)
    state = State(n_units)
    found: list[tuple[int, np.ndarray]] = []
    for first in range(0, n_steps, CHUNK):
        noise = noise_of(rng, min(CHUNK, n_steps - first), n_units, wiring.common)
        found += state.advance(first, noise, wiring)
    steps = np.concatenate([np.full(len(who), step) for step, who in found] or [np.empty(0)])
    units = np.concatenate([who for _, who in found] or [np.empty(0, dtype=int)])
    kept = steps >= warm
    times = (steps[kept] - warm) * STEP_S
    return [times[units[kept] == unit] for unit in range(n_units)]


def noise_of(rng: np.random.Generator, n_steps: int, n_units: int, common: float) -> np.ndarray:
    """Jumps of the membrane by noise, (step, unit)."""
    own = rng.standard_normal((n_steps, n_units), dtype="float32")
    if common:
        own = np.sqrt(1 - common) * own + np.sqrt(common) * rng.standard_normal((n_steps, 1), dtype="float32")
    return np.asarray(NOISE * np.sqrt(STEP_S / TAU_S) * own)


class State:
    """Membranes, rest after a spike, and spikes on their way."""

    def __init__(self, n_units: int) -> None:
        self.membrane = np.zeros(n_units)
        self.ready = np.zeros(n_units)  # the step from which a unit can fire again
        self.coming: dict[int, Any] = {}  # step -> jump of each membrane

    def advance(self, first: int, noise: np.ndarray, wiring: Wiring) -> list[tuple[int, np.ndarray]]:
        """Steps with spikes, and who fires in them."""
        keep, inward = 1 - STEP_S / TAU_S, wiring.constant * (STEP_S / TAU_S)
        delay, rest = round(DELAY_S / STEP_S), round(REFRACTORY_S / STEP_S)
        found, membrane = [], self.membrane
        for step, jump in enumerate(noise + inward, start=first):
            membrane *= keep
            membrane += jump
            if step in self.coming:
                membrane += self.coming.pop(step)
            if membrane.max() < 1 and step >= self.ready.max():
                continue
            membrane[self.ready > step] = 0.0
            who = np.flatnonzero(membrane >= 1)
            if who.size:
                membrane[who] = 0.0
                self.ready[who] = step + rest
                self.coming[step + delay] = wiring.weight[who].sum(0)
                found.append((step, who))
        return found
