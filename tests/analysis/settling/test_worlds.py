"""The settling analysis on worlds whose truth is known: a common curve, a method's own, runs that end early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from dissensus.analysis.settling.runs import settings_of
from dissensus.analysis.settling.sentence import ONE_SEED
from dissensus.analysis.settling.verdict import Settling, settle
from dissensus.config import RunSpec, StudySpec
from dissensus.curves import Curves
from dissensus.data.agreement import annotation_entropy
from dissensus.stats import entropy_groups
from dissensus.study.grid import expand
from synthetic_curves import balanced, evidence_of
from synthetic_study import dataset, study_spec

DATA = dataset(360)
COUNTS = np.array([e.counts for e in DATA.examples])
GROUP = entropy_groups(annotation_entropy(COUNTS))[:, None]
SPEED = {2e-5: 0.15, 1e-3: 1.0, 5e-3: 2.5}
"""Rate -> how far training gets: the v at its end."""
SETTLED_START = float(np.log(3))


def settled_at(v: np.ndarray) -> np.ndarray:
    return SETTLED_START - 0.9 * (1 - np.exp(-1.2 * v))


def contested_at(v: np.ndarray) -> np.ndarray:
    """Up by .2 at v = 1, and down again."""
    return SETTLED_START + 0.2 * v * np.exp(1 - v)


def curves_of(cell: RunSpec, *, own: float, noise: float, points: int = 25) -> Curves:
    """One cell: all methods on one curve, but for `own` nats that LoRA's contested loss is higher by."""
    u = np.linspace(0, 1, points)
    v = SPEED[cell.method.learning_rate] * u
    rng = np.random.default_rng([cell.seed, int(cell.method.learning_rate * 1e6), cell.method.name == "lora"])
    seed_effect = noise * rng.standard_normal(2)
    extra = own * (1 - np.exp(-3 * v)) if cell.method.name == "lora" else 0.0
    settled = settled_at(v) + seed_effect[0] * u
    contested = contested_at(v) + extra + seed_effect[1] * u
    middle = (settled + contested) / 2
    means = np.where(GROUP == "settled", settled, np.where(GROUP == "contested", contested, middle))
    item = np.random.default_rng(9).standard_normal((len(DATA), 1))
    wobble = rng.standard_normal((len(DATA), 1))
    losses = np.maximum(means * (1 + 0.15 * item * (u > 0)) + 0.05 * wobble * u, 0.02)
    p = np.exp(-losses)
    rest = np.maximum(1 - p, 1e-9)
    return balanced(
        Curves(
            ids=DATA.ids,
            labels=DATA.labels,
            steps=np.linspace(0, 480, points).astype(np.int64),
            total_steps=480,
            log_probs=np.log(np.stack([p, 0.6 * rest, 0.4 * rest], axis=2)).astype(np.float32),
            gold=np.array([e.gold for e in DATA.examples], dtype=np.int64),
            counts=COUNTS,
            regime=np.full(len(DATA), cell.regime),
            text=tuple(e.text for e in DATA.examples),
        )
    )


def study(rates: Sequence[float], seeds: Sequence[int]) -> StudySpec:
    methods = [
        {**method, "learning_rate": rate, "tag": f"t{number}"}
        for number, rate in enumerate(rates)
        for method in ({"name": "lora", "rank": 4}, {"name": "full"})
    ]
    return study_spec(methods=methods, seeds=list(seeds), analysis={"resamples": 200})


def world(rates: Sequence[float], seeds: Sequence[int], own: float, noise: float = 0.004) -> Settling:
    spec = study(rates, seeds)
    reading = evidence_of(spec, *(curves_of(cell, own=own, noise=noise) for cell in expand(spec)))
    (setting,) = settings_of([reading])
    return settle(setting)


def verdicts(one: Settling) -> dict[str, Any]:
    return {scope.name: scope.verdict for scope in one.scopes}


def test_one_common_curve_with_other_ends_is_told_as_one() -> None:
    one = world((1e-3, 5e-3), (0, 1, 2), own=0.0)
    assert verdicts(one) == {"all": "equivalent", "rates": "equivalent", "methods": "equivalent"}
    assert one.sentence.startswith("At the same settled loss (1.00 down to ")
    assert "methods and rates run on one curve" in one.sentence
    # The contested loss of the one curve itself, at settled .8: v = -ln(1 - (ln 3 - .8) / .9) / 1.2.
    v = -np.log(1 - (SETTLED_START - 0.8) / 0.9) / 1.2
    read = [row.value.value for row in one.rows if row.level == 0.8 and row.read]
    assert len(read) == 4
    np.testing.assert_allclose(read, float(contested_at(np.array(v))), atol=0.02)
    # Where each ends is not the same at all.
    fast, slow = (next(e for e in one.ends if e.line.name == f"full {rate}") for rate in ("0.005", "0.001"))
    assert fast.settled < slow.settled - 0.2
    assert slow.change.value > 0.15
    assert fast.peak > 0.15
    assert "runs end with it risen" in one.sentence


def test_a_method_with_a_curve_of_its_own_is_told_apart() -> None:
    one = world((1e-3, 5e-3), (0, 1, 2), own=0.25)
    assert verdicts(one)["all"] == verdicts(one)["methods"] == "different"
    methods = one.scopes[2].largest
    assert methods is not None
    assert {methods.first.kind, methods.second.kind} == {"lora", "full"}
    sign = 1 if methods.first.kind == "lora" else -1
    assert sign * methods.value.value == pytest.approx(0.25, abs=0.06)
    assert sign * methods.value.low > 0.05 or sign * methods.value.high > 0.05
    assert "contested loss differs between methods" in one.sentence
    assert "one curve" not in one.sentence


def test_runs_that_never_learn_are_not_compared_and_are_named() -> None:
    one = world((2e-5, 1e-3), (0, 1), own=0.0)
    # At 2e-5 the settled loss ends at ln 3 - .9 (1 - e^-.18) = .95: read at 1.0 alone, from a start .05 above it.
    slow = [row for row in one.rows if row.line.rate == 2e-5]
    assert {row.level for row in slow if row.read} <= {1.0}
    assert all("settled loss ends at 0.9" in row.why for row in slow if row.level < 0.95)
    fast = {row.level for row in one.rows if row.line.rate == 1e-3 and row.read}
    assert {1.0, 0.9, 0.8, 0.7, 0.6} <= fast


def test_with_nothing_in_common_nothing_is_said() -> None:
    spec = study((2e-5,), (0, 1))
    cells = expand(spec)
    reading = evidence_of(spec, *(curves_of(cell, own=0.0, noise=0.0) for cell in cells))
    (setting,) = settings_of([reading])
    one = settle(setting, levels=(0.5,))
    assert verdicts(one) == {"all": "not told", "rates": "not told", "methods": "not told"}
    assert one.sentence == (
        "Nothing is said of one curve or several: no two of them were read at a common settled loss "
        "(0 of 2 runs came down to a level)."
    )


@pytest.mark.parametrize(("own", "runs"), [(0.0, "equivalent"), (0.25, "different")])
def test_one_seed_tells_of_these_runs_alone(own: float, runs: str) -> None:
    one = world((1e-3, 5e-3), (0,), own=own)
    assert verdicts(one)["all"] == "not told"
    assert one.scopes[0].runs == runs
    assert one.scopes[0].reason == ONE_SEED
    assert one.sentence.startswith(f"Not told of methods in general ({ONE_SEED}); of these runs: at the same")


def test_seeds_that_vary_widen_what_is_told() -> None:
    """The same worlds with seeds that move a run by .1: neither answer is given."""
    one = world((1e-3, 5e-3), (0, 1, 2), own=0.0, noise=0.12)
    assert verdicts(one)["all"] == "not told"
    assert one.sentence.startswith("Not told whether 4 runs of 2 methods run on one curve")


def test_between_points_that_are_too_far_apart_nothing_is_read() -> None:
    spec = study((5e-3,), (0, 1))
    reading = evidence_of(spec, *(curves_of(cell, own=0.0, noise=0.0, points=5) for cell in expand(spec)))
    (setting,) = settings_of([reading])
    one = settle(setting, margin=0.005, levels=(0.8,))
    assert len(one.rows) == 2
    assert all("tracking points too far apart" in row.why for row in one.rows)
