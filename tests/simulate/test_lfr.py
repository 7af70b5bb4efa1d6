"""The weighted benchmark graphs: what is asked for comes out, and the seed decides all of it."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SettingsError


@pytest.mark.parametrize(
    ("beta", "edge_mixing", "weight_mixing", "degree"),
    [
        (0.5, 0.5, 0.5, 25),
        (2.0, 0.25, 0.5, 25),
        (2.0, 0.75, 0.5, 25),
        (2.0, 0.5, 0.25, 25),
        (1.0, 0.5, 0.5, 10),
    ],
)
def test_degrees_mixing_and_strengths_are_those_asked_for(beta, edge_mixing, weight_mixing, degree):
    drawn = [
        nt.simulate.weighted_lfr(
            mean_degree=degree, edge_mixing=edge_mixing, weight_mixing=weight_mixing, strength_exponent=beta,
            seed=seed,
        )
        for seed in range(4)
    ]  # fmt: skip
    degrees = np.concatenate([truth["degree"] for _, truth in drawn])
    # Where few edges may leave, degrees near the largest have no community that can hold them.
    assert degrees.mean() == pytest.approx(degree, rel=0.25 if edge_mixing < 0.5 else 0.15)
    assert degrees.max() <= 100
    for motif, truth in drawn:
        weights, labels = motif.to_numpy(), truth["label"].to_numpy()
        assert np.array_equal(weights, weights.T)
        assert not np.diag(weights).any()
        if labels.max() == 0:
            continue
        assert truth["edge_mixing"] == pytest.approx(edge_mixing, abs=0.12 if edge_mixing < 0.5 else 0.06)
        # Strengths follow degrees; a unit without edges on one side carries none there.
        between = labels[:, None] != labels
        both = ((weights * between).sum(1) > 0) & ((weights * ~between).sum(1) > 0)
        wanted = truth["degree"].to_numpy().astype(float)[both] ** beta
        got = weights.sum(1)[both]
        assert np.corrcoef(np.log(got), np.log(wanted))[0, 1] > 0.98
        assert np.median(np.abs(got / wanted - 1)) < 0.1
        sizes = np.bincount(labels)
        assert (np.diff(sizes) <= 0).all()


def test_equal_mixing_and_strength_of_degree_give_equal_weights():
    motif, _ = nt.simulate.weighted_lfr(strength_exponent=1.0, seed=2)
    weights = motif.to_numpy()[motif.to_numpy() > 0]
    assert weights.mean() == pytest.approx(1.0, abs=0.05)
    assert weights.std() < 0.5


def test_the_seed_decides_everything():
    one, two = (nt.simulate.weighted_lfr(seed=5) for _ in range(2))
    for left, right in zip(one, two, strict=True):
        xr.testing.assert_identical(left, right)
    assert not nt.simulate.weighted_lfr(seed=6)[0].equals(one[0])


@pytest.mark.parametrize(
    "settings", [{"mean_degree": 130}, {"max_degree": 200}, {"edge_mixing": 1.0}, {"weight_mixing": -0.1}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(SettingsError):
        nt.simulate.weighted_lfr(**settings)
