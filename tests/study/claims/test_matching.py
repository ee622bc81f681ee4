"""Two methods compared at the same loss on the settled examples."""

from __future__ import annotations

import numpy as np
import pytest

from dissensus.study.claims.matching import change_at, difference_at_matched_loss
from dissensus.study.claims.measured import GroupMeans


def means(settled: list[float], contested: list[float]) -> GroupMeans:
    s, c = np.array(settled), np.array(contested)
    return GroupMeans(np.linspace(0, 1, len(s)), c, s, np.stack([c, c]), np.stack([s, s]))


def test_the_faster_method_is_read_where_it_passed_the_slower_ones_end() -> None:
    # The slow one ends at 0.8. The fast one passes 0.8 half-way from 1.0 to 0.6: contested 1.0 -> 0.8, so 0.9 there.
    slow = means([1.0, 0.9, 0.8], [1.0, 1.1, 1.2])
    fast = means([1.0, 0.6, 0.2], [1.0, 0.8, 0.4])
    # +0.2 under the slow one, -0.1 under the fast one.
    found = difference_at_matched_loss(slow, fast)
    assert found.value == pytest.approx(0.3)
    np.testing.assert_allclose(found.resampled, 0.3)
    assert difference_at_matched_loss(fast, slow).value == pytest.approx(-0.3)


def test_methods_may_have_other_tracking_points() -> None:
    slow = means([1.0, 0.8], [1.0, 1.2])
    fast = means([1.0, 0.9, 0.8, 0.7, 0.6], [1.0, 0.9, 0.8, 0.7, 0.6])
    assert difference_at_matched_loss(slow, fast).value == pytest.approx(0.4)


def test_the_first_time_counts() -> None:
    settled = np.array([[1.0, 0.7, 0.9, 0.6]])
    contested = np.array([[1.0, 2.0, 3.0, 4.0]])
    # 0.85 is half of the way from 1.0 to 0.7: contested 1.5 there.
    assert change_at(settled, contested, np.array([0.85])) == pytest.approx([0.5])


def test_a_method_that_never_learned_is_compared_at_its_start() -> None:
    still = means([1.0, 1.1, 1.2], [1.0, 1.3, 1.6])
    moving = means([1.0, 0.5, 0.2], [1.0, 0.9, 0.8])
    assert difference_at_matched_loss(still, moving).value == pytest.approx(0.0)


def test_a_level_that_is_never_reached_is_undefined() -> None:
    assert np.isnan(change_at(np.array([[1.0, 0.9]]), np.array([[1.0, 1.0]]), np.array([0.5])))[0]


def test_undefined_curves_give_undefined_differences() -> None:
    gone = means([np.nan, np.nan], [np.nan, np.nan])
    assert np.isnan(difference_at_matched_loss(gone, means([1.0, 0.5], [1.0, 0.9])).value)
