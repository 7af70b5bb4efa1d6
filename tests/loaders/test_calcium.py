"""Calcium imaging as its tools leave it."""

import shutil

import h5py
import numpy as np
import pytest

import neurotools as nt
from neurotools.errors import FileError, SchemaError, SettingsError

WORMS = {
    "swf415_2022-01-16-01-data.h5": (799, 130, 38),
    "swf702_2022-07-26-31-data.h5": (800, 146, 34),
    "swf702_2022-07-26-38-data.h5": (800, 141, 29),
    "swf702_2022-07-27-38-data.h5": (800, 135, 30),
}


# ---- suite2p ---------------------------------------------------------------------------------------
def test_suite2p_without_ops_asks_for_its_rate(shared):
    with pytest.raises(FileError, match=r"ops\.npy is missing") as told:
        nt.load(shared("data/calcium_suite2p_mini"))
    assert told.value.code == "NT-FILE-006"
    assert "sfreq" in told.value.fix


def test_suite2p_folder(shared, comes_back):
    folder = shared("data/calcium_suite2p_mini")
    recording = nt.load(folder, sfreq=30)
    calcium = recording["calcium"]
    assert calcium.sizes == {"unit": 219, "time": 2000}
    for name, file in (("activity", "F"), ("neuropil", "Fneu"), ("deconvolved", "spks")):
        np.testing.assert_array_equal(calcium[name], np.load(folder / f"{file}.npy"))
    assert int(calcium["iscell"].sum()) == 20
    assert calcium["iscell"].dtype == bool
    assert calcium["iscell_probability"].dims == ("unit",)
    np.testing.assert_array_equal(calcium["y_px"], np.load(folder / "stat_summary.npz")["med"][:, 0])
    assert "ops.npy is missing" in recording.attrs["notes"]
    assert "stat.npy is missing" in recording.attrs["notes"]
    comes_back(recording)
    spikes = nt.load(folder, sfreq=30, array="spks")["calcium"]
    assert {"activity", "fluorescence", "neuropil"} <= set(spikes.data_vars)
    np.testing.assert_array_equal(spikes["activity"], calcium["deconvolved"])
    with pytest.raises(SettingsError, match="no traces"):
        nt.load(folder, sfreq=30, array="dF")


class Payload:
    ran = False

    def __reduce__(self):
        return (setattr, (Payload, "ran", True))


def _suite2p(folder, rng, n=3):
    folder.mkdir(parents=True)
    for name in ("F", "Fneu", "spks"):
        np.save(folder / f"{name}.npy", rng.random((n, 20), dtype="float32"))
    np.save(folder / "iscell.npy", np.c_[np.arange(n) % 2, np.linspace(0, 1, n)])


def test_suite2p_rate_is_read_from_ops_and_nothing_runs(tmp_path, rng):
    _suite2p(tmp_path / "plane0", rng)
    ops = {"tau": 1.0, "payload": Payload(), "fs": 15.5, "meanImg": np.zeros((3, 3)), "nplanes": 1}
    np.save(tmp_path / "plane0" / "ops.npy", np.array(ops, dtype=object), allow_pickle=True)
    activity = nt.load(tmp_path)["calcium/activity"]
    assert activity.attrs["sfreq"] == 15.5
    assert not Payload.ran


def test_suite2p_planes_lie_side_by_side(tmp_path, rng):
    for plane in range(2):
        _suite2p(tmp_path / "suite2p" / f"plane{plane}", rng)
    activity = nt.load(tmp_path, sfreq=10)["calcium/activity"]
    assert activity.shape == (6, 20)
    assert activity["unit"].values[-1] == "plane1/2"
    assert activity["plane"].values.tolist() == ["plane0"] * 3 + ["plane1"] * 3
    np.save(tmp_path / "suite2p" / "plane1" / "F.npy", rng.random((3, 19)))
    with pytest.raises(FileError, match="differ in shape"):
        nt.load(tmp_path, sfreq=10)


def test_large_suite2p_traces_stay_on_disk(tmp_path, rng, monkeypatch):
    from neurotools.loaders import calcium

    _suite2p(tmp_path / "s", rng)
    whole = nt.load(tmp_path / "s", sfreq=10)
    monkeypatch.setattr(calcium, "LAZY_BYTES", 100)
    lazy = nt.load(tmp_path / "s", sfreq=10)
    assert not isinstance(lazy["calcium/activity"].variable._data, np.ndarray)
    assert whole.identical(lazy)


def test_suite2p_parts_must_agree(tmp_path, rng):
    _suite2p(tmp_path / "s", rng)
    np.save(tmp_path / "s" / "iscell.npy", np.zeros((4, 2)))
    with pytest.raises(FileError, match="number of units"):
        nt.load(tmp_path / "s", sfreq=10)


# ---- worms -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", WORMS)
def test_worm(shared, comes_back, name):
    n_time, n_unit, n_reversals = WORMS[name]
    path = shared("data/calcium_celegans_wholebrain_h5") / name
    recording = nt.load(path)
    activity = recording["calcium/activity"]
    assert activity.shape == (n_unit, n_time)
    np.testing.assert_allclose(activity.std("time"), 1, atol=0.01)
    with h5py.File(path) as file:
        stamps = file["timing/timestamp_confocal"][:]
        first = file["behavior/reversal_events"][0] - 1
        velocity = file["behavior/velocity"][:]
    np.testing.assert_array_equal(activity["time"], stamps - stamps[0])
    assert recording.attrs["clock_start"] == stamps[0]
    assert "cannot be matched across animals" in recording.attrs["notes"]
    assert "names no neurons" in activity.attrs["identity"]
    assert any(f.problem == "the clock is not regular" for f in nt.validate(recording))
    events = recording["events"]
    assert events.sizes["event"] == n_reversals
    np.testing.assert_array_equal(events["onset"], (stamps - stamps[0])[first])
    np.testing.assert_array_equal(recording["behaviour/velocity"], velocity)
    # During a reversal the animal moves backwards, if the frames are counted rightly.
    during = recording["behaviour/reversal_vec"].values.astype(bool)
    assert velocity[during].mean() < 0 < velocity[~during].mean()
    comes_back(recording)


def test_worm_steps_are_those_of_the_notes(shared):
    folder = shared("data/calcium_celegans_wholebrain_h5")
    for name in WORMS:
        step = np.median(np.diff(nt.load(folder / name)["calcium/activity"]["time"]))
        assert step == pytest.approx(0.74 if name.startswith("swf415") else 0.60, abs=0.015)


def _worm(path, rng, reversals=((1, 5), (3, 9)), n=10):
    with h5py.File(path, "w") as file:
        file["gcamp/trace_array"] = rng.normal(size=(n, 4))
        file["behavior/velocity"] = rng.normal(size=n)
        file["behavior/reversal_events"] = np.array(reversals)
        file["timing/timestamp_confocal"] = 100 + np.arange(10) * 0.6


def test_worm_whose_parts_disagree(tmp_path, rng):
    _worm(tmp_path / "w.h5", rng)
    events = nt.load(tmp_path / "w.h5")["events"]
    np.testing.assert_allclose(events["onset"], [0, 2.4])
    np.testing.assert_allclose(events["duration"], [1.2, 2.4])
    _worm(tmp_path / "w.h5", rng, n=11)
    with pytest.raises(FileError, match="number of frames"):
        nt.load(tmp_path / "w.h5")
    _worm(tmp_path / "w.h5", rng, reversals=((0,), (3,)))
    with pytest.raises(SchemaError, match="outside the recording"):
        nt.load(tmp_path / "w.h5")


# ---- CaImAn ----------------------------------------------------------------------------------------
def test_caiman_estimates(tmp_path, rng, comes_back):
    traces = {name: rng.random((5, 30)) for name in ("C", "S", "F_dff", "YrA")}
    with h5py.File(tmp_path / "c.hdf5", "w") as file:
        for name, values in traces.items():
            file[f"estimates/{name}"] = values
        file["estimates/idx_components"] = np.array([0, 3])
        file["params/data/fr"] = 20.0
    recording = nt.load(tmp_path / "c.hdf5")
    calcium = recording["calcium"]
    assert recording.attrs["format"] == "caiman"
    assert calcium["activity"].attrs["sfreq"] == 20.0
    np.testing.assert_array_equal(calcium["activity"], traces["C"])
    np.testing.assert_array_equal(calcium["dff"], traces["F_dff"])
    assert calcium["accepted"].values.tolist() == [True, False, False, True, False]
    comes_back(recording)
    other = nt.load(tmp_path / "c.hdf5", array="F_dff", sfreq=10)["calcium"]
    np.testing.assert_array_equal(other["activity"], traces["F_dff"])
    assert other["activity"].attrs["sfreq"] == 10
    shutil.copyfile(tmp_path / "c.hdf5", tmp_path / "d.hdf5")
    with h5py.File(tmp_path / "d.hdf5", "a") as file:
        del file["params/data/fr"]
        file["estimates/idx_components"][1] = 9
    with pytest.raises(FileError, match="frame rate"):
        nt.load(tmp_path / "d.hdf5")
    with pytest.raises(FileError, match="not there"):
        nt.load(tmp_path / "d.hdf5", sfreq=20)
