"""An affinity laid out on the device, as the layout of a factorisation wants it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from neurotools.arrays import Array, resolve_device, to_device, to_numpy
from neurotools.errors import NeurotoolsWarning, SchemaError, SettingsError, lookup
from neurotools.numerics import affinity as kernels
from neurotools.numerics import ntf, pairs, streaming, units
from neurotools.numerics.lowrank import LowRankLayout
from neurotools.numerics.ordered import OrderedLayout
from neurotools.schema.affinity import AffinityParts

if TYPE_CHECKING:
    from neurotools.models.ntf import NTF

STORED_BYTES = 2 * 1024**3  # pairs are stored up to here, and made in blocks beyond it
DTYPES = {"float64": 8, "float32": 4}


def drives_of(parts: AffinityParts, settings: NTF) -> kernels.Drives:
    """Drives of all subjects end to end, on the device."""
    assert parts.up is not None
    assert parts.down is not None
    up, down = (to_device(part, settings.device, settings.dtype) for part in (parts.up, parts.down))
    sent = None
    if parts.sent is not None:
        first, second = (to_device(part, settings.device, settings.dtype) for part in parts.sent)
        sent = (first, second)
    return kernels.stacked(up, down, parts.window, parts.edges, sent)


def rows_of(parts: AffinityParts, settings: NTF) -> streaming.Rows:
    """Drives that are read from disk, a chunk of moments at a time."""
    if parts.kernel in kernels.WINDOWED:
        raise SettingsError(
            f"the kernel {parts.kernel!r} looks beyond a chunk",
            code="NT-SET-003",
            fix="chunk=0 reads all at once",
        )

    def drive(name: str, start: int, stop: int) -> Array:
        return to_device(parts.rows(name, start, stop), settings.device, settings.dtype)

    def read(start: int, stop: int) -> kernels.Drives:
        up, down = (drive(name, start, stop) for name in ("drive_up", "drive_down"))
        sent = (drive("sent_up", start, stop), drive("sent_down", start, stop)) if parts.ordered else None
        return kernels.Drives(up, down, sent=sent)

    n_subjects, n_units = parts.observed.shape
    return streaming.Rows(read, streaming.chunk_edges(n_subjects, parts.n_time, settings.chunk), n_units)


def pairs_of(parts: AffinityParts, settings: NTF) -> pairs.PairTensor:
    """Pairs of an affinity, stored while they fit the budget and made in blocks beyond it."""
    if parts.on_disk is not None:
        return streaming.streamed_pairs(rows_of(parts, settings), parts.kernel, parts.ordered)
    if parts.listed is not None:
        if resolve_device(settings.device)[0] != "cpu":
            raise SettingsError("a sparse affinity is factorised on the CPU", found=settings.device)
        value, row, pair = parts.listed
        n_subjects, n_units = parts.observed.shape
        return pairs.listed(
            value.astype(settings.dtype), row, pair, n_subjects * parts.n_time, n_units, ordered=parts.ordered
        )
    if parts.dense is None:
        return pairs.made(parts.kernel, drives_of(parts, settings), STORED_BYTES)
    values = kernels.pack(to_device(parts.dense, settings.device, settings.dtype), parts.ordered)
    return pairs.stored(values.reshape(-1, values.shape[-1]), parts.observed.shape[1], parts.ordered)


def pair_layout(parts: AffinityParts, settings: NTF) -> ntf.Layout:
    """Motifs of any shape."""
    return ntf.PairLayout(pairs_of(parts, settings), parts.observed)


def unit_layout(parts: AffinityParts, settings: NTF) -> ntf.UnitLayout:
    """Motifs of one loading per unit.

    Kernels of rank two never meet a pair. Those that sort are slower than stored pairs below about 2,000
    units (measured: 40 ns per drive and component against 30 GFlop/s), so they sort when pairs do not fit.
    """
    if parts.ordered:
        raise SettingsError(
            f"who leads and who follows have loadings of their own, and {settings.layout!r} has one for both",
            code="NT-SET-003",
            fix='layout="cp", or layout="pair"',
        )
    if parts.on_disk is not None:
        make = lookup("kernel that can be streamed", parts.kernel, units.SHORT_FORMS)
        return ntf.UnitLayout(
            streaming.StreamedUnits(rows_of(parts, settings), make), parts.observed, parts.n_time
        )
    n_subjects, n_units = parts.observed.shape
    size = DTYPES[settings.dtype] * n_subjects * parts.n_time * n_units * (n_units - 1) // 2
    short = units.RANK_TWO if size <= STORED_BYTES else units.SHORT_FORMS
    if parts.up is not None and parts.kernel in short:
        products = short[parts.kernel](drives_of(parts, settings))
    else:
        products = units.OfPairs(pairs_of(parts, settings))
    return ntf.UnitLayout(products, parts.observed, parts.n_time)


def low_rank_layout(parts: AffinityParts, settings: NTF) -> ntf.Layout:
    """Motifs that are sums of a few outer products."""
    return LowRankLayout(unit_layout(parts, settings), settings.n_parts)


def ordered_layout(parts: AffinityParts, settings: NTF) -> ntf.Layout:
    """Motifs of two loadings per unit, for who leads and who follows."""
    if not parts.ordered:
        raise SettingsError(
            'the layout "cp" is for ordered pairs, and this affinity is the same both ways',
            code="NT-SET-003",
            found=f"kernel {parts.kernel!r}",
            fix='layout="symcp"',
        )
    if parts.on_disk is not None:
        streamed = streaming.StreamedDirected(rows_of(parts, settings), units.DIRECTED[parts.kernel])
        return OrderedLayout(streamed, parts.observed, parts.n_time)
    if parts.up is not None:
        return OrderedLayout(units.DIRECTED[parts.kernel](drives_of(parts, settings)), parts.observed,
                             parts.n_time)  # fmt: skip
    return OrderedLayout(units.DirectedPairs(pairs_of(parts, settings)), parts.observed, parts.n_time)


LAYOUTS: dict[str, Callable[[AffinityParts, NTF], ntf.Layout]] = {
    "pair": pair_layout,
    "symcp": unit_layout,
    "ll1": low_rank_layout,
    "cp": ordered_layout,
}


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


def warn_unseen(layout: ntf.Sized, parts: AffinityParts, settings: NTF) -> None:
    """Say how much of a motif no subject shows; it is zero in the fit."""
    unseen = layout.n_space - int(to_numpy(layout.ever).sum())
    if unseen:
        alone = {"pair": 1, "symcp": 1, "ll1": settings.n_parts, "cp": 2}  # entries of space for each
        unseen //= alone[settings.layout]
        what = f"pairs of {parts.dim}s were" if settings.layout == "pair" else f"{parts.dim}s were"
        warnings.warn(
            f"{unseen} {what} never observed{' together' if settings.layout == 'pair' else ''}, and are zero "
            "in every motif",
            NeurotoolsWarning,
            stacklevel=3,
        )
