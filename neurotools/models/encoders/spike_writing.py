"""What a Neuroformer says: spikes, one after the other until the sentence ends, and behaviour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from neurotools.errors import SchemaError, SettingsError, lookup
from neurotools.models.encoders import reading, spike_tokens
from neurotools.models.encoders.data import Data
from neurotools.models.encoders.neuroformer import Inputs, NeuroformerNetwork, Spikes
from neurotools.models.encoders.training import place_of

Pick = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def generate(
    model: Any,
    fit: xr.Dataset,
    windows: xr.DataArray,
    *,
    history: str = "recorded",
    temperature: float = 1.0,
    keep: float = 1.0,
    seed: int = 0,
) -> xr.DataArray:
    """Spikes that a Neuroformer expects in the told stretch of each window.

    Parameters
    ----------
    model : Encoder
    fit : xarray.Dataset
    windows : xarray.DataArray
        From ``nt.encoders.spike_windows``; their told stretches are not looked at, except behaviour and
        stimulus where the encoder sees them.
    history : {"recorded", "own"}
        What each window is told from: its recorded history; or what was written in the windows before it,
        from the first window's recorded history on. ``"own"`` needs one recording whose told stretches follow
        one another.
    temperature : float
        1 draws from the probabilities that were learned, below 1 closer to the likeliest; 0 takes it always.
    keep : float
        Units and bins are drawn among the likeliest that together have this probability.
    seed : int

    Returns
    -------
    xarray.DataArray
        Counts (window, unit, time), ``time`` over the told stretch. Bins never go back inside a sentence.

    Raises
    ------
    SettingsError
        The encoder is no spike transformer, or a number is out of range.
    SchemaError
        ``history="own"``, and the windows do not follow one another.
    """
    if not temperature >= 0 or not 0 < keep <= 1:
        raise SettingsError(
            "temperature is at least 0, and keep a share above 0",
            found=f"temperature={temperature}, keep={keep}",
        )
    write = lookup("history", history, HISTORIES)
    held, found, scale = reading.laid_out(model, fit, windows)
    network = held.body
    if not isinstance(network, NeuroformerNetwork):
        raise SettingsError("spikes are written by a Neuroformer", code="NT-SET-003", found=held.architecture)
    network.to(place_of(model.device)).eval()
    draw = torch.Generator().manual_seed(seed)
    pick = picker(network, temperature, keep, draw)
    with torch.inference_mode():
        values = write(network, found, scale, pick, model.at_once)
    settings = network.settings
    time = found.array["time"].to_numpy()[settings.history_bins :] if "time" in found.array.coords else None
    return xr.DataArray(
        values, dims=("window", "unit", "time"), name="spikes",
        coords={**found.coords(), "unit": np.array(found.names[: settings.n_units]),
                **({} if time is None else {"time": time})},
        attrs={"units": "count", "sfreq": found.sfreq, "history": history, "temperature": temperature,
               "weights_sha256": held.weights_sha256},
    )  # fmt: skip


def decode(model: Any, fit: xr.Dataset, windows: xr.DataArray) -> xr.Dataset:
    """Behaviours that a Neuroformer was fitted to tell (``predicted``), told from the spikes of each window.

    Parameters
    ----------
    model : Encoder
    fit : xarray.Dataset
        Of ``model.fit`` with ``predicted=("speed", ...)``.
    windows : xarray.DataArray
        From ``nt.encoders.spike_windows``, with the same rows. Those of the behaviours that are told are not
        looked at.

    Returns
    -------
    xarray.Dataset
        One variable (window) for each of them, in the unit of its row.

    Raises
    ------
    SettingsError
        The fit tells no behaviour.
    """
    held, found, scale = reading.laid_out(model, fit, windows)
    network = held.body
    if not isinstance(network, NeuroformerNetwork) or not network.settings.predicted:
        raise SettingsError(
            "this fit tells no behaviour", code="NT-SET-003", found=held.architecture,
            fix='create the encoder with predicted=("speed",), or finetune it with target="speed"',
        )  # fmt: skip

    def act(x: Tensor, subject: Tensor) -> Tensor:
        inputs, _, _ = spike_tokens.read(x, network.settings)
        return network.told(network(inputs).behaviour)

    values = reading.computed(model, held, found, scale, act).astype("float64")
    return xr.Dataset(
        {name: ("window", values[:, k]) for k, name in enumerate(network.settings.predicted)},
        coords=found.coords(),
    )


# ---- where the history comes from --------------------------------------------------------------------------
def from_recorded(
    network: NeuroformerNetwork, found: Data, scale: Any, pick: Pick, at_once: int
) -> np.ndarray:
    """Each window by itself."""
    place, parts = next(network.parameters()).device, []
    for first in range(0, found.n, at_once):
        which = np.arange(first, min(first + at_once, found.n))
        parts.append(told(network, found.tensor(which, scale, 0.0).to(place), pick))
    return np.concatenate(parts)


def from_own(network: NeuroformerNetwork, found: Data, scale: Any, pick: Pick, at_once: int) -> np.ndarray:
    """One window after the other, each from what was written before it."""
    settings = network.settings
    told_s = settings.current_bins / found.sfreq
    steps = np.diff(found.places.start)
    if len(np.unique(found.places.recording)) > 1 or (np.abs(steps - told_s) > 1e-6).any():
        raise SchemaError(
            "a history of its own needs one recording whose told stretches follow one another",
            code="NT-DATA-004", expected=f"windows every {told_s:g} s",
            fix="cut them with nt.encoders.spike_windows and its own hop_s",
        )  # fmt: skip
    place, units = next(network.parameters()).device, settings.n_units
    written = found.tensor(np.arange(1), scale, 0.0)[:, :units, : settings.history_bins]
    parts = []
    for k in range(found.n):
        x = found.tensor(np.arange(k, k + 1), scale, 0.0)
        x[:, :units, : settings.history_bins] = written
        parts.append(told(network, x.to(place), pick))
        longer = torch.cat([written, torch.from_numpy(parts[-1]).to(written)], -1)
        written = longer[..., -settings.history_bins :]
    return np.concatenate(parts)


HISTORIES = {"recorded": from_recorded, "own": from_own}


def told(network: NeuroformerNetwork, x: Float[Tensor, "window row time"], pick: Pick) -> np.ndarray:
    """Counts of the told stretch."""
    settings = network.settings
    hidden = x.clone()
    hidden[:, : settings.n_units, settings.history_bins :] = 0
    inputs, _, _ = spike_tokens.read(hidden, settings)
    row = sentences(network, inputs, pick)
    return spike_tokens.spike_counts(row, settings).cpu().numpy()


# ---- sentences ---------------------------------------------------------------------------------------------
def sentences(network: NeuroformerNetwork, inputs: Inputs, pick: Pick) -> Spikes:
    """SOS and what follows it, until EOS or until the sentence is full."""
    settings = network.settings
    sos, eos, pad = (settings.n_units + one for one in (spike_tokens.SOS, spike_tokens.EOS, spike_tokens.PAD))
    unit = inputs.history.unit.new_full((len(inputs.history.unit), 1), sos)
    when = torch.zeros_like(unit)
    over = torch.zeros_like(unit[:, 0], dtype=torch.bool)
    for _ in range(settings.current_tokens - 1):
        out = network(inputs._replace(current=Spikes(unit, when)))
        one, at = pick(out.unit[:, -1], out.bin[:, -1], when[:, -1])
        one, at = (torch.where(over, other, new) for other, new in ((pad, one), (settings.n_bins + 2, at)))
        over = over | (one == eos)
        unit, when = torch.cat([unit, one[:, None]], 1), torch.cat([when, at[:, None]], 1)
        if bool(over.all()):
            break
    return Spikes(unit, when)


def likeliest(unit: Tensor, when: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """The unit and the bin with the largest logits, whatever they are, as published."""
    return unit.argmax(-1), when.argmax(-1)


def picker(network: NeuroformerNetwork, temperature: float, keep: float, draw: torch.Generator) -> Pick:
    """Units or EOS, and bins of the window that do not go back."""
    settings = network.settings
    sos, pad = settings.n_units + spike_tokens.SOS, settings.n_units + spike_tokens.PAD

    def pick(unit: Tensor, when: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        unit = unit.clone()
        unit[:, [sos, pad]] = -torch.inf
        numbers = torch.arange(when.shape[-1], device=when.device)
        earliest = last.clamp_max(settings.current_bins - 1)[:, None]  # behind EOS nothing is looked at
        when = when.masked_fill((numbers < earliest) | (numbers >= settings.current_bins), -torch.inf)
        return tuple(drawn(part, temperature, keep, draw) for part in (unit, when))  # type: ignore[return-value]

    return pick


def drawn(
    logits: Float[Tensor, "window name"], temperature: float, keep: float, draw: torch.Generator
) -> Int[Tensor, " window"]:
    """One of the names."""
    if temperature == 0:
        return logits.argmax(-1)
    share = (logits.float() / temperature).softmax(-1).cpu()
    ordered, order = share.sort(-1, descending=True)
    # the likeliest one stays whatever its share
    ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= keep, 0.0)
    return order.gather(-1, torch.multinomial(ordered, 1, generator=draw))[:, 0].to(logits.device)
