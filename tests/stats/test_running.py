"""Group curves from running sums, beside those from resampled means."""

from __future__ import annotations

import numpy as np
import pytest

from dissensus.errors import DataError, SpecError
from dissensus.stats import GroupSums, group_curves, stored_group_curves
from dissensus.stats import running as module

NAMES = np.array(["contested", "middle", "settled", "", "other"])


def made(n: int, seed: int = 0, points: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values that depend on the cluster, groups, and clusters of one to five or so."""
    rng = np.random.default_rng(seed)
    clusters = rng.integers(0, max(1, n // 3), n)
    values = rng.gamma(2, 0.5, (n, points)) + rng.normal(0, 0.5, (n, points))[clusters]
    return values, NAMES[rng.integers(0, 5, n)], clusters


def summed(values, groups, clusters=None, *, step: int = 1000, **options):
    count = 0 if clusters is None else int(clusters.max()) + 1
    sums = GroupSums(values.shape[1], clusters=count)
    for begin in range(0, len(values), step):
        rows = slice(begin, begin + step)
        sums.add(values[rows], groups[rows], None if clusters is None else clusters[rows])
    return sums.curves(**options)


def test_known_values():
    # 1, 2, 3, 6: mean 3, variance (4 + 1 + 0 + 9) / 4 = 3.5, of the mean 0.875; 1.959964 x sqrt(0.875) = 1.833377.
    found = summed(np.array([[1.0], [2.0], [3.0], [6.0]]), np.array(["settled"] * 4))["settled"]
    assert (found.mean[0], found.n, found.finite.tolist()) == (3.0, 4, [4])
    assert found.high[0] - 3 == pytest.approx(1.8333773)
    assert 3 - found.low[0] == pytest.approx(1.8333773)
    # Two clusters, {1, 2} and {3, 6}: residual sums -3 and 3, variance 18 / 16; 1.959964 x 1.0606602 = 2.078856.
    found = summed(np.array([[1.0], [2.0], [3.0], [6.0]]), np.array(["settled"] * 4), np.array([0, 0, 1, 1]))[
        "settled"
    ]
    assert found.high[0] - 3 == pytest.approx(2.078856)


@pytest.mark.parametrize("with_clusters", [False, True])
@pytest.mark.parametrize(("buckets", "limit"), [(4096, 0.15), (600, 0.3)])
def test_bands_are_those_of_the_bootstrap(monkeypatch, with_clusters, buckets, limit):
    """4,000 resamples leave some 0.04 of a standard error to chance, 600 buckets 0.06; this is the largest of 32."""
    monkeypatch.setattr(module, "BUCKETS", buckets)
    values, groups, clusters = made(20_000)
    values[::50, 2] = np.nan
    given = clusters if with_clusters else None
    ours = summed(values, groups, given)
    theirs = group_curves(values, groups, clusters=given, resamples=4000, rng=1)
    assert list(ours) == list(theirs) == ["contested", "middle", "settled", "other"]
    for name, curve in theirs.items():
        own = ours[name]
        assert own.mean == pytest.approx(curve.mean, rel=1e-12)
        assert own.finite.tolist() == curve.finite.tolist()
        assert (own.n, own.resamples) == (curve.n, 0)
        error = (own.high - own.low) / (2 * 1.959964)
        assert (np.abs(own.low - curve.low) / error).max() < limit
        assert (np.abs(own.high - curve.high) / error).max() < limit


def test_clusters_widen_the_band():
    values, groups, clusters = made(5_000)
    width = [
        own["contested"].high - own["contested"].low
        for own in (summed(values, groups), summed(values, groups, clusters))
    ]
    assert (width[1] > 1.05 * width[0]).all()


@pytest.mark.parametrize("with_clusters", [False, True])
def test_the_size_of_blocks_changes_nothing(with_clusters):
    values, groups, clusters = made(500)
    given = clusters if with_clusters else None
    for name, curve in summed(values, groups, given, step=500).items():
        own = summed(values, groups, given, step=37)[name]
        for part in ("mean", "low", "high"):
            assert getattr(own, part) == pytest.approx(getattr(curve, part), rel=1e-12)


def test_degenerate_groups():
    values = np.full((6, 2), 1e6 + 0.1)
    values[:, 1] = np.nan
    found = summed(values, np.array(["settled"] * 5 + [""]), step=2)
    assert list(found) == ["settled"]
    curve = found["settled"]
    assert (
        curve.mean[0] == curve.low[0] == curve.high[0] == 1e6 + 0.1
    )  # a constant has no spread, whatever its size
    assert np.isnan([curve.mean[1], curve.low[1], curve.high[1]]).all()
    assert curve.finite.tolist() == [5, 0]
    assert summed(values, np.array([""] * 6)) == {}


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match=r"values of shape \(3, 2\)"):
        GroupSums(4).add(np.zeros((3, 2)), np.array(["settled"] * 3))
    with pytest.raises(DataError, match="without clusters"):
        GroupSums(2).add(np.zeros((3, 2)), np.array(["settled"] * 3), np.zeros(3, np.int64))
    with pytest.raises(SpecError, match="confidence is 1"):
        GroupSums(2).curves(confidence=1)


class Source:
    """Curves that are read in blocks, which are counted."""

    def __init__(self, curves):
        self.curves, self.read_rows = curves, []
        self.steps, self.total_steps, self.progress = curves.steps, curves.total_steps, curves.progress

    def __len__(self):
        return len(self.curves)

    def read(self, begin, end):
        self.read_rows.append((begin, end))
        return self.curves.read(begin, end)


def test_stored_curves_are_walked_once(monkeypatch):
    from dissensus.bench.analysis import synthetic_curves

    curves = synthetic_curves(101, 5, seed=0)
    groups = NAMES[np.arange(101) % 5]
    monkeypatch.setattr(module, "BLOCK", 20)
    source = Source(curves)
    ours = stored_group_curves(source, groups)
    assert sorted(source.read_rows) == [(b, min(101, b + 20)) for b in range(0, 101, 20)]
    for name, curve in group_curves(curves.losses, groups).items():
        assert ours[name].mean == pytest.approx(curve.mean, rel=1e-12)
    again = stored_group_curves(source, groups)
    assert all(np.array_equal(again[name].high, ours[name].high) for name in ours)
    with pytest.raises(DataError, match=r"groups of shape \(3,\) for 101 examples"):
        stored_group_curves(source, groups[:3])
