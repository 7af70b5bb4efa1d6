"""EEG in text tables: a column of time stamps, columns named after electrodes, a column of markers.

Such tables come from consumer headsets. They state neither unit nor rate; what a device documents is taken
from there, and the rest is asked for.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurotools.errors import FileError
from neurotools.loaders.answers import Answers
from neurotools.loaders.described.tables import (
    Lines,
    all_numbers,
    columns_of,
    read_lines,
    split,
    tell_delimiter,
)
from neurotools.loaders.eeg.mne_events import table_of_events
from neurotools.loaders.reading.sniff import head, is_text
from neurotools.loaders.reading.units import canonical, scaled
from neurotools.schema import check_time, continuous, recording_tree, time_axis

STAMPS = re.compile(r"(lsl[ _]?)?time([ _]?stamps?)?([ _]?\(?(?P<unit>s|sec|ms|us)\)?)?", re.IGNORECASE)
MARKERS = re.compile(
    r"(marker|stim|stimulus|trigger|trig|event|status|sti|annotation)s?[ _]?(ch(annel)?)?[ _]?\d*",
    re.IGNORECASE,
)
# Positions of the 10-5 system; tables with names like C1, C2 alone could be cells, so one that could not is
# needed too.
ELECTRODE = re.compile(r"(fp|af|f|ft|fc|t|tp|c|cp|p|po|o|i|n)(z|\d{1,2}h?)", re.IGNORECASE)
CERTAIN = re.compile(r"((fp|af|ft|fc|tp|cp|po)(z|\d{1,2})|[fcpo]z)", re.IGNORECASE)
# Muse headbands write microvolts at 256 Hz: the electrodes that only they have together.
MUSE = frozenset({"TP9", "AF7", "AF8", "TP10"})
RATES_HZ = (20.0, 100_000.0)  # outside, stamps are not seconds or rows are not samples of EEG
NOMINAL = 5e-4  # a clock this near to a whole number of Hz is that many Hz
BLANK = ("", "n/a", "N/A", "nan", "NaN")
JITTER_S = 0.05  # stamps are put on when packets arrive: this far from an even clock is no gap


@dataclass
class Clock:
    """Times of the rows in seconds from the first, and what had to be said about the stamps."""

    time: np.ndarray
    sfreq: float | None
    notes: list[str] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=dict)


def load_eeg_table(path: Path, answers: Answers) -> xr.DataTree:
    """Read a table with time stamps, EEG channels and markers.

    Parameters
    ----------
    path : pathlib.Path
        Text with one line of names. The column of stamps and those of markers are found by name
        ("timestamps", "Marker", "Marker0", "stim" ...); columns named after electrodes are EEG, other numbers
        ``misc``.
    answers : Answers
        ``units`` of the channels (known for Muse: uV); ``sfreq`` where the stamps do not tell the rate.

    Returns
    -------
    xarray.DataTree
        ``eeg/signal (channel, time)`` in V with the stamps in the coordinate ``timestamp``, ``misc/signal``,
        and ``events`` with one event where a marker column rises to a new code.
    """
    lines = read_lines(path)
    names = lines.columns or []
    stamps = next(name for name in names if STAMPS.fullmatch(name))
    markers = [name for name in names if MARKERS.fullmatch(name)]
    columns = _columns(lines, markers, path)
    eeg = [name for name in names if ELECTRODE.fullmatch(name)]
    rest = [name for name in names if name not in {stamps, *markers, *eeg}]
    clock = read_clock(columns[stamps], stamps, path, answers)
    muse = set(eeg) >= MUSE
    unit = answers.units or ("uV" if muse else answers.need("units", path, names))
    beside = [name for name in rest if columns[name].dtype.kind == "f"]
    # The auxiliary electrode of a Muse is an EEG input; of other columns nothing is known.
    other = unit if muse and all("AUX" in name.upper() for name in beside) else "arbitrary"
    nodes: dict[str, Any] = {}
    for node, members, units in ((answers.kind or "eeg", eeg, unit), ("misc", beside, other)):
        if members:
            array = _signal({name: columns[name] for name in members}, units, clock, node)
            nodes[f"{node}/signal"] = array.assign_coords(timestamp=("time", columns[stamps]))
    words = [name for name in rest if columns[name].dtype.kind != "f"]
    notes = [*clock.notes, *([f"columns of words left out: {', '.join(words)}"] if words else [])]
    rows = pd.concat([_marked(columns[name], name, clock.time) for name in markers] or [_no_marks()])
    length = float(clock.time[-1]) + (1 / clock.sfreq if clock.sfreq else 0.0)
    nodes["events"] = table_of_events(rows.sort_values("onset", kind="stable"), length, path, drop=False)
    said = {"reader_notes": "; ".join(notes)} if notes else {}
    attrs = {"marker_columns": ", ".join(markers), **clock.attrs, **said, **answers.attrs}
    return recording_tree(nodes, **attrs)


def _columns(lines: Lines, markers: list[str], path: Path) -> dict[str, np.ndarray]:
    """Every column by name, as numbers; markers as text where words may stand between blanks."""
    names = lines.columns or []
    if (quick := all_numbers(lines)) is not None:
        return dict(zip(names, np.ascontiguousarray(quick.T), strict=True))
    cells = [lines.cells(row) for row in lines.rows]
    if {len(row) for row in cells} != {len(names)}:
        columns_of(lines, path)  # says which row differs
    table = dict(zip(names, map(np.array, zip(*cells, strict=True)), strict=True))
    others = [name for name in names if name not in markers]
    try:
        numbers = {name: table[name].astype("float64") for name in others}
    except ValueError:  # a missing cell, or words: the slow way knows the difference
        rows = ["\t".join(row) for row in zip(*(table[name] for name in others), strict=True)]
        slow = dataclasses.replace(lines, rows=rows, columns=others, delimiter="\t")
        numbers = dict(zip(others, columns_of(slow, path), strict=True))
    return {**numbers, **{name: table[name] for name in markers}}


def _signal(columns: dict[str, np.ndarray], unit: str, clock: Clock, kind: str) -> xr.DataArray:
    target, power = canonical(unit)
    names, values = list(columns), np.stack(list(columns.values()))
    time: dict[str, Any] = {"sfreq": clock.sfreq} if clock.sfreq else {"time": clock.time}
    return continuous(
        scaled(values, power), dim="channel", labels=names, units=target, **time,
        coords={"ch_type": [kind] * len(names), "bad": np.zeros(len(names), dtype=bool)},
        attrs={"reference": "as recorded", "units_in_file": unit},
    )  # fmt: skip


# ---- the clock --------------------------------------------------------------------------------------
def read_clock(stamps: np.ndarray, name: str, path: Path, answers: Answers) -> Clock:
    """Turn stamps into times from the first row.

    Stamps that follow an even clock but for rounding and the arrival of packets (at most 50 ms) give that
    clock; stamps with gaps are kept as they are, and the recording is then irregular.

    Raises
    ------
    FileError
        The stamps are missing, imply no rate that EEG has, or contradict ``sfreq``.
    SchemaError
        They step back by more than packets explain.
    """
    if stamps.dtype.kind != "f" or not np.isfinite(stamps).all():
        raise FileError(
            "the column of time stamps has cells that are no times", code="NT-DATA-004", path=path,
            where=f"column {name!r}",
        )  # fmt: skip
    if stamps.size < 2:
        raise FileError("the table has a single row", code="NT-DATA-010", path=path)
    seconds, unit = _in_seconds(stamps, name, answers)
    n = np.arange(seconds.size)
    slope, start = np.polyfit(n, seconds, 1)
    rate = 1 / slope if slope > 0 else 0.0
    if not RATES_HZ[0] <= rate <= RATES_HZ[1]:
        raise FileError(
            "the time stamps do not give a rate that EEG has", code="NT-FILE-006", path=path,
            where=f"column {name!r}", found=f"{rate:.4g} Hz if they are seconds", expected="20 Hz to 100 kHz",
            fix="nt.load(path, sfreq=...) when the stamps are in ms or us",
        )  # fmt: skip
    nominal = answers.sfreq or (float(round(rate)) if abs(rate / round(rate) - 1) < NOMINAL else rate)
    if abs(rate / nominal - 1) > 0.01:
        raise FileError(
            "the time stamps contradict the sampling rate that was given", code="NT-FILE-008", path=path,
            found=f"{rate:.6g} Hz by the stamps", expected=f"{nominal:g} Hz",
        )  # fmt: skip
    attrs = {"first_timestamp": float(stamps[0]), "timestamp_unit": unit}
    steps = np.diff(seconds)
    even = bool((np.abs(steps * rate - 1) < 0.5).all())
    if not even and np.abs(seconds - (start + slope * n)).max() >= JITTER_S:
        check_time(seconds, f"the column {name!r} of the table")
        gaps = int((steps * rate > 1.5).sum())
        note = f"the stamps have {gaps} gaps; nt.resample puts the recording on an even clock"
        return Clock(seconds, None, [note], attrs)
    return _even_clock(seconds, rate, nominal, attrs)


def _even_clock(seconds: np.ndarray, rate: float, nominal: float, attrs: dict[str, Any]) -> Clock:
    regular = time_axis(seconds.size, nominal)
    away = float(np.abs(seconds - regular).max())
    back = int((np.diff(seconds) <= 0).sum())
    note = f"the stamps give {rate:.6g} Hz; put on {nominal:g} Hz, at most {away:.3g} s from the stamps"
    note += f", which step back {back} times as packets arrive" if back else ""
    return Clock(
        regular, nominal, [note] if away > 1 / nominal or back else [], {**attrs, "clock_deviation_s": away}
    )


def _in_seconds(stamps: np.ndarray, name: str, answers: Answers) -> tuple[np.ndarray, str]:
    """Stamps from the first, in s; the unit is in the column's name, or told by the rate that was given."""
    found = STAMPS.fullmatch(name)
    unit = (found["unit"] or "").lower() if found else ""
    since = stamps - stamps[0]
    if not unit and answers.sfreq is not None and since[-1] > 0:
        rate = (stamps.size - 1) / since[-1]
        unit = next(
            (u for u, k in (("ms", 1e3), ("us", 1e6)) if abs(rate * k / answers.sfreq - 1) < 0.01), ""
        )
    return since / {"ms": 1e3, "us": 1e6}.get(unit, 1.0), unit or "s"


# ---- markers ----------------------------------------------------------------------------------------
def _marked(codes: np.ndarray, name: str, time: np.ndarray) -> pd.DataFrame:
    """Events where the column rises to a new code; zero, blank and n/a stand for no marker."""
    try:
        numeric = codes.dtype.kind == "f"
        values = codes if numeric else np.where(np.isin(codes, BLANK), "0", codes).astype("float64")
        labels, absent = np.array([f"{code:.10g}" for code in values]), ~(np.nan_to_num(values) != 0)
    except ValueError:
        labels, absent = codes, np.isin(codes, [*BLANK, "0"])
    begins = np.flatnonzero(~absent & np.concatenate([[True], labels[1:] != labels[:-1]]))
    return pd.DataFrame(
        {"onset": time[begins], "duration": 0.0, "trial_type": labels[begins], "source": name}
    )


def _no_marks() -> pd.DataFrame:
    return pd.DataFrame({"onset": np.empty(0), "duration": np.empty(0), "trial_type": [], "source": []})


def is_eeg_table(path: Path) -> bool:
    """Whether this is a table with stamps in one column and at least two named after electrodes."""
    start = head(path, 8192)
    if not is_text(start):
        return False
    rows = start.decode("utf-8-sig", "ignore").splitlines()[:20]
    if len(rows) < 2:
        return False
    names = split(rows[0], tell_delimiter(rows[:-1]))
    electrodes = [name for name in names if ELECTRODE.fullmatch(name)]
    certain = any(CERTAIN.fullmatch(name) for name in electrodes)
    return certain and len(electrodes) >= 2 and any(STAMPS.fullmatch(name) for name in names)


FORMATS = {"eeg-table": is_eeg_table}
