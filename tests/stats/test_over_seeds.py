"""Sample sd, trend over ranks and concordance, against SciPy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dissensus.errors import DataError
from dissensus.stats.over_seeds import concordance, pairwise_spearman, rank_trend, sample_sd

NAN, INF = float("nan"), float("inf")


def test_sample_sd_divides_by_one_less() -> None:
    assert sample_sd([1.0, 2.0, 3.0, NAN]) == 1.0  # deviations -1, 0, 1; divisor 2
    assert math.isnan(sample_sd([1.0]))
    assert math.isnan(sample_sd([]))


def test_rank_trend_is_spearmans() -> None:
    ranks, rhos = [1, 2, 4, 8, 16, 32], [0.31, 0.30, 0.33, 0.27, 0.22, 0.25]
    expected = stats.spearmanr(ranks, rhos)
    trend = rank_trend(ranks, rhos)
    assert (trend.rho, trend.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    assert rank_trend([*ranks, 64], [*rhos, NAN]) == trend
    assert math.isnan(rank_trend([4, 16], [0.3, 0.2]).rho)


def test_concordance_by_hand_with_never_learned_tied_last() -> None:
    # Three examples, two seeds. Seed 1 ranks 1, 2.5, 2.5 (never, never); seed 2 ranks 1, 2, 3. Sums 2, 4.5, 5.5, mean
    # 4: S = 4 + .25 + 2.25 = 6.5. W = 12 * 6.5 / (4 * 24) = .8125; with ties T = 6: 78 / (96 - 2 * 6) = 78 / 84.
    result = concordance([[0, 1], [INF, 2], [INF, 3], [NAN, 1]])
    assert (result.w, result.w_ties) == pytest.approx((0.8125, 78 / 84))
    assert (result.n, result.dropped, result.seeds, result.df) == (3, 1, 2, 2)
    assert result.chi2 == pytest.approx(2 * 2 * 0.8125)
    assert result.p_value == pytest.approx(stats.chi2.sf(result.chi2, 2))


def test_concordance_with_ties_is_friedmans() -> None:
    times = np.random.default_rng(0).integers(0, 5, (12, 4)).astype(float)
    expected = stats.friedmanchisquare(*times)  # a row is what Friedman calls a treatment
    result = concordance(times)
    assert (result.chi2_ties, result.p_value_ties) == pytest.approx((expected.statistic, expected.pvalue))
    assert result.w < result.w_ties


def test_concordance_of_one_order_is_one_and_of_one_seed_undefined() -> None:
    order = np.arange(10.0)
    assert concordance(np.stack([order, 2 * order, order**3], axis=1)).w == pytest.approx(1.0)
    tied = np.array([0.0, 1, 1, 2, INF, INF])
    assert concordance(np.stack([tied, tied], axis=1)).w_ties == pytest.approx(1.0)
    for times in (order[:, None], np.empty((0, 3)), [[1.0, 2.0]]):
        assert math.isnan(concordance(times).w)
    assert math.isnan(concordance(np.ones((5, 2))).w_ties)
    with pytest.raises(DataError, match="examples by seeds"):
        concordance([1.0, 2.0])


def test_pairwise_spearman_is_scipys() -> None:
    times = np.random.default_rng(1).normal(size=(20, 3))
    assert pairwise_spearman(times) == pytest.approx(stats.spearmanr(times).statistic)
