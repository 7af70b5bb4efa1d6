"""How an ELM neuron is trained and read: it foretells the next sample of every channel from those before."""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Int
from torch import Tensor

from neurotools.models.encoders.elm import ELMNetwork, ELMSettings
from neurotools.models.encoders.recipe import Batch, Given, Parts, Recipe, Stage


def fitted(settings: ELMSettings, given: Given) -> ELMSettings:
    """One input line and one output for each channel; a step is a sample."""
    return replace(settings, n_inputs=given.n_channels, n_outputs=given.n_channels, step=1000.0 / given.sfreq)


def next_sample(network: ELMNetwork, batch: Batch) -> Parts:
    """Squared error of the next sample, beside that of the sample before."""
    x = batch.x.flatten(0, 1).transpose(1, 2)
    error = (network(x[:, :-1]) - x[:, 1:]).float().square().mean()
    return {"loss": error, "loss_of_last_sample": (x[:, 1:] - x[:, :-1]).float().square().mean()}


def layers(network: ELMNetwork, x: Tensor, subject: Int[Tensor, " window"]) -> list[Tensor]:
    """The input over time, and the memory after each sample."""
    x = x.transpose(1, 2)
    return [x, network.run(x).memory]


ELM = Recipe(
    settings=ELMSettings,
    network=ELMNetwork,
    fitted=fitted,
    layers=layers,
    stages=(Stage("next_sample", next_sample),),
    foreign=("elm",),
    summary="The expressive leaky memory neuron (Spieler et al. 2024, ICLR), written from its equations. "
    "The authors' code and weights are under the MIT licence.",
)
