"""Checksums that lie beside a recording, held against its files before they are read.

Bytes that were zeroed or flipped in the middle of a signal look like any other samples; only a checksum
that somebody wrote down earlier tells them apart. It may stand in a list (``SHA256SUMS``, a BagIt manifest),
in a file named after the data (``run.fif.sha256``), or in the name that git-annex and DataLad give to a file.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from neurotools.errors import FileError
from neurotools.loaders.reading.guard import reading
from neurotools.loaders.reading.limits import readable

# How lists of checksums are called, with each algorithm in place of {}.
NAMES = ("{0}SUMS", "{0}SUMS.txt", "{1}sums.txt", "{1}sum.txt", "checksums.{1}", "manifest-{1}.txt")
ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}  # hexadecimal digits -> algorithm
LISTS = [name.format(a.upper(), a) for a in ALGORITHMS.values() for name in NAMES]
LISTS.append("checksums.txt")
LINE = re.compile(r"\\?(?P<sum>[0-9a-fA-F]{32,128})\s+\*?(?P<name>.+)")
BSD_LINE = re.compile(r"(MD5|SHA1|SHA256|SHA512) ?\((?P<name>.+)\) = (?P<sum>[0-9a-fA-F]{32,128})")
ANNEX = re.compile(r"(MD5|SHA1|SHA256|SHA512)E?-s\d+--(?P<sum>[0-9a-f]{32,128})(\.[^/]*)?")
LEVELS_UP = 4  # a list may stand as far up as the root of a data set
LIST_BYTES = 1 << 26
HASHED_BYTES = 1 << 31  # larger files would take minutes, and are said not to have been compared


@dataclass(frozen=True)
class Stated:
    """What somebody wrote down for one file: algorithm, checksum, and where it stands."""

    algorithm: str
    checksum: str
    where: str


Lists = Callable[[Path], list[tuple[Path, dict[str, Stated]]]]


def compare(path: Path) -> str | None:
    """Hold every file of a recording that has a checksum against it, and say what was compared.

    Parameters
    ----------
    path : pathlib.Path
        A file, with which those of the same stem are compared (``.vhdr`` and ``.eeg``; for a BIDS name, what
        belongs to the same run); or a folder that is one recording. A data set of several is passed over:
        each recording of it is compared when it is read.

    Returns
    -------
    str or None
        One sentence for the attributes of the recording; None where nothing states a checksum.

    Raises
    ------
    FileError
        NT-FILE-009 where a file is not the one that its checksum describes.
    """
    path = path.absolute()
    lists = functools.cache(_lists)  # of each folder once, however many files it holds
    stated = {file: found for file in _belonging(path, lists) if (found := _stated(file, lists)) is not None}
    large = [file for file in stated if file.stat().st_size > HASHED_BYTES]
    for file, entry in stated.items():
        if file not in large:
            _hold(file, entry)
    if not stated:
        return None
    places = ", ".join(sorted({entry.where for entry in stated.values()}))
    n = len(stated) - len(large)
    words = [f"{n} file{'s' * (n != 1)} as stated by {places}"] if n else []
    words += [f"{file.name} not compared, being larger than {readable(HASHED_BYTES)}" for file in large]
    return "; ".join(words)


def _belonging(path: Path, lists: Lists) -> list[Path]:
    """Files of one recording that may have a checksum; of a folder, no more than is listed or lies on top."""
    if not path.is_dir():
        name = path.name.removesuffix(".gz")
        stem = name.rpartition("_")[0] + "_" if name.startswith("sub-") else f"{Path(name).stem}."
        near = {path, *(file for file in _inside(path.parent) if file.name.startswith(stem))}
    elif any(path.glob("sub-*")):
        return []  # a data set: its recordings come one by one
    else:
        listed = (folder / name for folder, found in lists(path) for name in found)
        near = {*_inside(path), *(file for file in listed if file.is_relative_to(path))}
    return sorted(file for file in near if file.is_file())


def _inside(folder: Path) -> list[Path]:
    """What lies in a folder; nothing where it may not be listed, though its files may be read."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _stated(file: Path, lists: Lists) -> Stated | None:
    """The checksum that somebody wrote down for a file, the nearest first; None where there is none."""
    key = ANNEX.fullmatch(os.path.basename(os.readlink(file))) if file.is_symlink() else None
    if key is not None and len(key["sum"]) in ALGORITHMS:
        return Stated(ALGORITHMS[len(key["sum"])], key["sum"], "git-annex")
    for algorithm in ALGORITHMS.values():
        beside = file.with_name(f"{file.name}.{algorithm}")
        if beside.is_file():
            for checksum, name in _entries(beside):
                if name in ("", file.name):
                    return Stated(algorithm, checksum, beside.name)
    for folder, found in lists(file.parent):
        name = Path(os.path.relpath(file, folder)).as_posix()
        if name in found:
            return found[name]
    return None


def _lists(folder: Path) -> list[tuple[Path, dict[str, Stated]]]:
    """What the lists of a folder and of those above it state, up to the root of a data set."""
    found = []
    for place in [folder, *list(folder.absolute().parents)[: LEVELS_UP - 1]]:
        for listed in (place / name for name in LISTS):
            if listed.is_file():
                found.append((place, _listed(listed)))
        if (place / "dataset_description.json").is_file():
            break
    return found


def _listed(file: Path) -> dict[str, Stated]:
    facts = file.stat()
    return _read_list(file, facts.st_size, facts.st_mtime_ns)


@functools.lru_cache(maxsize=32)
def _read_list(file: Path, size: int, changed: int) -> dict[str, Stated]:
    return {
        name.removeprefix("./"): Stated(ALGORITHMS[len(checksum)], checksum, file.name)
        for checksum, name in _entries(file)
        if ".." not in Path(name).parts  # a list speaks for the files below it
    }


def _entries(file: Path) -> Iterator[tuple[str, str]]:
    """Checksum and name on each line that has both; a lone checksum has no name."""
    if file.stat().st_size > LIST_BYTES:
        raise FileError(
            "the list of checksums is larger than any list", path=file, found=readable(file.stat().st_size)
        )
    with reading(file, "the list of checksums"):
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    for line in map(str.strip, lines):
        match = BSD_LINE.fullmatch(line) or LINE.fullmatch(line)
        checksum, name = (match["sum"], match["name"]) if match else (line, "")
        if len(checksum) in ALGORITHMS and re.fullmatch(r"[0-9a-fA-F]+", checksum):
            yield checksum.lower(), name


def _hold(file: Path, stated: Stated) -> None:
    facts = file.stat()
    with reading(file, "the file"):
        found = _digest(file.resolve(), facts.st_size, facts.st_mtime_ns, stated.algorithm)
    if found != stated.checksum:
        raise FileError(
            "the file is not the one that its checksum describes", code="NT-FILE-009", path=file,
            where=stated.where, found=f"{stated.algorithm} {found}",
            expected=f"{stated.algorithm} {stated.checksum}",
            fix="copy or download it again; where it was changed on purpose, write its checksum anew",
        )  # fmt: skip


@functools.lru_cache(maxsize=4096)
def _digest(file: Path, size: int, changed: int, algorithm: str) -> str:
    """The checksum of a file, worked out once for one size and time of change."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
