"""Couplings of a population by nemos: its convolution with a given basis, its ridge GLM, one unit at a time.

Runs where nemos is installed: ``python nemos_glm.py given.npz found.npz``.
"""

from __future__ import annotations

import sys

import jax

jax.config.update("jax_enable_x64", True)

import nemos as nmo  # noqa: E402
import numpy as np  # noqa: E402


def main(given: str, found: str) -> None:
    with np.load(given) as file:
        counts, kernel, strength = file["counts"], file["kernel"], float(file["strength"])
    past = nmo.convolve.create_convolutional_predictor(kernel, counts.astype(float))
    past = np.asarray(past).reshape(len(counts), -1)  # (time, unit x basis); the first samples are not there
    whole = np.isfinite(past).all(axis=1)
    x, y = past[whole], counts[whole].astype(float)
    weights, biases = [], []
    for unit in range(counts.shape[1]):
        model = nmo.glm.GLM(
            observation_model=nmo.observation_models.PoissonObservations(),
            inverse_link_function=jax.nn.softplus,
            # Its loss is a mean over samples.
            regularizer="Ridge", regularizer_strength=strength / len(x),
            solver_name="LBFGS", solver_kwargs={"tol": 1e-12, "maxiter": 20_000},
        )  # fmt: skip
        model.fit(x, y[:, unit])
        weights.append(np.asarray(model.coef_).reshape(counts.shape[1], kernel.shape[1]))
        biases.append(float(np.squeeze(model.intercept_)))
    np.savez(found, weights=np.stack(weights, axis=-1), biases=np.array(biases), n=np.array(len(x)))


main(*sys.argv[1:])
