"""Worlds in which the loss depends on gold share alone: nothing is left of rho with gold share held fixed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dissensus.data.agreement import annotation_entropy, gold_share
from dissensus.stats import partial_spearman
from dissensus.stats.basis import columns_of, covariate_basis
from dissensus.stats.ranks import average_ranks

ITEMS, ANNOTATORS, SAMPLES = 500, 100, 200
WORLDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "1 - s": lambda s: 1 - s,
    "-log(.05 + .9 s)": lambda s: -np.log(0.05 + 0.9 * s),
    "flat above .5": lambda s: -np.minimum(s, 0.5),
    "flat below .7": lambda s: -np.maximum(s, 0.7),
}


def items(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Entropies and gold shares of 100 annotators per item, three labels, spread as ChaosNLI's SNLI items are."""
    counts = rng.multinomial(ANNOTATORS, rng.dirichlet([1.0, 0.4, 0.1], ITEMS))
    return annotation_entropy(counts), gold_share(counts, np.zeros(ITEMS, dtype=int))


def test_the_panel_is_like_the_real_one():
    # Of the 1,514 SNLI items a line in gold share's rank explains 50 % of entropy's rank, a spline 85 %.
    entropy, share = items(np.random.default_rng(0))
    explained = {}
    for form in ("linear", "flexible"):
        basis = covariate_basis({"gold_share": share}, (), ITEMS, form)
        ranks = average_ranks(entropy) - (ITEMS + 1) / 2
        explained[form] = ((basis.T @ ranks) ** 2).sum() / (ranks @ ranks)
    assert explained["linear"] == pytest.approx(0.50, abs=0.06)
    assert explained["flexible"] == pytest.approx(0.86, abs=0.04)


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], tuple[float, float]]:
    """Mean partial rho and how often it was called significant, for each form and world."""
    rng = np.random.default_rng(1)
    values: dict[tuple[str, str], list[tuple[float, bool]]] = {}
    for sample in range(SAMPLES):
        entropy, share = items(rng)
        noise = rng.normal(0, 0.2, ITEMS)
        for world, loss in WORLDS.items():
            for form in ("flexible", "linear") if sample < 30 else ("flexible",):
                result = partial_spearman(
                    entropy, loss(share) + noise, {"gold_share": share}, form=form, resamples=100, rng=rng
                )
                values.setdefault((form, world), []).append((result.rho, result.p_value < 0.05))
    return {key: tuple(np.mean(own, axis=0)) for key, own in values.items()}


@pytest.mark.parametrize("world", WORLDS)
def test_nothing_is_left_where_gold_share_explains_all(found, world):
    # 5 % of 200 are expected to be rejected; 7 % is one and a third standard errors above that.
    mean, rejected = found["flexible", world]
    assert abs(mean) <= 0.02
    assert rejected <= 0.07


def test_a_line_in_the_rank_of_gold_share_does_not_hold_it_fixed(found):
    worst = [abs(found["linear", world][0]) for world in WORLDS]
    assert min(worst) > 0.05
    assert max(worst) > 0.2
    assert min(found["linear", world][1] for world in WORLDS) > 0.2  # of 30 samples


def test_few_values_are_classes_and_many_a_spline():
    values = np.repeat(np.arange(6.0), 20)
    assert columns_of(values).tolist() == [(values == v).tolist() for v in range(1, 6)]
    # 120 examples: 3 + round(log2(120 / 50)) = 4 knots, a line and two curves.
    assert columns_of(np.arange(120.0)).shape == (3, 120)
    assert columns_of(np.arange(50.0)).shape == (2, 50)
    assert columns_of(np.arange(5000.0)).shape == (7, 5000)
    # Ten values of which each has three examples cost less as a spline.
    assert len(columns_of(np.repeat(np.arange(10.0), 3))) == 2
    # Where ties leave two knots, a line is all there is.
    assert columns_of(np.array([*np.arange(11.0), *np.full(500, 99.0)])).shape == (1, 511)


def test_a_spline_is_straight_beyond_its_outer_knots_and_smooth_between():
    u = (np.arange(1000) + 0.5) / 1000
    for row in columns_of(np.arange(1000.0))[1:]:
        second = np.diff(row, 2) * 1e6
        assert np.abs(second[:15]).max() < 1e-6
        assert np.abs(second[-15:]).max() < 1e-6
        assert np.abs(second).max() > 0.1
        assert np.abs(np.diff(second)).max() < 0.2  # no kink: a cubic's second derivative is continuous
    assert np.allclose(columns_of(np.arange(1000.0))[0], u)


def test_a_covariate_that_determines_entropy_leaves_no_partial_correlation():
    # Two labels and the majority as gold: entropy is a function of gold share, which a spline follows to .1 %.
    rng = np.random.default_rng(2)
    first = rng.integers(50, 101, 300)
    counts = np.stack([first, 100 - first], axis=1)
    entropy, share = annotation_entropy(counts), gold_share(counts, np.zeros(300, dtype=int))
    result = partial_spearman(entropy, rng.normal(size=300), {"gold_share": share}, resamples=50, rng=0)
    assert np.isnan([result.rho, result.low, result.high, result.p_value]).all()
    assert result.withheld.startswith("the covariates determine the first of the two (100.0%")
