"""Learning time by a loss threshold, classes of a data map, AULC as the mean of points: worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dissensus.errors import DataError, SpecError
from dissensus.metrics import (
    aulc,
    aulc_of,
    cartography,
    cartography_classes,
    example_metrics,
    learning_time,
    learning_time_of,
)

NAN, INF = float("nan"), float("inf")


def test_first_point_below_the_threshold() -> None:
    losses = [[1.1, 0.7, 0.6, 0.9], [0.5, 1, 1, 1], [0.693, 1, 1, 1], [NAN, INF, NAN, 0.1], [NAN] * 4]
    times = learning_time_of(losses, [0, 100, 200, 265])
    np.testing.assert_array_equal(times.point, [2, 0, INF, 3, NAN])
    np.testing.assert_array_equal(times.step, [200, 0, INF, 265, NAN])
    assert learning_time_of(losses, [0, 100, 200, 265], threshold=0.8).point[0] == 1
    with pytest.raises(DataError, match=r"expected \(examples, points\)"):
        learning_time_of(losses, [0, 100])
    assert len(learning_time_of(np.empty((3, 0)), []).point) == 3


def test_learning_time_of_curves(curves_of_losses) -> None:
    curves = curves_of_losses([[1.0, 0.5], [1.0, 0.9]], steps=[0, 40], gold=[0, 0])
    np.testing.assert_array_equal(learning_time(curves).step, [40, INF])


def test_aulc_as_the_mean_of_points(curves_of_losses) -> None:
    losses = np.array([[1.0, 0.5, 0.2], [1.2, 1.0, 1.1]])
    curves = curves_of_losses(losses, steps=[0, 1, 10])
    np.testing.assert_allclose(aulc(curves, rule="mean"), losses.mean(axis=1), rtol=1e-6)
    # By the trapezoid rule: (.75 * 1 + .35 * 9) / 10.
    np.testing.assert_allclose(aulc(curves)[0], 0.39, rtol=1e-6)
    assert aulc_of([[1.0, NAN, 3.0, 5.0]], [0, 1, 2, 9], rule="mean") == pytest.approx([3.0])
    assert np.isnan(aulc_of([[1.0, NAN, NAN]], [0, 1, 2], rule="mean")).all()
    with pytest.raises(SpecError, match="'trapezoid' or 'mean'"):
        aulc_of([[1.0, 2.0]], [0, 1], rule="median")  # type: ignore[arg-type]


def test_every_aulc_of_the_metrics_goes_by_the_rule(make_curves) -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(3), size=(7, 5))
    curves = make_curves(p, steps=[0, 1, 2, 9, 20], counts=np.random.default_rng(1).integers(1, 9, (7, 3)))
    metrics = example_metrics(curves, rule="mean")
    np.testing.assert_allclose(metrics.aulc, curves.losses.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(metrics.aulc_soft, curves.soft_losses.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(
        metrics.aulc_relative, curves.losses.mean(axis=1) - curves.losses[:, 0], rtol=1e-9
    )


def test_data_map_with_the_start_and_a_threshold(make_curves) -> None:
    # p(gold) .4, .45, .6 against .3, .3, ...: gold is always the most probable, above .5 once.
    p = np.array([[[0.4, 0.3, 0.3], [0.45, 0.3, 0.25], [0.6, 0.3, 0.1]]])
    curves = make_curves(p)
    own = cartography(curves, include_start=True, threshold=0.5)
    assert own.correctness == pytest.approx([1 / 3])
    assert own.confidence == pytest.approx([(0.4 + 0.45 + 0.6) / 3])
    assert cartography(curves).correctness.tolist() == [1.0]
    together = example_metrics(curves, map_start=True, map_threshold=0.5).cartography
    assert together.correctness.tolist() == own.correctness.tolist()
    assert together.variability.tolist() == own.variability.tolist()


def test_classes_by_medians() -> None:
    # Median confidence .5, median variability .2.
    confidence, variability = [0.9, 0.1, 0.5, 0.7, 0.3, NAN], [0.1, 0.1, 0.2, 0.3, 0.2, 0.1]
    assert cartography_classes(confidence, variability).tolist() == [
        "easy",
        "hard",
        "ambiguous",
        "ambiguous",
        "ambiguous",
        "",
    ]
    assert cartography_classes([], []).tolist() == []
