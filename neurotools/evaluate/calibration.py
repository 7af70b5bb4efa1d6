"""Whether probabilities mean what they say: of everything called 80 % likely, four in five should be so."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, expect

Z90 = 1.6448536269514722  # normal quantile of a 90 % interval


def type_calibration(type_prob: xr.DataArray, truth: xr.DataArray, n_bins: int = 10) -> xr.Dataset:
    """Compare probabilities of connection types with the types that are true.

    Every coupling gives one statement for each type, and each is a yes or a no.

    Parameters
    ----------
    type_prob : xarray.DataArray
        Probabilities (..., type), such as ``type_prob`` (unit, unit_to, type) of a fit.
    truth : xarray.DataArray
        The label of the true type, over the same dimensions without ``type``; entries whose label is none of
        the types (an empty text, say) are left out, and counted in attrs ``n_left_out``.
    n_bins : int
        Of equal width from 0 to 1.

    Returns
    -------
    xarray.Dataset
        ``observed`` (bin), how often a statement of that probability was true, ``observed_interval`` (bin,
        bound), 90 % (Wilson 1927), ``predicted`` (bin), its mean probability, ``n`` (bin). attrs
        ``expected_calibration_error``: the mean of ``abs(observed - predicted)``, weighted by n (Naeini et
        al. 2015, AAAI); ``balanced_accuracy`` of the most probable type.

    Raises
    ------
    SchemaError
        The two are not of the same couplings.
    """
    expect(type_prob, "probabilities of types", xr.DataArray)
    expect(truth, "the true types", xr.DataArray)
    if "type" not in type_prob.dims or "type" not in type_prob.coords:
        raise SchemaError(
            "probabilities of types need the dimension 'type', with names", found=type_prob.dims
        )
    if n_bins < 1:
        raise SettingsError("n_bins must be at least 1", found=n_bins)
    lead = [str(dim) for dim in type_prob.dims if dim != "type"]
    if set(truth.dims) != set(lead) or any(truth.sizes[dim] != type_prob.sizes[dim] for dim in lead):
        raise SchemaError(
            "true types are of other couplings than the probabilities", code="NT-DATA-005",
            found=dict(truth.sizes), expected={dim: type_prob.sizes[dim] for dim in lead},
        )  # fmt: skip
    names = type_prob["type"].to_numpy()
    said = type_prob.transpose(*lead, "type").to_numpy().reshape(-1, names.size)
    label = truth.transpose(*lead).to_numpy().ravel()
    known = np.isin(label, names)
    if not known.any():
        raise SchemaError("no coupling has a type that is known", code="NT-DATA-010",
                          expected=", ".join(map(str, names)))  # fmt: skip
    said, true = said[known], label[known][:, None] == names
    return _table(said, true, n_bins).assign_attrs(
        n_left_out=int((~known).sum()), balanced_accuracy=_balanced(said, true)
    )


def _table(said: np.ndarray, true: np.ndarray, n_bins: int) -> xr.Dataset:
    place = np.clip((said.ravel() * n_bins).astype(int), 0, n_bins - 1)
    n = np.bincount(place, minlength=n_bins)
    with np.errstate(invalid="ignore"):
        predicted = np.bincount(place, said.ravel(), n_bins) / n
        observed = np.bincount(place, true.ravel().astype("float64"), n_bins) / n
    gap = np.nansum(n * np.abs(observed - predicted)) / n.sum()
    return xr.Dataset(
        {
            "observed": ("bin", observed, {"units": "1"}),
            "observed_interval": (("bin", "bound"), wilson(observed, n), {"units": "1"}),
            "predicted": ("bin", predicted, {"units": "1"}),
            "n": ("bin", n),
        },
        coords={"bin": np.arange(n_bins), "bound": ["low", "high"]},
        attrs={"expected_calibration_error": float(gap), "interval": 0.9},
    )


def wilson(share: np.ndarray, n: np.ndarray) -> np.ndarray:
    """90 % interval (..., 2) of a share of ``n`` trials (Wilson 1927, JASA 22, 209-212); NaN for none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1 + Z90**2 / n
        middle = (share + Z90**2 / (2 * n)) / scale
        half = Z90 / scale * np.sqrt(share * (1 - share) / n + Z90**2 / (4 * n**2))
    return np.stack([middle - half, middle + half], axis=-1)


def _balanced(said: np.ndarray, true: np.ndarray) -> float:
    """Mean over the types that occur of the share of them that was found."""
    hit = np.arange(true.shape[1]) == said.argmax(axis=1)[:, None]
    there = true.any(axis=0)
    return float(((hit & true).sum(axis=0)[there] / true.sum(axis=0)[there]).mean())
