"""Choices of an animal, trial by trial, with the starts of its sessions; and tracked positions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import FileError, SchemaError, SettingsError
from neurotools.loaders.answers import Answers, check_keys
from neurotools.loaders.described.opened import Opened
from neurotools.loaders.described.tables import TABLE
from neurotools.loaders.reading.guard import reading
from neurotools.loaders.reading.limits import check_size
from neurotools.loaders.reading.sniff import head
from neurotools.schema import check_time, plain_attrs, recording_tree

CHOICE_KEYS = (
    "choice",
    "design",
    "features",
    "session",
    "session_start",
    "subject",
    "columns",
    "values",
    "attrs",
)
# Names that say by themselves what an array is; anything else has to be told.
OWN_NAMES = ("choice", "design", "session", "session_start", "subject")


# ---- choices ---------------------------------------------------------------------------------------
def choices_node(given: Mapping[str, Any], opened: Opened) -> xr.Dataset:
    """Build ``choice(trial)`` with ``session`` and ``subject`` on ``trial``, and ``design`` where there is.

    ``given`` holds references: ``choice`` (whole numbers from 0; ``values`` maps other codes),
    ``session`` (a label per trial) or ``session_start`` (index of the first trial of each session, from 0,
    with or without the number of trials at its end), ``subject``, ``design`` (trial, feature) with names
    ``features``, and further ``columns``, one value per trial.
    """
    check_keys("behaviour", given, CHOICE_KEYS)
    given = {**_named(given, opened), **given}
    if "choice" not in given:
        raise FileError(
            "the file does not say which array holds the choices",
            code="NT-FILE-006", path=opened.path,
            found=opened.contents().shown() if not opened.path.is_dir() else None,
            fix='arrays={"behaviour": {"choice": NAME, "session_start": NAME, "design": NAME, ...}}',
        )  # fmt: skip
    choice = _choice(opened.value(given["choice"]).ravel(), given.get("values"), opened)
    n = choice.size
    session = _sessions(given, n, opened)
    coords: dict[str, Any] = {"trial": np.arange(n), "session": ("trial", session)}
    if "subject" in given:
        coords["subject"] = ("trial", _per_trial("subject", given["subject"], n, opened))
    data: dict[str, Any] = {"choice": ("trial", choice, {"units": "1"})}
    if "design" in given:
        data["design"], coords["feature"] = _design(given, n, opened)
    for name, reference in given.get("columns", {}).items():
        data[name] = ("trial", _per_trial(name, reference, n, opened))
    n_sessions = int(np.sum(session[1:] != session[:-1])) + 1
    attrs = {"n_sessions": n_sessions, **given.get("attrs", {})}
    return xr.Dataset(data, coords=coords, attrs=plain_attrs(attrs))


def _named(given: Mapping[str, Any], opened: Opened) -> dict[str, Any]:
    """Arrays whose own name says what they are, and, in a table, its other columns."""
    if opened.path.is_dir():
        return {}
    contents = opened.contents()
    found: dict[str, Any] = {
        name: name for name in OWN_NAMES if name in contents.arrays and name not in given
    }
    if "choice" in found or "choice" in given:
        choice = given.get("choice", "choice")
        n = contents.arrays[choice].shape if isinstance(choice, str) and choice in contents.arrays else None
        taken = {*found, TABLE, *(str(v) for v in given.values() if isinstance(v, str))}
        if "columns" not in given:
            others = {k: k for k, stored in contents.arrays.items() if k not in taken and stored.shape == n}
            found["columns"] = others
    return found


def _choice(values: np.ndarray, codes: Any, opened: Opened) -> np.ndarray:
    if values.size == 0:
        raise FileError("there are no trials in the file", code="NT-DATA-010", path=opened.path)
    if codes is not None:
        if not isinstance(codes, Mapping):
            raise SettingsError("'values' maps each code of a choice to a number", found=codes)
        table = {str(key): int(value) for key, value in codes.items()}
        names = [str(int(v)) if values.dtype.kind == "f" and v == np.round(v) else str(v) for v in values]
        strange = sorted(set(names) - set(table))
        if strange:
            raise SchemaError(
                "a choice has a code that 'values' does not map", path=opened.path,
                found=", ".join(strange[:8]), expected=", ".join(table),
            )  # fmt: skip
        return np.array([table[name] for name in names], dtype="int64")
    whole = values.dtype.kind in "iufb" and np.isfinite(values.astype("float64")).all()
    if not whole or (values != np.round(values)).any() or values.min() < 0:
        shown = np.unique(values[:1000])[:8]
        raise SchemaError(
            "choices are whole numbers from 0: one per alternative",
            code="NT-DATA-008", path=opened.path, found=", ".join(map(str, shown)),
            fix="say what the codes mean, for example values={-1: 0, 1: 1}; leave missed trials out yourself",
        )  # fmt: skip
    return values.astype("int64")


def _per_trial(name: str, reference: Any, n: int, opened: Opened) -> np.ndarray:
    values = opened.value(reference).ravel()
    if values.size != n:
        raise SchemaError(
            f"{name!r} and the choices differ in number",
            code="NT-DATA-005", path=opened.path, found=f"{values.size}", expected=f"{n} trials",
        )  # fmt: skip
    return _labels(values) if name in {"session", "subject"} else values


def _labels(values: np.ndarray) -> np.ndarray:
    whole = values.dtype.kind == "f" and np.isfinite(values).all() and (values == np.round(values)).all()
    return values.astype("int64") if whole or values.dtype.kind in "iu" else values.astype(str)


def _sessions(given: Mapping[str, Any], n: int, opened: Opened) -> np.ndarray:
    """A session label for each trial; the trials of one session must stand together."""
    if "session" in given:
        session = _per_trial("session", given["session"], n, opened)
        first = np.flatnonzero(np.r_[True, session[1:] != session[:-1]])
        if np.unique(session[first]).size != first.size:
            raise SchemaError(
                "the trials of one session do not stand together", code="NT-DATA-005", path=opened.path,
                fix="sort by session, or number the sessions of each subject apart",
            )  # fmt: skip
        return session
    if "session_start" not in given:
        raise FileError(
            "the file does not say where its sessions begin",
            code="NT-FILE-006", path=opened.path, found=f"{n} trials",
            fix='"session_start": NAME (index of first trials) or "session": NAME (a label per trial); '
            '"session_start": [0] for a single session',
        )  # fmt: skip
    start = opened.value(given["session_start"]).ravel()
    if start.dtype.kind not in "iuf" or (start != np.round(start)).any():
        raise SchemaError("session starts are whole numbers", path=opened.path, found=start.dtype)
    edges = start.astype("int64")
    # No session can start where the trials end, so that entry is the end mark of the last session.
    edges = edges if edges.size and edges[-1] == n else np.r_[edges, n]
    if edges[0] != 0 or (np.diff(edges) <= 0).any():
        raise SchemaError(
            "session starts must begin with 0 and increase up to the number of trials",
            code="NT-DATA-004", path=opened.path, found=f"{edges[:3]} ... {edges[-2:]}",
            expected=f"0 ... less than {n}",
        )  # fmt: skip
    return np.repeat(np.arange(edges.size - 1), np.diff(edges))


def _design(given: Mapping[str, Any], n: int, opened: Opened) -> tuple[Any, Any]:
    values = opened.value(given["design"])
    if values.ndim != 2 or values.shape[0] != n:
        raise SchemaError(
            "a design has one row per trial",
            code="NT-DATA-005", path=opened.path, found=f"shape {values.shape}", expected=f"({n}, features)",
        )  # fmt: skip
    names = given.get("features", [f"x{k}" for k in range(values.shape[1])])
    labels = np.asarray(names, dtype=str)
    if labels.shape != (values.shape[1],):
        raise SchemaError(
            "names and columns of the design differ in number", code="NT-DATA-005",
            found=f"{labels.size} names", expected=f"{values.shape[1]}",
        )  # fmt: skip
    return (("trial", "feature"), np.asarray(values, dtype="float64")), labels


# ---- a folder of choices, one .npy per column --------------------------------------------------------
FOLDER_ROLES = {"y": "choice", "x": "design", "sessions": "session_start", "mouseIDs": "subject"}


def _stem(path: Path) -> str | None:
    """The common beginning of ``NAME_y.npy``, ``NAME_x.npy`` and ``NAME_sessions.npy``."""
    stems = [p.name[: -len("y.npy")] for p in sorted(path.glob("*_y.npy"))]
    whole = [s for s in stems if all((path / f"{s}{part}.npy").is_file() for part in ("x", "sessions"))]
    return whole[0] if len(whole) == 1 else None


def load_choices_folder(path: Path, answers: Answers) -> xr.DataTree:
    """Load a folder ``NAME_y.npy`` (choices), ``NAME_x.npy`` (design), ``NAME_sessions.npy`` (starts).

    The layout of Ashwood and colleagues' and Stone and colleagues' GLM-HMM code. Further ``NAME_*.npy``
    with a value per trial are kept under their own names.
    """
    stem = _stem(path)
    given: dict[str, Any] = {"columns": {}}
    for file in sorted(path.glob(f"{stem}*.npy")):
        part = file.name[len(str(stem)) : -len(".npy")]
        if part in FOLDER_ROLES:
            given[FOLDER_ROLES[part]] = {"file": file.name}
        else:
            given["columns"][part] = {"file": file.name}
    if answers.labels is not None:
        given["features"] = answers.labels
    opened = Opened(path)
    return recording_tree({"behaviour": choices_node(given, opened)}, kind="behaviour", **answers.attrs)


def is_choices_folder(path: Path) -> bool:
    """Whether a folder holds choices, design and session starts as one ``.npy`` each."""
    return path.is_dir() and _stem(path) is not None


# ---- tracked positions -----------------------------------------------------------------------------
START, END = b"<Start settings>", b"<End settings>\n"
FIELD = re.compile(r"<(\w+) (u?int(?:8|16|32|64)|float|double)>")
FIELD_TYPES = {"float": "<f4", "double": "<f8", "uint8": "u1", "int8": "i1"}


def load_tracking(path: Path, answers: Answers) -> xr.DataTree:
    """Load a camera tracking file: a text header that names its fields, then fixed binary records.

    ``time`` is counted in ticks of ``clockrate``. Positions are in pixels unless the header gives a scale.
    """
    check_size(4 * path.stat().st_size, path, "the tracking file")
    content = path.read_bytes()
    with reading(path, "the tracking file"):
        settings, fields, at = _tracking_header(content, path)
        record = np.dtype([(name, FIELD_TYPES.get(kind, f"<{_short(kind)}")) for name, kind in fields])
        n, rest = divmod(len(content) - at, record.itemsize)
        if rest and not answers.allow_truncated:
            raise FileError(
                "the tracking file ends within a record",
                code="NT-FILE-003", path=path, found=f"{rest} bytes after record {n}",
                expected=f"records of {record.itemsize} bytes", fix="allow_truncated=True leaves them out",
            )  # fmt: skip
        rows = np.frombuffer(content, dtype=record, count=n, offset=at)
        time = rows["time"] / float(settings["clockrate"])
    repeated = np.r_[False, np.diff(time) == 0] if n else np.zeros(0, dtype=bool)
    if repeated.any() and not answers.sort:
        where = int(np.flatnonzero(repeated)[0])
        raise FileError(
            "a time stamp occurs twice, so the recording has no increasing clock",
            code="NT-DATA-004", path=path, where=f"records {where - 1} and {where}",
            found=f"{int(repeated.sum())} of {n}", fix="sort=True keeps the first of each and says so",
        )  # fmt: skip
    data = {
        name: (
            "time",
            rows[name][~repeated].astype("int64" if kind != "float" else "float64"),
            {"units": "px"},
        )
        for name, kind in fields
        if name != "time"
    }
    check_time(time[~repeated], "the tracking file")
    coords = {"time": ("time", time[~repeated], {"units": "s"})}
    tracked = xr.Dataset(data, coords=coords, attrs=_tracking_attrs(settings, repeated, rest))
    return recording_tree({"behaviour": tracked}, kind="behaviour", **answers.attrs)


def _short(kind: str) -> str:
    return {"uint": "u", "int": "i"}[kind.rstrip("0123456789")] + str(int(kind.lstrip("uint")) // 8)


def _tracking_attrs(settings: Mapping[str, str], repeated: np.ndarray, rest: int) -> dict[str, Any]:
    notes = {"repeated_stamps_left_out": int(np.sum(repeated)), "bytes_left_out": rest}
    return {**{f"camera_{key.replace(' ', '_')}": value for key, value in settings.items()},
            **{key: value for key, value in notes.items() if value}}  # fmt: skip


def _tracking_header(content: bytes, path: Path) -> tuple[dict[str, str], list[tuple[str, str]], int]:
    end = content.find(END)
    if end < 0:
        raise FileError("the header of the tracking file has no end", code="NT-FILE-003", path=path)
    lines = content[len(START) : end].decode("utf-8").splitlines()
    settings = dict(line.split(": ", maxsplit=1) for line in lines if ": " in line)
    fields = FIELD.findall(settings.pop("Fields", ""))
    names = [name for name, _ in fields]
    if "time" not in names or len(set(names)) != len(names):
        raise FileError("the header names no 'time', or a field twice", path=path, found=", ".join(names))
    rate = settings.get("clockrate", "")
    if not rate.strip().isdigit() or int(rate) == 0:
        raise FileError("the header does not say its clockrate", path=path, found=rate)
    return settings, fields, end + len(END)


def is_tracking(path: Path) -> bool:
    """Whether the file begins with a settings block that lists its fields."""
    start = head(path, 4096)
    return start.startswith(START) and b"Fields:" in start


FORMATS = {"choices-folder": is_choices_folder, "tracking": is_tracking}
