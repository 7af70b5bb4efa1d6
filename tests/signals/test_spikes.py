"""Binning, peri-event histograms and tuning curves: no spike lost, and pynapple's numbers."""

import numpy as np
import pynapple as nap
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError
from neurotools.schema import events_table, recording_tree, spike_table, spike_trains, trials_table


def poisson(rng, n_unit=5, t_start=0.0, t_stop=60.0, rate=8.0, **coords):
    trains = [
        np.sort(rng.uniform(t_start, t_stop, rng.poisson(rate * (t_stop - t_start)))) for _ in range(n_unit)
    ]
    return spike_table(trains, unit=np.arange(n_unit) * 2, t_start=t_start, t_stop=t_stop, coords=coords)


# ---- bins -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("width", [0.01, 0.025, 0.5, 7.0])
def test_counts_equal_numpys_histogram(rng, width):
    spikes = poisson(rng)
    counts = nt.bin_spikes(spikes, width_s=width)
    edges = np.append(counts["time"].to_numpy(), 60.0)
    expected = [np.histogram(train, edges)[0] for train in spike_trains(spikes)]
    np.testing.assert_array_equal(counts, np.stack(expected, axis=1))
    assert counts.dims == ("time", "unit")
    assert counts.dtype == np.int64
    assert counts.attrs["units"] == "count"
    assert counts.attrs["bin_width"] == width
    assert counts.attrs["n_outside"] == 0


@pytest.mark.parametrize("width", [0.02, 0.1, 0.3, 1.0])
def test_counts_equal_pynapples_where_bins_are_whole(rng, width):
    spikes = poisson(rng, t_start=4397.0, t_stop=4457.0)
    counts = nt.bin_spikes(spikes, width_s=width)
    theirs = nt.to_pynapple(spikes).count(width, ep=nap.IntervalSet(4397.0, 4457.0))
    n = theirs.shape[0]
    assert n in {counts.sizes["time"], counts.sizes["time"] + 1}
    np.testing.assert_array_equal(counts[:n], theirs.values[: counts.sizes["time"]])
    np.testing.assert_allclose(counts["time"] + width / 2, theirs.t[: counts.sizes["time"]], atol=1e-9)


def test_intervals_are_binned_one_by_one_as_pynapple_does(rng):
    support = nap.IntervalSet([0.0, 20.0], [10.0, 30.0])
    whole = nap.TsGroup({0: nap.Ts(np.sort(rng.uniform(0, 30, 400))), 5: nap.Ts([20.0])})
    group = whole.restrict(support)
    recording = nt.from_pynapple(group)
    counts = nt.bin_spikes(recording, width_s=0.5)
    theirs = group.count(0.5, ep=support)
    np.testing.assert_array_equal(counts, theirs.values)
    np.testing.assert_allclose(counts["time"] + 0.25, theirs.t)
    np.testing.assert_array_equal(counts["session"], np.repeat([0, 1], 20))


def test_edges_are_closed_on_the_left_and_the_last_bin_on_the_right():
    spikes = spike_table([np.array([0.0, 0.1, 0.2, 0.3])], t_start=0.0, t_stop=0.3)
    np.testing.assert_array_equal(nt.bin_spikes(spikes, width_s=0.1)[:, 0], [1, 1, 2])


@pytest.mark.parametrize("width", [0.03, 0.07, 0.1, 1 / 3, 1 / 30])
def test_rounding_of_clocks_does_not_move_a_spike(width):
    """Spikes on edges, by two routes that differ by rounding, fall into the bin that the edge opens."""
    n = 200
    for times in (np.arange(n) * width, np.arange(n) / (1 / width), np.cumsum(np.full(n, width)) - width):
        spikes = spike_table([times], t_start=0.0, t_stop=n * width)
        np.testing.assert_array_equal(nt.bin_spikes(spikes, width_s=width)[:, 0], np.ones(n))


@settings(max_examples=200, deadline=None)
@given(
    times=st.lists(
        hnp.arrays("float64", st.integers(0, 30), elements=st.floats(-100, 5000, allow_nan=False)),
        min_size=1, max_size=4,
    ),
    width=st.floats(20, 700),
    extra=st.floats(0, 3),
)  # fmt: skip
def test_every_spike_is_counted_once(times, width, extra):
    times = [np.sort(train) for train in times]
    everything = np.concatenate(times)
    start = everything.min(initial=0.0)
    stop = everything.max(initial=start) + extra
    if stop <= start:
        stop = start + 1.0
    spikes = spike_table(times, t_start=start, t_stop=stop)
    counts = nt.bin_spikes(spikes, width_s=width)
    np.testing.assert_array_equal(counts.sum("time"), spikes["row_size"])
    assert counts.attrs["n_outside"] == 0
    edges = counts["time"].to_numpy()
    # The bins cover the recording: none before it, none that begins after it.
    assert edges[0] == start
    assert edges[-1] < stop
    assert edges[-1] + width >= stop - 1e-6
    for column, train in enumerate(times):
        for left, n in zip(edges[:-1], counts[:-1, column].to_numpy(), strict=True):
            assert (
                abs(((train >= left) & (train < left + width)).sum() - n)
                <= (np.abs(train - left) < 1e-8).sum() + (np.abs(train - left - width) < 1e-8).sum()
            )


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shift=st.sampled_from([-512.0, 4096.0, 65536.0]), k=st.integers(2, 9))
def test_counts_do_not_know_the_origin_and_add_up_over_wider_bins(seed, shift, k):
    rng = np.random.default_rng(seed)
    # Multiples of 2^-10 s, so that a shift is exact and edges are hit often.
    trains = [np.sort(rng.integers(0, 8 * 1024, 60)) / 1024 for _ in range(3)]
    here = spike_table(trains, t_start=0.0, t_stop=8.0)
    there = spike_table([train + shift for train in trains], t_start=shift, t_stop=8.0 + shift)
    fine = nt.bin_spikes(here, width_s=0.125)
    moved = nt.bin_spikes(there, width_s=0.125)
    np.testing.assert_array_equal(fine, moved)
    np.testing.assert_array_equal(fine["time"] + shift, moved["time"])
    coarse = nt.bin_spikes(here, width_s=0.125 * k)
    padded = np.zeros((coarse.sizes["time"] * k, 3), int)
    padded[: fine.sizes["time"]] = fine
    np.testing.assert_array_equal(padded.reshape(-1, k, 3).sum(axis=1), coarse)


def test_a_part_is_counted_and_the_rest_is_stated(rng):
    spikes = poisson(rng, region=["a", "a", "b", "b", "b"])
    counts = nt.bin_spikes(spikes, width_s=0.5, t_start=10.0, t_stop=20.0)
    assert counts.sizes["time"] == 20
    assert int(counts.sum()) + counts.attrs["n_outside"] == spikes.sizes["spike"]
    assert counts.attrs["n_outside"] > 0
    assert list(counts["region"].to_numpy()) == ["a", "a", "b", "b", "b"]


def test_a_partial_last_bin_says_so(rng):
    counts = nt.bin_spikes(poisson(rng, t_stop=10.4), width_s=1.0)
    assert counts.sizes["time"] == 11
    assert counts.attrs["last_bin_s"] == pytest.approx(0.4)


def test_silent_units_have_counts_of_zero():
    counts = nt.bin_spikes(spike_table([np.empty(0), np.array([1.0])], t_start=0, t_stop=2), width_s=1.0)
    np.testing.assert_array_equal(counts, [[0, 0], [0, 1]])


def test_what_cannot_be_binned_is_said(rng):
    spikes = poisson(rng)
    for width in (0.0, -1.0, float("nan")):
        with pytest.raises(SettingsError, match="positive number of seconds"):
            nt.bin_spikes(spikes, width_s=width)
    with pytest.raises(SettingsError, match="too many counts"):
        nt.bin_spikes(spikes, width_s=1e-8)
    with pytest.raises(SchemaError, match="no spikes to count"):
        nt.bin_spikes(recording_tree({"events": events_table([1.0])}), width_s=0.1)
    with pytest.raises(SchemaError, match="merge_bins"):
        nt.bin_spikes(nt.load("m1-reaching"), width_s=0.1)
    with pytest.raises(SchemaError, match="no time") as caught:
        nt.bin_spikes(spikes, width_s=0.1, t_start=70.0)
    assert "0 to 60 s" in caught.value.expected


# ---- around events ----------------------------------------------------------------------------------
def test_psth_equals_pynapple(rng):
    spikes = poisson(rng, n_unit=3)
    onset = rng.uniform(1, 58, 20)
    ours = nt.psth(spikes, onset, window=(-0.5, 1.0), width_s=0.1)
    theirs = nap.compute_perievent(nt.to_pynapple(spikes), nap.Ts(np.sort(onset)), window=(-0.5, 1.0))
    for unit in ours["unit"].to_numpy():
        aligned = theirs[unit]
        each = np.stack([np.histogram(aligned[key].t, np.arange(-5, 11) / 10)[0] for key in aligned.index])
        np.testing.assert_allclose(ours["rate"].sel(unit=unit), each.mean(0) / 0.1, rtol=1e-12)
        np.testing.assert_allclose(
            ours["sem"].sel(unit=unit), each.std(0, ddof=1) / np.sqrt(20) / 0.1, rtol=1e-12
        )
    assert ours["rate"].attrs["units"] == "Hz"
    np.testing.assert_allclose(ours["time"], np.arange(-5, 10) / 10)


def test_psth_of_counts_equals_that_of_spikes_when_events_begin_bins(rng):
    spikes = poisson(rng)
    counts = nt.bin_spikes(spikes, width_s=0.1)
    onset = counts["time"].to_numpy()[rng.choice(np.arange(20, 500), 15, replace=False)]
    from_spikes = nt.psth(spikes, onset, window=(-0.5, 1.0), width_s=0.1)
    from_counts = nt.psth(counts, onset, window=(-0.5, 1.0))
    xr.testing.assert_allclose(from_spikes, from_counts)


def test_psth_finds_a_response_that_was_put_there(rng):
    onset = np.arange(2.0, 58.0, 2.0)
    evoked = np.sort(np.concatenate([onset + 0.1 + rng.uniform(0, 0.05, onset.size) for _ in range(4)]))
    spikes = spike_table([evoked], t_start=0.0, t_stop=60.0)
    rate = nt.psth(spikes, onset, window=(-0.2, 0.4), width_s=0.05)["rate"][:, 0]
    expected = np.zeros(12)
    expected[6] = 4 / 0.05
    np.testing.assert_allclose(rate, expected)


def test_events_may_be_named_or_tables(rng):
    onset = np.array([5.0, 10.0, 15.0, 20.0])
    tree = recording_tree(
        {
            "spikes": poisson(rng),
            "events": events_table(onset, 0.0, ["go", "stop", "go", "stop"]),
            "trials": trials_table(onset[::2], onset[::2] + 1),
        }
    )
    named = nt.psth(tree, "go")
    for same in (onset[::2], tree["trials"], tree["trials"].to_dataset(), xr.DataArray(onset[::2])):
        xr.testing.assert_identical(named, nt.psth(tree, same))
    assert named.attrs["n_events"] == 2
    with pytest.raises(SettingsError, match="no events of type 'og'") as caught:
        nt.psth(tree, "og")
    assert "go, stop" in caught.value.expected


def test_events_at_the_end_are_an_error_unless_told(rng):
    spikes = poisson(rng)
    onset = np.array([0.2, 30.0, 59.5])
    with pytest.raises(SchemaError, match="reach out of the recording") as caught:
        nt.psth(spikes, onset)
    assert caught.value.code == "NT-DATA-007"
    assert "2 of 3" in caught.value.found
    found = nt.psth(spikes, onset, outside="drop")
    assert (found.attrs["n_events"], found.attrs["n_left_out"]) == (1, 2)
    assert np.isnan(found["sem"]).all()  # one event has no standard error
    with pytest.raises(SchemaError):
        nt.psth(spikes, onset[[0, 2]], outside="drop")
    whole = nt.psth(spikes, [0.5, 59.0])  # windows that end with the recording lie inside it
    assert whole.attrs["n_events"] == 2


def test_windows_do_not_cross_from_one_interval_to_the_next(rng):
    support = nap.IntervalSet([0.0, 20.0], [10.0, 30.0])
    group = nap.TsGroup({0: nap.Ts(np.sort(rng.uniform(0, 30, 400)))}).restrict(support)
    recording = nt.from_pynapple(group)
    counts = nt.bin_spikes(recording, width_s=0.1)
    for data in (recording, counts):
        found = nt.psth(data, [5.0, 9.9, 20.1, 25.0], window=(-0.5, 0.5), outside="drop")
        assert found.attrs["n_left_out"] == 2


def test_psth_refuses_what_it_cannot_mean(rng):
    spikes = poisson(rng)
    counts = nt.bin_spikes(spikes, width_s=0.1)
    with pytest.raises(SettingsError, match="whole number of bins"):
        nt.psth(spikes, [5.0], window=(-0.55, 1.0), width_s=0.1)
    with pytest.raises(SettingsError, match="keep the width"):
        nt.psth(counts, [5.0], width_s=0.2)
    with pytest.raises(SchemaError, match="finite times"):
        nt.psth(spikes, [5.0, np.nan])
    with pytest.raises(SchemaError, match="finite times"):
        nt.psth(spikes, [])
    with pytest.raises(SchemaError, match="a list of times") as caught:
        nt.psth(spikes, np.asarray(11))
    assert "'11' for events of that type" in caught.value.fix
    with pytest.raises(SettingsError, match="'error' or 'drop'"):
        nt.psth(spikes, [5.0], outside="wrap")
    with pytest.raises(SchemaError, match="bin_width"):
        nt.psth(counts.drop_attrs().assign_attrs(units="count"), [5.0])


# ---- tuning -----------------------------------------------------------------------------------------
def place(rng, t_start=4397.0, n=3600, sfreq=30.0, name="x"):
    time = t_start + np.arange(n) / sfreq
    values = np.abs(np.cumsum(rng.normal(size=n)) % 200 - 100)
    return xr.DataArray(values, dims="time", coords={"time": time}, name=name, attrs={"units": "cm"})


def test_tuning_equals_pynapple(rng):
    x = place(rng)
    spikes = poisson(rng, t_start=4397.0, t_stop=4517.0)
    ours = nt.tuning_curve(spikes, x, bins=12)
    theirs = nap.compute_tuning_curves(
        nt.to_pynapple(spikes), nap.Tsd(t=x["time"].to_numpy(), d=x.to_numpy()), bins=12
    )
    np.testing.assert_allclose(ours["rate"], theirs.to_numpy(), rtol=1e-9)
    np.testing.assert_allclose(ours["x"], theirs["0"].to_numpy())
    np.testing.assert_allclose(ours["occupancy"] * 30, theirs.attrs["occupancy"])
    assert ours["rate"].attrs["units"] == "Hz"
    assert ours["x"].attrs["units"] == "cm"


def test_place_fields_of_a_real_recording_equal_pynapples(shared):
    """A recording that begins at 4397 s: spikes on a 30 kHz clock, positions at 60 Hz, often equally near."""
    recording = nt.load(
        shared("data/spikes_hpc_linear_track") / "linear_track_tidy.npz",
        kind="spikes",
        arrays={
            "spikes": {"time": "spike_time_s", "unit": "spike_unit", "units": "s"},
            "behaviour/x": {
                "name": "x_px", "dims": ["time"], "time": "pos_time_s", "units": "px", "repeats": "first",
            },
        },
    )  # fmt: skip
    counts = nt.bin_spikes(recording, width_s=0.02)
    assert int(counts.sum()) == 28_829
    assert float(counts["time"][0]) == 4397.0023
    x = recording["behaviour/x"]
    ours = nt.tuning_curve(recording, x, bins=40)
    theirs = nap.compute_tuning_curves(
        nt.to_pynapple(recording["spikes"]), nap.Tsd(t=x["time"].to_numpy(), d=x.to_numpy()), bins=40
    )
    visits = theirs.attrs["occupancy"]
    np.testing.assert_allclose(ours["occupancy"], visits / theirs.attrs["fs"], rtol=1e-3)
    spikes = ours["rate"] * ours["occupancy"]
    difference = np.abs(
        np.nan_to_num(spikes) - np.nan_to_num(theirs.to_numpy() * visits / theirs.attrs["fs"])
    )
    # Only spikes in gaps of the tracking differ: pynapple gives them a place, here they are left out.
    assert difference.sum() <= ours.attrs["n_unmatched"] <= 10


def test_tuning_to_two_features_equals_pynapple(rng):
    x, y = place(rng), place(rng, name="y")
    spikes = poisson(rng, t_start=4397.0, t_stop=4517.0)
    ours = nt.tuning_curve(spikes, {"x": x, "y": y}, bins=[8, 5], limits=[(0, 100), (0, 80)])
    frame = nap.TsdFrame(t=x["time"].to_numpy(), d=np.stack([x, y], axis=1), columns=["x", "y"])
    theirs = nap.compute_tuning_curves(nt.to_pynapple(spikes), frame, bins=[8, 5], range=[(0, 100), (0, 80)])
    assert ours["rate"].dims == ("unit", "x", "y")
    np.testing.assert_allclose(ours["rate"], theirs.to_numpy(), rtol=1e-9)


def test_tuning_of_a_signal_equals_pynapple(rng):
    x = place(rng, n=900)
    activity = xr.DataArray(
        rng.normal(size=(4, 900)), dims=("unit", "time"), attrs={"units": "1"},
        coords={"unit": list("abcd"), "time": x["time"]},
    )  # fmt: skip
    ours = nt.tuning_curve(activity, x, bins=10)
    theirs = nap.compute_tuning_curves(
        nap.TsdFrame(t=x["time"].to_numpy(), d=activity.to_numpy().T),
        nap.Tsd(t=x["time"].to_numpy(), d=x.to_numpy()), bins=10,
    )  # fmt: skip
    np.testing.assert_allclose(ours["mean"], theirs.to_numpy(), rtol=1e-9)
    assert ours["mean"].attrs["units"] == "1"


def test_tuning_of_counts_agrees_with_that_of_spikes(rng):
    spikes = poisson(rng, t_start=0.0, t_stop=120.0)
    counts = nt.bin_spikes(spikes, width_s=1 / 30)
    x = place(rng, t_start=0.0).assign_coords(time=counts["time"].to_numpy())
    ours = nt.tuning_curve(counts, x, bins=6)
    total = (ours["rate"] * ours["occupancy"]).sum("x")
    np.testing.assert_allclose(total, counts.sum("time"), rtol=1e-6)
    assert ours["rate"].attrs["units"] == "Hz"


def test_tuning_recovers_a_place_field(rng):
    x = place(rng, t_start=0.0, n=20_000)
    true = 2.0 + 30.0 * np.exp(-(((x.to_numpy() - 60) / 10) ** 2))
    n = rng.poisson(true / 30.0)
    times = np.repeat(x["time"].to_numpy(), n) + rng.uniform(-0.4, 0.4, n.sum()) / 30
    times = np.sort(np.clip(times, 0, None))
    spikes = spike_table([times], t_start=0.0, t_stop=float(times.max()))
    found = nt.tuning_curve(spikes, x, bins=np.arange(0, 101, 5.0))
    expected = 2.0 + 30.0 * np.exp(-(((found["x"].to_numpy() - 60) / 10) ** 2))
    error = np.sqrt(expected / found["occupancy"].to_numpy())
    assert (np.abs(found["rate"][0].to_numpy() - expected) < 4 * error + 1.5).all()
    assert float(found["x"][int(found["rate"][0].argmax())]) == pytest.approx(60, abs=5)


def test_spikes_in_a_gap_of_the_feature_are_left_out_and_counted():
    x = place(np.random.default_rng(0), t_start=0.0, n=300)
    with_gap = x.where((x["time"] < 3) | (x["time"] > 7)).dropna("time")
    spikes = spike_table([np.array([1.0, 5.0, 8.0])], t_start=0.0, t_stop=10.0)
    found = nt.tuning_curve(spikes, with_gap, bins=4)
    assert found.attrs["n_unmatched"] == 1
    assert float(found["occupancy"].sum()) == pytest.approx(with_gap.size / 30)
    with pytest.raises(SchemaError, match="finite values") as caught:
        nt.tuning_curve(spikes, x.where(x["time"] < 3), bins=4)
    assert "dropna" in caught.value.fix


def test_bins_never_visited_are_nan():
    x = place(np.random.default_rng(0), t_start=0.0, n=300)
    spikes = spike_table([np.array([1.0])], t_start=0.0, t_stop=10.0)
    found = nt.tuning_curve(spikes, x, bins=5, limits=(0, 1000))
    assert np.isnan(found["rate"][0, -1])
    assert found["occupancy"][-1] == 0


def test_tuning_refuses_what_it_cannot_mean(rng):
    x = place(rng, t_start=0.0)
    spikes = poisson(rng)
    counts = nt.bin_spikes(spikes, width_s=0.1)
    with pytest.raises(SchemaError, match="share their clock"):
        nt.tuning_curve(counts, x)
    with pytest.raises(SchemaError, match="one dimension 'time'"):
        nt.tuning_curve(spikes, x.expand_dims("axis"))
    with pytest.raises(SettingsError, match="must increase"):
        nt.tuning_curve(spikes, x, bins=[3.0, 2.0, 1.0])
    with pytest.raises(SettingsError, match="one entry per feature"):
        nt.tuning_curve(spikes, {"x": x, "y": x}, bins=[1, 2, 3])
    with pytest.raises(SchemaError, match="share their clock"):
        nt.tuning_curve(spikes, {"x": x, "y": place(rng)})


def test_results_survive_the_disk(rng, tmp_path):
    x = place(rng)
    spikes = poisson(rng, t_start=4397.0, t_stop=4517.0)
    for result in (
        nt.bin_spikes(spikes, width_s=0.1).to_dataset(name="counts"),
        nt.psth(spikes, [4400.0, 4410.0]),
        nt.tuning_curve(spikes, x),
    ):
        for suffix in (".nc", ".zarr"):
            nt.save(result, tmp_path / f"r{suffix}")
            xr.testing.assert_identical(nt.open_fit(tmp_path / f"r{suffix}"), result)
