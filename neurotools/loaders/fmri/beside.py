"""What lies beside a BOLD image: its sidecar, its events, its confounds, by BIDS or OpenfMRI names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurotools.errors import FileError, SchemaError
from neurotools.loaders.reading.guard import reading
from neurotools.schema import events_table

CONFOUNDS_NAME = re.compile(r"desc-confounds_(timeseries|regressors)\.tsv$")  # new and old naming
LEVELS_UP = 4  # a sidecar may stand as far up as the root of the data set
# Entities that tell versions of one run apart; tables of the run do not carry them.
OF_THE_IMAGE = ("space", "res", "den", "desc", "echo", "part", "hemi")


def entities(path: Path) -> dict[str, str]:
    """BIDS entities of a file name: ``sub-01_task-rest_bold.nii.gz`` gives sub and task."""
    parts = path.name.split(".")[0].split("_")
    return dict(part.split("-", 1) for part in parts if re.fullmatch(r"[a-zA-Z]+-[a-zA-Z0-9+]+", part))


def named_by(path: Path) -> dict[str, str]:
    """Subject, session, task and run as the file or its folder says, for the root of a recording."""
    words = {"sub": "subject", "ses": "session", "task": "task", "run": "run"}
    found = {word: entities(path)[key] for key, word in words.items() if key in entities(path)}
    run_folder = re.fullmatch(r"(task\d+)_(run\d+)", path.parent.name)
    if run_folder and not found:  # OpenfMRI: sub001/BOLD/task001_run001/bold.nii.gz
        found = {"subject": path.parents[2].name, "task": run_folder[1], "run": run_folder[2]}
    return found


def _folders_up(path: Path) -> Iterator[Path]:
    for folder in list(path.resolve().parents)[:LEVELS_UP]:
        yield folder
        if (folder / "dataset_description.json").exists():
            return


def stem(path: Path) -> str:
    """File name without ``.nii`` and ``.gz``."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


# ---- the sidecar ------------------------------------------------------------------------------------
def sidecar(path: Path) -> tuple[dict[str, Any], Path | None]:
    """The JSON that belongs to an image (BIDS: beside it, else inherited from a folder above), and its path.

    The nearest file that states the repetition time wins; an empty dict when there is none.
    """
    exact = path.parent / f"{stem(path)}.json"
    if exact.is_file():
        return read_json(exact), exact
    own = entities(path)
    if "task" not in own:
        return {}, None
    for folder in _folders_up(path):
        matching = [file for file in sorted(folder.glob("*_bold.json")) if _is_of(file, own)]
        if matching:
            nearest = max(matching, key=lambda file: len(entities(file)))
            return read_json(nearest), nearest
    return {}, None


def _is_of(file: Path, own: dict[str, str]) -> bool:
    stated = entities(file).items()
    return bool(stated) and stated <= own.items()


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object, or say that it cannot be read."""
    with reading(file, "the sidecar"):
        content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise FileError("the sidecar must hold one JSON object", path=file, found=type(content).__name__)
    return content


def openfmri_key(path: Path) -> tuple[float, Path] | None:
    """Repetition time in seconds from ``scan_key.txt`` above an OpenfMRI image, and that file."""
    if not stem(path).startswith("bold"):
        return None
    for folder in _folders_up(path):
        file = folder / "scan_key.txt"
        if file.is_file():
            with reading(file, "the scan key"):
                words = file.read_text(encoding="utf-8").split()
                return (float(words[words.index("TR") + 1]), file) if "TR" in words else None
    return None


# ---- events -----------------------------------------------------------------------------------------
def events_file(path: Path) -> Path | None:
    """The events table of the run that an image belongs to: beside it, inherited, or in the raw data set.

    A derivative (fMRIPrep) holds images and no events; these stay in the data set that it was made from.
    """
    if stem(path).startswith("bold") and (path.parent / "bold_events.tsv").is_file():
        return path.parent / "bold_events.tsv"
    own = {key: value for key, value in entities(path).items() if key not in OF_THE_IMAGE}
    for func in (path.parent, *_raw_folders(path)):
        for folder in _folders_up(func / path.name):
            fitting = [file for file in sorted(folder.glob("*_events.tsv")) if _is_of(file, own)]
            most = max((len(entities(file)) for file in fitting), default=0)
            found = _only([file for file in fitting if len(entities(file)) == most], "events")
            if found is not None:
                return found
    return None


def _raw_folders(path: Path) -> Iterator[Path]:
    """Where BIDS puts the raw files of a derived image, as far as they lie near it.

    ``DATA/derivatives/NAME/sub-01/func`` is made from ``DATA/sub-01/func``, of which a copy or a link may
    stand in ``NAME/sourcedata/raw``.
    """
    folder = path.resolve().parent
    for root in list(folder.parents)[: LEVELS_UP - 1]:
        inside = folder.relative_to(root)
        yield from (root / "sourcedata" / "raw" / inside, root / "sourcedata" / inside)
        if root.parent.name == "derivatives":
            yield root.parent.parent / inside


def read_events(file: Path, duration_s: float) -> xr.Dataset:
    """Read a BIDS events table; onsets in seconds from the first volume.

    Raises
    ------
    SchemaError
        An onset lies behind the last volume of a recording of ``duration_s`` seconds (NT-DATA-007).
        Onsets before the first volume are legal in BIDS and kept.
    """
    with reading(file, "the events table"):
        table = pd.read_csv(file, sep="\t")
    missing = {"onset", "duration"} - set(table.columns)
    if missing:
        raise FileError(
            "the events table lacks columns",
            path=file, found=", ".join(map(str, table.columns)), expected="onset, duration and trial_type",
        )  # fmt: skip
    with reading(file, "the events table", where="columns onset and duration"):
        onset = table["onset"].to_numpy(dtype="float64")
        duration = table["duration"].to_numpy(dtype="float64")
    late = np.flatnonzero(onset >= duration_s)
    if late.size:
        raise SchemaError(
            "events start after the recording has ended",
            code="NT-DATA-007", path=file, where=f"row {late[0] + 1}",
            found=f"{late.size} of {onset.size}, the first at {onset[late[0]]:g} s",
            expected=f"onsets below {duration_s:g} s",
            fix="these events belong to another recording, or the volumes were cut; correct the table",
        )  # fmt: skip
    kinds = table["trial_type"].fillna("").to_numpy(dtype=str) if "trial_type" in table else "event"
    rest = table.drop(columns=["onset", "duration", "trial_type"], errors="ignore")
    with reading(file, "the events table"):
        return events_table(onset, duration, kinds, **{str(name): _plain(rest[name]) for name in rest})


def _plain(column: pd.Series) -> np.ndarray:
    """Numbers as they are, anything else as text, empty where it says n/a."""
    return column.to_numpy() if column.dtype.kind in "biuf" else column.fillna("").to_numpy(dtype=str)


# ---- confounds --------------------------------------------------------------------------------------
def confounds_file(path: Path) -> Path | None:
    """The table of confounds that fMRIPrep wrote for the run of an image, under either of its two names."""
    own = {key: value for key, value in entities(path).items() if key not in OF_THE_IMAGE}
    return _only(
        [
            file
            for file in sorted(path.parent.glob("*desc-confounds_*.tsv"))
            if own and CONFOUNDS_NAME.search(file.name) and _without_desc(file) == own
        ],
        "confounds",
    )


def _without_desc(file: Path) -> dict[str, str]:
    return {key: value for key, value in entities(file).items() if key != "desc"}


def motion_file(path: Path) -> Path | None:
    """The motion estimates beside an OpenfMRI image."""
    file = path.parent / "bold_moest.txt"
    return file if stem(path).startswith("bold") and file.is_file() else None


def _only(files: list[Path], what: str) -> Path | None:
    if len(files) > 1:
        raise FileError(
            f"several tables of {what} belong to one image",
            code="NT-FILE-008", path=files[0].parent, found=", ".join(file.name for file in files),
            fix="keep the one that is meant",
        )  # fmt: skip
    return files[0] if files else None
