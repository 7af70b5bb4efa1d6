"""A checksum that lies beside a recording is held against its files; nothing else shows zeroed samples."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import mne
import numpy as np
import pytest

import neurotools as nt
from neurotools.errors import FileError
from neurotools.loaders.reading import checksums


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("fif") / "whole_raw.fif"
    values = np.random.default_rng(0).normal(size=(4, 5000)) * 1e-5
    raw = mne.io.RawArray(values, mne.create_info(4, 250.0, "eeg"), verbose="ERROR")
    raw.save(path, verbose="ERROR")
    return path.read_bytes()


@pytest.fixture
def fif(content, tmp_path):
    path = tmp_path / "run_raw.fif"
    path.write_bytes(content)
    return path


def zeroed(content: bytes) -> bytes:
    """200 bytes in the middle of the samples lost, as on a bad disk; MNE reads such a file in silence."""
    at = len(content) // 2
    return content[:at] + bytes(200) + content[at + 200 :]


def sum_of(content: bytes, algorithm: str = "sha256") -> str:
    return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()


LISTS = {
    "SHA256SUMS": "{sha256}  run_raw.fif\n",
    "SHA256SUMS.txt": "# a comment\n{sha256} *run_raw.fif\n0000  other\n",
    "manifest-sha512.txt": "{sha512} ./run_raw.fif\n",
    "MD5SUMS": "{md5}  run_raw.fif\r\n",
    "checksums.txt": "SHA1 (run_raw.fif) = {sha1}\n",
    "run_raw.fif.md5": "{md5}\n",
    "run_raw.fif.sha256": "{sha256}  run_raw.fif\n",
}


@pytest.mark.parametrize("name", LISTS)
def test_fif_with_zeroed_bytes_does_not_pass_its_checksum(fif, content, name):
    sums = {algorithm: sum_of(content, algorithm) for algorithm in ("md5", "sha1", "sha256", "sha512")}
    (fif.parent / name).write_text(LISTS[name].format(**sums))
    assert nt.load(fif).attrs["checksum"] == f"1 file as stated by {name}"
    fif.write_bytes(zeroed(content))
    with pytest.raises(FileError, match="not the one that its checksum describes") as caught:
        nt.load(fif)
    error = caught.value
    assert (error.code, error.path, error.where) == ("NT-FILE-009", str(fif), name)
    algorithm = error.expected.split()[0]
    assert error.expected == f"{algorithm} {sums[algorithm]}"
    assert error.found == f"{algorithm} {sum_of(zeroed(content), algorithm)}"


def test_without_a_checksum_nothing_is_said(fif, content):
    (fif.parent / "SHA256SUMS").write_text(f"{sum_of(b'')}  another.fif\nno sum at all\n")
    assert "checksum" not in nt.load(fif).attrs


def test_a_checksum_is_no_part_of_what_a_recording_says(fif, content):
    before = nt.content_hash(nt.load(fif))
    (fif.parent / "SHA256SUMS").write_text(f"{sum_of(content)}  run_raw.fif\n")
    assert nt.content_hash(nt.load(fif)) == before


def test_a_file_that_is_knowingly_shorter_is_not_compared(fif, content):
    (fif.parent / "SHA256SUMS").write_text(f"{sum_of(zeroed(content))}  run_raw.fif\n")
    assert "checksum" not in nt.load(fif, allow_truncated=True).attrs


def test_a_folder_that_may_not_be_listed_hides_nothing_of_the_file_itself(fif, content, monkeypatch):
    (fif.parent / "SHA256SUMS").write_text(f"{sum_of(content)}  run_raw.fif\n")

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert checksums.compare(fif) == "1 file as stated by SHA256SUMS"
    assert checksums.compare(fif.parent) == "1 file as stated by SHA256SUMS"


def test_only_files_of_the_recording_are_compared(fif, content, monkeypatch):
    """Dots in names do not make two runs one recording; a path from here is as good as a full one."""
    names = ("day.1-10.30.fif", "day.1-10.45.fif")
    for name in names:
        shutil.copy(fif, fif.with_name(name))
    rows = [f"{sum_of(content)}  {names[0]}", f"{sum_of(b'')}  {names[1]}", f"{sum_of(content)}  deep/x.fif"]
    (fif.parent / "SHA256SUMS").write_text("\n".join(rows))
    assert checksums.compare(fif.with_name(names[0])) == "1 file as stated by SHA256SUMS"
    (fif.parent / "deep").mkdir()
    shutil.copy(fif, fif.parent / "deep/x.fif")
    monkeypatch.chdir(fif.parent)
    assert checksums.compare(Path("deep")) == "1 file as stated by SHA256SUMS"
    with pytest.raises(FileError, match="checksum"):
        checksums.compare(Path(names[1]))


def test_a_file_is_hashed_once_until_it_changes(fif, content, monkeypatch):
    (fif.parent / "SHA256SUMS").write_text(f"{sum_of(content)}  run_raw.fif\n")
    checksums.compare(fif)
    hits = checksums._digest.cache_info().hits
    checksums.compare(fif)
    assert checksums._digest.cache_info().hits == hits + 1


def test_what_is_too_large_to_hash_is_said(fif, content, monkeypatch):
    (fif.parent / "SHA256SUMS").write_text(f"{sum_of(zeroed(content))}  run_raw.fif\n")
    monkeypatch.setattr(checksums, "HASHED_BYTES", 1000)
    assert nt.load(fif).attrs["checksum"] == "run_raw.fif not compared, being larger than 1000 bytes"


def test_git_annex_names_content_by_its_checksum(fif, content):
    """A data set under DataLad: the file is a link, and the name that it leads to holds size and checksum."""
    key = f"MD5E-s{len(content)}--{sum_of(content, 'md5')}.fif"
    store = fif.parent / ".git/annex/objects/aa/bb" / key
    store.mkdir(parents=True)
    fif.rename(store / key)
    fif.symlink_to((store / key).relative_to(fif.parent))
    assert nt.load(fif).attrs["checksum"] == "1 file as stated by git-annex"
    (store / key).write_bytes(zeroed(content))
    with pytest.raises(FileError, match="checksum"):
        nt.load(fif)


def test_bids_data_and_sidecars_are_held_against_the_list_of_the_data_set(shared, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(shared("data/eeg_bids_tiny"), root)
    files = [file for file in sorted(root.rglob("*")) if file.is_file()]
    lines = [f"{sum_of(file.read_bytes())}  {file.relative_to(root).as_posix()}" for file in files]
    (root / "SHA256SUMS").write_text("\n".join(lines))
    header = root / "sub-01/ses-eeg/eeg/sub-01_ses-eeg_task-rest_eeg.vhdr"
    for source in (root, header):
        # Data, header, markers and sidecar of the file, its channels, and its events with their sidecar.
        assert nt.load(source).attrs["checksum"] == "7 files as stated by SHA256SUMS"
    for name in ("eeg.eeg", "events.tsv"):
        file = header.with_name(f"sub-01_ses-eeg_task-rest_{name}")
        content = file.read_bytes()
        file.write_bytes(content[:-8] + bytes(8))
        for source in (root, header):
            with pytest.raises(FileError, match="checksum") as caught:
                nt.load(source)
            assert (caught.value.path, caught.value.where) == (str(file), "SHA256SUMS")
        file.write_bytes(content)


def test_a_folder_that_is_one_recording(tmp_path, rng):
    folder = tmp_path / "suite2p"
    folder.mkdir()
    np.save(folder / "F.npy", rng.random((3, 50)).astype("float32"))
    np.save(folder / "iscell.npy", np.ones((3, 2)))
    (folder / "sub").mkdir()
    lines = [f"{sum_of((folder / name).read_bytes())}  {name}" for name in ("F.npy", "iscell.npy")]
    outside = tmp_path / "secret"
    outside.write_text("x")
    (folder / "SHA256SUMS").write_text(
        "\n".join([*lines, f"{sum_of(b'')}  ../secret", f"{sum_of(b'')}  {outside}"])
    )
    assert nt.load(folder, sfreq=10.0).attrs["checksum"] == "2 files as stated by SHA256SUMS"
    np.save(folder / "iscell.npy", np.zeros((3, 2)))
    with pytest.raises(FileError, match="checksum") as caught:
        nt.load(folder, sfreq=10.0)
    assert caught.value.path == str(folder / "iscell.npy")


def test_functional_images_of_a_data_set(tmp_path, rng):
    import nibabel as nib

    func = tmp_path / "sub-01/func"
    func.mkdir(parents=True)
    image = nib.Nifti1Image(rng.integers(1, 99, (3, 3, 2, 8)).astype("int16"), np.diag([3, 3, 3, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.0
    file = func / "sub-01_task-rest_bold.nii"
    nib.save(image, file)
    nib.save(nib.Nifti1Image(np.ones((3, 3, 2), dtype="uint8"), image.affine), tmp_path / "atlas.nii")
    (tmp_path / "dataset_description.json").write_text(json.dumps({"Name": "x"}))
    (tmp_path / "MD5SUMS").write_text(f"{sum_of(file.read_bytes(), 'md5')}  sub-01/func/{file.name}\n")
    for source in (tmp_path, file):
        found = nt.load(source, labels=tmp_path / "atlas.nii")
        assert found.attrs["checksum"] == "1 file as stated by MD5SUMS"
    file.write_bytes(file.read_bytes()[:-2] + b"ab")
    for source in (tmp_path, file):
        with pytest.raises(FileError, match="checksum"):
            nt.load(source, labels=tmp_path / "atlas.nii")
