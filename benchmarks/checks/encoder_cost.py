"""A step of a spike transformer: rows as long as needed, and rows of full length as published."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np

from benchmarks.record import ROOT, Row

FORMS = ("trimmed", "whole")
ALONE = (
    "import json, sys; from benchmarks.checks import encoder_cost as here; "
    "print(json.dumps(here.one_form(sys.argv[1])))"
)


def cost() -> list[Row]:
    """One training step of both forms on the same windows, each in a process of its own, one thread."""
    found = {
        form: json.loads(
            subprocess.run(
                [sys.executable, "-c", ALONE, form], cwd=ROOT, check=True,
                capture_output=True, text=True,
            ).stdout.splitlines()[-1]
        )
        for form in FORMS
    }  # fmt: skip
    ours, theirs = found["trimmed"], found["whole"]
    return [
        Row("difference of the losses, relative", abs(ours["loss"] / theirs["loss"] - 1), "<= 1e-5"),
        Row("time of a step, rows of full length over trimmed ones", theirs["seconds"] / ours["seconds"],
            note=f"{theirs['seconds']:.2f} s and {ours['seconds']:.2f} s for 32 windows of 120 units"),
        Row("spikes told per second, trimmed", ours["spikes"] / ours["seconds"], unit="1/s"),
        Row("spikes told per second, rows of full length", ours["spikes"] / theirs["seconds"], unit="1/s"),
        Row("memory of a step, trimmed", ours["mebibytes"], unit="MiB"),
        Row("memory of a step, rows of full length", theirs["mebibytes"], unit="MiB"),
    ]  # fmt: skip


def one_form(form: str) -> dict[str, float]:
    """Seconds and memory of a step.

    ``trimmed``: rows as long as the longest, fused attention. ``whole``, as published: rows of 100 and 700
    tokens whatever they hold, and every matrix of attention written out.
    """
    import resource

    import torch

    from benchmarks.checks.encoders import best_of
    from neurotools.models.encoders import checkpoint, spike_tokens
    from neurotools.models.encoders.neuroformer import Block, NeuroformerSettings

    torch.set_num_threads(1)
    settings = NeuroformerSettings(
        n_units=120, current_bins=5, history_bins=15, width=128, current_layers=2, history_layers=2,
        state_layers=2, dropout=0.0, attention_dropout=0.0,
    )  # fmt: skip
    network = checkpoint.build("neuroformer", settings)
    x = torch.from_numpy(np.random.default_rng(0).poisson(0.05, (32, 120, 20)).astype("float32"))
    inputs, following, _ = spike_tokens.read(x, settings)
    spikes = int((following.unit < settings.n_units).sum())
    if form == "whole":
        rows = {"current": settings.current_tokens, "history": settings.history_tokens}
        inputs = inputs._replace(
            **{k: spike_tokens.padded(getattr(inputs, k), settings, n) for k, n in rows.items()}
        )
        following = spike_tokens.padded(following, settings, settings.current_tokens)
        Block.attend = lambda self, q, k, v, visible: self.shown(q, k, v, visible, [])  # type: ignore[method-assign]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    losses = []

    def step() -> None:
        network.zero_grad()
        loss = network.loss(inputs, following)["loss"]
        loss.backward()
        losses.append(float(loss.detach()))

    seconds = best_of(step, 3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"loss": losses[0], "seconds": seconds, "spikes": spikes, "mebibytes": (peak - before) / 1024}
