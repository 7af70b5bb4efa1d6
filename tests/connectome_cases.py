"""Small results of a dynamic connectome with known content, for tests of plots and reports."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from neurotools import schema


def results(
    *,
    dim: str = "unit",
    layout: str = "pair",
    n: int = 12,
    rank: int = 3,
    n_blocks: int = 3,
    subjects: int = 0,
    sessions: bool = False,
    names: list[str] | None = None,
    **attrs: Any,
) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """Fit, communities and connectome over 40 samples at 10 Hz."""
    rng = np.random.default_rng(5)
    labels = (
        np.array(names)
        if names
        else (np.arange(n) + 100 if dim == "unit" else [f"{dim}{i}" for i in range(n)])
    )
    time = schema.time_axis(40, 10.0)
    loading = rng.gamma(2.0, size=(rank, 40))
    blocks = rng.permuted(np.arange(n) % n_blocks * np.ones((rank, 1), int), axis=1)
    unit = rng.gamma(2.0, size=(rank, n))
    motif = unit[:, :, None] * unit[:, None, :] * rng.uniform(0.5, 1.0, size=(rank, n, n))
    motif = motif + motif.swapaxes(1, 2)
    motif[:, np.arange(n), np.arange(n)] = 0.0
    coords: dict[str, Any] = {
        "component": np.arange(rank),
        "time": ("time", time, {"units": "s"}),
        dim: labels,
    }
    fit = xr.Dataset(
        {
            "time_loading": (("component", "time"), loading, {"units": "1"}),
            "weight": ("component", np.sort(rng.gamma(5.0, size=rank))[::-1]),
            "error": ("iteration", 0.5 + 0.4 * np.exp(-np.arange(20) / 4)),
            "restart_error": ("restart", 0.5 + 0.01 * rng.permutation(4)),
            "restart_similarity": (("restart", "restart_to"), _similarity(rng, 4)),
        },
        coords=coords,
        attrs={
            "model": "ntf", "converged": 1, "n_iter": 20, "relative_error": 0.5, "kernel": "geomean",
            "seed": 7,
            "settings": json.dumps({"rank": rank, "layout": layout, "loss": "l2", "n_restarts": 4,
                                    "max_iter": 50, "tol": 1e-5, "seed": 7, "device": "cpu",
                                    "dtype": "float64"}),
            "neurotools_version": "0.1.0", **attrs,
        },
    )  # fmt: skip
    if layout == "pair":
        fit = fit.assign(motif=(("component", dim, f"{dim}_to"), motif)).assign_coords({f"{dim}_to": labels})
    else:
        fit["unit_loading"] = (("component", dim), unit)
    if subjects:
        fit["subject_loading"] = (("component", "subject"), rng.gamma(2.0, size=(rank, subjects)))
        fit = fit.assign_coords(subject=[f"s{i}" for i in range(subjects)])
    if sessions:
        fit = fit.assign_coords(session=("time", np.repeat(["day1", "day2"], 20)))
    return fit, _communities(blocks, coords, dim), _connectome(loading, blocks, coords, dim)


def _similarity(rng: np.random.Generator, n: int) -> np.ndarray:
    values = rng.uniform(0.91, 0.99, size=(n, n))
    values = (values + values.T) / 2
    np.fill_diagonal(values, 1.0)
    return values


def _communities(blocks: np.ndarray, coords: dict[str, Any], dim: str) -> xr.Dataset:
    rank = len(blocks)
    return xr.Dataset(
        {
            "label": (("component", dim), blocks),
            "n_blocks": ("component", blocks.max(axis=1) + 1),
            "description_length": (("component", "variant"), -50.0 - np.arange(2.0 * rank).reshape(rank, 2)),
            "null_description_length": ("component", np.full(rank, -20.0)),
        },
        coords={
            "component": coords["component"],
            dim: coords[dim],
            "variant": ["plain", "degree_corrected"],
        },
        attrs={
            "model": "block_model", "seed": 3,
            "settings": json.dumps({"weights": "exponential", "degree_corrected": "auto", "nested": False,
                                    "seed": 3}),
        },
    )  # fmt: skip


def _connectome(loading: np.ndarray, blocks: np.ndarray, coords: dict[str, Any], dim: str) -> xr.Dataset:
    active = loading > np.quantile(loading, 0.7, axis=1, keepdims=True)
    time, rows = coords["time"][1], []
    for component, on in enumerate(active):
        edge = np.flatnonzero(np.diff(np.concatenate([[0], on.astype(int), [0]])))
        rows += [(time[a], time[b - 1] + 0.1, component) for a, b in edge.reshape(-1, 2)]
    start, stop, owner = zip(*sorted(rows), strict=True)
    return xr.Dataset(
        {
            "active": (("component", "time"), active),
            "label": (("component", dim), blocks),
            "interval_start": ("interval", np.array(start), {"units": "s"}),
            "interval_stop": ("interval", np.array(stop), {"units": "s"}),
            "interval_component": ("interval", np.array(owner)),
        },
        coords=coords,
    )


def recording(**attrs: Any) -> xr.DataTree:
    """A calcium recording with a spectrogram and events; unit 103 never changes."""
    rng = np.random.default_rng(6)
    values = rng.gamma(1.0, size=(12, 40))
    values[3] = 0.0
    frequency = xr.DataArray(np.linspace(100.0, 800.0, 8), dims="frequency", attrs={"units": "Hz"})
    song = xr.DataArray(
        rng.gamma(1.0, size=(8, 80)),
        dims=("frequency", "time"),
        coords={"frequency": frequency, "time": ("time", schema.time_axis(80, 20.0), {"units": "s"})},
        attrs={"units": "dB"},
    )
    return schema.recording_tree(
        {
            "calcium/activity": schema.continuous(
                values, dim="unit", labels=np.arange(12) + 100, sfreq=10.0, units="1"
            ),
            "stimulus/song": song,
            "events": schema.events_table([0.5, 2.0, 3.0], [0.4, 0.0, 0.0], ["song", "tone", "tone"]),
        },
        **{"title": "A test bird", "citation": "Bird et al. 2019, eLife 8:e1", **attrs},
    )
