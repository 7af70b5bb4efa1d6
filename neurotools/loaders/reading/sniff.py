"""Look at the beginning of a file, cheaply: what the format predicates share."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from neurotools.errors import FileError

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
# An HDF5 file may begin with a block of its writer's own (MATLAB's text); the signature then follows here.
HDF5_OFFSETS = (0, 512, 1024, 2048)


def head(path: Path, n: int = 4096) -> bytes:
    """The first ``n`` bytes of a file; nothing for a folder or for a file that cannot be opened."""
    if not path.is_file():
        return b""
    try:
        with path.open("rb") as stream:
            return stream.read(n)
    except OSError:
        return b""


def starts(*marks: bytes) -> Callable[[Path], bool]:
    """Predicate: whether a file begins with one of ``marks``."""
    return lambda path: head(path, max(map(len, marks))).startswith(marks)


def unzipped_head(path: Path, n: int = 4096) -> bytes:
    """The first ``n`` bytes inside a gzip file; nothing when it is not one or is broken there."""
    if head(path, 2) != b"\x1f\x8b":
        return b""
    try:
        with gzip.open(path, "rb") as stream:
            return stream.read(n)
    except (OSError, EOFError, zlib.error):
        return b""


def is_zip(path: Path) -> bool:
    """Whether the file begins as a zip archive (``.npz`` is one)."""
    return head(path, 4) in {b"PK\x03\x04", b"PK\x05\x06"}


def is_hdf5(path: Path) -> bool:
    """Whether the file carries the HDF5 signature (NWB, netCDF 4 and MATLAB 7.3 files do too)."""
    start = head(path, HDF5_OFFSETS[-1] + len(HDF5_MAGIC))
    return any(start[offset : offset + len(HDF5_MAGIC)] == HDF5_MAGIC for offset in HDF5_OFFSETS)


def hdf5_root(path: Path) -> tuple[dict[str, str], set[str]]:
    """Attributes (as text) and member names at the root of an HDF5 file; empty when it cannot be opened."""
    if not is_hdf5(path):
        return {}, set()
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return {str(name): _text(value) for name, value in file.attrs.items()}, set(map(str, file))
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, UnicodeDecodeError):
        return {}, set()


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\r\f\v")


def has_control(start: bytes) -> bool:
    """Whether bytes hold control characters, which no text does."""
    return len(start.translate(None, CONTROL)) < len(start)


def is_text(start: bytes) -> bool:
    """Whether bytes are text: no control characters, and UTF-8 but for a character cut at the end."""
    if not start or has_control(start):
        return False
    try:
        start[: max(1, len(start) - 3)].decode("utf-8")
    except UnicodeDecodeError as error:
        # The cut may fall inside a character of up to four bytes; anything earlier is not UTF-8.
        return error.start >= len(start) - 7
    return True


def zip_names(path: Path) -> list[str]:
    """Names of the members of a zip archive; empty when it cannot be opened."""
    import zipfile

    if not is_zip(path):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
        return []


HEAP = b"GCOL\x01\x00\x00\x00"
HEAP_SEARCHED = (
    1 << 28
)  # bytes; larger files are taken at their word, since looking at all of them takes long


def check_heaps(path: Path) -> None:
    """Refuse an HDF5 file that would keep the HDF5 library busy for ever."""
    place = endless_heap(path) if is_hdf5(path) else None
    if place is not None:
        raise FileError(
            "the HDF5 file is damaged: a store of texts has a piece of no length",
            path=path, where=f"byte {place}", fix="copy or download it again",
        )  # fmt: skip


def endless_heap(path: Path) -> int | None:
    """Byte of a store of texts in an HDF5 file that would keep the HDF5 library busy for ever; else None.

    A free piece that states a length of 0 is never passed by that library, and a loop in C cannot be stopped.
    """
    size = path.stat().st_size
    if size == 0 or size > HEAP_SEARCHED:
        return None
    with path.open("rb") as stream:
        for at in list(_places(stream, HEAP)):
            stream.seek(at + 8)
            (n_bytes,) = struct.unpack("<Q", stream.read(8).ljust(8, b"\0"))
            stream.seek(at)
            piece = _piece_without_length(stream.read(min(n_bytes, size - at)))
            if piece is not None:
                return at + piece
    return None


def _piece_without_length(heap: bytes) -> int | None:
    at = 16
    while at + 16 <= len(heap):
        index, length = struct.unpack_from("<HxxxxxxQ", heap, at)
        if index == 0 and length == 0:
            return at
        at += length if index == 0 else 16 + length + -length % 8
    return None


def _places(stream: IO[bytes], words: bytes, block: int = 1 << 20) -> Iterator[int]:
    """Bytes at which ``words`` stand in a stream, read block by block."""
    start, kept = 0, b""
    while new := stream.read(block):
        content = kept + new
        at = content.find(words)
        while at >= 0:
            yield start + at
            at = content.find(words, at + 1)
        kept = content[-len(words) + 1 :]
        start += len(content) - len(kept)
