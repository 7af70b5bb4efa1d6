"""Tables of electrode positions: names, places in m, and what their unit was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from neurotools.errors import FileError
from neurotools.loaders.described.tables import read_lines

AXES = (("x", "y", "z"), ("R", "A", "S"))
POWERS = {"m": 0, "cm": -2, "mm": -3}
# A head fits in half a metre, and no montage of a head fits in a ball of 25 mm around its middle: between
# the two, numbers could be m or mm (or cm), and the table has to say.
LARGEST_M = 0.5
SMALLEST_MM = 25.0


@dataclass(frozen=True)
class Electrodes:
    """Positions in m by electrode; NaN where the table has none."""

    path: Path
    names: list[str]
    xyz: np.ndarray
    unit_in_file: str
    told_by: str

    def of(self, channels: list[str]) -> np.ndarray:
        """Positions (n, 3) of the named channels; NaN for those the table does not name."""
        place = {name: i for i, name in enumerate(self.names)}
        out = np.full((len(channels), 3), np.nan)
        for row, name in enumerate(channels):
            if name in place:
                out[row] = self.xyz[place[name]]
        return out

    def table(self) -> xr.Dataset:
        """All electrodes, whether or not a channel bears their name."""
        return xr.Dataset(
            {axis: ("electrode", self.xyz[:, i], {"units": "m"}) for i, axis in enumerate("xyz")},
            coords={"electrode": np.array(self.names)},
            attrs={"units_in_file": self.unit_in_file, "unit_told_by": self.told_by, "file": self.path.name},
        )


def read_electrodes(path: Path, unit: str | None = None) -> Electrodes:
    """Read a table with the columns name, x, y, z (or R, A, S) and turn its positions into m.

    Parameters
    ----------
    path : pathlib.Path
        Tab or comma between cells.
    unit : {"m", "cm", "mm"}, optional
        As a coordinate system file states it. Otherwise it is told by the size of a head: all within half a
        metre is m, reaching beyond 25 is mm, and anything between is a question.
    """
    lines = read_lines(path)
    columns = lines.columns or []
    axes = next((trio for trio in AXES if {"name", *trio} <= set(columns)), None)
    if axes is None:
        raise FileError(
            "the table of electrodes lacks columns", path=path, found=", ".join(columns) or "no names",
            expected="name, x, y, z (or name, R, A, S)",
        )  # fmt: skip
    cells = [lines.cells(row) for row in lines.rows]
    for number, row in zip(lines.numbers, cells, strict=True):
        if len(row) != len(columns):
            raise FileError(
                "the rows of the table differ in their number of cells", path=path, where=f"line {number}",
                found=f"{len(row)} cells", expected=f"{len(columns)}",
            )  # fmt: skip
    names = [row[columns.index("name")] for row in cells]
    xyz = np.array([[_coordinate(row[columns.index(a)], path) for a in axes] for row in cells])
    if len(set(names)) != len(names):
        repeated = sorted({n for n in names if names.count(n) > 1})
        raise FileError(
            "electrodes occur twice in the table", code="NT-DATA-006", path=path, found=", ".join(repeated)
        )
    told_by = "coordinate system file" if unit else "the size of a head"
    unit = unit or _told(xyz, path)
    if unit not in POWERS:
        raise FileError(
            "the unit of the electrode positions is none that is known", path=path, found=unit,
            expected="m, cm or mm",
        )  # fmt: skip
    return Electrodes(path, names, xyz / 10.0 ** -POWERS[unit] if POWERS[unit] else xyz, unit, told_by)


def _coordinate(text: str, path: Path) -> float:
    if text.lower() in {"n/a", "nan", ""}:
        return np.nan
    try:
        return float(text)
    except ValueError as error:
        raise FileError("an electrode position is not a number", path=path, found=repr(text)) from error


def _told(xyz: np.ndarray, path: Path) -> str:
    if not np.isfinite(xyz).any():
        return "m"
    largest = float(np.nanmax(np.abs(xyz)))
    if largest <= LARGEST_M:
        return "m"
    if largest >= SMALLEST_MM:
        return "mm"
    raise FileError(
        "the table of electrodes does not say its unit, and it cannot be told",
        code="NT-FILE-006", path=path, found=f"positions up to {largest:g}",
        expected=f"up to {LARGEST_M} in m, or beyond {SMALLEST_MM:g} in mm",
        fix="state it in a coordsystem.json beside the table",
    )  # fmt: skip
