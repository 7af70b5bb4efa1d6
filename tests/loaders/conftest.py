"""What every loader's tests share: whatever loads must save, and come back identical."""

from __future__ import annotations

import pytest
import xarray as xr

import neurotools as nt


@pytest.fixture
def comes_back(tmp_path):
    """Function that saves a recording to netCDF and to Zarr and loads both again, identical."""

    def check(recording: xr.DataTree) -> None:
        assert not [f for f in nt.validate(recording) if f.level == "error"]
        for suffix in (".nc", ".zarr"):
            again = nt.load(nt.save(recording, tmp_path / f"recording{suffix}"))
            xr.testing.assert_identical(again, recording)
            assert nt.content_hash(again) == nt.content_hash(recording)

    return check
