"""Protocols as they were published, quirks included: what ``paper_compat=True`` keeps, and says in the card.

Ours are the defaults elsewhere; these are for comparing with numbers in papers, not for use. What a paper's
code does that cannot be kept here stands beside, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurotools.errors import SettingsError
from neurotools.models.encoders import splits
from neurotools.models.encoders.splits import Places


# ---- splits -------------------------------------------------------------------------------------------
def by_groups(places: Places, share: float, seed: int, label: np.ndarray | None) -> np.ndarray:
    """Whole groups, as by default."""
    return splits.split(places, share, seed)


def windows_at_random(places: Places, share: float, seed: int, label: np.ndarray | None) -> np.ndarray:
    """Single windows, whatever lies beside them."""
    side = np.full(len(places.group), splits.TRAIN, dtype="<U8")
    order = np.random.default_rng(seed).permutation(len(side))
    side[order[: round(share * len(side))]] = splits.HELD_OUT
    return side


def last_of_each_class(places: Places, share: float, seed: int, label: np.ndarray | None) -> np.ndarray:
    """The last windows of each class; without classes, whole groups."""
    if label is None or label.dtype.kind == "f":
        return by_groups(places, share, seed, label)
    side = np.full(len(label), splits.TRAIN, dtype="<U8")
    order = np.lexsort((places.start, places.recording))
    for one in np.unique(label):
        mine = order[label[order] == one]
        side[mine[len(mine) - round(share * len(mine)) :]] = splits.HELD_OUT
    return side


# ---- protocols ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Published:
    """One paper's protocol.

    Attributes
    ----------
    settings : mapping
        Of encoder, network, training and head (under ``"head"``), in place of those of the preset.
    split : callable
        (places, share, seed, label of each window or None) -> side of each window.
    apart : bool
        Whether its sides neither overlap in time nor hold copies.
    quirks : tuple of str
        What it does that flatters or harms, for the card.
    left_out : tuple of str
        What the paper's code does beside, and is not done here.
    head_scale : str or None
        The scale of windows in fine-tuning, where it differs from that of training.
    scored_on_training : bool
        Whether its test score is that of the windows that were trained on; it is told beside the other.
    """

    quirks: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    split: Callable[..., np.ndarray] = by_groups
    apart: bool = True
    left_out: tuple[str, ...] = ()
    head_scale: str | None = None
    scored_on_training: bool = False


PUBLISHED = {
    "neurogpt": Published(
        settings={
            "feature_norm": "none", "scale": "recording", "clip": 0.0, "schedule": "linear", "warmup": 0.01,
            "weight_decay": 0.1, "betas": (0.9, 0.9), "encoder_dropout": 0.5, "dropout": 0.1, "patience": 0,
        },
        quirks=(
            "The target is the encoder's own feature, so that a constant encoder is a minimum.",
            "AdamW takes its first decay for both moments, (0.9, 0.9).",
            "Each recording is standardised by all of its windows.",
            "Trials of fine-tuning are standardised one by one.",
            "The subject that is held out is watched in fine-tuning, and what is called test is the training "
            "set: that accuracy is told as published_test_score.",
        ),
        left_out=(
            "short recordings padded with chunks of zeros that count as data", "cleaning in MATLAB",
            "half precision in float16",
        ),
        head_scale="window", scored_on_training=True,
    ),
    "duin": Published(
        settings={
            "scale": "recording", "restart_below": 0.0, "clip": 0.0, "warmup": 0.1, "patience": 0,
            "betas": (0.9, 0.999), "weight_decay": 0.05,
            "head": {"output": "sigmoid", "hidden": (128,), "weight_decay": 0.05, "patience": 0},
        },
        split=last_of_each_class, apart=False,
        quirks=(
            "Channels are standardised by all trials, those that are held out among them.",
            "A sigmoid stands before the cross-entropy of classes, so that the loss of K classes cannot fall "
            "below log(1 + (K - 1) / e).",
            "In fine-tuning the last trials of each class are held out, so that trials of both sides can lie "
            "side by side.",
            "Codes that name no token never restart.",
        ),
        left_out=(
            "missing contacts filled with zeros and masked", "windows cut at random offsets",
            "codes counted in evaluation, too", "trials shifted in time by up to a tenth",
        ),
    ),
    "neuroformer": Published(
        settings={
            "padding": "seen", "behaviour_norm": "layer", "stimulus_place": "none", "betas": (0.9, 0.95),
            "weight_decay": 1.0, "patience": 0,
        },
        split=windows_at_random, apart=False,
        quirks=(
            "Single windows are held out at random, so that windows of both sides share history, stimulus "
            "and slow behaviour: scores are too good.",
            "Padding of the history is attended to.",
            "A layer norm over one number loses the value of a behaviour that is seen.",
            "Pieces of the stimulus do not know their place.",
            "Weight decay is 1.",
        ),
        left_out=("precision and recall with their arguments exchanged", "the few-shot split"),
    ),
    "stmae": Published(
        settings={"may_overlap": True, "patience": 0},
        quirks=(
            "Windows that overlap are foretold from one another, so that a window between two others is "
            "nearly their mean: the area under the curve is too good.",
        ),
        left_out=(
            "stretches of 600 volumes drawn at random", "pretraining on 50,000 scans",
            "whatever else the paper's code does, which is not public",
        ),
    ),
}  # fmt: skip


def published(architecture: str) -> Published:
    """The protocol of an architecture's paper.

    Raises
    ------
    SettingsError
        No paper trains it in this way.
    """
    if architecture not in PUBLISHED:
        raise SettingsError(
            f"no protocol was published for {architecture}, so none can be kept", code="NT-SET-003",
            found="paper_compat=True", expected="one of " + ", ".join(PUBLISHED),
        )  # fmt: skip
    return PUBLISHED[architecture]
