"""The state of the installation: versions, extras, threads, devices, and whether devices agree."""

from __future__ import annotations

import importlib.metadata
import re
import time
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from neurotools import arrays
from neurotools.errors import NeurotoolsError
from neurotools.provenance import versions

from . import measure, terminal

DISTRIBUTION = "neurotools-xr"
CHECKED_EXTRAS = ("eeg", "fmri", "spikes", "bayes", "dist", "torch", "gpu")
PARITY_BUDGET_S = 5.0
TOLERANCE = 1e-8  # relative, float64


def examine() -> dict[str, Any]:
    """All that ``neurotools doctor`` says, as plain data; ``healthy`` is False when something is broken."""
    missing = _missing_requirements()
    parity = _parity()
    return {
        "versions": {
            **versions(),
            **_here(),
        },
        "extras": {extra: missing.get(extra, []) for extra in CHECKED_EXTRAS},
        "missing": missing.get("", []),
        "threads": measure.thread_facts(),
        "memory_gb": _memory_gb(),
        "devices": {"cpu": None, "cupy": arrays.probe_cupy(), "torch:cuda": arrays.probe_torch("cuda")},
        "parity": parity,
        "healthy": not missing.get("") and all(entry["agrees"] is not False for entry in parity),
    }


def _here() -> dict[str, str]:
    facts = measure.machine()
    return {"python": facts["python"], "platform": facts["platform"]}


def _memory_gb() -> dict[str, float]:
    import psutil

    memory = psutil.virtual_memory()
    return {"free": round(memory.available / 1e9, 1), "total": round(memory.total / 1e9, 1)}


def _missing_requirements() -> dict[str, list[str]]:
    """Packages that are not installed, or too old, by extra ("" for the core)."""
    from packaging.requirements import Requirement

    missing: dict[str, list[str]] = {}
    for line in importlib.metadata.requires(DISTRIBUTION) or []:
        requirement = Requirement(line)
        extra = re.search(r"extra == ['\"](\w+)['\"]", line)
        if requirement.name == DISTRIBUTION:
            continue
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing.setdefault(extra[1] if extra else "", []).append(requirement.name)
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            missing.setdefault(extra[1] if extra else "", []).append(
                f"{requirement.name} {found} (needs {requirement.specifier})"
            )
    return missing


# ---- do the devices agree? --------------------------------------------------------------------------------
def _parity() -> list[dict[str, Any]]:
    """The same small fit on every device; the first is the reference."""
    from neurotools import registry

    started = time.perf_counter()
    affinity = _small_affinity()

    def fit(device: str) -> Any:
        model = registry.build("ntf", rank=3, n_restarts=1, max_iter=20, tol=0.0, seed=0, device=device)
        return model.fit(affinity)

    reference = fit("cpu")
    return [
        {"device": "cpu", "agrees": True, "said": f"reference, {time.perf_counter() - started:.1f} s"},
        *(_compare(device, fit, reference, started) for device in ("torch", "torch:cuda", "cupy")),
    ]


def _small_affinity() -> Any:
    import math

    import xarray as xr

    from neurotools.signals.affinity import differential_affinity

    rows = [[math.sin(0.05 * t * (1 + u % 3) + u) for t in range(200)] for u in range(12)]
    return differential_affinity(
        xr.DataArray(rows, dims=("unit", "time"), coords={"time": [t / 10 for t in range(200)]})
    )


def _compare(device: str, fit: Any, reference: Any, started: float) -> dict[str, Any]:
    if time.perf_counter() - started > PARITY_BUDGET_S:
        return {"device": device, "agrees": None, "said": "not checked: the five seconds were over"}
    begun = time.perf_counter()
    try:
        found = fit(device)
    except NeurotoolsError:
        return {"device": device, "agrees": None, "said": "not here"}
    worst = max(
        float(abs(found[name] - reference[name]).max() / abs(reference[name]).max())
        for name in ("time_loading", "weight", "motif")
    )
    took = time.perf_counter() - begun
    return {
        "device": device,
        "agrees": worst <= TOLERANCE,
        "said": f"largest relative difference {worst:.1e} (allowed {TOLERANCE:.0e}), {took:.1f} s",
    }


# ---- on the terminal --------------------------------------------------------------------------------------
def show(facts: Mapping[str, Any]) -> None:
    """Print what ``examine`` found."""
    good, bad = Text("✓", terminal.GOOD), Text("✗", terminal.BAD)
    none = Text("·", terminal.QUIET)
    terminal.heading("versions")
    terminal.rows(list(facts["versions"].items()))
    terminal.heading("extras")
    terminal.rows(
        [(good, name, "") if not lacks else (none, name, "not installed: " + ", ".join(lacks))
         for name, lacks in facts["extras"].items()]
    )  # fmt: skip
    if facts["missing"]:
        terminal.out.print(Text("  required and missing: " + ", ".join(facts["missing"]), terminal.BAD))
    terminal.heading("threads and memory")
    pools = [(name, f"{count} threads") for name, count in facts["threads"]["pools"].items()]
    memory = facts["memory_gb"]
    terminal.rows([("processors", facts["threads"]["cpus"]), *pools,
                   ("memory", f"{memory['free']} of {memory['total']} GB free")])  # fmt: skip
    terminal.heading("devices")
    terminal.rows([(good if why is None else none, name, why) for name, why in facts["devices"].items()])
    terminal.heading("do they agree?")
    signs = {True: good, False: bad, None: none}
    terminal.rows([(signs[entry["agrees"]], entry["device"], entry["said"]) for entry in facts["parity"]])
