"""Objects of MNE to labelled recordings and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import FileError, SchemaError, expect, need
from neurotools.loaders.eeg.mne_channels import (
    FIFF_UNITS,
    NODES,
    UNIT_CODES,
    Overrides,
    channel_groups,
    check_kind,
    labelled,
)
from neurotools.loaders.eeg.mne_events import events_of, main_stim, table_of_events
from neurotools.loaders.eeg.mne_samples import samples, too_large
from neurotools.schema import recording_tree, sampling_rate, time_axis

# Node -> MNE's channel type, for arrays without the coordinate ``ch_type``.
TYPES = {**{node: kind for kind, node in NODES.items()}, "meg": "mag"}


def from_mne(data: Any, *, kind: str | None = None) -> xr.DataTree:
    """Turn an MNE ``Raw``, ``Epochs``, ``Evoked`` or a list of ``Evoked`` into a recording.

    Parameters
    ----------
    data : mne.io.BaseRaw, mne.BaseEpochs, mne.Evoked or list of mne.Evoked
    kind : {"eeg", "meg", "seeg", "ecog"}, optional
        What channels are whose type MNE could not know (it calls them EEG).

    Returns
    -------
    xarray.DataTree
        ``eeg/signal (channel, time)`` for a Raw (lazy where that is not in memory), ``eeg/epochs (trial,
        channel, time)`` for Epochs, ``eeg/evoked (condition, channel, time)`` for Evoked; in V, MEG in T.
        One node per kind of channel; ``events`` hold annotations and stimulus codes. Projections and
        compensation that MNE has not applied are not applied here.
    """
    mne = need("mne", extra="eeg", to="convert MNE objects")
    if isinstance(data, mne.io.BaseRaw):
        return raw_tree(data, kind=kind, lazy=not data.preload)
    if isinstance(data, mne.BaseEpochs):
        return epochs_tree(data, kind=kind)
    if isinstance(data, mne.Evoked):
        return evoked_tree([data], kind=kind)
    if isinstance(data, (list, tuple)) and data and all(isinstance(e, mne.Evoked) for e in data):
        return evoked_tree(data, kind=kind)
    raise SchemaError(
        "an MNE object is needed", found=type(data).__name__,
        expected="mne.io.Raw, mne.Epochs, mne.Evoked or a list of mne.Evoked",
    )  # fmt: skip


# ---- to labelled arrays ---------------------------------------------------------------------------
def raw_tree(
    raw: Any, *, kind: str | None = None, overrides: Overrides | None = None, path: Path | None = None,
    lazy: bool | None = None, events: xr.Dataset | None = None, **attrs: Any,
) -> xr.DataTree:  # fmt: skip
    """Build a recording from a Raw; ``lazy`` leaves the samples on disk (large files when omitted)."""
    arrays = raw_arrays(raw, kind=kind, overrides=overrides, path=path, lazy=lazy)
    if events is None:
        rows = events_of(raw, stim=main_stim(raw))
        events = table_of_events(rows, raw.n_times / float(raw.info["sfreq"]), path, drop=False)
    nodes: dict[str, Any] = {**arrays, "events": events}
    return recording_tree(nodes, **tree_attrs(raw.info, arrays), **attrs)


def raw_arrays(
    raw: Any, *, kind: str | None = None, overrides: Overrides | None = None, path: Path | None = None,
    lazy: bool | None = None, time: np.ndarray | None = None,
) -> dict[str, xr.DataArray]:  # fmt: skip
    """One ``(channel, time)`` array per kind of channel, by the path of its node."""
    groups = channel_groups(raw.info, kind, overrides or Overrides.none())
    check_kind(groups, kind, path)
    sfreq = float(raw.info["sfreq"])
    lazy = too_large(raw) if lazy is None else lazy
    clock = time_axis(int(raw.n_times), sfreq) if time is None else time
    arrays = {}
    for node, group in groups.items():
        values = samples(raw, group.picks, path or Path("an MNE object"), lazy)
        array = labelled(values, ("channel", "time"), raw.info, group, {"time": clock})
        array["time"].attrs["units"] = "s"
        if time is None:
            array.attrs.update(sfreq=sfreq, t0=0.0)
        arrays[f"{node}/signal"] = array
    return arrays


def epochs_tree(
    epochs: Any, *, kind: str | None = None, path: Path | None = None, **attrs: Any
) -> xr.DataTree:
    """Build a recording with ``epochs (trial, channel, time)``; ``time`` is 0 at the event."""
    groups = channel_groups(epochs.info, kind, Overrides.none())
    check_kind(groups, kind, path)
    names = {code: name for name, code in epochs.event_id.items()}
    codes = epochs.events[:, 2]
    along = {
        "trial": np.arange(len(epochs)),
        "trial_type": ("trial", np.array([names.get(int(c), str(c)) for c in codes])),
        "event_code": ("trial", codes.astype("int64")),
    }
    data = epochs.get_data(copy=False)
    nodes: dict[str, Any] = {}
    for node, group in groups.items():
        clock = _around_event(epochs, along)
        array = labelled(data[:, group.picks], ("trial", "channel", "time"), epochs.info, group, clock)
        nodes[f"{node}/epochs"] = _timed(array, epochs)
    return recording_tree(nodes, **tree_attrs(epochs.info, nodes), **attrs)


def evoked_tree(evoked: Sequence[Any], *, kind: str | None = None, path: Path | None = None, **attrs: Any
) -> xr.DataTree:  # fmt: skip
    """Build a recording with ``evoked (condition, channel, time)``; ``time`` is 0 at the event."""
    first = evoked[0]
    for other in evoked[1:]:
        if other.ch_names != first.ch_names or not np.array_equal(other.times, first.times):
            raise FileError(
                "the averages differ in channels or times and cannot stand in one array",
                code="NT-DATA-005", path=path,
                found="; ".join(
                    f"{e.comment}: {len(e.ch_names)} channels, {e.times.size} times" for e in evoked
                ),
                fix="convert them one by one: nt.from_mne(evoked)",
            )  # fmt: skip
    groups = channel_groups(first.info, kind, Overrides.none())
    check_kind(groups, kind, path)
    along = {
        "condition": np.array(_conditions(evoked)),
        "n_averaged": ("condition", np.array([int(e.nave) for e in evoked])),
    }
    data = np.stack([e.data for e in evoked])
    nodes: dict[str, Any] = {}
    for node, group in groups.items():
        clock = _around_event(first, along)
        array = labelled(data[:, group.picks], ("condition", "channel", "time"), first.info, group, clock)
        nodes[f"{node}/evoked"] = _timed(array, first)
    return recording_tree(nodes, **tree_attrs(first.info, nodes), **attrs)


def _conditions(evoked: Sequence[Any]) -> list[str]:
    labels: list[str] = []
    for i, entry in enumerate(evoked):
        label = str(entry.comment or f"condition {i}")
        label += "" if entry.kind == "average" else f" ({entry.kind.replace('_', ' ')})"
        labels.append(label if label not in labels else f"{label} [{i}]")
    return labels


def _around_event(data: Any, along: dict[str, Any]) -> dict[str, Any]:
    return {**along, "time": time_axis(data.times.size, float(data.info["sfreq"]), float(data.times[0]))}


def _timed(array: xr.DataArray, data: Any) -> xr.DataArray:
    array["time"].attrs.update(units="s", time_reference="event")
    array.attrs.update(sfreq=float(data.info["sfreq"]), t0=float(data.times[0]))
    if data.baseline is not None:
        array.attrs["baseline"] = np.array(data.baseline, dtype="float64")
    return array


def tree_attrs(info: Any, nodes: dict[str, Any]) -> dict[str, Any]:
    """Attributes of the whole recording. Names and birthdays of people are left in the file."""
    counts = {path.split("/")[0]: array.sizes["channel"] for path, array in nodes.items()}
    attrs = {"n_channels": sum(counts.values()), "channel_types": json.dumps(counts)}
    if info["meas_date"] is not None:
        attrs["measured"] = info["meas_date"].isoformat()
    waiting = [p["desc"] for p in info["projs"] if not p["active"]]
    if waiting:
        attrs["projections_not_applied"] = ", ".join(waiting)
    return attrs


# ---- back to MNE ----------------------------------------------------------------------------------
def to_mne(data: xr.DataTree | xr.DataArray) -> Any:
    """Turn a recording, or one labelled array, into the MNE object that holds the same.

    Parameters
    ----------
    data : xarray.DataTree or xarray.DataArray
        ``(channel, time)`` becomes a Raw, ``(trial, channel, time)`` an ``EpochsArray``, ``(condition,
        channel, time)`` a list of ``EvokedArray``. All signals of a recording that share one clock go into
        one Raw, and its events become annotations.

    Returns
    -------
    mne.io.RawArray, mne.EpochsArray or list of mne.EvokedArray
        In memory, in SI units, with channel types, bad channels and positions.

    Raises
    ------
    SchemaError
        The signals have several clocks, or the dimensions are none of these.
    """
    mne = need("mne", extra="eeg", to="convert to MNE objects")
    expect(data, "a recording or an array", xr.DataTree, xr.DataArray)
    events = None
    if isinstance(data, xr.DataTree):
        arrays: dict[Any, Any] = {
            node.name: node[name]
            for node in data.subtree
            for name in ("signal", "epochs", "evoked")
            if name in node.data_vars and "channel" in node[name].dims
        }
        events = data["events"].to_dataset() if "events" in data.children else None
    else:
        arrays = {"misc" if "ch_type" not in data.coords else "signal": data}
    _check_clocks(arrays)
    info = _info(arrays)
    dims = tuple(map(str, next(iter(arrays.values())).dims))
    if set(dims) == {"channel", "time"}:
        values = [a.transpose("channel", "time").to_numpy() for a in arrays.values()]
        raw = mne.io.RawArray(np.concatenate(values).astype("float64"), info, verbose="ERROR")
        return raw.set_annotations(_annotations(events)) if events is not None else raw
    return _averages_or_epochs(arrays, info, dims)


def _check_clocks(arrays: dict[Any, xr.DataArray]) -> None:
    if not arrays:
        raise SchemaError(
            "there is no array over channel and time to convert", code="NT-DATA-010",
            expected="signal(channel, time), epochs(trial, ...) or evoked(condition, ...)",
        )  # fmt: skip
    first = next(iter(arrays.values()))
    if not {"channel", "time"} <= set(first.coords):
        raise SchemaError(
            "an MNE object needs the dimensions 'channel' and 'time', with their coordinates",
            found=tuple(map(str, first.dims)), fix="rename with data.rename(old='channel')",
        )  # fmt: skip
    for name, array in arrays.items():
        if set(array.dims) != set(first.dims) or not np.array_equal(array["time"], first["time"]):
            raise SchemaError(
                "the arrays do not share one clock, and an MNE object has one",
                code="NT-DATA-005", where=str(name),
                found="; ".join(
                    f"{n}: {dict(a.sizes)} at {a.attrs.get('sfreq', '?')} Hz" for n, a in arrays.items()
                ),
                fix="convert one array at a time: nt.to_mne(recording['eeg/signal'])",
            )  # fmt: skip


def _info(arrays: dict[Any, xr.DataArray]) -> Any:
    mne = need("mne", extra="eeg")
    names, types, first = [], [], next(iter(arrays.values()))
    for node, array in arrays.items():
        labels = [str(name) for name in array["channel"].to_numpy()]
        names += labels
        default = TYPES.get(str(node), str(node))
        types += (
            [str(t) for t in array["ch_type"].to_numpy()]
            if "ch_type" in array.coords
            else [default] * len(labels)
        )
    info = mne.create_info(names, sampling_rate(first, "an MNE object"), types, verbose="ERROR")
    start = 0
    for array in arrays.values():
        _describe(info, array, start)
        start += array.sizes["channel"]
    with info._unlock():
        for name in ("highpass", "lowpass", "line_freq"):
            if name in first.attrs:
                info[name] = float(first.attrs[name])
    return info


def _describe(info: Any, array: xr.DataArray, start: int) -> None:
    """Copy bad channels, units and places of one array into ``info``."""
    unit = array["channel_units"].to_numpy() if "channel_units" in array.coords else None
    for i, name in enumerate(array["channel"].to_numpy()):
        channel = info["chs"][start + i]
        text = str(unit[i]) if unit is not None else array.attrs.get("units")
        if text in UNIT_CODES and FIFF_UNITS.get(int(channel["unit"])) != text:
            channel["unit"] = UNIT_CODES[text]
        if "x" in array.coords:
            channel["loc"][:3] = [float(array[axis][i]) for axis in "xyz"]
        if "bad" in array.coords and bool(array["bad"][i]):
            info["bads"].append(str(name))


def _annotations(events: xr.Dataset) -> Any:
    mne = need("mne", extra="eeg")
    rows = events
    if "source" in events:  # codes of stimulus channels are in the signal itself
        rows = events.isel(event=events["source"].to_numpy() == "annotation")
    return mne.Annotations(
        rows["onset"].to_numpy(), np.nan_to_num(rows["duration"].to_numpy()),
        [str(t) for t in rows["trial_type"].to_numpy()],
    )  # fmt: skip


def _averages_or_epochs(arrays: dict[Any, xr.DataArray], info: Any, dims: Sequence[str]) -> Any:
    mne = need("mne", extra="eeg")
    lead = next((d for d in ("trial", "condition") if set(dims) == {d, "channel", "time"}), None)
    if lead is None:
        raise SchemaError(
            "MNE has no object with these dimensions", found=dims,
            expected="(channel, time), (trial, channel, time) or (condition, channel, time)",
        )  # fmt: skip
    values = np.concatenate(
        [a.transpose(lead, "channel", "time").to_numpy() for a in arrays.values()], axis=1
    )
    first = next(iter(arrays.values()))
    tmin = float(first["time"][0])
    if lead == "condition":
        n = (
            first["n_averaged"].to_numpy()
            if "n_averaged" in first.coords
            else np.ones(len(values), dtype=int)
        )
        return [
            mne.EvokedArray(v, info.copy(), tmin=tmin, comment=str(c), nave=int(k), verbose="ERROR")
            for v, c, k in zip(values, first["condition"].to_numpy(), n, strict=True)
        ]
    kinds = (
        [str(t) for t in first["trial_type"].to_numpy()]
        if "trial_type" in first.coords
        else ["1"] * len(values)
    )
    event_id = {name: i + 1 for i, name in enumerate(dict.fromkeys(kinds))}
    # MNE needs a distinct sample per event; the order of trials serves where their onsets are not known.
    events = np.array([[i, 0, event_id[name]] for i, name in enumerate(kinds)])
    return mne.EpochsArray(values, info, events=events, tmin=tmin, event_id=event_id, verbose="ERROR")
