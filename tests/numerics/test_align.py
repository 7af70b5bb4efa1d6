"""Turning latents onto one another, and pairing clusters, against what was done to them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import ortho_group

from neurotools.numerics import align


def test_the_turn_that_was_made_is_found(rng):
    x = rng.normal(size=(3, 50))
    turn = ortho_group.rvs(3, random_state=1)
    np.testing.assert_allclose(align.rotation_onto(turn @ x, x), turn.T, atol=1e-12)


def test_no_other_turn_lies_nearer(rng):
    x, reference = rng.normal(size=(2, 2, 30))
    best = np.linalg.norm(align.rotation_onto(x, reference) @ x - reference)
    for angle, flip in itertools.product(np.linspace(0, 2 * np.pi, 721), (1, -1)):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [flip * np.sin(angle), flip * np.cos(angle)]])
        assert np.linalg.norm(turn @ x - reference) >= best - 1e-9


def test_leading_axes_are_batches(rng):
    x, reference = rng.normal(size=(5, 2, 30)), rng.normal(size=(1, 2, 30))
    one_by_one = np.stack([align.rotation_onto(each, reference[0]) for each in x])
    np.testing.assert_allclose(align.rotation_onto(x, reference), one_by_one, atol=1e-12)


def test_draws_that_differ_by_turns_alone_have_no_spread_left(rng):
    shape = rng.normal(size=(2, 80)) * np.array([[3.0], [1.0]])
    turns = ortho_group.rvs(2, size=20, random_state=2)
    mean, back = align.mean_shape(turns @ shape)
    np.testing.assert_allclose(back @ turns @ shape, np.repeat(mean[None], 20, axis=0), atol=1e-9)
    assert mean[0].var() > mean[1].var()
    np.testing.assert_allclose(mean @ mean.T, np.diag(np.diag(mean @ mean.T)), atol=1e-9)
    assert (mean[[0, 1], np.abs(mean).argmax(axis=1)] > 0).all()


def test_noisy_draws_are_averaged_to_the_shape(rng):
    shape = rng.normal(size=(3, 60))
    turns = ortho_group.rvs(3, size=40, random_state=3)
    mean, back = align.mean_shape(turns @ (shape + 0.3 * rng.normal(size=(40, 3, 60))))
    onto = align.rotation_onto(mean, shape)
    assert np.corrcoef((onto @ mean).ravel(), shape.ravel())[0, 1] > 0.99
    assert back.shape == (40, 3, 3)


def test_clusters_are_paired_by_their_members():
    reference = np.array([0, 0, 0, 1, 1, 2])
    np.testing.assert_array_equal(align.match_clusters(np.array([1, 1, 0, 2, 2, 0]), reference), [1, 2, 0])
    np.testing.assert_array_equal(align.match_clusters(np.zeros(6, dtype=int), reference), [0, -1, -1])
    with_spare = align.match_clusters(np.array([3, 3, 3, 1, 1, 0]), reference)
    assert with_spare.tolist() == pytest.approx([3, 1, 0])
