from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from dissensus.errors import DataError, SpecError
from dissensus.stats import spearman
from dissensus.stats.bootstrap import drawn_units, resample_counts, times_drawn
from dissensus.stats.correlation import resampled_spearman
from dissensus.stats.draws import Draws, Units
from dissensus.stats.ranks import RankedSample, average_ranks, spread_of

# Few distinct values, so that ties are the rule.
PAIRS = arrays(np.float64, st.tuples(st.integers(3, 40), st.just(2)), elements=st.integers(-5, 5).map(float))


def test_known_value_without_ties():
    # Ranks 1..5 against 2, 1, 4, 3, 5: differences -1, 1, -1, 1, 0; rho = 1 - 6 x 4 / (5 x 24) = 0.8
    result = spearman([10, 20, 30, 40, 50], [2.0, 1.0, 4.0, 3.0, 5.0])
    assert result.rho == pytest.approx(0.8, abs=1e-15)
    assert (result.n, result.dropped, result.df, result.k, result.covariates) == (5, 0, 3, 0, ())
    # t = 0.8 sqrt(3 / 0.36) = 2.3094, two-sided with 3 degrees of freedom: 0.1041
    assert result.p_value == pytest.approx(0.1041, abs=5e-5)
    assert np.isnan([result.low, result.high]).all()


def test_known_value_with_ties():
    # Ranks 1.5, 1.5, 3, 4 against 1, 2, 3, 4: centred -1, -1, 0.5, 1.5 and -1.5, -0.5, 0.5, 1.5;
    # 1.5 + 0.5 + 0.25 + 2.25 = 4.5 over sqrt(4.5 x 5) = 0.948683
    assert average_ranks(np.array([3.0, 3.0, 7.0, 9.0])).tolist() == [1.5, 1.5, 3.0, 4.0]
    assert spearman([3, 3, 7, 9], [1, 2, 3, 4]).rho == pytest.approx(4.5 / np.sqrt(22.5), abs=1e-15)


@given(PAIRS)
def test_equals_scipy(pairs):
    x, y = pairs.T
    result = spearman(x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan([result.rho, result.p_value]).all()
        return
    expected = stats.spearmanr(x, y)
    assert result.rho == pytest.approx(expected.statistic, abs=1e-12)
    if abs(result.rho) < 1 - 1e-9:
        assert result.p_value == pytest.approx(expected.pvalue, abs=1e-12)


@given(PAIRS)
def test_monotone_maps_change_nothing_and_reversal_changes_the_sign(pairs):
    x, y = pairs.T
    rho = spearman(x, y).rho
    assert spearman(np.exp(x), y**3 + 7).rho == pytest.approx(rho, abs=1e-15, nan_ok=True)
    assert spearman(-x, y).rho == pytest.approx(-rho, abs=1e-15, nan_ok=True)
    assert spearman(y, x).rho == pytest.approx(rho, abs=1e-15, nan_ok=True)


def test_nan_rows_are_dropped_and_counted_infinities_are_ranked():
    nan, inf = np.nan, np.inf
    result = spearman([1, nan, 2, 3, 4, inf], [1, 5, nan, 2, 4, 3])
    assert (result.n, result.dropped, result.df) == (4, 2, 2)
    # left: 1, 3, 4, inf against 1, 2, 4, 3: 1 - 6 x 2 / (4 x 15) = 0.8
    assert result.rho == pytest.approx(0.8)


def test_undefined_is_nan():
    for x, y in (([1, 1, 1, 1], [1, 2, 3, 4]), ([1, 2], [2, 1]), ([], []), ([np.nan] * 5, range(5))):
        result = spearman(x, y, resamples=50, rng=0)
        assert np.isnan([result.rho, result.p_value, result.low, result.high]).all()


def test_ranks_in_a_resample_equal_plain_ranking():
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=31), rng.integers(0, 4, 31).astype(float), np.zeros(31)):
        sample = RankedSample.of(values)
        for counts in resample_counts(31, 20, rng):
            draws = Draws.of(counts, Units.among(31, None))
            ranks = sample.rank(draws)
            spread = spread_of((draws.by_example * ranks**2).sum(axis=0), draws.totals)
            for row, own, total in zip(counts, ranks.T, spread, strict=True):
                drawn = np.repeat(np.arange(31), row)
                plain = stats.rankdata(values[drawn])
                assert ((own[drawn] + 31 + 1) / 2).tolist() == plain.tolist()
                assert total == pytest.approx(4 * ((plain - plain.mean()) ** 2).sum(), abs=1e-9)


def test_bootstrap_equals_ranking_each_resample_anew():
    rng = np.random.default_rng(1)
    x = rng.integers(0, 8, 60).astype(float)
    y = x + rng.normal(0, 3, 60)
    clusters = rng.integers(0, 20, 60)
    for groups in (None, clusters):
        units = Units.among(60, groups)
        a, b = RankedSample.of(x, units.of), RankedSample.of(y, units.of)
        for picks in drawn_units(len(units.sizes), 30, rng, rows=7):
            chunk = times_drawn(picks)
            values = resampled_spearman(a, b, Draws.of(chunk, units))
            counts = chunk if units.of is None else chunk[:, units.of]
            for row, value in zip(counts, values, strict=True):
                drawn = np.repeat(np.arange(60), row)
                assert value == pytest.approx(stats.spearmanr(x[drawn], y[drawn]).statistic, abs=1e-12)


def test_interval_and_p_value_come_from_one_error_and_repeat_with_the_seed():
    rng = np.random.default_rng(2)
    x = rng.normal(size=200)
    y = x + rng.normal(0, 2, 200)
    result = spearman(x, y, resamples=400, confidence=0.9, rng=7)
    counts = np.concatenate(list(resample_counts(200, 400, np.random.default_rng(7))))
    values = [
        stats.spearmanr(x[d], y[d]).statistic for d in (np.repeat(np.arange(200), row) for row in counts)
    ]
    # On Fisher's scale: the spread of the resampled z, times sqrt(200 / 199), and t with 198 degrees of freedom.
    error = np.arctanh(values).std(ddof=1) * np.sqrt(200 / 199)
    z, t = np.arctanh(result.rho), stats.t(198)
    ends = np.tanh([z - t.ppf(0.95) * error, z + t.ppf(0.95) * error])
    assert [result.low, result.high] == pytest.approx(ends, abs=1e-12)
    assert result.p_value == pytest.approx(2 * t.sf(z / error), rel=1e-9)
    assert result == spearman(x, y, resamples=400, confidence=0.9, rng=np.random.default_rng(7))
    assert (result.resamples, result.undefined_resamples, result.confidence) == (400, 0, 0.9)


@pytest.mark.parametrize("clustered", [False, True])
def test_p_is_below_five_percent_exactly_where_the_interval_leaves_out_0(clustered):
    rng = np.random.default_rng(8)
    found = []
    for strength in np.linspace(0, 0.6, 30):
        x, e = rng.normal(size=(2, 60))
        clusters = np.arange(60) // 2 if clustered else None
        found.append(spearman(x, strength * x + e, resamples=200, rng=rng, clusters=clusters))
    shown = [one.low > 0 or one.high < 0 for one in found]
    assert [one.p_value < 0.05 for one in found] == shown
    assert 3 < sum(shown) < 27


def test_below_twenty_clusters_there_is_no_interval_and_no_p_value():
    # One prompt for all, ten premises: rho stands, its error is not known.
    rng = np.random.default_rng(0)
    x, e = rng.normal(size=(2, 100))
    for clusters, said in (
        (np.zeros(100), "1 cluster; an interval needs 20 at least"),
        (np.arange(100) % 19, "19 clusters; an interval needs 20 at least"),
    ):
        result = spearman(x, x + e, resamples=100, rng=0, clusters=clusters)
        assert np.isfinite(result.rho)
        assert np.isnan([result.low, result.high, result.p_value]).all()
        assert result.withheld == said
    enough = spearman(x, x + e, resamples=100, rng=0, clusters=np.arange(100) % 20)
    assert enough.low < enough.rho < enough.high
    assert (enough.df, enough.withheld) == (19, "")
    assert "12 examples" in spearman(x[:12], e[:12], resamples=100, rng=0).withheld
    # Without resamples a p-value could only take the examples as independent.
    assert np.isnan(spearman(x, x + e, clusters=np.arange(100) % 20).p_value)


def test_p_values_respect_clusters():
    # 40 clusters of ten equal rows are 40 facts. Independent columns, so p should be near uniform.
    rng = np.random.default_rng(4)
    small = [0, 0]
    for _ in range(60):
        x, y = np.repeat(rng.normal(size=(2, 40)), 10, axis=1)
        small[0] += spearman(x, y, resamples=100, rng=rng).p_value < 0.05
        small[1] += spearman(x, y, resamples=100, rng=rng, clusters=np.arange(400) // 10).p_value < 0.05
    assert small[0] > 20  # as if there were ten times the evidence
    assert small[1] <= 9  # 3 are expected, and 9 or more come once in 500


def test_undefined_resamples_are_counted_and_left_out():
    # x has one value that differs: it is missing from a resample of 5 with probability 0.8^5 = 0.33.
    result = spearman([0, 0, 0, 0, 1], [1, 2, 3, 4, 5], resamples=2000, rng=0)
    assert result.undefined_resamples == pytest.approx(2000 * 0.328, rel=0.1)
    # ... and in one of 25 with probability 0.36.
    result = spearman([0] * 24 + [1], [*range(1, 24), 30, 25], resamples=2000, rng=0)
    assert result.undefined_resamples == pytest.approx(2000 * 0.36, rel=0.1)
    assert -1 <= result.low <= result.rho <= result.high <= 1


@pytest.mark.parametrize("rho", [0.0, 0.4])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(rho):
    # For a bivariate normal, Spearman's rho is (6 / pi) asin(r / 2). 400 samples: the standard error of a
    # coverage of 0.9 is 0.015, so 0.85 to 0.95 is three of them and more.
    rng = np.random.default_rng(3)
    r = 2 * np.sin(np.pi * rho / 6)
    covered = 0
    for _ in range(400):
        x, e = rng.normal(size=(2, 150))
        result = spearman(x, r * x + np.sqrt(1 - r * r) * e, resamples=300, confidence=0.9, rng=rng)
        covered += result.low <= rho <= result.high
    assert 0.85 <= covered / 400 <= 0.95


def test_whole_clusters_are_resampled():
    # 40 clusters of ten equal rows: as many independent facts as 40 rows, so the interval is about sqrt(10) times
    # as wide as one that takes the 400 rows for independent.
    rng = np.random.default_rng(4)
    x, y = np.repeat(rng.normal(size=(2, 40)), 10, axis=1)
    names = np.repeat([f"premise {i}" for i in range(40)], 10)
    by_row = spearman(x, y, resamples=1000, rng=0)
    by_cluster = spearman(x, y, resamples=1000, rng=0, clusters=names)
    once = spearman(x[::10], y[::10], resamples=1000, rng=0)
    assert by_cluster.clusters == 40
    assert by_cluster.high - by_cluster.low == pytest.approx(once.high - once.low, rel=0.1)
    assert 2.5 < (by_cluster.high - by_cluster.low) / (by_row.high - by_row.low) < 4


def test_clusters_of_dropped_rows_are_not_drawn():
    x = [1.0, 2.0, 3.0, np.nan, 4.0]
    result = spearman(x, [1, 3, 2, 9, 4], resamples=20, rng=0, clusters=[5, 5, 8, 6, 7])
    assert result.clusters == 3


def test_draws_do_not_depend_on_the_chunks():
    whole = list(resample_counts(37, 50, np.random.default_rng(0)))
    parts = list(resample_counts(37, 50, np.random.default_rng(0), cells=37 * 7))
    assert len(whole) == 1
    assert [len(p) for p in parts] == [7] * 7 + [1]
    assert np.array_equal(whole[0], np.concatenate(parts))
    assert np.all(whole[0].sum(axis=1) == 37)


def test_bad_arguments_are_explained():
    with pytest.raises(SpecError, match="needs rng"):
        spearman([1, 2, 3], [1, 2, 3], resamples=10)
    with pytest.raises(SpecError, match="resamples is -1"):
        spearman([1, 2, 3], [1, 2, 3], resamples=-1)
    with pytest.raises(SpecError, match="confidence is 95"):
        spearman([1, 2, 3], [1, 2, 3], confidence=95)
    with pytest.raises(DataError, match=r"different lengths \(x: 3, y: 2\)"):
        spearman([1, 2, 3], [1, 2])
    with pytest.raises(DataError, match="x holds something that is not a number"):
        spearman(["a", "b", "c"], [1, 2, 3])
    with pytest.raises(DataError, match=r"y has shape \(1, 3\)"):
        spearman([1, 2, 3], [[1, 2, 3]])
    with pytest.raises(DataError, match=r"clusters has shape \(2,\)"):
        spearman([1, 2, 3], [1, 2, 3], resamples=5, rng=0, clusters=[0, 1])
