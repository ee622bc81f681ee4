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
from dissensus.stats.lanes import Lanes
from dissensus.stats.ranks import RankedSample


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
def test_lanes_add_and_move_as_the_numbers_in_them_do(b, m, seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 30_000, (b, m)).astype(np.int32)
    for largest, lane in ((65_535, np.uint16), (65_536, np.uint32)):
        lanes = Lanes.of(counts, largest=largest)
        assert lanes.lane == lane
        assert lanes.numbers().tolist() == counts.tolist()
        assert Lanes(lanes.words + lanes.words, lanes.lane, b).numbers().tolist() == (2 * counts).tolist()
        places = rng.integers(0, m, 7)
        assert lanes.take(places).numbers().tolist() == counts[:, places].tolist()
        out = np.empty((lanes.capacity, 3, m))
        assert lanes.numbers(out[:, 1]).tolist() == counts.tolist()


@pytest.mark.parametrize("n", [32_767, 32_768])
def test_ranks_at_the_edge_of_a_lane(n):
    # 2 x 32,767 is the largest even number below 2^16; one more example needs the wider lane.
    values = np.random.default_rng(0).integers(0, 1000, n).astype(float)
    (counts,) = resample_counts(n, 5, np.random.default_rng(1))
    draws = Draws.of(counts, Units.among(n, None))
    assert draws.counts.lane == (np.uint16 if n == 32_767 else np.uint32)
    for row, ranks in zip(counts, RankedSample.of(values).rank(draws), strict=True):
        drawn = np.repeat(np.arange(n), row)
        assert np.array_equal((ranks[drawn] + 1) / 2, stats.rankdata(values[drawn]))


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
