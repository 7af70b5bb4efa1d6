"""What a folder says about its weights: throughput and size in ``metrics.json``, the rest in ``card.md``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
import xarray as xr
from torch import nn

from neurotools._version import __version__
from neurotools.models.encoders import splits
from neurotools.models.encoders.published import Published, published
from neurotools.models.encoders.recipe import recipe_of
from neurotools.models.encoders.states import State

# dense matrix products in the precision named, floating-point operations per second
PEAKS = {("H200", "bfloat16"): 989e12, ("H200", "float32"): 67e12, ("H100", "bfloat16"): 989e12}
TINY_HOURS = 100.0

CARD = """\
# {title}

{size} trained on {n_train} windows ({hours:.2g} h) of {n_recordings} recording(s), {channels} channels at
{sfreq:g} Hz. They show that the method runs; do not expect them to carry over to other data.

## Origin and licences

- Code of the network: neurotools {version}, BSD 3-Clause. {summary}
- Weights: made by this training; see LICENSE.
- Data: SHA-256 of all windows `{data}`. Its terms are those of the recordings.

## Training

- Kind: {kind}; stages: {stages}; seed {seed}.
- Split: by {unit}; held out: {held_out}. {apart} The scale is that of: {scale}.
- Best held-out loss (or share unexplained): {best}. {score}
- {parameters:,} parameters; {seconds:.0f} s; {rate:.1f} samples per second; {flops} per sample and step.
- Settings: `{settings}`
{protocol}
## Use

For research on recordings like those above. Not for diagnosis, and not for decisions about a person.
"""


APART = "Windows of both sides neither overlap in time nor are copies (checked)."
SCALED = {
    "fit": "the windows that were trained on", "recording": "each recording, over all windows given of it",
    "window": "each window by itself", "none": "nothing; values are as they were given",
}  # fmt: skip
PROTOCOL = """
## Protocol

As published (paper_compat), for comparison with published numbers alone. Its quirks are kept:

{quirks}

Not kept: {left_out}.
"""


def metrics_of(
    encoder: Any,
    network: nn.Module,
    ready: Any,
    result: xr.Dataset,
    states: Sequence[State],
    *,
    loss: Callable[[], Any],
) -> dict[str, Any]:
    """Losses, time, throughput and use of the device; ``loss`` computes that of one sample."""
    how = encoder.head.training if result.attrs["kind"] == "finetuned" else encoder.training
    seconds, samples = sum(s.seconds for s in states), sum(s.samples for s in states)
    flops = flops_of(loss)
    rate = samples / max(seconds, 1e-9)
    used = {"flops_per_sample": flops, "flops_per_s": flops * rate}
    if peak := peak_of(encoder.device, how.precision):
        used["utilisation"] = flops * rate / peak
    return {
        "kind": result.attrs["kind"],
        "data_sha256": result.attrs["data_sha256"],
        "n_windows": {side: int((ready.side == side).sum()) for side in (splits.TRAIN, splits.HELD_OUT)},
        "n_parameters": sum(p.numel() for p in network.parameters()),
        "steps": [s.step for s in states],
        "best_step": [s.best_step for s in states],
        "best_watched": [s.best_loss if s.best_step else None for s in states],
        "held_out_score": result.attrs.get("held_out_score"),
        "seconds": seconds,
        "samples_per_s": rate,
        **used,
        "threads": torch.get_num_threads(),
        "device": encoder.device,
        "torch": torch.__version__,
        "neurotools": __version__,
    }


def flops_of(loss: Callable[[], Any]) -> float:
    """Floating-point operations of one step for one sample: three times those of the loss forwards."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad(), torch.random.fork_rng(devices=[]):
        loss()
    return 3.0 * counter.get_total_flops()


def peak_of(device: str, precision: str) -> float | None:
    """Peak of the device, where it is in the table."""
    if not device.startswith(("cuda", "auto")) or not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name()
    return next((peak for (part, kind), peak in PEAKS.items() if part in name and kind == precision), None)


def card_of(encoder: Any, ready: Any, result: xr.Dataset, metrics: dict[str, Any]) -> str:
    """The model card."""
    n_train = metrics["n_windows"][splits.TRAIN]
    hours = n_train * ready.data.places.length / 3600
    groups = set(ready.data.places.group.tolist())
    out = sorted(set(ready.data.places.group[ready.side == splits.HELD_OUT].tolist()))
    if len(groups) == 1 and out:
        out = ["the last stretch of each recording, windows that reach into it left out"]
    plan = published(encoder.architecture) if encoder.paper_compat else None
    if plan is not None and not plan.apart:
        out = [f"{metrics['n_windows'][splits.HELD_OUT]} windows as the paper chooses them"]
    best = metrics["best_watched"][-1]
    return CARD.format(
        title=f"{encoder.architecture}, {result.attrs['kind']}",
        size="Tiny demonstration weights," if hours < TINY_HOURS else "Weights",
        n_train=n_train, hours=hours, n_recordings=result.attrs["n_recordings"],
        channels=len(ready.preparation["channels"]), sfreq=ready.data.sfreq, version=__version__,
        summary=recipe_of(encoder.architecture).summary, data=result.attrs["data_sha256"],
        kind=result.attrs["kind"], stages=", ".join(dict.fromkeys(result["stage"].to_numpy().tolist())),
        seed=encoder.seed, unit=result.attrs["group_unit"], held_out=", ".join(out) or "nothing",
        apart=APART if plan is None or plan.apart else "Whether they overlap was not checked.",
        protocol="" if plan is None else protocol_of(plan),
        scale=SCALED[ready.preparation["scale"]], best="none" if best is None else f"{best:.4g}",
        score=scores_of(result),
        parameters=metrics["n_parameters"], seconds=metrics["seconds"], rate=metrics["samples_per_s"],
        flops=f"{metrics['flops_per_sample']:.3g} floating-point operations",
        settings=json.dumps(json.loads(result.attrs["settings"]), sort_keys=True),
    )  # fmt: skip


def scores_of(result: xr.Dataset) -> str:
    """What is known of a head."""
    said = {
        "held_out_score": "Held-out score (which also chose when to stop): {:.3f}.",
        "published_test_score": "What the paper's code calls test, of windows that were trained on: {:.3f}.",
    }
    return " ".join(words.format(result.attrs[name]) for name, words in said.items() if name in result.attrs)


def protocol_of(plan: Published) -> str:
    """The part of the card on a published protocol."""
    quirks = "\n".join(f"- {quirk}" for quirk in plan.quirks)
    return PROTOCOL.format(quirks=quirks, left_out="; ".join(plan.left_out))
