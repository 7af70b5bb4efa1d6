"""The files that BIDS puts beside an EEG, MEG or iEEG recording: found by inheritance, read as tables."""

from __future__ import annotations

import json
import re
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurotools.errors import FileError, SettingsError
from neurotools.loaders.eeg.electrodes import POWERS, Electrodes, read_electrodes
from neurotools.loaders.fmri.beside import entities, read_json
from neurotools.loaders.reading.guard import reading
from neurotools.loaders.reading.units import canonical

SUFFIXES = ("eeg", "ieeg", "meg")
NAME = re.compile(r"sub-[^_]+(_[a-zA-Z]+-[^_]+)*_(?P<suffix>eeg|ieeg|meg)(\.[a-zA-Z0-9]+)+")
MISSING = ("n/a", "N/A", "")
LEVELS_UP = 4  # modality, session, subject, data set


@dataclass(frozen=True)
class Sidecars:
    """What lies beside one recording; None or empty where there is no such file."""

    stated: dict[str, Any]
    channels: pd.DataFrame | None
    events: pd.DataFrame | None
    event_columns: dict[str, Any]  # what is said of the columns of ``events``
    electrodes: Electrodes | None
    frame: str | None
    notes: list[str]


def check_entities(path: Path) -> None:
    """Refuse a name whose entities are not plain letters and digits (``sub-..`` would climb a folder)."""
    for part in path.name.rsplit("_", 1)[0].split("_"):
        if not re.fullmatch(r"[a-zA-Z]+-[a-zA-Z0-9+]+", part):
            raise FileError(
                "an entity in a BIDS name is not made of letters and digits", code="NT-FILE-008", path=path,
                found=part, expected="key-value, for example sub-01",
            )  # fmt: skip


def read_sidecars(path: Path) -> Sidecars:
    """Read all sidecars that apply to one data file."""
    match = NAME.fullmatch(path.name)
    suffix = match["suffix"] if match else "eeg"
    stated: dict[str, Any] = {}
    for file in reversed(_applying(path, f"_{suffix}.json")):
        stated.update(read_json(file))
    notes: list[str] = []
    electrodes, frame = _electrodes(path, notes)
    event_columns: dict[str, Any] = {}
    for file in reversed(_applying(path, "_events.json")):
        event_columns.update(read_json(file))
    return Sidecars(
        stated, _table(path, "_channels.tsv"), _table(path, "_events.tsv"), event_columns, electrodes, frame,
        notes,
    )  # fmt: skip


def facts_above(path: Path) -> dict[str, str]:
    """What the tables above a recording say of its participant, session, scan and data set, each as JSON.

    A table's own sidecar, which says what its columns mean, becomes ``NAME_columns``.
    """
    subject, session = (f"{key}-{entities(path).get(key)}" for key in ("sub", "ses"))
    facts: dict[str, str] = {}
    for folder in list(path.resolve().parents)[:LEVELS_UP]:
        inside = path.resolve().relative_to(folder).as_posix()
        for name, pattern, column, key in (
            ("participant", "participants.tsv", "participant_id", subject),
            ("session_facts", f"{subject}_sessions.tsv", "session_id", session),
            ("scan", f"{subject}*_scans.tsv", "filename", inside),
        ):
            for file in sorted(folder.glob(pattern)):
                if name not in facts and (row := _row(file, column, key)):
                    facts[name] = _as_text(row)
                    if file.with_suffix(".json").is_file():
                        facts[f"{name}_columns"] = _as_text(read_json(file.with_suffix(".json")))
        if (folder / "dataset_description.json").is_file():
            facts["data_set"] = _as_text(read_json(folder / "dataset_description.json"))
            break
    return facts


def _row(file: Path, column: str, key: str) -> dict[str, str]:
    """The cells of the one row whose ``column`` is ``key``, without those that say nothing."""
    table = read_tsv(file)
    rows = table[table[column] == key] if column in table else table[:0]
    if len(rows) != 1:
        return {}
    return {str(name): value for name, value in rows.iloc[0].items() if value not in MISSING}


def _as_text(content: dict[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=False)


def _applying(path: Path, ending: str, ignore: tuple[str, ...] = ("split",)) -> list[Path]:
    """Files with this ending that apply, nearest first: their entities are among those of the data file."""
    own = entities(path)
    found: list[Path] = []
    for folder in list(path.resolve().parents)[:LEVELS_UP]:
        here = [file for file in sorted(folder.glob(f"*{ending}")) if _stated_in(file, ignore) <= own.items()]
        found += sorted(here, key=lambda file: -len(entities(file)))
        if (folder / "dataset_description.json").is_file():
            break
    return found


def _stated_in(file: Path, ignore: tuple[str, ...]) -> Set[tuple[str, str]]:
    return {(key, value) for key, value in entities(file).items() if key not in ignore}


def _table(path: Path, ending: str) -> pd.DataFrame | None:
    files = _applying(path, ending)
    return None if not files else read_tsv(files[0])


def read_tsv(file: Path) -> pd.DataFrame:
    """A table of text cells, with ``n/a`` kept as text; a damaged one is named."""
    with reading(file, "the table"):
        table = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    if table.columns.duplicated().any() or table.shape[1] == 0:
        raise FileError("two columns of the table have one name", code="NT-DATA-006", path=file)
    table.attrs["path"] = str(file)
    return table


def numbers(column: pd.Series, file: Any) -> np.ndarray:
    """Cells as float64; NaN for ``n/a``. A cell that is no number is an error."""
    text = column.where(~column.isin(MISSING), "nan")
    try:
        return text.astype("float64").to_numpy()
    except ValueError as error:
        raise FileError(
            f"column {column.name!r} of the table holds something that is not a number", path=file,
            found=" ".join(str(error).split()),
        ) from error  # fmt: skip


def _electrodes(path: Path, notes: list[str]) -> tuple[Electrodes | None, str | None]:
    files = _applying(path, "_electrodes.tsv", ignore=("split", "space"))
    if not files:
        return None, None
    # The table that names no space, else the first in the alphabet; the others are told.
    file = min(files, key=lambda f: (entities(f).get("space", ""), f.name))
    spaces = sorted({entities(f).get("space", "none") for f in files})
    if len(spaces) > 1:
        notes.append(f"electrodes are given in the spaces {', '.join(spaces)}; read from {file.name}")
    space = entities(file).get("space")
    systems = [
        f for f in _applying(path, "_coordsystem.json", ignore=("split", "space"))
        if entities(f).get("space") == space
    ]  # fmt: skip
    system = read_json(systems[0]) if systems else {}
    unit = _stated(system, "CoordinateUnits")
    frame = _stated(system, "CoordinateSystem") or space
    if unit is not None and unit not in POWERS:
        notes.append(f"positions of {file.name} are in {unit!r}, which is no length; left out")
        return None, frame
    return read_electrodes(file, unit), frame


def _stated(system: dict[str, Any], ending: str) -> str | None:
    for prefix in ("EEG", "iEEG", "MEG"):
        value = system.get(prefix + ending)
        if isinstance(value, str) and value not in MISSING:
            return value
    return None


def base_unit(text: str) -> str | None:
    """Canonical unit of a cell in ``units`` ("µV" is V), or None when it is not known."""
    try:
        return canonical(text)[0]
    except SettingsError:
        return None
