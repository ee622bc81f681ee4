"""Measures of LeWiDi 2025: values worked out by hand, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dissensus.errors import DataError
from dissensus.stats.lewidi_measures import (
    average_manhattan,
    average_wasserstein,
    error_rate,
    normalised_absolute_distance,
)


def test_manhattan() -> None:
    # |.5 - .2| + |.5 - .8| = .6, and 2 at the two ends.
    assert average_manhattan([[0.5, 0.5], [1, 0]], [[0.2, 0.8], [0, 1]]) == pytest.approx(1.3)
    assert math.isnan(average_manhattan(np.zeros((0, 2)), np.zeros((0, 2))))


def test_wasserstein_is_scipys_with_labels_one_step_apart() -> None:
    # All mass moves by two steps; half of it by one.
    assert average_wasserstein([[1, 0, 0], [0.5, 0.5, 0]], [[0, 0, 1], [0.5, 0, 0.5]]) == pytest.approx(
        (2 + 0.5) / 2
    )
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(7), (2, 5))
    each = [stats.wasserstein_distance(range(7), range(7), a, b) for a, b in zip(p, q, strict=True)]
    assert average_wasserstein(p, q) == pytest.approx(np.mean(each))


def test_error_rate_and_absolute_distance_are_means_over_annotators_then_over_items() -> None:
    # One of two wrong, and none of four: (.5 + 0) / 2, not 1 / 6.
    assert error_rate([[0, 1], [1, 1, 1, 0], []], [[0, 0], [1, 1, 1, 0], []]) == pytest.approx(0.25)
    # (|−5 − 5| + 0) / 2 = 5, and 2; over 10: .5 and .2.
    assert normalised_absolute_distance([[-5, 3], [1]], [[5, 3], [3]], scale=10) == pytest.approx(0.35)
    assert math.isnan(error_rate([[]], [[]]))


def test_what_is_refused() -> None:
    with pytest.raises(DataError, match=r"\(1, 2\) and predictions \(1, 3\)"):
        average_manhattan([[1, 0]], [[1, 0, 0]])
    with pytest.raises(DataError, match="the prediction in row 0"):
        average_wasserstein([[1, 0]], [[0.5, 0.6]])
    with pytest.raises(DataError, match="item 0 has 2 annotators' labels and 1 predictions"):
        error_rate([[1, 0]], [[1]])
    with pytest.raises(DataError, match="labels 0 and 1"):
        error_rate([[2]], [[1]])
    with pytest.raises(DataError, match="2 targets and 1"):
        error_rate([[1], [0]], [[1]])
    with pytest.raises(DataError, match="above 0"):
        normalised_absolute_distance([[1]], [[1]], scale=0)
