"""Encoders by name: make one, list them, open a checkpoint."""

from __future__ import annotations

import builtins
import dataclasses
import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from neurotools.errors import (
    MissingExtraError,
    NeurotoolsWarning,
    SettingsError,
    lookup,
    need,
)
from neurotools.models.encoders.presets import PRESETS, Preset

FOREIGN = "bd:"
COLUMNS = ("modality", "architecture", "requires", "about")


def create(name: str, *, seed: int = 0, **settings: Any) -> Any:
    """Make an encoder by name; the result is frozen settings and no network yet.

    Parameters
    ----------
    name : str
        See ``nt.encoders.list()``; ``"bd:NAME"`` is a model of braindecode, where that is installed, and
        ``"module:NAME"`` a recipe of one's own.
    seed : int
    **settings
        Of the encoder, its network or its training, each under its own name (``sequence=16``, ``width=128``,
        ``steps=500``, ``device="cuda"``); ``head`` is a mapping of its settings. ``paper_compat=True`` takes
        those of the paper where none are given, and keeps its protocol with its quirks.

    Returns
    -------
    neurotools.models.encoders.encoder.Encoder

    Raises
    ------
    SettingsError
        There is no such name or setting.
    MissingExtraError
        PyTorch is not installed.
    """
    need("torch", extra="torch", to="make an encoder")
    if name.startswith(FOREIGN):
        from neurotools.models.encoders.braindecode_recipe import preset_of

        preset = preset_of(name.removeprefix(FOREIGN))
    elif ":" in name:
        preset = Preset(name, "any", "", {})
    else:
        preset = lookup("encoder", name, PRESETS)
    default = preset.settings
    if settings.get("paper_compat"):
        from neurotools.models.encoders.published import published

        said = published(preset.architecture).settings
        default = {**default, **said}
        if "head" in said:
            settings["head"] = {**said["head"], **settings.get("head", {})}
    return made(preset.architecture, {**default, **settings}, seed)


def made(architecture: str, settings: Mapping[str, Any], seed: int = 0) -> Any:
    """An encoder of an architecture, its settings told apart by their names."""
    from neurotools.models.encoders.encoder import Encoder
    from neurotools.models.encoders.heads import Head
    from neurotools.models.encoders.recipe import recipe_of
    from neurotools.models.encoders.training import Training

    head = hashable(settings.get("head", {}))
    rest = hashable({name: value for name, value in settings.items() if name != "head"})
    kinds = {"encoder": Encoder, "network": recipe_of(architecture).settings, "training": Training}
    mine: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
    for name, value in rest.items():
        home = next((kind for kind, cls in kinds.items() if name in fields_of(cls)), None)
        if home is None or name in ("architecture", "network", "training"):
            known = [field for cls in kinds.values() for field in fields_of(cls)]
            lookup(f"setting of {architecture}", name, dict.fromkeys(known))
            raise SettingsError(f"{name} is made of its own settings, which are given one by one", found=name)
        mine[home][name] = value
    trained = {name: head.pop(name) for name in fields_of(Training) if name in head}
    if trained:
        default = dataclasses.asdict(Head().training)
        head["training"] = Training(**{**default, **trained})
    for name in head:
        lookup("setting of a head", name, dict.fromkeys(fields_of(Head)))
    return Encoder(
        architecture=architecture, network=kinds["network"](**mine["network"]),
        training=Training(**mine["training"]), head=Head(**head), seed=seed, **mine["encoder"],
    )  # fmt: skip


def hashable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with tuples where a file has lists."""
    return {k: tuple(v) if isinstance(v, builtins.list) else v for k, v in settings.items()}


def fields_of(cls: Any) -> tuple[str, ...]:
    """Names of the settings of a dataclass."""
    return tuple(field.name for field in dataclasses.fields(cls))


def open(folder: str | Path) -> xr.Dataset:
    """Open a checkpoint folder after its hashes were verified, wherever it lies now.

    Parameters
    ----------
    folder : path
        As ``fit``, ``finetune`` or ``neurotools convert`` wrote it.

    Returns
    -------
    xarray.Dataset
        The fit, for ``transform``, ``predict`` and ``score``; ``nt.model_of(fit)`` is its model.

    Raises
    ------
    FileError
        There is no checkpoint, or the weights are pickled.
    ResultError
        A file is missing or was changed.
    """
    need("torch", extra="torch", to="open the weights of an encoder")
    from neurotools.models.encoders.folder import open_folder

    return open_folder(folder)


def list(modality: str | None = None) -> pd.DataFrame:
    """Encoders by name, one row each.

    Parameters
    ----------
    modality : str, optional
        ``"eeg"``, ``"seeg"`` ...: only those that take it.

    Returns
    -------
    pandas.DataFrame
        ``modality``, ``architecture``, ``requires`` (which channels) and ``about``, by name.
    """
    table: dict[str, Preset] = dict(PRESETS)
    if importlib.util.find_spec("braindecode") is not None:
        from neurotools.models.encoders.braindecode_recipe import presets

        try:
            table |= presets()
        except MissingExtraError as error:  # it is there and lacks something of its own
            warnings.warn(error.problem, NeurotoolsWarning, stacklevel=2)
    if modality is not None:
        lookup("modality", modality, dict.fromkeys(sorted({p.modality for p in table.values()})))
    chosen = {n: p for n, p in table.items() if modality is None or p.modality in (modality, "any")}
    rows = [[getattr(preset, column) for column in COLUMNS] for preset in chosen.values()]
    return pd.DataFrame(rows, index=pd.Index([*chosen], name="encoder"), columns=[*COLUMNS])
