"""Traces to their means, slowly: a pipeline small enough to kill at any moment."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import matplotlib.figure
import numpy as np
import pandas as pd
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError

TAKES = "any recording with one main array"
GIVES = {"fit.nc": "the mean of each unit"}


@dataclass(frozen=True, kw_only=True)
class Model:
    """A number of draws.

    Parameters
    ----------
    rank : int
        How many draws.
    seed : int
        Of the draws.
    """

    rank: int
    seed: int = 0

    def fit(self, means: xr.Dataset) -> xr.Dataset:
        log("draw")
        draws = np.random.default_rng(self.seed).normal(size=self.rank)
        return xr.Dataset({"draw": ("component", draws), "total": means["mean"].sum()})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Choices of the toy.

    Parameters
    ----------
    scale : float
        Multiplies the traces.
    wait_s : float, in s
        How long each step takes.
    """

    scale: float = 1.0
    wait_s: float = 0.0
    model: Model = Model(rank=3)


def log(word: str) -> None:
    """Note each step that is really done, for the tests to count."""
    if "TOY_LOG" in os.environ:
        with open(os.environ["TOY_LOG"], "a") as stream:
            stream.write(word + "\n")


def mean(x: xr.DataArray, scale: float, wait_s: float) -> xr.Dataset:
    log("mean")
    time.sleep(wait_s)
    if float(x.max()) > 1e6:
        raise SchemaError("the traces are too large for the toy", where=f"unit {int(x.argmax())}")
    return (x.mean("time") * scale).to_dataset(name="mean")


def spread(x: xr.DataArray, wait_s: float) -> xr.Dataset:
    log("spread")
    time.sleep(wait_s)
    if os.environ.get("TOY_DIES") and x.sizes["unit"] == 5:
        os.kill(os.getpid(), 9)
    return x.std("time").to_dataset(name="spread")


def analyse(recording, settings, step):
    x = nt.signal(recording)
    means = step("mean", mean, x, settings.scale, settings.wait_s)
    spreads = step("spread", spread, x, settings.wait_s)
    draws = step("draw", settings.model.fit, means)
    return xr.DataTree.from_dict({"/means": xr.merge([means, spreads]), "/draws": draws})


def tables(result):
    means = result["means"].to_dataset()
    return {"means": pd.DataFrame({"unit": means["unit"].to_numpy(), "mean": means["mean"].to_numpy()})}


def figures(result, recording, settings):
    figure = matplotlib.figure.Figure()
    figure.subplots().plot(result["means/mean"].to_numpy())
    return {"means": figure}


def page(recording, result, figures, settings, provenance):
    return f"<!doctype html><title>{provenance['recording']}</title>"


def summarise(results, settings):
    return xr.DataTree.from_dict(
        {f"/{name}": result["means"].to_dataset() for name, result in results.items()}
    )
