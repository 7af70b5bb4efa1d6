"""Who listens to whom in a spike transformer: attention to history, corrected for rates and for chance.

A token of unit i that is told attends to tokens of units j in the history. Summed over all such pairs and
divided by their number, that is a matrix that high rates alone do not fill. What is left when the history is
one of another time (shifted by a second or more) has nothing to do with timing, and is taken away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn import functional

from neurotools.errors import SchemaError, SettingsError
from neurotools.models.encoders import reading, spike_tokens
from neurotools.models.encoders.data import Data
from neurotools.models.encoders.neuroformer import NeuroformerNetwork
from neurotools.models.encoders.training import place_of
from neurotools.progress import working

MEASURES = ("attention", "influence")


def attention_connectivity(
    model: Any,
    fit: xr.Dataset,
    windows: xr.DataArray,
    *,
    n_null: int = 20,
    min_shift_s: float = 1.0,
    seed: int = 0,
) -> xr.Dataset:
    """How much each unit's spikes are told from each other unit's spikes before them.

        A_ij = (attention from tokens of i to tokens of j) / (number of pairs of a token of i and one of j)

    over all windows, heads and blocks, a token of i being one whose next unit is i; from it the mean of the
    same with histories of other times, in units of their standard deviation. ``influence`` weighs attention
    by its gradient: how much log p(i) rises with it, which tells what a token is attended for.

    Attention says what a network reads, not what causes what: units with a common input are linked, too.

    Parameters
    ----------
    model : Encoder
    fit : xarray.Dataset
        Of ``model.fit`` on windows of the same units.
    windows : xarray.DataArray
        From ``nt.encoders.spike_windows``, in the order in which they were recorded; best are windows whose
        told stretch is one bin, so that all of a spike's past is in its history.
    n_null : int
        Histories shifted by as many different lags, at least 2.
    min_shift_s : float
        Smallest shift, in s, either way around; a recording goes round in a circle.
    seed : int
        Of the shifts.

    Returns
    -------
    xarray.Dataset
        ``attention`` and ``influence`` (unit, unit_to), the mean of shifted ones taken away; ``attention_z``
        and ``influence_z``, in their standard deviations; ``n_pairs``. ``unit`` sends. NaN where a pair never
        came together.

    Raises
    ------
    SettingsError
        The encoder is no spike transformer, or has no blocks over history.
    SchemaError
        No recording is long enough for such shifts.
    """
    held, found, scale = reading.laid_out(model, fit, windows)
    network = held.body
    if not isinstance(network, NeuroformerNetwork) or not len(network.history_blocks):
        raise SettingsError(
            "connectivity is read from a Neuroformer's attention to history", code="NT-SET-003",
            found=held.architecture, expected="neuroformer with history_layers of at least 1",
        )  # fmt: skip
    if n_null < 2:
        raise SettingsError("at least 2 shifts are needed for a deviation", found=n_null)
    network.to(place_of(model.device)).eval()
    others = shifts(found, n_null, min_shift_s, np.random.default_rng(seed))
    totals = []
    with working("attention") as show:
        for k, source in enumerate([np.arange(found.n), *others]):
            totals.append(gathered(network, found, source, scale, model.at_once))
            show((k + 1) / (n_null + 1), f"{k} of {n_null} shifts")
    return labelled(found, network.settings.n_units, np.stack(totals[1:]), totals[0])


def shifts(found: Data, n_null: int, min_shift_s: float, rng: np.random.Generator) -> list[np.ndarray]:
    """For each null, the window whose history each window is given: another one of its recording."""
    orders = []
    for name in np.unique(found.places.recording):
        mine = np.flatnonzero(found.places.recording == name)
        mine = mine[np.argsort(found.places.start[mine], kind="stable")]
        span = found.places.start[mine[-1]] - found.places.start[mine[0]]
        least = int(np.ceil(min_shift_s / max(span / max(len(mine) - 1, 1), 1e-12)))
        if len(mine) - 2 * least < n_null:
            raise SchemaError(
                "a recording is too short for its histories to be shifted", code="NT-DATA-010",
                found=f"{span:g} s", expected=f"more than {2 * min_shift_s:g} s and {n_null} windows",
            )  # fmt: skip
        lags = least + rng.choice(len(mine) - 2 * least, n_null, replace=False)
        orders.append((mine, lags))
    nulls = []
    for k in range(n_null):
        source = np.empty(found.n, dtype=int)
        for mine, lags in orders:
            source[mine] = np.roll(mine, lags[k])
        nulls.append(source)
    return nulls


def gathered(
    network: NeuroformerNetwork, found: Data, source: np.ndarray, scale: Any, at_once: int
) -> np.ndarray:
    """Sums of attention, of influence, and numbers of pairs, (3, sender, receiver)."""
    settings = network.settings
    total = np.zeros((3, settings.n_units, settings.n_units))
    place = next(network.parameters()).device
    for first in range(0, found.n, at_once):
        which = np.arange(first, min(first + at_once, found.n))
        x = found.tensor(which, scale, 0.0)
        past = found.tensor(source[which], scale, 0.0)
        spikes = (slice(None), slice(settings.n_units), slice(settings.history_bins))
        x[spikes] = past[spikes]
        total += pairs(network, x.to(place)).double().cpu().numpy()
    return total


def pairs(network: NeuroformerNetwork, x: Tensor) -> Tensor:
    """The same for a few windows."""
    settings = network.settings
    inputs, following, _ = spike_tokens.read(x, settings)
    kept: list[Tensor] = []
    logits = network(inputs, kept).unit
    said = functional.log_softmax(logits, -1).gather(-1, following.unit[..., None])[..., 0]
    receiver = one_hot(following.unit, settings.n_units)
    slopes = torch.autograd.grad((said * receiver.sum(-1)).sum(), kept)
    sender = one_hot(inputs.history.unit, settings.n_units)
    attention = torch.stack([one.detach().mean(1) for one in kept]).mean(0)
    influence = torch.stack([(a.detach() * s).sum(1) for a, s in zip(kept, slopes, strict=True)]).sum(0)
    ones = torch.ones_like(attention)
    return torch.stack(
        [torch.einsum("bti,bts,bsj->ji", receiver, one, sender) for one in (attention, influence, ones)]
    )


def one_hot(unit: Tensor, n_units: int) -> Tensor:
    """A column for each unit; SOS, EOS and PAD have none."""
    return functional.one_hot(unit, n_units + 3)[..., :n_units].float()


def labelled(found: Data, n_units: int, nulls: np.ndarray, real: np.ndarray) -> xr.Dataset:
    """Matrices with names, the shifted ones taken away."""
    names = np.array(found.names[:n_units])
    dims = ("unit", "unit_to")
    with np.errstate(invalid="ignore", divide="ignore"):
        null = nulls[:, :2] / nulls[:, 2:]
        rest = real[:2] / real[2] - null.mean(0)
        deviation = rest / null.std(0, ddof=1)
    values = {}
    for k, name in enumerate(MEASURES):
        values[name] = (dims, rest[k])
        values[f"{name}_z"] = (dims, deviation[k])
    return xr.Dataset(
        {**values, "n_pairs": (dims, real[2].astype(int))}, coords={"unit": names, "unit_to": names},
        attrs={"n_null": len(nulls)},
    )  # fmt: skip
