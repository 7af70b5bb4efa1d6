"""Hold a MEF 3 session against its own checksums and sizes, before a library in C follows what it says.

The library takes every size and offset as it stands and brings down the process where one is wrong. Each file
begins with 1,024 bytes of header that hold two checksums, of the rest of the header and of what follows.
Brinkmann et al. (2009), Journal of Neuroscience Methods 180, 185-192; layout as published with MEF 3.0.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from neurotools.errors import FileError
from neurotools.loaders.eeg.checks import beside

HEADER_BYTES = 1024
BLOCK_BYTES = 304  # of a block's own header, at least
POLYNOMIAL = 0xEB31D82E  # CRC-32 after Koopman, reflected
NO_CHECKSUM = 0
# Files of a segment, and whether their body is small enough to be summed here; blocks of samples have sums of
# their own, which the library compares.
SUMMED = {".tmet": True, ".tidx": True, ".tdat": False}
INDEX = np.dtype({
    "names": ["offset", "first", "n", "bytes"], "formats": ["<i8", "<i8", "<u4", "<u4"],
    "offsets": [0, 16, 24, 28], "itemsize": 56,
})  # fmt: skip


def check_mef(path: Path) -> None:
    """Check headers, checksums and indices of every segment of a session.

    Raises
    ------
    FileError
        NT-DATA-010 without segments, NT-FILE-009 for a checksum that differs, NT-FILE-003 for an index that
        points outside its samples, NT-FILE-008 for a missing file.
    """
    indices = sorted(path.rglob("*.tidx"))
    if not indices:
        raise FileError("the MEF session has no segment of samples", code="NT-DATA-010", path=path)
    for index in indices:
        for suffix, summed in SUMMED.items():
            file = beside(index, index.with_suffix(suffix).name, f"the {suffix} file of a segment")
            _check_sums(file, summed)
        _check_index(index)


def _check_sums(file: Path, body: bool) -> None:
    with file.open("rb") as stream:
        header = stream.read(HEADER_BYTES)
        rest = stream.read() if body else b""
    if len(header) < HEADER_BYTES:
        raise FileError(
            "a file of the MEF session is cut inside its header", code="NT-FILE-003", path=file,
            found=f"{len(header)} bytes", expected=f"at least {HEADER_BYTES} bytes",
        )  # fmt: skip
    stated = dict(zip(("header", "body"), struct.unpack_from("<II", header), strict=True))
    found = {"header": _crc(header[4:]), **({"body": _crc(rest)} if body else {})}
    for part, checksum in found.items():
        if stated[part] not in (NO_CHECKSUM, checksum):
            raise FileError(
                "a file of the MEF session is not the one that its checksum describes", code="NT-FILE-009",
                path=file, where=part, found=f"crc32 {checksum:08x}", expected=f"crc32 {stated[part]:08x}",
                fix="copy or download the session again",
            )  # fmt: skip


def _check_index(file: Path) -> None:
    size = file.with_suffix(".tdat").stat().st_size
    content = file.read_bytes()[HEADER_BYTES:]
    rows = np.frombuffer(content[: len(content) // INDEX.itemsize * INDEX.itemsize], INDEX)
    ends = rows["offset"] + rows["bytes"].astype("i8")
    wrong = (rows["offset"] < HEADER_BYTES) | (ends > size) | (rows["n"] == 0) | (rows["bytes"] < BLOCK_BYTES)
    wrong[1:] |= rows["first"][1:] != rows["first"][:-1] + rows["n"][:-1].astype("i8")
    if not rows.size or wrong.any():
        raise FileError(
            "the index of a MEF segment does not fit its samples", code="NT-FILE-003", path=file,
            where=f"block {int(np.argmax(wrong)) + 1}" if rows.size else "the first block",
            found=f"{size} bytes of samples", fix="copy or download the session again",
        )  # fmt: skip


def _crc_table() -> list[int]:
    table = []
    for entry in range(256):
        for _ in range(8):
            entry = (entry >> 1) ^ (POLYNOMIAL if entry & 1 else 0)
        table.append(entry)
    return table


TABLE = _crc_table()


def _crc(content: bytes) -> int:
    checksum = 0xFFFFFFFF
    for byte in content:
        checksum = TABLE[(checksum ^ byte) & 0xFF] ^ (checksum >> 8)
    return checksum
