"""The recordings of a source: a file, a folder that is one recording, a folder of many, a list, a sample."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neurotools import samples
from neurotools.errors import FileError, NeurotoolsError, SettingsError, did_you_mean
from neurotools.loaders.answers import SETTINGS_FILE, Answers
from neurotools.provenance import file_hash

from .outputs import MANIFEST, WORK

# Files that lie beside recordings and are none: a dataset's own notes, tables and pictures.
BESIDE = {
    ".md", ".rst", ".txt", ".json", ".tsv", ".yaml", ".yml", ".py", ".m", ".r", ".sh", ".pdf", ".png", ".svg",
    ".jpg", ".jpeg", ".gif", ".html", ".toml", ".cfg", ".ini", ".log", ".bib", ".zip", ".gz", "",
}  # fmt: skip
# Tables are recordings only where a recording.yaml says what is in them.
TABLES = {".txt", ".tsv", ".gz"}
BIDS = "dataset_description.json"
NOT_RAW = {"derivatives", "sourcedata", "code", "stimuli"}  # folders of a BIDS tree
BIDS_DATA = ("_eeg", "_meg", "_ieeg", "_bold")
# Formats of which a folder may hold several: its files are then recordings one by one.
TREES = {"bids", "bids-fmri"}
# A file that is read through another one of its name.
COMPLETES = {".fdt": ".set", ".eeg": ".vhdr", ".vmrk": ".vhdr"}


@dataclass(frozen=True)
class Source:
    """One recording to analyse: its name in the output, and what ``nt.load`` is given.

    Or several recordings that are analysed as one, ``parts``; ``path`` is then the folder they share.
    """

    name: str
    path: str
    parts: tuple[Source, ...] = ()

    def load(self) -> Any:
        """Read the recording."""
        from neurotools.registry import load

        return load(self.path)

    def where(self) -> Path:
        """The file or folder on disk."""
        path = Path(self.path)  # absolute, unless it is the name of a sample
        return path if path.is_absolute() else samples.path(self.path)


@dataclass(frozen=True)
class Found:
    """The recordings of a source, whether it is a collection, and the files in it that are no recordings."""

    recordings: tuple[Source, ...]
    several: bool
    left_out: tuple[str, ...] = ()


def find(source: str | Path | Sequence[str | Path], *, out: Path | None = None) -> Found:
    """Find the recordings of a source.

    Parameters
    ----------
    source : path, str, or sequence of them
        A sample name; a file; a folder that is one recording (suite2p, phy, one with ``recording.yaml``);
        a folder of recordings, searched to the bottom; ``@list.txt``, with one of these per line; or a
        sequence of them.
    out : path, optional
        An output folder inside the source, which is not searched.

    Raises
    ------
    FileError
        The source does not exist or holds no recording.
    """
    if not isinstance(source, (str, Path)):
        return _several([find(entry, out=out) for entry in source], "the list")
    text = str(source)
    if text.startswith("@"):
        return _several([find(entry, out=out) for entry in _listed(Path(text[1:]).expanduser())], text)
    if text in samples.names():
        return Found((Source(text, text),), several=False)
    path = Path(text).expanduser()
    if not path.exists():
        raise FileError(
            f"there is no file, folder or sample named {text!r}.{did_you_mean(text, samples.names())}",
            code="NT-FILE-001", fix="check the path; samples are " + ", ".join(samples.names()),
        )  # fmt: skip
    path = path.resolve()
    if path.is_file() or _is_recording(path):
        return Found((Source(_safe(path.name if path.is_dir() else _stem(path)), str(path)),), several=False)
    return _folder(path, None if out is None else out.resolve())


def as_one(found: Found, name: str) -> Found:
    """All recordings of a source as a single one, of which each is a part."""
    if len(found.recordings) < 2:
        raise SettingsError(
            "several recordings are joined, and the source is a single one", code="NT-SET-003",
            found=found.recordings[0].name, fix="give a folder or a list of recordings",
        )  # fmt: skip
    shared = os.path.commonpath([entry.where().parent for entry in found.recordings])
    return replace(found, recordings=(Source(name, shared, found.recordings),), several=False)


def _several(parts: Sequence[Found], what: str) -> Found:
    paths = [entry.path for part in parts for entry in part.recordings]
    if not paths:
        raise FileError("there is no recording in it", code="NT-DATA-010", path=what)
    left_out = tuple(name for part in parts for name in part.left_out)
    return Found(_named([Path(path) for path in paths], None), several=True, left_out=left_out)


def _listed(file: Path) -> list[str | Path]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"the list cannot be read: {error}", code="NT-FILE-001", path=file) from error
    entries = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return [
        entry if entry in samples.names() else file.parent / Path(entry).expanduser() for entry in entries
    ]


# ---- a folder of recordings -----------------------------------------------------------------------------
def _folder(root: Path, out: Path | None) -> Found:
    recordings: list[Path] = []
    left_out: list[str] = []
    for folder in _folders(root, out):
        found, others = _in_one(folder)
        recordings += found
        left_out += [str(path.relative_to(root)) for path in others]
    if not recordings:
        raise FileError(
            "there is no recording in the folder", code="NT-DATA-010", path=root,
            found=", ".join(left_out[:6]) or "an empty folder",
            fix="give a file, or describe a table or array of your own in a recording.yaml beside it",
        )  # fmt: skip
    return Found(_named(recordings, root), several=True, left_out=tuple(left_out))


def _folders(root: Path, out: Path | None) -> Iterator[Path]:
    """The folder and all folders in it that are no recordings, hidden, or results."""
    if root == out or (root / MANIFEST).exists() or (root / WORK).exists():
        return
    yield root
    for child in sorted(root.iterdir()):
        skipped = child.name.startswith(".") or ((root / BIDS).exists() and child.name in NOT_RAW)
        if child.is_dir() and not skipped and not _is_recording(child):
            yield from _folders(child, out)


def _in_one(folder: Path) -> tuple[list[Path], list[Path]]:
    """Recordings in a folder, and files there that are none and belong to none."""
    entries = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    beside = BESIDE - TABLES if (folder / SETTINGS_FILE).is_file() else BESIDE
    may_be = [path for path in entries if path.is_dir() or _suffix(path) not in beside]
    if _bids_root(folder) is not None:
        may_be = [path for path in may_be if _stem(path).endswith(BIDS_DATA)]
    recordings = [path for path in may_be if _is_recording(path) and not _completes(path)]
    stems = {_stem(path) for path in recordings}
    taken = set(recordings)
    rest = [path for path in entries if path not in taken and path.is_file()]
    # A file with the suffix of data and content that no reader knows is a broken recording: it must fail
    # in the open, unless it only completes another one.
    offered = set(may_be)
    broken = {
        path for path in rest if path in offered and _suffix(path) not in BESIDE and _stem(path) not in stems
    }
    return sorted({*recordings, *broken}), [path for path in rest if path not in broken]


def _completes(path: Path) -> bool:
    main = path.with_suffix(COMPLETES.get(path.suffix, ""))
    return path.suffix in COMPLETES and main.is_file() and _format(main) in {_format(path), *TREES}


def _is_recording(path: Path) -> bool:
    """Whether a file or folder is one recording; a folder of a BIDS tree is one only without data files."""
    found = _format(path)
    if found is None or path.is_file():
        return found is not None
    several = found in TREES or (path / BIDS).exists()
    return not (several and any(_stem(file).endswith(BIDS_DATA) for file in _data_files(path)))


def _data_files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if _suffix(file) not in BESIDE)


def _bids_root(path: Path) -> Path | None:
    return next((up for up in (path, *path.parents) if (up / BIDS).is_file()), None)


def _format(path: Path) -> str | None:
    """Name of the format of a file or folder, or None when it is no recording."""
    from neurotools.loaders.recognise import recognise

    try:
        answers = Answers.gather(path)
        return recognise(answers.target(path), answers)
    except NeurotoolsError:
        return None


def _stem(path: Path) -> str:
    """Name without its suffixes: ``a.nii.gz`` and ``a.fdt`` are ``a``."""
    return re.sub(r"(\.nii)?(\.gz)?$", "", path.name) if path.name.endswith(".gz") else path.stem


def _suffix(path: Path) -> str:
    return ".nii.gz" if path.name.endswith(".nii.gz") else path.suffix


def _named(paths: Sequence[Path], root: Path | None) -> tuple[Source, ...]:
    """Give every recording a name of its own: its stem, with as much of its path as tells it apart."""
    inside = [path.relative_to(root).parts if root else path.parts[-2:] for path in paths]
    spellings = [
        [_safe(_stem(path)) for path in paths],
        [_safe("_".join([*parts[:-1], _stem(path)])) for path, parts in zip(paths, inside, strict=True)],
        [_safe("_".join(parts)) for parts in inside],
    ]
    counts = [Counter(names) for names in spellings]
    named = []
    for i, path in enumerate(paths):
        unique = [names[i] for names, count in zip(spellings, counts, strict=True) if count[names[i]] == 1]
        named.append(Source(unique[0] if unique else f"{spellings[2][i]}-{i}", str(path)))
    return tuple(named)


def _safe(name: str) -> str:
    """A name that is a folder name everywhere."""
    return re.sub(r"[^\w.+-]+", "-", name).strip(".-") or "recording"


# ---- the files of a recording -----------------------------------------------------------------------------
def files_of(source: Source) -> list[Path]:
    """The files that a recording is read from: itself, its neighbours of one stem, and what describes it.

    In a BIDS tree these are also the sidecars of its folder and of the folders above it.
    """
    if source.parts:
        return sorted({file for part in source.parts for file in files_of(part)})
    path = source.where()
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    stem = _stem(path)
    family = [file for file in path.parent.iterdir() if file.is_file() and _stem(file) == stem]
    return sorted({path, *family, *_described_by(path.parent), *_bids_sidecars(path)})


def _described_by(folder: Path) -> list[Path]:
    """The ``recording.yaml`` of a folder, and the files beside it that it names (labels, an atlas)."""
    notes = folder / SETTINGS_FILE
    if not notes.is_file():
        return []
    words = re.split(r"[\s\[\]{},:'\"]+", notes.read_text(encoding="utf-8", errors="replace"))
    return [notes, *(folder / word for word in set(words) if word and (folder / word).is_file())]


def _bids_sidecars(path: Path) -> list[Path]:
    root = _bids_root(path.parent)
    if root is None:
        return []
    folders = [up for up in path.parents if up == root or root in up.parents]
    entities = set(_stem(path).split("_"))
    return [
        file
        for folder in folders
        for file in folder.iterdir()
        if file.suffix in (".json", ".tsv")
        # A sidecar holds for a recording when all that its name says is also in the recording's name.
        and set(file.stem.split("_")[:-1]) <= entities
    ]


def fingerprint(source: Source, before: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Size, date and SHA-256 of every file of a recording.

    A file of unchanged size and date keeps the hash that ``before`` has for it, so that a second run over
    a large dataset reads nothing.
    """
    found = {}
    for name, (file, entry) in _stated(source).items():
        old = (before or {}).get(name, {})
        found[name] = {**entry, "sha256": old["sha256"] if _same(entry, old) else file_hash(file)}
    return found


def unchanged(source: Source, before: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a recording has the files that it had, of the same sizes and dates; no content is read."""
    now = _stated(source)
    return set(now) == set(before) and all(_same(entry, before[name]) for name, (_, entry) in now.items())


def _stated(source: Source) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Size and date of every file of a recording, by its name from the recording's folder."""
    if source.parts:
        each = [(part.name, _stated(part)) for part in source.parts]
        return {f"{part}/{name}": entry for part, files in each for name, entry in files.items()}
    root = source.where().parent
    found = {}
    for file in files_of(source):
        facts = file.stat()
        name = file.relative_to(root).as_posix() if root in file.parents else file.as_posix()
        found[name] = file, {"bytes": facts.st_size, "mtime_ns": facts.st_mtime_ns}
    return found


def _same(entry: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    return all(old.get(key) == value for key, value in entry.items())
