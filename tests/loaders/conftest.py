"""What every loader's tests share: whatever loads must save, and come back identical."""

from __future__ import annotations

import contextlib
import resource
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import NeurotoolsError

MEMORY_CAP = 1 << 30  # bytes that one reading of a damaged file may take beyond what is in use
TIME_CAP_S = 20.0


@pytest.fixture
def comes_back(tmp_path):
    """Function that saves a recording to netCDF and to Zarr and loads both again, identical."""

    def check(recording: xr.DataTree) -> None:
        assert not [f for f in nt.validate(recording) if f.level == "error"]
        for suffix in (".nc", ".zarr"):
            again = nt.load(nt.save(recording, tmp_path / f"recording{suffix}"))
            xr.testing.assert_identical(again, recording)
            assert nt.content_hash(again) == nt.content_hash(recording)

    return check


@contextlib.contextmanager
def capped_memory() -> Iterator[None]:
    """Within this block the process may take ``MEMORY_CAP`` more bytes of address space."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_CAP, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut the content, overwrite a stretch, or flip bytes, mostly near the beginning where headers lie."""
    data = bytearray(content)
    kind = rng.integers(4)
    at = int(rng.integers(len(data))) if rng.random() < 0.4 else int(rng.integers(min(len(data), 700)))
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        stretch = rng.bytes(int(rng.integers(1, 9)))
        data[at : at + len(stretch)] = stretch
    elif kind == 2:
        data[at : at + 4] = bytes([255] * 4)
    else:
        for place in rng.integers(0, len(data), 5):
            data[place] ^= 1 << int(rng.integers(8))
    return bytes(data)


@pytest.fixture
def damaged() -> Callable[..., int]:
    """Function that loads ``n`` damaged variants of a file; each must read or end in a named error.

    Returns how many were read. The file is left as it was.
    """

    def check(content: bytes, path: Path, *, n: int, seed: int, load: Path | None = None) -> int:
        rng = np.random.default_rng(seed)
        n_read = 0
        for case in range(n):
            path.write_bytes(damage(content, rng))
            begun = time.perf_counter()
            try:
                with capped_memory(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    recording = nt.load(load or path)
                assert not [f for f in nt.validate(recording) if f.level == "error"]
                n_read += 1
            except NeurotoolsError as error:
                if type(error.__cause__).__name__ in {"TypeCheckError", "NameError", "UnboundLocalError"}:
                    raise AssertionError("a fault of ours passed for one of the file") from error
            except BaseException as error:
                raise AssertionError(f"variant {case} of {path.name} (seed {seed}): {error!r}") from error
            assert time.perf_counter() - begun < TIME_CAP_S, f"variant {case} of {path.name} took too long"
        path.write_bytes(content)
        return n_read

    return check
