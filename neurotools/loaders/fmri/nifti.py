"""Read NIfTI images forward, a block of volumes at a time, after checking what their header claims.

The header is checked against the real file before anything is allocated, so a file that was cut short, or
that claims more than it can hold, is refused with the numbers. Compressed files have no random access: they
are read once from front to back, never as a whole.
"""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurotools.errors import FileError, need
from neurotools.loaders.reading.guard import reading
from neurotools.loaders.reading.limits import array_bytes, check_size
from neurotools.loaders.reading.sniff import head

BLOCK_BYTES = 8 << 20  # of volumes read at once; at least one volume
HEADER_BYTES = {348: 1, 540: 2}  # size that a header states of itself -> NIfTI version
MAGIC = {1: (344, b"n+1\0"), 2: (4, b"n+2\0\r\n\x1a\n")}
PAIR_MAGIC = {1: (344, b"ni1\0"), 2: (4, b"ni2\0\r\n\x1a\n")}


@dataclass(frozen=True)
class Image:
    """The checked header of one NIfTI file: what its voxels are and where they lie in file and space."""

    path: Path
    zipped: bool
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float
    affine: np.ndarray  # voxel index to millimetres
    time_step: float
    time_unit: str  # "sec", "msec", "usec", "unknown" or a unit that is no time
    time_offset: float
    space: str  # "scanner", "aligned", "talairach", "mni" or "unknown"

    @property
    def grid(self) -> tuple[int, ...]:
        """Voxels along x, y and z."""
        return self.shape[:3]

    @property
    def n_volumes(self) -> int:
        """Volumes that the header promises."""
        return self.shape[3] if len(self.shape) > 3 else 1

    @property
    def n_voxels(self) -> int:
        """Voxels of one volume."""
        return array_bytes(self.grid, 1)

    @property
    def volume_bytes(self) -> int:
        """Bytes of one volume as stored."""
        return array_bytes(self.grid, self.dtype.itemsize)

    @property
    def claimed_bytes(self) -> int:
        """Bytes of the whole file, unpacked, as its header promises."""
        return self.offset + self.n_volumes * self.volume_bytes

    @property
    def voxel_mm(self) -> np.ndarray:
        """Edge lengths of a voxel in millimetres."""
        return np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))

    def describe(self) -> str:
        """One line for messages: shape, voxel size and time step."""
        size = " x ".join(f"{edge:.4g}" for edge in self.voxel_mm)
        kind = "x".join(map(str, self.shape))
        return f"{kind} voxels, {size} mm, time step {self.time_step:g} {self.time_unit}"


# ---- the header -------------------------------------------------------------------------------------
def is_nifti(path: Path) -> bool:
    """Whether the file, or what is zipped in it, begins with a NIfTI-1 or NIfTI-2 header."""
    start, _ = _start(path)
    return _version(start, MAGIC) is not None or _version(start, PAIR_MAGIC) is not None


def _start(path: Path) -> tuple[bytes, bool]:
    """The first bytes inside the file, and whether it is zipped; as many as there are."""
    raw = head(path, 1 << 16)
    if raw[:2] != b"\x1f\x8b":
        return raw[:544], False
    with contextlib.suppress(zlib.error):
        return zlib.decompressobj(wbits=31).decompress(raw, 544), True
    return b"", True


def _version(start: bytes, magic: dict[int, tuple[int, bytes]]) -> int | None:
    if len(start) < 4:
        return None
    stated = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")}
    for size, version in HEADER_BYTES.items():
        place, text = magic[version]
        # A file cut inside its header still tells what it was by the size it states first.
        if size in stated and text.startswith(start[place : place + len(text)]):
            return version
    return None


def open_image(path: Path) -> Image:
    """Read and check the header of a NIfTI file; nothing else is read yet.

    Raises
    ------
    FileError
        The header is cut short or senseless (NT-FILE-003, -004), claims a volume that does not fit into
        memory (NT-FILE-005), or is of a kind that is not read.
    """
    nib = need("nibabel", extra="fmri", to="read NIfTI images")
    start, zipped = _start(path)
    version = _version(start, MAGIC)
    if version is None:
        raise _not_single(path, start)
    size = {1: 348, 2: 540}[version]
    if len(start) < size:
        raise FileError(
            "the NIfTI header is cut short",
            code="NT-FILE-003", path=path, where=f"byte {len(start)}",
            found=f"{len(start)} bytes", expected=f"{size} bytes of header", fix="copy or download it again",
        )  # fmt: skip
    header = (nib.Nifti1Header if version == 1 else nib.Nifti2Header)(start[:size], check=False)
    image = _interpret(header, path, zipped)
    check_size(image.volume_bytes, path, "one volume of the image")
    return image


def _not_single(path: Path, start: bytes) -> FileError:
    if _version(start, PAIR_MAGIC) is None:
        return FileError("this is no NIfTI image", code="NT-FILE-002", path=path)
    return FileError(
        "header and voxels lie in two files (.hdr and .img), which is not read",
        code="NT-FILE-002", path=path,
        fix="join them: nibabel.save(nibabel.load('x.hdr'), 'x.nii')",
    )  # fmt: skip


def _interpret(header: Any, path: Path, zipped: bool) -> Image:
    with reading(path, "the NIfTI header"), np.errstate(all="ignore"):
        slope, intercept = header.get_slope_inter()
        image = Image(
            path=path,
            zipped=zipped,
            shape=_shape(header, path),
            dtype=header.get_data_dtype(),
            offset=_offset(header, path),
            # NaN is how writers say "not scaled"; infinity is no scale at all.
            slope=np.inf if np.isinf(header["scl_slope"]) else 1.0 if slope is None else float(slope),
            intercept=0.0 if intercept is None else float(intercept),
            affine=np.asarray(header.get_best_affine(), dtype="float64"),
            # The shortest decimal of the stored float32: 0.72, not 0.7200000286.
            time_step=float(str(header["pixdim"][4])),
            time_unit=str(header.get_xyzt_units()[1]),
            time_offset=float(header["toffset"]),
            space=_space(header),
        )
    _check_sense(image, int(header["bitpix"]))
    return image


def _shape(header: Any, path: Path) -> tuple[int, ...]:
    n_dim = int(header["dim"][0])
    if not 1 <= n_dim <= 7:
        raise FileError(
            "the NIfTI header states an impossible number of dimensions",
            path=path, where="field dim[0]", found=n_dim, expected="3 or 4",
        )  # fmt: skip
    shape = [int(n) for n in header["dim"][1 : n_dim + 1]]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    shape += [1] * (3 - len(shape))
    if min(shape) < 1 or len(shape) > 4:
        raise FileError(
            "the image has a shape that is not read",
            path=path, where="field dim", found="x".join(map(str, shape)),
            expected="x, y, z and time, each at least 1",
        )  # fmt: skip
    return tuple(shape)


def _offset(header: Any, path: Path) -> int:
    offset = float(header["vox_offset"])
    least = int(header["sizeof_hdr"]) + 4
    if not (np.isfinite(offset) and offset == int(offset) and offset >= least):
        raise FileError(
            "the NIfTI header states an impossible place of the voxels",
            path=path, where="field vox_offset", found=offset, expected=f"a whole number from {least} on",
        )  # fmt: skip
    return int(offset)


def _space(header: Any) -> str:
    code = int(header["sform_code"]) or int(header["qform_code"])
    return {1: "scanner", 2: "aligned", 3: "talairach", 4: "mni"}.get(code, "unknown")


def _check_sense(image: Image, bits: int) -> None:
    if image.dtype.kind not in "iuf" or image.dtype.itemsize > 8:
        raise FileError(
            "the voxels are not plain real numbers",
            code="NT-FILE-002", path=image.path, found=image.dtype, expected="integers or floats",
        )  # fmt: skip
    if bits != 8 * image.dtype.itemsize:
        raise FileError(
            "the NIfTI header contradicts itself about the size of a voxel",
            path=image.path, where="fields datatype and bitpix",
            found=f"{image.dtype} and {bits} bits", expected=f"{8 * image.dtype.itemsize} bits",
        )  # fmt: skip
    if (
        not np.isfinite([*image.affine.ravel(), image.slope, image.intercept]).all()
        or abs(np.linalg.det(image.affine)) < 1e-12
    ):
        raise FileError(
            "the NIfTI header does not say where the voxels lie, or how they are scaled",
            path=image.path, where="fields pixdim, qform, sform, scl_slope",
            found=f"affine {np.round(image.affine, 4).tolist()}, slope {image.slope:g}",
            expected="a finite, invertible affine",
        )  # fmt: skip


# ---- the voxels -------------------------------------------------------------------------------------
def blocks(image: Image, *, allow_truncated: bool = False) -> Iterator[np.ndarray]:
    """Yield raw (volume, voxel) values in the order of the file, x fastest, a block of volumes at a time.

    A block is a view of one buffer that the next block overwrites. Values are as stored: multiply by
    ``slope`` and add ``intercept``. Memory: the larger of ``BLOCK_BYTES`` and one volume.
    """
    _check_length(image, allow_truncated)
    size = image.volume_bytes
    n_left, n_read = image.n_volumes, 0
    buffer = memoryview(bytearray(min(n_left, max(1, BLOCK_BYTES // size)) * size))
    with _voxels(image) as stream:
        while n_left:
            want = min(n_left * size, len(buffer))
            got = _fill(stream, buffer[:want], image)
            whole = got // size
            if got < want and not (allow_truncated and n_read + whole):
                raise _cut_short(image, image.offset + n_read * size + got)
            if whole:
                yield np.frombuffer(buffer[: whole * size], dtype=image.dtype).reshape(whole, image.n_voxels)
            n_read, n_left = n_read + whole, n_left - whole
            if got < want:
                return
        # Reading on to the end makes gzip compare its checksum, and finds volumes the header hides.
        if image.zipped and _fill(stream, buffer[:size], image) == size:
            raise _too_long(image, f"at least {image.claimed_bytes + size} bytes unpacked")


def read_volume(image: Image) -> np.ndarray:
    """Read a three-dimensional image as scaled float64 values, one per voxel, x fastest."""
    (values,) = [block[0].astype("float64") for block in blocks(image)]
    return values * image.slope + image.intercept


@contextlib.contextmanager
def _voxels(image: Image) -> Iterator[io.BufferedIOBase]:
    import gzip

    opener = gzip.open if image.zipped else open
    with opener(image.path, "rb") as stream:
        step = memoryview(bytearray(min(image.offset, 1 << 20)))
        for start in range(0, image.offset, len(step)):
            _fill(stream, step[: image.offset - start], image)
        yield stream  # type: ignore[misc]


def _fill(stream: Any, view: memoryview, image: Image) -> int:
    """Read until ``view`` is full or the file ends, however it ends, and return the bytes read."""
    done = 0
    try:
        while done < len(view):
            n = stream.readinto1(view[done:])
            if not n:
                break
            done += n
    except EOFError:  # a gzip file without its end marker: what came before is good
        pass
    except (OSError, zlib.error) as error:
        raise FileError(f"the image cannot be unpacked: {error}", path=image.path) from error
    return done


def _check_length(image: Image, allow_truncated: bool) -> None:
    if image.zipped:
        return  # only reading tells how long it is
    real = image.path.stat().st_size
    if real < image.claimed_bytes and not allow_truncated:
        raise _cut_short(image, real)
    if real - image.claimed_bytes >= image.volume_bytes:
        raise _too_long(image, f"{real} bytes")


def _cut_short(image: Image, real: int) -> FileError:
    whole = max(0, (real - image.offset) // image.volume_bytes)
    unpacked = " unpacked" if image.zipped else ""
    rest = f"; allow_truncated=True reads the {whole} whole volumes" if whole and image.n_volumes > 1 else ""
    return FileError(
        "the image is cut short",
        code="NT-FILE-003", path=image.path, where=f"byte {real}{unpacked}",
        found=f"{real} bytes{unpacked}, {whole} whole volumes",
        expected=f"{image.claimed_bytes} bytes, {image.n_volumes} volumes",
        fix="copy or download it again" + rest,
    )  # fmt: skip


def _too_long(image: Image, found: str) -> FileError:
    return FileError(
        "the file holds more volumes than its header says, so the header is wrong",
        path=image.path, where="field dim", found=found,
        expected=f"{image.claimed_bytes} bytes for {'x'.join(map(str, image.shape))} {image.dtype} voxels",
    )  # fmt: skip


FORMATS = {"nifti": is_nifti}
