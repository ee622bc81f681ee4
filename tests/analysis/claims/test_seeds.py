"""What seeds add to an estimate's variance, and what a condition with one seed borrows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dissensus.analysis.claims.parts import Part, part
from dissensus.analysis.claims.sampled import CellValue, ConditionValue
from dissensus.analysis.claims.seeds import SeedSpread
from dissensus.analysis.claims.sum_error import SumError


def test_a_complete_grid_has_the_variance_of_the_seeds_means() -> None:
    conditions = [{0: 0.1, 1: 0.3, 2: 0.5}, {0: 0.0, 1: 0.4, 2: 0.2}]
    spread = SeedSpread.of(conditions)
    assert spread is not None
    # Deviations (-.2, 0, .2) and (-.2, .2, 0); means (-.2, .1, .1): variance (.04 + .01 + .01) / 2 = .03.
    assert spread.common == pytest.approx(0.03)
    # What is left: 0, -.1, .1 and 0, .1, -.1: 4 x .01 / (1 x 2) = .02.
    assert spread.own == pytest.approx(0.02)
    weights = [(seed, 1 / 6) for own in conditions for seed in own]
    # A = 3 (1/3)^2 = 1/3, B = 6 / 36 = 1/6 = A / M: the variance of a mean of three seeds, .03 / 3, and nothing else.
    ((variance, df),) = spread.variances(weights)
    assert (variance, df) == (pytest.approx(0.01), 2)


def test_a_condition_with_one_seed_borrows_the_whole_variance_of_a_value() -> None:
    spread = SeedSpread.of([{0: 0.1, 1: 0.3, 2: 0.5}, {0: 0.0, 1: 0.4, 2: 0.2}])
    assert spread is not None
    # A = B = 1: q + (1 - 1/2) r = .03 + .01, the mean variance of one value ((.04 + .04) / 2).
    terms = spread.variances([(7, 1.0)])
    assert sum(variance for variance, _ in terms) == pytest.approx(0.04)
    assert [df for _, df in terms] == [2, 2]


def test_one_condition_with_seeds_tells_of_all_of_them_together() -> None:
    spread = SeedSpread.of([{0: 0.1, 1: 0.3, 2: 0.5}, {0: 0.2}, {0: 0.3}])
    assert spread is not None
    assert (spread.common, spread.own, spread.conditions) == (pytest.approx(0.04), 0.0, 1)
    # What seeds share and what they do not is one number here, taken as shared: W(0) = (1 + 1/3 + 1) / 3 = 7/9.
    weights = [(0, 1 / 9), (1, 1 / 9), (2, 1 / 9), (0, 1 / 3), (0, 1 / 3)]
    ((variance, _),) = spread.variances(weights)
    assert variance == pytest.approx(0.04 * ((7 / 9) ** 2 + 2 / 81))
    assert SeedSpread.of([{0: 0.1}, {0: 0.2}]) is None


def test_critical_values_are_averaged_by_variance() -> None:
    error = SumError.of([(3.0, 2.0), (1.0, 40.0), (0.0, 1.0)])
    assert error.se == pytest.approx(2.0)
    assert error.critical(0.025) == pytest.approx((3 * stats.t.ppf(0.975, 2) + stats.t.ppf(0.975, 40)) / 4)
    assert error.tail(error.critical(0.025)) == pytest.approx(0.025)
    assert error.tail(-error.critical(0.025)) == pytest.approx(0.975)
    assert error.tail(0.0) == pytest.approx(0.5)
    assert stats.t.ppf(0.975, error.df(0.95)) == pytest.approx(error.critical(0.025))
    assert SumError.of([(2.0, 5.0)]).tail(1.3) == pytest.approx(stats.t.sf(1.3, 5))


def drawn(seeds: list[tuple[int, ...]], rng: np.random.Generator) -> Part:
    """A mean whose truth is 0: a seed adds .03 to all conditions, .03 to each; examples add .02."""
    shared = rng.normal(0, 0.03, 3)
    example, spread = rng.normal(0, 0.02), 0.02 * np.sqrt(rng.chisquare(59) / 59)
    resampled = rng.normal(0, spread * np.sqrt(59 / 60), 100)
    conditions = []
    for number, own in enumerate(seeds):
        values = {s: CellValue(shared[s] + rng.normal(0, 0.03) + example, resampled, 60) for s in own}
        conditions.append(ConditionValue.of(f"c{number}", values, ("cell",)))
    return part("mean", conditions, smallest=0.0, confidence=0.95)


@pytest.mark.parametrize(
    "seeds",
    [
        [(0, 1, 2)] * 4,
        [(0, 1, 2)] + [(0,)] * 7,  # the variance of seeds was that of one condition in eight
        [(0, 1, 2)] * 2 + [(0,)] * 2,
        [(0, 1, 2)],
        [(0, 1)] * 2 + [(0,)] * 2,
    ],
)
def test_means_cover_whatever_the_seeds_behind_them(seeds: list[tuple[int, ...]]) -> None:
    rng = np.random.default_rng(3)
    found = [drawn(seeds, rng) for _ in range(400)]
    covered = np.mean([one.low <= 0 <= one.high for one in found])
    # 400 trials of 95%: three standard errors are 3.3%.
    assert covered >= 0.917


def test_without_any_second_seed_the_interval_is_about_examples() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.1, 5000)
    alone = ConditionValue.of("a", {0: CellValue(0.3, values, 50)}, ("c",))
    found = part("a", [alone], smallest=0.0, confidence=0.95)
    assert found.seeds == 1
    assert found.se == pytest.approx(0.1 * np.sqrt(50 / 49), rel=0.03)
    assert found.df == pytest.approx(49)
    several = ConditionValue.of(
        "b", {s: CellValue(v, values, 50) for s, v in enumerate((0.1, 0.2, 0.6))}, ("d", "e", "f")
    )
    borrowed = part("a", [alone], smallest=0.0, confidence=0.95, pool=[alone, several])
    assert borrowed.se == pytest.approx(np.sqrt(found.se**2 + np.var([0.1, 0.2, 0.6], ddof=1)))
    assert "1 condition" in borrowed.note


def test_a_condition_is_the_mean_of_its_seeds_that_are_defined() -> None:
    gone = CellValue(float("nan"), np.full(3, np.nan), 0, why="no start")
    found = ConditionValue.of(
        "a", {0: CellValue(0.2, np.ones(3), 30), 1: gone, 2: CellValue(0.4, np.zeros(3), 25)}, ()
    )
    assert (found.value, found.clusters, dict(found.by_seed)) == (pytest.approx(0.3), 25, {0: 0.2, 2: 0.4})
    np.testing.assert_array_equal(found.resampled, [0.5] * 3)
    nothing = ConditionValue.of("b", {0: gone}, ())
    assert np.isnan(nothing.value)
    assert nothing.why == "no start"
