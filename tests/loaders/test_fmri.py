"""Four-dimensional NIfTI to region series: real images, and means held against nilearn and plain loops."""

import json
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import FileError, NeurotoolsWarning, SchemaError, SettingsError
from neurotools.loaders.fmri import nifti

HAXBY = "data/fmri_haxby2001_mini"
SMALL = "data/fmri_small_nifti"
AFFINE = np.diag([3.0, 3.0, 4.0, 1.0]) + np.array([[0, 0, 0, -12.0], [0, 0, 0, 5.0], [0, 0, 0, 8.0], [0] * 4])


def write(path: Path, values, *, affine=AFFINE, tr=2.0, unit="sec") -> Path:
    image = nib.Nifti1Image(np.asarray(values), affine)
    image.header.set_xyzt_units("mm", unit)
    if np.ndim(values) == 4:
        image.header["pixdim"][4] = tr
    nib.save(image, path)
    return path


@pytest.fixture
def bold(tmp_path, rng):
    """A small image with a drift, and an atlas of four labels that are not consecutive."""
    values = rng.integers(100, 2000, size=(7, 6, 5, 12)).astype("int16")
    labels = rng.choice([0, 2, 3, 17, 40], size=(7, 6, 5)).astype("int16")
    image = write(tmp_path / "bold.nii", values)
    atlas = write(tmp_path / "atlas.nii.gz", labels)
    return image, atlas, values, labels


def slow_means(values, labels):
    return np.array([values[labels == label].mean(axis=0) for label in np.unique(labels[labels > 0])])


# ---- means ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".dat"])
def test_region_means_equal_a_plain_loop(bold, tmp_path, suffix):
    _, atlas, values, labels = bold
    path = write(tmp_path / f"again{'.nii' if suffix == '.dat' else suffix}", values)
    if suffix == ".dat":  # told by content, not by suffix
        path = path.rename(path.with_suffix(".dat"))
    found = nt.load(path, labels=atlas)["fmri/bold"]
    np.testing.assert_allclose(found, slow_means(values, labels), rtol=1e-13)
    assert found["region"].to_numpy().tolist() == ["2", "3", "17", "40"]
    assert found["region_index"].to_numpy().tolist() == [2, 3, 17, 40]
    assert found["n_voxels"].to_numpy().tolist() == [int((labels == k).sum()) for k in (2, 3, 17, 40)]
    assert (found["coverage"] == 1).all()
    assert (found.attrs["tr"], found.attrs["units"], found.attrs["atlas"]) == (
        2.0,
        "arbitrary",
        "atlas.nii.gz",
    )
    np.testing.assert_array_equal(found["time"], 2.0 * np.arange(12))


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i2", "int32", "float32", ">f4", "float64"])
def test_every_kind_of_voxel_equals_nilearn(tmp_path, rng, dtype):
    from nilearn.maskers import NiftiLabelsMasker

    values = (100 + 50 * rng.random((5, 6, 4, 9))).astype(dtype)
    labels = rng.integers(0, 5, size=(5, 6, 4)).astype("uint8")
    image, atlas = write(tmp_path / "x.nii.gz", values), write(tmp_path / "a.nii", labels)
    found = nt.load(image, labels=atlas)["fmri/bold"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = NiftiLabelsMasker(str(atlas), standardize=None, resampling_target=None).fit_transform(
            str(image)
        )
    np.testing.assert_allclose(found.T, theirs, rtol=1e-6 if "f4" in dtype or dtype == "float32" else 1e-12)


def test_slope_and_intercept_are_applied(tmp_path, rng):
    stored = rng.integers(0, 1000, size=(4, 4, 3, 5)).astype("int16")
    image = nib.Nifti1Image(stored, AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_slope_inter(0.25, -7.0)
    image.header["pixdim"][4] = 1.5
    nib.save(image, tmp_path / "scaled.nii")
    labels = np.ones((4, 4, 3), dtype="uint8")
    labels[2:] = 2
    atlas = write(tmp_path / "a.nii", labels)
    scaled = np.asarray(nib.load(tmp_path / "scaled.nii").dataobj)
    assert scaled.max() < 300  # the values, not the stored numbers
    found = nt.load(tmp_path / "scaled.nii", labels=atlas)["fmri/bold"]
    np.testing.assert_allclose(found, slow_means(scaled, labels), rtol=1e-9)


def test_a_block_of_any_size_gives_the_same_means(bold, monkeypatch):
    image, atlas, *_ = bold
    whole = nt.load(image, labels=atlas)
    for size in (1, 7 * 6 * 5 * 2 * 5, 1 << 20):
        monkeypatch.setattr(nifti, "BLOCK_BYTES", size)
        xr.testing.assert_identical(nt.load(image, labels=atlas).to_dataset(), whole.to_dataset())
        xr.testing.assert_identical(nt.load(image, labels=atlas)["fmri/bold"], whole["fmri/bold"])


def test_centres_of_regions_are_in_metres(bold):
    image, atlas, _, labels = bold
    found = nt.load(image, labels=atlas)["fmri/bold"]
    ijk = np.argwhere(labels == 17)
    expected = 1e-3 * (ijk @ AFFINE[:3, :3].T + AFFINE[:3, 3]).mean(axis=0)
    at = found.sel(region="17")
    np.testing.assert_allclose([at["x"], at["y"], at["z"]], expected, rtol=1e-12)
    assert at["x"].attrs["units"] == "m"


def test_every_voxel_of_a_mask_is_a_row(bold, tmp_path):
    image, _, values, labels = bold
    mask = write(tmp_path / "mask.nii.gz", (labels == 3).astype("float32"))
    found = nt.load(image, labels=mask)["fmri/bold"]
    assert found.sizes["region"] == (labels == 3).sum()
    for name in found["region"].to_numpy()[::5]:
        i, j, k = map(int, name.split("-"))
        assert labels[i, j, k] == 3
        np.testing.assert_array_equal(found.sel(region=name), values[i, j, k])


def test_a_table_beside_the_atlas_names_the_regions(bold, tmp_path):
    image, atlas, *_ = bold
    table = tmp_path / "atlas.tsv"
    table.write_text("index\tname\themisphere\n2\tV1\tL\n3\tV2\tL\n17\tMT\tR\n40\tFEF\tR\n99\tabsent\tR\n")
    found = nt.load(image, labels=atlas)["fmri/bold"]
    assert found["region"].to_numpy().tolist() == ["V1", "V2", "MT", "FEF"]
    assert found["hemisphere"].to_numpy().tolist() == ["L", "L", "R", "R"]
    table.write_text("index\tname\n2\tV1\n3\tV2\n")
    with pytest.raises(FileError, match="does not name") as caught:
        nt.load(image, labels=atlas)
    assert caught.value.found == "2 of 4: labels 17, 40"
    table.write_text("index\tname\n2\tV1\n3\tV1\n17\tMT\n40\tFEF\n")
    with pytest.raises(FileError, match="occurs twice"):
        nt.load(image, labels=atlas)
    table.write_text("label\n2\n")
    with pytest.raises(FileError, match="columns index and name"):
        nt.load(image, labels=atlas)


# ---- NaN and coverage -------------------------------------------------------------------------------
def test_voxels_with_nan_are_counted_left_out_and_reported(tmp_path, rng):
    values = rng.normal(100, 5, size=(6, 6, 4, 10)).astype("float32")
    labels = np.repeat(np.arange(1, 7), 24).reshape(6, 6, 4).astype("int16")
    values[0, 0, 0, :] = np.nan  # never there
    values[0, 1, 1, 7] = np.nan  # once not there: left out of all volumes
    values[1, 0, 0, 3] = np.inf
    values[2, :, :2, :] = 0  # outside the field of view
    image, atlas = write(tmp_path / "x.nii", values), write(tmp_path / "a.nii", labels)
    found = nt.load(image, labels=atlas)["fmri/bold"]
    assert np.isfinite(found).all()
    assert found["n_voxels"].to_numpy().tolist() == [22, 23, 24, 24, 24, 24]
    np.testing.assert_allclose(found["coverage"], [22 / 24, 23 / 24, 0.5, 1, 1, 1])
    assert found.attrs["n_voxels_not_finite"] == 3
    good = np.isfinite(values).all(axis=-1)
    for k in range(1, 7):
        expected = values[(labels == k) & good].mean(axis=0, dtype="float64")
        np.testing.assert_allclose(found[k - 1], expected, rtol=1e-12)


def test_a_region_without_a_finite_voxel_is_named(tmp_path, rng):
    values = rng.normal(size=(4, 4, 2, 6)).astype("float32")
    values[1] = np.nan
    labels = np.repeat(np.arange(1, 5), 8).reshape(4, 4, 2).astype("int16")
    image, atlas = write(tmp_path / "x.nii", values), write(tmp_path / "a.nii", labels)
    with pytest.raises(FileError, match="no voxel that is finite") as caught:
        nt.load(image, labels=atlas)
    assert caught.value.code == "NT-DATA-003"
    assert caught.value.found == "1 of 4: 2"


def test_voxels_of_a_mask_with_nan_are_said_to_be_missing(tmp_path, rng):
    values = rng.normal(size=(4, 4, 2, 6)).astype("float32")
    values[1, 0, 0, 2] = np.nan
    image = write(tmp_path / "x.nii", values)
    mask = write(tmp_path / "m.nii", np.ones((4, 4, 2), dtype="uint8"))
    with pytest.warns(NeurotoolsWarning, match="1 of 32 voxels"):
        found = nt.load(image, labels=mask)["fmri/bold"]
    assert found.sizes["region"] == 31
    assert "1-0-0" not in found["region"].to_numpy()
    assert found.attrs["n_voxels_not_finite"] == 1


# ---- the clock --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("stored", "unit", "tr"),
    [(2.0, "sec", 2.0), (720.0, "msec", 0.72), (1.5e6, "usec", 1.5), (0.72, "sec", 0.72)],
)
def test_units_of_time_become_seconds(bold, tmp_path, stored, unit, tr):
    _, atlas, values, _ = bold
    path = write(tmp_path / "timed.nii", values, tr=stored, unit=unit)
    found = nt.load(path, labels=atlas)["fmri/bold"]
    assert found.attrs["tr"] == tr
    assert found.attrs["sfreq"] == 1 / tr
    np.testing.assert_array_equal(found["time"], np.arange(12) / (1 / tr))


def test_a_header_that_says_s_and_means_ms_is_read_as_ms_with_a_warning(bold, tmp_path):
    _, atlas, values, _ = bold
    path = write(tmp_path / "trap.nii", values, tr=2000.0, unit="sec")
    with pytest.warns(NeurotoolsWarning, match="2000 s between volumes, which can only be milliseconds"):
        assert nt.load(path, labels=atlas)["fmri/bold"].attrs["tr"] == 2.0
    assert nt.load(path, labels=atlas, sfreq=0.4)["fmri/bold"].attrs["tr"] == 2.5


@pytest.mark.parametrize(
    ("stored", "unit"), [(0.0, "sec"), (2.0, "unknown"), (1.0, "unknown"), (80.0, "sec")]
)
def test_a_missing_or_doubtful_repetition_time_is_a_question(bold, tmp_path, stored, unit):
    _, atlas, values, _ = bold
    path = write(tmp_path / "timeless.nii", values, tr=stored, unit=unit)
    with pytest.raises(FileError, match="repetition time is not known") as caught:
        nt.load(path, labels=atlas)
    assert caught.value.code == "NT-FILE-006"
    assert "sfreq=1 / TR" in caught.value.fix
    assert f"{stored:g} {unit}" in caught.value.found
    found = nt.load(path, labels=atlas, sfreq=0.5)["fmri/bold"]
    assert found.attrs["tr"] == 2.0
    assert "given by the caller" in found.attrs["tr_source"]


def test_sidecar_and_header_must_agree(bold, tmp_path):
    _, atlas, values, _ = bold
    path = write(tmp_path / "sub-01_task-rest_bold.nii.gz", values, tr=2.0)
    sidecar = tmp_path / "sub-01_task-rest_bold.json"
    sidecar.write_text(json.dumps({"RepetitionTime": 2.0}))
    found = nt.load(path, labels=atlas)
    assert found["fmri/bold"].attrs["tr_source"] == sidecar.name
    assert (found.attrs["subject"], found.attrs["task"]) == ("01", "rest")
    sidecar.write_text(json.dumps({"RepetitionTime": 2.2}))
    with pytest.raises(FileError, match="stated twice, differently") as caught:
        nt.load(path, labels=atlas)
    assert caught.value.code == "NT-FILE-008"
    assert caught.value.found == f"2 s by header; 2.2 s by {sidecar.name}"
    assert nt.load(path, labels=atlas, sfreq=1 / 2.2)["fmri/bold"].attrs["tr"] == 2.2
    for bad in ({"RepetitionTime": "2"}, {"RepetitionTime": -1}, {"RepetitionTime": True}):
        sidecar.write_text(json.dumps(bad))
        with pytest.raises(FileError, match="positive number"):
            nt.load(path, labels=atlas)
    sidecar.write_text(json.dumps({"VolumeTiming": [0, 2, 7]}))
    with pytest.raises(FileError, match="irregular times"):
        nt.load(path, labels=atlas)
    sidecar.write_text("{not json")
    with pytest.raises(FileError, match="sidecar is damaged"):
        nt.load(path, labels=atlas)


def test_a_sidecar_is_inherited_from_the_root_of_the_data_set(bold, tmp_path):
    _, atlas, values, _ = bold
    func = tmp_path / "sub-01" / "ses-a" / "func"
    func.mkdir(parents=True)
    (tmp_path / "dataset_description.json").write_text("{}")
    (tmp_path / "task-rest_bold.json").write_text(json.dumps({"RepetitionTime": 0.8}))
    (tmp_path / "task-other_bold.json").write_text(json.dumps({"RepetitionTime": 3}))
    path = write(func / "sub-01_ses-a_task-rest_run-1_bold.nii.gz", values, tr=1.0, unit="unknown")
    (func / "sub-01_ses-a_task-rest_run-1_events.tsv").write_text(
        "onset\tduration\ttrial_type\n1.5\tn/a\tgo\n"
    )
    (func / "sub-01_ses-a_task-rest_run-2_events.tsv").write_text("onset\tduration\ttrial_type\n7\t1\tstop\n")
    found = nt.load(path, labels=atlas)
    assert found["fmri/bold"].attrs["tr"] == 0.8
    assert found["events/trial_type"].to_numpy().tolist() == ["go"]
    assert np.isnan(found["events/duration"].to_numpy()).all()
    same = nt.load(tmp_path, labels=atlas)
    xr.testing.assert_identical(same["fmri/bold"], found["fmri/bold"])
    write(func / "sub-01_ses-a_task-rest_run-2_bold.nii.gz", values)
    with pytest.raises(FileError, match="several functional images") as caught:
        nt.load(tmp_path, labels=atlas)
    assert "run-2_bold.nii.gz" in caught.value.found
    assert nt.load(tmp_path, labels=atlas, array="run-1")["fmri/bold"].attrs["tr"] == 0.8
    with pytest.raises(FileError, match="has 'run-9' in its name"):
        nt.load(tmp_path, labels=atlas, array="run-9")


@pytest.mark.parametrize(
    "raw", ["", "derivatives/fmriprep/sourcedata/raw", "derivatives/fmriprep/sourcedata"]
)
@pytest.mark.parametrize("session", ["", "ses-a"])
def test_events_of_a_derivative_come_from_the_raw_data_set(bold, tmp_path, raw, session):
    _, atlas, values, _ = bold
    inside = Path("sub-01") / session / "func"
    derived, func = tmp_path / "derivatives/fmriprep" / inside, tmp_path / raw / inside
    derived.mkdir(parents=True)
    func.mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "derivatives/fmriprep"):
        (folder / "dataset_description.json").write_text("{}")
    stem = "_".join(["sub-01", *([session] if session else []), "task-rest_run-1"])
    image = write(derived / f"{stem}_space-MNI152NLin2009cAsym_res-2_desc-preproc_bold.nii.gz", values)
    assert "events" not in nt.load(image, labels=atlas).children
    for run, kind in (("run-1", "go"), ("run-2", "stop")):
        table = f"onset\tduration\ttrial_type\n1.5\t1\t{kind}\n"
        (func / f"{stem.replace('run-1', run)}_events.tsv").write_text(table)
    events = nt.load(image, labels=atlas)["events"]
    assert events["trial_type"].to_numpy().tolist() == ["go"]
    assert events.attrs["read_from"] == f"{stem}_events.tsv of the raw data set"
    # A table beside the image itself comes first.
    (derived / f"{stem}_events.tsv").write_text("onset\tduration\ttrial_type\n2\t1\tmine\n")
    events = nt.load(image, labels=atlas)["events"]
    assert events["trial_type"].to_numpy().tolist() == ["mine"]
    assert "read_from" not in events.attrs


def test_events_are_inherited_by_all_runs_of_a_task(bold, tmp_path):
    _, atlas, values, _ = bold
    (tmp_path / "sub-01/func").mkdir(parents=True)
    (tmp_path / "task-rest_events.tsv").write_text("onset\tduration\ttrial_type\n1\t1\tall\n")
    (tmp_path / "task-other_events.tsv").write_text("onset\tduration\ttrial_type\n1\t1\tother\n")
    path = write(tmp_path / "sub-01/func/sub-01_task-rest_run-1_bold.nii.gz", values)
    assert nt.load(path, labels=atlas)["events/trial_type"].to_numpy().tolist() == ["all"]
    (tmp_path / "sub-01_task-rest_events.tsv").write_text("onset\tduration\ttrial_type\n1\t1\tnearer\n")
    assert nt.load(path, labels=atlas)["events/trial_type"].to_numpy().tolist() == ["nearer"]


def test_events_after_the_end_are_listed(bold, tmp_path):
    _, atlas, values, _ = bold
    path = write(tmp_path / "sub-01_task-x_bold.nii.gz", values, tr=2.0)
    (tmp_path / "sub-01_task-x_events.tsv").write_text("onset\tduration\n-1\t1\n3\t1\n24\t1\n30\t1\n")
    with pytest.raises(SchemaError, match="after the recording has ended") as caught:
        nt.load(path, labels=atlas)
    assert caught.value.code == "NT-DATA-007"
    assert caught.value.found == "2 of 4, the first at 24 s"
    (tmp_path / "sub-01_task-x_events.tsv").write_text("start\n1\n")
    with pytest.raises(FileError, match="lacks columns"):
        nt.load(path, labels=atlas)


# ---- questions --------------------------------------------------------------------------------------
def test_without_labels_the_question_says_what_was_found(bold):
    image, *_ = bold
    with pytest.raises(FileError, match="needs an atlas or a mask") as caught:
        nt.load(image)
    assert caught.value.code == "NT-FILE-006"
    assert caught.value.found == "7x6x5x12 voxels, 3 x 3 x 4 mm, time step 2 sec"
    with pytest.raises(FileError, match="needs an atlas") as caught:
        nt.load(image, labels=["a", "b"])
    assert "labels of type list" in caught.value.found


def test_what_is_no_series_is_refused(bold, tmp_path):
    image, atlas, values, _ = bold
    with pytest.raises(FileError, match="one volume"):
        nt.load(atlas)
    with pytest.raises(SettingsError, match="kind='eeg'"):
        nt.load(image, labels=atlas, kind="eeg")
    write(tmp_path / "five.nii", np.ones((3, 3, 3, 4, 2), dtype="int16"))
    with pytest.raises(FileError, match="shape that is not read"):
        nt.load(tmp_path / "five.nii", labels=atlas)
    nib.save(nib.Nifti1Image(values.astype("complex64"), AFFINE), tmp_path / "complex.nii")
    with pytest.raises(FileError, match="plain real numbers"):
        nt.load(tmp_path / "complex.nii", labels=atlas)
    nib.save(nib.Nifti1Pair(values, AFFINE), tmp_path / "pair.hdr")
    with pytest.raises(FileError, match="two files"):
        nt.load(tmp_path / "pair.hdr", labels=atlas)


# ---- atlases that do not fit --------------------------------------------------------------------------
def test_an_atlas_on_another_grid_is_an_error_until_resampling_is_asked_for(tmp_path, rng):
    from nilearn.image import resample_img

    fine = np.diag([1.5, 1.5, 2.0, 1.0])
    fine[:3, 3] = [-12.7, 4.6, 7.8]
    labels = np.zeros((16, 14, 12), dtype="int16")
    labels[2:9, 2:12, 1:11], labels[9:14, 2:12, 1:11] = 5, 9
    values = rng.integers(0, 500, size=(7, 6, 5, 8)).astype("int16")
    image, atlas = write(tmp_path / "x.nii", values), write(tmp_path / "a.nii", labels, affine=fine)
    with pytest.raises(FileError, match="another grid") as caught:
        nt.load(image, labels=atlas)
    assert caught.value.code == "NT-FILE-008"
    assert "16x14x12" in caught.value.found
    assert "7x6x5" in caught.value.expected
    assert "resample=True" in caught.value.fix
    found = nt.load(image, labels=atlas, resample=True)["fmri/bold"]
    theirs = resample_img(
        nib.load(atlas), AFFINE, (7, 6, 5), interpolation="nearest", copy_header=True, force_resample=True
    )
    on_grid = np.asarray(theirs.dataobj)
    np.testing.assert_allclose(found, slow_means(values, on_grid), rtol=1e-13)
    assert found.attrs["resampled"] == 1


def test_a_shifted_atlas_of_the_same_shape_is_another_grid(bold, tmp_path):
    image, _, _, labels = bold
    shifted = AFFINE.copy()
    shifted[0, 3] += 1.0
    atlas = write(tmp_path / "shifted.nii", labels, affine=shifted)
    with pytest.raises(FileError, match="another grid"):
        nt.load(image, labels=atlas)


def test_labels_that_miss_the_image_are_named(bold, tmp_path):
    image, _, _, labels = bold
    away = AFFINE.copy()
    away[:3, 3] += 500.0
    atlas = write(tmp_path / "away.nii", labels, affine=away)
    with pytest.raises(FileError, match="no voxel in the image after resampling") as caught:
        nt.load(image, labels=atlas, resample=True)
    assert caught.value.found == "4 of 4: labels 2, 3, 17, 40"


@pytest.mark.parametrize(
    ("fault", "message"),
    [("empty", "every voxel is 0"), ("half", "whole numbers"), ("negative", "not negative"),
     ("nan", "not finite"), ("four", "three dimensions"), ("text", "no NIfTI"), ("absent", "not there")],
)  # fmt: skip
def test_label_images_that_are_none_are_refused(bold, tmp_path, fault, message):
    image, _, _, labels = bold
    atlas = tmp_path / "faulty.nii.gz"
    changed = labels.astype("float32")
    if fault == "empty":
        changed[:] = 0
    elif fault == "half":
        changed[3, 3, 3] = 0.5
    elif fault == "negative":
        changed[3, 3, 3] = -1
    elif fault == "nan":
        changed[3, 3, 3] = np.nan
    elif fault == "four":
        changed = np.stack([changed, changed], axis=-1)
    if fault == "text":
        atlas.write_text("index name")
    elif fault != "absent":
        write(atlas, changed)
    with pytest.raises(FileError, match=message):
        nt.load(image, labels=atlas)


# ---- real recordings ----------------------------------------------------------------------------------
@pytest.mark.parametrize("run", range(1, 9))
@pytest.mark.parametrize(
    ("mask", "n"), [("brain", 129), ("gray", 28), ("vt", 1), ("white", None), ("hoc", 21)]
)
def test_haxby_at_25_mm_with_each_mask(shared, run, mask, n):
    root = shared(HAXBY)
    path = root / f"sub001/BOLD/task001_run{run:03d}/bold_25mm.nii.gz"
    mask_path = root / f"sub001/masks/25mm/{mask}.nii.gz"
    recording = nt.load(path, labels=mask_path)
    bold = recording["fmri/bold"]
    stored = np.asarray(nib.load(mask_path).dataobj)
    n = int((stored > 0).sum()) if n is None else n
    assert bold.shape == (n, 121)
    assert int(bold["n_voxels"].sum()) == (stored > 0).sum()
    values = np.asarray(nib.load(path).dataobj)
    if mask == "hoc":
        np.testing.assert_allclose(bold, slow_means(values, stored), rtol=1e-13)
    else:
        assert sorted(map(tuple, bold.to_numpy())) == sorted(map(tuple, values[stored > 0]))
    assert (bold.attrs["tr"], bold.attrs["units"]) == (2.5, "arbitrary")
    assert recording["events"].sizes["event"] == 8
    assert (recording["events/duration"] == 22.5).all()
    assert len(set(recording["events/trial_type"].to_numpy().tolist())) == 8
    assert recording["confounds/confounds"].shape == (121, 6)
    assert not [finding for finding in nt.validate(recording) if finding.level == "error"]


@pytest.mark.parametrize("run", range(1, 9))
def test_haxby_single_slice(shared, tmp_path, run):
    path = shared(HAXBY) / f"sub001/BOLD/task001_run{run:03d}/bold_1slice.nii.gz"
    image = nib.load(path)
    values = np.asarray(image.dataobj)
    mask = write(tmp_path / "mask.nii.gz", (values.mean(axis=-1) > 300).astype("uint8"), affine=image.affine)
    bold = nt.load(path, labels=mask)["fmri/bold"]
    assert bold.shape == (int((values.mean(axis=-1) > 300).sum()), 121)
    with pytest.raises(FileError, match="another grid"):
        nt.load(path, labels=shared(HAXBY) / "sub001/masks/25mm/gray.nii.gz")


def test_the_haxby_tree_lies_end_to_end(shared, tmp_path):
    root = shared(HAXBY)
    recording = nt.load(root, array="bold_25mm", labels="masks/25mm/gray.nii.gz")
    bold = recording["fmri/bold"]
    assert bold.shape == (28, 8 * 121)
    np.testing.assert_array_equal(np.diff(bold["time"]).round(9), 2.5)
    sessions, counts = np.unique(bold["session"], return_counts=True)
    assert sessions.tolist() == [f"task001_run{i:03d}" for i in range(1, 9)]
    assert (counts == 121).all()
    assert recording["events"].sizes["event"] == 64
    table = pd.read_csv(root / "sub001/BOLD/task001_run002/bold_events.tsv", sep="\t")
    second = recording["events"].to_dataset().isel(event=slice(8, 16))
    np.testing.assert_allclose(second["onset"], table["onset"] + 121 * 2.5)
    assert second["trial_type"].to_numpy().tolist() == table["trial_type"].tolist()
    assert recording["confounds/confounds"].shape == (968, 6)
    assert recording.attrs["subject"] == "sub001"
    keys = [(root / f"{name}_key.txt").read_text() for name in ("study", "task", "scan")]
    assert keys == ["Visual object recognition\n", "task001 object viewing\n", "TR 2.5\n"]
    assert (recording.attrs["study"], recording.attrs["task_name"]) == (
        "Visual object recognition",
        "object viewing",
    )
    assert bold.attrs["tr_source"] == "scan_key.txt"
    one = nt.load(root / "sub001/BOLD/task001_run003", array="bold_25mm", labels="masks/25mm/gray.nii.gz")
    np.testing.assert_array_equal(one["fmri/bold"], bold[:, 2 * 121 : 3 * 121])
    assert one.attrs["run"] == "run003"
    for path in (root, root / "sub001"):
        with pytest.raises(FileError, match="several images"):
            nt.load(path, labels="masks/25mm/gray.nii.gz")
        with pytest.raises(FileError, match="need an atlas or a mask") as caught:
            nt.load(path, array="bold_25mm")
        assert "masks/25mm/vt.nii.gz" in caught.value.found
    with pytest.raises(FileError, match="no image named 'bold_5mm'"):
        nt.load(root, array="bold_5mm", labels="masks/25mm/gray.nii.gz")
    check_round_trips(recording, tmp_path)


def test_small_fragments(shared, tmp_path):
    folder = shared(SMALL)
    functional = nib.load(folder / "functional.nii")
    labels = np.ones((17, 21, 3), dtype="uint8")
    labels[8:] = 2
    atlas = write(tmp_path / "halves.nii", labels, affine=functional.affine)
    bold = nt.load(folder / "functional.nii", labels=atlas)["fmri/bold"]
    assert bold.shape == (2, 20)
    assert bold.attrs["tr"] == 2.0
    assert bold.attrs["space"] == "aligned"
    np.testing.assert_allclose(bold, slow_means(np.asarray(functional.dataobj), labels), rtol=1e-9)

    trap = nib.load(folder / "example4d.nii.gz")
    atlas = write(tmp_path / "left.nii", (np.arange(128) // 64 + 1)[:, None, None] * np.ones((1, 96, 24)),
                  affine=trap.affine)  # fmt: skip
    with pytest.warns(NeurotoolsWarning, match="milliseconds"):
        recording = nt.load(folder / "example4d.nii.gz", labels=atlas)
    bold = recording["fmri/bold"]
    assert bold.shape == (2, 2)
    assert bold.attrs["tr"] == 2.0
    check_round_trips(recording, tmp_path)


def check_round_trips(recording, folder):
    for name in ("saved.nc", "saved.zarr"):
        nt.save(recording, folder / name)
        again = nt.load(folder / name)
        xr.testing.assert_identical(again, recording)
        assert nt.content_hash(again) == nt.content_hash(recording)


# ---- memory -------------------------------------------------------------------------------------------
def test_peak_memory_is_bounded_by_the_block_and_not_by_the_file(tmp_path):
    """150 MiB of volumes cost at most 2 blocks and 64 bytes per voxel of one volume above the imports."""
    shape, n_volumes = (64, 64, 36), 540
    path, atlas = tmp_path / "big.nii", tmp_path / "atlas.nii"
    header = nib.Nifti1Header()
    header.set_data_shape((*shape, n_volumes))
    header.set_data_dtype("int16")
    header.set_xyzt_units("mm", "sec")
    header["pixdim"][1:5] = [3, 3, 4, 2]
    header["magic"], header["vox_offset"] = b"n+1", 352
    with path.open("wb") as stream:
        stream.write(header.binaryblock + b"\0\0\0\0")
        stream.truncate(352 + 2 * int(np.prod(shape)) * n_volumes)  # a hole in the file: zeros, no disk
    labels = np.arange(np.prod(shape)).reshape(shape) // 800 + 1
    write(atlas, labels.astype("int16"), affine=header.get_best_affine())
    small = write(
        tmp_path / "small.nii", np.ones((*shape, 2), dtype="int16"), affine=header.get_best_affine()
    )
    script = textwrap.dedent(f"""
        import neurotools as nt
        def status(key):
            lines = open("/proc/self/status").read().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024
        nt.load({str(small)!r}, labels={str(atlas)!r}, sfreq=0.5)
        before = status("VmRSS")
        bold = nt.load({str(path)!r}, labels={str(atlas)!r})["fmri/bold"]
        assert bold.shape == ({labels.max()}, {n_volumes})
        print(status("VmHWM") - before - bold.nbytes)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    taken = int(done.stdout)
    assert path.stat().st_size > 150 * 2**20
    print(f"{taken / 2**20:.1f} MiB above the imports")
    assert taken <= 2 * nifti.BLOCK_BYTES + 64 * np.prod(shape), f"{taken / 2**20:.1f} MiB"
