"""Weights of encoders: foreign names translated with nothing left over, folders verified on opening.

A checkpoint is a folder: ``model.safetensors`` (numbers alone, no code), ``config.json`` (which network, with
which settings) and ``SHA256SUMS``, which ``sha256sum -c`` reads, too. A file that holds pickled objects is
never opened.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from neurotools import provenance
from neurotools._version import __version__
from neurotools.errors import FileError, ResultError, SettingsError, lookup
from neurotools.models.encoders import duin, elm, neuroformer, neuroformer_names, neurogpt

WEIGHTS, CONFIG, SUMS = "model.safetensors", "config.json", "SHA256SUMS"
FORMAT = 1

# (a foreign name as a regular expression, our name, how the numbers change)
Names = Sequence[tuple[str, str, str]]


# ---- the networks there are -----------------------------------------------------------------------------
@dataclass(frozen=True)
class Architecture:
    """A network, the settings it is made from, and the names its weights have in the authors' files."""

    settings: type
    network: Callable[[Any], nn.Module]
    names: Callable[[Any], Names]


ARCHITECTURES = {
    "neurogpt": Architecture(
        neurogpt.NeuroGPTSettings, neurogpt.NeuroGPTNetwork, lambda _: neurogpt.NETWORK_NAMES
    ),
    "neurogpt-classifier": Architecture(
        neurogpt.NeuroGPTSettings, neurogpt.NeuroGPTClassifier, lambda _: neurogpt.CLASSIFIER_NAMES
    ),
    "neurogpt-conformer-classifier": Architecture(
        neurogpt.NeuroGPTSettings, neurogpt.ConformerClassifier, lambda _: neurogpt.CONFORMER_CLASSIFIER_NAMES
    ),
    "elm": Architecture(elm.ELMSettings, elm.ELMNetwork, elm.author_names),
    "neuroformer": Architecture(
        neuroformer.NeuroformerSettings, neuroformer.NeuroformerNetwork, neuroformer_names.author_names
    ),
    "duin-vqvae": Architecture(duin.DuINSettings, duin.DuINVQVAE, lambda _: duin.VQVAE_NAMES),
    "duin-mae": Architecture(duin.DuINSettings, duin.DuINMAE, lambda _: duin.MAE_NAMES),
    "duin-classifier": Architecture(duin.DuINSettings, duin.DuINClassifier, lambda _: duin.CLASSIFIER_NAMES),
}


def build(architecture: str, settings: Any, seed: int = 0) -> nn.Module:
    """Make a network with random weights; one seed gives one network and disturbs no other draw.

    Parameters
    ----------
    architecture : str
        A name in ``ARCHITECTURES``.
    settings : dataclass
        An instance of that architecture's settings.
    seed : int
    """
    network = checked(architecture, settings).network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network(settings)


def blank(architecture: str, settings: Any) -> nn.Module:
    """Make a network that has names, shapes and types, and no numbers yet."""
    with torch.device("meta"):
        return checked(architecture, settings).network(settings)


def checked(architecture: str, settings: Any) -> Architecture:
    """Find the architecture that these settings are of."""
    made = lookup("architecture", architecture, ARCHITECTURES)
    if not isinstance(settings, made.settings):
        raise SettingsError(
            f"{architecture} is made from other settings",
            found=type(settings).__name__,
            expected=made.settings.__name__,
        )
    return made


# ---- foreign weights --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Converted:
    """Weights under our names, and what became of each foreign one.

    Attributes
    ----------
    weights : dict
        Our name -> tensor; exactly the state of the network.
    coverage : tuple of tuples
        (foreign name, our name, how the numbers changed), sorted; "unused" ones have an empty name of ours.
    """

    weights: dict[str, Tensor]
    coverage: tuple[tuple[str, str, str], ...]


def convert(architecture: str, settings: Any, tensors: Mapping[str, Tensor], prefix: str = "") -> Converted:
    """Translate the authors' weights; every foreign and every one of our names must be accounted for.

    Parameters
    ----------
    architecture : str
        A name in ``ARCHITECTURES``.
    settings : dataclass
        Sizes of the network that the weights belong to.
    tensors : mapping of str to torch.Tensor
        Weights under the authors' names, as ``read_weights`` returns them.
    prefix : str
        What stands before every name (``"module."``).

    Raises
    ------
    FileError
        A name is unknown, doubled or missing, or a shape or type differs; the message lists them all.
    """
    names = checked(architecture, settings).names(settings)
    ours = blank(architecture, settings).state_dict()
    weights: dict[str, Tensor] = {}
    coverage, problems = [], []
    for foreign in sorted(tensors):
        try:
            name, how = translated(foreign, names, prefix)
            coverage.append((foreign, name, how))
            for one in name.split():  # two parts of ours may share what is one tensor there
                if one in weights or one not in ours:
                    raise FileError("its place is taken" if one in weights else "no place for it")
                weights[one] = changed(tensors[foreign], ours[one], how)
            if how == "empty" and tensors[foreign].numel():
                raise FileError(f"{tensors[foreign].numel()} values where none belong")
        except FileError as error:
            problems.append(f"{foreign}: {error.problem}")
    problems += [f"{name}: missing" for name in sorted(set(ours) - set(weights))]
    if problems:
        raise FileError(
            f"the weights do not belong to this {architecture}: {len(problems)} of them do not fit",
            code="NT-FILE-008",
            found="; ".join(problems[:8]) + ("; ..." if len(problems) > 8 else ""),
            expected=f"{len(ours)} tensors that the settings ask for",
            fix="check the settings; a file of another version needs names of its own",
        )
    return Converted(weights, tuple(coverage))


def translated(foreign: str, names: Names, prefix: str = "") -> tuple[str, str]:
    """Our name of a foreign one, and how its numbers change."""
    if foreign.startswith(prefix):
        for pattern, ours, how in names:
            if found := re.fullmatch(pattern, foreign.removeprefix(prefix)):
                return found.expand(ours), how
    raise FileError("no such name is known")


def changed(tensor: Tensor, like: Tensor, how: str) -> Tensor:
    """Numbers in the layout and type of ours; what is not floating has to fit exactly."""
    tensor = CHANGES[how](tensor, like)
    if tensor.shape != like.shape:
        raise FileError(f"shape {tuple(tensor.shape)} in place of {tuple(like.shape)}")
    if tensor.dtype != like.dtype and not (tensor.is_floating_point() and like.is_floating_point()):
        raise FileError(f"type {tensor.dtype} in place of {like.dtype}")
    return tensor.detach().to("cpu", like.dtype).clone(memory_format=torch.contiguous_format)


def as_flags(tensor: Tensor, like: Tensor) -> Tensor:
    """Zeros and ones, in whatever type, as booleans."""
    if not bool(((tensor == 0) | (tensor == 1)).all()):
        raise FileError("values other than 0 and 1 where flags belong")
    return tensor.bool()


CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "same": lambda tensor, like: tensor,
    "transposed": lambda tensor, like: tensor.T,
    "flat": lambda tensor, like: tensor.flatten(),
    "first": lambda tensor, like: tensor.squeeze(0),
    "squeezed": lambda tensor, like: tensor.squeeze(-1),
    "flags": as_flags,
    # (inputs * outputs, subject) -> (subject, inputs, outputs)
    "by_subject": lambda tensor, like: tensor.T.unflatten(1, tuple(like.shape[1:])),
}


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a safetensors file; anything that could hold code is refused unopened.

    Raises
    ------
    FileError
        There is no such file, it is pickled, or it is no whole safetensors file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError("there is no such file of weights", code="NT-FILE-001", path=path)
    return parsed(path.read_bytes(), path)


def parsed(data: bytes, path: Path) -> dict[str, Tensor]:
    """Tensors from the bytes of a safetensors file."""
    refuse_pickles(data, path)
    try:
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise FileError(
            f"the weights are cut short or no safetensors file ({error})", code="NT-FILE-003", path=path
        ) from error


def refuse_pickles(data: bytes, path: Path) -> None:
    """Raise where a file that should hold numbers could hold code."""
    # a pickle starts with 0x80 and its protocol; torch.save wraps one in a zip archive
    if data[:2] == b"PK" or (data[:1] == b"\x80" and data[1:2] <= b"\x05"):
        raise FileError(
            "the weights are pickled, and a pickle can run code when it is opened",
            code="NT-FILE-007",
            path=path,
            fix="where you trust the file, write its weights with safetensors.torch.save_file",
        )


# ---- our own checkpoints -----------------------------------------------------------------------------------
def save_checkpoint(folder: str | Path, architecture: str, network: Any) -> Path:
    """Write a network and its settings as a folder, whole or not at all.

    Parameters
    ----------
    folder : path
        A checkpoint there is replaced once the new one is complete; a folder of anything else is refused.
    architecture : str
        A name in ``ARCHITECTURES``.
    network : torch.nn.Module
        Made from the settings in its attribute ``settings``.
    """
    lookup("architecture", architecture, ARCHITECTURES)
    config = {
        "format": FORMAT,
        "architecture": architecture,
        "settings": provenance.settings_dict(network.settings),
        "neurotools": __version__,
        "torch": torch.__version__,
    }
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    text = json.dumps(config, indent=1, sort_keys=True) + "\n"
    return write_files(folder, {CONFIG: text, WEIGHTS: safetensors.torch.save(state)})


def write_files(folder: str | Path, files: Mapping[str, bytes | str]) -> Path:
    """Write the files of a checkpoint and their hashes, whole or not at all.

    Raises
    ------
    ResultError
        The folder exists and is no checkpoint.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / SUMS).is_file():
        raise ResultError(
            "the folder exists and is no checkpoint, so it is left as it is", code="NT-OUT-002", path=folder
        )
    with provenance.atomic(folder) as staged:
        staged.mkdir()
        for name, content in files.items():
            (staged / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        sums = [f"{provenance.file_hash(staged / name)}  {name}\n" for name in sorted(files)]
        (staged / SUMS).write_text("".join(sums), encoding="utf-8", newline="\n")
    return folder


def open_checkpoint(folder: str | Path) -> nn.Module:
    """Rebuild the network of a folder, in evaluation mode, after its hashes were verified.

    Raises
    ------
    FileError
        There is no checkpoint.
    ResultError
        A file is missing or was changed, or the folder was written by a later version.
    """
    folder = Path(folder)
    data = verified(folder)
    config = json.loads(data[CONFIG])
    if config["format"] != FORMAT:
        raise ResultError(
            "the checkpoint is of another format", path=folder, found=config["format"], expected=FORMAT
        )
    made = lookup("architecture", config["architecture"], ARCHITECTURES)
    network = blank(config["architecture"], settings_from(made.settings, config["settings"]))
    weights = parsed(data[WEIGHTS], folder / WEIGHTS)
    # tensors take the place of ours, so that they keep their precision
    network.load_state_dict(
        {name: value.clone() for name, value in weights.items()}, strict=True, assign=True
    )
    return network.eval()


def settings_from(kind: type, values: Mapping[str, Any]) -> Any:
    """Settings as they were saved; JSON knows no tuples, the settings know no lists."""
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(set(values) - known):
        raise ResultError("the checkpoint has settings that this version does not know", found=unknown)
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def verified(folder: Path) -> dict[str, bytes]:
    """The very bytes whose hashes were checked, by the name of their file."""
    if not (folder / SUMS).is_file():
        raise FileError(
            "there is no checkpoint in this folder", code="NT-FILE-001", path=folder, expected=SUMS
        )
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    # names of files in this folder, and no paths that lead out of it
    if not {CONFIG, WEIGHTS} <= set(sums) or any(Path(name).name != name for name in sums):
        raise ResultError("the list of hashes is incomplete", path=folder / SUMS, found=sorted(sums))
    data = {}
    for name, digest in sums.items():
        file = folder / name
        data[name] = file.read_bytes() if file.is_file() else b""
        if sha256(data[name]) != digest:
            if name == WEIGHTS:
                refuse_pickles(data[name], file)
            raise ResultError(
                "a file of the checkpoint is missing or was changed",
                path=file,
                found=sha256(data[name]) if file.is_file() else "no such file",
                expected=digest,
                fix="copy the folder again from where it came",
            )
    return data


def sha256(data: bytes) -> str:
    """Hash of bytes."""
    return hashlib.sha256(data).hexdigest()
