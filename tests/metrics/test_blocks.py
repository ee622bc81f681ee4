"""The metrics, which walk in blocks and threads, against one example at a time in plain Python."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dissensus import threads
from dissensus.curves import Curves
from dissensus.errors import SpecError
from dissensus.metrics import (
    aulc,
    blocks,
    cartography,
    example_metrics,
    forgetting,
    gold_margins,
    margin,
    unlearning,
)

NAN = float("nan")


def make(seed: int, n: int = 60, points: int = 7, k: int = 3, start: int = 0, holes: float = 0.0) -> Curves:
    """Random curves; a share of the log-probabilities is NaN or infinite, some examples lack gold or annotations."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, points, k))
    log_probs = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    hole = rng.random(log_probs.shape) < holes
    log_probs[hole] = rng.choice([NAN, -np.inf], hole.sum(), p=[0.4, 0.6])
    gold = rng.integers(0, k, n)
    counts = rng.multinomial(5, np.full(k, 1 / k), n).astype(float)
    if holes:
        gold[rng.random(n) < 0.1] = -1
        counts[rng.random(n) < 0.1] = 0
        log_probs[rng.random(n) < 0.1, 1:] = NAN
    return Curves(
        ids=tuple(f"e{i}" for i in range(n)),
        labels=tuple("abcdef"[:k]),
        steps=start + np.cumsum(rng.integers(1, 9, points)) - (1 if points else 0),
        total_steps=100,
        log_probs=log_probs.astype(np.float32),
        gold=gold,
        counts=counts,
        regime=np.full(n, "held_out"),
    )


def from_zero(curves: Curves) -> Curves:
    """The same curves measured from step 0 on."""
    return replace(curves, steps=curves.steps - curves.steps[:1].sum())


def average_height(u: list[float], y: list[float]) -> float:
    points = [(a, b) for a, b in zip(u, y, strict=True) if math.isfinite(b)]
    if len(points) < 2:
        return NAN
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))
    return area / (points[-1][0] - points[0][0])


def plain(curves: Curves) -> dict[str, list[float]]:
    """Every metric of every example, from the definitions in the docstrings; no arrays, no blocks, no threads."""
    rows = []
    u = curves.progress.tolist()
    for i in range(len(curves)):
        p = curves.log_probs[i].astype(np.float64).tolist()
        g, counts = int(curves.gold[i]), curves.counts[i].tolist()
        loss = [-row[g] if g >= 0 else NAN for row in p]
        shares = [c / sum(counts) if sum(counts) else NAN for c in counts]
        soft = [-sum(s * v for s, v in zip(shares, row, strict=True) if s != 0) for row in p]
        margins = []
        for row in p:
            others = [v for label, v in enumerate(row) if label != g]
            top = NAN if any(map(math.isnan, others)) else max(others, default=-math.inf)
            margins.append(row[g] - top if g >= 0 and math.isfinite(max(row[g], top)) else NAN)
        ok = [(a, b) for a, b in zip(u, loss, strict=True) if math.isfinite(b)]
        ends = len(u) > 1 and math.isfinite(loss[-1])
        slope = NAN
        if len(ok) > 1:
            mean_u, mean_l = (sum(c) / len(ok) for c in zip(*ok, strict=True))
            slope = sum((a - mean_u) * (b - mean_l) for a, b in ok) / sum((a - mean_u) ** 2 for a, _ in ok)
        delta = loss[-1] - loss[0] if ends and math.isfinite(loss[0]) else NAN
        rise = loss[-1] - min(b for _, b in ok) if ends else NAN
        start = loss[0] if u and u[0] == 0 else NAN
        area = average_height(u, loss)
        kept = [t for t in range(len(u)) if u[t] > 0]
        seen = [(math.exp(-loss[t]), margins[t] > 0, t) for t in kept if not math.isnan(margins[t])]
        mean_p = sum(q for q, _, _ in seen) / len(seen) if seen else NAN
        right = [r for _, r, _ in seen]
        finite = [margins[t] for t in kept if math.isfinite(margins[t])]
        learned = next((float(curves.steps[t]) for _, r, t in seen if r), NAN)
        rows.append(
            {
                "aulc": area,
                "aulc_relative": area - (start if math.isfinite(start) else NAN),
                "aulc_soft": average_height(u, soft),
                "initial_loss": start,
                "final_loss": loss[-1] if loss else NAN,
                "delta": delta,
                "slope": slope,
                "rise": rise,
                "flag": float(delta > 0 and slope > 0 and rise > 0.1),
                "defined": float(not math.isnan(delta + slope + rise)),
                "confidence": mean_p,
                "variability": math.sqrt(sum((q - mean_p) ** 2 for q, _, _ in seen) / len(seen)) if seen else NAN,
                "correctness": sum(right) / len(seen) if seen else NAN,
                "events": float(sum(a and not b for a, b in pairwise(right))) if any(right) else NAN,
                "learned_step": learned,
                "learned_progress": learned / 100,
                "never_learned": float(bool(seen) and not any(right)),
                "mean": sum(finite) / len(finite) if finite else NAN,
                "final": margins[-1] if margins and math.isfinite(margins[-1]) else NAN,
            }
        )  # fmt: skip
    return {name: [row[name] for row in rows] for name in rows[0]}


def one_by_one(curves: Curves) -> dict[str, np.ndarray]:
    """The metrics by their own functions."""
    back = unlearning(curves).arrays()
    ends = example_metrics(curves)
    return {
        "aulc": aulc(curves),
        "aulc_relative": aulc(curves, relative=True),
        "aulc_soft": aulc(curves, loss="soft"),
        "initial_loss": ends.initial_loss,
        "final_loss": ends.final_loss,
        **back,
        **vars(cartography(curves)),
        **vars(forgetting(curves)),
        **vars(margin(curves)),
    }


def together(curves: Curves) -> dict[str, np.ndarray]:
    """The metrics from one walk."""
    found = example_metrics(curves)
    flat = {name: v for name, v in vars(found).items() if isinstance(v, np.ndarray)}
    return {
        **flat,
        **found.unlearning.arrays(),
        **vars(found.cartography),
        **vars(found.forgetting),
        **vars(found.margin),
    }


CASES = {
    "no gap": from_zero(make(0)),
    "gaps": from_zero(make(1, holes=0.05)),
    "mostly gaps": from_zero(make(2, holes=0.5)),
    "no start": make(3, start=5, holes=0.02),
    "two labels": from_zero(make(4, k=2, holes=0.05)),
    "five labels": from_zero(make(5, k=5, holes=0.02)),
    "one label": from_zero(make(6, k=1, holes=0.1)),
    "one point": make(7, points=1, start=1, holes=0.1),
    "only step 0": from_zero(make(8, points=1, holes=0.1)),
    "two points": from_zero(make(9, points=2, holes=0.1)),
    "no point": make(10, points=0),
    "no gold": replace(from_zero(make(11)), gold=np.full(60, -1)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("computed", [one_by_one, together])
def test_every_metric_is_that_of_its_definition(case, computed):
    curves = CASES[case]
    expected = plain(curves)
    found = computed(curves)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        given = np.asarray(found[name], dtype=np.float64)
        assert given == pytest.approx(np.asarray(values), rel=1e-12, abs=1e-12, nan_ok=True), name


@pytest.mark.parametrize("case", ["no gap", "gaps", "five labels"])
def test_margins_are_those_of_their_definition(case):
    curves = CASES[case]
    for row, p, g in zip(gold_margins(curves), curves.log_probs.astype(np.float64), curves.gold, strict=True):
        with np.errstate(invalid="ignore"):
            expected = p[:, g] - np.delete(p, g, axis=1).max(axis=1) if g >= 0 else np.full(len(p), NAN)
        assert np.array_equal(row, expected, equal_nan=True)


@pytest.mark.parametrize("computed", [one_by_one, together])
def test_block_size_and_threads_change_nothing_at_all(computed, monkeypatch):
    curves = from_zero(make(12, n=203, holes=0.02))
    monkeypatch.setattr(threads, "available", lambda: 1)
    whole = computed(curves)
    for points, count in ((1, 1), (7 * 5, 3), (7 * 64, 2)):
        monkeypatch.setattr(threads, "available", lambda count=count: count)
        monkeypatch.setattr(blocks, "POINTS", points)
        parts = computed(curves)
        assert all(np.array_equal(parts[name], v, equal_nan=True) for name, v in whole.items())


@given(st.integers(0, 10_000), st.permutations(range(12)))
def test_rows_follow_their_examples(seed, order):
    curves = from_zero(make(seed, n=12, holes=0.1))
    mixed = replace(
        curves,
        ids=tuple(curves.ids[i] for i in order),
        log_probs=curves.log_probs[order],
        gold=curves.gold[order],
        counts=curves.counts[order],
    )
    before, after = together(curves), together(mixed)
    assert all(np.array_equal(after[name], v[order], equal_nan=True) for name, v in before.items())


def test_no_example_gives_empty_arrays_of_the_right_kind():
    found = together(make(0, n=0))
    assert {v.shape for v in found.values()} == {(0,)}
    assert found["flag"].dtype == found["never_learned"].dtype == np.bool_
    assert gold_margins(make(0, n=0)).shape == (0, 7)


def test_a_label_that_nobody_chose_does_not_count_however_improbable():
    # Nobody chose the second label, whose probability is 0: the soft loss is that of the first, 1 and then 3 nats.
    log_probs = np.array([[[-1.0, -np.inf], [-3.0, -np.inf]]], dtype=np.float32)
    curves = replace(make(0, n=1, points=2, k=2), log_probs=log_probs, counts=np.array([[4.0, 0.0]]))
    assert aulc(curves, loss="soft").tolist() == [2.0]


def test_metrics_keep_no_array_of_losses():
    curves = from_zero(make(0))
    one_by_one(curves)
    assert "losses" not in vars(curves)
    assert "soft_losses" not in vars(curves)


def test_bad_options_are_explained_even_without_examples():
    curves = make(0, n=0)
    with pytest.raises(SpecError, match="noise_floor"):
        example_metrics(curves, noise_floor=-1)
    with pytest.raises(SpecError, match="loss is 'hard'"):
        aulc(curves, loss="hard")
