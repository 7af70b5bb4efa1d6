"""The bridge to pynapple and its files: the same objects come back, and nothing is dropped in between."""

import os

import numpy as np
import pynapple as nap
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import FileError, NeurotoolsError, SchemaError, SettingsError
from neurotools.provenance import open_saved


def group(**metadata):
    support = nap.IntervalSet([0.0, 20.0], [10.0, 30.0])
    members = {
        3: nap.Ts([0.5, 1.0, 25.0], time_support=support),
        7: nap.Ts([], time_support=support),
        11: nap.Ts([2.0, 2.5, 9.999, 30.0], time_support=support),
    }
    return nap.TsGroup(members, time_support=support, metadata=metadata or None)


def frame(n=50):
    rng = np.random.default_rng(0)
    return nap.TsdFrame(
        t=4397.0 + np.arange(n) * 0.1, d=rng.normal(size=(n, 3)), columns=["x", "y", "speed"],
        metadata={"measured": ["px", "px", "px/s"]},
    )  # fmt: skip


OBJECTS = {
    "group": lambda: group(region=["CA1", "CA1", "CA3"], depth=[1.5, 2.0, -3.0]),
    "group of one support": lambda: nap.TsGroup(
        {0: nap.Ts([1.0, 2.0]), 1: nap.Ts([0.0, 5.0])}, time_support=nap.IntervalSet(0.0, 6.0)
    ),
    "group with values": lambda: nap.TsGroup(
        {0: nap.Tsd(t=[1.0, 2.0], d=[0.1, 0.2]), 4: nap.Tsd(t=[0.0, 5.0], d=[0.3, 0.4])}
    ),
    "frame": frame,
    "frame of one column": lambda: nap.TsdFrame(t=np.arange(5.0), d=np.ones((5, 1)), columns=[9]),
    "series": lambda: nap.Tsd(t=np.arange(5) / 30, d=np.arange(5)),
    "series on two epochs": lambda: nap.Tsd(
        t=[0.0, 1.0, 8.0, 9.0], d=np.arange(4.0), time_support=nap.IntervalSet([0, 7], [2, 9.5])
    ),
    "tensor": lambda: nap.TsdTensor(t=np.arange(6.0), d=np.arange(48).reshape(6, 4, 2)),
    "times": lambda: nap.Ts([0.0, 0.25, 8.0]),
    "times within": lambda: nap.Ts([0.5, 0.75], time_support=nap.IntervalSet([0, 5], [1, 6])),
    "intervals": lambda: nap.IntervalSet([0.0, 2.0], [1.0, 3.5], metadata={"rewarded": [True, False]}),
}


def assert_same(left, right):
    """Equality of pynapple objects, to the last bit: class, times, values, support, labels and metadata."""
    assert type(left) is type(right)
    if isinstance(left, nap.IntervalSet):
        assert np.array_equal(left.values, right.values)
    else:
        assert_same(left.time_support, right.time_support)
    if isinstance(left, nap.TsGroup):
        assert list(left.keys()) == list(right.keys())
        for key in left.index:
            assert_same(left[key], right[key])
    elif not isinstance(left, nap.IntervalSet):
        assert np.array_equal(left.t, right.t)
    if hasattr(left, "values") and not isinstance(left, nap.TsGroup):
        assert np.array_equal(left.values, right.values)
        assert left.values.dtype == right.values.dtype
    if isinstance(left, nap.TsdFrame):
        assert list(left.columns) == list(right.columns)
    for name in set(getattr(left, "metadata_columns", [])) | set(getattr(right, "metadata_columns", [])):
        assert list(left.get_info(name)) == list(right.get_info(name))


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_comes_back_identical(name):
    obj = OBJECTS[name]()
    recording = nt.from_pynapple(obj)
    assert not [finding for finding in nt.validate(recording) if finding.level == "error"]
    assert_same(nt.to_pynapple(recording), obj)


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_it_survives_the_disk(name, suffix, tmp_path):
    recording = nt.from_pynapple(OBJECTS[name]())
    nt.save(recording, tmp_path / f"r{suffix}")
    back = open_saved(tmp_path / f"r{suffix}")
    xr.testing.assert_identical(back, recording)
    assert_same(nt.to_pynapple(back), OBJECTS[name]())


def test_a_recording_of_several_objects_goes_and_returns():
    objects = {"spikes": group(), "behaviour/x": OBJECTS["series"](), "trials": OBJECTS["intervals"]()}
    back = nt.to_pynapple(nt.from_pynapple(objects))
    assert set(back) == {"spikes", "behaviour/x", "trials"}
    for name, obj in objects.items():
        assert_same(back[name], obj)


def test_series_on_different_clocks_get_nodes_of_their_own():
    recording = nt.from_pynapple({"x": OBJECTS["series"](), "y": nap.Tsd(t=np.arange(9.0), d=np.arange(9.0))})
    assert recording["behaviour/x"].sizes == {"time": 5}
    assert recording["behaviour_y/y"].sizes == {"time": 9}


def test_a_frame_as_calcium_and_as_eeg():
    calcium = nt.from_pynapple(frame(), kind="calcium")["calcium/activity"]
    assert calcium.dims == ("unit", "time")
    assert calcium["time"].to_numpy()[0] == 4397.0  # the clock of the recording is kept
    np.testing.assert_array_equal(calcium.T, frame().values)
    eeg = nt.from_pynapple(frame(), kind="eeg", units="uV")["eeg/signal"]
    np.testing.assert_array_equal(eeg.T, frame().values / 1e6)
    assert eeg.attrs["units"] == "V"
    assert_same(nt.to_pynapple(nt.from_pynapple(frame(), kind="calcium")), frame())


def test_what_a_series_cannot_be_is_said():
    with pytest.raises(SettingsError, match="bin_spikes") as caught:
        nt.from_pynapple(frame(), kind="counts")
    assert caught.value.code == "NT-SET-001"
    with pytest.raises(SchemaError, match="object of pynapple is needed"):
        nt.from_pynapple(np.arange(3))
    with pytest.raises(SchemaError, match="one row per unit"):
        nt.from_pynapple(OBJECTS["tensor"](), kind="calcium")


def test_labels_that_are_text_travel_as_metadata():
    recording = nt.from_pynapple(group())
    named = recording["spikes"].to_dataset().assign_coords(unit=["a", "b", "c"])
    there = nt.to_pynapple(named)
    assert list(there.index) == [0, 1, 2]
    back = nt.from_pynapple(there)["spikes"]
    assert list(back["unit"].to_numpy()) == ["a", "b", "c"]
    np.testing.assert_array_equal(back["spike_time"], named["spike_time"])


def test_trials_that_pynapple_would_join_are_refused():
    trials = nt.from_pynapple(OBJECTS["intervals"]())["trials"].to_dataset()
    overlapping = trials.assign(start=trials["start"] * 0.25)
    with pytest.raises(SchemaError, match="join or shorten") as caught:
        nt.to_pynapple(overlapping)
    assert "1 of 2" in caught.value.found


def test_events_of_several_kinds_become_several_objects():
    from neurotools.schema import events_table

    events = events_table([3.0, 1.0, 2.0], 0.0, ["go", "stop", "go"])
    found = nt.to_pynapple(events)
    assert set(found) == {"go", "stop"}
    np.testing.assert_array_equal(found["go"].t, [2.0, 3.0])


def test_nan_times_are_refused_though_pynapple_keeps_them():
    with pytest.warns(UserWarning, match="not sorted"):
        bad = nap.Tsd(t=np.array([0.0, 1.0, np.nan, 2.0]), d=np.arange(4.0))
    with pytest.raises(SchemaError, match="not finite") as caught:
        nt.from_pynapple(bad)
    assert caught.value.code == "NT-DATA-004"
    assert caught.value.found == "1 of 4"


# ---- files ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", OBJECTS)
def test_a_file_of_pynapple_loads_as_its_object_does(name, tmp_path):
    obj = OBJECTS[name]()
    obj.save(str(tmp_path / "saved.npz"))
    recording = nt.load(tmp_path / "saved.npz")
    assert recording.attrs["format"] == "pynapple"
    expected = nt.from_pynapple(obj)
    for node in expected.children:
        left = recording[node].to_dataset()
        right = expected[node].to_dataset()
        assert dict(left.sizes) == dict(right.sizes)
        for variable in left.data_vars:
            np.testing.assert_array_equal(left[variable], right[variable])
    # Metadata and names that are text lie in the file as pickled objects, which are not opened.
    with np.load(tmp_path / "saved.npz") as stored:
        pickled = "_metadata" in stored.files
    assert ("not_read" in recording.attrs) == pickled


def test_column_names_that_were_pickled_may_be_given(tmp_path):
    frame().save(str(tmp_path / "f.npz"))
    recording = nt.load(tmp_path / "f.npz", labels=["x", "y", "speed"])
    assert list(recording["behaviour"]["axis"].to_numpy()) == ["x", "y", "speed"]
    activity = nt.load(tmp_path / "f.npz", kind="calcium", labels=["a", "b", "c"])["calcium/activity"]
    assert list(activity["unit"].to_numpy()) == ["a", "b", "c"]


class Payload:
    def __reduce__(self):
        return os.system, ("touch RAN",)


def test_no_pickle_of_a_file_is_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(
        "evil.npz", t=np.arange(3.0), d=np.arange(3.0), start=[0.0], end=[2.0], type=np.array(["Tsd"]),
        _metadata=np.array({"a": Payload()}, dtype=object),
    )  # fmt: skip
    recording = nt.load("evil.npz")
    assert not (tmp_path / "RAN").exists()
    assert "_metadata" in recording.attrs["not_read"]
    np.savez(
        "worse.npz", t=np.array([Payload()], dtype=object), start=[0.0], end=[2.0], type=np.array(["Ts"])
    )
    with pytest.raises(NeurotoolsError):
        nt.load("worse.npz")
    assert not (tmp_path / "RAN").exists()


def saved(tmp_path, **members):
    path = tmp_path / "made.npz"
    np.savez(path, **members)
    return path


def test_unsorted_times_are_sorted_and_noted(tmp_path):
    path = saved(tmp_path, t=[2.0, 0.0, 1.0], d=[20, 0, 10], start=[0.0], end=[2.0], type=np.array(["Tsd"]))
    value = nt.load(path)["behaviour/value"]
    np.testing.assert_array_equal(value["time"], [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(value, [0, 10, 20])
    assert value.attrs["n_times_sorted"] == 1
    path = saved(
        tmp_path, t=[2.0, 0.0, 1.0], index=[4, 4, 1], keys=[1, 4], d=[0.2, 0.0, 0.1],
        start=[0.0], end=[2.0], type=np.array(["TsGroup"]),
    )  # fmt: skip
    spikes = nt.load(path)["spikes"]
    np.testing.assert_array_equal(spikes["spike_time"], [1.0, 0.0, 2.0])
    np.testing.assert_array_equal(spikes["spike_value"], [0.1, 0.0, 0.2])
    assert spikes.attrs["n_units_sorted"] == 1


@pytest.mark.parametrize(
    ("members", "message", "code"),
    [
        ({"t": [0.0, np.nan], "d": [1, 2], "type": ["Tsd"]}, "not finite", "NT-DATA-004"),
        ({"t": [0.0, 5.0], "d": [1, 2], "type": ["Tsd"]}, "outside the time support", "NT-DATA-007"),
        ({"t": [0.0, 1.0], "d": [1, 2, 3], "type": ["Tsd"]}, "differ in number", "NT-DATA-005"),
        ({"t": [0.0, 1.0], "type": ["TsGroup"]}, "lacks arrays", "NT-FILE-004"),
        (
            {"t": [0.0, 1.0], "index": [0, 9], "keys": [0], "type": ["TsGroup"]},
            "does not list",
            "NT-FILE-008",
        ),
        ({"t": [["a"]], "type": ["Ts"]}, "holds times", "NT-FILE-004"),
        ({"t": [0.0], "end": [1.0, 2.0], "type": ["Ts"]}, "differ in number", "NT-DATA-005"),
        ({"t": [0.0], "start": [np.inf], "type": ["Ts"]}, "time support", "NT-DATA-004"),
    ],
)
def test_faults_are_named(members, message, code, tmp_path):
    members = {"start": [0.0], "end": [2.0]} | members
    with pytest.raises(NeurotoolsError, match=message) as caught:
        nt.load(saved(tmp_path, **{name: np.array(value) for name, value in members.items()}))
    assert caught.value.code == code
    assert caught.value.path is not None


def test_a_cut_file_is_named(tmp_path):
    frame().save(str(tmp_path / "f.npz"))
    whole = (tmp_path / "f.npz").read_bytes()
    for n in (30, len(whole) // 2, len(whole) - 10):
        (tmp_path / "cut.npz").write_bytes(whole[:n])
        with pytest.raises(FileError) as caught:
            nt.load(tmp_path / "cut.npz")
        assert caught.value.path.endswith("cut.npz")


@pytest.mark.parametrize("name", ["group", "frame", "intervals", "times"])
def test_damaged_files_end_in_a_reading_or_a_named_error(name, tmp_path, damaged):
    path = tmp_path / "saved.npz"
    OBJECTS[name]().save(str(path))
    damaged(path.read_bytes(), path, n=60, seed=len(name))
