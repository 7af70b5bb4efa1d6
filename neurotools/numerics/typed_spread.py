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
from jaxtyping import Bool, Float, Int

from neurotools.numerics.typed_weights import Typed, Wiring, moments

STEP = 1e-3  # of a slope, over the size of the largest weight that it moves


@dataclass(frozen=True)
class Spread:
    """Covariances under q and the information that q took; a block for each connection, else variances."""

    blocks: Float[np.ndarray, "sender receiver place place"]  # places are (state, lag)
    variance: Float[np.ndarray, "state column receiver"]
    information: Float[np.ndarray, "state column receiver"]
    place: Int[np.ndarray, "sender basis"]  # columns of each unit's history
    own: Bool[np.ndarray, "sender receiver"]  # where a unit meets itself, which is no connection

    def of_unit(self, unit: int) -> Spread:
        """Those of one receiving unit."""
        one = slice(unit, unit + 1)
        return replace(
            self, blocks=self.blocks[:, one], variance=self.variance[..., one],
            information=self.information[..., one], own=self.own[:, one],
        )  # fmt: skip

    @property
    def informations(self) -> Float[np.ndarray, " weight"]:
        """The information of every weight, in the order (unit, state, column)."""
        return self.information.transpose(2, 0, 1).ravel()

    def root(self, unit: int) -> Float[np.ndarray, "place place"]:
        """A matrix whose product with its transpose is the covariance of one unit's weights."""
        k, n_column, _ = self.variance.shape
        full, each = np.zeros((k, n_column, k, n_column)), np.arange(n_column)
        for state in range(k):
            full[state, each, state, each] = np.sqrt(self.variance[state, :, unit])
        for sender, at in enumerate(self.place):
            if not self.own[sender, unit]:
                block = _root(self.blocks[sender, unit]).reshape(k, at.size, k, at.size)
                full[np.ix_(range(k), at, range(k), at)] = block
        return full.reshape(k * n_column, k * n_column)


def _root(covariance: Float[np.ndarray, "place place"]) -> Float[np.ndarray, "place place"]:
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def spread(typed: Typed, wiring: Wiring) -> Spread:
    """Covariances of all weights under q: of connections by how means follow slopes, of others variances."""
    found = moments(typed, wiring)
    assert found.block.tilted is not None
    k, n_sender, n_basis, n_unit = found.block.mean.shape
    # How large each weight is where it is largest by its type.
    size = np.sqrt(found.block.tilted.square.max(axis=-1))
    blocks = np.zeros((n_sender, n_unit, k, n_basis, k, n_basis))
    for state in range(k):
        for basis in range(n_basis):
            response = _response(typed, wiring, size[state, :, basis], (state, basis))
            blocks[..., state, basis] = response.transpose(1, 3, 0, 2)
    variance = np.maximum(found.square - found.mean**2, 0.0)
    flat = blocks.reshape(n_sender, n_unit, k * n_basis, k * n_basis)
    return Spread(flat, variance, typed.information, wiring.place, wiring.own)


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
