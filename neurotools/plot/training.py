"""Training of an encoder, and what probes tell of features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, expect


def plot_training(fit: xr.Dataset, ax: Any = None, name: str = "loss") -> Any:
    """What an encoder's training told over its steps, on windows trained on and held out.

    Parameters
    ----------
    fit : xarray.Dataset
        Of ``fit``, ``finetune`` or ``nt.encoders.open``.
    ax : matplotlib.axes.Axes, optional
    name : str
        A variable along ``iteration``.

    Returns
    -------
    matplotlib.axes.Axes
    """
    import matplotlib.pyplot as plt

    expect(fit, "a fit of an encoder", xr.Dataset, fix="fit = model.fit(windows, out=folder)")
    told = [str(key) for key, array in fit.data_vars.items() if array.dims == ("iteration",)]
    if name not in told:
        raise SchemaError(
            f"the fit tells no {name!r} of its training", code="NT-DATA-006",
            found=", ".join(told) or "nothing",
        )  # fmt: skip
    ax = plt.subplots(figsize=(6, 3.2), layout="constrained")[1] if ax is None else ax
    for key, label in ((name, "trained on"), (f"held_out_{name}", "held out")):
        if key in told:
            ax.plot(fit["iteration"], fit[key], marker=".", label=label)
    stage = fit["stage"].to_numpy()
    for k in np.flatnonzero(stage[1:] != stage[:-1]):
        ax.axvline(float(fit["iteration"][k]), color="0.7", linewidth=1)
    ax.set(xlabel="training step", ylabel=name.replace("_", " "))
    ax.set_title(
        "Training: " + ", then ".join(word.replace("_", " ") for word in dict.fromkeys(stage.tolist()))
    )
    ax.legend(frameon=False)
    return ax


def plot_probe(probes: Mapping[str, xr.Dataset], ax: Any = None) -> Any:
    """Balanced accuracy of probes with their intervals, one bar each, beside chance.

    Parameters
    ----------
    probes : mapping of str to xarray.Dataset
        Name of the features -> result of ``nt.probe``.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    import matplotlib.pyplot as plt

    expect(probes, "a mapping of names to results of nt.probe", Mapping)
    for name, result in probes.items():
        expect(result, f"a result of nt.probe, under {name!r},", xr.Dataset)
    ax = plt.subplots(figsize=(6, 0.8 + 0.5 * len(probes)), layout="constrained")[1] if ax is None else ax
    names = [*probes][::-1]
    score, low, high = (
        np.array([float(probes[name][key]) for name in names]) for key in ("score", "score_low", "score_high")
    )
    ax.barh(names, score, xerr=np.maximum([score - low, high - score], 0), color="tab:blue", alpha=0.8)
    ax.axvline(next(iter(probes.values())).attrs["chance"], color="k", linewidth=1, linestyle=":")
    ax.set(xlim=(0, 1), xlabel="balanced accuracy on what was held out (95 % interval; dotted: chance)")
    ax.set_title(f"Telling {next(iter(probes.values())).attrs['target'].replace('_', ' ')}")
    return ax
