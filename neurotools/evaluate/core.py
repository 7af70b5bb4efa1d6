"""Core consistency of a factorisation of an affinity."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurotools.evaluate.heldout import laid_out
from neurotools.numerics import affinity as kernels
from neurotools.numerics.cp import consistency
from neurotools.schema.affinity import affinity_parts


def core_consistency(fit: xr.Dataset, data: xr.Dataset | xr.DataArray) -> float:
    """How nearly a fit's least squares core is superdiagonal, in per cent; NaN for two modes alone.

    Bro and Kiers (2003), Journal of Chemometrics 17, eq. 8. The modes are units (both sides of a pair),
    subject and time for layouts of unit loadings, and pairs, subject and time for the others. What was not
    observed, the diagonal included, is taken from the model.

    Parameters
    ----------
    fit : xarray.Dataset
        Of ``nt.NTF``.
    data : xarray.Dataset or xarray.DataArray
        The affinity that was fitted.
    """
    parts = affinity_parts(data)
    sides = side_loadings(fit, parts.dim)
    if sides is None and not parts.several:
        return float("nan")
    layout, patterns = laid_out(fit, parts)
    rank = len(patterns)
    time = fit["time_loading"].transpose("component", "time").to_numpy()
    subject = np.ones((rank, 1))
    if parts.several:
        subject = fit["subject_loading"].transpose("component", "subject").to_numpy()
    if sides is None:
        probes = np.linalg.pinv(patterns).T
        shape: tuple[int, ...] = (rank,)
    else:
        probes = pair_probes(sides, fit["weight"].to_numpy(), parts.ordered)
        shape = (rank, rank)
    seen = layout.project(probes[None])[0]  # (probe, subject, time)
    hidden = np.stack([(probes * (1 - row)) @ patterns.T for row in layout.shown], axis=1)
    model = np.einsum("pwr,rw,rt->pwt", hidden, subject, time, optimize=True)
    core = seen + model
    if sides is not None:
        core = core + diagonal_part(sides, fit["weight"].to_numpy(), subject, time)
    core = core.reshape(*shape, *core.shape[1:])
    core = np.tensordot(core, np.linalg.pinv(time), axes=(-1, 0))
    if parts.several:
        core = np.tensordot(core, np.linalg.pinv(subject), axes=(-2, 0))
    else:
        core = core[..., 0, :]
    return consistency(core)


def side_loadings(fit: xr.Dataset, dim: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Loadings of either side of a pair, where a component has one of each."""
    if "unit_loading" not in fit or "part" in fit["unit_loading"].dims:
        return None
    first = fit["unit_loading"].transpose("component", dim).to_numpy()
    if "unit_to_loading" not in fit:
        return first, first
    return first, fit["unit_to_loading"].transpose("component", f"{dim}_to").to_numpy()


def pair_probes(sides: tuple[np.ndarray, np.ndarray], weight: np.ndarray, ordered: bool) -> np.ndarray:
    """Patterns over pairs whose inner product with an affinity is a bilinear form in the pseudo-inverses."""
    first, second = (np.linalg.pinv(side).T for side in (sides[0] * weight[:, None], sides[1]))
    outer = first[:, None, :, None] * second[None, :, None, :]
    full = outer.reshape(-1, *outer.shape[-2:])
    return kernels.pack(full, ordered) if ordered else kernels.pack(full + full.swapaxes(1, 2))


def diagonal_part(
    sides: tuple[np.ndarray, np.ndarray], weight: np.ndarray, subject: np.ndarray, time: np.ndarray
) -> np.ndarray:
    """What the model's diagonal adds to the same forms: (form, subject, time)."""
    first, second = (np.linalg.pinv(side).T for side in (sides[0] * weight[:, None], sides[1]))
    own = np.einsum("ai,bi,ri,ri,r->abr", first, second, sides[0], sides[1], weight, optimize=True)
    return np.einsum("pr,rw,rt->pwt", own.reshape(-1, len(weight)), subject, time, optimize=True)
