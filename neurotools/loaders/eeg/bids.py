"""EEG, MEG and iEEG in BIDS: one file with its sidecars, or a tree that holds one recording.

Sidecars are held against the binary: other channels, another rate or events past the end are errors;
smaller disagreements (a duration, a count) are notes that come with the recording. Pernet et al. (2019),
Scientific Data 6, 103 (EEG-BIDS); Holdgraf et al. (2019), Scientific Data 6, 102 (iEEG-BIDS).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurotools.errors import FileError, did_you_mean
from neurotools.loaders.answers import Answers
from neurotools.loaders.eeg import recordings
from neurotools.loaders.eeg.bids_sidecars import (
    MISSING,
    NAME,
    SUFFIXES,
    Sidecars,
    base_unit,
    check_entities,
    facts_above,
    numbers,
    read_sidecars,
)
from neurotools.loaders.eeg.edf_header import ANNOTATIONS
from neurotools.loaders.eeg.mne_channels import Overrides
from neurotools.loaders.eeg.mne_events import events_of, table_of_events
from neurotools.loaders.eeg.opening import Opened
from neurotools.loaders.fmri.beside import named_by
from neurotools.loaders.reading import checksums
from neurotools.schema import plain_attrs

ENDINGS = (".edf", ".bdf", ".vhdr", ".set", ".fif", ".ds", ".sqd", ".con", ".mefd", ".fif.gz")
LISTED = 12
# Type in channels.tsv -> MNE's; the types of MEG sensors are in the data file itself.
TYPES = {
    "EEG": "eeg", "ECOG": "ecog", "SEEG": "seeg", "DBS": "dbs", "EOG": "eog", "VEOG": "eog", "HEOG": "eog",
    "ECG": "ecg", "EMG": "emg", "TRIG": "stim", "MISC": "misc", "GSR": "gsr", "TEMP": "temperature",
    "RESP": "resp", "REF": "eeg", "AUDIO": "misc", "PD": "misc", "EYEGAZE": "eyegaze", "PUPIL": "pupil",
    "PPG": "misc", "SYSCLOCK": "syst", "OTHER": "misc", "ADC": "misc", "DAC": "misc",
}  # fmt: skip
VOLTAGE = ("eeg", "ecog", "seeg", "dbs", "eog", "ecg", "emg")
OWN_COLUMNS = ("name", "type", "units", "status", "sampling_frequency")


def load_bids(path: Path, answers: Answers) -> xr.DataTree:
    """Read one EEG, MEG or iEEG recording of a BIDS data set with its sidecars.

    Parameters
    ----------
    path : pathlib.Path
        The data file, or a folder (data set, subject, session) that holds one recording.
    answers : Answers
        ``array`` is a part of the file name that only one recording has (``"ses-2_task-rest"``);
        ``allow_truncated`` leaves out events that lie past the end.

    Returns
    -------
    xarray.DataTree
        As from a single file; types, bad channels, line frequency, reference and positions (in m) come from
        the sidecars, ``events`` from ``events.tsv`` (the file's own markers then stand in ``markers``), and
        what else the sidecars say in ``attrs["sidecar"]`` as JSON.

    Raises
    ------
    FileError
        Several recordings and none chosen (NT-FILE-006), or a sidecar that contradicts the data file
        (NT-FILE-008).
    SchemaError
        Events past the end of the recording (NT-DATA-007).
    """
    file = _one(path, answers.array)
    check_entities(file)
    if not file.exists():
        raise FileError(
            "the data file is a link to content that is not here", code="NT-FILE-001", path=file,
            fix="fetch it: datalad get, or git annex get",
        )  # fmt: skip
    compared = None if answers.allow_truncated or file == path else checksums.compare(file)
    opened = recordings.open_file(file, answers)
    if compared is not None:
        opened.attrs["checksum"] = compared
    beside = read_sidecars(file)
    opened.notes += beside.notes
    if opened.what == "raw":
        _agree(opened, beside)
        _describe(opened, beside)
    tree = recordings.tree_of(
        opened, answers, electrodes=beside.electrodes, events=_events(opened, beside),
        extra=_markers(opened, beside, answers),
    )  # fmt: skip
    return _finish(tree, file, beside)


# ---- which recording --------------------------------------------------------------------------------
def _recordings(path: Path) -> list[Path]:
    """Data files below a folder, in the places where BIDS puts them; later parts of split files left out."""
    places = [f"{above}{suffix}" for above in ("", "ses-*/", "sub-*/", "sub-*/ses-*/") for suffix in SUFFIXES]
    found = {file for place in ["", *places] for file in path.glob(f"{place}/sub-*".lstrip("/"))}
    return sorted(file for file in found if _is_data(file))


def _is_data(file: Path) -> bool:
    name = file.name
    if not NAME.fullmatch(name) or not name.endswith(ENDINGS):
        return False
    return "_acq-crosstalk" not in name and (
        "_split-" not in name or "_split-01" in name or "_split-1_" in name
    )


def _one(path: Path, wanted: str | None) -> Path:
    if NAME.fullmatch(path.name):
        return path
    files = _recordings(path)
    chosen = [file for file in files if wanted is None or wanted in file.name]
    if len(chosen) == 1:
        return chosen[0]
    names = [file.relative_to(path).as_posix() for file in chosen or files]
    problem = (
        "the data set has several recordings, so the one to read must be named" if chosen else
        f"no recording has {wanted!r} in its name.{did_you_mean(str(wanted), names)}"
    )  # fmt: skip
    raise FileError(
        problem, code="NT-FILE-006", path=path,
        found=f"{len(names)}: " + ", ".join(names[:LISTED]) + (" ..." if len(names) > LISTED else ""),
        fix=f"nt.load({str(path / names[0])!r}), or a part of its name: array={Path(names[0]).stem!r}",
    )  # fmt: skip


# ---- sidecars against the binary --------------------------------------------------------------------
def _agree(opened: Opened, beside: Sidecars) -> None:
    rates = {name: float(raw.info["sfreq"]) for raw in (opened.data, *opened.others) for name in raw.ch_names}
    main = float(opened.data.info["sfreq"])
    stated = beside.stated.get("SamplingFrequency")
    if isinstance(stated, (int, float)) and abs(stated / main - 1) > 1e-3:
        raise _contradiction(opened, "SamplingFrequency", f"{main:g} Hz", f"{stated:g} Hz in the sidecar")
    table = beside.channels
    if table is not None:
        _agree_channels(opened, table, rates)
    length = int(opened.data.n_times) / main
    duration = beside.stated.get("RecordingDuration")
    if isinstance(duration, (int, float)) and abs(duration - length) > max(1.5 / main, 1e-3 * length):
        opened.notes.append(f"the sidecar states {duration:g} s, the file holds {length:g} s")


def _agree_channels(opened: Opened, table: pd.DataFrame, rates: dict[str, float]) -> None:
    file = table.attrs.get("path")
    missing = {"name", "type", "units"} - set(table.columns)
    if missing:
        raise FileError("channels.tsv lacks columns", path=file, found=", ".join(table.columns),
                        expected="name, type and units")  # fmt: skip
    names = [name for name in table["name"] if name not in ANNOTATIONS]
    if len(set(names)) != len(names) or set(names) != set(rates):
        spare = ", ".join(sorted(set(names) - set(rates))[:8]) or "none"
        unlisted = ", ".join(sorted(set(rates) - set(names))[:8]) or "none"
        raise _contradiction(
            opened, "the channels", f"{len(rates)} in the file; not in channels.tsv: {unlisted}",
            f"{len(names)} in channels.tsv; not in the file: {spare}",
        )  # fmt: skip
    if "sampling_frequency" in table:
        for name, rate in zip(table["name"], numbers(table["sampling_frequency"], file), strict=True):
            if name in rates and np.isfinite(rate) and abs(rate / rates[name] - 1) > 1e-3:
                raise _contradiction(
                    opened, f"the rate of {name}", f"{rates[name]:g} Hz", f"{rate:g} Hz in channels.tsv"
                )


def _contradiction(opened: Opened, what: str, found: str, expected: str) -> FileError:
    return FileError(
        f"a sidecar and the data file disagree on {what}", code="NT-FILE-008", path=opened.path, found=found,
        expected=expected, fix="correct the sidecar, or load the data file from outside the data set",
    )  # fmt: skip


def _describe(opened: Opened, beside: Sidecars) -> None:
    """Put types, bad channels and the line frequency of the sidecars on the opened file."""
    line = beside.stated.get("PowerLineFrequency")
    if isinstance(line, (int, float)):
        opened.data.info["line_freq"] = float(line)
    table = beside.channels
    if table is None:
        return
    types, units = dict(opened.overrides.types), dict(opened.overrides.units)
    for name, kind, unit in zip(table["name"], table["type"], table["units"], strict=True):
        wanted = TYPES.get(kind.upper())
        if wanted is None:
            continue
        if wanted in VOLTAGE and units.get(name, "V") != "V":
            opened.notes.append(
                f"{name} is {kind} in channels.tsv and in {units[name]} in the file; kept as misc"
            )
        else:
            types[name] = wanted
            if wanted not in VOLTAGE and units.get(name) is None and base_unit(unit) not in (None, "V"):
                units[name] = str(base_unit(unit))
    opened.overrides = Overrides(types, units)
    if "status" in table:
        bad = {name for name, status in zip(table["name"], table["status"], strict=True) if status == "bad"}
        for raw in (opened.data, *opened.others):
            raw.info["bads"] = [name for name in raw.ch_names if name in bad]


# ---- events -----------------------------------------------------------------------------------------
def _events(opened: Opened, beside: Sidecars) -> pd.DataFrame | None:
    table = beside.events
    if table is None or opened.what != "raw":
        return None
    file = table.attrs.get("path")
    if not {"onset", "duration"} <= set(table.columns):
        raise FileError("events.tsv lacks columns", path=file, found=", ".join(table.columns),
                        expected="onset and duration")  # fmt: skip
    onset = numbers(table["onset"], file)
    if not np.isfinite(onset).all():
        raise FileError(
            "an event has no onset", path=file, where=f"row {int(np.argmin(np.isfinite(onset))) + 1}"
        )
    kind = next((table[name] for name in ("trial_type", "value") if name in table), None)
    rows = pd.DataFrame({
        "onset": onset, "duration": numbers(table["duration"], file),
        "trial_type": ["event"] * len(table) if kind is None else list(kind),
    })  # fmt: skip
    for name in table.columns.difference(["onset", "duration", "trial_type"], sort=False):
        rows[name] = _numeric_or_text(table[name])
    if "sample" in rows and rows["sample"].dtype.kind in "if":
        apart = np.abs(rows["sample"] - onset * float(opened.data.info["sfreq"]))
        if (apart > 1.5).any():
            opened.notes.append(
                f"onset and sample disagree for {int((apart > 1.5).sum())} events; onset is used"
            )
    return rows


def _numeric_or_text(column: pd.Series) -> Any:
    if column.isin(MISSING).all():
        return list(column)
    try:
        values = numbers(column, None)
    except FileError:
        return list(column)
    whole = np.isfinite(values).all() and (values == np.floor(values)).all() and np.abs(values).max() < 2**53
    return values.astype("int64") if whole else values


def _markers(opened: Opened, beside: Sidecars, answers: Answers) -> dict[str, Any]:
    """The file's own annotations, where ``events.tsv`` takes their place."""
    if beside.events is None or opened.what != "raw" or not len(opened.data.annotations):
        return {}
    length = int(opened.data.n_times) / float(opened.data.info["sfreq"])
    return {"markers": table_of_events(events_of(opened.data), length, opened.path, answers.allow_truncated)}


# ---- the rest of what the sidecars say --------------------------------------------------------------
def _finish(tree: xr.DataTree, file: Path, beside: Sidecars) -> xr.DataTree:
    reference = next(
        (beside.stated[k] for k in ("EEGReference", "iEEGReference") if k in beside.stated), None
    )
    for node in list(tree.children):
        dataset = tree[node].to_dataset()
        if "channel" not in dataset.dims:
            continue
        array = dataset[next(iter(dataset.data_vars))]
        if isinstance(reference, str) and reference not in MISSING and array.attrs.get("reference") != "none":
            array.attrs["reference"] = reference
        if beside.frame and "x" in dataset.coords:
            array.attrs["coordinate_frame"] = beside.frame
        if beside.channels is not None:
            dataset = dataset.assign_coords(_columns(beside.channels, dataset))
        tree[node] = xr.DataTree(dataset)
    tree.attrs.update(plain_attrs(named_by(file)))
    if beside.stated:
        tree.attrs["sidecar"] = json.dumps(beside.stated, sort_keys=True, ensure_ascii=False)
    tree.attrs.update(facts_above(file))
    if beside.events is not None:
        tree["events"] = xr.DataTree(_with_descriptions(tree["events"].to_dataset(), beside.event_columns))
    tree.attrs["source"] = file.name
    return tree


def _with_descriptions(events: xr.Dataset, said: dict[str, Any]) -> xr.Dataset:
    """Each column of the events with what the sidecar says that it means."""
    for name, entry in said.items():
        if name in events and isinstance(entry, dict) and "Description" in entry:
            events[name].attrs["description"] = str(entry["Description"])
    return events


def _columns(table: pd.DataFrame, dataset: xr.Dataset) -> dict[str, Any]:
    rows = table.set_index("name").loc[[str(name) for name in dataset["channel"].to_numpy()]]
    columns = {}
    for name in rows.columns:
        if name not in OWN_COLUMNS and name not in dataset.variables and not rows[name].isin(MISSING).all():
            values = _numeric_or_text(rows[name])
            columns[str(name)] = (
                "channel",
                np.asarray(values, dtype=str if isinstance(values, list) else None),
            )
    return columns


# ---- formats ----------------------------------------------------------------------------------------
def is_bids(path: Path) -> bool:
    """Whether this is an EEG, MEG or iEEG file with a BIDS name beside a sidecar, or a folder of such."""
    if _is_data(path):
        siblings = {file.name for file in path.parent.iterdir()}
        return any(name.endswith(("_channels.tsv", f"{path.name.split('.')[0]}.json")) for name in siblings)
    return path.is_dir() and bool(_recordings(path))


FORMATS = {"bids": is_bids}
