"""Which recordings a source holds, under which names, and which files belong to them."""

from __future__ import annotations

import os

import pytest
from neurotools.pipelines.sources import Source, files_of, find, fingerprint

from neurotools.errors import FileError

from .conftest import write_recording


def test_a_file_is_one_recording(recording):
    found = find(recording)
    assert not found.several
    assert found.recordings == (Source("one", str(recording)),)


def test_a_sample_is_one_recording():
    assert find("songbird-hvc").recordings == (Source("songbird-hvc", "songbird-hvc"),)


def test_a_folder_is_searched_to_the_bottom_and_names_what_it_leaves_out(folder):
    (folder / "deep").mkdir()
    write_recording(folder / "deep" / "dora.nc")
    (folder / "notes.md").write_text("hello")
    (folder / ".hidden").mkdir()
    write_recording(folder / ".hidden" / "x.nc")
    found = find(folder)
    assert [entry.name for entry in found.recordings] == ["anna", "berta", "carla", "dora"]
    assert found.several
    assert found.left_out == ("notes.md",)


def test_a_damaged_data_file_is_kept_so_that_it_fails_in_the_open(folder):
    (folder / "dead.edf").write_bytes(b"\x00\x01\x02junk" * 10)
    assert "dead" in [entry.name for entry in find(folder).recordings]


def test_files_that_complete_another_are_no_recordings_of_their_own(shared):
    names = [entry.name for entry in find(shared("data/eeg_eeglab_sample")).recordings]
    assert names == ["test_raw"]
    zoo = [entry.name for entry in find(shared("data/eeg_format_zoo")).recordings]
    assert zoo == ["test.bdf", "test.edf", "test.vhdr", "test_egi"]


def test_a_bids_tree_gives_its_data_files_one_by_one(shared):
    found = find(shared("data/eeg_bids_tiny"))
    assert found.several
    assert [entry.name for entry in found.recordings] == ["sub-01_ses-eeg_task-rest_eeg"]
    assert found.recordings[0].path.endswith(".vhdr")
    assert "eeg" in found.recordings[0].load().children


def test_a_folder_that_is_one_recording_is_not_searched(shared):
    found = find(shared("data/calcium_suite2p_mini"))
    assert not found.several
    assert len(found.recordings) == 1


def test_results_inside_the_source_are_no_recordings(folder):
    out = folder / "results"
    (out / "anna").mkdir(parents=True)
    write_recording(out / "anna" / "fit.nc")
    assert len(find(folder, out=out).recordings) == 3
    (out / ".work").mkdir()
    assert len(find(folder).recordings) == 3


def test_equal_names_are_told_apart_by_their_folders(tmp_path):
    for name in ("day1", "day2"):
        (tmp_path / name).mkdir()
        write_recording(tmp_path / name / "rec.nc")
    assert [entry.name for entry in find(tmp_path).recordings] == ["day1_rec", "day2_rec"]


def test_a_list_may_stand_in_a_file_or_in_a_sequence(folder, tmp_path):
    listing = tmp_path / "list.txt"
    listing.write_text("# two of them\nrecordings/anna.nc\n\nsongbird-hvc\n")
    assert [entry.name for entry in find(f"@{listing}").recordings] == ["anna", "songbird-hvc"]
    assert [entry.name for entry in find([folder / "anna.nc"]).recordings] == ["anna"]
    assert find([folder / "anna.nc"]).several


@pytest.mark.parametrize(
    ("name", "said"), [("songbird-hcv", "Did you mean 'songbird-hvc'"), ("none", "no file")]
)
def test_a_source_that_is_not_there_is_named(name, said):
    with pytest.raises(FileError, match=said):
        find(name)


def test_a_folder_without_recordings_says_what_it_holds(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(FileError, match="no recording in the folder") as caught:
        find(tmp_path)
    assert caught.value.found == "notes.md"


def test_files_of_a_recording_are_its_family_and_what_describes_it(tmp_path):
    (tmp_path / "dataset_description.json").write_text("{}")
    (tmp_path / "task-rest_eeg.json").write_text("{}")
    (tmp_path / "task-walk_eeg.json").write_text("{}")
    home = tmp_path / "sub-01" / "eeg"
    home.mkdir(parents=True)
    for name in ("sub-01_task-rest_eeg.set", "sub-01_task-rest_eeg.fdt", "sub-01_task-rest_events.tsv",
                 "sub-01_task-walk_events.tsv", "sub-02_task-rest_events.tsv"):  # fmt: skip
        (home / name).write_text(name)
    names = {file.name for file in files_of(Source("a", str(home / "sub-01_task-rest_eeg.set")))}
    assert names == {
        "task-rest_eeg.json", "sub-01_task-rest_eeg.set",
        "sub-01_task-rest_eeg.fdt", "sub-01_task-rest_events.tsv",
    }  # fmt: skip


def test_files_that_recording_yaml_names_belong_to_the_recording(tmp_path):
    (tmp_path / "recording.yaml").write_text("kind: fmri\narrays: {'fmri/bold': {labels: atlas.csv}}\n")
    for name in ("bold.npy", "atlas.csv", "other.csv"):
        (tmp_path / name).write_text(name)
    names = {file.name for file in files_of(Source("a", str(tmp_path / "bold.npy")))}
    assert names == {"bold.npy", "recording.yaml", "atlas.csv"}


def test_an_unchanged_file_is_not_read_again(recording):
    source = Source("one", str(recording))
    first = fingerprint(source)
    forged = {"one.nc": {**first["one.nc"], "sha256": "kept"}}
    assert fingerprint(source, forged)["one.nc"]["sha256"] == "kept"
    os.utime(recording, ns=(1, 1))
    assert fingerprint(source, forged)["one.nc"]["sha256"] == first["one.nc"]["sha256"]
