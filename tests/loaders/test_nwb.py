"""NWB files: what is in them arrives with its names, clocks and units; what is wrong in them is named."""

import subprocess
import sys
import warnings
from datetime import UTC, datetime

import h5py
import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import FileError, NeurotoolsError, SchemaError
from neurotools.schema import spike_trains

pynwb = pytest.importorskip("pynwb")
TRAINS = {5: [0.5, 1.25, 9.0], 6: [], 9: [0.25, 0.25, 8.5]}


def empty():
    return pynwb.NWBFile(
        session_description="made for a test", identifier="t1",
        session_start_time=datetime(2024, 5, 17, tzinfo=UTC),
        subject=pynwb.file.Subject(subject_id="m7", species="Mus musculus", age="P90D", sex="F"),
    )  # fmt: skip


def add_electrodes(nwbfile, n=4):
    device = nwbfile.create_device("probe")
    group = nwbfile.create_electrode_group("shank", description="-", location="CA1", device=device)
    for i in range(n):
        nwbfile.add_electrode(group=group, location="CA1" if i < 2 else "CA3", id=10 + i)
    return group


def add_units(nwbfile, trains=TRAINS, **columns):
    for name in columns:
        nwbfile.add_unit_column(name, name)
    for i, (key, train) in enumerate(trains.items()):
        nwbfile.add_unit(
            id=key, spike_times=np.array(train, dtype=float), **{n: v[i] for n, v in columns.items()}
        )


def add_trials(nwbfile, rows=((0.0, 1.0), (2.0, 3.5), (5.0, 6.0)), **columns):
    for name in columns:
        nwbfile.add_trial_column(name, f"what {name} means")
    for i, (start, stop) in enumerate(rows):
        nwbfile.add_trial(start_time=start, stop_time=stop, **{n: v[i] for n, v in columns.items()})


def written(nwbfile, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pynwb.NWBHDF5IO(str(path), "w") as io:
            io.write(nwbfile)
    return path


def series(name, data, cls=None, **keys):
    keys = {"unit": "m", "description": name} | keys
    return (cls or pynwb.TimeSeries)(name=name, data=data, **keys)


# ---- real files -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def human(shared):
    return nt.load(shared("data/spikes_human_mtl_nwb") / "sub-4_ses-4_ecephys+image.nwb")


def test_human_units_trials_and_events(human):
    spikes = human["spikes"]
    assert spikes.sizes == {"unit": 35, "spike": 214_278}
    assert spikes.attrs["t_start"] == 0.0
    assert 2821.0 <= spikes.attrs["t_stop"] < 2822.0
    assert set(spikes["region"].to_numpy()) == {"hippocampus_right", "amygdala_right"}
    assert spikes["channel"].dtype.kind == "i"
    assert human["trials_encoding_table"].sizes == {"trial": 90}
    assert human["trials_recognition_table"].sizes == {"trial": 180}
    assert human["trials_timediscrimination_table"].sizes == {"trial": 180}
    assert human["trials_recognition_table/confidence"].sizes == {"trial": 180}
    assert set(human["trials_encoding_table/stimCategory"].to_numpy()) == {0, 1, 2}
    assert set(human["events/trial_type"].to_numpy()) == {"1", "2", "4", "11", "60", "61"}
    assert set(human["events/experiment_ids"].to_numpy()) == {"70", "71", "72"}
    assert human["stimulus"].sizes == {"event": 90}
    assert human["stimulus/trial_type"].to_numpy()[0] == "NB_24.mp4"
    assert human.attrs["subject_id"] == "4"
    # In the file, but in no list of columns: said rather than passed over.
    assert "recognition_table/response_time" in human.attrs["not_read"]


def test_the_sentinel_is_no_moment_of_the_recording_and_is_stated(human):
    events = human["events"]
    assert events.sizes["event"] == 1716  # of 1717 in the file
    assert events.attrs["n_excluded"] == 1
    assert float(events.attrs["excluded_onset"]) == pytest.approx(-1.5429e9, rel=1e-4)
    assert events.attrs["excluded_value"] == "0"
    assert float(events["onset"].min()) == 0.0
    assert events.attrs["n_steps_back"] == 12  # in the order of the file, which is not that of time


def test_human_spikes_in_bins_and_around_events(human):
    counts = nt.bin_spikes(human, width_s=0.1)
    assert int(counts.sum()) == 214_278
    assert list(counts["region"].to_numpy()) == list(human["spikes"]["region"].to_numpy())
    onset = human["trials_encoding_table"]
    assert nt.psth(human, onset, window=(-0.5, 1.0), width_s=0.05).attrs["n_events"] == 90


def test_one_series_per_neuron(shared):
    folder = shared("data/calcium_celegans_control_nwb")
    recording = nt.load(next(folder.glob("*.nwb")))
    activity = nt.signal(recording)
    assert activity.dims == ("unit", "time")
    assert activity.shape == (62, 2244)
    assert activity["unit"].to_numpy()[[0, 61]].tolist() == ["Activity_0000", "Activity_0061"]
    assert float(np.median(np.diff(activity["time"]))) == pytest.approx(0.166, abs=1e-3)
    assert activity.attrs["units"] == "arbitrary"  # the file says "none"
    position = recording["behaviour/ss_2D"]
    assert position.dims == ("time", "axis")
    assert position.attrs["units"] == "m"
    notes = [finding for finding in nt.validate(recording) if finding.where == "calcium/time"]
    assert "41.165" in notes[0].found  # a pause in the recording, told by the validator


@pytest.mark.parametrize("name", ["spikes_human_mtl_nwb", "calcium_celegans_control_nwb"])
def test_real_files_survive_the_disk(shared, comes_back, name):
    comes_back(nt.load(next(shared(f"data/{name}").glob("*.nwb"))))


# ---- units ------------------------------------------------------------------------------------------
def test_units_with_their_columns(tmp_path, comes_back):
    nwbfile = empty()
    add_electrodes(nwbfile)
    nwbfile.add_unit_column("quality", "-")
    for key, where in ((5, [0]), (6, [0, 1]), (9, [1, 2])):
        nwbfile.add_unit(
            id=key, spike_times=np.array(TRAINS[key], dtype=float), electrodes=where, quality=f"q{key}",
            waveform_mean=np.zeros((4, 2)),
        )  # fmt: skip
    recording = nt.load(written(nwbfile, tmp_path / "a.nwb"))
    spikes = recording["spikes"].to_dataset()
    for train, expected in zip(spike_trains(spikes), TRAINS.values(), strict=True):
        np.testing.assert_array_equal(train, expected)  # a unit without spikes is legal
    assert spikes["unit"].to_numpy().tolist() == [5, 6, 9]
    assert spikes["quality"].to_numpy().tolist() == ["q5", "q6", "q9"]
    assert spikes["channel"].to_numpy().tolist() == ["10", "10,11", "11,12"]
    assert spikes["region"].to_numpy().tolist() == ["CA1", "CA1", "CA1,CA3"]
    assert "units/waveform_mean" in recording.attrs["not_read"]
    assert recording.attrs["species"] == "Mus musculus"
    comes_back(recording)


def test_the_span_is_that_of_everything_in_the_file(tmp_path):
    nwbfile = empty()
    add_units(nwbfile, {0: [4399.0, 4401.0]})
    nwbfile.add_acquisition(series("speed", np.zeros(11), rate=1.0, starting_time=4397.0))
    spikes = nt.load(written(nwbfile, tmp_path / "a.nwb"))["spikes"]
    # A recording that begins at 4397 s keeps its clock, and no empty hour is put before it.
    assert (spikes.attrs["t_start"], spikes.attrs["t_stop"]) == (4397.0, 4407.0)


def test_observed_intervals_bound_the_recording():
    nwbfile = empty()
    nwbfile.add_unit(spike_times=[2.0, 3.0], obs_intervals=[[1.0, 10.0]])
    recording = nt.from_nwb(nwbfile)
    assert (recording["spikes"].attrs["t_start"], recording["spikes"].attrs["t_stop"]) == (1.0, 10.0)
    assert "units/obs_intervals" in recording.attrs["not_read"]


def test_spike_times_that_cannot_be_are_counted_per_unit(tmp_path):
    nwbfile = empty()
    add_units(nwbfile, {5: [0.5, np.nan, 2.0, np.nan], 6: [1.0], 9: [-3.0, -0.5, 0.25]})
    path = written(nwbfile, tmp_path / "a.nwb")
    with pytest.raises(SchemaError) as caught:
        nt.load(path)
    error = caught.value
    assert error.code == "NT-DATA-003"
    assert "2 are not finite and 2 are negative" in error.problem
    assert error.where == "unit 5: 2 not finite, 0 negative; unit 9: 0 not finite, 2 negative"
    assert error.found == "4 of 8 spikes, in 2 of 3 units"
    assert error.path == str(path)
    with pytest.raises(SchemaError):
        nt.load(path, sort=True)  # sorting is no cure for these


def test_unsorted_spikes_are_an_error_unless_sorting_is_asked_for(tmp_path):
    nwbfile = empty()
    add_units(nwbfile, {5: [3.0, 1.0, 2.0, 0.5], 6: [1.0, 2.0]})
    path = written(nwbfile, tmp_path / "a.nwb")
    with pytest.raises(SchemaError, match="not in order") as caught:
        nt.load(path)
    assert caught.value.code == "NT-DATA-004"
    assert caught.value.where == "unit 5: 2 steps back"
    assert "sort=True" in caught.value.fix
    spikes = nt.load(path, sort=True)["spikes"].to_dataset()
    np.testing.assert_array_equal(spike_trains(spikes)[0], [0.5, 1.0, 2.0, 3.0])
    assert spikes.attrs["n_units_sorted"] == 1


def test_unit_ids_that_occur_twice_are_refused():
    nwbfile = empty()
    for _ in range(2):
        nwbfile.add_unit(id=3, spike_times=[1.0])
    with pytest.raises(SchemaError, match="more than once") as caught:
        nt.from_nwb(nwbfile)
    assert caught.value.code == "NT-DATA-006"


# ---- intervals --------------------------------------------------------------------------------------
def test_trials_and_further_tables(tmp_path, comes_back):
    nwbfile = empty()
    add_trials(nwbfile, choice=["left", "right", "left"], start=[1, 2, 3], correct=[True, False, True])
    nwbfile.add_epoch(0.0, 6.0, tags=["task", "loud"])
    table = pynwb.epoch.TimeIntervals(name="tones", description="tones")
    table.add_column("volume", "dB")
    table.add_interval(start_time=1.0, stop_time=1.5, volume=60.0)
    nwbfile.add_time_intervals(table)
    recording = nt.load(written(nwbfile, tmp_path / "a.nwb"))
    trials = recording["trials"]
    np.testing.assert_array_equal(trials["start"], [0.0, 2.0, 5.0])
    np.testing.assert_array_equal(trials["start_"], [1, 2, 3])
    assert trials["choice"].to_numpy().tolist() == ["left", "right", "left"]
    assert trials["choice"].attrs["description"] == "what choice means"
    assert trials["correct"].dtype == bool
    assert recording["epochs/tags"].to_numpy().tolist() == ["task, loud"]
    np.testing.assert_array_equal(recording["trials_tones/volume"], [60.0])
    comes_back(recording)


def test_trials_that_stop_before_they_start_are_an_error(tmp_path):
    nwbfile = empty()
    add_trials(nwbfile, rows=((0.0, 1.0), (3.0, 2.0), (5.0, np.nan), (7.0, 8.0)))
    with pytest.raises(SchemaError, match="stop after they start") as caught:
        nt.load(written(nwbfile, tmp_path / "a.nwb"))
    error = caught.value
    assert error.code == "NT-DATA-009"
    assert error.where == "intervals/trials, rows 1, 2"
    assert "2 of 4 rows; row 1 has start 3 s, stop 2 s" in error.found


# ---- events and stimuli -----------------------------------------------------------------------------
def test_events_of_every_kind(tmp_path, comes_back):
    nwbfile = empty()
    stamps = np.array([0.5, 0.75, 2.0, 4.0])
    nwbfile.add_acquisition(series("ttl", np.array([1, 2, 1, 4], "int8"), timestamps=stamps, unit="NA"))
    nwbfile.add_acquisition(series("block", np.array([7, 7, 8, 8], "int8"), timestamps=stamps, unit="NA"))
    nwbfile.add_acquisition(
        pynwb.misc.AnnotationSeries(
            name="notes", data=["awake", "asleep"], timestamps=[1.0, 3.0], description="-"
        )
    )
    module = nwbfile.create_processing_module("behavior", "-")
    licks = pynwb.behavior.BehavioralEvents(name="licks")
    licks.create_timeseries("lick", data=[1.0, 1.0], timestamps=[0.2, 0.9], unit="a.u.")
    module.add(licks)
    recording = nt.load(written(nwbfile, tmp_path / "a.nwb"))
    # Series of the same moments are columns of one table, whichever comes first in the file.
    first = recording["events"]
    np.testing.assert_array_equal(first["onset"], stamps)
    assert {"trial_type", "value"} <= set(first.data_vars)
    assert ("ttl" in first.data_vars) != ("block" in first.data_vars)
    assert recording["events_notes/trial_type"].to_numpy().tolist() == ["awake", "asleep"]
    np.testing.assert_array_equal(recording["events_lick/onset"], [0.2, 0.9])
    comes_back(recording)


@pytest.mark.skipif(not hasattr(pynwb.NWBFile, "add_events_table"), reason="no EventsTable in this pynwb")
def test_tables_of_events(tmp_path, comes_back):
    nwbfile = empty()
    table = nwbfile.create_events_table(name="licks", description="-")
    table.add_column("side", "-")
    for onset, duration, side in ((0.5, 0.1, "left"), (2.0, 0.2, "right")):
        table.add_event(timestamp=onset, duration=duration, annotation=f"{side} lick", side=side)
    recording = nt.load(written(nwbfile, tmp_path / "a.nwb"))
    events = recording["events"]
    np.testing.assert_array_equal(events["onset"], [0.5, 2.0])
    np.testing.assert_array_equal(events["duration"], [0.1, 0.2])
    assert events["trial_type"].to_numpy().tolist() == ["left lick", "right lick"]
    assert events["side"].to_numpy().tolist() == ["left", "right"]
    comes_back(recording)


def test_event_times_that_are_not_finite_are_an_error():
    nwbfile = empty()
    nwbfile.add_acquisition(
        series("ttl", np.array([1, 2, 1, 2, 1]), timestamps=[0.5, np.nan, 4.0, 4.5, 9.0], unit="NA")
    )
    with pytest.raises(SchemaError, match="event times are not finite") as caught:
        nt.from_nwb(nwbfile)
    assert (caught.value.code, caught.value.where) == ("NT-DATA-003", "acquisition/ttl")


def test_stimuli(tmp_path):
    nwbfile = empty()
    nwbfile.add_stimulus(
        pynwb.image.ImageSeries(
            name="clips", external_file=["a.mp4", "b.mp4"], timestamps=[1.0, 5.0], format="external",
            starting_frame=[0, 0], unit="n.a.", description="-",
        )
    )  # fmt: skip
    nwbfile.add_stimulus(series("sound", np.arange(8.0), rate=4.0, unit="volts"))
    nwbfile.add_acquisition(
        pynwb.image.ImageSeries(
            name="camera", data=np.zeros((3, 4, 4), "u1"), rate=1.0, unit="n.a.", description="-"
        )
    )
    recording = nt.load(written(nwbfile, tmp_path / "a.nwb"))
    assert recording["stimulus/trial_type"].to_numpy().tolist() == ["a.mp4", "b.mp4"]
    keys = {
        "external_file": ["a.mp4", "b.mp4"], "rate": 10.0, "starting_time": 2.0, "format": "external",
        "starting_frame": [0, 50], "unit": "n.a.", "description": "-",
    }  # fmt: skip
    counted = {"num_samples": 100} if "num_samples" in pynwb.image.ImageSeries.__init__.__doc__ else {}
    movies = pynwb.image.ImageSeries(name="movies", **keys, **counted)
    other = empty()
    other.add_stimulus(movies)
    np.testing.assert_allclose(nt.from_nwb(other)["stimulus/onset"], [2.0, 7.0])
    sound = recording["stimulus_sound/sound"]
    assert (sound.attrs["units"], sound.attrs["sfreq"]) == ("V", 4.0)
    assert "acquisition/camera" in recording.attrs["not_read"]


# ---- calcium ----------------------------------------------------------------------------------------
def add_calcium(nwbfile, data, *, container=pynwb.ophys.Fluorescence, name="RoiResponseSeries", **keys):
    if "plane" not in nwbfile.imaging_planes:
        device = nwbfile.create_device("scope")
        channel = pynwb.ophys.OpticalChannel(name="green", description="-", emission_lambda=510.0)
        plane = nwbfile.create_imaging_plane(
            name="plane", optical_channel=channel, description="-", device=device, excitation_lambda=920.0,
            indicator="GCaMP6s", location="V1", imaging_rate=30.0,
        )  # fmt: skip
        module = nwbfile.create_processing_module("ophys", "-")
        segmentation = pynwb.ophys.ImageSegmentation()
        module.add(segmentation)
        table = segmentation.create_plane_segmentation("-", plane, name="cells")
        for i in range(data.shape[1]):
            table.add_roi(id=100 + i, pixel_mask=[(i, i, 1.0)])
        table.add_column("accepted", "-", data=[bool(i % 2) for i in range(data.shape[1])])
    module = nwbfile.processing["ophys"]
    table = module["ImageSegmentation"]["cells"]
    region = table.create_roi_table_region("-", region=list(range(data.shape[1])))
    holder = container.__name__ if container is pynwb.ophys.DfOverF else name
    if holder not in module.data_interfaces:
        module.add(container(name=holder))
    keys = {"unit": "lumens", "rate": 30.0} | keys
    module[holder].create_roi_response_series(name=name, data=data, rois=region, **keys)


def test_roi_traces(tmp_path, rng, comes_back):
    data = rng.normal(size=(50, 4)).astype("float32")
    nwbfile = empty()
    add_calcium(nwbfile, data, starting_time=2.0)
    recording = nt.load(written(nwbfile, tmp_path / "a.nwb"))
    activity = recording["calcium/activity"]
    np.testing.assert_array_equal(activity, data.T)
    assert activity.dtype == np.float32
    assert activity["unit"].to_numpy().tolist() == [100, 101, 102, 103]
    assert activity["accepted"].to_numpy().tolist() == [False, True, False, True]
    assert activity.attrs["sfreq"] == 30.0
    assert float(activity["time"][0]) == 2.0
    assert activity.attrs["location"] == "V1"
    assert activity.attrs["indicator"] == "GCaMP6s"
    comes_back(recording)


def test_ratio_before_raw_and_the_rest_beside_it(tmp_path, rng):
    data = rng.normal(size=(50, 4))
    nwbfile = empty()
    for name, shift in (("Fluorescence", 10.0), ("Neuropil", 20.0), ("Deconvolved", 30.0)):
        add_calcium(nwbfile, data + shift, name=name)
    add_calcium(nwbfile, data, container=pynwb.ophys.DfOverF, name="ratio", unit="n.a.")
    node = nt.load(written(nwbfile, tmp_path / "a.nwb"))["calcium"]
    np.testing.assert_array_equal(node["activity"], data.T)
    np.testing.assert_array_equal(node["Neuropil"], data.T + 20.0)
    assert set(node.data_vars) == {"activity", "Fluorescence", "Neuropil", "Deconvolved"}
    chosen = nt.load(tmp_path / "a.nwb", array="Fluorescence")["calcium/activity"]
    np.testing.assert_array_equal(chosen, data.T + 10.0)


def test_a_choice_between_traces_is_asked_for(tmp_path, rng):
    nwbfile = empty()
    for name in ("green", "red"):
        add_calcium(nwbfile, rng.normal(size=(50, 4)), name=name)
    path = written(nwbfile, tmp_path / "a.nwb")
    with pytest.raises(FileError, match="must be named") as caught:
        nt.load(path)
    assert caught.value.code == "NT-FILE-006"
    assert "processing/ophys/green" in caught.value.found
    assert nt.load(path, array="processing/ophys/red")["calcium/activity"].shape == (4, 50)
    with pytest.raises(FileError, match="no series named 'gren'") as caught:
        nt.load(path, array="gren")
    assert caught.value.code == "NT-FILE-008"


def test_numbered_series_are_neurons_only_where_something_says_so(rng):
    def made(stem, description):
        nwbfile = empty()
        for i in (0, 1, 2, 10):
            nwbfile.add_acquisition(
                series(f"{stem}{i}", rng.normal(size=20), rate=5.0, description=description)
            )
        return nwbfile

    activity = nt.from_nwb(made("cell_", "-"))["calcium/activity"]
    assert activity["unit"].to_numpy().tolist() == ["cell_0", "cell_1", "cell_2", "cell_10"]  # by number
    assert nt.from_nwb(made("s", "Neuron 3"))["calcium/activity"].shape == (4, 20)
    plain = nt.from_nwb(made("channel", "a voltage"))
    assert "calcium" not in plain.children
    assert plain["series"].sizes["time"] == 20
    assert nt.from_nwb(made("channel", "-"), kind="calcium")["calcium/activity"].shape == (4, 20)


def test_neurons_must_share_their_clock(rng):
    nwbfile = empty()
    for i in range(3):
        nwbfile.add_acquisition(series(f"neuron{i}", rng.normal(size=20), rate=5.0 + (i == 2)))
    with pytest.raises(SchemaError, match="do not share their clock") as caught:
        nt.from_nwb(nwbfile)
    assert caught.value.where == "acquisition/neuron2"


# ---- voltages and behaviour ---------------------------------------------------------------------------
def test_voltages_in_volts_with_their_places(tmp_path, rng):
    data = rng.integers(-1000, 1000, (200, 3)).astype("int16")
    nwbfile = empty()
    add_electrodes(nwbfile)
    region = nwbfile.create_electrode_table_region([2, 0, 1], "-")
    nwbfile.add_acquisition(
        pynwb.ecephys.ElectricalSeries(
            "raw",
            data,
            region,
            rate=1000.0,
            conversion=0.195e-6,
            offset=1e-6,
            channel_conversion=[1.0, 2.0, 3.0],
        )
    )
    path = written(nwbfile, tmp_path / "a.nwb")
    signal = nt.load(path)["ephys/signal"]
    expected = data.T * np.array([[1.0], [2.0], [3.0]]) * 0.195e-6 + 1e-6
    np.testing.assert_allclose(signal, expected, rtol=1e-12)
    assert signal.attrs["units"] == "V"
    assert signal["channel"].to_numpy().tolist() == ["12", "10", "11"]
    assert signal["region"].to_numpy().tolist() == ["CA3", "CA1", "CA1"]
    assert nt.load(path, kind="ecog")["ecog/signal"].shape == (3, 200)


def test_behaviour_on_two_clocks(tmp_path, rng, comes_back):
    nwbfile = empty()
    module = nwbfile.create_processing_module("behavior", "-")
    position = pynwb.behavior.Position(name="Position")
    position.create_spatial_series("body", rng.normal(size=(30, 2)), reference_frame="corner", rate=10.0)
    module.add(position)
    more = pynwb.behavior.BehavioralTimeSeries(name="more")
    more.create_timeseries("speed", data=np.arange(30), rate=10.0, unit="cm/s", conversion=0.5)
    more.create_timeseries("pupil", data=np.arange(7.0), timestamps=np.arange(7) * 0.5, unit="mm")
    module.add(more)
    recording = nt.load(written(nwbfile, tmp_path / "a.nwb"))
    assert recording["behaviour/body"].dims == ("time", "axis")
    assert recording["behaviour"]["axis"].to_numpy().tolist() == ["x", "y"]
    speed = recording["behaviour/speed"]
    np.testing.assert_allclose(speed, np.arange(30) * 0.5 / 100)
    assert (speed.attrs["units"], speed.attrs["units_in_file"]) == ("m/s", "cm/s")
    np.testing.assert_allclose(recording["behaviour_pupil/pupil"], np.arange(7) / 1000)
    comes_back(recording)


def test_stamps_of_a_series_that_step_back(tmp_path):
    nwbfile = empty()
    stamps = [0.0, 0.1, 0.3, 0.2, 0.4]
    nwbfile.add_acquisition(series("speed", np.arange(5.0), timestamps=stamps))
    path = written(nwbfile, tmp_path / "a.nwb")
    with pytest.raises(SchemaError, match="do not increase") as caught:
        nt.load(path)
    error = caught.value
    assert (error.code, error.where) == ("NT-DATA-004", "acquisition/speed")
    assert "1 of 4 steps, 1 of them backwards" in error.found
    speed = nt.load(path, sort=True)["series/speed"]
    np.testing.assert_array_equal(speed, [0.0, 1.0, 3.0, 2.0, 4.0])
    np.testing.assert_array_equal(speed["time"], np.sort(stamps))
    assert speed.attrs["n_times_sorted"] == 1


@pytest.mark.parametrize(
    ("stamps", "message"),
    [([0.0, 0.1, 0.1, 0.2], "do not increase"), ([0.0, np.nan, 0.2, 0.3], "not finite")],
)
def test_stamps_that_cannot_be(stamps, message):
    nwbfile = empty()
    nwbfile.add_acquisition(series("speed", np.arange(4.0), timestamps=stamps))
    with pytest.raises(SchemaError, match=message):
        nt.from_nwb(nwbfile, sort=True)


def test_stamps_and_samples_that_differ_in_number(tmp_path):
    nwbfile = empty()
    nwbfile.add_acquisition(series("speed", np.arange(4.0), timestamps=[0.0, 0.1, 0.2, 0.3]))
    path = written(nwbfile, tmp_path / "a.nwb")
    with h5py.File(path, "r+") as file:
        attrs = dict(file["acquisition/speed/timestamps"].attrs)
        del file["acquisition/speed/timestamps"]
        file["acquisition/speed"].create_dataset("timestamps", data=np.arange(3.0)).attrs.update(attrs)
    with pytest.raises(SchemaError, match="differ in number") as caught:
        nt.load(path)
    assert (caught.value.found, caught.value.expected) == ("3 stamps", "4 samples")


# ---- objects, inspector, large files ------------------------------------------------------------------
def test_an_object_in_memory_reads_as_its_file_does(tmp_path, rng):
    def made():
        nwbfile = empty()
        add_units(nwbfile, depth=[1.0, 2.0, 3.0])
        add_trials(nwbfile, choice=["l", "r", "l"])
        add_calcium(nwbfile, np.arange(200.0).reshape(50, 4))
        return nwbfile

    recording = nt.load(written(made(), tmp_path / "a.nwb"))
    for name in ("format", "source"):
        del recording.attrs[name]
    xr.testing.assert_identical(nt.from_nwb(made()), recording)
    with pytest.raises(SchemaError, match=r"pynwb\.NWBFile is needed"):
        nt.from_nwb(str(tmp_path / "a.nwb"))


def test_every_fault_that_nwbinspector_calls_wrong_is_refused(tmp_path):
    """Files with one fault each: where the inspector has a finding of that kind, reading is an error."""
    inspector = pytest.importorskip("nwbinspector")
    faults = {
        "check_negative_spike_times": lambda f: add_units(f, {0: [-1.0, 2.0]}),
        "check_ascending_spike_times": lambda f: add_units(f, {0: [3.0, 1.0, 2.0]}),
        "check_time_intervals_stop_after_start": lambda f: add_trials(f, rows=((1.0, 2.0), (4.0, 3.0))),
        "check_timestamps_ascending": lambda f: f.add_acquisition(
            series("speed", np.arange(4.0), timestamps=[0.0, 0.2, 0.1, 0.3])
        ),
    }
    for check, plant in faults.items():
        nwbfile = empty()
        plant(nwbfile)
        path = written(nwbfile, tmp_path / f"{check}.nwb")
        with pytest.raises(SchemaError) as caught:
            nt.load(path)
        assert caught.value.path == str(path)
        found = {str(message.check_function_name) for message in inspector.inspect_nwbfile(nwbfile_path=path)}
        assert check in found, f"{check} is not among {sorted(found)}"


def test_arrays_left_on_disk_read_the_same(tmp_path, rng, monkeypatch):
    data = rng.integers(-1000, 1000, (200, 3)).astype("int16")
    nwbfile = empty()
    add_electrodes(nwbfile)
    region = nwbfile.create_electrode_table_region([2, 0, 1], "-")
    keys = {"rate": 1000.0, "conversion": 1e-6, "channel_conversion": [1.0, 2.0, 3.0]}
    nwbfile.add_acquisition(pynwb.ecephys.ElectricalSeries(name="raw", data=data, electrodes=region, **keys))
    add_calcium(nwbfile, rng.normal(size=(50, 4)))
    path = written(nwbfile, tmp_path / "a.nwb")
    whole = nt.load(path)
    monkeypatch.setattr("neurotools.loaders.nwb.arrays.LAZY_BYTES", 100)
    lazy = nt.load(path)
    for name in ("ephys/signal", "calcium/activity"):
        assert not isinstance(lazy[name].variable._data, np.ndarray)
        for part in (
            (slice(None), slice(None)), (0, slice(5, 40)), (slice(1, 3), 7), (2, 3), (slice(None), -1),
            (slice(None, None, -1), slice(None, None, -7)), ([2, 0], [5, 40, 3]), (slice(0, 0), slice(3, 3)),
        ):  # fmt: skip
            np.testing.assert_array_equal(lazy[name][part], whole[name][part])
    xr.testing.assert_identical(lazy.load(), whole)
    gone = nt.load(path)["ephys/signal"]
    path.unlink()
    with pytest.raises(FileError, match="a part of the recording"):
        gone[0, 0].to_numpy()


def test_large_arrays_stay_on_disk_and_memory_is_bounded(tmp_path):
    """64 MB on disk, 256 MB as float64: a part of it costs a few times that part."""
    n, channels = 500_000, 64
    small = empty()
    add_trials(small)
    written(small, tmp_path / "small.nwb")
    nwbfile = empty()
    add_electrodes(nwbfile, channels)
    region = nwbfile.create_electrode_table_region(list(range(channels)), "-")
    data = np.zeros((n, channels), "int16")
    data[::1000] = 1
    nwbfile.add_acquisition(
        pynwb.ecephys.ElectricalSeries(name="raw", data=data, electrodes=region, rate=1000.0, conversion=1e-6)
    )
    path = written(nwbfile, tmp_path / "large.nwb")
    del data, nwbfile
    script = f"""
import numpy as np, neurotools as nt, pynwb, xarray, h5py
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(l for l in lines if l.startswith("VmHWM")).split()[1]) / 1024
nt.load({str(tmp_path / "small.nwb")!r})
before = peak()
signal = nt.load({str(path)!r})["ephys/signal"]
assert not isinstance(signal.variable._data, np.ndarray)
opened = peak()
part = signal[:, 200_000:220_000].to_numpy()
assert part.shape == (64, 20_000) and part[0, 0] == 1e-6 and abs(part.sum() - 64 * 20e-6) < 1e-9
print(opened - before, peak() - opened)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    to_open, to_read = map(float, result.stdout.split())
    part_mb = 64 * 20_000 * 8 / 2**20
    assert to_open < 4 * n * 8 / 2**20 + 10  # the time axis, its index and the checks on them
    assert to_read < 3 * part_mb + 10


def test_a_file_that_claims_too_much_is_refused_before_memory_is_taken(tmp_path):
    from neurotools.loaders.reading.limits import limited_to

    nwbfile = empty()
    add_units(nwbfile, {0: np.arange(2000.0)})
    path = written(nwbfile, tmp_path / "a.nwb")
    with limited_to(10_000), pytest.raises(FileError) as caught:
        nt.load(path)
    assert caught.value.code == "NT-FILE-005"


# ---- files that are no NWB, or were ---------------------------------------------------------------------
def test_cut_and_junk_files_end_in_one_kind_of_error(tmp_path):
    nwbfile = empty()
    add_units(nwbfile)
    whole = written(nwbfile, tmp_path / "a.nwb").read_bytes()
    for n in (len(whole) // 2, len(whole) - 100):
        (tmp_path / "cut.nwb").write_bytes(whole[:n])
        with pytest.raises(FileError, match="cut short") as caught:
            nt.load(tmp_path / "cut.nwb")
        assert caught.value.code == "NT-FILE-003"
        assert caught.value.found == f"{n} bytes"
    (tmp_path / "junk.nwb").write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(FileError) as caught:
        nt.load(tmp_path / "junk.nwb")
    assert caught.value.code == "NT-FILE-002"


def test_values_in_other_files_are_not_followed(tmp_path):
    """An HDF5 dataset may take its values from any file of the computer; such a file is refused."""
    nwbfile = empty()
    nwbfile.add_acquisition(series("speed", np.arange(4.0), rate=1.0))
    path = written(nwbfile, tmp_path / "a.nwb")
    (tmp_path / "secret").write_bytes(np.arange(4.0).tobytes())
    with h5py.File(path, "r+") as file:
        attrs = dict(file["acquisition/speed/data"].attrs)
        del file["acquisition/speed/data"]
        file["acquisition/speed"].create_dataset(
            "data", (4,), "f8", external=[(str(tmp_path / "secret"), 0, 32)]
        ).attrs.update(attrs)
    with pytest.raises(FileError, match="from other files") as caught:
        nt.load(path)
    assert caught.value.code == "NT-FILE-008"


def test_an_empty_file_says_so(tmp_path):
    with pytest.raises(FileError, match="nothing that neurotools reads") as caught:
        nt.load(written(empty(), tmp_path / "a.nwb"))
    assert caught.value.code == "NT-DATA-010"


def test_damaged_files_end_in_a_reading_or_a_named_error(tmp_path, damaged):
    nwbfile = empty()
    add_electrodes(nwbfile, 2)
    add_units(nwbfile, quality=["a", "b", "c"])
    add_trials(nwbfile, choice=["l", "r", "l"])
    nwbfile.add_acquisition(series("ttl", np.array([1, 2, 1]), timestamps=[0.5, 1.0, 9.0], unit="NA"))
    path = written(nwbfile, tmp_path / "a.nwb")
    content = path.read_bytes()
    damaged(content, path, n=30, seed=1)
    # Where the data and the object headers lie, past the cached schema.
    rng = np.random.default_rng(2)
    n_read = 0
    with h5py.File(path) as file:
        stored = file["units/spike_times"].id
        at = stored.get_offset() or stored.get_chunk_info(0).byte_offset
    for _ in range(12):
        data = bytearray(content)
        data[at + int(rng.integers(40))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(data))
        try:
            nt.load(path)
            n_read += 1
        except NeurotoolsError:
            pass
    assert 0 < n_read < 12
