"""AUROC and average precision: known values, brute force, scikit-learn where it is installed, and their bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from dissensus.errors import DataError, SpecError
from dissensus.stats import ranking
from dissensus.stats.bootstrap import resample_counts
from dissensus.stats.ranking import auroc, average_precision, weighted_auroc

NAN, INF = float("nan"), float("inf")


def weighted_average_precision(scores, flags, weights):
    """In each resample, from how often each example was drawn, shape (b, n)."""
    sample = ranking._Sorted.of(np.asarray(scores, float), np.asarray(flags, bool))
    return ranking._average_precision(*sample.below(np.asarray(weights, float).T))


def pairs_won(scores, flags):
    """AUROC from its definition: the share of (flagged, other) pairs that the flagged one wins, ties one half."""
    won = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a, f in zip(scores, flags, strict=True)
        for b, g in zip(scores, flags, strict=True)
        if f and not g
    ]
    return np.mean(won) if won else NAN


def mean_precision(scores, flags):
    """Average precision from its definition: at each flagged example, the precision of all scores at least its own."""
    scores, flags = np.asarray(scores), np.asarray(flags, dtype=bool)
    found = [flags[scores >= s].mean() for s in scores[flags]]
    return np.mean(found) if found else NAN


samples = st.lists(
    st.tuples(st.sampled_from([-INF, -1.0, 0.0, 0.5, 2.0, INF]), st.booleans()), min_size=1, max_size=25
)


def test_known_values():
    # Falling: 9 T, 7 F, 5 T, 5 F, 1 F. Of 2 x 3 pairs, 9 wins three; 5 ties one, beats one, loses one: 4.5 / 6.
    scores, flags = [5, 9, 1, 7, 5], [True, True, False, False, False]
    found = auroc(scores, flags)
    assert found.value == pytest.approx(4.5 / 6)
    assert (found.n, found.positives, found.base_rate, found.dropped) == (5, 2, 0.4, 0)
    # Precision at 9 is 1; at 5, where both tied examples enter at once, 2 of 4.
    assert average_precision(scores, flags).value == pytest.approx((1 + 2 / 4) / 2)


def test_scores_that_are_all_alike_have_no_skill():
    flags = [1, 0, 0, 0]
    assert auroc(np.zeros(4), flags).value == 0.5
    assert average_precision(np.zeros(4), flags).value == 0.25


@given(samples)
def test_both_are_their_definitions(sample):
    scores, flags = (np.array(column) for column in zip(*sample, strict=True))
    assert auroc(scores, flags).value == pytest.approx(pairs_won(scores, flags), nan_ok=True)
    assert average_precision(scores, flags).value == pytest.approx(mean_precision(scores, flags), nan_ok=True)


@given(samples)
def test_turning_the_scores_round_turns_auroc_round(sample):
    scores, flags = (np.array(column) for column in zip(*sample, strict=True))
    turned = auroc(-scores, flags).value
    assert turned == pytest.approx(1 - auroc(scores, flags).value, nan_ok=True)
    assert auroc(scores, ~flags).value == pytest.approx(turned, nan_ok=True)


@pytest.mark.parametrize("levels", [5, 10_000])
def test_both_are_what_scikit_learn_says(levels):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(levels)
    flags = rng.random(400) < 0.2
    scores = rng.integers(0, levels, 400) + flags * levels / 5
    assert auroc(scores, flags).value == pytest.approx(metrics.roc_auc_score(flags, scores), abs=1e-12)
    expected = metrics.average_precision_score(flags, scores)
    assert average_precision(scores, flags).value == pytest.approx(expected, abs=1e-12)
    weights = rng.integers(0, 4, (3, 400))
    areas = [metrics.roc_auc_score(flags, scores, sample_weight=w) for w in weights]
    assert weighted_auroc(scores, flags, weights) == pytest.approx(areas, abs=1e-12)
    precisions = [metrics.average_precision_score(flags, scores, sample_weight=w) for w in weights]
    assert weighted_average_precision(scores, flags, weights) == pytest.approx(precisions, abs=1e-12)


@given(samples, st.integers(0, 5))
def test_weights_are_examples_drawn_that_often(sample, seed):
    scores, flags = (np.array(column) for column in zip(*sample, strict=True))
    weights = np.random.default_rng(seed).integers(0, 3, (4, len(scores)))
    drawn = [np.repeat(np.arange(len(scores)), w) for w in weights]
    expected = [pairs_won(scores[d], flags[d]) for d in drawn]
    assert weighted_auroc(scores, flags, weights) == pytest.approx(expected, nan_ok=True)
    expected = [mean_precision(scores[d], flags[d]) for d in drawn]
    assert weighted_average_precision(scores, flags, weights) == pytest.approx(expected, nan_ok=True)


def test_nan_scores_are_dropped_and_counted():
    found = auroc([3, NAN, 1, NAN], [1, 1, 0, 0])
    assert (found.value, found.n, found.positives, found.dropped, found.base_rate) == (1.0, 2, 1, 2, 0.5)
    weights = np.array([[1, 5, 1, 5], [1, 0, 0, 9]])
    assert weighted_auroc([3, NAN, 1, NAN], [1, 1, 0, 0], weights) == pytest.approx([1, NAN], nan_ok=True)


@pytest.mark.parametrize("flags", [[0, 0], [1, 1]])
def test_without_both_kinds_auroc_is_not_defined(flags):
    found = auroc([1.0, 2.0], flags, resamples=20, rng=0)
    assert np.isnan([found.value, found.low, found.high]).all()
    assert average_precision([1.0, 2.0], flags).value == pytest.approx(1.0 if flags[0] else NAN, nan_ok=True)


def test_no_examples():
    found = average_precision([], [], resamples=20, rng=0)
    assert np.isnan([found.value, found.base_rate, found.low]).all()
    assert (found.n, found.positives) == (0, 0)
    assert np.isnan(weighted_auroc([NAN], [1], np.ones((2, 1)))).all()


def sample(n=300, shift=1.0):
    rng = np.random.default_rng(3)
    flags = rng.random(n) < 0.2
    return rng.normal(size=n).round(1) + shift * flags, flags


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize(
    ("measure", "weighted"), [(auroc, weighted_auroc), (average_precision, weighted_average_precision)]
)
def test_the_interval_is_of_the_logits_of_the_resamples(measure, weighted, clustered):
    scores, flags = sample()
    clusters = np.arange(300) // 3 if clustered else None
    found = measure(scores, flags, resamples=200, confidence=0.9, rng=7, clusters=clusters)
    (counts,) = resample_counts(300, 200, np.random.default_rng(7), clusters=clusters)
    units = 100 if clustered else 300
    error = special.logit(weighted(scores, flags, counts)).std(ddof=1) * np.sqrt(units / (units - 1))
    reach = stats.t(units - 1).ppf(0.95) * error
    middle = special.logit(found.value)
    assert (found.low, found.high) == pytest.approx(
        (special.expit(middle - reach), special.expit(middle + reach))
    )
    assert found.low < found.value < found.high
    assert (found.resamples, found.confidence, found.clusters) == (200, 0.9, 100 if clustered else None)


def test_perfect_separation_has_a_finite_interval():
    # 12 flagged examples come first in every resample. (.025)^(1 / 12) = .7354: were the chance lower, all 12 would do
    # so less than 2.5 times in 100.
    scores = np.arange(60.0)
    found = auroc(scores, scores >= 48, resamples=100, rng=0)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.7354, abs=5e-5)
    turned = auroc(-scores, scores >= 48, resamples=100, rng=0)
    assert (turned.value, turned.low, turned.high) == pytest.approx((0.0, 0.0, 1 - found.low))
    # The 60 flagged of 40 clusters are 40 facts.
    more = np.arange(120.0)
    few = auroc(more, more >= 60, resamples=100, rng=0, clusters=np.repeat(np.arange(80), [2, 1] * 40))
    assert few.low == pytest.approx(0.025 ** (1 / 40))
    alike = average_precision(scores, scores >= 0, resamples=100, rng=0)
    assert (alike.value, alike.withheld) == (1.0, "every example is flagged")


def test_few_clusters_and_few_flagged_have_no_interval():
    scores, _ = sample()
    # Of 80 clusters those with a flagged example are the fewer.
    for flagged, withheld in ((39, "39 clusters; an interval needs 40 at least"), (40, "")):
        some = np.arange(300) % 80 < flagged
        for score in (scores, some.astype(float)):  # perfect separation too
            found = auroc(score, some, resamples=50, rng=0, clusters=np.arange(300) % 80)
            assert found.withheld == withheld
            assert np.isnan([found.low, found.high]).all() == bool(withheld)
            turned = auroc(score, ~some, resamples=50, rng=0, clusters=np.arange(300) % 80)
            assert turned.withheld == withheld
    few = average_precision(scores, np.arange(300) < 29, resamples=50, rng=0)
    assert np.isnan([few.low, few.high]).all()
    assert few.withheld == "29 flagged examples; an interval needs 30 at least"
    assert auroc(scores, np.arange(300) < 19, resamples=50, rng=0).withheld == ""


def test_copies_of_an_example_in_one_cluster_add_no_knowledge():
    scores, flags = sample(300)
    ten = {"scores": np.repeat(scores, 10), "flags": np.repeat(flags, 10)}
    by_row = auroc(**ten, resamples=300, rng=0)
    by_cluster = auroc(**ten, resamples=300, rng=0, clusters=np.repeat(np.arange(300), 10))
    once = auroc(scores, flags, resamples=300, rng=0)
    assert by_cluster.value == by_row.value == pytest.approx(once.value)
    # Ten times the rows: the interval by rows is sqrt(10) narrower than it should be.
    assert (by_cluster.high - by_cluster.low) / (once.high - once.low) == pytest.approx(1, rel=0.2)
    assert (by_cluster.high - by_cluster.low) / (by_row.high - by_row.low) == pytest.approx(10**0.5, rel=0.3)


def test_a_resample_without_a_flagged_example_is_counted_and_left_out():
    # One flagged example of 8 is missing from a resample with probability (7/8)^8 = 0.34.
    found = auroc(np.arange(8), np.arange(8) == 7, resamples=500, rng=0)
    assert found.undefined_resamples / 500 == pytest.approx(0.34, abs=0.08)
    assert found.value == 1.0
    assert "8 examples" in found.withheld


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    # Two normals, one standard deviation apart: the chance that the flagged one is higher is Phi(1 / sqrt 2) = 0.7602.
    rng = np.random.default_rng(11)
    flags = np.arange(150) < 50
    covered = 0
    for _ in range(200):
        found = auroc(rng.normal(size=150) + flags, flags, resamples=200, confidence=0.9, rng=rng)
        covered += found.low <= 0.7602 <= found.high
    assert 0.83 <= covered / 200 <= 0.96


def test_seeded():
    scores, flags = sample()
    assert auroc(scores, flags, resamples=50, rng=1) == auroc(scores, flags, resamples=50, rng=1)


def test_bad_arguments_are_explained():
    with pytest.raises(DataError, match=r"a flag is 2\.0; expected booleans, or 0 and 1"):
        auroc([1, 2], [0, 2])
    with pytest.raises(DataError, match="a flag is nan"):
        auroc([1, 2], [0, NAN])
    with pytest.raises(DataError, match=r"different lengths \(scores: 2, flags: 1\)"):
        average_precision([1, 2], [1])
    with pytest.raises(DataError, match=r"weights have shape \(2,\); expected \(resamples, 2\)"):
        weighted_auroc([1, 2], [1, 0], [1, 1])
    with pytest.raises(SpecError, match="needs rng"):
        auroc([1, 2], [1, 0], resamples=5)


def test_both_from_one_set_of_resamples_are_each_alone():
    rng = np.random.default_rng(4)
    scores, flags = np.append(rng.normal(size=149).round(1), NAN), rng.random(150) < 0.4
    options = {"resamples": 60, "rng": 5, "clusters": np.arange(150) // 2}
    alone = auroc(scores, flags, **options), average_precision(scores, flags, **options)
    assert ranking.rankings(scores, flags, **options) == alone
    # Every example flagged: one is not defined, the other is 1.
    area, precision = ranking.rankings(scores, np.ones(150), **options)
    assert np.isnan(area.value)
    assert area.undefined_resamples == 0
    assert precision == average_precision(scores, np.ones(150), **options)
