"""Files of nameless arrays: ``.npz``, ``.npy``, plain HDF5. They hold numbers and say nothing of meaning."""

from __future__ import annotations

import functools
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from neurotools.errors import FileError
from neurotools.loaders.described.contents import Contents, Stored, no_objects
from neurotools.loaders.reading.guard import reading
from neurotools.loaders.reading.limits import array_bytes, check_hdf5, check_size, check_zip_member
from neurotools.loaders.reading.sniff import head, is_hdf5, is_zip, zip_names

NPY_MAGIC = b"\x93NUMPY"
# A member of a zip archive is IO[bytes] to type checkers only, so no one class fits it and a file.
Stream = Any


# ---- npy and npz ------------------------------------------------------------------------------------
def npy_header(stream: Stream) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read shape, order and type from the beginning of an ``.npy`` stream; the data follows."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)


def npy_values(stream: Stream, n_stored: int, name: str, path: Path) -> np.ndarray:
    """Read one ``.npy`` stream of ``n_stored`` bytes, once header and bytes are known to agree."""
    shape, fortran, dtype = npy_header(stream)
    if dtype.hasobject:
        raise no_objects(name, path)
    expected = array_bytes(shape, dtype.itemsize)
    check_size(expected, path, f"array {name!r}")
    _check_bytes(n_stored - stream.tell(), shape, dtype, name, path)
    flat = np.empty(math.prod(shape), dtype=dtype)
    _fill(stream, memoryview(flat.view(np.uint8)))  # type: ignore[arg-type]
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _check_bytes(found: int, shape: tuple[int, ...], dtype: np.dtype, name: str, path: Path) -> None:
    expected = array_bytes(shape, dtype.itemsize)
    if found < expected:
        raise FileError(
            f"array {name!r} is shorter than its header promises",
            code="NT-FILE-003", path=path, found=f"{found} bytes", expected=f"{expected} bytes for {shape}",
            fix="copy or download it again",
        )  # fmt: skip


def _fill(stream: Stream, memory: memoryview) -> None:
    at = 0
    while at < len(memory):
        block = stream.read(min(len(memory) - at, 1 << 22))
        if not block:
            raise EOFError(f"{len(memory) - at} bytes are missing")
        memory[at : at + len(block)] = block
        at += len(block)


def npy_contents(path: Path) -> Contents:
    """Contents of an ``.npy`` file: one array, named after the file."""
    with reading(path, "the .npy file"), path.open("rb") as stream:
        shape, _, dtype = npy_header(stream)
        if not dtype.hasobject:
            _check_bytes(path.stat().st_size - stream.tell(), shape, dtype, path.stem, path)

    def read() -> np.ndarray:
        with reading(path, "the .npy file"), path.open("rb") as stream:
            return npy_values(stream, path.stat().st_size, path.stem, path)

    part = None if dtype.kind not in "iuf" else functools.partial(_npy_part, path)
    return Contents(path, {path.stem: Stored(shape, _type_name(dtype), read, part, dtype)})


def _npy_part(path: Path, key: tuple[Any, ...]) -> np.ndarray:
    return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[key])


def npz_contents(path: Path) -> Contents:
    """Contents of an ``.npz`` archive; nothing is unpacked before its declared size was checked."""
    arrays = {}
    with reading(path, "the .npz archive"), zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            with archive.open(member) as stream:
                shape, _, dtype = npy_header(stream)
            name = member.filename[: -len(".npy")]
            if name in arrays:
                raise FileError("the archive holds two arrays of one name", path=path, where=name)
            arrays[name] = Stored(
                shape, _type_name(dtype), functools.partial(_read_member, path, member.filename)
            )
    return Contents(path, arrays)


def _read_member(path: Path, filename: str) -> np.ndarray:
    name = filename[: -len(".npy")]
    with reading(path, "the .npz archive", where=filename), zipfile.ZipFile(path) as archive:
        member = archive.getinfo(filename)
        check_zip_member(member, path)
        with archive.open(member) as stream:
            values = npy_values(stream, member.file_size, name, path)
            # Reading to the end is what makes the archive compare its checksum.
            while stream.read(1 << 20):
                pass
        return values


def _type_name(dtype: np.dtype) -> str:
    return "pickled objects" if dtype.hasobject else str(dtype)


def is_npy(path: Path) -> bool:
    """Whether the file is a NumPy array."""
    return head(path, len(NPY_MAGIC)) == NPY_MAGIC


def is_npz(path: Path) -> bool:
    """Whether the file is a zip archive of NumPy arrays; a broken archive named so counts too."""
    if not is_zip(path):
        return False
    names = zip_names(path)
    return any(name.endswith(".npy") for name in names) or (not names and b".npy" in head(path, 512))


# ---- plain HDF5 -------------------------------------------------------------------------------------
def hdf5_contents(path: Path) -> Contents:
    """Contents of an HDF5 file: every dataset by its full name. Links out of the file are not followed."""
    import h5py

    arrays: dict[str, Stored] = {}

    def visit(name: str | bytes, node: Any) -> None:
        # A name that is no UTF-8 comes as bytes.
        label = name if isinstance(name, str) else name.decode("utf-8", "replace")
        if isinstance(node, h5py.Dataset):
            arrays[label] = _stored_dataset(path, label, node)

    with reading(path, "the HDF5 file"), h5py.File(path, "r") as file:
        file.visititems(visit)
    return Contents(path, arrays)


def _stored_dataset(path: Path, name: str, dataset: Any) -> Stored:
    text = _is_text(dataset)
    part = None
    if dataset.dtype.kind in "iuf" and dataset.shape is not None:
        part = functools.partial(dataset_part, path, name)
    shape, kind = tuple(dataset.shape or ()), "text" if text else str(dataset.dtype)
    return Stored(shape, kind, functools.partial(_read_dataset, path, name), part, dataset.dtype)


def dataset_part(path: Path, name: str, key: tuple[Any, ...]) -> np.ndarray:
    """Read one part of a dataset; the file is open only while this runs."""
    import h5py

    with h5py.File(path, "r") as file:
        check_inside(file[name], path)
        return np.asarray(file[name][key])


def _read_dataset(path: Path, name: str) -> np.ndarray:
    import h5py

    with reading(path, "the HDF5 file", where=name), h5py.File(path, "r") as file:
        return dataset_values(file[name], path)


def dataset_values(dataset: Any, path: Path) -> np.ndarray:
    """Values of an ``h5py.Dataset``, after its declared size, its place and its type were checked."""
    check_inside(dataset, path)
    check_hdf5(dataset, path)
    if dataset.shape is None:
        return np.empty(0)
    if _is_text(dataset):
        return np.asarray(dataset.asstr()[()], dtype=str)
    if dataset.dtype.hasobject:
        raise FileError(
            f"dataset {dataset.name!r} is of a type that is not read",
            path=path, found=str(dataset.dtype), expected="numbers or text",
        )  # fmt: skip
    return np.asarray(dataset[()])


def check_inside(dataset: Any, path: Path) -> None:
    """Refuse a dataset whose values lie in other files: it could show any file of this computer."""
    if dataset.external or dataset.is_virtual:
        raise FileError(
            f"dataset {dataset.name!r} takes its values from other files",
            code="NT-FILE-008", path=path, fix="copy it into one file: h5repack",
        )  # fmt: skip


def _is_text(dataset: Any) -> bool:
    import h5py

    return h5py.check_string_dtype(dataset.dtype) is not None


FORMATS = {"npz": is_npz, "npy": is_npy, "hdf5": is_hdf5}
