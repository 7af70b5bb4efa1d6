"""quality over a folder of recordings of all kinds, three of them broken on purpose."""

import shutil

import pandas as pd
import pytest
from neurotools.pipelines.runner import run

import neurotools as nt
from neurotools.errors import SchemaError


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("all")
    for name in nt.samples.names():
        nt.save(nt.load(name).copy(), folder / f"{name}.nc")
    edf = nt.samples.path("eegmmidb")
    edf = edf if edf.is_file() else next(edf.rglob("*.edf"))
    (folder / "cut.edf").write_bytes(edf.read_bytes()[: edf.stat().st_size // 2])
    (folder / "short.edf").write_bytes(edf.read_bytes()[:200])
    shutil.copy(folder / "alice-story.nc", folder / "broken.nc")
    content = bytearray((folder / "broken.nc").read_bytes())
    content[len(content) // 2 :] = b""
    (folder / "broken.nc").write_bytes(bytes(content))
    return run("quality", folder, folder.parent / "out")


def test_the_broken_are_named_with_reason_and_place(outcome):
    assert outcome.exit_status == 1
    failed = {record.name: record.error for record in outcome.records if record.status == "failed"}
    assert set(failed) == {"cut", "short", "broken"}
    assert all(error["code"] and error["path"] and error["problem"] for error in failed.values())
    table = pd.read_csv(outcome.out / "recordings.tsv", sep="\t").set_index("recording")
    assert (table["status"] == "failed").sum() == 3


def test_the_others_have_pages_tables_and_a_group(outcome):
    group = nt.open_fit(outcome.out / "group.nc")
    assert set(group["recording"].to_numpy()) == set(nt.samples.names())
    assert int(group["n_rows"].sel(recording="songbird-hvc")) == 75
    rows = pd.read_csv(outcome.out / "songbird-hvc" / "tables" / "calcium.tsv", sep="\t")
    assert len(rows) == 75
    assert rows["flag"].notna().sum() == 1
    page = (outcome.out / "eegmmidb" / "report.html").read_text()
    assert "much louder than others" in page
    assert {"eeg_level.png", "eeg_power.svg"} <= {
        file.name for file in (outcome.out / "eegmmidb" / "figures").iterdir()
    }


def test_pictures_of_what_is_not_there_are_refused(outcome):
    judged = nt.open_fit(outcome.out / "m1-reaching" / "fit.nc")
    assert nt.plot.plot_level(judged, "counts").get_ylabel() == "unit (0 of 171 flagged)"
    with pytest.raises(SchemaError, match="no group 'eeg'"):
        nt.plot.plot_power(judged, "eeg")
