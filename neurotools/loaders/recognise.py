"""Tell formats apart by what is in them."""

from __future__ import annotations

from pathlib import Path

from neurotools.errors import FileError
from neurotools.loaders.answers import Answers


def recognise(path: Path, answers: Answers) -> str:
    """Return the name in ``registry.LOADERS`` of the format that ``path`` holds."""
    raise FileError("the content is of no format that neurotools reads", code="NT-FILE-002", path=path)
