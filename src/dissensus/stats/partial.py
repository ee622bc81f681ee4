"""Partial Spearman correlation: what is left of a rank correlation when covariates are held fixed."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dissensus.errors import SpecError
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
from dissensus.stats.correlation import Correlation, pearson, t_test
from dissensus.stats.ranks import RankedSample, average_ranks

COLLINEAR = 1e-10
"""A direction whose singular value is below this share of the largest one counts as collinear."""
COLLINEAR_SQUARED = 1e-13
"""The same for products of columns, whose eigenvalues are squares and carry a rounding error near 1e-15."""


def partial_spearman(
    x: ArrayLike,
    y: ArrayLike,
    covariates: Mapping[str, ArrayLike],
    *,
    categorical: Collection[str] | None = None,
    resamples: int = 0,
    confidence: float = 0.95,
    rng: Seed = None,
    clusters: ArrayLike | None = None,
) -> Correlation:
    """Partial Spearman correlation of x and y given covariates.

    x, y and every numeric covariate are replaced by their average ranks, every categorical one by
    indicators of its classes but the first. Both rank vectors are regressed by least squares on the
    covariates with an intercept; rho is Pearson's correlation of the residuals. Without covariates this is
    `spearman`.

    Range -1 to 1, no unit. p-value: t = rho sqrt(df / (1 - rho^2)) with df = n - 2 - k, where k is the
    number of covariate dimensions: the numerical rank of the centred covariate matrix, each column at unit
    length (singular values above 1e-10 of the largest). Constant covariates, and those that others
    determine, therefore cost no degree of freedom and change nothing. Interval: percentile bootstrap; x, y
    and the covariates are ranked anew in every resample.

    Degenerate cases: rows with a NaN in x, y or a covariate are dropped and counted; df below 1, or an x or y
    that the covariates determine, gives NaN.

    Args:
        x: shape (n,).
        y: shape (n,).
        covariates: name -> values of shape (n,).
        categorical: names of the covariates whose values are class codes, in no order. Default: `gold`, if
            there is a covariate of that name.
        resamples: bootstrap resamples; 0 gives no interval.
        confidence: of the interval.
        rng: generator or seed; required when resamples > 0.
        clusters: labels of shape (n,); whole clusters are resampled (the p-value still takes examples as
            independent).

    Raises:
        DataError: shapes do not fit, or a covariate is not numeric.
        SpecError: `categorical` names no covariate, an option is not valid, or the seed is missing.
    """
    generator = generator_for(resamples, confidence, rng)
    classes = _categorical(covariates, categorical)
    named = numeric_columns({"x": x, "y": y, **{f"covariate {name!r}": v for name, v in covariates.items()}})
    keep = complete_rows(named.values())
    first, second, *others = (column[keep] for column in named.values())
    groups = None if clusters is None else cluster_index(clusters, len(keep))[keep]
    numeric = [v for name, v in zip(covariates, others, strict=True) if name not in classes]
    indicators = [_indicators(v) for name, v in zip(covariates, others, strict=True) if name in classes]
    design = _Design(
        tuple(RankedSample.of(v) for v in (first, second, *numeric)),
        np.concatenate([np.empty((0, len(first))), *indicators]),
    )
    n = len(first)
    basis = _orthonormal([*(average_ranks(v) for v in numeric), *design.indicators], n)
    k = basis.shape[1]
    rho = (
        _residual_correlation(average_ranks(first), average_ranks(second), basis)
        if n - 2 - k >= 1
        else np.nan
    )
    values = np.empty(0)
    if generator is not None and np.isfinite(rho):
        # A chunk holds every column of the design, so it takes fewer resamples than a plain correlation's.
        cells = 200_000 // (2 + len(others))
        chunks = resample_counts(n, resamples, generator, clusters=groups, cells=cells)
        values = np.concatenate([design.correlations(counts) for counts in chunks])
    low, high = percentile_interval(values, confidence)
    return Correlation(
        rho=float(rho),
        low=float(low),
        high=float(high),
        p_value=t_test(float(rho), n - 2 - k),
        n=n,
        dropped=len(keep) - n,
        df=n - 2 - k,
        k=k,
        covariates=tuple(covariates),
        confidence=confidence,
        resamples=resamples,
        undefined_resamples=int(np.isnan(values).sum()),
        clusters=None if groups is None else len(np.unique(groups)),
    )


@dataclass(frozen=True)
class _Design:
    """What is needed to compute the partial correlation in any resample.

    Attributes:
        ranked: x, y and the numeric covariates, sorted once.
        indicators: 0/1 rows for the classes of the categorical covariates, shape (q, n).
    """

    ranked: tuple[RankedSample, ...]
    indicators: FloatArray

    def correlations(self, counts: CountArray) -> FloatArray:
        """The partial correlation in each resample, shape (b,); NaN where it is not defined."""
        weights = counts.astype(np.float64)
        total = weights.sum(axis=1)
        columns = np.empty((len(counts), len(self.ranked) + len(self.indicators), counts.shape[1]))
        for j, ranked in enumerate(self.ranked):
            columns[:, j] = (
                ranked.rank(counts)[0] - (total + 1)[:, None]
            )  # the mean of doubled ranks is N + 1
        if len(self.indicators):
            shares = weights @ self.indicators.T / total[:, None]
            columns[:, len(self.ranked) :] = self.indicators - shares[:, :, None]
        products = (columns * weights[:, None, :]) @ columns.swapaxes(1, 2)
        length = np.sqrt(np.einsum("bjj->bj", products))
        # A column that is constant in a resample keeps a rounding error at most: make it exactly nothing.
        constant = length <= 1e-7 * np.sqrt(total)[:, None]
        scale = np.where(constant, 0.0, 1 / np.where(constant, 1.0, length))
        r = products * scale[:, :, None] * scale[:, None, :]
        # Partial covariance of x and y as a Schur complement. The pseudo-inverse passes over directions in which
        # a resample has no variation, a class that was not drawn for one.
        outer = r[:, :2, 2:]
        left = r[:, :2, :2] - outer @ np.linalg.pinv(r[:, 2:, 2:], rtol=COLLINEAR_SQUARED, hermitian=True) @ (
            outer.swapaxes(1, 2)
        )
        variance = left[:, 0, 0] * left[:, 1, 1]
        usable = (left[:, 0, 0] > COLLINEAR_SQUARED) & (left[:, 1, 1] > COLLINEAR_SQUARED)
        rho = np.full(len(counts), np.nan)
        np.divide(left[:, 0, 1], np.sqrt(np.where(usable, variance, 1.0)), out=rho, where=usable)
        return np.asarray(np.clip(rho, -1.0, 1.0), dtype=np.float64)


def _categorical(covariates: Mapping[str, ArrayLike], named: Collection[str] | None) -> frozenset[str]:
    if named is None:
        return frozenset({"gold"} & set(covariates))
    if isinstance(named, str):
        named = (named,)
    for name in named:
        if name not in covariates:
            near = difflib.get_close_matches(name, covariates, n=1)
            hint = (
                f"did you mean {near[0]!r}?" if near else "covariates: " + (", ".join(covariates) or "none")
            )
            raise SpecError(f"categorical names {name!r}, which is no covariate; {hint}")
    return frozenset(named)


def _indicators(codes: FloatArray) -> FloatArray:
    """One 0/1 row for each class but the first, shape (classes - 1, n)."""
    return np.asarray(codes[None, :] == np.unique(codes)[1:, None], dtype=np.float64)


def _orthonormal(columns: list[FloatArray], n: int) -> FloatArray:
    """An orthonormal basis of what the centred columns span, shape (n, k), k being their numerical rank."""
    centred = [column - column.mean() for column in columns if len(column) and np.ptp(column) > 0]
    if not centred:
        return np.empty((n, 0))
    matrix = np.stack([column / np.linalg.norm(column) for column in centred], axis=1)
    basis, singular, _ = np.linalg.svd(matrix, full_matrices=False)
    return np.asarray(basis[:, singular > COLLINEAR * singular[0]], dtype=np.float64)


def _residual_correlation(x: FloatArray, y: FloatArray, basis: FloatArray) -> float:
    """Pearson's correlation of x and y less their projections on the basis; NaN where nothing is left of one."""
    residuals = []
    for ranks in (x, y):
        centred = ranks - ranks.mean()
        left = centred - basis @ (basis.T @ centred)
        left -= basis @ (basis.T @ left)  # once more: removes what rounding left in the basis' directions
        if np.linalg.norm(left) <= 1e-8 * np.linalg.norm(centred):
            return float("nan")
        residuals.append(left)
    return pearson(*residuals)
