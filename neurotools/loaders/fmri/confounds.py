"""Tables of confounds: what fMRIPrep wrote beside an image, motion estimates, or a table of one's own.

A table is kept whole and as it is, with its NaN in the first rows of derivatives; which columns to use, and
which volumes to leave out, is chosen afterwards by ``nt.confounds``.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurotools.errors import FileError, SchemaError
from neurotools.loaders.answers import Answers
from neurotools.loaders.fmri import beside
from neurotools.loaders.reading.guard import reading
from neurotools.loaders.reading.limits import check_size
from neurotools.loaders.reading.sniff import head, is_text
from neurotools.schema import recording_tree, signal, time_axis

# Columns of which a table by fMRIPrep (from 1.2 on) has at least two.
TELLING = {"csf", "white_matter", "global_signal", "std_dvars", "framewise_displacement", "trans_x", "rot_x"}
# Key of the sidecar -> coordinate along ``feature``.
MIXING = [f"desc-{name}_mixing.tsv" for name in ("ICA", "MELODIC", "melodic")]  # of independent components
COMPONENT_KEYS = {"Method": "method", "Mask": "mask", "VarianceExplained": "variance_explained"}


# ---- reading ----------------------------------------------------------------------------------------
def read_table(file: Path) -> pd.DataFrame:
    """Read a tab-separated table with a header, or plain columns of numbers without one.

    Raises
    ------
    FileError
        Rows differ in length, a column occurs twice, or a cell is neither a number nor ``n/a``.
    """
    check_size(8 * file.stat().st_size, file, "the table")
    with reading(file, "the table"):
        text = file.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise FileError("the table is empty", code="NT-DATA-010", path=file)
    separator = "\t" if "\t" in lines[0] else None
    names = [name.strip() for name in lines[0].split(separator)]
    bare = all(_is_number(name) for name in names)
    _refuse_ragged([line.split(separator) for line in lines], file)
    if bare:
        names = [f"column_{i + 1}" for i in range(len(names))]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise FileError(
            "the table has columns of the same name", code="NT-DATA-006", path=file, found=", ".join(twice)
        )
    with reading(file, "the table"):
        table = pd.read_csv(
            io.StringIO("\n".join(lines)), sep=separator or r"\s+", header=None if bare else 0, names=names
        )
    for name in names:
        if table[name].dtype.kind not in "biuf":
            raise FileError(
                "the table has cells that are no numbers",
                path=file, where=f"column {name}", found=_first_word(table[name]), expected="numbers or n/a",
            )  # fmt: skip
    return table.astype("float64")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _first_word(column: pd.Series) -> str:
    words = [str(cell) for cell in column.dropna() if not _is_number(str(cell))]
    return repr(words[0]) if words else "text"


def _refuse_ragged(rows: list[list[str]], file: Path) -> None:
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            cut = number == len(rows)
            raise FileError(
                "the table is cut short in its last row" if cut else "the rows of the table differ in length",
                code="NT-FILE-003" if cut else "NT-FILE-004", path=file, where=f"row {number}",
                found=f"{len(row)} cells", expected=f"{len(rows[0])} cells", fix="copy or download it again",
            )  # fmt: skip


def read_confounds(file: Path) -> pd.DataFrame:
    """Read a table of fMRIPrep, and refuse one without a header (fMRIPrep before 1.2)."""
    table = read_table(file)
    if table.columns[0] == "column_1":
        raise FileError(
            "the table of confounds has no header", path=file, found=f"{table.shape[1]} nameless columns"
        )
    return table


def read_motion(file: Path) -> pd.DataFrame:
    """Read six nameless motion estimates per volume; the file does not say which is which."""
    table = read_table(file)
    if table.shape[1] != 6:
        raise FileError(
            "motion estimates have six columns", path=file, found=f"{table.shape[1]} columns", expected="6"
        )
    table.columns = [f"motion_{i + 1}" for i in range(6)]
    return table


# ---- nodes of a recording -----------------------------------------------------------------------------
def table_node(table: pd.DataFrame, time: xr.DataArray, file: Path, **attrs: Any) -> xr.Dataset:
    """Lay a table along the clock of the volumes: ``confounds(time, feature)``, one row per volume."""
    if len(table) != time.size:
        raise SchemaError(
            "a table of confounds needs one row per volume",
            code="NT-DATA-005", path=file, found=f"{len(table)} rows", expected=f"{time.size} volumes",
            fix="if rows of volumes that were discarded come first, say how many: "
            "nt.with_confounds(recording, path, offset=...)",
        )  # fmt: skip
    array = xr.DataArray(
        table.to_numpy(),
        dims=("time", "feature"),
        coords={"time": time.variable, "feature": np.array([str(name) for name in table.columns])},
        attrs={"table": file.name, **attrs},
    )
    return array.to_dataset(name="confounds")


def motion_node(table: pd.DataFrame, time: xr.DataArray, file: Path) -> xr.Dataset:
    """Motion estimates along the clock of the volumes, named by number."""
    return table_node(table, time, file, note="the file does not say which columns shift and which turn")


def confounds_node(table: pd.DataFrame, time: xr.DataArray, file: Path) -> xr.Dataset:
    """A table of fMRIPrep along the clock of the volumes, with what its sidecar says of each component.

    Coordinates along ``feature``: ``method``, ``mask`` and ``variance_explained`` (empty or NaN for columns
    that are no component). Independent components written beside it become ``ica(time, component)``.
    """
    node = table_node(table, time, file)
    described, sidecar_name = _component_metadata(file)
    for key, name in COMPONENT_KEYS.items():
        cells = [described.get(str(feature), {}).get(key) for feature in node["feature"].to_numpy()]
        node = node.assign_coords({name: ("feature", _column(cells, name))})
    node["confounds"].attrs["sidecar"] = sidecar_name
    for mixing in (file.with_name(beside.CONFOUNDS_NAME.sub(name, file.name)) for name in MIXING):
        if mixing.is_file() and mixing != file:
            ica = table_node(read_table(mixing), time, mixing)["confounds"]
            node["ica"] = ica.rename(feature="component")
    return node


def _column(cells: list[Any], name: str) -> np.ndarray:
    if name == "variance_explained":
        return np.array([float(cell) if isinstance(cell, (int, float)) else np.nan for cell in cells])
    return np.array([cell if isinstance(cell, str) else "" for cell in cells])


def _component_metadata(file: Path) -> tuple[dict[str, dict[str, Any]], str]:
    path = file.with_suffix(".json")
    if not path.is_file():
        return {}, ""
    content = beside.read_json(path)
    return {name: entry for name, entry in content.items() if isinstance(entry, dict)}, path.name


# ---- for callers --------------------------------------------------------------------------------------
def load_confounds(path: Path, answers: Answers) -> xr.DataTree:
    """Read a table of fMRIPrep that lies alone, without its image; ``sfreq`` (1 / TR) must be given."""
    table = read_confounds(path)
    sfreq = answers.need("sfreq", path, found=f"{len(table)} volumes, {table.shape[1]} confounds, no clock")
    time = xr.DataArray(
        time_axis(len(table), sfreq, answers.t0), dims="time", attrs={"units": "s"}, name="time"
    )
    node = confounds_node(table, time, path)
    node["confounds"].attrs.update(sfreq=float(sfreq), t0=float(answers.t0))
    return recording_tree({"confounds": node}, **{**beside.named_by(path), **answers.attrs})


def with_confounds(
    recording: xr.DataTree, path: str | Path, *, offset: int = 0, names: Sequence[str] | None = None
) -> xr.DataTree:
    """Add a table of confounds, such as motion estimates, to a recording.

    Parameters
    ----------
    recording : xarray.DataTree
        With one main array, whose clock the table takes. It is not changed.
    path : path
        A table with a header, plain columns of numbers, or a table by fMRIPrep.
    offset : int
        Rows that come before the first volume, for volumes that were discarded. Any other difference in
        length is an error: a table is never cut or shifted to fit.
    names : sequence of str, optional
        Names of the columns, where the file has none.

    Returns
    -------
    xarray.DataTree
        The recording with a node ``confounds``.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileError("there is no table of confounds", code="NT-FILE-001", path=file)
    table = read_table(file)
    if names is not None:
        if len(names) != table.shape[1]:
            raise SchemaError(
                "names and columns differ in number",
                code="NT-DATA-005", path=file,
                found=f"{len(names)} names", expected=f"{table.shape[1]} columns",
            )  # fmt: skip
        table.columns = list(names)
    if not 0 <= offset < len(table):
        raise SchemaError("the offset leaves no row", code="NT-DATA-005", path=file, found=offset)
    kept = table.iloc[offset:].reset_index(drop=True)
    node = confounds_node(kept, signal(recording)["time"], file)
    node["confounds"].attrs["offset"] = int(offset)
    result = recording.copy()
    result["confounds"] = xr.DataTree(node)
    return result


def is_confounds(path: Path) -> bool:
    """Whether the first line of a text table names columns that fMRIPrep writes."""
    start = head(path, 1 << 16)
    if not is_text(start) or b"\t" not in start:
        return False
    names = start.decode("utf-8", "replace").splitlines()[0].split("\t")
    return len(TELLING & set(names)) >= 2


FORMATS = {"fmriprep-confounds": is_confounds}
