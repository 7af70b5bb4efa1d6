"""What an encoder's features tell about events, beside band power: linear probes on held-out stretches.

The checkpoint is one that ``encoder-pretrain``, ``nt.encoders`` or ``neurotools convert`` wrote. Each stretch
of trials is held out once; where band power tells as much, the page shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xarray as xr

import neurotools as nt
from neurotools.errors import SettingsError
from neurotools.provenance import settings_dict

from .dynamic_connectome import named_array
from .steps import Step, directly

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TAKES = "a recording with one continuous signal and events of at least two kinds"
GIVES = {
    "fit.nc": "groups encoder and band_power: what each probe predicted, and its score (nt.open_fit)",
    "tables/scores.tsv": "one row per kind of features: balanced accuracy with its interval",
    "figures/": "the scores, as png and svg",
    "report.html": "one self-contained page",
    "settings.yaml": "the settings, to run again",
    "provenance.json": "seeds, versions, input hashes, threads, time, memory, warnings",
}
BANDS = {"theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 30.0)}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Choices on the way from a checkpoint to scores.

    Parameters
    ----------
    checkpoint : str
        Folder of the encoder; has to be given.
    signal : str or None
        Path of the array to take ("eeg/signal") where a recording has several.
    conditions : tuple of str or None
        Types of events to tell apart; none takes all there are.
    start_s : float, in s
        From an event to the begin of its window.
    length_s : float, in s
        Length of a window: that of the windows the encoder was trained on.
    low : float or None, in Hz
        Remove what is slower first, as when the encoder was trained; none removes nothing.
    high : float or None, in Hz
        Remove what is faster first; none removes nothing.
    sfreq : float or None, in Hz
        Resample first; none keeps the rate.
    stretches : int
        Parts of the recording, each held out once.
    layer : int
        Whose features; -1 is the last.
    pool : str
        Over the tokens of a window: "mean", "max" or "flat".
    seed : int
        Of the bootstrap.
    """

    checkpoint: str = ""
    signal: str | None = None
    conditions: tuple[str, ...] | None = None
    start_s: float = 0.5
    length_s: float = 2.0
    low: float | None = 1.0
    high: float | None = 40.0
    sfreq: float | None = None
    stretches: int = 5
    layer: int = -1
    pool: str = "flat"
    seed: int = 0


def analyse(recording: xr.DataTree, settings: Settings, step: Step = directly) -> xr.DataTree:
    """One recording to the scores of two probes.

    Parameters
    ----------
    recording : xarray.DataTree
    settings : Settings
    step : callable, optional
        ``step(name, function, *data, **options)`` calls the function; the runner's keeps the result.

    Returns
    -------
    xarray.DataTree
        Groups ``encoder`` and ``band_power``.
    """
    if not settings.checkpoint:
        raise SettingsError(
            "the folder of the encoder has to be given",
            fix="--set checkpoint=OUT/checkpoint, of the pipeline encoder-pretrain or of nt.encoders",
        )
    trials = trials_of(recording, settings)
    fit = nt.encoders.open(settings.checkpoint)
    features = nt.model_of(fit).transform(fit, trials, layer=settings.layer, pool=settings.pool)
    power = nt.band_power(trials, BANDS, window_s=settings.length_s, overlap=0.0)
    how = {"target": "trial_type", "groups": settings.stretches, "seed": settings.seed}
    encoder = step("encoder", nt.probe, features, **how)
    bands = step("band_power", nt.probe, power, log=True, **how)
    return xr.DataTree.from_dict({"/encoder": encoder, "/band_power": bands})


def trials_of(recording: xr.DataTree, settings: Settings) -> xr.DataArray:
    """Windows of the conditions."""
    signal = nt.signal(recording) if settings.signal is None else named_array(recording, settings.signal)
    if settings.low is not None or settings.high is not None:
        signal = nt.filter(signal, low=settings.low, high=settings.high)
    if settings.sfreq is not None:
        signal = nt.resample(signal, sfreq=settings.sfreq)
    events = recording["events"].to_dataset()
    if settings.conditions is not None:
        events = events.isel(event=events["trial_type"].isin(list(settings.conditions)))
    last_s = settings.start_s + settings.length_s - 1 / signal.attrs["sfreq"]
    return nt.epochs(signal, events, tmin=settings.start_s, tmax=last_s, edge="drop")


def tables(result: xr.DataTree) -> dict[str, pd.DataFrame]:
    """Scores with their intervals."""
    import pandas as pd

    names = ("score", "score_low", "score_high")
    rows = [[name, *(float(node[key]) for key in names)] for name, node in result.children.items()]
    return {"scores": pd.DataFrame(rows, columns=["features", *names])}


def figures(result: xr.DataTree, recording: xr.DataTree | None, settings: Settings) -> dict[str, Figure]:
    """Bars beside chance."""
    probes = {name.replace("_", " "): node.to_dataset() for name, node in result.children.items()}
    return {"scores": nt.plot.plot_probe(probes).figure}


def page(
    recording: xr.DataTree | None,
    result: xr.DataTree,
    figures: Mapping[str, Figure],
    settings: Settings,
    provenance: Mapping[str, Any],
) -> str:
    """The report, as the text of one self-contained page."""
    return nt.report.probe_report(
        recording,
        tables(result)["scores"],
        settings=settings_dict(settings),
        provenance=provenance,
        figures=figures,
    )
