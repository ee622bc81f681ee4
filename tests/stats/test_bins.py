"""Bins, against NumPy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dissensus.errors import SpecError
from dissensus.stats.bins import QUARTILES, TERCILES, binned, quantile_cuts

NAN = float("nan")


def test_bins_hold_their_lower_end() -> None:
    first, middle, last = binned([0.1, 0.4, 0.5, 0.7, 0.9, NAN], [1, 2, 4, 5, 7, 9], (0.4, 0.7))
    assert (first.n, first.mean) == (1, 1.0)
    assert math.isnan(first.sd)
    assert (middle.n, middle.mean, middle.sd) == (2, 3.0, pytest.approx(math.sqrt(2)))
    assert (last.low, last.high, last.n, last.mean) == (0.7, math.inf, 2, 6.0)


def test_quantiles_are_numpys_and_equal_cuts_leave_an_empty_bin() -> None:
    x = np.random.default_rng(0).normal(size=101)
    assert quantile_cuts(np.append(x, NAN), QUARTILES) == pytest.approx(np.percentile(x, [25, 50, 75]))
    assert [one.n for one in binned(x, x, quantile_cuts(x, TERCILES))] == pytest.approx([34, 33, 34], abs=1)
    assert [one.n for one in binned([0.0, 0.0, 1.0], [1.0, 1.0, 1.0], (0.0, 0.0))] == [0, 0, 3]
    assert quantile_cuts([NAN]) == ()
    with pytest.raises(SpecError, match="rising order"):
        binned([1.0], [1.0], (0.7, 0.4))
