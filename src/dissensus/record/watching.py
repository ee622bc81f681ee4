"""Those who look on while curves are recorded: what they are told, and when. Imports no torch."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dissensus.data.annotations import NO_GOLD, AnnotatedDataset


class Watcher(Protocol):
    """What looks on while curves are recorded (`dissensus.live.LiveCurves`, for one)."""

    def begin(self, dataset: AnnotatedDataset, total_steps: int) -> None:
        """A run begins, or begins anew."""

    def observe(self, step: int, losses: NDArray[np.float64], *, replay: bool = False) -> object:
        """A tracking point was measured: the loss on the gold label in nats, shape (n,).

        `replay`: it was measured before an interruption.
        """


def gold_losses(log_probs: NDArray[np.float32], dataset: AnnotatedDataset) -> NDArray[np.float64]:
    """-log p(gold) in nats, shape (n,), of one point's log-probabilities (n, K); NaN without a gold label."""
    gold = dataset.gold
    losses = -log_probs[np.arange(len(gold)), np.maximum(gold, 0)].astype(np.float64)
    losses[gold == NO_GOLD] = np.nan
    return losses
