from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pandas", reason="the benchmark's own dependency")

from benchmarks import analysis
from benchmarks.analysis_peers import by_function, by_group, long_table
from dissensus.errors import DissensusError
from dissensus.metrics import example_metrics


def test_pandas_gives_the_same_metrics():
    curves = analysis.synthetic_curves(30, 6, seed=4)
    ours, theirs = analysis.flat(example_metrics(curves)), by_group(long_table(curves))
    assert set(ours) - set(theirs) == {"flag", "defined", "never_learned", "learned_progress"}
    for name in theirs:
        assert theirs[name].to_numpy(float) == pytest.approx(ours[name], abs=1e-12, nan_ok=True), name
    slowly = by_function(long_table(curves))
    for name in slowly:
        assert slowly[name].to_numpy() == pytest.approx(ours[name], abs=1e-12)


def test_a_quick_run_has_every_row_and_the_same_answers():
    result = analysis.run(rounds=1, quick=True)
    assert result.suite == "analysis"
    assert [(m.contender, m.target) for m in result.measurements] == [
        ("pandas group-by", None),
        ("dissensus", 20),
        ("pandas group-by, apply", None),
        ("dissensus", 20),
        ("dissensus", None),
        ("scipy.stats.bootstrap, spearmanr", None),
        ("scipy.stats.bootstrap, vectorized", None),
        ("dissensus", 50),
        ("dissensus, clustered", None),
        ("scipy.stats.bootstrap, rankdata and inv", None),
        ("dissensus", 50),
        ("dissensus, clustered", None),
        ("scipy.stats.bootstrap, twice", None),
        ("dissensus", 50),
        ("dissensus, clustered", None),
        ("dissensus, one by one", None),
        ("dissensus, together", None),
    ]
    for row in result.measurements:
        assert len(row.seconds.values) == 1
        assert row.facts.get("max_difference", 0) < 1e-9
    assert 0 < result.measurements[4].facts["peak_rss_gib"] < 4
    result.to_json()


def test_another_answer_stops_the_benchmark(monkeypatch):
    monkeypatch.setattr(analysis, "scipy_spearman", lambda *_, **__: (0.0, 0.1))
    with pytest.raises(DissensusError, match=r"differ from those of scipy\.stats\.bootstrap"):
        analysis.bootstrap_beside_scipy(analysis.QUICK, 1)


def test_synthetic_curves_are_distributions_and_repeat():
    curves = analysis.synthetic_curves(20, 4, seed=0)
    assert np.exp(curves.log_probs).sum(axis=2) == pytest.approx(np.ones((20, 4)), abs=1e-5)
    again = analysis.synthetic_curves(20, 4, seed=0)
    assert np.array_equal(curves.log_probs, again.log_probs)
