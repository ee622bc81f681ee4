"""Sub-samples of annotators: entropy rankings as they would be had fewer people been asked, and their reliability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import FloatArray
from dissensus.data.agreement import annotation_entropy, subsample_annotators
from dissensus.stats.ranks import average_ranks


@dataclass(frozen=True)
class EntropyRanking:
    """Items ranked by entropy, in each of several sub-samplings of their labels.

    Attributes:
        ranks: standard ranks, shape (draws, items); see `standard_ranks`. One row for all labels.
        reliability: mean rho with the ranking from as many other labels; NaN where an item has too few.
        reliability_split: the same as estimated from halves of the labels; NaN below 4 labels.
    """

    ranks: FloatArray
    reliability: float
    reliability_split: float

    def rhos(self, ranks: FloatArray) -> FloatArray:
        """Spearman's rho with other standard ranks, of shape (items,), in each sub-sampling; NaN where constant."""
        return np.asarray(self.ranks @ ranks, dtype=np.float64)


class LabelSubsamples:
    """The labels of some items, each of which has at least one, and rankings of the items from fewer of them.

    Rankings are made when they are first asked for, and kept.
    """

    def __init__(
        self,
        counts: FloatArray,
        entropy: FloatArray,
        generator: Callable[[str], np.random.Generator],
        *,
        estimator: str,
        draws: int,
    ) -> None:
        """Take whole counts, shape (items, K), their entropy, and what gives a generator for n labels, or for 'all'."""
        self._counts, self._entropy, self._generator = counts, entropy, generator
        self._estimator, self._draws = estimator, draws
        self._made: dict[int | None, EntropyRanking] = {}

    @property
    def annotations(self) -> NDArray[np.int64]:
        """Labels of each item, shape (items,)."""
        return np.asarray(np.rint(self._counts.sum(axis=1)), dtype=np.int64)

    def has(self, n: int) -> bool:
        """Whether every item has n labels, and some item more."""
        return int(self.annotations.min()) >= n and int(self.annotations.max()) > n

    def full(self) -> EntropyRanking:
        """The ranking from all labels."""
        if None not in self._made:
            halves, size = self._repeated(), self.annotations
            split = self._from_halves(halves, size, self._generator("all"))
            self._made[None] = EntropyRanking(standard_ranks(self._entropy[None]), float("nan"), split)
        return self._made[None]

    def of(self, n: int) -> EntropyRanking:
        """The rankings from n labels of each item, in each of the draws; every item must have them."""
        if n not in self._made:
            rng, counts, reliability = self._generator(str(n)), self._repeated(), float("nan")
            first = subsample_annotators(counts, n, rng)
            ranks = self._ranks(first)
            if 2 * n <= self.annotations.min():
                reliability = agreement(ranks, self._ranks(subsample_annotators(counts - first, n, rng)))
            split = self._from_halves(first, np.full(len(self._counts), n), rng)
            self._made[n] = EntropyRanking(ranks, reliability, split)
        return self._made[n]

    def _from_halves(self, counts: FloatArray, size: NDArray[np.int64], rng: np.random.Generator) -> float:
        """Reliability of `size` labels per item, from halves of them (one label is left out of an odd number)."""
        half = size // 2
        if half.min() < 1:
            return float("nan")
        halves = np.tile(half, self._draws)
        one = subsample_annotators(counts, halves, rng)
        other = subsample_annotators(counts - one, halves, rng)
        return stepped_up(agreement(self._ranks(one), self._ranks(other)), float(np.mean(size / half)))

    def _ranks(self, counts: FloatArray) -> FloatArray:
        entropy = annotation_entropy(counts, estimator=self._estimator)
        return standard_ranks(entropy.reshape(-1, len(self._counts)))

    def _repeated(self) -> FloatArray:
        return np.tile(self._counts, (self._draws, 1))


def standard_ranks(values: FloatArray) -> FloatArray:
    """Average ranks of each row, centred and of length 1, shape (rows, n); NaN in a row that does not vary.

    The product of two rows is their Spearman's rho.
    """
    ranks = np.array([average_ranks(row) for row in values])
    ranks -= ranks.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(ranks, axis=1, keepdims=True)
    standard = np.full(ranks.shape, np.nan)
    np.divide(ranks, lengths, out=standard, where=lengths > 0)
    return standard


def agreement(one: FloatArray, other: FloatArray) -> float:
    """Mean rho of the rows of two sets of standard ranks, over those where it is defined."""
    return known_mean((one * other).sum(axis=1))


def stepped_up(r: float, k: float) -> float:
    """The reliability of k times as many labels, k r / (1 + (k - 1) r); NaN where r is not above 0.

    Source: W. Brown, "Some experimental results in the correlation of mental abilities", 1910; C. Spearman,
    "Correlation calculated from faulty data", 1910; both in the British Journal of Psychology 3.
    """
    return k * r / (1 + (k - 1) * r) if r > 0 else float("nan")


def corrected(rho: float, reliability: float) -> float:
    """Rho corrected for attenuation, rho / sqrt(reliability); NaN where the reliability is not above 0."""
    return rho / float(np.sqrt(reliability)) if reliability > 0 else float("nan")


def known_mean(values: FloatArray) -> float:
    """Mean over the finite values; NaN where there is none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
