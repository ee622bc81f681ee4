"""Spearman's rank correlation with its p-value and a bootstrap interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dissensus.stats.bootstrap import FloatArray, Seed, cluster_index, generator_for
from dissensus.stats.columns import complete_rows, numeric_columns
from dissensus.stats.draws import Draws, Units, over_resamples
from dissensus.stats.intervals import FISHER, resampled_interval
from dissensus.stats.ranks import RankedSample, average_ranks, centred_ranks, spread_of

CELLS = 100_000
"""Resamples x examples of a chunk. With smaller chunks the threads would wait for each other more often (the
interpreter runs one at a time between NumPy's loops), with larger ones the caches would spill."""


@dataclass(frozen=True)
class Correlation:
    """A rank correlation, plain or partial.

    Attributes:
        rho: in [-1, 1]; NaN where it is not defined.
        low: lower end of the interval; NaN without one.
        high: upper end.
        p_value: two-sided, of rho = 0: from the error that gives the interval, so that it is below 1 - confidence
            exactly where the interval leaves out 0. Without resamples it takes examples as independent, and is NaN
            where there are clusters.
        n: examples used.
        dropped: examples left out because a value is NaN.
        df: degrees of freedom: n - 2 - k, or the number of clusters less 1 where that is smaller.
        k: covariate dimensions that were partialled out (0 for a plain correlation).
        covariates: their names, as given.
        confidence: of the interval.
        resamples: bootstrap resamples that were drawn.
        undefined_resamples: those in which rho is not defined; left out of the interval.
        clusters: number of clusters that were resampled; None if examples were.
        withheld: why there is no interval or no rho, where one was asked for; '' else.
    """

    rho: float
    low: float
    high: float
    p_value: float
    n: int
    dropped: int
    df: int
    k: int = 0
    covariates: tuple[str, ...] = ()
    confidence: float = 0.95
    resamples: int = 0
    undefined_resamples: int = 0
    clusters: int | None = None
    withheld: str = ""


def spearman(
    x: ArrayLike,
    y: ArrayLike,
    *,
    resamples: int = 0,
    confidence: float = 0.95,
    rng: Seed = None,
    clusters: ArrayLike | None = None,
) -> Correlation:
    """Spearman's rho: Pearson's correlation of the average ranks (Spearman, 1904).

    Range -1 to 1, no unit. Interval and p-value: on the scale of Fisher's z = artanh(rho), from the standard error of z
    over bootstrap resamples, each ranked anew, and Student's t with min(clusters - 1, n - 2) degrees of freedom. So
    they agree, and respect clusters. Without resamples p is that of t = rho sqrt(df / (1 - rho^2)), for independent
    examples.

    Degenerate cases: rows with a NaN in x or y are dropped and counted; infinities are ranked like any
    number. A constant x or y, or fewer than 3 rows, gives NaN. Below 20 clusters (or examples) there is no interval and
    no p-value; `Correlation.withheld` says why.

    Args:
        x: shape (n,).
        y: shape (n,).
        resamples: bootstrap resamples; 0 gives no interval.
        confidence: of the interval.
        rng: generator or seed; required when resamples > 0.
        clusters: labels of shape (n,); whole clusters are resampled.

    Raises:
        DataError: shapes do not fit.
        SpecError: an option is not valid, or the seed is missing.
    """
    generator = generator_for(resamples, confidence, rng)
    columns = numeric_columns({"x": x, "y": y})
    keep = complete_rows(columns.values())
    first, second = (column[keep] for column in columns.values())
    groups = None if clusters is None else cluster_index(clusters, len(keep))[keep]
    n = len(first)
    units = Units.among(n, groups)
    rho = pearson(average_ranks(first), average_ranks(second)) if n > 2 else float("nan")
    values = np.empty(0)
    if generator is not None and np.isfinite(rho):
        a, b = RankedSample.of(first, units.of), RankedSample.of(second, units.of)
        values = over_resamples(
            lambda draws: resampled_spearman(a, b, draws), units, resamples, generator, cells=CELLS
        )
    return summarize(
        rho,
        values,
        n=n,
        dropped=len(keep) - n,
        confidence=confidence,
        resamples=resamples,
        units=len(units.sizes),
        clustered=groups is not None,
    )


def summarize(
    rho: float,
    values: FloatArray,
    *,
    n: int,
    dropped: int,
    confidence: float,
    resamples: int,
    units: int,
    clustered: bool,
    k: int = 0,
    covariates: tuple[str, ...] = (),
    undefined: str = "",
) -> Correlation:
    """The result for a correlation and its values in the resamples; see `Correlation` for the rest.

    Args:
        rho: the correlation.
        values: in the resamples, shape (B,).
        n: examples.
        dropped: examples left out.
        confidence: of the interval.
        resamples: how many were asked for.
        units: examples or clusters that were resampled.
        clustered: whether they are clusters.
        k: covariate dimensions.
        covariates: their names.
        undefined: why rho is not defined, if it is not.
    """
    df = n - 2 - k
    low = high = float("nan")
    p_value, withheld = float("nan"), undefined
    if clustered:
        df = min(df, units - 1)
    if resamples:
        interval = resampled_interval(
            rho,
            values,
            units=units,
            clustered=clustered,
            confidence=confidence,
            scale=FISHER,
            df=df,
            floor=1e-9,
        )
        low, high, p_value, withheld = (
            interval.low,
            interval.high,
            interval.p_value,
            undefined or interval.withheld,
        )
    elif not clustered:
        p_value = t_test(rho, df)
    return Correlation(
        rho=float(rho),
        low=low,
        high=high,
        p_value=p_value,
        n=n,
        dropped=dropped,
        df=df,
        k=k,
        covariates=covariates,
        confidence=confidence,
        resamples=resamples,
        undefined_resamples=int(np.isnan(values).sum()),
        clusters=units if clustered else None,
        withheld=withheld,
    )


def item_percentiles(
    x: ArrayLike, y: ArrayLike, *, resamples: int, rng: Seed, confidence: float = 0.95
) -> tuple[float, float]:
    """Both ends of the percentile bootstrap interval of Spearman's rho, examples resampled one by one.

    The textbook's and the paper's interval: percentiles of the resampled values, linearly between neighbours. It is too
    narrow in small samples and takes examples as independent; `spearman` gives ours.

    Degenerate cases: rows with a NaN are dropped. NaN where rho is undefined or nothing is resampled.

    Args:
        x: shape (n,).
        y: shape (n,).
        resamples: how many.
        rng: generator or seed.
        confidence: share of the resampled values between both ends.

    Raises:
        DataError: shapes do not fit.
        SpecError: an option is not valid.
    """
    generator = generator_for(resamples, confidence, rng)
    columns = numeric_columns({"x": x, "y": y})
    keep = complete_rows(columns.values())
    first, second = (column[keep] for column in columns.values())
    if generator is None or len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan"), float("nan")
    units = Units.among(len(first), None)
    a, b = RankedSample.of(first, units.of), RankedSample.of(second, units.of)
    values = over_resamples(
        lambda draws: resampled_spearman(a, b, draws), units, resamples, generator, cells=CELLS
    )
    low, high = np.nanpercentile(values, [50 * (1 - confidence), 50 * (1 + confidence)])
    return float(low), float(high)


def resampled_spearman(x: RankedSample, y: RankedSample, draws: Draws) -> FloatArray:
    """Spearman's rho in each resample, shape (b,); NaN where x or y is constant."""
    first, second = centred_ranks(x, draws), centred_ranks(y, draws)
    products = np.einsum("nb,nb->b", first.weighted, second.ranks)
    spread_x, spread_y = (spread_of(one.squares, draws.totals) for one in (first, second))
    rho = np.full(len(products), np.nan)
    spread = np.sqrt(spread_x) * np.sqrt(spread_y)
    np.divide(products, spread, out=rho, where=spread > 0)
    return np.asarray(np.clip(rho, -1.0, 1.0), dtype=np.float64)


def pearson(a: FloatArray, b: FloatArray) -> float:
    """Pearson's correlation of two vectors; NaN if one is constant."""
    if len(a) == 0 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1.0, 1.0))


def t_test(rho: float, df: int) -> float:
    """Two-sided p-value of a correlation with `df` degrees of freedom; NaN for df < 1, 0 for |rho| = 1."""
    if df < 1 or not np.isfinite(rho):
        return float("nan")
    if abs(rho) == 1:
        return 0.0
    from scipy import special  # here, because its import takes longer than the rest of `import dissensus`

    t = abs(rho) * np.sqrt(df / ((1 - rho) * (1 + rho)))
    return float(2 * special.stdtr(df, -t))
