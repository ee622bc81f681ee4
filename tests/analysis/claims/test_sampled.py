"""Common draws: the same examples for every cell of a data set, the same seeds for every condition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from dissensus.analysis.claims.sampled import Resampler
from dissensus.stats.draws import Draws
from dissensus.stats.partial import RankDesign

NAMES = np.array([f"p{i}" for i in range(60)])


def mean_of(values: np.ndarray) -> Callable[[Draws], np.ndarray]:
    return lambda draws: draws.weights @ values / draws.weights.sum(axis=1)


def test_cells_of_one_data_set_see_the_same_examples() -> None:
    maker = Resampler({"a": NAMES.tolist()}, 300, 1)
    values = np.random.default_rng(0).normal(size=60)
    first = maker.over("a", NAMES, mean_of(values))
    again = Resampler({"a": NAMES[::-1].tolist()}, 300, 1).over("a", NAMES, mean_of(values))
    np.testing.assert_array_equal(first, again)
    # The same examples in another order, in another cell: the very same resamples.
    turned = maker.over("a", NAMES[::-1], mean_of(values[::-1]))
    np.testing.assert_allclose(first, turned, atol=1e-12)
    # A cell that tracks half of them sees the draws of its half.
    half = maker.over("a", NAMES[:30], lambda draws: draws.weights)
    whole = maker.over("a", NAMES, lambda draws: draws.weights)
    np.testing.assert_array_equal(half, whole[:, :30])
    assert not np.array_equal(
        whole, Resampler({"b": NAMES.tolist()}, 300, 1).over("b", NAMES, lambda d: d.weights)
    )


def test_examples_of_one_premise_are_drawn_together() -> None:
    clusters = np.repeat(NAMES[:20], 3)
    weights = Resampler({"a": clusters.tolist()}, 50, 0).over("a", clusters, lambda draws: draws.weights)
    assert weights.shape == (50, 60)
    np.testing.assert_array_equal(weights[:, ::3], weights[:, 1::3])
    assert (weights.sum(axis=1) == 60).all()


def test_a_resampled_rho_is_the_rho_of_the_repeated_rows() -> None:
    rng = np.random.default_rng(3)
    clusters = np.repeat(NAMES[:20], 3)
    x, y = rng.integers(0, 9, 60).astype(float), rng.normal(size=60)
    maker = Resampler({"a": clusters.tolist()}, 8, 0)
    design = RankDesign.of(x, y, {}, units=maker.units(clusters).of)
    found = maker.over("a", clusters, design.resampled)
    weights = maker.over("a", clusters, lambda draws: draws.weights).astype(int)
    for value, times in zip(found, weights, strict=True):
        rows = np.repeat(np.arange(60), times)
        assert value == pytest.approx(stats.spearmanr(x[rows], y[rows]).statistic, abs=1e-12)


def test_chunks_join_without_a_seam() -> None:
    maker = Resampler({"a": NAMES.tolist()}, 600, 0)
    whole = maker.over("a", NAMES, lambda draws: draws.weights)
    assert whole.shape == (600, 60)
    fewer = Resampler({"a": NAMES.tolist()}, 300, 0).over("a", NAMES, lambda draws: draws.weights)
    np.testing.assert_array_equal(whole[:256], fewer[:256])


def test_a_cluster_is_in_the_same_half_in_every_cell() -> None:
    maker = Resampler({"a": NAMES.tolist()}, 10, 0)
    first = maker.first_half("a", NAMES)
    assert first.sum() == 30
    np.testing.assert_array_equal(maker.first_half("a", NAMES[10:20]), first[10:20])


def test_draws_are_of_the_cells_own_units() -> None:
    clusters = np.array(["b", "a", "b", "c"])
    seen: list[Draws] = []

    def keep(draws: Draws) -> np.ndarray:
        seen.append(draws)
        return draws.totals

    Resampler({"d": ["a", "b", "c", "z"]}, 20, 0).over("d", clusters, keep)
    for draws in seen:
        np.testing.assert_array_equal(draws.weights[:, 0], draws.weights[:, 2])
        np.testing.assert_array_equal(draws.totals, draws.weights.sum(axis=1))
