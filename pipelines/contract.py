"""What a pipeline is: a module with ``Settings`` and ``analyse``, and what else it may offer.

====================================================  ====================================================
``Settings``                                          frozen dataclass with a default for every field
``analyse(recording, settings, step)``                one recording to one Dataset or DataTree
``tables(result)``                                    name to pandas.DataFrame, written as tsv (optional)
``files(result)``                                      path to bytes, written as they are (optional)
``figures(result, recording, settings)``              name to Figure, written as png and svg (optional)
``page(recording, result, figures, settings, facts)`` HTML text of the report (optional)
``summarise(results, settings)``                      the group, from name to result (optional)
``group_figures(group, settings)``                    name to Figure, for the page of the group (optional)
``join(recordings, settings)``                         several recordings, by name, as one (optional); used
                                                      where the settings have ``join_subjects`` and it is true
``estimate(recording, settings)``                     seconds by part, and bytes, expected (optional)
``TAKES``, ``GIVES``                                  what goes in, and file to meaning, for ``describe``
====================================================  ====================================================

A pipeline is registered in ``registry.PIPELINES``, or is a Python file of one's own, given by its path.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from neurotools.errors import SettingsError, lookup
from neurotools.registry import PIPELINES, resolve


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """A pipeline by name, with the module that holds its functions."""

    name: str
    module: ModuleType

    @property
    def settings(self) -> type:
        """The class of its settings."""
        return self.module.Settings

    def part(self, name: str) -> Any:
        """An optional function of the contract, or None."""
        return getattr(self.module, name, None)

    @property
    def version(self) -> str:
        """Hash of the pipeline's own source."""
        return hashlib.sha256(Path(str(self.module.__file__)).read_bytes()).hexdigest()


@functools.cache
def pipeline(name: str) -> Pipeline:
    """Find a pipeline by its registered name, or by the path of a Python file that follows the contract.

    Raises
    ------
    SettingsError
        There is no pipeline of that name, or the file lacks ``Settings`` or ``analyse``.
    """
    if name.endswith(".py") and Path(name).is_file():
        found = Pipeline(Path(name).stem.replace("_", "-"), _from_file(Path(name).resolve()))
    else:
        found = Pipeline(name, resolve(lookup("pipeline", name, PIPELINES)))
    missing = [part for part in ("Settings", "analyse") if not hasattr(found.module, part)]
    if missing or not dataclasses.is_dataclass(found.module.Settings):
        raise SettingsError(
            "this is not a pipeline",
            path=found.module.__file__,
            found="it lacks " + ", ".join(missing) if missing else "Settings is no dataclass",
            expected="a frozen dataclass Settings and a function analyse(recording, settings, step)",
        )
    return found


def _from_file(path: Path) -> ModuleType:
    name = f"neurotools_pipeline_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up by name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise SettingsError(
            f"the pipeline cannot be imported: {type(error).__name__}: {error}", path=path
        ) from error
    return module


def first_sentence(target: str) -> str:
    """First line of the docstring of ``"module"`` or ``"module:name"``, unmarked; nothing is imported."""
    module, _, name = target.partition(":")
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        return "(not installed)"
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    nodes = [node for node in tree.body if getattr(node, "name", None) == name] if name else [tree]
    text = ast.get_docstring(nodes[0]) if nodes else None  # type: ignore[arg-type]
    return (text or "").strip().split("\n")[0].replace("``", "")
