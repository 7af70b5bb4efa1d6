"""Neuroformer: a transformer over spikes, which names the next unit and when it fires.

The spikes of a short window are a sentence: SOS, the units in the order in which they fire, EOS. Each token
is the sum of a vector of its unit, of its bin in the window and of its place in the sentence. Causal
attention over the sentence, attention to the spikes before the window (history), to the stimulus and to
behaviour, then causal attention again; two heads name the next unit and its bin:

    loss = 3/4 (3/5 CE(unit) + 2/5 CE(bin)) + 1/4 contrast + sum over predicted behaviours of (y - y')^2

Antoniades et al. (2024), ICLR, "Neuroformer: multimodal and multitask generative pretraining for brain data";
the contrast follows van den Oord et al. (2018), arXiv 1807.03748, eq. 4, in one direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from neurotools.errors import SchemaError, SettingsError, lookup
from neurotools.models.encoders.neuroformer_parts import (
    BEHAVIOUR_NORMS,
    FIRST_WEIGHTS,
    PLACES,
    PREDICTED_NORMS,
    Standard,
    waves,
)

UNIT_SHARE, BIN_SHARE, CONTRAST_SHARE = 0.45, 0.30, 0.25
SPECIAL = ("SOS", "EOS", "PAD")  # behind the units, and behind the bins


# ---- settings -----------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class NeuroformerSettings:
    """Sizes of the network; the defaults are those of the published one without stimulus and behaviour.

    Parameters
    ----------
    n_units : int
        Units; 0 is a number that data will decide.
    current_bins, history_bins : int
        Bins of the window that is predicted, and of the history before it (10 ms each, as published).
    current_tokens, history_tokens : int
        Longest sentences, with SOS and EOS; of more spikes the last are kept.
    width, heads : int
    current_layers, history_layers, stimulus_layers, behaviour_layers, state_layers : int
        Blocks over the sentence, from it to history, to the stimulus and to behaviour, and over it again.
    stimulus : tuple of int
        Frames, rows and columns of the stimulus of one window; empty where there is none.
    stimulus_patch, stimulus_step : tuple of int
        Size of the pieces that a stimulus is cut into, and from one to the next; all at once by default.
    stimulus_self_layers : int
        Blocks over the pieces of the stimulus.
    behaviour, predicted : tuple of str
        Behaviours that are seen, and those that are told from the spikes.
    contrast : tuple of str
        What the sentence is aligned with: ``"stimulus"`` and names in ``behaviour``.
    temperature : float
        Of the contrast.
    padding : {"hidden", "seen"}
        Whether padding at the end of a history can be attended to; published: ``"seen"``.
    behaviour_norm : {"standard", "layer"}
        Behaviours in deviations from their mean; or, as published, behind a layer norm over the one number,
        so that its value is lost and only its time is seen.
    stimulus_place : {"sinusoid", "none"}
        How pieces of the stimulus know their place; published: ``"none"``.
    first_weights : {"small", "wide"}
        Normal with deviation 0.02 everywhere, as published; or one over the root of a layer's inputs, and 0.5
        for units, which learns faster what many spikes tell together.
    dropout, attention_dropout : float
        Of activations, and of attention; the latter keeps attention from its fused and much faster form.
    """

    n_units: int = 0
    current_bins: int = 5
    history_bins: int = 15
    current_tokens: int = 100
    history_tokens: int = 700
    width: int = 256
    heads: int = 8
    current_layers: int = 6
    history_layers: int = 6
    stimulus_layers: int = 6
    behaviour_layers: int = 4
    state_layers: int = 6
    stimulus: tuple[int, ...] = ()
    stimulus_patch: tuple[int, ...] = ()
    stimulus_step: tuple[int, ...] = ()
    stimulus_self_layers: int = 6
    behaviour: tuple[str, ...] = ()
    predicted: tuple[str, ...] = ()
    contrast: tuple[str, ...] = ()
    temperature: float = 0.5
    padding: str = "hidden"
    behaviour_norm: str = "standard"
    stimulus_place: str = "sinusoid"
    first_weights: str = "small"
    dropout: float = 0.2
    attention_dropout: float = 0.2

    def __post_init__(self) -> None:
        lookup("treatment of padding", self.padding, dict.fromkeys(("hidden", "seen")))
        lookup("norm of behaviour", self.behaviour_norm, BEHAVIOUR_NORMS)
        lookup("place of the stimulus", self.stimulus_place, PLACES)
        lookup("kind of first weights", self.first_weights, FIRST_WEIGHTS)
        known = ("stimulus",) * bool(self.stimulus) + self.behaviour
        for name in self.contrast if self.n_units else ():  # before that, data will say what there is
            lookup("contrast", name, dict.fromkeys(known))
        if self.width % self.heads or self.width % 4:
            raise SettingsError(
                "width must be a multiple of heads and of 4", code="NT-SET-003",
                found=f"width={self.width}, heads={self.heads}",
            )  # fmt: skip
        if min(self.current_bins, self.current_tokens - 2, self.history_tokens - 2) < 1:
            raise SettingsError(
                "a window needs a bin, and a sentence room for a spike between SOS and EOS",
                found=f"current_bins={self.current_bins}, current_tokens={self.current_tokens}, "
                f"history_tokens={self.history_tokens}",
            )  # fmt: skip
        if self.stimulus and len(self.stimulus) != 3:
            raise SettingsError(
                "a stimulus has frames, rows and columns", code="NT-SET-003", found=self.stimulus
            )

    @property
    def n_bins(self) -> int:
        """Bins that a token can name: 0 up to the longer of both windows."""
        return max(self.current_bins, self.history_bins) + 1

    @property
    def n_names(self) -> int:
        """Units, SOS, EOS and PAD."""
        return self.n_units + len(SPECIAL)

    @property
    def n_times(self) -> int:
        """Bins, SOS, EOS and PAD."""
        return self.n_bins + len(SPECIAL)

    @property
    def pad(self) -> int:
        """Number of PAD among the units."""
        return self.n_units + 2

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows of a window that are no units: behaviours by name, then pixels."""
        pixels = self.stimulus[1] * self.stimulus[2] if self.stimulus else 0
        named = [f"behaviour/{name}" for name in sorted((*self.behaviour, *self.predicted))]
        return (*named, *(f"stimulus/{k}" for k in range(pixels)))

    @property
    def n_channels(self) -> int:
        """Rows of a window."""
        return self.n_units + len(self.rows)

    @property
    def n_samples(self) -> int:
        """Bins of a window."""
        return self.current_bins + self.history_bins


class Spikes(NamedTuple):
    """Sentences of a batch: numbers of units and of bins, PAD at the end."""

    unit: Int[Tensor, "batch token"]
    bin: Int[Tensor, "batch token"]


class Inputs(NamedTuple):
    """What the network sees of each window."""

    current: Spikes  # without the last token
    history: Spikes
    frames: Float[Tensor, "batch frame row column"] | None = None
    behaviour: Float[Tensor, "batch behaviour"] | None = None  # in the order of the settings
    behaviour_time: Float[Tensor, "batch behaviour"] | None = None  # s


class Outputs(NamedTuple):
    """Logits of the next unit and bin, predicted behaviours, tokens, and what the contrast takes."""

    unit: Float[Tensor, "batch token name"]
    bin: Float[Tensor, "batch token time"]
    behaviour: Float[Tensor, "batch predicted"]
    tokens: Float[Tensor, "batch token width"]
    aligned: list[Tensor]


# ---- one block ----------------------------------------------------------------------------------------
class Block(nn.Module):
    """Attention from a normalised query to raw keys and values, a network over the width, a last norm."""

    def __init__(self, settings: NeuroformerSettings) -> None:
        super().__init__()
        width = settings.width
        self.heads, self.share = settings.heads, settings.attention_dropout
        self.norm_query, self.norm_feed, self.norm_out = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(
        self,
        x: Float[Tensor, "batch token width"],
        source: Float[Tensor, "batch source width"],
        visible: Bool[Tensor, "*mask source"] | None = None,
        kept: list[Tensor] | None = None,
    ) -> Float[Tensor, "batch token width"]:
        """One block; with a list in ``kept``, attention weights (batch, head, token, source) join it."""
        q, k, v = (
            layer(part).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, part in ((self.query, self.norm_query(x)), (self.key, source), (self.value, source))
        )
        mixed = self.attend(q, k, v, visible) if kept is None else self.shown(q, k, v, visible, kept)
        x = x + self.dropout(self.out(mixed.transpose(1, 2).flatten(-2)))
        x = x + self.dropout(self.down(functional.gelu(self.up(self.norm_feed(x)))))
        return self.norm_out(x)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None) -> Tensor:
        """Attention without its weights being stored."""
        share = self.share if self.training else 0.0
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=visible, dropout_p=share)

    def shown(self, q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None, kept: list[Tensor]) -> Tensor:
        """Attention with its weights, which stay in the graph."""
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if visible is not None:
            scores = scores.masked_fill(~visible, -torch.inf)
        kept.append(scores.softmax(-1))
        return kept[-1] @ v


# ---- what stands beside the spikes ------------------------------------------------------------------------
class TimeCode(nn.Module):
    """A vector for each bin, from its number through a small network."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inward, self.outward = nn.Linear(1, width // 2), nn.Linear(width // 2, width)

    def forward(self, number: Int[Tensor, "batch token"]) -> Float[Tensor, "batch token width"]:
        """Vectors."""
        return self.outward(functional.gelu(self.inward(number[..., None].to(self.inward.weight.dtype))))


class StimulusEncoder(nn.Module):
    """A film cut into pieces, one token each."""

    def __init__(self, settings: NeuroformerSettings) -> None:
        super().__init__()
        patch = cast(tuple[int, int, int], settings.stimulus_patch or settings.stimulus)
        step = cast(tuple[int, int, int], settings.stimulus_step or patch)
        self.shape, self.place = settings.stimulus, PLACES[settings.stimulus_place]
        self.cut = nn.Conv3d(1, settings.width, patch, step)
        self.norm = nn.LayerNorm(settings.width)

    def forward(
        self, frames: Float[Tensor, "batch frame row column"]
    ) -> Float[Tensor, "batch time height breadth width"]:
        """Tokens at their place in time, height and breadth."""
        if tuple(frames.shape[1:]) != tuple(self.shape):
            raise SchemaError(
                "the stimulus does not fit this network", code="NT-DATA-005",
                found=f"{tuple(frames.shape[1:])} frames, rows, columns", expected=f"{self.shape}",
            )  # fmt: skip
        pieces = functional.relu(self.norm(self.cut(frames[:, None]).movedim(1, -1)))
        return pieces + self.place(pieces)


class BehaviourEncoder(nn.Module):
    """One number as one token."""

    def __init__(self, settings: NeuroformerSettings) -> None:
        super().__init__()
        self.norm = BEHAVIOUR_NORMS[settings.behaviour_norm]()
        self.inward = nn.Linear(1, 2, bias=settings.behaviour_norm == "standard")
        self.outward = nn.Linear(2, settings.width, bias=settings.behaviour_norm == "standard")

    def forward(self, value: Float[Tensor, " batch"]) -> Float[Tensor, "batch width"]:
        """Tokens."""
        return self.outward(functional.gelu(self.inward(self.norm(value[:, None]))))


# ---- the whole --------------------------------------------------------------------------------------------
class NeuroformerNetwork(nn.Module):
    """Sentences of spikes to logits of the next spike."""

    def __init__(self, settings: NeuroformerSettings) -> None:
        super().__init__()
        self.settings, width = settings, settings.width
        self.names = nn.Embedding(settings.n_names, width)
        self.place = nn.Parameter(torch.zeros(settings.current_tokens, width))
        self.history_place = nn.Parameter(torch.zeros(settings.history_tokens, width))
        self.time, self.history_time = TimeCode(width), TimeCode(width)
        self.dropout = nn.Dropout(settings.dropout)
        film, seen = bool(settings.stimulus), bool(settings.behaviour)
        self.stimulus = StimulusEncoder(settings) if film else None
        self.behaviour = nn.ModuleList(BehaviourEncoder(settings) for _ in settings.behaviour)
        self.current_blocks = blocks(settings, settings.current_layers)
        self.stimulus_self_blocks = blocks(settings, settings.stimulus_self_layers * film)
        self.history_blocks = blocks(settings, settings.history_layers)
        self.stimulus_blocks = blocks(settings, settings.stimulus_layers * film)
        self.behaviour_blocks = blocks(settings, settings.behaviour_layers * seen)
        self.state_blocks = blocks(settings, settings.state_layers)
        self.align = nn.Linear(width, width, bias=False) if settings.contrast else None
        self.head_unit = nn.Linear(width, settings.n_names, bias=False)
        self.head_bin = nn.Linear(width, settings.n_times, bias=False)
        self.head_behaviour = nn.ModuleList(nn.Linear(width, 1) for _ in settings.predicted)
        scale = PREDICTED_NORMS[settings.behaviour_norm]
        self.predicted_norm = nn.ModuleList(scale() for _ in settings.predicted)
        self.apply(FIRST_WEIGHTS[settings.first_weights])

    def forward(self, inputs: Inputs, kept: list[Tensor] | None = None) -> Outputs:
        """Everything that is predicted; attention to history joins ``kept``, block by block."""
        aligned: list[Tensor] = []
        tokens = self.through(inputs, kept, aligned)[-1]
        mean = self.mean(inputs.current, tokens)
        told = [head(mean) for head in self.head_behaviour]
        behaviour = torch.cat(told, -1) if told else tokens.new_zeros(len(tokens), 0)
        return Outputs(self.head_unit(tokens), self.head_bin(tokens), behaviour, tokens, [mean, *aligned])

    def through(
        self, inputs: Inputs, kept: list[Tensor] | None = None, aligned: list[Tensor] | None = None
    ) -> list[Float[Tensor, "batch token width"]]:
        """Tokens of the window before the first block and after each."""
        aligned = [] if aligned is None else aligned
        found = [self.sentence(inputs.current)]
        visible = causal(found[0])
        for block in self.current_blocks:
            found.append(block(found[-1], found[-1], visible))
        past, seen = self.past(inputs.history), self.seen(inputs.history)
        for block in self.history_blocks:
            found.append(block(found[-1], past, seen, kept))
        film, acts = self.film(inputs, found[0], aligned), self.acts(inputs, aligned)
        for block in self.stimulus_blocks:
            found.append(block(found[-1], film))
        for block in self.behaviour_blocks:
            found.append(block(found[-1], acts))
        for block in self.state_blocks:
            found.append(block(found[-1], found[-1], visible))
        return found

    def mean(
        self, spikes: Spikes, tokens: Float[Tensor, "batch token width"]
    ) -> Float[Tensor, "batch width"]:
        """Mean over tokens; over those that are no padding, where that is hidden."""
        if self.settings.padding == "seen":
            return tokens.mean(1)
        here = (spikes.unit != self.settings.pad)[..., None].to(tokens.dtype)
        return (tokens * here).sum(1) / here.sum(1)

    def told(self, behaviour: Float[Tensor, "batch predicted"]) -> Float[Tensor, "batch predicted"]:
        """Predicted behaviours in their own units."""
        back = [
            scale.back(behaviour[:, k]) if isinstance(scale, Standard) else behaviour[:, k]
            for k, scale in enumerate(self.predicted_norm)
        ]
        return torch.stack(back, -1)

    def sentence(self, spikes: Spikes) -> Float[Tensor, "batch token width"]:
        """Tokens of the window."""
        n = spikes.unit.shape[1]
        return self.dropout(self.names(spikes.unit) + self.time(spikes.bin) + self.place[:n])

    def past(self, spikes: Spikes) -> Float[Tensor, "batch token width"]:
        """Tokens of the history."""
        n = spikes.unit.shape[1]
        return self.dropout(self.names(spikes.unit) + self.history_time(spikes.bin) + self.history_place[:n])

    def seen(self, spikes: Spikes) -> Bool[Tensor, "batch 1 1 token"] | None:
        """Which tokens of a history can be attended to."""
        if self.settings.padding == "seen":
            return None
        return (spikes.unit != self.settings.pad)[:, None, None]

    def film(
        self, inputs: Inputs, first: Tensor, aligned: list[Tensor]
    ) -> Float[Tensor, "batch piece width"] | None:
        """Tokens of the stimulus behind that of SOS."""
        if self.stimulus is None:
            return None
        pieces = self.stimulus(inputs.frames).flatten(1, 3)
        pieces = torch.cat([first[:, :1], self.dropout(pieces)], 1)
        for block in self.stimulus_self_blocks:
            pieces = block(pieces, pieces)
        if "stimulus" in self.settings.contrast:
            aligned.append(pieces.mean(1))
        return pieces

    def acts(self, inputs: Inputs, aligned: list[Tensor]) -> Float[Tensor, "batch behaviour width"] | None:
        """Tokens of behaviours, at their time and place in the list."""
        if not len(self.behaviour):
            return None
        width = self.settings.width
        value, time = cast(Tensor, inputs.behaviour), cast(Tensor, inputs.behaviour_time)
        found = torch.stack([act(value[:, k]) for k, act in enumerate(self.behaviour)], 1)
        found = found + waves(time, width)
        aligned += [
            found[:, k] for k, name in enumerate(self.settings.behaviour) if name in self.settings.contrast
        ]
        order = torch.arange(found.shape[1], device=found.device, dtype=found.dtype)
        half = torch.cat([waves(order, width // 2), waves(torch.zeros_like(order), width // 2)], -1)
        return found + half

    def loss(
        self, inputs: Inputs, following: Spikes, told: Float[Tensor, "batch predicted"] | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """Every part of the loss by name, with its weight; ``loss`` is their sum.

        ``following`` is the sentence without its first token, and ``told`` the behaviours to be predicted.
        """
        return self.parts(self(inputs), following, told)

    def parts(
        self, found: Outputs, following: Spikes, told: Float[Tensor, "batch predicted"] | None
    ) -> dict[str, Float[Tensor, ""]]:
        """The loss of what was predicted."""
        here = following.unit.flatten() != self.settings.pad
        parts = {
            "unit_loss": UNIT_SHARE * cross_entropy(found.unit, following.unit, here),
            "bin_loss": BIN_SHARE * cross_entropy(found.bin, following.bin, here),
        }
        if self.align is not None:
            parts["contrast_loss"] = CONTRAST_SHARE * self.contrast(found.aligned)
        for k, name in enumerate(self.settings.predicted):
            truth = self.predicted_norm[k](cast(Tensor, told)[:, k])
            parts[f"{name}_loss"] = (found.behaviour[:, k] - truth).square().mean()
        return {"loss": torch.stack([part.float() for part in parts.values()]).sum(), **parts}

    def contrast(self, aligned: list[Tensor]) -> Float[Tensor, ""]:
        """How badly a window's sentence, stimulus and behaviours tell one another from other windows'."""
        assert self.align is not None
        sides = [functional.normalize(self.align(one), dim=-1) for one in aligned]
        pairs = [one @ other.T / self.settings.temperature for one, other in combinations(sides, 2)]
        return torch.stack([(pair.logsumexp(1) - pair.diagonal()).mean() for pair in pairs]).mean()


def cross_entropy(logits: Tensor, truth: Tensor, here: Tensor) -> Float[Tensor, ""]:
    """Mean over tokens that are there."""
    return functional.cross_entropy(logits.flatten(0, 1)[here].float(), truth.flatten()[here])


def blocks(settings: NeuroformerSettings, number: int) -> nn.ModuleList:
    """Blocks one behind the other."""
    return nn.ModuleList(Block(settings) for _ in range(number))


def causal(tokens: Float[Tensor, "batch token width"]) -> Bool[Tensor, "token token"]:
    """Each token sees itself and what came before."""
    n = tokens.shape[1]
    return torch.ones(n, n, dtype=torch.bool, device=tokens.device).tril()
