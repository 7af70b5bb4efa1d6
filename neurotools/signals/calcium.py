"""Fluorescence as change relative to a baseline."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError
from neurotools.signals.steps import asked, rate_of, recorded, sessions


def dff(
    data: xr.DataArray | xr.DataTree,
    *,
    window_s: float | None = 60.0,
    percentile: float = 8.0,
    neuropil: xr.DataArray | None = None,
    neuropil_weight: float = 0.7,
) -> xr.DataArray:
    """Relative change of fluorescence over a running baseline, (F - F0) / F0.

    F0 is the running percentile of ``scipy.ndimage.percentile_filter`` (edges reflected), taken within each
    session. With ``neuropil``, F is first the fluorescence less ``neuropil_weight`` times the neuropil (Chen
    et al. 2013, Nature 499:295-300, use 0.7).

    Parameters
    ----------
    data : xarray.DataArray or xarray.DataTree
        Fluorescence (unit, time) on a regular clock, without NaN; or a recording with one such array.
    window_s : float or None
        Length of the running window, in seconds; None takes the whole session.
    percentile : float
        Between 0 and 100; low, so that activity does not lift the baseline.
    neuropil : xarray.DataArray, optional
        Fluorescence around each unit, with the same labels and clock.
    neuropil_weight : float
        Share of the neuropil that reaches the unit.

    Returns
    -------
    xarray.DataArray
        Same dimensions and labels, ``units`` "1", and in ``history`` what was done.

    Raises
    ------
    SchemaError
        A baseline is not positive (traces that are z-scored or deconvolved have none), or the neuropil does
        not fit.
    """
    if not 0 <= percentile <= 100:
        raise SettingsError("'percentile' lies between 0 and 100", found=percentile)
    traces = asked(data)
    values = traces.to_numpy().astype("float64")
    if neuropil is not None:
        values = values - neuropil_weight * _fitting(neuropil, traces)
    out = np.empty_like(values)
    for part in sessions(traces):
        size = _window(window_s, traces, part)
        baseline = _baseline(values[..., part], percentile, size)
        _check_positive(baseline, traces)
        out[..., part] = (values[..., part] - baseline) / baseline
    result = traces.copy(data=out).assign_attrs(units="1")
    share = 0.0 if neuropil is None else float(neuropil_weight)
    return recorded(
        result, traces, "dff", by=("scipy",), window_s=window_s, percentile=percentile, neuropil_weight=share
    )


def _fitting(neuropil: xr.DataArray, traces: xr.DataArray) -> np.ndarray:
    around = asked(neuropil)
    for dim in traces.dims:
        same = dim in around.dims and around.sizes[dim] == traces.sizes[dim]
        if not same or not np.array_equal(around[dim].to_numpy(), traces[dim].to_numpy()):
            raise SchemaError(
                f"fluorescence and neuropil differ along {dim!r}",
                code="NT-DATA-005", found=f"{around.sizes}", expected=f"{traces.sizes}, with the same labels",
            )  # fmt: skip
    return around.transpose(*traces.dims).to_numpy().astype("float64")


def _window(window_s: float | None, traces: xr.DataArray, part: slice) -> int | None:
    if window_s is None:
        return None
    n = traces["time"][part].size
    size = round(window_s * rate_of(traces, "a running baseline"))
    if not 1 <= size <= n:
        raise SettingsError(
            "the window of the baseline must lie between one sample and a session",
            found=f"{window_s} s, which is {size} samples", expected=f"1 to {n} samples",
            fix="window_s=None takes the whole session",
        )  # fmt: skip
    return size


def _baseline(values: np.ndarray, percentile: float, size: int | None) -> np.ndarray:
    if size is None:
        return np.broadcast_to(np.percentile(values, percentile, axis=-1, keepdims=True), values.shape)
    from scipy.ndimage import percentile_filter

    rows = values.reshape(-1, values.shape[-1])
    # Row by row: scipy's one-dimensional filter keeps its window sorted, which the general one does not.
    return np.stack([percentile_filter(row, percentile, size=size) for row in rows]).reshape(values.shape)


def _check_positive(baseline: np.ndarray, traces: xr.DataArray) -> None:
    bad = ~(baseline > 0)
    if bad.any():
        place = np.argwhere(bad)[0][:-1]
        where = ", ".join(
            f"{dim} {traces[dim].to_numpy()[i]}" for dim, i in zip(traces.dims, place, strict=False)
        )
        raise SchemaError(
            "the baseline of the fluorescence is not positive",
            code="NT-DATA-003", where=where, found=f"{int(bad.any(axis=-1).sum())} such traces",
            fix="give raw fluorescence, not z-scores or deconvolved activity; or a smaller neuropil_weight",
        )  # fmt: skip
