from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dissensus.config import RunSpec, TrainingSpec
from dissensus.errors import SpecError
from dissensus.record.schedule import cell_points, learning_rate_factor, total_steps, tracking_steps


@given(st.integers(1, 5000), st.integers(2, 60), st.sampled_from(["linear", "log"]))
def test_first_and_last_are_always_tracked(total: int, points: int, schedule: str) -> None:
    steps = tracking_steps(total, points=points, schedule=schedule)  # type: ignore[arg-type]
    assert steps[0] == 0
    assert steps[-1] == total
    assert list(steps) == sorted(set(steps))
    assert len(steps) <= points


def test_known_schedules() -> None:
    assert tracking_steps(100, points=5) == (0, 25, 50, 75, 100)
    # 1 + s = 1, 3, 9, 27, 81: evenly spaced in the logarithm.
    assert tracking_steps(80, points=5, schedule="log") == (0, 2, 8, 26, 80)
    assert tracking_steps(80, steps=(7, 3, 7)) == (0, 3, 7, 80)
    assert tracking_steps(2, points=20) == (0, 1, 2)


@pytest.mark.parametrize(
    ("total", "options", "message"),
    [
        (0, {}, "at least 1"),
        (10, {"points": 1}, "at least 2"),
        (10, {"steps": (11,)}, "0 to 10"),
        (10, {"schedule": "cubic"}, "'linear' or 'log'"),
    ],
)
def test_impossible_schedules_are_refused(total: int, options: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        tracking_steps(total, **options)  # type: ignore[arg-type]


def test_learning_rate_rises_then_falls() -> None:
    # 100 steps, a tenth of them warm-up: step 5 has half the peak, step 10 the peak, then 90 equal falls.
    factors = [learning_rate_factor(s, 100, TrainingSpec(warmup=0.1)) for s in range(1, 101)]
    assert factors[4] == 0.5
    assert factors[9] == factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert factors[-1] == pytest.approx(1 / 90)
    cosine = [learning_rate_factor(s, 100, TrainingSpec(warmup=0.1, decay="cosine")) for s in range(1, 101)]
    assert cosine[55] == pytest.approx(0.5)
    assert cosine[20] > factors[20]
    assert math.isclose(learning_rate_factor(100, 100, TrainingSpec(warmup=0.0, decay="constant")), 1.0)
    assert all(0 < f <= 1 for f in factors + cosine)


def test_the_papers_schedule_has_its_known_sum_and_floor() -> None:
    # 3,315 updates: 198 of warm-up from 0, a floor of .1 from update 2,677 on (counted from 0), a sum of 1,700.
    spec = TrainingSpec(warmup=0.06, warmup_from="zero", decay="cosine", min_factor=0.1)
    factors = [learning_rate_factor(step, 3315, spec) for step in range(1, 3316)]
    assert factors[0] == 0
    assert factors[1] == pytest.approx(1 / 198)
    assert factors[198] == 1
    assert factors[2676] > 0.1
    assert set(factors[2677:]) == {0.1}
    assert sum(factors) == pytest.approx(1700, abs=1)


@pytest.mark.parametrize(("examples", "steps"), [(21211, 3315), (21279, 3325)])
def test_the_papers_tracking_points_are_39(examples: int, steps: int) -> None:
    cell = RunSpec.parse(
        {
            "dataset": {"name": "d", "tracked": {"source": "simulated"}},
            "model": {"name": "minilm-l6"},
            "method": {"name": "full", "learning_rate": 2e-5},
            "regime": "trained_on",
            "training": {"epochs": 5},
            "tracking": {"every": 100, "epoch_ends": True},
        },
        "test",
    )
    assert total_steps(examples, cell.training) == steps
    points = cell_points(steps, examples, cell)
    assert len(points) == 39
    assert points[:2] == (0, 100)
    assert steps // 5 in points
    assert points[-1] == steps
