"""Tables of confounds: read whole, chosen as nilearn chooses, refused where they do not fit."""

import itertools
import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import FileError, NeurotoolsError, SchemaError, SettingsError
from neurotools.loaders.fmri import confounds as reading
from neurotools.signals.confounds import STRATEGIES, ConfoundStrategy

FOLDER = "data/fmri_fmriprep_confounds"
REFERENCE = "reference/nilearn/load_confounds.npz"
LIMITS = {"fd_threshold": 0.5, "std_dvars_threshold": 1.5, "min_segment": 5}
TIGHT = {"fd_threshold": 0.15, "std_dvars_threshold": 1.11, "min_segment": 2}


@pytest.fixture
def recording(shared):
    return nt.load(shared(FOLDER), sfreq=0.5)


# ---- reading ----------------------------------------------------------------------------------------
def test_the_table_is_kept_whole(shared, recording):
    stored = pd.read_csv(shared(FOLDER) / "test_desc-confounds_regressors.tsv", sep="\t")
    table = recording["confounds/confounds"]
    assert table.shape == (30, 189)
    np.testing.assert_array_equal(table, stored.to_numpy())
    assert table["feature"].to_numpy().tolist() == stored.columns.tolist()
    first = np.isnan(table.to_numpy())
    assert first[0].sum() == 21
    assert not first[1:].any()
    assert "non_steady_state_outlier00" in table["feature"].to_numpy()
    np.testing.assert_array_equal(table["time"], np.arange(30) * 2.0)
    assert recording["confounds/ica"].shape == (30, 70)
    masks = pd.Series(table["mask"].to_numpy()).value_counts()
    assert (masks["combined"], masks["WM"], masks["CSF"]) == (57, 56, 13)
    described = json.loads((shared(FOLDER) / "test_desc-confounds_regressors.json").read_text())
    at = table.sel(feature="a_comp_cor_03")
    assert (at["method"].item(), at["mask"].item()) == ("aCompCor", "combined")
    assert float(at["variance_explained"]) == described["a_comp_cor_03"]["VarianceExplained"]


def test_mixing_of_independent_components(shared, recording):
    stored = pd.read_csv(shared(FOLDER) / "test_desc-ICA_mixing.tsv", sep="\t")
    ica = recording["confounds/ica"]
    assert (ica.dims, stored.shape) == (("time", "component"), (30, 70))
    np.testing.assert_array_equal(ica, stored.to_numpy())
    assert ica["component"].to_numpy().tolist() == stored.columns.tolist()
    assert ica.attrs["table"] == "test_desc-ICA_mixing.tsv"


@pytest.mark.parametrize("name", ["ICA", "MELODIC", "melodic"])
def test_every_name_of_the_mixing_is_found(shared, tmp_path, name):
    for file in shared(FOLDER).glob("test_*"):
        shutil.copy(file, tmp_path / file.name.replace("test_desc-ICA", f"test_desc-{name}"))
    assert nt.load(tmp_path, sfreq=0.5)["confounds/ica"].shape == (30, 70)


def test_file_and_folder_give_the_same_and_need_a_clock(shared, recording):
    file = shared(FOLDER) / "test_desc-confounds_regressors.tsv"
    xr.testing.assert_identical(
        nt.load(file, sfreq=0.5).to_dict()["/confounds"], recording.to_dict()["/confounds"]
    )
    for path in (file, file.parent):
        with pytest.raises(FileError, match="does not say its 'sfreq'") as caught:
            nt.load(path)
        assert caught.value.found == "30 volumes, 189 confounds, no clock"


def test_it_comes_back_from_disk_identical(recording, tmp_path):
    chosen = nt.confounds(recording, "scrubbing", **TIGHT)
    for suffix in (".nc", ".zarr"):
        nt.save(recording, tmp_path / f"recording{suffix}")
        xr.testing.assert_identical(nt.load(tmp_path / f"recording{suffix}"), recording)
        nt.save(chosen, tmp_path / f"chosen{suffix}")
        xr.testing.assert_identical(nt.open_fit(tmp_path / f"chosen{suffix}"), chosen)


@pytest.mark.parametrize(
    ("text", "message", "code"),
    [
        ("csf\ttrans_x\n1\t2\n3", "cut short in its last row", "NT-FILE-003"),
        ("csf\ttrans_x\n1\n3\t4\n", "rows of the table differ", "NT-FILE-004"),
        ("csf\ttrans_x\tcsf\n1\t2\t3\n", "same name", "NT-DATA-006"),
        ("csf\ttrans_x\n1\tmuch\n", "no numbers", "NT-FILE-004"),
        ("1\t2\n3\t4\n", "of no format|no header", None),
    ],
)
def test_broken_tables_are_named(tmp_path, text, message, code):
    file = tmp_path / "sub-01_desc-confounds_timeseries.tsv"
    file.write_text(text)
    with pytest.raises(NeurotoolsError, match=message) as caught:
        reading.read_confounds(file)
    if code:
        assert caught.value.code == code
        assert caught.value.path == str(file)


def test_mutated_tables_end_in_a_read_or_a_named_error(shared, tmp_path):
    raw = (shared(FOLDER) / "test_desc-confounds_regressors.tsv").read_bytes()[:20000]
    raw = raw[: raw.rindex(b"\n") + 1]
    rng = np.random.default_rng(8)
    file = tmp_path / "mutated.tsv"
    outcomes = set()
    for i in range(60):
        changed = bytearray(raw[: rng.integers(1, len(raw))] if i % 3 == 0 else raw)
        for _ in range(i % 4):
            changed[rng.integers(0, len(changed))] = rng.integers(0, 256)
        file.write_bytes(bytes(changed))
        try:
            outcomes.add(reading.read_confounds(file).shape[1])
        except NeurotoolsError as error:
            outcomes.add(error.code)
    assert {189, "NT-FILE-003"} <= outcomes


# ---- beside an image ------------------------------------------------------------------------------------
def derivatives(folder: Path, source: Path, generation: str, n_volumes: int = 30, **entities: str) -> Path:
    """An fMRIPrep folder with a small image, under the old or the new name of its table."""
    func = folder / "sub-01" / "func"
    func.mkdir(parents=True, exist_ok=True)
    (folder / "dataset_description.json").write_text('{"Name": "fMRIPrep", "DatasetType": "derivative"}')
    desc = entities.get("desc", "preproc")
    image = func / f"sub-01_task-rest_run-1_space-MNI152NLin6Asym_res-2_desc-{desc}_bold.nii.gz"
    values = np.random.default_rng(2).integers(0, 99, size=(4, 4, 3, n_volumes)).astype("int16")
    made = nib.Nifti1Image(values, np.eye(4))
    made.header.set_xyzt_units("mm", "sec")
    made.header["pixdim"][4] = 2.0
    nib.save(made, image)
    mask = np.arange(48).reshape(4, 4, 3) // 12 + 1
    nib.save(nib.Nifti1Image(mask.astype("uint8"), np.eye(4)), folder / "atlas.nii.gz")
    table = func / f"sub-01_task-rest_run-1_desc-confounds_{generation}.tsv"
    shutil.copy(source, table)
    shutil.copy(source.with_suffix(".json"), table.with_suffix(".json"))
    return image


@pytest.fixture
def table_file(shared):
    return shared(FOLDER) / "test_desc-confounds_regressors.tsv"


@pytest.mark.parametrize("generation", ["regressors", "timeseries"])
def test_both_names_of_the_table_are_found_beside_the_image(table_file, tmp_path, generation):
    image = derivatives(tmp_path, table_file, generation)
    for source in (image, image.parent, tmp_path / "sub-01", tmp_path):
        recording = nt.load(source, labels=tmp_path / "atlas.nii.gz")
        assert recording["confounds/confounds"].shape == (30, 189)
        assert recording["fmri/bold"].shape == (4, 30)
        assert recording["fmri/bold"].attrs["space"] == "MNI152NLin6Asym"
        np.testing.assert_array_equal(recording["confounds/time"], recording["fmri/time"])
        assert {recording.attrs[key] for key in ("subject", "task", "run")} == {"01", "rest", "1"}
    chosen = nt.confounds(recording, "scrubbing", **LIMITS)
    assert nt.clean(recording, replace_features(chosen, 10)).sizes["time"] == int(chosen["kept"].sum())


def replace_features(chosen: xr.Dataset, n: int) -> xr.Dataset:
    return chosen.isel(feature=slice(n))


def test_two_tables_for_one_image_and_other_lengths_are_errors(table_file, tmp_path):
    image = derivatives(tmp_path, table_file, "regressors")
    derivatives(tmp_path, table_file, "timeseries")
    with pytest.raises(FileError, match="several tables of confounds") as caught:
        nt.load(image, labels=tmp_path / "atlas.nii.gz")
    assert caught.value.code == "NT-FILE-008"
    assert "confounds_regressors.tsv" in caught.value.found
    other = tmp_path / "longer"
    image = derivatives(other, table_file, "regressors", n_volumes=33)
    with pytest.raises(SchemaError, match="one row per volume") as caught:
        nt.load(image, labels=other / "atlas.nii.gz")
    assert (caught.value.found, caught.value.expected) == ("30 rows", "33 volumes")


def test_the_table_of_another_run_is_not_taken(table_file, tmp_path):
    image = derivatives(tmp_path, table_file, "timeseries")
    for suffix in (".tsv", ".json"):
        table = image.parent / f"sub-01_task-rest_run-1_desc-confounds_timeseries{suffix}"
        table.rename(image.parent / f"sub-01_task-rest_run-2_desc-confounds_timeseries{suffix}")
    assert "confounds" not in nt.load(image, labels=tmp_path / "atlas.nii.gz").children


# ---- choosing: equal to nilearn -------------------------------------------------------------------------
REFERENCE_CASES = {
    "simple": ("simple", {}),
    "simple_gs_motion_derivatives": (
        replace(STRATEGIES["simple"], motion="derivatives", global_signal="basic"), {}
    ),
    "scrubbing": ("scrubbing", LIMITS),
    "scrubbing_tight": ("scrubbing", TIGHT),
    "compcor_anat_combined": ("compcor", {}),
    "compcor_temporal5": (
        ConfoundStrategy(high_pass=True, motion="basic", compcor="temporal", n_compcor=5), {}
    ),
    "ica_aroma_full": ("ica_aroma", {}),
    "ica_aroma_basic": (ConfoundStrategy(high_pass=True, wm_csf="basic", ica_aroma="basic"), {}),
    "friston36_no_demean": (
        ConfoundStrategy(motion="full", wm_csf="full", global_signal="full", demean=False), {}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFERENCE_CASES)
def test_strategies_equal_the_frozen_reference(shared, recording, name):
    strategy, limits = REFERENCE_CASES[name]
    reference = np.load(shared(REFERENCE), allow_pickle=False)
    assert set(reference["strategies"].tolist()) == set(REFERENCE_CASES)
    chosen = nt.confounds(recording, strategy, **limits)
    assert chosen["feature"].to_numpy().tolist() == reference[f"{name}/columns"].tolist()
    np.testing.assert_allclose(chosen["confounds"], reference[f"{name}/values"], rtol=0, atol=1e-10)
    kept = np.flatnonzero(chosen["kept"])
    mask = reference[f"{name}/sample_mask"] if reference[f"{name}/has_sample_mask"] else np.arange(30)
    np.testing.assert_array_equal(kept, mask)
    assert (chosen.attrs["n_volumes"], chosen.attrs["n_kept"]) == (30, kept.size)
    assert chosen.attrs["n_not_steady"] == 1
    assert chosen.attrs["n_motion"] == 29 - kept.size


COMPCORS = [
    "anat_combined",
    "anat_separated",
    "temporal",
    "temporal_anat_combined",
    "temporal_anat_separated",
]


@pytest.mark.parametrize("generation", ["regressors", "timeseries"])
@pytest.mark.parametrize("compcor", COMPCORS)
@pytest.mark.parametrize("n_compcor", [None, 3])
def test_every_compcor_of_both_generations_equals_nilearn(tmp_path, generation, compcor, n_compcor):
    source = {
        "regressors": "test_desc-confounds_regressors",
        "timeseries": "test-v21_desc-confounds_timeseries",
    }
    image = derivatives(tmp_path, nilearn_data(f"{source[generation]}.tsv"), generation)
    ours = ConfoundStrategy(high_pass=True, motion="power2", compcor=compcor, n_compcor=n_compcor)
    theirs = {"motion": "power2", "compcor": compcor, "n_compcor": n_compcor or "all"}
    check_against_nilearn(image, ours, ("high_pass", "motion", "compcor"), theirs, {})


def nilearn_data(name: str) -> Path:
    import nilearn.interfaces.fmriprep as package

    return Path(package.__file__).parent / "data" / name


@pytest.mark.parametrize("generation", ["regressors", "timeseries"])
@pytest.mark.parametrize(
    ("motion", "wm_csf"), list(itertools.product(["basic", "full"], ["derivatives", "power2"]))
)
@pytest.mark.parametrize("limits", [(0.1, 1.0, 4), (0.2, 3.0, 0), (0.05, 9.0, 7)])
def test_scrubbing_of_both_generations_equals_nilearn(tmp_path, generation, motion, wm_csf, limits):
    source = {
        "regressors": "test_desc-confounds_regressors",
        "timeseries": "test-v21_desc-confounds_timeseries",
    }
    image = derivatives(tmp_path, nilearn_data(f"{source[generation]}.tsv"), generation)
    fd, dvars, segment = limits
    ours = ConfoundStrategy(motion=motion, wm_csf=wm_csf, scrub=True)
    theirs = {
        "motion": motion,
        "wm_csf": wm_csf,
        "fd_threshold": fd,
        "std_dvars_threshold": dvars,
        "scrub": segment,
    }
    check_against_nilearn(
        image, ours, ("motion", "wm_csf", "scrub"), theirs,
        {"fd_threshold": fd, "std_dvars_threshold": dvars, "min_segment": segment},
    )  # fmt: skip


def check_against_nilearn(image, ours, strategy, theirs, limits):
    from nilearn.interfaces.fmriprep import load_confounds

    recording = nt.load(image, labels=image.parents[2] / "atlas.nii.gz")
    chosen = nt.confounds(recording, ours, **limits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table, kept = load_confounds(str(image), strategy=strategy, **theirs)
    assert chosen["feature"].to_numpy().tolist() == table.columns.tolist()
    if np.isfinite(table.to_numpy()).all():
        # Squares of the global signal reach 1e5, and two ways to take a mean differ by their rounding.
        np.testing.assert_allclose(chosen["confounds"], table.to_numpy(), rtol=1e-10, atol=1e-10)
    else:  # no volume is left, so the mean is not defined
        assert not chosen["kept"].any()
    np.testing.assert_array_equal(np.flatnonzero(chosen["kept"]), np.arange(30) if kept is None else kept)


# ---- choosing: what is refused --------------------------------------------------------------------------
def test_thresholds_have_no_default(recording):
    with pytest.raises(SettingsError, match="all three limits") as caught:
        nt.confounds(recording, "scrubbing")
    assert caught.value.found == "missing: fd_threshold, std_dvars_threshold, min_segment"
    with pytest.raises(SettingsError, match="all three limits"):
        nt.confounds(recording, "simple", fd_threshold=0.5)
    with pytest.raises(SettingsError, match="not negative"):
        nt.confounds(recording, "simple", **{**LIMITS, "fd_threshold": -1.0})
    everything = nt.confounds(recording, "simple", fd_threshold=0.0, std_dvars_threshold=0.0, min_segment=0)
    assert everything.attrs["n_kept"] == 0


def test_unknown_words_are_refused_with_a_hint(recording):
    with pytest.raises(SettingsError, match="Did you mean 'scrubbing'"):
        nt.confounds(recording, "scrubing", **LIMITS)
    with pytest.raises(SettingsError, match="no motion model named 'ful'"):
        nt.confounds(recording, ConfoundStrategy(motion="ful"))
    with pytest.raises(SettingsError, match="kind of CompCor"):
        nt.confounds(recording, ConfoundStrategy(high_pass=True, compcor="anatomical"))
    with pytest.raises(SettingsError, match="ICA-AROMA"):
        nt.confounds(recording, ConfoundStrategy(ica_aroma="some"))
    with pytest.raises(SettingsError, match="high_pass must be removed too"):
        nt.confounds(recording, ConfoundStrategy(compcor="temporal"))


def test_missing_columns_and_sidecars_are_named(recording):
    table = recording["confounds/confounds"]
    keep = [name for name in table["feature"].to_numpy() if "rot_z" not in name and name != "std_dvars"]
    with pytest.raises(SchemaError, match="lacks confounds") as caught:
        nt.confounds(table.sel(feature=keep), "simple")
    assert caught.value.found.startswith("4 of 30 missing: rot_z, rot_z_derivative1")
    with pytest.raises(SchemaError, match="lacks what scrubbing needs"):
        nt.confounds(table.sel(feature=keep), ConfoundStrategy(wm_csf="basic"), **LIMITS)
    bare = table.drop_vars(["mask", "method", "variance_explained"])
    with pytest.raises(SchemaError, match="needs the sidecar"):
        nt.confounds(bare, "compcor")
    assert (
        nt.confounds(bare, ConfoundStrategy(high_pass=True, compcor="temporal", n_compcor=2)).sizes["feature"]
        == 6
    )
    with pytest.raises(SchemaError, match="no CompCor components"):
        nt.confounds(
            bare.sel(feature=["csf", "cosine00"]), ConfoundStrategy(high_pass=True, compcor="temporal")
        )
    with pytest.raises(SchemaError, match="no components of ICA-AROMA"):
        nt.confounds(bare.sel(feature=["csf"]), ConfoundStrategy(ica_aroma="basic"))
    with pytest.raises(SchemaError, match="has no confounds"):
        nt.confounds(xr.DataTree(), "simple")


def test_nan_after_the_first_row_is_refused(recording):
    table = recording["confounds/confounds"].copy(deep=True)
    table.loc[{"feature": "csf"}][7] = np.nan
    with pytest.raises(SchemaError, match="beyond the first row") as caught:
        nt.confounds(table, "simple")
    assert caught.value.found == "1 columns: csf"


def test_what_was_put_into_the_first_row_is_said(recording):
    assert nt.confounds(recording, "simple").attrs["n_first_row_from_second"] == 12
    assert nt.confounds(recording, ConfoundStrategy(motion="basic")).attrs["n_first_row_from_second"] == 0


def test_full_aroma_needs_the_image_that_aroma_cleaned(table_file, tmp_path):
    image = derivatives(tmp_path / "a", table_file, "regressors")
    with pytest.raises(SchemaError, match="that AROMA has cleaned"):
        nt.confounds(nt.load(image, labels=tmp_path / "a/atlas.nii.gz"), "ica_aroma")
    image = derivatives(tmp_path / "b", table_file, "regressors", desc="smoothAROMAnonaggr")
    chosen = nt.confounds(nt.load(image, labels=tmp_path / "b/atlas.nii.gz"), "ica_aroma")
    assert chosen.sizes["feature"] == 6


def test_sessions_are_scrubbed_apart(recording):
    """Two runs end to end give what each gives alone: a stretch does not borrow from its neighbour."""
    table = recording["confounds/confounds"]
    twice = xr.concat([table, table], "time").assign_coords(
        time=np.arange(60) * 2.0, session=("time", np.repeat(["a", "b"], 30))
    )
    plan = ConfoundStrategy(motion="derivatives", demean=False)
    alone, joined = nt.confounds(table, plan, **TIGHT), nt.confounds(twice, plan, **TIGHT)
    np.testing.assert_array_equal(joined["kept"], np.tile(alone["kept"], 2))
    np.testing.assert_array_equal(joined["confounds"], np.tile(alone["confounds"], (2, 1)))


# ---- tables of one's own ----------------------------------------------------------------------------------
def test_motion_rows_of_discarded_volumes_need_an_explicit_offset(tmp_path, rng):
    bold = xr.DataArray(
        rng.normal(size=(6, 362)), dims=("region", "time"),
        coords={"region": list("abcdef"), "time": np.arange(362) * 2.0}, attrs={"units": "arbitrary"},
    )  # fmt: skip
    recording = xr.DataTree.from_dict({"/fmri": bold.to_dataset(name="bold")})
    motion = rng.normal(size=(372, 6))
    np.savetxt(tmp_path / "rp.txt", motion, fmt="%16.7e")
    with pytest.raises(SchemaError, match="one row per volume") as caught:
        nt.with_confounds(recording, tmp_path / "rp.txt")
    assert caught.value.code == "NT-DATA-005"
    assert (caught.value.found, caught.value.expected) == ("372 rows", "362 volumes")
    assert "offset=" in caught.value.fix
    with pytest.raises(SchemaError, match="one row per volume"):
        nt.with_confounds(recording, tmp_path / "rp.txt", offset=9)
    for wrong in (-1, 372):
        with pytest.raises(SchemaError, match="offset leaves no row"):
            nt.with_confounds(recording, tmp_path / "rp.txt", offset=wrong)
    names = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
    joined = nt.with_confounds(recording, tmp_path / "rp.txt", offset=10, names=names)
    assert "confounds" not in recording.children
    np.testing.assert_allclose(joined["confounds/confounds"], motion[10:], rtol=1e-6)
    assert joined["confounds/confounds"].attrs["offset"] == 10
    assert nt.confounds(joined, ConfoundStrategy(motion="basic"))["confounds"].shape == (362, 6)
    with pytest.raises(SchemaError, match="names and columns"):
        nt.with_confounds(recording, tmp_path / "rp.txt", offset=10, names=names[:5])
    with pytest.raises(FileError, match="no table"):
        nt.with_confounds(recording, tmp_path / "absent.txt")
