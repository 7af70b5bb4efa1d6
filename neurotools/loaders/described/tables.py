"""Tables of text: comma, semicolon, tab or white space between cells, with or without a line of names."""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurotools.errors import FileError
from neurotools.loaders.described.contents import Contents, Stored
from neurotools.loaders.reading.limits import check_size
from neurotools.loaders.reading.sniff import has_control, head, is_text

COMMENTS = ("#", "%")
DELIMITERS = ("\t", ",", ";")
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-nan", "+nan"})
TABLE = "table"  # the name under which all columns of a table are one array
# Text in memory takes several times its size on disk while it is split.
TEXT_FACTOR = 6


@dataclass(frozen=True)
class Lines:
    """The rows of a text table: their text, their line numbers, what separates cells, names of columns."""

    rows: list[str]
    numbers: list[int]
    delimiter: str | None
    columns: list[str] | None

    def cells(self, row: str) -> list[str]:
        """Split one row into its cells."""
        return split(row, self.delimiter)


def read_lines(path: Path) -> Lines:
    """Read the rows of a table without comments and blank lines, and tell delimiter and column names."""
    check_size(TEXT_FACTOR * path.stat().st_size, path, "the table")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(
            "the table is not text in UTF-8",
            path=path, where=f"byte {error.start}", fix="save it again as UTF-8 text",
        ) from error  # fmt: skip
    kept = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith(COMMENTS)
    ]
    if not kept:
        raise FileError("the table has no rows", code="NT-DATA-010", path=path)
    numbers, rows = [n for n, _ in kept], [line for _, line in kept]
    delimiter = tell_delimiter(rows[:50])
    columns = None
    first = split(rows[0], delimiter)
    if not any(is_number(cell) for cell in first):
        columns, numbers, rows = first, numbers[1:], rows[1:]
        _check_names(columns, path)
        if not rows:
            raise FileError("the table has names of columns and no rows", code="NT-DATA-010", path=path)
    return Lines(rows, numbers, delimiter, columns)


def _check_names(columns: list[str], path: Path) -> None:
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise FileError(
            "two columns of the table have one name", code="NT-DATA-006", path=path, found=", ".join(repeated)
        )


def split(row: str, delimiter: str | None) -> list[str]:
    """Split a row into cells without the blanks around them; None stands for any white space."""
    if delimiter is None:
        return row.split()
    if '"' in row:
        return [cell.strip() for cell in next(csv.reader([row], delimiter=delimiter, skipinitialspace=True))]
    return [cell.strip() for cell in row.split(delimiter)]


def tell_delimiter(rows: Sequence[str]) -> str | None:
    """The first of tab, comma and semicolon that occurs in the first row and in most others; else blanks."""
    for delimiter in DELIMITERS:
        # Not in every row: a row that was cut short must be found, not turn the table into one column.
        n = sum(delimiter in row.strip() for row in rows)
        if rows and delimiter in rows[0].strip() and n > len(rows) / 2:
            return delimiter
    return None


def is_number(cell: str) -> bool:
    """Whether a cell is a number or a word for a missing one ("n/a" and the like, not nothing)."""
    try:
        float(cell)
    except ValueError:
        return bool(cell) and cell.lower() in MISSING
    return "_" not in cell


def table_contents(path: Path) -> Contents:
    """Contents of a text table: each column by name (or "0", "1", ...), and all number columns together.

    The whole is named ``"table"`` and offered where every column holds numbers.
    """
    lines = read_lines(path)
    quick = all_numbers(lines)
    values = list(quick.T) if quick is not None else columns_of(lines, path)
    names = lines.columns or [str(place) for place in range(len(values))]
    arrays = {
        name: Stored(column.shape, str(column.dtype), functools.partial(np.copy, column))
        for name, column in zip(names, values, strict=True)
    }
    if all(column.dtype.kind == "f" for column in values):
        whole = quick if quick is not None else np.stack(values, axis=1)
        return Contents(
            path, {TABLE: Stored(whole.shape, "float64", functools.partial(np.copy, whole)), **arrays},
            only=TABLE,
        )  # fmt: skip
    return Contents(path, arrays)


def all_numbers(lines: Lines) -> np.ndarray | None:
    """All cells as numbers in one fast pass, or None where a cell needs a closer look."""
    try:
        values = np.loadtxt(lines.rows, delimiter=lines.delimiter, ndmin=2, comments=None)
    except ValueError:
        return None
    width = len(lines.columns or lines.cells(lines.rows[0]))
    return values if values.shape == (len(lines.rows), width) else None


def columns_of(lines: Lines, path: Path) -> list[np.ndarray]:
    """Split every row; a column whose cells are all numbers (or missing) is numbers, any other is text."""
    table = [lines.cells(row) for row in lines.rows]
    width = len(lines.columns) if lines.columns else len(table[0])
    for number, cells in zip(lines.numbers, table, strict=True):
        if len(cells) != width:
            raise FileError(
                "the rows of the table differ in their number of cells",
                path=path, where=f"line {number}", found=f"{len(cells)} cells",
                expected=f"{width}, as in the first row", fix="mend the row; nothing is filled in or cut off",
            )  # fmt: skip
    return [_column([row[place] for row in table], lines, place, path) for place in range(width)]


def _column(cells: list[str], lines: Lines, place: int, path: Path) -> np.ndarray:
    numeric = [is_number(cell) or not cell for cell in cells]
    if all(numeric) and any(cells):
        return np.array([np.nan if cell.lower() in MISSING else float(cell) for cell in cells])
    n_text = numeric.count(False)
    # A few words in a column of numbers are a fault; a column of words is text.
    if 0 < n_text < 0.5 * len(cells):
        row = numeric.index(False)
        name = repr(lines.columns[place]) if lines.columns else str(place)
        comma = cells[row].replace(",", ".", 1)
        raise FileError(
            "a cell of the table is not a number where the others of its column are",
            path=path, where=f"line {lines.numbers[row]}, column {name}",
            found=f"{cells[row]!r} ({n_text} such cells)", expected="a number, or n/a",
            fix="use a decimal point in place of the comma" if is_number(comma) else "mend the cell",
        )  # fmt: skip
    return np.array(cells, dtype=str)


def index_rows(path: Path) -> list[np.ndarray]:
    """Rows of whole numbers that may differ in length: lists of members, one per line."""
    lines = read_lines(path)
    rows = []
    for number, row in zip(lines.numbers, lines.rows, strict=True):
        cells = [cell for cell in lines.cells(row.rstrip(", ;\t")) if cell]
        if not all(cell.isdigit() for cell in cells):
            raise FileError("a list of members needs whole numbers", path=path, where=f"line {number}")
        rows.append(np.array(cells, dtype="int64"))
    return rows


def words(path: Path) -> np.ndarray:
    """Labels from a text file: one per line, no line of names."""
    check_size(TEXT_FACTOR * path.stat().st_size, path, "the list of labels")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FileError("the list of labels is not text in UTF-8", path=path) from error
    found = [line.strip() for line in lines if line.strip()]
    if any("\t" in line for line in found):
        raise FileError(
            "the list of labels is a table, so the column that is meant must be named",
            code="NT-FILE-006", path=path, fix="labels={'file': ..., 'name': COLUMN}",
        )  # fmt: skip
    return np.array(found, dtype=str)


def is_table(path: Path) -> bool:
    """Whether the file is text with a row among the first fifty of which half the cells are numbers."""
    start = head(path, 65536)
    if not is_text(start) and not _nearly_text(start):
        return False
    rows = [row for row in start.decode("utf-8", "ignore").splitlines() if row.strip()]
    rows = [row for row in rows if not row.lstrip().startswith(COMMENTS)][:50]
    delimiter = tell_delimiter(rows)
    shares = [[is_number(cell) for cell in split(row, delimiter)] for row in rows]
    return any(share and sum(share) >= 0.5 * len(share) for share in shares)


def _nearly_text(start: bytes) -> bool:
    """Text but for a few letters: in another encoding, or damaged; ``read_lines`` names the byte."""
    if has_control(start):
        return False
    return start.decode("utf-8", "replace").count("\ufffd") <= 0.05 * len(start)


FORMATS = {"table": is_table}
