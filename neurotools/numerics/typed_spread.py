"""How far weights whose types are summed out may lie from their means.

With m the means of the weights under the approximate posterior q, h the information of each and V the
covariances of the weights under q, what is maximised has, as a function of m, the negative curvature

    I(m)  -  diag(h)  +  V^-1,        V = dm / dl

where I(m) is the observed information of the evidence, states summed out. Its inverse is the linear-response
covariance: what q says of each weight by itself, corrected for the other weights and for the states being
unknown. Giordano, Broderick and Jordan (2018), Journal of Machine Learning Research 19(51), 1-49.

Under q connections are independent of each other, but the weights of one connection have their type, or its
shares, in common: V is a block for each connection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from neurotools.numerics.typed_weights import Moments, Typed, Wiring, moments

STEP = 1e-3  # of a slope, over the size of the largest weight that it moves


@dataclass(frozen=True)
class Spread:
    """Covariances under q and the information that q took, for each unit; places are (state, column)."""

    root: Float[np.ndarray, "unit place place"]  # covariance = root root'
    information: Float[np.ndarray, "unit place"]

    def of_unit(self, unit: int) -> Spread:
        """Those of one unit."""
        return Spread(self.root[unit : unit + 1], self.information[unit : unit + 1])


def spread(typed: Typed, wiring: Wiring) -> Spread:
    """Covariances of each unit's weights under q."""
    k, n_column, n_unit = typed.linear.shape
    whole = covariances(typed, wiring).reshape(n_unit, k * n_column, k * n_column)
    values, vectors = np.linalg.eigh((whole + whole.transpose(0, 2, 1)) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    return Spread(root, typed.information.transpose(2, 0, 1).reshape(n_unit, -1))


def covariances(typed: Typed, wiring: Wiring) -> Float[np.ndarray, "unit state column state column"]:
    """Weights that are no connection by their variance; connections by how means follow slopes."""
    k, n_column, n_unit = typed.linear.shape
    found = moments(typed, wiring)
    full = np.zeros((n_unit, k, n_column, k, n_column))
    each = np.arange(n_column)
    variance = np.maximum(found.square - found.mean**2, 0.0)
    for state in range(k):
        full[:, state, each, state, each] = variance[state].T
    size = np.broadcast_to(_sizes(found), (k, *found.block.mean.shape[1:]))
    for state in range(k):
        for basis in range(wiring.place.shape[1]):
            response = _response(typed, wiring, size[state, :, basis], (state, basis))
            for sender, at in enumerate(wiring.place):
                others = ~wiring.own[sender]
                slopes = response[:, sender][:, :, others]  # (state, basis, receiver)
                full[np.ix_(others, range(k), at, [state], [at[basis]])] = np.moveaxis(slopes, 2, 0)[
                    ..., None, None
                ]
    return full


def _sizes(found: Moments) -> Float[np.ndarray, "state sender basis receiver"]:
    """How large each weight is where it is largest by its type."""
    assert found.block.tilted is not None
    return np.sqrt(found.block.tilted.square.max(axis=-1))


def _response(
    typed: Typed, wiring: Wiring, size: Float[np.ndarray, "sender receiver"], which: tuple[int, int]
) -> Float[np.ndarray, "state sender basis receiver"]:
    """Slopes of all means by the slope of one state and lag: every connection has its own, all at once."""
    state, basis = which
    step = STEP / np.maximum(size, 1e-100)
    ends = []
    for sign in (1, -1):
        linear = typed.linear.copy()
        linear[state, wiring.place[:, basis], :] += sign * step
        ends.append(moments(replace(typed, linear=linear), wiring).block.mean)
    return (ends[0] - ends[1]) / (2 * step[None, :, None, :])
