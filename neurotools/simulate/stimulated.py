"""Animals whose units form communities that come and go, some of them with stimuli."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from neurotools.errors import SettingsError
from neurotools.schema import events_table, recording_tree, time_axis

PART = 0.3  # share of the units in each of the two communities of a motif
GAIN = (0.6, 1.0)  # how strongly a unit follows its community
SHARE = (0.2, 1.0)  # how strongly animals express a motif: evenly spread, in random order
VISIT_S = (5.0, 9.0)  # length of a stretch in which a motif is engaged
PAUSE_S = (5.0, 9.0)


@dataclass(frozen=True)
class Planted:
    """What no animal shows directly: communities, how much each unit and animal takes part, and when."""

    label: np.ndarray  # (component, unit); 0 takes no part
    gain: np.ndarray  # (component, unit)
    share: np.ndarray  # (component, subject)
    start: np.ndarray  # (interval)
    stop: np.ndarray
    owner: np.ndarray  # component of each interval


def stimulated_communities(
    *,
    n_units: int = 40,
    n_motifs: int = 3,
    n_stimuli: int = 2,
    n_subjects: int = 8,
    missing: float = 0.2,
    duration_s: float = 240.0,
    sfreq: float = 10.0,
    decay_s: float = 0.2,
    noise: float = 0.2,
    group_effect: float = 1.0,
    seed: int = 0,
) -> tuple[xr.DataTree, xr.Dataset]:
    """Calcium traces of several animals with planted motifs, communities and intervals.

    While a motif is engaged, the units of its first community follow a fluctuation that is common to them,
    and those of its second community the opposite one; the others are not touched. Every animal fluctuates in
    its own way, but all share when it happens: the first motifs are engaged by one stimulus each, the others
    by themselves. Activity passes through a calcium kernel that decays exponentially; white noise is added.
    In ``dynamic_communities``, by contrast, some motif is always active and all animals fluctuate alike.

    Parameters
    ----------
    n_units, n_motifs, n_subjects : int
        Each community of a motif has about 30 % of the units, drawn for every motif anew.
    n_stimuli : int
        How many motifs, of ``n_motifs``, are engaged by a stimulus: from its onset to its end.
    missing : float
        Share of (subject, unit) rows that are not observed: NaN. Every two units are seen together somewhere.
    duration_s, sfreq : float, in s and Hz
    decay_s : float, in s
        Time constant of the calcium kernel.
    noise : float
        Standard deviation of the noise over that of the traces of units while they are engaged.
    group_effect : float
        In the second half of the animals (coordinate ``group`` "b") the last motif is this many times as
        strong as it would be.
    seed : int
        The same seed gives the same recording.

    Returns
    -------
    recording : xarray.DataTree
        ``calcium/activity`` (subject, unit, time) and ``events``, the stimuli.
    truth : xarray.Dataset
        ``label`` (component, unit), 0 for units that take no part, ``gain`` (component, unit),
        ``subject_loading`` (component, subject), ``engaged`` (component, time), ``interval_start``,
        ``interval_stop`` (s) and ``interval_component`` (interval), ``motif`` (component, unit, unit_to), the
        geometric mean of the gains within a community, ``observed`` (subject, unit), ``calcium`` (subject,
        unit, time) without noise, ``stimulus`` (component), -1 for none.

    Raises
    ------
    SettingsError
        A number is out of range.
    """
    _check(n_units, n_motifs, n_stimuli, n_subjects, missing)
    for name, value in {"sfreq": sfreq, "decay_s": decay_s, "group_effect": group_effect}.items():
        if not 0 < value < np.inf:
            raise SettingsError(f"{name} must be positive and finite", found=value)
    if not noise >= 0 or not duration_s * sfreq >= 50:
        raise SettingsError(
            "noise is at least 0, and there are at least 50 samples", found=(noise, duration_s)
        )
    rng = np.random.default_rng(seed)
    planted = _planted(rng, n_units, n_motifs, n_subjects, duration_s)
    planted.share[-1, n_subjects // 2 :] *= group_effect
    time = time_axis(round(duration_s * sfreq), sfreq)
    engaged = _engaged(planted, time, n_motifs)
    calcium = _calcium(rng, planted, engaged, sfreq * decay_s)
    level = calcium[calcium != 0].std() if calcium.any() else 1.0
    observed = _observed(rng, n_subjects, n_units, missing)
    values = calcium + noise * level * rng.normal(size=calcium.shape)
    units = [f"u{k:02d}" for k in range(n_units)]
    names = [f"animal {k}" for k in range(n_subjects)]
    traces = xr.DataArray(
        np.where(observed[..., None], values, np.nan),
        dims=("subject", "unit", "time"),
        coords={
            "subject": names, "unit": units, "time": ("time", time, {"units": "s"}),
            "group": ("subject", np.where(np.arange(n_subjects) < n_subjects // 2, "a", "b")),
        },
        attrs={"units": "1", "sfreq": float(sfreq), "t0": 0.0},
    )  # fmt: skip
    recording = recording_tree(
        {"calcium/activity": traces, "events": _stimuli(planted, n_stimuli)}, kind="calcium", simulated=1
    )
    given = {"observed": observed, "engaged": engaged, "calcium": calcium}
    return recording, _truth(planted, traces, given, n_stimuli)


def _check(n_units: int, n_motifs: int, n_stimuli: int, n_subjects: int, missing: float) -> None:
    if n_units < 8 or n_motifs < 1 or n_subjects < 1 or not 0 <= n_stimuli <= n_motifs:
        raise SettingsError(
            "at least 8 units, 1 motif and 1 subject are needed, and no more stimuli than motifs",
            found=f"{n_units} units, {n_motifs} motifs, {n_subjects} subjects, {n_stimuli} stimuli",
        )
    if not 0 <= missing <= 0.6 or (missing > 0 and n_subjects < 3):
        raise SettingsError(
            "from 0 to 0.6 of the rows may be missing, in three subjects or more", found=missing
        )


# ---- what is planted ------------------------------------------------------------------------------------
def _planted(
    rng: np.random.Generator, n_units: int, n_motifs: int, n_subjects: int, duration_s: float
) -> Planted:
    size = max(2, round(PART * n_units))
    label = np.zeros((n_motifs, n_units), dtype=int)
    for row in label:
        row[rng.permutation(n_units)[: 2 * size]] = np.repeat([1, 2], size)
    gain = rng.uniform(*GAIN, label.shape) * (label > 0)
    share = rng.permuted(np.tile(np.linspace(*SHARE, n_subjects), (n_motifs, 1)), axis=1)
    starts: list[float] = []
    stops: list[float] = []
    owners: list[int] = []
    # One motif after the other in random order, each as often as the others, with pauses between.
    now, order = rng.uniform(*PAUSE_S), list(rng.permutation(n_motifs))
    while True:
        length = rng.uniform(*VISIT_S)
        if now + length + PAUSE_S[0] > duration_s:
            break
        starts, stops, owners = [*starts, now], [*stops, now + length], [*owners, int(order.pop())]
        now += length + rng.uniform(*PAUSE_S)
        order = order or list(rng.permutation(n_motifs))
    return Planted(label, gain, share, np.array(starts), np.array(stops), np.array(owners, dtype=int))


def _engaged(planted: Planted, time: np.ndarray, n_motifs: int) -> np.ndarray:
    engaged = np.zeros((n_motifs, time.size), dtype=bool)
    for start, stop, owner in zip(planted.start, planted.stop, planted.owner, strict=True):
        engaged[owner] |= (time >= start) & (time < stop)
    return engaged


def _calcium(rng: np.random.Generator, planted: Planted, engaged: np.ndarray, decay: float) -> np.ndarray:
    """Traces without noise (subject, unit, time): common fluctuations through the kernel of calcium."""
    from scipy.signal import lfilter

    n_motifs, n_subjects = planted.share.shape
    sign = np.where(planted.label == 1, 1.0, -1.0) * planted.gain
    common = rng.normal(size=(n_subjects, n_motifs, engaged.shape[1])) * engaged
    size = np.sqrt((common**2).sum(axis=-1) / np.maximum(engaged.sum(axis=-1), 1))
    common /= np.where(size > 0, size, 1.0)[..., None]  # so that an animal's share is what it shows
    drive = np.einsum("kw,ku,wkt->wut", planted.share, sign, common, optimize=True)
    return lfilter([1.0], [1.0, -np.exp(-1.0 / decay)], drive, axis=-1)


def _observed(rng: np.random.Generator, n_subjects: int, n_units: int, missing: float) -> np.ndarray:
    """Which subject shows which unit; drawn again until every two units are seen together somewhere."""
    for _ in range(1000):
        seen = rng.random((n_subjects, n_units)) >= missing
        if (seen.T.astype(int) @ seen.astype(int) > 0).all():
            return seen
    raise SettingsError(
        "some two units would never be seen together", found=f"{missing:g} missing of {n_subjects} subjects",
        fix="more subjects, or fewer missing",
    )  # fmt: skip


# ---- what is told ---------------------------------------------------------------------------------------
def _stimuli(planted: Planted, n_stimuli: int) -> xr.Dataset:
    evoked = planted.owner < n_stimuli
    kinds = np.array([f"stimulus {k}" for k in planted.owner[evoked]], dtype=object)
    start = planted.start[evoked]
    return events_table(start, planted.stop[evoked] - start, kinds if kinds.size else "none")


def _truth(
    planted: Planted, traces: xr.DataArray, given: dict[str, np.ndarray], n_stimuli: int
) -> xr.Dataset:
    alike = (planted.label[:, :, None] == planted.label[:, None, :]) & (planted.label[:, :, None] > 0)
    alike &= ~np.eye(traces.sizes["unit"], dtype=bool)
    motif = np.sqrt(planted.gain[:, :, None] * planted.gain[:, None, :]) * alike
    number = np.arange(len(planted.label))
    return xr.Dataset(
        {
            "label": (("component", "unit"), planted.label),
            "gain": (("component", "unit"), planted.gain),
            "subject_loading": (("component", "subject"), planted.share),
            "engaged": (("component", "time"), given["engaged"]),
            "interval_start": ("interval", planted.start, {"units": "s"}),
            "interval_stop": ("interval", planted.stop, {"units": "s"}),
            "interval_component": ("interval", planted.owner),
            "motif": (("component", "unit", "unit_to"), motif),
            "observed": (("subject", "unit"), given["observed"]),
            "calcium": (("subject", "unit", "time"), given["calcium"], {"units": "1"}),
            "stimulus": ("component", np.where(number < n_stimuli, number, -1)),
        },
        coords={**traces.coords, "component": number, "unit_to": traces["unit"].to_numpy()},
    )
