"""NTF: recurring patterns of co-activation, when they occur, and in whom.

    a[i, j, w, t] ~ sum_r weight_r motif_r[i, j] subject_r[w] time_r[t],      all >= 0,  i < j

Least squares over the pairs that were observed, by hierarchical alternating updates from several random
starts. ``layout`` says what a motif may be: ``pair`` (any matrix) or ``symcp`` (outer product of one loading
per unit with itself).
Dyballa et al. (2024), ICLR, for the factorisation of pairs; Cichocki and Phan (2009), IEICE Transactions
E92-A(3), for the updates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from neurotools.arrays import Array, to_device, to_numpy
from neurotools.numerics import affinity as kernels
from neurotools.numerics import ntf, pairs, tensor
from neurotools.provenance import stamp
from neurotools.schema.affinity import AffinityParts, affinity_parts

STORED_LIMIT = 2 * 1024**3  # bytes: up to here the pairs are stored, beyond it they are made in blocks
BLOCK_BYTES = 16 * 1024**2  # of pairs made at a time


# ---- settings and verbs -------------------------------------------------------------------------------
@dataclass(frozen=True)
class NTF:
    """Non-negative tensor factorisation of an affinity.

    Parameters
    ----------
    rank : int
        Number of components.
    layout : {"pair"}
        What a motif may be.
    loss : {"l2"}
    n_restarts : int
        Random starts; the one with the lowest error is the fit.
    max_iter, tol : int, float
        A start stops when a sweep over all modes lowers the relative error by less than ``tol``, or after
        ``max_iter`` sweeps; ``tol=0`` runs exactly ``max_iter``.
    seed : int
    device : str
        ``"cpu"``, ``"cupy"``, ``"torch"``, ``"torch:cuda"``, ``"auto"``.
    dtype : {"float64", "float32"}
    """

    rank: int
    layout: str = "pair"
    loss: str = "l2"
    n_restarts: int = 10
    max_iter: int = 500
    tol: float = 1e-6
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float64"

    def fit(self, affinity: xr.Dataset | xr.DataArray) -> xr.Dataset:
        """Return motifs, time courses, weights and the error of every restart."""
        parts = affinity_parts(affinity)
        layout, example = prepare(parts, self)
        begin = ntf.start(layout, self.rank, [(self.seed, k) for k in range(self.n_restarts)], example)
        solution = ntf.solve(layout, begin, self.max_iter, self.tol)
        return stamp(as_dataset(solution, parts, self), "ntf", self)


def prepare(parts: AffinityParts, settings: NTF) -> tuple[ntf.PairLayout, Array]:
    """Move an affinity to the device as a tensor of pairs, and lay it out."""
    if parts.up is None or parts.down is None:
        raise SchemaError("dense affinities come later")
    drives = kernels.stacked(
        to_device(parts.up, settings.device, settings.dtype),
        to_device(parts.down, settings.device, settings.dtype),
        parts.window,
        parts.edges,
    )
    n_rows, n_units = drives.up.shape
    data = pairs.PairTensor(kernels.slices_of(parts.kernel, drives), n_rows, n_units, n_rows)
    data = pairs.gathered(data)
    return ntf.PairLayout(data, parts.observed, drives.up), drives.up


# ---- back to names ------------------------------------------------------------------------------------
def as_dataset(solution: ntf.Solution, parts: AffinityParts, settings: NTF) -> xr.Dataset:
    """Name what was found; components are numbered by weight, largest first."""
    final = np.array([errors[-1] for errors in solution.errors])
    best = int(np.argmin(final))
    factors = solution.factors[best]
    (space, _, time), weight = tensor.normalise(
        [to_numpy(f[0]) for f in (factors.space, factors.subject, factors.time)]
    )
    order = np.argsort(-weight, kind="stable")
    dim, n_units = parts.dim, parts.observed.shape[1]
    errors = solution.errors[best]
    fit = xr.Dataset(
        {
            "time_loading": (("component", "time"), time[order]),
            "weight": ("component", weight[order]),
            "motif": (("component", dim, f"{dim}_to"), kernels.unpack(space[order], n_units)),
            "error": ("iteration", errors),
            "restart_error": ("restart", final),
        },
        coords={
            **parts.coords,
            "component": np.arange(settings.rank),
            "iteration": np.arange(1, len(errors) + 1),
            "restart": np.arange(len(final)),
        },
        attrs={
            "converged": int(solution.converged[best]),
            "n_iter": len(errors),
            "relative_error": float(final[best]),
            "kernel": parts.kernel,
        },
    )
    return fit
