"""Output folders: whose they are, whether they are complete, and how results appear in them.

A result is built whole in the hidden work folder. Each of its files then takes its final name in one rename,
and ``manifest.json``, which names them all with their hashes, comes last. A run killed in between leaves the
finished files in the work folder, and the next run completes the move. Files that neurotools did not write
are never replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from neurotools.errors import FileError, ResultError
from neurotools.provenance import file_hash, write_text

MANIFEST = "manifest.json"
WORK = ".work"
OWNER = "owner.json"
LAST = "last.json"  # the manifest of the latest result, kept where a user does not tidy up


# ---- whose folder it is ---------------------------------------------------------------------------------
def check(out: Path, pipeline: str) -> None:
    """Raise unless ``out`` is absent, empty, or a folder of this pipeline's own results."""
    if out.exists() and not out.is_dir():
        raise ResultError(
            "the output is a folder, and there is a file of that name", code="NT-OUT-002", path=out
        )
    if not out.exists() or not any(_not_ours_yet(out)):
        return
    owner = _owner(out)
    if owner is None:
        names = sorted(entry.name for entry in out.iterdir())
        raise ResultError(
            "the output folder holds files that neurotools did not write",
            code="NT-OUT-002", path=out,
            found=", ".join(names[:6]) + (" ..." if len(names) > 6 else ""),
            fix="give a new or an empty folder",
        )  # fmt: skip
    if owner != pipeline:
        raise ResultError(
            "the output folder holds the results of another pipeline",
            code="NT-OUT-002", path=out, found=owner, expected=pipeline, fix="give another folder",
        )  # fmt: skip


def _not_ours_yet(out: Path) -> Iterator[Path]:
    """Entries of a folder, but for a work folder that a run had no time to sign."""
    for entry in out.iterdir():
        unsigned = entry.name == WORK and all(inner.name.startswith(f".{OWNER}") for inner in entry.iterdir())
        if not unsigned:
            yield entry


def _owner(out: Path) -> str | None:
    for file in (out / WORK / OWNER, out / MANIFEST):
        with contextlib.suppress(OSError, ValueError):
            content = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(content, dict) and content.get("made_by") == "neurotools":
                return str(content.get("pipeline"))
    return None


@contextlib.contextmanager
def claimed(out: Path, pipeline: str) -> Iterator[Path]:
    """Hold ``out`` for one run, swept up after a killed one, and yield its work folder."""
    check(out, pipeline)
    work = out / WORK
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"the output folder cannot be made: {error.strerror}", path=out) from error
    if _owner(out) is None:
        write_text(work / OWNER, json.dumps({"made_by": "neurotools", "pipeline": pipeline}))
    with _lock(work / "lock", out):
        for rubbish in [*work.rglob(".*.part"), *work.rglob("staging-*")]:
            shutil.rmtree(rubbish) if rubbish.is_dir() else rubbish.unlink(missing_ok=True)
        yield work


@contextlib.contextmanager
def _lock(path: Path, out: Path) -> Iterator[None]:
    """Refuse a second run in the same folder; the lock goes with the process, however that ends."""
    try:
        import fcntl
    except ImportError:  # Windows keeps no such locks
        yield
        return
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ResultError(
                "another run is working in this output folder", code="NT-OUT-002", path=out,
                fix="wait for it, or give another folder",
            ) from None  # fmt: skip
        yield


# ---- what stands there ----------------------------------------------------------------------------------
def published(folder: Path, by_size: bool = False) -> dict[str, Any] | None:
    """The manifest of a complete result, or None when there is none or a file of it is missing or changed.

    ``by_size`` believes a file of the right size, as a plan does, which reads no content.
    """
    manifest = _manifest(folder / MANIFEST)
    if manifest is None:
        return None
    for name, facts in manifest["files"].items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != facts["bytes"]:
            return None
        if not by_size and file_hash(file) != facts["sha256"]:
            return None
    return manifest


def _manifest(file: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.get("made_by") == "neurotools" else None


# ---- appearing whole ------------------------------------------------------------------------------------
@contextlib.contextmanager
def staged(work: Path, folder: Path, facts: Mapping[str, Any]) -> Iterator[Path]:
    """Yield an empty folder to fill; on success its files take their places in ``folder``.

    ``facts`` go into the manifest; a caller may still add to them while it fills the folder.
    """
    work.mkdir(parents=True, exist_ok=True)
    staging = work / f"staging-{uuid.uuid4().hex[:8]}"
    staging.mkdir()
    try:
        yield staging
        files = {
            file.relative_to(staging).as_posix(): {"bytes": file.stat().st_size, "sha256": file_hash(file)}
            for file in sorted(staging.rglob("*"))
            if file.is_file()
        }
        text = json.dumps({"made_by": "neurotools", **facts, "files": files}, indent=2)
        write_text(staging / MANIFEST, text)
        _sync(staging)
        ready = work / "ready"
        shutil.rmtree(ready, ignore_errors=True)
        os.replace(staging, ready)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    move_in(work, folder)


def move_in(work: Path, folder: Path) -> None:
    """Give the files of a finished result their final names; completes what a killed run had begun."""
    ready = work / "ready"
    manifest = _manifest(ready / MANIFEST)
    if manifest is None:
        return
    if folder.exists():
        _replace(ready, folder, manifest["files"], _names_before(work, folder))
    else:  # one rename for all
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ready / MANIFEST, work / LAST)
        os.replace(ready, folder)


def _names_before(work: Path, folder: Path) -> set[str]:
    """Files in the folder that an earlier run wrote."""
    for file in (folder / MANIFEST, work / LAST):
        manifest = _manifest(file)
        if manifest is not None:
            return set(manifest["files"])
    return set()


def _replace(ready: Path, folder: Path, names: Mapping[str, Any], before: set[str]) -> None:
    _refuse_foreign(folder, names, before, ready)
    if (folder / MANIFEST).exists():  # it goes first, since the files that it names are about to change
        os.replace(folder / MANIFEST, ready.parent / LAST)
    for name in names:
        if (ready / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(ready / name, folder / name)
    for name in before - set(names):
        (folder / name).unlink(missing_ok=True)
    shutil.copy2(ready / MANIFEST, ready.parent / LAST)
    os.replace(ready / MANIFEST, folder / MANIFEST)
    _sync_folder(folder)
    shutil.rmtree(ready, ignore_errors=True)


def _refuse_foreign(folder: Path, names: Mapping[str, Any], before: set[str], ready: Path) -> None:
    # A name that is gone from ``ready`` was moved by a run that was killed on the way.
    mine = {*before, *(name for name in names if not (ready / name).exists())}
    foreign = [name for name in sorted({*names, MANIFEST} - mine) if (folder / name).exists()]
    if (folder / MANIFEST).exists() and _manifest(folder / MANIFEST) is not None:
        foreign = [name for name in foreign if name != MANIFEST]
    if foreign:
        raise ResultError(
            "the output folder holds a file of that name that neurotools did not write",
            code="NT-OUT-002", path=folder, found=", ".join(foreign[:6]),
            fix="move it elsewhere and run again",
        )  # fmt: skip


def _sync(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def text_hash(value: Any) -> str:
    """SHA-256 of plain data as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
