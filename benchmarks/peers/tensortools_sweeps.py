"""CPU seconds of a warm sweep of tensortools' non-negative factorisation, and of a matrix product beside it.

Runs where tensortools is installed: ``python tensortools_sweeps.py given.npz found.npz``.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import tensortools
from tensortools import KTensor

SHORT, LONG = 2, 12


def main(given: str, found: str) -> None:
    with np.load(given) as file:
        x, start = file["x"], [file[f"start_{mode}"] for mode in range(3)]

    def run(n_sweeps: int) -> tuple[float, float]:
        begin = KTensor([np.ascontiguousarray(factor.T) for factor in start])
        clock = time.process_time()
        result = tensortools.ncp_hals(
            x, rank=len(start[0]), init=begin, tol=0.0, min_iter=n_sweeps, max_iter=n_sweeps, verbose=False
        )
        return time.process_time() - clock, float(result.obj)

    run(1)  # compiles
    # The difference of two lengths leaves out preparation.
    each = [(run(LONG)[0] - run(SHORT)[0]) / (LONG - SHORT) for _ in range(3)]
    a = np.random.default_rng(0).random((1024, 1024))
    products = []
    for _ in range(5):
        clock = time.process_time()
        a @ a
        products.append(time.process_time() - clock)
    np.savez(found, sweep=min(each), product=min(products), error=run(20)[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
