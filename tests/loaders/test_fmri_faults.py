"""Damaged and lying NIfTI files: a correct read or a named error with the numbers, never a crash."""

import gzip
import subprocess
import sys
import textwrap
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import neurotools as nt
from neurotools.errors import FileError, NeurotoolsError
from neurotools.loaders.reading.limits import limited_to

SHAPE = (6, 5, 4)
VOLUME = 2 * 6 * 5 * 4


@pytest.fixture
def good(tmp_path):
    """A sound .nii, its .nii.gz, an atlas, and the means."""
    rng = np.random.default_rng(5)
    image = nib.Nifti1Image(rng.integers(0, 900, size=(*SHAPE, 10)).astype("int16"), np.diag([2.0, 2, 3, 1]))
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.0
    nib.save(image, tmp_path / "bold.nii")
    plain = (tmp_path / "bold.nii").read_bytes()
    (tmp_path / "bold.nii.gz").write_bytes(gzip.compress(plain, mtime=0))
    atlas = rng.integers(0, 4, size=SHAPE).astype("uint8")
    nib.save(nib.Nifti1Image(atlas, image.affine), tmp_path / "atlas.nii")
    return tmp_path / "bold.nii", tmp_path / "bold.nii.gz", tmp_path / "atlas.nii"


def test_a_truncated_nii_states_bytes_and_volumes(good):
    path, _, atlas = good
    whole = nt.load(path, labels=atlas)["fmri/bold"]
    raw = path.read_bytes()
    path.write_bytes(raw[: 352 + 7 * VOLUME + 11])
    with pytest.raises(FileError, match="cut short") as caught:
        nt.load(path, labels=atlas)
    assert caught.value.code == "NT-FILE-003"
    assert caught.value.path == str(path)
    assert caught.value.found == f"{352 + 7 * VOLUME + 11} bytes, 7 whole volumes"
    assert caught.value.expected == f"{352 + 10 * VOLUME} bytes, 10 volumes"
    assert "allow_truncated=True reads the 7 whole volumes" in caught.value.fix
    part = nt.load(path, labels=atlas, allow_truncated=True)["fmri/bold"]
    np.testing.assert_array_equal(part, whole[:, :7])
    assert (part.attrs["truncated"], part.attrs["n_volumes_in_header"]) == (1, 10)
    assert "truncated" not in whole.attrs
    path.write_bytes(raw[: 352 + VOLUME - 1])  # not one whole volume
    with pytest.raises(FileError, match="cut short"):
        nt.load(path, labels=atlas, allow_truncated=True)


def test_a_truncated_nii_gz_states_unpacked_bytes_and_volumes(good):
    _, path, atlas = good
    whole = nt.load(path, labels=atlas)["fmri/bold"]
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) * 2 // 3])
    with pytest.raises(FileError, match="cut short") as caught:
        nt.load(path, labels=atlas)
    assert caught.value.code == "NT-FILE-003"
    assert "bytes unpacked" in caught.value.found
    assert caught.value.expected == f"{352 + 10 * VOLUME} bytes, 10 volumes"
    part = nt.load(path, labels=atlas, allow_truncated=True)["fmri/bold"]
    assert 1 <= part.sizes["time"] < 10
    np.testing.assert_array_equal(part, whole[:, : part.sizes["time"]])


def test_a_gzip_that_lost_its_checksum_or_was_changed_is_refused(good):
    _, path, atlas = good
    raw = path.read_bytes()
    path.write_bytes(raw[:-8] + bytes([raw[-8] ^ 1]) + raw[-7:])
    with pytest.raises(FileError, match="cannot be unpacked"):
        nt.load(path, labels=atlas)


def test_a_header_cut_short_names_the_byte(good):
    path, _, atlas = good
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FileError, match="header is cut short") as caught:
        nt.load(path, labels=atlas)
    assert (caught.value.code, caught.value.where) == ("NT-FILE-003", "byte 200")
    assert (caught.value.found, caught.value.expected) == ("200 bytes", "348 bytes of header")


@pytest.mark.parametrize("packed", [False, True])
def test_a_header_that_claims_30000_to_the_4_is_refused_before_allocation(good, packed):
    path, zipped, atlas = good
    raw = bytearray(path.read_bytes())
    raw[40:50] = np.array([4, 30000, 30000, 30000, 30000], dtype="<i2").tobytes()
    if packed:
        zipped.write_bytes(gzip.compress(bytes(raw)))
        path = zipped
    else:
        path.write_bytes(bytes(raw))
    with pytest.raises(FileError, match="claims more data") as caught:
        nt.load(path, labels=atlas)
    assert caught.value.code == "NT-FILE-005"
    assert "49.1 TiB claimed" in caught.value.found


def test_an_atlas_that_claims_too_much_is_refused_too(good):
    path, _, atlas = good
    raw = bytearray(atlas.read_bytes())
    raw[40:50] = np.array([3, 30000, 30000, 30000, 1], dtype="<i2").tobytes()
    atlas.write_bytes(bytes(raw))
    with pytest.raises(FileError, match="claims more data"):
        nt.load(path, labels=atlas)


def test_the_limit_can_be_set(good):
    path, _, atlas = good
    with limited_to(VOLUME - 1), pytest.raises(FileError, match="one volume of the image claims more"):
        nt.load(path, labels=atlas)


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_longer_than_its_header_says_has_a_wrong_header(good, packed):
    path, zipped, atlas = good
    raw = bytearray(path.read_bytes())
    raw[48:50] = np.array([8], dtype="<i2").tobytes()  # dim[4]: 10 volumes become 8
    path.write_bytes(bytes(raw))
    if packed:
        zipped.write_bytes(gzip.compress(bytes(raw)))
        path = zipped
    with pytest.raises(FileError, match="more volumes than its header says") as caught:
        nt.load(path, labels=atlas)
    assert caught.value.where == "field dim"


@pytest.mark.parametrize(
    ("start", "value", "dtype", "message"),
    [
        (40, 9, "<i2", "impossible number of dimensions"),
        (42, -6, "<i2", "shape that is not read"),
        (70, 77, "<i2", "header is damaged"),
        (72, 32, "<i2", "contradicts itself"),
        (108, np.nan, "<f4", "impossible place"),
        (108, 12.5, "<f4", "impossible place"),
        (108, 1e9, "<f4", "cut short"),
        (280, np.nan, "<f4", "where the voxels lie"),
        (112, np.inf, "<f4", "header is damaged|where the voxels lie"),
    ],
)
def test_senseless_fields_are_named(good, start, value, dtype, message):
    path, _, atlas = good
    raw = bytearray(path.read_bytes())
    field = np.array([value], dtype=dtype).tobytes()
    raw[start : start + len(field)] = field
    path.write_bytes(bytes(raw))
    with pytest.raises(FileError, match=message):
        nt.load(path, labels=atlas)


def test_big_endian_headers_are_read(good, tmp_path):
    path, _, atlas = good
    image = nib.load(path)
    swapped = nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header.as_byteswapped(">"))
    nib.save(swapped, tmp_path / "swapped.nii")
    one, other = (
        nt.load(path, labels=atlas)["fmri/bold"],
        nt.load(tmp_path / "swapped.nii", labels=atlas)["fmri/bold"],
    )
    np.testing.assert_array_equal(one, other)


def test_nifti_2_is_read(good, tmp_path):
    path, _, atlas = good
    image = nib.load(path)
    second = nib.Nifti2Image(
        np.asarray(image.dataobj), image.affine, nib.Nifti2Header.from_header(image.header)
    )
    second.header.set_xyzt_units("mm", "sec")
    nib.save(second, tmp_path / "second.nii.gz")
    np.testing.assert_array_equal(
        nt.load(path, labels=atlas)["fmri/bold"],
        nt.load(tmp_path / "second.nii.gz", labels=atlas)["fmri/bold"],
    )


def mutations(raw: bytes, n: int, seed: int):
    """Files with one to four changed bytes (headers more often than voxels), and files cut anywhere."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        changed = bytearray(raw)
        if i % 4 == 3:
            yield bytes(changed[: rng.integers(0, len(raw))])
            continue
        end = min(352, len(raw)) if i % 4 < 2 else len(raw)
        for _ in range(rng.integers(1, 5)):
            changed[rng.integers(0, end)] = rng.integers(0, 256)
        yield bytes(changed)


def outcome(path: Path, atlas: Path) -> str:
    try:
        bold = nt.load(path, labels=atlas)["fmri/bold"]
    except NeurotoolsError as error:
        return error.code if error.path else "no path"
    assert bold.sizes["time"] >= 2
    assert bold.dtype == np.float64
    return "read"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("which", "target"), [(0, "image"), (1, "image"), (2, "atlas")])
def test_mutated_and_truncated_files_end_in_a_read_or_a_named_error(good, tmp_path, which, target):
    source = good[which]
    victim = tmp_path / f"victim{''.join(source.suffixes)}"
    outcomes = []
    for changed in mutations(source.read_bytes(), 300, seed=11 + which):
        victim.write_bytes(changed)
        outcomes.append(outcome(victim, good[2]) if target == "image" else outcome(good[0], victim))
    assert outcomes.count("read") < len(outcomes)
    assert "NT-FILE-003" in outcomes
    assert "no path" not in outcomes


def test_mutated_files_stay_within_a_cap_of_memory_and_time(good, tmp_path):
    """The same, in a process that may take 400 MiB beyond its imports and 30 s of processor time."""
    paths = [str(good[0]), str(good[2]), str(tmp_path / "victim.nii")]
    script = textwrap.dedent(f"""
        import resource, sys, warnings
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        warnings.simplefilter("ignore")
        from pathlib import Path
        import test_fmri_faults as faults
        path, atlas, victim = (Path(p) for p in {paths!r})
        faults.outcome(path, atlas)
        lines = open("/proc/self/status").read().splitlines()
        size = next(int(line.split()[1]) for line in lines if line.startswith("VmSize")) * 1024
        resource.setrlimit(resource.RLIMIT_AS, (size + 400 * 2**20,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
        start = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        with faults.limited_to(100 * 2**20):
            for changed in faults.mutations(path.read_bytes(), 200, seed=3):
                victim.write_bytes(changed)
                faults.outcome(victim, atlas)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_utime - start)
    """)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < 30
