"""The rule that turns estimates into verdicts, and the estimates' errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dissensus.analysis.claims.parts import ABOVE_CHANCE, FISHER, Part, adjusted, estimated, part
from dissensus.analysis.claims.sampled import ConditionValue
from dissensus.analysis.claims.sum_error import SumError
from dissensus.analysis.claims.verdict import claim_verdict, judge, question


def made(value: float, se: float, *, smallest: float = 0.05, name: str = "a") -> Part:
    error = SumError.of([(se**2, float("inf"))])
    return estimated(name, value, error, smallest=smallest, confidence=0.95, seeds=1, cells=("c",))


def resampled(value: float, values: np.ndarray, clusters: int = 100) -> ConditionValue:
    return ConditionValue("a", {0: value}, values, clusters, ("c",))


def test_an_estimate_is_tested_against_zero_and_against_the_smallest_value_that_counts() -> None:
    one = made(0.1, 0.04)
    # z = 0.1 / 0.04 = 2.5; two-sided p = 0.0124; interval 0.1 -+ 1.96 x 0.04; (0.05 - 0.1) / 0.04 = -1.25 below.
    assert one.p == pytest.approx(2 * stats.norm.sf(2.5), rel=1e-6)
    assert (one.low, one.high) == pytest.approx((0.1 - 1.959964 * 0.04, 0.1 + 1.959964 * 0.04), abs=1e-6)
    assert one.p_below == pytest.approx(stats.norm.cdf(1.25), rel=1e-6)


def test_few_seeds_widen_the_interval_by_students_t() -> None:
    few = estimated("a", 1.0, SumError.of([(0.25, 2.0)]), smallest=0, confidence=0.95, seeds=3, cells=())
    assert few.high == pytest.approx(1 + stats.t.ppf(0.975, 2) * 0.5)
    assert few.p == pytest.approx(2 * stats.t.sf(2, 2))


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ([], "not testable here"),
        ([(0.2, 0.02), (0.3, 0.02)], "supported"),
        # Shown above 0 though below the smallest value that counts: not against the claim.
        ([(0.03, 0.005), (0.3, 0.02)], "supported"),
        ([(0.2, 0.02), (-0.2, 0.02)], "contradicted"),
        # An effect that is shown to be smaller than any that counts.
        ([(0.2, 0.02), (0.0, 0.01)], "contradicted"),
        ([(0.2, 0.02), (0.03, 0.04)], "inconclusive"),
    ],
)
def test_the_rule(parts: list[tuple[float, float]], verdict: str) -> None:
    assert judge([made(*p) for p in parts], 0.05) == verdict


def test_support_needs_every_part_after_holms_adjustment() -> None:
    # p = 0.03 each: alone below 0.05, adjusted over two 0.06.
    se = 0.1 / stats.norm.isf(0.015)
    assert judge([made(0.1, se)], 0.05) == "supported"
    assert judge([made(0.1, se), made(0.1, se)], 0.05) == "inconclusive"
    assert [p.p_holm for p in adjusted([made(0.1, se), made(0.1, se)])] == pytest.approx([0.06, 0.06])
    assert [p.p_bh for p in adjusted([made(0.1, se), made(0.1, se)])] == pytest.approx([0.03, 0.03])


def test_contradiction_is_adjusted_too() -> None:
    # One-sided p of being at least 0.05 is 0.02: below half the level alone, not among three.
    low = made(0.05 - 0.1 * stats.norm.isf(0.02), 0.1)
    assert judge([low], 0.05) == "contradicted"
    unclear = made(0.2, 0.2)
    assert judge([low, unclear, unclear], 0.05) == "inconclusive"
    asked = question("q", "", "", [made(-1, 0.1, name="bad"), made(1, 0.1, name="good")], level=0.05)
    told = claim_verdict("C", "", [asked], finding="", level=0.05).would_change
    assert told.startswith("bad (−1.000, interval −1.196 to −0.804) would have to be at least 0.05")


def test_a_claim_is_not_supported_while_a_number_is_missing() -> None:
    undefined = made(float("nan"), 0.1, name="gone")
    asked = question("q", "asks", "statistic", [undefined, made(0.3, 0.01, name="here")], level=0.05)
    assert [p.name for p in asked.parts] == ["here"]
    assert asked.undefined == ("gone (not defined)",)
    found = claim_verdict("C", "", [asked], finding="", level=0.05)
    # Before, the missing number was passed over and the claim called supported.
    assert asked.verdict == found.verdict == "inconclusive"
    assert any("gone (not defined)" in limit for limit in found.limits)
    assert "gone (not defined)" in found.would_change
    assert question("q", "a", "s", [undefined], level=0.05).verdict == "not testable here"
    low = question("q", "a", "s", [undefined, made(-0.3, 0.01)], level=0.05)
    assert claim_verdict("C", "", [low], finding="", level=0.05).verdict == "contradicted"


def test_a_needed_question_that_is_not_testable_bars_support() -> None:
    good = question("good", "", "", [made(0.3, 0.01)], level=0.05)
    lacking = question("match", "", "", [], level=0.05, needed=True, note="3 tracking points")
    found = claim_verdict("C", "", [good, lacking], finding="", level=0.05)
    assert found.verdict == "inconclusive"
    assert "match (3 tracking points)" in found.would_change


def test_a_spared_number_does_not_count_against_the_claim() -> None:
    from dataclasses import replace

    low = made(-0.3, 0.01)
    assert judge([low], 0.05) == "contradicted"
    assert judge([replace(low, spared="it rises from its lowest point")], 0.05) == "inconclusive"


@pytest.mark.parametrize("clusters", [1, 12, 19])
def test_few_clusters_give_an_estimate_and_no_interval(clusters: int) -> None:
    values = np.random.default_rng(0).normal(-0.14, 1e-9, 200)
    one = part("a", [resampled(-0.14, values, clusters)], smallest=0.05, confidence=0.95, scale=FISHER)
    assert (one.value, one.clusters, one.defined) == (-0.14, clusters, False)
    assert str(clusters) in one.withheld
    assert "20" in one.withheld
    asked = question("q", "", "", [one], level=0.05)
    assert asked.verdict == "not testable here"
    assert "−0.140" in asked.undefined[0]


def test_a_perfect_area_is_a_strong_result_with_a_finite_interval() -> None:
    from dissensus.analysis.claims.c6_label_noise import _least_error

    perfect = ConditionValue(
        "a", {0: 0.5}, np.full(200, 0.5), 40, ("c",), least_se=_least_error(1.0, 40, 160)
    )
    one = part("a", [perfect], smallest=0.05, confidence=0.95, scale=ABOVE_CHANCE)
    assert one.value == one.high == 0.5
    assert 0.35 < one.low < 0.5
    assert one.p < 1e-3
    # Hanley and McNeil at 1 - 0.5 / 41, of the logit: by their formula, written out.
    a = 1 - 0.5 / 41
    q1, q2 = a / (2 - a), 2 * a**2 / (1 + a)
    variance = (a * (1 - a) + 39 * (q1 - a**2) + 159 * (q2 - a**2)) / (40 * 160)
    assert _least_error(1.0, 40, 160) == pytest.approx(np.sqrt(variance) / (a * (1 - a)))


def test_a_perfect_correlation_has_fishers_error() -> None:
    one = part("a", [resampled(1.0, np.ones(200), 53)], smallest=0.05, confidence=0.95, scale=FISHER)
    # z at 1 - 1/54, standard error 1 / sqrt(50), 52 degrees of freedom.
    z = np.arctanh(1 - 1 / 54) - stats.t.ppf(0.975, 52) / np.sqrt(50)
    assert one.low == pytest.approx(np.tanh(z))
    assert one.high == 1.0


def test_correlations_are_judged_on_fishers_scale() -> None:
    values = np.tanh(np.random.default_rng(0).normal(np.arctanh(0.8), 0.1, 100_000))
    one = part("a", [resampled(0.8, values, 100)], smallest=0.05, confidence=0.95, scale=FISHER)
    reach = stats.t.ppf(0.975, 99) * 0.1 * np.sqrt(100 / 99)
    assert (one.low, one.high) == pytest.approx(
        (np.tanh(np.arctanh(0.8) - reach), np.tanh(np.arctanh(0.8) + reach)), abs=2e-3
    )


def test_the_same_change_in_every_resample_is_not_judged() -> None:
    one = part("a", [resampled(0.0, np.zeros(200))], smallest=0.05, confidence=0.95)
    assert not one.defined
    assert "nothing says how sure" in one.withheld


def test_a_statistic_that_most_resamples_leave_undefined_has_no_error() -> None:
    values = np.array([0.1, 0.2, np.nan, np.nan, np.nan])
    one = part("a", [resampled(0.1, values)], smallest=0, confidence=0.95)
    assert not one.defined
    assert "half of the resamples" in one.withheld


def test_a_claim_rests_on_its_deciding_questions_alone() -> None:
    good = question("good", "", "", [made(0.3, 0.01)], level=0.05)
    beside = question("beside", "", "", [made(-0.3, 0.01)], level=0.05, decides=False)
    empty = question("empty", "", "", [], level=0.05, note="no such cells")
    found = claim_verdict("C", "says", [good, beside, empty], finding="f", level=0.05)
    assert found.verdict == "supported"
    assert any("empty: not testable here (no such cells)" in limit for limit in found.limits)
    assert any("one seed" in limit for limit in found.limits)
    assert claim_verdict("C", "says", [empty], finding="f", level=0.05).verdict == "not testable here"
    assert found.cells == ("c",)
