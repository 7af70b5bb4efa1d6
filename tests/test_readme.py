"""The script in the README is short, runs as it stands, and type checkers accept it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script() -> str:
    [code] = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return code


def test_the_script_has_ten_lines(script):
    assert len([line for line in script.splitlines() if line.strip()]) <= 10


def test_the_script_runs_as_it_is_and_leaves_what_it_says(script, tmp_path):
    import neurotools as nt

    (tmp_path / "script.py").write_text(script)
    environment = {**_environment(), "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=240,
        env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "members" in done.stdout  # the table of intervals
    fit = nt.open_fit(tmp_path / "motifs.nc")
    assert nt.model_of(fit) == nt.NTF(rank=8, layout="pair", n_restarts=10, seed=0)
    assert fit.attrs["relative_error"] < 0.79


def test_type_checkers_accept_the_script(script, tmp_path):
    from mypy import api

    file = tmp_path / "script.py"
    file.write_text(script)
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\nignore_missing_imports = True\n")
    options = ["--config-file", str(config), "--follow-imports=silent"]
    said, errors, status = api.run([*options, "--cache-dir", str(tmp_path / "cache"), str(file)])
    assert status == 0, said + errors


def test_commands_of_make_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    said = {name for page in pages for name in re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)", _shell(page))}
    assert {"demo", "test"} <= said
    assert said <= targets, said - targets


def _shell(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return "\n".join([*fenced, *re.findall(r"`(make [a-z-]+)`", text)])


def test_every_extra_that_is_named_exists():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    paragraph = README[README.index("## Install") : README.index("## What you can rely on")]
    named = set(re.findall(r"`([a-z]+)`\s+\(|`([a-z]+)`,", paragraph))
    named = {name for pair in named for name in pair if name}
    assert len(named) >= 6
    assert named <= set(extras)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
