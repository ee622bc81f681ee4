"""Partial Spearman correlation: what is left of a rank correlation when covariates are held fixed."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dissensus.errors import SpecError
from dissensus.stats.bootstrap import FloatArray, IntArray, Seed, cluster_index, generator_for
from dissensus.stats.columns import complete_rows, numeric_columns
from dissensus.stats.correlation import CELLS, Correlation, pearson, summarize
from dissensus.stats.draws import Draws, Units, over_resamples
from dissensus.stats.ranks import RankedSample, average_ranks, centre, spread_of

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
    return rank_correlations(
        x,
        y,
        covariates,
        categorical=categorical,
        resamples=resamples,
        confidence=confidence,
        rng=rng,
        clusters=clusters,
    ).partial


@dataclass(frozen=True)
class RankCorrelations:
    """Both correlations of x and y, over the same examples and the same resamples.

    Attributes:
        plain: Spearman's rho.
        partial: with the covariates held fixed.
    """

    plain: Correlation
    partial: Correlation


def rank_correlations(
    x: ArrayLike,
    y: ArrayLike,
    covariates: Mapping[str, ArrayLike],
    *,
    categorical: Collection[str] | None = None,
    resamples: int = 0,
    confidence: float = 0.95,
    rng: Seed = None,
    clusters: ArrayLike | None = None,
) -> RankCorrelations:
    """`spearman` and `partial_spearman` from one set of resamples, in the time of the latter alone.

    Each is what its own function gives from the same seed, over the rows that are complete in x, y and every covariate
    (`spearman` by itself keeps a row whose covariates are NaN). Arguments and errors are those of `partial_spearman`.
    """
    generator = generator_for(resamples, confidence, rng)
    classes = _categorical(covariates, categorical)
    named = numeric_columns({"x": x, "y": y, **{f"covariate {name!r}": v for name, v in covariates.items()}})
    keep = complete_rows(named.values())
    first, second, *others = (column[keep] for column in named.values())
    groups = None if clusters is None else cluster_index(clusters, len(keep))[keep]
    n = len(first)
    units = Units.among(n, groups)
    held = dict(zip(covariates, others, strict=True))
    design = RankDesign.of(first, second, held, classes, units.of)
    k = design.basis.shape[1]
    plain, partial = design.plain, design.partial
    plains = partials = np.empty(0)
    if generator is not None and np.isfinite(plain):
        cells = 3 * CELLS // (1 + len(design.ranked))  # a chunk holds every column
        products = over_resamples(design.covariances, units, resamples, generator, cells=cells)
        plains = partial_correlations(products[:, :2, :2])
        partials = partial_correlations(products) if np.isfinite(partial) else partials
    options: dict[str, Any] = {
        "n": n,
        "dropped": len(keep) - n,
        "confidence": confidence,
        "resamples": resamples,
        "clusters": None if groups is None else len(units.sizes),
    }
    return RankCorrelations(
        plain=summarize(plain, plains, **options),
        partial=summarize(partial, partials, k=k, covariates=tuple(covariates), **options),
    )


@dataclass(frozen=True)
class RankDesign:
    """What is needed to compute the correlations of complete columns, as they are and in any resample.

    Attributes:
        ranked: x, y and the numeric covariates, sorted once.
        indicators: 0/1 rows for the classes of the categorical covariates, shape (q, n).
        ranks: of x and y in the sample itself, shape (2, n).
        basis: what the covariates span in the sample itself, orthonormal, shape (n, k).
    """

    ranked: tuple[RankedSample, ...]
    indicators: FloatArray
    ranks: FloatArray
    basis: FloatArray

    @classmethod
    def of(
        cls,
        x: FloatArray,
        y: FloatArray,
        covariates: Mapping[str, FloatArray],
        classes: Collection[str] = frozenset({"gold"}),
        units: IntArray | None = None,
    ) -> RankDesign:
        """Sort and rank columns of shape (n,) without NaN.

        Args:
            x: one value an example.
            y: likewise.
            covariates: what is held fixed: name -> values.
            classes: names of the covariates that hold class codes.
            units: number of the unit that each example is drawn with; default: each is its own.
        """
        numeric = [v for name, v in covariates.items() if name not in classes]
        indicators = [_indicators(v) for name, v in covariates.items() if name in classes]
        n = len(x)
        rows = np.concatenate([np.empty((0, n)), *indicators])
        return cls(
            ranked=tuple(RankedSample.of(v, units) for v in (x, y, *numeric)),
            indicators=rows,
            ranks=np.stack([average_ranks(x), average_ranks(y)]),
            basis=_orthonormal([*(average_ranks(v) for v in numeric), *rows], n),
        )

    @property
    def plain(self) -> float:
        """Spearman's rho of x and y."""
        return pearson(self.ranks[0], self.ranks[1]) if self.ranks.shape[1] > 2 else float("nan")

    @property
    def partial(self) -> float:
        """Their partial correlation given the covariates."""
        n, k = self.basis.shape
        return (
            _residual_correlation(self.ranks[0], self.ranks[1], self.basis)
            if n - 2 - k >= 1
            else float("nan")
        )

    def resampled(self, draws: Draws) -> FloatArray:
        """The partial correlation in each resample, shape (b,)."""
        return partial_correlations(self.covariances(draws))

    def covariances(self, draws: Draws) -> FloatArray:
        """Sums of products of the centred columns in each resample, shape (b, c, c); 0 for a constant column.

        The columns are the doubled ranks, then the indicators. The sums are taken before centring: of whole
        numbers, they are exact (see `spread_of`).
        """
        weights, total = draws.weights, draws.totals
        (b, n), m, q = weights.shape, len(self.ranked), len(self.indicators)
        columns = np.empty((draws.counts.capacity, m, n))
        for j, ranked in enumerate(self.ranked):
            ranked.rank(draws, out=columns[:, j])
        ranks = columns[:b]
        surplus = centre(ranks, total)
        weighted = ranks * weights[:, None, :]
        sums = np.empty((b, m + q, m + q))
        sums[:, :m, :m] = weighted @ ranks.swapaxes(1, 2) - surplus[:, None, None]
        if q:
            # A product for each resample: one large product would be shared out over threads again.
            shares = (weights[:, None, :] @ self.indicators.T)[:, 0]  # draws of each class
            mixed = weighted @ self.indicators.T
            mean = np.where(surplus > 0, total, 0.0)  # a doubled rank is N on average, one that was centred 0
            sums[:, :m, m:] = mixed - (mean[:, None] * shares)[:, None, :]
            sums[:, m:, :m] = sums[:, :m, m:].swapaxes(1, 2)
            sums[:, m:, m:] = -shares[:, :, None] * shares[:, None, :] / total[:, None, None]
            own = np.arange(m, m + q)
            sums[:, own, own] += shares
        own = np.arange(m)
        sums[:, own, own] = spread_of(sums[:, own, own] + surplus[:, None], total[:, None], surplus[:, None])
        return sums


def partial_correlations(covariances: FloatArray) -> FloatArray:
    """Partial correlation of the first two variables given the others, one for each matrix; NaN where undefined.

    Each covariate is eliminated in turn (a Schur complement of one dimension), which leaves the covariances of what
    the others leave unexplained. A covariate of which the earlier ones leave nothing is passed over: one that is
    collinear, or does not vary in this resample, such as the indicator of a class that was not drawn.

    Args:
        covariances: shape (b, c, c), c at least 2; a constant has a variance of exactly 0.
    """
    variance = np.einsum("bjj->jb", covariances)
    scale = np.zeros(variance.shape)
    np.divide(1.0, np.sqrt(variance), out=scale, where=variance > 0)
    # Resamples last, so that each step below is one operation on whole rows.
    left = np.ascontiguousarray(covariances.transpose(1, 2, 0)) * scale[:, None] * scale[None, :]
    for j in range(len(left) - 1, 1, -1):
        pivot = left[j, j]
        inverse = np.zeros(pivot.shape)
        np.divide(1.0, pivot, out=inverse, where=pivot > COLLINEAR_SQUARED)
        left[:j, :j] -= left[:j, j, None] * left[None, j, :j] * inverse
    usable = (left[0, 0] > COLLINEAR_SQUARED) & (left[1, 1] > COLLINEAR_SQUARED)
    rho = np.full(usable.shape, np.nan)
    np.divide(left[0, 1], np.sqrt(np.where(usable, left[0, 0] * left[1, 1], 1.0)), out=rho, where=usable)
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
