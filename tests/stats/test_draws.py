"""Resamples packed into words, in chunks and in threads: nothing of it shows in a result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dissensus import threads
from dissensus.stats import correlation, partial, partial_spearman, rank_correlations, spearman
from dissensus.stats.bootstrap import resample_counts
from dissensus.stats.draws import Draws, Units
from dissensus.stats.ranks import RankedSample, running_sums


def sample(n: int = 90) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, n).astype(float)
    y = x + rng.normal(0, 4, n)
    covariates = {
        "gold": rng.integers(0, 3, n),
        "tokens": rng.integers(3, 12, n) + x,
        "start": rng.normal(size=n),
    }
    return x, y, covariates, rng.integers(0, 40, n)


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 3))
def test_packed_sums_are_sums_of_the_numbers(b, m, seed):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 9_000, (m, 12))
    bounds = np.array([0, m // 2, m])
    expected = [rows[:place].sum(axis=0).tolist() for place in bounds]
    for part in (np.uint16, np.uint32, np.float64):
        assert running_sums(rows.astype(part), bounds).tolist() == expected
    counts = rng.integers(0, 9_000, (b, m)).astype(np.int32)
    drawn = Draws.of(counts, Units(None, np.ones(m)))
    assert drawn.packed[:, :b].tolist() == counts.T.tolist() == drawn.by_example.tolist()
    assert not drawn.packed[:, b:].any()
    assert drawn.packed.shape[1] * drawn.packed.itemsize % 8 == 0
    assert drawn.weights.tolist() == counts.tolist()


@pytest.mark.parametrize("n", [32_767, 32_768])
def test_ranks_at_the_edge_of_a_part_of_a_word(n):
    # 2 x 32,767 is the largest even number below 2^16; one more example needs wider parts.
    values = np.random.default_rng(0).integers(0, 1000, n).astype(float)
    (counts,) = resample_counts(n, 5, np.random.default_rng(1))
    draws = Draws.of(counts, Units.among(n, None))
    assert draws.packed.dtype == (np.uint16 if n == 32_767 else np.uint32)
    for row, ranks in zip(counts, RankedSample.of(values).rank(draws).T, strict=True):
        drawn = np.repeat(np.arange(n), row)
        assert np.array_equal((ranks[drawn] + n + 1) / 2, stats.rankdata(values[drawn]))


@pytest.mark.parametrize("clustered", [False, True])
def test_neither_chunks_nor_threads_show_in_an_interval(clustered, monkeypatch):
    x, y, covariates, clusters = sample()
    options = {"resamples": 53, "rng": 3, "clusters": clusters if clustered else None}
    results = []
    for cells, count in ((1_000_000, 1), (90 * 4, 1), (90 * 8, 4)):
        monkeypatch.setattr(threads, "available", lambda count=count: count)
        monkeypatch.setattr(correlation, "CELLS", cells)
        monkeypatch.setattr(partial, "CELLS", cells)
        results.append((spearman(x, y, **options), partial_spearman(x, y, covariates, **options)))
    for plain, held in results[1:]:
        assert plain == results[0][0]
        for name in (
            "rho",
            "low",
            "high",
            "p_value",
        ):  # sums of products of other shapes are rounded otherwise
            assert getattr(held, name) == pytest.approx(getattr(results[0][1], name), rel=1e-10)


def test_both_correlations_at_once_are_the_two_functions_from_one_seed():
    x, y, covariates, clusters = sample()
    options = {"resamples": 60, "rng": 5, "clusters": clusters, "confidence": 0.8}
    both = rank_correlations(x, y, covariates, **options)
    assert both.partial == partial_spearman(x, y, covariates, **options)
    alone = spearman(x, y, **options)
    assert both.plain.low == pytest.approx(alone.low, abs=1e-14)
    assert both.plain.high == pytest.approx(alone.high, abs=1e-14)
    assert (both.plain.rho, both.plain.p_value, both.plain.df) == (alone.rho, alone.p_value, alone.df)
    assert (both.plain.k, both.plain.covariates, both.plain.clusters) == (0, (), alone.clusters)


def test_both_correlations_are_of_the_rows_that_are_complete():
    x, y, covariates, _ = sample()
    covariates["start"][:10] = np.nan
    both = rank_correlations(x, y, covariates, resamples=9, rng=0)
    alone = spearman(x[10:], y[10:], resamples=9, rng=0)
    assert (both.plain.n, both.plain.dropped, both.plain.rho) == (80, 10, alone.rho)
    assert both.plain.low == pytest.approx(alone.low, abs=1e-14)
    assert both.partial.n == 80


def test_a_covariate_that_explains_x_leaves_the_partial_correlation_undefined_and_the_plain_one_not():
    x, y, _, _ = sample()
    both = rank_correlations(x, y, {"twice": 2 * x}, resamples=30, rng=0)
    assert np.isnan([both.partial.rho, both.partial.low]).all()
    assert both.plain.low < both.plain.rho < both.plain.high


def test_covariates_that_say_the_same_are_held_fixed_once():
    x, y, covariates, _ = sample()
    once = partial_spearman(x, y, covariates, resamples=50, rng=0)
    again = {**covariates, "tokens again": covariates["tokens"] * 3, "constant": np.ones(90)}
    twice = partial_spearman(x, y, again, resamples=50, rng=0)
    assert [twice.rho, twice.low, twice.high] == pytest.approx([once.rho, once.low, once.high], abs=1e-9)
    assert twice.k == once.k
