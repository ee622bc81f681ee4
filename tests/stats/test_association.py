"""Kendall's tau-b and rho within classes, against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dissensus.errors import DataError
from dissensus.stats.association import kendall_tau_b, rho_by_class

NAN, INF = float("nan"), float("inf")


def test_tau_b_by_hand() -> None:
    # x 1 2 2 3, y 1 3 2 2: of 6 pairs, concordant: (1,2) (1,2') (1,3); discordant: (2, 3). Tied in x: (2, 2'); tied
    # in y: (2', 3). tau-b = (3 - 1) / sqrt(5 * 5) = 0.4.
    assert kendall_tau_b([1, 2, 2, 3], [1, 3, 2, 2]).tau == pytest.approx(0.4)


def test_tau_b_is_scipys_and_leaves_out_what_is_not_known() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, 80).astype(float), rng.normal(size=80)
    expected = stats.kendalltau(x, y)
    x, y = np.append(x, [NAN, 2.0]), np.append(y, [0.0, NAN])
    tau = kendall_tau_b(x, y)
    assert (tau.tau, tau.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    assert (tau.n, tau.dropped) == (80, 2)


def test_infinite_values_rank_last_and_constants_have_no_tau() -> None:
    assert kendall_tau_b([1, 2, 3, 4], [1, 2, INF, INF]) == kendall_tau_b([1, 2, 3, 4], [1, 2, 9, 9])
    for x, y in (([1, 1, 1], [1, 2, 3]), ([INF, INF], [1, 2]), ([1], [1]), ([], [])):
        tau = kendall_tau_b(x, y)
        assert math.isnan(tau.tau)
        assert math.isnan(tau.p_value)
    with pytest.raises(DataError):
        kendall_tau_b([1, 2], [1])


def test_rho_by_class_ranks_within_each_class() -> None:
    rng = np.random.default_rng(1)
    x, y, classes = rng.normal(size=60), rng.normal(size=60), np.repeat([0, 1, 2, -1], [30, 20, 5, 5])
    y[0] = NAN
    rhos = rho_by_class(x, y, classes)
    assert [(one.label, one.n) for one in rhos] == [(0, 29), (1, 20), (2, 5)]
    first = stats.spearmanr(x[1:30], y[1:30])
    assert (rhos[0].rho, rhos[0].p_value) == pytest.approx((first.statistic, first.pvalue))
    assert rhos[1].rho == pytest.approx(stats.spearmanr(x[30:50], y[30:50]).statistic)
    assert math.isnan(rhos[2].rho)
    assert rho_by_class(x, y, classes, least=3)[2].rho == pytest.approx(
        stats.spearmanr(x[50:55], y[50:55]).statistic
    )
