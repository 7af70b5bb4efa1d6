"""Open a file of any format that MNE reads, with the checks that belong to its format.

One function per format that needs more than a call of MNE; the rest share ``plain``. Each returns
``Opened``: the MNE object, and what else has to be known to make a recording of it.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurotools.errors import FileError, MissingExtraError, SettingsError, need
from neurotools.loaders.described import mat5
from neurotools.loaders.eeg import checks, edf_header
from neurotools.loaders.eeg.mne_channels import Overrides
from neurotools.loaders.eeg.mne_samples import mne_reading
from neurotools.loaders.reading.limits import check_size
from neurotools.loaders.reading.sniff import is_hdf5
from neurotools.loaders.reading.units import canonical

# Warnings of MNE that this module deals with in its own way, or that say nothing about the data.
HANDLED = ("annotation(s)", "naming conventions", "Inferring from the file size", "expanding outside")
BIGGEST_RATIO = 64  # samples per byte of a file; no format packs more
MAX_RATE_HZ = 1e7


@dataclass
class Opened:
    """An MNE object and what the header says beside it."""

    path: Path
    data: Any  # Raw, Epochs or a list of Evoked
    what: str = "raw"
    overrides: Overrides = field(default_factory=Overrides.none)
    others: list[Any] = field(default_factory=list)  # Raw objects of signals with other rates
    scale: dict[str, float] = field(default_factory=dict)
    time: np.ndarray | None = None  # where the samples do not follow each other at one rate
    notes: list[str] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=dict)
    clipped: bool = False  # MNE cut or left out annotations


@contextlib.contextmanager
def listening(opened_notes: list[str]) -> Iterator[list[bool]]:
    """Collect what a reader warns of; the list that is yielded says at the end if annotations were cut."""
    mne_utils = need("mne.utils", extra="eeg")
    clipped = [False]
    # MNE says everything twice: as a warning, and on the screen, where it is kept from.
    with warnings.catch_warnings(record=True) as said, mne_utils.catch_logging():
        warnings.simplefilter("always")
        yield clipped
    for entry in said:
        text = " ".join(str(entry.message).split())
        clipped[0] |= "annotation(s)" in text or "expanding outside" in text
        if not any(part in text for part in HANDLED) and text not in opened_notes:
            opened_notes.append(text)


def plain(path: Path, reader: str, what: str, **options: Any) -> Opened:
    """Open a file by one reader of MNE, without its samples, and collect what MNE warns of."""
    mne = need("mne", extra="eeg", to=f"read {what} files")
    if not hasattr(mne.io, reader):
        raise MissingExtraError(
            f"MNE {mne.__version__} does not read {what} files yet",
            path=path,
            fix="pip install --upgrade mne",
        )
    notes: list[str] = []
    with mne_reading(path, f"the {what} file"), listening(notes) as clipped:
        raw = getattr(mne.io, reader)(path, **{"preload": False, "verbose": "WARNING", **options})
    check_raw(path, raw)
    return Opened(path, raw, notes=notes, clipped=clipped[0])


def check_raw(path: Path, raw: Any) -> None:
    """Refuse what no recording can be, and a claim of more samples than the files could hold."""
    n, rate = int(raw.n_times), float(raw.info["sfreq"])
    if n <= 0 or len(raw.ch_names) == 0:
        raise FileError(
            "the file holds no samples", code="NT-DATA-010", path=path,
            found=f"{len(raw.ch_names)} channels of {n} samples",
        )  # fmt: skip
    if not 0 < rate <= MAX_RATE_HZ:
        raise FileError("the header gives no possible sampling rate", path=path, found=f"{rate:g} Hz")
    check_size(8 * n, path, "the time axis")
    if raw.preload:
        return
    files = [Path(name) for name in raw.filenames if name is not None]
    on_disk = sum(_bytes(file) for file in files)
    if on_disk and n * len(raw.ch_names) > BIGGEST_RATIO * on_disk:
        raise FileError(
            "the header claims more samples than the file can hold", code="NT-FILE-003", path=path,
            found=f"{on_disk} bytes", expected=f"{n} samples of {len(raw.ch_names)} channels",
        )  # fmt: skip


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


# ---- EDF and BDF ------------------------------------------------------------------------------------
# How MNE scales a physical dimension to V; every other spelling it takes for V as it stands.
MNE_SCALES = {"uV": 1e-6, "\u00b5V": 1e-6, "\u03bcV": 1e-6, "\x83\xcaV": 1e-6, "mV": 1e-3}
VOLTS = {
    **MNE_SCALES, "V": 1.0, "v": 1.0, "Volt": 1.0, "mv": 1e-3, "uv": 1e-6, "UV": 1e-6, "\u00b5v": 1e-6,
    "microV": 1e-6, "nV": 1e-9, "nv": 1e-9,
}  # fmt: skip
# First word of a label in the EDF+ standard -> type.
LABEL_TYPES = {"EOG": "eog", "ECG": "ecg", "EMG": "emg", "ECOG": "ecog", "SEEG": "seeg", "DBS": "dbs"}


def open_edf(path: Path, allow_truncated: bool = False, unit: str | None = None) -> Opened:
    """Open EDF, EDF+ or BDF; signals of other rates stay apart and are never resampled.

    ``unit`` is the physical dimension of signals whose header leaves it blank.
    """
    header = edf_header.read_header(path)
    attrs, notes = edf_header.check_records(header, allow_truncated)
    by_rate: dict[int, list[int]] = {}
    for i in header.signals:
        by_rate.setdefault(header.samples[i], []).append(i)
    main, *rest = sorted(by_rate.values(), key=lambda signals: (-len(signals), -header.samples[signals[0]]))
    opened = _edf_signals(path, header, main, alone=not rest)
    opened.attrs.update(attrs)
    opened.notes[:0] = notes
    _edf_units(opened, opened.data, header, main, unit)
    for signals in rest:
        other = _edf_signals(path, header, signals, alone=False)
        _edf_units(opened, other.data, header, signals, unit)
        opened.others.append(other.data)
    if header.discontinuous:
        opened.time = _edf_time(header, opened.data)
        if opened.time is not None and rest:
            raise FileError(
                "records with gaps and signals of several rates in one EDF+D file are not read together",
                code="NT-FILE-002", path=path,
            )  # fmt: skip
    return opened


def _edf_signals(path: Path, header: edf_header.EdfHeader, signals: list[int], alone: bool) -> Opened:
    reader = "read_raw_bdf" if header.sample_bytes == 3 else "read_raw_edf"
    if alone:
        return plain(path, reader, "EDF")
    names = [header.label[i] for i in signals]
    elsewhere = [header.label[i] for i in header.signals if i not in signals]
    shared = sorted(set(names) & set(elsewhere))
    if shared:
        raise FileError(
            "signals of one name differ in their rate", code="NT-DATA-006", path=path, found=", ".join(shared)
        )
    return plain(path, reader, "EDF", include=names)


def _edf_units(
    opened: Opened, raw: Any, header: edf_header.EdfHeader, signals: list[int], unit: str | None
) -> None:
    """Take type and unit of each signal from its header, where MNE would call everything EEG in V."""
    mne = need("mne", extra="eeg")
    types, units = dict(opened.overrides.types), dict(opened.overrides.units)
    blank = []
    for k, i in enumerate(signals):
        name, text = raw.ch_names[k], header.unit[i] or unit or ""
        if mne.channel_type(raw.info, k) == "stim":
            continue
        if text in VOLTS:
            stated = LABEL_TYPES.get(header.label[i].split(" ")[0].upper())
            types.update({name: stated} if stated else {})
            factor = VOLTS[text] / MNE_SCALES.get(header.unit[i], 1.0)
            opened.scale.update({name: factor} if factor != 1.0 else {})
        else:
            types[name], units[name] = "misc", _unit_word(text)
            blank += [] if text else [name]
    opened.overrides = Overrides(types, units)
    if len(blank) == len(signals) and len(header.signals) == len(signals):
        raise FileError(
            "the EDF header does not state the unit of any signal", code="NT-FILE-006", path=opened.path,
            found=f"a blank physical dimension for {', '.join(blank[:8])}",
            fix='nt.load(path, units="uV")',
        )  # fmt: skip
    if blank:
        opened.notes.append(f"no unit in the header, so kept as misc: {', '.join(blank)}")


def _unit_word(text: str) -> str:
    """The canonical word for a unit that needs no scaling ("%" is percent); any other as the file has it."""
    try:
        word, power = canonical(text or "arbitrary")
    except SettingsError:
        return text
    return text if power else word


def _edf_time(header: edf_header.EdfHeader, raw: Any) -> np.ndarray | None:
    """True time of each sample of an EDF+D file, or None where its records follow each other after all."""
    rate = float(raw.info["sfreq"])
    per_record = raw.n_times // header.records_found
    starts = edf_header.record_onsets(header)
    if np.allclose(starts, np.arange(starts.size) * header.record_s, rtol=0, atol=0.5 / rate):
        return None
    return (starts[:, None] + np.arange(per_record) / rate).ravel()


# ---- other formats ----------------------------------------------------------------------------------
def open_brainvision(path: Path, **_: Any) -> Opened:
    """Open BrainVision by its header, or by the marker or data file of the same name."""
    header = path
    if path.suffix.lower() not in {".vhdr", ".ahdr"}:
        header = checks.beside(path, path.stem + ".vhdr", "the header file")
    checks.check_brainvision(header)
    opened = plain(header, "read_raw_brainvision", "BrainVision")
    # MNE scales microsiemens to siemens; what it does not know it leaves as it stands.
    stated = {"uS": "S", "µS": "S", "C": "degC", "°C": "degC"}
    units = {name: stated.get(unit, unit) for name, unit in _brainvision_units(header).items()
             if unit not in VOLTS}  # fmt: skip
    opened.overrides = Overrides({}, {name: unit or "arbitrary" for name, unit in units.items()})
    return opened


def _brainvision_units(header: Path) -> dict[str, str]:
    entries = checks.brainvision_header(header)
    text = header.read_bytes().decode("utf-8", "replace")
    encoding = "utf-8" if "codepage=utf-8" in text.lower() or "\ufffd" not in text else "latin-1"
    units = {}
    for key, value in entries.items():
        if key.startswith("ch") and key[2:].isdigit():
            parts = value.encode("latin-1").decode(encoding, "replace").split(",")
            units[parts[0].replace(r"\1", ",")] = parts[3].strip() if len(parts) > 3 and parts[3] else "uV"
    return units


def open_eeglab(path: Path, **_: Any) -> Opened:
    """Open EEGLAB ``.set`` with or without ``.fdt``, continuous or cut into epochs."""
    mne = need("mne", extra="eeg", to="read EEGLAB files")
    header = path if path.suffix == ".set" else checks.beside(path, path.stem + ".set", "the header file")
    if not is_hdf5(header):
        # What MNE calls to read it can bring down the process on flipped bytes; this walk refuses them.
        with mne_reading(header, "the EEGLAB file"):
            for variable in mat5.variables(header):
                mat5.read_variable(header, variable)
    notes: list[str] = []
    with mne_reading(header, "the EEGLAB file"), listening(notes) as clipped:
        try:
            data, what = mne.io.read_raw_eeglab(header, preload=False, verbose="WARNING"), "raw"
        except TypeError as error:  # how MNE says that the file holds several trials
            if "trials" not in str(error):
                raise
            data, what = mne.io.read_epochs_eeglab(header, verbose="WARNING"), "epochs"
    if what == "raw":
        checks.check_eeglab(header, data)
        check_raw(header, data)
    return Opened(header, data, what, notes=notes, clipped=clipped[0])


def open_fif(path: Path, **_: Any) -> Opened:
    """Open FIF: a recording, epochs, or averages, whichever the file holds."""
    mne = need("mne", extra="eeg", to="read FIF files")
    content = checks.fif_content(path)
    if "raw" in content:
        return plain(path, "read_raw_fif", "FIF")
    notes: list[str] = []
    with mne_reading(path, "the FIF file"), listening(notes):
        if "epochs" in content:
            return Opened(path, mne.read_epochs(path, verbose="WARNING"), "epochs", notes=notes)
        if "evoked" in content:
            return Opened(path, mne.read_evokeds(path, verbose="WARNING"), "evoked", notes=notes)
    raise FileError(
        "the FIF file holds neither a recording, nor epochs, nor averages", code="NT-FILE-002", path=path,
        fix="a forward model, a covariance or a source space is no recording",
    )  # fmt: skip


def open_egi(path: Path, **_: Any) -> Opened:
    """Open EGI simple binary."""
    checks.check_egi(path)
    return plain(path, "read_raw_egi", "EGI")


def open_neuralynx(path: Path, **_: Any) -> Opened:
    """Open the continuous channels (``.ncs``) of a Neuralynx folder, or a single one."""
    if path.is_dir():
        return plain(path, "read_raw_neuralynx", "Neuralynx")
    others = [file.name for file in path.parent.iterdir() if file.name != path.name]
    opened = plain(path.parent, "read_raw_neuralynx", "Neuralynx", exclude_fname_patterns=others)
    opened.path = path
    return opened


def through(reader: str, what: str) -> Callable[..., Opened]:
    """An opener that has nothing to add to one reader of MNE."""

    def opener(path: Path, **_: Any) -> Opened:
        return plain(path, reader, what)

    return opener
