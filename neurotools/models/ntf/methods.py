"""How a factorisation is made: the layout of the data, a start and a sweep, for every loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, expect
from neurotools.models.ntf.layouts import LAYOUTS, pairs_of
from neurotools.numerics import affinity as kernels
from neurotools.numerics import divergence, hidden, ntf
from neurotools.numerics.divergence import DIVERGENCES
from neurotools.schema.affinity import AffinityParts

if TYPE_CHECKING:
    from neurotools.models.ntf import NTF


@dataclass(frozen=True)
class Method:
    """A layout of the data, and how factors of it are drawn and improved."""

    layout: Any
    start: Callable[[Any, int, Sequence[Sequence[int]]], ntf.Factors]
    sweep: Callable[[Any, ntf.Factors], tuple[ntf.Factors, Any]]


def least_squares(parts: AffinityParts, settings: NTF, mask: np.ndarray | None) -> Method:
    """Alternating updates; over single entries where a mask hides some."""
    if mask is None:
        return Method(LAYOUTS[settings.layout](parts, settings), ntf.start, ntf.sweep)
    only_pairs(settings, "a mask of single entries")
    data = pairs_of(parts, settings)
    layout = hidden.hidden_layout(data.slices(0, data.n_rows), parts.observed.shape[0], mask)
    return Method(layout, hidden.start, hidden.sweep)


def likelihood(parts: AffinityParts, settings: NTF, mask: np.ndarray | None) -> Method:
    """Multiplicative updates on the entries above zero."""
    only_pairs(settings, f"the loss {settings.loss!r}")
    if mask is not None:
        raise SettingsError(
            f"a mask of single entries needs least squares, not {settings.loss!r}",
            code="NT-SET-003",
            fix='loss="l2"',
        )
    layout = divergence.SupportLayout(pairs_of(parts, settings), parts.observed)
    kind = DIVERGENCES[settings.loss]
    return Method(layout, divergence.start, partial(divergence.sweep, kind=kind))


LOSSES: dict[str, Callable[[AffinityParts, NTF, np.ndarray | None], Method]] = {
    "l2": least_squares,
    "kl": likelihood,
    "gamma": likelihood,
}


def only_pairs(settings: NTF, what: str) -> None:
    """Raise unless motifs have a free value for every pair."""
    if settings.layout != "pair":
        raise SettingsError(
            f'{what} needs layout="pair"', code="NT-SET-003", found=f"layout {settings.layout!r}"
        )


def mask_of(mask: xr.DataArray | None, parts: AffinityParts) -> np.ndarray | None:
    """Which entries are used, (subject, time, pair); never one that was not observed."""
    if mask is None:
        return None
    expect(mask, "a mask of entries", xr.DataArray)
    dims = ("subject",) * parts.several + ("time", parts.dim, f"{parts.dim}_to")
    if set(mask.dims) != set(dims):
        raise SchemaError("the mask has other dimensions than the affinity", found=mask.dims, expected=dims)
    values = mask.transpose(*dims).to_numpy().astype(bool)
    values = values if parts.several else values[None]
    n_subjects, n_units = parts.observed.shape
    if values.shape != (n_subjects, parts.n_time, n_units, n_units):
        raise SchemaError(
            "the mask and the affinity differ in size", code="NT-DATA-005", found=dict(mask.sizes)
        )
    if not parts.ordered and (values != values.swapaxes(-1, -2)).any():
        raise SchemaError(
            "the mask must be the same both ways, as the affinity is", code="NT-DATA-005",
            fix=f"mask & mask.rename({parts.dim}='{parts.dim}_to', {parts.dim}_to='{parts.dim}')",
        )  # fmt: skip
    together = parts.observed[:, :, None] & parts.observed[:, None, :]
    return kernels.pack(values & together[:, None], parts.ordered)
