"""In at least how many places an effect is shown."""

from __future__ import annotations

import numpy as np
import pytest

from dissensus.analysis.claims.c5_replication import at_least, shown_in


def test_p_values_by_hand() -> None:
    p = [0.04, 0.001, 0.2]
    # (n - r + 1) p_(r): 3 x .001, 2 x .04, 1 x .2.
    assert [at_least(p, r) for r in (1, 2, 3)] == pytest.approx([0.003, 0.08, 0.2])
    assert at_least([0.9, 0.8], 1) == 1.0


def test_the_count_stops_at_the_first_that_is_not_shown() -> None:
    assert shown_in([0.001, 0.002, 0.003], 0.025) == 3
    assert shown_in([0.001, 0.002, 0.2], 0.025) == 2
    assert shown_in([0.001, 0.02, 0.02], 0.025) == 1  # 2 x .02 is above the level, though 1 x .02 is not
    assert shown_in([0.5, 0.6], 0.025) == 0
    assert shown_in([], 0.025) == 0


def test_two_of_three_are_claimed_by_chance_no_more_than_the_level() -> None:
    rng = np.random.default_rng(0)
    # One effect is there, two are not: "at least two" is false.
    false = [shown_in([1e-6, *rng.random(2)], 0.025) >= 2 for _ in range(4000)]
    assert np.mean(false) <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / 4000)
