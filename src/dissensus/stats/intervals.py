"""Intervals and p-values that agree with each other, from a statistic and its resampled values.

Both come from one standard error, that of the resampled values on a scale on which the statistic is near normal, and
from Student's t: `low` and `high` are the estimate minus and plus t standard errors, brought back from that scale, and
p is that of the estimate's distance from no effect. So p is below 1 - confidence exactly where the interval leaves out
no effect. Percentiles of the resampled values are too narrow in small samples: at n = 50 they covered 90 to 92 % where
95 % were asked for (docs/validation.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dissensus.stats.bootstrap import FloatArray

MIN_CLUSTERS = 20
"""Below so many clusters (or examples, where each is its own) there is no interval and no p-value: the spread over a
handful of clusters is itself hardly known (10 clusters cover 92 % of the time, 5 of them 83 %)."""
NAN = float("nan")


@dataclass(frozen=True)
class IntervalScale:
    """A scale on which a statistic is near normal.

    Attributes:
        to: from the statistic to the scale.
        back: the other way.
        null: the statistic's value of no effect.
        ends: of its range.
        least_clusters: clusters below which an interval on it is withheld.
    """

    to: Callable[[FloatArray], FloatArray]
    back: Callable[[FloatArray], FloatArray]
    null: float = 0.0
    ends: tuple[float, float] = (-np.inf, np.inf)
    least_clusters: int = MIN_CLUSTERS

    def of(self, values: FloatArray, floor: float = 0.0) -> FloatArray:
        """Values on the scale, those nearer than `floor` to an end of the range moved to that distance from it."""
        low, high = self.ends
        return np.asarray(self.to(np.clip(values, low + floor, high - floor)), dtype=np.float64)


def _logit(p: FloatArray) -> FloatArray:
    return np.asarray(np.log(p) - np.log1p(-p), dtype=np.float64)


def _logistic(x: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1 + np.tanh(np.asarray(x) / 2)), dtype=np.float64)


PLAIN = IntervalScale(np.asarray, np.asarray)
"""Of a mean or a difference of means."""
FISHER = IntervalScale(np.arctanh, np.tanh, ends=(-1.0, 1.0))
"""Fisher's z, of a correlation."""
LOGIT = IntervalScale(_logit, _logistic, null=0.5, ends=(0.0, 1.0), least_clusters=40)
"""The log of the odds, of an AUROC or an average precision. 25 clusters of many examples covered 91.6 to 92.9 % (n =
1,000; `validation/coverage.py` before the limit was set), so more are asked for than of other statistics."""


@dataclass(frozen=True)
class Interval:
    """An interval with the test that agrees with it.

    Attributes:
        low: lower end; NaN without an interval.
        high: upper end.
        p_value: two-sided, of no effect; NaN without one.
        withheld: why there is neither; '' where there is.
    """

    low: float = NAN
    high: float = NAN
    p_value: float = NAN
    withheld: str = ""


def few_units(units: int, *, clustered: bool, scale: IntervalScale = PLAIN, group: str = "") -> str:
    """Why so few clusters (or examples) allow no interval on a scale; '' where there are enough.

    Args:
        units: of the smallest group that the number is made from.
        clustered: whether they are clusters.
        scale: of the interval.
        group: name of that group, where the number is made from several.
    """
    least = scale.least_clusters if clustered else MIN_CLUSTERS
    if units >= least:
        return ""
    one = "cluster" if clustered else "example"
    of = f" of the {group} group" if group else ""
    return f"{units} {one}{'' if units == 1 else 's'}{of}; an interval needs {least} at least"


def t_interval(
    value: float, error: float, df: float, confidence: float, scale: IntervalScale = PLAIN, floor: float = 0.0
) -> Interval:
    """The interval of an estimate from its standard error.

    Args:
        value: the estimate.
        error: its standard error on the scale.
        df: degrees of freedom, of the error; may be infinite.
        confidence: in (0, 1).
        scale: of the estimate.
        floor: see `IntervalScale.of`.
    """
    from scipy import special  # here, because its import takes longer than the rest of `import dissensus`

    if not np.isfinite(value):
        return Interval(withheld="the estimate is not defined")
    if not (np.isfinite(error) and error > 0):
        return Interval(withheld="the values do not vary over resamples, so there is no standard error")
    if df < 1:
        return Interval(withheld="no degree of freedom is left")
    freedom = min(df, 1e9)
    at = float(scale.of(np.asarray(value), floor))
    reach = float(special.stdtrit(freedom, (1 + confidence) / 2)) * error
    distance = at - float(scale.of(np.asarray(scale.null)))
    return Interval(
        low=float(scale.back(np.asarray(at - reach))),
        high=float(scale.back(np.asarray(at + reach))),
        p_value=float(2 * special.stdtr(freedom, -abs(distance) / error)),
    )


def resampled_error(values: FloatArray, units: int) -> float:
    """Standard error of a statistic from its values in bootstrap resamples of `units` examples or clusters.

    The spread of the values that are defined, times sqrt(units / (units - 1)): a resample is drawn from the sample,
    whose own variance is too small by that factor. NaN where more than half of the values are undefined.
    """
    known = values[np.isfinite(values)]
    if len(known) < 2 or 2 * len(known) < len(values) or units < 2:
        return NAN
    if np.ptp(known) <= 1e-12 * max(1.0, float(np.abs(known).max())):
        return 0.0
    return float(known.std(ddof=1) * np.sqrt(units / (units - 1)))


def resampled_interval(
    value: float,
    values: FloatArray,
    *,
    units: int,
    clustered: bool,
    confidence: float,
    scale: IntervalScale = PLAIN,
    df: float | None = None,
    floor: float = 0.0,
    smallest: int | None = None,
) -> Interval:
    """The interval of an estimate from its values in bootstrap resamples; withheld where there are too few units.

    Args:
        value: the estimate.
        values: of the resamples, shape (B,); NaN where it is not defined.
        units: examples, or clusters, that were resampled.
        clustered: whether these are clusters.
        confidence: in (0, 1).
        scale: of the estimate.
        df: degrees of freedom; default: units - 1.
        floor: see `IntervalScale.of`.
        smallest: units of the smallest group that the estimate is made from; default: `units`.
    """
    if not np.isfinite(value):
        return Interval(withheld="the estimate is not defined")
    few = few_units(units if smallest is None else smallest, clustered=clustered, scale=scale)
    if few:
        return Interval(withheld=few)
    if 2 * np.isfinite(values).sum() < len(values):
        return Interval(withheld="the estimate is not defined in more than half of the resamples")
    spread = np.where(
        np.isfinite(values), scale.of(np.where(np.isfinite(values), values, scale.null), floor), np.nan
    )
    error = resampled_error(spread, units)
    return t_interval(value, error, units - 1 if df is None else df, confidence, scale, floor)
