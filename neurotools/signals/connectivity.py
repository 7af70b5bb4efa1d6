"""How strongly regions go together: over a whole recording, window by window, and beside a reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from neurotools.errors import SchemaError, SettingsError, expect, lookup
from neurotools.numerics import covariance as maths
from neurotools.schema import Schema, space_dim
from neurotools.signals.steps import along, asked, rate_of, recorded, sessions

SERIES = Schema("series to compare", dims=("subject?", "time", "unit|channel|region"))
# The same, for where a value that is not finite shows in the variances, which are looked at instead.
UNSEEN = replace(SERIES, allow_nan=True)
WINDOWS = Schema(
    "connectivity in windows",
    dims=("subject?", "window", "region|unit|channel", "region_to|unit_to|channel_to"),
)
PART_BYTES = 1 << 23  # of the windows that are in memory at once
MATRICES = Schema(
    "covariances", dims=("subject|recording", "region|unit|channel", "region_to|unit_to|channel_to")
)

# From the covariance of the series, or their correlation, to the measure.
KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "covariance": lambda c: c,
    "correlation": maths.correlation,
    "partial": maths.partial_correlation,
    "precision": maths.precision,
}
ESTIMATORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ledoit_wolf": maths.ledoit_wolf,
    "empirical": maths.empirical,
}
INVERTED = ("partial", "precision")


def connectivity(
    data: xr.DataArray | xr.DataTree,
    *,
    kind: str = "correlation",
    estimator: str = "ledoit_wolf",
    standardize: bool = True,
) -> xr.DataArray:
    """Connectivity of every two regions (units, channels) over the whole of a recording.

    Parameters
    ----------
    data : xarray.DataArray or xarray.DataTree
        (subject?, region | unit | channel, time), without NaN; or a recording with one main array. The mean
        of each session (coordinate ``session`` on ``time``) is taken out by itself.
    kind : {"correlation", "partial", "covariance", "precision", "tangent"}
        ``"partial"`` is the correlation of two regions given all others. ``"tangent"`` is the displacement
        of each subject from the mean of all (see ``nt.tangent_space``) and needs the dimension ``subject``.
    estimator : {"ledoit_wolf", "empirical"}
        Of the covariance. Ledoit & Wolf (2004), Journal of Multivariate Analysis 88, 365-411, draws it
        towards a multiple of the identity, so that it can be inverted however short the recording is; it
        also makes every correlation smaller. ``"empirical"`` divides by the number of samples.
    standardize : bool
        Scale every series to variance one first. Without it, shrinkage (and so ``"partial"``) depends on
        the units of the series: one region measured on a larger scale changes the values of all.

    Returns
    -------
    xarray.DataArray
        (subject?, region, region_to), symmetric. Units: ``"1"`` where series were standardised or the kind
        has none, else those of the series squared (``precision``: to the power of minus two). attrs:
        ``kind``, ``estimator``, ``n_samples``, ``history``.

    Raises
    ------
    SchemaError
        NaN, a constant series, fewer than two samples, or fewer samples than an inverse needs.
    """
    if kind == "tangent":
        spread = connectivity(data, kind="covariance", estimator=estimator, standardize=standardize)
        return tangent_space(spread)["displacement"]
    measure = lookup("kind of connectivity", kind, KINDS)
    lookup("estimator of covariance", estimator, ESTIMATORS)
    array = asked(data, UNSEEN)
    values = _prepared(array)
    _check_samples(values, kind, estimator, array)
    with np.errstate(invalid="ignore"):
        result = _measured(values, measure, kind, estimator, standardize, unseen=array)
    made = _labelled(result, array, kind, standardize)
    made.attrs |= {"kind": kind, "estimator": estimator, "n_samples": values.shape[-2]}
    return _recorded(made, array, "connectivity", kind=kind, estimator=estimator, standardize=standardize)


def dynamic_connectivity(
    data: xr.DataArray | xr.DataTree,
    *,
    window_s: float,
    step_s: float | None = None,
    kind: str = "correlation",
    estimator: str = "empirical",
    standardize: bool = True,
) -> xr.DataArray:
    """Connectivity inside sliding windows, each matrix computed when it is asked for.

    The result holds no matrix: ``result.isel(window=slice(0, 50))`` computes fifty of them when its values
    are used, and ``nt.save`` writes them part by part, so that memory does not grow with their number.

    Parameters
    ----------
    data : xarray.DataArray or xarray.DataTree
        As for ``nt.connectivity``, on a regular clock.
    window_s, step_s : float
        Length of a window, and from the start of one to the start of the next (a tenth of the length where
        it is not said), in seconds. No window crosses an edge between sessions. Correlations in windows
        shorter than the slowest fluctuation of the signal vary by chance alone (Leonardi & Van De Ville
        2015, NeuroImage 104, 430-436): filter out what is slower than ``1 / window_s`` first.
    kind, estimator, standardize
        As for ``nt.connectivity``; every window is standardised by itself.

    Returns
    -------
    xarray.DataArray
        (subject?, window, region, region_to); ``window`` is the middle of each, in seconds. attrs:
        ``window_s``, ``step_s`` as they came out in whole samples, and those of ``nt.connectivity``.

    Raises
    ------
    SchemaError, SettingsError
        As for ``nt.connectivity``; a window longer than every session, or shorter than two samples.
    """
    measure = lookup("kind of connectivity", kind, KINDS)
    lookup("estimator of covariance", estimator, ESTIMATORS)
    array = asked(data, SERIES)
    sfreq = rate_of(array, "windows")
    length = round(window_s * sfreq)
    step = max(1, round((window_s / 10 if step_s is None else step_s) * sfreq))
    start = _starts(array, length, step, sfreq)
    values = array.to_numpy().astype("float64", copy=False)
    _check_samples(values[..., :length, :], kind, estimator, array)
    lazy = _Windows(values, start, length, lambda x: _measured(x, measure, kind, estimator, standardize))
    made = _labelled(indexing.LazilyIndexedArray(lazy), array, kind, standardize, windows=True)
    middle = array["time"].to_numpy()[start] + (length - 1) / 2 / sfreq
    made = made.assign_coords(window=("window", middle, {"units": "s"}))
    said = {"kind": kind, "estimator": estimator, "window_s": length / sfreq, "step_s": step / sfreq}
    made.attrs |= {**said, "n_samples": length}
    return _recorded(made, array, "dynamic_connectivity", **said, standardize=standardize)


def tangent_space(matrices: xr.DataArray, reference: xr.DataArray | None = None) -> xr.Dataset:
    """Displacement of every subject's covariance from a reference, in the tangent space at that reference.

    Differences between covariances are taken along the curved space in which these lie, which makes them
    comparable by straight distances (Varoquaux et al. 2010, MICCAI, LNCS 6361, 200-208, eq. 3).

    Parameters
    ----------
    matrices : xarray.DataArray
        (subject | recording, region, region_to), positive definite: covariances or correlations from
        ``nt.connectivity``.
    reference : xarray.DataArray, optional
        (region, region_to), the ``reference`` of an earlier result: what new subjects are compared with.
        The geometric mean of the matrices otherwise (Fletcher & Joshi 2007, Signal Processing 87, 250-262,
        algorithm 3, until the norm of its gradient per entry is below 1e-7, or 30 steps).

    Returns
    -------
    xarray.Dataset
        ``displacement`` (subject, region, region_to), ``reference`` (region, region_to); attrs
        ``converged``, 1 where the mean was reached.

    Raises
    ------
    SchemaError
        Fewer than two subjects without a reference, a matrix that is not positive definite, or regions that
        differ from those of the reference.
    """
    array = MATRICES.require(matrices)
    c = array.to_numpy().astype("float64")
    _check_positive(c, array)
    dims = tuple(map(str, array.dims[1:]))
    if reference is not None:
        reference = reference.transpose(*dims)
        if not reference.indexes[dims[0]].equals(array.indexes[dims[0]]):
            raise SchemaError(
                "the reference has other regions than the covariances", code="NT-DATA-005",
                found=f"{reference.sizes[dims[0]]} regions", expected=f"the same {array.sizes[dims[0]]}",
            )  # fmt: skip
        mean, converged = reference.to_numpy(), True
    elif c.shape[0] < 2:
        raise SchemaError(
            "a mean needs at least two subjects", found=f"{c.shape[0]}",
            fix="pass several along 'subject', or a reference=",
        )  # fmt: skip
    else:
        mean, converged = maths.geometric_mean(c)
    _, whitening = maths.square_roots(mean)
    labels = {dim: array.coords[dim] for dim in dims if dim in array.coords}
    attrs = {"units": "1", **{k: array.attrs[k] for k in ("estimator",) if k in array.attrs}}
    displaced = array.copy(data=maths.tangent(c, whitening)).rename("displacement")
    displaced.attrs = {**attrs, "kind": "tangent"}
    middle = xr.DataArray(mean, dims=dims, coords=labels, attrs=dict(array.attrs))
    return xr.Dataset({"displacement": displaced, "reference": middle}, attrs={"converged": int(converged)})


def window_summary(windows: xr.DataArray) -> xr.Dataset:
    """How connectivity varies over windows, read a few windows at a time.

    Parameters
    ----------
    windows : xarray.DataArray
        (subject?, window, region, region_to), from ``nt.dynamic_connectivity``.

    Returns
    -------
    xarray.Dataset
        ``mean`` and ``sd`` (subject?, region, region_to): over windows, the latter with divisor n.
        ``strength`` (subject?, window): mean absolute value over pairs of different regions.
        ``distance`` (subject?, window): root mean square difference from the window before over such pairs
        (Hutchison et al. 2013, NeuroImage 80, 360-378, review what such changes may mean); NaN in the first.
    """
    expect(
        windows, "connectivity of windows", xr.DataArray, fix="nt.dynamic_connectivity(data, window_s=...)"
    )
    # Only one window is looked at: to ask for all would compute them all at once.
    windows = windows.transpose(*WINDOWS.require(windows.isel(window=slice(0, 1))).dims)
    rest = tuple(str(dim) for dim in windows.dims if dim != "window")
    lead, pair = rest[:-2], rest[-2:]
    n = windows.sizes["window"]
    apart = ~np.eye(windows.sizes[pair[0]], dtype=bool)
    step = max(1, PART_BYTES // max(1, windows[{"window": 0}].nbytes))
    total, square, strength, distance = 0.0, 0.0, [], []
    before = None
    for start in range(0, n, step):
        part = windows.isel(window=slice(start, start + step)).transpose("window", *rest).to_numpy()
        total, square = total + part.sum(axis=0), square + (part**2).sum(axis=0)
        flat = part[..., apart]
        strength.append(np.abs(flat).mean(axis=-1))
        first = np.full_like(flat[:1], np.nan) if before is None else before
        distance.append(np.sqrt((np.diff(flat, axis=0, prepend=first) ** 2).mean(axis=-1)))
        before = flat[-1:]
    mean = total / n
    attrs = {"units": windows.attrs.get("units", "1")}
    over = ("window", *lead)
    values = {
        "mean": (rest, mean, attrs),
        "sd": (rest, np.sqrt(np.maximum(square / n - mean**2, 0)), attrs),
        "strength": (over, np.concatenate(strength), attrs),
        "distance": (over, np.concatenate(distance), attrs),
    }
    result = xr.Dataset(values, coords=dict(windows.coords), attrs=dict(windows.attrs))
    return result.transpose(*lead, ...)


def group_connectivity(recordings: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Connectivity of several recordings side by side, their mean, and how far each lies from the others.

    Parameters
    ----------
    recordings : mapping of str to xarray.Dataset
        Name to matrices of one or more kinds, the same in all, each from ``nt.connectivity``.

    Returns
    -------
    xarray.Dataset
        Each kind (recording, ..., region, region_to); ``mean_KIND`` over recordings; and, of the correlation
        or else the covariance, ``displacement`` and ``reference`` as ``nt.tangent_space`` gives them. Where
        there are none, attrs ``no_displacement`` says why.

    Raises
    ------
    SchemaError
        Regions or kinds differ; nothing is reordered or left out.
    """
    expect(recordings, "a mapping of names to matrices of connectivity", Mapping)
    (first, *_), names = recordings.values(), list(recordings)
    for name, matrices in recordings.items():
        expect(matrices, f"matrices of {name!r}, one variable for each kind,", xr.Dataset)
        if list(matrices) != list(first) or not _same_regions(matrices, first):
            raise SchemaError(
                "recordings have different regions or kinds", code="NT-DATA-005", where=name,
                found=f"{list(matrices)}, {dict(matrices.sizes)}",
                expected=f"those of {names[0]}: {list(first)}, {dict(first.sizes)}",
                fix="one atlas for all, or a run for each atlas",
            )  # fmt: skip
    along = xr.Variable("recording", names)
    group = xr.concat(list(recordings.values()), along, coords="minimal", compat="override", join="exact")
    means = {f"mean_{kind}": matrix.mean("recording", keep_attrs=True) for kind, matrix in group.items()}
    base = next((group[kind] for kind in ("correlation", "covariance") if kind in group), None)
    reason = _no_displacement(base)
    if base is None or reason:
        return group.assign(means).assign_attrs(no_displacement=reason)
    space = tangent_space(base)
    return group.assign(means).assign(space.data_vars).assign_attrs(space.attrs)


def _same_regions(one: xr.Dataset, other: xr.Dataset) -> bool:
    return one.sizes == other.sizes and all(
        one.indexes[dim].equals(other.indexes[dim]) for dim in one.dims if dim in one.indexes
    )


def _no_displacement(base: xr.DataArray | None) -> str:
    """Why matrices have no place in tangent space, or nothing."""
    if base is None:
        return "neither correlation nor covariance was computed"
    if base.ndim != 3:
        return "a recording has several subjects"
    if base.sizes["recording"] < 2:
        return "there is one recording"
    if base.attrs.get("estimator") != "ledoit_wolf":
        return "estimates that are not shrunk may have no inverse"
    return ""


# ---- computed when asked for ----------------------------------------------------------------------------
class _Windows(BackendArray):
    """Matrices (subject?, window, region, region) of which each part is computed on demand."""

    def __init__(
        self, values: np.ndarray, start: np.ndarray, length: int, make: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        self.values, self.start, self.length, self.make = values, start, length, make
        self.shape = (*values.shape[:-2], start.size, values.shape[-1], values.shape[-1])
        self.dtype = np.dtype("float64")

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._compute
        )

    def _compute(self, key: tuple[Any, ...]) -> np.ndarray:
        *subjects, windows, rows, columns = key
        values = self.values[tuple(subjects)]
        start = np.atleast_1d(self.start[windows])
        shape = (*values.shape[:-2], start.size, *self.shape[-2:])
        full = np.empty(shape)
        for place, first in enumerate(start):
            full[..., place, :, :] = self.make(values[..., first : first + self.length, :])
        return (full if isinstance(windows, slice) else full[..., 0, :, :])[..., rows, columns]


# ---- pieces ---------------------------------------------------------------------------------------------
def _measured(
    x: np.ndarray,
    measure: Callable[[np.ndarray], np.ndarray],
    kind: str,
    estimator: str,
    standardize: bool,
    *,
    unseen: xr.DataArray | None = None,
) -> np.ndarray:
    """The measure of series; ``unseen`` is their array where nobody has looked for NaN in it."""
    if standardize:
        spread = maths.correlation_of_series(x, estimator == "ledoit_wolf")
    else:
        spread = ESTIMATORS[estimator](x)
    if unseen is not None and not np.isfinite(spread).all():
        SERIES.require(unseen)
    return spread if standardize and kind not in INVERTED else measure(spread)


def _prepared(array: xr.DataArray) -> np.ndarray:
    """Values (subject?, time, region), each session around its own mean."""
    values = array.to_numpy().astype("float64", copy=False)
    parts = sessions(array)
    if len(parts) == 1:
        return values
    pieces = [values[..., part, :] - values[..., part, :].mean(axis=-2, keepdims=True) for part in parts]
    return np.concatenate(pieces, axis=-2)


def _starts(array: xr.DataArray, length: int, step: int, sfreq: float) -> np.ndarray:
    longest = max(part.stop - part.start for part in sessions(array))
    if length < 2 or length > longest:
        raise SettingsError(
            "a window has at least two samples and fits into a session",
            found=f"{length} samples ({length / sfreq:g} s)",
            expected=f"2 to {longest} samples ({2 / sfreq:g} to {longest / sfreq:g} s)",
        )
    return np.concatenate([np.arange(part.start, part.stop - length + 1, step) for part in sessions(array)])


def _check_samples(values: np.ndarray, kind: str, estimator: str, array: xr.DataArray) -> None:
    n, p = values.shape[-2:]
    if n < 2:
        raise SchemaError("connectivity needs at least two samples", code="NT-DATA-010", found=f"{n}")
    if kind in INVERTED and estimator == "empirical" and n <= p:
        raise SchemaError(
            f"the covariance of {p} series over {n} samples has no inverse", code="NT-DATA-010",
            expected=f"more than {p} samples", fix='estimator="ledoit_wolf", or fewer series',
        )  # fmt: skip
    # Few series end where they began; only these are looked at whole.
    constant = np.argwhere(values[..., 0, :] == values[..., -1, :])
    constant = np.array([at for at in constant if np.ptp(values[*at[:-1], :, at[-1]]) == 0])
    if constant.size:
        dim = space_dim(array)
        names = [str(name) for name in array[dim].to_numpy()[np.unique(constant[:, -1])][:6]]
        raise SchemaError(
            "a series that never changes goes together with nothing", code="NT-DATA-010",
            where=f"{dim} {', '.join(names)}", found=f"{len(constant)} constant series",
            fix=f"leave them out: data.drop_sel({dim}=[...])",
        )  # fmt: skip


def _check_positive(c: np.ndarray, array: xr.DataArray) -> None:
    lowest = np.linalg.eigvalsh(c)[:, 0]
    if lowest.min() <= 0:
        place = int(lowest.argmin())
        raise SchemaError(
            "a matrix is not positive definite, so it has no place in the curved space",
            where=f"{array.dims[0]} {array[array.dims[0]].to_numpy()[place]}",
            found=f"smallest eigenvalue {lowest[place]:.3g}", fix='estimator="ledoit_wolf" makes it one',
        )  # fmt: skip


def _labelled(
    values: Any, array: xr.DataArray, kind: str, standardize: bool, windows: bool = False
) -> xr.DataArray:
    dim = space_dim(array)
    lead = tuple(str(d) for d in array.dims[:-2])
    dims = (*lead, *(("window",) if windows else ()), dim, f"{dim}_to")
    labels = array.indexes[dim] if dim in array.indexes else np.arange(array.sizes[dim])
    variable = xr.Variable(dims, values, {"units": _units(array, kind, standardize)})
    coords = {dim: labels, **along(array, (*lead, dim)), f"{dim}_to": xr.IndexVariable(f"{dim}_to", labels)}
    return xr.DataArray(variable, coords=coords, name="connectivity")


def _units(array: xr.DataArray, kind: str, standardize: bool) -> str:
    units = str(array.attrs.get("units", "arbitrary"))
    if standardize or kind in ("correlation", "partial") or units == "1":
        return "1"
    return f"{units}^-2" if kind == "precision" else f"{units}^2"


def _recorded(made: xr.DataArray, array: xr.DataArray, step: str, **settings: Any) -> xr.DataArray:
    # ``recorded`` counts samples before and after, and a matrix has no time of its own.
    nothing = xr.DataArray(
        xr.Variable("time", array["time"].to_numpy()[:0], {"units": array.attrs.get("units")})
    )
    made.attrs["history"] = recorded(nothing, array, step, **settings).attrs["history"]
    return made
