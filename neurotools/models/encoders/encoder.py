"""One face for every encoder: frozen settings, and the verbs that windows go through.

The network is made inside a verb, lives in the folder that ``fit`` or ``finetune`` wrote, and is never stored
on the model. What differs between architectures stands in their recipes (``recipe``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SettingsError, check_numbers, lookup
from neurotools.models.encoders import fitting, reading
from neurotools.models.encoders.batches import SCALES
from neurotools.models.encoders.channels import CHOICES
from neurotools.models.encoders.heads import POOLS, Head
from neurotools.models.encoders.published import published
from neurotools.models.encoders.recipe import recipe_of
from neurotools.models.encoders.training import Training

Groups = str | xr.DataArray | np.ndarray | None


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A network that turns windows of a recording into features; made by ``nt.encoders.create``.

    Parameters
    ----------
    architecture : str
        A name in the table of recipes, or ``"module:NAME"`` of one's own.
    network : dataclass
        Sizes of the network; those that the data decides are filled in by ``fit``.
    channels : tuple of str
        Channels that the encoder needs, by name; none takes those of the data it is fitted to.
    sfreq : float or None
        Samples per second that it needs, in Hz; None takes that of the data.
    on_mismatch : {"error", "subset", "interpolate", "learn"}
        What to do with windows of other channels: refuse them; leave out what is too much; estimate missing
        ones from the positions of the rest (spherical splines); let fine-tuning learn a mixing.
    scale : {"fit", "recording", "window", "none"}
        Each channel is standardised by the windows that were trained on, by its own recording (all windows
        that are given of it), by itself in each window, or not at all.
    clip : float
        Standardised values beyond this many deviations are set to it; 0 clips nothing.
    sequence : int
        Windows of one training sample, where the architecture looks at several.
    held_out : float
        Share of groups that training does not see and early stopping watches.
    training : Training
    head : Head
        What ``finetune`` puts on the encoder, and how it trains it.
    at_once : int
        Windows that ``transform`` and ``predict`` compute together; the numbers do not depend on it.
    seed : int
        Of weights, splits, order, masks and dropout.
    paper_compat : bool
        Keep the protocol of the paper, quirks included (``create`` then takes its settings, too); the card
        says which. For comparison with published numbers alone.
    device : str
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"``, which takes a GPU where there is one.
    """

    architecture: str
    network: Any
    channels: tuple[str, ...] = ()
    sfreq: float | None = None
    on_mismatch: str = "error"
    scale: str = "fit"
    clip: float = 0.0
    sequence: int = 1
    held_out: float = 0.2
    training: Training = field(default_factory=Training)
    head: Head = field(default_factory=Head)
    at_once: int = 64
    seed: int = 0
    paper_compat: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        recipe = recipe_of(self.architecture)
        lookup("choice for channels", self.on_mismatch, CHOICES)
        lookup("scale", self.scale, SCALES)
        if self.paper_compat:
            published(self.architecture)
        if not isinstance(self.network, recipe.settings):
            raise SettingsError(
                f"{self.architecture} is made from other settings",
                found=type(self.network).__name__, expected=recipe.settings.__name__,
            )  # fmt: skip
        check_numbers(self, sequence=1, at_once=1, held_out=0)
        if not self.held_out < 1:
            raise SettingsError("held_out is a share, from 0 to below 1", found=self.held_out)
        if self.sequence > 1 and not recipe.sequence:
            raise SettingsError(
                f"{self.architecture} looks at one window at a time", code="NT-SET-003",
                found=f"sequence={self.sequence}",
            )  # fmt: skip

    def fit(self, windows: xr.DataArray, *, out: str | Path, groups: Groups = None) -> xr.Dataset:
        """Train the network on windows alone, without targets.

        Killed and called again with the same windows and settings, it goes on where it stood and ends with
        the same numbers; called again when it is done, it opens what is there.

        Parameters
        ----------
        windows : xarray.DataArray
            (window, channel, time) from ``nt.windows`` or ``nt.epochs``, in memory or on disk; of several
            recordings, from ``nt.encoders.join``.
        out : path
            The folder that becomes the checkpoint. While training goes on, its state lies beside it in
            ``OUT.training``, with ``log.jsonl``.
        groups : str or array, optional
            What is held out as a whole: a coordinate along ``window`` (``"recording"``, ``"subject"``), or a
            label for each. With one group its last stretch is held out.

        Returns
        -------
        xarray.Dataset
            ``loss``, ``held_out_loss``, ``rate`` and what the architecture tells (iteration, with ``stage``
            on it), ``split`` (window: train, held_out or gap) and ``digest`` (window). attrs ``weights`` is
            the name of the file in ``folder``, ``weights_sha256`` its hash.

        Raises
        ------
        SchemaError
            Windows have NaN, another rate, other channels or no sequence of the length that is needed; or
            windows of both sides of the split overlap or are copies.
        SettingsError
            The architecture has no objective without targets.
        ResultError
            The folder belongs to something else.
        """
        return fitting.fit(self, windows, Path(out), groups)

    def finetune(
        self,
        fit: xr.Dataset,
        windows: xr.DataArray,
        *,
        target: str,
        out: str | Path,
        groups: Groups = None,
    ) -> xr.Dataset:
        """Train a head on the encoder of a fit, and the encoder too unless ``head.freeze``.

        Parameters
        ----------
        fit : xarray.Dataset
            Of ``fit`` or ``nt.encoders.open``.
        windows : xarray.DataArray
        target : str
            A coordinate along ``window``: text or whole numbers are classes, other numbers a value.
        out : path
            The folder that becomes the checkpoint of encoder and head.
        groups : str or array, optional
            See ``fit``.

        Returns
        -------
        xarray.Dataset
            Like that of ``fit``, with ``class`` where the target has classes and attrs ``target`` and
            ``held_out_score``: balanced accuracy, or the share of variance of a value.
        """
        return fitting.finetune(self, fit, windows, target=target, out=Path(out), groups=groups)

    def transform(
        self, fit: xr.Dataset, windows: xr.DataArray, layer: int = -1, pool: str = "mean"
    ) -> xr.DataArray:
        """Features of each window, (window, feature), with the coordinates of the windows.

        Parameters
        ----------
        fit : xarray.Dataset
        windows : xarray.DataArray
        layer : int
            0 is the input of the first block, -1 the output of the last.
        pool : {"mean", "max", "flat", "none"}
            Over the tokens of a window; ``"none"`` keeps them, (window, token, feature).
        """
        lookup("pool", pool, POOLS)
        return reading.transform(self, fit, windows, layer, pool)

    def predict(self, fit: xr.Dataset, windows: xr.DataArray) -> xr.Dataset:
        """What a fine-tuned head says of each window.

        Returns
        -------
        xarray.Dataset
            ``label`` (window) and ``probability`` (window, class); or ``value`` (window).

        Raises
        ------
        SettingsError
            The fit has no head.
        """
        return reading.predict(self, fit, windows)

    def score(self, fit: xr.Dataset, windows: xr.DataArray) -> float:
        """How good the fit is on windows, larger is better.

        With a head: balanced accuracy, or the share of a value's variance that is explained; windows carry
        the target. Without: minus the loss of the last stage, or one minus ``unexplained`` where the
        architecture tells that share.

        Warns
        -----
        NeurotoolsWarning
            Windows were trained on.
        """
        return reading.score(self, fit, windows)
