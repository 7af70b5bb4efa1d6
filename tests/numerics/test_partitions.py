"""Likeness of partitions against scikit-learn, against definitions, and at the edges."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn import metrics

from neurotools.numerics import partitions


@pytest.fixture(params=range(6))
def pair(request):
    rng = np.random.default_rng(request.param)
    n = int(rng.integers(5, 60))
    return rng.integers(0, rng.integers(1, 8), n), rng.integers(0, rng.integers(1, 8), n)


def test_indices_equal_scikit_learn(pair):
    assert partitions.normalised_mutual_information(*pair) == pytest.approx(
        metrics.normalized_mutual_info_score(*pair), abs=1e-12
    )
    assert partitions.adjusted_rand_index(*pair) == pytest.approx(
        metrics.adjusted_rand_score(*pair), abs=1e-12
    )


def test_variation_of_information_is_a_metric(pair, rng):
    left, right = pair
    third = rng.integers(0, 4, left.size)
    distance = partitions.variation_of_information
    assert distance(left, left) == pytest.approx(0, abs=1e-12)
    assert distance(left, right) == pytest.approx(distance(right, left), abs=1e-12)
    assert distance(left, third) <= distance(left, right) + distance(right, third) + 1e-12
    information = metrics.mutual_info_score(left, right)
    of_left, of_right, _ = partitions.entropies(left, right)
    assert distance(left, right) == pytest.approx(of_left + of_right - 2 * information, abs=1e-12)


def test_names_do_not_matter(pair, rng):
    left, right = pair
    renamed = rng.permutation(left.max() + 1)[left]
    for index in (
        partitions.normalised_mutual_information,
        partitions.adjusted_rand_index,
        partitions.variation_of_information,
    ):
        assert index(renamed, right) == pytest.approx(index(left, right), abs=1e-12)
        expected = 0.0 if index is partitions.variation_of_information else 1.0
        assert index(renamed, left) == pytest.approx(expected, abs=1e-12)


def test_one_block_against_itself_and_against_singletons():
    one, all_apart = np.zeros(6, dtype=int), np.arange(6)
    assert partitions.normalised_mutual_information(one, one) == 1.0
    assert partitions.adjusted_rand_index(one, one) == 1.0
    assert partitions.normalised_mutual_information(one, all_apart) == 0.0
    assert partitions.adjusted_rand_index(all_apart, all_apart) == 1.0
    assert partitions.variation_of_information(one, all_apart) == pytest.approx(np.log(6))


@pytest.mark.parametrize("n_reference", [2, 3, 4])
@pytest.mark.parametrize("n_labels", [2, 3, 4])
def test_matching_agrees_with_the_best_of_all_renamings(rng, n_reference, n_labels):
    reference, labels = rng.integers(0, n_reference, 20), rng.integers(0, n_labels, 20)
    size = max(n_reference, n_labels)
    best = max((np.array(names)[labels] == reference).sum() for names in itertools.permutations(range(size)))
    matched = partitions.match_labels(reference, labels)
    assert (matched == reference).sum() == best
    assert partitions.adjusted_rand_index(matched, labels) == pytest.approx(1.0)


def test_coassignment_counts_shared_blocks():
    draws = np.array([[0, 0, 1, 1], [0, 1, 1, 1], [2, 2, 0, 1]])
    together = partitions.coassignment(draws)
    assert together[0, 1] == pytest.approx(2 / 3)
    assert together[2, 3] == pytest.approx(2 / 3)
    assert together[0, 3] == 0
    assert np.array_equal(np.diag(together), np.ones(4))
