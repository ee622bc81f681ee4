"""Blocks of examples: a walk over the examples of a cell, a few thousand at a time, in threads.

A cell of 550,000 examples at 100 tracking points has 660 MB of log-probabilities. Its losses and margins in float64
would be as much again, each, and every pass over such an array would wait for memory. So the metrics walk: a block of
examples that stays in a processor's cache is taken from the float32 log-probabilities, all that is asked for is
computed on it, and only one value per example is kept. A row's values do not depend on the block it is in.

Curves that do not fit into memory (`CurveSource`) are read `READ` examples at a time, by each thread its own, and
walked in the same way: the values are the same, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus import threads
from dissensus.curves import Curves, CurveSource, FloatArray
from dissensus.data.annotations import NO_GOLD
from dissensus.errors import SpecError
from dissensus.metrics.points import BoolArray, IntArray, Loss, row_dots

POINTS = 400_000
"""Examples x tracking points of a block: 3 MB an array of float64. With smaller blocks the threads would wait for each
other more often (the interpreter runs one at a time between NumPy's loops), with larger ones the caches would spill."""

READ = 65_536
"""Examples that are read at a time of curves that are not in memory: a row group of a store."""


class Block:
    """Some examples of a cell, all of one gold label. What is asked for is computed once.

    Attributes:
        rows: their places in the curves, shape (b,).
        gold: their gold label, or -1.
    """

    def __init__(self, curves: Curves, rows: IntArray, gold: int) -> None:
        self.rows, self.gold = rows, gold
        self._counts = curves.counts[rows]
        self._log_probs = curves.log_probs[rows]
        self._labels: dict[int, FloatArray] = {}

    def losses_for(self, loss: Loss) -> FloatArray:
        """The losses by name, in nats, shape (b, T)."""
        if loss == "gold":
            return self.losses
        if loss == "soft":
            return self.soft_losses
        raise SpecError(f"loss is {loss!r}; expected 'gold' or 'soft'")

    @cached_property
    def gold_log_probs(self) -> FloatArray:
        """log p(gold), shape (b, T); NaN without a gold label."""
        if self.gold == NO_GOLD:
            return np.full(self._log_probs.shape[:2], np.nan)
        return self.log_probs_of(self.gold)

    @cached_property
    def losses(self) -> FloatArray:
        """-log p(gold), shape (b, T); see `Curves.losses`."""
        return -self.gold_log_probs

    @cached_property
    def shares(self) -> FloatArray:
        """The annotators' distribution, shape (b, K); NaN without annotations."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self._counts / self._counts.sum(axis=1, keepdims=True), dtype=np.float64)

    @cached_property
    def soft_losses(self) -> FloatArray:
        """Cross-entropy against the annotators' distribution, shape (b, T); see `Curves.soft_losses`."""
        shares = self.shares
        total = np.zeros(self._log_probs.shape[:2])
        with np.errstate(invalid="ignore"):
            for label in range(shares.shape[1]):
                total += self.log_probs_of(label) * shares[:, label, None]
            # 0 x -inf is 0 here: a label that nobody chose does not count, however improbable the model finds it.
            gaps = np.flatnonzero(~np.isfinite(total.sum(axis=1)))
            total[gaps] = 0.0
            for label in range(shares.shape[1] if len(gaps) else 0):
                share = shares[gaps, label, None]
                total[gaps] += np.where(share == 0, 0.0, share * self.log_probs_of(label)[gaps])
        return np.negative(total, out=total)

    @cached_property
    def margins(self) -> FloatArray:
        """log p(gold) - max over other labels of log p(label), shape (b, T); see `gold_margins`."""
        of_gold = self.gold_log_probs
        if self.gold == NO_GOLD:
            return of_gold
        others = [self.log_probs_of(k) for k in range(self._log_probs.shape[2]) if k != self.gold]
        if len(others) < 2:
            strongest = others[0] if others else np.full_like(of_gold, -np.inf)  # the maximum over no label
        else:
            strongest = np.maximum(others[0], others[1])
        for other in others[2:]:
            np.maximum(strongest, other, out=strongest)
        with np.errstate(invalid="ignore"):  # -inf - -inf is undefined, hence NaN
            return np.subtract(of_gold, strongest, out=strongest if len(others) > 1 else None)

    @cached_property
    def right(self) -> BoolArray:
        """Whether the gold label is the single most probable, shape (b, T); False without a margin."""
        return np.asarray(self.margins > 0)

    @cached_property
    def gaps(self) -> IntArray:
        """Rows with a point without a margin. The others have a loss at every point, if perhaps an infinite one."""
        with np.errstate(
            invalid="ignore"
        ):  # inf - inf: such a row is called a gap as well, which does no harm
            return np.flatnonzero(np.isnan(row_dots(self.margins, np.ones(self.margins.shape[1]))))

    def log_probs_of(self, label: int) -> FloatArray:
        """log p(label) in float64, contiguous, shape (b, T)."""
        if label not in self._labels:
            self._labels[label] = self._log_probs[:, :, label].astype(np.float64)
        return self._labels[label]


def by_blocks(
    curves: Curves | CurveSource,
    values: Callable[[Block], Mapping[str, NDArray[Any]]],
    *,
    points: int | None = None,
) -> dict[str, NDArray[Any]]:
    """Compute arrays of one row per example, block by block.

    Args:
        curves: n examples, in memory or to be read.
        values: from a block of b examples (b may be 0) to named arrays of b rows; called in several threads.
        points: examples x tracking points of a block, about; default `POINTS`.

    Returns:
        The same names, each array with n rows in the order of the curves.
    """
    if not isinstance(curves, Curves):
        return _read_by_blocks(curves, values, points)
    return _by_blocks(curves, values, points, threads.available())


def _read_by_blocks(
    source: CurveSource, values: Callable[[Block], Mapping[str, NDArray[Any]]], points: int | None
) -> dict[str, NDArray[Any]]:
    nothing = _by_blocks(source.read(0, 0), values, points, 1)
    results = {name: np.empty((len(source), *v.shape[1:]), dtype=v.dtype) for name, v in nothing.items()}

    def fill(begin: int) -> None:
        block = source.read(begin, min(len(source), begin + READ))
        for name, block_values in _by_blocks(block, values, points, 1).items():
            results[name][begin : begin + READ] = block_values

    begins = range(0, len(source), READ)
    threads.in_order(fill, begins, threads=min(threads.available(), len(begins)))
    return results


def _by_blocks(
    curves: Curves,
    values: Callable[[Block], Mapping[str, NDArray[Any]]],
    points: int | None,
    workers: int,
) -> dict[str, NDArray[Any]]:
    size = max(1, (points or POINTS) // max(len(curves.steps), 1))
    # No examples: asks for the names, types and shapes, and for the errors of bad options.
    nothing = values(Block(curves, np.empty(0, dtype=np.intp), NO_GOLD))
    results = {name: np.empty((len(curves), *v.shape[1:]), dtype=v.dtype) for name, v in nothing.items()}

    def fill(job: tuple[IntArray, int]) -> None:
        rows, gold = job
        for name, block_values in values(Block(curves, rows, gold)).items():
            results[name][rows] = block_values

    jobs = list(_by_gold(curves.gold, size))
    threads.in_order(fill, jobs, threads=min(workers, len(jobs)))
    return results


def _by_gold(gold: NDArray[np.int64], size: int) -> Iterator[tuple[IntArray, int]]:
    """Rows of one gold label, about `size` at a time: what is picked by label is then a column, not a look-up each."""
    for label in np.unique(gold).tolist():
        rows = np.flatnonzero(gold == label)
        for part in np.array_split(
            rows, -(-len(rows) // size)
        ):  # equal parts, for the threads to end together
            yield part, label
