"""Events of an MNE recording: its annotations and the codes on its stimulus channels, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurotools.errors import SchemaError, need
from neurotools.schema import events_table

# BioSemi keeps trigger codes in the low 16 bits of its Status channel and states of the amplifier above.
TRIGGER_BITS = 0xFFFF
LISTED = 10


def events_of(raw: Any, *, stim: Sequence[str] = (), annotations: Any = None) -> pd.DataFrame:
    """Annotations and codes of the named stimulus channels, in order of onset.

    Columns: ``onset`` and ``duration`` in seconds from the first sample, ``trial_type``, ``source``
    ("annotation" or the channel), ``channels`` (those an annotation speaks of, comma between).
    """
    rows = _annotation_rows(raw, raw.annotations if annotations is None else annotations)
    for name in stim:
        rows += _stim_rows(raw, name)
    table = pd.DataFrame(rows, columns=["onset", "duration", "trial_type", "source", "channels"])
    return table.sort_values("onset", kind="stable", ignore_index=True)


def _annotation_rows(raw: Any, annotations: Any) -> list[tuple[Any, ...]]:
    # With an origin, MNE counts from the date of the measurement; without, from the first sample.
    shift = raw.first_time if annotations.orig_time is not None else 0.0
    return [
        (float(a["onset"]) - shift, float(a["duration"]), str(a["description"]), "annotation",
         ",".join(a.get("ch_names", ())))
        for a in annotations
    ]  # fmt: skip


def _stim_rows(raw: Any, name: str) -> list[tuple[Any, ...]]:
    mne = need("mne", extra="eeg")
    found = mne.find_events(
        raw, stim_channel=name, shortest_event=1, mask=TRIGGER_BITS, mask_type="and", verbose="ERROR"
    )
    rate = float(raw.info["sfreq"])
    return [((int(s) - raw.first_samp) / rate, 0.0, str(int(code)), name, "") for s, _, code in found]


def main_stim(raw: Any) -> list[str]:
    """The stimulus channel that carries the codes: MNE's own choice where there are several."""
    mne = need("mne", extra="eeg")
    picks = mne.pick_types(raw.info, meg=False, stim=True)
    names = [raw.ch_names[i] for i in picks]
    for whole in ("STI101", "STI 014", "STI014", "Status", "STATUS"):
        if whole in names:
            return [whole]
    return names


def table_of_events(rows: pd.DataFrame, duration_s: float, path: Path | str | None, drop: bool) -> xr.Dataset:
    """Make the ``events`` node, refusing events that begin outside the recording.

    Parameters
    ----------
    rows : pandas.DataFrame
        ``onset``, ``duration``, ``trial_type`` and further columns.
    duration_s : float
        Length of the recording.
    path : path, optional
        For the message.
    drop : bool
        Leave such events out and say how many (``attrs["n_outside"]``), in place of the error.
    """
    onset = rows["onset"].to_numpy("float64")
    # An event may fall on the edge itself; stamps of float64 seconds round by less than a microsecond.
    outside = ~((onset >= -1e-6) & (onset <= duration_s + 1e-6))
    if outside.any() and not drop:
        late = rows[outside]
        listed = ", ".join(
            f"{t!r} at {o:g} s" for t, o in zip(late["trial_type"], late["onset"], strict=True)
        ).split(", ")
        raise SchemaError(
            f"{int(outside.sum())} of {len(rows)} events lie outside the recording",
            code="NT-DATA-007", where=None if path is None else str(path),
            found=", ".join(listed[:LISTED]) + (" ..." if len(listed) > LISTED else ""),
            expected=f"onsets from 0 to {duration_s:g} s",
            fix="the recording was cut or the table belongs to another one; to go on without them: "
            "nt.load(path, allow_truncated=True)",
        )  # fmt: skip
    kept = rows[~outside]
    extra = {
        str(name): _column(kept[name]) for name in kept if name not in ("onset", "duration", "trial_type")
    }
    events = events_table(
        np.maximum(onset[~outside], 0.0), kept["duration"].to_numpy("float64"),
        kept["trial_type"].astype(str).to_numpy(), **extra,
    )  # fmt: skip
    if outside.any():
        events.attrs["n_outside"] = int(outside.sum())
    return events


def _column(values: pd.Series) -> np.ndarray:
    if values.dtype.kind in "iufb":
        return values.to_numpy()
    return values.fillna("n/a").astype(str).to_numpy(dtype=str)
