"""Results reach the disk whole or not at all, come back identical, and have one hash for what they say."""

import json
import multiprocessing
import os
import time
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from neurotools import schema
from neurotools.errors import ResultError, SettingsError
from neurotools.provenance import (
    MANIFEST,
    atomic,
    content_hash,
    file_hash,
    open_saved,
    save,
    settings_dict,
    stamp,
    versions,
)


def recording():
    x = schema.continuous(np.random.default_rng(0).random((3, 50)), dim="unit", sfreq=10.0, units="1")
    x = x.assign_coords(bad=("unit", [True, False, False]), unit=["a", "b", "ç"])
    return schema.recording_tree(
        {"calcium/activity": x, "events": schema.events_table([1.0, 2.0], trial_type=["left", "right"])},
        title="two words",
    )


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_a_recording_comes_back_identical(tmp_path, suffix):
    saved = recording()
    opened = open_saved(save(saved, tmp_path / f"x.{suffix}"))
    assert opened.identical(saved)
    assert content_hash(opened) == content_hash(saved)


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_text_stays_text_even_where_there_is_none(tmp_path, suffix):
    empty = np.array([], dtype="U1")
    saved = schema.recording_tree(
        {
            "calcium/activity": recording()["calcium/activity"],
            "events": schema.events_table([], trial_type=empty),
        }
    )
    opened = open_saved(save(saved, tmp_path / f"x.{suffix}"))
    assert (
        opened["events/trial_type"].dtype == empty.dtype
    )  # xarray calls texts and numbers identical if empty
    assert content_hash(opened) == content_hash(saved)
    assert open_saved(save(recording(), tmp_path / f"y.{suffix}"))["events/trial_type"].dtype == "U5"


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
@given(
    values=st.lists(st.floats(allow_nan=True, width=64), min_size=1, max_size=6),
    text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
)
@settings(max_examples=15, deadline=None)
def test_any_dataset_comes_back_identical(tmp_path_factory, suffix, values, text):
    saved = xr.Dataset(
        {"a": ("t", np.array(values)), "n": ("t", np.arange(len(values))), "s": ("t", [text] * len(values))},
        attrs={"text": text, "number": 1.5, "list": np.array([1, 2])},
    )
    path = tmp_path_factory.mktemp("any") / f"x.{suffix}"
    xr.testing.assert_identical(open_saved(save(saved, path)), saved)


def test_the_hash_sees_values_names_and_attributes_but_not_when_or_where():
    base = xr.Dataset({"a": ("t", [1.0, 2.0])}, attrs={"seed": 1})
    assert content_hash(base) == content_hash(base.assign_attrs(created="today", host="here"))
    for other in (base + 1, base.rename(a="b"), base.assign_attrs(seed=2), base.astype("float32")):
        assert content_hash(other) != content_hash(base)
    table = pd.DataFrame({"x": [1.0]})
    assert content_hash(base, table) != content_hash(base)


def test_the_hash_of_a_fixed_result_never_changes():
    """Stored hashes of results must stay comparable from one version to the next."""
    result = xr.Dataset(
        {
            "a": (("u", "t"), np.arange(6.0).reshape(2, 3), {"units": "V"}),
            "b": ("t", np.array([True, False, True])),
            "c": ((), np.float32(1.5)),
            "day": ("t", np.array(["2001-01-01", "2001-01-02", "2001-01-03"], dtype="M8[ns]")),
        },
        coords={"u": ["x", "yy"], "t": [0, 1, 2]},
        attrs={"seed": 1, "list": np.array([1, 2])},
    )
    table = pd.DataFrame({"x": [1.0, 0.1], "name": ["p", "q"]})
    assert content_hash(result, table) == "289babccc553ccf03ad6f9f7e6be0c9155cd3856c8466cacf6c5f13235771c23"
    empty = content_hash(result.isel(u=[]))
    assert empty == "e27f8197ec5cb2fb74ebe1c54687c6caf01eba0fa356cbffea041f12ed050cfd"


def test_a_store_with_a_missing_chunk_is_refused(tmp_path):
    path = save(recording(), tmp_path / "x.zarr")
    chunk = next(
        p for p in sorted(path.rglob("*")) if p.is_file() and "activity" in str(p) and "c" in p.parts
    )
    chunk.unlink()
    with pytest.raises(ResultError, match="missing or was changed"):
        open_saved(path)
    (path / MANIFEST).unlink()
    with pytest.raises(ResultError, match="only partly written"):
        open_saved(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = save(recording(), tmp_path / "x.nc")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ResultError, match="cannot be opened"):
        open_saved(path)


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_a_byte_that_changed_on_disk_is_noticed(tmp_path, suffix):
    path = save(
        xr.Dataset({"a": ("t", np.random.default_rng(0).normal(size=4000))}), tmp_path / f"x.{suffix}"
    )
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    largest = max(files, key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    with pytest.raises(ResultError, match="do not match their checksums"):
        open_saved(path)


def test_a_failed_write_leaves_the_old_result_and_no_litter(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")

    def fail_half_way():
        with atomic(path) as staged:
            staged.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_only_formats_that_keep_everything_are_offered(tmp_path):
    with pytest.raises(SettingsError, match=r"\.nc or \.zarr"):
        save(recording(), tmp_path / "x.pkl")


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_killed_while_writing_shows_the_old_or_the_new_and_never_a_part(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    save(xr.Dataset({"a": ("t", np.zeros(10))}), path)
    context = multiprocessing.get_context("fork")  # which has the libraries already
    for delay in (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2):
        began = context.Event()
        child = context.Process(target=save_ones, args=(path, began))
        child.start()
        assert began.wait(30)
        time.sleep(delay)
        child.kill()
        child.join()
        found = open_saved(path)["a"].to_numpy()
        assert (found.size, float(found.sum())) in {(10, 0.0), (4_000_000, 4_000_000.0)}


def save_ones(path, began):
    data = xr.Dataset({"a": ("t", np.ones(4_000_000))})
    began.set()
    save(data, path)


def test_file_hash_sees_names_inside_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    first = file_hash(tmp_path / "a")
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    assert file_hash(tmp_path / "a") != first


@dataclass(frozen=True)
class Inner:
    width: float = 1.0


@dataclass(frozen=True)
class Outer:
    seed: int = 3
    inner: Inner = field(default_factory=Inner)
    bands: tuple[int, ...] = (1, 2)


def test_settings_travel_as_json():
    fit = stamp(xr.Dataset(), "outer", Outer())
    assert json.loads(fit.attrs["settings"]) == {
        "seed": 3,
        "inner": {"type": "Inner", "width": 1.0},
        "bands": [1, 2],
    }
    assert fit.attrs["seed"] == 3
    assert settings_dict(Inner()) == {"width": 1.0}


def test_versions_name_what_is_installed():
    assert set(versions("numpy", "no-such-package")) == {"neurotools", "numpy"}
