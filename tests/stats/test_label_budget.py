"""Label budget: the spread of shares against draws, properties of the budget, and worlds whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import special

from dissensus.errors import DataError, SpecError
from dissensus.stats.label_budget import PRIOR, spread_labels, top_share_error

Array = np.ndarray[Any, Any]


@pytest.mark.parametrize("counts", [(2, 1, 0), (6, 0, 0), (40, 35, 25), (3, 1)])
def test_the_error_of_the_top_share_is_that_of_draws_from_the_posterior(counts: tuple[float, ...]) -> None:
    draws = np.random.default_rng(1).dirichlet(np.array(counts) + PRIOR, size=100_000)
    assert top_share_error([counts])[0] == pytest.approx(draws[:, 0].std(), rel=0.03)


def test_a_known_value() -> None:
    """One of one: a Beta(1.5, 0.5), whose variance is 0.75 x 0.25 / 3."""
    assert top_share_error([[1, 0]])[0] == pytest.approx(0.25)


def test_each_further_label_gains_less_than_the_one_before() -> None:
    rng = np.random.default_rng(2)
    for counts in rng.integers(0, 12, size=(40, 3)).astype(float):
        after = [spread_labels([counts], labels).after[0] ** 2 for labels in range(9)]
        falls = -np.diff(after)
        assert np.all(falls > 0)
        assert np.all(np.diff(falls) < 0)


def test_the_budget_goes_to_items_with_few_labels_and_then_to_contested_ones() -> None:
    counts = [[3, 2], [5, 0], [0, 0], [50, 50]]
    spread = spread_labels(counts, 9)
    assert spread.labels.tolist() == [2, 0, 7, 0]
    assert np.all(spread.after <= spread.before)
    np.testing.assert_array_equal(spread.before, top_share_error(counts))
    np.testing.assert_allclose(spread.after[[1, 3]], spread.before[[1, 3]])
    assert spread_labels(counts, 0).labels.tolist() == [0, 0, 0, 0]


def test_of_equal_gains_the_item_that_stands_first_is_taken() -> None:
    assert spread_labels([[1, 1]] * 3, 4).labels.tolist() == [2, 1, 1]


def test_what_is_refused() -> None:
    with pytest.raises(SpecError, match="-1"):
        spread_labels([[1, 1]], -1)
    with pytest.raises(DataError, match="no item"):
        spread_labels(np.zeros((0, 2)), 1)
    with pytest.raises(DataError, match="negative"):
        top_share_error([[1, -1]])
    with pytest.raises(DataError, match="two labels"):
        top_share_error([[1], [2]])


# A budget in worlds whose truth is known.


def information(a: Array) -> Array:
    """Mutual information of the next label and the distribution, nats: a gain that was not chosen."""
    total = a.sum(axis=-1, keepdims=True)
    p = a / total
    mean = special.digamma(total[..., 0] + 1) - (p * special.digamma(a + 1)).sum(axis=-1)
    return np.asarray(-(p * np.log(p)).sum(axis=-1) - mean)


def entropy(a: Array) -> Array:
    """Expected fall of the posterior variance of entropy, to first order: another gain that was not chosen."""
    total = a.sum(axis=-1)
    digamma, trigamma = special.digamma, lambda x: special.polygamma(1, x)
    mean = digamma(total + 1) - (a / total[:, None] * digamma(a + 1)).sum(axis=-1)
    base, base1 = digamma(total + 2)[:, None], trigamma(total + 2)[:, None]
    w = a * (digamma(a + 1) - base)
    pairs = w.sum(axis=-1) ** 2 - (w**2).sum(axis=-1) - base1[:, 0] * (total**2 - (a**2).sum(axis=-1))
    same = (digamma(a + 2) - base) ** 2 + trigamma(a + 2) - base1
    square = (pairs + (a * (a + 1) * same).sum(axis=-1)) / (total * (total + 1))
    return np.asarray((square - mean**2) / (total + 1))


def greedily(counts: Array, budget: int, gain: Callable[[Array], Array]) -> Array:
    a = counts + PRIOR
    shares, labels, gains = a / a.sum(axis=1, keepdims=True), np.zeros(len(a), dtype=np.int64), gain(a)
    for _ in range(budget):
        row = int(np.argmax(gains))
        labels[row] += 1
        a[row] += shares[row]
        gains[row] = gain(a[row : row + 1])[0]
    return labels


@cache
def right(k: int, asked: int | None) -> dict[str, float]:
    """Share of items whose majority is the label most people would choose, after two further labels per item.

    150 items of K labels: a third each nearly one-sided, of any kind, and mixed. `asked` labels each before, or, with
    None, 1 to 11 at random. Mean over 4 worlds, each answered 3 times.
    """
    hits: dict[str, list[float]] = {}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        truth = np.stack([rng.dirichlet(np.full(k, c)) for c in np.repeat([0.2, 1.0, 3.0], 50)])
        asked_each = rng.integers(1, 12, 150) if asked is None else np.full(150, asked)
        counts = rng.multinomial(asked_each, truth).astype(float)
        plans = {
            "even": np.full(150, 2),
            "shares": spread_labels(counts, 300).labels,
            "information": greedily(counts, 300, information),
            "entropy": greedily(counts, 300, entropy),
        }
        for name, labels in plans.items():
            assert labels.sum() == 300
            for _ in range(3):
                now = counts + rng.multinomial(labels, truth)
                hits.setdefault(name, []).append(float(np.mean(now.argmax(axis=1) == truth.argmax(axis=1))))
    return {name: float(np.mean(values)) for name, values in hits.items()}


@pytest.mark.parametrize("asked", [None, 3, 5, 10])
@pytest.mark.parametrize("k", [2, 3])
def test_more_majorities_are_right_than_with_an_even_spread(k: int, asked: int | None) -> None:
    share = right(k, asked)
    assert share["shares"] > share["even"]
    assert share["shares"] > share["entropy"]


def test_the_variance_of_entropy_sends_labels_where_all_agree() -> None:
    """Why `spread_labels` does not go by it: fewer majorities are right than with an even spread."""
    share = right(3, 3)
    assert share["entropy"] < share["even"]
    counts = np.array([[5.0, 0.0], [3.0, 2.0]])
    assert greedily(counts, 1, entropy).tolist() == [1, 0]
    assert spread_labels(counts, 1).labels.tolist() == [0, 1]
