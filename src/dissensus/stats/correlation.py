"""Spearman's rank correlation with its p-value and a bootstrap interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dissensus.stats.bootstrap import FloatArray, Seed, cluster_index, generator_for, percentile_interval
from dissensus.stats.columns import complete_rows, numeric_columns
from dissensus.stats.draws import Draws, Units, over_resamples
from dissensus.stats.ranks import RankedSample, average_ranks, centre, spread_of

CELLS = 400_000
"""Resamples x examples of a chunk. With smaller chunks the threads would wait for each other more often (the
interpreter runs one at a time between NumPy's loops), with larger ones the caches would spill."""


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
        clusters=None if groups is None else len(units.sizes),
    )


def summarize(
    rho: float,
    values: FloatArray,
    *,
    n: int,
    dropped: int,
    confidence: float,
    resamples: int,
    clusters: int | None,
    k: int = 0,
    covariates: tuple[str, ...] = (),
) -> Correlation:
    """The result for a correlation and its values in the resamples; see `Correlation` for the rest."""
    low, high = percentile_interval(values, confidence)
    return Correlation(
        rho=float(rho),
        low=float(low),
        high=float(high),
        p_value=t_test(float(rho), n - 2 - k),
        n=n,
        dropped=dropped,
        df=n - 2 - k,
        k=k,
        covariates=covariates,
        confidence=confidence,
        resamples=resamples,
        undefined_resamples=int(np.isnan(values).sum()),
        clusters=clusters,
    )


def resampled_spearman(x: RankedSample, y: RankedSample, draws: Draws) -> FloatArray:
    """Spearman's rho in each resample, shape (b,); NaN where x or y is constant."""
    rank_x, rank_y = x.rank(draws), y.rank(draws)
    surplus = centre(rank_x, draws.totals)
    centre(rank_y, draws.totals)
    weighted = draws.weights * rank_x
    products = np.einsum("bn,bn->b", weighted, rank_y)
    spread_x = spread_of(np.einsum("bn,bn->b", weighted, rank_x), draws.totals, surplus)
    np.multiply(draws.weights, rank_y, out=weighted)
    spread_y = spread_of(np.einsum("bn,bn->b", weighted, rank_y), draws.totals, surplus)
    rho = np.full(len(products), np.nan)
    spread = np.sqrt(spread_x) * np.sqrt(spread_y)
    np.divide(products - surplus, spread, out=rho, where=spread > 0)
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
