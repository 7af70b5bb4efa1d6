"""From the factors of the best start back to a labelled fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from neurotools.arrays import to_numpy
from neurotools.numerics import affinity as kernels
from neurotools.numerics import ntf, tensor
from neurotools.numerics.lowrank import LowRankLayout
from neurotools.numerics.ordered import OrderedLayout
from neurotools.schema.affinity import AffinityParts

if TYPE_CHECKING:
    from neurotools.models.ntf import NTF


def as_dataset(solution: ntf.Solution, layout: ntf.Sized, parts: AffinityParts, settings: NTF) -> xr.Dataset:
    """Name what was found; components are numbered by weight, largest first."""
    final = np.array([errors[-1] for errors in solution.errors])
    best = int(np.argmin(final))
    modes = [to_numpy(mode)[0] for mode in layout.modes(solution.factors[best])]
    scaled, weight = tensor.normalise(modes)
    order = np.argsort(-weight, kind="stable")
    errors = solution.errors[best]
    subject, times = (mode[order] for mode in scaled[-2:])
    variables: dict[str, Any] = {
        "time_loading": (("component", "time"), times),
        "weight": ("component", weight[order]),
        "error": ("iteration", errors),
        "restart_error": ("restart", final),
        "restart_similarity": (("restart", "restart_to"), similarities(layout, solution)),
    }
    counts = {"component": settings.rank, "restart": len(final), "restart_to": len(final)}
    space = in_space(solution.factors[best], layout, [mode[order] for mode in scaled[:-2]], order, parts)
    coords: dict[str, Any] = {**parts.coords, **{name: np.arange(count) for name, count in counts.items()}}
    coords["iteration"] = np.arange(1, len(errors) + 1)
    if parts.several:
        variables["subject_loading"] = (("component", "subject"), subject)
    variables |= space
    if any(f"{parts.dim}_to" in dims for dims, _ in space.values()):
        coords |= parts.to_coord
    attrs = {
        "kernel": parts.kernel,
        **parts.made,
        "converged": int(solution.converged[best]),
        "n_iter": len(errors),
        "relative_error": float(final[best]),
    }
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def in_space(
    factors: ntf.Factors,
    layout: ntf.Sized,
    modes: list[np.ndarray],
    order: np.ndarray,
    parts: AffinityParts,
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Variables that say who takes part, from modes of length one in their final order."""
    dim = parts.dim
    if isinstance(layout, LowRankLayout):
        loading = to_numpy(layout.spread(factors.space * layout.ever))[0]
        loading = loading.reshape(len(order), layout.n_parts, layout.n_units)[order]
        length = np.sqrt(np.linalg.norm(kernels.pack(loading.swapaxes(1, 2) @ loading), axis=1))
        loading = loading / np.where(length > 0, length, 1.0)[:, None, None]
        return {"unit_loading": (("component", "part", dim), loading)}
    if isinstance(layout, OrderedLayout):
        return {
            "unit_loading": (("component", dim), modes[0]),
            "unit_to_loading": (("component", f"{dim}_to"), modes[1]),
        }
    if isinstance(layout, ntf.UnitLayout):
        return {"unit_loading": (("component", dim), modes[0])}
    matrices = kernels.unpack(modes[0], parts.observed.shape[1], parts.ordered)
    return {"motif": (("component", dim, f"{dim}_to"), matrices)}


def similarities(layout: ntf.Sized, solution: ntf.Solution) -> np.ndarray:
    """Mean cosine of matched components between every two restarts."""
    n = len(solution.factors)
    modes = [layout.modes(factors) for factors in solution.factors]
    values = np.eye(n)
    for left in range(n):
        for right in range(left):
            _, score = tensor.match(tensor.congruence(modes[left], modes[right])[0, ...])
            values[left, right] = values[right, left] = score
    return values
