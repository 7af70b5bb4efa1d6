"""Every file of the shared recordings is read: by a test that is named here, or through its recording.

The walk fails for a file that no line claims, for a line that claims no file, and for a test that is gone or
does not speak of the folder any more.
"""

from __future__ import annotations

import ast
import fnmatch
import re
from functools import cache
from pathlib import Path

import nibabel as nib
import pytest

import neurotools as nt
from neurotools.errors import FileError

HERE = Path(__file__).parent
# Told to people and not to programs.
PROSE = ("README.md", "*/README.md", "*/README_upstream.txt", "*/LICENSE*")
# Of an OpenfMRI data set, what its authors modelled, and not what was recorded.
MODELS = ("fmri_haxby2001_mini/model_key.txt", "fmri_haxby2001_mini/models/*")
HAXBY = "fmri_haxby2001_mini/sub001"
BIDS = "eeg_bids_tiny"
# Files -> the test that reads them and compares shapes, rates, units or counts with the folder's README.
READ = {
    "behaviour_mouse_2afc_glmhmm/direct_*.npy": "test_behaviour.py::test_mouse_choices",
    "calcium_celegans_control_nwb/*.nwb": "test_nwb.py::test_one_series_per_neuron",
    "calcium_celegans_wholebrain_h5/*.h5": "test_calcium.py::test_worm",
    "calcium_songbird_hvc/MackeviciusData.mat": "test_arrays.py::test_songbird_mat",
    "calcium_songbird_hvc/songbird_spikes.txt": "test_tables.py::test_songbird_spikes_keep_the_silent_unit",
    "calcium_suite2p_mini/*.np[yz]": "test_calcium.py::test_suite2p_folder",
    "calcium_zebrafish_tectum/*": "test_arrays.py::test_zebrafish_members_overlap_and_count_from_one",
    "connectome_ntf_reference/*.npz": "test_arrays.py::test_ntf_factors",
    f"{BIDS}/sub-01/ses-eeg/eeg/*": "test_bids.py::test_the_small_data_set",
    f"{BIDS}/dataset_description.json": "test_bids.py::test_participant_session_and_scan_come_along",
    f"{BIDS}/participants.*": "test_bids.py::test_participant_session_and_scan_come_along",
    f"{BIDS}/sub-01/sub-01_sessions.*": "test_bids.py::test_participant_session_and_scan_come_along",
    f"{BIDS}/sub-01/ses-eeg/*_scans.tsv": "test_bids.py::test_participant_session_and_scan_come_along",
    "eeg_eeglab_sample/test_raw.*": "test_eeg.py::test_what_is_known_of_the_file",
    "eeg_eegmmidb_s001/*.edf": "test_eeg.py::test_what_is_known_of_the_file",
    "eeg_erpcore_p3_evoked/*.fif": "test_eeg.py::test_averages",
    "eeg_format_zoo/test*": "test_eeg.py::test_what_is_known_of_the_file",
    "eeg_muse_erp/*.csv": "test_eeg_tables.py::test_every_muse_run",
    "eeg_sleep_snippets/*.txt": "test_tables.py::test_sleep_snippets",
    "eeg_sleep_snippets/*.fif": "test_eeg.py::test_what_is_known_of_the_file",
    "fc_hcp_group_brainspace/*.csv": "test_tables.py::test_group_connectivity",
    "fmri_alice_story_roi/*/*-timecourses.txt": "test_fmri_tables.py::test_alice",
    "fmri_alice_story_roi/*-rp_*.txt": "test_tables.py::test_story_motion_is_ten_rows_longer",
    "fmri_alice_story_roi/*-rate.txt": "test_tables.py::test_story_motion_is_ten_rows_longer",
    "fmri_alice_story_roi/*-sndpwr.txt": "test_tables.py::test_story_motion_is_ten_rows_longer",
    "fmri_alice_story_roi/sept18-*.txt": "test_tables.py::test_story_motion_is_ten_rows_longer",
    "fmri_fmriprep_confounds/*regressors.*": "test_confounds.py::test_the_table_is_kept_whole",
    "fmri_fmriprep_confounds/*ICA_mixing.tsv": "test_confounds.py::test_mixing_of_independent_components",
    f"{HAXBY}/BOLD/*/bold_25mm.nii.gz": "test_fmri.py::test_haxby_at_25_mm_with_each_mask",
    f"{HAXBY}/BOLD/*/bold_events.tsv": "test_fmri.py::test_haxby_at_25_mm_with_each_mask",
    f"{HAXBY}/BOLD/*/bold_moest.txt": "test_fmri.py::test_haxby_at_25_mm_with_each_mask",
    f"{HAXBY}/masks/25mm/*.nii.gz": "test_fmri.py::test_haxby_at_25_mm_with_each_mask",
    f"{HAXBY}/BOLD/*/bold_1slice.nii.gz": "test_fmri.py::test_haxby_single_slice",
    f"{HAXBY}/anatomy/*.nii.gz": "test_data_index.py::test_anatomy_is_no_recording",
    "fmri_haxby2001_mini/s*_key.txt": "test_fmri.py::test_the_haxby_tree_lies_end_to_end",
    "fmri_haxby2001_mini/task_key.txt": "test_fmri.py::test_the_haxby_tree_lies_end_to_end",
    "fmri_hcp_aal2_timeseries/*": "test_arrays.py::test_hcp_npz_and_mat",
    "fmri_small_nifti/*.nii*": "test_fmri.py::test_small_fragments",
    "fmri_small_nifti/*.csv": "test_fmri_tables.py::test_nitime_table",
    "glm_reference/allen_*.csv": "test_tables.py::test_allen_counts_with_their_sidecars",
    "glm_reference/*.npz": "test_arrays.py::test_glm_reference_npz",
    "ieeg_mne_sample/*.edf": "test_eeg.py::test_what_is_known_of_the_file",
    "ieeg_mne_sample/sample_ecog_electrodes.tsv": "test_eeg.py::test_electrode_positions_in_m",
    "ieeg_mne_sample/sample_seeg_electrodes.tsv":
        "test_eeg.py::test_electrode_positions_in_mm_are_turned_into_m",
    "spikes_grasshopper_auditory/*.txt": "test_tables.py::test_grasshopper_microseconds",
    "spikes_hpc_linear_track/*.npz": "test_arrays.py::test_linear_track_npz_starts_late",
    "spikes_hpc_linear_track/*.mat": "test_arrays.py::test_linear_track_nested_mat_has_the_same_spikes",
    "spikes_hpc_linear_track/trajectory.*": "test_behaviour.py::test_tracked_positions",
    "spikes_human_mtl_nwb/*.nwb": "test_nwb.py::test_human_units_trials_and_events",
    "spikes_lorenz_nlb/*.h5": "test_arrays.py::test_lorenz_trials_lie_end_to_end",
    "spikes_m1_reaching/*.mat": "test_arrays.py::test_reaching_mat",
}  # fmt: skip
# Traps that the index of the shared recordings lists at its end -> the test that steps on each.
TRAPS = {
    "milliseconds as NIfTI time unit": "test_fmri.py::test_small_fragments",
    "999.4 Hz sampling": "test_eeg.py::test_what_is_known_of_the_file",
    "per-file electrode units": "test_eeg.py::test_electrode_positions_in_mm_are_turned_into_m",
    "marker column with two names": "test_eeg_tables.py::test_every_muse_run",
    "sentinel first timestamp": "test_nwb.py::test_the_sentinel_is_no_moment_of_the_recording_and_is_stated",
    "recording that starts at 4397 s": "test_arrays.py::test_linear_track_npz_starts_late",
    "motion files 10 rows longer than the series": "test_tables.py::test_story_motion_is_ten_rows_longer",
    "one TimeSeries per neuron": "test_nwb.py::test_one_series_per_neuron",
    "missing ops/stat": "test_calcium.py::test_suite2p_folder",
    "overlapping clusters": "test_arrays.py::test_zebrafish_members_overlap_and_count_from_one",
    "1-based indices": "test_arrays.py::test_zebrafish_members_overlap_and_count_from_one",
}  # fmt: skip
# Bad input that today's libraries take in silence or refuse without a word of help -> the test that it is
# refused (or accepted and noted) here.
BAD_INPUT = {
    "EDF cut in half": "test_eeg_faults.py::test_edf_cut_in_half_names_expected_and_found_samples",
    "EDF with record count -1": "test_eeg_faults.py::test_record_count_left_open_is_accepted_and_noted",
    "EDF of 200 bytes": "test_eeg_faults.py::test_edf_header_cut_short",
    "EDF with absurd channel count":
        "test_eeg_faults.py::test_absurd_channel_count_contradicts_the_header_size",
    "a field of the EDF header": "test_eeg_faults.py::test_impossible_header_field_is_named",
    "FIF with zeroed bytes, with a checksum":
        "test_checksums.py::test_fif_with_zeroed_bytes_does_not_pass_its_checksum",
    "BIDS with zeroed bytes, with a checksum":
        "test_checksums.py::test_bids_data_and_sidecars_are_held_against_the_list_of_the_data_set",
    "FIF with zeroed bytes, by its flat run":
        "test_eeg_faults.py::test_fif_with_zeroed_bytes_is_read_and_noted",
    "FIF truncated": "test_eeg_faults.py::test_fif_cut_short_names_file_and_byte",
    "one NaN, then filter": "../signals/test_filtering.py::test_one_nan_stops_the_filter",
    "different rates concatenated": "test_eeg_faults.py::test_recordings_of_other_rates_are_not_joined",
    "event beyond data": "test_eeg_faults.py::test_events_beyond_the_data_are_listed",
    ".nii truncated": "test_fmri_faults.py::test_a_truncated_nii_states_bytes_and_volumes",
    ".nii.gz truncated": "test_fmri_faults.py::test_a_truncated_nii_gz_states_unpacked_bytes_and_volumes",
    "NIfTI claims 30,000^4 voxels":
        "test_fmri_faults.py::test_a_header_that_claims_30000_to_the_4_is_refused_before_allocation",
    "mask of another shape":
        "test_fmri.py::test_an_atlas_on_another_grid_is_an_error_until_resampling_is_asked_for",
    "NaN voxel in a region": "test_fmri.py::test_voxels_with_nan_are_counted_left_out_and_reported",
    "disjoint labels": "test_fmri.py::test_labels_that_miss_the_image_are_named",
    "empty mask": "test_fmri.py::test_label_images_that_are_none_are_refused",
    "missing TR": "test_fmri.py::test_a_missing_or_doubtful_repetition_time_is_a_question",
    "NWB: NaN and negative spike times": "test_nwb.py::test_spike_times_that_cannot_be_are_counted_per_unit",
    "NWB: unsorted timestamps": "test_nwb.py::test_stamps_of_a_series_that_step_back",
    "NWB: trial stop before start": "test_nwb.py::test_trials_that_stop_before_they_start_are_an_error",
    "NWB: empty spike train": "test_nwb.py::test_units_with_their_columns",
    "NWB truncated, junk": "test_nwb.py::test_cut_and_junk_files_end_in_one_kind_of_error",
    "neo: unsorted spikes": "test_spikes.py::test_spikes_out_of_order_are_sorted_and_noted",
    "neo: truncated Blackrock": "test_spikes.py::test_blackrock_cut_short",
    "neo: reader by suffix on junk":
        "test_spikes.py::test_junk_with_a_known_suffix_is_refused_by_its_content",
    "pynapple: NaN time": "test_pynapple.py::test_nan_times_are_refused_though_pynapple_keeps_them",
    "pynapple: unsorted times": "test_pynapple.py::test_unsorted_times_are_sorted_and_noted",
    "slice on non-monotonic time": "../test_clocks.py::test_a_clock_that_steps_back_is_no_recording",
    "ulp-different time axes":
        "../test_schema.py::test_arithmetic_between_clocks_that_differ_by_rounding_fails_loudly",
    "100 Hz + 128 Hz": "../test_clocks.py::test_other_clocks_are_refused",
    "pickled payload": "test_recognise.py::test_pickles_are_refused_and_never_run",
    "no unsafe call": "test_recognise.py::test_no_line_of_the_toolkit_could_run_code_from_a_file",
    "ops.npy": "test_calcium.py::test_suite2p_rate_is_read_from_ops_and_nothing_runs",
    "npz bomb": "test_limits.py::test_npz_bomb",
    "gzip bomb": "test_limits.py::test_table_and_gzip_bombs",
    "HDF5 bomb": "test_limits.py::test_hdf5_bomb",
    "YAML by the safe loader": "test_recognise.py::test_faults_of_settings_files",
    "BIDS entities with ..": "test_bids.py::test_entities_are_letters_and_digits",
    "XML entities": "test_xml.py::test_no_entity_of_an_mff_folder_is_expanded",
}  # fmt: skip


@cache
def source(file: str) -> str:
    return (HERE / file).read_text(encoding="utf-8")


@cache
def names_in(file: str) -> set[str]:
    return {node.name for node in ast.parse(source(file)).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", sorted({*READ.values(), *TRAPS.values(), *BAD_INPUT.values()}))
def test_every_test_that_is_named_exists(name):
    file, _, test = name.partition("::")
    assert test in names_in(file)


def test_every_data_file_is_read_by_a_named_test(shared):
    root = shared("data")
    claimed = set()
    for path in sorted(file for file in root.rglob("*") if file.is_file()):
        name = path.relative_to(root).as_posix()
        if any(fnmatch.fnmatch(name, pattern) for pattern in (*PROSE, *MODELS)):
            continue
        lines = [pattern for pattern in READ if fnmatch.fnmatch(name, pattern)]
        assert lines, f"no test reads {name}"
        claimed.update(lines)
        for pattern in lines:
            # The folder's name stands in the module of the test, or the test reads something else by now.
            assert name.split("/")[0] in source(READ[pattern].partition("::")[0]), (name, READ[pattern])
    assert claimed == set(READ), "these lines claim no file"


def test_every_trap_of_the_index_is_stepped_on(shared):
    index = (shared("data") / "README.md").read_text(encoding="utf-8")
    told = re.search(r"^Traps worth a test: (.*)\.$", index, re.MULTILINE)[1]
    for trap in TRAPS:
        assert trap in told, f"the index does not list {trap!r}"
    assert len(re.findall(r"\(`\w+`\)", told)) == 9, "the index lists a trap that is not here"


@pytest.mark.parametrize("number", [1, 2])
def test_anatomy_is_no_recording(shared, number):
    """One volume has no time: the error says so, and what such an image is for."""
    folder = shared("data/fmri_haxby2001_mini/sub001")
    path = folder / f"anatomy/lowres{number:03d}.nii.gz"
    with pytest.raises(FileError, match="one volume, so there is nothing over time") as caught:
        nt.load(path)
    assert caught.value.code == "NT-DATA-010"
    assert caught.value.found.startswith("6x10x10 voxels, 25 x 25 x 25 mm")
    assert "labels=" in caught.value.fix
    assert nib.load(path).shape == (6, 10, 10)
