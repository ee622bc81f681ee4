"""Measures of ordered scales: values by hand, properties, nothing without annotations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dissensus.data.ordinal import mean_absolute_difference, ordinal_dispersion, wasserstein_distance
from dissensus.errors import DataError


def test_dispersion_by_hand() -> None:
    counts = [
        [5, 0, 0],  # all agree
        [2, 0, 2],  # half at each end: F = 1/2, 1/2, so 4 (1/4 + 1/4) / 2 = 1
        [2, 2, 0],  # half and half, one step apart: F = 1/2, 1, so 4 (1/4) / 2 = 1/2
        [1, 1, 1],  # F = 1/3, 2/3: 4 (2/9 + 2/9) / 2 = 8/9
        [0, 1, 0],
        [0, 0, 0],
    ]
    assert ordinal_dispersion(counts) == pytest.approx([0, 1, 0.5, 8 / 9, 0, np.nan], nan_ok=True)
    # On 0, 1, 4 the step from the second label on is three times as long: 4 (1/4 + 0) / 4.
    assert ordinal_dispersion([2, 2, 0], [0, 1, 4]) == pytest.approx(0.25)


def test_dispersion_is_the_mean_difference_as_a_share_of_the_largest() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 5, (50, 4)) + 1
    values = np.array([1.0, 2.0, 4.0, 5.0])
    labels = [np.repeat(values, row) for row in counts]
    pairs = [np.abs(x[:, None] - x) for x in labels]
    with_replacement = [p.mean() for p in pairs]  # at most half of the range
    assert ordinal_dispersion(counts, values) == pytest.approx(np.array(with_replacement) / 2.0)
    apart = [p.sum() / (len(p) * (len(p) - 1)) for p in pairs]
    assert mean_absolute_difference(counts, values) == pytest.approx(apart)


def test_one_annotation_has_no_pair_and_none_has_nothing() -> None:
    assert np.isnan(mean_absolute_difference([[0, 1, 0], [0, 0, 0]])).all()
    assert mean_absolute_difference([1, 1, 0]) == pytest.approx(1.0)
    assert np.isnan(wasserstein_distance([1, 0], [0, 0]))


def test_wasserstein_is_scipys() -> None:
    rng = np.random.default_rng(1)
    values = np.array([-2.0, 0.0, 1.0, 5.0])
    p, q = rng.dirichlet(np.ones(4), 20), rng.dirichlet(np.ones(4), 20)
    expected = [stats.wasserstein_distance(values, values, a, b) for a, b in zip(p, q, strict=True)]
    assert wasserstein_distance(p, q, values) == pytest.approx(expected)


@pytest.mark.parametrize("values", [(0, 1), (0, 2, 1)])
def test_a_scale_has_a_rising_number_per_label(values: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="numbers that rise, one per label"):
        ordinal_dispersion([1, 2, 3], values)
