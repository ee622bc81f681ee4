"""Two methods compared where they got equally far: at the same mean loss on the settled examples.

A method that learns less per step has moved every group less at the end of training, the contested one too. The
comparison is therefore made also at the lowest settled loss that both reach, each at the first moment at which its
(piecewise linear) curve reaches it.
"""

from __future__ import annotations

import numpy as np

from dissensus.curves import FloatArray
from dissensus.study.claims.measured import CellValue, GroupMeans


def difference_at_matched_loss(first: GroupMeans, second: GroupMeans) -> CellValue:
    """Change of the contested mean loss up to the matched moment, first method less second, in nats.

    The matched loss is found anew in each resample. NaN where a curve is not defined.
    """
    value = _difference(
        first.settled[None], first.contested[None], second.settled[None], second.contested[None]
    )
    resampled = _difference(
        first.settled_resampled,
        first.contested_resampled,
        second.settled_resampled,
        second.contested_resampled,
    )
    return CellValue(float(value[0]), resampled)


def _difference(
    settled: FloatArray, contested: FloatArray, other_settled: FloatArray, other_contested: FloatArray
) -> FloatArray:
    """For b pairs of curves, each of shape (b, T), T of either method its own: shape (b,)."""
    lowest = np.maximum(settled.min(axis=1), other_settled.min(axis=1))
    return change_at(settled, contested, lowest) - change_at(other_settled, other_contested, lowest)


def change_at(settled: FloatArray, contested: FloatArray, level: FloatArray) -> FloatArray:
    """How far `contested` has changed when `settled` first comes down to `level`.

    Args:
        settled: b curves, shape (b, T).
        contested: shape (b, T).
        level: shape (b,); 0 change where a curve begins at or below it.

    Returns:
        Shape (b,); NaN where the curve never gets there.
    """
    rows = np.arange(len(settled))
    reached = settled <= level[:, None]
    at = reached.argmax(axis=1)
    before = np.maximum(at - 1, 0)
    fall = settled[rows, before] - settled[rows, at]
    share = np.zeros(len(settled))
    np.divide(settled[rows, before] - level, fall, out=share, where=fall > 0)
    there = contested[rows, before] + share * (contested[rows, at] - contested[rows, before])
    change = np.where(at == 0, 0.0, there - contested[:, 0])
    return np.where(reached.any(axis=1), change, np.nan)
