"""Margin of the gold label over the strongest other label, over training and at its end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dissensus.curves import Curves, FloatArray
from dissensus.metrics.points import gold_margins, kept_points


@dataclass(frozen=True)
class Margin:
    """Margins of n examples, in nats. Both arrays have shape (n,); any sign; above 0: the gold label wins.

    Attributes:
        mean: mean over tracking points; the "area under the margin" (AUM).
        final: at the last tracking point.
    """

    mean: FloatArray
    final: FloatArray


def margin(curves: Curves, *, include_start: bool = False) -> Margin:
    """Mean and final margin of the gold label: log p(gold) - max over other labels of log p(label).

    The mean is the AUM of Pleiss et al. (NeurIPS 2020), who take logits once an epoch; differences of
    log-probabilities are differences of logits, since the normalising constant cancels. Every tracking
    point counts once. A low mean marks examples that training pulls towards another label: mislabelled or
    contested ones. Step 0 is left out of the mean by default, since it precedes training.

    Degenerate cases: points whose margin is not finite are left out of the mean (NaN when none remains);
    the final margin is NaN when the last point's is not finite or there is no point.

    Args:
        curves: n examples at T tracking points.
        include_start: take step 0 into the mean as well.
    """
    margins = gold_margins(curves)
    finite = np.isfinite(margins)
    used = finite & kept_points(curves, include_start)
    count = used.sum(axis=1)
    mean = np.full(len(curves), np.nan)
    np.divide(np.where(used, margins, 0.0).sum(axis=1), count, out=mean, where=count > 0)
    final = np.full(len(curves), np.nan)
    if margins.shape[1]:
        final = np.where(finite[:, -1], margins[:, -1], np.nan)
    return Margin(mean=mean, final=final)
