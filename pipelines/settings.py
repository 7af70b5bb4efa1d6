"""Settings of a pipeline: from a file and the command line to a checked, frozen dataclass.

A pipeline's settings are one frozen dataclass whose fields are plain values or further frozen dataclasses
(the models). What a user writes is laid over the defaults, checked strictly by pydantic before any work, and
only then becomes the dataclass: ``"8"`` and ``true`` are no numbers, and an unknown key is an error with its
line and the nearest known name.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from neurotools.errors import NeurotoolsError, SettingsError, did_you_mean
from neurotools.provenance import settings_dict

from . import yaml_lines
from .yaml_lines import Where

WORDS = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "missing": "is required",
    "union_tag_not_found": "must say which it is, with 'type: ...'",
    "dataclass_type": "must hold settings of its own, as 'key: value' lines",
}
CLOSE = 0.6  # likeness from which a name may have been meant
SILENT = {"missing", "union_tag_not_found"}  # faults that have no value to show


@dataclass(frozen=True)
class Given:
    """What a user wrote: nested values, and for each key where it was written ("line 3", "--set rank=6")."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[Where, str] = field(default_factory=dict)
    path: str | None = None

    def place(self, at: Where) -> str | None:
        """Where the key ``at``, or the nearest one around it, was written."""
        for n in range(len(at), 0, -1):
            if at[:n] in self.places:
                return self.places[at[:n]]
        return None


# ---- what the user wrote ----------------------------------------------------------------------------
def gather(
    cls: type, file: str | Path | None = None, overrides: Sequence[str] = (), seed: int | None = None
) -> Any:
    """Settings of class ``cls`` from a YAML file and ``key=value`` overrides, checked strictly.

    Parameters
    ----------
    cls : type
        A frozen dataclass with a default for every field.
    file : path, optional
        YAML; keys that it leaves out keep their defaults.
    overrides : sequence of str
        ``"model.rank=6"``, or ``"rank=6"`` where only one setting has that name. They win over the file.
    seed : int, optional
        Checked here only; the runner derives the seed of each recording from it.

    Returns
    -------
    An instance of ``cls``.

    Raises
    ------
    SettingsError
        Names every setting that is wrong, where it was written, and the nearest known name.
    """
    given = Given()
    if file is not None:
        values, lines = yaml_lines.read(file)
        given = Given(values, {at: f"line {line}" for at, line in lines.items() if at}, str(file))
    if seed is not None and (isinstance(seed, bool) or seed < 0):
        raise SettingsError("the seed is a whole number, not negative", found=seed)
    for text in overrides:
        given = _override(given, cls, text)
    return build(cls, given)


def _override(given: Given, cls: type, text: str) -> Given:
    key, equals, written = text.partition("=")
    if not equals or not key.strip():
        raise SettingsError(
            "--set takes key=value", found=text, fix="for example --set rank=6, or --set model.rank=6"
        )
    at = _full_path(cls(), key.strip(), text)
    values = json.loads(json.dumps(given.values))  # a copy of plain data
    inner = values
    for name in at[:-1]:
        inner = inner.setdefault(name, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"{name} holds no settings of its own", where=f"--set {text}")
    inner[at[-1]] = yaml_lines.value(written)
    return dataclasses.replace(given, values=values, places={**given.places, at: f"--set {text}"})


def names(settings: Any) -> dict[str, Any]:
    """Every setting by its full dotted name (``"model.rank"``) with its value."""
    found: dict[str, Any] = {}
    for entry in dataclasses.fields(settings):
        held = getattr(settings, entry.name)
        found[entry.name] = held
        if dataclasses.is_dataclass(held):
            found.update({f"{entry.name}.{name}": value for name, value in names(held).items()})
    return found


def _full_path(defaults: Any, key: str, text: str) -> tuple[str, ...]:
    known = names(defaults)
    if key in known:
        return tuple(key.split("."))
    matches = [name for name in known if name.endswith(f".{key}")]
    if len(matches) == 1:
        return tuple(matches[0].split("."))
    if matches:
        raise SettingsError(
            f"several settings are named {key!r}", where=f"--set {text}", found=", ".join(matches),
            fix=f"--set {matches[0]}=...",
        )  # fmt: skip
    raise SettingsError(
        f"there is no setting {key!r}.{_nearest(key, known)}", code="NT-SET-001", where=f"--set {text}",
        expected="one of " + ", ".join(known),
    )  # fmt: skip


def _nearest(key: str, known: Mapping[str, Any]) -> str:
    """Did-you-mean over full names and over last words, so that ``rnak`` finds ``model.rank``."""
    last = key.rsplit(".", 1)[-1]
    spelled = [
        (difflib.SequenceMatcher(None, a, b).ratio(), name)
        for name in known
        for a, b in ((key, name), (last, name.rsplit(".", 1)[-1]))
    ]
    likeness, name = max(spelled, key=lambda entry: entry[0])
    return f" Did you mean {name!r}?" if likeness >= CLOSE else ""


# ---- chance -----------------------------------------------------------------------------------------
def seeded(settings: Any, seed: int | None, recording: str) -> tuple[Any, dict[str, int]]:
    """Settings with every seed derived from one root seed and the recording's name, and those seeds.

    Without a root seed the seeds stand as they are set. The seed of one recording does not depend on
    which others are analysed, nor on the worker that does it.
    """
    used: dict[str, int] = {}

    def derive(held: Any, at: str) -> Any:
        changes: dict[str, Any] = {}
        for entry in dataclasses.fields(held):
            inner, name = getattr(held, entry.name), f"{at}{entry.name}"
            if dataclasses.is_dataclass(inner):
                changes[entry.name] = derive(inner, f"{name}.")
            elif entry.name == "seed":
                text = f"{seed}/{recording}/{name}".encode()
                fresh = int.from_bytes(hashlib.sha256(text).digest()[:4], "big")
                used[name] = inner if seed is None else fresh
                changes["seed"] = used[name]
        return dataclasses.replace(held, **changes)

    return derive(settings, ""), used


# ---- the strict check -------------------------------------------------------------------------------
def build(cls: type, given: Given | Mapping[str, Any]) -> Any:
    """Lay what was given over the defaults of ``cls``, check it strictly, and make the dataclass."""
    from pydantic import ValidationError

    if not isinstance(given, Given):
        given = Given(dict(given))
    merged = _merge(settings_dict(cls()), given.values)
    try:
        checked = _adapter(cls).validate_json(json.dumps(merged), strict=True)
    except ValidationError as error:
        raise _explain(error.errors(include_url=False), cls, given, merged) from None
    except TypeError as error:
        raise SettingsError(f"a setting cannot be written as plain data: {error}", path=given.path) from error
    return _make(cls, _adapter(cls).dump_python(checked, mode="json"), given, ())


def _merge(default: Any, given: Any) -> Any:
    if not (isinstance(default, dict) and isinstance(given, dict)):
        return given
    if "type" in given and given["type"] != default.get("type"):
        return given  # another kind of model: its own defaults hold, not those of the one it replaces
    merged = dict(default)
    for key, entry in given.items():
        merged[key] = _merge(default.get(key), entry)
    return merged


@functools.cache
def _adapter(cls: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(_strict(cls, named=False))


@functools.cache
def _strict(cls: type, named: bool = True) -> type:
    """A pydantic twin of a dataclass that refuses unknown keys and converts nothing.

    A ``named`` one also takes ``type: ClassName``, as nested settings are saved.
    """
    from pydantic import ConfigDict, Field
    from pydantic.dataclasses import dataclass as pydantic_dataclass

    hints = typing.get_type_hints(cls)
    fields: list[tuple[str, Any, Any]] = []
    for entry in dataclasses.fields(cls):
        kind = _translate(hints[entry.name])
        if entry.default is not dataclasses.MISSING:
            shown = _plain(entry.default)
            fields.append((entry.name, kind, Field(default=shown)))
        elif entry.default_factory is not dataclasses.MISSING:
            fields.append((entry.name, kind, Field(default=_plain(entry.default_factory()))))
        else:
            fields.append((entry.name, kind, dataclasses.field()))
    if named:
        fields.append(("type", Literal[cls.__name__], Field(default=cls.__name__)))
    twin = dataclasses.make_dataclass(cls.__name__, fields, kw_only=True)
    twin.__doc__ = (cls.__doc__ or "").strip().split("\n")[0]
    return pydantic_dataclass(twin, config=ConfigDict(strict=True, extra="forbid"))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__name__, **settings_dict(value)}
    return list(value) if isinstance(value, tuple) else value


def _translate(hint: Any) -> Any:
    """Replace dataclasses inside a type hint by their strict twins."""
    from pydantic import Field

    if dataclasses.is_dataclass(hint):
        return _strict(hint)  # type: ignore[arg-type]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if not arguments or origin is Literal:
        return hint
    parts = tuple(entry if entry is Ellipsis else _translate(entry) for entry in arguments)
    if origin in (typing.Union, types.UnionType):
        union: Any = typing.Union[parts]  # type: ignore[valid-type]  # noqa: UP007  (built from a tuple)
        several = sum(map(dataclasses.is_dataclass, arguments)) > 1
        return Annotated[union, Field(discriminator="type")] if several else union
    if origin in (tuple, list, Sequence):
        return (tuple if origin is tuple else list)[parts]  # type: ignore[index]
    return hint


def _make(cls: type, merged: Mapping[str, Any], given: Given, at: Where) -> Any:
    hints = typing.get_type_hints(cls)
    arguments = {}
    for name, entry in merged.items():
        if name == "type":
            continue
        inner = _dataclass_for(hints[name], entry)
        if inner is not None:
            arguments[name] = _make(inner, entry, given, (*at, name))
        else:
            arguments[name] = _as_tuple(entry) if "tuple" in str(hints[name]) else entry
    try:
        return cls(**arguments)
    except NeurotoolsError as error:
        named = [name for name in arguments if re.search(rf"\b{name}\b", error.problem)]
        written = given.place((*at, *named[:1])) or error.where
        raise SettingsError(
            error.problem, code=error.code, path=given.path, where=written, found=error.found,
            expected=error.expected, fix=error.fix,
        ) from error  # fmt: skip


def _as_tuple(entry: Any) -> Any:
    return tuple(_as_tuple(value) for value in entry) if isinstance(entry, list) else entry


def _dataclass_for(hint: Any, entry: Any) -> type | None:
    """The dataclass that a nested mapping stands for, or None for a plain value."""
    candidates = [kind for kind in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(kind)]
    if not isinstance(entry, dict) or not candidates:
        return None
    for kind in candidates:
        if kind.__name__ == entry.get("type", kind.__name__):  # type: ignore[union-attr]
            return kind  # type: ignore[return-value]
    return None


# ---- saying what is wrong ---------------------------------------------------------------------------
def _explain(faults: Sequence[Mapping[str, Any]], cls: type, given: Given, merged: Any) -> SettingsError:
    known = names(cls())
    found: dict[Where, str] = {}
    for fault in faults:  # one sentence per setting, however many alternatives of a union refused it
        at = _within(fault["loc"], merged)
        found.setdefault(at, _sentence(fault, at, known))
    unknown = any(sentence.startswith("there is no setting") for sentence in found.values())
    code = "NT-SET-001" if unknown else None
    if len(found) == 1:
        ((at, sentence),) = found.items()
        return SettingsError(
            sentence, code=code, path=given.path, where=given.place(at),
            expected="one of " + ", ".join(known) if unknown else None,
        )  # fmt: skip
    written = sorted((_line(given.place(at)), given.place(at) or "", text) for at, text in found.items())
    listed = "".join(f"\n  {place + ': ' if place else ''}{text}" for _, place, text in written)
    return SettingsError(f"{len(found)} settings are wrong:{listed}", code=code, path=given.path)


def _line(place: str | None) -> int:
    return int(place.split()[1]) if place and place.startswith("line ") else 1 << 30


def _within(location: Sequence[str | int], merged: Any) -> Where:
    """The part of pydantic's location that names keys of the data, not alternatives of a union."""
    at: list[str | int] = []
    inner = merged
    for part in location:
        held = range(len(inner)) if isinstance(inner, list) else inner if isinstance(inner, dict) else ()
        if part in held:
            inner = inner[part]  # type: ignore[index]
        elif not (isinstance(inner, (dict, list)) and part == location[-1]):
            continue
        at.append(part)
    return tuple(at)


def _sentence(fault: Mapping[str, Any], at: Where, known: Mapping[str, Any]) -> str:
    name = ".".join(map(str, at))
    got, context = fault.get("input"), fault.get("ctx", {})
    shown = f"the text {got!r}" if isinstance(got, str) else json.dumps(got)
    kind = fault["type"]
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"there is no setting {name!r}.{_nearest(name, known)}"
    if kind == "union_tag_invalid":
        said = f"must be one of {context['expected_tags']}; got {context['tag']!r}"
        return f"{name}.type {said}"
    if kind == "missing" and isinstance(at[-1], int):
        return f"{'.'.join(map(str, at[:-1]))} has too few entries; got {shown}"
    if kind in ("too_long", "too_short"):
        said = f"must have {context.get('max_length', context.get('min_length'))} entries"
    elif kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", context["expected"])
        shown += "." + hint if (hint := did_you_mean(str(got), allowed)) else ""
        said = f"must be one of {', '.join(allowed)}"
    else:
        said = WORDS.get(kind, fault["msg"][0].lower() + fault["msg"][1:])
    return f"{name} {said}" if kind in SILENT else f"{name} {said}; got {shown}"


# ---- for editors ------------------------------------------------------------------------------------
def json_schema(cls: type) -> dict[str, Any]:
    """JSON schema of the settings file, which editors use to complete and check it."""
    schema = _adapter(cls).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def to_yaml(settings: Any) -> str:
    """The settings as a file that ``--settings`` reads back to the same settings."""
    import yaml

    return yaml.safe_dump(settings_dict(settings), sort_keys=False, allow_unicode=True)
