"""Four-dimensional NIfTI and an atlas or a mask to one series per region."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import FileError, NeurotoolsWarning, SettingsError
from neurotools.loaders.answers import Answers
from neurotools.loaders.fmri import beside
from neurotools.loaders.fmri.confounds import confounds_node, motion_node, read_confounds, read_motion
from neurotools.loaders.fmri.nifti import Image, blocks, open_image
from neurotools.loaders.fmri.parcels import Parcels, read_parcels
from neurotools.loaders.reading.limits import check_size
from neurotools.schema import continuous, recording_tree

SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
LONGEST_TR_S = 60.0
TR_TOLERANCE = 1e-3  # relative, between what header, sidecar and key say


def load_nifti(path: Path, answers: Answers) -> xr.DataTree:
    """Average a 4-D NIfTI within the regions of an atlas, or take every voxel of a mask.

    The file is read front to back, a block of volumes (``nifti.BLOCK_BYTES``) at a time. Beyond the result,
    peak memory is at most two blocks and 64 bytes per voxel of one volume, however many volumes there are.

    Parameters
    ----------
    path : pathlib.Path
        ``.nii`` or ``.nii.gz``.
    answers : Answers
        ``labels`` is the path of the atlas or mask (see ``read_parcels``); ``sfreq`` replaces the repetition
        time of the file; ``resample`` lets the atlas lie on another grid.

    Returns
    -------
    xarray.DataTree
        ``fmri/bold(region, time)`` with ``region_index``, ``n_voxels`` (averaged), ``coverage`` (the part of
        the region's voxels that hold data: finite, and not 0 in every volume) and the centre ``x y z`` in m;
        ``events`` and ``confounds`` when they lie beside the image, or (events of a derivative) in the raw
        data set that it was made from.

    Raises
    ------
    FileError
        Labels or repetition time are missing or contradict each other; file or atlas are damaged, cut short
        or on different grids; a region has no voxel without NaN.
    """
    if answers.kind not in (None, "fmri"):
        raise SettingsError(
            "a NIfTI image is fMRI", code="NT-SET-003", path=path, found=f"kind={answers.kind!r}"
        )
    image = open_image(path)
    _refuse_one_volume(image)
    parcels = read_parcels(_labels_path(path, answers, image), image, resample=answers.resample)
    tr, tr_source = repetition_time(image, answers)
    bold = _bold(image, parcels, answers, tr, tr_source)
    nodes: dict[str, xr.Dataset | xr.DataArray] = {"fmri/bold": bold, **_beside(path, bold)}
    return recording_tree(nodes, **{**beside.named_by(path), **answers.attrs})


def _refuse_one_volume(image: Image) -> None:
    if image.n_volumes < 2:
        raise FileError(
            "the image has one volume, so there is nothing over time",
            code="NT-DATA-010", path=image.path, found=image.describe(), expected="x, y, z and time",
            fix="an atlas or mask is not loaded itself: nt.load('bold.nii.gz', labels='atlas.nii.gz')",
        )  # fmt: skip


def _labels_path(path: Path, answers: Answers, image: Image) -> Path:
    if not isinstance(answers.labels, (str, Path)):
        given_instead = f"; labels of type {type(answers.labels).__name__}" if answers.labels else ""
        raise FileError(
            "a 4-D NIfTI needs an atlas or a mask, which says what its regions are",
            code="NT-FILE-006", path=path,
            found=image.describe() + given_instead,
            expected="labels= the path of a 3-D NIfTI on the same grid",
            fix="nt.load(path, labels='atlas.nii.gz') averages within its regions; with a mask of 0 and 1 "
            "every voxel inside is a row",
        )  # fmt: skip
    given = Path(answers.labels).expanduser()
    # A recording.yaml beside the data means a path from there.
    return given if given.exists() else path.parent / given


# ---- the clock --------------------------------------------------------------------------------------
def repetition_time(image: Image, answers: Answers) -> tuple[float, str]:
    """Seconds between volumes, and who said so.

    Header, JSON sidecar and OpenfMRI key must agree where several speak; ``sfreq`` overrules them.

    Raises
    ------
    FileError
        Nobody says it (NT-FILE-006), or they disagree (NT-FILE-008).
    """
    if answers.sfreq is not None:
        if not (np.isfinite(answers.sfreq) and answers.sfreq > 0):
            raise SettingsError("sfreq must be positive: 1 / TR, in Hz", found=answers.sfreq)
        return 1.0 / answers.sfreq, f"sfreq given by the caller (header: {_header_words(image)})"
    stated = {name: tr for name, tr in _who_says(image).items() if tr is not None}
    if not stated:
        raise FileError(
            "the repetition time is not known",
            code="NT-FILE-006", path=image.path,
            found=f"header: {_header_words(image)}; no sidecar states it",
            expected="a positive time with its unit",
            fix="nt.load(path, sfreq=1 / TR, ...) with TR in seconds",
        )  # fmt: skip
    if max(stated.values()) > (1 + TR_TOLERANCE) * min(stated.values()):
        raise FileError(
            "the repetition time is stated twice, differently",
            code="NT-FILE-008", path=image.path,
            found="; ".join(f"{tr:g} s by {name}" for name, tr in stated.items()),
            expected="one repetition time", fix="nt.load(path, sfreq=1 / TR, ...) with the one that is right",
        )  # fmt: skip
    # A sidecar is written in decimal; the header holds a float32 of it.
    source = list(stated)[-1]
    return stated[source], source


def _who_says(image: Image) -> dict[str, float | None]:
    stated: dict[str, float | None] = {}
    content, file = beside.sidecar(image.path)
    if "VolumeTiming" in content:
        raise FileError(
            "volumes at irregular times (VolumeTiming) are not read", code="NT-FILE-002", path=file
        )
    stated["header"] = header_tr(image)
    if file is not None and "RepetitionTime" in content:
        stated[file.name] = _positive(content["RepetitionTime"], file)
    key = beside.openfmri_key(image.path)
    if key is not None:
        stated[key[1].name] = _positive(key[0], key[1])
    return stated


def _positive(value: Any, file: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise FileError(
            "the repetition time must be a positive number of seconds",
            path=file, where="RepetitionTime", found=value,
        )  # fmt: skip
    return float(value)


def header_tr(image: Image) -> float | None:
    """Repetition time of the header in seconds; None where it is absent, 0 or without a unit of time.

    A header that claims more than a minute in seconds, and whose number makes sense in milliseconds, holds
    milliseconds: converters have written such files. This reading is warned about.
    """
    step, unit = image.time_step, image.time_unit
    if unit not in SECONDS or not (np.isfinite(step) and step > 0):
        return None
    tr = float(step) / round(1 / SECONDS[unit])
    if tr <= LONGEST_TR_S:
        return tr
    if unit == "sec" and 0.1 <= tr / 1000 <= LONGEST_TR_S:
        warnings.warn(
            f"{image.path.name}: the header says {step:g} s between volumes, which can only be milliseconds; "
            f"read as {tr / 1000:g} s. Pass sfreq= to say otherwise.",
            NeurotoolsWarning,
            stacklevel=2,
        )
        return tr / 1000
    return None


def _header_words(image: Image) -> str:
    return f"{image.time_step:g} {image.time_unit}"


# ---- the series -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Series:
    """Means per region, (region, volume), and for each labelled voxel whether it is finite and ever not 0."""

    values: np.ndarray
    finite: np.ndarray
    alive: np.ndarray


def region_series(image: Image, parcels: Parcels, *, allow_truncated: bool = False) -> Series:
    """Average the voxels of each region in every volume.

    A voxel that is NaN or infinite in any volume is left out of all: leaving it out of some would put a
    step into the mean.
    """
    n_rows = parcels.n_regions
    check_size(16 * n_rows * image.n_volumes, image.path, "the table of regions by volumes")
    finite = np.ones(parcels.voxel.size, dtype=bool)
    while True:
        series = _one_pass(image, parcels, finite, allow_truncated)
        if series.finite.sum() == finite.sum():
            return series
        finite = series.finite


def _one_pass(image: Image, parcels: Parcels, finite: np.ndarray, allow_truncated: bool) -> Series:
    summing = _summing(parcels, finite, image.n_voxels)
    still, alive = finite.copy(), np.ones(parcels.voxel.size, dtype=bool)
    dead = np.arange(parcels.voxel.size)
    # The stored number that stands for 0 once slope and intercept are applied.
    zero = -image.intercept / image.slope if image.slope else np.nan
    rows = []
    for block in blocks(image, allow_truncated=allow_truncated):
        for volume in block:
            sums = summing @ volume.astype("float64")
            rows.append(sums)
            dead = dead[volume[parcels.voxel[dead]] == zero]
            if not np.isfinite(sums).all():
                still &= np.isfinite(volume[parcels.voxel])
    alive[dead] = False
    size = np.bincount(parcels.region[finite], minlength=parcels.n_regions)
    # A region without finite voxels is refused later, by name.
    values = np.array(rows).T / np.maximum(size, 1)[:, None] * image.slope + image.intercept
    return Series(values=values, finite=still, alive=alive & still)


def _summing(parcels: Parcels, finite: np.ndarray, n_voxels: int) -> Any:
    """Sparse (region, voxel) matrix whose product with a volume sums each region's finite voxels."""
    from scipy.sparse import csr_array

    region, voxel = parcels.region[finite], parcels.voxel[finite]
    return csr_array((np.ones(region.size), (region, voxel)), shape=(parcels.n_regions, n_voxels))


def _bold(image: Image, parcels: Parcels, answers: Answers, tr: float, tr_source: str) -> xr.DataArray:
    series = region_series(image, parcels, allow_truncated=answers.allow_truncated)
    size = parcels.sizes()
    used = np.bincount(parcels.region, weights=series.finite, minlength=size.size).astype("int64")
    kept = _kept_regions(image, parcels, used)
    position = parcels.centres(image)
    coords = {
        "region_index": parcels.index,
        "n_voxels": used,
        "coverage": np.bincount(parcels.region, weights=series.alive, minlength=size.size) / size,
        **{axis: position[:, i] for i, axis in enumerate("xyz")},
    }
    if parcels.hemisphere is not None:
        coords["hemisphere"] = parcels.hemisphere
    short = series.values.shape[1] < image.n_volumes
    bold = continuous(
        series.values[kept],
        dim="region",
        labels=parcels.names[kept],
        sfreq=1.0 / tr if answers.sfreq is None else answers.sfreq,
        t0=answers.t0,
        units=answers.units or "arbitrary",
        coords={name: values[kept] for name, values in coords.items()},
        attrs={
            "tr": tr,
            "tr_source": tr_source,
            "atlas": parcels.atlas,
            "resampled": int(parcels.resampled),
            "space": beside.entities(image.path).get("space", image.space),
            "time_offset": image.time_offset or None,
            "n_voxels_not_finite": int((~series.finite).sum()),
            "truncated": 1 if short else None,
            "n_volumes_in_header": image.n_volumes if short else None,
        },
    )
    for axis in "xyz":
        bold[axis].attrs["units"] = "m"
    return bold


def _kept_regions(image: Image, parcels: Parcels, used: np.ndarray) -> np.ndarray:
    """Rows that have a finite voxel; an atlas must keep all of its regions, a mask may lose voxels."""
    empty = np.flatnonzero(used == 0)
    if not empty.size:
        return np.arange(used.size)
    if not parcels.per_voxel or empty.size == used.size:
        names = ", ".join(parcels.names[empty][:8])
        raise FileError(
            "regions have no voxel that is finite in every volume",
            code="NT-DATA-003", path=image.path,
            found=f"{empty.size} of {used.size}: {names}" + (" ..." if empty.size > 8 else ""),
            expected="at least one voxel without NaN in each region",
            fix="take these regions out of the atlas, or mend the image",
        )  # fmt: skip
    warnings.warn(
        f"{image.path.name}: {empty.size} of {used.size} voxels of the mask are not finite in some volume "
        "and have no row; attrs['n_voxels_not_finite'] counts them",
        NeurotoolsWarning,
        stacklevel=2,
    )
    return np.flatnonzero(used)


# ---- what lies beside it ------------------------------------------------------------------------------
def _beside(path: Path, bold: xr.DataArray) -> dict[str, xr.Dataset]:
    nodes: dict[str, xr.Dataset] = {}
    time = bold["time"]
    end = float(time[-1]) + bold.attrs["tr"]
    if (file := beside.events_file(path)) is not None:
        nodes["events"] = beside.read_events(file, end)
        if not path.resolve().is_relative_to(file.resolve().parent):
            nodes["events"].attrs["read_from"] = f"{file.name} of the raw data set"
    if (file := beside.confounds_file(path)) is not None:
        nodes["confounds"] = confounds_node(read_confounds(file), time, file)
    elif (file := beside.motion_file(path)) is not None:
        nodes["confounds"] = motion_node(read_motion(file), time, file)
    return nodes
