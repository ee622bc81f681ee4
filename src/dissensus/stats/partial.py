"""Partial Spearman correlation: what is left of a rank correlation when covariates are held fixed."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dissensus.errors import SpecError
from dissensus.stats.basis import Form
from dissensus.stats.bootstrap import Seed, cluster_index, generator_for
from dissensus.stats.columns import complete_rows, numeric_columns
from dissensus.stats.correlation import CELLS, Correlation, summarize
from dissensus.stats.design import RankCorrelations, RankDesign
from dissensus.stats.draws import Units, over_resamples

__all__ = ["RankCorrelations", "RankDesign", "partial_spearman", "rank_correlations"]


def partial_spearman(
    x: ArrayLike,
    y: ArrayLike,
    covariates: Mapping[str, ArrayLike],
    *,
    categorical: Collection[str] | None = None,
    form: Form = "flexible",
    resamples: int = 0,
    confidence: float = 0.95,
    rng: Seed = None,
    clusters: ArrayLike | None = None,
) -> Correlation:
    """Partial Spearman correlation of x and y given covariates.

    x and y are replaced by their average ranks. Every numeric covariate enters as a flexible function of its rank
    (indicators of its values where they are few, else a natural cubic spline; `stats.basis.columns_of`), or as a line
    in it (`form="linear"`, the textbook's); every categorical one as indicators of its classes but the first. Both
    rank vectors are regressed by least squares on these columns with an intercept; rho is Pearson's correlation of the
    residuals. Without covariates this is `spearman`.

    Range -1 to 1, no unit. k is the number of dimensions that the covariates span: the numerical rank of their centred
    columns (singular values above 1e-10 of the largest). Constant covariates, and those that others determine,
    therefore cost no degree of freedom and change nothing. Interval and p-value as for `spearman`, with
    min(clusters - 1, n - 2 - k) degrees of freedom; in a resample x and y are ranked anew and regressed anew on the
    covariates' columns of the whole sample.

    Degenerate cases: rows with a NaN in x, y or a covariate are dropped and counted. NaN where df is below 1 and where
    the covariates determine x or y (explain more than 98 % of the variance of its ranks); `Correlation.withheld` says
    which.

    Args:
        x: shape (n,).
        y: shape (n,).
        covariates: name -> values of shape (n,).
        categorical: names of the covariates whose values are class codes, in no order. Default: `gold`, if
            there is a covariate of that name.
        form: how a numeric covariate enters: 'flexible' or 'linear'.
        resamples: bootstrap resamples; 0 gives no interval.
        confidence: of the interval.
        rng: generator or seed; required when resamples > 0.
        clusters: labels of shape (n,); whole clusters are resampled.

    Raises:
        DataError: shapes do not fit, or a covariate is not numeric.
        SpecError: `categorical` names no covariate, an option is not valid, or the seed is missing.
    """
    return rank_correlations(
        x,
        y,
        covariates,
        categorical=categorical,
        form=form,
        resamples=resamples,
        confidence=confidence,
        rng=rng,
        clusters=clusters,
    ).partial


def rank_correlations(
    x: ArrayLike,
    y: ArrayLike,
    covariates: Mapping[str, ArrayLike],
    *,
    categorical: Collection[str] | None = None,
    form: Form = "flexible",
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
    design = RankDesign.of(
        first, second, dict(zip(covariates, others, strict=True)), classes, units.of, form=form
    )
    plains = partials = np.empty(0)
    if generator is not None and np.isfinite(design.plain):
        correlations = over_resamples(design.correlations, units, resamples, generator, cells=CELLS)
        plains = correlations[:, 0]
        partials = correlations[:, 1] if np.isfinite(design.partial) else partials
    options: dict[str, Any] = {
        "n": n,
        "dropped": len(keep) - n,
        "confidence": confidence,
        "resamples": resamples,
        "units": len(units.sizes),
        "clustered": groups is not None,
    }
    return RankCorrelations(
        plain=summarize(design.plain, plains, **options),
        partial=summarize(
            design.partial,
            partials,
            k=design.basis.shape[1],
            covariates=tuple(covariates),
            undefined=design.undefined,
            **options,
        ),
    )


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
