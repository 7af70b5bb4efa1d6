"""Make the frozen numbers under ``tests/reference`` anew: ``python -m benchmarks.peers``."""

from __future__ import annotations

import numpy as np

import neurotools as nt
from benchmarks.checks import switching_data
from benchmarks.peers import run_peer
from benchmarks.record import ROOT

OUT = ROOT / "tests" / "reference"


def nemos_glm() -> None:
    """Couplings of four units by nemos."""
    counts, kernel, strength = switching_data.oracle_case()
    found = run_peer("nemos_glm", counts=counts, kernel=kernel, strength=np.array(strength))
    np.savez_compressed(OUT / "nemos_glm.npz", counts=counts.astype("uint8"), kernel=kernel,
                        strength=np.array(strength), **found)  # fmt: skip


def dynamax_choices() -> None:
    """Log likelihood of simulated choices by dynamax, at parameters near the true ones."""
    recording, truth = nt.simulate.switching_choices(n_sessions=4, n_trials=150, seed=11)
    choice, design = recording["behaviour/choice"].to_numpy(), nt.choice_design(recording)
    weight = truth["weight"].to_numpy()[0]
    given = {
        "initial": np.array([0.5, 0.3, 0.2]), "transition": truth["transition"].to_numpy(),
        "weights": weight[:, 1:], "biases": weight[:, 0], "x": design.to_numpy(), "y": choice,
        "lengths": np.full(4, 150),
    }  # fmt: skip
    np.savez_compressed(OUT / "dynamax_choices.npz", **given, **run_peer("dynamax_choices", **given))


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    nemos_glm()
    dynamax_choices()
