"""Nothing held out was ever seen: groups, overlaps, copies, gaps, sequences."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from encoder_frame_cases import encoder, windows
from hypothesis import given, settings
from hypothesis import strategies as st

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError
from neurotools.models.encoders import splits
from neurotools.models.encoders.splits import Places


def places(start, recording=None, group=None, length=2.0):
    start = np.asarray(start, dtype=float)
    recording = np.zeros(len(start), int) if recording is None else np.asarray(recording)
    group = np.full(len(start), "a") if group is None else np.asarray(group, dtype=str)
    return Places(recording, group, "recording", start, length)


def overlap_by_definition(where, one, other):
    """Whether any window of one side shares a moment with any of the other, by looking at all pairs."""
    for i in np.flatnonzero(one):
        for j in np.flatnonzero(other):
            near = abs(where.start[i] - where.start[j]) < where.length * (1 - 1e-5)
            if where.recording[i] == where.recording[j] and near:
                return True
    return False


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2), st.integers(0, 3)), min_size=4, max_size=14),
    st.sampled_from([0.1, 0.2, 0.5]),
    st.integers(0, 5),
)
def test_no_split_lets_sides_overlap(entries, share, seed):
    start, recording, group = (np.array(part) for part in zip(*entries, strict=True))
    where = places(start / 2, recording, group)
    try:
        side = splits.split(where, share, seed)
    except SchemaError:
        return  # groups cut through overlapping windows, or nothing is left to train on
    train, out = side == "train", side == "held_out"
    assert train.any()
    assert out.any()
    assert not overlap_by_definition(where, train, out)
    if len(np.unique(where.group)) > 1:
        assert not set(where.group[train]) & set(where.group[out])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 1), st.booleans()), min_size=2, max_size=12))
def test_overlaps_are_found_exactly_where_they_are(entries):
    start, recording, side = (np.array(part) for part in zip(*entries, strict=True))
    where = places(start / 2, recording)
    if overlap_by_definition(where, side, ~side):
        with pytest.raises(SchemaError, match="overlap in time"):
            splits.check_apart(where, side, ~side)
    else:
        splits.check_apart(where, side, ~side)


def test_one_recording_loses_its_end_and_the_windows_that_reach_into_it():
    side = splits.split(places(np.arange(0, 20, 0.5)), 0.25, seed=0)  # half a second apart, 2 s long
    first = np.flatnonzero(side == "held_out")[0]
    assert (side[first:] == "held_out").all()
    assert (side[first - 3 : first] == "gap").all()
    assert (side[: first - 3] == "train").all()
    with pytest.raises(SchemaError, match="too short to hold a part of it out"):
        splits.split(places([0.0, 0.5, 1.0]), 0.2, seed=0)


def test_groups_are_drawn_by_seed_and_whole():
    where = places(np.tile(np.arange(4) * 2.0, 10), np.repeat(np.arange(10), 4), np.repeat(np.arange(10), 4))
    sides = [splits.split(where, 0.3, seed) for seed in range(6)]
    for side in sides:
        assert (side.reshape(10, 4) == side.reshape(10, 4)[:, :1]).all()
        assert (side == "held_out").sum() == 12
    assert len({side.tobytes() for side in sides}) > 1
    np.testing.assert_array_equal(sides[2], splits.split(where, 0.3, 2))


def test_groups_that_cut_through_overlapping_windows_are_refused(tmp_path):
    data = windows(1, 20)
    data = data.assign_coords(window=np.arange(20) * 0.5, kind=("window", np.arange(20) % 2))
    with pytest.raises(SchemaError, match="overlap in time would stand on both sides") as caught:
        encoder("elm").fit(data, out=tmp_path / "fit", groups="kind")
    assert "nt.encoders.join" in str(caught.value)
    assert not (tmp_path / "fit").exists()


def test_copies_on_both_sides_are_refused(tmp_path):
    data = windows(2, 8)
    copied = nt.encoders.join({"a": data.isel(window=slice(0, 8)), "b": data.isel(window=slice(0, 8))})
    with pytest.raises(SchemaError, match="hold the same numbers; 8 such"):
        encoder("elm").fit(copied, out=tmp_path / "fit", groups="recording")


def test_groups_by_name_by_array_and_by_mistake():
    data = windows(3, 4)
    named = splits.places_of(data, "recording")
    given_ = splits.places_of(data, data["recording"])
    np.testing.assert_array_equal(named.group, given_.group)
    np.testing.assert_array_equal(splits.places_of(data, None).group, named.group)
    alone = data.isel(window=slice(0, 4)).drop_vars("recording")
    assert splits.places_of(alone, "recording").unit == "recording"  # one recording needs no label
    with pytest.raises(SettingsError, match="Did you mean 'recording'"):
        splits.places_of(data, "recordin")
    with pytest.raises(SchemaError, match="one label for each window"):
        splits.places_of(data, np.arange(3))


def test_sequences_are_windows_in_a_row_of_one_recording_and_one_side():
    start = [0, 2, 4, 8, 10, 12, 0, 2, 4, 6]  # a break after the third
    where = places(start, recording=[0] * 6 + [1] * 4, group=["a"] * 6 + ["b"] * 4)
    chosen = np.array([True] * 9 + [False])
    found = splits.sequences(where, chosen, 2, 1)
    assert found.tolist() == [[0, 1], [1, 2], [3, 4], [4, 5], [6, 7], [7, 8]]
    assert splits.sequences(where, chosen, 3, 3).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    shuffled = np.random.default_rng(0).permutation(10)
    mixed = places(np.array(start)[shuffled], where.recording[shuffled], where.group[shuffled])
    found = splits.sequences(mixed, chosen[shuffled], 3, 3)
    assert [np.sort(mixed.start[row]).tolist() == mixed.start[row].tolist() for row in found] == [True] * 3


def test_join_says_which_is_which_and_refuses_what_does_not_fit():
    data = windows(2, 3)
    assert data["recording"].values.tolist() == ["r0"] * 3 + ["r1"] * 3
    assert data.attrs["sfreq"] == 100.0
    one, other = data.isel(window=slice(0, 3)), data.isel(window=slice(3, 6))
    for wrong, said in (
        (other.assign_attrs(sfreq=50.0), "sampling rate"), (other.assign_attrs(units="uV"), "unit"),
        (other.isel(channel=[0, 1]), "channels"), (other.isel(time=slice(0, 50)), "length"),
    ):  # fmt: skip
        with pytest.raises(SchemaError, match=f"differ in {said}"):
            nt.encoders.join({"a": one, "b": wrong})
    with pytest.raises(SchemaError, match="no windows to join"):
        nt.encoders.join({})
    by_subject = nt.encoders.join({"s1": one, "s2": other}, name="subject")
    assert isinstance(by_subject, xr.DataArray)
    assert set(by_subject["subject"].values) == {"s1", "s2"}
