"""How Neuro-GPT is trained and read: hidden chunks predicted in one pass, features from the conformer.

A sample is a sequence of windows that follow one another, each a whole number of chunks. Features are those
of the conformer alone, so that a window's row does not depend on its neighbours.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neurotools.errors import SchemaError
from neurotools.models.encoders.neurogpt import NeuroGPTNetwork, NeuroGPTSettings
from neurotools.models.encoders.recipe import Batch, Given, Parts, Recipe, Stage


def fitted(settings: NeuroGPTSettings, given: Given) -> NeuroGPTSettings:
    """Channels as in the data; windows must be a whole number of chunks, where the settings say how long."""
    settings = replace(settings, chunk_samples=settings.chunk_samples or given.n_times)
    per_window, rest = divmod(given.n_times, settings.chunk_samples)
    if rest or not per_window:
        raise SchemaError(
            "windows must be a whole number of chunks",
            code="NT-DATA-005",
            found=f"{given.n_times} samples ({given.n_times / given.sfreq:g} s)",
            expected=f"a multiple of {settings.chunk_samples} samples",
            fix="cut windows of that length, or create the encoder with chunk_samples=",
        )
    return replace(settings, n_channels=given.n_channels, n_chunks=per_window)


def chunks_of(settings: NeuroGPTSettings, x: Tensor) -> Float[Tensor, "sample chunk channel time"]:
    """Windows of each sample, cut into chunks and laid end to end."""
    cut = x.unflatten(-1, (-1, settings.chunk_samples))  # sample window channel chunk time
    return cut.transpose(2, 3).flatten(1, 2)


def hidden_chunks(network: NeuroGPTNetwork, batch: Batch) -> Parts:
    """The published objective in one pass, and what tells a collapse: variance and rank of features.

    The target is the encoder's own feature, so a loss falls with the features' variance; ``unexplained`` is
    the share of that variance that is not foretold.
    """
    features = network.features(chunks_of(network.settings, batch.x))
    error = network.predict_hidden(features) - features[:, 1:].detach()
    flat = features.detach().flatten(0, 1).float()
    loss, variance = error.float().square().mean(), flat.var(0).mean()
    return {
        "loss": loss,
        "unexplained": loss.detach() / variance.clamp_min(1e-12),
        "feature_variance": variance,
        "effective_rank": effective_rank(flat),
    }


def effective_rank(features: Float[Tensor, "sample feature"]) -> Float[Tensor, ""]:
    """Number of dimensions in use: exp of the entropy of the singular values of centred features.

    Roy and Vetterli (2007), EUSIPCO, "The effective rank: a measure of effective dimensionality", def. 1.
    """
    values = torch.linalg.svdvals(features - features.mean(0))
    share = values / values.sum().clamp_min(1e-30)
    return torch.special.entr(share).sum().exp()


def layers(network: NeuroGPTNetwork, x: Tensor, subject: Int[Tensor, " window"]) -> list[Tensor]:
    """Patches of all chunks of a window, before the first block and after each."""
    chunks = chunks_of(network.settings, x[:, None])
    n = chunks.shape[1]
    encoder = network.encoder
    patches = encoder.project(encoder.pooled(chunks.flatten(0, 1))).transpose(-1, -2)
    found = [patches]
    for block in encoder.blocks:
        found.append(block(found[-1]))
    return [layer.unflatten(0, (-1, n)).flatten(1, 2) for layer in found]


NEUROGPT = Recipe(
    settings=NeuroGPTSettings,
    network=NeuroGPTNetwork,
    fitted=fitted,
    layers=layers,
    stages=(Stage("hidden_chunks", hidden_chunks),),
    sequence=True,
    foreign=("neurogpt",),
    summary="Neuro-GPT (Cui et al. 2024, IEEE ISBI), written from its description. The authors' code and "
    "weights are under GPL-3.0; none of their code is used here.",
)
