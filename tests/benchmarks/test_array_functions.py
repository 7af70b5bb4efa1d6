"""The comparison of array libraries covers every array function, and sees a difference."""

from __future__ import annotations

import pytest

from benchmarks import array_functions
from benchmarks.array_functions import CASES, TOLERANCE, Case, difference
from neurotools.arrays import library_of


def test_every_array_function_is_called():
    assert len(array_functions.array_functions()) > 40
    assert array_functions.never_called() == []


def test_a_function_that_no_case_calls_is_told(monkeypatch):
    kept = tuple(case for case in CASES if not case.name.startswith("hmm"))
    monkeypatch.setattr(array_functions, "CASES", kept)
    assert "hmm.smooth_plain" in array_functions.never_called()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_libraries_agree(case, device, dtype):
    assert difference(case, device, dtype) <= TOLERANCE[dtype]


def test_a_library_that_computes_something_else_is_noticed():
    def wrong(x):
        return [x + (1e-4 if library_of(x) == "strict" else 0.0), x]

    case = Case("wrong", lambda rng: [rng.random(5)], wrong)
    assert difference(case, "cpu", "float64") == 0
    assert difference(case, "strict", "float64") > TOLERANCE["float64"]
    longer = Case("longer", lambda rng: [rng.random(5)], lambda x: [x[:4] if library_of(x) == "cpu" else x])
    assert difference(longer, "strict", "float64") == float("inf")
