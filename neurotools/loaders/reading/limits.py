"""Compare what a file claims to hold with what memory allows, before any memory is taken."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import psutil

from neurotools.errors import FileError, SettingsError

DEFAULT_FRACTION = 0.5  # of the memory that is free now
GZIP_BLOCK = 1 << 20

_limit: ContextVar[int | None] = ContextVar("neurotools_memory_limit", default=None)


def memory_limit() -> int:
    """Bytes that one array of a file may take: the limit set by ``limited_to``, or half of free memory."""
    stated = _limit.get()
    return stated if stated is not None else int(DEFAULT_FRACTION * psutil.virtual_memory().available)


@contextlib.contextmanager
def limited_to(n_bytes: int) -> Iterator[None]:
    """Within this block, refuse arrays of more than ``n_bytes``.

    >>> with limited_to(2**30):
    ...     recording = nt.load("large.h5", kind="calcium", dims=("unit", "time"), sfreq=30)
    """
    if not isinstance(n_bytes, int) or n_bytes <= 0:
        raise SettingsError("a memory limit is a positive whole number of bytes", found=n_bytes)
    token = _limit.set(n_bytes)
    try:
        yield
    finally:
        _limit.reset(token)


def check_size(n_bytes: int, path: Path, what: str) -> None:
    """Raise NT-FILE-005 when ``what`` claims more bytes than may be read into memory."""
    limit = memory_limit()
    if n_bytes > limit:
        raise FileError(
            f"{what} claims more data than may be read into memory",
            code="NT-FILE-005",
            path=path,
            found=f"{readable(n_bytes)} claimed by a file of {readable(_on_disk(path))}",
            expected=f"at most {readable(limit)}",
            fix="read a part of it, free memory, or raise the limit: "
            "with neurotools.loaders.reading.limits.limited_to(n_bytes): nt.load(...)",
        )


def array_bytes(shape: tuple[int, ...], itemsize: int) -> int:
    """Bytes of an array, in whole numbers that cannot overflow."""
    return math.prod(int(n) for n in shape) * int(itemsize)


def check_hdf5(dataset: Any, path: Path) -> None:
    """Check the declared size of an ``h5py.Dataset``, compressed or not, against the limit."""
    if dataset.shape is not None:
        check_size(array_bytes(dataset.shape, dataset.dtype.itemsize), path, f"dataset {dataset.name!r}")


def check_zip_member(member: Any, path: Path) -> None:
    """Check the declared size of a ``zipfile.ZipInfo`` against the limit."""
    check_size(member.file_size, path, f"member {member.filename!r}")


def gunzip(path: Path, most: int | None = None) -> bytes:
    """Unpack a gzip file, giving up as soon as it grows beyond ``most`` bytes (the limit when omitted).

    The size that a gzip file states is taken modulo 4 GiB and can lie, so it is counted instead.
    """
    import gzip
    import zlib

    most = memory_limit() if most is None else most
    blocks, total = [], 0
    try:
        with gzip.open(path, "rb") as stream:
            while block := stream.read(GZIP_BLOCK):
                total += len(block)
                if total > most:
                    raise FileError(
                        "the gzip file unpacks to more data than may be read into memory",
                        code="NT-FILE-005", path=path,
                        found=f"more than {readable(total - len(block))} out of {readable(_on_disk(path))}",
                        expected=f"at most {readable(most)}",
                        fix="unpack it on disk first",
                    )  # fmt: skip
                blocks.append(block)
    except EOFError as error:
        raise FileError(
            "the gzip file was cut short",
            code="NT-FILE-003", path=path,
            found=f"{readable(_on_disk(path))} on disk, {total} bytes unpacked before its end marker",
            fix="copy or download it again",
        ) from error  # fmt: skip
    except (OSError, zlib.error) as error:
        raise FileError(f"the gzip file is damaged: {error}", path=path) from error
    return b"".join(blocks)


def readable(n_bytes: float) -> str:
    """Bytes as people write them: ``"1.2 GiB"``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} TiB" if n_bytes < 1024 else f"{n_bytes / 1024:.3g} PiB"


def _on_disk(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
