"""Data maps: confidence, variability and correctness of each example over training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dissensus.curves import Curves, FloatArray
from dissensus.metrics.points import gold_margins, kept_points


@dataclass(frozen=True)
class Cartography:
    """A data map of n examples. Every array has shape (n,); NaN where an example has no usable point.

    Attributes:
        confidence: mean over tracking points of p(gold), in [0, 1].
        variability: standard deviation (divisor T) over tracking points of p(gold), in [0, 0.5].
        correctness: share of tracking points at which the gold label is the single most probable, in [0, 1].
    """

    confidence: FloatArray
    variability: FloatArray
    correctness: FloatArray


def cartography(curves: Curves, *, include_start: bool = False) -> Cartography:
    """Confidence, variability and correctness of each example (Swayamdipta et al., EMNLP 2020).

    Swayamdipta et al. measure at the end of each epoch; here every tracking point counts once, whatever its
    spacing. Step 0 is left out by default: the untrained head's probabilities say something about its
    initialisation, nothing about training, and with few points they would dominate the variability.

    Degenerate cases: points with an undefined probability are left out; without any (no gold label, or only
    step 0 was measured) all three are NaN. One point has variability 0. A tie for the most probable label
    counts as wrong.

    Args:
        curves: n examples at T tracking points.
        include_start: take step 0 as well.
    """
    keep = kept_points(curves, include_start)
    probability = np.exp(-curves.losses[:, keep])
    margins = gold_margins(curves)[:, keep]
    known = np.isfinite(probability) & ~np.isnan(margins)
    count = known.sum(axis=1)
    confidence = _mean(probability, known)
    deviation = np.where(known, probability - confidence[:, None], 0.0)
    return Cartography(
        confidence=confidence,
        variability=np.where(count > 0, np.sqrt(_mean(deviation**2, known)), np.nan),
        correctness=_mean((margins > 0).astype(np.float64), known),
    )


def _mean(values: FloatArray, known: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> FloatArray:
    """Row means over the known points; NaN for rows without any."""
    count = known.sum(axis=1)
    mean = np.full(len(values), np.nan)
    np.divide(np.where(known, values, 0.0).sum(axis=1), count, out=mean, where=count > 0)
    return mean
