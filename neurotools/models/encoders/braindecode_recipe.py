"""Models of braindecode as encoders, where that package is installed: ``nt.encoders.create("bd:NAME")``.

They learn from targets alone (``finetune``); features are what their last layer is given.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Int
from torch import Tensor, nn

from neurotools.errors import MissingExtraError, SettingsError, lookup
from neurotools.models.encoders.presets import Preset
from neurotools.models.encoders.recipe import Batch, Given, Parts, Recipe, Stage

LAST = "final_layer"  # what braindecode calls the layer from features to outputs


@dataclass(frozen=True, kw_only=True)
class BraindecodeSettings:
    """Which model, and the sizes that data decide; everything else is as braindecode has it.

    Parameters
    ----------
    model : str
        Name of a class in ``braindecode.models``.
    n_channels, n_times : int
    rate_hz : float
        Samples per second.
    """

    model: str = ""
    n_channels: int = 1
    n_times: int = 1
    rate_hz: float = 1.0


def models() -> dict[str, Any]:
    """Models of the installed braindecode by name.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        found = importlib.import_module("braindecode.models")
    except ImportError as error:
        raise MissingExtraError(
            f"braindecode is needed to make its models and could not be imported ({error})",
            fix="pip install braindecode",
        ) from error
    named = {name: getattr(found, name) for name in dir(found) if not name.startswith("_")}
    return {
        name: kind for name, kind in named.items() if isinstance(kind, type) and issubclass(kind, nn.Module)
    }


class Wrapped(nn.Module):
    """A model of braindecode, and what its last layer was given."""

    def __init__(self, settings: BraindecodeSettings) -> None:
        super().__init__()
        self.settings = settings
        kind = lookup("model of braindecode", settings.model, models())
        self.net = kind(
            n_outputs=2, n_chans=settings.n_channels, n_times=settings.n_times, sfreq=settings.rate_hz
        )
        if not hasattr(self.net, LAST):
            raise SettingsError(
                f"{settings.model} has no part {LAST!r}, so its features cannot be told from its outputs",
                found=", ".join(name for name, _ in self.net.named_children()),
            )

    def features(self, x: Tensor) -> Tensor:
        """(window, feature) from (window, channel, time)."""
        given: list[Tensor] = []
        hook = getattr(self.net, LAST).register_forward_pre_hook(lambda part, inputs: given.append(inputs[0]))
        try:
            self.net(x)
        finally:
            hook.remove()
        return given[-1].flatten(1)


def fitted(settings: BraindecodeSettings, given: Given) -> BraindecodeSettings:
    """Sizes as in the data."""
    return replace(settings, n_channels=given.n_channels, n_times=given.n_times, rate_hz=given.sfreq)


def layers(network: Wrapped, x: Tensor, subject: Int[Tensor, " window"]) -> list[Tensor]:
    """The signal, and what the last layer is given, as one token."""
    return [x.transpose(1, 2), network.features(x)[:, None]]


def settle(network: Wrapped, batch: Batch) -> Parts:
    """Nothing is learned without targets; running statistics follow the data."""
    found = network.features(batch.x.flatten(0, 1))
    return {"loss": 0.0 * found.float().square().mean()}


def preset_of(name: str) -> Preset:
    """The preset of a model, if there is one of that name."""
    lookup("model of braindecode", name, models())
    # one pass over the data; weights stay as they are until targets come
    settings = {"model": name, "steps": 20, "rate": 0.0, "weight_decay": 0.0}
    return Preset("braindecode", "eeg", "A model of braindecode", settings)


def presets() -> dict[str, Preset]:
    """All models by the names they have here."""
    return {f"bd:{name}": preset_of(name) for name in models()}


BRAINDECODE = Recipe(
    settings=BraindecodeSettings, network=Wrapped, fitted=fitted, layers=layers,
    stages=(Stage("settle", settle),),
    summary="A model of braindecode, made by that package under its BSD 3-Clause licence.",
)  # fmt: skip
