"""The rule that turns estimates into verdicts, and the estimates' errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dissensus.study.claims.parts import Part, adjusted, estimated, part
from dissensus.study.claims.sampled import Sampled
from dissensus.study.claims.verdict import claim_verdict, judge, question


def made(value: float, se: float, *, smallest: float = 0.05, name: str = "a") -> Part:
    return estimated(name, value, se, float("inf"), smallest=smallest, confidence=0.95, seeds=1, cells=("c",))


def test_an_estimate_is_tested_against_zero_and_against_the_smallest_value_that_counts() -> None:
    one = made(0.1, 0.04)
    # z = 0.1 / 0.04 = 2.5; two-sided p = 0.0124; interval 0.1 -+ 1.96 x 0.04; (0.05 - 0.1) / 0.04 = -1.25 below.
    assert one.p == pytest.approx(2 * stats.norm.sf(2.5), rel=1e-6)
    assert (one.low, one.high) == pytest.approx((0.1 - 1.959964 * 0.04, 0.1 + 1.959964 * 0.04), abs=1e-6)
    assert one.p_below == pytest.approx(stats.norm.cdf(1.25), rel=1e-6)


def test_few_seeds_widen_the_interval_by_students_t() -> None:
    few = estimated("a", 1.0, 0.5, 2.0, smallest=0, confidence=0.95, seeds=3, cells=())
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


def test_undefined_parts_are_left_out_and_named() -> None:
    undefined = made(float("nan"), 0.1, name="gone")
    asked = question("q", "asks", "statistic", [undefined, made(0.3, 0.01, name="here")], level=0.05)
    assert [p.name for p in asked.parts] == ["here"]
    assert asked.undefined == ("gone",)
    limits = claim_verdict("C", "", [asked], finding="", level=0.05).limits
    assert "q: undefined for gone" in limits
    assert question("q", "a", "s", [undefined], level=0.05).verdict == "not testable here"


def test_the_error_is_the_spread_over_examples_and_seeds() -> None:
    rng = np.random.default_rng(0)
    examples = rng.normal(0, 0.03, 100_000)
    seeds = rng.normal(0, 0.04, 100_000)
    one = part(
        "a", Sampled(0.2, 0.2 + examples, 0.2 + examples + seeds, 3), smallest=0, confidence=0.95, cells=()
    )
    # sqrt(0.03^2 + 0.04^2) = 0.05; Satterthwaite: 0.05^4 / (0.04^4 / 2) = 4.88 degrees of freedom.
    assert one.se == pytest.approx(0.05, rel=0.01)
    assert one.df == pytest.approx(0.05**4 / (0.04**4 / 2), rel=0.03)
    alone = part("a", Sampled(0.2, examples, examples, 1), smallest=0, confidence=0.95, cells=())
    assert np.isinf(alone.df)


def test_a_statistic_that_most_resamples_leave_undefined_has_no_error() -> None:
    values = np.array([0.1, 0.2, np.nan, np.nan, np.nan])
    one = part("a", Sampled(0.1, values, values, 1), smallest=0, confidence=0.95, cells=())
    assert not one.defined
    assert np.isnan(one.se)


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
