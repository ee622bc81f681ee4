"""Krippendorff's alpha: published examples, the package `krippendorff`, several labels, the interval."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from dissensus.data.annotators.alpha import LEAST_ITEMS, Alpha, Level, krippendorff_alpha
from dissensus.data.annotators.panel import Panel
from dissensus.errors import DataError

X = np.nan
# Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), example C: four observers, twelve units.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, X, X, X],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, X, 3],
    [X, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, X],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, X],
]
LEVELS = get_args(Level)


def counts_of(table: object, labels: int) -> NDArray[np.float64]:
    values = np.array(table, dtype=float)
    return np.stack([(values == k + 1).sum(axis=0) for k in range(labels)], axis=1).astype(float)


def alpha(counts: object, level: Level = "nominal", **options: object) -> Alpha:
    return krippendorff_alpha(counts, rng=np.random.default_rng(0), level=level, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_the_published_example(level: Level, published: float) -> None:
    result = alpha(counts_of(OBSERVERS, 5), level)
    assert result.value == pytest.approx(published, abs=5e-4)
    assert result.items == 11  # the twelfth unit has one observer
    assert np.isnan(result.low)  # 11 items are too few for an interval


def test_the_published_binary_example() -> None:
    a, b = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert alpha(counts_of(np.array([a, b]) + 1, 2)).value == pytest.approx(0.095, abs=5e-4)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_packages(level: Level, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(1, 5, (6, 40)).astype(float)
    table[:, 20:] = table[0, 20:]
    table[rng.random(table.shape) < 0.3] = np.nan
    krippendorff = pytest.importorskip("krippendorff")
    expected = krippendorff.alpha(reliability_data=table, level_of_measurement=level)
    assert alpha(counts_of(table, 4), level).value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("level", LEVELS)
def test_an_annotator_of_two_labels_does_not_disagree_with_themselves(level: Level) -> None:
    # Written out over pairs of different annotators, each answer a vector of shares.
    rng = np.random.default_rng(2)
    item = np.repeat(np.arange(30), 3)
    who = np.tile(np.arange(3), 30)
    labels = rng.integers(0, 3, 90)
    again = rng.random(90) < 0.3
    panel = Panel.from_arrays(
        np.concatenate([item, item[again]]),
        np.concatenate([who, who[again]]),
        np.concatenate([labels, (labels[again] + 1) % 3]),
        items=30,
        labels=3,
    )
    n = panel.counts.sum(axis=0)
    middle = np.cumsum(n) - n / 2
    place = {"nominal": None, "ordinal": middle, "interval": np.arange(3.0)}[level]
    distance = 1 - np.eye(3) if place is None else (place[:, None] - place) ** 2
    observed = 0.0
    for i in range(30):
        of_item = panel.shares[panel.item == i]
        observed += sum(of_item[a] @ distance @ of_item[b] for a in range(3) for b in range(3) if a != b) / 2
    expected = 1 - observed * (n.sum() - 1) / (n @ distance @ n)
    assert alpha(panel.counts, level, panel=panel).value == pytest.approx(expected, abs=1e-12)
    assert alpha(panel.counts, level).value < expected  # counts alone cannot know


def test_nothing_to_agree_on_is_nan() -> None:
    assert np.isnan(alpha([[3, 0], [2, 0]]).value)
    single = alpha([[1, 0], [0, 1]])
    assert np.isnan(single.value)
    assert single.items == 0


def test_equal_counts_drawn_together_give_the_interval_of_items_drawn_one_by_one() -> None:
    rng = np.random.default_rng(3)
    counts = rng.multinomial(5, [0.6, 0.4], size=400).astype(float)  # six patterns
    fast = krippendorff_alpha(counts, rng=rng, resamples=4000)
    slow = [alpha(counts[rng.integers(400, size=400)], resamples=0).value for _ in range(1000)]
    low, high = np.quantile(slow, [0.025, 0.975])
    assert (fast.low, fast.high) == pytest.approx((low, high), abs=0.01)


def test_the_interval_covers_the_truth() -> None:
    def draw(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        p = rng.beta(0.5, 0.5, n)
        positive = rng.binomial(4, p)
        return np.stack([positive, 4 - positive], axis=1).astype(float)

    truth = alpha(draw(400_000, np.random.default_rng(9)), resamples=0).value
    rng = np.random.default_rng(10)
    intervals = [krippendorff_alpha(draw(100, rng), rng=rng, resamples=200) for _ in range(200)]
    assert np.mean([i.low <= truth <= i.high for i in intervals]) > 0.9


def test_few_items_have_no_interval() -> None:
    counts = np.array([[2, 1], [0, 3]] * LEAST_ITEMS, dtype=float)
    assert np.isnan(alpha(counts[: LEAST_ITEMS - 1]).low)
    assert not np.isnan(alpha(counts[:LEAST_ITEMS]).low)


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(DataError, match="ratio"):
        alpha([[1, 1]], "ratio")  # type: ignore[arg-type]
