"""Data maps: confidence, variability and correctness of each example over training, and their classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.curves import Curves, CurveSource, FloatArray
from dissensus.display import ShortRepr
from dissensus.metrics.blocks import Block, by_blocks
from dissensus.metrics.points import BoolArray, count_true, kept_points, row_dots


@dataclass(frozen=True, repr=False)
class Cartography(ShortRepr):
    """A data map of n examples. Every array has shape (n,); NaN where an example has no usable point.

    Attributes:
        confidence: mean over tracking points of p(gold), in [0, 1].
        variability: standard deviation (divisor T) over tracking points of p(gold), in [0, 0.5].
        correctness: share of tracking points at which the gold label is the single most probable (or its probability
            above a threshold), in [0, 1].
    """

    confidence: FloatArray
    variability: FloatArray
    correctness: FloatArray


def cartography(
    curves: Curves | CurveSource, *, include_start: bool = False, threshold: float | None = None
) -> Cartography:
    """Confidence, variability and correctness of each example (Swayamdipta et al., EMNLP 2020).

    Swayamdipta et al. measure at the end of each epoch; here every tracking point counts once, whatever its
    spacing. Step 0 is left out by default: the untrained head's probabilities say something about its
    initialisation, nothing about training, and with few points they would dominate the variability.

    Degenerate cases: points with an undefined probability are left out; without any (no gold label, or only
    step 0 was measured) all three are NaN. One point has variability 0. A tie for the most probable label
    counts as wrong.

    Args:
        curves: n examples at T tracking points, in memory or stored (`open_curves`).
        include_start: take step 0 as well.
        threshold: correct where p(gold) is above it (the paper's code: 0.5); None: where gold is the most probable.
    """
    kept = kept_points(curves, include_start)
    return Cartography(
        **by_blocks(
            curves,
            lambda block: vars(cartography_of(block, kept, threshold)),
        )
    )


EASY, HARD, AMBIGUOUS, NO_CLASS = "easy", "hard", "ambiguous", ""
MAP_CLASSES = (EASY, HARD, AMBIGUOUS)
"""The classes of a data map in the order in which results list them."""


def cartography_classes(confidence: ArrayLike, variability: ArrayLike) -> NDArray[np.str_]:
    """Classes of a data map by its medians, shape (n,): 'ambiguous', 'easy' or 'hard'; '' where a value is NaN.

    Variability at or above its median: ambiguous. Else confidence at or above its median: easy; else hard. The medians
    are those of the examples that have both values. (Swayamdipta et al. take thirds that may overlap; the paper's code
    takes these medians.)

    Args:
        confidence: mean p(gold), shape (n,).
        variability: its standard deviation over tracking points, shape (n,).
    """
    sure, varies = np.asarray(confidence, dtype=np.float64), np.asarray(variability, dtype=np.float64)
    known = np.isfinite(sure) & np.isfinite(varies)
    classes = np.full(len(sure), NO_CLASS, dtype="<U9")
    if known.any():
        classes[known] = np.where(sure[known] >= np.median(sure[known]), EASY, HARD)
        classes[known & (varies >= np.median(varies[known]))] = AMBIGUOUS
    return classes


def cartography_of(block: Block, kept: slice, threshold: float | None = None) -> Cartography:
    """`cartography` of a block of examples, over the points in `kept`."""
    log_probs, margins, right = block.gold_log_probs[:, kept], block.margins[:, kept], block.right[:, kept]
    if threshold is not None:
        right = np.exp(log_probs) > threshold
    points, gaps = log_probs.shape[1], block.gaps
    if points == 0:
        return Cartography(*(np.full(len(log_probs), np.nan) for _ in range(3)))
    probability = np.exp(block.gold_log_probs)[
        :, kept
    ]  # all of them: one long loop is faster than one per row
    confidence = probability.sum(axis=1) / points
    deviation = np.subtract(probability, confidence[:, None], out=probability)
    variability = np.sqrt(row_dots(deviation, deviation) / points)
    correctness = count_true(right) / points
    if len(gaps):
        probability = np.exp(log_probs[gaps])
        known = ~np.isnan(probability) & ~np.isnan(margins[gaps])
        count = known.sum(axis=1)
        confidence[gaps] = _mean(probability, known)
        deviation = np.where(known, probability - confidence[gaps, None], 0.0)
        variability[gaps] = np.where(count > 0, np.sqrt(_mean(deviation**2, known)), np.nan)
        correctness[gaps] = _mean(right[gaps].astype(np.float64), known)
    return Cartography(confidence, variability, correctness)


def _mean(values: FloatArray, known: BoolArray) -> FloatArray:
    """Row means over the known points; NaN for rows without any."""
    count = known.sum(axis=1)
    mean = np.full(len(values), np.nan)
    np.divide(np.where(known, values, 0.0).sum(axis=1), count, out=mean, where=count > 0)
    return mean
