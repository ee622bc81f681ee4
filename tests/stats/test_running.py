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


def test_known_values(monkeypatch):
    monkeypatch.setattr(module, "MIN_CLUSTERS", 2)
    # 1, 2, 3, 6: mean 3, variance (4 + 1 + 0 + 9) / 3 = 14/3, of the mean 7/6; t of 3 degrees of freedom at 97.5 % is
    # 3.182446; 3.182446 x sqrt(7/6) = 3.437437.
    found = summed(np.array([[1.0], [2.0], [3.0], [6.0]]), np.array(["settled"] * 4))["settled"]
    assert (found.mean[0], found.n, found.finite.tolist(), found.units.tolist()) == (3.0, 4, [4], [4])
    assert found.high[0] - 3 == pytest.approx(3.437437)
    assert 3 - found.low[0] == pytest.approx(3.437437)
    # Two clusters, {1, 2} and {3, 6}: without the first the mean is 4.5, without the second 1.5, each 1.5 off:
    # variance 1/2 (1.5^2 + 1.5^2) = 2.25; t of one degree of freedom: 12.706205; 12.706205 x 1.5 = 19.059307.
    found = summed(np.array([[1.0], [2.0], [3.0], [6.0]]), np.array(["settled"] * 4), np.array([0, 0, 1, 1]))[
        "settled"
    ]
    assert found.high[0] - 3 == pytest.approx(19.059307)
    assert found.units.tolist() == [2]


@pytest.mark.parametrize("buckets", [4096, 600])
def test_bands_of_many_clusters_are_estimated_from_buckets(monkeypatch, buckets):
    """600 buckets leave sqrt(2 / 600) / 2, 3 %, of a standard error to chance; this is the largest of 32 widths."""
    monkeypatch.setattr(module, "BUCKETS", buckets)
    values, groups, clusters = made(20_000)
    values[::50, 2] = np.nan
    count = int(clusters.max()) + 1
    sums = GroupSums(values.shape[1], clusters=count, buckets=buckets)
    sums.add(values, groups, clusters)
    ours = sums.curves()
    theirs = group_curves(values, groups, clusters=clusters)
    assert list(ours) == list(theirs) == ["contested", "middle", "settled", "other"]
    for name, curve in theirs.items():
        own = ours[name]
        assert own.mean == pytest.approx(curve.mean, rel=1e-12)
        assert own.finite.tolist() == curve.finite.tolist()
        assert own.high - own.low == pytest.approx(
            curve.high - curve.low, rel=0.05 if buckets > 1000 else 0.13
        )


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
    values = np.full((26, 2), 1e6 + 0.1)
    values[:, 1] = np.nan
    found = summed(values, np.array(["settled"] * 25 + [""]), step=2)
    assert list(found) == ["settled"]
    curve = found["settled"]
    assert (
        curve.mean[0] == curve.low[0] == curve.high[0] == 1e6 + 0.1
    )  # a constant has no spread, whatever its size
    assert np.isnan([curve.mean[1], curve.low[1], curve.high[1]]).all()
    assert curve.finite.tolist() == [25, 0]
    assert summed(values, np.array([""] * 26)) == {}


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
    from benchmarks.analysis import synthetic_curves

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
