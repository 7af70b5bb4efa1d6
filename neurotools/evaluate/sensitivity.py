"""How much a result depends on what was assumed before the data came."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SettingsError, did_you_mean
from neurotools.evaluate.diagnostics import convergence
from neurotools.evaluate.partition import point_partition
from neurotools.numerics import partitions
from neurotools.schema import SPIKE_COUNTS


def sensitivity(
    model: Any,
    counts: xr.DataArray,
    changes: Mapping[str, Sequence[Any]],
    *,
    draws: int = 1000,
    tune: int = 500,
    chains: int = 2,
    loss: str = "vi",
) -> xr.Dataset:
    """Sample under other settings, one changed at a time, and compare the partitions with the model's own.

    Parameters
    ----------
    model : nt.BiCluster
    counts : xarray.DataArray
        Spike counts (time, unit).
    changes : mapping of str to sequence
        Setting to values; a setting inside another is reached by a point:
        ``{"unit_prior.rho": (0.1, 0.4), "latent_dim": (1, 3)}``.
    draws, tune, chains : int
        For ``model.sample``.
    loss : str
        For ``nt.point_partition``.

    Returns
    -------
    xarray.Dataset
        Along ``setting`` (``"as given"`` first, then ``"unit_prior.rho=0.1"``, ...): ``n_clusters`` and
        ``n_states``, means over draws; ``unit_agreement`` and ``state_agreement``, adjusted Rand indices
        between the point partition and that of the model as given; ``unit_label`` (setting, unit);
        ``log_likelihood``, the mean over draws, in nats; ``worst_rhat``. Chains of the same settings differ,
        too: compare agreements with those of another seed (``{"seed": (1,)}``).
    """
    counts = SPIKE_COUNTS.require(counts)
    models = {"as given": model}
    for path, values in changes.items():
        for value in values:
            models[f"{path}={_short(value)}"] = replaced(model, path, value)
    rows, reference = [], None
    for candidate in models.values():
        post = candidate.sample(counts, draws=draws, tune=tune, chains=chains)
        best = point_partition(post, loss)
        reference = best if reference is None else reference
        rows.append(_row(post, best, reference))
    return xr.concat(rows, dim=xr.DataArray(list(models), dims="setting", name="setting"))


def replaced(settings: Any, path: str, value: Any) -> Any:
    """The settings with one value, which may lie inside another dataclass, replaced."""
    name, _, rest = path.partition(".")
    known = [field.name for field in dataclasses.fields(settings)]
    if name not in known:
        raise SettingsError(
            f"{type(settings).__name__} has no setting {name!r}.{did_you_mean(name, known)}",
            code="NT-SET-001", expected="one of " + ", ".join(known),
        )  # fmt: skip
    if rest:
        inner = getattr(settings, name)
        if not dataclasses.is_dataclass(inner):
            raise SettingsError(f"{name} holds no further settings", found=inner)
        value = replaced(inner, rest, value)
    return dataclasses.replace(settings, **{name: value})


def _short(value: Any) -> str:
    return repr(value) if isinstance(value, (int, float, str)) else type(value).__name__


def _row(post: xr.DataTree, best: xr.Dataset, reference: xr.Dataset) -> xr.Dataset:
    agreement = {
        f"{name}_agreement": partitions.adjusted_rand_index(
            best[f"{name}_label"].to_numpy(), reference[f"{name}_label"].to_numpy()
        )
        for name in ("unit", "state")
    }
    posterior, stats = post["posterior"], post["sample_stats"]
    return xr.Dataset(
        {
            "n_clusters": float(np.mean(posterior["n_clusters"])),
            "n_states": float(np.mean(posterior["n_states"])),
            **agreement,
            "unit_label": best["unit_label"],
            "log_likelihood": ((), float(np.mean(stats["log_likelihood"])), {"units": "nat"}),
            "worst_rhat": convergence(post).attrs["worst_rhat"],
        }
    )
