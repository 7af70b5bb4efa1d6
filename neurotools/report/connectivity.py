"""The page of a connectivity analysis: matrices, the strongest pairs, and changes over windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurotools.report import endings, summary
from neurotools.report.methods import own_references
from neurotools.report.page import Block, Figure, Note, References, Section, Table, Text, build_report

STRONGEST = 12  # pairs in the table of each kind
KINDS = {
    "correlation": "Correlation of every two {dim}s over the recording.",
    "partial": "Correlation of every two {dim}s given all the others: what is left when indirect paths are "
    "taken out.",
    "covariance": "Covariance of every two {dim}s over the recording.",
    "precision": "Inverse of the covariance.",
    "tangent": "Displacement of each subject from the mean of all, in the tangent space there.",
}
PAPERS = {
    "shrinkage": (
        "Ledoit O, Wolf M (2004). A well-conditioned estimator for large-dimensional covariance matrices. "
        "Journal of Multivariate Analysis 88, 365-411.", "10.1016/S0047-259X(03)00096-4",
    ),
    "windows": (
        "Leonardi N, Van De Ville D (2015). On spurious and real fluctuations of dynamic functional "
        "connectivity during rest. NeuroImage 104, 430-436.", "10.1016/j.neuroimage.2014.09.007",
    ),
    "cleaning": (
        "Lindquist MA, Geuter S, Wager TD, Caffo BS (2019). Modular preprocessing pipelines can reintroduce "
        "artifacts into fMRI data. Human Brain Mapping 40, 2358-2376.", "10.1002/hbm.24528",
    ),
    "tangent": (
        "Varoquaux G, Baronnet F, Kleinschmidt A, Fillard P, Thirion B (2010). Detection of brain "
        "functional-connectivity difference in post-stroke patients using group-level covariance modeling. "
        "MICCAI, LNCS 6361, 200-208.", "10.1007/978-3-642-15705-9_25",
    ),
}  # fmt: skip


def connectivity_report(
    recording: xr.DataTree | None,
    static: xr.Dataset,
    windows: xr.Dataset | None = None,
    *,
    provenance: Mapping[str, Any] | None = None,
    figures: Mapping[str, Any] | None = None,
    title: str | None = None,
) -> str:
    """Make the self-contained HTML page of a connectivity analysis.

    Parameters
    ----------
    recording : xarray.DataTree or None
        What was analysed.
    static : xarray.Dataset
        One variable per kind, each from ``nt.connectivity``.
    windows : xarray.Dataset, optional
        Result of ``nt.window_summary``.
    provenance : mapping, optional
        As the runner records it.
    figures : mapping of str to Figure, optional
        From ``nt.plot.connectivity_figures``.
    title : str, optional

    Returns
    -------
    str
        HTML text.
    """
    facts = dict(provenance or {})
    told = summary.described(recording, facts)
    pictures = dict(figures or {})
    first = next(iter(static.data_vars.values()))
    dim = str(first.dims[-2])
    n = int(first.attrs["n_samples"])
    shown = [_static(kind, static[kind], pictures.get(str(kind)), dim) for kind in static.data_vars]
    sections = [
        *shown,
        _over_time(windows, pictures),
        Section("What these numbers are not", [Note(_limits(static, windows, n), warn=True)], short="Limits"),
        endings.recording_section(told),
        Section("Methods", _methods(told, static, windows, facts)),
        endings.provenance_section(facts),
        endings.again_section(facts, _python(static, windows, facts)),
    ]
    cards = [(f"{dim}s", f"{first.sizes[dim]}", ""), ("samples", f"{n:,}", "")]
    if "subject" in first.sizes:
        cards.insert(0, ("subjects", f"{first.sizes['subject']}", ""))
    if windows is not None:
        cards.append(("windows", f"{windows.sizes['window']:,}", f"of {windows.attrs['window_s']:g} s"))
    return build_report(
        title or summary.title_of(told, facts, "Connectivity"),
        [section for section in sections if section.blocks],
        subtitle=f"How strongly {first.sizes[dim]} {dim}s go together.",
        eyebrow="neurotools · connectivity", cards=cards,
    )  # fmt: skip


# ---- sections -------------------------------------------------------------------------------------------
def _static(kind: Any, matrix: xr.DataArray, image: Any, dim: str) -> Section:
    text = KINDS[str(kind)].format(dim=dim)
    blocks: list[Block] = []
    if image is not None:
        drawn = f"{text} The strongest colour stands for the 99.5 % quantile; the diagonal is left blank."
        blocks.append(Figure(image, drawn, f"Matrix of {kind} between {matrix.sizes[dim]} {dim}s.", ""))
    name = "partial correlation" if kind == "partial" else str(kind)
    blocks.append(Table(strongest_pairs(matrix), f"Strongest pairs by {name}"))
    return Section(name.capitalize(), blocks)


def strongest_pairs(matrix: xr.DataArray, n: int = STRONGEST) -> pd.DataFrame:
    """The pairs of different regions with the largest absolute values, means over subjects where several."""
    *lead, row, column = map(str, matrix.dims)
    values = matrix.mean(lead).to_numpy()
    i, j = np.triu_indices(len(values), 1)
    at = np.argsort(-np.abs(values[i, j]), kind="stable")[:n]
    names = matrix[row].to_numpy()
    table = pd.DataFrame({row: names[i[at]], column: names[j[at]], "value": values[i, j][at]})
    if lead:
        table["standard deviation over subjects"] = matrix.std(lead).to_numpy()[i, j][at]
    return table


def pair_table(static: xr.Dataset) -> pd.DataFrame:
    """One row per pair of different regions (and subject), with its value of each kind."""
    dim = str(next(iter(static.data_vars.values())).dims[-2])
    n = static.sizes[dim]
    places = static.assign_coords(i=(dim, np.arange(n)), j=(f"{dim}_to", np.arange(n)))
    table = places.to_dataframe().reset_index()
    return table[table["i"] < table["j"]].drop(columns=["i", "j"]).reset_index(drop=True)


def _over_time(windows: xr.Dataset | None, pictures: Mapping[str, Any]) -> Section:
    if windows is None:
        return Section("Over time")
    said = {
        "windows": (
            "Mean absolute value over all pairs in each window, and the root mean square change of a pair "
            "since the window before.",
            "Curves of mean strength and of change over windows.",
        ),
        "window_sd": ("Standard deviation of each pair over windows.", "Matrix of standard deviations."),
    }
    shown: list[Block] = [Figure(pictures[k], *said[k], "") for k in said if k in pictures]
    return Section("Over time", shown)


def _limits(static: xr.Dataset, windows: xr.Dataset | None, n: int) -> list[str]:
    points = [
        "Samples of slow signals are not independent: the number of samples says little about how certain a "
        "value is.",
        "What moves all regions together (head motion, breathing, drift) raises every correlation. Remove "
        "confounds before reading strengths.",
    ]
    if any(matrix.attrs.get("estimator") == "ledoit_wolf" for matrix in static.data_vars.values()):
        points.append(
            "Shrinkage makes every value smaller, by a share that depends on the length of the recording. "
            "Compare recordings of like length, or use estimator=empirical."
        )
    if windows is not None:
        points.append(
            "Correlations vary between windows also where nothing changes. Only a comparison with surrogate "
            "recordings of the same spectrum can show that connectivity itself varied."
        )
    return points


def _methods(
    recording: xr.DataTree | xr.DataArray | None,
    static: xr.Dataset,
    windows: xr.Dataset | None,
    facts: Mapping[str, Any],
) -> list[Block]:
    first = next(iter(static.data_vars.values()))
    dim, n = str(first.dims[-2]), int(first.attrs["n_samples"])
    shrunk = first.attrs["estimator"] == "ledoit_wolf"
    cited = list(own_references(recording))
    text = f"The covariance of {first.sizes[dim]} {dim}s was estimated from {n} samples "
    text += "with the shrinkage of Ledoit and Wolf" if shrunk else "by maximum likelihood, without shrinkage"
    text += ", each session around its own mean."
    if shrunk:
        cited.append(PAPERS["shrinkage"])
    paragraphs = [text, f"From it: {', '.join(str(kind) for kind in static.data_vars)}."]
    if "clean" in str(first.attrs.get("history", "")):
        paragraphs.append(
            "Beforehand signals were cleaned with nilearn: trends, frequencies outside the band, and the "
            "confounds named in the provenance were removed in one regression."
        )
        cited.append(PAPERS["cleaning"])
    if windows is not None:
        paragraphs.append(
            f"Correlation was also taken in windows of {windows.attrs['window_s']:g} s, every "
            f"{windows.attrs['step_s']:g} s; no window crosses an edge between sessions."
        )
        cited.append(PAPERS["windows"])
    if "tangent" in static:
        cited.append(PAPERS["tangent"])
    paragraphs.append(endings.software(facts.get("versions"), "numpy", "scipy", "xarray", "nilearn"))
    return [*map(Text, paragraphs), References(cited)]


def _python(static: xr.Dataset, windows: xr.Dataset | None, facts: Mapping[str, Any]) -> str:
    source = str(facts.get("source") or facts.get("recording") or "SOURCE")
    lines = ["import neurotools as nt", "", f"recording = nt.load({source!r})"]
    for kind, matrix in static.data_vars.items():
        estimator = matrix.attrs["estimator"]
        lines.append(f"{kind} = nt.connectivity(recording, kind={str(kind)!r}, estimator={estimator!r})")
    if windows is not None:
        length, step = float(windows.attrs["window_s"]), float(windows.attrs["step_s"])
        made = f"nt.dynamic_connectivity(recording, window_s={length:g}, step_s={step:g})"
        lines.append(f"windows = nt.window_summary({made})")
    lines.append(f"nt.plot.plot_connectivity({next(iter(static.data_vars))})")
    return "\n".join(lines)
