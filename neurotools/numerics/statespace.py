"""Linear Gaussian dynamics that switch with a state, by the precision of whole paths.

The precision of a path is block-tridiagonal, so a draw costs a Cholesky factor of each block: time and memory
grow with the number of bins, and nothing is as large as units x units.
Rue (2001), JRSS B 63, 325-338; matrix-normal inverse-Wishart regression as in Fox et al. (2011), IEEE
Transactions on Signal Processing 59, 1569-1585, eqs. 23-27.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from neurotools.arrays import Array


@dataclass(frozen=True)
class PathLaw:
    """A Gaussian law of a path, factorised: blocks of the Cholesky factor, and the mean."""

    low: Float[Array, "time q q"]
    left: Float[Array, "time q q"]
    mean: Float[Array, "time q"]

    def draw(self, rng: np.random.Generator) -> Float[np.ndarray, "time q"]:
        """One path."""
        from neurotools.numerics.kernels.numba_statespace import solve_path

        zero = np.zeros_like(self.mean)
        return self.mean + solve_path(self.low, self.left, zero, rng.standard_normal(self.mean.shape))

    def log_density(self, path: Float[Array, "time q"]) -> float:
        """Log density of a path."""
        from neurotools.numerics.kernels.numba_statespace import path_log_density

        return path_log_density(self.low, self.left, path - self.mean)


def path_law(
    diag: Float[Array, "time q q"], off: Float[Array, "time q q"], lin: Float[Array, "time q"]
) -> PathLaw:
    """The Gaussian law with a block-tridiagonal precision and a linear term (precision times mean).

    Parameters
    ----------
    diag : array
        Blocks on the diagonal.
    off : array
        ``off[t]`` is the block at row t and column t - 1; ``off[0]`` is not read.
    lin : array
        Linear term.
    """
    from neurotools.numerics.kernels.numba_statespace import factorise, solve_path

    low, left = np.array(diag, dtype="float64"), np.array(off, dtype="float64")
    if not factorise(low, left):
        raise np.linalg.LinAlgError("the precision of the path is not positive definite")
    lin = np.ascontiguousarray(lin, dtype="float64")
    return PathLaw(low, left, solve_path(low, left, lin, np.zeros_like(lin)))


def dense_precision(
    diag: Float[Array, "time q q"], off: Float[Array, "time q q"]
) -> Float[np.ndarray, "n n"]:
    """The same precision as one matrix: the oracle of the blocks."""
    n, q = diag.shape[:2]
    out = np.zeros((n * q, n * q))
    for t in range(n):
        here = slice(t * q, (t + 1) * q)
        out[here, here] = diag[t]
        if t:
            before = slice((t - 1) * q, t * q)
            out[here, before], out[before, here] = off[t], off[t].T
    return out


# ---- dynamics ----------------------------------------------------------------------------------------------
def draw_dynamics(
    rng: np.random.Generator, path: Float[Array, "time q"], state: Int[Array, " time"],
    start: Bool[Array, " time"], n_states: int, *, column_precision: float = 1.0, scale: float = 0.01,
    freedom: float = 2.0,
) -> tuple[Float[np.ndarray, "state q q1"], Float[np.ndarray, "state q q"]]:  # fmt: skip
    """Coefficients [A b] and noise covariance Q of every state given a path, one draw.

    Prior: [A b] | Q ~ matrix normal([I 0], Q, column_precision), Q ~ inverse Wishart(q + freedom,
    scale I). As q is added to the degrees of freedom, the law of a block does not depend on how many others
    there are.
    """
    from neurotools.numerics.kernels.numba_statespace import draw_all_dynamics

    coef, root = draw_all_dynamics(
        rng, *_plain(path, state, start), n_states, column_precision, (scale, freedom)
    )
    inverse = np.linalg.inv(root)
    return coef, inverse @ np.swapaxes(inverse, -1, -2)


def path_log_evidence(
    path: Float[Array, "time q"], state: Int[Array, " time"], start: Bool[Array, " time"], n_states: int, *,
    column_precision: float = 1.0, scale: float = 0.01,
    freedom: float = 2.0,
) -> float:  # fmt: skip
    """Log density of a path given its states, dynamics integrated out; first bins of sessions left out."""
    from neurotools.numerics.kernels.numba_statespace import log_evidence, moments_of_path

    sums = moments_of_path(*_plain(path, state, start), n_states)
    return log_evidence(*sums, column_precision, (scale, freedom))


def path_log_evidence_dense(
    path: Float[Array, "time q"], state: Int[Array, " time"], start: Bool[Array, " time"], n_states: int, *,
    column_precision: float = 1.0, scale: float = 0.01,
    freedom: float = 2.0,
) -> float:  # fmt: skip
    """The same, from matrix t densities of each state's bins: the oracle."""
    total = 0.0
    for k in range(n_states):
        bins = np.flatnonzero((state == k) & ~start)
        if bins.size:
            x = np.column_stack([path[bins - 1], np.ones(bins.size)])
            step = path[bins] - path[bins - 1]
            total += _log_matrix_t(step, np.eye(bins.size) + x @ x.T / column_precision, scale, freedom)
    return total


def _log_matrix_t(y: np.ndarray, row: np.ndarray, scale: float, beyond: float) -> float:
    """Y | Q ~ matrix normal(0, rows, Q), Q ~ inverse Wishart(q + beyond, scale I), Q integrated out."""
    from scipy.special import multigammaln

    n, q = y.shape
    freedom = q + beyond
    inside = scale * np.eye(q) + y.T @ np.linalg.solve(row, y)
    return (
        -n * q / 2 * math.log(math.pi) - q / 2 * np.linalg.slogdet(row)[1]
        + multigammaln((freedom + n) / 2, q) - multigammaln(freedom / 2, q)
        + freedom * q / 2 * math.log(scale) - (freedom + n) / 2 * np.linalg.slogdet(inside)[1]
    )  # fmt: skip


def _plain(path: Array, state: Array, start: Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.ascontiguousarray(path, dtype="float64"),
        np.ascontiguousarray(state, dtype="int64"),
        np.ascontiguousarray(start, dtype="bool"),
    )
