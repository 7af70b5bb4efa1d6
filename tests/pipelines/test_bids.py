"""Recordings of a BIDS tree are chosen by their labels, and an output is a derivative."""

import json
import shutil
from fnmatch import fnmatch

import pytest
from neurotools.pipelines import bids
from neurotools.pipelines.runner import make_plan, run

import neurotools as nt
from neurotools.errors import FileError, SettingsError

from .conftest import TOY, command

NAMES = (
    "sub-01/eeg/sub-01_task-rest_run-1_eeg", "sub-01/eeg/sub-01_task-rest_run-2_eeg",
    "sub-02/ses-a/eeg/sub-02_ses-a_task-rest_eeg", "sub-02/ses-b/eeg/sub-02_ses-b_task-walk_eeg",
)  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("bids")
    (root / "dataset_description.json").write_text('{"Name": "made", "BIDSVersion": "1.10.0"}')
    edf = nt.samples.path("eegmmidb")
    edf = edf if edf.is_file() else next(edf.rglob("*.edf"))
    for name in NAMES:
        file = root / f"{name}.edf"
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(edf, file)
    return root


def names(tree, tmp_path, **how):
    plan = make_plan(TOY, tree, tmp_path / "out", only=bids.gathered(**how))
    return [job.source.name for job in plan.jobs]


@pytest.mark.parametrize(
    ("how", "places"),
    [
        ({}, (0, 1, 2, 3)),
        ({"participants": ["sub-02"]}, (2, 3)),
        ({"participants": ["02"], "tasks": ["rest"]}, (2,)),
        ({"sessions": ["b"]}, (3,)),
        ({"participants": ["1"]}, (0, 1)),
    ],
)
def test_labels_choose(tree, tmp_path, how, places):
    assert names(tree, tmp_path, **how) == [NAMES[place].rsplit("/", 1)[1] for place in places]


def test_a_filter_file_chooses_by_entities_and_concerns_its_kind_alone(tree, tmp_path):
    file = tmp_path / "filter.json"
    file.write_text(json.dumps({"eeg": {"task": "rest", "run": [2], "datatype": "eeg"}}))
    assert names(tree, tmp_path, file=file) == ["sub-01_task-rest_run-2_eeg"]
    file.write_text(json.dumps({"bold": {"task": "nothing"}}))
    assert len(names(tree, tmp_path, file=file)) == 4


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"tasks": ["rset"]}, "no recording has task-rset. Did you mean 'rest'"),
        ({"participants": ["01"], "tasks": ["walk"]}, "all filters together"),
    ],
)
def test_labels_that_choose_nothing_are_told(tree, tmp_path, how, message):
    with pytest.raises(SettingsError, match=message):
        names(tree, tmp_path, **how)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{", FileError, "cannot be read"),
        ('{"eeg": "rest"}', SettingsError, "maps a kind of image to entities"),
        ('{"eeg": {"taks": "rest"}}', SettingsError, "Did you mean 'task'"),
    ],
)
def test_wrong_filter_files_are_told(tree, tmp_path, text, error, message):
    file = tmp_path / "filter.json"
    file.write_text(text)
    with pytest.raises(error, match=message):
        names(tree, tmp_path, file=file)


def test_the_command_of_a_bids_app(tree, tmp_path):
    done = command("run", "quality", tree, tmp_path / "out", "participant", "--participant-label", "01",
                   "--task", "rest", "--dry-run", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["recordings"]) == 2
    wrong = command("run", "quality", tree, tmp_path / "out", "--participant-label", "07")
    assert wrong.returncode == 2
    assert "no recording has sub-07" in wrong.stderr


def test_the_output_says_what_made_it(folder, tmp_path):
    run(TOY, folder, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    assert told["DatasetType"] == "derivative"
    assert told["GeneratedBy"][0] == {
        "Name": "neurotools", "Version": nt.__version__, "Description": "toy-pipeline",
    }  # fmt: skip
    assert told["SourceDatasets"] == [{"URL": folder.as_uri()}]
    ignored = (tmp_path / "out" / ".bidsignore").read_text().split()
    assert "dataset_description.json" not in ignored
    # Whatever else lies at the top is passed over by validators.
    others = {f.name for f in (tmp_path / "out").iterdir() if not f.name.startswith(".") and f.is_file()}
    assert all(any(fnmatch(name, rule) for rule in ignored) for name in others - {"dataset_description.json"})
