"""A recording to an encoder that was trained on it without labels: its weights, losses, and features.

The signal is filtered, cut into windows, and a network of ``nt.encoders`` learns from them; the last stretch
of each recording (or whole sessions) is held out. The checkpoint opens with ``nt.encoders.open``.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
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

TAKES = "a recording with one continuous signal: EEG, MEG, sEEG, ECoG"
GIVES = {
    "fit.nc": "groups fit (losses, split), checkpoint (the files below) and features (nt.open_fit)",
    "checkpoint/": "the folder with the weights: nt.encoders.open",
    "tables/training.tsv": "one row per look: losses, rate, and what the architecture tells",
    "figures/": "the training, as png and svg",
    "report.html": "one self-contained page",
    "settings.yaml": "the settings, to run again",
    "provenance.json": "seeds, versions, input hashes, threads, time, memory, warnings",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Choices on the way from a recording to an encoder.

    Parameters
    ----------
    signal : str or None
        Path of the array to take ("eeg/signal") where a recording has several.
    low : float or None, in Hz
        Remove what is slower first; none removes nothing.
    high : float or None, in Hz
        Remove what is faster first; none removes nothing.
    sfreq : float or None, in Hz
        Resample first; none keeps the rate.
    length_s : float, in s
        Length of a window.
    overlap : float
        Share of a window that the next one covers again.
    encoder : str
        A name of nt.encoders.list().
    steps : int
        Training steps of each stage.
    batch : int
        Samples of one step.
    rate : float
        Highest learning rate.
    held_out : float
        Share of groups, or of time, that is not trained on.
    groups : str or None
        What is held out as a whole ("session"); none takes what there is, or the last stretch.
    seed : int
        Of weights, split and order.
    device : str
        "cpu", "cuda", or "auto".
    """

    signal: str | None = None
    low: float | None = 1.0
    high: float | None = 40.0
    sfreq: float | None = None
    length_s: float = 2.0
    overlap: float = 0.5
    encoder: str = "neurogpt-nano"
    steps: int = 300
    batch: int = 16
    rate: float = 1e-3
    held_out: float = 0.2
    groups: str | None = None
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not 0 < self.length_s < float("inf"):
            raise SettingsError("length_s is a time, in seconds, above 0", found=self.length_s)
        if not 0 <= self.overlap < 1:
            raise SettingsError("overlap is a share, from 0 to below 1", found=self.overlap)


def analyse(recording: xr.DataTree, settings: Settings, step: Step = directly) -> xr.DataTree:
    """One recording to a trained encoder and the features of its windows.

    Parameters
    ----------
    recording : xarray.DataTree
    settings : Settings
    step : callable, optional
        ``step(name, function, *data, **options)`` calls the function; the runner's keeps the result, and
        training resumes where it stood.

    Returns
    -------
    xarray.DataTree
        Groups ``fit``, ``checkpoint`` and ``features``.
    """
    windows = windows_of(recording, settings)
    place = getattr(step, "folder", None)
    return step("training", trained, windows, settings=settings, place=None if place is None else str(place))


def windows_of(recording: xr.DataTree, settings: Settings) -> xr.DataArray:
    """The signal, filtered, resampled and cut."""
    signal = nt.signal(recording) if settings.signal is None else named_array(recording, settings.signal)
    if settings.low is not None or settings.high is not None:
        signal = nt.filter(signal, low=settings.low, high=settings.high)
    if settings.sfreq is not None:
        signal = nt.resample(signal, sfreq=settings.sfreq)
    return nt.windows(signal, length_s=settings.length_s, overlap=settings.overlap)


def trained(windows: xr.DataArray, settings: Settings, place: str | None = None) -> xr.DataTree:
    """Train in a folder that outlives a kill, and take everything from it."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(place or scratch) / "encoder"
        model = nt.encoders.create(
            settings.encoder, seed=settings.seed, steps=settings.steps, batch=settings.batch,
            rate=settings.rate, held_out=settings.held_out, device=settings.device,
        )  # fmt: skip
        fit = model.fit(windows, out=out, groups=settings.groups)
        result = nt.encoders.packed(fit)
        result["features"] = xr.DataTree(model.transform(fit, windows).to_dataset(name="features"))
        shutil.rmtree(out, ignore_errors=True)
    return result


def files(result: xr.DataTree) -> dict[str, bytes]:
    """The checkpoint, for the output folder."""
    found = nt.encoders.unpacked(result["checkpoint"].to_dataset())
    return {f"checkpoint/{name}": content for name, content in found.items()}


def tables(result: xr.DataTree) -> dict[str, pd.DataFrame]:
    """Losses and what else was told, one row per look."""
    fit = result["fit"].to_dataset()
    names = [str(name) for name, array in fit.data_vars.items() if array.dims == ("iteration",)]
    return {"training": fit[names].to_dataframe().reset_index()}


def figures(result: xr.DataTree, recording: xr.DataTree | None, settings: Settings) -> dict[str, Figure]:
    """The training."""
    return {"training": nt.plot.plot_training(result["fit"].to_dataset()).figure}


def page(
    recording: xr.DataTree | None,
    result: xr.DataTree,
    figures: Mapping[str, Figure],
    settings: Settings,
    provenance: Mapping[str, Any],
) -> str:
    """The report, as the text of one self-contained page."""
    said = nt.encoders.unpacked(result["checkpoint"].to_dataset())
    return nt.report.training_report(
        recording, result["fit"].to_dataset(), said["card.md"].decode(),
        settings=settings_dict(settings), provenance=provenance, figures=figures,
    )  # fmt: skip
