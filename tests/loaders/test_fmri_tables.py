"""Ready tables of region series: shapes, rates and labels as their folders say."""

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import FileError, SchemaError, SettingsError
from neurotools.signals.confounds import ConfoundStrategy

ALICE = ("LATL", "RATL", "LPTL", "LIPL", "LPreM", "LIFG")
SPM = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
AXES = {"kind": "fmri", "dims": ("time", "region")}


def test_nitime_table(shared, comes_back):
    path = shared("data/fmri_small_nifti") / "fmri_timeseries.csv"
    recording = nt.load(path, **AXES, sfreq=1 / 1.89)
    bold = recording["fmri/bold"]
    assert bold.shape == (31, 250)
    assert bold["region"].to_numpy()[[0, 1, 3, 30]].tolist() == ["WM", "Vent", "LCau", "RPrec"]
    assert (bold.attrs["tr"], bold.attrs["units"]) == (1.89, "arbitrary")
    np.testing.assert_allclose(bold["time"], 1.89 * np.arange(250), rtol=1e-12)
    np.testing.assert_array_equal(bold.sel(region="LCau")[:2], [-7.39443, -0.120582])
    # Strong coherence of left and right homologues is what the table is known for.
    clean = nt.clean(bold, low=0.02, high=0.15, standardize="zscore")
    corr = np.corrcoef(clean)
    names = bold["region"].to_numpy().tolist()
    pairs = [
        (names.index(f"L{part}"), names.index(f"R{part}")) for part in ("Cau", "Put", "Thal", "MTG", "Hip")
    ]
    homologue = np.mean([corr[pair] for pair in pairs])
    assert homologue > np.mean(corr[3:, 3:][~np.eye(28, dtype=bool)]) + 0.2
    comes_back(recording)


def test_the_names_of_columns_are_the_regions_unless_others_are_given(shared, tmp_path):
    path = shared("data/fmri_small_nifti") / "fmri_timeseries.csv"
    numbered = [f"r{k}" for k in range(31)]
    assert (
        nt.load(path, **AXES, sfreq=0.5, labels=numbered)["fmri/bold"]["region"].to_numpy().tolist()
        == numbered
    )
    table = tmp_path / "bare.csv"
    table.write_text("1,2\n3,4\n5,6\n")
    assert nt.load(table, **AXES, sfreq=0.5)["fmri/bold"]["region"].to_numpy().tolist() == [0, 1]
    table.write_text("left,right\n3,4\n5,6\n")
    across = nt.load(table, kind="fmri", dims=("region", "time"), sfreq=0.5)["fmri/bold"]
    assert across["region"].to_numpy().tolist() == [0, 1]  # the columns are times here, not regions


@pytest.mark.parametrize("radius", ["6mm", "10mm"])
def test_alice(shared, comes_back, radius):
    files = sorted((shared("data/fmri_alice_story_roi") / radius).glob("s*-timecourses.txt"))
    assert len(files) == 16
    for path in files:
        recording = nt.load(path, **AXES, sfreq=0.5, labels=ALICE)
        bold = recording["fmri/bold"]
        assert bold.shape == (6, 362)
        assert bold["region"].to_numpy().tolist() == list(ALICE)
        assert (bold.attrs["tr"], bold.attrs["sfreq"]) == (2.0, 0.5)
        assert float(bold["time"][-1]) == 722.0
        np.testing.assert_array_equal(bold.T, np.loadtxt(path))
    comes_back(recording)


def test_alice_motion_is_ten_rows_longer_and_needs_an_offset(shared, comes_back):
    folder = shared("data/fmri_alice_story_roi")
    motions = sorted(folder.glob("s*-rp_*.txt"))
    assert len(motions) == 16
    for motion in motions:
        recording = nt.load(
            folder / "10mm" / f"{motion.name.split('-')[0]}-timecourses.txt", **AXES, sfreq=0.5, labels=ALICE
        )
        with pytest.raises(SchemaError, match="one row per volume") as caught:
            nt.with_confounds(recording, motion)
        assert (caught.value.found, caught.value.expected) == ("372 rows", "362 volumes")
        recording = nt.with_confounds(recording, motion, offset=10, names=SPM)
        np.testing.assert_array_equal(recording["confounds/confounds"], np.loadtxt(motion)[10:])
        np.testing.assert_array_equal(recording["confounds/time"], recording["fmri/time"])
        clean = nt.clean(recording, nt.confounds(recording, ConfoundStrategy(motion="basic")), low=0.008)
        assert clean.shape == (6, 362)
        regressors = recording["confounds/confounds"].to_numpy()
        assert np.isfinite(clean).all()
        assert np.linalg.matrix_rank(regressors - regressors.mean(axis=0)) == 6
    comes_back(recording)


def test_alice_subjects_agree_as_published(shared):
    """Leave-one-out correlation between subjects, 10 mm, raw series: README gives LPTL .40, LIFG .05."""
    files = sorted((shared("data/fmri_alice_story_roi") / "10mm").glob("*.txt"))
    series = [nt.load(path, **AXES, sfreq=0.5, labels=ALICE)["fmri/bold"] for path in files]
    group = np.stack([nt.clean(one, standardize="zscore").to_numpy() for one in series])
    for region, expected in (("LPTL", 0.40), ("LIPL", 0.27), ("LATL", 0.25)):
        rows = group[:, ALICE.index(region)]
        isc = [np.corrcoef(rows[i], np.delete(rows, i, axis=0).mean(axis=0))[0, 1] for i in range(16)]
        assert np.mean(isc) == pytest.approx(expected, abs=0.05), region


def test_the_repetition_time_may_be_given_in_seconds(tmp_path):
    table = tmp_path / "series.txt"
    np.savetxt(table, np.arange(30.0).reshape(10, 3))
    settings = tmp_path / "recording.yaml"
    settings.write_text("kind: fmri\ndims: [time, region]\nattrs: {tr: 1.89}\n")
    bold = nt.load(table)["fmri/bold"]
    assert (bold.attrs["tr"], bold.attrs["sfreq"]) == (1.89, 1 / 1.89)
    described = {"fmri/bold": {"dims": ("time", "region"), "attrs": {"tr": 1.89}}}
    settings.unlink()
    xr.testing.assert_identical(nt.load(table, arrays=described)["fmri/bold"], bold)
    described["fmri/bold"]["sfreq"] = 0.5
    with pytest.raises(SettingsError, match="contradict each other") as caught:
        nt.load(table, arrays=described)
    assert caught.value.found == "sfreq 0.5 Hz, tr 1.89 s"
    for bad in (0, -2.0, True, "2 s"):
        with pytest.raises(SettingsError, match="positive number of seconds"):
            nt.load(table, arrays={"fmri/bold": {"dims": ("time", "region"), "attrs": {"tr": bad}}})
    with pytest.raises(FileError, match="does not say the clock"):
        nt.load(table, **AXES)
