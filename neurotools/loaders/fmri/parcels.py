"""Which voxel belongs to which region: an atlas of labels, or a mask, on the grid of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from neurotools.errors import FileError
from neurotools.loaders.fmri.nifti import Image, is_nifti, open_image, read_volume
from neurotools.loaders.reading.guard import reading
from neurotools.loaders.reading.limits import check_size


@dataclass(frozen=True)
class Parcels:
    """Regions on the grid of one image.

    ``voxel`` are places in a volume as stored (x fastest), in that order; ``region`` says, for each, which
    row of ``names`` it belongs to. A mask makes every voxel a region of its own (``per_voxel``).
    """

    atlas: str
    voxel: np.ndarray
    region: np.ndarray
    names: np.ndarray
    index: np.ndarray
    hemisphere: np.ndarray | None
    per_voxel: bool
    resampled: bool

    @property
    def n_regions(self) -> int:
        """Number of regions."""
        return int(self.names.size)

    def sizes(self) -> np.ndarray:
        """Voxels of each region."""
        return np.bincount(self.region, minlength=self.n_regions)

    def centres(self, image: Image) -> np.ndarray:
        """Mean position of each region's voxels in metres, (region, 3)."""
        ijk = np.stack(np.unravel_index(self.voxel, image.grid, order="F"), axis=1)
        position = 1e-3 * (ijk @ image.affine[:3, :3].T + image.affine[:3, 3])
        total = np.stack(
            [np.bincount(self.region, weights=axis, minlength=self.n_regions) for axis in position.T]
        )
        return (total / self.sizes()).T


def read_parcels(path: Path, image: Image, *, resample: bool = False) -> Parcels:
    """Read an atlas or a mask and lay it on the grid of ``image``.

    Parameters
    ----------
    path : pathlib.Path
        A 3-D NIfTI of whole numbers: 0 outside, one number per region. An image of zeros and ones without a
        table of names is a mask. A table beside it, of the same name and ending in ``.tsv``, may name the
        regions in columns ``index`` and ``name`` (``hemisphere`` if there is one).
    image : Image
        The recording that the regions are for.
    resample : bool
        Take, at every voxel of ``image``, the label of the nearest voxel of an atlas on another grid.
        Otherwise another grid is an error.

    Raises
    ------
    FileError
        It is no label image, is empty, or lies on another grid (NT-FILE-008, NT-DATA-010).
    """
    labels_image = _open_labels(path)
    labels = _whole_numbers(labels_image)
    same = _same_grid(labels_image, image)
    if not same:
        if not resample:
            raise _other_grid(labels_image, image)
        wanted = np.unique(labels[labels > 0])
        labels = _nearest(labels, labels_image, image)
        _refuse_lost(wanted, labels, path)
    return _parcels(labels, image, path, resampled=not same)


def _open_labels(path: Path) -> Image:
    if not path.is_file():
        raise FileError("the atlas or mask is not there", code="NT-FILE-001", path=path)
    if not is_nifti(path):
        raise FileError("the atlas or mask is no NIfTI image", code="NT-FILE-002", path=path)
    image = open_image(path)
    if len(image.shape) > 3:
        raise FileError(
            "an atlas or mask has three dimensions, with one whole number per voxel",
            code="NT-FILE-008", path=path, found="x".join(map(str, image.shape)),
            fix="from a probabilistic atlas make labels first, for example its maximum over the last axis",
        )  # fmt: skip
    check_size(8 * image.n_voxels, path, "the atlas or mask")
    return image


def _whole_numbers(image: Image) -> np.ndarray:
    values = read_volume(image)
    if not np.isfinite(values).all():
        raise FileError(
            "the atlas or mask has values that are not finite",
            code="NT-DATA-003", path=image.path, found=f"{int((~np.isfinite(values)).sum())} voxels",
            fix="set them to 0 (outside) and save it again",
        )  # fmt: skip
    labels = np.rint(values)
    # Labels stored as scaled floats carry rounding of their own size.
    far = np.abs(values - labels) > 1e-5 * np.maximum(1, np.abs(values))
    if far.any() or (labels < 0).any() or labels.max() > 2**31:
        bad = values[far | (labels < 0) | (labels > 2**31)][0]
        raise FileError(
            "an atlas or mask holds whole numbers that are not negative",
            code="NT-FILE-008", path=image.path, found=f"{bad:g}",
            fix="threshold a probability map first: the choice of the threshold is yours",
        )  # fmt: skip
    if not labels.any():
        raise FileError("the atlas or mask is empty: every voxel is 0", code="NT-DATA-010", path=image.path)
    return labels.astype("int64")


# ---- grids ------------------------------------------------------------------------------------------
def _same_grid(one: Image, other: Image) -> bool:
    tolerance = 1e-3 * float(other.voxel_mm.min())
    return one.grid == other.grid and bool(np.allclose(one.affine, other.affine, rtol=0, atol=tolerance))


def _other_grid(labels: Image, image: Image) -> FileError:
    def text(one: Image) -> str:
        return f"{'x'.join(map(str, one.grid))} voxels, affine {np.round(one.affine[:3], 3).tolist()}"

    return FileError(
        "the atlas or mask lies on another grid than the image",
        code="NT-FILE-008", path=labels.path, found=text(labels),
        expected=f"{text(image)} ({image.path.name})",
        fix="bring it to this grid, or pass resample=True to take the nearest label at every voxel",
    )  # fmt: skip


def _nearest(labels: np.ndarray, source: Image, target: Image) -> np.ndarray:
    """Labels at the voxels of ``target``; 0 where ``source`` does not reach."""
    to_source = np.linalg.inv(source.affine) @ target.affine
    result = np.zeros(target.n_voxels, dtype=labels.dtype)
    plane = target.grid[0] * target.grid[1]
    i, j = np.unravel_index(np.arange(plane), target.grid[:2], order="F")
    for k in range(target.grid[2]):  # plane by plane, so that large grids cost no memory
        place = np.stack([i, j, np.full(plane, k), np.ones(plane)])
        at = np.rint(to_source[:3] @ place).astype("int64")
        inside = np.all([(n >= 0) & (n < size) for n, size in zip(at, source.grid, strict=True)], axis=0)
        x, y, z = at[:, inside]
        result[k * plane + np.flatnonzero(inside)] = labels[x + source.grid[0] * (y + source.grid[1] * z)]
    return result


def _refuse_lost(wanted: np.ndarray, labels: np.ndarray, path: Path) -> None:
    lost = np.setdiff1d(wanted, labels)
    if lost.size:
        raise FileError(
            "regions of the atlas have no voxel in the image after resampling",
            code="NT-DATA-010", path=path, found=f"{lost.size} of {wanted.size}: labels {_few(lost)}",
            fix="use an atlas in the space of the image, or take these regions out of it",
        )  # fmt: skip


# ---- names ------------------------------------------------------------------------------------------
def _parcels(labels: np.ndarray, image: Image, path: Path, *, resampled: bool) -> Parcels:
    table = _table(path)
    voxel = np.flatnonzero(labels)
    values = labels[voxel]
    index, region = np.unique(values, return_inverse=True)
    per_voxel = table is None and index.tolist() == [1]
    hemisphere = None
    if per_voxel:
        ijk = np.stack(np.unravel_index(voxel, image.grid, order="F"), axis=1)
        names = np.array(["-".join(map(str, place)) for place in ijk.tolist()])
        index, region = voxel, np.arange(voxel.size)
    elif table is None:
        names = index.astype(str)
    else:
        _refuse_nameless(index, table, path)
        named = table.set_index("index").loc[index]
        names = named["name"].to_numpy(dtype=str)
        if "hemisphere" in named:
            hemisphere = named["hemisphere"].fillna("").to_numpy(dtype=str)
    return Parcels(
        atlas=path.name, voxel=voxel, region=region.reshape(-1), names=names, index=index,
        hemisphere=hemisphere, per_voxel=per_voxel, resampled=resampled,
    )  # fmt: skip


def _table(path: Path) -> pd.DataFrame | None:
    file = path.parent / (path.name.removesuffix(".gz").removesuffix(".nii") + ".tsv")
    if not file.is_file():
        return None
    with reading(file, "the table of region names"):
        table = pd.read_csv(file, sep="\t")
    if not {"index", "name"} <= set(table.columns):
        raise FileError(
            "the table beside the atlas does not name its regions",
            path=file, found="columns " + ", ".join(map(str, table.columns)),
            expected="columns index and name",
        )  # fmt: skip
    for column in ("index", "name"):
        if table[column].duplicated().any() or table[column].isna().any():
            raise FileError(
                f"the table beside the atlas has a {column} that is missing or occurs twice",
                code="NT-DATA-006", path=file,
                found=_few(table[column][table[column].duplicated(keep=False) | table[column].isna()]),
            )  # fmt: skip
    return table


def _refuse_nameless(index: np.ndarray, table: pd.DataFrame, path: Path) -> None:
    nameless = np.setdiff1d(index, table["index"].to_numpy())
    if nameless.size:
        raise FileError(
            "the atlas has labels that the table beside it does not name",
            code="NT-FILE-008", path=path, found=f"{nameless.size} of {index.size}: labels {_few(nameless)}",
            fix="complete the table, or rename it to have the regions numbered",
        )  # fmt: skip


def _few(values: Sequence[object] | np.ndarray | pd.Series) -> str:
    shown = [str(value) for value in values]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
