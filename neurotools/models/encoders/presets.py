"""Encoders by name: which architecture, with which settings. Plain values, so nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TEN_TWENTY = (
    "FP1", "FP2", "F7", "F3", "FZ", "F4", "F8", "T1", "T3", "C3", "CZ",
    "C4", "T4", "T2", "T5", "P3", "PZ", "P4", "T6", "O1", "OZ", "O2",
)  # fmt: skip


@dataclass(frozen=True)
class Preset:
    """An encoder by name.

    Attributes
    ----------
    architecture, modality, about : str
    settings : dict
        Of the encoder, its network, its training and its head, under their own names.
    requires : str
        ``fixed_names``: these channels; ``any``: those of the data it is fitted to; ``learned_units``: those
        of the data, with weights for each subject.
    """

    architecture: str
    modality: str
    about: str
    settings: dict[str, Any]
    requires: str = "any"


NANO_STEPS = {"steps": 600, "batch": 16, "rate": 1e-3, "check_every": 50, "patience": 6}
# every preset's training starts from these, so that a name means one thing
PRESETS = {
    "neurogpt-nano": Preset(
        "neurogpt", "eeg", "Neuro-GPT in small: any channels, sequences of 8 windows",
        {"chunk_samples": 0, "n_filters": 16, "encoder_layers": 2, "encoder_heads": 4, "width": 64,
         "layers": 2, "heads": 4, "max_chunks": 64, "encoder_dropout": 0.0,
         "feature_norm": "batch", "sequence": 8, "clip": 15.0,
         **NANO_STEPS},
    ),
    "neurogpt-base": Preset(
        "neurogpt", "eeg", "Neuro-GPT in the published size: 22 channels, 250 Hz, 32 windows of 2 s",
        {"channels": TEN_TWENTY, "sfreq": 250.0, "scale": "recording", "sequence": 32, "steps": 50_000,
         "batch": 32, "rate": 1e-4, "weight_decay": 0.1, "betas": (0.9, 0.999), "warmup": 0.01,
         "schedule": "linear", "precision": "bfloat16", "check_every": 500, "keep_every": 500,
         "head": {"hidden": (256, 32)}},
        "fixed_names",
    ),
    "duin-nano": Preset(
        "duin", "seeg", "Du-IN in small: any contacts, tokens of 100 ms at 1 kHz",
        {"filters": (32, 32, 8), "layers": 2, "decoder_layers": 2, "heads": 4, "head_width": 16,
         "n_codes": 256, "code_width": 32, "restart_below": 0.5, "rebuild_filters": (32, 32, 32, 32, 8),
         "n_mixed": 8,
         "head": {"hidden": (128,)}, **NANO_STEPS},
        "learned_units",
    ),
    "duin-base": Preset(
        "duin", "seeg", "Du-IN in the published size: tokens of 100 ms at 1 kHz, 2048 codes",
        {"sfreq": 1000.0, "scale": "recording", "steps": 40_000, "batch": 64, "rate": 3e-4,
         "final_rate": 5e-5, "warmup": 0.1, "weight_decay": 0.05, "betas": (0.9, 0.999),
         "check_every": 500, "keep_every": 500,
         "head": {"hidden": (128,)}},
        "learned_units",
    ),
    "neuroformer-nano": Preset(
        "neuroformer", "spikes", "Neuroformer in small: any units, windows of nt.encoders.spike_windows",
        {"width": 64, "heads": 4, "current_layers": 1, "history_layers": 2, "stimulus_layers": 1,
         "stimulus_self_layers": 1, "behaviour_layers": 1, "state_layers": 1, "current_tokens": 64,
         "history_tokens": 256, "dropout": 0.1, "attention_dropout": 0.0, "scale": "none", **NANO_STEPS,
         "batch": 64},
    ),
    "neuroformer-base": Preset(
        "neuroformer", "spikes", "Neuroformer in the published size and form: bins of 10 ms, 50 ms told",
        {"padding": "seen", "behaviour_norm": "layer", "stimulus_place": "none", "sfreq": 100.0,
         "history_bins": 5, "scale": "none", "steps": 40_000, "batch": 160, "rate": 1e-4, "final_rate": 1e-5,
         "warmup": 0.05, "weight_decay": 1.0, "betas": (0.9, 0.95), "check_every": 500, "keep_every": 500},
    ),
    "stmae-nano": Preset(
        "stmae", "fmri", "Masked dynamic connectivity in small: any regions, windows of any length",
        {"width": 32, "layers": 2, "decoder_layers": 1, "scale": "window", "sequence": 5, **NANO_STEPS},
    ),
    "stmae-base": Preset(
        "stmae", "fmri", "Masked dynamic connectivity, the published encoder: 4 graph layers of width 128",
        {"scale": "window", "sequence": 9, "steps": 4000, "batch": 16, "rate": 5e-4, "weight_decay": 0.01,
         "betas": (0.9, 0.999), "warmup": 0.2, "check_every": 200},
    ),
    "elm-nano": Preset(
        "elm", "any", "One ELM neuron that foretells the next sample of every channel",
        {"n_memory": 32, "n_branches": 8, "synapses_per_branch": 16, "routing": "random",
         "memory_tau_max": 300.0, **NANO_STEPS},
    ),
    "elm-neuron": Preset(
        "elm", "synapses", "The ELM neuron in the published size, for its converted weights",
        {"n_memory": 100, "scale": "none"},
    ),
}  # fmt: skip
