from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from dissensus.errors import DataError, SpecError
from dissensus.stats import entropy_groups, group_curves

NAN = float("nan")


def letters(groups: np.ndarray) -> str:
    """'s', 'm', 'c' and '-' for settled, middle, contested and none."""
    return "".join(g[:1] or "-" for g in groups.tolist())


def test_thirds_without_ties():
    assert letters(entropy_groups([0.5, 0.1, 0.9, 0.3, 1.2, 0.7])) == "mscscm"
    # Places of seven: 1/14, 3/14, 5/14, ...: 5/14 is above 1/3, so two on each side.
    assert letters(entropy_groups(np.arange(7) / 10)) == "ssmmmcc"
    assert letters(entropy_groups(np.arange(4) / 10, share=0.5)) == "sscc"


def test_a_tied_block_goes_where_most_of_it_lies():
    # Of ten, 0.7 takes ranks 3 to 6: place (4.5 - 0.5) / 10 = 0.4, above 1/3: middle. At a share of 0.45: settled.
    entropy = [0.0, 0.1, 0.7, 0.7, 0.7, 0.7, 1.0, 1.1, 1.2, 1.3]
    assert letters(entropy_groups(entropy)) == "ssmmmmmccc"
    assert letters(entropy_groups(entropy, share=0.45)) == "sssssscccc"


def test_five_annotators():
    # Three values of entropy, most items unanimous: the lowest value is settled and the highest contested in any case.
    values = [0.0, 0.722, 0.971]
    assert letters(entropy_groups(np.repeat(values, [8, 1, 1]))) == "sssssssscc"  # 0.722 lies at 0.85
    assert letters(entropy_groups(np.repeat(values, [4, 3, 3]))) == "ssssmmmccc"  # at 0.55
    assert letters(entropy_groups(np.repeat(values, [1, 1, 8]))) == "sscccccccc"  # 0.971 lies at 0.6
    assert letters(entropy_groups([0.0] * 9 + [0.7])) == "sssssssssc"


def test_all_equal_are_middle_and_nan_is_in_no_group():
    assert letters(entropy_groups([0.5, 0.5, 0.5])) == "mmm"
    assert letters(entropy_groups([NAN, 0.1, 0.2, 0.3])) == "-smc"
    assert letters(entropy_groups([NAN, NAN])) == "--"
    assert letters(entropy_groups([])) == ""


def test_rounding_does_not_break_ties():
    # The entropy of (50, 30, 20) summed in two orders differs in the last digit.
    a = 1.4854752972273344
    entropy = [0.0, 0.1, 0.2, a, np.nextafter(a, 2), np.nextafter(a, 1)]
    assert letters(entropy_groups(entropy)) == "ssmccc"


def test_cut_points():
    assert letters(entropy_groups([0.2, 0.5, 0.6, 1.0, 1.1, NAN], cuts=(0.5, 1.0))) == "ssmcc-"


def test_a_cut_written_with_fewer_digits_takes_the_whole_block_of_equal_entropies():
    # Three of five: -(0.6 log2 0.6 + 0.4 log2 0.4) = 0.97095059445..., below the cut in its eleventh digit.
    block = -(0.6 * np.log2(0.6) + 0.4 * np.log2(0.4))
    assert block < 0.9709505945
    entropy = [0.0, np.nextafter(block, 0), block, np.nextafter(block, 2)]
    assert letters(entropy_groups(entropy, cuts=(0.5, 0.9709505945))) == "sccc"
    # The same from below, the entropy now above the cut; a millionth of a bit is a difference.
    assert letters(entropy_groups(entropy, cuts=(0.9709505944, 1.0))) == "ssss"
    assert letters(entropy_groups(entropy, cuts=(0.9709495, 0.9709515))) == "smmm"


@given(
    arrays(np.float64, st.integers(1, 30), elements=st.integers(0, 8).map(lambda k: k / 4)),
    st.floats(0.05, 0.5),
    st.randoms(use_true_random=False),
)
def test_row_order_does_not_matter_and_groups_are_ordered(entropy, share, random):
    order = np.array(random.sample(range(len(entropy)), len(entropy)))
    groups = entropy_groups(entropy, share=share)
    assert entropy_groups(entropy[order], share=share).tolist() == groups[order].tolist()
    for value in np.unique(entropy):
        assert len(set(groups[entropy == value].tolist())) == 1
    settled, contested = entropy[groups == "settled"], entropy[groups == "contested"]
    if np.ptp(entropy) > 0:
        assert settled.max() < contested.min()
        # Turned upside down, settled and contested change places.
        swapped = {"settled": "contested", "contested": "settled", "middle": "middle"}
        assert entropy_groups(-entropy, share=share).tolist() == [swapped[g] for g in groups.tolist()]


def test_group_means_gaps_and_order():
    losses = np.array([[1.0, 2.0], [3.0, NAN], [5.0, 6.0], [7.0, 7.0], [9.0, NAN]])
    groups = ["settled", "settled", "contested", "", "other"]
    curves = group_curves(losses, groups)
    assert list(curves) == ["contested", "settled", "other"]
    assert curves["settled"].mean == pytest.approx([2.0, 2.0])
    assert (curves["settled"].n, curves["settled"].finite.tolist()) == (2, [2, 1])
    assert curves["contested"].mean == pytest.approx([5.0, 6.0])
    assert curves["other"].mean == pytest.approx([9, NAN], nan_ok=True)
    assert np.isnan(curves["settled"].low).all()


def test_bands_are_t_intervals_of_the_mean():
    rng = np.random.default_rng(0)
    losses = np.concatenate([rng.normal(3, 2, (30, 4)), rng.normal(1, 1, (100, 4))])
    losses[::7, 2] = NAN
    groups = np.repeat(["contested", "settled"], [30, 100])
    for name, curve in group_curves(losses, groups, confidence=0.9).items():
        for point in range(4):
            own = losses[groups == name, point]
            theirs = stats.ttest_1samp(own[np.isfinite(own)], 0).confidence_interval(0.9)
            assert (curve.low[point], curve.high[point]) == pytest.approx((theirs.low, theirs.high))
        assert curve.withheld == ""


def test_bands_by_cluster_are_those_of_the_clusters():
    # Nine copies of each value: as much is known as from one of each.
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 1))
    once = group_curves(values, np.full(50, "contested"))["contested"]
    whole = group_curves(
        np.repeat(values, 9, axis=0), np.full(450, "contested"), clusters=np.repeat(range(50), 9)
    )["contested"]
    assert (whole.low[0], whole.high[0]) == pytest.approx((once.low[0], once.high[0]))
    assert whole.units.tolist() == [50]


def test_few_clusters_have_no_band():
    curve = group_curves(np.arange(60.0)[:, None], np.full(60, "settled"), clusters=np.arange(60) % 19)[
        "settled"
    ]
    assert curve.mean[0] == pytest.approx(29.5)
    assert np.isnan([curve.low[0], curve.high[0]]).all()
    assert curve.withheld == "19 clusters; an interval needs 20 at least"


def test_bad_arguments_are_explained():
    with pytest.raises(SpecError, match=r"share is 0\.7"):
        entropy_groups([0.1, 0.2], share=0.7)
    with pytest.raises(SpecError, match=r"cuts are \(1.0, 0.5\)"):
        entropy_groups([0.1, 0.2], cuts=(1.0, 0.5))
    with pytest.raises(DataError, match=r"losses of shape \(2, 1\) do not fit groups of shape \(3,\)"):
        group_curves([[1.0], [2.0]], ["a", "b", "c"])
    with pytest.raises(SpecError, match="confidence is 95"):
        group_curves([[1.0]], ["a"], confidence=95)
