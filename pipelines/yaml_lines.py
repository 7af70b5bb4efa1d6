"""Settings files: YAML in which every key remembers its line, and nothing is guessed.

Only plain data is read, never objects. Unlike YAML 1.1, ``1e-6`` is a number and ``no`` is text; a key that
stands twice is an error instead of the last one winning.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from neurotools.errors import FileError, SettingsError

Where = tuple[str | int, ...]
# What YAML 1.1 reads too eagerly: "no" as false, "12:30" as 750, "010" as 8, a date as a date.
PLAIN = {"map", "seq", "str", "int", "float", "bool", "null"}
_REPLACED = {"bool", "int", "float", "timestamp"}


class _Loader(yaml.SafeLoader):
    """The safe loader with the numbers and booleans of YAML 1.2."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in entries if tag.rsplit(":", 1)[-1] not in _REPLACED]
    for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern, _first in (
    ("bool", r"true|false|True|False", "tfTF"),
    ("int", r"[-+]?(?:0|[1-9]\d*)", "-+0123456789"),
    ("float", r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?|[-+]?\.inf|\.nan", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first))


def read(path: str | Path) -> tuple[dict[str, Any], dict[Where, int]]:
    """Return the content of a settings file, and the line of every key and entry in it.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict
        The settings.
    dict
        From ``("model", "rank")`` to the line it stands on, counted from 1.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise FileError("there is no such settings file", code="NT-FILE-001", path=path) from None
    except (UnicodeDecodeError, OSError) as error:
        raise FileError(f"the settings file cannot be read: {error}", path=path) from error
    return parse(text, path)


def parse(text: str, path: str | Path | None = None) -> tuple[dict[str, Any], dict[Where, int]]:
    """Return the settings in a text, and the line of every key; see ``read``."""
    loader = _Loader(text)
    lines: dict[Where, int] = {}
    try:
        root = loader.get_single_node()
        content = {} if root is None else _plain(loader, root, (), lines)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise SettingsError(
            f"the settings file is not YAML: {getattr(error, 'problem', None) or error}",
            path=path, where=None if mark is None else f"line {mark.line + 1}",
        ) from error  # fmt: skip
    finally:
        loader.dispose()
    if not isinstance(content, dict):
        raise SettingsError(
            "a settings file holds 'key: value' lines", path=path, found=type(content).__name__
        )
    return content, lines


def value(text: str) -> Any:
    """Return what a text means as a YAML value: ``6``, ``true``, ``[2, 4]``, ``geomean``."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else _plain(loader, node, (), {})
    except yaml.YAMLError as error:
        raise SettingsError("the value is not YAML", found=text) from error
    finally:
        loader.dispose()


def _plain(loader: _Loader, node: yaml.Node, at: Where, lines: dict[Where, int]) -> Any:
    lines[at] = node.start_mark.line + 1
    if node.tag.rsplit(":", 1)[-1] not in PLAIN:
        raise yaml.constructor.ConstructorError(
            None, None, f"{node.tag} stands for an object, and only plain values are read", node.start_mark
        )
    if isinstance(node, yaml.MappingNode):
        content: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str) or key in content:
                raise SettingsError(
                    f"the key {key!r} stands twice" if key in content else f"the key {key!r} is not text",
                    where=f"line {line}",
                )
            content[key] = _plain(loader, value_node, (*at, key), lines)
            lines[(*at, key)] = line
        return content
    if isinstance(node, yaml.SequenceNode):
        return [_plain(loader, entry, (*at, i), lines) for i, entry in enumerate(node.value)]
    return loader.construct_object(node)
