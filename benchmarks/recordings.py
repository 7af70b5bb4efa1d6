"""What is known of the recordings that are kept outside the repository: how to load them, and their sizes.

Every file of every folder stands here: as one that is loaded, as one that is read through another, or as
one that is no recording.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Sizes = Mapping[str, Mapping[str, int]]  # of variables, or of nodes

# Descriptions in words, keys of a data set, licences, and images without time.
NO_RECORDINGS = (
    "README*", "LICENSE*", "*_key.txt", "models/**/*", "sub001/anatomy/*.nii.gz",
)  # fmt: skip


@dataclass(frozen=True)
class Known:
    """Files that load alike: ``files`` is a pattern below ``folder``, ``beside`` what is read with each.

    ``options`` go to ``nt.load``; ``mask`` has a mask of all voxels made first. An empty pattern means that
    the folder itself is loaded.
    """

    folder: str
    files: str
    sizes: Sizes | Callable[[Path], Sizes]
    options: Mapping[str, Any] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    mask: bool = False


def by_name(table: Mapping[str, Sizes]) -> Callable[[Path], Sizes]:
    """Sizes that differ from file to file."""
    return lambda path: table[path.name]


def signal(kind: str, channel: int, time: int, event: int | None = None) -> Sizes:
    """Sizes of a recording of channels, and of its events."""
    sizes = {f"{kind}/signal": {"channel": channel, "time": time}}
    return sizes if event is None else {**sizes, "events": {"event": event}}


# ---- EEG ------------------------------------------------------------------------------------------------
MUSE = ("TP9", "AF7", "AF8", "TP10")
MUSE_EVENTS = {
    "data_2017-09-13-15.30.01.csv": (30732, 197), "data_2017-09-13-15.32.50.csv": (30732, 195),
    "data_2017-09-13-15.35.26.csv": (30732, 195), "data_2017-09-13-15.40.17.csv": (30732, 194),
    "data_2017-09-13-15.42.33.csv": (30720, 194), "data_2017-09-13-15.45.08.csv": (30732, 199),
    "data_2017-02-04-15_45_13.csv": (30732, 197), "data_2017-02-04-15_47_49.csv": (30732, 191),
    "data_2017-02-04-15_51_07.csv": (30732, 193), "data_2017-02-04-15_55_07.csv": (30732, 194),
    "data_2017-02-04-15_58_30.csv": (30732, 191), "data_2017-02-04-16_03_08.csv": (30732, 195),
}  # fmt: skip
EEG = (
    Known("eeg_eegmmidb_s001", "S001R0[12].edf", signal("eeg", 64, 9600, 1)),
    Known("eeg_eegmmidb_s001", "S001R0[348].edf", signal("eeg", 64, 20000, 30)),
    Known("eeg_eegmmidb_s001", "S001R12.edf", signal("eeg", 64, 20000, 30)),
    Known(
        "eeg_muse_erp", "*/*.csv",
        by_name({name: signal("eeg", len(MUSE), *sizes) for name, sizes in MUSE_EVENTS.items()}),
    ),
    Known("eeg_eeglab_sample", "test_raw.set", signal("eeg", 32, 30504, 154), beside=("test_raw.fdt",)),
    Known("eeg_format_zoo", "test.edf", signal("eeg", 138, 3072, 5)),
    Known("eeg_format_zoo", "test.bdf", signal("eeg", 72, 2048, 1)),
    Known("eeg_format_zoo", "test.vhdr", signal("eeg", 26, 7900, 13), beside=("test.eeg", "test.vmrk")),
    Known("eeg_format_zoo", "test_egi.raw", signal("eeg", 256, 77, 2)),
    Known(
        "eeg_bids_tiny", "", signal("eeg", 64, 10000, 2),
        beside=("dataset_description.json", "participants.*", "sub-01/**/*"),
    ),
    Known("eeg_sleep_snippets", "*.fif", signal("eeg", 2, 72000)),
    Known(
        "eeg_sleep_snippets", "data_N2*.txt", signal("eeg", 1, 3000),
        {"kind": "eeg", "dims": ("time", "channel"), "sfreq": 200, "units": "uV"},
    ),
    Known(
        "eeg_sleep_snippets", "data_N3*.txt", signal("eeg", 1, 3000),
        {"kind": "eeg", "dims": ("time", "channel"), "sfreq": 100, "units": "uV"},
    ),
    Known("eeg_erpcore_p3_evoked", "*.fif", {"eeg/evoked": {"condition": 3, "channel": 30, "time": 129}}),
    Known(
        "ieeg_mne_sample", "sample_ecog.edf", signal("ecog", 78, 21658, 1),
        beside=("sample_ecog_electrodes.tsv",),
    ),
    Known(
        "ieeg_mne_sample", "sample_seeg.edf",
        {**signal("seeg", 98, 20000, 3), "electrodes": {"electrode": 127}},
        beside=("sample_seeg_electrodes.tsv",),
    ),
)  # fmt: skip

# ---- fMRI -----------------------------------------------------------------------------------------------
ALICE = ("LATL", "RATL", "LPTL", "LIPL", "LPreM", "LIFG")
AAL = {"file": "aal2_regions.tsv", "name": "name"}
HAXBY_VOXELS = {"brain": 129, "gray": 28, "vt": 1, "white": 34, "hoc": 21}
FMRI = (
    *(
        Known(
            "fmri_haxby2001_mini", "",
            {"fmri/bold": {"region": n, "time": 968}, "events": {"event": 64},
             "confounds/confounds": {"time": 968, "feature": 6}},
            {"array": "bold_25mm", "labels": f"masks/25mm/{mask}.nii.gz"},
            beside=(f"sub001/masks/25mm/{mask}.nii.gz", "sub001/BOLD/*/bold_25mm.nii.gz",
                    "sub001/BOLD/*/*_events.tsv", "sub001/BOLD/*/*_moest.txt"),
        )
        for mask, n in HAXBY_VOXELS.items()
    ),
    Known(
        "fmri_haxby2001_mini", "sub001/BOLD/*/bold_1slice.nii.gz",
        {"fmri/bold": {"region": 800, "time": 121}}, mask=True,
    ),
    Known("fmri_small_nifti", "functional.nii", {"fmri/bold": {"region": 1071, "time": 20}}, mask=True),
    Known("fmri_small_nifti", "example4d.nii.gz", {"fmri/bold": {"region": 294912, "time": 2}}, mask=True),
    Known(
        "fmri_small_nifti", "fmri_timeseries.csv", {"fmri/bold": {"region": 31, "time": 250}},
        {"kind": "fmri", "dims": ("time", "region"), "sfreq": 1 / 1.89},
    ),
    Known(
        "fmri_alice_story_roi", "*mm/*-timecourses.txt", {"fmri/bold": {"region": 6, "time": 362}},
        {"kind": "fmri", "dims": ("time", "region"), "sfreq": 0.5, "labels": ALICE},
    ),
    Known(
        "fmri_alice_story_roi", "s*-rp_*.txt", {"fmri/motion": {"confound": 6, "time": 362}},
        {"arrays": {"fmri/motion": {"dims": ("time", "confound"), "sfreq": 0.5, "skip": 10}}},
    ),
    *(
        Known(
            "fmri_alice_story_roi", pattern, {"stimulus/value": {"time": 362}},
            {"arrays": {"stimulus/value": {"dims": "time", "sfreq": 0.5}}},
        )
        for pattern in ("s*-rate.txt", "s*-sndpwr.txt")
    ),
    Known(
        "fmri_alice_story_roi", "sept18-*.txt", {"behaviour/language": {"time": 362, "feature": 12}},
        {"arrays": {"behaviour/language": {"dims": ("time", "feature"), "sfreq": 0.5, "skip": 10}}},
    ),
    Known(
        "fmri_hcp_aal2_timeseries", "*.npz",
        {"fmri/bold": {"subject": 16, "region": 94, "time": 1200},
         "connectivity/weight": {"subject": 7, "region": 94, "region_to": 94}},
        {"arrays": {
            "fmri/bold": {"name": "bold", "dims": ("subject", "region", "time"), "sfreq": 1 / 0.72,
                          "labels": AAL, "coords": {"subject": "subject"}},
            "connectivity/weight": {"name": "sc", "dims": ("subject", "region", "region_to"),
                                    "labels": AAL, "coords": {"subject": "sc_subject"}}}},
        beside=("aal2_regions.tsv",),
    ),
    Known(
        "fmri_hcp_aal2_timeseries", "*.mat", {"fmri/bold": {"region": 94, "time": 1200}},
        {"kind": "fmri", "dims": ("region", "time"), "sfreq": 1 / 0.72},
    ),
    Known(
        "fmri_fmriprep_confounds", "test_desc-confounds_regressors.tsv",
        {"confounds/confounds": {"time": 30, "feature": 189}}, {"sfreq": 0.5},
        beside=("test_desc-confounds_regressors.json", "test_desc-ICA_mixing.tsv"),
    ),
    *(
        Known(
            "fc_hcp_group_brainspace", f"schaefer_{n}_*.csv",
            {"connectivity/correlation": {"region": n, "region_to": n}},
            {"arrays": {"connectivity/correlation": {"dims": ("region", "region_to"), "units": "1"}}},
        )
        for n in (100, 200, 400)
    ),
)  # fmt: skip

# ---- spikes ---------------------------------------------------------------------------------------------
TRACK_WINDOW = {"name": "spikes{1}{1}{1}{1}.timerange"}
LORENZ = {"dims": ("trial", "time", "unit"), "bin_width": 0.01}
SPIKES = (
    Known(
        "spikes_m1_reaching", "*.mat", {"counts/counts": {"time": 15536, "unit": 171}},
        {"kind": "counts", "array": "spikes", "dims": ("unit", "time"), "bin_width": 0.05},
    ),
    Known(
        "spikes_hpc_linear_track", "linear_track_tidy.npz",
        {"spikes": {"unit": 31, "spike": 28829}, "behaviour/x": {"time": 118964}},
        {"arrays": {
            "spikes": {"time": "spike_time_s", "unit": "spike_unit", "units": "s", "t_start": 4396.9975,
                       "t_stop": 6365.2707},
            "behaviour/x": {"name": "x_px", "dims": "time", "time": "pos_time_s", "repeats": "first",
                            "units": "px"}}},
    ),
    Known(
        "spikes_hpc_linear_track", "spikes.mat", {"spikes": {"unit": 37, "spike": 28829}},  # six are silent
        {"arrays": {"spikes": {"trains": "spikes{1}{1}{*}{*}.time", "units": "s", "t_start": TRACK_WINDOW,
                               "t_stop": TRACK_WINDOW}}},
    ),
    Known(
        "spikes_hpc_linear_track", "trajectory.videoPositionTracking",
        {"behaviour/xloc": {"time": 118964}, "behaviour/yloc": {"time": 118964}}, {"sort": True},
    ),
    Known(
        "spikes_human_mtl_nwb", "*.nwb",
        {"spikes": {"unit": 35, "spike": 214278}, "events": {"event": 1716}, "stimulus": {"event": 90},
         "trials_encoding_table": {"trial": 90}, "trials_recognition_table": {"trial": 180},
         "trials_timediscrimination_table": {"trial": 180}},
    ),
    Known(
        "spikes_grasshopper_auditory", "",
        {"spikes": {"unit": 1, "spike": 929}, "stimulus/sound": {"time": 200000}},
        {"arrays": {
            "spikes": {"time": {"file": "grasshopper_spike_times1.txt"}, "units": "us", "t_start": 0,
                       "t_stop": 10},
            "stimulus/sound": {"file": "grasshopper_stimulus1.txt", "name": "1", "dims": "time",
                               "time": {"file": "grasshopper_stimulus1.txt", "name": "0", "units": "us"}}}},
        beside=("grasshopper_*.txt",),
    ),
    Known(
        "spikes_lorenz_nlb", "lfads_lorenz.h5",
        {"counts/counts": {"time": 16000, "unit": 60}, "counts/rate": {"time": 16000, "unit": 60}},
        {"arrays": {"counts/counts": {"name": "valid_data", **LORENZ},
                    "counts/rate": {"name": "valid_truth", "units": "Hz", **LORENZ}}},
    ),
    Known(
        "glm_reference", "allen_*_counts_500ms.csv",
        {"counts/counts": {"time": 720, "unit": 63}, "counts/epoch": {"time": 720}},
        {"arrays": {
            "counts/counts": {"dims": ("unit", "time"), "bin_width": 0.5,
                              "coords": {"area": {"file": "allen_719161530_region_label.csv"}}},
            "counts/epoch": {"file": "allen_719161530_epoch_label.csv", "dims": "time", "bin_width": 0.5}}},
        beside=("allen_*_label.csv",),
    ),
    Known(
        "glm_reference", "hmmglm_synthetic_S5_N20.npz",
        {"counts/counts": {"time": 16000, "unit": 20},
         "truth/weight": {"state": 5, "unit": 20, "unit_to": 20}},
        {"arrays": {"counts/counts": {"name": "spikes", "dims": ("session", "time", "unit"), "bin_width": 1},
                    "truth/weight": {"name": "weight", "dims": ("state", "unit", "unit_to")}}},
    ),
    Known(
        "glm_reference", "hmm_parity_ssm_K5.npz", {"hmm/gamma": {"step": 5000, "state": 5}},
        {"arrays": {"hmm/gamma": {"name": "gamma", "dims": ("step", "state")}}},
    ),
)  # fmt: skip

# ---- calcium and behaviour --------------------------------------------------------------------------------
WORMS = {
    "swf415_2022-01-16-01-data.h5": (799, 130, 38), "swf702_2022-07-26-31-data.h5": (800, 146, 34),
    "swf702_2022-07-26-38-data.h5": (800, 141, 29), "swf702_2022-07-27-38-data.h5": (800, 135, 30),
}  # fmt: skip
CHOICES = ["bias", "cues", "laser", *[f"previous_choice_{k}" for k in range(1, 7)], "previous_rewarded"]
CALCIUM = (
    Known(
        "calcium_songbird_hvc", "MackeviciusData.mat",
        {"calcium/activity": {"unit": 75, "time": 666},
         "stimulus/spectrogram": {"frequency": 141, "time": 4440}},
        {"arrays": {
            "calcium/activity": {"name": "NEURAL", "dims": ("unit", "time"), "sfreq": {"name": "VIDEOfs"},
                                 "units": "1"},
            "stimulus/spectrogram": {"name": "SONG", "dims": ("frequency", "time"),
                                     "sfreq": {"name": "SONGfs"}, "units": "1"}}},
    ),
    Known(
        "calcium_songbird_hvc", "songbird_spikes.txt", {"spikes": {"unit": 75, "spike": 3336}},
        {"kind": "spikes", "dims": ("unit", "time"), "units": "s", "labels": range(1, 76)},
    ),
    Known(
        "calcium_zebrafish_tectum", "*.mat",
        {"calcium/activity": {"unit": 114, "time": 4245}, "assemblies/member": {"cluster": 5, "unit": 114}},
        {"arrays": {
            "calcium/activity": {
                "name": "activity_matrix", "dims": ("unit", "time"), "sfreq": 2,
                "labels": {"first": 1, "n": 114},
                "coords": {axis: {"file": "zf_20151104-f1_cell_coordinates.csv", "name": name, "units": "um"}
                           for axis, name in (("x", "0"), ("y", "1"))}},
            "assemblies/member": {"file": "zf_20151104-f1_assembly_assignments.csv",
                                  "dims": ("cluster", "unit"), "index_base": 1}}},
        beside=("zf_*.csv",),
    ),
    Known(
        "calcium_celegans_wholebrain_h5", "*.h5",
        by_name({
            name: {"calcium/activity": {"unit": units, "time": time}, "events": {"event": events}}
            for name, (time, units, events) in WORMS.items()
        }),
    ),
    Known("calcium_celegans_control_nwb", "*.nwb", {"calcium/activity": {"unit": 62, "time": 2244}}),
    Known(
        "calcium_suite2p_mini", "",
        {"calcium/activity": {"unit": 219, "time": 2000}, "calcium/neuropil": {"unit": 219, "time": 2000},
         "calcium/deconvolved": {"unit": 219, "time": 2000}, "calcium/iscell": {"unit": 219}},
        {"sfreq": 30}, beside=("F.npy", "Fneu.npy", "spks.npy", "iscell.npy", "stat_summary.npz"),
    ),
    *(
        Known(
            "connectome_ntf_reference", f"{animal}_*.npz",
            {"factors": {"unit": n, "component": rank, "stimulus_kind": 6, "response_bin": 1080}},
            {"arrays": {
                "factors/unit_loading": {"name": "neuron", "dims": ("unit", "component"), "units": "1"},
                "factors/stimulus_loading": {"name": "stimulus", "dims": ("stimulus_kind", "component")},
                "factors/response_loading": {"name": "response", "dims": ("response_bin", "component")}}},
        )
        for animal, n, rank in (("v1", 641, 17), ("retina", 1149, 16))
    ),
    Known(
        "behaviour_mouse_2afc_glmhmm", "", {"behaviour": {"trial": 49177, "feature": 10}},
        {"labels": CHOICES}, beside=("direct_*.npy",),
    ),
)  # fmt: skip

KNOWN = (*EEG, *FMRI, *SPIKES, *CALCIUM)
