"""Posterior draws to and from ArviZ, whose container and default intervals differ between its versions.

Here a posterior is a DataTree with ArviZ's groups. ArviZ 0.x wants an InferenceData, ArviZ 1.x a DataTree;
0.x shows 94 % highest-density intervals by default and 1.x 89 % equal-tailed ones. So nothing here relies on
a default: ``intervals`` always says which interval of which probability, and gives the same numbers under
both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, expect, lookup, need
from neurotools.numerics import convergence

BOUNDS = ("low", "high")


# ---- containers -----------------------------------------------------------------------------------------
def to_arviz(post: xr.DataTree) -> Any:
    """Return draws in the container that the installed ArviZ works with.

    Parameters
    ----------
    post : xarray.DataTree
        With a group ``posterior`` (chain, draw, ...), such as a model's ``sample`` returns.

    Returns
    -------
    arviz.InferenceData or xarray.DataTree
        The first under ArviZ 0.x, the second from ArviZ 1 on; groups, variables and attributes are the same.

    Raises
    ------
    SchemaError
        There is no posterior in it.
    MissingExtraError
        ArviZ is not installed.
    """
    groups = _groups(post)
    arviz = need("arviz", extra="bayes", to="hand over draws to ArviZ")
    if _major(arviz) >= 1:
        return xr.DataTree.from_dict({**groups, "/": xr.Dataset(attrs=post.attrs)})
    return arviz.InferenceData(attrs=dict(post.attrs), **groups)


def from_arviz(data: Any) -> xr.DataTree:
    """Return draws of ArviZ, of either version, as a DataTree.

    Raises
    ------
    SchemaError
        It is no container of ArviZ, or holds no posterior.
    """
    if isinstance(data, xr.DataTree):
        _groups(data)
        return data
    if not callable(getattr(data, "groups", None)):
        raise SchemaError("draws of ArviZ are needed", found=type(data).__name__,
                          expected="an InferenceData or a DataTree")  # fmt: skip
    found = {str(name): data[name].copy(deep=False) for name in data.groups()}
    tree = xr.DataTree.from_dict({**found, "/": xr.Dataset(attrs=dict(getattr(data, "attrs", {})))})
    _groups(tree)
    return tree


def _groups(post: Any) -> dict[str, xr.Dataset]:
    expect(post, "draws of a posterior", xr.DataTree)
    groups = {str(name): node.to_dataset(inherit=False) for name, node in post.children.items()}
    if "posterior" not in groups:
        raise SchemaError(
            "there is no group 'posterior' in the draws", found=", ".join(groups) or "no groups"
        )
    if not {"chain", "draw"} <= set(groups["posterior"].dims):
        raise SchemaError(
            "draws need the dimensions 'chain' and 'draw'", found=tuple(map(str, groups["posterior"].dims))
        )
    return groups


def _major(arviz: Any) -> int:
    return int(str(arviz.__version__).split(".", maxsplit=1)[0])


# ---- intervals ------------------------------------------------------------------------------------------
def intervals(post: xr.DataTree, *, prob: float, kind: str) -> xr.Dataset:
    """Intervals of every variable of a posterior, of a stated kind and probability.

    Parameters
    ----------
    post : xarray.DataTree
        With a group ``posterior`` (chain, draw, ...).
    prob : float
        Between 0 and 1.
    kind : {"eti", "hdi"}
        Equal tails, or the narrowest interval that holds ``prob`` of the draws (highest density).

    Returns
    -------
    xarray.Dataset
        Each variable over its own dimensions and ``bound`` (low, high); attrs ``prob`` and ``kind``.
    """
    if not 0 < prob < 1:
        raise SettingsError("prob is a probability between 0 and 1", found=prob)
    ends = lookup("kind of interval", kind, KINDS)
    draws = _groups(post)["posterior"]
    found = xr.apply_ufunc(
        lambda values: ends(values.reshape(*values.shape[:-2], -1), prob),
        draws, input_core_dims=[["chain", "draw"]], output_core_dims=[["bound"]],
    )  # fmt: skip
    return found.assign_coords(bound=list(BOUNDS)).assign_attrs(prob=prob, kind=kind)


def _equal_tails(values: np.ndarray, prob: float) -> np.ndarray:
    tail = (1 - prob) / 2
    return np.moveaxis(np.quantile(values, [tail, 1 - tail], axis=-1), 0, -1)


def _highest_density(values: np.ndarray, prob: float) -> np.ndarray:
    """The narrowest stretch between two draws that holds ``prob`` of them, for one mode (as ArviZ has it)."""
    ordered = np.sort(values, axis=-1)
    inside = int(np.floor(prob * ordered.shape[-1]))
    width = ordered[..., inside:] - ordered[..., : ordered.shape[-1] - inside]
    first = np.argmin(width, axis=-1)[..., None]
    return np.concatenate(
        [np.take_along_axis(ordered, first, -1), np.take_along_axis(ordered, first + inside, -1)], axis=-1
    )


KINDS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "eti": _equal_tails,
    "hdi": _highest_density,
}


def posterior_table(post: xr.DataTree, *, prob: float, kind: str) -> pd.DataFrame:
    """One row per number of a posterior: mean, interval, and whether the chains agree.

    Columns ``mean``, ``sd``, the two ends of the interval (``eti_5%`` ...), ``rhat``, ``ess_bulk``,
    ``ess_tail`` and ``standard_error`` (of the mean, by Monte Carlo), which are the same whatever ArviZ is
    installed, or none.

    Parameters
    ----------
    post, prob, kind
        As for ``intervals``.
    """
    bounds = intervals(post, prob=prob, kind=kind)
    low, high = (f"{kind}_{100 * edge:.4g}%" for edge in ((1 - prob) / 2, (1 + prob) / 2))
    rows: dict[str, dict[str, float]] = {}
    for name, place, values in scalars(post):
        ends = bounds[name.split("[", maxsplit=1)[0]].to_numpy()[place]
        rows[name] = {
            "mean": float(values.mean()), "sd": float(values.std(ddof=1)), low: ends[0], high: ends[1],
            "rhat": convergence.rhat(values), "ess_bulk": convergence.ess_bulk(values),
            "ess_tail": convergence.ess_tail(values), "standard_error": convergence.standard_error(values),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def scalars(post: xr.DataTree) -> list[tuple[str, tuple[int, ...], np.ndarray]]:
    """Name, place and values (chain, draw) of every number of a posterior."""
    found = []
    for variable, array in _groups(post)["posterior"].data_vars.items():
        rest = [dim for dim in array.dims if dim not in ("chain", "draw")]
        values = array.transpose(*rest, "chain", "draw").to_numpy().astype("float64")
        labels = [array[d].to_numpy() if d in array.coords else np.arange(array.sizes[d]) for d in rest]
        for place in np.ndindex(*values.shape[:-2]):
            at = ", ".join(str(label[k]) for label, k in zip(labels, place, strict=True))
            found.append((f"{variable}[{at}]" if at else str(variable), place, values[place]))
    return found
