"""NTF: recurring patterns of co-activation, when they occur, and in whom.

    a[i, j, w, t] ~ sum_r weight_r motif_r[i, j] subject_r[w] time_r[t],      all >= 0,  i < j

Least squares over the pairs that were observed, by hierarchical alternating updates from several random
starts. ``layout`` says what a motif may be: any matrix (``pair``), or the outer product of one loading per
unit with itself (``symcp``), which needs no pairs at all.
Dyballa et al. (2024), ICLR, for the factorisation of pairs; Cichocki and Phan (2009), IEICE Transactions
E92-A(3), for the updates.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurotools.arrays import like, to_device, to_numpy
from neurotools.errors import NeurotoolsWarning, SchemaError, SettingsError, lookup
from neurotools.numerics import affinity as kernels
from neurotools.numerics import ntf, pairs, tensor, units
from neurotools.progress import working
from neurotools.provenance import stamp
from neurotools.schema.affinity import AffinityParts, affinity_parts

STORED_BYTES = 2 * 1024**3  # pairs are stored up to here, and made in blocks beyond it
BATCH_BYTES = 512 * 1024**2  # of factors that are updated together
DENSE_BYTES = 4 * 1024**3  # a prediction that takes more is refused
DTYPES = {"float64": 8, "float32": 4}


# ---- settings and verbs -------------------------------------------------------------------------------
@dataclass(frozen=True)
class NTF:
    """Non-negative tensor factorisation of an affinity.

    Parameters
    ----------
    rank : int
        Number of components.
    layout : {"pair", "symcp"}
        What a motif may be: any symmetric matrix, or the outer product of one loading per unit with itself.
        With ``pair`` and a single subject the model is a non-negative matrix factorisation, which need not be
        unique: look at ``restart_similarity``.
    loss : {"l2"}
        Least squares.
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

    def __post_init__(self) -> None:
        lookup("layout", self.layout, LAYOUTS)
        lookup("loss", self.loss, LOSSES)
        lookup("dtype", self.dtype, DTYPES)
        for name in ("rank", "n_restarts", "max_iter"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be at least 1", found=getattr(self, name))
        if not self.tol >= 0:
            raise SettingsError("tol must be at least 0", found=self.tol, fix="0 makes all max_iter sweeps")

    def fit(self, affinity: xr.Dataset | xr.DataArray) -> xr.Dataset:
        """Find motifs, their time courses and weights.

        Parameters
        ----------
        affinity : xarray.Dataset or xarray.DataArray
            From ``nt.differential_affinity``; or a dense symmetric one, (subject?, unit, unit_to, time), of
            which the diagonal is not used.

        Returns
        -------
        xarray.Dataset
            ``time_loading`` (component, time), ``weight`` (component), ``subject_loading`` (component,
            subject) where there are several; ``motif`` (component, unit, unit_to) for ``pair``,
            ``unit_loading`` (component, unit) for ``symcp``. Loadings and motifs (pairs i < j) have length
            one, so ``weight`` carries the scale; components are numbered by weight, largest first.
            ``error`` (iteration) of the best start, ``restart_error`` (restart) and ``restart_similarity``
            (restart, restart_to): mean cosine of matched components. attrs ``converged``, ``n_iter``,
            ``relative_error``.

        Raises
        ------
        SchemaError
            The data is no affinity, or nothing in it moves together.
        """
        parts = affinity_parts(affinity)
        check_subjects(parts)
        layout = LAYOUTS[self.layout](parts, self)
        if not layout.norm2 > 0:
            raise SchemaError(
                "the affinity is zero everywhere: nothing moves together",
                code="NT-DATA-010",
                fix="look at the traces; a smaller floor or another smooth_s may help",
            )
        warn_unseen(layout, parts, self)
        return stamp(as_dataset(best_of(layout, self), layout, parts, self), "ntf", self)

    def transform(self, fit: xr.Dataset, affinity: xr.Dataset | xr.DataArray) -> xr.DataArray:
        """Time courses of known motifs in new data, (component, time), in the scale of ``weight``.

        Motifs, weights and subject loadings are held fixed; every moment is solved by itself.
        """
        parts = affinity_parts(affinity)
        loading, _ = held_fixed(fit, parts, self)
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

        Time courses are estimated from the very data that are scored, so more motifs never score worse on
        average; ``nt.rank_scan`` holds out pairs as well as time.
        """
        _, error = held_fixed(fit, affinity_parts(affinity), self)
        return 1.0 - error**2


# ---- the data, laid out on the device -----------------------------------------------------------------
def drives_of(parts: AffinityParts, settings: NTF) -> kernels.Drives:
    """Drives of all subjects end to end, on the device."""
    assert parts.up is not None
    assert parts.down is not None
    up, down = (to_device(part, settings.device, settings.dtype) for part in (parts.up, parts.down))
    return kernels.stacked(up, down, parts.window, parts.edges)


def pairs_of(parts: AffinityParts, settings: NTF) -> pairs.PairTensor:
    """Pairs of an affinity, stored while they fit the budget and made in blocks beyond it."""
    if parts.dense is None:
        return pairs.made(parts.kernel, drives_of(parts, settings), STORED_BYTES)
    values = kernels.pack(to_device(parts.dense, settings.device, settings.dtype))
    return pairs.stored(values.reshape(-1, values.shape[-1]), parts.observed.shape[1])


def pair_layout(parts: AffinityParts, settings: NTF) -> ntf.Layout:
    """Motifs of any shape."""
    return ntf.PairLayout(pairs_of(parts, settings), parts.observed)


def unit_layout(parts: AffinityParts, settings: NTF) -> ntf.Layout:
    """Motifs of one loading per unit.

    Kernels of rank two never meet a pair. Those that sort are slower than stored pairs below about 2,000
    units (measured: 40 ns per drive and component against 30 GFlop/s), so they sort when pairs do not fit.
    """
    n_subjects, n_units = parts.observed.shape
    size = DTYPES[settings.dtype] * n_subjects * parts.n_time * n_units * (n_units - 1) // 2
    short = units.RANK_TWO if size <= STORED_BYTES else units.SHORT_FORMS
    if parts.dense is None and parts.kernel in short:
        products = short[parts.kernel](drives_of(parts, settings))
    else:
        products = units.OfPairs(pairs_of(parts, settings))
    return ntf.UnitLayout(products, parts.observed, parts.n_time)


LAYOUTS: dict[str, Callable[[AffinityParts, NTF], ntf.Layout]] = {"pair": pair_layout, "symcp": unit_layout}
LOSSES: dict[str, ntf.Sweep] = {"l2": ntf.sweep}


def check_subjects(parts: AffinityParts) -> None:
    """Raise unless every subject shows a pair: nothing could be said about its loading."""
    empty = np.flatnonzero(parts.observed.sum(axis=1) < 2)
    if empty.size:
        names = (
            parts.coords["subject"].to_numpy()
            if "subject" in parts.coords
            else np.arange(len(parts.observed))
        )
        raise SchemaError(
            f"at least two {parts.dim}s are needed" + (" in every subject" if parts.several else ""),
            code="NT-DATA-010",
            found=", ".join(f"subject {names[k]}: {int(parts.observed[k].sum())}" for k in empty),
            fix="leave those subjects out" if parts.several else None,
        )


def warn_unseen(layout: ntf.Layout, parts: AffinityParts, settings: NTF) -> None:
    """Say how much of a motif no subject shows; it is zero in the fit."""
    unseen = layout.n_space - int(to_numpy(layout.ever).sum())
    if unseen:
        what = f"pairs of {parts.dim}s were" if settings.layout == "pair" else f"{parts.dim}s were"
        warnings.warn(
            f"{unseen} {what} never observed{' together' if settings.layout == 'pair' else ''}, and are zero "
            "in every motif",
            NeurotoolsWarning,
            stacklevel=3,
        )


# ---- fitting ------------------------------------------------------------------------------------------
def best_of(layout: ntf.Layout, settings: NTF) -> ntf.Solution:
    """All restarts, as many at a time as fit the budget."""
    entries = 6 * settings.rank * (layout.n_space + layout.n_subjects * layout.n_time)
    at_once = max(1, BATCH_BYTES // (entries * DTYPES[settings.dtype]))
    n = settings.n_restarts
    found = ntf.Solution([], [], [])
    with working(f"NTF, rank {settings.rank}") as show:
        for first in range(0, n, at_once):
            seeds = [(settings.seed, k) for k in range(first, min(first + at_once, n))]

            def on_sweep(share: float, first: int = first, batch: int = len(seeds)) -> None:
                show((first + share * batch) / n)

            begin = ntf.start(layout, settings.rank, seeds)
            found += ntf.solve(
                layout, begin, LOSSES[settings.loss],
                max_iter=settings.max_iter, tol=settings.tol, on_sweep=on_sweep,
            )  # fmt: skip
    return found


# ---- known motifs in new data -------------------------------------------------------------------------
def held_fixed(fit: xr.Dataset, parts: AffinityParts, settings: NTF) -> tuple[xr.DataArray, float]:
    """Time courses of a fit's motifs in an affinity, and the relative error that they leave."""
    check_belongs(fit, parts)
    known = "pair" if "motif" in fit else "symcp"
    layout = LAYOUTS[known](parts, settings)
    weight = fit["weight"].to_numpy()[:, None]
    if known == "pair":
        space = kernels.pack(fit["motif"].transpose("component", parts.dim, ...).to_numpy()) * weight
    else:
        space = fit["unit_loading"].transpose("component", parts.dim).to_numpy() * np.sqrt(weight)
    subject = subject_loading(fit, parts).to_numpy()
    space, subject = (like(factor[None], layout.sets) for factor in (space, subject))
    product, matrix = ntf.time_terms(layout.project(space), layout.grams(space), subject)
    times = tensor.nonnegative_solve(product, matrix)
    error = tensor.relative_error(layout.norm2, product, times, matrix * tensor.gram(times))
    coords = {n: c for n, c in parts.coords.items() if c.dims == ("time",)} | {"component": fit["component"]}
    named = xr.DataArray(to_numpy(times[0]), dims=("component", "time"), coords=coords, name="time_loading")
    return named, float(error[0])


def subject_loading(fit: xr.Dataset, parts: AffinityParts) -> xr.DataArray:
    """Loadings of the subjects that the data have, in their order; ones where the fit knows no subjects."""
    if "subject_loading" not in fit:
        return xr.DataArray(np.ones((fit.sizes["component"], 1)), dims=("component", "subject"))
    loading = fit["subject_loading"].transpose("component", "subject")
    if "subject" not in parts.coords or "subject" not in fit.coords:
        return loading
    wanted = parts.coords["subject"].to_numpy()
    unknown = sorted(set(wanted.tolist()) - set(fit["subject"].to_numpy().tolist()))
    if unknown:
        raise SchemaError(
            "the fit has no loading for some subjects", code="NT-DATA-005", found=", ".join(map(str, unknown))
        )
    return loading.sel(subject=wanted).drop_vars("subject")


def check_belongs(fit: xr.Dataset, parts: AffinityParts) -> None:
    """Raise unless units, subjects and kernel of the data are those of the fit."""
    if "weight" not in fit or not {"motif", "unit_loading"} & set(fit.data_vars):
        raise SchemaError("this is not a factorisation", found=sorted(map(str, fit.data_vars)))
    if fit.attrs.get("kernel") != parts.kernel:
        raise SchemaError(
            "the affinity has another kernel than the fit",
            code="NT-DATA-005", found=parts.kernel, expected=fit.attrs.get("kernel"),
        )  # fmt: skip
    labels = [data[parts.dim].to_numpy() for data in (fit.coords, parts.coords) if parts.dim in data]
    same = fit.sizes.get(parts.dim) == parts.observed.shape[1]
    if not same or (len(labels) == 2 and not np.array_equal(labels[0], labels[1])):
        raise SchemaError(
            f"the affinity has other {parts.dim}s than the fit, or another order", code="NT-DATA-005",
            fix=f"select them by name: affinity.sel({parts.dim}=fit[{parts.dim!r}])",
        )  # fmt: skip
    if ("subject_loading" in fit) != parts.several:
        raise SchemaError(
            "only one of fit and affinity has subjects", code="NT-DATA-005",
            found=f"subject_loading in the fit: {'subject_loading' in fit}; in the data: {parts.several}",
        )  # fmt: skip


def rebuilt(fit: xr.Dataset, loading: xr.DataArray, parts: AffinityParts) -> xr.DataArray:
    """Affinities that a fit predicts with the given time courses."""
    n_subjects, n_units = parts.observed.shape
    size = 8 * n_subjects * parts.n_time * n_units**2
    if size > DENSE_BYTES:
        raise SchemaError(
            "the dense prediction is too large to be made", code="NT-DATA-010",
            found=f"{size / 1024**3:.1f} GiB", expected=f"at most {DENSE_BYTES / 1024**3:.0f} GiB",
            fix="select less time: affinity.isel(time=slice(0, 100))",
        )  # fmt: skip
    scaled = loading * fit["weight"] * subject_loading(fit, parts)
    moving = scaled.transpose("subject", "time", "component").to_numpy()
    if "motif" in fit:
        matrices = fit["motif"].transpose("component", parts.dim, ...).to_numpy()
    else:
        units_ = fit["unit_loading"].transpose("component", parts.dim).to_numpy()
        matrices = units_[:, :, None] * units_[:, None, :] * ~np.eye(n_units, dtype=bool)
    values = np.moveaxis(np.tensordot(moving, matrices, axes=1), 1, -1)
    dims = ("subject", parts.dim, f"{parts.dim}_to", "time")
    named = xr.DataArray(values, dims=dims, name="affinity", attrs={"units": "1"})
    named = named if parts.several else named.isel(subject=0)
    return named.assign_coords({**parts.coords, **parts.to_coord})


# ---- back to names ------------------------------------------------------------------------------------
def as_dataset(solution: ntf.Solution, layout: ntf.Layout, parts: AffinityParts, settings: NTF) -> xr.Dataset:
    """Name what was found; components are numbered by weight, largest first."""
    final = np.array([errors[-1] for errors in solution.errors])
    best = int(np.argmin(final))
    modes = [to_numpy(mode)[0] for mode in layout.modes(solution.factors[best])]
    scaled, weight = tensor.normalise(modes)
    order = np.argsort(-weight, kind="stable")
    dim, errors = parts.dim, solution.errors[best]
    space, subject, times = (mode[order] for mode in scaled[-3:])
    variables: dict[str, Any] = {
        "time_loading": (("component", "time"), times),
        "weight": ("component", weight[order]),
        "error": ("iteration", errors),
        "restart_error": ("restart", final),
        "restart_similarity": (("restart", "restart_to"), similarities(layout, solution)),
    }
    counts = {"component": settings.rank, "restart": len(final), "restart_to": len(final)}
    coords = {**parts.coords, **{name: np.arange(count) for name, count in counts.items()}}
    coords["iteration"] = np.arange(1, len(errors) + 1)
    if parts.several:
        variables["subject_loading"] = (("component", "subject"), subject)
    if settings.layout == "pair":
        matrices = kernels.unpack(space, parts.observed.shape[1])
        variables["motif"] = (("component", dim, f"{dim}_to"), matrices)
        coords |= parts.to_coord
    else:
        variables["unit_loading"] = (("component", dim), space)
    attrs = {
        "kernel": parts.kernel,
        **parts.made,
        "converged": int(solution.converged[best]),
        "n_iter": len(errors),
        "relative_error": float(final[best]),
    }
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def similarities(layout: ntf.Layout, solution: ntf.Solution) -> np.ndarray:
    """Mean cosine of matched components between every two restarts."""
    n = len(solution.factors)
    modes = [layout.modes(factors) for factors in solution.factors]
    values = np.eye(n)
    for left in range(n):
        for right in range(left):
            _, score = tensor.match(tensor.congruence(modes[left], modes[right])[0, ...])
            values[left, right] = values[right, left] = score
    return values
