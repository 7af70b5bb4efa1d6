"""What a file that holds nameless arrays offers: their names, shapes and types, and how to read each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurotools.errors import FileError, did_you_mean


@dataclass(frozen=True)
class Stored:
    """One array of a file: what it claims to be, and how to read it, whole or (where that can be) in part.

    ``dtype`` is the type as the file calls it, for people. ``part`` takes one whole number or forward slice
    per axis and gives values of ``part_dtype``.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]
    part: Callable[[tuple[Any, ...]], np.ndarray] | None = None
    part_dtype: np.dtype | None = None


@dataclass(frozen=True)
class Contents:
    """The arrays of one file by name; ``only`` names the one to take when the user names none."""

    path: Path
    arrays: Mapping[str, Stored]
    attrs: Mapping[str, str] = field(default_factory=dict)
    only: str | None = None

    def listing(self) -> list[str]:
        """One line per array, for messages: ``"NEURAL (75, 666) float64"``."""
        return [f"{name} {stored.shape} {stored.dtype}" for name, stored in self.arrays.items()]

    def shown(self, most: int = 30) -> str:
        """The listing as one text, cut after ``most`` arrays."""
        lines = self.listing()
        rest = f"; and {len(lines) - most} more" if len(lines) > most else ""
        return ("; ".join(lines[:most]) + rest) or "no arrays"

    def default(self) -> str | None:
        """The array that can only be meant: the one named ``only``, or the only one there is."""
        if self.only is not None:
            return self.only
        return next(iter(self.arrays)) if len(self.arrays) == 1 else None

    def stored(self, name: str) -> Stored:
        """Return the entry for ``name``, or an error that lists what there is."""
        if name not in self.arrays:
            raise FileError(
                f"the file has no array named {name!r}.{did_you_mean(name, self.arrays)}",
                code="NT-FILE-008", path=self.path, found=self.shown(),
            )  # fmt: skip
        return self.arrays[name]

    def read(self, name: str) -> np.ndarray:
        """Read one array into memory."""
        return self.stored(name).read()


def no_objects(name: str, path: Path) -> FileError:
    """The error for an array of pickled Python objects."""
    return FileError(
        f"array {name!r} holds pickled Python objects, which could run code and are never opened",
        code="NT-FILE-007", path=path,
        fix="save it again as numbers or text: np.save(file, np.asarray(values, dtype=float))",
    )  # fmt: skip
