"""From counts or spikes to bi-clusters, as a pipeline and as a page."""

from __future__ import annotations

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from bicluster_cases import made
from neurotools.pipelines import bicluster
from neurotools.pipelines.bicluster import Settings, analyse
from neurotools.pipelines.runner import run

import neurotools as nt
from neurotools import schema
from neurotools.errors import NotConvergedError, SettingsError

SMALL = nt.BiCluster(latent_dim=1, state_prior=nt.StickyHDP(max_states=3), seed=1)
QUICK = {"model": SMALL, "draws": 20, "tune": 10, "chains": 2}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def recording():
    found, _ = nt.simulate.biclusters(n_units=6, n_time=40, n_clusters=2)
    counts = found["counts"].to_dataset().assign_coords(region=("unit", ["CA1", "LP"] * 3))
    return schema.recording_tree({"counts": counts, "events": schema.events_table([1.0], [1.0], ["tone"])})


@pytest.fixture(scope="module")
def result(recording):
    return analyse(recording, Settings(**QUICK))


def test_the_result_holds_the_posterior_and_what_is_read_from_it(recording, result):
    assert {"posterior", "sample_stats", "moments", *bicluster.ADDED} <= set(result.children)
    assert result.attrs["model"] == "bicluster"
    assert nt.model_of(result) == SMALL
    partition = result["partition"].to_dataset()
    np.testing.assert_array_equal(partition["region"], ["CA1", "LP"] * 3)
    tables = bicluster.tables(result)
    assert list(tables["units"]) == ["unit", "cluster", "confidence", "region"]
    assert sorted(tables["units"]["unit"]) == list(range(6))
    states = tables["states"]
    assert states["start"].iloc[0] == 0
    assert states["stop"].iloc[-1] == pytest.approx(4.0)
    np.testing.assert_allclose(states["start"].iloc[1:], states["stop"].iloc[:-1])


def test_the_result_comes_back_from_disk_with_its_page(result, recording, tmp_path):
    opened = nt.open_fit(nt.save(result, tmp_path / "fit.nc"))
    xr.testing.assert_identical(opened["partition"].to_dataset(), result["partition"].to_dataset())
    figures = bicluster.figures(opened, recording, Settings(**QUICK))
    assert list(figures)[:3] == ["states", "latents", "units"]
    page = bicluster.page(recording, opened, figures, Settings(**QUICK), {"source": "session.nwb"})
    assert "The chains have not converged" in page
    assert page.count("<img") == len(figures)
    assert not re.findall(r'alt="\s*"', page)
    assert "neurotools run bicluster session.nwb" in page


def test_chains_that_do_not_agree_are_refused_when_asked(recording):
    with pytest.raises(NotConvergedError, match="have not converged"):
        analyse(recording, Settings(**QUICK, gate="refuse"))


def test_spikes_are_counted_in_bins_whose_width_is_said(rng):
    trains = [np.sort(rng.uniform(0, 10, 40)) for _ in range(4)]
    recording = schema.recording_tree({"spikes": schema.spike_table(trains, t_start=0.0, t_stop=10.0)})
    with pytest.raises(SettingsError, match="bin_width_s"):
        analyse(recording, Settings(**QUICK))
    counts = bicluster.counts_of(recording, Settings(bin_width_s=0.5))
    assert counts.sizes == {"time": 20, "unit": 4}


def test_counts_are_merged_and_cut_as_asked(recording):
    counts = bicluster.counts_of(recording, Settings(bin_width_s=0.2, start_s=1.0, stop_s=3.0))
    assert counts.attrs["bin_width"] == pytest.approx(0.2)
    assert counts["time"].to_numpy()[[0, -1]].tolist() == pytest.approx([1.0, 3.0])
    whole = nt.signal(recording)
    rate = float(whole.mean("time").max()) / 0.1
    few = bicluster.counts_of(recording, Settings(min_rate_hz=rate))
    assert few.sizes["unit"] == 1
    assert len(few.attrs["units_left_out"].split(", ")) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 2}, "draws is at least 8"), ({"chains": 0}, "chains is at least 1"),
        ({"bin_width_s": -1.0}, "bin_width_s is a time"), ({"max_rhat": 0.9}, "max_rhat is above 1"),
        ({"min_rate_hz": -1.0}, "min_rate_hz is at least 0"),
    ],
)  # fmt: skip
def test_impossible_settings_are_named(options, message):
    with pytest.raises(SettingsError, match=message):
        Settings(**options)


def test_the_runner_writes_everything_and_skips_what_is_done(recording, tmp_path):
    nt.save(recording, tmp_path / "session.nc")
    settings = Settings(**QUICK)
    first = run("bicluster", tmp_path / "session.nc", tmp_path / "out", chosen=settings)
    assert [record.status for record in first.records] == ["done"]
    [folder] = {path.parent for path in (tmp_path / "out").rglob("fit.nc")}
    for name in ("report.html", "tables/units.tsv", "tables/states.tsv", "settings.yaml"):
        assert (folder / name).stat().st_size
    again = run("bicluster", tmp_path / "session.nc", tmp_path / "out", chosen=settings)
    assert [record.status for record in again.records] == ["skipped"]


# ---- the page says what the numbers say -------------------------------------------------------------------
def test_words_of_the_page_follow_the_numbers():
    case = made(chains=4, draws=150, keep=20)
    partition = nt.point_partition(case.post)
    check, convergence = nt.posterior_check(case.post), nt.convergence(case.post)
    page = nt.report.bicluster_report(
        case.recording, case.post, partition, convergence=convergence, check=check, figures={}
    )
    assert "has 3 clusters (6, 6, 6 units)" in page
    assert "The chains have not converged" not in page
    assert "95 % of the partitions into clusters lie within" in page
    off = check.assign(coverage=check["coverage"] * 0.9)
    worse = nt.report.bicluster_report(
        case.recording, case.post, partition, convergence=convergence, check=off, figures={}
    )
    assert "the model does not describe how counts vary" in worse
