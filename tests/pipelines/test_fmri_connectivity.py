"""fmri-connectivity from a recording to files and a page, its group, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from neurotools.pipelines import fmri_connectivity
from neurotools.pipelines.runner import run

import neurotools as nt
from neurotools import schema
from neurotools.errors import SchemaError, SettingsError


@pytest.fixture
def dataset(tmp_path, rng):
    folder = tmp_path / "recordings"
    shared = rng.normal(size=(120, 2)) @ rng.normal(size=(2, 5))
    for name in ("sub-01", "sub-02", "sub-03"):
        values = (shared + rng.normal(size=(120, 5))).T
        bold = schema.continuous(values, dim="region", labels=list("abcde"), sfreq=0.5, units="arbitrary")
        nt.save(schema.recording_tree({"fmri/bold": bold}), folder / f"{name}.nc")
    return folder


def test_recordings_become_matrices_pages_and_a_group(dataset, tmp_path):
    outcome = run("fmri-connectivity", dataset, tmp_path / "out", overrides=["window_s=60", "low=0.01"])
    assert outcome.exit_status == 0
    folder = tmp_path / "out" / "sub-02"
    result = nt.open_fit(folder / "fit.nc")
    recording = nt.load(dataset / "sub-02.nc")
    expected = nt.connectivity(nt.clean(nt.signal(recording), low=0.01), kind="partial")
    np.testing.assert_allclose(result["static/partial"], expected)
    assert result["windows"].sizes["window"] > 10
    pairs = pd.read_csv(folder / "tables" / "pairs.tsv", sep="\t")
    assert len(pairs) == 10
    row = pairs[(pairs["region"] == "b") & (pairs["region_to"] == "d")]
    assert float(row["partial"].iloc[0]) == pytest.approx(float(expected.sel(region="b", region_to="d")))
    page = (folder / "report.html").read_text()
    assert "Strongest pairs by partial correlation" in page
    assert "cleaned with nilearn" in page
    group = nt.open_fit(tmp_path / "out" / "group.nc")
    assert group["correlation"].sizes["recording"] == 3
    np.testing.assert_allclose(group["displacement"].mean("recording"), 0, atol=1e-5)


def test_the_script_in_the_page_gives_the_same(tmp_path):
    run("fmri-connectivity", "alice-story", tmp_path / "out", overrides=["kinds=[correlation]"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "correlation = nt.connectivity(recording, kind=&#x27;correlation&#x27;" in page
    stored = nt.open_fit(tmp_path / "out" / "fit.nc")["static/correlation"]
    np.testing.assert_allclose(stored, nt.connectivity(nt.load("alice-story")))


def test_recordings_of_other_regions_are_not_mixed(rng):
    def made(names):
        array = xr.DataArray(
            np.eye(3), dims=("region", "region_to"), coords={"region": names, "region_to": names}
        )
        return xr.DataTree.from_dict({"/static": array.to_dataset(name="correlation")})

    settings = fmri_connectivity.Settings(kinds=("correlation",))
    with pytest.raises(SchemaError, match=r"(?s)different regions.*other"):
        fmri_connectivity.summarise({"one": made(list("abc")), "other": made(list("abd"))}, settings)


def test_wrong_settings_are_told():
    with pytest.raises(SettingsError, match="each once"):
        fmri_connectivity.Settings(kinds=("partial", "partial"))
    with pytest.raises(SettingsError, match="window_s is a time"):
        fmri_connectivity.Settings(window_s=-1.0)
