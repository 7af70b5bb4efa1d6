"""The key numbers of a dynamic connectome, in words, cards and lines to copy."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurotools import samples
from neurotools.errors import SchemaError
from neurotools.plot.reading import components, strength
from neurotools.plot.style import UNIT_WORDS
from neurotools.report.methods import Told, model_settings, recording_citation, single_recording, unit_word
from neurotools.schema import signal


@dataclass(frozen=True)
class Results:
    """What a page is about, and the numbers that more than one part of it needs."""

    recording: xr.DataTree | xr.DataArray | None
    fit: xr.Dataset
    communities: xr.Dataset | None
    connectome: xr.Dataset | None
    null: xr.Dataset | None = None
    uncertainty: xr.Dataset | None = None
    conditions: xr.Dataset | None = None

    @property
    def n_units(self) -> int:
        """Number of units, regions or channels of the fit."""
        return int(self.fit.sizes[unit_word(self.fit)])

    @property
    def step_s(self) -> float:
        """Seconds per sample of the time loadings."""
        time = self.fit["time"].to_numpy()
        return float(np.median(np.diff(time))) if time.size > 1 else float("nan")

    @property
    def duration_s(self) -> float:
        """Seconds that the fit covers, without gaps."""
        return self.fit.sizes["time"] * self.step_s

    @property
    def restart_similarity(self) -> float | None:
        """Median similarity between two restarts, or None for a single one."""
        if self.fit.sizes.get("restart", 1) < 2 or "restart_similarity" not in self.fit:
            return None
        values = self.fit["restart_similarity"].to_numpy()
        return float(np.median(values[np.triu_indices(len(values), 1)]))

    @functools.cached_property
    def silent(self) -> int:
        """Number of units that take part in no motif."""
        return int((strength(self.fit).max("component") <= 0).sum())

    @property
    def saved(self) -> dict[Any, float] | None:
        """Nats that the best variant of the block model saves over one block, by motif."""
        com = self.communities
        if com is None or not {"description_length", "null_description_length"} <= set(com.data_vars):
            return None
        length = com["description_length"]
        best = length.min("variant") if "variant" in length.dims else length
        saving = com["null_description_length"] - best
        if "component" not in saving.dims:
            return {"all": float(saving)}
        return dict(zip(saving["component"].to_numpy().tolist(), saving.to_numpy().tolist(), strict=True))

    def n_communities(self, component: Any) -> int:
        """Number of communities of one motif, on the finest level."""
        assert self.communities is not None
        label = self.communities["label"]
        label = label.sel(component=component) if "component" in label.dims else label
        label = label.isel(level=0) if "level" in label.dims else label
        return int(np.unique(label.to_numpy()[label.to_numpy() >= 0]).size)


def described(
    recording: xr.DataTree | xr.DataArray | None, facts: Mapping[str, Any]
) -> xr.DataTree | xr.DataArray | None:
    """A recording with the title, citation and licence of the bundled sample that it is, if it is one."""
    known = samples.names()
    name = next((str(facts[key]) for key in ("recording", "source") if str(facts.get(key)) in known), None)
    if recording is None or name is None:
        return recording
    sample = samples.describe(name)
    told = {
        "title": sample.what,
        "citation": sample.citation,
        "licence": sample.licence,
        "known": sample.known,
    }
    recording = recording.copy(deep=False)
    recording.attrs = {**told, **recording.attrs}
    return recording


# ---- words ----------------------------------------------------------------------------------------------
def title_of(recording: xr.DataTree | xr.DataArray | None, facts: Mapping[str, Any], otherwise: str) -> str:
    """A title for the page: the recording's own, else its name, else what the page is about."""
    attrs = {} if recording is None else recording.attrs
    for name in (attrs.get("title"), facts.get("recording"), attrs.get("source")):
        if name:
            return str(name)
    return otherwise


def subtitle(results: Results) -> str:
    """One sentence under the title."""
    unit = unit_word(results.fit)
    whom = "" if single_recording(results.fit) else f" in {results.fit.sizes['subject']} subjects"
    return f"Which of {results.n_units} {unit}s change together{whom}, in which patterns, and when."


def sentence(results: Results) -> str:
    """The result in one paragraph."""
    fit, unit = results.fit, unit_word(results.fit)
    names = components(fit)
    error = float(fit.attrs.get("relative_error", float("nan")))
    parts = [
        f"The moment-to-moment affinities of {results.n_units} {unit}s over {results.duration_s:.4g} s "
        "are described "
        f"by {names.size} motifs, which account for {100 * max(0.0, 1 - error**2):.0f} % of their sum of "
        "squares."
    ]
    if results.communities is not None:
        counts = [results.n_communities(name) for name in names]
        span = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
        parts.append(f"Within a motif the {unit}s fall into {span} communities.")
    if results.null is not None:
        above = int((results.null["p_corrected"] <= 0.05).sum())
        parts.append(
            f"{above} of the {names.size} stand above chance (surrogates, corrected for their number)."
        )
    if results.connectome is not None:
        active = results.connectome["active"].transpose("component", "time").to_numpy().astype(bool)
        parts.append(
            f"At least one motif is active during {100 * active.any(axis=0).mean():.0f} % of the time, in "
            f"{results.connectome.sizes['interval']} intervals."
        )
    return " ".join(parts)


def cards(results: Results, facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Key numbers: (what it is, value, unit)."""
    fit, unit = results.fit, unit_word(results.fit)
    made = [
        (f"{unit}s", f"{results.n_units:,}", ""),
        ("analysed", f"{results.duration_s:.4g}", "s"),
        ("sampling rate", f"{1 / results.step_s:.4g}", "Hz"),
        ("motifs (rank)", f"{components(fit).size}", ""),
        ("relative error", f"{float(fit.attrs.get('relative_error', float('nan'))):.4f}", ""),
    ]
    error = float(fit.attrs.get("relative_error", float("nan")))
    made.append(("of the sum of squares explained", f"{100 * max(0.0, 1 - error**2):.0f}", "%"))
    if not single_recording(fit):
        made.insert(1, ("subjects", f"{fit.sizes['subject']}", ""))
    if results.restart_similarity is not None:
        restarts = fit.sizes["restart"]
        made.append(
            (f"median similarity of {restarts} restarts", f"{results.restart_similarity:.2f}", "of 1")
        )
    if results.communities is not None:
        total = sum(results.n_communities(name) for name in components(fit))
        made.append(("communities in all motifs", f"{total}", ""))
    if results.connectome is not None:
        made.append(("intervals of activity", f"{results.connectome.sizes['interval']:,}", ""))
    if "wall_time_s" in facts:
        made.append(("to compute", f"{float(facts['wall_time_s']):.3g}", "s"))
    return made


# ---- facts ----------------------------------------------------------------------------------------------
def recording_facts(recording: xr.DataTree | xr.DataArray) -> dict[str, str]:
    """Where a recording comes from and what its main array is."""
    attrs = recording.attrs
    found = {name: str(attrs[key]) for key, name in (
        ("title", "Title"), ("source", "Source"), ("format", "Format"), ("species", "Species"),
        ("subject", "Subject"), ("area", "Area"), ("licence", "Licence"), ("known", "What is known"),
    ) if attrs.get(key)}  # fmt: skip
    if recording_citation(recording):
        found["Cite"] = recording_citation(recording)
    try:
        array = signal(recording)
    except SchemaError:
        return found
    time = array["time"].to_numpy() if "time" in array.coords else np.empty(0)
    found["Analysed array"] = str(array.name or "signal")
    found["Shape"] = " x ".join(f"{size:,} {dim}" for dim, size in array.sizes.items())
    unit = str(array.attrs.get("units", "not stated"))
    found["Unit of values"] = UNIT_WORDS.get(unit, unit)
    if time.size > 1:
        step = float(np.median(np.diff(time)))
        found["Clock"] = f"{1 / step:.6g} Hz from {time[0]:.4g} to {time[-1] + step:.6g} s"
    return found


NAMES = {
    "pipeline": "Pipeline", "recording": "Recording", "created": "Made on", "content_hash": "Content hash",
    "seeds": "Seeds", "threads": "Threads", "wall_time_s": "Wall time (s)", "peak_memory_mb": "Peak "
    "memory (MB)",
    "python": "Python", "platform": "System", "machine": "Machine", "cpu": "Processor", "device": "Device",
    "versions": "Versions", "warnings": "Warnings",
}  # fmt: skip


def recorded_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    """The recorded facts that people look for; the rest stands in the JSON below them."""
    shown = {
        name: _plain(facts[key]) for key, name in NAMES.items() if facts.get(key) not in (None, "", [], {})
    }
    for name, entry in dict(facts.get("inputs") or {}).items():
        if isinstance(entry, Mapping) and "sha256" in entry:
            shown[f"SHA-256 of {name}"] = str(entry["sha256"])
    return shown


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(entry)}" for key, entry in value.items() if entry is not None)
    if isinstance(value, (list, tuple)):
        return "; ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# ---- lines to copy --------------------------------------------------------------------------------------
def command(facts: Mapping[str, Any]) -> str:
    """The command that makes the same result."""
    source = str(facts.get("source") or facts.get("recording") or "SOURCE")
    root = dict(facts.get("seeds") or {}).get("root")
    seed = "" if root is None else f" --seed {root}"
    name = facts.get("pipeline", "dynamic-connectome")
    return f"neurotools run {name} {_quoted(source)} --out results --settings settings.yaml{seed}"


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


def python_lines(results: Results, settings: Any, facts: Mapping[str, Any]) -> str:
    """The same steps as Python, with the settings that were used."""
    told = Told(results.fit, settings)
    source = str(facts.get("source") or facts.get("recording") or "SOURCE")
    names = ("kernel", "smooth_s", "normalise", "floor", "lag_s")
    affinity = {key: told.get(key) for key in names if key in told and (key != "lag_s" or told.get(key))}
    lines = [
        "import neurotools as nt",
        "",
        f"recording = nt.load({source!r})",
        f"traces = {_traces(told)}",
        f"affinity = nt.differential_affinity(traces, {_arguments(affinity)})",
        f"fit = nt.NTF({_arguments(model_settings(results.fit))}).fit(affinity)",
    ]
    if results.communities is not None:
        chosen = _arguments(model_settings(results.communities))
        lines.append(f"communities = nt.motif_communities(nt.BlockModel({chosen}), fit)")
    if results.connectome is not None:
        threshold = told.get("threshold")
        given = "" if threshold is None else f", threshold={threshold!r}"
        given += f", min_pause_s={told.get('min_pause_s')!r}" if told.get("min_pause_s") else ""
        lines.append(f"connectome = nt.dynamic_connectome(fit, communities{given})")
        lines.append("nt.plot.plot_communities_over_time(connectome, fit)")
    return "\n".join([*lines, *_tests(results)])


def _tests(results: Results) -> list[str]:
    """Lines that repeat the tests of motifs."""
    lines, model = [], f"nt.NTF({_arguments(model_settings(results.fit))})"
    if results.null is not None:
        told = ("surrogate", "n_null", "seed")
        given = {name: results.null.attrs[name] for name in told if name in results.null.attrs}
        lines.append(f"null = nt.motif_null({model}, affinity, fit, {_arguments(given)})")
    if results.uncertainty is not None and {"over", "seed"} <= set(results.uncertainty.attrs):
        given = {name: results.uncertainty.attrs[name] for name in ("over", "seed")}
        given["n_replicates"] = results.uncertainty.sizes["replicate"]
        lines.append(f"replicates = nt.bootstrap_motifs({model}, affinity, fit, {_arguments(given)})")
        lines.append("intervals = nt.interval_uncertainty(connectome, replicates)")
    return lines


def _traces(told: Told) -> str:
    if told.get("signal") is not None:
        traces = f"recording[{told.get('signal')!r}]"
    elif told.get("bin_width_s") is not None:
        traces = f"nt.bin_spikes(recording, width_s={told.get('bin_width_s')!r})"
    else:
        traces = "nt.signal(recording)"
    if told.get("low") is not None or told.get("high") is not None:
        traces = f"nt.clean({traces}, low={told.get('low')!r}, high={told.get('high')!r})"
    if told.get("sfreq") is not None:
        traces = f"nt.resample({traces}, sfreq={told.get('sfreq')!r})"
    return traces if told.get("band") is None else f"nt.band_power({traces}, {tuple(told.get('band'))!r})"


def _arguments(settings: Mapping[str, Any]) -> str:
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in settings.items()}
    return ", ".join(f"{key}={value!r}" for key, value in plain.items())
