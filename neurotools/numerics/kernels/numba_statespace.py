"""Gaussian paths with a block-tridiagonal precision, and dynamics of states, in loops.

Precision of a path: ``diag`` (time, q, q) on the diagonal, ``off`` (time, q, q) with off[t] at (t, t - 1),
and 0 where a session begins. Dynamics of state k: X_t = b_k + A_k X_{t-1} + normal(0, Q_k), held as ``coef``
(state, q, q + 1) = [A b] and ``root`` (state, q, q), the lower triangular inverse Cholesky factor of Q: its
rows whiten the noise.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

LOG_PI = math.log(math.pi)
LOG_2PI = math.log(2 * math.pi)


# ---- small dense algebra -----------------------------------------------------------------------------------
@njit(cache=True, fastmath=False)
@no_type_check
def cholesky(a):
    """Lower triangular factor of a small matrix, in place; False where it is not positive definite."""
    n = a.shape[0]
    for j in range(n):
        s = a[j, j]
        for k in range(j):
            s -= a[j, k] * a[j, k]
        if not s > 0.0:
            return False
        root = math.sqrt(s)
        a[j, j] = root
        for i in range(j + 1, n):
            s = a[i, j]
            for k in range(j):
                s -= a[i, k] * a[j, k]
            a[i, j] = s / root
        for i in range(j):
            a[i, j] = 0.0
    return True


@njit(cache=True, fastmath=False)
@no_type_check
def invert_lower(low):
    """Inverse of a lower triangular matrix."""
    n = low.shape[0]
    out = np.zeros((n, n))
    for j in range(n):
        out[j, j] = 1.0 / low[j, j]
        for i in range(j + 1, n):
            s = 0.0
            for k in range(j, i):
                s -= low[i, k] * out[k, j]
            out[i, j] = s / low[i, i]
    return out


@njit(cache=True, fastmath=False)
@no_type_check
def log_det_lower(low):
    """Log determinant of a lower triangular matrix."""
    s = 0.0
    for i in range(low.shape[0]):
        s += math.log(low[i, i])
    return s


@njit(cache=True, fastmath=False)
@no_type_check
def _multiply(a, b, turned, out):
    """``a b``, or ``a' b`` where ``a`` is turned, for small matrices."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            s = 0.0
            for k in range(b.shape[0]):
                s += (a[k, i] if turned else a[i, k]) * b[k, j]
            out[i, j] = s


# ---- paths -------------------------------------------------------------------------------------------------
@njit(cache=True, fastmath=False)
@no_type_check
def factorise(diag, off):
    """Cholesky factor of the precision: ``diag`` becomes its diagonal blocks, ``off`` those left of them.

    False where the precision is not positive definite.
    """
    n, q = diag.shape[0], diag.shape[1]
    for t in range(n):
        if t > 0:
            before, w, block = diag[t - 1], off[t], diag[t]
            for i in range(q):  # w before' = off
                for j in range(q):
                    s = w[i, j]
                    for k in range(j):
                        s -= w[i, k] * before[j, k]
                    w[i, j] = s / before[j, j]
            for i in range(q):
                for j in range(i + 1):
                    s = 0.0
                    for k in range(q):
                        s += w[i, k] * w[j, k]
                    block[i, j] -= s
        if not cholesky(diag[t]):
            return False
    return True


@njit(cache=True, fastmath=False)
@no_type_check
def _solve_forwards(low, left, lin):
    n, q = lin.shape
    x = np.empty((n, q))
    for t in range(n):
        for i in range(q):
            s = lin[t, i]
            if t > 0:
                for k in range(q):
                    s -= left[t, i, k] * x[t - 1, k]
            for k in range(i):
                s -= low[t, i, k] * x[t, k]
            x[t, i] = s / low[t, i, i]
    return x


@njit(cache=True, fastmath=False)
@no_type_check
def solve_path(low, left, lin, noise):
    """Mean of the path, plus a draw's deviation where ``noise`` is standard normal; both (time, q)."""
    x = _solve_forwards(low, left, lin)
    n, q = lin.shape
    for t in range(n):
        for i in range(q):
            x[t, i] += noise[t, i]
    for t in range(n - 1, -1, -1):
        for i in range(q - 1, -1, -1):
            s = x[t, i]
            if t + 1 < n:
                for k in range(q):
                    s -= left[t + 1, k, i] * x[t + 1, k]
            for k in range(i + 1, q):
                s -= low[t, k, i] * x[t, k]
            x[t, i] = s / low[t, i, i]
    return x


@njit(cache=True, fastmath=False)
@no_type_check
def path_log_density(low, left, deviation):
    """Log density of a path whose deviation from the mean is given."""
    n, q = deviation.shape
    total = -0.5 * n * q * LOG_2PI
    for t in range(n):
        for i in range(q):
            s = 0.0
            for k in range(i, q):
                s += low[t, k, i] * deviation[t, k]
            if t + 1 < n:
                for k in range(q):
                    s += left[t + 1, k, i] * deviation[t + 1, k]
            total += math.log(low[t, i, i]) - 0.5 * s * s
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def normals(rng, n, q):
    """Standard normals (n, q)."""
    out = np.empty((n, q))
    for t in range(n):
        for i in range(q):
            out[t, i] = rng.standard_normal()
    return out


@njit(cache=True, fastmath=False)
@no_type_check
def prior_precision(coef, root, state, start, initial_precision):
    """Precision and linear term of a path under its dynamics, the first bins of sessions around 0."""
    n, n_state, q = state.size, coef.shape[0], coef.shape[1]
    noise = np.empty((n_state, q, q))  # Q^-1
    cross = np.empty((n_state, q, q))  # Q^-1 A
    square = np.empty((n_state, q, q))  # A' Q^-1 A
    ahead = np.empty((n_state, q, 1))  # Q^-1 b
    behind = np.empty((n_state, q, 1))  # A' Q^-1 b
    for k in range(n_state):
        _multiply(root[k], root[k], True, noise[k])
        _multiply(noise[k], coef[k, :, :q], False, cross[k])
        _multiply(coef[k, :, :q], cross[k], True, square[k])
        _multiply(noise[k], coef[k, :, q:], False, ahead[k])
        _multiply(coef[k, :, :q], ahead[k], True, behind[k])
    diag, off, lin = np.zeros((n, q, q)), np.zeros((n, q, q)), np.zeros((n, q))
    for t in range(n):
        if start[t]:
            for i in range(q):
                diag[t, i, i] += initial_precision
        else:
            k = state[t]
            for i in range(q):
                for j in range(q):
                    diag[t, i, j] += noise[k, i, j]
                    diag[t - 1, i, j] += square[k, i, j]
                    off[t, i, j] = -cross[k, i, j]
                lin[t, i] += ahead[k, i, 0]
                lin[t - 1, i] -= behind[k, i, 0]
    return diag, off, lin


@njit(cache=True, fastmath=False)
@no_type_check
def simulate_path(rng, coef, root, state, start, initial_sd):  # noqa: PLR0917
    """A path drawn under its dynamics."""
    n, q = state.size, coef.shape[1]
    x = np.empty((n, q))
    white = np.empty(q)
    for t in range(n):
        k = state[t]
        for i in range(q):
            white[i] = rng.standard_normal()
        if start[t]:
            for i in range(q):
                x[t, i] = initial_sd * white[i]
            continue
        for i in range(q):  # solves root e = white
            s = white[i]
            for j in range(i):
                s -= root[k, i, j] * white[j]
            white[i] = s / root[k, i, i]
        for i in range(q):
            s = coef[k, i, q] + white[i]
            for j in range(q):
                s += coef[k, i, j] * x[t - 1, j]
            x[t, i] = s
    return x


# ---- dynamics ----------------------------------------------------------------------------------------------
@njit(cache=True, fastmath=False)
@no_type_check
def moments_of_path(x, state, start, n_state):
    """Sums over the bins of each state of [x 1]'[x 1], step'[x 1] and step'step; and their number.

    x is the bin before, step the change since. Steps, so that little is lost to rounding where paths go far.
    """
    n, q = x.shape
    xx, yx = np.zeros((n_state, q + 1, q + 1)), np.zeros((n_state, q, q + 1))
    yy, count = np.zeros((n_state, q, q)), np.zeros(n_state, dtype=np.int64)
    for t in range(n):
        if start[t]:
            continue
        k = state[t]
        count[k] += 1
        for i in range(q):
            before = x[t - 1, i]
            for j in range(i + 1):
                xx[k, i, j] += before * x[t - 1, j]
            xx[k, q, i] += before
            step = x[t, i] - before
            for j in range(q):
                yx[k, i, j] += step * x[t - 1, j]
            yx[k, i, q] += step
            for j in range(i + 1):
                yy[k, i, j] += step * (x[t, j] - x[t - 1, j])
        xx[k, q, q] += 1.0
    _mirror(xx)
    _mirror(yy)
    return xx, yx, yy, count


@njit(cache=True, fastmath=False)
@no_type_check
def _mirror(a):
    """Copy the lower triangle of each matrix to its upper."""
    for k in range(a.shape[0]):
        for i in range(a.shape[1]):
            for j in range(i):
                a[k, j, i] = a[k, i, j]


@njit(cache=True, fastmath=False)
@no_type_check
def _solve_rows(cross, low):
    """``cross low^-T``, and ``cross (low low')^-1``."""
    q, n = cross.shape
    half, whole = np.empty((q, n)), np.empty((q, n))
    for i in range(q):
        for j in range(n):
            s = cross[i, j]
            for k in range(j):
                s -= half[i, k] * low[j, k]
            half[i, j] = s / low[j, j]
        for j in range(n - 1, -1, -1):
            s = half[i, j]
            for k in range(j + 1, n):
                s -= whole[i, k] * low[k, j]
            whole[i, j] = s / low[j, j]
    return half, whole


@njit(cache=True, fastmath=False)
@no_type_check
def posterior_of_dynamics(xx, yx, yy, column_precision, noise):
    """Cholesky of the column precision, mean coefficients, Cholesky of the scale of Q, of one state.

    Prior [A b] | Q ~ matrix normal([I 0], Q, column_precision), Q ~ inverse Wishart(q + freedom, scale I);
    ``noise`` is (scale, freedom).
    """
    q = yy.shape[0]
    low = xx.copy()
    cross = yx.copy()
    rest = yy.copy()
    for i in range(q + 1):
        low[i, i] += column_precision
    for i in range(q):
        rest[i, i] += noise[0]
    ok = cholesky(low)
    half, mean = _solve_rows(cross, low)
    for i in range(q):
        mean[i, i] += 1.0  # of steps, so far
        for j in range(q):
            s = 0.0
            for k in range(q + 1):
                s += half[i, k] * half[j, k]
            rest[i, j] -= s
    ok = cholesky(rest) and ok
    return low, mean, rest, ok


@njit(cache=True, fastmath=False)
@no_type_check
def draw_dynamics(rng, low, mean, spread, freedom):
    """[A b] and the whitening root of Q from a matrix-normal inverse-Wishart law.

    Q = M M' with M = spread B^-T, B the Bartlett factor of a Wishart law; [A b] = mean + M Z low^-1.
    """
    q = spread.shape[0]
    bartlett = np.zeros((q, q))
    for i in range(q):
        bartlett[i, i] = math.sqrt(2.0 * rng.standard_gamma(0.5 * (freedom - i)))
        for j in range(i):
            bartlett[i, j] = rng.standard_normal()
    inverse = invert_lower(bartlett)
    half, cov = np.empty((q, q)), np.empty((q, q))
    _multiply(spread, inverse.T, False, half)
    _multiply(half, half.T, False, cov)
    moved, coef = np.empty((q, q + 1)), np.empty((q, q + 1))
    _multiply(half, normals(rng, q, q + 1), False, moved)
    _multiply(moved, invert_lower(low), False, coef)
    for i in range(q):
        for j in range(q + 1):
            coef[i, j] += mean[i, j]
    cholesky(cov)
    return coef, invert_lower(cov)


@njit(cache=True, fastmath=False)
@no_type_check
def log_multigamma(a, q):
    """Log multivariate gamma function."""
    s = 0.25 * q * (q - 1) * LOG_PI
    for i in range(q):
        s += math.lgamma(a - 0.5 * i)
    return s


@njit(cache=True, fastmath=False)
@no_type_check
def log_evidence(xx, yx, yy, count, column_precision, noise):  # noqa: PLR0917
    """Log density of the path given its states, dynamics integrated out; -inf where it is beyond numbers.

    Without the first bins of sessions.
    """
    q = yy.shape[1]
    freedom = q + noise[1]
    total = 0.0
    for k in range(count.size):
        if count[k] == 0:
            continue
        low, _, spread, ok = posterior_of_dynamics(xx[k], yx[k], yy[k], column_precision, noise)
        if not ok:
            return -np.inf
        after = freedom + count[k]
        total += -0.5 * count[k] * q * LOG_PI
        total += 0.5 * q * ((q + 1) * math.log(column_precision) - 2.0 * log_det_lower(low))
        total += log_multigamma(0.5 * after, q) - log_multigamma(0.5 * freedom, q)
        total += 0.5 * freedom * q * math.log(noise[0]) - after * log_det_lower(spread)
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def path_log_prior(x, state, start, n_state, initial_sd, column_precision, noise):  # noqa: PLR0917
    """Log density of a path given its states, dynamics integrated out, first bins of sessions included."""
    xx, yx, yy, count = moments_of_path(x, state, start, n_state)
    total = log_evidence(xx, yx, yy, count, column_precision, noise)
    q = x.shape[1]
    for t in range(state.size):
        if start[t]:
            total -= q * (0.5 * LOG_2PI + math.log(initial_sd))
            for i in range(q):
                total -= 0.5 * (x[t, i] / initial_sd) ** 2
    if math.isnan(total):
        return -np.inf
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def draw_all_dynamics(rng, x, state, start, n_state, column_precision, noise):  # noqa: PLR0917
    """Dynamics of every state given a path, those of states without bins from the prior."""
    q = x.shape[1]
    xx, yx, yy, count = moments_of_path(x, state, start, n_state)
    coef, root = np.empty((n_state, q, q + 1)), np.empty((n_state, q, q))
    for k in range(n_state):
        low, mean, spread, _ = posterior_of_dynamics(xx[k], yx[k], yy[k], column_precision, noise)
        coef[k], root[k] = draw_dynamics(rng, low, mean, spread, q + noise[1] + count[k])
    return coef, root
