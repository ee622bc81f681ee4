"""Degrees of freedom of a claim's numbers: those of the tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dissensus.analysis.claims.sampled import CellValue, ConditionValue
from dissensus.analysis.claims.statistics import ClaimStatistics, contrast
from dissensus.analysis.study_reading import StudyReading
from synthetic_curves import balanced, curves_of, evidence_of
from synthetic_study import study_spec


def small(n: int, *, premises: bool) -> StudyReading:
    """A study of one cell; token counts take three values."""
    curves = balanced(curves_of(n))
    tokens = np.random.default_rng(1).permutation(np.arange(n) % 3).astype(np.float64)
    curves = replace(curves, covariates={"token_count": tokens}, text=curves.text if premises else ())
    return evidence_of(study_spec(methods=[{"name": "full", "learning_rate": 1e-4}]), curves)


def test_degrees_of_freedom_count_the_covariates() -> None:
    measured = ClaimStatistics(small(30, premises=False))
    (cell,) = measured.reading.cells
    plain, held = measured.rho(cell), measured.rho(cell, ("token_count", "gold"))
    # 30 items, each its own cluster: 29 of those, and n - 2 = 28. Three values of the token count and three gold labels
    # are two indicators each, k = 4: n - 2 - k = 24.
    assert (plain.clusters, plain.df) == (30, 28)
    assert (held.clusters, held.df) == (30, 24)
    parts = [
        measured.rho_part("a", [ConditionValue.of("a", {0: one}, [cell.name])], fixed_seeds=True)
        for one in (plain, held)
    ]
    assert [part.df for part in parts] == pytest.approx([28, 24])
    # The half length on Fisher's scale is t of 24 degrees of freedom times the standard error there.
    reach = (np.arctanh(parts[1].high) - np.arctanh(parts[1].low)) / 2
    error = np.arctanh(held.resampled).std(ddof=1) * np.sqrt(30 / 29)
    assert reach / error == pytest.approx(stats.t(24).ppf(0.975))


def test_few_clusters_have_fewer_degrees_of_freedom_than_covariates_leave() -> None:
    measured = ClaimStatistics(small(120, premises=True))
    (cell,) = measured.reading.cells
    held = measured.rho(cell, ("token_count", "gold"))
    # Four pairs to a premise: 30 clusters, 29; n - 2 - k = 114.
    assert (held.clusters, held.df) == (30, 114)
    part = measured.rho_part("a", [ConditionValue.of("a", {0: held}, [cell.name])], fixed_seeds=True)
    assert part.df == pytest.approx(29)


def test_a_difference_and_a_mean_have_those_of_their_fewest() -> None:
    draws = np.random.default_rng(0).normal(size=100)
    first, second = (CellValue(0.5, draws, 40, df=df) for df in (33.0, 25.0))
    assert contrast(first, second).df == 25
    condition = ConditionValue.of("a", {0: first, 1: second}, ["c"])
    assert condition.df == 25
    undefined = CellValue(float("nan"), draws, 5, df=1.0)
    assert ConditionValue.of("a", {0: first, 1: undefined}, ["c"]).df == 33
