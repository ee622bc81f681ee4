"""Spacing tracking points by a budget of time: worked out by hand, and what must hold whatever the times are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dissensus.errors import SpecError
from dissensus.record.budget import Budget, Timing, cost


def test_points_by_hand() -> None:
    """4 of 100 steps took 4 s, so the run takes 100 s, a tenth is 10 s, and nine tenths of those are planned with.

    The first pass took 2 s: 7 s are left, three passes. One is for step 100, two are spread over 96 steps: every 32.
    """
    budget = Budget(0.1, 100, most=20)
    assert budget.decides_at == 4
    assert budget.rest(4, [0], Timing(2.0, 4.0), 2.0) == (36, 68, 100)
    # Passes turn out to take twice as long: after the second, 6 s are spent and 3 s left, which is none.
    assert budget.rest(28, [0, 28], Timing(6.0, 28.0), 4.0) == (100,)
    # Training turns out to take 200 s: 18 s are planned with, 14 left, 7 passes: one every 72 / 7 steps.
    assert budget.rest(28, [0, 28], Timing(4.0, 56.0), 2.0) == (38, 49, 59, 69, 79, 90, 100)


def test_no_more_points_than_asked_for() -> None:
    budget = Budget(1.0, 100, most=5)
    assert budget.rest(4, [0], Timing(0.1, 4.0), 0.1) == (28, 52, 76, 100)


def test_the_last_point_is_kept_when_nothing_is_left() -> None:
    budget = Budget(0.1, 100, most=20)
    timing = Timing(50.0, 4.0)
    assert budget.rest(4, [0], timing, 50.0) == (100,)
    assert not budget.within(timing, 4, 50.0)
    assert budget.within(Timing(2.0, 4.0), 4, 2.0)
    assert budget.rest(100, [0, 100], timing, 50.0) == ()


@given(
    share=st.floats(0.001, 1),
    total=st.integers(1, 500),
    most=st.integers(2, 30),
    pass_seconds=st.floats(0.001, 100),
    step_seconds=st.floats(0.001, 100),
)
def test_a_steady_run_stays_within_its_budget(
    share: float, total: int, most: int, pass_seconds: float, step_seconds: float
) -> None:
    """With constant times: the points rise, end at the last step, and cost no more than allowed beyond the two kept."""
    budget = Budget(share, total, most)
    taken = [0]
    plan: tuple[int, ...] = ()
    for step in range(1, total + 1):
        if step == budget.decides_at:
            plan = budget.rest(step, taken, Timing(pass_seconds, step * step_seconds), pass_seconds)
        if step == total or step in plan:
            taken.append(step)
            spent = len(taken) * pass_seconds
            plan = budget.rest(step, taken, Timing(spent, step * step_seconds), pass_seconds)
            assert list(plan) == sorted(set(plan))
    assert taken[-1] == total
    assert len(taken) <= max(2, most)
    assert len(taken) == 2 or len(taken) * pass_seconds <= share * total * step_seconds * (1 + 1e-9)


@pytest.mark.parametrize("training", [0.0, -1e-9, 2e-6, 0.0099])
def test_no_share_of_a_time_that_is_too_short(training: float) -> None:
    """Four steps of half a microsecond each came out as "about 500000 times the training time"."""
    timing = Timing(0.2, training)
    assert not timing.measurable
    assert cost(timing, 4, 0.05, points=20, total_steps=100, examples=300) == (
        "recording 300 examples at 20 tracking points takes 0.05 s a pass; what that is beside the training cannot be "
        "said: the first 4 training steps together took less than 10 ms, too short to time"
    )
    assert Timing(0.2, 0.0101).measurable


def test_what_recording_will_cost_by_hand() -> None:
    """2 steps took 1 s: 100 take 50 s. 20 passes of 1 s are 40 % of that; of 5 s, twice that; of 0.2 s, 8 %."""
    said = [cost(Timing(p, 1.0), 2, p, points=20, total_steps=100, examples=300) for p in (1.0, 5.0, 0.2)]
    assert said[0] == (
        "recording 300 examples at 20 tracking points will take about 40% of the training time (1.00 s a pass, 0.500 s "
        "a training step); max_overhead=0.10 would keep it to a tenth, with fewer points"
    )
    assert "about 2.0 times the training time" in said[1]
    assert "about 8% of the training time" in said[2]
    assert "max_overhead" not in said[2]


@pytest.mark.parametrize(("share", "meant"), [(10, "0.10"), (25.0, "0.25"), (1.5, "0.01"), (500, None)])
def test_percents_are_no_share(share: float, meant: str | None) -> None:
    """10 was taken for 1000 %."""
    with pytest.raises(SpecError, match=r"at most 1, such as 0\.10") as told:
        Budget(share, 10, 5)
    assert (f"did you mean {meant}?" in str(told.value)) == (meant is not None)


@pytest.mark.parametrize("share", [0.0, -1.0, math.nan, math.inf])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(SpecError, match=r"max_overhead is .*; expected a share of the training time above 0"):
        Budget(share, 10, 5)
