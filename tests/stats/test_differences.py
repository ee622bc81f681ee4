from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dissensus.errors import DataError
from dissensus.stats import mean_difference

NAN = float("nan")


def test_known_value():
    # contested: (1 + 3) / 2 = 2; settled: (0.5 + 0) / 2 = 0.25
    groups = ["contested", "contested", "middle", "settled", "settled", "settled", ""]
    result = mean_difference([1, 3, 100, 0.5, 0, NAN, 100], groups)
    assert (result.difference, result.mean_first, result.mean_second) == (1.75, 2.0, 0.25)
    assert (result.n_first, result.n_second, result.dropped) == (2, 2, 1)
    turned = mean_difference([1, 3, 100, 0.5, 0, NAN, 100], groups, first="settled", second="contested")
    assert turned.difference == -1.75


def test_an_empty_group_gives_nan():
    result = mean_difference([1.0, 2.0, NAN], ["contested", "contested", "settled"])
    assert np.isnan([result.difference, result.low, result.high, result.mean_second]).all()
    assert (result.mean_first, result.n_second, result.dropped) == (1.5, 0, 1)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    # True difference 0.5. 400 samples: the standard error of a coverage of 0.9 is 0.015.
    rng = np.random.default_rng(0)
    groups = np.repeat(["contested", "settled"], [60, 80])
    covered = 0
    for _ in range(400):
        values = np.concatenate([rng.normal(0.5, 1, 60), rng.exponential(1, 80) - 1])
        result = mean_difference(values, groups, confidence=0.9)
        covered += result.low <= 0.5 <= result.high
    assert 0.85 <= covered / 400 <= 0.95


def test_clusters_in_both_groups():
    # Each cluster shifts its members of both groups alike, so the shift cancels in the difference, which is then much
    # better known than by rows; ten copies of each row, on the other hand, add no knowledge.
    rng = np.random.default_rng(1)
    shift = rng.normal(0, 3, 50)
    noise = rng.normal(0, 0.1, 100)
    values = np.concatenate([shift + 1, shift]) + noise
    groups = np.repeat(["contested", "settled"], 50)
    clusters = np.tile(np.arange(50), 2)
    rows = mean_difference(values, groups)
    whole = mean_difference(values, groups, clusters=clusters)
    assert whole.difference == rows.difference == pytest.approx(1, abs=0.1)
    # standard error by rows sqrt(9 / 50 + 9 / 50) = 0.6, by cluster 0.1 x sqrt(2 / 50) = 0.02
    assert (rows.high - rows.low) / 3.92 == pytest.approx(0.6, rel=0.3)
    assert (whole.high - whole.low) / 3.92 == pytest.approx(0.02, rel=0.3)


def test_without_clusters_it_is_welchs_t_test():
    rng = np.random.default_rng(2)
    first, second = rng.normal(0.5, 1, 30), rng.exponential(2, 45)
    groups = np.repeat(["contested", "settled"], [30, 45])
    found = mean_difference(np.concatenate([first, second]), groups)
    theirs = stats.ttest_ind(first, second, equal_var=False)
    interval = theirs.confidence_interval(0.95)
    # The jackknife's (G - 1) / G is of both groups together, Welch's of each: 74/75 against 29/30 and 44/45.
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.01)
    assert np.log10(found.p_value) == pytest.approx(np.log10(theirs.pvalue), abs=0.1)
    assert found.df == pytest.approx(theirs.df, rel=0.01)
    assert (found.units, found.withheld) == (75, "")


def test_few_clusters_have_no_interval():
    values, groups = np.arange(60.0), ["contested", "settled"] * 30
    few = mean_difference(values, groups, clusters=np.arange(60) % 19)
    assert few.difference == -1.0
    assert np.isnan([few.low, few.high, few.p_value]).all()
    assert few.withheld == "19 clusters of the contested group; an interval needs 20 at least"
    lopsided = mean_difference(values, np.repeat(["contested", "settled"], [41, 19]))
    assert lopsided.withheld == "19 examples of the settled group; an interval needs 20 at least"
    assert mean_difference(values, np.repeat(["contested", "settled"], [40, 20])).withheld == ""
    assert mean_difference(values, groups, clusters=np.arange(60) // 3).withheld == ""


def test_bad_arguments_are_explained():
    with pytest.raises(DataError, match=r"groups has shape \(1,\); expected .* shape \(2,\)"):
        mean_difference([1.0, 2.0], ["contested"])
