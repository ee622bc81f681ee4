"""Data maps, forgetting and margins: what they share is the rule for step 0, ties and gaps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dissensus.metrics import cartography, forgetting, gold_margins, margin

NAN = float("nan")


def walk(*gold_probability: float) -> list[list[float]]:
    """Two-label probabilities over the tracking points, gold first."""
    return [[p, 1 - p] for p in gold_probability]


def test_cartography_known_values(make_curves):
    # Without step 0: p(gold) 0.2, 0.6, 0.7, 0.9: mean 0.6; deviations -0.4, 0, 0.1, 0.3; their squares' mean is
    # 0.26 / 4 = 0.065; right at three of four.
    curves = make_curves([walk(0.9, 0.2, 0.6, 0.7, 0.9)])
    data_map = cartography(curves)
    assert data_map.confidence == pytest.approx([0.6], abs=1e-6)
    assert data_map.variability == pytest.approx([np.sqrt(0.065)], abs=1e-6)
    assert data_map.correctness == pytest.approx([0.75])
    # With it: mean 3.3 / 5 = 0.66, right at four of five.
    whole = cartography(curves, include_start=True)
    assert whole.confidence == pytest.approx([0.66], abs=1e-6)
    assert whole.correctness == pytest.approx([0.8])


def test_cartography_of_one_point_and_of_none(make_curves):
    one = cartography(make_curves([walk(0.5, 0.8)]))
    assert one.confidence == pytest.approx([0.8], abs=1e-6)
    assert one.variability.tolist() == [0.0]
    only_start = cartography(make_curves([walk(0.5)], total_steps=10))
    assert np.isnan([only_start.confidence, only_start.variability, only_start.correctness]).all()
    no_gold = cartography(make_curves([walk(0.5, 0.8)], gold=[-1]))
    assert np.isnan([no_gold.confidence, no_gold.variability, no_gold.correctness]).all()


def test_cartography_leaves_gaps_out(make_curves):
    # 0.2 and 0.6 remain: mean 0.4, deviation 0.2, right at one of two.
    data_map = cartography(make_curves([walk(0.5, 0.2, NAN, 0.6)]))
    assert data_map.confidence == pytest.approx([0.4], abs=1e-6)
    assert data_map.variability == pytest.approx([0.2], abs=1e-6)
    assert data_map.correctness.tolist() == [0.5]


def test_a_tie_is_wrong_whichever_label_comes_first(make_curves):
    tied = [[[0.5, 0.5], [0.5, 0.5]]] * 2
    curves = make_curves(tied, gold=[0, 1])
    assert cartography(curves).correctness.tolist() == [0.0, 0.0]
    assert forgetting(curves).never_learned.tolist() == [True, True]


@given(arrays(np.float64, (3, 6, 3), elements=st.floats(0.01, 1)))
def test_cartography_ranges_and_equals_numpy(make_curves, raw):
    p = raw / raw.sum(axis=2, keepdims=True)
    data_map = cartography(make_curves(p))
    assert data_map.confidence == pytest.approx(p[:, 1:, 0].mean(axis=1), abs=1e-5)
    assert data_map.variability == pytest.approx(p[:, 1:, 0].std(axis=1), abs=1e-5)
    assert np.all((data_map.variability >= 0) & (data_map.variability <= 0.5))


def test_forgetting_known_values(make_curves):
    curves = make_curves(
        [
            walk(0.9, 0.1, 0.9, 0.1, 0.9, 0.9),  # right from step 20; lost once (30)
            walk(0.9, 0.9, 0.1, 0.9, 0.1, 0.1),  # right from step 10; lost twice (20, 40)
            walk(0.1, 0.9, 0.9, 0.9, 0.9, 0.9),  # never lost
            walk(0.9, 0.1, 0.1, 0.1, 0.1, 0.1),  # right only before training: never learned
        ],
        steps=[0, 10, 20, 30, 40, 100],
    )
    result = forgetting(curves)
    assert result.events == pytest.approx([1, 2, 0, NAN], nan_ok=True)
    assert result.learned_step == pytest.approx([20, 10, 10, NAN], nan_ok=True)
    assert result.learned_progress == pytest.approx([0.2, 0.1, 0.1, NAN], nan_ok=True)
    assert result.never_learned.tolist() == [False, False, False, True]
    # With step 0 the lucky start counts: lost at 10 (twice over in row 0) and never regained in row 3.
    whole = forgetting(curves, include_start=True)
    assert whole.events == pytest.approx([2, 2, 0, 1])
    assert whole.learned_step == pytest.approx([0, 0, 10, 0])


def test_forgetting_across_gaps(make_curves):
    curves = make_curves([walk(0.5, 0.9, NAN, 0.1, NAN), walk(0.5, NAN, NAN, 0.9, NAN)])
    result = forgetting(curves)
    # Row 0: right, (gap), wrong: one event. Row 1: right once at step 3, nothing after it.
    assert result.events.tolist() == [1.0, 0.0]
    assert result.learned_step.tolist() == [1.0, 3.0]


def test_forgetting_without_a_usable_point(make_curves):
    no_gold = forgetting(make_curves([walk(0.5, 0.9)], gold=[-1]))
    assert np.isnan([no_gold.events, no_gold.learned_step]).all()
    assert no_gold.never_learned.tolist() == [False]  # not known, so not claimed
    only_start = forgetting(make_curves([walk(0.9)], total_steps=10))
    assert np.isnan(only_start.events).all()


def test_margin_known_values(make_curves):
    # log(0.5 / 0.25) = ln 2 at step 1, log(0.1 / 0.8) = -3 ln 2 at step 2: mean -ln 2. Step 0 counts only when asked.
    p = [[[0.8, 0.1, 0.1], [0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]]
    curves = make_curves(p)
    assert margin(curves).mean == pytest.approx([-np.log(2)], abs=1e-6)
    assert margin(curves).final == pytest.approx([-3 * np.log(2)], abs=1e-6)
    # log(0.8 / 0.1) = 3 ln 2: (3 + 1 - 3) / 3
    assert margin(curves, include_start=True).mean == pytest.approx([np.log(2) / 3], abs=1e-6)


def test_margin_of_log_probabilities_is_the_margin_of_logits(make_curves):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (5, 4, 3))
    gold = np.array([0, 1, 2, 0, 1])
    p = np.exp(logits)
    curves = make_curves(p / p.sum(axis=2, keepdims=True), gold=gold)
    for i, g in enumerate(gold):
        others = np.delete(logits[i], g, axis=1).max(axis=1)
        assert gold_margins(curves)[i] == pytest.approx(logits[i, :, g] - others, abs=1e-5)


def test_margin_gaps(make_curves):
    nan_last = margin(make_curves([walk(0.5, 0.8, NAN)]))
    assert nan_last.mean == pytest.approx([np.log(4)], abs=1e-6)
    assert np.isnan(nan_last.final).all()
    impossible = margin(make_curves([walk(0.5, 0.0)]))  # a margin of minus infinity has no mean
    assert np.isnan([impossible.mean, impossible.final]).all()
    assert forgetting(make_curves([walk(0.5, 0.0)])).never_learned.tolist() == [True]  # but it is wrong
    assert np.isnan(margin(make_curves([walk(0.5, 0.8)], gold=[-1])).mean).all()
