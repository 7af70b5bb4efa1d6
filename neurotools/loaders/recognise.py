"""Tell formats apart by what is in them.

Each loader module ends in ``FORMATS``, a table from format name to a predicate on the path that looks at
content (first bytes, names inside), never at the suffix alone, and imports nothing heavy. They are joined
here from the specific to the generic, and the first that says yes wins.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from neurotools.errors import FileError
from neurotools.loaders import behaviour, calcium, saved
from neurotools.loaders.answers import SETTINGS_FILE, Answers
from neurotools.loaders.described import arrays, mat, tables
from neurotools.loaders.eeg import bids as eeg_bids
from neurotools.loaders.eeg import recordings as eeg
from neurotools.loaders.eeg import tables as eeg_tables
from neurotools.loaders.fmri import bids as fmri_bids
from neurotools.loaders.fmri import confounds, nifti, openfmri
from neurotools.loaders.nwb import files as nwb
from neurotools.loaders.reading.sniff import check_heaps, head, is_text, zip_names
from neurotools.loaders.spikes import phy, pynapple_npz, recorders

Predicate = Callable[[Path], bool]

# Specific before generic: an NWB file is also HDF5, a Muse table is also CSV. One line per module.
MODULES = (
    saved,
    nifti,
    openfmri,
    fmri_bids,
    confounds,
    nwb,
    pynapple_npz,
    phy,
    recorders,
    eeg_bids,
    eeg,
    eeg_tables,
    calcium,
    behaviour,
    # Nameless arrays, which need a description; anything more specific stands above this line.
    mat,
    arrays,
    tables,
)  # fmt: skip
FORMATS: tuple[tuple[str, Predicate], ...] = tuple(
    (name, predicate) for module in MODULES for name, predicate in module.FORMATS.items()
)


def recognise(path: Path, answers: Answers) -> str:
    """Return the name in ``registry.LOADERS`` of the format that ``path`` holds.

    Parameters
    ----------
    path : pathlib.Path
        A file or a folder.
    answers : Answers
        Only asked whether they describe the files of a folder one by one.

    Raises
    ------
    FileError
        The file or folder is empty, cannot be opened, or is of no format that is read.
    """
    _refuse_nothing(path)
    if path.is_dir() and answers.arrays:
        return "described"
    for name, predicate in FORMATS:
        if predicate(path):
            return name
    _refuse_code(path)
    raise _unknown(path)


def _refuse_code(path: Path) -> None:
    """Say of a Python pickle, plain or in an archive, that it is one and will not be opened."""
    start = head(path, 3)
    pickled = start[:1] == b"\x80" and start[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}
    if pickled or any(name.endswith(".pkl") for name in zip_names(path)):
        raise FileError(
            "this is a pickle, which could run code and is never opened",
            code="NT-FILE-007", path=path, fix="save the arrays themselves with np.savez",
        )  # fmt: skip


def _refuse_nothing(path: Path) -> None:
    try:
        if path.is_dir():
            if not any(path.iterdir()):
                raise FileError("the folder is empty", code="NT-DATA-010", path=path)
        elif not path.is_file():
            # A pipe or a device would be waited for without end.
            raise FileError("this is neither a file nor a folder", code="NT-FILE-002", path=path)
        elif path.stat().st_size == 0:
            raise FileError(
                "the file is empty: it has 0 bytes",
                code="NT-DATA-010", path=path, fix="copy or download it again",
            )  # fmt: skip
        else:
            path.open("rb").close()
            check_heaps(path)
    except OSError as error:
        raise FileError(f"cannot be opened: {error.strerror or error}", path=path) from error


def _unknown(path: Path) -> FileError:
    if path.is_dir():
        names = sorted(p.name for p in path.iterdir())
        return FileError(
            "the folder is of no layout that neurotools reads",
            code="NT-FILE-002", path=path,
            found=f"{len(names)} entries: " + ", ".join(names[:8]) + (" ..." if len(names) > 8 else ""),
            expected="one of " + ", ".join(name for name, _ in FORMATS),
            fix=f"give one file of it, or describe the folder in a {SETTINGS_FILE}",
        )  # fmt: skip
    start = head(path, 16)
    shown = repr(start.decode("utf-8", "replace")) if is_text(start) else start.hex(" ")
    suffix = f"the name ends in {path.suffix!r}, but " if path.suffix else ""
    return FileError(
        "the content is of no format that neurotools reads",
        code="NT-FILE-002", path=path,
        found=f"{suffix}the {path.stat().st_size} bytes begin with {shown}",
        expected="one of " + ", ".join(name for name, _ in FORMATS),
        fix="a damaged copy? get it again; or convert it to one of these",
    )  # fmt: skip
