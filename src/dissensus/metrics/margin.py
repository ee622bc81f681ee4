"""Margin of the gold label over the strongest other label, over training and at its end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dissensus.curves import Curves, CurveSource, FloatArray
from dissensus.display import ShortRepr
from dissensus.metrics.blocks import by_blocks
from dissensus.metrics.points import IntArray, kept_points, recompute_gaps


def gold_margins(curves: Curves | CurveSource) -> FloatArray:
    """log p(gold) - max over other labels of log p(label), in nats, shape (n, T); NaN without a gold label.

    The normalising constant of the softmax cancels, so this is the margin between logits as well. The gold
    label is the model's choice where the margin is above 0; a tie counts as wrong, so that no result
    depends on the order of the labels.
    """
    return by_blocks(curves, lambda block: {"margins": block.margins})["margins"]


@dataclass(frozen=True, repr=False)
class Margin(ShortRepr):
    """Margins of n examples, in nats. Both arrays have shape (n,); any sign; above 0: the gold label wins.

    Attributes:
        mean: mean over tracking points; the "area under the margin" (AUM).
        final: at the last tracking point.
    """

    mean: FloatArray
    final: FloatArray


def margin(curves: Curves | CurveSource, *, include_start: bool = False) -> Margin:
    """Mean and final margin of the gold label: log p(gold) - max over other labels of log p(label).

    The mean is the AUM of Pleiss et al. (NeurIPS 2020), who take logits once per epoch; differences of
    log-probabilities are differences of logits, since the normalising constant cancels. Every tracking
    point counts once. A low mean marks examples that training pulls towards another label: mislabelled or
    contested ones. Step 0 is left out of the mean by default, since it precedes training.

    Degenerate cases: points whose margin is not finite are left out of the mean (NaN when none remains);
    the final margin is NaN when the last point's is not finite or there is no point.

    Args:
        curves: n examples at T tracking points, in memory or stored (`open_curves`).
        include_start: take step 0 into the mean as well.
    """
    kept = kept_points(curves, include_start)
    return Margin(**by_blocks(curves, lambda block: vars(margin_of(block.margins, kept))))


def margin_of(margins: FloatArray, kept: slice) -> Margin:
    """`margin` of bare margins, shape (n, T); the mean is over the points in `kept`."""
    used = margins[:, kept]
    points = used.shape[1]
    with np.errstate(invalid="ignore"):
        mean = used.sum(axis=1) / points if points else np.full(len(margins), np.nan)

    def with_gaps(rows: IntArray) -> FloatArray:
        finite = np.isfinite(used[rows])
        count = finite.sum(axis=1)
        mean = np.full(len(rows), np.nan)
        np.divide(np.where(finite, used[rows], 0.0).sum(axis=1), count, out=mean, where=count > 0)
        return mean

    last = margins[:, -1] if margins.shape[1] else np.full(len(margins), np.nan)
    return Margin(mean=recompute_gaps(mean, with_gaps), final=np.where(np.isfinite(last), last, np.nan))
