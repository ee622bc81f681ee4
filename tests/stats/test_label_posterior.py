"""What a few votes say of an item's label, against exact Beta probabilities and known panels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import betainc

from dissensus.errors import DataError
from dissensus.stats.label_budget import PRIOR
from dissensus.stats.label_posterior import CUT, label_posterior, prior_weight, true_kind


def test_the_cut_is_the_entropy_of_two_labels_chosen_two_to_one() -> None:
    assert math.isclose(CUT, -(2 / 3) * math.log2(2 / 3) - (1 / 3) * math.log2(1 / 3))


@pytest.mark.parametrize(("given", "other"), [(5, 0), (4, 1), (3, 2), (1, 4), (0, 3), (40, 60)])
def test_of_two_labels_it_is_the_beta_distribution(given: int, other: int) -> None:
    # p ~ Beta(given + 1/2, other + 1/2): rejected below 1/3, backed above 2/3, contested in between.
    low, high = (betainc(given + PRIOR, other + PRIOR, edge) for edge in (1 / 3, 2 / 3))
    told = label_posterior([[given, other]], [0])
    found = np.array([told.rejected[0], told.contested[0], told.backed[0]])
    assert told.weight == PRIOR
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found, [low, high - low, 1 - high], atol=0.05)  # 3 errors of a thousand draws
    assert found.min() > 0  # never certain


def test_an_item_is_judged_alone_and_a_label_by_its_own_votes() -> None:
    counts = np.array([[5.0, 45, 50], [50, 45, 5], [90, 5, 5], [0, 0, 0]])
    told = label_posterior(counts, [0, 0, 0, 0], weight=0.5)
    assert told.rejected[0] > 0.99  # few people would choose it, however divided the others are
    assert told.contested[1] > 0.99
    assert told.backed[2] > 0.99
    assert told.leading[0, 2] > told.leading[0, 1] > told.leading[0, 0]
    reversed_rows = label_posterior(counts[::-1], [0, 0, 0, 0], weight=0.5)
    np.testing.assert_array_equal(told.rejected, reversed_rows.rejected[::-1])
    assert np.isnan(label_posterior(counts, [-1, 0, 0, 0], weight=0.5).rejected[0])
    none = told.only(counts.sum(axis=1) > 0)
    assert np.isnan(none.rejected[3])
    assert none.rejected[0] == told.rejected[0]


def test_the_prior_is_that_of_the_panel() -> None:
    rng = np.random.default_rng(0)
    for weight in (0.2, 1.0):
        shares = rng.dirichlet([weight] * 3, 2000)
        counts = np.array([rng.multinomial(5, p) for p in shares])
        assert prior_weight(counts) == pytest.approx(weight, rel=0.15)
    assert prior_weight(counts[:19]) == PRIOR
    assert (
        prior_weight(np.array([rng.multinomial(2, p) for p in shares])) == PRIOR
    )  # two votes say too little


def test_what_is_true_of_known_shares() -> None:
    shares = [[0.7, 0.3], [0.6, 0.4], [0.3, 0.7], [0.34, 0.66]]
    assert true_kind(shares, [0, 0, 0, 0]).tolist() == [2, 1, 0, 1]


def test_what_it_refuses() -> None:
    with pytest.raises(DataError, match="expected numbers of at least 0"):
        label_posterior([[1, -1]], [0])
    with pytest.raises(DataError, match=r"expected \(n, K\)"):
        label_posterior([[1], [2]], [0, 0])
