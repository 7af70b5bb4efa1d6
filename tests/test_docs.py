"""The documentation says nothing that is not so: its code runs, and its names and commands exist."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from neurotools.pipelines import command_line, executor
from typer.testing import CliRunner

import neurotools as nt
from neurotools import arrays
from neurotools.registry import PIPELINES

ROOT = Path(__file__).resolve().parents[1]
HOW_TO = sorted((ROOT / "docs" / "how-to").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), *HOW_TO]
# Pages whose Python runs from top to bottom by itself; others have tests that bring what they need.
ALONE = [
    ROOT / "docs" / name
    for name in (
        "connectivity.md", "coming-from.md", "pipelines.md",
        "how-to/your-own-format.md", "how-to/your-own-kernel.md",
    )
]  # fmt: skip
EXAMPLES = sorted((ROOT / "examples").rglob("plot_*.py"))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [code for said, code in FENCE.findall(page.read_text(encoding="utf-8")) if said == language]


# ---- names ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=lambda p: p.name)
def test_every_name_that_is_mentioned_exists(page):
    for dotted in set(re.findall(r"\bnt((?:\.[a-zA-Z_]\w*)+)", page.read_text(encoding="utf-8"))):
        thing = nt
        for name in dotted.split(".")[1:]:
            # dir is what completion shows; a private or accidental name is no name to write about
            assert name in dir(thing), f"{page.name} mentions nt{dotted}"
            thing = getattr(thing, name)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_to_a_file_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text):
        made_by_the_build = target.removeprefix("../") in {
            "errors.md",
            "validation.md",
            "gallery/index",
            "gallery/tutorials/index",
            "api/index",
        }
        assert made_by_the_build or (page.parent / target).exists(), f"{page.name} links to {target}"


def test_links_of_a_site_are_followed_to_places_in_pages(tmp_path):
    spec = importlib.util.spec_from_file_location("check_links", ROOT / "docs/check_links.py")
    links = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(links)
    (tmp_path / "index.html").write_text(
        '<h2 id="here">x</h2><a href="#here">ok</a><a href="sub/page.html#there">ok</a><a href="sub/">no</a>'
        '<a href="gone.html">no</a><a href="sub/page.html#nowhere">no</a><a href="https://example.org">-</a>'
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/page.html").write_text('<p id="there"><img src="none.png"></p><a href="../../up">no</a>')
    found, followed, elsewhere = links.broken(tmp_path)
    assert found == [
        "index.html -> sub/",
        "index.html -> gone.html",
        "index.html -> sub/page.html#nowhere",
        "sub/page.html -> none.png",
        "sub/page.html -> ../../up",
    ]
    assert (followed, elsewhere) == (7, 1)


# ---- commands ---------------------------------------------------------------------------------------
def commands() -> list[tuple[str, list[str]]]:
    """Every ``neurotools ...`` of a shell block, as words without its comment."""
    found = []
    for page in [*PAGES, *EXAMPLES]:
        text = page.read_text(encoding="utf-8")
        shell = "\n".join(blocks(page, "sh")) + "\n".join(re.findall(r"^#     (neurotools .*)$", text, re.M))
        for line in shell.splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0].endswith("neurotools"):
                found.append((page.name, words[1:]))
    return found


def test_there_are_commands_to_check():
    assert len(commands()) >= 5


@pytest.mark.parametrize(
    ("page", "words"), commands(), ids=lambda v: v if isinstance(v, str) else " ".join(v)
)
def test_every_command_and_option_exists(page, words):
    shown = CliRunner().invoke(command_line.app, [words[0], "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, f"{page}: neurotools {words[0]} does not exist"
    for option in (word.partition("=")[0] for word in words[1:] if word.startswith("-")):
        assert re.search(rf"(?<![\w-]){option}\b", shown.output), f"{page}: {words[0]} has no {option}"
    if words[0] in {"run", "describe"}:
        assert words[1] in PIPELINES


def test_settings_in_commands_are_settings_of_the_pipeline():
    for page, words in commands():
        given = [words[k + 1] for k, word in enumerate(words) if word == "--set"]
        if not given or words[0] not in {"run", "describe"}:
            continue
        shown = CliRunner().invoke(command_line.app, ["describe", words[1], "--json"])
        assert shown.exit_code == 0, shown.output
        known = set(re.findall(r'"(\w+)"', json.dumps(json.loads(shown.output))))
        assert {setting.partition("=")[0] for setting in given} <= known, page


# ---- pages run ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("page", ALONE, ids=lambda p: p.name)
def test_the_code_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = blocks(page, "python")
    assert code
    namespace: dict[str, object] = {}
    for block in code:
        exec(compile(block, page.name, "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_descriptions_of_where_to_run_are_valid(page, tmp_path):
    for number, block in enumerate(blocks(page, "yaml")):
        if block.startswith("engine:"):
            file = tmp_path / f"{number}.yaml"
            file.write_text(block)
            assert executor.gathered(file, None, None).chosen in executor.ENGINES


def test_the_page_on_gpus_is_refused_without_one_and_runs_on_the_cpu(tmp_path):
    bird = nt.load("songbird-hvc")["calcium/activity"].isel(unit=slice(0, 6), time=slice(0, 200))
    counts = nt.load("m1-reaching")["counts/counts"].isel(unit=slice(0, 3), time=slice(0, 300))
    held = {"nt": nt, "affinity": nt.differential_affinity(bird, smooth_s=0.0667), "counts": counts}
    held["design"] = nt.glm_design(counts, nt.ExponentialHistory())
    [code] = blocks(ROOT / "docs/how-to/gpu.md", "py")
    assert code.count('device="cupy"') == 2
    if arrays.probe_cupy() is not None:
        with pytest.raises(nt.errors.DeviceError, match="cannot be used"):
            exec(code, dict(held))
        code = code.replace('device="cupy"', 'device="auto"')
    exec(code, dict(held))


# ---- the page on loading runs -------------------------------------------------------------------------
def _image(folder: Path, rng: np.random.Generator) -> None:
    import nibabel

    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    image = nibabel.Nifti1Image((1 + rng.random((8, 8, 8, 50))).astype("float32"), affine)
    image.header.set_zooms((3.0, 3.0, 3.0, 2.0))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, folder / "bold.nii.gz")
    atlas = np.zeros((8, 8, 8), dtype="int16")
    atlas[1:3], atlas[5:7] = 1, 2
    nibabel.save(nibabel.Nifti1Image(atlas, affine), folder / "atlas.nii.gz")
    names = pd.DataFrame({"index": [1, 2], "name": ["left M1", "right M1"]})
    names.to_csv(folder / "atlas.tsv", sep="\t", index=False)


@pytest.fixture
def data(tmp_path, monkeypatch, rng) -> Path:
    """The files that the page speaks of, and each ``recording.yaml`` as the page writes it."""
    monkeypatch.chdir(tmp_path)
    for block in blocks(ROOT / "docs/loading.md", "yaml"):
        place = re.match(r"# (\w+)/recording\.yaml\n", block)
        if place:
            (tmp_path / place[1]).mkdir()
            (tmp_path / place[1] / "recording.yaml").write_text(block)
    traces = {"dff": rng.random((40, 600)), "is_cell": np.ones(40, dtype=int)}
    np.savez(tmp_path / "session.npz", **traces)
    np.savez(tmp_path / "traces/traces.npz", **traces)
    np.savez(
        tmp_path / "task/session.npz",
        F=rng.random((600, 40)), frame_ms=np.cumsum(rng.uniform(60, 70, 600)), speed=rng.random(1200),
        start=[1.0, 10.0, 20.0], stop=[5.0, 15.0, 30.0], choice=[0, 1, 1],
    )  # fmt: skip
    np.savetxt(tmp_path / "regions/bold.txt", rng.random((150, 4)))
    (tmp_path / "regions/names.txt").write_text("V1\nV2\nM1\nS1\n")
    spikes = pd.DataFrame({"cluster": rng.integers(0, 5, 300), "t": np.sort(rng.random(300) * 6e4)})
    spikes.to_csv(tmp_path / "spikes/spikes.csv", index=False)
    _image(tmp_path / "rest", rng)
    return tmp_path


def test_the_page_on_loading_runs_from_top_to_bottom(data, capsys):
    code = blocks(ROOT / "docs/loading.md", "python")
    assert len(code) >= 10
    namespace: dict[str, object] = {}
    for block in code:
        exec(compile(block, "loading.md", "exec"), namespace)
    said = capsys.readouterr().out
    [shown] = blocks(ROOT / "docs/loading.md", "text")
    assert shown in said  # the error that the page shows is the one that is raised


def test_the_part_of_a_sample_that_is_shown_is_in_the_sample():
    [part] = [yaml.safe_load(b) for b in blocks(ROOT / "docs/loading.md", "yaml") if "alice_story" in b]
    whole = yaml.safe_load((nt.samples.path("alice-story") / "recording.yaml").read_text())
    shown, stored = part["arrays"]["fmri/bold"], whole["arrays"]["fmri/bold"]
    assert set(shown["stack"]["subject"]) <= set(stored["stack"]["subject"])
    assert {k: v for k, v in shown.items() if k != "stack"}.items() <= stored.items()
