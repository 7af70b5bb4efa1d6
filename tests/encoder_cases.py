"""Recorded outputs of the published encoders, and our networks with the same weights."""

from __future__ import annotations

import json

import numpy as np
import torch

from neurotools.models.encoders import checkpoint
from neurotools.models.encoders.duin import DuINSettings
from neurotools.models.encoders.elm import ELMSettings
from neurotools.models.encoders.neuroformer import NeuroformerSettings
from neurotools.models.encoders.neurogpt import NeuroGPTSettings

NEUROGPT = NeuroGPTSettings(width=64, layers=2, heads=4)
DUIN = DuINSettings(
    n_subjects=3, n_channels=6, n_samples=600, n_mixed=8, filters=(24, 24, 8), layers=3, decoder_layers=2,
    heads=4, head_width=16, n_codes=48, code_width=16, rebuild_filters=(20, 20, 20, 20, 8), n_classes=7,
    class_width=32,
)  # fmt: skip
NEUROFORMER_PUBLISHED = {"padding": "seen", "behaviour_norm": "layer", "stimulus_place": "none", "heads": 4}
NEUROFORMER_FILM = {
    "n_units": 9, "current_bins": 5, "history_bins": 5, "current_tokens": 12, "history_tokens": 16,
    "width": 24, "history_layers": 1, **NEUROFORMER_PUBLISHED,
}  # fmt: skip
NEUROFORMER = {
    "novideo": NeuroformerSettings(
        n_units=11, current_bins=5, history_bins=15, current_tokens=14, history_tokens=20, width=32,
        current_layers=2, history_layers=2, state_layers=2, **NEUROFORMER_PUBLISHED,
    ),
    "video": NeuroformerSettings(
        current_layers=2, state_layers=2, stimulus_layers=2, stimulus_self_layers=2, stimulus=(20, 10, 15),
        stimulus_patch=(3, 5, 5), stimulus_step=(3, 5, 5), contrast=("stimulus",), **NEUROFORMER_FILM,
    ),
    "video_behavior": NeuroformerSettings(
        current_layers=1, state_layers=1, stimulus_layers=1, stimulus_self_layers=1, stimulus=(20, 12, 16),
        stimulus_patch=(3, 8, 8), stimulus_step=(3, 4, 4), contrast=("stimulus", "phi"),
        behaviour=("phi", "th"), predicted=("speed",), behaviour_layers=2, **NEUROFORMER_FILM,
    ),
}  # fmt: skip
ELM_FIELDS = {
    "num_input": "n_inputs", "num_output": "n_outputs", "num_memory": "n_memory", "num_branch": "n_branches",
    "num_synapse_per_branch": "synapses_per_branch", "memory_tau_min": "memory_tau_min",
    "memory_tau_max": "memory_tau_max", "learn_memory_tau": "learn_memory_tau",
    "mlp_activation": "activation", "mlp_num_layers": "hidden_layers", "mlp_hidden_size": "hidden_width",
    "lambda_value": "gain", "delta_t": "step", "tau_s_value": "synapse_tau",
}  # fmt: skip
ROUTING = {None: "none", "neuronio_routing": "neuron", "random_routing": "random"}


def elm_settings(path) -> ELMSettings:
    """Settings from the json beside a file of weights."""
    said = json.loads(path.read_text())
    # what the authors' module takes where their configuration says nothing
    defaults = {"memory_tau_max": 1000.0, **said.get("defaults_used", {})}
    values = {**defaults, **said.get("model_config", said.get("config"))}
    routing = ROUTING[values.pop("input_to_synapse_routing", None)]
    version = {"v1": 1, "v2": 2}[said.get("version", "v1")]
    values.pop("w_s_value", None)  # the value that synapse weights start from, here one constant
    return ELMSettings(
        routing=routing, version=version, **{ELM_FIELDS[key]: value for key, value in values.items()}
    )


def arrays(path) -> dict[str, torch.Tensor]:
    """All arrays of a file, as tensors."""
    with np.load(path, allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def loaded(architecture, settings, tensors, dtype=torch.float32):
    """Our network with converted weights, in evaluation mode."""
    network = checkpoint.blank(architecture, settings)
    weights = checkpoint.convert(architecture, settings, tensors).weights
    network.load_state_dict(weights, strict=True, assign=True)
    return network.to(dtype).eval()


def worst(label, ours, theirs, relative=False) -> float:
    """Largest absolute difference (by default; else over the largest value), shown under ``-s``."""
    assert ours.shape == theirs.shape, (label, ours.shape, theirs.shape)
    assert torch.isfinite(ours).all(), label
    difference = float((ours.detach().double() - theirs.double()).abs().max())
    if relative:
        difference /= float(theirs.abs().max())
    print(f"{label:60s} {difference:.2e}{' (relative)' if relative else ''}")
    return difference


def gradients(architecture, settings, recorded) -> dict[str, tuple[torch.Tensor, str]]:
    """Recorded gradients under our names, in our layout."""
    names = checkpoint.ARCHITECTURES[architecture].names(settings)
    found = {}
    for name, gradient in recorded.items():
        ours, how = checkpoint.translated(name, names)
        found[ours] = (gradient, how)
    return found


def worst_gradient(network, architecture, recorded) -> float:
    """Largest difference of the recorded gradients, each over its own largest value."""
    settings, differences = network.settings, []
    for ours, (gradient, how) in gradients(architecture, settings, recorded).items():
        found = network.get_parameter(ours).grad
        wanted = checkpoint.CHANGES[how](gradient, found)
        differences.append(worst(f"grad {ours}", found, wanted, relative=True))
    return max(differences)
