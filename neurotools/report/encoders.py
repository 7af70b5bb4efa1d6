"""The pages of encoders: how one was trained on a recording, and what its features tell beside band power."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr

from neurotools.report import endings, summary
from neurotools.report.methods import own_references
from neurotools.report.page import Block, Code, Figure, Note, References, Section, Table, Text, build_report

# Begin of an encoder's name -> where its architecture was published.
PAPERS = {
    "neurogpt": (
        "Cui W, Jeong W, Thoelke P, et al. (2024). Neuro-GPT: towards a foundation model for EEG. IEEE "
        "International Symposium on Biomedical Imaging.", "",
    ),
    "duin": (
        "Zheng H, Wang H, Jiang W, et al. (2024). Du-IN: discrete units-guided mask modeling for decoding "
        "speech from intracranial neural signals. NeurIPS.", "",
    ),
    "elm": (
        "Spieler A, Rahaman N, Martius G, Schoelkopf B, Levina A (2024). The expressive leaky memory neuron: "
        "an efficient and expressive phenomenological neuron model can solve long-horizon tasks. ICLR.", "",
    ),
    "stmae": (
        "Choi J, Keum S, Yun E, Kim BH, Lee J (2023). A generative self-supervised framework using "
        "functional connectivity in fMRI data. TGL workshop at NeurIPS.", "10.48550/arXiv.2312.01994",
    ),
}  # fmt: skip
TRAINING_LIMITS = (
    "A loss that falls says that something was learned, not what. Compare features with those of the same "
    "network untrained, and with something simple such as band power: encoder-probe does the latter.",
    "What is held out here are stretches of the same recording. Nothing here says how the encoder does on "
    "another person, another day or another device.",
)
PROBE_LIMITS = (
    "A probe is linear: features may hold what it cannot read, and a score at chance does not show that they "
    "hold nothing.",
    "The interval holds for other trials of this recording, not for other people.",
    "Where the bar of band power is as high, the encoder adds nothing for this question.",
)


def training_report(
    recording: xr.DataTree | None,
    fit: xr.Dataset,
    card: str,
    *,
    settings: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    figures: Mapping[str, Any] | None = None,
) -> str:
    """Make the page of an encoder that was trained on a recording.

    Parameters
    ----------
    recording : xarray.DataTree or None
    fit : xarray.Dataset
        As ``fit`` of an encoder returns it.
    card : str
        What the checkpoint says of itself.
    settings, provenance : mapping, optional
        As the runner records them.
    figures : mapping of str to Figure, optional
        ``training``.

    Returns
    -------
    str
        HTML text.
    """
    facts, chosen = dict(provenance or {}), dict(settings or {})
    told = summary.described(recording, facts)
    name = str(chosen.get("encoder", "an encoder"))
    split = fit["split"].to_numpy().astype(str)
    n_trained, n_held = int((split == "train").sum()), int((split == "held_out").sum())
    caption = "What is minimised, on the windows that are trained on and on those held out."
    alt = "Losses over training steps, falling where something is learned."
    shown: list[Block] = [Figure(image, caption, alt) for image in (figures or {}).values()]
    steps = int(fit["iteration"][-1]) if fit.sizes.get("iteration") else 0
    text = (
        f"The signal was {_filtered(chosen)}cut into windows of {chosen.get('length_s', 0):g} s. The encoder "
        f"{name} was trained on {n_trained:,} of them without labels; {n_held:,} were held out, chosen by "
        "whole stretches, and windows that overlap with both sides were left out."
    )
    methods: list[Block] = [Text(text), Text(endings.software(facts.get("versions"), "numpy", "torch"))]
    cards = [("windows trained on", f"{n_trained:,}", ""), ("held out", f"{n_held:,}", "")]
    cards += [("training steps", f"{steps:,}", "")]
    for what in ("held_out_loss", "held_out_unexplained"):
        if what in fit:
            cards.append(
                (what.replace("_", " ").replace("held out", "held-out"), f"{float(fit[what][-1]):.4g}", "")
            )
    sections = [
        Section("Training", shown),
        Section("What this does not show", [Note(TRAINING_LIMITS, warn=True)], short="Limits"),
        Section("Card", [Code(card)], lead="What the checkpoint says of itself."),
        *_ends(told, methods, name, facts, _training_code(chosen, facts)),
    ]
    return build_report(
        f"{name} trained on {summary.title_of(told, facts, 'a recording')}",
        [section for section in sections if section.blocks],
        subtitle="An encoder that was shown no labels.", eyebrow="neurotools · encoders", cards=cards,
    )  # fmt: skip


def probe_report(
    recording: xr.DataTree | None,
    scores: pd.DataFrame,
    *,
    settings: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    figures: Mapping[str, Any] | None = None,
) -> str:
    """Make the page of linear probes on features of an encoder.

    Parameters
    ----------
    recording : xarray.DataTree or None
    scores : pandas.DataFrame
        ``features``, ``score``, ``score_low``, ``score_high``.
    settings, provenance : mapping, optional
        As the runner records them.
    figures : mapping of str to Figure, optional
        ``scores``.

    Returns
    -------
    str
        HTML text.
    """
    facts, chosen = dict(provenance or {}), dict(settings or {})
    told = summary.described(recording, facts)
    caption = (
        "Balanced accuracy of linear probes, with 95 % intervals; each stretch of trials was held out once."
    )
    alt = "One bar for the encoder's features and one for band power, with intervals, beside chance."
    shown: list[Block] = [Figure(image, caption, alt) for image in (figures or {}).values()]
    length, start, parts = (chosen.get(name, 0) for name in ("length_s", "start_s", "stretches"))
    text = (
        f"Windows of {length:g} s from {start:g} s after each event were {_filtered(chosen)}turned into "
        f"features by the encoder. A linear probe was fitted to all but one of {parts} stretches of trials "
        "and judged on that one, in turn; the same was done with the logarithm of the power in three bands."
    )
    methods: list[Block] = [
        Text(text),
        Text(endings.software(facts.get("versions"), "numpy", "torch", "scikit-learn")),
    ]
    cards = [
        (
            str(row["features"]).replace("_", " "),
            f"{row['score']:.2f}",
            f"{row['score_low']:.2f} to {row['score_high']:.2f}",
        )
        for row in scores.to_dict("records")
    ]
    sections = [
        Section("Scores", [*shown, Table(scores, "Balanced accuracy")]),
        Section("What this does not show", [Note(PROBE_LIMITS, warn=True)], short="Limits"),
        *_ends(told, methods, str(chosen.get("checkpoint", "")), facts, _probe_code(chosen, facts)),
    ]
    return build_report(
        f"What features tell about events in {summary.title_of(told, facts, 'a recording')}",
        sections, subtitle=f"Encoder: {chosen.get('checkpoint', '')}", eyebrow="neurotools · encoders",
        cards=cards,
    )  # fmt: skip


def _ends(
    told: xr.DataTree | xr.DataArray | None,
    methods: list[Block],
    name: str,
    facts: Mapping[str, Any],
    python: str,
) -> list[Section]:
    """What every page has at its foot."""
    cited = [paper for begin, paper in PAPERS.items() if begin in name]
    return [
        endings.recording_section(told),
        Section("Methods", [*methods, References([*own_references(told), *cited])]),
        endings.provenance_section(facts),
        endings.again_section(facts, python),
    ]


def _filtered(chosen: Mapping[str, Any]) -> str:
    low, high, sfreq = (chosen.get(name) for name in ("low", "high", "sfreq"))
    parts = []
    if low is not None or high is not None:
        parts.append(f"filtered from {low or 0:g} to {'any' if high is None else f'{high:g}'} Hz")
    if sfreq is not None:
        parts.append(f"resampled to {sfreq:g} Hz")
    return " and ".join(parts) + (" and " if parts else "")


def _training_code(chosen: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    said = _said(chosen, "seed", "steps", "batch", "rate", "held_out")
    return "\n".join(
        [
            *_signal_code(chosen, facts),
            f"windows = nt.windows(signal, {_said(chosen, 'length_s', 'overlap')})",
            f"model = nt.encoders.create({chosen.get('encoder')!r}, {said})",
            'fit = model.fit(windows, out="encoder")',
        ]
    )


def _probe_code(chosen: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    how = _said(chosen, "layer", "pool")
    groups, seed = chosen.get("stretches"), chosen.get("seed")
    start, length = chosen.get("start_s", 0.0), chosen.get("length_s", 0.0)
    return "\n".join(
        [
            *_signal_code(chosen, facts),
            'events = recording["events"].to_dataset()',
            f"tmax = {start!r} + {length!r} - 1 / signal.attrs['sfreq']",
            f"trials = nt.epochs(signal, events, tmin={start!r}, tmax=tmax, edge='drop')",
            f"fit = nt.encoders.open({json.dumps(str(chosen.get('checkpoint', '')))})",
            f"features = nt.model_of(fit).transform(fit, trials, {how})",
            f"probe = nt.probe(features, target='trial_type', groups={groups!r}, seed={seed!r})",
        ]
    )


def _said(chosen: Mapping[str, Any], *names: str) -> str:
    """Settings as arguments of a call."""
    return ", ".join(f"{name}={chosen[name]!r}" for name in names if name in chosen)


def _signal_code(chosen: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    source = str(facts.get("source") or facts.get("recording") or "SOURCE")
    lines = [
        "import neurotools as nt",
        "",
        f"recording = nt.load({source!r})",
        "signal = nt.signal(recording)",
    ]
    if chosen.get("low") is not None or chosen.get("high") is not None:
        lines.append(f"signal = nt.filter(signal, low={chosen.get('low')!r}, high={chosen.get('high')!r})")
    if chosen.get("sfreq") is not None:
        lines.append(f"signal = nt.resample(signal, sfreq={chosen['sfreq']!r})")
    return lines
