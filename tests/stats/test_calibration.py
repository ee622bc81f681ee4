"""Calibration worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dissensus.errors import DataError, SpecError
from dissensus.stats.calibration import calibration


def test_ece_and_entropy_by_hand() -> None:
    # Top probabilities .6, .7, .9, .95, of which the second is wrong; each in a bin of its own.
    # |1 - .6|, |0 - .7|, |1 - .9|, |1 - .95|: 1.25 / 4.
    p = np.array([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1], [0.95, 0.05]])
    result = calibration(np.log(p), [0, 0, 0, 0], bins=10)
    assert (result.ece, result.accuracy) == pytest.approx((1.25 / 4, 0.75))
    entropy = -(p * np.log(p)).sum(axis=1)
    assert (result.entropy_mean, result.entropy_sd) == pytest.approx((entropy.mean(), entropy.std()))
    assert (result.top_mean, result.top_sd) == pytest.approx((0.7875, np.std([0.6, 0.7, 0.9, 0.95])))
    assert (result.n, result.dropped, result.bins) == (4, 0, 10)


def test_bins_are_open_on_the_left() -> None:
    # .5 lies in (0, .5] and .75 in (.5, 1]: |0 - .5| and |1 - .75|, a half each. On the other side they would share a
    # bin: |1/2 - .625|.
    result = calibration(np.log([[0.5, 0.5], [0.75, 0.25]]), [1, 0], bins=2)
    assert result.ece == pytest.approx(0.375)


def test_one_bin_weighs_differences_against_each_other() -> None:
    result = calibration(np.log([[0.8, 0.2], [0.6, 0.4]]), [0, 1], bins=1)
    assert result.ece == pytest.approx(0.2)  # |1/2 - .7|


def test_what_is_not_known_is_left_out_and_zero_has_no_entropy() -> None:
    with np.errstate(divide="ignore"):
        log_probs = np.log([[1.0, 0.0], [0.5, np.nan], [0.5, 0.5]])
    result = calibration(log_probs, [0, 0, -1])
    assert (result.entropy_mean, result.ece, result.n, result.dropped) == (0.0, 0.0, 1, 2)
    assert math.isnan(calibration(log_probs, [-1, -1, -1]).ece)
    with pytest.raises(DataError, match=r"expected \(n, K\)"):
        calibration(log_probs, [0])
    with pytest.raises(SpecError, match="bins is 0"):
        calibration(log_probs, [0, 0, 0], bins=0)
