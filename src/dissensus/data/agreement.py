"""Annotation entropy and agreement from label counts, and sub-sampling of annotators. Pure functions.

Counts have one row per item and one column per label: how many annotators chose it. A row without annotations gives
NaN, never 0. Counts may be fractional (a published distribution times its n); each function says what it does then.
Equal shares give equal numbers, to the last bit, whatever n they are of and in whatever order the labels stand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.errors import DataError, SpecError

ESTIMATORS = ("plugin", "miller_madow", "chao_shen")

FloatArray = NDArray[np.float64]

DECIMALS = 14
"""Shares are rounded to so many decimals before anything is computed from them. Equal shares must give equal numbers,
or ranks would tell them apart: 7 of 100 and 2.1 of 30 (a published .07 times its n) differ in the last bit."""


def canonical(shares: FloatArray) -> FloatArray:
    """Shares rounded to `DECIMALS`: those that differ by rounding alone become equal."""
    return np.asarray(np.round(shares, DECIMALS), dtype=np.float64)


def annotation_entropy(
    counts: ArrayLike, *, estimator: str = "plugin", normalized: bool = False
) -> FloatArray:
    """Entropy of the annotators' labels, in bits.

    With n annotations of an item, p_k = c_k / n and m labels that somebody chose:

    - `plugin`: H = -sum p_k log2 p_k, with 0 log 0 = 0. Range [0, log2 K]; too low on average when n is small.
    - `miller_madow`: H + (m - 1) / (2 n ln 2), the first-order correction of that bias (Miller 1955). It can
      exceed log2 K.
    - `chao_shen`: a Horvitz-Thompson sum over coverage-adjusted shares (Chao and Shen 2003): with f_1 labels
      chosen by exactly one annotator, C = 1 - f_1 / n and q_k = C p_k,
      H = -sum q_k log2 q_k / (1 - (1 - q_k)^n). When every annotation is a label of its own (f_1 = n) the coverage
      would be 0 and nothing could be estimated; f_1 = n - 1 is used then. It can exceed log2 K.

    Args:
        counts: annotators per label, shape (..., K).
        estimator: one of `ESTIMATORS`.
        normalized: divide by log2 K, where K counts every label that was on offer, chosen or not.

    Returns:
        Shape (...). NaN where there are no annotations, and for `normalized` with a single label.

    Raises:
        SpecError: the estimator is unknown.
        DataError: counts are negative, not finite, or, for `chao_shen`, not whole (f_1 has no meaning then;
            `plugin` and `miller_madow` take fractional counts as they are).

    Sources: G. Miller, "Note on the bias of information estimates", 1955; A. Chao and T.-J. Shen, "Nonparametric
    estimation of Shannon's index of diversity when there are unseen species in sample", Environmental and
    Ecological Statistics 10, 2003.
    """
    if estimator not in ESTIMATORS:
        raise SpecError(
            f"the entropy estimator {estimator!r} is unknown; expected one of {', '.join(ESTIMATORS)}"
        )
    # Entropy does not know which label is which, but a floating-point sum knows its order: unsorted, (7, 2, 1) and
    # (1, 2, 7) can differ in the last bit, which is enough to break a tie between ranks.
    c = np.sort(_checked(counts), axis=-1)
    n = np.round(c.sum(axis=-1), 9)  # a published distribution times n adds up to n but for rounding
    p = _shares(c, n)
    if estimator == "chao_shen":
        entropy = _chao_shen(_whole(c, "the estimator chao_shen"), n, p)
    else:
        entropy = _sum_of_surprise(p)
        if estimator == "miller_madow":
            with np.errstate(invalid="ignore", divide="ignore"):
                entropy = entropy + ((c > 0).sum(axis=-1) - 1) / (2 * n * np.log(2))
    entropy = np.where(n > 0, entropy, np.nan)
    if normalized:
        labels = c.shape[-1]
        entropy = entropy / np.log2(labels) if labels > 1 else np.full_like(entropy, np.nan)
    return np.asarray(entropy, dtype=np.float64)


def entropy_classes(counts: ArrayLike, cuts: tuple[float, float]) -> NDArray[np.str_]:
    """'settled', 'middle' or 'contested' by annotation entropy; '' without annotations.

    At or below the first cut point an item is settled, at or above the second contested; entropies less than 1e-9 bits
    apart are equal, as for the groups of an analysis (`stats.groups.entropy_groups`).

    Args:
        counts: annotators per label, shape (n, K).
        cuts: cut points in bits, rising.

    Returns:
        Shape (n,).
    """
    entropy = annotation_entropy(counts)
    low, high = cuts
    names = np.where(entropy < low + 1e-9, "settled", np.where(entropy > high - 1e-9, "contested", "middle"))
    return np.where(np.isfinite(entropy), names, "")


def gold_share(counts: ArrayLike, gold: ArrayLike) -> FloatArray:
    """Share of annotators who chose the gold label, in [0, 1].

    Below a half, most annotators reject the gold label: such an item is not contested but probably mislabelled.

    Args:
        counts: annotators per label, shape (n, K); fractional counts are taken as they are.
        gold: label indices, shape (n,); -1 where there is none.

    Returns:
        Shape (n,). NaN without annotations or without a gold label.
    """
    c, labels, picked = _chosen(counts, gold)
    with np.errstate(invalid="ignore", divide="ignore"):
        return canonical(np.where(labels >= 0, picked / c.sum(axis=1), np.nan))


def backed(counts: ArrayLike, gold: ArrayLike) -> NDArray[np.bool_]:
    """Whether more than half of the annotators chose the gold label.

    `settled` says that annotators agreed, not that they agreed with the gold label: where it is the corpus' own, they
    may agree on another one. Hence groups are split by this. Two of four are not more than half.

    Args:
        counts: annotators per label, shape (n, K); fractional counts are taken as they are.
        gold: label indices, shape (n,); -1 where there is none.

    Returns:
        Shape (n,). False without annotations or without a gold label: such an item is neither backed nor rejected, so
        ask `gold_share` whether it is known.

    Raises:
        DataError: the shapes do not fit, or a gold label is out of range.
    """
    c, labels, chosen = _chosen(counts, gold)
    # 2 c > n rather than c / n > 1/2: exact for whole counts. A distribution times its n may miss a tie by rounding.
    total = c.sum(axis=1)
    return np.asarray((labels >= 0) & (2 * chosen - total > 1e-9 * np.maximum(total, 1.0)), dtype=np.bool_)


def _chosen(counts: ArrayLike, gold: ArrayLike) -> tuple[FloatArray, NDArray[np.int64], FloatArray]:
    """Counts, gold labels, and how many annotators chose each gold label (of the first label where there is none)."""
    c = _checked(counts)
    labels = np.asarray(gold, dtype=np.int64)
    if c.ndim != 2 or labels.shape != c.shape[:1]:
        raise DataError(f"counts have shape {c.shape} and gold {labels.shape}; expected (n, K) and (n,)")
    if labels.size and (labels.min() < -1 or labels.max() >= c.shape[1]):
        raise DataError(
            f"gold labels run from {labels.min()} to {labels.max()}; expected -1 to {c.shape[1] - 1}"
        )
    return c, labels, np.take_along_axis(c, np.maximum(labels, 0)[:, None], axis=1)[:, 0]


def subsample_annotators(counts: ArrayLike, n: ArrayLike, rng: np.random.Generator) -> FloatArray:
    """Counts as they would be with only n annotators per item, drawn without replacement.

    Each row is a draw from the multivariate hypergeometric distribution, so that its expectation is n p_k. Labels are
    drawn one after the other, each for all rows at once: how many of the n are of this label, given how many
    annotators chose it and how many chose one that is still to come.

    Args:
        counts: annotators per label, shape (items, K); whole numbers.
        n: annotators to keep, at least 1: one number, or one per item, shape (items,).
        rng: generator that draws.

    Raises:
        DataError: n is below 1 or exceeds an item's annotations, or counts are not whole.
    """
    c = _whole(_checked(counts), "sub-sampling annotators").astype(np.int64)
    if c.ndim != 2:
        raise DataError(f"counts have shape {c.shape}; expected (items, K)")
    keep = np.asarray(n, dtype=np.int64)
    if keep.shape not in ((), (len(c),)):
        raise DataError(f"n has shape {keep.shape}; expected one number, or one per item, shape ({len(c)},)")
    sizes = np.broadcast_to(keep, len(c)).copy()
    if keep.min(initial=1) < 1:
        raise DataError(f"cannot keep {keep.min()} annotators per item; expected at least 1")
    rest = c.sum(axis=1)
    if np.any(rest < sizes):
        row = int(np.argmax(rest < sizes))
        raise DataError(
            f"cannot keep {sizes[row]} annotators per item: the item in row {row} has {rest[row]}"
        )
    drawn = np.empty_like(c)
    for label in range(c.shape[1]):
        rest = rest - c[:, label]
        drawn[:, label] = rng.hypergeometric(c[:, label], rest, sizes)
        sizes = sizes - drawn[:, label]
    return drawn.astype(np.float64)


def _checked(counts: ArrayLike) -> FloatArray:
    c = np.asarray(counts, dtype=np.float64)
    if c.ndim == 0:
        raise DataError(f"counts are {c!r}; expected one number per label, in the last axis")
    bad = ~(np.isfinite(c) & (c >= 0))
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(f"the count at {where} is {c[where]}; expected a finite number of at least 0")
    return c


def _whole(c: FloatArray, purpose: str) -> FloatArray:
    rounded = np.rint(c)
    # A published distribution times its n misses the whole number by rounding only.
    off = np.abs(c - rounded) > 1e-6
    if off.any():
        where = tuple(int(i) for i in np.argwhere(off)[0])
        raise DataError(f"{purpose} needs whole counts; the count at {where} is {c[where]}")
    return rounded


def _shares(c: FloatArray, n: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return canonical(np.where(n[..., None] > 0, c / n[..., None], np.nan))


def _sum_of_surprise(p: FloatArray) -> FloatArray:
    logs = np.log2(np.where(p > 0, p, 1.0))  # 0 log 0 = 0
    return np.asarray(np.maximum(-(p * logs).sum(axis=-1), 0.0), dtype=np.float64)


def _chao_shen(c: FloatArray, n: FloatArray, p: FloatArray) -> FloatArray:
    singletons = (c == 1).sum(axis=-1).astype(np.float64)
    singletons = np.where(singletons == n, n - 1, singletons)
    with np.errstate(invalid="ignore", divide="ignore"):
        q = (1 - singletons / n)[..., None] * p
        seen = q > 0
        safe = np.where(seen, q, 1.0)
        # The denominator is the chance that a label with share q is seen at all among n annotations.
        terms = np.where(seen, -safe * np.log2(safe) / (1 - (1 - safe) ** n[..., None]), 0.0)
    return np.asarray(terms.sum(axis=-1), dtype=np.float64)
