"""What a user says about a file that the file itself leaves open."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from neurotools.errors import FileError, SettingsError, did_you_mean
from neurotools.schema import KINDS, unknown_kind

SETTINGS_FILE = "recording.yaml"


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Arguments of ``nt.load``, completed from a ``recording.yaml`` beside the data.

    ``arrays`` maps a node (``"calcium/activity"``) to the same answers for one array of the file, with
    ``name`` for where it lies in the file. ``attrs`` go to the root of the recording.
    """

    kind: str | None = None
    dims: tuple[str, ...] | None = None
    sfreq: float | None = None
    bin_width: float | None = None
    labels: Any = None
    array: str | None = None
    arrays: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    units: str | None = None
    t0: float = 0.0
    file: str | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    allow_truncated: bool = False

    @classmethod
    def gather(cls, path: Path, **given: Any) -> Answers:
        """Join what the caller gave with ``recording.yaml``; the caller wins."""
        stored = _stored(path)
        known = {entry.name for entry in dataclasses.fields(cls)}
        for key in stored:
            if key not in known:
                raise SettingsError(
                    f"{SETTINGS_FILE} has a key {key!r} that means nothing.{did_you_mean(key, known)}",
                    path=path, expected="one of " + ", ".join(sorted(known)),
                )  # fmt: skip
        merged = {**stored, **{k: v for k, v in given.items() if v not in (None, False)}}
        if merged.get("dims") is not None:
            merged["dims"] = tuple(merged["dims"])
        if merged.get("kind") is not None and merged["kind"] not in KINDS:
            raise unknown_kind(merged["kind"])
        return cls(**merged)

    def target(self, path: Path) -> Path:
        """The file to read: ``file:`` of ``recording.yaml`` when a folder was given."""
        if path.is_dir() and self.file is not None:
            target = (path / self.file).resolve()
            if not target.is_relative_to(path.resolve()):
                raise FileError(f"{SETTINGS_FILE} points outside its folder", path=path, found=self.file)
            if not target.exists():
                raise FileError(
                    f"{SETTINGS_FILE} names a file that is not there", code="NT-FILE-001", path=target
                )
            return target
        return path

    def need(self, name: str, path: Path, found: Sequence[str] | str | None = None) -> Any:
        """Return the answer ``name``, or an error that asks for it and lists what the file holds."""
        value = getattr(self, name)
        if value is None:
            raise FileError(
                f"the file does not say its {name!r}",
                code="NT-FILE-006",
                path=path,
                found="; ".join(found) if isinstance(found, (list, tuple)) else found,
                fix=f"nt.load(path, {name}=...), or the same key in {SETTINGS_FILE} beside the data",
            )
        return value


def _stored(path: Path) -> dict[str, Any]:
    file = (path if path.is_dir() else path.parent) / SETTINGS_FILE
    if not file.is_file():
        return {}
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FileError(f"{SETTINGS_FILE} cannot be read: {error}", path=file) from error
    if not isinstance(content, dict):
        raise FileError(
            f"{SETTINGS_FILE} must hold 'key: value' lines", path=file, found=type(content).__name__
        )
    # A settings file that names its data speaks for that file alone, not for its neighbours.
    if not path.is_dir() and content.get("file") not in (None, path.name):
        return {}
    return content
