"""Adjusting p-values for the number of tests. An undefined p-value (NaN) is no test and stays NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dissensus.errors import DataError
from dissensus.stats.bootstrap import FloatArray
from dissensus.stats.columns import numeric_columns


def holm(p: ArrayLike) -> FloatArray:
    """Holm's step-down adjustment (Holm, 1979): controls the chance of any false rejection, under any
    dependence.

    The i-th smallest of m p-values becomes the largest, over j up to i, of (m - j + 1) p_j, at most 1. NaN
    stays NaN and does not count towards m.

    Args:
        p: shape (m,), in [0, 1] or NaN.

    Returns:
        Adjusted p-values, shape (m,): reject those below the level.

    Raises:
        DataError: a value is outside [0, 1].
    """
    values, order = _sorted(p)
    m = len(order)
    adjusted = np.maximum.accumulate(values[order] * np.arange(m, 0, -1)) if m else values[order]
    return _spread(values, order, adjusted)


def benjamini_hochberg(p: ArrayLike) -> FloatArray:
    """Benjamini and Hochberg's step-up adjustment (1995): controls the expected share of false rejections.

    The i-th smallest of m p-values becomes the smallest, over j from i on, of p_j m / j, at most 1. Valid
    for independent and positively dependent tests. NaN stays NaN and does not count towards m.

    Args:
        p: shape (m,), in [0, 1] or NaN.

    Returns:
        Adjusted p-values, shape (m,): reject those below the level.

    Raises:
        DataError: a value is outside [0, 1].
    """
    values, order = _sorted(p)
    m = len(order)
    scaled = values[order] * m / np.arange(1, m + 1)
    return _spread(values, order, np.minimum.accumulate(scaled[::-1])[::-1])


def _sorted(p: ArrayLike) -> tuple[FloatArray, np.ndarray[tuple[int, ...], np.dtype[np.intp]]]:
    values = numeric_columns({"p": p})["p"]
    wrong = values[(values < 0) | (values > 1)]
    if len(wrong):
        raise DataError(f"p holds {wrong[0]}; expected p-values between 0 and 1, or NaN")
    order = np.argsort(values, kind="stable")  # NaN sorts last
    return values, order[: len(values) - int(np.isnan(values).sum())]


def _spread(
    values: FloatArray, order: np.ndarray[tuple[int, ...], np.dtype[np.intp]], adjusted: FloatArray
) -> FloatArray:
    result = np.full(len(values), np.nan)
    result[order] = np.minimum(adjusted, 1.0)
    return result
