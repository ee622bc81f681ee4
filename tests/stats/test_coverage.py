"""A small form of the coverage study: a few settings, few repetitions. `make validate` is the whole."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from scipy import stats

SCRIPT = Path(__file__).resolve().parents[2] / "validation" / "coverage.py"
REPETITIONS = 60


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    spec = importlib.util.spec_from_file_location("validation_coverage", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["validation_coverage"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    module.POPULATION = 30_000
    return module


@pytest.mark.parametrize(
    ("n", "annotators", "clusters", "seeds"),
    [(50, 100, "own", 1), (50, 0, "25", 1), (200, 5, "threes", 1), (200, 100, "25", 3)],
)
def test_intervals_cover_the_truth(
    coverage: ModuleType, n: int, annotators: int, clusters: str, seeds: int
) -> None:
    setting = coverage.Setting(n, annotators, clusters, seeds)
    row = coverage.run(setting, repetitions=REPETITIONS, resamples=60)
    for name, printed in row["printed"].items():
        if printed >= 30:
            # Of intervals that cover 93 times in 100, fewer than this many cover with a chance of one in 10,000.
            assert row["covered"][name] >= stats.binom(printed, 0.93).ppf(1e-4), (name, row)
    assert row["printed"]["rho"] == REPETITIONS


def test_few_clusters_print_nothing(coverage: ModuleType) -> None:
    # 50 examples in threes are 17 clusters.
    for seeds in (1, 3):
        row = coverage.run(coverage.Setting(50, 100, "threes", seeds), repetitions=3, resamples=40)
        assert set(row["printed"].values()) == {0}


def test_all_settings_and_the_page(coverage: ModuleType) -> None:
    every = list(coverage.settings())
    assert len(every) == len(set(every)) == 54
    row = {"repetitions": 100, "printed": dict.fromkeys(coverage.STATISTICS, 100)}
    row |= {"covered": dict.fromkeys(coverage.STATISTICS, 95)}
    row["printed"]["change"] = 2
    page = coverage.page({every[0]: row})
    assert "| 50 | no ties | own | 1 | 95.0 | 95.0 | - | 95.0 | 95.0 | 95.0 |" in page
    assert "1 of 54 settings are run" in page
