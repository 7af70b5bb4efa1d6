"""The command ``neurotools``: exit status, what it prints, and how fast it answers."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from neurotools.pipelines.command_line import app
from typer.testing import CliRunner

import neurotools as nt

from .conftest import TOY, command, write_recording

CLI = CliRunner()


def call(*words: object):
    return CLI.invoke(app, [str(word) for word in words])


def test_help_answers_in_under_a_second_and_loads_nothing_heavy():
    code = (
        "import sys, time; start = time.perf_counter()\n"
        "from neurotools.pipelines.command_line import main\n"
        "sys.argv = ['neurotools', '--help']\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = [m for m in ('numpy', 'xarray', 'pandas', 'matplotlib', 'pydantic') if m in sys.modules]\n"
        "print('TOOK', time.perf_counter() - start, heavy)"
    )
    best = min((_help(code) for _ in range(2)), key=lambda pair: pair[0])
    assert best[0] < 1.0
    assert best[1] == "[]"


def _help(code: str) -> tuple[float, str]:
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "describe" in done.stdout
    return time.perf_counter() - start, done.stdout.splitlines()[-1].split(" ", 2)[2]


def test_version():
    assert call("--version").output.strip() == f"neurotools {nt.__version__}"


def test_run_ends_by_saying_where_the_page_is(recording, tmp_path):
    done = command("run", TOY, recording, tmp_path / "out")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == f"Look at it:  {tmp_path / 'out' / 'report.html'}"
    again = command("run", TOY, recording, "--out", tmp_path / "out")
    assert again.returncode == 0
    assert "Nothing to do" in again.stdout


def test_the_short_name_of_pipelines_is_never_loaded(recording, tmp_path):
    code = (
        "import sys; from neurotools.pipelines.command_line import app\n"
        f"app(['run', {TOY!r}, {str(recording)!r}, {str(tmp_path / 'out')!r}], standalone_mode=False)\n"
    )
    code = code.replace("app([", "end = app([") + "print('pipelines' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_out_is_given_once(recording, tmp_path):
    both = call("run", TOY, recording, tmp_path / "a", "--out", tmp_path / "b")
    neither = call("run", TOY, recording)
    assert (both.exit_code, neither.exit_code) == (2, 2)
    assert "given twice" in both.output
    assert "no output folder" in neither.output
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("words", [("OUT", "participant"), ("participant", "--out", "OUT"), ("--out", "OUT")])
def test_the_shape_of_bids_apps_is_accepted(folder, tmp_path, words):
    out = tmp_path / "out"
    done = call("run", TOY, folder, *(str(out) if word == "OUT" else word for word in words))
    assert done.exit_code == 1
    assert (out / "group.nc").exists() == ("participant" not in words)


def test_a_failure_among_several_gives_1_and_its_reason(folder, tmp_path):
    done = call("run", TOY, folder, tmp_path / "out")
    assert done.exit_code == 1
    assert "2 done, 1 failed" in done.stdout
    assert "berta" in done.stderr
    assert "the traces are too large for the toy" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in call("run", TOY, folder, tmp_path / "out", "--debug").stderr


def test_settings_are_refused_with_2_before_any_work(recording, tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("scale: 2\nmodel:\n  seed: true\n  rank: '8'\n  rnak: 3\n")
    done = call("run", TOY, recording, tmp_path / "out", "--settings", file)
    assert done.exit_code == 2
    assert "line 3: model.seed must be a whole number; got true" in done.stderr
    assert "line 4: model.rank must be a whole number; got the text '8'" in done.stderr
    assert "line 5: there is no setting 'model.rnak'. Did you mean 'model.rank'?" in done.stderr
    assert not (tmp_path / "out").exists()


def test_json_is_the_only_thing_on_the_standard_output(folder, recording, tmp_path):
    several = call("run", TOY, folder, tmp_path / "several", "--json")
    said = json.loads(several.stdout)
    assert several.exit_code == said["exit_status"] == 1
    assert [entry["status"] for entry in said["recordings"]] == ["done", "failed", "done"]
    assert said["recordings"][1]["error"]["code"] == "NT-DATA-001"
    wrong = call("run", TOY, recording, tmp_path / "out", "--set", "rnk=3", "--json")
    assert wrong.exit_code == 2
    assert json.loads(wrong.stdout)["fix"] is None
    assert "Did you mean" in json.loads(wrong.stdout)["problem"]


def test_a_dry_run_writes_nothing(folder, tmp_path):
    done = call("run", TOY, folder, tmp_path / "out", "--dry-run", "--set", "rank=6")
    assert done.exit_code == 0
    assert "berta" in done.output
    assert "model.rank" in done.output
    assert not (tmp_path / "out").exists()
    plan = json.loads(call("run", TOY, folder, tmp_path / "out", "--dry-run", "--json").stdout)
    assert [entry["state"] for entry in plan["recordings"]] == ["new"] * 3
    call("run", TOY, folder, tmp_path / "out")
    plan = json.loads(
        call("run", TOY, folder, tmp_path / "out", "--dry-run", "--json", "--set", "rank=1").stdout
    )
    assert [entry["state"] for entry in plan["recordings"]] == ["changed", "new", "changed"]


def test_a_folder_of_other_files_is_refused(recording, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    done = call("run", TOY, recording, tmp_path)
    assert done.exit_code == 2
    assert "neurotools did not write" in done.output
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_info_says_shape_rate_duration_and_findings(recording):
    text = call("info", recording).stdout
    for said in ("calcium", "4 unit × 50 time", "10 Hz", "5.0 s", "the validator finds nothing wrong"):
        assert said in text
    facts = json.loads(call("info", recording, "--json").stdout)
    assert facts["modalities"] == ["calcium"]
    assert facts["nodes"]["calcium"]["rate_hz"] == 10.0
    assert facts["nodes"]["calcium"]["labels"] == {"dim": "unit", "values": [0, 1, 2, 3]}


def test_info_counts_events_and_names_faults(tmp_path):
    from neurotools import schema

    tree = nt.load(write_recording(tmp_path / "a.nc"))
    events = schema.events_table([0.5, 1.0, 2.0], trial_type=["song", "song", "call"])
    activity = tree["calcium/activity"].copy()
    activity[1, :] = 0.0
    path = nt.save(schema.recording_tree({"calcium/activity": activity, "events": events}), tmp_path / "b.nc")
    facts = json.loads(call("info", path, "--json").stdout)
    assert facts["nodes"]["events"]["events"] == {"song": 2, "call": 1}
    assert [finding["problem"] for finding in facts["findings"]] == ["rows never change"]
    assert "rows never change" in call("info", path).output


def test_info_of_a_folder_lists_what_can_and_cannot_be_read(folder):
    (folder / "dead.edf").write_bytes(b"\x00junk" * 20)
    facts = json.loads(call("info", folder, "--json").stdout)
    assert [entry["name"] for entry in facts["recordings"] if "error" in entry] == ["dead"]
    assert len(facts["recordings"]) == 4


def test_info_of_a_folder_of_one_says_all_of_it(recording):
    (recording.parent / "notes.md").write_text("notes")
    assert [path.name for path in recording.parent.iterdir() if path.name != "notes.md"] == [recording.name]
    facts, alone = (json.loads(call("info", path, "--json").stdout) for path in (recording.parent, recording))
    assert facts["nodes"] == alone["nodes"]
    assert facts["left_out"] == ["notes.md"]
    said = call("info", recording.parent).stdout
    assert "duration" in said
    assert "notes.md" in said


def test_a_missing_source_is_named():
    done = call("info", "songbird-hcv")
    assert done.exit_code == 2
    assert "Did you mean 'songbird-hvc'?" in done.output


def test_describe_gives_meaning_unit_and_default():
    said = json.loads(call("describe", TOY, "--json").stdout)
    settings = {entry["name"]: entry for entry in said["settings"]}
    assert settings["wait_s"] == {
        "name": "wait_s", "type": "float", "unit": "s", "default": 0.0,
        "meaning": "How long each step takes.",
    }  # fmt: skip
    assert settings["model.rank"]["default"] == 3
    assert said["schema"]["properties"]["scale"]["default"] == 1.0
    assert "How long each step takes." in call("describe", TOY).output


def test_the_settings_template_is_a_settings_file(recording, tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text(call("describe", TOY, "--yaml").output)
    assert call("run", TOY, recording, tmp_path / "out", "--settings", file).exit_code == 0


def test_list_names_pipelines_samples_models_and_formats():
    said = json.loads(call("list", "--json").stdout)
    assert "dynamic-connectome" in said["pipelines"]
    assert set(nt.samples.names()) == set(said["samples"])
    assert "ntf" in said["models"]
    assert any("saved" in names for names in said["formats"])
    assert all(said["pipelines"].values())
    assert all(said["models"].values())
    assert call("list").exit_code == 0


@pytest.mark.parametrize("width", [80, 120])
def test_lists_fit_a_terminal_and_lose_no_word(monkeypatch, capsys, width):
    from neurotools.pipelines import terminal

    monkeypatch.setattr(terminal.out, "_width", width)
    monkeypatch.setattr(terminal.out, "_force_terminal", True)
    names, sentence = ", ".join(f"format-{i}" for i in range(40)), "read what is there " * 9
    terminal.rows([("short", "", "one word"), (names, "", sentence)], ("names", "", "meaning"))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert sorted(" ".join(lines).split()) == sorted(
        f"names meaning short one word {names} {sentence}".split()
    )


def test_convert_writes_an_open_format_and_replaces_nothing(recording, tmp_path):
    target = tmp_path / "b.zarr"
    assert call("convert", "recording", recording, target).exit_code == 0
    assert nt.content_hash(nt.load(target)) == nt.content_hash(nt.load(recording))
    again = call("convert", "recording", recording, target)
    assert again.exit_code == 2
    assert "already" in again.output
    other = call("convert", "labram", recording, tmp_path / "c")
    assert other.exit_code == 2
    assert "no converter named 'labram'" in other.output


def test_report_draws_again(recording, tmp_path):
    call("run", TOY, recording, tmp_path / "out")
    done = call("report", tmp_path / "out")
    assert done.exit_code == 0
    assert call("report", tmp_path).exit_code == 2


def test_doctor_checks_devices_and_extras():
    done = command("doctor", "--json")
    facts = json.loads(done.stdout)
    assert done.returncode == (0 if facts["healthy"] else 1)
    assert facts["versions"]["neurotools"] == nt.__version__
    parity = {entry["device"]: entry for entry in facts["parity"]}
    assert parity["cpu"]["agrees"] is True
    assert parity["torch"]["agrees"] is not False
    assert "do they agree?" in call("doctor").output


def test_completion_is_offered():
    done = command("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0, done.stderr
    assert "complete" in done.stdout
