"""Every error a user can meet, and helpers that explain what is missing or wrong.

Each error says what was wanted, what came and what to do. ``code`` is stable and documented; the other
fields let a program (``--json``, the dataset runner) read what a person reads in the message.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import math
import numbers
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
# Annotations of fields that hold one number, and what may stand in them.
NUMBERS = {
    "int": numbers.Integral,
    "int | None": numbers.Integral,
    "float": numbers.Real,
    "float | None": numbers.Real,
}

CODES = {
    "NT-FILE-001": "the file or folder does not exist",
    "NT-FILE-002": "the content is of no format that neurotools reads",
    "NT-FILE-003": "the file is shorter than its header promises",
    "NT-FILE-004": "the header or a table in the file cannot be read",
    "NT-FILE-005": "the file claims more data than may be read into memory",
    "NT-FILE-006": "the file leaves open what is what; the caller has to say",
    "NT-FILE-007": "the file holds code, pickled objects or XML entities, which are never run",
    "NT-FILE-008": "a file that belongs to the recording is missing or disagrees with it",
    "NT-FILE-009": "the file is not the one that its checksum describes",
    "NT-DATA-001": "the dimensions are not those that are needed",
    "NT-DATA-002": "the unit is not the one that is needed",
    "NT-DATA-003": "values are missing or infinite",
    "NT-DATA-004": "time does not increase, or is not regular where it has to be",
    "NT-DATA-005": "two things that belong together differ in length or labels",
    "NT-DATA-006": "labels are missing or not unique",
    "NT-DATA-007": "events lie outside the recording",
    "NT-DATA-008": "counts are negative or not whole numbers",
    "NT-DATA-009": "an interval stops before it starts",
    "NT-DATA-010": "there is nothing to analyse",
    "NT-SET-001": "the name is not in the table",
    "NT-SET-002": "a setting has a value that it cannot have",
    "NT-SET-003": "two settings contradict each other",
    "NT-DEV-001": "the device that was asked for cannot be used",
    "NT-DEP-001": "an optional package is not installed",
    "NT-OUT-001": "a saved result is incomplete or was changed",
    "NT-OUT-002": "the output folder belongs to something else",
    "NT-RUN-001": "a worker process was killed while it analysed a recording",
    "NT-RUN-002": "no scheduler of a cluster answers, or it has no workers",
    "NT-FIT-001": "the estimate did not pass its convergence checks",
}


class NeurotoolsError(Exception):
    """Base of all errors: a sentence, a stable code, and what was found, expected and can be done."""

    default_code = "NT-DATA-001"

    def __init__(
        self,
        problem: str,
        *,
        code: str | None = None,
        path: str | Path | None = None,
        where: str | None = None,
        found: object = None,
        expected: object = None,
        fix: str | None = None,
    ) -> None:
        self.problem = problem
        self.code = code or self.default_code
        if self.code not in CODES:
            raise KeyError(f"{self.code} is not in errors.CODES")
        self.path = None if path is None else str(path)
        self.where = where
        self.found = None if found is None else str(found)
        self.expected = None if expected is None else str(expected)
        self.fix = fix
        super().__init__(self._message())

    def _message(self) -> str:
        lines = [f"{self.problem} [{self.code}]"]
        for name in ("path", "where", "found", "expected", "fix"):
            value = getattr(self, name)
            if value is not None:
                lines.append(f"  {name}: {value}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, str | None]:
        """The fields as plain text, for JSON."""
        names = ("code", "problem", "path", "where", "found", "expected", "fix")
        return {"error": type(self).__name__, **{name: getattr(self, name) for name in names}}


class FileError(NeurotoolsError, ValueError):
    """A file cannot be read as what it is, or was not recognised."""

    default_code = "NT-FILE-004"


class SchemaError(NeurotoolsError, ValueError):
    """Data does not have the dimensions, units, labels or values that are needed."""

    default_code = "NT-DATA-001"


class SettingsError(NeurotoolsError, ValueError):
    """A setting is unknown, impossible or contradicts another."""

    default_code = "NT-SET-002"


class DeviceError(NeurotoolsError, ValueError):
    """The device that was asked for cannot be used."""

    default_code = "NT-DEV-001"


class MissingExtraError(NeurotoolsError, ImportError):
    """An optional package is needed and not installed."""

    default_code = "NT-DEP-001"


class ResultError(NeurotoolsError, ValueError):
    """A saved result is incomplete, was altered, or belongs to something else."""

    default_code = "NT-OUT-001"


class NotConvergedError(NeurotoolsError, ValueError):
    """An estimate failed its convergence checks."""

    default_code = "NT-FIT-001"


class NeurotoolsWarning(UserWarning):
    """Something a user should know that does not stop the work."""


def need(module: str, *, extra: str, to: str | None = None) -> Any:
    """Import an optional module, or say in one sentence which extra brings it.

    Parameters
    ----------
    module : str
        Dotted name to import.
    extra : str
        The extra of this distribution that installs it.
    to : str, optional
        What the user was trying to do, for the message ("read EEG files").
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        purpose = f" to {to}" if to else ""
        raise MissingExtraError(
            f"{module.split('.', maxsplit=1)[0]} is needed{purpose} and could not be imported ({error})",
            fix=f"pip install 'neurotools-xr[{extra}]'",
        ) from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ' Did you mean ...?' for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def expect(value: Any, what: str, *types: type, fix: str | None = None) -> None:
    """Raise unless ``value`` is of one of the types."""
    if not isinstance(value, types):
        raise SchemaError(
            f"{what} is needed",
            found=type(value).__name__, expected=" or ".join(t.__name__ for t in types), fix=fix,
        )  # fmt: skip


def check_numbers(settings: Any, *, positive: Iterable[str] = (), **at_least: float) -> None:
    """Raise unless the numbers among frozen settings are finite, and of the kind that their field says.

    Numbers of NumPy become plain ones, so that a fit can carry them. ``seed`` is at least 0 everywhere.

    Parameters
    ----------
    settings : dataclass
    positive : names of fields
        Must be above 0.
    **at_least
        Name of a field and its least value.
    """
    at_least.setdefault("seed", 0)
    for field in dataclasses.fields(settings):
        kind, value = str(field.type), getattr(settings, field.name)
        if isinstance(value, numbers.Number) and hasattr(value, "item"):
            value = value.item()
            object.__setattr__(settings, field.name, value)
        if kind not in NUMBERS or (value is None and "None" in kind):
            continue
        _check_number(field.name, value, NUMBERS[kind], at_least.get(field.name))
        if field.name in positive and not value > 0:
            raise SettingsError(f"{field.name} must be positive", found=value)


def _check_number(name: str, value: Any, kind: Any, least: float | None) -> None:
    whole = kind is numbers.Integral
    if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value):
        raise SettingsError(f"{name} is a {'whole' if whole else 'finite'} number", found=repr(value))
    if least is not None and value < least:
        raise SettingsError(f"{name} must be at least {least:g}", found=value)


def lookup(what: str, name: str, table: Mapping[str, T]) -> T:
    """Find ``name`` in ``table`` or raise an error that lists what there is."""
    try:
        return table[name]
    except (KeyError, TypeError):
        raise SettingsError(
            f"there is no {what} named {name!r}.{did_you_mean(name, table)}",
            code="NT-SET-001",
            expected="one of " + ", ".join(map(str, table)),
        ) from None
