"""Turn whatever a reading library raises on damaged bytes into one named error."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path

from neurotools.errors import FileError, NeurotoolsError


@contextlib.contextmanager
def reading(path: Path, what: str, where: str | None = None) -> Iterator[None]:
    """Within this block, any error of a library becomes a ``FileError`` that keeps it as its cause.

    Readers of binary formats raise almost anything on bytes that were flipped (IndexError, KeyError,
    OverflowError, their own classes), so the class says nothing here and only the place is known.
    """
    try:
        yield
    except NeurotoolsError:
        raise
    except MemoryError as error:
        raise FileError(
            f"{what} claims more data than there is memory for", code="NT-FILE-005", path=path, where=where
        ) from error
    except (EOFError, struct.error) as error:
        raise FileError(
            f"{what} was cut short: {_words(error)}",
            code="NT-FILE-003", path=path, where=where, fix="copy or download it again",
        ) from error  # fmt: skip
    except Exception as error:  # see the docstring
        raise FileError(
            f"{what} is damaged or was cut short: {_words(error)}",
            code="NT-FILE-004", path=path, where=where, fix="copy or download it again",
        ) from error  # fmt: skip


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return (text[:200] + " ..." if len(text) > 200 else text) or type(error).__name__
