"""What an architecture tells the frame, and the table of those there are.

A recipe holds functions and a table of stages; the frame (``encoder``) reads windows, keeps splits apart,
trains (``training``), writes folders (``folder``) and asks the recipe for nothing else.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neurotools.errors import SettingsError, lookup

Parts = dict[str, Tensor]


class Batch(NamedTuple):
    """Samples that a network sees at once."""

    x: Float[Tensor, "sample window channel time"]  # standardised; windows in the order they were recorded
    subject: Int[Tensor, " sample"]
    target: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        target = None if self.target is None else self.target.to(device)
        return Batch(self.x.to(device), self.subject.to(device), target)


class Given(NamedTuple):
    """What the data decides about the sizes of a network."""

    n_channels: int
    n_times: int
    sfreq: float
    n_subjects: int
    sequence: int  # windows of one training sample
    step: int = 0  # samples from the start of one window to that of the next
    names: tuple[str, ...] = ()  # of the channels, in their order


def nothing(network: Any, batch: Batch) -> None:
    """Nothing to do."""


@dataclass(frozen=True)
class Stage:
    """One training run of a part of the network.

    Attributes
    ----------
    name : str
    loss : callable
        (network, batch) -> numbers by name; ``"loss"`` is minimised, the others are written down beside it.
        Where a loss has no scale of its own, ``"unexplained"`` chooses the best look in its place.
    part : str
        Dotted name of the part that is trained; all else is held fixed, in evaluation mode. Empty: the whole.
    begin : callable
        (network, batch), once before the first step (a codebook that starts from data).
    """

    name: str
    loss: Callable[[Any, Batch], Parts]
    part: str = ""
    begin: Callable[[Any, Batch], None] = nothing


@dataclass(frozen=True)
class Recipe:
    """Everything the frame asks of an architecture.

    Attributes
    ----------
    settings : type
        Frozen dataclass of plain values that the network is made from.
    network : callable
        settings -> torch.nn.Module, with ``settings`` as an attribute.
    fitted : callable
        (settings, given) -> settings with the sizes that the data decides; raises where they cannot fit.
    layers : callable
        (network, x (window, channel, time), subject (window)) -> list of (window, token, feature), the input
        of the first block first. Each window by itself: its row depends on no other.
    stages : tuple of Stage
        Self-supervised training, one after the other; none where the architecture only learns from targets.
    sequence : bool
        Whether a sample may be several windows that follow one another.
    by_subject : bool
        Whether there are weights for each subject, so that new ones are refused.
    foreign : tuple of str
        Architectures of ``checkpoint`` in whose names the authors' weights come.
    summary : str
        One sentence for the card: the paper, and the licences of the authors' code and weights.
    tokenizer : callable
        network -> what ``tokenizer.json`` says about discrete codes.
    repeats : bool
        Whether windows of different times can hold the same numbers (few spikes in short windows), so that
        equal ones are no copies.
    """

    settings: type
    network: Callable[[Any], nn.Module]
    fitted: Callable[[Any, Given], Any]
    layers: Callable[[Any, Tensor, Tensor], list[Tensor]]
    stages: tuple[Stage, ...] = ()
    sequence: bool = False
    by_subject: bool = False
    foreign: tuple[str, ...] = ()
    summary: str = ""
    tokenizer: Callable[[Any], Mapping[str, Any]] = lambda network: MappingProxyType({})
    repeats: bool = False


# text, so that an architecture is imported when it is asked for
RECIPES = {
    "neurogpt": "neurotools.models.encoders.neurogpt_recipe:NEUROGPT",
    "duin": "neurotools.models.encoders.duin_recipe:DUIN",
    "duin-vqvae": "neurotools.models.encoders.duin_recipe:DUIN_VQVAE",
    "duin-mae": "neurotools.models.encoders.duin_recipe:DUIN_MAE",
    "elm": "neurotools.models.encoders.elm_recipe:ELM",
    "neuroformer": "neurotools.models.encoders.neuroformer_recipe:NEUROFORMER",
    "stmae": "neurotools.models.encoders.stmae_recipe:STMAE_RECIPE",
    "braindecode": "neurotools.models.encoders.braindecode_recipe:BRAINDECODE",
}


def recipe_of(architecture: str) -> Recipe:
    """Find a recipe by its name in the table, or one's own by ``"module:NAME"``.

    Raises
    ------
    SettingsError
        There is no such name, or what stands there is no recipe.
    """
    own = ":" in architecture
    target = architecture if own else lookup("architecture", architecture, RECIPES)
    module, _, name = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        if not own:
            raise
        raise SettingsError(f"the recipe cannot be imported: {error}", found=architecture) from error
    if not isinstance(found, Recipe):
        raise SettingsError("this is no recipe", found=f"{architecture}: {type(found).__name__}")
    return found


def build(recipe: Recipe, settings: Any, seed: int) -> nn.Module:
    """Make a network with random weights; one seed gives one network and disturbs no other draw."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return recipe.network(settings)


def blank(recipe: Recipe, settings: Any) -> nn.Module:
    """Make a network that has names, shapes and types, and no numbers yet."""
    with torch.device("meta"):
        return recipe.network(settings)
