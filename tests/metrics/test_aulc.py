from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dissensus.errors import DataError, SpecError
from dissensus.metrics import aulc, aulc_of

LOSSES = arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(2, 8)), elements=st.floats(0, 20))


def test_known_value_on_uneven_points(curves_of_losses):
    # u = 0, 0.1, 1; losses 2, 1, 0.5: 0.1 * (2 + 1) / 2 + 0.9 * (1 + 0.5) / 2 = 0.15 + 0.675 = 0.825
    curves = curves_of_losses([[2.0, 1.0, 0.5]], steps=[0, 10, 100])
    assert aulc(curves) == pytest.approx([0.825], abs=1e-6)
    # less the initial loss of 2
    assert aulc(curves, relative=True) == pytest.approx([-1.175], abs=1e-6)


def test_known_value_on_the_log_axis(curves_of_losses):
    # log(1 + step) of 0, 9, 99 is 0, ln 10, 2 ln 10: rescaled 0, 1/2, 1.
    # (2 + 1) / 4 + (1 + 0.5) / 4 = 1.125
    curves = curves_of_losses([[2.0, 1.0, 0.5]], steps=[0, 9, 99])
    assert aulc(curves, x="log") == pytest.approx([1.125], abs=1e-6)


def test_soft_loss_is_the_cross_entropy_with_the_annotators(make_curves):
    # Annotators 3 : 1 : 0, model constant at (1/2, 1/4, 1/4): 3/4 ln 2 + 1/4 ln 4 = 1.25 ln 2
    curves = make_curves([[[0.5, 0.25, 0.25]] * 3], counts=[[3, 1, 0]], gold=[2])
    assert aulc(curves, loss="soft") == pytest.approx([1.25 * np.log(2)], abs=1e-6)
    assert aulc(curves) == pytest.approx([2 * np.log(2)], abs=1e-6)


def test_gaps(curves_of_losses):
    nan = np.nan
    losses = np.array(
        [
            [3.0, 2.0, 1.0],  # whole: (3 + 2) / 4 + (2 + 1) / 4 = 2
            [3.0, nan, 1.0],  # bridged by a line: (3 + 1) / 2 = 2
            [nan, 2.0, 1.0],  # over the second half alone: (2 + 1) / 2 = 1.5
            [3.0, 2.0, np.inf],  # over the first half alone: 2.5
            [nan, 2.0, nan],  # one point is no curve
            [nan, nan, nan],
        ]
    )
    assert aulc_of(losses, [0.0, 0.5, 1.0]) == pytest.approx([2, 2, 1.5, 2.5, nan, nan], nan_ok=True)
    # Without its initial loss a curve has no relative value.
    relative = aulc_of(losses, [0.0, 0.5, 1.0], relative=True)
    assert relative == pytest.approx([-1, -1, nan, -0.5, nan, nan], nan_ok=True)


def test_run_that_has_not_ended_is_averaged_over_what_there_is(curves_of_losses):
    # Points at u = 0, 0.25, 0.5 of a longer run: (3 + 2) / 4 + (2 + 1) / 4 = 2, not the 1 of the bare integral.
    curves = curves_of_losses([[3.0, 2.0, 1.0]], steps=[0, 25, 50], total_steps=100)
    assert aulc(curves) == pytest.approx([2.0], abs=1e-6)


def test_relative_needs_step_0(curves_of_losses):
    assert np.isnan(aulc(curves_of_losses([[3.0, 2.0]], steps=[5, 10]), relative=True)).all()


def test_no_gold_label_gives_nan(curves_of_losses):
    assert np.isnan(aulc(curves_of_losses([[1.0, 1.0]], gold=[-1]))).all()


@given(st.floats(0, 50), st.lists(st.floats(1e-3, 5), min_size=1, max_size=8))
def test_a_constant_loss_is_its_own_area(loss, widths):
    x = np.concatenate([[0.0], np.cumsum(widths)])
    assert aulc_of(np.full((1, len(x)), loss), x) == pytest.approx([loss], rel=1e-12)


@given(LOSSES, st.floats(-10, 10))
def test_shift_and_relative(losses, shift):
    x = np.linspace(0, 1, losses.shape[1])
    plain = aulc_of(losses, x)
    assert aulc_of(losses + shift, x) == pytest.approx(plain + shift, abs=1e-9)
    assert aulc_of(losses, x, relative=True) == pytest.approx(plain - losses[:, 0], abs=1e-12)
    assert aulc_of(losses + shift, x, relative=True) == pytest.approx(plain - losses[:, 0], abs=1e-9)


@given(LOSSES)
def test_equals_numpys_trapezoid(losses):
    x = np.linspace(0, 1, losses.shape[1]) ** 2
    assert aulc_of(losses, x) == pytest.approx(np.trapezoid(losses, x, axis=1), abs=1e-9)


@given(LOSSES)
def test_between_the_smallest_and_the_largest_loss(losses):
    area = aulc_of(losses, np.arange(losses.shape[1]))
    assert np.all(area >= losses.min(axis=1) - 1e-9)
    assert np.all(area <= losses.max(axis=1) + 1e-9)


def test_bad_arguments_are_explained(curves_of_losses):
    curves = curves_of_losses([[1.0, 1.0]])
    with pytest.raises(SpecError, match="loss is 'hard'; expected 'gold' or 'soft'"):
        aulc(curves, loss="hard")
    with pytest.raises(SpecError, match="x is 'steps'; expected 'progress' or 'log'"):
        aulc(curves, x="steps")
    with pytest.raises(DataError, match="must rise"):
        aulc_of([[1.0, 2.0]], [1.0, 0.0])
    with pytest.raises(DataError, match=r"shape \(1, 2\)"):
        aulc_of([[1.0, 2.0]], [0.0, 0.5, 1.0])
