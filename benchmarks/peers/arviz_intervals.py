"""Intervals of given draws through the adapter and by ArviZ itself, whichever version is installed here.

Runs where ArviZ and what neurotools needs are installed: ``python arviz_intervals.py given.npz found.npz``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import xarray as xr

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import arviz

import neurotools as nt
from neurotools.adapters.arviz import from_arviz, intervals, posterior_table

PROB = 0.9


def main(given: str, found: str) -> None:
    with np.load(given) as file:
        posterior = xr.Dataset(
            {"rate": (("chain", "draw"), file["rate"]), "weight": (("chain", "draw", "unit"), file["weight"])}
        )
    post = xr.DataTree.from_dict({"posterior": posterior})
    handed = nt.to_arviz(post)
    back = from_arviz(handed)
    out = {"major": np.array(int(arviz.__version__.split(".")[0])), "version": np.array(arviz.__version__),
           "container": np.array(type(handed).__name__)}  # fmt: skip
    for kind in ("eti", "hdi"):
        ours, theirs = intervals(back, prob=PROB, kind=kind), _theirs(handed, kind)
        for name in ("rate", "weight"):
            out[f"{kind}_{name}"] = ours[name].to_numpy()
            if theirs is not None:
                out[f"arviz_{kind}_{name}"] = np.asarray(theirs[name])
    out["table"] = posterior_table(back, prob=PROB, kind="eti").to_numpy()
    np.savez(found, **out)


def _theirs(handed: object, kind: str) -> xr.Dataset | None:
    """ArviZ's own interval of the same kind; before version 1 it has none of equal tails."""
    if int(arviz.__version__.split(".")[0]) >= 1:
        return getattr(arviz, kind)(handed, prob=PROB)
    return arviz.hdi(handed, hdi_prob=PROB) if kind == "hdi" else None


main(*sys.argv[1:])
