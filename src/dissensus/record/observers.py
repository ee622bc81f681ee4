"""Watchers and notices: what a recording tells programs that look on, and its user. Imports no torch."""

from __future__ import annotations

import logging
import sys
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dissensus.data.annotations import NO_GOLD, AnnotatedDataset

log = logging.getLogger("dissensus")


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


class Notices:
    """Says each thing once, in the first process of a run alone.

    Args:
        quiet: leave out what is no warning.
        first: whether this process is the one that speaks.
    """

    def __init__(self, *, quiet: bool = False, first: bool = True) -> None:
        self._quiet, self._first = quiet, first
        self._said: set[str] = set()

    def say(self, message: str) -> None:
        """Tell the user something. Python hides INFO unless logging was set up, so without that it goes to stderr."""
        if self._quiet or self._is_old(message):
            return
        if log.isEnabledFor(logging.INFO) and log.hasHandlers():
            log.info("%s", message)
        else:
            sys.stderr.write(f"dissensus: {message}\n")
            sys.stderr.flush()

    def warn(self, message: str) -> None:
        """Warn through the logger "dissensus", which Python shows on stderr where nobody set up logging."""
        if not self._is_old(message):
            log.warning("%s", message)

    def _is_old(self, message: str) -> bool:
        if not self._first or message in self._said:
            return True
        self._said.add(message)
        return False
