"""What was done, in words, with citations: written from the settings that a fit carries, not from memory."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.provenance import settings_dict
from neurotools.report.literature import LITERATURE
from neurotools.schema import SPACE_DIMS

KERNELS = {
    "geomean": "the geometric mean of their sizes, sqrt(|g_i| |g_j|)",
    "product": "the product of their sizes, |g_i| |g_j|",
    "min": "the smaller of their sizes, min(|g_i|, |g_j|)",
    "ratio": "the ratio of the smaller to the larger of their sizes",
}
LEVEL_KERNELS = {
    "corr_window": "the Pearson correlation of their traces in a sliding window {width}",
    "mtd": "the mean, over a sliding window {width}, of the product of their changes from sample to "
    "sample, each "
    "in units of its standard deviation",
    "edge": "the product of their standardised traces",
}
DIRECTED_KERNELS = {
    "anti": "The affinity of two {unit}s at a moment is the geometric mean of the sizes of their "
    "slopes where "
    "one rises and the other falls, and 0 otherwise.",
    "lagged": "The affinity of an ordered pair of {unit}s at a moment is the geometric mean of the sizes of "
    "their slopes, the first taken {lag} s earlier, where both are of one sign, and 0 otherwise.",
}
NORMALISERS = {
    "max": "each {unit}'s slopes were divided by their largest size",
    "percentile99": "each {unit}'s slopes were divided by the 99th percentile of their non-zero sizes",
    "none": "slopes were not scaled",
}


COMPUTES = ("numpy", "scipy", "numba", "xarray")  # what the numbers rest on; the rest is provenance
LOSSES = {"l2": "least squares", "kl": "the Kullback-Leibler divergence"}


@dataclass(frozen=True)
class Methods:
    """Paragraphs of a methods section, and the references that they cite, in order."""

    paragraphs: tuple[str, ...]
    references: tuple[tuple[str, str], ...]


class Cited:
    """Collects references in the order in which a text cites them."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def __call__(self, *keys: str) -> str:
        """Text of a citation of ``keys``, in brackets."""
        self.keys += [key for key in keys if key not in self.keys]
        return "(" + "; ".join(LITERATURE[key][0] for key in keys) + ")"


def methods_text(
    fit: xr.Dataset,
    communities: xr.Dataset | None = None,
    connectome: xr.Dataset | None = None,
    *,
    recording: xr.DataTree | xr.DataArray | None = None,
    settings: Any = None,
    versions: Mapping[str, str] | None = None,
) -> str:
    """Write a methods section for a dynamic connectome, with references, as plain text.

    Parameters
    ----------
    fit : xarray.Dataset
        Fit of ``nt.NTF``; its own attrs say what was run.
    communities, connectome : xarray.Dataset, optional
        Results of ``nt.BlockModel`` and ``nt.dynamic_connectome``.
    recording : xarray.DataTree or xarray.DataArray, optional
        What was analysed, for its size, clock and citation.
    settings : dataclass or mapping, optional
        Settings of the pipeline, for what the fit does not carry (smoothing, normalisation, floor).
    versions : mapping, optional
        Package to version.

    Returns
    -------
    str
    """
    written = methods(fit, communities, connectome, recording=recording, settings=settings, versions=versions)
    listed = [f"- {text}" + (f" doi:{doi}" if doi else "") for text, doi in written.references]
    return "\n\n".join(written.paragraphs) + "\n\nReferences\n" + "\n".join(listed) + "\n"


def methods(
    fit: xr.Dataset,
    communities: xr.Dataset | None = None,
    connectome: xr.Dataset | None = None,
    *,
    recording: xr.DataTree | xr.DataArray | None = None,
    settings: Any = None,
    versions: Mapping[str, str] | None = None,
) -> Methods:
    """As ``methods_text``, in paragraphs and references."""
    if "settings" not in fit.attrs:
        raise SchemaError("methods are written from the settings of a fit, and this one carries none",
                          found=sorted(map(str, fit.attrs)))  # fmt: skip
    cite, told = Cited(), Told(fit, settings)
    unit = unit_word(fit)
    own = own_references(recording)
    paragraphs = [
        _data(fit, recording, told, len(own)),
        _affinity(told, unit, cite),
        _factorisation(fit, unit, cite),
    ]
    if communities is not None:
        paragraphs.append(_communities(communities, unit, cite))
    if connectome is not None:
        paragraphs.append(_activity(connectome, told, cite))
    paragraphs.append(_software(fit, versions))
    references = [*own, *(LITERATURE[key][1:] for key in cite.keys)]
    return Methods(tuple(paragraphs), tuple(references))


# ---- where the facts stand ----------------------------------------------------------------------------
class Told:
    """Looks a setting up: first in the attributes of the fit, then in the pipeline's settings."""

    def __init__(self, fit: xr.Dataset, settings: Any) -> None:
        if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
            settings = settings_dict(settings)
        self.places: list[Mapping[str, Any]] = [fit.attrs, *_flat(settings or {})]

    def __contains__(self, name: str) -> bool:
        return any(name in place for place in self.places)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a setting, or ``default`` where nothing states it."""
        return next((place[name] for place in self.places if name in place), default)


def _flat(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    nested = [value for value in settings.values() if isinstance(value, Mapping)]
    return [settings, *(inner for value in nested for inner in _flat(value))]


def model_settings(result: xr.Dataset) -> dict[str, Any]:
    """The settings that a model wrote into its result."""
    return dict(json.loads(result.attrs.get("settings", "{}")))


def unit_word(dataset: xr.Dataset) -> str:
    """``unit``, ``region`` or ``channel``."""
    return next((dim for dim in SPACE_DIMS if dim in dataset.dims), "unit")


def recording_citation(recording: xr.DataTree | xr.DataArray | None) -> str:
    """How the recording itself wants to be cited, or nothing."""
    return "" if recording is None else str(recording.attrs.get("citation", "")).strip()


def own_references(recording: xr.DataTree | xr.DataArray | None) -> list[tuple[str, str]]:
    """The recording's own citation as (text, DOI), one for each of its paragraphs."""
    paragraphs = [" ".join(text.split()) for text in re.split(r"\n\s*\n", recording_citation(recording))]
    found = []
    for text in filter(None, paragraphs):
        doi = re.search(r"\s*doi:\s*(10\.\S+?)\.?$", text, flags=re.IGNORECASE)
        found.append((text[: doi.start()], doi[1]) if doi else (text, ""))
    return found


def single_recording(fit: xr.Dataset) -> bool:
    """Whether the third factor, over subjects, is missing."""
    return "subject_loading" not in fit or fit.sizes.get("subject", 1) < 2


# ---- the paragraphs -------------------------------------------------------------------------------------
def _data(fit: xr.Dataset, recording: xr.DataTree | xr.DataArray | None, told: Told, own: int) -> str:
    unit, time = unit_word(fit), fit["time"].to_numpy()
    step = float(np.median(np.diff(time))) if time.size > 1 else float("nan")
    attrs = {} if recording is None else recording.attrs
    title = str(attrs.get("title", attrs.get("source", ""))).strip()
    text = f"{fit.sizes[unit]} {unit}s{f' ({title})' if title else ''} were analysed at {time.size} moments"
    text += f", {step:.5g} s apart, {time.size * step:.5g} s in all"
    if not single_recording(fit):
        text += f", in {fit.sizes['subject']} subjects"
    text += "."
    if told.get("bin_width_s") is not None:
        text += f" Spikes were counted in bins of {float(told.get('bin_width_s')):.4g} s."
    if told.get("low") is not None or told.get("high") is not None:
        edges = [(told.get("low"), "slower than {:g} Hz"), (told.get("high"), "faster than {:g} Hz")]
        gone = " and ".join(word.format(edge) for edge, word in edges if edge is not None)
        text += f" The straight line and what is {gone} were removed first."
    if told.get("band") is not None:
        low, high = told.get("band")
        text += f" The signal analysed is the power between {low:g} and {high:g} Hz."
    if not own:
        return text
    which = "the first reference" if own == 1 else f"the first {own} references"
    return f"{text} Cite {which} for the recording."


def _affinity(told: Told, unit: str, cite: Cited) -> str:
    kernel = told.get("kernel")
    if kernel is None:
        return "How the affinities were computed is not recorded in the fit."
    if kernel in LEVEL_KERNELS:
        smooth = told.get("smooth_s")
        width = f"{float(smooth):.4g} s wide" if smooth else "whose width is not recorded"
        source = {"mtd": "shine", "edge": "faskowitz"}.get(str(kernel))
        cited = f" {cite(source)}" if source else ""
        what = LEVEL_KERNELS[str(kernel)].format(width=width)
        return f"The affinity of two {unit}s at a moment is {what}, where positive, and 0 otherwise{cited}."
    if kernel in DIRECTED_KERNELS:
        text = (
            f"{_slope(told, unit)}. {DIRECTED_KERNELS[str(kernel)].format(unit=unit, lag=told.get('lag_s'))}"
        )
        return f"{text} The kernel {kernel} is not that of the published method {cite('dyballa')}."
    known = KERNELS.get(str(kernel), "a function of their sizes")
    roots = f" Multiplying slopes goes back to {cite('shine')[1:-1]}." if kernel == "product" else ""
    return (
        f"{_slope(told, unit)}. The affinity of two {unit}s at a moment is {known}, where both rise or both "
        f"fall, and 0 otherwise (kernel {kernel}), after the differential affinity of the published method "
        f"{cite('dyballa')}.{roots} The exact kernel of the published work is not confirmed."
    )


def _slope(told: Told, unit: str) -> str:
    smooth = told.get("smooth_s")
    if smooth:
        how = f"with the derivative of a Gaussian of standard deviation {float(smooth):.4g} s"
    elif "smooth_s" in told:
        how = "by finite differences"
    else:
        how = "(the width of the filter is not recorded in the fit)"
    scale = NORMALISERS.get(str(told.get("normalise")), "").format(unit=unit)
    floor = float(told.get("floor", 0) or 0)
    text = f"The slope g of each trace was taken {how}" + (f"; {scale}" if scale else "")
    return text + (f"; scaled slopes below {floor:g} count as none" if floor else "")


def _factorisation(fit: xr.Dataset, unit: str, cite: Cited) -> str:
    chosen = model_settings(fit)
    single, loss = single_recording(fit), chosen.get("loss", "l2")
    modes = f"{unit} pairs x time" if single else f"{unit} pairs x subjects x time"
    rank, layout = chosen.get("rank"), chosen.get("layout", "pair")
    text = f"The affinities ({modes}) were factorised into {rank} non-negative components {cite('kolda')}"
    if layout == "pair":
        text += f", each with a free motif matrix over {unit}s (layout pair)"
        nmf = (
            (
                f", which for a single recording is non-negative matrix factorisation {cite('lee')} and in "
                f"general not unique {cite('donoho')}"
            )
            if single
            else ""
        )
        text += nmf
    else:
        text += f", each motif the outer product of one loading per {unit} with itself (layout {layout})"
    text += f", by {LOSSES.get(loss, loss)}"
    text += f" with hierarchical alternating updates {cite('cichocki')}" if loss == "l2" else ""
    text += f" with multiplicative updates {cite('chi')}" if loss == "kl" else ""
    return f"{text}, {_search(fit, chosen)}"


def _search(fit: xr.Dataset, chosen: Mapping[str, Any]) -> str:
    tol = float(chosen.get("tol", 0))
    stop = f", stopped when a sweep lowered the relative error by less than {tol:g}," if tol else " each,"
    ended = (
        "It converged" if int(fit.attrs.get("converged", 0)) else "It had NOT converged when it was stopped"
    )
    return (
        f"from {chosen.get('n_restarts')} random starts (seed {chosen.get('seed')}); at most "
        f"{chosen.get('max_iter')} sweeps{stop} and the start with the lowest error was kept. {ended} after "
        f"{fit.attrs.get('n_iter', '?')} sweeps at a relative error of "
        f"{float(fit.attrs.get('relative_error', float('nan'))):.4f}. Computed in {chosen.get('dtype')} on "
        f"{chosen.get('device')}."
    )


def _communities(communities: xr.Dataset, unit: str, cite: Cited) -> str:
    chosen = model_settings(communities)
    weights = chosen.get("weights", "weighted")
    text = (
        f"Communities of {unit}s within each motif were found with a weighted stochastic block model "
        f"{cite('holland', 'peixoto-weighted')} with {weights} weights"
    )
    corrected = chosen.get("degree_corrected", "auto")
    if corrected == "auto":
        text += (
            f", fitted without and with degree correction {cite('karrer')}; the variant with the shorter "
            "description length was kept"
        )
    else:
        text += f", with degree correction {cite('karrer')}" if corrected else ", without degree correction"
    text += f", in a hierarchy of levels {cite('peixoto-nested')}" if chosen.get("nested") else ""
    if "pairs" in communities.attrs:
        text += f"; the weight of a pair was the {communities.attrs['pairs']}"
    if "edges" in communities.attrs:
        text += f"; edges were those {communities.attrs['edges']}"
    if "null_description_length" in communities:
        text += ", and compared with the null model of a single block"
    return text + (f" (seed {chosen['seed']})." if "seed" in chosen else ".")


def _activity(connectome: xr.Dataset, told: Told, cite: Cited) -> str:
    threshold = told.get("threshold")
    if threshold is not None:
        rule = f"lies above {float(threshold):.4g} of its largest value"
    elif "threshold" in told:
        rule = (
            f"lies above a threshold that parts low from high square roots of loadings best {cite('otsu')}, "
            "one per motif, and somewhere in the interval above that of the loadings themselves"
        )
    else:
        rule = "lies above a threshold, one per motif"
    ends = ""
    if float(connectome["overhang"].max() if "overhang" in connectome else 0.0) > 0:
        low, high = (float(getattr(connectome["overhang"], side)()) for side in ("min", "max"))
        by = f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"
        ends = f" Both ends were moved inwards by what smoothing carries over them ({by} s)."
    return (
        f"A motif counts as active while its time loading {rule}; unbroken runs of active samples are the "
        f"intervals listed.{ends} No interval crosses the edge of a session or a pause in the clock."
    )


def _software(fit: xr.Dataset, versions: Mapping[str, str] | None) -> str:
    found = dict(versions or {})
    own = found.pop("neurotools", fit.attrs.get("neurotools_version", "of unknown version"))
    rest = ", ".join(f"{name} {found[name]}" for name in COMPUTES if name in found)
    return f"Software: neurotools {own}" + (f" with {rest}." if rest else ".")
