"""Formats of single makers that MNE reads and whose units or lengths it leaves unchecked."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from neurotools.errors import FileError, need
from neurotools.loaders.eeg import checks, mef_checks
from neurotools.loaders.eeg.mne_channels import Overrides
from neurotools.loaders.eeg.opening import VOLTS, Opened, plain
from neurotools.loaders.reading import xml_checks
from neurotools.loaders.reading.sniff import head

NIHON_HEADER_BYTES = 0x1800 + 0x27  # before the first sample, at least
MEF_UNITS = ("description", "conversion_factor")
MEF_VOLTS = re.compile(r"([munk\u00b5\u03bc]|micro|milli|nano|kilo)?v(olts?)?", re.IGNORECASE)
MICRO = {**VOLTS, "muV": 1e-6, "": 1e-6}  # BCI2000 writes muV, and means it where it writes nothing


# ---- BCI2000 ----------------------------------------------------------------------------------------
def open_bci2000(path: Path, unit: str | None = None, **_: Any) -> Opened:
    """Open BCI2000; MNE returns the raw integers, here gain and offset of the header make them V."""
    header = _bci2000_header(path)
    opened = plain(path, "read_raw_bci2k", "BCI2000", preload=True)
    raw = opened.data
    signals = [i for i, name in enumerate(raw.ch_names) if name != "STI 014"]
    gains, offsets = _listed(header, "SourceChGain"), _listed(header, "SourceChOffset")
    if len(gains) != len(signals):
        if unit not in VOLTS:
            raise FileError(
                "the BCI2000 header does not state a gain for each channel", code="NT-FILE-006", path=path,
                found=f"{len(gains)} gains for {len(signals)} channels",
                fix='nt.load(path, units="uV") when the stored numbers are microvolts',
            )  # fmt: skip
        gains, offsets = [f"1{unit}"] * len(signals), []
    factor, zero = [_in_volts(g, path) for g in gains], [float(o) for o in offsets] or [0.0] * len(signals)
    if len(zero) != len(signals):
        raise FileError(
            "the BCI2000 header states gains and offsets for different numbers of channels", path=path,
            found=f"{len(gains)} gains, {len(zero)} offsets",
        )  # fmt: skip
    raw._data[signals] = (raw._data[signals] - np.array(zero)[:, None]) * np.array(factor)[:, None]
    names = _listed(header, "ChannelNames")
    if len(names) == len(signals) == len(set(names)):
        raw.rename_channels({raw.ch_names[i]: name for i, name in zip(signals, names, strict=True)})
    return opened


def _bci2000_header(path: Path) -> str:
    start = head(path, 4096).decode("latin-1")
    found = re.search(r"HeaderLen=\s*(\d{1,7})", start)
    return head(path, int(found[1]) if found else 0).decode("latin-1")


def _listed(header: str, name: str) -> list[str]:
    """Values of a list parameter: ``SourceChGain= 2 0.003 0.003 ...``."""
    found = re.search(rf"\b{name}=\s*(\d+)\s+([^\r\n]*)", header)
    if found is None:
        return []
    words = found[2].split("//")[0].split()[: int(found[1])]
    return [] if "auto" in words or len(words) < int(found[1]) else words


def _in_volts(gain: str, path: Path) -> float:
    found = re.fullmatch(r"([-+.\deE]+?)([a-zA-Z\u00b5\u03bc]*)", gain)
    try:
        if found and found[2] in MICRO:
            return float(found[1]) * MICRO[found[2]]
    except ValueError:
        pass
    raise FileError("a gain in the BCI2000 header is no number of volts", path=path, found=repr(gain))


# ---- Nihon Kohden, eXimia, Nicolet, Persyst ---------------------------------------------------------
def open_nihon(path: Path, **_: Any) -> Opened:
    """Open Nihon Kohden; its DC inputs are volts too, though no electrodes."""
    opened = plain(path, "read_raw_nihon", "Nihon Kohden")
    n, size = len(opened.data.ch_names) + 1, path.stat().st_size - NIHON_HEADER_BYTES
    if size < 2 * n * int(opened.data.n_times):
        raise _short(path, "Nihon Kohden", size // (2 * n), int(opened.data.n_times))
    kinds = zip(opened.data.ch_names, opened.data.get_channel_types(), strict=True)
    opened.overrides = Overrides({}, {name: "V" for name, kind in kinds if kind in ("misc", "bio")})
    return opened


def open_eximia(path: Path, allow_truncated: bool = False, **_: Any) -> Opened:
    """Open eXimia; MNE returns its EEG and EOG in microvolts and calls them volts."""
    _whole_frames(path, 64 * 2, allow_truncated)
    opened = plain(path, "read_raw_eximia", "eXimia")
    opened.scale = {
        name: 1e-6
        for name, kind in zip(opened.data.ch_names, opened.data.get_channel_types(), strict=True)
        if kind in ("eeg", "eog")
    }
    return opened


def open_nicolet(path: Path, **_: Any) -> Opened:
    """Open Nicolet ``.data`` with its ``.head``, held against the number of samples that states."""
    opened = plain(path, "read_raw_nicolet", "Nicolet", ch_type="eeg")
    n, size = len(opened.data.ch_names), path.stat().st_size
    expected = int(opened.data.n_times)
    if size < 2 * n * expected:
        raise _short(path, "Nicolet", size // (2 * n), expected)
    return opened


def open_persyst(path: Path, allow_truncated: bool = False, **_: Any) -> Opened:
    """Open Persyst by its ``.lay``, whose data file must lie beside it and hold whole samples."""
    fields = checks.brainvision_header(path)
    data = checks.beside(path, re.split(r"[\\/]", fields.get("file", ""))[-1] or "?", "File")
    n = fields.get("waveformcount", "")
    if n.isdigit() and int(n) > 0:
        _whole_frames(data, int(n) * (4 if fields.get("datatype") == "7" else 2), allow_truncated)
    return plain(path, "read_raw_persyst", "Persyst")


# ---- folders with a header in XML -------------------------------------------------------------------
def open_mff(path: Path, **_: Any) -> Opened:
    """Open an EGI MFF folder once none of its XML files can expand or show other files.

    The other format with XML, NEDF, is told by a first element on its first byte, before which there is no
    place for a document type.
    """
    xml_checks.check_folder(path)
    with contextlib.redirect_stdout(io.StringIO()):  # its library prints what it does not find
        return plain(path, "read_raw_egi", "EGI MFF")


def open_mef(path: Path, unit: str | None = None, **_: Any) -> Opened:
    """Open a MEF 3 session; MNE takes a unit that it does not know for volts, and a factor below 0 for 1."""
    need("pymef", extra="eeg", to="read MEF files")
    mef_checks.check_mef(path)
    # Without the full path its library complains on the screen.
    opened = plain(path.absolute(), "read_raw_mef", "MEF")
    unknown = []
    for name, channel in opened.data._raw_extras[0]["session"].session_md["time_series_channels"].items():
        word, factor = (np.ravel(channel["section_2"][f"units_{key}"])[0] for key in MEF_UNITS)
        text = word.decode("latin-1") if isinstance(word, bytes) else str(word)
        scale = float(factor) if factor < 0 else 1.0
        if MEF_VOLTS.fullmatch(text.strip(" \0").replace(" ", "")) is None:
            unknown.append(f"{name} in {text!r}")
            scale *= VOLTS.get(unit or "", 1.0)
        opened.scale.update({name: scale} if scale != 1.0 else {})
    if unknown and unit not in VOLTS:
        raise FileError(
            "the MEF session does not state the unit of its channels", code="NT-FILE-006", path=path,
            found=", ".join(unknown[:8]), fix='nt.load(path, units="uV")',
        )  # fmt: skip
    return opened


def _short(path: Path, what: str, found: int, expected: int) -> FileError:
    return FileError(
        f"the {what} file is shorter than its header promises", code="NT-FILE-003", path=path,
        found=f"at most {found} samples", expected=f"{expected} samples", fix="copy or download it again",
    )  # fmt: skip


def _whole_frames(path: Path, n_bytes: int, allow_truncated: bool) -> None:
    size = path.stat().st_size
    if size % n_bytes and not allow_truncated:
        raise FileError(
            "the data file ends inside a sample", code="NT-FILE-003", path=path, where=f"byte {size}",
            found=f"{size} bytes", expected=f"a multiple of {n_bytes} bytes",
            fix="copy it again, or leave out the part of a sample: nt.load(path, allow_truncated=True)",
        )  # fmt: skip
