"""The folder that is a checkpoint: weights, what they need to be used, and where they came from.

``model.safetensors`` (numbers alone, no code), ``config.json`` (which network), ``preprocessing.json``
(channels, rate, scale), ``tokenizer.json`` (discrete codes), ``fit.nc`` (losses, split), ``metrics.json``,
``card.md``, ``LICENSE``, and ``SHA256SUMS``, which ``sha256sum -c`` reads, too. Opening verifies every hash.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import xarray as xr
from torch import nn

from neurotools import provenance
from neurotools._version import __version__
from neurotools.errors import FileError, ResultError, SchemaError
from neurotools.models.encoders import checkpoint
from neurotools.models.encoders.checkpoint import CONFIG, FORMAT, SUMS, WEIGHTS, settings_from
from neurotools.models.encoders.heads import Head, Headed, Sizes
from neurotools.models.encoders.recipe import Recipe, blank, recipe_of
from neurotools.models.encoders.training import Training

PREPARATION, TOKENIZER, METRICS, CARD, LICENCE, FIT = (
    "preprocessing.json", "tokenizer.json", "metrics.json", "card.md", "LICENSE", "fit.nc",
)  # fmt: skip
LICENCE_TEXT = """\
Code of the network: BSD 3-Clause, the neurotools developers.

Weights: made by whoever ran this training or conversion, who says under which licence they are passed on;
neurotools grants none. {origin}

Data: under the terms of the recordings that were trained on; see card.md.
"""


@dataclass(frozen=True)
class Opened:
    """What a folder holds, its network in evaluation mode."""

    folder: Path
    architecture: str
    recipe: Recipe
    network: nn.Module
    preparation: dict[str, Any]
    target: dict[str, Any] | None  # of a fine-tuned one
    weights_sha256: str

    @property
    def body(self) -> nn.Module:
        """The encoder without its head."""
        return self.network.body if isinstance(self.network, Headed) else self.network


def write(
    folder: Path,
    architecture: str,
    network: nn.Module,
    *,
    preparation: Mapping[str, Any],
    fit: xr.Dataset,
    metrics: Mapping[str, Any],
    card: str,
    target: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Write everything, whole or not at all, and return the fit with the folder's name and hash in it."""
    recipe = recipe_of(architecture)
    body = network.body if isinstance(network, Headed) else network
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    weights = safetensors.torch.save(state)
    config = {
        "format": FORMAT,
        "architecture": architecture,
        "settings": provenance.settings_dict(body.settings),
        "target": dict(target) if target else None,
        "neurotools": __version__,
        "torch": torch.__version__,
    }
    fit = fit.assign_attrs(weights=WEIGHTS, weights_sha256=checkpoint.sha256(weights))
    files: dict[str, bytes | str] = {
        WEIGHTS: weights,
        CONFIG: as_json(config),
        PREPARATION: as_json(preparation),
        TOKENIZER: as_json(dict(recipe.tokenizer(body)) if hasattr(body, "settings") else {}),
        METRICS: as_json(metrics),
        CARD: card,
        LICENCE: LICENCE_TEXT.format(origin=recipe.summary),
        FIT: netcdf(fit),
    }
    checkpoint.write_files(folder, files)
    return fit.assign_attrs(folder=str(folder.resolve()))


def as_json(values: Any) -> str:
    """Readable JSON with sorted keys."""
    return json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def netcdf(fit: xr.Dataset) -> bytes:
    """A fit as the bytes of a netCDF file."""
    buffer = io.BytesIO()
    fit.to_netcdf(buffer, engine="h5netcdf")
    return buffer.getvalue()


def open_folder(folder: str | Path) -> xr.Dataset:
    """Open a checkpoint folder after its hashes were verified.

    Parameters
    ----------
    folder : path
        As ``fit``, ``finetune`` or ``neurotools convert`` wrote it, wherever it lies now.

    Returns
    -------
    xarray.Dataset
        The fit, for ``transform``, ``predict`` and ``score``; ``nt.model_of(fit)`` is the model.

    Raises
    ------
    FileError
        There is no checkpoint, or the weights are no safetensors file.
    ResultError
        A file is missing or was changed, or the folder was written by another version of the format.
    """
    folder = Path(folder)
    data = checkpoint.verified(folder)
    if FIT not in data:
        raise FileError(
            "the folder holds the weights of a network and no fit", code="NT-FILE-002", path=folder,
            expected=FIT, fix="neurotools.models.encoders.checkpoint.open_checkpoint opens the network",
        )  # fmt: skip
    checkpoint.parsed(data[WEIGHTS], folder / WEIGHTS)
    with xr.open_dataset(io.BytesIO(data[FIT]), engine="h5netcdf") as fit:
        fit = fit.load().drop_encoding()
    return fit.assign_attrs(folder=str(folder.resolve()))


def packed(fit: xr.Dataset) -> xr.DataTree:
    """A fit together with the files of its folder, for a result that is saved as one.

    Returns
    -------
    xarray.DataTree
        Groups ``fit`` and ``checkpoint``: ``content`` (byte) of all files end to end, ``size`` (file).
    """
    data = checkpoint.verified(Path(str(fit.attrs["folder"])))
    names = [*sorted(data), SUMS]
    parts = [*(data[name] for name in sorted(data)), (Path(str(fit.attrs["folder"])) / SUMS).read_bytes()]
    files = xr.Dataset(
        {
            "content": ("byte", np.frombuffer(b"".join(parts), dtype="uint8")),
            "size": ("file", np.array([len(part) for part in parts])),
        },
        coords={"file": np.array(names)},
    )
    plain = fit.drop_attrs(deep=False).assign_attrs({k: v for k, v in fit.attrs.items() if k != "folder"})
    return xr.DataTree.from_dict({"/fit": plain, "/checkpoint": files})


def unpacked(files: xr.Dataset) -> dict[str, bytes]:
    """Files of a checkpoint by name, as ``packed`` laid them end to end."""
    edges = np.concatenate([[0], np.cumsum(files["size"].to_numpy())])
    raw = files["content"].to_numpy().tobytes()
    names = files["file"].to_numpy().astype(str).tolist()
    return {name: raw[a:b] for name, a, b in zip(names, edges[:-1], edges[1:], strict=True)}


def opened(fit: xr.Dataset) -> Opened:
    """The network and all it needs, from the folder of a fit.

    Raises
    ------
    SchemaError
        It is no fit of an encoder.
    ResultError
        The folder is gone, or holds other weights than the fit was made with.
    """
    if not isinstance(fit, xr.Dataset) or "weights_sha256" not in fit.attrs:
        raise SchemaError("this is no fit of an encoder", found=type(fit).__name__,
                          expected="what fit, finetune or nt.encoders.open returned")  # fmt: skip
    folder = Path(str(fit.attrs.get("folder", "")))
    if not (folder / SUMS).is_file():
        raise ResultError(
            "the folder with the weights of this fit is not where it was", path=folder,
            fix="nt.encoders.open(folder) opens it where it lies now",
        )  # fmt: skip
    data = checkpoint.verified(folder)
    found = checkpoint.sha256(data[WEIGHTS])
    if found != fit.attrs["weights_sha256"]:
        raise ResultError(
            "the folder holds other weights than this fit was made with", path=folder, found=found,
            expected=fit.attrs["weights_sha256"], fix="nt.encoders.open(folder) opens what it holds now",
        )  # fmt: skip
    config = json.loads(data[CONFIG])
    recipe = recipe_of(config["architecture"])
    network = assembled(recipe, config, checkpoint.parsed(data[WEIGHTS], folder / WEIGHTS))
    return Opened(
        folder,
        config["architecture"],
        recipe,
        network,
        json.loads(data[PREPARATION]),
        config["target"],
        found,
    )


def assembled(recipe: Recipe, config: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> nn.Module:
    """The network of a configuration with its weights, in evaluation mode."""
    if config["format"] != FORMAT:
        raise ResultError("the checkpoint is of another format", found=config["format"], expected=FORMAT)
    settings = settings_from(recipe.settings, config["settings"])
    target = config["target"]
    if target is None:
        network = blank(recipe, settings)
    else:
        with torch.device("meta"):
            network = Headed(recipe, settings, head_from(target["head"]), Sizes(**target["sizes"]))
    network.load_state_dict({k: v.clone() for k, v in weights.items()}, strict=True, assign=True)
    return network.eval()


def head_from(values: Mapping[str, Any]) -> Head:
    """Settings of a head as they were saved."""
    plain = {key: value for key, value in values.items() if key not in ("type", "training")}
    training = {key: value for key, value in values["training"].items() if key != "type"}
    return settings_from(Head, {**plain, "training": settings_from(Training, training)})
