"""What a fit says about windows: features, labels, a score."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from neurotools.errors import NeurotoolsWarning, SchemaError, SettingsError
from neurotools.models.encoders import batches, data, folder, splits
from neurotools.models.encoders.batches import Scale
from neurotools.models.encoders.data import Data
from neurotools.models.encoders.folder import Opened
from neurotools.models.encoders.heads import Headed, pooled
from neurotools.models.encoders.training import WATCHED, place_of


def laid_out(encoder: Any, fit: xr.Dataset, windows: Any) -> tuple[Opened, Data, Scale]:
    """The network, the windows as it takes them, and their scale."""
    held = folder.opened(fit)
    found = data.for_network(encoder, windows, held.preparation)
    return held, found, scale_for(held.preparation, found)


def scale_for(preparation: dict[str, Any], found: Data) -> Scale:
    """The scale that the folder says."""
    stored = (np.array(preparation["shift"]), np.array(preparation["width"]))
    names = np.array(found.names)
    return batches.scale_of(preparation["scale"], found.moments, found.places.recording, names, stored)


@torch.inference_mode()
def computed(
    encoder: Any,
    held: Opened,
    found: Data,
    scale: Scale,
    act: Callable[[Tensor, Tensor], Tensor],
) -> np.ndarray:
    """``act`` on all windows, a few at a time."""
    place = place_of(encoder.device)
    held.network.to(place).eval()
    rows = []
    for first in range(0, found.n, encoder.at_once):
        which = np.arange(first, min(first + encoder.at_once, found.n))
        x = found.tensor(which, scale, held.preparation["clip"]).to(place)
        subject = torch.from_numpy(found.subject[which]).to(place)
        rows.append(act(x, subject).float().cpu().numpy())
    return np.concatenate(rows)


def transform(encoder: Any, fit: xr.Dataset, windows: Any, layer: int, pool: str) -> xr.DataArray:
    """Features with the coordinates of their windows."""
    held, found, scale = laid_out(encoder, fit, windows)

    def act(x: Tensor, subject: Tensor) -> Tensor:
        if isinstance(held.network, Headed) and held.network.mix is not None:
            x = held.network.mix(x.transpose(1, 2)).transpose(1, 2)
        return pooled(held.recipe.layers(held.body, x, subject), layer, pool)

    values = computed(encoder, held, found, scale, act)
    dims = ("window", "token", "feature") if values.ndim == 3 else ("window", "feature")
    return xr.DataArray(
        values, dims=dims, name="features",
        coords={**found.coords(), "feature": np.arange(values.shape[-1])},
        attrs={"units": "1", "encoder": held.architecture, "weights_sha256": held.weights_sha256,
               "layer": layer, "pool": pool},
    )  # fmt: skip


def predict(encoder: Any, fit: xr.Dataset, windows: Any) -> xr.Dataset:
    """Labels and probabilities, or values."""
    held, found, scale = laid_out(encoder, fit, windows)
    return said(held, found, outputs(encoder, held, found, scale))


def outputs(encoder: Any, held: Opened, found: Data, scale: Scale) -> np.ndarray:
    """What comes out of the head, (window, output)."""
    if held.target is None:
        raise SettingsError(
            "this fit has no head, so it predicts nothing", code="NT-SET-003",
            fix="model.finetune(fit, windows, target=..., out=...) first; model.transform gives features",
        )  # fmt: skip
    return computed(encoder, held, found, scale, held.network)


def said(held: Opened, found: Data, values: np.ndarray) -> xr.Dataset:
    """Outputs in the words of the target."""
    assert held.target is not None
    coords = found.coords()
    if held.target["kind"] == "value":
        value = values[:, 0].astype("float64") * held.target["width"] + held.target["shift"]
        return xr.Dataset({"value": ("window", value)}, coords=coords)
    names = np.array(held.target["classes"])
    shifted = np.exp(values.astype("float64") - values.max(1, keepdims=True))
    return xr.Dataset(
        {
            "label": ("window", names[values.argmax(1)]),
            "probability": (("window", "class"), shifted / shifted.sum(1, keepdims=True)),
        },
        coords={**coords, "class": names},
    )


def score(encoder: Any, fit: xr.Dataset, windows: Any) -> float:
    """A number for windows that were held out."""
    held, found, scale = laid_out(encoder, fit, windows)
    warn_seen(fit, found, held.recipe.repeats)
    if held.target is None:
        told = objective(encoder, held, found, scale)
        return 1 - told[WATCHED] if WATCHED in told else -told["loss"]
    truth = target_of(found, held.target["name"])
    return compared(held, said(held, found, outputs(encoder, held, found, scale)), truth)


def warn_seen(fit: xr.Dataset, found: Data, repeats: bool) -> None:
    """Say how many of these windows were trained on; where some repeat by chance, at the same time."""
    if "digest" not in fit:
        return
    mine = (fit["split"] == splits.TRAIN).to_numpy()
    trained = set(marks(fit["digest"].to_numpy()[mine], fit["window"].to_numpy()[mine], repeats))
    given = marks(np.array(hexadecimal(found.moments.digest)), found.places.start, repeats)
    seen = sum(one in trained for one in given)
    if seen:
        warnings.warn(
            f"{seen} of {found.n} windows were trained on: the score says nothing about new data",
            NeurotoolsWarning, stacklevel=4,
        )  # fmt: skip


def marks(digest: np.ndarray, start: np.ndarray, repeats: bool) -> list[Any]:
    """By what a window is known again."""
    return [*zip(digest.tolist(), start.tolist(), strict=True)] if repeats else digest.tolist()


def hexadecimal(digest: np.ndarray) -> list[str]:
    """Fingerprints as text."""
    raw = digest.tobytes()
    return [raw[k : k + 16].hex() for k in range(0, len(raw), 16)]


def objective(encoder: Any, held: Opened, found: Data, scale: Scale) -> dict[str, float]:
    """What the last stage tells of all samples, each window in one of them."""
    if not held.recipe.stages:
        raise SettingsError(f"{held.architecture} has no objective without targets", code="NT-SET-003")
    which = samples_of(encoder, found, np.ones(found.n, dtype=bool), hop=encoder.sequence)
    place, stage = place_of(encoder.device), held.recipe.stages[-1]
    held.network.to(place).eval()
    total: dict[str, float] = {}
    at_once = max(1, encoder.at_once // encoder.sequence)
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(encoder.seed)
        for first in range(0, len(which), at_once):
            part = which[first : first + at_once]
            batch = found.batch(part, scale, held.preparation["clip"]).to(place)
            for name, value in stage.loss(held.network, batch).items():
                total[name] = total.get(name, 0.0) + float(value) * len(part) / len(which)
    return total


def samples_of(encoder: Any, found: Data, chosen: np.ndarray, hop: int) -> np.ndarray:
    """Windows of each training sample, (sample, window).

    Raises
    ------
    SchemaError
        No recording has as many windows in a row as a sample takes.
    """
    which = splits.sequences(found.places, chosen, encoder.sequence, hop)
    if not len(which):
        raise SchemaError(
            "no recording is long enough for one sample", code="NT-DATA-010",
            found=f"{int(chosen.sum())} windows of "
            f"{len(np.unique(found.places.recording[chosen]))} recordings",
            expected=f"{encoder.sequence} windows in a row",
            fix="take longer recordings or shorter windows, or create the encoder with a smaller sequence=",
        )  # fmt: skip
    return which


# ---- targets ------------------------------------------------------------------------------------------
def target_of(found: Data, name: str) -> np.ndarray:
    """The coordinate of windows that is to be told from them."""
    if name not in found.array.coords or found.array[name].dims != ("window",):
        raise SchemaError(
            f"windows have no coordinate {name!r} to tell", code="NT-DATA-006",
            found=", ".join(found.coords()) or "none",
            fix=f"windows.assign_coords({name}=('window', labels))",
        )  # fmt: skip
    values = found.array[name].to_numpy()
    return values.astype(str) if values.dtype.kind in "OUST" else values


def compared(held: Opened, found: xr.Dataset, truth: np.ndarray) -> float:
    """Balanced accuracy, or the share of variance."""
    if "value" in found:
        rest = truth - found["value"].to_numpy()
        return float(1 - (rest**2).sum() / ((truth - truth.mean()) ** 2).sum())
    right = found["label"].to_numpy() == truth.astype(found["label"].dtype)
    return float(np.mean([right[truth == one].mean() for one in np.unique(truth)]))


def as_text(values: Any) -> str:
    """Plain JSON of whatever stands in attributes."""
    return json.dumps(values, default=str)
