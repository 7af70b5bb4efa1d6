"""BIDS folders that hold fMRI: derivatives of fMRIPrep, or a raw data set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import xarray as xr

from neurotools.errors import FileError, did_you_mean
from neurotools.loaders.answers import Answers
from neurotools.loaders.fmri import beside
from neurotools.loaders.fmri.confounds import load_confounds
from neurotools.loaders.fmri.images import load_nifti
from neurotools.loaders.reading import checksums

# Where functional images stand, seen from the folder that was given.
PLACES = ("", "func", "ses-*/func", "sub-*/func", "sub-*/ses-*/func")
OTHER_KINDS = ("eeg", "meg", "ieeg")  # a data set with these is read by them


def load_bids_fmri(path: Path, answers: Answers) -> xr.DataTree:
    """Read the one functional image of a BIDS folder, or its one table of confounds when there is no image.

    Parameters
    ----------
    path : pathlib.Path
        A data set, a subject, a session or a ``func`` folder.
    answers : Answers
        ``labels`` is the atlas or mask; ``array`` a part of the file name that only one image has
        (``"task-rest_run-1_space-MNI152NLin2009cAsym"``).
    """
    images = _images(path)
    files = images or _tables(path)
    chosen = [file for file in files if answers.array is None or answers.array in file.name]
    if len(chosen) != 1:
        raise _which(path, files, chosen, answers.array)
    if not answers.allow_truncated and (compared := checksums.compare(chosen[0])) is not None:
        answers = dataclasses.replace(answers, attrs={**answers.attrs, "checksum": compared})
    if not images:
        return load_confounds(chosen[0], answers)
    if isinstance(answers.labels, (str, Path)):
        given = Path(answers.labels).expanduser()
        answers = dataclasses.replace(answers, labels=given if given.exists() else path / given)
    return load_nifti(chosen[0], answers)


def _which(path: Path, files: list[Path], chosen: list[Path], wanted: str | None) -> FileError:
    names = [file.name for file in chosen or files]
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    if chosen or wanted is None:
        problem = "the folder has several functional images, so the one to read must be named"
    else:
        problem = f"no functional image has {wanted!r} in its name.{did_you_mean(wanted, names)}"
    return FileError(
        problem, code="NT-FILE-006", path=path, found=f"{len(files)} files: {shown}",
        expected="one of them", fix=f"nt.load(path, array={beside.stem(files[0])!r}, ...)",
    )  # fmt: skip


def _images(path: Path) -> list[Path]:
    found = {file for place in PLACES for file in path.glob(f"{place}/*_bold.nii*".lstrip("/"))}
    return sorted(file for file in found if "sub" in beside.entities(file))


def _tables(path: Path) -> list[Path]:
    found = {file for place in PLACES for file in path.glob(f"{place}/*desc-confounds_*.tsv".lstrip("/"))}
    return sorted(file for file in found if beside.CONFOUNDS_NAME.search(file.name))


def is_bids_fmri(path: Path) -> bool:
    """Whether a folder holds functional images or confounds where BIDS puts them, and no EEG or MEG."""
    if not path.is_dir() or not (_images(path) or _tables(path)):
        return False
    beside_func = [place.removesuffix("func") for place in PLACES if place.endswith("func")]
    return not any(any(path.glob(place + kind)) for place in beside_func for kind in OTHER_KINDS)


FORMATS = {"bids-fmri": is_bids_fmri}
