"""Over seeds and ranks: sample standard deviation, trend over ranks, agreement of learning orders between seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dissensus.errors import DataError
from dissensus.stats.bootstrap import FloatArray
from dissensus.stats.correlation import spearman
from dissensus.stats.ranks import average_ranks

NAN = float("nan")


@dataclass(frozen=True)
class RankTrend:
    """Trend of a number over ranks of an adapter.

    Attributes:
        rho: Spearman's rho of rank and number, in [-1, 1]; NaN below 3 pairs, or where a column is constant.
        p_value: two-sided, by Student's t with n - 2 degrees of freedom; of little worth at so few pairs.
        n: pairs that both have a number.
    """

    rho: float
    p_value: float
    n: int


@dataclass(frozen=True)
class Concordance:
    """Kendall's coefficient of concordance: how alike m seeds order n examples.

    Attributes:
        w: without a correction for ties, in [0, 1]: 1 if all seeds give one order.
        w_ties: with the correction; at least `w`, 1 if all seeds give one order, ties and all.
        chi2: m (n - 1) w.
        p_value: of independent orders: upper tail of chi squared with n - 1 degrees of freedom, at `chi2`.
        chi2_ties: m (n - 1) w_ties, Friedman's statistic.
        p_value_ties: of that.
        df: n - 1.
        seeds: m.
        n: examples used.
        dropped: examples left out because a seed has a NaN.
    """

    w: float
    w_ties: float
    chi2: float
    p_value: float
    chi2_ties: float
    p_value_ties: float
    df: int
    seeds: int
    n: int
    dropped: int


def sample_sd(values: ArrayLike) -> float:
    """Sample standard deviation (divisor S - 1) of the finite ones among S values; NaN for fewer than two."""
    numbers = np.asarray(values, dtype=np.float64)
    known = numbers[np.isfinite(numbers)]
    return float(known.std(ddof=1)) if known.size > 1 else NAN


def rank_trend(ranks: ArrayLike, values: ArrayLike) -> RankTrend:
    """Spearman's rho over (rank, value) pairs, such as each rank's rho of entropy and AULC (the paper's Table 3).

    Args:
        ranks: of the adapter, shape (r,).
        values: one number per rank, shape (r,); a pair with a NaN is left out.

    Raises:
        DataError: shapes do not fit.
    """
    result = spearman(ranks, values)
    return RankTrend(result.rho, result.p_value, result.n)


def concordance(times: ArrayLike) -> Concordance:
    """Kendall's W of learning times: each seed ranks the examples (average ranks of ties), W compares the rank sums.

    With R_i the sum over m seeds of example i's rank and S the sum of (R_i - mean R)^2: W = 12 S / (m^2 (n^3 - n)), and
    with the correction for ties W = 12 S / (m^2 (n^3 - n) - m T), T the sum over seeds and tied blocks of t^3 - t.
    Range 0 to 1. An infinite time (never learned) ranks last, tied with the other ones.

    Degenerate cases: examples with a NaN in any seed are dropped and counted. NaN below 2 seeds or 2 examples; with the
    correction also where every seed ties all of them.

    Source: M. G. Kendall and B. Babington Smith, "The problem of m rankings", Annals of Mathematical Statistics 10,
    1939.

    Args:
        times: shape (n, m): examples by seeds, joined by id.

    Raises:
        DataError: times are no matrix.
    """
    from scipy import special  # here, because its import takes longer than the rest of `import dissensus`

    complete, dropped = _complete(times)
    n, m = complete.shape
    df = n - 1
    if n < 2 or m < 2:
        return Concordance(NAN, NAN, NAN, NAN, NAN, NAN, df, m, n, dropped)
    ranks = np.stack([average_ranks(column) for column in complete.T], axis=1)
    sums = ranks.sum(axis=1)
    spread = 12 * float(((sums - sums.mean()) ** 2).sum())
    whole = m**2 * (float(n) ** 3 - n)
    blocks = [np.unique(column, return_counts=True)[1].astype(np.float64) for column in complete.T]
    untied = whole - m * sum(float((sizes**3 - sizes).sum()) for sizes in blocks)
    w, w_ties = spread / whole, spread / untied if untied > 0 else NAN
    chi2, chi2_ties = m * df * w, m * df * w_ties
    return Concordance(
        w=w,
        w_ties=w_ties,
        chi2=chi2,
        p_value=float(special.chdtrc(df, chi2)),
        chi2_ties=chi2_ties,
        p_value_ties=float(special.chdtrc(df, chi2_ties)),
        df=df,
        seeds=m,
        n=n,
        dropped=dropped,
    )


def pairwise_spearman(times: ArrayLike) -> FloatArray:
    """Spearman's rho between every two seeds' columns, shape (m, m), 1 on its diagonal; NaN for a constant column.

    The same examples as in `concordance`: those without a NaN in any seed.

    Args:
        times: shape (n, m): examples by seeds.

    Raises:
        DataError: times are no matrix.
    """
    complete, _ = _complete(times)
    m = complete.shape[1]
    rhos = np.full((m, m), np.nan)
    for i in range(m):
        for j in range(i, m):
            rhos[i, j] = rhos[j, i] = spearman(complete[:, i], complete[:, j]).rho
    return rhos


def _complete(times: ArrayLike) -> tuple[FloatArray, int]:
    """The rows without a NaN, and how many there are with one."""
    values = np.asarray(times, dtype=np.float64)
    if values.ndim != 2:
        raise DataError(f"times have shape {values.shape}; expected examples by seeds, shape (n, m)")
    keep = ~np.isnan(values).any(axis=1)
    return values[keep], int((~keep).sum())
