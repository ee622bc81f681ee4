"""Bootstraps of millions of examples: chunks that shrink, and sums that are too large to be exact."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dissensus import threads
from dissensus.stats import draws, ranks
from dissensus.stats.correlation import resampled_spearman
from dissensus.stats.ranks import RankedSample


def test_a_constant_is_a_constant():
    n = 300
    counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=4).astype(np.int32)
    drawn = draws.Draws.of(counts, draws.Units.among(n, None))
    constant, other = RankedSample.of(np.zeros(n)), RankedSample.of(np.arange(n, dtype=float))
    assert np.isnan(resampled_spearman(constant, other, drawn)).all()
    assert (resampled_spearman(other, other, drawn) == 1).all()


def test_a_million_examples_agree_with_scipy():
    """N^3 / 3 is far beyond 2^53 here. One resample, and the sample itself."""
    n = 1_000_003
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, n) * 0.3
    y = 0.2 * x + rng.normal(size=n)
    picks = next(draws.drawn_units(n, 1, np.random.default_rng(1), rows=1))
    drawn = draws.Draws.of(draws.times_drawn(picks), draws.Units.among(n, None))
    rho = resampled_spearman(RankedSample.of(x), RankedSample.of(y), drawn)[0]
    expected = stats.spearmanr(x[picks[0]], y[picks[0]]).statistic
    assert rho == pytest.approx(expected, abs=1e-13)
    one = np.zeros(n)
    one[picks[0][0]] = 1  # one example differs from all others
    spread = RankedSample.of(one)
    ranked = spread.rank(drawn)
    left = ranks.spread_of((drawn.by_example * ranked**2).sum(axis=0), drawn.totals)
    w = drawn.weights[0, picks[0][0]]
    # Doubled ranks: of the n - w others n - w + 1, of the w ones 2 n - w + 1; their mean is n + 1.
    assert left[0] == pytest.approx((n - w) * w**2 + w * (n - w) ** 2, rel=1e-9)


def test_chunks_and_threads_shrink_with_the_number_of_examples(monkeypatch):
    """However many cores: two resamples of millions in a chunk, and as many chunks as fit into the memory allowed."""
    monkeypatch.setattr(threads, "available", lambda: 64)
    seen = []

    def watched(work, jobs, *, threads):
        jobs = list(jobs)
        seen.append((len(jobs[0]), threads))
        return [np.zeros(len(job)) for job in jobs]

    monkeypatch.setattr(draws.threads, "in_order", watched)
    monkeypatch.setattr(
        draws, "drawn_units", lambda units, resamples, rng, *, rows: iter(np.zeros((resamples // rows, rows)))
    )
    for n in (3_000, 40_000, 1_000_000, 5_000_000):
        units = draws.Units(None, np.broadcast_to(1.0, n))
        draws.over_resamples(lambda _: np.zeros(0), units, 1000, np.random.default_rng(0), cells=400_000)
    assert seen == [(132, 8), (10, 64), (2, 25), (2, 5)]
    draws.over_resamples(lambda _: np.zeros(0), units, 1000, np.random.default_rng(0), cells=200_000)
    assert seen[-1] == (2, 2)


def test_what_is_drawn_does_not_depend_on_the_chunks():
    rng = np.random.default_rng
    whole = np.concatenate(list(draws.drawn_units(40_001, 6, rng(3), rows=6)))
    pairs = np.concatenate(list(draws.drawn_units(40_001, 6, rng(3), rows=2)))
    assert np.array_equal(whole, pairs)
