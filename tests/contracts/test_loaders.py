"""Promises that every registered format keeps."""

import inspect

import numpy as np
import pytest

import neurotools as nt
from neurotools.errors import FileError
from neurotools.loaders.recognise import FORMATS
from neurotools.registry import LOADERS, resolve


def test_every_format_has_a_reader_and_every_reader_a_format():
    assert {name for name, _ in FORMATS} | {"described"} == set(LOADERS) | {"described"}


@pytest.mark.parametrize("name", LOADERS)
def test_a_reader_takes_a_path_and_answers(name):
    reader = resolve(LOADERS[name])
    assert list(inspect.signature(reader).parameters) == ["path", "answers"]
    assert (reader.__doc__ or "").strip()


@pytest.mark.parametrize(("name", "predicate"), FORMATS)
def test_a_predicate_says_no_to_what_it_cannot_be(name, predicate, tmp_path, rng):
    junk = {
        "empty": b"",
        "one byte": b"\x00",
        "noise": rng.integers(0, 256, 4096, dtype=np.uint8).tobytes(),
        "prose": b"In the beginning there was noise, and no table at all; not a number either.",
    }
    for title, content in junk.items():
        for suffix in ("", ".edf", ".nwb", ".nii.gz", ".npz", ".csv", ".mat"):
            path = tmp_path / f"{title.replace(' ', '_')}{suffix}"
            path.write_bytes(content)
            assert predicate(path) is False or (name == "table" and title == "prose"), (title, suffix)
    folder = tmp_path / "folder"
    folder.mkdir()
    assert predicate(folder) is False


@pytest.mark.parametrize(
    "suffix", [".edf", ".vhdr", ".fif", ".set", ".nii.gz", ".nwb", ".npz", ".mat", ".nev"]
)
def test_a_name_does_not_make_a_format(suffix, tmp_path, rng):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(rng.integers(0, 256, 2048, dtype=np.uint8).tobytes())
    with pytest.raises(FileError) as caught:
        nt.load(path)
    assert caught.value.code in ("NT-FILE-002", "NT-FILE-004")
    assert caught.value.path == str(path)


@pytest.mark.parametrize("name", nt.samples.names())
@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_every_sample_is_valid_and_comes_back_identical(name, suffix, tmp_path):
    recording = nt.load(name)
    assert [finding for finding in nt.validate(recording) if finding.level == "error"] == []
    again = nt.load(nt.save(recording, tmp_path / f"x.{suffix}"))
    assert again.identical(recording)
