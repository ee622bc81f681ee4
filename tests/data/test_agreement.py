"""Annotation entropy and agreement: values worked out by hand, and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy

from dissensus.data.agreement import (
    annotation_entropy,
    backed,
    gold_share,
    subsample_annotators,
)
from dissensus.errors import DataError, SpecError

rows = st.lists(st.integers(0, 30), min_size=3, max_size=3)


def test_plugin_values() -> None:
    counts = [[2, 2, 0], [4, 0, 0], [1, 1, 2], [0, 0, 0]]
    # Two halves: 1 bit. One label: 0. Shares 1/4, 1/4, 1/2: 0.25*2 + 0.25*2 + 0.5*1 = 1.5 bits. Nobody asked: NaN.
    np.testing.assert_allclose(annotation_entropy(counts), [1.0, 0.0, 1.5, np.nan], atol=1e-15)


def test_a_published_chaosnli_value() -> None:
    # The corpus' own README: counts 4, 67, 29 have the entropy 1.0907619435810212 bits.
    assert annotation_entropy([4, 67, 29]) == pytest.approx(1.0907619435810212, abs=1e-12)


def test_normalized_divides_by_every_label_on_offer() -> None:
    # Two of four labels, evenly: 1 bit of log2(4) = 2.
    assert annotation_entropy([5, 5, 0, 0], normalized=True) == pytest.approx(0.5)
    assert np.isnan(annotation_entropy([5], normalized=True))


@pytest.mark.parametrize("estimator", ["plugin", "miller_madow", "chao_shen"])
def test_the_order_of_labels_changes_not_one_bit(estimator: str) -> None:
    """Otherwise rank correlations would break ties by rounding. Every way to split ten annotators over three labels."""
    splits = [(a, b, 10 - a - b) for a in range(11) for b in range(11 - a)]
    values = {tuple(sorted(split)): set[float]() for split in splits}
    for split in splits:
        values[tuple(sorted(split))].add(float(annotation_entropy(split, estimator=estimator)))
    assert {counts: found for counts, found in values.items() if len(found) > 1} == {}


def test_miller_madow_adds_a_term_in_bits() -> None:
    # (3, 1): H = 0.8112781; m = 2 labels seen, n = 4: (2 - 1) / (2 * 4) = 0.125 nats = 0.125 / ln 2 = 0.1803369 bits.
    assert annotation_entropy([3, 1, 0], estimator="miller_madow") == pytest.approx(
        0.8112781 + 0.1803369, abs=1e-6
    )
    # One label seen: nothing to correct.
    assert annotation_entropy([4, 0, 0], estimator="miller_madow") == 0.0


def test_chao_shen_by_hand() -> None:
    # (2, 1), n = 3, one singleton: C = 2/3, q = (4/9, 2/9).
    # -4/9 log2(4/9) = 0.5199667; 1 - (5/9)^3 = 0.8285322 -> 0.6275757
    # -2/9 log2(2/9) = 0.4822056; 1 - (7/9)^3 = 0.5294925 -> 0.9106939
    assert annotation_entropy([2, 1], estimator="chao_shen") == pytest.approx(0.6275757 + 0.9106939, abs=1e-6)


def test_chao_shen_when_every_annotation_is_a_singleton() -> None:
    # (1, 1): f1 = n would give no coverage; with f1 = 1, C = 1/2, q = 1/4 twice:
    # 2 * (1/4 * 2) / (1 - (3/4)^2) = 1 / 0.4375 = 2.2857143 bits.
    assert annotation_entropy([1, 1, 0], estimator="chao_shen") == pytest.approx(1 / 0.4375)
    assert annotation_entropy([1, 0, 0], estimator="chao_shen") == 0.0


def test_chao_shen_without_singletons_only_reweights() -> None:
    # (2, 2): C = 1, q = 1/2: 2 * 0.5 / (1 - 0.5^4) = 1 / 0.9375.
    assert annotation_entropy([2, 2], estimator="chao_shen") == pytest.approx(1 / 0.9375)


@pytest.mark.parametrize("estimator", ["plugin", "miller_madow", "chao_shen"])
def test_no_annotations_give_nan(estimator: str) -> None:
    assert np.isnan(annotation_entropy([[0, 0]], estimator=estimator)).all()


@given(rows.filter(sum))
def test_plugin_is_scipys(row: list[int]) -> None:
    assert annotation_entropy(row) == pytest.approx(scipy_entropy(row, base=2), abs=1e-12)


@given(rows.filter(sum))
def test_label_order_does_not_matter(row: list[int]) -> None:
    for estimator in ("plugin", "miller_madow", "chao_shen"):
        forth = annotation_entropy(row, estimator=estimator)
        back = annotation_entropy(row[::-1], estimator=estimator)
        assert forth == pytest.approx(float(back), abs=1e-12)
        assert forth >= annotation_entropy(row) - 1e-12  # both corrections go upwards


def test_corrections_reduce_the_bias_of_small_panels() -> None:
    rng = np.random.default_rng(0)
    shares = np.array([0.6, 0.3, 0.1])
    truth = -(shares * np.log2(shares)).sum()
    panels = rng.multinomial(10, shares, size=4000)
    bias = {
        e: annotation_entropy(panels, estimator=e).mean() - truth
        for e in ("plugin", "miller_madow", "chao_shen")
    }
    assert bias["plugin"] < -0.1  # (K - 1) / (2 n ln 2) = 0.144 bits too low, to first order
    assert abs(bias["miller_madow"]) < abs(bias["plugin"]) / 3
    assert abs(bias["chao_shen"]) < abs(bias["plugin"]) / 2


def test_fractional_counts() -> None:
    # 1.5 and 0.5 of 2: shares 3/4 and 1/4, as (3, 1).
    assert annotation_entropy([1.5, 0.5]) == pytest.approx(float(annotation_entropy([3, 1])))
    with pytest.raises(DataError, match="chao_shen needs whole counts"):
        annotation_entropy([1.5, 0.5], estimator="chao_shen")


@pytest.mark.parametrize("bad", [[-1.0, 2.0], [float("nan"), 1.0], [float("inf"), 1.0]])
def test_impossible_counts_are_refused(bad: list[float]) -> None:
    with pytest.raises(DataError, match="expected a finite number of at least 0"):
        annotation_entropy(bad)


def test_unknown_estimator() -> None:
    with pytest.raises(SpecError, match="miller_madow"):
        annotation_entropy([1, 1], estimator="jackknife")


def test_gold_share() -> None:
    counts = [[7, 3], [2, 8], [0, 0], [5, 5]]
    np.testing.assert_allclose(gold_share(counts, [0, 0, 0, -1]), [0.7, 0.2, np.nan, np.nan])
    with pytest.raises(DataError, match="expected -1 to 1"):
        gold_share(counts, [0, 0, 2, 0])


def test_backed_is_more_than_half_of_the_annotators() -> None:
    # 7 of 10 back label 0; 2 of 10 do not; 2 of 4 are not more than half; nobody asked; no gold label; 3 of 5 back 1.
    counts = [[7, 3], [2, 8], [2, 2], [0, 0], [5, 5], [2, 3]]
    assert backed(counts, [0, 0, 0, 0, -1, 1]).tolist() == [True, False, False, False, False, True]
    # A plurality of three labels is not a majority: 4 of 10.
    assert not backed([[4, 3, 3]], [0])[0]
    # 0.1 + 0.2 is 0.30000000000000004, "more" than half of .6 by rounding alone.
    assert backed([[0.1 + 0.2, 0.3], [0.31, 0.29]], [0, 0]).tolist() == [False, True]
    with pytest.raises(DataError, match="expected -1 to 1"):
        backed(counts, [0, 0, 2, 0, 0, 0])


@given(st.lists(rows.filter(lambda r: sum(r) >= 3), min_size=1, max_size=8), st.integers(0, 99))
@settings(max_examples=40)
def test_subsamples_are_parts_of_the_panel(counts: list[list[int]], seed: int) -> None:
    drawn = subsample_annotators(counts, 3, np.random.default_rng(seed))
    assert (drawn <= np.array(counts)).all()
    assert (drawn.sum(axis=1) == 3).all()


def test_subsample_is_unbiased_and_seeded() -> None:
    counts = np.tile([60, 30, 10], (3000, 1))
    drawn = subsample_annotators(counts, 10, np.random.default_rng(1))
    # Mean 10 * (0.6, 0.3, 0.1); standard error of a mean of 3,000 is at most sqrt(10 * .24 / 3000) = 0.028.
    np.testing.assert_allclose(drawn.mean(axis=0), [6, 3, 1], atol=0.12)
    np.testing.assert_array_equal(drawn, subsample_annotators(counts, 10, np.random.default_rng(1)))


def test_too_large_a_subsample_is_an_error() -> None:
    with pytest.raises(DataError, match="row 1 has 4"):
        subsample_annotators([[5, 5], [2, 2]], 5, np.random.default_rng(0))
    with pytest.raises(DataError, match="at least 1"):
        subsample_annotators([[5, 5]], 0, np.random.default_rng(0))


def test_log_base() -> None:
    assert float(annotation_entropy([1, 1, 1])) == pytest.approx(math.log2(3))


def test_equal_shares_are_equal_numbers_whatever_n_and_order() -> None:
    # Half and half of 2, 4 and 100 annotators; a third each of 3, 9 and 30; and in any order of the labels.
    halves = annotation_entropy([[1, 1, 0], [2, 0, 2], [0, 50, 50]])
    thirds = annotation_entropy([[1, 1, 1], [3, 3, 3], [10, 10, 10]])
    assert halves.tolist() == [1.0] * 3
    assert len(set(thirds.tolist())) == 1
    assert thirds[0] == pytest.approx(np.log2(3), abs=1e-12)
    assert gold_share([[1, 1], [2, 2], [50, 50]], [0, 1, 0]).tolist() == [0.5] * 3


@pytest.mark.parametrize("estimator", ["plugin", "miller_madow"])
def test_a_published_distribution_times_its_n_is_the_same_as_the_counts(estimator: str) -> None:
    # 7 of 100, 27 of 100 and 66 of 100: times n the shares come back off by a last bit for most n.
    shares = np.array([0.07, 0.27, 0.66])
    counts = np.outer(np.arange(1, 101), shares)
    whole = np.array([[7.0, 27.0, 66.0]])
    assert len(set(gold_share(counts, np.ones(100, dtype=int)).tolist())) == 1
    assert gold_share(counts, np.ones(100, dtype=int))[0] == gold_share(whole, [1])[0]
    if estimator == "plugin":
        assert set(annotation_entropy(counts).tolist()) == set(annotation_entropy(whole).tolist())
    else:  # depends on n, and on nothing else
        turned = annotation_entropy(counts[:, ::-1], estimator=estimator)
        assert annotation_entropy(counts, estimator=estimator).tolist() == turned.tolist()
        assert (
            annotation_entropy(counts, estimator=estimator)[99]
            == annotation_entropy(whole, estimator=estimator)[0]
        )
