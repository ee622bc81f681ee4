"""Several readings of the same examples under the same resamples: each measure, and how much it changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.clusters import fewest_clusters
from dissensus.analysis.sensitivity.readings import Reading
from dissensus.curves import FloatArray
from dissensus.stats.bootstrap import CountArray, IntArray, drawn_units, times_drawn
from dissensus.stats.correlation import resampled_spearman
from dissensus.stats.draws import Draws, Units
from dissensus.stats.groups import CONTESTED, SETTLED
from dissensus.stats.intervals import FISHER, PLAIN, Interval, IntervalScale, few_units, resampled_interval
from dissensus.stats.ranks import RankedSample

MEASURES = ("rho", "delta_contested", "unlearned_contested", "delta_difference")
"""Spearman's rho of entropy and AULC; mean change of the contested examples' loss, nats; share of un-learned ones
among them; mean change of the contested less that of the settled, nats."""

CELLS = 100_000
"""Resamples x examples of a chunk: bounds the memory, and shows in no result."""

ROUNDING = 1e-12
"""Changes below this are none."""


@dataclass(frozen=True)
class Seen:
    """One seed's readings, which are of the same n examples in the same order.

    Attributes:
        clusters: what is resampled together, shape (n,).
        readings: R of them; the first is the reference.
    """

    clusters: NDArray[np.str_]
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class PairedMeasures:
    """The measures of R readings, each the mean over the seeds. Arrays have shape (R, 4), in the order of `MEASURES`.

    Attributes:
        value: NaN where a seed has none.
        low: lower end of its interval; NaN without one.
        high: upper end.
        change: value less that of the first reading.
        change_low: lower end of the interval of the change, on the same resamples.
        change_high: upper end.
        n: examples with entropy and AULC in each reading, mean over the seeds, shape (R,).
        clusters: behind the value: of the smallest group of examples that it is made from, the fewest of any seed.
        withheld: why the value has no interval; '' where it has one.
        change_withheld: the same of the change, which rests on both readings.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    change: FloatArray
    change_low: FloatArray
    change_high: FloatArray
    n: FloatArray
    clusters: IntArray
    withheld: NDArray[np.str_]
    change_withheld: NDArray[np.str_]


def measure(
    seeds: Sequence[Seen], *, resamples: int, confidence: float, rng: np.random.Generator
) -> PairedMeasures:
    """Measures of each reading and their changes, with paired intervals over clusters.

    An interval is the value +- t standard errors over the resamples (of rho on Fisher's scale), with as many degrees of
    freedom as there are clusters behind it minus 1 (of rho at most n - 2); see `stats.intervals`. The clusters behind
    a value are those of the smallest group that it is made from: of contested examples, of contested or settled ones,
    whichever are fewer, or of all that rho ranks. A change has the fewer of its two readings. Where every resample
    gives the same, as where a choice changes nothing, the interval is that value.

    One draw of clusters (from all that any seed has) serves every seed and reading, so what two readings share
    cancels in their difference. The seeds themselves are not resampled: intervals say what other examples would
    change, not what other seeds would.
    """
    names, place = np.unique(np.concatenate([seen.clusters for seen in seeds]), return_inverse=True)
    ends = np.cumsum([len(seen.clusters) for seen in seeds])[:-1]
    cells = [
        _Summed.of(seen.readings, units.astype(np.intp), len(names))
        for seen, units in zip(seeds, np.split(place.reshape(-1), ends), strict=True)
    ]

    def over_seeds(counts: CountArray) -> FloatArray:
        return np.asarray(np.mean([cell.measures(counts) for cell in cells], axis=0), dtype=np.float64)

    value = over_seeds(np.ones((1, len(names)), dtype=np.int32))[0]
    rows = 4 * max(1, CELLS // (4 * max(len(seen.clusters) for seen in seeds)))
    chunks = drawn_units(len(names), resamples, rng, rows=rows)
    drawn = np.concatenate([over_seeds(times_drawn(picks)) for picks in chunks])
    change, changes = _less_first(value[None])[0], _less_first(drawn)
    ranked = np.array([[int(_ranked(r).sum()) for r in seen.readings] for seen in seeds])
    behind = np.min([[_behind(r, seen.clusters) for r in seen.readings] for seen in seeds], axis=0)
    freedom = np.minimum(
        behind - 1, np.where([True, False, False, False], ranked.min(axis=0)[:, None] - 2, behind)
    )
    intervals = _intervals(value, drawn, behind, freedom, confidence, [FISHER, PLAIN, PLAIN, PLAIN])
    both, least_freedom = np.minimum(behind, behind[:1]), np.minimum(freedom, freedom[:1])
    moved = _intervals(change, changes, both, least_freedom, confidence, [PLAIN] * len(MEASURES))
    n = ranked.mean(axis=0)
    return PairedMeasures(
        value,
        intervals.low,
        intervals.high,
        change,
        moved.low,
        moved.high,
        n,
        behind,
        intervals.withheld,
        moved.withheld,
    )


def _behind(reading: Reading, clusters: NDArray[np.str_]) -> list[int]:
    """Clusters behind each of the measures, in the order of `MEASURES`."""
    contested, settled = reading.group == CONTESTED, reading.group == SETTLED
    known = np.isfinite(reading.delta)
    rests_on = (
        [_ranked(reading)],
        [known & contested],
        [reading.defined & contested],
        [known & contested, known & settled],
    )
    return [fewest_clusters(clusters, groups) for groups in rests_on]


@dataclass(frozen=True)
class _Intervals:
    """Intervals of R readings' measures; all arrays of shape (R, 4).

    Attributes:
        low: lower ends.
        high: upper ends.
        withheld: why there is none.
    """

    low: FloatArray
    high: FloatArray
    withheld: NDArray[np.str_]


def _intervals(
    value: FloatArray,
    drawn: FloatArray,
    units: IntArray,
    freedom: IntArray,
    confidence: float,
    scales: Sequence[IntervalScale],
) -> _Intervals:
    """From values, clusters behind them and degrees of freedom of shape (R, 4), and resampled values, (B, R, 4)."""
    intervals: list[Interval] = []
    for reading, measured in np.ndindex(*value.shape):
        resampled, at = drawn[:, reading, measured], float(value[reading, measured])
        behind = int(units[reading, measured])
        if scales[measured] is PLAIN and np.ptp(resampled) <= ROUNDING:
            few = few_units(behind, clustered=True)
            intervals.append(Interval(withheld=few) if few else Interval(low=at, high=at))
            continue
        intervals.append(
            resampled_interval(
                at,
                resampled,
                units=behind,
                clustered=True,
                confidence=confidence,
                scale=scales[measured],
                df=float(freedom[reading, measured]),
                floor=1e-9 if scales[measured] is FISHER else 0.0,
            )
        )
    return _Intervals(
        np.array([one.low for one in intervals]).reshape(value.shape),
        np.array([one.high for one in intervals]).reshape(value.shape),
        np.array([one.withheld for one in intervals]).reshape(value.shape),
    )


@dataclass(frozen=True)
class _Correlated:
    """What one correlation is computed from.

    Attributes:
        readings: which readings it is of.
        rows: key of the examples that have both values.
        x: entropy, sorted once.
        y: AULC, likewise.
    """

    readings: tuple[int, ...]
    rows: bytes
    x: RankedSample
    y: RankedSample


@dataclass(frozen=True)
class _Summed:
    """One seed's readings, summed over clusters as far as that goes.

    Attributes:
        sums: for each cluster, six sums a reading: of the contested examples' changes, their number, that of
            settled ones, their number, un-learned contested examples and contested ones for which that is defined;
            shape (U, 6 R).
        correlated: the distinct correlations.
        units: rows key -> the units of those examples.
    """

    sums: FloatArray
    correlated: tuple[_Correlated, ...]
    units: dict[bytes, Units]

    @classmethod
    def of(cls, readings: Sequence[Reading], unit: IntArray, clusters: int) -> _Summed:
        columns: list[FloatArray] = []
        same: dict[tuple[int, int], list[int]] = {}
        for number, reading in enumerate(readings):
            known = np.isfinite(reading.delta)
            contested, settled = reading.group == CONTESTED, reading.group == SETTLED
            delta = np.where(known, reading.delta, 0.0)
            defined = contested & reading.defined
            columns += [
                np.bincount(unit, weights=weights, minlength=clusters).astype(np.float64)
                for weights in (
                    delta * contested,
                    known & contested,
                    delta * settled,
                    known & settled,
                    defined & reading.unlearned,
                    defined,
                )
            ]
            # Most choices leave both columns alone, and then the very arrays are the reference's.
            same.setdefault((id(reading.entropy), id(reading.aulc)), []).append(number)
        correlated, units = [], {}
        entropies: dict[tuple[int, bytes], RankedSample] = {}
        for numbers in same.values():
            reading = readings[numbers[0]]
            keep = _ranked(reading)
            if int(keep.sum()) < 3:
                continue
            kept_unit, key = unit[keep], keep.tobytes()
            units[key] = Units(kept_unit, np.bincount(kept_unit, minlength=clusters).astype(np.float64))
            # Sorted once, and ranked once in each chunk of draws (`Draws.ranked`), whichever AULC stands beside it.
            x = entropies.setdefault(
                (id(reading.entropy), key), RankedSample.of(reading.entropy[keep], kept_unit)
            )
            correlated.append(
                _Correlated(tuple(numbers), key, x, RankedSample.of(reading.aulc[keep], kept_unit))
            )
        return cls(np.stack(columns, axis=1), tuple(correlated), units)

    def measures(self, counts: CountArray) -> FloatArray:
        """The measures of each reading in b resamples of the clusters, shape (b, R, 4); NaN where undefined."""
        drawn = (counts.astype(np.float64) @ self.sums).reshape(len(counts), -1, 3, 2)
        mean = np.full(drawn.shape[:3], np.nan)
        np.divide(drawn[..., 0], drawn[..., 1], out=mean, where=drawn[..., 1] > 0)
        values = np.full((*drawn.shape[:2], len(MEASURES)), np.nan)
        values[..., 1], values[..., 2] = mean[..., 0], mean[..., 2]
        values[..., 3] = mean[..., 0] - mean[..., 1]
        draws = {key: Draws.of(counts, units, several=True) for key, units in self.units.items()}
        for one in self.correlated:
            values[:, one.readings, 0] = resampled_spearman(one.x, one.y, draws[one.rows])[:, None]
        return values


def _less_first(drawn: FloatArray) -> FloatArray:
    """Each reading less the first, shape (b, R, 4)."""
    change = drawn - drawn[:, :1]
    # A matrix product may round two equal columns differently, and no interval must leave out 0 for that.
    return np.where(np.abs(change) < ROUNDING, 0.0, change)


def _ranked(reading: Reading) -> NDArray[np.bool_]:
    """Examples that a correlation can rank: infinite values are ranked, undefined ones are not."""
    return np.asarray(~np.isnan(reading.entropy) & ~np.isnan(reading.aulc))
