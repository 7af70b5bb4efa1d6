"""The header of EDF, EDF+ and BDF files, read field by field and held against the bytes on disk.

Kemp et al. (1992), Electroencephalography and Clinical Neurophysiology 82, 391-393; EDF+: Kemp and Olivan
(2003), Clinical Neurophysiology 114, 1755-1761. The samples themselves are read by MNE; this tells, before
MNE is asked, what it would pass over: a file that is cut short, a field that is no number, signals of
different rates (which MNE would resample), and records that do not follow each other.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from neurotools.errors import FileError

T = TypeVar("T", int, float)

FIXED_BYTES = 256
SIGNAL_BYTES = 256
# Field of the per-signal part -> bytes per signal, in the order they lie in the file.
SIGNAL_FIELDS = {
    "label": 16, "transducer": 80, "physical dimension": 8, "physical minimum": 8, "physical maximum": 8,
    "digital minimum": 8, "digital maximum": 8, "prefiltering": 80, "samples per record": 8, "reserved": 32,
}  # fmt: skip
ANNOTATIONS = {"EDF Annotations", "BDF Annotations"}
MAX_SIGNALS = 10_000  # no amplifier has as many; a larger number is damage
MAX_RATE_HZ = 1e7


class Field(NamedTuple):
    """One number in the header: its name, its text, and where it lies."""

    name: str
    text: str
    where: str


@dataclass(frozen=True)
class EdfHeader:
    """What the header says, and how many whole records lie in the file."""

    path: Path
    version: str
    reserved: str
    records_stated: int  # -1 while a recording was running
    records_found: int
    record_s: float
    label: tuple[str, ...]
    unit: tuple[str, ...]
    samples: tuple[int, ...]  # per record
    sample_bytes: int
    trailing_bytes: int

    @property
    def record_bytes(self) -> int:
        """Bytes of one data record."""
        return self.sample_bytes * sum(self.samples)

    @property
    def signals(self) -> tuple[int, ...]:
        """Positions of the signals that are not annotations."""
        return tuple(i for i, label in enumerate(self.label) if label not in ANNOTATIONS)

    @property
    def discontinuous(self) -> bool:
        """Whether the file says that its records may lie apart in time (EDF+D, BDF+D)."""
        return self.reserved[:5] in {"EDF+D", "BDF+D"}

    def rate(self, signal: int) -> float:
        """Samples per second of one signal."""
        return self.samples[signal] / self.record_s


def read_header(path: Path) -> EdfHeader:
    """Read and check the header of an EDF or BDF file.

    Raises
    ------
    FileError
        NT-FILE-003 where the header is cut short, NT-FILE-004 where a field cannot be what it says.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        if size < FIXED_BYTES:
            raise FileError(
                f"EDF header is truncated at byte {size} of {FIXED_BYTES}",
                code="NT-FILE-003", path=path, found=f"{size} bytes",
                expected=f"at least {FIXED_BYTES} bytes", fix="copy or download the file again",
            )  # fmt: skip
        return _parse(path, size, stream)


def _parse(path: Path, size: int, stream: io.BufferedIOBase) -> EdfHeader:
    fixed = stream.read(FIXED_BYTES)

    def field(name: str, start: int, width: int) -> Field:
        return Field(name, _text(fixed[start : start + width]), f"byte {start}")

    header_bytes = _number(path, field("header bytes", 184, 8), int, lambda n: n >= FIXED_BYTES)
    records = _number(path, field("number of data records", 236, 8), int, lambda n: n >= -1)
    record_s = _number(path, field("duration of a data record", 244, 8), float, lambda s: s >= 0)
    n_signals = _number(path, field("number of signals", 252, 4), int, lambda n: 0 < n <= MAX_SIGNALS)
    needed = FIXED_BYTES + SIGNAL_BYTES * n_signals
    if header_bytes != needed:
        raise FileError(
            "two fields of the EDF header contradict each other",
            path=path, where="'header bytes' (byte 184) and 'number of signals' (byte 252)",
            found=f"{header_bytes} bytes and {n_signals} signals",
            expected=f"{needed} bytes for {n_signals} signals",
        )  # fmt: skip
    if size < needed:
        raise FileError(
            f"EDF header is truncated at byte {size} of {needed}",
            code="NT-FILE-003", path=path, found=f"{size} bytes",
            expected=f"{needed} bytes for {n_signals} signals", fix="copy or download the file again",
        )  # fmt: skip
    table = {name: [stream.read(width) for _ in range(n_signals)] for name, width in SIGNAL_FIELDS.items()}
    samples = _samples(path, table, n_signals)
    labels = tuple(_text(entry) for entry in table["label"])
    sample_bytes = 3 if fixed[:1] == b"\xff" else 2
    record_s = _record_length(path, record_s, labels, samples)
    found, trailing = divmod(size - needed, sample_bytes * sum(samples))
    return EdfHeader(
        path=path, version=_text(fixed[:8]), reserved=_text(fixed[192:236]), records_stated=records,
        records_found=found, record_s=record_s, label=labels,
        unit=tuple(_text(entry) for entry in table["physical dimension"]), samples=samples,
        sample_bytes=sample_bytes, trailing_bytes=trailing,
    )  # fmt: skip


def _samples(path: Path, table: dict[str, list[bytes]], n_signals: int) -> tuple[int, ...]:
    offset, counts = FIXED_BYTES, []
    for name, width in SIGNAL_FIELDS.items():
        for i, entry in enumerate(table[name]):
            field = Field(name, _text(entry), f"signal {i + 1} of {n_signals}, byte {offset + i * width}")
            if name == "samples per record":
                counts.append(_number(path, field, int, lambda n: n > 0))
            elif name.startswith(("physical m", "digital m")):
                _number(path, field, float, math.isfinite)
        offset += width * n_signals
    return tuple(counts)


def _record_length(path: Path, record_s: float, labels: tuple[str, ...], samples: tuple[int, ...]) -> float:
    signals = [n for label, n in zip(labels, samples, strict=True) if label not in ANNOTATIONS]
    if not signals:
        raise FileError(
            "the EDF file holds annotations and no signal", code="NT-DATA-010", path=path,
            found=", ".join(labels),
        )  # fmt: skip
    if record_s == 0 or not math.isfinite(record_s) or max(signals) / record_s > MAX_RATE_HZ:
        raise FileError(
            "the EDF header field 'duration of a data record' gives no possible sampling rate",
            path=path, where="byte 244", found=f"{record_s:g} s for {max(signals)} samples",
            expected="a positive number of seconds",
        )  # fmt: skip
    return record_s


def _number(path: Path, field: Field, kind: Callable[[str], T], legal: Callable[[T], bool]) -> T:
    try:
        value = kind(field.text.replace(",", "."))
        if legal(value):
            return value
    except (ValueError, OverflowError):
        pass
    raise FileError(
        f"the EDF header field {field.name!r} cannot be {field.text!r}",
        path=path, where=field.where, found=repr(field.text),
        fix="the header is damaged; copy or download the file again",
    )  # fmt: skip


def _text(entry: bytes) -> str:
    return entry.decode("latin-1").split("\x00")[0].strip()


def check_records(header: EdfHeader, allow_truncated: bool) -> tuple[dict[str, int], list[str]]:
    """Hold the stated number of records against the bytes on disk.

    Returns attributes that say what is missing, and notes for the user.

    Raises
    ------
    FileError
        NT-FILE-003 with expected and found samples when the file is shorter than its header promises;
        NT-FILE-008 when it is longer. Both are let through by ``allow_truncated``.
    """
    rate = max(header.samples[i] for i in header.signals)
    found, stated = header.records_found, header.records_stated
    if stated == -1:
        return {}, [
            "the header leaves the number of records open (-1), as it is while a recording runs; "
            f"{found} whole records were found"
        ]
    if found == 0 or stated == 0:
        raise FileError(
            "the EDF file has a header and no whole data record", code="NT-FILE-003", path=header.path,
            found=f"{header.trailing_bytes} bytes of data", expected=f"{header.record_bytes} bytes a record",
        )  # fmt: skip
    if found < stated:
        if not allow_truncated:
            raise FileError(
                "the EDF file is shorter than its header promises",
                code="NT-FILE-003", path=header.path,
                where=f"data record {found + 1} of {stated}",
                found=f"{found * rate} samples per channel ({found * header.record_s:g} s)",
                expected=f"{stated * rate} samples per channel ({stated * header.record_s:g} s)",
                fix="copy or download it again, or accept the shorter recording with "
                "nt.load(path, allow_truncated=True)",
            )  # fmt: skip
        return {"truncated": 1, "samples_stated": stated * rate, "samples_found": found * rate}, [
            f"cut short: {found * rate} of {stated * rate} samples are in the file"
        ]
    if found > stated:
        if not allow_truncated:
            raise FileError(
                "the EDF file is longer than its header promises", code="NT-FILE-008", path=header.path,
                found=f"{found} whole data records", expected=f"{stated} data records",
                fix="mend the record count (byte 236), or read all whole records with "
                "nt.load(path, allow_truncated=True)",
            )  # fmt: skip
        return {"samples_stated": stated * rate, "samples_found": found * rate}, [
            f"the header states {stated} records, the file holds {found}, all of which were read"
        ]
    if header.trailing_bytes:
        return {}, [f"{header.trailing_bytes} bytes after the last record were left out"]
    return {}, []


def record_onsets(header: EdfHeader) -> np.ndarray:
    """Start of each data record in seconds, as its time-keeping annotation states (EDF+).

    The first entry of a record's annotation signal is ``+onset`` and two separators. Times are relative to
    the start of the first record.
    """
    index = next(i for i, label in enumerate(header.label) if label in ANNOTATIONS)
    before = header.sample_bytes * sum(header.samples[:index])
    width = header.sample_bytes * header.samples[index]
    start = FIXED_BYTES + SIGNAL_BYTES * len(header.label)
    onsets = np.empty(header.records_found)
    with header.path.open("rb") as stream:
        for record in range(header.records_found):
            stream.seek(start + record * header.record_bytes + before)
            text = stream.read(width).split(b"\x14", 1)[0]
            try:
                onsets[record] = float(text.decode("ascii"))
            except (ValueError, UnicodeDecodeError) as error:
                raise FileError(
                    "a data record of the EDF+ file does not state its time", path=header.path,
                    where=f"data record {record + 1} of {header.records_found}", found=repr(text[:20]),
                    expected="+seconds",
                ) from error  # fmt: skip
    return onsets - onsets[0]
