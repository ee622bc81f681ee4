"""Learning check of curves that are passed on: nothing is un-learned where nothing was learned."""

from __future__ import annotations

from dissensus.curves import Curves
from dissensus.data.agreement import annotation_entropy, backed
from dissensus.metrics.learning import Learning, learning
from dissensus.stats import entropy_groups
from dissensus.stats.groups import SETTLED


def learning_of(curves: Curves, *, share: float = 1 / 3) -> Learning:
    """`metrics.learning` of curves, with the settled group by plug-in entropy.

    Args:
        curves: n examples at T tracking points.
        share: share of examples that count as settled, in (0, 1/2].
    """
    groups = entropy_groups(annotation_entropy(curves.counts), share=share)
    return learning(curves, settled=groups == SETTLED, backed=backed(curves.counts, curves.gold))
