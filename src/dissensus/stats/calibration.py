"""Calibration from log-probabilities: expected calibration error, prediction entropy, top probability, accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.errors import DataError, SpecError
from dissensus.stats.bootstrap import FloatArray


@dataclass(frozen=True)
class Calibration:
    """How sure a model is of some examples at one point, and how right. All NaN where there is no example.

    Attributes:
        ece: expected calibration error, in [0, 1].
        accuracy: share whose most probable label is the given one, in [0, 1].
        entropy_mean: mean entropy of the prediction, nats.
        entropy_sd: its standard deviation, divisor n, as the paper's code has it.
        top_mean: mean of the largest probability (confidence), in (0, 1].
        top_sd: its standard deviation, divisor n.
        n: examples used.
        dropped: examples left out: without a label, or with a probability that is not known.
        bins: number of bins of `ece`.
    """

    ece: float
    accuracy: float
    entropy_mean: float
    entropy_sd: float
    top_mean: float
    top_sd: float
    n: int
    dropped: int
    bins: int


def calibration(log_probs: ArrayLike, labels: ArrayLike, *, bins: int = 15) -> Calibration:
    """Calibration of predictions against one label each.

    ECE = sum over bins of |share of right answers - mean top probability|, each weighted with the bin's share of the
    examples (Guo et al., "On calibration of modern neural networks", ICML 2017). Bins are k equal parts of (0, 1], open
    on the left: (0, 1/k], (1/k, 2/k], ...; an empty one adds nothing. Entropy is -sum p ln p with 0 ln 0 = 0.
    Probabilities are used as they are given: a verbalizer's need not sum to 1. Of equally probable labels the first
    counts.

    Args:
        log_probs: natural logarithms, shape (n, K).
        labels: label indices, shape (n,); -1 where there is none.
        bins: k.

    Raises:
        DataError: the shapes do not fit.
        SpecError: bins is below 1.
    """
    values, given = np.asarray(log_probs, dtype=np.float64), np.asarray(labels)
    if values.ndim != 2 or given.shape != values.shape[:1]:
        raise DataError(
            f"log-probabilities have shape {values.shape} and labels {given.shape}; expected (n, K) and (n,)"
        )
    if bins < 1:
        raise SpecError(f"bins is {bins}; expected 1 or more")
    keep = (given >= 0) & ~np.isnan(values).any(axis=1)
    kept, dropped = values[keep], int((~keep).sum())
    if not len(kept):
        nan = float("nan")
        return Calibration(nan, nan, nan, nan, nan, nan, 0, dropped, bins)
    p = np.exp(kept)
    top, right = p.max(axis=1), kept.argmax(axis=1) == given[keep]
    entropy = -np.where(p > 0, p * np.where(p > 0, kept, 0.0), 0.0).sum(axis=1)
    return Calibration(
        ece=_ece(top, right, bins),
        accuracy=float(right.mean()),
        entropy_mean=float(entropy.mean()),
        entropy_sd=float(entropy.std()),
        top_mean=float(top.mean()),
        top_sd=float(top.std()),
        n=len(kept),
        dropped=dropped,
        bins=bins,
    )


def _ece(top: FloatArray, right: NDArray[np.bool_], bins: int) -> float:
    # side="left": a probability that is an edge belongs to the bin that ends there.
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, top, side="left") - 1, 0, bins - 1)
    off = np.bincount(place, weights=right.astype(np.float64) - top, minlength=bins)
    return float(np.abs(off).sum() / len(top))
