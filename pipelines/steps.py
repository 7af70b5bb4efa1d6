"""Steps of a pipeline whose results are kept, so that a killed run redoes nothing that was finished.

The key of a step is a hash of what is called, the content of its arguments and the version of the code, so
that changing one setting redoes only what depends on it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

import neurotools
from neurotools.errors import ResultError, SettingsError
from neurotools.provenance import content_hash, file_hash, open_saved, save, settings_dict, versions

# What decides numbers; pictures and pages may change without a fit being made again.
COMPUTING = ("arrays.py", "provenance.py", "schema", "numerics", "loaders", "signals", "models", "evaluate")
PACKAGES = (
    "numpy", "scipy", "xarray", "pandas", "numba", "scikit-learn", "tensorly", "mne", "nibabel", "nilearn",
    "pynwb", "neo", "torch", "cupy-cuda13x",
)  # fmt: skip

Step = Callable[..., Any]


def directly(name: str, function: Callable[..., Any], *data: Any, **options: Any) -> Any:
    """Call ``function`` at once and keep nothing: what a pipeline does in a script."""
    return function(*data, **options)


@dataclasses.dataclass
class StepStore:
    """Calls functions and keeps their results in ``folder``; called again, it returns what it kept.

    ``told`` is called with the step's name and ``"begun"``, ``"done"`` or ``"reused"``.
    """

    folder: Path
    told: Callable[[str, str], None] = lambda name, state: None
    record: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    _used: set[str] = dataclasses.field(default_factory=set)

    def __call__(self, name: str, function: Callable[..., Any], *data: Any, **options: Any) -> Any:
        """Return ``function(*data, **options)``, computed now or kept from before.

        Results that are no Dataset or DataTree are computed every time.
        """
        start = time.perf_counter()
        self.told(name, "begun")
        file = self.folder / f"{name}-{step_key(name, function, data, options)[:20]}.nc"
        kept = _kept(file)
        state = "done" if kept is None else "reused"
        if kept is None:
            kept = function(*data, **options)
            if isinstance(kept, (xr.Dataset, xr.DataTree)):
                # Read back what was written, so that a resumed run passes on the very same object.
                kept = open_saved(save(kept, file))
        self._used.add(file.name)
        self.record[name] = {"seconds": round(time.perf_counter() - start, 3), "reused": state == "reused"}
        self.told(name, state)
        return kept

    def forget_others(self) -> None:
        """Delete the kept results that this run did not use."""
        for file in self.folder.glob("*.nc") if self.folder.is_dir() else ():
            if file.name not in self._used:
                file.unlink()


def _kept(file: Path) -> xr.Dataset | xr.DataTree | None:
    if not file.exists():
        return None
    try:
        return open_saved(file)
    except ResultError:
        file.unlink()
        return None


# ---- keys ---------------------------------------------------------------------------------------------
def step_key(name: str, function: Callable[..., Any], data: Iterable[Any], options: dict[str, Any]) -> str:
    """Hash of what is called, with what, by which code."""
    owner = getattr(function, "__self__", None)
    called = {
        "step": name,
        "function": f"{function.__module__}:{getattr(function, '__qualname__', repr(function))}",
        "settings": _text(owner) if dataclasses.is_dataclass(owner) else None,
        "data": [_text(entry) for entry in data],
        "options": {key: _text(entry) for key, entry in sorted(options.items())},
        "code": [code_version(), _source_of(function)],
    }
    return hashlib.sha256(json.dumps(called, sort_keys=True).encode()).hexdigest()


def _source_of(function: Callable[..., Any]) -> str | None:
    """Hash of the file that a function stands in, which may be a pipeline of the user's own."""
    file = getattr(sys.modules.get(function.__module__), "__file__", None)
    return file_hash(file) if file else None


def _text(entry: Any) -> Any:
    if isinstance(entry, (xr.Dataset, xr.DataArray, xr.DataTree, pd.DataFrame)):
        return {"content": content_hash(entry)}
    if dataclasses.is_dataclass(entry) and not isinstance(entry, type):
        return {"type": type(entry).__name__, **settings_dict(entry)}
    if isinstance(entry, (list, tuple)):
        return [_text(value) for value in entry]
    if isinstance(entry, dict):
        return {str(key): _text(value) for key, value in entry.items()}
    if entry is None or isinstance(entry, (str, int, float, bool)):
        return entry
    raise SettingsError(
        "a step takes labelled arrays, tables, settings and plain values",
        found=type(entry).__name__, fix="call the function outside of step(...)",
    )  # fmt: skip


@functools.cache
def code_version(everything: bool = False) -> str:
    """Hash of the sources of neurotools that compute (or of all of them), and of the packages under them."""
    root = Path(neurotools.__file__).parent
    places = [root, Path(__file__).parent] if everything else [root / name for name in COMPUTING]
    digest = hashlib.sha256(json.dumps(versions(*PACKAGES), sort_keys=True).encode())
    for place in places:
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            if file.exists():
                digest.update(file.relative_to(place.parent).as_posix().encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()
