"""Accuracy, calibration and distance to people by group, against values worked out by hand."""

from __future__ import annotations

import numpy as np

from dissensus.report.by_group import group_ends, total_variation
from synthetic_curves import balanced, curves_of


def test_total_variation_is_half_the_sum_of_differences() -> None:
    counts = np.array([[8.0, 2.0, 0.0], [0.0, 0.0, 0.0], [5.0, 5.0, 0.0], [0.0, 0.0, 4.0]])
    # |.8-.5| + |.2-.3| + |0-.2| = .6; nobody was asked; the same shares (scaled to sum to 1); nothing in common.
    probabilities = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.2, 0.2, 0.0], [0.5, 0.5, 0.0]])
    distances = total_variation(counts, probabilities)
    assert np.allclose(distances[[0, 2, 3]], [0.3, 0.0, 1.0])
    assert np.isnan(distances[1])


def test_groups_are_averaged_over_seeds_and_a_group_without_items_has_no_row() -> None:
    seeds = [balanced(curves_of(60, seed=seed)) for seed in (0, 1)]
    groups = np.where(np.arange(60) < 30, "settled", "contested")
    both = {end.group: end for end in group_ends(seeds, [groups, groups])}
    assert list(both) == ["contested", "settled"]
    alone = [{end.group: end for end in group_ends([one], [groups])} for one in seeds]
    for name, end in both.items():
        assert end.n == 30
        assert np.isclose(end.accuracy, np.mean([one[name].accuracy for one in alone]))
        assert np.isclose(end.distance, np.mean([one[name].distance for one in alone]))
    assert (
        both["settled"].accuracy > both["contested"].accuracy
    )  # the first items are learned, the last are not
