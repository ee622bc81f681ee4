"""Two methods compared at the same loss on the settled, backed examples."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dissensus.analysis.claims.c3_matching import Match, difference_at_matched_loss, read_at
from dissensus.analysis.claims.sampled import CellValue
from dissensus.analysis.claims.statistics import ALL, BACKED, REJECTED, GroupMeans, MeanCurve


def curve(values: np.ndarray) -> MeanCurve:
    return MeanCurve(values, np.stack([values, values]), 50, 40)


def means(settled: Any, contested: Any) -> GroupMeans:
    s, c = np.array(settled, dtype=float), np.array(contested, dtype=float)
    sides = (ALL, BACKED, REJECTED)
    return GroupMeans(
        progress=np.linspace(0, 1, len(s)),
        chance=float(np.log(3)),
        starts=True,
        whole=(s + c) / 2,
        contested=dict.fromkeys(sides, curve(c)),
        settled=dict.fromkeys(sides, curve(s)),
        halves=(curve(c), curve(c)),
    )


def compared(first: GroupMeans, second: GroupMeans) -> Match:
    measured: Any = SimpleNamespace(
        undefined=lambda why: CellValue(float("nan"), np.full(2, np.nan), 0, why=why),
        settings=SimpleNamespace(smallest_change=0.05),
    )
    return difference_at_matched_loss(measured, first, second)


def learner(speed: float, points: int) -> GroupMeans:
    """Settled loss falls from 1.05 with the method's own time v = speed u, contested loss rises and falls again."""
    v = speed * np.linspace(0, 1, points)
    settled = 1.05 - 0.5 * (1 - np.exp(-3 * v))
    return means(settled, settled + 0.6 * (v / 0.35) * np.exp(1 - v / 0.35))


def test_a_method_that_is_merely_slower_does_not_differ() -> None:
    found = compared(learner(0.5, 8), learner(1.0, 8))
    # The same function of v. The slow one is read at its fifth step of seven, v = .5 x 5/7; the fast one at u = .357.
    assert found.value.value == pytest.approx(0.0, abs=0.01)
    np.testing.assert_allclose(found.value.resampled, found.value.value)
    assert found.progress == (pytest.approx(5 / 7), pytest.approx(0.357, abs=0.002))
    assert found.points == (8, 8)
    assert found.level == pytest.approx(1.05 - 0.5 * (1 - np.exp(-3 * 0.5 * 5 / 7)))
    # With straight lines between the points it did.
    straight = [
        read_at(
            own.progress,
            own.settled[BACKED].mean[None],
            own.contested[ALL].mean[None],
            np.array([found.level]),
        )
        for own in (learner(0.5, 8), learner(1.0, 8))
    ]
    assert abs(float(straight[0].straight[0] - straight[1].straight[0])) > abs(found.value.value)


@pytest.mark.parametrize("points", [3, 4, 5])
def test_a_match_needs_three_points_on_either_side(points: int) -> None:
    found = compared(learner(0.35, points), learner(1.0, points))
    assert not found.value.defined
    assert f"{points} tracking points" in found.value.why


def test_a_match_too_early_in_one_method_is_none() -> None:
    found = compared(learner(0.2, 8), learner(1.0, 8))
    assert not found.value.defined
    assert "needs 3 on either side" in found.value.why


def test_the_difference_is_read_at_equal_settled_loss() -> None:
    # Straight lines. Slow: settled 1.0 to 0.3 in seven steps of .1, contested +.1 a step. Fast: steps of .14 and -.1.
    steps = np.arange(8)
    slow, fast = means(1.0 - 0.1 * steps, 1 + 0.1 * steps), means(1.0 - 0.14 * steps, 1 - 0.1 * steps)
    found = compared(slow, fast)
    # Three points are left at step 5: the slow one has 0.5 there. The fast one has it after .5 / .14 = 3.571 steps.
    assert found.level == pytest.approx(0.5)
    assert found.value.value == pytest.approx(0.5 + 0.3571, abs=1e-3)
    assert compared(fast, slow).value.value == pytest.approx(-found.value.value)


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_both_methods_must_have_learned_the_settled_examples(shift: float) -> None:
    steps = np.linspace(0, 1, 8)
    # From far above ln 3 down to it: nothing was learned.
    still = means(1.0 + shift - (0.04 + max(shift - 0.1, 0)) * steps, 1.0 + 0.3 * steps)
    found = compared(still, learner(1.0, 8))
    assert not found.value.defined
    assert "it needs 0.05" in found.value.why


def test_a_method_whose_settled_loss_never_falls_is_not_compared() -> None:
    steps = np.linspace(0, 1, 8)
    found = compared(means(1.0 + 0.2 * steps, 1.0 + 0.6 * steps), learner(1.0, 8))
    # It was: at step 0 of both, where nothing has changed, a difference of exactly 0.
    assert not found.value.defined
    assert "learned 0.00 nats" in found.value.why


def test_points_too_far_apart_are_no_match() -> None:
    steps = np.arange(8.0)
    jagged = means(1.0 - 0.12 * steps, [1.0, 1.0, 1.0, 1.0, 1.0, 6.0, 1.0, 1.0])
    found = compared(jagged, means(1.0 - 0.1 * steps, 1 + 0.1 * steps))
    assert not found.value.defined
    assert "too far apart" in found.value.why


def test_reading_between_points_follows_the_cubic() -> None:
    u = np.linspace(0, 1, 8)
    settled, contested = 1 - u + 0.3 * u**2, 1 + u**3
    found = read_at(u, settled[None], contested[None], np.array([0.7]))
    # 1 - u + .3 u^2 = .7: u = (1 - sqrt(1 - .36)) / .6 = 1/3; a cubic is followed exactly, so + 1/27.
    assert found.progress[0] == pytest.approx(1 / 3, abs=1e-4)
    assert found.change[0] == pytest.approx(1 / 27, abs=1e-4)
    assert found.after[0] == 3


def test_the_first_time_counts_and_a_level_that_is_never_reached_is_undefined() -> None:
    u = np.linspace(0, 1, 4)
    settled = np.array([[1.0, 0.7, 0.9, 0.6]])
    found = read_at(u, settled, np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([0.85]))
    assert 0 < found.progress[0] < 1 / 3
    assert np.isnan(read_at(u, settled, settled, np.array([0.5])).change[0])
    assert read_at(u, settled, settled, np.array([1.0])).change[0] == 0.0


def test_a_match_where_little_was_learned_yet_is_none() -> None:
    """Both learn .06 nats in the end, and less than .05 where there are three points left to match at."""
    settled = [1.08, 1.07, 1.06, 1.05, 1.045, 1.035, 1.025, 1.02]
    found = compared(means(settled, np.linspace(1.1, 1.3, 8)), means(settled, np.linspace(1.1, 1.2, 8)))
    assert not found.value.defined
    assert "at an equal settled loss (1.0" in found.value.why
