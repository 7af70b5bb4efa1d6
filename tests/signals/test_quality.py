"""Numbers on the quality of recordings, against the plain computation, in parts, and flags that are due."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.signal import welch

import neurotools as nt
from neurotools import schema
from neurotools.errors import SchemaError
from neurotools.signals import quality as module


def eeg(values, sfreq=250.0):
    names = [f"c{i}" for i in range(len(values))]
    array = schema.continuous(values, dim="channel", labels=names, sfreq=sfreq, units="V")
    return schema.recording_tree({"eeg/signal": array})


@pytest.fixture
def noise(rng):
    return 1e-5 * rng.normal(size=(8, 5000)) + 3e-4


def test_numbers_are_those_of_the_whole(noise):
    found = nt.quality(eeg(noise))["eeg"].to_dataset()
    assert_allclose(found["mean"], noise.mean(axis=1), rtol=1e-12)
    assert_allclose(found["sd"], noise.std(axis=1), rtol=1e-10)
    assert_allclose(found["minimum"], noise.min(axis=1))
    assert_allclose(found["largest_step"], np.abs(np.diff(noise)).max(axis=1) / noise.std(axis=1), rtol=1e-9)
    assert_allclose(found["level"][:, 7], noise[:, 175:200].std(axis=1), rtol=1e-8)
    assert_allclose(found["power"], welch(noise, 250, "hann", 1000, 0)[1], rtol=1e-9, atol=1e-30)
    assert found["mean"].attrs["units"] == "V"
    assert (found["flag"] == "").all()


def test_parts_give_what_the_whole_gives(noise, monkeypatch):
    noise[2, 1990:2310] = noise[2, 1990]
    noise[3, 500:520] = np.nan
    whole = nt.quality(eeg(noise))["eeg"].to_dataset()
    monkeypatch.setattr(module, "PART_BYTES", 8 * 8 * 1000)
    parts = nt.quality(eeg(noise))["eeg"].to_dataset()
    for name in whole.data_vars:
        if name == "flag":
            assert list(parts[name].to_numpy()) == list(whole[name].to_numpy())
        else:
            assert_allclose(parts[name], whole[name], rtol=1e-7, atol=1e-30, err_msg=name)
    assert float(parts["longest_flat_s"][2]) == pytest.approx(319 / 250)


def test_what_stands_out_is_flagged(noise):
    time = np.arange(5000) / 250
    noise[0] = 0
    noise[1] *= 40
    noise[2] = 3e-4 + (noise[2] - 3e-4) / 40
    noise[3, 100] = np.nan
    noise[4, 1000:1400] = 3e-4
    noise[5] += 1e-5 * np.sin(2 * np.pi * 50 * time)
    flags = nt.quality(eeg(noise))["eeg/flag"].to_numpy()
    expected = ["never changes", "much louder than others", "much quieter than others", "missing samples",
                "stretch of one value", "mains", "", ""]  # fmt: skip
    assert flags.tolist() == expected


def test_a_step_between_sessions_is_none(noise):
    noise[:, 2500:] += 1.0
    array = eeg(noise)["eeg/signal"].assign_coords(session=("time", np.repeat([0, 1], 2500)))
    found = nt.quality(schema.recording_tree({"eeg/signal": array}))["eeg"].to_dataset()
    assert (found["largest_step"] * found["sd"] < 1e-3).all()


def test_an_irregular_clock_has_no_spectrum_and_all_else(noise):
    array = eeg(noise)["eeg/signal"]
    uneven = array.assign_coords(time=("time", array["time"].to_numpy() ** 1.1, {"units": "s"}))
    uneven.attrs.pop("sfreq")
    found = nt.quality(schema.recording_tree({"eeg/signal": uneven}))["eeg"].to_dataset()
    assert "power" not in found
    assert_allclose(found["sd"], noise.std(axis=1), rtol=1e-10)


def test_spikes_are_judged_by_their_intervals(rng):
    steady = np.cumsum(0.01 + rng.exponential(0.09, size=1000))
    double = np.sort(np.concatenate([steady[:500], steady[:500] + 0.001]))
    table = schema.spike_table([steady, double, np.empty(0)], unit=[1, 2, 3], t_start=0.0, t_stop=110.0)
    found = nt.quality(schema.recording_tree({"spikes": table}))["spikes"].to_dataset()
    assert found["n_spikes"].to_numpy().tolist() == [1000, 1000, 0]
    assert_allclose(found["rate_hz"], [1000 / 110, 1000 / 110, 0])
    assert float(found["refractory_share"][1]) == pytest.approx(0.5, abs=0.01)
    assert found["flag"].to_numpy().tolist() == ["", "intervals below 1.5 ms, absent for long", "silent"]
    width = 110 / 200
    assert_allclose((found["level"] * width).sum("bin"), [1000, 1000, 0])


def test_counts_are_judged_by_their_variance(rng):
    values = np.stack([rng.poisson(2, 1000), np.zeros(1000), 4 * rng.poisson(1, 1000)], axis=1).astype(int)
    counts = schema.counts_array(values, bin_width=0.1)
    found = nt.quality(schema.recording_tree({"counts/counts": counts}))["counts"].to_dataset()
    assert_allclose(found["fano"][[0, 2]], values.var(axis=0)[[0, 2]] / values.mean(axis=0)[[0, 2]])
    assert found["flag"].to_numpy().tolist() == ["", "silent", ""]


@pytest.mark.parametrize("name", nt.samples.names())
def test_samples_are_judged_saved_and_opened(name, tmp_path):
    found = nt.quality(nt.load(name))
    opened = nt.open_fit(nt.save(found, tmp_path / "quality.nc"))
    assert nt.content_hash(opened) == nt.content_hash(found)


def test_what_has_no_rows_is_told():
    with pytest.raises(SchemaError, match="no signal, no spike and no count"):
        nt.quality(schema.recording_tree({}))
