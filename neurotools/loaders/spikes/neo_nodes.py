"""What a raw reader of neo holds, as nodes of a recording: spikes, events, and signals left on disk."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import FileError, SettingsError
from neurotools.loaders.answers import Answers
from neurotools.loaders.reading.disk import LAZY_BYTES, Key, on_disk
from neurotools.loaders.reading.units import canonical
from neurotools.loaders.spikes.trains import judged_trains
from neurotools.schema import continuous, spike_table, time_axis

VOLTAGE_KINDS = {"eeg", "meg", "seeg", "ecog"}
FOREVER_S = 1e12
DISORDER_S = 1.0  # packets may be this much out of order; a larger step back is a clock that began anew


@dataclass(frozen=True)
class Opened:
    """A raw reader whose header was parsed, and the block and segments of it to read."""

    reader: Any
    path: Path
    answers: Answers
    block: int
    segments: tuple[int, ...]
    limits: str = "none"
    unit: str = ""  # of signals for which the reader states none
    merged: bool = False

    @property
    def asked(self) -> list[tuple[int, dict[str, float]]]:
        """Segments to ask for spikes and events, with limits of time.

        Some readers of neo cut at limits that they round, or take from the first and last spike of the file
        as if it were in order, and drop what lies beyond without a word. They are asked for all of time, in
        each segment or in the first alone, which then stands for the file.
        """
        if self.limits == "none":
            return [(segment, {}) for segment in self.segments]
        chosen = self.segments[:1] if self.limits == "file" else self.segments
        return [(segment, {"t_start": 0.0, "t_stop": FOREVER_S}) for segment in chosen]

    @property
    def spans(self) -> list[tuple[float, float]]:
        """Beginning and end of each segment, in seconds."""
        return [
            (
                float(self.reader.segment_t_start(self.block, s)),
                float(self.reader.segment_t_stop(self.block, s)),
            )
            for s in self.segments
        ]


def opened(reader: Any, path: Path, answers: Answers, *, limits: str, unit: str) -> Opened:
    """Choose the block to read; one file may hold several recordings, and then the user names one."""
    n_blocks = int(reader.block_count())
    block, _, segment = (answers.array or ("0" if n_blocks == 1 else "")).partition("/")
    if not block.isdigit() or int(block) >= n_blocks or (segment and not segment.isdigit()):
        raise FileError(
            "the recording has several blocks, so the one to read must be named" if n_blocks > 1
            else "blocks and segments are named by their numbers",
            code="NT-FILE-006", path=path, found=f"{n_blocks} blocks",
            fix='nt.load(path, array="0"), or "0/1" for the second segment of the first block',
        )  # fmt: skip
    n_segments = int(reader.segment_count(int(block)))
    if segment and int(segment) >= n_segments:
        raise FileError(
            "there is no such segment", code="NT-FILE-008", path=path, found=f"{n_segments} segments"
        )
    chosen = (int(segment),) if segment else tuple(range(n_segments))
    limits = "none" if segment and limits == "file" else limits
    found = Opened(reader, path, answers, int(block), chosen, limits, unit)
    spans = found.spans
    back = max((earlier[1] - later[0] for earlier, later in itertools.pairwise(spans)), default=0.0)
    if 0 < back <= DISORDER_S and len(reader.header["signal_streams"]) == 0:
        return replace(found, merged=True)
    if back > 0:
        raise FileError(
            "the segments of the recording do not follow each other in time, so one must be named",
            code="NT-FILE-006", path=path,
            found=", ".join(f"{a:g} to {b:g} s" for a, b in spans[:6]),
            fix=f'nt.load(path, array="{block}/0")',
        )  # fmt: skip
    return found


# ---- spikes -----------------------------------------------------------------------------------------
def spikes(source: Opened) -> xr.Dataset | None:
    """Spike trains of all units, put into order where the file has them out of order, which attrs say."""
    channels = source.reader.header["spike_channels"]
    if len(channels) == 0:
        return None
    labels = unit_labels(channels["name"], channels["id"])
    trains = [_train(source, unit) for unit in range(len(channels))]
    # Vendors write spikes in the order in which channels were served, so disorder is no fault here.
    trains, notes = judged_trains(trains, labels, path=source.path, sort=True, negative=True)
    used = [train for train in trains if train.size]
    first, last = zip(*source.spans, strict=True)
    start = min([*first, *(float(train[0]) for train in used)])
    stop = max([*last, *(float(train[-1]) for train in used)])
    found = spike_table(
        trains, unit=labels, t_start=start, t_stop=stop, coords=_annotated(source, len(channels)), attrs=notes
    )
    if len(source.segments) == 1 or source.merged:
        return found
    return found.assign(
        support_start=("interval", np.array(first), {"units": "s"}),
        support_stop=("interval", np.array(last), {"units": "s"}),
    )


def _train(source: Opened, unit: int) -> np.ndarray:
    reader, parts = source.reader, []
    for segment, limits in source.asked:
        stamps = reader.get_spike_timestamps(
            block_index=source.block, seg_index=segment, spike_channel_index=unit, **limits
        )
        parts.append(np.asarray(reader.rescale_spike_timestamp(stamps, dtype="float64")))
    return np.concatenate(parts)


def unit_labels(names: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Unique labels: the names where they are, else name and id, else with a number behind."""
    plain = [str(name) for name in names]
    if len(set(plain)) == len(plain):
        return np.array(plain, dtype=str)
    both = [f"{name} {key}" for name, key in zip(plain, ids, strict=True)]
    seen: Counter[str] = Counter()
    for i, label in enumerate(both):
        seen[label] += 1
        if seen[label] > 1:
            both[i] = f"{label} ({seen[label]})"
    return np.array(both, dtype=str)


def _annotated(source: Opened, n: int) -> dict[str, np.ndarray]:
    """Channel and quality of each unit, where the reader knows them for all."""
    notes = source.reader.raw_annotations["blocks"][source.block]["segments"][source.segments[0]]["spikes"]
    found = {}
    for name, key in (("channel", "channel_id"), ("quality", "unit_classification")):
        values = [notes[i].get(key) for i in range(n)]
        if all(value is not None for value in values):
            found[name] = np.array([str(value) for value in values], dtype=str)
    return found


# ---- events -----------------------------------------------------------------------------------------
def events(source: Opened) -> xr.Dataset | None:
    """Events and epochs of all channels, in order of time; ``source`` names the channel."""
    reader, rows = source.reader, []
    names = unit_labels(reader.header["event_channels"]["name"], reader.header["event_channels"]["id"])
    for channel, name in enumerate(names):
        for segment, limits in source.asked:
            stamps, durations, labels = reader.get_event_timestamps(
                block_index=source.block, seg_index=segment, event_channel_index=channel, **limits
            )
            onset = reader.rescale_event_timestamp(stamps, dtype="float64", event_channel_index=channel)
            length = np.zeros(len(onset))
            if durations is not None:
                length = reader.rescale_epoch_duration(durations, "float64", channel)
            rows.append((np.asarray(onset), np.asarray(length), _words(labels, str(name), len(onset)), name))
    total = sum(len(onset) for onset, *_ in rows)
    if total == 0:
        return None
    onset = np.concatenate([row[0] for row in rows])
    order = np.argsort(onset, kind="stable")
    columns = {
        "onset": onset, "duration": np.concatenate([row[1] for row in rows]),
        "trial_type": np.concatenate([row[2] for row in rows]),
        "source": np.concatenate([np.full(len(row[0]), row[3]) for row in rows]),
    }  # fmt: skip
    units = {"onset": {"units": "s"}, "duration": {"units": "s"}}
    return xr.Dataset(
        {name: ("event", values[order], units.get(name, {})) for name, values in columns.items()},
        coords={"event": np.arange(total)},
        attrs={"time_reference": "clock of the recording"},
    )


def _words(labels: Any, name: str, n: int) -> np.ndarray:
    if labels is None or len(labels) != n:
        return np.full(n, name)
    words = [entry.decode("latin-1") if isinstance(entry, bytes) else str(entry) for entry in labels]
    return np.array([word.strip("\0 ") or name for word in words], dtype=str)


# ---- signals ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Rows:
    """Channels of one stream that share a unit: ``stored * scale + offset`` is in ``unit``."""

    stream: int
    index: np.ndarray
    labels: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    unit: str


def signals(source: Opened) -> dict[str, xr.Dataset]:
    """Signals as (channel, time), one node per stream and unit, under the user's kind or ``ephys``."""
    header = source.reader.header
    base = str(source.answers.kind) if source.answers.kind in VOLTAGE_KINDS else "ephys"
    found: dict[str, xr.Dataset] = {}
    for stream, entry in enumerate(header["signal_streams"]):
        channels = header["signal_channels"][header["signal_channels"]["stream_id"] == entry["id"]]
        name = base if len(header["signal_streams"]) == 1 else f"{base}_{entry['name'] or entry['id']}"
        for rows in _by_unit(stream, channels, source.unit):
            node = (name if name not in found else f"{name}_{rows.unit}").replace("/", "_")
            found[node] = _array(source, rows).to_dataset(name="signal")
    return found


def _by_unit(stream: int, channels: Any, otherwise: str) -> list[Rows]:
    units = [_unit(text or otherwise) for text in channels["units"]]
    found = []
    for unit in dict.fromkeys(unit for unit, _ in units):
        index = np.array([i for i, (own, _) in enumerate(units) if own == unit])
        factor = np.array([10.0 ** units[i][1] for i in index])
        chosen = channels[index]
        found.append(
            Rows(
                stream, index, unit_labels(chosen["name"], chosen["id"]), chosen["gain"] * factor,
                chosen["offset"] * factor, unit,
            )
        )  # fmt: skip
    return found


def _unit(stated: str) -> tuple[str, int]:
    text = str(stated).strip("\0 ")
    try:
        return canonical(text) if text else ("arbitrary", 0)
    except SettingsError:
        return text, 0


def _array(source: Opened, rows: Rows) -> xr.DataArray:
    reader, block = source.reader, source.block
    sizes = [int(reader.get_signal_size(block, segment, rows.stream)) for segment in source.segments]
    starts = [float(reader.get_signal_t_start(block, segment, rows.stream)) for segment in source.segments]
    sfreq = float(reader.get_signal_sampling_rate(rows.stream))
    _touch_end(source, rows.stream, sizes)
    edges = np.concatenate([[0], np.cumsum(sizes)])

    def read(key: Key) -> np.ndarray:
        wanted, times = key
        picked = np.atleast_1d(np.arange(rows.index.size)[wanted])
        moments = np.atleast_1d(np.arange(edges[-1])[times])
        values = _samples(source, rows.stream, edges, rows.index[picked], moments)
        values = values * rows.scale[picked][:, None] + rows.offset[picked][:, None]
        values = values if isinstance(wanted, slice) else values[0]
        return values if isinstance(times, slice) else values[..., 0]

    shape = (rows.index.size, int(edges[-1]))
    values: Any = on_disk(read, shape, "float64", source.path)
    if shape[0] * shape[1] * 8 <= LAZY_BYTES:
        values = read((slice(None), slice(None)))
    layout: dict[str, Any] = {"dim": "channel", "labels": rows.labels, "units": rows.unit}
    if len(sizes) == 1:
        return continuous(values, sfreq=sfreq, t0=starts[0], **layout)
    time = np.concatenate([time_axis(n, sfreq, t0) for n, t0 in zip(sizes, starts, strict=True)])
    array = continuous(values, time=time, attrs={"sfreq": sfreq}, **layout)
    return array.assign_coords(session=("time", np.repeat(np.arange(len(sizes)), sizes)))


def _samples(
    source: Opened, stream: int, edges: np.ndarray, rows: np.ndarray, moments: np.ndarray
) -> np.ndarray:
    """Stored samples (channel, moment) of ascending moments, segment by segment."""
    parts = []
    for i, segment in enumerate(source.segments):
        own = moments[(moments >= edges[i]) & (moments < edges[i + 1])] - edges[i]
        if own.size == 0:
            continue
        chunk = source.reader.get_analogsignal_chunk(
            block_index=source.block, seg_index=segment, i_start=int(own[0]), i_stop=int(own[-1]) + 1,
            stream_index=stream, channel_indexes=rows,
        )  # fmt: skip
        parts.append(np.asarray(chunk)[own - own[0]])
    return np.concatenate(parts).T if parts else np.empty((rows.size, 0))


def _touch_end(source: Opened, stream: int, sizes: list[int]) -> None:
    """Read the last sample of every segment, which fails where the file is shorter than its header says."""
    for segment, n in zip(source.segments, sizes, strict=True):
        if n == 0:
            continue
        last = source.reader.get_analogsignal_chunk(
            block_index=source.block, seg_index=segment, i_start=n - 1, i_stop=n, stream_index=stream
        )
        if np.shape(last)[0] != 1:
            raise FileError(
                "the file is shorter than its header promises", code="NT-FILE-003", path=source.path,
                where=f"stream {stream}, segment {segment}", expected=f"{n} samples",
                fix="copy or download it again",
            )  # fmt: skip
