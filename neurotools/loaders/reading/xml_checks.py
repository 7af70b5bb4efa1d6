"""Refuse XML that declares a document type, before a library reads it.

A document type can define entities: a few lines that expand to gigabytes, or that show any file of this
computer. No format of recordings needs one. It can only stand before the first element, so the check ends
there, and a fault further on is left to the reader of the format.
"""

from __future__ import annotations

from pathlib import Path
from xml.parsers import expat

from neurotools.errors import FileError
from neurotools.loaders.reading.guard import reading

PROLOG_BYTES = 1 << 20  # no header of a recording has a longer beginning


class _AtFirstElement(Exception):  # noqa: N818 - no error, but how a parser is stopped
    """The prolog is over, and no document type was declared."""


def check_folder(path: Path) -> None:
    """Check every XML file at the top of a folder."""
    for file in sorted(path.iterdir()):
        if file.suffix.lower() == ".xml" and file.is_file():
            with file.open("rb") as stream:
                check_xml(stream.read(PROLOG_BYTES), file)


def check_xml(content: bytes, path: Path) -> None:
    """Raise unless a root element follows without a document type before it.

    Raises
    ------
    FileError
        NT-FILE-007 for a document type, NT-FILE-004 for what is no XML up to its first element.
    """
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = lambda name, *_: _refuse(path, f"<!DOCTYPE {name}")
    parser.StartElementHandler = _stop
    with reading(path, "the XML"):
        try:
            parser.Parse(content, False)
        except _AtFirstElement:
            return
    raise FileError(
        "the XML has no first element", code="NT-FILE-003", path=path, found=f"{len(content)} bytes",
        fix="copy or download it again",
    )  # fmt: skip


def _stop(name: str, attributes: object) -> None:
    raise _AtFirstElement


def _refuse(path: Path, found: str) -> None:
    raise FileError(
        "the XML declares a document type, whose entities could expand without end or show other files",
        code="NT-FILE-007", path=path, found=found, fix="take the declaration out; no recording needs it",
    )  # fmt: skip
