"""MATLAB files: version 5 to 7, and 7.3 through HDF5; fields and cells go by MATLAB's own names."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neurotools.errors import FileError
from neurotools.loaders.described import mat5
from neurotools.loaders.described.arrays import dataset_part, dataset_values
from neurotools.loaders.described.contents import Contents, Stored
from neurotools.loaders.reading.guard import reading
from neurotools.loaders.reading.limits import array_bytes, check_size
from neurotools.loaders.reading.sniff import head, is_hdf5

DEEPEST = mat5.DEEPEST
UNREAD = ("object", "sparse", "function", "opaque")


# ---- version 5 --------------------------------------------------------------------------------------
def mat5_contents(path: Path) -> Contents:
    """Contents of a MATLAB 5 to 7 file: ``"x"``, ``"s.field"``, ``"c{3}"``, ``"s(2).field"``."""
    arrays: dict[str, Stored] = {}
    with reading(path, "the MATLAB file"):
        for variable in mat5.variables(path):
            if variable.name in {name.split("{")[0].split(".")[0].split("(")[0] for name in arrays}:
                raise FileError("two variables of the file have one name", path=path, where=variable.name)
            if variable.kind in {"cell", "struct"}:
                for name, values in mat5.read_variable(path, variable):
                    arrays[name] = Stored(values.shape, str(values.dtype), functools.partial(np.copy, values))
            elif variable.kind not in UNREAD:
                read = functools.partial(_read_variable, path, variable)
                arrays[variable.name] = Stored(variable.shape, variable.kind, read)
    return Contents(path, arrays)


def _read_variable(path: Path, variable: mat5.Variable) -> np.ndarray:
    with reading(path, "the MATLAB file", where=variable.name):
        found = mat5.read_variable(path, variable)
        return found[0][1] if found else np.empty(variable.shape)


def is_mat5(path: Path) -> bool:
    """Whether the file has the header of MATLAB 5 to 7 (text, version 1.0, byte order mark)."""
    start = head(path, mat5.HEADER_BYTES)
    return len(start) == mat5.HEADER_BYTES and start[124:128] in {b"\x00\x01IM", b"\x01\x00MI"}


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
    return Stored(shape, kind, functools.partial(_read73, path, node.name), part, node.dtype)


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
