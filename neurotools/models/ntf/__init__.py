"""NTF: recurring patterns of co-activation, when they occur, and in whom.

    a[i, j, w, t] ~ sum_r weight_r motif_r[i, j] subject_r[w] time_r[t],      all >= 0,  i < j

Least squares over the pairs that were observed, by hierarchical alternating updates from several random
starts. ``layout`` says what a motif may be: any matrix (``pair``), the outer product of one loading per unit
with itself (``symcp``), which needs no pairs at all, a sum of a few such products (``ll1``), or, for ordered
pairs, the outer product of a loading for who leads with one for who follows (``cp``).
Dyballa et al. (2024), ICLR, for the factorisation of pairs; Cichocki and Phan (2009), IEICE Transactions
E92-A(3), for the updates.
"""

from __future__ import annotations

from dataclasses import dataclass

import xarray as xr

from neurotools.errors import SchemaError, check_numbers, lookup
from neurotools.models.ntf.known import held_fixed, rebuilt
from neurotools.models.ntf.layouts import DTYPES, LAYOUTS, check_subjects, warn_unseen
from neurotools.models.ntf.methods import LOSSES, Method, mask_of
from neurotools.models.ntf.naming import as_dataset
from neurotools.numerics import ntf
from neurotools.progress import working
from neurotools.provenance import stamp
from neurotools.schema.affinity import AffinityParts, affinity_parts

BATCH_BYTES = 512 * 1024**2  # of factors that are updated together


# ---- settings and verbs -------------------------------------------------------------------------------
@dataclass(frozen=True)
class NTF:
    """Non-negative tensor factorisation of an affinity.

    Parameters
    ----------
    rank : int
        Number of components.
    layout : {"pair", "symcp", "ll1", "cp"}
        What a motif may be: any matrix; the outer product of one loading per unit with itself; the sum of
        ``n_parts`` such products; for the kernel ``lagged``, where (i, j) and (j, i) are two pairs, the outer
        product of two loadings (any matrix is open to it, too). With ``pair`` and a single subject the model
        is a non-negative matrix factorisation, which need not be unique: look at ``restart_similarity``.
    loss : {"l2", "kl", "gamma"}
        Least squares; or a likelihood that suits sparse, skewed affinities: ``kl`` (Poisson, all entries) or
        ``gamma`` (only how large an affinity is where there is one). Both need ``pair``.
    n_restarts : int
        Random starts; the one with the lowest error is the fit.
    max_iter, tol : int, float
        A start stops when one sweep over all modes lowers the relative error by less than ``tol``, or after
        ``max_iter`` sweeps; ``tol=0`` runs exactly ``max_iter``.
    seed : int
        Start k is drawn from (seed, k), whatever their number.
    device : str
        ``"cpu"``, ``"cupy"``, ``"torch"``, ``"torch:cuda"``; ``"auto"`` takes a GPU where there is one.
    dtype : {"float64", "float32"}
        Precision of the computation.
    n_parts : int
        Outer products in a motif of the layout ``ll1``.
    chunk : int
        Moments that are read at a time of a factored affinity that lies on disk
        (``nt.stream_affinity``), so that it is never in memory whole; 0 reads all of it once.
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
    n_parts: int = 2
    chunk: int = 0

    def __post_init__(self) -> None:
        lookup("layout", self.layout, LAYOUTS)
        lookup("loss", self.loss, LOSSES)
        lookup("dtype", self.dtype, DTYPES)
        check_numbers(self, rank=1, n_restarts=1, max_iter=1, n_parts=1, chunk=0, tol=0)

    def fit(self, affinity: xr.Dataset | xr.DataArray, mask: xr.DataArray | None = None) -> xr.Dataset:
        """Find motifs, their time courses and weights.

        Parameters
        ----------
        affinity : xarray.Dataset or xarray.DataArray
            From ``nt.differential_affinity``; or one that was made elsewhere: dense and symmetric, (subject?,
            unit, unit_to, time), of which the diagonal is not used, or sparse, values above zero along
            ``entry`` with the coordinates ``unit``, ``unit_to``, ``time`` (and ``subject``), every pair once.
            Where direction matters, ``attrs["ordered"] = 1``.
        mask : xarray.DataArray, optional
            False for single entries that are not to be used, (subject?, unit, unit_to, time); least squares
            over the others alone, nothing is imputed. Needs ``pair`` and ``l2``. Units that a subject lacks
            need no mask.

        Returns
        -------
        xarray.Dataset
            ``time_loading`` (component, time), ``weight`` (component), ``subject_loading`` (component,
            subject) where there are several; ``motif`` (component, unit, unit_to) for ``pair``,
            ``unit_loading`` (component, unit) for ``symcp``, (component, part, unit) for ``ll1``; for ``cp``
            ``unit_loading`` of who leads and ``unit_to_loading`` of who follows. Loadings and motifs (pairs
            i < j; all pairs where they are ordered) have length one, so ``weight`` carries the scale;
            components are numbered by weight, largest first. ``error`` (iteration) of the best start,
            ``restart_error`` (restart) and ``restart_similarity`` (restart, restart_to): mean cosine of
            matched components. attrs ``converged``, ``n_iter``, ``relative_error``: the norm of what is left
            over that of the data; for ``kl`` and ``gamma`` the divergence left over that of a constant.

        Raises
        ------
        SchemaError
            The data is no affinity, or nothing in it moves together.
        """
        parts = self._parts(affinity)
        check_subjects(parts)
        method = LOSSES[self.loss](parts, self, mask_of(mask, parts))
        if not method.layout.norm2 > 0:
            raise SchemaError(
                "the affinity is zero everywhere: nothing moves together",
                code="NT-DATA-010",
                fix="look at the traces; a smaller floor or another smooth_s may help",
            )
        warn_unseen(method.layout, parts, self)
        return stamp(as_dataset(best_of(method, self), method.layout, parts, self), "ntf", self)

    def transform(self, fit: xr.Dataset, affinity: xr.Dataset | xr.DataArray) -> xr.DataArray:
        """Time courses of known motifs in new data, (component, time), in the scale of ``weight``.

        Motifs, weights and subject loadings are held fixed; every moment is solved by itself.
        """
        loading, _ = held_fixed(fit, self._parts(affinity), self)
        return loading

    def predict(self, fit: xr.Dataset, affinity: xr.Dataset | xr.DataArray) -> xr.DataArray:
        """The part of an affinity that the motifs explain, dense (subject?, unit, unit_to, time).

        Select the moments first: ``affinity.isel(time=slice(0, 10))``.
        """
        parts = affinity_parts(affinity)
        loading, _ = held_fixed(fit, parts, self)
        return rebuilt(fit, loading, parts)

    def score(self, fit: xr.Dataset, affinity: xr.Dataset | xr.DataArray) -> float:
        """Share of the affinity's squared norm that the motifs explain, 1 - (relative error)^2.

        For ``kl`` and ``gamma`` the share of the divergence from a constant, 1 - relative error.

        Time courses are estimated from the very data that are scored, so more motifs never score worse on
        average; ``nt.rank_scan`` holds out pairs as well as time.
        """
        _, error = held_fixed(fit, self._parts(affinity), self)
        return 1.0 - error**2 if self.loss == "l2" else 1.0 - error

    def _parts(self, affinity: xr.Dataset | xr.DataArray) -> AffinityParts:
        unread = self.chunk > 0 and isinstance(affinity, xr.Dataset)
        return affinity_parts(affinity, leave_on_disk=unread)


# ---- fitting ------------------------------------------------------------------------------------------
def best_of(method: Method, settings: NTF) -> ntf.Solution:
    """All restarts, as many at a time as fit the budget."""
    layout = method.layout
    entries = 6 * settings.rank * (layout.n_space + layout.n_subjects * layout.n_time)
    at_once = max(1, BATCH_BYTES // (entries * DTYPES[settings.dtype]))
    n = settings.n_restarts
    found = ntf.Solution([], [], [])
    with working(f"NTF, rank {settings.rank}") as show:
        for first in range(0, n, at_once):
            seeds = [(settings.seed, k) for k in range(first, min(first + at_once, n))]

            def on_sweep(share: float, first: int = first, batch: int = len(seeds)) -> None:
                show((first + share * batch) / n)

            begin = method.start(layout, settings.rank, seeds)
            found += ntf.solve(
                layout, begin, method.sweep,
                max_iter=settings.max_iter, tol=settings.tol, on_sweep=on_sweep,
            )  # fmt: skip
    return found
