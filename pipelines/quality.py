"""A recording of any kind to a page on its quality: what is dead, loud, missing, or out of the ordinary.

Samples are read part by part, so that memory stays bounded however long the recording is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xarray as xr

import neurotools as nt
from neurotools.errors import SettingsError

from .steps import Step, directly

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TAKES = "a recording with signals, spikes or counts, of any modality"
GIVES = {
    "fit.nc": "a group for each modality, and findings (nt.open_fit reads them)",
    "tables/MODALITY.tsv": "one row per channel, unit or region: its numbers and what stands out",
    "tables/findings.tsv": "one row per finding of the validator",
    "figures/": "every picture as png and svg",
    "report.html": "one self-contained page",
    "settings.yaml": "the settings, to run again",
    "provenance.json": "versions, input hashes, time, memory, warnings",
    "group.nc": "of several recordings: how many rows each has, and how many stand out",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What counts as out of the ordinary.

    Parameters
    ----------
    stand_out : float
        A row is flagged as loud or quiet where the logarithm of its standard deviation lies so many robust
        standard deviations from the median of all rows.
    """

    stand_out: float = 5.0

    def __post_init__(self) -> None:
        if not self.stand_out > 0:
            raise SettingsError("stand_out must be above 0", found=self.stand_out)


def analyse(recording: xr.DataTree, settings: Settings, step: Step = directly) -> xr.DataTree:
    """One recording to its numbers.

    Parameters
    ----------
    recording : xarray.DataTree
    settings : Settings
    step : callable, optional
        Not needed: the whole is one step.

    Returns
    -------
    xarray.DataTree
        As ``nt.quality`` returns it.
    """
    return nt.quality(recording, stand_out=settings.stand_out)


def tables(result: xr.DataTree) -> dict[str, pd.DataFrame]:
    """Rows of each modality, and findings."""
    groups = {str(name): node.to_dataset() for name, node in result.children.items()}
    found = groups.pop("findings")
    rows = {name: nt.report.flag_table(group) for name, group in groups.items()}
    return {**rows, "findings": found.to_dataframe().reset_index(drop=True)}


def figures(result: xr.DataTree, recording: xr.DataTree | None, settings: Settings) -> dict[str, Figure]:
    """Every picture that the result allows."""
    return nt.plot.quality_figures(result)


def page(
    recording: xr.DataTree | None,
    result: xr.DataTree,
    figures: Mapping[str, Figure],
    settings: Settings,
    provenance: Mapping[str, Any],
) -> str:
    """The report, as the text of one self-contained page."""
    return nt.report.quality_report(recording, result, provenance=provenance, figures=figures)


def summarise(results: Mapping[str, xr.DataTree], settings: Settings) -> xr.Dataset:
    """How many rows each recording has, how many stand out, and what the validator found."""
    rows = []
    for result in results.values():
        judged = [node.attrs for name, node in result.children.items() if name != "findings"]
        counts = {
            "n_rows": sum(attrs["n_rows"] for attrs in judged),
            "n_flagged": sum(attrs["n_flagged"] for attrs in judged),
            "n_findings": result["findings"].sizes["finding"],
        }
        rows.append(xr.Dataset(counts))
    return xr.concat(rows, dim=xr.DataArray(list(results), dims="recording", name="recording"))
