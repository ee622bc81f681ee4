"""Hierarchical regression: the share of variance that a column adds to covariates, with its F test."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dissensus.stats.basis import indicators, orthonormal
from dissensus.stats.bootstrap import FloatArray
from dissensus.stats.columns import complete_rows, numeric_columns


@dataclass(frozen=True)
class IncrementalR2:
    """Two nested linear regressions of one outcome.

    Attributes:
        r2_base: share of the outcome's variance that the covariates explain, in [0, 1].
        r2_full: the same with the added columns.
        increment: r2_full minus r2_base.
        f: of the added columns: (increment / df1) / ((1 - r2_full) / df2).
        df1: dimensions that the added columns bring.
        df2: n - 1 - dimensions of both.
        p_value: upper tail of F with df1 and df2 degrees of freedom.
        n: rows used.
        dropped: rows left out because a value is not finite.
    """

    r2_base: float
    r2_full: float
    increment: float
    f: float
    df1: int
    df2: int
    p_value: float
    n: int
    dropped: int


def incremental_r2(
    y: ArrayLike,
    base: Mapping[str, ArrayLike],
    added: Mapping[str, ArrayLike],
    *,
    categorical: Collection[str] = ("gold",),
) -> IncrementalR2:
    """R2 of y on the base columns, then with the added ones, by least squares on raw values with an intercept.

    Categorical columns enter as indicators of their classes but the first, the others as they are. p takes examples as
    independent and errors as normal: what the textbook's test of a hierarchical regression says, no more.

    Degenerate cases: rows with a value that is not finite (an example that was never learned) are dropped and counted.
    Columns that others determine bring no dimension. NaN where y is constant; F and p are NaN without a degree of
    freedom; an exact fit has an infinite F and p 0.

    Args:
        y: shape (n,).
        base: name -> values of shape (n,); may be empty.
        added: name -> values of shape (n,).
        categorical: names of columns that hold class codes.

    Raises:
        DataError: shapes do not fit, or a column is not numeric.
    """
    from scipy import special  # here, because its import takes longer than the rest of `import dissensus`

    columns = numeric_columns(
        {
            "y": y,
            **{f"base {name}": v for name, v in base.items()},
            **{f"added {name}": v for name, v in added.items()},
        }
    )
    named = [*base, *added]
    finite = [np.where(np.isfinite(column), column, np.nan) for column in columns.values()]
    keep = complete_rows(finite)
    outcome, *rest = (column[keep] for column in finite)
    n, dropped = len(outcome), int((~keep).sum())
    rows = [indicators(v) if name in categorical else v[None] for name, v in zip(named, rest, strict=True)]
    few, most = _basis(rows[: len(base)], n), _basis(rows, n)
    df1, df2 = most.shape[1] - few.shape[1], n - 1 - most.shape[1]
    if n < 2 or np.ptp(outcome) == 0:
        nan = float("nan")
        return IncrementalR2(nan, nan, nan, nan, df1, df2, nan, n, dropped)
    centred = outcome - outcome.mean()
    r2_base, r2_full = _share(few, centred), _share(most, centred)
    increment = r2_full - r2_base
    f = p_value = float("nan")
    if df1 > 0 and df2 > 0:
        left = (1 - r2_full) / df2
        f = increment / df1 / left if left > 1e-15 else float("inf")
        p_value = float(special.fdtrc(df1, df2, f)) if np.isfinite(f) else 0.0
    return IncrementalR2(r2_base, r2_full, increment, f, df1, df2, p_value, n, dropped)


def _basis(rows: list[FloatArray], n: int) -> FloatArray:
    return orthonormal(np.concatenate([np.empty((0, n)), *rows]), n)


def _share(basis: FloatArray, centred: FloatArray) -> float:
    """Share of the squared length of a centred vector that lies in the basis."""
    explained = basis.T @ centred
    return float(np.clip(explained @ explained / (centred @ centred), 0.0, 1.0))
