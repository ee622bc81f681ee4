from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dissensus.errors import DataError, SpecError
from dissensus.metrics import noise_floor_between_seeds, unlearning
from dissensus.metrics.unlearning import Unlearning, judge, trend_of


def unlearning_of(losses, x, *, noise_floor: float = 0.1) -> Unlearning:
    return judge(trend_of(np.asarray(losses, float), np.asarray(x, float)), noise_floor=noise_floor)


def test_known_values(curves_of_losses):
    # u = 0, 1/2, 1, mean 1/2, sum of squared deviations 1/2; slope = (l2 - l0) / 2 / (1/2) = l2 - l0 here.
    curves = curves_of_losses(
        [
            [1.0, 0.5, 1.5],  # down, then up past the start: delta 0.5, slope 0.5, rise 1
            [1.5, 1.0, 0.5],  # learned: delta and slope -1, rise 0
            [1.0, 0.2, 0.9],  # a rise of 0.7, but it ends below its start
            [1.0, 1.02, 1.05],  # rises by less than the floor
        ]
    )
    result = unlearning(curves)
    assert result.delta == pytest.approx([0.5, -1, -0.1, 0.05], abs=1e-6)
    assert result.slope == pytest.approx([0.5, -1, -0.1, 0.05], abs=1e-6)
    assert result.rise == pytest.approx([1.0, 0, 0.7, 0.05], abs=1e-6)
    assert result.flag.tolist() == [True, False, False, False]
    assert result.defined.all()
    assert result.share == 0.25
    assert unlearning(curves, noise_floor=0.0).flag.tolist() == [True, False, False, True]


def test_slope_and_delta_can_disagree(curves_of_losses):
    # u = 0, 1/4, 1/2, 3/4, 1; deviations -1/2, -1/4, 0, 1/4, 1/2; squares sum to 5/8.
    # Losses 1, 3, 2, 1, 1.2: sum of deviation x loss = -0.5 - 0.75 + 0 + 0.25 + 0.6 = -0.4; slope -0.4 / 0.625 = -0.64.
    result = unlearning(curves_of_losses([[1.0, 3.0, 2.0, 1.0, 1.2]]))
    assert result.slope == pytest.approx([-0.64], abs=1e-6)
    assert result.delta == pytest.approx([0.2], abs=1e-6)
    assert not result.flag[0]
    # Losses 1, 0.2, 0.1, 0.9, 0.95: -0.5 - 0.05 + 0 + 0.225 + 0.475 = 0.15; slope 0.24, but it ends below its start.
    recovered = unlearning(curves_of_losses([[1.0, 0.2, 0.1, 0.9, 0.95]]))
    assert recovered.slope == pytest.approx([0.24], abs=1e-6)
    assert recovered.rise == pytest.approx([0.85], abs=1e-6)
    assert not recovered.flag[0]


def test_gaps():
    nan = np.nan
    x = np.array([0.0, 0.5, 1.0])
    result = unlearning_of(
        np.array(
            [
                [1.0, nan, 2.0],  # slope of the two ends: 1
                [nan, 1.0, 2.0],  # no start: delta unknown; slope 1 / 0.5 = 2; rise 1
                [1.0, 2.0, nan],  # diverged at the end: only the slope is known
                [nan, nan, 1.0],  # one point: a rise of 0, no slope
                [nan, nan, nan],
            ]
        ),
        x,
    )
    assert result.delta == pytest.approx([1, nan, nan, nan, nan], nan_ok=True)
    assert result.slope == pytest.approx([1, 2, 2, nan, nan], nan_ok=True)
    assert result.rise == pytest.approx([1, 1, nan, 0, nan], nan_ok=True)
    assert result.defined.tolist() == [True, False, False, False, False]
    assert result.flag.tolist() == [True, False, False, False, False]
    assert result.share == 1.0  # of the one that is defined, not of five


def test_nothing_defined_has_no_share():
    result = unlearning_of([[1.0]], [0.0])
    assert np.isnan(result.delta).all()
    assert np.isnan(result.rise).all()
    assert np.isnan(result.share)


@given(
    arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(2, 7)), elements=st.floats(0, 10)),
    st.floats(0.1, 5),
)
def test_slope_equals_polyfit_and_shifts_change_nothing(losses, shift):
    x = np.linspace(0, 1, losses.shape[1]) ** 1.5
    result = unlearning_of(losses, x)
    assert result.slope == pytest.approx(np.polyfit(x, losses.T, 1)[0], abs=1e-8)
    shifted = unlearning_of(losses + shift, x)
    for name in ("delta", "slope", "rise"):
        assert getattr(shifted, name) == pytest.approx(getattr(result, name), abs=1e-8)
    assert np.all(result.rise >= 0)
    assert np.all(result.rise >= result.delta)  # the minimum is at most the start


def test_noise_floor_is_the_quantile_of_seed_noise(curves_of_losses):
    # Two tracking points, independent normal noise of sd s: the rise of a residual curve is max(0, d) with d normal of
    # variance 2 s^2, so its 0.95 quantile is 1.645 x sqrt(2) x 0.1 = 0.2326. A trend common to all seeds
    # does not count.
    rng = np.random.default_rng(0)
    trend = np.array([3.0, 5.0]) + rng.uniform(-1, 1, size=(4000, 1))
    for seeds in (2, 5):
        runs = [curves_of_losses(trend + rng.normal(0, 0.1, (4000, 2)), steps=[0, 10]) for _ in range(seeds)]
        assert noise_floor_between_seeds(runs) == pytest.approx(0.2326, rel=0.04)
    assert noise_floor_between_seeds(runs, quantile=0.99) == pytest.approx(2.326 * np.sqrt(2) * 0.1, rel=0.06)


def test_noise_floor_of_identical_runs_is_0_and_joins_by_id(curves_of_losses):
    losses = np.array([[1.0, 2.0, 4.0], [3.0, 1.0, 0.5]])
    here = curves_of_losses(losses, ids=["a", "b"])
    there = curves_of_losses(losses[::-1], ids=["b", "a"])
    assert noise_floor_between_seeds([here, there]) == 0


def test_noise_floor_leaves_gaps_out(curves_of_losses):
    first = curves_of_losses([[1.0, 1.0], [1.0, 1.0]], gold=[0, -1])
    assert noise_floor_between_seeds([first, first]) == 0
    none = curves_of_losses([[1.0, 1.0]], gold=[-1])
    assert np.isnan(noise_floor_between_seeds([none, none]))


def test_bad_arguments_are_explained(curves_of_losses):
    curves = curves_of_losses([[1.0, 1.0]])
    for bad in (-0.1, float("nan")):
        with pytest.raises(SpecError, match="noise_floor"):
            unlearning(curves, noise_floor=bad)
    with pytest.raises(DataError, match="at least 2 runs; given: 1"):
        noise_floor_between_seeds([curves])
    with pytest.raises(DataError, match="run 2 has other examples"):
        noise_floor_between_seeds([curves, curves_of_losses([[1.0, 1.0]], ids=["z"])])
    with pytest.raises(DataError, match="run 2 has other examples or tracking points"):
        noise_floor_between_seeds([curves, curves_of_losses([[1.0, 1.0]], steps=[0, 7])])
    with pytest.raises(SpecError, match="quantile"):
        noise_floor_between_seeds([curves, curves], quantile=95)
