"""Ordered label scales: dispersion of annotations, mean absolute difference, Wasserstein distance. Pure functions.

Counts have one row per item and one column per label, in the scale's order; they may be fractional. `values` places the
labels on the scale; by default they are one step apart. Without annotations every measure is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.data.agreement import canonical
from dissensus.errors import DataError

FloatArray = NDArray[np.float64]


def ordinal_dispersion(counts: ArrayLike, values: Sequence[float] | FloatArray | None = None) -> FloatArray:
    """Dispersion on an ordered scale, in [0, 1]: 4 sum_k F_k (1 - F_k) d_k / (v_K - v_1).

    F_k is the share of annotations at or below label k and d_k the step from label k to the next. It is the mean
    absolute difference of two annotations drawn with replacement, as a share of the largest that can be: 0 where all
    annotators agree, 1 where half of them stand at each end. This is Blair and Lacy's statistic of ordinal variation (l
    squared, turned round). Leik's has min(F, 1 - F) in place of 2 F (1 - F): with few annotators it takes fewer values,
    and so ties more items. Unlike entropy, both know that 'agree' is nearer to 'strongly agree' than to 'disagree'.

    Args:
        counts: annotators per label, shape (..., K), K at least 2.
        values: places of the labels, rising, shape (K,).

    Returns:
        Shape (...). NaN without annotations; 0 with one.

    Sources: J. Blair and M. G. Lacy, "Statistics of ordinal variation", Sociological Methods & Research 28, 2000;
    R. K. Leik, "A measure of ordinal consensus", Pacific Sociological Review 9, 1966.
    """
    shares, places = _on_scale(counts, values)
    below = np.cumsum(shares, axis=-1)[..., :-1]
    steps = np.diff(places)
    spread = (below * (1 - below) * steps).sum(axis=-1)
    return canonical(np.clip(4 * spread / (places[-1] - places[0]), 0.0, 1.0))


def mean_absolute_difference(
    counts: ArrayLike, values: Sequence[float] | FloatArray | None = None
) -> FloatArray:
    """Mean absolute difference between the labels of two annotators of one item, in units of the scale.

    Two different annotators: sum over c, k of n_c n_k |v_c - v_k| / (n (n - 1)). An annotator who gave several labels
    counts as so many shares of one, so that their own labels are compared with each other as well.

    Returns:
        Shape (...). NaN with fewer than two annotations.
    """
    shares, places = _on_scale(counts, values)
    n = np.asarray(counts, dtype=np.float64).sum(axis=-1)
    below = np.cumsum(shares, axis=-1)[..., :-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        pairs = np.where(n > 2 - 1e-9, n / (n - 1), np.nan)
    return canonical(2 * (below * (1 - below) * np.diff(places)).sum(axis=-1) * pairs)


def wasserstein_distance(
    first: ArrayLike, second: ArrayLike, values: Sequence[float] | FloatArray | None = None
) -> FloatArray:
    """Wasserstein-1 distance of two label distributions on one scale: sum_k |F_k - G_k| d_k, in units of the scale.

    Args:
        first: counts or shares, shape (..., K).
        second: counts or shares, of a shape that broadcasts with the first.
        values: places of the labels, rising, shape (K,).

    Returns:
        NaN where either has no annotations.
    """
    p, places = _on_scale(first, values)
    q, _ = _on_scale(second, values)
    apart = np.abs(np.cumsum(p, axis=-1) - np.cumsum(q, axis=-1))[..., :-1]
    return canonical((apart * np.diff(places)).sum(axis=-1))


def _on_scale(
    counts: ArrayLike, values: Sequence[float] | FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    c = np.asarray(counts, dtype=np.float64)
    if c.ndim == 0 or c.shape[-1] < 2 or not np.all(np.isfinite(c) & (c >= 0)):
        raise DataError(
            f"counts have shape {c.shape}; expected finite numbers of at least 0 for two labels or more"
        )
    places = (
        np.arange(c.shape[-1], dtype=np.float64) if values is None else np.asarray(values, dtype=np.float64)
    )
    if places.shape != c.shape[-1:] or not np.all(np.diff(places) > 0):
        raise DataError(f"values are {list(places)}; expected {c.shape[-1]} numbers that rise, one per label")
    n = c.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return canonical(np.where(n > 0, c / n, np.nan)), places
