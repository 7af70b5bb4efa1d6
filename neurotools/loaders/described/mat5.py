"""The binary layout of MATLAB 5 to 7 files, read so that no byte of it can do harm.

A file is a header of 128 bytes and a row of elements; an element is a tag (type, number of bytes) and its
data; an array is an element that holds elements: flags, dimensions, name, values. Cells and structs hold
arrays in turn. Every length is checked against what is there before it is used. (Readers in C have crashed
the whole process on files with a few flipped bytes, which no error handler can catch.)
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from neurotools.errors import FileError
from neurotools.loaders.reading.limits import array_bytes, check_size

HEADER_BYTES = 128
DEEPEST = 20  # levels of cells in cells
MATRIX, COMPRESSED = 14, 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
LETTERS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
CELL, STRUCT, CHAR = 1, 2, 4
CLASSES = {
    1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 6: "double", 7: "single", 8: "int8",
    9: "uint8", 10: "int16", 11: "uint16", 12: "int32", 13: "uint32", 14: "int64", 15: "uint64",
    16: "function", 17: "opaque",
}  # fmt: skip
NUMERIC = range(6, 16)
COMPLEX_FLAG = 0x08
ITEM_BYTES = {6: 8, 7: 4, 8: 1, 9: 1, 10: 2, 11: 2, 12: 4, 13: 4, 14: 8, 15: 8, CHAR: 2}
HEAD_BYTES = 4096  # of a variable, enough for flags, dimensions and name


@dataclass(frozen=True)
class Variable:
    """Where one variable lies in the file, and what it claims to be."""

    name: str
    shape: tuple[int, ...]
    kind: str
    at: int
    n_bytes: int
    compressed: bool


@dataclass
class Bytes:
    """Bytes that are read from front to back, with the byte order of the file."""

    data: memoryview
    order: str
    path: Path
    at: int = 0

    def left(self) -> int:
        """Bytes that have not been read."""
        return len(self.data) - self.at

    def take(self, n: int) -> memoryview:
        """The next ``n`` bytes, which must be there."""
        if n > self.left():
            raise damaged(self.path, f"an element claims {n} bytes where {self.left()} are left")
        self.at += n
        return self.data[self.at - n : self.at]

    def element(self) -> tuple[int, memoryview]:
        """Type and data of the next element; short ones keep their data within the tag."""
        kind, n = struct.unpack(self.order + "II", self.take(8))
        if kind >> 16:
            if kind >> 16 > 4:
                raise damaged(self.path, f"a short element claims {kind >> 16} bytes")
            self.at -= 4
            return kind & 0xFFFF, self.take(4)[: kind >> 16]
        data = self.take(n)
        if kind != COMPRESSED:
            self.at += min(-n % 8, self.left())
        return kind, data


def damaged(path: Path, why: str) -> FileError:
    """The error for bytes that cannot be what MATLAB wrote."""
    return FileError(
        f"the MATLAB file is damaged: {why}", code="NT-FILE-004", path=path, fix="copy or download it again"
    )


def byte_order(path: Path) -> str:
    """The byte order that the header of a file states, as ``struct`` writes it."""
    with path.open("rb") as stream:
        return ">" if stream.read(HEADER_BYTES)[126:128] == b"MI" else "<"


# ---- the variables of a file -----------------------------------------------------------------------
def variables(path: Path) -> Iterator[Variable]:
    """List the variables of a file, none of which is read; each must fit the file, and memory."""
    size, order = path.stat().st_size, byte_order(path)
    with path.open("rb") as stream:
        at = HEADER_BYTES
        while at < size:
            stream.seek(at)
            tag = stream.read(8)
            kind, n_bytes = struct.unpack(order + "II", tag) if len(tag) == 8 else (0, 0)
            if len(tag) < 8 or at + 8 + n_bytes > size:
                raise FileError(
                    "the MATLAB file is shorter than its header promises",
                    code="NT-FILE-003", path=path, where=f"byte {at}", found=f"{size - at} bytes left",
                    expected=f"{8 + n_bytes} bytes", fix="copy or download it again",
                )  # fmt: skip
            if kind not in {MATRIX, COMPRESSED}:
                raise damaged(path, f"byte {at} begins no variable (element type {kind})")
            first = _head(stream, kind == COMPRESSED, n_bytes, order, path)
            found = _described(first, at + 8, n_bytes, kind == COMPRESSED)
            if found is not None:
                yield found
            at += 8 + n_bytes + (0 if kind == COMPRESSED else -n_bytes % 8)


def _head(stream: IO[bytes], compressed: bool, n_bytes: int, order: str, path: Path) -> Bytes:
    start = stream.read(min(n_bytes, HEAD_BYTES))
    if not compressed:
        check_size(n_bytes, path, "a variable")
        return Bytes(memoryview(start), order, path)
    inner = Bytes(memoryview(_unzipped(start, HEAD_BYTES, path)), order, path)
    kind, claimed = struct.unpack(order + "II", inner.take(8))
    if kind != MATRIX:
        raise damaged(path, f"a compressed element holds no variable (element type {kind})")
    check_size(claimed, path, "a compressed variable")
    return inner


def _unzipped(packed: bytes, most: int, path: Path) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, most)
    except zlib.error as error:
        raise damaged(path, f"a compressed variable cannot be unpacked ({error})") from error


def _described(content: Bytes, at: int, n_bytes: int, compressed: bool) -> Variable | None:
    if content.left() == 0:
        return None
    class_of, _, shape, name = _array_header(content)
    if not name:
        return None  # MATLAB's own store of objects: it has no name and holds no data of the user
    check_size(array_bytes(shape, ITEM_BYTES.get(class_of, 8)), content.path, f"variable {name!r}")
    return Variable(name, shape, CLASSES[class_of], at, n_bytes, compressed)


def _array_header(content: Bytes) -> tuple[int, bool, tuple[int, ...], str]:
    """Class, whether complex, dimensions and name of an array."""
    kind, flags = content.element()
    if kind != 6 or len(flags) != 8:
        raise damaged(content.path, "an array has no flags")
    word = struct.unpack(content.order + "II", flags)[0]
    kind, dims = content.element()
    if kind != 5 or len(dims) % 4 or not 8 <= len(dims) <= 128:
        raise damaged(content.path, "an array has no dimensions")
    shape = tuple(int(n) for n in np.frombuffer(dims, content.order + "i4"))
    if min(shape) < 0:
        raise damaged(content.path, f"an array has negative dimensions {shape}")
    kind, name = content.element()
    if kind not in {1, 16} or (word & 0xFF) not in CLASSES:
        raise damaged(content.path, "an array has no name, or is of no known class")
    return (
        word & 0xFF,
        bool(word >> 8 & COMPLEX_FLAG),
        shape,
        bytes(name).decode("utf-8", "replace").strip("\0"),
    )


def read_variable(path: Path, found: Variable) -> list[tuple[str, np.ndarray]]:
    """Read one variable into its arrays of numbers and text, named as MATLAB names them."""
    with path.open("rb") as stream:
        stream.seek(found.at)
        packed = stream.read(found.n_bytes)
    order = byte_order(path)
    if not found.compressed:
        return list(_arrays(found.name, Bytes(memoryview(packed), order, path), depth=0))
    claimed = struct.unpack(order + "II", _unzipped(packed[:HEAD_BYTES], 8, path))[1]
    whole = _unzipped(packed, claimed + 8, path)
    if len(whole) < claimed + 8:
        raise damaged(path, f"{found.name!r} unpacks to {len(whole)} bytes in place of {claimed + 8}")
    return list(_arrays(found.name, Bytes(memoryview(whole)[8:], order, path), depth=0))


# ---- one array, whatever it holds ------------------------------------------------------------------
def _arrays(name: str, content: Bytes, depth: int) -> Iterator[tuple[str, np.ndarray]]:
    """Walk cells and structs down to arrays of numbers or text; unused places of a cell are passed over."""
    if depth > DEEPEST:
        raise damaged(content.path, f"cells and structs in {name!r} lie in one another without end")
    if content.left() == 0:
        return
    class_of, is_complex, shape, _ = _array_header(content)
    if class_of in {CELL, STRUCT}:
        fields = [""] if class_of == CELL else _fields(content)
        for label in _labels(name, class_of, math.prod(shape), fields, content):
            yield from _arrays(label, _inner(content), depth + 1)
    elif shape == (0, 0):
        return  # an unused place of a cell; an empty list would be 0 x 1 or 1 x 0
    elif class_of in NUMERIC:
        yield name, _numbers(content, shape, is_complex)
    elif class_of == CHAR:
        yield name, _text(content, shape)


def _labels(name: str, class_of: int, n: int, fields: list[str], content: Bytes) -> Iterator[str]:
    """The names of the arrays that a cell or a struct holds, in the order of the file."""
    if n * len(fields) * 8 > content.left():
        raise damaged(content.path, f"{name!r} claims {n * len(fields)} members in {content.left()} bytes")
    for place in range(1, n + 1):
        if class_of == CELL:
            yield f"{name}{{{place}}}"
        else:
            yield from (f"{name}.{field}" if n == 1 else f"{name}({place}).{field}" for field in fields)


def _inner(content: Bytes) -> Bytes:
    kind, data = content.element()
    if kind != MATRIX:
        raise damaged(content.path, f"a member of a cell or struct is no array (element type {kind})")
    return Bytes(data, content.order, content.path)


def _fields(content: Bytes) -> list[str]:
    kind, width = content.element()
    if kind != 5 or len(width) != 4:
        raise damaged(content.path, "a struct has no length of its field names")
    n = struct.unpack(content.order + "i", width)[0]
    _, names = content.element()
    if n <= 0 or len(names) % n:
        raise damaged(content.path, "the field names of a struct have no common length")
    cut = (bytes(names[k : k + n]).split(b"\0")[0] for k in range(0, len(names), n))
    return [field.decode("utf-8", "replace") for field in cut]


def _numbers(content: Bytes, shape: tuple[int, ...], is_complex: bool) -> np.ndarray:
    parts = []
    for _ in range(2 if is_complex else 1):
        kind, data = content.element()
        if kind not in NUMBERS:
            raise damaged(content.path, f"numbers of unknown type {kind}")
        dtype = np.dtype(content.order + NUMBERS[kind])
        if len(data) != array_bytes(shape, dtype.itemsize):
            raise damaged(content.path, f"{len(data)} bytes for an array of shape {shape} of {dtype}")
        native = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
        parts.append(native.reshape(shape, order="F"))
    return parts[0] + 1j * parts[1] if is_complex else parts[0]


def _text(content: Bytes, shape: tuple[int, ...]) -> np.ndarray:
    kind, data = content.element()
    if kind not in LETTERS:
        raise damaged(content.path, f"text of unknown type {kind}")
    code = LETTERS[kind]
    if code in {"utf-16", "utf-32"}:
        code += "-le" if content.order == "<" else "-be"
    letters = bytes(data).decode(code, "replace")
    n = math.prod(shape)
    if len(letters) != n:
        raise damaged(content.path, f"{len(letters)} letters for text of shape {shape}")
    grid = np.array(list(letters), dtype="U1").reshape(shape, order="F").reshape(shape[0], -1)
    return np.array(["".join(row) for row in grid], dtype=str)
