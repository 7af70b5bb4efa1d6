"""Small windows and small encoders for the frame, shared by its tests."""

from __future__ import annotations

import numpy as np
import xarray as xr

import neurotools as nt

SMALL = {
    "neurogpt": (
        "neurogpt-nano",
        {"n_filters": 4, "filter_samples": 9, "pool_samples": 20, "pool_stride": 10, "encoder_layers": 1,
         "encoder_heads": 2, "width": 8, "layers": 1, "heads": 2, "sequence": 3},
    ),
    "duin": (
        "duin-nano",
        {"segment_samples": 20, "filters": (6, 6, 4), "strides": (5, 1, 1), "kernels": (9, 3, 3),
         "n_mixed": 3, "layers": 1, "decoder_layers": 1, "heads": 2, "head_width": 4, "n_codes": 12,
         "code_width": 6, "rebuild_filters": (6, 6, 6, 6, 4), "rebuild_strides": (1, 1, 4, 1, 5),
         "rebuild_kernels": (3, 3, 4, 9, 9)},
    ),
    "stmae": ("stmae-nano", {"width": 8, "layers": 1, "heads": 2, "sequence": 3}),
    "neuroformer": (
        "neuroformer-nano",
        {"width": 8, "heads": 2, "history_layers": 1, "current_tokens": 9, "history_tokens": 12},
    ),
    "elm": ("elm-nano", {"n_memory": 6, "n_branches": 3, "synapses_per_branch": 4}),
}  # fmt: skip
TRAINING = {"steps": 6, "batch": 4, "check_every": 2, "keep_every": 4, "patience": 0}


def encoder(architecture: str = "neurogpt", **settings):
    """An encoder that trains in a tenth of a second."""
    name, sizes = SMALL[architecture]
    return nt.encoders.create(name, **{**sizes, **TRAINING, **settings})


def windows(n_recordings: int = 3, n_windows: int = 8, seed: int = 0, n_channels: int = 3) -> xr.DataArray:
    """One second at 100 Hz in each window, in V, of several recordings; class 1 swings faster."""
    rng = np.random.default_rng(seed)
    time = np.arange(100) / 100
    parts = {}
    for number in range(n_recordings):
        label = rng.integers(0, 2, n_windows)
        swing = np.sin(
            2 * np.pi * (6 + 8 * label[:, None, None]) * time + rng.uniform(0, 6, (n_windows, 1, 1))
        )
        values = swing + 0.5 * rng.normal(size=(n_windows, n_channels, 100))
        parts[f"r{number}"] = xr.DataArray(
            (1e-5 * values).astype("float32"),
            dims=("window", "channel", "time"),
            coords={
                "window": np.arange(n_windows) * 1.0, "channel": ["C3", "CZ", "C4", "PZ", "OZ"][:n_channels],
                "time": time, "condition": ("window", np.array(["slow", "fast"])[label]),
                "amount": ("window", label + 0.1 * rng.normal(size=n_windows)),
            },
            attrs={"sfreq": 100.0, "units": "V"},
        )  # fmt: skip
    return nt.encoders.join(parts)


def suited(architecture: str, data: xr.DataArray) -> xr.DataArray:
    """The same windows as an architecture takes them: for spikes, as counts of large values."""
    if architecture != "neuroformer":
        return data
    counts = np.floor(np.abs(data) / 1e-5).clip(0, 2).astype("uint8")
    return counts.assign_attrs(data.attrs, units="count")
