"""The recordings that ship with the package load by name, and are what they are said to be."""

import numpy as np
import pytest

import neurotools as nt
from neurotools.errors import FileError, SettingsError

MODALITIES = {"alice-story": "fmri/bold", "eegmmidb": "eeg/signal", "m1-reaching": "counts/counts",
              "songbird-hvc": "calcium/activity"}  # fmt: skip


@pytest.mark.parametrize("name", nt.samples.names())
def test_sample_loads_by_name_and_comes_back(name, comes_back):
    recording = nt.load(name)
    assert nt.signal(recording).identical(recording[MODALITIES[name]])
    comes_back(recording)


@pytest.mark.parametrize("name", nt.samples.names())
def test_sample_says_what_it_is(name):
    sample = nt.samples.describe(name)
    text = repr(sample)
    for words in (sample.what, sample.licence, sample.units):
        assert words.split()[0] in text
    assert max(map(len, text.splitlines())) <= 100
    folder = nt.samples.path(name)
    for needed in ("LICENSE", "CITATION.txt", "README.md", "recording.yaml"):
        assert (folder / needed).stat().st_size > 50
    array = nt.signal(nt.load(name))
    for n in array.shape:
        assert str(n) in sample.shapes


def test_samples_are_found_in_the_folders_and_stay_small():
    assert nt.samples.names() == tuple(sorted(MODALITIES))
    assert sum(nt.samples.describe(name).n_bytes for name in nt.samples.names()) <= 12e6


def test_songbird_is_the_published_matrix():
    recording = nt.load("songbird-hvc")
    activity, song = recording["calcium/activity"], recording["stimulus/spectrogram"]
    assert activity.sizes == {"unit": 75, "time": 666}
    assert song.sizes == {"frequency": 141, "time": 4440}
    assert activity.attrs["sfreq"] == 30
    assert song.attrs["sfreq"] == 200
    assert int((activity != 0).sum()) == 3336
    assert list(activity["unit"].values) == list(range(75))


def test_reaching_keeps_its_clock_and_units():
    recording = nt.load("m1-reaching")
    counts, velocity = recording["counts/counts"], recording["behaviour/hand_velocity"]
    assert counts.sizes == {"time": 15536, "unit": 171}
    assert counts.dtype == np.uint8
    assert counts.attrs["bin_width"] == 0.05
    assert counts.attrs["units"] == "count"
    assert counts["time"].values[0] == pytest.approx(12.591, abs=1e-12)
    assert velocity.attrs["units"] == "m/s"
    np.testing.assert_array_equal(velocity["time"], counts["time"])


def test_story_puts_subjects_side_by_side():
    recording = nt.load("alice-story")
    bold, rate = recording["fmri/bold"], recording["stimulus/word_rate"]
    assert bold.dims == ("subject", "region", "time")
    assert bold.shape == (16, 6, 362)
    assert rate.shape == (16, 362)
    assert list(bold["region"].values) == ["LATL", "RATL", "LPTL", "LIPL", "LPreM", "LIFG"]
    assert bold["time"].values[1] == 2.0
    assert str(bold["protocol"].sel(subject="s38").values) == "not stated"
    assert bold.sel(subject="s18", region="LATL").values[0] == pytest.approx(72.152703)


def test_unknown_sample_suggests_the_nearest():
    with pytest.raises(SettingsError, match="songbird-hvc") as told:
        nt.samples.path("songbird-hvs")
    assert told.value.code == "NT-SET-001"
    with pytest.raises(FileError, match="Did you mean 'songbird-hvc'") as told:
        nt.load("songbird-hvx")
    assert told.value.code == "NT-FILE-001"
