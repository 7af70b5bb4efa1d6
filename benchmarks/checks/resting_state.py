"""Sixteen people at rest: whether the motifs that a person shows are the person's own."""

from __future__ import annotations

import numpy as np
import xarray as xr

import neurotools as nt
from benchmarks.record import Row, shared

SFREQ_HZ = 1 / 0.72
RANKS = (8, 16, 32)


def identified() -> list[Row]:
    """Who is who across halves of a run, by loadings of motifs, beside plain functional connectivity.

    Motifs of edge time series are learned from the first halves of all people laid end to end (three starts,
    60 sweeps); a person's loadings are the mean time courses of the motifs in a half, those of the second by
    projection. Halves are standardised by themselves, slower than 0.01 Hz removed. A second half belongs to
    the first half whose loadings, less the mean over people, correlate most. Chance is one of sixteen.
    """
    series = half_series()
    first, second = (joined(series.isel(half=k)) for k in (0, 1))
    rows = []
    for rank in RANKS:
        for layout in ("symcp", "pair"):
            model = nt.NTF(rank, layout=layout, n_restarts=3, max_iter=60, tol=1e-4, dtype="float32")
            fit = model.fit(nt.differential_affinity(first, kernel="edge"))
            there = model.transform(fit, nt.differential_affinity(second, kernel="edge"))
            loadings = [by_person(loading) for loading in (fit["time_loading"], there)]
            explained = 100 * (1 - fit.attrs["relative_error"] ** 2)
            rows.append(
                Row(f"people identified of 16, {rank} motifs, {layout}", float(matches(*loadings)),
                    note=f"{explained:.0f} % of the squared affinities explained")
            )  # fmt: skip
    plain = [connectivity(series.isel(half=k)) for k in (0, 1)]
    positive = [np.maximum(one, 0) for one in plain]
    centre = plain[0].mean(axis=0)
    axes = np.linalg.svd(plain[0] - centre, full_matrices=False)[2][:8]
    few = [(one - centre) @ axes.T for one in plain]
    return [
        *rows,
        Row("the same, functional connectivity", float(matches(*plain)), note="4,371 numbers a person"),
        Row("the same, where positive", float(matches(*positive))),
        Row("the same, 8 principal components of connectivity", float(matches(*few)),
            note="of the first halves; as many numbers as 8 motifs give"),
    ]  # fmt: skip


def half_series() -> xr.DataArray:
    """Series (half, subject, region, time), each half cleaned and standardised by itself."""
    path = shared("data/fmri_hcp_aal2_timeseries") / "hcp_rest1lr_aal2_16subjects.npz"
    with np.load(path, allow_pickle=False) as file:
        bold, people = file["bold"].astype("float64"), file["subject"]
    n = bold.shape[-1] // 2
    halves = []
    for k in (0, 1):
        part = bold[..., k * n : (k + 1) * n]
        coords = {"subject": people, "region": np.arange(part.shape[1]), "time": np.arange(n) / SFREQ_HZ}
        array = xr.DataArray(part, dims=("subject", "region", "time"), coords=coords, attrs={"units": "1"})
        halves.append(nt.clean(array, low=0.01, standardize="zscore"))
    return xr.concat(halves, dim="half")


def joined(series: xr.DataArray) -> xr.DataArray:
    """All people end to end, each a session of its own."""
    values = series.transpose("region", "subject", "time").to_numpy()
    n_regions, n_people, n = values.shape
    return xr.DataArray(
        values.reshape(n_regions, -1),
        dims=("region", "time"),
        coords={
            "region": series["region"], "time": np.arange(n_people * n) / SFREQ_HZ,
            "session": ("time", np.repeat(np.arange(n_people), n)),
        },
    )  # fmt: skip


def by_person(loading: xr.DataArray) -> np.ndarray:
    """Mean time course of every motif in every person, (person, component)."""
    values = loading.transpose("component", "time").to_numpy()
    return values.reshape(len(values), 16, -1).mean(axis=-1).T


def connectivity(series: xr.DataArray) -> np.ndarray:
    """Correlations of every two regions, (person, pair)."""
    values = series.transpose("subject", "region", "time").to_numpy()
    upper = np.triu_indices(values.shape[1], 1)
    return np.stack([np.corrcoef(one)[upper] for one in values])


def matches(first: np.ndarray, second: np.ndarray) -> int:
    """Second halves whose most similar first half is of the same person."""
    left, right = (one - one.mean(axis=0) for one in (first, second))
    left, right = (one - one.mean(axis=1, keepdims=True) for one in (left, right))
    cosine = (right @ left.T) / np.linalg.norm(right, axis=1)[:, None] / np.linalg.norm(left, axis=1)
    return int((cosine.argmax(axis=1) == np.arange(len(cosine))).sum())
