"""Windows of one call, laid out for a network: channels, scale, places, subjects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from neurotools.errors import SchemaError
from neurotools.models.encoders import batches, channels, splits
from neurotools.models.encoders.batches import Moments, Scale
from neurotools.models.encoders.recipe import Batch
from neurotools.models.encoders.splits import Places


@dataclass(frozen=True)
class Data:
    """Checked windows and everything that is known about them."""

    array: xr.DataArray
    names: tuple[str, ...]  # channels that the network sees, in its order
    route: np.ndarray  # see ``channels.route``
    places: Places
    moments: Moments
    subject: np.ndarray  # (window,) number
    subjects: tuple[str, ...]

    @property
    def n(self) -> int:
        """Number of windows."""
        return self.array.sizes["window"]

    @property
    def sfreq(self) -> float:
        """Samples per second, in Hz."""
        return float(self.array.attrs["sfreq"])

    def tensor(self, which: np.ndarray, scale: Scale, clip: float) -> Tensor:
        """Standardised windows, (window, channel, time)."""
        return torch.from_numpy(scale.apply(batches.read(self.array, which, self.route), which, clip))

    def batch(self, which: np.ndarray, scale: Scale, clip: float, target: Tensor | None = None) -> Batch:
        """Samples of one or more windows each; ``which`` is (sample, window) or (sample,)."""
        rows = which.reshape(len(which), -1)
        x = self.tensor(rows.ravel(), scale, clip).unflatten(0, rows.shape)
        subject = torch.from_numpy(self.subject[rows[:, 0]])
        return Batch(x, subject, None if target is None else target[torch.from_numpy(rows[:, 0])])

    def coords(self) -> dict[str, Any]:
        """Coordinates that lie along ``window``."""
        return {
            str(name): coord.variable
            for name, coord in self.array.coords.items()
            if coord.dims == ("window",)
        }

    def sha256(self, *told: Any) -> str:
        """One hash of values, places, and whatever else is told."""
        digest = hashlib.sha256(self.moments.digest.tobytes())
        for part in (self.places.recording, self.places.start, self.subject):
            digest.update(np.ascontiguousarray(part).tobytes())
        digest.update(json.dumps([self.places.group.tolist(), self.names, self.sfreq, *told]).encode())
        return digest.hexdigest()


def for_fit(encoder: Any, windows: Any, groups: Any) -> Data:
    """Windows that a network is to be made for."""
    array = batches.asked(windows)
    check_rate(array, encoder.sfreq)
    names = encoder.channels or tuple(array["channel"].to_numpy().astype(str).tolist())
    way = channels.route(array, names, encoder.on_mismatch)
    return laid_out(array, names, way, groups, subjects_of(array, None))


def for_network(
    encoder: Any, windows: Any, preparation: Mapping[str, Any], groups: Any = None, mixes: bool = False
) -> Data:
    """Windows for a network that there is; ``mixes`` says that it takes the channels as they come."""
    array = batches.asked(windows)
    check_rate(array, preparation["sfreq"])
    check_length(array, preparation)
    check_units(array, preparation)
    wanted = tuple(preparation["channels"])
    if mixes:
        wanted = tuple(array["channel"].to_numpy().astype(str).tolist())
    way = channels.route(array, wanted, encoder.on_mismatch)
    return laid_out(array, wanted, way, groups, subjects_of(array, tuple(preparation["subjects"])))


def laid_out(
    array: xr.DataArray,
    names: tuple[str, ...],
    way: np.ndarray,
    groups: Any,
    people: tuple[np.ndarray, tuple[str, ...]],
) -> Data:
    """Everything in one place, after one pass over all windows."""
    places = splits.places_of(array, groups)
    return Data(array, names, way, places, batches.moments_of(array, way), *people)


def subjects_of(array: xr.DataArray, known: tuple[str, ...] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number of each window's subject, and their names."""
    n = array.sizes["window"]
    if "subject" not in array.coords or array["subject"].dims != ("window",):
        return np.zeros(n, dtype=np.int64), known or ("",)
    label = array["subject"].to_numpy().astype(str)
    if known is None:
        names, number = np.unique(label, return_inverse=True)
        return number.astype(np.int64), tuple(names.tolist())
    if known in ((), ("",)):
        return np.zeros(n, dtype=np.int64), known
    new = sorted(set(label) - set(known))
    if new and len(known) > 1:
        raise SchemaError(
            "windows are of subjects that the encoder never met", code="NT-DATA-005",
            found=", ".join(new[:5]), expected="one of " + ", ".join(known[:10]),
            fix="fit it with their windows, too; it has weights of its own for each subject",
        )  # fmt: skip
    return np.array([known.index(x) if x in known else 0 for x in label], dtype=np.int64), known


def check_rate(array: xr.DataArray, wanted: float | None) -> None:
    """Raise unless windows have the rate that the encoder needs."""
    rate = float(array.attrs["sfreq"])
    if wanted is not None and abs(rate - wanted) > 1e-3 * wanted:
        raise SchemaError(
            "windows have another sampling rate than the encoder needs", code="NT-DATA-004",
            found=f"{rate:g} Hz", expected=f"{wanted:g} Hz",
            fix=f"nt.resample(recording, sfreq={wanted:g}) before nt.windows",
        )  # fmt: skip


def check_length(array: xr.DataArray, preparation: Mapping[str, Any]) -> None:
    """Raise unless windows are as long as those that the network was made for."""
    n, wanted = array.sizes["time"], preparation["n_times"]
    if wanted and n != wanted:
        raise SchemaError(
            "windows are of another length than the encoder was made for", code="NT-DATA-005",
            found=f"{n} samples", expected=f"{wanted} samples ({wanted / preparation['sfreq']:g} s)",
            fix=f"nt.windows(recording, length_s={wanted / preparation['sfreq']:g})",
        )  # fmt: skip


def check_units(array: xr.DataArray, preparation: Mapping[str, Any]) -> None:
    """Raise where windows are in another unit, which a stored scale would turn into nonsense."""
    unit, wanted = array.attrs.get("units", ""), preparation["units"]
    if preparation["scale"] == "fit" and unit != wanted:
        raise SchemaError(
            "windows are in another unit than those the encoder was fitted to", code="NT-DATA-002",
            found=repr(unit), expected=repr(wanted), fix="convert the values and set attrs['units']",
        )  # fmt: skip
