"""Gap of learning times and paired differences, against SciPy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dissensus.errors import DataError
from dissensus.stats.comparisons import learning_gap, paired_difference

NAN, INF = float("nan"), float("inf")


def test_gap_is_welchs_and_d_is_pooled() -> None:
    # Variances 4 (n 3) and 1 (n 3): pooled 2.5, gap 6 - 2 = 4: d = 4 / sqrt(2.5).
    late, early = [4.0, 6.0, 8.0], [1.0, 2.0, 3.0]
    gap = learning_gap([*late, INF], [*early, INF, INF, NAN])
    expected = stats.ttest_ind(late, early, equal_var=False, alternative="greater")
    assert (gap.gap, gap.cohens_d) == pytest.approx((4.0, 4 / math.sqrt(2.5)))
    assert (gap.t, gap.df, gap.p_value) == pytest.approx((expected.statistic, expected.df, expected.pvalue))
    assert (gap.n_contested, gap.n_settled, gap.never_contested, gap.never_settled) == (3, 3, 1, 2)


def test_gap_of_too_few() -> None:
    assert math.isnan(learning_gap([INF], [1.0, 2.0]).gap)
    one = learning_gap([3.0], [1.0, 2.0])
    assert one.gap == 1.5
    assert math.isnan(one.p_value)
    assert math.isnan(learning_gap([1.0, 1.0], [1.0, 1.0]).t)


def test_pairs_are_joined_by_id() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.2, 1, 40), rng.normal(0, 1, 40)
    ids = [f"i{k}" for k in range(40)]
    order = rng.permutation(40)
    shuffled = [ids[k] for k in order] + ["other"]
    result = paired_difference(ids, first, shuffled, np.append(second[order], 1.0))
    signed = stats.wilcoxon(first, second, alternative="greater")
    student = stats.ttest_rel(first, second, alternative="greater")
    assert (result.wilcoxon, result.p_wilcoxon) == pytest.approx((signed.statistic, signed.pvalue))
    assert (result.t, result.p_t) == pytest.approx((student.statistic, student.pvalue))
    change = first - second
    assert (result.difference, result.cohens_d) == pytest.approx(
        (change.mean(), change.mean() / change.std(ddof=1))
    )
    assert (result.n, result.unpaired) == (40, 1)


def test_pairs_without_a_difference_or_a_partner() -> None:
    same = paired_difference(["a", "b"], [1.0, 2.0], ["b", "a"], [2.0, 1.0])
    assert (same.difference, same.sd) == (0.0, 0.0)
    assert math.isnan(same.p_wilcoxon)
    assert math.isnan(paired_difference(["a"], [NAN], ["a"], [1.0]).difference)
    with pytest.raises(DataError, match="'a' comes twice"):
        paired_difference(["a", "a"], [1.0, 2.0], ["a"], [1.0])
    with pytest.raises(DataError, match="1 ids"):
        paired_difference(["a"], [1.0, 2.0], ["a"], [1.0])
