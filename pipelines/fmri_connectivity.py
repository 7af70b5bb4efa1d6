"""Region series to connectivity: correlation, partial correlation, changes over windows, and the group.

The numbers are nilearn's; each session is taken around its own mean, and every choice is a setting.
Across recordings the group has the mean matrix and the displacement of each from it in tangent space.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr

import neurotools as nt
from neurotools.errors import SettingsError

from .dynamic_connectome import named_array
from .steps import Step, directly

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TAKES = (
    "a recording with one continuous signal: region series, or 4-D images with an atlas; confounds beside it"
)
GIVES = {
    "fit.nc": "groups static (one matrix per kind) and windows, if asked for (nt.open_fit reads them)",
    "tables/pairs.tsv": "one row per pair of regions: its value of each kind",
    "figures/": "every picture as png and svg",
    "report.html": "one self-contained page",
    "settings.yaml": "the settings, to run again",
    "provenance.json": "seeds, versions, input hashes, threads, time, memory, warnings",
    "group.nc": "of several recordings: all matrices, their mean, and displacements in tangent space",
}

Kind = Literal["correlation", "partial", "covariance", "precision"]
Strategy = Literal["simple", "scrubbing", "compcor", "ica_aroma"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Choices on the way from series to connectivity.

    Parameters
    ----------
    signal : str or None
        Path of the array to analyse ("fmri/bold") where a recording has several.
    kinds : tuple of {"correlation", "partial", "covariance", "precision"}
        What to compute.
    estimator : {"ledoit_wolf", "empirical"}
        Of the covariance.
    standardize : bool
        Scale every series to variance one first.
    confounds : {"simple", "scrubbing", "compcor", "ica_aroma"} or None
        Strategy of removing confounds, where the recording has a table of them; none removes none.
    fd_threshold : float or None, in mm
        Framewise displacement above which volumes are left out (scrubbing).
    std_dvars_threshold : float or None
        Standardised DVARS above which volumes are left out (scrubbing).
    min_segment : int or None, in volumes
        Shorter stretches between those left out are left out too (scrubbing).
    detrend : bool
        Remove the straight line, when cleaning.
    low : float or None, in Hz
        Remove what is slower.
    high : float or None, in Hz
        Remove what is faster.
    window_s : float or None, in s
        Length of sliding windows; none for no windows.
    step_s : float or None, in s
        From one window to the next; none for a tenth of their length.
    """

    signal: str | None = None
    kinds: tuple[Kind, ...] = ("correlation", "partial")
    estimator: Literal["ledoit_wolf", "empirical"] = "ledoit_wolf"
    standardize: bool = True
    confounds: Strategy | None = None
    fd_threshold: float | None = None
    std_dvars_threshold: float | None = None
    min_segment: int | None = None
    detrend: bool = True
    low: float | None = None
    high: float | None = None
    window_s: float | None = None
    step_s: float | None = None

    def __post_init__(self) -> None:
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise SettingsError("kinds lists what to compute, each once", found=self.kinds)
        for name in ("window_s", "step_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise SettingsError(f"{name} is a time, in seconds, above 0", found=value)


def analyse(recording: xr.DataTree, settings: Settings, step: Step = directly) -> xr.DataTree:
    """One recording to its matrices.

    Parameters
    ----------
    recording : xarray.DataTree
    settings : Settings
    step : callable, optional
        ``step(name, function, *data, **options)`` calls the function; the runner's keeps the result.

    Returns
    -------
    xarray.DataTree
        Groups ``static`` and, where it was asked for, ``windows``.
    """
    series = cleaned(recording, settings)
    static = {
        kind: nt.connectivity(
            series, kind=kind, estimator=settings.estimator, standardize=settings.standardize
        )
        for kind in settings.kinds
    }
    groups = {"/static": xr.Dataset(static)}
    if settings.window_s is not None:
        groups["/windows"] = step(
            "windows", windows, series, window_s=settings.window_s, step_s=settings.step_s
        )
    return xr.DataTree.from_dict(groups)


def windows(series: xr.DataArray, *, window_s: float, step_s: float | None) -> xr.Dataset:
    """How correlation varies over windows; no more than a few matrices are held at a time."""
    return nt.window_summary(nt.dynamic_connectivity(series, window_s=window_s, step_s=step_s))


def cleaned(recording: xr.DataTree, settings: Settings) -> xr.DataArray:
    """The series to analyse, without confounds and outside frequencies where that was asked for."""
    series = nt.signal(recording) if settings.signal is None else named_array(recording, settings.signal)
    removed = None
    if settings.confounds is not None:
        removed = nt.confounds(
            recording, settings.confounds, fd_threshold=settings.fd_threshold,
            std_dvars_threshold=settings.std_dvars_threshold, min_segment=settings.min_segment,
        )  # fmt: skip
    if removed is None and settings.low is None and settings.high is None:
        return series
    return nt.clean(series, removed, detrend=settings.detrend, low=settings.low, high=settings.high)


def tables(result: xr.DataTree) -> dict[str, pd.DataFrame]:
    """One row per pair of different regions, with its value of each kind."""
    return {"pairs": nt.report.pair_table(result["static"].to_dataset())}


def figures(result: xr.DataTree, recording: xr.DataTree | None, settings: Settings) -> dict[str, Figure]:
    """Every picture that the result allows."""
    return nt.plot.connectivity_figures(result["static"].to_dataset(), windows_of(result))


def page(
    recording: xr.DataTree | None,
    result: xr.DataTree,
    figures: Mapping[str, Figure],
    settings: Settings,
    provenance: Mapping[str, Any],
) -> str:
    """The report, as the text of one self-contained page."""
    return nt.report.connectivity_report(
        recording, result["static"].to_dataset(), windows_of(result), provenance=provenance, figures=figures
    )


def windows_of(result: xr.DataTree) -> xr.Dataset | None:
    """The group ``windows``, where there is one."""
    return result["windows"].to_dataset() if "windows" in result.children else None


def summarise(results: Mapping[str, xr.DataTree], settings: Settings) -> xr.Dataset:
    """All matrices side by side, their mean, and each one's displacement from the others in tangent space."""
    return nt.group_connectivity({name: result["static"].to_dataset() for name, result in results.items()})


def group_figures(group: xr.Dataset, settings: Settings) -> dict[str, Figure]:
    """The mean matrix of each kind."""
    kinds = [kind for kind in settings.kinds if f"mean_{kind}" in group]
    return {f"mean_{kind}": _drawn(group[f"mean_{kind}"]) for kind in kinds}


def _drawn(matrix: xr.DataArray) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 4.7), layout="constrained")
    nt.plot.plot_connectivity(matrix, figure)
    return figure
