"""How much motifs would vary: a factorisation repeated on resampled stretches of time or subjects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, lookup
from neurotools.evaluate.folds import smoothing_reach
from neurotools.evaluate.motifs import motif
from neurotools.numerics import tensor
from neurotools.progress import working
from neurotools.schema.affinity import affinity_parts, session_edges

Data = xr.Dataset | xr.DataArray
MIN_BLOCKS = 5


def bootstrap_motifs(
    model: Any,
    data: Any,
    fit: xr.Dataset | None = None,
    *,
    over: str = "time",
    n_replicates: int = 20,
    block_s: float | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Motifs of resampled data, matched to those of all data: the uncertainty of every edge.

    Stretches of time (or subjects) are drawn with replacement, as many as there are; motifs are learned anew
    and paired with the fit's so that their total cosine is largest. Kuensch (1989), Annals of Statistics
    17(3), for blocks of a dependent series.

    Parameters
    ----------
    model : nt.NTF
    data : xarray.Dataset or xarray.DataArray
        The affinity.
    fit : xarray.Dataset, optional
        What to match with; fitted to all data when omitted.
    over : {"time", "subject"}
        What is drawn.
    n_replicates : int
    block_s : float, optional
        Length of a stretch in seconds; four times what smoothing joins, but at most a tenth of the recording,
        when omitted.
    seed : int

    Returns
    -------
    xarray.Dataset
        ``motif`` (replicate, component, unit, unit_to), on the scale of the fit's motifs; ``edge_mean`` and
        ``edge_sd`` (component, unit, unit_to) over replicates; ``similarity`` (replicate, component), the
        cosine of each motif with that of the fit; ``time_loading`` (replicate, component, time), when the
        replicate's motifs are engaged in all of the recording. attrs ``over``, ``block_samples``, ``seed``.
        ``nt.community_uncertainty`` and ``nt.interval_uncertainty`` carry them on to communities and
        intervals.

    Raises
    ------
    SchemaError
        Too little time for blocks, or too few subjects.
    """
    draw = lookup("unit of resampling", over, DRAWS)
    if n_replicates < 2:
        raise SettingsError("at least two replicates are needed", found=n_replicates)
    parts = affinity_parts(data)
    fit = model.fit(data) if fit is None else fit
    dims = ("component", parts.dim, f"{parts.dim}_to")
    reference = motif(fit).transpose(*dims)
    rng = np.random.default_rng(seed)
    block = block_samples(data, block_s)
    found, alike, times = [], [], []
    with working("motifs of resampled data") as show:
        for k in range(n_replicates):
            again = model.fit(draw(data, rng, block))
            values = motif(again).transpose(*dims).to_numpy()
            matched, order, cosine = matched_to(reference.to_numpy(), values)
            found.append(matched)
            alike.append(cosine)
            times.append(in_all_time(model, again, data, over)[order])
            show((k + 1) / n_replicates)
    values = np.stack(found)
    return xr.Dataset(
        {
            "motif": (("replicate", *dims), values),
            "edge_mean": (dims, values.mean(axis=0)),
            "edge_sd": (dims, values.std(axis=0, ddof=1)),
            "similarity": (("replicate", "component"), np.stack(alike)),
            "time_loading": (("replicate", "component", "time"), np.stack(times)),
        },
        coords={**reference.coords, **clock_of(fit), "replicate": np.arange(n_replicates)},
        attrs={"over": over, "block_samples": block if over == "time" else 0, "seed": int(seed)},
    )


def in_all_time(model: Any, again: xr.Dataset, data: Data, over: str) -> np.ndarray:
    """Time courses (component, time) of a replicate's motifs in all of the recording.

    Stretches that were drawn have a clock of their own, so motifs are looked for anew; subjects keep theirs.
    """
    loading = model.transform(again, data) if over == "time" else again["time_loading"]
    return loading.transpose("component", "time").to_numpy()


def clock_of(fit: xr.Dataset) -> dict[str, xr.DataArray]:
    """Coordinates along time, as far as the fit has any."""
    return {str(name): c.reset_coords(drop=True) for name, c in fit.coords.items() if c.dims == ("time",)}


def matched_to(reference: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Motifs in the order and length of the reference they resemble, that order, and their cosines."""
    left, right = (m.reshape(len(m), -1) for m in (reference, found))
    cosines = tensor.congruence([left], [right])
    order, _ = tensor.match(cosines)
    lengths = [tensor.norms(m) for m in (left, right[order])]
    scale = lengths[0] / np.where(lengths[1] > 0, lengths[1], 1.0)
    return found[order] * scale[:, None, None], order, cosines[np.arange(len(order)), order]


# ---- drawing ------------------------------------------------------------------------------------------
def block_samples(data: Data, block_s: float | None) -> int:
    """Length of a stretch in samples."""
    n = data.sizes["time"]
    if block_s is None:
        return max(2, min(4 * smoothing_reach(data), n // 10))
    step = float(np.median(np.diff(data["time"].to_numpy())))
    return max(1, round(block_s / step))


def time_blocks(data: Data, rng: np.random.Generator, block: int) -> Data:
    """Stretches drawn with replacement, laid end to end on a new clock; each is a session of its own."""
    n = data.sizes["time"]
    n_blocks = n // block
    if n_blocks < MIN_BLOCKS:
        raise SchemaError(
            "there is too little time to draw stretches from", code="NT-DATA-010",
            found=f"{n} samples, stretches of {block}", fix="choose a smaller block_s",
        )  # fmt: skip
    starts = rng.integers(0, n - block + 1, n_blocks)
    place = (starts[:, None] + np.arange(block)).ravel()
    array = data["drive_up"] if isinstance(data, xr.Dataset) else data
    edges = np.zeros(n, dtype=bool)
    edges[np.asarray(session_edges(array)[:-1])] = True
    begins = edges[place]
    begins[::block] = True
    step = float(np.median(np.diff(data["time"].to_numpy()))) if "time" in data.coords else 1.0
    drawn = data.isel(time=place).drop_vars([n for n, c in data.coords.items() if c.dims == ("time",)])
    return drawn.assign_coords(time=step * np.arange(place.size), session=("time", np.cumsum(begins)))


def subjects(data: Data, rng: np.random.Generator, block: int) -> Data:
    """Subjects drawn with replacement; at least two of them differ."""
    n = data.sizes.get("subject", 1)
    if n < 3:
        raise SchemaError("there are too few subjects to draw from", code="NT-DATA-010", found=n)
    while True:
        place = rng.integers(0, n, n)
        if len(set(place.tolist())) > 1:
            return data.isel(subject=place).assign_coords(subject=np.arange(n))


DRAWS: dict[str, Callable[[Data, np.random.Generator, int], Data]] = {
    "time": time_blocks,
    "subject": subjects,
}
