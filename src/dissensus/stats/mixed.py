"""A mixed-effects model of one slope over many cells: what entropy says of AULC, over items, seeds and conditions.

`mixed_rows.py` has the coordinates that it is estimated in, `mixed_fit.py` the estimation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.errors import DataError, SpecError
from dissensus.stats.bootstrap import FloatArray, IntArray
from dissensus.stats.columns import numeric_columns
from dissensus.stats.mixed_fit import Estimate, estimate, library, slope_of
from dissensus.stats.mixed_rows import NAMES, Rows, random_effects
from dissensus.stats.ranks import average_ranks


@dataclass(frozen=True)
class MixedSlope:
    """The slope of y on x over all cells, and how much it varies.

    Attributes:
        slope: fixed slope, in units of y by units of x; with `ranks`, about the mean of the cells' Spearman's rho.
        se: its standard error.
        low: lower end of its interval.
        high: upper end.
        p_value: two-sided, of a slope of 0.
        df: degrees of freedom of Student's t (Satterthwaite's): few where the spread over a few seeds or conditions
            makes most of the standard error.
        confidence: of the interval.
        n: values used, items x cells.
        items: items used: those with a value in every cell.
        dropped: items left out because a cell lacks them, or a value is not finite.
        cells: distinct (condition, seed) pairs.
        seeds: distinct seeds.
        conditions: distinct conditions.
        sd_item: standard deviation of the items' intercepts, shared by all cells.
        sd_item_condition: of what an item's intercept has of its own in one condition, in all its seeds.
        sd_slope_condition: of the slope over conditions.
        sd_slope_seed: of the slope over seeds: in a single condition, over its runs; in several, of what all runs with
            one seed number share (that number sets the order of the data, say).
        sd_slope_run: of what the slope has of its own in one run (cell). With several conditions, the slope spreads
            over a condition's seeds by sqrt(sd_slope_seed^2 + sd_slope_run^2).
        sd_residual: of what is left.
        converged: whether the estimation ended as it should.
        note: what to know about it, '' for nothing: a variance estimated as 0, why there is no result, a failure.

    A standard deviation is NaN where the design cannot tell it from another one (one seed, one condition), and 0
    where it is estimated as 0.
    """

    slope: float
    se: float
    low: float
    high: float
    p_value: float
    df: float
    confidence: float
    n: int
    items: int
    dropped: int
    cells: int
    seeds: int
    conditions: int
    sd_item: float
    sd_item_condition: float
    sd_slope_condition: float
    sd_slope_seed: float
    sd_slope_run: float
    sd_residual: float
    converged: bool
    note: str


def mixed_slope(
    y: ArrayLike,
    x: ArrayLike,
    item: ArrayLike,
    seed: ArrayLike,
    condition: ArrayLike,
    *,
    ranks: bool = False,
    confidence: float = 0.95,
) -> MixedSlope:
    """Slope of y on an item's x, with random intercepts by item and random slopes by seed and condition.

    The model, for item i in the run of condition c with seed s:

        y_ics = a_cs + (b + B_c + B_s + B_cs) x_i + u_i + v_ic + e_ics

    with fixed a_cs (each cell has its own mean) and b, and independent normal B (slopes by condition, seed and
    run), u and v (intercepts by item, and by item within a condition) and e, each with one variance. What the design
    cannot tell apart is left out: with one condition B_c, B_cs and v, with one seed B_s, B_cs and v. A random
    slope by item is not in the model because it is not identified: x does not vary within an item, so that such a
    slope would be one more intercept.

    Estimation: variances by restricted maximum likelihood, with `statsmodels.MixedLM` (see `mixed_fit.estimate`); given
    them, b and its standard error by generalised least squares over the cells' slopes, and an interval from Student's
    t with Satterthwaite's degrees of freedom. In a complete grid of conditions and seeds b is the mean of the cells'
    least-squares slopes.

    What it says: conditions and seeds count as drawn from those that might have been run, so that the interval is for
    the mean slope over such. Items count as drawn independently (pairs with a common premise are not quite). Where
    few runs vary less by chance than such runs do, a slope's variance is estimated as 0, which `note` says; the
    interval is too narrow then.

    Degenerate cases: fewer than 3 items in common, or an x or a cell's y that does not vary, give NaN and a note. A
    single cell leaves nothing to be random: its least-squares slope, with the usual standard error. After a failed
    estimation `converged` is False, and `note` has the message.

    Args:
        y: shape (rows,); for example AULC.
        x: shape (rows,), the same for an item in every row; for example annotation entropy.
        item: item ids, shape (rows,).
        seed: shape (rows,).
        condition: shape (rows,).
        ranks: replace y and x by their average ranks among the items used, within each cell, scaled to mean 0 and
            variance 1. Each cell's slope is then its Spearman's rho.
        confidence: of the interval.

    Raises:
        DataError: shapes do not fit, x varies within an item, or a cell holds an item twice.
        SpecError: the confidence is outside (0, 1).
        MissingDependencyError: statsmodels is not installed.
    """
    if not 0 < confidence < 1:
        raise SpecError(f"confidence is {confidence!r}; expected a number between 0 and 1, such as 0.95")
    mixedlm = library()
    table = _Table.of(y, x, item, seed, condition)
    if table.has_slope:
        values = (
            (np.stack([_scaled(v) for v in table.y.T], axis=1), _scaled(table.x))
            if ranks
            else (table.y, table.x)
        )
        rows = Rows.of(*values, random_effects(table.condition, table.seed))
        found = estimate(rows, mixedlm)
        slope, se, df = slope_of(rows, found)
    else:
        found = Estimate(
            {}, True, "no slope: fewer than 3 items in common, or an x or a cell's y that does not vary"
        )
        slope = se = df = float("nan")
    half = _t_quantile(df, confidence) * se
    return MixedSlope(
        slope=slope,
        se=se,
        low=slope - half,
        high=slope + half,
        p_value=_p_value(slope, se, df),
        df=df,
        confidence=confidence,
        n=table.y.size,
        items=len(table.y),
        dropped=table.dropped,
        cells=table.y.shape[1],
        seeds=len(np.unique(table.seed)),
        conditions=len(np.unique(table.condition)),
        **{f"sd_{name}": float(np.sqrt(found.variances.get(name, np.nan))) for name in NAMES},
        converged=found.converged,
        note=found.note,
    )


@dataclass(frozen=True)
class _Table:
    """What the model is fitted to.

    Attributes:
        y: values of the items that every cell has, shape (items, cells).
        x: one an item, shape (items,).
        condition: number of each cell's condition, shape (cells,).
        seed: number of each cell's seed, shape (cells,).
        dropped: items that a cell lacks.
    """

    y: FloatArray
    x: FloatArray
    condition: IntArray
    seed: IntArray
    dropped: int

    @classmethod
    def of(cls, y: ArrayLike, x: ArrayLike, item: ArrayLike, seed: ArrayLike, condition: ArrayLike) -> _Table:
        """Sort rows into items x cells and keep the items that are complete."""
        columns = numeric_columns({"y": y, "x": x})
        n = len(columns["y"])
        names, i = _codes("item", item, n)
        (_, c), (_, s) = _codes("condition", condition, n), _codes("seed", seed, n)
        pairs, cell = np.unique(np.stack([c, s]), axis=1, return_inverse=True)
        place = i * pairs.shape[1] + cell.reshape(-1)
        if len(np.unique(place)) < n:
            twice = names[int(np.bincount(place).argmax()) // pairs.shape[1]]
            raise DataError(f"item {twice} stands twice in one cell; expected one row an item and cell")
        values, own = np.full((len(names), pairs.shape[1]), np.nan), np.full(len(names), np.nan)
        values.reshape(-1)[place], own[i] = columns["y"], columns["x"]
        # Not-a-number differs from everything: an x that one row lacks drops its item below, and is no error.
        off = np.abs(columns["x"] - own[i]) > 1e-9 * np.maximum(1.0, np.abs(own[i]))
        if off.any():
            row = int(off.argmax())
            raise DataError(
                f"x of item {names[i[row]]} is {own[i[row]]} in one row and {columns['x'][row]} in another; "
                "expected one x an item, the same in every cell"
            )
        known = np.ones(len(names), dtype=np.bool_)
        known[i[~np.isfinite(columns["x"])]] = False
        keep = known & np.isfinite(values).all(axis=1)
        return cls(values[keep], own[keep], pairs[0], pairs[1], int((~keep).sum()))

    @property
    def has_slope(self) -> bool:
        """Whether every cell has a slope and something left beside it."""
        return bool(len(self.x) > 2 and np.ptp(self.x) > 0 and (np.ptp(self.y, axis=0) > 0).all())


def _codes(name: str, labels: ArrayLike, n: int) -> tuple[NDArray[np.generic], IntArray]:
    """The distinct labels, and each row's number among them."""
    given = np.asarray(labels)
    if given.shape != (n,):
        raise DataError(f"{name} has shape {given.shape}; expected one label a row, shape ({n},)")
    distinct, codes = np.unique(given, return_inverse=True)
    return distinct, codes.astype(np.intp)


def _scaled(values: FloatArray) -> FloatArray:
    ranks = average_ranks(values)
    return np.asarray((ranks - ranks.mean()) / ranks.std(), dtype=np.float64)


def _t_quantile(df: float, confidence: float) -> float:
    from scipy import special  # here, because its import takes longer than the rest of `import dissensus`

    return float(special.stdtrit(df, (1 + confidence) / 2)) if df > 0 else float("nan")


def _p_value(slope: float, se: float, df: float) -> float:
    from scipy import special

    return float(2 * special.stdtr(df, -abs(slope) / se)) if df > 0 and se > 0 else float("nan")
