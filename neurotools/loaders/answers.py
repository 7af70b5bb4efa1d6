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
    arrays: Mapping[str, Any] = field(default_factory=dict)
    units: str | None = None
    t0: float = 0.0
    file: str | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    allow_truncated: bool = False
    sort: bool = False
    resample: bool = False

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
        _check_labels_file(stored.get("labels"), path)
        merged = {**stored, **{k: v for k, v in given.items() if v is not None and v is not False}}
        if merged.get("dims") is not None:
            dims = merged["dims"]
            merged["dims"] = (dims,) if isinstance(dims, str) else tuple(map(str, dims))
        if merged.get("kind") is not None and merged["kind"] not in KINDS:
            raise unknown_kind(merged["kind"])
        if not isinstance(merged.get("arrays", {}), Mapping):
            raise SettingsError("'arrays' maps a node to what lies there", path=path, found=merged["arrays"])
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


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is said about one array of a file: one value of ``arrays``.

    A *reference* is the name of an array in the file, or a mapping with ``name``, ``file`` (another file
    beside it), ``column``, ``units``; or the values themselves.

    Parameters
    ----------
    name : str or list of str
        Where the array lies in the file; for a table, columns, or ``"first:last"``. Not needed when there
        is only one.
    file : str
        File inside the recording's folder, where a folder is described. ``{subject}`` stands for a label
        of ``stack``.
    stack : mapping
        ``{dim: labels}``: arrays of equal shape, one per label, put side by side along a new first axis.
    dims : sequence of str
        Names of the axes as they lie in the file. ``session`` or ``trial`` beside ``time`` is laid end to
        end along ``time``.
    sfreq, bin_width : number or reference
        Clock of ``time``, in Hz or in s.
    time : reference
        Time stamps, in seconds unless their ``units`` are given.
    t0 : number or reference
        Time of the first sample, in seconds; the first value where an array is meant.
    units : str
        Unit of the values as stored.
    labels : list or reference
        Names along the unit, channel or region axis; ``{first: 1, n: 75}`` counts.
    coords : mapping
        Further coordinates by name: references, with ``dim`` where it is not the labelled axis.
    skip : int
        Samples at the beginning that are left out (discarded volumes).
    repeats : {"first", "last"}
        Which sample to keep where a time stamp occurs twice.
    index_base : {0, 1}
        The array lists members by index, counted from here; it becomes a table of 0 and 1.
    attrs : mapping
        Attributes of the array.
    """

    name: Any = None
    file: str | None = None
    stack: Mapping[str, Sequence[Any]] | None = None
    dims: tuple[str, ...] | None = None
    sfreq: Any = None
    bin_width: Any = None
    time: Any = None
    t0: Any = None
    units: str | None = None
    labels: Any = None
    coords: Mapping[str, Any] = field(default_factory=dict)
    skip: int = 0
    repeats: str | None = None
    index_base: int | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, node: str, given: Any) -> Entry:
        """Make an entry of a mapping (or of a bare name), with an error that names an unknown key."""
        if isinstance(given, str):
            given = {"name": given}
        check_keys(node, given, tuple(entry.name for entry in dataclasses.fields(cls)))
        values = dict(given)
        if values.get("dims") is not None:
            dims = values["dims"]
            values["dims"] = (dims,) if isinstance(dims, str) else tuple(map(str, dims))
        entry = cls(**values)
        if not isinstance(entry.skip, int) or entry.skip < 0:
            raise SettingsError(f"'skip' of {node!r} is a number of samples", found=entry.skip)
        if entry.repeats not in {None, "first", "last"}:
            raise SettingsError(f"'repeats' of {node!r} is 'first' or 'last'", found=entry.repeats)
        if entry.index_base not in {None, 0, 1}:
            raise SettingsError(f"'index_base' of {node!r} is 0 or 1", found=entry.index_base)
        return entry


def check_keys(node: str, given: Any, known: Sequence[str]) -> None:
    """Raise unless ``given`` is a mapping with no other keys than ``known``."""
    if not isinstance(given, Mapping):
        raise SettingsError(
            f"'arrays' needs 'key: value' pairs for {node!r}", found=type(given).__name__,
            expected=", ".join(known),
        )  # fmt: skip
    for key in given:
        if key not in known:
            raise SettingsError(
                f"{node!r} has a key {key!r} that means nothing here.{did_you_mean(str(key), known)}",
                expected="one of " + ", ".join(known),
            )


def _check_labels_file(labels: Any, path: Path) -> None:
    """A settings file may come with the data from elsewhere, so what it names must lie beside it."""
    folder = (path if path.is_dir() else path.parent).resolve()
    if isinstance(labels, str) and not (folder / labels).resolve().is_relative_to(folder):
        raise FileError(
            f"{SETTINGS_FILE} names labels outside its folder",
            path=folder, found=labels, fix="pass labels=... to nt.load",
        )  # fmt: skip


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
