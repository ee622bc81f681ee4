"""Label-noise scores: what may tell that a label was flipped, from curves, annotators or confident learning.

All of it is computed on the label that the example was trained on, which is the only one that a user has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.settings import metrics_of
from dissensus.config import AnalysisSpec
from dissensus.curves import Curves, FloatArray
from dissensus.data.agreement import annotation_entropy, gold_share
from dissensus.data.annotations import NO_GOLD

SAME_DATA = (
    "probabilities at the last tracking point of the model that was trained on these labels; confident learning asks "
    "for those of a model that has not seen them"
)
SMALLEST_THRESHOLD = 2e-6
"""cleanlab's: no label's threshold is below it."""


@dataclass(frozen=True)
class Suspicion:
    """A score of n examples.

    Attributes:
        name: of the score.
        source: 'curves', 'annotators' or 'cleanlab' (its formulas).
        values: shape (n,); high means that the label is suspect. NaN where it is not defined.
        note: what to know when reading its result; may be ''.
    """

    name: str
    source: str
    values: FloatArray
    note: str = ""


def suspicion_scores(
    curves: Curves, given_labels: NDArray[np.int64], settings: AnalysisSpec | None = None
) -> tuple[Suspicion, ...]:
    """Scores from the curves of the given label, and from what the annotators chose.

    From curves (see `dissensus.metrics` for formulas and units): `aulc`; `final_loss`; `delta`, the loss at the end
    minus that at the start; `slope` of the loss on progress; `margin`, minus the mean margin (area under the margin);
    `confidence`, minus the mean probability of the given label; `variability` of that probability; `forgetting`,
    events, with infinity for an example that was never right: it ranks above any number of events, as in Toneva et
    al. (ICLR 2019), where it counts as forgotten most.

    From annotators: `entropy` in bits, by the plugin estimator, which does not know the given label; `dissent`, the
    share of annotators who did not choose it.

    Args:
        curves: n examples.
        given_labels: the labels trained on, shape (n,); -1 where there is none.
        settings: of the study's analysis; default: the defaults.
    """
    given_curves = replace(curves, gold=given_labels)
    metrics = metrics_of(given_curves, settings or AnalysisSpec())
    events = np.where(metrics.forgetting.never_learned, np.inf, metrics.forgetting.events)
    measured = {
        "aulc": metrics.aulc,
        "final_loss": metrics.final_loss,
        "delta": metrics.unlearning.delta,
        "slope": metrics.unlearning.slope,
        "margin": -metrics.margin.mean,
        "confidence": -metrics.cartography.confidence,
        "variability": metrics.cartography.variability,
        "forgetting": events,
    }
    notes = {
        "variability": "high marks an ambiguous example in a data map; a hard one is low in variability and confidence",
        "forgetting": "an example that was never right ranks above every number of events",
    }
    by_annotators = {
        "entropy": annotation_entropy(curves.counts),
        "dissent": 1 - gold_share(curves.counts, given_labels),
    }
    return (
        *(Suspicion(name, "curves", values, notes.get(name, "")) for name, values in measured.items()),
        *(Suspicion(name, "annotators", values) for name, values in by_annotators.items()),
    )


def confident_learning_scores(curves: Curves, given_labels: NDArray[np.int64]) -> tuple[Suspicion, ...]:
    """Minus the label quality scores of confident learning, from the last tracking point's probabilities.

    `self_confidence` is the probability of the given label, so it ranks as the final loss does; `normalized_margin`
    sets it against the most probable other label: (p of the given label - the largest other p + 1) / 2. `_adjusted`
    subtracts each label's threshold from its probabilities first (its mean probability over the examples that were
    given it), adds the largest threshold and divides by their sum; it is left out where some label was given to no
    example, which has no threshold. The probabilities are in-sample: see the note of each.

    Source: C. Northcutt, L. Jiang and I. Chuang, "Confident learning: estimating uncertainty in dataset labels",
    JAIR 70, 2021. The numbers are those of cleanlab's `get_label_quality_scores`, which the tests hold them against;
    cleanlab itself takes two seconds to import.

    Args:
        curves: n examples.
        given_labels: the labels trained on, shape (n,); -1 where there is none: such an example has no score.

    Returns:
        Nothing where no example has a label and finite probabilities.
    """
    if not len(curves.steps):
        return ()
    probabilities = np.exp(curves.log_probs[:, -1].astype(np.float64))
    known = (given_labels != NO_GOLD) & np.isfinite(probabilities).all(axis=1)
    if not known.any():
        return ()
    shares = probabilities[known] / probabilities[known].sum(axis=1, keepdims=True)
    labels = given_labels[known]
    inputs = {"": shares}
    if len(np.unique(labels)) == len(curves.labels):
        inputs["_adjusted"] = above_thresholds(shares, labels)
    scores = []
    for name, quality in (("self_confidence", self_confidence), ("normalized_margin", normalized_margin)):
        for ending, own in inputs.items():
            values = np.full(len(curves), np.nan)
            values[known] = -quality(own, labels)
            scores.append(Suspicion(name + ending, "cleanlab", values, SAME_DATA))
    return tuple(scores)


def self_confidence(shares: FloatArray, labels: NDArray[np.int64]) -> FloatArray:
    """Probability of the given label, shape (n,)."""
    return np.asarray(np.take_along_axis(shares, labels[:, None], axis=1)[:, 0], dtype=np.float64)


def normalized_margin(shares: FloatArray, labels: NDArray[np.int64]) -> FloatArray:
    """(p of the given label - the largest other p + 1) / 2, shape (n,)."""
    others = shares.copy()
    np.put_along_axis(others, labels[:, None], -np.inf, axis=1)
    return np.asarray((self_confidence(shares, labels) - others.max(axis=1) + 1) / 2, dtype=np.float64)


def above_thresholds(shares: FloatArray, labels: NDArray[np.int64]) -> FloatArray:
    """Probabilities minus each label's mean over the examples that were given it, shifted and made to sum to 1.

    Args:
        shares: probabilities, shape (n, K).
        labels: given ones, shape (n,); each of the K occurs.
    """
    means = np.array([shares[:, k][labels == k].mean() for k in range(shares.shape[1])])
    thresholds = np.maximum(means, SMALLEST_THRESHOLD)
    above = shares - thresholds + thresholds.max()
    return np.asarray(above / above.sum(axis=1, keepdims=True), dtype=np.float64)
