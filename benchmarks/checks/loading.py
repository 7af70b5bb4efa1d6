"""Every recording that is kept outside the repository loads with the sizes that are known of it."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import neurotools as nt
from benchmarks.record import Row, shared
from benchmarks.recordings import KNOWN, NO_RECORDINGS, Known
from neurotools.errors import NeurotoolsError, need


def recordings() -> list[Row]:
    """Share of each folder's files that are read, alone or through the recording they belong to."""
    root = shared("data")
    folders = sorted(path.name for path in root.iterdir() if path.is_dir())
    rows, read, total = [], 0, 0
    for folder in folders:
        good, faults, files = read_folder(root / folder)
        read, total = read + len(good), total + len(files)
        rows.append(
            Row(
                f"{folder}: files read with the sizes that are known", len(good) / len(files), ">= 1",
                note=f"{len(good)} of {len(files)}" + (f"; {'; '.join(faults)}" if faults else ""),
            )
        )  # fmt: skip
    return [
        Row(f"all files of {len(folders)} folders", read / total, ">= 1", note=f"{read} of {total}"),
        *rows,
    ]


def read_folder(folder: Path) -> tuple[set[Path], list[str], set[Path]]:
    """Files that were read as they should be, what went wrong, and all files that hold data."""
    files = {path for path in folder.rglob("*") if path.is_file()}
    files -= {path for pattern in NO_RECORDINGS for path in folder.glob(pattern)}
    good: set[Path] = set()
    faults: list[str] = []
    for known in (one for one in KNOWN if one.folder == folder.name):
        for path in sorted(folder.glob(known.files)) if known.files else [folder]:
            fault = what_is_wrong(known, path)
            if fault is None:
                good |= {path, *(file for pattern in known.beside for file in folder.glob(pattern))}
            else:
                faults.append(f"{path.name}: {fault}")
    unnamed = sorted(path.name for path in files - good)
    if unnamed and not faults:
        faults.append("not read: " + ", ".join(unnamed))
    return good & files, faults, files


def what_is_wrong(known: Known, path: Path) -> str | None:
    """Load a file as it should be; None when all sizes are right."""
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {**known.options, **({"labels": whole_mask(path, Path(scratch))} if known.mask else {})}
        try:
            recording = nt.load(path, **options)
        except NeurotoolsError as error:
            return f"{error.problem} [{error.code}]"
        sizes = known.sizes(path) if callable(known.sizes) else known.sizes
        wrong = [
            f"{name} is {found}"
            for name, expected in sizes.items()
            if (found := sizes_of(recording, name, expected)) != dict(expected)
        ]
        wrong += [f.problem for f in nt.validate(recording) if f.level == "error"]
    return "; ".join(wrong) or None


def sizes_of(recording, name: str, expected: Mapping[str, int]) -> dict[str, int]:
    """Sizes of a variable or a node; of a node only along the dimensions that are asked for."""
    try:
        found = recording[name]
    except KeyError:
        return {}
    sizes = {str(dim): int(n) for dim, n in found.sizes.items()}
    return sizes if hasattr(found, "dims") and not hasattr(found, "children") else {
        dim: n for dim, n in sizes.items() if dim in expected
    }  # fmt: skip


def whole_mask(path: Path, folder: Path) -> Path:
    """A mask that takes every voxel of an image that has something in it."""
    nib = need("nibabel", extra="fmri")
    image = nib.load(path)
    mask = nib.Nifti1Image(np.ones(image.shape[:3], dtype="uint8"), image.affine)
    mask.header.set_xyzt_units("mm", "sec")
    nib.save(mask, folder / "mask.nii.gz")
    return folder / "mask.nii.gz"
