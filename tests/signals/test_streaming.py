"""Recordings longer than memory: drives on disk and factors from there, as if all were in memory."""

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools import schema
from neurotools.errors import SchemaError, SettingsError


def traces(n_unit=6, n_time=230, sfreq=10.0):
    rng = np.random.default_rng(0)
    waves = np.cumsum(rng.normal(size=(2, n_time)), axis=1)
    values = waves[np.arange(n_unit) % 2] + 0.3 * rng.normal(size=(n_unit, n_time))
    values[3] = 1.0
    return schema.continuous(values, dim="unit", sfreq=sfreq, units="1", labels=list("abcdefgh")[:n_unit])


@pytest.mark.parametrize("smooth_s", [None, 0.3])
@pytest.mark.parametrize("normalise", ["max", "none"])
def test_drives_on_disk_are_those_in_memory(tmp_path, smooth_s, normalise):
    x = traces()
    options = {"smooth_s": smooth_s, "normalise": normalise, "floor": 0.02}
    there = nt.stream_affinity(x, tmp_path / "drives.zarr", chunk=37, **options)
    here = nt.differential_affinity(x, **options)
    assert not there["drive_up"].variable._in_memory
    xr.testing.assert_allclose(there.load(), here, rtol=1e-12, atol=1e-12)
    assert there.attrs == here.attrs


def test_sessions_are_kept_apart(tmp_path):
    x = traces().assign_coords(session=("time", np.repeat([0, 1], [100, 130])))
    there = nt.stream_affinity(x, tmp_path / "drives.zarr", chunk=33, smooth_s=0.3)
    xr.testing.assert_allclose(
        there.load(), nt.differential_affinity(x, smooth_s=0.3), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize(("kernel", "layout"), [("geomean", "pair"), ("min", "symcp"), ("anti", "ll1")])
def test_factors_from_disk_are_those_from_memory(tmp_path, kernel, layout):
    x = traces()
    there = nt.stream_affinity(x, tmp_path / "drives.zarr", chunk=50, kernel=kernel)
    model = {"rank": 2, "layout": layout, "n_restarts": 1, "max_iter": 4, "tol": 0.0}
    streamed = nt.NTF(**model, chunk=90)
    fit, whole = streamed.fit(there), nt.NTF(**model).fit(nt.differential_affinity(x, kernel=kernel))
    np.testing.assert_allclose(fit["error"], whole["error"], rtol=1e-9)
    np.testing.assert_allclose(nt.motif(fit), nt.motif(whole), atol=1e-8)
    np.testing.assert_allclose(fit["time_loading"], whole["time_loading"], atol=1e-8)
    np.testing.assert_allclose(
        streamed.transform(fit, there), nt.NTF(**model).transform(whole, there.load()), atol=1e-6
    )


def test_several_animals_and_ordered_pairs_are_read_in_chunks_too(tmp_path):
    values = np.stack([traces().to_numpy(), np.roll(traces().to_numpy(), 7, axis=1)])
    x = xr.DataArray(values, dims=("subject", "unit", "time"), coords={"time": np.arange(230) / 10})
    for kernel, layout in (("geomean", "symcp"), ("lagged", "cp"), ("lagged", "pair")):
        affinity = nt.differential_affinity(x, kernel=kernel, lag_s=0.2 if kernel == "lagged" else None)
        model = {"rank": 2, "layout": layout, "n_restarts": 1, "max_iter": 3, "tol": 0.0}
        fit, whole = nt.NTF(**model, chunk=60).fit(affinity), nt.NTF(**model).fit(affinity)
        np.testing.assert_allclose(fit["error"], whole["error"], rtol=1e-9)


def test_what_cannot_be_streamed_is_refused(tmp_path):
    x, path = traces(), tmp_path / "drives.zarr"
    with pytest.raises(SettingsError, match="at once than a chunk"):
        nt.stream_affinity(x, path, kernel="corr_window", smooth_s=2.0)
    with pytest.raises(SettingsError, match="at once than a chunk"):
        nt.stream_affinity(x, path, normalise="percentile99")
    with pytest.raises(SchemaError, match="not finite"):
        nt.stream_affinity(x.where(x["time"] < 20), path)
    assert not path.exists()
    nt.stream_affinity(x, path)
    with pytest.raises(SettingsError, match="something at this path"):
        nt.stream_affinity(x, path)
    with pytest.raises(SettingsError, match="looks beyond a chunk"):
        nt.NTF(rank=1, chunk=20).fit(nt.differential_affinity(x, kernel="corr_window", smooth_s=2.0))
    with pytest.raises(SettingsError, match="chunk must be at least 0"):
        nt.NTF(rank=1, chunk=-1)
