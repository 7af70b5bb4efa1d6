"""Choices with their sessions, and tracked positions."""

import shutil

import numpy as np
import pytest

import neurotools as nt
from neurotools.errors import FileError, SchemaError


def test_mouse_choices(shared, comes_back):
    folder = shared("data/behaviour_mouse_2afc_glmhmm")
    names = ["bias", "cues", "laser", *[f"previous_choice_{k}" for k in range(1, 7)], "previous_rewarded"]
    recording = nt.load(folder, labels=names)
    behaviour = recording["behaviour"]
    assert behaviour.sizes == {"trial": 49177, "feature": 10}
    assert behaviour["choice"].dtype == np.int64
    assert set(np.unique(behaviour["choice"])) == {0, 1}
    # 267 entries, the last of which is the number of trials: 266 sessions.
    assert behaviour.attrs["n_sessions"] == np.unique(behaviour["session"]).size == 266
    assert np.unique(behaviour["subject"]).size == 13
    assert int(behaviour["session"][164]) == 1
    assert set(np.unique(behaviour["design"].sel(feature="laser"))) == {-1.0, 0.0, 1.0}
    np.testing.assert_array_equal(behaviour["design"], np.load(folder / "direct_x.npy"))
    assert {"dates", "trialTypes"} <= set(behaviour.data_vars)
    comes_back(recording)


def _table(tmp_path, text):
    (tmp_path / "choices.csv").write_text(text)
    return tmp_path / "choices.csv"


GOOD = "session,choice,contrast,side\nA,0,0.5,left\nA,1,-0.5,right\nB,1,0.1,right\n"


def test_choice_table_by_its_own_names(tmp_path, comes_back):
    recording = nt.load(_table(tmp_path, GOOD), kind="behaviour")
    behaviour = recording["behaviour"]
    assert behaviour["choice"].values.tolist() == [0, 1, 1]
    assert behaviour["session"].values.tolist() == ["A", "A", "B"]
    assert behaviour["contrast"].values.tolist() == [0.5, -0.5, 0.1]
    assert behaviour["side"].values.tolist() == ["left", "right", "right"]
    comes_back(recording)


def test_choice_archive_with_session_starts(tmp_path, comes_back):
    np.savez(tmp_path / "c.npz", y=np.array([-1, 1, 1, -1]), starts=[0, 3], x=np.ones((4, 2)))
    given = {"choice": "y", "values": {-1: 0, 1: 1}, "session_start": "starts", "design": "x"}
    recording = nt.load(tmp_path / "c.npz", arrays={"behaviour": given})
    assert recording["behaviour/choice"].values.tolist() == [0, 1, 1, 0]
    assert recording["behaviour/session"].values.tolist() == [0, 0, 0, 1]
    assert recording["behaviour/feature"].values.tolist() == ["x0", "x1"]
    comes_back(recording)
    with pytest.raises(SchemaError, match="whole numbers from 0") as told:
        nt.load(tmp_path / "c.npz", arrays={"behaviour": {k: v for k, v in given.items() if k != "values"}})
    assert "-1" in told.value.found
    with pytest.raises(SchemaError, match="does not map"):
        nt.load(tmp_path / "c.npz", arrays={"behaviour": {**given, "values": {1: 1}}})


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("choice,side\n0,1\n1,1\n", FileError, "where its sessions begin"),
        ("session,answer\nA,0\nA,1\n", FileError, "which array holds the choices"),
        ("session,choice\nA,0\nB,1\nA,1\n", SchemaError, "do not stand together"),
        ("session,choice\nA,0\nA,n/a\n", SchemaError, "whole numbers from 0"),
        ("session,choice\nA,0\nA,0.5\n", SchemaError, "whole numbers from 0"),
    ],
)
def test_faults_of_choice_tables(tmp_path, text, error, words):
    with pytest.raises(error, match=words):
        nt.load(_table(tmp_path, text), kind="behaviour")


@pytest.mark.parametrize("starts", [[1, 3], [0, 3, 3], [0, 9], [0, 2, 1]])
def test_session_starts_must_increase_within_the_trials(tmp_path, starts):
    np.savez(tmp_path / "c.npz", choice=np.array([0, 1, 1, 0]), session_start=starts)
    with pytest.raises(SchemaError, match="session starts"):
        nt.load(tmp_path / "c.npz", kind="behaviour")


def test_tracked_positions(shared, comes_back):
    path = shared("data/spikes_hpc_linear_track/trajectory.videoPositionTracking")
    with pytest.raises(FileError, match="occurs twice") as told:
        nt.load(path)
    assert told.value.code == "NT-DATA-004"
    assert told.value.found == "1 of 118965"
    recording = nt.load(path, sort=True)
    behaviour = recording["behaviour"]
    tidy = np.load(path.parent / "linear_track_tidy.npz")
    keep = np.r_[True, np.diff(tidy["pos_time_s"]) > 0]
    np.testing.assert_array_equal(behaviour["time"], tidy["pos_time_s"][keep])
    np.testing.assert_array_equal(behaviour["xloc"], tidy["x_px"][keep])
    np.testing.assert_array_equal(behaviour["yloc"], tidy["y_px"][keep])
    assert behaviour["xloc"].attrs["units"] == "px"
    assert behaviour.attrs["repeated_stamps_left_out"] == 1
    assert float(behaviour["time"][0]) == pytest.approx(4397.0317)
    comes_back(recording)


def test_tracking_that_was_cut_short(shared, tmp_path):
    source = shared("data/spikes_hpc_linear_track/trajectory.videoPositionTracking")
    cut = tmp_path / "cut.videoPositionTracking"
    shutil.copyfile(source, cut)
    with cut.open("r+b") as stream:
        stream.truncate(5000)
    with pytest.raises(FileError, match="ends within a record") as told:
        nt.load(cut)
    assert told.value.code == "NT-FILE-003"
    recording = nt.load(cut, allow_truncated=True)
    header = cut.read_bytes().index(b"<End settings>\n") + 15
    assert recording["behaviour"].attrs["bytes_left_out"] == (5000 - header) % 12
    with cut.open("r+b") as stream:
        stream.truncate(150)
    with pytest.raises(FileError, match="has no end"):
        nt.load(cut)
