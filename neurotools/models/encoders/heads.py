"""Heads on an encoder: a target from the features of each window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from neurotools.errors import SettingsError, lookup
from neurotools.models.encoders.recipe import Batch, Parts, Recipe
from neurotools.models.encoders.training import Training

Layer = Float[Tensor, "window token feature"]


@dataclass(frozen=True, kw_only=True)
class Head:
    """What fine-tuning puts on an encoder.

    Parameters
    ----------
    hidden : tuple of int
        Hidden layers; none is a linear head. The published heads: (256, 32) for Neuro-GPT, (128,) for Du-IN.
    layer : int
        Whose features; -1 is the last.
    pool : {"flat", "mean", "max"}
        Over the tokens of a window.
    dropout : float
        Behind each hidden layer.
    output : {"plain", "sigmoid"}
        What stands before the cross-entropy of classes; a sigmoid, as published with Du-IN, only hinders.
    freeze : bool
        Train the head alone.
    training : Training
    """

    hidden: tuple[int, ...] = ()
    layer: int = -1
    pool: str = "flat"
    dropout: float = 0.5
    output: str = "plain"
    freeze: bool = False
    training: Training = field(default_factory=lambda: Training(steps=300, check_every=20, patience=5))

    def __post_init__(self) -> None:
        lookup("pool", self.pool, {name: None for name in POOLS if name != "none"})
        lookup("output of a head", self.output, OUTPUTS)


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda layer: layer.mean(1),
    "max": lambda layer: layer.amax(1),
    "flat": lambda layer: layer.flatten(1),
    "none": lambda layer: layer,
}


OUTPUTS: dict[str, Callable[[Tensor], Tensor]] = {"plain": lambda logits: logits, "sigmoid": torch.sigmoid}


def pooled(layers: list[Tensor], layer: int, pool: str) -> Tensor:
    """One row for each window, from the layer that was asked for."""
    act = lookup("pool", pool, POOLS)
    if not -len(layers) <= layer < len(layers):
        raise SettingsError(
            "there is no such layer", found=layer, expected=f"{-len(layers)} to {len(layers) - 1}"
        )
    return act(layers[layer])


class Sizes(NamedTuple):
    """What data and encoder decide about a head; ``mixed_from`` is 0 where no mixing is learned."""

    n_features: int
    n_outputs: int
    n_channels: int
    mixed_from: int = 0


class Headed(nn.Module):
    """An encoder, a mixing of channels where one is learned, and a head."""

    def __init__(self, recipe: Recipe, settings: Any, head: Head, sizes: Sizes) -> None:
        super().__init__()
        self.settings, self.head_settings, self.layers = settings, head, recipe.layers
        self.body = recipe.network(settings)
        mixed = (sizes.mixed_from, sizes.n_channels)
        self.mix = nn.Linear(*mixed, bias=False) if sizes.mixed_from else None
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise((sizes.n_features, *head.hidden)):
            layers += [nn.Linear(n_in, n_out), nn.ELU(), nn.Dropout(head.dropout)]
        last = head.hidden[-1] if head.hidden else sizes.n_features
        self.head = nn.Sequential(*layers, nn.Linear(last, sizes.n_outputs))

    def forward(
        self, x: Float[Tensor, "window channel time"], subject: Int[Tensor, " window"]
    ) -> Float[Tensor, "window output"]:
        """Logits of classes, or one value."""
        if self.mix is not None:
            x = self.mix(x.transpose(1, 2)).transpose(1, 2)
        head = self.head_settings
        found = self.head(pooled(self.layers(self.body, x, subject), head.layer, head.pool))
        return OUTPUTS[head.output](found) if found.shape[-1] > 1 else found


def class_loss(network: Headed, batch: Batch) -> Parts:
    """Cross-entropy and accuracy."""
    logits = network(batch.x.flatten(0, 1), batch.subject).float()
    assert batch.target is not None
    return {
        "loss": functional.cross_entropy(logits, batch.target),
        "accuracy": (logits.detach().argmax(-1) == batch.target).float().mean(),
    }


def value_loss(network: Headed, batch: Batch) -> Parts:
    """Squared error of a standardised value."""
    found = network(batch.x.flatten(0, 1), batch.subject).float()[:, 0]
    assert batch.target is not None
    return {"loss": (found - batch.target).square().mean()}


LOSSES = {"classes": class_loss, "value": value_loss}
