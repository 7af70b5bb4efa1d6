"""Spike counts as sentences: units in the order in which they fire, and when; and sentences as counts.

A window is ``history_bins`` of history and ``current_bins`` to be told. Bins come in the order of time, units
in the order of their rows inside a bin, and a count of k repeats its unit k times. Of a sentence that is too
long the last spikes are kept.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from neurotools.errors import SchemaError
from neurotools.models.encoders.neuroformer import SPECIAL, Inputs, NeuroformerSettings, Spikes

SOS, EOS, PAD = range(len(SPECIAL))  # behind the units, and behind the bins


def sentences(
    counts: Int[Tensor, "batch unit time"],
    settings: NeuroformerSettings,
    n_tokens: int,
    whole: bool = False,
    spare: int = 0,
) -> Spikes:
    """SOS, spikes, EOS and padding for each window; SOS stands in bin 0.

    Parameters
    ----------
    counts : torch.Tensor
    settings : NeuroformerSettings
    n_tokens : int
        Most tokens of a row, SOS and EOS among them.
    whole : bool
        Whether rows have that length in any case; else that of the longest.
    spare : int
        Padding behind all of them.
    """
    per_bin = counts.transpose(1, 2)  # time first: the order of the sentence
    n_batch, n_bins, n_units = per_bin.shape
    spike = torch.repeat_interleave(per_bin.flatten())
    row, rest = spike // (n_bins * n_units), spike % (n_bins * n_units)
    total = per_bin.flatten(1).sum(1)
    place = torch.arange(len(spike), device=counts.device) - (total.cumsum(0) - total)[row]
    kept = total.clamp_max(n_tokens - 2)
    place = place - (total - kept)[row]  # below 0: one of the first spikes of too many
    row, rest, place = (part[place >= 0] for part in (row, rest, place))
    length = spare + (n_tokens if whole else int(kept.max()) + 2)
    unit = counts.new_full((n_batch, length), settings.n_units + PAD)
    when = counts.new_full((n_batch, length), settings.n_bins + PAD)
    every = torch.arange(n_batch, device=counts.device)
    unit[:, 0], when[:, 0] = settings.n_units + SOS, 0
    unit[row, place + 1], when[row, place + 1] = rest % n_units, rest // n_units
    unit[every, kept + 1], when[every, kept + 1] = settings.n_units + EOS, settings.n_bins + EOS
    return Spikes(unit, when)


def without_last(spikes: Spikes) -> Spikes:
    """What a network is given."""
    return Spikes(spikes.unit[:, :-1], spikes.bin[:, :-1])


def without_first(spikes: Spikes) -> Spikes:
    """What it is to say."""
    return Spikes(spikes.unit[:, 1:], spikes.bin[:, 1:])


def spike_counts(spikes: Spikes, settings: NeuroformerSettings) -> Int[Tensor, "batch unit time"]:
    """Counts of the window from sentences; what is no spike is passed over."""
    here = (spikes.unit < settings.n_units) & (spikes.bin < settings.current_bins)
    row = torch.arange(len(here), device=here.device)[:, None].expand_as(here)[here]
    found = spikes.unit.new_zeros(len(here), settings.n_units, settings.current_bins)
    one = torch.ones_like(row)
    return found.index_put_((row, spikes.unit[here], spikes.bin[here]), one, accumulate=True)


# ---- rows of a window -------------------------------------------------------------------------------------
def read(
    x: Float[Tensor, "window row time"], settings: NeuroformerSettings
) -> tuple[Inputs, Spikes, Float[Tensor, "window predicted"]]:
    """What the network is given of windows, what it is to say, and behaviours it is to tell.

    A behaviour's value is its mean over the bins that are told; its time is counted from their middle.
    """
    counts = whole_numbers(x[:, : settings.n_units])
    history, current = counts.split([settings.history_bins, settings.current_bins], -1)
    seen = settings.padding == "seen"
    row = sentences(current, settings, settings.current_tokens, seen, spare=1)  # EOS is given, too
    past = sentences(history, settings, settings.history_tokens, seen)
    value = x[:, settings.n_units :, -settings.current_bins :].mean(-1)
    order = sorted((*settings.behaviour, *settings.predicted))
    behaviour, told = (
        value[:, [order.index(name) for name in names]] for names in (settings.behaviour, settings.predicted)
    )
    inputs = Inputs(without_last(row), past, frames(x, settings), behaviour, torch.zeros_like(behaviour))
    return inputs, without_first(row), told


def frames(x: Float[Tensor, "window row time"], settings: NeuroformerSettings) -> Tensor | None:
    """Frames of the stimulus up to the end of the window, each the last bin of its stretch."""
    if not settings.stimulus:
        return None
    n_frames, height, breadth = settings.stimulus
    stretch = x.shape[-1] // n_frames
    pixels = x[:, -height * breadth :, x.shape[-1] - stretch * n_frames :]
    return pixels[..., stretch - 1 :: stretch].transpose(1, 2).unflatten(-1, (height, breadth))


def whole_numbers(values: Float[Tensor, "window unit time"]) -> Int[Tensor, "window unit time"]:
    """Counts as whole numbers.

    Raises
    ------
    SchemaError
        A value is negative or no whole number.
    """
    rounded = values.round()
    if bool((rounded != values).any()) or bool((values < 0).any()):
        wrong: Any = values[(rounded != values) | (values < 0)][0]
        raise SchemaError(
            "windows of spikes hold counts, and these are none", code="NT-DATA-008",
            found=f"{float(wrong):g}", expected="whole numbers from 0",
            fix="nt.encoders.spike_windows(nt.bin_spikes(recording, width_s=0.01), ...) makes such windows",
        )  # fmt: skip
    return rounded.long()


def padded(spikes: Spikes, settings: NeuroformerSettings, length: int) -> Spikes:
    """Rows made longer by padding."""
    extra = length - spikes.unit.shape[1]
    return Spikes(
        functional.pad(spikes.unit, (0, extra), value=settings.n_units + PAD),
        functional.pad(spikes.bin, (0, extra), value=settings.n_bins + PAD),
    )
