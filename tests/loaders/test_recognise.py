"""Formats are told by content; what is empty, junk or a carrier of code is told apart and refused."""

import os
import pickle
import re
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

import neurotools as nt
from neurotools.errors import FileError
from neurotools.loaders.answers import Answers
from neurotools.loaders.recognise import FORMATS, recognise
from neurotools.registry import LOADERS


def _write(path, kind):
    if kind == "npz":
        np.savez(path, a=np.zeros(3))
    elif kind == "npy":
        with path.open("wb") as stream:
            np.save(stream, np.zeros(3))
    elif kind == "mat":
        scipy.io.savemat(path, {"a": np.zeros(3)}, appendmat=False)
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            file["a"] = np.zeros(3)
    elif kind == "table":
        path.write_text("a,b\n1,2\n")


@pytest.mark.parametrize("kind", ["npz", "npy", "mat", "hdf5", "table"])
@pytest.mark.parametrize("suffix", ["", ".dat", ".edf", ".nii", ".csv", ".npz"])
def test_content_counts_and_the_suffix_does_not(tmp_path, kind, suffix):
    path = tmp_path / f"x{suffix}"
    _write(tmp_path / "made", kind) if kind != "npz" else _write(tmp_path / "made.npz", kind)
    (tmp_path / ("made.npz" if kind == "npz" else "made")).rename(path)
    assert recognise(path, Answers()) == kind


def test_every_format_has_a_loader_and_every_loader_a_format():
    names = [name for name, _ in FORMATS]
    assert len(names) == len(set(names))
    assert set(names) <= set(LOADERS)
    assert set(LOADERS) - set(names) <= {"described"}


JUNK = [
    b"hello, this is no recording\nat all\n",
    bytes(range(256)) * 8,
    b"\x00" * 512,
    b"PK",
    b"\x1f\x8b\x00junk",
    b"GIF89a" + b"\x01" * 600,
]
SUFFIXES = [
    ".npz",
    ".npy",
    ".mat",
    ".h5",
    ".csv",
    ".txt",
    ".edf",
    ".bdf",
    ".fif",
    ".nwb",
    ".nii",
    ".nii.gz",
    ".set",
    ".vhdr",
    ".nc",
    ".tsv",
    ".nev",
    ".pl2",
]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_junk_is_refused_whatever_its_name(tmp_path, suffix, junk):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(junk)
    with pytest.raises(FileError) as told:
        nt.load(path)
    assert told.value.code == "NT-FILE-002"
    assert "begin with" in told.value.found
    assert "npz" in told.value.expected


def test_empty_things_are_told_apart(tmp_path):
    (tmp_path / "empty.edf").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.doc").write_text("notes")
    for name, words, code in (
        ("empty.edf", "0 bytes", "NT-DATA-010"),
        ("folder", "folder is empty", "NT-DATA-010"),
        ("other", "no layout", "NT-FILE-002"),
        ("absent.edf", "no file, folder or sample", "NT-FILE-001"),
    ):
        with pytest.raises(FileError, match=words) as told:
            nt.load(tmp_path / name)
        assert told.value.code == code
    with pytest.raises(FileError) as told:
        nt.load(tmp_path / "other")
    assert "notes.doc" in told.value.found


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(FileError, match="neither a file nor a folder"):
        nt.load(tmp_path / "pipe.csv")


def test_unreadable_file(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "x.csv").write_text("1,2\n")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FileError, match="cannot be opened: Permission denied"):
        recognise(tmp_path / "x.csv", Answers())


class Payload:
    ran = False

    def __reduce__(self):
        return (setattr, (Payload, "ran", True))


@pytest.mark.parametrize("form", ["pickle", "joblib", "npy", "npz", "torch"])
def test_pickles_are_refused_and_never_run(tmp_path, form):
    path = tmp_path / "x.dat"
    if form == "pickle":
        path.write_bytes(pickle.dumps({"trace": Payload()}))
    elif form == "joblib":
        import joblib

        joblib.dump({"trace": Payload()}, path)
    elif form == "npy":
        with path.open("wb") as stream:
            np.save(stream, np.array([Payload()], dtype=object), allow_pickle=True)
    elif form == "npz":
        with path.open("wb") as stream:
            np.savez(stream, trace=np.array([Payload()], dtype=object))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model/data.pkl", pickle.dumps(Payload()))
            archive.writestr("model/version", "3")
    with pytest.raises(FileError) as told:
        nt.load(path, kind="calcium", dims=("unit",), sfreq=1)
    assert told.value.code == "NT-FILE-007"
    assert not Payload.ran


UNSAFE = re.compile(
    r"allow_pickle\s*=\s*True|weights_only\s*=\s*False|\b(pickle|joblib|dill|cloudpickle)\.loads?\("
    r"|\byaml\.(load|unsafe_load|full_load)\(|(?<![\w.])(eval|exec)\("
)


def test_no_line_of_the_toolkit_could_run_code_from_a_file():
    root = Path(nt.__file__).parent
    files = [*root.rglob("*.py"), *(root.parent / "pipelines").glob("*.py")]
    assert len(files) > 100
    found = [
        f"{file.name}: {m[0]}" for file in files for m in UNSAFE.finditer(file.read_text(encoding="utf-8"))
    ]
    assert not found


def test_other_arrays_of_a_file_with_pickles_can_be_read(tmp_path):
    np.savez(tmp_path / "x.npz", good=np.zeros((2, 3)), bad=np.array([Payload()], dtype=object))
    recording = nt.load(tmp_path / "x.npz", kind="calcium", array="good", dims=("unit", "time"), sfreq=1)
    assert recording.attrs["not_read"] == "bad"
    assert not Payload.ran


# ---- settings files --------------------------------------------------------------------------------
def test_answers_may_stand_beside_the_data(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(6.0).reshape(2, 3))
    (tmp_path / "recording.yaml").write_text("kind: calcium\nfile: x.npy\ndims: [unit, time]\nsfreq: 5\n")
    for source in (tmp_path, tmp_path / "x.npy"):
        assert nt.load(source)["calcium/activity"].attrs["sfreq"] == 5
    assert nt.load(tmp_path, sfreq=7)["calcium/activity"].attrs["sfreq"] == 7  # the caller wins


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: calcium\nsampling: 5\n", "'sampling' that means nothing"),
        ("!!python/object/apply:os.system [echo]\n", "cannot be read"),
        ("- a\n- b\n", "'key: value'"),
        ("file: ../x.npy\n", "outside its folder"),
        ("file: y.npy\n", "not there"),
    ],
)
def test_faults_of_settings_files(tmp_path, text, words):
    folder = tmp_path / "in"
    folder.mkdir()
    np.save(folder / "x.npy", np.zeros((2, 3)))
    np.save(tmp_path / "x.npy", np.zeros((2, 3)))
    (folder / "recording.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        nt.load(folder)


def test_labels_of_a_settings_file_stay_in_its_folder(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 3)))
    (tmp_path / "recording.yaml").write_text(
        "kind: calcium\nfile: x.npy\ndims: [unit, time]\nsfreq: 5\nlabels: /etc/hostname\n"
    )
    with pytest.raises(FileError, match="outside its folder"):
        nt.load(tmp_path)


def test_what_was_saved_is_recognised_and_a_fit_is_no_recording(tmp_path):
    recording = nt.load("songbird-hvc")
    saved = nt.save(recording, tmp_path / "x.zarr")
    assert recognise(saved, Answers()) == "saved"
    (saved / "neurotools-manifest.json").unlink()
    with pytest.raises(ValueError, match="no manifest"):
        nt.load(saved)
    fit = recording["calcium"].to_dataset().assign_attrs(model="ntf", neurotools_version="0")
    with pytest.raises(FileError, match="not a recording") as told:
        nt.load(nt.save(fit, tmp_path / "fit.nc"))
    assert "open_fit" in told.value.fix
