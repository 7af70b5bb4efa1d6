"""The schema at the door: order of dimensions is free, everything else is checked and named."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from neurotools import schema
from neurotools.errors import SchemaError


def activity(n_unit=3, n_time=20, sfreq=10.0):
    values = np.random.default_rng(0).random((n_unit, n_time))
    return schema.continuous(values, dim="unit", sfreq=sfreq, units="1")


def test_any_order_is_accepted_and_returned_canonical():
    x = activity()
    xr.testing.assert_identical(schema.SIGNAL.require(x.transpose("time", "unit")), x)


def test_wrong_dimensions_are_named_with_the_rename_that_mends_them():
    with pytest.raises(SchemaError, match=r"rename with data.rename\(neuron='unit'\)"):
        schema.SIGNAL.require(activity().rename(unit="neuron"))
    with pytest.raises(SchemaError, match="select or average over trial"):
        schema.SIGNAL.require(activity().expand_dims(trial=2))
    with pytest.raises(SchemaError, match="labelled array"):
        schema.SIGNAL.require(np.ones((2, 3)))


def test_values_that_are_not_finite_are_counted_and_placed():
    x = activity()
    x[1, 4] = np.nan
    with pytest.raises(SchemaError, match="1 of 60, the first at unit=1, time=4") as caught:
        schema.SIGNAL.require(x)
    assert caught.value.code == "NT-DATA-003"


def test_repeated_labels_are_listed():
    x = activity().assign_coords(unit=["a", "b", "a"])
    with pytest.raises(SchemaError, match="more than once") as caught:
        schema.SIGNAL.require(x)
    assert caught.value.found == "a"


@pytest.mark.parametrize("step", [0.0, -1.0])
def test_time_that_stands_or_runs_back_is_refused(step):
    time = np.arange(20.0)
    time[5] = time[4] + step
    with pytest.raises(SchemaError, match="increases") as caught:
        schema.SIGNAL.require(activity().assign_coords(time=time))
    assert "samples 4 and 5" in caught.value.where


def test_counts_must_be_whole_and_carry_their_unit():
    good = schema.counts_array(np.array([[0, 1], [2, 0]]), bin_width=0.02)
    assert schema.SPIKE_COUNTS.require(good).attrs["bin_width"] == 0.02
    with pytest.raises(SchemaError, match="needs the unit 'count'"):
        schema.SPIKE_COUNTS.require(good.assign_attrs(units="Hz"))
    with pytest.raises(SchemaError, match="whole numbers"):
        schema.SPIKE_COUNTS.require(good + 0.5)
    with pytest.raises(SchemaError, match="whole numbers"):
        schema.counts_array(np.array([[-1]]), bin_width=0.02)


def test_a_recording_stands_for_its_one_main_array():
    x = activity()
    recording = schema.recording_tree({"calcium/activity": x})
    xr.testing.assert_identical(schema.SIGNAL.require(recording), x.rename("activity"))
    both = schema.recording_tree({"calcium/activity": x, "fmri/bold": x.rename(unit="region")})
    with pytest.raises(SchemaError, match="several arrays") as caught:
        schema.signal(both)
    assert "calcium/activity" in caught.value.found
    spikes = schema.recording_tree({"spikes": schema.spike_table([np.array([0.1])], t_start=0, t_stop=1)})
    with pytest.raises(SchemaError, match="bin_spikes"):
        schema.signal(spikes)


def test_one_formula_for_time():
    time = schema.time_axis(100, 250.0, t0=2.0)
    np.testing.assert_array_equal(time, 2.0 + np.arange(100) / 250.0)
    with pytest.raises(SchemaError, match="positive number"):
        schema.time_axis(5, 0.0)


def test_arithmetic_between_clocks_that_differ_by_rounding_fails_loudly():
    a = xr.DataArray(np.ones(100), coords={"time": np.arange(100) / 250}, dims="time")
    b = xr.DataArray(np.ones(100), coords={"time": np.arange(100) * 0.004}, dims="time")
    with xr.set_options(arithmetic_join="exact"), pytest.raises(ValueError, match="exact"):
        a + b


@given(
    n=st.integers(2, 500),
    sfreq=st.floats(0.01, 1e5),
    t0=st.floats(-1e4, 1e5),
)
@settings(max_examples=100, deadline=None)
def test_a_clock_from_the_formula_is_always_regular(n, sfreq, t0):
    x = schema.continuous(np.zeros((1, n)), dim="unit", sfreq=sfreq, t0=t0, units="1")
    if (np.diff(x["time"]) > 0).all():  # steps below the spacing of floats are refused when built from stamps
        assert schema.sampling_rate(x) == pytest.approx(sfreq, rel=2e-3)


def test_an_irregular_clock_has_no_rate():
    time = np.array([0, 1, 2, 4.5, 5.5])
    x = schema.continuous(np.zeros((1, 5)), dim="unit", time=time, units="1")
    with pytest.raises(SchemaError, match="regular clock"):
        schema.sampling_rate(x)
    notes = schema.validate(schema.recording_tree({"calcium/activity": x}))
    assert [note.code for note in notes if "clock" in note.problem] == ["NT-DATA-004"]


def test_spikes_are_checked_unit_by_unit():
    with pytest.raises(SchemaError, match="not sorted") as caught:
        schema.spike_table([np.array([1.0]), np.array([2.0, 1.0])], unit=["a", "b"], t_start=0, t_stop=3)
    assert caught.value.where == "unit b"
    with pytest.raises(SchemaError, match="not finite"):
        schema.spike_table([np.array([np.nan])], t_start=0, t_stop=3)
    with pytest.raises(SchemaError, match="outside the recording"):
        schema.spike_table([np.array([-0.5])], t_start=0, t_stop=3)
    table = schema.spike_table([np.array([1.0, 2.0]), np.array([])], t_start=0, t_stop=3)
    assert [train.tolist() for train in schema.spike_trains(table)] == [[1.0, 2.0], []]


def test_tables_refuse_intervals_that_run_backwards():
    with pytest.raises(SchemaError, match="stop after they start"):
        schema.trials_table(np.array([0.0, 2.0]), np.array([1.0, 1.0]))
    with pytest.raises(SchemaError, match="durations"):
        schema.events_table([1.0], duration=-1.0)


def test_attributes_are_those_that_every_file_format_stores():
    assert schema.plain_attrs({"a": None, "b": True, "c": np.float64(2), "d": [1, 2]}).keys() == {
        "b",
        "c",
        "d",
    }
    with pytest.raises(SchemaError, match="cannot be stored"):
        schema.plain_attrs({"a": {"x": 1}})


def test_validate_reports_every_fault_and_not_only_the_first():
    x = activity(n_unit=2)
    x[0] = 1.0
    x[1, 3] = np.nan
    findings = schema.validate(schema.recording_tree({"calcium/activity": x}))
    assert {finding.code for finding in findings} == {"NT-DATA-003", "NT-DATA-010"}
    assert all(finding.level == "note" for finding in findings)


def test_labels_and_rows_must_agree():
    with pytest.raises(SchemaError, match="differ in number"):
        schema.continuous(np.ones((2, 3)), dim="unit", labels=["a"], sfreq=1.0, units="1")
    with pytest.raises(SchemaError, match="not both"):
        schema.continuous(np.ones((2, 3)), dim="unit", units="1")
