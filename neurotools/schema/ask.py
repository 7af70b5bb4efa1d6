"""What a function needs of its data, and the checks that say what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, did_you_mean

SCHEMA_VERSION = "neurotools/1"
KINDS = ("eeg", "meg", "seeg", "ecog", "fmri", "spikes", "calcium", "behaviour", "counts")
SPACE_DIMS = ("unit", "channel", "region")
# The one array that an analysis takes when it is given a whole recording.
MAIN_ARRAYS = (
    "eeg/signal", "meg/signal", "seeg/signal", "ecog/signal",
    "fmri/bold", "calcium/activity", "counts/counts",
)  # fmt: skip
CANONICAL_UNITS = {
    "eeg/signal": "V", "seeg/signal": "V", "ecog/signal": "V", "counts/counts": "count",
    "spikes/spike_time": "s",
}  # fmt: skip
TIME_TOLERANCE = 1e-3  # a clock is regular when every step is within this fraction of the median step


@dataclass(frozen=True)
class Schema:
    """What a function needs of the array it is given.

    ``dims`` is the canonical order. ``"a|b"`` accepts either name; a trailing ``"?"`` makes one optional.
    """

    what: str
    dims: tuple[str, ...]
    units: str | None = None
    whole: bool = False  # non-negative whole numbers
    allow_nan: bool = False
    allow_empty: bool = False

    def require(self, data: Any) -> xr.DataArray:
        """Return ``data`` in canonical order of dimensions, or say what is wrong with it.

        A recording (DataTree) may stand for the one main array that it holds.
        """
        array = signal(data) if isinstance(data, xr.DataTree) else data
        if not isinstance(array, xr.DataArray):
            raise SchemaError(
                f"{self.what} needs a labelled array (xarray.DataArray)",
                found=type(data).__name__,
                fix="wrap it: xr.DataArray(values, dims=(...)); or load it with nt.load",
            )
        array = array.transpose(*self._order(array))
        self._check_labels(array)
        self._check_values(array)
        return array

    def _order(self, array: xr.DataArray) -> list[str]:
        order, missing = [], []
        for entry in self.dims:
            names = entry.rstrip("?").split("|")
            present = [name for name in names if name in array.dims]
            if len(present) == 1:
                order.append(present[0])
            elif len(present) > 1:
                raise SchemaError(
                    f"{self.what} needs one of the dimensions {names}, not several", found=array.dims
                )
            elif not entry.endswith("?"):
                missing.append(entry)
        extra = [str(dim) for dim in array.dims if dim not in order]
        if missing or extra:
            hint = (
                f"rename with data.rename({extra[0]}={missing[0].split('|')[0]!r})"
                if missing and extra
                else None
            )
            raise SchemaError(
                f"{self.what} needs dimensions {self.dims}",
                found=f"{tuple(map(str, array.dims))}"
                + (f", which lacks {missing}" if missing else f", where {extra} is not expected"),
                fix=hint or ("select or average over " + ", ".join(extra) if extra else None),
            )
        return order

    def _check_labels(self, array: xr.DataArray) -> None:
        for dim in map(str, array.dims):
            if dim == "time" and "time" in array.coords:
                check_time(array["time"].to_numpy(), self.what)
            elif dim in array.indexes and not array.indexes[dim].is_unique:
                index = array.indexes[dim]
                raise SchemaError(
                    f"{self.what} has labels along {dim!r} that occur more than once",
                    code="NT-DATA-006",
                    found=", ".join(map(str, index[index.duplicated()].unique()[:5])),
                    fix=f"give each {dim} its own label, or drop the repeated ones",
                )

    def _check_values(self, array: xr.DataArray) -> None:
        if self.units is not None and array.attrs.get("units") != self.units:
            raise SchemaError(
                f"{self.what} needs the unit {self.units!r}",
                code="NT-DATA-002",
                found=array.attrs.get("units", "no attrs['units']"),
                fix=f"convert the values and set data.attrs['units'] = {self.units!r}",
            )
        if array.size == 0 and not self.allow_empty:
            raise SchemaError(f"{self.what} is empty", code="NT-DATA-010", found=f"sizes {dict(array.sizes)}")
        if array.dtype.kind not in "biuf":
            raise SchemaError(f"{self.what} needs numbers", found=f"dtype {array.dtype}")
        values = array.to_numpy()
        if not self.allow_nan and values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = ~np.isfinite(values)
            first = [f"{dim}={int(i)}" for dim, i in zip(array.dims, np.argwhere(bad)[0], strict=True)]
            raise SchemaError(
                f"{self.what} has values that are not finite",
                code="NT-DATA-003",
                found=f"{int(bad.sum())} of {bad.size}, the first at {', '.join(first)}",
                fix="interpolate, mask or cut them out first; they are never filled in silently",
            )
        if self.whole:
            check_counts(values, self.what)


def check_counts(values: np.ndarray, what: str) -> None:
    """Raise unless all values are whole and not negative."""
    if values.dtype.kind == "f":
        bad = (values < 0) | (values != np.floor(values))
    else:
        bad = values < 0
    if bad.any():
        raise SchemaError(
            f"{what} needs whole numbers that are not negative",
            code="NT-DATA-008",
            found=f"{int(bad.sum())} other values, for example {values[bad][0]}",
            fix="give spike counts per bin, not rates or z-scores",
        )


def check_time(time: np.ndarray, what: str) -> None:
    """Raise unless time is finite and increases at every step."""
    if time.dtype.kind not in "iuf":
        raise SchemaError(f"{what} needs time in seconds", found=f"dtype {time.dtype}", code="NT-DATA-004")
    if not np.isfinite(time).all():
        where = int(np.flatnonzero(~np.isfinite(time))[0])
        raise SchemaError(
            f"{what} has a time that is not finite", code="NT-DATA-004", where=f"sample {where}"
        )
    step = np.diff(time)
    if (step <= 0).any():
        where = int(np.flatnonzero(step <= 0)[0])
        raise SchemaError(
            f"{what} needs time that increases at every sample",
            code="NT-DATA-004",
            where=f"samples {where} and {where + 1}",
            found=f"{time[where]:g} s followed by {time[where + 1]:g} s ({int((step <= 0).sum())} times)",
            fix="sort by time and remove repeated stamps",
        )


def space_dim(array: xr.DataArray | xr.Dataset) -> str:
    """Return the dimension that names what was recorded: ``unit``, ``channel`` or ``region``."""
    present = [dim for dim in SPACE_DIMS if dim in array.dims]
    if len(present) != 1:
        raise SchemaError(f"one of the dimensions {SPACE_DIMS} is needed", found=tuple(map(str, array.dims)))
    return present[0]


def sampling_rate(array: xr.DataArray, what: str = "this step") -> float:
    """Return samples per second along ``time``; raise when the clock is absent or irregular."""
    if "time" not in array.coords:
        raise SchemaError(
            f"{what} needs the coordinate 'time' in seconds",
            code="NT-DATA-004",
            fix="data.assign_coords(time=np.arange(n) / sfreq)",
        )
    time = array["time"].to_numpy()
    step = np.diff(time)
    if step.size == 0:
        raise SchemaError(f"{what} needs at least two samples", code="NT-DATA-010")
    median = float(np.median(step))
    worst = float(np.abs(step - median).max())
    # Stamps of float64 seconds carry rounding of their own size, which is no irregularity.
    if worst > TIME_TOLERANCE * median + 4 * np.spacing(float(np.abs(time).max())):
        raise SchemaError(
            f"{what} needs a regular clock",
            code="NT-DATA-004",
            found=f"steps from {step.min():g} to {step.max():g} s (median {median:g} s)",
            fix="nt.resample(data, sfreq=...) puts the recording on a regular clock",
        )
    stated = array.attrs.get("sfreq")
    if stated and abs(float(stated) * median - 1) < TIME_TOLERANCE:
        return float(stated)
    return (time.size - 1) / float(time[-1] - time[0])


def signal(recording: Any) -> xr.DataArray:
    """Return the one main array of a recording, or an error that lists the candidates."""
    if isinstance(recording, xr.DataArray):
        return recording
    if not isinstance(recording, xr.DataTree):
        raise SchemaError("a recording (xarray.DataTree) is needed", found=type(recording).__name__)
    present = [path for path in MAIN_ARRAYS if _has(recording, path)]
    if len(present) == 1:
        return recording[present[0]]  # type: ignore[return-value]
    if present:
        raise SchemaError(
            "the recording has several arrays, so the one to use must be named",
            code="NT-FILE-006",
            found=", ".join(present),
            fix=f'pass recording["{present[0]}"]',
        )
    everything = [f"{node.path.strip('/')}/{name}" for node in recording.subtree for name in node.data_vars]
    raise SchemaError(
        "the recording has no main array",
        code="NT-DATA-010",
        found=", ".join(everything) or "an empty recording",
        expected="one of " + ", ".join(MAIN_ARRAYS),
        fix="bin spikes with nt.bin_spikes(recording, width_s=...), or pass the array itself",
    )


def _has(recording: xr.DataTree, path: str) -> bool:
    node, _, name = path.partition("/")
    return node in recording.children and name in recording[node].data_vars


SIGNAL = Schema("a continuous signal", dims=("unit|channel|region", "time"))
SPIKE_COUNTS = Schema("spike counts", dims=("time", "unit"), units="count", whole=True)
DESIGN = Schema("a design", dims=("time", "feature"))


def unknown_kind(kind: str) -> SchemaError:
    """The error for a ``kind`` that is not one of ``KINDS``."""
    return SchemaError(
        f"there is no kind of recording named {kind!r}.{did_you_mean(kind, KINDS)}",
        code="NT-SET-001",
        expected="one of " + ", ".join(KINDS),
    )
