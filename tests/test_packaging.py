"""The distribution: floors agree everywhere, imports are light, every extra imports, nothing is GPL."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import neurotools

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# conda-forge spells these differently from the Python package index
CONDA_NAMES = {
    "matplotlib-base": "matplotlib",
    "mne-base": "mne",
    "pytorch": "torch",
    "python-neo": "neo",
    "python-build": "build",
    "lazy_loader": "lazy-loader",
    "types-pyyaml": "types-PyYAML",
}
IMPORT_NAMES = {
    "scikit-learn": "sklearn",
    "pyyaml": "yaml",
    "pytest-xdist": "xdist",
    "sphinx-gallery": "sphinx_gallery",
    "pydata-sphinx-theme": "pydata_sphinx_theme",
    "myst-parser": "myst_parser",
    "import-linter": "importlinter",
    "dask-jobqueue": "dask_jobqueue",
    "types-PyYAML": None,  # stubs hold no module
    "pandas-stubs": None,
}
FIXED_BY_USERS = {"numpy", "scipy", "mne", "nilearn", "tensorly", "pymc", "xarray"}


def requirements(*extras: str) -> dict[str, Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    return {r.name: r for r in map(Requirement, lines)}


def in_fresh_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip()


def test_environment_yml_says_what_pyproject_says():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    found = {}
    for line in (entry for entry in environment if isinstance(entry, str)):
        name, _, floor = line.partition(" ")
        if name not in ("python", "pip"):
            found[CONDA_NAMES.get(name, name)] = floor
        elif name == "python":
            assert floor.replace(" ", "") == PROJECT["requires-python"].replace(" ", "")
    wanted = requirements("eeg", "fmri", "spikes", "bayes", "dist", "torch", "docs", "dev")
    assert found == {name: str(r.specifier) for name, r in wanted.items()}
    pip_only = [entry["pip"] for entry in environment if isinstance(entry, dict)]
    assert pip_only == [["-e . --no-deps"]]


def test_all_brings_the_packages_labs_rely_on():
    everything = requirements("eeg", "fmri", "spikes", "bayes", "dist")
    assert set(everything) >= FIXED_BY_USERS
    named = Requirement(EXTRAS["all"][0]).extras
    assert named == {"eeg", "fmri", "spikes", "bayes", "dist"}


@pytest.mark.parametrize("file", sorted((ROOT / "constraints").glob("*.txt")), ids=lambda p: p.name)
def test_constraints_hold_names_and_versions_only(file):
    for line in file.read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line), line


@pytest.mark.parametrize("file", ["py311.txt", "py312.txt", "py313.txt"])
def test_constraints_cover_and_admit_every_requirement(file):
    pinned = dict(line.split("==") for line in (ROOT / "constraints" / file).read_text().split())
    pinned = {name.lower().replace("_", "-"): version for name, version in pinned.items()}
    for name, requirement in requirements("eeg", "fmri", "spikes", "bayes", "dist", "dev", "docs").items():
        assert requirement.specifier.contains(pinned[name.lower()]), name


def test_import_brings_nothing_heavy():
    heavy = ["numpy", "scipy", "pandas", "xarray", "matplotlib", "torch", "mne", "nilearn", "sklearn"]
    heavy += ["numba", "pydantic", "rich"]
    code = f"import sys, neurotools; print([m for m in {heavy} if m in sys.modules])"
    assert in_fresh_python(code) == "[]"


def test_every_public_name_resolves_and_is_documented():
    for name in dir(neurotools):
        thing = getattr(neurotools, name)
        if not name.startswith("__"):
            assert (thing.__doc__ or "").strip(), name


def test_pipelines_are_installed_under_one_name():
    code = "import sys, neurotools.pipelines.command_line; print('pipelines' in sys.modules)"
    assert in_fresh_python(code) == "False"


def every_module() -> list[str]:
    names = []
    for folder, package in [("neurotools", "neurotools"), ("pipelines", "neurotools.pipelines")]:
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = file.relative_to(ROOT / folder).with_suffix("").parts
            names.append(".".join([package, *(part for part in parts if part != "__init__")]))
    return names


def test_every_module_of_the_toolkit_imports():
    for name in every_module():
        importlib.import_module(name)


@pytest.mark.parametrize("extra", [name for name in EXTRAS if name not in ("all", "gpu", "docs")])
def test_every_extra_imports(extra):
    modules = [IMPORT_NAMES.get(r.name, r.name.replace("-", "_")) for r in map(Requirement, EXTRAS[extra])]
    for module in filter(None, modules):
        importlib.import_module(module)


def test_no_dependency_is_gpl():
    for name in requirements("eeg", "fmri", "spikes", "bayes", "dist", "torch", "dev"):
        meta = importlib.metadata.metadata(name)
        said = [meta.get("License-Expression") or "", *(meta.get_all("Classifier") or [])]
        if not meta.get("License-Expression") and len(meta.get("License") or "") < 100:
            said.append(meta.get("License") or "")
        guilty = [line for line in said if re.search(r"\bA?GPL|GNU (Affero )?General Public", line)]
        assert not guilty, (name, guilty)


def test_the_version_is_one():
    assert importlib.metadata.version("neurotools-xr") == neurotools.__version__
