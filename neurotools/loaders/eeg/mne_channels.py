"""What an MNE measurement says about its channels: which node each goes to, its unit, its place.

Channels of different kinds are kept apart, so that every array has one true unit and an analysis of
``eeg/signal`` sees nothing but EEG: ``eog/signal``, ``ecg/signal``, ``stim/signal``, ``misc/signal`` ...
stand beside it, and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import FileError, need

# FIFF unit code -> unit. MNE stores SI units, so no multiplier is left to apply.
FIFF_UNITS = {
    107: "V", 112: "T", 201: "T/m", 114: "degC", 110: "S", 3: "s", 101: "Hz", 1: "m", 6: "M", 7: "rad",
    117: "V/m2", 210: "px", 109: "ohm", 4: "A", 202: "A m",
}  # fmt: skip
UNIT_CODES = {unit: code for code, unit in FIFF_UNITS.items()}
# MNE's channel type -> node, where the two differ.
NODES = {"mag": "meg", "ref_meg": "meg_ref", "grad": "meg_grad", "csd": "eeg_csd"}
BRAIN = ("eeg", "meg", "seeg", "ecog", "dbs")
# Types that a header which knows no better gives to every channel: the caller's ``kind`` says what they are.
UNSTATED = ("eeg",)
UNITLESS = ("stim", "syst", "exci", "ias", "gof", "pupil", "chpi")
FRAMES = {0: "unknown", 1: "device", 4: "head", 5: "mri", 6: "mri_voxel", 7: "mni_tal"}


@dataclass(frozen=True)
class Overrides:
    """What other sources (a BIDS table, the physical dimension in an EDF header) say of single channels."""

    types: Mapping[str, str]
    units: Mapping[str, str]

    @classmethod
    def none(cls) -> Overrides:
        """Nothing to correct."""
        return cls({}, {})


@dataclass(frozen=True)
class Group:
    """Channels that share a node: their places in the measurement, types and units."""

    picks: list[int]
    types: list[str]
    units: list[str]

    @property
    def unit(self) -> str:
        """The unit they share, or ``"mixed"``, where the coordinate ``channel_units`` holds each."""
        return self.units[0] if len(set(self.units)) == 1 else "mixed"


def channel_groups(info: Any, kind: str | None, overrides: Overrides) -> dict[str, Group]:
    """Sort the channels of an ``mne.Info`` into nodes, in their order."""
    mne = need("mne", extra="eeg")
    names = list(info["ch_names"])
    types = [overrides.types.get(name, mne.channel_type(info, i)) for i, name in enumerate(names)]
    if kind in BRAIN and kind != "meg":
        types = [kind if entry in UNSTATED and name not in overrides.types else entry
                 for entry, name in zip(types, names, strict=True)]  # fmt: skip
    nodes = dict(NODES) if "mag" in types else {**NODES, "grad": "meg"}
    groups: dict[str, Group] = {}
    for i, (name, entry) in enumerate(zip(names, types, strict=True)):
        group = groups.setdefault(nodes.get(entry, entry), Group([], [], []))
        group.picks.append(i)
        group.types.append(entry)
        group.units.append(overrides.units.get(name) or _unit(info["chs"][i], entry))
    return groups


def check_kind(groups: Mapping[str, Group], kind: str | None, path: Any) -> None:
    """Raise when the caller named a kind of recording that the channels are not."""
    if kind is not None and kind not in groups:
        raise FileError(
            f"the file holds no {kind} channels", code="NT-FILE-006", path=path,
            found=", ".join(f"{len(g.picks)} {node}" for node, g in groups.items()),
            fix="leave kind out, or name one of these",
        )  # fmt: skip


def _unit(channel: Mapping[str, Any], kind: str) -> str:
    return "1" if kind in UNITLESS else FIFF_UNITS.get(int(channel["unit"]), "arbitrary")


def channel_coords(info: Any, group: Group) -> dict[str, Any]:
    """Coordinates along ``channel``: type, bad, and x, y, z in m where any place is known."""
    chs = [info["chs"][i] for i in group.picks]
    bads = set(info["bads"])
    coords: dict[str, Any] = {
        "ch_type": ("channel", np.array(group.types)),
        "bad": ("channel", np.array([ch["ch_name"] in bads for ch in chs])),
    }
    if group.unit == "mixed":
        coords["channel_units"] = ("channel", np.array(group.units))
    place = np.array([ch["loc"][:3] for ch in chs], dtype="float64")
    place[~np.isfinite(place).all(axis=1) | ~place.any(axis=1)] = np.nan  # MNE writes zeros for "unknown"
    return {**coords, **(places(place) if np.isfinite(place).any() else {})}


def places(xyz: np.ndarray) -> dict[str, Any]:
    """Coordinates ``x``, ``y``, ``z`` along ``channel`` from an (n, 3) array in m."""
    return {
        axis: ("channel", np.ascontiguousarray(xyz[:, i]), {"units": "m"}) for i, axis in enumerate("xyz")
    }


def node_attrs(info: Any, group: Group, coords: Mapping[str, Any]) -> dict[str, Any]:
    """Unit, reference and filters of one node."""
    attrs: dict[str, Any] = {"units": group.unit, "reference": _reference(info, group)}
    for name in ("highpass", "lowpass", "line_freq"):
        if info.get(name) is not None:
            attrs[name] = float(info[name])
    if "x" in coords:
        frame = int(info["chs"][group.picks[0]]["coord_frame"])
        attrs["coordinate_frame"] = FRAMES.get(frame, str(frame))
    return attrs


def _reference(info: Any, group: Group) -> str:
    if not set(group.types) & {"eeg", "ecog", "seeg", "dbs"}:
        return "none"
    if info["custom_ref_applied"]:
        return "custom"
    projected = any("average" in p["desc"].lower() for p in info["projs"] if p["active"])
    return "average" if projected else "as recorded"


def labelled(
    values: Any, dims: Sequence[str], info: Any, group: Group, coords: Mapping[str, Any]
) -> xr.DataArray:
    """An array with the coordinates and attributes of its channels."""
    along = channel_coords(info, group)
    names = np.array([info["ch_names"][i] for i in group.picks])
    return xr.DataArray(
        values, dims=dims, coords={"channel": names, **coords, **along}, attrs=node_attrs(info, group, along)
    )
