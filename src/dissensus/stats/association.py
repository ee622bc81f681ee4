"""Associations beside Spearman's rho: Kendall's tau-b, and rho within each class of the gold label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dissensus.stats.bootstrap import FloatArray
from dissensus.stats.columns import complete_rows, numeric_columns
from dissensus.stats.correlation import spearman


@dataclass(frozen=True)
class KendallTau:
    """Kendall's tau-b of two columns.

    Attributes:
        tau: in [-1, 1]; NaN where it is not defined.
        p_value: two-sided, of tau = 0, as if examples were independent; NaN without tau.
        n: examples used.
        dropped: examples left out because a value is NaN.
    """

    tau: float
    p_value: float
    n: int
    dropped: int


@dataclass(frozen=True)
class ClassRho:
    """Spearman's rho within one class.

    Attributes:
        label: the class, as its code was given.
        rho: in [-1, 1]; NaN below the least number of examples, or where a column is constant.
        p_value: two-sided, as if examples were independent; NaN without rho.
        n: examples of the class with both values.
    """

    label: int
    rho: float
    p_value: float
    n: int


def kendall_tau_b(x: ArrayLike, y: ArrayLike) -> KendallTau:
    """Kendall's tau-b: concordant minus discordant pairs, over the geometric mean of the pairs not tied in x, in y.

    Range -1 to 1, no unit. tau and p are `scipy.stats.kendalltau`'s (Kendall, "The treatment of ties in ranking
    problems", Biometrika 33, 1945; p exact in small samples without ties, else normal).

    Degenerate cases: rows with a NaN are dropped and counted; infinities are ranked like any number. NaN below 2 rows
    and where a column is constant.

    Args:
        x: shape (n,).
        y: shape (n,).

    Raises:
        DataError: shapes do not fit.
    """
    from scipy import stats  # here, because its import takes longer than the rest of `import dissensus`

    columns = numeric_columns({"x": x, "y": y})
    keep = complete_rows(columns.values())
    first, second = (column[keep] for column in columns.values())
    n, dropped = len(first), int((~keep).sum())
    if n < 2 or first.min() == first.max() or second.min() == second.max():
        return KendallTau(float("nan"), float("nan"), n, dropped)
    result = stats.kendalltau(_ranks(first), _ranks(second))
    return KendallTau(float(result.statistic), float(result.pvalue), n, dropped)


def rho_by_class(x: ArrayLike, y: ArrayLike, classes: ArrayLike, *, least: int = 10) -> tuple[ClassRho, ...]:
    """Spearman's rho of x and y within each class, ranked anew there; in the order of the classes' codes.

    Degenerate cases: examples with a NaN in x or y, or a negative class code (no gold label), are left out. A class
    with fewer than `least` of the others is listed with NaN.

    Args:
        x: shape (n,).
        y: shape (n,).
        classes: class codes, whole numbers, shape (n,).
        least: examples of a class that a rho takes, at least.

    Raises:
        DataError: shapes do not fit.
    """
    columns = numeric_columns({"x": x, "y": y, "classes": classes})
    first, second, codes = columns.values()
    both = complete_rows([first, second, codes])
    rhos = []
    for code in np.unique(codes[np.isfinite(codes) & (codes >= 0)]).tolist():
        member = both & (codes == code)
        n = int(member.sum())
        result = spearman(first[member], second[member]) if n >= least else None
        rho, p_value = (result.rho, result.p_value) if result else (float("nan"), float("nan"))
        rhos.append(ClassRho(int(code), rho, p_value, n))
    return tuple(rhos)


def _ranks(values: FloatArray) -> FloatArray:
    """Dense ranks, which stand for infinities as well as for numbers."""
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.float64).reshape(-1)
