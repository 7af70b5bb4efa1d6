"""The authors' released weights as a checkpoint folder: every name used and accounted for, or it fails."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from neurotools.errors import FileError, ResultError, lookup
from neurotools.models.encoders import checkpoint, folder
from neurotools.models.encoders.checkpoint import ARCHITECTURES, Converted
from neurotools.models.encoders.faces import made
from neurotools.models.encoders.presets import PRESETS
from neurotools.models.encoders.recipe import recipe_of
from neurotools.provenance import stamp

WRAPPERS = ("model", "state_dict", "module")  # where training code puts weights among other things
CARD = """\
# {name}, converted

Weights of other people, translated from `{file}` (SHA-256 `{sha256}`): {used} of {total} foreign tensors are
in use, {unused} are known and not needed, and every tensor of the network was found.

- Code of the network: neurotools, BSD 3-Clause. {summary}
- Weights and the data they were trained on: under the authors' terms, which come with their file.
- The network equals the published one on recorded outputs of random weights; whether it does with these very
  weights has not been checked here.

For research. Not for diagnosis, and not for decisions about a person.
"""


def names() -> tuple[str, ...]:
    """What can be converted: encoders by name, and single networks."""
    presets = [name for name, preset in PRESETS.items() if recipe_of(preset.architecture).foreign]
    return (*presets, *ARCHITECTURES)


def convert(
    name: str, file: str | Path, out: str | Path, settings: Mapping[str, Any] | None = None, prefix: str = ""
) -> tuple[tuple[str, str, str], ...]:
    """Write foreign weights as a folder that ``nt.encoders.open`` reads.

    Parameters
    ----------
    name : str
        An encoder (``"neurogpt-base"``), or a single network (``"neurogpt-classifier"``), which is then
        opened by ``checkpoint.open_checkpoint``.
    file : path
        safetensors, or an archive of ``torch.save`` of which tensors alone are read.
    out : path
        A new folder.
    settings : mapping, optional
        Sizes that differ from those of the name (``n_memory=20``).
    prefix : str
        What stands before every foreign name (``"module."``).

    Returns
    -------
    tuple of (str, str, str)
        Foreign name, our name (empty where it is known and not needed), how the numbers changed.

    Raises
    ------
    FileError
        The file holds code, is cut short, or its tensors do not make up the network; all misfits are listed.
    ResultError
        ``out`` exists.
    """
    lookup("converter of weights", name, dict.fromkeys(names()))
    if Path(out).exists():
        raise ResultError("the folder exists already", code="NT-OUT-002", path=out, fix="give another name")
    tensors = read_foreign(Path(file))
    if name in PRESETS:
        return as_encoder(
            name, Path(file), Path(out), tensors=tensors, settings=dict(settings or {}), prefix=prefix
        )
    kind = ARCHITECTURES[name].settings
    known = {field.name: None for field in dataclasses.fields(kind)}
    for key in settings or {}:
        lookup(f"setting of {name}", key, known)
    sizes = kind(**dict(settings or {}))
    found = checkpoint.convert(name, sizes, tensors, prefix)
    checkpoint.save_checkpoint(out, name, filled(checkpoint.blank(name, sizes), found))
    return found.coverage


def as_encoder(
    name: str,
    file: Path,
    out: Path,
    *,
    tensors: dict[str, Tensor],
    settings: dict[str, Any],
    prefix: str,
) -> tuple[tuple[str, str, str], ...]:
    """A folder with a fit that has features and no curves."""
    preset = PRESETS[name]
    kinds = recipe_of(preset.architecture).foreign
    kind = max(
        kinds, key=lambda one: n_known(one, made(preset.architecture, preset.settings), tensors, prefix)
    )
    encoder = made(kind, {**preset.settings, **settings})
    found = checkpoint.convert(kind, encoder.network, tensors, prefix)
    network = filled(checkpoint.blank(kind, encoder.network), found)
    n_channels = getattr(encoder.network, "n_channels", None) or encoder.network.n_inputs
    preparation = {
        "channels": list(encoder.channels) or [str(k) for k in range(n_channels)],
        "sfreq": encoder.sfreq, "n_times": getattr(encoder.network, "n_samples", 0), "units": "",
        "scale": encoder.scale if encoder.scale != "fit" else "recording", "clip": encoder.clip,
        "shift": [], "width": [], "history": "[]",
        "subjects": [str(k) for k in range(getattr(encoder.network, "n_subjects", 1))],
    }  # fmt: skip
    sha256 = checkpoint.sha256(file.read_bytes())
    unused = sum(not ours for _, ours, _ in found.coverage)
    fit = xr.Dataset(
        coords={"channel": np.array(preparation["channels"])},
        attrs={"kind": "converted", "source_sha256": sha256},
    )
    folder.write(
        out, kind, network, preparation=preparation, fit=stamp(fit, "encoder", encoder),
        metrics={"kind": "converted", "source_sha256": sha256},
        card=CARD.format(
            name=name, file=file.name, sha256=sha256, total=len(found.coverage),
            used=len(found.coverage) - unused, unused=unused, summary=recipe_of(kind).summary,
        ),
    )  # fmt: skip
    return found.coverage


def n_known(kind: str, encoder: Any, tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many foreign names an architecture knows."""
    table, known = ARCHITECTURES[kind].names(encoder.network), 0
    for foreign in tensors:
        try:
            checkpoint.translated(foreign, table, prefix)
            known += 1
        except FileError:
            continue
    return known


def filled(network: nn.Module, found: Converted) -> nn.Module:
    """A blank network with converted weights."""
    network.load_state_dict(found.weights, strict=True, assign=True)
    return network.eval()


# ---- files ------------------------------------------------------------------------------------------------
def read_foreign(path: Path) -> dict[str, Tensor]:
    """Tensors by foreign name; of an archive of ``torch.save`` nothing but tensors is read.

    Raises
    ------
    FileError
        There is no such file, it holds anything that would have to be run, or it is cut short.
    """
    if not path.is_file():
        raise FileError("there is no such file of weights", code="NT-FILE-001", path=path)
    if path.suffix == ".safetensors" or not zipfile.is_zipfile(path):
        return checkpoint.read_weights(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # PyTorch's restricted reader raises many kinds; all of them mean that this is not plain tensors
        raise FileError(
            "the file holds more than tensors, which is never run, or is cut short",
            code="NT-FILE-007", path=path, found=str(error).split("\n", 1)[0][:200],
            fix="where you trust the file, write its weights with safetensors.torch.save_file",
        ) from error  # fmt: skip
    return plain_tensors(found, path)


def plain_tensors(found: Any, path: Path) -> dict[str, Tensor]:
    """The one mapping of names to tensors in a file."""
    if isinstance(found, Mapping):
        for name in WRAPPERS:
            if isinstance(found.get(name), Mapping):
                return plain_tensors(found[name], path)
        if found and all(isinstance(value, Tensor) for value in found.values()):
            return {str(name): value for name, value in found.items()}
    raise FileError(
        "the file has no mapping of names to tensors", code="NT-FILE-002", path=path,
        found=f"{type(found).__name__} of {', '.join(map(str, list(found)[:5]))}"
        if isinstance(found, Mapping) else type(found).__name__,
        expected="a state dict, alone or under " + ", ".join(WRAPPERS),
    )  # fmt: skip
