"""Files of pynapple (``.npz``), read with NumPy alone.

pynapple keeps metadata, and column names that are text, as pickled objects, which are never opened; the
attributes say what was left in the file.
"""

from __future__ import annotations

import contextlib
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import FileError
from neurotools.loaders.answers import Answers
from neurotools.loaders.described.arrays import npz_contents
from neurotools.loaders.described.contents import Contents
from neurotools.loaders.reading.sniff import zip_names
from neurotools.loaders.spikes.pynapple_pieces import Piece, judged, nodes
from neurotools.schema import recording_tree

MEMBERS = {
    "TsGroup": {"t", "index", "start", "end"}, "TsdFrame": {"t", "d", "start", "end", "columns"},
    "TsdTensor": {"t", "d", "start", "end"}, "Tsd": {"t", "d", "start", "end"}, "Ts": {"t", "start", "end"},
    "IntervalSet": {"start", "end"},
}  # fmt: skip
KNOWN = {"t", "d", "index", "keys", "start", "end", "type", "columns", "_metadata"}


def load_pynapple(path: Path, answers: Answers) -> xr.DataTree:
    """Read one object that pynapple saved. ``kind``, ``units`` and ``labels`` say what a series is.

    Times out of order are put into order, as pynapple does, and the attributes say so.

    Raises
    ------
    FileError
        The archive is damaged or lacks an array of its type.
    SchemaError
        Times that are not finite, or that lie outside the time support.
    """
    contents = npz_contents(path)
    pickled = [name for name, stored in contents.arrays.items() if stored.dtype == "pickled objects"]
    piece = _stored_piece(contents, set(pickled))
    if answers.labels is not None and piece.type == "TsdFrame":
        piece = replace(piece, columns=np.asarray(answers.labels))
    found = nodes(judged(piece, path), answers.array or "value", answers.kind, answers.units, path)
    attrs = {"not_read": f"{', '.join(pickled)} (pickled objects, never opened)"} if pickled else {}
    return recording_tree(found, **attrs)


def _stored_piece(contents: Contents, pickled: set[str]) -> Piece:
    names = set(contents.arrays) - pickled
    kind = _stated_type(contents) or next((k for k, needed in MEMBERS.items() if needed <= names), "")
    missing = MEMBERS.get(kind, {"type"}) - names - ({"columns"} if kind == "TsdFrame" else set())
    if missing:
        raise FileError(
            f"the pynapple file lacks arrays of its type {kind!r}",
            code="NT-FILE-004", path=contents.path,
            found=contents.shown(), expected=", ".join(sorted(missing)),
        )  # fmt: skip
    held = {name: np.asarray(contents.read(name)) for name in names}
    for name in {"t", "start", "end"} & names:
        if held[name].ndim != 1 or held[name].dtype.kind not in "iuf":
            raise FileError(
                f"array {name!r} of a pynapple file holds times",
                path=contents.path, found=f"{held[name].dtype} of shape {held[name].shape}",
            )  # fmt: skip
        held[name] = held[name].astype("float64")
    n_keys = len(held.get("keys", np.unique(held.get("index", []))))
    extra = {k: v for k, v in held.items() if k not in KNOWN and v.shape == (n_keys,) and kind == "TsGroup"}
    fields: dict[str, Any] = {name: held[name] for name in KNOWN - {"type", "_metadata"} if name in held}
    return Piece(type=kind, metadata=extra, **fields)


def _stated_type(contents: Contents) -> str | None:
    stored = contents.arrays.get("type")
    if stored is None or stored.shape != (1,) or not stored.dtype.startswith(("<U", "|S", ">U")):
        return None
    kind = str(np.asarray(stored.read())[0])
    return kind if kind in MEMBERS else None


def is_pynapple(path: Path) -> bool:
    """Whether an ``.npz`` archive was saved by pynapple: it names its type, or has times and a support."""
    names = {name.removesuffix(".npy") for name in zip_names(path)}
    if "type" in names and {"start", "end"} <= names:
        with contextlib.suppress(OSError, ValueError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            with archive.open("type.npy") as stream:
                text = stream.read(512)
            return any(kind in text.replace(b"\0", b"").decode("latin-1") for kind in MEMBERS)
    return {"t", "start", "end"} <= names


FORMATS = {"pynapple": is_pynapple}
