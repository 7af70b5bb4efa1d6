"""What the wheel holds: everything that a user needs at run time, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("neurotools", "pipelines", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built in a copy, so that nothing of an earlier build is picked up and the checkout stays clean."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(out), str(copy)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_every_module_stub_and_sample_is_inside(names):
    wanted = set()
    for file in (ROOT / "neurotools").rglob("*"):
        inside = file.relative_to(ROOT).as_posix()
        sample = "samples/" in inside and file.is_file() and "__pycache__" not in inside
        if sample or file.suffix in {".py", ".pyi", ".css"} or file.name == "py.typed":
            wanted.add(inside)
    for file in (ROOT / "pipelines").glob("*.py"):
        wanted.add(f"neurotools/pipelines/{file.name}")
    assert wanted <= names, sorted(wanted - names)
    assert {"neurotools/py.typed", "neurotools/__init__.pyi", "neurotools/report/page.css"} <= names


def test_nothing_else_is_inside(names):
    strange = {name for name in names if not name.startswith(("neurotools/", "neurotools_xr-"))}
    assert not strange
    inside = {part for name in names for part in Path(name).parts}
    assert not inside & {"tests", "benchmarks", "examples", "docs", "__pycache__"}


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size < 12e6


def test_the_command_and_the_licence_come_along(wheel, names):
    [points] = [name for name in names if name.endswith("entry_points.txt")]
    said = zipfile.ZipFile(wheel).read(points).decode()
    assert "neurotools = neurotools.pipelines.command_line:main" in said
    assert any(name.endswith("licenses/LICENSE") for name in names)
