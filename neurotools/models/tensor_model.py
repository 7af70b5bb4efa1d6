"""TensorModel: a labelled tensor as a few components, each with a loading along every dimension.

    cp        x[i, j, k, ...] ~ sum_r weight_r a_r[i] b_r[j] c_r[k] ...
    tucker    x[i, j, k, ...] ~ sum_pqs core[p, q, s] a_p[i] b_q[j] c_s[k] ...
    parafac2  x[i, j, k] ~ sum_r weight_r a_r[i] b_r[i, j] c_r[k],   b_r[i]' b_s[i] the same for all i

Kolda and Bader (2009), SIAM Review 51(3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurotools.arrays import to_device
from neurotools.errors import SchemaError, SettingsError, check_numbers, expect, lookup
from neurotools.numerics import multiway, tensor
from neurotools.numerics.multiway import KINDS, Found, Wanted
from neurotools.provenance import stamp
from neurotools.schema import plain_attrs
from neurotools.schema.loadings import rebuilt_tensor


# ---- settings and verbs -------------------------------------------------------------------------------
@dataclass(frozen=True)
class TensorModel:
    """Factorisation of any labelled tensor; loadings carry the names of its dimensions.

    Parameters
    ----------
    kind : {"cp", "tucker", "parafac2"}
        Canonical polyadic; Tucker, with a core that says which components go together; or PARAFAC2, in which
        the loadings of the second dimension may change along the first.
    rank : int or tuple of ints
        Number of components; for ``tucker`` also one number per dimension.
    nonnegative : tuple of str
        Dimensions whose loadings are not negative. Tucker takes all of them or none.
    n_restarts : int
        Starts; the one with the lowest error is the fit. The first of ``tucker`` and ``parafac2`` is that of
        the singular vectors.
    max_iter, tol : int, float
        A start stops when a sweep lowers the relative error by less than ``tol``, or after ``max_iter``.
    seed : int
    device : str
        ``"cpu"``, ``"cupy"``, ``"torch"``, ``"torch:cuda"``, ``"auto"``.
    """

    kind: str
    rank: int | tuple[int, ...]
    nonnegative: tuple[str, ...] = ()
    n_restarts: int = 10
    max_iter: int = 1000
    tol: float = 1e-8
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        lookup("kind of factorisation", self.kind, KINDS)
        check_numbers(self, n_restarts=1, max_iter=1, tol=0)
        ranks = (self.rank,) if isinstance(self.rank, int) else tuple(self.rank)
        if min(ranks, default=0) < 1:
            raise SettingsError("rank must be at least 1", found=self.rank)
        if self.kind != "tucker" and len(ranks) != 1:
            raise SettingsError("only kind='tucker' has a rank for every dimension", code="NT-SET-003")

    def fit(self, data: xr.DataArray, mask: xr.DataArray | None = None) -> xr.Dataset:
        """Find components.

        Parameters
        ----------
        data : xarray.DataArray
            Any dimensions, at least two. Where values are missing (NaN) a mask has to say so.
        mask : xarray.DataArray, optional
            False for entries that are not to be used; ``cp`` fits the others alone, nothing is imputed. The
            other kinds know no masks.

        Returns
        -------
        xarray.Dataset
            ``<dim>_loading`` (component, dim) for every dimension, of length one, and ``weight`` (component),
            largest first; for ``tucker`` ``<dim>_loading`` (<dim>_component, dim) and ``core``; for
            ``parafac2`` the second loading is (component, first, second). ``error`` (iteration) of the best
            start, ``restart_error`` (restart), ``restart_similarity`` (restart, restart_to). attrs
            ``relative_error``, ``converged``, ``n_iter``, ``dims``.
        """
        expect(data, "a labelled tensor", xr.DataArray, fix="xr.DataArray(values, dims=(...))")
        array = data.transpose(*sorted(map(str, data.dims))) if self.kind != "parafac2" else data
        values, seen = checked(array, mask, self)
        wanted = wanted_of(self, array)
        x = to_device(values, self.device, "float64")
        shown = None if seen is None else to_device(seen.astype("float64"), self.device, "float64")
        return stamp(as_dataset(KINDS[self.kind](x, shown, wanted), array, self), "tensor_model", self)

    def predict(self, fit: xr.Dataset, data: xr.DataArray) -> xr.DataArray:
        """What the components predict for every entry of the data, missing ones included."""
        model = rebuilt_tensor(fit)
        if dict(model.sizes) != {str(d): n for d, n in data.sizes.items()}:
            raise SchemaError(
                "the data are not of the fit's dimensions", code="NT-DATA-005",
                found=dict(data.sizes), expected=dict(model.sizes),
            )  # fmt: skip
        return model.transpose(*data.dims)

    def score(self, fit: xr.Dataset, data: xr.DataArray) -> float:
        """Share of the data's squared norm that the components explain; NaN entries do not count."""
        values, model = data.to_numpy(), self.predict(fit, data).to_numpy()
        known = np.isfinite(values)
        return float(1.0 - ((values - model)[known] ** 2).sum() / (values[known] ** 2).sum())


# ---- the data -------------------------------------------------------------------------------------------
def checked(
    data: xr.DataArray, mask: xr.DataArray | None, settings: TensorModel
) -> tuple[np.ndarray, np.ndarray | None]:
    """Values with zeros where they are hidden, and which are not; or what is wrong with them."""
    if data.ndim < 2 or (settings.kind == "parafac2" and data.ndim != 3):
        need = "three" if settings.kind == "parafac2" else "two or more"
        raise SchemaError(f"kind={settings.kind!r} needs {need} dimensions", found=data.dims)
    values = data.to_numpy().astype("float64")
    seen = None
    if mask is not None:
        expect(mask, "a mask of entries", xr.DataArray)
        if dict(mask.sizes) != dict(data.sizes):
            raise SchemaError(
                "the mask and the data differ in size", code="NT-DATA-005", found=dict(mask.sizes)
            )
        if settings.kind != "cp":
            raise SettingsError(
                "only kind='cp' takes a mask", code="NT-SET-003", found=settings.kind, fix='kind="cp"'
            )
        seen = mask.transpose(*data.dims).to_numpy().astype(bool)
        values = np.where(seen, values, 0.0)
    if not np.isfinite(values).all():
        raise SchemaError(
            "the tensor has values that are not finite", code="NT-DATA-003",
            found=f"{int((~np.isfinite(values)).sum())} of {values.size}",
            fix='model.fit(data, mask=data.notnull()) with kind="cp"',
        )  # fmt: skip
    if not (values != 0).any():
        raise SchemaError("the tensor is zero everywhere", code="NT-DATA-010")
    return values, seen


def wanted_of(settings: TensorModel, data: xr.DataArray) -> Wanted:
    """Settings as numbers of modes."""
    dims = [str(dim) for dim in data.dims]
    unknown = [dim for dim in settings.nonnegative if dim not in dims]
    if unknown:
        raise SettingsError("nonnegative names dimensions that the data lack", found=unknown, expected=dims)
    bounded = frozenset(dims.index(dim) for dim in settings.nonnegative)
    if settings.kind == "tucker" and bounded and len(bounded) < len(dims):
        raise SettingsError(
            "a Tucker model is non-negative in all dimensions or in none", code="NT-SET-003",
            found=settings.nonnegative, expected=dims,
        )  # fmt: skip
    rank = (settings.rank,) if isinstance(settings.rank, int) else tuple(settings.rank)
    if settings.kind == "tucker":
        rank = rank * len(dims) if len(rank) == 1 else rank
        if len(rank) != len(dims):
            raise SettingsError("one rank per dimension is needed", found=rank, expected=dims)
        rank = tuple(min(r, n) for r, n in zip(rank, data.shape, strict=True))
    return Wanted(rank, bounded, settings.n_restarts, settings.max_iter, settings.tol, settings.seed)


# ---- back to names ----------------------------------------------------------------------------------------
def as_dataset(found: list[Found], data: xr.DataArray, settings: TensorModel) -> xr.Dataset:
    """Name what was found."""
    final = np.array([start.errors[-1] for start in found])
    best = found[int(np.argmin(final))]
    dims = [str(dim) for dim in data.dims]
    coords: dict[str, Any] = {str(n): c.reset_coords(drop=True) for n, c in data.coords.items() if c.dims}
    named = tucker_variables(best, dims) if settings.kind == "tucker" else component_variables(best, dims)
    variables = named | {
        "error": ("iteration", best.errors),
        "restart_error": ("restart", final),
        "restart_similarity": (("restart", "restart_to"), similarities(found, settings)),
    }
    fit = xr.Dataset(variables, coords=coords | {"iteration": np.arange(1, best.errors.size + 1)})
    for dim in fit.dims:
        if str(dim).endswith("component") or dim in ("restart", "restart_to"):
            fit = fit.assign_coords({dim: np.arange(fit.sizes[dim])})
    attrs = {"relative_error": float(final.min()), "converged": int(best.converged),
             "n_iter": int(best.errors.size), "dims": " ".join(dims)}  # fmt: skip
    return fit.assign_attrs(plain_attrs(attrs))


def component_variables(found: Found, dims: list[str]) -> dict[str, Any]:
    """Loadings and weights of components."""
    names: dict[str, Any] = {"weight": ("component", found.scale)}
    for dim, factor in zip(dims, found.factors, strict=True):
        own = ("component", dim) if factor.ndim == 2 else ("component", dims[0], dim)
        names[f"{dim}_loading"] = (own, factor)
    return names


def tucker_variables(found: Found, dims: list[str]) -> dict[str, Any]:
    """Loadings with components of their own in every dimension, and the core that joins them."""
    names: dict[str, Any] = {"core": (tuple(f"{dim}_component" for dim in dims), found.scale)}
    for dim, factor in zip(dims, found.factors, strict=True):
        names[f"{dim}_loading"] = ((f"{dim}_component", dim), factor)
    return names


def similarities(found: list[Found], settings: TensorModel) -> np.ndarray:
    """Mean cosine of matched components between every two starts; for ``tucker`` of what they predict."""
    values = np.eye(len(found))
    if settings.kind == "tucker":
        flat = np.stack([multiway.tucker_tensor(start).ravel() for start in found])
        lengths = np.linalg.norm(flat, axis=1)
        return (flat @ flat.T) / np.outer(lengths, lengths)
    for left in range(len(found)):
        for right in range(left):
            parts = [[f.reshape(len(f), -1) for f in start.factors] for start in (found[left], found[right])]
            _, score = tensor.match(tensor.congruence(*parts))
            values[left, right] = values[right, left] = score
    return values
