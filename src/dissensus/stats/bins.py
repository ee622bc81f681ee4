"""Bins: means of a quantity within k bins of another, cut at fixed points or at quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dissensus.errors import SpecError
from dissensus.stats.columns import complete_rows, numeric_columns

QUARTILES = (25.0, 50.0, 75.0)
TERCILES = (33.33, 66.67)
"""Percentages at which the paper's code cuts."""


@dataclass(frozen=True)
class Bin:
    """One bin and what lies in it.

    Attributes:
        low: lower end, inside the bin; -inf of the first.
        high: upper end, outside it; inf of the last.
        n: examples in it.
        mean: of their values; NaN without any.
        sd: sample standard deviation (divisor n - 1); NaN for fewer than two.
    """

    low: float
    high: float
    n: int
    mean: float
    sd: float


def quantile_cuts(x: ArrayLike, percentages: Sequence[float] = QUARTILES) -> tuple[float, ...]:
    """Cut points of x at these percentages, linearly between neighbours (NumPy's default); () without a finite x.

    Args:
        x: shape (n,); values that are not finite are left out.
        percentages: rising, within 0 to 100.
    """
    values = numeric_columns({"x": x})["x"]
    known = values[np.isfinite(values)]
    return tuple(np.percentile(known, percentages).tolist()) if known.size else ()


def binned(x: ArrayLike, y: ArrayLike, cuts: Sequence[float]) -> tuple[Bin, ...]:
    """y within each of the k + 1 bins that k cut points make of x: [low, high), the outermost without an end.

    Degenerate cases: rows with a NaN in x or a y that is not finite are left out. Cuts that ties make equal give an
    empty bin between them: the bins stay as many as were asked for.

    Args:
        x: what is cut, shape (n,), in the unit of the cuts.
        y: what is averaged, shape (n,).
        cuts: cut points, not falling.

    Raises:
        DataError: shapes do not fit.
        SpecError: the cuts fall.
    """
    points = np.asarray(cuts, dtype=np.float64)
    if np.any(np.diff(points) < 0) or np.isnan(points).any():
        raise SpecError(f"cuts are {tuple(cuts)}; expected points in rising order")
    columns = numeric_columns({"x": x, "y": y})
    keep = complete_rows(columns.values()) & np.isfinite(columns["y"])
    place = np.searchsorted(points, columns["x"][keep], side="right")
    ends = [-np.inf, *points.tolist(), np.inf]
    bins = []
    for number in range(len(points) + 1):
        inside = columns["y"][keep][place == number]
        bins.append(
            Bin(
                low=ends[number],
                high=ends[number + 1],
                n=len(inside),
                mean=float(inside.mean()) if len(inside) else float("nan"),
                sd=float(inside.std(ddof=1)) if len(inside) > 1 else float("nan"),
            )
        )
    return tuple(bins)
