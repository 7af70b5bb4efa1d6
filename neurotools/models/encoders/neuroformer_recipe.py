"""How Neuroformer is trained and read: the next spike from those before, in windows of spike counts.

Windows come from ``nt.encoders.spike_windows``. A window's features are two tokens, whatever its number of
spikes: the mean over its sentence, and EOS, which has seen all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neurotools.errors import SchemaError
from neurotools.models.encoders import spike_tokens
from neurotools.models.encoders.neuroformer import (
    SPECIAL,
    NeuroformerNetwork,
    NeuroformerSettings,
    Spikes,
)
from neurotools.models.encoders.neuroformer_parts import Standard
from neurotools.models.encoders.recipe import Batch, Given, Parts, Recipe, Stage


def fitted(settings: NeuroformerSettings, given: Given) -> NeuroformerSettings:
    """Units, history and what is seen beside spikes as in the data."""
    beside = [name for name in given.names if name.startswith(("behaviour/", "stimulus/"))]
    acts = [name.removeprefix("behaviour/") for name in beside if name.startswith("behaviour/")]
    n_pixels = len(beside) - len(acts)
    if n_pixels and not settings.stimulus:
        settings = replace(settings, stimulus=(given.n_times, 1, n_pixels))
    seen = tuple(name for name in acts if name not in settings.predicted)
    settings = replace(settings, n_units=len(given.names) - len(beside), behaviour=seen)
    rows = list(given.names[settings.n_units :])
    if rows != list(settings.rows):
        raise SchemaError(
            "rows that are no units are not those of the settings", code="NT-DATA-005",
            found=", ".join(rows[:10]) or "none", expected=", ".join(settings.rows[:10]) or "none",
            fix="nt.encoders.spike_windows(counts, behaviour=..., stimulus=...) lays them down in order",
        )  # fmt: skip
    if given.n_times <= settings.current_bins or not settings.n_units:
        raise SchemaError(
            "windows need units, and history before the bins that are told", code="NT-DATA-005",
            found=f"{settings.n_units} units, {given.n_times} bins",
            expected=f"more than {settings.current_bins} bins (current_bins)",
            fix="create the encoder with current_bins=windows.attrs['window_bins']",
        )  # fmt: skip
    return replace(settings, history_bins=given.n_times - settings.current_bins)


def next_spikes(network: NeuroformerNetwork, batch: Batch) -> Parts:
    """The published objective, and how often the next unit is named right."""
    inputs, following, told = spike_tokens.read(batch.x.flatten(0, 1), network.settings)
    found = network(inputs)
    here = following.unit != network.settings.pad
    right = found.unit.detach().argmax(-1) == following.unit
    return {**network.parts(found, following, told), "unit_accuracy": right[here].float().mean()}


def start_scales(network: NeuroformerNetwork, batch: Batch) -> None:
    """Deviations of behaviours are those of the first batch."""
    inputs, _, told = spike_tokens.read(batch.x.flatten(0, 1), network.settings)
    for k, encoder in enumerate(network.behaviour):
        if isinstance(encoder.norm, Standard) and inputs.behaviour is not None:
            encoder.norm.start(inputs.behaviour[:, k])
    for k, scale in enumerate(network.predicted_norm):
        if isinstance(scale, Standard):
            scale.start(told[:, k])


def layers(network: NeuroformerNetwork, x: Tensor, subject: Int[Tensor, " window"]) -> list[Tensor]:
    """Mean and EOS of each window's sentence, before the first block and after each."""
    inputs, _, _ = spike_tokens.read(x, network.settings)
    return [
        torch.stack([network.mean(inputs.current, tokens), at_the_end(inputs.current, tokens, network)], 1)
        for tokens in network.through(inputs)
    ]


def at_the_end(
    spikes: Spikes, tokens: Float[Tensor, "window token width"], network: NeuroformerNetwork
) -> Float[Tensor, "window width"]:
    """The token of EOS."""
    last = (spikes.unit != network.settings.pad).sum(1) - 1
    return tokens[torch.arange(len(tokens), device=tokens.device), last]


def tokenizer(network: NeuroformerNetwork) -> Mapping[str, Any]:
    """How counts become tokens: everything that the numbers of tokens mean."""
    settings = network.settings
    return {
        "kind": "spikes in order of bin, then unit; a count of k repeats its unit",
        "n_units": settings.n_units,
        "units": f"0 to {settings.n_units - 1}: rows of a window; then " + ", ".join(SPECIAL),
        "bins": f"0 to {settings.n_bins - 1}: bin in its stretch; then " + ", ".join(SPECIAL),
        "current_bins": settings.current_bins,
        "history_bins": settings.history_bins,
        "current_tokens": settings.current_tokens,
        "history_tokens": settings.history_tokens,
        "kept": "the last spikes of a stretch that has too many",
        "behaviour": list(settings.behaviour),
        "predicted": list(settings.predicted),
    }


NEUROFORMER = Recipe(
    settings=NeuroformerSettings,
    network=NeuroformerNetwork,
    fitted=fitted,
    layers=layers,
    stages=(Stage("next_spikes", next_spikes, begin=start_scales),),
    foreign=("neuroformer",),
    repeats=True,
    tokenizer=tokenizer,
    summary="Neuroformer (Antoniades et al. 2024, ICLR), written from its description. The authors' code is "
    "under the MIT licence; no licence of their weights is known to us.",
)
