"""Encoders: what the one-pass objective and the collapsed neuron save, and what small training runs learn."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import Row, shared

REPEATS = 5


# ---- cost -------------------------------------------------------------------------------------------------
def best_of(act: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Shortest of several times, in seconds."""
    act()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        act()
        times.append(time.perf_counter() - begun)
    return min(times)


def published_loss(network: Any, features: Any) -> Any:
    """The objective as it is defined: one copy of a sequence for each chunk that is hidden."""
    import torch

    n = features.shape[1]
    copies = features[:, None].repeat(1, n - 1, 1, 1)  # (sequence, copy, chunk, feature)
    place = torch.arange(1, n)
    later = torch.arange(n) > place[:, None]
    copies = copies.masked_fill(later[None, :, :, None], 0.0)
    hidden = (torch.arange(n) == place[:, None])[None, :, :, None]
    copies = torch.where(hidden, network.mask_feature, copies).flatten(0, 1)
    seen = (~later).repeat(len(features), 1)
    mixed = network.contextual(network.embed(copies), seen).unflatten(0, (len(features), n - 1))
    found = network.unembedding(mixed[:, place - 1, place])
    return (found - features[:, 1:].detach()).square().mean()


def one_pass_loss(network: Any, features: Any) -> Any:
    """The same in one pass."""
    return (network.predict_hidden(features) - features[:, 1:].detach()).square().mean()


def one_pass() -> list[Row]:
    """Sequences of 32 chunks, a GPT of width 256 with 4 blocks: both forms in one run, one thread."""
    import torch

    from neurotools.models.encoders import checkpoint
    from neurotools.models.encoders.neurogpt import NeuroGPTSettings

    torch.set_num_threads(1)
    settings = NeuroGPTSettings(
        n_channels=4, n_filters=8, encoder_heads=2, encoder_layers=1, width=256, layers=4, heads=8
    )
    network = checkpoint.build("neurogpt", settings, seed=0).eval()
    features = torch.from_numpy(
        np.random.default_rng(0).normal(size=(2, 32, settings.n_features)).astype("float32")
    )
    losses, slopes, seconds = {}, {}, {}
    for name, form in (("one", one_pass_loss), ("published", published_loss)):

        def step(form: Callable[..., Any] = form) -> Any:
            network.zero_grad()
            loss = form(network, features)
            loss.backward()
            return loss

        seconds[name] = best_of(step, 3)
        losses[name] = float(step().detach())
        slopes[name] = {k: p.grad.clone() for k, p in network.named_parameters() if p.grad is not None}
    gap = max(
        float((slopes["one"][k] - g).abs().max() / g.abs().max().clamp_min(1e-12))
        for k, g in slopes["published"].items()
    )
    return [
        Row("difference of the losses, relative", abs(losses["one"] / losses["published"] - 1), "<= 1e-6"),
        Row("largest difference of a gradient, over its largest value", gap, "<= 1e-5"),
        Row("time of a step, published form over one pass", seconds["published"] / seconds["one"], ">= 10",
            note=f"{seconds['published']:.2f} s and {seconds['one']:.3f} s for two sequences"),
        Row("tokens of a sequence, published form over one pass", 31 * 32 / 62),
        Row("tokens per second of content, one pass", 2 * 32 / seconds["one"], unit="1/s"),
        Row("the same in the published form", 2 * 32 / seconds["published"], unit="1/s"),
    ]  # fmt: skip


def neuron() -> list[Row]:
    """Published neurons on their recorded inputs, and the collapsed form beside the equations."""
    import torch
    from safetensors.torch import load_file

    from neurotools.models.encoders import checkpoint

    torch.set_num_threads(1)
    folder = shared("reference/elm")
    x = recorded(folder / "input.npz", "x")
    rows, worst = [], 0.0
    for path in sorted((folder / "weights").glob("*.safetensors")):
        settings = published_sizes(path.with_suffix(".json"))
        network = checkpoint.blank("elm", settings)
        weights = checkpoint.convert("elm", settings, load_file(path)).weights
        network.load_state_dict(weights, assign=True)
        wanted = recorded(folder / "outputs.npz", f"{path.stem}/y")
        with torch.inference_mode():
            error = float((network.eval()(x) - wanted).abs().max())
        # outputs reach 17: the tolerance for order one holds relative to that
        worst = max(worst, error / max(1.0, float(wanted.abs().max())))
        if path.stem == "num_memory_20":
            rows += [*collapsed(network, x)]
    n = len(list((folder / "weights").glob("*.safetensors")))
    return [Row(f"largest difference of outputs, {n} published neurons", worst, "<= 1e-5"), *rows]


def collapsed(network: Any, x: Any) -> list[Row]:
    """A neuron of 20 memory units over 1000 steps, one thread: collapsed, and the equations as they stand."""
    import torch

    x = x.repeat(4, 4, 1)[:8, :1000]
    rows = []
    with torch.inference_mode():
        gap = float((network.run(x).output - as_written(network, x)).abs().max())
        for n in (8, 1):
            part = x[:n]
            literal = best_of(lambda part=part: as_written(network, part), 3)
            short = best_of(lambda part=part: network.run(part), 3)
            rows.append(
                Row(
                    f"time of the equations step by step over the collapsed form, {n} at once",
                    literal / short, ">= 5" if n == 8 else "report",
                    note=f"{literal:.2f} s and {short:.3f} s",
                )
            )  # fmt: skip
    return [Row("difference of the two forms, 1000 steps", gap, "<= 1e-5"), *rows]


def as_written(network: Any, x: Any) -> Any:
    """The equations of the paper, a step at a time and a trace for each synapse."""
    import torch

    settings, tau = network.settings, network.tau()
    keep, leak = torch.exp(-settings.step / tau), torch.exp(-settings.step / network.trace_tau)
    trace = x.new_zeros(len(x), settings.n_synapses)
    memory, outputs = x.new_zeros(len(x), settings.n_memory), []
    for now in x.unbind(1):
        arriving = now[:, network.source] * network.valid
        trace = leak * trace + network.synapse_weight.relu() * arriving
        branch = trace.unflatten(-1, (settings.n_branches, -1)).sum(-1)
        update = network.mlp(torch.cat([branch, keep * memory], -1))
        change = 1.7159 * torch.tanh(2 / 3 * update)
        memory = keep * memory + settings.gain * (1 - keep) * change
        outputs.append(network.readout(memory))
    return torch.stack(outputs, 1)


def recorded(path: Path, name: str) -> Any:
    """One recorded array, in float32."""
    import torch

    with np.load(path, allow_pickle=False) as file:
        return torch.from_numpy(file[name].astype("float32"))


def published_sizes(path: Path) -> Any:
    """Sizes of a published neuron from the file beside its weights."""
    from neurotools.models.encoders.elm import ELMSettings

    said = json.loads(path.read_text())
    values = said.get("model_config", said.get("config"))
    return ELMSettings(
        n_memory=values["num_memory"],
        hidden_layers=values.get("mlp_num_layers", 1),
        hidden_width=values.get("mlp_hidden_size") or 0,
        activation=values.get("mlp_activation", "relu"),
        memory_tau_max=values.get("memory_tau_max", 1000.0),
        gain=values.get("lambda_value", 5.0),
        learn_memory_tau=values.get("learn_memory_tau", False),
    )
