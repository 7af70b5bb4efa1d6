"""Files of nameless arrays: nothing is guessed, and what the user says is carried out to the letter."""

import struct
import subprocess
import sys

import numpy as np
import pytest
import scipy.io

import neurotools as nt
from neurotools.errors import FileError, SchemaError, SettingsError
from neurotools.loaders.described.mat import mat5_contents
from neurotools.schema import spike_trains


# ---- real recordings -------------------------------------------------------------------------------
def test_songbird_mat(shared, comes_back):
    recording = nt.load(
        shared("data/calcium_songbird_hvc/MackeviciusData.mat"),
        arrays={
            "calcium/activity": {
                "name": "NEURAL", "dims": ("unit", "time"), "sfreq": {"name": "VIDEOfs"}, "units": "1"
            },
            "stimulus/spectrogram": {
                "name": "SONG", "dims": ("frequency", "time"), "sfreq": {"name": "SONGfs"}, "units": "1"
            },
        },
    )  # fmt: skip
    activity = recording["calcium/activity"]
    assert activity.shape == (75, 666)
    assert (activity.attrs["sfreq"], recording["stimulus/spectrogram"].attrs["sfreq"]) == (30, 200)
    assert recording["stimulus/spectrogram"].shape == (141, 4440)
    assert "not_read" not in recording.attrs
    comes_back(recording)


@pytest.mark.parametrize(("animal", "rank", "neurons"), [("v1", 17, 641), ("retina", 16, 1149)])
def test_ntf_factors(shared, comes_back, animal, rank, neurons):
    path = shared(f"data/connectome_ntf_reference/{animal}_rank{rank}_ntf_factors.npz")
    recording = nt.load(
        path,
        arrays={
            "factors/unit_loading": {"name": "neuron", "dims": ("unit", "component"), "units": "1"},
            "factors/stimulus_loading": {"dims": ("stimulus_kind", "component"), "name": "stimulus"},
            "factors/response_loading": {"name": "response", "dims": ("response_bin", "component")},
            "factors/weight": {"name": "weights", "dims": "component"},
        },
    )
    factors = recording["factors"]
    assert factors.sizes == {"unit": neurons, "component": rank, "stimulus_kind": 6, "response_bin": 1080}
    np.testing.assert_array_equal(factors["unit_loading"], np.load(path)["neuron"])
    np.testing.assert_array_equal(factors["weight"], np.load(path)["weights"])
    comes_back(recording)


def test_zebrafish_members_overlap_and_count_from_one(shared, comes_back):
    path = shared("data/calcium_zebrafish_tectum/zf_20151104-f1.mat")
    describe = {
        "calcium/activity": {
            "name": "activity_matrix", "dims": ("unit", "time"), "sfreq": 2, "labels": {"first": 1, "n": 114},
            "coords": {"x": {"name": "cell_coordinates", "column": 0, "units": "um"},
                       "y": {"name": "cell_coordinates", "column": 1, "units": "um"}},
        },
        "assemblies/member": {
            "name": "detected_assemblies{*}", "dims": ("cluster", "unit"), "index_base": 1
        },
    }  # fmt: skip
    recording = nt.load(path, arrays=describe)
    activity, member = recording["calcium/activity"], recording["assemblies/member"]
    assert activity.shape == (114, 4245)
    assert activity["x"].attrs == {"units": "m", "units_in_file": "um"}
    assert float(activity["x"][0]) == pytest.approx(27.667e-6, abs=1e-9)
    assert member.sum("unit").values.tolist() == [26, 16, 31, 13, 13]
    assert member.sel(cluster=0, unit=1) == 1  # its first index is 1, and that is the first unit
    comes_back(recording)
    # The same lists and places stand in text files beside the matrix.
    beside = {
        **describe,
        "assemblies/member": {
            "file": "zf_20151104-f1_assembly_assignments.csv", "dims": ("cluster", "unit"), "index_base": 1
        },
    }  # fmt: skip
    beside["calcium/activity"] = {
        **describe["calcium/activity"],
        "coords": {axis: {"file": "zf_20151104-f1_cell_coordinates.csv", "name": str(c), "units": "um"}
                   for c, axis in enumerate("xy")},
    }  # fmt: skip
    again = nt.load(path, arrays=beside)
    fewer = again["assemblies/member"]
    # The text holds only the first twenty members of the first assembly; the matrix file has all 26.
    assert fewer.sum("unit").values.tolist() == [20, 16, 31, 13, 13]
    np.testing.assert_array_equal(fewer.isel(cluster=slice(1, None)), member.isel(cluster=slice(1, None)))
    assert bool((fewer <= member).all())
    per_unit = fewer.sum("cluster").values
    assert ((per_unit > 1).sum(), (per_unit == 0).sum()) == (15, 37)
    # The text holds two decimals.
    np.testing.assert_allclose(again["calcium/activity"]["y"], activity["y"], atol=0.006e-6)


def test_zebrafish_needs_its_frame_rate(shared):
    with pytest.raises(FileError, match="does not say the clock") as told:
        nt.load(
            shared("data/calcium_zebrafish_tectum/zf_20151104-f1.mat"),
            kind="calcium", array="activity_matrix", dims=("unit", "time"),
        )  # fmt: skip
    assert told.value.code == "NT-FILE-006"
    assert "sfreq" in told.value.fix


def test_linear_track_npz_starts_late(shared, comes_back):
    path = shared("data/spikes_hpc_linear_track/linear_track_tidy.npz")
    position = {"dims": "time", "time": "pos_time_s", "repeats": "first", "units": "px"}
    describe = {
        "spikes": {"time": "spike_time_s", "unit": "spike_unit", "units": "s", "t_start": 4396.9975,
                   "t_stop": 6365.2707, "coords": {"tetrode": "unit_tetrode"}},
        "behaviour/x": {"name": "x_px", **position},
        "behaviour/y": {"name": "y_px", **position},
    }  # fmt: skip
    recording = nt.load(path, arrays=describe)
    spikes = recording["spikes"]
    assert spikes.sizes["unit"] == 31
    assert spikes.sizes["spike"] == 28829
    assert 4397.0 < float(spikes["spike_time"].min()) < 4397.01
    assert np.unique(spikes["tetrode"]).tolist() == [0, 2, 3, 8, 9, 12]  # of 13, those with units
    x = recording["behaviour/x"]
    assert x.sizes["time"] == 118965 - 1
    assert x.attrs["repeated_stamps_left_out"] == 1
    assert float(x["time"][0]) == pytest.approx(4397.0317)
    comes_back(recording)
    with pytest.raises(SchemaError, match="increases") as told:
        nt.load(path, arrays={"behaviour/x": {"name": "x_px", "dims": "time", "time": "pos_time_s"}})
    assert "repeats" in told.value.fix


def test_linear_track_nested_mat_has_the_same_spikes(shared, comes_back):
    path = shared("data/spikes_hpc_linear_track/spikes.mat")
    window = {"name": "spikes{1}{1}{1}{1}.timerange"}
    recording = nt.load(
        path, arrays={"spikes": {"trains": "spikes{1}{1}{*}{*}.time", "units": "s", "t_start": window,
                                 "t_stop": window}},
    )  # fmt: skip
    spikes = recording["spikes"]
    assert (spikes.attrs["t_start"], spikes.attrs["t_stop"]) == (4396.9975, 6365.2707)
    sizes = spikes["row_size"].values
    assert (sizes > 0).sum() == 31  # three further cells of the file are empty trains
    tidy = np.load(shared("data/spikes_hpc_linear_track/linear_track_tidy.npz"))
    assert sizes.sum() == tidy["spike_time_s"].size
    np.testing.assert_array_equal(np.sort(spikes["spike_time"]), tidy["spike_time_s"])
    comes_back(recording)


def test_reaching_mat(shared, comes_back):
    recording = nt.load(
        shared("data/spikes_m1_reaching/m1_stevenson_2011.mat"),
        kind="counts", array="spikes", dims=("unit", "time"), bin_width=0.05,
    )  # fmt: skip
    counts = recording["counts/counts"]
    assert counts.dims == ("time", "unit")
    assert counts.shape == (15536, 171)
    assert counts.dtype == np.uint8
    assert recording.attrs["not_read"] == "time, handVel, handPos"
    comes_back(recording)


def test_lorenz_trials_lie_end_to_end(shared, comes_back):
    path = shared("data/spikes_lorenz_nlb/lfads_lorenz.h5")
    trials = {"trial": "valid_inds"}
    recording = nt.load(
        path,
        arrays={
            "counts/counts": {"name": "valid_data", "dims": ("trial", "time", "unit"), "bin_width": 0.01,
                              "coords": trials},
            "counts/rate": {"name": "valid_truth", "dims": ("trial", "time", "unit"), "bin_width": 0.01,
                            "units": "Hz", "coords": trials},
            "counts/latent": {"name": "valid_lowd", "dims": ("trial", "time", "component"),
                              "bin_width": 0.01, "units": "1", "coords": trials},
        },
    )  # fmt: skip
    counts, rate = recording["counts/counts"], recording["counts/rate"]
    assert counts.shape == (160 * 100, 60)
    assert int(counts.sum()) == 17439
    assert counts.dtype.kind == "i"
    assert np.unique(counts["session"]).size == 160
    # Expected counts per bin are the rate in Hz times the width of a bin.
    assert float(rate.mean() * counts.attrs["bin_width"]) == pytest.approx(float(counts.mean()), rel=0.03)
    import h5py

    with h5py.File(path) as file:
        third = counts.sel(time=counts["session"] == file["valid_inds"][2])
        np.testing.assert_array_equal(third, file["valid_data"][2])
        np.testing.assert_array_equal(rate.values[300:400], file["valid_truth"][3])
    comes_back(recording)
    train = nt.load(path, kind="counts", array="train_data", dims=("trial", "time", "unit"), bin_width=0.01)
    assert train["counts/counts"].shape == (64000, 60)
    assert int(train["counts/counts"].sum()) == 70331


def test_glm_reference_npz(shared, comes_back):
    recording = nt.load(
        shared("data/glm_reference/hmmglm_synthetic_S5_N20.npz"),
        arrays={
            "counts/counts": {"name": "spikes", "dims": ("session", "time", "unit"), "bin_width": 1},
            "counts/state": {"name": "state", "dims": ("session", "time"), "bin_width": 1},
            "truth/weight": {"name": "weight", "dims": ("state", "unit", "unit_to")},
            "truth/bias": {"name": "bias", "dims": ("state", "unit")},
            "truth/basis": {"name": "basis", "dims": "lag_index"},
        },
    )
    assert recording["counts/counts"].shape == (16000, 20)
    assert recording["counts/state"].shape == (16000,)
    assert recording["truth/weight"].shape == (5, 20, 20)
    comes_back(recording)
    parity = nt.load(
        shared("data/glm_reference/hmm_parity_ssm_K5.npz"),
        arrays={
            "hmm/log_lik": {"name": "log_lik", "dims": ("step", "state")},
            "hmm/transition": {"name": "P", "dims": ("state", "state_to")},
            "hmm/initial": {"name": "pi", "dims": ("state",)},
            "hmm/gamma": {"name": "gamma", "dims": ("step", "state")},
            "hmm/xi_sum": {"name": "xi_sum", "dims": ("state", "state_to")},
            "hmm/log_norm": {"name": "log_norm", "dims": ()},
            "hmm/viterbi": {"name": "viterbi", "dims": ("step",)},
        },
    )
    assert parity["hmm"].sizes == {"step": 5000, "state": 5, "state_to": 5}
    comes_back(parity)


def test_hcp_npz_and_mat(shared, comes_back):
    labels = {"file": "aal2_regions.tsv", "name": "name"}
    folder = shared("data/fmri_hcp_aal2_timeseries")
    recording = nt.load(
        folder / "hcp_rest1lr_aal2_16subjects.npz",
        arrays={
            "fmri/bold": {"name": "bold", "dims": ("subject", "region", "time"), "sfreq": 1 / 0.72,
                          "labels": labels, "coords": {"subject": "subject"}},
            "connectivity/weight": {"name": "sc", "dims": ("subject", "region", "region_to"),
                                    "labels": labels, "coords": {"subject": "sc_subject"}},
            "connectivity/fibre_length": {"name": "fibre_length", "labels": labels,
                                          "dims": ("subject", "region", "region_to"),
                                          "coords": {"subject": "sc_subject"}},
        },
    )  # fmt: skip
    bold, weight = recording["fmri/bold"], recording["connectivity/weight"]
    assert bold.shape == (16, 94, 1200)
    assert float(bold["time"][1]) == pytest.approx(0.72)
    assert float(bold.mean()) == pytest.approx(9500, rel=0.05)
    assert (bold.attrs["tr"], bold["region"].to_numpy()[:2].tolist()) == (
        0.72,
        ["Precentral_L", "Precentral_R"],
    )
    # Measured in the folder's README: mean correlation .27, of homologous regions .56.
    corr = np.mean(
        [np.corrcoef(subject) for subject in nt.clean(bold, standardize="zscore").to_numpy()], axis=0
    )
    assert corr[np.triu_indices(94, 1)].mean() == pytest.approx(0.27, abs=0.02)
    assert np.mean([corr[k, k + 1] for k in range(0, 94, 2)]) == pytest.approx(0.56, abs=0.02)
    assert weight.shape == (7, 94, 94)
    assert list(weight["region"].values) == list(weight["region_to"].values) == list(bold["region"].values)
    comes_back(recording)
    one = nt.load(folder / "101309_rsfMRI_REST1_LR_tc.mat", kind="fmri", dims=("region", "time"),
                  sfreq=1 / 0.72, labels=labels)  # fmt: skip
    np.testing.assert_allclose(
        one["fmri/bold"].values, bold.sel(subject="101309").values, rtol=1e-6
    )  # the npz is float32
    comes_back(one)
    other = nt.load(
        folder / "102311_rsfMRI_REST1_LR_tc.mat", kind="fmri", dims=("region", "time"), sfreq=1 / 0.72
    )
    assert other["fmri/bold"].shape == (94, 1200)


# ---- questions -------------------------------------------------------------------------------------
@pytest.fixture
def several(tmp_path):
    np.savez(
        tmp_path / "several.npz", trace=np.arange(12.0).reshape(3, 4), rate=np.array(10.0), stim=np.zeros(4)
    )
    return tmp_path / "several.npz"


def test_without_a_kind_the_arrays_are_listed(several):
    with pytest.raises(FileError, match="'kind'") as told:
        nt.load(several)
    assert told.value.code == "NT-FILE-006"
    assert "trace (3, 4) float64" in told.value.found
    assert "stim (4,)" in told.value.found


def test_without_a_name_the_arrays_are_listed(several):
    with pytest.raises(FileError, match="several arrays") as told:
        nt.load(several, kind="calcium", dims=("unit", "time"), sfreq=10)
    assert "trace (3, 4) float64" in told.value.found
    assert "array='trace'" in told.value.fix


def test_wrong_name_suggests_the_nearest(several):
    with pytest.raises(FileError, match="Did you mean 'trace'") as told:
        nt.load(several, kind="calcium", array="trce", dims=("unit", "time"), sfreq=10)
    assert told.value.code == "NT-FILE-008"


def test_without_dims_or_clock_there_is_a_question(several):
    with pytest.raises(FileError, match="axes of 'calcium/activity'") as told:
        nt.load(several, kind="calcium", array="trace", sfreq=10)
    assert "(3, 4)" in told.value.found
    with pytest.raises(FileError, match="clock"):
        nt.load(several, kind="calcium", array="trace", dims=("unit", "time"))
    with pytest.raises(FileError, match="bins"):
        nt.load(several, kind="counts", array="trace", dims=("unit", "time"), sfreq=10)
    with pytest.raises(FileError, match="unit of 'eeg/signal'") as told:
        nt.load(several, kind="eeg", array="trace", dims=("channel", "time"), sfreq=10)
    assert "uV" in told.value.fix


def test_words_of_other_tools_are_translated_in_the_message(several):
    with pytest.raises(SettingsError, match="'neuron' is called 'unit' here"):
        nt.load(several, kind="calcium", array="trace", dims=("neuron", "time"), sfreq=10)


def test_a_scalar_of_the_file_can_be_its_rate(several):
    entry = {"name": "trace", "dims": ("unit", "time"), "sfreq": {"name": "rate"}}
    assert nt.load(several, arrays={"calcium/activity": entry})["calcium/activity"].attrs["sfreq"] == 10.0
    with pytest.raises(SettingsError, match="one number"):
        nt.load(several, arrays={"calcium/activity": {**entry, "sfreq": {"name": "stim"}}})


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"dims": ("unit",)}, SchemaError, "number of axes"),
        ({"dims": ("time", "time")}, SettingsError, "named twice"),
        ({"labels": ["a", "b"]}, SchemaError, "number of labels"),
        ({"labels": ["a", "b", "a"]}, SchemaError, "more than once"),
        ({"labels": [True, False, True]}, SettingsError, "quotes"),
        ({"units": "furlong"}, SettingsError, "no unit"),
        ({"sfreq": -1}, SettingsError, "positive"),
        ({"sfreq": 10, "bin_width": 0.1}, SettingsError, "several clocks"),
        ({"samplingrate": 10}, SettingsError, "means nothing"),
        ({"time": [0.0, 1.0], "sfreq": None}, SchemaError, "differ in number"),
        ({"time": [0.0, 1.0, 1.0, 2.0], "sfreq": None}, SchemaError, "increases"),
        ({"file": "../secret.npz"}, FileError, "outside its folder"),
        ({"file": "absent.npz"}, FileError, "not there"),
        ({"skip": 4}, SettingsError, "leaves nothing"),
        ({"coords": {"depth": [1.0]}}, SchemaError, "does not fit its axis"),
    ],
)
def test_contradictions_are_named(several, change, error, words):
    entry = {"name": "trace", "dims": ("unit", "time"), "sfreq": 10, **change}
    with pytest.raises(error, match=words):
        nt.load(several, arrays={"calcium/activity": {k: v for k, v in entry.items() if v is not None}})


def test_a_place_that_is_none_is_named(several):
    with pytest.raises(SettingsError, match="no place"):
        nt.load(several, arrays={"activity": {"name": "trace", "dims": ("unit", "time"), "sfreq": 10}})


# ---- what is said is carried out -------------------------------------------------------------------
def test_units_are_converted_and_recorded(several):
    signal = nt.load(several, kind="eeg", array="trace", dims=("channel", "time"), sfreq=10, units="uV")[
        "eeg/signal"
    ]
    assert signal.attrs["units"] == "V"
    assert signal.attrs["units_in_file"] == "uV"
    np.testing.assert_array_equal(signal, np.arange(12.0).reshape(3, 4) / 1e6)


def test_counts_with_a_gap_or_a_fraction_are_refused(tmp_path):
    for bad, words in ((np.nan, "missing"), (0.5, "whole"), (-1.0, "not negative")):
        values = np.ones((4, 2))
        values[1, 1] = bad
        np.save(tmp_path / "counts.npy", values)
        with pytest.raises(SchemaError, match=words):
            nt.load(tmp_path / "counts.npy", kind="counts", dims=("time", "unit"), bin_width=0.1)


def test_arrays_of_one_clock_must_agree_in_length(several):
    describe = {
        "calcium/activity": {"name": "trace", "dims": ("unit", "time"), "sfreq": 10},
        "stimulus/light": {"name": "stim", "dims": "time", "sfreq": 10, "skip": 1},
    }
    with pytest.raises(FileError, match="1 samples longer") as told:
        nt.load(several, arrays=describe)
    assert told.value.code == "NT-FILE-008"
    describe["stimulus/light"]["t0"] = 0.1
    assert nt.load(several, arrays=describe)["stimulus/light"].attrs["skipped_samples"] == 1


def test_counts_and_behaviour_on_one_clock_must_agree_too(several):
    describe = {
        "counts/counts": {"name": "trace", "dims": ("unit", "time"), "bin_width": 0.1},
        "behaviour/speed": {"name": "long", "dims": "time", "sfreq": 10},
    }
    with np.load(several) as content:
        np.savez(several, long=np.zeros(6), **content)
    with pytest.raises(FileError, match="2 samples longer"):
        nt.load(several, arrays=describe)


def test_one_axis_may_be_named_without_a_list(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(4.0))
    signal = nt.load(tmp_path / "x.npy", kind="eeg", dims="time", sfreq=2, units="V", labels=["Cz"])[
        "eeg/signal"
    ]
    assert signal.shape == (1, 4)


PEAK = """
import sys, numpy as np
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024
import neurotools as nt
from neurotools.loaders.described import recordings as described
import h5py, scipy.stats, xarray.core.indexing
small = nt.load(sys.argv[2], kind="eeg", dims=("time", "channel"), sfreq=1000, units="uV")
small["eeg/signal"].isel(time=slice(0, 10)).to_numpy()
before = peak()
signal = nt.load(sys.argv[1], kind="eeg", dims=("time", "channel"), sfreq=1000, units="uV")["eeg/signal"]
chunk = 0
for start in range(0, signal.sizes["time"], 20_000):
    part = signal.isel(time=slice(start, start + 20_000))
    chunk = max(chunk, part.nbytes)
    float(part.to_numpy().sum())
print(signal.nbytes / chunk, (peak() - before) / chunk)
"""


@pytest.mark.parametrize("suffix", [".h5", ".npy"])
def test_peak_memory_is_a_few_parts_and_not_the_whole(tmp_path, suffix):
    import h5py

    shape = (300_000, 64)  # 77 MB as stored, 154 MB in V
    for name, n in (("large", shape[0]), ("small", 100)):
        if suffix == ".npy":
            np.save(tmp_path / f"{name}.npy", np.ones((n, 64), dtype="float32"))
        else:
            with h5py.File(tmp_path / f"{name}.h5", "w") as file:
                file.create_dataset("x", data=np.ones((n, 64), dtype="float32"))
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / f"large{suffix}"), str(tmp_path / f"small{suffix}")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    whole, peak = map(float, done.stdout.split())
    assert whole == 15
    assert peak < 4


def test_arrays_in_any_order_of_axes_come_out_alike(tmp_path, rng):
    values = rng.normal(size=(3, 5, 4))
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        dims = [("subject", "region", "time")[axis] for axis in order]
        np.save(tmp_path / "x.npy", values.transpose(order))
        bold = nt.load(tmp_path / "x.npy", kind="fmri", dims=dims, sfreq=0.5)["fmri/bold"]
        assert bold.dims == ("subject", "region", "time")
        np.testing.assert_array_equal(bold, values)


def test_large_hdf5_and_npy_stay_on_disk(tmp_path, monkeypatch, rng):
    import h5py

    from neurotools.loaders.described import recordings as described

    values = rng.normal(size=(40, 3)).astype("float32")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a/b", data=values[:, :, None], compression="gzip")
    np.save(tmp_path / "x.npy", values[:, :, None])
    monkeypatch.setattr(described, "LAZY_BYTES", 100)
    for name in ("x.h5", "x.npy"):
        signal = nt.load(tmp_path / name, kind="eeg", dims=("time", "channel"), sfreq=10, units="uV")[
            "eeg/signal"
        ]
        assert not isinstance(signal.variable._data, np.ndarray)
        part = signal.isel(channel=[2, 0], time=slice(4, 20, 3))
        np.testing.assert_array_equal(part, values[4:20:3, [2, 0]].T.astype("float64") / 1e6)
        assert float(signal.isel(channel=1, time=7)) == values[7, 1].astype("float64") / 1e6
        np.testing.assert_array_equal(signal, values.T.astype("float64") / 1e6)


# ---- MATLAB ----------------------------------------------------------------------------------------
def test_structs_and_cells_go_by_their_own_names(tmp_path):
    nested = {"trace": np.arange(6.0).reshape(2, 3), "fs": 5.0, "note": "words"}
    cells = np.empty((1, 2), dtype=object)
    cells[0, 0], cells[0, 1] = np.array([1.0, 2.0]), np.array([3.0])
    scipy.io.savemat(tmp_path / "x.mat", {"s": nested, "c": cells})
    entry = {"name": "s.trace", "dims": ("unit", "time"), "sfreq": {"name": "s.fs"}}
    recording = nt.load(tmp_path / "x.mat", arrays={
        "calcium/activity": entry, "spikes": {"trains": "c{*}", "units": "ms", "t_start": 0, "t_stop": 1},
    })  # fmt: skip
    assert recording["calcium/activity"].shape == (2, 3)
    assert [train.tolist() for train in spike_trains(recording["spikes"].to_dataset())] == [
        [0.001, 0.002],
        [0.003],
    ]
    assert recording["spikes"]["unit"].values.tolist() == ["1", "2"]
    assert recording.attrs["not_read"] == "s.note"


@pytest.mark.parametrize("packed", [False, True])
def test_matlab_5_equals_scipy(tmp_path, rng, packed):
    cells = np.empty((2, 2), dtype=object)
    cells[0, 0], cells[1, 0], cells[0, 1], cells[1, 1] = (
        rng.normal(size=(3, 1)),
        "ab",
        np.zeros((0, 1)),
        np.empty((0, 0)),
    )
    records = np.zeros((1, 2), dtype=[("f", "O"), ("a_long_field", "O")])
    records[0, 0], records[0, 1] = (np.arange(3), "x"), (np.array([[2.5]]), np.arange(4).reshape(2, 2))
    content = {
        **{f"{sign}int{n}": rng.integers(0, 99, size=(2, 3)).astype(f"{sign}int{n}")
           for sign in ("", "u") for n in (8, 16, 32, 64)},
        "single": rng.normal(size=(2, 3)).astype("float32"), "double": rng.normal(size=(2, 3)),
        "cube": rng.normal(size=(2, 3, 4)), "flag": np.array([True, False]),
        "z": rng.normal(size=(2, 2)) * (1 + 2j),
        "one": 7.0, "words": np.array(["left", "up  "]), "greek": "µV", "none": np.zeros((0, 3)),
        "cells": cells, "records": records, "a_name_of_more_than_thirty_letters": 1.0,
    }  # fmt: skip
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, content, do_compression=packed, long_field_names=True)
    ours, theirs = mat5_contents(path), scipy.io.loadmat(path)
    for name in [*content][:-3]:
        np.testing.assert_array_equal(ours.read(name), theirs[name], err_msg=name)
        if name not in {"words", "greek"}:
            assert ours.read(name).dtype == theirs[name].dtype, name
            assert ours.arrays[name].shape == theirs[name].shape, name
    nested = {name: ours.read(name) for name in ours.arrays if name.startswith(("cells", "records"))}
    assert list(nested) == ["cells{1}", "cells{2}", "cells{3}", "records(1).f", "records(1).a_long_field",
                            "records(2).f", "records(2).a_long_field"]  # fmt: skip
    np.testing.assert_array_equal(nested["cells{1}"], theirs["cells"][0, 0])
    np.testing.assert_array_equal(nested["cells{2}"], theirs["cells"][1, 0])
    assert nested["cells{3}"].shape == (0, 1)
    np.testing.assert_array_equal(nested["records(1).f"], theirs["records"][0, 0]["f"])
    np.testing.assert_array_equal(nested["records(2).a_long_field"], theirs["records"][0, 1]["a_long_field"])


@pytest.mark.parametrize(
    "name",
    ["calcium_songbird_hvc/MackeviciusData.mat", "calcium_zebrafish_tectum/zf_20151104-f1.mat",
     "spikes_m1_reaching/m1_stevenson_2011.mat", "fmri_hcp_aal2_timeseries/101309_rsfMRI_REST1_LR_tc.mat"],
)  # fmt: skip
def test_real_matlab_files_equal_scipy(shared, name):
    path = shared(f"data/{name}")
    ours, theirs = mat5_contents(path), scipy.io.loadmat(path)
    for variable, values in theirs.items():
        if variable.startswith("__"):
            continue
        if values.dtype == object:
            for place, cell in enumerate(values.ravel(order="F")):
                np.testing.assert_array_equal(ours.read(f"{variable}{{{place + 1}}}"), cell)
        else:
            np.testing.assert_array_equal(ours.read(variable), values)
            assert ours.read(variable).dtype == values.dtype


def test_matlab_of_the_other_byte_order(tmp_path):
    def element(kind, data):
        return struct.pack(">II", kind, len(data)) + data + b"\x00" * (-len(data) % 8)

    values = np.arange(6.0).reshape(2, 3)
    flags, dims = struct.pack(">II", 6, 0), struct.pack(">ii", 2, 3)
    inner = (
        element(6, flags) + element(5, dims) + element(1, b"x") + element(9, values.T.astype(">f8").tobytes())
    )
    (tmp_path / "x.mat").write_bytes(b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + element(14, inner))
    np.testing.assert_array_equal(scipy.io.loadmat(tmp_path / "x.mat")["x"], values)
    ours = mat5_contents(tmp_path / "x.mat").read("x")
    np.testing.assert_array_equal(ours, values)
    assert ours.dtype.isnative


def test_two_matlab_variables_of_one_name(tmp_path):
    scipy.io.savemat(tmp_path / "x.mat", {"a": np.zeros(3)})
    content = (tmp_path / "x.mat").read_bytes()
    (tmp_path / "x.mat").write_bytes(content + content[128:])
    with pytest.raises(FileError, match="one name"):
        mat5_contents(tmp_path / "x.mat")


def _write_mat73(path, values):
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("x", data=values.T).attrs["MATLAB_class"] = np.bytes_("double")
        group = file.create_group("s")
        group.create_dataset("fs", data=[[25.0]]).attrs["MATLAB_class"] = np.bytes_("double")
        name = group.create_dataset("name", data=np.array([[ord(c)] for c in "HVC"], dtype="uint16"))
        name.attrs["MATLAB_class"] = np.bytes_("char")
        refs = file.create_group("#refs#")
        refs.create_dataset("a", data=[[1.0, 2.0]]).attrs["MATLAB_class"] = np.bytes_("double")
        empty = refs.create_dataset("b", data=np.array([0, 1], dtype="uint64"))
        empty.attrs["MATLAB_class"] = np.bytes_("double")
        empty.attrs["MATLAB_empty"] = 1
        cells = file.create_dataset("c", shape=(2, 1), dtype=h5py.ref_dtype)
        cells[0, 0], cells[1, 0] = refs["a"].ref, refs["b"].ref
        cells.attrs["MATLAB_class"] = np.bytes_("cell")
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: TEST".ljust(124) + b"\x00\x02IM")


def test_matlab_7_3_axes_are_turned_back(tmp_path, comes_back):
    values = np.arange(6.0).reshape(2, 3)
    _write_mat73(tmp_path / "x.mat", values)
    recording = nt.load(tmp_path / "x.mat", arrays={
        "calcium/activity": {"name": "x", "dims": ("unit", "time"), "sfreq": {"name": "s.fs"}},
        "spikes": {"trains": "c{*}", "units": "s", "t_start": 0, "t_stop": 3},
    })  # fmt: skip
    assert recording.attrs["format"] == "mat-7.3"
    np.testing.assert_array_equal(recording["calcium/activity"], values)
    assert recording["calcium/activity"].attrs["sfreq"] == 25.0
    assert recording["spikes"]["row_size"].values.tolist() == [2, 0]
    comes_back(recording)


# ---- events and trials -----------------------------------------------------------------------------
def test_events_and_trials_of_arrays(tmp_path, comes_back):
    np.savez(tmp_path / "x.npz", on=[100, 300], kind=["a", "b"], t0=[0.0, 1.0], t1=[1.0, 2.0], side=[0, 1])
    recording = nt.load(tmp_path / "x.npz", arrays={
        "events": {"onset": "on", "units": "ms", "duration": 50, "trial_type": {"name": "kind"}},
        "trials": {"start": "t0", "stop": "t1", "columns": {"side": "side"}},
    })  # fmt: skip
    assert recording["events/onset"].values.tolist() == [0.1, 0.3]
    assert recording["events/duration"].values.tolist() == [0.05, 0.05]
    assert recording["events/trial_type"].values.tolist() == ["a", "b"]
    assert recording["trials/side"].values.tolist() == [0, 1]
    comes_back(recording)
    with pytest.raises(SchemaError, match="stop after they start"):
        nt.load(tmp_path / "x.npz", arrays={"trials": {"start": "t1", "stop": "t0"}})
