"""The suite that measures curves at size, at a toy size."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import size
from dissensus.errors import DissensusError
from dissensus.store import load_curves


def test_a_quick_run_has_every_stage_and_says_what_is_extrapolated(tmp_path):
    size.main(["--examples", "2000", "--points", "5", "--resamples", "2", "--folder", str(tmp_path),
               "--out", str(tmp_path / "kept" / "size.json")])  # fmt: skip
    kept = json.loads((tmp_path / "kept" / "size.json").read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]  # the store is gone
    assert [m["work"].split(":")[0] for m in kept["measurements"]] == list(size.STAGES)
    assert kept["setting"]["extrapolated_to"] == "5,000,000 examples x 200 points"
    write, rho = kept["measurements"][0]["facts"], kept["measurements"][-2]
    # 3 labels x 4 bytes, less what compression takes off, plus footers.
    assert 9e6 < write["bytes_per_million_example_points"] < 15e6
    assert write["extrapolated_gb"] == pytest.approx(
        write["bytes_per_million_example_points"] * 1e-6 * 5e6 * 200 / 1e9, rel=1e-3
    )
    # Seconds of a bootstrap do not depend on the points: 5 million are 2,500 times 2,000.
    assert rho["facts"]["extrapolated_seconds"] == pytest.approx(2500 * rho["seconds"][0], rel=1e-3)
    assert all(m["facts"]["peak_rss_gib"] > 0 for m in kept["measurements"])


def test_the_made_store_is_a_store(tmp_path):
    facts = size.write(tmp_path / "store", size.QUICK, size.Clock())
    curves = load_curves(tmp_path / "store")
    assert curves.log_probs.shape == (2000, 6, 3)
    assert np.exp(curves.log_probs).sum(axis=2) == pytest.approx(np.ones((2000, 6)), abs=1e-5)
    assert curves.losses[:, -1].mean() < curves.losses[:, 0].mean()
    assert curves.counts.sum(axis=1).tolist() == [5] * 2000
    assert facts["bytes_per_million_example_points"] > 0


def test_no_room_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(DissensusError, match="GB free, and this size needs"):
        size.run(sizes=size.Sizes(10**12, 200), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_other_numbers_stop_the_benchmark(tmp_path, monkeypatch):
    size.write(tmp_path / "store", size.QUICK, size.Clock())
    own = size.example_metrics
    monkeypatch.setattr(
        size,
        "example_metrics",
        lambda curves: own(curves.read(1, len(curves)) if hasattr(curves, "folder") else curves),
    )
    with pytest.raises(DissensusError, match="other numbers than the curves in memory"):
        size.walked(tmp_path / "store", size.QUICK, size.Clock())
