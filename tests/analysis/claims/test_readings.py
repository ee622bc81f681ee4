"""Readings of a rise: last minus first, lowest to end, the late slope."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dissensus.analysis.claims.c3_readings import change, late_slope, rise, why_no_start
from dissensus.analysis.claims.simulated import simulated_study
from dissensus.analysis.claims.statistics import ALL, BACKED, REJECTED, ClaimStatistics, GroupMeans, MeanCurve
from dissensus.analysis.claims.worlds import WORLDS

RESAMPLES = 4


def curve(values: Any) -> MeanCurve:
    mean = np.array(values, dtype=float)
    return MeanCurve(mean, np.tile(mean, (RESAMPLES, 1)), 60, 60)


def means(
    contested: Any, *, settled: Any = None, halves: tuple[Any, Any] | None = None, **changes: Any
) -> GroupMeans:
    points = len(contested)
    flat = np.full(points, 0.9) if settled is None else settled
    first, second = halves or (contested, contested)
    options: dict[str, Any] = {
        "progress": np.linspace(0, 1, points),
        "chance": float(np.log(3)),
        "starts": True,
        "whole": np.full(points, 1.0),
        "contested": dict.fromkeys((ALL, BACKED, REJECTED), curve(contested)),
        "settled": dict.fromkeys((ALL, BACKED, REJECTED), curve(flat)),
        "halves": (curve(first), curve(second)),
    }
    return GroupMeans(**{**options, **changes})


def measured(*cells: GroupMeans) -> tuple[Any, list[Any]]:
    """A stand-in for `ClaimStatistics`, and one for each cell: a seed each."""
    named = [SimpleNamespace(name=f"c{i}", spec=SimpleNamespace(seed=i)) for i in range(len(cells))]
    by_name = dict(zip([cell.name for cell in named], cells, strict=True))
    from dissensus.analysis.claims.sampled import CellValue

    def undefined(why: str) -> CellValue:
        return CellValue(float("nan"), np.full(RESAMPLES, np.nan), 0, why=why)

    own = SimpleNamespace(
        group_means=lambda cell: by_name[cell.name],
        undefined=undefined,
        settings=SimpleNamespace(resamples=RESAMPLES),
    )
    return own, named


def test_readings_by_hand() -> None:
    own, (cell,) = measured(means([1.0, 0.8, 0.9, 1.0, 1.3]))
    assert change(own, cell).value == pytest.approx(0.3)
    # u = .5, .75, 1 and .9, 1., 1.3: (.25 x (1.3 - .9)) / (2 x .0625) = .8.
    assert late_slope(own, cell).value == pytest.approx(0.8)
    assert rise(own, "c", [cell]).value == pytest.approx(0.5)


def test_a_start_above_an_even_guess_is_none() -> None:
    assert why_no_start(means([1.14, 1.0, 1.0])) == ""  # ln 3 = 1.0986, and .05 on top
    assert "contested loss starts at 1.37" in why_no_start(means([1.37, 1.0, 1.12]))
    assert "settled loss starts at 1.20" in why_no_start(means([1.0, 1.0], settled=[1.2, 0.5]))
    assert "not measured" in why_no_start(means([1.0, 1.0], starts=False))
    # Where the labels' probabilities do not sum to 1 there is no even guess to compare with.
    assert why_no_start(means([3.0, 1.0], chance=float("nan"))) == ""


def test_the_lowest_point_is_found_on_other_items_and_other_seeds() -> None:
    # Both seeds are flat but for a dip of their own, at point 1 and point 2: read at the other's, nothing rises.
    own, cells = measured(means([1.0, 0.8, 1.0, 1.0]), means([1.0, 1.0, 0.8, 1.0]))
    found = rise(own, "c", cells)
    assert dict(found.by_seed) == {0: pytest.approx(0.0), 1: pytest.approx(0.0)}
    # Read from its own lowest point each would rise by .2; with one seed, items alone are swapped.
    alone, (cell,) = measured(means([1.0] * 4, halves=([1.0, 0.8, 1.0, 1.0], [1.0, 1.0, 0.8, 1.0])))
    assert rise(alone, "c", [cell]).value == pytest.approx(0.0)


def test_a_falling_curve_rises_by_less_than_nothing() -> None:
    own, cells = measured(means([1.0, 0.9, 0.8, 0.7]), means([1.0, 0.9, 0.8, 0.7]))
    # From the lowest point before the last one.
    assert rise(own, "c", cells).value == pytest.approx(-0.1)


def test_noise_alone_does_not_rise() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        noisy = [1 + 0.05 * rng.standard_normal(8) for _ in range(3)]
        own, cells = measured(*(means(c) for c in noisy))
        found.append(rise(own, "c", cells).value)
    # Each curve's own lowest point would give .05 x 1.4 on average; the error of this mean is .003.
    assert abs(np.mean(found)) < 0.01


def test_too_few_points_are_said() -> None:
    own, (cell,) = measured(means([1.0, 1.2]))
    assert "2 tracking points" in rise(own, "c", [cell]).why
    assert "late half" in late_slope(own, cell).why
    gone, (other,) = measured(means([1.0, 1.2, 1.3], starts=False))
    assert "not measured" in change(gone, other).why


def test_groups_are_split_by_who_backs_the_gold_label() -> None:
    evidence = simulated_study(
        replace(WORLDS["confounded gold share"], items=120), np.random.default_rng(0), resamples=100
    )
    own = ClaimStatistics(evidence)
    cell = evidence.cells[0]
    found = own.group_means(cell)
    share = own.columns(cell)["gold_share"]
    for group in (found.contested, found.settled):
        assert group[ALL].n == group[BACKED].n + group[REJECTED].n
        assert group[REJECTED].n > 0
        whole = (group[BACKED].mean * group[BACKED].n + group[REJECTED].mean * group[REJECTED].n) / group[
            ALL
        ].n
        np.testing.assert_allclose(whole, group[ALL].mean)
    halves = found.halves
    assert halves[0].n + halves[1].n == found.contested[ALL].n
    assert sum(group[BACKED].n for group in (found.contested, found.settled)) <= (share > 0.5).sum()
