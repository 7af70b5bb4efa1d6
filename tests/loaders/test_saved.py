"""What ``nt.save`` wrote opens whatever its size; what a store claims and does not hold is refused."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools import provenance, schema
from neurotools.errors import FileError
from neurotools.loaders.reading.limits import limited_to

LIMIT = 2**20


def recording(n: int = 50_000) -> xr.DataTree:
    """Five units of 400 kB each."""
    values = np.random.default_rng(0).normal(size=(5, n))
    nodes = {"calcium/activity": schema.continuous(values, dim="unit", sfreq=100.0, units="1")}
    return schema.recording_tree({**nodes, "events": schema.events_table([1.0, 2.0], trial_type=["a", "b"])})


@pytest.fixture(params=[".nc", ".zarr"])
def saved(request, tmp_path):
    """A store whose one array is larger than the limit."""
    return nt.save(recording(), tmp_path / f"x{request.param}")


def test_an_array_beyond_the_limit_opens_where_it_stays_on_disk(saved, monkeypatch):
    monkeypatch.setattr(provenance, "LAZY_BYTES", LIMIT // 2)
    with limited_to(LIMIT):
        found = nt.load(saved)
        x = found["calcium/activity"]
        assert x.nbytes == 2_000_000 > LIMIT
        assert not x.variable._in_memory
        part = x.isel(unit=2, time=slice(10, 20)).to_numpy()
    np.testing.assert_array_equal(part, recording()["calcium/activity"][2, 10:20])
    assert nt.content_hash(found["calcium"]) == nt.content_hash(recording()["calcium"])


def test_an_array_that_would_be_read_at_once_is_held_against_the_limit(saved):
    with limited_to(LIMIT), pytest.raises(FileError, match="more data than may be read") as caught:
        nt.load(saved)
    assert caught.value.code == "NT-FILE-005"
    assert "'calcium/activity'" in str(caught.value) or "'activity'" in str(caught.value)


def test_many_small_arrays_are_counted_together(tmp_path):
    time = {"time": np.arange(50_000) / 10}
    arrays = {f"calcium/a{i}": xr.DataArray(np.zeros(50_000), time, ("time",)) for i in range(4)}
    path = nt.save(schema.recording_tree(arrays), tmp_path / "x.nc")
    with limited_to(LIMIT), pytest.raises(FileError, match=r"and \d+ smaller ones claims more data"):
        nt.load(path)
    with limited_to(2 * LIMIT + LIMIT // 2):
        assert nt.load(path)["calcium/a3"].sizes["time"] == 50_000


@pytest.mark.parametrize("chunks", [None, (1000, 1000)])
def test_an_hdf5_store_that_holds_less_than_it_claims(tmp_path, chunks):
    path = nt.save(recording(1000), tmp_path / "x.nc")
    with h5py.File(path, "a") as file:
        file.create_dataset("calcium/huge", (10**6, 10**6), "f8", chunks=chunks)
    with pytest.raises(FileError, match="claims more values than are stored") as caught:
        nt.load(path)
    assert (caught.value.code, caught.value.where) == ("NT-FILE-003", "array 'calcium/huge'")
    assert caught.value.expected == "7.3 TiB"


def test_a_zarr_store_that_holds_less_than_it_claims(tmp_path):
    path = nt.save(recording(1000), tmp_path / "x.zarr")
    about = path / "calcium/activity/zarr.json"
    facts = json.loads(about.read_text())
    facts["shape"] = [5, 10**12]
    about.write_text(json.dumps(facts))
    manifest = path / provenance.MANIFEST
    sizes = json.loads(manifest.read_text())
    sizes["files"]["calcium/activity/zarr.json"] = about.stat().st_size
    manifest.write_text(json.dumps(sizes))
    with pytest.raises(FileError, match="claims more values than are stored") as caught:
        nt.load(path)
    assert caught.value.code == "NT-FILE-003"


def test_a_store_that_shows_another_file_is_refused(tmp_path):
    path = nt.save(recording(1000), tmp_path / "x.nc")
    (tmp_path / "secret").write_bytes(bytes(8000))
    with h5py.File(path, "a") as file:
        file.create_dataset("calcium/shown", (1000,), "f8", external=[(str(tmp_path / "secret"), 0, 8000)])
    with pytest.raises(FileError, match="other files") as caught:
        nt.load(path)
    assert caught.value.code == "NT-FILE-008"


def test_dimensions_without_labels_claim_nothing(tmp_path):
    """netCDF keeps such a dimension as a dataset of its length, of which nothing is stored or read."""
    tree = recording(1000)
    tree["extra"] = xr.DataTree(xr.Dataset({"x": ("sample", np.zeros(200_000, dtype="int8"))}))
    path = nt.save(tree, tmp_path / "x.nc")
    with limited_to(LIMIT // 2):
        assert nt.load(path)["extra/x"].sizes["sample"] == 200_000
