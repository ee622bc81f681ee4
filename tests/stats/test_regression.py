"""Incremental R2 against SciPy's linear regression and a regression written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dissensus.stats.regression import incremental_r2

RNG = np.random.default_rng(0)
A, B, H = RNG.normal(size=(3, 50))
Y = A + 0.5 * B + 0.8 * H + RNG.normal(size=50)


def r2(*columns: np.ndarray) -> float:
    matrix = np.stack([np.ones(50), *columns], axis=1)
    left = Y - matrix @ np.linalg.lstsq(matrix, Y)[0]
    return 1 - float(left @ left) / float(((Y - Y.mean()) ** 2).sum())


def test_increment_and_f_are_the_textbooks() -> None:
    result = incremental_r2(Y, {"a": A, "b": B}, {"h": H})
    assert (result.r2_base, result.r2_full) == pytest.approx((r2(A, B), r2(A, B, H)))
    f = (r2(A, B, H) - r2(A, B)) / ((1 - r2(A, B, H)) / 46)
    assert (result.f, result.df1, result.df2) == (
        pytest.approx(f),
        1,
        46,
    )  # df2 = n - 4 with three predictors
    assert result.p_value == pytest.approx(stats.f.sf(f, 1, 46))


def test_without_covariates_p_is_that_of_a_simple_regression() -> None:
    result, line = incremental_r2(Y, {}, {"h": H}), stats.linregress(H, Y)
    assert (result.r2_base, result.r2_full) == pytest.approx((0.0, line.rvalue**2))
    assert result.p_value == pytest.approx(line.pvalue)


def test_classes_are_indicators_and_what_others_determine_brings_nothing() -> None:
    gold = np.arange(50) % 3
    result = incremental_r2(Y, {"gold": gold}, {"h": H})
    assert result.df2 == 50 - 1 - 3
    assert result.r2_base == pytest.approx(r2(gold == 1.0, gold == 2.0))
    same = incremental_r2(Y, {"h": H}, {"twice": 2 * H})
    assert (same.df1, same.increment) == (0, pytest.approx(0.0))
    assert math.isnan(same.f)


def test_never_learned_is_dropped_and_a_constant_has_no_r2() -> None:
    y = np.where(np.arange(50) < 5, np.inf, Y)
    result = incremental_r2(y, {"a": A}, {"h": H})
    assert (result.n, result.dropped) == (45, 5)
    assert math.isnan(incremental_r2(np.ones(50), {"a": A}, {"h": H}).r2_full)
    exact = incremental_r2(2 * H, {"a": A}, {"h": H})
    assert (exact.r2_full, exact.p_value) == (pytest.approx(1.0), 0.0)
