"""Samples of an MNE recording, in memory or read from disk when they are asked for."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neurotools.errors import MissingExtraError
from neurotools.loaders.reading.disk import LAZY_BYTES, Key, on_disk
from neurotools.loaders.reading.guard import reading

# Packages of single formats that the extra leaves to those who need them.
NOT_IN_THE_EXTRA = {
    "antio": "pip install antio (its licence is the LGPL, so the extra [eeg] does not bring it)",
    "curryreader": "pip install curryreader (it brings pip and setuptools, so the extra [eeg] does not)",
}
PIECE_BYTES = 16 * 2**20  # a stride over a long stretch is read in pieces of this size


@contextlib.contextmanager
def mne_reading(path: Path, what: str) -> Iterator[None]:
    """Turn what MNE raises on damaged bytes into one named error, and a missing package into its own."""
    with reading(path, what):
        try:
            yield
        except (ImportError, RuntimeError) as error:
            text = " ".join(str(error).split())
            # Of a package that only one format needs, MNE says so in a RuntimeError without a cause.
            if not isinstance(error, ImportError) and "could not be imported" not in text:
                raise
            name = getattr(error, "name", None) or next(iter(re.findall(r"module (\w+)", text)), "")
            raise MissingExtraError(
                f"reading {what} needs the package {name or 'that is named here'}: {text}", path=path,
                fix=NOT_IN_THE_EXTRA.get(name, "pip install 'neurotools-xr[eeg]'"),
            ) from error  # fmt: skip


def too_large(raw: Any) -> bool:
    """Whether the samples, as float64, are left on disk."""
    return len(raw.ch_names) * int(raw.n_times) * 8 > LAZY_BYTES


def samples(raw: Any, picks: list[int], path: Path, lazy: bool) -> Any:
    """The samples of chosen channels: a NumPy array, or an array that reads them when asked.

    A lazy access takes memory for what it returns and for the pieces that MNE unpacks on the way; nothing is
    kept between accesses.
    """
    if lazy:
        read = functools.partial(_part, raw, np.asarray(picks))
        return on_disk(read, (len(picks), int(raw.n_times)), "float64", path)
    with mne_reading(path, "a block of samples"):
        return np.ascontiguousarray(raw.get_data(picks=picks))


def _part(raw: Any, picks: np.ndarray, key: Key) -> np.ndarray:
    rows, columns = key
    one_row, one_column = not isinstance(rows, slice), not isinstance(columns, slice)
    span = range(raw.n_times)[slice(columns, columns + 1) if one_column else columns]
    block = _stretch(raw, picks[[rows] if one_row else rows], span)
    block = block[0] if one_row else block
    return block[..., 0] if one_column else block


def _stretch(raw: Any, picks: np.ndarray, span: range) -> np.ndarray:
    if len(span) == 0 or picks.size == 0:
        return np.empty((picks.size, len(span)))
    if span.step == 1:
        return raw[picks, span.start : span.stop][0]
    out = np.empty((picks.size, len(span)))
    each = max(1, PIECE_BYTES // (8 * picks.size * span.step))
    for first in range(0, len(span), each):
        part = span[first : first + each]
        out[:, first : first + each] = raw[picks, part.start : part[-1] + 1][0][:, :: part.step]
    return out
