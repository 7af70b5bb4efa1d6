"""MATLAB files: version 5 to 7 through scipy, 7.3 through HDF5; fields and cells go by MATLAB's own names."""

from __future__ import annotations

import functools
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neurotools.errors import FileError
from neurotools.loaders.arrays import dataset_part, dataset_values
from neurotools.loaders.contents import Contents, Stored
from neurotools.loaders.guard import reading
from neurotools.loaders.limits import array_bytes, check_size, memory_limit
from neurotools.loaders.sniff import head, is_hdf5

HEADER_BYTES = 128
DEEPEST = 20  # levels of cells in cells
COMPRESSED = 15  # the element type of a zlib stream
ZLIB_RATIO = 1032  # the most that zlib can shrink anything
ITEM_BYTES = {
    "int8": 1, "uint8": 1, "logical": 1, "char": 4, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4,
    "single": 4,
}  # fmt: skip


# ---- version 5 --------------------------------------------------------------------------------------
def mat5_contents(path: Path) -> Contents:
    """Contents of a MATLAB 5 to 7 file: ``"x"``, ``"s.field"``, ``"c{3}"``, ``"s(2).field"``."""
    from scipy.io import matlab

    check_elements(path)
    with reading(path, "the MATLAB file"), warnings.catch_warnings():
        # Two variables of one name: scipy would keep the last and only warn.
        warnings.simplefilter("error", matlab.MatReadWarning)
        variables = matlab.whosmat(path)
    arrays: dict[str, Stored] = {}
    for name, shape, kind in variables:
        check_size(array_bytes(shape, ITEM_BYTES.get(kind, 8)), path, f"variable {name!r}")
        if kind in {"cell", "struct"}:
            for inner, values in _flat(name, _read_variable(path, name), path):
                arrays[inner] = Stored(values.shape, str(values.dtype), functools.partial(np.copy, values))
        elif kind in ITEM_BYTES or kind in {"double", "int64", "uint64"}:
            arrays[name] = Stored(tuple(shape), kind, functools.partial(_read_variable, path, name))
    return Contents(path, arrays)


def _read_variable(path: Path, name: str) -> np.ndarray:
    from scipy.io import matlab

    with reading(path, "the MATLAB file", where=name), warnings.catch_warnings():
        warnings.simplefilter("error", matlab.MatReadWarning)
        return np.asarray(matlab.loadmat(path, variable_names=[name])[name])


def _flat(name: str, values: np.ndarray, path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Walk cells and structs down to arrays of numbers or text, naming each as MATLAB would."""
    if values.dtype.names:
        for place, record in enumerate(values.ravel(order="F")):
            stem = name if values.size == 1 else f"{name}({place + 1})"
            for field in values.dtype.names:
                yield from _flat(f"{stem}.{field}", np.asarray(record[field]), path)
    elif values.dtype.hasobject:
        for place, entry in enumerate(values.ravel(order="F")):
            if isinstance(entry, np.ndarray):
                yield from _flat(f"{name}{{{place + 1}}}", entry, path)
    elif values.dtype.kind in "biufcU" and (values.size or not _hollow(values)):
        yield name, values


def _hollow(values: np.ndarray) -> bool:
    # An unused place of a cell array is a 0 x 0 double; an empty list of spikes is 0 x 1 or 1 x 0.
    return values.shape == (0, 0)


def check_elements(path: Path) -> None:
    """Walk the outer elements of a version 5 file: each must fit the file, and memory once unpacked."""
    size = path.stat().st_size
    with reading(path, "the MATLAB file"), path.open("rb") as stream:
        order = ">" if stream.read(HEADER_BYTES)[126:128] == b"MI" else "<"
        at = HEADER_BYTES
        while at < size:
            stream.seek(at)
            tag = stream.read(8)
            if len(tag) < 8:
                raise _cut(path, at, 8, size)
            kind, n_bytes = struct.unpack(order + "II", tag)
            small = kind >> 16  # a short element keeps its length in the upper half
            if small:
                at += 8
                continue
            if at + 8 + n_bytes > size:
                raise _cut(path, at, 8 + n_bytes, size)
            _check_unpacked(stream, kind, n_bytes, order, path)
            at += 8 + n_bytes + (0 if kind == COMPRESSED else -n_bytes % 8)


def _check_unpacked(stream: Any, kind: int, n_bytes: int, order: str, path: Path) -> None:
    if kind != COMPRESSED:
        check_size(n_bytes, path, "a variable")
        return
    unpack = zlib.decompressobj()
    first = unpack.decompress(stream.read(min(n_bytes, 256)), 8)
    if len(first) == 8:
        check_size(struct.unpack(order + "II", first)[1], path, "a compressed variable")
    if n_bytes * ZLIB_RATIO > memory_limit():
        stream.seek(-min(n_bytes, 256), 1)
        _count_unpacked(stream, n_bytes, path)


def _count_unpacked(stream: Any, n_bytes: int, path: Path) -> None:
    """Count what a zlib stream unpacks to, block by block, since what its tags state could lie."""
    unpack, total, block = zlib.decompressobj(), 0, 1 << 20
    while n_bytes > 0 and not unpack.eof:
        packed = stream.read(min(block, n_bytes))
        n_bytes -= len(packed)
        while packed:
            total += len(unpack.decompress(packed, block))
            packed = unpack.unconsumed_tail
        check_size(total, path, "a compressed variable")


def _cut(path: Path, at: int, expected: int, size: int) -> FileError:
    return FileError(
        "the MATLAB file is shorter than its header promises",
        code="NT-FILE-003", path=path, where=f"byte {at}",
        found=f"{size - at} bytes left", expected=f"{expected} bytes", fix="copy or download it again",
    )  # fmt: skip


def is_mat5(path: Path) -> bool:
    """Whether the file has the header of MATLAB 5 to 7 (text, version 1.0, byte order mark)."""
    start = head(path, HEADER_BYTES)
    return len(start) == HEADER_BYTES and start[124:128] in {b"\x00\x01IM", b"\x01\x00MI"}


# ---- version 7.3 ------------------------------------------------------------------------------------
def mat73_contents(path: Path) -> Contents:
    """Contents of a MATLAB 7.3 file, which is HDF5 with axes in MATLAB's order: they are turned back."""
    import h5py

    arrays: dict[str, Stored] = {}
    with reading(path, "the MATLAB file"), h5py.File(path, "r") as file:
        for name in _inside(file):
            if name != "#refs#":
                for label, node in _flat73(name, file[name], path, depth=0):
                    arrays[label] = _stored73(node, path)
    return Contents(path, arrays)


def _inside(group: Any) -> list[str]:
    """Members of a group that lie in this file; a link could lead to any file of this computer."""
    import h5py

    return [name for name in group if isinstance(group.get(name, getlink=True), h5py.HardLink)]


def _flat73(name: str, node: Any, path: Path, depth: int) -> Iterator[tuple[str, Any]]:
    import h5py

    if depth > DEEPEST:
        raise FileError("cells and structs lie in one another without end", path=path, where=name)
    if isinstance(node, h5py.Group):
        for field in _inside(node):
            yield from _flat73(f"{name}.{field}", node[field], path, depth + 1)
    elif h5py.check_ref_dtype(node.dtype) is not None:
        check_size(array_bytes(node.shape or (), 8), path, f"cell array {name!r}")
        for place, reference in enumerate(np.asarray(node[()]).ravel()):
            if reference:
                yield from _flat73(f"{name}{{{place + 1}}}", node.file[reference], path, depth + 1)
    elif _shape73(node) != (0, 0):
        yield name, node


def _stored73(node: Any, path: Path) -> Stored:
    shape, kind = _shape73(node), _class73(node)
    part = None
    if kind != "char" and not _is_empty73(node) and node.dtype.kind in "iuf":
        part = functools.partial(_part73, path, node.name)
    return Stored(shape, kind, functools.partial(_read73, path, node.name), part)


def _part73(path: Path, name: str, key: tuple[Any, ...]) -> np.ndarray:
    return dataset_part(path, name, key[::-1]).T


def _class73(node: Any) -> str:
    stored = node.attrs.get("MATLAB_class", b"")
    return (stored.decode("ascii", "replace") if isinstance(stored, bytes) else str(stored)) or str(
        node.dtype
    )


def _is_empty73(node: Any) -> bool:
    return bool(node.attrs.get("MATLAB_empty", 0))


def _shape73(node: Any) -> tuple[int, ...]:
    if _is_empty73(node):
        # An empty array stores its shape in place of its values.
        return tuple(int(n) for n in np.asarray(node[()]).ravel()[:8])
    return tuple(node.shape or ())[::-1]


def _read73(path: Path, name: str) -> np.ndarray:
    import h5py

    with reading(path, "the MATLAB file", where=name), h5py.File(path, "r") as file:
        node = file[name]
        if _is_empty73(node):
            shape = _shape73(node)
            check_size(array_bytes(shape, 8), path, f"array {name!r}")
            return np.empty(shape)
        values = dataset_values(node, path).T
        if _class73(node) == "char":
            return np.array(["".join(map(chr, row)) for row in np.atleast_2d(values)])
        return values


def is_mat73(path: Path) -> bool:
    """Whether the file is HDF5 behind the text that MATLAB 7.3 writes first."""
    return head(path, 10) == b"MATLAB 7.3" and is_hdf5(path)


FORMATS = {"mat": is_mat5, "mat-7.3": is_mat73}
