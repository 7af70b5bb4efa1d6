"""Log likelihood of choices by dynamax's logistic HMM, and where its learning goes from given parameters.

Runs where dynamax is installed: ``python dynamax_choices.py given.npz found.npz``.
"""

from __future__ import annotations

import sys

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from dynamax.hidden_markov_model import LogisticRegressionHMM, hmm_filter  # noqa: E402

ITERATIONS = 50


def main(given: str, found: str) -> None:
    with np.load(given) as file:
        data = {name: file[name] for name in file.files}
    n_state, n_column = data["weights"].shape
    # One pseudo-count for each state at the start and one of staying; weights normal with deviation 100.
    model = LogisticRegressionHMM(
        n_state, n_column, initial_probs_concentration=2.0, transition_matrix_concentration=1.0,
        transition_matrix_stickiness=1.0, emission_matrices_scale=100.0,
        m_step_optimizer=optax.adam(1e-4), m_step_num_iters=200,
    )  # fmt: skip
    params, props = model.initialize(
        initial_probs=jnp.asarray(data["initial"]), transition_matrix=jnp.asarray(data["transition"]),
        emission_weights=jnp.asarray(data["weights"]), emission_biases=jnp.asarray(data["biases"]),
    )  # fmt: skip
    total = log_likelihood(model, params, data)
    results = {"log_likelihood": np.array(total)}
    if "y_equal" in data:
        y, x = jnp.asarray(data["y_equal"], float), jnp.asarray(data["x_equal"])
        params, objective = model.fit_em(params, props, y, inputs=x, num_iters=ITERATIONS, verbose=False)
        results |= {
            "after_initial": params.initial.probs, "after_transition": params.transitions.transition_matrix,
            "after_weights": params.emissions.weights, "after_biases": params.emissions.biases,
            "n_iter": np.array(ITERATIONS), "objective": np.asarray(objective),
        }  # fmt: skip
    np.savez(found, **{name: np.asarray(value) for name, value in results.items()})


def log_likelihood(model: LogisticRegressionHMM, params: object, data: dict[str, np.ndarray]) -> float:
    """Sum over sessions, all filtered at once: each is padded at its end with samples that say nothing."""
    y, x = jnp.asarray(data["y"], float), jnp.asarray(data["x"])
    initial, move, each = model._inference_args(params, y, x)
    lengths = data["lengths"]
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    place = first[:, None] + np.arange(lengths.max())
    inside = np.arange(lengths.max()) < lengths[:, None]
    padded = jnp.where(inside[..., None], each[np.minimum(place, len(each) - 1)], 0.0)
    return float(jax.vmap(lambda part: hmm_filter(initial, move, part).marginal_loglik)(padded).sum())


main(*sys.argv[1:])
