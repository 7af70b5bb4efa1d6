"""The nearest partition against all partitions, its losses against definitions, its ball against sorting."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn import metrics

from neurotools.errors import SettingsError
from neurotools.numerics import partitions, point_partition

LOSSES = tuple(point_partition.LOSSES)


def all_partitions(n):
    """Every partition of n items, by restricted growth."""

    def grow(labels):
        if len(labels) == n:
            yield np.array(labels)
            return
        for label in range(max(labels) + 2):
            yield from grow([*labels, label])

    return list(grow([0]))


def binder(left, right):
    pairs = list(itertools.combinations(range(left.size), 2))
    return np.mean([(left[i] == left[j]) != (right[i] == right[j]) for i, j in pairs])


BY_DEFINITION = {
    "vi": partitions.variation_of_information,
    "binder": binder,
    "pear": lambda left, right: 1 - metrics.adjusted_rand_score(left, right),
}


def noisy_draws(rng, n, n_draws, n_blocks=3, noise=0.3):
    """Partitions around one, with some items elsewhere and names that change from draw to draw."""
    base = rng.integers(0, n_blocks, n)
    draws = np.tile(base, (n_draws, 1))
    moved = rng.random(draws.shape) < noise
    draws[moved] = rng.integers(0, n_blocks + 1, int(moved.sum()))
    return np.stack([rng.permutation(9)[row] for row in draws])


@pytest.mark.parametrize("loss", LOSSES)
def test_distances_are_those_of_the_definition(rng, loss):
    draws = noisy_draws(rng, 12, 7)
    labels = rng.integers(0, 5, 12)
    found = point_partition.distances(labels, point_partition.compact(draws), loss)
    expected = [BY_DEFINITION[loss](labels, np.unique(row, return_inverse=True)[1]) for row in draws]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("noise", [0.1, 0.4, 1.0])
def test_no_partition_of_seven_items_is_nearer(loss, noise):
    everything = all_partitions(7)
    assert len(everything) == 877  # Bell's number
    for seed in range(4):
        draws = point_partition.compact(noisy_draws(np.random.default_rng(seed), 7, 25, noise=noise))
        labels, distance = point_partition.minimise(draws, loss, seed=seed)
        least = min(point_partition.distances(one, draws, loss).mean() for one in everything)
        assert distance.mean() == pytest.approx(least, abs=1e-12)
        np.testing.assert_allclose(distance, point_partition.distances(labels, draws, loss))


@pytest.mark.parametrize("loss", LOSSES)
def test_the_search_ends_no_worse_than_any_draw_and_finds_what_all_agree_on(rng, loss):
    draws = point_partition.compact(noisy_draws(rng, 60, 80, n_blocks=5, noise=0.25))
    labels, distance = point_partition.minimise(draws, loss, n_starts=3)
    every = [point_partition.distances(np.unique(d, return_inverse=True)[1], draws, loss) for d in draws.T]
    assert distance.mean() <= min(each.mean() for each in every) + 1e-12
    base = np.random.default_rng(20261121).integers(0, 5, 60)  # what the draws were made around
    assert partitions.adjusted_rand_index(labels, base) == pytest.approx(1.0)
    same = np.repeat(labels[None], 5, axis=0)
    again, zero = point_partition.minimise(point_partition.compact(same), loss, n_starts=2)
    np.testing.assert_array_equal(again, labels)
    np.testing.assert_allclose(zero, 0, atol=1e-12)


def test_blocks_are_numbered_by_size_and_names_of_draws_do_not_matter(rng):
    draws = noisy_draws(rng, 20, 30)
    renamed = np.stack([rng.permutation(10)[row] for row in draws])
    one, _ = point_partition.minimise(point_partition.compact(draws), "vi", seed=3)
    two, _ = point_partition.minimise(point_partition.compact(renamed), "vi", seed=3)
    np.testing.assert_array_equal(one, two)
    sizes = np.bincount(one)
    assert (np.diff(sizes) <= 0).all()
    np.testing.assert_array_equal(point_partition.by_size(np.array([4, 4, 1, 1, 7])), [0, 0, 1, 1, 2])


@pytest.mark.parametrize("loss", LOSSES)
def test_one_item_and_one_draw(loss):
    labels, distance = point_partition.minimise(np.zeros((1, 4), dtype=np.int32), loss)
    assert labels.tolist() == [0]
    np.testing.assert_array_equal(distance, np.zeros(4))
    draws = point_partition.compact(np.array([[3, 1, 1]]))
    assert point_partition.minimise(draws, loss)[0].tolist() == [1, 0, 0]


def test_confidence_is_the_mean_of_the_similarity_matrix(rng):
    draws = noisy_draws(rng, 15, 40)
    labels = np.array([0] * 7 + [1] * 7 + [2])
    similarity = partitions.coassignment(draws)
    found = point_partition.confidence(labels, point_partition.compact(draws))
    for i in range(14):
        mates = [j for j in range(15) if labels[j] == labels[i] and j != i]
        assert found[i] == pytest.approx(similarity[i, mates].mean())
    alone = [(row == row[14]).sum() == 1 for row in draws]
    assert found[14] == pytest.approx(np.mean(alone))


def test_the_ball_holds_the_nearest_draws_and_its_ends_lie_in_it(rng):
    draws = point_partition.compact(noisy_draws(rng, 10, 200))
    labels, distance = point_partition.minimise(draws, "vi")
    ball = point_partition.credible_ball(draws, distance, coverage=0.9)
    assert (distance <= ball.radius).mean() >= 0.9
    assert (distance < ball.radius).mean() < 0.9
    inside = draws[:, distance <= ball.radius]
    for end, n_blocks in ((ball.fewest, inside.max(axis=0).min()), (ball.most, inside.max(axis=0).max())):
        assert end.max() == n_blocks
        assert (
            point_partition.distances(labels, end[:, None].astype(np.int32), "vi")[0] <= ball.radius + 1e-12
        )
    assert point_partition.distances(ball.furthest, point_partition.compact(labels[None]), "vi")[
        0
    ] == pytest.approx(ball.radius)


def test_an_unknown_loss_is_refused():
    with pytest.raises(SettingsError, match="no loss named 'vl'"):
        point_partition.minimise(np.zeros((3, 2), dtype=np.int32), "vl")
