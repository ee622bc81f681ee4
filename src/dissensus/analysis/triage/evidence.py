"""Evidence of curves: features of each example that keep their meaning from run to run, and what its answers did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import Curves, FloatArray
from dissensus.data.annotations import NO_GOLD
from dissensus.metrics.learning import RECALL_GAIN, Learning
from dissensus.stats.ranks import average_ranks

FEATURES = ("rank", "other", "early", "end", "spread", "steady", "swing")
"""Features of an example under one run, each times the run's `skill`: where the model knows little, curves say little.
All are of the points after the start, with p_g the probability of the given label and p_o the largest other one:

- `rank`: the place of its mean log p_g - log p_o among the run's examples, as a standard normal score: low is suspect;
- `other`: mean of p_o - p_g, in [-1, 1]; `early`: over the first third of the points; `end`: at the last point;
- `spread`: mean entropy of all probabilities over log K, in [0, 1];
- `steady`: the largest share of points at which one and the same other label is answered, in [0, 1];
- `swing`: standard deviation of p_g, in [0, 1/2].
"""
FEWEST_POINTS = 3
"""Tracking points after the start below which curves say nothing."""
FEWEST_EXAMPLES = 50
"""Examples below which a rank within the run means little."""


@dataclass(frozen=True)
class CurveEvidence:
    """What the curves of one run say of its n examples. NaN where an example has no given label or a missing loss.

    Attributes:
        features: shape (n, F), in the order of `FEATURES`.
        end_margin: p_g - p_o at the last point, in [-1, 1], shape (n,).
        probabilities: mean over the points after the start, shape (n, K).
        right_at_end: whether the given label is answered at the last point, shape (n,): 0 or 1.
        right: share of the points after the start at which it is, shape (n,).
        forgotten: whether it was answered at two points or more and is not at the last, shape (n,): 0 or 1.
        rise: loss at the last point minus that before training, nats, shape (n,); NaN if that was not measured.
        learned_at: first point from which on it is answered to the end, as progress in [0, 1]; infinite if never.
    """

    features: FloatArray
    end_margin: FloatArray
    probabilities: FloatArray
    right_at_end: FloatArray
    right: FloatArray
    forgotten: FloatArray
    rise: FloatArray
    learned_at: FloatArray

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether the curves say anything of an example, shape (n,)."""
        return np.asarray(np.isfinite(self.features).all(axis=1))


def curve_evidence(curves: Curves) -> CurveEvidence:
    """Features and answers of n examples of one run, whose `gold` is the label in question."""
    after = curves.steps > 0
    log_probs = curves.log_probs[:, after].astype(np.float64)
    n, points, k = log_probs.shape
    scored = (curves.gold != NO_GOLD) & ~np.isnan(log_probs).any(axis=(1, 2)) & (points > 0)
    p = np.exp(np.where(scored[:, None, None], log_probs, np.log(1 / k)))
    given = np.maximum(curves.gold, 0)
    at_given = given[:, None, None]
    p_given = np.take_along_axis(p, at_given, axis=2)[:, :, 0]
    others = p.copy()
    np.put_along_axis(others, at_given, -1.0, axis=2)
    p_other, best_other = others.max(axis=2, initial=0.0), others.argmax(axis=2)
    margins = np.log(np.maximum(p_given, 1e-12)) - np.log(np.maximum(p_other, 1e-12))
    gap, wrong = p_other - p_given, p_other > p_given
    entropy = -(p * np.log(np.maximum(p, 1e-12))).sum(axis=2) / np.log(k)
    answered = np.stack([(wrong & (best_other == label)).mean(axis=1) for label in range(k)], axis=1)
    features = np.stack(
        [
            _normal_scores(margins.mean(axis=1), scored),
            gap.mean(axis=1),
            gap[:, : max(points // 3, 1)].mean(axis=1),
            gap[:, -1],
            entropy.mean(axis=1),
            answered.max(axis=1),
            p_given.std(axis=1),
        ],
        axis=1,
    )
    features *= skill(wrong, given, scored, k)
    right_at_end = ~wrong[:, -1]
    right = (~wrong).mean(axis=1)
    # Counted from the end: how many points in a row, up to the last, the given label is answered.
    last_wrong = np.where(wrong.any(axis=1), points - wrong[:, ::-1].argmax(axis=1), 0)
    learned_at = np.append(curves.progress[after], np.inf)[last_wrong]
    forgotten = ~right_at_end & ((~wrong).sum(axis=1) >= 2)
    measured = len(curves.steps) > 0 and curves.steps[0] == 0
    rise = curves.losses[:, -1] - curves.losses[:, 0] if measured else np.full(n, np.nan)

    def known(values: NDArray[np.generic]) -> FloatArray:
        shape = (n,) + (1,) * (values.ndim - 1)
        return np.where(scored.reshape(shape), values, np.nan).astype(np.float64)

    return CurveEvidence(
        features=known(features),
        end_margin=known(-gap[:, -1]),
        probabilities=known(p.mean(axis=1)),
        right_at_end=known(right_at_end),
        right=known(right),
        forgotten=known(forgotten),
        rise=known(rise),
        learned_at=known(learned_at),
    )


def skill(wrong: NDArray[np.bool_], given: NDArray[np.int64], scored: NDArray[np.bool_], k: int) -> float:
    """How well a run answers the given labels: (r - 1 / K) / (1 - 1 / K), r its mean recall over labels and points.

    Range [0, 1], 0 for a model that answers as a constant does or worse. Labels that are wrong lower it a little.

    Args:
        wrong: whether another label is answered, shape (n, T).
        given: the labels, shape (n,).
        scored: which examples count, shape (n,).
        k: number of labels that the model knows.
    """
    recalls = [1 - wrong[scored & (given == label)].mean() for label in np.unique(given[scored])]
    if len(recalls) < 2:
        return 0.0
    return float(max((np.mean(recalls) - 1 / k) / (1 - 1 / k), 0.0))


def silence_of(curves: Curves, learning: Learning) -> str:
    """Why nothing can be told from a run's curves, in words; '' where they tell.

    A run of which it is not told whether it learned (its start was not measured, as in most imported recordings) is
    heard if its mean recall at the end is `RECALL_GAIN` above a constant answer's.
    """
    if learning.learned == "no":
        return "the model learned nothing"
    points = int((curves.steps > 0).sum())
    if points < FEWEST_POINTS:
        return f"{points} tracking points after the start are too few (at least {FEWEST_POINTS})"
    labelled = curves.gold != NO_GOLD
    scored = labelled & ~np.isnan(curves.log_probs).any(axis=(1, 2))
    if scored.sum() < FEWEST_EXAMPLES:
        return f"{scored.sum()} examples with a label and all probabilities are too few (at least {FEWEST_EXAMPLES})"
    if learning.learned == "yes":
        return ""
    answers, gold = curves.log_probs[scored, -1].argmax(axis=1), curves.gold[scored]
    recalls = [(answers[gold == label] == label).mean() for label in np.unique(gold)]
    if len(recalls) < 2 or np.mean(recalls) < 1 / len(recalls) + RECALL_GAIN:
        return "it cannot be told whether the model learned"
    return ""


def _normal_scores(values: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    """Standard normal quantiles of the average ranks among the known, shape (n,); 0 for the others."""
    from scipy.special import (
        ndtri,
    )  # here, because its import takes longer than the rest of `import dissensus`

    scores = np.zeros(len(values))
    if known.any():
        scores[known] = ndtri((average_ranks(values[known]) - 0.5) / known.sum())
    return scores
