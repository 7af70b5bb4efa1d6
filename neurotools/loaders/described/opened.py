"""The files of one recording whose arrays have no meaning yet: opened once each, read by reference."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurotools.errors import FileError, SchemaError, SettingsError
from neurotools.loaders.answers import SETTINGS_FILE, check_keys
from neurotools.loaders.described import arrays, mat, tables
from neurotools.loaders.described.contents import Contents
from neurotools.loaders.reading.sniff import check_heaps, head, is_text
from neurotools.loaders.reading.units import converted

REFERENCE = ("name", "file", "column", "units", "values", "first", "n", "dim")
READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Contents]], ...] = (
    (arrays.is_npz, arrays.npz_contents),
    (arrays.is_npy, arrays.npy_contents),
    (mat.is_mat5, mat.mat5_contents),
    (mat.is_mat73, mat.mat73_contents),
    (arrays.is_hdf5, arrays.hdf5_contents),
)


def open_contents(path: Path) -> Contents:
    """List the arrays of any file that holds nameless arrays; text counts as a table."""
    check_heaps(path)
    for belongs, contents in READERS:
        if belongs(path):
            return contents(path)
    if is_text(head(path, 65536)) or tables.is_table(path):
        return tables.table_contents(path)
    raise FileError(
        "the file holds no arrays that neurotools reads",
        code="NT-FILE-002", path=path, expected="npz, npy, MATLAB, HDF5 or a table of text",
    )  # fmt: skip


@dataclass
class Opened:
    """The files of one recording, and which of their arrays were used.

    ``path`` is a file, or a folder whose files are named one by one.
    """

    path: Path
    files: dict[Path, Contents] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def file(self, name: str | None) -> Path:
        """The path of a file of this recording; it must lie inside the recording's folder."""
        if name is None:
            if self.path.is_dir():
                raise FileError(
                    "a folder was given, so each array needs its file",
                    code="NT-FILE-006", path=self.path,
                    found=", ".join(sorted(p.name for p in self.path.iterdir())[:20]),
                    fix=f"add 'file: NAME' to each array, here or in {SETTINGS_FILE}",
                )  # fmt: skip
            return self.path
        folder = (self.path if self.path.is_dir() else self.path.parent).resolve()
        target = (folder / name).resolve()
        if not target.is_relative_to(folder):
            raise FileError("a file of the recording lies outside its folder", path=folder, found=name)
        if not target.is_file():
            raise FileError(
                "a file that belongs to the recording is not there", code="NT-FILE-001", path=target
            )
        return target

    def contents(self, name: str | None = None) -> Contents:
        """List the arrays of a file, once."""
        path = self.file(name)
        if path not in self.files:
            self.files[path] = open_contents(path)
        return self.files[path]

    def name_of(self, file: str | None, name: str | None) -> str:
        """The array that is meant, when it is named or when there is only one."""
        contents = self.contents(file)
        chosen = name if name is not None else contents.default()
        if chosen is None:
            raise FileError(
                "the file holds several arrays, so the one that is meant must be named",
                code="NT-FILE-006", path=contents.path, found=contents.shown(),
                fix=f"nt.load(path, array={next(iter(contents.arrays), 'NAME')!r}, ...)",
            )  # fmt: skip
        return chosen

    def read(self, file: str | None, name: Any) -> np.ndarray:
        """Read one array; a list of names, or ``"first:last"``, puts columns of a table side by side."""
        contents = self.contents(file)
        if isinstance(name, str) and ":" in name and name not in contents.arrays:
            name = _between(contents, *name.split(":", maxsplit=1))
        if isinstance(name, (list, tuple)):
            columns = [self.read(file, str(entry)) for entry in name]
            if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
                raise SchemaError(
                    "only columns of one length can be put side by side", code="NT-DATA-005",
                    path=contents.path, found=[column.shape for column in columns],
                )  # fmt: skip
            return np.stack(columns, axis=1)
        chosen = self.name_of(file, name)
        self.used.add(chosen)
        return contents.read(chosen)

    def value(self, reference: Any) -> np.ndarray:
        """The values that a reference stands for: a name, a mapping, or the values themselves."""
        if isinstance(reference, str):
            return self.read(None, reference)
        if not isinstance(reference, Mapping):
            return np.asarray(reference)
        check_keys("a reference", reference, REFERENCE)
        if "values" in reference:
            values = np.asarray(reference["values"])
        elif "n" in reference:
            first = int(reference.get("first", 0))
            values = np.arange(first, first + int(reference["n"]))
        else:
            values = self.read(reference.get("file"), reference.get("name"))
        if reference.get("column") is not None:
            values = _column(values, reference["column"])
        return converted(values, reference["units"])[0] if "units" in reference else values

    def number(self, reference: Any, what: str) -> float:
        """The one number that a reference stands for."""
        values = self.value(reference)
        if values.size != 1 or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
            raise SettingsError(
                f"{what} must be one number",
                path=self.path, found=f"{values.dtype} {values.shape} from {reference!r}",
                fix=f"give a number, or {{name: ARRAY}} where the file stores it: {self._shown()}",
            )  # fmt: skip
        return float(values.ravel()[0])

    def matching(self, file: str | None, pattern: str) -> dict[str, str]:
        """Arrays whose name fits ``pattern``, by what its stars stood for ("3-14")."""
        shape = re.compile("(.+?)".join(re.escape(part) for part in pattern.split("*")))
        contents = self.contents(file)
        found = {}
        for name in contents.arrays:
            fits = shape.fullmatch(name)
            if fits:
                found["-".join(fits.groups()) or name] = name
        if not found:
            raise FileError(
                f"the file has no arrays like {pattern!r}",
                code="NT-FILE-008", path=contents.path, found=contents.shown(),
            )  # fmt: skip
        return found

    def not_read(self) -> list[str]:
        """Arrays of the opened files that nobody asked for."""
        whole_table = tables.TABLE in self.used
        return [
            name
            for contents in self.files.values()
            for name in contents.arrays
            if name not in self.used and name != tables.TABLE and not (whole_table and contents.only)
        ]

    def _shown(self) -> str:
        return self.contents().shown() if not self.path.is_dir() else "name its file too"


def _between(contents: Contents, first: str, last: str) -> list[str]:
    names = [name for name in contents.arrays if name != tables.TABLE]
    contents.stored(first), contents.stored(last)
    start, stop = names.index(first), names.index(last)
    if stop < start:
        raise SettingsError(f"column {last!r} comes before {first!r}", path=contents.path)
    return names[start : stop + 1]


def _column(values: np.ndarray, column: Any) -> np.ndarray:
    if values.ndim != 2 or not isinstance(column, int) or not 0 <= column < values.shape[1]:
        raise SettingsError(
            "'column' is the number, from 0, of a column of a two-dimensional array",
            found=f"column {column!r} of shape {values.shape}",
        )
    return values[:, column]
