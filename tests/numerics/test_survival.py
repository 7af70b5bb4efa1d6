"""Medians of durations of which some were cut short."""

import numpy as np
import pytest

from neurotools.numerics.survival import median_duration


def test_without_cuts_half_have_ended_by_it(rng):
    values = rng.integers(1, 30, size=101)
    assert median_duration(values, np.zeros(101, bool)) == np.median(values)
    even = median_duration(np.array([1.0, 2.0, 3.0, 4.0]), np.zeros(4, bool))
    assert even == 2.5


def test_a_worked_case():
    """Shares that last longer: 1 -> 5/6 (end at 2), x 3/4 (at 5, four at risk), x 1/2 (at 8, two): 0.3125."""
    duration = np.array([2, 3, 5, 6, 8, 9])
    cut = np.array([False, True, False, True, False, True])
    assert median_duration(duration, cut) == 8


@pytest.mark.parametrize("window", [40, 100])
def test_the_median_is_found_although_windows_cut_most(window, rng):
    """Geometric visits of mean 60, each seen in a window that ends at random."""
    whole = rng.geometric(1 / 60, size=4000)
    seen = rng.integers(1, window + 60, size=4000)
    cut = whole > seen
    found = median_duration(np.minimum(whole, seen), cut)
    assert found == pytest.approx(np.log(0.5) / np.log(1 - 1 / 60), rel=0.08)
    assert np.median(whole[~cut]) < 0.8 * found


def test_what_was_hardly_seen_to_end_has_no_median():
    assert np.isnan(median_duration(np.array([3, 9, 9, 9]), np.array([False, True, True, True])))
    assert np.isnan(median_duration(np.array([3, 9]), np.array([True, True])))
