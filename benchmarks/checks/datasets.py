"""A folder of recordings of every kind, three of them broken on purpose, through one pipeline."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks.record import Row, shared
from benchmarks.recordings import KNOWN, Known

# One file, or a folder that is one recording, of each kind; their descriptions stand in ``KNOWN``.
PICKED = (
    "eeg_eegmmidb_s001/S001R01.edf", "eeg_eegmmidb_s001/S001R02.edf", "eeg_eegmmidb_s001/S001R03.edf",
    "eeg_eegmmidb_s001/S001R04.edf", "eeg_eegmmidb_s001/S001R12.edf", "eeg_eeglab_sample/test_raw.set",
    "eeg_format_zoo/test.bdf", "eeg_format_zoo/test.edf", "eeg_format_zoo/test_egi.raw",
    "ieeg_mne_sample/sample_ecog.edf", "ieeg_mne_sample/sample_seeg.edf",
    "fmri_hcp_aal2_timeseries/hcp_rest1lr_aal2_16subjects.npz",
    "fmri_hcp_aal2_timeseries/101309_rsfMRI_REST1_LR_tc.mat",
    "fmri_hcp_aal2_timeseries/102311_rsfMRI_REST1_LR_tc.mat",
    "fmri_small_nifti/fmri_timeseries.csv", "spikes_m1_reaching/m1_stevenson_2011.mat",
    "spikes_human_mtl_nwb/sub-4_ses-4_ecephys+image.nwb", "spikes_lorenz_nlb/lfads_lorenz.h5",
    "calcium_songbird_hvc/MackeviciusData.mat", "calcium_zebrafish_tectum/zf_20151104-f1.mat",
    "calcium_celegans_wholebrain_h5/swf415_2022-01-16-01-data.h5",
)  # fmt: skip
# Name -> (file that is damaged, what is left of it, words that the report must have).
BROKEN = {
    "cut-in-half.edf": ("eeg_eegmmidb_s001/S001R03.edf", 0.5, "NT-FILE"),
    "cut-short.nwb": ("spikes_human_mtl_nwb/sub-4_ses-4_ecephys+image.nwb", 0.3, "NT-FILE"),
    "junk.h5": (None, 1.0, "NT-"),
}


def quality_of_all() -> list[Row]:
    """``neurotools run quality`` over 24 recordings: the broken are named, the others have their pages."""
    from neurotools.pipelines.runner import run

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "recordings"
        names = [_put(shared("data") / path, folder) for path in PICKED]
        for name, (path, share, _) in BROKEN.items():
            content = (
                b"\x89HDF\r\n\x1a\n" + bytes(4000) if path is None else (shared("data") / path).read_bytes()
            )
            (folder / name).write_bytes(content[: int(share * len(content))])
        outcome = run("quality", folder, Path(scratch) / "out", workers=2)
        table = pd.read_csv(outcome.out / "recordings.tsv", sep="\t").set_index("recording")
        failed = table[table["status"] == "failed"]
        pages = sum((outcome.out / name / "report.html").is_file() for name in table.index)
        told = [bool(row["code"] and row["problem"] and row["path"]) for _, row in failed.iterrows()]
    wanted = {Path(name).stem for name in BROKEN}
    others = [f"{name}: {row['problem']}" for name, row in failed.iterrows() if name not in wanted]
    return [
        Row("recordings found", len(table), f">= {len(names) + len(BROKEN)}"),
        Row("pages written", pages, f">= {len(names)}"),
        Row("broken recordings that are named", len(wanted & set(failed.index)), f">= {len(BROKEN)}"),
        Row("of them with code, reason and place", sum(told), f">= {len(BROKEN)}"),
        Row("whole recordings that failed", len(others), "<= 0", note="; ".join(others)),
        Row("distance of the exit status from 1", abs(outcome.exit_status - 1), "<= 0"),
    ]  # fmt: skip


def _put(path: Path, folder: Path) -> str:
    """Copy a recording into a folder of its own, with the ``recording.yaml`` that it needs."""
    known = next(
        one for one in KNOWN if one.folder == path.parent.name and path in path.parent.glob(one.files)
    )
    home = folder / f"{path.parent.name}-{path.suffix.strip('.')}-{path.stem}"
    home.mkdir(parents=True)
    beside = [file for pattern in known.beside for file in path.parent.glob(pattern)]
    for file in {path, *beside, *path.parent.glob(f"{path.stem}.fdt")}:
        shutil.copy(file, home / file.name)
    if known.options:
        (home / "recording.yaml").write_text(yaml.safe_dump({"file": path.name, **_plain(known)}))
    return home.name


def _plain(known: Known) -> dict[str, Any]:
    """Options as YAML knows them: lists for tuples and ranges."""
    return dict(json.loads(json.dumps(dict(known.options), default=list)))
