"""Covariates as columns that are held fixed: flexible functions of a rank, a line in it, indicators of classes.

A line in a covariate's rank is not enough. Entropy is an inverted U of the share of annotators who chose the gold
label: on ChaosNLI's SNLI items a line in that share's rank explains 50 % of entropy's rank, a spline 85 %. What the
line leaves is a function of gold share still, and so is a loss that depends on nothing else: their partial correlation
came out between -.28 and +.13 where the truth is 0 (docs/design/statistics.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, get_args

import numpy as np

from dissensus.errors import SpecError
from dissensus.stats.bootstrap import FloatArray
from dissensus.stats.ranks import average_ranks

Form = Literal["flexible", "linear"]
"""How a numeric covariate enters: as a flexible function of its rank, or as a line in it."""
COLLINEAR = 1e-10
"""A direction whose singular value is below this share of the largest one counts as collinear."""
FEW_VALUES = 10
"""Up to so many distinct values a covariate's values are classes of their own."""
EACH = 10
"""... if there are so many examples to each on average."""
KNOTS = (3, 8)
"""Fewest and most knots of a spline."""


def covariate_basis(
    covariates: Mapping[str, FloatArray], classes: Collection[str], n: int, form: Form = "flexible"
) -> FloatArray:
    """An orthonormal basis of what the centred covariates span, shape (n, k); k is their numerical rank.

    Args:
        covariates: name -> values of shape (n,), without NaN.
        classes: names of those that hold class codes, in no order.
        n: examples.
        form: of the numeric ones; see `columns_of`.

    Raises `SpecError` for another form.
    """
    if form not in get_args(Form):
        raise SpecError(f"form is {form!r}; expected 'flexible' or 'linear'")
    parts = [np.empty((0, n))]
    for name, values in covariates.items():
        if name in classes:
            parts.append(indicators(values))
        else:
            parts.append(columns_of(values) if form == "flexible" else average_ranks(values)[None])
    return orthonormal(np.concatenate(parts), n)


def columns_of(values: FloatArray) -> FloatArray:
    """A numeric covariate as columns that together can follow any smooth function of its rank, shape (k, n).

    Indicators of its values where they are few (`FEW_VALUES`) and there are `EACH` examples to a value; else a natural
    cubic spline in u = (average rank - 1/2) / n: u, and for each inner knot a cubic that is straight beyond the outer
    knots (Hastie, Tibshirani and Friedman 2009, equations 5.4 and 5.5). Knots stand at equally spaced quantiles of u
    from .02 to .98, 3 up to n = 70 and one more for each doubling, 8 at most; knots that ties make equal count once.
    """
    n = len(values)
    distinct = len(np.unique(values))
    if distinct <= FEW_VALUES and n >= EACH * distinct:
        return indicators(values)
    u = (average_ranks(values) - 0.5) / n
    few, most = KNOTS
    count = int(np.clip(3 + round(np.log2(max(n, 1) / 50)), few, most))
    knots = np.unique(np.quantile(u, np.linspace(0.02, 0.98, count)))
    if len(knots) < 3:
        return u[None]
    *inner, before, last = knots.tolist()

    def curve(knot: float) -> FloatArray:
        rest = np.maximum(u - knot, 0.0) ** 3 - np.maximum(u - last, 0.0) ** 3
        return np.asarray(rest / (last - knot), dtype=np.float64)

    return np.stack([u, *(curve(knot) - curve(before) for knot in inner)])


def indicators(codes: FloatArray) -> FloatArray:
    """One 0/1 row for each distinct value but the first, shape (values - 1, n)."""
    return np.asarray(codes[None, :] == np.unique(codes)[1:, None], dtype=np.float64)


def orthonormal(rows: FloatArray, n: int) -> FloatArray:
    """An orthonormal basis of what the centred rows span, shape (n, k), k being their numerical rank."""
    varying = [row - row.mean() for row in rows if n and np.ptp(row) > 0]
    if not varying:
        return np.empty((n, 0))
    matrix = np.stack([row / np.linalg.norm(row) for row in varying], axis=1)
    basis, singular, _ = np.linalg.svd(matrix, full_matrices=False)
    return np.asarray(basis[:, singular > COLLINEAR * singular[0]], dtype=np.float64)
