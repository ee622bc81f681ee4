"""Numbers that a claim rests on: an estimate with its error, its interval and its tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dissensus.analysis.claims.sampled import ConditionValue
from dissensus.analysis.claims.seeds import SeedSpread
from dissensus.analysis.claims.sum_error import SumError
from dissensus.curves import FloatArray
from dissensus.stats import benjamini_hochberg, holm
from dissensus.stats.intervals import FISHER, LOGIT, PLAIN, IntervalScale, few_units, resampled_error
from dissensus.wording import interval_end, number


@dataclass(frozen=True)
class Part:
    """One number that a claim says is above 0.

    Attributes:
        name: a condition, a pair of methods, a data set.
        value: the estimate.
        low: lower end of its interval, from the spread over examples and seeds; see `part`.
        high: upper end.
        se: standard error, of the estimate itself.
        df: degrees of freedom.
        p: two-sided, of 0.
        p_below: one-sided, of the smallest value that counts: small where the number is shown to be below it.
        p_holm: `p` adjusted by Holm over the parts of its question; NaN before they are joined.
        p_bh: `p` adjusted by Benjamini and Hochberg.
        smallest: the smallest value that counts.
        seeds: seeds behind it, the fewest of any condition.
        cells: ids of the cells that it rests on.
        note: what a reader must know of this number, or ''.
        clusters: clusters of examples behind it, the fewest of any condition.
        withheld: why it has no interval and no test, or ''.
        spared: why it does not count against the claim, however low it is, or ''.
    """

    name: str
    value: float
    low: float
    high: float
    se: float
    df: float
    p: float
    p_below: float
    smallest: float
    seeds: int
    cells: tuple[str, ...]
    note: str = ""
    p_holm: float = float("nan")
    p_bh: float = float("nan")
    clusters: int = 0
    withheld: str = ""
    spared: str = ""

    @property
    def defined(self) -> bool:
        """Whether there is an estimate with an error."""
        return bool(np.isfinite(self.value) and np.isfinite(self.p))

    @property
    def p_above(self) -> float:
        """One-sided, of 0: small where the number is shown to be above it."""
        return self.p / 2 if self.value > 0 else 1 - self.p / 2

    @property
    def text(self) -> str:
        """Its name, value and interval."""
        ends = f"interval {interval_end(self.low, 3)} to {interval_end(self.high, 3)}"
        return f"{self.name} ({number(self.value, 3)}, {ends})"

    @property
    def unjudged(self) -> str:
        """Of one without an error: its name, its value if there is one, and why it is not judged."""
        value = f"{number(self.value, 3)}, " if np.isfinite(self.value) else ""
        return f"{self.name} ({value}{self.withheld or 'not defined'})"


def part(
    name: str,
    conditions: Sequence[ConditionValue],
    *,
    smallest: float,
    confidence: float,
    scale: IntervalScale = PLAIN,
    pool: Sequence[ConditionValue] = (),
    fixed_seeds: bool = False,
    note: str = "",
    spared: str = "",
) -> Part:
    """The mean over conditions, its error and its tests.

    The variance is that over resampled clusters of examples (times G / (G - 1) for G clusters, on the given scale)
    plus that over seeds (`SeedSpread`); critical values of the sum are those of `SumError`. The first has G - 1
    degrees of freedom, or those that the fewest examples leave (n - 2 - k, see `CellValue.df`) where these are fewer,
    as in the tables. Below the scale's fewest clusters, and where more than half of the resamples leave the statistic
    undefined, there is an estimate and no interval; `withheld` says why.

    Args:
        name: what the number is of.
        conditions: what the mean is over; those without a value are left out.
        smallest: the smallest value that counts.
        confidence: of the interval.
        scale: on which the error is taken to be normal.
        pool: where to borrow the seeds' variance from when none of the conditions has two seeds.
        fixed_seeds: the number is about these very seeds: other seeds do not count.
        note: what a reader must know of it.
        spared: why it does not count against the claim.
    """
    known = [one for one in conditions if one.defined]
    cells = tuple(dict.fromkeys(cell for one in known or conditions for cell in one.cells))
    counts = 1 if fixed_seeds else min((len(one.by_seed) for one in known), default=0)
    clusters = min((one.clusters for one in known or conditions), default=0)

    def withheld(value: float, why: str) -> Part:
        nothing = float("nan")
        return Part(name, value, nothing, nothing, nothing, nothing, nothing, nothing, smallest, counts, cells, note,
                    clusters=clusters, withheld=why, spared=spared)  # fmt: skip

    if not known:
        reasons = dict.fromkeys(one.why for one in conditions if one.why)
        return withheld(float("nan"), "; ".join(reasons) or "not defined")
    value = float(np.mean([one.value for one in known]))
    few = few_units(clusters, clustered=True, scale=scale)
    if few:
        return withheld(value, few)
    resampled = np.mean([one.resampled for one in known], axis=0)
    finite = resampled[np.isfinite(resampled)]
    if len(finite) < 2 or 2 * len(finite) < len(resampled):
        return withheld(value, "undefined in more than half of the resamples")
    df = min(one.df for one in known)
    margin = _margin(scale, clusters)
    centre = float(np.clip(value, scale.ends[0] + margin, scale.ends[1] - margin))
    examples = resampled_error(scale.of(finite, margin), clusters) ** 2
    examples = max(examples, max(one.least_se for one in known) ** 2)
    if examples == 0 and scale is FISHER:
        # Fisher's own, n - k - 3 beside G - 3: every resample gave the same, as a perfect rank correlation does.
        examples = 1 / max(1.0, min(clusters - 3, df - 1))
    terms = [(examples, min(clusters - 1.0, df))]
    spread = None if fixed_seeds else (_spread(known) or _spread(pool))
    if spread is not None:
        weights = [(seed, 1 / (len(known) * len(one.by_seed))) for one in known for seed in one.by_seed]
        steepness = slope(scale, centre) ** 2
        terms += [(variance * steepness, df) for variance, df in spread.variances(weights)]
        if counts == 1 and _spread(known) is None:
            borrowed = f"the variance between seeds is that of {spread.conditions} conditions with {spread.seeds} seeds"
            note = "; ".join(filter(None, (note, borrowed)))
    error = SumError.of(terms)
    if not error.terms:
        return withheld(value, "the same in every resample: nothing says how sure it is")
    return estimated(
        name, value, error, smallest=smallest, confidence=confidence, seeds=counts, cells=cells, note=note,
        scale=scale, centre=centre, clusters=clusters, spared=spared,
    )  # fmt: skip


def estimated(
    name: str,
    value: float,
    error: SumError,
    *,
    smallest: float,
    confidence: float,
    seeds: int,
    cells: Sequence[str],
    note: str = "",
    scale: IntervalScale = PLAIN,
    centre: float | None = None,
    clusters: int = 0,
    spared: str = "",
) -> Part:
    """A part from an estimate and its error on a scale.

    Args:
        name: what it is of.
        value: the estimate.
        error: its standard error on the scale, with critical values.
        smallest: the smallest value that counts.
        confidence: of the interval.
        seeds: behind it.
        cells: ids of the cells.
        note: what a reader must know.
        scale: on which Student's t holds.
        centre: the estimate moved off the end of its range, where it lies on it.
        clusters: behind it.
        spared: why it does not count against the claim.
    """
    low = high = p = p_below = se = df = float("nan")
    if np.isfinite(value):
        at = value if centre is None else centre
        place, zero, bound = (float(scale.to(np.array(v))) for v in (at, 0.0, smallest))
        reach = error.critical((1 - confidence) / 2) * error.se
        low = min(float(scale.back(np.array(place - reach))), value)
        high = max(float(scale.back(np.array(place + reach))), value)
        p = min(1.0, 2 * error.tail(abs(place - zero) / error.se))
        p_below = error.tail((bound - place) / error.se)
        se, df = error.se / slope(scale, at), error.df(confidence)
    return Part(name, float(value), low, high, se, df, p, p_below, smallest, seeds, tuple(cells), note,
                clusters=clusters, spared=spared)  # fmt: skip


def adjusted(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts with their p-values adjusted over each other."""
    p: FloatArray = np.array([one.p for one in parts], dtype=np.float64)
    by_holm, by_bh = holm(p), benjamini_hochberg(p)
    return tuple(
        replace(one, p_holm=float(h), p_bh=float(b)) for one, h, b in zip(parts, by_holm, by_bh, strict=True)
    )


def _margin(scale: IntervalScale, clusters: int) -> float:
    """How far an estimate is moved off the end of its range, where the scale is infinite: half a cluster's share."""
    low, high = scale.ends
    return 0.5 * (high - low) / (clusters + 1) if np.isfinite(high - low) else 0.0


def _spread(conditions: Sequence[ConditionValue]) -> SeedSpread | None:
    return SeedSpread.of([one.by_seed for one in conditions])


__all__ = ["ABOVE_CHANCE", "FISHER", "PLAIN", "IntervalScale", "slope"]


def _to(area: FloatArray) -> FloatArray:
    return LOGIT.to(np.asarray(area) + 0.5)


def _back(value: FloatArray) -> FloatArray:
    return LOGIT.back(value) - 0.5


ABOVE_CHANCE = IntervalScale(_to, _back, ends=(-0.5, 0.5), least_clusters=LOGIT.least_clusters)
"""The logit, of an AUROC minus 0.5."""
_STEP = 1e-6


def slope(scale: IntervalScale, value: float) -> float:
    """Derivative of the scale at a value that lies off the ends of its range."""
    ends = scale.to(np.array([value - _STEP, value + _STEP]))
    return float(ends[1] - ends[0]) / (2 * _STEP)
