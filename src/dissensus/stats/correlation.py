"""Spearman's rank correlation with its p-value and a bootstrap interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dissensus.stats.bootstrap import (
    CountArray,
    FloatArray,
    Seed,
    cluster_index,
    generator_for,
    percentile_interval,
    resample_counts,
)
from dissensus.stats.columns import complete_rows, numeric_columns
from dissensus.stats.ranks import RankedSample, average_ranks


@dataclass(frozen=True)
class Correlation:
    """A rank correlation, plain or partial.

    Attributes:
        rho: in [-1, 1]; NaN where it is not defined.
        low: lower end of the bootstrap interval; NaN without one.
        high: upper end.
        p_value: two-sided, of rho = 0, from Student's t with `df` degrees of freedom; takes examples as
            independent.
        n: examples used.
        dropped: examples left out because a value is NaN.
        df: degrees of freedom, n - 2 - k.
        k: covariate dimensions that were partialled out (0 for a plain correlation).
        covariates: their names, as given.
        confidence: of the interval.
        resamples: bootstrap resamples that were drawn.
        undefined_resamples: those in which rho is not defined; left out of the interval.
        clusters: number of clusters that were resampled; None if examples were.
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

    Range -1 to 1, no unit. p-value: t = rho sqrt(df / (1 - rho^2)) against Student's t with df = n - 2.
    Interval: percentile bootstrap; every resample is ranked anew.

    Degenerate cases: rows with a NaN in x or y are dropped and counted; infinities are ranked like any
    number. A constant x or y, or fewer than 3 rows, gives NaN.

    Args:
        x: shape (n,).
        y: shape (n,).
        resamples: bootstrap resamples; 0 gives no interval.
        confidence: of the interval.
        rng: generator or seed; required when resamples > 0.
        clusters: labels of shape (n,); whole clusters are resampled (the p-value still takes examples as
            independent).

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
    rho = pearson(average_ranks(first), average_ranks(second)) if n > 2 else float("nan")
    values = np.empty(0)
    if generator is not None and np.isfinite(rho):
        a, b = RankedSample.of(first), RankedSample.of(second)
        chunks = resample_counts(n, resamples, generator, clusters=groups)
        values = np.concatenate([resampled_spearman(a, b, counts) for counts in chunks])
    low, high = percentile_interval(values, confidence)
    return Correlation(
        rho=rho,
        low=float(low),
        high=float(high),
        p_value=t_test(rho, n - 2),
        n=n,
        dropped=len(keep) - n,
        df=n - 2,
        confidence=confidence,
        resamples=resamples,
        undefined_resamples=int(np.isnan(values).sum()),
        clusters=None if groups is None else len(np.unique(groups)),
    )


def resampled_spearman(x: RankedSample, y: RankedSample, counts: CountArray) -> FloatArray:
    """Spearman's rho in each resample, shape (b,); NaN where x or y is constant. `counts` has shape (b, n)."""
    rank_x, spread_x = x.rank(counts)
    rank_y, spread_y = y.rank(counts)
    weights = counts.astype(np.float64)
    total = weights.sum(axis=1)
    products = np.einsum("bn,bn,bn->b", weights, rank_x.astype(np.float64), rank_y.astype(np.float64))
    rho = np.full(len(counts), np.nan)
    spread = np.sqrt(spread_x) * np.sqrt(spread_y)
    np.divide(products - total * (total + 1) ** 2, spread, out=rho, where=spread > 0)
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
