"""Exact Polya-Gamma variates for any real shape, by alternating series; rejection, no truncation.

PG(h, z) = J(h, z / 2) / 4, where J(h, c) has density cosh(c)^h exp(-c^2 x / 2) f(x | h) and

    f(x | h) = 2^h / Gamma(h) sum_n (-1)^n Gamma(n + h) / n! (2n + h) / sqrt(2 pi x^3) exp(-(2n + h)^2 / 2x).

Left of a point the first term bounds f, right of it a gamma density does. A large shape is a sum of pieces.
Polson, Scott & Windle (2013), JASA 108, 1339-1349, eqs. 12-16, for h = 1; Windle, Polson & Scott (2014),
arXiv 1405.0506, sections 3-4, for shapes from 1 to 4. The bound for shapes below 1 is ours.
"""

from __future__ import annotations

import math
from typing import no_type_check

from numba import njit

PIECE = 4  # whole shapes up to this one are drawn in one go
BOUND_BELOW_ONE = 1.1  # f is at most this times its gamma limit where x > 1 and h < 1 (1.0583 at h = 0.5)
MAX_TERMS = 1000


@njit(cache=True, fastmath=False)
@no_type_check
def draw_many(rng, h, z, out):
    """Fill ``out`` with PG(h, z), entry by entry of three flat arrays."""
    for i in range(out.size):
        out[i] = draw_one(rng, h[i], z[i])


@njit(cache=True, fastmath=False)
@no_type_check
def draw_one(rng, h, z):
    """One variate; 0 for shape 0."""
    if h <= 0.0:
        return 0.0
    c = 0.5 * abs(z)
    if h < 1.0:
        return 0.25 * _piece(rng, h, c)
    whole = math.floor(h)
    part = h - whole
    if part > 0.0:
        whole -= 1
        total = _piece(rng, 1.0 + part, c)
    else:
        total = 0.0
    while whole > PIECE:
        total += _piece(rng, float(PIECE), c)
        whole -= PIECE
    if whole > 0:
        total += _piece(rng, float(whole), c)
    return 0.25 * total


@njit(cache=True, fastmath=False)
@no_type_check
def _border(h):
    """Where the two bounds meet, roughly; any point right of 0 is valid from shape 1 on."""
    if h < 1.0:
        return 1.0
    return 0.64 + 0.86 * (h - 1.0) + 0.11 * (h - 1.0) * (h - 2.0)


@njit(cache=True, fastmath=False)
@no_type_check
def _piece(rng, h, c):
    """J(h, c) for h below 2, or whole and at most ``PIECE``."""
    border = _border(h)
    rate = math.pi * math.pi / 8.0 + 0.5 * c * c
    # both masses times exp(h c), which a large tilt would make 0
    left = 2.0**h * _inverse_gaussian_cdf(border / (h * h), h * c)
    right, slope, level = _right_mass(h, border, rate, h * c)
    while True:
        if rng.random() * (left + right) < left:
            x = h * h * _truncated_inverse_gaussian(rng, border / (h * h), h * c)
            bound = _term(0, h, 1.0, x)
        else:
            x = _beyond(rng, h, border, rate, slope)
            bound = level * math.exp(-(slope - 0.5 * c * c) * x)
            if slope == rate and h > 1.0:
                bound *= x ** (h - 1.0)
        if _under(rng.random() * bound, h, x):
            return x


# ---- right of the border ---------------------------------------------------------------------------------
@njit(cache=True, fastmath=False)
@no_type_check
def _right_mass(h, border, rate, shift):
    """Mass of the bound beyond the border, the rate of its exponential, and its level there.

    Whole shapes: the gamma density itself, a finite mixture beyond the border. Shapes between 1 and 2: its
    tangent, an exponential. Below 1: the power is at most that at the border.
    """
    log_limit = h * math.log(0.5 * math.pi) - math.lgamma(h)
    if h < 1.0:
        level = BOUND_BELOW_ONE * math.exp(log_limit) * border ** (h - 1.0)
        return level * math.exp(shift - rate * border) / rate, rate, level
    if h == math.floor(h):
        level = math.exp(log_limit)
        mass, weight = 0.0, 1.0 / rate
        for k in range(int(h)):
            mass += weight * border ** (h - 1.0 - k)
            weight *= (h - 1.0 - k) / rate
        return level * mass * math.exp(shift - rate * border), rate, level
    touch = border + 1.0 / rate
    slope = rate - (h - 1.0) / touch
    level = math.exp(log_limit + (h - 1.0) * (math.log(touch) - 1.0))
    return level * math.exp(shift - slope * border) / slope, slope, level


@njit(cache=True, fastmath=False)
@no_type_check
def _beyond(rng, h, border, rate, slope):
    """A draw from the bound beyond the border."""
    beyond = rng.standard_exponential() / slope
    if slope == rate and h > 1.0:
        # x^(h-1) = sum_k binomial(h-1, k) border^(h-1-k) (x - border)^k: gammas of shape 1, 2, ..., h
        total, weight = 0.0, 1.0 / rate
        for k in range(int(h)):
            total += weight * border ** (h - 1.0 - k)
            weight *= (h - 1.0 - k) / rate
        u = rng.random() * total
        weight = 1.0 / rate
        for k in range(int(h) - 1):
            u -= weight * border ** (h - 1.0 - k)
            if u < 0.0:
                break
            weight *= (h - 1.0 - k) / rate
            beyond += rng.standard_exponential() / rate
    return border + beyond


# ---- left of the border ------------------------------------------------------------------------------------
@njit(cache=True, fastmath=False)
@no_type_check
def _inverse_gaussian_cdf(x, drift):
    """P(X < x) of an inverse Gaussian of mean 1 / drift and shape 1."""
    root = math.sqrt(0.5 / x)
    first = 0.5 * math.erfc(root * (1.0 - x * drift))
    a = root * (1.0 + x * drift)
    if a < 20.0:
        return first + 0.5 * math.exp(2.0 * drift) * math.erfc(a)
    return first + 0.5 * math.exp(2.0 * drift - a * a) / (a * math.sqrt(math.pi))


@njit(cache=True, fastmath=False)
@no_type_check
def _truncated_inverse_gaussian(rng, top, drift):
    """Inverse Gaussian of mean 1 / drift and shape 1, given that it is below ``top``."""
    if top * drift > 1.0:
        mean = 1.0 / drift
        while True:
            normal = rng.standard_normal()
            a = 0.5 * mean * normal * normal
            x = mean / (1.0 + a + math.sqrt(2.0 * a + a * a))
            if rng.random() * (mean + x) > mean:
                x = mean * mean / x
            if x < top:
                return x
    edge = 1.0 / math.sqrt(top)
    while True:
        x = _tail_normal(rng, edge)
        x = 1.0 / (x * x)
        if rng.random() < math.exp(-0.5 * drift * drift * x):
            return x


@njit(cache=True, fastmath=False)
@no_type_check
def _tail_normal(rng, edge):
    """The size of a standard normal, given that it is beyond ``edge``."""
    if edge < 0.7:
        while True:
            x = abs(rng.standard_normal())
            if x > edge:
                return x
    while True:
        x = rng.standard_exponential() / edge
        if 2.0 * rng.standard_exponential() > x * x:
            return edge + x


# ---- the alternating series --------------------------------------------------------------------------------
@njit(cache=True, fastmath=False)
@no_type_check
def _term(n, h, coefficient, x):
    """Size of term n; ``coefficient`` is Gamma(n + h) / (Gamma(h) n!)."""
    a = 2.0 * n + h
    size = coefficient * a * math.exp(-0.5 * a * a / x)
    return 2.0**h * size / math.sqrt(2.0 * math.pi * x * x * x)


@njit(cache=True, fastmath=False)
@no_type_check
def _under(height, h, x):
    """Whether ``height`` lies below f(x | h), by sums that close in on it from both sides."""
    coefficient, before = 1.0, _term(0, h, 1.0, x)
    total = before
    for n in range(1, MAX_TERMS):
        coefficient *= (n - 1.0 + h) / n
        term = _term(n, h, coefficient, x)
        falling = term <= before  # from here on terms fall, so each sum is a bound
        if n % 2:
            total -= term
            if falling and height <= total:
                return True
        else:
            total += term
            if falling and height > total:
                return False
        if term == 0.0 and falling:
            return height <= total
        before = term
    return height <= total
