"""Label budget: the variance of entropy against draws, properties of the spread, and worlds whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

from dissensus.data.agreement import annotation_entropy
from dissensus.errors import DataError, SpecError
from dissensus.stats.label_budget import PRIOR, entropy_variance, spread_labels

Array = np.ndarray[Any, Any]


def entropy_of(shares: Array) -> Array:
    return np.asarray(-(shares * np.log2(np.maximum(shares, 1e-300))).sum(axis=-1))


@pytest.mark.parametrize("counts", [(2, 1, 0), (6, 0, 0), (0, 0, 0), (40, 35, 25), (3, 1)])
def test_the_variance_of_entropy_is_that_of_draws_from_the_posterior(counts: tuple[float, ...]) -> None:
    draws = entropy_of(np.random.default_rng(1).dirichlet(np.array(counts) + PRIOR, size=100_000))
    assert entropy_variance([counts])[0] == pytest.approx(draws.var(), rel=0.03)


def test_a_known_value() -> None:
    """K = 2, no annotation: the arcsine prior. E[H] = psi(2) - psi(1.5) = 0.386294 nats = 2 ln 2 - 1.

    The second moment by quadrature over the arcsine law: share = sin^2 of an angle that is even on (0, pi / 2).
    """
    angle = (np.arange(200_000) + 0.5) / 200_000 * np.pi / 2
    shares = np.stack([np.sin(angle) ** 2, np.cos(angle) ** 2], axis=1)
    h = entropy_of(shares)
    assert h.mean() * np.log(2) == pytest.approx(2 * np.log(2) - 1, abs=1e-6)
    assert entropy_variance([[0, 0]])[0] == pytest.approx(h.var(), abs=1e-6)


def test_each_further_label_gains_less_than_the_one_before() -> None:
    rng = np.random.default_rng(2)
    for counts in rng.integers(0, 12, size=(40, 3)).astype(float):
        after = [spread_labels([counts], labels).after[0] ** 2 for labels in range(9)]
        falls = -np.diff(after)
        assert np.all(falls > 0)
        gains = [
            after[labels] / (counts.sum() + labels + 3 * PRIOR + 1) for labels in range(9)
        ]  # what the greedy choice goes by
        assert np.all(np.diff(gains) < 0)


def test_the_budget_is_spent_on_items_that_are_least_known() -> None:
    counts = [[3, 2], [5, 0], [0, 0], [50, 50]]
    spread = spread_labels(counts, 6)
    assert spread.labels.sum() == 6
    assert spread.labels[2] > 0  # nobody has answered
    assert spread.labels[3] == 0  # a hundred have
    assert np.all(spread.after <= spread.before)
    np.testing.assert_array_equal(spread.before, np.sqrt(entropy_variance(counts)))
    assert spread_labels(counts, 0).labels.tolist() == [0, 0, 0, 0]


def test_of_equal_gains_the_item_that_stands_first_is_taken() -> None:
    assert spread_labels([[1, 1]] * 3, 4).labels.tolist() == [2, 1, 1]


def test_what_is_refused() -> None:
    with pytest.raises(SpecError, match="-1"):
        spread_labels([[1, 1]], -1)
    with pytest.raises(DataError, match="no item"):
        spread_labels(np.zeros((0, 2)), 1)
    with pytest.raises(DataError, match="negative"):
        entropy_variance([[1, -1]])
    with pytest.raises(DataError, match="two labels"):
        entropy_variance([[1], [2]])


# A budget in worlds whose truth is known.


def information(a: Array) -> Array:
    """Mutual information of the next label and the distribution, nats: the spread that was not chosen."""
    total = a.sum(axis=-1, keepdims=True)
    p = a / total
    mean = special.digamma(total[..., 0] + 1) - (p * special.digamma(a + 1)).sum(axis=-1)
    return np.asarray(-(p * np.log(p)).sum(axis=-1) - mean)


def greedily(counts: Array, budget: int, gain: Callable[[Array], Array]) -> Array:
    a = counts + PRIOR
    shares, labels, gains = a / a.sum(axis=1, keepdims=True), np.zeros(len(a), dtype=np.int64), gain(a)
    for _ in range(budget):
        row = int(np.argmax(gains))
        labels[row] += 1
        a[row] += shares[row]
        gains[row] = gain(a[row : row + 1])[0]
    return labels


def errors(k: int, asked: int | None) -> dict[str, float]:
    """Root mean square error of plug-in entropy, bits, after two further labels per item, by how they are spread.

    150 items of K labels: a third each nearly one-sided, of any kind, and mixed. `asked` labels each before, or, with
    None, 1 to 11 at random. Mean square over 4 worlds, each answered 3 times.
    """
    square: dict[str, list[float]] = {}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        truth = np.stack([rng.dirichlet(np.full(k, c)) for c in np.repeat([0.2, 1.0, 3.0], 50)])
        asked_each = rng.integers(1, 12, 150) if asked is None else np.full(150, asked)
        counts = rng.multinomial(asked_each, truth).astype(float)
        plans = {
            "even": np.full(150, 2),
            "gain": spread_labels(counts, 300).labels,
            "information": greedily(counts, 300, information),
        }
        for name, labels in plans.items():
            assert labels.sum() == 300
            for _ in range(3):
                entropy = annotation_entropy(counts + rng.multinomial(labels, truth))
                square.setdefault(name, []).append(float(np.mean((entropy - entropy_of(truth)) ** 2)))
    return {name: float(np.sqrt(np.mean(values))) for name, values in square.items()}


@pytest.mark.parametrize("asked", [None, 3, 5, 10])
@pytest.mark.parametrize("k", [2, 3, 5])
def test_entropy_comes_out_better_than_with_an_even_spread(k: int, asked: int | None) -> None:
    error = errors(k, asked)
    assert error["gain"] < error["even"]


def test_the_mutual_information_does_not_do_that_where_all_items_have_as_many_labels() -> None:
    """Why `spread_labels` does not go by it."""
    error = errors(2, 5)
    assert error["information"] > error["even"] > error["gain"]
