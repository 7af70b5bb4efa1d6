"""The same functions on every array library, and the compiled ones against the plain."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from benchmarks import array_functions
from benchmarks.array_functions import CASES, TOLERANCE, difference
from benchmarks.record import Row, shared
from neurotools.numerics import hmm

DEVICES = {"strict": "array-api-strict on its second device", "torch": "PyTorch on the CPU"}


def parity(devices: dict[str, str] = DEVICES) -> list[Row]:
    """Largest difference from NumPy over the largest value, the worst case of each module."""
    rows = []
    for device, words in devices.items():
        for dtype, tolerance in TOLERANCE.items():
            worst: dict[str, list[tuple[float, str]]] = defaultdict(list)
            for case in CASES:
                worst[case.name.partition(":")[0]].append((difference(case, device, dtype), case.name))
            for module, found in worst.items():
                number, name = max(found)
                rows.append(
                    Row(f"{module}, {dtype}, {words}", number, f"<= {tolerance:g}", note=f"worst: {name}")
                )
    return rows


def coverage() -> list[Row]:
    """Functions that follow their arrays' library and that no case calls."""
    left_out = array_functions.never_called()
    total = len(array_functions.array_functions())
    return [
        Row(
            "array functions that are not compared", len(left_out), "<= 0",
            note=f"of {total}" + (": " + ", ".join(left_out) if left_out else ""),
        )
    ]  # fmt: skip


def array_libraries() -> list[Row]:
    """Every array function on every library that runs without a GPU."""
    return [*coverage(), *parity()]


# ---- forward-backward -----------------------------------------------------------------------------------
def forward_backward() -> list[Row]:
    """Posteriors of a chain against a stored result of other software: 5,000 samples, 5 states.

    States' probabilities and transitions are compared as they are, evidence relative to its size.
    """
    with np.load(shared("data/glm_reference") / "hmm_parity_ssm_K5.npz", allow_pickle=False) as file:
        stored = {name: file[name] for name in file.files}
    chain = np.log(stored["pi"]), np.log(stored["P"]), stored["log_lik"]
    starts = hmm.session_starts(len(stored["log_lik"]), None)
    rows = []
    for name, found in (
        ("compiled", hmm.smooth(*chain)),
        ("plain", hmm.smooth_plain(*chain, starts)),
    ):
        evidence = float(stored["log_norm"])
        transitions = np.abs(found.pair_sum - stored["xi_sum"]).max() / stored["xi_sum"].max()
        rows += [
            Row(f"state_prob, {name}", float(np.abs(found.state_prob - stored["gamma"]).max()), "<= 1e-8"),
            Row(f"expected transitions, {name}", float(transitions), "<= 1e-8"),
            Row(
                f"log evidence, {name}", abs(float(found.log_evidence) - evidence) / abs(evidence), "<= 1e-8"
            ),
        ]
    path, _ = hmm.viterbi(*chain)
    differing = int(np.count_nonzero(path != stored["viterbi"]))
    return [*rows, Row("samples of the best path that differ", differing, "<= 0", note="of 5,000")]
