"""Tables of text: every column accounted for, every fault with its line."""

import numpy as np
import pytest

import neurotools as nt
from neurotools.errors import FileError, SchemaError, SettingsError
from neurotools.loaders.described.tables import read_lines, table_contents
from neurotools.schema import spike_trains


# ---- real recordings -------------------------------------------------------------------------------
def test_songbird_spikes_keep_the_silent_unit(shared, comes_back):
    path = shared("data/calcium_songbird_hvc/songbird_spikes.txt")
    recording = nt.load(path, kind="spikes", dims=("unit", "time"), units="s", labels=range(1, 76))
    spikes = recording["spikes"]
    assert spikes.sizes == {"spike": 3336, "unit": 75}
    assert int((spikes["row_size"] == 0).sum()) == 1
    assert spikes["unit"].values[[0, -1]].tolist() == [1, 75]
    assert float(spikes["spike_time"][0]) == 1.7666666666666666
    assert spikes.attrs["window"] == "t_start and t_stop: not stated; the outermost spike"
    comes_back(recording)
    unnamed = nt.load(path, kind="spikes", dims=("unit", "time"), units="s")["spikes"]
    assert unnamed.sizes["unit"] == 74
    assert unnamed.attrs["units_listed"] == "those with at least one spike"


def test_songbird_spikes_are_the_active_bins_of_the_traces_in_another_order(shared):
    spikes = nt.load(
        shared("data/calcium_songbird_hvc/songbird_spikes.txt"),
        kind="spikes", dims=("unit", "time"), units="s", labels=range(1, 76),
    )["spikes"]  # fmt: skip
    activity = nt.load("songbird-hvc")["calcium/activity"]
    active = {tuple(np.flatnonzero(row)) for row in activity.values}
    # The list counts bins from 1, so that bin 0 lies at 1/30 s, and it numbers the units in its own order.
    listed = {tuple(np.round(train * 30).astype(int) - 1) for train in spike_trains(spikes.to_dataset())}
    assert listed == active
    assert len(listed) == 75


def test_grasshopper_microseconds(shared, comes_back):
    folder = shared("data/spikes_grasshopper_auditory")
    recording = nt.load(
        folder,
        arrays={
            "spikes": {"time": {"file": "grasshopper_spike_times1.txt"}, "units": "us", "t_start": 0,
                       "t_stop": 10},
            "stimulus/sound": {"file": "grasshopper_stimulus1.txt", "name": "1", "dims": "time",
                               "time": {"file": "grasshopper_stimulus1.txt", "name": "0", "units": "us"}},
        },
    )  # fmt: skip
    spikes, sound = recording["spikes"], recording["stimulus/sound"]
    assert spikes.sizes == {"unit": 1, "spike": 929}
    assert float(spikes["spike_time"][0]) == 0.0067
    assert sound.sizes == {"time": 200000}
    assert float(sound["time"][1]) == 50e-6
    assert float(sound["time"][-1]) == pytest.approx(9.99995)
    comes_back(recording)
    alone = nt.load(folder / "grasshopper_spike_times1.txt", kind="spikes", dims=("time",), units="us")
    np.testing.assert_array_equal(alone["spikes/spike_time"], spikes["spike_time"])


def test_allen_counts_with_their_sidecars(shared, comes_back):
    folder = shared("data/glm_reference")
    stem = "allen_719161530"
    recording = nt.load(
        folder / f"{stem}_counts_500ms.csv",
        arrays={
            "counts/counts": {"dims": ("unit", "time"), "bin_width": 0.5,
                              "coords": {"area": {"file": f"{stem}_region_label.csv"}}},
            "counts/epoch": {"file": f"{stem}_epoch_label.csv", "dims": "time", "bin_width": 0.5},
        },
    )  # fmt: skip
    counts = recording["counts/counts"]
    assert counts.shape == (720, 63)
    assert counts.dtype == np.int64
    assert sorted(np.unique(counts["area"])) == [1, 2, 3]
    assert sorted(np.unique(recording["counts/epoch"])) == [0, 1]
    comes_back(recording)


@pytest.mark.parametrize("n", [100, 200, 400])
def test_group_connectivity(shared, comes_back, n):
    recording = nt.load(
        shared(f"data/fc_hcp_group_brainspace/schaefer_{n}_mean_connectivity_matrix.csv"),
        arrays={"connectivity/correlation": {"dims": ("region", "region_to"), "units": "1",
                                             "labels": [f"p{k}" for k in range(n)]}},
    )  # fmt: skip
    matrix = recording["connectivity/correlation"]
    assert matrix.shape == (n, n)
    np.testing.assert_array_equal(matrix, matrix.values.T)
    np.testing.assert_array_equal(np.diag(matrix), 1)
    assert list(matrix["region"].values) == list(matrix["region_to"].values)
    comes_back(recording)


ALICE = ("LATL", "RATL", "LPTL", "LIPL", "LPreM", "LIFG")


def test_story_motion_is_ten_rows_longer(shared, comes_back):
    folder = shared("data/fmri_alice_story_roi")
    motions = sorted(folder.glob("*-rp_*.txt"))
    assert len(motions) == 16
    for motion in motions:
        subject = motion.name.split("-")[0]
        describe = {
            "fmri/bold": {"file": f"10mm/{subject}-timecourses.txt", "dims": ("time", "region"), "sfreq": 0.5,
                          "labels": ALICE},
            "fmri/motion": {"file": motion.name, "dims": ("time", "confound"), "sfreq": 0.5},
            "stimulus/word_rate": {"file": f"{subject}-rate.txt", "dims": "time", "sfreq": 0.5},
            "stimulus/sound_power": {"file": f"{subject}-sndpwr.txt", "dims": "time", "sfreq": 0.5},
            "behaviour/language": {"file": "sept18-generic-predictors-under-hrf-with-logfrqhal.txt",
                                   "dims": ("time", "feature"), "sfreq": 0.5, "skip": 10},
        }  # fmt: skip
        with pytest.raises(FileError, match="'fmri/motion' is 10 samples longer than 'fmri/bold'") as told:
            nt.load(folder, arrays=describe)
        assert told.value.code == "NT-FILE-008"
        assert "skip: 10" in told.value.fix
        describe["fmri/motion"]["skip"] = 10
        recording = nt.load(folder, arrays=describe)
        assert recording["fmri/motion"].shape == (6, 362)
        assert recording["fmri/motion"].attrs["skipped_samples"] == 10
        assert recording["behaviour/language"].shape == (12, 362)
        np.testing.assert_array_equal(recording["fmri/motion"].values, np.loadtxt(motion)[10:].T)
    comes_back(recording)


@pytest.mark.parametrize(
    ("name", "sfreq", "lasts"),
    [("data_N2_spindles_15sec_200Hz.txt", 200, 15), ("data_N3_no-spindles_30sec_100Hz.txt", 100, 30)],
)
def test_sleep_snippets(shared, comes_back, name, sfreq, lasts):
    recording = nt.load(
        shared("data/eeg_sleep_snippets") / name,
        kind="eeg", dims=("time",), sfreq=sfreq, units="uV", labels=["Cz"],
    )  # fmt: skip
    signal = recording["eeg/signal"]
    assert signal.shape == (1, 3000)
    assert signal.attrs["units"] == "V"
    assert float(signal["time"][-1]) == pytest.approx(lasts - 1 / sfreq)
    assert 5e-6 < float(signal.std()) < 100e-6
    comes_back(recording)


# ---- forms of tables -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n3,4\n",
        "a\tb\n1\t2\n3\t4",
        "a;b\r\n1;2\r\n3;4\r\n",
        "  a   b\n  1   2\n\n  3   4\n",
        "\ufeff# made by hand\na, b\n1, 2\n% more\n3, 4\n",
        '"a","b"\n"1","2"\n3,4\n',
    ],
)
def test_delimiters_comments_and_names(tmp_path, text):
    (tmp_path / "t.txt").write_bytes(text.encode())
    contents = table_contents(tmp_path / "t.txt")
    assert list(contents.arrays) == ["table", "a", "b"]
    np.testing.assert_array_equal(contents.read("table"), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(contents.read("b"), [2, 4])


def test_columns_by_name_and_range(tmp_path):
    (tmp_path / "t.csv").write_text("t,A,B,C,note\n0,1,2,3,x\n1,4,5,6,y\n")
    for array in (["A", "B"], "A:B"):
        entry = {"name": array, "dims": ("time", "channel"), "sfreq": 1, "units": "V"}
        signal = nt.load(tmp_path / "t.csv", arrays={"eeg/signal": entry})["eeg/signal"]
        np.testing.assert_array_equal(signal, [[1, 4], [2, 5]])
    recording = nt.load(
        tmp_path / "t.csv", kind="eeg", array="A:C", dims=("time", "channel"), sfreq=1, units="V"
    )
    assert recording["eeg/signal"].shape == (3, 2)
    assert recording.attrs["not_read"] == "t, note"
    with pytest.raises(SettingsError, match="comes before"):
        nt.load(tmp_path / "t.csv", kind="eeg", array="C:A", dims=("time", "channel"), sfreq=1, units="V")


def test_missing_cells_are_kept_missing(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,n/a\n,4\nNaN,NA\n")
    np.testing.assert_array_equal(
        table_contents(tmp_path / "t.csv").read("table"), [[1, np.nan], [np.nan, 4], [np.nan, np.nan]]
    )
    recording = nt.load(tmp_path / "t.csv", kind="calcium", dims=("time", "unit"), sfreq=1)
    notes = [finding for finding in nt.validate(recording) if finding.code == "NT-DATA-003"]
    assert "4 of 6" in notes[0].found


# ---- faults ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "words", "where"),
    [
        ("a,b\n1,2\n3\n", "differ in their number of cells", "line 3"),
        ("1,2\n# note\n3,4,5\n", "differ in their number of cells", "line 3"),
        ("a,b\n1,2\n3,x4\n5,6\n7,8\n", "not a number", "line 3, column 'b'"),
        ("1;2,5\n1;2.5\n1;3.5\n", "not a number", "line 1, column 1"),
        ("a,a\n1,2\n", "one name", None),
        ("a,b\n", "no rows", None),
    ],
)
def test_faults_have_their_place(tmp_path, text, words, where):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(FileError, match=words) as told:
        table_contents(tmp_path / "t.csv")
    assert told.value.where == where
    if ";" in text:
        assert "decimal point" in told.value.fix


def test_text_in_another_encoding_is_named(tmp_path):
    (tmp_path / "t.csv").write_bytes(("a,µV\n" + 10 * "1,2\n").encode("latin-1"))
    for read in (read_lines, nt.load):
        with pytest.raises(FileError, match="UTF-8") as told:
            read(tmp_path / "t.csv")
        assert told.value.where == "byte 2"


def test_text_columns_are_no_signal(tmp_path):
    (tmp_path / "t.csv").write_text("word,n\nyes,1\nno,2\n")
    with pytest.raises(SchemaError, match="needs numbers"):
        nt.load(tmp_path / "t.csv", kind="calcium", array="word", dims=("time",), sfreq=1)


def test_spike_text_needs_its_unit_and_order(tmp_path):
    (tmp_path / "s.txt").write_text("0 0.1\n0 0.3\n1 0.2\n")
    with pytest.raises(FileError, match="'units'"):
        nt.load(tmp_path / "s.txt", kind="spikes", dims=("unit", "time"))
    with pytest.raises(SettingsError, match="name the columns"):
        nt.load(tmp_path / "s.txt", kind="spikes", dims=("time",), units="s")
    trains = spike_trains(
        nt.load(tmp_path / "s.txt", kind="spikes", dims=("unit", "time"), units="s")["spikes"].to_dataset()
    )
    assert [train.tolist() for train in trains] == [[0.1, 0.3], [0.2]]
    with pytest.raises(SchemaError, match="not among the labels"):
        nt.load(tmp_path / "s.txt", kind="spikes", dims=("unit", "time"), units="s", labels=["0", "7"])
    (tmp_path / "s.txt").write_text("0 0.3\n0 0.1\n")
    with pytest.raises(SchemaError, match="not in order"):
        nt.load(tmp_path / "s.txt", kind="spikes", dims=("unit", "time"), units="s")
    (tmp_path / "s.txt").write_text("0 0.3\n0 nan\n")
    with pytest.raises(SchemaError):
        nt.load(tmp_path / "s.txt", kind="spikes", dims=("unit", "time"), units="s")
