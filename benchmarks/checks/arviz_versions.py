"""Draws handed to ArviZ before and after its version 1: the same intervals from either."""

from __future__ import annotations

import os
import sys

import numpy as np

from benchmarks.peers import run_peer
from benchmarks.record import DataAbsentError, Row


def same_intervals() -> list[Row]:
    """The adapter under the installed ArviZ and under another, whose Python stands in ``NEUROTOOLS_ARVIZ``.

    ``python -m venv later && later/bin/pip install arviz "arviz-stats[xarray]"`` and what neurotools needs.
    """
    other = os.environ.get("NEUROTOOLS_ARVIZ")
    if not other or not os.path.exists(other):
        raise DataAbsentError("a Python with another ArviZ, named in NEUROTOOLS_ARVIZ")
    rng = np.random.default_rng(0)
    draws = {"rate": rng.gamma(2.0, size=(4, 500)), "weight": rng.normal(size=(4, 500, 3))}
    found = [run_peer("arviz_intervals", python=python, **draws) for python in (sys.executable, other)]
    told = " and ".join(f"{one['version']} ({one['container']})" for one in found)
    rows = [Row("versions of ArviZ with different containers", len({str(o["container"]) for o in found}),
                ">= 2", note=told)]  # fmt: skip
    for kind, words in (("eti", "equal tails"), ("hdi", "highest density")):
        between = np.max([np.abs(found[0][f"{kind}_{n}"] - found[1][f"{kind}_{n}"]).max() for n in draws])
        rows.append(Row(f"{words}: difference between versions", float(between), "<= 0"))
        for one in found:
            name = f"arviz_{kind}_rate"
            if name in one:
                away = np.max([np.abs(one[f"arviz_{kind}_{n}"] - one[f"{kind}_{n}"]).max() for n in draws])
                rows.append(
                    Row(f"{words}: difference from ArviZ {one['version']} itself", float(away), "<= 1e-13")
                )
    table = np.abs(found[0]["table"] - found[1]["table"]).max()
    return [*rows, Row("means, R-hat and effective sizes: difference between versions", float(table), "<= 0")]
