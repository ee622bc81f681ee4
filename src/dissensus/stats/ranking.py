"""Ranking of flagged examples by a score: AUROC and average precision, with intervals on the logit scale.

In a resample an example counts as often as it was drawn. Both measures are sums over the distinct scores, so the
sample is sorted once; a resample takes running sums of its counts in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.errors import DataError
from dissensus.stats.bootstrap import (
    FloatArray,
    IntArray,
    Seed,
    cluster_index,
    generator_for,
)
from dissensus.stats.columns import numeric_columns
from dissensus.stats.draws import Draws, Units, over_resamples
from dissensus.stats.intervals import LOGIT, Interval, few_units, resampled_interval
from dissensus.stats.ranks import RankedSample, running_sums

CELLS = 100_000
"""Resamples x examples of a chunk."""
MIN_FLAGGED = 30
"""Flagged examples, or clusters that have one, below which average precision has no interval."""


@dataclass(frozen=True)
class Ranking:
    """How well a score ranks the flagged examples (the positives) above the others.

    Attributes:
        value: AUROC or average precision, in [0, 1]; NaN where it is not defined.
        low: lower end of the interval; NaN without one.
        high: upper end.
        n: examples used.
        positives: how many of them are flagged.
        base_rate: positives / n: what average precision tends to without any skill; NaN without examples.
        dropped: examples left out because their score is NaN.
        confidence: of the interval.
        resamples: bootstrap resamples that were drawn.
        undefined_resamples: those in which the value is not defined; left out of the interval.
        clusters: number of clusters that were resampled; None if examples were.
        withheld: why there is no interval, where one was asked for; '' else.
    """

    value: float
    low: float
    high: float
    n: int
    positives: int
    base_rate: float
    dropped: int
    confidence: float = 0.95
    resamples: int = 0
    undefined_resamples: int = 0
    clusters: int | None = None
    withheld: str = ""


def auroc(
    scores: ArrayLike,
    flags: ArrayLike,
    *,
    resamples: int = 0,
    confidence: float = 0.95,
    rng: Seed = None,
    clusters: ArrayLike | None = None,
) -> Ranking:
    """Area under the receiver operating characteristic: the Mann-Whitney U of the flagged, over all pairs.

    The chance that a flagged example drawn at random has a higher score than one that is not flagged, where a tie
    counts one half: (R - P (P + 1) / 2) / (P N), with R the sum of the average ranks of the P flagged examples and
    N the number of the others. Range [0, 1], no unit; 1/2 without skill, whatever the base rate; below 1/2 the
    score ranks the wrong way round.

    Interval: on the logit scale, from the standard error over bootstrap resamples of examples (or clusters) and
    Student's t with their number less 1. A value nearer to 0 or 1 than half a pair, 1 / (2 P N), is taken for that
    near. Of perfect separation, in the sample and in every resample, there is no error; the interval then runs from
    (a / 2)^(1 / m) to 1, with a = 1 - confidence and m the smaller of P and N, or of the clusters that hold them: m
    flagged examples that all come first leave open, at that level, a chance of this much (Clopper and Pearson, 1934).

    Degenerate cases: NaN scores are dropped and counted; infinite ones rank like any number. NaN without a flagged
    example or without one that is not. No interval (`Ranking.withheld`) below 40 clusters with a flagged example or
    below 40 with another; where each example is its own, below 20 examples in all.

    Args:
        scores: one per example, shape (n,); high means suspect.
        flags: what is to be found, shape (n,): booleans, or 0 and 1.
        resamples: bootstrap resamples; 0 gives no interval.
        confidence: of the interval.
        rng: generator or seed; required when resamples > 0.
        clusters: labels of shape (n,); whole clusters are resampled.

    Raises:
        DataError: shapes do not fit, or a flag is neither 0 nor 1.
        SpecError: an option is not valid, or the seed is missing.

    Source: J. Hanley and B. McNeil, "The meaning and use of the area under a receiver operating characteristic
    (ROC) curve", Radiology 143, 1982.
    """
    return _rankings((_auroc,), scores, flags, resamples, confidence, rng, clusters)[0]


def average_precision(
    scores: ArrayLike,
    flags: ArrayLike,
    *,
    resamples: int = 0,
    confidence: float = 0.95,
    rng: Seed = None,
    clusters: ArrayLike | None = None,
) -> Ranking:
    """Average precision: the mean, over the flagged examples, of the precision at their score.

    sum over the distinct scores s of (recall gained at s) x (precision of "score >= s"). Examples of one score enter
    together, so their order cannot matter, and nothing is interpolated. Range (0, 1], no unit; near the base rate
    without skill, so values of samples with other base rates do not compare.

    Degenerate cases: as for `auroc`, but it is defined (and 1) when every example is flagged. In a resample the
    base rate varies, and the value with it. It rests on the flagged alone: no interval where fewer than 30 are (or
    fewer than 30 clusters have one), for then it covers 87 to 99 times in 100 instead of 95.

    Args, errors: as for `auroc`.

    Source: C. Manning, P. Raghavan and H. Schütze, "Introduction to Information Retrieval", 2008, section 8.4 (there
    for ranks without ties).
    """
    return _rankings((_average_precision,), scores, flags, resamples, confidence, rng, clusters)[0]


def rankings(
    scores: ArrayLike,
    flags: ArrayLike,
    *,
    resamples: int = 0,
    confidence: float = 0.95,
    rng: Seed = None,
    clusters: ArrayLike | None = None,
) -> tuple[Ranking, Ranking]:
    """`auroc` and `average_precision` from one set of resamples: each as its own function gives it for the same seed.

    Args, errors: as for `auroc`.
    """
    area, precision = _rankings(
        (_auroc, _average_precision), scores, flags, resamples, confidence, rng, clusters
    )
    return area, precision


def weighted_auroc(scores: ArrayLike, flags: ArrayLike, weights: ArrayLike) -> FloatArray:
    """`auroc` in each of b resamples.

    Args:
        scores: shape (n,); rows with NaN are dropped.
        flags: shape (n,).
        weights: how often each example was drawn (any weights of at least 0), shape (b, n).

    Returns:
        Shape (b,); NaN where no flagged example was drawn, or no other.
    """
    values, flagged = _checked(scores, flags)
    drawn = np.asarray(weights, dtype=np.float64)
    if drawn.ndim != 2 or drawn.shape[1] != len(values):
        raise DataError(f"weights have shape {drawn.shape}; expected (resamples, {len(values)})")
    keep = ~np.isnan(values)
    if not keep.any():
        return np.full(len(drawn), np.nan)
    return _auroc(*_Sorted.of(values[keep], flagged[keep]).below(drawn.T[keep]))


@dataclass(frozen=True)
class _Sorted:
    """A sample in rising order of its scores.

    Attributes:
        scores: its n scores, sorted once; each example is its own unit.
        flagged: whether the example at each place of that order is flagged, shape (n, 1).
    """

    scores: RankedSample
    flagged: NDArray[np.bool_]

    @classmethod
    def of(cls, values: FloatArray, flagged: NDArray[np.bool_]) -> _Sorted:
        """Sort a sample of n >= 1 scores, without NaN."""
        scores = RankedSample.of(values)
        return cls(scores, flagged[scores.order, None])

    def below(self, weights: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
        """Draws of flagged and of other examples below each distinct score, and in all, each of shape (m + 1, b).

        Args:
            weights: how often each example was drawn, shape (n, b); packed counts (`Draws.packed`) are the quickest.
        """
        rows = np.take(weights, self.scores.order, axis=0)
        every, positive = (running_sums(own, self.scores.bounds) for own in (rows, rows * self.flagged))
        return positive.astype(np.float64), (every - positive).astype(np.float64)


_Statistic = Callable[[FloatArray, FloatArray], FloatArray]
"""From draws of flagged and of other examples below each distinct score, rising, and in all, both of shape (m + 1, b),
to a value each, shape (b,)."""


def _auroc(positive: FloatArray, negative: FloatArray) -> FloatArray:
    pairs = positive[-1] * negative[-1]
    area = np.full(len(pairs), np.nan)
    # A flagged example stands above those below its score, and above half of those at it.
    above = np.einsum("mb,mb->b", np.diff(positive, axis=0), negative[1:] + negative[:-1]) / 2
    np.divide(above, pairs, out=area, where=pairs > 0)
    return area


def _average_precision(positive: FloatArray, negative: FloatArray) -> FloatArray:
    total = positive[-1]
    found = total - positive[:-1]  # at or above each score
    taken = found + (negative[-1] - negative[:-1])
    precision = np.zeros_like(taken)  # above the highest score that was drawn nothing is gained either
    np.divide(found, taken, out=precision, where=taken > 0)
    value = np.full(len(total), np.nan)
    gained = np.einsum("mb,mb->b", np.diff(positive, axis=0), precision)
    np.divide(gained, total, out=value, where=total > 0)
    return value


def _rankings(
    statistics: Sequence[_Statistic],
    scores: ArrayLike,
    flags: ArrayLike,
    resamples: int,
    confidence: float,
    rng: Seed,
    clusters: ArrayLike | None,
) -> list[Ranking]:
    generator = generator_for(resamples, confidence, rng)
    all_scores, given_flags = _checked(scores, flags)
    keep = ~np.isnan(all_scores)
    values, flagged = all_scores[keep], given_flags[keep]
    n, positives = len(values), int(flagged.sum())
    index = None
    if clusters is not None:
        # Numbered again among the rows that are kept: a cluster without any cannot be drawn.
        index = cluster_index(cluster_index(clusters, len(all_scores))[keep], n)
    measured = [float("nan")] * len(statistics)
    drawn = [np.empty(0)] * len(statistics)
    sample_units = Units.among(n, index)
    units = len(sample_units.sizes)
    if n:
        sample = _Sorted.of(values, flagged)

        def measure(draws: Draws) -> FloatArray:
            packed = draws.packed if index is None else np.take(draws.packed, index, axis=0)
            sums = sample.below(packed)
            return np.stack([statistic(*sums)[: len(draws.totals)] for statistic in statistics], axis=1)

        once = Draws.of(np.ones((1, units), dtype=np.int32), sample_units)
        measured = measure(once)[0].tolist()
        if generator is not None and np.isfinite(measured).any():
            resampled_values = over_resamples(measure, sample_units, resamples, generator, cells=CELLS)
            drawn = [
                column if np.isfinite(value) else np.empty(0)
                for value, column in zip(measured, resampled_values.T, strict=True)
            ]
    found = []
    for statistic, value, resampled in zip(statistics, measured, drawn, strict=True):
        interval = Interval()
        if generator is not None:
            alone = statistic is _average_precision
            interval = _interval(value, resampled, flagged, index, units, confidence, flagged_alone=alone)
        found.append(
            Ranking(
                value=value,
                low=interval.low,
                high=interval.high,
                n=n,
                positives=positives,
                base_rate=positives / n if n else float("nan"),
                dropped=len(all_scores) - n,
                confidence=confidence,
                resamples=resamples,
                undefined_resamples=int(np.isnan(resampled).sum()),
                clusters=None if index is None else units,
                withheld=interval.withheld,
            )
        )
    return found


def _interval(
    value: float,
    drawn: FloatArray,
    flagged: NDArray[np.bool_],
    index: IntArray | None,
    units: int,
    confidence: float,
    *,
    flagged_alone: bool,
) -> Interval:
    """The interval of `auroc` or, where the flagged alone must be enough, of `average_precision`; see there."""
    clustered = index is not None
    unit = np.arange(len(flagged)) if index is None else index
    sides = [len(np.unique(unit[side])) for side in (flagged, ~flagged)]
    if flagged_alone and np.isfinite(value) and sides[0] < MIN_FLAGGED:
        word = "clusters with a flagged example" if clustered else "flagged examples"
        return Interval(withheld=f"{sides[0]} {word}; an interval needs {MIN_FLAGGED} at least")
    # Average precision rests on the flagged alone, which the limit above is for.
    smallest = min(sides) if clustered and not flagged_alone else units
    known = drawn[np.isfinite(drawn)]
    if value in (0.0, 1.0) and known.size and (known == value).all():
        few = few_units(smallest, clustered=clustered, scale=LOGIT)
        if few:
            return Interval(withheld=few)
        if flagged.all():
            return Interval(withheld="every example is flagged")
        bound = float(((1 - confidence) / 2) ** (1 / min(sides)))
        return Interval(low=bound, high=1.0) if value == 1 else Interval(low=0.0, high=1 - bound)
    pairs = int(flagged.sum()) * int((~flagged).sum())
    return resampled_interval(
        value,
        drawn,
        units=units,
        clustered=clustered,
        confidence=confidence,
        scale=LOGIT,
        floor=0.5 / max(pairs, 1),
        smallest=smallest,
    )


def _checked(scores: ArrayLike, flags: ArrayLike) -> tuple[FloatArray, NDArray[np.bool_]]:
    columns = numeric_columns({"scores": scores, "flags": flags})
    given = columns["flags"]
    odd = given[(given != 0) & (given != 1)]
    if len(odd):
        raise DataError(f"a flag is {odd[0]}; expected booleans, or 0 and 1")
    return columns["scores"], given == 1
