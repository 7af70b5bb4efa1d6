"""Arrays that stay on disk in the order and unit of the recording: each part is read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from neurotools.loaders.reading.guard import reading
from neurotools.loaders.reading.limits import array_bytes, check_size

LAZY_BYTES = 1 << 26  # arrays of more than 64 MiB are left on disk
Key = tuple[Any, ...]  # one whole number or forward slice per axis


class DiskArray(BackendArray):
    """An array whose parts ``read(key)`` fetches; ``key`` holds whole numbers and forward slices."""

    def __init__(
        self, read: Callable[[Key], np.ndarray], shape: tuple[int, ...], dtype: Any, path: Path
    ) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)
        self._read, self._path = read, path

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._fetch
        )

    def _fetch(self, key: Key) -> np.ndarray:
        pairs = zip(key, self.shape, strict=True)
        wanted = tuple(len(range(n)[k]) if isinstance(k, slice) else 1 for k, n in pairs)
        check_size(array_bytes(wanted, self.dtype.itemsize), self._path, "the part that was asked for")
        with reading(self._path, "a part of the recording"):
            return np.asarray(self._read(key), dtype=self.dtype)


def on_disk(
    read: Callable[[Key], np.ndarray], shape: tuple[int, ...], dtype: Any, path: Path
) -> indexing.ExplicitlyIndexed:
    """Wrap ``read`` as an array that xarray takes and leaves on disk until values are needed.

    Parameters
    ----------
    read : callable
        From a tuple with one whole number or forward slice per axis to that part, as a NumPy array. It
        opens and closes the file itself, so that nothing stays open.
    shape, dtype
        Of the whole array, after whatever scaling ``read`` applies.
    path : pathlib.Path
        For messages.
    """
    return indexing.LazilyIndexedArray(DiskArray(read, shape, dtype, path))


def rows_of_hdf5(
    path: Path, name: str, scale: np.ndarray | float = 1.0, offset: float = 0.0
) -> Callable[[Key], np.ndarray]:
    """Reader for ``on_disk`` of a dataset stored (time, row), given back as (row, time) and scaled.

    ``scale`` is one number, or one per row. A dataset without rows counts as one row.
    """

    def read(key: Key) -> np.ndarray:
        import h5py

        rows, times = key
        with h5py.File(path, "r") as file:
            values = (
                file[name][times, rows] if file[name].ndim == 2 else file[name][times][..., None][..., rows]
            )
        return scaled_rows(np.asarray(values).T, scale, offset, rows)

    return read


def scaled_rows(values: np.ndarray, scale: np.ndarray | float, offset: float, rows: Any) -> np.ndarray:
    """``values * scale + offset`` for values (row, time) of the chosen ``rows``; as they are for 1 and 0."""
    if np.ndim(scale) == 0 and scale == 1.0 and offset == 0.0:
        return values
    factor = np.asarray(scale)
    if factor.ndim:
        factor = factor[rows]
        factor = factor[:, None] if factor.ndim and values.ndim == 2 else factor
    return np.asarray(values * factor + offset)
