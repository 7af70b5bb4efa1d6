"""PyTorch stays in this room: the import contract names every other module, and nothing loads it unasked."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def covered(module: str, pattern: str) -> bool:
    """Whether a module is one of an import contract's expression: ``*`` is one name, ``**`` any number."""
    names = {"*": r"[^.]+", "**": r".+"}
    return re.fullmatch(r"\.".join(names.get(part, re.escape(part)) for part in pattern.split(".")), module)


def test_the_contract_names_every_module_outside_the_encoders():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    contract = next(c for c in contracts if c["name"] == "torch lives in the encoders")
    assert not contract["as_packages"]
    assert "ignore_imports" not in contract
    files = [*(ROOT / "neurotools").rglob("*.py"), *(ROOT / "pipelines").rglob("*.py")]
    modules = {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for f in files}
    free = {m for m in modules if not any(covered(m, pattern) for pattern in contract["source_modules"])}
    assert free == {m for m in modules if m.startswith("neurotools.models.encoders.")}
    assert "neurotools.models.encoders.neurogpt" in free


def test_the_package_itself_loads_without_torch():
    code = "import sys, neurotools.models.encoders; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"
