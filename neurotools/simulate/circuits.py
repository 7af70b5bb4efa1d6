"""Circuits whose units work together in ways that are known, because they were planted."""

from __future__ import annotations

import itertools

import numpy as np
import xarray as xr

from neurotools.errors import SettingsError
from neurotools.schema import continuous, recording_tree, time_axis

SFREQ_HZ = 10.0
VISIT_S = 8.0  # how long a motif stays
VISIT_SAMPLES = round(VISIT_S * SFREQ_HZ)
N_VISITS = 6  # how often each comes
RATE_HZ = 5.0  # of spikes of a unit that follows no motif
GAIN = 2.0  # log rate of a unit follows its motif's source with this amplitude
SOURCE_HZ = 0.4  # fluctuations of a source
DECAY_S = 0.5  # of the calcium transient of one spike
CORE_SHARE = 0.3  # of the units in each of the two communities that a motif drives
MEANWHILE = 2  # the community of units that a motif leaves alone


def dynamic_communities(
    *,
    n_units: int = 40,
    n_motifs: int = 3,
    n_subjects: int = 1,
    missing: float = 0.0,
    noise: float = 0.05,
    seed: int = 0,
) -> tuple[xr.DataTree, xr.Dataset]:
    """Calcium traces of units that form other communities in each of several recurring motifs.

    One motif is active at a time, in stretches of 8 s, six of each in random order. A motif has a source that
    fluctuates at about 0.4 Hz. One community of units follows it, a second does the opposite, and the others
    spike at 5 Hz whatever the motif. So at one moment units of one community rise or fall together, and
    units of the two communities never do. Spikes are Poisson; each adds a transient that decays with 0.5 s;
    noise comes on top. Subjects share the clock and the motifs, each with its own spikes and its own strength
    of every motif.

    Parameters
    ----------
    n_units : int
        Units, at least 6.
    n_motifs : int
        Motifs; each has communities of its own, drawn at random.
    n_subjects : int
        With one, the traces are (unit, time); with several (subject, unit, time).
    missing : float
        Chance, from 0 to below 1, that a unit was not seen in a subject: its row is NaN. Every unit is seen
        in at least one subject. Only with several subjects.
    noise : float
        Standard deviation of the noise of a sample, as a share of the standard deviation of its trace.
    seed : int
        The same seed gives the same recording.

    Returns
    -------
    recording : xarray.DataTree
        ``calcium/activity``, at 10 Hz.
    truth : xarray.Dataset
        ``label`` (component, unit): 0 follows, 1 opposes, 2 is left alone. ``active`` (component, time),
        ``source`` (component, time), ``interval_start``, ``interval_stop`` (s), ``interval_component``
        (interval); with several subjects ``subject_loading`` (component, subject), from 0.4 to 1, and
        ``observed`` (subject, unit).

    Raises
    ------
    SettingsError
        A number is out of range.
    """
    _check(n_units, n_motifs, n_subjects, missing, noise)
    rng = np.random.default_rng(seed)
    label = _partitions(rng, n_motifs, n_units)
    visits = rng.permutation(np.repeat(np.arange(n_motifs), N_VISITS))
    source = _sources(rng, n_motifs, visits.size) * _active(visits, n_motifs)
    strength = rng.uniform(0.4, 1.0, (n_motifs, n_subjects)) if n_subjects > 1 else np.ones((n_motifs, 1))
    sign = np.array([1.0, -1.0, 0.0])[label]
    drive = GAIN * np.einsum("ku,kt,ks->sut", sign, source, strength)
    traces = _calcium(rng, drive, noise)
    observed = _observed(rng, n_subjects, n_units, missing)
    traces[~observed] = np.nan
    recording = recording_tree({"calcium/activity": _named(traces, observed)}, kind="calcium", simulated=1)
    return recording, _truth(label, visits, source, strength, observed)


def _check(n_units: int, n_motifs: int, n_subjects: int, missing: float, noise: float) -> None:
    if n_units < 6 or n_motifs < 1 or n_subjects < 1:
        raise SettingsError(
            "at least 6 units, 1 motif and 1 subject are needed",
            found=f"{n_units} units, {n_motifs} motifs, {n_subjects} subjects",
        )
    if not 0 <= missing < 1 or not noise >= 0:
        raise SettingsError(
            "missing is a chance from 0 to below 1, noise at least 0",
            found=f"missing={missing}, noise={noise}",
        )
    if missing and n_subjects == 1:
        raise SettingsError(
            "units are missing only among several subjects", code="NT-SET-003", fix="n_subjects=4"
        )


# ---- what is planted ----------------------------------------------------------------------------------
def _partitions(rng: np.random.Generator, n_motifs: int, n_units: int) -> np.ndarray:
    core = max(2, round(CORE_SHARE * n_units))
    one = np.repeat([0, 1, MEANWHILE], [core, core, n_units - 2 * core])
    return rng.permuted(np.tile(one, (n_motifs, 1)), axis=1)


def _active(visits: np.ndarray, n_motifs: int) -> np.ndarray:
    return np.repeat(visits == np.arange(n_motifs)[:, None], VISIT_SAMPLES, axis=1)


def _sources(rng: np.random.Generator, n_motifs: int, n_visits: int) -> np.ndarray:
    """Fluctuations of every motif in every visit: they begin and end at zero, with amplitude one."""
    phase = np.arange(VISIT_SAMPLES) / VISIT_SAMPLES
    cycles = max(2, round(SOURCE_HZ * VISIT_S))
    waves = np.sin(2 * np.pi * np.arange(cycles - 1, cycles + 2)[:, None] * phase)
    mixed = rng.normal(size=(n_motifs, n_visits, 3)) @ waves
    mixed /= np.abs(mixed).max(axis=-1, keepdims=True)
    return mixed.reshape(n_motifs, n_visits * VISIT_SAMPLES)


def _observed(rng: np.random.Generator, n_subjects: int, n_units: int, missing: float) -> np.ndarray:
    seen = rng.random((n_subjects, n_units)) >= missing
    seen[rng.integers(n_subjects, size=n_units), np.arange(n_units)] = True
    return seen


# ---- what is measured ---------------------------------------------------------------------------------
def _calcium(rng: np.random.Generator, drive: np.ndarray, noise: float) -> np.ndarray:
    from scipy.signal import lfilter

    spikes = rng.poisson(RATE_HZ / SFREQ_HZ * np.exp(drive))
    traces = lfilter([1.0], [1.0, -np.exp(-1.0 / (DECAY_S * SFREQ_HZ))], spikes, axis=-1)
    size = traces.std(axis=-1, keepdims=True)
    return traces + noise * size * rng.normal(size=traces.shape)


def _named(traces: np.ndarray, observed: np.ndarray) -> xr.DataArray:
    each = [continuous(one, dim="unit", sfreq=SFREQ_HZ, units="1") for one in traces]
    if len(each) == 1:
        return each[0]
    subjects = _subject_names(len(each))
    labels = xr.DataArray(subjects, dims="subject", name="subject")
    array = xr.concat(each, dim=labels, combine_attrs="override")
    return array.assign_coords(observed=(("subject", "unit"), observed))


def _subject_names(n: int) -> list[str]:
    return [f"s{k}" for k in range(n)]


def _truth(
    label: np.ndarray, visits: np.ndarray, source: np.ndarray, strength: np.ndarray, observed: np.ndarray
) -> xr.Dataset:
    # Two visits of one motif in a row are one interval.
    first = np.flatnonzero(np.r_[True, visits[1:] != visits[:-1]])
    edges = list(itertools.pairwise([*(first * VISIT_S), visits.size * VISIT_S]))
    truth = xr.Dataset(
        {
            "label": (("component", "unit"), label),
            "active": (("component", "time"), _active(visits, len(label))),
            "source": (("component", "time"), source, {"units": "1"}),
            "interval_start": ("interval", [start for start, _ in edges], {"units": "s"}),
            "interval_stop": ("interval", [stop for _, stop in edges], {"units": "s"}),
            "interval_component": ("interval", visits[first]),
        },
        coords={
            "component": np.arange(len(label)),
            "unit": np.arange(label.shape[1]),
            "time": ("time", time_axis(source.shape[1], SFREQ_HZ), {"units": "s"}),
        },
    )
    if strength.shape[1] == 1:
        return truth
    truth["subject_loading"] = (("component", "subject"), strength)
    truth["observed"] = (("subject", "unit"), observed)
    return truth.assign_coords(subject=_subject_names(strength.shape[1]))
