"""Measures of the LeWiDi 2025 shared task: distances of soft labels, errors of annotators' labels. Lower is better.

Source of all: E. Leonardelli et al., "LeWiDi-2025 at NLPerspectives: The Third Edition of the Learning with
Disagreements Shared Task", 2025 (arXiv 2510.08460). The task's own scores are rounded to five decimals, item by item;
these are not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from dissensus.curves import FloatArray
from dissensus.errors import DataError


def average_manhattan(targets: ArrayLike, predictions: ArrayLike) -> float:
    """Mean over items of sum_k |p_k - q_k|: the soft measure of nominal labels (the task's MP).

    Range 0 to 2. NaN without items. (VariErrNLI has a distribution per label, and means over the labels first: give it
    all of them as rows.)

    Args:
        targets: shares of the annotators, shape (n, K).
        predictions: shares, of the same shape.

    Raises:
        DataError: the shapes differ, or a row is no distribution.
    """
    target, prediction = _distributions(targets, predictions)
    return _mean(np.abs(target - prediction).sum(axis=1))


def average_wasserstein(targets: ArrayLike, predictions: ArrayLike) -> float:
    """Mean over items of sum_k |P_k - Q_k|, of cumulated shares: the soft measure of ordinal labels (CSC, Paraphrase).

    It is the Wasserstein-1 distance with labels one step apart, in their order. Range 0 to K - 1. NaN without items.

    Args:
        targets: shares of the annotators, shape (n, K), labels in the order of the scale.
        predictions: shares, of the same shape.

    Raises:
        DataError: the shapes differ, or a row is no distribution.
    """
    target, prediction = _distributions(targets, predictions)
    return _mean(np.abs(np.cumsum(target - prediction, axis=1)).sum(axis=1))


def error_rate(targets: Sequence[ArrayLike], predictions: Sequence[ArrayLike]) -> float:
    """Mean over items of the share of annotators whose label, 0 or 1, was predicted wrongly: perspectivist (MP).

    Range 0 to 1. Items without an annotator are left out; NaN where none remains.

    Args:
        targets: of each item, its annotators' labels.
        predictions: of each item, the labels predicted for them, in the same order.

    Raises:
        DataError: an item has another number of predictions, or a label is neither 0 nor 1.
    """
    rows = _answers(targets, predictions)
    if any(not np.isin(label, (0, 1)).all() for pair in rows for label in pair):
        raise DataError(
            "the error rate is of labels 0 and 1; for steps of a scale take the absolute distance"
        )
    return _mean(np.array([np.mean(target != prediction) for target, prediction in rows]))


def normalised_absolute_distance(
    targets: Sequence[ArrayLike], predictions: Sequence[ArrayLike], scale: float
) -> float:
    """Mean over items of the mean over annotators of |t - p| / scale: perspectivist (CSC, Paraphrase).

    Range 0 to (largest label - smallest) / scale. Items without an annotator are left out; NaN where none remains.
    Copies of the task's evaluation script differ in the scale that they divide by: 11 and 6 in an earlier one, 10
    (Paraphrase, -5 to 5) and 5 (CSC, 1 to 6) in a later one. So it has to be said here.

    Raises:
        DataError: an item has another number of predictions, or the scale is not above 0.
    """
    if not scale > 0:
        raise DataError(f"the scale is {scale!r}; expected a number above 0")
    rows = _answers(targets, predictions)
    return _mean(np.array([np.abs(target - prediction).mean() / scale for target, prediction in rows]))


def _distributions(targets: ArrayLike, predictions: ArrayLike) -> tuple[FloatArray, FloatArray]:
    target, prediction = np.asarray(targets, np.float64), np.asarray(predictions, np.float64)
    if target.shape != prediction.shape or target.ndim != 2:
        raise DataError(
            f"targets have shape {target.shape} and predictions {prediction.shape}; expected (n, K) twice"
        )
    for name, rows in (("target", target), ("prediction", prediction)):
        wrong = np.flatnonzero(~((np.abs(rows.sum(axis=1) - 1) < 1e-6) & (rows >= 0).all(axis=1)))
        if len(wrong):
            raise DataError(
                f"the {name} in row {wrong[0]} is {rows[wrong[0]].tolist()}; expected shares that add up to 1"
            )
    return target, prediction


def _answers(
    targets: Sequence[ArrayLike], predictions: Sequence[ArrayLike]
) -> list[tuple[FloatArray, FloatArray]]:
    if len(targets) != len(predictions):
        raise DataError(f"there are {len(targets)} targets and {len(predictions)} predictions")
    rows = []
    for number, (target, prediction) in enumerate(zip(targets, predictions, strict=True)):
        pair = np.asarray(target, np.float64), np.asarray(prediction, np.float64)
        if pair[0].ndim != 1 or pair[0].shape != pair[1].shape:
            raise DataError(
                f"item {number} has {pair[0].size} annotators' labels and {pair[1].size} predictions; expected one each"
            )
        if len(pair[0]):
            rows.append(pair)
    return rows


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")
