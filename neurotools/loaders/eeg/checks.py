"""Hold the headers of EEG formats against the bytes on disk before MNE is asked to read them.

A reader that believes its header returns less than was recorded, or takes memory for what is not there.
Each check returns what it has to say of the file, or raises a ``FileError`` that names the place.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurotools.errors import FileError
from neurotools.loaders.reading.guard import reading
from neurotools.loaders.reading.limits import gunzip
from neurotools.loaders.reading.sniff import head

# ---- FIF --------------------------------------------------------------------------------------------
TAG = struct.Struct(">iIii")  # kind, type, size, position of the next tag
BLOCK_START, BLOCK_END = 104, 105
LAST = -1
# Kind of block -> what a FIF file with such a block holds.
CONTENT = {102: "raw", 104: "evoked", 373: "epochs"}


@dataclass
class FifTags:
    """What a walk along the tags of a FIF file met."""

    content: set[str] = field(default_factory=set)
    open_blocks: int = 0
    ended: bool = False


def fif_content(path: Path) -> set[str]:
    """Walk every tag of a FIF file and return what it holds: "raw", "evoked", "epochs".

    Raises
    ------
    FileError
        NT-FILE-003 with the byte where the file ends too early, NT-FILE-004 where the chain is broken.
    """
    data = gunzip(path) if head(path, 2) == b"\x1f\x8b" else None
    with path.open("rb") if data is None else io.BytesIO(data) as stream:
        size = path.stat().st_size if data is None else len(data)
        found = _walk(path, stream, size)
    if found.open_blocks > 0 and not found.ended:
        raise FileError(
            "the FIF file is cut short", code="NT-FILE-003", path=path, where=f"byte {size}",
            found=f"the end of the file with {found.open_blocks} blocks still open",
            expected="an end tag for each block", fix="copy or download it again",
        )  # fmt: skip
    return found.content


def _walk(path: Path, stream: io.BufferedIOBase, size: int) -> FifTags:
    found, at = FifTags(), 0
    while at < size:
        stream.seek(at)
        raw = stream.read(TAG.size)
        if len(raw) < TAG.size:
            raise _cut_fif(path, at, at + TAG.size, size)
        kind, _, n_bytes, following = TAG.unpack(raw)
        if n_bytes < 0:
            raise FileError(
                "a tag of the FIF file has a size below zero",
                path=path,
                where=f"byte {at + 8}",
                found=n_bytes,
            )
        if at + TAG.size + n_bytes > size:
            raise _cut_fif(path, at, at + TAG.size + n_bytes, size)
        _note_block(found, kind, stream.read(4) if n_bytes >= 4 and kind in {BLOCK_START, BLOCK_END} else b"")
        if following == LAST:
            found.ended = True
            return found
        step = at + TAG.size + n_bytes if following == 0 else following
        if step <= at:
            raise FileError(
                "the chain of tags in the FIF file turns back", path=path, where=f"byte {at + 12}",
                found=f"next tag at byte {following}", expected=f"a byte after {at}",
            )  # fmt: skip
        at = step
    if at > size:
        raise _cut_fif(path, size, at, size)
    return found


def _note_block(found: FifTags, kind: int, value: bytes) -> None:
    if kind == BLOCK_START and len(value) == 4:
        found.open_blocks += 1
        found.content |= {CONTENT[n] for n in struct.unpack(">i", value) if n in CONTENT}
    elif kind == BLOCK_END:
        found.open_blocks -= 1


def _cut_fif(path: Path, at: int, end: int, size: int) -> FileError:
    return FileError(
        "the FIF file is cut short", code="NT-FILE-003", path=path, where=f"tag at byte {at}",
        found=f"{size} bytes", expected=f"at least {end} bytes", fix="copy or download it again",
    )  # fmt: skip


# ---- BrainVision ------------------------------------------------------------------------------------
BINARY_BYTES = {"INT_16": 2, "INT_32": 4, "UINT_16": 2, "IEEE_FLOAT_32": 4}


def brainvision_header(path: Path) -> dict[str, str]:
    """The ``key=value`` lines of a BrainVision header that come before its comment, by lower-case key."""
    text = path.read_bytes()[: 1 << 22].decode("latin-1")
    lines = re.split(r"(?m)^\[comment\]", text, maxsplit=1, flags=re.IGNORECASE)[0].splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith(";"))
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def check_brainvision(path: Path) -> None:
    """Hold a BrainVision header against its data file: where it is, and how many samples it holds."""
    header = brainvision_header(path)
    n = _whole(path, header, "NumberOfChannels")
    _positive(path, header, "SamplingInterval")
    data = beside(path, _named(path, header, "DataFile"), "DataFile")
    if header.get("markerfile"):
        beside(path, _named(path, header, "MarkerFile"), "MarkerFile")
    width = BINARY_BYTES.get(header.get("binaryformat", "").upper())
    if header.get("dataformat", "BINARY").upper() != "BINARY" or width is None:
        return
    size = data.stat().st_size
    samples, rest = divmod(size, n * width)
    stated = int(header["datapoints"]) if header.get("datapoints", "").isdigit() else samples
    if size == 0 or rest or samples < stated:
        raise FileError(
            "the BrainVision data file is cut short or belongs to another header",
            code="NT-FILE-003", path=data, where=f"byte {size}",
            found=f"{size} bytes: {samples} samples of {n} channels" + (f" and {rest} bytes" if rest else ""),
            expected=f"{stated} samples" if samples < stated else f"a multiple of {n * width} bytes",
            fix="copy or download it again",
        )  # fmt: skip


def _named(path: Path, header: dict[str, str], key: str) -> str:
    name = header.get(key.lower(), "")
    if not name:
        raise FileError(f"the BrainVision header has no {key!r}", path=path, where="[Common Infos]")
    return name.replace("$b", path.stem)


def beside(path: Path, name: str, key: str) -> Path:
    """The file that a header names, which must lie in the folder of the header."""
    folder = path.parent.resolve()
    file = folder / name
    if "\x00" in name or Path(name).is_absolute() or ".." in Path(name.replace("\\", "/")).parts:
        raise FileError(
            "the header points outside its folder", code="NT-FILE-008", path=path, where=key, found=name
        )
    if not file.is_file():
        raise FileError(
            "a file that belongs to the recording is missing", code="NT-FILE-008", path=path, where=key,
            found=f"no file {name!r} beside it",
            fix="copy all files of the recording; a renamed file must be renamed in the header too",
        )  # fmt: skip
    return file


def _whole(path: Path, header: dict[str, str], key: str) -> int:
    text = header.get(key.lower(), "")
    if not re.fullmatch(r"\d{1,6}", text) or int(text) == 0:
        raise FileError(
            f"the BrainVision header field {key!r} cannot be {text!r}", path=path, where="[Common Infos]",
            expected="a whole number above 0",
        )  # fmt: skip
    return int(text)


def _positive(path: Path, header: dict[str, str], key: str) -> None:
    text = header.get(key.lower(), "")
    try:
        if 0 < float(text) < float("inf"):
            return
    except ValueError:
        pass
    raise FileError(
        f"the BrainVision header field {key!r} cannot be {text!r}", path=path, where="[Common Infos]",
        expected="a number of microseconds above 0",
    )  # fmt: skip


# ---- EGI simple binary, EEGLAB ----------------------------------------------------------------------
EGI = struct.Struct(">i6hi5h")  # version, date and time, ms, rate, channels, gain, bits, range
EGI_BYTES = {2: 2, 4: 4, 6: 8}


def egi_start(start: bytes) -> tuple[Any, ...] | None:
    """The fixed part of an EGI simple binary header, or None when the bytes cannot be one."""
    if len(start) < EGI.size:
        return None
    values = EGI.unpack(start[: EGI.size])
    version, year, month, day, hour, minute, second = values[:7]
    calendar = 1980 <= year < 2100 and 1 <= month <= 12 and 1 <= day <= 31
    clock = 0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 62
    return values if 2 <= version <= 7 and calendar and clock else None


def check_egi(path: Path) -> None:
    """Hold the counts in an EGI simple binary header against the bytes on disk."""
    with reading(path, "the EGI header"), path.open("rb") as stream:
        values = egi_start(stream.read(EGI.size))
        if values is None:
            raise FileError("the EGI header is damaged", path=path, where="bytes 0 to 29")
        version, rate, n_channels = values[0], values[8], values[9]
        if version % 2:
            raise FileError(
                "EGI simple binary files that are cut into segments are not read", code="NT-FILE-002",
                path=path, found=f"version {version}", fix="export the recording unsegmented",
            )  # fmt: skip
        n_samples, n_events = struct.unpack(">ih", stream.read(6))
    for name, value in (("rate", rate), ("channels", n_channels), ("samples", n_samples)):
        if value <= 0:
            raise FileError(
                f"the EGI header states {value} for its {name}", path=path, where="bytes 20 to 35"
            )
    frame = (n_channels + n_events) * EGI_BYTES[version]
    expected, size = EGI.size + 6 + 4 * n_events + frame * n_samples, path.stat().st_size
    if n_events < 0 or size < expected:
        raise FileError(
            "the EGI file is shorter than its header promises", code="NT-FILE-003", path=path,
            found=f"{max(0, size - EGI.size - 6 - 4 * n_events) // max(frame, 1)} samples ({size} bytes)",
            expected=f"{n_samples} samples of {n_channels} channels ({expected} bytes)",
            fix="copy or download it again",
        )  # fmt: skip


def check_eeglab(path: Path, raw: Any) -> None:
    """Hold the samples that a ``.set`` file promises against its ``.fdt`` file."""
    data = Path(raw.filenames[0]) if raw.filenames and raw.filenames[0] else path
    if data.suffix != ".fdt":
        return
    if data.resolve().parent != path.resolve().parent:
        raise FileError(
            "the header points outside its folder", code="NT-FILE-008", path=path, where="EEG.data",
            found=str(data),
        )  # fmt: skip
    n, size = len(raw.ch_names), data.stat().st_size
    if size != 4 * n * raw.n_times:
        raise FileError(
            "the .fdt file does not hold what its .set file promises",
            code="NT-FILE-003" if size < 4 * n * raw.n_times else "NT-FILE-008", path=data,
            found=f"{size / (4 * n):g} samples of {n} channels ({size} bytes)",
            expected=f"{raw.n_times} samples ({4 * n * raw.n_times} bytes)", fix="copy both files again",
        )  # fmt: skip
