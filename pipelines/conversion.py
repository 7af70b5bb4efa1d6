"""Files to open formats; a table of what can be converted."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from neurotools.errors import FileError, SettingsError, lookup, need
from neurotools.models.encoders.presets import PRESETS
from neurotools.provenance import save

from .sources import find

Coverage = tuple[tuple[str, str, str], ...]


def recording(file: str, out: Path) -> Path:
    """Any readable recording to netCDF or Zarr, labelled and checked."""
    found = find(file)
    if found.several:
        raise SettingsError(
            "the source holds several recordings, and one is converted at a time",
            found=", ".join(entry.name for entry in found.recordings[:6]),
        )
    return save(found.recordings[0].load(), out)


def encoder_weights(name: str, file: str, out: Path, settings: Sequence[str], prefix: str) -> Coverage:
    """The authors' weights of an encoder as a checkpoint folder that ``nt.encoders.open`` reads."""
    need("torch", extra="torch", to="convert the weights of an encoder")
    from neurotools.models.encoders import conversion

    chosen = {}
    for entry in settings:
        key, sign, value = entry.partition("=")
        if not sign:
            raise SettingsError("a setting is written KEY=VALUE", found=entry)
        chosen[key] = yaml.safe_load(value)
    return conversion.convert(name, file, out, chosen, prefix)


def known() -> dict[str, None]:
    """Names of all converters."""
    names = [*CONVERTERS, *PRESETS]
    if importlib.util.find_spec("torch") is not None:
        from neurotools.models.encoders import conversion

        names += conversion.names()
    return dict.fromkeys(names)


CONVERTERS: dict[str, Callable[[str, Path], Path]] = {"recording": recording}


def convert(name: str, file: str, out: Path, settings: Sequence[str] = (), prefix: str = "") -> Coverage:
    """Convert ``file`` to ``out`` with the converter ``name``; what is there is not replaced.

    Returns
    -------
    tuple of (str, str, str)
        For weights: foreign name, our name, how the numbers changed; else nothing.
    """
    if name not in CONVERTERS:
        lookup("converter", name, known())
    if out.exists():
        raise FileError(
            "there is a file of that name already", code="NT-OUT-002", path=out, fix="give another name"
        )
    if name not in CONVERTERS:
        return encoder_weights(name, file, out, settings, prefix)
    if settings or prefix:
        raise SettingsError("--set and --prefix are for the weights of encoders", code="NT-SET-003")
    CONVERTERS[name](file, out)
    return ()
