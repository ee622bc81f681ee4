"""The benchmark of triage: its calibration table, its fit, and that no item is scored by a model that has seen it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import triage_varierr
from benchmarks.triage_fit import fit_regime
from benchmarks.triage_flips import reliability
from benchmarks.triage_varierr import Pairs, nested
from dissensus.analysis.triage.curve_model import evidence_factors
from dissensus.analysis.triage.evidence import FEATURES


def test_reliability_sets_what_was_said_against_what_held() -> None:
    said = np.array([0.02, 0.04, 0.7, 0.75])
    holds = np.array([False, False, True, False])
    whole, low, high = reliability("w", 0, "mislabelled", said, holds)
    # Two at .03 of which none held, two at .725 of which half did: (2 x .03 + 2 x .225) / 4.
    assert whole.ece == pytest.approx((2 * 0.03 + 2 * 0.225) / 4)
    assert (low.low, low.high, low.n, low.held) == (0.0, 0.05, 2, 0.0)
    assert (high.said, high.held) == (pytest.approx(0.725), 0.5)


def test_the_fit_finds_the_classes_that_features_tell() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, 600)
    features = rng.normal(size=(600, len(FEATURES)))
    features[:, 0] += 3 * (kinds == 0)
    model = fit_regime([(features, kinds)])
    assert sum(model.shares) == pytest.approx(1, abs=1e-3)
    factors = evidence_factors(features, model)
    assert factors[kinds == 0, 0].mean() > 3 * factors[kinds != 0, 0].mean()
    assert np.isnan(evidence_factors(np.full((1, len(FEATURES)), np.nan), model)).all()


def test_no_item_is_scored_by_a_model_that_has_seen_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # A feature that names the item tells everything of items seen, and nothing of others.
    rng = np.random.default_rng(0)
    items = np.repeat(np.arange(40), 2)
    error = (rng.random(40) < 0.4)[items]
    pairs = Pairs(
        item=tuple(map(str, items)),
        label=np.zeros(80, dtype=np.int64),
        error=error,
        behind=np.ones(80),
        share=np.full(80, 0.5),
        who=np.zeros((80, 4)),
    )
    monkeypatch.setattr(triage_varierr, "REPEATS", 1)
    names = np.eye(40)[items]
    scores = nested(pairs, {"names": names})[:, 0]
    unseen = [np.std(scores[items == item]) for item in range(40)]
    assert max(unseen) == 0  # both pairs of an item are in one fold
    seen = triage_varierr._scores(names, error, np.ones(80, dtype=bool), 1.0)
    assert seen[error].min() > seen[~error].max()
    assert scores[error].mean() < scores[~error].mean() + 0.5  # a name that was never seen tells nothing
