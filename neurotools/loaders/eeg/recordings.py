"""EEG, MEG, ECoG and sEEG in the formats that MNE reads.

The reader is MNE's; what stands here tells formats by content, puts names, units and one clock on what is
read, and refuses what MNE lets through: short files, events that lie outside, kinds nobody stated.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurotools.errors import FileError, SettingsError, need
from neurotools.loaders.answers import Answers
from neurotools.loaders.eeg import opening, vendors
from neurotools.loaders.eeg.checks import egi_start
from neurotools.loaders.eeg.electrodes import Electrodes, read_electrodes
from neurotools.loaders.eeg.mne_bridge import epochs_tree, evoked_tree, raw_arrays, tree_attrs
from neurotools.loaders.eeg.mne_channels import BRAIN, UNSTATED, channel_groups, places
from neurotools.loaders.eeg.mne_events import events_of, main_stim, table_of_events
from neurotools.loaders.eeg.mne_samples import mne_reading
from neurotools.loaders.eeg.opening import Opened, through
from neurotools.loaders.reading.sniff import head, is_hdf5, is_text, starts, unzipped_head
from neurotools.schema import plain_attrs, recording_tree

# Words in a file's name that state what was recorded, where its header cannot.
NAMED_KINDS = ("ecog", "seeg")


def load_eeg(path: Path, answers: Answers) -> xr.DataTree:
    """Read one file, or one folder that is a file (``.ds``, ``.mff``), of any format that MNE reads.

    Parameters
    ----------
    path : pathlib.Path
    answers : Answers
        ``kind`` says what channels are whose header does not (EDF calls ECoG EEG), ``labels`` renames the
        channels of that kind, ``units`` is the unit of EDF signals whose header leaves it blank,
        ``allow_truncated`` accepts a file that is cut short and leaves out events past its end.

    Returns
    -------
    xarray.DataTree
        ``eeg/signal (channel, time)`` in V (also ``meg seeg ecog``; MEG in T), one node for each further kind
        of channel, ``events``, and ``electrodes`` where a table ``NAME_electrodes.tsv`` lies beside.
    """
    opened = open_file(path, answers)
    sidecar = opened.path.with_name(opened.path.stem + "_electrodes.tsv")
    electrodes = read_electrodes(sidecar) if sidecar.is_file() else None
    return tree_of(opened, answers, electrodes=electrodes)


def open_file(path: Path, answers: Answers) -> Opened:
    """Open the file by the reader of its format, and hold it against what the caller said."""
    name = next((name for name, predicate in FORMATS.items() if predicate(path)), None)
    if name is None:
        raise FileError("the file is of no EEG or MEG format", code="NT-FILE-002", path=path)
    opened = OPENERS[name](path, allow_truncated=answers.allow_truncated, unit=answers.units)
    info = opened.data[0].info if opened.what == "evoked" else opened.data.info
    if answers.sfreq is not None and abs(answers.sfreq / float(info["sfreq"]) - 1) > 1e-3:
        raise SettingsError(
            "the sampling rate that was given is not that of the file", code="NT-SET-003", path=path,
            found=f"{answers.sfreq:g} Hz", expected=f"{info['sfreq']:g} Hz", fix="leave sfreq out",
        )  # fmt: skip
    return opened


# ---- one recording ----------------------------------------------------------------------------------
def tree_of(
    opened: Opened, answers: Answers, *, kind: str | None = None, electrodes: Electrodes | None = None,
    events: pd.DataFrame | None = None, extra: dict[str, Any] | None = None,
) -> xr.DataTree:  # fmt: skip
    """Make the recording of an opened file; ``events`` replace its own, ``extra`` holds further nodes."""
    # A header with flipped bytes can give channels of no known type, which MNE notices only now.
    with mne_reading(opened.path, "the recording"):
        if opened.what == "epochs":
            tree = epochs_tree(opened.data, kind=answers.kind, path=opened.path, **opened.attrs)
        elif opened.what == "evoked":
            tree = evoked_tree(opened.data, kind=answers.kind, path=opened.path, **opened.attrs)
        else:
            nodes = _nodes(opened, answers, answers.kind or kind or _named_kind(opened), events)
            attrs = tree_attrs(opened.data.info, _signals(nodes))
            if electrodes is not None:
                nodes["electrodes"] = electrodes.table()
                opened.notes += _place(nodes, electrodes)
            tree = recording_tree({**nodes, **(extra or {})}, **attrs, **opened.attrs)
    if answers.labels is not None:
        tree = _relabel(tree, answers, opened.path)
    if opened.notes:
        tree.attrs["reader_notes"] = "; ".join(opened.notes)
    tree.attrs.update(plain_attrs(answers.attrs))
    return tree


def _nodes(opened: Opened, answers: Answers, kind: str | None, events: pd.DataFrame | None) -> dict[str, Any]:
    nodes: dict[str, Any] = dict(_arrays(opened, kind))
    rows = _own_events(opened) if events is None else events
    table = table_of_events(rows, _duration(opened), opened.path, answers.allow_truncated)
    if table.attrs.get("n_outside"):
        opened.notes.append(f"{table.attrs['n_outside']} events past the end were left out")
    return {**nodes, "events": table}


def _signals(nodes: dict[str, Any]) -> dict[str, xr.DataArray]:
    return {path: array for path, array in nodes.items() if isinstance(array, xr.DataArray)}


def _arrays(opened: Opened, kind: str | None) -> dict[str, xr.DataArray]:
    arrays = raw_arrays(
        opened.data, kind=kind, overrides=opened.overrides, path=opened.path, time=opened.time
    )  # fmt: skip
    for other in opened.others:
        apart = raw_arrays(other, overrides=opened.overrides, path=opened.path)
        rate = f"{float(other.info['sfreq']):g}hz".replace(".", "p")
        for place, array in apart.items():
            node = place.split("/")[0]
            arrays[f"{node}_{rate}/signal" if place in arrays else place] = array
    if opened.scale:
        arrays = {place: _scaled(array, opened.scale) for place, array in arrays.items()}
    return arrays


def _scaled(array: xr.DataArray, scale: dict[str, float]) -> xr.DataArray:
    factor = np.array([scale.get(str(name), 1.0) for name in array["channel"].to_numpy()])
    if (factor == 1.0).all():
        return array
    return array.copy(data=array.to_numpy() * factor[:, None])


def _named_kind(opened: Opened) -> str | None:
    """What the file's name says was recorded, where the header calls every channel EEG for want of more."""
    groups = channel_groups(opened.data.info, None, opened.overrides)
    if set(groups) & set(BRAIN) != set(UNSTATED):
        return None
    words = re.split(r"[^a-z]+", opened.path.stem.lower())
    said = [kind for kind in NAMED_KINDS if kind in words]
    if len(said) != 1:
        return None
    opened.notes.append(f"taken for {said[0]} by the name of the file; the header does not say")
    opened.attrs["kind_told_by"] = "file name"
    return said[0]


def _duration(opened: Opened) -> float:
    rate = float(opened.data.info["sfreq"])
    if opened.time is not None:
        return float(opened.time[-1]) + 1 / rate
    return int(opened.data.n_times) / rate


def _own_events(opened: Opened) -> pd.DataFrame:
    """Annotations as the file has them (MNE trims those past the end), and codes of stimulus channels."""
    raw = opened.data
    stim = (
        []
        if len(raw.annotations) and opened.path.suffix in {".raw", ".mff", ".edf", ".bdf"}
        else main_stim(raw)
    )
    annotations = _untrimmed(opened) if opened.clipped else None
    rows = events_of(raw, stim=stim, annotations=annotations)
    late = rows["onset"] + rows["duration"].fillna(0) > _duration(opened) + 1e-6
    if late.any():
        opened.notes.append(
            f"{int(late.sum())} events last beyond the end of the recording; kept as the file has them"
        )
    return rows


def _untrimmed(opened: Opened) -> Any:
    mne = need("mne", extra="eeg")
    source = opened.path.with_suffix(".vmrk") if opened.path.suffix == ".vhdr" else opened.path
    with mne_reading(source, "the annotations"), opening.listening([]):
        return mne.read_annotations(source, sfreq=float(opened.data.info["sfreq"]))


def _place(nodes: dict[str, Any], electrodes: Electrodes) -> list[str]:
    """Put positions on the channels that bear an electrode's name, and say which have none."""
    placed: set[str] = set()
    for path, array in nodes.items():
        if path.split("/")[0] in BRAIN:
            names = [str(name) for name in array["channel"].to_numpy()]
            xyz = electrodes.of(names)
            if np.isfinite(xyz).any():
                nodes[path] = array.assign_coords(places(xyz))
                placed |= set(names) & set(electrodes.names)
    spare = [name for name in electrodes.names if name not in placed]
    if not placed:
        return [f"no channel bears a name of {electrodes.path.name} ({len(spare)} electrodes kept apart)"]
    return [f"electrodes without a channel: {', '.join(spare)}"] if spare else []


def _relabel(tree: xr.DataTree, answers: Answers, path: Path) -> xr.DataTree:
    main = next((n for n in ([answers.kind] if answers.kind else BRAIN) if n in tree.children), None)
    if isinstance(answers.labels, (str, Path)) or main is None:
        raise SettingsError(
            "labels of channels are given as a list of names", code="NT-SET-002", path=path,
            found=str(answers.labels),
        )  # fmt: skip
    labels, node = np.array([str(name) for name in answers.labels]), tree[main].to_dataset()
    if labels.size != node.sizes["channel"]:
        raise SettingsError(
            "labels and channels differ in number", code="NT-DATA-005", path=path,
            found=f"{labels.size} labels", expected=f"{node.sizes['channel']} channels of {main}",
        )  # fmt: skip
    tree[main] = xr.DataTree(node.assign_coords(channel=labels))
    return tree


# ---- formats by content -----------------------------------------------------------------------------
FIF_START = bytes.fromhex("000000640000001f00000014")  # a file-id tag: kind 100, type 31, 20 bytes
NIHON = (b"EEG-1100", b"EEG-1200", b"EEG-2100", b"QI-403A", b"DAE-2100D")
BRAINVISION = re.compile(
    rb"^\s*(\xef\xbb\xbf)?\s*(Brain ?Vision|V-Amp)[^\r\n]{0,40}(Header|Marker) File", re.IGNORECASE
)


def _is_fif(path: Path) -> bool:
    return head(path, 12) == FIF_START or unzipped_head(path, 12) == FIF_START


def _is_brainvision(path: Path) -> bool:
    if path.suffix.lower() in {".eeg", ".dat", ".avg", ".seg"} and path.with_suffix(".vhdr").is_file():
        return not head(path, 16).startswith(NIHON)
    return BRAINVISION.match(head(path, 128)) is not None


def _is_eeglab(path: Path) -> bool:
    if path.suffix == ".fdt":
        return _is_eeglab(path.with_suffix(".set"))
    return path.suffix == ".set" and (head(path, 10) == b"MATLAB 5.0" or is_hdf5(path))


def _holds(path: Path, suffix: str, *magic: bytes) -> bool:
    if not path.is_dir():
        return False
    return any(head(file, 32).startswith(magic) for file in sorted(path.glob(f"*{suffix}"))[:4])


def _is_neuralynx(path: Path) -> bool:
    if path.is_dir():
        return _holds(path, ".ncs", b"######## Neuralynx")
    return path.suffix.lower() == ".ncs" and head(path, 18) == b"######## Neuralynx"


def _is_persyst(path: Path) -> bool:
    start = head(path, 256)
    return is_text(start) and start.lstrip().lower().startswith(b"[fileinfo]")


def _is_curry(path: Path) -> bool:
    sidecars = (".dpa", ".dpo", ".dap", ".rs3")
    stems = (str(path), str(path.with_suffix("")))
    return path.suffix.lower() in {".cdt", ".dap", ".rs3"} and any(
        Path(stem + suffix).is_file() for stem in stems for suffix in sidecars
    )


def _is_bci2000(path: Path) -> bool:
    return bool(re.match(rb"(BCI2000V=\s*[\d.]+\s+)?HeaderLen=\s*\d+", head(path, 64)))


def _is_kit(path: Path) -> bool:
    # No signature: the suffix, and bytes that are not text.
    return path.suffix.lower() in {".sqd", ".con"} and not is_text(head(path, 64))


def _is_eximia(path: Path) -> bool:
    return path.suffix.lower() == ".nxe" and not is_text(head(path, 64))


def _is_nicolet(path: Path) -> bool:
    return path.suffix.lower() == ".data" and b"start_ts" in head(path.with_suffix(".head"), 512)


def _is_artemis(path: Path) -> bool:
    return (
        path.suffix.lower() == ".bin" and path.with_suffix(".hdr").is_file() and not is_text(head(path, 64))
    )


FORMATS: dict[str, Callable[[Path], bool]] = {
    "edf": starts(b"0       "),
    "bdf": starts(b"\xffBIOSEMI"),
    "gdf": starts(b"GDF "),
    "fif": _is_fif,
    "brainvision": _is_brainvision,
    "eeglab": _is_eeglab,
    "egi": lambda path: egi_start(head(path, 32)) is not None,
    "egi-mff": lambda path: (
        path.is_dir() and (path / "info.xml").is_file() and (path / "signal1.bin").is_file()
    ),
    "cnt": starts(b"Version 3."),
    "ant": lambda path: head(path, 4) in {b"RIFF", b"RF64"} and head(path, 12)[8:] == b"CNT ",
    "nihon-kohden": starts(*NIHON),
    "persyst": _is_persyst,
    "neuralynx": _is_neuralynx,
    "ctf": lambda path: _holds(path, ".res4", b"MEG4"),
    "kit": _is_kit,
    "curry": _is_curry,
    "bci2000": _is_bci2000,
    "nedf": starts(b"<nedf"),
    "nicolet": _is_nicolet,
    "eximia": _is_eximia,
    "artemis": _is_artemis,
    "mef": lambda path: path.is_dir() and path.suffix == ".mefd",
}
OPENERS: dict[str, Callable[..., Opened]] = {
    "edf": opening.open_edf,
    "bdf": opening.open_edf,
    "gdf": through("read_raw_gdf", "GDF"),
    "fif": opening.open_fif,
    "brainvision": opening.open_brainvision,
    "eeglab": opening.open_eeglab,
    "egi": opening.open_egi,
    "egi-mff": vendors.open_mff,
    "cnt": through("read_raw_cnt", "CNT"),
    "ant": through("read_raw_ant", "ANT"),
    "nihon-kohden": vendors.open_nihon,
    "persyst": vendors.open_persyst,
    "neuralynx": opening.open_neuralynx,
    "ctf": through("read_raw_ctf", "CTF"),
    "kit": through("read_raw_kit", "KIT"),
    "curry": through("read_raw_curry", "Curry"),
    "bci2000": vendors.open_bci2000,
    "nedf": through("read_raw_nedf", "NEDF"),
    "nicolet": vendors.open_nicolet,
    "eximia": vendors.open_eximia,
    "artemis": through("read_raw_artemis123", "Artemis123"),
    "mef": vendors.open_mef,
}
