"""Fixtures that every room uses: a seeded generator, devices, real recordings outside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

SHARED = Path(os.environ.get("NEUROTOOLS_SHARED", Path(__file__).resolve().parents[2] / "shared"))
# In the complete environment a skip would hide a missing package, so only these reasons may skip.
ALLOWED_SKIPS = ("shared data absent", "no GPU")


def shared_path(name: str) -> Path:
    """Path of a real recording kept outside the repository, or skip and say so."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"shared data absent: {name}")
    return path


@pytest.fixture(scope="session")
def shared():
    """Function from a name such as ``data/calcium_songbird_hvc`` to its path; skips when absent."""
    return shared_path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261121)


@pytest.fixture(params=["cpu", "strict", "torch"])
def device(request) -> str:
    """Every array library that runs without a GPU; ``strict`` sits on its fake second device."""
    return request.param


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and os.environ.get("NEUROTOOLS_COMPLETE") and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(allowed in reason for allowed in ALLOWED_SKIPS):
            report.outcome = "failed"
            report.longrepr = f"skipped in the complete environment: {reason}"
    return report
