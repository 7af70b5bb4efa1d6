"""Where an unfinished training stands, on disk: weights, the optimiser's moments, and a few numbers."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from neurotools import provenance
from neurotools.errors import ResultError

FOLDER, STATE, NOTES = "state", "state.safetensors", "state.json"


@dataclass
class State:
    """Where a training stands."""

    step: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)
    best_loss: float = math.inf
    best_step: int = 0
    waited: int = 0
    seconds: float = 0.0
    samples: int = 0
    done: bool = False


def write(
    folder: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    best: dict[str, Tensor],
    notes: dict[str, Any],
) -> None:
    """Write everything, whole or not at all."""
    tensors = {f"now/{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"best/{k}": v for k, v in best.items()}
    for name, parameter in network.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"{key}/{name}"] = value
    plain = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    with provenance.atomic(folder / FOLDER) as staged:
        staged.mkdir()
        (staged / STATE).write_bytes(safetensors.torch.save(plain))
        (staged / NOTES).write_text(json.dumps(notes), encoding="utf-8")


def read_notes(folder: Path, told: str) -> dict[str, Any] | None:
    """Numbers of the state in a folder, or None where there is none.

    Raises
    ------
    ResultError
        It is the state of other data or settings.
    """
    kept = folder / FOLDER
    if not kept.is_dir():
        return None
    notes = json.loads((kept / NOTES).read_text(encoding="utf-8"))
    if notes.pop("told") != told:
        raise ResultError(
            "an unfinished training of other data or settings lies here", code="NT-OUT-002",
            path=folder, fix="finish it with what it was begun with, or remove the folder",
        )  # fmt: skip
    return notes


def read_tensors(
    folder: Path, network: nn.Module, optimiser: torch.optim.Optimizer, place: torch.device
) -> dict[str, Tensor]:
    """Set weights and moments to those of the state; return the weights of the best look."""
    by_kind: dict[str, dict[str, Tensor]] = {}
    for key, value in safetensors.torch.load((folder / FOLDER / STATE).read_bytes()).items():
        kind, _, name = key.partition("/")
        by_kind.setdefault(kind, {})[name] = value.to(place)
    network.load_state_dict(by_kind.pop("now"))
    best = by_kind.pop("best", {})
    for name, parameter in network.named_parameters():
        moments = {kind: values[name] for kind, values in by_kind.items() if name in values}
        if moments:
            moments["step"] = moments["step"].cpu()
            optimiser.state[parameter] = moments
    return best


def forget(folder: Path) -> None:
    """Remove the state of a training that is over."""
    shutil.rmtree(folder, ignore_errors=True)
