"""What functions that read a posterior need of it, and what they say when it is not there."""

from __future__ import annotations

from typing import Any

import xarray as xr

from neurotools.errors import SchemaError, SettingsError


def posterior_group(post: Any, name: str, *variables: str, what: str) -> xr.Dataset:
    """Return one group of a posterior as a Dataset, or say what is missing from it.

    Parameters
    ----------
    post : xarray.DataTree
        What ``sample`` of a model returned.
    name : str
        ``"posterior"``, ``"sample_stats"``, ``"thinned"``, ``"moments"``, ...
    *variables : str
        Variables that the group has to hold.
    what : str
        Who needs it, for the message.
    """
    if not isinstance(post, xr.DataTree):
        raise SchemaError(
            f"{what} needs draws of a posterior (xarray.DataTree)", found=type(post).__name__,
            fix="post = nt.BiCluster(...).sample(counts)",
        )  # fmt: skip
    if name not in post.children:
        raise SchemaError(
            f"{what} needs the group {name!r} of a posterior",
            found=", ".join(post.children) or "a tree without groups",
        )
    group = post[name].to_dataset()
    missing = [variable for variable in variables if variable not in group]
    if missing:
        raise SchemaError(
            f"{what} needs {', '.join(map(repr, missing))} in the group {name!r}",
            found=", ".join(map(str, group.data_vars)) or "an empty group",
        )
    return group


def stacked(variable: xr.DataArray) -> xr.DataArray:
    """Lay the draws of all chains end to end along ``draw``, the chains in order."""
    rest = [dim for dim in variable.dims if dim not in ("chain", "draw")]
    ordered = variable.transpose("chain", "draw", *rest)
    values = ordered.to_numpy().reshape(-1, *ordered.shape[2:])
    coords = {
        name: coord for name, coord in variable.coords.items() if not {"chain", "draw"} & set(coord.dims)
    }
    coords = {name: coord for name, coord in coords.items() if name not in ("chain", "draw")}
    return xr.DataArray(values, dims=("draw", *rest), coords=coords, attrs=variable.attrs, name=variable.name)


def thinned_to(n_draws: int, most: int) -> slice:
    """Every k-th draw, with the smallest k that leaves at most ``most``."""
    if most < 1:
        raise SettingsError("at least one draw is needed", found=most)
    return slice(None, None, -(-n_draws // most))
